"""Classical bandit players, and the grids over which the study tunes each of them for every distribution.

The grids are wide enough that the best entry is seldom at an end; how many runs tuned each is stored with the results.
"""

import itertools
from typing import Any, NamedTuple

from jaxdm.learners import bandit as learners
from jaxdm.learners import exp3, thompson
from jaxdm.types import Agent

EPSILONS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0)
"""Constant rates of epsilon-greedy, whose curve goes from never exploring to playing uniformly."""


class Candidates(NamedTuple):
    """A player, and the params that it is tuned over."""

    agent: Agent
    params: tuple[Any, ...]


def stationary(arms: int) -> dict[str, Candidates]:
    """Players of Bernoulli bandits whose means stay."""
    explorations = (0.03, 0.1, 0.2, 0.4, 2.0)
    constant = [learners.EpsilonGreedyParams(floor=rate, scale=0.0) for rate in EPSILONS]
    falling = [learners.EpsilonGreedyParams(floor=0.0, scale=scale) for scale in (1.0, 3.0, 9.0)]
    priors = [thompson.BetaPrior(successes=one, failures=other) for one, other in ((1.0, 1.0), (1.0, 3.0), (3.0, 3.0))]
    return {
        "UCB": Candidates(
            agent=learners.ucb(arms), params=tuple(learners.UCBParams(exploration=x) for x in explorations)
        ),
        "KL-UCB": Candidates(
            agent=learners.kl_ucb(arms), params=tuple(learners.KLUCBParams(patience=c) for c in (0.0, 1.0))
        ),
        "Thompson": Candidates(agent=thompson.beta_thompson(arms), params=tuple(priors)),
        "epsilon-greedy": Candidates(agent=learners.epsilon_greedy(arms), params=(*constant, *falling)),
    }


def forgetful(arms: int, length: int) -> dict[str, Candidates]:
    """Players of bandits whose means move, or are chosen by an adversary."""
    rates = (0.1, 0.4)
    windows = [window for window in (12, 25, 50, 100) if window <= length] or [length]
    return {
        "SW-UCB": Candidates(
            agent=learners.sliding_window_ucb(arms, length),
            params=tuple(learners.WindowParams(exploration=x, window=w) for x, w in itertools.product(rates, windows)),
        ),
        "D-UCB": Candidates(
            agent=learners.ucb(arms),
            params=tuple(
                learners.UCBParams(exploration=x, discount=g) for x, g in itertools.product(rates, (0.85, 0.93, 0.98))
            ),
        ),
        "Exp3": Candidates(
            agent=exp3.exp3(arms),
            params=tuple(
                exp3.Exp3Params(exploration=x, sharing=a) for x, a in itertools.product((0.1, 0.3), (0.0, 0.01))
            ),
        ),
    }


def gaussian(arms: int) -> dict[str, Candidates]:
    """Players of bandits with Gaussian rewards, which KL-UCB and Beta posteriors cannot use."""
    scales = tuple(itertools.product((0.3, 1.0), (0.25, 0.5, 1.0)))
    priors = [thompson.NormalPrior(mean=0.5, deviation=spread, noise=noise) for spread, noise in scales]
    few = stationary(arms)
    return {
        "UCB": few["UCB"],
        "Thompson": Candidates(agent=thompson.normal_thompson(arms), params=tuple(priors)),
        "epsilon-greedy": few["epsilon-greedy"],
    }
