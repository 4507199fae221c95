"""Results on disk: arrays with named axes beside what made them, in one file, written whole or not at all.

    results/<experiment>/<hash of config>/
        result.npz      the arrays, and what made them: configuration, command, preset, seed, versions, date
        claims.json     what the experiment found out about the statements it tests, see `jaxdm.analysis.claims`

Everything that must agree lies in one file, an archive that `numpy.load`, `unzip -p result.npz run.json` and any other
zip tool open. It is written under a hidden name beside its place, flushed, and renamed into it, in one step: a kill or
a full disk leaves either the old file, or none; of several writers the last one's stays, whole; a reader finds the old
one or the new one, never nothing. What a killed writer leaves behind is swept by the next one.

numpy and xarray only, so that a figure can be redrawn without jax.
"""

import contextlib
import dataclasses
import datetime
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import secrets
import shlex
import shutil
import socket
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import ml_dtypes
import numpy as np
import xarray as xr

FORMAT = 3
"""Of a stored result; results of another format are refused."""


RESULT, CLAIMS = "result.npz", "claims.json"
"""The files of a result."""


STALE = 86_400.0
"""Seconds after which a half-written file is swept that may be of a living process, such as one on another machine."""


PRESETS = ("toy", "quick", "full", "paper")
"""Names of presets, the smallest first."""


PACKAGES = ("jaxdm", "jax", "jaxlib", "numpy", "scipy")
"""Whose versions are stored with a result."""


OPTIONS_OF_SEL = frozenset({"method", "tolerance", "drop", "indexers"})
"""Names that no axis can have, for they could not be selected by."""


class Run(NamedTuple):
    """What made a result."""

    command: str  # as it was given
    preset: str | None  # one of `PRESETS`; none where a command has no presets
    changed: bool  # whether the command says more than the preset and where results go
    seed: int | None  # the configuration's, if it has one
    versions: dict[str, str]  # of Python and of `PACKAGES`, as far as they are installed
    date: str  # UTC, to the second, ISO 8601
    machine: str = "not stored"  # what it ran on: system, processor, cores; nothing that tells whose it is


class Archive(NamedTuple):
    """What one file of arrays and documents holds."""

    arrays: dict[str, np.ndarray]
    documents: dict[str, Any]  # JSON types


class Result(NamedTuple):
    """A stored result: where it lies, the configuration that made it, what ran it, and its arrays by name."""

    path: Path
    config: dict[str, Any]
    run: Run
    metrics: dict[str, xr.DataArray]


def named(values: Any, /, **axes: Sequence[Any] | np.ndarray | None) -> xr.DataArray:
    """An array with named axes, whose entries are selected by name: `gap.sel(agent="SFT", demonstrations=2)`.

    Args:
        values: an array of numbers or strings.
        axes: one for each dimension of `values`, in order: its name, and its coordinates (names or numbers), or None.

    Raises:
        ValueError: not one name for each dimension, not one coordinate for each place, a name that `sel` takes for an
            option of its own, or a masked array.
    """
    if isinstance(values, np.ma.MaskedArray):
        raise ValueError("values: a masked array; expected numbers alone, NaN where there is none")
    values = np.asarray(values)
    for name in OPTIONS_OF_SEL & axes.keys():
        raise ValueError(f"axes: {name!r} is an option of xarray's `sel`; expected another name")
    if len(axes) != values.ndim:
        raise ValueError(f"axes: {', '.join(axes) or 'none'}; expected {values.ndim}, for shape {values.shape}")
    coords = {}
    for size, (name, coordinates) in zip(values.shape, axes.items(), strict=True):
        if coordinates is not None:
            coords[name] = np.asarray(coordinates)
            if coords[name].dtype == np.float16:  # of which pandas makes no index
                coords[name] = coords[name].astype(np.float32)
            if coords[name].shape != (size,):
                raise ValueError(f"{name}: coordinates of shape {coords[name].shape}; expected {size} of them")
    return xr.DataArray(values, dims=tuple(axes), coords=coords)


