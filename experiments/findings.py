"""What an experiment found, as rows of the claims table; an empirical statement holds here, or differs.

Dimensions: `N` training seeds, the unit of every interval.
"""

import itertools
from typing import Any

import numpy as np

from jaxdm.analysis.statistics import Interval, mean_interval


def below(id: str, source: str, statement: str, values: Any, target: float, command: str) -> dict[str, Any]:
    """Holds when the whole interval of the mean lies at or below the target.

    Args:
        id: short name.
        source: whose statement it is.
        statement: one sentence that names what is measured.
        values: [N] one number per seed.
        target: largest acceptable number.
        command: what runs it again.

    Returns:
        A record for `storage.write_claims`.
    """
    interval = mean_interval(values)
    return _row(id, source, statement, interval, f"<= {target:g}", bool(interval.high <= target), command)


def ordered(id: str, source: str, statement: str, groups: dict[str, Any], command: str) -> dict[str, Any]:
    """Holds when the intervals of the groups, in the order given, follow each other without touching.

    The number shown is the smallest distance between neighbouring intervals, and its interval that of the pair's
    difference, seed by seed.

    Args:
        id: short name.
        source: whose statement it is.
        statement: one sentence.
        groups: name to [N], from the group claimed smallest to the one claimed largest.
        command: what runs it again.
    """
    values = list(groups.values())
    pairs = list(itertools.pairwise(values))
    distances = [float(mean_interval(high).low - mean_interval(low).high) for low, high in pairs]
    closest = int(np.argmin(distances))
    difference = mean_interval(np.asarray(pairs[closest][1]) - np.asarray(pairs[closest][0]))
    shown = Interval(estimate=np.asarray(distances[closest]), low=difference.low, high=difference.high)
    return _row(id, source, statement, shown, "> 0 between intervals", distances[closest] > 0, command)


def smaller(id: str, source: str, statement: str, ours: Any, theirs: Any, command: str) -> dict[str, Any]:
    """Holds when the whole interval of `theirs - ours`, seed by seed, is positive: both were judged in the same worlds.

    Args:
        id: short name.
        source: whose statement it is.
        statement: one sentence that says which is smaller; the means of both are added to it.
        ours: [N] the numbers claimed smaller.
        theirs: [N] of the same seeds.
        command: what runs it again.
    """
    interval = mean_interval(np.asarray(theirs) - np.asarray(ours))
    shown = f"{statement} ({np.mean(ours):.3g}, {np.mean(theirs):.3g})"
    return _row(id, source, shown, interval, "difference > 0", bool(interval.low > 0), command)


def above(id: str, source: str, statement: str, values: Any, target: float, command: str) -> dict[str, Any]:
    """As `below`, for the whole interval at or above the target."""
    interval = mean_interval(values)
    return _row(id, source, statement, interval, f">= {target:g}", bool(interval.low >= target), command)


def rising(id: str, source: str, statement: str, points: Any, values: Any, command: str) -> dict[str, Any]:
    """Holds when the whole interval of the least-squares slope, one slope a seed, is positive.

    Args:
        id: short name.
        source: whose statement it is.
        statement: one sentence.
        points: [X] the axis, at least two different points.
        values: [X, N].
        command: what runs it again.
    """
    deviation = np.asarray(points, np.float64) - np.mean(points)
    interval = mean_interval(deviation @ np.asarray(values, np.float64) / (deviation @ deviation))
    return _row(id, source, statement, interval, "slope > 0", bool(interval.low > 0), command)


def worst(values: np.ndarray) -> np.ndarray:
    """The row of largest mean, [rows, N] to [N]."""
    return values[int(np.argmax(values.mean(axis=-1)))]


def _row(
    id: str, source: str, statement: str, interval: Interval, target: str, holds: bool, command: str
) -> dict[str, Any]:
    return {
        "id": id,
        "source": source,
        "statement": statement,
        "measured": float(interval.estimate),
        "low": float(interval.low),
        "high": float(interval.high),
        "target": target,
        "verdict": "holds" if holds else "differs",
        "refuted": None,
        "command": command,
    }
