"""The fine-tuning study at toy size, end to end, and the command line's answers to wrong words."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from experiments import findings, launch, sft
from experiments.sft_compare import NETWORKS, RIVALS
from experiments.sft_study import PRESETS, prepare
from jaxdm import storage

TOY = PRESETS["toy"]


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    return sft.main(dataclasses.replace(TOY, results=tmp_path_factory.mktemp("results")))


def test_the_study_stores_gaps_of_all_methods(stored):
    metrics = storage.read_result(stored).metrics
    assert [str(name) for name in metrics["methods"]] == [*NETWORKS, *RIVALS]
    gap = dict(zip([*NETWORKS, *RIVALS], metrics["gap"], strict=True))
    assert metrics["gap"].shape == (len(NETWORKS + RIVALS), len(TOY.demonstrations), TOY.seeds)
    np.testing.assert_allclose(gap["oracle"], 0, atol=1e-6)
    needy = np.isnan(gap["demonstration vote"])
    assert np.all(needy[0])
    assert not np.any(needy[1:])
    assert np.all(gap["random"] > 0.3)
    assert np.all(np.isfinite(metrics["curve_sft"]))


def test_the_study_states_its_claims(stored):
    claims = storage.read_claims(stored / "claims.json")
    assert {claim["id"] for claim in claims} == {"SFT-order", "SFT-half", "SFT-vote"}
    assert {claim["verdict"] for claim in claims} <= {"holds", "differs"}
    assert all(claim["low"] <= claim["high"] for claim in claims)


def test_a_finished_stage_is_read_from_its_checkpoint(stored):
    study = prepare(dataclasses.replace(TOY, results=stored.parent.parent))
    fresh = jax.vmap(study.network.init)(jax.random.split(jax.random.key(TOY.seed), TOY.seeds))
    again = sft.train(study, sft.imitator(study), "scratch", fresh)
    metrics = storage.read_result(stored).metrics
    np.testing.assert_array_equal(sft.windows(again.losses)[1], metrics["curve_scratch"])
    assert again.seconds == metrics["seconds_scratch"]


def test_where_results_go_is_no_part_of_what_they_are():
    elsewhere = dataclasses.replace(TOY, results=Path("elsewhere"))
    assert storage.config_hash(elsewhere) == storage.config_hash(TOY)
    assert storage.config_hash(dataclasses.replace(TOY, seed=1)) != storage.config_hash(TOY)


def test_findings_hold_and_differ_by_their_intervals():
    good, bad = np.array([0.1, 0.11, 0.12]), np.array([0.5, 0.52, 0.54])
    assert findings.below("a", "s", "t", good, 0.5, "c")["verdict"] == "holds"
    assert findings.below("a", "s", "t", bad, 0.5, "c")["verdict"] == "differs"
    assert findings.ordered("a", "s", "t", {"x": good, "y": bad}, "c")["verdict"] == "holds"
    assert findings.ordered("a", "s", "t", {"x": bad, "y": good}, "c")["verdict"] == "differs"
    assert findings.ordered("a", "s", "t", {"x": good, "y": good + 0.001}, "c")["verdict"] == "differs"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"setting": "pomdp"}, "setting: 'pomdp'; expected"),
        ({"train_tasks": 0}, "count: 0; expected"),
        ({"supports": -1}, "supports: -1"),
        ({"visit_exploration": 2.0}, "visit_exploration: 2.0; expected"),
        ({"demonstrations": (0,)}, "demonstrations: .*expected the training number 1 among them"),
        ({"seeds": 1}, "seeds: 1; expected at least 2"),
    ],
)
def test_wrong_values_are_refused_before_training(tmp_path, change, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        sft.main(dataclasses.replace(TOY, results=tmp_path, **change))


def test_an_unknown_preset_is_named():
    with pytest.raises(ValueError, match=r"^preset: 'fast'; expected one of quick, paper, toy"):
        launch.preset(PRESETS, "fast")


def test_the_command_line_answers_wrong_words_in_one_line():
    command = [sys.executable, "-m", "experiments.sft", "fast"]
    answer = subprocess.run(command, cwd=Path(__file__).parent.parent, capture_output=True, text=True, check=False)
    assert answer.returncode == 2
    assert answer.stderr.strip() == "error: preset: 'fast'; expected one of quick, paper, toy"
