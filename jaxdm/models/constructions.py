"""Weights set by hand, so that a network of this library computes a named algorithm exactly.

Dimensions: `d` features of a regression, `M` context pairs, `D` width of a bare network.
"""

import functools

import jax
import jax.numpy as jnp

from jaxdm.models.attention import Kind
from jaxdm.models.transformer import TransformerConfig, network
from jaxdm.types import Network, Tree


def attention_layer(key_query: jax.Array, projection_value: jax.Array) -> Tree:
    """Parameters of a bare single-head layer in the merged notation `f(E) = E + W^PV E (E^T W^KQ E) / M`.

    Args:
        key_query: [D, D] `W^KQ`; the score of token t for token s is `e_s^T W^KQ e_t`.
        projection_value: [D, D] `W^PV`.

    Returns:
        Parameters for `linear_attention(D)` or `softmax_attention(D)`.

    Reference: Zhang, Frei, Bartlett, Trained transformers learn linear models in-context, JMLR 25, 2024, section 3.
    """
    eye = jnp.eye(key_query.shape[0], dtype=key_query.dtype)
    kernels = {"query": key_query.T, "key": eye, "value": projection_value.T, "out": eye}
    return {"block_0": {name: {"kernel": kernel} for name, kernel in kernels.items()}}


@functools.lru_cache
def linear_attention(width: int) -> Network:
    """One layer of linear attention and nothing else, on tokens of `width` features."""
    return _attention("linear", width)


@functools.lru_cache
def softmax_attention(width: int) -> Network:
    """The same with softmax attention: scores are divided by `sqrt(width)`, and a token attends to itself too."""
    return _attention("softmax", width)


def _attention(kind: Kind, width: int) -> Network:
    config = TransformerConfig(width=width, layers=1, heads=1, attention=kind, position="none", bare=True)
    return network(config, width, width)


def preconditioned_regression(preconditioner: jax.Array) -> Tree:
    """Parameters with which `linear_attention(d + 1)` predicts `x_q^T A (1/M) sum_i y_i x_i` on a `regression_prompt`.

    One gradient step from zero on the squared loss, with the fixed preconditioner A: neither ridge nor least squares.
    `W^PV = e e^T` with e the last unit vector, `W^KQ = diag(A^T, 0)`.

    Args:
        preconditioner: [d, d] A.
    """
    size = preconditioner.shape[0]
    last = jnp.zeros(size + 1, preconditioner.dtype).at[-1].set(1)
    return attention_layer(jnp.pad(preconditioner.T, ((0, 1), (0, 1))), last[:, None] * last[None, :])


def regression_prompt(x: jax.Array, y: jax.Array, query: jax.Array) -> jax.Array:
    """The tokens `(x_1, y_1), ..., (x_M, y_M), (x_q, 0)`, [M + 1, d + 1]; the prediction is read at the last entry.

    Args:
        x: [M, d].
        y: [M].
        query: [d].
    """
    pairs = jnp.concatenate([x, y[:, None]], axis=1)
    return jnp.concatenate([pairs, jnp.append(query, 0)[None]])
