"""What supervised fine-tuning gains: gaps, gains and axes, few labels, imitation, what is learnt, training.

The result of `experiments.sft` holds all settings: metrics are arrays with named axes, `gap` (setting, agent,
demonstrations, seed), `accuracy` (with step) and `accuracy_by_visit` (with visit); `axis_<name>` (agent, <name>, seed);
`imitation` (trained_on, shown, seed); `probe` (network, seed); `curve <setting> <stage>` (seed, step).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from figures import style
from figures.style import Drawn
from jaxdm.analysis.storage import Result

AXIS, CURVE = "axis_", "curve "


SETTINGS = {"mdp": "MDP", "pomdp": "POMDP", "apomdp": "ambiguous POMDP"}


LABELS = {
    "horizon_episodes": "horizon, equal episodes",
    "horizon_steps": "horizon, equal steps",
    "cue_accuracy": "cue accuracy q",
    "models": "models, for a pessimist",
    "attitude": "attitude $\\alpha$",
    "slip": "slip",
    "tasks": "training tasks",
}
"""Axes in the order of their panels."""


NEAR = 0.05
"""Gap at most that of a task that counts as solved."""


RETRAINED = {"labels": "labelled sequences N", "steps": "gradient steps"}
"""Axes along which a pretrained network and one with random weights are trained."""


def draw(shown: Sequence[Result]) -> list[Drawn]:
    """The figures of the newest run that is shown."""
    having = [result for result in shown if "gap" in result.metrics]
    if not having:
        return []
    whole = having[-1]
    stored = by_setting(whole)
    drawn = [gap(stored)]
    if "gap_by_task" in whole.metrics:
        drawn.append(profile(stored))
    axes = [name for name in LABELS if AXIS + name in whole.metrics]
    compared = [name for name in axes if whole.metrics[AXIS + name].sizes["agent"] > 1]
    if compared:
        drawn.append(gains(whole, compared))
    if axes:
        drawn.append(along_axes(whole, axes))
    if any(AXIS + name in whole.metrics for name in RETRAINED):
        drawn.append(labels(whole))
    if "imitation" in whole.metrics:
        drawn.append(imitation(whole))
    if "accuracy" in whole.metrics:
        drawn.append(learnt(stored))
    if any(name.startswith(CURVE) for name in whole.metrics):
        drawn.append(curves(whole))
    return drawn


def by_setting(result: Result) -> list[Result]:
    """A result for each setting of a study, whose metrics have no such axis any more."""
    parts = []
    for name in result.metrics["gap"]["setting"].values.tolist():
        metrics = {
            key: value.sel(setting=name) if "setting" in value.dims and name in value["setting"] else value
            for key, value in result.metrics.items()
        }
        parts.append(result._replace(config=result.config | {"setting": name}, metrics=metrics))
    return sorted(parts, key=lambda part: list(SETTINGS).index(part.config["setting"]))


def title(result: Result) -> str:
    """The name of a result's setting."""
    return SETTINGS[str(result.config["setting"])]


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


PROFILED = ("SFT", "ICL-only", "demonstration vote", "Bayes posterior")
"""Methods whose gaps are shown task by task."""


def profile(stored: list[Result]) -> Drawn:
    """Each method's gaps on the held-out tasks one by one, from the smallest to the largest, one panel a setting."""
    figure, panels = style.panels(len(stored), width=style.PAGE, height=2.6)
    solved = []
    for axes, result in zip(panels, stored, strict=True):
        gaps = result.metrics["gap_by_task"].sel(demonstrations=result.config["supports"])
        for order, method in enumerate(agent for agent in PROFILED if agent in gaps["agent"]):
            ranked = np.sort(gaps.sel(agent=method).transpose("task", "seed").values, axis=0)
            quantile = (np.arange(len(ranked)) + 0.5) / len(ranked)
            style.line(axes, quantile, ranked, method, order, marked=False)
        near = float((gaps.sel(agent="SFT") <= NEAR).mean())
        solved.append(f"{title(result)} {near:.0%}")
        axes.axhline(0, color="black", linewidth=0.6)
        axes.set(xlabel="share of held-out tasks", title=title(result), xlim=(0, 1))
    panels[0].set_ylabel("optimality gap of the task")
    style.legend_above(figure, panels[0])
    caption = (
        "Profile of the gaps of single tasks, each method's from its best task to its worst; in units of what random "
        "play loses in the mean task, so that the area under a line is the gap. Look at whether a method is "
        "everywhere a little off, or right in most tasks and lost in some. Share of tasks in which SFT is within "
        f"{NEAR:g} of the oracle: {'; '.join(solved)}. Lines are means over training seeds of the ordered gaps, bands "
        "95 % intervals; a task's value is estimated from few episodes, so that some lie below 0."
    )
    return Drawn(name="sft_tasks", figure=figure, caption=caption)


