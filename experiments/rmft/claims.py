"""What the regret-minimisation study found, as rows of the claims table; paper 2's abstract first, then ours."""

from collections.abc import Mapping

import numpy as np
import xarray as xr

from jaxdm.analysis.claims import Claim, above, below, ordered, smaller
from jaxdm.analysis.statistics import exponent_fit

PAPER = "paper 2, abstract (its sizes are not known; these are ours)"
"""Whose statement it is; the others are ours."""


def claims(metrics: Mapping[str, xr.DataArray]) -> list[Claim]:
    """Rows of all parts that were studied."""
    rows = []
    if "bandit_regret" in metrics:
        rows += bandit_claims(metrics)
    if "drift_regret" in metrics:
        rows += drift_claims(metrics)
    for decisions in ("simplex", "ball"):
        if f"{decisions}_regret" in metrics:
            rows += online_claims(metrics, decisions)
    for kind in ("mdp", "pomdp"):
        if f"{kind}_gap" in metrics:
            rows += decision_process_claims(metrics[f"{kind}_gap"], kind)
    return rows + (ablation_claims(metrics["ablation_regret"]) if "ablation_regret" in metrics else [])


def bandit_claims(metrics: Mapping[str, xr.DataArray]) -> list[Claim]:
    """Rows of the bandit part, on the training distribution and elsewhere."""
    regret = metrics["bandit_regret"]
    rounds, final = int(regret["round"][-1]), regret.isel(round=-1)
    trained = final.sel(distribution="training")
    training_rounds = metrics["bandit_training_regret"].sizes["training_round"]
    shown = (
        f"T={rounds} (training: {int(metrics['bandit_train_length'])}), {training_rounds} rounds of fine-tuning, "
        f"{float(metrics['bandit_seconds']):.0f} s in all"
    )
    three = {name: trained.sel(agent=name) for name in ("RMFT", "UCB1", "round 0")}
    ratio = three["RMFT"] / trained.sel(agent="Thompson")
    rows = [
        ordered("RMFT-bandit", f"Regret, training distribution: RMFT < UCB1 < base network, {shown}", PAPER, three),
        below("RMFT-Thompson", "Regret over Thompson's, training distribution", "ours", ratio, 1.5),
    ]
    for number, name in ((1, "K=5, gap 0.2"), (2, "K=4, gap 0.5")):
        here = {"agent": "RMFT", "distribution": name}
        ucb = final.sel(agent="UCB1", distribution=name)
        failures, least = (metrics[f"bandit_{what}"].sel(here) for what in ("suffix_failure", "min_fraction"))
        tasks = "ours, on tasks of paper 2"
        rows += [
            smaller(f"RMFT-gap-{number}", f"Regret: RMFT < UCB1, {name}", tasks, final.sel(here), ucb),
            below(f"RMFT-explore-{number}", f"SuffFailFreq(T/2) of RMFT, {name}", PAPER, failures, 0.05),
            above(f"RMFT-tries-{number}", f"K MinFrac of RMFT, {name}", "ours", least, 0.05),
        ]
    for baseline, condition in (("REINFORCE", ", as many environment steps, its best rate"), ("distilled UCB1", "")):
        if baseline in trained["agent"].values:
            statement = f"Regret, training distribution: RMFT < {baseline}{condition}"
            theirs = trained.sel(agent=baseline)
            rows.append(smaller(f"RMFT-{baseline}", statement, "ours", three["RMFT"], theirs))
    return rows + (transfer_claims(metrics) if "bandit_long_regret" in metrics else [])


def transfer_claims(metrics: Mapping[str, xr.DataArray]) -> list[Claim]:
    """Rows of bandits that the network was not trained on."""
    longer, rounds = metrics["bandit_long_regret"].isel(round=-1), metrics["bandit_regret"].sizes["round"]
    times = f"{longer['round'].item() // rounds} T rounds"
    after = longer.sel(agent="RMFT")
    ratio = after_over_before(metrics["bandit_regret"].isel(round=-1))
    gaussian = worst(after_over_before(metrics["bandit_gaussian_regret"]), "deviation")
    arms = worst(ratio.sel(distribution=["K=3, gap 0.4", "K=6, gap 0.4"]), "distribution")
    means = ratio.sel(distribution="uniform means, K=5")
    change = "Regret, after over before"
    return [
        smaller("RMFT-longer", f"Regret at {times}: RMFT < base", PAPER, after, longer.sel(agent="round 0")),
        smaller("RMFT-longer-UCB1", f"Regret at {times}: RMFT < UCB1", "ours", after, longer.sel(agent="UCB1")),
        below("RMFT-arms", f"{change}, K=3 or 6, the worse", PAPER, arms, 1.0),
        below("RMFT-means", f"{change}, uniform means", PAPER, means, 1.0),
        below("RMFT-Gaussian", f"{change}, Gaussian rewards, the worse", PAPER, gaussian, 1.0),
    ]


def drift_claims(metrics: Mapping[str, xr.DataArray]) -> list[Claim]:
    """Rows of the drifting bandits."""
    final = metrics["drift_regret"].sel(distribution="switching (training)").isel(round=-1)
    ours, ucb = final.sel(agent="RMFT"), final.sel(agent="UCB1")
    window = ours / final.sel(agent="SW-UCB, tuned")
    rows = [
        smaller("RMFT-drift", "Dynamic regret, switching means: RMFT < UCB1", PAPER, ours, ucb),
        below("RMFT-window", "Dynamic regret over tuned SW-UCB's, switching means", "ours", window, 1.2),
    ]
    for id, name, what in (
        ("RMFT-switch", "drift_first_play", "Rounds until the new optimal arm is first played after a switch"),
        ("RMFT-settled", "drift_settled", "Rounds until it is played in 4 of 5 rounds after a switch"),
    ):
        waiting = metrics[name]
        rows.append(smaller(id, f"{what}: RMFT < UCB1", "ours", waiting.sel(agent="RMFT"), waiting.sel(agent="UCB1")))
    return rows


