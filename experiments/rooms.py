"""The rooms that the fine-tuning studies train on: what differs between tasks, as data, and the three settings."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxdm.envs import apomdp, families, mdp, pomdp
from jaxdm.sft import tasks
from jaxdm.sft.data import Kind, Setting
from jaxdm.sft.tasks import Task
from jaxdm.tokens import Spaces

MODELS = 4
"""Models of an ambiguous room; fewer distinct ones are repeated."""


class TaskRanges(NamedTuple):
    """The ranges from which a task's numbers are drawn uniformly; equal ends fix a number."""

    slip: Any = (0.1, 0.1)  # chance of a random move
    cue_accuracy: Any = (0.5, 1.0)  # chance that the cue equals the mode
    mode_prior: Any = (0.5, 0.5)  # chance of mode 0
    attitude: Any = (1.0, 1.0)  # alpha
    models: Any = (1, 2, 4)  # numbers of distinct models, equally likely
    extent: Any = 0  # cells along a wall that are in use


def training_ranges(kind: Kind, side: int) -> TaskRanges:
    """The tasks of training: whatever an axis varies is mixed, so that one network serves all its points."""
    ranges = TaskRanges(extent=side)
    if kind == "mdp":
        return ranges._replace(slip=(0.0, 0.2))
    if kind == "pomdp":
        return ranges
    return ranges._replace(slip=(0.02, 0.2), cue_accuracy=(0.6, 0.95), mode_prior=(0.3, 0.7), attitude=(0.0, 1.0))


@functools.cache
def family(kind: Kind, side: int, horizon: int) -> Callable[[jax.Array, TaskRanges], Task]:
    """`(key, ranges) -> Task`; the same object for the same sizes, so that it is compiled once."""

    def between(numbers: jax.Array, bounds: Any) -> jax.Array:
        return bounds[0] + (bounds[1] - bounds[0]) * numbers

    def draw(key: jax.Array, ranges: TaskRanges) -> Task:
        key_room, key_numbers, key_models, key_attitude = jax.random.split(key, 4)
        numbers = jax.random.uniform(key_numbers, (3, 1 if kind != "apomdp" else MODELS))
        slip = between(numbers[0], ranges.slip)
        if kind == "mdp":
            dark_room = families.mdp.dark_room(key_room, side=side, slip=slip[0], extent=ranges.extent)
            return tasks.solve_mdp(dark_room, horizon)
        distinct = jax.random.choice(key_models, jnp.asarray(ranges.models)) if kind == "apomdp" else 1
        model = jnp.arange(len(slip)) % distinct
        room = families.rooms.hidden_mode_room(
            key_room,
            side=side,
            slip=slip[model],
            cue_accuracy=between(numbers[1], ranges.cue_accuracy)[model],
            mode_prior=between(numbers[2], ranges.mode_prior)[model],
            attitude=between(jax.random.uniform(key_attitude), ranges.attitude),
            extent=ranges.extent,
        )
        return tasks.solve_room(room, horizon)

    return draw


def setting(kind: Kind, side: int, horizon: int, visit_exploration: float, behaviour_scale: float) -> Setting:
    """The setting of a kind of world; the last two as in `jaxdm.sft.data.Setting`."""
    return Setting(
        env={"mdp": mdp, "pomdp": pomdp, "apomdp": apomdp}[kind].env(horizon),
        spaces=Spaces(observations=side**2 if kind == "mdp" else 2 * side**2, actions=4),
        horizon=horizon,
        member=_certain if kind == "apomdp" else _only,
        visit_exploration=visit_exploration,
        behaviour_scale=behaviour_scale,
    )


def _only(world: Any, model: jax.Array) -> Any:
    """The world of a setting that has one model."""
    return world


def _certain(world: apomdp.APOMDP, model: jax.Array) -> apomdp.APOMDP:
    """The ambiguous world in which nature follows this model for certain."""
    return world._replace(nature=jax.nn.one_hot(model, world.nature.shape[-1], dtype=world.nature.dtype))
