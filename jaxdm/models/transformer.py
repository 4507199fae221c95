"""A decoder behind the pure `Network` boundary. Flax NNX stays in this file.

Dimensions: `T` tokens, `F` features of a token, `D` width, `H` heads, `K = D / H`, `L` layers, `O` outputs. Arrays may
have leading axes of sequences where nothing is cached.
"""

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxdm import random
from jaxdm.models import attention
from jaxdm.models.attention import KeyValues, Kind, Position
from jaxdm.types import Network, Tree
from jaxdm.validation import InvalidInput, is_concrete, positive_integer


@dataclasses.dataclass(frozen=True, kw_only=True)
class TransformerConfig:
    """What shape of network; `bare` leaves only attention and the residual stream, as theory has it.

    A full network is `x = E tokens`, then L times `x += Attention(norm x)`, `x += MLP(norm x)`, then `U norm x`.
    A bare one is `x = tokens`, then L times `x += Attention(x)`; its outputs are its features, so its width is F.
    """

    width: int = 64
    """D."""
    layers: int = 2
    """L."""
    heads: int = 2
    """H, a divisor of the width."""
    attention: Kind = "softmax"
    """Attention weights."""
    position: Position = "alibi"
    """Position scheme."""
    mlp_ratio: int = 4
    """Hidden width of the MLP, in widths."""
    bare: bool = False
    """Only attention and the residual stream."""


def validate(config: TransformerConfig) -> None:
    """Check the shape of a network.

    Raises:
        ValueError: a size below one, heads that do not divide the width, or an unknown kind of attention or position.
    """
    attention.check(config.attention, config.position)
    for name in ("width", "layers", "heads", "mlp_ratio"):
        positive_integer(name, getattr(config, name))
    if config.width % config.heads:
        raise InvalidInput(f"heads: {config.heads}; expected a divisor of width = {config.width}")
    if config.position == "rope" and config.width // config.heads % 2:
        raise InvalidInput(
            f"heads: {config.heads}; expected heads of an even width for rotary positions, not {config.width} / "
            f"{config.heads}"
        )


def network(config: TransformerConfig, features: int, outputs: int) -> Network:
    """The pure functions of a decoder; the same object for the same arguments, so that it is compiled once.

    Args:
        config: its shape.
        features: F.
        outputs: O.

    Returns:
        Network; its parameters are nested dictionaries of arrays. At first entries of matrices are normal with variance
        1 / inputs, those that end a layer's branch with 1 / (L inputs); biases are zero.

    Raises:
        ValueError: sizes that do not fit each other, or an unknown kind of attention or position.
    """
    validate(config)
    features, outputs = positive_integer("features", features), positive_integer("outputs", outputs)
    if config.bare and not config.width == features == outputs:
        raise InvalidInput(f"width: {config.width}; expected features = outputs = width for a bare network")
    return _network(config, features, outputs)


@functools.cache
def _network(config: TransformerConfig, features: int, outputs: int) -> Network:
    """The functions, of sizes that fit."""

    def build():
        return Decoder(config, features, outputs, rngs=nnx.Rngs(0))

    graph, skeleton = nnx.split(nnx.eval_shape(build))

    def init(key: jax.Array) -> Tree:
        return drawn(key, nnx.to_pure_dict(nnx.split(build())[1]))

    def module(params: Tree) -> Decoder:
        state = jax.tree.map(lambda leaf: leaf, skeleton)
        nnx.replace_by_pure_dict(state, params)
        return nnx.merge(graph, state)

    def prefill(
        params: Tree, tokens_TF: jax.Array, capacity: int, length: jax.Array | None = None
    ) -> tuple[jax.Array, Tree]:
        count = tokens_TF.shape[0]
        if capacity < count:
            raise ValueError(f"capacity: {capacity}; expected at least the {count} tokens of the prompt")
        remembered = _remembered(count, capacity, length)
        cache = module(params).empty_cache(capacity, tokens_TF.dtype)
        if count == 0:
            return jnp.zeros((0, outputs), tokens_TF.dtype), (cache, remembered)
        y_TO, cache = module(params).extend(tokens_TF, cache, 0)
        # What is after the last token that counts is masked until it is overwritten.
        return y_TO, (cache, remembered)

    def step(params: Tree, cache: Tree, token_F: jax.Array) -> tuple[jax.Array, Tree]:
        layers, length = cache
        capacity = layers[0].keys.shape[-2]
        if is_concrete(length) and np.any(np.asarray(length) >= capacity):
            raise ValueError(f"cache: holds {length} tokens; expected room for one more, at most {capacity}")
        y_TO, layers = module(params).extend(token_F[None], layers, length)
        # A token without room would overwrite the last one: its output must not pass for a number.
        return jnp.where(length < capacity, y_TO[0], jnp.nan), (layers, length + 1)

    def apply(params: Tree, tokens_TF: jax.Array) -> jax.Array:
        return module(params)(tokens_TF)

    return Network(init=init, apply=apply, prefill=prefill, step=step)


