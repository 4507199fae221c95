"""Certified planning in sparse MDPs: value iteration, modified policy iteration, policy iteration.

Dimensions: `S` states, `A` actions, `K` successors of a state and an action. Nothing here has a batch axis. On a CPU
many problems are solved faster one after the other, `numerics.batched_map(solve, problems, 1)`, than under `vmap`.

Certificates mean what they mean in `jaxdm.oracles.mdp.bellman`, with K in the place of S and one bound for each entry:
a computed backup is off by at most `delta(s,a) = (K + 8) eps (|r(s,a)| + gamma sum_k p_k |v(s'_k)|)`, and by
`3 eps_0` times the same sum for parameters that were rounded to a float type of unit `eps_0`. Outside a trace
everything is computed in float64, whatever the problem's type: `eps_0` widens the certificate and stops no iteration.
Inside a trace the problem's type decides.
"""

import functools
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.sparse.linalg import bicgstab

from jaxdm.envs.sparse_mdp import SparseMDP, validate
from jaxdm.numerics import cast_floats
from jaxdm.oracles.mdp.bellman import certificate, discounted_bound, greedy, value_error
from jaxdm.oracles.mdp.planning import Plan
from jaxdm.validation import check_shape, integer, is_concrete, positive_integer
from jaxdm.validation import tolerance as checked_tolerance

UNROLLED = 128
"""Up to so many pairs of an action and a successor a backup is written out: 3 times faster than a scan over actions
(S = 5,000, A = 10, K = 5 on two cores: 0.08 ms against 0.25 ms), but compiled in proportion to A K."""


class Rows(NamedTuple):
    """Transitions and rewards with the state as the last axis, so that a backup reads memory in order."""

    successor: jax.Array  # [A, K, S] int32, or [K, S] under a policy
    probability: jax.Array  # [A, K, S], or [K, S]
    reward: jax.Array  # [A, S], or [S]


def value_iteration(mdp: SparseMDP, tolerance: float = 1e-6, max_iterations: int = 100_000) -> Plan:
    """Discounted optimal values by successive approximation, to a guaranteed accuracy.

    `v <- T v + gamma / (1 - gamma) mid(T v - v)`, as `planning.value_iteration`.

    Args:
        mdp: discount < 1.
        tolerance: wanted bound on `|v - v*|` in any state, stopping and float64's rounding together.
        max_iterations: backups after which to give up; the certificate says how far it got.

    Returns:
        Plan; the rounding of a float32 problem's parameters comes on top of `tolerance` in its certificate.

    Raises:
        ValueError: tolerance <= 0, max_iterations < 1, discount 1, or a bad MDP (where values are concrete).

    Reference: Puterman 1994, section 6.6; MacQueen, J. Math. Anal. Appl. 14, 1966.
    """
    return modified_policy_iteration(mdp, tolerance, max_iterations, sweeps=0)


def modified_policy_iteration(
    mdp: SparseMDP, tolerance: float = 1e-6, max_iterations: int = 100_000, sweeps: int = 10
) -> Plan:
    """Discounted optimal values; between two backups the greedy policy's own backup is applied `sweeps` times.

    `v <- T_pi^sweeps (T v + gamma / (1 - gamma) mid(T v - v))` with `pi` greedy for v. It pays where chains mix slowly.

    Args:
        mdp: discount < 1.
        tolerance: wanted bound on `|v - v*|` in any state, stopping and float64's rounding together.
        max_iterations: backups after which to give up; the certificate says how far it got.
        sweeps: backups of the policy between two of the problem; 0 is value iteration.

    Returns:
        Plan; the rounding of a float32 problem's parameters comes on top of `tolerance` in its certificate.

    Raises:
        ValueError: tolerance <= 0, max_iterations < 1, sweeps < 0, discount 1, or a bad MDP.

    Reference: Puterman and Shin, Management Science 24, 1978; Puterman 1994, section 6.5.
    """
    checked_tolerance("tolerance", tolerance)
    sweeps = integer("sweeps", sweeps, 0)
    _validate_discounted(mdp, max_iterations)
    return _in_double(_modified_policy_iteration, mdp, tolerance, max_iterations, sweeps=sweeps)


def policy_iteration(mdp: SparseMDP, max_iterations: int = 1000, linear_steps: int = 1000) -> Plan:
    """Discounted optimal values by policy iteration: exact but for rounding.

    A policy's value solves `(I - gamma P_pi) v = r_pi`, which is done without a factorisation, by BiCGSTAB: rows of
    random successors fill a factorisation up. What it leaves unsolved is part of the certificate.

    Args:
        mdp: discount < 1.
        max_iterations: rounds after which to give up; the certificate says how far it got.
        linear_steps: steps of BiCGSTAB in a round, at most.

    Returns:
        Plan.

    Raises:
        ValueError: max_iterations or linear_steps < 1, discount 1, or a bad MDP (where values are concrete).

    Reference: Howard 1960; van der Vorst, SIAM J. Sci. Stat. Comput. 13, 1992.
    """
    linear_steps = positive_integer("linear_steps", linear_steps)
    _validate_discounted(mdp, max_iterations)
    return _in_double(_policy_iteration, mdp, max_iterations, linear_steps=linear_steps)


