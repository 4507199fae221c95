"""Every definition of regret, as a pure function that returns its curve: entry t - 1 is the regret of rounds 1..t.

Dimensions: `T` rounds, `d` coordinates (arms, on the simplex), `K` arms, `C` constant plays. Full information counts
losses of decisions `x_t`; bandits count mean rewards of arms `a_t`. Averages over runs are the caller's.

    external(t)       sum <l, x> - min_x <S_t, x>                    full-information online learning
    dynamic(t)        sum <l, x> - sum <l, u>                        against a sequence u
    internal(t)       max_ij sum x(i) (l(i) - l(j))                  one arm swapped for another
    swap(t)           sum_i max_j sum x(i) (l(i) - l(j))             every arm swapped as it likes
    pseudo(t)         t max_a r(a) - sum r(a_t)                      stochastic bandits
    nonstationary(t)  sum max_a r_t(a) - sum r_t(a_t)                drifting bandits
    policy(t)         max_c (reward of always c) - reward obtained   worlds that react

Reference: Cesa-Bianchi, Lugosi, Prediction, Learning, and Games, 2006; Blum, Mansour, From external to internal
    regret, JMLR 2007; Besbes, Gur, Zeevi, Stochastic multi-armed-bandit problem with non-stationary rewards, NeurIPS
    2014; Arora, Dekel, Tewari, Online bandit learning against an adaptive adversary, ICML 2012.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxdm import validation
from jaxdm.envs.online import DecisionSet, checked
from jaxdm.rollout import noise_entry
from jaxdm.types import Env, Tree
from jaxdm.validation import InvalidInput


class Comparator(NamedTuple):
    """A decision that is best in hindsight, and what it would have cost in all."""

    decision: jax.Array  # [d]
    loss: jax.Array  # [] loss units


class ArmSequence(NamedTuple):
    """The best sequence of arms that changes arm at most `s` times, and what it would have cost in all."""

    arms: jax.Array  # [T] int32
    loss: jax.Array  # [] loss units


def best_fixed(decision_set: DecisionSet, losses: jax.Array, size: jax.Array | float = 1.0) -> Comparator:
    """`argmin_x <S_T, x>` over the set: on the ball the loss is `-R |S_T|`, on the simplex that of the best arm.

    Args:
        decision_set: `BALL` or `SIMPLEX`.
        losses: [T, d].
        size: radius of the ball, sum on the simplex.

    Raises:
        ValueError: bad losses (see `jaxdm.envs.online.checked`), no decision set, or a size that is not positive.
    """
    _check_set(decision_set, size)
    losses = checked(losses)
    total = jnp.sum(losses, axis=0)
    decision = decision_set.minimise(total, size)
    return Comparator(decision=decision, loss=jnp.dot(total, decision))


def best_so_far(decision_set: DecisionSet, losses: jax.Array, size: jax.Array | float = 1.0) -> jax.Array:
    """`min_x <S_t, x>` for every t, [T]: what `best_fixed` costs on each prefix.

    Args:
        decision_set: `BALL` or `SIMPLEX`.
        losses: [T, d].
        size: radius of the ball, sum on the simplex.

    Raises:
        ValueError: bad losses (see `jaxdm.envs.online.checked`), no decision set, or a size that is not positive.
    """
    _check_set(decision_set, size)
    losses = checked(losses)
    totals = jnp.cumsum(losses, axis=0)
    decisions = jax.vmap(decision_set.minimise, (0, None))(totals, size)
    return jnp.sum(totals * decisions, axis=-1)


def best_each_round(decision_set: DecisionSet, losses: jax.Array, size: jax.Array | float = 1.0) -> jax.Array:
    """`argmin_x <l_t, x>` for every t, [T, d]: the comparators of the strictest dynamic regret.

    Raises:
        ValueError: bad losses (see `jaxdm.envs.online.checked`), no decision set, or a size that is not positive.
    """
    _check_set(decision_set, size)
    losses = checked(losses)
    return jax.vmap(decision_set.minimise, (0, None))(losses, size)


def best_arm(losses: jax.Array) -> jax.Array:
    """`argmin_i S_T(i)`, [] int32, lowest index on ties.

    Raises:
        ValueError: bad losses (see `jaxdm.envs.online.checked`).
    """
    losses = checked(losses)
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
        ValueError: switches < 0, or bad losses (see `jaxdm.envs.online.checked`).

    Reference: Herbster, Warmuth, Tracking the best expert, Machine Learning 32, 1998.
    """
    switches = validation.integer("switches", switches, 0)
    losses = checked(losses)

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


