"""Results on disk: arrays with named axes beside what made them, written whole or not at all.

    results/<experiment>/<hash of config>/
        config.json     the configuration
        run.json        the command, its preset and seed, versions, date, and the axes of every array
        metrics.npz     the arrays
        claims.json     what the experiment found out about the statements it tests, see `jaxdm.analysis.claims`

numpy and xarray only, so that a figure can be redrawn without jax. A result is written to a temporary folder beside its
place, flushed, and renamed into it: a kill or a full disk leaves either the old result, or none, never half of one.
"""

import dataclasses
import datetime
import hashlib
import importlib.metadata
import json
import os
import platform
import secrets
import shlex
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

FORMAT = 2
"""Of a stored result; results of another format are refused."""


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


class Result(NamedTuple):
    """A stored result: where it lies, the configuration that made it, what ran it, and its arrays by name."""

    path: Path
    config: dict[str, Any]
    run: Run
    metrics: dict[str, xr.DataArray]


def named(values: Any, **axes: Sequence[Any] | np.ndarray | None) -> xr.DataArray:
    """An array with named axes, whose entries are selected by name: `gap.sel(agent="SFT", demonstrations=2)`.

    Args:
        values: an array of numbers or strings.
        axes: one for each dimension of `values`, in order: its name, and its coordinates (names or numbers), or None.

    Raises:
        ValueError: not one name for each dimension, not one coordinate for each place, or a name that `sel` takes for
            an option of its own.
    """
    values = np.asarray(values)
    for name in OPTIONS_OF_SEL & axes.keys():
        raise ValueError(f"axes: {name!r} is an option of xarray's `sel`; expected another name")
    if len(axes) != values.ndim:
        raise ValueError(f"axes: {', '.join(axes) or 'none'}; expected {values.ndim}, for shape {values.shape}")
    known = {}
    for size, (name, coordinates) in zip(values.shape, axes.items(), strict=True):
        if coordinates is not None:
            known[name] = np.asarray(coordinates)
            if known[name].shape != (size,):
                raise ValueError(f"{name}: coordinates of shape {known[name].shape}; expected {size} of them")
    return xr.DataArray(values, dims=tuple(axes), coords=known)


def describe_run(command: str, config: Any) -> Run:
    """What a command says about its run: `python -m experiments.rmft quick --seed 3` is a changed quick preset.

    Args:
        command: as it was given.
        config: its configuration; the first `seed` in it is the run's.
    """
    words = shlex.split(command)
    arguments = words[words.index("-m") + 2 :] if "-m" in words else words[1:]
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
    """
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        fields = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
        kept = {name: as_plain(value) for name, value in fields.items() if not isinstance(value, Path)}
        return {"class": type(config).__name__, **kept}
    if isinstance(config, Mapping):
        return {str(name): as_plain(value) for name, value in config.items()}
    if isinstance(config, (list, tuple)):
        return [as_plain(value) for value in config]
    if isinstance(config, Path):
        return str(config)
    if config is None or isinstance(config, (bool, int, float, str)):
        return config
    raise ValueError(f"config: {config!r} of type {type(config).__name__} cannot be stored; expected JSON-like values")


def config_hash(config: Any) -> str:
    """Twelve hexadecimal digits that name a configuration; equal configurations get equal names."""
    text = json.dumps(as_plain(config), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


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
        ValueError: an array whose axes have no names.
        OSError: nothing could be written; what was there before is untouched.
    """
    arrays = {name: _as_named(name, value) for name, value in metrics.items()}
    axes = {
        name: {dim: array.coords[dim].values.tolist() if dim in array.coords else None for dim in map(str, array.dims)}
        for name, array in arrays.items()
    }
    run = {"format": FORMAT, **describe_run(command, config)._asdict(), "axes": axes}
    target = Path(root) / experiment / config_hash(config)
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = _beside(target)
    staging.mkdir()
    try:
        with open(staging / "metrics.npz", "wb") as file:
            np.savez(file, allow_pickle=False, **{name: array.values for name, array in arrays.items()})
            _flush(file)
        for name, value in {"run": run, "config": as_plain(config)}.items():
            with open(staging / f"{name}.json", "w") as file:
                json.dump(value, file, indent=2)
                _flush(file)
        _swap(staging, target)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    return target


def _as_named(name: str, value: Any) -> xr.DataArray:
    """A metric with the names of its axes, of which a single number has none."""
    if isinstance(value, xr.DataArray):
        return value
    if np.ndim(value):
        raise ValueError(f"metrics: {name} is a bare array of shape {np.shape(value)}; expected named axes")
    return xr.DataArray(np.asarray(value))


def read_result(path: Path) -> Result:
    """Read one stored result.

    Raises:
        ValueError: the folder does not hold a whole result, or one of another format.
    """
    path = Path(path)
    try:
        config = json.loads((path / "config.json").read_text())
        with open(path / "metrics.npz", "rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        run = json.loads((path / "run.json").read_text()) if (path / "run.json").exists() else {}
        if run.get("format") == FORMAT:
            metrics = {name: named(array, **run["axes"][name]) for name, array in arrays.items()}
            run = Run(**{name: run[name] for name in Run._fields})
            return Result(path=path, config=config, run=run, metrics=metrics)
    except Exception as error:
        raise ValueError(
            f"path: {path} is not a whole result ({error}); expected config.json, run.json and metrics.npz"
        ) from error
    raise ValueError(
        f"path: {path} has format {run.get('format', 1)}; expected {FORMAT}: run its experiment again, or remove it"
    )


def read_results(root: Path, experiment: str) -> list[Result]:
    """All whole results of an experiment, oldest first; folders still being written are passed over."""
    folder = Path(root) / experiment
    if not folder.is_dir():
        return []
    paths = [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
    return [read_result(path) for path in sorted(paths, key=lambda path: path.stat().st_mtime)]


def write_json(path: Path, value: Any) -> Path:
    """Write a JSON file atomically: it holds the old text or the whole new one."""
    return write_text(path, json.dumps(as_plain(value), indent=2) + "\n")


def write_text(path: Path, text: str) -> Path:
    """Write a text file atomically."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = _beside(path)
    try:
        with open(staging, "x") as file:
            file.write(text)
            _flush(file)
        os.replace(staging, path)
    except BaseException:
        staging.unlink(missing_ok=True)
        raise
    return path


def _beside(target: Path) -> Path:
    """A hidden name in the same folder that no other writer has; unlike tempfile's, it gets the user's permissions."""
    return target.with_name(f".{target.name}-{secrets.token_hex(6)}")


def _swap(staging: Path, target: Path) -> None:
    """Put `staging` in the place of `target`, or leave `target` as it was."""
    retired = Path(f"{staging}-old")
    if target.exists():
        target.rename(retired)
    try:
        staging.rename(target)
    except BaseException:
        if retired.exists():
            retired.rename(target)
        raise
    shutil.rmtree(retired, ignore_errors=True)


def _flush(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())
