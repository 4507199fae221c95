"""Certified bounds on alpha-maxmin values for horizons whose tree of histories is too large.

Dimensions: `M` models, `S` states, `A` actions, `O` observations, `H` steps, `W = (A O)^w` windows, `C` cells.

Both kinds of bound say of each n <= H what a history is worth at least and at most with n steps to go, and both are
monotone recursions: bounds on `V(h a o)` give bounds on each `G_m(h,a)`, these give bounds on `V(h)`. Every entry is
moved by its own rounding, as `jaxdm.oracles.history_backup` has it: one large penalty widens no other bound.

Window. Whatever was believed before the last w steps, the belief of model m now is a mixture of the S beliefs that
come from being sure of each state then. `G_m` is linear in the belief, so the extremes over these S bound it. What the
bound forgets fades as w grows, as fast as the models forget where they started.

Grid, for S = 2. The belief of each model is one number. On a cell of the product of intervals `G_m` lies between its
values at the ends, and Bayes' rule, monotone in that number, maps the cell into a box of cells.

A model may have been dropped before the window, which then does not show it. It cannot have been if it allows every
observation, or if all models rule out the same things; over the others the bounds hold whether they are dropped or not.

Reference: finite windows are after Kara, Yueksel, Near optimality of finite memory feedback policies in partially
    observed Markov decision processes, 2022; the bounds under ambiguity are ours.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxdm.envs.apomdp import APOMDP
from jaxdm.oracles.apomdp.history_tree import (
    MEMORY,
    first,
    histories,
    kernel,
    layer,
    require_memory,
    tree_memory,
    validate_one,
)
from jaxdm.oracles.history_backup import HIGHEST, relative_error, weigh
from jaxdm.validation import integer, is_concrete


class WindowBounds(NamedTuple):
    """Bounds by steps to go and by the last w steps, numbered as the histories of `history_tree`."""

    lower: jax.Array  # [H + 1, W]
    upper: jax.Array  # [H + 1, W]


class GridBounds(NamedTuple):
    """Bounds by steps to go and by the cell of each model's belief in state 1; index C is that of a dropped model."""

    lower: jax.Array  # [H + 1, C + 1, ..., C + 1], an axis for each model
    upper: jax.Array  # [H + 1, C + 1, ..., C + 1]


def window_bounds(apomdp: APOMDP, horizon: int, window: int, memory: float = MEMORY) -> WindowBounds:
    """Bounds that know the last `window` steps, for every number of steps to go up to `horizon`.

    Args:
        apomdp: the world; no batch axis.
        horizon: H >= 0, static.
        window: w >= 0, static.
        memory: bytes that they may take.

    Raises:
        ValueError: a bad APOMDP, rewards of -inf, a negative horizon or window, or more than `memory` needed.
    """
    _check(apomdp, horizon, window=window)
    (models, states), (actions, observations) = apomdp.initial.shape, apomdp.observation.shape[-3::2]
    windows = histories(1, actions * observations, window + 1)
    windows -= histories(1, actions * observations, window)
    tables = 2 * (horizon + 1) * windows * apomdp.reward.dtype.itemsize
    require_memory(tree_memory(apomdp, states, window + 2) + tables, memory, "shorten the window")
    sure = jnp.broadcast_to(jnp.eye(states, dtype=apomdp.reward.dtype), (models, states, states))
    for _ in range(window):
        _, sure = layer(apomdp, sure)
    here, _ = layer(apomdp, sure)
    here = jax.tree.map(lambda x: x.reshape(models, states, windows, *x.shape[2:]), here)  # [M, S, W, ...]
    possible = jnp.any(here.alive, axis=1)
    certain = possible & never_dropped(apomdp)[:, None]

    def ahead(value: jax.Array) -> jax.Array:
        """The value of the window after each step, [W, A, O]: the oldest step leaves it, the new one enters."""
        if window == 0:
            return jnp.broadcast_to(value[:, None, None], (1, actions, observations))
        return jnp.tile(value.reshape(-1, actions, observations), (actions * observations, 1, 1))

    kappa = relative_error(apomdp, window)

    def one_step(value: jax.Array, side: int) -> jax.Array:
        """A backup of bounds, moved to that side by its own rounding."""
        both = jnp.stack([value, jnp.abs(value)])
        future = jnp.einsum("mswao,kwao->kmswa", here.probability, jax.vmap(ahead)(both), precision=HIGHEST)
        moved = side * kappa * (here.size + apomdp.discount * future[1]) + side * _least(apomdp)
        return here.reward + apomdp.discount * future[0] + moved

    def step(lower: jax.Array, upper: jax.Array) -> tuple[jax.Array, jax.Array]:
        alive = here.alive[..., None]
        least = jnp.min(jnp.where(alive, one_step(lower, -1), jnp.inf), axis=1)
        most = jnp.max(jnp.where(alive, one_step(upper, 1), -jnp.inf), axis=1)
        low, high = _between(least, most, possible[..., None], certain[..., None], apomdp.attitude)
        return jnp.max(low, axis=-1), jnp.max(high, axis=-1)

    lower, upper = _recurse(apomdp, step, (windows,), horizon)
    return WindowBounds(lower=lower, upper=upper)


