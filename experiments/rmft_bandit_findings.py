"""What the regret-minimisation study found on bandits, as rows of the claims table."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.findings import above, below, ordered, smaller, worst
from experiments.rmft_study import Config

PAPER = "paper 2, abstract (its sizes are not known; these are ours)"


def claims(config: Config, metrics: Mapping[str, Any], command: str) -> list[dict[str, Any]]:
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
