"""The worlds of the fine-tuning study: what differs between tasks, as data, and the three kinds of setting."""

import functools
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from jaxdm.envs import apomdp, families, mdp, pomdp
from jaxdm.sft import tasks
from jaxdm.sft.data import Setting
from jaxdm.sft.tasks import Task
from jaxdm.tokens import Spaces

Kind = Literal["mdp", "pomdp", "apomdp"]


MODELS = 4
"""Models of an ambiguous room; fewer distinct ones are repeated."""


class About(NamedTuple):
    """From which ranges a task's numbers are drawn; a stratum is a range of no width."""

    slip: Any = (0.1, 0.1)  # chance of a random move
    quality: Any = (0.5, 1.0)  # chance that the sign tells the mood
    bright: Any = (0.5, 0.5)  # chance of mood 0
    attitude: Any = (1.0, 1.0)  # alpha
    distinct: Any = (1, 2, 4)  # numbers of models, equally likely
    extent: Any = 0  # cells along a wall that are in use


def usual(kind: Kind, side: int) -> About:
    """The tasks of training: everything that an axis varies is mixed, so that one network serves all points."""
    common = About(extent=side)
    if kind == "mdp":
        return common._replace(slip=(0.0, 0.2))
    if kind == "pomdp":
        return common
    return common._replace(slip=(0.02, 0.2), quality=(0.6, 0.95), bright=(0.3, 0.7), attitude=(0.0, 1.0))


@functools.cache
def family(kind: Kind, side: int, horizon: int) -> Callable[[jax.Array, About], Task]:
    """`(key, about) -> Task`; the same object for the same sizes, so that it is compiled once."""

    def draw(key: jax.Array, about: About) -> Task:
        key_room, key_numbers, key_models, key_attitude = jax.random.split(key, 4)
        between = lambda numbers, bounds: bounds[0] + (bounds[1] - bounds[0]) * numbers
        numbers = jax.random.uniform(key_numbers, (3, 1 if kind != "apomdp" else MODELS))
        slip, quality, bright = map(between, numbers, (about.slip, about.quality, about.bright))
        if kind == "mdp":
            return tasks.solve_mdp(
                families.mdp.dark_room(key_room, side=side, slip=slip[0], extent=about.extent), horizon
            )
        count = jax.random.choice(key_models, jnp.asarray(about.distinct)) if kind == "apomdp" else 1
        model = jnp.arange(len(slip)) % count
        room = families.rooms.hidden_mode_room(
            key_room,
            side=side,
            slip=slip[model],
            quality=quality[model],
            bright=bright[model],
            attitude=between(jax.random.uniform(key_attitude), about.attitude),
            extent=about.extent,
        )
        return tasks.solve_room(room, horizon)

    return draw


def setting(kind: Kind, side: int, horizon: int, visit_exploration: float, behaviour_scale: float) -> Setting:
    """The setting of a kind of world."""
    return Setting(
        env={"mdp": mdp, "pomdp": pomdp, "apomdp": apomdp}[kind].env(horizon),
        spaces=Spaces(observations=side**2 if kind == "mdp" else 2 * side**2, actions=4),
        horizon=horizon,
        member=_certain if kind == "apomdp" else lambda world, model: world,
        visit_exploration=visit_exploration,
        behaviour_scale=behaviour_scale,
    )


def _certain(world: apomdp.APOMDP, model: jax.Array) -> apomdp.APOMDP:
    return world._replace(nature=jax.nn.one_hot(model, world.nature.shape[-1], dtype=world.nature.dtype))
