"""Losses of the baselines of regret-minimisation fine-tuning, for `jaxdm.trainer.make`."""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp

from jaxdm import random
from jaxdm.rmft.distillation import imitation_cost
from jaxdm.rmft.games import Game, Rollout
from jaxdm.types import Agent, Network, Tree
from jaxdm.validation import choice, positive_integer


def imitation_loss(
    game: Game,
    network: Network,
    agent: Agent,
    agent_params: Callable[[Tree], Tree],
    batch: int,
    labels: Literal["played", "optimal"] = "played",
) -> Callable[[Tree, jax.Array, Tree], jax.Array]:
    """The loss `(params, key, data) -> []` of imitating another agent's rollouts.

    With that agent's decisions as labels this is algorithm distillation; with the oracle's decisions as labels it is
    the training of a decision-pretrained transformer.

    Args:
        game: what is played.
        network: what is trained.
        agent: who plays.
        agent_params: `instance -> params` of that agent.
        batch: rollouts of a gradient step.
        labels: the decisions played, or the oracle's.

    Raises:
        ValueError: batch < 1 or unknown labels.

    Reference: Laskin et al., In-context reinforcement learning with algorithm distillation, 2022; Lee et al.,
        Supervised pretraining can learn in-context reinforcement learning, 2023.
    """
    batch = positive_integer("batch", batch)
    choice("labels", labels, ("played", "optimal"))

    def one(key: jax.Array, data: Tree) -> Rollout:
        key_instance, key_play = random.split(key)
        instance = game.instance(key_instance, data)
        played = game.play(key_play, instance, agent, agent_params(instance))
        return played if labels == "played" else played._replace(label=played.best)

    def loss(params: Tree, key: jax.Array, data: Tree) -> jax.Array:
        rollouts = jax.vmap(lambda key: one(key, data))(random.split(key, batch))
        return imitation_cost(game, network)(params, rollouts, jnp.ones((batch, 1), rollouts.reward.dtype))

    return loss


def regret_training_loss(
    game: Game, network: Network, batch: int, weighting: float = 0.0
) -> Callable[[Tree, jax.Array, Tree], jax.Array]:
    """The loss `(params, key, data) -> []` that is `regret_loss` of the network's own rollouts.

    For games whose decisions are differentiable: points and probabilities, not sampled arms.

    Args:
        game: what is played.
        network: what is trained.
        batch: rollouts of a gradient step.
        weighting: k of `regret_loss`.

    Raises:
        ValueError: batch < 1.
    """
    batch = positive_integer("batch", batch)
    agent = game.player(network)

    def loss(params: Tree, key: jax.Array, data: Tree) -> jax.Array:
        def one(key: jax.Array) -> jax.Array:
            key_instance, key_play = random.split(key)
            instance = game.instance(key_instance, data)
            agent_params = game.deploy(params, jnp.zeros((), jnp.result_type(float)), instance)
            return game.play(key_play, instance, agent, agent_params).cumulative_regret[-1]

        return regret_loss(jax.vmap(one)(random.split(key, batch)), weighting)

    return loss


def regret_loss(regret: jax.Array, weighting: jax.Array | float = 0.0) -> jax.Array:
    """`sum_j h(R_j) f(R_j, k) / sum_j f(R_j, k)` with `h(x) = max(x, 0)^2` and `f(x, k) = exp(k x)`.

    It needs no labels, and goes from the mean of h to its maximum as k grows.

    Args:
        regret: [N] of sampled rollouts, differentiable in the network's weights.
        weighting: [] k >= 0.

    Returns:
        [] in squared units of reward.

    Reference: Park, Liu, Ozdaglar, Zhang, Do LLM agents have regret?, ICLR 2025, section 5; this h and f are ours.
    """
    return jnp.sum(jax.nn.softmax(weighting * regret) * jnp.maximum(regret, 0) ** 2)