def _remembered(count: int, capacity: int, length: jax.Array | int | None) -> jax.Array:
    """How many of `count` tokens a cache holds, [] int32; a length that they cannot have leaves no room for more.

    Raises:
        ValueError: a concrete length outside 0..count.
    """
    if length is None:
        return jnp.int32(count)
    if is_concrete(length):
        if not np.all((np.asarray(length) >= 0) & (np.asarray(length) <= count)):
            raise ValueError(f"length: {length}; expected between 0 and the {count} tokens of the prompt")
        return jnp.asarray(length, jnp.int32)
    length = jnp.asarray(length, jnp.int32)
    return jnp.where((length >= 0) & (length <= count), length, capacity)


class Decoder(nnx.Module):
    """Embedding, blocks, read-out; as built, every matrix is full of the deviation that its entries are to have."""

    def __init__(self, config: TransformerConfig, features: int, outputs: int, *, rngs: nnx.Rngs):
        """Build; nothing random."""
        self.config = config
        if not config.bare:
            self.embed = linear(features, config.width, rngs, use_bias=True)
            self.norm = nnx.LayerNorm(config.width, rngs=rngs)
            self.readout = linear(config.width, outputs, rngs, use_bias=True)
        for index in range(config.layers):
            setattr(self, f"block_{index}", Block(config, rngs=rngs))

    def __call__(self, tokens_TF: jax.Array) -> jax.Array:
        """Outputs of every token, [..., T, O]."""
        return self._run(tokens_TF, None, 0)[0]

    def extend(self, tokens_TF: jax.Array, cache: list[KeyValues], first: jax.Array | int) -> tuple:
        """Outputs of new tokens at positions `first, ...`, and the cache that then holds them too."""
        return self._run(tokens_TF, cache, first)

    def empty_cache(self, capacity: int, dtype: jnp.dtype) -> list[KeyValues]:
        """Room for `capacity` tokens in every layer."""
        config = self.config
        room = attention.empty(capacity, config.heads, config.width // config.heads, dtype)
        return [room] * config.layers

    def _run(self, tokens_TF: jax.Array, cache: list[KeyValues] | None, first: jax.Array | int) -> tuple:
        x_TD = tokens_TF if self.config.bare else self.embed(tokens_TF)
        layers = []
        for index in range(self.config.layers):
            x_TD, cached = getattr(self, f"block_{index}")(x_TD, cache and cache[index], first)
            layers.append(cached)
        return x_TD if self.config.bare else self.readout(self.norm(x_TD)), layers


class Block(nnx.Module):
    """One layer: attention, then an MLP, each added to the residual stream."""

    def __init__(self, config: TransformerConfig, *, rngs: nnx.Rngs):
        """Build; nothing random."""
        self.config = config
        width, hidden = config.width, config.mlp_ratio * config.width
        self.query, self.key, self.value = (linear(width, width, rngs) for _ in range(3))
        self.out = linear(width, width, rngs, variance=1 / config.layers)
        if not config.bare:
            self.attention_norm = nnx.LayerNorm(width, rngs=rngs)
            self.mlp_norm = nnx.LayerNorm(width, rngs=rngs)
            self.mlp_in = linear(width, hidden, rngs)
            self.mlp_out = linear(hidden, width, rngs, variance=1 / config.layers)

    def __call__(self, x_TD: jax.Array, cached: KeyValues | None, first: jax.Array | int) -> tuple:
        """The residual stream after this layer, and the cache with the new tokens' keys and values in it."""
        n_TD = x_TD if self.config.bare else self.attention_norm(x_TD)

        def mix(q_TD, k_TD, v_TD):
            return self._mix(q_TD, k_TD, v_TD, cached, first)

        for _ in x_TD.shape[:-2]:
            mix = jax.vmap(mix)
        a_TD, cached = mix(self.query(n_TD), self.key(n_TD), self.value(n_TD))
        x_TD = x_TD + self.out(a_TD)
        if not self.config.bare:
            x_TD = x_TD + self.mlp_out(nnx.gelu(self.mlp_in(self.mlp_norm(x_TD))))
        return x_TD, cached

    def _mix(
        self, q_TD: jax.Array, k_TD: jax.Array, v_TD: jax.Array, cached: KeyValues | None, first: jax.Array | int
    ) -> tuple:
        """Attention of one sequence, and the cache with its keys and values."""
        config = self.config

        def split(y_TD):
            return y_TD.reshape(y_TD.shape[0], config.heads, -1).swapaxes(0, 1)

        q_HTK, k_HTK, v_HTK = (y_TD if config.heads == 1 else split(y_TD) for y_TD in (q_TD, k_TD, v_TD))
        if config.position == "rope":
            q_HTK, k_HTK = attention.rotate(q_HTK, first), attention.rotate(k_HTK, first)
        new = KeyValues(keys=k_HTK, values=v_HTK)
        cached = new if cached is None else attention.extend(cached, new, first)
        from_start = isinstance(first, int) and first == 0
        a_HTK = attention.attend(q_HTK, new if from_start else cached, first, config.attention, config.position)
        return a_HTK if config.heads == 1 else a_HTK.swapaxes(0, 1).reshape(q_TD.shape), cached


def linear(inputs: int, outputs: int, rngs: nnx.Rngs, variance: float = 1.0, use_bias: bool = False) -> nnx.Linear:
    """A linear layer whose matrix is full of `sqrt(variance / inputs)`."""
    deviation = nnx.initializers.constant(math.sqrt(variance / inputs))
    return nnx.Linear(inputs, outputs, use_bias=use_bias, dot_general=rows_times, kernel_init=deviation, rngs=rngs)


def drawn(key: jax.Array, built: Tree) -> Tree:
    """The parameters with every matrix drawn.

    All by one generator: one for each takes 5 times as long to compile (`python -m experiments.speed.tricks`).
    """
    leaves, tree = jax.tree.flatten(built)
    ends = np.cumsum([leaf.size if leaf.ndim == 2 else 0 for leaf in leaves])
    normal = random.normal(key, (int(ends[-1]),))

    def part(leaf, end):
        return leaf * normal[end - leaf.size : end].reshape(leaf.shape) if leaf.ndim == 2 else leaf

    return tree.unflatten(map(part, leaves, ends))


def rows_times(x: jax.Array, kernel: jax.Array, dimensions: Any, **options: Any) -> jax.Array:
    """`jax.lax.dot_general` of `x [..., D]` and `kernel [D, E]`, with all leading axes as rows of one matrix.

    The gradient of the kernel is then a product of two matrices too; with two axes to sum over, XLA transposes its
    operands first, which on CPU takes longer than the product.
    """
    flat = jax.lax.dot_general(x.reshape(-1, x.shape[-1]), kernel, (((1,), (0,)), ((), ())), **options)
    return flat.reshape(*x.shape[:-1], kernel.shape[-1])
