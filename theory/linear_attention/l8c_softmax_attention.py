"""L8c. Softmax attention in place of linear: a query that attends to itself spoils contexts longer than in training.

Statement. With `W^PV = v e e^T`, `W^KQ = diag(K, 0)` the library's softmax layer answers
`v sum_i exp(s_i) y_i / (sum_i exp(s_i) + exp(s_q))`, `s_i = x_i^T K x_q / sqrt(d + 1)`: an average of labels, to which
the query itself adds the label 0. Trained on N pairs, its error grows with the context beyond `M = N` (a finding at
these sizes). Where the query attends to the context alone, `exp(s_q)` is left out, and the error falls: to less than a
tenth of what it is at `M = N`, far below that of linear attention (a finding too).

Assumptions. The features and tasks of linear MDPs, as in L7; layers trained by the library's trainer.

Proof of the form, and why. The weights are those of the softmax, the last entry of a token's value is v times its
label, and the query's label is 0. On R copies of P points the query's share is `exp(s_q) / R` against theirs: unlike
linear attention, whose answer to copies is that to the points, this layer tells long contexts from short ones. In
training v makes up for the query's share of the N + 1 tokens, and is then too large for more of them. The answer for M
to infinity is the form with P all points and no query. (Answers are bounded by |v| times the largest label whatever
the features' size, where those of linear attention grow with its square, L8a.)

Check. The form, with random weights, with the query and without; then the error of trained layers for M to infinity as
a multiple of that for `M = N`: more than 2 with the query's own token, less than a fifth without it.

Refutation. For the linear layer, by L5, no such multiple exceeds one.

Source. Ours; the growth, its cause and its cure are findings.
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
from jaxdm.models import attention, constructions
from jaxdm.types import Tree
from theory import draws
from theory.linear_attention import in_context_regression, linear_mdps, training
from theory.verdicts import largest, near

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


class GrowthForm(NamedTuple):
    """The stated answer, and of which layers the error is said to grow with the context, and to fall."""

    answer: SoftmaxForm = SoftmaxForm()
    grows: str = "with"  # "linear", or softmax "with" or "without" the query's own token
    falls: str = "without"


ANSWER, STATED = SoftmaxForm(), GrowthForm()


def stated(params: Tree, x: jax.Array, y: jax.Array, query: jax.Array, copies: float, form: SoftmaxForm) -> jax.Array:
    """The answer to one query [d] after R copies of the pairs x [P, d], y [P], []."""
    divided = params["K"] @ query / (query.shape[0] + 1) ** form.power
    weights, own = jnp.exp(x @ divided), form.own * jnp.exp(query @ divided) / copies**form.copies
    return params["v"] ** form.value * (weights @ y) / (jnp.sum(weights) + own)


def deviation(key: jax.Array, form: SoftmaxForm) -> float:
    """The largest distance of either layer from the form, random weights and contexts, as a share of `|v| max |y|`."""
    rows = draws.normal(key, (INSTANCES, POINTS + DIMENSION + 2, DIMENSION + 1))
    alone = form._replace(own=0.0)
    return largest([_deviation(rows, form, True), _deviation(rows, alone, False)])


@functools.partial(jax.jit, static_argnums=2)
@functools.partial(jax.vmap, in_axes=(0, None, None))
def _deviation(rows: jax.Array, form: SoftmaxForm, own: bool) -> jax.Array:
    pairs, query = rows[:POINTS], rows[POINTS, :-1]
    x, y = pairs[:, :-1], pairs[:, -1]
    params = {"K": rows[POINTS + 1 : -1, :-1], "v": rows[-1, 0]}
    repeated = jnp.tile(x, (COPIES, 1)), jnp.tile(y, COPIES)
    answer = READERS[own](params, *repeated, query[None])[0]
    return jnp.abs(answer - stated(params, x, y, query, COPIES, form)) / (jnp.abs(params["v"]) * jnp.max(jnp.abs(y)))


def with_query(params: Tree, x: jax.Array, y: jax.Array, queries: jax.Array) -> jax.Array:
    """The library's softmax layer, whose query attends to itself too, label 0: answers [Q] to queries [Q, d]."""
    return training.answers(params, x, y, queries, constructions.softmax_attention)


