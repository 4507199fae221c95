"""The axes of the fine-tuning study.

Along an axis of tasks one network serves all points, which lie within what it was trained on (but for the last slip).
Along the horizon a network is fine-tuned for each, once shown the same number of episodes and once, as near as whole
episodes allow, the same number of steps. Along labels, tasks and steps networks are trained again for each point.

Dimensions: `m` methods, `G` training seeds.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import xarray as xr

from experiments.rooms import TaskRanges
from experiments.sft.config import AxisPoints
from jaxdm.analysis.storage import named
from jaxdm.sft.data import Kind
from jaxdm.sft.tasks import Task

FOLLOWED = ("SFT", "ICL-only", "demonstration vote", "Bayes posterior")
"""Methods that are evaluated along an axis of tasks."""


class Axis(NamedTuple):
    """Points, and the field of `TaskRanges` that takes their values, beside what else is fixed."""

    points: tuple[Any, ...]
    field: str
    ranges: TaskRanges

    def at(self, value: Any) -> TaskRanges:
        """The same tasks but for one number, which is fixed."""
        whole = getattr(self.ranges, self.field)
        return self.ranges._replace(**{self.field: (value,) * len(whole)})


def task_axes(points: AxisPoints, kind: Kind, ranges: TaskRanges) -> dict[str, Axis]:
    """The axes of a setting along which only the drawn tasks differ.

    More models cost a pessimist, so that they are counted for one.
    """
    if kind == "mdp":
        return {"slip": Axis(points=points.slip, field="slip", ranges=ranges)}
    if kind == "pomdp":
        return {"cue_accuracy": Axis(points=points.cue_accuracy, field="cue_accuracy", ranges=ranges)}
    pessimist = ranges._replace(attitude=(1.0, 1.0))
    return {
        "models": Axis(points=points.models, field="models", ranges=pessimist),
        "attitude": Axis(points=points.attitude, field="attitude", ranges=ranges),
    }


def along(name: str, points: Sequence[Any], agents: Sequence[str], gaps: Sequence[np.ndarray]) -> xr.DataArray:
    """Gaps [m, G] at every point, with the axes `agent`, `<name>`, `seed`."""
    values = np.stack(gaps, axis=1)
    return named(values, agent=agents, **{name: points}, seed=range(values.shape[-1]))


def sweep(axes: dict[str, Axis], gaps: Callable[[TaskRanges], np.ndarray]) -> dict[str, xr.DataArray]:
    """Gaps along every axis of tasks.

    Args:
        axes: from `task_axes`.
        gaps: `ranges of the held-out tasks -> [m, G]` of `FOLLOWED`.

    Returns:
        `axis_<name>` with axes `agent`, `<name>`, `seed`.
    """
    return {
        f"axis_{name}": along(name, axis.points, FOLLOWED, [gaps(axis.at(value)) for value in axis.points])
        for name, axis in axes.items()
    }


def shown_episodes(horizons: Sequence[int], horizon: int, supports: int) -> dict[str, list[int]]:
    """How many episodes are shown at each horizon: the same number, and the nearest to the same number of steps."""
    return {
        "episodes": [supports] * len(horizons),
        "steps": [max(1, round(supports * horizon / each)) if supports else 0 for each in horizons],
    }


def first_tasks(pool: Task, count: int) -> Task:
    """As many tasks as the pool has, but only its first `count`, repeated: of the same shape, so compiled once."""
    repeated = np.arange(pool.bound.shape[0]) % count
    return jax.tree.map(lambda x: np.asarray(x)[repeated], pool)


def within(points: Sequence[int], most: int) -> list[int]:
    """The points that are at most so large; the largest possible one stands for those that are larger."""
    return sorted({min(point, most) for point in points})
