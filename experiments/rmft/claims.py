"""What the regret-minimisation study found, as rows of the claims table; paper 2's abstract first, then ours."""

from collections.abc import Mapping

import numpy as np
import xarray as xr

from experiments.rmft.distributions import STATIONARY
from jaxdm.analysis.claims import Claim, above, below, smaller
from jaxdm.analysis.statistics import exponent_fit, linear_part

PAPER = "paper 2, abstract (its sizes are not known; these are ours)"
"""Whose statement it is; the others are ours."""


def claims(metrics: Mapping[str, xr.DataArray]) -> list[Claim]:
    """Rows of all parts that were studied."""
    rows = []
    if "bandit_regret" in metrics:
        rows += bandit_claims(metrics)
    if "selection_regret" in metrics:
        rows += selection_claims(metrics)
    if "drift_regret" in metrics:
        rows += drift_claims(metrics)
    for decisions in ("simplex", "ball"):
        if f"{decisions}_regret" in metrics:
            rows += online_claims(metrics, decisions)
    rows += no_regret_claims(metrics)
    for kind in ("mdp", "pomdp"):
        if f"{kind}_gap" in metrics:
            rows += decision_process_claims(metrics[f"{kind}_gap"], kind)
    return rows + (ablation_claims(metrics["ablation_regret"]) if "ablation_regret" in metrics else [])


def bandit_claims(metrics: Mapping[str, xr.DataArray]) -> list[Claim]:
    """Rows of the bandit part at the horizon T: before and after, on every distribution."""
    regret = metrics["bandit_regret"].isel(round=-1)
    rounds = metrics["bandit_regret"].sizes["round"]
    failures = half_time(metrics["bandit_suffix_failure"])
    fractions = metrics["bandit_min_fraction"].isel(round=-1)
    hard = {"distribution": "K=5, gap 0.2"}
    training = regret.sel(distribution="training")
    shown = (
        f"T={rounds} (training: {int(metrics['bandit_train_length'])}), "
        f"{metrics['bandit_training_regret'].sizes['training_round']} rounds of fine-tuning, "
        f"{float(metrics['bandit_seconds']):.0f} s in all"
    )
    before, after = ({"agent": agent, **hard} for agent in ("base", "RMFT"))
    rows = [
        smaller(
            "RMFT-regret",
            f"Regret, training distribution: RMFT < the base that struggles, {shown}",
            PAPER,
            training.sel(agent="RMFT"),
            training.sel(agent="base"),
        ),
        smaller(
            "RMFT-suffix",
            "SuffFailFreq(T/2), K=5, gap 0.2: RMFT < the base that struggles",
            PAPER,
            failures.sel(after),
            failures.sel(before),
        ),
        above(
            "RMFT-tries",
            "K MinFrac(T), K=5, gap 0.2, after less before",
            PAPER,
            fractions.sel(after) - fractions.sel(before),
            0.0,
        ),
        below("RMFT-gives-up", "SuffFailFreq(T/2) of RMFT, K=5, gap 0.2", "ours", failures.sel(after), 0.02),
    ]
    for base, agent, id in (("base", "RMFT", ""), ("random weights", "RMFT from random weights", "-random")):
        for name in sorted(regret["distribution"].values.tolist()):
            ratio = regret.sel(agent=agent, distribution=name) / regret.sel(agent=base, distribution=name)
            rows.append(below(f"RMFT{id}-{name}", f"Regret, after over before ({base}), {name}", PAPER, ratio, 1.0))
    if "bandit_long_regret" not in metrics:
        return rows
    return rows + comparison_claims(metrics) + transfer_claims(metrics)


