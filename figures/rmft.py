"""What regret-minimisation fine-tuning gains: its rounds, regret over time, online learning, switches, and transfer."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures import style
from figures.style import Drawn
from jaxdm.analysis import storage


def draw(results: Path) -> list[Drawn]:
    """The figures of the newest stored run; metrics are named as the parts of `experiments.rmft` write them."""
    stored = [style.plain(result) for result in storage.read_results(results, "rmft")]
    if not stored:
        return []
    metrics, drawn = stored[-1].metrics, [training(stored[-1])]
    if "bandit_course" in metrics:
        drawn.append(regret(stored[-1]))
    if "bandit_longer" in metrics:
        drawn.append(transfer(stored[-1]))
    if "drift_course" in metrics:
        drawn.append(drift(stored[-1]))
    if "simplex_course" in metrics or "ball_course" in metrics:
        drawn.append(online(stored[-1]))
    if "ablation_regret" in metrics:
        drawn.append(switches(stored[-1]))
    return drawn


CURVES = {
    "bandit_rounds": ("bandits", "RMFT"),
    "bandit_rounds_reinforce": ("bandits", "REINFORCE"),
    "drift_rounds": ("drifting bandits", "RMFT"),
    "simplex_rounds": ("losses, simplex", "RMFT"),
    "ball_rounds": ("losses, ball", "RMFT"),
    "mdp_rounds": ("dark rooms", "RMFT"),
    "mdp_rounds_after": ("dark rooms", "RMFT after SFT"),
    "pomdp_rounds": ("moody rooms", "RMFT"),
    "pomdp_rounds_after": ("moody rooms", "RMFT after SFT"),
}


def training(result: style.Plain) -> Drawn:
    """Regret of the rollouts of every round, one panel a kind of world."""
    shown = {name: value for name, value in CURVES.items() if name in result.metrics}
    titles = list(dict.fromkeys(title for title, _ in shown.values()))
    lines = list(dict.fromkeys(line for _, line in CURVES.values()))
    figure, panels = style.panels(len(titles), width=style.PAGE, height=2.2)
    for name, (title, line) in shown.items():
        axes, course = panels[titles.index(title)], result.metrics[name]
        style.line(axes, np.arange(1, course.shape[1] + 1), course.T, line, lines.index(line), marked=False)
        axes.set(title=title, xlabel="round", ylim=(0, None))
    panels[0].set_ylabel("regret of the rollouts")
    handles = {
        label: handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=len(handles))
    caption = (
        "Mean regret of the rollouts of each round, exploration noise included. Look for curves that fall and stay "
        "down: each network learns from nothing but which of its own rollouts had least regret. Rooms: as a "
        f"share of what random play loses. Bands are 95 % intervals over seeds (result {result.path.name})."
    )
    return Drawn(name="rmft_training", figure=figure, caption=caption)


def regret(result: style.Plain) -> Drawn:
    """Regret against rounds on the training law and two standard tasks."""
    metrics = result.metrics
    methods, laws = [str(x) for x in metrics["bandit_methods"]], [str(x) for x in metrics["bandit_laws"]]
    course = metrics["bandit_course"]
    figure, panels = style.panels(3, width=style.PAGE, height=2.9)
    rounds = np.arange(1, course.shape[-1] + 1)
    for law, axes in enumerate(panels):
        for order, method in enumerate(methods):
            style.line(axes, rounds, course[order, law].T, method, order, marked=False)
        axes.set(title=laws[law], xlabel="round", ylim=(0, None))
    panels[0].set_ylabel("regret")
    style.legend_above(figure, panels[0])
    ours = methods.index("RMFT")
    never, least = metrics["bandit_never_best"][ours, 1].mean(), metrics["bandit_min_fraction"][ours, 1].mean()
    caption = (
        "Regret of bandit players against rounds, everyone in the same worlds with the same luck. Look at the "
        f"fine-tuned network beside UCB1 and Thompson. On the task of {laws[1]} it never plays the best arm in the "
        f"second half of {never:.1%} of the runs, and K times the share of its least tried arm is {least:.2f}. "
        f"Bands are 95 % intervals over seeds (result {result.path.name})."
    )
    return Drawn(name="rmft_regret", figure=figure, caption=caption)


def transfer(result: style.Plain) -> Drawn:
    """Before and after fine-tuning where it was not trained, as a share of UCB1's regret."""
    metrics = result.metrics
    methods, laws = [str(x) for x in metrics["bandit_methods"]], [str(x) for x in metrics["bandit_laws"]]
    final, longer = metrics["bandit_course"][..., -1], metrics["bandit_longer"]
    rival = methods.index("UCB1")
    pick = [methods.index(name) for name in ("round 0", "RMFT", "Thompson")]
    rows = {law: final[pick, q] / final[rival, q] for q, law in enumerate(laws)}
    last, span = longer.shape[-1], metrics["bandit_course"].shape[-1]
    for rounds in sorted({min(2 * span, last), last}):
        rows[f"training law, {rounds} rounds"] = longer[[0, 1, 3], :, rounds - 1] / longer[2, :, rounds - 1]
    gaussian = metrics["bandit_gaussian"]
    for q, deviation in enumerate(metrics["bandit_deviations"]):
        rows[f"Gaussian rewards, deviation {deviation:g}"] = gaussian[:2, q] / gaussian[2, q]
    figure, (axes,) = style.panels(1, width=style.PAGE, height=0.7 + 0.22 * len(rows))
    dots(
        axes,
        list(rows),
        [[row[i] for row in rows.values() if i < len(row)] for i in range(3)],
        ("before", "after", "Thompson"),
    )
    axes.axvline(1, color="black", linewidth=0.8, linestyle="--")
    axes.set(xlabel="regret as a share of UCB1's", xlim=(0, None))
    style.legend_above(figure, axes)
    caption = (
        "Before and after fine-tuning, in and out of the training law: other numbers of arms, other gaps, longer "
        f"horizons, Gaussian rewards. Rounds: {span} unless said otherwise. Left of the dashed line is better than "
        "UCB1. Look for rows where the step from before to after is small. Lines are 95 % intervals over seeds "
        f"(result {result.path.name})."
    )
    return Drawn(name="rmft_transfer", figure=figure, caption=caption)


