"""What is stored of a checked claim: its row, the table of its wrong versions, and the curves behind it.

Dimensions are those of each module's `curves(key, samples)`, if it has one: arrays by name, for figures.
"""

import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import jax

from jaxdm.analysis import storage
from jaxdm.analysis.claims import HOLDS, Claim, write_rows

AXES: dict[str, tuple[str, ...]] = {
    "errors": ("length", "run"),
    "exact": ("length",),
    "gap": ("length", "context", "run"),
    "estimation": ("length", "context", "run"),
    "bias": ("length", "run"),
    "squares": ("context", "run"),
    "excess": ("features", "seed", "step"),
    "factors": ("instance",),
    "softmax": ("length", "context", "seed"),
    "linear": ("length", "context"),
    "softmax_limit": ("length", "seed"),
    "linear_limit": ("length",),
    "softmax_scaled": ("scale", "seed"),
    "linear_scaled": ("scale",),
    "norms": ("label", "seed", "step"),
    "L7 trained": ("features", "seed", "row", "column"),
    "L7 closed": ("features", "row", "column"),
    "L8 errors": ("scale", "estimator"),
    "L8d trained": ("label", "seed", "row", "column"),
    "L8d closed": ("row", "column"),
}
"""Of the arrays of `curves`, some of one claim alone."""


COORDINATES = {
    "lengths": "length",
    "contexts": "context",
    "pools": "features",
    "labels": "label",
    "steps": "step",
    "scales": "scale",
    "methods": "estimator",
}
"""Arrays of `curves` that hold the coordinates of an axis."""


def named_curves(id: str, curves: Mapping[str, Any]) -> dict[str, Any]:
    """Curves with names and coordinates of every axis, as stored."""
    known = {axis: curves[name] for name, axis in COORDINATES.items() if name in curves}
    axes = {name: {axis: None} for name, axis in COORDINATES.items()}
    for name in curves.keys() - axes.keys():
        axes[name] = {axis: known.get(axis) for axis in AXES.get(f"{id} {name}", AXES.get(name, ()))}
    return {name: storage.named(value, **axes[name]) for name, value in curves.items()}


class Mutation(NamedTuple):
    """One wrong version of a claim, what the check measured of it, and whether it was rejected."""

    id: str
    wrong: str
    measured: float
    target: str
    rejected: bool


def run_mutations(id: str, module: ModuleType, key: jax.Array, **options: int) -> list[Mutation]:
    """Check the wrong versions of one claim, in float64.

    Args:
        id: of the claim.
        module: has `check` and, unless it has no wrong versions, `WRONG`.
        key: random key; all versions see the same draws.
        options: `samples`.
    """
    table = []
    with jax.enable_x64(True):
        for name, form in getattr(module, "WRONG", {}).items():
            found = module.check(key, form=form, **options)
            rejected = found.verdict != HOLDS
            table.append(Mutation(id=id, wrong=name, measured=found.measured, target=found.target, rejected=rejected))
    return table


def store_mutations(path: Path, table: list[Mutation]) -> Path:
    """Write rows to a JSON file that may hold those of other claims, which stay."""
    done = {row.id for row in table}
    kept = json.loads(path.read_text()) if path.exists() else []
    return storage.write_json(path, [row for row in kept if row["id"] not in done] + [row._asdict() for row in table])


def options(id: str, module: ModuleType, samples: float | None) -> dict[str, int]:
    """Keyword arguments of a module's `check` for the number of samples that was asked for, if any.

    Raises:
        ValueError: no samples, or samples for a claim that draws none.
    """
    if samples is None:
        return {}
    if not samples >= 1:
        raise ValueError(f"samples: {samples}; expected at least 1")
    if "samples" not in inspect.signature(module.check).parameters:
        raise ValueError(f"samples: {samples:g}; expected none, for {id} draws no samples")
    return {"samples": int(samples)}


def store_claim(results: Path, claim: Claim, module: ModuleType, key: jax.Array, **options: int) -> list[Mutation]:
    """Write a claim, its wrong versions and its curves, all from the draws of this key.

    Args:
        results: the results folder.
        claim: that of `module.check`.
        module: has `check`, and maybe `WRONG` and `curves`.
        key: what `check` was given.
        options: `samples`.

    Returns:
        The wrong versions.
    """
    write_rows(results / "theory" / f"{claim.id}.json", [claim])
    table = run_mutations(claim.id, module, key, **options)
    store_mutations(results / "theory" / "mutations.json", table)
    if hasattr(module, "curves"):
        with jax.enable_x64(True):
            curves = module.curves(key, **options)
        words = jax.random.key_data(key).tolist()
        storage.write_result(
            results, "theory", {"id": claim.id, "key": words, **options}, named_curves(claim.id, curves), claim.command
        )
    return table
