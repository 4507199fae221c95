"""The layer acting in a linear MDP: instances, solved, with the layer that was trained for their family.

Dimensions: `S` states, `A` actions, `d` features, `H` steps, `N` context length in training.

The data law nu of contexts is uniform over state-action pairs.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxdm import random
from jaxdm.envs import linear_mdp
from jaxdm.envs.linear_mdp import LinearMDP
from jaxdm.envs.mdp import MDP
from jaxdm.oracles.mdp import planning
from theory import regression

SIBLINGS = 32
"""MDPs with the same features whose weights give the second moment of tasks."""


class Instance(NamedTuple):
    """A linear MDP, solved, and the layer trained for its features and its family."""

    features: jax.Array  # [S A, d]
    stages: MDP  # leading axis [H]
    value: jax.Array  # [H + 1, S] optimal
    q: jax.Array  # [H, S, A] optimal
    weights: jax.Array  # [H, d] of Q*
    tasks: jax.Array  # [d, d] second moment of weights in the family
    preconditioner: jax.Array  # [d, d] the optimum of L4


def solve(linear: LinearMDP) -> tuple[MDP, planning.Plan, jax.Array]:
    """Stages, optimal plan, and the weights [H, d] of Q*."""
    stages = linear_mdp.tabular(linear)
    plan = planning.backward_induction_staged(stages)
    return stages, plan, linear_mdp.weights(linear, plan.value)


def instances(key: jax.Array, size: tuple[int, int, int, int], length: float, count: int) -> Instance:
    """Random linear MDPs, each with the layer trained for it on contexts of length N, leading axis [count].

    Args:
        key: random key.
        size: (S, A, d, H).
        length: N.
        count: of instances.
    """
    return _instances(_families(key, size, count), length)


@functools.partial(jax.jit, static_argnums=(1, 2))
def _families(key: jax.Array, size: tuple[int, int, int, int], count: int) -> LinearMDP:
    """An MDP and its siblings, leading axes [count, 1 + SIBLINGS]."""
    states, actions, dimension, horizon = size
    draw = lambda key: linear_mdp.random(key, states=states, actions=actions, dimension=dimension, horizon=horizon)
    keys = random.split(key, count * (1 + SIBLINGS)).reshape(count, 1 + SIBLINGS)
    return jax.vmap(jax.vmap(draw))(keys)


@jax.jit
@functools.partial(jax.vmap, in_axes=(0, None))
def _instances(family: LinearMDP, length: jax.Array | float) -> Instance:
    """The first MDP of a family, whose features all others are given."""
    features = family.features[0]
    stages, plan, weights = jax.vmap(solve)(family._replace(features=jnp.broadcast_to(features, family.features.shape)))
    others, features = weights[1:].reshape(-1, features.shape[-1]), features.reshape(-1, features.shape[-1])
    tasks = others.T @ others / others.shape[0]
    return Instance(
        features=features,
        stages=jax.tree.map(lambda x: x[0], stages),
        value=plan.value[0],
        q=plan.q[0],
        weights=weights[0],
        tasks=tasks,
        preconditioner=regression.optimum(law(features), tasks, length),
    )


def law(features: jax.Array) -> regression.Law:
    """The data law: uniform over state-action pairs."""
    return regression.finite(features, jnp.full(features.shape[0], 1 / features.shape[0], features.dtype))
