"""Finite-horizon MDPs whose rewards and transition kernels are linear in known features.

Dimensions: `S` states, `A` actions, `H` steps, `d` features.

`r_h(s,a) = <phi(s,a), theta_h>` and `P_h(s'|s,a) = <phi(s,a), mu_h(s')>`. Features lie on the simplex and each of the d
rows of `mu_h` is a distribution over states, so that every kernel is a mixture of d distributions and every such
record is an MDP.

Reference: Jin, Yang, Wang, Jordan, Provably efficient reinforcement learning with linear function approximation, 2020.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxdm import random as randomness
from jaxdm.envs.mdp import MDP
from jaxdm.validation import check_distribution, check_shape, check_sizes, float_type, is_concrete, record


class LinearMDP(NamedTuple):
    """A linear MDP over H steps, undiscounted."""

    features: jax.Array  # [S, A, d] phi, rows on the simplex
    theta: jax.Array  # [H, d]
    mu: jax.Array  # [H, d, S] rows are distributions
    initial: jax.Array  # [S]


def random(
    key: jax.Array,
    *,
    states: int,
    actions: int,
    dimension: int,
    horizon: int,
    dtype: Any = None,
) -> LinearMDP:
    """A random linear MDP: `phi(s,a)` and the rows of `mu_h` uniform on the simplex, `theta_h ~ U[0,1]^d`.

    Args:
        key: random key.
        states: S.
        actions: A.
        dimension: d.
        horizon: H.
        dtype: float type; that of jax when left out.

    Raises:
        ValueError: as `validate`.
    """
    check_sizes(states=states, actions=actions, dimension=dimension, horizon=horizon)
    key_features, key_theta, key_mu = randomness.split(key, 3)
    dtype = float_type(dtype)
    linear = LinearMDP(
        features=_uniform_distributions(key_features, (states, actions, dimension), dtype),
        theta=randomness.uniform(key_theta, (horizon, dimension), dtype),
        mu=_uniform_distributions(key_mu, (horizon, dimension, states), dtype),
        initial=jnp.full((states,), 1 / states, dtype),
    )
    validate(linear)
    return linear


def _uniform_distributions(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """Uniform on the simplex along the last axis: normalised exponentials."""
    exponential = -jnp.log1p(-randomness.uniform(key, shape, dtype))
    return exponential / jnp.sum(exponential, axis=-1, keepdims=True)


def tabular(linear: LinearMDP) -> MDP:
    """The same problem as one MDP per step, for `jaxdm.oracles.planning.backward_induction_staged`.

    Returns:
        MDP whose fields all have a leading axis [H]; the discount is 1.
    """
    horizon = linear.theta.shape[0]
    highest = jax.lax.Precision.HIGHEST
    return MDP(
        transition=jnp.einsum("sad,hdt->hsat", linear.features, linear.mu, precision=highest),
        reward=jnp.einsum("sad,hd->hsa", linear.features, linear.theta, precision=highest),
        initial=jnp.broadcast_to(linear.initial, (horizon, *linear.initial.shape)),
        discount=jnp.ones(horizon, linear.theta.dtype),
    )


def weights(linear: LinearMDP, value: jax.Array) -> jax.Array:
    """The `w_h = theta_h + sum_{s'} mu_h(s') V_{h+1}(s')` with `Q_h(s,a) = <phi(s,a), w_h>`.

    Args:
        linear: the linear MDP.
        value: [H + 1, S] values of any policy, e.g. `plan.value` of the tabular view.

    Returns:
        [H, d].

    Reference: Jin et al. 2020, proposition 2.3.
    """
    ahead = jnp.einsum("hdt,ht->hd", linear.mu, value[1:], precision=jax.lax.Precision.HIGHEST)
    return linear.theta + ahead


def validate(linear: LinearMDP) -> None:
    """Check a linear MDP, or a batch of them with the same leading axes on every field.

    Shapes are checked always, values only where they are not traced.

    Raises:
        ValueError: names the field, the value found and what was expected: wrong or empty shapes, a number that is not
            finite, features off the simplex, a row of `mu` or an initial distribution that is no distribution.
    """
    record("linear", linear, LinearMDP)
    check_shape("features", linear.features, "... S A d")
    check_shape("theta", linear.theta, "... H d")
    shape = linear.features.shape
    batch, states, dimension = shape[:-3], shape[-3], shape[-1]
    if linear.theta.ndim != len(batch) + 2 or linear.theta.shape[-2] == 0:
        raise ValueError(f"theta: shape {linear.theta.shape}; expected [H, d] with H >= 1 beside features {shape}")
    horizon = linear.theta.shape[-2]
    expected = {"theta": (horizon, dimension), "mu": (horizon, dimension, states), "initial": (states,)}
    for name, tail in expected.items():
        found = getattr(linear, name).shape
        if found != batch + tail:
            raise ValueError(f"{name}: shape {found}; expected {batch + tail} beside features {shape}")
    if not is_concrete(linear):
        return
    for name in ("features", "mu", "initial"):
        check_distribution(name, getattr(linear, name))
    theta = np.asarray(linear.theta)
    if not np.isfinite(theta).all():
        raise ValueError(f"theta: {theta[~np.isfinite(theta)][0]}; expected finite numbers")
