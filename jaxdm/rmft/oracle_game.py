"""MDPs and POMDPs as games: after K demonstrations the player has one episode, whose regret the oracle's values give.

Dimensions: `N` tokens, `T` steps, `A` actions, `K` demonstrations.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxdm import random, tokens
from jaxdm.models.agents import deploy as deploy_network
from jaxdm.models.agents import network_agent
from jaxdm.oracles.graph_policy import nodes_along
from jaxdm.rmft.games import Game, Rollout, cross_entropy, policy_entropy
from jaxdm.rollout import rollout
from jaxdm.sft import data as sft_data
from jaxdm.sft.data import Setting, label
from jaxdm.sft.tasks import Task, loss_along
from jaxdm.types import Agent, Tree
from jaxdm.validation import integer


class Prompted(NamedTuple):
    """An instance: a solved task, and the demonstrations that the player is shown."""

    task: Task
    shown: Any  # Episode, leading axes [K, T]


def task_game(setting: Setting, demonstrations: int) -> Game:
    """Solved tasks as a game; the regret of an episode is `jaxdm.sft.tasks.loss_along`, which needs no expert actions.

    The `data` of an instance are a pool of tasks, leading axis [tasks], of a single model each. The player samples from
    its network's policy, which is all its exploration; demonstrations are the oracle's.

    Args:
        setting: kind of task.
        demonstrations: K >= 0.

    Raises:
        ValueError: demonstrations < 0.
    """
    demonstrations = integer("demonstrations", demonstrations, 0)
    spaces = setting.spaces

    def instance(key: jax.Array, data: Task) -> Prompted:
        key_task, key_show = random.split(key)
        index = jax.random.randint(key_task, (), 0, data.bound.shape[0])
        task = jax.tree.map(lambda x: x[index], data)
        return Prompted(task=task, shown=sft_data.demonstrations(key_show, setting, task, demonstrations))

    def play(key: jax.Array, instance: Prompted, agent: Agent, agent_params: Tree) -> Rollout:
        episode = rollout(key, setting.env, instance.task.world, agent, agent_params, setting.horizon)
        episodes = jax.tree.map(lambda x, y: jnp.concatenate([x, y[None]]), instance.shown, episode)
        task = instance.task
        acted = jax.nn.one_hot(episodes.action, spaces.actions, dtype=episode.reward.dtype)
        best = jax.vmap(lambda shown: label(task, shown))(episodes)
        query = jnp.arange(demonstrations + 1)[:, None] == demonstrations
        return Rollout(
            tokens=tokens.encode(episodes, spaces),
            label=acted.reshape(-1, spaces.actions),
            best=best.reshape(-1, spaces.actions),
            available=jnp.ones((episodes.reward.size, spaces.actions), bool),
            mask=(episodes.mask & query).reshape(-1),
            cumulative_regret=loss_along(task.q, task.world.discount, nodes_along(task.graph, episode), episode)[None],
            reward=jnp.sum(jnp.where(episode.mask, episode.reward, 0)),
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
        relabel=None,
        cost=cross_entropy,
        entropy=policy_entropy,
    )
