"""The ways in which a theorem can hold, for use in a `check`: those of `jaxdm.analysis.claims`, without the id.

The id of a claim is written in `theory.catalogue` alone; `theory.harness` puts it on what a check returns.
"""

import functools
from collections.abc import Iterable
from typing import Any

import numpy as np

from jaxdm.analysis import claims


def largest(values: Iterable[Any]) -> float:
    """The largest number in some arrays, NaN if there is one: Python's own `max` may overlook it, and nothing may."""
    return float(np.max([np.max(value) for value in values]))


at_most = functools.partial(claims.at_most, "")
"""`at_most(statement, source, measured, bound, slack)`: the largest value found is within the bound."""


exactly = functools.partial(claims.exactly, "")
"""`exactly(statement, source, error, rounding)`: the error is no larger than rounding."""


near = functools.partial(claims.near, "")
"""`near(statement, source, measured, target, slack)`: what was measured is the target, up to the slack."""


covers = functools.partial(claims.covers, "")
"""`covers(statement, source, measured, low, high, target)`: the interval contains the target."""
