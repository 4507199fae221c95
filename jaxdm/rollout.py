"""Episodes: any agent meets any world in one scan, and the agent that plays a given Markov policy.

Dimensions: `T` steps, `H` steps of a policy, `S` observations, `A` actions.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxdm import random
from jaxdm.random import inverse_cdf, sample_index
from jaxdm.types import Agent, Env, Episode, Predrawn, Transition, Tree
from jaxdm.validation import integer, positive_integer, probability


def rollout(key: jax.Array, env: Env, params: Tree, agent: Agent, agent_params: Tree, length: int) -> Episode:
    """Play one episode of `length` steps.

    The world's randomness depends on `key` alone: agents compared on the same keys face common random numbers.
    Steps after the world ended are still simulated, and masked out.

    Args:
        key: random key.
        env: the world.
        params: its instance.
        agent: who acts.
        agent_params: what it knows.
        length: T >= 1.

    Returns:
        Episode with leading axis [T].

    Raises:
        ValueError: length < 1.
    """
    length = positive_integer("length", length)
    key_reset, key_env, key_init, key_agent = random.split(key, 4)
    observation, state = env.reset(key_reset, params)
    memory = agent.init(key_init, agent_params)
    world, player = noise_entry(env.step, env.predrawn), noise_entry(agent.act, agent.predrawn)

    def step(carry: tuple, noise: tuple) -> tuple:
        observation, state, memory, alive = carry
        action, memory = player.apply(noise[1], memory, observation, agent_params)
        after, next_state, reward, terminated, truncated, _ = world.apply(noise[0], state, action, params)
        transition = Transition(
            observation=observation,
            action=action,
            reward=reward,
            next_observation=after,
            terminated=terminated,
            truncated=truncated,
        )
        memory = agent.observe(memory, transition, agent_params)
        record = Episode(**transition._asdict(), state=state, mask=alive)
        return (after, next_state, memory, alive & ~(terminated | truncated)), record

    noise = (world.draw(key_env, length), player.draw(key_agent, length))
    return jax.lax.scan(step, (observation, state, memory, jnp.bool_(True)), noise)[1]


def noise_entry(function: Callable[..., Any], predrawn: Predrawn | None) -> Predrawn:
    """The faster entry to a world's `step` or an agent's `act`; where there is none, the function and a key a step."""
    return predrawn or Predrawn(draw=random.split, apply=function)


class MarkovMemory(NamedTuple):
    """How many steps a Markov policy has played."""

    time: jax.Array  # [] int32


def markov_agent(horizon: int | None = None) -> Agent:
    """The agent that plays a given Markov policy: `a_t ~ pi_{min(t, H-1)}(. | o_t)`.

    With the policy of a plan it is the oracle, with a uniform one the random agent, with a mixture an epsilon-soft
    expert.

    Args:
        horizon: H when agent parameters are probabilities [H, S, A]; left out, they are [S, A].

    Returns:
        Agent whose parameters are those probabilities; observations and actions are int32 indices.

    Raises:
        ValueError: horizon < 1.
    """
    if horizon is not None:
        horizon = positive_integer("horizon", horizon)

    def init(key: jax.Array, params: jax.Array) -> MarkovMemory:
        return MarkovMemory(time=jnp.int32(0))

    def act(uniform: jax.Array, memory: MarkovMemory, observation: jax.Array, params: jax.Array) -> tuple:
        # Thresholds of the whole table, which XLA moves out of the episode's loop.
        thresholds = inverse_cdf(params)
        if horizon is not None:
            thresholds = thresholds[jnp.minimum(memory.time, horizon - 1)]
        return sample_index(thresholds[observation], uniform), memory

    def observe(memory: MarkovMemory, transition: Transition, params: jax.Array) -> MarkovMemory:
        return MarkovMemory(time=memory.time + 1)

    predrawn = Predrawn(draw=uniform_noise, apply=act)
    return Agent(init=init, act=predrawn.keyed, observe=observe, predrawn=predrawn)


def uniform_noise(key: jax.Array, length: int) -> jax.Array:
    """One uniform number a step, [T]: the noise of agents that need no more."""
    return random.uniform(key, (length,))


def epsilon_soft(
    policy: jax.Array, actions: int, exploration: Any = 0.0, available: jax.Array | None = None
) -> jax.Array:
    """The epsilon-soft probabilities of a deterministic policy: `(1 - eps) 1{a = pi(s)} + eps / A`.

    Args:
        policy: [...] action indices.
        actions: A.
        exploration: [] eps in [0, 1].
        available: [..., A] bool, the actions among which exploration is uniform; all when left out.

    Returns:
        [..., A] probabilities.

    Raises:
        ValueError: actions < 1, or an exploration outside [0, 1].
    """
    actions = positive_integer("actions", actions)
    probability("exploration", exploration)
    chosen = jax.nn.one_hot(policy, actions)
    if available is None:
        return (1 - exploration) * chosen + exploration / actions
    allowed = available.astype(chosen.dtype)
    return (1 - exploration) * chosen + exploration * allowed / jnp.sum(allowed, axis=-1, keepdims=True)


def take(episodes: Episode, count: int) -> Episode:
    """The first `count` (static) of K episodes."""
    return jax.tree.map(lambda x: x[:count], episodes)


def rollouts(
    key: jax.Array, env: Env, params: Tree, agent: Agent, agent_params: Tree, length: int, count: int
) -> Episode:
    """`count` independent episodes of one agent in one task, leading axes [count, T]; `count` may be zero.

    Args:
        key: random key; episode k uses `fold_in(key, k)`, so fewer episodes are a prefix of more.
        env: the world.
        params: its instance.
        agent: who acts.
        agent_params: what it knows.
        length: T.
        count: K >= 0.

    Raises:
        ValueError: count < 0, or length < 1.
    """
    count = integer("count", count, 0)
    keys = jax.vmap(lambda k: random.fold_in(key, k))(jnp.arange(max(count, 1)))
    episodes = jax.vmap(lambda k: rollout(k, env, params, agent, agent_params, length))(keys)
    return take(episodes, count)
