"""L7. Trained by gradient steps on sampled prompts, the layer ends at the preconditioner of the closed form.

The entries v and K of `W^PV = v e e^T`, `W^KQ = diag(K, 0)` of the library's attention layer are trained by the
library's trainer on prompts of N pairs: normal features and tasks (L3), and state-action pairs of random linear MDPs
with given features, labelled with their Q-values (L1, L4). The excess risk of the trained `A = v K^T` over the optimum
`A* = W L G^-1` is exactly `tr L (A - A*) G (A - A*)^T`; as a share of the least risk it may be no more than `LEFT`,
which is what steps of finite size on sampled prompts leave. The other entries of the two matrices stay at zero: for
tasks that are not symmetric about zero nothing says that a layer free in all its entries could not do better.

The refutation claims that the layer ends at the optimum for infinitely long contexts, `A = L^-1`.

Source: that training ends there is paper 1's for normal features, and ours for others.
"""

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from jaxdm.analysis.claims import Claim
from jaxdm.analysis.storage import named
from theory.linear_attention import in_context_regression, l4_any_features, linear_mdps, training
from theory.linear_attention.l4_any_features import PreconditionerForm
from theory.verdicts import at_most

LENGTH = 8
"""N."""


LEFT = 0.02
"""Largest excess risk, as a share of the least risk."""


WRONG = {
    "A = L^-1": PreconditionerForm(length=float("inf")),
    "N x 2": PreconditionerForm(length=2.0),
    "N x 0.5": PreconditionerForm(length=0.5),
    "A x 2": PreconditionerForm(scale=2.0),
    "A x 0.5": PreconditionerForm(scale=0.5),
}


def check(key: jax.Array, samples: int = 64, form: PreconditionerForm = l4_any_features.STATED) -> Claim:
    """The largest share of the least risk by which any seed's layer is worse than, or differs from, the stated A.

    Args:
        key: random key.
        samples: prompts in a batch.
        form: what is claimed.
    """
    shares = [np.asarray(excess(each, form))[:, -1].max() for each in layers(key, samples)]
    statement = "The trained layer's excess risk over A = W L G^-1, normal and linear-MDP features (share of the risk)"
    return at_most(statement, "paper 1 (normal); ours", float(max(shares)), LEFT)


def curves(key: jax.Array, samples: int = 64) -> dict[str, xr.DataArray]:
    """What training ends at beside the closed form, and the excess risk on the way."""
    trained = layers(key, samples)
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
    features = ("normal features", "linear-MDP features")
    return {
        "excess": named(np.stack([excess(each) for each in trained]), features=features, seed=None, step=steps),
        "trained": named(ends, features=features, seed=None, row=None, column=None),
        "closed": named(np.stack(closed), features=features, row=None, column=None),
    }


def layers(key: jax.Array, samples: int) -> list[training.TrainedLayers]:
    """Trained on normal features, and on those of linear MDPs."""
    return [
        training.train(key, LENGTH, samples, draw) for draw in (linear_mdps.normal_pool, linear_mdps.linear_mdp_pool)
    ]


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
