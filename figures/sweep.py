"""Sweeps: what counts against each swept field, every seed a point."""

import re
from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from figures import style
from figures.style import Drawn
from jaxdm.analysis.storage import Result

COMMAND = "python -m experiments.rmft sweep --bandit.rate 1e-3 3e-3 --bandit.keep 2 4 8 --seeds 64"
"""What brings results where there are none."""


WIDE = 8
"""Positive values whose largest is so many times the smallest are shown on a logarithmic axis."""


def draw(shown: Sequence[Result]) -> list[Drawn]:
    """A figure for each sweep."""
    return [swept(result) for result in shown]


def swept(result: Result) -> Drawn:
    """One panel a swept field: means over everything else that is swept, with seed intervals.

    Args:
        result: of `experiments.sweep`; the measure has the swept axes, perhaps one more, and `seed`.
    """
    subject, measure, fields = (result.config[name] for name in ("setting", "measure", "axes"))
    values = result.metrics[measure]
    before = result.metrics.get(f"initial_{measure}")
    fields = fields or ["seed"]
    figure, panels = style.panels(len(fields), width=max(style.COLUMN, min(style.PAGE, 2.3 * len(fields))), height=2.6)
    for axes, field in zip(panels, fields, strict=True):
        for order, (name, line) in enumerate(lines(values, field).items()):
            panel(axes, field, line, name, order)
            if before is not None:
                level = float(lines(before, field)[name].mean())
                axes.axhline(level, color=style.PALETTE[order], linestyle=":", linewidth=1, label=f"{name}, before")
        axes.set(xlabel=field)
    panels[0].set_ylabel(measure.replace("_", " "))
    style.legend_above(figure, panels[0], columns=2)
    best = values.mean([dim for dim in values.dims if dim not in result.config["axes"]])
    least = best.isel({str(dim): int(index) for dim, index in best.argmin(...).items()}) if best.dims else best
    where = style.listed([f"{dim} {least[dim].item()}" for dim in least.coords]) if best.dims else "its one setting"
    caption = (
        f"Sweep of {subject}. Each point is a seed, its mean over everything else that is swept; lines are means over "
        f"seeds with 95 % intervals. Least {measure.replace('_', ' ')} at {where}. Look at how far from the ends of "
        f"each axis that is, and whether the lines rise by more than seeds scatter (result {result.path.name})."
    )
    return Drawn(name=f"sweep_{re.sub(r'[^a-z0-9]+', '_', subject.lower())}", figure=figure, caption=caption)


def lines(values: xr.DataArray, field: str) -> dict[str, xr.DataArray]:
    """What is drawn against a field, each with the axes of the field and `seed`: of several distributions two lines."""
    if "distribution" not in values.dims:
        return {"after": over(values, field)}
    names = values["distribution"].values
    found = {str(names[0]): over(values.sel(distribution=names[0]), field)}
    if len(names) > 1:
        found["mean of the other distributions"] = over(values.sel(distribution=names[1:]), field)
    return found


def over(values: xr.DataArray, field: str) -> xr.DataArray:
    """The mean over all axes but a field and the seeds."""
    return values.mean([dim for dim in values.dims if dim not in (field, "seed")])


def panel(axes: Axes, field: str, values: xr.DataArray, label: str, order: int) -> None:
    """One line with its interval, and a point for every seed; words and switches stand side by side."""
    if field == "seed":
        axes.scatter(values["seed"].values, values.values, s=6, color=style.PALETTE[order], label=label)
        return
    values = values.transpose(field, "seed")
    coordinates = values[field].values
    if coordinates.dtype.kind in "iuf":
        values = values.sortby(field)
        place = values[field].values.astype(np.float64)
        if np.all(place > 0) and place.max() >= WIDE * place.min():
            axes.set_xscale("log")
    else:
        place = np.arange(len(coordinates))
        axes.set_xticks(place, [str(name) for name in coordinates])
    colour = style.PALETTE[order % len(style.PALETTE)]
    axes.scatter(np.repeat(place, values.sizes["seed"]), values.values.ravel(), s=5, color=colour, alpha=0.35)
    style.line(axes, place, values.values, label, order)
