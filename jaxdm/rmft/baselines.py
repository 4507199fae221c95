"""Losses of the rivals of regret-minimisation fine-tuning, for `jaxdm.trainer.make`."""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp

from jaxdm import random
from jaxdm.rmft.distillation import cost_of
from jaxdm.rmft.games import Game, Rollout
from jaxdm.types import Agent, Network, Tree


def imitation_loss(
    game: Game,
    network: Network,
    teacher: Agent,
    told: Callable[[Tree], Tree],
    batch: int,
    labels: Literal["own", "best"] = "own",
) -> Callable[[Tree, jax.Array, Tree], jax.Array]:
    """The loss `(params, key, data) -> []` of imitating another agent, for `jaxdm.trainer.make`.

    With its own decisions as labels this is algorithm distillation, with the oracle's it is a decision-pretrained
    transformer.

    Args:
        game: what the teacher plays.
        network: who learns.
        teacher: who plays.
        told: `instance -> params` of the teacher.
        batch: rollouts of a step.
        labels: the teacher's decisions or the oracle's.

    Raises:
        ValueError: batch < 1 or unknown labels.

    Reference: Laskin et al., In-context reinforcement learning with algorithm distillation, 2022; Lee et al.,
        Supervised pretraining can learn in-context reinforcement learning, 2023.
    """
    if batch < 1 or labels not in ("own", "best"):
        raise ValueError(f"batch, labels: {batch}, {labels!r}; expected at least 1, and 'own' or 'best'")

    def one(key: jax.Array, data: Tree) -> Rollout:
        key_instance, key_play = random.split(key)
        instance = game.instance(key_instance, data)
        record = game.play(key_play, instance, teacher, told(instance))
        return record if labels == "own" else record._replace(label=record.best)

    def loss(params: Tree, key: jax.Array, data: Tree) -> jax.Array:
        records = jax.vmap(lambda key: one(key, data))(random.split(key, batch))
        return cost_of(game, network)(params, records, jnp.ones(batch, records.reward.dtype))

    return loss


def regret_training_loss(
    game: Game, network: Network, batch: int, sharpness: float = 0.0
) -> Callable[[Tree, jax.Array, Tree], jax.Array]:
    """The loss `(params, key, data) -> []` of `jaxdm.rmft.baselines.regret_loss` on the network's own play.

    For games whose decisions are differentiable: points and laws, not drawn arms.

    Args:
        game: what is played.
        network: who learns.
        batch: sequences of a step.
        sharpness: of the weight on the worst of them.

    Raises:
        ValueError: batch < 1.
    """
    if batch < 1:
        raise ValueError(f"batch: {batch}; expected at least 1")
    agent = game.player(network)

    def loss(params: Tree, key: jax.Array, data: Tree) -> jax.Array:
        def one(key: jax.Array) -> jax.Array:
            key_instance, key_play = random.split(key)
            instance = game.instance(key_instance, data)
            told = game.deploy(params, jnp.zeros((), jnp.result_type(float)), instance)
            return game.play(key_play, instance, agent, told).course[-1]

        return regret_loss(jax.vmap(one)(random.split(key, batch)), sharpness)

    return loss


def regret_loss(regret: jax.Array, sharpness: jax.Array | float = 0.0) -> jax.Array:
    """`sum_j h(R_j) f(R_j, k) / sum_j f(R_j, k)` with `h(x) = max(x, 0)^2` and `f(x, k) = exp(k x)`.

    It needs no labels of actions, and goes from the mean of h to its maximum as k grows.

    Args:
        regret: [N] of sampled sequences, differentiable in what played them.
        sharpness: [] k >= 0.

    Reference: Park, Liu, Ozdaglar, Zhang, Do LLM agents have regret?, ICLR 2025, section 5; this h and f are ours.
    """
    return jnp.sum(jax.nn.softmax(sharpness * regret) * jnp.maximum(regret, 0) ** 2)
