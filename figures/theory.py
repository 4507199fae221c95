"""The theorems as curves: of linear attention rates, the two terms of the bound, preconditioners, where it stops; of
regret what rounds of RMFT make of a layer."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from figures import style
from figures.style import Drawn
from jaxdm.analysis.statistics import exponent_fit
from jaxdm.analysis.storage import Result

COMMAND = "python -m theory"


WIDTH = 5.0
"""Standard errors on either side of a fitted exponent, as in the claims."""


def draw(shown: Sequence[Result]) -> list[Drawn]:
    """The figures whose curves are stored."""
    stored = {str(result.config.get("id")): result for result in shown}
    drawn = []
    if {"L5-M", "L5-N"} <= stored.keys():
        drawn.append(rates(stored["L5-M"], stored["L5-N"]))
    makers = {"L6b": two_terms, "L7b": deployed, "L7": preconditioner, "L8a": shift}
    makers |= {"L8b": on_policy, "L8c": softmax, "L8d": actions}
    drawn += [make(stored[id]) for id, make in makers.items() if id in stored]
    if {"N5", "N12", "N13"} <= stored.keys():
        drawn.append(no_regret(stored["N5"], stored["N12"], stored["N13"]))
    return drawn


def rates(context: Result, length: Result) -> Drawn:
    """The error's two parts against M and N, in log-log scale, with fitted exponents; where the second law starts.

    Metrics `errors [context or length, run]`, `exact [context or length]`; of the second `local [condition, ratio]`.
    """
    figure, panels = style.panels(3, width=style.PAGE, height=2.6)
    fits = []
    kinds = (("context", "M", context), ("length", "N", length))
    for order, (axes, (axis, name, result)) in enumerate(zip(panels[:2], kinds, strict=True)):
        errors, exact = result.metrics["errors"], result.metrics["exact"]
        x = errors[axis]
        mean, error, (low, high) = fitted(errors, axis)
        fits.append(f"{mean:.3f} [{low:.3f}, {high:.3f}] in {name}")
        style.line(axes, x, errors.transpose(axis, "run"), "measured", order)
        axes.set_title(f"exponent {mean:.3f} $\\pm$ {WIDTH * error:.3f}")
        axes.plot(x, exact, color="black", linestyle=":", linewidth=1, label="exact")
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.legend(loc="lower left")
        axes.set(xlabel=f"context length {name} {'at test' if name == 'M' else 'in training'}")
    panels[0].set_ylabel("mean squared error")
    local = length.metrics["local"]
    for order, condition in enumerate(local["condition"].values):
        colour, marker = style.PALETTE[order], style.MARKERS[order]
        values = local.sel(condition=condition)
        panels[2].plot(local["ratio"], values, color=colour, marker=marker, label=f"k = {condition:g}")
    panels[2].axhline(-2, color="#8c8c8c", linestyle=":", linewidth=1)
    panels[2].set_xscale("log", base=2)
    panels[2].set(xlabel="N / (d k)", title="local exponent in N")
    panels[2].legend()
    caption = (
        "What the context (left, without the bias) and the training length (middle, with the context's second moment "
        "exact) leave of the layer's error. Look at the slopes, -1 and -2, and whether the dots lie on the exact "
        "curve. Right, the exact slope in N for three condition numbers k: the law needs N of ten times d k. "
        f"Fitted exponents, mean over independent curves and {WIDTH:g} standard errors: "
        f"{style.listed(fits)}. Bands are 95 % intervals (results {context.path.name}, {length.path.name})."
    )
    return Drawn(name="theory_rates", figure=figure, caption=caption)


def fitted(errors: xr.DataArray, axis: str) -> tuple[float, float, tuple[float, float]]:
    """Slope of log error in the log of an axis, mean over runs, its standard error, and an interval."""
    x, curves = errors[axis].values, errors.transpose("run", axis).values
    slopes = np.asarray([exponent_fit(x, curve).exponent for curve in curves])
    mean, error = float(slopes.mean()), float(slopes.std(ddof=1) / len(slopes) ** 0.5)
    return mean, error, (mean - WIDTH * error, mean + WIDTH * error)


def two_terms(result: Result) -> Drawn:
    """Closed-form layers in random linear MDPs."""
    caption = (
        "Loss of greedy play on the layer's estimates in random linear MDPs, and the two terms that bound it, against "
        "the demonstrations M, one panel a training length N. Look at where the loss stops falling: the context term "
        "goes to zero, the bias does not. "
    )
    return _terms(result, "theory_two_terms", caption)


def deployed(result: Result) -> Drawn:
    """Trained layers in new linear MDPs, beside least squares."""
    caption = (
        "The same for layers trained by gradient steps on contexts of N pairs, in new linear MDPs with the features of "
        "training, beside an ordinary least-squares fit of the same pairs (0 is not shown on the scale). Look at "
        "what the layer pays for its fixed matrix, and that longer training contexts buy some of it back. "
    )
    return _terms(result, "theory_trained_play", caption)


def _terms(result: Result, name: str, caption: str) -> Drawn:
    """Metrics `gap`, `bound`, `estimation [length, context, run]`, `bias [length, run]`; `squares [context, run]`."""
    metrics = result.metrics
    gap, estimation, bias = metrics["gap"], metrics["estimation"], metrics["bias"]
    lines = {"measured loss": gap, "context term": estimation, "bias term": bias, "bound": metrics["bound"]}
    if "squares" in metrics:
        lines["least squares"] = metrics["squares"].where(metrics["squares"] > 0)
    lines = {label: values.broadcast_like(gap) for label, values in lines.items()}
    x, lengths = gap["context"], gap["length"].values
    figure, panels = style.panels(len(lengths), width=style.PAGE, height=2.9)
    for axes, length in zip(panels, lengths, strict=True):
        for order, (label, values) in enumerate(lines.items()):
            style.line(axes, x, values.sel(length=length).transpose("context", "run"), label, order)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set(title=f"N = {length:g}", xlabel="demonstrations M")
    low, high = min(axes.get_ylim()[0] for axes in panels), max(axes.get_ylim()[1] for axes in panels)
    for axes in panels:
        axes.set_ylim(low, high)
    panels[0].set_ylabel("loss against V*")
    style.legend_above(figure, panels[0], columns=5)
    times = lines["bound"].mean("run") / gap.mean("run")
    caption += (
        f"The bound is between {float(times.min()):.1f} and {float(times.max()):.0f} times the loss. Bands are 95 % "
        f"intervals over {gap.sizes['run']} runs (result {result.path.name})."
    )
    return Drawn(name=name, figure=figure, caption=caption)


def preconditioner(result: Result) -> Drawn:
    """Trained and closed-form matrices, and the excess risk over training.

    Metrics `excess [features, seed, step]`, `trained [features, seed, row, column]`, `closed [features, row, column]`.
    """
    excess, closed = result.metrics["excess"], result.metrics["closed"]
    trained = result.metrics["trained"].mean("seed")
    names = [str(name) for name in excess["features"].values]
    figure, panels = style.panels(2 * len(names) + 1, width=style.PAGE, height=2.4)
    for index, name in enumerate(names):
        exact = closed.sel(features=name)
        scale = float(abs(exact).max())
        _matrix(panels[2 * index], trained.sel(features=name), scale, f"trained,\n{name}")
        _matrix(panels[2 * index + 1], exact, scale, f"exact,\n{name}")
        label = name.removesuffix(" features")  # the panel is narrow
        values = excess.sel(features=name).transpose("step", "seed")
        style.line(panels[-1], excess["step"], values, label, index, marked=False)
    panels[-1].set_yscale("log")
    panels[-1].set_ylim(bottom=float(excess.mean("seed").min()) / 3)
    panels[-1].set(xlabel="gradient step", title="excess risk, share")
    panels[-1].legend()
    ends = excess.sel(step=excess["step"].max()).max("seed").values
    caption = (
        "The preconditioner A of layers trained by gradient steps, mean over seeds, beside the closed form W L G^-1; "
        "right, the excess risk over that form as a share of the least risk. Look at entry by entry agreement, and at "
        f"how far the risk falls: at the end {style.listed([f'{end:.1e}' for end in ends])} in the worst of "
        f"{excess.sizes['seed']} seeds. Bands are 95 % intervals (result {result.path.name})."
    )
    return Drawn(name="theory_preconditioner", figure=figure, caption=caption)


def shift(result: Result) -> Drawn:
    """Error against the scale of the test features. Metric `errors [scale, estimator]`."""
    errors = result.metrics["errors"]
    scales = errors["scale"].values
    figure, (axes,) = style.panels(1)
    for order, name in enumerate(errors["estimator"].values):
        colour, marker = style.PALETTE[order], style.MARKERS[order]
        axes.plot(scales, errors.sel(estimator=name), color=colour, marker=marker, label=str(name))
    axes.axhline(1, color="#8c8c8c", linestyle=":", linewidth=1, label="answering 0")
    axes.set_yscale("symlog", linthresh=0.1)
    axes.set_ylim(bottom=-0.005)
    axes.set(xlabel="scale of test features", ylabel="squared error, relative")
    axes.legend()
    largest = float(errors.sel(estimator="layer", scale=scales.max()))
    caption = (
        "Squared error as a share of that of answering 0, when test features are c times those of training. Look at "
        f"the left end and the right: the layer multiplies answers by c^2, {largest:.3g} at c = {scales.max():g}; "
        f"least squares does not notice (result {result.path.name})."
    )
    return Drawn(name="theory_shift", figure=figure, caption=caption)


def on_policy(result: Result) -> Drawn:
    """By how much the error on contexts of optimal play differs from L5's. Metric `factors [mdp]`."""
    factors = np.sort(result.metrics["factors"].values)
    figure, (axes,) = style.panels(1)
    axes.step(factors, np.arange(1, len(factors) + 1) / len(factors), where="post", color=style.PALETTE[0])
    axes.axvline(1, color="#8c8c8c", linestyle=":", linewidth=1, label="as L5 gives")
    axes.set_ylim(0, 1)
    axes.set(xlabel="squared error, of L5's for the data", ylabel="share of MDPs")
    axes.legend(loc="lower right")
    caption = (
        "The layer's error on contexts of state-action pairs that optimal play visits, over what L5 gives for pairs of "
        f"the data distribution, in {len(factors)} random linear MDPs. See how far the step is from the dots: half "
        f"of the MDPs lie between {np.quantile(factors, 0.25):.2f} and {np.quantile(factors, 0.75):.2f}, the extremes "
        f"are {factors[0]:.2f} and {factors[-1]:.2f} (result {result.path.name})."
    )
    return Drawn(name="theory_on_policy", figure=figure, caption=caption)


