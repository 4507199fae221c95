"""Policies that choose by `max_k b . alpha_k`: point-based plans, QMDP, the myopic policy.

Dimensions: `S` states, `A` actions, `O` observations, `K` vectors, `H` steps.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxdm.envs.pomdp import POMDP, mdp_of, validate
from jaxdm.oracles.mdp.planning import backward_induction, policy_iteration
from jaxdm.oracles.pomdp.belief import posterior, update
from jaxdm.types import Agent, Transition
from jaxdm.validation import check_shape, record, whole_number


class AlphaPolicy(NamedTuple):
    """Take the action of the vector that is largest at the belief; the lowest vector where several are.

    The leading axis is the step: H long, or 1 for a stationary policy. After the last step its last row goes on.
    """

    vector: jax.Array  # [H, K, S], or [1, K, S]
    action: jax.Array  # [H, K] int32
    pomdp: POMDP  # whose beliefs are followed


class BeliefMemory(NamedTuple):
    """Memory of an agent that follows its belief."""

    belief: jax.Array  # [S]
    time: jax.Array  # [] int32


def qmdp(pomdp: POMDP, horizon: int | None = None) -> AlphaPolicy:
    """The policy that believes all will be seen after one step: `max_a sum_s b(s) Q_MDP(s,a)`.

    Args:
        pomdp: the world; discount < 1 when the horizon is endless.
        horizon: H; endless when left out.

    Raises:
        ValueError: a bad POMDP or a batch, or as `jaxdm.oracles.mdp.planning`.

    Reference: Littman, Cassandra, Kaelbling, Learning policies for partially observable environments, 1995.
    """
    validate(pomdp)
    hidden = mdp_of(pomdp)
    q = policy_iteration(hidden).q[None] if horizon is None else backward_induction(hidden, horizon).q
    return _by_action(q, pomdp)


def myopic(pomdp: POMDP) -> AlphaPolicy:
    """The policy that looks no further than the next reward: `max_a sum_s b(s) r(s,a)`.

    Raises:
        ValueError: a bad POMDP or a batch.
    """
    validate(pomdp)
    check_shape("transition", pomdp.transition, "S A S")
    return _by_action(pomdp.reward[None], pomdp)


def _by_action(q: jax.Array, pomdp: POMDP) -> AlphaPolicy:
    # Finite where an action is not available, so that a belief of zero makes it zero.
    vector = jnp.maximum(jnp.swapaxes(q, -1, -2), float(jnp.finfo(q.dtype).min) / (8 * q.shape[-2]))
    actions = jnp.broadcast_to(jnp.arange(q.shape[-1], dtype=jnp.int32), vector.shape[:-1])
    return AlphaPolicy(vector=vector, action=actions, pomdp=pomdp)


def best_action(policy: AlphaPolicy, belief: jax.Array, time: jax.Array | int) -> jax.Array:
    """The policy's action at a belief and a time, [] int32.

    Raises:
        ValueError: a belief of another shape, or a time below zero.
    """
    record("policy", policy, AlphaPolicy)
    check_shape("belief", belief, "S", S=policy.vector.shape[-1])
    whole_number("time", time, 0)
    layer = jnp.minimum(time, policy.action.shape[0] - 1)
    values = jnp.einsum("ks,s->k", policy.vector[layer], belief, precision=jax.lax.Precision.HIGHEST)
    return policy.action[layer, jnp.argmax(values)]


def agent() -> Agent:
    """The agent whose `params` are an `AlphaPolicy`; it follows its belief by Bayes' rule."""

    def init(key: jax.Array, params: AlphaPolicy) -> BeliefMemory:
        return BeliefMemory(belief=params.pomdp.initial, time=jnp.int32(0))

    def act(key: jax.Array, memory: BeliefMemory, observation: jax.Array, params: AlphaPolicy) -> tuple:
        start = posterior(params.pomdp.initial, params.pomdp.initial_observation[:, observation]).belief
        belief = jnp.where(memory.time == 0, start, memory.belief)
        return best_action(params, belief, memory.time), memory._replace(belief=belief)

    def observe(memory: BeliefMemory, transition: Transition, params: AlphaPolicy) -> BeliefMemory:
        after = update(params.pomdp, memory.belief, transition.action, transition.next_observation)
        return BeliefMemory(belief=after.belief, time=memory.time + 1)

    return Agent(init=init, act=act, observe=observe)
