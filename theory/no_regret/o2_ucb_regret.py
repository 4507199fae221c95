"""O2. UCB1 has logarithmic regret.

Statement. For K arms with rewards in [0, 1] and gaps `D_a = max mu - mu_a`, after n rounds
`E[regret] <= 8 sum_{a: D_a > 0} ln n / D_a + (1 + pi^2 / 3) sum_a D_a`.

Proof, in short. Arm a is played too often only if its bonus `sqrt(2 ln t / n_a)` exceeds `D_a / 2`, so at most `8 ln n
/ D_a^2` times, or if one of two means is further from its estimate than its bonus, which by Hoeffding has chance `2
t^-4` for each of the at most `t^2` pairs of play counts; these chances sum to `pi^2 / 3`.

Check: every single run is held to the bound on the mean, which is a stronger demand than the theorem's; the bound is
loose enough to bear it. `measured` is the largest regret as a share of its bound: how tight the theorem is here.
Refutation: the same said of a player without the bonus, whose regret is linear where it settles on a wrong arm. Half
of the bound, and half of either constant, would pass, for no run takes more than about a quarter; they are not among
the wrong versions.

Source: classical: Auer, Cesa-Bianchi, Fischer, Machine Learning 47, 2002, Theorem 1.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxdm.analysis.claims import Claim
from jaxdm.envs import bandit, families
from jaxdm.learners.bandit import UCBParams, ucb
from jaxdm.oracles.bandit import pseudo_regret
from jaxdm.rollout import rollout
from theory.verdicts import at_most

ARMS, ROUNDS = 5, 1000


SOURCE = "Auer, Cesa-Bianchi, Fischer 2002, Theorem 1"


class UCBRegretForm(NamedTuple):
    """Of which player the bound is stated, and `8 leading (ln n)^log sum D_a^-1 + (1 + pi^2 / 3) sum D_a`."""

    bonus: float = 1.0  # times UCB1's exploration
    leading: float = 1.0
    log: float = 1.0
    inverse: float = 1.0  # weight of 1 / D_a in the leading term, against D_a


STATED = UCBRegretForm()


WRONG = {
    "no bonus": UCBRegretForm(bonus=0.0),
    "no leading term": UCBRegretForm(leading=0.0),
    "8 x 0.1": UCBRegretForm(leading=0.1),
    "no ln n": UCBRegretForm(log=0.0),
    "D_a for 1 / D_a": UCBRegretForm(inverse=0.0),
}


def bound(means: jax.Array, rounds: jax.Array, form: UCBRegretForm = STATED) -> jax.Array:
    """`8 sum ln n / D_a + (1 + pi^2 / 3) sum D_a` over the arms with `D_a > 0`."""
    gap = jnp.max(means) - means
    inverse = jnp.where(gap > 0, 1 / jnp.where(gap > 0, gap, 1), 0)
    leading = form.inverse * jnp.sum(inverse) + (1 - form.inverse) * jnp.sum(gap)
    return 8 * form.leading * jnp.log(rounds) ** form.log * leading + (1 + jnp.pi**2 / 3) * jnp.sum(gap)


@jax.jit
@functools.partial(jax.vmap, in_axes=(0, None))
def shares(key: jax.Array, form: UCBRegretForm) -> jax.Array:
    """The largest `regret_n / bound_n` over n of one run, []; every run has its own means, `U[0, 1]`."""
    key_world, key_run = jax.random.split(key)
    world = families.bandit.uniform_means(key_world, arms=ARMS)
    params = UCBParams(exploration=form.bonus * jnp.asarray(UCBParams().exploration))
    actions = rollout(key_run, bandit.bernoulli(), world, ucb(ARMS), params, ROUNDS).action
    limit = jax.vmap(bound, (None, 0, None))(world.mean[0], jnp.arange(1.0, ROUNDS + 1), form)
    return jnp.max(pseudo_regret(world, actions) / limit)


def check(key: jax.Array, samples: int = 2000, form: UCBRegretForm = STATED) -> Claim:
    """The largest share of its bound that the regret of any run takes.

    Args:
        key: random key.
        samples: runs; fewer than a thousand would not tell the wrong versions, and cost no less to compile.
        form: what is claimed.
    """
    found = np.asarray(shares(jax.random.split(key, max(samples, 1000)), form))
    statement = "UCB1's regret is at most its logarithmic bound in every run"
    text = f"{statement} (regret / bound: median {np.median(found):.2g}, of {len(found)})"
    return at_most(text, SOURCE, found.max(), 1.0)
