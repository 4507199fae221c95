"""Random numbers where `jax.random` is slow on a CPU: its own bits, unrolled, and gamma variates by inversion.

`jax.random` loops over the rounds of its generator on a CPU, and passes all numbers through memory in each; written
out, the rounds fuse with what follows, which runs, and under `vmap` compiles, several times faster. The numbers are the
same, bit for bit.

A gamma variate is the quantile of its law at the level of a normal variate, from a polynomial that is fitted, once a
process, to scipy's exact quantiles; no rejection, hence no loop that waits for the unluckiest of a batch.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.polynomial import chebyshev
from scipy import special

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
SMALLEST_SHAPE = 1.0
"""Smallest parameter of a gamma law: that of a uniform prior on a chance."""
LARGEST_SCORE = 5.5
"""Normal variates in float32 lie within; the fit covers them."""
DEGREES = (13, 8)
"""Of the polynomial in the score and in `1 / sqrt(shape)`, alone; terms `x^i y^j` have `i / 13 + j / 8 <= 1.3`."""
SCORE_ERROR = 2e-4
"""By how much the score of a returned quantile, in standard deviations, differs from that asked for, at most."""
LEVEL_ERROR = 5e-5
"""The same as a probability: the largest distance of the distribution functions of a gamma variate."""


def words(key: jax.Array, shape: tuple[int, ...]) -> tuple[jax.Array, jax.Array]:
    """Two independent arrays of random 32-bit words; their exclusive or is `jax.random.bits(key, shape)`.

    Threefry-2x32 with 20 rounds, of the counters 0, 1, 2, ...; keys of another generator are passed on to jax.

    Args:
        key: a typed key.
        shape: of each array, at most 2^32 numbers.

    Reference: Salmon, Moraes, Dror, Shaw, Parallel random numbers: as easy as 1, 2, 3, 2011.
    """
    if not _is_threefry(key):
        first, second = jax.random.bits(key, (2, *shape))
        return first, second
    counter = jax.lax.iota(jnp.uint32, int(np.prod(shape)))  # flat, as loops over a short last axis are slow
    first, second = _threefry(key, counter)
    return first.reshape(shape), second.reshape(shape)


def _threefry(key: jax.Array, counter: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The two words of every counter below 2^32."""
    k0, k1 = jax.random.key_data(key)
    schedule = (k0, k1, k0 ^ k1 ^ jnp.uint32(0x1BD11BDA))
    x0, x1 = jnp.full_like(counter, k0), counter + k1
    for block in range(5):
        for rotation in ROTATIONS[block % 2]:
            x0 = x0 + x1
            x1 = x0 ^ ((x1 << rotation) | (x1 >> (32 - rotation)))
        x0 = x0 + schedule[(block + 1) % 3]
        x1 = x1 + schedule[(block + 2) % 3] + jnp.uint32(block + 1)
    return x0, x1


def uniform(key: jax.Array, shape: tuple[int, ...] = (), dtype: Any = jnp.float32) -> jax.Array:
    """The numbers of `jax.random.uniform(key, shape, dtype)`, float32 or float64 in [0, 1)."""
    first, second = words(key, (int(np.prod(shape)),))
    if jnp.dtype(dtype) == jnp.float64:
        bits = (first.astype(jnp.uint64) << 32) | second.astype(jnp.uint64)
        mantissa = (bits >> 12) | jnp.uint64(0x3FF0000000000000)
        return (jax.lax.bitcast_convert_type(mantissa, jnp.float64) - 1).reshape(shape)
    return _as_uniform(first ^ second).reshape(shape)


def normal(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
    """The numbers of `jax.random.normal(key, shape, dtype)`, float32 or float64."""
    scalar = jnp.dtype(dtype).type
    low = np.nextafter(scalar(-1), scalar(0))
    level = jnp.maximum(uniform(key, (int(np.prod(shape)),), dtype) * (1 - low) + low, low)  # flat, as in `words`
    return (scalar(np.sqrt(2)) * jax.lax.erf_inv(level)).reshape(shape)


def places(key: jax.Array, count: int) -> jax.Array:
    """A uniformly random order of a few things, [count] int32: each one's place; by comparison, which compiles fast."""
    level = uniform(key, (count,))
    below = level[None, :] < level[:, None]
    tied = (level[None, :] == level[:, None]) & (jnp.arange(count)[None, :] < jnp.arange(count)[:, None])
    return jnp.sum(below | tied, axis=1, dtype=jnp.int32)


def split(key: jax.Array, count: int = 2) -> jax.Array:
    """The keys of `jax.random.split(key, count)`: what an agent's `draws` returns when it wants many numbers a step."""
    if not _is_threefry(key):
        return jax.random.split(key, count)
    return jax.random.wrap_key_data(jnp.stack(words(key, (count,)), axis=-1), impl=jax.random.key_impl(key))


def fold_in(key: jax.Array, data: jax.Array | int) -> jax.Array:
    """The key of `jax.random.fold_in(key, data)`."""
    if not _is_threefry(key):
        return jax.random.fold_in(key, data)
    hashed = _threefry(key, jnp.asarray(data).astype(jnp.uint32))
    return jax.random.wrap_key_data(jnp.stack(hashed, axis=-1), impl=jax.random.key_impl(key))


def _is_threefry(key: jax.Array) -> bool:
    return str(jax.random.key_impl(key)) == "threefry2x32"


def _as_uniform(bits: jax.Array) -> jax.Array:
    return jax.lax.bitcast_convert_type((bits >> 9) | jnp.uint32(0x3F800000), jnp.float32) - 1


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
    nodes = lambda count: np.cos(np.pi * (np.arange(count) + 0.5) / count)
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
