"""Full-information online learning: every learner on every distribution of losses, and the worst that attacks find.

Figures: `online_regret`, regret against rounds, a panel a distribution; `online_attack`, worst found regret against T.
Commands: `python -m experiments.online quick`, `... paper`; `... quick --help` lists what can be changed.
Cost: quick 1 to 4 minutes on two CPU cores, most of it compilation; paper is for one GPU, and has not been timed.
Expectation: under attack the regret of Hedge and FTRL grows as T^0.5, within their bounds; follow-the-leader's as T.

An attack is gradient ascent through the learner, from random losses, and from those of an adversary that reacts to it.

Dimensions: `L` learners, `D` distributions of losses, `N` seeds, `R` runs, `T` rounds, `H` numbers of rounds of the
attacked games, `n` gradient steps, `d` coordinates.
"""

import dataclasses
import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from experiments import cli
from experiments.fields import at_least, check, each
from experiments.online.games import attacked, learners, regret_curve, targets
from experiments.progress import bar
from experiments.streams import Use, stream
from jaxdm.analysis import storage
from jaxdm.analysis.claims import Claim, within, write_claims
from jaxdm.analysis.statistics import Interval, exponent_interval
from jaxdm.analysis.storage import named
from jaxdm.envs import families, online
from jaxdm.oracles.attack import ATTACK_SPACES

EXPECTED = {"Hedge": (0.4, 0.6), "FTRL, ball": (0.4, 0.6), "follow the leader": (0.9, 1.1)}
"""Targets of the attacks, and where the exponent of the worst regret must lie."""


ESTIMATE = ("exponent", "low", "high")
"""What is stored of a fitted exponent."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class OnlineConfig:
    """Sizes of the study; every default is the quick preset's."""

    dimension: int = 4
    """Arms, and coordinates on the ball."""
    length: int = 256
    """Rounds of the regret curves."""
    seeds: int = 5
    """The unit of every interval, at least two."""
    runs: int = 16
    """Sequences of each distribution and seed."""
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
    "quick": OnlineConfig(),
    "paper": OnlineConfig(
        length=4096,
        seeds=10,
        runs=256,
        horizons=(16, 32, 64, 128, 256, 512, 1024),
        restarts=256,
        attack_steps=500,
    ),
    "toy": OnlineConfig(length=16, seeds=2, runs=2, horizons=(4, 8, 16), restarts=2, attack_steps=3),
}


def validate(config: OnlineConfig) -> None:
    """Check every field.

    Raises:
        InvalidInput: names the first field that is out of range.
    """
    check(
        config,
        dimension=at_least(2),
        length=at_least(8),
        seeds=at_least(2),
        runs=at_least(1),
        horizons=each(at_least(1), count=3),
        restarts=at_least(1),
        attack_steps=at_least(0),
    )


def main(config: OnlineConfig, command: str) -> Path:
    """Play all curves and attacks, store them, and return the result's folder.

    Raises:
        InvalidInput: a field out of range.
    """
    validate(config)
    shape = (config.seeds, config.runs)
    losses = draw_losses(stream(config.seed, Use.ONLINE_LOSSES), shape, config.length, config.dimension)
    keys = jax.random.split(stream(config.seed, Use.ONLINE_PLAY), shape)
    metrics = {}
    for decision_set in ATTACK_SPACES:
        found = curves(keys, decision_set, losses)
        metrics |= {f"{decision_set}_{name}": values for name, values in found.items()}
    starts = jax.random.split(stream(config.seed, Use.ONLINE_ATTACK), (config.seeds, config.restarts))
    metrics |= attacks(starts, config.dimension, config.horizons, config.attack_steps)
    path = storage.write_result(config.results, "online", config, metrics, command)
    write_claims(path, claims(metrics["attack_exponent"], config.horizons), command)
    return path


def draw_losses(key: jax.Array, shape: tuple[int, int], length: int, dimension: int) -> jax.Array:
    """Sequences of every distribution, [D, N, R, T, d], on no common scale; all are drawn with the same keys."""
    keys = jax.random.split(key, shape)
    drawn = []
    for distribution in families.losses.LAWS.values():
        draw = functools.partial(distribution, length=length, dimension=dimension)
        drawn.append(jax.jit(jax.vmap(jax.vmap(draw)))(keys))
    return jnp.stack(drawn)


