"""What is trained in the fine-tuning study, and on which data: pretraining, and everything that starts from it.

The seeds of a stage are trained side by side, each with its own data and checkpoints.

Dimensions: `G` training seeds, `N` stored sequences.
"""

import functools
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments import cli
from experiments.progress import bar
from experiments.streams import Use, stream
from jaxdm import trainer
from jaxdm.analysis import storage
from jaxdm.numerics import largest_divisor
from jaxdm.sft import data, losses, offline, pretraining
from jaxdm.sft.data import Item, Sequence, Setting
from jaxdm.sft.losses import Targets
from jaxdm.sft.tasks import Task
from jaxdm.tokens import Spaces
from jaxdm.types import Network, Tree

Loss = Callable[[Tree, jax.Array, Tree], jax.Array]


class Runner(NamedTuple):
    """What all training of a study shares."""

    seeds: int  # G
    workers: int  # seeds at once
    folder: Path  # of checkpoints
    identity: Any  # the study's configuration; checkpoints of another one are refused


class Trained(NamedTuple):
    """The outcome of a stage."""

    params: Tree  # leading axis [G]
    losses: np.ndarray  # [G, steps]
    seconds: float  # of all seeds together, as if one after the other


def runner(seeds: int, workers: int, results: Path, identity: Any) -> Runner:
    """Checkpoints go to `results/checkpoints/sft/<hash of identity>/<stage>/<seed>`."""
    folder = results / "checkpoints" / "sft" / storage.config_hash(identity)
    return Runner(seeds=seeds, workers=workers, folder=folder, identity=identity)


def train(
    runner: Runner,
    name: str,
    loss: Loss,
    params: Tree,
    keys: jax.Array,
    data: Callable[[int], Tree],
    *,
    rate: float,
    steps: int,
) -> Trained:
    """One training stage for all seeds; a seed that is done is read from its checkpoint.

    Args:
        runner: see there.
        name: of the stage.
        loss: what is minimised.
        params: weights at the start, leading axis [G].
        keys: [G].
        data: `seed index -> what the loss draws from`; called by one seed at a time when its turn comes.
        rate: peak learning rate.
        steps: gradient steps.
    """
    # How fast and how long is data in the optimiser's state: one program for all stages with the same loss and shapes.
    maker = trainer.make(loss, trainer.adamw(rate, steps))._replace(run=_program(loss).run)
    every = largest_divisor(steps, 50)  # for most the same: one program
    done, lock = np.zeros(runner.seeds, int), Lock()
    with bar(f"sft {name}, {runner.seeds} seeds", steps * runner.seeds) as show:

        def one(seed: int) -> trainer.Fit:
            def progress(at: int, value: float) -> None:
                with lock:
                    done[seed] = at
                    show(int(done.sum()), value)

            own = slice(seed, seed + 1)
            state = jax.vmap(maker.init)(keys[own], jax.tree.map(lambda x: x[own], params))
            return trainer.fit(
                maker,
                state,
                data(seed),
                steps,
                every=every,
                folder=runner.folder / name.replace(" ", "_") / str(seed),
                identity=[runner.identity, name, seed],
                progress=progress,
            )

        fits = cli.at_once(one, range(runner.seeds), runner.workers)
    return Trained(
        params=jax.tree.map(lambda *rows: jnp.concatenate(rows), *(fit.state.params for fit in fits)),
        losses=np.concatenate([fit.losses for fit in fits]),
        seconds=sum(fit.seconds for fit in fits),
    )


ITEMS: dict[str, Item] = {
    "SFT": data.expert_sequence,
    "DPT": data.dpt_sequence,
    "algorithm distillation": data.learning_sequence,
}
"""What each method learns from."""


LABELS_PER_STEP = 8
"""Of few labels, each is seen at most so often in fine-tuning per sequence of a batch: steps are cut to `8 N`."""


