"""The switches of regret-minimisation fine-tuning, one at a time in the smallest world: three arms, few rounds."""

import dataclasses
import functools
from typing import Any

import jax
import numpy as np

from experiments.rmft.config import Config
from experiments.rmft.online import game as online_game
from experiments.rmft.training import distil, start
from jaxdm.envs import families
from jaxdm.models.transformer import network
from jaxdm.rmft import games
from jaxdm.rmft.distillation import Distillation

ARMS = 3


SHARES = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 3 / 4)
"""k / L; one half is the default."""


def variants(base: Distillation) -> dict[str, Distillation]:
    """The default, every share of kept rollouts, and every other switch alone; steps see as many rollouts in all."""
    change = functools.partial(dataclasses.replace, base)
    kept = {f"k/L = {share:g}": change(keep=max(1, round(share * base.rollouts))) for share in SHARES if share != 0.5}
    # As many gradient steps, on batches of the same size, all on rollouts of the network at round 0.
    wider = max(1, base.rounds // 4)
    single = change(rounds=2, scenarios=wider * base.scenarios, steps=base.rounds * base.steps)
    return {
        "default": base,
        **kept,
        "pooled": change(unit="pool"),
        "by reward": change(select="reward"),
        "Adam reset": change(moments="reset"),
        "weight decay 0.1": change(decay=0.1),
        "sampled, noise 1": change(exploration=1.0),
        "labels are laws, noise 1": change(exploration=1.0),
        "fresh luck": change(sequences="fresh"),
        "one round": single,
    }


def study(config: Config) -> dict[str, Any]:
    """Regret of every round of every variant; metrics are named `ablation_*`.

    `ablation_regret [V, N]` is the mean of the last rounds, `ablation_course_<share>` the whole course of the shares.
    """
    family = lambda key: families.bandit.uniform_means(key, arms=ARMS)
    sampled = games.bandit_game(family, ARMS, config.ablated_length)
    laws = games.bandit_game(family, ARMS, config.ablated_length, "law")
    net = network(config.ablated_network, sampled.features, sampled.outputs)
    fresh, courses = start(config, net), {}
    hows = variants(config.ablated)
    alone = ("labels are laws, noise 1", "fresh luck", "one round")  # each a program of its own
    groups = [[name for name in hows if name not in alone], *([name] for name in alone)]
    for names in groups:
        game = laws if names[0].startswith("labels") else sampled
        runs = {name: (hows[name], fresh) for name in names}
        fits = distil(config, f"ablation {names[0]}", runs, game, net)
        courses |= {name: fit.losses for name, fit in fits.items()}
    last = lambda course: course[:, -max(1, course.shape[1] // 12) :].mean(axis=1)
    regret = [courses[name][:, 1] if name == "one round" else last(courses[name]) for name in hows]
    shares = ["default" if share == 0.5 else f"k/L = {share:g}" for share in SHARES]
    return {
        "ablation_names": list(hows),
        "ablation_regret": np.stack(regret),
        "ablation_shares": SHARES,
        "ablation_courses": np.stack([courses[name] for name in shares]),
        "ablation_start": courses["default"][:, 0],
        "ablation_identical": identical(config),
    }


def identical(config: Config) -> bool:
    """Whether selection by reward trains the same bits as by regret, in online learning on shared sequences."""
    base = dataclasses.replace(config.simplex, rounds=2)
    game = online_game("simplex", config.online_length, ("uniform", "random_mean"), labels="sampled")
    net = network(config.online_network, game.features, game.outputs)
    fresh = start(config, net)
    runs = {select: (dataclasses.replace(base, select=select), fresh) for select in ("regret", "reward")}
    ends = [fit.state.params for fit in distil(config, "identity", runs, game, net).values()]
    return jax.tree.all(jax.tree.map(lambda x, y: bool((x == y).all()), *ends))
