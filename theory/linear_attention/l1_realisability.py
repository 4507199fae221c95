"""L1: in a linear MDP the optimal Q-values are linear in the features, `Q*_h(s,a) = <phi(s,a), w_h>`.

With `r_h = <phi, theta_h>` and `P_h(s'|.) = <phi, mu_h(s')>` the Bellman equation reads
`Q*_h = <phi, theta_h> + sum_{s'} <phi, mu_h(s')> V*_{h+1}(s')`, which is `<phi, w_h>` with
`w_h = theta_h + sum_{s'} mu_h(s') V*_{h+1}(s')`. With `theta_h` in [0,1]^d and rows of `mu_h` that are laws each
coordinate of `w_h` is at most H, so `|w_h| <= H sqrt(d)`; the source's `2 H sqrt(d)` allows more general features.

Refuted by kernels off the linear family: there not even the best-fitting weights give Q*.

Reference: Jin, Yang, Wang, Jordan, Provably efficient reinforcement learning with linear function approximation, 2020.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxdm.analysis.claims import FAILS, Claim, exactly
from jaxdm.envs import linear_mdp
from jaxdm.oracles.mdp import planning

SOURCE = "Jin, Yang, Wang, Jordan 2020"


SIZES = ((2, 5, 2, 3), (6, 20, 4, 10))
"""(d, S, A, H) of the random instances."""


OFF = 0.1
"""Weight in `refute` of a kernel outside the linear family: action a moves from s to s + a + 1, modulo S."""


ROUNDING = 4
"""Times the certificate of Q*: beside Q* itself, P, w and <phi, w> are sums of no more than S terms each."""


class Weights(NamedTuple):
    """The stated `w_h = own theta_h + ahead sum mu_h V` with V of step `h + 1 - early`, and `|w| <= norm H sqrt(d)`."""

    own: float = 1.0
    ahead: float = 1.0
    early: float = 0.0
    norm: float = 2.0


STATED = Weights()


WRONG = {
    "theta x 0.5": Weights(own=0.5),
    "theta x 2": Weights(own=2.0),
    "no next value": Weights(ahead=0.0),
    "next value x 0.5": Weights(ahead=0.5),
    "next value x 2": Weights(ahead=2.0),
    "V_h for V_h+1": Weights(early=1.0),
    "bound H sqrt(d) / 2": Weights(norm=0.5),
}


class Fit(NamedTuple):
    """How well weights reproduce Q* in one instance."""

    error: jax.Array  # [] max |Q* - <phi, w>| with the w of the theorem
    best_error: jax.Array  # [] the same with the least-squares w of every step
    norm_ratio: jax.Array  # [] max_h |w_h| / (2 H sqrt(d))
    rounding: jax.Array  # []


def fit(key: jax.Array, size: tuple[int, int, int, int], off: jax.Array, form: Weights) -> Fit:
    """Draw an instance, move its kernels off the family by `off`, and compare Q* with what weights give."""
    dimension, states, actions, horizon = size
    linear = linear_mdp.random(key, states=states, actions=actions, dimension=dimension, horizon=horizon)
    stages = linear_mdp.tabular(linear)
    target = (jnp.arange(states)[:, None] + jnp.arange(actions)[None, :] + 1) % states
    foreign = jax.nn.one_hot(target, states, dtype=stages.transition.dtype)
    stages = stages._replace(transition=(1 - off) * stages.transition + off * foreign[None])
    plan = planning.backward_induction_staged(stages)
    sooner = jnp.concatenate([plan.value[:1], plan.value[:-1]])
    right = linear_mdp.weights(linear, (1 - form.early) * plan.value + form.early * sooner)
    w = form.own * linear.theta + form.ahead * (right - linear.theta)
    design, values = linear.features.reshape(-1, dimension), plan.q.reshape(horizon, -1).T
    best = jnp.linalg.lstsq(design, values)[0]
    return Fit(
        error=jnp.max(jnp.abs(plan.q - jnp.einsum("sad,hd->hsa", linear.features, w))),
        best_error=jnp.max(jnp.abs(values - design @ best)),
        norm_ratio=jnp.max(jnp.linalg.norm(w, axis=-1)) / (form.norm * horizon * dimension**0.5),
        rounding=ROUNDING * plan.certificate.bound,
    )


@functools.partial(jax.jit, static_argnums=(1, 3))
def fits(key: jax.Array, size: tuple[int, int, int, int], off: jax.Array, samples: int, form: Weights) -> Fit:
    """`samples` instances of one size."""
    return jax.vmap(lambda key: fit(key, size, off, form))(jax.random.split(key, samples))


def _all_sizes(key: jax.Array, off: float, samples: int, form: Weights = STATED) -> Fit:
    each = -(-samples // len(SIZES))
    found = [fits(jax.random.fold_in(key, i), size, jnp.asarray(off), each, form) for i, size in enumerate(SIZES)]
    return jax.tree.map(lambda *parts: jnp.concatenate(parts), *found)


def check(key: jax.Array, samples: int = 200, form: Weights = STATED) -> Claim:
    """The largest error over `samples` random linear MDPs is rounding, and no weight exceeds its bound."""
    found = _all_sizes(key, 0.0, samples, form)
    ratio = float(jnp.max(found.norm_ratio))
    statement = f"Q* of a linear MDP is linear in the features, with |w| <= 2 H sqrt(d) (largest share {ratio:.2f})"
    claim = exactly("L1", statement, SOURCE, float(jnp.max(found.error)), float(jnp.max(found.rounding)))
    return claim if ratio <= 1 else claim._replace(verdict=FAILS)


def refute(key: jax.Array, samples: int = 200) -> Claim:
    """Off the linear family even the best weights leave an error, in every instance: the smallest is reported."""
    found = _all_sizes(key, OFF, samples)
    statement = "Q* is linear in features that do not generate the kernel"
    return exactly("L1", statement, SOURCE, float(jnp.min(found.best_error)), float(jnp.max(found.rounding)))
