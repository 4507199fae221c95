"""Whom the rivals of regret-minimisation fine-tuning imitate on bandits."""

from typing import Any

import jax
import jax.numpy as jnp

from experiments.rmft_study import ARMS
from jaxdm import random
from jaxdm.learners import bandit as tallies
from jaxdm.learners import thompson
from jaxdm.random import inverse_cdf, sample_index
from jaxdm.types import Agent, Tree


def teachers() -> dict[str, tuple[Agent, Any, Any]]:
    """Whom other networks imitate: who plays, its rates, and whose decisions are the labels."""
    return {
        "distilled UCB1": (tallies.ucb(ARMS), tallies.UCB(), "own"),
        "distilled Thompson": (thompson.beta_thompson(ARMS), thompson.BetaPrior(), "own"),
        "optimal-arm labels": (wanderer(), (), "best"),
    }


def wanderer() -> Agent:
    """The behaviour that optimal-arm labels are learnt on: each episode has its own random law of arms."""

    def act(draw: jax.Array, memory: jax.Array, observation: jax.Array, params: Tree) -> tuple:
        law = jnp.where(observation, memory, 0)
        return sample_index(inverse_cdf(law / jnp.sum(law)), draw), memory

    init = lambda key, params: jax.nn.softmax(2 * random.normal(key, (ARMS,)))
    observe = lambda memory, transition, params: memory
    return Agent(init=init, act=act, observe=observe, draws=lambda key, length: random.uniform(key, (length,)))