def online_claims(metrics: Mapping[str, xr.DataArray], decisions: str) -> list[Claim]:
    """Rows of a decision set, at the trained horizon, beyond it, and elsewhere."""
    regret, trained = metrics[f"{decisions}_regret"], training_distributions(metrics[f"{decisions}_trained"])
    tuned = next(name for name in regret["agent"].values.tolist() if name.endswith("tuned"))
    rows = []
    for horizon, suffix in (("regret", ""), ("long_regret", "-longer")):
        if f"{decisions}_{horizon}" not in metrics:
            continue
        curves = metrics[f"{decisions}_{horizon}"].sel(distribution=trained)
        ours = curves.sel(agent="RMFT")
        slopes = xr.apply_ufunc(exponent, ours, input_core_dims=[["round"]], vectorize=True)
        ratio = (ours / curves.sel(agent=tuned)).isel(round=-1)
        times = curves.sizes["round"] // regret.sizes["round"]
        where = f"{decisions}, {'T' if times == 1 else f'{times} T'}, worst training distribution"
        id = f"RMFT-{decisions}{suffix}"
        exponents = worst(slopes, "distribution")
        rows.append(below(f"{id}-exponent", f"Exponent of regret, {where}", PAPER, exponents, 1.0))
        rows.append(below(id, f"Regret over {tuned}, {where}", "ours", worst(ratio, "distribution"), 1.2))
    if f"{decisions}_attacked_regret" in metrics:
        rows += further_online_claims(metrics, decisions, tuned)
    return rows


def further_online_claims(metrics: Mapping[str, xr.DataArray], decisions: str, tuned: str) -> list[Claim]:
    """Other dimensions, attacked, and networks of other shapes."""
    final = metrics[f"{decisions}_regret"].isel(round=-1)
    trained = training_distributions(metrics[f"{decisions}_trained"])
    sizes = [name for name in final["distribution"].values.tolist() if ", d=" in name]
    names = " or ".join(name.split(", ")[1] for name in sizes)
    change = worst(after_over_before(final.sel(distribution=sizes)), "distribution")
    attacked = metrics[f"{decisions}_attacked_regret"].sel(agent="RMFT") / float(metrics[f"{decisions}_guarantee"])
    learner = tuned.removesuffix(", tuned")
    bound = f"Regret on attacked losses over what {learner} guarantees for any losses, {decisions}"
    id = f"RMFT-{decisions}"
    rows = [
        below(f"{id}-d", f"Regret, after over before, {decisions}, {names}, the worse", PAPER, change, 1.0),
        below(f"{id}-attacked", bound, "ours", attacked, 1.0),
    ]
    if f"{decisions}_other_networks_regret" not in metrics:
        return rows
    others = metrics[f"{decisions}_other_networks_regret"]
    for name in others["network"].values.tolist():
        ratio = others.sel(network=name) / final.sel(agent=tuned)
        statement = f"Regret over {tuned}, {decisions}, T, worst training distribution, network: {name}"
        values = worst(ratio.sel(distribution=trained), "distribution")
        rows.append(below(f"{id}-{name}".replace(" ", "-"), statement, "ours", values, 1.2))
    return rows


def training_distributions(trained: xr.DataArray) -> list[str]:
    """Names of the distributions that are marked."""
    return trained["distribution"].values[trained.values].tolist()


def decision_process_claims(gap: xr.DataArray, kind: str) -> list[Claim]:
    """Rows of MDPs or POMDPs."""
    after = f"Optimality gap, {kind.upper()}s: RMFT after SFT < SFT, no labels of actions"
    base = f"Optimality gap, {kind.upper()}s: RMFT from scratch < base"
    tuned, scratch = gap.sel(agent="RMFT after SFT"), gap.sel(agent="RMFT from scratch")
    return [
        smaller(f"RMFT-after-SFT-{kind}", after, "ours", tuned, gap.sel(agent="SFT")),
        smaller(f"RMFT-scratch-{kind}", base, "ours", scratch, gap.sel(agent="round 0")),
    ]


def ablation_claims(regret: xr.DataArray) -> list[Claim]:
    """Rows of the ablations."""
    half = "Regret, three arms: k/L = 1/2 < 1/16, which selects lucky rollouts"
    once = "Regret, three arms: iterated < one round, as many gradient steps"
    default = regret.sel(variant="default")
    return [
        smaller("RMFT-trap", half, "ours", default, regret.sel(variant="k/L = 0.0625")),
        smaller("RMFT-iterated", once, "ours", default, regret.sel(variant="one round")),
    ]


def after_over_before(regret: xr.DataArray) -> xr.DataArray:
    """Regret of the fine-tuned network over that of the same network at round 0."""
    return regret.sel(agent="RMFT") / regret.sel(agent="round 0")


def worst(values: xr.DataArray, axis: str) -> xr.DataArray:
    """The entry of an axis with the largest mean over seeds, [N]."""
    return values.isel({axis: int(values.mean("seed").values.argmax())})


def exponent(regret: np.ndarray) -> float:
    """Exponent of one seed's mean regret [T] from an eighth of the rounds on; zero where it is not positive."""
    first = max(1, len(regret) // 8)
    late = np.arange(first, len(regret) + 1)
    values = regret[first - 1 :]
    return exponent_fit(late, values).exponent if np.all(values > 0) else 0.0
