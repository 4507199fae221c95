"""Exact planning in finite MDPs, each result with a certificate.

Dimensions: `S` states, `A` actions, `H` steps. Nothing here has a batch axis: write `jax.jit(jax.vmap(f))`.

Where the guarantees come from is told in `jaxdm.oracles.mdp.bellman`.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxdm.envs.mdp import MDP, available, validate
from jaxdm.numerics import apply_if
from jaxdm.oracles.mdp.bellman import (
    backup,
    certificate,
    contraction,
    discounted_bound,
    errors,
    greedy,
    loss_of,
    require_range,
    row_excess,
    size_of,
    solve_linear,
    unit_of,
    validate_discounted,
    value_error,
)
from jaxdm.types import Certificate
from jaxdm.validation import check_shape, integer, is_concrete, positive_integer, real_array
from jaxdm.validation import tolerance as checked_tolerance

UNEVEN = 16
"""Where one state's own error is so many times another's, each gets its own bound by a further solve."""


POLISHED = 32
"""Backups, at most, by which differences of values are made exact before actions are compared by them."""


OPEN = 64
"""Where an action's loss is so many times its rounding and it is still not told from the best, a solve may do it."""


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
    horizon = positive_integer("horizon", horizon)
    validate(mdp)
    check_shape("transition", mdp.transition, "S A S")
    require_range(mdp.reward, horizon)
    return _induce(mdp, None, horizon, terminal)


def backward_induction_staged(stages: MDP, terminal: jax.Array | None = None) -> Plan:
    """The same when every step has its own MDP: all fields of `stages` have a leading axis [H].

    Raises:
        ValueError: a bad MDP (see `jaxdm.envs.mdp.validate`), no leading axis, or a terminal value of another shape.
    """
    validate(stages)
    check_shape("transition", stages.transition, "H S A S")
    require_range(stages.reward, stages.transition.shape[0])
    first = jax.tree.map(lambda x: x[0], stages)
    return _induce(first, stages, stages.transition.shape[0], terminal)


def _induce(fixed: MDP, stages: MDP | None, horizon: int, terminal: jax.Array | None) -> Plan:
    states, dtype = fixed.transition.shape[-1], fixed.transition.dtype
    last = jnp.zeros(states, dtype) if terminal is None else real_array("terminal", terminal, "S", dtype, S=states)

    def step(value: jax.Array, stage: MDP | None) -> tuple:
        q = backup(fixed if stage is None else stage, value).T
        return jnp.max(q, axis=0), q

    _, q = jax.lax.scan(step, last, stages, length=horizon, reverse=True)  # [H, A, S]
    value = jnp.concatenate([jnp.max(q, axis=1), last[None]])
    every = jax.tree.map(lambda x: x[None], fixed) if stages is None else stages
    reward = jnp.broadcast_to(jnp.swapaxes(every.reward, 1, 2), q.shape)
    own, whole = _errors_without_products(reward, jax.vmap(contraction)(every), q, value)
    policy, ties = greedy(q, unit_of(fixed) * size_of(reward, q), whole, 1)

    def sharpened(found: tuple, fixed: MDP, stages: MDP | None, q: jax.Array, value: jax.Array) -> tuple:
        error = jnp.minimum(found[0], jnp.swapaxes(_errors_by_products(fixed, stages, q, value), 1, 2))
        return error, greedy(q, error, error, 1)[1]

    # Sharper bounds cost as much as the plan: they are found where a decision is left open that they may close.
    unclear = jnp.any(ties & (loss_of(q, 1) > 4 * own))
    error, ties = apply_if(unclear, sharpened, (whole, ties), fixed, stages, q, value)
    behind = value_error(q, error, 1)
    return Plan(
        value=value,
        q=jnp.swapaxes(q, 1, 2),
        policy=policy,
        ties=jnp.swapaxes(ties, 1, 2),
        error=jnp.swapaxes(error, 1, 2),
        value_error=behind,
        certificate=certificate(jnp.zeros((), dtype), jnp.max(behind), horizon),
    )


