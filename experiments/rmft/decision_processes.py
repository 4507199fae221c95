"""MDPs and POMDPs in the regret-minimisation study: regret from the oracle's values, from scratch and after SFT."""

from typing import Any, Literal

import jax
import numpy as np

from experiments import rooms
from experiments.rmft.comparison import Worlds, evaluate_networks, worlds
from experiments.rmft.config import RMFTConfig
from experiments.rmft.training import distil, initial_weights, setup, train
from experiments.streams import Use, stream
from jaxdm.analysis.storage import named
from jaxdm.models.transformer import network
from jaxdm.rmft import oracle_game
from jaxdm.rmft.games import Game
from jaxdm.sft import data, losses, tasks
from jaxdm.types import Network, Tree

METHODS = ("round 0", "RMFT from scratch", "SFT", "RMFT after SFT", "more SFT")


def study(config: RMFTConfig, kind: Literal["mdp", "pomdp"]) -> dict[str, Any]:
    """One demonstration, then an episode of the network's own; metrics are named `<kind>_*`.

    Both are the rooms of `experiments.rooms`, with the mode seen and hidden; the identities of held-out rooms were not
    trained on. `<kind>_gap` is the optimality gap of sampled play: 0 is the oracle, 1 is uniform play.
    """
    shared = setup(config.seed, config.seeds, config.results, config)
    setting = rooms.setting(kind, config.side, config.horizon, 0.3, 3.0)
    game = oracle_game.task_game(setting, 1)
    net = network(config.decision_process_network, game.features, game.outputs)
    family, ranges = rooms.family(kind, config.side, config.horizon), rooms.training_ranges(kind, config.side)
    known, new = tasks.split_identities(stream(config.seed, Use.RMFT_IDENTITIES, kind), family, 0.75)
    pool = tasks.sample(stream(config.seed, Use.RMFT_POOL, kind), family, ranges, config.tasks, known)
    held_out = tasks.sample(stream(config.seed, Use.RMFT_HELD_OUT, kind), family, ranges, config.tasks // 8, new)
    initial, steps = initial_weights(shared, kind, net), config.sft_steps[("mdp", "pomdp").index(kind)]
    sizes: Any = {"supports": 1, "batch": config.sft_batch, "targets": "actions"}
    loss = losses.batch_loss(net, setting, data.expert_sequence, **sizes)
    tuned = train(shared, kind, "SFT", loss, initial, config.sft_rate, steps, pool)
    more = train(shared, kind, "more SFT", loss, tuned, config.sft_rate, steps, pool)
    runs = {
        "RMFT from scratch": (config.decision_process, initial),
        "RMFT after SFT": (config.decision_process, tuned),
    }
    fits = distil(shared, kind, runs, game, net, pool)
    ends = {
        "round 0": initial,
        "RMFT from scratch": fits["RMFT from scratch"].state.params,
        "SFT": tuned,
        "RMFT after SFT": fits["RMFT after SFT"].state.params,
        "more SFT": more,
    }
    scale = float(np.mean(held_out.model_value - held_out.random_value))
    lost = held_out_loss(worlds(config.seed, config.seeds, 2 * config.runs), game, net, ends, held_out)
    training_regret = np.stack([fit.losses for fit in fits.values()]) / scale
    seeds, rounds = np.arange(config.seeds), np.arange(1, config.decision_process.rounds + 1)
    return {
        f"{kind}_gap": named(lost / scale, agent=METHODS, seed=seeds),
        f"{kind}_training_regret": named(training_regret, agent=list(runs), seed=seeds, training_round=rounds),
        f"{kind}_seconds": fits["RMFT from scratch"].seconds,
    }


def held_out_loss(
    where: Worlds, game: Game, net: Network, weights: dict[str, Tree], held_out: tasks.Task
) -> np.ndarray:
    """What networks lose on the held-out tasks against the oracle, [W, N]."""

    def instance(key: jax.Array, index: jax.Array) -> Any:
        return game.instance(key, held_out)

    found = evaluate_networks(where, game._replace(instance=instance), net, weights)
    return found["regret"][:, 0, :, -1]
