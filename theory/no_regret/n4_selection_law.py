"""N4. What selecting the rollouts of least regret teaches in one round: the drift of the losses, exactly.

Statement. A scenario is one loss sequence `l_1..l_T`. L rollouts play `x_t = mu_t + sigma xi_t`, the noise xi standard
normal and fresh; the k of least regret are kept. Then for every L, k, T and every `mu_t` that reads past losses alone

    E[xi_t | kept, losses] = z_{k,L} l_t / |l|,    |l|^2 = sum_t |l_t|^2,

`z_{k,L}` the mean of the k smallest of L standard normals. A least-squares refit of the kept decisions by a gain,
`x_t = a S_{t-1}`, moves the gain in M scenarios, given their losses, on average by

    sigma z_{k,L} sum Q / |l|  /  sum sum_t |S_{t-1}|^2,    Q = sum_t <S_{t-1}, l_t> = (|S_T|^2 - |l|^2) / 2,

outer sums over scenarios. For large M this is `sigma z E[Q / |l|] / E sum_t |S_{t-1}|^2`. Since `z < 0`, a round makes
the learner play against the sum of losses, as FTRL does, where losses persist; it does nothing where they are
independent with mean zero, and makes it play *with* the sum where they alternate.

Proof. All L rollouts have the same comparator `-|S_T|` and the same `sum <l_t, mu_t>`, so their regrets are ordered as
the numbers `n = sum_t <l_t, xi_t> / |l|`: selection by regret is selection by reward. Given the losses these are
L independent standard normals. The part of `xi_t` that is uncorrelated with n is independent of it and averages to
zero; what is left is `E[xi_t n] n = n l_t / |l|`, and n averages `z_{k,L}` over the kept. The refit of labels
`a S_{t-1} + sigma xi_t` is `a + sum <S_{t-1}, sigma xi_t> / sum |S_{t-1}|^2`, linear in the noise.

With projection, as the library plays: the cumulative loss is `sum_t <l_t, P(mu_t + sigma xi_t)>`, nearly normal for
large T, and by Stein's identity its covariance with `xi_t` is `sigma J_t^T l_t`, `J_t = E[DP(mu_t + sigma xi_t)]`. So

    E[xi_t | kept] = z sigma J_t^T l_t / sd,   sd^2 = sum_t l_t^T Cov(P(mu_t + sigma xi_t)) l_t,   up to O(1 / sqrt T).

At `mu = 0` this is the law above times the correlation of a coordinate of `P(sigma xi)` with that of xi, from 1 down
to `E|xi| / sqrt d` (0.886 at d = 2) as sigma grows, so that projection never takes more than that of a first round:
0.1 % at sigma = 0.3, 10 % at sigma = 2.5, which the study of RMFT uses. Later rounds are another matter: where the
output `a S_{t-1}` lies outside of the ball and sigma is small, `J_t` has hardly a radial part and the gain hardly moves
(at `a = -0.25`, sigma = 1 and strength 1 by 6 % of what it would without projection).

Check: first and later rounds of the library's distillation on the summing layer (roll-out, ranks, mean labels), with
drifting, independent and alternating losses, several k, gains and sigma, against the formula given the losses, within
five standard errors; with projection within `1 / T` more in first rounds (where the noise of decisions is symmetric)
and `1 / sqrt T` in later ones, of which 11 to 18 % are needed here; and both orders of rollouts are the same in every
scenario.
Refutation: rollouts with sequences of their own, where regret also compares comparators.

Source: ours. Reference for one first round, T = 25, d = 2, L = 64, k = 4, sigma = 0.3: -0.0026793 at strength 0.3,
-0.0028799 at 1.
"""

import functools
from typing import NamedTuple

import jax
import numpy as np
import xarray as xr

from jaxdm.analysis.claims import Claim
from jaxdm.analysis.storage import named
from jaxdm.rmft import distillation
from theory import draws
from theory.no_regret.selection_round import CHUNK, RoundData, RoundSizes, ScenarioRefit, refit_parts, selected_normal
from theory.verdicts import at_most, largest

SOURCE = "ours"


STATEMENT = "`E[noise_t | kept] = z l_t / |l|` in rounds of the library; largest deviation, in tolerances"


