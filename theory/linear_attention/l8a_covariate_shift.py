"""L8a. Where the layer stops: it is no regression, but a product with a fixed matrix.

Statement. If all features of context and query are scaled by c and tasks answer as before, `y = <w, x>`, the layer's
answer grows by c^3 where the truth grows by c: relative to the truth by c^2. If labels stay, as when units change, the
answer grows by c^2 where the truth stays.

Assumptions. None on features, labels or A.

Proof. The answer `x_q^T A (1/M) sum_i y_i x_i` is linear in the query, in the context's features and in its labels, and
A was fixed in training: one power of c for each that is scaled. Scaling the query alone scales truth and answer alike.
A least-squares fit answers rightly at every c.

Check. The library's attention layer with random A, contexts and scales, both kinds of labels.

Refutation. Answers that do not change relative to the truth, `c^0`.

Source. Ours; that trained layers do not withstand covariate shift is shown by Zhang, Frei, Bartlett, JMLR 25, 2024.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from jaxdm.analysis.claims import Claim
from jaxdm.analysis.storage import named
from theory import draws
from theory.linear_attention import in_context_regression
from theory.verdicts import exactly

DIMENSION, CONTEXT = 4, 30


SCALES = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)


ESTIMATORS = ("layer", "least squares")


CHUNK = 10_000
"""Instances drawn at once."""


ROUNDING = 1000
"""Times eps: sums of 30 products of four factors, relative to the sum of their moduli."""


WRONG = {f"c^{power:g}": power for power in (0.0, 1.0, 1.5, 3.0, 4.0, -2.0)}


def check(key: jax.Array, samples: int = 200, form: float = 2.0) -> Claim:
    """The largest relative error of `answer(c x, y) = c^2 answer(x, y)`, and of the same with labels that follow.

    Args:
        key: random key.
        samples: random layers, contexts and scales.
        form: the power claimed.
    """
    before, units, shifted, scale, size = answered(key, samples).T
    off = np.abs(units - scale**form * before), np.abs(shifted - scale ** (form + 1) * before)
    error = float(np.max(np.maximum(*off) / size))
    statement = "Scaling features by c scales the layer's answers by `c^2` relative to the truth"
    rounding = ROUNDING * float(jnp.finfo(jnp.float64).eps)
    return exactly(statement, "ours, after Zhang, Frei, Bartlett 2024", error, rounding)


def curves(key: jax.Array, samples: int = 200) -> dict[str, xr.DataArray]:
    """Mean squared errors, as a share of those of answering 0, of the layer and of least squares against the scale.

    No more than `CHUNK` instances: a curve needs no more, and least squares fits one after the other.
    """
    drawn = np.asarray(draws.normal(key, (min(samples, CHUNK), CONTEXT + 2, DIMENSION)))
    task, x = drawn[:, 0], drawn[:, 1:]
    trained = in_context_regression.gaussian_optimum(jnp.eye(DIMENSION), CONTEXT)
    errors = []
    for scale in SCALES:
        truth = np.einsum("nid,nd->ni", scale * x, task)
        fitted = np.stack([np.linalg.lstsq(scale * a[:-1], b[:-1])[0] for a, b in zip(x, truth, strict=True)])
        layer = np.asarray(_answers(trained, scale * x, truth[:, :-1])) - truth[:, -1]
        squares = np.sum(fitted * scale * x[:, -1], axis=1) - truth[:, -1]
        errors.append([np.mean(error**2) / np.mean(truth[:, -1] ** 2) for error in (layer, squares)])
    return {"errors": named(errors, scale=SCALES, estimator=ESTIMATORS)}


@jax.jit
@functools.partial(jax.vmap, in_axes=(None, 0, 0))
def _answers(matrix: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
    return in_context_regression.answers(matrix, x[:-1], y, x[-1:])[0]


@draws.once
def answered(key: jax.Array, samples: int) -> np.ndarray:
    """Answers as they were, to scaled features, to labels that follow; scale; size of the terms, [samples, 5]."""

    def measure(key: jax.Array, count: int) -> jax.Array:
        key_rows, key_scale = draws.keys(key)
        rows = draws.normal(key_rows, (count, DIMENSION + CONTEXT + 2, DIMENSION))
        return _answered(rows, 0.5 + 2 * draws.uniform(key_scale, (count,)))

    return draws.in_chunks(measure, key, samples, CHUNK)


@jax.jit
@jax.vmap
def _answered(rows: jax.Array, scale: jax.Array) -> jax.Array:
    matrix, x, task = rows[:DIMENSION], rows[DIMENSION:-1], rows[-1]

    def answer(x: jax.Array, y: jax.Array) -> jax.Array:
        return in_context_regression.answers(matrix, x[:-1], y, x[-1:])[0]

    y = x[:-1] @ task
    size = scale**3 * jnp.mean(jnp.abs(y) * (jnp.abs(x[:-1]) @ jnp.abs(matrix).T @ jnp.abs(x[-1])))
    return jnp.stack([answer(x, y), answer(scale * x, y), answer(scale * x, scale * y), scale, size])
