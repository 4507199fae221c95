"""L6b. End to end: a context term that demonstrations shrink, and a training-length term that they cannot.

With the data distribution nu over state-action pairs and `C_h = max_{s,a} max_pi P^pi(s_h = s) / nu(s,a)`,
`E[V*_1 - V_1] <= 2 sum_h sqrt(C_h) (sqrt(est_h / M) + sqrt(bias_h))` for greedy play on the layer's estimates.
Proof: in L6a, `(E max_a |e|)^2 <= sum_s P(s_h = s) max_a e(s,a)^2 <= C_h sum_{s,a} nu(s,a) e(s,a)^2` whatever policy
a context leads to, since `P(s_h = s) <= C_h nu(s,a)` for every a; the mean over contexts of the last sum is
`est_h / M + bias_h` (L5), and the mean of a root is at most the root of the mean.

Everything on the right is exact; on the left greedy play is evaluated exactly for each of many contexts. The longest
contexts are met by a layer trained on contexts of a single pair: there the refutation, without the bias, must break.
The bound is not tight: of the wrong versions listed, those that shrink a term do so by more than its slack.

Source: the two terms are paper 1's, whose exact statement is not known to us; this form is ours.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from jaxdm.analysis.claims import Claim
from jaxdm.analysis.storage import named
from theory import draws
from theory.linear_attention import greedy_play, in_context_regression, linear_mdps
from theory.verdicts import at_most

SIZE = (8, 3, 4, 5)
"""(S, A, d, H)."""


SETTINGS = ((50, 1e6), (4000, 1.0))
"""(M, N)."""


CURVE_M, CURVE_N, RUNS = (8, 32, 128, 512), (1.0, 30.0, 1000.0), 5
"""M, N and groups of MDPs of the stored curves."""


CHUNK = 60
"""MDPs met with contexts at once."""


CONTEXTS = 20
"""Contexts over which the loss is averaged in each MDP."""


SOURCE = "ours, in the form of paper 1's bound"


class SuboptimalityForm(NamedTuple):
    """The stated bound, with its constants and exponents."""

    context: float = 1.0
    length: float = 1.0
    power: float = 0.5  # of M
    factor: float = 2.0


class SuboptimalityTerms(NamedTuple):
    """Mean loss of greedy play in one MDP, its standard error, and the two terms that bound it."""

    gap: jax.Array  # []
    error: jax.Array  # []
    estimation: jax.Array  # [] sum_h sqrt(C_h est_h)
    bias: jax.Array  # [] sum_h sqrt(C_h bias_h)


STATED = SuboptimalityForm()


WRONG = {
    "no bias": SuboptimalityForm(length=0.0),
    "bias x 0.1": SuboptimalityForm(length=0.1),
    "no context term": SuboptimalityForm(context=0.0),
    "1/M^2 for 1/sqrt M": SuboptimalityForm(power=2.0),
    "factor 0.2": SuboptimalityForm(factor=0.2),
}


def check(key: jax.Array, samples: int = 60, form: SuboptimalityForm = STATED) -> Claim:
    """The largest share of the bound that the mean loss, less five standard errors, takes in any MDP.

    Args:
        key: random key.
        samples: random linear MDPs for each M and N.
        form: what is claimed.
    """
    shares, lower = [], []
    for index, (context, length) in enumerate(SETTINGS):
        found = measure(jax.random.fold_in(key, index), context, length, samples)
        bound = form.factor * (form.context * found.estimation / context**form.power + form.length * found.bias)
        shares.append(found.gap / bound)
        lower.append((found.gap - 5 * found.error) / bound)
    statement = f"E[V* - V] <= 2 sum_h sqrt C_h (sqrt(est/M) + sqrt bias); mean share {float(shares[0].mean()):.2g}"
    largest, worst = float(np.max(shares)), float(np.max(lower))
    return at_most(statement, SOURCE, largest, 1.0, largest - worst)


def curves(key: jax.Array, samples: int = 60) -> dict[str, xr.DataArray]:
    """Mean losses, and both terms of the bound, in `RUNS` groups of MDPs."""
    found = [
        [measure(jax.random.fold_in(key, 10 + n), context, length, RUNS * -(-samples // RUNS)) for context in CURVE_M]
        for n, length in enumerate(CURVE_N)
    ]

    def by_run(name: str) -> np.ndarray:
        values = np.asarray([[getattr(terms, name) for terms in row] for row in found])
        return values.reshape(*values.shape[:-1], RUNS, -1).mean(axis=-1)

    root = np.sqrt(np.asarray(CURVE_M))[:, None]
    return {
        "gap": named(by_run("gap"), length=CURVE_N, context=CURVE_M, run=None),
        "estimation": named(2 * by_run("estimation") / root, length=CURVE_N, context=CURVE_M, run=None),
        "bias": named(2 * by_run("bias")[:, 0], length=CURVE_N, run=None),
    }


@draws.once
def measure(key: jax.Array, context: int, length: float, samples: int) -> SuboptimalityTerms:
    """Mean losses and bounds in random linear MDPs, leading axis [samples]."""

    def shares(key: jax.Array, count: int) -> SuboptimalityTerms:
        key_worlds, key_contexts = draws.keys(key)
        worlds = linear_mdps.instances(key_worlds, SIZE, length, count)
        chosen = greedy_play.contexts(key_contexts, worlds, (count, CONTEXTS, context))
        gaps = np.asarray(greedy_play.outcomes(worlds, greedy_play.estimates(worlds, chosen)).gap)
        estimation, bias = terms(worlds)
        error = gaps.std(axis=1) / CONTEXTS**0.5
        return SuboptimalityTerms(gap=gaps.mean(axis=1), error=error, estimation=estimation, bias=bias)

    return draws.in_chunks(shares, key, samples, CHUNK)


@jax.jit
@jax.vmap
def terms(world: linear_mdps.SolvedLinearMDP) -> tuple[jax.Array, jax.Array]:
    """`sum_h sqrt(C_h est_h)` and `sum_h sqrt(C_h bias_h)`, exact."""
    distribution, root = linear_mdps.uniform_pairs(world.features), jnp.sqrt(greedy_play.coverage(world))
    split = jax.vmap(lambda w: in_context_regression.split(distribution, world.preconditioner, jnp.outer(w, w)))(
        world.weights
    )
    bias = jnp.sqrt(jnp.maximum(split.bias, 0))
    return jnp.sum(root * jnp.sqrt(split.estimation)), jnp.sum(root * bias)
