"""L5-N. What training on contexts of length N leaves of the error, however long the context at test, falls like 1/N^2.

Statement. With infinitely many demonstrations the mean square error at normal features and tasks is
`bias(N) = |L^(1/2) (Gamma^-1 L - I)|_F^2`, and falls like `N^-2` for N far above d k, k the condition number of L: the
local exponent `d log bias / d log N` is between -2 and `-2 + 2 (1 + d k) / N`.

Assumptions. `x ~ N(0, L)`, `w ~ N(0, I)`, and the preconditioner `Gamma^-1` of L3.

Proof. With infinitely many demonstrations `L_M = L`, and the error is `x^T (Gamma^-1 L - I) w`, where
`Gamma^-1 L - I = -Gamma^-1 (L + tr(L) I) / N`. Along the eigenvalue l of L that is `-c / (N + c)`, `c = 1 + tr(L) / l`,
so `bias = sum_l l c^2 / (N + c)^2`. Each term has the local exponent `-2 N / (N + c) = -2 + 2 c / (N + c)`, their sum
a weighted mean of these, and `c <= 1 + d k`.

Check. A context of d pairs can have second moment exactly L, namely `x_i = sqrt(d) L^(1/2) e_i`; on it the library's
attention layer gives what it would give for M to infinity. Random tasks and queries are put to it for N = 100,000 to
3,200,000, and the mean square error is fitted in N; the interval is five standard errors wide on either side. Local
exponents are derivatives of the exact bias, from N = d k / 16 on; the stored curves show where the law starts.

Refutation. The exponent -3.

Source. Exponent of paper 1, eq. 6; where it starts is ours.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from jaxdm.analysis.claims import FAILS, Claim
from jaxdm.analysis.storage import named
from theory import draws
from theory.linear_attention import in_context_regression, l5m_context_rate

LENGTHS = tuple(100_000 * 2**k for k in range(6))
"""d k = 24 for the spectrum of `context_rate`: the exponent between the first two is off by about 24 / 100,000."""


CHUNK = 20_000
"""Tasks and queries drawn at once."""


SPECTRA = ((1.0, 1.0, 1.0), l5m_context_rate.SPECTRUM, (4.0, 0.4, 0.04))
"""Eigenvalues of L of the local exponents; condition numbers 1, 8 and 100."""


RATIOS = tuple(2.0**k for k in range(-4, 13))
"""N / (d k) of the local exponents."""


ROUNDING = 1e-9
"""Of a local exponent, a derivative of sums of three terms."""


WRONG = {f"exponent {value}": value for value in (-3.0, -1.0, -1.9, 2.0, 0.0)}


def check(key: jax.Array, samples: int = 1000, form: float = -2.0) -> Claim:
    """The fitted exponent, with its interval.

    Args:
        key: random key.
        samples: tasks and queries for every N in each of 40 curves.
        form: the exponent claimed.
    """
    values = means(key, samples)
    local = local_exponents()
    starts = ", ".join(f"{np.max(local[:, RATIOS.index(ratio)]):.2f} at {ratio:g} d k" for ratio in (1.0, 8.0, 64.0))
    statement = (
        f"With M to infinity `E e^2` falls like `N^-2` for N = {LENGTHS[0]:.0e} to {LENGTHS[-1]:.1e}; largest local "
        f"exponent {starts}"
    )
    claim = l5m_context_rate.fitted(statement, LENGTHS, values, form)
    product = np.asarray([len(spectrum) * max(spectrum) / min(spectrum) for spectrum in SPECTRA])[:, None]
    above = -2 + 2 * (1 + product) / (product * np.asarray(RATIOS))
    inside = np.all((local >= -2 - ROUNDING) & (local <= above + ROUNDING))
    return claim if inside else claim._replace(verdict=FAILS)


def local_exponents() -> np.ndarray:
    """`d log bias / d log N` at every ratio `N / (d k)`, [SPECTRA, RATIOS]."""
    return np.stack(
        [
            np.asarray(_local_exponents(jnp.asarray(spectrum), jnp.asarray(RATIOS) * len(spectrum)))
            for spectrum in SPECTRA
        ]
    )


@jax.jit
def _local_exponents(spectrum: jax.Array, per_condition: jax.Array) -> jax.Array:
    """At N that are `per_condition` times the condition number."""
    distribution = in_context_regression.gaussian(jnp.diag(spectrum))

    def log_bias(log_length: jax.Array) -> jax.Array:
        trained = in_context_regression.gaussian_optimum(distribution.moment, jnp.exp(log_length))
        return jnp.log(in_context_regression.split(distribution, trained, jnp.eye(spectrum.shape[0])).bias)

    return jax.vmap(jax.grad(log_bias))(jnp.log(per_condition * jnp.max(spectrum) / jnp.min(spectrum)))


def curves(key: jax.Array, samples: int = 1000) -> dict[str, xr.DataArray]:
    """The curves behind the exponent, what they are in mean, and local exponents against `N / (d k)`."""
    conditions = [max(spectrum) / min(spectrum) for spectrum in SPECTRA]
    distribution = in_context_regression.gaussian(jnp.diag(jnp.asarray(l5m_context_rate.SPECTRUM)))

    def bias(length: jax.Array) -> jax.Array:
        trained = in_context_regression.gaussian_optimum(distribution.moment, length)
        return in_context_regression.split(distribution, trained, jnp.eye(3)).bias

    return {
        "local": named(local_exponents(), condition=conditions, ratio=RATIOS),
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
