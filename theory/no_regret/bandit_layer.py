"""A small layer that plays bandits, as a `Network` that the library's games and distillation train; and bandits of
several sizes as one game.

Dimensions: `A` arms, `T` rounds, `F = 3 A + 1` features of a token.

The tokens are those of `jaxdm.tokens.bandit_tokens`. With the one-hot arm `a_i` of round i and its signed reward
`y_i = (2 r_i - 1) a_i`, the layer answers before round t the logits

    z_t = w_1 a_{t-1} + w_2 y_{t-1} + w_3 sum_{i<t} a_i + w_4 sum_{i<t} y_i.

The sums are linear attention with equal scores, whose mean over tokens is multiplied by their number; the rest is a
skip connection from the last token. All arms share the four weights. Among its policies are uniform play (zero),
commitment to a random first arm (`w_1` or `w_3` large), and following the arm with the most successes (`w_4` large).
"""

import functools

import jax
import jax.numpy as jnp

from jaxdm import random
from jaxdm.envs.bandit import ENDLESS, Bandit
from jaxdm.rmft.games import Game, bandit_game
from jaxdm.tokens import TOKEN_SCALE
from jaxdm.types import Network, Tree

WEIGHTS = ("last", "last_reward", "count", "reward")
"""Names of `w_1` to `w_4`."""


@functools.lru_cache
def layer(arms: int) -> Network:
    """The layer for A arms; its weights are a dictionary of scalars that begins at zero."""

    def read(tokens: jax.Array) -> tuple[jax.Array, jax.Array]:
        return tokens[..., arms : 2 * arms] / TOKEN_SCALE, tokens[..., 2 * arms : 3 * arms] / TOKEN_SCALE

    def logits(weights: Tree, last: tuple, total: tuple) -> jax.Array:
        parts = [weights[name] * each for name, each in zip(WEIGHTS, (*last, *total), strict=True)]
        return jnp.sum(jnp.stack(parts), axis=0)

    def apply(weights: Tree, tokens: jax.Array) -> jax.Array:
        last = read(tokens)
        return logits(weights, last, tuple(jnp.cumsum(each, axis=-2) for each in last))

    def prefill(weights: Tree, tokens: jax.Array, capacity: int, length: jax.Array | None = None) -> tuple:
        count = jnp.int32(tokens.shape[0]) if length is None else length
        kept = jnp.arange(tokens.shape[0])[:, None] < count
        return apply(weights, tokens), tuple(jnp.sum(jnp.where(kept, each, 0), axis=0) for each in read(tokens))

    def step(weights: Tree, cache: Tree, token: jax.Array) -> tuple[jax.Array, Tree]:
        last = read(token)
        total = tuple(sum(pair) for pair in zip(cache, last, strict=True))
        return logits(weights, last, total), total

    def init(key: jax.Array) -> Tree:
        return dict.fromkeys(WEIGHTS, jnp.zeros(()))

    return Network(init=init, apply=apply, prefill=prefill, step=step)


def one_gap_game(arms: int, length: int, gap: float) -> Game:
    """Bernoulli bandits of which one arm has mean `(1 + gap) / 2` and all others `(1 - gap) / 2`.

    Args:
        arms: A, the most arms; the `data` of an instance are [] int32 K <= A, how many of them there are, at random
            places.
        length: T.
        gap: in [0, 1].
    """

    def instance(key: jax.Array, data: jax.Array) -> Bandit:
        place = random.places(key, arms)
        return Bandit(
            mean=0.5 + gap * ((place == 0)[None] - 0.5),
            deviation=jnp.zeros(arms),
            available=place < data,
            horizon=jnp.int32(ENDLESS),
        )

    return bandit_game(lambda key: instance(key, jnp.int32(arms)), arms, length)._replace(instance=instance)
