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
from jaxdm.oracles.ambiguity_tree import (
    Layer,
    backup,
    contraction,
    first,
    layer,
    leaf,
    require_memory,
    rounding_error,
    tree_memory,
    weigh,
)
from jaxdm.oracles.bellman import certificate, greedy
from jaxdm.types import Agent, Certificate, Transition

MEMORY = 2**30
"""Bytes that one plan may take unless told otherwise."""


Numbers = jax.Array | np.ndarray
"""Arrays of `plan` are jax's, those of `jaxdm.oracles.ambiguity_graph.plan` numpy's in float64."""


class AmbiguityPlan(NamedTuple):
    """What is optimal after every history; row `start[t] + n` is history n of t steps.

    `policy` is the lowest action equal to the best up to rounding; `ties` are all that cannot be told from the best.
    Histories that no model allows have value zero.
    """

    root_value: Numbers  # [] before the first observation
    root: Numbers  # [O] int32, the row after each first observation
    child: Numbers  # [E, A, O] int32, the row one step on
    q: Numbers  # [R, A]
    value: Numbers  # [R]
    policy: Numbers  # [R] int32
    ties: Numbers  # [R, A] bool
    belief: Numbers  # [M, R, S], zero for a model that is dropped
    alive: Numbers  # [M, R] bool
    start: Numbers  # [H] int32
    certificate: Certificate


class Held(NamedTuple):
    """Memory of an agent that walks down the tree."""

    row: jax.Array  # [] int32
    time: jax.Array  # [] int32


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
    require_memory(needed, memory, "shorten the horizon, raise the limit, or use ambiguity_graph or ambiguity_bounds")
    belief, mass = first(apomdp)
    layers = grow(apomdp, belief, horizon)
    ahead, error, found = jnp.zeros(0, apomdp.reward.dtype), jnp.zeros((), apomdp.reward.dtype), []
    for t in reversed(range(horizon)):
        here = layers[t]
        delta = rounding_error(apomdp, t, jnp.max(jnp.abs(ahead), initial=0))
        error = delta + contraction(apomdp) * error
        q = weigh(backup(here, ahead, apomdp.discount), here.alive[..., None], apomdp.attitude)
        ahead = jnp.max(q, axis=-1)
        found.append((q, ahead, *greedy(q, delta, error)))
    q, value, policy, ties = (jnp.concatenate(each) for each in zip(*reversed(found), strict=True))
    bound = error + rounding_error(apomdp, 0, jnp.max(jnp.abs(ahead)))
    return AmbiguityPlan(
        root_value=root_value(apomdp, mass, ahead),
        root=jnp.arange(observations, dtype=jnp.int32),
        child=observations + jnp.arange(max(begin[-1], 1) * branches, dtype=jnp.int32).reshape(-1, *shape),
        q=q,
        value=value,
        policy=policy,
        ties=ties,
        belief=jnp.concatenate([here.belief for here in layers], axis=1),
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


def rows(solved: AmbiguityPlan, actions: jax.Array, observations: jax.Array) -> jax.Array:
    """The rows of a plan along a history: an episode's labels.

    Args:
        solved: from `plan`, or from `jaxdm.oracles.ambiguity_graph.plan`.
        actions: [T - 1] indices, T <= H.
        observations: [T] indices; the first is seen before any action.

    Returns:
        [T] int32.
    """
    child, root = jnp.asarray(solved.child), jnp.asarray(solved.root)[observations[0]]

    def step(row: jax.Array, seen: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        row = child[row, seen[0], seen[1]]
        return row, row

    _, later = jax.lax.scan(step, root, (actions, observations[1:]))
    return jnp.concatenate([root[None], later])


def agent() -> Agent:
    """The optimal agent; its `params` are an `AmbiguityPlan`, and it only looks up where the history leads."""

    def init(key: jax.Array, params: AmbiguityPlan) -> Held:
        return Held(row=jnp.int32(0), time=jnp.int32(0))

    def act(draw: jax.Array, memory: Held, observation: jax.Array, params: AmbiguityPlan) -> tuple[jax.Array, Held]:
        row = jnp.where(memory.time == 0, jnp.asarray(params.root)[observation], memory.row)
        return jnp.asarray(params.policy)[row], memory._replace(row=row)

    def observe(memory: Held, transition: Transition, params: AmbiguityPlan) -> Held:
        child = jnp.asarray(params.child)
        row = child[jnp.minimum(memory.row, child.shape[0] - 1), transition.action, transition.next_observation]
        return Held(row=row, time=memory.time + 1)

    return Agent(init=init, act=act, observe=observe, draws=lambda key, length: jnp.zeros(length))
