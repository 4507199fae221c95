"""N14. Selection and imitation is the cross-entropy method: it climbs a quantile, and has two traps.

Statement. With many rollouts of each scenario, of which the share p of least regret is kept, one round's imitation
direction at the policy that rolled out is the gradient of

    log P(kept),    kept = {Regret < q} and as much of {Regret = q} as makes P(kept) = p,

the set held fixed. The exact imitation step, which refits a policy over histories to the kept rollouts, does not lower
the probability of that set. It may raise the mean regret. On a bandit with means 0.7 and 0.4 over four rounds in either
order, from uniform play (mean regret 0.6), rounds lead to

    p = 0.25, 0.48    0.6000, deviation 0.6: commitment to a random arm, for better or worse
    p = 0.55, 0.6     0.4650
    p = 0.75          0.5262
    p = 0.9           0.6000, deviation 0: half of the pulls for each arm, for certain

Too small a share seeks risk and too large a share avoids it; each of the traps is as bad as uniform play.

Proof. Given fixed weights w of trajectories, `grad log E[w] = E[w score] / E[w]`, the mean score of the kept, which is
the gradient of their log likelihood. Let `q(tau)` be the distribution of kept trajectories, proportional to w times the
old policy's, and `pi'` the refit, which maximises `E_q log pi`. By Jensen's inequality

    log (E_pi'[w] / E_pi[w]) = log E_q[pi' / pi] >= E_q[log pi' - log pi] >= 0:

an EM step. Commitment is a fixed point as its rollouts of least regret, a half of them, all play one arm: below p = 1/2
only these are kept. Above it a
part of the others is kept as well and the commitment is left. At p = 0.9 only the worst tenth goes: the runs of the
worse arm, and these are the runs of either arm, each in one of the orders. What is never among the worst in either
order is to pull both arms equally often, whatever is seen.

Check: everything by enumeration of 256 trajectories. The direction against automatic differentiation, at random
policies; the set's probability along all rounds from uniform and from random policies; the table to its digits.
Refutation: the mean regret falls in every round.

Source: the method is classical: Rubinstein, Kroese, The Cross-Entropy Method, 2004; its identity with the rounds of
RMFT and the traps are ours.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from jaxdm.analysis.claims import Claim
from jaxdm.analysis.storage import named
from theory import draws
from theory.no_regret.enumerated_bandit import EnumeratedBandit, enumerate_bandit, log_probability, probability, visits
from theory.verdicts import at_most, largest

STATEMENT = "a round of RMFT climbs `log P(kept)` and an EM step never lowers it; mean regrets of the limits, in digits"


LENGTH, ROUNDS, STARTS = 4, 400, 3


TABLE = {
    0.25: (0.6, 0.6),
    0.48: (0.6, 0.6),
    0.55: (0.465, 0.46933),
    0.6: (0.465, 0.46933),
    0.75: (0.5262, 0.15917),
    0.9: (0.6, 0.0),
}
"""Mean and deviation of the regret at the limit from uniform play, by share kept."""


DIGITS, ROUNDING = 1e-4, 1e-10


class CrossEntropyForm(NamedTuple):
    """The stated objective and limits."""

    falls: str = "nothing"  # else "mean": the mean regret is said to fall in every round
    order: str = "interior"  # of the limits' mean regrets in p; "less" or "more" is said to be the better
    objective: str = "quantile"  # whose gradient the direction is; "mean": of the regret
    log: bool = True  # of P(kept), not P(kept)
    shift: float = 0.0  # of p in the table
    all_rise: float = 0.0  # P(kept) is said to rise by that factor at least in each round


STATED = CrossEntropyForm()


WRONG = {
    "the mean regret falls in every round": CrossEntropyForm(falls="mean"),
    "the more kept the safer": CrossEntropyForm(order="more"),
    "the fewer kept the better": CrossEntropyForm(order="less"),
    "the direction is the gradient of the mean regret": CrossEntropyForm(objective="mean"),
    "the gradient of P(kept), without log": CrossEntropyForm(log=False),
    "the traps begin at p = 0.4": CrossEntropyForm(shift=0.1),
    "P(kept) rises by a hundredth in every round": CrossEntropyForm(all_rise=0.01),
}


def kept_weights(game: EnumeratedBandit, chance: np.ndarray, share: float) -> np.ndarray:
    """The part of every trajectory that is kept, [2, n], in [0, 1], when their probabilities are `chance` [2, n]."""
    weight = np.zeros_like(chance)
    for order in range(2):
        left = share
        for value in np.unique(game.regret[order]):
            tied = game.regret[order] == value
            total = chance[order, tied].sum()
            part = min(total, left)
            weight[order, tied] = part / total if total > 0 else 0
            left -= part
    return weight


def refitted(game: EnumeratedBandit, policy: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
    """The policy after an exact imitation step, and what was kept; histories that are never kept keep their row."""
    chance = probability(game, policy)
    weight = kept_weights(game, chance, share)
    counts = visits(game, (weight * chance).sum(0))
    total = counts.sum(1, keepdims=True)
    return np.where(total > 0, counts / np.where(total > 0, total, 1), policy), weight


class CrossEntropyRun(NamedTuple):
    """Rounds from one policy."""

    mean: np.ndarray  # [ROUNDS + 1] of the regret
    deviation: float  # of the regret at the end
    rise: np.ndarray  # [ROUNDS] P(kept) of a round's set after the step, over that before


def follow(game: EnumeratedBandit, policy: np.ndarray, share: float, rounds: int = ROUNDS) -> CrossEntropyRun:
    """Exact rounds."""
    means, rise = [], []
    for _ in range(rounds):
        before = probability(game, policy)
        means.append(np.sum(before * game.regret) / 2)
        policy, weight = refitted(game, policy, share)
        rise.append(np.sum(probability(game, policy) * weight) / np.sum(before * weight))
    chance = probability(game, policy)
    mean = np.sum(chance * game.regret) / 2
    spread = np.sum(chance * (game.regret - mean) ** 2) / 2
    return CrossEntropyRun(mean=np.asarray([*means, mean]), deviation=float(spread**0.5), rise=np.asarray(rise))


@functools.partial(jax.jit, static_argnums=2)
def stated_gradient(logits: jax.Array, worth: jax.Array, log: bool) -> jax.Array:
    """Of `E[worth]`, or of its logarithm, where trajectories have a worth [n] times their actions' probability."""

    def objective(logits: jax.Array) -> jax.Array:
        found = jnp.sum(jnp.exp(log_probability(enumerate_bandit(LENGTH), logits)) * worth)
        return jnp.log(found) if log else found

    return jax.grad(objective)(logits)


