"""Random draws of the checks: numbers from the library's bits, in chunks that fit memory, and made only once.

Numbers are drawn in programs of their own and then measured in another: XLA fuses the rounds of the generator into
everything that reads them, and to compile that takes ten times as long.

A claim and its wrong versions are put to the same draws (`theory.mutations`), so that measurements which do not depend
on what is claimed need not be repeated: `once` keeps the last few of them.
"""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxdm import random

T = TypeVar("T")


KEPT = 8
"""Measurements that `once` keeps: those of all settings of a check."""


@functools.partial(jax.jit, static_argnums=1)
def keys(key: jax.Array, count: int = 2) -> jax.Array:
    """Independent keys, [count]."""
    return random.split(key, count)


@functools.partial(jax.jit, static_argnums=1)
def normal(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Standard normal numbers of the current precision."""
    return random.normal(key, shape, jnp.result_type(float))


@functools.partial(jax.jit, static_argnums=1)
def uniform(key: jax.Array, shape: tuple[int, ...] = ()) -> jax.Array:
    """Numbers in [0, 1) of the current precision."""
    return random.uniform(key, shape, jnp.result_type(float))


def in_chunks(measure: Callable[[jax.Array, int], Any], key: jax.Array, samples: int, chunk: int) -> Any:
    """Independent measurements, as whole chunks of the same size: one compilation, and bounded memory.

    Args:
        measure: `(key, count)` to a tree of arrays with leading axis [count].
        key: random key.
        samples: measurements wanted.
        chunk: largest number of them made at once.

    Returns:
        A tree of numpy arrays with leading axis [samples].
    """
    count = min(samples, chunk)
    parts = [jax.tree.map(np.asarray, measure(_fold_in(key, i), count)) for i in range(-(-samples // count))]
    return jax.tree.map(lambda *leaves: np.concatenate(leaves)[:samples], *parts)


def once(measure: Callable[..., T]) -> Callable[..., T]:
    """The same function of a key and hashable arguments, whose last results are kept."""

    @functools.lru_cache(maxsize=KEPT)
    def kept(precision: str, words: tuple[int, ...], *rest: Any) -> T:
        return measure(jax.random.wrap_key_data(jnp.asarray(words, jnp.uint32)), *rest)

    def recalled(key: jax.Array, *rest: Any) -> T:
        return kept(str(jnp.result_type(float)), tuple(np.asarray(jax.random.key_data(key)).tolist()), *rest)

    return functools.wraps(measure)(recalled)


_fold_in = jax.jit(random.fold_in)
