"""The online-learning study: its attack, its claims, and its figures from synthetic results."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.online import __main__ as study
from experiments.online.__main__ import OnlineConfig, claims
from experiments.online.games import attacked, targets
from figures import online as figure
from jaxdm.analysis import storage
from jaxdm.analysis.claims import read_claims, write_claims
from jaxdm.analysis.storage import named
from jaxdm.oracles.attack import ATTACK_SPACES

T, STEPS = 12, 3


HORIZONS = np.asarray([16, 32, 64])


@pytest.mark.parametrize("name", ["Hedge", "follow the leader, ball"])
def test_an_attack_stays_in_its_rounds_and_within_what_is_allowed(name):
    target = targets(3)[name]

    def attack(reacting, rounds):
        return attacked(target, jax.random.key(0), reacting, rounds, longest=T, dimension=3, steps=STEPS)

    grid = jax.jit(jax.vmap(jax.vmap(attack, (None, 0)), (0, None)))
    found = grid(jnp.asarray([True, False]), jnp.asarray([5.0, 12.0]))
    assert found.progress.shape == (2, 2, STEPS + 1)
    assert np.all(found.losses[:, 0, 5:] == 0)
    assert np.any(found.losses[:, 1, 5:] != 0)
    again = jax.vmap(jax.vmap(ATTACK_SPACES[target.decision_set].project))(found.losses)
    assert np.allclose(again, found.losses, rtol=0, atol=4 * np.finfo(np.float32).eps)
    if np.isfinite(target.bound):
        assert np.all(found.value <= target.bound * np.sqrt([5.0, 12.0])[None])


def test_too_few_seeds_or_horizons_are_refused_before_work():
    for config, field in (
        (OnlineConfig(seeds=1), "seeds: 1"),
        (OnlineConfig(horizons=(8, 16)), r"horizons: \(8, 16\)"),
    ):
        with pytest.raises(ValueError, match=field):
            study.main(config, "python -m experiments.online")


def test_exponents_are_fitted_and_missing_where_regret_is_not_positive():
    noise = 1 + 0.01 * np.random.default_rng(0).normal(size=(5, 3))
    estimate, low, high = study.exponent(HORIZONS, noise * HORIZONS**0.5)
    assert low <= 0.5 <= high
    assert low < estimate < high
    assert np.all(np.isnan(study.exponent(HORIZONS, -noise)))


def synthetic():
    learners = list(targets(4))
    power = np.asarray([0.5, 0.5, 1.0, 0.5, 0.5, 1.0])
    regret = np.repeat(HORIZONS[None, None] ** power[:, None, None], 2, axis=1)
    exponents = np.stack([power, power - 0.05, power + 0.05], axis=1)
    bound = np.where(power[:, None] < 1, 2 * HORIZONS[None] ** 0.5, np.nan)
    ascent = regret.mean(axis=1)[..., None] * np.linspace(0.5, 1, 4)
    metrics = {
        "attack_regret": named(regret, learner=learners, seed=None, horizon=HORIZONS),
        "attack_bound": named(bound, learner=learners, horizon=HORIZONS),
        "attack_progress": named(ascent, learner=learners, horizon=HORIZONS, step=None),
        "attack_exponent": named(exponents, learner=learners, estimate=study.ESTIMATE),
    }
    for decision_set, names in (("simplex", ["Hedge", "FTRL"]), ("ball", ["FTRL"])):
        curves = np.ones((len(names), 5, 2, 8)) * np.sqrt(np.arange(1, 9))
        distributions = [f"losses_{i}" for i in range(5)]
        axes = {"learner": names, "distribution": distributions, "seed": None, "round": np.arange(1, 9)}
        metrics[f"{decision_set}_regret"] = named(curves, **axes)
    return metrics


def test_claims_follow_the_fitted_exponents(tmp_path):
    exponents = synthetic()["attack_exponent"]
    rows = claims(exponents, tuple(HORIZONS))
    assert [claim.verdict for claim in rows] == ["holds"] * 3
    assert [claim.verdict for claim in claims(exponents + 0.3, tuple(HORIZONS))] == ["differs"] * 3
    write_claims(tmp_path, rows, "python -m experiments.online quick")
    assert read_claims(tmp_path / "claims.json")[0].command == "python -m experiments.online quick"


def test_figures_show_every_distribution_and_target(tmp_path):
    assert figure.draw([]) == []
    storage.write_result(tmp_path, "online", {"seed": 0}, synthetic(), "python -m experiments.online quick")
    simplex, ball, attack = figure.draw(storage.read_results(tmp_path, "online"))
    assert [axes.get_title() for axes in simplex.figure.axes] == [f"losses {i}" for i in range(5)]
    colours = [{line.get_label(): line.get_color() for line in drawn.figure.axes[0].lines} for drawn in (simplex, ball)]
    assert colours[0]["FTRL"] == colours[1]["FTRL"] != colours[0]["Hedge"]
    assert len(attack.figure.axes[1].lines) == 4 + 1
    assert "0.500" in attack.caption
