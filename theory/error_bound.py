"""L5-bound. The paper's bound on the layer's error, and how loose it is.

For `x ~ N(0, L)` with condition number k, `w ~ N(0, I)` and `A = Gamma^-1`, the exact `E e^2` of L5 is at most
`(d + 1) tr L / M + (1 + 2 d + d^2 k) tr L / N^2`.
Proof: `Gamma >= L`, so `Gamma^-2 <= L^-2` inside the traces, all matrices being functions of L. The context term is at
most `tr (tr(L) I + L) = (d + 1) tr L`; of the length term the three parts are at most `tr L`, `2 d tr L` and
`(tr L)^2 tr L^-1 <= d^2 k tr L`, for `tr L <= d l_max` and `tr L^-1 <= d / l_min`. For `L = I` and large N both terms
are attained, so that no constant can be smaller.

Source: paper 1, eq. 6; Zhang, Frei, Bartlett, JMLR 25, 2024, corollary 4.3.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from theory import regression
from theory.claim import Claim, at_most

SOURCE = "paper 1, eq. 6 = Zhang, Frei, Bartlett 2024, corollary 4.3"
DIMENSIONS = (2, 3, 5, 8)
CONTEXTS = (5, 50, 10**9)
LENGTHS = (5, 50, 500, 10**5)


class Bound(NamedTuple):
    """The stated bound: `first tr L / M^context_power + second tr L / N^length_power`."""

    context: float = 1.0  # times d + 1
    length: float = 1.0  # times 1 + 2 d + d^2 k
    context_power: float = 1.0
    length_power: float = 2.0
    condition: float = 1.0  # power of k


STATED = Bound()
WRONG = {
    "(d + 1) x 0.25": Bound(context=0.25),
    "(d + 1) x 0.5": Bound(context=0.5),
    "no context term": Bound(context=0.0),
    "length term x 0.5": Bound(length=0.5),
    "no length term": Bound(length=0.0),
    "1/M^2": Bound(context_power=2.0),
    "1/N^3": Bound(length_power=3.0),
    "no condition number": Bound(condition=0.0),
}


def check(key: jax.Array, samples: int = 200, form: Bound = STATED) -> Claim:
    """The largest share of the bound that the exact error takes, over random spectra, every d, M and N.

    Args:
        key: random key.
        samples: spectra of every dimension; the first is flat, the others log-uniform over a factor of 100.
        form: what is claimed.
    """
    used = jnp.concatenate([shares(jax.random.fold_in(key, d), d, samples, form).ravel() for d in DIMENSIONS])
    middle = float(jnp.median(used))
    statement = f"E e^2 <= (d+1) tr L/M + (1+2d+d^2 k) tr L/N^2: share of the bound taken (median {middle:.2g})"
    return at_most("L5-bound", statement, SOURCE, float(jnp.max(used)), 1.0)


def refute(key: jax.Array, samples: int = 200) -> Claim:
    """The same with a quarter of the context term."""
    return check(key, samples, WRONG["(d + 1) x 0.25"])


@functools.partial(jax.jit, static_argnums=(1, 2))
def shares(key: jax.Array, dimension: int, samples: int, form: Bound) -> jax.Array:
    """Exact error over bound, [samples, M, N]."""
    spread = jax.random.uniform(key, (samples * dimension,)).reshape(samples, dimension).at[0].set(0.5)
    contexts, lengths = jnp.asarray(CONTEXTS, spread.dtype), jnp.asarray(LENGTHS, spread.dtype)

    def one(spectrum: jax.Array, context: jax.Array, length: jax.Array) -> jax.Array:
        law = regression.gaussian(jnp.diag(spectrum))
        trained = regression.gaussian_optimum(law.moment, length)
        parts = regression.split(law, trained, jnp.eye(dimension))
        condition = (jnp.max(spectrum) / jnp.min(spectrum)) ** form.condition
        first = form.context * (dimension + 1) / context**form.context_power
        second = form.length * (1 + 2 * dimension + dimension**2 * condition) / length**form.length_power
        return (parts.estimation / context + parts.bias) / ((first + second) * jnp.sum(spectrum))

    over = jax.vmap(jax.vmap(jax.vmap(one, (None, None, 0)), (None, 0, None)), (0, None, None))
    return over(10 ** (2 * spread - 1), contexts, lengths)
