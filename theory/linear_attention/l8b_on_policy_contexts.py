"""L8b. Contexts from someone's play, rather than from the data distribution, break L5's equality.

Statement. Let queries have second moment L, and contexts be drawn from another distribution, with second moment R and
fourth moments `F(W) = E[x x^T W x x^T]`. The layer's error then has exactly
`E e^2 = tr A^T L A (F(w w^T) - R w w^T R) / M + |L^(1/2) (A R - I) w|^2`.

Assumptions. Context and query independent; any A, any w.

Proof. As for L5: `e = x^T (A R_M - I) w`, `E R_M = R`, and `E R_M w w^T R_M = (1 - 1/M) R w w^T R + F(w w^T) / M`,
whatever distribution the query has. The second term does not vanish for long training contexts: a layer trained for L
multiplies by the wrong matrix.

Check. The error is summed over every context and query through the library's attention layer, to rounding. Also
measured: by what factor the error on pairs that optimal play visits, in random linear MDPs, differs from what L5 says.

Refutation. L5's equality for the queries' distribution.

Source. Ours.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from jaxdm.analysis.claims import Claim
from jaxdm.analysis.storage import named
from theory import draws
from theory.linear_attention import in_context_regression, linear_mdps
from theory.verdicts import exactly

POINTS, DIMENSION, LENGTH = 4, 3, 3


SIZE, TRAINED, CONTEXT = (8, 3, 4, 5), 30.0, 50
"""(S, A, d, H), N and M of the MDPs."""


CHUNK = 1000
"""Instances drawn at once."""


ROUNDING = 1000
"""Times eps: sums of 4^4 terms, relative to the error's second moment."""


class ContextErrorForm(NamedTuple):
    """The stated form: `E e^2 = estimation est / M^power + bias bias`, its moments those of contexts or of queries."""

    estimation: float = 1.0
    power: float = 1.0
    bias: float = 1.0
    visited: float = 1.0  # weight of the contexts' distribution in the moments, against the queries'


STATED = ContextErrorForm()


WRONG = {
    "the queries' moments (L5)": ContextErrorForm(visited=0.0),
    "mixed moments": ContextErrorForm(visited=0.5),
    "est x 0.5": ContextErrorForm(estimation=0.5),
    "est x 2": ContextErrorForm(estimation=2.0),
    "1/M^2": ContextErrorForm(power=2.0),
    "bias x 0.5": ContextErrorForm(bias=0.5),
    "bias x 2": ContextErrorForm(bias=2.0),
    "no bias": ContextErrorForm(bias=0.0),
}


def check(key: jax.Array, samples: int = 50, form: ContextErrorForm = STATED) -> Claim:
    """The largest relative deviation of the enumerated error from the form.

    Args:
        key: random key.
        samples: random distributions of contexts and queries, layers and tasks; and random linear MDPs.
        form: what is claimed.
    """

    def measure(key: jax.Array, count: int) -> jax.Array:
        return _deviations(*_drawn(key, count), form)

    error = float(draws.in_chunks(measure, key, samples, CHUNK).max())
    factor = factors(key, samples)
    statement = (
        "On contexts of any distribution `E e^2 = est / M + bias` with its moments; optimal play's contexts err by "
        f"{factor.min():.2g} to {factor.max():.2g} times (median {np.median(factor):.2g}) what L5 gives for others"
    )
    return exactly(statement, "ours", error, ROUNDING * float(jnp.finfo(jnp.float64).eps))


def curves(key: jax.Array, samples: int = 50) -> dict[str, xr.DataArray]:
    """How many times the error that L5 gives is met on contexts of optimal play, an MDP each."""
    return {"factors": named(factors(key, samples), mdp=None)}


def _drawn(key: jax.Array, count: int) -> tuple[jax.Array, ...]:
    """Points, chances in the context and of the query, A and w, leading axis [count]."""
    key_distribution, key_query, key_rows = draws.keys(key, 3)
    points, context = _simplexes(draws.keys(key_distribution, count))
    _, query = _simplexes(draws.keys(key_query, count))
    rows = draws.normal(key_rows, (count, DIMENSION + 1, DIMENSION))
    return points, context, query, rows


_simplexes = jax.jit(jax.vmap(lambda key: in_context_regression.simplex(key, POINTS, DIMENSION)))


@jax.jit
def _deviations(
    points: jax.Array, context: jax.Array, query: jax.Array, rows: jax.Array, form: ContextErrorForm
) -> jax.Array:
    """Relative distances between the enumerated errors and the stated ones, [count]."""

    def one(points: jax.Array, context: jax.Array, query: jax.Array, rows: jax.Array) -> jax.Array:
        matrix, task = rows[:-1], rows[-1]
        x, weight = in_context_regression.every_context(points, context, LENGTH)
        answers = jax.vmap(lambda x: in_context_regression.answers(matrix, x, x @ task, points))(x)
        measured = weight @ (answers - (points @ task)[None]) ** 2 @ query
        distribution = in_context_regression.finite(points, form.visited * context + (1 - form.visited) * query)
        parts = in_context_regression.split(
            distribution, matrix, jnp.outer(task, task), in_context_regression.finite(points, query).moment
        )
        stated = form.estimation * parts.estimation / LENGTH**form.power + form.bias * parts.bias
        return jnp.abs(measured - stated) / measured

    return jax.vmap(one)(points, context, query, rows)


@draws.once
def factors(key: jax.Array, samples: int) -> np.ndarray:
    """In random linear MDPs, `E e^2` on contexts of optimal play over what L5 gives for data, [samples]."""

    def measure(key: jax.Array, count: int) -> jax.Array:
        return _factors(linear_mdps.instances(key, SIZE, TRAINED, count))

    return draws.in_chunks(measure, key, samples, CHUNK)


@jax.jit
@jax.vmap
def _factors(world: linear_mdps.SolvedLinearMDP) -> jax.Array:
    horizon, _, actions = world.q.shape
    policy = jax.nn.one_hot(jnp.argmax(world.q, axis=-1), actions)

    def forward(reach: jax.Array, step: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        pairs = reach[:, None] * step[1]
        return jnp.einsum("sa,sat->t", pairs, step[0]), pairs.ravel()

    _, visits = jax.lax.scan(forward, world.stages.initial[0], (world.stages.transition, policy))
    data, tasks = linear_mdps.uniform_pairs(world.features), world.weights.T @ world.weights / horizon
    played = in_context_regression.finite(world.features, jnp.mean(visits, axis=0))
    on_policy = in_context_regression.split(played, world.preconditioner, tasks, data.moment)
    uniform = in_context_regression.split(data, world.preconditioner, tasks)
    return (on_policy.estimation / CONTEXT + on_policy.bias) / (uniform.estimation / CONTEXT + uniform.bias)
