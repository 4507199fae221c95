"""What a given policy is worth in a finite MDP, and where it goes.

Dimensions: `S` states, `A` actions, `H` steps. Guarantees as in `jaxdm.oracles.mdp.bellman`.

A policy that takes an action where it is not available is refused. Where values are traced and nothing can be refused,
it is worth -inf in every state, with the bound +inf.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxdm.envs.mdp import MDP, available, validate
from jaxdm.oracles.mdp.bellman import (
    backup_with_errors,
    certificate,
    contraction,
    discounted_bound,
    require_range,
    solve_linear,
    validate_discounted,
)
from jaxdm.types import Certificate
from jaxdm.validation import check_distribution, check_shape, is_concrete, positive_integer, require


class Evaluation(NamedTuple):
    """The value of a given policy and what is guaranteed of it."""

    value: jax.Array  # [S], or [H + 1, S]
    q: jax.Array  # [S, A], or [H, S, A]
    certificate: Certificate


def policy_evaluation(mdp: MDP, policy: jax.Array) -> Evaluation:
    """The discounted value of a stationary policy: `v = r_pi + gamma P_pi v`, solved directly.

    Args:
        mdp: discount < 1.
        policy: [S] action indices, or [S, A] probabilities.

    Returns:
        Evaluation; `q` is the Q-function of the policy.

    Raises:
        ValueError: discount 1, a bad MDP, or a policy of another shape or with an action that is not available.
    """
    validate_discounted(mdp)
    probabilities = action_probabilities(policy, mdp)
    allowed = _only_available(probabilities, mdp)
    kernel = jnp.einsum("sa,sat->st", probabilities, mdp.transition, precision=jax.lax.Precision.HIGHEST)
    value = solve_linear(kernel, _mean(probabilities, mdp.reward), mdp.discount)
    q, _, error = backup_with_errors(mdp, value)
    residual = jnp.abs(_mean(probabilities, q) - value)
    rounding = _mixing(probabilities) * jnp.sum(probabilities * error, axis=-1)
    bound = discounted_bound(jnp.max(residual + rounding), contraction(mdp))
    return _refused_unless(allowed, Evaluation(value=value, q=q, certificate=certificate(jnp.max(residual), bound, 1)))


def finite_policy_evaluation(mdp: MDP, policy: jax.Array, horizon: int) -> Evaluation:
    """The value of a policy over H steps: `Q_h = r + gamma P V_{h+1}`, `V_h = sum_a pi_h(a|s) Q_h(s,a)`, `V_H = 0`.

    Args:
        mdp: any discount in [0, 1].
        policy: [H, S] action indices or [H, S, A] probabilities; without the leading axis it is used at every step.
        horizon: H >= 1.

    Raises:
        ValueError: horizon < 1, a bad MDP, or a policy of another shape or with an action that is not available.
    """
    horizon = positive_integer("horizon", horizon)
    validate(mdp)
    check_shape("transition", mdp.transition, "S A S")
    check_shape("policy", policy, None)
    require_range(mdp.reward, horizon)
    states, actions = mdp.reward.shape
    stationary = policy.shape in ((states,), (states, actions))
    by_step = action_probabilities(policy, mdp)
    if stationary:
        by_step = jnp.broadcast_to(by_step, (horizon, states, actions))
    if by_step.shape != (horizon, states, actions):
        raise ValueError(f"policy: shape {policy.shape}; expected {(horizon, states)} or {(horizon, states, actions)}")
    allowed = _only_available(by_step, mdp)

    def step(carry: tuple, probabilities: jax.Array) -> tuple:
        value, error = carry
        q, _, entries = backup_with_errors(mdp, value, error)
        error = _mixing(probabilities) * jnp.sum(probabilities * entries, axis=-1)
        value = _mean(probabilities, q)
        return (value, error), (value, q, error)

    zero = jnp.zeros(states, mdp.reward.dtype)
    _, (value, q, error) = jax.lax.scan(step, (zero, zero), by_step, reverse=True)
    value = jnp.concatenate([value, zero[None]])
    return _refused_unless(
        allowed, Evaluation(value=value, q=q, certificate=certificate(zero[0], jnp.max(error), horizon))
    )


def reach_probabilities(mdp: MDP, policy: jax.Array, horizon: int) -> jax.Array:
    """The distribution of the state at each step: `d_0 = rho`, `d_{h+1}(s') = sum_{s,a} d_h(s) pi_h(a|s) P(s'|s,a)`.

    Args:
        mdp: any MDP.
        policy: as in `finite_policy_evaluation`.
        horizon: H >= 1.

    Returns:
        [H + 1, S] probabilities.

    Raises:
        ValueError: horizon < 1, a bad MDP, or a policy that does not fit it.
    """
    horizon = positive_integer("horizon", horizon)
    validate(mdp)
    check_shape("transition", mdp.transition, "S A S")
    probabilities = action_probabilities(policy, mdp)
    by_step = jnp.broadcast_to(probabilities, (horizon, *mdp.reward.shape))

    def step(reach: jax.Array, probabilities: jax.Array) -> tuple:
        joint = reach[:, None] * probabilities
        reach = jnp.einsum("sa,sat->t", joint, mdp.transition, precision=jax.lax.Precision.HIGHEST)
        return reach, reach

    _, later = jax.lax.scan(step, mdp.initial, by_step)
    return jnp.concatenate([mdp.initial[None], later])


def action_probabilities(policy: jax.Array, mdp: MDP) -> jax.Array:
    """A policy as probabilities [..., S, A], from those or from action indices [..., S].

    Raises:
        ValueError: the policy does not fit the MDP, names an action it has not, or is no probability distribution.
    """
    states, actions = mdp.reward.shape
    check_shape("policy", policy, None)
    if jnp.issubdtype(policy.dtype, jnp.integer):
        if policy.shape[-1:] != (states,):
            raise ValueError(f"policy: shape {policy.shape}; expected [..., {states}] action indices")
        if is_concrete(policy) and not bool(jnp.all((policy >= 0) & (policy < actions))):
            raise ValueError(f"policy: actions {jnp.unique(policy)}; expected 0..{actions - 1}")
        return jax.nn.one_hot(policy, actions, dtype=mdp.reward.dtype)
    if policy.shape[-2:] != (states, actions):
        raise ValueError(f"policy: shape {policy.shape}; expected [..., {states}, {actions}] probabilities")
    if is_concrete(policy):
        check_distribution("policy", policy)
    return policy.astype(mdp.reward.dtype)


def _only_available(probabilities: jax.Array, mdp: MDP) -> jax.Array:
    """Whether a policy [..., S, A] takes available actions alone, [] bool.

    Raises:
        ValueError: it does not, where values are concrete; names the first place.
    """
    allowed = (probabilities == 0) | jnp.broadcast_to(available(mdp), probabilities.shape)
    if is_concrete(allowed):
        require("policy", np.asarray(allowed), probabilities, "0 where the action is not available")
    return jnp.all(allowed)


def _refused_unless(allowed: jax.Array, found: Evaluation) -> Evaluation:
    """The same evaluation, or -inf without a guarantee."""
    refused = Evaluation(
        value=jnp.full_like(found.value, -jnp.inf),
        q=jnp.full_like(found.q, -jnp.inf),
        certificate=found.certificate._replace(bound=jnp.full_like(found.certificate.bound, jnp.inf)),
    )
    return jax.tree.map(lambda x, y: jnp.where(allowed, x, y), found, refused)


def _mean(probabilities: jax.Array, q: jax.Array) -> jax.Array:
    """`sum_a pi(a|s) q(s,a)`, [S], in which what is never done does not count, be it worth -inf."""
    return jnp.sum(jnp.where(probabilities > 0, probabilities * q, 0), axis=-1)


def _mixing(probabilities: jax.Array) -> jax.Array:
    """Room for the rounding of a sum over A actions and of the probabilities in it, relative to one backup's."""
    states, actions = probabilities.shape[-2:]
    return 1 + actions / (states + 8) + 2 * jnp.max(jnp.abs(jnp.sum(probabilities, axis=-1) - 1))
