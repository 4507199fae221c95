"""Replies of a decoder, many at once, in one compiled loop: temperature, top-p, stop strings, constrained decisions.

Each reply has a key of its own, whose n-th uniform number draws its n-th token: a reply does not depend on the others.
Strings are found in text, not in tokens: an automaton over bytes, tabulated for all tokens, sees a string wherever the
borders of tokens lie.

Dimensions: `M` scenarios, `R` rollouts of each, `B = M R`, `P` tokens of a prompt, `T` of a reply, `V` vocabulary, `A`
states of an automaton.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxdm import random
from jaxdm.language import decoder
from jaxdm.language.decoder import DecoderConfig
from jaxdm.language.tokenizer import Tokenizer
from jaxdm.types import Tree
from jaxdm.validation import InvalidInput, check_shape, positive_integer


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sampling:
    """How long replies may be, and what ends them."""

    length: int = 64
    """T, the most tokens of a reply, the one that ends it included."""
    stop: tuple[str, ...] = ()
    """Strings after which a reply ends; what contains the end of one is kept."""
    decision: str | None = None
    """A string after which the next token is a decision: one of those allowed, and the last."""
    top_p: bool = False
    """Whether a share of the probability is cut off; a temperature alone costs less."""


class Generated(NamedTuple):
    """Replies of all rollouts."""

    tokens: jax.Array  # [B, T] int32, padded on the right
    mask: jax.Array  # [B, T] bool, the tokens of a reply, the one that ends it included
    log_probability: jax.Array  # [B, T] of each token under the distribution it was drawn from, zero at padding
    finished: jax.Array  # [B] bool, False where the length cut a reply off
    constrained: jax.Array  # [B] bool, whether the last token is a decision drawn among the allowed ones


Sampler = Callable[..., Generated]


def automaton(pieces: Sequence[bytes], strings: Sequence[str]) -> np.ndarray:
    """Where each token leads, from each state, on the search for any of some strings, [A, V] int32.

    A state is the longest end of what was read that begins a string (Aho and Corasick); state 0 is none. The last one,
    A - 1, says that a string is complete, and is never left.

    Args:
        pieces: [V] what each token stands for.
        strings: what is searched for.

    Raises:
        ValueError: no string, or an empty one.

    Reference: Aho, Corasick, Efficient string matching, 1975.
    """
    sought = [string.encode() for string in strings]
    if not sought or not all(sought):
        raise InvalidInput(f"strings: {list(strings)}; expected at least one, none empty")
    begun = sorted({string[:count] for string in sought for count in range(len(string))}, key=len)
    place = {start: state for state, start in enumerate(begun)}
    found = len(begun)
    by_byte = np.full((found + 1, 256), found, np.int32)
    for start, state in place.items():
        for byte in range(256):
            text = start + bytes([byte])
            if not any(text.endswith(string) for string in sought):
                by_byte[state, byte] = next(place[text[n:]] for n in range(len(text) + 1) if text[n:] in place)
    longest = max(map(len, pieces))
    table = np.repeat(np.arange(found + 1, dtype=np.int32)[:, None], len(pieces), axis=1)
    for n in range(longest):
        at = np.array([token for token, piece in enumerate(pieces) if len(piece) > n])
        table[:, at] = by_byte[table[:, at], np.array([pieces[token][n] for token in at])]
    return table


def make_sampler(config: DecoderConfig, tokenizer: Tokenizer, sampling: Sampling) -> Sampler:
    """The function that replies.

    Args:
        config: the shape of the decoder.
        tokenizer: whose pieces are searched for strings, and whose ends end a reply.
        sampling: how long, and what ends a reply.

    Returns:
        `(params, keys [M, R], tokens [M, P], mask [M, P], temperature, top_p=1, allowed=None) -> Generated`, compiled
        once for each shape. `params` are stacked; a temperature of zero is greedy; `top_p` [] keeps the fewest most
        likely tokens that together have so much probability, and ties with the last of them; `allowed` [M, V] bool says
        which tokens are decisions.

    Raises:
        ValueError: sizes below one, an empty string, or a vocabulary of the tokenizer larger than the decoder's.
    """
    length = positive_integer("length", sampling.length)
    pieces = list(tokenizer.pieces)
    if len(pieces) > config.vocabulary:
        raise InvalidInput(f"tokenizer: {len(pieces)} tokens; expected at most the decoder's {config.vocabulary}")
    nothing = [b""] * (config.vocabulary - len(pieces))  # rows that only round a matrix up
    is_end = jnp.zeros(config.vocabulary, bool).at[jnp.array(tokenizer.end)].set(True)
    stops = automaton([*pieces, *nothing], sampling.stop) if sampling.stop else None
    marks = automaton([*pieces, *nothing], [sampling.decision]) if sampling.decision is not None else None
    exists = np.arange(config.vocabulary) < len(pieces)

    @jax.jit
    def begin(params: Tree, tokens: jax.Array, mask: jax.Array) -> tuple:
        return decoder.prefill(config, params, tokens, mask)

    @jax.jit
    def loop(params: Tree, keys: jax.Array, first: tuple, temperature, top_p, allowed, tables: tuple) -> Generated:
        scenarios, rollouts = keys.shape
        prompt_logits, prefix = first
        stop_table, mark_table = tables
        uniforms = jax.vmap(lambda key: random.uniform(key, (length,)))(keys.reshape(-1))
        cache = decoder.start(config, prefix, rollouts, length)
        may = jnp.repeat(allowed, rollouts, axis=0)
        batch = scenarios * rollouts

        def forward(carry: tuple) -> tuple:
            n, logits, cache, out, going, stop_state, mark_state = carry
            due = mark_state == (0 if mark_table is None else mark_table.shape[0] - 1)
            due = due & (mark_table is not None)
            bar = jnp.where(due[:, None], may, exists[None])
            chance = distribution(logits, bar, temperature, top_p if sampling.top_p else None)
            token = draw(chance, jax.lax.dynamic_index_in_dim(uniforms, n, 1, keepdims=False))
            chosen = jnp.take_along_axis(chance, token[:, None], axis=1)[:, 0]
            token = jnp.where(going, token, tokenizer.pad)
            done = is_end[token] | due
            if stop_table is not None:
                stop_state = stop_table[stop_state, token]
                done = done | (stop_state == stop_table.shape[0] - 1)
            if mark_table is not None:
                mark_state = mark_table[mark_state, token]
            put = jax.lax.dynamic_update_index_in_dim
            out = Generated(
                tokens=put(out.tokens, token, n, 1),
                mask=put(out.mask, going, n, 1),
                log_probability=put(out.log_probability, jnp.where(going, jnp.log(chosen), 0), n, 1),
                finished=out.finished | (going & done),
                constrained=out.constrained | (going & due),
            )
            logits, cache = decoder.extend(config, params, cache, token[:, None], going[:, None])
            return n + 1, logits, cache, out, going & ~done, stop_state, mark_state

        def unfinished(carry: tuple) -> jax.Array:
            return (carry[0] < length) & jnp.any(carry[4])

        empty = Generated(
            tokens=jnp.full((batch, length), tokenizer.pad, jnp.int32),
            mask=jnp.zeros((batch, length), bool),
            log_probability=jnp.zeros((batch, length)),
            finished=jnp.zeros(batch, bool),
            constrained=jnp.zeros(batch, bool),
        )
        states = jnp.zeros(batch, jnp.int32)
        logits = jnp.repeat(prompt_logits, rollouts, axis=0)
        carry = (jnp.int32(0), logits, cache, empty, jnp.ones(batch, bool), states, states)
        return jax.lax.while_loop(unfinished, forward, carry)[3]

    tables = tuple(None if table is None else jnp.asarray(table) for table in (stops, marks))

    def generate(
        params: Tree,
        keys: jax.Array,
        tokens: jax.Array,
        mask: jax.Array,
        temperature: jax.Array | float,
        top_p: jax.Array | float = 1.0,
        allowed: jax.Array | None = None,
    ) -> Generated:
        check_shape("keys", keys, "M R")
        check_shape("tokens", tokens, "M P", M=keys.shape[0])
        check_shape("mask", mask, "M P", M=keys.shape[0], P=tokens.shape[1])
        if (allowed is None) != (marks is None):
            raise InvalidInput("allowed: expected decisions if, and only if, the sampling has a string before them")
        if allowed is None:
            allowed = jnp.ones((keys.shape[0], 1), bool)
        else:
            check_shape("allowed", allowed, "M V", M=keys.shape[0], V=config.vocabulary)
        if not sampling.top_p and not (isinstance(top_p, float) and top_p == 1):
            raise InvalidInput(f"top_p: {top_p}; expected 1 where the sampling cuts nothing off")
        first = begin(params, jnp.asarray(tokens), jnp.asarray(mask))
        numbers = (jnp.asarray(temperature, jnp.float32), jnp.asarray(top_p, jnp.float32))
        return loop(_unstacked(params), keys, first, *numbers, jnp.asarray(allowed), tables)

    return generate


_unstack = jax.jit(decoder.unstack)


def _unstacked(params: Tree) -> Tree:
    """Parameters with a list of layers; a caller who replies often with the same ones does this once."""
    return params if isinstance(params["layers"], list) else _unstack(params)


def distribution(
    logits: jax.Array, allowed: jax.Array, temperature: jax.Array, top_p: jax.Array | None = None
) -> jax.Array:
    """The distribution of the next token, [B, V]: `softmax(logits / temperature)` over the allowed, its tail cut off.

    Args:
        logits: [B, V].
        allowed: [B, V] bool, or [1, V].
        temperature: [] >= 0; zero puts all on the most likely token, the first of ties.
        top_p: [] in (0, 1]; nothing is cut off where left out.

    Reference: Holtzman et al., The curious case of neural text degeneration, 2020 (top-p).
    """
    masked = jnp.where(allowed, logits, -jnp.inf)
    centred = masked - jnp.max(masked, axis=-1, keepdims=True)
    soft = jax.nn.softmax(centred / jnp.maximum(temperature, jnp.finfo(jnp.float32).tiny))
    if top_p is not None:
        soft = _nucleus(soft, top_p)
    best = jnp.argmax(masked, axis=-1)
    greedy = best[:, None] == jax.lax.broadcasted_iota(jnp.int32, masked.shape, 1)
    return jnp.where(temperature > 0, soft, greedy.astype(soft.dtype))


HALVINGS = 31
"""Of an interval of 32-bit words, until it is one word: probabilities in [0, 1] are ordered as their bits are."""


def _nucleus(chance: jax.Array, top_p: jax.Array) -> jax.Array:
    """The most likely tokens whose sum is at least `top_p`, renormalised.

    The least probability that stays is found by bisection of its bits, exactly; sorting 49,152 numbers a row takes
    several times as long.
    """

    def halve(_: int, ends: tuple) -> tuple:
        low, high = ends  # the sum above `low` is large enough, that above `high` is not
        middle = low + (high - low) // 2
        level = jax.lax.bitcast_convert_type(middle, jnp.float32)
        enough = jnp.sum(jnp.where(chance >= level[:, None], chance, 0), axis=-1) >= top_p
        return jnp.where(enough, middle, low), jnp.where(enough, high, middle)

    one = jax.lax.bitcast_convert_type(jnp.float32(2.0), jnp.int32)
    low = jnp.zeros(chance.shape[0], jnp.int32)
    low, _ = jax.lax.fori_loop(0, HALVINGS, halve, (low, jnp.full_like(low, one)))
    kept = jnp.where(chance >= jax.lax.bitcast_convert_type(low, jnp.float32)[:, None], chance, 0)
    return kept / jnp.sum(kept, axis=-1, keepdims=True)


BLOCK = 256
"""Tokens whose probabilities are summed first, before the cumulative sums of a block and within one.

