"""One Bellman backup, and how far rounding can carry it: what every certificate is made of.

Dimensions: `S` states, `A` actions.

How a certificate is made. Let `v` be any vector and `q = r + gamma P v` its backup. Computed in floating point with
unit `eps`, and from parameters that are themselves rounded, `q` is off by at most
`delta = (S + 8) eps (|r| + gamma rho |v|)` in any order of summation, where `|.|` is the largest modulus and `rho`
the largest row sum of P (Higham, Accuracy and Stability of Numerical Algorithms, 2002, section 3.1). The exact backup
is a contraction with factor `gamma rho`, hence `|v - v*| <= (|max_a q - v| + delta) / (1 - gamma rho)`, and one more
backup contracts that by `gamma rho`. For a finite horizon the errors add up: `e_h = delta_h + gamma rho e_{h+1}`.
"""

import jax
import jax.numpy as jnp

from jaxdm.envs.mdp import MDP, validate
from jaxdm.types import Certificate
from jaxdm.validation import is_concrete


def backup(mdp: MDP, value: jax.Array) -> jax.Array:
    """`r(s,a) + gamma sum_{s'} P(s'|s,a) v(s')`, [S, A], at full precision on every device."""
    ahead = jnp.einsum("sat,t->sa", mdp.transition, value, precision=jax.lax.Precision.HIGHEST)
    return mdp.reward + mdp.discount * ahead


def rounding_error(mdp: MDP, value: jax.Array) -> jax.Array:
    """`delta` of this module's docstring: how far one computed backup of `value` can be from the exact one."""
    eps = jnp.finfo(mdp.reward.dtype).eps
    size = jnp.max(jnp.abs(mdp.reward)) + contraction(mdp) * jnp.max(jnp.abs(value))
    return (mdp.reward.shape[0] + 8) * eps * size


def contraction(mdp: MDP) -> jax.Array:
    """`gamma rho`: the factor by which an exact backup shrinks distances, with room for the rounding of P and gamma."""
    eps = jnp.finfo(mdp.reward.dtype).eps
    widest = jnp.max(jnp.sum(mdp.transition, axis=-1)) * (1 + mdp.reward.shape[0] * eps)
    return mdp.discount * jnp.maximum(widest, 1)


def greedy(q: jax.Array, rounding: jax.Array, error: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The lowest action equal to the best up to rounding, and all that cannot be told from the best.

    Args:
        q: [S, A].
        rounding: [] error of one backup.
        error: [] certified error of `q`.

    Returns:
        Policy [S] int32, and ties [S, A] bool.
    """
    loss = jnp.max(q, axis=-1, keepdims=True) - q
    policy = jnp.argmax(loss <= 2 * rounding, axis=-1).astype(jnp.int32)
    return policy, loss <= 2 * error


def discounted_bound(residual: jax.Array, delta: jax.Array, factor: jax.Array) -> jax.Array:
    """`(residual + delta) / (1 - gamma rho)`; infinite where the backup is no contraction."""
    return jnp.where(factor < 1, (residual + delta) / jnp.maximum(1 - factor, 0), jnp.inf)


def certificate(residual: jax.Array, bound: jax.Array, iterations: jax.Array | int) -> Certificate:
    """A `Certificate` with the number of backups or rounds behind it."""
    return Certificate(residual=residual, bound=bound, iterations=jnp.asarray(iterations, jnp.int32))


def solve_linear(kernel: jax.Array, reward: jax.Array, discount: jax.Array) -> jax.Array:
    """The `v` with `v = reward + discount kernel v`, [S], by one LU factorisation."""
    return jnp.linalg.solve(jnp.eye(reward.shape[0], dtype=reward.dtype) - discount * kernel, reward[:, None])[:, 0]


def validate_discounted(mdp: MDP) -> None:
    """Check an MDP whose horizon is endless.

    Raises:
        ValueError: a bad MDP (see `jaxdm.envs.mdp.validate`), or discount 1.
    """
    validate(mdp)
    if is_concrete(mdp.discount) and not bool(jnp.all(mdp.discount < 1)):
        raise ValueError(f"discount: {mdp.discount}; expected a number below 1 for an endless horizon")
