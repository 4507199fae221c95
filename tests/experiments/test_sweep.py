"""The command `sweep`: several values of a field are an axis, sizes are programs, and the table, claims and figure."""

import csv
import dataclasses
import functools

import numpy as np
import optax
import pytest

import experiments.sft.sweep as sft_sweep
from experiments import sweep
from experiments.rmft import sweep as rmft_sweep
from experiments.rmft.comparison import explored
from experiments.rmft.training import Subject, initial_weights
from figures import sweep as figure
from figures.selection import chosen
from jaxdm import trainer
from jaxdm.analysis import storage
from jaxdm.analysis.claims import read_claims
from jaxdm.envs import families
from jaxdm.models.transformer import network
from jaxdm.rmft import distillation, games
from jaxdm.validation import InvalidInput

TOY = rmft_sweep.SWEEPS["toy"]


def given(*words):
    """The grid of a command line, without running it."""
    return sweep.read(rmft_sweep.SWEEPS, rmft_sweep.validate, ["toy", *words]).points


def test_every_combination_is_a_point_in_the_order_of_the_command():
    points = given("--bandit.keep", "2", "4", "--bandit.rate", "1e-3", "3e-3", "1e-2", "--seeds", "5")
    assert points.axes == {"bandit.keep": (2, 4), "bandit.rate": (1e-3, 3e-3, 1e-2)}
    assert [(one.bandit.keep, one.bandit.rate) for one in points.configs] == [
        (keep, rate) for keep in (2, 4) for rate in (1e-3, 3e-3, 1e-2)
    ]
    assert {one.seeds for one in points.configs} == {5}
    others = {dataclasses.replace(one, bandit=TOY.bandit, seeds=TOY.seeds) for one in points.configs}
    assert others == {TOY}, "all else is the preset's"


def test_every_field_that_can_be_swept_is_documented():
    for preset in (TOY, sft_sweep.SWEEPS["toy"]):
        for field in dataclasses.fields(preset):
            nested = dataclasses.is_dataclass(getattr(preset, field.name))
            assert nested or sweep.documentation(type(preset))[field.name], field.name


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--bandit.keep", "2", "2"), r"bandit.keep: \(2, 2\); expected at least one value, and each once"),
        (("--bandit.keep", "2", "9"), "bandit.keep: 9; expected at most rollouts = 4"),
        (("--ball.entropy", "0.1"), "ball: entropy 0.1, clip 0.0; expected 0 where no arm is drawn"),
    ],
)
def test_wrong_values_are_refused_before_work(words, message):
    with pytest.raises(InvalidInput, match=message):
        given(*words)


def test_the_swept_part_is_that_of_the_fields():
    assert rmft_sweep.part_of(given("--ball.rate", "1e-3", "1e-2")) == "ball"
    assert rmft_sweep.part_of(given("--online-length", "4", "5")) == "simplex"
    assert rmft_sweep.part_of(given("--part", "drift", "--length", "6", "8")) == "drift"
    assert rmft_sweep.part_of(given()) == "bandit"
    with pytest.raises(InvalidInput, match=r"drift\.rate: swept with part bandit; expected fields of bandit, "):
        rmft_sweep.part_of(given("--part", "bandit", "--drift.rate", "1e-3", "1e-2"))


def test_programs_are_told_apart_by_what_is_compiled_in(capsys):
    points = given("--bandit.credit", "equal", "to go", "--bandit.clip", "0", "0.2", "--bandit.rollouts", "4", "8")
    found = sweep.programs(points, functools.partial(rmft_sweep.structure, "bandit"))
    assert [len(members) for members in found.values()] == [2, 2, 2, 2]
    first = "program 1 of 4: bandit.rollouts 4, bandit.clip 0.0 (2 combinations)"
    assert first in capsys.readouterr().err.splitlines()


