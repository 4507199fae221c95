"""How far an agent is from the oracle on held-out tasks, and where it agrees with it.

Dimensions: `K` demonstrations, `T` steps, `P` tasks, `M` models.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxdm import random
from jaxdm.oracles.graph_policy import graph_agent, nodes_along
from jaxdm.rollout import rollout
from jaxdm.sft.data import Setting
from jaxdm.sft.experts import as_graph_policy
from jaxdm.sft.tasks import Task, expert_policy, loss_along
from jaxdm.types import Agent, Episode, Tree


class Trial(NamedTuple):
    """What happened to an agent in one task; every number is a mean over its query episodes."""

    loss: jax.Array  # [M] V*_m - V^pi_m in each model
    slip: jax.Array  # [] loss in the values of the recursion, along episodes of all models
    agreed: jax.Array  # [T] share of decisions that are optimal
    copied: jax.Array  # [2] those of them at observations that no demonstration visited, and at visited ones
    met: jax.Array  # [2] share of decisions at such observations


class Gap(NamedTuple):
    """Optimality gap over a set of tasks: 0 is the oracle; 1, in the first sense, uniform play."""

    of_random: jax.Array  # [] sum (J* - J^pi) / sum (J* - J^random)
    of_value: jax.Array  # [] sum (J* - J^pi) / sum J*; not meaningful where J* <= 0


def trial(
    key: jax.Array,
    setting: Setting,
    task: Task,
    agent: Agent,
    inform: Callable[[Task, Episode], Tree],
    *,
    show: Callable[[jax.Array], Episode],
    episodes: int,
) -> Trial:
    """Let an agent that is shown K episodes play in one task, under each model in turn.

    On one key every agent is shown the same demonstrations and faces the same randomness. Losses are those of
    `tasks.loss_along`; under ambiguity the loss of the recursion's own oracle on the same keys is known to be
    `best - oracle`, and serves as a control.

    Args:
        key: random key.
        setting: kind of world.
        task: the held-out task.
        agent: who acts.
        inform: `(task, shown [K, T]) -> agent parameters`.
        show: `key -> episodes [K, T]` that the agent is shown: `finetuning.demonstrate`, or a control.
        episodes: query episodes to average, in each model.

    Returns:
        Trial, losses in reward units.
    """
    key_show, key_play = random.split(key)
    shown = show(key_show)
    known = inform(task, shown)
    visited = jnp.zeros(setting.spaces.observations, jnp.int32).at[shown.observation.reshape(-1)].set(1)
    discount, time = task.world.discount, jnp.arange(setting.horizon)

    def one(key: jax.Array, model: jax.Array) -> Trial:
        world = setting.member(task.world, model)
        episode = rollout(key, setting.env, world, agent, known, setting.horizon)
        node = nodes_along(task, episode)
        loss = loss_along(task.model_q[model], discount, node, episode)
        best = jnp.take_along_axis(task.optimal[time, node], episode.action[:, None], axis=-1)[:, 0]
        best = best.astype(loss.dtype)
        seen = jax.nn.one_hot(visited[episode.observation], 2, dtype=loss.dtype)
        return Trial(
            loss=loss + _control(key, setting, task, model),
            slip=loss_along(task.q, discount, node, episode),
            agreed=best,
            copied=jnp.mean(seen * best[:, None], axis=0),
            met=jnp.mean(seen, axis=0),
        )

    models = jnp.arange(task.model_value.shape[0])
    played = jax.vmap(lambda m: jax.vmap(lambda k: one(k, m))(random.split(key_play, episodes)))(models)
    means = jax.tree.map(lambda x: jnp.mean(x, axis=(0, 1)), played)
    return means._replace(loss=jnp.mean(played.loss, axis=1))


def _control(key: jax.Array, setting: Setting, task: Task, model: jax.Array) -> jax.Array:
    """What the oracle loses in a model, exactly, less what it loses on this key; zero where there is one model."""
    if task.model_value.shape[0] == 1:
        return jnp.zeros(())
    known = as_graph_policy(task, expert_policy(task.optimal))
    episode = rollout(key, setting.env, setting.member(task.world, model), graph_agent(), known, setting.horizon)
    lost = loss_along(task.model_q[model], task.world.discount, nodes_along(task, episode), episode)
    return (task.model_value - task.oracle_value)[model] - lost


def gap(loss: jax.Array, task: Task) -> Gap:
    """The optimality gap of a set of tasks, as a ratio of sums of `J = alpha min_m V_m + (1 - alpha) max_m V_m`.

    Sums, not a mean of ratios: a task in which even random play is nearly optimal would decide the mean.

    Args:
        loss: [P, M] estimates of `V*_m - V^pi_m`.
        task: leading axis [P].
    """
    judge = lambda value: task.attitude * value.min(axis=-1) + (1 - task.attitude) * value.max(axis=-1)
    lost = jnp.sum(judge(task.oracle_value) - judge(task.model_value - loss))
    room = jnp.sum(judge(task.oracle_value) - judge(task.random_value))
    return Gap(of_random=lost / room, of_value=lost / jnp.sum(judge(task.oracle_value)))
