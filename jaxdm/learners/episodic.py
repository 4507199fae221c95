"""Tabular learners that change their policy between episodes, and their histories: what improving behaviour looks like.

Dimensions: `O` observations, taken for states, `A` actions, `T` steps of an episode, `K` episodes.

Before each episode a learner plans on what it has counted, or reads its Q-table, and then plays that policy, eps-soft:

- optimism (UCBVI):   plan on the counted model with rewards `r(o,a) + beta / sqrt(n(o,a) + 1)`;
- random values (RLSVI):  the same with `beta xi(o,a) / sqrt(n(o,a) + 1)`, xi standard normal, anew in each episode;
- Q-learning:  `Q(o,a) += rate (r + decay max_b Q(o',b) - Q(o,a))` along the episode, from `Q = beta` (optimistic).

Reference: Azar, Osband, Munos, Minimax regret bounds for reinforcement learning, ICML 2017; Osband, Van Roy, Wen,
Generalization and exploration via randomized value functions, ICML 2016; Watkins, Dayan, Q-learning, 1992.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxdm import random
from jaxdm.rollout import epsilon_soft, markov_agent, rollout
from jaxdm.tokens import Spaces
from jaxdm.types import Env, Episode, Tree

OPTIMISM, RANDOM_VALUES, Q_LEARNING = 0, 1, 2
"""Kinds of learner."""


KINDS = 3
"""How many there are."""


RATE, DECAY, PRIOR = 0.5, 0.9, 0.1
"""Of Q-learning: step size and discount; of planning: pseudo-observations of an unknown row."""


class Learner(NamedTuple):
    """How somebody learns; data, so that one compiled program plays all."""

    kind: jax.Array  # [] int32, one of the kinds above
    bonus: jax.Array  # [] beta, in reward units
    exploration: jax.Array  # [] eps


class Experience(NamedTuple):
    """What has been seen so far."""

    moves: jax.Array  # [O, A, O] counts
    paid: jax.Array  # [O, A] sums of rewards
    q: jax.Array  # [O, A] the table of Q-learning


def draw_learner(key: jax.Array) -> Learner:
    """A learner of any kind, uniformly; `beta` is log-uniform on [0.1, 1] and eps uniform on [0, 0.2]."""
    level = random.uniform(key, (3,))
    return Learner(
        kind=jnp.floor(KINDS * level[0]).astype(jnp.int32), bonus=10 ** (level[1] - 1), exploration=0.2 * level[2]
    )


def start(learner: Learner, spaces: Spaces) -> Experience:
    """Before anything has been seen."""
    pairs = (spaces.observations, spaces.actions)
    return Experience(
        moves=jnp.zeros((*pairs, spaces.observations)),
        paid=jnp.zeros(pairs),
        q=jnp.broadcast_to(learner.bonus, pairs),
    )


def learn(learner: Learner, experience: Experience, episode: Episode) -> Experience:
    """What has been seen after one more episode [T]."""
    weight = episode.mask.astype(experience.paid.dtype)
    here, action, after = episode.observation, episode.action, episode.next_observation

    def update(q: jax.Array, step: tuple) -> tuple[jax.Array, None]:
        here, action, reward, after, weight = step
        error = reward + DECAY * jnp.max(q[after]) - q[here, action]
        return q.at[here, action].add(RATE * weight * error), None

    return Experience(
        moves=experience.moves.at[here, action, after].add(weight),
        paid=experience.paid.at[here, action].add(weight * episode.reward),
        q=jax.lax.scan(update, experience.q, (here, action, episode.reward, after, weight))[0],
    )


def policy(key: jax.Array, learner: Learner, experience: Experience, horizon: int) -> jax.Array:
    """The action probabilities of the next episode, [T, O, A].

    Args:
        key: random key of random values, and of the choice between equally good actions.
        learner: who plans.
        experience: what it has seen.
        horizon: T.
    """
    noise = random.normal(key, experience.paid.shape)
    visits = jnp.sum(experience.moves, axis=-1)
    observations = visits.shape[0]
    width = learner.bonus / jnp.sqrt(visits + 1)
    bonus = jnp.where(learner.kind == RANDOM_VALUES, width * noise, width)
    reward = experience.paid / jnp.maximum(visits, 1) + bonus + 1e-6 * noise  # ties are broken at random
    move = (experience.moves + PRIOR / observations) / (visits + PRIOR)[..., None]

    def back(value: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
        q = reward + jnp.einsum("oap,p->oa", move, value)
        return jnp.max(q, axis=-1), jnp.argmax(q, axis=-1)

    _, planned = jax.lax.scan(back, jnp.zeros(observations), length=horizon, reverse=True)
    table = jnp.broadcast_to(jnp.argmax(experience.q + 1e-6 * noise, axis=-1), planned.shape)
    chosen = jnp.where(learner.kind == Q_LEARNING, table, planned)
    return epsilon_soft(chosen, visits.shape[1], learner.exploration)


def history(
    key: jax.Array, env: Env, params: Tree, learner: Learner, spaces: Spaces, length: int, count: int
) -> Episode:
    """The first K episodes of a learner in a world, leading axes [K, T].

    Args:
        key: random key.
        env: the world.
        params: its instance.
        learner: who learns.
        spaces: sizes.
        length: T.
        count: K.
    """

    def one(experience: Experience, key: jax.Array) -> tuple[Experience, Episode]:
        key_policy, key_play = random.split(key)
        probabilities = policy(key_policy, learner, experience, length)
        episode = rollout(key_play, env, params, markov_agent(length), probabilities, length)
        return learn(learner, experience, episode), episode

    return jax.lax.scan(one, start(learner, spaces), random.split(key, count))[1]
