"""Rates of two ways to do the same work, measured in turns."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np


class SpeedRow(NamedTuple):
    """One line of the table; rates are per second, and the interval is that of the ratio."""

    work: str
    ours: float
    peer: float
    peer_name: str
    units: str
    ratio: float
    low: float
    high: float
    confidence: float


def compare(
    work: str,
    units: str,
    amount: int,
    ours: Callable[[], Any],
    peer: Callable[[], Any],
    peer_name: str,
    repeats: int,
    peer_amount: int | None = None,
) -> SpeedRow:
    """Rates of two ways to do a work: medians of `repeats` runs each, in turns, after one that is not counted.

    The interval is from the least to the largest ratio of n turns, which holds the median ratio with confidence
    `1 - 2^{1-n}` whatever the times are distributed like: 98 % of seven.

    Args:
        work: what is done.
        units: of the rates.
        amount: units of work in one run of ours, and of the peer's where `peer_amount` does not say otherwise.
        ours: does it.
        peer: does it another way.
        peer_name: whose way.
        repeats: timed runs of each.
        peer_amount: less than `amount` where a whole run of the peer would take minutes.
    """
    seconds: tuple[list[float], list[float]] = ([], [])
    for run in range(repeats + 1):
        for side, times in zip((ours, peer), seconds, strict=True):
            start = time.perf_counter()
            jax.block_until_ready(side())
            if run > 0:
                times.append(time.perf_counter() - start)
    mine = amount / float(np.median(seconds[0]))
    theirs = (peer_amount or amount) / float(np.median(seconds[1]))
    ratios = amount / (peer_amount or amount) * np.divide(seconds[1], seconds[0])
    return SpeedRow(
        work=work,
        ours=mine,
        peer=theirs,
        peer_name=peer_name,
        units=units,
        ratio=mine / theirs,
        low=float(ratios.min()),
        high=float(ratios.max()),
        confidence=1 - 2.0 ** (1 - repeats),
    )
