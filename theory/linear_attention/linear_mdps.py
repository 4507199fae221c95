"""The layer acting in a linear MDP: instances, solved, with the layer that was trained for their family.

Dimensions: `S` states, `A` actions, `d` features, `H` steps, `N` context length in training.

The data distribution nu of contexts is uniform over state-action pairs.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxdm import random
from jaxdm.envs import linear_mdp
from jaxdm.envs.linear_mdp import LinearMDP
from jaxdm.envs.mdp import MDP
from jaxdm.oracles.mdp import planning
from theory import draws
from theory.linear_attention import in_context_regression

SIBLINGS = 32
"""MDPs with the same features whose weights give the second moment of tasks."""


class SolvedLinearMDP(NamedTuple):
    """A linear MDP, solved, and the layer trained for its features and its family."""

    features: jax.Array  # [S A, d]
    stages: MDP  # leading axis [H]
    value: jax.Array  # [H + 1, S] optimal
    q: jax.Array  # [H, S, A] optimal
    weights: jax.Array  # [H, d] of Q*
    tasks: jax.Array  # [d, d] second moment of weights in the family
    preconditioner: jax.Array  # [d, d] the optimum of L4


def solve_tabular(linear: LinearMDP) -> tuple[MDP, planning.Plan, jax.Array]:
    """Stages, optimal plan, and the weights [H, d] of Q*."""
    stages = linear_mdp.tabular(linear)
    plan = planning.backward_induction_staged(stages)
    return stages, plan, linear_mdp.weights(linear, plan.value)


def dense(key: jax.Array, size: tuple[int, int, int, int]) -> LinearMDP:
    """A linear MDP (S, A, d, H) with random features, whose moves all have some chance."""
    states, actions, dimension, horizon = size
    return linear_mdp.random(key, states=states, actions=actions, dimension=dimension, horizon=horizon)


def deterministic(key: jax.Array, size: tuple[int, int, int, int]) -> LinearMDP:
    """A tabular MDP, d = S A unit vectors, that begins in state 0; a pair moves to one state, drawn for every step."""
    states, actions, dimension, horizon = size
    key_theta, key_move = random.split(key)
    theta = random.uniform(key_theta, (horizon, dimension), jnp.result_type(float))
    target = (random.uniform(key_move, (horizon, dimension)) * states).astype(jnp.int32)
    return LinearMDP(
        features=jnp.eye(dimension, dtype=theta.dtype).reshape(states, actions, dimension),
        theta=theta,
        mu=jax.nn.one_hot(target, states, dtype=theta.dtype),
        initial=jax.nn.one_hot(0, states, dtype=theta.dtype),
    )


def instances(
    key: jax.Array,
    size: tuple[int, int, int, int],
    length: float,
    count: int,
    draw: Callable[[jax.Array, tuple[int, int, int, int]], LinearMDP] = dense,
) -> SolvedLinearMDP:
    """Random linear MDPs, each with the layer trained for it on contexts of length N, leading axis [count].

    Args:
        key: random key.
        size: (S, A, d, H).
        length: N.
        count: of instances.
        draw: `dense` or `deterministic`.
    """
    return _instances(_families(key, size, count, draw), length)


@functools.partial(jax.jit, static_argnums=(1, 2, 3))
def _families(
    key: jax.Array,
    size: tuple[int, int, int, int],
    count: int,
    draw: Callable[[jax.Array, tuple[int, int, int, int]], LinearMDP],
) -> LinearMDP:
    """An MDP and its siblings, leading axes [count, 1 + SIBLINGS]."""
    keys = random.split(key, count * (1 + SIBLINGS)).reshape(count, 1 + SIBLINGS)
    return jax.vmap(jax.vmap(lambda key: draw(key, size)))(keys)


@jax.jit
@functools.partial(jax.vmap, in_axes=(0, None))
def _instances(family: LinearMDP, length: jax.Array | float) -> SolvedLinearMDP:
    """The first MDP of a family, whose features all others are given."""
    features = family.features[0]
    stages, plan, weights = jax.vmap(solve_tabular)(
        family._replace(features=jnp.broadcast_to(features, family.features.shape))
    )
    others, features = weights[1:].reshape(-1, features.shape[-1]), features.reshape(-1, features.shape[-1])
    tasks = others.T @ others / others.shape[0]
    return SolvedLinearMDP(
        features=features,
        stages=jax.tree.map(lambda x: x[0], stages),
        value=plan.value[0],
        q=plan.q[0],
        weights=weights[0],
        tasks=tasks,
        preconditioner=in_context_regression.optimum(uniform_pairs(features), tasks, length),
    )


def uniform_pairs(features: jax.Array) -> in_context_regression.FeatureDistribution:
    """The data distribution: uniform over state-action pairs."""
    return in_context_regression.finite(features, jnp.full(features.shape[0], 1 / features.shape[0], features.dtype))


SIZE = (6, 3, 3, 3)
"""(S, A, d, H) of the MDPs."""


POOL = 512
"""Tasks that training draws from; W is their second moment."""


SPECTRUM = (2.0, 1.0, 0.5)
"""Of the normal features."""


class TrainingPool(NamedTuple):
    """What training draws from: `x = points_i`, i uniform, or, without points, `x = L^(1/2) z`, z normal; and tasks."""

    points: jax.Array  # [P, d]
    tasks: jax.Array  # [POOL, d]


def normal_pool(key: jax.Array) -> TrainingPool:
    """Normal features and tasks, whose second moment W is I."""
    size = len(SPECTRUM)
    return TrainingPool(points=jnp.zeros((0, size)), tasks=_of_moment(draws.normal(key, (POOL, size)), jnp.eye(size)))


def skewed_pool(key: jax.Array) -> TrainingPool:
    """Four points of the plane and tasks whose second moment W does not commute with theirs: A is not symmetric."""
    points = jnp.asarray([[2.0, 0.0], [1.0, 1.0], [0.0, 0.5], [1.0, -0.5]])
    tasks = _of_moment(draws.normal(key, (POOL, 2)), jnp.asarray([[4.0, 1.5], [1.5, 1.0]]))
    return TrainingPool(points=points, tasks=tasks)


@jax.jit
def _of_moment(tasks: jax.Array, moment: jax.Array) -> jax.Array:
    """Tasks [n, d] mapped to others whose second moment is this one, [d, d], up to rounding."""
    found = jnp.linalg.cholesky(tasks.T @ tasks / tasks.shape[0])
    return jax.scipy.linalg.solve_triangular(found, tasks.T, lower=True).T @ jnp.linalg.cholesky(moment).T


def linear_mdp_pool(key: jax.Array) -> TrainingPool:
    """Features of linear MDPs, and the weights of their Q*, each at one step."""
    points, tasks = _solved(worlds(key, POOL))
    return TrainingPool(points=points, tasks=tasks)


def uneven_pool(key: jax.Array) -> TrainingPool:
    """As `linear_mdp_pool`, but the features of most state-action pairs are close to the first unit vector."""
    drawn = worlds(key, POOL)
    features = drawn.features * jnp.asarray(UNEVEN).reshape(1, 1, 1, -1)
    points, tasks = _solved(drawn._replace(features=features / jnp.sum(features, axis=-1, keepdims=True)))
    return TrainingPool(points=points, tasks=tasks)


UNEVEN = (8.0, 1.0, 1.0)
"""Times the features, before they are normalised."""


def arms_pool(key: jax.Array) -> TrainingPool:
    """Two actions without a state: unit vectors as features, normal tasks."""
    return TrainingPool(points=jnp.eye(2), tasks=draws.normal(key, (POOL, 2)))


def feature_distribution(points: jax.Array) -> in_context_regression.FeatureDistribution:
    """Of the features: uniform over points [P, d], or normal when there are none."""
    return uniform_pairs(points) if points.shape[0] else in_context_regression.gaussian(jnp.diag(jnp.asarray(SPECTRUM)))


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

    def solve(world: LinearMDP) -> jax.Array:
        return solve_tabular(world._replace(features=features))[2]

    weights = jax.vmap(solve)(worlds)[jnp.arange(POOL), jnp.arange(POOL) % SIZE[3]]
    return features.reshape(-1, SIZE[2]), weights


def features(key: jax.Array, pool: TrainingPool, count: int) -> jax.Array:
    """Feature vectors of a pool, [count, d]."""
    if pool.points.shape[0]:
        return pool.points[(random.uniform(key, (count,)) * pool.points.shape[0]).astype(jnp.int32)]
    return random.normal(key, (count, len(SPECTRUM))) * jnp.sqrt(jnp.asarray(SPECTRUM))[None]
