"""Layers trained by the library's trainer on sampled prompts, for normal features and for those of linear MDPs.

Dimensions: `d` features, `S A` state-action pairs, `N` context length, `P` points.

Trained are the entries v and K of `W^PV = v e e^T`, `W^KQ = diag(K, 0)` of the library's attention layer; the others
stay at zero. Two ways: Adam from `v = 1, K = I`; and plain gradient steps from the start of L3, `v^2 = |K|^2`, which
these steps keep as gradient flow does.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxdm import random, trainer
from jaxdm.models import constructions
from jaxdm.types import Network, Tree
from theory import draws
from theory.linear_attention import linear_mdps

SEEDS = 5
"""Training seeds."""


STEPS, RATE, PLAIN_RATE, SHOWN = 2000, 0.02, 0.005, 20
"""Gradient steps, their first size by Adam and plain, and how often on the way the layer is looked at."""


CHUNK = 4096
"""Prompts whose gradient is taken at once; a larger batch is a mean over such parts."""


Loss = Callable[[Tree, jax.Array, linear_mdps.TrainingPool, int, int], jax.Array]
"""Parameters, key, what to draw from, N and batch to a number."""


Reader = Callable[[Tree, jax.Array, jax.Array, jax.Array], jax.Array]
"""Parameters, a context x [N, d], y [N], and queries [Q, d] to answers [Q]."""


class TrainedLayers(NamedTuple):
    """Layers on their way, and what closed forms need to know of their features and tasks."""

    last: np.ndarray  # [SEEDS, SHOWN] v
    key_query: np.ndarray  # [SEEDS, SHOWN, d, d] K
    points: np.ndarray  # [P, d] features of the MDPs; P = 0 when they are normal
    tasks: np.ndarray  # [d, d] W

    @property
    def preconditioner(self) -> np.ndarray:
        """`A = v K^T`, [SEEDS, SHOWN, d, d]."""
        return self.last[..., None, None] * np.swapaxes(self.key_query, -1, -2)


@draws.once
def train(
    key: jax.Array,
    length: int,
    batch: int,
    draw: Callable[[jax.Array], linear_mdps.TrainingPool] = linear_mdps.linear_mdp_pool,
    loss: Loss | None = None,
    plain: bool = False,
) -> TrainedLayers:
    """Train `SEEDS` layers.

    Args:
        key: random key; what is drawn from is the same for every N.
        length: N.
        batch: prompts of a gradient step.
        draw: key to what training draws from.
        loss: of a batch; the squared error when left out.
        plain: whether steps are plain, from the start of L3.
    """
    key_pool, key_train = draws.keys(key)
    pool = draw(key_pool)
    last, key_query = _train(draws.keys(key_train, SEEDS), pool, length, batch, loss or squared_error, plain)
    tasks = np.asarray(pool.tasks)
    return TrainedLayers(
        last=np.asarray(last),
        key_query=np.asarray(key_query),
        points=np.asarray(pool.points),
        tasks=tasks.T @ tasks / linear_mdps.POOL,
    )


@functools.partial(jax.jit, static_argnums=(2, 3, 4, 5))
def _train(
    keys: jax.Array, pool: linear_mdps.TrainingPool, length: int, batch: int, loss: Loss, plain: bool
) -> tuple[jax.Array, jax.Array]:
    """v and K of independently trained layers, on the way: [SEEDS, SHOWN, ...]."""
    rate = optax.cosine_decay_schedule(PLAIN_RATE if plain else RATE, STEPS)
    parts = -(-batch // CHUNK)

    def batch_loss(params: Tree, key: jax.Array, pool: linear_mdps.TrainingPool) -> jax.Array:
        part = jax.checkpoint(lambda key: loss(params, key, pool, length, batch // parts))
        if parts == 1:
            return loss(params, key, pool, length, batch)
        return jnp.mean(jax.lax.map(part, random.split(key, parts)))

    learner = trainer.make(batch_loss, (optax.sgd if plain else optax.adam)(rate))
    size = pool.tasks.shape[1]

    def one(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        def some(state: trainer.TrainState, _: None) -> tuple:
            state = learner.run(state, pool, STEPS // SHOWN)[0]
            return state, (state.params["v"], state.params["K"])

        start = learner.init(key, {"v": jnp.ones(()), "K": jnp.eye(size) / (size**0.5 if plain else 1)})
        return jax.lax.scan(some, start, length=SHOWN)[1]

    return jax.vmap(one)(keys)


def answers(
    params: Tree,
    x: jax.Array,
    y: jax.Array,
    queries: jax.Array,
    kind: Callable[[int], Network] = constructions.linear_attention,
) -> jax.Array:
    """What the library's layer with these v and K answers to queries [Q, d] after a context x [N, d], y [N], [Q]."""
    size = x.shape[1]
    last = jnp.zeros((size + 1, size + 1), x.dtype).at[-1, -1].set(params["v"])
    weights = constructions.attention_layer(jnp.pad(params["K"], ((0, 1), (0, 1))), last)
    layer = kind(size + 1)
    tokens = jax.vmap(lambda query: constructions.regression_prompt(x, y, query)[-1])(queries)
    _, cache = layer.prefill(weights, constructions.regression_prompt(x, y, queries[0])[:-1], x.shape[0] + 1)
    return jax.vmap(lambda token: layer.step(weights, cache, token)[0][-1])(tokens)


def squared_error(
    params: Tree, key: jax.Array, pool: linear_mdps.TrainingPool, length: int, batch: int, read: Reader = answers
) -> jax.Array:
    """Mean squared error of the library's layer, or of what else `read` gives, on a batch of prompts."""
    key_task, key_features = random.split(key)
    chosen = pool.tasks[(random.uniform(key_task, (batch,)) * linear_mdps.POOL).astype(jnp.int32)]
    x = linear_mdps.features(key_features, pool, batch * (length + 1)).reshape(batch, length + 1, -1)

    def answer(x: jax.Array, task: jax.Array) -> jax.Array:
        return read(params, x[:-1], x[:-1] @ task, x[-1:])[0]

    return jnp.mean((jax.vmap(answer)(x, chosen) - jnp.sum(x[:, -1] * chosen, axis=-1)) ** 2)
