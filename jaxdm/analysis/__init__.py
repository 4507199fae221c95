"""What happens after a run, on the host and without jax: stored results, claims, intervals, exploration."""

from jaxdm.analysis.claims import (
    Claim,
    above,
    at_most,
    below,
    covers,
    exactly,
    near,
    ordered,
    read_claims,
    rising,
    smaller,
    within,
    write_claims,
)
from jaxdm.analysis.exploration import greedy_fraction, min_fraction, suffix_failure
from jaxdm.analysis.statistics import (
    Exponent,
    Interval,
    exponent_fit,
    exponent_interval,
    mean_interval,
)
from jaxdm.analysis.storage import Result, Run, named, read_result, read_results, write_result

__all__ = [
    "Claim",
    "Exponent",
    "Interval",
    "Result",
    "Run",
    "above",
    "at_most",
    "below",
    "covers",
    "exactly",
    "exponent_fit",
    "exponent_interval",
    "greedy_fraction",
    "mean_interval",
    "min_fraction",
    "named",
    "near",
    "ordered",
    "read_claims",
    "read_result",
    "read_results",
    "rising",
    "smaller",
    "suffix_failure",
    "within",
    "write_claims",
    "write_result",
]