def describe_run(command: str, config: Any) -> Run:
    """What a command says about its run: `python -m experiments.rmft quick --seed 3` is a changed quick preset.

    Args:
        command: as it was given.
        config: its configuration; the first `seed` in it is the run's.

    Raises:
        ValueError: a command that is no text, or whose quotes do not match.
    """
    if not isinstance(command, str):
        raise ValueError(f"command: {command!r:.80}; expected the command as it was given, a text")
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise ValueError(f"command: {command!r:.80} ({error}); expected a command with matching quotes") from error
    arguments = words[words.index("-m") + 2 :] if "-m" in words else words[1:]
    arguments = arguments[1:] if arguments[:1] == ["sweep"] else arguments
    preset = arguments[0] if arguments and arguments[0] in PRESETS else None
    options = [word for word in arguments if word.startswith("--") and word.partition("=")[0] != "--results"]
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return Run(
        command=command,
        preset=preset,
        changed=bool(options),
        seed=_first(as_plain(config), "seed"),
        versions=versions,
        date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        machine=f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    )


def _first(plain: Any, name: str) -> Any:
    """The value under a name in nested dictionaries, the outermost first; None where there is none."""
    if not isinstance(plain, dict):
        return None
    if name in plain:
        return plain[name]
    return next((found for value in plain.values() if (found := _first(value, name)) is not None), None)


def as_plain(config: Any) -> Any:
    """A configuration as JSON types: dataclasses become dictionaries that also name their class.

    A dataclass's paths are left out: where a result goes is no part of what it is.

    Raises:
        ValueError: a value that is not like JSON's, or two names of a mapping that are written alike.
    """
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        fields = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
        kept = {name: as_plain(value) for name, value in fields.items() if not isinstance(value, Path)}
        return {"class": type(config).__name__, **kept}
    if isinstance(config, Mapping):
        plain = {str(name): as_plain(value) for name, value in config.items()}
        if len(plain) < len(config):
            raise ValueError(f"config: names {list(config)}; expected names that differ when written")
        return plain
    if isinstance(config, (list, tuple)):
        return [as_plain(value) for value in config]
    if isinstance(config, Path):
        return str(config)
    if config is None or isinstance(config, (bool, int, float, str)):
        return config
    raise ValueError(f"config: {config!r} of type {type(config).__name__} cannot be stored; expected JSON-like values")


def config_hash(config: Any) -> str:
    """Twelve hexadecimal digits that name a configuration; equal ones get equal names, also with 1, 1.0 and True."""
    text = json.dumps(_equal_alike(as_plain(config)), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _equal_alike(plain: Any) -> Any:
    """JSON types in which numbers that are equal are written alike, as integers where they are whole."""
    if isinstance(plain, dict):
        return {name: _equal_alike(value) for name, value in plain.items()}
    if isinstance(plain, list):
        return [_equal_alike(value) for value in plain]
    whole = isinstance(plain, (bool, float)) and float(plain).is_integer()
    return int(plain) if whole else plain


def write_result(root: Path, experiment: str, config: Any, metrics: Mapping[str, Any], command: str) -> Path:
    """Store one result atomically, replacing an earlier one of the same configuration.

    Args:
        root: the results folder, made when missing.
        experiment: first folder level, e.g. `"sft"`.
        config: a (nested) dataclass or mapping of JSON-like values.
        metrics: by name, arrays whose axes have names (see `named`), or single numbers.
        command: what ran it, and runs it again.

    Returns:
        The folder of the result.

    Raises:
        ValueError: a metric without a name or of a type that cannot be stored, or an array whose axes have no names.
        OSError: nothing could be written; what was there before is untouched.
    """
    if not isinstance(experiment, str) or not experiment or experiment.startswith(".") or "/" in experiment:
        raise ValueError(f"experiment: {experiment!r:.80}; expected the name of a folder")
    if not isinstance(metrics, Mapping):
        raise ValueError(f"metrics: {type(metrics).__name__}; expected a mapping of names to arrays")
    arrays, axes = {}, {}
    for name, value in metrics.items():
        array = _as_named(name, value)
        arrays[f"metrics/{name}"] = array.values
        axes[name] = {dim: dim in array.coords for dim in map(str, array.dims)}
        for dim in filter(array.coords.__contains__, axes[name]):
            arrays[f"axes/{name}/{dim}"] = array.coords[dim].values
    run = {"format": FORMAT, "token": secrets.token_hex(8), **describe_run(command, config)._asdict(), "axes": axes}
    target = _as_path("root", root) / experiment / config_hash(config)
    write_archive(target / RESULT, Archive(arrays=arrays, documents={"run": run, "config": as_plain(config)}))
    return target


def _as_named(name: str, value: Any) -> xr.DataArray:
    """A metric with the names of its axes, of which a single number has none.

    Raises:
        ValueError: it could not be written, or not be read again.
    """
    if not isinstance(name, str) or not name.isprintable() or not name or "/" in name:
        raise ValueError(f"metrics: {name!r}; expected printable names without '/'")
    if isinstance(value, xr.DataArray):
        axes = {str(dim): value.coords[dim].values if dim in value.coords else None for dim in value.dims}
        return named(value.values, **axes)
    if np.ndim(value):
        raise ValueError(f"metrics: {name} is a bare array of shape {np.shape(value)}; expected named axes")
    return xr.DataArray(np.asarray(value))


def read_result(path: Path) -> Result:
    """Read one stored result.

    Raises:
        ValueError: the folder does not hold a whole result, or one of another format.
    """
    path = _as_path("path", path)
    if (path / "metrics.npz").exists() and not (path / RESULT).exists():
        raise ValueError(f"path: {path} has format 2 or older; expected {FORMAT}: run its experiment again")
    try:
        stored = read_archive(path / RESULT)
        config, run = stored.documents["config"], stored.documents["run"]
        if run["format"] == FORMAT:
            metrics = {}
            for name, axes in run["axes"].items():
                coords = {dim: stored.arrays[f"axes/{name}/{dim}"] if kept else None for dim, kept in axes.items()}
                metrics[name] = named(stored.arrays[f"metrics/{name}"], **coords)
            run = Run(**{name: run[name] for name in Run._fields if name in run})
            return Result(path=path, config=config, run=run, metrics=metrics)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"path: {path} is not a whole result ({error}); expected {RESULT}") from error
    raise ValueError(f"path: {path} has format {run['format']}; expected {FORMAT}: run its experiment again")


