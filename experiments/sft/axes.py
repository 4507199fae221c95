"""The axes of the fine-tuning study: one network, judged on strata of tasks; trained again for fewer tasks only.

Dimensions: `X` points of an axis, `m` methods, `G` training seeds.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from experiments import rooms
from experiments.rooms import TaskRanges
from experiments.sft.config import Config
from experiments.sft.methods import Arena, arena, score
from experiments.sft.tasks import Study, held_out, setting_of, side_of
from jaxdm.sft.data import Kind
from jaxdm.sft.tasks import Task
from jaxdm.types import Tree

SHOWN = ("SFT", "ICL-only", "demonstration vote")
"""Methods that are followed along an axis."""


def strata(config: Config, kind: Kind) -> dict[str, tuple[tuple[float, ...], Callable[[TaskRanges, Any], TaskRanges]]]:
    """The axes of a setting along which only tasks differ: points, and how a point changes them."""
    point = lambda name: lambda about, value: about._replace(**{name: (value, value)})
    axes = {"slip": (config.slips, point("slip"))}
    if kind == "pomdp":
        axes["quality"] = (config.qualities, point("cue_accuracy"))
    if kind == "apomdp":
        usable = tuple(q for q in config.qualities if q < 1)  # with q = 1 in one model, others could be ruled out
        axes["quality"] = (usable, point("cue_accuracy"))
        axes["models"] = (config.models, lambda about, value: about._replace(models=(value,) * 3))
        axes["attitude"] = (config.attitudes, point("attitude"))
    fitting = tuple(extent for extent in config.extents if extent <= side_of(config, kind))
    if len(fitting) > 1:
        axes["extent"] = (fitting, lambda about, value: about._replace(extent=value))
    return axes


def sweep(study: Study, usual: Arena, weights: dict[str, Tree]) -> dict[str, Any]:
    """Gaps along every axis, `axis_<name>` [X] and `axis_<name>_gap` [m, X, G] with methods `SHOWN`.

    All strata are drawn with the same key, so that neighbouring points share rooms and luck.
    """
    config, kind, metrics = study.config, study.kind, {}
    about = rooms.training_ranges(kind, side_of(config, kind))

    def at_horizon(horizon: int) -> np.ndarray:
        if horizon == config.horizon:
            return judge(usual, study.held_out, study, weights)
        other = arena(config, setting_of(config, kind, horizon), study.network, config.supports)
        return judge(other, held_out(config, kind, horizon, about), study, weights)

    for name, (points, change) in strata(config, kind).items():
        strata_of = [held_out(config, kind, config.horizon, change(about, value)) for value in points]
        gaps = [judge(usual, stratum, study, weights) for stratum in strata_of]
        metrics |= {f"axis_{name}": np.array(points), f"axis_{name}_gap": np.stack(gaps, axis=1)}
    horizons = [at_horizon(horizon) for horizon in config.horizons]
    return metrics | {"axis_horizon": np.array(config.horizons), "axis_horizon_gap": np.stack(horizons, axis=1)}


def judge(where: Arena, held_out: Task, study: Study, weights: dict[str, Tree]) -> np.ndarray:
    """Gaps of `SHOWN`, [m, G]."""
    return np.stack([score(where, name, weights, study.config.supports, held_out).gap for name in SHOWN])


def fewer_tasks(study: Study, usual: Arena, tune: Callable[[Task, object], Tree]) -> dict[str, Any]:
    """SFT's gap after short training on the first few tasks of the pool, `axis_pool` [X], `axis_pool_gap` [1, X, G].

    Args:
        study: the study.
        usual: the contests of the study's own setting.
        tune: `(pool, name) -> weights [G, ...]`; the whole pool's are those of the oracle's lesson.
    """
    config = study.config
    sizes = [min(size, config.train_tasks) for size in config.pools]
    repeat = lambda size: jax.tree.map(lambda x: np.asarray(x)[np.arange(config.train_tasks) % size], study.pool)
    names = ["oracle" if size == config.train_tasks else size for size in sizes]
    tuned = [tune(repeat(size), name) for size, name in zip(sizes, names, strict=True)]
    gap = lambda weights: score(usual, "SFT", {"SFT": weights}, config.supports, study.held_out).gap
    gaps = [gap(weights) for weights in tuned]
    return {"axis_pool": np.array(sizes), "axis_pool_gap": np.stack(gaps)[None]}
