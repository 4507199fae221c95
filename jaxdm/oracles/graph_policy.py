"""Graphs of histories: one record, the agent that follows a policy on it, and the nodes along an episode.

Dimensions: `H` horizon, `N` nodes, `E <= N` of them with successors, `A` actions, `O` observations, `M` models, `S`
states of the world, `K` states that are possible at once, `T` steps of an episode.

A node stands for all histories that need not be told apart: a single one in a tree, those with the same belief where
they are merged, those with the same value of a sufficient statistic. Who builds such graphs:

    oracles.pomdp.belief_graph.reachable    reachable beliefs of a POMDP, equal ones merged
    oracles.pomdp.history_tree.plan_tree    the whole tree of a POMDP's histories
    oracles.apomdp.history_tree.plan        the whole tree of an ambiguous POMDP's histories
    oracles.apomdp.history_graph.merged     the same with histories merged that leave every model with the same belief
    anybody else                            a sufficient statistic, e.g. `jaxdm.sft.tasks.room_information`

What is said of nodes, such as a policy, is a table with a row for each node, [N, ...], or one for each step and node,
[H, N, ...], where the same node can be met at several steps.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxdm.numerics import Table
from jaxdm.random import inverse_cdf, sample_index
from jaxdm.rollout import epsilon_soft, uniform_noise
from jaxdm.types import Agent, Episode, Predrawn, Transition


class HistoryGraph(NamedTuple):
    """Where histories lead, and what is believed there: `belief[m, n, k]` of state `support[n, k]` under model m."""

    root: Table  # [O] int32, the node after the first observation
    child: Table  # [E, A, O] int32, the node after one more action and observation; any where that is impossible,
    # and none, -1 or at least N, in the one row of a graph in which no node has successors
    belief: Table  # [M, N, K] sums to one, or is zero where the model rules the node out
    support: Table | None = None  # [N, K] int32, no state twice; without it K = S, every state in its place


class GraphPolicy(NamedTuple):
    """A policy on a graph of histories, played with a chance of a uniformly random action instead."""

    graph: HistoryGraph
    policy: Table  # [N] or [H, N] int32; after the last step its last row goes on
    exploration: jax.Array | float = 0.0  # []
    available: Table | None = None  # [N, A] or [H, N, A] bool, what exploration may take; all when left out


class GraphMemory(NamedTuple):
    """Where on the graph the agent is."""

    node: jax.Array  # [] int32, -1 where the graph has ended
    time: jax.Array  # [] int32


def graph_agent() -> Agent:
    """The agent that plays a `GraphPolicy`: an oracle's plan, or an expert that knows what the oracle knows.

    Where the graph ends, as a tree does after its horizon, there is nothing to follow: from then on its action is -1.
    """

    def init(key: jax.Array, params: GraphPolicy) -> GraphMemory:
        return GraphMemory(node=jnp.int32(0), time=jnp.int32(0))

    def act(uniform: jax.Array, memory: GraphMemory, observation: jax.Array, params: GraphPolicy) -> tuple:
        node = jnp.where(memory.time == 0, jnp.asarray(params.graph.root)[observation], memory.node)
        policy = jnp.atleast_2d(jnp.asarray(params.policy))
        planned = _row(policy, memory.time)[node]
        allowed = params.available
        if allowed is not None:
            allowed = _row(jnp.asarray(allowed).reshape(-1, *allowed.shape[-2:]), memory.time)[node]
        probabilities = epsilon_soft(planned, params.graph.child.shape[1], params.exploration, allowed)
        action = sample_index(inverse_cdf(probabilities), uniform)
        ended = (node < 0) | (node >= policy.shape[-1])
        return jnp.where(ended, -1, action), memory._replace(node=node)

    def observe(memory: GraphMemory, transition: Transition, params: GraphPolicy) -> GraphMemory:
        node = successor(params.graph, memory.node, transition.action, transition.next_observation)
        return GraphMemory(node=node, time=memory.time + 1)

    predrawn = Predrawn(draw=uniform_noise, apply=act)
    return Agent(init=init, act=predrawn.keyed, observe=observe, predrawn=predrawn)


def _row(table: jax.Array, time: jax.Array) -> jax.Array:
    """The row [N, ...] of a table [H, N, ...] at a time; the last one goes on."""
    return table[jnp.minimum(time, table.shape[0] - 1)]


def nodes_along(graph: HistoryGraph, episode: Episode) -> jax.Array:
    """The nodes in which an episode's decisions were taken, [T] int32: where its labels are.

    Args:
        graph: of the episode's world.
        episode: T steps from time 0, a possible history; T is at most the horizon of the graph.
    """

    def step(node: jax.Array, seen: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        return successor(graph, node, *seen), node

    start = jnp.asarray(graph.root)[episode.observation[0]]
    return jax.lax.scan(step, start, (episode.action, episode.next_observation))[1]


def successor(graph: HistoryGraph, node: jax.Array, action: jax.Array, observation: jax.Array) -> jax.Array:
    """The node after one more action and observation, [] int32; -1 after a node that has no successors."""
    child = jnp.asarray(graph.child)
    inner = (node >= 0) & (node < child.shape[0])
    return jnp.where(inner, child[jnp.where(inner, node, 0), action, observation], -1)
