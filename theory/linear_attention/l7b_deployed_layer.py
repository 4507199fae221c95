"""L7b. The trained layer, deployed: what greedy play on its estimates loses, beside the bound and least squares.

Statement. A layer trained by gradient steps, with greedy play on its estimates in a new MDP, has
`E[V*_1 - V_1] <= sqrt(2) sum_h sqrt(C_h (est_h / M + bias_h))`, est, bias and C_h exact for it. A fit by least
squares to the same pairs has no error once they span the feature space, hence loses nothing: that is what the layer
pays for being a product with a fixed matrix.

Assumptions. Those of L6b: the bound holds for any preconditioner, hence for the trained one.

Proof. L6b; and least squares returns the w of L1 whenever the pairs' second moment is regular.

Check. Layers trained on contexts of N pairs (L7) meet new MDPs of three steps with the features of training, and read
Q* off M pairs; no play may earn more than V*. These losses are half of the bound or less. So layers also meet hundreds
of MDPs of one step with normal weights: those trained on single pairs, where bias is all there is and the largest share
of the bound is 0.8; and, trained on 128 pairs of two actions without a state, a context of 64, where bias is nothing.

Refutation. Without the bias, which long contexts of a layer trained on short ones lay bare. Half of the context term is
no wrong version here: estimates without bias lose at most half of it where there are two actions (L6b); 0.2 was found.

Source. The two terms are paper 1's; the bound in this form, and the comparison, are ours.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from jaxdm.analysis.claims import FAILS, Claim
from jaxdm.analysis.storage import named
from jaxdm.envs.linear_mdp import LinearMDP
from theory import draws
from theory.linear_attention import greedy_play, in_context_regression, l6b_suboptimality, linear_mdps, training
from theory.linear_attention.l6b_suboptimality import STATED, MeanLosses, SuboptimalityForm, SuboptimalityTerms
from theory.verdicts import at_most, largest

LENGTHS, CONTEXTS = (1, 4, 16), (4, 16, 64, 256)
"""N and M."""


MEETINGS, BATCH = 10, 32
"""Contexts that each MDP is met with; prompts of a gradient step."""


ONE_STEP = ((linear_mdps.linear_mdp_pool, 3, 32, 1, 256), (linear_mdps.arms_pool, 2, 4, 128, 64))
"""What the layer is trained on, actions, prompts of a gradient step, N and M of the MDPs of one step."""


CHUNK = 500
"""MDPs of three steps of each seed at once."""


TASKS, TASK_CONTEXTS = 500, 400
"""MDPs of one step of each kind; contexts they are met with, where these are drawn: of two pairs all are enumerated."""


SPANNED, ROUNDING = 1e-6, 1e-9
"""Smallest eigenvalue of a second moment that counts as spanning; and what least squares may then lose."""


WRONG = {
    name: l6b_suboptimality.WRONG[name]
    for name in ("no bias", "bias term x 0.5", "no context term", "1/M for 1/sqrt M", "bound x 0.5")
}


class DeployedLosses(NamedTuple):
    """Losses averaged over contexts, and what bounds them; n MDPs of each seed."""

    gap: np.ndarray  # [N, M, SEEDS, n]
    error: np.ndarray  # [N, M, SEEDS, n] standard error of `gap`
    least: float  # the smallest loss in any context
    terms: list[SuboptimalityTerms]  # one for each N, leading axes [SEEDS, n]
    squares: np.ndarray  # [M, SEEDS, n] loss of least squares
    spanned: np.ndarray  # [M] its largest loss on contexts that span


def check(key: jax.Array, samples: int = 20, form: SuboptimalityForm = STATED) -> Claim:
    """The largest share of the bound that the mean loss, less five standard errors, takes for any N, M and MDP.

    Args:
        key: random key.
        samples: random linear MDPs for each of the training seeds.
        form: what is claimed.
    """
    found, single = measure(key, samples), one_step(key)
    contexts = [context for *_, context in ONE_STEP]
    bounds = [bound(found, form)] + [each.terms.bound(M, form) for each, M in zip(single, contexts, strict=True)]
    losses = [(found.gap, found.error)] + [(each.gap, each.error) for each in single]
    with np.errstate(divide="ignore"):
        shares = [(gap / b, (gap - 5 * error) / b) for (gap, error), b in zip(losses, bounds, strict=True)]
    share, certain = (largest(each) for each in zip(*shares, strict=True))
    gap, squares = found.gap.mean(axis=(2, 3)), found.squares.mean(axis=(1, 2))
    statement = (
        "The trained layer's loss is at most `sqrt(2) sum_h sqrt(C_h (est_h / M + bias_h))` (share); "
        f"N = {LENGTHS[0]}, M = {CONTEXTS[-1]}: {gap[0, -1]:.2g}, N = {LENGTHS[-1]}: {gap[-1, -1]:.2g}, "
        f"least squares {squares[-1]:.1g}"
    )
    claim = at_most(statement, l6b_suboptimality.SOURCE, share, 1.0, share - certain)
    sound = found.spanned.max() <= ROUNDING and found.least >= -ROUNDING
    return claim if sound else claim._replace(verdict=FAILS)


def bound(found: DeployedLosses, form: SuboptimalityForm = STATED) -> np.ndarray:
    """What is claimed to bound the losses, [N, M, SEEDS, n]."""
    return np.stack([[terms.bound(context, form) for context in CONTEXTS] for terms in found.terms])


def curves(key: jax.Array, samples: int = 20) -> dict[str, xr.DataArray]:
    """For each seed the mean loss of the layer and of least squares, the bound and both of its terms."""
    found = measure(key, samples)
    estimation, bias = (
        bound(found, form).mean(axis=-1) for form in (STATED._replace(length=0.0), STATED._replace(context=0.0))
    )
    return {
        "gap": named(found.gap.mean(axis=-1), length=LENGTHS, context=CONTEXTS, run=None),
        "bound": named(bound(found).mean(axis=-1), length=LENGTHS, context=CONTEXTS, run=None),
        "estimation": named(estimation, length=LENGTHS, context=CONTEXTS, run=None),
        "bias": named(bias[:, 0], length=LENGTHS, run=None),
        "squares": named(found.squares.mean(axis=-1), context=CONTEXTS, run=None),
    }


@draws.once
def one_step(key: jax.Array) -> list[MeanLosses]:
    """Mean losses in MDPs of one step, `w ~ N(0, I)`, begun in any state alike, for every setting of `ONE_STEP`."""
    key_train, key_tasks, key_contexts = draws.keys(key, 3)
    found = []
    for pool, actions, batch, length, context in ONE_STEP:
        trained = training.train(key_train, length, batch, pool)
        tasks = draws.normal(key_tasks, (TASKS, trained.points.shape[1]))
        enumerated = len(trained.points) == 2
        if enumerated:
            chosen, chance = l6b_suboptimality.pairs_of_two(context)
        else:
            drawn = draws.uniform(key_contexts, (TASK_CONTEXTS, context)) * len(trained.points)
            chosen, chance = drawn.astype(jnp.int32), np.full(TASK_CONTEXTS, 1 / TASK_CONTEXTS)
        losses = _one_step(trained.preconditioner[0, -1], trained.points, tasks, chosen, actions)
        gaps, estimation, bias = (np.asarray(x) for x in losses)
        coverage = np.full((TASKS, 1), float(actions))  # (1 / S) / (1 / (S A)), whatever the policy
        terms = SuboptimalityTerms(
            coverage=coverage, uniform=coverage, estimation=estimation[:, None], bias=bias[:, None]
        )
        error = np.zeros(TASKS) if enumerated else gaps.std(axis=0) / TASK_CONTEXTS**0.5
        found.append(MeanLosses(gap=chance @ gaps, error=error, terms=terms))
    return found


@functools.partial(jax.jit, static_argnums=4)
def _one_step(
    matrix: jax.Array, points: jax.Array, tasks: jax.Array, chosen: jax.Array, actions: int
) -> tuple[jax.Array, ...]:
    """Losses [contexts, tasks]; est and bias [tasks]. The layer is linear in its labels: unit tasks tell all others."""

    def read(chosen: jax.Array) -> jax.Array:
        x = points[chosen]
        return jax.vmap(functools.partial(in_context_regression.coefficients, matrix, x), out_axes=1)(x.T)

    def menu(weights: jax.Array) -> jax.Array:
        return (weights @ points.T).reshape(-1, points.shape[0] // actions, actions)

    q = menu(tasks)

    def loss(read: jax.Array) -> jax.Array:
        action = jnp.argmax(menu(tasks @ read.T), axis=-1)[..., None]
        return jnp.mean(jnp.max(q, axis=-1) - jnp.take_along_axis(q, action, axis=-1)[..., 0], axis=-1)

    distribution = linear_mdps.uniform_pairs(points)
    parts = jax.vmap(lambda w: in_context_regression.split(distribution, matrix, jnp.outer(w, w)))(tasks)
    gaps = jax.lax.map(lambda chosen: loss(read(chosen)), chosen)
    return gaps, jnp.maximum(parts.estimation, 0), jnp.maximum(parts.bias, 0)


@draws.once
def measure(key: jax.Array, samples: int) -> DeployedLosses:
    """Train, deploy and bound."""
    key_train, key_worlds = draws.keys(key)
    trained = [training.train(key_train, length, BATCH) for length in LENGTHS]
    parts = [
        deployed(jax.random.fold_in(key_worlds, index), trained, min(CHUNK, samples - index * CHUNK))
        for index in range(-(-samples // CHUNK))
    ]

    def together(*leaves: np.ndarray, axis: int) -> np.ndarray:
        return np.concatenate(leaves, axis=axis)

    return DeployedLosses(
        gap=together(*(part.gap for part in parts), axis=-1),
        error=together(*(part.error for part in parts), axis=-1),
        least=min(part.least for part in parts),
        terms=jax.tree.map(functools.partial(together, axis=1), *(part.terms for part in parts)),
        squares=together(*(part.squares for part in parts), axis=-1),
        spanned=np.max([part.spanned for part in parts], axis=0),
    )


def deployed(key: jax.Array, trained: list[training.TrainedLayers], count: int) -> DeployedLosses:
    """Of the layers for every N, in `count` MDPs for each seed."""
    key_worlds, key_contexts = draws.keys(key)
    worlds = _instances(linear_mdps.worlds(key_worlds, training.SEEDS * count), trained[0].points)
    layers = [worlds._replace(preconditioner=np.repeat(each.preconditioner[:, -1], count, axis=0)) for each in trained]

    def loss(estimated: jax.Array | np.ndarray) -> np.ndarray:
        return np.asarray(greedy_play.outcomes(worlds, estimated).gap)

    def by_seed(values: np.ndarray, axis: int) -> np.ndarray:
        return values.reshape(*values.shape[:axis], training.SEEDS, count, *values.shape[axis + 1 :])

    gaps, squares = [], []
    for context in CONTEXTS:
        chosen = greedy_play.contexts(key_contexts, worlds, (training.SEEDS * count, MEETINGS, context))
        gaps.append([loss(greedy_play.estimates(layer, chosen)) for layer in layers])
        estimated, spans = least_squares(worlds, chosen)
        squares.append((loss(estimated), spans))
    gap = np.stack(gaps, axis=1)
    terms = [l6b_suboptimality.terms(layer) for layer in layers]
    return DeployedLosses(
        gap=by_seed(gap.mean(axis=-1), 2),
        error=by_seed(gap.std(axis=-1) / MEETINGS**0.5, 2),
        least=float(gap.min()),
        terms=jax.tree.map(lambda x: by_seed(x, 0), terms),
        squares=by_seed(np.stack([lost.mean(axis=-1) for lost, _ in squares]), 1),
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