FREE = tuple(
    RoundData(strength=strength, keep=keep, gain=gain, exploration=sigma)
    for strength, keep, gain, sigma in (
        (0.3, 4, 0.0, 0.3),
        (1.0, 4, 0.0, 0.3),
        (0.0, 4, 0.0, 0.3),
        (-0.3, 4, 0.0, 0.3),
        (1.0, 16, -0.125, 0.3),
        (1.0, 1, -0.25, 1.0),
    )
)
"""Rounds whose decisions are not projected."""


PROJECTED = tuple(
    RoundData(strength=strength, keep=4, gain=gain, exploration=sigma, projected=True)
    for strength, gain, sigma in ((1.0, 0.0, 0.3), (1.0, 0.0, 2.5), (0.3, -0.05, 1.0), (1.0, -0.125, 2.5))
)
"""Rounds as the library plays them."""


class SelectionForm(NamedTuple):
    """The stated law, with its constants."""

    factor: float = 1.0
    keep: float = 1.0  # k of z_{k,L}, relative
    sigma: float = 1.0  # power of sigma
    size: float = 1.0  # weight of |l|^2 in Q
    sequences: distillation.Sequences = "shared"  # by the rollouts of a scenario
    jacobian: bool = True  # whether the projected law has J_t
    spread: bool = True  # and the deviation of projected decisions


STATED = SelectionForm()


WRONG = {
    "fresh sequences for each rollout": SelectionForm(sequences="fresh"),
    "z of 2 k": SelectionForm(keep=2.0),
    "z of k / 2": SelectionForm(keep=0.5),
    "x 0.9": SelectionForm(factor=0.9),
    "x -1": SelectionForm(factor=-1.0),
    "sigma^2 for sigma": SelectionForm(sigma=2.0),
    "Q = |S_T|^2 / 2": SelectionForm(size=0.0),
    "projection without J": SelectionForm(jacobian=False),
    "projection with sigma |l| for sd": SelectionForm(spread=False),
}


class ProjectedMoments(NamedTuple):
    """Of `P(mu + sigma xi)` in the plane, by `|mu|`; along mu and across it."""

    radius: np.ndarray  # [n] |mu|
    slope: np.ndarray  # [n] E[DP] along mu
    along: np.ndarray  # [n] variance along mu
    across: np.ndarray  # [n] variance across


@functools.cache
def projected_moments(sigma: float, farthest: float) -> ProjectedMoments:
    """By Gauss-Hermite quadrature in both coordinates."""
    radius = np.linspace(0, farthest, 60)
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    weights = weights / weights.sum()
    x, y = radius[:, None, None] + sigma * nodes[None, :, None], sigma * nodes[None, None, :]
    weight = weights[None, :, None] * weights[None, None, :]
    shrink = 1 / np.maximum(np.hypot(x, y), 1)

    def mean(values: np.ndarray) -> np.ndarray:
        return np.sum(weight * values, axis=(1, 2))

    # Stein's identity, E[DP] = E[P xi] / sigma: no derivative of a kinked function.
    return ProjectedMoments(
        radius=radius,
        slope=mean(shrink * x * nodes[None, :, None]) / sigma,
        along=mean((shrink * x) ** 2) - mean(shrink * x) ** 2,
        across=mean((shrink * y) ** 2),
    )


class RoundMoves(NamedTuple):
    """Of every scenario, what was measured of its refit, and what the law reads of its losses; leading axis [M]."""

    moved: np.ndarray  # [M] as in `ScenarioRefit`
    squares: np.ndarray  # [M]
    same: np.ndarray  # [M]
    product: np.ndarray  # [M] Q
    size: np.ndarray  # [M] |l|
    inner: np.ndarray  # [M] sum_t S_{t-1}^T J_t^T l_t, Q where decisions are not projected
    deviation: np.ndarray  # [M] of the cumulative loss


