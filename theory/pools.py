"""What layers are trained on: normal features and tasks, or those of random linear MDPs.

Dimensions: `d` features, `S A` state-action pairs, `P` points.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxdm import random
from jaxdm.envs import linear_mdp
from theory import deployment, draws, regression

SIZE = (6, 3, 3, 3)
"""(S, A, d, H) of the MDPs."""


POOL = 512
"""Tasks that training draws from; W is their second moment."""


SPECTRUM = (2.0, 1.0, 0.5)
"""Of the normal features."""


class Pool(NamedTuple):
    """What training draws from: `x = points_i`, i uniform, or, without points, `x = L^(1/2) z`, z normal; and tasks."""

    points: jax.Array  # [P, d]
    tasks: jax.Array  # [POOL, d]


def normal_pool(key: jax.Array) -> Pool:
    """Normal features and tasks."""
    size = len(SPECTRUM)
    return Pool(points=jnp.zeros((0, size)), tasks=draws.normal(key, (POOL, size)))


def linear_mdps(key: jax.Array) -> Pool:
    """Features of linear MDPs, and the weights of their Q*, each at one step."""
    points, tasks = _solved(worlds(key, POOL))
    return Pool(points=points, tasks=tasks)


def law(points: jax.Array) -> regression.Law:
    """Of the features: uniform over points [P, d], or normal when there are none."""
    return deployment.law(points) if points.shape[0] else regression.gaussian(jnp.diag(jnp.asarray(SPECTRUM)))


def worlds(key: jax.Array, count: int) -> linear_mdp.LinearMDP:
    """Random linear MDPs, leading axis [count]."""
    return _worlds(draws.keys(key, count))


@jax.jit
@jax.vmap
def _worlds(key: jax.Array) -> linear_mdp.LinearMDP:
    states, actions, dimension, horizon = SIZE
    return linear_mdp.random(key, states=states, actions=actions, dimension=dimension, horizon=horizon)


@jax.jit
def _solved(worlds: linear_mdp.LinearMDP) -> tuple[jax.Array, jax.Array]:
    """Features [S A, d] with unit vectors for one state, so that L is well conditioned; weights [POOL, d]."""
    features = worlds.features[0].at[0].set(jnp.eye(SIZE[2]))
    solve = lambda world: deployment.solve(world._replace(features=features))[2]
    weights = jax.vmap(solve)(worlds)[jnp.arange(POOL), jnp.arange(POOL) % SIZE[3]]
    return features.reshape(-1, SIZE[2]), weights


def features(key: jax.Array, pool: Pool, count: int) -> jax.Array:
    """Feature vectors of a pool, [count, d]."""
    if pool.points.shape[0]:
        return pool.points[(random.uniform(key, (count,)) * pool.points.shape[0]).astype(jnp.int32)]
    return random.normal(key, (count, len(SPECTRUM))) * jnp.sqrt(jnp.asarray(SPECTRUM))[None]
