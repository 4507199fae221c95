"""Layers trained by the library's trainer on sampled prompts, for normal features and for those of linear MDPs.

Dimensions: `d` features, `S A` state-action pairs, `N` context length, `P` points.

Trained are the entries v and K of `W^PV = v e e^T`, `W^KQ = diag(K, 0)` of the library's attention layer; the others
stay at zero.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxdm import randomness, trainer
from jaxdm.envs import linear_mdp
from jaxdm.models import constructions
from jaxdm.types import Tree
from theory import deployment, draws

SIZE, SEEDS = (6, 3, 3, 3), 5
"""(S, A, d, H) of the MDPs; training seeds."""
STEPS, RATE, SHOWN = 4000, 0.02, 20
"""Gradient steps, their first size, and how often on the way the layer is looked at."""
POOL = 512
"""Tasks that training draws from; W is their second moment."""
SPECTRUM = (2.0, 1.0, 0.5)
"""Of the normal features."""


class Pool(NamedTuple):
    """What training draws from: `x = points_i + root z` with i uniform and z normal, and tasks."""

    points: jax.Array  # [P, d]
    root: jax.Array  # [d, d]
    tasks: jax.Array  # [POOL, d]


Loss = Callable[[Tree, jax.Array, Pool, int, int], jax.Array]
"""Parameters, key, what to draw from, N and batch to a number."""


class Trained(NamedTuple):
    """Layers on their way, and what closed forms need to know of their features and tasks."""

    path: np.ndarray  # [pools, SEEDS, SHOWN, d, d] A = v K^T
    points: np.ndarray  # [S A, d] features of the MDPs; the first pool's are normal
    tasks: np.ndarray  # [pools, d, d] W


def pools(key: jax.Array) -> Pool:
    """Normal features and tasks; features of linear MDPs and the weights of their Q*, each at one step."""
    key_tasks, key_worlds = draws.keys(key)
    points, solved = _solved(worlds(key_worlds, POOL))
    root = jnp.diag(jnp.sqrt(jnp.asarray(SPECTRUM)))
    return Pool(
        points=jnp.stack([jnp.zeros_like(points), points]),
        root=jnp.stack([root, jnp.zeros_like(root)]),
        tasks=jnp.stack([draws.normal(key_tasks, solved.shape), solved]),
    )


@functools.partial(jax.jit, static_argnums=1)
def worlds(key: jax.Array, count: int) -> linear_mdp.LinearMDP:
    """Random linear MDPs, leading axis [count]."""
    states, actions, dimension, horizon = SIZE
    draw = lambda key: linear_mdp.random(key, states=states, actions=actions, dimension=dimension, horizon=horizon)
    return jax.vmap(draw)(randomness.split(key, count))


@jax.jit
def _solved(worlds: linear_mdp.LinearMDP) -> tuple[jax.Array, jax.Array]:
    """Features [S A, d] with unit vectors for one state, so that L is well conditioned; weights [POOL, d]."""
    features = worlds.features[0].at[0].set(jnp.eye(SIZE[2]))
    solve = lambda world: deployment.solve(world._replace(features=features))[2]
    weights = jax.vmap(solve)(worlds)[jnp.arange(POOL), jnp.arange(POOL) % SIZE[3]]
    return features.reshape(-1, SIZE[2]), weights


@draws.once
def train(key: jax.Array, length: int, batch: int, first: int = 0, loss: Loss | None = None) -> Trained:
    """Train layers, `SEEDS` for each pool.

    Args:
        key: random key; the features are the same for every N.
        length: N.
        batch: prompts of a gradient step.
        first: pool; 1 leaves the normal features out.
        loss: of a batch; the squared error when left out.
    """
    key_pools, key_train = draws.keys(key)
    drawn = pools(key_pools)
    keys = draws.keys(key_train, 2 * SEEDS).reshape(2, SEEDS)
    path = _train(keys[first:], jax.tree.map(lambda x: x[first:], drawn), length, batch, loss or squared_error)
    tasks = np.asarray(drawn.tasks)
    second = np.einsum("pti,ptj->pij", tasks, tasks) / POOL
    return Trained(path=np.asarray(path), points=np.asarray(drawn.points[1]), tasks=second)


@functools.partial(jax.jit, static_argnums=(2, 3, 4))
def _train(keys: jax.Array, drawn: Pool, length: int, batch: int, loss: Loss) -> jax.Array:
    """The A = v K^T of independently trained layers, [pools, SEEDS, SHOWN, d, d]."""
    size = drawn.tasks.shape[-1]
    learner = trainer.make(
        lambda params, key, pool: loss(params, key, pool, length, batch),
        optax.adam(optax.cosine_decay_schedule(RATE, STEPS)),
    )

    def one(key: jax.Array, pool: Pool) -> jax.Array:
        def some(state: trainer.TrainState, _: None) -> tuple:
            state = learner.run(state, pool, STEPS // SHOWN)[0]
            return state, state.params["v"] * state.params["K"].T

        start = learner.init(key, {"v": jnp.ones(()), "K": jnp.eye(size)})
        return jax.lax.scan(some, start, length=SHOWN)[1]

    return jax.vmap(lambda keys, pool: jax.vmap(lambda key: one(key, pool))(keys))(keys, drawn)


def squared_error(params: Tree, key: jax.Array, pool: Pool, length: int, batch: int) -> jax.Array:
    """Mean squared error of the library's layer on a batch of prompts."""
    key_index, key_normal = randomness.split(key)
    size, count = pool.tasks.shape[-1], batch * (length + 1)
    index = randomness.uniform(key_index, (count + batch,))
    chosen = pool.tasks[(index[:batch] * POOL).astype(jnp.int32)]
    x = pool.points[(index[batch:] * pool.points.shape[0]).astype(jnp.int32)]
    x = x + randomness.normal(key_normal, (count, size)) @ pool.root
    x = x.reshape(batch, length + 1, size)
    answer = lambda x, task: answers(params, x[:-1], x[:-1] @ task, x[-1:])[0]
    return jnp.mean((jax.vmap(answer)(x, chosen) - jnp.sum(x[:, -1] * chosen, axis=-1)) ** 2)


def answers(params: Tree, x: jax.Array, y: jax.Array, queries: jax.Array) -> jax.Array:
    """What the library's layer with these v and K answers to queries [Q, d] after a context x [N, d], y [N], [Q]."""
    size = x.shape[1]
    last = jnp.zeros((size + 1, size + 1), x.dtype).at[-1, -1].set(params["v"])
    weights = constructions.attention_layer(jnp.pad(params["K"], ((0, 1), (0, 1))), last)
    layer = constructions.linear_attention(size + 1)
    tokens = jax.vmap(lambda query: constructions.regression_prompt(x, y, query)[-1])(queries)
    _, cache = layer.prefill(weights, constructions.regression_prompt(x, y, queries[0])[:-1], x.shape[0] + 1)
    return jax.vmap(lambda token: layer.step(weights, cache, token)[0][-1])(tokens)
