"""Sweeps of supervised fine-tuning: the gap against learning rate, decay, observation quality, ambiguity and the rest.

Figure: `sweep_...`, the optimality gap against each swept field, every seed a point.
Command: `python -m experiments.sft sweep --rate 1e-3 3e-3 --cue-accuracy 0.6 0.75 0.9 --seeds 16`; with
`--setting apomdp` also `--attitude` (alpha) and `--models`; `... sweep --help` lists what can be swept.

One network for each seed is pretrained as in the study, and fine-tuned and evaluated at every point. Where a number of
the tasks is given (slip, cue accuracy, attitude, models), all tasks of the point have it, in fine-tuning and
evaluation; what is not given is mixed, as in the study.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np

from experiments import rooms
from experiments.fields import Rule, check, word
from experiments.rooms import TaskRanges
from experiments.sft import methods, stages
from experiments.sft.config import PRESETS, RULES, check_division
from experiments.sft.methods import DEMONSTRATIONS, Method, make_methods
from experiments.sft.stages import Stages, runner
from experiments.sft.tasks import Domain, held_out, room_domain, without_models
from experiments.streams import Use, stream
from experiments.sweep import Grid, Swept, fit_points, map_points, programs, same_fields, shaped
from jaxdm import trainer
from jaxdm.analysis import storage
from jaxdm.models.transformer import TransformerConfig, network
from jaxdm.sft import losses, offline, tasks
from jaxdm.sft.data import Kind
from jaxdm.sft.losses import Targets
from jaxdm.sft.tasks import Task
from jaxdm.types import Network, Tree
from jaxdm.validation import InvalidInput, nonnegative_number, number_in, probability

FIXED: dict[Kind, tuple[str, ...]] = {
    "mdp": ("slip",),
    "pomdp": ("slip", "cue_accuracy"),
    "apomdp": ("slip", "cue_accuracy", "attitude", "models"),
}
"""Numbers of the tasks that can be given in each setting."""


DATA = {"rate": 1e-3, "decay": 0.0, "slip": None, "cue_accuracy": None, "attitude": None, "models": None}
"""Fields that are data, and a value that stands for all."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SFTSweep:
    """What a sweep of the study can change; the meaning of a field is that of the study's."""

    setting: Kind = "pomdp"
    """Kind of world."""
    slip: float | None = None
    """Chance of a random move, of all tasks; mixed when left out."""
    cue_accuracy: float | None = None
    """Observation quality: the chance that the cue equals the mode, of all tasks; mixed when left out."""
    attitude: float | None = None
    """The ambiguity attitude alpha, of all tasks; mixed when left out."""
    models: int | None = None
    """Distinct models, of all tasks; mixed when left out."""
    rate: float
    """Peak learning rate of fine-tuning."""
    decay: float = 1e-4
    """Decoupled weight decay of fine-tuning."""
    side: int
    """Cells along a wall of the rooms."""
    horizon: int
    """Steps of an episode."""
    supports: int
    """Demonstrations in the context, in training and judgement."""
    seeds: int
    """Training seeds of every combination."""
    train_share: float
    """Share of the identities (goal, controls) to train on; the rest are held out."""
    train_tasks: int
    """Size of the training pool."""
    test_tasks: int
    """Held-out tasks of each training seed."""
    episodes: int
    """Query episodes per held-out task, in each model; even."""
    items: int
    """Stored labelled sequences to fine-tune on, of each seed."""
    pretrain_items: int
    """Stored unlabelled sequences to pretrain on, of each seed."""
    pretrain_tokens: int
    """Steps of such a sequence."""
    room_share: float
    """Share of pretraining sequences that come from training rooms."""
    pretrain_steps: int
    """Gradient steps of pretraining."""
    pretrain_rate: float
    """Its peak learning rate."""
    sft_steps: int
    """Gradient steps of fine-tuning."""
    batch: int
    """Sequences of a gradient step."""
    targets: Targets
    """What fine-tuning predicts: actions, or all."""
    visit_exploration: float
    """Exploration of the expert in the labelled query episode."""
    behaviour_scale: float
    """Inverse temperature of the random behaviour in pretraining."""
    network: TransformerConfig
    """Shape of the network."""
    workers: int
    """Seeds whose tasks are drawn at once."""
    seed: int
    """Of everything random."""
    results: Path
    """Where results go."""


