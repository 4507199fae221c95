"""What is stored of a checked claim: its row, the table of its wrong versions, and the curves behind it.

Dimensions are those of each module's `curves(key, samples)`, if it has one: arrays by name, for figures.
"""

import inspect
from pathlib import Path
from types import ModuleType

import jax

from jaxdm.analysis import storage
from jaxdm.analysis.claims import Claim
from theory import mutations


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


def store(results: Path, claim: Claim, module: ModuleType, key: jax.Array, **options: int) -> list[mutations.Mutation]:
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
    storage.write_json(results / "theory" / f"{claim.id}.json", claim._asdict())
    table = mutations.run(claim.id, module, key, **options)
    mutations.store(results / "theory" / "mutations.json", table)
    if hasattr(module, "curves"):
        with jax.enable_x64(True):
            curves = module.curves(key, **options)
        words = jax.random.key_data(key).tolist()
        storage.write_result(results, "theory", {"id": claim.id, "key": words, **options}, curves)
    return table
