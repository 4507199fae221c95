"""How far an agent is from the oracle on held-out tasks.

Dimensions: `K` demonstrations, `T` steps, `N` tasks.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxdm import randomness
from jaxdm.episodes import rollout
from jaxdm.finetuning import Setting
from jaxdm.tasks import Task, loss_along
from jaxdm.types import Agent, Episode, Tree


class Gap(NamedTuple):
    """Optimality gap over a set of tasks: 0 is the oracle; 1, in the first sense, uniform play."""

    of_random: jax.Array  # [] sum (V* - V^pi) / sum (V* - V^random)
    of_value: jax.Array  # [] sum (V* - V^pi) / sum V*; not meaningful where V* <= 0


def expected_loss(
    key: jax.Array,
    setting: Setting,
    task: Task,
    agent: Agent,
    inform: Callable[[Task, Episode], Tree],
    *,
    demonstrations: int,
    episodes: int,
) -> jax.Array:
    """An estimate of `V* - V^pi` in one task, for an agent shown K demonstrations: the mean of `tasks.loss_along`.

    On one key every agent is shown the same demonstrations and faces the same randomness, and fewer demonstrations
    are a prefix of more.

    Args:
        key: random key.
        setting: kind of world.
        task: the held-out task.
        agent: who acts.
        inform: `(task, demonstrations [K, T]) -> agent parameters`.
        demonstrations: K >= 0.
        episodes: query episodes to average.

    Returns:
        [] reward units.
    """
    key_show, key_play = randomness.split(key)
    known = inform(task, setting.demonstrate(key_show, task, demonstrations))

    def one(key: jax.Array) -> jax.Array:
        return loss_along(task, rollout(key, setting.env, task.world, agent, known, setting.horizon))

    return jnp.mean(jax.vmap(one)(randomness.split(key_play, episodes)))


def gap(loss: jax.Array, task: Task) -> Gap:
    """The optimality gap of a set of tasks, as a ratio of sums.

    Sums, not a mean of ratios: a task in which even random play is nearly optimal would decide the mean.

    Args:
        loss: [N] estimates of `V* - V^pi`.
        task: leading axis [N].
    """
    lost = jnp.sum(loss)
    room = jnp.sum(task.best_value - task.random_value)
    return Gap(of_random=lost / room, of_value=lost / jnp.sum(task.best_value))
