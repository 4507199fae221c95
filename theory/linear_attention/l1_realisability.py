"""L1. In a linear MDP the optimal Q-values are linear in the features, `Q*_h(s,a) = <phi(s,a), w_h>`.

Assumptions and proof. With `r_h = <phi, theta_h>` and `P_h(s'|.) = <phi, mu_h(s')>` the Bellman equation reads `Q*_h =
<phi, theta_h> + sum_{s'} <phi, mu_h(s')> V*_{h+1}(s')`, which is `<phi, w_h>` with `w_h = theta_h + sum_{s'} mu_h(s')
V*_{h+1}(s')`. With `theta_h` in [0,1]^d and rows of `mu_h` that are probabilities each coordinate of `w_h` is at most
H, so `|w_h| <= H sqrt(d)`; the source's `2 H sqrt(d)` allows more general features.

Check: the weights of the proof against Q* by backward induction, in random linear MDPs. Refutation: kernels off the
linear family, where not even the best-fitting weights give Q*.

Source: classical: Jin, Yang, Wang, Jordan, COLT 2020.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxdm.analysis.claims import FAILS, Claim
from jaxdm.envs import linear_mdp
from jaxdm.oracles.mdp import planning
from theory.verdicts import exactly

SOURCE = "Jin, Yang, Wang, Jordan 2020"


SIZES = ((2, 5, 2, 3), (6, 20, 4, 10))
"""(d, S, A, H) of the random instances."""


ROUNDING = 4
"""Times the certificate of Q*: beside Q* itself, P, w and <phi, w> are sums of no more than S terms each."""


class RealisabilityForm(NamedTuple):
    """The stated `w_h = own theta_h + ahead sum mu_h V` with V of step `h + 1 - early`, and `|w| <= norm H sqrt(d)`."""

    own: float = 1.0
    ahead: float = 1.0
    early: float = 0.0
    norm: float = 2.0
    off: float = 0.0  # weight of a kernel outside the linear family; the claim is then made of the best-fitting weights


STATED = RealisabilityForm()


WRONG = {
    "kernels off the linear family, best-fitting weights": RealisabilityForm(off=0.1),
    "theta x 0.5": RealisabilityForm(own=0.5),
    "theta x 2": RealisabilityForm(own=2.0),
    "no next value": RealisabilityForm(ahead=0.0),
    "next value x 0.5": RealisabilityForm(ahead=0.5),
    "next value x 2": RealisabilityForm(ahead=2.0),
    "V_h for V_h+1": RealisabilityForm(early=1.0),
    "bound H sqrt(d) / 2": RealisabilityForm(norm=0.5),
}


class RealisabilityFit(NamedTuple):
    """How well weights reproduce Q* in one instance."""

    error: jax.Array  # [] max |Q* - <phi, w>| with the w of the theorem
    best_error: jax.Array  # [] the same with the least-squares w of every step
    norm_ratio: jax.Array  # [] max_h |w_h| / (2 H sqrt(d))
    rounding: jax.Array  # []


def fit(key: jax.Array, size: tuple[int, int, int, int], form: RealisabilityForm) -> RealisabilityFit:
    """Draw an instance, mix in a foreign kernel (from s to s + a + 1, modulo S), and compare Q* with `<phi, w>`."""
    dimension, states, actions, horizon = size
    linear = linear_mdp.random(key, states=states, actions=actions, dimension=dimension, horizon=horizon)
    stages = linear_mdp.tabular(linear)
    target = (jnp.arange(states)[:, None] + jnp.arange(actions)[None, :] + 1) % states
    foreign = jax.nn.one_hot(target, states, dtype=stages.transition.dtype)
    stages = stages._replace(transition=(1 - form.off) * stages.transition + form.off * foreign[None])
    plan = planning.backward_induction_staged(stages)
    sooner = jnp.concatenate([plan.value[:1], plan.value[:-1]])
    right = linear_mdp.weights(linear, (1 - form.early) * plan.value + form.early * sooner)
    w = form.own * linear.theta + form.ahead * (right - linear.theta)
    design, values = linear.features.reshape(-1, dimension), plan.q.reshape(horizon, -1).T
    best = jnp.linalg.lstsq(design, values)[0]
    return RealisabilityFit(
        error=jnp.max(jnp.abs(plan.q - jnp.einsum("sad,hd->hsa", linear.features, w))),
        best_error=jnp.max(jnp.abs(values - design @ best)),
        norm_ratio=jnp.max(jnp.linalg.norm(w, axis=-1)) / (form.norm * horizon * dimension**0.5),
        rounding=ROUNDING * plan.certificate.bound,
    )


@functools.partial(jax.jit, static_argnums=(1, 2))
def fits(key: jax.Array, size: tuple[int, int, int, int], samples: int, form: RealisabilityForm) -> RealisabilityFit:
    """`samples` instances of one size."""
    return jax.vmap(lambda key: fit(key, size, form))(jax.random.split(key, samples))


def _all_sizes(key: jax.Array, samples: int, form: RealisabilityForm) -> RealisabilityFit:
    each = -(-samples // len(SIZES))
    found = [fits(jax.random.fold_in(key, i), size, each, form) for i, size in enumerate(SIZES)]
    return jax.tree.map(lambda *parts: jnp.concatenate(parts), *found)


def check(key: jax.Array, samples: int = 200, form: RealisabilityForm = STATED) -> Claim:
    """The largest error over `samples` random linear MDPs is rounding, and no weight exceeds its bound.

    Of best-fitting weights the smallest error is reported: off the family there is one in every instance.
    """
    found = _all_sizes(key, samples, form)
    ratio = float(jnp.max(found.norm_ratio))
    statement = f"Q* of a linear MDP is linear in the features, with |w| <= 2 H sqrt(d) (largest share {ratio:.2f})"
    error = jnp.min(found.best_error) if form.off else jnp.max(found.error)
    claim = exactly(statement, SOURCE, float(error), float(jnp.max(found.rounding)))
    return claim if ratio <= 1 else claim._replace(verdict=FAILS)
