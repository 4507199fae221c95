"""Training sequences of supervised fine-tuning, for any world: demonstrations, a query episode, and labels.

Dimensions: `K` demonstrations, `T` steps of an episode, `P` tasks of a pool, `N` tokens, `A` actions, `O` observations.

A sequence is K episodes in a task and one more, the query episode, in the same task. *Fine-tuning* predicts the
expert's action at every step. What comes before it, and needs no labels, is in `jaxdm.sft.pretraining`.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from jaxdm import random
from jaxdm.envs.mdp import MDP, available
from jaxdm.learners import episodic
from jaxdm.oracles.graph_policy import graph_agent, nodes_along
from jaxdm.rollout import markov_agent, rollouts
from jaxdm.sft.experts import as_graph_policy
from jaxdm.sft.tasks import Task, at_nodes, label_probabilities
from jaxdm.tokens import Spaces, encode_steps
from jaxdm.types import Env, Episode, Tree
from jaxdm.validation import integer, record

Kind = Literal["mdp", "pomdp", "apomdp"]
"""Kinds of world: fully observed, partially observed, and partially observed with several models."""


class Sequence(NamedTuple):
    """N decisions in a row, episode after episode of one task, and what is to be predicted at each."""

    observation: jax.Array  # [N] int32
    action: jax.Array  # [N] int32, taken
    reward: jax.Array  # [N] of that action
    next_observation: jax.Array  # [N] int32
    start: jax.Array  # [N] bool, whether an episode starts here
    label: jax.Array  # [N, A] probabilities of the action to predict
    mask: jax.Array  # [N] bool, False where nothing is to be learnt


class Prompt(NamedTuple):
    """A sequence as a network reads it, with its targets."""

    tokens: jax.Array  # [N, F]
    label: jax.Array  # [N, A] probabilities of the action to predict
    action: jax.Array  # [N] int32, the action taken
    next_observation: jax.Array  # [N] int32
    reward: jax.Array  # [N]
    mask: jax.Array  # [N] bool, False where nothing is to be learnt


def supervise(episodes: Episode, label: jax.Array) -> Sequence:
    """K episodes as one sequence whose every step is labelled.

    Args:
        episodes: leading axes [K, T].
        label: [K, T, A] action probabilities: the expert's, or `one_hot(action)` to imitate whoever acted.

    Returns:
        Sequence of N = K T steps.
    """
    start = jnp.broadcast_to(jnp.arange(episodes.reward.shape[1]) == 0, episodes.reward.shape)
    return Sequence(
        observation=episodes.observation.reshape(-1),
        action=episodes.action.reshape(-1),
        reward=episodes.reward.reshape(-1),
        next_observation=episodes.next_observation.reshape(-1),
        start=start.reshape(-1),
        label=label.reshape(-1, label.shape[-1]),
        mask=episodes.mask.reshape(-1),
    )


def as_prompt(sequence: Sequence, spaces: Spaces) -> Prompt:
    """A sequence as a network reads it; no batch axis."""
    read = (sequence.observation, sequence.action, sequence.reward, sequence.start)
    kept = {name: getattr(sequence, name) for name in Prompt._fields if name != "tokens"}
    return Prompt(tokens=encode_steps(*read, spaces), **kept)


class Setting(NamedTuple):
    """A kind of world, and who acts in it while data are gathered.

    Fields:
        env: the world.
        spaces: sizes.
        horizon: T = H, steps of an episode.
        member: `(world, model) -> world` whose model is certain; `world` itself where there is but one.
        visit_exploration: eps of the eps-soft expert in the labelled query episode, so that mistakes are met.
        behaviour_scale: unlabelled behaviour plays `softmax(scale g)` with standard normal `g [O, A]`.
    """

    env: Env
    spaces: Spaces
    horizon: int
    member: Callable[[Tree, jax.Array], Tree]
    visit_exploration: float
    behaviour_scale: float


Item = Callable[[jax.Array, Setting, Task, int], Sequence]
"""`(key, setting, task, K) -> Sequence`: one sequence of a gradient step's batch, or of stored data."""


def demonstrations(key: jax.Array, setting: Setting, task: Task, count: int) -> Episode:
    """The expert's episodes in a task, leading axes [count, T].

    Raises:
        ValueError: what is no setting or task, or count < 0; here and below.
    """
    _check(setting, task)
    policy = as_graph_policy(task, task.expert)
    return rollouts(key, setting.env, task.world, graph_agent(), policy, setting.horizon, count)