SWEEPS = {name: same_fields(SFTSweep, study) for name, study in PRESETS.items()}
"""One for each preset."""


def validate(values: SFTSweep) -> None:
    """Check every field.

    Raises:
        InvalidInput: names the first field that is out of range.
    """

    def given(rule: Rule) -> Rule:
        return lambda name, value: value is None or rule(name, value)

    check(
        values,
        setting=word(get_args(Kind)),
        slip=given(probability),
        cue_accuracy=given(lambda name, value: number_in(name, value, 0.5, 1)),
        attitude=given(probability),
        models=given(lambda name, value: number_in(name, value, 1, rooms.MODELS)),
        decay=nonnegative_number,
        **RULES,
    )
    for name in ("slip", "cue_accuracy", "attitude", "models"):
        if getattr(values, name) is not None and name not in FIXED[values.setting]:
            raise InvalidInput(f"{name}: {getattr(values, name)}; expected none in setting {values.setting}")
    check_division(values, [values.horizon])


def run(points: Grid) -> Swept:
    """Fine-tune and judge every point.

    Returns:
        `gap` [..., seed] on held-out tasks, `initial_gap` of the pretrained network, `accuracy` of decisions,
        `recursive_regret`, and `training_loss` over the last tenth of the steps.
    """
    rows: list[Any] = [None] * len(points.configs)
    for shared_by, members in programs(points, lambda values: dataclasses.replace(values, **DATA)).items():
        for index, found in zip(members, trained(shared_by, [points.configs[i] for i in members]), strict=True):
            rows[index] = found
    seed = range(points.configs[0].seeds)
    metrics: dict[str, Any] = {name: shaped([row[name] for row in rows], points, seed=seed) for name in rows[0]}
    return Swept(subject=f"sft {points.configs[0].setting}", measure="gap", metrics=metrics)


