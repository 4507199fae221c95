"""Bandits in the regret-minimisation study: from a base that struggles, and from random weights; there and elsewhere.

Dimensions: `K` arms, `N` seeds, `T` rounds.
"""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from experiments.rmft import classical
from experiments.rmft.comparison import (
    Classical,
    Measures,
    Worlds,
    evaluate_classical,
    evaluate_networks,
    explored,
    join,
    worlds,
)
from experiments.rmft.config import RMFTConfig
from experiments.rmft.distributions import (
    ARMS,
    DISTRIBUTIONS,
    evaluation_game,
    gaussian_game,
    training_bandit,
)
from experiments.rmft.training import Setup, Subject, distil, initial_weights, setup, struggling, train
from jaxdm import random
from jaxdm.analysis.storage import named
from jaxdm.learners import bandit as learners
from jaxdm.learners import thompson
from jaxdm.models.transformer import TransformerConfig, network
from jaxdm.random import inverse_cdf, sample_index
from jaxdm.rmft import baselines, games
from jaxdm.rmft.distillation import Distillation
from jaxdm.rollout import uniform_noise
from jaxdm.trainer import Fit
from jaxdm.types import Agent, Network, Predrawn, Tree

BASE, RMFT, RANDOM, FROM_RANDOM = "base", "RMFT", "random weights", "RMFT from random weights"


TUNING_SEED, TUNING_SEEDS = 100, 2
"""Hyperparameters are chosen on other seeds than those that results are of."""


def grids(
    chosen: Mapping[str, Distillation], rates: Sequence[float], keeps: Sequence[int], entropies: Sequence[float]
) -> dict[str, dict[str, Distillation]]:
    """The configurations that each method is tuned over, equally many; their names say what is changed."""
    found: dict[str, dict[str, Distillation]] = {}
    for method, base in chosen.items():
        field, values = ("keep", keeps) if method == RMFT else ("entropy", entropies)
        found[method] = {
            f"rate {rate:g}, {field} {value:g}": dataclasses.replace(base, rate=rate, **{field: value})
            for rate, value in itertools.product(rates, values)
        }
    return found


def fine_tuned(
    shared: Setup, stage: str, runs: Mapping[str, tuple[Distillation, Tree]], game: games.Game, net: Network
) -> dict[str, Fit]:
    """All runs, those with a clipped ratio as a program of their own."""
    found: dict[str, Fit] = {}
    for clipped in (False, True):
        some = {name: run for name, run in runs.items() if (run[0].clip > 0) == clipped}
        if some:
            found |= distil(shared, "bandit", some, game, net, stage=f"{stage} clipped".strip() if clipped else stage)
    return {name: found[name] for name in runs}


def tune(
    shared: Setup, tried: Mapping[str, Mapping[str, Distillation]], game: games.Game, net: Network, base: Tree
) -> tuple[dict[str, Distillation], dict[str, xr.DataArray]]:
    """Of each method the candidate whose last rollouts had least regret, and what all of them had."""
    runs = {f"{method}, {name}": (run, base) for method, some in tried.items() for name, run in some.items()}
    fits = fine_tuned(shared, "tuning", runs, game, net)
    chosen, found = {}, {}
    for method, some in tried.items():
        regrets = [late_regret(fits[f"{method}, {name}"]) for name in some]
        chosen[method] = list(some.values())[int(np.argmin(np.mean(regrets, axis=1)))]
        seeds = TUNING_SEED + np.arange(shared.seeds)
        found[f"bandit_tuning_{method}"] = named(regrets, candidate=list(some), seed=seeds)
    return chosen, found


