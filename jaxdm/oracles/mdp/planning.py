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
    backup_with_errors,
    certificate,
    contraction,
    discounted_bound,
    greedy,
    require_range,
    solve_linear,
    validate_discounted,
    value_error,
)
from jaxdm.types import Certificate
from jaxdm.validation import is_concrete

SHARPENED = 2
"""Backups by which the bound that holds in every state becomes one of each state."""


class Plan(NamedTuple):
    """A solution: values, a greedy policy, and what is guaranteed of them. Finite horizons have a leading axis [H].

    `ties[s, a]` is true when `a` cannot be told from the best action: the most it may be worth, `q + error`, reaches
    the least that some action must be worth. `policy` is the lowest index whose Q-value equals the maximum up to the
    rounding of the two entries.
    """

    value: jax.Array  # [S], or [H + 1, S] with the terminal value last
    q: jax.Array  # [S, A], or [H, S, A]
    policy: jax.Array  # [S] int32, or [H, S]
    ties: jax.Array  # [S, A] bool, or [H, S, A]
    error: jax.Array  # [S, A], or [H, S, A]: certified error of each entry of `q`
    value_error: jax.Array  # [S], or [H, S]: certified error of `value`; the certificate's bound is the largest
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
    require_range(mdp.reward, horizon)
    return _induce(mdp, None, horizon, terminal)


def backward_induction_staged(stages: MDP, terminal: jax.Array | None = None) -> Plan:
    """The same when every step has its own MDP: all fields of `stages` have a leading axis [H].

    Raises:
        ValueError: a bad MDP (see `jaxdm.envs.mdp.validate`), no leading axis, or a terminal value of another shape.
    """
    if stages.transition.ndim != 4:
        raise ValueError(f"transition: shape {stages.transition.shape}; expected [H, S, A, S]")
    validate(stages)
    require_range(stages.reward, stages.transition.shape[0])
    first = jax.tree.map(lambda x: x[0], stages)
    return _induce(first, stages, stages.transition.shape[0], terminal)


def _induce(fixed: MDP, stages: MDP | None, horizon: int, terminal: jax.Array | None) -> Plan:
    states, dtype = fixed.transition.shape[-1], fixed.transition.dtype
    last = jnp.zeros(states, dtype) if terminal is None else jnp.asarray(terminal, dtype)
    if last.shape != (states,):
        raise ValueError(f"terminal: shape {last.shape}; expected {(states,)}")

    def step(carry: tuple, stage: MDP | None) -> tuple:
        value, behind = carry
        mdp = fixed if stage is None else stage
        q, rounding, error = backup_with_errors(mdp, value, behind)
        policy, ties = greedy(q, rounding, error)
        value, behind = jnp.max(q, axis=-1), value_error(q, error)
        return (value, behind), (value, q, policy, ties, error, behind)

    _, outputs = jax.lax.scan(step, (last, jnp.zeros_like(last)), stages, length=horizon, reverse=True)
    value, q, policy, ties, error, behind = outputs
    return Plan(
        value=jnp.concatenate([value, last[None]]),
        q=q,
        policy=policy,
        ties=ties,
        error=error,
        value_error=behind,
        certificate=certificate(jnp.zeros((), dtype), jnp.max(behind), horizon),
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
    narrowest = jnp.min(jnp.sum(mdp.transition, axis=-1))
    pull = mdp.discount * jnp.minimum(narrowest, 1)

    def backed_up(value: jax.Array) -> tuple:
        q, _, error = backup_with_errors(mdp, value)
        change, rounding = jnp.max(q, axis=-1) - value, value_error(q, error)
        bound = discounted_bound(jnp.max(jnp.abs(change) + rounding), factor)
        return change, bound, jnp.max(rounding)

    def unfinished(carry: tuple) -> jax.Array:
        _, (_, bound, rounding), iteration = carry
        floor = discounted_bound(2 * rounding, factor)
        return (bound > jnp.maximum(tolerance, floor)) & (iteration < max_iterations)

    def improve(carry: tuple) -> tuple:
        value, (change, _, _), iteration = carry
        middle = (jnp.max(change) + jnp.min(change)) / 2
        # Rows below one pull a shift back: as if all were the narrowest, it never goes too far.
        value = value + change + jnp.where(pull < 1, pull / (1 - pull), 0) * middle
        return value, backed_up(value), iteration + 1

    start = jnp.zeros_like(mdp.reward[:, 0])
    value, _, iterations = jax.lax.while_loop(unfinished, improve, (start, backed_up(start), 1))
    return _discounted_plan(mdp, value, iterations)


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
        q, _, error = backup_with_errors(mdp, value)
        best = jnp.argmax(q, axis=-1).astype(jnp.int32)
        gain = q[rows, best] - q[rows, policy]
        improved = jnp.where(gain > error[rows, best] + error[rows, policy], best, policy)
        return value, improved

    def unfinished(carry: tuple) -> jax.Array:
        policy, (_, improved), iteration = carry
        return jnp.any(policy != improved) & (iteration < max_iterations)

    def improve(carry: tuple) -> tuple:
        _, (_, improved), iteration = carry
        return improved, evaluate(improved), iteration + 1

    warm = jax.lax.fori_loop(0, sweeps, lambda _, v: jnp.max(backup(mdp, v), axis=-1), jnp.max(mdp.reward, axis=-1))
    first = jnp.argmax(backup(mdp, warm), axis=-1).astype(jnp.int32)
    _, (value, _), iterations = jax.lax.while_loop(unfinished, improve, (first, evaluate(first), 1))
    return _discounted_plan(mdp, value, iterations)


def _discounted_plan(mdp: MDP, value: jax.Array, iterations: jax.Array | int) -> Plan:
    """The plan of one backup of a vector [S] that is nearly optimal."""
    q, rounding, error = backup_with_errors(mdp, value)
    change = jnp.abs(jnp.max(q, axis=-1) - value)
    residual = change + value_error(q, error)
    behind = jnp.full_like(residual, discounted_bound(jnp.max(residual), contraction(mdp)))
    for _ in range(SHARPENED):
        whole = backup_with_errors(mdp, value, behind).error
        _, ties = greedy(q, rounding, whole)
        behind = jnp.minimum(behind, change + jnp.max(jnp.where(ties, whole, 0), axis=-1))
    error = backup_with_errors(mdp, value, behind).error
    policy, ties = greedy(q, rounding, error)
    of_value = value_error(q, error)
    return Plan(
        value=jnp.max(q, axis=-1),
        q=q,
        policy=policy,
        ties=ties,
        error=error,
        value_error=of_value,
        certificate=certificate(jnp.max(change), jnp.max(of_value), iterations),
    )
