"""A2: more models never raise the robust value of an ambiguous POMDP.

Statement. At alpha = 1, a set of models is worth no more than any part of it.

Proof. By induction from the last step: after a history that some model of the part allows, the models of the set that
allow it include those of the part, so the minimum over them is taken over more. Histories that no model of the part
allows have probability zero under each of them, so that their values enter only through models outside the part, whose
presence can but lower a minimum.

Wrong version. The same at alpha = 1/2, where another model may also be a better best one.

Source: this form is ours; the recursion is after Saghafian, J. Econ. Theory 178, 2018.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxdm.analysis.claims import Claim, exactly
from jaxdm.envs import apomdp, families
from jaxdm.oracles.apomdp import history_tree

SOURCE = "ours, after Saghafian 2018"


MODELS, HORIZON = 4, 3


def check(key: jax.Array, samples: int = 500) -> Claim:
    """The largest rise of the robust value as models are added one by one, over random APOMDPs.

    Args:
        key: random key.
        samples: number of APOMDPs; half of them rule out histories, each model its own.
    """
    return _claim(key, samples, 1.0, "adding models never raises the robust value")


def refute(key: jax.Array, samples: int = 500) -> Claim:
    """The same where the best model weighs as much as the worst: violated."""
    return _claim(key, samples, 0.5, "adding models never raises the value at alpha = 1/2")


def _claim(key: jax.Array, samples: int, attitude: float, statement: str) -> Claim:
    density = jnp.where(jnp.arange(samples) % 2 == 0, 1.0, 0.6)
    rises, bounds = _measure(jax.random.split(key, samples), density, jnp.full(samples, attitude))
    return exactly("A2", statement, SOURCE, float(np.max(rises)), 2 * float(np.max(bounds)))


@jax.jit
def _measure(keys: jax.Array, densities: jax.Array, attitudes: jax.Array) -> tuple[jax.Array, jax.Array]:
    """`_measure_one` of each, a batch at a time, so that memory does not grow with the samples."""
    return jax.lax.map(lambda one: _measure_one(*one), (keys, densities, attitudes), batch_size=min(len(keys), 100))


def _measure_one(key: jax.Array, density: jax.Array, attitude: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The largest rise of the value from 1..M - 1 models to one more, and what rounding may do."""
    world = families.apomdp.independent(
        key, models=MODELS, states=3, actions=2, observations=2, density=density, discount=0.95
    )

    def solve(chosen: jax.Array) -> history_tree.AmbiguityPlan:
        members = jax.tree.map(lambda x: x[chosen], apomdp.members(world))
        return history_tree.plan(apomdp.make(members, attitude), HORIZON)

    # Model 0 stands again for those not added yet: a model listed twice is in the set once.
    models = jnp.arange(MODELS)
    plans = jax.vmap(solve)(jnp.where(models[None] <= models[:, None], models[None], 0))
    return jnp.max(jnp.diff(plans.root_value)), jnp.max(plans.certificate.bound)
