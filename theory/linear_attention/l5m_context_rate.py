"""L5-M. What the context leaves of the error falls like 1/M.

Statement. The mean square of what the context adds to the error, over contexts of M pairs, queries and tasks, is
`est / M` for every M, hence of exponent -1.

Assumptions. `x ~ N(0, L)`, `w ~ N(0, I)`, and any fixed preconditioner A; here that of training on N = 50 pairs.

Proof. By L5 the layer's coefficients err by `A (L_M - L) w` on account of the context, and `L_M` is a mean of M
independent terms with mean L.

Check. Contexts are drawn, put through the library's attention layer, and the mean square of what the context adds, over
queries and tasks both averaged exactly, is fitted against M = 8 to 256 in a log-log plot. The interval is five standard
errors wide on either side, wider than one of 95 %: a true claim must not fail for one key in twenty.

Refutation. The exponent -2.

Source. Exponent of paper 1, eq. 6.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from jaxdm.analysis import statistics
from jaxdm.analysis.claims import FAILS, Claim
from jaxdm.analysis.storage import named
from theory import draws
from theory.linear_attention import in_context_regression
from theory.verdicts import covers

SOURCE = "rate of paper 1, eq. 6"


SPECTRUM = (2.0, 1.0, 0.25)


LENGTH = 50


CONTEXTS = (8, 16, 32, 64, 128, 256)


CHUNK = 1000
"""Contexts drawn at once."""


BATCHES = 40
"""Independent curves: the unit of the interval."""


WIDTH = 0.1
"""Widest interval that counts as a measurement."""


CONFIDENCE = 1 - 5.7e-7
"""Of a normal's five standard deviations; the interval itself is Student's."""


STATEMENT = (
    f"The context's part of `E e^2` falls like `M^-1` for M = {CONTEXTS[0]} to {CONTEXTS[-1]} (N = {LENGTH}; at any N)"
)


WRONG = {f"exponent {value}": value for value in (-2.0, -0.5, 1.0, 0.0)}


def check(key: jax.Array, samples: int = 120, form: float = -1.0) -> Claim:
    """The fitted exponent, with its interval.

    Args:
        key: random key.
        samples: contexts in each of 40 curves.
        form: the exponent claimed.
    """
    return fitted(STATEMENT, CONTEXTS, means(key, samples), form)


def curves(key: jax.Array, samples: int = 120) -> dict[str, xr.DataArray]:
    """The curves behind the exponent, and what they are in mean."""
    distribution = in_context_regression.gaussian(jnp.diag(jnp.asarray(SPECTRUM)))
    parts = in_context_regression.split(
        distribution, in_context_regression.gaussian_optimum(distribution.moment, LENGTH), jnp.eye(len(SPECTRUM))
    )
    return {
        "errors": named(means(key, samples).T, context=CONTEXTS, run=None),
        "exact": named(float(parts.estimation) / np.asarray(CONTEXTS), context=CONTEXTS),
    }


def fitted(statement: str, lengths: tuple[int, ...], values: np.ndarray, exponent: float) -> Claim:
    """The claim that mean curves [batches, lengths] have this exponent, measured to within `WIDTH`."""
    found = statistics.exponent_interval(lengths, values, CONFIDENCE)
    claim = covers(statement, SOURCE, found.exponent, found.low, found.high, exponent)
    return claim if found.high - found.low <= WIDTH else claim._replace(verdict=FAILS)


@draws.once
def means(key: jax.Array, samples: int) -> np.ndarray:
    """What the context adds to the error, means of `samples` contexts of every length, [BATCHES, M]."""
    return draws.in_chunks(context_part, key, BATCHES * samples, CHUNK).reshape(BATCHES, samples, -1).mean(axis=1)


def context_part(key: jax.Array, count: int) -> np.ndarray:
    """`tr C^T L C` with `C = A (L_M - L)` read off the layer, [count, M]: the mean over `w ~ N(0, I)` and queries.

    Shorter contexts are the first pairs of the longest.
    """
    moment = np.diag(SPECTRUM)
    trained = np.asarray(in_context_regression.gaussian_optimum(jnp.asarray(moment), LENGTH))
    x = np.asarray(draws.normal(key, (count, CONTEXTS[-1], len(SPECTRUM)))) @ np.sqrt(moment)
    return np.stack([_context_part(x[:, :m], trained, moment) for m in CONTEXTS], axis=1)


@jax.jit
@functools.partial(jax.vmap, in_axes=(0, None, None))
def _context_part(x: jax.Array, trained: jax.Array, moment: jax.Array) -> jax.Array:

    def read(task: jax.Array) -> jax.Array:
        return in_context_regression.coefficients(trained, x, x @ task)

    added = jax.vmap(read, out_axes=1)(jnp.eye(moment.shape[0])) - trained @ moment
    return jnp.trace(added.T @ moment @ added)
