"""The bandit comparison end to end at toy size, and its figure from made-up results."""

import dataclasses

import numpy as np
import pytest

from experiments import bandit
from experiments.bandit import PRESETS, distributions, draw_worlds, players
from experiments.streams import Use, stream
from figures import bandit as figure
from jaxdm.analysis import storage
from jaxdm.analysis.claims import read_claims
from jaxdm.analysis.storage import named
from tests.lowering import recorded

TOY = PRESETS["toy"]


def test_a_toy_run_is_stored_whole(tmp_path, monkeypatch):
    table = players(TOY.arms, TOY.rounds, TOY.switches)
    some = {name: table[name] for name in ("UCB1", "Thompson", "Exp3", "sliding window")}
    monkeypatch.setattr(bandit, "players", lambda arms, rounds, changes: some)
    with recorded() as programs:
        path = bandit.main(dataclasses.replace(TOY, results=tmp_path), "python -m experiments.bandit toy")
    assert len(programs) == len(some) + 4, "one for each player, in all worlds, and one for each distribution"
    metrics = storage.read_result(path).metrics
    regret = metrics["regret"]
    assert regret.dims == ("player", "distribution", "seed", "round")
    assert regret.coords["player"].values.tolist() == list(some)
    assert regret.sizes["distribution"] == 4
    assert regret.sizes["seed"] == 2
    assert np.all(regret.diff("round") >= -1e-4)
    assert np.all((metrics["greedy"] >= 0) & (metrics["greedy"] <= 1))
    assert regret.coords["round"][-1] == TOY.rounds
    claims = read_claims(path / "claims.json")
    assert {claim.id for claim in claims} == {"B-still", "B-moving", "B-window"}
    assert {claim.command for claim in claims} == {"python -m experiments.bandit toy"}
    drawn = figure.draw(storage.read_results(tmp_path, "bandit"))[0]
    assert [line.get_label() for line in drawn.figure.axes[0].lines] == list(some)


def test_the_figure_shows_what_is_stored(tmp_path):
    regret = np.random.default_rng(0).random((9, 2, 3, 4)).cumsum(axis=-1)
    regret[2] /= 100
    names = [f"player {i}" for i in range(9)]
    stored = named(regret, player=names, distribution=["a", "b"], seed=None, round=[1, 2, 4, 8])
    storage.write_result(tmp_path, "bandit", {}, {"regret": stored}, "python -m experiments.bandit quick")
    drawn = figure.draw(storage.read_results(tmp_path, "bandit"))[0]
    for column, axes in enumerate(drawn.figure.axes):
        for line, values in zip(axes.lines, regret[:, column], strict=True):
            np.testing.assert_allclose(np.asarray(line.get_ydata()), values.mean(axis=0))
    assert "player 2 (a) and player 2 (b)" in drawn.caption
    assert figure.draw([]) == []


def test_worlds_are_those_of_their_distributions():
    families = distributions(TOY.arms, TOY.rounds, TOY.switches, TOY.budget)
    key, shape = stream(TOY.seed, Use.BANDIT_WORLDS), (TOY.seeds, TOY.runs)
    moves = {}
    for name, family in families.items():
        mean = np.asarray(draw_worlds(family, key, shape, TOY.rounds).mean, np.float64)
        assert mean.shape == (*shape, TOY.rounds, TOY.arms)
        moves[name] = np.abs(np.diff(mean, axis=2)).max(axis=-1).sum(axis=-1)
    assert np.all(moves["uniform means"] == 0)
    assert np.all(moves["one gap of 0.2"] == 0)
    assert np.any(moves["switching"] > 0)
    assert np.all((moves["wandering"] > 0) & (moves["wandering"] <= TOY.budget * (1 + 1e-5)))
    assert len(players(5, 10_000, 4.0)) == 9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"arms": 1}, "arms: 1; expected an integer, at least 2"),
        ({"seeds": 1}, "seeds: 1; expected"),
        ({"switches": 1e6}, r"switches: 1000000\.0; expected a number in \[0, 40\]"),
        ({"budget": float("nan")}, "budget: nan; expected"),
        ({"results": __file__}, r"results: .*test_bandit\.py is a file; expected a folder"),
    ],
)
def test_bad_sizes_are_named(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        bandit.main(dataclasses.replace(TOY, **{"results": tmp_path, **change}), "python -m experiments.bandit toy")