def query_episode(key: jax.Array, setting: Setting, task: Task) -> Episode:
    """The episode on which the network is asked what the expert would do, leading axes [1, T].

    The eps-soft expert acts, so that the states after mistakes are met.
    """
    _check(setting, task)
    policy = as_graph_policy(task, task.expert, setting.visit_exploration)
    return rollouts(key, setting.env, task.world, graph_agent(), policy, setting.horizon, 1)


def behaviour_episodes(key: jax.Array, setting: Setting, task: Task, count: int) -> Episode:
    """Unlabelled behaviour, leading axes [count, T]: all episodes of one call are by one random policy."""
    _check(setting, task)
    key_policy, key_play = random.split(key)
    logits = jax.random.normal(key_policy, (setting.spaces.observations, setting.spaces.actions))
    scaled = setting.behaviour_scale * logits
    if isinstance(task.world, MDP):
        scaled = jnp.where(available(task.world), scaled, -jnp.inf)
    policy = jax.nn.softmax(scaled)
    return rollouts(key_play, setting.env, task.world, markov_agent(), policy, setting.horizon, count)


def learning_episodes(key: jax.Array, setting: Setting, task: Task, count: int) -> Episode:
    """The first episodes of a tabular learner in a task, leading axes [count, T]; see `jaxdm.learners.episodic`."""
    _check(setting, task)
    key_learner, key_play = random.split(key)
    learner = episodic.draw_learner(key_learner)
    return episodic.history(key_play, setting.env, task.world, learner, setting.spaces, setting.horizon, count)


def label(task: Task, episode: Episode) -> jax.Array:
    """The expert's action probabilities at every step of an episode, [T, A]."""
    node = nodes_along(task.graph, episode)
    expert = task.expert
    here = {name: at_nodes(getattr(expert, name), node) for name in ("policy", "good", "available")}
    return label_probabilities(expert._replace(**here))


def behaviour_sequence(key: jax.Array, setting: Setting, task: Task, supports: int) -> Sequence:
    """K + 1 episodes of one random behaviour policy, each action labelled by itself."""
    supports = integer("supports", supports, 0)
    return _own_actions(behaviour_episodes(key, setting, task, supports + 1), setting.spaces)


def learning_sequence(key: jax.Array, setting: Setting, task: Task, supports: int) -> Sequence:
    """The first K + 1 episodes of a learner, each action labelled by itself: algorithm distillation.

    Reference: Laskin et al., In-context reinforcement learning with algorithm distillation, ICLR 2023.
    """
    supports = integer("supports", supports, 0)
    return _own_actions(learning_episodes(key, setting, task, supports + 1), setting.spaces)


def expert_sequence(key: jax.Array, setting: Setting, task: Task, supports: int) -> Sequence:
    """A sequence for fine-tuning: K demonstrations and a query episode, every step labelled by the expert."""
    return _query_sequence(key, setting, task, supports, demonstrations)


def dpt_sequence(key: jax.Array, setting: Setting, task: Task, supports: int) -> Sequence:
    """A sequence for decision pretraining: K episodes of behaviour and a query episode, labelled by the expert.

    The published method labels a single query state; here every step is labelled, as in fine-tuning.

    Reference: Lee et al., Supervised pretraining can learn in-context reinforcement learning (DPT), NeurIPS 2023.
    """
    return _query_sequence(key, setting, task, supports, behaviour_episodes)


def _check(setting: Setting, task: Task) -> None:
    record("setting", setting, Setting)
    record("task", task, Task)


def _own_actions(episodes: Episode, spaces: Spaces) -> Sequence:
    return supervise(episodes, jax.nn.one_hot(episodes.action, spaces.actions))


def _query_sequence(
    key: jax.Array, setting: Setting, task: Task, supports: int, context: Callable[..., Episode]
) -> Sequence:
    """K context episodes and a query episode in one task, every step labelled by the expert."""
    supports = integer("supports", supports, 0)
    key_context, key_query = random.split(key)
    shown = context(key_context, setting, task, supports)
    query = query_episode(key_query, setting, task)
    episodes = jax.tree.map(lambda x, y: jnp.concatenate([x, y]), shown, query)
    return supervise(episodes, jax.vmap(lambda episode: label(task, episode))(episodes))
