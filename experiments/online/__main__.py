"""Full-information online learning: every learner on every law of losses, and the worst that gradient ascent finds.

Figures: `online_regret`, regret against rounds, one panel a law; `online_attack`, worst found regret against T.
Commands: `python -m experiments.online quick`, `... paper`; `... quick --help` lists what can be changed.
Cost: quick 1 to 4 minutes on two CPU cores, most of it compilation; paper is for one GPU, and has not been timed.
Expectation: under attack the regret of Hedge and FTRL grows as T^0.5, within their bounds; follow-the-leader's as T.

An attack starts from random losses, and from those of an adversary that reacts to the learner.
"""

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments import cli
from experiments.online.games import attacked, contenders, course, targets
from experiments.progress import bar
from jaxdm.analysis import storage
from jaxdm.analysis.claims import Claim, within, write_claims
from jaxdm.analysis.statistics import Interval, exponent_interval
from jaxdm.envs import families, online
from jaxdm.oracles.attack import ATTACK_SPACES
from jaxdm.validation import InvalidInput

EXPECTED = {"Hedge": (0.4, 0.6), "FTRL, ball": (0.4, 0.6), "follow the leader": (0.9, 1.1)}
"""Targets of the attacks, and where the exponent of the worst regret must lie."""


FIT = ("exponent", "low", "high")
"""Of a fitted exponent and its interval."""


def claims(metrics: Mapping[str, Any]) -> list[Claim]:
    """How the worst regret that attacks found grows with the number of rounds; holds when the whole interval fits.

    Args:
        metrics: as the parts of the study give them.
    """
    fits = dict(zip(metrics["attack_learners"], metrics["attack_exponent"], strict=True))
    horizons, rows = metrics["horizons"], []
    for name, (least, most) in EXPECTED.items():
        estimate, low, high = fits[name]
        statement = f"worst regret of {name} found by attack grows as T^x, T = {horizons[0]}..{horizons[-1]}"
        interval = Interval(estimate=estimate, low=low, high=high)
        rows.append(within(f"online {name}", statement, "classical", interval, least, most))
    return rows


