"""What regret-minimisation fine-tuning gains: training, regret over time, transfer, online learning, ablations."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures import style
from figures.style import Drawn
from jaxdm.analysis.storage import Result


def draw(shown: Sequence[Result]) -> list[Drawn]:
    """The figures of the run that is shown; metrics are named as the parts of `experiments.rmft` write them."""
    if not shown:
        return []
    figures = {
        training: any(name.endswith("training_regret") for name in shown[-1].metrics),
        regret: "bandit_regret" in shown[-1].metrics,
        transfer: "bandit_long_regret" in shown[-1].metrics,
        drift: "drift_regret" in shown[-1].metrics,
        online: bool({"simplex_regret", "ball_regret"} & set(shown[-1].metrics)),
        ablations: "ablation_regret" in shown[-1].metrics,
    }
    return [figure(shown[-1]) for figure, studied in figures.items() if studied]


PARTS = {
    "bandit": "bandits",
    "drift": "drifting bandits",
    "simplex": "losses, simplex",
    "ball": "losses, ball",
    "mdp": "dark rooms",
    "pomdp": "hidden-mode rooms",
}
"""Parts of the study, and what their networks are trained on."""


def names(array: xr.DataArray, axis: str) -> list[str]:
    """The coordinates of an axis whose entries have names."""
    return [str(name) for name in array[axis].values]


def curve(axes: Axes, values: xr.DataArray, axis: str, label: str, order: int) -> None:
    """A mean over seeds along an axis, with its interval as a band."""
    style.line(axes, values[axis].values, values.transpose(axis, "seed").values, label, order, marked=False)


def training(result: Result) -> Drawn:
    """Regret of the rollouts of every round, one panel a kind of world."""
    shown = {part: f"{part}_training_regret" for part in PARTS if f"{part}_training_regret" in result.metrics}
    figure, panels = style.panels(len(shown), width=style.PAGE, height=2.2)
    lines = ["RMFT", "REINFORCE", "RMFT after SFT"]
    handles = {}
    for axes, (part, name) in zip(panels, shown.items(), strict=True):
        for method in names(result.metrics[name], "agent"):
            label = method.removesuffix(" from scratch")
            curve(axes, result.metrics[name].sel(agent=method), "training_round", label, lines.index(label))
        axes.set(title=PARTS[part], xlabel="round", ylim=(0, None))
        handles |= dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    panels[0].set_ylabel("regret of the rollouts")
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=len(handles))
    caption = (
        "Mean regret of the rollouts of each round, exploration noise included. Look for curves that fall and stay "
        "down: each network learns from nothing but which of its own rollouts had least regret. Rooms: as a "
        f"share of what random play loses. Bands are 95 % intervals over seeds (result {result.path.name})."
    )
    return Drawn(name="rmft_training", figure=figure, caption=caption)


def regret(result: Result) -> Drawn:
    """Regret against rounds on the training distribution and two standard tasks."""
    values = result.metrics["bandit_regret"]
    distributions = ("training", "K=5, gap 0.2", "K=4, gap 0.5")
    figure, panels = style.panels(len(distributions), width=style.PAGE, height=2.9)
    for axes, distribution in zip(panels, distributions, strict=True):
        for order, method in enumerate(names(values, "agent")):
            curve(axes, values.sel(distribution=distribution, agent=method), "round", method, order)
        axes.set(title=distribution, xlabel="round", ylim=(0, None))
    panels[0].set_ylabel("regret")
    style.legend_above(figure, panels[0])
    task = distributions[1]
    ours = {"agent": "RMFT", "distribution": task}
    failures = float(result.metrics["bandit_suffix_failure"].sel(ours).mean())
    least = float(result.metrics["bandit_min_fraction"].sel(ours).mean())
    caption = (
        "Cumulative regret of bandit players against rounds, all on the same instances with the same randomness. Look "
        f"at the fine-tuned network (RMFT) beside UCB1 and Thompson sampling. On the task {task} it never plays the "
        f"best arm in the second half of {failures:.1%} of the runs, and K times the share of its least tried arm is "
        f"{least:.2f}. Bands are 95 % intervals over seeds (result {result.path.name})."
    )
    return Drawn(name="rmft_regret", figure=figure, caption=caption)


def transfer(result: Result) -> Drawn:
    """Before and after fine-tuning where it was not trained, as a share of UCB1's regret."""
    regret, longer = result.metrics["bandit_regret"], result.metrics["bandit_long_regret"]
    gaussian = result.metrics["bandit_gaussian_regret"]
    span, last = int(regret["round"][-1]), int(longer["round"][-1])
    rows = {name: regret.sel(distribution=name).isel(round=-1) for name in names(regret, "distribution")}
    for rounds in sorted({min(2 * span, last), last}):
        rows[f"training, {rounds} rounds"] = longer.sel(round=rounds)
    for deviation in gaussian["deviation"].values:
        rows[f"Gaussian rewards, deviation {deviation:g}"] = gaussian.sel(deviation=deviation)
    figure, (axes,) = style.panels(1, width=style.PAGE, height=0.7 + 0.22 * len(rows))
    shown = {"round 0": "before", "RMFT": "after", "Thompson": "Thompson"}
    shares = []
    for method in shown:
        listed = [row for row in rows.values() if method in names(row, "agent")]  # all but the last rows
        shares.append([(row.sel(agent=method) / row.sel(agent="UCB1")).values for row in listed])
    dots(axes, list(rows), shares, list(shown.values()))
    axes.axvline(1, color="black", linewidth=0.8, linestyle="--")
    axes.set(xlabel="regret as a share of UCB1's", xlim=(0, None))
    style.legend_above(figure, axes)
    caption = (
        "Before and after fine-tuning, on the training distribution and elsewhere: other numbers of arms, other gaps, "
        f"longer horizons, Gaussian rewards. Rounds: {span} unless said otherwise. Left of the dashed line is better "
        "than UCB1. Look for rows where the step from before to after is small. Lines are 95 % intervals over seeds "
        f"(result {result.path.name})."
    )
    return Drawn(name="rmft_transfer", figure=figure, caption=caption)


