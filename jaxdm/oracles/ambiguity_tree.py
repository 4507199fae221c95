"""Bayes' rule under each model of an APOMDP at once, along all histories of a length; and one step back.

Dimensions: `M` models, `S` states, `A` actions, `O` observations, `N` histories.

Histories of a length lie on one axis, the latest step fastest: history n, followed by action a and observation o, is
number `(n A + a) O + o` of the next length. Their number is static, so all of this is for jit and vmap. A model that
gives a history probability zero is dropped there: its belief is zero and `alive` is false. Zero means a stored zero, or
a product of probabilities below the smallest float.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxdm.envs.apomdp import APOMDP

HIGHEST = jax.lax.Precision.HIGHEST


class Layer(NamedTuple):
    """What the models hold after each of N histories."""

    belief: jax.Array  # [M, N, S] sums to one, or is zero
    alive: jax.Array  # [M, N] bool
    reward: jax.Array  # [M, N, A] expected next reward
    probability: jax.Array  # [M, N, A, O] of what is seen next; [M, N, A, 0] at a leaf


def kernel(apomdp: APOMDP) -> jax.Array:
    """`K_m(s, a, o, s') = P_m(s'|s,a) Z_m(o|a,s')`, [M, S, A, O, S]."""
    return apomdp.transition[:, :, :, None, :] * jnp.swapaxes(apomdp.observation, -1, -2)[:, None]


def condition(joint: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Joint laws [..., S] of observation and state as beliefs [..., S] and chances of the observation [...]."""
    mass = jnp.sum(joint, axis=-1)
    return joint / jnp.where(mass > 0, mass, 1)[..., None], mass


def first(apomdp: APOMDP) -> tuple[jax.Array, jax.Array]:
    """After the first observation, a history each: beliefs [M, O, S], and its chance under each model, [M, O]."""
    return condition(apomdp.initial[:, None, :] * jnp.swapaxes(apomdp.initial_observation, -1, -2))


def layer(apomdp: APOMDP, belief: jax.Array) -> tuple[Layer, jax.Array]:
    """What follows from the beliefs [M, N, S] after N histories, and the beliefs one step on, [M, N A O, S]."""
    models, histories, states = belief.shape
    moves = kernel(apomdp).reshape(models, states, -1)
    joint = jnp.einsum("mns,msk->mnk", belief, moves, precision=HIGHEST)
    actions, observations = apomdp.observation.shape[1], apomdp.observation.shape[-1]
    following, probability = condition(joint.reshape(models, histories, actions, observations, states))
    return leaf(apomdp, belief)._replace(probability=probability), following.reshape(models, -1, states)


def leaf(apomdp: APOMDP, belief: jax.Array) -> Layer:
    """The layer of the beliefs [M, N, S] whose next step is the last: what is seen after it does not matter."""
    reward = jnp.einsum("mns,sa->mna", belief, apomdp.reward, precision=HIGHEST)
    alive = jnp.any(belief > 0, axis=-1)
    return Layer(belief=belief, alive=alive, reward=reward, probability=jnp.zeros((*reward.shape, 0), belief.dtype))


def backup(here: Layer, ahead: jax.Array, discount: jax.Array) -> jax.Array:
    """`G_m(h,a) = sum_s b_m(s|h) r(s,a) + gamma sum_o Pr_m(o|h,a) V(h a o)`, [M, N, A].

    Args:
        here: the N histories.
        ahead: [N A O] values of the histories one step longer, or [0] after leaves, which have none.
        discount: [].
    """
    ahead = ahead.reshape(here.probability.shape[1:])
    return here.reward + discount * jnp.einsum("mnao,nao->mna", here.probability, ahead, precision=HIGHEST)


def weigh(g: jax.Array, alive: jax.Array, attitude: jax.Array) -> jax.Array:
    """`alpha min_m G_m + (1 - alpha) max_m G_m` over the models that are alive, zero where none is.

    Args:
        g: [M, ...].
        alive: [M, ...] bool.
        attitude: alpha, [].
    """
    some = jnp.any(alive, axis=0)
    worst = jnp.where(some, jnp.min(jnp.where(alive, g, jnp.inf), axis=0), 0)
    best = jnp.where(some, jnp.max(jnp.where(alive, g, -jnp.inf), axis=0), 0)
    return attitude * worst + (1 - attitude) * best


def rounding_error(apomdp: APOMDP, steps: int, size: jax.Array) -> jax.Array:
    """How far one computed `weigh(backup(...))` can be from the exact one, given exact values ahead.

    Beliefs err relatively, entry by entry, by `(2 S + 8) eps` a step (products and sums of non-negative numbers, and
    one division; Higham 2002, section 3.1), hence `delta = ((steps + 2)(2 S + 8) + O + 8) eps (|r| + gamma rho |V|)`.

    Args:
        apomdp: the world.
        steps: length of the history behind the beliefs.
        size: [] the largest modulus of the values ahead.
    """
    states, observations = apomdp.reward.shape[0], apomdp.observation.shape[-1]
    relative = ((steps + 2) * (2 * states + 8) + observations + 8) * jnp.finfo(apomdp.reward.dtype).eps
    return relative * (jnp.max(jnp.abs(apomdp.reward)) + contraction(apomdp) * size)


def contraction(apomdp: APOMDP) -> jax.Array:
    """`gamma rho`: how far an exact backup can carry an error in the values ahead, with room for rounding."""
    eps = jnp.finfo(apomdp.reward.dtype).eps
    widest = jnp.max(jnp.sum(apomdp.transition, axis=-1)) * jnp.max(jnp.sum(apomdp.observation, axis=-1))
    return apomdp.discount * jnp.maximum(widest, 1) * (1 + 2 * (apomdp.reward.shape[0] + 2) * eps)


def tree_memory(apomdp: APOMDP, roots: int, depth: int) -> int:
    """Bytes for beliefs, chances and values after all histories of fewer than `depth` steps from `roots` first ones."""
    (models, states), (actions, observations) = apomdp.initial.shape[-2:], apomdp.observation.shape[-3::2]
    histories = [roots * (actions * observations) ** t for t in range(depth)]
    each = models * (2 * states + actions + 1) + 4 * actions + 4
    branching = models * actions * observations + actions * observations
    floats = sum(histories) * each + sum(histories[:-1]) * branching + histories[-1] * models * 2 * states
    return floats * apomdp.reward.dtype.itemsize


def require_memory(needed: int, limit: float, way_out: str) -> None:
    """Refuse before anything is built.

    Raises:
        ValueError: `needed` bytes are more than `limit`.
    """
    if needed > limit:
        raise ValueError(
            f"memory: {needed / 2**20:.4g} MiB needed; expected at most {limit / 2**20:.4g} MiB ({way_out})"
        )