def _errors_without_products(
    reward: jax.Array, factor: jax.Array, q: jax.Array, value: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Bounds of every entry over a finite horizon, from what the recursion computed alone.

    With `m = 2 min(max v^+, max v^-)`, `|v| <= w <= |v| + m` for `w = v + m` or `w = m - v`, and so
    `P|v| <= |P v| + rho m`. Where the values ahead are known to `c w + k`, an entry is known to
    `delta + c (|gamma P v| + gamma rho m) + gamma rho k`; `c` grows by one unit a step, and `k` by what is left. Where
    signs are mixed the largest modulus for all states serves better: the smaller of the two bounds is returned.

    Args:
        reward: [H, A, S].
        factor: [H] or [1], `gamma rho`.
        q: [H, A, S].
        value: [H + 1, S].

    Returns:
        [H, A, S] the part of the bounds that is the entry's own, without m and k; and the bounds.
    """
    horizon, _, states = q.shape
    kind = jnp.finfo(q.dtype)
    unit = (states + 8) * kind.eps
    open_ = reward != -jnp.inf
    paid = jnp.where(open_, jnp.abs(reward), 0)
    ahead = size_of(reward, q) - paid
    factor = jnp.broadcast_to(factor, (horizon,)) * (1 + unit)
    high, low = jnp.max(value, axis=-1), -jnp.min(value, axis=-1)
    mixed = 2 * jnp.maximum(jnp.minimum(high, low), 0)
    weight = jnp.where(high >= low, 1, -1)[:, None] * value + mixed[:, None]
    left = jnp.arange(horizon, 0, -1).astype(q.dtype)
    grown = unit * (1 + unit) ** left
    steps = ((left - 1) * grown)[:, None, None]
    tiny = 2 * kind.tiny / kind.eps

    def entry(ahead: jax.Array) -> jax.Array:
        return unit * (paid + ahead + tiny) + steps * ahead

    def carried(more: jax.Array) -> jax.Array:
        """`x_{h+1}` of `x_h = more_h + gamma rho x_{h+1}`, `x_H = 0`, beside the entries of step h."""

        def step(behind: jax.Array, at: tuple) -> tuple:
            return at[0] + at[1] * behind, at[1] * behind

        return jax.lax.scan(step, jnp.zeros((), q.dtype), (more, factor), reverse=True)[1][:, None, None]

    local = entry(ahead + (factor * mixed[1:])[:, None, None])
    missing = value_error(q, local, 1) - (left * grown)[:, None] * weight[:-1]
    by_weight = local + carried(jnp.maximum(jnp.max(missing, axis=1), 0))
    largest = jnp.max(jnp.abs(value), axis=-1)
    next_largest = factor * largest[1:]
    # What is paid where values are made is the difference of two values.
    most = jnp.minimum(jnp.max(paid, axis=(1, 2)), (largest[:-1] + next_largest) * (1 + 2 * unit))
    by_largest = carried(unit * (most + next_largest + tiny)) + unit * (paid + next_largest[:, None, None] + tiny)
    whole = jnp.minimum(by_weight, by_largest)
    whole = jnp.where(jnp.isnan(whole), jnp.inf, whole)
    return jnp.where(open_, entry(ahead), 0), jnp.where(open_, whole, 0)


def _errors_by_products(fixed: MDP, stages: MDP | None, q: jax.Array, value: jax.Array) -> jax.Array:
    """Bounds of every entry, [H, S, A], by `e_h(s,a) = delta_h(s,a) + gamma sum_s' P(s'|s,a) e_{h+1}(s')`."""

    def step(behind: jax.Array, at: tuple) -> tuple:
        stage, q, value = at
        error = errors(fixed if stage is None else stage, value, behind)
        return value_error(q.T, error), error

    return jax.lax.scan(step, jnp.zeros_like(value[0]), (stages, q, value[1:]), reverse=True)[1]


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
        ValueError: tolerance <= 0, max_iterations < 1, discount 1, or a bad MDP (where values are concrete).

    Reference: Puterman 1994, section 6.6; MacQueen, J. Math. Anal. Appl. 14, 1966.
    """
    checked_tolerance("tolerance", tolerance)
    _check_cap(max_iterations)
    validate_discounted(mdp)
    factor = contraction(mdp)
    narrowest = jnp.min(jnp.sum(mdp.transition, axis=-1))
    pull = mdp.discount * jnp.minimum(narrowest, 1)
    wanted, shift = tolerance * jnp.maximum(1 - factor, 0), jnp.where(pull < 1, pull / (1 - pull), 0)

    def measured(value: jax.Array) -> tuple:
        q = backup(mdp, value).T
        best = jnp.max(q, axis=0)
        change = best - value
        return q, change, jnp.max(change), jnp.min(change), unit_of(mdp) * jnp.max(jnp.abs(best))

    def unfinished(carry: tuple) -> jax.Array:
        _, (_, _, high, low, rounding), iteration = carry
        # A best entry has |r| + |gamma P v| below four times the largest value.
        enough = jnp.maximum(wanted - 5 * rounding, rounding)
        return (jnp.maximum(high, -low) > enough) & (iteration < max_iterations)

    def improve(carry: tuple) -> tuple:
        value, (_, change, high, low, rounding), iteration = carry
        value = _shifted(value, change, (high + low) / 2, rounding, shift)
        return value, measured(value), iteration + 1

    start = jnp.zeros_like(mdp.reward[:, 0])
    first = (start, measured(start), jnp.int32(1))
    value, (q, _, high, low, rounding), iteration = jax.lax.while_loop(unfinished, improve, first)
    # Where the largest value's rounding ended this, large penalties may be paid that are no measure for other states.
    coarse = ~(jnp.maximum(high, -low) <= wanted - 5 * rounding) & (iteration < max_iterations)
    limits = _Limits(factor=factor, wanted=wanted, shift=shift, max_iterations=jnp.asarray(max_iterations))
    return _discounted_plan(mdp, value, q, iteration, tolerance, (coarse, limits))


class _Limits(NamedTuple):
    """What value iteration goes by."""

    factor: jax.Array  # [] gamma rho
    wanted: jax.Array  # [] change that is small enough
    shift: jax.Array  # [] of the middle of a change
    max_iterations: jax.Array  # []


def _shifted(
    value: jax.Array, change: jax.Array, middle: jax.Array, rounding: jax.Array, shift: jax.Array
) -> jax.Array:
    """The next values; a middle below the rounding of one state does not shift all others for ever.

    Rows below one pull a shift back: `shift` is for all rows as if they were the narrowest, and never goes too far.
    """
    return value + change + shift * jnp.where(jnp.abs(middle) > rounding, middle, 0)


def _until_each_is_rounding(found: tuple, mdp: MDP, limits: _Limits) -> tuple:
    """Value iteration from values, their backup and the number of these, until every state's change is rounding."""

    def measured(q: jax.Array, value: jax.Array) -> tuple:
        best = jnp.max(q, axis=0)
        return q, best - value, _best_rounding(mdp, q, best, value, limits.factor)

    def unfinished(carry: tuple) -> jax.Array:
        _, (_, change, rounding), iteration = carry
        enough = jnp.maximum(limits.wanted - 5 * jnp.max(rounding), rounding)
        return jnp.any(jnp.abs(change) > enough) & (iteration < limits.max_iterations)

    def improve(carry: tuple) -> tuple:
        value, (_, change, rounding), iteration = carry
        middle = (jnp.max(change) + jnp.min(change)) / 2
        value = _shifted(value, change, middle, jnp.max(rounding), limits.shift)
        return value, measured(backup(mdp, value).T, value), iteration + 1

    value, q, iteration = found
    value, (q, _, _), iteration = jax.lax.while_loop(unfinished, improve, (value, measured(q, value), iteration))
    return value, q, iteration


def _check_cap(max_iterations: Any) -> None:
    if is_concrete(max_iterations):
        positive_integer("max_iterations", max_iterations)


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
    _check_cap(max_iterations)
    sweeps = integer("sweeps", sweeps, 0)
    validate_discounted(mdp)
    rows = jnp.arange(mdp.reward.shape[0])

    factor = contraction(mdp)

    def evaluate(policy: jax.Array) -> tuple:
        value = solve_linear(mdp.transition[rows, policy], mdp.reward[rows, policy], mdp.discount)
        q = backup(mdp, value).T
        best, own = jnp.max(q, axis=0), q[policy, rows]
        of_best = _best_rounding(mdp, q, best, value, factor)
        of_own = unit_of(mdp) * (2 * jnp.abs(mdp.reward[rows, policy]) + jnp.abs(own))
        improved = jnp.where(best - own > 2 * of_best + of_own, jnp.argmax(q, axis=0).astype(jnp.int32), policy)
        return value, q, improved

    def unfinished(carry: tuple) -> jax.Array:
        policy, (_, _, improved), iteration = carry
        return jnp.any(policy != improved) & (iteration < max_iterations)

    def improve(carry: tuple) -> tuple:
        _, (_, _, improved), iteration = carry
        return improved, evaluate(improved), iteration + 1

    warm = jax.lax.fori_loop(0, sweeps, lambda _, v: jnp.max(backup(mdp, v), axis=-1), jnp.max(mdp.reward, axis=-1))
    first = jnp.argmax(backup(mdp, warm), axis=-1).astype(jnp.int32)
    _, (value, q, _), iterations = jax.lax.while_loop(unfinished, improve, (first, evaluate(first), 1))
    return _discounted_plan(mdp, value, q, iterations)


def _best_rounding(mdp: MDP, q: jax.Array, best: jax.Array, value: jax.Array, factor: jax.Array) -> jax.Array:
    """`_rounding` of the best entry of a state, at most, [S]: `|gamma P v| <= |q| + |r|`."""
    paid = jnp.max(jnp.where(q == best[None], jnp.abs(mdp.reward.T), 0), axis=0)
    return unit_of(mdp) * (2 * paid + jnp.abs(best) + _mixed(value, factor) + _least(best))


def _mixed(value: jax.Array, factor: jax.Array) -> jax.Array:
    """`gamma rho m`, [], with `m = 2 min(max v^+, max v^-)`: zero where values have one sign."""
    mixed = 2 * jnp.maximum(jnp.minimum(jnp.max(value), -jnp.min(value)), 0)
    return factor * jnp.minimum(mixed, jnp.max(jnp.abs(value)))


def _least(value: jax.Array) -> float:
    """What underflow adds, in units of `eps`."""
    kind = jnp.finfo(value.dtype)
    return 2 * float(kind.tiny) / float(kind.eps)


def _rounding(mdp: MDP, q: jax.Array, value: jax.Array, factor: jax.Array) -> jax.Array:
    """`delta(s,a)` of a backup of `value` [S], at most, without another product: `P|v| <= |P v| + rho m`, [A, S]."""
    rounding = unit_of(mdp) * (size_of(mdp.reward.T, q) + _mixed(value, factor) + _least(value))
    rounding = jnp.where(jnp.isnan(rounding), jnp.inf, rounding)
    return jnp.where(available(mdp).T, rounding, 0)


class _Draft(NamedTuple):
    """A plan with one bound for all that is behind, and whether more work may sharpen it."""

    plan: Plan
    behind: jax.Array  # [] how far the vector that was backed up may be from optimal
    uneven: jax.Array  # [] bool, states' own errors differ much
    unclear: jax.Array  # [] bool, some action is not told from the best by its bound, but by far by its rounding


def _discounted_plan(
    mdp: MDP,
    value: jax.Array,
    q: jax.Array,
    iterations: jax.Array | int,
    wanted: jax.Array | float = 0.0,
    further: tuple[jax.Array, _Limits] | None = None,
) -> Plan:
    """The plan of the backup `q` [A, S] of a vector [S] that is nearly optimal.

    What is seldom needed is in one loop: each such loop costs a fifth of a small plan (S = 50, A = 5).

    Args:
        mdp: the world.
        value: [S].
        q: [A, S].
        iterations: backups or rounds behind them.
        wanted: the bound that is sharp enough.
        further: whether value iteration may get further by each state's own rounding, and its limits.
    """
    draft = _draft(mdp, value, q, iterations)
    more = (draft.uneven & (draft.behind > wanted)) | draft.unclear
    more = more if further is None else more | further[0]
    return apply_if(more, _sharpened, draft.plan, mdp, value, q, iterations, wanted, further)


def _draft(mdp: MDP, value: jax.Array, q: jax.Array, iterations: jax.Array | int) -> _Draft:
    factor = contraction(mdp)
    best = jnp.max(q, axis=0)
    rounding = _rounding(mdp, q, value, factor)
    change = jnp.abs(best - value)
    of_state = change + value_error(q, rounding, 0)
    behind = discounted_bound(jnp.max(of_state), factor)
    error = rounding + factor * behind
    error = jnp.where(available(mdp).T, jnp.where(jnp.isnan(error), jnp.inf, error), 0)
    policy, ties = greedy(q, unit_of(mdp) * size_of(mdp.reward.T, q), error, 0)
    return _Draft(
        plan=discounted_plan(q, policy, ties, error, change, iterations),
        behind=behind,
        uneven=UNEVEN * jnp.min(of_state) < jnp.max(of_state),
        unclear=_unclear(mdp, q, ties),
    )


def _unclear(mdp: MDP, q: jax.Array, ties: jax.Array) -> jax.Array:
    return jnp.any(ties & (loss_of(q, 0) > 4 * unit_of(mdp) * size_of(mdp.reward.T, q)))


def _sharpened(
    plan: Plan,
    mdp: MDP,
    value: jax.Array,
    q: jax.Array,
    iterations: jax.Array | int,
    wanted: jax.Array | float,
    further: tuple[jax.Array, _Limits] | None,
) -> Plan:
    """The plan after all that may sharpen it, each only where it does."""
    if further is not None:
        value, q, iterations = apply_if(further[0], _until_each_is_rounding, (value, q, iterations), mdp, further[1])
    draft = _draft(mdp, value, q, iterations)
    uneven = draft.uneven & (draft.behind > wanted)
    error = apply_if(uneven, _by_states, draft.plan.error.T, mdp, value, q, draft.behind)
    own = unit_of(mdp) * size_of(mdp.reward.T, q)
    decided = greedy(q, own, error, 0)
    # What all values have in common is known to 1 / (1 - gamma) times what their differences are.
    of_best = jnp.max(own, axis=0, where=q == jnp.max(q, axis=0)[None], initial=0)
    policy, ties = apply_if(_unclear(mdp, q, decided[1]), _by_differences, decided, mdp, value, draft.behind, of_best)
    return discounted_plan(q, policy, ties, error, jnp.abs(jnp.max(q, axis=0) - value), iterations)


def discounted_plan(
    q: jax.Array, policy: jax.Array, ties: jax.Array, error: jax.Array, change: jax.Array, iterations: jax.Array | int
) -> Plan:
    """The record of what was found with the states as the last axis.

    Args:
        q: [A, S].
        policy: [S].
        ties: [A, S].
        error: [A, S].
        change: [S] `|T v - v|`, of the vector v whose backup is `q`.
        iterations: backups or rounds.
    """
    of_value = value_error(q, error, 0)
    return Plan(
        value=jnp.max(q, axis=0),
        q=q.T,
        policy=policy,
        ties=ties.T,
        error=error.T,
        value_error=of_value,
        certificate=certificate(jnp.max(change), jnp.max(of_value), iterations),
    )


def _by_states(error: jax.Array, mdp: MDP, value: jax.Array, q: jax.Array, behind: jax.Array) -> jax.Array:
    """Bounds of the entries, [A, S], from one bound for each state: a state's error goes only where its value goes.

    `|v* - v| <= |T v - v| + max_a (delta_a + gamma P_a |v* - v| - loss_a)`: from above by the optimal action, from
    below by the greedy one, whose loss is zero.

    Args:
        error: [A, S] bounds so far.
        mdp: the world.
        value: [S] nearly optimal.
        q: [A, S] its backup.
        behind: [] how far it may be from optimal.
    """
    change = jnp.abs(jnp.max(q, axis=0) - value)
    states = _least_bound(mdp, errors(mdp, value).T - loss_of(q, 0), change, jnp.full_like(value, behind))
    return jnp.minimum(error, errors(mdp, value, states).T)


def _least_bound(mdp: MDP, own: jax.Array, common: jax.Array, start: jax.Array) -> jax.Array:
    """A vector `e`, [S], near the least one with `e >= common + max_a (own_a + gamma P_a e) = U e`.

    Whatever obeys `x <= U x` is at most each e with `U e <= e`, since U is monotone and a contraction: no x exceeds e
    by most in a state. Three rounds of policy iteration on U find such a vector; what a solution lacks of `U e <= e`
    is added to all of it, divided by `1 - gamma rho`.

    Args:
        mdp: transitions, whose rows may also sum to less than one, and discount.
        own: [A, S].
        common: [S].
        start: [S] an upper bound that is known.
    """
    unit, factor, rows = unit_of(mdp), contraction(mdp), jnp.arange(start.shape[0])
    free = mdp._replace(reward=jnp.zeros_like(mdp.reward))

    def carried(bound: jax.Array) -> jax.Array:
        return own + (1 + 2 * unit) * backup(free, bound).T

    def improve(_: int, bound: jax.Array) -> jax.Array:
        policy = jnp.argmax(carried(bound), axis=0)
        paid = common + own[policy, rows]
        paid = paid + 4 * unit * (common + jnp.abs(own[policy, rows]))
        solved = solve_linear(mdp.transition[rows, policy], paid, mdp.discount * (1 + 6 * unit))
        solved = jnp.maximum(solved, 0)
        missing = jnp.max((1 + unit) * (common + jnp.max(carried(solved), axis=0)) - solved)
        solved = solved + jnp.where(missing <= 0, 0, (1 + unit) * discounted_bound(missing, factor))
        return jnp.fmin(bound, solved)

    return jax.lax.fori_loop(0, 3, improve, start)


def _by_differences(
    decided: tuple, mdp: MDP, value: jax.Array, behind: jax.Array, rounding: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Policy [S] and ties [A, S] from differences of values, which rounding does not blur by `1 / (1 - gamma)`.

    Let `v = c + h` with a number c. Then `T v - c = max_a (r - (1 - gamma) c + gamma (P h + c (P 1 - 1)))`, whose terms
    are small where h is. Backups of h alone are repeated while they gain. Let `e = v* - v` lie within w of some number:
    for any vector u, `P e` is a number and at most `kappa w`, with `kappa = max_{s,a} |P(.|s,a) - u|_1`; hence
    `w <= (half the span of T v - v, and its errors) / (1 - gamma kappa)`, and two actions' values differ as those of v
    do but for `2 gamma kappa w`. Where rows have little in common, `gamma kappa >= 1`, another bound decides: let the
    number be e in the state k that is reached most. What a state's e differs from it by grows only until k is reached,
    `d <= |T v - v| + (1 - gamma) |e_k| + max_a (delta_a - loss_a + gamma sum_{s' != k} P(s'|s,a) d(s'))` for
    `d = |e - e_k|`. In states whose entries are rounded more than before, as those far from c are, what was decided
    stands.

    Args:
        decided: policy and ties so far.
        mdp: the world.
        value: [S] nearly optimal.
        behind: [] how far it may be from optimal.
        rounding: [S] of the best entries, as they were decided by.

    Reference: Puterman 1994, section 6.6 (span, and the delta coefficient of P, of which kappa is a bound).
    """
    kind, unit, states = jnp.finfo(value.dtype), unit_of(mdp), value.shape[0]
    open_ = available(mdp).T
    excess = row_excess(mdp.transition).T
    rest = 1 - mdp.discount
    factor = contraction(mdp)

    def relative(common: jax.Array, height: jax.Array) -> tuple:
        ahead = backup(mdp._replace(reward=jnp.zeros_like(mdp.reward)), height).T
        q = mdp.reward.T - rest * common + ahead + mdp.discount * common * excess
        change = jnp.max(q, axis=0) - height
        middle = (jnp.max(change) + jnp.min(change)) / 2
        return q, middle, change - middle

    def unfinished(carry: tuple) -> jax.Array:
        _, height, (_, _, change), before, count = carry
        largest, rounded = jnp.max(jnp.abs(change)), 4 * kind.eps * jnp.max(jnp.abs(height))
        return (largest < before) & (largest > rounded) & (count < POLISHED)

    def polish(carry: tuple) -> tuple:
        common, height, (_, middle, change), _, count = carry
        common, height = common + middle / rest, height + change
        return common, height, relative(common, height), jnp.max(jnp.abs(change)), count + 1

    common = jnp.sort(value)[value.shape[0] // 2]  # no penalty of a few states, as their mean would be
    start = (common, value - common, relative(common, value - common), jnp.asarray(jnp.inf, value.dtype), 0)
    common, height, (q, middle, change), _, _ = jax.lax.while_loop(unfinished, polish, start)
    # The common part is rounded with the parameters: half a unit in each probability, and in each sum of a row.
    of_common = mdp.discount * jnp.abs(common) * kind.eps * (0.51 + jnp.abs(excess) + (states + 4) * unit)
    delta = errors(mdp, height).T + unit * rest * jnp.abs(common) + of_common
    delta = jnp.where(open_, delta, 0)
    mean = jnp.mean(mdp.transition, axis=(0, 1))
    # `|p - u|_1 = p 1 + u 1 - 2 min(p, u) 1`, in two thirds of the time.
    shared = jnp.sum(jnp.minimum(mdp.transition, mean[None, None]), axis=-1).T
    around = 1 + excess + jnp.sum(mean) - 2 * shared + 4 * unit
    kappa = jnp.max(jnp.where(open_, around, 0))
    distance = behind + jnp.max(jnp.abs(value - common - height)) + kind.eps * jnp.max(jnp.abs(value))
    off = jnp.max(jnp.abs(change)) + jnp.max(value_error(q, delta, 0))
    distance = jnp.minimum(distance, discounted_bound((1 + unit) * (jnp.abs(middle) + off), factor))
    apart = (
        factor * distance * (jnp.max(jnp.abs(excess)) + kind.eps * (1 + states * unit))
    )  # rows that do not sum to one shift unevenly
    width = discounted_bound((1 + unit) * off + apart, factor * kappa)
    allowed = _Apart(
        middle=middle, change=change, delta=delta, distance=distance, apart=apart, carried=factor * kappa * width
    )
    error = jnp.where(open_, delta + apart + allowed.carried, 0)
    found = (*greedy(q, delta, error, 0), error)
    still = jnp.any(found[1] & (loss_of(q, 0) > OPEN * (delta + apart)))
    found = apply_if(still, _by_hitting_times, found, mdp, q, jnp.argmax(mean), allowed)
    of_best = jnp.max(jnp.where(loss_of(q, 0) == 0, delta, 0), axis=0)
    sharper = jnp.isfinite(distance) & (of_best <= rounding)
    return jnp.where(sharper, found[0], decided[0]), jnp.where(sharper[None], found[1], decided[1])


class _Apart(NamedTuple):
    """What `_by_differences` knows of the values `v = c + h` and of the error `e = v* - v`."""

    middle: jax.Array  # [] of the span of `T v - v`
    change: jax.Array  # [S] `T v - v` without it
    delta: jax.Array  # [A, S] rounding of the entries
    distance: jax.Array  # [] |e|
    apart: jax.Array  # [] what rows that do not sum to one do to differences
    carried: jax.Array  # [] `gamma kappa w`


def _by_hitting_times(found: tuple, mdp: MDP, q: jax.Array, most: jax.Array, known: _Apart) -> tuple:
    """Policy, ties and errors with the second bound of `_by_differences`: until the state k that is reached most."""
    unit, states = unit_of(mdp), mdp.reward.shape[0]
    before = mdp._replace(transition=jnp.where(jnp.arange(states) == most, 0, mdp.transition))
    even = jnp.abs(known.change) + jnp.abs(known.middle) + (1 - mdp.discount) * known.distance
    even = (1 + unit) * even + known.apart
    start = jnp.full(states, 2 * known.distance)
    heights = _least_bound(before, known.delta - loss_of(q, 0), even, start)
    ahead = (1 + unit) * backup(before._replace(reward=jnp.zeros_like(mdp.reward)), heights).T
    error = known.delta + known.apart + jnp.fmin(known.carried, ahead)
    error = jnp.where(available(mdp).T, error, 0)
    return (*greedy(q, known.delta, error, 0), error)
