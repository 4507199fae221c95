"""Bounds on a POMDP's value from both sides, and how one belief tightens them.

Dimensions: `S` states, `A` actions, `O` observations, `L` layers, `K` vectors, `N` points, `M` beliefs.

From below: the largest of `b . alpha_k`, each alpha the value of a real policy. From above: the fast informed bound
`max_a b . Q_a`, and the sawtooth through points (b_i, u_i) above the corners c: since the value is convex,
`V(b) <= b . c + min_i min_{s: b_i(s) > 0} b(s) / b_i(s) (u_i - b_i . c)`.

Layer t holds what is known with t steps gone, layer H zeros; an endless problem has one layer that follows itself.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxdm.envs.pomdp import POMDP, mdp_of
from jaxdm.oracles.mdp.bellman import solve_linear
from jaxdm.oracles.mdp.planning import value_iteration

EXACT = jax.lax.Precision.HIGHEST


INFORMED_SWEEPS = 200
"""Most sweeps of the endless fast informed bound; each of them already gives a bound."""


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

    belief: jax.Array  # [A, O, S] what it may become
    chance: jax.Array  # [A, O]
    lower: jax.Array  # [A, O] bounds on what those are worth
    upper: jax.Array  # [A, O]
    lower_q: jax.Array  # [A] bounds on Q
    upper_q: jax.Array  # [A]
    choice: jax.Array  # [A, O] the best vector after each


def initial_bounds(pomdp: POMDP, horizon: int | None, capacity: int) -> Bounds:
    """Bounds from blind policies (one action for ever) and from the fast informed bound.

    `Q(s,a) = r(s,a) + gamma sum_o max_a' sum_s' P(s'|s,a) Z(o|a,s') Q(s',a')`, from above.

    Args:
        pomdp: the world; discount < 1 when the horizon is endless.
        horizon: H; endless when None.
        capacity: K and N.

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


def _blind(pomdp: POMDP, ahead: jax.Array) -> jax.Array:
    """One step more of each blind policy; ahead is [A, S]."""
    return pomdp.reward.T + pomdp.discount * jnp.einsum("sat,at->as", pomdp.transition, ahead, precision=EXACT)


def _endless_blind(pomdp: POMDP) -> jax.Array:
    """The values of one action for ever, [A, S], lowered until no backup falls below them but for its rounding."""
    solve = jax.vmap(solve_linear, in_axes=(1, 1, None))
    value = solve(pomdp.transition, pomdp.reward, pomdp.discount)
    return value - jnp.max(jnp.abs(_blind(pomdp, value) - value)) / (1 - pomdp.discount)


def _informed(pomdp: POMDP, q: jax.Array) -> jax.Array:
    """One sweep of the fast informed bound; q is [A, S]."""
    weighted = jnp.einsum("ato,bt->atob", pomdp.observation, q)
    each = jnp.einsum("sat,atob->asob", pomdp.transition, weighted, precision=EXACT)
    return pomdp.reward.T + pomdp.discount * jnp.sum(jnp.max(each, axis=-1), axis=-1)


def _endless_informed(pomdp: POMDP) -> jax.Array:
    plan = value_iteration(mdp_of(pomdp), tolerance=float(jnp.finfo(pomdp.reward.dtype).eps))
    top = plan.q.T + plan.certificate.bound

    def unfinished(carry: tuple) -> jax.Array:
        q, previous, sweep = carry
        size = jnp.max(jnp.abs(q))
        return (sweep < INFORMED_SWEEPS) & (jnp.max(jnp.abs(q - previous)) > 1e-6 * size)

    def sweep(carry: tuple) -> tuple:
        q, _, count = carry
        return jnp.minimum(_informed(pomdp, q), q), q, count + 1

    return jax.lax.while_loop(unfinished, sweep, (_informed(pomdp, top), top, 0))[0]


