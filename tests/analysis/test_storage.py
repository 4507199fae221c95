"""Results on disk: equal configurations meet, and a write that dies leaves what was there, or nothing."""

import dataclasses
import datetime
import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from jaxdm.analysis import storage
from jaxdm.analysis.claims import at_most, read_claims, write_claims
from jaxdm.analysis.storage import named


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inner:
    rate: float = 0.1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    seed: int = 0
    inner: Inner = Inner()
    sizes: tuple[int, ...] = (1, 2)
    where: Path = Path("x")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Other(Config):
    pass


COMMAND = "python -m experiments.sft quick"


METRICS = {
    "loss": named(np.linspace(0, 1, 6, dtype=np.float32).reshape(2, 3), agent=["SFT", "ICL"], share=[0.1, 0.5, 1.0]),
    "methods": named(np.array(["sft", "icl"]), agent=None),
    "steps": named(np.arange(3), step=[1, 2, 4]),
    "empty": named(np.zeros((0, 2)), agent=[], seed=None),
    "none": named(np.array([], "<U3"), name=[]),
    "seconds": named(np.float32(1.5)),
}


def full(*_args, **_kwargs):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_round_trip(tmp_path):
    path = storage.write_result(tmp_path, "sft", Config(seed=3), METRICS, COMMAND)
    assert path == tmp_path / "sft" / storage.config_hash(Config(seed=3))
    (result,) = storage.read_results(tmp_path, "sft")
    assert result.path == path
    assert result.config == {
        "class": "Config",
        "seed": 3,
        "inner": {"class": "Inner", "rate": 0.1},
        "sizes": [1, 2],
    }
    assert result.metrics.keys() == METRICS.keys()
    for name, value in METRICS.items():
        xr.testing.assert_identical(result.metrics[name], value)
        assert result.metrics[name].dtype == value.dtype
    assert result.metrics["loss"].sel(agent="ICL", share=0.5) == np.float32(0.8)
    assert (result.run.command, result.run.preset, result.run.changed, result.run.seed) == (COMMAND, "quick", False, 3)
    assert {"python", "jaxdm", "numpy"} <= result.run.versions.keys()
    assert datetime.datetime.fromisoformat(result.run.date).tzinfo is not None


def test_equal_configurations_have_equal_hashes_and_others_do_not():
    assert storage.config_hash(Config()) == storage.config_hash(Config(inner=Inner(rate=0.1)))
    assert storage.config_hash({"a": 1, "b": 2}) == storage.config_hash({"b": 2, "a": 1})
    different = [Config(), Config(seed=1), Config(inner=Inner(rate=0.2)), Config(sizes=(2, 1)), Other()]
    assert len({storage.config_hash(config) for config in different}) == 5
    # A stored configuration names the same folder as the one it came from.
    assert storage.config_hash(storage.as_plain(Config())) == storage.config_hash(Config())
    assert storage.config_hash(json.loads(json.dumps(storage.as_plain(Config())))) == storage.config_hash(Config())


@pytest.mark.parametrize("value", [np.float32(1), object(), {1, 2}, np.zeros(2), lambda: 0])
def test_configurations_that_cannot_be_stored_are_named(value):
    with pytest.raises(ValueError, match="cannot be stored; expected JSON-like values"):
        storage.config_hash({"a": [value]})


def test_writing_again_replaces_the_result(tmp_path):
    storage.write_result(tmp_path, "sft", Config(), {"loss": 0.0, "old": 0.0}, COMMAND)
    path = storage.write_result(tmp_path, "sft", Config(), {"loss": 1.0}, COMMAND)
    assert storage.read_result(path).metrics.keys() == {"loss"}
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_results_come_oldest_first_and_none_from_nowhere(tmp_path):
    assert storage.read_results(tmp_path, "sft") == []
    paths = [storage.write_result(tmp_path, "sft", Config(seed=seed), {}, COMMAND) for seed in range(3)]
    for age, path in enumerate(reversed(paths)):
        os.utime(path, (age, age))
    assert [result.config["seed"] for result in storage.read_results(tmp_path, "sft")] == [2, 1, 0]


DEATHS = [(np, "savez"), (json, "dump"), (os, "fsync"), (Path, "rename")]


@pytest.mark.parametrize(("module", "name"), DEATHS, ids=[name for _, name in DEATHS])
@pytest.mark.parametrize("before", [None, 1.0], ids=["nothing before", "a result before"])
def test_a_write_that_dies_leaves_what_was_there(tmp_path, monkeypatch, module, name, before):
    if before is not None:
        storage.write_result(tmp_path, "sft", Config(), {"loss": before}, COMMAND)
    with monkeypatch.context() as patch:
        patch.setattr(module, name, full)
        with pytest.raises(OSError, match="No space left"):
            storage.write_result(tmp_path, "sft", Config(), {"loss": 2.0}, COMMAND)
    found = [float(result.metrics["loss"]) for result in storage.read_results(tmp_path, "sft")]
    assert found == ([] if before is None else [before])
    assert not list((tmp_path / "sft").glob(".*")), "no leftovers"


