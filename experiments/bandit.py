"""Bandit players compared: regret over time where means stand still and where they move.

Figure: `bandit`, one panel per law of the means, one line per player; every player meets the same worlds and luck.
Commands: `python -m experiments.bandit quick`, `... paper`; `... quick --help` lists what can be changed.
Cost: quick about two minutes on two CPU cores; paper has not been timed.
Expectation: Thompson and KL-UCB lowest where means stand still; a window below Thompson and UCB1 where they switch.

"Regret" is pseudo-regret against the best arm of each round. Rates: `experiments.bandit`.
"""

import dataclasses
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.progress import track

from experiments import cli
from jaxdm.analysis import exploration, storage
from jaxdm.analysis.claims import Claim, ordered, write_claims
from jaxdm.analysis.statistics import exponent_interval
from jaxdm.envs import bandit, families
from jaxdm.envs.bandit import Bandit, bernoulli
from jaxdm.learners import bandit as tallies
from jaxdm.learners import exp3, thompson
from jaxdm.oracles.bandit import pseudo_regret
from jaxdm.rollout import rollout
from jaxdm.types import Agent
from jaxdm.validation import InvalidInput

LAWS = ("uniform means", "one gap of 0.2", "switching", "wandering")


FIT = ("exponent", "low", "high")
"""Of a fitted exponent and its interval."""


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
        "UCB1": (tallies.ucb(arms), tallies.UCBParams()),
        "KL-UCB": (tallies.kl_ucb(arms), tallies.KLUCBParams()),
        "Thompson": (thompson.beta_thompson(arms), thompson.BetaPrior()),
        "epsilon-greedy": (tallies.epsilon_greedy(arms), tallies.EpsilonGreedyParams(floor=0.0, scale=5.0 * arms)),
        "elimination": (tallies.successive_elimination(arms), tallies.EliminationParams(failure=1 / rounds)),
        "Exp3": (exp3.exp3(arms), exp3.Exp3Params(exploration=rate)),
        "Exp3.S": (exp3.exp3(arms), exp3.Exp3Params(exploration=shared, sharing=1 / rounds)),
        "sliding window": (tallies.sliding_window_ucb(arms, window), tallies.WindowParams(window=window)),
        "discounted": (tallies.ucb(arms), tallies.UCBParams(exploration=2.4, discount=forget)),
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


def main(config: Config, command: str) -> Path:
    """Play all, store regrets, exponents and how the players explored; returns the result's folder.

    Raises:
        InvalidInput: a field out of range.
    """
    for field, least in {"arms": 2, "rounds": 20, "seeds": 2, "runs": 1}.items():
        if getattr(config, field) < least:
            raise InvalidInput(f"{field}: {getattr(config, field)}; expected at least {least}")
    times = np.unique(np.geomspace(1, config.rounds, 60).astype(int))
    key = jax.random.fold_in(jax.random.key(config.seed), len(LAWS))
    keys = jax.random.split(key, (config.seeds, config.runs))
    laws = [worlds(config, law) for law in range(len(LAWS))]
    table, rows = players(config), {"regret": [], "exponent": [], "never_best": [], "min_fraction": [], "greedy": []}
    start = time.perf_counter()
    for name in track(table, "bandit players", console=Console(stderr=True)):
        play = jax.jit(jax.vmap(jax.vmap(player_run(*table[name], config.rounds))))
        for world in laws:
            regret, actions, rewards = (np.asarray(x) for x in play(keys, world))
            curves, late = regret.mean(axis=1)[:, times - 1], times >= config.rounds // 10
            best = np.asarray(world.mean).sum(axis=2).argmax(axis=-1)
            rows["regret"].append(curves)
            rows["exponent"].append(exponent_interval(times[late], curves[:, late])[:3])
            rows["never_best"].append(exploration.suffix_failure(actions, best, config.rounds // 2).mean(axis=1))
            rows["min_fraction"].append(exploration.min_fraction(actions, config.arms)[..., -1].mean(axis=1))
            rows["greedy"].append(exploration.greedy_fraction(actions, rewards, config.arms).mean(axis=1))
    split = (len(table), len(LAWS))
    metrics = {name: np.reshape(value, split + np.shape(value)[1:]) for name, value in rows.items()}
    metrics |= {"times": times, "players": np.asarray(list(table)), "laws": np.asarray(LAWS)}
    metrics["seconds"] = np.asarray(time.perf_counter() - start)
    path = storage.write_result(config.results, "bandit", config, named_metrics(metrics), command)
    write_claims(path, claims(config, metrics), command)
    return path


def named_metrics(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The same with names and coordinates of every axis, as stored."""
    axes = {"agent": metrics["players"], "distribution": metrics["laws"], "seed": None}
    named_axes = {
        "regret": {**axes, "round": metrics["times"]},
        "exponent": {"agent": metrics["players"], "distribution": metrics["laws"], "fit": FIT},
        **dict.fromkeys(("never_best", "min_fraction", "greedy"), axes),
        "times": {"round": None},
        "players": {"agent": None},
        "laws": {"distribution": None},
        "seconds": {},
    }
    return {name: storage.named(value, **named_axes[name]) for name, value in metrics.items()}


def player_run(agent: Agent, rates: Any, rounds: int) -> Callable[..., tuple]:
    """`(key, world) -> (regret, actions, rewards)`, each [T]."""

    def run(key: jax.Array, world: Bandit) -> tuple:
        played = rollout(key, bernoulli(), world, agent, rates, rounds)
        return pseudo_regret(world, played.action), played.action, played.reward

    return run


def claims(config: Config, metrics: dict[str, np.ndarray]) -> list[Claim]:
    """What is worth a row of the claims table: final regrets of one seed's average run, player against player."""
    final = dict(zip(metrics["players"], metrics["regret"][..., -1], strict=True))
    size = f"K={config.arms}, T={config.rounds}"
    still = {name: final[name][0] for name in ("Thompson", "UCB1", "Exp3")}
    moved = {name: final[name][LAWS.index("switching")] for name in ("sliding window", "Thompson", "UCB1")}
    window = moved["sliding window"]

    def row(id: str, statement: str, groups: dict[str, Any]) -> Claim:
        return ordered(id, f"{statement}, {size}", "ours", groups)

    return [
        row("B-still", "Regret: Thompson < UCB1 < Exp3 for uniform means", still),
        row("B-moving", "Regret when means switch: SW-UCB < Thompson", {"w": window, "t": moved["Thompson"]}),
        row("B-window", "Regret when means switch: SW-UCB < UCB1", {"w": window, "u": moved["UCB1"]}),
    ]


if __name__ == "__main__":
    cli.command_line(PRESETS, main, __doc__)
