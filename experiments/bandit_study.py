"""The worlds and players that `experiments.bandit` compares, and how much of each.

Rates are those of the papers that proposed the players, or tuned to the horizon as their theorems say; none is fitted.
"""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdm.envs import bandit, families
from jaxdm.learners import bandit as tallies
from jaxdm.learners import exp3, thompson
from jaxdm.types import Agent

LAWS = ("uniform means", "one gap of 0.2", "switching", "wandering")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """How much to play."""

    name: str
    """Name of the preset, for the command that regenerates a claim."""
    arms: int = 5
    """K."""
    rounds: int = 2000
    """T."""
    switches: float = 4.0
    """Expected number of changes of the switching law."""
    budget: float = 10.0
    """Variation budget of the wandering law."""
    seeds: int = 5
    """Unit of every interval."""
    runs: int = 40
    """Worlds per seed, averaged."""
    seed: int = 0
    """Of everything random."""
    results: Path = Path("results")
    """Where results go."""


PRESETS = {
    "quick": Config(name="quick"),
    "paper": Config(name="paper", rounds=10_000, seeds=10, runs=100),
    "toy": Config(name="toy", arms=3, rounds=40, seeds=2, runs=2),
}


def players(config: Config) -> dict[str, tuple[Agent, Any]]:
    """Every player with its rates, by the name in the legend."""
    arms, rounds, changes = config.arms, config.rounds, config.switches
    log_rounds = float(np.log(rounds))
    window = min(rounds, max(1, int(2 * np.sqrt(rounds * log_rounds / max(changes, 1)))))
    forget = 1 - np.sqrt(max(changes, 1) / rounds) / 4
    rate = min(1.0, float(np.sqrt(arms * np.log(arms) / ((np.e - 1) * rounds))))
    shared = min(1.0, float(np.sqrt(arms * (changes * np.log(arms * rounds) + np.e) / ((np.e - 1) * rounds))))
    return {
        "UCB1": (tallies.ucb(arms), tallies.UCB()),
        "KL-UCB": (tallies.kl_ucb(arms), tallies.KLUCB()),
        "Thompson": (thompson.beta_thompson(arms), thompson.BetaPrior()),
        "epsilon-greedy": (tallies.epsilon_greedy(arms), tallies.EpsilonGreedy(floor=0.0, scale=5.0 * arms)),
        "elimination": (tallies.successive_elimination(arms), tallies.Elimination(failure=1 / rounds)),
        "Exp3": (exp3.exp3(arms), exp3.Exp3(exploration=rate)),
        "Exp3.S": (exp3.exp3(arms), exp3.Exp3(exploration=shared, sharing=1 / rounds)),
        "sliding window": (tallies.sliding_window_ucb(arms, window), tallies.Window(window=window)),
        "discounted": (tallies.ucb(arms), tallies.UCB(exploration=2.4, discount=forget)),
    }


def worlds(config: Config, law: int) -> bandit.Bandit:
    """The worlds of a law, leading axes [seeds, runs], all with a row of means per round."""
    sizes = {"arms": config.arms, "rounds": config.rounds}
    family = (
        lambda key: families.bandit.uniform_means(key, arms=config.arms),
        lambda key: families.bandit.one_gap(key, arms=config.arms, gap=0.2),
        lambda key: families.bandit.switching(key, chance=config.switches / config.rounds, **sizes),
        lambda key: families.bandit.wandering(key, step=0.02, budget=config.budget, **sizes),
    )[law]
    keys = jax.random.split(jax.random.fold_in(jax.random.key(config.seed), law), (config.seeds, config.runs))
    made = jax.jit(jax.vmap(jax.vmap(family)))(keys)
    rows = (config.seeds, config.runs, config.rounds, config.arms)
    return made._replace(mean=jnp.broadcast_to(made.mean, rows))
