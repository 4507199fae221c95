"""What is trained in the fine-tuning study, and on which data: pretraining, and everything that starts from it.

Dimensions: `G` training seeds, `N` stored sequences.
"""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.sft.tasks import Domain
from experiments.sft.training import Runner, Trained, train
from experiments.streams import Use, stream
from jaxdm.sft import data, losses, offline, pretraining
from jaxdm.sft.data import Item, Sequence, Setting
from jaxdm.sft.losses import Targets
from jaxdm.sft.tasks import Task
from jaxdm.tokens import Spaces
from jaxdm.types import Network, Tree

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
    file: str | None  # of labelled sequences, instead of gathered ones


class Source(NamedTuple):
    """Where some of the pretraining sequences come from."""

    draw: Callable[[jax.Array, Any], Sequence]
    data: Any
    count: int


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
    return Source(draw=_any_sequences(spaces, horizon, tokens // horizon), data=(), count=count)


def own_family(setting: Setting, pool: Task, tokens: int, count: int) -> Source:
    """Unlabelled sequences of training tasks, see `jaxdm.sft.pretraining.task_sequence`."""
    item = pretraining.task_sequence
    return Source(draw=offline.items(setting, item, tokens // setting.horizon - 1), data=pool, count=count)


@functools.cache
def _any_sequences(spaces: Spaces, horizon: int, episodes: int) -> Callable[[jax.Array, Any], Sequence]:
    return lambda key, _: pretraining.any_sequence(key, spaces, horizon, episodes)


def pretrain(stages: Stages, params: Tree, sources: list[Source], *, rate: float, steps: int) -> Trained:
    """Predict the next action, observation and reward of unlabelled behaviour."""

    def gathered(seed: int) -> offline.Stored:
        streams = [stream(stages.seed, Use.SFT_PRETRAINING_DATA, seed, n) for n in range(len(sources))]
        parts = [
            offline.in_chunks(key, source.draw, source.data, source.count)
            for key, source in zip(streams, sources, strict=True)
            if source.count
        ]
        return offline.store(jax.tree.map(lambda *part: jnp.asarray(np.concatenate(part)), *parts))

    order = keys(stages.seed, stages.runner.seeds, Use.SFT_TRAINING, "pretraining")
    loss = _stored_loss(stages.network, stages.spaces, stages.batch, "all")
    return train(stages.runner, "pretraining", loss, params, order, gathered, rate=rate, steps=steps)


def gathered(stages: Stages, name: str, domain: Domain, method: str, supports: int, count: int) -> Sequences:
    """A fixed set of sequences for each training seed: gathered once, stored beside the checkpoints, and read back.

    Args:
        stages: see there.
        name: of the data; data of other names are other draws.
        domain: whose pool they come from.
        method: one of `ITEMS`.
        supports: K, context episodes.
        count: N.
    """

    @functools.cache
    def of_seed(seed: int) -> Sequence:
        path = stages.runner.folder / "data" / f"{name.replace(' ', '_')}_{seed}.npz"
        if not path.exists():
            key = stream(stages.seed, Use.SFT_DATA, name, seed)
            found = offline.gather(key, domain.setting, domain.pool, ITEMS[method], supports, count)
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
    stages: Stages, name: str, params: Tree, domain: Domain, method: str, *, rate: float, steps: int
) -> Trained:
    """Imitation on sequences that are drawn anew, with their labels, in every step."""
    order = keys(stages.seed, stages.runner.seeds, Use.SFT_TRAINING, "fine-tuning")
    loss = _fresh_loss(stages.network, domain.setting, ITEMS[method], stages.supports, stages.batch, stages.targets)
    return train(stages.runner, name, loss, params, order, lambda seed: domain.pool, rate=rate, steps=steps)


@functools.cache
def _stored_loss(network: Network, spaces: Spaces, batch: int, targets: Targets) -> Callable[..., jax.Array]:
    """One object for the same arguments, so that it is compiled once."""
    return losses.stored_loss(network, spaces, batch=batch, targets=targets)


@functools.cache
def _fresh_loss(network: Network, setting: Setting, item: Item, supports: int, batch: int, targets: Targets) -> Any:
    return losses.batch_loss(network, setting, item, supports=supports, batch=batch, targets=targets)