def drift(result: Result) -> Drawn:
    """Dynamic regret where means switch, and how soon the new best arm is played after a switch."""
    values = result.metrics["drift_regret"].sel(distribution="switching (training)")
    optimal = result.metrics["drift_optimal_play"]
    figure, (left, right) = style.panels(2, width=style.PAGE, height=2.8)
    for order, method in enumerate(names(values, "agent")):
        curve(left, values.sel(agent=method), "round", method, order)
        curve(right, optimal.sel(agent=method), "round", method, order)
    left.set(title="means redrawn at random", xlabel="round", ylabel="dynamic regret", ylim=(0, None))
    right.set(title="one switch, at half time", xlabel="round", ylabel="best arm played, share of runs", ylim=(0, 1))
    style.legend_above(figure, left)
    first, settled = (result.metrics[name].mean("seed") for name in ("drift_first_play", "drift_settled"))
    waits = [f"{name} waits {float(first.sel(agent=name)):.1f} rounds" for name in names(first, "agent")]
    settles = [f"{name} {float(settled.sel(agent=name)):.1f}" for name in names(settled, "agent")]
    caption = (
        "Bandits whose means move. Left: dynamic regret on the training distribution. Right: one arm pays 0.9, and "
        "after half time another one: look at how fast each line comes back. Until the new best arm is first played "
        f"{style.listed(waits)}; until it is played in four of five rounds, {style.listed(settles)}. "
        f"Bands are 95 % intervals over seeds (result {result.path.name})."
    )
    return Drawn(name="rmft_drift", figure=figure, caption=caption)


