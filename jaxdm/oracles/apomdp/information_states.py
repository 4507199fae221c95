"""Planning on a given graph of information states: what is worth remembering of a history, and where it leads.

Dimensions: `M` models, `S` states, `A` actions, `O` observations, `N` information states, `H` steps.

Where histories with the same summary lead to the same beliefs under every model, the alpha-maxmin recursion of
`history_tree` runs on summaries, for any horizon and with static shapes; with one model it is a POMDP's. Whoever gives
the graph claims that equality: how far it is missed, relatively and entry by entry, is measured and enters the
certificate. Bayes' rule without its normalisation keeps such an error, hence `2 H` times it.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxdm.envs.apomdp import APOMDP
from jaxdm.oracles.apomdp.history_tree import HIGHEST, contraction, rounding_error, weigh
from jaxdm.oracles.graph_policy import HistoryGraph


class InformationPlan(NamedTuple):
    """What is optimal at every summary and step; rows that no history reaches mean nothing."""

    q: jax.Array  # [H, N, A]
    ties: jax.Array  # [H, N, A] bool, actions that cannot be told from the best
    model_q: jax.Array  # [M, H, N, A] each model's own optimal values, as if it were known to be true
    reached: jax.Array  # [H, N] bool
    bound: jax.Array  # [] certified error of `q` and `model_q` where reached


class _Step(NamedTuple):
    """What happens next at every summary."""

    reward: jax.Array  # [M, N, A]
    probability: jax.Array  # [M, N, A, O] of what is seen next


def plan(apomdp: APOMDP, graph: HistoryGraph, horizon: int) -> InformationPlan:
    """Alpha-maxmin planning for H steps on a graph of summaries, `V = 0` after the last.

    Args:
        apomdp: the world; no batch axis.
        graph: its graph.
        horizon: H >= 1.

    Raises:
        ValueError: horizon < 1.
    """
    if horizon < 1:
        raise ValueError(f"horizon: {horizon}; expected at least 1")
    graph = _padded(graph)
    child = graph.child.reshape(-1)
    here = _step(apomdp, graph)
    reached = _reached(graph, here, _first(apomdp), horizon)
    slack = 2 * horizon * _missed(apomdp, graph, here, jnp.any(reached[: horizon - 1], axis=0))
    alive = jnp.any(graph.belief > 0, axis=-1, keepdims=True)

    def step(later: tuple, at: tuple) -> tuple:
        value, values, error = later
        t, now = at
        size = jnp.maximum(jnp.max(jnp.abs(value)), jnp.max(jnp.abs(values)))
        scale = jnp.max(jnp.abs(apomdp.reward)) + contraction(apomdp) * size
        error = rounding_error(apomdp, t, size) + slack * scale + contraction(apomdp) * error
        q = weigh(
            _each(here, jnp.broadcast_to(value[child], (len(alive), len(child))), apomdp.discount),
            alive,
            apomdp.attitude,
        )
        model_q = _each(here, values[:, child], apomdp.discount)
        ahead = (jnp.where(now, jnp.max(x, axis=-1), 0) for x in (q, model_q))
        return (*ahead, error), (q, model_q, jnp.max(q, axis=-1, keepdims=True) - q <= 2 * error)

    end = (jnp.zeros(reached.shape[1:], slack.dtype), jnp.zeros(graph.belief.shape[:2], slack.dtype))
    steps = (jnp.arange(horizon), reached)
    (_, _, error), (q, model_q, ties) = jax.lax.scan(step, (*end, jnp.zeros_like(slack)), steps, reverse=True)
    return InformationPlan(
        q=q,
        ties=ties,
        model_q=jnp.moveaxis(model_q, 1, 0),
        reached=reached,
        bound=error,
    )


def evaluate(apomdp: APOMDP, graph: HistoryGraph, probabilities: jax.Array) -> jax.Array:
    """What a policy of summaries is worth in each model, before the first observation, [M].

    Args:
        apomdp: the world.
        graph: its graph.
        probabilities: [H, N, A] probabilities of actions.
    """
    graph = _padded(graph)
    here = _step(apomdp, graph)
    child = graph.child.reshape(-1)

    def step(value: jax.Array, choice: jax.Array) -> tuple[jax.Array, None]:
        return jnp.sum(choice[None] * _each(here, value[:, child], apomdp.discount), axis=-1), None

    end = jnp.zeros(graph.belief.shape[:2], probabilities.dtype)
    value, _ = jax.lax.scan(step, end, probabilities, reverse=True)
    return jnp.sum(_first(apomdp) * value[:, graph.root], axis=-1)


def _each(here: _Step, ahead: jax.Array, discount: jax.Array) -> jax.Array:
    """`backup` where each model has values [M, N A O] of its own: [M, N, A]."""
    return here.reward + discount * jnp.sum(here.probability * ahead.reshape(here.probability.shape), axis=-1)


def _reached(graph: HistoryGraph, here: _Step, mass: jax.Array, horizon: int) -> jax.Array:
    """Which summaries some history of t steps has that some model allows, [H, N]."""
    states = graph.child.shape[0]
    possible = jnp.any(here.probability > 0, axis=0)
    root = jnp.zeros(states, bool).at[graph.root].max(jnp.any(mass > 0, axis=0))

    def step(now: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
        leads = (possible & now[:, None, None]).reshape(-1)
        return jnp.zeros(states, bool).at[graph.child.reshape(-1)].max(leads), now

    return jax.lax.scan(step, root, length=horizon)[1]


def _step(apomdp: APOMDP, graph: HistoryGraph) -> _Step:
    seen = jnp.einsum("msat,mato->msao", apomdp.transition, apomdp.observation, precision=HIGHEST)
    reward = jnp.broadcast_to(apomdp.reward, (seen.shape[0], *apomdp.reward.shape))
    states = _states(graph)

    def expect(table: jax.Array) -> jax.Array:
        return jnp.einsum("mnk,mnk...->mn...", graph.belief, table, precision=HIGHEST)

    return _Step(reward=expect(reward[:, states]), probability=expect(seen[:, states]))


def _states(graph: HistoryGraph) -> jax.Array:
    """The states that are possible at each node, [N, K]."""
    if graph.support is None:
        return jnp.broadcast_to(jnp.arange(graph.belief.shape[-1], dtype=jnp.int32), graph.belief.shape[1:])
    return jnp.asarray(graph.support)


def _padded(graph: HistoryGraph) -> HistoryGraph:
    """The graph with a row of `child` for every node; those that are added are never followed."""
    child = jnp.asarray(graph.child)[: graph.belief.shape[1]]
    missing = graph.belief.shape[1] - child.shape[0]
    return HistoryGraph(
        root=jnp.asarray(graph.root),
        child=jnp.pad(child, ((0, missing), (0, 0), (0, 0))),
        belief=jnp.asarray(graph.belief),
        support=graph.support,
    )


def _first(apomdp: APOMDP) -> jax.Array:
    """Chance of the first observation under each model, [M, O]."""
    return jnp.einsum("ms,mso->mo", apomdp.initial, apomdp.initial_observation, precision=HIGHEST)


def _missed(apomdp: APOMDP, graph: HistoryGraph, here: _Step, counts: jax.Array) -> jax.Array:
    """By how much Bayes' rule differs from the graph, relatively, at worst, where `counts` [N]; [].

    A belief that has weight elsewhere than in the graph's support is too small there, so that it shows.
    """
    actions, observations = graph.child.shape[1:]
    states = _states(graph)
    support = states[graph.child]  # [N, A, O, K]

    def whole(x: jax.Array, axis: int) -> jax.Array:
        return jnp.broadcast_to(jnp.expand_dims(x, [i for i in range(4) if i != axis]), support.shape)

    action, seen = whole(jnp.arange(actions), 1), whole(jnp.arange(observations), 2)

    def of_model(transition: jax.Array, observation: jax.Array, weight: jax.Array, chance: jax.Array) -> jax.Array:
        moves = (
            whole(w, 0) * transition[whole(s, 0), action, support] for s, w in zip(states.T, weight.T, strict=True)
        )
        joint = sum(moves, jnp.zeros(support.shape, weight.dtype)) * observation[action, support, seen]
        claimed = weight[graph.child] * chance[..., None]
        scale = jnp.where(joint > 0, joint, jnp.where(claimed > 0, claimed, 1))
        relevant = ((chance > 0) & counts[:, None, None])[..., None]
        return jnp.max(jnp.where(relevant, jnp.abs(joint - claimed) / scale, 0))

    return jnp.max(
        jax.vmap(of_model)(apomdp.transition, apomdp.observation, jnp.asarray(graph.belief), here.probability)
    )