def reduced(found: ScenarioRefit, data: RoundData) -> RoundMoves:
    """A round's scenarios without their sequences: a million of these would not fit memory."""
    product, size = np.asarray(found.sequence.product), np.asarray(found.sequence.size)
    inner, spread = product, data.exploration * size
    if data.projected:
        before, losses = np.asarray(found.before), np.asarray(found.losses)
        distance = np.linalg.norm(before, axis=2)
        # Rounded up, so that other chunks and other keys need no quadrature of their own.
        farthest = float(np.exp2(np.ceil(np.log2(abs(data.gain) * distance.max() + 1))))
        moments = projected_moments(data.exploration, farthest)
        slope, along, across = (
            np.interp(abs(data.gain) * distance, moments.radius, values) for values in moments[1:]
        )  # each [M, T]
        each = np.sum(losses * before, axis=2)
        radial = each**2 / np.where(distance > 0, distance, 1) ** 2
        variance = along * radial + across * (np.sum(losses**2, axis=2) - radial)
        inner, spread = np.sum(slope * each, axis=1), np.sqrt(variance.sum(1))
    return RoundMoves(
        moved=np.asarray(found.moved),
        squares=np.asarray(found.squares),
        same=np.asarray(found.same),
        product=product,
        size=size,
        inner=inner,
        deviation=spread,
    )


@draws.once
def round_moves(key: jax.Array, samples: int, sizes: RoundSizes, data: RoundData) -> RoundMoves:
    """One round of any number of scenarios, in chunks that fit memory."""

    def measure(key: jax.Array, count: int) -> RoundMoves:
        return reduced(refit_parts(key, count, sizes, data), data)

    return draws.in_chunks(measure, key, samples, CHUNK // sizes.rollouts)


def stated_moves(found: RoundMoves, sizes: RoundSizes, data: RoundData, form: SelectionForm) -> np.ndarray:
    """The mean of `moved` that is stated, given the losses, [M]."""
    keep = min(max(round(form.keep * data.keep), 1), sizes.rollouts)
    z = form.factor * selected_normal(keep, sizes.rollouts)
    if not data.projected:
        product = found.product + (1 - form.size) * found.size**2 / 2
        return data.exploration**form.sigma * z * product / found.size
    spread = found.deviation if form.spread else data.exploration * found.size
    return data.exploration**2 * z * (found.inner if form.jacobian else found.product) / spread


def deviation(found: RoundMoves, sizes: RoundSizes, data: RoundData, form: SelectionForm) -> float:
    """Distance of the measured gain from the stated one, in tolerances."""
    stated = stated_moves(found, sizes, data, form)
    left = found.moved - stated
    error = 5 * np.std(left) * len(left) ** 0.5
    # The normal approximation leaves O(1 / T) where the noise of decisions is symmetric, O(1 / sqrt T) elsewhere.
    order = sizes.length ** (-1.0 if data.gain == 0 else -0.5) if data.projected else 0.0
    allowed = error + order * abs(stated.sum())
    return float(abs(left.sum()) / allowed) if np.all(found.same) else np.inf


@draws.once
def measured(key: jax.Array, samples: int, sequences: distillation.Sequences) -> list[tuple]:
    """Rounds of the library, `(sizes, data, moves)` each; with sequences of their own, one round alone is enough."""
    sizes, rounds = RoundSizes(sequences=sequences), FREE[:1] if sequences == "fresh" else FREE + PROJECTED
    return [(sizes, data, round_moves(key, samples, sizes, data)) for data in rounds]


def check(key: jax.Array, samples: int = 4000, form: SelectionForm = STATED) -> Claim:
    """Rounds of the library, projected and not.

    Args:
        key: random key.
        samples: M, scenarios of a round, with 64 rollouts each; fewer than 600 would not tell all wrong versions.
        form: what is claimed.
    """
    worst = largest(
        deviation(found, sizes, data, form) for sizes, data, found in measured(key, max(samples, 600), form.sequences)
    )
    return at_most(STATEMENT, SOURCE, worst, 1.0)


STRENGTHS = (-1.0, -0.5, -0.25, -0.1, 0.0, 0.1, 0.25, 0.5, 1.0)


def curves(key: jax.Array, samples: int = 4000) -> dict[str, xr.DataArray]:
    """The move of the gain in one first round, measured and stated, against the losses' drift or alternation."""
    sizes, rows = RoundSizes(), []
    for strength in STRENGTHS:
        data = RoundData(strength=strength)
        found = round_moves(key, samples, sizes, data)
        stated, total = stated_moves(found, sizes, data, STATED), found.squares.sum()
        error = np.std(found.moved - stated) * len(stated) ** 0.5
        rows.append((found.moved.sum() / total, stated.sum() / total, error / total))
    return {"move": named(rows, strength=STRENGTHS, quantity=("measured", "stated", "standard error"))}
