"""The sizes of the fine-tuning study: `quick` previews, `full` is the evidence on two cores, `paper` is for a GPU.

What the presets give, and what it costs, in gradient steps for each training seed (one network is pretrained for all
settings and horizons, and all that follows starts from it, but for what says "from scratch"):

    pretraining                      pretrain_steps   on pretrain_tokens tokens, horizons mixed
    SFT, SFT from scratch, DPT, AD   4 x sft_steps    in each setting
    labels                           2 x points x axis_steps         pretrained and from scratch
    tasks, steps                     points x axis_steps, and the sum of the points
    horizon                          5 x axis_steps   one network for each horizon and context
    imitation                        3 x imitation_steps

`toy` only tries the path.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from experiments.fields import Rule, at_least, shape, word
from jaxdm.models.transformer import TransformerConfig
from jaxdm.sft.data import Kind
from jaxdm.sft.losses import Targets
from jaxdm.validation import InvalidInput, nonnegative_number, number_in, positive_number, probability

NETWORK = TransformerConfig(mlp_ratio=2)


@dataclasses.dataclass(frozen=True, kw_only=True)
class AxisPoints:
    """The points of every axis; every default is the full preset's."""

    horizon: tuple[int, ...] = (5, 10, 20)
    """Steps of an episode; one network is trained for each."""
    cue_accuracy: tuple[float, ...] = (0.55, 0.65, 0.75, 0.85, 0.95)
    """Chance that the cue equals the mode, within the range of training; POMDPs."""
    models: tuple[int, ...] = (1, 2, 4)
    """Distinct models, for a pessimist (attitude 1); ambiguous POMDPs."""
    attitude: tuple[float, ...] = (0.0, 0.5, 1.0)
    """The ambiguity attitude alpha."""
    slip: tuple[float, ...] = (0.1, 0.3, 0.6)
    """Chance of a random move; the last is a shift of distribution."""
    labels: tuple[int, ...] = (32, 100, 320, 1000, 3200)
    """Stored sequences N to fine-tune on, at most `items`."""
    tasks: tuple[int, ...] = (32, 100, 1000)
    """Training tasks, at most `train_tasks`."""
    steps: tuple[int, ...] = (100, 300, 1000)
    """Gradient steps of fine-tuning."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SFTConfig:
    """Sizes of the study; every default is the full preset's."""

    settings: tuple[Kind, ...] = ("mdp", "pomdp", "apomdp")
    """Kinds of world."""
    axis_setting: Kind = "pomdp"
    """The setting along whose horizon, labels, tasks and steps networks are trained again."""
    world: str | None = None
    """Not rooms, but the worlds near this one: tiger, maintenance, treatment, or the path of a .POMDP or .MDP file."""
    world_horizon: int = 4
    """Steps of an episode of `world`."""
    concentration: float = 20.0
    """How near to `world` its tasks are: every row is drawn from Dirichlet(concentration row)."""
    data: str | None = None
    """A .npz or .jsonl file of labelled sequences to fine-tune on instead of gathered ones, in every setting."""
    fresh: bool = False
    """Whether fine-tuning draws fresh labelled sequences for ever, not from a fixed set."""
    workers: int = 2
    """Seeds that are trained or evaluated at once; the results do not depend on it."""
    side: int = 3
    """Cells along a wall of the rooms."""
    horizon: int = 10
    """Steps of an episode."""
    supports: int = 2
    """Demonstrations in the context of a training sequence."""
    demonstrations: tuple[int, ...] = (0, 1, 2, 4)
    """Demonstrations at test; the training number must be among them."""
    train_share: float = 0.75
    """Share of the identities (goal, controls) to train on; the rest are held out."""
    train_tasks: int = 1000
    """Size of the training pool of each setting."""
    test_tasks: int = 48
    """Held-out tasks of each training seed."""
    particles: int = 4
    """Draws of the continuous numbers for each identity, in the enumeration behind the Bayes reference."""
    episodes: int = 16
    """Query episodes per held-out task, in each model; even."""
    seeds: int = 8
    """Training seeds, the unit of every interval."""
    items: int = 10_000
    """Stored labelled sequences to fine-tune on, of each seed and setting."""
    pretrain_items: int = 16_000
    """Stored unlabelled sequences to pretrain on, of each seed."""
    pretrain_tokens: int = 60
    """Steps of such a sequence: as many episodes as fit, of each horizon."""
    room_share: float = 0.5
    """Share of pretraining sequences that come from training rooms, unlabelled; the rest are of other families."""
    pretrain_steps: int = 10_000
    """Gradient steps of pretraining."""
    sft_steps: int = 2500
    """Gradient steps of fine-tuning, of training from scratch, of decision pretraining and algorithm distillation."""
    axis_steps: int = 1000
    """Gradient steps of the networks along the axes."""
    imitation_steps: int = 500
    """Gradient steps of the fine-tuning on other experts."""
    pretrain_rate: float = 3e-3
    """Peak learning rate of pretraining."""
    rate: float = 3e-3
    """Peak learning rate of all other training."""
    scratch_rate: float = 3e-3
    """Peak learning rate from scratch."""
    batch: int = 32
    """Sequences of a gradient step."""
    targets: Literal["actions", "all"] = "actions"
    """What fine-tuning predicts."""
    visit_exploration: float = 0.3
    """Exploration of the expert in the labelled query episode."""
    behaviour_scale: float = 3.0
    """Inverse temperature of the random behaviour that decision pretraining is shown."""
    axes: AxisPoints = AxisPoints()
    """Points of the axes along which gaps are measured."""
    network: TransformerConfig = NETWORK
    """Shape of the network."""
    seed: int = 0
    """Of the study: of everything random, all training seeds included."""
    results: Path = Path("results")
    """Where results go."""


