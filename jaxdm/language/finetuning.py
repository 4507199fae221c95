"""Supervised fine-tuning in words: replies as rows, and the loss of a decoder or of its adapter on them.

    loss = - sum_n w_n log p(token n | tokens before n) / sum_n w_n

over the tokens that the assistant wrote: padding and what was said to it have weight zero, and no part in the mean.

Dimensions: `N` rows, `B` of a gradient step, `T` tokens of a row, `A` last of them that may have weight.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxdm import random
from jaxdm.language import decoder, lora
from jaxdm.language.decoder import DecoderConfig
from jaxdm.language.lora import Lora
from jaxdm.language.tokenizer import Messages, Tokenizer, pad_left
from jaxdm.types import Tree
from jaxdm.validation import InvalidInput, positive_integer


class ReplyRows(NamedTuple):
    """Texts to be imitated, padded on the left, so that replies stand at the end of all."""

    tokens: np.ndarray  # [N, T] int32
    mask: np.ndarray  # [N, T] bool
    weight: np.ndarray  # [N, A] of the last A tokens in the loss


def reply_rows(
    tokenizer: Tokenizer,
    prompts: Sequence[Messages],
    replies: Sequence[Sequence[int]],
    *,
    length: int | None = None,
    reply: int | None = None,
) -> ReplyRows:
    """Prompts, each with one reply, all of whose tokens count.

    Args:
        tokenizer: of the decoder.
        prompts: [N].
        replies: [N] of tokens, the one that ends them included.
        length: T, where it is to be the same for several sets of rows; that of the longest otherwise.
        reply: A, likewise.

    Raises:
        ValueError: no rows, an empty reply, or one that is longer than it may be.
    """
    rendered = [tokenizer.encode(tokenizer.render(messages, reply=True)) for messages in prompts]
    if not replies or not all(len(one) for one in replies):
        raise InvalidInput("replies: none, or an empty one; expected tokens in each")
    rows = [[*prompt, *answer] for prompt, answer in zip(rendered, replies, strict=True)]
    padded = pad_left(rows, tokenizer.pad, length or 1, at_most=length)
    own = max(map(len, replies)) if reply is None else reply
    weights = pad_left([[1] * len(one) for one in replies], 0, own, at_most=own)
    return ReplyRows(tokens=padded.tokens, mask=padded.mask, weight=weights.tokens.astype(np.float32))


def loss(
    config: DecoderConfig, batch: int, adapted: Lora | None = None
) -> Callable[[Tree, jax.Array, Tree], jax.Array]:
    """The loss `(params, key, data) -> []` for `jaxdm.trainer.make`; a step draws B rows.

    Args:
        config: the shape of the decoder.
        batch: B.
        adapted: of the adapter that is trained; its base is part of the data.

    Returns:
        With `data` a `ReplyRows`; or, of an adapter, `(params of the base, rows)`.

    Raises:
        ValueError: batch < 1.
    """
    batch = positive_integer("batch", batch)

    def of_batch(trained: Tree, key: jax.Array, data: Tree) -> jax.Array:
        key_rows, key_dropout = random.split(key)
        params, rows = (trained, data) if adapted is None else (None, data[1])
        if adapted is not None:
            params = lora.attach(data[0], trained, adapted, key_dropout)
        count, length = rows.tokens.shape
        chosen = jnp.floor(random.uniform(key_rows, (batch,)) * count).astype(jnp.int32)
        tokens, mask, weight = (jnp.asarray(leaf)[chosen] for leaf in rows)
        at = jnp.broadcast_to(jnp.arange(length - weight.shape[1], length), weight.shape)
        likelihood = decoder.log_likelihood(config, params, tokens, mask, at)
        return -jnp.sum(likelihood * weight) / jnp.sum(weight)

    return of_batch
