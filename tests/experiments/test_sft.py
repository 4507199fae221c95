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
from experiments.sft.methods import NETWORKS, RIVALS
from experiments.sft.tasks import key_of, prepare
from jaxdm.analysis import claims, storage
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
    assert metrics["methods"].values.tolist() == [*NETWORKS, *RIVALS]
    gap = dict(zip([*NETWORKS, *RIVALS], metrics["gap"].values, strict=True))
    assert metrics["gap"].shape == (len(NETWORKS + RIVALS), len(TOY.demonstrations), TOY.seeds)
    needy = np.isnan(gap["demonstration vote"])
    assert np.all(needy[0])
    assert not np.any(needy[1:])
    assert np.all(gap["random"] > 0.3)
    assert np.all(np.isfinite(metrics["curve_sft"]))
    for axis, points in {
        "quality": TOY.qualities,
        "slip": TOY.slips,
        "horizon": TOY.horizons,
        "pool": TOY.pools,
    }.items():
        assert list(metrics[f"axis_{axis}"]) == list(points)
        assert np.all(np.isfinite(metrics[f"axis_{axis}_gap"]))
    assert metrics["imitation"].shape == (len(metrics["teachers"]), len(metrics["teachers"]), TOY.seeds)
    assert np.all((metrics["imitation"] >= 0) & (metrics["imitation"] <= 1))
    assert metrics["probe"].shape == (len(metrics["probed"]), TOY.seeds)
    assert np.all(metrics["probe"] <= 1)


def test_training_and_held_out_tasks_are_disjoint_by_their_keys():
    uses = [key_of(TOY, use) for use in ("pool", "held out", "test", "probe", "training", "initial weights")]
    drawn = [np.asarray(jax.random.key_data(jax.random.split(key, 4000))) for key in uses]
    every = np.concatenate(drawn)
    assert len(np.unique(every, axis=0)) == len(every)
    study = prepare(TOY, "pomdp")
    numbers = lambda task: np.asarray(task.world.initial)  # continuous: the quality of the sign is in it
    assert not np.any(np.all(numbers(study.pool)[:, None] == numbers(study.held_out)[None], axis=-1))


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
        "quality",
        "imitation",
        "beyond",
        "belief",
    ]
    assert {row.id for row in rows} <= {f"SFT-POMDP-{name}" for name in names}
    assert {"SFT-POMDP-order", "SFT-POMDP-quality", "SFT-POMDP-belief"} <= {row.id for row in rows}
    assert {row.verdict for row in rows} <= {"holds", "differs"}
    assert all(row.low <= row.high for row in rows)


def test_a_finished_stage_is_read_from_its_checkpoint(stored):
    study = prepare(dataclasses.replace(TOY, results=stored.parent.parent), "pomdp")
    fresh = jax.vmap(study.network.init)(jax.random.split(key_of(TOY, "initial weights"), TOY.seeds))
    again = sft_study.train(study, sft_study.imitator(study, TOY.sft_steps), "scratch", fresh, TOY.sft_steps)
    metrics = storage.read_result(stored).metrics
    np.testing.assert_array_equal(sft_study.windows(again.losses)[1], metrics["curve_scratch"])
    assert again.seconds == metrics["seconds_scratch"]


def test_where_results_go_is_no_part_of_what_they_are():
    elsewhere = dataclasses.replace(TOY, results=Path("elsewhere"))
    assert storage.config_hash(elsewhere) == storage.config_hash(TOY)
    assert storage.config_hash(dataclasses.replace(TOY, seed=1)) != storage.config_hash(TOY)


def test_findings_hold_and_differ_by_their_intervals():
    good, bad = np.array([0.1, 0.11, 0.12]), np.array([0.5, 0.52, 0.54])
    assert claims.below("a", "s", "t", good, 0.5).verdict == "holds"
    assert claims.below("a", "s", "t", bad, 0.5).verdict == "differs"
    assert claims.ordered("a", "s", "t", {"x": good, "y": bad}).verdict == "holds"
    assert claims.ordered("a", "s", "t", {"x": bad, "y": good}).verdict == "differs"
    assert claims.ordered("a", "s", "t", {"x": good, "y": good + 0.001}).verdict == "differs"
    assert claims.smaller("a", "s", "t", good, good + 0.001).verdict == "holds"  # worlds in common
    assert claims.smaller("a", "s", "t", good, good).verdict == "differs"
    assert claims.smaller("a", "s", "t", good, good[::-1]).verdict == "differs"
    assert claims.above("a", "s", "t", bad, 0.4).verdict == "holds"
    assert claims.above("a", "s", "t", good, 0.1).verdict == "differs"


def test_a_trend_is_the_slope_of_each_seed():
    points, slopes = np.array([1.0, 2.0, 4.0]), np.array([0.9, 1.0, 1.1])
    row = claims.rising("a", "s", "t", points, 3 + slopes * points[:, None])
    assert row.measured == pytest.approx(1.0)
    assert row.verdict == "holds"
    assert row.low == pytest.approx(1 - 4.302652729911275 * 0.1 / np.sqrt(3))  # t_{0.975}, 2 degrees of freedom
    assert claims.rising("a", "s", "t", points, -slopes * points[:, None]).verdict == "differs"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"settings": ("maze",)}, "settings: 'maze'; expected one of mdp, pomdp, apomdp"),
        ({"train_tasks": 0}, "count: 0; expected"),
        ({"supports": -1}, "supports: -1"),
        ({"visit_exploration": 2.0}, "exploration: 2.0; expected"),
        ({"demonstrations": (0,)}, "demonstrations: .*expected the training number 1 among them"),
        ({"seeds": 1}, "seeds: 1; expected at least 2"),
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
