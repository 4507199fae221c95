"""L2. One layer of linear attention is a preconditioned regression.

With context pairs `(x_i, y_i)` and `W^PV = e e^T`, `W^KQ = diag(A^T, 0)`, the layer
`f(E) = E + W^PV E (E^T W^KQ E) / M` answers a query with `y_hat = x_q^T A (1/M) sum_i y_i x_i`.
Proof: only the last row of `W^PV E` is non-zero, and it is `(y_1, ..., y_M, 0)`; the query's scores are
`x_i^T A^T x_q`; the query itself adds nothing, for its label entry is 0. For noise-free labels `y = <w, x>` this is
`x_q^T A Lambda_M w` with `Lambda_M` the empirical second moment.

The check compares the library's own attention layer with the formula, for random A, any labels. The refutation says
that the layer divides by M + 1, the number of tokens, instead of M: a difference of one part in M, which must be seen.

Source: Zhang, Frei, Bartlett, JMLR 25, 2024, section 3.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxdm.models import constructions
from theory.claim import Claim, exactly

SHAPES = ((2, 5), (3, 20), (5, 40), (8, 300))
"""Dimension d and context length M of the random instances; the last is longer than one block of attention."""

Form = Callable[[jax.Array, jax.Array, jax.Array, jax.Array], jax.Array]
"""A, x, y and a query to the terms whose sum is the prediction."""


def _stated(a: jax.Array, x: jax.Array, y: jax.Array, query: jax.Array) -> jax.Array:
    return y * (x @ a.T @ query) / y.shape[0]


WRONG: dict[str, Form] = {
    "M + 1 for M": lambda a, x, y, query: _stated(a, x, y, query) * y.shape[0] / (y.shape[0] + 1),
    "x 0.5": lambda a, x, y, query: _stated(a, x, y, query) / 2,
    "x 2": lambda a, x, y, query: _stated(a, x, y, query) * 2,
    "1/M^2": lambda a, x, y, query: _stated(a, x, y, query) / y.shape[0],
    "A transposed": lambda a, x, y, query: _stated(a.T, x, y, query),
    "A = I": lambda a, x, y, query: _stated(jnp.eye(query.shape[0]), x, y, query),
    "first pair left out": lambda a, x, y, query: _stated(a, x, y.at[0].set(0), query),
}

STATEMENT = "A linear-attention layer predicts x_q' A (1/M) sum y_i x_i"
SOURCE = "classical: Zhang, Frei, Bartlett 2024"


def check(key: jax.Array, samples: int = 200, form: Form = _stated) -> Claim:
    """The layer equals the formula, relative to the size of its terms, up to rounding.

    Args:
        key: random key.
        samples: random instances of every shape.
        form: what is claimed.
    """
    error = _largest_error(key, samples, form)
    return exactly("L2", STATEMENT, SOURCE, error, _rounding())


def refute(key: jax.Array, samples: int = 200) -> Claim:
    """The same with 1/(M + 1) for 1/M."""
    error = _largest_error(key, samples, WRONG["M + 1 for M"])
    return exactly("L2", "The layer divides by the number of tokens, M + 1", "refutation", error, _rounding())


def _rounding() -> float:
    """A sum of M products of d terms, in any order, relative to the sum of moduli."""
    longest = max(d + m for d, m in SHAPES)
    return 8 * longest * float(jnp.finfo(jnp.float64).eps)


def _largest_error(key: jax.Array, samples: int, form: Form) -> float:
    worst = 0.0
    for index, (dimension, context) in enumerate(SHAPES):
        keys = jax.random.split(jax.random.fold_in(key, index), samples)
        inputs, predicted, size = _predictions(keys, dimension, context)
        stated = jnp.sum(jax.vmap(form)(*inputs), axis=1)
        worst = max(worst, float(jnp.max(jnp.abs(predicted - stated) / size)))
    return worst


@functools.partial(jax.jit, static_argnums=(1, 2))
def _predictions(keys: jax.Array, dimension: int, context: int) -> tuple:
    """Random A, x, y and queries, what the layer predicts, and the sum of moduli in it; leading axis [samples]."""

    def one(key: jax.Array) -> tuple:
        key_a, key_x, key_y, key_q = jax.random.split(key, 4)
        preconditioner = jax.random.normal(key_a, (dimension, dimension))
        x, y = jax.random.normal(key_x, (context, dimension)), jax.random.normal(key_y, (context,))
        query = jax.random.normal(key_q, (dimension,))
        layer = constructions.linear_attention(dimension + 1)
        weights = constructions.preconditioned_regression(preconditioner)
        predicted = layer.apply(weights, constructions.regression_prompt(x, y, query))[-1, -1]
        size = jnp.sum(jnp.abs(y) * (jnp.abs(x) @ jnp.abs(preconditioner).T @ jnp.abs(query))) / context
        return (preconditioner, x, y, query), predicted, size

    return jax.vmap(one)(keys)
