"""Laws of losses, their players and where everyone is judged, in the online part of the regret-minimisation study.

Dimensions: `Q` places.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxdm import random
from jaxdm.envs import families, online
from jaxdm.learners import online as learners
from jaxdm.models.agents import Decisions
from jaxdm.oracles.attack import ARENAS
from jaxdm.rmft import games
from jaxdm.types import Agent

SLOTS = {"simplex": 5, "ball": 4}
"""Coordinates that a network has room for."""


USED = {"simplex": 3, "ball": 2}
"""And those that count in training, at random places."""


TRAINED = {"simplex": ("uniform", "bernoulli", "random_mean"), "ball": ("gaussian", "random_mean")}


ELSEWHERE = ("linear_trend", "sine_trend", "switching", "alternating", "noisy_alternating")


OTHER_SIZES = {"simplex": (2, 5), "ball": (3, 4)}
"""Coordinates that count where the last training law is judged in other dimensions."""


NAMES = {"simplex": "Hedge", "ball": "FTRL"}


class Place(NamedTuple):
    """Where everyone is judged: the laws of losses, and how many coordinates count; last, an adversary that reacts."""

    names: tuple[str, ...]  # [Q]
    laws: tuple[str, ...]  # [Q - 1]
    used: tuple[int, ...]  # [Q - 1]


def place(decisions: Decisions) -> Place:
    """The laws of training first, then others, then other dimensions."""
    usual, other = (*TRAINED[decisions], *ELSEWHERE), OTHER_SIZES[decisions]
    last = TRAINED[decisions][-1]
    return Place(
        names=(*usual, *(f"{last}, d={size}" for size in other), "reacting"),
        laws=(*usual, *[last] * len(other)),
        used=(*[USED[decisions]] * len(usual), *other),
    )


def law(name: str, decisions: Decisions) -> Callable[..., jax.Array]:
    """A law of losses, each sequence scaled to what the decision set allows."""
    return lambda key, **sizes: ARENAS[decisions].scale(families.losses.LAWS[name](key, **sizes))


def game(decisions: Decisions, length: int, names: tuple[str, ...], **options: Any) -> games.Game:
    """Online learning on these laws."""
    laws = tuple(law(name, decisions) for name in names)
    return games.online_game(laws, SLOTS[decisions], length, decisions, used=USED[decisions], **options)


def everywhere(decisions: Decisions, length: int) -> games.Game:
    """The game whose instances are drawn from the place with the index given as data."""
    where = place(decisions)
    names = tuple(dict.fromkeys(where.laws))
    index, used = jnp.asarray([names.index(name) for name in where.laws]), jnp.asarray(where.used)

    def instance(key: jax.Array, q: jax.Array) -> games.Losses:
        at = jnp.minimum(q, len(where.laws) - 1)
        reacting = q == len(where.laws)
        size = jnp.where(reacting, USED[decisions], used[at])
        available = random.places(key, SLOTS[decisions]) < size
        return games.Losses(law=index[at], available=available, reacting=reacting)

    return game(decisions, length, names, adversary=True)._replace(instance=instance)


def knowing(agent: Agent, decisions: Decisions) -> Agent:
    """The learner with params `(rate, available)`: on the simplex its law among the arms that count.

    On the ball, coordinates that do not count have no losses, and stay where they are.
    """

    def act(draw: Any, memory: Any, observation: jax.Array, params: tuple) -> tuple:
        decision, memory = agent.act(draw, memory, observation, params[0])
        if decisions == "ball":
            return decision, memory
        kept = jnp.where(params[1], decision, 0)
        whole, even = jnp.sum(kept), params[1] / jnp.sum(params[1]).astype(kept.dtype)
        return jnp.where(whole > 0, kept / jnp.where(whole > 0, whole, 1), even), memory

    return agent._replace(
        init=lambda key, params: agent.init(key, params[0]),
        act=act,
        observe=lambda memory, transition, params: agent.observe(memory, transition, params[0]),
    )


def classic(decisions: Decisions) -> Agent:
    """Hedge on the simplex, FTRL on the ball; params are `(rate, available)`."""
    size = SLOTS[decisions]
    return knowing(learners.hedge(size) if decisions == "simplex" else learners.ftrl(online.BALL, size), decisions)
