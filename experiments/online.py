"""Full-information online learning: every learner on every law of losses, and the worst that gradient ascent finds.

Figures: `online_regret`, regret against rounds, one panel a law; `online_attack`, worst found regret against T.
Commands: `python -m experiments.online quick`, `... paper`; `... quick --help` lists what can be changed.
Cost: quick 1 to 4 minutes on two CPU cores, most of it compilation; paper is for one GPU, and has not been timed.
Expectation: under attack the regret of Hedge and FTRL grows as T^0.5, within their bounds; follow-the-leader's as T.

An attack starts from random losses, and from those of an adversary that reacts to the learner.
"""

import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments import launch
from experiments.online_findings import claims
from experiments.online_games import attacked, contenders, course, targets
from experiments.online_study import PRESETS, Config
from experiments.progress import bar
from jaxdm.analysis import storage
from jaxdm.analysis.claims import write_claims
from jaxdm.analysis.statistics import exponent_interval
from jaxdm.envs import families, online
from jaxdm.oracles.attack import ARENAS


def main(config: Config) -> Path:
    """Play all curves and attacks, store them, and return the result's folder.

    Raises:
        ValueError: a field out of range.
    """
    if config.seeds < 2 or len(config.horizons) < 3:
        raise ValueError(f"seeds, horizons: {config.seeds}, {config.horizons}; expected at least 2 and 3 of them")
    key_plan, key_curves, key_attack = jax.random.split(jax.random.key(config.seed), 3)
    metrics: dict[str, Any] = {"rounds": np.arange(1, config.length + 1), "horizons": np.asarray(config.horizons)}
    draw = lambda law: lambda key: law(key, length=config.length, dimension=config.dimension)
    keys = jax.random.split(key_plan, (config.seeds, config.runs))
    plans = jnp.stack([jax.jit(jax.vmap(jax.vmap(draw(law))))(keys) for law in families.losses.LAWS.values()])
    for arena in ARENAS:
        metrics |= curves(config, key_curves, arena, plans)
    metrics |= attacks(config, key_attack)
    path = storage.write_result(config.results, "online", config, metrics)
    write_claims(path, claims(config.name, metrics))
    return path


def curves(config: Config, key: jax.Array, arena: str, plans: jax.Array) -> dict[str, Any]:
    """Regret of every learner: `regret_<arena> [L, W, N, T]`, means over runs, and `exponent_<arena> [L, W, 3]`."""
    plans = jax.vmap(jax.vmap(jax.vmap(ARENAS[arena].scale)))(plans)
    keys = jax.random.split(key, (config.seeds, config.runs))
    learners, found = contenders(arena, config.dimension), []
    with bar(f"online curves, {arena}", len(learners)) as progress:
        for index, (agent, rate) in enumerate(learners.values()):
            meet = lambda respond, plans, agent=agent, rate=rate: jax.jit(
                jax.vmap(jax.vmap(jax.vmap(course(arena, agent, rate, respond))), (None, 0))
            )(keys, plans)
            reacting = meet(ARENAS[arena].respond, plans[:1])
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
    launch.command_line(PRESETS, main, __doc__)