def direction_error(game: EnumeratedBandit, logits: np.ndarray, share: float, form: CrossEntropyForm) -> float:
    """Of the mean score of the kept against the stated gradient, relative."""
    policy = np.asarray(jax.nn.softmax(logits))
    chance = probability(game, policy)
    weight = kept_weights(game, chance, share)
    counts = visits(game, (weight * chance).sum(0) / np.sum(weight * chance))
    score = counts - counts.sum(1, keepdims=True) * policy
    quantile = form.objective == "quantile"
    worth = np.sum((weight if quantile else -game.regret) * game.chance, axis=0) / 2
    stated = np.asarray(stated_gradient(jnp.asarray(logits), jnp.asarray(worth), form.log and quantile))
    return float(np.linalg.norm(score - stated) / np.linalg.norm(score))


@draws.once
def runs(key: jax.Array, samples: int) -> tuple[EnumeratedBandit, dict[float, CrossEntropyRun], np.ndarray, list]:
    """The bandit; rounds from uniform play; logits of random policies; a few rounds from these."""
    game = enumerate_bandit(LENGTH)
    uniform = np.full((game.histories, 2), 0.5)
    found = {share: follow(game, uniform, share) for share in TABLE}
    logits = np.asarray(draws.normal(key, (samples, game.histories, 2)))
    policies = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    return game, found, logits, [follow(game, each, share, 20) for each in policies for share in TABLE]


def check(key: jax.Array, samples: int = STARTS, form: CrossEntropyForm = STATED) -> Claim:
    """Direction, rise of P(kept), and limits.

    Args:
        key: random key.
        samples: random policies, of which twenty rounds are followed for every share.
        form: what is claimed.
    """
    game, found, logits, others = runs(key, samples)
    errors = [direction_error(game, each, share, form) / ROUNDING for each in logits for share in TABLE]
    every = [*found.values(), *others]
    errors += [largest(1 + form.all_rise - run.rise) / ROUNDING for run in every]
    if form.falls == "mean":
        errors += [largest(np.diff(run.mean)) / ROUNDING for run in every]
    limits = np.asarray([found[share].mean[-1] for share in TABLE])
    if form.order == "interior":
        for share, run in found.items():
            mean, deviation = TABLE[min(TABLE, key=lambda listed, share=share: abs(listed - share - form.shift))]
            errors += [abs(run.mean[-1] - mean) / DIGITS, abs(run.deviation - deviation) / DIGITS]
    else:
        errors.append(largest(np.diff(limits) * (1 if form.order == "more" else -1)) / DIGITS)
    return at_most(STATEMENT, "the traps are ours; the method Rubinstein, Kroese 2004", largest(errors), 1.0)


def curves(key: jax.Array, samples: int = STARTS) -> dict[str, xr.DataArray]:
    """Mean regret over rounds from uniform play, and its deviation at the end, by share kept."""
    _, found, _, _ = runs(key, samples)
    shares = list(TABLE)
    return {
        "mean_regret": named([found[share].mean for share in shares], share=shares, round=None),
        "deviation": named([found[share].deviation for share in shares], share=shares),
    }
