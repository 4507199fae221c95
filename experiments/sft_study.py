"""The sizes of the fine-tuning study (`quick` for two CPU cores, `paper` for a GPU, `toy`), its worlds and tasks."""

import dataclasses
from pathlib import Path
from typing import Literal, NamedTuple

import jax

from jaxdm import finetuning, prompts, tasks
from jaxdm.envs import families
from jaxdm.models.transformer import Transformer, network
from jaxdm.types import Network


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Sizes of the study; every default is the quick preset's."""

    name: str = "quick"
    """Of the preset, for the commands in the report."""
    setting: Literal["mdp"] = "mdp"
    """Kind of world."""
    side: int = 4
    """Cells along a wall of the room: side^2 states."""
    slip: float = 0.1
    """Chance of a random move."""
    horizon: int = 10
    """Steps of an episode."""
    supports: int = 2
    """Demonstrations of a training item."""
    demonstrations: tuple[int, ...] = (0, 1, 2, 4)
    """Demonstrations at test; the training number must be among them."""
    train_tasks: int = 2000
    """Size of the training pool."""
    test_tasks: int = 128
    """Held-out tasks."""
    episodes: int = 8
    """Query episodes per held-out task."""
    seeds: int = 3
    """Training seeds, the unit of every interval."""
    pretrain_steps: int = 800
    """Gradient steps of pretraining."""
    sft_steps: int = 800
    """Gradient steps of fine-tuning, and of training from scratch."""
    rate: float = 3e-3
    """Peak learning rate."""
    batch: int = 48
    """Items of a gradient step."""
    targets: Literal["actions", "all"] = "actions"
    """What fine-tuning predicts."""
    visit_exploration: float = 0.3
    """Exploration of the oracle in the labelled query episode."""
    behaviour_scale: float = 3.0
    """How decided the behaviour policies of pretraining are."""
    network: Transformer = dataclasses.field(default_factory=Transformer)
    """Shape of the network."""
    seed: int = 0
    """Of everything random."""
    results: Path = Path("results")
    """Where results go."""


PRESETS = {
    "quick": Config(),
    "paper": Config(
        name="paper", side=6, horizon=20, seeds=5, train_tasks=3200, test_tasks=512, episodes=32,
        pretrain_steps=10_000, sft_steps=20_000, rate=1e-3, demonstrations=(0, 1, 2, 3, 4),
        network=Transformer(width=128, layers=4, heads=4),
    ),
    "toy": Config(
        name="toy", side=2, horizon=3, supports=1, demonstrations=(0, 1), train_tasks=20, test_tasks=8, episodes=2,
        seeds=2, pretrain_steps=4, sft_steps=4, batch=4, network=Transformer(width=8, layers=1, heads=1),
    ),
}  # fmt: skip


class Study(NamedTuple):
    """What every stage and every comparison shares."""

    config: Config
    setting: finetuning.Setting
    network: Network
    pool: tasks.Task
    held_out: tasks.Task


def prepare(config: Config) -> Study:
    """Draw and solve the tasks; training and held-out tasks come from different keys.

    Raises:
        ValueError: an unknown setting, a single seed, or no test at the training number of demonstrations.
    """
    if config.setting != "mdp":
        raise ValueError(f"setting: {config.setting!r}; expected 'mdp'")
    if config.seeds < 2:
        raise ValueError(f"seeds: {config.seeds}; expected at least 2, the unit of every interval")
    if config.supports >= 0 and config.supports not in config.demonstrations:
        shown = config.demonstrations
        raise ValueError(f"demonstrations: {shown}; expected the training number {config.supports} among them")
    key_train, key_test = jax.random.split(jax.random.fold_in(jax.random.key(config.seed), 1))
    family = lambda key: families.dark_room(key, side=config.side, slip=config.slip)
    spaces = prompts.Spaces(observations=config.side**2, actions=4)
    return Study(
        config=config,
        setting=finetuning.mdp_setting(spaces, config.horizon, 0.0, config.visit_exploration, config.behaviour_scale),
        network=network(config.network, spaces.features, spaces.outputs),
        pool=tasks.sample(key_train, family, config.horizon, config.train_tasks),
        held_out=tasks.sample(key_test, family, config.horizon, config.test_tasks),
    )