@functools.partial(jax.jit, static_argnames="sweeps")
def _modified_policy_iteration(
    mdp: SparseMDP, unit: float, tolerance: jax.Array, max_iterations: jax.Array, sweeps: int
) -> Plan:
    rows, discount = _by_action(mdp), mdp.discount
    factor = _contraction(mdp, 0.0)

    def backed_up(value: jax.Array) -> tuple:
        best, policy = _best(rows, discount, value)
        delta = _largest_rounding(mdp, value)
        return best, policy, discounted_bound(jnp.max(jnp.abs(best - value)) + delta, factor), delta

    def unfinished(carry: tuple) -> jax.Array:
        _, (_, _, bound, delta), iteration = carry
        floor = discounted_bound(2 * delta, factor)
        return (bound > jnp.maximum(tolerance, floor)) & (iteration < max_iterations)

    def improve(carry: tuple) -> tuple:
        value, (best, policy, _, _), iteration = carry
        change = best - value
        value = best + factor / (1 - factor) * (jnp.max(change) + jnp.min(change)) / 2
        if sweeps:
            chosen = _under(rows, policy)

            def sweep(_: jax.Array, value: jax.Array) -> jax.Array:
                return _q(chosen, discount, value)

            value = jax.lax.fori_loop(0, sweeps, sweep, value)
        return value, backed_up(value), iteration + 1

    start = jnp.zeros_like(mdp.initial)
    value, _, iterations = jax.lax.while_loop(unfinished, improve, (start, backed_up(start), jnp.int32(1)))
    return _plan(mdp, rows, value, unit, iterations)


@functools.partial(jax.jit, static_argnames="linear_steps")
def _policy_iteration(mdp: SparseMDP, unit: float, max_iterations: jax.Array, linear_steps: int) -> Plan:
    rows, discount = _by_action(mdp), mdp.discount

    def evaluate(value: jax.Array, policy: jax.Array) -> tuple:
        chosen = _under(rows, policy)
        reward_free = chosen._replace(reward=jnp.zeros_like(chosen.reward))

        def equation(v: jax.Array) -> jax.Array:
            return v - _q(reward_free, discount, v)

        def refine(_: jax.Array, value: jax.Array) -> jax.Array:
            missing = _q(chosen, discount, value) - value
            change = bicgstab(equation, missing, tol=1e-12, maxiter=linear_steps)[0]
            better = value + jnp.asarray(change)
            closer = jnp.max(jnp.abs(_q(chosen, discount, better) - better)) < jnp.max(jnp.abs(missing))
            return jnp.where(closer, better, value)

        value = jax.lax.fori_loop(0, 3, refine, value)
        best, improved = _best(rows, discount, value)
        own = _q(chosen, discount, value)
        delta = _largest_rounding(mdp, value)
        doubt = 2 * delta + jnp.max(jnp.abs(own - value))
        return value, jnp.where(best - own > doubt, improved, policy)

    def unfinished(carry: tuple) -> jax.Array:
        policy, (_, improved), iteration = carry
        return jnp.any(policy != improved) & (iteration < max_iterations)

    def improve(carry: tuple) -> tuple:
        _, (value, improved), iteration = carry
        return improved, evaluate(value, improved), iteration + 1

    start, policy = _best(rows, discount, jnp.zeros_like(mdp.initial))
    _, (value, _), iterations = jax.lax.while_loop(unfinished, improve, (policy, evaluate(start, policy), jnp.int32(1)))
    return _plan(mdp, rows, value, unit, iterations)


def _in_double(solve: Callable[..., Plan], mdp: SparseMDP, *limits: Any, **static: int) -> Plan:
    """`solve` in float64 where nothing is traced, its plan in the type of the problem."""
    dtype = mdp.reward.dtype
    unit = float(jnp.finfo(dtype).eps)
    if not is_concrete(mdp, limits):
        return solve(mdp, unit, *limits, **static)
    with jax.enable_x64(True):
        plan = solve(cast_floats(mdp, jnp.float64), unit, *limits, **static)
        if dtype == jnp.float64:
            return plan
        size = jnp.where(jnp.isfinite(plan.q), jnp.abs(plan.q), 0)
        error = (plan.error + unit * size) * (1 + unit)
        of_value = (plan.value_error + unit * jnp.abs(plan.value)) * (1 + unit)
        bound = plan.certificate._replace(bound=jnp.max(of_value))
        plan = plan._replace(error=error, value_error=of_value, certificate=bound)
        return cast_floats(plan, dtype)


