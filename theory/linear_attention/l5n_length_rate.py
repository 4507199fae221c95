"""L5-N. What training on contexts of length N leaves of the error, however long the context at test, falls like 1/N^2.

With infinitely many demonstrations `L_M = L`, and the error is `x^T (Gamma^-1 L - I) w`: of order 1/N, since
`Gamma^-1 L - I = -Gamma^-1 (L + tr(L) I) / N`. A context of d pairs can have second moment exactly L, namely
`x_i = sqrt(d) L^(1/2) e_i`; on it the library's attention layer gives what it would give for M to infinity. Random
tasks and queries are put to it for N far above d k, k the condition number, and the mean square error is fitted in N.

The interval is five standard errors wide on either side. The refutation claims the exponent -3.

Source: exponent of paper 1, eq. 6.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from jaxdm.analysis.claims import Claim
from jaxdm.analysis.storage import named
from theory import draws
from theory.linear_attention import in_context_regression, l5m_context_rate

LENGTHS = tuple(100_000 * 2**k for k in range(6))
"""d k = 24 for the spectrum of `context_rate`: the exponent between the first two is off by about 24 / 100,000."""


CHUNK = 20_000
"""Tasks and queries drawn at once."""


WRONG = {f"exponent {value}": value for value in (-3.0, -1.0, -1.9, 2.0, 0.0)}


def check(key: jax.Array, samples: int = 1000, form: float = -2.0) -> Claim:
    """The fitted exponent, with its interval.

    Args:
        key: random key.
        samples: tasks and queries for every N in each of 40 curves.
        form: the exponent claimed.
    """
    values = means(key, samples)
    statement = "With M to infinity E e^2 falls like N^-2"
    return l5m_context_rate.fitted(statement, LENGTHS, values, form)


def curves(key: jax.Array, samples: int = 1000) -> dict[str, xr.DataArray]:
    """The curves behind the exponent, and what they are in mean."""
    distribution = in_context_regression.gaussian(jnp.diag(jnp.asarray(l5m_context_rate.SPECTRUM)))

    def bias(length: jax.Array) -> jax.Array:
        trained = in_context_regression.gaussian_optimum(distribution.moment, length)
        return in_context_regression.split(distribution, trained, jnp.eye(3)).bias

    return {
        "errors": named(means(key, samples).T, length=LENGTHS, run=None),
        "exact": named(jax.vmap(bias)(jnp.asarray(LENGTHS, distribution.moment.dtype)), length=LENGTHS),
    }


@draws.once
def means(key: jax.Array, samples: int) -> np.ndarray:
    """Mean square errors on the context whose second moment is L, [BATCHES, N]."""
    errors = draws.in_chunks(squared_errors, key, l5m_context_rate.BATCHES * samples, CHUNK)
    return errors.reshape(l5m_context_rate.BATCHES, samples, len(LENGTHS)).mean(axis=1)


def squared_errors(key: jax.Array, count: int) -> jax.Array:
    """With tasks and queries of its own for every N, [count, N]."""
    task, query = draws.normal(key, (2, count, len(LENGTHS), len(l5m_context_rate.SPECTRUM)))
    return _squared_errors(task, query, jnp.asarray(LENGTHS, task.dtype))


@jax.jit
@functools.partial(jax.vmap, in_axes=(0, 0, None))
@jax.vmap
def _squared_errors(task: jax.Array, query: jax.Array, length: jax.Array) -> jax.Array:
    moment = jnp.diag(jnp.asarray(l5m_context_rate.SPECTRUM))
    root, trained = jnp.sqrt(moment), in_context_regression.gaussian_optimum(moment, length)
    context = (task.shape[0] ** 0.5) * root
    answer = in_context_regression.answers(trained, context, context @ task, (root @ query)[None])[0]
    return (answer - (root @ query) @ task) ** 2
