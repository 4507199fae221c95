"""Results on disk: `results/<experiment>/<hash of config>/{config.json, metrics.npz}`, written whole or not at all.

A result folder may also hold `claims.json`, what the experiment found out about the statements it tests.
numpy only, so that a figure can be redrawn without jax. A result is written to a temporary folder beside its place,
flushed, and renamed into it: a kill or a full disk leaves either the old result, or none, never half of one.
"""

import dataclasses
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


class Result(NamedTuple):
    """A stored result: where it lies, the configuration that made it, and its arrays by name."""

    path: Path
    config: dict[str, Any]
    metrics: dict[str, np.ndarray]


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


def write_result(root: Path, experiment: str, config: Any, metrics: Mapping[str, Any]) -> Path:
    """Store one result atomically, replacing an earlier one of the same configuration.

    Args:
        root: the results folder, made when missing.
        experiment: first folder level, e.g. `"sft"`.
        config: a (nested) dataclass or mapping of JSON-like values.
        metrics: arrays by name.

    Returns:
        The folder that holds `config.json` and `metrics.npz`.

    Raises:
        OSError: nothing could be written; what was there before is untouched.
    """
    target = Path(root) / experiment / config_hash(config)
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = _beside(target)
    staging.mkdir()
    try:
        with open(staging / "metrics.npz", "wb") as file:
            np.savez(file, allow_pickle=False, **{name: np.asarray(value) for name, value in metrics.items()})
            _flush(file)
        with open(staging / "config.json", "w") as file:
            json.dump(as_plain(config), file, indent=2)
            _flush(file)
        _swap(staging, target)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    return target


def read_result(path: Path) -> Result:
    """Read one stored result.

    Raises:
        ValueError: the folder does not hold a whole result.
    """
    path = Path(path)
    try:
        config = json.loads((path / "config.json").read_text())
        with open(path / "metrics.npz", "rb") as file, np.load(file, allow_pickle=False) as archive:
            metrics = {name: archive[name] for name in archive.files}
    except Exception as error:
        raise ValueError(
            f"path: {path} is not a whole result ({error}); expected config.json and metrics.npz"
        ) from error
    return Result(path=path, config=config, metrics=metrics)


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
