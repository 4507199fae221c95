"""Families of bandits, `key -> instance`: uniform, one-gap, linear, and drifting ones within a variation budget.

Dimensions: `K` arms, `T` rounds, `D` features. The budget of a drift is `V_T = sum_t max_a |mu_t(a) - mu_{t-1}(a)|`.

Reference: Besbes, Gur, Zeevi, Stochastic multi-armed-bandit problem with non-stationary rewards, 2014.
"""

from typing import Any

import jax
import jax.numpy as jnp

from jaxdm import random
from jaxdm.envs.bandit import Bandit, make
from jaxdm.validation import (
    check_sizes,
    float_array,
    float_type,
    nonnegative_number,
    number,
    positive_integer,
    positive_number,
    probability,
)


def uniform_means(key: jax.Array, *, arms: int, horizon: Any = None, dtype: Any = None) -> Bandit:
    """Bernoulli arms with means `U[0, 1]`."""
    arms = positive_integer("arms", arms)
    return make(jax.random.uniform(key, (arms,), float_type(dtype)), horizon=horizon)


def one_gap(key: jax.Array, *, arms: int, gap: Any, horizon: Any = None, dtype: Any = None) -> Bandit:
    """Bernoulli arms: one, uniformly chosen, has mean `(1 + gap) / 2`, all others `(1 - gap) / 2`.

    Args:
        key: random key.
        arms: K.
        gap: [] in [0, 1].
        horizon: [] rounds.
        dtype: float type.

    Reference: Krishnamurthy et al., Can large language models explore in-context?, 2024 (K=5, gap 0.2; K=4, gap 0.5).
    """
    arms = positive_integer("arms", arms)
    probability("gap", gap)
    best = jax.nn.one_hot(jax.random.randint(key, (), 0, arms), arms, dtype=float_type(dtype))
    return make(0.5 + gap * (best - 0.5), horizon=horizon)


def linear(key: jax.Array, *, features: jax.Array, deviation: Any, horizon: Any = None) -> Bandit:
    """Gaussian arms with means `<x_a, theta>`, `theta ~ N(0, I / D)`; arms share what is learned of theta.

    Args:
        key: random key.
        features: [K, D].
        deviation: [] standard deviation of the rewards.
        horizon: [] rounds.

    Reference: Lee et al., Supervised pretraining can learn in-context reinforcement learning, 2023, section 5.
    """
    features = float_array("features", features, "K D")
    size = features.shape[-1]
    theta = jax.random.normal(key, (size,), features.dtype) / size**0.5
    return make(jnp.einsum("kd,d->k", features, theta, precision="highest"), deviation, horizon=horizon)


def switching(
    key: jax.Array, *, arms: int, rounds: int, chance: Any, budget: Any = jnp.inf, dtype: Any = None
) -> Bandit:
    """Bernoulli arms whose means are all drawn anew, `U[0, 1]`, before a round with a given chance; then `within`.

    Args:
        key: random key.
        arms: K.
        rounds: T.
        chance: [] of a change before each round but the first.
        budget: [] largest `V_T`.
        dtype: float type.
    """
    check_sizes(arms=arms, rounds=rounds)
    probability("chance", chance)
    key_change, key_level = jax.random.split(key)
    dtype = float_type(dtype)
    change = jax.random.uniform(key_change, (rounds - 1,), dtype) < chance
    segment = jnp.concatenate([jnp.zeros(1, jnp.int32), jnp.cumsum(change, dtype=jnp.int32)])
    return within(random.uniform(key_level, (rounds, arms), dtype)[segment], budget)


def wandering(key: jax.Array, *, arms: int, rounds: int, step: Any, budget: Any = jnp.inf, dtype: Any = None) -> Bandit:
    """Bernoulli arms whose means walk: `U[0, 1]`, then normal steps, reflected at 0 and 1; then `within`.

    Args:
        key: random key.
        arms: K.
        rounds: T.
        step: [] standard deviation of one step.
        budget: [] largest `V_T`.
        dtype: float type.
    """
    check_sizes(arms=arms, rounds=rounds)
    nonnegative_number("step", step)
    key_start, key_step = jax.random.split(key)
    dtype = float_type(dtype)
    start = jax.random.uniform(key_start, (1, arms), dtype)
    steps = step * jax.random.normal(key_step, (rounds - 1, arms), dtype)
    path = jnp.cumsum(jnp.concatenate([start, steps]), axis=0)
    return within(1 - jnp.abs(1 - path % 2), budget)


def seasonal(
    key: jax.Array, *, arms: int, rounds: int, period: Any, budget: Any = jnp.inf, dtype: Any = None
) -> Bandit:
    """Bernoulli arms with means `(1 + sin(2 pi (t / period + phase_a))) / 2`, uniform phases; then `within`.

    Args:
        key: random key.
        arms: K.
        rounds: T.
        period: [] rounds.
        budget: [] largest `V_T`.
        dtype: float type.
    """
    check_sizes(arms=arms, rounds=rounds)
    positive_number("period", period)
    phase = jax.random.uniform(key, (arms,), float_type(dtype))
    turn = jnp.arange(rounds, dtype=phase.dtype)[:, None] / period + phase[None]
    return within((1 + jnp.sin(2 * jnp.pi * turn)) / 2, budget)


def within(path: jax.Array, budget: Any) -> Bandit:
    """The bandit with a path of means, drawn towards its first row until `V_T` is no more than the budget.

    `mu_t <- mu_0 + c (mu_t - mu_0)` with `c = min(1, budget / V_T)`: means stay in [0, 1].

    Args:
        path: [T, K] chances.
        budget: [] at least 0.
    """
    path = float_array("path", path, "T K")
    number("budget", budget, lambda x: x >= 0, "a number >= 0")
    first = path[:1]
    share = jnp.minimum(1, budget / jnp.maximum(_variation(path), jnp.finfo(path.dtype).tiny))
    return make(jnp.clip(first + share * (path - first), 0, 1), horizon=path.shape[0])


def variation(bandit: Bandit) -> jax.Array:
    """`V_T` of a bandit over its rows of means, []; zero when it has one."""
    return _variation(bandit.mean)


def _variation(path: jax.Array) -> jax.Array:
    return jnp.sum(jnp.max(jnp.abs(jnp.diff(path, axis=0)), axis=-1))
