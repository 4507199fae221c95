"""L3b. From dense random weights, instead of the theorem's, training ends at the optimum or in a minimum above it.

Statement. From normal random entries in the last row of `W^PV` and in `W^KQ`, training ends either at the optimum of
L3, values reading labels and scores reading features, or where these have changed places; the latter in more than a
tenth of starts. This is a finding for d = 2, and no theorem.

Assumptions. `x ~ N(0, diag(2, 1))`, `w ~ N(0, I)`, N = 2 and N = 20; gradient steps on the population risk by the
library's trainer.

Why, in place of a proof. The risk is a polynomial in all entries of both matrices (`population_risk`). Where values
read one feature and scores the labels, the layer for N = 2 is `A = Gamma^-1` with all but one direction left out:
one row and one column multiply to a matrix of rank one.

Check. Where training ends the gradient vanishes and no direction leads down; for N = 2 the risk is one of those two;
none is below the optimum's. The polynomial is compared with the risk of the library's layer, summed over whole prompts
for N = 2. `measured` is the share of starts that end above the optimum, with its interval.

Refutation. The same of layers that start as the theorem asks: those all reach the optimum.

Source. Ours.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree

from jaxdm import trainer
from jaxdm.analysis import statistics
from jaxdm.analysis.claims import DIFFERS, FAILS, HOLDS, Claim
from jaxdm.types import Tree
from theory import draws
from theory.linear_attention import in_context_regression, population_risk
from theory.verdicts import near

LENGTHS = (2, 20)
"""N; whole prompts are summed over for the first."""


DEVIATION, STEPS, RATE = 0.3, 4000, 0.05
"""Of the initial weights; gradient steps and their first size."""


CHUNK = 10_000
"""Starts for each N at once."""


LEAST = 0.1
"""Share of starts that counts as often."""


AT_REST, ROUNDING = 1e-6, 1e-9
"""Largest slope, and curvature downwards, of a point of rest; relative error of sums over 11,664 prompts."""


class DenseStartForm(NamedTuple):
    """What is stated, with its constants."""

    own: float = 1.0  # weight of the query in H
    tokens: float = 0.0  # H divides by N + tokens
    left: float = 1.0  # times the A with directions left out
    above: float = 1.0  # whether there are minima above the optimum
    structured: bool = False  # start as in L3


class TrainingEnds(NamedTuple):
    """Where training from random starts ends."""

    risk: np.ndarray  # [N, samples]
    slope: np.ndarray  # [N, samples] largest entry of the gradient
    curvature: np.ndarray  # [N, samples] least eigenvalue of the Hessian


STATED = DenseStartForm()


WRONG = {
    "the theorem's start": DenseStartForm(structured=True),
    "no query in H": DenseStartForm(own=0.0),
    "N + 1 for N": DenseStartForm(tokens=1.0),
    "A with directions left out x 0.5": DenseStartForm(left=0.5),
    "A with directions left out x 2": DenseStartForm(left=2.0),
    "nothing but the optimum": DenseStartForm(above=0.0),
}


def check(key: jax.Array, samples: int = 500, form: DenseStartForm = STATED) -> Claim:
    """The share of dense random starts, with its interval, from which training ends above the least risk.

    Args:
        key: random key.
        samples: starts for each N.
        form: what is claimed.
    """
    ends = reached(key, samples, form)
    kept = np.stack([risks(length, form) for length in LENGTHS])
    above = ends.risk > 1.01 * kept[:, :1]
    share = statistics.mean_interval(above.ravel())
    statement = (
        f"From dense random weights training ends above the least risk, at {ends.risk[-1].max() / kept[-1, 0]:.2g} "
        f"times it for N = {LENGTHS[-1]}, in a share of starts of"
    )
    claim = near(statement, "ours", float(share.estimate), LEAST, 0.0)
    distance = np.min(np.abs(ends.risk[0][:, None] - kept[0][None]), axis=1) / kept[0, 0]
    sound = (
        population_risk.moment_risk_error(key, moments(LENGTHS[0], form)) <= ROUNDING
        and ends.slope.max() <= AT_REST
        and ends.curvature.min() >= -AT_REST
        and distance.max() <= AT_REST
        and np.all(ends.risk >= (1 - ROUNDING) * kept[:, :1])
    )
    verdict = (HOLDS if share.low > LEAST else DIFFERS) if sound else FAILS
    return claim._replace(low=float(share.low), high=float(share.high), target=f"> {LEAST:g}", verdict=verdict)


def risks(length: int, form: DenseStartForm) -> np.ndarray:
    """Of `A = Gamma^-1`, and of that with one direction kept, [1 + d]."""
    distribution, size = (
        in_context_regression.gaussian(jnp.diag(jnp.asarray(population_risk.SPECTRUM))),
        len(population_risk.SPECTRUM),
    )
    best = in_context_regression.gaussian_optimum(distribution.moment, length)
    layers = [best] + [form.left * best * jnp.eye(size)[i][None] for i in range(size) if form.above]
    parts = [in_context_regression.split(distribution, layer, jnp.eye(size)) for layer in layers]
    return np.asarray([float(part.estimation / length + part.bias) for part in parts])


def moments(length: int, form: DenseStartForm) -> tuple[np.ndarray, np.ndarray, float]:
    """Of the risk that is claimed."""
    return population_risk.moments(length, form.own, form.tokens)


@draws.once
def reached(key: jax.Array, samples: int, form: DenseStartForm) -> TrainingEnds:
    """Where training from random starts ends."""
    found = draws.in_chunks(functools.partial(_ends, form), key, samples, CHUNK)
    risk, slope, curvature = (np.swapaxes(x, 0, 1) for x in found)
    return TrainingEnds(risk=risk, slope=slope, curvature=curvature)


def _ends(form: DenseStartForm, key: jax.Array, samples: int) -> list[np.ndarray]:
    """Risk, largest slope and least curvature at the end, each [samples, N]."""
    rows = DEVIATION * draws.normal(key, (len(LENGTHS), samples, 3, 3))
    b, u = rows[..., 0], rows[..., 1:]
    if form.structured:
        square = u[..., :2, :] @ jnp.swapaxes(u[..., :2, :], -1, -2)
        u = DEVIATION * square / jnp.linalg.norm(square, axis=(-1, -2), keepdims=True)
        b, u = jnp.zeros_like(b).at[..., -1].set(DEVIATION), jnp.pad(u, ((0, 0), (0, 0), (0, 1), (0, 0)))
    drawn = [np.stack(x) for x in zip(*(moments(length, form) for length in LENGTHS), strict=True)]
    found = _reached(draws.keys(key, samples), {"b": b, "U": u}, drawn)
    return [np.swapaxes(x, 0, 1) for x in found]


@jax.jit
@functools.partial(jax.vmap, in_axes=(None, 0, 0))
@functools.partial(jax.vmap, in_axes=(0, 0, None))
def _reached(key: jax.Array, start: Tree, drawn: Tree) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Risk, largest slope and least curvature at the end."""
    learner = trainer.make(
        lambda params, _, drawn: population_risk.moment_risk(params, *drawn),
        optax.adam(optax.cosine_decay_schedule(RATE, STEPS)),
    )
    end = learner.run(learner.init(key, start), drawn, STEPS)[0].params
    flat, unflatten = ravel_pytree(end)

    def risk(flat: jax.Array) -> jax.Array:
        return population_risk.moment_risk(unflatten(flat), *drawn)

    return risk(flat), jnp.max(jnp.abs(jax.grad(risk)(flat))), jnp.min(jnp.linalg.eigvalsh(jax.hessian(risk)(flat)))
