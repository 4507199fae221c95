"""A2. More models never raise the robust value of an ambiguous POMDP.

Statement. At alpha = 1, where the worst model is all that counts, a set of models is worth no more than any part of it.

Proof. By induction from the last step: after a history that some model of the part allows, the models of the set that
allow it include those of the part, so the minimum over them is taken over more. Histories that no model of the part
allows have probability zero under each of them, so that their values enter only through models outside the part, whose
presence can but lower a minimum.

Check: root values of random APOMDPs as models are added one by one. Refutation: the same at alpha = 1/2, where another
model may also be a better best one.

Source: this form is ours; the recursion is after Saghafian, J. Econ. Theory 178, 2018.
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


STATED = ModelSetForm()


WRONG = {
    "alpha = 1/2": ModelSetForm(attitude=0.5),
    "alpha = 0": ModelSetForm(attitude=0.0),
    "never lowers": ModelSetForm(direction=-1.0),
    "makes no difference": ModelSetForm(equal=True),
}


def check(key: jax.Array, samples: int = 500, form: ModelSetForm = STATED) -> Claim:
    """The largest rise of the robust value as models are added one by one, over random APOMDPs.

    Args:
        key: random key.
        samples: number of APOMDPs; half of them rule out histories, each model its own.
        form: what is claimed.
    """
    rises, bounds = _measured(key, samples, form.attitude)
    largest = np.max(np.abs(rises) if form.equal else form.direction * rises)
    return exactly("adding models never raises the robust value", SOURCE, float(largest), 2 * float(np.max(bounds)))


@draws.once
def _measured(key: jax.Array, samples: int, attitude: float) -> tuple[np.ndarray, np.ndarray]:
    """Rises [samples, MODELS - 1] and what rounding may do [samples]."""
    density = jnp.where(jnp.arange(samples) % 2 == 0, 1.0, 0.6)
    rises, bounds = _measure(jax.random.split(key, samples), density, jnp.full(samples, attitude))
    return np.asarray(rises), np.asarray(bounds)


@jax.jit
def _measure(keys: jax.Array, densities: jax.Array, attitudes: jax.Array) -> tuple[jax.Array, jax.Array]:
    """`_measure_one` of each, a batch at a time, so that memory does not grow with the samples."""
    return jax.lax.map(lambda one: _measure_one(*one), (keys, densities, attitudes), batch_size=min(len(keys), 100))


def _measure_one(key: jax.Array, density: jax.Array, attitude: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Rises of the value from 1..M - 1 models to one more, [M - 1], and what rounding may do."""
    world = families.apomdp.independent(
        key, models=MODELS, states=3, actions=2, observations=2, density=density, discount=0.95
    )

    def solve(chosen: jax.Array) -> history_tree.AmbiguityPlan:
        members = jax.tree.map(lambda x: x[chosen], apomdp.members(world))
        return history_tree.plan(apomdp.make(members, attitude), HORIZON)

    # Model 0 stands again for those not added yet: a model listed twice is in the set once.
    models = jnp.arange(MODELS)
    plans = jax.vmap(solve)(jnp.where(models[None] <= models[:, None], models[None], 0))
    return jnp.diff(plans.root_value), jnp.max(plans.certificate.bound)
