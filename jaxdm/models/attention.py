"""Causal attention: softmax, linear and ReLU weights; rotary, ALiBi or no positions; the cache of keys and values.

Dimensions: `T` queries, `S` keys, `H` heads, `K` width of a head. Arrays carry them as suffixes. Heads come first, so
that a head's keys lie together: a decision reads the whole cache, and on CPU any other order is transposed first. A
single head may go without its axis: with an axis of one, XLA copies the whole cache six times for each new token, which
takes 5 times as long (`python -m experiments.speed.tricks`).

Token t attends to tokens 0..t. With scores `z_ts = <q_t, k_s> + bias_ts` the weights are

- softmax: `exp(z_ts / sqrt K) / sum_{s<=t} exp(z_ts / sqrt K)` (the bias is not divided),
- relu: `max(z_ts / sqrt K, 0) / max(t, 1)` (Wortsman et al., Replacing softmax with ReLU in vision transformers, 2023),
- linear: `z_ts / max(t, 1)`: the last of M + 1 tokens divides by M, as in Zhang, Frei, Bartlett, JMLR 25, 2024.
"""

import math
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp

from jaxdm.validation import choice

Kind = Literal["softmax", "linear", "relu"]
Position = Literal["none", "alibi", "rope"]

BLOCK = 128
"""Rows of scores computed at once: longer prompts skip the masked upper triangle, block by block."""


class KeyValues(NamedTuple):
    """The keys and values of one layer for up to S tokens; what is not yet filled is masked by its position."""

    keys: jax.Array  # [H, S, K], or [S, K]
    values: jax.Array  # [H, S, K], or [S, K]


def check(kind: str, position: str) -> None:
    """Check the names of a kind of attention and of a position scheme.

    Raises:
        ValueError: an unknown name.
    """
    choice("attention", kind, get_args(Kind))
    choice("position", position, get_args(Position))


def attend(
    q_HTK: jax.Array,
    cached: KeyValues,
    first: jax.Array | int,
    kind: Kind = "softmax",
    position: Position = "none",
) -> jax.Array:
    """Causal attention of queries at positions `first, first + 1, ...` to keys at positions `0, 1, ...`.

    Args:
        q_HTK: queries, already rotated where `position` is "rope".
        cached: keys (rotated likewise) and values; entries after a query's own position are ignored.
        first: [] int, position of the first query.
        kind: weights, see the module's docstring.
        position: "alibi" adds `-2^(-8 (h+1)/H) (t - s)` to the scores of head h.

    Returns:
        [H, T, K], or [T, K] where queries, keys and values are those of one head without an axis.

    Reference: Press, Smith, Lewis, Train short, test long (ALiBi), 2022.
    """
    if q_HTK.ndim == 2:
        slope = alibi_slopes(1, q_HTK.dtype)[0] if position == "alibi" else None
        return _attend(q_HTK, cached, first, kind, slope)
    slopes = alibi_slopes(q_HTK.shape[0], q_HTK.dtype) if position == "alibi" else None
    return jax.vmap(lambda q, cached, slope: _attend(q, cached, first, kind, slope))(q_HTK, cached, slopes)


def _attend(
    q_TK: jax.Array, cached: KeyValues, first: jax.Array | int, kind: Kind, slope: jax.Array | None
) -> jax.Array:
    """`attend` of one head, [T, K]."""
    k_SK, v_SK = cached
    length = q_TK.shape[0]
    if length > BLOCK and isinstance(first, int):
        starts = range(0, length, BLOCK)
        ends = [min(start + BLOCK, length) for start in starts]
        rows = [
            _attend(
                q_TK[start:end],
                KeyValues(keys=k_SK[: first + end], values=v_SK[: first + end]),
                first + start,
                kind,
                slope,
            )
            for start, end in zip(starts, ends, strict=True)
        ]
        return jnp.concatenate(rows)
    t_T1 = (first + jnp.arange(length))[:, None]
    distance_TS = t_T1 - jnp.arange(k_SK.shape[0])[None, :]
    scale = 1.0 if kind == "linear" else 1 / math.sqrt(q_TK.shape[-1])
    z_TS = jnp.einsum("tk,sk->ts", q_TK * scale, k_SK)
    if slope is not None:
        z_TS -= slope * distance_TS.astype(z_TS.dtype)
    causal_TS = distance_TS >= 0
    if kind == "softmax":
        w_TS = jax.nn.softmax(jnp.where(causal_TS, z_TS, -jnp.inf), axis=-1)
    else:
        z_TS = jax.nn.relu(z_TS) if kind == "relu" else z_TS
        w_TS = jnp.where(causal_TS, z_TS, 0) / jnp.maximum(t_T1, 1).astype(z_TS.dtype)
    return jnp.einsum("ts,sk->tk", w_TS, v_SK)


def alibi_slopes(heads: int, dtype: jnp.dtype) -> jax.Array:
    """`2^(-8 (h+1) / H)` for h = 0..H-1, [H]."""
    return 2.0 ** (-8 * (jnp.arange(heads, dtype=dtype) + 1) / heads)


def rotate(x_HTK: jax.Array, first: jax.Array | int) -> jax.Array:
    """Rotary positions: pair i of token t turns by `t 10000^(-2i/K)`, so that scores depend on distances alone.

    Args:
        x_HTK: queries or keys; K even.
        first: [] int, position of the first token.

    Raises:
        ValueError: K is odd.

    Reference: Su et al., RoFormer, 2021.
    """
    width = x_HTK.shape[-1]
    if width % 2:
        raise ValueError(f"width of a head: {width}; expected an even number for rotary positions")
    rate_I = 10_000.0 ** (-jnp.arange(width // 2, dtype=x_HTK.dtype) * 2 / width)
    t_T = (first + jnp.arange(x_HTK.shape[-2])).astype(x_HTK.dtype)
    angle_TI = t_T[:, None] * rate_I[None, :]
    cos, sin = (
        jnp.broadcast_to(wave, (*x_HTK.shape[:-2], *wave.shape)) for wave in (jnp.cos(angle_TI), jnp.sin(angle_TI))
    )
    even, odd = jnp.split(x_HTK, 2, axis=-1)
    return jnp.concatenate([even * cos - odd * sin, even * sin + odd * cos], axis=-1)


def empty(capacity: int, heads: int, width: int, dtype: jnp.dtype) -> KeyValues:
    """Room for the keys and values of `capacity` tokens; a single head has no axis."""
    zeros = jnp.zeros((capacity, width) if heads == 1 else (heads, capacity, width), dtype)
    return KeyValues(keys=zeros, values=zeros)


def extend(cached: KeyValues, new: KeyValues, first: jax.Array | int) -> KeyValues:
    """Write the keys and values of new tokens at positions `first, first + 1, ...`."""
    start = jnp.asarray(first, jnp.int32)

    def write(old, x):
        return jax.lax.dynamic_update_slice_in_dim(old, x.astype(old.dtype), start, axis=-2)

    return jax.tree.map(write, cached, new)
