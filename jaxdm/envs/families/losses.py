"""Distributions of loss sequences, `key -> [T, d]`, for learners that see every coordinate of every loss.

Dimensions: `T` rounds, `d` coordinates (arms, on the simplex). A distribution draws in `dtype`, that of jax when left
out. Values are on no common scale; `unit_interval` and `unit_ball` bring a sequence to one.

Reference: the kinds of sequence are those of Park, Liu, Ozdaglar, Zhang, Do LLM agents have regret?, ICLR 2025, and
    of Cesa-Bianchi, Lugosi, Prediction, Learning, and Games, 2006; defaults are ours.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdm import random
from jaxdm.validation import check_sizes, float_type, is_concrete, positive_integer, probability, real_array, require


def uniform(
    key: jax.Array, *, length: int, dimension: int, low: Any = 0.0, high: Any = 1.0, dtype: Any = None
) -> jax.Array:
    """`l_t(i) ~ U[low_i, high_i]`, all independent.

    Args:
        key: random key.
        length: T.
        dimension: d.
        low: [] or [d].
        high: [] or [d].
        dtype: float type.
    """
    dtype = _checked_type(length, dimension, dtype)
    low, high = _row("low", low, dimension, dtype), _row("high", high, dimension, dtype)
    return low + (high - low) * random.uniform(key, (length, dimension), dtype)


def gaussian(
    key: jax.Array, *, length: int, dimension: int, mean: Any = 0.0, deviation: Any = 1.0, dtype: Any = None
) -> jax.Array:
    """`l_t(i) = mean_i + deviation_i xi`, `xi` standard normal, all independent.

    Args:
        key: random key.
        length: T.
        dimension: d.
        mean: [] or [d].
        deviation: [] or [d].
        dtype: float type.
    """
    dtype = _checked_type(length, dimension, dtype)
    noise = jax.random.normal(key, (length * dimension,), dtype).reshape(length, dimension)
    return _row("mean", mean, dimension, dtype) + _row("deviation", deviation, dimension, dtype, 0) * noise


def bernoulli(key: jax.Array, *, length: int, dimension: int, chance: Any = 0.5, dtype: Any = None) -> jax.Array:
    """`l_t(i) = 1` with chance `chance_i`, else 0, all independent.

    Args:
        key: random key.
        length: T.
        dimension: d.
        chance: [] or [d] in [0, 1].
        dtype: float type.
    """
    dtype = _checked_type(length, dimension, dtype)
    draws = random.uniform(key, (length, dimension), dtype)
    return (draws < _row("chance", chance, dimension, dtype, 0, 1)).astype(dtype)


def random_mean(
    key: jax.Array, *, length: int, dimension: int, spread: Any = 1.0, deviation: Any = 1.0, dtype: Any = None
) -> jax.Array:
    """`l_t = m + deviation xi_t`, with one `m ~ N(0, spread^2 I)` for the sequence: past losses tell of later ones.

    Args:
        key: random key.
        length: T.
        dimension: d.
        spread: [] or [d] standard deviation of the mean.
        deviation: [] or [d] standard deviation around it.
        dtype: float type.
    """
    dtype = _checked_type(length, dimension, dtype)
    key_mean, key_noise = jax.random.split(key)
    spread = _row("spread", spread, dimension, dtype, 0)[0]
    mean = gaussian(key_mean, length=1, dimension=dimension, deviation=spread, dtype=dtype)[0]
    return gaussian(key_noise, length=length, dimension=dimension, mean=mean, deviation=deviation, dtype=dtype)


def linear_trend(
    key: jax.Array, *, length: int, dimension: int, slope: Any = 1.0, deviation: Any = 0.1, dtype: Any = None
) -> jax.Array:
    """`l_t(i) = slope_i (u_i + v_i t/T) + deviation_i xi`, with `u_i, v_i ~ U[-1, 1]` for the sequence.

    Args:
        key: random key.
        length: T.
        dimension: d.
        slope: [] or [d], size of start and rise.
        deviation: [] or [d] standard deviation of the noise.
        dtype: float type.
    """
    dtype = _checked_type(length, dimension, dtype)
    key_line, key_noise = jax.random.split(key)
    start, rise = uniform(key_line, length=2, dimension=dimension, low=-1, dtype=dtype)
    time = jnp.arange(length, dtype=start.dtype)[:, None] / length
    line = _row("slope", slope, dimension, start.dtype) * (start[None] + rise[None] * time)
    return line + gaussian(key_noise, length=length, dimension=dimension, deviation=deviation, dtype=dtype)


def sine_trend(
    key: jax.Array,
    *,
    length: int,
    dimension: int,
    period: Any = 12.0,
    amplitude: Any = 1.0,
    deviation: Any = 0.1,
    dtype: Any = None,
) -> jax.Array:
    """`l_t(i) = amplitude_i sin(2 pi (t / period_i + u_i)) + deviation_i xi`, with phases `u_i ~ U[0, 1]`.

    Args:
        key: random key.
        length: T.
        dimension: d.
        period: [] or [d] rounds.
        amplitude: [] or [d].
        deviation: [] or [d] standard deviation of the noise.
        dtype: float type.
    """
    dtype = _checked_type(length, dimension, dtype)
    key_phase, key_noise = jax.random.split(key)
    phase = uniform(key_phase, length=1, dimension=dimension, dtype=dtype)
    time = jnp.arange(length, dtype=phase.dtype)[:, None]
    wave = jnp.sin(2 * jnp.pi * (time / _row("period", period, dimension, phase.dtype, 0, above=True) + phase))
    noise = gaussian(key_noise, length=length, dimension=dimension, deviation=deviation, dtype=dtype)
    return _row("amplitude", amplitude, dimension, phase.dtype) * wave + noise


def random_walk(key: jax.Array, *, length: int, dimension: int, step: Any = 0.1, dtype: Any = None) -> jax.Array:
    """`l_t = l_{t-1} + step xi_t`, `l_0 = 0`.

    Args:
        key: random key.
        length: T.
        dimension: d.
        step: [] or [d] standard deviation of one step.
        dtype: float type.
    """
    dtype = _checked_type(length, dimension, dtype)
    step = _row("step", step, dimension, dtype, 0)[0]
    return jnp.cumsum(gaussian(key, length=length, dimension=dimension, deviation=step, dtype=dtype), axis=0)


def periodic(key: jax.Array, *, length: int, dimension: int, period: Any = 4, dtype: Any = None) -> jax.Array:
    """`l_t = c_{t mod period}`, with a pattern `c` of independent `U[0, 1]` numbers.

    Args:
        key: random key.
        length: T.
        dimension: d.
        period: [] int, at least 1.
        dtype: float type.
    """
    if is_concrete(period):
        positive_integer("period", period)
    pattern = uniform(key, length=length, dimension=dimension, dtype=dtype)
    return pattern[jnp.arange(length) % period]


def alternating(key: jax.Array, *, length: int, dimension: int, dtype: Any = None) -> jax.Array:
    """`l_t = (-1)^t p`, the first one halved, `p = +-(1, -1, 1, ...)`: the last leader always loses next.

    The running sum is `+-p / 2` for ever, so that follow-the-leader pays one each round and no fixed choice does.

    Args:
        key: random key; it decides the sign.
        length: T.
        dimension: d.
        dtype: float type.

    Reference: Shalev-Shwartz, Online Learning and Online Convex Optimization, 2012, example 2.2.
    """
    dtype = _checked_type(length, dimension, dtype)
    sign = jax.random.rademacher(key, (), dtype)
    flips = _signs(length, dtype).at[0].divide(2)
    return sign * flips[:, None] * _signs(dimension, dtype)[None]


def noisy_alternating(
    key: jax.Array, *, length: int, dimension: int, deviation: Any = 0.3, dtype: Any = None
) -> jax.Array:
    """`alternating` plus independent normal noise.

    Args:
        key: random key.
        length: T.
        dimension: d.
        deviation: [] or [d] standard deviation of the noise.
        dtype: float type.
    """
    dtype = _checked_type(length, dimension, dtype)
    key_sign, key_noise = jax.random.split(key)
    noise = gaussian(key_noise, length=length, dimension=dimension, deviation=deviation, dtype=dtype)
    return alternating(key_sign, length=length, dimension=dimension, dtype=dtype) + noise


def switching(
    key: jax.Array, *, length: int, dimension: int, hazard: Any = 0.05, deviation: Any = 0.1, dtype: Any = None
) -> jax.Array:
    """`l_t = m_t + deviation xi_t`; with chance `hazard` a round draws all means `m_t ~ U[0, 1]` afresh.

    Args:
        key: random key.
        length: T.
        dimension: d.
        hazard: [] in [0, 1].
        deviation: [] or [d] standard deviation of the noise.
        dtype: float type.
    """
    dtype = _checked_type(length, dimension, dtype)
    key_mean, key_switch, key_noise = jax.random.split(key, 3)
    means = uniform(key_mean, length=length, dimension=dimension, dtype=dtype)
    probability("hazard", hazard)
    fresh = jax.random.uniform(key_switch, (length,), means.dtype) < hazard
    last = jax.lax.cummax(jnp.where(fresh, jnp.arange(length), 0))
    return means[last] + gaussian(key_noise, length=length, dimension=dimension, deviation=deviation, dtype=dtype)


LAWS: dict[str, Callable[..., jax.Array]] = {
    distribution.__name__: distribution
    for distribution in (
        uniform,
        gaussian,
        bernoulli,
        random_mean,
        linear_trend,
        sine_trend,
        random_walk,
        periodic,
        alternating,
        noisy_alternating,
        switching,
    )
}
"""Every distribution of this module by its name, for tables and figures."""


def unit_interval(losses: jax.Array) -> jax.Array:
    """The sequence moved and scaled as a whole so that its numbers fill [0, 1]; a constant one becomes zero."""
    low, high = jnp.min(losses), jnp.max(losses)
    return (losses - low) / jnp.where(high > low, high - low, 1)


def unit_ball(losses: jax.Array) -> jax.Array:
    """The sequence scaled as a whole so that its longest loss has length one; a zero one stays."""
    longest = jnp.sqrt(jnp.max(jnp.sum(losses**2, axis=-1)))
    return losses / jnp.where(longest > 0, longest, 1)


def _signs(count: int, dtype: Any) -> jax.Array:
    return 1 - 2 * (jnp.arange(count) % 2).astype(dtype)


def _row(
    name: str, value: Any, dimension: int, dtype: Any, low: float = -np.inf, high: float = np.inf, above: bool = False
) -> jax.Array:
    """Numbers [] or [d] in [low, high], or in (low, high], as [1, d].

    Raises:
        ValueError: names the field.
    """
    numbers = real_array(name, value, " or d", dtype, d=dimension)
    if is_concrete(numbers):
        inside = (numbers > low if above else numbers >= low) & (numbers <= high)
        require(name, inside, numbers, f"numbers in {'(' if above else '['}{low:g}, {high:g}]")
    return jnp.broadcast_to(numbers, (dimension,))[None]


def _checked_type(length: int, dimension: int, dtype: Any) -> Any:
    check_sizes(length=length, dimension=dimension)
    return float_type(dtype)
