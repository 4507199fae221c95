"""What supervised fine-tuning gains: gaps against demonstrations and along axes, imitation, what is learnt, training.

One result a setting; its metrics are named as `experiments.sft` writes them: `demonstrations [D]`, `methods [m]`,
`gap` and `gap_of_value [m, D, seeds]`, `agreed [m, D, seeds, T]`, `copied [m, D, seeds, 2]`; `axis_<name> [X]` with
`axis_<name>_gap [m', X, seeds]`; `teachers [E]`, `imitation [E, E, seeds]`; `probed`, `probe [networks, seeds]`; and
per training stage `curve_<stage> [seeds, points]` with `curve_steps_<stage> [points]`.
"""

from pathlib import Path

import numpy as np

from figures import style
from figures.style import Drawn
from jaxdm.analysis import storage

CURVE = "curve_steps_"


SETTINGS = {"mdp": "MDP", "pomdp": "POMDP", "apomdp": "ambiguous POMDP"}


LABELS = {
    "horizon": "horizon",
    "slip": "slip",
    "quality": "quality q",
    "models": "models",
    "attitude": "attitude $\\alpha$",
    "extent": "side",
    "pool": "tasks",
}
"""Axes in the order of their panels."""


SHOWN = ("SFT", "ICL-only", "demonstration vote")
"""Methods along an axis; the first alone where networks are trained again."""


def draw(results: Path) -> list[Drawn]:
    """The figures of the newest stored run of each setting."""
    every = [style.plain(result) for result in storage.read_results(results, "sft")]
    newest = {str(result.config.get("setting", "mdp")): result for result in every}
    stored = [newest[name] for name in SETTINGS if name in newest]
    if not stored:
        return []
    drawn = [gap(stored)]
    for name, figure in (
        ("axis_horizon", axes_of),
        ("imitation", imitation),
        ("agreed", learnt),
        ("curve_sft", curves),
    ):
        having = [result for result in stored if name in result.metrics]
        if having:
            drawn.append(figure(having))
    return drawn


def title(result: style.Plain) -> str:
    """The name of a result's setting."""
    return SETTINGS[str(result.config.get("setting", "mdp"))]


def gap(stored: list[style.Plain]) -> Drawn:
    """What each method loses against the oracle, one panel a setting, with seed intervals."""
    figure, panels = style.panels(len(stored), width=style.PAGE, height=2.7)
    ends = []
    for axes, result in zip(panels, stored, strict=True):
        shown, methods = result.metrics["demonstrations"], [str(name) for name in result.metrics["methods"]]
        for order, method in enumerate(methods):
            style.line(axes, shown, result.metrics["gap"][order], method, order)
        axes.set_xscale("symlog", base=2, linthresh=1, linscale=0.5)
        axes.set_xticks(shown, [str(count) for count in shown])
        axes.minorticks_off()
        axes.set(xlabel="demonstrations in the context", title=title(result), ylim=(-0.05, 1.2))
        mean, low, high = style.seed_interval(result.metrics["gap"][:, -1])
        best = int(np.nanargmin(mean))
        ends.append(f"{title(result)}: {methods[best]}, {mean[best]:.3f} [{low[best]:.3f}, {high[best]:.3f}]")
    panels[0].set_ylabel("share of V* $-$ V$^{\\mathrm{random}}$ lost")
    style.legend_above(figure, panels[0], columns=4)
    seeds = stored[0].metrics["gap"].shape[-1]
    caption = (
        "Optimality gap on held-out tasks against the number of demonstrations: 0 is the oracle, 1 random play. Look "
        "at how fast each line falls, and where it ends. Closest to the oracle with the most demonstrations: "
        f"{'; '.join(ends)}. Lines are means over {seeds} training seeds, bands 95 % intervals."
    )
    return Drawn(name="sft_gap", figure=figure, caption=caption)


def axes_of(stored: list[style.Plain]) -> Drawn:
    """Gaps along every axis: a row a setting, a column an axis that it has."""
    columns = [name for name in LABELS if any(f"axis_{name}" in result.metrics for result in stored)]
    figure, grid = style.grid(len(stored), len(columns), width=style.PAGE, height=0.7 + 1.5 * len(stored))
    for row, result in zip(grid, stored, strict=True):
        for axes, name in zip(row, columns, strict=True):
            if f"axis_{name}" not in result.metrics:
                axes.remove()
                continue
            points, values = result.metrics[f"axis_{name}"], result.metrics[f"axis_{name}_gap"]
            for order, (method, of_method) in enumerate(zip(SHOWN, values, strict=False)):
                style.line(axes, points, of_method, method, order)
            if name == "pool":
                axes.set_xscale("log")
            else:
                axes.set_xticks(points)
            axes.set(xlabel=LABELS[name], ylim=(0, 1.05))
            axes.tick_params(labelleft=axes is row[0])
        row[0].set_ylabel(f"{title(result)}\noptimality gap")
    style.legend_above(figure, grid[0][0], columns=len(SHOWN))
    caption = (
        "Optimality gap along every axis, with the demonstrations of training: steps of an episode, chance of a random "
        "move, chance that the sign tells the mood, number of models and attitude under ambiguity, cells along a wall, "
        "tasks to train on. One network serves all points of an "
        "axis, but along training tasks, where it is trained briefly for each point. Look at the distance between "
        "ICL-only and SFT: where it grows, fine-tuning gains more. Bands are 95 % intervals over seeds."
    )
    return Drawn(name="sft_axes", figure=figure, caption=caption)