def gains(result: Result, names: Sequence[str]) -> Drawn:
    """ICL-only's gap less SFT's, seed by seed, along every axis: the claim itself."""
    figure, panels = style.wrapped(len(names))
    for axes, name in zip(panels, names, strict=True):
        gaps = result.metrics[AXIS + name]
        along = str(gaps.dims[1])
        gain = (gaps.sel(agent="ICL-only") - gaps.sel(agent="SFT")).transpose(along, "seed").values
        where = gaps[along].values
        style.line(axes, where, gain, "ICL-only less SFT", 0)
        axes.axhline(0, color="black", linewidth=0.6)
        _ticks(axes, along, where)
        axes.set(xlabel=LABELS[name])
    panels[0].set_ylabel("gap of ICL-only $-$ gap of SFT")
    caption = (
        "What fine-tuning gains over the pretrained network alone, shown the same demonstrations: the difference of "
        "their optimality gaps, seed by seed. Look at the slope: the paper says that gains are larger for longer "
        "horizons, worse observations and more models. Every seed is a point; bands are 95 % intervals of the mean."
    )
    return Drawn(name="sft_gain", figure=figure, caption=caption)


def along_axes(result: Result, names: Sequence[str]) -> Drawn:
    """Gaps along every axis, a panel each."""
    figure, panels = style.wrapped(len(names))
    order: dict[str, int] = {}
    for axes, name in zip(panels, names, strict=True):
        gaps = result.metrics[AXIS + name]
        along = str(gaps.dims[1])
        for agent in gaps["agent"].values.tolist():
            values = gaps.sel(agent=agent).transpose(along, "seed").values
            style.line(axes, gaps[along].values, values, agent, order.setdefault(agent, len(order)))
        _ticks(axes, along, gaps[along].values)
        axes.set(xlabel=LABELS[name], ylim=(0, 1.1))
    panels[0].set_ylabel("optimality gap")
    most = max(range(len(names)), key=lambda n: result.metrics[AXIS + names[n]].sizes["agent"])
    style.legend_above(figure, panels[most], columns=4)
    caption = (
        "Optimality gap along every axis, on held-out identities, with the demonstrations of training. Along the "
        "horizon and the number of training tasks a network is fine-tuned for each point, elsewhere one network "
        "serves all points, within the range that it was trained on (but for the last slip). The Bayes posterior "
        "knows the family, and is what could be had. Bands are 95 % intervals over seeds."
    )
    return Drawn(name="sft_axes", figure=figure, caption=caption)


def labels(result: Result) -> Drawn:
    """What labels and gradient steps do for a pretrained network and for one with random weights."""
    names = [name for name in RETRAINED if AXIS + name in result.metrics]
    figure, panels = style.panels(len(names), width=style.PAGE, height=2.6)
    for axes, name in zip(panels, names, strict=True):
        gaps = result.metrics[AXIS + name]
        for order, agent in enumerate(gaps["agent"].values.tolist()):
            values = gaps.sel(agent=agent).transpose(name, "seed").values
            style.line(axes, gaps[name].values, values, agent, order)
        _ticks(axes, name, gaps[name].values)
        axes.set(xlabel=RETRAINED[name], ylim=(0, 1.1))
    panels[0].set_ylabel("optimality gap")
    style.legend_above(figure, panels[0], columns=2)
    caption = (
        "Fine-tuning of the pretrained network beside training from scratch, on the same stored sequences: against "
        "the number N of them, and against gradient steps. Look at the left: where labels are few, pretraining has "
        "to pay. Every seed is a point; bands are 95 % intervals."
    )
    return Drawn(name="sft_labels", figure=figure, caption=caption)


