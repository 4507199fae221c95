"""Results on disk: equal configurations meet, and a write that dies leaves what was there, or nothing."""

import dataclasses
import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest

from jaxdm.analysis import storage
from jaxdm.analysis.claims import CLAIM_FIELDS, read_claims, write_claims


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


METRICS = {
    "loss": np.linspace(0, 1, 5, dtype=np.float32),
    "methods": np.array(["sft", "icl"]),
    "steps": np.arange(3),
    "empty": np.zeros((0, 2)),
}


def full(*_args, **_kwargs):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_round_trip(tmp_path):
    path = storage.write_result(tmp_path, "sft", Config(seed=3), METRICS)
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
        np.testing.assert_array_equal(result.metrics[name], value)
        assert result.metrics[name].dtype == value.dtype


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
    storage.write_result(tmp_path, "sft", Config(), {"loss": np.zeros(2), "old": np.zeros(1)})
    path = storage.write_result(tmp_path, "sft", Config(), {"loss": np.ones(2)})
    assert storage.read_result(path).metrics.keys() == {"loss"}
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_results_come_oldest_first_and_none_from_nowhere(tmp_path):
    assert storage.read_results(tmp_path, "sft") == []
    paths = [storage.write_result(tmp_path, "sft", Config(seed=seed), {}) for seed in range(3)]
    for age, path in enumerate(reversed(paths)):
        os.utime(path, (age, age))
    assert [result.config["seed"] for result in storage.read_results(tmp_path, "sft")] == [2, 1, 0]


DEATHS = [(np, "savez"), (json, "dump"), (os, "fsync"), (Path, "rename")]


@pytest.mark.parametrize(("module", "name"), DEATHS, ids=[name for _, name in DEATHS])
@pytest.mark.parametrize("before", [None, 1.0], ids=["nothing before", "a result before"])
def test_a_write_that_dies_leaves_what_was_there(tmp_path, monkeypatch, module, name, before):
    if before is not None:
        storage.write_result(tmp_path, "sft", Config(), {"loss": before})
    with monkeypatch.context() as patch:
        patch.setattr(module, name, full)
        with pytest.raises(OSError, match="No space left"):
            storage.write_result(tmp_path, "sft", Config(), {"loss": 2.0})
    found = [float(result.metrics["loss"]) for result in storage.read_results(tmp_path, "sft")]
    assert found == ([] if before is None else [before])
    assert not list((tmp_path / "sft").glob(".*")), "no leftovers"


def test_a_failed_swap_puts_the_old_result_back(tmp_path, monkeypatch):
    path = storage.write_result(tmp_path, "sft", Config(), {"loss": 1.0})
    rename = Path.rename

    def second_fails(self, target):
        if Path(target) == path and not self.name.endswith("-old"):
            full()
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", second_fails)
        with pytest.raises(OSError, match="No space left"):
            storage.write_result(tmp_path, "sft", Config(), {"loss": 2.0})
    assert storage.read_result(path).metrics["loss"] == 1.0
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_killed_write_is_never_read(tmp_path, monkeypatch):
    """A kill runs no clean-up: the folder stays as it was at that moment, and readers pass over it."""
    with monkeypatch.context() as patch:
        patch.setattr(storage.shutil, "rmtree", lambda *_args, **_kwargs: None)
        patch.setattr(json, "dump", full)
        with pytest.raises(OSError, match="No space left"):
            storage.write_result(tmp_path, "sft", Config(), {"loss": 2.0})
    (left,) = (tmp_path / "sft").iterdir()
    assert (left / "metrics.npz").exists()
    assert storage.read_results(tmp_path, "sft") == []
    with pytest.raises(ValueError, match="is not a whole result"):
        storage.read_result(left)
    storage.write_result(tmp_path, "sft", Config(), {"loss": 3.0})
    assert [float(result.metrics["loss"]) for result in storage.read_results(tmp_path, "sft")] == [3.0]


def test_a_damaged_result_is_refused(tmp_path):
    path = storage.write_result(tmp_path, "sft", Config(), METRICS)
    archive = path / "metrics.npz"
    archive.write_bytes(archive.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"path: .* is not a whole result .* expected config.json and metrics.npz"):
        storage.read_result(path)


def test_results_are_as_readable_as_the_user_wants(tmp_path):
    before = os.umask(0o027)
    try:
        path = storage.write_result(tmp_path, "sft", Config(), {})
        text = storage.write_text(tmp_path / "report.html", "x")
    finally:
        os.umask(before)
    modes = [p.stat().st_mode & 0o777 for p in (path, path / "config.json", path / "metrics.npz", text)]
    assert modes == [0o750, 0o640, 0o640, 0o640]


def test_claims_round_trip_and_are_replaced_with_their_result(tmp_path):
    claim = dict.fromkeys(CLAIM_FIELDS, "text") | {"verdict": "differs", "refuted": None}
    claim |= {"measured": np.float32(0.5), "low": float("-inf"), "high": float("nan")}
    path = storage.write_result(tmp_path, "sft", Config(), {})
    file = write_claims(path, [claim | {"more": 1}])
    assert read_claims(file) == [claim | {"measured": 0.5, "low": None, "high": None}]
    with pytest.raises(ValueError, match="verdict: 'so' of claim 'text'; expected one of"):
        write_claims(path, [claim | {"verdict": "so"}])
    with pytest.raises(ValueError, match="claim: None has no 'id'; expected id, source"):
        write_claims(path, [{}])
    assert read_claims(file)[0]["measured"] == 0.5
    storage.write_result(tmp_path, "sft", Config(), {})
    assert not file.exists()


def test_objects_are_not_pickled(tmp_path):
    with pytest.raises(ValueError, match="allow_pickle"):
        storage.write_result(tmp_path, "sft", Config(), {"bad": np.array([object()])})
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