def imitation(stored: list[style.Plain]) -> Drawn:
    """Which teacher each network plays like, a matrix a setting."""
    figure, panels = style.panels(len(stored), width=style.PAGE, height=2.7)
    for axes, result in zip(panels, stored, strict=True):
        teachers, overlap = (
            [str(name) for name in result.metrics["teachers"]],
            result.metrics["imitation"].mean(axis=-1),
        )
        axes.imshow(overlap, vmin=0, vmax=1, cmap="Blues")
        for (row, column), value in np.ndenumerate(overlap):
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", color="white" if value > 0.6 else "black")
        ticks = range(len(teachers))
        axes.set_xticks(ticks, teachers, rotation=40, ha="right")
        axes.set_yticks(ticks, teachers if axes is panels[0] else [""] * len(teachers))
        axes.grid(visible=False)
        axes.set(xlabel="shown, and compared with", title=title(result))
    panels[0].set_ylabel("taught by")
    caption = (
        "Overlap of each network's law of actions with each teacher's, in that teacher's episodes of held-out tasks: 1 "
        "is the same law. Look at the diagonal: it is largest in its column where a teacher is imitated best by the "
        "network it taught. Columns differ by how many ties a teacher has. Means over seeds."
    )
    return Drawn(name="sft_imitation", figure=figure, caption=caption)


def learnt(stored: list[style.Plain]) -> Drawn:
    """Agreement with the oracle by step above; below, where demonstrations have been and where not."""
    figure, grid = style.grid(2, len(stored), width=style.PAGE, height=4.2)
    for column, result in enumerate(stored):
        methods = [str(name) for name in result.metrics["methods"]]
        shown = list(result.metrics["demonstrations"]).index(result.config["config"]["supports"])
        above, below = grid[0][column], grid[1][column]
        for order, method in enumerate(methods):
            agreed = result.metrics["agreed"][order, shown].T
            style.line(above, np.arange(1, len(agreed) + 1), agreed, method, order)
            mean, low, high = style.seed_interval(result.metrics["copied"][order, shown].T)
            place, colour = np.arange(2) + (order - len(methods) / 2) * 0.12, style.PALETTE[order]
            below.bar(place, mean, 0.11, yerr=[mean - low, high - mean], color=colour, error_kw={"linewidth": 0.8})
        above.set(xlabel="decision step", title=title(result), ylim=(0, 1.02))
        below.set_xticks([0, 1], ["never demonstrated", "demonstrated"])
        below.set(xlabel="observation at the decision", ylim=(0, 1.02))
    grid[0][0].set_ylabel("share optimal")
    grid[1][0].set_ylabel("share optimal")
    style.legend_above(figure, grid[0][0], columns=4)
    caption = (
        "Share of decisions that are optimal, by step (above) and by whether any demonstration had been at that "
        "observation (below); there the vote must guess, so that what exceeds it is no copying. Bars and bands are "
        f"95 % intervals.{probes(stored)}"
    )
    return Drawn(name="sft_learnt", figure=figure, caption=caption)


def probes(stored: list[style.Plain]) -> str:
    """A sentence about the belief probe of every setting that has one; nothing without."""
    lines = []
    for result in stored:
        if "probe" in result.metrics:
            found = zip(result.metrics["probed"], result.metrics["probe"].mean(axis=-1), strict=True)
            lines.append(f"{title(result)}: {', '.join(f'{name} {value:.2f}' for name, value in found)}")
    start = " Held-out R^2 of a linear probe of the last layer for the belief that the sign is right: "
    return start + "; ".join(lines) + "." if lines else ""


def curves(stored: list[style.Plain]) -> Drawn:
    """Training loss of every stage, a row a setting, with seed intervals."""
    stages = [name.removeprefix(CURVE) for name in stored[0].metrics if name.startswith(CURVE)]
    figure, grid = style.grid(len(stored), len(stages), width=style.PAGE, height=0.4 + 1.4 * len(stored))
    for row, result in zip(grid, stored, strict=True):
        for axes, stage in zip(row, stages, strict=True):
            steps, loss = result.metrics[CURVE + stage], result.metrics[f"curve_{stage}"]
            style.line(axes, steps, loss.T, stage, 0, marked=False)
            axes.set(xlabel="training step", title=stage)
        row[0].set_ylabel(f"{title(result)}\ntraining loss")
    caption = (
        f"Training loss of {style.listed(stages)}. Look at whether each curve has flattened: one that still falls says "
        "that its network was stopped early. Bands are 95 % intervals over seeds."
    )
    return Drawn(name="sft_curves", figure=figure, caption=caption)