def late_regret(fit: Fit) -> np.ndarray:
    """Mean regret of the rollouts of the last tenth of the rounds, [N]."""
    return fit.losses[:, -max(1, fit.losses.shape[1] // 10) :].mean(axis=1)


def study(config: RMFTConfig) -> dict[str, Any]:
    """Pretrain, fine-tune, compare; metrics are named `bandit_*`.

    `bandit_<measure>` are curves at T on every distribution, `bandit_long_<measure>` at `stretch` T,
    `bandit_gaussian_<measure>` at T with Gaussian rewards, and `bandit_epsilon_<measure>` those of epsilon-greedy.
    """
    game = games.bandit_game(training_bandit, ARMS, config.train_length)
    net = network(config.bandit_network, game.features, game.outputs)
    pretraining: Any = {
        "rate": config.pretraining_rate,
        "steps": config.pretraining_steps,
        "batch": config.baseline_batch,
    }
    chosen = {RMFT: config.bandit}
    if config.baselines:
        chosen |= {"REINFORCE": config.reinforce, "PPO": config.ppo}
    found: dict[str, Any] = {"bandit_train_length": config.train_length}
    if config.baselines and config.tuned:
        other = setup(config.seed + TUNING_SEED, TUNING_SEEDS, config.results, config)
        base = struggling(other, "bandit tuning", game, net, ARMS, **pretraining)
        chosen, regrets = tune(other, grids(chosen, config.rates, config.keeps, config.entropies), game, net, base)
        found |= regrets
    shared = setup(config.seed, config.seeds, config.results, config)
    base = struggling(shared, "bandit", game, net, ARMS, **pretraining)
    initial = initial_weights(shared, "bandit", net)
    runs = {name: (run, base) for name, run in chosen.items()} | {FROM_RANDOM: (chosen[RMFT], initial)}
    fits = fine_tuned(shared, "", runs, game, net)
    weights = {BASE: base, RANDOM: initial} | {name: fit.state.params for name, fit in fits.items()}
    if config.baselines:
        for name, (agent, params, labels) in imitated().items():
            loss = baselines.imitation_loss(
                game, net, agent, lambda instance, params=params: params, config.baseline_batch, labels
            )
            weights[name] = train(shared, "bandit", name, loss, base, config.baseline_rate, config.baseline_steps)
    seeds = np.arange(config.seeds)
    found["bandit_training_regret"] = named(
        np.stack([fit.losses for fit in fits.values()]),
        agent=list(fits),
        seed=seeds,
        training_round=np.arange(1, config.bandit.rounds + 1),
    )
    found["bandit_seconds"] = fits[RMFT].seconds
    tuning_runs = len(config.rates) * len(config.keeps) * TUNING_SEEDS if config.tuned else 0
    imitated_episodes = config.baseline_steps * config.baseline_batch
    found |= effort(chosen, config.train_length, imitated_episodes, tuning_runs)
    where = worlds(config.seed, config.seeds, config.runs)
    evaluated = evaluate(where, evaluation_game(config.length), list(DISTRIBUTIONS), net, weights, config.length)
    found |= {f"bandit_{name}": value for name, value in evaluated.items()}
    if config.baselines:
        fewer = worlds(config.seed, config.seeds, config.runs // config.stretch)
        length = config.length * config.stretch
        long = evaluate(fewer, evaluation_game(length), list(DISTRIBUTIONS), net, weights, length)
        found |= {f"bandit_long_{name}": value for name, value in long.items()}
        laws = [f"Gaussian, deviation {deviation:g}" for deviation in config.deviations]
        rewards = gaussian_game(config.length, config.deviations)
        noisy = evaluate(where, rewards, laws, net, weights, config.length, gaussian=True)
        found |= {f"bandit_gaussian_{name}": value for name, value in noisy.items()}
    return found


def subject(
    shared: Setup, architecture: TransformerConfig, train_length: int, length: int, runs: int, **pretraining: Any
) -> Subject:
    """What a sweep fine-tunes and judges: from the base that struggles, on the distributions of the study.

    Args:
        shared: seeds and checkpoints.
        architecture: of the network.
        train_length: rounds in training.
        length: rounds in evaluation.
        runs: evaluation episodes.
        pretraining: rate, steps and batch of the base's.
    """
    game = games.bandit_game(training_bandit, ARMS, train_length)
    net = network(architecture, game.features, game.outputs)
    return Subject(
        game=game,
        network=net,
        initial=struggling(shared, "bandit", game, net, ARMS, **pretraining),
        evaluated_on=evaluation_game(length),
        distributions=tuple(DISTRIBUTIONS),
        measure=explored,
        runs=runs,
    )


def effort(
    chosen: Mapping[str, Distillation], length: int, imitated_episodes: int, tuning_runs: int
) -> dict[str, xr.DataArray]:
    """What each trained method was given: rounds of bandits that it was trained on, and runs that tuned it.

    Args:
        chosen: configurations of those that learn from their own play.
        length: T.
        imitated_episodes: episodes of those that imitate other players.
        tuning_runs: of each of the first.
    """
    episodes = {name: run.rounds * run.scenarios * run.rollouts for name, run in chosen.items()}
    episodes |= dict.fromkeys(imitated(), imitated_episodes)
    tuning = [tuning_runs if name in chosen else 0 for name in episodes]
    return {
        "bandit_environment_steps": named([length * count for count in episodes.values()], agent=list(episodes)),
        "bandit_tuning_runs": named(tuning, agent=list(episodes)),
    }


def evaluate(
    where: Worlds,
    game: games.Game,
    distributions: Sequence[str],
    net: Network,
    weights: Mapping[str, Tree],
    length: int,
    gaussian: bool = False,
) -> dict[str, xr.DataArray]:
    """Networks and classical players on the same instances: every measure of `comparison.explored`."""
    count = len(distributions)
    played = evaluate_networks(where, game, net, weights, count, explored, greedy=(BASE, RMFT))
    names = [*weights, f"{BASE}, greedy", f"{RMFT}, greedy"]
    players = classical.gaussian(ARMS) if gaussian else classical.stationary(ARMS) | classical.forgetful(ARMS, length)
    theirs: Classical = evaluate_classical(where, game, players, count)
    seeds = np.arange(where.evaluation.shape[0])

    def labelled(measures: Measures, prefix: str, first: str, values: Sequence[Any]) -> dict[str, xr.DataArray]:
        axes: dict[str, Any] = {first: list(values), "distribution": list(distributions), "seed": seeds}
        return {
            f"{prefix}{name}": named(value, **axes, **({"round": rounds(value)} if value.ndim > 3 else {}))
            for name, value in measures.items()
        }

    def rounds(value: np.ndarray) -> np.ndarray:
        return np.arange(1, value.shape[-1] + 1)

    curve = {name: value[..., -1] if value.ndim > 3 else value for name, value in theirs.epsilon_greedy.items()}
    curve["suffix_failure"] = theirs.epsilon_greedy["suffix_failure"][..., length // 2]
    return (
        labelled(join([played, theirs.measures]), "", "agent", [*names, *theirs.names])
        | labelled(curve, "epsilon_", "epsilon", classical.EPSILONS)
        | {"tuned_over": named(list(theirs.tuned_over.values()), player=list(theirs.tuned_over))}
    )


def imitated() -> dict[str, tuple[Agent, Any, Any]]:
    """The agents that baselines imitate: the agent, its params, and whose decisions are the labels."""
    return {
        "distilled UCB": (learners.ucb(ARMS), learners.UCBParams(exploration=0.1), "played"),
        "distilled Thompson": (thompson.beta_thompson(ARMS), thompson.BetaPrior(), "played"),
        "optimal-arm labels": (random_policy_agent(), (), "optimal"),
    }


def random_policy_agent() -> Agent:
    """Behaviour for training on optimal-arm labels: each episode has its own random probabilities of arms."""

    def init(key: jax.Array, params: Tree) -> jax.Array:
        return jax.nn.softmax(2 * random.normal(key, (ARMS,)))

    def act(uniform: jax.Array, memory: jax.Array, observation: jax.Array, params: Tree) -> tuple:
        probabilities = jnp.where(observation, memory, 0)
        return sample_index(inverse_cdf(probabilities / jnp.sum(probabilities)), uniform), memory

    predrawn = Predrawn(draw=uniform_noise, apply=act)
    return Agent(
        init=init,
        act=predrawn.keyed,
        observe=lambda memory, transition, params: memory,
        predrawn=predrawn,
    )
