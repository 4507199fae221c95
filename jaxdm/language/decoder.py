"""A decoder of text of the Llama family: Llama, SmolLM2, Mistral, Qwen2 and Qwen3 by one configuration record.

    x <- x + W_o attend(rope(W_q n), rope(W_k n), W_v n)         n = norm x
    x <- x + W_d (silu(W_g n) * W_u n)                           n = norm x
    logits = U norm x                                            norm x = g x / sqrt(mean x^2 + eps)

Queries of `Q` heads share the keys and values of one. Norms, attention weights and logits are computed in float32
whatever the type of the weights.

Dimensions: `B` sequences, `T` tokens, `N` of them asked about, `V` vocabulary, `D` width, `G` heads of keys, `Q`
queries of each, `H = G Q`, `K` width of a head, `F` hidden width, `L` layers. Of play: `M` scenarios, `R` rollouts of
each, `P` tokens of a prefix, `S` slots of a cache.

Sequences of unequal length are padded on the left: a `mask` [B, T] is False there, positions count what it leaves, and
outputs of the rest are as if nothing were there.

Reference: Touvron et al., Llama, arXiv 2302.13971; Su et al., RoFormer, 2021; Ainslie et al., GQA, 2023; Yang et al.,
    Qwen3, arXiv 2505.09388.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxdm import random
from jaxdm.types import Tree
from jaxdm.validation import InvalidInput, check_shape, positive_integer, positive_number, require


@dataclasses.dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """The shape of a decoder, and what distinguishes the members of the family."""

    vocabulary: int
    """V."""
    width: int
    """D."""
    layers: int
    """L."""
    heads: int
    """H, heads of queries."""
    kv_heads: int
    """G, heads of keys and values; a divisor of H."""
    head_width: int
    """K, even."""
    hidden: int
    """F."""
    rope_base: float = 10_000.0
    """Rotary positions: pair i of a head turns by `base^(-2 i / K)` a token."""
    rope_factors: tuple[float, ...] | None = None
    """[K / 2] what these speeds are divided by, as in Llama 3.1; none where left out."""
    epsilon: float = 1e-5
    """Of the norms."""
    tied: bool = True
    """Whether the read-out is the embedding."""
    qkv_bias: bool = False
    """Whether queries, keys and values have biases, as in Qwen2."""
    qk_norm: bool = False
    """Whether queries and keys are normed, as in Qwen3."""


class LowRank(NamedTuple):
    """What an adapter adds to one matrix of a layer: `x -> drop(x) a b`; in stacked layers each has a leading [L]."""

    a: jax.Array  # [inputs, rank]
    b: jax.Array  # [rank, outputs], scaled
    key: jax.Array | None = None  # [] of what is dropped; nothing is where there is none
    rate: jax.Array | None = None  # [] share of the inputs that are dropped


class Prefix(NamedTuple):
    """Keys and values of the tokens that all rollouts of a scenario have in common."""

    keys: list[jax.Array]  # L of [M, G, K, P]
    values: list[jax.Array]  # L of [M, G, P, K]
    mask: jax.Array  # [M, P] bool


class Cache(NamedTuple):
    """What has been read: a prefix for each scenario, and slots of their own for the B = M R rollouts."""

    prefix: Prefix
    keys: list[jax.Array]  # L of [B, G, K, S]
    values: list[jax.Array]  # L of [B, G, S, K]
    mask: jax.Array  # [B, S] bool, the slots that hold a token
    position: jax.Array  # [B] int32, of the next token
    used: jax.Array  # [] int32, slots that are taken, padding included


def validate(config: DecoderConfig) -> None:
    """Check the shape of a decoder.

    Raises:
        ValueError: a size below one, heads of keys that do not divide those of queries, heads of an odd width, or a
            number out of its range.
    """
    for name in ("vocabulary", "width", "layers", "heads", "kv_heads", "head_width", "hidden"):
        positive_integer(name, getattr(config, name))
    if config.heads % config.kv_heads:
        raise InvalidInput(f"kv_heads: {config.kv_heads}; expected a divisor of heads = {config.heads}")
    if config.head_width % 2:
        raise InvalidInput(f"head_width: {config.head_width}; expected an even width, as positions turn pairs")
    positive_number("rope_base", config.rope_base)
    positive_number("epsilon", config.epsilon)
    if config.rope_factors is not None:
        if len(config.rope_factors) != config.head_width // 2:
            raise InvalidInput(f"rope_factors: {len(config.rope_factors)}; expected head_width / 2")
        require("rope_factors", [factor > 0 for factor in config.rope_factors], config.rope_factors, "positive numbers")


Axes = tuple[str, ...]


def axes(config: DecoderConfig) -> dict[str, Any]:
    """The names of the axes of every parameter; the tree has the structure of the parameters."""
    layers: dict[str, Axes] = {
        "attention_norm": ("layer", "width"),
        "query": ("layer", "width", "heads"),
        "key": ("layer", "width", "kv_heads"),
        "value": ("layer", "width", "kv_heads"),
        "out": ("layer", "heads", "width"),
        "mlp_norm": ("layer", "width"),
        "gate": ("layer", "width", "hidden"),
        "up": ("layer", "width", "hidden"),
        "down": ("layer", "hidden", "width"),
    }
    if config.qkv_bias:
        layers |= {"query_bias": ("layer", "heads"), "key_bias": ("layer", "kv_heads")}
        layers |= {"value_bias": ("layer", "kv_heads")}
    if config.qk_norm:
        layers |= {"query_norm": ("layer", "head"), "key_norm": ("layer", "head")}
    top: dict[str, Any] = {"embedding": ("vocabulary", "width"), "norm": ("width",), "layers": layers}
    return top if config.tied else top | {"readout": ("width", "vocabulary")}


def shapes(config: DecoderConfig) -> dict[str, Any]:
    """The shape of every parameter, in the tree of `axes`."""
    sizes = {
        "layer": config.layers,
        "vocabulary": config.vocabulary,
        "width": config.width,
        "heads": config.heads * config.head_width,
        "kv_heads": config.kv_heads * config.head_width,
        "head": config.head_width,
        "hidden": config.hidden,
    }
    return jax.tree.map(lambda names: tuple(sizes[name] for name in names), axes(config), is_leaf=_is_axes)


TENSOR_PARALLEL = {"heads": "model", "kv_heads": "model", "hidden": "model", "vocabulary": "model"}
"""Which axis of the mesh each named axis lies along: every product is split once, and summed once a branch."""


def shardings(config: DecoderConfig, mesh: Mesh, rules: Mapping[str, str | None] = TENSOR_PARALLEL) -> dict[str, Any]:
    """Where every parameter lies on a mesh, for `jax.device_put(params, shardings(config, mesh))`.

    Args:
        config: the shape of the decoder.
        mesh: with axes of automatic type; batches may be sharded along another of its axes.
        rules: named axis -> axis of the mesh; names left out are not sharded.

    Raises:
        ValueError: a rule for an unknown axis, or an axis of the mesh that does not divide what lies along it.
    """
    found = axes(config)
    known = {name for names in jax.tree.leaves(found, is_leaf=_is_axes) for name in names}
    known |= set(axes(dataclasses.replace(config, tied=False, qkv_bias=True, qk_norm=True))["layers"]) | known
    for name, along in rules.items():
        if name not in known or (along is not None and along not in mesh.shape):
            wanted = f"one of {', '.join(sorted(known))} along one of {mesh.axis_names}"
            raise InvalidInput(f"rules: {name!r} along {along!r}; expected {wanted}")

    def place(names: Axes, shape: tuple[int, ...]) -> NamedSharding:
        spec = [rules.get(name) for name in names]
        for name, along, size in zip(names, spec, shape, strict=True):
            if along is not None and size % mesh.shape[along]:
                raise InvalidInput(f"mesh: {mesh.shape[along]} along {along!r}; expected a divisor of {name} = {size}")
        return NamedSharding(mesh, PartitionSpec(*spec))

    return jax.tree.map(place, found, shapes(config), is_leaf=_is_axes)


def _is_axes(node: Any) -> bool:
    return isinstance(node, tuple)


def init(key: jax.Array, config: DecoderConfig) -> dict[str, Any]:
    """Random parameters: matrices normal with variance 1 / inputs, those that end a branch 1 / (2 L inputs), gains one.

    Raises:
        ValueError: as `validate`.
    """
    validate(config)
    wanted = shapes(config)
    paths, tree = jax.tree.flatten_with_path(wanted, is_leaf=_is_axes)

    def draw(key: jax.Array, path: Any, shape: tuple[int, ...]) -> jax.Array:
        name = path[-1].key
        if name.endswith("norm"):
            return jnp.ones(shape)
        if name.endswith("bias"):
            return jnp.zeros(shape)
        inputs = config.width if name == "embedding" else shape[-2]
        branch = 2 * config.layers if name in ("out", "down") else 1
        return random.normal(key, shape) / math.sqrt(inputs * branch)

    keys = random.split(key, len(paths))
    return tree.unflatten(draw(key, path, shape) for key, (path, shape) in zip(keys, paths, strict=True))


def unstack(params: Tree) -> Tree:
    """The same parameters with a list of layers, as decoding wants them: a step then reads weights where they lie.

    Slices of stacked layers inside a loop are copies of all weights, in every step or once more in memory.
    """
    layers = params["layers"]
    count = layers["attention_norm"].shape[0]
    return params | {"layers": [jax.tree.map(lambda leaf, i=i: leaf[i], layers) for i in range(count)]}


def apply(
    config: DecoderConfig,
    params: Tree,
    tokens_BT: jax.Array,
    mask_BT: jax.Array | None = None,
    at_BN: jax.Array | None = None,
) -> jax.Array:
    """Logits of the next token, by one scan over stacked layers whose backward pass keeps only products with weights.

    Args:
        config: the shape of the decoder.
        params: stacked, as `init` and `jaxdm.language.weights` give them, or with adapters attached.
        tokens_BT: indices.
        mask_BT: False at padding; all True when left out.
        at_BN: the places that are asked about, all when left out; few places save the product with the vocabulary.

    Returns:
        [B, N, V] float32, or [B, T, V].

    Raises:
        ValueError: shapes that do not fit.
    """
    x_BTD = _read(config, params, tokens_BT, mask_BT)[0]
    if at_BN is not None:
        x_BTD = jnp.take_along_axis(x_BTD, at_BN[..., None], axis=1)
    return logits(config, params, x_BTD)


def log_likelihood(
    config: DecoderConfig, params: Tree, tokens_BT: jax.Array, mask_BT: jax.Array | None, at_BN: jax.Array
) -> jax.Array:
    """`log p(token n | tokens before n)` of the tokens at places `at_BN` >= 1, [B, N] in nats; arguments as `apply`."""
    found_BNV = jax.nn.log_softmax(apply(config, params, tokens_BT, mask_BT, at_BN - 1))
    target_BN = jnp.take_along_axis(tokens_BT, at_BN, axis=1)
    return jnp.take_along_axis(found_BNV, target_BN[..., None], axis=-1)[..., 0]


def prefill(
    config: DecoderConfig, params: Tree, tokens_MP: jax.Array, mask_MP: jax.Array | None = None
) -> tuple[jax.Array, Prefix]:
    """Read the prefix of every scenario once, whoever many rollouts will follow.

    Args:
        config: the shape of the decoder.
        params: stacked.
        tokens_MP: indices.
        mask_MP: False at padding on the left.

    Returns:
        Logits [M, V] after the last token, and the prefix.

    Raises:
        ValueError: shapes that do not fit.
    """
    mask_MP = jnp.ones(tokens_MP.shape, bool) if mask_MP is None else mask_MP
    x_MPD, (keys, values) = _read(config, params, tokens_MP, mask_MP)
    prefix = Prefix(
        keys=[one.transpose(0, 2, 3, 1) for one in keys],
        values=[one.transpose(0, 2, 1, 3) for one in values],
        mask=mask_MP,
    )
    return logits(config, params, x_MPD[:, -1]), prefix


def start(config: DecoderConfig, prefix: Prefix, rollouts: int, slots: int) -> Cache:
    """An empty cache behind a prefix, with that many slots for each of R rollouts of every scenario.

    Raises:
        ValueError: a size below one.
    """
    positive_integer("rollouts", rollouts)
    positive_integer("slots", slots)
    batch, dtype = prefix.mask.shape[0] * rollouts, prefix.keys[0].dtype
    room = (batch, config.kv_heads)
    return Cache(
        prefix=prefix,
        keys=[jnp.zeros((*room, config.head_width, slots), dtype) for _ in range(config.layers)],
        values=[jnp.zeros((*room, slots, config.head_width), dtype) for _ in range(config.layers)],
        mask=jnp.zeros((batch, slots), bool),
        position=jnp.repeat(jnp.sum(prefix.mask, axis=1, dtype=jnp.int32), rollouts),
        used=jnp.int32(0),
    )


def extend(
    config: DecoderConfig, params: Tree, cache: Cache, tokens_BT: jax.Array, mask_BT: jax.Array | None = None
) -> tuple[jax.Array, Cache]:
    """Read more tokens of every rollout, which fill T slots.

    The cache is read as it was, new tokens are scored apart, and the cache is written when all has been read: XLA
    copies a cache that is read after it is written.

    Args:
        config: the shape of the decoder.
        params: from `unstack`.
        cache: with room for T more.
        tokens_BT: indices.
        mask_BT: False where a rollout has no token; left of what it has, if logits are to be used.

    Returns:
        Logits [B, V] after the last token, NaN where there was no room, and the cache.

    Raises:
        ValueError: shapes that do not fit.
    """
    batch, slots = cache.mask.shape
    check_shape("tokens", tokens_BT, "B T", B=batch)
    mask_BT = jnp.ones(tokens_BT.shape, bool) if mask_BT is None else mask_BT
    count = tokens_BT.shape[1]
    position_BT = cache.position[:, None] + jnp.cumsum(mask_BT, axis=1, dtype=jnp.int32) - 1
    angle_BTK = _angles(config, position_BT)
    new_mask_BTT = mask_BT[:, None, :] & jnp.tril(jnp.ones((count, count), bool))[None]
    x_BTD = params["embedding"][tokens_BT]
    written = []
    for layer, *read in zip(
        params["layers"], cache.prefix.keys, cache.prefix.values, cache.keys, cache.values, strict=True
    ):
        attend = functools.partial(_attend_cached, read, cache.prefix.mask, cache.mask, new_mask_BTT)
        x_BTD, new = _block(config, layer, x_BTD, angle_BTK, attend)
        written.append(new)
    at = cache.used
    put = functools.partial(jax.lax.dynamic_update_slice_in_dim, start_index=at)
    cache = Cache(
        prefix=cache.prefix,
        keys=[put(old, new.transpose(0, 2, 3, 1), axis=3) for old, (new, _) in zip(cache.keys, written, strict=True)],
        values=[
            put(old, new.transpose(0, 2, 1, 3), axis=2) for old, (_, new) in zip(cache.values, written, strict=True)
        ],
        mask=put(cache.mask, mask_BT, axis=1),
        position=cache.position + jnp.sum(mask_BT, axis=1, dtype=jnp.int32),
        used=at + count,
    )
    found_BV = logits(config, params, x_BTD[:, -1])
    # Without room the last tokens would be overwritten: that must not pass for numbers.
    return jnp.where(cache.used <= slots, found_BV, jnp.nan), cache


def logits(config: DecoderConfig, params: Tree, x: jax.Array) -> jax.Array:
    """Logits [..., V], float32, of the residual stream [..., D]."""
    n = _norm(config, params["norm"], x)
    matrix = params["embedding"] if config.tied else params["readout"]
    contracted = (((1,), (1 if config.tied else 0,)), ((), ()))
    flat = jax.lax.dot_general(n.reshape(-1, n.shape[-1]), matrix, contracted, preferred_element_type=jnp.float32)
    return flat.reshape(*x.shape[:-1], -1)


def _read(config: DecoderConfig, params: Tree, tokens_BT: jax.Array, mask_BT: jax.Array | None) -> tuple:
    """The residual stream [B, T, D] after all layers, and keys and values [L, B, T, G, K]."""
    check_shape("tokens", tokens_BT, "B T")
    batch, count = tokens_BT.shape
    mask_BT = jnp.ones(tokens_BT.shape, bool) if mask_BT is None else mask_BT
    check_shape("mask", mask_BT, "B T", B=batch, T=count)
    angle_BTK = _angles(config, jnp.cumsum(mask_BT, axis=1, dtype=jnp.int32) - 1)
    seen_BTT = mask_BT[:, None, :] & jnp.tril(jnp.ones((count, count), bool))[None]

    def attend(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
        scores = jnp.einsum("btgqk,bsgk->bgqts", q, k, preferred_element_type=jnp.float32)
        weights = _softmax(jnp.where(seen_BTT[:, None, None], scores, -jnp.inf)).astype(v.dtype)
        return jnp.einsum("bgqts,bsgk->btgqk", weights, v)

    @functools.partial(jax.checkpoint, policy=jax.checkpoint_policies.dots_with_no_batch_dims_saveable)
    def one(x_BTD: jax.Array, layer: Tree) -> tuple:
        return _block(config, layer, x_BTD, angle_BTK, attend)

    return jax.lax.scan(one, params["embedding"][tokens_BT], params["layers"])


def _block(config: DecoderConfig, layer: Tree, x_BTD: jax.Array, angle_BTK: jax.Array, attend: Callable) -> tuple:
    """One layer: the residual stream after it, and the keys and values [B, T, G, K] of the tokens."""
    batch, count, _ = x_BTD.shape
    heads = (batch, count, config.kv_heads)
    n_BTD = _norm(config, layer["attention_norm"], x_BTD)
    q = project(layer, "query", n_BTD).reshape(*heads, -1, config.head_width)
    k = project(layer, "key", n_BTD).reshape(*heads, config.head_width)
    v = project(layer, "value", n_BTD).reshape(*heads, config.head_width)
    if config.qk_norm:
        q, k = _norm(config, layer["query_norm"], q), _norm(config, layer["key_norm"], k)
    q, k = _rotate(q, angle_BTK[:, :, None, None]), _rotate(k, angle_BTK[:, :, None])
    a = attend(q * jnp.asarray(config.head_width**-0.5, q.dtype), k, v)
    x_BTD = x_BTD + project(layer, "out", a.reshape(batch, count, -1))
    n_BTD = _norm(config, layer["mlp_norm"], x_BTD)
    hidden = jax.nn.silu(project(layer, "gate", n_BTD)) * project(layer, "up", n_BTD)
    return x_BTD + project(layer, "down", hidden), (k, v)


def project(layer: Tree, name: str, x: jax.Array) -> jax.Array:
    """`x W + bias + drop(x) a b` of one matrix of a layer, [..., inputs] -> [..., outputs]."""
    flat = x.reshape(-1, x.shape[-1])
    found = flat @ layer[name]
    if f"{name}_bias" in layer:
        found = found + layer[f"{name}_bias"][None]
    adapter: LowRank | None = layer.get("adapter", {}).get(name)
    if adapter is not None:
        if adapter.key is not None and adapter.rate is not None:
            kept = random.uniform(adapter.key, flat.shape) >= adapter.rate
            flat = jnp.where(kept, flat / (1 - adapter.rate).astype(flat.dtype), 0)
        found = found + (flat @ adapter.a.astype(flat.dtype)) @ adapter.b.astype(flat.dtype)
    return found.reshape(*x.shape[:-1], -1)


def _attend_cached(
    read: list[jax.Array],
    prefix_mask: jax.Array,
    own_mask: jax.Array,
    new_mask: jax.Array,
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
) -> jax.Array:
    """Attention of new tokens to a prefix, to their rollout's own slots and to each other, by one softmax.

    Args:
        read: of this layer: prefix keys [M, G, K, P] and values, own keys [B, G, K, S] and values.
        prefix_mask: [M, P].
        own_mask: [B, S].
        new_mask: [B, T, T].
        q: [B, T, G, Q, K].
        k: [B, T, G, K].
        v: [B, T, G, K].
    """
    prefix_keys, prefix_values, own_keys, own_values = read
    batch, count, groups, queries, width = q.shape
    scenarios, _, _, length = prefix_keys.shape
    exact = functools.partial(jnp.einsum, preferred_element_type=jnp.float32)
    q_BGNK = q.transpose(0, 2, 1, 3, 4).reshape(batch, groups, count * queries, width)
    # All rollouts of a scenario are rows of one product with its prefix.
    q_MGNK = q_BGNK.reshape(scenarios, -1, groups, count * queries, width).swapaxes(1, 2)
    q_MGNK = q_MGNK.reshape(scenarios, groups, -1, width)
    before = exact("mgnk,mgkp->mgnp", q_MGNK, prefix_keys)
    before = jnp.where(prefix_mask[:, None, None], before, -jnp.inf)
    before = before.reshape(scenarios, groups, -1, count * queries, length).swapaxes(1, 2)
    before = before.reshape(batch, groups, count * queries, length)
    own = jnp.where(own_mask[:, None, None], exact("bgnk,bgks->bgns", q_BGNK, own_keys), -jnp.inf)
    new = exact("bgnk,btgk->bgnt", q_BGNK, k)
    new = jnp.where(jnp.repeat(new_mask, queries, axis=1)[:, None], new, -jnp.inf)
    weights = _softmax(jnp.concatenate([before, own, new], axis=-1)).astype(v.dtype)
    on_prefix, on_own, on_new = jnp.split(weights, [length, length + own_keys.shape[-1]], axis=-1)
    on_prefix = on_prefix.reshape(scenarios, -1, groups, count * queries, length).swapaxes(1, 2)
    from_prefix = jnp.einsum("mgnp,mgpk->mgnk", on_prefix.reshape(scenarios, groups, -1, length), prefix_values)
    from_prefix = from_prefix.reshape(scenarios, groups, -1, count * queries, width).swapaxes(1, 2)
    a = from_prefix.reshape(batch, groups, count * queries, width)
    a = a + jnp.einsum("bgns,bgsk->bgnk", on_own, own_values) + jnp.einsum("bgnt,btgk->bgnk", on_new, v)
    return a.reshape(batch, groups, count, queries, width).transpose(0, 2, 1, 3, 4)


def _softmax(scores: jax.Array) -> jax.Array:
    """Softmax over the last axis; all zero, and not NaN, in a row that may look at nothing, such as padding."""
    largest = jnp.maximum(jnp.max(scores, axis=-1, keepdims=True), jnp.finfo(scores.dtype).min)
    weights = jnp.exp(scores - jax.lax.stop_gradient(largest))
    return weights / jnp.maximum(jnp.sum(weights, axis=-1, keepdims=True), jnp.finfo(scores.dtype).tiny)


def _norm(config: DecoderConfig, gain: jax.Array, x: jax.Array) -> jax.Array:
    wide = x.astype(jnp.float32)
    scaled = wide * jax.lax.rsqrt(jnp.mean(wide**2, axis=-1, keepdims=True) + config.epsilon)
    return scaled.astype(x.dtype) * jnp.expand_dims(gain, tuple(range(x.ndim - 1)))


def _angles(config: DecoderConfig, position_BT: jax.Array) -> jax.Array:
    """How far each pair of a head has turned at a position, [B, T, K / 2]."""
    pair = jnp.arange(config.head_width // 2, dtype=jnp.float32)
    speed = config.rope_base ** (-2 * pair / config.head_width)
    if config.rope_factors is not None:
        speed = speed / jnp.asarray(config.rope_factors, jnp.float32)
    return position_BT[..., None].astype(jnp.float32) * speed[None, None]


def _rotate(x: jax.Array, angle: jax.Array) -> jax.Array:
    """The pairs `(x_i, x_{i + K/2})` of the last axis, turned."""
    cosine, sine = jnp.cos(angle), jnp.sin(angle)
    first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    turned = jnp.concatenate([first * cosine - second * sine, second * cosine + first * sine], axis=-1)
    return turned.astype(x.dtype)
