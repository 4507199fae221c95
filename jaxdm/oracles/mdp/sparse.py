"""Certified planning in sparse MDPs: value iteration, modified policy iteration, policy iteration.

Dimensions: `S` states, `A` actions, `K` successors of a state and an action. Nothing here has a batch axis. On a CPU
many problems are solved one after the other, `numerics.batched_map(solve, problems, 1)`: under `vmap` each iterates
until the slowest has ended, and gathers with an axis for problems are slow (S = 5,000, A = 10, K = 5, 4 problems: 9 ms
of processor time for each against 33 ms).

Certificates mean what they mean in `jaxdm.oracles.mdp.bellman`, with K in the place of S and one bound for each entry:
a computed backup is off by at most `delta(s,a) = (K + 8) eps (|r(s,a)| + gamma sum_k p_k |v(s'_k)|)`, and by
`3 eps_0` times the same sum for parameters that were rounded to a float type of unit `eps_0`. Outside a trace
everything is computed in float64, whatever the problem's type: `eps_0` widens the certificate and stops no iteration.
Inside a trace the problem's type decides.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.sparse.linalg import bicgstab

from jaxdm.envs.sparse_mdp import SparseMDP, validate
from jaxdm.numerics import apply_if, cast_floats
from jaxdm.oracles.mdp.bellman import discounted_bound, greedy, loss_of, value_error
from jaxdm.oracles.mdp.planning import UNEVEN, Plan, discounted_plan
from jaxdm.validation import check_shape, integer, is_concrete, positive_integer
from jaxdm.validation import tolerance as checked_tolerance

UNROLLED = 64
"""Up to so many successors a backup is one loop over states and actions; it is compiled in proportion to them."""


LINEAR_STEPS = 1000
"""Steps of BiCGSTAB, at most, by which errors of states are told apart."""


class Rows(NamedTuple):
    """Transitions and rewards with the state as the last axis, so that a backup reads memory in order."""

    successor: jax.Array  # [K, A, S] int32, or [K, S] under a policy
    probability: jax.Array  # [K, A, S], or [K, S]
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
    wanted = tolerance * jnp.maximum(1 - factor, 0)

    def backed_up(value: jax.Array) -> tuple:
        q = _q(rows, discount, value)
        best, policy = jnp.max(q, axis=0), _argmax(q)
        return q, policy, best - value, _best_rounding(mdp, policy, best, value, factor)

    def unfinished(carry: tuple) -> jax.Array:
        _, (_, _, change, rounding), iteration = carry
        unsure = jnp.maximum(wanted - 5 * jnp.max(rounding), rounding)
        return ~jnp.all(jnp.abs(change) <= unsure) & (iteration < max_iterations)

    def improve(carry: tuple) -> tuple:
        value, (_, policy, change, rounding), iteration = carry
        middle = (jnp.max(change) + jnp.min(change)) / 2
        # The rounding of one state must not shift all others for ever.
        middle = jnp.where(jnp.abs(middle) > jnp.max(rounding), middle, 0)
        value = value + change + jnp.where(factor < 1, factor / (1 - factor), 0) * middle
        if sweeps:
            chosen = _under(mdp, policy)

            def sweep(_: jax.Array, value: jax.Array) -> jax.Array:
                return _q(chosen, discount, value)

            value = jax.lax.fori_loop(0, sweeps, sweep, value)
        return value, backed_up(value), iteration + 1

    start = jnp.zeros_like(mdp.initial)
    value, (q, _, _, _), iterations = jax.lax.while_loop(unfinished, improve, (start, backed_up(start), jnp.int32(1)))
    return _plan(mdp, rows, value, q, unit, iterations, tolerance)


@functools.partial(jax.jit, static_argnames="linear_steps")
def _policy_iteration(mdp: SparseMDP, unit: float, max_iterations: jax.Array, linear_steps: int) -> Plan:
    rows, discount = _by_action(mdp), mdp.discount
    factor = _contraction(mdp, 0.0)

    def evaluate(value: jax.Array, policy: jax.Array) -> tuple:
        chosen = _under(mdp, policy)
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
        q = _q(rows, discount, value)
        best, own, choice = jnp.max(q, axis=0), _q(chosen, discount, value), _argmax(q)
        of_own = _unit(mdp) * (2 * jnp.abs(chosen.reward) + jnp.abs(own))
        doubt = 2 * _best_rounding(mdp, choice, best, value, factor) + of_own + jnp.max(jnp.abs(own - value))
        return value, q, jnp.where(best - own > doubt, choice, policy)

    def unfinished(carry: tuple) -> jax.Array:
        policy, (_, _, improved), iteration = carry
        return jnp.any(policy != improved) & (iteration < max_iterations)

    def improve(carry: tuple) -> tuple:
        _, (value, _, improved), iteration = carry
        return improved, evaluate(value, improved), iteration + 1

    start = jnp.max(rows.reward, axis=0)
    policy = _argmax(rows.reward)
    first = evaluate(start, policy)
    _, (value, q, _), iterations = jax.lax.while_loop(unfinished, improve, (policy, first, jnp.int32(1)))
    return _plan(mdp, rows, value, q, unit, iterations, 0.0)


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
        # What the problem's type cannot hold becomes infinite in it, and then is not bounded.
        largest = float(jnp.finfo(dtype).max)
        error = jnp.where(size <= largest, error, jnp.inf)
        of_value = jnp.where(jnp.abs(plan.value) <= largest, of_value, jnp.inf)
        bound = plan.certificate._replace(bound=jnp.max(of_value))
        plan = plan._replace(error=error, value_error=of_value, certificate=bound)
        return cast_floats(plan, dtype)


def _plan(
    mdp: SparseMDP,
    rows: Rows,
    value: jax.Array,
    q: jax.Array,
    unit: float,
    iterations: jax.Array,
    wanted: jax.Array | float,
) -> Plan:
    """The plan of the backup `q` [A, S] of `value` [S]; every entry has its own bound: a penalty spoils no other.

    Where one bound for what is behind all states is more than `wanted`, and their own errors differ much, each state
    gets its own.

    What is done for every entry is done on [A, S], as in `planning`.
    """
    open_ = rows.reward != -jnp.inf
    size = _q(rows._replace(reward=jnp.abs(rows.reward)), mdp.discount, jnp.abs(value))
    tiny = float(jnp.finfo(q.dtype).tiny) / float(jnp.finfo(q.dtype).eps)
    rounding = jnp.where(open_, (_unit(mdp) + 3 * unit) * (size + 2 * tiny), 0)
    rounding = jnp.where(jnp.isnan(rounding), jnp.inf, rounding)
    change = jnp.abs(jnp.max(q, axis=0) - value)
    factor = _contraction(mdp, unit)
    of_state = change + value_error(q, rounding, 0)
    behind = discounted_bound(jnp.max(of_state), factor)  # how far `value` is from optimal
    error = jnp.where(open_, rounding + factor * behind, 0)
    error = jnp.where(jnp.isnan(error), jnp.inf, error)
    uneven = (behind > wanted) & (UNEVEN * jnp.min(of_state) < jnp.max(of_state))
    error = apply_if(uneven, _by_states, error, mdp, rows, q, rounding, change, behind, unit)
    policy, ties = greedy(q, rounding, error, 0)
    return discounted_plan(q, policy, ties, error, change, iterations)


def _by_states(
    error: jax.Array,
    mdp: SparseMDP,
    rows: Rows,
    q: jax.Array,
    rounding: jax.Array,
    change: jax.Array,
    behind: jax.Array,
    unit: jax.Array | float,
) -> jax.Array:
    """Bounds of the entries, [A, S], from one bound for each state, as `planning` has them.

    A vector e with `e >= change + max_a (rounding_a - loss_a + gamma P_a e)` bounds `|v - v*|`. What BiCGSTAB leaves of
    that is added to all of it, divided by `1 - gamma rho`.
    """
    factor, room = _contraction(mdp, unit), 1 + 2 * _unit(mdp) + 3 * unit
    free, own = rows._replace(reward=jnp.zeros_like(rows.reward)), rounding - loss_of(q, 0)

    def carried(bound: jax.Array) -> jax.Array:
        return room * _q(free, mdp.discount, bound)

    def improve(_: int, bound: jax.Array) -> jax.Array:
        policy = _argmax(own + carried(bound))
        chosen = _under(mdp, policy)
        chosen = chosen._replace(reward=jnp.zeros_like(chosen.reward))
        of_policy = jnp.take_along_axis(own, policy[None], axis=0)[0]
        paid = change + of_policy + 4 * _unit(mdp) * (change + jnp.abs(of_policy))

        def equation(e: jax.Array) -> jax.Array:
            return e - room * (1 + 4 * _unit(mdp)) * _q(chosen, mdp.discount, e)

        solved = jnp.maximum(jnp.asarray(bicgstab(equation, paid, x0=paid, tol=1e-12, maxiter=LINEAR_STEPS)[0]), 0)
        missing = jnp.max((1 + 2 * _unit(mdp)) * (change + jnp.max(own + carried(solved), axis=0)) - solved)
        solved = solved + jnp.where(missing <= 0, 0, room * discounted_bound(missing, factor))
        return jnp.fmin(bound, solved)

    states = jax.lax.fori_loop(0, 3, improve, jnp.full_like(change, behind))
    sharper = jnp.where(rows.reward != -jnp.inf, rounding + carried(states), 0)
    return jnp.fmin(error, sharper)


def _by_action(mdp: SparseMDP) -> Rows:
    return Rows(
        successor=jnp.transpose(mdp.successor, (2, 1, 0)),
        probability=jnp.transpose(mdp.probability, (2, 1, 0)),
        reward=mdp.reward.T,
    )


def _under(mdp: SparseMDP, policy: jax.Array) -> Rows:
    """The rows of the policy's actions, without the axis A; gathered where a row lies in one place."""
    states, actions, successors = mdp.successor.shape
    pair = jnp.arange(states, dtype=jnp.int32) * actions + policy
    return Rows(
        successor=_gather(mdp.successor.reshape(-1, successors), pair).T,
        probability=_gather(mdp.probability.reshape(-1, successors), pair).T,
        reward=_gather(mdp.reward.ravel(), pair),
    )


