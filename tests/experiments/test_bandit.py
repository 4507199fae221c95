"""The bandit comparison end to end at toy size, and its figure from made-up results."""

import dataclasses

import numpy as np
import pytest

from experiments import bandit
from experiments.bandit import LAWS, PRESETS, players, worlds
from figures import bandit as figure
from jaxdm.analysis import storage
from jaxdm.analysis.claims import read_claims

TOY = PRESETS["toy"]


COMMAND = "python -m experiments.bandit toy"


def test_a_toy_run_is_stored_whole(tmp_path, monkeypatch):
    some = {
        name: player for name, player in players(TOY).items() if name in ("UCB1", "Thompson", "Exp3", "sliding window")
    }
    monkeypatch.setattr(bandit, "players", lambda config: some)
    path = bandit.main(dataclasses.replace(TOY, results=tmp_path), COMMAND)
    metrics = storage.read_result(path).metrics
    names, points = metrics["players"].values.tolist(), len(metrics["times"])
    assert metrics["regret"].shape == (len(names), len(LAWS), 2, points)
    assert np.all(np.diff(metrics["regret"].values, axis=-1) >= -1e-4)
    assert np.all((metrics["greedy"] >= 0) & (metrics["greedy"] <= 1))
    assert metrics["times"][-1] == TOY.rounds
    assert {row.id for row in read_claims(path / "claims.json")} == {"B-still", "B-moving", "B-window"}
    drawn = figure.draw(tmp_path)[0]
    assert [line.get_label() for line in drawn.figure.axes[0].lines] == names


def test_the_figure_shows_what_is_stored(tmp_path):
    regret = np.random.default_rng(0).random((9, 2, 3, 4)).cumsum(axis=-1)
    regret[2] /= 100
    names = [f"player {i}" for i in range(9)]
    metrics = {"times": [1, 2, 4, 8], "players": names, "laws": ["a", "b"], "regret": regret}
    storage.write_result(tmp_path, "bandit", {}, bandit.named_metrics(metrics), COMMAND)
    drawn = figure.draw(tmp_path)[0]
    for column, axes in enumerate(drawn.figure.axes):
        for line, values in zip(axes.lines, regret[:, column], strict=True):
            np.testing.assert_allclose(np.asarray(line.get_ydata()), values.mean(axis=0))
    assert "player 2 (a) and player 2 (b)" in drawn.caption
    assert figure.draw(tmp_path / "nowhere") == []


def test_worlds_are_those_of_their_laws():
    made = [worlds(TOY, law) for law in range(len(LAWS))]
    moves = [np.abs(np.diff(np.asarray(world.mean, np.float64), axis=2)).max(axis=-1).sum(axis=-1) for world in made]
    assert np.all(moves[0] == 0)
    assert np.all(moves[1] == 0)
    assert np.any(moves[2] > 0)
    assert np.all((moves[3] > 0) & (moves[3] <= TOY.budget * (1 + 1e-5)))
    assert len(players(PRESETS["paper"])) == 9


@pytest.mark.parametrize(
    ("change", "message"), [({"arms": 1}, "arms: 1; expected at least 2"), ({"seeds": 1}, "seeds: 1; expected")]
)
def test_bad_sizes_are_named(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        bandit.main(dataclasses.replace(TOY, results=tmp_path, **change), COMMAND)