def _plan(mdp: SparseMDP, rows: Rows, value: jax.Array, unit: float, iterations: jax.Array) -> Plan:
    """The plan one backup after `value`; every entry has its own rounding, so that a penalty spoils no other."""

    def entry(row: Rows) -> tuple:
        return _q(row, mdp.discount, value), _q(row._replace(reward=jnp.abs(row.reward)), mdp.discount, jnp.abs(value))

    q, size = jax.tree.map(jnp.transpose, jax.lax.map(entry, rows))
    work = (mdp.probability.shape[-1] + 8) * jnp.finfo(q.dtype).eps
    rounding = jnp.where(jnp.isfinite(mdp.reward), (work + 3 * unit) * size, 0)
    residual = jnp.max(jnp.abs(jnp.max(q, axis=-1) - value))
    factor = _contraction(mdp, unit)
    behind = discounted_bound(residual + jnp.max(rounding), factor)  # how far `value` is from optimal
    error = jnp.where(jnp.isfinite(mdp.reward), rounding + factor * behind, 0)
    error = jnp.where(jnp.isnan(error), jnp.inf, error)
    return _with_certificate(q, rounding, error, residual, iterations)


def _with_certificate(
    q: jax.Array, rounding: jax.Array, error: jax.Array, residual: jax.Array, iterations: jax.Array
) -> Plan:
    policy, ties = greedy(q, rounding, error)
    of_value = value_error(q, error)
    of_value = jnp.where(jnp.isnan(of_value), jnp.inf, of_value)
    return Plan(
        value=jnp.max(q, axis=-1),
        q=q,
        policy=policy,
        ties=ties,
        error=error,
        value_error=of_value,
        certificate=certificate(residual, jnp.max(of_value), iterations),
    )


def _by_action(mdp: SparseMDP) -> Rows:
    return Rows(
        successor=jnp.transpose(mdp.successor, (1, 2, 0)),
        probability=jnp.transpose(mdp.probability, (1, 2, 0)),
        reward=mdp.reward.T,
    )


def _under(rows: Rows, policy: jax.Array) -> Rows:
    """The rows of the policy's actions, without the axis A."""

    def chosen(array: jax.Array) -> jax.Array:
        index = policy.reshape((1,) * (array.ndim - 1) + policy.shape)
        return jnp.take_along_axis(array, index, axis=0)[0]

    return jax.tree.map(chosen, rows)


def _q(row: Rows, discount: jax.Array, value: jax.Array) -> jax.Array:
    """`r + gamma sum_k p_k v(s'_k)`, [S], of rows [K, S]."""
    ahead = jnp.zeros_like(row.reward)
    for k in range(row.successor.shape[0]):
        ahead = ahead + row.probability[k] * value.at[row.successor[k]].get(mode="promise_in_bounds")
    return row.reward + discount * ahead


def _best(rows: Rows, discount: jax.Array, value: jax.Array) -> tuple[jax.Array, jax.Array]:
    """`max_a q` and the lowest action that has it, each [S]."""

    def better(best: tuple, candidate: tuple) -> tuple:
        row, action = candidate
        q = _q(row, discount, value)
        return (jnp.maximum(best[0], q), jnp.where(q > best[0], action, best[1])), None

    actions, successors, _ = rows.successor.shape
    best = (jnp.full_like(value, -jnp.inf), jnp.zeros(value.shape, jnp.int32))
    if actions * successors > UNROLLED:
        return jax.lax.scan(better, best, (rows, jnp.arange(actions, dtype=jnp.int32)))[0]
    for action in range(actions):
        best, _ = better(best, (jax.tree.map(operator.itemgetter(action), rows), action))
    return best


def _contraction(mdp: SparseMDP, unit: float) -> jax.Array:
    """`gamma rho`, with room for the rounding of P, of gamma and of the sum."""
    eps = jnp.finfo(mdp.probability.dtype).eps
    widest = jnp.max(jnp.sum(mdp.probability, axis=-1))
    room = 1 + mdp.probability.shape[-1] * eps + 2 * unit
    return mdp.discount * jnp.maximum(widest * room, 1)


def _largest_rounding(mdp: SparseMDP, value: jax.Array) -> jax.Array:
    """A bound on `delta(s,a)` for all entries at once: what stopping needs, without another pass over P."""
    reward = jnp.max(jnp.where(jnp.isfinite(mdp.reward), jnp.abs(mdp.reward), 0))
    eps = jnp.finfo(mdp.probability.dtype).eps
    return (mdp.probability.shape[-1] + 8) * eps * (reward + _contraction(mdp, 0.0) * jnp.max(jnp.abs(value)))


def _validate_discounted(mdp: SparseMDP, max_iterations: int) -> None:
    validate(mdp)
    check_shape("reward", mdp.reward, "S A")
    if is_concrete(max_iterations):
        positive_integer("max_iterations", max_iterations)
    if is_concrete(mdp.discount) and not bool(jnp.all(mdp.discount < 1)):
        raise ValueError(f"discount: {mdp.discount}; expected a number below 1 for an endless horizon")
