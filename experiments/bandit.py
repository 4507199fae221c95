"""Bandit players compared: regret over time where means stand still and where they move.

Figure: `bandit`, one panel per distribution of the means, one line per player; all meet the same worlds and luck.
Commands: `python -m experiments.bandit quick`, `... paper`; `... quick --help` lists what can be changed;
`... sweep --player UCB --exploration 0.1 0.5 2 --discount 0.95 1 --seeds 16` sweeps the rates of one player.
Cost: quick about two minutes on two CPU cores; paper has not been timed.
Expectation: Thompson and KL-UCB lowest where means stand still; a window below Thompson and UCB1 where they switch.

"Regret" is pseudo-regret against the best arm of each round.

Dimensions: `P` players, `D` distributions, `N` seeds, `R` runs, `T` rounds, `X` rounds that are stored, `K` arms.
"""

import dataclasses
import functools
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from rich.console import Console
from rich.progress import track

from experiments import cli, sweep
from experiments.fields import Rule, at_least, check, word
from experiments.streams import Use, stream
from jaxdm.analysis import exploration, storage
from jaxdm.analysis.claims import Claim, ordered, write_claims
from jaxdm.analysis.statistics import exponent_interval
from jaxdm.analysis.storage import named
from jaxdm.envs.bandit import Bandit, bernoulli
from jaxdm.envs.families import bandit as families
from jaxdm.learners import bandit as learners
from jaxdm.learners import exp3, thompson
from jaxdm.oracles.bandit import pseudo_regret
from jaxdm.rollout import rollout
from jaxdm.types import Agent
from jaxdm.validation import InvalidInput, integer, nonnegative_number, number_in, probability


@dataclasses.dataclass(frozen=True, kw_only=True)
class BanditConfig:
    """How much to play; every default is the quick preset's."""

    arms: int = 5
    """K."""
    rounds: int = 2000
    """T."""
    switches: float = 4.0
    """Expected number of changes where means switch."""
    budget: float = 10.0
    """Variation budget where means wander."""
    seeds: int = 5
    """Unit of every interval."""
    runs: int = 40
    """Worlds per seed, averaged."""
    seed: int = 0
    """Of everything random."""
    results: Path = Path("results")
    """Where results go."""


PRESETS = {
    "quick": BanditConfig(),
    "paper": BanditConfig(rounds=10_000, seeds=10, runs=100),
    "toy": BanditConfig(arms=3, rounds=40, seeds=2, runs=2),
}


def players(arms: int, rounds: int, changes: float) -> dict[str, tuple[Agent, Any]]:
    """Every player with its parameters, by the name in the legend.

    Args:
        arms: K.
        rounds: T, which those with a horizon are tuned to.
        changes: expected number of changes, which those that forget are tuned to.
    """
    window = min(rounds, max(1, int(2 * np.sqrt(rounds * np.log(rounds) / max(changes, 1)))))
    discount = 1 - np.sqrt(max(changes, 1) / rounds) / 4
    rate = min(1.0, float(np.sqrt(arms * np.log(arms) / ((np.e - 1) * rounds))))
    shared = min(1.0, float(np.sqrt(arms * (changes * np.log(arms * rounds) + np.e) / ((np.e - 1) * rounds))))
    return {
        "UCB1": (learners.ucb(arms), learners.UCBParams()),
        "KL-UCB": (learners.kl_ucb(arms), learners.KLUCBParams()),
        "Thompson": (thompson.beta_thompson(arms), thompson.BetaPrior()),
        "epsilon-greedy": (learners.epsilon_greedy(arms), learners.EpsilonGreedyParams(floor=0.0, scale=5.0 * arms)),
        "elimination": (learners.successive_elimination(arms), learners.EliminationParams(failure=1 / rounds)),
        "Exp3": (exp3.exp3(arms), exp3.Exp3Params(exploration=rate)),
        "Exp3.S": (exp3.exp3(arms), exp3.Exp3Params(exploration=shared, sharing=1 / rounds)),
        "sliding window": (learners.sliding_window_ucb(arms, window), learners.WindowParams(window=window)),
        "discounted": (learners.ucb(arms), learners.UCBParams(exploration=2.4, discount=discount)),
    }