def trained(values: SFTSweep, points: list[SFTSweep]) -> list[dict[str, np.ndarray]]:
    """Points of one program: what is measured of each, by name, [G]."""
    play = (values.visit_exploration, values.behaviour_scale)
    domain = room_domain(
        values.setting, values.side, values.horizon, play, values.seed, values.train_share, values.train_tasks
    )
    spaces = domain.setting.spaces
    net = network(values.network, spaces.features, spaces.outputs)
    shared = shared_stages(values, net, domain)
    base = pretrained(shared, domain, values)
    kinds = {given(point): None for point in points}
    sequences, evaluated = {}, {}
    for fixed in kinds:
        ranges = fixed_ranges(domain.ranges, dict(fixed))
        name = " ".join(["sweep", values.setting, *(f"{field} {value:g}" for field, value in fixed)])
        key = stream(values.seed, Use.SFT_POOL, values.setting, values.horizon)
        pool = without_models(tasks.sample(key, domain.family, ranges, values.train_tasks, domain.known))
        of_seed = stages.gathered(shared, name, domain.setting, pool, "SFT", values.supports, values.items)
        sequences[fixed] = [jax.tree.map(np.asarray, of_seed(seed)) for seed in range(values.seeds)]
        evaluated[fixed] = held_out(domain, values.seed, values.seeds, values.test_tasks, values.workers, ranges=ranges)
    loss = losses.stored_loss(net, spaces, batch=values.batch, targets=values.targets)
    makers = [trainer.make(loss, trainer.adamw(one.rate, values.sft_steps, decay=one.decay)) for one in points]
    keys = stages.keys(values.seed, values.seeds, Use.SFT_TRAINING, "fine-tuning")
    states = [jax.vmap(maker.init)(keys, base) for maker in makers]
    stored = [offline.store(each) for point in points for each in sequences[given(point)]]
    fit = fit_points(
        f"sft {values.setting}",
        makers[0],
        jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *states),
        stacked(stored),
        values.sft_steps,
        folder=shared.runner.folder / storage.config_hash(points),
        identity=[shared.runner.identity, points],
        own_data=True,
    )
    again = jax.tree.map(lambda leaf: jnp.tile(leaf, (len(points), *[1] * (leaf.ndim - 1))), base)
    both = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), fit.state.params, again)
    held = stacked([each for point in points for each in evaluated[given(point)]])
    program = make_methods(domain.setting, net, max(values.supports, 1), values.episodes).networks
    test = stages.keys(values.seed, values.seeds, Use.SFT_TEST)

    def of_point(point: tuple[jax.Array, Tree, Task], _: Tree) -> methods.Score:
        key, weights, own = point
        method = Method(
            params=weights,
            shown=jnp.int32(values.supports),
            source=jnp.int32(DEMONSTRATIONS),
            temperature=jnp.float32(0),
        )
        return program(key, own, method, own)

    repeated = jnp.tile(test, 2 * len(points))
    twice = jax.tree.map(lambda leaf: np.concatenate([leaf, leaf]), held)
    score = map_points(f"evaluation of sft {values.setting}", of_point, (repeated, both, twice))
    late = fit.losses[:, -max(1, values.sft_steps // 10) :].mean(axis=1)
    gap, regret = (np.reshape(x, (2, len(points), -1)) for x in (score.gap, score.recursive_regret))
    accuracy = np.reshape(np.mean(score.accuracy, axis=1), gap.shape)
    return [
        {
            "gap": gap[0, index],
            "initial_gap": gap[1, index],
            "recursive_regret": regret[0, index],
            "accuracy": accuracy[0, index],
            "training_loss": late.reshape(len(points), -1)[index],
        }
        for index in range(len(points))
    ]


def shared_stages(values: SFTSweep, net: Network, domain: Domain) -> Stages:
    """What the study's stages share, with the sweep's sizes."""
    identity = ["sweep", values]
    return Stages(
        runner=runner(values.seeds, values.workers, values.results, identity),
        network=net,
        spaces=domain.setting.spaces,
        seed=values.seed,
        supports=values.supports,
        batch=values.batch,
        targets=values.targets,
        fresh=False,
        data=None,
        items=values.items,
        rate=values.rate,
        scratch_rate=values.rate,
        sft_steps=values.sft_steps,
        axis_steps=values.sft_steps,
        imitation_steps=values.sft_steps,
    )


def pretrained(shared: Stages, domain: Domain, values: SFTSweep) -> Tree:
    """The weights of the network that all points start from, leading axis [G]: other families, and training rooms."""
    own = round(values.room_share * values.pretrain_items)
    sources = [
        stages.other_families(shared.spaces, values.horizon, values.pretrain_tokens, values.pretrain_items - own),
        stages.own_family(domain.setting, domain.pool, values.pretrain_tokens, own),
    ]
    of_seed = stages.pretraining_data(values.seed, sources)
    loss = losses.stored_loss(shared.network, shared.spaces, batch=values.batch, targets="all")
    maker = trainer.make(loss, trainer.adamw(values.pretrain_rate, values.pretrain_steps))
    keys = stages.keys(values.seed, values.seeds, Use.SFT_TRAINING, "pretraining")
    return fit_points(
        "sft pretraining",
        maker,
        jax.vmap(maker.init)(keys, stages.initial_weights(shared)),
        stacked([of_seed(seed) for seed in range(values.seeds)]),
        values.pretrain_steps,
        folder=shared.runner.folder / "pretraining",
        identity=[shared.runner.identity, "pretraining"],
        own_data=True,
    ).state.params


def given(point: SFTSweep) -> tuple[tuple[str, float], ...]:
    """The numbers of the tasks that a point fixes, by name."""
    numbers = {name: getattr(point, name) for name in FIXED[point.setting]}
    return tuple((name, value) for name, value in numbers.items() if value is not None)


def fixed_ranges(ranges: TaskRanges, numbers: Mapping[str, float]) -> TaskRanges:
    """The ranges of training with some numbers fixed."""
    return ranges._replace(**{name: (value,) * len(getattr(ranges, name)) for name, value in numbers.items()})


def stacked(trees: list[Any]) -> Any:
    """Trees of the same shapes as one, in numpy arrays: on the host until they are placed."""
    return jax.tree.map(lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]), *trees)
