"""Training in the regret-minimisation study: all seeds of a stage at once, with checkpoints beside the results."""

from collections.abc import Callable

import jax

from experiments.rmft_study import Config
from jaxdm import distillation, storage, trainer
from jaxdm.distillation import Distillation
from jaxdm.games import Game
from jaxdm.progress import bar
from jaxdm.types import Network, Tree


def train(config: Config, stage: str, maker: trainer.Trainer, params: Tree, data: Tree, steps: int) -> trainer.Fit:
    """One stage for all seeds, with checkpoints beside the results."""
    stream = jax.random.fold_in(jax.random.key(config.seed), 2)
    state = jax.vmap(maker.init)(jax.random.split(stream, config.seeds), params)
    folder = config.results / "checkpoints" / "rmft" / storage.config_hash(config) / stage
    every = next(size for size in range(max(1, steps // 4), 0, -1) if steps % size == 0)
    with bar(f"rmft {stage}, {config.seeds} seeds", steps) as progress:
        return trainer.fit(
            maker, state, data, steps, every=every, folder=folder, identity=[config, stage], progress=progress
        )


def start(config: Config, network: Network) -> Tree:
    """The weights of round 0, leading axis [N]."""
    return jax.jit(jax.vmap(network.init))(jax.random.split(jax.random.key(config.seed), config.seeds))


def distil(
    config: Config, stage: str, how: Distillation, game: Game, network: Network, params: Tree, data: Tree = ()
) -> trainer.Fit:
    """Fine-tune all seeds by regret."""
    return train(config, stage, distillation.make(how, game, network), params, data, how.rounds)


def imitate(config: Config, stage: str, loss: Callable[..., jax.Array], params: Tree) -> trainer.Fit:
    """Train all seeds on a rival's loss."""
    maker = trainer.make(loss, trainer.adamw(5e-3, config.teacher_steps))
    return train(config, stage, maker, params, (), config.teacher_steps)
