"""Exponential weights with bandit feedback: for rewards in [0, 1] that need follow no probabilities.

Dimensions: `K` arms. Conventions as in `jaxdm.learners.bandit`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxdm import validation
from jaxdm.learners.bandit import Scalar, empty_statistics, unit_reward
from jaxdm.random import inverse_cdf, sample_index
from jaxdm.rollout import uniform_noise
from jaxdm.types import Agent, Predrawn, Transition


class Exp3Params(NamedTuple):
    """Rates: without sharing it is Exp3, with it Exp3.S."""

    exploration: Scalar = 0.1  # gamma in (0, 1]
    sharing: Scalar = 0.0  # alpha >= 0, how much weight flows to all arms each round


class Exp3Memory(NamedTuple):
    """Log-weights, up to a constant, and the probabilities of the last action."""

    log_weight: jax.Array  # [K]
    probabilities: jax.Array  # [K]


def exp3(arms: int) -> Agent:
    """`p = (1 - gamma) w / sum w + gamma / K`, `w_a <- w_a exp(gamma x_a / (p_a K)) + e alpha / K sum w`.

    The exponential is 1 for arms not played. Params are an `Exp3`; K counts the available arms. Where weights are NaN,
    as after a reward outside [0, 1], or no arm is available, the action is -1.

    Args:
        arms: K.

    Reference: Auer, Cesa-Bianchi, Freund, Schapire, The nonstochastic multiarmed bandit problem, 2002, figures 1 (Exp3)
        and 4 (Exp3.S).
    """

    validation.positive_integer("arms", arms)

    def init(key: jax.Array, params: Exp3Params) -> Exp3Memory:
        validation.number("exploration", params.exploration, lambda x: 0 < x <= 1, "a number in (0, 1]")
        validation.nonnegative_number("sharing", params.sharing)
        zero = empty_statistics(arms, params).plays
        return Exp3Memory(log_weight=zero, probabilities=zero)

    def act(uniform: jax.Array, memory: Exp3Memory, observation: jax.Array, params: Exp3Params) -> tuple:
        probabilities = exp3_probabilities(memory.log_weight, observation, params.exploration)
        action = sample_index(inverse_cdf(probabilities), uniform)
        action = jnp.where(jnp.sum(probabilities) > 0, action, -1)
        return action, Exp3Memory(log_weight=memory.log_weight, probabilities=probabilities)

    def observe(memory: Exp3Memory, transition: Transition, params: Exp3Params) -> Exp3Memory:
        available = transition.observation
        chosen = jax.nn.one_hot(transition.action, arms, dtype=memory.probabilities.dtype)
        count = jnp.sum(available, dtype=memory.probabilities.dtype)
        estimate = (
            chosen
            * unit_reward(transition.reward).astype(memory.probabilities.dtype)
            / jnp.where(chosen > 0, memory.probabilities, 1)
        )
        masked = jnp.where(available, memory.log_weight, -jnp.inf)
        shared = jnp.log(jnp.e * params.sharing / count) + jax.nn.logsumexp(masked)
        log_weight = jnp.logaddexp(memory.log_weight + params.exploration * estimate / count, shared)
        # Only differences matter; keeping the largest at zero keeps long runs exact.
        return Exp3Memory(log_weight=log_weight - jnp.max(log_weight), probabilities=memory.probabilities)

    predrawn = Predrawn(draw=uniform_noise, apply=act)
    return Agent(init=init, act=predrawn.keyed, observe=observe, predrawn=predrawn)


def exp3_probabilities(log_weight: jax.Array, available: jax.Array, exploration: Scalar) -> jax.Array:
    """`(1 - gamma) w / sum w + gamma / K` over the available arms, [K]."""
    share = jax.nn.softmax(jnp.where(available, log_weight, -jnp.inf))
    even = available / jnp.sum(available, dtype=log_weight.dtype)
    return (1 - exploration) * share + exploration * even
