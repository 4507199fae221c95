"""How a claim is checked: as it is stated, and in every wrong version; and what is stored of that.

A module that states a theorem has

    check(key, samples, form=STATED) -> Claim   measures the statement `form`, which holds when it is as stated
    WRONG                                       wrong statements by name; the first is the refutation
    curves(key, samples)                        maybe: the arrays behind the claim, for figures, their axes named

A check that cannot fail proves nothing: every entry of `WRONG` is put to the same draws, and must be rejected. Where
one passes, whatever the check said of the claim is worth nothing, and its verdict is `VOID`.
"""

import inspect
import itertools
import json
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import jax

from jaxdm.analysis import storage
from jaxdm.analysis.claims import HOLDS, VOID, Claim, write_rows
from jaxdm.validation import InvalidInput


class Mutation(NamedTuple):
    """One wrong version of a claim, what the check measured of it, and whether it was rejected."""

    id: str
    wrong: str
    measured: float
    target: str
    rejected: bool


class Checked(NamedTuple):
    """A claim, void if a wrong version passed, and its wrong versions; its `refuted` tells of the first of them."""

    claim: Claim
    mutations: list[Mutation]


def check_claim(
    id: str, module: ModuleType, key: jax.Array, *, command: str = "", wrong: int | None = None, **options: int
) -> Checked:
    """Check one claim and its wrong versions, in float64 and on the same draws.

    Args:
        id: of the claim.
        module: that of the theorem, with `check` and `WRONG`.
        key: random key.
        command: that runs this claim alone, with these draws.
        wrong: how many wrong versions, the refutation being the first; all when left out.
        options: `samples`.
    """
    with jax.enable_x64(True):
        claim = module.check(key, **options)
        table = []
        for name, form in itertools.islice(module.WRONG.items(), wrong):
            found = module.check(key, form=form, **options)
            rejected = found.verdict != HOLDS
            table.append(Mutation(id=id, wrong=name, measured=found.measured, target=found.target, rejected=rejected))
    verdict = VOID if claim.verdict == HOLDS and not all(row.rejected for row in table) else claim.verdict
    claim = claim._replace(id=id, verdict=verdict, refuted=table[0].rejected, command=command)
    return Checked(claim=claim, mutations=table)


def options(id: str, module: ModuleType, samples: float | None) -> dict[str, int]:
    """Keyword arguments of a module's `check` for the number of samples that was asked for, if any.

    Raises:
        InvalidInput: no samples, or samples for a claim that draws none.
    """
    if samples is None:
        return {}
    if not samples >= 1:
        raise InvalidInput(f"samples: {samples}; expected at least 1")
    if "samples" not in inspect.signature(module.check).parameters:
        raise InvalidInput(f"samples: {samples:g}; expected none, for {id} draws no samples")
    return {"samples": int(samples)}


def store_checked(
    results: Path, checked: Checked, module: ModuleType, key: jax.Array, *, changes: str = "", **options: int
) -> None:
    """Write a claim, its wrong versions and its curves, all from the draws of this key.

    What a changed command found, `L1.samples-10.json`, lies beside `L1.json` and does not replace it.

    Args:
        results: the results folder.
        checked: what `check_claim` returned.
        module: that of the theorem; what its `curves` returns is stored, if it has one.
        key: what `check` was given.
        changes: what the command says of samples and seed, a part of file names without a dot; empty for the defaults.
        options: `samples`.
    """
    id, ending = checked.claim.id, f".{changes}.json" if changes else ".json"
    write_rows(results / "theory" / f"{id}{ending}", [checked.claim])
    store_mutations(results / "theory" / f"mutations{ending}", checked.mutations)
    if hasattr(module, "curves"):
        with jax.enable_x64(True):
            curves = module.curves(key, **options)
        words = jax.random.key_data(key).tolist()
        config = {"id": id, "key": words, **options}
        storage.write_result(results, "theory", config, curves, checked.claim.command)


def store_mutations(path: Path, table: list[Mutation]) -> Path:
    """Write rows to a JSON file that may hold those of other claims, which stay."""
    done = {row.id for row in table}
    kept = json.loads(path.read_text()) if path.exists() else []
    return storage.write_json(path, [row for row in kept if row["id"] not in done] + [row._asdict() for row in table])
