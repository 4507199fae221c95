"""L3. What training on contexts of length N makes of the layer: a preconditioner that is not the inverse covariance.

Statement. The population risk of the layer `W^PV = v e e^T`, `W^KQ = diag(K, 0)` is least at `v K^T = Gamma^-1`,
`Gamma = (1 + 1/N) L + (tr L / N) I`. From `v = s`, `K = s T T^T` with `|T T^T| = 1`, gradient flow ends at
`W^PV = c e e^T` and `W^KQ = c^-1 diag(Gamma^-1, 0)`, `c = tr(Gamma^-2)^(1/4)`.

Assumptions. `x ~ N(0, L)`, `w ~ N(0, I)`, squared loss; L regular, `T L` not zero, and `s^2 |Gamma| sqrt(d) < 2`.

Proof. With `A = v K^T` the risk is the quadratic `tr L (A G A^T - 2 A L + I)`, where `G = E[L_N^2] = L Gamma` (L4 and
Isserlis), so that its gradient `2 L (A G - L)` vanishes at `A = Gamma^-1`. Flow keeps `v^2 - |K|^2` as it was, since
`v dv/dt = <K, dK/dt>`; it begins at zero, hence `|K| = |v|`, and `v K^T = Gamma^-1` gives `v^2 = |Gamma^-1| =
tr(Gamma^-2)^(1/2)`. That the flow gets there, from a start below the saddle at zero, is the source's.

Check. (a) The gradient of the risk of the library's layer, in every entry of both matrices, vanishes there: the risk is
a polynomial of low degree in normal variables, so that Gauss-Hermite quadrature is exact (d = N = 2). (b) Gradient flow
on the closed-form risk from random starts of that kind ends at these matrices, for several d, L and N, to within what
half the step of the integrator changes. That training on sampled prompts ends there too is L7.

Refutation. `A = L^-1`, the optimum for infinitely long contexts.

Source. Paper 1, eqs. 4 and 5; Zhang, Frei, Bartlett, JMLR 25, 2024, theorem 4.1.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxdm.analysis.claims import FAILS, Claim
from theory import draws
from theory.linear_attention import population_risk
from theory.verdicts import at_most, largest

SOURCE = "paper 1, eqs. 4-5 = Zhang, Frei, Bartlett 2024, theorem 4.1"


ROUNDING = 10_000
"""Times eps: quadrature over 11,664 prompts, relative to the mean modulus of their gradients."""


SETTINGS = (((1.0, 1.0, 1.0), 20), ((2.0, 1.0, 0.5), 50), ((2.0, 1.0), 4), ((1.5, 1.0, 1.0, 0.5), 10))
"""Eigenvalues of L, and N, of the flows."""


WIDEST = max(len(spectrum) for spectrum, _ in SETTINGS)


CHUNK = 1000
"""Initialisations of every setting at once."""


STEPS, LENGTH_OF_FLOW = 3000, 150.0
"""Runge-Kutta steps, and the time by which the slowest of these flows has come to rest."""


class TrainingOptimumForm(NamedTuple):
    """The stated `A = ((first + second / N) L + trace (tr L / N) I)^-1`, and v as a power of `tr A^2`."""

    first: float = 1.0
    second: float = 1.0
    trace: float = 1.0
    power: float = 0.25


STATED = TrainingOptimumForm()


WRONG = {
    "A = L^-1": TrainingOptimumForm(second=0.0, trace=0.0),
    "no trace term": TrainingOptimumForm(trace=0.0),
    "trace term x 2": TrainingOptimumForm(trace=2.0),
    "trace term x 0.5": TrainingOptimumForm(trace=0.5),
    "no 1/N in 1 + 1/N": TrainingOptimumForm(second=0.0),
    "Gamma x 0.5": TrainingOptimumForm(first=0.5, second=0.5, trace=0.5),
    "tr^(1/2) for tr^(1/4)": TrainingOptimumForm(power=0.5),
    "tr^(-1/4) for tr^(1/4)": TrainingOptimumForm(power=-0.25),
}


def check(key: jax.Array, samples: int = 4, form: TrainingOptimumForm = STATED) -> Claim:
    """The largest entry by which a flow's end differs from the stated matrices; the layer's gradient must vanish.

    Args:
        key: random key.
        samples: random initialisations T of every setting.
        form: what is claimed.
    """
    worst, slack = 0.0, 0.0
    fine, coarse = (flows(key, samples, steps) for steps in (STEPS, STEPS // 2))
    for index, (spectrum, length) in enumerate(SETTINGS):
        inverse, balance = matrices(spectrum, length, form)
        goal = np.append(np.pad(inverse, (0, WIDEST - len(spectrum))).ravel(), balance)
        worst = largest([worst, np.abs(fine[:, index] - goal)])
        slack = largest([slack, np.abs(fine[:, index] - coarse[:, index])])
    statement = "Training ends at `W^KQ = c^-1 diag(Gamma^-1, 0), W^PV = c e e'`, `c = tr(Gamma^-2)^(1/4)`"
    claim = at_most(statement, SOURCE, worst, slack)._replace(target=f"<= {slack:.1e}, the integrator's error")
    inverse, balance = matrices((2.0, 1.0), 2, form)
    slope, size = population_risk.largest_gradient(inverse, balance, (2.0, 1.0))
    flat = float(slope) <= ROUNDING * jnp.finfo(jnp.float64).eps * float(size)
    return claim if flat else claim._replace(verdict=FAILS)


def matrices(spectrum: tuple[float, ...], length: int, form: TrainingOptimumForm = STATED) -> tuple[np.ndarray, float]:
    """The stated K [d, d] and v."""
    trace, eye = sum(spectrum), np.eye(len(spectrum))
    inverse = np.linalg.inv((form.first + form.second / length) * np.diag(spectrum) + form.trace * trace / length * eye)
    balance = np.trace(inverse @ inverse) ** form.power
    return inverse / balance, float(balance)


@draws.once
def flows(key: jax.Array, samples: int, steps: int) -> np.ndarray:
    """Where flows from random initialisations end: the entries of K and v, [samples, settings, d d + 1].

    Smaller matrices are padded by zeros, which stay: features without variance move no weight.
    """
    sizes = np.asarray([len(spectrum) for spectrum, _ in SETTINGS])
    spectra = np.stack([np.pad(spectrum, (0, WIDEST - len(spectrum))) for spectrum, _ in SETTINGS])
    lengths = np.asarray([float(length) for _, length in SETTINGS])
    largest = np.max((1 + 1 / lengths)[:, None] * spectra + (spectra.sum(axis=1) / lengths)[:, None], axis=1)
    scale = np.sqrt(1 / (largest * np.sqrt(sizes)))

    def measure(key: jax.Array, count: int) -> jax.Array:
        inside = (np.arange(WIDEST) < sizes[:, None]).astype(float)
        drawn = np.asarray(draws.normal(key, (count, len(SETTINGS), WIDEST, WIDEST))) * inside[..., None]
        square = drawn @ drawn.swapaxes(-1, -2)
        square *= scale[:, None, None] / np.linalg.norm(square, axis=(-1, -2), keepdims=True)
        ends = np.broadcast_to(scale[None, :, None], (count, len(SETTINGS), 1))
        start = np.concatenate([square.reshape(count, len(SETTINGS), -1), ends], axis=2)
        return _flows(start, spectra, lengths, steps)

    return draws.in_chunks(measure, key, samples, CHUNK)


@jax.jit
@functools.partial(jax.vmap, in_axes=(0, None, None, None))
@functools.partial(jax.vmap, in_axes=(0, 0, 0, None))
def _flows(start: jax.Array, spectrum: jax.Array, length: jax.Array, steps: int) -> jax.Array:
    """The end of gradient flow by fourth-order Runge-Kutta."""
    dt = LENGTH_OF_FLOW / steps

    def step(_: jax.Array, weights: jax.Array) -> jax.Array:
        def stage(carry: tuple, rule: tuple) -> tuple:
            rise = slope(weights - dt * rule[0] * carry[0], spectrum, length)
            return (rise, carry[1] + rule[1] * rise), None

        rule = jnp.asarray([0, 1 / 2, 1 / 2, 1]), jnp.asarray([1, 2, 2, 1]) / 6
        (_, total), _ = jax.lax.scan(stage, (jnp.zeros_like(weights), jnp.zeros_like(weights)), rule)
        return weights - dt * total

    return jax.lax.fori_loop(0, steps, step, start)


def slope(weights: jax.Array, spectrum: jax.Array, length: jax.Array) -> jax.Array:
    """The gradient of half the risk in K and v, [d d + 1]: with L diagonal so is G, and no matrices are multiplied.

    With `B = L (A G - L)`, `A = v K^T`: `v B^T` in K and `sum_ij B_ij K_ji` in v.
    """
    size = spectrum.shape[0]
    key_query, last = weights[:-1].reshape(size, size), weights[-1]
    repeated = spectrum * ((1 + 1 / length) * spectrum + jnp.sum(spectrum) / length)
    turned = (last * key_query * repeated[:, None] - jnp.diag(spectrum)) * spectrum[None]  # B^T
    return jnp.append((last * turned).ravel(), jnp.sum(turned * key_query))
