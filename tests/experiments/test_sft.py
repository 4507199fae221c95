"""The fine-tuning study at toy size, end to end, and the command line's answers to wrong words."""

import dataclasses
import signal
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from experiments import cli
from experiments.sft import __main__ as sft_study
from experiments.sft.config import PRESETS
from experiments.sft.imitation import EXPERTS
from experiments.sft.methods import BASELINES, NETWORKS
from experiments.sft.tasks import prepare
from experiments.sft.training import imitator, loss_curve
from experiments.streams import Use, stream
from jaxdm.analysis import storage
from jaxdm.analysis.claims import read_claims

TOY = dataclasses.replace(PRESETS["toy"], settings=("pomdp",))
"""One setting: all take the same path, and `make reproduce PRESET=toy` takes it with each."""


COMMAND = "python -m experiments.sft toy --settings pomdp"


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    folder = sft_study.main(dataclasses.replace(TOY, results=tmp_path_factory.mktemp("results")), COMMAND)
    return storage.read_results(folder.parent, "sft")[0].path


def test_the_study_stores_gaps_of_all_methods(stored):
    metrics = storage.read_result(stored).metrics
    gap = metrics["gap"]
    assert gap.dims == ("agent", "demonstrations", "seed")
    assert gap["agent"].values.tolist() == [*NETWORKS, *BASELINES]
    assert gap["demonstrations"].values.tolist() == list(TOY.demonstrations)
    assert gap.sizes["seed"] == TOY.seeds
    vote = gap.sel(agent="demonstration vote")
    assert np.all(np.isnan(vote.sel(demonstrations=0)))
    assert not np.any(np.isnan(vote.sel(demonstrations=1)))
    assert np.all(gap.sel(agent="random") > 0.3)
    assert np.all(np.isfinite(metrics["curve_sft"]))
    assert int(metrics["curve_sft"]["step"][-1]) == TOY.sft_steps
    for axis in ("cue_accuracy", "slip", "horizon", "pool"):
        assert metrics[f"axis_{axis}"][axis].values.tolist() == list(getattr(TOY.axes, axis))
        assert np.all(np.isfinite(metrics[f"axis_{axis}"]))
    overlap = metrics["imitation"]
    assert overlap.shape == (len(EXPERTS), len(EXPERTS), TOY.seeds)
    assert np.all((overlap >= 0) & (overlap <= 1))
    assert metrics["probe"].dims == ("network", "seed")
    assert np.all(metrics["probe"] <= 1)


def test_training_and_held_out_tasks_are_disjoint_by_their_keys():
    uses = [use for use in Use if use.name.startswith("SFT_") and use is not Use.SFT_TRAINING]
    phases = [stream(TOY.seed, Use.SFT_TRAINING, phase) for phase in ("pretraining", "fine-tuning")]
    keys = [stream(TOY.seed, use) for use in uses] + phases
    drawn = [np.asarray(jax.random.key_data(jax.random.split(key, 4000))) for key in keys]
    every = np.concatenate(drawn)
    assert len(np.unique(every, axis=0)) == len(every)
    study = prepare(TOY, "pomdp")
    pool, held_out = (np.asarray(task.world.initial) for task in (study.pool, study.held_out))
    assert not np.any(np.all(pool[:, None] == held_out[None], axis=-1))  # continuous: the cue's accuracy is in it


def test_the_study_states_its_claims(stored):
    rows = read_claims(stored / "claims.json")
    names = [
        "order",
        "half",
        "dpt",
        "vote",
        "control",
        "second-hand",
        "horizon",
        "cue-accuracy",
        "imitation",
        "beyond",
        "belief",
    ]
    assert {row.id for row in rows} <= {f"SFT-POMDP-{name}" for name in names}
    assert {"SFT-POMDP-order", "SFT-POMDP-cue-accuracy", "SFT-POMDP-belief"} <= {row.id for row in rows}
    assert {row.verdict for row in rows} <= {"holds", "differs", "inconclusive"}
    assert all(row.low <= row.high for row in rows)


def test_a_finished_stage_is_read_from_its_checkpoint(stored):
    study = prepare(TOY, "pomdp")
    seeds = jax.random.split(stream(TOY.seed, Use.SFT_INITIAL_WEIGHTS), TOY.seeds)
    sizes = {"supports": TOY.supports, "batch": TOY.batch, "rate": TOY.rate, "steps": TOY.sft_steps}
    again = sft_study.train(
        imitator(study.network, study.setting, targets=TOY.targets, **sizes),
        study.pool,
        jax.vmap(study.network.init)(seeds),
        jax.random.split(stream(TOY.seed, Use.SFT_TRAINING, "fine-tuning"), TOY.seeds),
        TOY.sft_steps,
        folder=stored.parent.parent / "checkpoints" / "sft" / storage.config_hash(TOY) / "pomdp" / "scratch",
        identity=[TOY, "pomdp", "scratch"],
        title="again",
    )
    metrics = storage.read_result(stored).metrics
    np.testing.assert_array_equal(loss_curve(again.losses)[1], metrics["curve_scratch"])
    assert again.seconds == metrics["seconds_scratch"]


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
        ({"hidden_mode_side": 2}, "hidden_mode_side: 2; expected an integer, at least 3"),
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
    with pytest.raises(ValueError, match=r"^preset: 'fast'; expected one of quick, paper, toy"):
        cli.preset(PRESETS, "fast")


def test_the_command_line_answers_wrong_words_in_one_line():
    command = [sys.executable, "-m", "experiments.sft", "fast"]
    answer = subprocess.run(command, cwd=Path(cli.__file__).parent.parent, capture_output=True, text=True, check=False)
    assert answer.returncode == 2
    assert answer.stderr.strip() == "error: preset: 'fast'; expected one of quick, paper, toy"


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
