"""L7b. The trained layer, deployed: what greedy play on its estimates loses, beside the bound and least squares.

Layers trained by gradient steps on contexts of N pairs from linear MDPs with given features (L7) meet new MDPs with
these features, and read Q* off M pairs. The bound of L6b holds for any preconditioner, hence for the trained one:
`E[V*_1 - V_1] <= 2 sum_h sqrt(C_h) (sqrt(est_h / M) + sqrt(bias_h))`, est, bias and C_h exact for it. An ordinary
least-squares fit of the same pairs has no error once they span the feature space, hence loses nothing: that is what
the layer pays for being a product with a fixed matrix.

The refutation leaves the bias out, which long contexts of a layer trained on short ones lay bare.

Source: the two terms are paper 1's; the bound in this form, and the comparison, are ours.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from jaxdm.analysis.claims import FAILS, Claim
from jaxdm.analysis.storage import named
from jaxdm.envs.linear_mdp import LinearMDP
from theory import draws
from theory.linear_attention import greedy_play, l6b_suboptimality, linear_mdps, training
from theory.linear_attention.l6b_suboptimality import STATED, SuboptimalityForm
from theory.verdicts import at_most

LENGTHS, CONTEXTS = (1, 4, 16), (4, 16, 64, 256)
"""N and M."""


MEETINGS, BATCH = 10, 32
"""Contexts that each MDP is met with; prompts of a gradient step."""


SPANNED, ROUNDING = 1e-6, 1e-9
"""Smallest eigenvalue of a second moment that counts as spanning; and what least squares may then lose."""


WRONG = {name: l6b_suboptimality.WRONG[name] for name in ("no bias", "bias x 0.1", "factor 0.2")} | {
    "no bias, context term x 2": SuboptimalityForm(length=0.0, context=2.0)
}


class DeployedLosses(NamedTuple):
    """Losses averaged over contexts, and the terms that bound them; n MDPs of each seed."""

    gap: np.ndarray  # [N, M, SEEDS n]
    error: np.ndarray  # [N, M, SEEDS n] standard error of `gap`
    estimation: np.ndarray  # [N, SEEDS n] sum_h sqrt(C_h est_h)
    bias: np.ndarray  # [N, SEEDS n] sum_h sqrt(C_h bias_h)
    squares: np.ndarray  # [M, SEEDS n] loss of least squares
    spanned: np.ndarray  # [M] its largest loss on contexts that span


def check(key: jax.Array, samples: int = 20, form: SuboptimalityForm = STATED) -> Claim:
    """The largest share of the bound that the mean loss, less five standard errors, takes for any N, M and MDP.

    Args:
        key: random key.
        samples: random linear MDPs for each of the training seeds.
        form: what is claimed.
    """
    found = measure(key, samples)
    bound = form.factor * total(found, form)
    largest, worst = (float(np.max(x / bound)) for x in (found.gap, found.gap - 5 * found.error))
    gap, squares = found.gap.mean(axis=2), found.squares.mean(axis=1)
    statement = (
        f"The trained layer's loss <= its two terms (share); N = {LENGTHS[0]}, M = {CONTEXTS[-1]}: {gap[0, -1]:.2g}, "
        f"N = {LENGTHS[-1]}: {gap[-1, -1]:.2g}, least squares {squares[-1]:.1g}"
    )
    claim = at_most(statement, l6b_suboptimality.SOURCE, largest, 1.0, largest - worst)
    return claim if found.spanned.max() <= ROUNDING else claim._replace(verdict=FAILS)


def total(found: DeployedLosses, form: SuboptimalityForm = STATED) -> np.ndarray:
    """Half the bound, [N, M, SEEDS n]."""
    estimation = found.estimation[:, None] / np.asarray(CONTEXTS, float)[:, None] ** form.power
    return form.context * estimation + form.length * found.bias[:, None]


def curves(key: jax.Array, samples: int = 20) -> dict[str, xr.DataArray]:
    """For each seed the mean loss of the layer and of least squares, and both terms of the bound."""
    found = measure(key, samples)

    def by_seed(values: np.ndarray) -> np.ndarray:
        return values.reshape(*values.shape[:-1], training.SEEDS, samples).mean(axis=-1)

    root = np.sqrt(np.asarray(CONTEXTS, float))[:, None]
    estimation = 2 * by_seed(found.estimation)[:, None] / root
    return {
        "gap": named(by_seed(found.gap), length=LENGTHS, context=CONTEXTS, run=None),
        "estimation": named(estimation, length=LENGTHS, context=CONTEXTS, run=None),
        "bias": named(2 * by_seed(found.bias), length=LENGTHS, run=None),
        "squares": named(by_seed(found.squares), context=CONTEXTS, run=None),
    }


@draws.once
def measure(key: jax.Array, samples: int) -> DeployedLosses:
    """Train, deploy and bound."""
    key_train, key_worlds, key_contexts = draws.keys(key, 3)
    trained = [training.train(key_train, length, BATCH) for length in LENGTHS]
    worlds = _instances(linear_mdps.worlds(key_worlds, training.SEEDS * samples), trained[0].points)
    layers = [
        worlds._replace(preconditioner=np.repeat(each.preconditioner[:, -1], samples, axis=0)) for each in trained
    ]

    def loss(estimated: jax.Array | np.ndarray) -> np.ndarray:
        return np.asarray(greedy_play.outcomes(worlds, estimated).gap)

    gaps, squares = [], []
    for context in CONTEXTS:
        chosen = greedy_play.contexts(key_contexts, worlds, (training.SEEDS * samples, MEETINGS, context))
        gaps.append([loss(greedy_play.estimates(layer, chosen)) for layer in layers])
        estimated, spans = least_squares(worlds, chosen)
        squares.append((loss(estimated), spans))
    gap = np.stack(gaps, axis=1)
    estimation, bias = (np.stack(x) for x in zip(*(l6b_suboptimality.terms(layer) for layer in layers), strict=True))
    return DeployedLosses(
        gap=gap.mean(axis=-1),
        error=gap.std(axis=-1) / MEETINGS**0.5,
        estimation=estimation,
        bias=bias,
        squares=np.stack([lost.mean(axis=-1) for lost, _ in squares]),
        spanned=np.stack([np.max(lost * spans) for lost, spans in squares]),
    )


def least_squares(worlds: linear_mdps.SolvedLinearMDP, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The ordinary fit's Q-values [n, contexts, H, S, A], shortest where not unique; which contexts span."""
    features, q = np.asarray(worlds.features[0]), np.asarray(worlds.q)
    x, labels = features[chosen], q.reshape(*q.shape[:2], -1)  # [n, contexts, M, d], [n, H, S A]
    y = np.take_along_axis(labels[:, None], chosen[:, :, None], axis=-1)  # [n, contexts, H, M]
    moment = np.swapaxes(x, -1, -2) @ x / x.shape[2]
    weights = y @ x @ np.linalg.pinv(moment, rcond=SPANNED, hermitian=True) / x.shape[2]
    spans = np.linalg.eigvalsh(moment)[..., 0] > SPANNED
    return (weights @ features.T).reshape(*weights.shape[:3], *q.shape[2:]), spans


@jax.jit
def _instances(worlds: LinearMDP, points: jax.Array) -> linear_mdps.SolvedLinearMDP:
    """Linear MDPs with these features, without a layer."""
    count, empty = worlds.theta.shape[0], jnp.zeros((points.shape[1], points.shape[1]))
    given = worlds._replace(features=jnp.broadcast_to(points.reshape(worlds.features.shape[1:]), worlds.features.shape))
    stages, plan, weights = jax.vmap(linear_mdps.solve_tabular)(given)
    return linear_mdps.SolvedLinearMDP(
        features=jnp.broadcast_to(points, (count, *points.shape)),
        stages=stages,
        value=plan.value,
        q=plan.q,
        weights=weights,
        tasks=jnp.broadcast_to(empty, (count, *empty.shape)),
        preconditioner=jnp.broadcast_to(empty, (count, *empty.shape)),
    )
