"""O2. UCB1 has logarithmic regret: Auer, Cesa-Bianchi, Fischer 2002, Theorem 1.

For K arms with rewards in [0, 1] and gaps `D_a = max mu - mu_a`, after n rounds
`E[regret] <= 8 sum_{a: D_a > 0} ln n / D_a + (1 + pi^2 / 3) sum_a D_a`.

Why. Arm a is played too often only if its bonus `sqrt(2 ln t / n_a)` exceeds `D_a / 2`, so at most `8 ln n / D_a^2`
times, or if one of two means is further from its estimate than its bonus, which by Hoeffding has chance `2 t^-4` for
each of the at most `t^2` pairs of play counts; these chances sum to `pi^2 / 3`.

Here every single run is held to the bound on the mean, which is a stronger demand than the theorem's; the bound is
loose enough to bear it. `measured` is the largest regret as a share of its bound: how tight the theorem is here.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxdm.analysis.claims import Claim, at_most
from jaxdm.envs import bandit, families
from jaxdm.learners.bandit import UCBParams, ucb
from jaxdm.oracles.bandit import pseudo_regret
from jaxdm.rollout import rollout

ARMS, ROUNDS = 5, 1000


SOURCE = "Auer, Cesa-Bianchi, Fischer 2002, Theorem 1"


def bound(means: jax.Array, rounds: jax.Array) -> jax.Array:
    """`8 sum ln n / D_a + (1 + pi^2 / 3) sum D_a` over the arms with `D_a > 0`."""
    gap = jnp.max(means) - means
    inverse = jnp.where(gap > 0, 1 / jnp.where(gap > 0, gap, 1), 0)
    return 8 * jnp.log(rounds) * jnp.sum(inverse) + (1 + jnp.pi**2 / 3) * jnp.sum(gap)


@jax.jit
@functools.partial(jax.vmap, in_axes=(0, None))
def shares(key: jax.Array, exploration: jax.Array) -> jax.Array:
    """The largest `regret_n / bound_n` over n of one run, []; every run has its own means, `U[0, 1]`."""
    key_world, key_run = jax.random.split(key)
    world = families.bandit.uniform_means(key_world, arms=ARMS)
    actions = rollout(key_run, bandit.bernoulli(), world, ucb(ARMS), UCBParams(exploration=exploration), ROUNDS).action
    limit = jax.vmap(bound, (None, 0))(world.mean[0], jnp.arange(1.0, ROUNDS + 1))
    return jnp.max(pseudo_regret(world, actions) / limit)


def check(key: jax.Array, samples: int = 2000) -> Claim:
    """UCB1's regret never exceeds the bound."""
    found = shares(_runs(key, samples), jnp.asarray(UCBParams().exploration))
    return _claim("UCB1's regret is at most its logarithmic bound in every run", np.asarray(found))


def refute(key: jax.Array, samples: int = 2000) -> Claim:
    """The same said of a player without the bonus, whose regret is linear where it settles on a wrong arm."""
    found = shares(_runs(key, samples), jnp.asarray(0.0))
    return _claim("without its bonus UCB1 keeps its logarithmic bound", np.asarray(found))


def _runs(key: jax.Array, samples: int) -> jax.Array:
    """Keys of the runs; fewer than a thousand would not tell the wrong version, and cost no less to compile."""
    return jax.random.split(key, max(samples, 1000))


def _claim(statement: str, found: np.ndarray) -> Claim:
    text = f"{statement} (regret / bound: median {np.median(found):.2g}, of {len(found)})"
    return at_most("O2", text, SOURCE, found.max(), 1.0)
