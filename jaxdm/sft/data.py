"""The two stages of supervised fine-tuning, for any world: who teaches, what is sampled, and the losses.

Dimensions: `K` demonstrations, `T` steps of an episode, `P` tasks of a pool, `N` information states, `A` actions,
`O` observations, `H` horizon.

An item is K demonstrations of the teacher and one more episode in the same task. *Pretraining* predicts the next
observation, action and reward of unlabelled behaviour. *Fine-tuning* predicts the teacher's action everywhere.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxdm import random
from jaxdm.oracles.graph_policy import graph_agent, nodes_along
from jaxdm.rollout import markov_agent, rollouts
from jaxdm.sft.experts import as_graph_policy
from jaxdm.sft.tasks import Task, label_probabilities
from jaxdm.tokens import Spaces, encode
from jaxdm.types import Env, Episode, Tree


class Prompt(NamedTuple):
    """A sequence with its targets."""

    tokens: jax.Array  # [N, F]
    label: jax.Array  # [N, A] law of the action to predict
    action: jax.Array  # [N] int32, the action taken
    next_observation: jax.Array  # [N] int32
    reward: jax.Array  # [N]
    mask: jax.Array  # [N] bool, False where nothing is to be learnt


def supervise(episodes: Episode, label: jax.Array, spaces: Spaces) -> Prompt:
    """K episodes as one sequence whose every step is labelled.

    Args:
        episodes: leading axes [K, T].
        label: [K, T, A] laws: the oracle's, or `one_hot(action)` to imitate whoever acted.
        spaces: sizes.

    Returns:
        Prompt of N = K T tokens.
    """
    flat = lambda x: x.reshape(-1)
    return Prompt(
        tokens=encode(episodes, spaces),
        label=label.reshape(-1, spaces.actions),
        action=flat(episodes.action),
        next_observation=flat(episodes.next_observation),
        reward=flat(episodes.reward),
        mask=flat(episodes.mask),
    )


class Setting(NamedTuple):
    """A kind of world, and who plays in it while data are gathered.

    Fields:
        env: the world.
        spaces: sizes.
        horizon: T = H, steps of an episode.
        member: `(world, model) -> world` whose model is certain; `world` itself where there is but one.
        visit_exploration: eps of the eps-soft teacher in the labelled query episode, so that mistakes are met.
        behaviour_scale: unlabelled behaviour plays `softmax(scale g)` with standard normal `g [O, A]`.
    """

    env: Env
    spaces: Spaces
    horizon: int
    member: Callable[[Tree, jax.Array], Tree]
    visit_exploration: float
    behaviour_scale: float


Item = Callable[[jax.Array, Setting, Task, int], Prompt]
"""`(key, setting, task, K) -> Prompt`: what a gradient step learns from."""


def demonstrations(key: jax.Array, setting: Setting, task: Task, count: int) -> Episode:
    """The teacher's episodes in a task, leading axes [count, T]."""
    known = as_graph_policy(task, task.expert)
    return rollouts(key, setting.env, task.world, graph_agent(), known, setting.horizon, count)


def query_episode(key: jax.Array, setting: Setting, task: Task) -> Episode:
    """The episode on which the network is asked what the teacher would do, leading axes [1, T]."""
    known = as_graph_policy(task, task.expert, setting.visit_exploration)
    return rollouts(key, setting.env, task.world, graph_agent(), known, setting.horizon, 1)


def behaviour_episodes(key: jax.Array, setting: Setting, task: Task, count: int) -> Episode:
    """Unlabelled behaviour, [count, T]: all episodes of one call are by one random policy of observations."""
    key_policy, key_play = random.split(key)
    logits = jax.random.normal(key_policy, (setting.spaces.observations, setting.spaces.actions))
    law = jax.nn.softmax(setting.behaviour_scale * logits)
    return rollouts(key_play, setting.env, task.world, markov_agent(), law, setting.horizon, count)


def label(task: Task, episode: Episode) -> jax.Array:
    """The teacher's law of the action at every step of an episode, [T, A]."""
    time, node = jnp.arange(episode.reward.shape[0]), nodes_along(task, episode)
    lesson = task.expert
    return label_probabilities(lesson._replace(policy=lesson.policy[time, node], good=lesson.good[time, node]))


def behaviour_prompt(key: jax.Array, setting: Setting, task: Task, supports: int) -> Prompt:
    """An item for pretraining: K + 1 episodes of one behaviour policy, each action labelled by itself."""
    episodes = behaviour_episodes(key, setting, task, supports + 1)
    return supervise(episodes, jax.nn.one_hot(episodes.action, setting.spaces.actions), setting.spaces)


def expert_prompt(key: jax.Array, setting: Setting, task: Task, supports: int) -> Prompt:
    """An item for fine-tuning: K demonstrations and a query episode, each action labelled by the teacher."""
    return _asked(key, setting, task, supports, demonstrations)


def dpt_prompt(key: jax.Array, setting: Setting, task: Task, supports: int) -> Prompt:
    """An item for decision pretraining: K episodes of behaviour and a query episode, labelled by the teacher.

    The published one labels a single query state; here every step is labelled, as in fine-tuning.

    Reference: Lee et al., Supervised pretraining can learn in-context reinforcement learning (DPT), NeurIPS 2023.
    """
    return _asked(key, setting, task, supports, behaviour_episodes)


def _asked(key: jax.Array, setting: Setting, task: Task, supports: int, show: Callable[..., Episode]) -> Prompt:
    """Episodes in a task and a query episode, each action labelled by the teacher."""
    key_support, key_query = random.split(key)
    support = show(key_support, setting, task, supports)
    query = query_episode(key_query, setting, task)
    episodes = jax.tree.map(lambda x, y: jnp.concatenate([x, y]), support, query)
    labels = jax.vmap(lambda episode: label(task, episode))(episodes)
    return supervise(episodes, labels, setting.spaces)
