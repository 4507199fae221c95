"""Iterative regret-minimisation fine-tuning: bandits, drifting bandits, online learning, solved worlds, its switches.

Figures: `rmft_training`, `rmft_regret`, `rmft_transfer`, `rmft_drift`, `rmft_online`, `rmft_switches`.
Commands: `python -m experiments.rmft quick`, `... paper`; `... quick --help` lists what can be changed.
Cost: quick takes 8 to 10 minutes on two cores; paper is meant for one GPU, and has not been timed.
Expectation: regret below UCB1's and near Thompson's on the training law, on longer horizons and other numbers of arms;
    within 20 % of tuned Hedge and FTRL; a network after supervised fine-tuning still gains in MDPs and POMDPs.

Parts run at the same time, each on its own keys; the results do not depend on it.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from experiments import cli
from experiments.rmft import ablations, bandit, decision_processes, drift, online
from experiments.rmft.claims import claims
from experiments.rmft.config import PRESETS, Config
from jaxdm.analysis import storage
from jaxdm.analysis.claims import write_claims

PARTS: dict[str, Callable[[Config], dict[str, Any]]] = {
    "bandit": bandit.study,
    "simplex": lambda config: online.study(config, "simplex", config.simplex),
    "ball": lambda config: online.study(config, "ball", config.ball),
    "ablations": ablations.study,
    "drift": drift.study,
    "pomdp": lambda config: decision_processes.study(config, "pomdp"),
    "mdp": lambda config: decision_processes.study(config, "mdp"),
}


def validate(config: Config) -> None:
    """Raise a ValueError that names the field where a size is too small for the study."""
    limits = {"seeds": 2, "train_length": 2, "runs": 2, "length": 6, "stretch": 2, "online_length": 3, "tasks": 8}
    for field, least in limits.items():
        if getattr(config, field) < least:
            raise ValueError(f"{field}: {getattr(config, field)}; expected at least {least}")


def main(config: Config) -> Path:
    """Study all parts, store what they found; returns the result's folder.

    Raises:
        ValueError: a field out of range, or an unknown part.
    """
    validate(config)
    shapes = online.OTHER_NETWORKS
    for field, known in {"parts": PARTS, "simplex_others": shapes, "ball_others": shapes}.items():
        for name in getattr(config, field):
            if name not in known:
                raise ValueError(f"{field}: {name!r}; expected some of {', '.join(known)}")
    found = cli.at_once(lambda part: PARTS[part](config), config.parts, config.workers)
    metrics = {name: value for of_part in found for name, value in of_part.items()}
    path = storage.write_result(config.results, "rmft", config, metrics)
    write_claims(path, claims(config, metrics))
    return path


if __name__ == "__main__":
    cli.command_line(PRESETS, main, __doc__)
