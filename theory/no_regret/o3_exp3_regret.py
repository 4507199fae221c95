"""O3. Exp3's regret against any sequence of rewards.

Statement. For any rewards `x_t(a)` in [0, 1] fixed in advance, any `gamma` in (0, 1] and `G = max_a sum_t x_t(a)`,
`G - E[sum_t x_t(a_t)] <= (e - 1) gamma G + K ln K / gamma`.

Proof, in short. With the unbiased estimates `x_t(a) 1{a_t = a} / p_t(a)`, the potential `ln sum_a w_a` grows each round
by at most `gamma / (K (1 - gamma))` times the reward received plus a second-order term `(e - 2) gamma^2 / (K^2 (1 -
gamma))` times the sum of the estimates; over T rounds it grows by at least `gamma / K` times the best arm's estimate,
less `ln K`. Take means and divide.

Check: the mean is over the player's own draws, so each sequence is played `RUNS` times. Sequences are of four kinds,
rates between 0.01 and 1. `measured` is the largest mean regret as a share of its bound, its slack five standard
errors. Refutation: the bound without the price of learning, `K ln K / gamma`. Eight plays of a sequence are too few to
tell half of the bound, or of its first term: these are not among the wrong versions.

Source: classical: Auer, Cesa-Bianchi, Freund, Schapire, SIAM J. Computing 32, 2002, Theorem 3.1.
"""

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
    "(e - 1) gamma G x 0.1": Exp3RegretForm(exploration=0.1),
    "bound x 0.25": Exp3RegretForm(exploration=0.25, learning=0.25),
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
    regret, error, first, second = measured(key, samples)
    bound = form.exploration * first + form.learning * second
    share = regret / bound
    worst = np.argmax(share)
    statement = "Exp3's mean regret is at most (e-1) g G + K ln K / g"
    text = f"{statement} (regret / bound: median {np.median(share):.2g}, of {len(share)} sequences)"
    return at_most(text, SOURCE, share[worst], 1.0, 5 * error[worst] / bound[worst])


@draws.once
def measured(key: jax.Array, samples: int) -> list[np.ndarray]:
    """`measure` of so many sequences, of all kinds in turn."""
    return [np.asarray(x) for x in measure(jax.random.split(key, samples), jnp.arange(samples) % 4)]
