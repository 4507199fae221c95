"""What networks are trained to predict.

Dimensions: `N` tokens, `O` observations, `A` actions.

A network's outputs at a token are `A` action logits, then for each action `O` logits of the next observation, then for
each action the expected reward.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp

from jaxdm import random
from jaxdm.numerics import masked_mean
from jaxdm.sft.data import Item, Prompt, Sequence, Setting, as_prompt
from jaxdm.sft.offline import Stored
from jaxdm.sft.tasks import Task
from jaxdm.tokens import Spaces
from jaxdm.types import Network, Tree
from jaxdm.validation import check_shape, choice, integer, positive_integer, record

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

    Returns:
        Predictions; those of observation and reward are for the action taken.
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

    With the expert's action probabilities as labels this is supervised fine-tuning (on actions, or on everything);
    with `one_hot(action)` and "all" it is pretraining, which needs no expert.

    Args:
        outputs: [N, spaces.outputs].
        prompt: the sequence and its targets.
        spaces: sizes.
        targets: "actions" or "all".

    Returns:
        [] nats, plus squared reward units with "all".

    Raises:
        InvalidInput: unknown targets, or outputs of another shape.
    """
    choice("targets", targets, get_args(Targets))
    record("prompt", prompt, Prompt)
    check_shape("outputs", outputs, "N F", N=prompt.action.shape[0], F=spaces.outputs)
    predicted = split_outputs(outputs, prompt.action, spaces)
    loss = -jnp.sum(prompt.label * jax.nn.log_softmax(predicted.action), axis=-1)
    if targets == "all":
        log_probability = jax.nn.log_softmax(predicted.next_observation)
        loss -= jnp.take_along_axis(log_probability, prompt.next_observation[:, None], axis=-1)[:, 0]
        loss += (predicted.reward - prompt.reward) ** 2
    return masked_mean(loss, prompt.mask)


def batch_loss(
    network: Network,
    setting: Setting,
    item: Item,
    *,
    supports: int,
    batch: int,
    targets: Targets,
) -> Callable[[Tree, jax.Array, Task], jax.Array]:
    """The loss of a training stage: `prediction_loss` averaged over a batch that is drawn inside it.

    Args:
        network: with `setting.spaces.features` features and `setting.spaces.outputs` outputs.
        setting: kind of world.
        item: e.g. `expert_sequence` of `jaxdm.sft.data`.
        supports: K >= 0 context episodes of a sequence.
        batch: sequences of a step.
        targets: what is predicted, as in `prediction_loss`.

    Returns:
        `(params, key, pool) -> []`, where the pool is a `Task` with leading axis [P].

    Raises:
        InvalidInput: supports < 0, batch < 1, or unknown targets.
    """
    supports, batch = integer("supports", supports, 0), positive_integer("batch", batch)
    choice("targets", targets, get_args(Targets))

    def loss(params: Tree, key: jax.Array, pool: Task) -> jax.Array:
        key_task, key_item = random.split(key)
        chosen = jax.random.randint(key_task, (batch,), 0, pool.bound.shape[0])

        def one(key: jax.Array, index: jax.Array) -> Sequence:
            return item(key, setting, jax.tree.map(lambda x: x[index], pool), supports)

        drawn = jax.vmap(one)(random.split(key_item, batch), chosen)
        return sequence_loss(network, setting.spaces, params, drawn, targets)

    return loss


def stored_loss(
    network: Network, spaces: Spaces, *, batch: int, targets: Targets
) -> Callable[[Tree, jax.Array, Stored], jax.Array]:
    """The loss of a training stage on offline data: `prediction_loss` averaged over sequences drawn with replacement.

    Args:
        network: with `spaces.features` features and `spaces.outputs` outputs.
        spaces: sizes.
        batch: sequences of a step.
        targets: what is predicted, as in `prediction_loss`.

    Returns:
        `(params, key, stored) -> []`.

    Raises:
        InvalidInput: batch < 1, or unknown targets.
    """
    batch = positive_integer("batch", batch)
    choice("targets", targets, get_args(Targets))

    def loss(params: Tree, key: jax.Array, stored: Stored) -> jax.Array:
        chosen = jax.random.randint(key, (batch,), 0, stored.used)
        drawn = jax.tree.map(lambda x: x[chosen], stored.sequences)
        return sequence_loss(network, spaces, params, drawn, targets)

    return loss


def sequence_loss(network: Network, spaces: Spaces, params: Tree, drawn: Sequence, targets: Targets) -> jax.Array:
    """`prediction_loss` of a batch of sequences, leading axis [B]: a mean over sequences of means over their steps."""
    prompts = jax.vmap(lambda sequence: as_prompt(sequence, spaces))(drawn)
    losses = jax.vmap(lambda outputs, prompt: prediction_loss(outputs, prompt, spaces, targets))
    return jnp.mean(losses(network.apply(params, prompts.tokens), prompts))
