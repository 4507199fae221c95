"""The gradient of the exact risk of the library's attention layer, in every entry of both of its matrices.

For normal features and tasks the squared error is a polynomial of low degree in normal variables, so that
Gauss-Hermite quadrature over tasks, contexts of two pairs and queries in two dimensions is exact.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxdm.models import constructions
from jaxdm.types import Tree
from theory import draws


def largest_gradient(key_query: np.ndarray, last: float, spectrum: tuple[float, float]) -> tuple[jax.Array, jax.Array]:
    """Largest entry of the gradient at `W^KQ = diag(K, 0)`, `W^PV = v e e^T`, and of that of single prompts.

    Args:
        key_query: [2, 2] K.
        last: v.
        spectrum: eigenvalues of L.
    """
    merged = np.pad(key_query, (0, 1)), np.pad([[last]], (2, 0))
    return _largest_gradient(merged, *quadrature_prompts(spectrum))


@jax.jit
def quadrature_risk(
    key_query: jax.Array, projection_value: jax.Array, nodes: jax.Array, weights: jax.Array
) -> jax.Array:
    """The exact risk of a layer with any `W^KQ` and `W^PV` [3, 3], [], for what `prompts` returned."""
    return weights @ jax.vmap(_squared_error, (None, 0))((key_query, projection_value), nodes)


@jax.jit
def _largest_gradient(merged: tuple, nodes: jax.Array, weights: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Largest entries of the gradient and of the mean modulus of a prompt's."""
    slopes = jax.vmap(jax.grad(_squared_error), (None, 0))(merged, nodes)

    def largest(slopes: tuple) -> jax.Array:
        return jnp.max(jnp.stack([jnp.max(jnp.abs(jnp.tensordot(weights, slope, 1))) for slope in slopes]))

    return largest(slopes), largest(jax.tree.map(jnp.abs, slopes))


def _squared_error(merged: tuple[jax.Array, jax.Array], node: jax.Array) -> jax.Array:
    """Squared error of the layer on one prompt."""
    task, x = node[0], node[1:]
    tokens = constructions.regression_prompt(x[:-1], x[:-1] @ task, x[-1])
    answer = constructions.linear_attention(3).apply(constructions.attention_layer(*merged), tokens)[-1, -1]
    return (answer - x[-1] @ task) ** 2


def quadrature_prompts(spectrum: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """A task, two context points and a query [n, 4, 2] with weights [n], exact for the risk of a diagonal L.

    The squared error has degree 4 in the task and in each context point, and 6 in the query: 3 and 4 nodes a variable.
    """
    rules = [np.polynomial.hermite_e.hermegauss(4 if place >= 6 else 3) for place in range(8)]
    grid = np.stack(np.meshgrid(*[nodes for nodes, _ in rules], indexing="ij"), -1).reshape(-1, 4, 2)
    weight = functools.reduce(np.multiply.outer, [weight / weight.sum() for _, weight in rules]).ravel()
    return grid * np.stack([np.ones(2), *[np.sqrt(spectrum)] * 3]), weight


SPECTRUM = (2.0, 1.0)
"""Eigenvalues of L."""


def moments(length: int, own: float = 1.0, tokens: float = 0.0) -> tuple[np.ndarray, np.ndarray, float]:
    """S [n, n], c [n] and `E y^2`, exact, n = 18 products.

    Args:
        length: N.
        own: weight of the query among the tokens attended to.
        tokens: how many more than N the layer divides by.
    """
    (three, w3), (four, w4) = (np.polynomial.hermite_e.hermegauss(nodes) for nodes in (3, 4))

    def pairs(nodes: np.ndarray) -> np.ndarray:
        return np.stack(np.meshgrid(nodes, nodes, indexing="ij"), -1).reshape(-1, 2)

    def chance(weight: np.ndarray) -> np.ndarray:
        return np.outer(weight, weight).ravel() / weight.sum() ** 2

    task, x, query = pairs(three), pairs(three) * np.sqrt(SPECTRUM), pairs(four) * np.sqrt(SPECTRUM)
    z = np.concatenate([np.broadcast_to(x, (len(task), *x.shape)), (task @ x.T)[..., None]], axis=-1)
    square = np.einsum("wxi,wxj->wxij", z, z).reshape(*z.shape[:2], -1)
    mean = np.einsum("x,wxi->wi", chance(w3), square)
    spread = np.einsum("x,wxi,wxj->wij", chance(w3), square, square) - np.einsum("wi,wj->wij", mean, mean)
    divisor, alone = length + tokens, np.pad(query, ((0, 0), (0, 1)))
    query_own = own * np.einsum("qi,qj->qij", alone, alone).reshape(len(query), -1) / divisor
    first = length / divisor * mean[:, None] + query_own[None]
    second = length / divisor**2 * spread[:, None] + np.einsum("wqi,wqj->wqij", first, first)
    joint, y = np.multiply.outer(chance(w3), chance(w4)), task @ query.T
    products = np.einsum("wq,wqij,qk,ql->ikjl", joint, second, query, query).reshape(18, 18)
    return products, np.einsum("wq,wqi,qk,wq->ik", joint, first, query, y).ravel(), float(np.sum(joint * y**2))


def moment_risk(params: Tree, products: jax.Array, labelled: jax.Array, square: jax.Array | float) -> jax.Array:
    """`p^T S p - 2 c^T p + E y^2` in the products of b [d + 1] and U [d + 1, d], []."""
    p = jnp.einsum("i,jk->ijk", params["b"], params["U"]).ravel()
    return p @ products @ p - 2 * labelled @ p + square


def moment_risk_error(key: jax.Array, drawn: tuple) -> float:
    """Relative distance between the polynomial for N = 2 and the risk of the library's layer, at random weights."""
    key_query, projection = np.asarray(draws.normal(key, (2, 3, 3)))
    exact = float(quadrature_risk(key_query, projection, *quadrature_prompts(SPECTRUM)))
    params = {"b": jnp.asarray(projection[-1]), "U": jnp.asarray(key_query[:, :-1])}
    return abs(float(moment_risk(params, *drawn)) - exact) / exact