def drift(result: style.Plain) -> Drawn:
    """Dynamic regret where means switch, and how soon the new best arm is played after a change."""
    metrics = result.metrics
    methods, course = [str(x) for x in metrics["drift_methods"]], metrics["drift_course"]
    figure, (left, right) = style.panels(2, width=style.PAGE, height=2.8)
    rounds = np.arange(1, course.shape[-1] + 1)
    for order, method in enumerate(methods):
        style.line(left, rounds, course[order, 0].T, method, order, marked=False)
        style.line(right, rounds, metrics["drift_right"][order].T, method, order, marked=False)
    left.set(title="means redrawn at random", xlabel="round", ylabel="dynamic regret", ylim=(0, None))
    right.set(title="one change, at half time", xlabel="round", ylabel="best arm played, share of runs", ylim=(0, 1))
    style.legend_above(figure, left)
    waited = dict(zip(methods, metrics["drift_switch"].mean(axis=-1), strict=True))
    settled = dict(zip(methods, metrics["drift_settled"].mean(axis=-1), strict=True))
    caption = (
        "Bandits whose means move. Left: dynamic regret on the training law. Right: one arm pays 0.9, and after "
        "half time another one: look at how fast each line comes back. Until the new best arm is first played "
        f"{style.listed([f'{name} waits {value:.1f} rounds' for name, value in waited.items()])}; until it is "
        f"played in four of five rounds, {style.listed([f'{name} {value:.1f}' for name, value in settled.items()])}. "
        f"Bands are 95 % intervals over seeds (result {result.path.name})."
    )
    return Drawn(name="rmft_drift", figure=figure, caption=caption)


