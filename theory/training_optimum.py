"""L3. What training on contexts of length N makes of the layer: a preconditioner that is not the inverse covariance.

For `x ~ N(0, L)`, `w ~ N(0, I)` the population risk of the layer `W^PV = v e e^T`, `W^KQ = diag(K, 0)` is the quadratic
`tr L (A G A^T - 2 A L + I)` in `A = v K^T`, with `G = L Gamma`, least at `A = Gamma^-1`,
`Gamma = (1 + 1/N) L + (tr L / N) I`. Gradient flow keeps `v^2 - |K|^2` as it was, zero from the initialisation
`v = s`, `K = s T T^T` with `|T T^T| = 1`; with `v K^T = Gamma^-1` that leaves only
`W^PV = tr(Gamma^-2)^(1/4) e e^T` and `W^KQ = tr(Gamma^-2)^(-1/4) diag(Gamma^-1, 0)`.

Checked: (a) the gradient of the risk of the library's layer, in every entry of both matrices, vanishes there; the
risk is a polynomial of low degree in normal variables, so that Gauss-Hermite quadrature is exact (d = N = 2);
(b) gradient flow on the closed-form risk from that initialisation ends at these matrices, for several d, L and N.
The refutation claims `A = L^-1`, the optimum for infinitely long contexts.

Source: paper 1, eqs. 4 and 5; Zhang, Frei, Bartlett, JMLR 25, 2024, theorem 4.1.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxdm.models import constructions
from theory import regression
from theory.claim import FAILS, Claim, at_most

SOURCE = "paper 1, eqs. 4-5 = Zhang, Frei, Bartlett 2024, theorem 4.1"
ROUNDING = 10_000
"""Times eps: quadrature over 11,664 prompts, relative to the mean modulus of their gradients."""
SETTINGS = (((1.0, 1.0, 1.0), 20), ((2.0, 1.0, 0.5), 50), ((2.0, 1.0), 4), ((1.5, 1.0, 1.0, 0.5), 10))
"""Eigenvalues of L, and N, of the flows."""
STEPS, LENGTH_OF_FLOW = 3000, 150.0
"""Runge-Kutta steps, and the time by which the slowest of these flows has come to rest."""


class Optimum(NamedTuple):
    """The stated `A = ((first + second / N) L + trace (tr L / N) I)^-1`, and v as a power of `tr A^2`."""

    first: float = 1.0
    second: float = 1.0
    trace: float = 1.0
    power: float = 0.25


STATED = Optimum()
WRONG = {
    "A = L^-1": Optimum(second=0.0, trace=0.0),
    "no trace term": Optimum(trace=0.0),
    "trace term x 2": Optimum(trace=2.0),
    "trace term x 0.5": Optimum(trace=0.5),
    "no 1/N in 1 + 1/N": Optimum(second=0.0),
    "Gamma x 0.5": Optimum(first=0.5, second=0.5, trace=0.5),
    "tr^(1/2) for tr^(1/4)": Optimum(power=0.5),
    "tr^(-1/4) for tr^(1/4)": Optimum(power=-0.25),
}


def check(key: jax.Array, samples: int = 4, form: Optimum = STATED) -> Claim:
    """The largest entry by which a flow's end differs from the stated matrices; the layer's gradient must vanish.

    Args:
        key: random key.
        samples: random initialisations T of every setting.
        form: what is claimed.
    """
    worst, slack = 0.0, 0.0
    for index, (spectrum, length) in enumerate(SETTINGS):
        moment = jnp.diag(jnp.asarray(spectrum))
        keys = jax.random.split(jax.random.fold_in(key, index), samples)
        fine, coarse = (flows(keys, moment, length, steps) for steps in (STEPS, STEPS // 2))
        stated = matrices(moment, length, form)
        worst = max(worst, *(float(jnp.max(jnp.abs(end - goal[None]))) for end, goal in zip(fine, stated, strict=True)))
        slack = max(slack, *(float(jnp.max(jnp.abs(x - y))) for x, y in zip(fine, coarse, strict=True)))
    statement = "Training ends at W^KQ = c^-1 diag(Gamma^-1, 0), W^PV = c e e', c = tr(Gamma^-2)^(1/4)"
    claim = at_most("L3", statement, SOURCE, worst, slack)._replace(target=f"<= {slack:.1e}, the integrator's error")
    slope, size = layer_gradient(form)
    flat = float(slope) <= ROUNDING * jnp.finfo(jnp.float64).eps * float(size)
    return claim if flat else claim._replace(verdict=FAILS)


def refute(key: jax.Array, samples: int = 4) -> Claim:
    """The same with `A = L^-1`."""
    return check(key, samples, WRONG["A = L^-1"])


def matrices(moment: jax.Array, length: jax.Array | float, form: Optimum = STATED) -> tuple[jax.Array, jax.Array]:
    """The stated K [d, d] and v []."""
    trace, eye = jnp.trace(moment), jnp.eye(moment.shape[0])
    inverse = jnp.linalg.inv((form.first + form.second / length) * moment + form.trace * trace / length * eye)
    balance = jnp.trace(inverse @ inverse) ** form.power
    return inverse / balance, balance


@functools.partial(jax.jit, static_argnums=3)
def flows(keys: jax.Array, moment: jax.Array, length: int, steps: int) -> tuple[jax.Array, jax.Array]:
    """The end of gradient flow from random initialisations, by fourth-order Runge-Kutta: K [n, d, d], v [n]."""
    law, size, eye = regression.gaussian(moment), moment.shape[0], jnp.eye(moment.shape[0])

    def risk(weights: tuple[jax.Array, jax.Array]) -> jax.Array:
        parts = regression.split(law, weights[1] * weights[0].T, eye)
        return (parts.estimation / length + parts.bias) / 2

    def step(weights: tuple, _: None) -> tuple:
        move = lambda slope, time: jax.tree.map(lambda w, g: w - time * g, weights, slope)
        dt, slope = LENGTH_OF_FLOW / steps, jax.grad(risk)
        one = slope(weights)
        two = slope(move(one, dt / 2))
        three = slope(move(two, dt / 2))
        four = slope(move(three, dt))
        return move(jax.tree.map(lambda a, b, c, d: (a + 2 * b + 2 * c + d) / 6, one, two, three, four), dt), None

    def flow(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        drawn = law.sample(key, size)
        square = drawn @ drawn.T / jnp.linalg.norm(drawn @ drawn.T)
        largest = jnp.linalg.norm(jnp.linalg.inv(regression.gaussian_optimum(moment, length)), 2)
        scale = 1 / jnp.sqrt(largest * size**0.5)
        return jax.lax.scan(step, (scale * square, scale), length=steps)[0]

    return jax.vmap(flow)(keys)


@jax.jit
def layer_gradient(form: Optimum) -> tuple[jax.Array, jax.Array]:
    """Largest entry of the gradient of the layer's exact risk at the stated matrices, and of that of one prompt."""
    moment, length = jnp.diag(jnp.asarray((2.0, 1.0))), 2
    stated = matrices(moment, length, form)
    last = jnp.zeros((3, 3)).at[2, 2].set(stated[1])
    (nodes, weights), layer = prompts(moment), constructions.linear_attention(3)

    def error(merged: tuple[jax.Array, jax.Array], node: jax.Array) -> jax.Array:
        task, x = node[0], node[1:]
        tokens = constructions.regression_prompt(x[:-1], x[:-1] @ task, x[-1])
        return (layer.apply(constructions.attention_layer(*merged), tokens)[-1, -1] - x[-1] @ task) ** 2

    slopes = jax.vmap(jax.grad(error), (None, 0))((jnp.pad(stated[0], ((0, 1), (0, 1))), last), nodes)
    largest = lambda part: jnp.stack([jnp.max(jnp.abs(jnp.tensordot(weights, part(slope), 1))) for slope in slopes])
    return jnp.max(largest(lambda slope: slope)), jnp.max(largest(jnp.abs))


def prompts(moment: jax.Array) -> tuple[jax.Array, jax.Array]:
    """A task, two context points and a query [n, 4, 2] with weights [n], exact for the risk of a diagonal L.

    The squared error has degree 4 in the task and in each context point, and 6 in the query: 3 and 4 nodes a variable.
    """
    rules = [np.polynomial.hermite_e.hermegauss(4 if place >= 6 else 3) for place in range(8)]
    grid = np.stack(np.meshgrid(*[nodes for nodes, _ in rules], indexing="ij"), -1).reshape(-1, 4, 2)
    weight = functools.reduce(np.multiply.outer, [weight / weight.sum() for _, weight in rules]).ravel()
    scale = jnp.ones((4, 2)).at[1:].set(jnp.sqrt(jnp.diagonal(moment))[None])
    return jnp.asarray(grid) * scale[None], jnp.asarray(weight)
