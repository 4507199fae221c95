"""What the online-learning study plays: learners on each decision set, their regret curves, and attacks on them.

Dimensions: `T` rounds, `d` coordinates, `n` gradient steps.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxdm.envs import families, online
from jaxdm.envs.online import BALL
from jaxdm.learners.online import (
    OnlineParams,
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

    decision_set: str  # a name in `ATTACK_SPACES`
    agent: Agent
    rate: Callable[[jax.Array], OnlineParams]
    bound: float  # times sqrt(T); NaN where nothing is guaranteed


def learners(decision_set: str, dimension: int) -> dict[str, tuple[Agent, OnlineParams]]:
    """The learners of the regret curves, all with rates that need not know T."""
    feasible = ATTACK_SPACES[decision_set].decision_set
    step = ftrl_rate() if decision_set == "ball" else rate(1 / math.sqrt(dimension), 0.5)
    shared = {
        "FTRL": (ftrl(feasible, dimension), step),
        "lazy descent": (lazy_descent(feasible, dimension), step),
        "greedy descent": (greedy_descent(feasible, dimension), step),
        "perturbed leader": (perturbed_leader(feasible, dimension), rate(1.0, 0.5)),
        "follow the leader": (follow_leader(feasible, dimension), step),
    }
    if decision_set == "ball":
        return shared
    gumbel = perturbed_leader(feasible, dimension, jax.random.gumbel)
    return {
        "Hedge": (hedge(dimension), hedge_rate(dimension)),
        **shared,
        "Gumbel leader": (gumbel, hedge_rate(dimension)),
    }


def targets(dimension: int) -> dict[str, Target]:
    """The learners under attack, with rates tuned to T but for the second.

    Hedge with `eta = sqrt(8 ln d / T)` has regret at most `sqrt(T ln d / 2)`, FTRL and descent on the unit ball with
    `eta = 1 / sqrt(T)` at most `sqrt(T)`; following the leader is guaranteed nothing.

    Reference: Cesa-Bianchi, Lugosi 2006, theorems 2.2 and 2.3; Orabona 2019, chapters 2 and 7.
    """
    entropy = math.log(dimension)

    def tuned(scale: float) -> Callable[[jax.Array], OnlineParams]:
        return lambda rounds: rate(scale / jnp.sqrt(rounds))

    def any_time(rounds: jax.Array) -> OnlineParams:
        return hedge_rate(dimension)

    def target(decision_set: str, agent: Agent, rate: Callable[[jax.Array], OnlineParams], bound: float) -> Target:
        return Target(decision_set=decision_set, agent=agent, rate=rate, bound=bound)

    leader = {name: follow_leader(space.decision_set, dimension) for name, space in ATTACK_SPACES.items()}
    return {
        "Hedge": target("simplex", hedge(dimension), tuned(math.sqrt(8 * entropy)), math.sqrt(entropy / 2)),
        "Hedge, any T": target("simplex", hedge(dimension), any_time, math.sqrt(entropy)),
        "follow the leader": target("simplex", leader["simplex"], tuned(1.0), math.nan),
        "FTRL, ball": target("ball", ftrl(BALL, dimension), tuned(1.0), 1.0),
        "greedy descent, ball": target("ball", greedy_descent(BALL, dimension), tuned(1.0), 1.0),
        "follow the leader, ball": target("ball", leader["ball"], tuned(1.0), math.nan),
    }


def regret_curve(
    decision_set: str, agent: Agent, rate: OnlineParams, respond: online.Response
) -> Callable[..., jax.Array]:
    """`(key, plan [T, d]) -> regret [T]` of a learner after each round, against an adversary with that plan."""

    def regret(key: jax.Array, plan: jax.Array) -> jax.Array:
        episode = rollout(key, online.env(respond), plan, agent, rate, plan.shape[0])
        return external(ATTACK_SPACES[decision_set].decision_set, episode.next_observation, episode.action)

    return regret


def attacked(
    target: Target, key: jax.Array, reacting: jax.Array, rounds: jax.Array, *, longest: int, dimension: int, steps: int
) -> Attack:
    """One attack on the first `rounds` of `longest` rounds; later losses are zero and cost nothing.

    Args:
        target: who is attacked.
        key: of the start and of the learner's play.
        reacting: [] bool, whether it starts from what a reacting adversary answered, instead of from random losses.
        rounds: [] T.
        longest: rounds that are simulated, at least T.
        dimension: d.
        steps: n.
    """
    space, rate = ATTACK_SPACES[target.decision_set], target.rate(rounds)
    key_plan, key_play = jax.random.split(key)
    plan = space.scale(families.losses.gaussian(key_plan, length=longest, dimension=dimension))
    answered = rollout(key_play, online.env(space.respond), plan, target.agent, rate, longest).next_observation
    played = (jnp.arange(longest) < rounds)[:, None]

    def allowed(losses: jax.Array) -> jax.Array:
        return jnp.where(played, space.project(losses), 0)

    def regret(losses: jax.Array) -> jax.Array:
        return external(space.decision_set, losses, online.play(key_play, losses, target.agent, rate))[-1]

    return attack.ascend(regret, allowed, jnp.where(reacting, answered, plan), steps)