def comparison_claims(metrics: Mapping[str, xr.DataArray]) -> list[Claim]:
    """Rows of the fine-tuned network beside tuned classical players, and beside networks trained otherwise."""
    rows = []
    for horizon, suffix, rounds in (("bandit_", "", "T"), ("bandit_long_", "-longer", "the longest horizon")):
        final = metrics[f"{horizon}regret"].isel(round=-1)
        ratio = final.sel(agent="RMFT") / final.sel(agent="best classical")
        stationary = [name for name in STATIONARY if name in final["distribution"].values.tolist()]
        statement = f"Regret over the best tuned classical player's at {rounds}, Bernoulli, stationary, the worst"
        row = below(
            f"RMFT-classical{suffix}", statement, "ours", worst(ratio.sel(distribution=stationary), "distribution"), 1.2
        )
        rows.append(row._replace(note=worst_named(ratio.sel(distribution=stationary), "distribution")))
        for name in sorted(ratio["distribution"].values.tolist()):
            statement = f"Regret over the best tuned classical player's at {rounds}, {name}"
            values = ratio.sel(distribution=name)
            rows.append(below(f"RMFT-classical{suffix}-{name}", statement, "ours", values, 1.2))
    trained = metrics["bandit_regret"].isel(round=-1).sel(distribution="training")
    gradient = trained.sel(agent=["REINFORCE", "PPO"])
    better = gradient.isel(agent=int(gradient.mean("seed").values.argmin()))
    effort = "as many environment steps and tuning runs"
    statement = f"Regret, training distribution: RMFT < the better of REINFORCE and PPO, {effort}"
    ours = trained.sel(agent="RMFT")
    row = smaller("RMFT-gradient", statement, "ours", ours, better)
    rows.append(row._replace(note=f"The better of the two is {better['agent'].values!s}."))
    for name in ("distilled UCB", "distilled Thompson", "optimal-arm labels"):
        statement = f"Regret, training distribution: RMFT < {name}"
        rows.append(smaller(f"RMFT-{name}", statement, "ours", ours, trained.sel(agent=name)))
    return rows


def transfer_claims(metrics: Mapping[str, xr.DataArray]) -> list[Claim]:
    """Rows of horizons and rewards that the network was not trained on."""
    longer = metrics["bandit_long_regret"].isel(round=-1)
    here, there = longer.sel(distribution="training"), metrics["bandit_regret"].isel(round=-1)
    times = f"{metrics['bandit_long_regret'].sizes['round'] // metrics['bandit_regret'].sizes['round']} T"
    gaussian = metrics["bandit_gaussian_regret"].isel(round=-1)
    other = [name for name in there["distribution"].values.tolist() if name != "training"]
    ratios = xr.concat(
        [over_base(values) for values in (there.sel(distribution=other), gaussian)], "distribution", join="outer"
    )
    statement = f"Regret at {times}, training distribution: RMFT < the base that struggles"
    rows = [
        smaller("RMFT-longer", statement, PAPER, here.sel(agent="RMFT"), here.sel(agent="base")),
        below(
            "RMFT-elsewhere",
            "Regret, after over before, the worst distribution that was not trained on: arms, gaps, means, drift, "
            "Gaussian rewards",
            PAPER,
            worst(ratios, "distribution"),
            1.0,
        )._replace(note=worst_named(ratios, "distribution")),
    ]
    for name in sorted(gaussian["distribution"].values.tolist()):
        values = over_base(gaussian.sel(distribution=name))
        rows.append(below(f"RMFT-{name}", f"Regret, after over before, {name}", PAPER, values, 1.0))
    return rows


def over_base(regret: xr.DataArray) -> xr.DataArray:
    """Regret of the fine-tuned network over that of the base that struggles."""
    return regret.sel(agent="RMFT", drop=True) / regret.sel(agent="base", drop=True)


