"""N8. What direction a round of RMFT takes: the gradient of a frozen utility of the regret, for every k and L.

Statement. L rollouts of one policy are ranked by regret, ties in any order that does not look at them, and the best k
are imitated. The expected direction of imitation, `E[(1/k) sum_{l kept} grad log pi(tau_l)]`, is

    grad E[U(Regret)],    U(r) = (L / k) P(kept | its regret is r),    U held fixed,

for every policy, k and L. It is not along the gradient of the mean regret, except in a limit: weights
`exp(-lambda Regret)` in place of ranks give that direction as lambda goes to zero.

Proof. The rollouts are exchangeable, so the expectation is `(L / k) E[1{first kept} score_1]`. Given the first rollout,
the others are independent of it and matter through its regret alone: `(L / k) E[P(kept | Regret_1) score_1]`, which is
`grad E[U(Regret)]` by the score identity `E[f score] = grad E[f]`. With `B` others of less regret and `C` of equal
regret, `P(kept | r) = E[min(max(k - B, 0) / (C + 1), 1)]`, (B, C) multinomial with L - 1 draws. U is a step from L / k
down to 0, blurred by L: selection counts losing by little as much as losing by far. At k = L it is constant, and the
direction zero. Weights `exp(-lambda r) = 1 - lambda r + O(lambda^2)` give `-lambda grad E[Regret]`, as constants have
no gradient.

Where (score, Regret) is jointly normal, as in N4, the direction is `-(|z_{k,L}| / sd) grad E[Regret]` for every k; a
bandit's is not. How far the two are apart here, on a bandit of four rounds and L = 16: the cosine is 0.78 to 0.99 and
changes with k (curves).

Check: all L-tuples of the 16 trajectories of a bandit of two rounds, ranked by the library, against automatic
differentiation, at random policies, L = 2, 3 and all k < L, relative to rounding; and `1 - cosine` for the weights.
Refutation: the direction is along the policy gradient for every k.

Source: ours.
"""

import functools
import itertools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from jaxdm.analysis.claims import Claim
from jaxdm.analysis.storage import named
from jaxdm.rmft import distillation
from theory import draws
from theory.no_regret.enumerated_bandit import EnumeratedBandit, enumerate_bandit, log_probability, probability, visits
from theory.no_regret.selection_round import rank_rule
from theory.verdicts import exactly, largest

STATEMENT = "a round's mean direction is `grad E[U(Regret)]`, `U(r) = (L / k) P(kept | r)` fixed; relative deviation"


SETTINGS = ((2, 1), (3, 1), (3, 2))
"""L and k of the rounds that are written out."""


LENGTH, LONGER, ROLLOUTS = 2, 4, 16
"""Rounds of that bandit; of the one whose cosines are shown, and L there."""


SMALL = 1e-6
"""lambda."""


ROUNDING = 1e-12


class DirectionForm(NamedTuple):
    """The stated utility."""

    policy_gradient: bool = False  # the direction is that of -grad E[Regret]
    scale: bool = True  # L / k
    ties: bool = True  # shared fairly; else all ties are kept
    others: int = 1  # L - others draws decide
    more: int = 0  # kept, beyond k
    frozen: bool = True
    inverse_temperature: float = 1.0  # lambda of the weights, in `SMALL`


STATED = DirectionForm()


WRONG = {
    "the direction is the policy gradient for every k": DirectionForm(policy_gradient=True),
    "without L / k": DirectionForm(scale=False),
    "all ties are kept": DirectionForm(ties=False),
    "L others": DirectionForm(others=0),
    "k + 1 for k": DirectionForm(more=1),
    "U is differentiated too": DirectionForm(frozen=False),
    "exp(-3 Regret) gives the policy gradient": DirectionForm(inverse_temperature=3 / SMALL),
}


def kept_given(chance: jax.Array, regret: np.ndarray, rollouts: int, keep: jax.Array, form: DirectionForm) -> jax.Array:
    """P(kept | the regret of trajectory i), [n], where trajectories have these probabilities, [n]."""
    others = rollouts - form.others
    below = (regret[None, :] < regret[:, None]) @ chance
    equal = (regret[None, :] == regret[:, None]) @ chance
    above = (regret[None, :] > regret[:, None]) @ chance
    found = jnp.zeros_like(chance)
    for b, c in itertools.product(range(others + 1), repeat=2):
        if b + c > others:
            continue
        ways = math.comb(others, b) * math.comb(others - b, c)
        part = jnp.clip((keep + form.more - b) / (c + 1 if form.ties else 1), 0, 1)
        found += part * ways * below**b * equal**c * above ** (others - b - c)
    return found