def online(result: Result) -> Drawn:
    """Final regret on every distribution of losses, on the simplex and on the ball, as far as they were studied."""
    metrics = result.metrics
    sets = [name for name in ("simplex", "ball") if f"{name}_regret" in metrics]
    longest = max(metrics[f"{name}_regret"].sizes["distribution"] for name in sets)
    figure = Figure(figsize=(style.PAGE, 1.0 + 0.26 * longest), layout="constrained")
    panels = figure.subplots(1, len(sets), squeeze=False)[0]
    for axes, decisions in zip(panels, sets, strict=True):
        final, trained = metrics[f"{decisions}_regret"].isel(round=-1), metrics[f"{decisions}_trained"]
        labels = [
            f"{name.replace('_', ' ')}{' *' if bool(trained.sel(distribution=name)) else ''}"
            for name in names(final, "distribution")
        ]
        methods = [name.replace("Hedge", "classical").replace("FTRL", "classical") for name in names(final, "agent")]
        dots(axes, labels, list(final.transpose("agent", "distribution", "seed").values), methods)
        axes.set(title=decisions, xlabel=f"regret after {int(final['round'])} rounds")
        axes.set_xscale("symlog", linthresh=1)
    style.legend_above(figure, panels[0], columns=3)
    attacks = [
        f"{float(metrics[f'{name}_attacked_regret'].sel(agent='RMFT').mean()):.1f} on the {name}"
        for name in sets
        if f"{name}_attacked_regret" in metrics
    ]
    found = f"Gradient ascent through the fine-tuned network finds losses that cost it {style.listed(attacks)}. "
    caption = (
        "Regret against the best fixed decision, on every distribution of losses; stars mark those of training. "
        "Classical: Hedge on the simplex and FTRL on the ball, each with its best rate for that distribution, tuned in "
        "other episodes. "
        "Look for distributions where the fine-tuned network is right of it: it learnt to predict its training losses, "
        "and an adaptive adversary, or losses that alternate, need not be like them. "
        f"{found if attacks else ''}Lines are 95 % intervals over "
        f"seeds (result {result.path.name})."
    )
    return Drawn(name="rmft_online", figure=figure, caption=caption)


def ablations(result: Result) -> Drawn:
    """The share of rollouts selected, round by round; and every other choice."""
    metrics = result.metrics
    curves, final = metrics["ablation_training_regret"], metrics["ablation_regret"]
    figure, (left, right) = style.panels(2, width=style.PAGE, height=3.0)
    for order, share in enumerate(curves["share"].values):
        curve(left, curves.sel(share=share), "training_round", f"k/L = {share:g}", order)
    left.set(xlabel="round of fine-tuning", ylabel="regret of the rollouts", ylim=(0, None))
    left.legend()
    dots(right, names(final, "variant"), [final.transpose("variant", "seed").values], ["regret at the end"])
    initial = float(metrics["ablation_initial_regret"].mean())
    right.axvline(initial, color="black", linewidth=0.8, linestyle="--")
    right.set(xlabel="regret at the end", xlim=(0, None))
    same = "the same bits" if bool(metrics["ablation_identical"]) else "different bits"
    caption = (
        "Three arms with uniform means. Left: what share of the rollouts is selected. A small share selects rollouts "
        "that happened to commit to the best arm: look for curves that fall and climb again. Right: each choice "
        "alone, beside the default (half of the rollouts of each scenario, shared sequences); the dashed line is the "
        f"network at round 0. In online learning on shared losses, selection by regret and by reward train {same}. "
        f"Bands and lines are 95 % intervals over seeds (result {result.path.name})."
    )
    return Drawn(name="rmft_ablations", figure=figure, caption=caption)


def dots(axes: Axes, rows: Sequence[str], values: Sequence[np.ndarray | list], methods: Sequence[str]) -> None:
    """One row a name, first on top; one mark a method, with its interval over seeds.

    Args:
        axes: where to draw.
        rows: labels.
        values: of each method [rows, seeds]; one with fewer rows is drawn in the first ones.
        methods: their names.
    """
    for order, (name, value) in enumerate(zip(methods, values, strict=True)):
        mean, low, high = style.seed_interval(np.asarray(value))
        place = np.arange(len(mean)) + 0.12 * (order - (len(methods) - 1) / 2)
        colour, marker = style.PALETTE[order % 8], style.MARKERS[order % 7]
        axes.hlines(place, low, high, color=colour, linewidth=1.2)
        axes.plot(mean, place, color=colour, marker=marker, linestyle="", label=name)
        style.say_if_single(axes, value)
    axes.set_yticks(np.arange(len(rows)), list(rows))
    axes.set_ylim(len(rows) - 0.4, -0.6)
