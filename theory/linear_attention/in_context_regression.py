"""In-context regression by one linear-attention layer: distributions of features, the best preconditioner, its exact
error.

Dimensions: `d` features, `N` context length in training, `M` at test, `P` points of a finite distribution.

A layer with preconditioner A answers a query x with `x^T A (1/M) sum_i y_i x_i`. For labels `y = <w, x>` its error is
`e(x) = x^T (A L_M - I) w`, where `L_M = (1/M) sum_i x_i x_i^T` has mean L. Everything about `E e^2` needs only L, the
map `W -> F(W) = E[x x^T W x x^T]`, and `W = E[w w^T]`, for `E[L_M W L_M] = (1 - 1/M) L W L + F(W) / M`.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxdm.models import constructions
from jaxdm.random import inverse_cdf, sample_index
from theory import draws


class FeatureDistribution(NamedTuple):
    """The distribution of a feature vector, by its moments and a sampler."""

    moment: jax.Array  # [d, d] L = E[x x^T]
    fourth: Callable[[jax.Array], jax.Array]  # symmetric W [d, d] -> E[x x^T W x x^T] [d, d]
    sample: Callable[[jax.Array, int], jax.Array]  # key, count -> [count, d]


class ErrorSplit(NamedTuple):
    """The two parts of `E e^2 = estimation / M + bias`."""

    estimation: jax.Array  # []
    bias: jax.Array  # []


def gaussian(moment: jax.Array) -> FeatureDistribution:
    """`x ~ N(0, L)`: `F(W) = 2 L W L + tr(L W) L` (Isserlis).

    Args:
        moment: [d, d] L, positive definite.
    """
    root, size = jnp.linalg.cholesky(moment), moment.shape[0]
    return FeatureDistribution(
        moment=moment,
        fourth=lambda tasks: 2 * moment @ tasks @ moment + jnp.trace(moment @ tasks) * moment,
        sample=lambda key, count: draws.normal(key, (count, size)) @ root.T,
    )


def simplex(key: jax.Array, count: int, dimension: int) -> tuple[jax.Array, jax.Array]:
    """Random points [P, d] and their chances [P], all uniform on a simplex: arguments for `finite`."""
    drawn = -jnp.log1p(-draws.uniform(key, (count, dimension + 1)))  # exponential, to be normalised
    points, chance = drawn[:, :-1], drawn[:, -1]
    return points / jnp.sum(points, axis=1, keepdims=True), chance / jnp.sum(chance)


def every_context(points: jax.Array, chance: jax.Array, tokens: int) -> tuple[jax.Array, jax.Array]:
    """All `P^tokens` sequences of points [P^tokens, tokens, d], and their chances."""
    index = jnp.indices((points.shape[0],) * tokens).reshape(tokens, -1).T
    return points[index], jnp.prod(chance[index], axis=-1)


def finite(points: jax.Array, chance: jax.Array) -> FeatureDistribution:
    """One of P points: `F(W) = sum_p c_p (x_p^T W x_p) x_p x_p^T`.

    Args:
        points: [P, d].
        chance: [P] probabilities.
    """

    def weighted(value: jax.Array) -> jax.Array:
        return jnp.einsum("p,pi,pj->ij", chance * value, points, points)

    def sample(key: jax.Array, count: int) -> jax.Array:
        return points[jax.vmap(sample_index, in_axes=(None, 0))(inverse_cdf(chance), draws.uniform(key, (count,)))]

    return FeatureDistribution(
        moment=weighted(jnp.ones_like(chance)),
        fourth=lambda tasks: weighted(jnp.einsum("pi,ij,pj->p", points, tasks, points)),
        sample=sample,
    )


def split(
    distribution: FeatureDistribution, preconditioner: jax.Array, tasks: jax.Array, query: jax.Array | None = None
) -> ErrorSplit:
    """`estimation = tr A^T L A (F(W) - L W L)`, `bias = tr L (A L - I) W (A L - I)^T`.

    The cross term of `e = x^T A (L_M - L) w + x^T (A L - I) w` vanishes in mean, since `E L_M = L`.

    Args:
        distribution: features of context and query.
        preconditioner: [d, d] A.
        tasks: [d, d] W; `w w^T` for one task.
        query: [d, d], the query's second moment, for both forms' first L, where queries are distributed otherwise.
    """
    moment = distribution.moment
    query = moment if query is None else query
    spread = distribution.fourth(tasks) - moment @ tasks @ moment
    off = preconditioner @ moment - jnp.eye(moment.shape[0], dtype=moment.dtype)
    return ErrorSplit(
        estimation=jnp.trace(preconditioner.T @ query @ preconditioner @ spread),
        bias=jnp.trace(query @ off @ tasks @ off.T),
    )


def optimum(distribution: FeatureDistribution, tasks: jax.Array, length: jax.Array | float) -> jax.Array:
    """The preconditioner `A = W L G^-1` that training on contexts of length N finds, `G = E[L_N W L_N]`.

    Args:
        distribution: features.
        tasks: [d, d] W, positive definite.
        length: N.
    """
    moment = distribution.moment
    second = (1 - 1 / length) * moment @ tasks @ moment + distribution.fourth(tasks) / length
    return jnp.linalg.solve(second, moment @ tasks).T


def gaussian_optimum(moment: jax.Array, length: jax.Array | float) -> jax.Array:
    """`Gamma^-1` with `Gamma = (1 + 1/N) L + (tr L / N) I`: the optimum for `x ~ N(0, L)`, `w ~ N(0, I)`."""
    eye = jnp.eye(moment.shape[0], dtype=moment.dtype)
    return jnp.linalg.inv((1 + 1 / length) * moment + jnp.trace(moment) / length * eye)


def answers(preconditioner: jax.Array, x: jax.Array, y: jax.Array, queries: jax.Array) -> jax.Array:
    """What the library's attention layer answers to queries after one context, [Q].

    The context is put into the layer's cache once; under jit its own outputs, which nobody reads, cost nothing.

    Args:
        preconditioner: [d, d] A.
        x: [M, d].
        y: [M].
        queries: [Q, d], each alone after the context.
    """
    layer = constructions.linear_attention(x.shape[1] + 1)
    weights = constructions.preconditioned_regression(preconditioner)
    prompt = jax.vmap(lambda query: constructions.regression_prompt(x, y, query)[-1])(queries)
    _, cache = layer.prefill(weights, constructions.regression_prompt(x, y, queries[0])[:-1], x.shape[0] + 1)
    return jax.vmap(lambda token: layer.step(weights, cache, token)[0][-1])(prompt)


def coefficients(preconditioner: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
    """The layer's answers to the d unit queries, [d]; it is linear in its query, so that they tell all answers."""
    return answers(preconditioner, x, y, jnp.eye(x.shape[1], dtype=x.dtype))
