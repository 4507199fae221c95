"""Exact planning in a POMDP, on the graph of its reachable beliefs.

Dimensions: `S` states, `A` actions, `O` observations, `H` steps, `N` beliefs.

Where the guarantees come from is told in `jaxdm.oracles.pomdp.belief`.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxdm.envs.pomdp import POMDP
from jaxdm.oracles.graph_policy import HistoryGraph
from jaxdm.oracles.mdp.bellman import certificate, require_range
from jaxdm.oracles.pomdp.belief import horizon_errors, relative_error
from jaxdm.oracles.pomdp.belief_graph import MEMORY, RESOLUTION, ReachableBeliefs, reachable
from jaxdm.types import Certificate


class BeliefPlan(NamedTuple):
    """What is optimal at every step and reachable belief, in numpy arrays (float64 values).

    `policy` is the lowest action equal to the best up to rounding; `ties` are all that cannot be told from the best.
    Beliefs that cannot be held at step t have values of zero there. Endless plans have no axis [H].
    """

    root_value: np.ndarray  # [] expected over the first observation
    q: np.ndarray  # [H, N, A]
    value: np.ndarray  # [H, N]
    policy: np.ndarray  # [H, N] int32
    ties: np.ndarray  # [H, N, A] bool
    reachable: ReachableBeliefs
    certificate: Certificate

    @property
    def graph(self) -> HistoryGraph:
        """What `jaxdm.oracles.graph_policy` walks on."""
        return self.reachable.graph


def plan(pomdp: POMDP, horizon: int, memory: float = MEMORY, resolution: float = RESOLUTION) -> BeliefPlan:
    """Optimal values: `Q_t(b,a) = b . r_a + gamma sum_o Pr(o|b,a) V_{t+1}(b_ao)`, `V_t = max_a Q_t`, `V_H = 0`.

    Args:
        pomdp: the world.
        horizon: H >= 1.
        memory: bytes that the belief graph, and then the tables of all steps, may take.
        resolution: see `jaxdm.oracles.pomdp.belief_graph.reachable`.

    Returns:
        BeliefPlan of H steps; the bound covers every row.

    Raises:
        ValueError: horizon < 1, a bad POMDP, rewards whose sum would overflow, or more than `memory`.

    Reference: Smallwood, Sondik, Operations Research 21, 1973.
    """
    if horizon < 1:
        raise ValueError(f"horizon: {horizon}; expected at least 1")
    beliefs = reachable(pomdp, horizon - 1, memory, resolution)
    require_range(pomdp.reward, horizon)
    _require_tables(horizon, beliefs.reward.shape, memory)
    q = _induce(beliefs, float(pomdp.discount), horizon, lambda t, q: q.max(axis=-1))
    rounding, error = horizon_errors(*_error_terms(pomdp), horizon, beliefs.distance)
    return _belief_plan(q, np.asarray(rounding)[:, None], np.asarray(error)[:, None], beliefs, horizon)


def plan_endless(
    pomdp: POMDP,
    tolerance: float = 1e-9,
    memory: float = MEMORY,
    resolution: float = RESOLUTION,
    max_iterations: int = 100_000,
) -> BeliefPlan:
    """Discounted optimal values of a POMDP with finitely many reachable beliefs, by value iteration on them.

    Args:
        pomdp: discount < 1.
        tolerance: wanted bound on the value of any belief; where float64 cannot give it, the certificate says so.
        memory: bytes that the belief graph may take.
        resolution: see `jaxdm.oracles.pomdp.belief_graph.reachable`.
        max_iterations: backups after which to give up; the certificate says how far it got.

    Returns:
        BeliefPlan without the axis of steps. The bound is infinite where rows above one undo the discount.

    Raises:
        ValueError: discount 1, tolerance <= 0, max_iterations < 1, a bad POMDP, rewards whose sum would overflow, or a
            graph that does not close within `memory`.
    """
    discount = float(pomdp.discount)
    if not tolerance > 0:
        raise ValueError(f"tolerance: {tolerance}; expected a positive number")
    if max_iterations < 1:
        raise ValueError(f"max_iterations: {max_iterations}; expected at least 1")
    beliefs = reachable(pomdp, None, memory, resolution)
    if not discount < 1:
        raise ValueError(f"discount: {discount}; expected a number below 1 for an endless horizon")
    require_range(pomdp.reward, 1 / (1 - discount))
    reward, factor, kappa = _error_terms(pomdp)
    horizon = 1 / (1 - factor) if factor < 1 else np.inf
    # Stops at the rounding of the iteration, in float64; that of the stored parameters is in the bound alone.
    work = kappa - 4 * float(np.finfo(pomdp.reward.dtype).eps)
    floor = (work + factor * beliefs.distance) * reward / (1 - discount)
    rounding = (kappa + factor * beliefs.distance) * reward * horizon
    pull = discount * min(float(beliefs.probability.sum(axis=-1).min()), 1.0)
    value, iterations = beliefs.reward.max(axis=-1), 0
    while True:
        q = beliefs.reward + discount * (beliefs.probability * value[beliefs.graph.child]).sum(axis=-1)
        change = q.max(axis=-1) - value
        residual, iterations = np.abs(change).max(), iterations + 1
        if residual <= max(tolerance / (2 * horizon), floor) or iterations == max_iterations:
            break
        value = value + change + pull / (1 - pull) * (change.max() + change.min()) / 2
    bound = (residual * factor + rounding) * horizon
    return _belief_plan(q, np.asarray([floor]), np.asarray([bound]), beliefs, iterations, residual)


def policy_value(pomdp: POMDP, solved: BeliefPlan, probabilities: np.ndarray) -> np.ndarray:
    """The exact value of any policy of a finite plan's beliefs, e.g. the uniform one: same recursion, no maximum.

    Args:
        pomdp: the world of the plan.
        solved: from `plan`.
        probabilities: [H, N, A] of the actions.

    Returns:
        [H, N] values; what the policy is worth in all is `root_probability @ value[0, graph.root]`.

    Raises:
        ValueError: probabilities of another shape.
    """
    if probabilities.shape != solved.q.shape:
        raise ValueError(f"probabilities: shape {probabilities.shape}; expected {solved.q.shape}")

    def mean(t: int, q: np.ndarray) -> np.ndarray:
        return (probabilities[t, : len(q)] * q).sum(axis=-1)

    q = _induce(solved.reachable, float(pomdp.discount), len(solved.q), mean)
    return (probabilities * q).sum(axis=-1)


def _induce(
    beliefs: ReachableBeliefs, discount: float, horizon: int, value: Callable[[int, np.ndarray], np.ndarray]
) -> np.ndarray:
    """Backward induction, `Q_t(b,a) = b . r_a + gamma sum_o Pr(o|b,a) V_{t+1}(b_ao)`, [H, N, A].

    Args:
        beliefs: of the POMDP.
        discount: gamma.
        horizon: H.
        value: `(t, Q_t [n, A]) -> V_t [n]`, of the n beliefs within t steps: a maximum, or a policy's mean.
    """
    q = np.zeros((horizon, *beliefs.reward.shape))
    ahead = np.empty(0)
    for t in reversed(range(horizon)):
        n = beliefs.within[min(t, len(beliefs.within) - 1)]
        q[t, :n] = beliefs.reward[:n]
        if t < horizon - 1:
            q[t, :n] += discount * (beliefs.probability[:n] * ahead[beliefs.graph.child[:n]]).sum(axis=-1)
        ahead = value(t, q[t, :n])
    return q


def _require_tables(horizon: int, shape: tuple[int, ...], memory: float) -> None:
    """Refuse tables [H, N, A] of values, losses and ties that would not fit."""
    count, actions = shape
    needed = horizon * count * (26 * actions + 20)
    if needed > memory:
        raise ValueError(
            f"memory: the tables of {horizon} steps and {count} beliefs need {needed / 2**20:.4g} MiB; expected at "
            f"most {memory / 2**20:.4g} MiB (shorten the horizon, raise the limit, or use point_based)"
        )


def _error_terms(pomdp: POMDP) -> tuple[float, float, float]:
    """The arguments of `horizon_errors`: `|r|`, `gamma rho` and `kappa`."""
    widest = np.asarray(pomdp.transition, np.float64).sum(-1).max() * np.asarray(pomdp.observation).sum(-1).max()
    factor = float(pomdp.discount) * max(float(widest), 1.0)
    return float(np.abs(np.asarray(pomdp.reward)).max()), factor, relative_error(pomdp, np.float64)


def _belief_plan(
    q: np.ndarray,
    rounding: np.ndarray,
    error: np.ndarray,
    beliefs: ReachableBeliefs,
    iterations: int,
    residual: float = 0.0,
) -> BeliefPlan:
    """The plan of values q [..., N, A], with a step's rounding and certified error, [..., 1] each."""
    value = q.max(axis=-1)
    loss = value[..., None] - q
    first = value if value.ndim == 1 else value[0]
    return BeliefPlan(
        root_value=beliefs.root_probability @ first[beliefs.graph.root],
        q=q,
        value=value,
        policy=(loss <= 2 * rounding[..., None]).argmax(axis=-1).astype(np.int32),
        ties=loss <= 2 * error[..., None],
        reachable=beliefs,
        certificate=certificate(jnp.asarray(residual), jnp.asarray(error.max()), iterations),
    )
