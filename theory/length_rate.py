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

from theory import context_rate, regression
from theory.claim import Claim

LENGTHS = (1000, 2000, 4000, 8000, 16000, 32000)
"""d k = 24 for the spectrum of `context_rate`: the exponent between the first two is off by about 24 / 1000."""
WRONG = {f"exponent {value}": value for value in (-3.0, -1.0, -1.9, 2.0, 0.0)}


def check(key: jax.Array, samples: int = 1000, form: float = -2.0) -> Claim:
    """The fitted exponent, with its interval.

    Args:
        key: random key.
        samples: tasks and queries for every N in each of 40 curves.
        form: the exponent claimed.
    """
    moment = jnp.diag(jnp.asarray(context_rate.SPECTRUM))
    batches = jax.random.split(key, context_rate.BATCHES)
    values = np.asarray(curves(batches, moment, samples))
    statement = "With M to infinity E e^2 falls like N^-2"
    return context_rate.fitted("L5-N", statement, LENGTHS, values, form)


def refute(key: jax.Array, samples: int = 1000) -> Claim:
    """The same for 1/N^3."""
    return check(key, samples, WRONG["exponent -3.0"])


@functools.partial(jax.jit, static_argnums=2)
def curves(keys: jax.Array, moment: jax.Array, samples: int) -> jax.Array:
    """Mean square errors on the context whose second moment is L, [batches, N]."""
    dimension = moment.shape[0]
    context = (dimension**0.5) * jnp.linalg.cholesky(moment).T
    tasks, queries = regression.gaussian(jnp.eye(dimension)), regression.gaussian(moment)

    def one(key: jax.Array, length: jax.Array) -> jax.Array:
        key_task, key_query = jax.random.split(jax.random.fold_in(key, length))
        task, query = tasks.sample(key_task, samples), queries.sample(key_query, samples)
        trained = regression.gaussian_optimum(moment, length)
        answer = jax.vmap(lambda w, x: regression.answers(trained, context, context @ w, x[None])[0])
        return jnp.mean((answer(task, query) - jnp.sum(task * query, axis=1)) ** 2)

    return jax.vmap(lambda key: jax.vmap(lambda n: one(key, n))(jnp.asarray(LENGTHS)))(keys)
