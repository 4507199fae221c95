"""N13. Keeping a share below 1 / K of the rollouts makes commitment to a random arm a trap; above it there is none.

Statement. A bandit has K arms, of which one is better than the others, which are alike, over T rounds. A policy commits
to a uniformly random first arm and leaves it with probability e in each later round, for another one at random. Of very
many rollouts the share p of least regret is kept, ties in any order. A refit of e to the kept ones multiplies it, for
small e, by

    0                                                                           if p < 1 / K,
    [2 / K + (1 - 2 / K) (K p - 1) / (K - 1)] / p = (1 / p + K - 2) / (K - 1)   if p > 1 / K:

it jumps from 0 to 2 at 1 / K, whatever K is, and falls to 1 at p = 1.

The policy that never leaves its arm is a fixed point for every p, with the linear regret `T (max mean - mean mean)`. It
is stable below 1 / K, and unstable above.

Proof. To first order in e a rollout leaves its arm once at most. Those that begin with the best arm and stay are
`1 / K` of all and have no regret: for smaller p only these are kept, and none of them ever left. For larger p all are
kept whose regret is less than that of no pull of the best arm: those that began with it, which left at a rate
`e / K`, counted over all rollouts, and those that found it, at a rate `(K - 1) / K e / (K - 1) = e / K` too. The rest,
`p - 1 / K`, is a part `(K p - 1) / (K - 1)` of those without any pull of the best arm, which leave at a rate
`(K - 1) / K e (K - 2) / (K - 1)`. The sum over p is the factor. For finite e the jump is blurred within
`e (T - 1) / K` of the threshold.

What follows. Selection within a scenario compares luck with skill: where a random arm is the best one more often than
rollouts are kept, those who guessed it beat those who looked for it. A network that is trained with too small a share
first learns to play, as all its rollouts differ and few guess, and is then drawn into the trap.

Check: the factor against exact enumeration at `e = 1e-7`; that enumeration against rollouts of such a policy in the
library's bandits, ranked by the library, at `e = 0.004`, within five standard errors; and the library's distillation
of a small layer from uniform play on bandits of K = 2, 3, 5, 8 arms, with shares of `0.6 / K` and `1.6 / K`: at the end
the former's regret is more than 0.84 of that of commitment, the latter's less.
Refutation: one threshold, a quarter, for every K.

Source: ours. Reference at e = 0.004, T = 20: K = 5: 0, 1.77, 1.48, 1.22 at p = 0.15, 0.25, 0.35, 0.5, where the limit
is 0, 1.75, 1.46, 1.25; K = 2: 0, 1.68, 1.35 at 0.35, 0.6, 0.75.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from jaxdm import random
from jaxdm.analysis.claims import Claim
from jaxdm.analysis.storage import named
from jaxdm.envs.bandit import any_available
from jaxdm.rmft import distillation
from jaxdm.rmft.distillation import Distillation
from jaxdm.types import Agent, Predrawn, Transition
from theory import draws
from theory.no_regret import bandit_layer
from theory.no_regret.selection_round import rank_rule
from theory.verdicts import at_most, largest

STATEMENT = (
    "keeping the share p multiplies the rate of leaving an arm by 0 for `p < 1 / K`, by `(1 / p + K - 2) / (K - 1)` "
    "above; deviation, in tolerances"
)


ARMS, SHARES = (2, 3, 5, 8), (0.15, 0.25, 0.35, 0.5, 0.6, 0.75, 0.9)
"""K; p of the law, of which none is a threshold here but 1/2 at K = 2, which is left out."""


LENGTH, GAP, RATE, BATCHES = 20, 0.5, 0.004, 16
"""T and gap, a number without rounding, so that ties are ties; e of the rollouts; batches of the standard error."""


SMALL, DIGITS = 1e-7, 1e-6
"""e of the limit, and its error relative to the law, which is of the order of `e T`."""


SIZES = Distillation(rounds=40, scenarios=16, rollouts=40, keep=1, steps=4, batch=64, rate=0.3)
"""Of the library's runs, on `TRAINED_LENGTH` rounds."""


TRAINED_LENGTH, BELOW, ABOVE = 12, 0.6, 1.6
"""T; shares of the runs that are checked, times K."""


TRAP = 0.84
"""Regret at the end over that of commitment: at least so much in the trap, and at most outside."""