def _ticks(axes: style.Axes, along: str, where: np.ndarray) -> None:
    """A tick at each point of an axis, of counts on a logarithmic one."""
    if along in ("tasks", *RETRAINED):
        axes.set_xscale("log")
        axes.minorticks_off()
    axes.set_xticks(where, [f"{value:g}" for value in where.tolist()])


def imitation(result: Result) -> Drawn:
    """Which expert each network plays like."""
    figure, (axes,) = style.panels(1, width=style.COLUMN, height=2.9)
    overlap = result.metrics["imitation"].mean("seed").transpose("trained_on", "shown")
    experts = overlap["trained_on"].values.tolist()
    axes.imshow(overlap.values, vmin=0, vmax=1, cmap="Blues")
    for (row, column), value in np.ndenumerate(overlap.values):
        axes.text(column, row, f"{value:.2f}", ha="center", va="center", color="white" if value > 0.6 else "black")
    ticks = range(len(experts))
    axes.set_xticks(ticks, experts, rotation=40, ha="right")
    axes.set_yticks(ticks, experts)
    axes.grid(visible=False)
    axes.set(xlabel="shown, and compared with", ylabel="trained on")
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
        supports = result.config["supports"]
        by_step = result.metrics["accuracy"].sel(demonstrations=supports)
        by_visit = result.metrics["accuracy_by_visit"].sel(demonstrations=supports)
        methods = by_step["agent"].values.tolist()
        above, below = grid[0][column], grid[1][column]
        for order, method in enumerate(methods):
            values = by_step.sel(agent=method).transpose("step", "seed")
            style.line(above, values["step"].values, values.values, method, order)
            optimal = by_visit.sel(agent=method).transpose("visit", "seed").values
            mean, low, high = style.seed_interval(optimal)
            place = np.arange(len(mean)) + 0.8 * ((order + 0.5) / len(methods) - 0.5)
            form: Any = style.look(order) | {"linestyle": ""}
            below.vlines(place, low, high, color=form["color"], linewidth=1)
            below.plot(place, mean, **form)
            if optimal.shape[-1] > 1:
                style.points(below, np.broadcast_to(place[:, None], optimal.shape), optimal, order)
            style.say_if_single(below, optimal)
        above.set(xlabel="decision step", title=title(result), ylim=(0, 1.02))
        visits = [str(name).replace(" ", "\n") for name in by_visit["visit"].values]
        below.set_xticks(range(len(visits)), visits)
        below.set(xlabel="observation at the decision", ylim=(0, 1.02))
    grid[0][0].set_ylabel("share optimal")
    grid[1][0].set_ylabel("share optimal")
    style.legend_above(figure, grid[0][0], columns=4)
    caption = (
        "Share of decisions that are optimal, by step (above) and by whether any demonstration had been at that "
        "observation (below); there the vote must guess, so that what exceeds it is no copying. Lines and bands are "
        f"95 % intervals.{probes(stored[0])}"
    )
    return Drawn(name="sft_learnt", figure=figure, caption=caption)


def probes(result: Result) -> str:
    """A sentence about the belief probe; nothing without."""
    if "probe" not in result.metrics:
        return ""
    explained = result.metrics["probe"].mean("seed")
    names = explained["network"].values.tolist()
    values = ", ".join(f"{name} {float(explained.sel(network=name)):.2f}" for name in names)
    return f" Held-out R^2 of a linear probe of the last layer for the belief that the cue is right: {values}."


def curves(result: Result) -> Drawn:
    """Training loss of every stage, a panel each."""
    stages = [name.removeprefix(CURVE) for name in result.metrics if name.startswith(CURVE)]
    figure, panels = style.wrapped(len(stages))
    for axes, stage in zip(panels, stages, strict=True):
        loss = result.metrics[CURVE + stage].transpose("step", "seed")
        style.line(axes, loss["step"].values, loss.values, stage, 0, marked=False)
        axes.set(xlabel="training step", title=stage)
    panels[0].set_ylabel("training loss")
    caption = (
        f"Training loss of {style.listed(stages)}. Look at whether each curve has flattened: one that still falls says "
        "that its network was stopped early. Bands are 95 % intervals over seeds."
    )
    return Drawn(name="sft_curves", figure=figure, caption=caption)