def grid_bounds(apomdp: APOMDP, horizon: int, cells: int, memory: float = MEMORY) -> GridBounds:
    """Bounds on a grid of `cells` intervals for each model's belief, for every number of steps to go up to `horizon`.

    Args:
        apomdp: the world; no batch axis, S = 2.
        horizon: H >= 0, static.
        cells: C >= 1, static.
        memory: bytes that they may take; `(C + 1)^M` is what counts.

    Raises:
        ValueError: a bad APOMDP, rewards of -inf, S other than 2, a negative horizon, cells < 1, or more than `memory`
            needed.
    """
    _check(apomdp, horizon, cells=cells)
    (models, states), (actions, observations) = apomdp.initial.shape, apomdp.observation.shape[-3::2]
    if states != 2:
        raise ValueError(f"transition: shape {apomdp.transition.shape}; expected S = 2 for a belief grid")
    levels = int(cells).bit_length()
    needed = (int(cells) + 1) ** models * (2 * horizon + 2 + actions * (observations * (levels + 4) + 4 * models))
    require_memory(needed * apomdp.reward.dtype.itemsize, memory, "use fewer cells, or windows")
    probability, reward, (low, high), can_die, can_live = _cells(apomdp, horizon, cells)
    kappa = relative_error(apomdp, 0)
    alive = jnp.stack([i < cells for i in jnp.indices((cells + 1,) * models)])

    def box_max(value: jax.Array) -> jax.Array:
        """The largest value in the box of cells to which each (a, o) leads, [A O, C + 1, ..., C + 1]."""
        found = jnp.broadcast_to(value, (actions * observations, *value.shape))
        for m in range(models):
            along = jnp.moveaxis(found, m + 1, 1)
            along = jax.vmap(range_max)(along, low[m], high[m], can_die[m], can_live[m])
            found = jnp.moveaxis(along, 1, m + 1)
        return found

    def best_ends(value: jax.Array, sign: jax.Array) -> jax.Array:
        """The greatest (sign 1) or least (sign -1) `G_m` on each cell, [M, C + 1, ..., C + 1, A]."""
        ahead = (sign * box_max(sign * value)).reshape(actions, observations, *value.shape)
        now, size = (x.reshape(2, cells, *(1,) * (models - 1), actions) for x in reward)
        found = []
        for m in range(models):
            along = jnp.moveaxis(ahead, m + 2, 2)[:, :, :cells]
            future, moduli = (
                jnp.einsum("ecao,aoc...->ec...a", probability[m], x, precision=HIGHEST) for x in (along, jnp.abs(along))
            )
            moved = sign * (kappa * (size + apomdp.discount * moduli) + _least(apomdp))
            ends = sign * jnp.max(sign * (now + apomdp.discount * future + moved), axis=0)
            dead = jnp.zeros((1, *ends.shape[1:]), ends.dtype)
            found.append(jnp.moveaxis(jnp.concatenate([ends, dead]), 0, m))
        return jnp.stack(found)

    def step(lower: jax.Array, upper: jax.Array) -> tuple[jax.Array, jax.Array]:
        ends = jax.vmap(best_ends)(jnp.stack([lower, upper]), jnp.asarray([-1, 1], lower.dtype))
        weighed = jax.vmap(weigh, in_axes=(0, None, None))(ends, alive[..., None], apomdp.attitude)
        largest = jnp.max(jnp.where(alive[..., None], jnp.abs(ends), 0), axis=1)
        mixing = 2 * _mixing(apomdp.attitude) * largest
        return jnp.max(weighed[0] - mixing[0], axis=-1), jnp.max(weighed[1] + mixing[1], axis=-1)

    lower, upper = _recurse(apomdp, step, (cells + 1,) * models, horizon)
    return GridBounds(lower=lower, upper=upper)