def without_query(params: Tree, x: jax.Array, y: jax.Array, queries: jax.Array) -> jax.Array:
    """The library's softmax attention of queries to the context alone: they stand where its last pair does."""
    context = attention.KeyValues(keys=jnp.pad(x, ((0, 0), (0, 1))), values=params["v"] * y[:, None])
    asked = jnp.pad(queries @ params["K"].T, ((0, 0), (0, 1)))
    return jax.vmap(lambda query: attention.attend(query[None], context, x.shape[0] - 1)[0, 0])(asked)


READERS = {True: with_query, False: without_query}
"""By whether the query attends to itself."""


def layers(key: jax.Array, length: int, own: bool = True) -> training.TrainedLayers:
    """Softmax layers trained on contexts of N pairs from linear MDPs."""
    return training.train(key, length, BATCH, linear_mdps.linear_mdp_pool, LOSSES[own])


def squared_error(params: Tree, key: jax.Array, pool: linear_mdps.TrainingPool, length: int, batch: int) -> jax.Array:
    """`training.squared_error` of softmax attention."""
    return training.squared_error(params, key, pool, length, batch, with_query)


def squared_error_without(
    params: Tree, key: jax.Array, pool: linear_mdps.TrainingPool, length: int, batch: int
) -> jax.Array:
    """The same where the query does not attend to itself."""
    return training.squared_error(params, key, pool, length, batch, without_query)


LOSSES = {True: squared_error, False: squared_error_without}


def limits(trained: training.TrainedLayers, scale: float = 1.0) -> np.ndarray:
    """Mean square errors for M to infinity, features scaled, [SEEDS]."""
    return np.asarray(_limits(_final_params(trained), scale * trained.points, trained.tasks))


def context_errors(
    trained: training.TrainedLayers, key: jax.Array, context: int, samples: int, scale: float = 1.0, own: bool = True
) -> np.ndarray:
    """Mean square errors over tasks and queries on random contexts of M pairs, features scaled, [samples, SEEDS]."""

    def measure(key: jax.Array, count: int) -> jax.Array:
        chosen = (draws.uniform(key, (count, context)) * len(trained.points)).astype(jnp.int32)
        return _context_errors(_final_params(trained), scale * trained.points, trained.tasks, chosen, own)

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
        return jax.vmap(lambda query: stated(params, points, y, query, jnp.inf, ANSWER))(points)

    return _mean_square_error(jax.vmap(read)(points.T), points, tasks)


@functools.partial(jax.jit, static_argnums=4)
def _context_errors(params: Tree, points: jax.Array, tasks: jax.Array, chosen: jax.Array, own: bool) -> jax.Array:
    def one(params: Tree, chosen: jax.Array) -> jax.Array:
        x = points[chosen]
        return _mean_square_error(jax.vmap(lambda y: READERS[own](params, x, y, points))(x.T), points, tasks)

    return jax.vmap(lambda params: jax.lax.map(functools.partial(one, params), chosen), out_axes=1)(params)


LENGTH, LEAST, MOST = 4, 2.0, 0.2
"""N; the smallest multiple that counts as growth, and the largest that counts as a fall."""


LENGTHS, CONTEXTS, SCALES = (4, 16), (1, 4, 16, 64, 256), (0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0)
"""N, M and scales of test features of the stored curves."""


ROUNDING = 1000
"""Times eps: sums of 15 exponentials of scores of a few units."""


