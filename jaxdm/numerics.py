"""Small numerical pieces that optax and jax.scipy do not have.

Dimensions: `S` outcomes of a categorical law.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.core
import jax.numpy as jnp

from jaxdm import randomness

TRIANGLE = 256
"""Up to so many outcomes a product with a triangle of ones is faster than `jnp.cumsum`, several times on CPU."""


def is_concrete(*arrays: Any) -> bool:
    """True when no array is traced, so that its values may be looked at on the host."""
    return not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(arrays))


def uniform_from(draw: jax.Array, shape: tuple[int, ...] = (), dtype: Any = jnp.float32) -> jax.Array:
    """Uniform numbers in [0, 1): `draw` itself when it already holds them, else drawn from the key it is.

    Args:
        draw: a typed key, or numbers that `randomness.uniform` gave earlier, of shape `shape`.
        shape: shape of the numbers wanted from a key.
        dtype: float type of the numbers wanted from a key.
    """
    if jnp.issubdtype(draw.dtype, jax.dtypes.prng_key):
        return randomness.uniform(draw, shape, dtype)
    return draw


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
    """The first outcome with `u F_S < F_i`: an index drawn with the law behind `inverse_cdf`.

    Args:
        thresholds: [S] from `inverse_cdf`.
        uniform: [] in [0, 1).

    Returns:
        [] int32.
    """
    above = thresholds > uniform * jnp.max(thresholds)
    return jnp.min(jnp.where(above, jnp.arange(thresholds.shape[0], dtype=jnp.int32), thresholds.shape[0] - 1))


def masked_mean(values: jax.Array, mask: jax.Array) -> jax.Array:
    """Mean of `values` where `mask` (same shape) is true; zero when it is nowhere true."""
    weight = mask.astype(values.dtype)
    return jnp.sum(values * weight) / jnp.maximum(jnp.sum(weight), 1)


def in_pieces(function: Callable[[Any], Any], inputs: Any, size: int) -> Any:
    """`jax.vmap(function)(inputs)`; on a CPU a piece at a time, so that what a piece needs fits the processor's cache.

    Args:
        function: of one input.
        inputs: leading axis [n].
        size: largest piece, at least 1; pieces are equal, of a divisor of n.
    """
    if jax.default_backend() != "cpu":
        return jax.vmap(function)(inputs)
    count = jax.tree.leaves(inputs)[0].shape[0]
    size = next(piece for piece in range(min(size, count), 0, -1) if count % piece == 0)
    return jax.lax.map(function, inputs, batch_size=size)


def cast_floats(tree: Any, dtype: Any) -> Any:
    """The same tree with every floating leaf in `dtype`; other leaves are left alone."""
    return jax.tree.map(lambda x: x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x, tree)
