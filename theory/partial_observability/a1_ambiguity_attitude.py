"""A1. The value of an ambiguous POMDP falls as the weight on the worst model grows.

Statement. After Saghafian, whoever stands at history h weighs the worst model by alpha and the best by 1 - alpha. For
every history h, `V^alpha(h)` is non-increasing in alpha; so `V^1(h) <= V^alpha(h) <= V^0(h)`, between the robust and
the optimistic value.

Proof. By induction from the last step. `alpha min_m G_m + (1 - alpha) max_m G_m = max_m G_m - alpha (max_m G_m -
min_m G_m)` is non-increasing in alpha for fixed G, and non-decreasing in each G_m. G_m is non-decreasing in the values
ahead, which are non-increasing in alpha by assumption; the maximum over actions keeps this.

Check: values after every history of random APOMDPs, at six attitudes. Refutation: that the value lies between the
smallest and the largest optimal value of the single models: a model that is picked anew after every step can be worse,
or better, than any model that stays.

Source: this form is ours; the recursion is after Saghafian, J. Econ. Theory 178, 2018.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxdm.analysis.claims import Claim
from jaxdm.envs import apomdp, families
from jaxdm.oracles.apomdp import history_tree
from theory import draws
from theory.verdicts import exactly

SOURCE = "ours, after Saghafian 2018"


MODELS, HORIZON = 3, 3


ATTITUDES = (0.0, 0.1, 0.3, 0.5, 0.8, 1.0)


STATED = "the value after every history is non-increasing in the attitude alpha"


WRONG = {
    "between the optimal values of the single models": "the value lies between the optimal values of the single models",
    "non-decreasing": "the value is non-decreasing in alpha",
    "constant": "the value does not depend on alpha",
    "linear": "the value is linear in alpha",
}
"""The statements; `_measure_one` returns by how much each is violated."""


def check(key: jax.Array, samples: int = 500, form: str = STATED) -> Claim:
    """The largest rise of any history's value from one attitude to the next, over random APOMDPs.

    Args:
        key: random key.
        samples: number of APOMDPs; half of them rule out histories, each model its own.
        form: what is claimed.
    """
    violations, bounds = _measured(key, samples)
    return exactly(form, SOURCE, float(np.max(violations[form])), 2 * float(np.max(bounds)))


@draws.once
def _measured(key: jax.Array, samples: int) -> tuple[dict[str, jax.Array], jax.Array]:
    return _measure(jax.random.split(key, samples), jnp.where(jnp.arange(samples) % 2 == 0, 1.0, 0.6))


@jax.jit
def _measure(keys: jax.Array, densities: jax.Array) -> tuple[dict[str, jax.Array], jax.Array]:
    """`_measure_one` of each, a batch at a time, so that memory does not grow with the samples."""
    return jax.lax.map(lambda one: _measure_one(*one), (keys, densities), batch_size=min(len(keys), 100))


def _measure_one(key: jax.Array, density: jax.Array) -> tuple[dict[str, jax.Array], jax.Array]:
    """By how much one APOMDP's values violate each statement, and what rounding may do."""
    world = families.apomdp.independent(
        key, models=MODELS, states=3, actions=2, observations=2, density=density, discount=0.95
    )

    def solve(attitude: jax.Array, chosen: jax.Array) -> history_tree.AmbiguityPlan:
        members = jax.tree.map(lambda x: x[chosen], apomdp.members(world))
        return history_tree.plan(apomdp.make(members, attitude), HORIZON)

    # All models at every attitude; then copies of one model, which are that model.
    everyone = jnp.broadcast_to(jnp.arange(MODELS), (len(ATTITUDES), MODELS))
    alone = jnp.broadcast_to(jnp.arange(MODELS)[:, None], (MODELS, MODELS))
    attitudes = jnp.asarray([*ATTITUDES, *(0.5 for _ in range(MODELS))], world.reward.dtype)
    plans = jax.vmap(solve)(attitudes, jnp.concatenate([everyone, alone]))
    root, single = jnp.split(plans.root_value, [len(ATTITUDES)])
    steps = jnp.diff(plans.value[: len(ATTITUDES)], axis=0)
    attitude = jnp.asarray(ATTITUDES, root.dtype)
    violations = {
        STATED: jnp.maximum(jnp.max(steps), jnp.max(jnp.diff(root))),
        WRONG["between the optimal values of the single models"]: jnp.max(
            jnp.maximum(jnp.min(single) - root, root - jnp.max(single))
        ),
        WRONG["non-decreasing"]: jnp.max(-steps),
        WRONG["constant"]: jnp.max(jnp.abs(steps)),
        WRONG["linear"]: jnp.max(jnp.abs(root - (1 - attitude) * root[0] - attitude * root[-1])),
    }
    return violations, jnp.max(plans.certificate.bound)