class Stages(NamedTuple):
    """What all stages of a study share."""

    runner: Runner
    network: Network
    spaces: Spaces
    seed: int  # of the study
    supports: int  # K, demonstrations in a training sequence
    batch: int
    targets: Targets
    fresh: bool  # whether labelled sequences are drawn anew in every step
    data: str | None  # a file of labelled sequences, instead of gathered ones
    items: int  # N, labelled sequences
    rate: float  # of what starts from the pretrained network
    scratch_rate: float  # of what starts from random weights
    sft_steps: int  # gradient steps, of the methods that are compared
    axis_steps: int  # of the networks along the axes
    imitation_steps: int  # of those that learn from other experts


COPIED = tuple(name for name in Stages._fields if name not in ("runner", "network", "spaces"))
"""Fields that have the same name in the configuration."""


class Source(NamedTuple):
    """Where some of the pretraining sequences come from."""

    draw: Callable[[jax.Array, Any], Sequence]
    data: Any
    size: int  # sequences of each seed


Sequences = Callable[[int], Sequence]
"""`seed index -> sequences [N, ...]`, of which each training seed has its own."""


def keys(seed: int, seeds: int, use: Use, *index: str | int) -> jax.Array:
    """A key for each training seed, [G]."""
    return jax.random.split(stream(seed, use, *index), seeds)


def initial_weights(stages: Stages) -> Tree:
    """Random weights, leading axis [G]."""
    return jax.jit(jax.vmap(stages.network.init))(keys(stages.seed, stages.runner.seeds, Use.SFT_INITIAL_WEIGHTS))