def _gather(values: jax.Array, index: jax.Array) -> jax.Array:
    """`values[index]` of indices that are known to be good: no test of each for its sign."""
    return values.at[index].get(mode="promise_in_bounds", wrap_negative_indices=False)


def _q(rows: Rows, discount: jax.Array, value: jax.Array) -> jax.Array:
    """`r + gamma sum_k p_k v(s'_k)`, [A, S], or [S] under a policy."""

    def add(ahead: jax.Array, successors: tuple) -> tuple:
        successor, probability = successors
        return ahead + probability * _gather(value, successor), None

    ahead = jnp.zeros_like(rows.reward)
    if rows.successor.shape[0] > UNROLLED:
        ahead, _ = jax.lax.scan(add, ahead, (rows.successor, rows.probability))
    else:
        for k in range(rows.successor.shape[0]):
            ahead, _ = add(ahead, (rows.successor[k], rows.probability[k]))
    return rows.reward + discount * ahead


def _argmax(q: jax.Array) -> jax.Array:
    return jnp.argmax(q, axis=0).astype(jnp.int32)


def _best_rounding(
    mdp: SparseMDP, policy: jax.Array, best: jax.Array, value: jax.Array, factor: jax.Array
) -> jax.Array:
    """A bound on `delta` of the best entry of each state, [S], without a product: `P|v| <= |P v| + rho m`.

    `m = 2 min(max v^+, max v^-)`, as in `bellman`; and `|gamma P v| <= |q| + |r|`.
    """
    kind = jnp.finfo(best.dtype)
    states, actions = mdp.reward.shape
    paid = jnp.abs(_gather(mdp.reward.ravel(), jnp.arange(states, dtype=jnp.int32) * actions + policy))
    mixed = 2 * jnp.maximum(jnp.minimum(jnp.max(value), -jnp.min(value)), 0)
    tiny = 2 * float(kind.tiny) / float(kind.eps)
    return _unit(mdp) * (2 * paid + jnp.abs(best) + factor * mixed + tiny)


def _unit(mdp: SparseMDP) -> float:
    """`(K + 8) eps`."""
    return (mdp.probability.shape[-1] + 8) * float(jnp.finfo(mdp.probability.dtype).eps)


def _contraction(mdp: SparseMDP, unit: jax.Array | float) -> jax.Array:
    """`gamma rho`, with room for the rounding of P, of gamma and of the sum."""
    eps = jnp.finfo(mdp.probability.dtype).eps
    widest = jnp.max(jnp.sum(mdp.probability, axis=-1))
    room = 1 + mdp.probability.shape[-1] * eps + 2 * unit
    return mdp.discount * jnp.maximum(widest * room, 1)


def _validate_discounted(mdp: SparseMDP, max_iterations: int) -> None:
    validate(mdp)
    check_shape("reward", mdp.reward, "S A")
    if is_concrete(max_iterations):
        positive_integer("max_iterations", max_iterations)
    if is_concrete(mdp.discount) and not bool(jnp.all(mdp.discount < 1)):
        raise ValueError(f"discount: {mdp.discount}; expected a number below 1 for an endless horizon")
