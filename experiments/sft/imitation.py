"""Does a network imitate whoever taught it? Teachers, and the overlap of a network's law with theirs.

Dimensions: `E` teachers, `G` training seeds.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.sft.tasks import Study, key_of
from jaxdm.sft import data, experts
from jaxdm.sft.experts import Expert
from jaxdm.sft.tasks import Task
from jaxdm.types import Tree

TEACHERS: dict[str, Expert] = {
    "oracle": experts.oracle,
    "soft oracle": experts.soft_oracle(0.5),
    "two steps ahead": experts.myopic(2),
    "contrarian": experts.adversarial,
}


def matrix(study: Study, tune: Callable[[Task, str], Tree]) -> dict[str, Any]:
    """How much of each teacher's law each network's law covers on held-out tasks, all in the teacher's own episodes.

    Teachers with more ties are easier to overlap with, so networks are compared on the same teacher, not teachers on
    the same network.

    Returns:
        `teachers` [E], and `imitation` [E, E, G]: taught by the first, shown and asked about episodes of the second.

    Args:
        study: the study.
        tune: `(pool with that teacher, its name) -> weights [G, ...]`, equally long for all.
    """
    covered = jax.jit(jax.vmap(lambda weights, task: overlap(study, task, weights), in_axes=(0, None)))
    lessons = jax.jit(jax.vmap(lambda task: [teach(task) for teach in TEACHERS.values()]))
    taught_by_each = lambda pool: [pool._replace(expert=lesson) for lesson in lessons(pool)]
    taught = [tune(pool, name) for pool, name in zip(taught_by_each(study.pool), TEACHERS, strict=True)]
    asked = taught_by_each(study.held_out)
    rows = [np.stack([covered(weights, task) for task in asked]) for weights in taught]
    return {"teachers": np.array(list(TEACHERS)), "imitation": np.stack(rows)}


def overlap(study: Study, held_out: Task, weights: Tree) -> jax.Array:
    """Mean over query decisions of `sum_a min(p(a), l(a))`: p is the network's law, l the teacher's label; []."""
    config, setting, spaces = study.config, study.setting, study.setting.spaces

    def of_task(key: jax.Array, task: Task) -> jax.Array:
        asked = data.expert_prompt(key, setting, task, config.supports)
        outputs = study.network.apply(weights, asked.tokens)[-setting.horizon :]
        law = jax.nn.softmax(outputs[:, : spaces.actions])
        return jnp.mean(jnp.sum(jnp.minimum(law, asked.label[-setting.horizon :]), axis=-1))

    keys = jax.random.split(key_of(config, "probe"), config.test_tasks)
    return jnp.mean(jax.vmap(of_task)(keys, held_out))
