"""L8c. Softmax attention in place of linear: it errs more, the more demonstrations it has beyond those of training.

With `W^PV = v e e^T`, `W^KQ = diag(K, 0)` the library's softmax layer answers
`v sum_i exp(s_i) y_i / (sum_i exp(s_i) + exp(s_q))`, `s_i = x_i^T K x_q / sqrt(d + 1)`: an average of labels, to which
the query itself adds the label 0. So answers are bounded by |v| times the largest label whatever the features' size,
where those of linear attention grow with its square (L8a). On R copies of P points the query's share is
`exp(s_q) / R` against theirs: unlike linear attention, whose answer to copies is that to the points, softmax attention
tells long contexts from short ones, and v, which makes up for the query's share of the N + 1 tokens of training, is
too large for more of them. This form is exact, and gives the answer for M to infinity, and so the error there.

Checked: the form, with random weights; and, as a finding at these sizes and no theorem, that layers trained by the
library's trainer on N pairs of linear MDPs (as in L7) err more, the longer the context at test: measured is their
error for M to infinity as a multiple of that for M = N. For the linear layer, by L5, no such multiple exceeds one: the
refutation.

Source: ours.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from jaxdm.analysis import statistics
from jaxdm.analysis.claims import DIFFERS, FAILS, HOLDS, Claim
from jaxdm.analysis.storage import named
from jaxdm.models import constructions
from jaxdm.types import Tree
from theory import draws
from theory.linear_attention import in_context_regression, linear_mdps, training
from theory.verdicts import near

BATCH, CHUNK = 32, 500
"""Prompts of a gradient step; contexts measured at once."""


POINTS, DIMENSION, COPIES, INSTANCES = 5, 3, 3, 50
"""P, d, R and number of the random instances of the closed form."""


class SoftmaxForm(NamedTuple):
    """The stated answer, with its constants."""

    own: float = 1.0  # weight of the query among the tokens
    copies: float = 1.0  # power of R against which it stands
    power: float = 0.5  # of d + 1, which divides scores
    value: float = 1.0  # power of v
    softmax: bool = True  # the layers whose error is said to grow


STATED = SoftmaxForm()


def stated(params: Tree, x: jax.Array, y: jax.Array, query: jax.Array, copies: float, form: SoftmaxForm) -> jax.Array:
    """The answer to one query [d] after R copies of the pairs x [P, d], y [P], []."""
    divided = params["K"] @ query / (query.shape[0] + 1) ** form.power
    weights, own = jnp.exp(x @ divided), form.own * jnp.exp(query @ divided) / copies**form.copies
    return params["v"] ** form.value * (weights @ y) / (jnp.sum(weights) + own)


def deviation(key: jax.Array, form: SoftmaxForm) -> float:
    """The largest distance of the layer from the form, random weights and contexts, as a share of `|v| max |y|`."""
    rows = draws.normal(key, (INSTANCES, POINTS + DIMENSION + 2, DIMENSION + 1))
    return float(jnp.max(_deviation(rows, form)))


@jax.jit
@functools.partial(jax.vmap, in_axes=(0, None))
def _deviation(rows: jax.Array, form: SoftmaxForm) -> jax.Array:
    pairs, query = rows[:POINTS], rows[POINTS, :-1]
    x, y = pairs[:, :-1], pairs[:, -1]
    params = {"K": rows[POINTS + 1 : -1, :-1], "v": rows[-1, 0]}
    repeated = jnp.tile(x, (COPIES, 1)), jnp.tile(y, COPIES)
    answer = training.answers(params, *repeated, query[None], constructions.softmax_attention)[0]
    return jnp.abs(answer - stated(params, x, y, query, COPIES, form)) / (jnp.abs(params["v"]) * jnp.max(jnp.abs(y)))


def layers(key: jax.Array, length: int) -> training.TrainedLayers:
    """Softmax layers trained on contexts of N pairs from linear MDPs."""
    return training.train(key, length, BATCH, linear_mdps.linear_mdp_pool, squared_error)


def squared_error(params: Tree, key: jax.Array, pool: linear_mdps.TrainingPool, length: int, batch: int) -> jax.Array:
    """`training.squared_error` of softmax attention."""
    return training.squared_error(params, key, pool, length, batch, constructions.softmax_attention)


def limits(trained: training.TrainedLayers, scale: float = 1.0) -> np.ndarray:
    """Mean square errors for M to infinity, features scaled, [SEEDS]."""
    return np.asarray(_limits(_final_params(trained), scale * trained.points, trained.tasks))


def context_errors(
    trained: training.TrainedLayers, key: jax.Array, context: int, samples: int, scale: float = 1.0
) -> np.ndarray:
    """Mean square errors over tasks and queries on random contexts of M pairs, features scaled, [samples, SEEDS]."""

    def measure(key: jax.Array, count: int) -> jax.Array:
        chosen = (draws.uniform(key, (count, context)) * len(trained.points)).astype(jnp.int32)
        return _context_errors(_final_params(trained), scale * trained.points, trained.tasks, chosen)

    return draws.in_chunks(measure, key, samples, CHUNK)


def linear_error(trained: training.TrainedLayers, length: int, context: float, scale: float = 1.0) -> float:
    """The same of linear attention with the best A for contexts of N pairs, exact."""
    points, tasks = jnp.asarray(trained.points), jnp.asarray(trained.tasks)
    parts = in_context_regression.split(
        linear_mdps.feature_distribution(scale * points),
        in_context_regression.optimum(linear_mdps.feature_distribution(points), tasks, length),
        tasks,
    )
    return float(parts.estimation / context + parts.bias)


def null_error(trained: training.TrainedLayers, scale: float = 1.0) -> float:
    """The mean square error of answering 0."""
    return float(scale**2 * np.einsum("pi,ij,pj->p", trained.points, trained.tasks, trained.points).mean())


def _final_params(trained: training.TrainedLayers) -> Tree:
    return {"v": trained.last[:, -1], "K": trained.key_query[:, -1]}


def _mean_square_error(read: jax.Array, points: jax.Array, tasks: jax.Array) -> jax.Array:
    """Mean over queries of `(a - x)^T W (a - x)`, where a [d, Q] answers labels that are the d features, []."""
    off = read.T - points
    return jnp.mean(jnp.sum(off @ tasks * off, axis=1))


@jax.jit
@functools.partial(jax.vmap, in_axes=(0, None, None))
def _limits(params: Tree, points: jax.Array, tasks: jax.Array) -> jax.Array:

    def read(y: jax.Array) -> jax.Array:
        return jax.vmap(lambda query: stated(params, points, y, query, jnp.inf, STATED))(points)

    return _mean_square_error(jax.vmap(read)(points.T), points, tasks)


@jax.jit
@functools.partial(jax.vmap, in_axes=(0, None, None, None), out_axes=1)
def _context_errors(params: Tree, points: jax.Array, tasks: jax.Array, chosen: jax.Array) -> jax.Array:
    def one(chosen: jax.Array) -> jax.Array:
        x = points[chosen]

        def read(y: jax.Array) -> jax.Array:
            return training.answers(params, x, y, points, constructions.softmax_attention)

        return _mean_square_error(jax.vmap(read)(x.T), points, tasks)

    return jax.lax.map(one, chosen)


LENGTH, LEAST = 4, 2.0
"""N, and the smallest multiple that counts as much worse."""


LENGTHS, CONTEXTS, SCALES = (4, 16), (1, 4, 16, 64, 256), (0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0)
"""N, M and scales of test features of the stored curves."""


ROUNDING = 1000
"""Times eps: sums of 15 exponentials of scores of a few units."""


WRONG = {
    "the same of linear attention": SoftmaxForm(softmax=False),
    "the query not attended to": SoftmaxForm(own=0.0),
    "the query's weight x 2": SoftmaxForm(own=2.0),
    "copies make no difference": SoftmaxForm(copies=0.0),
    "scores divided by d + 1": SoftmaxForm(power=1.0),
    "scores not divided": SoftmaxForm(power=0.0),
    "v^2 for v": SoftmaxForm(value=2.0),
}


def check(key: jax.Array, samples: int = 2000, form: SoftmaxForm = STATED) -> Claim:
    """Trained layers' error for M to infinity over that for M = N, mean and interval over seeds; the form must hold.

    Args:
        key: random key.
        samples: contexts of N pairs over which the error is averaged.
        form: what is claimed.
    """
    trained = layers(key, LENGTH)
    near_training = context_errors(trained, key, LENGTH, samples).mean(axis=0)
    limit = limits(trained)
    linear = [linear_error(trained, LENGTH, context) for context in (LENGTH, np.inf)]
    ratio = limit / near_training if form.softmax else np.full(training.SEEDS, linear[1] / linear[0])
    found = statistics.mean_interval(ratio)
    statement = (
        f"Softmax layers trained on N = {LENGTH} pairs err {near_training.mean():.2g} for M = N (linear "
        f"{linear[0]:.2g}) and {limit.mean():.2g} for M to infinity (linear {linear[1]:.2g}): times"
    )
    claim = near(statement, "ours", float(found.estimate), LEAST, 0.0)
    exact = deviation(key, form) <= ROUNDING * jnp.finfo(jnp.float64).eps
    verdict = (HOLDS if found.low > LEAST else DIFFERS) if exact else FAILS
    return claim._replace(low=float(found.low), high=float(found.high), target=f"> {LEAST:g}", verdict=verdict)


def curves(key: jax.Array, samples: int = 2000) -> dict[str, xr.DataArray]:
    """Errors against M, and against the scale of test features for M = N, the largest; softmax layers and linear ones.

    The latter are shares of the error of answering 0.
    """
    trained = [layers(key, length) for length in LENGTHS]
    last, end = trained[-1], LENGTHS[-1]

    def softmax(layer: training.TrainedLayers, context: int, scale: float) -> np.ndarray:
        return context_errors(layer, key, context, samples, scale).mean(axis=0)

    def linear(length: int, context: float, scale: float) -> float:
        return linear_error(last, length, context, scale)

    nothing = np.asarray([null_error(last, scale) for scale in SCALES])
    measured = np.stack([[softmax(layer, m, 1.0) for m in CONTEXTS] for layer in trained])
    exact = np.asarray([[linear(n, m, 1.0) for m in CONTEXTS] for n in LENGTHS])
    softmax_scaled = np.stack([softmax(last, end, c) for c in SCALES]) / nothing[:, None]
    linear_scaled = np.asarray([linear(end, end, c) for c in SCALES]) / nothing
    return {
        "softmax": named(measured, length=LENGTHS, context=CONTEXTS, seed=None),
        "linear": named(exact, length=LENGTHS, context=CONTEXTS),
        "softmax_limit": named(np.stack([limits(layer) for layer in trained]), length=LENGTHS, seed=None),
        "linear_limit": named([linear(n, np.inf, 1.0) for n in LENGTHS], length=LENGTHS),
        "softmax_scaled": named(softmax_scaled, scale=SCALES, seed=None),
        "linear_scaled": named(linear_scaled, scale=SCALES),
    }