@functools.partial(jax.jit, static_argnums=(0, 2, 4))
@functools.partial(jax.vmap, in_axes=(None, 0, None, None, None))
def stated_directions(length: int, logits: jax.Array, rollouts: int, keep: jax.Array, form: DirectionForm) -> jax.Array:
    """`grad E[U(Regret)]` on the bandit of so many rounds, for a batch of policies, [..., h, 2]."""
    game = enumerate_bandit(length)
    regret, chance = game.regret[0], jnp.asarray(game.chance[0])

    def value(logits: jax.Array) -> jax.Array:
        probable = jnp.exp(log_probability(game, logits)) * chance
        utility = kept_given(probable, regret, rollouts, keep, form) * (rollouts / keep if form.scale else 1)
        return jnp.sum(probable * (jax.lax.stop_gradient(utility) if form.frozen else utility))

    return jax.grad(value)(logits)


@functools.partial(jax.jit, static_argnums=0)
@functools.partial(jax.vmap, in_axes=(None, 0))
def regret_gradients(length: int, logits: jax.Array) -> jax.Array:
    """`grad E[Regret]`, likewise."""
    game = enumerate_bandit(length)
    weight = jnp.asarray(game.chance[0] * game.regret[0])
    return jax.grad(lambda logits: jnp.sum(jnp.exp(log_probability(game, logits)) * weight))(logits)


def mean_score(game: EnumeratedBandit, policy: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The sum of scores of trajectories times a weight [n], [h, 2]."""
    counts = visits(game, weight)
    return counts - counts.sum(1, keepdims=True) * policy


def round_direction(game: EnumeratedBandit, policy: np.ndarray, rollouts: int, keep: int) -> np.ndarray:
    """The mean direction of the library's selection, over all L-tuples of trajectories, [h, 2]."""
    tuples = np.asarray(list(itertools.product(range(len(game.action)), repeat=rollouts)))
    regret = jnp.asarray(game.regret[0][tuples])
    ranked = np.asarray(distillation.rank(rank_rule(keep), regret, -regret).rollout)[: keep * len(tuples)]
    chance = np.prod(probability(game, policy)[0][tuples], axis=1)
    weight = np.bincount(
        tuples.reshape(-1)[ranked], np.repeat(chance, rollouts)[ranked] / keep, minlength=len(game.action)
    )
    return mean_score(game, policy, weight)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """Of the angle between two arrays."""
    return float(np.sum(a * b) / np.linalg.norm(a) / np.linalg.norm(b))


@draws.once
def rounds(key: jax.Array, samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Random logits [samples, h, 2], and the directions of rounds, [samples, settings, h, 2]."""
    game = enumerate_bandit(LENGTH)
    logits = np.asarray(draws.normal(key, (samples, game.histories, 2)))
    policies = np.asarray(jax.nn.softmax(logits))
    found = [[round_direction(game, each, *setting) for setting in SETTINGS] for each in policies]
    return logits, np.asarray(found)


def check(key: jax.Array, samples: int = 10, form: DirectionForm = STATED) -> Claim:
    """Directions of every setting, and of exponential weights.

    Args:
        key: random key.
        samples: random policies.
        form: what is claimed.
    """
    logits, found = rounds(key, samples)
    game, downhill = enumerate_bandit(LENGTH), -np.asarray(regret_gradients(LENGTH, jnp.asarray(logits)))
    errors = []
    for (rollouts, keep), directions in zip(SETTINGS, found.swapaxes(0, 1), strict=True):
        if form.policy_gradient:
            errors += [1 - cosine(*pair) for pair in zip(directions, downhill, strict=True)]
        else:
            stated = np.asarray(stated_directions(LENGTH, jnp.asarray(logits), rollouts, jnp.asarray(keep), form))
            errors += list(np.linalg.norm(directions - stated, axis=(1, 2)) / np.linalg.norm(stated, axis=(1, 2)))
    for policy, steepest in zip(np.asarray(jax.nn.softmax(logits)), downhill, strict=True):
        weight = np.exp(-form.inverse_temperature * SMALL * game.regret[0]) * probability(game, policy)[0]
        errors.append(1 - cosine(mean_score(game, policy, weight), steepest))
    return exactly(STATEMENT, "ours", largest(errors), ROUNDING)


def curves(key: jax.Array, samples: int = 10) -> dict[str, xr.DataArray]:
    """The cosine of a round's direction and the policy gradient against k, on the longer bandit, by random policy."""
    game, keeps = enumerate_bandit(LONGER), (1, 2, 4, 8, 12, 15)
    logits = draws.normal(key, (min(samples, 3), game.histories, 2))
    downhill = -np.asarray(regret_gradients(LONGER, logits))
    rows = []
    for keep in keeps:
        found = np.asarray(stated_directions(LONGER, logits, ROLLOUTS, jnp.asarray(keep), STATED))
        rows.append([cosine(*pair) for pair in zip(found, downhill, strict=True)])
    return {"cosine": named(rows, keep=keeps, policy=None)}