One uniform number a row and two short sums draw 64 tokens of 49,152 in 3 ms on a CPU core; Gumbel noise takes 120."""


def draw(chance: jax.Array, uniform: jax.Array) -> jax.Array:
    """The outcome of each row at the level of its uniform number, [B] int32; none has probability zero.

    Args:
        chance: [B, V], rows that sum to one but for rounding.
        uniform: [B] in [0, 1).
    """
    batch, size = chance.shape
    blocks = jnp.pad(chance, ((0, 0), (0, -size % BLOCK))).reshape(batch, -1, BLOCK)
    total = jnp.sum(blocks, axis=-1)
    below = jnp.cumsum(total, axis=-1)
    level = uniform * below[:, -1]
    block = jax.vmap(_first_above)(total, below, level)
    inside = jnp.take_along_axis(blocks, block[:, None, None], axis=1)[:, 0]
    start = jnp.take_along_axis(below - total, block[:, None], axis=1)[:, 0]
    token = jax.vmap(_first_above)(inside, jnp.cumsum(inside, axis=-1), level - start)
    return block * BLOCK + token


def _first_above(weight: jax.Array, cumulative: jax.Array, level: jax.Array) -> jax.Array:
    """The first outcome of positive weight whose cumulative sum exceeds the level; the last where none does."""
    positive = weight > 0
    above = positive & (cumulative > level)
    last = weight.shape[0] - 1 - jnp.argmax(positive[::-1])
    return jnp.where(jnp.any(above), jnp.argmax(above), last).astype(jnp.int32)
