"""Regret-minimisation fine-tuning: bandits, drifting bandits, online learning, MDPs and POMDPs, and its ablations.

Figures: `rmft_training`, `rmft_regret`, `rmft_transfer`, `rmft_drift`, `rmft_online`, `rmft_ablations`.
Commands: `python -m experiments.rmft quick`, `... paper`; `... quick --help` lists what can be changed.
Cost: quick takes 8 to 10 minutes on two cores; paper is meant for one GPU, and has not been timed.
Expectation: regret below UCB1's and near Thompson sampling's on the training distribution, on longer horizons and other
    numbers of arms; within 20 % of tuned Hedge and FTRL; a network after supervised fine-tuning still gains in MDPs and
    POMDPs.

Parts run at the same time, each with its own random streams; the results do not depend on it.
"""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from experiments import cli
from experiments.rmft import ablations, bandit, decision_processes, drift, online
from experiments.rmft.claims import claims
from experiments.rmft.config import PARTS, PRESETS, RMFTConfig
from experiments.rmft.training import setup
from jaxdm.analysis import storage
from jaxdm.analysis.claims import write_claims
from jaxdm.validation import InvalidInput


def validate(config: RMFTConfig) -> None:
    """Check the sizes and names of a configuration.

    Raises:
        InvalidInput: a size too small for the study, or an unknown name; the message names the field.
    """
    limits = {"seeds": 2, "train_length": 2, "runs": 2, "length": 6, "stretch": 2, "online_length": 3, "tasks": 8}
    for field, least in limits.items():
        if getattr(config, field) < least:
            raise InvalidInput(f"{field}: {getattr(config, field)}; expected at least {least}")
    shapes = tuple(online.OTHER_NETWORKS)
    for field, known in {"parts": PARTS, "simplex_others": shapes, "ball_others": shapes}.items():
        for name in getattr(config, field):
            if name not in known:
                raise InvalidInput(f"{field}: {name!r}; expected some of {', '.join(known)}")


def main(config: RMFTConfig, command: str) -> Path:
    """Study all parts and store what they found.

    Args:
        config: the study.
        command: what ran it, for the report.

    Returns:
        The folder of the result.

    Raises:
        InvalidInput: as `validate`.
    """
    validate(config)
    shared = setup(config.seed, config.seeds, config.results, config)
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "bandit": functools.partial(bandit.study, config),
        "simplex": functools.partial(online.study, config, "simplex"),
        "ball": functools.partial(online.study, config, "ball"),
        "ablations": functools.partial(
            ablations.study, shared, config.ablated, config.ablated_network, config.ablated_length, config.shares
        ),
        "drift": functools.partial(
            drift.study,
            shared,
            config.drift,
            config.drift_network,
            train_length=config.train_length,
            length=config.length,
            chance=config.drift_chance,
            windows=config.windows,
            window_exploration=config.window_exploration,
            runs=config.runs,
        ),
        "pomdp": functools.partial(decision_processes.study, config, "pomdp"),
        "mdp": functools.partial(decision_processes.study, config, "mdp"),
    }
    found = cli.at_once(lambda part: parts[part](), config.parts, config.workers)
    metrics = {name: value for of_part in found for name, value in of_part.items()}
    path = storage.write_result(config.results, "rmft", config, metrics, command)
    write_claims(path, claims(storage.read_result(path).metrics), command)
    return path


if __name__ == "__main__":
    cli.command_line(PRESETS, main, __doc__)
