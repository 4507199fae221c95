"""P2: information never hurts: a POMDP's optimal value does not decrease with observation quality q.

What is seen at quality q can be made from what is seen at q' > q by adding noise, so whoever sees with q' can do
whatever one who sees with q can. The wrong version drops the optimality: it says the same of the policy that maximises
the next reward only, which better observations can lead astray.

Reference: Blackwell, Equivalent comparisons of experiments, Annals of Mathematical Statistics 24, 1953.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxdm.analysis.claims import Claim, exactly
from jaxdm.envs import families
from jaxdm.oracles.pomdp import exact
from jaxdm.oracles.pomdp.history_tree import tree_value

STATES, ACTIONS, HORIZON, QUALITIES = 3, 2, 4, 7


STATEMENT = "the value of a POMDP never decreases with observation quality"


def check(key: jax.Array, samples: int = 96) -> Claim:
    """The largest loss of optimal value from one quality to the next better one, over random dynamics."""
    value, error = jax.jit(_values)(jax.random.split(key, samples))
    return _claim(np.asarray(value), float(jnp.max(error)))


def refute(key: jax.Array, samples: int = 96) -> Claim:
    """The same of the myopic policy, on the first 20 of the samples at most."""
    worlds = jax.tree.map(np.asarray, _many_worlds(jax.random.split(key, min(samples, 20))))
    value, error = np.empty(worlds.discount.shape), 0.0
    for index in np.ndindex(value.shape):
        world = jax.tree.map(lambda x, index=index: x[index], worlds)
        solved = exact.plan(world, HORIZON)
        myopic = np.eye(ACTIONS)[solved.reachable.reward.argmax(axis=-1)]
        earned = exact.policy_value(world, solved, np.broadcast_to(myopic, solved.q.shape))
        value[index] = solved.reachable.root_probability @ earned[0, solved.graph.root]
        error = max(error, float(solved.certificate.bound))
    return _claim(value, error)


def _values(keys: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Optimal values and their errors, two [samples, QUALITIES]; as many trees at a time as fit in a cache."""
    solve = jax.vmap(lambda world: tree_value(world, HORIZON))
    return jax.lax.map(lambda key: solve(_worlds(key)), keys, batch_size=min(len(keys), 16))


def _worlds(key: jax.Array) -> families.pomdp.POMDP:
    """[QUALITIES] POMDPs, the same dynamics seen better and better."""
    family = lambda quality: families.pomdp.dirichlet(
        key, states=STATES, actions=ACTIONS, quality=quality, concentration=0.3
    )
    return jax.vmap(family)(jnp.linspace(1 / STATES, 1, QUALITIES))


_many_worlds = jax.jit(jax.vmap(_worlds))


def _claim(value: np.ndarray, error: float) -> Claim:
    loss = float((value[:, :-1] - value[:, 1:]).max())
    return exactly("P2", STATEMENT, "Blackwell 1953", loss, 2 * error)
