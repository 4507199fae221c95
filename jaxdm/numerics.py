"""Small numerical pieces that optax and jax.scipy do not have: masked means, batched maps, casts."""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

ArrayOf = TypeVar("ArrayOf", jax.Array, np.ndarray)
"""Arrays of the same kind, numpy's or jax's."""

Table = jax.Array | np.ndarray
"""Oracles that run on the host give numpy's arrays, in float64; the others jax's."""


def array_namespace(array: Any) -> Any:
    """`numpy` for its own arrays, which stay on the host and in their type, and `jax.numpy` for all others."""
    return np if isinstance(array, (np.ndarray, np.generic)) else jnp


def masked_mean(values: jax.Array, mask: jax.Array) -> jax.Array:
    """Mean of `values` where `mask` (same shape) is true; zero when it is nowhere true."""
    weight = mask.astype(values.dtype)
    return jnp.sum(values * weight) / jnp.maximum(jnp.sum(weight), 1)


def batched_map(function: Callable[[Any], Any], inputs: Any, size: int) -> Any:
    """`jax.vmap(function)(inputs)`; on a CPU a piece at a time, so that what a piece needs fits the processor's cache.

    Args:
        function: of one input.
        inputs: leading axis [n].
        size: largest piece, at least 1; pieces are equal, of a divisor of n.
    """
    if jax.default_backend() != "cpu":
        return jax.vmap(function)(inputs)
    count = jax.tree.leaves(inputs)[0].shape[0]
    return jax.lax.map(function, inputs, batch_size=largest_divisor(count, size))


def largest_divisor(number: int, at_most: int) -> int:
    """The largest divisor of a number >= 1 that is at most so much: pieces of this size are equal, and one program."""
    return next(piece for piece in range(min(at_most, number), 0, -1) if number % piece == 0)


def apply_if(needed: jax.Array, function: Callable[..., Any], value: Any, *operands: Any) -> Any:
    """`function(value, *operands)` where `needed` [] is true, else `value`; both of one structure.

    As `jax.lax.cond`, but under `jax.vmap` the work is done only if an instance of the batch needs it; `cond` then does
    it always. All arrays that the work is done on must be handed over: what a function closes over does not change in a
    loop, and the compiler does that part of the work before it.
    """

    def once(carry: tuple) -> tuple:
        _, held = jax.lax.optimization_barrier((carry[0], operands))
        return jnp.bool_(False), function(carry[1], *held)

    return jax.lax.while_loop(lambda carry: carry[0], once, (needed, value))[1]


def cast_floats(tree: Any, dtype: Any) -> Any:
    """The same tree with every floating leaf in `dtype`; other leaves are left alone."""
    return jax.tree.map(lambda x: x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x, tree)