def check_folder(path: Path) -> None:
    """Refuse a path under which nothing can be stored, before any work.

    Raises:
        ValueError: the path, or what it would lie in, is a file, or may not be written.
    """
    path = Path(path)
    try:
        there = next((part for part in (path, *path.parents) if part.exists()), Path())
    except (OSError, ValueError) as error:
        raise ValueError(f"{str(path)[:80]!r} is no path ({error}); expected a folder") from error
    if not there.is_dir():
        raise ValueError(f"{there} is a file; expected a folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ValueError(f"{there} may not be written; expected a folder of yours")


def read_results(root: Path, experiment: str) -> list[Result]:
    """All results of an experiment, oldest first; folders in which none has been stored yet are passed over.

    Raises:
        ValueError: as `read_result`.
    """
    folder = _as_path("root", root) / experiment
    files = [file for name in ("metrics.npz", RESULT) for file in folder.glob(f"[!.]*/{name}")]
    times = {file.parent: (file.stat().st_mtime, file.parent.name) for file in files}
    return [read_result(path) for path in sorted(times, key=times.__getitem__)]


def _as_path(name: str, value: Any) -> Path:
    if not isinstance(value, (str, Path)):
        raise ValueError(f"{name}: {value!r:.80}; expected a path")
    return Path(value)


def result_token(path: Path) -> str | None:
    """What tells the result in a folder from those it replaced or will be replaced by; None where there is none.

    Raises:
        ValueError: the result is damaged.
    """
    file = _as_path("path", path) / RESULT
    return read_archive(file, arrays=False).documents["run"]["token"] if file.exists() else None


def write_archive(path: Path, content: Archive) -> Path:
    """Write arrays and documents to one file, atomically: numpy's `.npz`, with a `.json` member for each document.

    Raises:
        ValueError: an array of objects, or of a type that neither numpy nor ml_dtypes defines.
        OSError: nothing could be written; what was there before is untouched.
    """
    dtypes = {name: _dtype_name(name, array) for name, array in content.arrays.items()}
    documents = {name: json.dumps(value, indent=2) for name, value in {**content.documents, "dtypes": dtypes}.items()}
    with whole(path, "wb") as file, zipfile.ZipFile(file, "w", allowZip64=True) as archive:
        for name, array in content.arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asarray(_bits(array)), allow_pickle=False)
        for name, text in documents.items():
            archive.writestr(f"{name}.json", text)
    return Path(path)


