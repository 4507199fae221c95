"""L4. The preconditioner that training finds for features of any distribution and tasks of any distribution.

Statement. For features of second moment L, tasks with `W = E[w w^T]` and contexts of length N the layer's risk is least
at `A = W L G^-1`, `G = (1 - 1/N) L W L + (1/N) E[x x^T W x x^T]`.

Assumptions. Features and tasks independent, contexts and query drawn from the same distribution, with four moments; G
regular. No symmetry, no centring: features of a linear MDP are bounded and not centred, and this is the version that
applies to them, W being the second moment of the weights w of the MDPs' Q-functions.

Proof. With `L_N` the empirical second moment of a context, the risk is
`E |L^(1/2) (A L_N - I) w|^2 = tr L (A G A^T - A L W - W L A^T + W)`, `G = E[L_N W L_N]`, since `E L_N = L`. Of the N^2
products in G, N repeat a feature and the others are independent: that is the G above. The risk is convex in A, and its
gradient `2 L (A G - W L)` vanishes at `A = W L G^-1`. With normal x and `W = I` it is Gamma^-1 (L3).

Check. The squared error of the library's attention layer is summed over every context and query of a finite
distribution, for tasks with second moment W, and minimised over A by one Newton step, exact for a quadratic.

Refutation. The normal features' Gamma^-1 for features on a simplex.

Source. Ours; reduces to L3.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxdm.analysis.claims import Claim
from theory import draws
from theory.linear_attention import in_context_regression
from theory.verdicts import exactly

POINTS, DIMENSION, LENGTH = 5, 3, 3


CHUNK = 1000
"""Distributions drawn at once."""


ROUNDING = 100
"""Times eps and the condition number of the Hessian: sums of 5^4 terms."""


class PreconditionerForm(NamedTuple):
    """The stated `A = scale W L G^-1`, with G of contexts of `length N` and the moments that weights pick."""

    scale: float = 1.0
    length: float = 1.0  # of N
    normal: float = 0.0  # weight of the normal features' fourth moment, against the true one
    plain: float = 0.0  # weight of W = I, against the true W
    transposed: float = 0.0


STATED = PreconditionerForm()


WRONG = {
    "Gamma^-1": PreconditionerForm(normal=1.0, plain=1.0),
    "fourth moment of a Gaussian": PreconditionerForm(normal=1.0),
    "no fourth moment (N to infinity)": PreconditionerForm(length=float("inf")),
    "N x 2": PreconditionerForm(length=2.0),
    "N x 0.5": PreconditionerForm(length=0.5),
    "W = I": PreconditionerForm(plain=1.0),
    "transposed": PreconditionerForm(transposed=1.0),
    "A x 2": PreconditionerForm(scale=2.0),
    "A x 0.5": PreconditionerForm(scale=0.5),
}


def stated(
    distribution: in_context_regression.FeatureDistribution, tasks: jax.Array, length: int, form: PreconditionerForm
) -> jax.Array:
    """The A that is claimed, [d, d]."""
    normal = in_context_regression.gaussian(distribution.moment).fourth
    mixed = distribution._replace(
        fourth=lambda tasks: form.normal * normal(tasks) + (1 - form.normal) * distribution.fourth(tasks)
    )
    tasks = form.plain * jnp.eye(tasks.shape[0]) + (1 - form.plain) * tasks
    matrix = form.scale * in_context_regression.optimum(mixed, tasks, form.length * length)
    return form.transposed * matrix.T + (1 - form.transposed) * matrix


def check(key: jax.Array, samples: int = 30, form: PreconditionerForm = STATED) -> Claim:
    """The largest relative distance between the formula and the minimiser of the layer's exact risk.

    Args:
        key: random key.
        samples: random feature and task distributions.
        form: what is claimed.
    """
    drawn, found, condition = minimisers(key, samples)
    claimed = np.asarray(_stated(*drawn, form))
    error = np.max(np.abs(claimed - found) / np.max(np.abs(found), axis=(1, 2), keepdims=True))
    rounding = ROUNDING * float(jnp.finfo(jnp.float64).eps * np.max(condition))
    statement = "For any features and tasks the trained preconditioner is `W L G^-1`"
    return exactly(statement, "ours; reduces to L3", float(error), rounding)


@draws.once
def minimisers(key: jax.Array, samples: int) -> tuple[tuple[np.ndarray, ...], np.ndarray, np.ndarray]:
    """Random distributions (points, chances, W), the A of least enumerated risk and its condition, [samples, ...]."""

    def measure(key: jax.Array, count: int) -> tuple:
        key_distribution, key_tasks = draws.keys(key)
        drawn = jax.vmap(lambda key: in_context_regression.simplex(key, POINTS, DIMENSION))(
            draws.keys(key_distribution, count)
        )
        tasks = draws.normal(key_tasks, (count, 2 * DIMENSION, DIMENSION))
        return (*drawn, _second(tasks)), *_minimisers(*drawn, tasks)

    return draws.in_chunks(measure, key, samples, CHUNK)


_second = jax.jit(lambda tasks: jnp.einsum("nti,ntj->nij", tasks, tasks) / tasks.shape[1])


@jax.jit
@functools.partial(jax.vmap, in_axes=(0, 0, 0, None))
def _stated(points: jax.Array, chance: jax.Array, tasks: jax.Array, form: PreconditionerForm) -> jax.Array:
    return stated(in_context_regression.finite(points, chance), tasks, LENGTH, form)


@jax.jit
def _minimisers(points: jax.Array, chance: jax.Array, tasks: jax.Array) -> tuple[jax.Array, jax.Array]:
    """A, and the condition number of the risk's Hessian, [samples, ...]."""

    def one(distribution: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        x, weight = in_context_regression.every_context(distribution[0], distribution[1], LENGTH + 1)

        def risk(flat: jax.Array) -> jax.Array:
            matrix = flat.reshape(DIMENSION, DIMENSION)

            def miss(x: jax.Array, w: jax.Array) -> jax.Array:
                return in_context_regression.answers(matrix, x[:-1], x[:-1] @ w, x[-1:])[0] - x[-1] @ w

            return weight @ jnp.mean(
                jax.vmap(lambda x: jax.vmap(lambda w: miss(x, w))(distribution[2]))(x) ** 2, axis=1
            )

        zero = jnp.zeros(DIMENSION * DIMENSION)
        slope, hessian = jax.grad(risk)(zero), jax.hessian(risk)(zero)
        return -jnp.linalg.solve(hessian, slope[:, None]).reshape(DIMENSION, DIMENSION), hessian

    found, hessian = jax.lax.map(one, (points, chance, tasks))
    return found, jnp.linalg.cond(hessian)