def softmax(result: Result) -> Drawn:
    """Softmax layers beside linear ones, against M and against the scale of test features.

    Metrics `softmax [length, context, seed]`, `softmax_alone [context, seed]`, `linear [length, context]`,
    `softmax_limit [length, seed]`, `softmax_scaled [scale, seed]`, `linear_scaled [scale]`.
    """
    metrics = result.metrics
    trained, linear, limits = metrics["softmax"], metrics["linear"], metrics["softmax_limit"].mean("seed")
    scaled, linear_scaled = metrics["softmax_scaled"].transpose("scale", "seed"), metrics["linear_scaled"]
    lengths, x = trained["length"].values, trained["context"]
    figure, panels = style.panels(2, width=style.PAGE, height=3.0)
    for order, length in enumerate(lengths):
        label, colour = f"N = {length:g}", style.PALETTE[order]
        values = trained.sel(length=length).transpose("context", "seed")
        style.line(panels[0], x, values, f"softmax, {label}", order)
        panels[0].plot(x, linear.sel(length=length), color=colour, linestyle="--", label=f"linear, {label}")
        panels[0].axhline(float(limits.sel(length=length)), color=colour, linestyle=":", linewidth=1)
    alone = metrics["softmax_alone"].transpose("context", "seed")
    style.line(panels[0], alone["context"], alone, f"softmax, own token unseen, N = {lengths[0]:g}", len(lengths))
    panels[0].set_xscale("log", base=2)
    scales = scaled["scale"]
    style.line(panels[1], scales, scaled, f"softmax, N = {lengths[-1]:g}", len(lengths) - 1)
    colour = style.PALETTE[len(lengths) - 1]
    panels[1].plot(scales, linear_scaled, color=colour, linestyle="--", label=f"linear, N = {lengths[-1]:g}")
    panels[1].axhline(1, color="#8c8c8c", linestyle=":", linewidth=1, label="answering 0")
    panels[0].set(xlabel="context length M at test", ylabel="mean squared error")
    panels[1].set(xlabel="scale of test features", ylabel="squared error, relative")
    for axes in panels:
        axes.set_yscale("log")
    panels[1].legend()
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper left", ncols=3)
    least = style.listed([f"{error:.2g}" for error in trained.mean("seed").min("context").values])
    limit = style.listed([f"{error:.2g}" for error in limits.values])
    caption = (
        "Softmax attention trained on N pairs of linear MDPs, beside the best linear layer. Left, look at the turn: "
        f"past M = N the error of softmax layers rises, to the dotted lines, {limit} where it was {least}; that of "
        "linear ones only falls, and that of softmax layers whose query does not attend to itself most of all. Right, "
        "with test features c times those of training the linear layer's answers grow by c^2 beyond the truth's, those "
        "of softmax attention are averages of labels: look at both ends. Bands are 95 % intervals over "
        f"{trained.sizes['seed']} training seeds (result {result.path.name})."
    )
    return Drawn(name="theory_softmax", figure=figure, caption=caption)


