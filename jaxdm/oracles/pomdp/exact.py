"""Exact planning in a POMDP, on the graph of its reachable beliefs.

Dimensions: `S` states, `A` actions, `O` observations, `H` steps, `N` beliefs, `R` rows: one for each pair of a step and
a belief that can be held then. An endless plan has one step, which stands for all.

Where the guarantees come from is told in `jaxdm.oracles.pomdp.belief`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxdm.envs.pomdp import POMDP
from jaxdm.oracles.mdp.bellman import certificate
from jaxdm.oracles.pomdp.belief import horizon_errors, relative_error
from jaxdm.oracles.pomdp.belief_graph import MEMORY, RESOLUTION, BeliefGraph, reachable
from jaxdm.types import Agent, Certificate, Transition


class BeliefPlan(NamedTuple):
    """What is optimal at every reachable belief, in numpy arrays (float64 values).

    Row `start[t] + n` of `q`, `value`, `policy` and `ties` is belief n of the graph at step t. `policy` is the lowest
    action equal to the best up to rounding; `ties` are all that cannot be told from the best.
    """

    root_value: np.ndarray  # [] expected over the first observation
    q: np.ndarray  # [R, A]
    value: np.ndarray  # [R]
    policy: np.ndarray  # [R] int32
    ties: np.ndarray  # [R, A] bool
    start: np.ndarray  # [H] int32
    graph: BeliefGraph
    certificate: Certificate


class Held(NamedTuple):
    """Memory of an agent that walks on the graph."""

    node: jax.Array  # [] int32
    time: jax.Array  # [] int32


def plan(pomdp: POMDP, horizon: int, memory: float = MEMORY, resolution: float = RESOLUTION) -> BeliefPlan:
    """Optimal values: `Q_t(b,a) = b . r_a + gamma sum_o Pr(o|b,a) V_{t+1}(b_ao)`, `V_t = max_a Q_t`, `V_H = 0`.

    Args:
        pomdp: the world.
        horizon: H >= 1.
        memory: bytes that the belief graph may take.
        resolution: see `jaxdm.oracles.pomdp.belief_graph.reachable`.

    Returns:
        BeliefPlan of H steps; the bound covers every row.

    Raises:
        ValueError: horizon < 1, a bad POMDP, or a graph that needs more than `memory`.

    Reference: Smallwood, Sondik, Operations Research 21, 1973.
    """
    if horizon < 1:
        raise ValueError(f"horizon: {horizon}; expected at least 1")
    graph = reachable(pomdp, horizon - 1, memory, resolution)
    size = graph.within[np.minimum(np.arange(horizon), len(graph.within) - 1)]
    start = np.concatenate([[0], np.cumsum(size)]).astype(np.int32)
    q = np.empty((start[-1], graph.reward.shape[1]))
    discount, ahead = float(pomdp.discount), np.empty(0)
    for t in reversed(range(horizon)):
        row, n = slice(start[t], start[t + 1]), size[t]
        q[row] = graph.reward[:n]
        if t < horizon - 1:
            q[row] += discount * (graph.probability[:n] * ahead[graph.child[:n]]).sum(axis=-1)
        ahead = q[row].max(axis=-1)
    rounding, error = horizon_errors(*_error_terms(pomdp), horizon, graph.distance)
    return _belief_plan(q, start[:-1], np.repeat(rounding, size), np.repeat(error, size), graph, horizon)


def plan_endless(
    pomdp: POMDP, tolerance: float = 1e-9, memory: float = MEMORY, resolution: float = RESOLUTION
) -> BeliefPlan:
    """Discounted optimal values of a POMDP with finitely many reachable beliefs, by value iteration on them.

    Args:
        pomdp: discount < 1.
        tolerance: wanted bound on the value of any belief; where float64 cannot give it, the certificate says so.
        memory: bytes that the belief graph may take.
        resolution: see `jaxdm.oracles.pomdp.belief_graph.reachable`.

    Returns:
        BeliefPlan with a single step.

    Raises:
        ValueError: discount 1, tolerance <= 0, a bad POMDP, or a graph that does not close within `memory`.
    """
    discount = float(pomdp.discount)
    if not tolerance > 0:
        raise ValueError(f"tolerance: {tolerance}; expected a positive number")
    graph = reachable(pomdp, None, memory, resolution)
    if not discount < 1:
        raise ValueError(f"discount: {discount}; expected a number below 1 for an endless horizon")
    reward, factor, kappa = _error_terms(pomdp)
    rounding = (kappa + factor * graph.distance) * reward / (1 - factor)
    error = rounding / (1 - factor)
    value, iterations = graph.reward.max(axis=-1), 0
    while True:
        q = graph.reward + discount * (graph.probability * value[graph.child]).sum(axis=-1)
        change = q.max(axis=-1) - value
        residual, iterations = np.abs(change).max(), iterations + 1
        if residual * factor <= max(tolerance * (1 - factor) - rounding, rounding):
            break
        value = value + change + factor / (1 - factor) * (change.max() + change.min()) / 2
    bound = residual * factor / (1 - factor) + error
    start = np.zeros(1, np.int32)
    return _belief_plan(q, start, np.full(len(q), rounding), np.full(len(q), bound), graph, iterations, residual)


def policy_value(pomdp: POMDP, solved: BeliefPlan, law: np.ndarray) -> np.ndarray:
    """The exact value of any policy of a finite plan's beliefs, e.g. the uniform one: same recursion, no maximum.

    Args:
        pomdp: the world of the plan.
        solved: from `plan`.
        law: [R, A] probabilities of the actions.

    Returns:
        [R] values; those of the first beliefs at step 0 are `value[graph.root]`.

    Raises:
        ValueError: a law of another shape.
    """
    if law.shape != solved.q.shape:
        raise ValueError(f"law: shape {law.shape}; expected {solved.q.shape}")
    graph, ends = solved.graph, [*solved.start[1:], len(law)]
    value = np.empty(len(law))
    for t in reversed(range(len(solved.start))):
        row = slice(solved.start[t], ends[t])
        n = ends[t] - solved.start[t]
        q = graph.reward[:n].copy()
        if t < len(solved.start) - 1:
            ahead = value[solved.start[t + 1] : ends[t + 1]]
            q += float(pomdp.discount) * (graph.probability[:n] * ahead[graph.child[:n]]).sum(axis=-1)
        value[row] = (law[row] * q).sum(axis=-1)
    return value


def rows(solved: BeliefPlan, actions: jax.Array, observations: jax.Array) -> jax.Array:
    """The rows of `q`, `value`, `policy` and `ties` along a possible history: an episode's labels.

    Args:
        solved: from `plan` or `plan_endless`.
        actions: [T - 1] indices, T <= H.
        observations: [T] indices; the first is seen before any action.

    Returns:
        [T] int32.
    """
    child, start = _successors(solved), jnp.asarray(solved.start)

    def step(node: jax.Array, seen: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        node = child[node, seen[0], seen[1]]
        return node, node

    root = jnp.asarray(solved.graph.root)[observations[0]]
    _, later = jax.lax.scan(step, root, (actions, observations[1:]))
    time = jnp.minimum(jnp.arange(observations.shape[0]), start.shape[0] - 1)
    return start[time] + jnp.concatenate([root[None], later])


def agent() -> Agent:
    """The optimal agent; its `params` are a `BeliefPlan`, and it only reads where the history leads."""

    def init(key: jax.Array, params: BeliefPlan) -> Held:
        return Held(node=jnp.int32(0), time=jnp.int32(0))

    def act(draw: jax.Array, memory: Held, observation: jax.Array, params: BeliefPlan) -> tuple[jax.Array, Held]:
        node = jnp.where(memory.time == 0, jnp.asarray(params.graph.root)[observation], memory.node)
        start = jnp.asarray(params.start)
        row = start[jnp.minimum(memory.time, start.shape[0] - 1)] + node
        return jnp.asarray(params.policy)[row], memory._replace(node=node)

    def observe(memory: Held, transition: Transition, params: BeliefPlan) -> Held:
        child = _successors(params)
        node = child[jnp.minimum(memory.node, child.shape[0] - 1), transition.action, transition.next_observation]
        return Held(node=node, time=memory.time + 1)

    def draws(key: jax.Array, length: int) -> jax.Array:
        return jnp.zeros(length)

    return Agent(init=init, act=act, observe=observe, draws=draws)


def _successors(solved: BeliefPlan) -> jax.Array:
    """The graph's `child`; one row of zeros where the plan ends before any successor."""
    child = jnp.asarray(solved.graph.child)
    return child if child.shape[0] else jnp.zeros((1, *child.shape[1:]), child.dtype)


def _error_terms(pomdp: POMDP) -> tuple[float, float, float]:
    """The arguments of `horizon_errors`: `|r|`, `gamma rho` and `kappa`."""
    widest = np.asarray(pomdp.transition, np.float64).sum(-1).max() * np.asarray(pomdp.observation).sum(-1).max()
    factor = float(pomdp.discount) * max(float(widest), 1.0)
    return float(np.abs(np.asarray(pomdp.reward)).max()), factor, relative_error(pomdp, np.float64)


def _belief_plan(
    q: np.ndarray,
    start: np.ndarray,
    rounding: np.ndarray,
    error: np.ndarray,
    graph: BeliefGraph,
    iterations: int,
    residual: float = 0.0,
) -> BeliefPlan:
    value = q.max(axis=-1)
    loss = value[:, None] - q
    return BeliefPlan(
        root_value=graph.root_probability @ value[graph.root],
        q=q,
        value=value,
        policy=(loss <= 2 * rounding[:, None]).argmax(axis=-1).astype(np.int32),
        ties=loss <= 2 * error[:, None],
        start=start,
        graph=graph,
        certificate=certificate(jnp.asarray(residual), jnp.asarray(error.max()), iterations),
    )
