"""Bandits in the regret-minimisation study: trained on gaps of 0.2 to 0.5, judged there and elsewhere."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.rmft.comparison import Judged, join, judge_learner, judge_networks
from experiments.rmft.config import ARMS, Config
from experiments.rmft.training import distil, imitate, start
from jaxdm import random
from jaxdm.analysis import exploration
from jaxdm.envs import bandit
from jaxdm.envs.bandit import Bandit
from jaxdm.learners import bandit as tallies
from jaxdm.learners import thompson
from jaxdm.models.transformer import network
from jaxdm.random import inverse_cdf, sample_index
from jaxdm.rmft import baselines, games
from jaxdm.types import Agent, Network, Tree

LAWS = ("training law", "K=5, gap 0.2", "K=4, gap 0.5", "K=3, gap 0.4", "K=6, gap 0.4", "uniform means, K=5")


SIZES = [5, 5, 4, 3, 6, 5]
"""Arms of each law, for MinFrac; in training four or five."""


RIVALS = ("UCB1", "Thompson")


DEVIATIONS = (0.5, 1.0)
"""Of Gaussian rewards."""


def draw(key: jax.Array, law: jax.Array) -> Bandit:
    """A bandit of the law with that index in `LAWS`; arms at random slots."""
    key_size, key_gap, key_place, key_mean = random.split(key, 4)
    gap = 0.2 + 0.3 * random.uniform(key_gap)
    size = jnp.where(random.uniform(key_size) < 0.5, 4, 5)
    sizes = jnp.stack([size, *jnp.asarray(SIZES[1:], size.dtype)])
    gaps = jnp.stack([gap, *jnp.asarray((0.2, 0.5, 0.4, 0.4, 0.0), gap.dtype)])
    place = random.places(key_place, ARMS)
    one_gap = 0.5 + gaps[law] * ((place == 0).astype(gap.dtype) - 0.5)
    mean = jnp.where(law == LAWS.index("uniform means, K=5"), random.uniform(key_mean, (ARMS,)), one_gap)
    return bandit.make(mean, available=place < sizes[law])


def game(config: Config, longer: int = 1) -> games.Game:
    """Bernoulli bandits of the law given as data; the training law without."""
    made = games.bandit_game(lambda key: draw(key, jnp.int32(0)), ARMS, config.length * longer)
    return made._replace(instance=draw)


def study(config: Config) -> dict[str, Any]:
    """Train, compare, and judge elsewhere; metrics are named `bandit_*`."""
    trained_on = games.bandit_game(lambda key: draw(key, jnp.int32(0)), ARMS, config.train_length)
    net = network(config.bandit_network, trained_on.features, trained_on.outputs)
    fresh, how = start(config, net), config.bandit
    runs = {"RMFT": how}
    if config.rivals:
        reinforce = dataclasses.replace(how, keep=how.rollouts, credit="advantage")
        runs |= {f"REINFORCE, rate {x:g}": dataclasses.replace(reinforce, rate=x) for x in config.reinforce}
    fits = distil(config, "bandit", {name: (one, fresh) for name, one in runs.items()}, trained_on, net)
    fit = fits.pop("RMFT")
    weights = {"round 0": fresh, "RMFT": fit.state.params}
    found: dict[str, Any] = {"bandit_rounds": fit.losses, "bandit_seconds": fit.seconds}
    if config.rivals:
        last = {name: float(rival.losses[:, -max(1, how.rounds // 10) :].mean()) for name, rival in fits.items()}
        rival = fits[min(last, key=last.__getitem__)]
        weights["REINFORCE"] = rival.state.params
        found |= {"bandit_rounds_reinforce": rival.losses, "bandit_reinforce_rates": config.reinforce}
        found["bandit_reinforce_ends"] = list(last.values())
        for name, (teacher, rates, labels) in teachers().items():
            told = lambda instance, rates=rates: rates
            loss = baselines.imitation_loss(trained_on, net, teacher, told, config.teacher_batch, labels)
            weights[name] = imitate(config, f"bandit {name}", loss, fresh).state.params
    everywhere = game(config)
    judged = join([judge_networks(config, everywhere, net, weights, len(LAWS)), *classics(config, everywhere)])
    found |= {f"bandit_{name}": value for name, value in explored(judged, SIZES, config.length).items()}
    found |= {"bandit_laws": LAWS, "bandit_methods": [*weights, *RIVALS], "bandit_course": judged.course}
    return (
        found
        if not config.rivals
        else found | further(config, net, {name: weights[name] for name in ("round 0", "RMFT")})
    )


def classics(config: Config, where: games.Game, laws: int = len(LAWS), runs: int | None = None) -> list[Judged]:
    """UCB1 and Thompson sampling on the same worlds."""
    return [
        judge_learner(config, where, tallies.ucb(ARMS), [tallies.UCBParams()], laws, runs=runs),
        judge_learner(config, where, thompson.beta_thompson(ARMS), [thompson.BetaPrior()], laws, runs=runs),
    ]


def further(config: Config, net: Network, weights: dict[str, Tree]) -> dict[str, Any]:
    """Before, after, UCB1, Thompson: for longer, [4, N, stretch T]; the first three on Gaussian rewards, [3, 2, N]."""
    where, runs = game(config, config.stretch), max(1, config.runs // config.stretch)
    known = judge_networks(config, where, net, weights, runs=runs)
    longer = join([known, *classics(config, where, 1, runs)]).course[:, 0]
    where = games.bandit_game(lambda key: draw(key, jnp.int32(0)), ARMS, config.length, rewards="gaussian")
    scale = jnp.asarray(DEVIATIONS)
    noisy = lambda key, law: draw(key, jnp.int32(0))._replace(deviation=jnp.full(ARMS, scale[law]))
    where = where._replace(instance=noisy)
    known = judge_networks(config, where, net, weights, len(DEVIATIONS))
    rival = judge_learner(config, where, tallies.ucb(ARMS), [tallies.UCBParams()], len(DEVIATIONS))
    gaussian = join([known, rival]).course[..., -1]
    return {"bandit_longer": longer, "bandit_gaussian": gaussian, "bandit_deviations": DEVIATIONS}


def explored(judged: Judged, arms: list[int], length: int) -> dict[str, np.ndarray]:
    """SuffFailFreq at half time, `K MinFrac` at the end, both [W, Q, N], and how often play was right [W, Q, N, T]."""
    best = np.zeros(judged.right.shape[:-1], int)
    never = exploration.suffix_failure((judged.right < 0.5).astype(int), best, length // 2)
    least = [exploration.min_fraction(judged.rank[:, q], arms[q])[..., -1].mean(axis=-1) for q in range(len(arms))]
    return {
        "never_best": never.mean(axis=-1),
        "min_fraction": np.stack(least, axis=1),
        "right": judged.right.mean(axis=3),
    }


def teachers() -> dict[str, tuple[Agent, Any, Any]]:
    """Whom other networks imitate: who plays, its rates, and whose decisions are the labels."""
    return {
        "distilled UCB1": (tallies.ucb(ARMS), tallies.UCBParams(), "played"),
        "distilled Thompson": (thompson.beta_thompson(ARMS), thompson.BetaPrior(), "played"),
        "optimal-arm labels": (wanderer(), (), "optimal"),
    }


def wanderer() -> Agent:
    """The behaviour that optimal-arm labels are learnt on: each episode has its own random law of arms."""

    def act(draw: jax.Array, memory: jax.Array, observation: jax.Array, params: Tree) -> tuple:
        law = jnp.where(observation, memory, 0)
        return sample_index(inverse_cdf(law / jnp.sum(law)), draw), memory

    init = lambda key, params: jax.nn.softmax(2 * random.normal(key, (ARMS,)))
    observe = lambda memory, transition, params: memory
    return Agent(init=init, act=act, observe=observe, draws=lambda key, length: random.uniform(key, (length,)))
