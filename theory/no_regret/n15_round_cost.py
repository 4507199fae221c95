"""N15. What a round costs: selection needs at least 2.47 times the rollouts of weighting all of them.

Statement. In the setting of N4, a refit to the mean noise `(1/k) sum_{l kept} xi_l` of L rollouts has signal
`z_{k,L}` along the losses and variance `1 / k` in every direction across them. Its squared signal-to-noise ratio,
relative to weighting all rollouts by their exactly standardised regret (REINFORCE), is

    k z_{k,L}^2 / L  ->  phi(z_p)^2 / p    as L grows, p = k / L,

and relative to weights standardised by the mean of the L rollouts, as the library has them, `k z_{k,L}^2 / (L - 1)`.
The limit is largest, 0.4049, at p = 0.2703: RMFT needs 2.47 times the rollouts at least. Repelling the worst k as well,
`(1/k) (sum_best xi - sum_worst xi)`, doubles the ratio for `2 k <= L`, to 0.81.

Proof. The part of `xi_l` across the losses is independent of the regrets (N4): the mean of k has variance `1 / k`. With
weights w_l it has variance `sum w_l^2 / L^2`, and the signal is `sum w_l n_l / L`, n_l the standardised regret. For
`w = n`: signal 1, variance `1 / L`. For `w_l = (n_l - mean n) / c` with any c: signal `(1 - 1/L) / c`, variance
`(1 - 1/L) / (L c^2)`, ratio L - 1. Best and worst: by symmetry signal 2 z, variance 2 / k. In the limit z is
`-phi(z_p) / p`, and `d/dp log(phi(z_p)^2 / p) = 0` is `phi(z_p) = -2 p z_p`, which is solved numerically.

What follows. Keeping the best rollout alone wastes rollouts, as does keeping most of them. A bandit needs
`k / L > 1 / K` besides, whatever the noise.

Check: rollouts of the library, L = 16, ranked and weighted by it, k = 1, 2, 4, 5, 8, 12, and both ends for
k = 1, 4, 8, against the exact ratio in five standard errors over batches; the optimum of the limit by search.
Refutation: the best of n is best.

Source: the optimum is classical: Kelley, The selection of upper and lower groups, 1939; as the cost of a round, and the
finite form, ours. Reference, over L: 0.195, 0.291, 0.361, 0.361, 0.289, 0.120.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from scipy import stats

from jaxdm.analysis.claims import Claim
from jaxdm.analysis.storage import named
from jaxdm.rmft import distillation
from jaxdm.rmft.distillation import Distillation
from theory import draws
from theory.no_regret.selection_round import RoundData, RoundSizes, collected, losses_of, rank_rule, selected_normal
from theory.verdicts import at_most, largest

STATEMENT = (
    "signal-to-noise^2 of a refit relative to REINFORCE is `k z_{k,L}^2 / (L - 1)`, best at `p = 0.2703`; tolerances"
)


ROLLOUTS, BATCHES = 16, 40
"""L; batches of scenarios, of which the standard error is taken."""


KEPT = (1, 2, 4, 5, 8, 12)


ENDS = (1, 4, 8)
"""k of the rounds that repel the worst k as well."""


BEST, LARGEST, DIGITS = 0.2703, 0.4049, 1e-4


class CostForm(NamedTuple):
    """The stated ratio."""

    factor: float = 1.0
    power: float = 2.0  # of |z|
    share: bool = True  # whether k / L enters
    centred: int = 1  # L - centred
    ends: float = 2.0  # what repelling the worst gains
    order: str = "interior"  # of the ratios in k; "fewer" or "more" is said to be the better
    best: float = BEST


STATED = CostForm()


WRONG = {
    "the best of n is best": CostForm(order="fewer"),
    "the more kept the better": CostForm(order="more"),
    "z for z^2": CostForm(power=1.0),
    "z^2 without k / L": CostForm(share=False),
    "L for L - 1": CostForm(centred=0),
    "x 0.9": CostForm(factor=0.9),
    "x 1.1": CostForm(factor=1.1),
    "repelling the worst gains nothing": CostForm(ends=1.0),
    "a half is best": CostForm(best=0.5),
}


class NoiseParts(NamedTuple):
    """Of a scenario's refit: the coefficient along the losses, and the mean square across them by direction."""

    signal: jax.Array  # [..., rules]
    noise: jax.Array  # [..., rules]


