"""What the regret-minimisation study found, as rows of the claims table; paper 2's abstract first, then ours."""

import functools
from collections.abc import Mapping
from typing import Any

from experiments import rmft_bandit_findings, rmft_online_findings
from experiments.findings import below, smaller
from experiments.rmft_bandit_findings import PAPER
from experiments.rmft_solved import KINDS
from experiments.rmft_study import Config
from experiments.sft_worlds import Kind


def claims(config: Config, metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All rows whose parts were studied."""
    command = f"python -m experiments.rmft {config.name}"
    rows = []
    for part, find in {
        "bandit": rmft_bandit_findings.claims,
        "drift": _drift,
        "simplex": functools.partial(rmft_online_findings.claims, place="simplex"),
        "ball": functools.partial(rmft_online_findings.claims, place="ball"),
        **{kind: functools.partial(_solved, kind=kind) for kind in KINDS},
    }.items():
        rows += find(config, metrics, command) if part in config.parts else []
    return rows + (_ablations(metrics, command) if "ablations" in config.parts else [])


def _drift(config: Config, metrics: Mapping[str, Any], command: str) -> list[dict[str, Any]]:
    final = dict(zip(metrics["drift_methods"], metrics["drift_course"][:, 0, :, -1], strict=True))
    window = final["RMFT"] / final["SW-UCB, tuned"]
    rows = [
        smaller(
            "RMFT-drift", PAPER, "Dynamic regret, switching means: RMFT < UCB1", final["RMFT"], final["UCB1"], command
        ),
        below("RMFT-window", "ours", "Dynamic regret over tuned SW-UCB's, switching means", window, 1.2, command),
    ]
    for id, name, what in (
        ("RMFT-switch", "drift_switch", "Rounds until the new best arm is first played after a change"),
        ("RMFT-settled", "drift_settled", "Rounds until it is played in 4 of 5 rounds after a change"),
    ):
        waited = dict(zip(metrics["drift_methods"], metrics[name], strict=True))
        rows.append(smaller(id, "ours", f"{what}: RMFT < UCB1", waited["RMFT"], waited["UCB1"], command))
    return rows


def _solved(config: Config, metrics: Mapping[str, Any], command: str, kind: Kind) -> list[dict[str, Any]]:
    gap = dict(zip(metrics[f"{kind}_methods"], metrics[f"{kind}_gap"], strict=True))
    tuned, scratch = gap["RMFT after SFT"], gap["RMFT from scratch"]
    after = f"Optimality gap, {kind.upper()}s: RMFT after SFT < SFT, no labels of actions"
    base = f"Optimality gap, {kind.upper()}s: RMFT from scratch < base"
    return [
        smaller(f"RMFT-after-SFT-{kind}", "ours", after, tuned, gap["SFT"], command),
        smaller(f"RMFT-scratch-{kind}", "ours", base, scratch, gap["round 0"], command),
    ]


def _ablations(metrics: Mapping[str, Any], command: str) -> list[dict[str, Any]]:
    regret = dict(zip(metrics["ablation_names"], metrics["ablation_regret"], strict=True))
    half, lucky = "Regret, three arms: k/L = 1/2 < 1/16, which rewards luck", regret["k/L = 0.0625"]
    once = "Regret, three arms: iterated < one round, as many gradient steps"
    return [
        smaller("RMFT-trap", "ours", half, regret["default"], lucky, command),
        smaller("RMFT-iterated", "ours", once, regret["default"], regret["one round"], command),
    ]
