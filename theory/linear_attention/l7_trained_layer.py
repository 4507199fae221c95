"""L7. Trained by gradient steps on sampled prompts, the layer ends at the preconditioner of the closed form.

Statement. The entries v and K of `W^PV = v e e^T`, `W^KQ = diag(K, 0)`, trained on the squared error of prompts of N
pairs, end where `A = v K^T` is `W L G^-1`, with L, W and G of L4. From the start of L3, `v^2 = |K|^2`, plain gradient
steps on normal features and tasks with `W = I` end at L3's two matrices themselves,
`K = c^-1 Gamma^-1` and `v = c`, `c = tr(Gamma^-2)^(1/4)`.

Assumptions. The other entries of both matrices stay at zero: for tasks that are not symmetric about zero nothing says
that a layer free in all its entries could not do better. Steps are small and batches large enough.

Proof. L4 has the optimum, L3 the flow that small steps follow; that steps of finite size on sampled prompts end close
to it is what is checked.

Check. The library's layer and trainer, three kinds of features: normal; state-action pairs of random linear MDPs,
labelled with their Q-values (L1); and four points of the plane with tasks for which A is far from symmetric. The risk
of the trained A exceeds that of the optimum A* by exactly `tr L (A - A*) G (A - A*)^T`; as a share of the least risk it
may be no more than `LEFT`. The two matrices are matched to within `MATCHED` of their largest entries: noise in the
gradients moves `v^2 - |K|^2` away from zero at every step, to second order in the rate.

Refutation. The layer ends at the optimum for infinitely long contexts, `A = L^-1`. So near N = 4 is told from 3 and 5,
and A from its transpose.

Source. Paper 1 for normal features, ours for others.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from jaxdm.analysis.claims import FAILS, Claim
from jaxdm.analysis.storage import named
from theory.linear_attention import (
    in_context_regression,
    l3_training_optimum,
    l4_any_features,
    linear_mdps,
    training,
)
from theory.linear_attention.l3_training_optimum import TrainingOptimumForm
from theory.linear_attention.l4_any_features import PreconditionerForm
from theory.verdicts import at_most, largest

LENGTH = 4
"""N."""


LEFT, MATCHED = 0.005, 0.03
"""Largest excess risk, as a share of the least risk; largest distance from L3's matrices, relative."""


PLAIN_BATCH = 256
"""Prompts of a plain gradient step, if not more."""


POOLS = {
    "normal features": linear_mdps.normal_pool,
    "linear-MDP features": linear_mdps.linear_mdp_pool,
    "skewed features": linear_mdps.skewed_pool,
}


class TrainedForm(NamedTuple):
    """The stated preconditioner, and the power of `tr Gamma^-2` that v is."""

    preconditioner: PreconditionerForm = l4_any_features.STATED
    power: float = 0.25


STATED = TrainedForm()


WRONG = {
    "A = L^-1": TrainedForm(preconditioner=PreconditionerForm(length=float("inf"))),
    "N + 1": TrainedForm(preconditioner=PreconditionerForm(length=1 + 1 / LENGTH)),
    "N - 1": TrainedForm(preconditioner=PreconditionerForm(length=1 - 1 / LENGTH)),
    "N x 2": TrainedForm(preconditioner=PreconditionerForm(length=2.0)),
    "N x 0.5": TrainedForm(preconditioner=PreconditionerForm(length=0.5)),
    "A transposed": TrainedForm(preconditioner=PreconditionerForm(transposed=1.0)),
    "A x 1.2": TrainedForm(preconditioner=PreconditionerForm(scale=1.2)),
    "A x 0.8": TrainedForm(preconditioner=PreconditionerForm(scale=0.8)),
    "tr^(1/2) for tr^(1/4)": TrainedForm(power=0.5),
    "tr^(-1/4) for tr^(1/4)": TrainedForm(power=-0.25),
}


def check(key: jax.Array, samples: int = 64, form: TrainedForm = STATED) -> Claim:
    """The largest share of the least risk by which any seed's layer is worse than, or differs from, the stated A.

    Args:
        key: random key.
        samples: prompts in a batch.
        form: what is claimed.
    """
    shares = [np.asarray(excess(each, form.preconditioner))[:, -1].max() for each in layers(key, samples)]
    distance = from_matrices(key, samples, form.power)
    statement = (
        "The trained layer's excess risk over `A = W L G^-1`, normal, linear-MDP and skewed features, share of the "
        f"risk (distance from L3's matrices {distance:.2g})"
    )
    claim = at_most(statement, "paper 1 (normal); ours", largest(shares), LEFT)
    return claim if distance <= MATCHED else claim._replace(verdict=FAILS)


def from_matrices(key: jax.Array, samples: int, power: float = STATED.power) -> float:
    """The largest relative distance of any seed's K and v from L3's, after plain steps from the start of L3."""
    trained = training.train(key, LENGTH, max(samples, PLAIN_BATCH), linear_mdps.normal_pool, None, True)
    key_query, last = l3_training_optimum.matrices(linear_mdps.SPECTRUM, LENGTH, TrainingOptimumForm(power=power))
    off = np.abs(trained.key_query[:, -1] - key_query) / np.abs(key_query).max()
    return largest([off, np.abs(trained.last[:, -1] / last - 1)])


def curves(key: jax.Array, samples: int = 64) -> dict[str, xr.DataArray]:
    """What training ends at beside the closed form, and the excess risk on the way; features of three dimensions."""
    names = [name for name in POOLS if name != "skewed features"]
    trained = [each for name, each in zip(POOLS, layers(key, samples), strict=True) if name in names]
    closed = [
        l4_any_features.stated(
            linear_mdps.feature_distribution(jnp.asarray(each.points)),
            jnp.asarray(each.tasks),
            LENGTH,
            l4_any_features.STATED,
        )
        for each in trained
    ]
    steps = np.arange(1, training.SHOWN + 1) * (training.STEPS // training.SHOWN)
    ends = np.stack([each.preconditioner[:, -1] for each in trained])
    return {
        "excess": named(np.stack([excess(each) for each in trained]), features=names, seed=None, step=steps),
        "trained": named(ends, features=names, seed=None, row=None, column=None),
        "closed": named(np.stack(closed), features=names, row=None, column=None),
    }


def layers(key: jax.Array, samples: int) -> list[training.TrainedLayers]:
    """Trained on the features of each of `POOLS`."""
    return [training.train(key, LENGTH, samples, draw) for draw in POOLS.values()]


def excess(trained: training.TrainedLayers, form: PreconditionerForm = l4_any_features.STATED) -> jax.Array:
    """Excess risk over the stated A, as a share of the least risk, all along training, [SEEDS, SHOWN]."""
    return _excess(trained.preconditioner, trained.points, trained.tasks, form)


@jax.jit
def _excess(path: jax.Array, points: jax.Array, tasks: jax.Array, form: PreconditionerForm) -> jax.Array:
    x = linear_mdps.feature_distribution(points)
    off = path - l4_any_features.stated(x, tasks, LENGTH, form)[None, None]
    repeated = (1 - 1 / LENGTH) * x.moment @ tasks @ x.moment + x.fourth(tasks) / LENGTH
    parts = in_context_regression.split(x, in_context_regression.optimum(x, tasks, LENGTH), tasks)
    return jnp.einsum("ij,nsjk,kl,nsil->ns", x.moment, off, repeated, off) / (parts.estimation / LENGTH + parts.bias)
