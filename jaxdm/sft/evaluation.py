"""How far an agent is from the oracle on held-out tasks, and where it agrees with it.

Dimensions: `K` demonstrations, `T` steps, `P` tasks, `M` models, `H` horizon, `N` information states, `A` actions.
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
from jaxdm.sft.tasks import Task, at_nodes, expert_policy, loss_along
from jaxdm.types import Agent, Episode, Tree
from jaxdm.validation import InvalidInput, integer, real_array, record

ROUNDINGS = 32
"""Of a task's value in its planning: what uniform play loses within them is no loss."""


class Trial(NamedTuple):
    """How an agent did in one task; every number is a mean over its query episodes.

    The two entries of the last fields are observations that no demonstration visited, and visited ones.
    """

    loss: jax.Array  # [2, M] V*_m - V^pi_m in each model, in reward units, by halves of the episodes
    recursive_regret: jax.Array  # [] regret in the values of the alpha-maxmin recursion, over episodes of all models
    accuracy: jax.Array  # [T] share of decisions that are optimal
    correct_by_visit: jax.Array  # [2] share of all decisions that are optimal and taken at such observations
    visit_share: jax.Array  # [2] share of all decisions that are taken at such observations


class Gap(NamedTuple):
    """Optimality gap over a set of tasks: 0 is the oracle; 1, in the first sense, uniform play.

    Where nothing can be lost, as all actions are equal, everyone is the oracle: 0, not the ratio of two roundings.
    """

    of_random: jax.Array  # [] sum (J* - J^pi) / sum (J* - J^random)
    of_value: jax.Array  # [] sum (J* - J^pi) / sum J*; not meaningful where J* <= 0
    by_task: jax.Array  # [P] J* - J^pi as a share of the mean of J* - J^random; its mean is `of_random`


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
    `loss_along`. Under ambiguity the oracle of the recursion plays on the same keys as a control variate: its mean loss
    `model_value - oracle_value` is known.

    Args:
        key: random key.
        setting: kind of world.
        task: the held-out task.
        agent: who acts.
        inform: `(task, shown [K, T]) -> agent parameters`.
        show: `key -> episodes [K, T]` that the agent is shown: `data.demonstrations`, or a control.
        episodes: query episodes to average, in each model; an even number.

    Returns:
        Trial, losses in reward units.

    Raises:
        InvalidInput: episodes odd or < 2.
    """
    if integer("episodes", episodes, 2) % 2:
        raise InvalidInput(f"episodes: {episodes}; expected an even number, at least 2, for two halves")
    key_show, key_play = random.split(key)
    shown = show(key_show)
    agent_params = inform(task, shown)
    visited = jnp.zeros(setting.spaces.observations, jnp.int32).at[shown.observation.reshape(-1)].set(1)
    discount = task.world.discount

    def one(key: jax.Array, model: jax.Array) -> Trial:
        world = setting.member(task.world, model)
        episode = rollout(key, setting.env, world, agent, agent_params, setting.horizon)
        node = nodes_along(task.graph, episode)
        loss = loss_along(task.model_q[model], discount, node, episode)
        correct = jnp.take_along_axis(at_nodes(task.optimal, node), episode.action[:, None], axis=-1)[:, 0]
        correct = correct.astype(loss.dtype)
        by_visit = jax.nn.one_hot(visited[episode.observation], 2, dtype=loss.dtype)
        return Trial(
            loss=loss + _control(key, setting, task, model),
            recursive_regret=loss_along(task.q, discount, node, episode),
            accuracy=correct,
            correct_by_visit=jnp.mean(by_visit * correct[:, None], axis=0),
            visit_share=jnp.mean(by_visit, axis=0),
        )

    models = jnp.arange(task.model_value.shape[0])
    played = jax.vmap(lambda m: jax.vmap(lambda k: one(k, m))(random.split(key_play, episodes)))(models)
    means = jax.tree.map(lambda x: jnp.mean(x, axis=(0, 1)), played)
    halves = played.loss.reshape(len(models), 2, episodes // 2)
    return means._replace(loss=jnp.mean(halves, axis=-1).T)


def _control(key: jax.Array, setting: Setting, task: Task, model: jax.Array) -> jax.Array:
    """The oracle's mean loss in a model less its loss on this key, of mean zero; zero where there is one model."""
    if task.model_value.shape[0] == 1:
        return jnp.zeros(())
    policy = as_graph_policy(task, expert_policy(task.optimal, task.q))
    episode = rollout(key, setting.env, setting.member(task.world, model), graph_agent(), policy, setting.horizon)
    lost = loss_along(task.model_q[model], task.world.discount, nodes_along(task.graph, episode), episode)
    return (task.model_value - task.oracle_value)[model] - lost


def gap(loss: jax.Array, task: Task) -> Gap:
    """The optimality gap of a set of tasks, a ratio of sums of `J = alpha min_m V_m + (1 - alpha) max_m V_m`.

    Sums, not a mean of ratios: a task in which even random play is nearly optimal would decide the mean. The least of
    noisy means is too small, and the largest too large; so one half of the episodes says which model is worst and
    which best, and the other half what it is worth, both ways (a double estimator): unbiased where all models are
    worth the same, and where they are not, biased towards their mean by less than the noise of a half: take many
    episodes.

    Args:
        loss: [P, 2, M] estimates of `V*_m - V^pi_m`, by halves of the episodes.
        task: leading axis [P].

    Returns:
        Gap, without unit.

    Raises:
        ValueError: losses of another shape, or NaN (where they are concrete).

    Reference: van Hasselt, Double Q-learning, NeurIPS 2010.
    """
    record("task", task, Task)
    tasks, models = task.model_value.shape
    loss = real_array("loss", loss, "P halves M", task.model_value.dtype, False, P=tasks, halves=2, M=models)
    best = criterion(task.oracle_value, task.attitude)
    value = task.model_value[:, None] - loss
    other = value[:, ::-1]

    def valued(chosen: jax.Array) -> jax.Array:
        return jnp.mean(jnp.take_along_axis(other, chosen[..., None], axis=-1)[..., 0], axis=-1)

    worst, luckiest = valued(jnp.argmin(value, axis=-1)), valued(jnp.argmax(value, axis=-1))
    lost = best - task.attitude * worst - (1 - task.attitude) * luckiest
    most = jnp.sum(best - criterion(task.random_value, task.attitude))
    rounding = ROUNDINGS * jnp.finfo(best.dtype).eps * jnp.sum(jnp.abs(best))
    equal = most <= rounding

    def share(part: jax.Array, total: jax.Array) -> jax.Array:
        return jnp.where(equal, 0, part / jnp.where(equal, 1, total))

    every = jnp.sum(lost)
    return Gap(
        of_random=share(every, most),
        of_value=share(every, jnp.sum(best)),
        by_task=share(lost, most / lost.size),
    )


def criterion(value: jax.Array, attitude: jax.Array) -> jax.Array:
    """`alpha min_m V_m + (1 - alpha) max_m V_m` of exact values [..., M]."""
    return attitude * value.min(axis=-1) + (1 - attitude) * value.max(axis=-1)
