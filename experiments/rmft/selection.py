"""How many rollouts to keep: the share k / L against the number of arms, with the threshold 1 / K that theory predicts.

Below the threshold a round selects rollouts that committed to an arm and were lucky, and a policy that commits is a
fixed point that attracts; above it, it repels.
"""

import dataclasses
from typing import Any

import jax
import numpy as np

from experiments.rmft.comparison import evaluate_networks, explored, worlds
from experiments.rmft.training import Setup, distil, initial_weights
from jaxdm.analysis.storage import named
from jaxdm.envs import families
from jaxdm.models.transformer import TransformerConfig, network
from jaxdm.rmft import distillation, games
from jaxdm.rmft.distillation import Distillation

GAP = 0.5
"""Between the best arm and all others."""


def shares(rollouts: int) -> list[float]:
    """The shares k / L that are tried: every second k, from one to nearly all."""
    kept = range(1, rollouts, 2 if rollouts > 4 else 1)
    return [k / rollouts for k in kept]


def study(
    shared: Setup, base: Distillation, architecture: TransformerConfig, *, arms: tuple[int, ...], length: int, runs: int
) -> dict[str, Any]:
    """Fine-tune from random weights with every share; metrics are named `selection_*`, all as shares of uniform play's.

    Args:
        shared: seeds and checkpoints.
        base: sizes; `keep` is what is varied, as data: one program for each K.
        architecture: of the network.
        arms: the K that are tried.
        length: T.
        runs: evaluation episodes for each seed.
    """
    tried = shares(base.rollouts)
    regrets, failures, fractions, curves = [], [], [], []
    for count in arms:

        def family(key: jax.Array, count: int = count) -> Any:
            return families.bandit.one_gap(key, arms=count, gap=GAP)

        game = games.bandit_game(family, count, length)
        net = network(architecture, game.features, game.outputs)
        initial = initial_weights(shared, f"selection {count}", net)
        configs = {
            f"{share:g}": (dataclasses.replace(base, keep=round(share * base.rollouts)), initial) for share in tried
        }
        fits = distil(shared, "selection", configs, game, net, stage=f"K={count}")
        where = worlds(shared.seed, shared.seeds, runs)
        weights = {name: fit.state.params for name, fit in fits.items()}
        found = evaluate_networks(where, game, net, weights, measure=explored)
        uniform = length * GAP * (1 - 1 / count)
        regrets.append(found["regret"][:, 0, :, -1] / uniform)
        failures.append(found["suffix_failure"][:, 0, :, length // 2])
        fractions.append(found["min_fraction"][:, 0, :, -1])
        curves.append(np.stack([fit.losses for fit in fits.values()]) / uniform)
    axes: dict[str, Any] = {"arms": list(arms), "share": tried, "seed": np.arange(shared.seeds)}
    theory = [distillation.selection_size(count, base.rollouts) / base.rollouts for count in arms]
    return {
        "selection_regret": named(regrets, **axes),
        "selection_suffix_failure": named(failures, **axes),
        "selection_min_fraction": named(fractions, **axes),
        "selection_curves": named(curves, **axes, training_round=np.arange(1, base.rounds + 1)),
        "selection_default": named(theory, arms=list(arms)),
    }
