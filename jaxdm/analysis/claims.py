"""The record of one checked statement, and every way in which a statement can hold.

A theorem holds, or fails: `at_most`, `exactly`, `near`, `covers`. An empirical statement, measured over training seeds,
holds here, or differs: `below`, `above`, `within`, `ordered`, `smaller`, `rising`; there a whole interval decides.
All begin with the same three arguments: a short name, one sentence, and whose statement it is.

Dimensions: `N` training seeds, the unit of every interval.
"""

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxdm.analysis.statistics import Interval, mean_interval, paired_interval
from jaxdm.analysis.storage import write_json

HOLDS, DIFFERS, FAILS, VOID = "holds", "differs", "fails", "void"


VERDICTS = (HOLDS, DIFFERS, FAILS, VOID)


class Claim(NamedTuple):
    """One row of the claims table.

    `verdict` is "holds", "fails" (a theorem violated), "differs" (an empirical statement that came out otherwise
    here) or "void" (the check accepted a wrong version of the statement as well). `refuted` says whether the
    deliberately wrong version failed, as it must. `command` runs it again.
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


def below(id: str, statement: str, source: str, values: Any, target: float) -> Claim:
    """Holds when the whole interval of the mean lies at or below the target.

    Args:
        id: short name.
        statement: one sentence that names what is measured.
        source: whose statement it is.
        values: [N] one number per seed.
        target: largest acceptable number.
    """
    interval = mean_interval(values)
    return _empirical(id, statement, source, interval, f"<= {target:g}", bool(interval.high <= target))


def above(id: str, statement: str, source: str, values: Any, target: float) -> Claim:
    """As `below`, for the whole interval at or above the target."""
    interval = mean_interval(values)
    return _empirical(id, statement, source, interval, f">= {target:g}", bool(interval.low >= target))


def within(id: str, statement: str, source: str, interval: Interval, least: float, most: float) -> Claim:
    """Holds when the whole interval, e.g. of a fitted exponent, lies in [least, most]."""
    inside = bool(least <= interval.low and interval.high <= most)
    return _empirical(id, statement, source, interval, f"in [{least:g}, {most:g}]", inside)


def ordered(id: str, statement: str, source: str, groups: Mapping[str, Any]) -> Claim:
    """Holds when the intervals of the groups, in the order given, follow each other without touching.

    The number shown is the smallest distance between neighbouring intervals, and its interval that of the pair's
    difference, seed by seed.

    Args:
        id: short name.
        statement: one sentence.
        source: whose statement it is.
        groups: name to [N], from the group claimed smallest to the one claimed largest.
    """
    pairs = list(itertools.pairwise(np.asarray(values) for values in groups.values()))
    distances = [float(mean_interval(high).low - mean_interval(low).high) for low, high in pairs]
    closest = int(np.argmin(distances))
    low, high = pairs[closest]
    difference = paired_interval(high, low)
    shown = Interval(estimate=np.asarray(distances[closest]), low=difference.low, high=difference.high)
    return _empirical(id, statement, source, shown, "> 0 between intervals", distances[closest] > 0)


def smaller(id: str, statement: str, source: str, ours: Any, theirs: Any) -> Claim:
    """Holds when the whole interval of `theirs - ours`, seed by seed, is positive: both were judged in the same worlds.

    Args:
        id: short name.
        statement: one sentence that says which is smaller; the means of both are added to it.
        source: whose statement it is.
        ours: [N] the numbers claimed smaller.
        theirs: [N] of the same seeds.
    """
    interval = paired_interval(theirs, ours)
    shown = f"{statement} ({float(np.mean(ours)):.3g}, {float(np.mean(theirs)):.3g})"
    return _empirical(id, shown, source, interval, "difference > 0", bool(interval.low > 0))


def rising(id: str, statement: str, source: str, points: Any, values: Any) -> Claim:
    """Holds when the whole interval of the least-squares slope, one slope a seed, is positive.

    Args:
        id: short name.
        statement: one sentence.
        source: whose statement it is.
        points: [X] the axis, at least two different points.
        values: [X, N].
    """
    deviation = np.asarray(points, np.float64) - np.mean(points)
    interval = mean_interval(deviation @ np.asarray(values, np.float64) / (deviation @ deviation))
    return _empirical(id, statement, source, interval, "slope > 0", bool(interval.low > 0))


def _empirical(id: str, statement: str, source: str, interval: Interval, target: str, holds: bool) -> Claim:
    return Claim(
        id=id,
        statement=statement,
        source=source,
        measured=float(interval.estimate),
        low=float(interval.low),
        high=float(interval.high),
        target=target,
        verdict=HOLDS if holds else DIFFERS,
    )


def write_claims(path: Path, claims: Sequence[Claim], command: str) -> Path:
    """Write `claims.json` in a folder, e.g. that of a result.

    Args:
        path: the folder.
        claims: rows of the claims table.
        command: what found them, and finds them again.

    Returns:
        The file.

    Raises:
        ValueError: a verdict is none of `VERDICTS`.
    """
    return write_rows(Path(path) / "claims.json", [claim._replace(command=command) for claim in claims])


def write_rows(path: Path, claims: Sequence[Claim]) -> Path:
    """Write claims to a JSON file, each with its own command; numbers that are not finite become null."""
    return write_json(path, [as_row(claim) for claim in claims])


def as_row(claim: Claim) -> dict[str, Any]:
    """A claim as JSON types.

    Raises:
        ValueError: a verdict is none of `VERDICTS`.
    """
    if claim.verdict not in VERDICTS:
        raise ValueError(f"verdict: {claim.verdict!r} of claim {claim.id!r}; expected one of {VERDICTS}")
    finite = {name: _finite(getattr(claim, name)) for name in ("measured", "low", "high")}
    refuted = None if claim.refuted is None else bool(claim.refuted)
    return claim._asdict() | finite | {"refuted": refuted}


def read_claims(path: Path) -> list[Claim]:
    """The claims in a JSON file that holds one record or a list of them; a number that was not finite is NaN.

    Raises:
        ValueError: the file is no JSON, or a record is no claim.
    """
    try:
        stored = json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"path: {path} cannot be read as JSON ({error}); expected claims") from error
    return [_as_claim(row) for row in (stored if isinstance(stored, list) else [stored])]


def _as_claim(row: Any) -> Claim:
    missing = [name for name in Claim._fields if name not in row]
    if missing:
        raise ValueError(f"claim: {row.get('id')!r} has no {missing[0]!r}; expected {', '.join(Claim._fields)}")
    numbers: dict[str, Any] = {
        name: math.nan if row[name] is None else row[name] for name in ("measured", "low", "high")
    }
    claim = Claim(**{name: row[name] for name in Claim._fields} | numbers)
    as_row(claim)
    return claim


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
