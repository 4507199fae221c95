"""What the online-learning study plays: decision sets, learners, a course of regret, and an attack."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxdm.envs import families, online
from jaxdm.envs.online import BALL
from jaxdm.learners.online import (
    Rate,
    follow_leader,
    ftrl,
    ftrl_rate,
    greedy_descent,
    hedge,
    hedge_rate,
    lazy_descent,
    perturbed_leader,
    rate,
)
from jaxdm.oracles import attack
from jaxdm.oracles.attack import ATTACK_SPACES, Attack
from jaxdm.oracles.regret import external
from jaxdm.rollout import rollout
from jaxdm.types import Agent


class Target(NamedTuple):
    """A learner under attack: where it plays, its rate for T rounds, and the regret it is guaranteed, if any."""

    arena: str
    agent: Agent
    rate: Callable[[jax.Array], Rate]
    bound: float  # times sqrt(T); NaN where nothing is guaranteed


def contenders(arena: str, dimension: int) -> dict[str, tuple[Agent, Rate]]:
    """The learners of the regret curves, all with rates that need not know T."""
    region = ATTACK_SPACES[arena].region
    step = ftrl_rate() if arena == "ball" else rate(1 / math.sqrt(dimension), 0.5)
    shared = {
        "FTRL": (ftrl(region, dimension), step),
        "lazy descent": (lazy_descent(region, dimension), step),
        "greedy descent": (greedy_descent(region, dimension), step),
        "perturbed leader": (perturbed_leader(region, dimension), rate(1.0, 0.5)),
        "follow the leader": (follow_leader(region, dimension), step),
    }
    if arena == "ball":
        return shared
    gumbel = perturbed_leader(region, dimension, jax.random.gumbel)
    return {
        "Hedge": (hedge(dimension), hedge_rate(dimension)),
        **shared,
        "Gumbel leader": (gumbel, hedge_rate(dimension)),
    }


def targets(dimension: int) -> dict[str, Target]:
    """The learners under attack, with rates tuned to T but for the second."""
    entropy = math.log(dimension)
    tuned = lambda scale: lambda rounds: rate(scale / jnp.sqrt(rounds))
    leader = lambda arena: follow_leader(ATTACK_SPACES[arena].region, dimension)
    target = lambda arena, agent, rate, bound: Target(arena=arena, agent=agent, rate=rate, bound=bound)
    return {
        "Hedge": target("simplex", hedge(dimension), tuned(math.sqrt(8 * entropy)), math.sqrt(entropy / 2)),
        "Hedge, any T": target("simplex", hedge(dimension), lambda rounds: hedge_rate(dimension), math.sqrt(entropy)),
        "follow the leader": target("simplex", leader("simplex"), tuned(1.0), math.nan),
        "FTRL, ball": target("ball", ftrl(BALL, dimension), tuned(1.0), 1.0),
        "greedy descent, ball": target("ball", greedy_descent(BALL, dimension), tuned(1.0), 1.0),
        "follow the leader, ball": target("ball", leader("ball"), tuned(1.0), math.nan),
    }


def course(arena: str, agent: Agent, rate: Rate, respond: online.Response) -> Callable[..., jax.Array]:
    """`(key, plan [T, d]) -> regret [T]` of a learner against an adversary with that plan."""

    def regret(key: jax.Array, plan: jax.Array) -> jax.Array:
        episode = rollout(key, online.env(respond), plan, agent, rate, plan.shape[0])
        return external(ATTACK_SPACES[arena].region, episode.next_observation, episode.action)

    return regret


def attacked(
    target: Target, key: jax.Array, reacting: jax.Array, rounds: jax.Array, *, longest: int, dimension: int, steps: int
) -> Attack:
    """One attack on the first `rounds` of `longest` rounds; later losses are zero and cost nothing.

    It starts from random losses, or from what the reacting adversary answered.
    """
    arena, rate = ATTACK_SPACES[target.arena], target.rate(rounds)
    key_plan, key_play = jax.random.split(key)
    plan = arena.scale(families.losses.gaussian(key_plan, length=longest, dimension=dimension))
    answered = rollout(key_play, online.env(arena.respond), plan, target.agent, rate, longest).next_observation
    played = (jnp.arange(longest) < rounds)[:, None]
    allowed = lambda losses: jnp.where(played, arena.project(losses), 0)
    regret = lambda losses: external(arena.region, losses, online.play(key_play, losses, target.agent, rate))[-1]
    return attack.ascend(regret, allowed, jnp.where(reacting, answered, plan), steps)
