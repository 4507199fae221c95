"""What supervised fine-tuning gains: gaps against demonstrations and along axes, imitation, what is learnt, training.

One result a setting; its metrics are arrays with named axes, as `experiments.sft` stores them: `gap` (agent,
demonstrations, seed), `accuracy` (with step) and `accuracy_by_visit` (with visit); `axis_<name>` (agent, <name>,
seed); `imitation` (trained_on, shown, seed); `probe` (network, seed); `curve_<stage>` (seed, step).
"""

from collections.abc import Sequence

import numpy as np

from figures import style
from figures.style import Drawn
from jaxdm.analysis.storage import Result

AXIS, CURVE = "axis_", "curve_"


SETTINGS = {"mdp": "MDP", "pomdp": "POMDP", "apomdp": "ambiguous POMDP"}


LABELS = {
    "horizon": "horizon",
    "slip": "slip",
    "cue_accuracy": "cue accuracy q",
    "models": "models",
    "attitude": "attitude $\\alpha$",
    "extent": "side",
    "pool": "tasks",
}
"""Axes in the order of their panels."""


def draw(shown: Sequence[Result]) -> list[Drawn]:
    """The figures of the run of each setting that is shown."""
    newest = {str(result.config.get("setting", "mdp")): result for result in shown}
    stored = [newest[name] for name in SETTINGS if name in newest]
    if not stored:
        return []
    drawn = [gap(stored)]
    for name, figure in (
        ("axis_horizon", along_axes),
        ("imitation", imitation),
        ("accuracy", learnt),
        ("curve_sft", curves),
    ):
        having = [result for result in stored if name in result.metrics]
        if having:
            drawn.append(figure(having))
    return drawn


def title(result: Result) -> str:
    """The name of a result's setting."""
    return SETTINGS[str(result.config.get("setting", "mdp"))]


def gap(stored: list[Result]) -> Drawn:
    """What each method loses against the oracle, one panel a setting, with seed intervals."""
    figure, panels = style.panels(len(stored), width=style.PAGE, height=2.7)
    ends = []
    for axes, result in zip(panels, stored, strict=True):
        gaps = result.metrics["gap"]
        demonstrations = gaps["demonstrations"].values
        methods = gaps["agent"].values.tolist()
        for order, method in enumerate(methods):
            values = gaps.sel(agent=method).transpose("demonstrations", "seed").values
            style.line(axes, demonstrations, values, method, order)
        axes.set_xscale("symlog", base=2, linthresh=1, linscale=0.5)
        axes.set_xticks(demonstrations, [str(count) for count in demonstrations])
        axes.minorticks_off()
        axes.set(xlabel="demonstrations in the context", title=title(result), ylim=(-0.05, 1.2))
        most = gaps.sel(demonstrations=demonstrations.max()).transpose("agent", "seed").values
        mean, low, high = style.seed_interval(most)
        best = int(np.nanargmin(mean))
        interval = f" [{low[best]:.3f}, {high[best]:.3f}]" if np.isfinite(low[best]) else ""
        ends.append(f"{title(result)}: {methods[best]}, {mean[best]:.3f}{interval}")
    panels[0].set_ylabel("share of V* $-$ V$^{\\mathrm{random}}$ lost")
    style.legend_above(figure, panels[0], columns=4)
    seeds = stored[0].metrics["gap"].sizes["seed"]
    caption = (
        "Optimality gap on held-out tasks against the number of demonstrations: 0 is the oracle, 1 random play. Look "
        "at how fast each line falls, and where it ends. Closest to the oracle with the most demonstrations: "
        f"{'; '.join(ends)}. Lines are means over {seeds} training seeds, bands 95 % intervals."
    )
    return Drawn(name="sft_gap", figure=figure, caption=caption)


def along_axes(stored: list[Result]) -> Drawn:
    """Gaps along every axis: a row a setting, a column an axis that it has."""
    columns = [name for name in LABELS if any(AXIS + name in result.metrics for result in stored)]
    figure, grid = style.grid(len(stored), len(columns), width=style.PAGE, height=0.7 + 1.5 * len(stored))
    most = 1
    for row, result in zip(grid, stored, strict=True):
        for axes, name in zip(row, columns, strict=True):
            if AXIS + name not in result.metrics:
                axes.remove()
                continue
            gaps = result.metrics[AXIS + name]
            methods = gaps["agent"].values.tolist()
            most = max(most, len(methods))
            for order, method in enumerate(methods):
                style.line(
                    axes, gaps[name].values, gaps.sel(agent=method).transpose(name, "seed").values, method, order
                )
            if name == "pool":
                axes.set_xscale("log")
            else:
                axes.set_xticks(gaps[name].values)
            axes.set(xlabel=LABELS[name], ylim=(0, 1.05))
            axes.tick_params(labelleft=axes is row[0])
        row[0].set_ylabel(f"{title(result)}\noptimality gap")
    style.legend_above(figure, grid[0][0], columns=most)
    caption = (
        "Optimality gap along every axis, with the demonstrations of training: steps of an episode, chance of a random "
        "move, chance that the cue equals the hidden mode, number of models and attitude under ambiguity, cells along "
        "a wall, tasks to train on. One network serves all points of an axis, but along training tasks, where it is "
        "trained briefly for each point. Look at the distance between ICL-only and SFT: where it grows, fine-tuning "
        "gains more. Bands are 95 % intervals over seeds."
    )
    return Drawn(name="sft_axes", figure=figure, caption=caption)