def half_time(curve: xr.DataArray) -> xr.DataArray:
    """A curve at round T/2, counted from 0."""
    return curve.isel(round=curve.sizes["round"] // 2)


def selection_claims(metrics: Mapping[str, xr.DataArray]) -> list[Claim]:
    """Rows of the share of rollouts that is kept: the threshold 1 / K, and the default."""
    regret = metrics["selection_regret"]
    share = regret["share"]
    rows, below_all, above_all = [], [], []
    for arms in regret["arms"].values.tolist():
        curve = regret.sel(arms=arms)
        default = float(metrics["selection_default"].sel(arms=arms))
        near = curve.sel(share=default, method="nearest")
        best = curve.min("share")
        statement = f"Regret at the share k/L = {default:.2f} of theory less that at the best share, K={arms}"
        rows.append(below(f"RMFT-share-{arms}", f"{statement}, of uniform play's", "ours", near - best, 0.05))
        low, high = curve.where(share < 1 / arms, drop=True), curve.where(share > 1 / arms, drop=True)
        if low.sizes["share"] and high.sizes["share"]:
            below_all.append(low.mean("share"))
            above_all.append(high.sel(share=default, method="nearest", drop=True))
    if below_all:
        statement = "Regret of uniform play's, mean over K: the share of theory < shares below 1/K"
        rows.append(
            smaller(
                "RMFT-threshold",
                statement,
                "ours",
                np.mean([one.values for one in above_all], axis=0),
                np.mean([one.values for one in below_all], axis=0),
            )
        )
    return rows


def drift_claims(metrics: Mapping[str, xr.DataArray]) -> list[Claim]:
    """Rows of the drifting bandits."""
    final = metrics["drift_regret"].sel(distribution="switching (training)").isel(round=-1)
    ours, ucb = final.sel(agent="RMFT"), final.sel(agent="UCB")
    rows = [smaller("RMFT-drift", "Dynamic regret, switching means: RMFT < tuned UCB", PAPER, ours, ucb)]
    every = metrics["drift_regret"].isel(round=-1)
    for name in sorted(every["distribution"].values.tolist()):
        here = every.sel(distribution=name)
        statement = f"Dynamic regret over the best tuned classical player's, {name}"
        ratio = here.sel(agent="RMFT") / here.sel(agent="best classical")
        rows.append(below(f"RMFT-drift-{name}", statement, "ours", ratio, 1.2))
    for id, name, what in (
        ("RMFT-switch", "drift_first_play", "Rounds until the new optimal arm is first played after a switch"),
        ("RMFT-settled", "drift_settled", "Rounds until it is played in 4 of 5 rounds after a switch"),
    ):
        waiting = metrics[name]
        theirs = waiting.sel(agent="UCB")
        rows.append(smaller(id, f"{what}: RMFT < tuned UCB", "ours", waiting.sel(agent="RMFT"), theirs))
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
    """Other dimensions, every distribution at the longest horizon, attacks, and networks of other shapes."""
    final = metrics[f"{decisions}_regret"].isel(round=-1)
    sizes = [name for name in final["distribution"].values.tolist() if ", d=" in name]
    names = " or ".join(name.split(", ")[1] for name in sizes)
    after = final.sel(distribution=sizes, agent="RMFT") / final.sel(distribution=sizes, agent="round 0")
    change = worst(after, "distribution")
    id, hardened = f"RMFT-{decisions}", "RMFT against attacks"
    rows = [below(f"{id}-d", f"Regret, after over before, {decisions}, {names}, the worse", PAPER, change, 1.0)]
    shapes = {
        name.removeprefix(f"{decisions}_long_regret").strip("_").replace("_", " "): name
        for name in metrics
        if name.startswith(f"{decisions}_long_regret")
    }
    for shape, name in shapes.items():
        regret, attacks = metrics[name], metrics[name.replace("long", "attacked")]
        where, tag = f"{decisions}{f', {shape}' * bool(shape)}", f"{id}{f'-{shape}' * bool(shape)}"
        for agent in ("RMFT", hardened, "RMFT, squared regret", tuned, "follow the leader"):
            rows += growth_claims(regret, agent, f"{tag}-{agent}", f"{agent}, {where}")
        ratio = attacks.sel(agent=hardened).isel(horizon=-1) / attacks.sel(agent=hardened).isel(horizon=-2)
        statement = f"Regret attacked, at the longest horizon over half of it (sqrt 2 or 2), {hardened}, {where}"
        rows.append(below(f"{tag}-doubling", statement, "ours", ratio, 1.6))
    return rows


def growth_claims(regret: xr.DataArray, agent: str, id: str, where: str) -> list[Claim]:
    """The verdict on one learner for every distribution: what part of its regret is linear in the rounds."""
    rounds = regret["round"].values
    late = rounds >= max(2, rounds[-1] // 8)
    rows = []
    for name in sorted(regret["distribution"].values.tolist()):
        curves = regret.sel(agent=agent, distribution=name).transpose("seed", "round").values[:, late]
        parts = linear_part(rounds[late], curves, "sqrt")
        statement = f"Linear part of regret, loss a round: {where}, {name}"
        rows.append(below(f"{id}-{name}-linear", statement, "ours", parts, 0.01))
    return rows


def no_regret_claims(metrics: Mapping[str, xr.DataArray]) -> list[Claim]:
    """What both decision sets say together of the network that was fine-tuned against attacks, single softmax layer."""
    hardened, ratios, doublings = "RMFT against attacks", {}, {}
    for decisions in ("simplex", "ball"):
        if f"{decisions}_long_regret" not in metrics:
            return []
        regret = metrics[f"{decisions}_long_regret"].isel(round=-1)
        tuned = next(name for name in regret["agent"].values.tolist() if name.endswith("tuned"))
        laws = [name for name in regret["distribution"].values.tolist() if name != "adaptive adversary"]
        ratio = (regret.sel(agent=hardened) / regret.sel(agent=tuned)).sel(distribution=laws)
        ratios[f"{decisions}. {worst_named(ratio, 'distribution')}"] = worst(ratio, "distribution")
        attacks = metrics[f"{decisions}_attacked_regret"].sel(agent=hardened)
        doublings[f"{decisions}."] = attacks.isel(horizon=-1) / attacks.isel(horizon=-2)
    largest = [max(values.items(), key=lambda one: float(one[1].mean())) for values in (ratios, doublings)]
    statement = f"Regret over the tuned classical learner's at the longest horizon, {hardened}, the worst of all"
    return [
        below("RMFT-online", f"{statement} laws that do not react", PAPER, largest[0][1], 1.2)._replace(
            note=f"The worse set is the {largest[0][0]}"
        ),
        below(
            "RMFT-attacked",
            f"Regret attacked, at the longest horizon over half of it (sqrt 2 or 2), {hardened}, the worse set",
            PAPER,
            largest[1][1],
            1.6,
        )._replace(note=f"The worse set is the {largest[1][0]}"),
    ]


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
    once = "Regret, three arms: iterated < one round, as many gradient steps"
    default = regret.sel(variant="default")
    return [
        smaller("RMFT-iterated", once, "ours", default, regret.sel(variant="one round")),
    ]


def worst(values: xr.DataArray, axis: str) -> xr.DataArray:
    """The entry of an axis with the largest mean over seeds, [N]."""
    return values.isel({axis: int(values.mean("seed").values.argmax())})


def worst_named(values: xr.DataArray, axis: str) -> str:
    """A sentence that names the entry of `worst`, and all entries whose mean is above one."""
    means = values.mean("seed")
    others = [str(name) for name in means[axis].values[means.values > 1]]
    return f"The worst is {means[axis].values[int(means.values.argmax())]}; above 1: {', '.join(others) or 'none'}."


def exponent(regret: np.ndarray) -> float:
    """Exponent of one seed's mean regret [T] from an eighth of the rounds on; zero where it is not positive."""
    first = max(1, len(regret) // 8)
    late = np.arange(first, len(regret) + 1)
    values = regret[first - 1 :]
    return exponent_fit(late, values).exponent if np.all(values > 0) else 0.0
