"""Small decoders that the tests of this folder share, so that they are compiled once."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxdm.language import decoder
from jaxdm.language.decoder import DecoderConfig

PLAIN = DecoderConfig(vocabulary=40, width=16, layers=2, heads=4, kv_heads=2, head_width=6, hidden=24)


EVERYTHING = dataclasses.replace(
    PLAIN, rope_base=500.0, rope_factors=(1.0, 2.0, 8.0), tied=False, qkv_bias=True, qk_norm=True
)


@functools.cache
def params(config):
    """Parameters none of which is one or zero, large enough that attention is not flat."""
    rng = np.random.default_rng(2)

    def draw(shape):
        gains = len(shape) < 2 or (len(shape) == 2 and shape[0] == config.layers)
        scale = 0.3 if gains else 0.3 + shape[-2] ** -0.5
        return jnp.asarray(gains + scale * rng.normal(size=shape), jnp.float32)

    return jax.tree.map(draw, decoder.shapes(config), is_leaf=lambda node: isinstance(node, tuple))


apply = jax.jit(decoder.apply, static_argnums=0)


ROWS, LENGTH = 6, 24
"""The one shape at which the tests read everything at once."""


def read(config, rows, weights=None):
    """Logits [n, V] of each row of n tokens, read together behind padding of all lengths."""
    filled = [*rows, *([rows[0]] * (ROWS - len(rows)))]
    tokens = jnp.asarray([[7] * (LENGTH - len(row)) + [int(token) for token in row] for row in filled])
    mask = jnp.asarray([[n >= LENGTH - len(row) for n in range(LENGTH)] for row in filled])
    found = np.asarray(apply(config, params(config) if weights is None else weights, tokens, mask))
    assert np.all(np.isfinite(found))
    return [logits[LENGTH - len(row) :] for logits, row in zip(found, rows, strict=False)]
