"""Greedy play on the layer's estimates of Q*: estimates from a context, and what acting on them loses.

Dimensions: `S` states, `A` actions, `d` features, `H` steps, `M` context length.

A context holds M state-action pairs drawn uniformly (the data distribution), with their Q*-values of every step as
labels.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxdm.oracles.mdp import planning
from theory import draws
from theory.linear_attention import in_context_regression, linear_mdps


class GreedyOutcome(NamedTuple):
    """What greedy play on estimated Q-values loses, and by how much the estimates err along the way."""

    gap: jax.Array  # [] V*_1 - V_1 of greedy play, from the initial distribution
    error: jax.Array  # [] sum_h E max_a |Q_hat_h - Q*_h|(s_h, a) over the states that greedy play visits
    first_error: jax.Array  # [] its first term
    initial_error: jax.Array  # [] the same sum over states of the initial distribution at every step


def contexts(key: jax.Array, world: linear_mdps.SolvedLinearMDP, shape: tuple[int, ...]) -> np.ndarray:
    """Indices of state-action pairs drawn uniformly, of this shape."""
    return (np.asarray(draws.uniform(key, shape)) * world.features.shape[-2]).astype(np.int32)


@jax.jit
def estimates(worlds: linear_mdps.SolvedLinearMDP, chosen: jax.Array) -> jax.Array:
    """Q-values that the layer reads off contexts of M pairs, with the labels of each step in turn.

    Args:
        worlds: leading axis [n].
        chosen: [n, contexts, M] pairs.

    Returns:
        [n, contexts, H, S, A].
    """

    def one(world: linear_mdps.SolvedLinearMDP, chosen: jax.Array) -> jax.Array:
        labels = world.q.reshape(world.q.shape[0], -1)[:, chosen]
        read = functools.partial(in_context_regression.coefficients, world.preconditioner, world.features[chosen])
        return (jax.vmap(read)(labels) @ world.features.T).reshape(world.q.shape)

    def every_context(pair: tuple[linear_mdps.SolvedLinearMDP, jax.Array]) -> jax.Array:
        return jax.lax.map(functools.partial(one, pair[0]), pair[1])

    return jax.lax.map(every_context, (worlds, chosen))


@jax.jit
@functools.partial(jax.vmap, in_axes=(0, 0))
@functools.partial(jax.vmap, in_axes=(None, 0))
def outcomes(world: linear_mdps.SolvedLinearMDP, estimated: jax.Array) -> GreedyOutcome:
    """`outcome` of instances [n] with estimates [n, contexts, H, S, A]."""
    return outcome(world, estimated)


def outcome(world: linear_mdps.SolvedLinearMDP, estimated: jax.Array) -> GreedyOutcome:
    """Exact consequences of greedy play on estimated Q-values [H, S, A]."""
    policy = jnp.argmax(estimated, axis=-1)
    transition = _of_action(world.stages.transition, policy)
    reward = _of_action(world.stages.reward, policy)
    followed = world.stages._replace(transition=transition[:, :, None], reward=reward[:, :, None])
    value = planning.backward_induction_staged(followed).value
    worst = jnp.max(jnp.abs(estimated - world.q), axis=-1)

    def forward(reach: jax.Array, step: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        return reach @ step[0], reach @ step[1]

    _, errors = jax.lax.scan(forward, world.stages.initial[0], (transition, worst))
    initial = world.stages.initial[0]
    return GreedyOutcome(
        gap=initial @ (world.value[0] - value[0]),
        error=jnp.sum(errors),
        first_error=errors[0],
        initial_error=jnp.sum(worst @ initial),
    )


def coverage(world: linear_mdps.SolvedLinearMDP, optimal: bool = True) -> jax.Array:
    """`C_h = max_{s,a} max_pi P^pi(s_h = s) / nu(s,a)`, [H]: for each step and state a dynamic programme.

    The chance to be in s at step h, made as large as a policy can, is `U_1(s_1)` with `U_h = 1_s`,
    `U_k(s') = max_a sum_t P_k(t|s',a) U_{k+1}(t)`.

    Args:
        world: the MDP.
        optimal: false for the policy that picks actions uniformly, in place of the largest over policies.
    """
    over_actions = jnp.max if optimal else jnp.mean
    horizon, states = world.stages.initial.shape
    steps = jnp.arange(horizon)

    def back(ahead: jax.Array, step: jax.Array) -> tuple[jax.Array, None]:
        best = over_actions(jnp.einsum("sat,htu->hsau", world.stages.transition[step], ahead), axis=2)
        return jnp.where((steps > step)[:, None, None], best, ahead), None

    start = jnp.broadcast_to(jnp.eye(states), (horizon, states, states))
    ahead, _ = jax.lax.scan(back, start, steps, reverse=True)
    return jnp.max(world.stages.initial[0] @ ahead, axis=-1) * world.features.shape[0]


def _of_action(x: jax.Array, policy: jax.Array) -> jax.Array:
    """What the policy [H, S] picks of [H, S, A, ...]."""
    steps, states = jnp.indices(policy.shape)
    return x[steps, states, policy]
