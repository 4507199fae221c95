"""L2. One layer of linear attention is a preconditioned regression.

Statement. With context pairs `(x_i, y_i)` and `W^PV = e e^T`, e the last unit vector, `W^KQ = diag(A^T, 0)`, the layer
`f(E) = E + W^PV E (E^T W^KQ E) / M` answers a query with `y_hat = x_q^T A (1/M) sum_i y_i x_i`.

Assumptions. None on pairs, query or A. The query's token is `(x_q, 0)`, and the answer is read at its last entry.

Proof. Only the last row of `W^PV E` is non-zero, and it is `(y_1, ..., y_M, 0)`; a query's scores are `x_i^T A^T x_q`;
the query itself adds nothing, for its label entry is 0. For noise-free labels `y = <w, x>` this is `x_q^T A L_M w` with
`L_M` the empirical second moment: one gradient step from zero on the squared loss, with a fixed preconditioner.

Check. The library's own attention layer equals the formula, for random A and any labels, also over contexts longer than
one block of attention.

Refutation. That the layer divides by M + 1, the number of tokens, instead of M: a difference of one part in M.

Source. Classical: Zhang, Frei, Bartlett, JMLR 25, 2024, section 3.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxdm.analysis.claims import Claim
from jaxdm.models import constructions
from theory import draws
from theory.verdicts import exactly, largest

SHAPES = ((2, 5), (3, 20), (5, 40), (8, 300))
"""Dimension d and context length M of the random instances; the last is longer than one block of attention."""


CHUNK = 2000
"""Instances of one shape drawn at once."""


Form = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""A [n, d, d], x [n, M, d], y [n, M] and queries [n, d] to the terms [n, M] whose sums are the predictions."""


def _stated(a: np.ndarray, x: np.ndarray, y: np.ndarray, query: np.ndarray) -> np.ndarray:
    return y * np.einsum("nmi,nji,nj->nm", x, a, query) / y.shape[1]


WRONG: dict[str, Form] = {
    "M + 1 for M": lambda a, x, y, query: _stated(a, x, y, query) * y.shape[1] / (y.shape[1] + 1),
    "x 0.5": lambda a, x, y, query: _stated(a, x, y, query) / 2,
    "x 2": lambda a, x, y, query: _stated(a, x, y, query) * 2,
    "1/M^2": lambda a, x, y, query: _stated(a, x, y, query) / y.shape[1],
    "A transposed": lambda a, x, y, query: _stated(a.swapaxes(1, 2), x, y, query),
    "A = I": lambda a, x, y, query: _stated(np.broadcast_to(np.eye(query.shape[1]), a.shape), x, y, query),
    "first pair left out": lambda a, x, y, query: _stated(a, x, np.concatenate([0 * y[:, :1], y[:, 1:]], 1), query),
}


STATEMENT = "A linear-attention layer predicts `x_q' A (1 / M) sum_i y_i x_i`"


SOURCE = "classical: Zhang, Frei, Bartlett 2024"


def check(key: jax.Array, samples: int = 200, form: Form = _stated) -> Claim:
    """The layer equals the formula, relative to the size of its terms, up to rounding.

    Args:
        key: random key.
        samples: random instances of every shape.
        form: what is claimed.
    """
    error = _largest_error(key, samples, form)
    return exactly(STATEMENT, SOURCE, error, _rounding())


def _rounding() -> float:
    """A sum of M products of d terms, in any order, relative to the sum of moduli."""
    longest = max(d + m for d, m in SHAPES)
    return 8 * longest * float(jnp.finfo(jnp.float64).eps)


def _largest_error(key: jax.Array, samples: int, form: Form) -> float:
    errors = [draws.in_chunks(functools.partial(_errors, shape, form), key, samples, CHUNK) for shape in SHAPES]
    return largest(errors)


def _errors(shape: tuple[int, int], form: Form, key: jax.Array, count: int) -> np.ndarray:
    """Of random A, x, y and queries, [count]."""
    dimension, context = shape
    ends = np.cumsum([dimension * dimension, context * dimension, context])
    drawn = draws.normal(key, (count, int(ends[-1]) + dimension))
    a, x, y, query = np.split(np.asarray(drawn), ends, axis=1)
    a, x = a.reshape(count, dimension, dimension), x.reshape(count, context, dimension)
    size = np.abs(_stated(np.abs(a), np.abs(x), np.abs(y), np.abs(query))).sum(axis=1)
    return np.abs(np.asarray(_predictions(a, x, y, query)) - form(a, x, y, query).sum(axis=1)) / size


@jax.jit
@jax.vmap
def _predictions(a: jax.Array, x: jax.Array, y: jax.Array, query: jax.Array) -> jax.Array:
    """What the layer predicts."""
    layer, weights = constructions.linear_attention(query.shape[0] + 1), constructions.preconditioned_regression(a)
    return layer.apply(weights, constructions.regression_prompt(x, y, query))[-1, -1]
