"""The theorems on linear attention as curves: rates, the two terms of the bound, preconditioners, where it stops."""

from collections.abc import Sequence

import numpy as np
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
    every = [style.plain(result) for result in shown]
    stored = {str(result.config.get("id")): result for result in every}
    drawn = []
    if {"L5-M", "L5-N"} <= stored.keys():
        drawn.append(rates(stored["L5-M"], stored["L5-N"]))
    makers = {"L6b": two_terms, "L7b": deployed, "L7": preconditioner, "L8a": shift}
    makers |= {"L8b": on_policy, "L8c": softmax, "L8d": actions}
    return drawn + [make(stored[id]) for id, make in makers.items() if id in stored]


def rates(context: style.Plain, length: style.Plain) -> Drawn:
    """The error's two parts against M and N, in log-log scale, with fitted exponents.

    Metrics `lengths [X]`, `errors [X, curves]`, `exact [X]`.
    """
    figure, panels = style.panels(2, width=style.PAGE, height=2.6)
    fits = []
    for order, (axes, result, name) in enumerate(zip(panels, (context, length), "MN", strict=True)):
        x, errors, exact = (result.metrics[field] for field in ("lengths", "errors", "exact"))
        mean, error, (low, high) = fitted(x, errors)
        fits.append(f"{mean:.3f} [{low:.3f}, {high:.3f}] in {name}")
        style.line(axes, x, errors, f"measured, exponent {mean:.3f} $\\pm$ {WIDTH * error:.3f}", order)
        axes.plot(x, exact, color="black", linestyle=":", linewidth=1, label="exact")
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.legend(loc="lower left")
        axes.set(xlabel=f"context length {name} {'at test' if name == 'M' else 'in training'}")
    panels[0].set_ylabel("mean squared error")
    caption = (
        "What the context (left, without the bias) and the training length (right, with the context's second moment "
        "exact) leave of the layer's error. Look at the slopes, -1 and -2, and whether the dots lie on the exact "
        f"curve. Fitted exponents, mean over independent curves and {WIDTH:g} standard errors: "
        f"{style.listed(fits)}. Bands are 95 % intervals (results {context.path.name}, {length.path.name})."
    )
    return Drawn(name="theory_rates", figure=figure, caption=caption)


def fitted(x: np.ndarray, errors: np.ndarray) -> tuple[float, float, tuple[float, float]]:
    """Slope of log error in log x, mean over curves [X, curves], its standard error, and an interval."""
    slopes = np.asarray([exponent_fit(x, curve).exponent for curve in errors.T])
    mean, error = float(slopes.mean()), float(slopes.std(ddof=1) / len(slopes) ** 0.5)
    return mean, error, (mean - WIDTH * error, mean + WIDTH * error)


def two_terms(result: style.Plain) -> Drawn:
    """Closed-form layers in random linear MDPs."""
    caption = (
        "Loss of greedy play on the layer's estimates in random linear MDPs, and the two terms that bound it, against "
        "the demonstrations M, one panel a training length N. Look at where the loss stops falling: the context term "
        "goes to zero, the bias does not. "
    )
    return _terms(result, "theory_two_terms", caption)


def deployed(result: style.Plain) -> Drawn:
    """Trained layers in new linear MDPs, beside least squares."""
    caption = (
        "The same for layers trained by gradient steps on contexts of N pairs, in new linear MDPs with the features of "
        "training, beside an ordinary least-squares fit of the same pairs (0 is not shown on the scale). Look at "
        "what the layer pays for its fixed matrix, and that longer training contexts buy some of it back. "
    )
    return _terms(result, "theory_trained_play", caption)


def _terms(result: style.Plain, name: str, caption: str) -> Drawn:
    """Metrics `lengths [N]`, `contexts [M]`, `gap` and `estimation [N, M, runs]`, `bias [N, runs]`, `squares`."""
    metrics = result.metrics
    x, lengths = metrics["contexts"], metrics["lengths"]
    figure, panels = style.panels(len(lengths), width=style.PAGE, height=2.9)
    for index, (axes, length) in enumerate(zip(panels, lengths, strict=True)):
        gap, estimation, bias = (metrics[field][index] for field in ("gap", "estimation", "bias"))
        bias = np.broadcast_to(bias[None], estimation.shape)
        lines = {"measured loss": gap, "context term": estimation, "bias term": bias, "bound": estimation + bias}
        if "squares" in metrics:
            squares = metrics["squares"]
            lines["least squares"] = np.where(squares > 0, squares, np.nan)
        for order, (label, values) in enumerate(lines.items()):
            style.line(axes, x, values, label, order)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set(title=f"N = {length:g}", xlabel="demonstrations M")
    low, high = min(axes.get_ylim()[0] for axes in panels), max(axes.get_ylim()[1] for axes in panels)
    for axes in panels:
        axes.set_ylim(low, high)
    panels[0].set_ylabel("loss against V*")
    style.legend_above(figure, panels[0], columns=5)
    bound = metrics["estimation"] + metrics["bias"][:, None]
    share = metrics["gap"].mean(axis=-1) / bound.mean(axis=-1)
    caption += (
        f"The bound is between {1 / share.max():.1f} and {1 / share.min():.0f} times the loss. Bands are 95 % "
        f"intervals over {metrics['gap'].shape[-1]} runs (result {result.path.name})."
    )
    return Drawn(name=name, figure=figure, caption=caption)


