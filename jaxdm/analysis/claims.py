"""The record of one checked statement, and the three ways in which a statement can hold.

A theory module has `check(key, samples) -> Claim`, which must hold, and `refute(key, samples) -> Claim`, the same
measurement of a statement made wrong on purpose, which must fail: a check that cannot fail proves nothing.
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jaxdm.analysis.storage import write_json

HOLDS, DIFFERS, FAILS = "holds", "differs", "fails"


class Claim(NamedTuple):
    """One row of the claims table.

    `verdict` is "holds", "fails" (a theorem violated) or "differs" (an empirical statement that came out otherwise
    here). `refuted` says whether the deliberately wrong version failed, as it must.
    """

    id: str
    statement: str
    source: str
    measured: float
    low: float
    high: float
    target: str
    verdict: str
    refuted: bool | None = None
    command: str = ""


def at_most(id: str, statement: str, source: str, measured: float, bound: float, slack: float = 0.0) -> Claim:
    """Holds when `measured <= bound + slack`.

    Args:
        id: short name, e.g. "L1".
        statement: one sentence.
        source: where the statement is from.
        measured: the largest value found.
        bound: what it must not exceed; zero for an error that must vanish.
        slack: rounding, or five standard errors of `measured`.
    """
    return Claim(
        id=id,
        statement=statement,
        source=source,
        measured=float(measured),
        low=float(measured - slack),
        high=float(measured + slack),
        target=f"<= {bound:.6g}",
        verdict=HOLDS if measured <= bound + slack else FAILS,
    )


def exactly(id: str, statement: str, source: str, error: float, rounding: float) -> Claim:
    """Holds when the error of an exact statement is no larger than rounding (NaN fails)."""
    claim = at_most(id, statement, source, error, rounding)
    return claim._replace(target=f"= 0 up to rounding, {rounding:.1e}")


def near(id: str, statement: str, source: str, measured: float, target: float, slack: float) -> Claim:
    """Holds when `|measured - target| <= slack`, the slack being five standard errors or rounding."""
    claim = at_most(id, statement, source, measured, target, slack)
    return claim._replace(target=f"= {target:.6g}", verdict=HOLDS if abs(measured - target) <= slack else FAILS)


def covers(id: str, statement: str, source: str, measured: float, low: float, high: float, target: float) -> Claim:
    """Holds when the interval [low, high] around a fitted exponent contains the target."""
    claim = near(id, statement, source, measured, target, 0.0)
    return claim._replace(low=float(low), high=float(high), verdict=HOLDS if low <= target <= high else FAILS)


CLAIM_FIELDS = ("id", "source", "statement", "measured", "low", "high", "target", "verdict", "refuted", "command")


VERDICTS = ("holds", "differs", "fails")


def write_claims(path: Path, claims: Sequence[Any]) -> Path:
    """Write `claims.json` in a folder, e.g. that of a result: a list of records with the fields `CLAIM_FIELDS`.

    Args:
        path: the folder.
        claims: mappings or NamedTuples; other fields are dropped, numbers that are not finite become null.

    Returns:
        The file.

    Raises:
        ValueError: a field is missing, or a verdict is none of `VERDICTS`.
    """
    return write_json(Path(path) / "claims.json", [_as_claim(claim) for claim in claims])


def read_claims(path: Path) -> list[dict[str, Any]]:
    """The claims in a JSON file that holds one record or a list of them.

    Raises:
        ValueError: the file is no JSON, or a record is no claim (see `write_claims`).
    """
    try:
        stored = json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"path: {path} cannot be read as JSON ({error}); expected claims") from error
    return [_as_claim(claim) for claim in (stored if isinstance(stored, list) else [stored])]


def _as_claim(claim: Any) -> dict[str, Any]:
    fields = claim._asdict() if hasattr(claim, "_asdict") else dict(claim)
    missing = [name for name in CLAIM_FIELDS if name not in fields]
    if missing:
        raise ValueError(f"claim: {fields.get('id')!r} has no {missing[0]!r}; expected {', '.join(CLAIM_FIELDS)}")
    if fields["verdict"] not in VERDICTS:
        raise ValueError(f"verdict: {fields['verdict']!r} of claim {fields['id']!r}; expected one of {VERDICTS}")
    numbers = {name: None if fields[name] is None else float(fields[name]) for name in ("measured", "low", "high")}
    finite = {name: None if x is None or not math.isfinite(x) else x for name, x in numbers.items()}
    refuted = None if fields["refuted"] is None else bool(fields["refuted"])
    return {name: fields[name] for name in CLAIM_FIELDS} | finite | {"refuted": refuted}
