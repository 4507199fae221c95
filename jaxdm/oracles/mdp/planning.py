"""Exact planning in finite MDPs, each result with a certificate.

Dimensions: `S` states, `A` actions, `H` steps. Nothing here has a batch axis: write `jax.jit(jax.vmap(f))`.

Where the guarantees come from is told in `jaxdm.oracles.mdp.bellman`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxdm.envs.mdp import MDP, validate
from jaxdm.oracles.mdp.bellman import (
    backup,
    certificate,
    contraction,
    discounted_bound,
    greedy,
    rounding_error,
    solve_linear,
    validate_discounted,
)
from jaxdm.types import Certificate
from jaxdm.validation import is_concrete


class Plan(NamedTuple):
    """A solution: values, a greedy policy, and what is guaranteed of them. Finite horizons have a leading axis [H].

    `ties[s, a]` is true when `a` cannot be told from the best action: its Q-value is within twice the certified error
    of the maximum. `policy` is the lowest index whose Q-value equals the maximum up to rounding.
    """

    value: jax.Array  # [S], or [H + 1, S] with the terminal value last
    q: jax.Array  # [S, A], or [H, S, A]
    policy: jax.Array  # [S] int32, or [H, S]
    ties: jax.Array  # [S, A] bool, or [H, S, A]
    certificate: Certificate


def backward_induction(mdp: MDP, horizon: int, terminal: jax.Array | None = None) -> Plan:
    """Optimal values of the last H steps: `Q_h = r + gamma P V_{h+1}`, `V_h = max_a Q_h`, `V_H = terminal`.

    Args:
        mdp: a stationary MDP; any discount in [0, 1].
        horizon: H >= 1.
        terminal: [S] value after the last step, zero when left out.

    Returns:
        Plan with leading axis H; the bound covers every step.

    Raises:
        ValueError: horizon < 1, a bad MDP (see `jaxdm.envs.mdp.validate`), or a terminal value of another shape.

    Reference: Puterman 1994, section 4.5.
    """
    if horizon < 1:
        raise ValueError(f"horizon: {horizon}; expected at least 1")
    validate(mdp)
    return _induce(mdp, None, horizon, terminal)


def backward_induction_staged(stages: MDP, terminal: jax.Array | None = None) -> Plan:
    """The same when every step has its own MDP: all fields of `stages` have a leading axis [H].

    Raises:
        ValueError: a bad MDP (see `jaxdm.envs.mdp.validate`), no leading axis, or a terminal value of another shape.
    """
    if stages.transition.ndim != 4:
        raise ValueError(f"transition: shape {stages.transition.shape}; expected [H, S, A, S]")
    validate(stages)
    first = jax.tree.map(lambda x: x[0], stages)
    return _induce(first, stages, stages.transition.shape[0], terminal)


def _induce(fixed: MDP, stages: MDP | None, horizon: int, terminal: jax.Array | None) -> Plan:
    states, dtype = fixed.transition.shape[-1], fixed.transition.dtype
    last = jnp.zeros(states, dtype) if terminal is None else jnp.asarray(terminal, dtype)
    if last.shape != (states,):
        raise ValueError(f"terminal: shape {last.shape}; expected {(states,)}")

    def step(carry: tuple, stage: MDP | None) -> tuple:
        value, error = carry
        mdp = fixed if stage is None else stage
        q = backup(mdp, value)
        delta, factor = rounding_error(mdp, value), contraction(mdp)
        error = delta + factor * error
        policy, ties = greedy(q, delta, error)
        value = jnp.max(q, axis=-1)
        return (value, error), (value, q, policy, ties, error)

    _, outputs = jax.lax.scan(step, (last, jnp.zeros((), dtype)), stages, length=horizon, reverse=True)
    value, q, policy, ties, error = outputs
    return Plan(
        value=jnp.concatenate([value, last[None]]),
        q=q,
        policy=policy,
        ties=ties,
        certificate=certificate(jnp.zeros((), dtype), jnp.max(error), horizon),
    )


def value_iteration(mdp: MDP, tolerance: float = 1e-6, max_iterations: int = 100_000) -> Plan:
    """Discounted optimal values by successive approximation, to a guaranteed accuracy.

    `v <- T v + gamma / (1 - gamma) mid(T v - v)`: the shift by the middle of the span converges as the span does, and,
    unlike stopping on the span alone, returns values that are right and not only their differences.

    Args:
        mdp: discount < 1.
        tolerance: wanted bound on `|v - v*|` in any state. Where the float type cannot give it, iteration ends at
            what it can, and the certificate says so.
        max_iterations: backups after which to give up; the certificate says how far it got.

    Returns:
        Plan; `certificate.bound <= tolerance` unless one of the two limits above was met.

    Raises:
        ValueError: tolerance <= 0, discount 1, or a bad MDP (where values are concrete).

    Reference: Puterman 1994, section 6.6; MacQueen, J. Math. Anal. Appl. 14, 1966.
    """
    if is_concrete(tolerance) and not tolerance > 0:
        raise ValueError(f"tolerance: {tolerance}; expected a positive number")
    validate_discounted(mdp)
    factor = contraction(mdp)

    def backed_up(value: jax.Array) -> tuple:
        q = backup(mdp, value)
        change = jnp.max(q, axis=-1) - value
        delta = rounding_error(mdp, value)
        return q, change, discounted_bound(jnp.max(jnp.abs(change)), delta, factor), delta

    def unfinished(carry: tuple) -> jax.Array:
        _, (_, _, bound, delta), iteration = carry
        floor = discounted_bound(delta, delta, factor)
        return (bound > jnp.maximum(tolerance, floor)) & (iteration < max_iterations)

    def improve(carry: tuple) -> tuple:
        value, (_, change, _, _), iteration = carry
        middle = (jnp.max(change) + jnp.min(change)) / 2
        value = value + change + factor / (1 - factor) * middle
        return value, backed_up(value), iteration + 1

    start = jnp.zeros_like(mdp.reward[:, 0])
    _, (q, change, bound, delta), iterations = jax.lax.while_loop(unfinished, improve, (start, backed_up(start), 1))
    return _discounted_plan(mdp, q, jnp.max(jnp.abs(change)), bound, delta, iterations)


def policy_iteration(mdp: MDP, max_iterations: int = 1000, sweeps: int = 4) -> Plan:
    """Discounted optimal values by policy iteration: exact but for rounding.

    Each round evaluates the policy exactly, `v = (I - gamma P_pi)^{-1} r_pi`, and improves it where that gains more
    than rounding could. It starts from the greedy policy after `sweeps` rounds of value iteration, and ends when
    nothing improves.

    Args:
        mdp: discount < 1.
        max_iterations: rounds after which to give up; the certificate says how far it got.
        sweeps: backups before the first evaluation.

    Returns:
        Plan.

    Raises:
        ValueError: discount 1, or a bad MDP (where values are concrete).

    Reference: Howard 1960; Puterman 1994, section 6.4.
    """
    validate_discounted(mdp)
    rows = jnp.arange(mdp.reward.shape[0])

    def evaluate(policy: jax.Array) -> tuple:
        value = solve_linear(mdp.transition[rows, policy], mdp.reward[rows, policy], mdp.discount)
        q = backup(mdp, value)
        delta = rounding_error(mdp, value)
        gain = jnp.max(q, axis=-1) - q[rows, policy]
        improved = jnp.where(gain > 2 * delta, jnp.argmax(q, axis=-1).astype(jnp.int32), policy)
        return value, q, delta, improved

    def unfinished(carry: tuple) -> jax.Array:
        policy, (_, _, _, improved), iteration = carry
        return jnp.any(policy != improved) & (iteration < max_iterations)

    def improve(carry: tuple) -> tuple:
        _, (_, _, _, improved), iteration = carry
        return improved, evaluate(improved), iteration + 1

    warm = jax.lax.fori_loop(0, sweeps, lambda _, v: jnp.max(backup(mdp, v), axis=-1), jnp.max(mdp.reward, axis=-1))
    first = jnp.argmax(backup(mdp, warm), axis=-1).astype(jnp.int32)
    _, (value, q, delta, _), iterations = jax.lax.while_loop(unfinished, improve, (first, evaluate(first), 1))
    residual = jnp.max(jnp.abs(jnp.max(q, axis=-1) - value))
    bound = discounted_bound(residual, delta, contraction(mdp))
    return _discounted_plan(mdp, q, residual, bound, delta, iterations)


def _discounted_plan(
    mdp: MDP, q: jax.Array, residual: jax.Array, bound: jax.Array, delta: jax.Array, iterations: jax.Array | int
) -> Plan:
    bound = contraction(mdp) * bound + delta  # of max_a q, one backup after the vector that `bound` speaks of
    policy, ties = greedy(q, delta, bound)
    return Plan(
        value=jnp.max(q, axis=-1),
        q=q,
        policy=policy,
        ties=ties,
        certificate=certificate(residual, bound, iterations),
    )
