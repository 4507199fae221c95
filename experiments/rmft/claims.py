"""What the regret-minimisation study found, as rows of the claims table; paper 2's abstract first, then ours."""

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.rmft.config import Config
from experiments.rmft.decision_processes import KINDS
from experiments.rmft.online import USED
from jaxdm.analysis.claims import Claim, above, below, ordered, smaller
from jaxdm.analysis.statistics import exponent_fit
from jaxdm.models.agents import Decisions
from jaxdm.sft.data import Kind


def claims(config: Config, metrics: Mapping[str, Any]) -> list[Claim]:
    """All rows whose parts were studied."""
    rows = []
    for part, find in {
        "bandit": bandit_claims,
        "drift": _drift,
        "simplex": functools.partial(online_claims, place="simplex"),
        "ball": functools.partial(online_claims, place="ball"),
        **{kind: functools.partial(_solved, kind=kind) for kind in KINDS},
    }.items():
        rows += find(config, metrics) if part in config.parts else []
    return rows + (_ablations(metrics) if "ablations" in config.parts else [])


def _drift(config: Config, metrics: Mapping[str, Any]) -> list[Claim]:
    final = dict(zip(metrics["drift_methods"], metrics["drift_course"][:, 0, :, -1], strict=True))
    window = final["RMFT"] / final["SW-UCB, tuned"]
    rows = [
        smaller("RMFT-drift", "Dynamic regret, switching means: RMFT < UCB1", PAPER, final["RMFT"], final["UCB1"]),
        below("RMFT-window", "Dynamic regret over tuned SW-UCB's, switching means", "ours", window, 1.2),
    ]
    for id, name, what in (
        ("RMFT-switch", "drift_switch", "Rounds until the new best arm is first played after a change"),
        ("RMFT-settled", "drift_settled", "Rounds until it is played in 4 of 5 rounds after a change"),
    ):
        waited = dict(zip(metrics["drift_methods"], metrics[name], strict=True))
        rows.append(smaller(id, f"{what}: RMFT < UCB1", "ours", waited["RMFT"], waited["UCB1"]))
    return rows


def _solved(config: Config, metrics: Mapping[str, Any], kind: Kind) -> list[Claim]:
    gap = dict(zip(metrics[f"{kind}_methods"], metrics[f"{kind}_gap"], strict=True))
    tuned, scratch = gap["RMFT after SFT"], gap["RMFT from scratch"]
    after = f"Optimality gap, {kind.upper()}s: RMFT after SFT < SFT, no labels of actions"
    base = f"Optimality gap, {kind.upper()}s: RMFT from scratch < base"
    return [
        smaller(f"RMFT-after-SFT-{kind}", after, "ours", tuned, gap["SFT"]),
        smaller(f"RMFT-scratch-{kind}", base, "ours", scratch, gap["round 0"]),
    ]


def _ablations(metrics: Mapping[str, Any]) -> list[Claim]:
    regret = dict(zip(metrics["ablation_names"], metrics["ablation_regret"], strict=True))
    half, lucky = "Regret, three arms: k/L = 1/2 < 1/16, which rewards luck", regret["k/L = 0.0625"]
    once = "Regret, three arms: iterated < one round, as many gradient steps"
    return [
        smaller("RMFT-trap", half, "ours", regret["default"], lucky),
        smaller("RMFT-iterated", once, "ours", regret["default"], regret["one round"]),
    ]


PAPER = "paper 2, abstract (its sizes are not known; these are ours)"


