"""Bounds on a POMDP's value from both sides, and the search that tightens them, for jit and vmap.

Dimensions: `S` states, `A` actions, `O` observations, `L` layers, `K` vectors, `N` points, `M` weights, `D` steps.

From below: the largest of `b . alpha_k`, each alpha at most the value of a real policy. From above: the fast informed
bound `max_a b . Q_a`, and the sawtooth through points (b_i, u_i) below the corners c: since the value is convex,

    V(b) <= b . c + min_i share_i(b) (u_i - b_i . c),   share_i(b) = min_{s: b_i(s) > 0} b(s) / b_i(s).

Both are homogeneous: of a multiple w of a belief they give the same multiple, and weights need not sum to one. Layer t
holds what is known with t steps gone, layer H zeros; an endless problem has one layer that follows itself.

**Soundness.** Every number is rounded in the safe direction when it is made, so that the bounds hold at all times and
one large penalty blurs only what it is a part of. Let kappa be the relative error of a backup, that of the stored
parameters included. A new vector is

    alpha(s) = r(s,a) - kappa |r(s,a)| + gamma sum_s' P(s'|s,a) sum_o Z(o|a,s') (alpha_o(s') - kappa |alpha_o(s')|),

below the exact backup of the vectors that it follows. For the upper bound let L be the lower bound and
`j_o(s') = Z(o|a,s') sum_s b(s) P(s'|s,a)`. A best vector has `|alpha| . j <= 2 max(c, 0) . j - V(j)`, hence

    Q(b,a) <= b . (r_a + kappa |r_a|) + gamma sum_o (U(j_o) + kappa (2 max(c, 0) . j_o + |L(j_o)|)).

**Actions that are not available**, of reward -inf, count as a loss that is beyond all others but finite.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxdm.envs.mdp import available
from jaxdm.envs.pomdp import POMDP, mdp_of
from jaxdm.oracles.mdp.bellman import solve_linear
from jaxdm.oracles.mdp.planning import policy_iteration

EXACT = jax.lax.Precision.HIGHEST


INFORMED_SWEEPS = 200
"""Most sweeps of the endless fast informed bound; each of them already gives a bound."""


ATTEMPTS = 60
"""How often a shift that makes a bound sound is doubled before the bound is given up."""


ENDLESS_DEPTH = 200
"""Most steps of a trial when the horizon is endless."""


AHEAD = 0.8
"""A trial ends where the gap is this part of the first one, or small enough: early trials are shallow."""


class Bounds(NamedTuple):
    """Bounds on the value of every belief. Slots not yet used repeat slot 0 (vectors) or say nothing (points)."""

    vector: jax.Array  # [L, K, S]
    action: jax.Array  # [L, K] int32, with which the policy behind a vector begins
    vectors: jax.Array  # [L] int32 slots used
    informed: jax.Array  # [L, A, S]
    point: jax.Array  # [L, N, S]
    drop: jax.Array  # [L, N] u_i - b_i . c <= 0
    points: jax.Array  # [L] int32 slots used


class Look(NamedTuple):
    """One belief, one step ahead."""

    weight: jax.Array  # [A, O, S] what it may become, times the chance of that
    chance: jax.Array  # [A, O]
    lower: jax.Array  # [A, O] bounds on what those weights are worth
    upper: jax.Array  # [A, O]
    lower_q: jax.Array  # [A] bounds on Q
    upper_q: jax.Array  # [A]
    choice: jax.Array  # [A, O] the best vector after each


def never(dtype: Any) -> float:
    """Stands for the value -inf of an action that is not available: finite, so that zero times it is zero."""
    return -1e10 * math.sqrt(float(jnp.finfo(dtype).max))


def relative_rounding(pomdp: POMDP) -> float:
    """`kappa`: 6 eps for r, gamma, P, Z and a vector before and after a backup, and `2 S + O + 16` for the sums."""
    states, observations = pomdp.initial_observation.shape[-2:]
    return (2 * states + observations + 22) * float(jnp.finfo(pomdp.reward.dtype).eps)


def initial_bounds(pomdp: POMDP, horizon: int | None, capacity: int) -> Bounds:
    """Bounds from blind policies (one action for ever) and from the fast informed bound.

    `Q(s,a) = r(s,a) + gamma sum_o max_a' sum_s' P(s'|s,a) Z(o|a,s') Q(s',a')`, from above.

    Args:
        pomdp: the world; discount < 1 when the horizon is endless.
        horizon: H; endless when None.
        capacity: K and N, at least A.

    Returns:
        Bounds of 1 layer, or H + 1.

    Reference: Hauskrecht, JAIR 13, 2000.
    """
    (states, actions), dtype = pomdp.reward.shape, pomdp.reward.dtype
    if horizon is None:
        blind = _endless_blind(pomdp)[None]
        informed = _endless_informed(pomdp)[None]
    else:
        blind, informed = _backwards(_blind, pomdp, horizon), _backwards(_informed, pomdp, horizon)
    layers, spare = blind.shape[0], capacity - actions
    action = jnp.broadcast_to(jnp.arange(actions, dtype=jnp.int32), (layers, actions))
    return Bounds(
        vector=jnp.concatenate([blind, jnp.repeat(blind[:, :1], spare, axis=1)], axis=1),
        action=jnp.concatenate([action, jnp.repeat(action[:, :1], spare, axis=1)], axis=1),
        vectors=jnp.full(layers, actions, jnp.int32),
        informed=informed,
        point=jnp.full((layers, capacity, states), 1 / states, dtype),
        drop=jnp.zeros((layers, capacity), dtype),
        points=jnp.zeros(layers, jnp.int32),
    )


def _backwards(sweep: Callable[[POMDP, jax.Array], jax.Array], pomdp: POMDP, horizon: int) -> jax.Array:
    """[H + 1, A, S]: zeros last, and before each layer one sweep of it."""
    zero = jnp.zeros(pomdp.reward.T.shape, pomdp.reward.dtype)

    def step(ahead: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
        now = sweep(pomdp, ahead)
        return now, now

    _, layers = jax.lax.scan(step, zero, length=horizon, reverse=True)
    return jnp.concatenate([layers, zero[None]])


def _rewards(pomdp: POMDP, side: int) -> jax.Array:
    """[A, S], rounded down (side -1) or up (side 1) by more than a backup's underflow and rounding."""
    kind = jnp.finfo(pomdp.reward.dtype)
    reward = jnp.maximum(pomdp.reward.T, never(kind.dtype))
    slack = (pomdp.reward.shape[0] + 8) * float(kind.tiny)
    return reward + side * (relative_rounding(pomdp) * jnp.abs(reward) + slack)


