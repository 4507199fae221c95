"""The methods of the fine-tuning study on the same held-out tasks, demonstrations and keys.

Dimensions: `G` training seeds, `D` numbers of demonstrations, `T` steps, `m` methods.
"""

from typing import Any

import jax
import numpy as np

from experiments.sft_arena import NEEDY, NETWORKS, RIVALS, Arena, score
from experiments.sft_contests import Score
from experiments.sft_tasks import Study
from jaxdm.types import Tree


def compare(study: Study, arena: Arena, weights: dict[str, Tree]) -> dict[str, Any]:
    """All methods for every number of demonstrations; DPT, shown unlabelled behaviour, for that of training.

    Returns:
        `methods` [m], `demonstrations` [D]; `gap`, `gap_of_value`, `slip` [m, D, G], `agreed` [m, D, G, T], `copied`
        and `met` [m, D, G, 2]; NaN where a method was not tried: for want of demonstrations, or DPT. `swapped` [G]:
        SFT's gap when the demonstrations come from another task.
    """
    config, held_out = study.config, study.held_out
    names = NETWORKS + RIVALS
    found: dict[tuple[str, int], Score] = {}
    for column, count in enumerate(config.demonstrations):
        for name in names:
            unable, untried = name in NEEDY and count == 0, name == "DPT" and count != config.supports
            if not unable and not untried:
                found[name, column] = score(arena, name, weights, count, held_out)
    metrics: dict[str, Any] = {"methods": np.array(names), "demonstrations": np.array(config.demonstrations)}
    for field in Score._fields:
        shape = np.shape(getattr(found["SFT", 0], field))
        metrics[field] = np.full((len(names), len(config.demonstrations), *shape), np.nan)
        for (name, column), outcome in found.items():
            metrics[field][names.index(name), column] = getattr(outcome, field)
    others = jax.tree.map(lambda x: np.roll(x, 1, axis=0), held_out)
    return metrics | {"swapped": np.asarray(score(arena, "SFT", weights, config.supports, held_out, others).gap)}
