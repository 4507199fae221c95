"""One look for all figures: sizes of a paper's column, colours that colour-blind readers tell apart, vector fonts."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxdm.analysis.statistics import mean_interval


class Drawn(NamedTuple):
    """A finished figure: file name without ending, the figure, and a caption that says what to look at."""

    name: str
    figure: Figure
    caption: str


COLUMN, PAGE = 3.4, 6.9
"""Widths in inches: one column of a two-column page, and both."""

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#8C8C8C")
"""Okabe and Ito's colours, the darker ones first; grey in place of their yellow, which vanishes on white."""

MARKERS = "osD^vPX*"
"""Beside the colour, so that a black-and-white print can be read."""

SINGLE = "one seed: no interval"
"""What a panel says where nothing is known of the error."""

SETTINGS: Any = {
    "font.family": "sans-serif",
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "legend.fontsize": 7,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.5,
    "axes.axisbelow": True,
    "lines.linewidth": 1.3,
    "lines.markersize": 3.5,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "savefig.dpi": 200,
    "pdf.fonttype": 42,  # TrueType: text stays text, as publishers ask
    "svg.fonttype": "path",  # the report needs no font of the reader's
    "svg.hashsalt": "jaxdm",  # the same results give the same bytes
}


def panels(columns: int = 1, *, width: float = COLUMN, height: float = 2.3) -> tuple[Figure, list[Axes]]:
    """A figure with `columns` panels side by side.

    Args:
        columns: number of panels.
        width: inches, all panels together.
        height: inches.
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, list(figure.subplots(1, columns, squeeze=False)[0])


def grid(rows: int, columns: int, *, width: float, height: float) -> tuple[Figure, list[list[Axes]]]:
    """A figure with rows of panels.

    Args:
        rows: number of rows.
        columns: panels of a row.
        width: inches, all panels together.
        height: inches, all rows together.
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, [list(row) for row in figure.subplots(rows, columns, squeeze=False)]


def seed_interval(values: Any, level: float = 0.95) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean over seeds and its Student interval: `mean -+ t_{n-1} sd / sqrt(n)`.

    NaN where a seed has none; a single seed has a mean, and NaN for an interval, as nothing is known of its error.

    Args:
        values: [..., seeds].
        level: coverage.

    Returns:
        mean, low, high, each [...].
    """
    values = np.moveaxis(np.asarray(values, np.float64), -1, 0)
    mean = values.mean(axis=0)
    finite = np.isfinite(mean)
    low, high = np.full_like(mean, np.nan), np.full_like(mean, np.nan)
    if len(values) == 1 or not finite.any():
        return mean, low, high
    interval = mean_interval(values[:, finite], level)
    low[finite], high[finite] = interval.low, interval.high
    return mean, low, high


def line(axes: Axes, x: Any, values: Any, label: str, order: int, marked: bool = True) -> None:
    """A mean over seeds with its interval as a band.

    Args:
        axes: where to draw.
        x: [X].
        values: [X, seeds].
        label: name in the legend.
        order: place in the palette.
        marked: whether points carry markers.
    """
    colour, marker = PALETTE[order % len(PALETTE)], MARKERS[order % len(MARKERS)]
    mean, low, high = seed_interval(values)
    axes.plot(x, mean, color=colour, marker=marker if marked else "", label=label)
    axes.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0)
    say_if_single(axes, values)


def say_if_single(axes: Axes, values: Any) -> None:
    """Write on a panel that it has no intervals, once, where there is but one seed.

    Args:
        axes: the panel.
        values: [..., seeds] that it shows.
    """
    if np.shape(values)[-1] == 1 and SINGLE not in [text.get_text() for text in axes.texts]:
        axes.text(0.98, 0.98, SINGLE, transform=axes.transAxes, ha="right", va="top", fontsize=6, color=PALETTE[-1])


def legend_above(figure: Figure, axes: Axes, columns: int = 4) -> None:
    """One legend for the whole figure, above it."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=min(columns, max(len(labels), 1)))


def listed(names: Sequence[str]) -> str:
    """Names as a phrase: `a, b and c`."""
    names = list(names)
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else "nothing"