def distributions(arms: int, rounds: int, switches: float, budget: float) -> dict[str, Callable[[jax.Array], Bandit]]:
    """Where worlds are drawn from, `key -> Bandit`, by the title of the panel.

    Args:
        arms: K.
        rounds: T.
        switches: expected number of changes where means switch.
        budget: the most that wandering means move in all.
    """

    def uniform_means(key: jax.Array) -> Bandit:
        return families.uniform_means(key, arms=arms)

    def one_gap(key: jax.Array) -> Bandit:
        return families.one_gap(key, arms=arms, gap=0.2)

    def switching(key: jax.Array) -> Bandit:
        return families.switching(key, chance=switches / rounds, arms=arms, rounds=rounds)

    def wandering(key: jax.Array) -> Bandit:
        return families.wandering(key, step=0.02, budget=budget, arms=arms, rounds=rounds)

    return {
        "uniform means": uniform_means,
        "one gap of 0.2": one_gap,
        "switching": switching,
        "wandering": wandering,
    }


def validate(config: BanditConfig) -> None:
    """Check every field.

    Raises:
        InvalidInput: names the first field that is out of range.
    """
    check(
        config,
        arms=at_least(2),
        rounds=at_least(20),
        switches=nonnegative_number,
        budget=nonnegative_number,
        seeds=at_least(2),
        runs=at_least(1),
    )
    number_in("switches", config.switches, 0, config.rounds)


def main(config: BanditConfig, command: str) -> Path:
    """Play all, store regrets, exponents and how the players explored; returns the result's folder.

    Raises:
        InvalidInput: a field out of range.
    """
    validate(config)
    start = time.perf_counter()
    shape = (config.seeds, config.runs)
    families_of_means = distributions(config.arms, config.rounds, config.switches, config.budget)
    worlds = {
        name: draw_worlds(family, stream(config.seed, Use.BANDIT_WORLDS, name), shape, config.rounds)
        for name, family in families_of_means.items()
    }
    keys = jax.random.split(stream(config.seed, Use.BANDIT_PLAY), shape)
    metrics = play_all(keys, players(config.arms, config.rounds, config.switches), worlds)
    metrics["seconds"] = named(time.perf_counter() - start)
    path = storage.write_result(config.results, "bandit", config, metrics, command)
    write_claims(path, claims(metrics["regret"], config.arms), command)
    return path


def draw_worlds(family: Callable[[jax.Array], Bandit], key: jax.Array, shape: tuple[int, int], rounds: int) -> Bandit:
    """Worlds of a distribution, leading axes [N, R] of that shape, all with a row of means per round."""
    made = jax.jit(jax.vmap(jax.vmap(family)))(jax.random.split(key, shape))
    return made._replace(mean=jnp.broadcast_to(made.mean, (*shape, rounds, made.mean.shape[-1])))