@functools.partial(jax.jit, static_argnums=1)
def parts(key: jax.Array, count: int) -> NoiseParts:
    """Means over `count` scenarios, [1, rules]: REINFORCE, the best k by `KEPT`, both ends by `ENDS`."""
    sizes, data = RoundSizes(rollouts=ROLLOUTS, length=10), RoundData(keep=1)
    played, noise = collected(key, count, sizes, data)
    losses = losses_of(key, sizes, data.strength, count)
    size = jnp.linalg.norm(losses, axis=(1, 2))
    noise = noise / data.exploration
    along = jnp.einsum("mltd,mtd->ml", noise, losses) / size[:, None]
    regret = played.cumulative_regret[..., -1]
    equal = distillation.rank(rank_rule(1), regret, played.reward)
    switches = distillation.hyperparameters(Distillation(rollouts=ROLLOUTS, keep=ROLLOUTS, credit="advantage"))
    credit = distillation.rank(switches, regret, played.reward)

    def spread(ranked: distillation.Ranked, weight: jax.Array) -> jax.Array:
        """From ranks to scenarios and rollouts."""
        return jnp.zeros(regret.size).at[ranked.rollout].set(weight * ranked.weight[:, 0]).reshape(regret.shape)

    rank = jnp.arange(regret.size) // count
    # The library standardises by the deviation of all scenarios; given its losses, a scenario's own is known.
    rules = [spread(credit, jnp.ones(regret.size)) / size[:, None] / ROLLOUTS]
    rules += [spread(equal, 1.0 * (rank < k)) / k for k in KEPT]
    rules += [spread(equal, 1.0 * (rank < k) - (rank >= ROLLOUTS - k)) / k for k in ENDS]
    weight = jnp.stack(rules)
    mean = jnp.einsum("rml,mltd->rmtd", weight, noise)
    signal = jnp.einsum("rml,ml->rm", weight, along)
    directions = losses[0].size - 1
    across = (jnp.sum(mean**2, axis=(2, 3)) - signal**2) / directions
    return NoiseParts(signal=signal.mean(1)[None], noise=across.mean(1)[None])


@draws.once
def measured(key: jax.Array, samples: int) -> np.ndarray:
    """Ratios relative to REINFORCE by batch, [BATCHES, rules]."""
    batch = -(-samples // BATCHES)
    found = draws.in_chunks(lambda key, _: parts(key, batch), key, BATCHES, 1)
    ratio = found.signal**2 / found.noise
    return ratio[:, 1:] / ratio[:, :1]


def stated_ratios(form: CostForm) -> np.ndarray:
    """Of `KEPT`, then of `ENDS`."""
    kept = np.asarray((*KEPT, *ENDS))
    z = np.asarray([abs(selected_normal(k, ROLLOUTS)) for k in kept.tolist()])
    found = form.factor * z**form.power * (kept / (ROLLOUTS - form.centred) if form.share else 1)
    return found * np.where(np.arange(len(kept)) < len(KEPT), 1, form.ends)


def limit_ratio(share: np.ndarray | float) -> np.ndarray:
    """`phi(z_p)^2 / p`."""
    return stats.norm.pdf(stats.norm.ppf(share)) ** 2 / share


def check(key: jax.Array, samples: int = 8000, form: CostForm = STATED) -> Claim:
    """Ratios of the library's rounds, and the optimum of the limit.

    Args:
        key: random key.
        samples: scenarios of 16 rollouts each; at least 8000.
        form: what is claimed.
    """
    found = measured(key, max(samples, 8000))
    mean, error = found.mean(0), 5 * found.std(0, ddof=1) / BATCHES**0.5
    errors = [np.abs(mean - stated_ratios(form)) / error]
    shares = np.linspace(0.01, 0.99, 98_001)
    best = shares[np.argmax(limit_ratio(shares))]
    errors += [abs(best - form.best) / DIGITS, abs(limit_ratio(best) - LARGEST) / DIGITS]
    if form.order != "interior":
        rise = np.diff(mean[: len(KEPT)]) * (1 if form.order == "fewer" else -1)
        errors.append(rise / error[1 : len(KEPT)])
    return at_most(STATEMENT, "optimum Kelley 1939; cost of a round and finite form ours", largest(errors), 1.0)


def curves(key: jax.Array, samples: int = 8000) -> dict[str, xr.DataArray]:
    """The ratio against the share kept: measured, exact for L = 16, and the limit."""
    found = measured(key, max(samples, 8000))
    shares = np.linspace(0.01, 0.99, 99)
    count = len(KEPT)
    rows = [found.mean(0), found.std(0, ddof=1) / BATCHES**0.5, stated_ratios(STATED)]
    quantity = ("measured", "standard error", "exact")
    return {
        "ratio": named([row[:count] for row in rows], quantity=quantity, keep=KEPT),
        "both_ends": named([row[count:] for row in rows], quantity=quantity, keep=ENDS),
        "limit": named(limit_ratio(shares), share=shares),
    }
