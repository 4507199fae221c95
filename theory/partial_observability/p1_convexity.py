"""P1: a POMDP's value over a finite horizon is the largest of finitely many planes, so piecewise linear and convex.

`V_h(b) = max_alpha b . alpha`, one alpha for each plan of actions by what is seen, of which there are
`A^(1 + O + ... + O^(h-1))`. The gradient of V at a belief is the alpha that is best there; so at any two beliefs
`V(c) >= c . grad V(b)`, and no more gradients exist than plans. The wrong version says it of the value of the worst
plan, which is the smallest of the same planes.

Reference: Smallwood, Sondik, Operations Research 21, 1973; Sondik, Operations Research 26, 1978.
"""

import jax
import jax.numpy as jnp

from jaxdm.analysis.claims import Claim, exactly
from jaxdm.envs import families
from jaxdm.oracles.pomdp.history_tree import tree_value

STATES, ACTIONS, OBSERVATIONS, HORIZON = 3, 2, 2, 3


PLANS = ACTIONS ** sum(OBSERVATIONS**t for t in range(HORIZON))


BELIEFS = 4 * PLANS


STATEMENT = "a POMDP's finite-horizon value lies on or above each plane that touches it, and there are finitely many"


def check(key: jax.Array, samples: int = 12) -> Claim:
    """Planes that touch the optimal value, over random POMDPs and beliefs; `samples` POMDPs."""
    return _claim(key, samples, sign=1.0)


def refute(key: jax.Array, samples: int = 12) -> Claim:
    """The same planes of the worst plan's value."""
    return _claim(key, samples, sign=-1.0)


def _claim(key: jax.Array, samples: int, sign: float) -> Claim:
    above, planes, rounding = jax.jit(_over_worlds)(jax.random.split(key, samples), sign)
    error = float(jnp.max(above)) if int(jnp.max(planes)) <= PLANS else float("inf")
    return exactly("P1", STATEMENT, "Smallwood and Sondik 1973", error, float(jnp.max(rounding)))


def _over_worlds(keys: jax.Array, sign: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    return jax.lax.map(lambda key: _planes(key, sign), keys)


def _planes(key: jax.Array, sign: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """How far any plane rises above the value, how many planes there are, and what rounding explains.

    With sign -1, the worst plan's: `min_plan = -max_plan` of the negated rewards.
    """
    key_world, key_belief = jax.random.split(key)
    world = families.pomdp.dense(key_world, states=STATES, actions=ACTIONS, observations=OBSERVATIONS)
    world = world._replace(reward=sign * world.reward)
    beliefs = jax.nn.softmax(jnp.log(jax.random.exponential(key_belief, (BELIEFS, STATES))))  # uniform
    (value, error), pull = jax.vmap(lambda b: _value_and_gradient(world, b))(beliefs)
    height = jnp.einsum("cs,bs->cb", beliefs, pull, precision=jax.lax.Precision.HIGHEST)
    # The sum of a plane's entries, in a direction that no two planes share, tells them apart.
    name = jnp.sort(pull @ jnp.sqrt(jnp.arange(2.0, STATES + 2)))
    different = 1 + jnp.sum(jnp.diff(name) > 1e-9)
    return jnp.max(sign * (height - value[:, None])), different, 4 * jnp.max(error)


def _value_and_gradient(world: families.pomdp.POMDP, belief: jax.Array) -> tuple:
    return jax.value_and_grad(lambda b: tree_value(world, HORIZON, b), has_aux=True)(belief)
