"""The best that could have been played, once all losses are known.

Dimensions: `T` rounds, `d` coordinates (arms, on the simplex).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxdm.envs.online import Region, validate


class Comparator(NamedTuple):
    """A decision that is best in hindsight, and what it would have cost in all."""

    decision: jax.Array  # [d]
    loss: jax.Array  # [] loss units


class ArmSequence(NamedTuple):
    """The best sequence of arms that changes arm at most `s` times, and what it would have cost in all."""

    arms: jax.Array  # [T] int32
    loss: jax.Array  # [] loss units


def best_fixed(region: Region, losses: jax.Array, size: jax.Array | float = 1.0) -> Comparator:
    """`argmin_x <S_T, x>` over the set: on the ball the loss is `-R |S_T|`, on the simplex that of the best arm.

    Args:
        region: `BALL` or `SIMPLEX`.
        losses: [T, d].
        size: radius of the ball, sum on the simplex.

    Raises:
        ValueError: bad losses (see `jaxdm.envs.online.validate`).
    """
    validate(losses)
    total = jnp.sum(losses, axis=0)
    decision = region.minimise(total, size)
    return Comparator(decision=decision, loss=jnp.dot(total, decision))


def best_so_far(region: Region, losses: jax.Array, size: jax.Array | float = 1.0) -> jax.Array:
    """`min_x <S_t, x>` for every t, [T]: what `best_fixed` costs on each prefix.

    Args:
        region: `BALL` or `SIMPLEX`.
        losses: [T, d].
        size: radius of the ball, sum on the simplex.

    Raises:
        ValueError: bad losses (see `jaxdm.envs.online.validate`).
    """
    validate(losses)
    totals = jnp.cumsum(losses, axis=0)
    decisions = jax.vmap(region.minimise, (0, None))(totals, size)
    return jnp.sum(totals * decisions, axis=-1)


def best_each_round(region: Region, losses: jax.Array, size: jax.Array | float = 1.0) -> jax.Array:
    """`argmin_x <l_t, x>` for every t, [T, d]: the comparators of the strictest dynamic regret.

    Raises:
        ValueError: bad losses (see `jaxdm.envs.online.validate`).
    """
    validate(losses)
    return jax.vmap(region.minimise, (0, None))(losses, size)


def best_arm(losses: jax.Array) -> jax.Array:
    """`argmin_i S_T(i)`, [] int32, lowest index on ties.

    Raises:
        ValueError: bad losses (see `jaxdm.envs.online.validate`).
    """
    validate(losses)
    return jnp.argmin(jnp.sum(losses, axis=0)).astype(jnp.int32)


def best_switching(losses: jax.Array, switches: int) -> ArmSequence:
    """The best sequence of arms with at most s changes, by dynamic programming in `O(T s d)`.

    `C_t(j, i) = l_t(i) + min(C_{t-1}(j, i), min_k C_{t-1}(j-1, k))`: least loss of t rounds that end in arm i after at
    most j changes. Ties stay, then take the lowest index.

    Args:
        losses: [T, d].
        switches: s >= 0.

    Returns:
        Arms and their total loss.

    Raises:
        ValueError: switches < 0, or bad losses (see `jaxdm.envs.online.validate`).

    Reference: Herbster, Warmuth, Tracking the best expert, Machine Learning 32, 1998.
    """
    if switches < 0:
        raise ValueError(f"switches: {switches}; expected at least 0")
    validate(losses)

    def forward(cost: jax.Array, loss: jax.Array) -> tuple:
        leader = jnp.argmin(cost, axis=-1)
        moved = jnp.concatenate([jnp.full((1,), jnp.inf, cost.dtype), jnp.min(cost, axis=-1)[:-1]])[:, None]
        came = jnp.concatenate([leader[:1], leader[:-1]])
        return jnp.minimum(cost, moved) + loss[None], (moved < cost, came)

    first = jnp.broadcast_to(losses[0], (switches + 1, losses.shape[1]))
    cost, (changed, origin) = jax.lax.scan(forward, first, losses[1:])
    end = jnp.argmin(cost[-1])

    def backward(carry: tuple, step: tuple) -> tuple:
        left, arm = carry
        changed, origin = step
        change = changed[left, arm]
        before = jnp.where(change, origin[left], arm)
        return (left - change.astype(left.dtype), before), arm

    (_, start), arms = jax.lax.scan(backward, (jnp.int32(switches), end), (changed, origin), reverse=True)
    return ArmSequence(arms=jnp.concatenate([start[None], arms]).astype(jnp.int32), loss=cost[-1, end])
