"""What the regret-minimisation study found in online learning, as rows of the claims table."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.findings import below, worst
from experiments.rmft_bandit_findings import PAPER
from experiments.rmft_online_worlds import USED
from experiments.rmft_study import Config
from jaxdm.analysis.statistics import exponent_fit
from jaxdm.models.agents import Decisions


def claims(config: Config, metrics: Mapping[str, Any], command: str, place: Decisions) -> list[dict[str, Any]]:
    """Rows of a set of decisions, at the trained horizon, beyond it, and elsewhere."""
    rows = []
    methods, trained = list(metrics[f"{place}_methods"]), int(metrics[f"{place}_trained"])
    tuned = next(i for i, name in enumerate(methods) if name.endswith("tuned"))
    for horizon, what in (("course", "T"), ("longer", f"{config.stretch} T")):
        if f"{place}_{horizon}" not in metrics:
            continue
        course = metrics[f"{place}_{horizon}"][:, :trained]
        slopes = np.stack([[_slope(seed) for seed in law] for law in course[1]])
        ratio = worst((course[1] / course[tuned])[..., -1])
        where, id = f"{place}, {what}, worst training law", f"RMFT-{place}-{horizon}"
        rows.append(below(f"{id}-exponent", PAPER, f"Exponent of regret, {where}", worst(slopes), 1.0, command))
        rows.append(below(id, "ours", f"Regret over {methods[tuned]}, {where}", ratio, 1.2, command))
    if f"{place}_attacked" in metrics:
        rows += _further(config, metrics, place, methods[tuned], tuned, command)
    return rows


def _further(
    config: Config, metrics: Mapping[str, Any], place: str, rival: str, tuned: int, command: str
) -> list[dict[str, Any]]:
    """Other dimensions, attacked, and networks of other shapes."""
    final, laws = metrics[f"{place}_course"][..., -1], [str(name) for name in metrics[f"{place}_laws"]]
    sizes = [q for q, name in enumerate(laws) if ", d=" in name]
    names = " or ".join(laws[q].split(", ")[1] for q in sizes)
    change, rounds = final[1, sizes] / final[0, sizes], config.online_length
    guarantee = np.sqrt(rounds * np.log(USED["simplex"]) / 2) if place == "simplex" else np.sqrt(rounds)
    attacked = metrics[f"{place}_attacked"][1] / guarantee
    id = f"RMFT-{place}"
    promise = "its classical rival's guarantee for any sequence"
    rows = [
        below(f"{id}-d", PAPER, f"Regret, after over before, {place}, {names}, the worse", worst(change), 1.0, command),
        below(f"{id}-attacked", "ours", f"Regret on attacked losses over {promise}, {place}", attacked, 1.0, command),
    ]
    for name, regret in zip(metrics[f"{place}_other_networks"], metrics[f"{place}_others"], strict=True):
        trained = int(metrics[f"{place}_trained"])
        ratio = worst(regret[:trained] / final[tuned, :trained])
        statement = f"Regret over {rival}, {place}, T, worst training law, network: {name}"
        rows.append(below(f"{id}-{name}".replace(" ", "-"), "ours", statement, ratio, 1.2, command))
    return rows


def _slope(course: np.ndarray) -> float:
    """Exponent of one seed's mean regret from an eighth of the rounds on; zero where it is not positive."""
    first = max(1, len(course) // 8)
    late = np.arange(first, len(course) + 1)
    values = course[first - 1 :]
    return exponent_fit(late, values).exponent if np.all(values > 0) else 0.0
