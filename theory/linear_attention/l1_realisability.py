"""L1. In a linear MDP the optimal Q-values are linear in the features, `Q*_h(s,a) = <phi(s,a), w_h>`.

Statement. With `w_h = theta_h + sum_{s'} mu_h(s') V*_{h+1}(s')`: `Q*_h(s,a) = <phi(s,a), w_h>` for every step, state
and action, and `|w_h| <= H sqrt(d)`, attained.

Assumptions. `r_h(s,a) = <phi(s,a), theta_h>` and `P_h(s'|s,a) = <phi(s,a), mu_h(s')>`; here features on the simplex,
`theta_h` in [0,1]^d, and each of the d rows of `mu_h` a distribution over states.

Proof. The Bellman equation reads `Q*_h = <phi, theta_h> + sum_{s'} <phi, mu_h(s')> V*_{h+1}(s') = <phi, w_h>`. Under
these assumptions each coordinate of `w_h` is at most H, so `|w_h| <= H sqrt(d)`, with equality at the first step where
every coordinate of theta is one. (The source's `2 H sqrt(d)` allows more general features.)

Check. In random linear MDPs, the first of each size with every theta one, the weights are made from the library's
values, and Q* by a twin in plain numpy that shares nothing with them. The library's values are also no smaller, in any
state and step, than the twin's values of random policies.

Refutation. Kernels off the linear family, where not even the best-fitting weights give Q*.

Source. Classical: Jin, Yang, Wang, Jordan, COLT 2020, proposition 2.3 and lemma B.1.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxdm.analysis.claims import FAILS, Claim
from jaxdm.envs import linear_mdp
from jaxdm.envs.linear_mdp import LinearMDP
from jaxdm.envs.mdp import MDP
from jaxdm.oracles.mdp import planning
from theory import draws
from theory.verdicts import exactly

SOURCE = "Jin, Yang, Wang, Jordan 2020"


SIZES = ((2, 5, 2, 3), (6, 20, 4, 10))
"""(d, S, A, H) of the random instances."""


CHUNK = 1000
"""Instances of one size at once."""


ROUNDING = 4
"""Times the certificate of Q*: beside Q* itself, P, w and <phi, w> are sums of no more than S terms each."""


class RealisabilityForm(NamedTuple):
    """The stated `w_h = own theta_h + ahead sum mu_h V` with V of step `h + 1 - early`, `|w_h| <= norm H sqrt(d)`."""

    own: float = 1.0
    ahead: float = 1.0
    early: float = 0.0
    norm: float = 1.0
    maximum: float = 1.0  # weight of the maximum over actions in V, against their mean
    off: float = 0.0  # weight of a kernel outside the linear family; the claim is then made of the best-fitting weights


STATED = RealisabilityForm()


WRONG = {
    "kernels off the linear family, best-fitting weights": RealisabilityForm(off=0.1),
    "mean over actions for the maximum": RealisabilityForm(maximum=0.0),
    "theta x 0.5": RealisabilityForm(own=0.5),
    "theta x 2": RealisabilityForm(own=2.0),
    "no next value": RealisabilityForm(ahead=0.0),
    "next value x 0.5": RealisabilityForm(ahead=0.5),
    "next value x 2": RealisabilityForm(ahead=2.0),
    "V_h for V_h+1": RealisabilityForm(early=1.0),
    "bound on |w| x 0.9": RealisabilityForm(norm=0.9),
}


class RealisabilityFit(NamedTuple):
    """How well weights reproduce Q* in n instances."""

    error: np.ndarray  # [n] max |Q* - <phi, w>| with the w of the theorem
    best_error: np.ndarray  # [n] the same with the least-squares w of every step, where the claim is of these
    beaten: np.ndarray  # [n] max V^pi - V* over random policies, steps and states
    norm_ratio: np.ndarray  # [n] max_h |w_h| / (norm H sqrt(d))
    rounding: np.ndarray  # [n]


@functools.partial(jax.jit, static_argnums=(1, 2))
def instances(
    key: jax.Array, size: tuple[int, int, int, int], count: int, off: float
) -> tuple[LinearMDP, MDP, planning.Plan]:
    """Linear MDPs, random but for the first's theta; stages with a kernel from s to s + a + 1 mixed in; plans."""
    dimension, states, actions, horizon = size

    def one(key: jax.Array, first: jax.Array) -> tuple[LinearMDP, MDP, planning.Plan]:
        linear = linear_mdp.random(key, states=states, actions=actions, dimension=dimension, horizon=horizon)
        linear = linear._replace(theta=jnp.where(first, 1, linear.theta))
        stages = linear_mdp.tabular(linear)
        target = (jnp.arange(states)[:, None] + jnp.arange(actions)[None, :] + 1) % states
        foreign = jax.nn.one_hot(target, states, dtype=stages.transition.dtype)
        stages = stages._replace(transition=(1 - off) * stages.transition + off * foreign[None])
        return linear, stages, planning.backward_induction_staged(stages)

    return jax.vmap(one)(jax.random.split(key, count), (jnp.arange(count) == 0) & (off == 0))


