"""The layer acting in a linear MDP: instances, estimates of Q* from a context, and what greedy play on them loses.

Dimensions: `S` states, `A` actions, `d` features, `H` steps, `M` context length, `N` context length in training.

A context holds M state-action pairs drawn uniformly (the data law nu), with their Q*-values of every step as labels.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxdm.envs import linear_mdp
from jaxdm.envs.linear_mdp import LinearMDP
from jaxdm.envs.mdp import MDP
from jaxdm.oracles import planning
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


class Outcome(NamedTuple):
    """What greedy play on estimated Q-values loses, and by how much the estimates err along the way."""

    gap: jax.Array  # [] V*_1 - V_1 of greedy play, from the initial law
    error: jax.Array  # [] sum_h E max_a |Q_hat_h - Q*_h|(s_h, a) over the states that greedy play visits
    first_error: jax.Array  # [] its first term


def solve(linear: LinearMDP) -> tuple[MDP, planning.Plan, jax.Array]:
    """Stages, optimal plan, and the weights [H, d] of Q*."""
    stages = linear_mdp.tabular(linear)
    plan = planning.backward_induction_staged(stages)
    return stages, plan, linear_mdp.weights(linear, plan.value)


def instance(key: jax.Array, size: tuple[int, int, int, int], length: jax.Array | float) -> Instance:
    """A random linear MDP and the layer trained for it on contexts of length N.

    Args:
        key: random key.
        size: (S, A, d, H).
        length: N.
    """
    states, actions, dimension, horizon = size
    draw = lambda key: linear_mdp.random(key, states=states, actions=actions, dimension=dimension, horizon=horizon)
    key_own, key_siblings = jax.random.split(key)
    linear = draw(key_own)
    stages, plan, weights = solve(linear)
    sibling = lambda key: solve(draw(key)._replace(features=linear.features))[2]
    family = jax.vmap(sibling)(jax.random.split(key_siblings, SIBLINGS)).reshape(-1, dimension)
    tasks = family.T @ family / family.shape[0]
    features = linear.features.reshape(-1, dimension)
    return Instance(
        features=features,
        stages=stages,
        value=plan.value,
        q=plan.q,
        weights=weights,
        tasks=tasks,
        preconditioner=regression.optimum(law(features), tasks, length),
    )


def law(features: jax.Array) -> regression.Law:
    """The data law: uniform over state-action pairs."""
    return regression.finite(features, jnp.full(features.shape[0], 1 / features.shape[0], features.dtype))


def estimate(key: jax.Array, world: Instance, context: int) -> jax.Array:
    """Q-values [H, S, A] that the layer reads off one context of M pairs, with the labels of each step in turn."""
    chosen = jax.random.randint(key, (context,), 0, world.features.shape[0])
    labels = world.q.reshape(world.q.shape[0], -1)[:, chosen]
    read = lambda y: regression.coefficients(world.preconditioner, world.features[chosen], y)
    return (jax.vmap(read)(labels) @ world.features.T).reshape(world.q.shape)


def outcome(world: Instance, estimated: jax.Array) -> Outcome:
    """Exact consequences of greedy play on estimated Q-values [H, S, A]."""
    policy = jnp.argmax(estimated, axis=-1)
    only = jax.tree.map(lambda x: _of_action(x, policy), (world.stages.transition, world.stages.reward))
    alone = world.stages._replace(transition=only[0][:, :, None], reward=only[1][:, :, None])
    value = planning.backward_induction_staged(alone).value
    worst = jnp.max(jnp.abs(estimated - world.q), axis=-1)
    reach, errors = world.stages.initial[0], []
    for step in range(policy.shape[0]):
        errors.append(reach @ worst[step])
        reach = reach @ only[0][step]
    gap = world.stages.initial[0] @ (world.value[0] - value[0])
    return Outcome(gap=gap, error=sum(errors[1:], errors[0]), first_error=errors[0])


def coverage(world: Instance) -> jax.Array:
    """`C_h = max_{s,a} max_pi P^pi(s_h = s) / nu(s,a)`, [H]: for each step and state a dynamic programme.

    The chance to be in s at step h, made as large as a policy can, is `U_1(s_1)` with `U_h = 1_s`,
    `U_k(s') = max_a sum_t P_k(t|s',a) U_{k+1}(t)`.
    """
    states, largest = world.stages.transition.shape[-1], []
    for step in range(world.q.shape[0]):
        ahead = jnp.eye(states)
        for earlier in reversed(range(step)):
            ahead = jnp.max(jnp.einsum("sat,tu->sau", world.stages.transition[earlier], ahead), axis=1)
        largest.append(jnp.max(world.stages.initial[0] @ ahead))
    return jnp.stack(largest) * world.features.shape[0]


def _of_action(x: jax.Array, policy: jax.Array) -> jax.Array:
    """What the policy [H, S] picks of [H, S, A, ...]."""
    steps, states = jnp.indices(policy.shape)
    return x[steps, states, policy]