def preconditioner(result: style.Plain) -> Drawn:
    """Trained and closed-form matrices, and the excess risk over training.

    Metrics `pools [P]`, `steps [X]`, `excess [P, seeds, X]`, `trained [P, seeds, d, d]`, `closed [P, d, d]`.
    """
    metrics = result.metrics
    names, trained, closed = (
        [str(name) for name in metrics["pools"]],
        metrics["trained"].mean(axis=1),
        metrics["closed"],
    )
    figure, panels = style.panels(2 * len(names) + 1, width=style.PAGE, height=2.4)
    for index, name in enumerate(names):
        for axes, matrix, kind in zip(
            panels[2 * index :], (trained[index], closed[index]), ("trained", "exact"), strict=False
        ):
            _matrix(axes, matrix, np.abs(closed[index]).max(), f"{kind},\n{name}")
        label = name.removesuffix(" features")  # the panel is narrow
        style.line(panels[-1], metrics["steps"], metrics["excess"][index].T, label, index, marked=False)
    panels[-1].set_yscale("log")
    panels[-1].set_ylim(bottom=metrics["excess"].mean(axis=1).min() / 3)
    panels[-1].set(xlabel="gradient step", title="excess risk, share")
    panels[-1].legend()
    ends = metrics["excess"][:, :, -1].max(axis=1)
    caption = (
        "The preconditioner A of layers trained by gradient steps, mean over seeds, beside the closed form W L G^-1; "
        "right, the excess risk over that form as a share of the least risk. Look at entry by entry agreement, and at "
        f"how far the risk falls: at the end {style.listed([f'{end:.1e}' for end in ends])} in the worst of "
        f"{metrics['excess'].shape[1]} seeds. Bands are 95 % intervals (result {result.path.name})."
    )
    return Drawn(name="theory_preconditioner", figure=figure, caption=caption)


def shift(result: style.Plain) -> Drawn:
    """Error against the scale of the test features. Metrics `scales [X]`, `errors [X, methods]`, `methods`."""
    scales, errors, names = (result.metrics[field] for field in ("scales", "errors", "methods"))
    figure, (axes,) = style.panels(1)
    for order, name in enumerate(names):
        axes.plot(scales, errors[:, order], color=style.PALETTE[order], marker=style.MARKERS[order], label=str(name))
    axes.axhline(1, color="#8c8c8c", linestyle=":", linewidth=1, label="answering 0")
    axes.set_yscale("symlog", linthresh=0.1)
    axes.set_ylim(bottom=-0.005)
    axes.set(xlabel="scale of test features", ylabel="squared error, relative")
    axes.legend()
    caption = (
        "Squared error as a share of that of answering 0, when test features are c times those of training. Look at "
        f"the left end and the right: the layer multiplies answers by c^2, {errors[-1, 0]:.3g} at c = {scales[-1]:g}; "
        f"least squares does not notice (result {result.path.name})."
    )
    return Drawn(name="theory_shift", figure=figure, caption=caption)


def on_policy(result: style.Plain) -> Drawn:
    """By how much the error on contexts of optimal play differs from L5's. Metrics `factors [MDPs]`."""
    factors = np.sort(result.metrics["factors"])
    figure, (axes,) = style.panels(1)
    axes.step(factors, np.arange(1, len(factors) + 1) / len(factors), where="post", color=style.PALETTE[0])
    axes.axvline(1, color="#8c8c8c", linestyle=":", linewidth=1, label="as L5 gives")
    axes.set_ylim(0, 1)
    axes.set(xlabel="squared error / that of contexts from the data distribution", ylabel="share of MDPs")
    axes.legend(loc="lower right")
    caption = (
        "The layer's error on contexts of state-action pairs that optimal play visits, over what L5 gives for pairs of "
        f"the data distribution, in {len(factors)} random linear MDPs. See how far the step is from the dots: half "
        f"of the MDPs lie between {np.quantile(factors, 0.25):.2f} and {np.quantile(factors, 0.75):.2f}, the extremes "
        f"are {factors[0]:.2f} and {factors[-1]:.2f} (result {result.path.name})."
    )
    return Drawn(name="theory_on_policy", figure=figure, caption=caption)


