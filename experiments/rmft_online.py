"""Online learning in the regret-minimisation study: on the simplex and the ball, stochastic losses in training."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.rmft_compare import judge_learner, judge_networks
from experiments.rmft_study import Config
from experiments.rmft_training import distil, imitate, start
from jaxdm import distillation, games
from jaxdm.distillation import Distillation
from jaxdm.envs import losses, online
from jaxdm.learners import online as learners
from jaxdm.models.player import Decisions
from jaxdm.models.transformer import network
from jaxdm.types import Agent, Network, Tree

SCALES = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
"""Rates `scale / sqrt(T)` that the classical learner is tuned over, for each law and horizon on the judged games."""
SIZES = {"simplex": 3, "ball": 2}
TRAINED = {"simplex": ("uniform", "bernoulli", "random_mean"), "ball": ("gaussian", "random_mean")}
ELSEWHERE = ("linear_trend", "sine_trend", "switching", "alternating", "noisy_alternating")


def law(name: str, decisions: Decisions) -> Callable[..., jax.Array]:
    """A law of losses, each sequence scaled to what the decision set allows."""
    scale = losses.unit_interval if decisions == "simplex" else losses.unit_ball
    return lambda key, **sizes: scale(losses.LAWS[name](key, **sizes))


def game(decisions: Decisions, length: int, names: tuple[str, ...], **options: Any) -> games.Game:
    """Online learning on these laws."""
    laws = tuple(law(name, decisions) for name in names)
    return games.online_game(laws, SIZES[decisions], length, decisions, **options)


def numbered(made: games.Game, size: int, laws: int) -> games.Game:
    """The same game, whose law is given as data; after the last one comes an adversary that reacts."""

    def instance(key: jax.Array, law: jax.Array) -> games.Losses:
        last = jnp.minimum(law, laws - 1)
        return games.Losses(law=last, available=jnp.ones(size, bool), reacting=law == laws)

    return made._replace(instance=instance)


def study(config: Config) -> dict[str, Any]:
    """Both decision sets; metrics are named `<set>_*`."""
    return on(config, "simplex", config.simplex) | on(config, "ball", config.ball)


def on(config: Config, decisions: Decisions, how: Distillation) -> dict[str, Any]:
    """Train on one decision set, compare there and elsewhere, at the trained horizon and beyond."""
    size, length = SIZES[decisions], config.online_length
    labels = "sampled" if decisions == "simplex" else "law"
    trained_on = game(decisions, length, TRAINED[decisions], labels=labels)
    net = network(config.online_network, trained_on.features, trained_on.outputs)
    fresh = start(config, net)
    fit = distil(config, decisions, how, trained_on, net, fresh)
    weights = {"round 0": fresh, "RMFT": fit.state.params}
    classic = learners.hedge(size) if decisions == "simplex" else learners.ftrl(online.BALL, size)
    if config.rivals:
        laws_played = game(decisions, length, TRAINED[decisions])
        regret = distillation.regret_training_loss(laws_played, net, config.teacher_batch)
        weights["regret loss"] = imitate(config, f"{decisions} regret loss", regret, fresh).state.params
        rate = learners.hedge_rate(size) if decisions == "simplex" else learners.ftrl_rate()
        copied = distillation.imitation_loss(laws_played, net, classic, rate, config.teacher_batch)
        weights[f"distilled {NAMES[decisions]}"] = imitate(config, f"{decisions} distilled", copied, fresh).state.params
    names = (*TRAINED[decisions], *ELSEWHERE)
    found: dict[str, Any] = {
        "laws": [*names, "reacting"],
        "methods": [*weights, f"{NAMES[decisions]}, tuned", "follow the leader"],
        "trained": len(TRAINED[decisions]),
        "rounds": fit.losses,
        "seconds": fit.seconds,
    }
    for horizon, longer in (("course", 1), ("longer", config.stretch))[: 2 if config.rivals else 1]:
        where = numbered(game(decisions, length * longer, names), size, len(names))
        found[horizon] = everyone(config, where, net, weights, classic, length * longer, len(names) + 1)
    return {f"{decisions}_{name}": value for name, value in found.items()}


NAMES = {"simplex": "Hedge", "ball": "FTRL"}


def everyone(
    config: Config, where: games.Game, net: Network, weights: dict[str, Tree], classic: Agent, length: int, laws: int
) -> np.ndarray:
    """Regret of the networks, the best-tuned classical learner and follow-the-leader, [W, Q, N, T]."""
    played = judge_networks(config, where, net, weights, laws)
    rates = [learners.rate(scale / length**0.5) for scale in SCALES] + [learners.rate(1e6)]
    tuned = judge_learner(config, where, classic, rates, laws).course
    final = tuned[:-1, :, :, -1].mean(axis=-1)
    best = np.take_along_axis(tuned, final.argmin(axis=0)[None, :, None, None], axis=0)
    return np.concatenate([played.course, best, tuned[-1:]])