WRONG = {
    "the same of linear attention": GrowthForm(grows="linear"),
    "the same where the query attends to the context alone": GrowthForm(grows="without"),
    "falls where the query attends to itself": GrowthForm(falls="with"),
    "falls as much for linear attention": GrowthForm(falls="linear"),
    "the query not attended to": GrowthForm(answer=SoftmaxForm(own=0.0)),
    "the query's weight x 2": GrowthForm(answer=SoftmaxForm(own=2.0)),
    "copies make no difference": GrowthForm(answer=SoftmaxForm(copies=0.0)),
    "scores divided by d + 1": GrowthForm(answer=SoftmaxForm(power=1.0)),
    "scores not divided": GrowthForm(answer=SoftmaxForm(power=0.0)),
    "v^2 for v": GrowthForm(answer=SoftmaxForm(value=2.0)),
}


def check(key: jax.Array, samples: int = 2000, form: GrowthForm = STATED) -> Claim:
    """Trained layers' error for M to infinity over that for M = N, mean and interval over seeds; the form must hold.

    Args:
        key: random key.
        samples: contexts of N pairs over which the error is averaged.
        form: what is claimed.
    """
    ends = {"with": multiples(key, samples, True), "without": multiples(key, samples, False)}
    trained = layers(key, LENGTH)
    linear = [linear_error(trained, LENGTH, context) for context in (LENGTH, np.inf)]
    ratios = {name: limit / near_training for name, (near_training, limit) in ends.items()}
    ratios["linear"] = np.full(training.SEEDS, linear[1] / linear[0])
    found, fallen = statistics.mean_interval(ratios[form.grows]), statistics.mean_interval(ratios[form.falls])
    errors = {name: (near_training.mean(), limit.mean()) for name, (near_training, limit) in ends.items()}
    statement = (
        f"Softmax layers trained on N = {LENGTH} pairs err {errors['with'][0]:.2g} for M = N and "
        f"{errors['with'][1]:.2g} for M to infinity, linear ones {linear[0]:.2g} and {linear[1]:.2g}; where the query "
        f"does not attend to itself {errors['without'][0]:.2g} and {errors['without'][1]:.1g}. The first: times"
    )
    claim = near(statement, "ours", float(found.estimate), LEAST, 0.0)
    exact = deviation(key, form.answer) <= ROUNDING * jnp.finfo(jnp.float64).eps
    came_out = found.low > LEAST and fallen.high < MOST
    verdict = (HOLDS if came_out else DIFFERS) if exact else FAILS
    return claim._replace(low=float(found.low), high=float(found.high), target=f"> {LEAST:g}", verdict=verdict)


@draws.once
def multiples(key: jax.Array, samples: int, own: bool) -> tuple[np.ndarray, np.ndarray]:
    """Errors of trained layers for `M = N`, and for M to infinity, each [SEEDS]."""
    trained = layers(key, LENGTH, own)
    return context_errors(trained, key, LENGTH, samples, 1.0, own).mean(axis=0), limits(trained)


def curves(key: jax.Array, samples: int = 2000) -> dict[str, xr.DataArray]:
    """Errors against M, and against the scale of test features for M = N, the largest; softmax layers and linear ones.

    The latter are shares of the error of answering 0. `softmax_alone` is of layers whose query does not attend to
    itself, trained on the shortest contexts.
    """
    trained = [layers(key, length) for length in LENGTHS]
    alone = layers(key, LENGTHS[0], own=False)
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
    without = np.stack([context_errors(alone, key, m, samples, 1.0, own=False).mean(axis=0) for m in CONTEXTS])
    return {
        "softmax_alone": named(without, context=CONTEXTS, seed=None),
        "softmax": named(measured, length=LENGTHS, context=CONTEXTS, seed=None),
        "linear": named(exact, length=LENGTHS, context=CONTEXTS),
        "softmax_limit": named(np.stack([limits(layer) for layer in trained]), length=LENGTHS, seed=None),
        "linear_limit": named([linear(n, np.inf, 1.0) for n in LENGTHS], length=LENGTHS),
        "softmax_scaled": named(softmax_scaled, scale=SCALES, seed=None),
        "linear_scaled": named(linear_scaled, scale=SCALES),
    }
