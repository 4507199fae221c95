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

import functools

import jax
import jax.numpy as jnp
import numpy as np

from theory import any_features, deployment, regression, training
from theory.any_features import Form
from theory.claim import Claim, at_most

LENGTH = 8
"""N."""
LEFT = 0.02
"""Largest excess risk, as a share of the least risk."""
WRONG = {
    "A = L^-1": Form(length=float("inf")),
    "N x 2": Form(length=2.0),
    "N x 0.5": Form(length=0.5),
    "A x 2": Form(scale=2.0),
    "A x 0.5": Form(scale=0.5),
}


def check(key: jax.Array, samples: int = 64, form: Form = any_features.STATED) -> Claim:
    """The largest share of the least risk by which any seed's layer is worse than, or differs from, the stated A.

    Args:
        key: random key.
        samples: prompts in a batch.
        form: what is claimed.
    """
    trained = training.train(key, LENGTH, samples)
    shares = [np.asarray(excess(trained, pool, form))[:, -1].max() for pool in range(2)]
    statement = "The trained layer's excess risk over A = W L G^-1, normal and linear-MDP features (share of the risk)"
    return at_most("L7", statement, "paper 1 (normal); ours", float(max(shares)), LEFT)


def refute(key: jax.Array, samples: int = 64) -> Claim:
    """The same for the inverse second moment."""
    return check(key, samples, WRONG["A = L^-1"])


def curves(key: jax.Array, samples: int = 64) -> dict[str, np.ndarray]:
    """What training ends at beside the closed form, and the excess risk on the way."""
    trained = training.train(key, LENGTH, samples)
    closed = [
        any_features.stated(law(trained, pool), jnp.asarray(trained.tasks[pool]), LENGTH, any_features.STATED)
        for pool in range(2)
    ]
    return {
        "steps": np.arange(1, training.SHOWN + 1) * (training.STEPS // training.SHOWN),
        "pools": np.asarray(["normal features", "linear-MDP features"]),
        "excess": np.stack([excess(trained, pool) for pool in range(2)]),  # [pools, SEEDS, steps]
        "trained": trained.path[:, :, -1],  # [pools, SEEDS, d, d]
        "closed": np.stack(closed),  # [pools, d, d]
    }


def law(trained: training.Trained, pool: int) -> regression.Law:
    """The features of a pool."""
    return deployment.law(jnp.asarray(trained.points)) if pool else _normal()


def _normal() -> regression.Law:
    return regression.gaussian(jnp.diag(jnp.asarray(training.SPECTRUM)))


def excess(trained: training.Trained, pool: int, form: Form = any_features.STATED) -> jax.Array:
    """Excess risk over the stated A, as a share of the least risk, all along training, [SEEDS, SHOWN]."""
    return _excess(trained.path[pool], trained.points, trained.tasks[pool], pool, form)


@functools.partial(jax.jit, static_argnums=3)
def _excess(path: jax.Array, points: jax.Array, tasks: jax.Array, pool: int, form: Form) -> jax.Array:
    x = deployment.law(points) if pool else _normal()
    off = path - any_features.stated(x, tasks, LENGTH, form)[None, None]
    repeated = (1 - 1 / LENGTH) * x.moment @ tasks @ x.moment + x.fourth(tasks) / LENGTH
    parts = regression.split(x, regression.optimum(x, tasks, LENGTH), tasks)
    return jnp.einsum("ij,nsjk,kl,nsil->ns", x.moment, off, repeated, off) / (parts.estimation / LENGTH + parts.bias)
