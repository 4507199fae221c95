"""Solved worlds in the regret-minimisation study: regret from oracle's values, from scratch and after fine-tuning."""

from typing import Any

import jax
import numpy as np

from experiments import rooms
from experiments.rmft.comparison import judge_networks
from experiments.rmft.config import Config
from experiments.rmft.training import distil, start, train
from jaxdm import trainer
from jaxdm.models.transformer import network
from jaxdm.rmft import games, oracle_game
from jaxdm.sft import data, losses, tasks
from jaxdm.sft.data import Kind
from jaxdm.types import Network, Tree

KINDS: tuple[Kind, ...] = ("mdp", "pomdp")
"""Dark rooms with a hidden goal; hidden-mode rooms, in one of whose two modes every control does the opposite."""


METHODS = ("round 0", "RMFT from scratch", "SFT", "RMFT after SFT", "more SFT")


def study(config: Config, kind: Kind) -> dict[str, Any]:
    """One demonstration, then an episode of the network's own; metrics are named `<kind>_*`.

    `<kind>_gap [W, N]` is the optimality gap of sampled play: 0 is the oracle, 1 is uniform play.
    """
    setting = rooms.setting(kind, config.side, config.horizon, 0.3, 3.0)
    game = oracle_game.task_game(setting, 1)
    net = network(config.solved_network, game.features, game.outputs)
    draw, ranges = rooms.family(kind, config.side, config.horizon), rooms.training_ranges(kind, config.side)
    key_train, key_test = jax.random.split(jax.random.fold_in(jax.random.key(config.seed), 4))
    pool = tasks.sample(key_train, draw, ranges, config.tasks)
    held_out = tasks.sample(key_test, draw, ranges, config.tasks // 8)
    fresh, steps = start(config, net), config.sft_steps[KINDS.index(kind)]
    sizes: Any = {"supports": 1, "batch": 32, "targets": "actions"}
    maker = trainer.make(losses.batch_loss(net, setting, data.expert_prompt, **sizes), trainer.adamw(3e-3, steps))
    tuned = train(config, f"{kind} SFT", maker, fresh, pool, steps).state.params
    more = train(config, f"{kind} more SFT", maker, tuned, pool, steps).state.params
    runs = {"scratch": (config.solved, fresh), "after SFT": (config.solved, tuned)}
    fits = distil(config, kind, runs, game, net, pool)
    ends = (fresh, fits["scratch"].state.params, tuned, fits["after SFT"].state.params, more)
    room = float(np.mean(held_out.model_value - held_out.random_value))
    return {
        f"{kind}_methods": METHODS,
        f"{kind}_gap": measured(config, game, net, dict(zip(METHODS, ends, strict=True)), held_out) / room,
        f"{kind}_rounds": fits["scratch"].losses / room,
        f"{kind}_rounds_after": fits["after SFT"].losses / room,
        f"{kind}_seconds": fits["scratch"].seconds,
    }


def measured(
    config: Config, game: games.Game, net: Network, weights: dict[str, Tree], held_out: tasks.Task
) -> np.ndarray:
    """What everyone loses on the held-out tasks, [W, N]; twice `runs` of them a seed."""
    where = game._replace(instance=lambda key, law: game.instance(key, held_out))
    return judge_networks(config, where, net, weights, runs=2 * config.runs).course[:, 0, :, -1]