def range_max(values: jax.Array, low: jax.Array, high: jax.Array, can_die: jax.Array, can_live: jax.Array) -> jax.Array:
    """For each cell the largest value over the cells `low..high`, and over the dropped one where it may be reached.

    Args:
        values: [C + 1, ...], the dropped model's last.
        low: [C] int32.
        high: [C] int32, at least `low`.
        can_die: [C] bool, the last row is reachable.
        can_live: [C] bool, the others are.

    Returns:
        [C + 1, ...]; a dropped model stays so.
    """
    cells = low.shape[0]
    doubling = [values[:cells]]
    while 2 ** len(doubling) <= cells:
        further = jnp.minimum(jnp.arange(cells) + 2 ** (len(doubling) - 1), cells - 1)
        doubling.append(jnp.maximum(doubling[-1], doubling[-1][further]))
    powers = 2 ** jnp.arange(1, len(doubling), dtype=jnp.int32)
    level = jnp.sum((high - low + 1)[:, None] >= powers[None], axis=-1)
    table = jnp.stack(doubling)
    found = jnp.maximum(table[level, low], table[level, high + 1 - 2**level])
    column = (cells,) + (1,) * (values.ndim - 1)
    can_die, can_live, dead = can_die.reshape(column), can_live.reshape(column), values[cells:]
    found = jnp.where(can_live, jnp.where(can_die, jnp.maximum(found, dead), found), dead)
    return jnp.concatenate([found, dead])


def never_dropped(apomdp: APOMDP) -> jax.Array:
    """Which models, [M] bool, no history that some model allows can rule out, as far as zeros tell."""
    seen = jnp.sum(kernel(apomdp), axis=-1)
    allows_all = jnp.all(seen > 0, axis=(1, 2, 3)) & jnp.all(first(apomdp)[1] > 0, axis=1)
    distributions = (apomdp.transition, apomdp.observation, apomdp.initial, apomdp.initial_observation)
    alike = jnp.stack([jnp.all((distribution > 0) == (distribution[:1] > 0)) for distribution in distributions])
    return allows_all | jnp.all(alike)


