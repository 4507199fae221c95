"""One look for all figures: sizes of a paper's column, colours that colour-blind readers tell apart, vector fonts.

Modules give sizes in inches of the report. A style of `STYLES` scales them to where a figure is to stand, when it is
made: `python -m figures --style neurips`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib import rcParams
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

TEXT = 8.0
"""Size of the report's text, in points."""


class Style(NamedTuple):
    """Where figures are to stand."""

    width: float  # of a figure as wide as the text, in inches
    text: float  # points


STYLES = {
    "report": Style(width=PAGE, text=TEXT),
    "neurips": Style(width=5.5, text=6.5),  # one column, 5.5 inches
    "icml": Style(width=6.75, text=TEXT),  # two columns of 3.25 inches
    "slides": Style(width=12.0, text=14.0),
}
"""Widths of the text in the conferences' style files, and of a slide of 13.3 inches."""

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#8C8C8C")
"""Okabe and Ito's colours, the darker ones first; grey in place of their yellow, which vanishes on white."""

MARKERS = "osD^vPX*"
"""Beside the colour, so that a black-and-white print can be read."""

DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)), (0, (7, 2)), (0, (3, 3)))
"""Likewise of lines without markers."""

SINGLE = "one seed: no interval"
"""What a panel says where nothing is known of the error."""


def settings(name: str = "report") -> Any:
    """Matplotlib's parameters of a style.

    Raises:
        ValueError: no such style.
    """
    if name not in STYLES:
        raise ValueError(f"style: {name!r}; expected one of {', '.join(STYLES)}")
    style = STYLES[name]
    scale = style.text / TEXT
    return {
        "figure.figsize": (style.width, style.width),  # where `figure` finds the width
        "font.family": "sans-serif",
        "font.size": style.text,
        "axes.titlesize": style.text,
        "axes.labelsize": style.text,
        "legend.fontsize": 7 * scale,
        "xtick.labelsize": 7 * scale,
        "ytick.labelsize": 7 * scale,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.linewidth": 0.6 * scale,
        "axes.grid": True,
        "grid.color": "#e4e4e4",
        "grid.linewidth": 0.5 * scale,
        "axes.axisbelow": True,
        "lines.linewidth": 1.3 * scale,
        "lines.markersize": 3.5 * scale,
        "legend.frameon": False,
        "legend.columnspacing": 1.2,
        "legend.handlelength": 1.8,
        "figure.facecolor": "white",
        "savefig.dpi": 200,
        "pdf.fonttype": 42,  # TrueType, embedded: text stays text, as publishers ask
        "svg.fonttype": "path",  # the report needs no font of the reader's
        "svg.hashsalt": "jaxdm",  # the same results give the same bytes
    }


def figure(width: float, height: float) -> Figure:
    """An empty figure of a size in inches of the report: its width is scaled as the text's is, its height as letters.

    Args:
        width: inches.
        height: inches.
    """
    wide, tall = rcParams["figure.figsize"][0] / PAGE, rcParams["font.size"] / TEXT
    return Figure(figsize=(width * wide, height * tall), layout="constrained")


