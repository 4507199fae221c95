"""The axes of the fine-tuning study: how gaps change with the tasks, and with the number of tasks to train on.

Along an axis of tasks one network serves all points; it is trained again for fewer training tasks only.

Dimensions: `m` methods, `G` training seeds.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import xarray as xr

from experiments import rooms
from experiments.rooms import TaskRanges
from experiments.sft.config import AxisPoints
from jaxdm.analysis.storage import named
from jaxdm.sft.data import Kind
from jaxdm.sft.tasks import Task
from jaxdm.types import Tree

FOLLOWED = ("SFT", "ICL-only", "demonstration vote")
"""Methods that are evaluated along an axis."""


class Axis(NamedTuple):
    """Points, and the field of `TaskRanges` that takes their values."""

    points: tuple[Any, ...]
    field: str

    def ranges(self, ranges: TaskRanges, value: Any) -> TaskRanges:
        """The same tasks but for one number, which is fixed."""
        whole = getattr(ranges, self.field)
        fixed = (value,) * len(whole) if isinstance(whole, tuple) else value
        return ranges._replace(**{self.field: fixed})


def task_axes(points: AxisPoints, kind: Kind, side: int) -> dict[str, Axis]:
    """The axes of a setting along which only the drawn tasks differ."""
    axes = {"slip": Axis(points=points.slip, field="slip")}
    if kind == "pomdp":
        axes["cue_accuracy"] = Axis(points=points.cue_accuracy, field="cue_accuracy")
    if kind == "apomdp":
        # a sure cue in one model could rule out the others
        unsure = tuple(accuracy for accuracy in points.cue_accuracy if accuracy < 1)
        axes["cue_accuracy"] = Axis(points=unsure, field="cue_accuracy")
        axes["models"] = Axis(points=points.models, field="models")
        axes["attitude"] = Axis(points=points.attitude, field="attitude")
    fitting = tuple(extent for extent in points.extent if extent <= side)
    if len(fitting) > 1:
        axes["extent"] = Axis(points=fitting, field="extent")
    return axes


def sweep(
    points: AxisPoints, kind: Kind, side: int, gaps: Callable[[TaskRanges, int | None], np.ndarray]
) -> dict[str, xr.DataArray]:
    """Gaps along every axis of tasks, and along the horizon.

    Args:
        points: of every axis.
        kind: of world.
        side: cells along a wall.
        gaps: `(ranges of the held-out tasks, horizon or None for that of training) -> [m, G]` of `FOLLOWED`.

    Returns:
        `axis_<name>` with axes `agent`, `<name>`, `seed`.
    """
    ranges = rooms.training_ranges(kind, side)
    along = {"horizon": (points.horizon, [gaps(ranges, horizon) for horizon in points.horizon])}
    for name, axis in task_axes(points, kind, side).items():
        along[name] = (axis.points, [gaps(axis.ranges(ranges, value), None) for value in axis.points])
    return {f"axis_{name}": _along(name, where, found) for name, (where, found) in along.items()}


def fewer_tasks(
    pool: Task, sizes: Sequence[int], tune: Callable[[Task, str], Tree], gap: Callable[[Tree], np.ndarray]
) -> dict[str, xr.DataArray]:
    """SFT's gap after short training on the first few tasks of the pool.

    Args:
        pool: leading axis [tasks].
        sizes: numbers of tasks; a larger one than the pool's stands for the whole pool.
        tune: `(pool, name) -> weights [G, ...]`; the whole pool's are those trained on the oracle.
        gap: `weights -> [G]` on the held-out tasks.

    Returns:
        `axis_pool` with axes `agent` (SFT alone), `pool`, `seed`.
    """
    whole = pool.bound.shape[0]
    points = sorted({min(size, whole) for size in sizes})
    gaps = []
    for size in points:
        repeated = np.arange(whole) % size  # of the same shape, so that nothing is compiled again
        few = jax.tree.map(lambda x, repeated=repeated: np.asarray(x)[repeated], pool)
        gaps.append(gap(tune(few, "oracle" if size == whole else str(size)))[None])
    return {"axis_pool": _along("pool", points, gaps)}


def _along(name: str, points: Sequence[Any], gaps: Sequence[np.ndarray]) -> xr.DataArray:
    """Gaps [m, G] at every point, with the axes `agent`, `<name>`, `seed`."""
    values = np.stack(gaps, axis=1)
    return named(values, agent=FOLLOWED[: len(values)], **{name: points}, seed=range(values.shape[-1]))
