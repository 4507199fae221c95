"""The tasks, the setting and the network of a study, drawn and solved before any training."""

from typing import NamedTuple

from experiments import rooms
from experiments.sft.config import SFTConfig
from experiments.streams import Use, stream
from jaxdm.models.transformer import network
from jaxdm.sft import tasks
from jaxdm.sft.data import Kind, Setting
from jaxdm.sft.tasks import Task
from jaxdm.types import Network


class Study(NamedTuple):
    """One setting of the study, ready to be trained on."""

    side: int  # cells along a wall
    setting: Setting
    network: Network
    pool: Task  # leading axis [train_tasks]
    held_out: Task  # leading axis [test_tasks]


def prepare(config: SFTConfig, kind: Kind) -> Study:
    """Draw and solve the tasks of one setting; training and held-out tasks have random streams of their own."""
    side = config.side if kind == "mdp" else config.hidden_mode_side
    setting = rooms.setting(kind, side, config.horizon, config.visit_exploration, config.behaviour_scale)
    family = rooms.family(kind, side, config.horizon)
    ranges = rooms.training_ranges(kind, side)
    pool = tasks.sample(stream(config.seed, Use.SFT_POOL), family, ranges, config.train_tasks)
    return Study(
        side=side,
        setting=setting,
        network=network(config.network, setting.spaces.features, setting.spaces.outputs),
        pool=pool._replace(model_q=pool.model_q[:, :0]),  # values by model are large, and only evaluation needs them
        held_out=tasks.sample(stream(config.seed, Use.SFT_HELD_OUT), family, ranges, config.test_tasks),
    )