def look(order: int, marked: bool = True) -> dict[str, Any]:
    """Colour, marker and dashes of the line at a place of the palette.

    A second round of colours is dashed and hollow, a third one filled again with other markers.

    Args:
        order: from 0.
        marked: whether points carry markers; lines without differ by their dashes.
    """
    place, again = order % len(PALETTE), order // len(PALETTE)
    dashes = DASHES[again % len(DASHES)] if marked else DASHES[(place + 3 * again) % len(DASHES)]
    shape = MARKERS[(place + 3 * (again // 2)) % len(MARKERS)]
    face = "white" if again % 2 else PALETTE[place]
    marker = {"marker": shape, "markerfacecolor": face} if marked else {"marker": ""}
    return {"color": PALETTE[place], "linestyle": dashes, **marker}


def panels(columns: int = 1, *, width: float = COLUMN, height: float = 2.3) -> tuple[Figure, list[Axes]]:
    """A figure with `columns` panels side by side.

    Args:
        columns: number of panels.
        width: inches, all panels together.
        height: inches.
    """
    whole = figure(width, height)
    return whole, list(whole.subplots(1, columns, squeeze=False)[0])


def grid(rows: int, columns: int, *, width: float, height: float) -> tuple[Figure, list[list[Axes]]]:
    """A figure with rows of panels.

    Args:
        rows: number of rows.
        columns: panels of a row.
        width: inches, all panels together.
        height: inches, all rows together.
    """
    whole = figure(width, height)
    return whole, [list(row) for row in whole.subplots(rows, columns, squeeze=False)]


def wrapped(count: int, columns: int = 4, height: float = 1.7, shared: bool = False) -> tuple[Figure, list[Axes]]:
    """A page-wide figure and as many panels as there are things to draw, in rows as even as can be: none is empty.

    Args:
        count: number of panels.
        columns: panels of a row, at most.
        height: inches of a row.
        shared: whether all panels have the scales of the first.
    """
    rows = -(-count // columns)
    columns = -(-count // rows)
    whole = figure(PAGE, 0.7 + height * rows)
    spaces = whole.add_gridspec(rows, 2 * columns)
    panels = []
    for place in range(count):
        row, column = divmod(place, columns)
        missing = rows * columns - count if row == rows - 1 else 0  # the last row is centred
        first: Any = {"sharex": panels[0], "sharey": panels[0]} if shared and panels else {}
        panels.append(whole.add_subplot(spaces[row, 2 * column + missing : 2 * column + missing + 2], **first))
    return whole, panels


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
    """A mean over seeds with its interval as a band, and the seeds behind it: at every mark, or at the end of a curve.

    Args:
        axes: where to draw.
        x: [X].
        values: [X, seeds].
        label: name in the legend.
        order: place in the palette.
        marked: whether points carry markers.
    """
    x, values, form = np.asarray(x), np.asarray(values), look(order, marked)
    mean, low, high = seed_interval(values)
    axes.plot(x, mean, label=label, **form)
    if values.shape[-1] == 1:
        say_if_single(axes, values)
        return
    axes.fill_between(x, low, high, color=form["color"], alpha=0.15, linewidth=0)
    at = slice(None) if marked else slice(-1, None)
    points(axes, np.broadcast_to(x[at, None], values[at].shape), values[at], order)


def points(axes: Axes, x: Any, y: Any, order: int) -> None:
    """Seeds, as small points behind their mean.

    Args:
        axes: where to draw.
        x: of any shape.
        y: of the same shape.
        order: place in the palette.
    """
    colour = PALETTE[order % len(PALETTE)]
    axes.scatter(x, y, s=rcParams["lines.markersize"] ** 2 / 2.5, color=colour, alpha=0.45, linewidths=0, zorder=1.5)


def say_if_single(axes: Axes, values: Any) -> None:
    """Write on a panel that it has no intervals, once, where there is but one seed.

    Args:
        axes: the panel.
        values: [..., seeds] that it shows.
    """
    if np.shape(values)[-1] == 1 and SINGLE not in [text.get_text() for text in axes.texts]:
        place: Any = {"transform": axes.transAxes, "ha": "right", "va": "top"}
        axes.text(0.98, 0.98, SINGLE, fontsize="small", color=PALETTE[-1], **place)


def legend_above(figure: Figure, axes: Axes, columns: int = 4) -> None:
    """One legend for the whole figure, above it, in rows as even as can be of at most so many columns."""
    legend_of(figure, dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True)), columns)


def legend_of(figure: Figure, handles: Mapping[str, Any], columns: int = 4) -> None:
    """As `legend_above`, of handles by label, from any panels."""
    rows = max(1, -(-len(handles) // columns))
    even = max(1, -(-len(handles) // rows))
    figure.legend(list(handles.values()), list(handles), loc="outside upper center", ncols=even)


def listed(names: Sequence[str]) -> str:
    """Names as a phrase: `a, b and c`."""
    names = list(names)
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else "nothing"
