"""Dark rooms in the regret-minimisation study: regret from the oracle's values, from scratch and after fine-tuning."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.rmft_compare import Judged, judge
from experiments.rmft_study import Config
from experiments.rmft_training import distil, start, train
from jaxdm import finetuning, games, prompts, tasks, trainer
from jaxdm.envs import families, mdp
from jaxdm.models.transformer import network
from jaxdm.types import Tree

METHODS = ("round 0", "RMFT from scratch", "SFT", "RMFT after SFT", "more SFT")


def study(config: Config) -> dict[str, Any]:
    """One demonstration, then an episode of the network's own; metrics are named `solved_*`.

    `solved_gap [W, N]` is the optimality gap of sampled play: 0 is the oracle, 1 is uniform play.
    """
    setting = finetuning.Setting(
        env=mdp.env(config.horizon),
        spaces=prompts.Spaces(observations=config.side**2, actions=4),
        horizon=config.horizon,
        member=lambda world, model: world,
        visit_exploration=0.3,
        behaviour_scale=3.0,
    )
    game = games.oracle_game(setting, 1)
    net = network(config.solved_network, game.features, game.outputs)
    solved = lambda key, about: tasks.solve_mdp(families.dark_room(key, side=config.side, slip=0.1), config.horizon)
    key_train, key_test = jax.random.split(jax.random.fold_in(jax.random.key(config.seed), 4))
    pool = tasks.sample(key_train, solved, (), config.tasks)
    held_out = tasks.sample(key_test, solved, (), config.tasks // 8)
    fresh, steps = start(config, net), config.sft_steps
    sizes: Any = {"supports": 1, "batch": 32, "targets": "actions"}
    maker = trainer.make(
        finetuning.batch_loss(net, setting, finetuning.teacher_prompt, **sizes), trainer.adamw(3e-3, steps)
    )
    tuned = train(config, "solved SFT", maker, fresh, pool, steps).state.params
    more = train(config, "solved more SFT", maker, tuned, pool, steps).state.params
    scratch = distil(config, "solved scratch", config.solved, game, net, fresh, pool)
    after = distil(config, "solved after SFT", config.solved, game, net, tuned, pool)
    weights: dict[str, Tree] = dict(
        zip(METHODS, (fresh, scratch.state.params, tuned, after.state.params, more), strict=True)
    )
    found = measured(config, game, net, weights, held_out)
    room = float(np.mean(held_out.best - held_out.random))
    return {
        "solved_methods": METHODS,
        "solved_gap": found.course[:, 0, :, -1] / room,
        "solved_rounds": scratch.losses / room,
        "solved_rounds_after": after.losses / room,
        "solved_seconds": scratch.seconds,
    }


def measured(config: Config, game: games.Game, net: Any, weights: dict[str, Tree], held_out: tasks.Task) -> Judged:
    """Everyone on the held-out rooms, `runs` times eight of them a seed."""
    where = game._replace(instance=lambda key, law: game.instance(key, held_out))
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *weights.values())
    told = lambda known, instance: game.deploy(known, jnp.zeros(()), instance)
    return judge(config, where, game.player(net), told, stacked, runs=8 * config.runs)
