"""Solved worlds as games: after demonstrations, an episode of the player's own, with regret from the oracle's values.

Dimensions: `N` tokens, `A` actions, `K` demonstrations.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxdm import random, tokens
from jaxdm.models.agents import deploy as deploy_network
from jaxdm.models.agents import network_agent
from jaxdm.oracles.graph_policy import nodes_along
from jaxdm.rmft.games import Game, Rollout, law_cost
from jaxdm.rollout import rollout
from jaxdm.sft import data as sft_data
from jaxdm.sft.data import Setting, label
from jaxdm.sft.tasks import Task, loss_along
from jaxdm.types import Agent, Tree


class Prompted(NamedTuple):
    """An instance of a solved world: the task, and the demonstrations that the player is shown."""

    task: Task
    shown: Any  # Episode, leading axes [K, T]


def oracle_game(setting: Setting, demonstrations: int) -> Game:
    """Solved worlds; regret is `jaxdm.sft.tasks.loss_along`, which needs the oracle's values and none of its actions.

    Data are a pool of tasks whose teacher is the oracle, leading axis [tasks], of a single model each; rollouts are
    query episodes after K demonstrations.
    The player samples its network's law, its only exploration.

    Args:
        setting: kind of world.
        demonstrations: K >= 0.

    Raises:
        ValueError: demonstrations < 0.
    """
    if demonstrations < 0:
        raise ValueError(f"demonstrations: {demonstrations}; expected at least 0")
    spaces = setting.spaces

    def instance(key: jax.Array, data: Task) -> Prompted:
        key_task, key_show = random.split(key)
        index = jax.random.randint(key_task, (), 0, data.bound.shape[0])
        task = jax.tree.map(lambda x: x[index], data)
        return Prompted(task=task, shown=sft_data.demonstrations(key_show, setting, task, demonstrations))

    def play(key: jax.Array, instance: Prompted, agent: Agent, agent_params: Tree) -> Rollout:
        played = rollout(key, setting.env, instance.task.world, agent, agent_params, setting.horizon)
        episodes = jax.tree.map(lambda x, y: jnp.concatenate([x, y[None]]), instance.shown, played)
        task = instance.task
        acted = jax.nn.one_hot(episodes.action, spaces.actions, dtype=played.reward.dtype)
        best = jax.vmap(lambda episode: label(task, episode))(episodes)
        flat = lambda x: x.reshape(-1, spaces.actions)
        own = jnp.arange(demonstrations + 1)[:, None] == demonstrations
        return Rollout(
            tokens=tokens.encode(episodes, spaces),
            label=flat(acted),
            best=flat(best),
            available=jnp.ones((episodes.reward.size, spaces.actions), bool),
            mask=(episodes.mask & own).reshape(-1),
            course=loss_along(task.q, task.world.discount, nodes_along(task.graph, played), played)[None],
            reward=jnp.sum(jnp.where(played.mask, played.reward, 0)),
        )

    def deploy(weights: Tree, exploration: jax.Array, instance: Prompted) -> Tree:
        return deploy_network(weights, tokens.encode(instance.shown, spaces), jnp.ones_like(exploration))

    return Game(
        features=spaces.features,
        outputs=spaces.outputs,
        player=lambda network: network_agent(network, spaces, setting.horizon),
        instance=instance,
        deploy=deploy,
        play=play,
        relabel=lambda outputs, draws, record, exploration: record.label,
        cost=law_cost,
    )
