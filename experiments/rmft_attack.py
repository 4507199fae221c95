"""The loss sequences that hurt a trained network most, found by gradient ascent through it."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.rmft_study import Config
from experiments.rmft_training import stacked
from jaxdm.envs import families, online
from jaxdm.models.agents import Decisions
from jaxdm.oracles import attack
from jaxdm.oracles.attack import ARENAS
from jaxdm.oracles.regret import external
from jaxdm.rmft.games import Game, Losses
from jaxdm.types import Network, Tree


def attacked(
    config: Config, decisions: Decisions, used: int, game: Game, network: Network, weights: dict[str, Tree]
) -> np.ndarray:
    """Regret after T rounds on the worst of `config.attacks` found sequences, [W, N].

    Args:
        config: sizes.
        decisions: the set.
        used: coordinates that count, here the first ones.
        game: with its player's features and deployment.
        network: who is attacked.
        weights: leading axis [N] each.
    """
    arena, size = ARENAS[decisions], game.outputs
    available = jnp.arange(size) < used
    unused = 1.0 if decisions == "simplex" else 0.0  # such arms are never best, such coordinates cost nothing
    agent, instance = game.player(network), Losses(law=jnp.int32(0), available=available, reacting=jnp.bool_(False))

    def worst(weights: Tree) -> jax.Array:
        told = game.deploy(weights, jnp.zeros(()), instance)

        def one(key: jax.Array) -> jax.Array:
            key_plan, key_play = jax.random.split(key)
            plan = arena.scale(families.losses.gaussian(key_plan, length=config.online_length, dimension=size))
            allowed = lambda plan: jnp.where(available, arena.project(plan), unused)
            regret = lambda plan: external(arena.region, plan, online.play(key_play, plan, agent, told))[-1]
            return attack.ascend(regret, allowed, plan, config.attack_steps).value

        keys = jax.random.split(jax.random.fold_in(jax.random.key(config.seed), 5), config.attacks)
        return jnp.max(jax.vmap(one)(keys))

    everyone = jax.jit(lambda weights: jax.lax.map(lambda w: jax.lax.map(worst, w), weights))
    return np.asarray(everyone(stacked(weights)))
