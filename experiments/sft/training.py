"""Training in the fine-tuning study: the seeds of a stage side by side, each with its own data and checkpoints."""

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
from jaxdm import trainer
from jaxdm.analysis import storage
from jaxdm.types import Tree

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
    every = next(size for size in range(min(steps, 50), 0, -1) if steps % size == 0)  # for most the same: one program
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