PRESETS = {
    "quick": SFTConfig(
        seeds=3,
        demonstrations=(0, 2, 4),
        train_tasks=320,
        test_tasks=32,
        particles=2,
        episodes=4,
        items=3200,
        pretrain_items=6000,
        pretrain_steps=1200,
        sft_steps=400,
        axis_steps=150,
        imitation_steps=100,
        axes=AxisPoints(
            cue_accuracy=(0.55, 0.95),
            models=(1, 4),
            attitude=(0.0, 1.0),
            slip=(0.1, 0.6),
            labels=(32, 320, 3200),
            tasks=(32, 320),
            steps=(100, 300),
        ),
    ),
    "full": SFTConfig(),
    "paper": SFTConfig(
        side=4,
        horizon=20,
        train_tasks=3200,
        test_tasks=128,
        episodes=16,
        items=32_000,
        pretrain_items=128_000,
        pretrain_tokens=120,
        pretrain_steps=60_000,
        sft_steps=20_000,
        axis_steps=10_000,
        imitation_steps=5_000,
        pretrain_rate=1e-3,
        rate=3e-4,
        scratch_rate=1e-3,
        batch=64,
        demonstrations=(0, 1, 2, 3, 4),
        axes=AxisPoints(
            horizon=(10, 20, 40),
            attitude=(0.0, 0.25, 0.5, 0.75, 1.0),
            models=(1, 2, 3, 4),
            labels=(32, 100, 320, 1000, 3200, 10_000, 32_000),
            tasks=(32, 100, 320, 1000, 3200),
            steps=(300, 1000, 3000, 10_000),
        ),
        network=TransformerConfig(width=128, layers=4, heads=4),
    ),
    "toy": SFTConfig(
        horizon=3,
        world_horizon=2,
        supports=1,
        demonstrations=(0, 1),
        train_tasks=20,
        test_tasks=8,
        particles=1,
        episodes=2,
        seeds=2,
        items=40,
        pretrain_items=40,
        pretrain_tokens=6,
        pretrain_steps=4,
        sft_steps=4,
        axis_steps=4,
        imitation_steps=4,
        batch=4,
        axes=AxisPoints(
            horizon=(2, 3),
            cue_accuracy=(0.55, 0.95),
            models=(1, 4),
            attitude=(0.0, 1.0),
            slip=(0.1, 0.6),
            labels=(10, 40),
            tasks=(5, 20),
            steps=(2, 4),
        ),
        network=TransformerConfig(width=8, layers=1, heads=1),
    ),
}


RULES: Mapping[str, Rule] = {
    "side": at_least(3),
    "supports": at_least(0),
    "train_share": lambda name, value: number_in(name, value, 0.05, 0.95),
    "room_share": probability,
    "seeds": at_least(2),
    "episodes": at_least(2),
    "rate": positive_number,
    "pretrain_rate": positive_number,
    "targets": word(get_args(Targets)),
    "visit_exploration": probability,
    "behaviour_scale": nonnegative_number,
    "network": shape,
    "horizon": at_least(1),
    "train_tasks": at_least(1),
    "test_tasks": at_least(1),
    "items": at_least(1),
    "batch": at_least(1),
    "pretrain_items": at_least(1),
    "pretrain_tokens": at_least(1),
    "pretrain_steps": at_least(1),
    "sft_steps": at_least(1),
    "workers": at_least(1),
}
"""Of the fields that the study and its sweeps share."""


def check_division(values: Any, horizons: Iterable[int]) -> None:
    """Check what must divide what: query episodes into halves, pretraining sequences into episodes of each horizon.

    Raises:
        InvalidInput: names the field that does not.
    """
    if values.episodes % 2:
        raise InvalidInput(f"episodes: {values.episodes}; expected an even number, for two halves")
    for horizon in horizons:
        if values.pretrain_tokens % horizon:
            raise InvalidInput(f"pretrain_tokens: {values.pretrain_tokens}; expected a multiple of horizon {horizon}")
