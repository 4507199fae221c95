"""What the regret-minimisation study found, as rows of the claims table; paper 2's abstract first, then ours."""

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.findings import above, below, ordered, smaller, worst
from experiments.rmft.config import Config
from experiments.rmft.decision_processes import KINDS
from experiments.rmft.online import USED
from jaxdm.analysis.statistics import exponent_fit
from jaxdm.models.agents import Decisions
from jaxdm.sft.data import Kind


def claims(config: Config, metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All rows whose parts were studied."""
    command = f"python -m experiments.rmft {config.name}"
    rows = []
    for part, find in {
        "bandit": bandit_claims,
        "drift": _drift,
        "simplex": functools.partial(online_claims, place="simplex"),
        "ball": functools.partial(online_claims, place="ball"),
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


PAPER = "paper 2, abstract (its sizes are not known; these are ours)"


def bandit_claims(config: Config, metrics: Mapping[str, Any], command: str) -> list[dict[str, Any]]:
    """Rows of the bandit part, in training and elsewhere."""
    methods, laws = list(metrics["bandit_methods"]), list(metrics["bandit_laws"])
    final = {name: metrics["bandit_course"][i, :, :, -1] for i, name in enumerate(methods)}
    seconds = float(metrics["bandit_seconds"])
    shown = (
        f"T={config.length} (training: {config.train_length}), {config.bandit.rounds} rounds, {seconds:.0f} s in all"
    )
    tuned, before, ours = final["RMFT"], final["round 0"], methods.index("RMFT")
    thompson = tuned[0] / final["Thompson"][0]
    trio = {"RMFT": tuned[0], "UCB1": final["UCB1"][0], "round 0": before[0]}
    rows = [
        ordered("RMFT-bandit", PAPER, f"Regret, training law: RMFT < UCB1 < base network, {shown}", trio, command),
        below("RMFT-Thompson", "ours", "Regret over Thompson's, training law", thompson, 1.5, command),
    ]
    for q in (1, 2):
        never, least = (metrics[f"bandit_{name}"][ours, q] for name in ("never_best", "min_fraction"))
        regret, paper = f"Regret: RMFT < UCB1, {laws[q]}", "ours, on tasks of paper 2"
        rows += [
            smaller(f"RMFT-gap-{q}", paper, regret, tuned[q], final["UCB1"][q], command),
            below(f"RMFT-explore-{q}", PAPER, f"SuffFailFreq(T/2) of RMFT, {laws[q]}", never, 0.05, command),
            above(f"RMFT-tries-{q}", "ours", f"K MinFrac of RMFT, {laws[q]}", least, 0.05, command),
        ]
    for rival in ("REINFORCE", "distilled UCB1"):
        if rival in final:
            steps = ", as many environment steps, its best rate" if rival == "REINFORCE" else ""
            statement = f"Regret, training law: RMFT < {rival}{steps}"
            rows.append(smaller(f"RMFT-{rival}", "ours", statement, tuned[0], final[rival][0], command))
    return rows + (_elsewhere(config, metrics, tuned / before, command) if "bandit_longer" in metrics else [])


def _elsewhere(config: Config, metrics: Mapping[str, Any], ratio: np.ndarray, command: str) -> list[dict[str, Any]]:
    """Before and after where the network was not trained; `ratio [Q, N]` is after over before."""
    before, after, rival = metrics["bandit_longer"][:3, :, -1]
    gaussian = metrics["bandit_gaussian"][1] / metrics["bandit_gaussian"][0]
    times, change = f"{config.stretch} T rounds", "Regret, after over before"
    return [
        smaller("RMFT-longer", PAPER, f"Regret at {times}: RMFT < base", after, before, command),
        smaller("RMFT-longer-UCB1", "ours", f"Regret at {times}: RMFT < UCB1", after, rival, command),
        below("RMFT-arms", PAPER, f"{change}, K=3 or 6, the worse", worst(ratio[3:5]), 1.0, command),
        below("RMFT-means", PAPER, f"{change}, uniform means", ratio[5], 1.0, command),
        below("RMFT-Gaussian", PAPER, f"{change}, Gaussian rewards, the worse", worst(gaussian), 1.0, command),
    ]


def online_claims(config: Config, metrics: Mapping[str, Any], command: str, place: Decisions) -> list[dict[str, Any]]:
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
