"""What networks are trained to predict.

Dimensions: `N` tokens, `O` observations, `A` actions.

A network's outputs at a token are `A` action logits, then for each action `O` logits of the next observation, then for
each action the expected reward.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from jaxdm import random
from jaxdm.numerics import masked_mean
from jaxdm.sft.data import Item, Prompt, Setting
from jaxdm.sft.tasks import Task
from jaxdm.tokens import Spaces
from jaxdm.types import Network, Tree

Targets = Literal["actions", "all"]


class Predictions(NamedTuple):
    """The outputs of a network, by what they speak of; observation and reward are those after the action taken."""

    action: jax.Array  # [N, A] logits
    next_observation: jax.Array  # [N, O] logits
    reward: jax.Array  # [N]


def split_outputs(outputs: jax.Array, action: jax.Array, spaces: Spaces) -> Predictions:
    """Take a network's outputs apart.

    Args:
        outputs: [N, spaces.outputs].
        action: [N] int32, the actions taken.
        spaces: sizes.
    """
    actions, observations = spaces.actions, spaces.observations
    policy, model, reward = jnp.split(outputs, [actions, actions * (observations + 1)], axis=-1)
    row = jnp.arange(outputs.shape[0])
    return Predictions(
        action=policy,
        next_observation=model.reshape(-1, actions, observations)[row, action],
        reward=reward[row, action],
    )


def prediction_loss(outputs: jax.Array, prompt: Prompt, spaces: Spaces, targets: Targets = "actions") -> jax.Array:
    """Mean over a prompt's tokens of `-sum_a label(a) log p(a)`; with "all" plus `-log p(o')` and `(r_hat - r)^2`.

    With the oracle's laws as labels this is supervised fine-tuning (on actions, or on everything); with
    `one_hot(action)` and "all" it is pretraining, which needs no oracle.

    Args:
        outputs: [N, spaces.outputs].
        prompt: the sequence and its targets.
        spaces: sizes.
        targets: "actions" or "all".

    Returns:
        [] nats, plus squared reward units with "all".

    Raises:
        ValueError: unknown targets.
    """
    if targets not in ("actions", "all"):
        raise ValueError(f"targets: {targets!r}; expected 'actions' or 'all'")
    predicted = split_outputs(outputs, prompt.action, spaces)
    loss = -jnp.sum(prompt.label * jax.nn.log_softmax(predicted.action), axis=-1)
    if targets == "all":
        log_law = jax.nn.log_softmax(predicted.next_observation)
        loss -= jnp.take_along_axis(log_law, prompt.next_observation[:, None], axis=-1)[:, 0]
        loss += (predicted.reward - prompt.reward) ** 2
    return masked_mean(loss, prompt.mask)


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
        targets: what is predicted, see `jaxdm.sft.losses`.

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
