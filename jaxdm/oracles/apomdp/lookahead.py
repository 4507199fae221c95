"""Alpha-maxmin planning for long horizons: an exact tree of a few steps, with certified bounds at its leaves.

Dimensions: `M` models, `S` states, `A` actions, `O` observations, `H` steps, `D` steps of the tree, `N` histories.

The agent takes the action of the highest lower bound. The bounds at the leaves never exceed what one more exact step
makes of them, hence its recursive value (see `jaxdm.oracles.apomdp.evaluation`) is at least the certified lower bound.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxdm.envs.apomdp import APOMDP
from jaxdm.oracles.apomdp.bounds import GridBounds, WindowBounds
from jaxdm.oracles.apomdp.history_tree import (
    MEMORY,
    condition,
    first,
    layer,
    require_memory,
    tree_memory,
    validate_one,
)
from jaxdm.oracles.history_backup import decide, relative_error, root
from jaxdm.oracles.mdp.bellman import certificate
from jaxdm.types import Agent, Certificate, Transition
from jaxdm.validation import InvalidInput, positive_integer

LeafBounds = WindowBounds | GridBounds


class Bracket(NamedTuple):
    """Values after each of N histories, from below and from above."""

    lower: jax.Array  # [N, A]
    upper: jax.Array  # [N, A]


class LookAhead(NamedTuple):
    """What is known of the first decision. `q` and `root_value` are the middles of the bounds.

    `policy` is the action of the highest lower bound; `ties` are all that may be the best.
    """

    root_value: jax.Array  # [] before the first observation
    q: jax.Array  # [O, A]
    bracket: Bracket  # [O, A]
    policy: jax.Array  # [O] int32
    ties: jax.Array  # [O, A] bool
    certificate: Certificate


class LookAheadParams(NamedTuple):
    """Parameters of the agent: the world, and bounds whose horizon is the agent's."""

    apomdp: APOMDP
    bounds: LeafBounds


class ModelBeliefs(NamedTuple):
    """Memory of the agent: each model's belief, zero once it is dropped."""

    belief: jax.Array  # [M, S]
    time: jax.Array  # [] int32


def look_ahead(apomdp: APOMDP, bounds: LeafBounds, depth: int, memory: float = MEMORY) -> LookAhead:
    """Bounds on the value of all H steps for which `bounds` was made, exact for the first `depth` of them.

    Args:
        apomdp: the world; no batch axis.
        bounds: from `window_bounds` or `grid_bounds`, with H as their horizon.
        depth: D >= 1, at least the window; static.
        memory: bytes that the tree may take.

    Returns:
        LookAhead; half the distance of the bounds is the certificate's bound, and the whole its residual.

    Raises:
        ValueError: a bad APOMDP, bounds that are not its, a depth below 1 or below the window, or a tree that needs
            more than `memory`.
    """
    validate_one(apomdp)
    depth = positive_integer("depth", depth)
    _check_bounds(apomdp, bounds)
    require_memory(tree_memory(apomdp, apomdp.observation.shape[-1], depth + 1), memory, "look less far ahead")
    belief, mass = first(apomdp)
    found = bracket(apomdp, bounds, belief, depth, _horizon(bounds))
    kappa, none = relative_error(apomdp, 0), jnp.zeros_like(mass[0])
    ends = [root(mass, jnp.max(q, axis=-1), none, apomdp.attitude, kappa) for q in found]
    lower, upper = ends[0][0] - ends[0][1], ends[1][0] + ends[1][1]
    gap = jnp.maximum(upper - lower, jnp.max(found.upper - found.lower))
    return LookAhead(
        root_value=(lower + upper) / 2,
        q=(found.lower + found.upper) / 2,
        bracket=found,
        policy=_safest(found),
        ties=found.upper >= jnp.max(found.lower, axis=-1, keepdims=True),
        certificate=certificate(gap, gap / 2, depth),
    )


