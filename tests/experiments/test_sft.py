"""The fine-tuning study at toy size, end to end, and the command line's answers to wrong words."""

import dataclasses
import signal
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from experiments import cli, rooms
from experiments.sft import __main__ as sft_study
from experiments.sft.config import PRESETS
from experiments.sft.imitation import EXPERTS
from experiments.sft.methods import BASELINES, NETWORKS, POSTERIOR
from experiments.sft.primary import PRIMARY
from experiments.sft.stages import loss_curve, still_falling
from experiments.sft.tasks import held_out, room_domain
from experiments.streams import Use, stream
from jaxdm.analysis import storage
from jaxdm.analysis.claims import read_claims

TOY = dataclasses.replace(PRESETS["toy"], settings=("pomdp",))
"""One setting: all take the same path, and `make reproduce PRESET=toy` takes it with each."""


COMMAND = "python -m experiments.sft toy --settings pomdp"


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    return sft_study.main(dataclasses.replace(TOY, results=tmp_path_factory.mktemp("results")), COMMAND)


def test_the_study_stores_gaps_of_all_methods(stored):
    metrics = storage.read_result(stored).metrics
    gap = metrics["gap"]
    assert gap.dims == ("setting", "agent", "demonstrations", "seed")
    assert gap["agent"].values.tolist() == [*NETWORKS, POSTERIOR, *BASELINES]
    assert gap["demonstrations"].values.tolist() == list(TOY.demonstrations)
    assert gap.sizes["seed"] == TOY.seeds
    vote = gap.sel(setting="pomdp", agent="demonstration vote")
    assert np.all(np.isnan(vote.sel(demonstrations=0)))
    assert not np.any(np.isnan(vote.sel(demonstrations=1)))
    assert np.all(gap.sel(agent="random") > 0.3)
    shown = gap.sel(agent=POSTERIOR)
    assert np.all(shown.sel(demonstrations=1) < shown.sel(demonstrations=0))
    assert int(metrics["curve pomdp SFT"]["step"][-1]) == TOY.sft_steps
    for axis in ("cue_accuracy", "steps", "labels", "tasks"):
        assert metrics[f"axis_{axis}"][axis].values.tolist() == list(getattr(TOY.axes, axis))
        assert np.all(np.isfinite(metrics[f"axis_{axis}"]))
    for axis in ("axis_horizon_episodes", "axis_horizon_steps"):
        assert metrics[axis]["horizon"].values.tolist() == list(TOY.axes.horizon)
    overlap = metrics["imitation"]
    assert overlap.shape == (len(EXPERTS), len(EXPERTS), TOY.seeds)
    assert np.all((overlap >= 0) & (overlap <= 1))
    assert metrics["probe"].dims == ("network", "seed")


def test_random_streams_of_all_uses_are_apart():
    uses = [use for use in Use if use.name.startswith("SFT_") and use is not Use.SFT_TRAINING]
    phases = [stream(TOY.seed, Use.SFT_TRAINING, phase) for phase in ("pretraining", "fine-tuning")]
    keys = [stream(TOY.seed, use) for use in uses] + phases
    drawn = [np.asarray(jax.random.key_data(jax.random.split(key, 4000))) for key in keys]
    every = np.concatenate(drawn)
    assert len(np.unique(every, axis=0)) == len(every)