def _blind(pomdp: POMDP, ahead: jax.Array) -> jax.Array:
    """One step more of each blind policy, rounded down; ahead is [A, S]."""
    lowered = ahead - relative_rounding(pomdp) * jnp.abs(ahead)
    behind = jnp.einsum("ato,at->at", pomdp.observation, lowered)
    return _rewards(pomdp, -1) + pomdp.discount * jnp.einsum("sat,at->as", pomdp.transition, behind, precision=EXACT)


def _endless_blind(pomdp: POMDP) -> jax.Array:
    """Below the values of one action for ever, [A, S]."""
    solve = jax.vmap(solve_linear, in_axes=(1, 0, None))
    reward = jnp.maximum(pomdp.reward.T, never(pomdp.reward.dtype))
    value = solve(pomdp.transition, reward, pomdp.discount)
    size = jnp.abs(reward) + pomdp.discount * jnp.einsum("sat,at->as", pomdp.transition, jnp.abs(value))
    lowered = solve(pomdp.transition, _rewards(pomdp, -1) - 2 * relative_rounding(pomdp) * size, pomdp.discount)
    room = jnp.maximum(1 - pomdp.discount, jnp.finfo(reward.dtype).eps)

    def excess(value: jax.Array) -> jax.Array:
        return jnp.max(value - _blind(pomdp, value))

    def unsound(carry: tuple) -> jax.Array:
        value, attempt = carry
        return (attempt < ATTEMPTS) & ~(excess(value) <= 0)

    def lower(carry: tuple) -> tuple:
        value, attempt = carry
        return value - 2.0**attempt * excess(value) / room, attempt + 1

    value, _ = jax.lax.while_loop(unsound, lower, (lowered, 0))
    return jnp.where(excess(value) <= 0, value, never(reward.dtype))


def _informed(pomdp: POMDP, q: jax.Array) -> jax.Array:
    """One sweep of the fast informed bound, rounded up; q is [A, S]."""
    raised = q + relative_rounding(pomdp) * jnp.abs(q)
    weighted = jnp.einsum("ato,bt->atob", pomdp.observation, raised)
    each = jnp.einsum("sat,atob->asob", pomdp.transition, weighted, precision=EXACT)
    return _rewards(pomdp, 1) + pomdp.discount * jnp.sum(jnp.max(each, axis=-1), axis=-1)


