"""The record of one checked statement, and the three ways in which a statement can hold.

A theory module has `check(key, samples) -> Claim`, which must hold, and `refute(key, samples) -> Claim`, the same
measurement of a statement made wrong on purpose, which must fail: a check that cannot fail proves nothing.
"""

from typing import NamedTuple

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
