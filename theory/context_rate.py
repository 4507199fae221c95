"""L5-M. What the context leaves of the error falls like 1/M.

By L5 the layer's coefficients err by `A (L_M - L) w` on account of the context, with mean square est/M. Contexts are
drawn, put through the library's attention layer, and the mean square of what the context adds, over queries and tasks
both averaged exactly, is fitted against M in a log-log plot.

The interval is five standard errors wide on either side, wider than one of 95 %: a true claim must not fail for one
key in twenty. The refutation claims the exponent -2.

Source: exponent of paper 1, eq. 6.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxdm import statistics
from theory import regression
from theory.claim import FAILS, Claim, covers

SOURCE = "rate of paper 1, eq. 6"
SPECTRUM = (2.0, 1.0, 0.25)
LENGTH = 50
CONTEXTS = (8, 16, 32, 64, 128, 256)
BATCHES = 40
"""Independent curves: the unit of the interval."""
WIDTH = 0.1
"""Widest interval that counts as a measurement."""
CONFIDENCE = 1 - 5.7e-7
"""Of a normal's five standard deviations; the interval itself is Student's."""
WRONG = {f"exponent {value}": value for value in (-2.0, -0.5, 1.0, 0.0)}


def check(key: jax.Array, samples: int = 120, form: float = -1.0) -> Claim:
    """The fitted exponent, with its interval.

    Args:
        key: random key.
        samples: contexts of every length in each of 40 curves.
        form: the exponent claimed.
    """
    curves = [context_part(jax.random.fold_in(key, m), m, BATCHES * samples) for m in CONTEXTS]
    values = np.stack([np.asarray(curve).reshape(BATCHES, samples).mean(axis=1) for curve in curves], axis=1)
    return fitted("L5-M", "The context's part of E e^2 falls like M^-1", CONTEXTS, values, form)


def refute(key: jax.Array, samples: int = 120) -> Claim:
    """The same for 1/M^2."""
    return check(key, samples, WRONG["exponent -2.0"])


def fitted(id: str, statement: str, lengths: tuple[int, ...], values: np.ndarray, exponent: float) -> Claim:
    """The claim that mean curves [batches, lengths] have this exponent, measured to within `WIDTH`."""
    found = statistics.exponent_interval(lengths, values, CONFIDENCE)
    claim = covers(id, statement, SOURCE, found.exponent, found.low, found.high, exponent)
    return claim if found.high - found.low <= WIDTH else claim._replace(verdict=FAILS)


@functools.partial(jax.jit, static_argnums=(1, 2))
def context_part(key: jax.Array, context: int, samples: int) -> jax.Array:
    """`tr C^T L C` with `C = A (L_M - L)` read off the layer, [samples]: the mean over `w ~ N(0, I)` and queries."""
    moment = jnp.diag(jnp.asarray(SPECTRUM))
    law, trained = regression.gaussian(moment), regression.gaussian_optimum(moment, LENGTH)

    def one(key: jax.Array) -> jax.Array:
        x = law.sample(key, context)
        answers = jax.vmap(lambda task: regression.coefficients(trained, x, x @ task), out_axes=1)(
            jnp.eye(len(SPECTRUM))
        )
        added = answers - trained @ moment
        return jnp.trace(added.T @ moment @ added)

    return jax.lax.map(one, jax.random.split(key, samples), batch_size=100)