def test_a_failed_swap_puts_the_old_result_back(tmp_path, monkeypatch):
    path = storage.write_result(tmp_path, "sft", Config(), {"loss": 1.0}, COMMAND)
    rename = Path.rename

    def second_fails(self, target):
        if Path(target) == path and not self.name.endswith("-old"):
            full()
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", second_fails)
        with pytest.raises(OSError, match="No space left"):
            storage.write_result(tmp_path, "sft", Config(), {"loss": 2.0}, COMMAND)
    assert storage.read_result(path).metrics["loss"] == 1.0
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_killed_write_is_never_read(tmp_path, monkeypatch):
    """A kill runs no clean-up: the folder stays as it was at that moment, and readers pass over it."""
    with monkeypatch.context() as patch:
        patch.setattr(storage.shutil, "rmtree", lambda *_args, **_kwargs: None)
        patch.setattr(json, "dump", full)
        with pytest.raises(OSError, match="No space left"):
            storage.write_result(tmp_path, "sft", Config(), {"loss": 2.0}, COMMAND)
    (left,) = (tmp_path / "sft").iterdir()
    assert (left / "metrics.npz").exists()
    assert storage.read_results(tmp_path, "sft") == []
    with pytest.raises(ValueError, match="is not a whole result"):
        storage.read_result(left)
    storage.write_result(tmp_path, "sft", Config(), {"loss": 3.0}, COMMAND)
    assert [float(result.metrics["loss"]) for result in storage.read_results(tmp_path, "sft")] == [3.0]


def test_a_damaged_result_is_refused(tmp_path):
    path = storage.write_result(tmp_path, "sft", Config(), METRICS, COMMAND)
    archive = path / "metrics.npz"
    archive.write_bytes(archive.read_bytes()[:100])
    with pytest.raises(
        ValueError, match=r"path: .* is not a whole result .* expected config.json, run.json and metrics.npz"
    ):
        storage.read_result(path)


def test_results_are_as_readable_as_the_user_wants(tmp_path):
    before = os.umask(0o027)
    try:
        path = storage.write_result(tmp_path, "sft", Config(), {}, COMMAND)
        text = storage.write_text(tmp_path / "report.html", "x")
    finally:
        os.umask(before)
    modes = [p.stat().st_mode & 0o777 for p in (path, path / "config.json", path / "metrics.npz", text)]
    assert modes == [0o750, 0o640, 0o640, 0o640]


def test_claims_round_trip_and_are_replaced_with_their_result(tmp_path):
    claim = at_most("a", "text", "us", 0.5, 1.0)._replace(low=float("-inf"), high=float("nan"), verdict="differs")
    path = storage.write_result(tmp_path, "sft", Config(), {}, COMMAND)
    file = write_claims(path, [claim], COMMAND)
    (read,) = read_claims(file)
    assert read._replace(low=0, high=0) == claim._replace(low=0, high=0, command=COMMAND)
    assert np.isnan([read.low, read.high]).all()
    assert json.loads(file.read_text())[0]["low"] is None
    with pytest.raises(ValueError, match="verdict: 'so' of claim 'a'; expected one of"):
        write_claims(path, [claim._replace(verdict="so")], COMMAND)
    assert read_claims(file)[0].measured == 0.5
    storage.write_json(path / "other.json", {})
    with pytest.raises(ValueError, match="claim: None has no 'id'; expected id, statement"):
        read_claims(path / "other.json")
    storage.write_result(tmp_path, "sft", Config(), {}, COMMAND)
    assert not file.exists()


def test_bare_arrays_and_axes_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"metrics: gap is a bare array of shape \(2,\); expected named axes"):
        storage.write_result(tmp_path, "sft", Config(), {"gap": np.zeros(2)}, COMMAND)
    with pytest.raises(ValueError, match=r"axes: seed; expected 2, for shape \(2, 3\)"):
        named(np.zeros((2, 3)), seed=None)
    with pytest.raises(ValueError, match=r"agent: coordinates of shape \(3,\); expected 2 of them"):
        named(np.zeros(2), agent=["a", "b", "c"])
    with pytest.raises(ValueError, match="axes: 'method' is an option of xarray's `sel`; expected another name"):
        named(np.zeros(2), method=["a", "b"])
    assert not (tmp_path / "sft").exists()


def test_results_of_another_format_are_refused_in_one_line(tmp_path):
    path = storage.write_result(tmp_path, "sft", Config(), METRICS, COMMAND)
    run = json.loads((path / "run.json").read_text())
    for content, found in (({**run, "format": 99}, 99), (None, 1)):
        if content is None:
            (path / "run.json").unlink()
        else:
            storage.write_json(path / "run.json", content)
        with pytest.raises(ValueError, match=f"path: {path} has format {found}; expected 2: run its") as caught:
            storage.read_results(tmp_path, "sft")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("command", "preset", "changed"),
    [
        ("python -m experiments.rmft quick", "quick", False),
        ("python -m experiments.rmft paper --results /tmp/x", "paper", False),
        ("python -m experiments.rmft toy --results=x --seed 3", "toy", True),
        ("python -m theory L1", None, False),
        ("python -m theory L1 --samples 10", None, True),
    ],
)
def test_a_command_says_which_preset_ran_and_whether_it_was_changed(command, preset, changed):
    run = storage.describe_run(command, {"setting": "mdp", "config": Config(seed=5)})
    assert (run.preset, run.changed, run.seed) == (preset, changed, 5)


def test_objects_are_not_pickled(tmp_path):
    with pytest.raises(ValueError, match="allow_pickle"):
        storage.write_result(tmp_path, "sft", Config(), {"bad": named(np.array([object()]), x=None)}, COMMAND)
    assert storage.read_results(tmp_path, "sft") == []


@pytest.mark.parametrize(("module", "name"), [(os, "fsync"), (os, "replace")])
def test_a_text_file_holds_the_old_text_or_the_whole_new_one(tmp_path, monkeypatch, module, name):
    path = storage.write_json(tmp_path / "deep" / "claims.json", [{"id": "L1"}])
    assert json.loads(path.read_text()) == [{"id": "L1"}]
    with monkeypatch.context() as patch:
        patch.setattr(module, name, full)
        with pytest.raises(OSError, match="No space left"):
            storage.write_text(path, "new")
    assert json.loads(path.read_text()) == [{"id": "L1"}]
    assert [p.name for p in path.parent.iterdir()] == ["claims.json"]
