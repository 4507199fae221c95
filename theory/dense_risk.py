"""The exact risk of the library's attention layer with any weights, for normal features and tasks, d = 2 and any N.

With b the last row of `W^PV` and U the first d columns of `W^KQ` the layer answers `b^T H U x_q`, where
`H = (1/N) (sum_i z_i z_i^T + z_q z_q^T)`, `z_i = (x_i, y_i)` and `z_q = (x_q, 0)`; no other entry matters. The risk is
`p^T S p - 2 c^T p + E y^2` in the products p of b and U, with S and c moments of `H` and `x_q`. Given task and query
these follow from the first two moments of `z z^T`, so that Gauss-Hermite quadrature in task, one pair and query gives
them exactly.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxdm.types import Tree
from theory import draws, layer_gradient

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
    pairs = lambda nodes: np.stack(np.meshgrid(nodes, nodes, indexing="ij"), -1).reshape(-1, 2)
    chance = lambda weight: np.outer(weight, weight).ravel() / weight.sum() ** 2
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


def risk(params: Tree, products: jax.Array, labelled: jax.Array, square: jax.Array | float) -> jax.Array:
    """`p^T S p - 2 c^T p + E y^2` in the products of b [d + 1] and U [d + 1, d], []."""
    p = jnp.einsum("i,jk->ijk", params["b"], params["U"]).ravel()
    return p @ products @ p - 2 * labelled @ p + square


def summed(key: jax.Array, drawn: tuple) -> float:
    """Relative distance between the polynomial for N = 2 and the risk of the library's layer, at random weights."""
    key_query, projection = np.asarray(draws.normal(key, (2, 3, 3)))
    exact = float(layer_gradient.risk(key_query, projection, *layer_gradient.prompts(SPECTRUM)))
    params = {"b": jnp.asarray(projection[-1]), "U": jnp.asarray(key_query[:, :-1])}
    return abs(float(risk(params, *drawn)) - exact) / exact
