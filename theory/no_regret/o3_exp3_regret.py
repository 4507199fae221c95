"""O3. Exp3's regret against any sequence of rewards.

Statement. For any rewards `x_t(a)` in [0, 1] fixed in advance, any `gamma` in (0, 1] and `G = max_a sum_t x_t(a)`,
`G - E[sum_t x_t(a_t)] <= (e - 1) gamma G + K ln K / gamma`.

Proof, in short. With the unbiased estimates `x_t(a) 1{a_t = a} / p_t(a)`, the potential `ln sum_a w_a` grows each round
by at most `gamma / (K (1 - gamma))` times the reward received plus a second-order term `(e - 2) gamma^2 / (K^2 (1 -
gamma))` times the sum of the estimates; over T rounds it grows by at least `gamma / K` times the best arm's estimate,
less `ln K`. Take means and divide.

How tight. If one arm always pays 1 and the others nothing, its weight grows by a factor `exp(gamma / K)` a round in
mean, and what is lost until it leads is the integral of `(K - 1) / (K - 1 + e^{gamma t / K})` over t, `K ln K / gamma`
exactly: the second term is attained when gamma is small. Exploration then goes on costing `gamma (1 - 1/K) G`: the
first term is loose by `(e - 1) / (1 - 1/K)`, for `(e - 2) gamma G` pays for the variance of estimates, small here.

Check. The mean is over the player's own draws, so each sequence is played several times. Sequences are of four kinds,
rates between 0.01 and 1; and of the kind just named, with a small rate, and with many arms and a large rate. `measured`
is the largest mean regret as a share of its bound; every sequence's share, less five standard errors, must be below 1.

Refutation. The bound without the price of learning, `K ln K / gamma`.

Source. Classical: Auer, Cesa-Bianchi, Freund, Schapire, SIAM J. Computing 32, 2002, Theorem 3.1.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxdm import random
from jaxdm.analysis.claims import Claim
from jaxdm.envs import bandit, families
from jaxdm.learners.exp3 import Exp3Params, exp3
from jaxdm.rollout import rollout
from theory import draws
from theory.verdicts import at_most

ARMS, ROUNDS, RUNS = 4, 400, 8


ONE_ARM = ((4, 2000, 0.01), (20, 4000, 0.5))
"""Arms, rounds and gamma where one arm pays in every round."""


ONE_ARM_RUNS, CHUNK = 300, 2000
"""Plays of each of these; sequences drawn at once."""


SOURCE = "Auer, Cesa-Bianchi, Freund, Schapire 2002, Theorem 3.1"


class Exp3RegretForm(NamedTuple):
    """The stated bound, `exploration (e - 1) gamma G + learning K ln K / gamma`."""

    exploration: float = 1.0
    learning: float = 1.0


STATED = Exp3RegretForm()


WRONG = {
    "no K ln K / gamma": Exp3RegretForm(learning=0.0),
    "no (e - 1) gamma G": Exp3RegretForm(exploration=0.0),
    "ln K for K ln K": Exp3RegretForm(learning=1 / ARMS),
    "(e - 1) gamma G x 0.5": Exp3RegretForm(exploration=0.5),
    "K ln K / gamma x 0.9": Exp3RegretForm(learning=0.9),
    "K ln K / gamma x 0.5": Exp3RegretForm(learning=0.5),
    "bound x 0.9": Exp3RegretForm(exploration=0.9, learning=0.9),
    "bound x 0.75": Exp3RegretForm(exploration=0.75, learning=0.75),
}


def rewards(key: jax.Array, kind: jax.Array) -> jax.Array:
    """A sequence [T, K]: 0 coins of fixed bias, 1 of switching bias, 2 a walk, 3 one good arm that changes at T/2."""
    key_mean, key_coin, key_arm = jax.random.split(key, 3)
    sizes = {"arms": ARMS, "rounds": ROUNDS}
    coins = random.uniform(key_coin, (ROUNDS, ARMS), jnp.result_type(float))
    fixed = jax.random.uniform(key_mean, (1, ARMS), coins.dtype)
    switching = families.bandit.switching(key_mean, chance=0.02, **sizes).mean
    walk = families.bandit.wandering(key_mean, step=0.05, **sizes).mean
    halves = jax.nn.one_hot(jax.random.randint(key_arm, (2,), 0, ARMS), ARMS, dtype=coins.dtype)
    change = halves[(jnp.arange(ROUNDS) >= ROUNDS // 2).astype(int)]
    kinds = [(coins < fixed).astype(coins.dtype), (coins < switching).astype(coins.dtype), walk, change]
    return jnp.stack(kinds)[kind]


@jax.jit
@jax.vmap
def measure(key: jax.Array, kind: jax.Array) -> tuple[jax.Array, ...]:
    """Of one sequence: mean regret, its standard error, and the two terms of the bound."""
    key_rewards, key_rate, key_runs = jax.random.split(key, 3)
    table = rewards(key_rewards, kind)
    world, env = bandit.make(table, deviation=0.0), bandit.gaussian()
    rates = Exp3Params(exploration=10.0 ** jax.random.uniform(key_rate, minval=-2, maxval=0))

    def run(key: jax.Array) -> jax.Array:
        return rollout(key, env, world, exp3(ARMS), rates, ROUNDS).reward.sum()

    earned = jax.vmap(run)(jax.random.split(key_runs, RUNS))
    best = jnp.max(jnp.sum(table, axis=0))
    first, second = (jnp.e - 1) * rates.exploration * best, ARMS * jnp.log(ARMS) / rates.exploration
    return best - jnp.mean(earned), jnp.std(earned, ddof=1) / RUNS**0.5, first, second


def check(key: jax.Array, samples: int = 1000, form: Exp3RegretForm = STATED) -> Claim:
    """The largest share of its bound that the mean regret on any sequence takes.

    Args:
        key: random key.
        samples: sequences.
        form: what is claimed.
    """
    regret, error, first, second = (
        np.concatenate(each) for each in zip(measured(key, samples), one_arm_pays(key), strict=True)
    )
    bound = form.exploration * first + form.learning * second
    share, lower = regret / bound, (regret - 5 * error) / bound
    statement = "Exp3's mean regret is at most `(e - 1) g G + K ln K / g`"
    text = f"{statement} (regret / bound: median {np.median(share):.2g}, of {len(share)} sequences)"
    return at_most(text, SOURCE, float(share.max()), 1.0, float(share.max() - lower.max()))


@draws.once
def measured(key: jax.Array, samples: int) -> tuple[np.ndarray, ...]:
    """`measure` of so many sequences, of all kinds in turn."""

    def one(key: jax.Array, count: int) -> tuple[jax.Array, ...]:
        return measure(jax.random.split(key, count), jnp.arange(count) % 4)

    return draws.in_chunks(one, key, samples, CHUNK)


@draws.once
def one_arm_pays(key: jax.Array) -> tuple[np.ndarray, ...]:
    """Mean regret, its standard error, and the two terms of the bound, for every setting of `ONE_ARM`."""
    found = []
    for arms, rounds, exploration in ONE_ARM:
        lost = rounds - np.asarray(_earned(jax.random.split(key, ONE_ARM_RUNS), exploration, arms, rounds))
        terms = (np.e - 1) * exploration * rounds, arms * np.log(arms) / exploration
        found.append((lost.mean(), lost.std(ddof=1) / ONE_ARM_RUNS**0.5, *terms))
    return tuple(np.asarray(each) for each in zip(*found, strict=True))


@functools.partial(jax.jit, static_argnums=(2, 3))
@functools.partial(jax.vmap, in_axes=(0, None, None, None))
def _earned(key: jax.Array, exploration: jax.Array, arms: int, rounds: int) -> jax.Array:
    world = bandit.make(jnp.zeros((rounds, arms)).at[:, -1].set(1.0), deviation=0.0)
    rates = Exp3Params(exploration=jnp.asarray(exploration))
    return rollout(key, bandit.gaussian(), world, exp3(arms), rates, rounds).reward.sum()
