"""The methods of the fine-tuning study on the same held-out tasks, demonstrations and keys.

Dimensions: `G` training seeds, `D` numbers of demonstrations, `T` steps, `m` methods.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.sft_contests import NEEDY, NETWORKS, RIVALS, Contest, Score, deployed
from experiments.sft_tasks import Study
from jaxdm import finetuning
from jaxdm.types import Tree


def compare(study: Study, contests: dict[str | int, Contest], weights: dict[str, Tree]) -> dict[str, Any]:
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
        for name in set(weights) - {"DPT"}:
            found[name, column] = contests[count](held_out, weights[name], held_out)
        able = [name for name in RIVALS if count > 0 or name not in NEEDY]
        counts = jnp.full(config.seeds, count)
        found |= {(name, column): contests[name](held_out, counts, held_out) for name in able}
    unlabelled = deployed(config, study.setting, study.network, config.supports, finetuning.behave)
    found["DPT", config.demonstrations.index(config.supports)] = unlabelled(held_out, weights["DPT"], held_out)
    metrics: dict[str, Any] = {"methods": np.array(names), "demonstrations": np.array(config.demonstrations)}
    for field in Score._fields:
        shape = np.shape(getattr(found["SFT", 0], field))
        metrics[field] = np.full((len(names), len(config.demonstrations), *shape), np.nan)
        for (name, column), score in found.items():
            metrics[field][names.index(name), column] = getattr(score, field)
    others = jax.tree.map(lambda x: jnp.roll(x, 1, axis=0), held_out)
    return metrics | {"swapped": np.asarray(contests[config.supports](held_out, weights["SFT"], others).gap)}
