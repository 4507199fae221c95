"""The record of one checked statement, and every way in which a statement can hold.

A theorem holds, or fails: `at_most`, `exactly`, `near`, `covers`. An empirical statement, measured over training seeds,
holds here where the whole interval agrees with it, differs where the whole interval contradicts it, and is inconclusive
where the interval has room for both: `below`, `above`, `within`, `ordered`, `smaller`, `rising`.
All begin with the same three arguments: a short name, one sentence, and whose statement it is.

Where many statements are tested, some hold by chance. A study names a few primary ones before it is run, and `ranked`
corrects these for their number; all others are exploratory.

Dimensions: `N` training seeds, the unit of every interval.
"""

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxdm.analysis.statistics import Interval, holm, mean_interval, mean_test, numbers
from jaxdm.analysis.storage import CLAIMS, result_token, write_json

HOLDS, DIFFERS, INCONCLUSIVE, FAILS, VOID = "holds", "differs", "inconclusive", "fails", "void"


VERDICTS = (HOLDS, DIFFERS, INCONCLUSIVE, FAILS, VOID)


PRIMARY, EXPLORATORY, PREVIEW = "primary", "exploratory", "preview"


RANKS = ("", PRIMARY, EXPLORATORY, PREVIEW)
"""What a row is evidence of: theorems have none, and a preview is a run too small to count."""


LEVEL = 0.05
"""Chance that any primary statement of a study is decided wrongly, at most."""


MOST_PRIMARY = 12
"""Primary statements of a study, at most."""


NUMBERS = ("measured", "low", "high", "p_value")
"""Fields of a claim that may be NaN or infinite, which JSON has no words for."""