class ThresholdForm(NamedTuple):
    """The stated threshold and factor."""

    threshold: float = 1.0  # times 1 / K
    fixed: float = 0.0  # else this share, for every K
    factor: float = 1.0
    found: float = 2.0  # weight of the rollouts that pulled the best arm, over K
    lost: float = 1.0  # weight of those that never did


STATED = ThresholdForm()


WRONG = {
    "the threshold is a quarter for every K": ThresholdForm(fixed=0.25),
    "the threshold is a half for every K": ThresholdForm(fixed=0.5),
    "the threshold is 2 / K": ThresholdForm(threshold=2.0),
    "the threshold is 1 / (2 K)": ThresholdForm(threshold=0.5),
    "x 0.97": ThresholdForm(factor=0.97),
    "x 1.03": ThresholdForm(factor=1.03),
    "those that leave the best arm only": ThresholdForm(found=1.0),
    "no rollouts without the best arm": ThresholdForm(lost=0.0),
}


def stated_threshold(arms: int, form: ThresholdForm = STATED) -> float:
    """The share below which commitment is a trap."""
    return form.fixed or form.threshold / arms


def stated_factor(arms: int, share: float, form: ThresholdForm = STATED) -> float:
    """What one round multiplies a small e by."""
    if share < stated_threshold(arms, form):
        return 0.0
    lost = (1 - 2 / arms) * (arms * share - 1) / (arms - 1)
    return form.factor * (form.found / arms + form.lost * lost) / share


def enumerated_factor(arms: int, share: float, rate: float, length: int = LENGTH) -> float:
    """The same at any e, from the chances of every number of pulls of the best arm and of moves."""
    chance = np.zeros((2, length + 1, length))  # on the best arm or not; its pulls; moves
    chance[1, 1, 0], chance[0, 0, 0] = 1 / arms, 1 - 1 / arms
    for _ in range(length - 1):
        away, here = chance
        moved = np.zeros_like(chance)
        moved[1, 1:] += (1 - rate) * here[:-1]
        moved[1, 1:, 1:] += rate / (arms - 1) * away[:-1, :-1]
        moved[0] += (1 - rate) * away
        moved[0, :, 1:] += rate * here[:, :-1] + rate * (arms - 2) / (arms - 1) * away[:, :-1]
        chance = moved
    by_pulls = chance.sum(0)[::-1]  # the least regret first
    total = by_pulls.sum(1)
    kept = np.clip(share - (np.cumsum(total) - total), 0, total)
    moves = by_pulls @ np.arange(length) / np.where(total > 0, total, 1)
    return float(kept @ moves / (share * (length - 1) * rate))


def committed(rate: float) -> Agent:
    """The policy of the statement, as an agent of the library's bandits."""

    def init(key: jax.Array, params: None) -> jax.Array:
        return jnp.int32(-1)

    def act(noise: jax.Array, last: jax.Array, available: jax.Array, params: None) -> tuple:
        leaves = (noise[0] < rate) | (last < 0)
        other = any_available(noise[1], available & (jnp.arange(available.shape[0]) != last))
        action = jnp.where(leaves, other, last).astype(jnp.int32)
        return action, action

    def observe(last: jax.Array, transition: Transition, params: None) -> jax.Array:
        return last

    predrawn = Predrawn(draw=lambda key, length: random.uniform(key, (length, 2)), apply=act)
    return Agent(init=init, act=predrawn.keyed, observe=observe, predrawn=predrawn)