def bracket(apomdp: APOMDP, bounds: LeafBounds, belief: jax.Array, depth: int, remaining: jax.Array | int) -> Bracket:
    """Bounds on the values of the actions after N histories.

    Args:
        apomdp: the world.
        bounds: what is known at the leaves.
        belief: [M, N, S], zero for a dropped model.
        depth: D >= 1; static.
        remaining: [] steps to go, at most H; may be traced.

    Raises:
        ValueError: a depth below 1 or below the window.
    """
    depth = positive_integer("depth", depth)
    window = bounds.lower.shape[1] if isinstance(bounds, WindowBounds) else 1
    branches = apomdp.observation.shape[1] * apomdp.observation.shape[-1]
    if branches**depth < window:
        raise ValueError(f"depth: {depth}; expected at least 1, and at least the window of the bounds")
    layers = []
    for _ in range(depth):
        here, belief = layer(apomdp, belief)
        layers.append(here)
    ahead = _at_leaves(bounds, belief, jnp.maximum(remaining - depth, 0))
    zero = jnp.zeros_like(ahead[0])
    found = [(ahead[0], zero), (ahead[1], zero)]
    steps = []
    for t in reversed(range(depth)):
        kappa = relative_error(apomdp, t)
        steps = [decide(layers[t], *each, apomdp.discount, apomdp.attitude, kappa) for each in found]
        # Past the last step all is zero, and known.
        found = [(jnp.where(t < remaining, x.value, 0), jnp.where(t < remaining, x.value_error, 0)) for x in steps]
    return Bracket(lower=steps[0].q - steps[0].error, upper=steps[1].q + steps[1].error)


def agent(depth: int) -> Agent:
    """An agent that looks `depth` steps ahead at every decision; its `params` are a `LookAheadParams`.

    Args:
        depth: D >= 1, at least the window of the guide's bounds.

    Raises:
        ValueError: depth < 1.
    """
    depth = positive_integer("depth", depth)

    def init(key: jax.Array, params: LookAheadParams) -> ModelBeliefs:
        _check_bounds(params.apomdp, params.bounds)
        return ModelBeliefs(belief=params.apomdp.initial, time=jnp.int32(0))

    def act(
        key: jax.Array, memory: ModelBeliefs, observation: jax.Array, params: LookAheadParams
    ) -> tuple[jax.Array, ModelBeliefs]:
        start, _ = condition(memory.belief * params.apomdp.initial_observation[:, :, observation])
        belief = jnp.where(memory.time == 0, start, memory.belief)
        remaining = jnp.maximum(_horizon(params.bounds) - memory.time, 1)
        found = bracket(params.apomdp, params.bounds, belief[:, None], depth, remaining)
        return _safest(found)[0], memory._replace(belief=belief)

    def observe(memory: ModelBeliefs, transition: Transition, params: LookAheadParams) -> ModelBeliefs:
        world, action, seen = params.apomdp, transition.action, transition.next_observation
        ahead = jnp.einsum(
            "ms,mst->mt", memory.belief, world.transition[:, :, action], precision=jax.lax.Precision.HIGHEST
        )
        belief, _ = condition(ahead * world.observation[:, action, :, seen])
        return ModelBeliefs(belief=belief, time=memory.time + 1)

    return Agent(init=init, act=act, observe=observe)


def _check_bounds(apomdp: APOMDP, bounds: LeafBounds) -> None:
    """Refuse what are no bounds, or those of a world of other sizes."""
    if not isinstance(bounds, (WindowBounds, GridBounds)):
        raise InvalidInput(f"bounds: {type(bounds).__name__}; expected WindowBounds or GridBounds")
    models, branches = apomdp.transition.shape[0], apomdp.observation.shape[1] * apomdp.observation.shape[-1]
    shape = bounds.lower.shape
    if isinstance(bounds, GridBounds):
        fits = len(shape) == 1 + models and apomdp.reward.shape[0] == 2
    else:
        width = shape[1] if len(shape) == 2 else 0
        while branches > 1 and width > 1 and width % branches == 0:
            width //= branches
        fits = width == 1
    if not fits or bounds.upper.shape != shape or shape[0] < 2:
        raise InvalidInput(f"bounds: shape {shape}; expected bounds of this APOMDP, for a horizon of at least 1")


def _horizon(bounds: LeafBounds) -> int:
    return bounds.lower.shape[0] - 1


def _safest(found: Bracket) -> jax.Array:
    return jnp.argmax(found.lower, axis=-1).astype(jnp.int32)


def _at_leaves(bounds: LeafBounds, belief: jax.Array, remaining: jax.Array) -> jax.Array:
    """Lower and upper bounds on the values after the histories with these beliefs [M, N, S], [2, N]."""
    tables = jnp.stack([bounds.lower[remaining], bounds.upper[remaining]])
    if isinstance(bounds, WindowBounds):
        return tables[:, jnp.arange(belief.shape[1]) % tables.shape[1]]
    cells = tables.shape[1] - 1
    cell = jnp.clip(jnp.floor(belief[..., 1] * cells).astype(jnp.int32), 0, cells - 1)
    cell = jnp.where(jnp.any(belief > 0, axis=-1), cell, cells)
    return tables[(slice(None), *cell)]
