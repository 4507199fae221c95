"""A Bernoulli bandit of a few rounds with every trajectory written out: policies over histories, exact expectations.

Dimensions: `T` rounds, `n = 4^T` trajectories, `h = (4^T - 1) / 3` histories, two arms in two orders.

In either order the policy meets the better arm in another place, as a network does that is trained on many bandits. A
policy is a table of probabilities of arms given the arms and rewards so far; the regret of a trajectory is the gap
times the number of pulls of the worse arm.
"""

import functools
import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

MEANS = (0.7, 0.4)
"""Of the two arms."""


class EnumeratedBandit(NamedTuple):
    """All trajectories of a bandit in both orders of its arms."""

    history: np.ndarray  # [n, T] int, what had been seen before each round
    action: np.ndarray  # [n, T] int
    chance: np.ndarray  # [2, n] of its rewards given its actions, by order
    regret: np.ndarray  # [2, n] by order
    histories: int  # h


@functools.cache
def enumerate_bandit(length: int) -> EnumeratedBandit:
    """The bandit with `MEANS` over so many rounds."""
    symbols = np.asarray(list(itertools.product(range(4), repeat=length)))
    action, reward = symbols // 2, symbols % 2
    before, history = np.zeros(len(symbols), int), []
    for t in range(length):
        history.append(sum(4**s for s in range(t)) + before)
        before = 4 * before + symbols[:, t]
    means = np.asarray([MEANS, MEANS[::-1]])[:, action]
    worse = np.sum(np.isclose(means, min(MEANS)), axis=2)
    return EnumeratedBandit(
        history=np.stack(history, axis=1),
        action=action,
        chance=np.prod(np.where(reward, means, 1 - means), axis=2),
        regret=(max(MEANS) - min(MEANS)) * worse,
        histories=sum(4**t for t in range(length)),
    )


def log_probability(game: EnumeratedBandit, logits: jax.Array) -> jax.Array:
    """Of the actions of every trajectory, [n], under a softmax policy with logits [h, 2]."""
    return jnp.sum(jax.nn.log_softmax(logits)[game.history, game.action], axis=1)


def probability(game: EnumeratedBandit, policy: np.ndarray) -> np.ndarray:
    """Of every trajectory in either order, [2, n], under a policy [h, 2]."""
    return np.prod(policy[game.history, game.action], axis=1) * game.chance


def visits(game: EnumeratedBandit, weight: np.ndarray) -> np.ndarray:
    """Total weight [n] of the trajectories with an action after a history, [h, 2]."""
    found = np.zeros((game.histories, 2))
    np.add.at(found, (game.history, game.action), np.broadcast_to(weight[:, None], game.history.shape))
    return found
