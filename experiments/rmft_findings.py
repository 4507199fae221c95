"""What the regret-minimisation study found, as rows of the claims table; paper 2's abstract first, then ours."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments import rmft_bandit_findings
from experiments.findings import below, ordered
from experiments.rmft_bandit_findings import PAPER
from experiments.rmft_study import Config
from jaxdm.statistics import exponent_fit


def claims(config: Config, metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All rows whose parts were studied."""
    command = f"python -m experiments.rmft {config.name}"
    rows = []
    for part, find in {
        "bandit": rmft_bandit_findings.claims,
        "drift": _drift,
        "online": _online,
        "solved": _solved,
    }.items():
        rows += find(config, metrics, command) if part in config.parts else []
    return rows + (_ablations(metrics, command) if "ablations" in config.parts else [])


def _drift(config: Config, metrics: Mapping[str, Any], command: str) -> list[dict[str, Any]]:
    final = dict(zip(metrics["drift_methods"], metrics["drift_course"][:, 0, :, -1], strict=True))
    waited = dict(zip(metrics["drift_methods"], metrics["drift_switch"], strict=True))
    window = min((x for name, x in final.items() if name.startswith("SW")), key=np.mean)
    pair = {"RMFT": final["RMFT"], "UCB1": final["UCB1"]}
    wait = {"RMFT": waited["RMFT"], "UCB1": waited["UCB1"]}
    return [
        ordered("RMFT-drift", PAPER, "Dynamic regret, switching means: RMFT < UCB1", pair, command),
        below("RMFT-window", "ours", "Dynamic regret over SW-UCB's, best window", final["RMFT"] / window, 1.2, command),
        ordered("RMFT-switch", "ours", "Rounds to the new best arm after a change: RMFT < UCB1", wait, command),
    ]


def _online(config: Config, metrics: Mapping[str, Any], command: str) -> list[dict[str, Any]]:
    rows = []
    for place in ("simplex", "ball"):
        methods, trained = list(metrics[f"{place}_methods"]), int(metrics[f"{place}_trained"])
        tuned = next(i for i, name in enumerate(methods) if name.endswith("tuned"))
        for horizon, what in (("course", "T"), ("longer", f"{config.stretch} T")):
            if f"{place}_{horizon}" not in metrics:
                continue
            course = metrics[f"{place}_{horizon}"][:, :trained]
            slopes = np.stack([[_slope(seed) for seed in law] for law in course[1]])
            steepest = slopes[int(np.argmax(slopes.mean(axis=-1)))]
            ratio = (course[1] / course[tuned])[..., -1]
            ratio = ratio[int(np.argmax(ratio.mean(axis=-1)))]
            where, id = f"{place}, {what}, worst training law", f"RMFT-{place}-{horizon}"
            rows.append(below(f"{id}-exponent", PAPER, f"Exponent of regret, {where}", steepest, 1.0, command))
            rows.append(below(id, "ours", f"Regret over {methods[tuned]}, {where}", ratio, 1.2, command))
    return rows


def _slope(course: np.ndarray) -> float:
    """Exponent of one seed's mean regret from an eighth of the rounds on; zero where it is not positive."""
    first = max(1, len(course) // 8)
    late = np.arange(first, len(course) + 1)
    values = course[first - 1 :]
    return exponent_fit(late, values).exponent if np.all(values > 0) else 0.0


def _solved(config: Config, metrics: Mapping[str, Any], command: str) -> list[dict[str, Any]]:
    gap = dict(zip(metrics["solved_methods"], metrics["solved_gap"], strict=True))
    tuned = {"after": gap["RMFT after SFT"], "SFT": gap["SFT"]}
    scratch = {"after": gap["RMFT from scratch"], "base": gap["round 0"]}
    statement = "Optimality gap, dark rooms: RMFT after SFT < SFT, without labels of actions"
    return [
        ordered("RMFT-after-SFT", "ours", statement, tuned, command),
        ordered("RMFT-scratch", "ours", "Optimality gap, dark rooms: RMFT from scratch < base", scratch, command),
    ]


def _ablations(metrics: Mapping[str, Any], command: str) -> list[dict[str, Any]]:
    regret = dict(zip(metrics["ablation_names"], metrics["ablation_regret"], strict=True))
    pair = {"half": regret["default"], "one of 16": regret["k/L = 0.0625"]}
    once = {"iterated": regret["default"], "one round": regret["one round"]}
    return [
        ordered("RMFT-trap", "ours", "Regret, three arms: k/L = 1/2 < 1/16, which rewards luck", pair, command),
        ordered(
            "RMFT-iterated", "ours", "Regret, three arms: iterated < one round, as many gradient steps", once, command
        ),
    ]
