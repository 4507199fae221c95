"""One agent that follows a policy on a graph of histories, and the nodes along an episode.

Dimensions: `H` horizon, `N` nodes of the graph, `A` actions, `O` observations, `T` steps of an episode.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxdm.random import inverse_cdf, sample_index, uniform_from
from jaxdm.rollout import epsilon_soft, uniform_draws
from jaxdm.types import Agent, Episode, Transition


class GraphPolicy(NamedTuple):
    """A policy of information states, and how to follow them."""

    root: jax.Array  # [O] int32
    child: jax.Array  # [N, A, O] int32
    policy: jax.Array  # [H, N] int32
    exploration: jax.Array  # [] chance of a uniform action instead


class GraphMemory(NamedTuple):
    """Where on the graph the agent is."""

    node: jax.Array  # [] int32
    time: jax.Array  # [] int32


def graph_agent() -> Agent:
    """The agent that plays a `GraphPolicy`: the oracle, or any teacher that knows what the oracle knows."""

    def init(key: jax.Array, params: GraphPolicy) -> GraphMemory:
        return GraphMemory(node=jnp.int32(0), time=jnp.int32(0))

    def act(draw: jax.Array, memory: GraphMemory, observation: jax.Array, params: GraphPolicy) -> tuple:
        node = jnp.where(memory.time == 0, params.root[observation], memory.node)
        own = params.policy[jnp.minimum(memory.time, params.policy.shape[0] - 1), node]
        law = epsilon_soft(own, params.child.shape[1], params.exploration)
        action = sample_index(inverse_cdf(law), uniform_from(draw, dtype=law.dtype))
        return action, memory._replace(node=node)

    def observe(memory: GraphMemory, transition: Transition, params: GraphPolicy) -> GraphMemory:
        node = params.child[memory.node, transition.action, transition.next_observation]
        return GraphMemory(node=node, time=memory.time + 1)

    return Agent(init=init, act=act, observe=observe, draws=uniform_draws)


def nodes_along(graph: Any, episode: Episode) -> jax.Array:
    """The nodes in which an episode's decisions were taken, [T] int32.

    Args:
        graph: a record with `root` [O] and `child` [N, A, O].
        episode: T steps.
    """

    def step(node: jax.Array, seen: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        return graph.child[node, seen[0], seen[1]], node

    start = graph.root[episode.observation[0]]
    return jax.lax.scan(step, start, (episode.action, episode.next_observation))[1]
