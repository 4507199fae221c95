"""What networks are trained to predict.

Dimensions: `N` tokens, `O` observations, `A` actions.

A network's outputs at a token are `A` action logits, then for each action `O` logits of the next observation, then for
each action the expected reward.
"""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from jaxdm.numerics import masked_mean
from jaxdm.tokens import Prompt, Spaces

Targets = Literal["actions", "all"]


class Predictions(NamedTuple):
    """The outputs of a network, by what they speak of; observation and reward are those after the action taken."""

    action: jax.Array  # [N, A] logits
    next_observation: jax.Array  # [N, O] logits
    reward: jax.Array  # [N]


def read(outputs: jax.Array, action: jax.Array, spaces: Spaces) -> Predictions:
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
    predicted = read(outputs, prompt.action, spaces)
    loss = -jnp.sum(prompt.label * jax.nn.log_softmax(predicted.action), axis=-1)
    if targets == "all":
        log_law = jax.nn.log_softmax(predicted.next_observation)
        loss -= jnp.take_along_axis(log_law, prompt.next_observation[:, None], axis=-1)[:, 0]
        loss += (predicted.reward - prompt.reward) ** 2
    return masked_mean(loss, prompt.mask)


def regret_loss(regret: jax.Array, sharpness: jax.Array | float = 0.0) -> jax.Array:
    """`sum_j h(R_j) f(R_j, k) / sum_j f(R_j, k)` with `h(x) = max(x, 0)^2` and `f(x, k) = exp(k x)`.

    It needs no labels of actions, and goes from the mean of h to its maximum as k grows.

    Args:
        regret: [N] of sampled sequences, differentiable in what played them.
        sharpness: [] k >= 0.

    Reference: Park, Liu, Ozdaglar, Zhang, Do LLM agents have regret?, ICLR 2025, section 5; this h and f are ours.
    """
    return jnp.sum(jax.nn.softmax(sharpness * regret) * jnp.maximum(regret, 0) ** 2)
