"""What supervised fine-tuning gains: the optimality gap against the number of demonstrations, and training curves."""

from pathlib import Path

import numpy as np

from figures import style
from figures.style import Drawn
from jaxdm import storage

CURVE = "curve_steps_"


def draw(results: Path) -> list[Drawn]:
    """The figures of the newest stored run; metrics are named as `experiments.sft` writes them.

    `demonstrations [D]`, `methods [m]`, `gap` and `gap_of_value [m, D, seeds]`, and per training stage
    `curve_<stage> [seeds, points]` with `curve_steps_<stage> [points]`.
    """
    stored = storage.read_results(results, "sft")
    if not stored:
        return []
    newest = stored[-1]
    drawn = [gap(newest)]
    if any(name.startswith(CURVE) for name in newest.metrics):
        drawn.append(curves(newest))
    return drawn


def gap(result: storage.Result) -> Drawn:
    """What each method loses against the oracle, as a share of two scales, with seed intervals."""
    shown, methods = result.metrics["demonstrations"], [str(name) for name in result.metrics["methods"]]
    scales = {"gap": "share of V* $-$ V$^{\\mathrm{random}}$ lost", "gap_of_value": "share of V* lost"}
    figure, panels = style.panels(2, width=style.PAGE, height=2.9)
    for axes, (name, label) in zip(panels, scales.items(), strict=True):
        for order, method in enumerate(methods):
            style.line(axes, shown, result.metrics[name][order], method, order)
        axes.set_xscale("symlog", base=2, linthresh=1, linscale=0.5)
        axes.set_xticks(shown, [str(count) for count in shown])
        axes.minorticks_off()
        axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
        axes.set(xlabel="demonstrations in the context", ylabel=label)
    style.legend_above(figure, panels[0])
    values = result.metrics["gap"]
    mean, low, high = style.seed_interval(values[:, -1])
    best = int(
        np.argmin([np.inf if method == "oracle" else value for method, value in zip(methods, mean, strict=True)])
    )
    caption = (
        "Optimality gap on held-out tasks against the number of demonstrations. Left: 0 is the oracle, 1 random play; "
        "right: the same loss as a share of the oracle's value. Look at how fast each line falls, and where it ends: "
        f"with {shown[-1]} demonstrations {methods[best]} comes closest to the oracle and loses {mean[best]:.3f} "
        f"[{low[best]:.3f}, {high[best]:.3f}] of the way from oracle to random. Lines are means over "
        f"{values.shape[-1]} training seeds, bands 95 % intervals (result {result.path.name})."
    )
    return Drawn(name="sft_gap", figure=figure, caption=caption)


def curves(result: storage.Result) -> Drawn:
    """Training loss of every stage, with seed intervals."""
    stages = [name.removeprefix(CURVE) for name in result.metrics if name.startswith(CURVE)]
    figure, panels = style.panels(len(stages), width=min(style.PAGE, 2.6 * len(stages) + 0.6), height=2.1)
    for axes, stage in zip(panels, stages, strict=True):
        steps, loss = result.metrics[CURVE + stage], result.metrics[f"curve_{stage}"]
        style.line(axes, steps, loss.T, stage, 0, marked=False)
        axes.set(xlabel="training step", title=stage)
    panels[0].set_ylabel("training loss")
    caption = (
        f"Training loss of {style.listed(stages)}. Look at whether each curve has flattened: one that still falls says "
        "that its network was stopped early. Bands are 95 % intervals over seeds."
    )
    return Drawn(name="sft_curves", figure=figure, caption=caption)