def named_metrics(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The same with names and coordinates of every axis, as stored."""
    attacked = {"agent": metrics["attack_learners"]}
    horizon = {"horizon": metrics["horizons"]}
    axes: dict[str, dict[str, Any]] = {
        "rounds": {"round": None},
        "horizons": {"horizon": None},
        "attack_learners": {"agent": None},
        "attack_regret": {**attacked, "seed": None, **horizon},
        "attack_progress": {**attacked, **horizon, "step": None},
        "attack_bound": {**attacked, **horizon},
        "attack_exponent": {**attacked, "fit": FIT},
    }
    for arena in ATTACK_SPACES:
        curve = {"agent": metrics[f"learners_{arena}"], "distribution": metrics[f"laws_{arena}"]}
        axes |= {
            f"learners_{arena}": {"agent": None},
            f"laws_{arena}": {"distribution": None},
            f"regret_{arena}": {**curve, "seed": None, "round": metrics["rounds"]},
            f"exponent_{arena}": {**curve, "fit": FIT},
        }
    return {name: storage.named(value, **axes[name]) for name, value in metrics.items()}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Sizes of the study; every default is the quick preset's."""

    name: str = "quick"
    """Of the preset, for the commands in the report."""
    dimension: int = 4
    """Arms, and coordinates on the ball."""
    length: int = 256
    """Rounds of the regret curves."""
    seeds: int = 5
    """The unit of every interval, at least two."""
    runs: int = 16
    """Sequences of each law and seed."""
    horizons: tuple[int, ...] = (16, 32, 64, 128, 256)
    """Rounds of the attacked games, at least three."""
    restarts: int = 16
    """Starts of an attack, for each seed and number of rounds."""
    attack_steps: int = 100
    """Gradient steps from each start."""
    seed: int = 0
    """Of everything random."""
    results: Path = Path("results")
    """Where results go."""


PRESETS = {
    "quick": Config(),
    "paper": Config(
        name="paper",
        length=4096,
        seeds=10,
        runs=256,
        horizons=(16, 32, 64, 128, 256, 512, 1024),
        restarts=256,
        attack_steps=500,
    ),
    "toy": Config(name="toy", length=16, seeds=2, runs=2, horizons=(4, 8, 16), restarts=2, attack_steps=3),
}


def main(config: Config, command: str) -> Path:
    """Play all curves and attacks, store them, and return the result's folder.

    Raises:
        InvalidInput: a field out of range.
    """
    if config.seeds < 2 or len(config.horizons) < 3:
        raise InvalidInput(f"seeds, horizons: {config.seeds}, {config.horizons}; expected at least 2 and 3 of them")
    key_plan, key_curves, key_attack = jax.random.split(jax.random.key(config.seed), 3)
    metrics: dict[str, Any] = {"rounds": np.arange(1, config.length + 1), "horizons": np.asarray(config.horizons)}
    draw = lambda law: lambda key: law(key, length=config.length, dimension=config.dimension)
    keys = jax.random.split(key_plan, (config.seeds, config.runs))
    plans = jnp.stack([jax.jit(jax.vmap(jax.vmap(draw(law))))(keys) for law in families.losses.LAWS.values()])
    for arena in ATTACK_SPACES:
        metrics |= curves(config, key_curves, arena, plans)
    metrics |= attacks(config, key_attack)
    path = storage.write_result(config.results, "online", config, named_metrics(metrics), command)
    write_claims(path, claims(metrics), command)
    return path


def curves(config: Config, key: jax.Array, arena: str, plans: jax.Array) -> dict[str, Any]:
    """Regret of every learner: `regret_<arena> [L, W, N, T]`, means over runs, and `exponent_<arena> [L, W, 3]`."""
    plans = jax.vmap(jax.vmap(jax.vmap(ATTACK_SPACES[arena].scale)))(plans)
    keys = jax.random.split(key, (config.seeds, config.runs))
    learners, found = contenders(arena, config.dimension), []
    with bar(f"online curves, {arena}", len(learners)) as progress:
        for index, (agent, rate) in enumerate(learners.values()):
            meet = lambda respond, plans, agent=agent, rate=rate: jax.jit(
                jax.vmap(jax.vmap(jax.vmap(course(arena, agent, rate, respond))), (None, 0))
            )(keys, plans)
            reacting = meet(ATTACK_SPACES[arena].respond, plans[:1])
            found.append(np.concatenate([meet(online.oblivious, plans), reacting]).mean(axis=2))
            progress(index + 1, found[-1][..., -1].mean())
    regret, late = np.stack(found), slice(config.length // 8, None)
    rounds = np.arange(1, config.length + 1)[late]
    return {
        f"learners_{arena}": list(learners),
        f"laws_{arena}": [*families.losses.LAWS, "reacting"],
        f"regret_{arena}": regret,
        f"exponent_{arena}": [[exponent(rounds, values[:, late]) for values in of_law] for of_law in regret],
    }


def attacks(config: Config, key: jax.Array) -> dict[str, Any]:
    """Worst regret found for every target, `attack_regret [A, N, H]`; its course, `attack_progress [A, H, n + 1]`."""
    chosen = targets(config.dimension)
    grid = jax.random.split(key, (config.seeds, config.restarts))
    rounds = jnp.asarray(config.horizons, jnp.result_type(float))
    half = jnp.arange(config.restarts) % 2 == 0
    sizes = {"longest": max(config.horizons), "dimension": config.dimension, "steps": config.attack_steps}
    worst, progress_made = [], []
    with bar("online attacks", len(chosen)) as progress:
        for index, target in enumerate(chosen.values()):
            attempt = functools.partial(attacked, target, **sizes)
            of_seed = jax.vmap(jax.vmap(attempt, (None, None, 0)), (0, 0, None))
            found = jax.jit(jax.vmap(of_seed, (0, None, None)))(grid, half, rounds)
            worst.append(found.value.max(axis=1))
            progress_made.append(found.progress.max(axis=(0, 1)))
            progress(index + 1, worst[-1].mean())
    regret = np.stack(worst)
    return {
        "attack_learners": list(chosen),
        "attack_regret": regret,
        "attack_progress": np.stack(progress_made),
        "attack_bound": [[target.bound * length**0.5 for length in config.horizons] for target in chosen.values()],
        "attack_exponent": [exponent(np.asarray(rounds), values) for values in regret],
    }


def exponent(times: np.ndarray, regret: np.ndarray) -> np.ndarray:
    """Exponent of regret [N, T] and its interval over seeds, [3]; NaN where a mean is not positive."""
    try:
        fit = exponent_interval(times, regret)
    except ValueError:
        return np.full(3, np.nan)
    return np.asarray([fit.exponent, fit.low, fit.high])


if __name__ == "__main__":
    cli.command_line(PRESETS, main, __doc__)