def online(result: style.Plain) -> Drawn:
    """Final regret on every law of losses, on the simplex and on the ball, as far as they were studied."""
    metrics = result.metrics
    places = [place for place in ("simplex", "ball") if f"{place}_course" in metrics]
    laws = [[str(x).replace("_", " ") for x in metrics[f"{place}_laws"]] for place in places]
    figure = Figure(figsize=(style.PAGE, 1.0 + 0.26 * max(map(len, laws))), layout="constrained")
    panels = figure.subplots(1, len(places), squeeze=False)[0]
    for axes, place, names in zip(panels, places, laws, strict=True):
        final = metrics[f"{place}_course"][..., -1]
        trained = int(metrics[f"{place}_trained"])
        labels = [f"{name} *" if q < trained else name for q, name in enumerate(names)]
        methods = [
            str(x).replace("Hedge", "classical").replace("FTRL", "classical") for x in metrics[f"{place}_methods"]
        ]
        dots(axes, labels, list(final), methods)
        axes.set(title=place, xlabel=f"regret after {metrics[f'{place}_course'].shape[-1]} rounds")
        axes.set_xscale("symlog", linthresh=1)
    style.legend_above(figure, panels[0], columns=3)
    attacks = [
        f"{metrics[f'{place}_attacked'][1].mean():.1f} on the {place}"
        for place in places
        if f"{place}_attacked" in metrics
    ]
    found = f"Gradient ascent through the fine-tuned network finds losses that cost it {style.listed(attacks)}. "
    caption = (
        "Regret against the best fixed decision, on every law of losses; stars mark the laws of training. "
        "Classical: Hedge on the simplex and FTRL on the ball, each with its best rate for that law, chosen in "
        "other worlds. "
        "Look for laws where the fine-tuned network is right of it: it learnt to predict its training losses, and "
        "an adversary that reacts, or losses that alternate, need not be like them. "
        f"{found if attacks else ''}Lines are 95 % intervals over "
        f"seeds (result {result.path.name})."
    )
    return Drawn(name="rmft_online", figure=figure, caption=caption)


def switches(result: style.Plain) -> Drawn:
    """The share of rollouts kept, round by round; and every other switch."""
    metrics = result.metrics
    names, start = [str(x) for x in metrics["ablation_names"]], metrics["ablation_start"].mean()
    figure, (left, right) = style.panels(2, width=style.PAGE, height=3.0)
    for order, (share, course) in enumerate(zip(metrics["ablation_shares"], metrics["ablation_courses"], strict=True)):
        style.line(left, np.arange(1, course.shape[1] + 1), course.T, f"k/L = {share:g}", order, marked=False)
    left.set(xlabel="round of fine-tuning", ylabel="regret of the rollouts", ylim=(0, None))
    left.legend()
    dots(right, names, [metrics["ablation_regret"]], ["regret at the end"])
    right.axvline(start, color="black", linewidth=0.8, linestyle="--")
    right.set(xlabel="regret at the end", xlim=(0, None))
    same = "the same bits" if bool(metrics["ablation_identical"]) else "different bits"
    caption = (
        "Three arms with uniform means. Left: what share of the rollouts is kept. A small share rewards rollouts "
        "that happened to commit to the best arm: look for curves that fall and climb again. Right: each switch "
        "alone, beside the default (half of the rollouts of each scenario, shared luck); the dashed line is the "
        f"network at round 0. In online learning on shared losses, selection by regret and by reward train {same}. "
        f"Bands and lines are 95 % intervals over seeds (result {result.path.name})."
    )
    return Drawn(name="rmft_switches", figure=figure, caption=caption)


def dots(axes: Axes, rows: Sequence[str], values: Sequence[Any], names: Sequence[str]) -> None:
    """One row a name, first on top; one mark a competitor, with its interval over seeds.

    Args:
        axes: where to draw.
        rows: labels.
        values: of each competitor [rows, seeds]; one with fewer rows is drawn in the first ones.
        names: of the competitors.
    """
    for order, (name, value) in enumerate(zip(names, values, strict=True)):
        mean, low, high = style.seed_interval(np.asarray(value))
        place = np.arange(len(mean)) + 0.12 * (order - (len(names) - 1) / 2)
        colour, marker = style.PALETTE[order % 8], style.MARKERS[order % 7]
        axes.hlines(place, low, high, color=colour, linewidth=1.2)
        axes.plot(mean, place, color=colour, marker=marker, linestyle="", label=name)
    axes.set_yticks(np.arange(len(rows)), list(rows))
    axes.set_ylim(len(rows) - 0.4, -0.6)