def actions(result: Result) -> Drawn:
    """What training on actions makes of the preconditioner.

    Metrics `norms [label, seed, step]`, `trained [label, seed, row, column]`, `closed [row, column]`.
    """
    norms, trained = result.metrics["norms"], result.metrics["trained"].mean("seed")
    names = [str(name) for name in norms["label"].values]
    figure, panels = style.panels(4, width=style.PAGE, height=2.4)
    shown = {"exact, $W L G^{-1}$": result.metrics["closed"]}
    shown |= {f"trained on\n{name}": trained.sel(label=name) for name in names}
    for axes, (title, matrix) in zip(panels, shown.items(), strict=False):
        _matrix(axes, matrix, float(abs(matrix).max()), title)
    for order, name in enumerate(names):
        values = norms.sel(label=name).transpose("step", "seed")
        style.line(panels[-1], norms["step"], values, f"on {name}", order, marked=False)
    panels[-1].axhline(1, color="#8c8c8c", linestyle=":", linewidth=1)
    panels[-1].set_ylim(bottom=0)
    panels[-1].set(xlabel="gradient step", title="norm / exact norm")
    panels[-1].legend()
    end = norms.sel(step=norms["step"].max()).mean("seed")
    on_actions, on_values = (float(end.sel(label=label)) for label in ("optimal actions", "Q*"))
    caption = (
        "What actions show of the preconditioner (its rows less their mean) after training on Q* and on the best "
        "action, mean over seeds, each matrix on a colour scale of its own. Look at the numbers: the pattern is nearly "
        f"the same, the size {on_actions:.1f} times that of the exact form against {on_values:.1f} for training on Q*. "
        f"Bands are 95 % intervals over {norms.sizes['seed']} seeds (result {result.path.name})."
    )
    return Drawn(name="theory_actions", figure=figure, caption=caption)


