"""L4. The preconditioner that training finds for features of any law and tasks of any law.

Let contexts of length N have features of second moment L, and tasks `W = E[w w^T]`. With `L_N` the empirical second
moment of a context, the layer's risk is
`E |L^(1/2) (A L_N - I) w|^2 = tr L (A G A^T - A L W - W L A^T + W)`, `G = E[L_N W L_N]`,
since `E L_N = L`. Of the N^2 products in G, N repeat a feature and the others are independent:
`G = (1 - 1/N) L W L + (1/N) E[x x^T W x x^T]`. The risk is convex in A, and its gradient `2 L (A G - W L)` vanishes at
`A = W L G^-1`, whatever the law beyond these moments. With normal x and `W = I` it is Gamma^-1 (L3). Features of a
linear MDP are bounded and not centred, and this is the version that applies to them: W is then the second moment of the
w of the MDPs' Q-functions.

Checked by summing the squared error of the library's attention layer over every context and query of a finite law, for
tasks with second moment W, and minimising that sum over A by one Newton step, exact for a quadratic. The
refutation claims the normal features' Gamma^-1 for features on a simplex.

Source: ours.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from theory import regression
from theory.claim import Claim, exactly

POINTS, DIMENSION, LENGTH = 5, 3, 3
ROUNDING = 100
"""Times eps and the condition number of the Hessian: sums of 5^4 terms."""

Form = Callable[[regression.Law, jax.Array, int], jax.Array]
"""Law, W and N to A."""


def _without_repeats(law: regression.Law, tasks: jax.Array, length: int) -> jax.Array:
    return regression.optimum(law, tasks, 1e9 + length)


def _gaussian_moments(law: regression.Law, tasks: jax.Array, length: int) -> jax.Array:
    return regression.optimum(regression.gaussian(law.moment), tasks, length)


WRONG: dict[str, Form] = {
    "Gamma^-1": lambda law, tasks, length: regression.gaussian_optimum(law.moment, length),
    "fourth moment of a Gaussian": _gaussian_moments,
    "no fourth moment (N to infinity)": _without_repeats,
    "N x 2": lambda law, tasks, length: regression.optimum(law, tasks, 2 * length),
    "N x 0.5": lambda law, tasks, length: regression.optimum(law, tasks, length / 2),
    "W = I": lambda law, tasks, length: regression.optimum(law, jnp.eye(DIMENSION), length),
    "transposed": lambda law, tasks, length: regression.optimum(law, tasks, length).T,
    "A x 2": lambda law, tasks, length: 2 * regression.optimum(law, tasks, length),
    "A x 0.5": lambda law, tasks, length: regression.optimum(law, tasks, length) / 2,
}


def check(key: jax.Array, samples: int = 30, form: Form = regression.optimum) -> Claim:
    """The largest relative distance between the formula and the minimiser of the layer's exact risk.

    Args:
        key: random key.
        samples: random feature and task laws.
        form: what is claimed.
    """
    laws, tasks, found, condition = minimisers(jax.random.split(key, samples))
    stated = jax.jit(jax.vmap(lambda law, tasks: form(regression.finite(*law), tasks, LENGTH)))(laws, tasks)
    size = jnp.max(jnp.abs(found), axis=(1, 2), keepdims=True)
    rounding = ROUNDING * float(jnp.finfo(jnp.float64).eps * jnp.max(condition))
    statement = "For any features and tasks the trained preconditioner is W L G^-1"
    return exactly("L4", statement, "ours; reduces to L3", float(jnp.max(jnp.abs(stated - found) / size)), rounding)


def refute(key: jax.Array, samples: int = 30) -> Claim:
    """The same with the optimum of normal features."""
    return check(key, samples, WRONG["Gamma^-1"])


@jax.jit
def minimisers(keys: jax.Array) -> tuple[tuple[jax.Array, jax.Array], jax.Array, jax.Array, jax.Array]:
    """Random laws (points, chances), W, the A of least enumerated risk and its condition number, [samples, ...]."""

    def one(key: jax.Array) -> tuple:
        key_law, key_tasks = jax.random.split(key)
        points, chance = regression.simplex(key_law, POINTS, DIMENSION)
        tasks = jax.random.normal(key_tasks, (2 * DIMENSION * DIMENSION,)).reshape(2 * DIMENSION, DIMENSION)
        x, weight = regression.every_context(points, chance, LENGTH + 1)

        def risk(flat: jax.Array) -> jax.Array:
            matrix = flat.reshape(DIMENSION, DIMENSION)
            miss = lambda x, w: regression.answers(matrix, x[:-1], x[:-1] @ w, x[-1:])[0] - x[-1] @ w
            return weight @ jnp.mean(jax.vmap(lambda x: jax.vmap(lambda w: miss(x, w))(tasks))(x) ** 2, axis=1)

        zero = jnp.zeros(DIMENSION * DIMENSION)
        hessian = jax.hessian(risk)(zero)
        found = -jnp.linalg.solve(hessian, jax.grad(risk)(zero)[:, None]).reshape(DIMENSION, DIMENSION)
        return (points, chance), tasks.T @ tasks / (2 * DIMENSION), found, jnp.linalg.cond(hessian)

    return jax.lax.map(one, keys)