def softmax(result: style.Plain) -> Drawn:
    """Softmax layers beside linear ones, against M and against the scale of test features.

    Metrics `lengths [N]`, `contexts [M]`, `softmax [N, M, seeds]`, `linear [N, M]`, `softmax_limit [N, seeds]`,
    `scales [C]`, `softmax_scaled [C, seeds]`, `linear_scaled [C]`.
    """
    metrics = result.metrics
    lengths, x, scales = metrics["lengths"], metrics["contexts"], metrics["scales"]
    figure, panels = style.panels(2, width=style.PAGE, height=2.6)
    for order, length in enumerate(lengths):
        label, colour = f"N = {length:g}", style.PALETTE[order]
        style.line(panels[0], x, metrics["softmax"][order], f"softmax, {label}", order)
        panels[0].plot(x, metrics["linear"][order], color=colour, linestyle="--", label=f"linear, {label}")
        panels[0].axhline(metrics["softmax_limit"][order].mean(), color=colour, linestyle=":", linewidth=1)
    panels[0].set_xscale("log", base=2)
    style.line(panels[1], scales, metrics["softmax_scaled"], f"softmax, N = {lengths[-1]:g}", len(lengths) - 1)
    colour = style.PALETTE[len(lengths) - 1]
    panels[1].plot(scales, metrics["linear_scaled"], color=colour, linestyle="--", label=f"linear, N = {lengths[-1]:g}")
    panels[1].axhline(1, color="#8c8c8c", linestyle=":", linewidth=1, label="answering 0")
    panels[0].set(xlabel="context length M at test", ylabel="mean squared error")
    panels[1].set(xlabel="scale of test features", ylabel="squared error, relative")
    for axes in panels:
        axes.set_yscale("log")
        axes.legend()
    limit, least = (style.listed([f"{x:.2g}" for x in values]) for values in _ends(metrics))
    caption = (
        "Softmax attention trained on N pairs of linear MDPs, beside the best linear layer. Left, look at the turn: "
        f"past M = N the error of softmax layers rises, to the dotted lines, {limit} where it was {least}; that of "
        "linear ones only falls. Right, with test features c times those of training the linear layer's answers grow "
        "by c^2 beyond the truth's, those of softmax attention are averages of labels: look at both ends. Bands are "
        f"95 % intervals over {metrics['softmax'].shape[-1]} training seeds (result {result.path.name})."
    )
    return Drawn(name="theory_softmax", figure=figure, caption=caption)


def _ends(metrics: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Errors for M to infinity and the least on the way, one a training length."""
    return metrics["softmax_limit"].mean(axis=1), metrics["softmax"].mean(axis=2).min(axis=1)


def actions(result: style.Plain) -> Drawn:
    """What training on actions makes of the preconditioner.

    Metrics `steps [X]`, `labels [2]`, `norms [2, seeds, X]`, `trained [2, seeds, d, d]`, `closed [d, d]`.
    """
    metrics = result.metrics
    names, closed = [str(name) for name in metrics["labels"]], metrics["closed"]
    figure, panels = style.panels(4, width=style.PAGE, height=2.4)
    shown = {"exact, W L G^-1": closed, **dict(zip(names, metrics["trained"].mean(axis=1), strict=True))}
    for axes, (name, matrix) in zip(panels, shown.items(), strict=False):
        _matrix(axes, matrix, np.abs(matrix).max(), name if matrix is closed else f"trained on\n{name}")
    for order, name in enumerate(names):
        style.line(panels[-1], metrics["steps"], metrics["norms"][order].T, f"on {name}", order, marked=False)
    panels[-1].axhline(1, color="#8c8c8c", linestyle=":", linewidth=1)
    panels[-1].set_ylim(bottom=0)
    panels[-1].set(xlabel="gradient step", title="norm / exact norm")
    panels[-1].legend()
    end = metrics["norms"][:, :, -1].mean(axis=1)
    caption = (
        "What actions show of the preconditioner (its rows less their mean) after training on Q* and on the best "
        "action, mean over seeds, each matrix on a colour scale of its own. Look at the numbers: the pattern is the "
        f"same, the size {end[1]:.1f} times that of the exact form against {end[0]:.1f} for training on Q*. Bands are "
        f"95 % intervals over {metrics['norms'].shape[1]} seeds (result {result.path.name})."
    )
    return Drawn(name="theory_actions", figure=figure, caption=caption)


def _matrix(axes: Axes, matrix: np.ndarray, scale: float, title: str) -> None:
    """A small matrix with its entries."""
    axes.imshow(matrix, cmap="RdBu", vmin=-scale, vmax=scale)
    for (row, column), value in np.ndenumerate(matrix):
        colour = "white" if abs(value) > 0.6 * scale else "black"
        axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=6, color=colour)
    axes.set(title=title, xticks=[], yticks=[])
    axes.grid(visible=False)
