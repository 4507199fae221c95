"""Stochastic bandits, stationary or drifting: the record, its check, and its simulators.

Dimensions: `K` arms, `M` rows of means (1 when nothing drifts), `T` rounds. Families are in
`jaxdm.envs.families.bandit`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxdm import validation
from jaxdm.random import normal, uniform
from jaxdm.types import Env, Predrawn
from jaxdm.validation import InvalidInput, check_shape, is_concrete, require

ENDLESS = np.iinfo(np.int32).max
"""The horizon of a bandit that is never truncated."""


class Bandit(NamedTuple):
    """A K-armed bandit. Round t (from 0) has the means of row `min(t, M - 1)`: one row is a stationary bandit.

    Instances with fewer arms than K leave the rest unavailable, so that bandits of several sizes make one batch.
    """

    mean: jax.Array  # [M, K] reward units
    deviation: jax.Array  # [K] standard deviation of Gaussian rewards; Bernoulli rewards need none
    available: jax.Array  # [K] bool, the arms that may be played
    horizon: jax.Array  # [] int32, the round count at which an episode is truncated


class BanditState(NamedTuple):
    """The number of rounds played."""

    time: jax.Array  # [] int32


def make(mean: Any, deviation: Any = None, available: Any = None, horizon: Any = None, dtype: Any = None) -> Bandit:
    """A bandit from anything array-like, checked.

    Args:
        mean: [K], or [M, K] when means drift.
        deviation: [] or [K] of Gaussian rewards; left out, the rewards are Bernoulli, so means lie in [0, 1].
        available: [K] bool; all arms when left out.
        horizon: [] rounds of an episode; endless when left out.
        dtype: float32 or float64; that of jax when left out.

    Returns:
        The bandit.

    Raises:
        ValueError: as `validate`.
    """
    mean = validation.real_array("mean", mean, "K or M K", dtype)
    mean = mean[None] if mean.ndim == 1 else mean
    arms = mean.shape[-1]
    spread = validation.real_array("deviation", 0 if deviation is None else deviation, " or K", mean.dtype, K=arms)
    allowed = np.ones(arms, bool) if available is None else available
    bandit = Bandit(
        mean=mean,
        deviation=jnp.broadcast_to(spread, (arms,)),
        available=validation.boolean_array("available", allowed, "K", K=arms),
        horizon=validation.integer_array("horizon", ENDLESS if horizon is None else horizon, "", at_least=1),
    )
    validate(bandit, bernoulli=deviation is None)
    return bandit


def validate(bandit: Bandit, *, bernoulli: bool) -> None:
    """Check one bandit. Shapes are checked always, values only where they are not traced.

    Args:
        bandit: the instance.
        bernoulli: whether its means are chances.

    Raises:
        ValueError: names the field, the value found and what was expected: wrong shapes, means that are not finite or
            no chances, a negative deviation, no available arm, a horizon below 1.
    """
    check_shape("mean", bandit.mean, "M K")
    arms = bandit.mean.shape[-1]
    for name, axes in {"deviation": "K", "available": "K", "horizon": ""}.items():
        check_shape(name, getattr(bandit, name), axes, K=arms)
    if not is_concrete(bandit):
        return
    mean, deviation = np.asarray(bandit.mean), np.asarray(bandit.deviation)
    require("mean", np.isfinite(mean), mean, "finite numbers")
    if bernoulli:
        require("mean", (mean >= 0) & (mean <= 1), mean, "chances in [0, 1], as rewards are Bernoulli")
    require("deviation", (deviation >= 0) & np.isfinite(deviation), deviation, "finite numbers >= 0")
    if not np.any(bandit.available):
        raise InvalidInput(f"available: {np.asarray(bandit.available)}; expected at least one arm")
    require("horizon", np.asarray(bandit.horizon) >= 1, bandit.horizon, "at least 1")


def means_at(bandit: Bandit, time: jax.Array) -> jax.Array:
    """The means of round `time`, [..., K]."""
    return bandit.mean[jnp.minimum(time, bandit.mean.shape[0] - 1)]


def may_play(bandit: Bandit, action: jax.Array) -> jax.Array:
    """Whether `action` [...] is an available arm, [...] bool."""
    return is_available(bandit.available, action)


def is_available(available: jax.Array, action: jax.Array) -> jax.Array:
    """Whether `action` [...] is one of the arms that `available` [K] allows, [...] bool; -1 is none."""
    shape = (*action.shape, available.shape[0])
    chosen = jax.lax.broadcasted_iota(jnp.int32, shape, action.ndim) == action[..., None]
    return jnp.any(chosen & jnp.broadcast_to(available, shape), axis=-1)


def any_available(uniform: jax.Array, available: jax.Array) -> jax.Array:
    """The available arm that a uniform number [] picks, each as likely, [] int; arm 0 where none is available.

    Args:
        uniform: [] in [0, 1).
        available: [K] bool.
    """
    order = jnp.cumsum(available) - 1
    return jnp.argmax(available & (order == jnp.floor(uniform * jnp.sum(available))))


def best_available(score: jax.Array, available: jax.Array) -> jax.Array:
    """The available arm of highest score, the lowest index of ties, [] int32.

    Where no arm is available, or an available one's score is NaN, there is none: it is -1, which no world takes for
    an arm, so that the fault is seen in the rewards.

    Args:
        score: [K].
        available: [K] bool.

    Raises:
        ValueError: there is none, and the arguments are not traced.
    """
    if is_concrete(score, available):
        if not np.any(available):
            raise InvalidInput(f"available: {np.asarray(available)}; expected at least one arm")
        require("score", ~(np.isnan(score) & available), score, "a number for each available arm")
    score = score.astype(jnp.promote_types(score.dtype, jnp.float32))
    # An arm that may not be played needs less than any score of one that may, and that may be infinite.
    masked = jnp.where(available, jnp.maximum(score, jnp.finfo(score.dtype).min), -jnp.inf)
    # Two reductions, not an argmax: UCB1 takes 0.6 times the processor time (`python -m experiments.speed.tricks`).
    best = jnp.max(masked)
    action = jnp.min(jnp.where(masked >= best, jnp.arange(masked.shape[0], dtype=jnp.int32), masked.shape[0]))
    return jnp.where(best > -jnp.inf, action, -1).astype(jnp.int32)


def bernoulli() -> Env:
    """Rewards 1 with chance `mean`, else 0; the observation is `available` [K], actions are int32 arms.

    An arm that is not available, or none, pays NaN: a player that chooses it is at fault.

    Returns:
        An `Env` whose params are a `Bandit`; the noise of a step is a uniform number.
    """

    def reward(noise: jax.Array, mean: jax.Array, deviation: jax.Array) -> jax.Array:
        return (noise < mean).astype(mean.dtype)

    return _env(uniform, reward)


def gaussian() -> Env:
    """Rewards `mean + deviation z` with normal z; otherwise as `bernoulli`."""

    def reward(noise: jax.Array, mean: jax.Array, deviation: jax.Array) -> jax.Array:
        return mean + deviation * noise.astype(mean.dtype)

    return _env(normal, reward)


def _env(numbers: Callable[..., jax.Array], reward: Callable[..., jax.Array]) -> Env:
    """The world that pays `reward(noise, mean, deviation)`, one of `numbers(key, shape)` a step."""

    def reset(key: jax.Array, params: Bandit) -> tuple[jax.Array, BanditState]:
        return params.available, BanditState(time=jnp.int32(0))

    def step(noise: jax.Array, state: BanditState, action: jax.Array, params: Bandit) -> tuple:
        mean = means_at(params, state.time)[action]
        paid = reward(noise, mean, params.deviation[action])
        time = state.time + 1
        paid = jnp.where(may_play(params, action), paid, jnp.nan)
        return params.available, BanditState(time=time), paid, jnp.bool_(False), time >= params.horizon, {}

    def draw(key: jax.Array, length: int) -> jax.Array:
        return numbers(key, (length,))

    predrawn = Predrawn(draw=draw, apply=step)
    return Env(reset=reset, step=predrawn.keyed, predrawn=predrawn)
