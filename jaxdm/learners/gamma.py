"""Gamma variates by inversion: what Thompson sampling needs, without a loop that waits for the unluckiest of a batch.

A gamma variate is the quantile of its distribution at the level of a normal variate, from a polynomial that is fitted,
once a process, to scipy's exact quantiles; nothing is rejected.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from numpy.polynomial import chebyshev
from scipy import special

SMALLEST_SHAPE = 1.0
"""Smallest parameter of a gamma distribution: that of a uniform prior on a chance."""


LARGEST_SCORE = 5.5
"""Normal variates in float32 lie within; the fit covers them."""


DEGREES = (13, 8)
"""Of the polynomial in the score and in `1 / sqrt(shape)`, alone; terms `x^i y^j` have `i / 13 + j / 8 <= 1.3`."""


SCORE_ERROR = 2e-4
"""By how much the score of a returned quantile, in standard deviations, differs from that asked for, at most."""


LEVEL_ERROR = 5e-5
"""The same as a probability: the largest distance of the distribution functions of a gamma variate."""


def log_gamma(score: jax.Array, shape: jax.Array) -> jax.Array:
    """The logarithm of the Gamma(shape, 1) quantile at level `Phi(score)`: a log-gamma variate when score is normal.

    `ln(G / a) = e w(score, e)` with `e = a^{-1/2}` and w a polynomial, `w = score + O(e)`.

    Args:
        score: [...] standard normal, at most `LARGEST_SCORE` in modulus.
        shape: [...] at least `SMALLEST_SHAPE`; smaller ones are taken for it.

    Returns:
        [...]; its level is off by at most `LEVEL_ERROR`, its score by at most `SCORE_ERROR`.
    """
    rise = jax.lax.rsqrt(jnp.maximum(shape, SMALLEST_SHAPE))
    x, y = score / LARGEST_SCORE, rise * (2 * SMALLEST_SHAPE**0.5) - 1
    return rise * _horner([_horner(row, y) for row in _quantile_fit()], x) - 2 * jnp.log(rise)


def _horner(coefficients: list, x: jax.Array) -> jax.Array:
    """`sum_n c_n x^n`."""
    value = coefficients[-1]
    for c in coefficients[-2::-1]:
        value = value * x + c
    return value


@functools.cache
def _quantile_fit() -> list[list[float]]:
    """Coefficients of `w` in `log_gamma`, powers of y for each power of x, by least squares on the error in score."""

    def nodes(count):
        return np.cos(np.pi * (np.arange(count) + 0.5) / count)

    x, y = (grid.ravel() for grid in np.meshgrid(nodes(61), nodes(31), indexing="ij"))
    score, rise = LARGEST_SCORE * x, (y + 1) / (2 * SMALLEST_SHAPE**0.5)
    target = _exact(score, rise)
    step = 1e-4
    weight = 2 * step / (_exact(score + step, rise) - _exact(score - step, rise))
    terms = [(i, j) for i, j in np.ndindex(DEGREES[0] + 1, DEGREES[1] + 1) if i / DEGREES[0] + j / DEGREES[1] <= 1.3]
    in_score, in_rise = chebyshev.chebvander(x, DEGREES[0]), chebyshev.chebvander(y, DEGREES[1])
    design = np.stack([in_score[:, i] * in_rise[:, j] * weight for i, j in terms], axis=-1)
    fit = np.zeros((DEGREES[0] + 1, DEGREES[1] + 1))
    fit[tuple(zip(*terms, strict=True))] = np.linalg.lstsq(design, target * weight, rcond=None)[0]
    powers = np.stack([np.pad(p := chebyshev.cheb2poly(row), (0, DEGREES[1] + 1 - len(p))) for row in fit])
    powers = np.stack([np.pad(p := chebyshev.cheb2poly(row), (0, DEGREES[0] + 1 - len(p))) for row in powers.T]).T
    return [[powers[i, j] for j in range(DEGREES[1] + 1) if (i, j) in terms] for i in range(DEGREES[0] + 1)]


def _exact(score: np.ndarray, rise: np.ndarray) -> np.ndarray:
    shape = rise**-2
    below, above = special.gammaincinv(shape, special.ndtr(score)), special.gammainccinv(shape, special.ndtr(-score))
    return np.log(np.where(score < 0, below, above) / shape) / rise
