"""Stochastic bandits, stationary or drifting: the record, its check, and its simulators.

Dimensions: `K` arms, `M` rows of means (1 when nothing drifts), `T` rounds. Families are in
`jaxdm.envs.families.bandit`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxdm.random import normal, uniform
from jaxdm.types import Env, Predrawn
from jaxdm.validation import is_concrete

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
        dtype: float type; that of jax when left out.

    Returns:
        The bandit.

    Raises:
        ValueError: as `validate`.
    """
    mean = jnp.asarray(mean, dtype or jnp.result_type(float))
    mean = mean[None] if mean.ndim == 1 else mean
    if mean.ndim != 2 or 0 in mean.shape:
        raise ValueError(f"mean: shape {mean.shape}; expected [K] or [M, K] with K, M >= 1")
    arms = mean.shape[-1]
    bandit = Bandit(
        mean=mean,
        deviation=jnp.broadcast_to(jnp.asarray(0 if deviation is None else deviation, mean.dtype), (arms,)),
        available=jnp.ones(arms, bool) if available is None else jnp.asarray(available, bool),
        horizon=jnp.asarray(ENDLESS if horizon is None else horizon, jnp.int32),
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
    arms = bandit.mean.shape[-1]
    for name, expected in {"deviation": (arms,), "available": (arms,), "horizon": ()}.items():
        if getattr(bandit, name).shape != expected:
            raise ValueError(f"{name}: shape {getattr(bandit, name).shape}; expected {expected}")
    if not is_concrete(bandit):
        return
    mean, deviation = np.asarray(bandit.mean), np.asarray(bandit.deviation)
    if not np.all(np.isfinite(mean)):
        raise ValueError(f"mean: {mean[~np.isfinite(mean)][0]}; expected finite numbers")
    if bernoulli and not (mean.min() >= 0 and mean.max() <= 1):
        raise ValueError(f"mean: in [{mean.min():.8g}, {mean.max():.8g}]; expected in [0, 1], as rewards are Bernoulli")
    if not (np.all(np.isfinite(deviation)) and deviation.min() >= 0):
        raise ValueError(f"deviation: {deviation}; expected finite numbers >= 0")
    if not np.any(bandit.available):
        raise ValueError(f"available: {np.asarray(bandit.available)}; expected at least one arm")
    if not bandit.horizon >= 1:
        raise ValueError(f"horizon: {bandit.horizon}; expected at least 1")


def means_at(bandit: Bandit, time: jax.Array) -> jax.Array:
    """The means of round `time`, [..., K]."""
    return bandit.mean[jnp.minimum(time, bandit.mean.shape[0] - 1)]


def bernoulli() -> Env:
    """Rewards 1 with chance `mean`, else 0; the observation is `available` [K], actions are int32 arms.

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
        return params.available, BanditState(time=time), paid, jnp.bool_(False), time >= params.horizon, {}

    def draw(key: jax.Array, length: int) -> jax.Array:
        return numbers(key, (length,))

    predrawn = Predrawn(draw=draw, apply=step)
    return Env(reset=reset, step=predrawn.keyed, predrawn=predrawn)
