"""Thompson sampling: play an arm with the chance that it is best under the posterior.

Dimensions: `K` arms, `T` rounds, `L` lanes: 2 K and padding. Conventions as in `jaxdm.learners.bandit`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxdm import validation
from jaxdm.envs.bandit import best_available
from jaxdm.learners.bandit import ArmStatistics, Scalar, add_play, empty_statistics, float_type, unit_reward
from jaxdm.learners.gamma import SMALLEST_SHAPE, log_gamma
from jaxdm.random import normal
from jaxdm.types import Agent, Transition

LANES = 8
"""A CPU computes this many numbers at once; loops over an axis that is no multiple of it are several times slower."""


class BetaPrior(NamedTuple):
    """Prior of every arm's chance of success: pseudo-counts of at least 1."""

    successes: Scalar = 1.0
    failures: Scalar = 1.0


class BetaMemory(NamedTuple):
    """The posterior: successes of all arms, then failures of all arms, then ones."""

    shapes: jax.Array  # [L]


class NormalPrior(NamedTuple):
    """Prior `N(mean, deviation^2)` of every arm's mean reward, and the known deviation of one reward."""

    mean: Scalar = 0.0
    deviation: Scalar = 1.0
    noise: Scalar = 1.0


def beta_thompson(arms: int) -> Agent:
    """`argmax_a X_a`, `X_a ~ Beta(successes + wins_a, failures + losses_a)`; params are a `BetaPrior`.

    What is compared is `ln(X / (1 - X))`, a difference of log-gamma variates (`jaxdm.random` says how exact).
    A reward between 0 and 1 counts as that share of a success; after any other all actions are -1.

    Args:
        arms: K.

    Raises:
        ValueError: when it starts, a pseudo-count below 1.

    Reference: Thompson, On the likelihood that one unknown probability exceeds another, 1933.
    """
    validation.positive_integer("arms", arms)
    lanes = -(-2 * arms // LANES) * LANES
    contrast = np.eye(lanes, arms, dtype=np.float32) - np.eye(lanes, arms, -arms, dtype=np.float32)
    arm_of, is_success = np.arange(lanes) % arms, np.arange(lanes) < arms
    is_shape = np.arange(lanes) < 2 * arms

    def init(key: jax.Array, params: BetaPrior) -> BetaMemory:
        for name, count in params._asdict().items():
            wanted = f"a finite number, at least {SMALLEST_SHAPE}"
            validation.number(name, count, lambda x: SMALLEST_SHAPE <= x < np.inf, wanted)
        prior = jnp.where(is_success, params.successes, params.failures)
        return BetaMemory(shapes=jnp.where(is_shape, prior, 1).astype(float_type(params)))

    def act(key: jax.Array, memory: BetaMemory, observation: jax.Array, params: BetaPrior) -> tuple:
        sample = log_gamma(normal(key, (lanes,)).astype(memory.shapes.dtype), memory.shapes)
        # A product, where two slices would do, since XLA computes slices' operand inside the scalar loop of argmax.
        logit = jnp.dot(sample, contrast.astype(sample.dtype), precision=jax.lax.Precision.HIGHEST)
        return best_available(logit, observation), memory

    def observe(memory: BetaMemory, transition: Transition, params: BetaPrior) -> BetaMemory:
        reward = unit_reward(transition.reward).astype(memory.shapes.dtype)
        gain = jnp.where(is_success, reward, 1 - reward)
        return BetaMemory(shapes=memory.shapes + jnp.where(is_shape & (arm_of == transition.action), gain, 0))

    return Agent(init=init, act=act, observe=observe)


def normal_thompson(arms: int) -> Agent:
    """`argmax_a X_a`, `X_a ~ N(m_a, 1 / w_a)` with `w_a = 1/deviation^2 + n_a/noise^2`; params are a `NormalPrior`.

    `m_a = (mean / deviation^2 + total_a / noise^2) / w_a`. Without noise one play tells an arm's mean.

    Args:
        arms: K.

    Raises:
        ValueError: when it starts, a mean that is not finite, a deviation that is not positive, or negative noise.

    Reference: Russo, Van Roy, Kazerouni, Osband, Wen, A tutorial on Thompson sampling, 2018, section 4.
    """

    validation.positive_integer("arms", arms)

    def act(key: jax.Array, memory: ArmStatistics, observation: jax.Array, params: NormalPrior) -> tuple:
        prior = (params.noise / params.deviation) ** 2  # in plays, so that no noise is as good as any
        weight = prior + memory.plays
        observed = weight > 0
        weight = jnp.where(observed, weight, 1)
        centre = jnp.where(observed, (prior * params.mean + memory.total) / weight, params.mean)
        spread = jnp.where(observed, params.noise * jax.lax.rsqrt(weight), params.deviation)
        return best_available(centre + normal(key, (arms,)).astype(weight.dtype) * spread, observation), memory

    def init(key: jax.Array, params: NormalPrior) -> ArmStatistics:
        validation.number("mean", params.mean, np.isfinite, "a finite number")
        validation.positive_number("deviation", params.deviation)
        validation.nonnegative_number("noise", params.noise)
        return empty_statistics(arms, params)

    return Agent(init=init, act=act, observe=add_play)
