"""A network as an agent: read the demonstrations once, then one cached step per decision.

Dimensions: `N` tokens of the demonstrations, `F` features, `A` actions.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxdm.random import inverse_cdf, sample_index, uniform_from
from jaxdm.rollout import uniform_draws
from jaxdm.tokens import Spaces, token
from jaxdm.types import Agent, Network, Transition, Tree


class Deployment(NamedTuple):
    """What a deployed network knows: its weights, the context it is shown, and how greedily it acts."""

    weights: Tree
    context: jax.Array  # [N, F] tokens of the demonstrations
    length: jax.Array  # [] int32, how many of them are shown
    temperature: jax.Array  # [] 0 plays the likeliest action, 1 samples the network's law


class NetworkMemory(NamedTuple):
    """The cached context, and what happened since the last decision."""

    cache: Tree
    last_observation: jax.Array  # [] int32
    last_action: jax.Array  # [] int32
    last_reward: jax.Array  # []
    start: jax.Array  # [] bool


def deploy(weights: Tree, context: jax.Array, temperature: Any = 0.0, length: Any = None) -> Deployment:
    """A `Deployment` that is shown all of its context, and acts greedily, unless told otherwise."""
    return Deployment(
        weights=weights,
        context=context,
        length=jnp.asarray(context.shape[0] if length is None else length, jnp.int32),
        temperature=jnp.asarray(temperature, context.dtype),
    )


def network_agent(network: Network, spaces: Spaces, length: int) -> Agent:
    """The agent that acts by a network's first A outputs, growing its context by one token a decision.

    Args:
        network: from `jaxdm.models.transformer.network`, with `spaces.features` features.
        spaces: sizes.
        length: decisions it will have to take after its context.

    Returns:
        Agent whose parameters are a `Deployment`.
    """

    def init(key: jax.Array, params: Deployment) -> NetworkMemory:
        capacity = params.context.shape[0] + length
        _, cache = network.prefill(params.weights, params.context, capacity, params.length)
        zero = jnp.zeros((), params.context.dtype)
        none = jnp.int32(0)
        return NetworkMemory(
            cache=cache, last_observation=none, last_action=none, last_reward=zero, start=jnp.bool_(True)
        )

    def act(draw: jax.Array, memory: NetworkMemory, observation: jax.Array, params: Deployment) -> tuple:
        last = memory.last_observation, memory.last_action, memory.last_reward
        now = token(observation, last[0], last[1], last[2], memory.start, spaces)
        output, cache = network.step(params.weights, memory.cache, now)
        return choose(output[: spaces.actions], draw, params.temperature), memory._replace(cache=cache)

    def observe(memory: NetworkMemory, transition: Transition, params: Deployment) -> NetworkMemory:
        return memory._replace(
            last_observation=transition.observation,
            last_action=transition.action,
            last_reward=transition.reward.astype(memory.last_reward.dtype),
            start=transition.terminated | transition.truncated,
        )

    return Agent(init=init, act=act, observe=observe, draws=uniform_draws)


def choose(logits: jax.Array, draw: jax.Array, temperature: jax.Array) -> jax.Array:
    """An action from `softmax(logits / temperature)`; the largest logit at temperature 0.

    Args:
        logits: [A].
        draw: a key, or a uniform number.
        temperature: [] >= 0.

    Returns:
        [] int32.
    """
    law = jax.nn.softmax(logits / jnp.where(temperature > 0, temperature, 1))
    sampled = sample_index(inverse_cdf(law), uniform_from(draw, dtype=logits.dtype))
    return jnp.where(temperature > 0, sampled, jnp.argmax(logits).astype(jnp.int32))
