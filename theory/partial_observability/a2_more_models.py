"""A2. More models never raise the robust value of an ambiguous POMDP.

Statement. At alpha = 1, where the worst model is all that counts, a set of models is worth no more than any part of it:
before the first observation, and after every history that some model of the part allows.

Assumptions. Finite models and horizon; models that give a history probability zero take no part in its value.

Proof. By induction from the last step. Let h be a history that some model of the part allows. The models of the set
that allow h include those of the part, so the minimum over models is taken over more. A model m of the part that
allows h weighs only next histories that it allows itself, so that some model of the part does: there the values ahead
are, by assumption, no larger for the set. So G_m(h, a) is no larger for the set, nor is its minimum, nor the
maximum over actions.

Check. Values after all those histories, and at the root, in random APOMDPs, half of which rule out histories, as models
are added one by one.

Refutation. The same at alpha = 1/2, where another model may also be a better best one. Nor is it true of histories that
no model of the part allows, whose value is zero until a model is added that allows them.

Source. This form is ours; the recursion is after Saghafian, J. Econ. Theory 178, 2018.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxdm.analysis.claims import Claim
from jaxdm.envs import apomdp, families
from jaxdm.oracles.apomdp import history_tree
from theory import draws
from theory.verdicts import exactly

SOURCE = "ours, after Saghafian 2018"


MODELS, HORIZON = 4, 3


class ModelSetForm(NamedTuple):
    """At which attitude it is stated, and in which direction the value is said not to go."""

    attitude: float = 1.0
    direction: float = 1.0
    equal: bool = False  # whether adding models is said to make no difference
    allowed: bool = True  # whether only histories count that the smaller set allows


STATED = ModelSetForm()


WRONG = {
    "alpha = 1/2": ModelSetForm(attitude=0.5),
    "alpha = 0": ModelSetForm(attitude=0.0),
    "never lowers": ModelSetForm(direction=-1.0),
    "makes no difference": ModelSetForm(equal=True),
    "after every history, whoever allows it": ModelSetForm(allowed=False),
}


def check(key: jax.Array, samples: int = 500, form: ModelSetForm = STATED) -> Claim:
    """The largest rise of the robust value after any history as models are added one by one, over random APOMDPs.

    Args:
        key: random key.
        samples: number of APOMDPs; half of them rule out histories, each model its own.
        form: what is claimed.
    """
    found = _measured(key, samples, form.attitude)
    largest = found.highest if form.direction > 0 else -found.lowest
    if form.equal:
        largest = np.maximum(found.highest, -found.lowest)
    if not form.allowed:
        largest = found.unallowed
    statement = "adding models never raises the robust value, before or after any history"
    return exactly(statement, SOURCE, float(np.max(largest)), 2 * float(np.max(found.bound)))


class ModelSetRises(NamedTuple):
    """By how much values rise from some models to one more: after histories that the smaller set allows, and all."""

    highest: jax.Array  # [] largest
    lowest: jax.Array  # [] smallest
    unallowed: jax.Array  # [] largest over all histories
    bound: jax.Array  # [] what rounding may do


@draws.once
def _measured(key: jax.Array, samples: int, attitude: float) -> ModelSetRises:
    """Leading axis [samples]."""
    density = jnp.where(jnp.arange(samples) % 2 == 0, 1.0, 0.6)
    found = _measure(jax.random.split(key, samples), density, jnp.full(samples, attitude))
    return jax.tree.map(np.asarray, found)


@jax.jit
def _measure(keys: jax.Array, densities: jax.Array, attitudes: jax.Array) -> ModelSetRises:
    """`_measure_one` of each, a batch at a time, so that memory does not grow with the samples."""
    return jax.lax.map(lambda one: _measure_one(*one), (keys, densities, attitudes), batch_size=min(len(keys), 100))


def _measure_one(key: jax.Array, density: jax.Array, attitude: jax.Array) -> ModelSetRises:
    """Of one APOMDP."""
    world = families.apomdp.independent(
        key, models=MODELS, states=3, actions=2, observations=2, density=density, discount=0.95
    )

    def solve(chosen: jax.Array) -> history_tree.AmbiguityPlan:
        members = jax.tree.map(lambda x: x[chosen], apomdp.members(world))
        return history_tree.plan(apomdp.make(members, attitude), HORIZON)

    # Model 0 stands again for those not added yet: a model listed twice is in the set once.
    models = jnp.arange(MODELS)
    plans = jax.vmap(solve)(jnp.where(models[None] <= models[:, None], models[None], 0))
    root, rises = jnp.diff(plans.root_value), jnp.diff(plans.value, axis=0)
    allowed = jnp.any(plans.alive[:-1], axis=1)
    return ModelSetRises(
        highest=jnp.maximum(jnp.max(root), jnp.max(jnp.where(allowed, rises, -jnp.inf))),
        lowest=jnp.minimum(jnp.min(root), jnp.min(jnp.where(allowed, rises, jnp.inf))),
        unallowed=jnp.max(rises),
        bound=jnp.max(plans.certificate.bound),
    )
