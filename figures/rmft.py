"""What regret-minimisation fine-tuning gains: training, regret over time, transfer, online learning, ablations."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter

from figures import style
from figures.style import Drawn
from jaxdm.analysis.statistics import exponent_interval, linear_part
from jaxdm.analysis.storage import Result


def draw(shown: Sequence[Result]) -> list[Drawn]:
    """The figures of the run that is shown; metrics are named as the parts of `experiments.rmft` write them."""
    if not shown:
        return []
    figures = {
        training: any(name.endswith("training_regret") for name in shown[-1].metrics),
        regret: "bandit_regret" in shown[-1].metrics,
        exploration: "bandit_regret" in shown[-1].metrics,
        failures: "bandit_regret" in shown[-1].metrics,
        selection: "selection_regret" in shown[-1].metrics,
        transfer: "bandit_long_regret" in shown[-1].metrics,
        drift: "drift_regret" in shown[-1].metrics,
        linear: bool({"simplex_long_regret", "ball_long_regret"} & set(shown[-1].metrics)),
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


HARD = "K=5, gap 0.2"
"""The standard task on which exploration is shown."""


def names(array: xr.DataArray, axis: str) -> list[str]:
    """The coordinates of an axis whose entries have names."""
    return [str(name) for name in array[axis].values]


def curve(axes: Axes, values: xr.DataArray, axis: str, label: str, order: int) -> None:
    """A mean over seeds along an axis, with its interval as a band."""
    style.line(axes, values[axis].values, values.transpose(axis, "seed").values, label, order, marked=False)


def training(result: Result) -> Drawn:
    """Regret of the rollouts of every round, one panel a kind of world."""
    shown = {part: f"{part}_training_regret" for part in PARTS if f"{part}_training_regret" in result.metrics}
    figure, panels = style.wrapped(len(shown), columns=3, height=1.8)
    lines = ["RMFT", "REINFORCE", "PPO", "RMFT from random weights", "RMFT after SFT"]
    handles = {}
    for axes, (part, name) in zip(panels, shown.items(), strict=True):
        for method in names(result.metrics[name], "agent"):
            label = method.removesuffix(" from scratch")
            curve(axes, result.metrics[name].sel(agent=method), "training_round", label, lines.index(label))
        if part == "bandit" and "bandit_regret" in result.metrics:
            references(axes, result)
        axes.set(title=PARTS[part], xlabel="round", ylim=(0, None))
        handles |= dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    panels[0].set_ylabel("regret of the rollouts")
    style.legend_of(figure, handles, columns=5)
    caption = (
        "Mean regret of the rollouts of each round, exploration noise included. Look for curves that fall and stay "
        "down: each network learns from nothing but which of its own rollouts had least regret. Level lines in the "
        "first panel: regret after as many rounds of the base at round 0, of tuned UCB and Thompson, and of the "
        "network that imitates labels of the optimal arm. Rooms: as a share of what random play loses. Bands are 95 % "
        f"intervals over seeds (result {result.path.name})."
    )
    return Drawn(name="rmft_training", figure=figure, caption=caption)


REFERENCES = {"base": "round 0", "UCB": "UCB", "Thompson": "Thompson", "optimal-arm labels": "best-arm labels"}
"""Methods whose regret stands as a level line beside the curves of training, and their names there."""


def references(axes: Axes, result: Result) -> None:
    """Level lines: what others lose on the distribution of training in as many rounds as a rollout has."""
    rounds = int(result.metrics["bandit_train_length"])
    regret = result.metrics["bandit_regret"].sel(distribution="training", round=rounds).mean("seed")
    for order, (agent, label) in enumerate(REFERENCES.items()):
        if agent in regret["agent"]:
            level = float(regret.sel(agent=agent))
            axes.axhline(level, color="black", linewidth=0.9, linestyle=style.DASHES[order + 1], label=label)


def shown_agents(values: xr.DataArray, agents: Sequence[str]) -> list[str]:
    """Those of the agents that the result has, in the order given."""
    found = names(values, "agent")
    return [agent for agent in agents if agent in found]


def regret(result: Result) -> Drawn:
    """Regret against rounds on logarithmic axes, with fitted slopes and the line of sqrt(T log K)."""
    longer = "bandit_long_regret" in result.metrics
    values = result.metrics["bandit_long_regret" if longer else "bandit_regret"]
    distributions = ("training", HARD, "uniform means, K=5")
    figure, panels = style.panels(len(distributions), width=style.PAGE, height=3.0)
    slopes = []
    for axes, distribution in zip(panels, distributions, strict=True):
        here = values.sel(distribution=distribution)
        rounds = here["round"].values
        for order, method in enumerate(shown_agents(here, ("base", "RMFT", "best classical", "random weights"))):
            curve = here.sel(agent=method).transpose("seed", "round").values
            late = rounds >= max(2, rounds[-1] // 8)
            mean = curve.mean(axis=0)
            fit = exponent_interval(rounds[late], curve[:, late]) if np.all(mean[late] > 0) else None
            slope = f" ({fit.exponent:.2f})" if fit else ""
            axes.loglog(rounds, mean, **style.look(order, marked=False), label=f"{method}{slope}")
            style.points(axes, np.full(len(curve), rounds[-1]), curve[:, -1], order)
            if fit and distribution == HARD:
                slopes.append(f"{method} {fit.exponent:.2f} ({fit.low:.2f} to {fit.high:.2f})")
        axes.loglog(rounds, np.sqrt(rounds * np.log(5)), color="black", linewidth=0.8, label="$\\sqrt{T\\,\\log K}$")
        axes.set(title=distribution, xlabel="round")
        axes.set_ylim(top=axes.get_ylim()[1] * 6)  # room for the legend
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.legend(fontsize="small", loc="upper left")
    panels[0].set_ylabel("regret")
    caption = (
        "Regret against rounds, on logarithmic axes: the base that struggles, the same network after fine-tuning by "
        "its own regret, and the best of all classical players, each tuned for the distribution in other episodes. A "
        "slope of one is linear regret; slopes, in brackets, are fitted from an eighth of the rounds on. On "
        f"{HARD}: {style.listed(slopes) or 'no slope'}. Points at the end are training seeds "
        f"(result {result.path.name})."
    )
    return Drawn(name="rmft_regret", figure=figure, caption=caption)


def exploration(result: Result) -> Drawn:
    """SuffFailFreq(t) and how often the best arm is played, over time."""
    failure, best = (result.metrics[f"bandit_{name}"] for name in ("suffix_failure", "optimal_play"))
    figure, (left, right) = style.panels(2, width=style.PAGE, height=2.8)
    agents = ("base", "RMFT", "RMFT, greedy", "best classical", "Thompson", "random weights")
    for order, method in enumerate(shown_agents(failure, agents)):
        here = {"agent": method, "distribution": HARD}
        curve(left, failure.sel(here), "round", method, order)
        curve(right, best.sel(here), "round", method, order)
    left.set(xlabel="t", ylabel="SuffFailFreq(t)", ylim=(0, 1), title="best arm in no round from t on")
    right.set(xlabel="round", ylabel="share of runs", ylim=(0, 1), title="best arm played")
    style.legend_above(figure, left)
    half = failure.sel(distribution=HARD).isel(round=failure.sizes["round"] // 2).mean("seed")
    listed = [f"{name} {float(half.sel(agent=name)):.3f}" for name in shown_agents(half, agents)]
    caption = (
        f"Exploration on {HARD}. Left: the share of runs that play the best arm in no round from t on; every player's "
        "rises near the end, and one that gives up has a share from the start. Right: how often that arm is played. "
        f"SuffFailFreq(T/2): {style.listed(listed)}. Bands are 95 % intervals over seeds (result {result.path.name})."
    )
    return Drawn(name="rmft_exploration", figure=figure, caption=caption)


def failures(result: Result) -> Drawn:
    """Every method by how often it gives the best arm up and how evenly it plays, with epsilon-greedy's curve."""
    failure, fraction = result.metrics["bandit_suffix_failure"], result.metrics["bandit_min_fraction"].isel(round=-1)
    failure = failure.isel(round=failure.sizes["round"] // 2)
    traced = [result.metrics[f"bandit_epsilon_{name}"] for name in ("suffix_failure", "min_fraction")]
    figure, panels = style.panels(2, width=style.PAGE, height=3.2)
    for axes, distribution in zip(panels, (HARD, "uniform means, K=5"), strict=True):
        x, y = (values.sel(distribution=distribution).mean("seed") for values in traced)
        axes.plot(x, y, color="black", linewidth=0.8, marker=".", label="epsilon-greedy, rate 0 to 1")
        for order, method in enumerate(names(failure, "agent")):
            here = {"agent": method, "distribution": distribution}
            x, y = failure.sel(here), fraction.sel(here)
            style.points(axes, x, y, order)
            mark: Any = style.look(order) | {"linestyle": ""}
            axes.plot(x.mean(), y.mean(), **mark, label=method)
        axes.set(title=distribution, xlabel="SuffFailFreq(T/2)", ylabel="K MinFrac(T)")
    style.legend_above(figure, panels[0], columns=4)
    caption = (
        "Two ways to fail: to give the best arm up (right), and never to settle (up). A dot is a method, small ones "
        "its seeds; the line is what epsilon-greedy pays as its rate goes from zero to one. Below and left of the line "
        f"is better than undirected exploration (result {result.path.name})."
    )
    return Drawn(name="rmft_failures", figure=figure, caption=caption)


def selection(result: Result) -> Drawn:
    """Regret at the end against the share of rollouts kept, one panel a number of arms."""
    values, default = result.metrics["selection_regret"], result.metrics["selection_default"]
    arms = [int(count) for count in values["arms"].values]
    figure, panels = style.panels(len(arms), width=style.PAGE, height=2.5)
    for axes, count in zip(panels, arms, strict=True):
        here = values.sel(arms=count).transpose("share", "seed")
        style.line(axes, here["share"].values, here.values, "regret", 0)
        axes.axvline(1 / count, color="black", linestyle="--", linewidth=0.8, label="1/K")
        axes.axvline(float(default.sel(arms=count)), color=style.PALETTE[1], linewidth=0.8, label="default")
        axes.axhline(1, color="grey", linewidth=0.6)
        axes.set(title=f"K={count}", xlabel="k/L", ylim=(0, None))
    panels[0].set_ylabel("regret, of uniform play's")
    style.legend_above(figure, panels[0])
    caption = (
        "Regret after fine-tuning against the share of rollouts that is kept, for K arms with one gap. The dashed line "
        "is the threshold 1/K of theory, below which committing to a random arm attracts (regret one, the grey line); "
        "the full vertical line is the default, max(0.27, 1.2/K). Look for a jump at the dashed line. Dots are seeds "
        f"(result {result.path.name})."
    )
    return Drawn(name="rmft_selection", figure=figure, caption=caption)


def transfer(result: Result) -> Drawn:
    """Before and after fine-tuning on every distribution, as a multiple of the best classical player's regret."""
    metrics = result.metrics
    rows = {}
    for name, horizon in (("bandit_regret", "T"), ("bandit_long_regret", ""), ("bandit_gaussian_regret", "T")):
        final = metrics[name].isel(round=-1)
        times = horizon or f"{metrics[name].sizes['round'] // metrics['bandit_regret'].sizes['round']} T"
        for law in names(final, "distribution"):
            rows[f"{law}, {times}"] = final.sel(distribution=law)
    figure, (axes,) = style.panels(1, width=style.PAGE, height=0.7 + 0.2 * len(rows))
    methods = ("base", "RMFT", "RMFT from random weights", "REINFORCE", "PPO")
    shares = [
        [(row.sel(agent=method) / row.sel(agent="best classical")).values for row in rows.values()]
        for method in methods
    ]
    dots(axes, list(rows), shares, ["before", "after", *methods[2:]])
    axes.axvline(1, color="black", linewidth=0.8, linestyle="--")
    axes.set_xscale("log")
    axes.set(xlabel="regret over that of the best tuned classical player")
    style.legend_above(figure, axes)
    caption = (
        "Before and after fine-tuning on every distribution that was evaluated: the one of training, other numbers of "
        "arms, gaps and means, drift, longer horizons, Gaussian rewards. Left of the dashed line is better than the"
        " best of all classical players, each tuned for that distribution. Lines are 95 % intervals over seeds "
        f"(result {result.path.name})."
    )
    return Drawn(name="rmft_transfer", figure=figure, caption=caption)


def drift(result: Result) -> Drawn:
    """Dynamic regret where means switch, and how soon the new best arm is played after a switch."""
    values = result.metrics["drift_regret"].sel(distribution="switching (training)")
    optimal = result.metrics["drift_optimal_play"]
    figure, (left, right) = style.panels(2, width=style.PAGE, height=2.8)
    agents = ("round 0", "RMFT", "UCB", "Thompson", "SW-UCB", "best classical")
    for order, method in enumerate(shown_agents(values, agents)):
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


LINEAR = 0.01
"""Loss a round: a regret with a larger linear part counts as linear, as in the claims."""


TESTED = ("RMFT", "RMFT against attacks", "RMFT, squared regret", "tuned", "follow the leader")
"""Learners whose regret is taken apart; the tuned one is Hedge or FTRL."""


def linear(result: Result) -> Drawn:
    """What part of each learner's regret is linear in the rounds, sequence by sequence: on which it has no regret."""
    sets = [name for name in ("simplex", "ball") if f"{name}_long_regret" in result.metrics]
    longest = max(result.metrics[f"{name}_long_regret"].sizes["distribution"] for name in sets)
    figure = style.figure(style.PAGE, 1.0 + 0.26 * longest)
    panels = figure.subplots(1, len(sets), squeeze=False)[0]
    found = []
    for axes, decisions in zip(panels, sets, strict=True):
        regret = result.metrics[f"{decisions}_long_regret"]
        rounds = regret["round"].values
        late = rounds >= max(2, rounds[-1] // 8)
        agents = [name for word in TESTED for name in names(regret, "agent") if name == word or name.endswith(word)]
        agents = list(dict.fromkeys(agents))
        curves = regret.sel(agent=agents).transpose("agent", "distribution", "seed", "round").values[..., late]
        parts = linear_part(rounds[late], curves, "sqrt")
        laws = [law.replace("_", " ") for law in names(regret, "distribution")]
        labels = ["tuned" if name.endswith("tuned") else name for name in agents]
        dots(axes, laws, list(parts), labels)
        axes.axvline(LINEAR, color="black", linewidth=0.8, linestyle="--")
        axes.set_xscale("symlog", linthresh=LINEAR)
        axes.set(title=decisions, xlabel=f"loss a round, T = {rounds[-1]}")
        ours = parts[[place for place, name in enumerate(agents) if name in TESTED[:2]][-1]]
        _, low, high = style.seed_interval(ours)
        linear_on = [law for law, least in zip(laws, low, strict=True) if least > LINEAR]
        free_on = [law for law, most in zip(laws, high, strict=True) if most <= LINEAR]
        found.append(f"{decisions}: linear on {style.listed(linear_on)}; none on {style.listed(free_on)}")
    style.legend_above(figure, panels[0], columns=5)
    caption = (
        "Is the trained network no-regret? The part of its regret that is linear in the rounds, b in a sqrt(t) + b t + "
        "c, fitted from an eighth of the longest horizon on, for every distribution of losses. Left of the dashed line "
        "is no regret; a learner right of it pays that much for ever. The tuned classical learner must be left of it, "
        "and following the leader right of it where losses turn against the past. Of the network fine-tuned against "
        f"attacks, by its interval over seeds: {'; '.join(found)}; undecided on all others. Points are seeds (result "
        f"{result.path.name})."
    )
    return Drawn(name="rmft_linear", figure=figure, caption=caption)


def online(result: Result) -> Drawn:
    """Final regret on every distribution of losses, on the simplex and on the ball, as far as they were studied."""
    metrics = result.metrics
    sets = [name for name in ("simplex", "ball") if f"{name}_regret" in metrics]
    longest = max(metrics[f"{name}_regret"].sizes["distribution"] for name in sets)
    figure = style.figure(style.PAGE, 1.0 + 0.26 * longest)
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
        f"{float(metrics[f'{name}_attacked_regret'].sel(agent='RMFT').isel(horizon=0).mean()):.1f} on the {name}"
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
    """Every choice of the algorithm alone, beside the default."""
    final = result.metrics["ablation_regret"]
    figure, (axes,) = style.panels(1, width=style.PAGE, height=2.6)
    dots(axes, names(final, "variant"), [final.transpose("variant", "seed").values], ["regret at the end"])
    initial = float(result.metrics["ablation_initial_regret"].mean())
    axes.axvline(initial, color="black", linewidth=0.8, linestyle="--")
    axes.set(xlabel="regret at the end", xlim=(0, None))
    same = "the same bits" if bool(result.metrics["ablation_identical"]) else "different bits"
    caption = (
        "Three arms with uniform means: each choice alone, beside the default (the best of each scenario, shared "
        "sequences); the dashed line is the network at round 0. In online learning on shared losses, selection by "
        f"regret and by reward train {same}. Lines are 95 % intervals over seeds (result {result.path.name})."
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
        form: Any = style.look(order) | {"linestyle": ""}
        axes.hlines(place, low, high, color=form["color"], linewidth=1.2)
        axes.plot(mean, place, label=name, **form)
        if np.shape(value)[-1] > 1:
            style.points(axes, np.asarray(value), np.broadcast_to(place[:, None], np.shape(value)), order)
        style.say_if_single(axes, value)
    axes.set_yticks(np.arange(len(rows)), list(rows))
    axes.set_ylim(len(rows) - 0.4, -0.6)