def _between(
    least: jax.Array, most: jax.Array, possible: jax.Array, certain: jax.Array, attitude: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Bounds of `weigh` when the models alive are all the certain ones and some of the possible ones."""
    some, sure = jnp.any(possible, axis=0), jnp.any(certain, axis=0)
    floor = jnp.min(jnp.where(possible, least, jnp.inf), axis=0)
    ceiling = jnp.max(jnp.where(possible, most, -jnp.inf), axis=0)
    best_low = jnp.where(sure, jnp.max(jnp.where(certain, least, -jnp.inf), axis=0), floor)
    worst_high = jnp.where(sure, jnp.min(jnp.where(certain, most, jnp.inf), axis=0), ceiling)
    floor, ceiling, best_low, worst_high = (jnp.where(some, x, 0) for x in (floor, ceiling, best_low, worst_high))
    lowest, highest = attitude * floor + (1 - attitude) * best_low, attitude * worst_high + (1 - attitude) * ceiling
    room = _mixing(attitude)
    lowest = lowest - room * (jnp.abs(floor) + jnp.abs(best_low))
    return lowest, highest + room * (jnp.abs(worst_high) + jnp.abs(ceiling))


def _mixing(attitude: jax.Array) -> jax.Array:
    """How far rounding carries a mean of two numbers, relative to the sum of their moduli; nothing where one counts."""
    return 4 * jnp.finfo(attitude.dtype).eps * jnp.where((attitude > 0) & (attitude < 1), 1, 0).astype(attitude.dtype)


def _least(apomdp: APOMDP) -> float:
    """What underflow adds to a backup."""
    return 2 * float(jnp.finfo(apomdp.reward.dtype).tiny) * apomdp.reward.shape[0]


def _cells(apomdp: APOMDP, horizon: int, cells: int) -> tuple:
    """At the ends of each cell: chances [M, 2, C, A, O], rewards and moduli [2, C, A], and where each (a, o) leads."""
    eps = jnp.finfo(apomdp.reward.dtype).eps
    slack = (horizon + 2) * 12 * eps  # so far may rounding carry a belief, as `relative_error` says
    edge = jnp.arange(cells + 1, dtype=apomdp.reward.dtype) / cells
    ends = jnp.stack([jnp.maximum(edge[:-1] - slack, 0), jnp.minimum(edge[1:] + slack, 1)])
    belief = jnp.stack([1 - ends, ends], axis=-1)
    moves = kernel(apomdp)
    probability = jnp.einsum("ecs,msaot->mecao", belief, moves, precision=HIGHEST)
    joint = jnp.einsum("ecs,msao->mecao", belief, moves[..., 1], precision=HIGHEST)
    image = joint / jnp.where(probability > 0, probability, 1)
    # Where one end makes the observation impossible the image is the same from all other beliefs of the cell.
    image = jnp.where(probability > 0, image, image[:, ::-1])
    low = jnp.floor((jnp.min(image, axis=1) - slack) * cells).astype(jnp.int32)
    high = jnp.ceil((jnp.max(image, axis=1) + slack) * cells).astype(jnp.int32) - 1
    low, high = jnp.clip(low, 0, cells - 1), jnp.clip(high, 0, cells - 1)
    can_die, can_live = jnp.any(probability == 0, axis=1), jnp.any(probability > 0, axis=1)
    paid = jnp.stack([apomdp.reward, jnp.abs(apomdp.reward)])
    reward = jnp.einsum("ecs,ksa->keca", belief, paid, precision=HIGHEST)

    def place(x: jax.Array) -> jax.Array:
        """[M, A O, C]."""
        return jnp.moveaxis(x.reshape(*x.shape[:2], -1), 1, 2)

    return probability, reward, (place(low), place(jnp.maximum(low, high))), place(can_die), place(can_live)


def _recurse(apomdp: APOMDP, step, shape: tuple[int, ...], horizon: int) -> tuple[jax.Array, jax.Array]:
    """`step` from zero on, `horizon` times; it moves each bound by its own rounding."""
    zero = jnp.zeros(shape, apomdp.reward.dtype)

    def further(carry: tuple, _: None) -> tuple:
        found = step(*carry)
        return found, found

    _, (lower, upper) = jax.lax.scan(further, (zero, zero), length=horizon)
    return jnp.concatenate([zero[None], lower]), jnp.concatenate([zero[None], upper])


def _check(apomdp: APOMDP, horizon: int, **sizes: int) -> None:
    validate_one(apomdp)
    if is_concrete(apomdp.reward) and not np.all(np.isfinite(apomdp.reward)):
        raise ValueError("reward: -inf; expected finite rewards, as what is available depends on more than a window")
    least = {"horizon": 0, "window": 0, "cells": 1}
    for name, size in {"horizon": horizon, **sizes}.items():
        integer(name, size, least[name])