def no_regret(decay: Result, pooled: Result, threshold: Result) -> Drawn:
    """Where rounds of RMFT lead the gain of a layer, against theory, and when that is no-regret.

    Metrics: of the first `gain [kind, run, round]` and `worst [decay, length]`; of the second `run [selection, start,
    round]` and `move [quantity, gain, rule]`; of the third `regret [arms, run, round]` and `share [arms, run]`.
    """
    figure, ((left, right), (low, last)) = style.grid(2, 2, width=style.PAGE, height=5.2)
    _gains(left, decay.metrics["gain"], pooled.metrics["run"])
    worst = decay.metrics["worst"]
    for order, name in enumerate(worst["decay"].values.tolist()):
        right.plot(worst["length"], worst.sel(decay=name), label=DECAYS.get(name, name), **style.look(order))
    right.set_xscale("log", base=2)
    right.set_yscale("log")
    right.set(xlabel="rounds T", ylabel="worst regret / $\\sqrt{T}$", title="FTRL at the rate |delta| / lambda")
    right.legend()
    _moves(low, pooled.metrics["move"])
    regret, share = threshold.metrics["regret"], threshold.metrics["share"]
    ends = regret.isel(round=slice(-regret.sizes["round"] // 4, None)).mean("round")
    for order, arms in enumerate(regret["arms"].values.tolist()):
        last.plot(arms * share.sel(arms=arms), ends.sel(arms=arms), label=f"K = {arms}", **style.look(order))
    last.axvline(1, color="#8c8c8c", linestyle=":", linewidth=1)
    last.set_ylim(0, 1.1)
    last.set(xlabel="share kept, times K", ylabel="regret / that of commitment", title="bandits of K arms")
    last.legend()
    runs = pooled.metrics["run"]
    reached = runs.isel(round=slice(-runs.sizes["round"] // 4, None)).mean(["round", "start"])
    listed = [f"{float(reached.sel(selection=name)):.2f} a* with {name}" for name in ATTRACTING]
    caption = (
        "What rounds of RMFT make of one layer of linear attention. Top left, the gain over the stated one: weight "
        "decay on drifting losses (dashed: theory), and pools without drift. Look at the approach from both sides, "
        f"pools to {style.listed(listed)} in the mean; what keeps the best quarter leaves the panel. Top right, the "
        "worst case of the gain that decay leads to: with a fixed decay it is "
        f"{float(worst.sel(decay='fixed').max()):.0f} sqrt T at T = {int(worst['length'].max())}. Bottom left, the "
        "move of the gain in one round against the share kept, from below (a = 0), at and from above (a = 2 a*) the "
        "FTRL gain a*, with five standard errors, and theory as lines: where the outer lines change places, repulsion "
        "turns into attraction. Bottom right, bandits: regret at the end over that of the policy that commits to a "
        f"random arm, a trap below 1 / K (results {decay.path.name}, {pooled.path.name}, {threshold.path.name})."
    )
    return Drawn(name="theory_no_regret", figure=figure, caption=caption)


DECAYS = {
    "fixed": "a fixed decay, drift 1",
    "small drift": "decay without T, drift 0.03",
    "by hand": "decay chosen by T",
}


ATTRACTING = ("squared regret", "p = 0.75")
"""Selections of the pools that lead to the FTRL gain."""


def _gains(axes: Axes, decay: xr.DataArray, pooled: xr.DataArray) -> None:
    """Gains over those stated, against the share of the rounds run."""
    end = float(decay.sel(kind="stated", run="drift, from 0").isel(round=-1))
    for order, (name, label) in enumerate({"drift, from 0": "weight decay", "drift, from twice": ""}.items()):
        found = decay.sel(run=name) / end
        form = style.look(0, marked=False)
        x = found["round"] / found["round"].max()
        axes.plot(x, found.sel(kind="measured"), label=label or None, **form)
        theory = None if order else "theory"
        axes.plot(x, found.sel(kind="stated"), label=theory, color="black", linestyle="--", linewidth=0.8)
    for order, name in enumerate(pooled["selection"].values.tolist(), start=1):
        for place, start in enumerate(pooled["start"].values.tolist()):
            found = pooled.sel(selection=name, start=start)
            form = style.look(order, marked=False)
            x = found["round"] / found["round"].max()
            axes.plot(x, found, label=None if place else f"pool, {name}", **form)
    axes.set_ylim(-0.5, 2.5)
    axes.set(xlabel="share of the rounds", ylabel="gain / stated gain", title="from both sides")
    axes.legend()


def _moves(axes: Axes, moves: xr.DataArray) -> None:
    """Moves of the gain by share kept, at three gains."""
    rules = [name for name in moves["rule"].values.tolist() if name.startswith("p = ")]
    shares = [float(name.removeprefix("p = ")) for name in rules]
    for order, (gain, label) in enumerate(zip(moves["gain"].values.tolist(), ("a = 0", "a*", "2 a*"), strict=True)):
        part, form = moves.sel(gain=gain, rule=rules), style.look(order)
        axes.plot(shares, part.sel(quantity="stated"), color=form["color"], linewidth=1)
        error = 5 * part.sel(quantity="standard error")
        kept = {"color": form["color"], "marker": form["marker"], "linestyle": "none", "label": label}
        axes.errorbar(shares, part.sel(quantity="measured"), yerr=error, **kept)
    axes.axhline(0, color="#8c8c8c", linestyle=":", linewidth=1)
    axes.set_yscale("symlog", linthresh=1e-4)
    axes.set(xlabel="share p kept of a pool", ylabel="move of the gain", title="one round without drift")
    axes.legend()


def _matrix(axes: Axes, matrix: xr.DataArray, scale: float, title: str) -> None:
    """A small matrix with its entries."""
    entries = matrix.transpose("row", "column").values
    axes.imshow(entries, cmap="RdBu", vmin=-scale, vmax=scale)
    for (row, column), value in np.ndenumerate(entries):
        colour = "white" if abs(value) > 0.6 * scale else "black"
        shown = round(float(value), 2) + 0.0  # without a sign where it is zero
        axes.text(column, row, f"{shown:.2f}", ha="center", va="center", fontsize="small", color=colour)
    axes.set(title=title, xticks=[], yticks=[])
    axes.grid(visible=False)