def bandit_claims(config: Config, metrics: Mapping[str, Any]) -> list[Claim]:
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
        ordered("RMFT-bandit", f"Regret, training law: RMFT < UCB1 < base network, {shown}", PAPER, trio),
        below("RMFT-Thompson", "Regret over Thompson's, training law", "ours", thompson, 1.5),
    ]
    for q in (1, 2):
        never, least = (metrics[f"bandit_{name}"][ours, q] for name in ("never_best", "min_fraction"))
        regret, paper = f"Regret: RMFT < UCB1, {laws[q]}", "ours, on tasks of paper 2"
        rows += [
            smaller(f"RMFT-gap-{q}", regret, paper, tuned[q], final["UCB1"][q]),
            below(f"RMFT-explore-{q}", f"SuffFailFreq(T/2) of RMFT, {laws[q]}", PAPER, never, 0.05),
            above(f"RMFT-tries-{q}", f"K MinFrac of RMFT, {laws[q]}", "ours", least, 0.05),
        ]
    for rival in ("REINFORCE", "distilled UCB1"):
        if rival in final:
            steps = ", as many environment steps, its best rate" if rival == "REINFORCE" else ""
            statement = f"Regret, training law: RMFT < {rival}{steps}"
            rows.append(smaller(f"RMFT-{rival}", statement, "ours", tuned[0], final[rival][0]))
    return rows + (_elsewhere(config, metrics, tuned / before) if "bandit_longer" in metrics else [])


def _elsewhere(config: Config, metrics: Mapping[str, Any], ratio: np.ndarray) -> list[Claim]:
    """Before and after where the network was not trained; `ratio [Q, N]` is after over before."""
    before, after, rival = metrics["bandit_longer"][:3, :, -1]
    gaussian = metrics["bandit_gaussian"][1] / metrics["bandit_gaussian"][0]
    times, change = f"{config.stretch} T rounds", "Regret, after over before"
    return [
        smaller("RMFT-longer", f"Regret at {times}: RMFT < base", PAPER, after, before),
        smaller("RMFT-longer-UCB1", f"Regret at {times}: RMFT < UCB1", "ours", after, rival),
        below("RMFT-arms", f"{change}, K=3 or 6, the worse", PAPER, worst(ratio[3:5]), 1.0),
        below("RMFT-means", f"{change}, uniform means", PAPER, ratio[5], 1.0),
        below("RMFT-Gaussian", f"{change}, Gaussian rewards, the worse", PAPER, worst(gaussian), 1.0),
    ]


def online_claims(config: Config, metrics: Mapping[str, Any], place: Decisions) -> list[Claim]:
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
        rows.append(below(f"{id}-exponent", f"Exponent of regret, {where}", PAPER, worst(slopes), 1.0))
        rows.append(below(id, f"Regret over {methods[tuned]}, {where}", "ours", ratio, 1.2))
    if f"{place}_attacked" in metrics:
        rows += _further(config, metrics, place, methods[tuned], tuned)
    return rows


def _further(config: Config, metrics: Mapping[str, Any], place: str, rival: str, tuned: int) -> list[Claim]:
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
        below(f"{id}-d", f"Regret, after over before, {place}, {names}, the worse", PAPER, worst(change), 1.0),
        below(f"{id}-attacked", f"Regret on attacked losses over {promise}, {place}", "ours", attacked, 1.0),
    ]
    for name, regret in zip(metrics[f"{place}_other_networks"], metrics[f"{place}_others"], strict=True):
        trained = int(metrics[f"{place}_trained"])
        ratio = worst(regret[:trained] / final[tuned, :trained])
        statement = f"Regret over {rival}, {place}, T, worst training law, network: {name}"
        rows.append(below(f"{id}-{name}".replace(" ", "-"), statement, "ours", ratio, 1.2))
    return rows


def _slope(course: np.ndarray) -> float:
    """Exponent of one seed's mean regret from an eighth of the rounds on; zero where it is not positive."""
    first = max(1, len(course) // 8)
    late = np.arange(first, len(course) + 1)
    values = course[first - 1 :]
    return exponent_fit(late, values).exponent if np.all(values > 0) else 0.0


def worst(values: np.ndarray) -> np.ndarray:
    """The row of largest mean, [rows, N] to [N]."""
    return values[int(np.argmax(values.mean(axis=-1)))]
