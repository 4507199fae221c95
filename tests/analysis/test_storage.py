"""Results on disk: equal configurations meet, and a write that dies leaves what was there, or nothing."""

import dataclasses
import datetime
import errno
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import ml_dtypes
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
    equal = [{"a": one, "b": [zero]} for one, zero in ((1, 0), (1.0, -0.0), (True, False))]
    assert len({storage.config_hash(config) for config in equal}) == 1
    assert storage.config_hash({"a": 2**53 + 1}) != storage.config_hash({"a": float(2**53)})
    with pytest.raises(ValueError, match=r"config: names \[1, '1'\]; expected names that differ when written"):
        storage.config_hash({1: 0, "1": 0})
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
        os.utime(path / storage.RESULT, (age, age))
    assert [result.config["seed"] for result in storage.read_results(tmp_path, "sft")] == [2, 1, 0]


DEATHS = [(np.lib.format, "write_array"), (json, "dumps"), (os, "fsync"), (os, "replace")]


@pytest.mark.parametrize(("module", "name"), DEATHS, ids=[name for _, name in DEATHS])
@pytest.mark.parametrize("before", [None, 1.0], ids=["nothing before", "a result before"])
def test_a_write_that_fails_leaves_what_was_there(tmp_path, monkeypatch, module, name, before):
    config = {"seed": 0}
    if before is not None:
        storage.write_result(tmp_path, "sft", config, {"loss": before}, COMMAND)
    digest = storage.config_hash(config)
    with monkeypatch.context() as patch:
        patch.setattr(storage, "config_hash", lambda _: digest)
        patch.setattr(module, name, full)
        with pytest.raises(OSError, match="No space left"):
            storage.write_result(tmp_path, "sft", config, {"loss": 2.0}, COMMAND)
    found = [float(result.metrics["loss"]) for result in storage.read_results(tmp_path, "sft")]
    assert found == ([] if before is None else [before])
    assert not list((tmp_path / "sft").glob("*/.*")), "no leftovers"


WRITER = """
    import sys
    from pathlib import Path
    import numpy as np
    from jaxdm.analysis.storage import named, write_result
    root, first, times = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    for i in range(first, first + times):
        metrics = {"number": i, "same": named(np.full((50, 50), i), row=None, column=None)}
        write_result(root, "sft", {"seed": 0}, metrics, "python -m experiments.sft toy")
        print(i, flush=True)
"""


