"""Prompts: episodes as tokens, one a decision, and what a network is asked to predict at each.

Dimensions: `K` episodes, `T` steps, `N = K T` tokens, `O` observations, `A` actions, `F = 2 O + A + 2` features.

The token of step t says what is known before acting: one-hot observation `o_t`, the step that led to it as one-hot
`o_{t-1}`, one-hot `a_{t-1}` and `r_{t-1}` (zeros at the start of an episode), and whether an episode starts here. The
previous observation is in the token before, too; repeated, it makes a token a whole transition, so that a network can
look up what was done at an observation without learning first to find the token before (an induction head).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxdm import randomness
from jaxdm.episodes import rollout
from jaxdm.types import Agent, Env, Episode, Tree


class Spaces(NamedTuple):
    """Sizes of a world's discrete spaces."""

    observations: int
    actions: int

    @property
    def features(self) -> int:
        """F, the width of a token."""
        return 2 * self.observations + self.actions + 2

    @property
    def outputs(self) -> int:
        """Numbers a network predicts per token: action logits, and for each action the next observation and reward."""
        return self.actions * (self.observations + 2)


class Prompt(NamedTuple):
    """A sequence with its targets."""

    tokens: jax.Array  # [N, F]
    label: jax.Array  # [N, A] law of the action to predict
    action: jax.Array  # [N] int32, the action taken
    next_observation: jax.Array  # [N] int32
    reward: jax.Array  # [N]
    mask: jax.Array  # [N] bool, False where nothing is to be learnt


def token(
    observation: jax.Array,
    last_observation: jax.Array,
    last_action: jax.Array,
    last_reward: jax.Array,
    start: jax.Array,
    spaces: Spaces,
) -> jax.Array:
    """One token, [F].

    Args:
        observation: [] int32.
        last_observation: [] int32; anything at the start of an episode.
        last_action: [] int32; anything at the start of an episode.
        last_reward: [] reward units; anything at the start of an episode.
        start: [] bool, whether an episode starts here.
        spaces: sizes.
    """
    carried = 1 - start.astype(last_reward.dtype)
    return jnp.concatenate(
        [
            jax.nn.one_hot(observation, spaces.observations, dtype=last_reward.dtype),
            jax.nn.one_hot(last_observation, spaces.observations, dtype=last_reward.dtype) * carried,
            jax.nn.one_hot(last_action, spaces.actions, dtype=last_reward.dtype) * carried,
            jnp.stack([last_reward * carried, 1 - carried]),
        ]
    )


def encode(episodes: Episode, spaces: Spaces) -> jax.Array:
    """The tokens of K episodes, one after the other.

    Args:
        episodes: leading axes [K, T].
        spaces: sizes.

    Returns:
        [K T, F].
    """
    start = jnp.broadcast_to(jnp.arange(episodes.reward.shape[1]) == 0, episodes.reward.shape)
    flat = lambda x: x.reshape(-1)
    encode_one = jax.vmap(token, in_axes=(0, 0, 0, 0, 0, None))
    before = lambda x: flat(jnp.roll(x, 1, axis=1))
    last = before(episodes.observation), before(episodes.action), before(episodes.reward)
    return encode_one(flat(episodes.observation), last[0], last[1], last[2], flat(start), spaces)


def supervise(episodes: Episode, label: jax.Array, spaces: Spaces) -> Prompt:
    """K episodes as one sequence whose every step is labelled.

    Args:
        episodes: leading axes [K, T].
        label: [K, T, A] laws: the oracle's, or `one_hot(action)` to imitate whoever acted.
        spaces: sizes.

    Returns:
        Prompt of N = K T tokens.
    """
    flat = lambda x: x.reshape(-1)
    return Prompt(
        tokens=encode(episodes, spaces),
        label=label.reshape(-1, spaces.actions),
        action=flat(episodes.action),
        next_observation=flat(episodes.next_observation),
        reward=flat(episodes.reward),
        mask=flat(episodes.mask),
    )


def take(episodes: Episode, count: int) -> Episode:
    """The first `count` (static) of K episodes."""
    return jax.tree.map(lambda x: x[:count], episodes)


def play(key: jax.Array, env: Env, params: Tree, agent: Agent, agent_params: Tree, length: int, count: int) -> Episode:
    """`count` independent episodes of one agent in one task, leading axes [count, T]; `count` may be zero.

    Args:
        key: random key; episode k uses `fold_in(key, k)`, so fewer episodes are a prefix of more.
        env: the world.
        params: its instance.
        agent: who acts.
        agent_params: what it knows.
        length: T.
        count: K.
    """
    keys = jax.vmap(lambda k: randomness.fold_in(key, k))(jnp.arange(max(count, 1)))
    episodes = jax.vmap(lambda k: rollout(k, env, params, agent, agent_params, length))(keys)
    return take(episodes, count)
