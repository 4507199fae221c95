"""The rooms that the fine-tuning studies train on: one family, three settings, each a part of the next.

Hidden-mode rooms of three cells a side, in one of whose two modes every control does the opposite:

- `mdp`: the cue always equals the mode, which is thereby seen;
- `pomdp`: the cue equals the mode with a chance in (1/2, 1);
- `apomdp`: up to four models, each with its own slip, cue accuracy and chance of a mode, so different that not knowing
  which is true costs: see `cost_of_ambiguity`.

All have the same observations and actions, so that one network serves them.
"""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxdm.envs import apomdp, families
from jaxdm.envs.families.mdp import identities
from jaxdm.oracles.history_backup import weigh
from jaxdm.sft import tasks
from jaxdm.sft.data import Kind, Setting
from jaxdm.sft.tasks import Family, Task
from jaxdm.sft.worlds import only
from jaxdm.tokens import Spaces

MODELS = 4
"""Models of an ambiguous room; fewer distinct ones are repeated."""


class TaskRanges(NamedTuple):
    """The ranges from which a task's numbers are drawn uniformly; equal ends fix a number."""

    slip: Any = (0.02, 0.4)  # chance of a random move
    cue_accuracy: Any = (0.55, 0.95)  # chance that the cue equals the mode
    mode_prior: Any = (0.1, 0.9)  # chance of mode 0
    attitude: Any = (0.0, 1.0)  # alpha
    models: Any = (1, 2, 4)  # numbers of distinct models, equally likely


def training_ranges(kind: Kind, side: int) -> TaskRanges:
    """The tasks of training: whatever an axis varies is mixed, so that one network serves all its points."""
    return TaskRanges(cue_accuracy=(1.0, 1.0)) if kind == "mdp" else TaskRanges()


@functools.cache
def family(kind: Kind, side: int, horizon: int) -> Family:
    """The rooms of a setting; the same object for the same sizes, so that it is compiled once.

    A room whose controls are reversed is the same room with its modes exchanged: both are trained on, or neither.
    """
    return _family(MODELS if kind == "apomdp" else 1, side, horizon)


@functools.cache
def _family(models: int, side: int, horizon: int) -> Family:
    def between(numbers: jax.Array, bounds: Any) -> jax.Array:
        return bounds[0] + (bounds[1] - bounds[0]) * numbers

    def draw(key: jax.Array, identity: jax.Array, ranges: TaskRanges) -> Task:
        key_room, key_numbers, key_models, key_attitude = jax.random.split(key, 4)
        numbers = jax.random.uniform(key_numbers, (3, models))
        distinct = jax.random.choice(key_models, jnp.asarray(ranges.models)) if models > 1 else 1
        model = jnp.arange(models) % distinct
        room = families.rooms.hidden_mode_room(
            key_room,
            side=side,
            slip=between(numbers[0], ranges.slip)[model],
            cue_accuracy=between(numbers[1], ranges.cue_accuracy)[model],
            mode_prior=between(numbers[2], ranges.mode_prior)[model],
            attitude=between(jax.random.uniform(key_attitude), ranges.attitude),
            identity=identity,
        )
        return tasks.solve_room(room, horizon)._replace(identity=identity)

    return Family(draw=draw, identities=identities(side), tied=2)


@functools.cache
def setting(kind: Kind, side: int, horizon: int, visit_exploration: float, behaviour_scale: float) -> Setting:
    """The setting of a kind of world; the last two as in `jaxdm.sft.data.Setting`."""
    return Setting(
        env=_env(horizon),
        spaces=Spaces(observations=2 * side**2, actions=4),
        horizon=horizon,
        member=apomdp.certain if kind == "apomdp" else only,
        visit_exploration=visit_exploration,
        behaviour_scale=behaviour_scale,
    )


@functools.cache
def _env(horizon: int) -> Any:
    return apomdp.env(horizon)


def cost_of_ambiguity(
    key: jax.Array, side: int, horizon: int, models: Sequence[int], count: int
) -> tuple[np.ndarray, np.ndarray]:
    """What not knowing the model costs a pessimist, before any training.

    Rooms with 1, 2, 4 models are nested: the first model is the same in all. The value is that of the alpha-maxmin
    recursion at alpha = 1 before the first observation.

    Args:
        key: random key.
        side: cells along a wall.
        horizon: H.
        models: numbers of models, the first of which is 1.
        count: rooms.

    Returns:
        Mean values `(V_m - V^random) / (V* - V^random)` [len(models)], where `V*` is that of a single model, and their
        standard errors over rooms.
    """
    ranges = training_ranges("apomdp", side)._replace(attitude=(1.0, 1.0))
    everyone = np.arange(count, dtype=np.int32) % identities(side)
    values, chance = [], np.zeros(count)
    for distinct in models:
        fixed = ranges._replace(models=(distinct,) * len(ranges.models))
        solved = tasks.solve_each(key, family("apomdp", side, horizon), fixed, everyone)
        values.append(np.asarray(jax.jit(jax.vmap(recursive_value))(solved)))
        if distinct == 1:
            chance = np.asarray(solved.random_value[:, 0])
    lost = (np.stack(values) - chance) / np.mean(values[0] - chance)
    return lost.mean(axis=1), lost.std(axis=1, ddof=1) / np.sqrt(count)


def recursive_value(task: Task) -> jax.Array:
    """The value of the alpha-maxmin recursion before the first observation, []; no batch axis."""
    world = task.world
    mass = jnp.einsum("ms,mso->mo", world.initial, world.initial_observation)
    value = mass @ jnp.max(task.q[0], axis=-1)[jnp.asarray(task.graph.root)]
    return weigh(value, jnp.ones_like(value, bool), world.attitude)
