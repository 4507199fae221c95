"""Training in the regret-minimisation study: all seeds of a stage at once, with checkpoints beside the results."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from experiments.progress import bar
from experiments.rmft.config import Config
from jaxdm import trainer
from jaxdm.analysis import storage
from jaxdm.rmft import distillation
from jaxdm.rmft.distillation import Distillation
from jaxdm.rmft.games import Game
from jaxdm.types import Network, Tree


def train(config: Config, stage: str, maker: trainer.Trainer, params: Tree, data: Tree, steps: int) -> trainer.Fit:
    """One stage for all seeds, with checkpoints beside the results."""
    return _fit(config, stage, maker, _begin(config, maker, params), data, steps)


def start(config: Config, network: Network) -> Tree:
    """The weights of round 0, leading axis [N]."""
    return jax.jit(jax.vmap(network.init))(jax.random.split(jax.random.key(config.seed), config.seeds))


def distil(
    config: Config,
    stage: str,
    runs: Mapping[str, tuple[Distillation, Tree]],
    game: Game,
    network: Network,
    data: Tree = (),
) -> dict[str, trainer.Fit]:
    """Fine-tune all seeds by regret; all runs are one program.

    Args:
        config: sizes.
        stage: name, of checkpoints.
        runs: name to how and from which weights, leading axis [N]; they differ in `distillation.HYPERPARAMETERS` alone.
        game: what is played.
        network: who learns.
        data: what instances are drawn from.
    """
    makers = [distillation.make_trainer(how, game, network) for how, _ in runs.values()]
    states = [_begin(config, maker, params) for maker, (_, params) in zip(makers, runs.values(), strict=True)]
    rounds = next(iter(runs.values()))[0].rounds
    joined = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *states)
    whole = _fit(config, stage, makers[0], joined, data, rounds)
    part = lambda i: slice(i * config.seeds, (i + 1) * config.seeds)
    return {
        name: trainer.Fit(
            state=jax.tree.map(lambda x, i=i: x[part(i)], whole.state),
            losses=np.asarray(whole.losses[part(i)]),
            seconds=whole.seconds / len(runs),
        )
        for i, name in enumerate(runs)
    }


def imitate(config: Config, stage: str, loss: Callable[..., jax.Array], params: Tree) -> trainer.Fit:
    """Train all seeds on a rival's loss."""
    maker = trainer.make(loss, trainer.adamw(config.teacher_rate, config.teacher_steps))
    return train(config, stage, maker, params, (), config.teacher_steps)


def stacked(weights: dict[str, Tree]) -> Tree:
    """Weights of networks of one shape, leading axis [W] in the order given."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *weights.values())


def _begin(config: Config, maker: trainer.Trainer, params: Tree) -> trainer.TrainState:
    stream = jax.random.fold_in(jax.random.key(config.seed), 2)
    return jax.vmap(maker.init)(jax.random.split(stream, config.seeds), params)


def _fit(
    config: Config, stage: str, maker: trainer.Trainer, state: trainer.TrainState, data: Tree, steps: int
) -> trainer.Fit:
    folder = config.results / "checkpoints" / "rmft" / storage.config_hash(config) / stage
    every = next(size for size in range(max(1, steps // 4), 0, -1) if steps % size == 0)
    with bar(f"rmft {stage}, {state.step.shape[0]} runs", steps) as progress:
        return trainer.fit(
            maker, state, data, steps, every=every, folder=folder, identity=[config, stage], progress=progress
        )