def imitation(stored: list[Result]) -> Drawn:
    """Which expert each network plays like, a matrix a setting."""
    figure, panels = style.panels(len(stored), width=style.PAGE, height=2.7)
    for axes, result in zip(panels, stored, strict=True):
        overlap = result.metrics["imitation"].mean("seed").transpose("trained_on", "shown")
        experts = overlap["trained_on"].values.tolist()
        axes.imshow(overlap.values, vmin=0, vmax=1, cmap="Blues")
        for (row, column), value in np.ndenumerate(overlap.values):
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", color="white" if value > 0.6 else "black")
        ticks = range(len(experts))
        axes.set_xticks(ticks, experts, rotation=40, ha="right")
        axes.set_yticks(ticks, experts if axes is panels[0] else [""] * len(experts))
        axes.grid(visible=False)
        axes.set(xlabel="shown, and compared with", title=title(result))
    panels[0].set_ylabel("trained on")
    caption = (
        "Overlap of each network's policy with each expert's, in that expert's episodes of held-out tasks: 1 is the "
        "same distribution of actions. Look at the diagonal: it is largest in its column where an expert is imitated "
        "best by the network trained on it. Columns differ by how many ties an expert has. Means over seeds."
    )
    return Drawn(name="sft_imitation", figure=figure, caption=caption)


def learnt(stored: list[Result]) -> Drawn:
    """Agreement with the oracle by step above; below, where demonstrations have been and where not."""
    figure, grid = style.grid(2, len(stored), width=style.PAGE, height=4.2)
    for column, result in enumerate(stored):
        supports = result.config["config"]["supports"]
        by_step = result.metrics["accuracy"].sel(demonstrations=supports)
        by_visit = result.metrics["accuracy_by_visit"].sel(demonstrations=supports)
        methods = by_step["agent"].values.tolist()
        above, below = grid[0][column], grid[1][column]
        for order, method in enumerate(methods):
            values = by_step.sel(agent=method).transpose("step", "seed")
            style.line(above, values["step"].values, values.values, method, order)
            optimal = by_visit.sel(agent=method).transpose("visit", "seed").values
            mean, low, high = style.seed_interval(optimal)
            position = np.arange(len(mean)) + (order - len(methods) / 2) * 0.12
            error = [mean - low, high - mean]
            style.say_if_single(below, optimal)
            below.bar(position, mean, 0.11, yerr=error, color=style.PALETTE[order], error_kw={"linewidth": 0.8})
        above.set(xlabel="decision step", title=title(result), ylim=(0, 1.02))
        below.set_xticks(range(by_visit.sizes["visit"]), by_visit["visit"].values.tolist())
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


def probes(stored: list[Result]) -> str:
    """A sentence about the belief probe of every setting that has one; nothing without."""
    lines = []
    for result in stored:
        if "probe" in result.metrics:
            explained = result.metrics["probe"].mean("seed")
            names = explained["network"].values.tolist()
            values = ", ".join(f"{name} {float(explained.sel(network=name)):.2f}" for name in names)
            lines.append(f"{title(result)}: {values}")
    start = " Held-out R^2 of a linear probe of the last layer for the belief that the cue is right: "
    return start + "; ".join(lines) + "." if lines else ""


def curves(stored: list[Result]) -> Drawn:
    """Training loss of every stage, a row a setting, with seed intervals."""
    stages = [name.removeprefix(CURVE) for name in stored[0].metrics if name.startswith(CURVE)]
    figure, grid = style.grid(len(stored), len(stages), width=style.PAGE, height=0.4 + 1.4 * len(stored))
    for row, result in zip(grid, stored, strict=True):
        for axes, stage in zip(row, stages, strict=True):
            loss = result.metrics[CURVE + stage].transpose("step", "seed")
            style.line(axes, loss["step"].values, loss.values, stage, 0, marked=False)
            axes.set(xlabel="training step", title=stage)
        row[0].set_ylabel(f"{title(result)}\ntraining loss")
    caption = (
        f"Training loss of {style.listed(stages)}. Look at whether each curve has flattened: one that still falls says "
        "that its network was stopped early. Bands are 95 % intervals over seeds."
    )
    return Drawn(name="sft_curves", figure=figure, caption=caption)
