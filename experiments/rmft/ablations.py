"""Ablations of regret-minimisation fine-tuning: one choice changed at a time, on bandits with three arms."""

import dataclasses
import functools
from typing import Any

import jax
import numpy as np

from experiments.rmft.training import Setup, distil, initial_weights
from jaxdm.analysis.storage import named
from jaxdm.envs import families
from jaxdm.models.transformer import TransformerConfig, network
from jaxdm.rmft import games
from jaxdm.rmft.distillation import Distillation

ARMS = 3


def variants(base: Distillation) -> dict[str, Distillation]:
    """The default, and every other choice alone; all see as many rollouts in all. Shares k / L are `selection`'s."""
    change = functools.partial(dataclasses.replace, base)
    # As many gradient steps, on batches of the same size, all on rollouts of the network at round 0.
    wider = max(1, base.rounds // 4)
    single = change(rounds=2, scenarios=wider * base.scenarios, steps=base.rounds * base.steps)
    return {
        "default": base,
        "pooled selection": change(unit="pool"),
        "policy gradient": change(keep=base.rollouts, credit="to go"),
        "selection by reward": change(select="reward"),
        "Adam reset": change(moments="reset"),
        "weight decay 0.1": change(decay=0.1),
        "sampled arms, noise 1": change(exploration=1.0),
        "probabilities as labels, noise 1": change(exploration=1.0),
        "fresh sequences": change(sequences="fresh"),
        "one round": single,
    }


ALONE = ("probabilities as labels, noise 1", "fresh sequences", "one round")
"""Variants that are a program of their own."""


def study(shared: Setup, base: Distillation, architecture: TransformerConfig, length: int) -> dict[str, Any]:
    """Regret in every round of every variant; metrics are named `ablation_*`.

    `ablation_regret` is the mean over the last twelfth of the rounds.

    Args:
        shared: seeds and checkpoints.
        base: the default.
        architecture: of the network.
        length: rounds of a bandit.
    """

    def family(key: jax.Array) -> Any:
        return families.bandit.uniform_means(key, arms=ARMS)

    sampled = games.bandit_game(family, ARMS, length)
    probabilities = games.bandit_game(family, ARMS, length, "probabilities")
    net = network(architecture, sampled.features, sampled.outputs)
    initial = initial_weights(shared, "ablations", net)
    configs = variants(base)
    curves: dict[str, np.ndarray] = {}
    for names in ([name for name in configs if name not in ALONE], *([name] for name in ALONE)):
        game = probabilities if names[0].startswith("probabilities") else sampled
        runs = {name: (configs[name], initial) for name in names}
        fits = distil(shared, "ablations", runs, game, net, stage=names[0])
        curves |= {name: fit.losses for name, fit in fits.items()}
    late = max(1, base.rounds // 12)
    final = {name: curve[:, -late:].mean(axis=1) for name, curve in curves.items()}
    final["one round"] = curves["one round"][:, 1]
    seeds = np.arange(shared.seeds)
    return {
        "ablation_regret": named([final[name] for name in configs], variant=list(configs), seed=seeds),
        "ablation_initial_regret": named(curves["default"][:, 0], seed=seeds),
        "ablation_identical": selection_is_the_same(shared, base, architecture, length),
    }


def selection_is_the_same(shared: Setup, base: Distillation, architecture: TransformerConfig, length: int) -> bool:
    """Whether selection by reward trains the same bits as by regret, in online learning on shared sequences."""
    config = dataclasses.replace(base, rounds=2)
    losses = (families.losses.uniform, families.losses.bernoulli)
    game = games.online_game(losses, ARMS, length, labels="sampled")
    net = network(architecture, game.features, game.outputs)
    initial = initial_weights(shared, "identity", net)
    runs = {select: (dataclasses.replace(config, select=select), initial) for select in ("regret", "reward")}
    ends = [fit.state.params for fit in distil(shared, "identity", runs, game, net).values()]
    return jax.tree.all(jax.tree.map(lambda x, y: bool((x == y).all()), *ends))