def lower_bound(bounds: Bounds, layer: jax.Array | int, belief: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The bound from below at [M, S] beliefs (or any multiples of them), and the vector that gives it; two [M]."""
    values = jnp.einsum("ms,ks->mk", belief, bounds.vector[layer], precision=EXACT)
    return jnp.max(values, axis=-1), jnp.argmax(values, axis=-1)


def upper_bound(bounds: Bounds, layer: jax.Array | int, belief: jax.Array) -> jax.Array:
    """The bound from above at beliefs [M, S], [M]."""
    informed = bounds.informed[layer]
    corner = jnp.max(informed, axis=0)
    plane = jnp.max(jnp.einsum("ms,as->ma", belief, informed, precision=EXACT), axis=-1)
    base = jnp.einsum("ms,s->m", belief, corner, precision=EXACT)
    drop = share(belief, bounds.point[layer]) * bounds.drop[layer][None]
    return jnp.minimum(plane, base + jnp.min(drop, axis=-1))


def share(belief: jax.Array, point: jax.Array) -> jax.Array:
    """How much of each point is in each belief: `min_{s: b_i(s) > 0} b(s) / b_i(s)`, [M, N], from [M, S] and [N, S]."""
    top = jnp.finfo(belief.dtype).max

    # State by state: [M, N] numbers stay in the cache, where [M, N, S] would not.
    def step(least: jax.Array, entry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        mine, theirs = entry
        scale = jnp.where(theirs > 0, 1 / jnp.where(theirs > 0, theirs, 1), 0)
        absent = jnp.where(theirs > 0, 0, top)
        return jnp.minimum(least, mine[:, None] * scale[None] + absent[None]), None

    start = jnp.ones(
        (belief.shape[0], point.shape[0]), belief.dtype
    )  # no share exceeds 1: both distributions sum to one
    return jax.lax.scan(step, start, (belief.T, point.T))[0]


def look(pomdp: POMDP, bounds: Bounds, ahead: jax.Array | int, belief: jax.Array) -> Look:
    """One step ahead of a belief [S], with the bounds of layer `ahead` on what follows."""
    (states, actions), observations = pomdp.reward.shape, pomdp.observation.shape[-1]
    predicted = jnp.einsum("s,sat->at", belief, pomdp.transition, precision=EXACT)
    joint = predicted[:, None] * jnp.swapaxes(pomdp.observation, 1, 2)
    chance = jnp.sum(joint, axis=-1)
    after = jnp.where(chance[..., None] > 0, joint / jnp.where(chance > 0, chance, 1)[..., None], 1 / states)
    flat = after.reshape(-1, states)
    shape = (actions, observations)
    worth, choice = lower_bound(bounds, ahead, flat)
    lower, upper = worth.reshape(shape), upper_bound(bounds, ahead, flat).reshape(shape)
    now = jnp.einsum("s,sa->a", belief, pomdp.reward, precision=EXACT)
    return Look(
        belief=after,
        chance=chance,
        lower=lower,
        upper=upper,
        lower_q=now + pomdp.discount * jnp.sum(chance * lower, axis=-1),
        upper_q=now + pomdp.discount * jnp.sum(chance * upper, axis=-1),
        choice=choice.reshape(shape),
    )


def tighten(
    pomdp: POMDP, bounds: Bounds, layer: jax.Array | int, ahead: jax.Array | int, belief: jax.Array, seen: Look
) -> Bounds:
    """Add what a look from a belief of `layer` has shown: a vector where it is higher there, a point where lower.

    A new one takes the place of one that it makes useless everywhere, else the next free slot; with no slot free it
    is dropped, which leaves the bounds valid.

    Reference: Smith, Simmons, Point-based POMDP algorithms: improved analysis and implementation, UAI 2005.
    """
    best = jnp.argmax(seen.lower_q)
    follow = bounds.vector[ahead, seen.choice[best]]  # [O, S]
    behind = jnp.einsum("to,ot->t", pomdp.observation[best], follow, precision=EXACT)
    vector = pomdp.reward[:, best] + pomdp.discount * jnp.einsum(
        "st,t->s", pomdp.transition[:, best], behind, precision=EXACT
    )
    gains = jnp.dot(vector, belief, precision=EXACT) > lower_bound(bounds, layer, belief[None])[0][0]
    used = jnp.arange(bounds.action.shape[1]) < bounds.vectors[layer]
    useless = used & jnp.all(bounds.vector[layer] <= vector[None], axis=-1)
    slot, vectors = _slot(useless, bounds.vectors[layer], gains)

    corner = jnp.max(bounds.informed[layer], axis=0)
    drop = jnp.max(seen.upper_q) - jnp.dot(belief, corner, precision=EXACT)
    lowers = jnp.max(seen.upper_q) < upper_bound(bounds, layer, belief[None])[0]
    used = jnp.arange(bounds.drop.shape[1]) < bounds.points[layer]
    implied = share(bounds.point[layer], belief[None])[:, 0] * drop
    place, points = _slot(used & (implied <= bounds.drop[layer]), bounds.points[layer], lowers)
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
