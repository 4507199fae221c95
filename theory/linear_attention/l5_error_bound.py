"""L5-bound. The paper's bound on the layer's error, and how loose it is.

Statement. The exact `E e^2` of L5 is at most `(d + 1) tr L / M + (1 + 2 d + d^2 k) tr L / N^2`, k the condition number
of L.

Assumptions. `x ~ N(0, L)`, L regular, `w ~ N(0, I)`, and `A = Gamma^-1` of L3.

Proof. `Gamma >= L`, so `Gamma^-2 <= L^-2` inside the traces, all matrices being functions of L. The context term is at
most `tr (tr(L) I + L) = (d + 1) tr L`; of the length term the three parts are at most `tr L`, `2 d tr L` and
`(tr L)^2 tr L^-1 <= d^2 k tr L`, for `tr L <= d l_max` and `tr L^-1 <= d / l_min`. For `L = I` and large N both terms
are attained, so that no constant can be smaller.

Check. The largest share of the bound that the exact error takes, over random spectra with condition numbers up to 100,
one of them flat, every d, M and N.

Refutation. `(d + 1) / 4` for `d + 1`.

Source. Paper 1, eq. 6; Zhang, Frei, Bartlett, JMLR 25, 2024, corollary 4.3.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxdm.analysis.claims import Claim
from theory import draws
from theory.linear_attention import in_context_regression
from theory.verdicts import at_most

SOURCE = "paper 1, eq. 6 = Zhang, Frei, Bartlett 2024, corollary 4.3"


DIMENSIONS = (2, 3, 5, 8)


CONTEXTS = (5, 50, 10**9)


LENGTHS = (5, 50, 500, 10**5)


CHUNK = 10_000
"""Spectra of every dimension drawn at once; the first of a chunk is flat."""


class ErrorBoundForm(NamedTuple):
    """The stated bound: `first tr L / M^context_power + second tr L / N^length_power`."""

    context: float = 1.0  # times d + 1
    length: float = 1.0  # times 1 + 2 d + d^2 k
    context_power: float = 1.0
    length_power: float = 2.0
    condition: float = 1.0  # power of k


STATED = ErrorBoundForm()


WRONG = {
    "(d + 1) x 0.25": ErrorBoundForm(context=0.25),
    "(d + 1) x 0.5": ErrorBoundForm(context=0.5),
    "no context term": ErrorBoundForm(context=0.0),
    "length term x 0.5": ErrorBoundForm(length=0.5),
    "no length term": ErrorBoundForm(length=0.0),
    "1/M^2": ErrorBoundForm(context_power=2.0),
    "1/N^3": ErrorBoundForm(length_power=3.0),
    "no condition number": ErrorBoundForm(condition=0.0),
}


def check(key: jax.Array, samples: int = 200, form: ErrorBoundForm = STATED) -> Claim:
    """The largest share of the bound that the exact error takes, over random spectra, every d, M and N.

    Args:
        key: random key.
        samples: spectra of every dimension; the first is flat, the others log-uniform over a factor of 100.
        form: what is claimed.
    """
    used = shares(key, samples, form)
    middle = float(np.median(used))
    statement = (
        f"`E e^2 <= (d + 1) tr L / M + (1 + 2 d + d^2 k) tr L / N^2`: share of the bound taken (median {middle:.2g})"
    )
    return at_most(statement, SOURCE, float(used.max()), 1.0)


@draws.once
def measured(key: jax.Array, samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Random spectra, padded by zeros to the largest dimension, and the exact errors, leading axes [samples, d]."""

    def measure(key: jax.Array, count: int) -> tuple[jax.Array, jax.Array]:
        spread = 10 ** (2 * np.asarray(draws.uniform(key, (count, len(DIMENSIONS), max(DIMENSIONS)))) - 1)
        spread[0] = 1.0
        spectra = np.where(np.arange(max(DIMENSIONS)) < np.asarray(DIMENSIONS)[:, None], spread, 0.0)
        contexts, lengths = jnp.asarray(CONTEXTS, spread.dtype), jnp.asarray(LENGTHS, spread.dtype)
        return jnp.asarray(spectra), _errors(spectra, contexts, lengths)

    return draws.in_chunks(measure, key, samples, CHUNK)


def shares(key: jax.Array, samples: int, form: ErrorBoundForm) -> np.ndarray:
    """Exact error over bound, [samples, d, M, N]."""
    spectra, errors = measured(key, samples)
    d, contexts = np.asarray(DIMENSIONS)[:, None, None], np.asarray(CONTEXTS, float)[:, None]
    least = np.where(spectra > 0, spectra, np.inf).min(axis=-1)
    condition = ((spectra.max(axis=-1) / least) ** form.condition)[..., None, None]
    first = form.context * (d + 1) / contexts**form.context_power
    second = form.length * (1 + 2 * d + d**2 * condition) / np.asarray(LENGTHS, float) ** form.length_power
    return errors / ((first + second) * spectra.sum(axis=-1)[..., None, None])


@jax.jit
def _errors(spectra: jax.Array, contexts: jax.Array, lengths: jax.Array) -> jax.Array:
    """Exact errors [..., M, N] for the spectra [..., d]; coordinates without variance do not add to them."""

    def one(spectrum: jax.Array, length: jax.Array) -> jax.Array:
        moment = jnp.diag(spectrum)
        parts = in_context_regression.split(
            in_context_regression.gaussian(moment),
            in_context_regression.gaussian_optimum(moment, length),
            jnp.eye(spectrum.shape[0]),
        )
        return parts.estimation / contexts + parts.bias

    over = jax.vmap(one, (None, 0), 1)
    return jax.vmap(jax.vmap(over, (0, None)), (0, None))(spectra, lengths)
