"""Iterative regret-minimisation fine-tuning: bandits, drifting bandits, online learning, solved worlds, its switches.

Figures: `rmft_training`, `rmft_regret`, `rmft_transfer`, `rmft_drift`, `rmft_online`, `rmft_switches`.
Commands: `python -m experiments.rmft quick`, `... paper`; `... quick --help` lists what can be changed.
Cost: quick takes 8 to 10 minutes on two cores; paper is meant for one GPU, and has not been timed.
Expectation: regret below UCB1's and near Thompson's on the training law, on longer horizons and other numbers of arms;
    within 20 % of tuned Hedge and FTRL; a network after supervised fine-tuning still gains in MDPs and POMDPs.

Parts run at the same time, each on its own keys; the results do not depend on it.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from experiments import cli
from experiments.rmft import ablations, bandit, decision_processes, drift, online
from experiments.rmft.claims import claims
from experiments.rmft.config import PRESETS, Config
from jaxdm.analysis import storage
from jaxdm.analysis.claims import write_claims
from jaxdm.validation import InvalidInput

SEEDS: dict[str, Any] = {"seed": None}


LONGER = ("round 0", "RMFT", "UCB1", "Thompson")
"""Who is followed for longer; the first three on Gaussian rewards, the first two under attack."""


LABELS = {
    "agent": "methods",
    "distribution": "laws",
    "deviation": "deviations",
    "rate": "reinforce_rates",
    "network": "other_networks",
    "variant": "names",
    "share": "shares",
}
"""Axes, and under what name their coordinates are found among a part's metrics."""


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
    """Raise `InvalidInput` that names the field where a size is too small for the study."""
    limits = {"seeds": 2, "train_length": 2, "runs": 2, "length": 6, "stretch": 2, "online_length": 3, "tasks": 8}
    for field, least in limits.items():
        if getattr(config, field) < least:
            raise InvalidInput(f"{field}: {getattr(config, field)}; expected at least {least}")


def main(config: Config, command: str) -> Path:
    """Study all parts, store what they found; returns the result's folder.

    Raises:
        InvalidInput: a field out of range, or an unknown part.
    """
    validate(config)
    shapes = online.OTHER_NETWORKS
    for field, known in {"parts": PARTS, "simplex_others": shapes, "ball_others": shapes}.items():
        for name in getattr(config, field):
            if name not in known:
                raise InvalidInput(f"{field}: {name!r}; expected some of {', '.join(known)}")
    found = cli.at_once(lambda part: PARTS[part](config), config.parts, config.workers)
    metrics = {name: value for of_part in found for name, value in of_part.items()}
    path = storage.write_result(config.results, "rmft", config, named_metrics(metrics), command)
    write_claims(path, claims(config, metrics), command)
    return path


def named_metrics(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The same with names and coordinates of every axis, as stored."""
    return {name: storage.named(value, **axes_of(name, metrics)) for name, value in metrics.items()}


def axes_of(name: str, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Names and coordinates of the axes of a metric `<part>_<what>`."""
    part, what = name.split("_", 1)
    known = {axis: metrics.get(f"{part}_{label}") for axis, label in LABELS.items()}
    if what in LABELS.values():
        return {next(axis for axis, label in LABELS.items() if label == what): None}
    compared = {"agent": known["agent"], "distribution": known["distribution"], "seed": None}
    of_method, rounds = {"agent": known["agent"], **SEEDS}, {**SEEDS, "training_round": None}
    axes: dict[str, dict[str, Any]] = {
        "course": {**compared, "round": None},
        "right": (compared if part == "bandit" else of_method) | {"round": None},
        "longer": ({"agent": LONGER, **SEEDS} if part == "bandit" else compared) | {"round": None},
        "never_best": compared,
        "min_fraction": compared,
        "gaussian": {"agent": LONGER[:3], "deviation": known["deviation"], **SEEDS},
        "reinforce_ends": {"rate": known["rate"]},
        "attacked": {"agent": LONGER[:2], **SEEDS},
        "others": {"network": known["network"], "distribution": known["distribution"], **SEEDS},
        "regret": {"variant": known["variant"], **SEEDS},
        "courses": {"share": known["share"], **SEEDS, "training_round": None},
        "start": SEEDS,
        **dict.fromkeys(("switch", "settled", "gap"), of_method),
        **dict.fromkeys(("rounds", "rounds_after", "rounds_reinforce"), rounds),
    }
    return axes.get(what, {})


if __name__ == "__main__":
    cli.command_line(PRESETS, main, __doc__)