def external(
    decision_set: DecisionSet, losses: jax.Array, decisions: jax.Array, size: jax.Array | float = 1.0
) -> jax.Array:
    """Against the best fixed decision: `sum_{i<=t} <l_i, x_i> - min_x <S_t, x>`, [T].

    Args:
        decision_set: `BALL` or `SIMPLEX`.
        losses: [T, d].
        decisions: [T, d].
        size: radius of the ball, sum on the simplex.

    Raises:
        ValueError: bad losses, or decisions of another shape.
    """
    losses, decisions = _checked_pair(losses, decisions)
    _check_set(decision_set, size)
    return jnp.cumsum(jnp.sum(losses * decisions, axis=-1)) - best_so_far(decision_set, losses, size)


def dynamic(losses: jax.Array, decisions: jax.Array, comparators: jax.Array) -> jax.Array:
    """Against a sequence: `sum_{i<=t} <l_i, x_i - u_i>`, [T].

    The comparators may be `jaxdm.oracles.regret.best_each_round`, or the one-hot arms of `best_switching`.

    Args:
        losses: [T, d].
        decisions: [T, d].
        comparators: [T, d].

    Raises:
        ValueError: bad losses, or decisions or comparators of another shape.
    """
    losses, decisions = _checked_pair(losses, decisions)
    losses, comparators = _checked_pair(losses, comparators, "comparators")
    return jnp.cumsum(jnp.sum(losses * (decisions - comparators), axis=-1))


def internal(losses: jax.Array, decisions: jax.Array) -> jax.Array:
    """Against playing j wherever i was played, for the best pair: `max_ij sum_{s<=t} x_s(i) (l_s(i) - l_s(j))`, [T].

    Args:
        losses: [T, d].
        decisions: [T, d] points of the simplex.

    Raises:
        ValueError: bad losses, or decisions of another shape.
    """
    return jnp.max(_exchange(losses, decisions), axis=(-2, -1))


def swap(losses: jax.Array, decisions: jax.Array) -> jax.Array:
    """Against the best map from arms to arms: `sum_i max_j sum_{s<=t} x_s(i) (l_s(i) - l_s(j))`, [T].

    Args:
        losses: [T, d].
        decisions: [T, d] points of the simplex.

    Raises:
        ValueError: bad losses, or decisions of another shape.
    """
    return jnp.sum(jnp.max(_exchange(losses, decisions), axis=-1), axis=-1)


def pseudo(means: jax.Array, actions: jax.Array) -> jax.Array:
    """On mean rewards that stay: `t max_a r(a) - sum_{i<=t} r(a_i)`, [T].

    Args:
        means: [K] mean reward of each arm.
        actions: [T] int, in 0..K-1; where they are traced, any other makes the regret NaN from there on.

    Raises:
        ValueError: wrong shapes, means that are not finite, or actions outside 0..K-1.
    """
    means = validation.float_array("means", means, "K")
    actions = validation.integer_array("actions", actions, "T", at_most=means.shape[-1] - 1)
    return jnp.cumsum(jnp.max(means) - _paid(jnp.broadcast_to(means, (*actions.shape, *means.shape)), actions))


