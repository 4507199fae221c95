"""What the library's softmax attention layer answers, in closed form, and how far its answers are from the truth.

Dimensions: `d` features, `P` points of the features' law, `M` context length, `Q` queries.

With `W^PV = v e e^T`, `W^KQ = diag(K, 0)`, after R copies of P pairs:
`v sum_p exp(s_p) y_p / (sum_p exp(s_p) + exp(s_q) / R)` with `s_p = x_p^T K x_q / sqrt(d + 1)`: the query attends to
itself, with the label 0. Answers are linear in labels, hence in the task, and a mean square over tasks needs only their
second moment W.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxdm.models import constructions
from jaxdm.types import Tree
from theory import draws, pools, regression, training

BATCH, CHUNK = 32, 500
"""Prompts of a gradient step; contexts measured at once."""
POINTS, DIMENSION, COPIES, INSTANCES = 5, 3, 3, 50
"""P, d, R and number of the random instances of the closed form."""


class Form(NamedTuple):
    """The stated answer, with its constants."""

    own: float = 1.0  # weight of the query among the tokens
    copies: float = 1.0  # power of R against which it stands
    power: float = 0.5  # of d + 1, which divides scores
    value: float = 1.0  # power of v
    softmax: bool = True  # the layers whose error is said to grow


STATED = Form()


def stated(params: Tree, x: jax.Array, y: jax.Array, query: jax.Array, copies: float, form: Form) -> jax.Array:
    """The answer to one query [d] after R copies of the pairs x [P, d], y [P], []."""
    divided = params["K"] @ query / (query.shape[0] + 1) ** form.power
    weights, own = jnp.exp(x @ divided), form.own * jnp.exp(query @ divided) / copies**form.copies
    return params["v"] ** form.value * (weights @ y) / (jnp.sum(weights) + own)


def deviation(key: jax.Array, form: Form) -> float:
    """The largest distance of the layer from the form, random weights and contexts, as a share of `|v| max |y|`."""
    rows = draws.normal(key, (INSTANCES, POINTS + DIMENSION + 2, DIMENSION + 1))
    return float(jnp.max(_deviation(rows, form)))


@jax.jit
@functools.partial(jax.vmap, in_axes=(0, None))
def _deviation(rows: jax.Array, form: Form) -> jax.Array:
    pairs, query = rows[:POINTS], rows[POINTS, :-1]
    x, y = pairs[:, :-1], pairs[:, -1]
    params = {"K": rows[POINTS + 1 : -1, :-1], "v": rows[-1, 0]}
    repeated = jnp.tile(x, (COPIES, 1)), jnp.tile(y, COPIES)
    answer = training.answers(params, *repeated, query[None], constructions.softmax_attention)[0]
    return jnp.abs(answer - stated(params, x, y, query, COPIES, form)) / (jnp.abs(params["v"]) * jnp.max(jnp.abs(y)))


def layers(key: jax.Array, length: int) -> training.Trained:
    """Softmax layers trained on contexts of N pairs from linear MDPs."""
    return training.train(key, length, BATCH, pools.linear_mdps, squared_error)


def squared_error(params: Tree, key: jax.Array, pool: pools.Pool, length: int, batch: int) -> jax.Array:
    """`training.squared_error` of softmax attention."""
    return training.squared_error(params, key, pool, length, batch, constructions.softmax_attention)


def limits(trained: training.Trained, scale: float = 1.0) -> np.ndarray:
    """Mean square errors for M to infinity, features scaled, [SEEDS]."""
    return np.asarray(_limits(_ends(trained), scale * trained.points, trained.tasks))


def errors(trained: training.Trained, key: jax.Array, context: int, samples: int, scale: float = 1.0) -> np.ndarray:
    """Mean square errors over tasks and queries on random contexts of M pairs, features scaled, [samples, SEEDS]."""

    def measure(key: jax.Array, count: int) -> jax.Array:
        chosen = (draws.uniform(key, (count, context)) * len(trained.points)).astype(jnp.int32)
        return _errors(_ends(trained), scale * trained.points, trained.tasks, chosen)

    return draws.in_chunks(measure, key, samples, CHUNK)


def linear(trained: training.Trained, length: int, context: float, scale: float = 1.0) -> float:
    """The same of linear attention with the best A for contexts of N pairs, exact."""
    points, tasks = jnp.asarray(trained.points), jnp.asarray(trained.tasks)
    parts = regression.split(pools.law(scale * points), regression.optimum(pools.law(points), tasks, length), tasks)
    return float(parts.estimation / context + parts.bias)


def nothing(trained: training.Trained, scale: float = 1.0) -> float:
    """The mean square error of answering 0."""
    return float(scale**2 * np.einsum("pi,ij,pj->p", trained.points, trained.tasks, trained.points).mean())


def _ends(trained: training.Trained) -> Tree:
    return {"v": trained.last[:, -1], "K": trained.key_query[:, -1]}


def _missed(read: jax.Array, points: jax.Array, tasks: jax.Array) -> jax.Array:
    """Mean over queries of `(a - x)^T W (a - x)`, where a [d, Q] answers labels that are the d features, []."""
    off = read.T - points
    return jnp.mean(jnp.sum(off @ tasks * off, axis=1))


@jax.jit
@functools.partial(jax.vmap, in_axes=(0, None, None))
def _limits(params: Tree, points: jax.Array, tasks: jax.Array) -> jax.Array:
    read = lambda y: jax.vmap(lambda query: stated(params, points, y, query, jnp.inf, STATED))(points)
    return _missed(jax.vmap(read)(points.T), points, tasks)


@jax.jit
@functools.partial(jax.vmap, in_axes=(0, None, None, None), out_axes=1)
def _errors(params: Tree, points: jax.Array, tasks: jax.Array, chosen: jax.Array) -> jax.Array:
    def one(chosen: jax.Array) -> jax.Array:
        x = points[chosen]
        read = lambda y: training.answers(params, x, y, points, constructions.softmax_attention)
        return _missed(jax.vmap(read)(x.T), points, tasks)

    return jax.lax.map(one, chosen)