def backward(kernel: np.ndarray, reward: np.ndarray, policy: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """The twin: `Q_h = r_h + P_h V_{h+1}` with `V_h = max_a Q_h`, or the mean under a policy.

    Args:
        kernel: [n, H, S, A, S].
        reward: [n, H, S, A].
        policy: [n, H, S, A] probabilities; the greedy ones when None.

    Returns:
        Q [n, H, S, A] and V [n, H, S].
    """
    q, value = np.empty_like(reward), np.empty(reward.shape[:-1])
    ahead = np.zeros(reward.shape[:1] + reward.shape[2:3])
    for h in reversed(range(reward.shape[1])):
        q[:, h] = reward[:, h] + np.einsum("nsat,nt->nsa", kernel[:, h], ahead)
        ahead = q[:, h].max(axis=-1) if policy is None else (policy[:, h] * q[:, h]).sum(axis=-1)
        value[:, h] = ahead
    return q, value


def fit(size: tuple[int, int, int, int], form: RealisabilityForm, key: jax.Array, count: int) -> RealisabilityFit:
    """Compare Q* with `<phi, w>`, and V* with the values of random policies, in so many instances of one size."""
    dimension, _, _, horizon = size
    key_instances, key_policy = draws.keys(key)
    linear, stages, plan = jax.tree.map(np.asarray, instances(key_instances, size, count, form.off))
    chance = np.asarray(draws.uniform(key_policy, plan.q.shape)) ** 4
    random_policy = chance / chance.sum(axis=-1, keepdims=True)
    kernel = np.einsum("nsad,nhdt->nhsat", linear.features, linear.mu)
    q, _ = backward(stages.transition if form.off else kernel, stages.reward, None)
    _, followed = backward(stages.transition, stages.reward, random_policy)
    ends = np.zeros_like(plan.value[:, :1])
    value = form.maximum * plan.value + (1 - form.maximum) * np.append(plan.q.mean(axis=-1), ends, axis=1)
    value = (1 - form.early) * value + form.early * np.concatenate([value[:, :1], value[:, :-1]], axis=1)
    ahead = np.asarray(_weights(linear, value)) - linear.theta
    w = form.own * linear.theta + form.ahead * ahead
    return RealisabilityFit(
        error=np.abs(q - np.einsum("nsad,nhd->nhsa", linear.features, w)).max(axis=(1, 2, 3)),
        best_error=least_squares_error(linear.features, q) if form.off else np.zeros(count),
        beaten=(followed - plan.value[:, :-1]).max(axis=(1, 2)),
        norm_ratio=np.linalg.norm(w, axis=-1).max(axis=1) / (form.norm * horizon * dimension**0.5),
        rounding=ROUNDING * plan.certificate.bound,
    )


def least_squares_error(features: np.ndarray, q: np.ndarray) -> np.ndarray:
    """`max |Q* - <phi, w>|` with the best-fitting w of every step, [n]; features [n, S, A, d], Q* [n, H, S, A]."""
    count, dimension = len(q), features.shape[-1]
    design, values = features.reshape(count, -1, dimension), q.reshape(count, q.shape[1], -1).swapaxes(1, 2)
    return np.abs(values - design @ (np.linalg.pinv(design) @ values)).max(axis=(1, 2))


_weights = jax.jit(jax.vmap(linear_mdp.weights))


def check(key: jax.Array, samples: int = 200, form: RealisabilityForm = STATED) -> Claim:
    """The largest error over random linear MDPs is rounding, no policy earns more than V*, no weight exceeds its bound.

    Of best-fitting weights the smallest error is reported: off the family there is one in every instance.

    Args:
        key: random key.
        samples: linear MDPs.
        form: what is claimed.
    """
    each = -(-samples // len(SIZES))
    found = [
        draws.in_chunks(functools.partial(fit, size, form), jax.random.fold_in(key, i), each, CHUNK)
        for i, size in enumerate(SIZES)
    ]
    found = jax.tree.map(lambda *parts: np.concatenate(parts), *found)
    ratio, rounding = float(found.norm_ratio.max()), float(found.rounding.max())
    statement = f"Q* of a linear MDP is linear in the features, with `|w| <= H sqrt(d)` (largest share {ratio:.2f})"
    error = found.best_error.min() if form.off else found.error.max()
    claim = exactly(statement, SOURCE, float(error), rounding)
    return claim if ratio <= 1 + rounding and found.beaten.max() <= rounding else claim._replace(verdict=FAILS)
