"""Online learning in the regret-minimisation study: on the simplex and the ball, stochastic losses in training."""

import dataclasses
from typing import Any

import numpy as np

from experiments.rmft_attack import attacked
from experiments.rmft_compare import judge_learner, judge_networks
from experiments.rmft_online_worlds import NAMES, TRAINED, USED, classic, everywhere, game, place
from experiments.rmft_study import Config
from experiments.rmft_training import distil, imitate, start
from jaxdm.learners import online as learners
from jaxdm.models.agents import Decisions
from jaxdm.models.transformer import network
from jaxdm.rmft import baselines, games
from jaxdm.rmft.distillation import Distillation
from jaxdm.types import Network, Tree

SCALES = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
"""Rates `scale / sqrt(T)` that the classical learner is tuned over, for each law and horizon, in other worlds."""


OTHER_NETWORKS: dict[str, Any] = {"linear attention": {"attention": "linear"}, "two layers": {"layers": 2}}
"""What differs from the study's own network, a single layer of softmax attention."""


def study(config: Config, decisions: Decisions, how: Distillation) -> dict[str, Any]:
    """Train on one decision set, compare there and elsewhere, at the trained horizon and beyond; and attack.

    Metrics are named `<decisions>_*`.
    """
    length = config.online_length
    trained_on = game(decisions, length, TRAINED[decisions], labels="output")
    net = network(config.online_network, trained_on.features, trained_on.outputs)
    fresh = start(config, net)
    fit = distil(config, decisions, {"RMFT": (how, fresh)}, trained_on, net)["RMFT"]
    weights = {"round 0": fresh, "RMFT": fit.state.params}
    if config.rivals:
        weights |= rivals_of(config, decisions, net, fresh)
    found: dict[str, Any] = {
        "laws": place(decisions).names,
        "methods": [*weights, f"{NAMES[decisions]}, tuned", "follow the leader"],
        "trained": len(TRAINED[decisions]),
        "rounds": fit.losses,
        "seconds": fit.seconds,
    }
    for horizon, longer in (("course", 1), ("longer", config.stretch))[: 2 if config.rivals else 1]:
        found[horizon] = everyone(config, decisions, length * longer, net, weights)
    if config.rivals:
        pair = {name: weights[name] for name in ("round 0", "RMFT")}
        found["attacked"] = attacked(config, decisions, USED[decisions], trained_on, net, pair)
        found |= others(config, decisions, how, trained_on)
    return {f"{decisions}_{name}": value for name, value in found.items()}


def rivals_of(config: Config, decisions: Decisions, net: Network, fresh: Tree) -> dict[str, Tree]:
    """Networks that descend regret itself, or imitate the classical learner."""
    played = game(decisions, config.online_length, TRAINED[decisions])
    regret = baselines.regret_training_loss(played, net, config.teacher_batch)
    rate = learners.hedge_rate(USED[decisions]) if decisions == "simplex" else learners.ftrl_rate()
    told = lambda instance: (rate, instance.available)
    copied = baselines.imitation_loss(played, net, classic(decisions), told, config.teacher_batch)
    return {
        "regret loss": imitate(config, f"{decisions} regret loss", regret, fresh).state.params,
        f"distilled {NAMES[decisions]}": imitate(config, f"{decisions} distilled", copied, fresh).state.params,
    }


def everyone(config: Config, decisions: Decisions, length: int, net: Network, weights: dict[str, Tree]) -> np.ndarray:
    """Regret of the networks, the best-tuned classical learner and follow-the-leader, [W, Q, N, T]."""
    where, laws = everywhere(decisions, length), len(place(decisions).names)
    runs = max(1, config.runs * config.online_length // length)
    played = judge_networks(config, where, net, weights, laws, runs)
    told = lambda rate, instance: (rate, instance.available)
    rates = [learners.rate(scale / length**0.5) for scale in SCALES]
    known = judge_learner(config, where, classic(decisions), rates, laws, told, fixed=(learners.rate(1e6),), runs=runs)
    return np.concatenate([played.course, known.course])


def others(config: Config, decisions: Decisions, how: Distillation, trained_on: games.Game) -> dict[str, Any]:
    """Networks of other shapes, fine-tuned alike; `others [V, Q, N]` is their regret after T rounds."""
    names, regret = config.simplex_others if decisions == "simplex" else config.ball_others, []
    for name in names:
        shape = dataclasses.replace(config.online_network, **OTHER_NETWORKS[name])
        net = network(shape, trained_on.features, trained_on.outputs)
        fit = distil(config, f"{decisions} {name}", {"RMFT": (how, start(config, net))}, trained_on, net)["RMFT"]
        where, laws = everywhere(decisions, config.online_length), len(place(decisions).names)
        judged = judge_networks(config, where, net, {"RMFT": fit.state.params}, laws)
        regret.append(judged.course[0, ..., -1])
    return {"others": np.asarray(regret), "other_networks": names}
