"""A1: the value of an ambiguous POMDP falls as the weight on the worst model grows.

Statement. For every history h, `V^alpha(h)` is non-increasing in alpha; so `V^1(h) <= V^alpha(h) <= V^0(h)`, between
the robust and the optimistic value.

Proof. By induction from the last step. `alpha min_m G_m + (1 - alpha) max_m G_m = max_m G_m - alpha (max_m G_m -
min_m G_m)` is non-increasing in alpha for fixed G, and non-decreasing in each G_m. G_m is non-decreasing in the values
ahead, which are non-increasing in alpha by assumption; the maximum over actions keeps this.

Wrong version. That the value lies between the smallest and the largest optimal value of the single models: a model that
is picked anew after every step can be worse, or better, than any model that stays.

Source: this form is ours; the recursion is after Saghafian, J. Econ. Theory 178, 2018.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxdm.envs import apomdp, apomdp_families
from jaxdm.envs.apomdp import APOMDP
from jaxdm.oracles import ambiguity
from theory.claim import Claim, exactly

SOURCE = "ours, after Saghafian 2018"
SIZES = {"models": 3, "states": 3, "actions": 2, "observations": 2}
HORIZON = 4
ATTITUDES = (0.0, 0.1, 0.3, 0.5, 0.8, 1.0)


def check(key: jax.Array, samples: int = 500) -> Claim:
    """The largest rise of any history's value from one attitude to the next, over random APOMDPs.

    Args:
        key: random key.
        samples: number of APOMDPs; half of them rule out histories, each model its own.
    """
    rises, bounds = jax.jit(jax.vmap(_largest_rise))(jax.random.split(key, samples), _densities(samples))
    statement = "the value after every history is non-increasing in the attitude alpha"
    return exactly("A1", statement, SOURCE, float(np.max(rises)), 2 * float(np.max(bounds)))


def refute(key: jax.Array, samples: int = 500) -> Claim:
    """The same bounds replaced by the smallest and largest optimal value of a single model: violated."""
    escapes, bounds = jax.jit(jax.vmap(_largest_escape))(jax.random.split(key, samples), _densities(samples))
    statement = "the value lies between the optimal values of the single models"
    return exactly("A1", statement, SOURCE, float(np.max(escapes)), 2 * float(np.max(bounds)))


def _densities(samples: int) -> jax.Array:
    return jnp.where(jnp.arange(samples) % 2 == 0, 1.0, 0.6)


def _draw(key: jax.Array, density: jax.Array) -> APOMDP:
    return apomdp_families.independent(key, **SIZES, density=density, discount=0.95)


def _values(world: APOMDP) -> ambiguity.AmbiguityPlan:
    """Plans at all attitudes, on a leading axis."""
    plan = lambda attitude: ambiguity.plan(world._replace(attitude=attitude), HORIZON)
    return jax.vmap(plan)(jnp.asarray(ATTITUDES, world.reward.dtype))


def _largest_rise(key: jax.Array, density: jax.Array) -> tuple[jax.Array, jax.Array]:
    plans = _values(_draw(key, density))
    rise = jnp.maximum(jnp.max(jnp.diff(plans.value, axis=0)), jnp.max(jnp.diff(plans.root_value)))
    return rise, jnp.max(plans.certificate.bound)


def _largest_escape(key: jax.Array, density: jax.Array) -> tuple[jax.Array, jax.Array]:
    world = _draw(key, density)
    plans = _values(world)

    def alone(member: apomdp.POMDP) -> jax.Array:
        one = jax.tree.map(lambda x: x[None], member)
        return ambiguity.plan(apomdp.make(one, world.attitude), HORIZON).root_value

    single = jax.vmap(alone)(apomdp.members(world))
    below, above = jnp.min(single) - plans.root_value, plans.root_value - jnp.max(single)
    return jnp.max(jnp.maximum(below, above)), jnp.max(plans.certificate.bound)
