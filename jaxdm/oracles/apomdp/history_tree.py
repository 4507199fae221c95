"""Planning under ambiguity: recursive alpha-maxmin expected utility, exactly on the tree of histories.

Dimensions: `M` models, `S` states, `A` actions, `O` observations, `H` steps, `R` rows: one for each history of up to
H - 1 steps, `R = O (1 + A O + ... + (A O)^{H-1})`, `E` of them for less than that (but at least 1).

With `b_m(h)` the belief that Bayes' rule gives under model m after history h,

    G_m(h,a) = sum_s b_m(s|h) r(s,a) + gamma sum_o Pr_m(o|h,a) V(h a o)
    V(h)     = max_a [ alpha min_m G_m(h,a) + (1 - alpha) max_m G_m(h,a) ]

so that the worst and the best model are picked anew after every history and action (rectangular). Models that give h
probability zero take no part. The idea is Saghafian's; this precise form, its treatment of impossible histories and
the same weighing before the first observation are ours.

Reference: Saghafian, Ambiguous partially observable Markov decision processes, J. Econ. Theory 178, 2018.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxdm.envs.apomdp import APOMDP, validate
from jaxdm.oracles.graph_policy import HistoryGraph, Table
from jaxdm.oracles.mdp.bellman import certificate, greedy
from jaxdm.types import Certificate

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
    """Joint distributions [..., S] of observation and state, as beliefs [..., S] and chances of the former [...]."""
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


MEMORY = 2**30
"""Bytes that one plan may take unless told otherwise."""


class AmbiguityPlan(NamedTuple):
    """What is optimal after every history; row `start[t] + n` is history n of t steps.

    `policy` is the lowest action equal to the best up to rounding; `ties` are all that cannot be told from the best.
    Histories that no model allows have value zero.
    """

    root_value: Table  # [] before the first observation
    q: Table  # [R, A]
    value: Table  # [R]
    policy: Table  # [R] int32
    ties: Table  # [R, A] bool
    graph: HistoryGraph  # its nodes are the rows; belief [M, R, S], zero for a model that is dropped
    alive: Table  # [M, R] bool
    start: Table  # [H] int32
    certificate: Certificate


def plan(apomdp: APOMDP, horizon: int, memory: float = MEMORY) -> AmbiguityPlan:
    """Optimal values of H steps by the recursion of this module's docstring, `V = 0` after the last.

    Args:
        apomdp: the world; no batch axis, any discount in [0, 1].
        horizon: H >= 1, static.
        memory: bytes that one plan may take; under `jax.vmap` every instance takes as much.

    Returns:
        AmbiguityPlan; the bound covers every row.

    Raises:
        ValueError: horizon < 1, a bad APOMDP, or a tree that needs more than `memory`.
    """
    if horizon < 1:
        raise ValueError(f"horizon: {horizon}; expected at least 1")
    validate_one(apomdp)
    shape = (actions, observations) = apomdp.observation.shape[-3::2]
    branches = actions * observations
    begin = [sum(observations * branches**i for i in range(t)) for t in range(horizon)]
    needed = tree_memory(apomdp, observations, horizon)
    require_memory(needed, memory, "shorten the horizon, raise the limit, or use history_graph or bounds")
    belief, mass = first(apomdp)
    layers = grow(apomdp, belief, horizon)
    ahead, error, found = jnp.zeros(0, apomdp.reward.dtype), jnp.zeros((), apomdp.reward.dtype), []
    for t in reversed(range(horizon)):
        here = layers[t]
        delta = rounding_error(apomdp, t, jnp.max(jnp.abs(ahead), initial=0))
        error = delta + contraction(apomdp) * error
        q = weigh(backup(here, ahead, apomdp.discount), here.alive[..., None], apomdp.attitude)
        ahead = jnp.max(q, axis=-1)
        policy, ties = greedy(q, jnp.full_like(q, delta), jnp.full_like(q, error))
        found.append((q, ahead, policy, ties))
    q, value, policy, ties = (jnp.concatenate(each) for each in zip(*reversed(found), strict=True))
    bound = error + rounding_error(apomdp, 0, jnp.max(jnp.abs(ahead)))
    return AmbiguityPlan(
        root_value=root_value(apomdp, mass, ahead),
        q=q,
        value=value,
        policy=policy,
        ties=ties,
        graph=HistoryGraph(
            root=jnp.arange(observations, dtype=jnp.int32),
            child=observations + jnp.arange(max(begin[-1], 1) * branches, dtype=jnp.int32).reshape(-1, *shape),
            belief=jnp.concatenate([here.belief for here in layers], axis=1),
        ),
        alive=jnp.concatenate([here.alive for here in layers], axis=1),
        start=jnp.asarray(begin, jnp.int32),
        certificate=certificate(jnp.zeros_like(bound), bound, horizon),
    )


def validate_one(apomdp: APOMDP) -> None:
    """Check an APOMDP without batch axes.

    Raises:
        ValueError: as `jaxdm.envs.apomdp.validate`, or a batch.
    """
    validate(apomdp)
    if apomdp.transition.ndim != 4:
        raise ValueError(f"transition: shape {apomdp.transition.shape}; expected [M, S, A, S], and jax.vmap for more")


def grow(apomdp: APOMDP, belief: jax.Array, depth: int) -> list[Layer]:
    """The layers of histories of 0..depth - 1 further steps, from beliefs [M, N, S]; the last are leaves."""
    layers = []
    for _ in range(depth - 1):
        here, belief = layer(apomdp, belief)
        layers.append(here)
    return [*layers, leaf(apomdp, belief)]


def root_value(apomdp: APOMDP, mass: jax.Array, value: jax.Array) -> jax.Array:
    """The value before the first observation, which is weighed like any other: `g_m = sum_o Pr_m(o) V(o)`.

    Args:
        apomdp: the world.
        mass: [M, O] chance of the first observation.
        value: [O] value after it.
    """
    g = jnp.einsum("mo,o->m", mass, value, precision=jax.lax.Precision.HIGHEST)
    return weigh(g, jnp.ones_like(g, bool), apomdp.attitude)