def curves(keys: jax.Array, decision_set: str, losses: jax.Array) -> dict[str, xr.DataArray]:
    """Regret of every learner of a decision set against losses of every distribution, and against one that reacts.

    Args:
        keys: [N, R] of play.
        decision_set: its name.
        losses: [D, N, R, T, d], of any scale.

    Returns:
        `regret` [L, D + 1, N, T], means over runs, and its `exponent` [L, D + 1, 3].
    """
    space = ATTACK_SPACES[decision_set]
    scaled = jax.vmap(jax.vmap(jax.vmap(space.scale)))(losses)
    table, found = learners(decision_set, losses.shape[-1]), []
    with bar(f"online curves, {decision_set}", len(table)) as progress:
        for index, (agent, rate) in enumerate(table.values()):
            of_learner = []
            for respond, plans in ((online.oblivious, scaled), (space.respond, scaled[:1])):
                play = jax.vmap(jax.vmap(regret_curve(decision_set, agent, rate, respond)))
                of_learner.append(jax.jit(jax.vmap(play, (None, 0)))(keys, plans))
            found.append(np.concatenate(of_learner).mean(axis=2))
            progress(index + 1, found[-1][..., -1].mean())
    regret = np.stack(found)
    rounds = np.arange(1, regret.shape[-1] + 1)
    late = slice(len(rounds) // 8, None)
    fitted = [[exponent(rounds[late], values[:, late]) for values in of_learner] for of_learner in regret]
    axes = {"learner": list(table), "distribution": [*families.losses.LAWS, "reacting"]}
    return {
        "regret": named(regret, **axes, seed=np.arange(regret.shape[2]), round=rounds),
        "exponent": named(fitted, **axes, estimate=ESTIMATE),
    }


def attacks(keys: jax.Array, dimension: int, horizons: tuple[int, ...], steps: int) -> dict[str, xr.DataArray]:
    """The worst regret that gradient ascent finds for every target, half of the starts from a reacting adversary.

    Args:
        keys: [N, R] of each start.
        dimension: d.
        horizons: [H] numbers of rounds.
        steps: n.

    Returns:
        `attack_regret` [L, N, H], the largest over starts; `attack_progress` [L, H, n + 1], the largest over starts and
        seeds after every step; `attack_bound` [L, H], NaN where nothing is guaranteed; `attack_exponent` [L, 3].
    """
    table = targets(dimension)
    rounds = jnp.asarray(horizons, jnp.result_type(float))
    reacting = jnp.arange(keys.shape[1]) % 2 == 0
    regret, ascent = [], []
    with bar("online attacks", len(table)) as progress:
        for index, target in enumerate(table.values()):
            attempt = functools.partial(attacked, target, longest=max(horizons), dimension=dimension, steps=steps)
            of_seed = jax.vmap(jax.vmap(attempt, (None, None, 0)), (0, 0, None))
            found = jax.jit(jax.vmap(of_seed, (0, None, None)))(keys, reacting, rounds)
            regret.append(np.asarray(found.value.max(axis=1)))
            ascent.append(np.asarray(found.progress.max(axis=(0, 1))))
            progress(index + 1, regret[-1].mean())
    names, seeds = list(table), np.arange(keys.shape[0])
    bound = [[target.bound * length**0.5 for length in horizons] for target in table.values()]
    fitted = [exponent(np.asarray(horizons), values) for values in regret]
    return {
        "attack_regret": named(regret, learner=names, seed=seeds, horizon=horizons),
        "attack_progress": named(ascent, learner=names, horizon=horizons, step=np.arange(steps + 1)),
        "attack_bound": named(bound, learner=names, horizon=horizons),
        "attack_exponent": named(fitted, learner=names, estimate=ESTIMATE),
    }


def exponent(times: np.ndarray, regret: np.ndarray) -> np.ndarray:
    """Exponent of regret [N, T] and its interval over seeds, [3]; NaN where a mean is not positive."""
    try:
        fit = exponent_interval(times, regret)
    except ValueError:
        return np.full(3, np.nan)
    return np.asarray([fit.exponent, fit.low, fit.high])


def claims(exponents: xr.DataArray, horizons: tuple[int, ...]) -> list[Claim]:
    """How the worst regret that attacks found grows with the number of rounds; holds when the whole interval fits.

    Args:
        exponents: [L, 3] of the attacks, with their intervals.
        horizons: [H] what they were fitted to.
    """
    rows = []
    for name, (least, most) in EXPECTED.items():
        fit = exponents.sel(learner=name)
        estimate, low, high = (fit.sel(estimate=part).values for part in ESTIMATE)
        interval = Interval(estimate=estimate, low=low, high=high)
        statement = f"worst regret of {name} found by attack grows as T^x, T = {horizons[0]}..{horizons[-1]}"
        rows.append(within(f"online {name}", statement, "classical", interval, least, most))
    return rows


if __name__ == "__main__":
    cli.command_line(PRESETS, main, __doc__, validate)
