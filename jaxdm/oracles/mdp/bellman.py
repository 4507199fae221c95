"""One Bellman backup, and how far rounding can carry it: what every certificate is made of.

Dimensions: `S` states, `A` actions.

Every entry has its own bound, so that one large penalty does not blur decisions elsewhere. Let `v` be any vector and
`q = r + gamma P v` its backup. Computed in floating point with unit `eps` and smallest normal number `tiny`, and from
parameters that are themselves rounded, `q(s,a)` is off by at most

    delta(s,a) = (S + 8) (eps (|r(s,a)| + gamma sum_s' P(s'|s,a) |v(s')|) + tiny)

in any order of summation (Higham, Accuracy and Stability of Numerical Algorithms, 2002, section 3.1). Where every
`q(s,a)` is known to `e(s,a)`, the largest is known to

    max_a (e(s,a) - loss(s,a)),   loss(s,a) = max_b q(s,b) - q(s,a),

since an action that is far from the best cannot be it, however little is known of it.

Planners first find bounds that cost no product with P, from `P|v| <= |P v| + rho m` where `m = 2 min(max v^+, max v^-)`
is zero if values have one sign, and sharper ones only where a decision is open.

For a finite horizon errors add up: `e_h(s,a) = delta_h(s,a) + gamma sum_s' P(s'|s,a) e_{h+1}(s')`. For an endless one,
with `rho` the largest row sum of P, the exact backup T is a contraction with factor `gamma rho`, hence
`|v - v*| <= max_s (|T v - v| + its error) / (1 - gamma rho)` in every state. What all states' errors have in common,
most of that bound near discount 1, decides between no actions: `planning._by_differences` compares them without it.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxdm.envs.mdp import MDP, available, validate
from jaxdm.numerics import ArrayOf, array_namespace
from jaxdm.types import Certificate
from jaxdm.validation import check_shape, is_concrete


class Backup(NamedTuple):
    """A computed backup, and what is known of its errors."""

    q: jax.Array  # [S, A]
    rounding: jax.Array  # [S, A] what rounding alone does to an entry, as seen from its own size
    error: jax.Array  # [S, A] delta(s,a), and what the error of the values ahead adds


def backup(mdp: MDP, value: jax.Array) -> jax.Array:
    """`r(s,a) + gamma sum_{s'} P(s'|s,a) v(s')`, [S, A], at full precision on every device."""
    return mdp.reward + mdp.discount * _ahead(mdp, value)


def errors(mdp: MDP, value: jax.Array, behind: jax.Array | float = 0.0) -> jax.Array:
    """`delta(s,a) + gamma sum_s' P(s'|s,a) e(s')` of this module's docstring, [S, A]; a product with P.

    Args:
        mdp: the world.
        value: [S] what is backed up.
        behind: [S] how far it may be from the truth.
    """
    kind, slack = jnp.finfo(mdp.reward.dtype), mdp.reward.shape[0] + 8
    open_ = available(mdp)
    unsure = slack * kind.eps * jnp.abs(value) + (1 + slack * kind.eps) * behind
    own = slack * (kind.eps * jnp.where(open_, jnp.abs(mdp.reward), 0) + 2 * kind.tiny)
    error = own + (1 + slack * kind.eps) * mdp.discount * _ahead(mdp, unsure)
    error = jnp.where(jnp.all(jnp.isfinite(unsure)), error, jnp.inf)
    return jnp.where(open_, error, 0)


def backup_with_errors(mdp: MDP, value: jax.Array, behind: jax.Array | float = 0.0) -> Backup:
    """A backup, what rounding does to each entry of it, and the bounds of `errors`.

    Two products with a vector are 2 times faster on a CPU than one with two columns (S = 200; `python -m
    experiments.speed.tricks`).

    Args:
        mdp: the world.
        value: [S] what is backed up.
        behind: [S] how far it may be from the truth.
    """
    q = backup(mdp, value)
    return Backup(q=q, rounding=unit_of(mdp) * size_of(mdp.reward, q), error=errors(mdp, value, behind))


def unit_of(mdp: MDP) -> float:
    """`(S + 8) eps`, of an MDP without further axes."""
    return (mdp.reward.shape[0] + 8) * float(jnp.finfo(mdp.reward.dtype).eps)


def row_excess(transition: jax.Array) -> jax.Array:
    """`sum_s' P(s'|s,a) - 1`, [S, A], to `(S + 8) S eps^2`: a probability is a multiple of 2 eps and a rest below eps.

    Multiples have exact sums, in any order; sums whose rounding is summed as well (TwoSum) take 3 times as long on a
    CPU (S = 200, A = 5, float32).
    """
    grid = 2 * float(jnp.finfo(transition.dtype).eps)
    multiple = jnp.round(transition / grid) * grid
    return (jnp.sum(multiple, axis=-1) - 1) + jnp.sum(transition - multiple, axis=-1)


def size_of(reward: jax.Array, q: jax.Array) -> jax.Array:
    """`|r| + |gamma P v|` of a backup `q = r + gamma P v` of the same shape; zero where an action is not available."""
    open_ = reward != -jnp.inf
    reward = jnp.where(open_, reward, 0)
    return jnp.abs(reward) + jnp.abs(jnp.where(open_, q, 0) - reward)


def contraction(mdp: MDP) -> jax.Array:
    """`gamma rho`: the factor by which an exact backup shrinks distances, with room for the rounding of P and gamma."""
    eps = jnp.finfo(mdp.reward.dtype).eps
    widest = jnp.max(jnp.sum(mdp.transition, axis=-1)) * (1 + mdp.reward.shape[0] * eps)
    return mdp.discount * jnp.maximum(widest, 1)


def loss_of(q: ArrayOf, axis: int = -1) -> ArrayOf:
    """`max_b q(s,b) - q(s,a)`, [S, A]; zero for infinite entries beside an infinite maximum.

    Args:
        q: [S, A], of numpy or of jax.
        axis: that of the actions, here and below. Planners keep it before that of the states, [A, S]: what is done for
            every entry then takes a third of the time on a CPU, since few actions make short loops.
    """
    xp = array_namespace(q)
    best = xp.max(q, axis=axis, keepdims=True)
    same = q == best
    return xp.where(same, 0, best - xp.where(same, 0, q))


def value_error(q: ArrayOf, error: ArrayOf, axis: int = -1) -> ArrayOf:
    """How far `max_a q(s,a)` can be from the exact maximum when each entry is known to `error`, [S]."""
    xp = array_namespace(q)
    unsure = xp.max(error - loss_of(q, axis), axis=axis)
    return xp.where(xp.isnan(unsure), xp.inf, unsure)


def greedy(q: ArrayOf, rounding: ArrayOf, error: ArrayOf, axis: int = -1) -> tuple[ArrayOf, ArrayOf]:
    """The lowest action equal to the best up to rounding, and all that cannot be told from the best.

    An entry -inf without rounding is no action at all: it is not available. Of the others, an action equals the best
    where its loss is within the rounding of the two entries. It cannot be told from the best where the most it may be
    worth reaches the least that some action must be worth.

    Args:
        q: [S, A], of numpy or of jax.
        rounding: [S, A] what rounding alone does to an entry.
        error: [S, A] certified error of `q`.
        axis: that of the actions.

    Returns:
        Policy [S] int32, and ties [S, A] bool.
    """
    xp = array_namespace(q)
    loss = loss_of(q, axis)
    possible = (q != -xp.inf) | (rounding > 0)
    of_best = xp.max(xp.where(loss == 0, rounding, 0), axis=axis, keepdims=True)
    good = possible & (loss <= rounding + of_best)
    # The first good action; where all overflowed none is, and the first possible one is as good as any.
    actions = q.shape[axis]
    shape = [1] * q.ndim
    shape[axis] = actions
    index = xp.arange(actions, dtype=xp.int32).reshape(shape)
    first = xp.min(xp.where(good, index, index + xp.where(possible, actions, 2 * actions)), axis=axis)
    return (first % actions).astype(xp.int32), possible & (
        loss <= error + xp.min(loss + error, axis=axis, keepdims=True)
    )


def discounted_bound(residual: jax.Array, factor: jax.Array) -> jax.Array:
    """`residual / (1 - gamma rho)`; infinite where the backup is no contraction."""
    return jnp.where(factor < 1, residual / jnp.maximum(1 - factor, 0), jnp.inf)


def certificate(residual: jax.Array, bound: jax.Array, iterations: jax.Array | int) -> Certificate:
    """A `Certificate` with the number of backups or rounds behind it; what overflowed has no finite one."""
    residual, bound = (jnp.where(jnp.isnan(x), jnp.inf, x) for x in (residual, bound))
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
    check_shape("transition", mdp.transition, "S A S")
    if is_concrete(mdp.discount) and not bool(jnp.all(mdp.discount < 1)):
        raise ValueError(f"discount: {mdp.discount}; expected a number below 1 for an endless horizon")
    if is_concrete(mdp):
        require_range(mdp.reward, 1 / (1 - np.asarray(mdp.discount, np.float64)))


def require_range(reward: jax.Array, steps: float | np.ndarray) -> None:
    """Check, where values are concrete, that the sum of rewards over so many steps is far from overflow.

    Raises:
        ValueError: names the largest reward and what the float type can hold.
    """
    if not is_concrete(reward):
        return
    paid = np.asarray(reward, np.float64)
    largest = np.abs(np.where(paid == -np.inf, 0, paid)).max(axis=(-2, -1))
    limit = float(jnp.finfo(reward.dtype).max) / (8 * np.asarray(steps, np.float64))
    if not np.all(largest <= limit):
        raise ValueError(
            f"reward: {np.max(largest):.4g} in modulus; expected at most {np.min(limit):.4g}, so that its sum over the "
            f"horizon stays within {reward.dtype}"
        )


def _ahead(mdp: MDP, value: jax.Array) -> jax.Array:
    """`sum_s' P(s'|s,a) v(s')`, [S, A], at full precision."""
    return jnp.einsum("sat,t->sa", mdp.transition, value, precision=jax.lax.Precision.HIGHEST)
