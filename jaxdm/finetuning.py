"""The two stages of supervised fine-tuning, for any world: what is sampled, and the losses.

Dimensions: `K` demonstrations, `T` steps of an episode, `N` tasks of a pool, `S` states, `A` actions, `H` horizon.

An item is K demonstrations of the teacher and one more episode in the same task. *Pretraining* predicts the next
observation, action and reward of unlabelled behaviour. *Fine-tuning* predicts the oracle's action everywhere.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxdm import randomness
from jaxdm.envs import mdp
from jaxdm.episodes import as_law, markov
from jaxdm.objectives import Targets, prediction_loss
from jaxdm.prompts import Prompt, Spaces, play, supervise
from jaxdm.tasks import Task, oracle_law
from jaxdm.types import Env, Episode, Network, Tree


class Setting(NamedTuple):
    """A kind of world, and who plays in it while data are gathered; each player is `(key, task, count) -> [count, T]`.

    Fields:
        env: the world.
        spaces: sizes.
        horizon: T, steps of an episode.
        demonstrate: the teacher's episodes, which the network is shown.
        visit: the query episodes on which it is asked for the oracle's action.
        behave: unlabelled behaviour for pretraining: all `count` episodes of one call are by one behaviour policy.
        label: `(task, episode) -> [T, A]`, the oracle's law of the action at every step.
    """

    env: Env
    spaces: Spaces
    horizon: int
    demonstrate: Callable[[jax.Array, Task, int], Episode]
    visit: Callable[[jax.Array, Task, int], Episode]
    behave: Callable[[jax.Array, Task, int], Episode]
    label: Callable[[Task, Episode], jax.Array]


def mdp_setting(
    spaces: Spaces, horizon: int, teacher_exploration: float, visit_exploration: float, behaviour_scale: float
) -> Setting:
    """Fully observed MDPs with the oracle as teacher.

    Args:
        spaces: S observations, A actions.
        horizon: T = H.
        teacher_exploration: eps of the eps-soft oracle that demonstrates.
        visit_exploration: eps of the eps-soft oracle in the query episode, so that states off its path are labelled.
        behaviour_scale: a behaviour policy is `softmax(scale * g)` with standard normal `g [S, A]`.

    Raises:
        ValueError: an exploration outside [0, 1].
    """
    for name, value in (("teacher_exploration", teacher_exploration), ("visit_exploration", visit_exploration)):
        if not 0 <= value <= 1:
            raise ValueError(f"{name}: {value}; expected a number in [0, 1]")
    env = mdp.env(horizon)

    def soft_oracle(exploration: float) -> Callable[[jax.Array, Task, int], Episode]:
        def episodes(key: jax.Array, task: Task, count: int) -> Episode:
            law = as_law(task.policy, spaces.actions, exploration)
            return play(key, env, task.world, markov(horizon), law, horizon, count)

        return episodes

    def behave(key: jax.Array, task: Task, count: int) -> Episode:
        key_policy, key_play = randomness.split(key)
        logits = behaviour_scale * jax.random.normal(key_policy, (spaces.observations, spaces.actions))
        return play(key_play, env, task.world, markov(), jax.nn.softmax(logits), horizon, count)

    return Setting(
        env=env,
        spaces=spaces,
        horizon=horizon,
        demonstrate=soft_oracle(teacher_exploration),
        visit=soft_oracle(visit_exploration),
        behave=behave,
        label=oracle_law,
    )


def behaviour_prompt(key: jax.Array, setting: Setting, task: Task, supports: int) -> Prompt:
    """An item for pretraining: K + 1 episodes of one behaviour policy, each action labelled by itself."""
    episodes = setting.behave(key, task, supports + 1)
    return supervise(episodes, jax.nn.one_hot(episodes.action, setting.spaces.actions), setting.spaces)


def oracle_prompt(key: jax.Array, setting: Setting, task: Task, supports: int) -> Prompt:
    """An item for fine-tuning: K demonstrations and a query episode, each action labelled by the oracle."""
    key_support, key_query = randomness.split(key)
    support = setting.demonstrate(key_support, task, supports)
    query = setting.visit(key_query, task, 1)
    episodes = jax.tree.map(lambda x, y: jnp.concatenate([x, y]), support, query)
    label = jax.vmap(lambda episode: setting.label(task, episode))(episodes)
    return supervise(episodes, label, setting.spaces)


def batch_loss(
    network: Network,
    setting: Setting,
    prompt: Callable[[jax.Array, Setting, Task, int], Prompt],
    *,
    supports: int,
    batch: int,
    targets: Targets,
) -> Callable[[Tree, jax.Array, Task], jax.Array]:
    """The loss of a stage, `(params, key, pool) -> []`: tasks, episodes and labels are drawn inside it.

    The pool is a `Task` with leading axis [N].

    Args:
        network: with `setting.spaces.features` features and `setting.spaces.outputs` outputs.
        setting: kind of world.
        prompt: `behaviour_prompt` or `oracle_prompt`.
        supports: K >= 0 demonstrations of an item.
        batch: items of a step.
        targets: what is predicted, see `jaxdm.objectives`.

    Raises:
        ValueError: supports < 0 or batch < 1.
    """
    if supports < 0 or batch < 1:
        raise ValueError(f"supports: {supports}, batch: {batch}; expected supports >= 0 and batch >= 1")

    def loss(params: Tree, key: jax.Array, pool: Task) -> jax.Array:
        key_task, key_item = randomness.split(key)
        chosen = jax.random.randint(key_task, (batch,), 0, pool.best_value.shape[0])
        items = jax.vmap(lambda k, i: prompt(k, setting, jax.tree.map(lambda x: x[i], pool), supports))
        prompts = items(randomness.split(key_item, batch), chosen)
        of_one = lambda item: prediction_loss(network.apply(params, item.tokens), item, setting.spaces, targets)
        return jnp.mean(jax.vmap(of_one)(prompts))

    return loss