def read_archive(path: Path, arrays: bool = True) -> Archive:
    """Read a file that `write_archive` wrote; without arrays its documents alone.

    Raises:
        ValueError: it is damaged.
        OSError: it cannot be read.
    """
    found: dict[str, np.ndarray] = {}
    try:
        with open(path, "rb") as file, zipfile.ZipFile(file) as archive:
            names = [name.removesuffix(".json") for name in archive.namelist() if name.endswith(".json")]
            documents = {name: json.loads(archive.read(f"{name}.json")) for name in names}
            for name, dtype in documents.pop("dtypes").items() if arrays else ():
                with archive.open(f"{name}.npy") as member:
                    stored = np.lib.format.read_array(member, allow_pickle=False)
                    member.read()  # to the end, where its checksum is compared
                extended = getattr(ml_dtypes, dtype, None)
                found[name] = stored if extended is None else stored.view(extended)
    except (zipfile.BadZipFile, KeyError, EOFError, ValueError, NotImplementedError) as error:
        raise ValueError(f"path: {path} is damaged ({error})") from error
    return Archive(arrays=found, documents=documents)


def _dtype_name(name: str, array: np.ndarray) -> str:
    """The name of an array's type.

    Raises:
        ValueError: it cannot be stored.
    """
    if array.dtype.kind not in "biufcSUmM" and not _is_extension(array.dtype):
        raise ValueError(f"{name}: dtype {array.dtype}; expected numbers, strings or times, without objects")
    return array.dtype.name


def _bits(array: np.ndarray) -> np.ndarray:
    """An array as numpy can write it: types that it does not know, such as bfloat16, as unsigned integers."""
    return np.asarray(array, order="C").view(f"u{array.dtype.itemsize}") if _is_extension(array.dtype) else array


def _is_extension(dtype: np.dtype) -> bool:
    return dtype.type.__module__ == ml_dtypes.__name__


def write_json(path: Path, value: Any) -> Path:
    """Write a JSON file atomically: it holds the old text or the whole new one."""
    return write_text(path, json.dumps(as_plain(value), indent=2) + "\n")


def write_text(path: Path, text: str) -> Path:
    """Write a text file atomically."""
    with whole(path, "w") as file:
        file.write(text)
    return Path(path)


@contextlib.contextmanager
def whole(path: Path, mode: str) -> Iterator[IO[Any]]:
    """A file to write that appears at `path`, in one step, when the block has ended well.

    Until then, and for ever if it does not, what was there stays. Of several writers the last one's file stays.

    Args:
        path: where; folders are made when missing.
        mode: "w" for text, in UTF-8, or "wb".

    Raises:
        ValueError: what is no path, or another mode.
    """
    path = _as_path("path", path)
    if mode not in ("w", "wb"):
        raise ValueError(f"mode: {mode!r}; expected 'w' or 'wb'")
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path.parent, f".{path.name}")
    staging = path.with_name(own_name(f".{path.name}"))  # unlike tempfile's, the file gets the user's permissions
    try:
        with open(staging, mode.replace("w", "x"), encoding=None if "b" in mode else "utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(staging, path)
    except BaseException:
        staging.unlink(missing_ok=True)
        raise


def own_name(stem: str) -> str:
    """A name for a file or folder that says which process of which machine writes it, and is nobody else's."""
    return f"{stem}-{_machine()}-{os.getpid()}-{secrets.token_hex(6)}"


def sweep(folder: Path, stem: str, current: str | None = None) -> None:
    """Remove what lies under names of `own_name` and is needed no more: writers that no longer live left it.

    What a writer of another machine left goes after `STALE` seconds. Where one of the names is the `current` one, it
    stays, and what this process wrote before goes too.
    """
    pattern = re.compile(rf"{re.escape(stem)}-(?P<machine>\w+)-(?P<process>\d+)-[0-9a-f]+(\..*)?")
    for name in os.listdir(folder):
        found = pattern.fullmatch(name)
        if not found or name == current:
            continue
        left, process, here = Path(folder) / name, int(found["process"]), found["machine"] == _machine()
        with contextlib.suppress(OSError):  # another writer may sweep it first
            over = here and (not _lives(process) or (current is not None and process == os.getpid()))
            if over or time.time() - left.stat().st_mtime > STALE:
                shutil.rmtree(left) if left.is_dir() else left.unlink()


def _machine() -> str:
    """A word for this machine, or container."""
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]


def _lives(process: int) -> bool:
    """Whether a process of this machine exists; where that cannot be asked without harm, yes."""
    if os.name != "posix":
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
