"""Random numbers where `jax.random` is slow on a CPU: its own bits, unrolled; and sampling by inverse CDF.

`jax.random` loops over the rounds of its generator on a CPU, and passes all numbers through memory in each; written
out, the rounds fuse with what follows, which under `vmap` runs 2 times and compiles 5 times faster. The numbers are the
same, bit for bit. (All ratios of this file: `python -m experiments.speed.tricks`.)

Dimensions: `S` outcomes of a categorical distribution.
"""

from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))


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


@jax.jit  # traced once for each shape: a tenth to a third off the tracing of a rollout
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
    """A uniformly random order of a few things, [count] int32, each one's place.

    By comparison, which compiles 2 to 5 times faster than sorting.
    """
    level = uniform(key, (count,))
    below = level[None, :] < level[:, None]
    tied = (level[None, :] == level[:, None]) & (jnp.arange(count)[None, :] < jnp.arange(count)[:, None])
    return jnp.sum(below | tied, axis=1, dtype=jnp.int32)


def split(key: jax.Array, count: int = 2) -> jax.Array:
    """The keys of `jax.random.split(key, count)`."""
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


TRIANGLE = 256
"""Up to so many outcomes a product with a triangle of ones is faster than `jnp.cumsum`: on a CPU 2 times for 32."""


def inverse_cdf(probabilities: jax.Array) -> jax.Array:
    """Thresholds for `sample_index`: `F_i = sum_{j<=i} p_j`, and -1 where `p_i = 0`.

    The mark means that rounding in the sum can never give an outcome of probability zero a chance.

    Args:
        probabilities: [..., S], non-negative; rows need not sum to one exactly.

    Returns:
        [..., S] thresholds.
    """
    outcomes = probabilities.shape[-1]
    if outcomes <= TRIANGLE:
        triangle = jnp.triu(jnp.ones((outcomes, outcomes), probabilities.dtype))
        cumulative = jnp.matmul(probabilities, triangle, precision=jax.lax.Precision.HIGHEST)
    else:
        cumulative = jnp.cumsum(probabilities, axis=-1)
    return jnp.where(probabilities > 0, cumulative, -1)


def sample_index(thresholds: jax.Array, uniform: jax.Array) -> jax.Array:
    """The first outcome with `u F_S < F_i`: an index drawn with the probabilities behind `inverse_cdf`.

    Args:
        thresholds: [S] from `inverse_cdf`.
        uniform: [] in [0, 1).

    Returns:
        [] int32.
    """
    above = thresholds > uniform * jnp.max(thresholds)
    return jnp.min(jnp.where(above, jnp.arange(thresholds.shape[0], dtype=jnp.int32), thresholds.shape[0] - 1))