def nonstationary(means: jax.Array, actions: jax.Array) -> jax.Array:
    """On mean rewards that move: `sum_{i<=t} max_a r_i(a) - r_i(a_i)`, [T].

    Args:
        means: [T, K] mean reward of each arm in each round.
        actions: [T] int, in 0..K-1; where they are traced, any other makes the regret NaN from there on.

    Raises:
        ValueError: wrong shapes, means that are not finite, or actions outside 0..K-1.
    """
    means = validation.float_array("means", means, "T K")
    actions = validation.integer_array("actions", actions, "T", at_most=means.shape[-1] - 1, T=means.shape[0])
    return jnp.cumsum(jnp.max(means, axis=-1) - _paid(means, actions))


def variation(means: jax.Array) -> jax.Array:
    """The budget that a drifting bandit used: `V_T = sum_{t>=2} |r_t - r_{t-1}|_inf`, [].

    Args:
        means: [T, K].

    Raises:
        ValueError: another shape.
    """
    means = validation.float_array("means", means, "T K")
    return jnp.sum(jnp.max(jnp.abs(jnp.diff(means, axis=0)), axis=-1))


def policy(key: jax.Array, env: Env, params: Tree, actions: jax.Array, constants: jax.Array) -> jax.Array:
    """In a world that reacts: `max_c sum_{i<=t} reward_i(c, ..., c) - sum_{i<=t} reward_i(a_1, ..., a_i)`, [T].

    Every play is replayed from the start on the same randomness, so that the world answers to *it*.

    Args:
        key: random key of the world; that of `jaxdm.episodes.rollout` gives the rewards of that rollout.
        env: the world.
        params: its instance.
        actions: [T, ...] what was played.
        constants: [C, ...] the constant plays to compare with, e.g. `jnp.eye(d)` on the simplex.

    Raises:
        ValueError: constants are not of the shape of one action.
    """
    validation.check_shape("actions", actions, None)
    validation.check_shape("constants", constants, None)
    if actions.ndim < 1 or constants.ndim != actions.ndim or constants.shape[1:] != actions.shape[1:]:
        raise InvalidInput(f"constants: shape {constants.shape}; expected [C, ...] beside actions {actions.shape}")
    key_reset, key_env, _, _ = jax.random.split(key, 4)
    world = noise_entry(env.step, env.predrawn)
    noise = world.draw(key_env, actions.shape[0])

    def total_rewards(actions: jax.Array) -> jax.Array:
        def step(state: Tree, inputs: tuple) -> tuple:
            drawn, action = inputs
            _, state, reward, _, _, _ = world.apply(drawn, state, action, params)
            return state, reward

        return jnp.cumsum(jax.lax.scan(step, env.reset(key_reset, params)[1], (noise, actions))[1])

    repeated = jnp.broadcast_to(constants[:, None], (constants.shape[0], *actions.shape))
    return jnp.max(jax.vmap(total_rewards)(repeated), axis=0) - total_rewards(actions)


def _paid(means: jax.Array, actions: jax.Array) -> jax.Array:
    """The mean of each action, [T]; NaN where it is no arm."""
    inside = (actions >= 0) & (actions < means.shape[-1])
    return jnp.where(inside, jnp.take_along_axis(means, actions[:, None], axis=-1)[:, 0], jnp.nan)


def _exchange(losses: jax.Array, decisions: jax.Array) -> jax.Array:
    """[T, d, d]: what playing j for i would have saved so far."""
    losses, decisions = _checked_pair(losses, decisions)
    saved = losses[:, :, None] - losses[:, None, :]
    return jnp.cumsum(decisions[:, :, None] * saved, axis=0)


def _check_set(decision_set: DecisionSet, size: Any) -> None:
    validation.record("decision_set", decision_set, DecisionSet)
    validation.positive_number("size", size)


def _checked_pair(losses: jax.Array, decisions: jax.Array, name: str = "decisions") -> tuple[jax.Array, jax.Array]:
    losses = checked(losses)
    return losses, validation.float_array(name, decisions, "T d", T=losses.shape[0], d=losses.shape[1])