@pytest.mark.parametrize(
    ("machines", "message"),
    [
        ({"coordinator": "localhost:1"}, "expected all of them, or none"),
        ({"coordinator": "localhost:1", "processes": 2, "process": 2}, "process: 2; expected 0 to 1"),
        ({"cpu_devices": 0}, "cpu-devices: 0; expected at least 1"),
    ],
)
def test_a_process_is_named_whole(machines, message):
    with pytest.raises(InvalidInput, match=message):
        sweep.join(sweep.Machines(**machines))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"attitude": 0.5}, "attitude: 0.5; expected none in setting pomdp"),
        ({"cue_accuracy": 0.4}, r"cue_accuracy: 0.4; expected a number in \[0.5, 1\]"),
        ({"episodes": 3}, "episodes: 3; expected an even number"),
    ],
)
def test_wrong_points_of_the_fine_tuning_study_are_refused(change, message):
    with pytest.raises(InvalidInput, match=message):
        sft_sweep.validate(dataclasses.replace(sft_sweep.SWEEPS["toy"], **change))


def small(part, shared, values):
    """Two arms and three rounds, as a part of the study."""

    def instance(key, index):
        return families.bandit.one_gap(key, arms=2, gap=0.5)

    game = games.bandit_game(lambda key: instance(key, 0), 2, 3)
    net = network(values.bandit_network, game.features, game.outputs)
    return Subject(
        game=game,
        network=net,
        initial=initial_weights(shared, part, net),
        evaluated_on=game._replace(instance=instance),
        distributions=("training", "again"),
        measure=explored,
        runs=4,
    )


def shrinking(config, game, net):
    """A trainer that compiles in no time, in the place of rounds of fine-tuning, which have tests of their own."""

    def loss(params, key, data):
        return optax.tree.norm(params, squared=True)

    return trainer.make(loss, trainer.adamw(config.rate, config.rounds, decay=config.decay))


def test_a_sweep_is_stored_with_its_axes_a_table_claims_and_a_figure(tmp_path, monkeypatch):
    monkeypatch.setattr(distillation, "make_trainer", shrinking)
    monkeypatch.setattr(sweep, "join", lambda machines: None)  # the devices of this process are what they are
    run = functools.partial(rmft_sweep.run, subject=small)
    parse = sweep.command(rmft_sweep.SWEEPS, rmft_sweep.validate, run, None)
    words = ["toy", "--bandit.rate", "1e-3", "10", "--bandit.decay", "0", "0.01", "--seeds", "4"]
    _, work = parse([*words, "--results", str(tmp_path)])
    path = work("python -m experiments.rmft sweep toy --bandit.rate 1e-3 10")
    result = storage.read_result(path)
    assert (result.run.preset, result.run.changed) == ("toy", True)
    regret = result.metrics["regret"]
    assert regret.dims == ("bandit.rate", "bandit.decay", "distribution", "seed")
    assert regret["bandit.rate"].values.tolist() == [1e-3, 10]
    assert len(np.unique(regret.sel(distribution="training").values)) > 4, "points differ"
    before = result.metrics["initial_regret"].values
    assert np.all(before == before[:1, :1]), "all start from the same weights"
    rows = list(csv.DictReader((path / sweep.TABLE).read_text().splitlines()))
    assert len(rows) == regret.size
    for row in rows:
        at = {name: float(row[name]) for name in ("bandit.rate", "bandit.decay")}
        place = regret.sel({**at, "distribution": row["distribution"], "seed": int(row["seed"])})
        assert float(row["regret"]) == place.item()
    claims = {claim.id for claim in read_claims(path / storage.CLAIMS)}
    assert claims <= {f"SWEEP rmft bandit: bandit.rate, bandit.decay / bandit.{name}" for name in ("rate", "decay")}
    (drawn,) = figure.draw(chosen(storage.read_results(tmp_path, "sweep")))
    assert drawn.name == "sweep_rmft_bandit_bandit_rate_bandit_decay"
    assert [axes.get_xlabel() for axes in drawn.figure.axes] == ["bandit.rate", "bandit.decay"]
    assert [axes.get_xscale() for axes in drawn.figure.axes] == ["log", "linear"]
