"""Training in the regret-minimisation study: all seeds of a stage at once, with checkpoints beside the results."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.progress import bar
from experiments.streams import Use, stream
from jaxdm import trainer
from jaxdm.analysis import storage
from jaxdm.learners import imperfect
from jaxdm.numerics import largest_divisor
from jaxdm.rmft import baselines, distillation
from jaxdm.rmft.distillation import Distillation
from jaxdm.rmft.games import Game, Rollout
from jaxdm.types import Network, Tree


class Setup(NamedTuple):
    """What all training of a study shares."""

    seed: int  # of all random streams
    seeds: int  # N, training seeds
    folder: Path  # of checkpoints
    identity: Any  # the study's configuration; checkpoints of another one are refused


class Subject(NamedTuple):
    """What is fine-tuned in a part of the study, and on what it is judged."""

    game: Game  # that it is trained on
    network: Network
    initial: Tree  # weights before fine-tuning, leading axis [N]
    evaluated_on: Game  # whose `instance(key, q)` draws from distribution q
    distributions: tuple[str, ...]  # [Q]
    measure: Callable[[Rollout], dict[str, Any]]  # of one run
    runs: int  # R


def setup(seed: int, seeds: int, results: Path, identity: Any) -> Setup:
    """The shared part of training; checkpoints go to `results/checkpoints/rmft/<hash of identity>/<stage>`."""
    folder = results / "checkpoints" / "rmft" / storage.config_hash(identity)
    return Setup(seed=seed, seeds=seeds, folder=folder, identity=identity)


def initial_weights(shared: Setup, part: str, network: Network) -> Tree:
    """The weights before fine-tuning, leading axis [N]."""
    keys = jax.random.split(stream(shared.seed, Use.RMFT_INITIAL_WEIGHTS, part), shared.seeds)
    return jax.jit(jax.vmap(network.init))(keys)


def struggling(
    shared: Setup, part: str, game: Game, network: Network, arms: int, *, rate: float, steps: int, batch: int
) -> Tree:
    """The weights of a base that struggles, leading axis [N].

    A language model that plays a bandit reads its history and still fails to explore. So does a network that was
    pretrained to imitate a mixture of players that do (`jaxdm.learners.imperfect`): it gives the best arm up in a
    share of its runs. Random weights play almost uniformly, and whatever is better than uniform beats them.

    Args:
        shared: seeds and checkpoints.
        part: of the study.
        game: the bandits that these players are watched on.
        network: what is pretrained.
        arms: K.
        rate: peak learning rate.
        steps: gradient steps.
        batch: rollouts of a step.
    """
    mixture = jax.tree.map(jnp.asarray, imperfect.Mixture())

    def params(instance: Tree) -> imperfect.Mixture:
        return mixture

    loss = baselines.imitation_loss(game, network, imperfect.mixture(arms), params, batch)
    return train(shared, part, "pretraining", loss, initial_weights(shared, part, network), rate, steps)


def distil(
    shared: Setup,
    part: str,
    runs: Mapping[str, tuple[Distillation, Tree]],
    game: Game,
    network: Network,
    data: Tree = (),
    stage: str = "",
) -> dict[str, trainer.Fit]:
    """Fine-tune all seeds by regret; all runs are one program, and meet the same instances.

    Args:
        shared: seeds and checkpoints.
        part: of the study; stages of one part share their random stream.
        runs: name to configuration and initial weights, leading axis [N]; configurations differ in
            `distillation.HYPERPARAMETERS` alone.
        game: what is played.
        network: what is trained.
        data: what instances are drawn from.
        stage: name that tells calls of one part apart.
    """
    makers = [distillation.make_trainer(config, game, network) for config, _ in runs.values()]
    keys = jax.random.split(stream(shared.seed, Use.RMFT_TRAINING, part), shared.seeds)
    states = [jax.vmap(maker.init)(keys, params) for maker, (_, params) in zip(makers, runs.values(), strict=True)]
    rounds = next(iter(runs.values()))[0].rounds
    joined = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *states)
    whole = _fit(shared, f"{part} {stage}".strip(), makers[0], joined, data, rounds)
    fits = {}
    for i, name in enumerate(runs):
        rows = slice(i * shared.seeds, (i + 1) * shared.seeds)
        fits[name] = trainer.Fit(
            state=jax.tree.map(lambda x, rows=rows: x[rows], whole.state),
            losses=np.asarray(whole.losses[rows]),
            seconds=whole.seconds / len(runs),
        )
    return fits


def train(
    shared: Setup,
    part: str,
    stage: str,
    loss: Callable[..., jax.Array],
    params: Tree,
    rate: float,
    steps: int,
    data: Tree = (),
) -> Tree:
    """The weights of all seeds after training on a loss; every stage has its own random stream."""
    maker = trainer.make(loss, trainer.adamw(rate, steps))
    keys = jax.random.split(stream(shared.seed, Use.RMFT_BASELINES, part, stage), shared.seeds)
    return _fit(shared, f"{part} {stage}", maker, jax.vmap(maker.init)(keys, params), data, steps).state.params


def _fit(
    shared: Setup, stage: str, maker: trainer.Trainer, state: trainer.TrainState, data: Tree, steps: int
) -> trainer.Fit:
    every = largest_divisor(steps, max(1, steps // 4))
    identity = [shared.identity, stage]
    with bar(f"rmft {stage}, {state.step.shape[0]} runs", steps) as progress:
        return trainer.fit(
            maker,
            state,
            data,
            steps,
            every=every,
            folder=shared.folder / stage,
            identity=identity,
            progress=progress,
        )