@functools.partial(jax.jit, static_argnums=1)
def rolled_out(key: jax.Array, count: int, arms: jax.Array) -> jax.Array:
    """Factors by share after one round of `count` rollouts, [1, shares]."""
    game = bandit_layer.one_gap_game(max(ARMS), LENGTH, GAP)

    def one(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        key_instance, key_play = random.split(key)
        played = game.play(key_play, game.instance(key_instance, arms), committed(RATE), None)
        moves = jnp.sum(jnp.any(played.label[1:] != played.label[:-1], axis=1))
        return played.cumulative_regret[-1], moves

    regret, moves = jax.vmap(one)(random.split(key, count))
    best = distillation.rank(rank_rule(1), regret[None], -regret[None]).rollout
    total = jnp.cumsum(moves[best])
    kept = np.asarray([round(share * count) for share in SHARES])
    return (total[kept - 1] / kept / (LENGTH - 1) / RATE)[None]


@functools.partial(jax.jit, static_argnums=1)
@functools.partial(jax.vmap, in_axes=(0, None, 0, 0))
def trained(key: jax.Array, sizes: Distillation, arms: jax.Array, keep: jax.Array) -> jax.Array:
    """Mean regret of the rollouts of every round, [rounds], by the library's distillation from uniform play."""
    layer = bandit_layer.layer(max(ARMS))
    trainer = distillation.make_trainer(sizes, bandit_layer.one_gap_game(max(ARMS), TRAINED_LENGTH, GAP), layer)
    state = trainer.init(key, layer.init(key))
    switches = state.optimiser.hyperparameters._replace(keep=keep)
    state = state._replace(optimiser=state.optimiser._replace(hyperparameters=switches))
    return trainer.run(state, arms, sizes.rounds)[1]


def relative_regrets(key: jax.Array, arms: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Of runs with these K and p, relative to commitment's, [runs, rounds]."""
    keep = np.maximum(np.round(shares * SIZES.rollouts), 1).astype(np.int32)
    found = trained(draws.keys(key, len(arms)), SIZES, jnp.asarray(arms, jnp.int32), jnp.asarray(keep))
    return np.asarray(found) / (GAP * TRAINED_LENGTH * (1 - 1 / arms))[:, None]


@draws.once
def measured(key: jax.Array, samples: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Factors of the library's rollouts, [K, BATCHES, shares]; of the enumeration, [K, 2, shares]; runs, [K, 2]."""
    count = max(samples // BATCHES, 1)
    keys = draws.keys(key, len(ARMS) + 1)
    played = [
        draws.in_chunks(lambda key, _, arms=arms: rolled_out(key, count, jnp.int32(arms)), each, BATCHES, 1)
        for arms, each in zip(ARMS, keys, strict=False)
    ]
    exact = [[[enumerated_factor(arms, share, e) for share in SHARES] for e in (RATE, SMALL)] for arms in ARMS]
    every, times = (np.ravel(each) for each in np.meshgrid(ARMS, (BELOW, ABOVE), indexing="ij"))
    ends = relative_regrets(keys[-1], every, times / every)[:, -SIZES.rounds // 4 :].mean(1)
    return np.asarray(played), np.asarray(exact), ends.reshape(len(ARMS), 2)


def check(key: jax.Array, samples: int = 100_000, form: ThresholdForm = STATED) -> Claim:
    """The law, enumerated and rolled out, and the library's runs on either side of the threshold.

    Args:
        key: random key.
        samples: rollouts of the policy that commits, for every K; at least 30,000.
        form: what is claimed.
    """
    played, exact, ends = measured(key, max(samples, 30_000))
    errors = []
    for k, arms in enumerate(ARMS):
        mean, error = played[k].mean(0), 5 * played[k].std(0, ddof=1) / BATCHES**0.5
        for i, share in enumerate(SHARES):
            if arms * share == 1:
                continue
            # Below the threshold all kept are the same, and nothing is left to chance.
            errors.append(abs(mean[i] - exact[k, 0, i]) / max(error[i], 1e-12))
            errors.append(abs(exact[k, 1, i] - stated_factor(arms, share, form)) / DIGITS)
        for end, share in zip(ends[k], (BELOW / arms, ABOVE / arms), strict=True):
            errors.append(TRAP / end if share < stated_threshold(arms, form) else end / TRAP)
    return at_most(STATEMENT, "ours", largest(errors), 1.0)


TIMES = (0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6)
"""Shares of the runs that are shown, times K; whole numbers of rollouts come near them."""


def curves(key: jax.Array, samples: int = 100_000) -> dict[str, xr.DataArray]:
    """Factors against the share kept, and the library's regret over rounds, relative to that of commitment."""
    played, exact, _ = measured(key, max(samples, 30_000))
    fine = np.linspace(0.02, 0.98, 97)
    law = [[stated_factor(arms, share) for share in fine] for arms in ARMS]
    every, times = (np.ravel(each) for each in np.meshgrid(ARMS, TIMES, indexing="ij"))
    regrets = relative_regrets(draws.keys(key, len(ARMS) + 1)[-1], every, times / every)
    kept = np.round(times / every * SIZES.rollouts) / SIZES.rollouts
    shape = (len(ARMS), len(TIMES))
    return {
        "factor": named(
            np.stack([played.mean(1), exact[:, 0]]), kind=("measured", "enumerated"), arms=ARMS, share=SHARES
        ),
        "law": named(law, arms=ARMS, kept=fine),
        "share": named(kept.reshape(shape), arms=ARMS, run=None),
        "regret": named(regrets.reshape(*shape, -1), arms=ARMS, run=None, round=None),
    }