def other_families(spaces: Spaces, horizon: int, tokens: int, count: int) -> Source:
    """Sequences of many families, see `jaxdm.sft.pretraining.any_sequence`."""
    return Source(draw=_any_sequences(spaces, horizon, tokens // horizon), data=(), size=count)


def own_family(setting: Setting, pool: Task, tokens: int, count: int) -> Source:
    """Unlabelled sequences of training tasks, see `jaxdm.sft.pretraining.task_sequence`."""
    item = pretraining.task_sequence
    return Source(draw=offline.items(setting, item, tokens // setting.horizon - 1), data=pool, size=count)


@functools.cache
def _any_sequences(spaces: Spaces, horizon: int, episodes: int) -> Callable[[jax.Array, Any], Sequence]:
    return lambda key, _: pretraining.any_sequence(key, spaces, horizon, episodes)


def pretrain(stages: Stages, params: Tree, sources: list[Source], *, rate: float, steps: int) -> Trained:
    """Predict the next action, observation and reward of unlabelled behaviour."""
    order = keys(stages.seed, stages.runner.seeds, Use.SFT_TRAINING, "pretraining")
    loss = _stored_loss(stages.network, stages.spaces, stages.batch, "all")
    gathered = pretraining_data(stages.seed, sources)
    return train(stages.runner, "pretraining", loss, params, order, gathered, rate=rate, steps=steps)


def pretraining_data(seed: int, sources: list[Source]) -> Callable[[int], offline.Stored]:
    """`seed index -> sequences` of all sources, drawn anew in each call to the same numbers; `seed` is the study's."""

    def gathered(index: int) -> offline.Stored:
        streams = [stream(seed, Use.SFT_PRETRAINING_DATA, index, n) for n in range(len(sources))]
        parts = [
            offline.in_chunks(key, source.draw, source.data, source.size)
            for key, source in zip(streams, sources, strict=True)
            if source.size
        ]
        return offline.store(jax.tree.map(lambda *part: jnp.asarray(np.concatenate(part)), *parts))

    return gathered


def gathered(
    stages: Stages, name: str, setting: Setting, pool: Task, method: str, supports: int, count: int
) -> Sequences:
    """A fixed set of sequences for each training seed: gathered once, stored beside the checkpoints, and read back.

    Args:
        stages: see there.
        name: of the data; data of other names are other draws.
        setting: kind of world.
        pool: tasks that they come from, leading axis [tasks].
        method: one of `ITEMS`.
        supports: K, context episodes.
        count: N.
    """

    @functools.cache
    def of_seed(seed: int) -> Sequence:
        path = stages.runner.folder / "data" / f"{name.replace(' ', '_')}_{seed}.npz"
        if not path.exists():
            key = stream(stages.seed, Use.SFT_DATA, name, seed)
            found = offline.gather(key, setting, pool, ITEMS[method], supports, count)
            offline.write(path, found)
        return jax.tree.map(jnp.asarray, offline.read(path, stages.spaces))

    return of_seed


def read_file(path: str, spaces: Spaces) -> Sequences:
    """The sequences of a file of the user's, the same for every training seed."""
    found = jax.tree.map(jnp.asarray, offline.read(Path(path), spaces))
    return lambda seed: found


def tune(
    stages: Stages,
    name: str,
    params: Tree,
    sequences: Sequences,
    *,
    rate: float,
    steps: int,
    count: int | None = None,
) -> Trained:
    """Imitation on stored sequences, of which the first `count` are used, or all.

    All such stages meet the same random numbers, so that they differ in what they start from and what they are told.
    """
    order = keys(stages.seed, stages.runner.seeds, Use.SFT_TRAINING, "fine-tuning")
    loss = _stored_loss(stages.network, stages.spaces, stages.batch, stages.targets)

    def stored(seed: int) -> offline.Stored:
        found = sequences(seed)
        return offline.store(found, min(count or found.action.shape[0], found.action.shape[0]))

    return train(stages.runner, name, loss, params, order, stored, rate=rate, steps=steps)


def tune_on_fresh(
    stages: Stages, name: str, params: Tree, setting: Setting, pool: Task, method: str, *, rate: float, steps: int
) -> Trained:
    """Imitation on sequences that are drawn anew, with their labels, in every step."""
    order = keys(stages.seed, stages.runner.seeds, Use.SFT_TRAINING, "fine-tuning")
    loss = _fresh_loss(stages.network, setting, ITEMS[method], stages.supports, stages.batch, stages.targets)
    return train(stages.runner, name, loss, params, order, lambda seed: pool, rate=rate, steps=steps)


@functools.cache
def _stored_loss(network: Network, spaces: Spaces, batch: int, targets: Targets) -> Callable[..., jax.Array]:
    """One object for the same arguments, so that it is compiled once."""
    return losses.stored_loss(network, spaces, batch=batch, targets=targets)


@functools.cache
def _fresh_loss(network: Network, setting: Setting, item: Item, supports: int, batch: int, targets: Targets) -> Any:
    return losses.batch_loss(network, setting, item, supports=supports, batch=batch, targets=targets)


@functools.cache
def _program(loss: Loss) -> trainer.Trainer:
    return trainer.make(loss, trainer.adamw(1e-3, 1))


def loss_curve(losses: np.ndarray, points: int = 50) -> tuple[np.ndarray, np.ndarray]:
    """Training losses [seeds, steps] averaged over windows of nearly equal length.

    Returns:
        The last step of each window [points], and means [seeds, points].
    """
    windows = np.array_split(np.arange(losses.shape[1]), min(points, losses.shape[1]))
    last = np.array([window[-1] + 1 for window in windows])
    return last, np.stack([losses[:, window].mean(axis=1) for window in windows], axis=1)


def still_falling(losses: np.ndarray) -> np.ndarray:
    """By which share the loss fell over the last fifth of the steps, [seeds]: 0 is flat.

    The means of the two halves of that fifth, for losses are noisy; the learning rate has come down by then.
    """
    tail = losses[:, -max(2, losses.shape[1] // 5) :]
    first, second = np.array_split(tail, 2, axis=1)
    return 1 - second.mean(axis=1) / first.mean(axis=1)