def _endless_informed(pomdp: POMDP) -> jax.Array:
    """The fast informed bound for ever: each sweep of a bound is one, and what all entries fall by alike at once.

    Where a sweep lowers every entry by d or more, later ones together lower it by `gamma d / (1 - gamma)` more, but for
    rounding; that this still is a bound is seen from the next sweep, which must not raise it.

    Reference: MacQueen, A modified dynamic programming method for Markovian decision problems, 1966.
    """
    seen = policy_iteration(mdp_of(pomdp))
    largest = -never(pomdp.reward.dtype)
    top = jnp.where(seen.value_error < largest, seen.value + seen.value_error, largest)
    reward = _rewards(pomdp, 1)
    start = reward + pomdp.discount * jnp.einsum("sat,t->as", pomdp.transition, top, precision=EXACT)
    start = jnp.minimum(start + relative_rounding(pomdp) * jnp.abs(start - reward), largest)
    there = available(pomdp).T
    near = 1e-3 * (1 - pomdp.discount)

    def falls(bound: jax.Array, after: jax.Array) -> tuple[jax.Array, jax.Array]:
        fall = bound - after
        return jnp.min(jnp.where(there, fall, jnp.inf)), jnp.max(jnp.where(there, fall, 0))

    def unfinished(carry: tuple) -> jax.Array:
        bound, after, sweep = carry
        size = jnp.max(jnp.where(there, jnp.abs(after), 0))
        return (sweep < INFORMED_SWEEPS) & (falls(bound, after)[1] > near * size)

    def sweep(carry: tuple) -> tuple:
        bound, after, count = carry
        room = jnp.maximum(1 - pomdp.discount, jnp.finfo(reward.dtype).eps)
        guess = after - 0.999 * pomdp.discount / room * jnp.maximum(falls(bound, after)[0], 0)
        further = _informed(pomdp, guess)
        sound = jnp.all(further <= guess)
        slow = jnp.minimum(_informed(pomdp, after), after)
        return jnp.where(sound, guess, after), jnp.where(sound, further, slow), count + 1

    first = jnp.minimum(_informed(pomdp, start), start)
    return jax.lax.while_loop(unfinished, sweep, (start, first, 0))[1]