def test_every_seed_is_judged_on_its_own_tasks_of_identities_that_were_not_trained_on():
    domain = room_domain("pomdp", TOY.side, TOY.horizon, (0.3, 3.0), TOY.seed, TOY.train_share, TOY.train_tasks)
    assert domain.known is not None
    new = held_out(domain, TOY.seed, 2, TOY.test_tasks, 1)
    seen = held_out(domain, TOY.seed, 2, TOY.test_tasks, 1, seen=True)
    trained, *others = ({int(x) for x in task.identity} for task in (domain.pool, *new, *seen))
    groups = {identity // 2 for identity in trained}
    assert all(not groups & {identity // 2 for identity in each} for each in others[:2])
    assert all(each <= set(domain.known.tolist()) for each in others[2:])
    starts = [np.asarray(task.world.initial) for task in new]
    assert not np.any(np.all(starts[0][:, None] == starts[1][None], axis=(2, 3)))


def test_ambiguity_costs_a_pessimist():
    """Each doubling of the models costs at least a tenth of what there is to gain, by two standard errors."""
    cost, error = rooms.cost_of_ambiguity(jax.random.key(100), 3, 6, (1, 2, 4), 64)
    assert cost[0] == 1
    assert np.all(-np.diff(cost) - 2 * error[1:] >= 0.1)


def test_primary_rows_are_twelve_and_exist(stored):
    assert len(PRIMARY) == len(set(PRIMARY)) == 12
    rows = {row.id for row in read_claims(stored / "claims.json")}
    of_one_setting = {name for name in PRIMARY if "MDP" not in name or name.startswith("SFT-POMDP")}
    assert of_one_setting - rows == {"SFT-hidden", "SFT-models"}  # which compare settings, or need another


def test_the_study_states_its_claims(stored):
    rows = read_claims(stored / "claims.json")
    assert {"SFT-POMDP-order", "SFT-cue-accuracy", "SFT-belief", "SFT-pretraining"} <= {row.id for row in rows}
    assert {row.rank for row in rows} == {"preview"}
    assert {row.verdict for row in rows} <= {"holds", "differs", "inconclusive"}
    assert all(row.low <= row.high for row in rows)


def test_labelled_data_are_stored_and_a_run_again_reads_them(stored):
    folder = stored.parent.parent / "checkpoints" / "sft"
    files = sorted(folder.glob("*/data/pomdp_SFT_*.npz"))
    assert len(files) == TOY.seeds
    before = {path: path.stat().st_mtime_ns for path in files}
    again = sft_study.main(dataclasses.replace(TOY, results=stored.parent.parent), COMMAND)
    assert {path: path.stat().st_mtime_ns for path in files} == before
    assert again == stored


@pytest.mark.parametrize("world", ["tiger", "file"])
def test_a_world_by_name_or_from_a_file_is_trained_on(tmp_path, world):
    if world == "file":
        world = str(tmp_path / "two.MDP")
        Path(world).write_text(TWO_STATES)
    config = dataclasses.replace(TOY, world=world, results=tmp_path)
    found = storage.read_result(sft_study.main(config, f"{COMMAND} --world {world}"))
    gap = found.metrics["gap"].sel(demonstrations=1)
    assert np.all(np.isfinite(gap.sel(agent=["SFT", "ICL-only", POSTERIOR])))
    assert np.all(gap.sel(agent=POSTERIOR) < gap.sel(agent="random"))
    assert len(read_claims(found.path / "claims.json")) == 2


TWO_STATES = """discount: 0.9
values: reward
states: 2
actions: 2
T: 0
0.9 0.1
0.2 0.8
T: 1
0.3 0.7
0.6 0.4
R: 0 : 0 : * : * 1
R: 1 : 1 : * : * 2
"""


def test_a_flat_curve_falls_by_nothing():
    assert still_falling(np.ones((2, 50))).tolist() == [0, 0]
    np.testing.assert_allclose(still_falling(np.repeat([[1.0, 0.5]], [45, 5], axis=1)), 0.5)


def test_a_loss_curve_ends_at_the_last_step_and_keeps_the_mean():
    losses = np.random.default_rng(0).normal(size=(2, 130))
    last, means = loss_curve(losses, points=50)
    assert last[-1] == 130
    np.testing.assert_allclose(means @ np.diff(last, prepend=0) / 130, losses.mean(axis=1))


def test_where_results_go_is_no_part_of_what_they_are():
    elsewhere = dataclasses.replace(TOY, results=Path("elsewhere"))
    assert storage.config_hash(elsewhere) == storage.config_hash(TOY)
    assert storage.config_hash(dataclasses.replace(TOY, seed=1)) != storage.config_hash(TOY)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"settings": ("maze",)}, "settings: 'maze'; expected one of mdp, pomdp, apomdp"),
        ({"train_tasks": 0}, "train_tasks: 0; expected an integer, at least 1"),
        ({"side": 2}, "side: 2; expected an integer, at least 3"),
        ({"axes": dataclasses.replace(TOY.axes, slip=(0.1, 1.5))}, r"axes\.slip: 1\.5; expected a number in \[0, 1\]"),
        ({"network": dataclasses.replace(TOY.network, heads=3)}, r"network\.heads: 3; expected a divisor"),
        ({"demonstrations": (0, 1, 1)}, r"demonstrations: \(0, 1, 1\); expected each once"),
        ({"workers": 0}, "workers: 0; expected"),
        ({"rate": float("nan")}, "rate: nan; expected a positive finite number"),
        ({"seed": -1}, "seed: -1; expected"),
        ({"supports": -1}, "supports: -1"),
        ({"visit_exploration": 2.0}, "visit_exploration: 2.0; expected"),
        ({"demonstrations": (0,)}, "demonstrations: .*expected the training number 1 among them"),
        ({"seeds": 1}, "seeds: 1; expected an integer, at least 2"),
    ],
)
def test_wrong_values_are_refused_before_training(tmp_path, change, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        sft_study.main(dataclasses.replace(TOY, results=tmp_path, **change), COMMAND)


def test_an_unknown_preset_is_named():
    with pytest.raises(ValueError, match=r"^preset: 'fast'; expected one of quick, full, paper, toy"):
        cli.preset(PRESETS, "fast")


def test_the_command_line_answers_wrong_words_in_one_line():
    command = [sys.executable, "-m", "experiments.sft", "fast"]
    answer = subprocess.run(command, cwd=Path(cli.__file__).parent.parent, capture_output=True, text=True, check=False)
    assert answer.returncode == 2
    assert answer.stderr.strip() == "error: preset: 'fast'; expected one of quick, full, paper, toy"


def test_parts_run_at_once_and_answer_in_order():
    assert cli.at_once(lambda x: x * x, range(5), 2) == [0, 1, 4, 9, 16]
    with pytest.raises(ValueError, match=r"^workers: 0; expected at least 1"):
        cli.at_once(abs, [1], 0)


WAITING = """
import signal, threading
from experiments import cli
from experiments.sft import config

def part(number):
    print("ready", flush=True)
    threading.Event().wait(60)

signal.signal(signal.SIGINT, signal.default_int_handler)
cli.command_line(config.PRESETS, lambda *_: cli.at_once(part, [0], 1), None)
"""


def test_an_interruption_does_not_wait_for_parts_at_work():
    command = [sys.executable, "-c", WAITING, "toy"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    child = subprocess.Popen(command, cwd=Path(cli.__file__).parent.parent, **pipes)
    assert child.stdout is not None
    child.stdout.readline()
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=30)
    assert child.returncode == 130
    assert said.startswith("interrupted: run the same command again")
