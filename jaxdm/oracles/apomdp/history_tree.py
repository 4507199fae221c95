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
import numpy as np

from jaxdm.envs.apomdp import APOMDP, validate
from jaxdm.numerics import Table
from jaxdm.oracles.graph_policy import HistoryGraph
from jaxdm.oracles.history_backup import HIGHEST, Layer, Weighed, decide, look, relative_error, require_available, root
from jaxdm.oracles.mdp.bellman import certificate, require_range
from jaxdm.types import Certificate
from jaxdm.validation import is_concrete, nonnegative_number, positive_integer


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
    return look(belief, apomdp.reward, probability), following.reshape(models, -1, states)


UNCOUNTED = 2**100
"""Histories beyond any memory."""


def tree_memory(apomdp: APOMDP, roots: int, depth: int) -> int:
    """Bytes for beliefs, chances and values after all histories of fewer than `depth` steps from `roots` first ones."""
    (models, states), (actions, observations) = apomdp.initial.shape[-2:], apomdp.observation.shape[-3::2]
    inner, every = (histories(roots, actions * observations, steps) for steps in (depth - 1, depth))
    each = models * (2 * states + actions + 1) + 4 * actions + 4
    branching = models * actions * observations + actions * observations
    floats = every * each + inner * branching + (every - inner) * models * 2 * states
    return floats * apomdp.reward.dtype.itemsize


def histories(roots: int, branches: int, depth: int) -> int:
    """How many histories of fewer than `depth` steps follow from `roots` first ones; `UNCOUNTED` where they are more.

    Counted no further: of a long horizon the number alone would fill the memory.
    """
    if branches == 1:
        return roots * depth
    count, last = 0, roots
    for _ in range(depth):
        count, last = count + last, last * branches
        if count > UNCOUNTED:
            return UNCOUNTED
    return count


def require_memory(needed: int, limit: float, way_out: str) -> None:
    """Refuse before anything is built.

    Raises:
        ValueError: `needed` bytes are more than `limit`.
    """
    nonnegative_number("memory", limit)
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
    q: Table  # [R, A], -inf where the action is not available
    value: Table  # [R]
    policy: Table  # [R] int32
    ties: Table  # [R, A] bool
    error: Table  # [R, A] certified error of each entry of `q`
    value_error: Table  # [R] of `value`; the certificate's bound is the largest, with the root's
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
        ValueError: horizon < 1, a bad APOMDP, a tree that needs more than `memory`, or (where values are concrete) a
            belief at which no action is available.
    """
    horizon = positive_integer("horizon", horizon)
    validate_one(apomdp)
    require_range(apomdp.reward, horizon)
    shape = (actions, observations) = apomdp.observation.shape[-3::2]
    branches = actions * observations
    needed = tree_memory(apomdp, observations, horizon)
    require_memory(needed, memory, "shorten the horizon, raise the limit, or merge equal histories")
    begin = [sum(observations * branches**i for i in range(t)) for t in range(horizon)]
    belief, mass = first(apomdp)
    layers = grow(apomdp, belief, horizon)
    found = induce(apomdp, layers)
    each = Weighed._make(jnp.concatenate(field) for field in zip(*found, strict=True))
    value, error = root(mass, found[0].value, found[0].value_error, apomdp.attitude, relative_error(apomdp, 0))
    bound = jnp.maximum(error, jnp.max(each.value_error))
    graph = HistoryGraph(
        root=jnp.arange(observations, dtype=jnp.int32),
        child=observations + jnp.arange(max(begin[-1], 1) * branches, dtype=jnp.int32).reshape(-1, *shape),
        belief=jnp.concatenate([here.belief for here in layers], axis=1),
    )
    if is_concrete(apomdp) and not np.all(np.isfinite(apomdp.reward)):
        _require_available(layers, mass, graph)
    return AmbiguityPlan(
        root_value=value,
        **each._asdict(),
        graph=graph,
        alive=jnp.concatenate([here.alive for here in layers], axis=1),
        start=jnp.asarray(begin, jnp.int32),
        certificate=certificate(jnp.zeros_like(bound), bound, horizon),
    )


def induce(apomdp: APOMDP, layers: list[Layer]) -> list[Weighed]:
    """Backward induction on the layers of histories of 0, 1, ... steps: what is optimal at each, first step first."""
    ahead, found = jnp.zeros((2, 0), apomdp.reward.dtype), []
    for t, here in reversed(list(enumerate(layers))):
        kappa = relative_error(apomdp, t)
        found.append(decide(here, ahead[0], ahead[1], apomdp.discount, apomdp.attitude, kappa))
        ahead = (found[-1].value, found[-1].value_error)
    return found[::-1]


def _require_available(layers: list[Layer], mass: jax.Array, graph: HistoryGraph) -> None:
    possible = [np.any(np.asarray(here.probability) > 0, axis=0) for here in layers[:-1]]
    require_available(
        np.flatnonzero(np.any(np.asarray(mass) > 0, axis=0)),
        np.asarray(graph.child)[: sum(len(x) for x in possible)],
        np.concatenate([*possible, np.zeros((0, *graph.child.shape[1:]), bool)]),
        np.concatenate([np.all(np.asarray(here.available), axis=0) for here in layers]),
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
    return [*layers, look(belief, apomdp.reward)]
