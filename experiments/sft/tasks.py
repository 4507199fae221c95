"""What every stage and every comparison of one setting shares: tasks for training, others held out, and the network."""

from typing import NamedTuple, get_args

import jax

from experiments import rooms
from experiments.rooms import TaskRanges
from experiments.sft.config import Config
from jaxdm.models.transformer import network
from jaxdm.sft import experts, tasks
from jaxdm.sft.data import Kind, Setting
from jaxdm.sft.tasks import Task
from jaxdm.types import Network
from jaxdm.validation import InvalidInput

USES = ("initial weights", "training", "pool", "held out", "test", "probe")
"""Of randomness; none shares a key with another."""


class Study(NamedTuple):
    """One setting of the study, ready to be trained on."""

    config: Config
    kind: Kind
    setting: Setting
    network: Network
    pool: Task
    held_out: Task


def prepare(config: Config, kind: Kind) -> Study:
    """Draw and solve the tasks; training and held-out tasks come from different keys.

    Raises:
        ValueError: an unknown setting, a single seed, or no test at the training number of demonstrations.
    """
    if kind not in get_args(Kind):
        raise InvalidInput(f"settings: {kind!r}; expected one of {', '.join(get_args(Kind))}")
    if config.seeds < 2:
        raise InvalidInput(f"seeds: {config.seeds}; expected at least 2, the unit of every interval")
    if config.supports >= 0 and config.supports not in config.demonstrations:
        shown = config.demonstrations
        raise InvalidInput(f"demonstrations: {shown}; expected the training number {config.supports} among them")
    experts.soft_oracle(config.visit_exploration)
    setting, side = setting_of(config, kind, config.horizon), side_of(config, kind)
    draw, about = rooms.family(kind, side, config.horizon), rooms.training_ranges(kind, side)
    pool = tasks.sample(key_of(config, "pool"), draw, about, config.train_tasks)
    return Study(
        config=config,
        kind=kind,
        setting=setting,
        network=network(config.network, setting.spaces.features, setting.spaces.outputs),
        pool=pool._replace(model_q=pool.model_q[:, :0]),  # values by model are large, and only judgement needs them
        held_out=held_out(config, kind, config.horizon, about),
    )


def key_of(config: Config, use: str) -> jax.Array:
    """The key for one of `USES`."""
    return jax.random.fold_in(jax.random.key(config.seed), USES.index(use))


def side_of(config: Config, kind: Kind) -> int:
    """Cells along a wall."""
    return config.side if kind == "mdp" else config.moody_side


def setting_of(config: Config, kind: Kind, horizon: int) -> Setting:
    """The study's setting, for any horizon."""
    return rooms.setting(kind, side_of(config, kind), horizon, config.visit_exploration, config.behaviour_scale)


def held_out(config: Config, kind: Kind, horizon: int, about: TaskRanges) -> Task:
    """Held-out tasks; those of different strata share rooms, as all are drawn with one key."""
    draw = rooms.family(kind, side_of(config, kind), horizon)
    return tasks.sample(key_of(config, "held out"), draw, about, config.test_tasks)
