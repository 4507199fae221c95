"""One layer of linear attention that sums over past losses, as a `Network` that the library's games, distillation and
trainer play; and the game in which its decisions are not projected.

Dimensions: `T` rounds, `d` coordinates of a loss, `m` width of keys, `F = 2 d + 1` features of a token.

The tokens are those of `jaxdm.tokens.online_tokens`. With `u = Q c + q`, c the availability of coordinates, which is
the same in every token, the layer answers before round t

    g_t = sum_{i<t} (V l_i + v) (K l_i + k)^T u = sum_{i<t} [A_eff l_i + (V l_i)(u^T K l_i) + v k^T u],

with the gain `A_eff = (k^T u) V + v u^T K`. It is `sum`, where attention takes the mean over tokens: the length of the
context is multiplied back. The token of the first round, which has no loss yet, adds nothing.

A whole context is read by the library's attention. Token by token the layer needs no past keys and values, only their
sum `sum_i (V l_i + v) (K l_i + k)^T`, [d, m] (Katharopoulos et al., Transformers are RNNs, 2020): rounds on sequences
of their own take a third less time (`python -m theory N12`).
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxdm import random
from jaxdm.models import attention
from jaxdm.models.agents import DecisionNoise, Player, PlayerMemory
from jaxdm.models.attention import KeyValues
from jaxdm.rmft.games import Game, online_game
from jaxdm.rollout import noise_entry
from jaxdm.tokens import TOKEN_SCALE, online_features
from jaxdm.types import Network, Predrawn, Tree

WIDTH = 2
"""m, of keys and queries."""


@functools.lru_cache
def summing_layer(dimension: int) -> Network:
    """The layer; its weights are a dictionary of V, v, K, k, Q and q."""

    def read(weights: Tree, tokens: jax.Array) -> tuple[jax.Array, KeyValues]:
        available, losses, start = jnp.split(tokens, (dimension, 2 * dimension), axis=-1)
        losses, counts = losses / TOKEN_SCALE, 1 - start
        return available @ weights["Q"].T + weights["q"][None], KeyValues(
            keys=losses @ weights["K"].T + counts * weights["k"][None],
            values=losses @ weights["V"].T + counts * weights["v"][None],
        )

    def apply(weights: Tree, tokens: jax.Array) -> jax.Array:
        if tokens.ndim > 2:
            return jax.vmap(apply, (None, 0))(weights, tokens)
        queries, cached = read(weights, tokens)
        count = jnp.maximum(jnp.arange(tokens.shape[0]), 1).astype(queries.dtype)
        return attention.attend(queries, cached, 0, "linear") * count[:, None]

    def prefill(weights: Tree, tokens: jax.Array, capacity: int, length: jax.Array | None = None) -> tuple:
        _, new = read(weights, tokens)
        kept = jnp.arange(tokens.shape[0]) < (tokens.shape[0] if length is None else length)
        return apply(weights, tokens), jnp.einsum("n,nd,nm->dm", kept.astype(tokens.dtype), new.values, new.keys)

    def step(weights: Tree, cache: Tree, token: jax.Array) -> tuple[jax.Array, Tree]:
        queries, new = read(weights, token[None])
        total = cache + new.values.T @ new.keys
        return total @ queries[0], total

    def init(key: jax.Array) -> Tree:
        return random_weights(key, dimension)

    return Network(init=init, apply=apply, prefill=prefill, step=step)


def random_weights(key: jax.Array, dimension: int, scale: float = 0.3) -> Tree:
    """Independent normal weights of standard deviation `scale`."""
    d, m = dimension, WIDTH
    shapes = {"V": (d, d), "v": (d,), "K": (m, d), "k": (m,), "Q": (m, d), "q": (m,)}
    keys = random.split(key, len(shapes))
    return {
        name: scale * random.normal(each, shape, jnp.result_type(float))
        for each, (name, shape) in zip(keys, shapes.items(), strict=True)
    }


def gain_weights(gain: jax.Array) -> Tree:
    """Weights under the conditions `K = 0`, `v = 0`, `k^T u = 1`, with which the layer plays `A S_{t-1}`.

    Args:
        gain: [d, d] A.
    """
    dimension, first = gain.shape[0], jnp.zeros(WIDTH, gain.dtype).at[0].set(1)
    none = jnp.zeros((WIDTH, dimension), gain.dtype)
    return {"V": gain, "v": jnp.zeros(dimension, gain.dtype), "K": none, "k": first, "Q": none, "q": first}


def effective_gain(weights: Tree) -> jax.Array:
    """`A_eff = (k^T u) V + v u^T K`, [d, d]."""
    u = weights["Q"] @ jnp.ones(weights["Q"].shape[1], weights["Q"].dtype) + weights["q"]
    return (weights["k"] @ u) * weights["V"] + jnp.outer(weights["v"], u @ weights["K"])


def ball_game(draw: Callable[..., jax.Array], dimension: int, length: int, projected: jax.Array | bool = False) -> Game:
    """The library's game of online learning on the unit ball, whose labels are the noisy outputs of the network.

    Args:
        draw: distribution of loss sequences, `(key, length=, dimension=) -> [T, d]`.
        dimension: d.
        length: T.
        projected: [] whether decisions are projected on the ball, as the library plays, or are the noisy outputs
            themselves; regret is against the best fixed decision of the unit ball in both cases.
    """
    game = online_game((draw,), dimension, length, "ball", "output")

    def player(network: Network):
        agent = game.player(network)
        noise_of, play = noise_entry(agent.act, agent.predrawn)

        def act(noise: DecisionNoise, memory: PlayerMemory, observation: jax.Array, params: Player) -> tuple:
            token = jnp.concatenate([params.available.astype(memory.past.dtype), memory.past])
            output = network.step(params.weights, memory.cache, token)[0]
            played, memory = play(noise, memory, observation, params)
            return jnp.where(projected, played, output[:dimension] + params.exploration * noise.outputs), memory

        predrawn = Predrawn(draw=noise_of, apply=act)
        return agent._replace(act=predrawn.keyed, predrawn=predrawn)

    assert game.features == online_features(dimension)
    return game._replace(player=player)
