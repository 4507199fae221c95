"""P1. A POMDP's value over a finite horizon is the largest of finitely many planes, so piecewise linear and convex.

Statement. `V_h(b) = max_alpha b . alpha`, one alpha for each plan of actions by what is seen, of which there are
`A^(1 + O + ... + O^(h-1))`.

Proof. What a plan earns from belief b is `b . alpha`, linear in b; the optimal value is the largest over plans. The
gradient of V at a belief is the alpha that is best there; so at any two beliefs `V(c) >= c . grad V(b)`, and no more
gradients exist than plans.

Check: that inequality at random beliefs of random POMDPs, and the number of different gradients. Refutation: the same
of the value of the worst plan, which is the smallest of the same planes. Planes below these, `grad V(b) / 2` for
rewards that are not negative, satisfy the inequality too, and are not among the wrong versions.

Source: classical: Smallwood, Sondik, Operations Research 21, 1973; Sondik, Operations Research 26, 1978.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxdm.analysis.claims import Claim
from jaxdm.envs import families
from jaxdm.oracles.pomdp.history_tree import tree_value
from theory.verdicts import exactly

STATES, ACTIONS, OBSERVATIONS, HORIZON = 3, 2, 2, 3


PLANS = ACTIONS ** sum(OBSERVATIONS**t for t in range(HORIZON))


BELIEFS = 4 * PLANS


STATEMENT = "a POMDP's finite-horizon value lies on or above each plane that touches it, and there are finitely many"


class ConvexityForm(NamedTuple):
    """Of which value it is stated, and that `V(c) >= scale c . grad V(b)` for gradients of which there are so many."""

    sign: float = 1.0  # -1 for the value of the worst plan
    scale: float = 1.0
    plans: float = PLANS  # the largest number of planes
    linear: bool = False  # whether the planes are said to be one, `V(c) = c . grad V(b)`


STATED = ConvexityForm()


WRONG = {
    "the worst plan's value": ConvexityForm(sign=-1.0),
    "planes x 2": ConvexityForm(scale=2.0),
    "planes x 1.01": ConvexityForm(scale=1.01),
    "no more planes than actions": ConvexityForm(plans=ACTIONS),
    "one plane, V linear": ConvexityForm(linear=True),
}


def check(key: jax.Array, samples: int = 12, form: ConvexityForm = STATED) -> Claim:
    """The largest height of a plane above the value that it touches, over random POMDPs and beliefs.

    Args:
        key: random key.
        samples: POMDPs.
        form: what is claimed.
    """
    above, planes, rounding = _over_worlds(jax.random.split(key, samples), form)
    error = float(jnp.max(above)) if int(jnp.max(planes)) <= form.plans else float("inf")
    return exactly(STATEMENT, "Smallwood and Sondik 1973", error, float(jnp.max(rounding)))


@jax.jit
def _over_worlds(keys: jax.Array, form: ConvexityForm) -> tuple[jax.Array, jax.Array, jax.Array]:
    return jax.lax.map(lambda key: _planes(key, form), keys)


def _planes(key: jax.Array, form: ConvexityForm) -> tuple[jax.Array, jax.Array, jax.Array]:
    """How far any plane rises above the value, how many planes there are, and what rounding explains.

    With sign -1, the worst plan's: `min_plan = -max_plan` of the negated rewards.
    """
    key_world, key_belief = jax.random.split(key)
    world = families.pomdp.dense(key_world, states=STATES, actions=ACTIONS, observations=OBSERVATIONS)
    world = world._replace(reward=form.sign * world.reward)
    beliefs = jax.nn.softmax(jnp.log(jax.random.exponential(key_belief, (BELIEFS, STATES))))  # uniform
    (value, error), gradient = jax.vmap(lambda b: _value_and_gradient(world, b))(beliefs)
    height = jnp.einsum("cs,bs->cb", beliefs, gradient, precision=jax.lax.Precision.HIGHEST)
    # The sum of a plane's entries, in a direction that no two planes share, tells them apart.
    name = jnp.sort(gradient @ jnp.sqrt(jnp.arange(2.0, STATES + 2)))
    different = 1 + jnp.sum(jnp.diff(name) > 1e-9)
    above = form.sign * (form.scale * height - value[:, None])
    return jnp.max(jnp.where(form.linear, jnp.abs(above), above)), different, 4 * jnp.max(error)


def _value_and_gradient(world: families.pomdp.POMDP, belief: jax.Array) -> tuple:
    return jax.value_and_grad(lambda b: tree_value(world, HORIZON, b), has_aux=True)(belief)
