"""Bandit players that use what they have seen and yet fail to explore, as language models were found to do.

Dimensions: `K` arms. Conventions as in `jaxdm.learners.bandit`.

They are the teachers of a base that struggles: a network which imitates a mixture of them reads its context, and still
gives the best arm up in a share of its runs (SuffFailFreq). Kinds and numbers are ours.

Reference: Krishnamurthy, Harris, Foster, Zhang, Slivkins, Can large language models explore in-context?, NeurIPS 2024:
    suffix failures and uniform-like failures of language models.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxdm import random, validation
from jaxdm.envs.bandit import any_available, best_available, is_available
from jaxdm.learners.bandit import ArmStatistics, Scalar, add_play, empty_statistics, float_type
from jaxdm.types import Agent, Predrawn, Transition

TIE_BREAK = 1e-5
"""Size of the random preferences of a run that decide between arms of equal value."""


class Habits(NamedTuple):
    """How a player decides; with the defaults it is greedy.

    In a round before `commitment` it plays a uniform arm with chance `exploration`, else its last arm with chance
    `stickiness`, else the arm of largest estimated mean `(total_a + optimism) / (plays_a + 1)`. From that round on it
    always plays the arm that was best then.
    """

    exploration: Scalar = 0.0
    stickiness: Scalar = 0.0
    optimism: Scalar = 0.5  # estimated mean of an untried arm: whether the first success or the first failure decides
    commitment: Scalar = jnp.inf  # round, from 0


class Mixture(NamedTuple):
    """Whose habits a run has: the chances of the kinds of `drawn_habits`, and the longest wait for a commitment."""

    greedy: Scalar = 0.2
    sticky: Scalar = 0.15
    epsilon_greedy: Scalar = 0.35
    committing: Scalar = 0.15
    mixed: Scalar = 0.15
    patience: Scalar = 20.0  # rounds, the latest commitment


class ImperfectNoise(NamedTuple):
    """The uniform numbers of a round."""

    explore: jax.Array  # []
    arm: jax.Array  # []
    stick: jax.Array  # []


class ImperfectMemory(NamedTuple):
    """What was seen, how this run decides, and what it has settled on."""

    statistics: ArmStatistics
    habits: Habits
    preference: jax.Array  # [K] tiny numbers that break ties, drawn for the run
    last: jax.Array  # [] int32, the last arm, -1 before the first round
    committed: jax.Array  # [] int32, -1 where it has not committed
    time: jax.Array  # [] int32


def with_habits(arms: int) -> Agent:
    """The player with given habits; params are `Habits`.

    Args:
        arms: K.
    """

    def habits(key: jax.Array, params: Habits) -> Habits:
        validation.probability("exploration", params.exploration)
        validation.probability("stickiness", params.stickiness)
        validation.probability("optimism", params.optimism)
        validation.number("commitment", params.commitment, lambda x: x >= 0, "a number >= 0")
        return params

    return _player(arms, habits)


def mixture(arms: int) -> Agent:
    """The player whose every run has habits drawn from a mixture; params are a `Mixture`.

    Args:
        arms: K.
    """

    def habits(key: jax.Array, params: Mixture) -> Habits:
        for name in Mixture._fields[:-1]:
            validation.nonnegative_number(name, getattr(params, name))
        validation.number("patience", params.patience, lambda x: x >= 1, "a number >= 1")
        return drawn_habits(key, params)

    return _player(arms, habits)


def drawn_habits(key: jax.Array, params: Mixture) -> Habits:
    """Habits of one run.

        greedy            nothing else
        sticky            stickiness in [0.5, 0.95]
        epsilon_greedy    exploration in [0.05, 0.4]
        committing        uniform play until a commitment in [1, patience]
        mixed             exploration in [0, 0.3], stickiness in [0, 0.8], and, half of the time, a commitment

    All numbers are uniform; the value of an untried arm is uniform in [0, 0.6] in every run.
    """
    key_kind, key_numbers = random.split(key)
    chances = jnp.stack([jnp.asarray(chance) for chance in params[:-1]])
    kind = random.sample_index(random.inverse_cdf(chances / jnp.sum(chances)), random.uniform(key_kind))
    u = random.uniform(key_numbers, (5,))
    after = 1 + u[0] * (params.patience - 1)
    exploration = jnp.stack([jnp.zeros(()), jnp.zeros(()), 0.05 + 0.35 * u[1], jnp.ones(()), 0.3 * u[1]])
    stickiness = jnp.stack([jnp.zeros(()), 0.5 + 0.45 * u[2], jnp.zeros(()), jnp.zeros(()), 0.8 * u[2]])
    commits = jnp.stack([False, False, False, True, u[3] < 0.5])
    return Habits(
        exploration=exploration[kind],
        stickiness=stickiness[kind],
        optimism=0.6 * u[4],
        commitment=jnp.where(commits[kind], jnp.floor(after), jnp.inf),
    )


def _player(arms: int, habits: Callable[[jax.Array, Any], Habits]) -> Agent:
    validation.positive_integer("arms", arms)

    def init(key: jax.Array, params: Habits | Mixture) -> ImperfectMemory:
        key_habits, key_preference = random.split(key)
        dtype = float_type(params)
        return ImperfectMemory(
            statistics=empty_statistics(arms, params),
            habits=Habits._make(jnp.asarray(rate, dtype) for rate in habits(key_habits, params)),
            preference=TIE_BREAK * random.uniform(key_preference, (arms,)).astype(dtype),
            last=jnp.int32(-1),
            committed=jnp.int32(-1),
            time=jnp.int32(0),
        )

    def act(
        noise: ImperfectNoise, memory: ImperfectMemory, observation: jax.Array, params: Habits | Mixture
    ) -> tuple[jax.Array, ImperfectMemory]:
        own, statistics = memory.habits, memory.statistics
        value = (statistics.total + own.optimism) / (statistics.plays + 1)
        best = best_available(value + memory.preference, observation)
        settles = (memory.time >= own.commitment) & (memory.committed < 0)
        committed = jnp.where(settles, best, memory.committed)
        anyone = any_available(noise.arm, observation)
        repeats = (noise.stick < own.stickiness) & is_available(observation, memory.last)
        free = jnp.where(noise.explore < own.exploration, anyone, jnp.where(repeats, memory.last, best))
        action = jnp.where(is_available(observation, committed), committed, free)
        action = jnp.where(best < 0, best, action).astype(jnp.int32)  # where no arm can be played, or a value is NaN
        return action, memory._replace(committed=committed)

    def observe(memory: ImperfectMemory, transition: Transition, params: Habits | Mixture) -> ImperfectMemory:
        return memory._replace(
            statistics=add_play(memory.statistics, transition, params),
            last=transition.action.astype(jnp.int32),
            time=memory.time + 1,
        )

    def draw(key: jax.Array, length: int) -> ImperfectNoise:
        return ImperfectNoise._make(random.uniform(key, (3, length)))

    predrawn = Predrawn(draw=draw, apply=act)
    return Agent(init=init, act=predrawn.keyed, observe=observe, predrawn=predrawn)
