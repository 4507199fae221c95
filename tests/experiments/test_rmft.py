"""The regret-minimisation study at toy size, its findings and its figures."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.rmft import __main__ as rmft_study
from experiments.rmft import ablations, bandit, decision_processes, drift
from experiments.rmft import online as rmft_online
from experiments.rmft.bandit import explored
from experiments.rmft.claims import claims
from experiments.rmft.comparison import JUDGED, TUNED, Judged, judge, judge_learner
from experiments.rmft.config import ARMS, PRESETS, Config
from experiments.rmft.training import start
from figures import rmft as figure
from jaxdm.analysis import storage
from jaxdm.analysis.claims import read_claims
from jaxdm.envs import online
from jaxdm.learners import online as learners
from jaxdm.models.transformer import network
from jaxdm.rmft import distillation

TOY = PRESETS["toy"]


COMMAND = "python -m experiments.rmft toy"


def test_a_toy_run_is_stored_whole(tmp_path):
    path = rmft_study.main(dataclasses.replace(TOY, parts=("bandit",), results=tmp_path), COMMAND)
    metrics = storage.read_result(path).metrics
    methods = metrics["bandit_methods"].values.tolist()
    assert methods == ["round 0", "RMFT", "UCB1", "Thompson"]
    assert metrics["bandit_course"].shape == (4, len(bandit.LAWS), TOY.seeds, TOY.length)
    assert np.all(np.diff(metrics["bandit_course"].values, axis=-1) >= -1e-5)
    assert metrics["bandit_rounds"].shape == (TOY.seeds, TOY.bandit.rounds)
    rows = read_claims(path / "claims.json")
    assert {"RMFT-bandit", "RMFT-Thompson", "RMFT-explore-1"} <= {row.id for row in rows}
    assert [drawn.name for drawn in figure.draw(tmp_path)] == ["rmft_training", "rmft_regret"]


def test_an_attack_starts_from_drawn_sequences_and_only_gains():
    """Arms that do not count are never best, and the regret of T rounds on losses in [0, 1] is at most T."""
    game = rmft_online.game("simplex", TOY.online_length, ("uniform",))
    net = network(TOY.online_network, game.features, game.outputs)
    weights = {"one": start(TOY, net)}
    found = [
        rmft_online.attacked(dataclasses.replace(TOY, attack_steps=steps), "simplex", 3, game, net, weights)
        for steps in (0, 10)
    ]
    assert found[0].shape == (1, TOY.seeds)
    assert np.all(found[1] > found[0] + 0.01)
    assert np.all((found[0] > 0) & (found[1] < TOY.online_length))


def test_solved_worlds_are_judged_on_the_scale_of_the_oracle_and_uniform_play(tmp_path):
    found = decision_processes.study(dataclasses.replace(TOY, results=tmp_path, runs=256), "mdp")
    gap = dict(zip(found["mdp_methods"], found["mdp_gap"], strict=True))
    assert set(gap) == set(decision_processes.METHODS)
    np.testing.assert_allclose(gap["round 0"], 1, atol=0.5)  # a network of random weights plays almost uniformly
    assert found["mdp_rounds"].shape == found["mdp_rounds_after"].shape == (TOY.seeds, TOY.solved.rounds)
    assert all(np.all(value > 0) for value in gap.values())


def synthetic() -> dict:
    """Results of every part, in which the fine-tuned network is best everywhere."""
    rng, seeds, rounds = np.random.default_rng(0), 3, np.arange(1, 17.0)
    noise = lambda *shape: 1 + 0.01 * rng.random(shape)
    course = lambda levels, laws: (
        np.asarray(levels)[:, None, None, None] * noise(len(levels), laws, seeds, 1) * rounds**0.5
    )
    bandits = ["round 0", "RMFT", "REINFORCE", "distilled UCB1", "UCB1", "Thompson"]
    found = {"bandit_methods": bandits, "bandit_laws": bandit.LAWS, "bandit_seconds": 1.0}
    found |= {"bandit_course": course([9, 2, 3, 4, 5, 3], 6), "bandit_longer": course([9, 2, 5, 3], 1)[:, 0]}
    found |= {"bandit_gaussian": course([9, 2, 5], 2)[..., -1], "bandit_deviations": (0.5, 1.0)}
    found |= {"bandit_never_best": 0.01 * noise(6, 6, seeds), "bandit_min_fraction": 0.3 * noise(6, 6, seeds)}
    levels = [9, 2, 5, 4, 3]
    found |= {"drift_methods": drift.METHODS, "drift_laws": drift.LAWS, "drift_course": course(levels, 4)}
    found |= {"drift_switch": np.asarray(levels)[:, None] * noise(5, seeds), "drift_right": noise(5, seeds, 16) / 2}
    found |= {"drift_settled": found["drift_switch"]}
    for place in ("simplex", "ball"):
        laws = rmft_online.evaluation_suite(place).names
        found |= {f"{place}_methods": ["round 0", "RMFT", "Hedge, tuned", "follow the leader"], f"{place}_laws": laws}
        found |= {f"{place}_{horizon}": course([9, 2, 2, 3], len(laws)) for horizon in ("course", "longer")}
        found |= {f"{place}_trained": len(rmft_online.TRAINED[place]), f"{place}_attacked": noise(2, seeds)}
        found |= {f"{place}_other_networks": ["two layers"], f"{place}_others": noise(1, len(laws), seeds)}
    for kind in decision_processes.KINDS:
        gaps = np.asarray([1, 0.5, 0.4, 0.2, 0.3])[:, None] * noise(5, seeds)
        found |= {f"{kind}_methods": decision_processes.METHODS, f"{kind}_gap": gaps}
    names = list(ablations.variants(TOY.ablated))
    regret = np.where(np.asarray(names) == "default", 1.0, 3.0)[:, None] * noise(len(names), seeds)
    found |= {"ablation_names": names, "ablation_regret": regret, "ablation_shares": ablations.SHARES}
    found |= {"ablation_courses": noise(5, seeds, 12), "ablation_start": noise(seeds), "ablation_identical": True}
    return found | {name: noise(seeds, 12) for name in figure.CURVES}


FULL = dataclasses.replace(Config(), name="quick")


def test_findings_follow_the_numbers():
    metrics = synthetic()
    rows = claims(FULL, metrics)
    assert {row.verdict for row in rows} == {"holds"}
    assert len({row.id for row in rows}) == len(rows)
    metrics["bandit_course"][1] *= 10
    metrics["simplex_longer"][1] = np.arange(1, 17.0) ** 1.2
    worse = {row.id: row.verdict for row in claims(FULL, metrics)}
    assert worse["RMFT-bandit"] == worse["RMFT-simplex-longer-exponent"] == "differs"
    assert worse["RMFT-drift"] == "holds"


def test_figures_show_every_part(tmp_path):
    assert figure.draw(tmp_path) == []
    storage.write_result(tmp_path, "rmft", {"seed": 0}, rmft_study.named_metrics(synthetic()), COMMAND)
    drawn = {item.name: item for item in figure.draw(tmp_path)}
    assert len(drawn) == 6
    assert [axes.get_title() for axes in drawn["rmft_regret"].figure.axes] == list(bandit.LAWS[:3])
    assert len(drawn["rmft_switches"].figure.axes[1].get_yticklabels()) == len(ablations.variants(TOY.ablated))
    assert "the same bits" in drawn["rmft_switches"].caption


def test_laws_of_bandits_have_their_arms_and_gaps():
    draw = jax.jit(jax.vmap(bandit.draw, (0, None)))
    for law, (name, arms) in enumerate(zip(bandit.LAWS, bandit.SIZES, strict=True)):
        worlds = draw(jax.random.split(jax.random.key(law), 50), law)
        counts = np.asarray(worlds.available.sum(axis=-1))
        assert set(counts.tolist()) == ({4, 5} if law == 0 else {arms})
        means = np.sort(np.where(worlds.available, worlds.mean[:, 0], np.inf), axis=-1)
        if "gap" in name:
            gap = float(name.split("gap ")[1])
            np.testing.assert_allclose(means[:, arms - 1] - means[:, 0], gap, rtol=1e-5)
        assert worlds.mean.shape[-1] == ARMS


def test_drifting_laws_change_when_they_should():
    draw = jax.jit(jax.vmap(lambda key, law: drift.draw(key, law, 20), (0, None)))
    keys = jax.random.split(jax.random.key(0), 8)
    changed = np.asarray(draw(keys, 1).mean)
    moves = np.abs(np.diff(changed, axis=1)).max(axis=-1)
    assert np.all(moves[:, 9] > 0.7)
    assert np.all(np.delete(moves, 9, axis=1) == 0)
    assert np.all(np.diff(np.asarray(draw(keys, 3).mean), axis=1).any(axis=-1))


def test_exploration_is_measured_among_the_available():
    right = np.zeros((1, 1, 2, 1, 4))
    right[..., 0, :, :2] = 1
    right[..., 1, :, 3] = 1
    rank = np.asarray([0, 0, 1, 1]) * np.ones((1, 1, 2, 1, 4), int)
    seen = explored(Judged(course=right[..., 0, :], right=right, rank=rank.astype(int)), [2], 4)
    np.testing.assert_array_equal(seen["never_best"][0, 0], [1, 0])
    np.testing.assert_array_equal(seen["min_fraction"], np.ones((1, 1, 2)))


def test_waiting_counts_rounds_until_it_happens_and_all_where_it_never_does():
    reached = np.zeros((2, 2, 5), bool)
    reached[0, 0, 3] = reached[0, 1, 0] = reached[1, 0, 4] = True
    np.testing.assert_array_equal(drift.waited(reached), [1.5, 4.5])


def test_a_learner_that_knows_which_arms_count_plays_as_if_there_were_no_others():
    available = jnp.asarray([True, False, True, True, False])
    plan = jax.random.uniform(jax.random.key(0), (6, 5))
    whole = jnp.where(available, plan, 1.0)
    rate = learners.rate(2.0)
    knowing = rmft_online.knowing(learners.hedge(5), "simplex")
    found = online.play(jax.random.key(1), whole, knowing, (rate, available))
    alone = online.play(jax.random.key(1), plan[:, np.asarray(available)], learners.hedge(3), rate)
    np.testing.assert_allclose(found[:, np.asarray(available)], alone, rtol=1e-5)
    assert np.all(found[:, ~np.asarray(available)] == 0)


def test_rates_are_chosen_in_other_worlds_for_each_law():
    """The rate of least regret on the tuning stream is shown on the judged one, law by law."""
    game = rmft_online.everywhere("simplex", 6)
    config, laws = dataclasses.replace(TOY, runs=8), 4
    rates = [learners.rate(scale) for scale in (0.01, 50.0)]
    told = lambda rate, instance: (rate, instance.available)
    agent = rmft_online.classic("simplex")
    shown = judge_learner(config, game, agent, rates, laws, told, fixed=(rates[1],)).course
    assert shown.shape[0] == 2
    known = jax.tree.map(lambda *x: jnp.broadcast_to(jnp.stack(x)[:, None], (2, TOY.seeds)), *rates)
    tuning, judged = judge(config, game, agent, told, known, laws, streams=(TUNED, JUDGED))
    for q in range(laws):
        best = int(np.argmin(tuning.course[:, q, :, -1].mean(axis=-1)))
        np.testing.assert_array_equal(shown[:, q], judged.course[[best, 1], q])
    assert np.any(tuning.course != judged.course)


def test_every_variant_is_a_valid_configuration():
    for preset in PRESETS.values():
        for how in (preset.bandit, preset.drift, preset.simplex, preset.ball, preset.solved):
            distillation.validate(how)
        for how in ablations.variants(preset.ablated).values():
            distillation.validate(how)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seeds": 1}, "seeds: 1; expected at least 2"),
        ({"parts": ("poker",)}, "parts: 'poker'; expected some of"),
        ({"ball_others": ("huge",)}, "ball_others: 'huge'; expected some of"),
    ],
)
def test_bad_configurations_are_refused_before_work(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        rmft_study.main(dataclasses.replace(TOY, results=tmp_path, **change), COMMAND)
