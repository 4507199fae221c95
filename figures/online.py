"""Regret of full-information learners: on every law of losses, and the worst that gradient attacks found."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from figures import style
from figures.style import Drawn
from jaxdm.analysis import storage

COLUMNS = 4
"""Panels side by side."""


def draw(results: Path) -> list[Drawn]:
    """The figures of the newest stored run; metrics are named as `experiments.online` writes them.

    `rounds [T]`, per arena `learners_<arena> [L]`, `laws_<arena> [W]`, `regret_<arena> [L, W, seeds, T]`; of attacks
    `horizons [H]`, `attack_learners [A]`, `attack_regret [A, seeds, H]`, `attack_progress [A, H, steps]`,
    `attack_bound [A, H]` with NaN where there is none, and `attack_exponent [A, 3]`.
    """
    stored = [style.plain(result) for result in storage.read_results(results, "online")]
    if not stored:
        return []
    return [courses(stored[-1], "simplex"), courses(stored[-1], "ball"), attack(stored[-1])]


def courses(result: style.Plain, arena: str) -> Drawn:
    """Regret against rounds, one panel a law, with seed intervals and a line of slope one half."""
    learners, kinds = ([str(name) for name in result.metrics[f"{what}_{arena}"]] for what in ("learners", "laws"))
    colours = [str(name) for name in result.metrics["learners_simplex"]]  # a learner keeps its colour on the ball
    rounds, regret = result.metrics["rounds"], result.metrics[f"regret_{arena}"]
    shown = np.unique(np.geomspace(1, len(rounds), 60).astype(int)) - 1
    rows = -(-len(kinds) // COLUMNS)
    figure = Figure(figsize=(style.PAGE, 0.6 + 1.5 * rows), layout="constrained")
    grid = figure.subplots(rows, COLUMNS, sharex=True, sharey=True, squeeze=False)
    for index, axes in enumerate(grid.ravel()):
        if index >= len(kinds):
            axes.remove()
            continue
        axes.plot(
            rounds[shown], np.sqrt(rounds[shown]), color="#8c8c8c", linestyle=":", linewidth=1, label="$\\sqrt{t}$"
        )
        for order, learner in enumerate(learners):
            style.line(
                axes, rounds[shown], regret[order, index][:, shown].T, learner, colours.index(learner), marked=False
            )
        axes.set_xscale("log", base=2)
        axes.set_yscale("symlog", linthresh=1)
        axes.set_title(kinds[index].replace("_", " "))
    figure.supxlabel("round t", fontsize=8)
    figure.supylabel("external regret", fontsize=8)
    style.legend_above(figure, grid[0, 0])
    end = regret[..., -1].mean(axis=-1)
    learner, kind = np.unravel_index(np.argmax(end), end.shape)
    worst = f"{learners[learner]} on {kinds[kind].replace('_', ' ')} losses, {end[learner, kind]:.1f}"
    caption = (
        f"Regret against rounds on the {arena}, one panel a law of losses; the dotted line is the square root of t, "
        "and the vertical scale is linear below 1. Look for lines steeper than it: there the learner does not learn. "
        f"The largest regret after {rounds[-1]} rounds is that of {worst}. In the last panel the adversary sees each "
        "decision before it answers, also the random ones, against which no guarantee holds. Lines are means over "
        f"{regret.shape[2]} seeds, bands 95 % intervals (result {result.path.name})."
    )
    return Drawn(name=f"online_regret_{arena}", figure=figure, caption=caption)


def attack(result: style.Plain) -> Drawn:
    """The worst regret found against T beside its bound, and how near the bound each attack came, step by step."""
    metrics = result.metrics
    learners, horizons = [str(name) for name in metrics["attack_learners"]], metrics["horizons"]
    figure, (left, right) = style.panels(2, width=style.PAGE, height=2.9)
    for order, learner in enumerate(learners):
        colour, bound = style.PALETTE[order], metrics["attack_bound"][order]
        exponent, low, high = metrics["attack_exponent"][order]
        label = f"{learner}: $T^{{{exponent:.2f}}}$ [{low:.2f}, {high:.2f}]"
        style.line(left, horizons, metrics["attack_regret"][order].T, label, order)
        left.plot(horizons, bound, color=colour, linestyle="--", linewidth=0.8)
        if np.isfinite(bound[-1]):
            progress = metrics["attack_progress"][order, -1] / bound[-1]
            right.plot(np.arange(len(progress)), progress, color=colour, label=learner)
    right.axhline(1.0, color="black", linewidth=0.8, linestyle="--")
    left.set_xscale("log", base=2)
    left.set_yscale("log", base=2)
    left.set(xlabel="rounds T", ylabel="worst regret found")
    right.set(xlabel="gradient step", ylabel=f"regret / bound, T = {horizons[-1]}", ylim=(0, 1.05))
    style.legend_above(figure, left, columns=2)
    ratio = np.nanmax(metrics["attack_regret"] / metrics["attack_bound"][:, None])
    caption = (
        "Left: the worst regret that gradient ascent through the learner found, against the number of rounds, with "
        "fitted exponents and 95 % intervals over seeds; dashed: what theory guarantees. Look for one half with a "
        "guarantee and one without. Right: the largest ratio of regret to bound met so far, over all starts; no attack "
        f"may pass 1, and the largest ratio found is {ratio:.3f}. Half of the starts are the answers of an adversary "
        f"that sees each decision (result {result.path.name})."
    )
    return Drawn(name="online_attack", figure=figure, caption=caption)