def lower_bound(bounds: Bounds, layer: jax.Array | int, weight: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The bound from below at weights [M, S], and the vector that gives it; two [M]."""
    values = jnp.einsum("ms,ks->mk", weight, bounds.vector[layer], precision=EXACT)
    return jnp.max(values, axis=-1), jnp.argmax(values, axis=-1)


def upper_bound(bounds: Bounds, layer: jax.Array | int, weight: jax.Array) -> jax.Array:
    """The bound from above at weights [M, S], [M]."""
    informed = bounds.informed[layer]
    corner = jnp.max(informed, axis=0)
    plane = jnp.max(jnp.einsum("ms,as->ma", weight, informed, precision=EXACT), axis=-1)
    base = jnp.einsum("ms,s->m", weight, corner, precision=EXACT)
    drop = share(weight, bounds.point[layer]) * bounds.drop[layer][None]
    return jnp.minimum(plane, base + jnp.min(drop, axis=-1))


def share(weight: jax.Array, point: jax.Array) -> jax.Array:
    """How much of each point is in each weight: `min_{s: b_i(s) > 0} w(s) / b_i(s)`, [M, N], from [M, S] and [N, S]."""

    # State by state: [M, N] numbers stay in the cache, where [M, N, S] would not.
    def step(least: jax.Array, entry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        mine, theirs = entry
        scale = jnp.where(theirs > 0, 1 / jnp.where(theirs > 0, theirs, 1), 0)
        absent = jnp.where(theirs > 0, 0, jnp.finfo(weight.dtype).max)
        return jnp.minimum(least, mine[:, None] * scale[None] + absent[None]), None

    # No share exceeds the weight's sum, as points sum to one.
    start = jnp.broadcast_to(jnp.sum(weight, axis=-1, keepdims=True), (weight.shape[0], point.shape[0]))
    return jax.lax.scan(step, start, (weight.T, point.T))[0]


def look(pomdp: POMDP, bounds: Bounds, ahead: jax.Array | int, belief: jax.Array) -> Look:
    """One step ahead of a belief [S], with the bounds of layer `ahead` on what follows."""
    states, actions = pomdp.reward.shape
    predicted = jnp.einsum("s,sat->at", belief, pomdp.transition, precision=EXACT)
    weight = predicted[:, None] * jnp.swapaxes(pomdp.observation, 1, 2)
    flat = weight.reshape(-1, states)
    worth, choice = lower_bound(bounds, ahead, flat)
    gain = 2 * jnp.einsum("ms,s->m", flat, jnp.maximum(jnp.max(bounds.informed[ahead], axis=0), 0), precision=EXACT)
    above = upper_bound(bounds, ahead, flat) + relative_rounding(pomdp) * (gain + jnp.abs(worth))
    lower, upper = worth.reshape(actions, -1), above.reshape(actions, -1)
    now = jnp.einsum("s,as->a", belief, _rewards(pomdp, 1), precision=EXACT)
    return Look(
        weight=weight,
        chance=jnp.sum(weight, axis=-1),
        lower=lower,
        upper=upper,
        lower_q=now + pomdp.discount * jnp.sum(lower, axis=-1),
        upper_q=now + pomdp.discount * jnp.sum(upper, axis=-1),
        choice=choice.reshape(actions, -1),
    )


def tighten(
    pomdp: POMDP,
    bounds: Bounds,
    layer: jax.Array | int,
    ahead: jax.Array | int,
    belief: jax.Array,
    seen: Look,
    active: jax.Array | bool = True,
) -> Bounds:
    """Add what a look from a belief of `layer` has shown: a vector where it is higher there, a point where lower.

    A new one takes the place of one that it makes useless everywhere, else the next free slot; with no slot free it
    is dropped, which leaves the bounds valid. Where not `active` nothing is added.

    Reference: Smith, Simmons, Point-based POMDP algorithms: improved analysis and implementation, UAI 2005.
    """
    best = jnp.argmax(seen.lower_q)
    follow = bounds.vector[ahead, seen.choice[best]]  # [O, S]
    lowered = follow - relative_rounding(pomdp) * jnp.abs(follow)
    behind = jnp.einsum("to,ot->t", pomdp.observation[best], lowered, precision=EXACT)
    onward = jnp.einsum("st,t->s", pomdp.transition[:, best], behind, precision=EXACT)
    vector = _rewards(pomdp, -1)[best] + pomdp.discount * onward
    gains = jnp.dot(vector, belief, precision=EXACT) > lower_bound(bounds, layer, belief[None])[0][0]
    used = jnp.arange(bounds.action.shape[1]) < bounds.vectors[layer]
    useless = used & jnp.all(bounds.vector[layer] <= vector[None], axis=-1)
    slot, vectors = _slot(useless, bounds.vectors[layer], gains & active)

    corner = jnp.max(bounds.informed[layer], axis=0)
    value = jnp.max(seen.upper_q)
    size = jnp.dot(belief, jnp.abs(corner), precision=EXACT) + jnp.abs(value)
    drop = value - jnp.dot(belief, corner, precision=EXACT) + relative_rounding(pomdp) * size
    lowers = value < upper_bound(bounds, layer, belief[None])[0]
    used = jnp.arange(bounds.drop.shape[1]) < bounds.points[layer]
    implied = share(bounds.point[layer], belief[None])[:, 0] * drop
    place, points = _slot(used & (implied <= bounds.drop[layer]), bounds.points[layer], lowers & (drop < 0) & active)
    return bounds._replace(
        vector=bounds.vector.at[layer, slot].set(vector, mode="drop"),
        action=bounds.action.at[layer, slot].set(best.astype(jnp.int32), mode="drop"),
        vectors=bounds.vectors.at[layer].set(vectors),
        point=bounds.point.at[layer, place].set(belief, mode="drop"),
        drop=bounds.drop.at[layer, place].set(drop, mode="drop"),
        points=bounds.points.at[layer].set(points),
    )


def _slot(useless: jax.Array, used: jax.Array, wanted: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Where to write, out of range for nowhere, and how many slots are used then."""
    capacity = useless.shape[0]
    replace = jnp.any(useless)
    slot = jnp.where(replace, jnp.argmax(useless), used)
    grown = jnp.where(wanted & ~replace, jnp.minimum(used + 1, capacity), used)
    return jnp.where(wanted, slot, capacity), grown


def root_bounds(pomdp: POMDP, bounds: Bounds) -> tuple[jax.Array, jax.Array]:
    """Lower and upper bound expected over the first observation, rounding included; two []."""
    lower, upper = _first_bounds(pomdp, bounds)
    return jnp.sum(lower), jnp.sum(upper)


def _first_bounds(pomdp: POMDP, bounds: Bounds) -> tuple[jax.Array, jax.Array]:
    """Bounds on what each first observation is worth, times its chance, rounding included; two [O]."""
    kappa, weight = relative_rounding(pomdp), _first_weights(pomdp)
    lowered = bounds.vector[0] - kappa * jnp.abs(bounds.vector[0])
    lower = jnp.max(jnp.einsum("os,ks->ok", weight, lowered, precision=EXACT), axis=-1)
    gain = 2 * jnp.maximum(jnp.max(bounds.informed[0], axis=0), 0)
    unsure = jnp.einsum("os,s->o", weight, gain, precision=EXACT) + jnp.abs(lower)
    return lower, upper_bound(bounds, 0, weight) + kappa * unsure


def _first_weights(pomdp: POMDP) -> jax.Array:
    """The chance of each first observation and state, [O, S]."""
    return (pomdp.initial[:, None] * pomdp.initial_observation).T


class _Trial(NamedTuple):
    bounds: Bounds
    path: jax.Array  # [D, S] beliefs on the way down
    step: jax.Array  # [] int32, -1 before a trial
    belief: jax.Array  # [S] the next one on the way down
    target: jax.Array  # [] gap that is small enough at this step
    down: jax.Array  # [] bool


def improve(pomdp: POMDP, bounds: Bounds, tolerance: jax.Array, horizon: int | None, visits: int) -> Bounds:
    """Tighten bounds at a number of beliefs, by trials one after the other.

    A trial goes down from the first belief, by the action best from above and the observation whose belief has most to
    settle, to where the gap is small enough, and back. All instances of a batch visit a belief in every round, whatever
    the lengths of their trials, so that none waits for another:

        batched = jax.jit(jax.vmap(lambda pomdp, bounds: improve(pomdp, bounds, 1e-2, None, 200)))

    Args:
        pomdp: the world.
        bounds: from `initial_bounds` or an earlier call, for the same horizon.
        tolerance: [] gap at the root that is small enough.
        horizon: H; endless when None.
        visits: of beliefs, each on the way down or back.

    Returns:
        Bounds, nowhere worse; `root_bounds` says how far apart they are.

    Reference: Smith, Simmons, Heuristic search value iteration for POMDPs, UAI 2004.
    """
    depth = ENDLESS_DEPTH if horizon is None else horizon
    roots = _first_weights(pomdp)
    chance = jnp.sum(roots, axis=-1)

    def begin(trial: _Trial) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
        """Step, belief, target and direction at the start of a trial; step -1 where nothing is left to do."""
        lower, upper = _first_bounds(pomdp, trial.bounds)
        goal = jnp.maximum(tolerance, AHEAD * jnp.sum(upper - lower))
        root = jnp.argmax(jnp.where(chance > 0, upper - lower - chance * goal, -jnp.inf))
        step = jnp.where(jnp.sum(upper - lower) > tolerance, 0, -1).astype(jnp.int32)
        return step, roots[root] / jnp.where(chance[root] > 0, chance[root], 1), goal, jnp.bool_(True)

    def go_on(trial: _Trial) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
        belief = jnp.where(trial.down, trial.belief, trial.path[trial.step])
        return trial.step, belief, trial.target, trial.down

    def visit(trial: _Trial, _: None) -> tuple[_Trial, None]:
        """Tighten the bounds at one belief; then one step down, or from where all is settled one step up."""
        step, belief, target, down = jax.lax.cond(trial.step < 0, begin, go_on, trial)
        active, now = step >= 0, jnp.maximum(step, 0)
        layer, ahead = (0, 0) if horizon is None else (now, now + 1)
        seen = look(pomdp, trial.bounds, ahead, belief)
        action = jnp.argmax(seen.upper_q)
        target = target / pomdp.discount
        gap, likely = seen.upper[action] - seen.lower[action], seen.chance[action]
        excess = jnp.where(likely > 0, gap - likely * target, -jnp.inf)
        after = jnp.argmax(excess)
        down = down & (now + 1 < depth) & (excess[after] > 0)
        trial = _Trial(
            bounds=tighten(pomdp, trial.bounds, layer, ahead, belief, seen, active),
            path=trial.path.at[now].set(belief),
            step=jnp.where(active, jnp.where(down, now + 1, now - 1), -1).astype(jnp.int32),
            belief=seen.weight[action, after] / jnp.where(likely[after] > 0, likely[after], 1),
            target=target,
            down=down,
        )
        return trial, None

    start = _Trial(
        bounds=bounds,
        path=jnp.zeros((depth, roots.shape[1]), roots.dtype),
        step=jnp.int32(-1),
        belief=roots[0],
        target=jnp.zeros((), roots.dtype),
        down=jnp.bool_(True),
    )
    return jax.lax.scan(visit, start, None, length=visits)[0].bounds
