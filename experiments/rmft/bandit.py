"""Bandits in the regret-minimisation study: trained on gaps of 0.2 to 0.5, evaluated there and elsewhere."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from experiments.rmft.comparison import Comparison, Worlds, evaluate_learner, evaluate_networks, join, worlds
from experiments.rmft.config import RMFTConfig
from experiments.rmft.training import distil, initial_weights, setup, train
from jaxdm import random
from jaxdm.analysis import exploration
from jaxdm.analysis.storage import named
from jaxdm.envs import bandit
from jaxdm.envs.bandit import Bandit
from jaxdm.learners import bandit as learners
from jaxdm.learners import thompson
from jaxdm.models.transformer import network
from jaxdm.random import inverse_cdf, sample_index
from jaxdm.rmft import baselines, games
from jaxdm.rollout import uniform_noise
from jaxdm.types import Agent, Network, Predrawn, Tree

ARMS = 6
"""Slots of a bandit; some are unavailable, at random places."""


DISTRIBUTIONS = ("training", "K=5, gap 0.2", "K=4, gap 0.5", "K=3, gap 0.4", "K=6, gap 0.4", "uniform means, K=5")
"""Of bandits; in training K is four or five, and the gap is uniform in [0.2, 0.5]."""


AVAILABLE = (5, 5, 4, 3, 6, 5)
"""K, arms of each distribution, for MinFrac; in training at most."""


FOLLOWED = ("round 0", "RMFT")
"""Networks that are evaluated on longer horizons and other rewards."""


CLASSICAL = ("UCB1", "Thompson")


def draw(key: jax.Array, index: jax.Array) -> Bandit:
    """A bandit of the distribution with that index in `DISTRIBUTIONS`; arms at random slots."""
    key_size, key_gap, key_place, key_mean = random.split(key, 4)
    gap = 0.2 + 0.3 * random.uniform(key_gap)
    size = jnp.where(random.uniform(key_size) < 0.5, 4, 5)
    sizes = jnp.stack([size, *jnp.asarray(AVAILABLE[1:], size.dtype)])
    gaps = jnp.stack([gap, *jnp.asarray((0.2, 0.5, 0.4, 0.4, 0.0), gap.dtype)])
    place = random.places(key_place, ARMS)
    one_gap = 0.5 + gaps[index] * ((place == 0).astype(gap.dtype) - 0.5)
    uniform = index == DISTRIBUTIONS.index("uniform means, K=5")
    mean = jnp.where(uniform, random.uniform(key_mean, (ARMS,)), one_gap)
    return bandit.make(mean, available=place < sizes[index])


def training_bandit(key: jax.Array) -> Bandit:
    """A bandit of the training distribution."""
    return draw(key, jnp.int32(0))


def evaluation_game(length: int) -> games.Game:
    """Bernoulli bandits; an instance is of the distribution whose index is its data."""
    return games.bandit_game(training_bandit, ARMS, length)._replace(instance=draw)


def study(config: RMFTConfig) -> dict[str, Any]:
    """Train, compare, and evaluate elsewhere; metrics are named `bandit_*`."""
    shared = setup(config.seed, config.seeds, config.results, config)
    trained_on = games.bandit_game(training_bandit, ARMS, config.train_length)
    net = network(config.bandit_network, trained_on.features, trained_on.outputs)
    initial = initial_weights(shared, "bandit", net)
    runs = {"RMFT": config.bandit}
    if config.baselines:
        reinforce = dataclasses.replace(config.bandit, keep=config.bandit.rollouts, credit="advantage")
        for rate in config.reinforce_rates:
            runs[f"REINFORCE, rate {rate:g}"] = dataclasses.replace(reinforce, rate=rate)
    fits = distil(shared, "bandit", {name: (run, initial) for name, run in runs.items()}, trained_on, net)
    fit = fits.pop("RMFT")
    weights = {"round 0": initial, "RMFT": fit.state.params}
    curves = {"RMFT": fit.losses}
    found: dict[str, Any] = {"bandit_seconds": fit.seconds, "bandit_train_length": config.train_length}
    if config.baselines:
        late = max(1, config.bandit.rounds // 10)
        final = {name: float(tried.losses[:, -late:].mean()) for name, tried in fits.items()}
        tuned = fits[min(final, key=final.__getitem__)]
        weights["REINFORCE"] = tuned.state.params
        curves["REINFORCE"] = tuned.losses
        found["bandit_reinforce_regret"] = named(list(final.values()), rate=config.reinforce_rates)
        for name, (agent, params, labels) in imitated().items():
            loss = baselines.imitation_loss(
                trained_on, net, agent, lambda instance, params=params: params, config.baseline_batch, labels
            )
            weights[name] = train(shared, "bandit", name, loss, initial, config.baseline_rate, config.baseline_steps)
    where, game = worlds(config.seed, config.seeds, config.runs), evaluation_game(config.length)
    compared = join([evaluate_networks(where, game, net, weights, len(DISTRIBUTIONS)), *classical(where, game)])
    found["bandit_training_regret"] = training_regret(curves)
    found |= described(compared, (*weights, *CLASSICAL))
    if config.baselines:
        followed = {name: weights[name] for name in FOLLOWED}
        longer = worlds(config.seed, config.seeds, config.runs // config.stretch)
        found["bandit_long_regret"] = on_longer_horizon(longer, config.length * config.stretch, net, followed)
        found["bandit_gaussian_regret"] = on_gaussian_rewards(where, config.length, config.deviations, net, followed)
    return found


def training_regret(curves: dict[str, np.ndarray]) -> xr.DataArray:
    """Mean regret of the rollouts of every round of fine-tuning."""
    seeds, rounds = next(iter(curves.values())).shape
    values = np.stack(list(curves.values()))
    return named(values, agent=list(curves), seed=np.arange(seeds), training_round=np.arange(1, rounds + 1))


def classical(where: Worlds, game: games.Game, distributions: int = len(DISTRIBUTIONS)) -> list[Comparison]:
    """UCB1 and Thompson sampling on the same instances."""
    return [
        evaluate_learner(where, game, learners.ucb(ARMS), [learners.UCBParams()], distributions),
        evaluate_learner(where, game, thompson.beta_thompson(ARMS), [thompson.BetaPrior()], distributions),
    ]


def described(compared: Comparison, methods: tuple[str, ...]) -> dict[str, xr.DataArray]:
    """Regret, SuffFailFreq at half time, `K MinFrac` at the end, and how often the optimal arm is played."""
    regret = compared.cumulative_regret
    seeds, rounds = np.arange(regret.shape[2]), np.arange(1, regret.shape[3] + 1)
    axes: dict[str, Any] = {"agent": methods, "distribution": DISTRIBUTIONS, "seed": seeds}
    failures, fractions = explored(compared, AVAILABLE, len(rounds))
    return {
        "bandit_regret": named(regret, **axes, round=rounds),
        "bandit_optimal_play": named(compared.optimal_play.mean(axis=3), **axes, round=rounds),
        "bandit_suffix_failure": named(failures, **axes),
        "bandit_min_fraction": named(fractions, **axes),
    }


def explored(compared: Comparison, arms: tuple[int, ...], length: int) -> tuple[np.ndarray, np.ndarray]:
    """SuffFailFreq(T/2) and `K MinFrac`, both [W, Q, N]; arms [Q] are K of each distribution."""
    optimal = compared.optimal_play
    best = np.zeros(optimal.shape[:-1], int)
    failures = exploration.suffix_failure((optimal < 0.5).astype(int), best, length // 2).mean(axis=-1)
    fractions = [
        exploration.min_fraction(compared.arm[:, q], size)[..., -1].mean(axis=-1) for q, size in enumerate(arms)
    ]
    return failures, np.stack(fractions, axis=1)


def on_longer_horizon(where: Worlds, length: int, net: Network, weights: dict[str, Tree]) -> xr.DataArray:
    """Regret of networks and classical learners on the training distribution, for longer episodes."""
    game = evaluation_game(length)
    compared = join([evaluate_networks(where, game, net, weights), *classical(where, game, 1)])
    regret = compared.cumulative_regret[:, 0]
    methods = (*weights, *CLASSICAL)
    return named(regret, agent=methods, seed=np.arange(regret.shape[1]), round=np.arange(1, length + 1))


def on_gaussian_rewards(
    where: Worlds, length: int, deviations: tuple[float, ...], net: Network, weights: dict[str, Tree]
) -> xr.DataArray:
    """Final regret of networks and UCB1 on the training distribution of means, with Gaussian rewards."""
    scale = jnp.asarray(deviations)

    def noisy(key: jax.Array, index: jax.Array) -> Bandit:
        return training_bandit(key)._replace(deviation=jnp.full(ARMS, scale[index]))

    game = games.bandit_game(training_bandit, ARMS, length, rewards="gaussian")._replace(instance=noisy)
    networks = evaluate_networks(where, game, net, weights, len(deviations))
    ucb = evaluate_learner(where, game, learners.ucb(ARMS), [learners.UCBParams()], len(deviations))
    regret = join([networks, ucb]).cumulative_regret[..., -1]
    return named(regret, agent=(*weights, "UCB1"), deviation=deviations, seed=np.arange(regret.shape[-1]))


def imitated() -> dict[str, tuple[Agent, Any, Any]]:
    """The agents that baselines imitate: the agent, its params, and whose decisions are the labels."""
    return {
        "distilled UCB1": (learners.ucb(ARMS), learners.UCBParams(), "played"),
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
