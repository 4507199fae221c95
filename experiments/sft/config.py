"""The sizes of the fine-tuning study: `quick` for two CPU cores, `paper` for a GPU, `toy` for tests."""

import dataclasses
from pathlib import Path
from typing import Literal

from jaxdm.models.transformer import TransformerConfig
from jaxdm.sft.data import Kind

NETWORK = TransformerConfig(mlp_ratio=2)


@dataclasses.dataclass(frozen=True, kw_only=True)
class AxisPoints:
    """The points of every axis; every default is the quick preset's."""

    horizon: tuple[int, ...] = (5, 10, 20)
    """Steps of an episode at test."""
    cue_accuracy: tuple[float, ...] = (0.5, 0.75, 1.0)
    """Chance that the cue equals the mode."""
    models: tuple[int, ...] = (1, 2, 4)
    """Distinct models."""
    attitude: tuple[float, ...] = (0.0, 0.5, 1.0)
    """The ambiguity attitude alpha."""
    slip: tuple[float, ...] = (0.1, 0.3, 0.5)
    """Distribution shift: chance of a random move."""
    extent: tuple[int, ...] = (3, 4)
    """Distribution shift: cells along a wall in use, where they fit."""
    pool: tuple[int, ...] = (30, 1000)
    """Training tasks, at most `train_tasks`."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SFTConfig:
    """Sizes of the study; every default is the quick preset's."""

    settings: tuple[Kind, ...] = ("mdp", "pomdp", "apomdp")
    """Kinds of world."""
    workers: int = 3
    """Settings that run at once; the results do not depend on it."""
    side: int = 4
    """Cells along a wall of the rooms of the MDP setting."""
    hidden_mode_side: int = 3
    """The same where modes are hidden."""
    horizon: int = 10
    """Steps of an episode."""
    supports: int = 2
    """Demonstrations in the context of a training sequence."""
    demonstrations: tuple[int, ...] = (0, 1, 2, 4)
    """Demonstrations at test; the training number must be among them."""
    train_tasks: int = 1000
    """Size of the training pool."""
    test_tasks: int = 64
    """Held-out tasks."""
    episodes: int = 4
    """Query episodes per held-out task, in each model."""
    seeds: int = 4
    """Training seeds, the unit of every interval."""
    pretrain_steps: int = 500
    """Gradient steps of pretraining."""
    sft_steps: int = 800
    """Gradient steps of fine-tuning, and of training from scratch."""
    dpt_steps: int = 300
    """Gradient steps of decision pretraining."""
    further_steps: int = 150
    """Gradient steps of the fine-tuning on fewer tasks and on other experts."""
    rate: float = 3e-3
    """Peak learning rate."""
    batch: int = 32
    """Sequences of a gradient step."""
    targets: Literal["actions", "all"] = "actions"
    """What fine-tuning predicts."""
    visit_exploration: float = 0.3
    """Exploration of the expert in the labelled query episode."""
    behaviour_scale: float = 3.0
    """Inverse temperature of the random behaviour policies of pretraining."""
    axes: AxisPoints = AxisPoints()
    """Points of the axes along which gaps are measured."""
    network: TransformerConfig = NETWORK
    """Shape of the network."""
    seed: int = 0
    """Of everything random."""
    results: Path = Path("results")
    """Where results go."""


PRESETS = {
    "quick": SFTConfig(),
    "paper": SFTConfig(
        side=6,
        hidden_mode_side=4,
        horizon=20,
        seeds=5,
        train_tasks=3200,
        test_tasks=256,
        episodes=16,
        pretrain_steps=10_000,
        sft_steps=20_000,
        dpt_steps=20_000,
        further_steps=5_000,
        rate=1e-3,
        batch=64,
        demonstrations=(0, 1, 2, 3, 4),
        axes=AxisPoints(
            horizon=(5, 10, 20, 40),
            cue_accuracy=(0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
            models=(1, 2, 3, 4),
            attitude=(0.0, 0.25, 0.5, 0.75, 1.0),
            slip=(0.0, 0.1, 0.2, 0.3, 0.4, 0.5),
            extent=(3, 4, 5, 6),
            pool=(32, 100, 320, 1000, 3200),
        ),
        network=TransformerConfig(width=128, layers=4, heads=4),
    ),
    "toy": SFTConfig(
        side=3,
        horizon=3,
        supports=1,
        demonstrations=(0, 1),
        train_tasks=20,
        test_tasks=8,
        episodes=2,
        seeds=2,
        pretrain_steps=4,
        sft_steps=4,
        dpt_steps=4,
        further_steps=4,
        batch=4,
        axes=AxisPoints(
            horizon=(3,),
            cue_accuracy=(0.5, 1.0),
            models=(1, 2),
            attitude=(0.0, 1.0),
            slip=(0.1, 0.5),
            extent=(3,),
            pool=(5, 20),
        ),
        network=TransformerConfig(width=8, layers=1, heads=1),
    ),
}
