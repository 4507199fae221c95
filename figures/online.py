"""Regret of full-information learners: on every distribution of losses, and the worst that gradient attacks found."""

from collections.abc import Sequence

import numpy as np

from figures import style
from figures.style import Drawn
from jaxdm.analysis.storage import Result


def draw(shown: Sequence[Result]) -> list[Drawn]:
    """The figures of the run of `experiments.online` that is shown."""
    if not shown:
        return []
    return [regret(shown[-1], "simplex"), regret(shown[-1], "ball"), attack(shown[-1])]


def regret(result: Result, decision_set: str) -> Drawn:
    """Regret against rounds, one panel a distribution, with seed intervals and a line of slope one half.

    Args:
        result: with `simplex_regret` and `ball_regret`, [learner, distribution, seed, round].
        decision_set: "simplex" or "ball".
    """
    values = result.metrics[f"{decision_set}_regret"]
    learners, distributions = (values.coords[axis].values.tolist() for axis in ("learner", "distribution"))
    # A learner keeps its colour on the ball.
    colours = result.metrics["simplex_regret"].coords["learner"].values.tolist()
    rounds = values.coords["round"].values
    shown = rounds[np.unique(np.geomspace(1, len(rounds), 60).astype(int)) - 1]
    figure, panels = style.wrapped(len(distributions), height=1.5, shared=True)
    for axes, distribution in zip(panels, distributions, strict=True):
        axes.plot(shown, np.sqrt(shown), color="#8c8c8c", linestyle=":", linewidth=1, label="$\\sqrt{t}$")
        for learner in learners:
            curve = values.sel(learner=learner, distribution=distribution, round=shown).transpose("round", "seed")
            style.line(axes, shown, curve.values, learner, colours.index(learner), marked=False)
        axes.set_xscale("log", base=2)
        axes.set_yscale("symlog", linthresh=1)
        axes.set_title(distribution.replace("_", " "))
    figure.supxlabel("round t", fontsize="medium")
    figure.supylabel("external regret", fontsize="medium")
    style.legend_above(figure, panels[0])
    ends = values.isel(round=-1).mean("seed").stack(pair=("learner", "distribution"))
    learner, distribution = ends.coords["pair"].values[int(ends.argmax("pair"))]
    worst = f"{learner} on {distribution.replace('_', ' ')} losses, {float(ends.max()):.1f}"
    caption = (
        f"Regret against rounds on the {decision_set}, one panel a distribution of losses; the dotted line is the "
        "square root of t, and the vertical scale is linear below 1. Look for lines steeper than it: there the learner "
        f"does not learn. The largest regret after {rounds[-1]} rounds is that of {worst}. In the last panel the "
        "adversary sees each decision before it answers, also the random ones, against which no guarantee holds. Lines "
        f"are means over {values.sizes['seed']} seeds, bands 95 % intervals (result {result.path.name})."
    )
    return Drawn(name=f"online_regret_{decision_set}", figure=figure, caption=caption)


def attack(result: Result) -> Drawn:
    """The worst regret found against T beside its bound, and how near the bound each attack came, step by step.

    Args:
        result: with `attack_regret [learner, seed, horizon]`, `attack_progress [learner, horizon, step]`,
            `attack_bound [learner, horizon]`, NaN without a guarantee, and `attack_exponent [learner, estimate]`.
    """
    found, bounds = result.metrics["attack_regret"], result.metrics["attack_bound"]
    horizons = found.coords["horizon"].values
    figure, (left, right) = style.panels(2, width=style.PAGE, height=2.9)
    for order, learner in enumerate(found.coords["learner"].values.tolist()):
        colour, bound = style.PALETTE[order], bounds.sel(learner=learner)
        fit = result.metrics["attack_exponent"].sel(learner=learner)
        exponent, low, high = (float(fit.sel(estimate=part)) for part in ("exponent", "low", "high"))
        label = f"{learner}: $T^{{{exponent:.2f}}}$ [{low:.2f}, {high:.2f}]"
        style.line(left, horizons, found.sel(learner=learner).transpose("horizon", "seed").values, label, order)
        left.plot(horizons, bound.values, color=colour, linestyle="--", linewidth=0.8)
        longest = float(bound.isel(horizon=-1))
        if np.isfinite(longest):
            progress = result.metrics["attack_progress"].sel(learner=learner).isel(horizon=-1) / longest
            right.plot(np.arange(progress.size), progress.values, color=colour, label=learner)
    right.axhline(1.0, color="black", linewidth=0.8, linestyle="--")
    left.set_xscale("log", base=2)
    left.set_yscale("log", base=2)
    left.set(xlabel="rounds T", ylabel="worst regret found")
    right.set(xlabel="gradient step", ylabel=f"regret / bound, T = {horizons[-1]}", ylim=(0, 1.05))
    style.legend_above(figure, left, columns=2)
    ratio = float((found / bounds).max())
    caption = (
        "Left: the worst regret that gradient ascent through the learner found, against the number of rounds, with "
        "fitted exponents and 95 % intervals over seeds; dashed: what theory guarantees. Look for one half with a "
        "guarantee and one without. Right: the largest ratio of regret to bound met so far, over all starts; no attack "
        f"may pass 1, and the largest ratio found is {ratio:.3f}. Half of the starts are the answers of an adversary "
        f"that sees each decision (result {result.path.name})."
    )
    return Drawn(name="online_attack", figure=figure, caption=caption)
