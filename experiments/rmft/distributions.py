"""Distributions of bandits: what is met in training, and other arms, gaps, means, rewards and drift.

Dimensions: `K` arms, `T` rounds.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxdm import random
from jaxdm.envs import bandit
from jaxdm.envs.bandit import Bandit
from jaxdm.rmft import games

ARMS = 6
"""Slots of a bandit; some are unavailable, at random places."""


class Distribution(NamedTuple):
    """Bernoulli bandits: one arm has mean `(1 + gap) / 2` and the others `(1 - gap) / 2`, unless said otherwise."""

    arms: int
    gap: float = 0.0
    kind: str = "gap"  # "uniform": means U[0, 1]; "switch": the best arm changes at half time; "walk": means wander


DISTRIBUTIONS = {
    "training": Distribution(arms=5),
    "K=5, gap 0.2": Distribution(arms=5, gap=0.2),
    "K=5, gap 0.1": Distribution(arms=5, gap=0.1),
    "K=4, gap 0.5": Distribution(arms=4, gap=0.5),
    "K=2, gap 0.2": Distribution(arms=2, gap=0.2),
    "K=3, gap 0.4": Distribution(arms=3, gap=0.4),
    "K=6, gap 0.4": Distribution(arms=6, gap=0.4),
    "uniform means, K=5": Distribution(arms=5, kind="uniform"),
    "one switch, K=5": Distribution(arms=5, gap=0.8, kind="switch"),
    "random walk, K=5": Distribution(arms=5, kind="walk"),
}
"""In training K is four or five, and the gap is uniform in [0.2, 0.5]."""


STATIONARY = tuple(name for name, law in DISTRIBUTIONS.items() if law.kind in ("gap", "uniform"))


STEP = 0.1
"""Largest move of a wandering mean in a round."""


def draw(key: jax.Array, index: jax.Array) -> Bandit:
    """A stationary bandit of the distribution with that index in `DISTRIBUTIONS`; arms at random slots."""
    key_size, key_gap, key_place, key_mean = random.split(key, 4)
    gap = 0.2 + 0.3 * random.uniform(key_gap)
    size = jnp.where(random.uniform(key_size) < 0.5, 4, 5)
    laws = list(DISTRIBUTIONS.values())
    training = index == 0
    size = jnp.where(training, size, jnp.asarray([law.arms for law in laws])[index])
    gap = jnp.where(training, gap, jnp.asarray([law.gap for law in laws])[index])
    place = random.places(key_place, ARMS)
    one_gap = 0.5 + gap * ((place == 0).astype(gap.dtype) - 0.5)
    uniform = jnp.asarray([law.kind != "gap" for law in laws])[index]
    mean = jnp.where(uniform & (gap == 0), random.uniform(key_mean, (ARMS,)), one_gap)
    return bandit.make(mean, available=place < size)


def draw_drifting(key: jax.Array, index: jax.Array, rounds: int) -> Bandit:
    """As `draw`, with a row of means for each round, which move where the distribution says so."""
    key_first, key_steps = random.split(key)
    first = draw(key_first, index)
    kinds = [law.kind for law in DISTRIBUTIONS.values()]
    place = jnp.cumsum(first.available) * first.available  # the available arms, numbered from one
    successor = place % jnp.sum(first.available) + 1
    early = first.mean[0]
    followed = place[:, None] == successor[None]
    after = jnp.where(first.available, jnp.sum(jnp.where(followed, early[:, None], 0), axis=0), early)
    still, later = (jnp.broadcast_to(means, (rounds, ARMS)) for means in (early, after))
    moves = STEP * (2 * random.uniform(key_steps, (rounds, ARMS)) - 1)
    wandered = jnp.abs((still + jnp.cumsum(moves.at[0].set(0), axis=0) + 1) % 2 - 1)  # reflected into [0, 1]
    switched = jnp.where((jnp.arange(rounds) < rounds // 2)[:, None], still, later)
    is_kind = {name: jnp.asarray([kind == name for kind in kinds])[index] for name in ("switch", "walk")}
    return first._replace(mean=jnp.where(is_kind["switch"], switched, jnp.where(is_kind["walk"], wandered, still)))


def training_bandit(key: jax.Array) -> Bandit:
    """A bandit of the training distribution."""
    return draw(key, jnp.int32(0))


def evaluation_game(length: int) -> games.Game:
    """Bernoulli bandits; an instance is of the distribution whose index is its data."""

    def instance(key: jax.Array, index: jax.Array) -> Bandit:
        return draw_drifting(key, index, length)

    return games.bandit_game(training_bandit, ARMS, length)._replace(instance=instance)


def gaussian_game(length: int, deviations: Sequence[float]) -> games.Game:
    """The means of training with Gaussian rewards; an instance has the deviation whose index is its data."""
    scale = jnp.asarray(deviations)

    def instance(key: jax.Array, index: jax.Array) -> Bandit:
        return training_bandit(key)._replace(deviation=jnp.full(ARMS, scale[index]))

    return games.bandit_game(training_bandit, ARMS, length, rewards="gaussian")._replace(instance=instance)
