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
from jaxdm.objectives import Targets, prediction_loss
from jaxdm.oracles.graph_policy import graph_agent, nodes_along
from jaxdm.rollout import markov_agent, rollouts
from jaxdm.tasks import Lesson, Task, guide, label_law, lesson_of
from jaxdm.tokens import Prompt, Spaces, supervise
from jaxdm.types import Env, Episode, Network, Tree

Teacher = Callable[[Task], Lesson]
"""Who teaches in a task."""


def oracle(task: Task) -> Lesson:
    """The optimal policy."""
    return lesson_of(task.optimal, task.q.dtype)


def soft_oracle(exploration: float) -> Teacher:
    """The oracle that plays a uniform action with chance eps.

    Raises:
        ValueError: exploration outside [0, 1].
    """
    if not 0 <= exploration <= 1:
        raise ValueError(f"exploration: {exploration}; expected a number in [0, 1]")
    return lambda task: oracle(task)._replace(exploration=jnp.asarray(exploration, task.q.dtype))


def myopic(steps: int) -> Teacher:
    """The policy that plans as if the world ended after so many more steps.

    Raises:
        ValueError: steps < 1.
    """
    if steps < 1:
        raise ValueError(f"steps: {steps}; expected at least 1")

    def lesson(task: Task) -> Lesson:
        horizon = task.q.shape[0]
        return lesson_of(task.optimal[jnp.maximum(jnp.arange(horizon), horizon - steps)], task.q.dtype)

    return lesson


def contrarian(task: Task) -> Lesson:
    """The policy that takes what the oracle likes least: no teacher to follow, but one to imitate."""
    return lesson_of(jax.nn.one_hot(jnp.argmin(task.q, axis=-1), task.q.shape[-1], dtype=bool), task.q.dtype)


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


def demonstrate(key: jax.Array, setting: Setting, task: Task, count: int) -> Episode:
    """The teacher's episodes in a task, leading axes [count, T]."""
    known = guide(task, task.lesson)
    return rollouts(key, setting.env, task.world, graph_agent(), known, setting.horizon, count)


def visit(key: jax.Array, setting: Setting, task: Task) -> Episode:
    """The episode on which the network is asked what the teacher would do, leading axes [1, T]."""
    known = guide(task, task.lesson, setting.visit_exploration)
    return rollouts(key, setting.env, task.world, graph_agent(), known, setting.horizon, 1)


def behave(key: jax.Array, setting: Setting, task: Task, count: int) -> Episode:
    """Unlabelled behaviour, [count, T]: all episodes of one call are by one random policy of observations."""
    key_policy, key_play = random.split(key)
    logits = jax.random.normal(key_policy, (setting.spaces.observations, setting.spaces.actions))
    law = jax.nn.softmax(setting.behaviour_scale * logits)
    return rollouts(key_play, setting.env, task.world, markov_agent(), law, setting.horizon, count)


def label(task: Task, episode: Episode) -> jax.Array:
    """The teacher's law of the action at every step of an episode, [T, A]."""
    time, node = jnp.arange(episode.reward.shape[0]), nodes_along(task, episode)
    lesson = task.lesson
    return label_law(lesson._replace(policy=lesson.policy[time, node], good=lesson.good[time, node]))


def behaviour_prompt(key: jax.Array, setting: Setting, task: Task, supports: int) -> Prompt:
    """An item for pretraining: K + 1 episodes of one behaviour policy, each action labelled by itself."""
    episodes = behave(key, setting, task, supports + 1)
    return supervise(episodes, jax.nn.one_hot(episodes.action, setting.spaces.actions), setting.spaces)


def teacher_prompt(key: jax.Array, setting: Setting, task: Task, supports: int) -> Prompt:
    """An item for fine-tuning: K demonstrations and a query episode, each action labelled by the teacher."""
    return _asked(key, setting, task, supports, demonstrate)


def dpt_prompt(key: jax.Array, setting: Setting, task: Task, supports: int) -> Prompt:
    """An item for decision pretraining: K episodes of behaviour and a query episode, labelled by the teacher.

    The published one labels a single query state; here every step is labelled, as in fine-tuning.

    Reference: Lee et al., Supervised pretraining can learn in-context reinforcement learning (DPT), NeurIPS 2023.
    """
    return _asked(key, setting, task, supports, behave)


def _asked(key: jax.Array, setting: Setting, task: Task, supports: int, show: Callable[..., Episode]) -> Prompt:
    """Episodes in a task and a query episode, each action labelled by the teacher."""
    key_support, key_query = random.split(key)
    support = show(key_support, setting, task, supports)
    query = visit(key_query, setting, task)
    episodes = jax.tree.map(lambda x, y: jnp.concatenate([x, y]), support, query)
    labels = jax.vmap(lambda episode: label(task, episode))(episodes)
    return supervise(episodes, labels, setting.spaces)


def batch_loss(
    network: Network,
    setting: Setting,
    prompt: Item,
    *,
    supports: int,
    batch: int,
    targets: Targets,
) -> Callable[[Tree, jax.Array, Task], jax.Array]:
    """The loss of a stage, `(params, key, pool) -> []`: tasks, episodes and labels are drawn inside it.

    The pool is a `Task` with leading axis [P].

    Args:
        network: with `setting.spaces.features` features and `setting.spaces.outputs` outputs.
        setting: kind of world.
        prompt: `behaviour_prompt`, `teacher_prompt` or `dpt_prompt`.
        supports: K >= 0 demonstrations of an item.
        batch: items of a step.
        targets: what is predicted, see `jaxdm.objectives`.

    Raises:
        ValueError: supports < 0 or batch < 1.
    """
    if supports < 0 or batch < 1:
        raise ValueError(f"supports: {supports}, batch: {batch}; expected supports >= 0 and batch >= 1")

    def loss(params: Tree, key: jax.Array, pool: Task) -> jax.Array:
        key_task, key_item = random.split(key)
        chosen = jax.random.randint(key_task, (batch,), 0, pool.bound.shape[0])
        items = jax.vmap(lambda k, i: prompt(k, setting, jax.tree.map(lambda x: x[i], pool), supports))
        prompts = items(random.split(key_item, batch), chosen)
        of_one = lambda outputs, item: prediction_loss(outputs, item, setting.spaces, targets)
        return jnp.mean(jax.vmap(of_one)(network.apply(params, prompts.tokens), prompts))

    return loss