class Claim(NamedTuple):
    """One row of the claims table.

    `verdict` is "holds", "fails" (a theorem violated), "differs" (an empirical statement that came out otherwise
    here), "inconclusive" (the interval has room for both) or "void" (the check accepted a wrong version of the
    statement as well). `refuted` says whether the deliberately wrong version failed, as it must. `command` runs it
    again. `p_value` is that of a two-sided test, NaN where none was made; `rank` is one of `RANKS`. `note` says what is
    known of why it comes out as it does, where something is. Mathematics in a statement stands between backticks.
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
    p_value: float = math.nan
    rank: str = ""
    note: str = ""


def at_most(id: str, statement: str, source: str, measured: float, bound: float, slack: float = 0.0) -> Claim:
    """Holds when `measured <= bound + slack`.

    Args:
        id: short name, e.g. "L1".
        statement: one sentence.
        source: where the statement is from.
        measured: the largest value found.
        bound: what it must not exceed; zero for an error that must vanish.
        slack: rounding, or five standard errors of `measured`.

    Raises:
        ValueError: names or sentences that are no text, what is no number (what was measured may be NaN, and fails), a
            bound that is NaN, or a slack that is negative; here and below.
    """
    _check_words(id=id, statement=statement, source=source)
    _number("measured", measured, True)
    _number("bound", bound)
    if _number("slack", slack, True) < 0:
        raise ValueError(f"slack: {slack}; expected a number >= 0")
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
    _number("error", error, True)
    _number("rounding", rounding)
    claim = at_most(id, statement, source, error, rounding)
    return claim._replace(target=f"= 0 up to rounding, {rounding:.1e}")


def near(id: str, statement: str, source: str, measured: float, target: float, slack: float) -> Claim:
    """Holds when `|measured - target| <= slack`, the slack being five standard errors or rounding."""
    _number("target", target)
    claim = at_most(id, statement, source, measured, target, slack)
    return claim._replace(target=f"= {target:.6g}", verdict=HOLDS if abs(measured - target) <= slack else FAILS)


def covers(id: str, statement: str, source: str, measured: float, low: float, high: float, target: float) -> Claim:
    """Holds when the interval [low, high] around a fitted exponent contains the target."""
    _number("low", low, True)
    _number("high", high, True)
    claim = near(id, statement, source, measured, target, 0.0)
    return claim._replace(low=float(low), high=float(high), verdict=HOLDS if low <= target <= high else FAILS)


def below(id: str, statement: str, source: str, values: Any, target: float) -> Claim:
    """Holds when the whole interval of the mean lies at or below the target; differs when it lies above.

    Args:
        id: short name.
        statement: one sentence that names what is measured.
        source: whose statement it is.
        values: [N] one number per seed.
        target: largest acceptable number.

    Raises:
        ValueError: as `at_most`, or values that `mean_interval` refuses or that have further axes.
    """
    _check_words(id=id, statement=statement, source=source)
    _number("target", target)
    values = numbers("values", values)
    if values.ndim != 1:
        raise ValueError(f"values: shape {values.shape}; expected [N], one number a seed")
    interval = mean_interval(values)
    verdict = _verdict(holds=interval.high <= target, differs=interval.low > target)
    row = _of_interval(id, statement, source, interval, f"<= {target:g}", verdict)
    return row._replace(p_value=mean_test(values, target))


def above(id: str, statement: str, source: str, values: Any, target: float) -> Claim:
    """As `below`, for the whole interval at or above the target."""
    row = below(id, statement, source, values, target)
    verdict = _verdict(holds=row.low >= target, differs=row.high < target)
    return row._replace(target=f">= {target:g}", verdict=verdict)


def within(id: str, statement: str, source: str, interval: Interval, least: float, most: float) -> Claim:
    """Holds when the whole interval, e.g. of a fitted exponent, lies in [least, most]; differs when it lies outside.

    Raises:
        ValueError: what is no interval, or least > most.
    """
    _check_words(id=id, statement=statement, source=source)
    if not isinstance(interval, Interval):
        raise ValueError(f"interval: {type(interval).__name__}; expected an Interval")
    if not _number("least", least) <= _number("most", most):
        raise ValueError(f"least: {least}; expected at most {most}, which is `most`")
    inside = least <= interval.low and interval.high <= most
    verdict = _verdict(holds=inside, differs=interval.high < least or interval.low > most)
    return _of_interval(id, statement, source, interval, f"in [{least:g}, {most:g}]", verdict)


def ordered(id: str, statement: str, source: str, groups: Mapping[str, Any]) -> Claim:
    """Holds when each group is larger than the one before, seed by seed: the whole interval of every difference is > 0.

    It differs when the whole interval of some difference, with the level shared by all, is at or below 0. The numbers
    shown are those of the pair whose interval reaches lowest. The p-value of the whole order is the largest of its
    pairs; that of its contrary the smallest, times their number.

    Args:
        id: short name.
        statement: one sentence.
        source: whose statement it is.
        groups: name to [N], from the group claimed smallest to the one claimed largest.

    Raises:
        ValueError: fewer than two groups, or groups of other shapes than the first.
    """
    if not isinstance(groups, Mapping) or len(groups) < 2:
        raise ValueError(f"groups: {groups!r:.80}; expected a mapping of at least two names")
    every = [numbers("groups", values) for values in groups.values()]
    for name, values in zip(groups, every, strict=True):
        if values.shape != every[0].shape:
            raise ValueError(f"groups: shape {values.shape} of {name!r}; expected {every[0].shape}, paired by seed")
    pairs = list(itertools.pairwise(every))
    rows = [above(id, statement, source, larger - small, 0.0) for small, larger in pairs]
    lowest = min(rows, key=lambda row: row.low)
    against = [row.p_value for row in rows if row.measured <= 0]
    contrary = min(against, default=1.0) * len(rows)
    holds = all(row.low > 0 for row in rows)
    return lowest._replace(
        target="every difference > 0",
        verdict=_verdict(holds=holds, differs=contrary <= LEVEL),
        p_value=max(row.p_value for row in rows) if holds or contrary > LEVEL else contrary,
    )


def smaller(id: str, statement: str, source: str, ours: Any, theirs: Any) -> Claim:
    """Holds when the whole interval of `theirs - ours`, seed by seed, is positive: both were judged in the same worlds.

    Args:
        id: short name.
        statement: one sentence that says which is smaller; the means of both are added to it.
        source: whose statement it is.
        ours: [N] the numbers claimed smaller.
        theirs: [N] of the same seeds.

    Raises:
        ValueError: shapes that differ.
    """
    ours, theirs = numbers("ours", ours), numbers("theirs", theirs)
    if ours.shape != theirs.shape:
        raise ValueError(f"theirs: shape {theirs.shape}; expected {ours.shape}, paired seed by seed with ours")
    shown = f"{statement} ({ours.mean():.3g}, {theirs.mean():.3g})"
    return _positive(above(id, shown, source, theirs - ours, 0.0), "difference > 0")


def rising(id: str, statement: str, source: str, points: Any, values: Any) -> Claim:
    """Holds when the whole interval of the least-squares slope, one slope a seed, is positive.

    Args:
        id: short name.
        statement: one sentence.
        source: whose statement it is.
        points: [X] the axis, at least two different points.
        values: [X, N].

    Raises:
        ValueError: points that are all the same or not finite, or values of another shape.
    """
    points, values = numbers("points", points), numbers("values", values)
    if points.ndim != 1 or not np.all(np.isfinite(points)) or len(np.unique(points)) < 2:
        raise ValueError(f"points: {points}; expected [X] finite numbers, at least two different")
    if values.ndim != 2 or len(values) != len(points):
        raise ValueError(f"values: shape {values.shape}; expected [X, N] with X = {len(points)}")
    deviation = points - points.mean()
    slopes = deviation @ values / (deviation @ deviation)
    return _positive(above(id, statement, source, slopes, 0.0), "slope > 0")


def ranked(claims: Sequence[Claim], primary: Sequence[str], *, preview: bool = False) -> list[Claim]:
    """All empirical rows of a study with their rank, the verdicts of the primary ones corrected for their number.

    Holm's rule: with p-values `p_(1) <= ... <= p_(m)`, the adjusted ones are
    `max_{j <= i} min(1, (m - j + 1) p_(j))`; a primary row whose adjusted p-value exceeds `LEVEL` is inconclusive.

    Args:
        claims: rows of the study, all of them.
        primary: ids of the rows that were named before the run.
        preview: of a run too small to count; then no row is primary, and verdicts stay as they are.

    Returns:
        The rows in the same order; p-values of primary rows are the adjusted ones.

    Raises:
        ValueError: more than `MOST_PRIMARY` names, a name given twice, without a row, or of a row without a test.

    Reference: Holm, A simple sequentially rejective multiple test procedure, Scand. J. Statist. 6, 1979.
    """
    _check_claims(claims)
    rows = {claim.id: claim for claim in claims}
    if len(primary) > MOST_PRIMARY or len(set(primary)) < len(primary):
        raise ValueError(f"primary: {', '.join(primary)}; expected at most {MOST_PRIMARY} different names")
    if preview:
        return [claim._replace(rank=PREVIEW) for claim in claims]
    for name in primary:
        if name not in rows:
            raise ValueError(f"primary: {name!r} is no row of this study; expected one of {', '.join(rows)}")
        if math.isnan(rows[name].p_value):
            raise ValueError(f"primary: {name!r} has no p-value; expected a row that was tested")
    adjusted = dict(zip(primary, holm([rows[name].p_value for name in primary]), strict=True))
    found = []
    for claim in claims:
        if claim.id not in adjusted:
            found.append(claim._replace(rank=EXPLORATORY))
            continue
        p_value = float(adjusted[claim.id])
        verdict = claim.verdict if p_value <= LEVEL else INCONCLUSIVE
        found.append(claim._replace(rank=PRIMARY, p_value=p_value, verdict=verdict))
    return found


def _check_words(**words: Any) -> None:
    for name, word in words.items():
        if not isinstance(word, str):
            raise ValueError(f"{name}: {word!r:.80}; expected text")


def _number(name: str, value: Any, unknown: bool = False) -> float:
    """A real number; NaN only where it may be `unknown`.

    Raises:
        ValueError: it is none.
    """
    found = numbers(name, value)
    if found.shape != () or (math.isnan(found) and not unknown):
        raise ValueError(f"{name}: {value!r:.80}; expected one number")
    return float(found)


def _verdict(*, holds: Any, differs: Any) -> str:
    if holds:
        return HOLDS
    return DIFFERS if differs else INCONCLUSIVE


def _of_interval(id: str, statement: str, source: str, interval: Interval, target: str, verdict: str) -> Claim:
    return Claim(
        id=id,
        statement=statement,
        source=source,
        measured=float(interval.estimate),
        low=float(interval.low),
        high=float(interval.high),
        target=target,
        verdict=verdict,
    )


def _positive(claim: Claim, target: str) -> Claim:
    """A row that holds where its interval is positive, zero excluded."""
    return claim._replace(target=target, verdict=_verdict(holds=claim.low > 0, differs=claim.high <= 0))


def write_claims(path: Path, claims: Sequence[Claim], command: str) -> Path:
    """Write `claims.json` in a folder; beside a result they name it, and are nobody's once it is replaced.

    Args:
        path: the folder.
        claims: rows of the claims table.
        command: what found them, and finds them again.

    Returns:
        The file.

    Raises:
        ValueError: what are no claims, a verdict is none of `VERDICTS`, or a rank none of `RANKS`.
    """
    _check_claims(claims)
    rows = [as_row(claim._replace(command=command)) for claim in claims]
    return write_json(Path(path) / CLAIMS, {"result": result_token(path), "claims": rows})


def write_rows(path: Path, claims: Sequence[Claim]) -> Path:
    """Write claims to a JSON file, each with its own command; numbers that are not finite become null.

    Raises:
        ValueError: as `write_claims`.
    """
    _check_claims(claims)
    return write_json(path, [as_row(claim) for claim in claims])


def as_row(claim: Claim) -> dict[str, Any]:
    """A claim as JSON types.

    Raises:
        ValueError: a verdict is none of `VERDICTS`, or a rank none of `RANKS`.
    """
    _check_claims([claim])
    if claim.verdict not in VERDICTS:
        raise ValueError(f"verdict: {claim.verdict!r} of claim {claim.id!r}; expected one of {VERDICTS}")
    if claim.rank not in RANKS:
        raise ValueError(f"rank: {claim.rank!r} of claim {claim.id!r}; expected one of {RANKS}")
    finite = {name: _finite(getattr(claim, name)) for name in NUMBERS}
    refuted = None if claim.refuted is None else bool(claim.refuted)
    return claim._asdict() | finite | {"refuted": refuted}


def read_claims(path: Path) -> list[Claim]:
    """The claims in a JSON file that holds one record or a list of them; a number that was not finite is NaN.

    None where they are of a result that has been replaced since.

    Raises:
        ValueError: the file is no JSON, or a record is no claim.
    """
    try:
        stored = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(f"path: {path} cannot be read as JSON ({error}); expected claims") from error
    if isinstance(stored, dict) and stored.keys() == {"result", "claims"}:
        stored = stored["claims"] if stored["result"] == result_token(Path(path).parent) else []
    try:
        return [_as_claim(row) for row in (stored if isinstance(stored, list) else [stored])]
    except ValueError as error:
        raise ValueError(f"path: {path} holds no claims of this version ({error}); run its command again") from error


def _as_claim(row: Any) -> Claim:
    if not isinstance(row, dict):
        raise ValueError(f"claim: {row!r:.80}; expected a record")
    stored = Claim._field_defaults | row
    missing = [name for name in Claim._fields if name not in stored]
    if missing:
        raise ValueError(f"claim: {row.get('id')!r} has no {missing[0]!r}; expected {', '.join(Claim._fields)}")
    known: dict[str, Any] = {name: math.nan if stored[name] is None else stored[name] for name in NUMBERS}
    claim = Claim(**{name: stored[name] for name in Claim._fields} | known)
    as_row(claim)
    return claim


def _check_claims(claims: Any) -> None:
    """Refuse what is no sequence of claims."""
    for claim in claims if isinstance(claims, (list, tuple)) and not isinstance(claims, Claim) else [claims]:
        if not isinstance(claim, Claim):
            raise ValueError(f"claims: {claim!r:.80}; expected a sequence of Claim")


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
