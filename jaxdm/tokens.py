"""Prompts: episodes as tokens, one a decision, and what a network is asked to predict at each.

Dimensions: `K` episodes, `T` steps, `N = K T` tokens, `O` observations, `A` actions or arms,
`F` features of a token, in tabular worlds `F = 2 O + A + 2`.

The token of step t says what is known before acting: one-hot observation `o_t`, the step that led to it as one-hot
`o_{t-1}`, one-hot `a_{t-1}` and `r_{t-1}` (zeros at the start of an episode), and whether an episode starts here. The
previous observation is in the token before, too; repeated, it makes a token a whole transition, so that a network can
look up what was done at an observation without learning first to find the token before (an induction head).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxdm.types import Episode
from jaxdm.validation import (
    InvalidInput,
    boolean_array,
    check_shape,
    check_sizes,
    integer_array,
    positive_integer,
    record,
)


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

    Raises:
        ValueError: sizes that are none, what are no episodes, or a single one.
    """
    record("episodes", episodes, Episode)
    if jnp.ndim(episodes.reward) != 2:
        raise InvalidInput(f"episodes: rewards of shape {jnp.shape(episodes.reward)}; expected [K, T], K = 0 too")
    start = jnp.broadcast_to(jnp.arange(episodes.reward.shape[1]) == 0, episodes.reward.shape)
    return encode_steps(
        episodes.observation.reshape(-1),
        episodes.action.reshape(-1),
        episodes.reward.reshape(-1),
        start.reshape(-1),
        spaces,
    )


def encode_steps(
    observation: jax.Array, action: jax.Array, reward: jax.Array, start: jax.Array, spaces: Spaces
) -> jax.Array:
    """The tokens of N decisions in a row, [N, F].

    Args:
        observation: [N] int32.
        action: [N] int32.
        reward: [N].
        start: [N] bool, whether an episode starts here.
        spaces: sizes.

    Raises:
        ValueError: sizes that are none, arrays of other shapes, or (where they are concrete) indices outside the sizes.
    """
    record("spaces", spaces, Spaces)
    check_sizes(observations=spaces.observations, actions=spaces.actions)
    observation = integer_array("observation", observation, at_most=spaces.observations - 1)
    action = integer_array("action", action, at_least=-1, at_most=spaces.actions - 1)
    start = boolean_array("start", start)
    check_shape("reward", reward, None)
    for name, found in (("observation", observation), ("action", action), ("reward", reward), ("start", start)):
        if jnp.ndim(found) != 1 or jnp.shape(found) != observation.shape:
            raise InvalidInput(f"{name}: shape {jnp.shape(found)}; expected [N] for all, N = 0 too")
    last_observation, last_action, last_reward = jnp.roll(observation, 1), jnp.roll(action, 1), jnp.roll(reward, 1)
    encode_one = jax.vmap(token, in_axes=(0, 0, 0, 0, 0, None))
    return encode_one(observation, last_observation, last_action, last_reward, start, spaces)


TOKEN_SCALE = 4.0
"""Scale of what a token says of the past. Attention averages over rounds, and a mean of unit vectors is faint."""


def bandit_features(arms: int) -> int:
    """F of a bandit's token: availability, one-hot last arm, its reward as `2 r - 1`, whether it is the first.

    Raises:
        ValueError: arms < 1.
    """
    arms = positive_integer("arms", arms)
    return 3 * arms + 1


def online_features(dimension: int) -> int:
    """F of an online learner's token: availability, last loss, whether it is the first.

    Raises:
        ValueError: dimension < 1.
    """
    dimension = positive_integer("dimension", dimension)
    return 2 * dimension + 1


def bandit_tokens(episode: Episode, arms: int) -> jax.Array:
    """The tokens that a player of an episode has read, [T, F].

    Args:
        episode: T rounds of a bandit.
        arms: A.

    Raises:
        ValueError: arms < 1, what is no episode, or one of other shapes.
    """
    arms = positive_integer("arms", arms)
    record("episode", episode, Episode)
    check_shape("action", episode.action, "T")
    check_shape("reward", episode.reward, "T", T=episode.action.shape[0])
    check_shape("observation", episode.observation, "T A", T=episode.action.shape[0], A=arms)
    chosen = jax.nn.one_hot(episode.action, arms, dtype=episode.reward.dtype)
    return _tokens(jax.vmap(bandit_past)(chosen, episode.reward), episode.observation)


def online_tokens(losses: jax.Array, available: jax.Array) -> jax.Array:
    """The tokens that a player has read when losses [T, d] were played, [T, F]; available is [d] bool.

    Raises:
        ValueError: arrays of other shapes.
    """
    check_shape("losses", losses, "T d")
    available = boolean_array("available", available, "d", d=losses.shape[1])
    past = jax.vmap(online_past, (0, None))(losses, available)
    return _tokens(past, jnp.broadcast_to(available, losses.shape))


def _tokens(past: jax.Array, available: jax.Array) -> jax.Array:
    shifted = jnp.concatenate([first_past(past.shape[1], past.dtype)[None], past[:-1]])
    return jnp.concatenate([available.astype(past.dtype), shifted], axis=-1)


def bandit_past(chosen: jax.Array, reward: jax.Array) -> jax.Array:
    """What a bandit's next token says of the last round: one-hot arm [A] and its reward; [F - A]."""
    signed = TOKEN_SCALE * chosen * (2 * reward.astype(chosen.dtype) - 1)
    return jnp.concatenate([TOKEN_SCALE * chosen, signed, jnp.zeros(1, chosen.dtype)])


def online_past(loss: jax.Array, available: jax.Array) -> jax.Array:
    """What an online learner's next token says of the last loss [d]; [F - A]."""
    return jnp.append(TOKEN_SCALE * jnp.where(available, loss, 0), jnp.zeros((), loss.dtype))


def first_past(size: int, dtype: jnp.dtype) -> jax.Array:
    """The same before the first round: the mark of a start alone, [size]."""
    return jnp.zeros(size, dtype).at[-1].set(1)
