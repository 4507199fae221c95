"""Does a network imitate whoever taught it? Teachers, and the overlap of a network's law with theirs.

Dimensions: `E` teachers, `G` training seeds, `T` steps, `A` actions.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.sft_tasks import Study, key_of
from jaxdm import finetuning, prompts
from jaxdm.finetuning import Teacher
from jaxdm.tasks import Task
from jaxdm.types import Tree

TEACHERS: dict[str, Teacher] = {
    "oracle": finetuning.oracle,
    "soft oracle": finetuning.soft_oracle(0.5),
    "two steps ahead": finetuning.myopic(2),
    "contrarian": finetuning.contrarian,
}


def matrix(study: Study, tuned: Tree, tune: Callable[[Task, str], Tree]) -> dict[str, Any]:
    """How much of each teacher's law each network's law covers on held-out tasks.

    Returns:
        `teachers` [E], and `imitation` [E, E, G]: row i was taught, and is shown demonstrations, by teacher i.

    Args:
        study: the study.
        tuned: weights [G, ...] of the network that the oracle taught in full.
        tune: `(pool with that teacher, its name) -> weights [G, ...]`, for the other teachers.
    """
    of_seeds = jax.jit(jax.vmap(lambda weights, held: overlaps(study, held, weights), in_axes=(0, None), out_axes=1))
    rows = []
    for name, teacher in TEACHERS.items():
        lesson = jax.jit(jax.vmap(lambda task, by=teacher: finetuning.taught(task, by)))
        weights = tuned if name == "oracle" else tune(lesson(study.pool), name)
        rows.append(of_seeds(weights, lesson(study.held_out)))
    return {"teachers": np.array(list(TEACHERS)), "imitation": np.stack(rows)}


def overlaps(study: Study, held_out: Task, weights: Tree) -> jax.Array:
    """Mean over query decisions of `sum_a min(p(a), l(a))`: p is the network's law, l each teacher's label; [E]."""
    config, setting, spaces = study.config, study.setting, study.setting.spaces

    def of_task(key: jax.Array, task: Task) -> jax.Array:
        key_show, key_query = jax.random.split(key)
        shown = finetuning.demonstrate(key_show, setting, task, config.supports)
        query = finetuning.visit(key_query, setting, task)
        episodes = jax.tree.map(lambda x, y: jnp.concatenate([x, y]), shown, query)
        outputs = study.network.apply(weights, prompts.encode(episodes, spaces))[-setting.horizon :]
        law = jax.nn.softmax(outputs[:, : spaces.actions])
        one = jax.tree.map(lambda x: x[0], query)
        labels = [finetuning.label(finetuning.taught(task, other), one) for other in TEACHERS.values()]
        return jnp.mean(jnp.sum(jnp.minimum(law[None], jnp.stack(labels)), axis=-1), axis=-1)

    keys = jax.random.split(key_of(config, "probe"), config.test_tasks)
    return jnp.mean(jax.vmap(of_task)(keys, held_out), axis=0)