def play_all(
    keys: jax.Array, table: Mapping[str, tuple[Agent, Any]], worlds: Mapping[str, Bandit]
) -> dict[str, xr.DataArray]:
    """What every player does in every world.

    Args:
        keys: [N, R] of play, the same for all.
        table: agents and their parameters by name.
        worlds: by name, leading axes [N, R].

    Returns:
        `regret` [P, D, N, X], mean over runs after the rounds stored; `exponent` [P, D, 3] of the mean regret, with its
        interval, fitted to the last nine tenths of the rounds; and means over runs, [P, D, N]: `never_best` is
        SuffFailFreq at half time, `min_fraction` K MinFrac at the end, and `greedy` GreedyFrac.
    """
    rounds = next(iter(worlds.values())).mean.shape[2]
    times = np.unique(np.geomspace(1, rounds, 60).astype(int))
    late = times >= rounds // 10
    found: dict[str, list] = {"regret": [], "exponent": [], "never_best": [], "min_fraction": [], "greedy": []}
    for agent, params in track(list(table.values()), "bandit players", console=Console(stderr=True)):
        play = jax.jit(jax.vmap(jax.vmap(one_run(agent, params, rounds))))
        for world in worlds.values():
            regret, actions, rewards = (np.asarray(x) for x in play(keys, world))
            curves = regret.mean(axis=1)[:, times - 1]
            arms, best = world.mean.shape[-1], np.asarray(world.mean).sum(axis=2).argmax(axis=-1)
            found["regret"].append(curves)
            found["exponent"].append(exponent_interval(times[late], curves[:, late])[:3])
            found["never_best"].append(exploration.suffix_failure(actions, best, rounds // 2).mean(axis=1))
            found["min_fraction"].append(exploration.min_fraction(actions, arms)[..., -1].mean(axis=1))
            found["greedy"].append(exploration.greedy_fraction(actions, rewards, arms).mean(axis=1))
    seeds = np.arange(keys.shape[0])
    last = {"regret": {"seed": seeds, "round": times}, "exponent": {"estimate": ["exponent", "low", "high"]}}
    metrics = {}
    for name, values in found.items():
        shaped = np.reshape(values, (len(table), len(worlds), *np.shape(values)[1:]))
        axes = last.get(name, {"seed": seeds})
        metrics[name] = named(shaped, player=list(table), distribution=list(worlds), **axes)
    return metrics


def one_run(agent: Agent, default: Any, rounds: int) -> Callable[..., tuple]:
    """`(key, world, params) -> (regret, actions, rewards)`, each [T]; without params they are the default."""

    def run(key: jax.Array, world: Bandit, params: Any = default) -> tuple:
        played = rollout(key, bernoulli(), world, agent, params, rounds)
        return pseudo_regret(world, played.action), played.action, played.reward

    return run


def claims(regret: xr.DataArray, arms: int) -> list[Claim]:
    """Whose regret after T rounds is smaller, player against player.

    Args:
        regret: [P, D, N, X].
        arms: K.
    """
    final = regret.isel(round=-1)
    size = f"K={arms}, T={int(final.coords['round'])}"

    def order(id: str, statement: str, distribution: str, names: tuple[str, ...]) -> Claim:
        groups = {name: final.sel(player=name, distribution=distribution).values for name in names}
        return ordered(id, f"{statement}, {size}", "ours", groups)

    still = ("Thompson", "UCB1", "Exp3")
    return [
        order("B-still", "Regret: Thompson < UCB1 < Exp3 for uniform means", "uniform means", still),
        order("B-moving", "Regret when means switch: SW-UCB < Thompson", "switching", ("sliding window", "Thompson")),
        order("B-window", "Regret when means switch: SW-UCB < UCB1", "switching", ("sliding window", "UCB1")),
    ]


PlayerName = Literal["UCB", "KL-UCB", "Thompson", "epsilon-greedy", "Exp3", "SW-UCB"]


RATES: dict[PlayerName, tuple[str, ...]] = {
    "UCB": ("exploration", "discount"),
    "KL-UCB": ("patience",),
    "Thompson": ("successes", "failures"),
    "epsilon-greedy": ("floor", "scale"),
    "Exp3": ("exploration", "sharing"),
    "SW-UCB": ("exploration", "window"),
}
"""The rates of each player that can be swept."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class BanditSweep:
    """What a sweep of one player can change; rates that are left out are the player's own defaults."""

    player: PlayerName = "UCB"
    """Who plays."""
    exploration: float | None = None
    """Of UCB, SW-UCB and Exp3."""
    discount: float | None = None
    """What a play is worth one round later, of UCB."""
    window: int | None = None
    """Rounds that count, of SW-UCB."""
    patience: float | None = None
    """c of KL-UCB."""
    successes: float | None = None
    """Pseudo-count of the prior, of Thompson."""
    failures: float | None = None
    """Likewise."""
    floor: float | None = None
    """Least rate of epsilon-greedy."""
    scale: float | None = None
    """Its rate is scale / t above that."""
    sharing: float | None = None
    """Of Exp3.S."""
    arms: int
    """K."""
    rounds: int
    """T."""
    switches: float
    """Expected number of changes where means switch."""
    budget: float
    """Variation budget where means wander."""
    seeds: int
    """Unit of every interval."""
    runs: int
    """Worlds per seed, averaged."""
    seed: int
    """Of everything random."""
    results: Path
    """Where results go."""


SWEEPS = {name: sweep.same_fields(BanditSweep, study) for name, study in PRESETS.items()}
"""One for each preset."""


def validate_sweep(values: BanditSweep) -> None:
    """Check every field, and that each rate is one of the player's.

    Raises:
        InvalidInput: names the first field that is out of range.
    """
    chances, positive = ("exploration", "sharing"), ("successes", "failures")
    limits: dict[str, Rule] = {
        **dict.fromkeys(("exploration", "patience", "scale"), nonnegative_number),
        **dict.fromkeys(("floor", "sharing"), probability),
        **dict.fromkeys(positive, lambda name, value: number_in(name, value, 1, np.inf)),
        "discount": lambda name, value: number_in(name, value, 1e-6, 1),
        "window": lambda name, value: integer(name, value, 1, values.rounds),
    }
    if values.player == "Exp3":
        limits |= dict.fromkeys(chances, probability)

    def given(rule: Rule) -> Rule:
        return lambda name, value: value is None or rule(name, value)

    check(
        values,
        player=word(RATES),
        arms=at_least(2),
        rounds=at_least(20),
        switches=lambda name, value: number_in(name, value, 0, values.rounds),
        budget=nonnegative_number,
        seeds=at_least(2),
        runs=at_least(1),
        **{name: given(rule) for name, rule in limits.items()},
    )
    for name in limits:
        if getattr(values, name) is not None and name not in RATES[values.player]:
            own = ", ".join(RATES[values.player])
            raise InvalidInput(f"{name}: {getattr(values, name)}; expected rates of {values.player}: {own}")


def swept_player(values: BanditSweep) -> tuple[Agent, Any]:
    """The player, and its rates as arrays, with the study's own where none is given."""
    horizon = values.rounds
    own = players(values.arms, horizon, values.switches)
    found: dict[PlayerName, tuple[Agent, Any]] = {
        "UCB": own["UCB1"],
        "KL-UCB": own["KL-UCB"],
        "Thompson": own["Thompson"],
        "epsilon-greedy": own["epsilon-greedy"],
        "Exp3": own["Exp3"],
        "SW-UCB": (learners.sliding_window_ucb(values.arms, horizon), own["sliding window"][1]),
    }
    agent, params = found[values.player]
    rates = {name: getattr(values, name) for name in RATES[values.player] if getattr(values, name) is not None}
    return agent, jax.tree.map(jnp.asarray, params._replace(**rates))


def run_sweep(points: sweep.Grid) -> sweep.Swept:
    """Regret after T rounds at every point, in the worlds of the study, [..., distribution, seed]."""
    first: BanditSweep = points.configs[0]
    rates = dict.fromkeys(name for names in RATES.values() for name in names)
    found = np.zeros((len(points.configs), 4, first.seeds), np.float32)
    names: tuple[str, ...] = ()
    for shared, members in sweep.programs(points, lambda values: dataclasses.replace(values, **rates)).items():
        families_of_means = distributions(shared.arms, shared.rounds, shared.switches, shared.budget)
        names, shape = tuple(families_of_means), (shared.seeds, shared.runs)
        worlds = [jax.random.split(stream(shared.seed, Use.BANDIT_WORLDS, name), shape) for name in names]
        plays = jax.random.split(stream(shared.seed, Use.BANDIT_PLAY), shape)
        agent, _ = swept_player(shared)
        params = [swept_player(points.configs[index])[1] for index in members]
        each_seed = functools.partial(jnp.repeat, repeats=shared.seeds, axis=0)
        stacked = jax.tree.map(each_seed, jax.tree.map(lambda *rows: jnp.stack(rows), *params))
        keys = [jnp.tile(leaf, (len(members), 1)) for leaf in (*worlds, plays)]
        regret = sweep.map_points(
            f"bandit {shared.player}", final_regret(agent, families_of_means, shared.rounds), (stacked, keys)
        )
        found[members] = np.moveaxis(regret.reshape(len(members), shared.seeds, -1), 1, 2)
    regret = sweep.shaped(found, points, distribution=names, seed=np.arange(first.seeds))
    return sweep.Swept(subject=f"bandit {first.player}", measure="regret", metrics={"regret": regret})


def final_regret(
    agent: Agent, families_of_means: Mapping[str, Callable[[jax.Array], Bandit]], rounds: int
) -> Callable[[Any, Any], jax.Array]:
    """`((params, keys [R] of each distribution and of play), ()) -> mean regret after T rounds, [D]`."""
    play = one_run(agent, None, rounds)

    def of_point(point: tuple[Any, list[jax.Array]], _: Any) -> jax.Array:
        params, (*worlds, plays) = point

        def of_distribution(family: Callable[[jax.Array], Bandit], keys: jax.Array) -> jax.Array:
            def one(key: jax.Array, key_play: jax.Array) -> jax.Array:
                return play(key_play, family(key), params)[0][-1]

            return jnp.mean(jax.vmap(one)(keys, plays))

        pairs = zip(families_of_means.values(), worlds, strict=True)
        return jnp.stack([of_distribution(family, keys) for family, keys in pairs])

    return of_point


SWEEP = sweep.command(SWEEPS, validate_sweep, run_sweep, BanditSweep.__doc__)


if __name__ == "__main__":
    cli.command_line(PRESETS, main, __doc__, validate, {"sweep": SWEEP})