def writer(root: Path, first: int, times: int) -> subprocess.Popen:
    """A process that stores its number in one result, again and again."""
    command = [sys.executable, "-c", textwrap.dedent(WRITER), str(root), str(first), str(times)]
    here = Path(__file__).parents[2]
    return subprocess.Popen(command, cwd=here, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def read_whole(root: Path) -> int:
    """The number of the one result, every part of which must be of the same write."""
    (result,) = storage.read_results(root, "sft")
    number = int(result.metrics["number"])
    assert np.all(result.metrics["same"] == number)
    return number


def test_writers_of_one_result_do_not_disturb_each_other_or_readers(tmp_path):
    storage.write_result(tmp_path, "sft", {"seed": 0}, {"number": -1, "same": -1}, COMMAND)
    writers = [writer(tmp_path, first, 10) for first in (0, 100, 200)]
    reads = 0
    while any(process.poll() is None for process in writers):
        read_whole(tmp_path)
        reads += 1
    ends = [process.communicate() for process in writers]
    assert [process.returncode for process in writers] == [0, 0, 0], ends
    assert reads > 0
    assert read_whole(tmp_path) in (9, 109, 209), "the last write of one of them"
    (folder,) = (tmp_path / "sft").iterdir()
    assert [file.name for file in folder.iterdir()] == [storage.RESULT]


def test_a_killed_writer_loses_nothing_and_is_swept_up_after():
    """Ten kills; in a process of its own, since a process with jax's threads must not be forked."""
    command = [sys.executable, "-m", "tests.analysis.killed_writers", "10"]
    found = subprocess.run(command, check=False, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    assert found.stdout.startswith("10 kills, ")
    assert found.stdout.endswith(" reads, none failed\n")


def test_files_of_the_living_are_not_swept_but_old_ones_are(tmp_path):
    target = tmp_path / "x.json"
    ours, elsewhere = f"{storage._machine()}-{os.getpid()}", "0123abcd-1"
    names = [f".x.json-{whose}-{age}" for whose in (ours, elsewhere) for age in ("0", "1")]
    for name in names:
        (tmp_path / name).touch()
        if name.endswith("1"):
            os.utime(tmp_path / name, (0, 0))
    (tmp_path / ".x.json-other").touch()
    storage.write_text(target, "text")
    assert {path.name for path in tmp_path.iterdir()} == {"x.json", ".x.json-other", names[0], names[2]}


def test_folders_in_which_nothing_was_stored_are_passed_over(tmp_path):
    for name in ("empty", "killed", ".hidden"):
        (tmp_path / "sft" / name).mkdir(parents=True)
    (tmp_path / "sft" / "killed" / ".result.npz-0123abcd-1-00").write_bytes(b"PK")
    (tmp_path / "sft" / "stray").touch()
    assert storage.read_results(tmp_path, "sft") == []
    with pytest.raises(ValueError, match=r"path: .*empty is not a whole result"):
        storage.read_result(tmp_path / "sft" / "empty")


NAMES = ("file", "allow_pickle", "arr_0", "run", "values", "a b.npy", "\N{GREEK SMALL LETTER GAMMA}")


def test_a_metric_may_have_any_name_that_can_be_seen(tmp_path):
    path = storage.write_result(tmp_path, "sft", {}, {name: named(np.ones(2), values=None) for name in NAMES}, COMMAND)
    assert storage.read_result(path).metrics.keys() == set(NAMES)
    unseen: list[Any] = ["", "a/b", "a\nb", 3]
    for name in unseen:
        with pytest.raises(ValueError, match=r"metrics: .*; expected printable names without '/'"):
            storage.write_result(tmp_path, "sft", {}, {name: 1.0}, COMMAND)


DTYPES = ("bool", "int8", "uint64", "float16", "float32", "complex64", "U3", "S2", "M8[s]", "bfloat16", "float8_e4m3fn")


@pytest.mark.parametrize("dtype", DTYPES)
def test_types_of_numbers_come_back_as_they_were(tmp_path, dtype):
    """As metrics of any shape, and as coordinates."""
    dtype = np.dtype(getattr(ml_dtypes, dtype, dtype))
    values = np.arange(3).astype("M8[s]" if dtype.kind == "M" else np.float32).astype(dtype)
    empty = np.zeros((0, 2), dtype)
    metrics = {"row": named(values, x=values), "one": xr.DataArray(values[1]), "none": named(empty, x=[], y=None)}
    metrics["turned"] = named(np.stack([values, values]).T, x=None, y=None)
    path = storage.write_result(tmp_path, "sft", {}, metrics, COMMAND)
    found = storage.read_result(path).metrics
    for name, value in metrics.items():
        assert found[name].dtype == dtype
        assert found[name].dims == value.dims
        np.testing.assert_array_equal(found[name].values, value.values)
    assert found["row"].coords["x"].dtype == (np.float32 if dtype == np.float16 else dtype)
    np.testing.assert_array_equal(found["row"].coords["x"].values, values)


def test_a_damaged_result_is_refused(tmp_path):
    path = storage.write_result(tmp_path, "sft", Config(), METRICS, COMMAND)
    file = path / storage.RESULT
    good = file.read_bytes()
    for damage in (b"", good[:100], good[:-30], good[:300] + bytes([good[300] ^ 1]) + good[301:]):
        file.write_bytes(damage)
        with pytest.raises(ValueError, match=r"path: .* is not a whole result .*; expected result.npz"):
            storage.read_results(tmp_path, "sft")


def test_results_are_as_readable_as_the_user_wants(tmp_path):
    before = os.umask(0o027)
    try:
        path = storage.write_result(tmp_path, "sft", Config(), {}, COMMAND)
        text = storage.write_text(tmp_path / "report.html", "x")
    finally:
        os.umask(before)
    modes = [p.stat().st_mode & 0o777 for p in (path, path / storage.RESULT, text)]
    assert modes == [0o750, 0o640, 0o640]


def test_claims_round_trip_and_are_replaced_with_their_result(tmp_path):
    claim = at_most("a", "text", "us", 0.5, 1.0)._replace(low=float("-inf"), high=float("nan"), verdict="differs")
    path = storage.write_result(tmp_path, "sft", Config(), {}, COMMAND)
    file = write_claims(path, [claim], COMMAND)
    (read,) = read_claims(file)
    assert read._replace(low=0, high=0) == claim._replace(low=0, high=0, command=COMMAND)
    assert np.isnan([read.low, read.high]).all()
    assert json.loads(file.read_text())["claims"][0]["low"] is None
    with pytest.raises(ValueError, match="verdict: 'so' of claim 'a'; expected one of"):
        write_claims(path, [claim._replace(verdict="so")], COMMAND)
    assert read_claims(file)[0].measured == 0.5
    storage.write_json(path / "other.json", {})
    with pytest.raises(ValueError, match="claim: None has no 'id'; expected id, statement"):
        read_claims(path / "other.json")
    storage.write_result(tmp_path, "sft", Config(), {}, COMMAND)
    assert read_claims(file) == [], "claims of a result that is no more are nobody's"


def test_bare_arrays_and_axes_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"metrics: gap is a bare array of shape \(2,\); expected named axes"):
        storage.write_result(tmp_path, "sft", Config(), {"gap": np.zeros(2)}, COMMAND)
    with pytest.raises(ValueError, match=r"axes: seed; expected 2, for shape \(2, 3\)"):
        named(np.zeros((2, 3)), seed=None)
    with pytest.raises(ValueError, match=r"agent: coordinates of shape \(3,\); expected 2 of them"):
        named(np.zeros(2), agent=["a", "b", "c"])
    with pytest.raises(ValueError, match="values: a masked array; expected numbers alone"):
        named(np.ma.masked_invalid([1.0, np.nan]), x=None)
    sneaked = xr.DataArray(np.zeros(2), dims="method")
    with pytest.raises(ValueError, match="axes: 'method' is an option of xarray's `sel`; expected another name"):
        storage.write_result(tmp_path, "sft", Config(), {"gap": sneaked}, COMMAND)
    with pytest.raises(ValueError, match="axes: 'method' is an option of xarray's `sel`; expected another name"):
        named(np.zeros(2), method=["a", "b"])
    assert not (tmp_path / "sft").exists()


def test_results_of_another_format_are_refused_in_one_line(tmp_path):
    path = storage.write_result(tmp_path, "sft", Config(), METRICS, COMMAND)
    stored = storage.read_archive(path / storage.RESULT)
    later = stored._replace(documents={**stored.documents, "run": {**stored.documents["run"], "format": 99}})
    storage.write_archive(path / storage.RESULT, later)
    with pytest.raises(ValueError, match=r"path: \S* has format 99; expected 3: run its experiment again$"):
        storage.read_results(tmp_path, "sft")
    (path / storage.RESULT).rename(path / "metrics.npz")
    with pytest.raises(ValueError, match=r"path: \S* has format 2 or older; expected 3: run its experiment again$"):
        storage.read_results(tmp_path, "sft")


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
    with pytest.raises(ValueError, match="metrics/bad: dtype object; expected numbers"):
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
