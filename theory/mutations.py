"""Would a check notice a wrong constant? Every claim is checked with each of its wrong versions put in its place.

A theory module lists them in `WRONG`: what to pass as `form` to its `check` instead of the true statement, by name.
`python -m theory` stores the table of claim against wrong version; a version that passes makes the claim's check void.
"""

import json
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import jax

from jaxdm.analysis import storage
from jaxdm.analysis.claims import HOLDS


class Mutation(NamedTuple):
    """One wrong version of a claim, what the check measured of it, and whether it was rejected."""

    id: str
    wrong: str
    measured: float
    target: str
    rejected: bool


def run(id: str, module: ModuleType, key: jax.Array, **options: int) -> list[Mutation]:
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


def store(path: Path, table: list[Mutation]) -> Path:
    """Write rows to a JSON file that may hold those of other claims, which stay."""
    done = {row.id for row in table}
    kept = json.loads(path.read_text()) if path.exists() else []
    return storage.write_json(path, [row for row in kept if row["id"] not in done] + [row._asdict() for row in table])
