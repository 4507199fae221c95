"""Does a network imitate whoever taught it? The overlap of every network's policy with every expert's.

Dimensions: `P` held-out tasks, `E` experts, `G` training seeds.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from jaxdm.analysis.storage import named
from jaxdm.sft import data, experts
from jaxdm.sft.data import Setting
from jaxdm.sft.experts import Expert
from jaxdm.sft.tasks import ExpertPolicy, Task
from jaxdm.types import Network, Tree

EXPERTS: dict[str, Expert] = {
    "oracle": experts.oracle,
    "soft oracle": experts.soft_oracle(0.5),
    "two-step planner": experts.myopic(2),
    "adversarial": experts.adversarial,
}


def overlaps(
    network: Network,
    setting: Setting,
    pool: Task,
    held_out: Sequence[Task],
    key: jax.Array,
    supports: int,
    tune: Callable[[Task, str], Tree],
) -> dict[str, xr.DataArray]:
    """How much of each expert's policy each network's policy covers, in the expert's own episodes.

    Experts with more ties are easier to overlap with, so networks are compared on the same expert, not experts on the
    same network.

    Args:
        network: that is trained.
        setting: kind of world.
        pool: training tasks.
        held_out: tasks of the query episodes, leading axis [P], of each of G seeds.
        key: random key.
        supports: demonstrations in the context.
        tune: `(pool with that expert, its name) -> weights [G, ...]`, equally long for all.

    Returns:
        `imitation` with axes `trained_on`, `shown` (the experts, twice) and `seed`.
    """

    def covered(weights: Tree, task: Task) -> jax.Array:
        return overlap(network, setting, task, weights, key, supports)

    def policies(task: Task) -> list[ExpertPolicy]:
        return [expert(task) for expert in EXPERTS.values()]

    covered_of, all_policies = jax.jit(covered), jax.jit(jax.vmap(policies))
    trained = [
        tune(pool._replace(expert=policy), name) for policy, name in zip(all_policies(pool), EXPERTS, strict=True)
    ]
    seeds = range(len(held_out))
    shown = [[tasks._replace(expert=policy) for policy in all_policies(tasks)] for tasks in held_out]
    rows = [
        [
            [covered_of(jax.tree.map(lambda x, g=g: x[g], weights), shown[g][e]) for g in seeds]
            for e in range(len(EXPERTS))
        ]
        for weights in trained
    ]
    names = list(EXPERTS)
    return {"imitation": named(np.asarray(rows), trained_on=names, shown=names, seed=seeds)}


def overlap(
    network: Network, setting: Setting, held_out: Task, weights: Tree, key: jax.Array, supports: int
) -> jax.Array:
    """Mean over query decisions of `sum_a min(p(a), l(a))`: p is the network's policy, l the expert's label; []."""

    def of_task(key: jax.Array, task: Task) -> jax.Array:
        prompt = data.as_prompt(data.expert_sequence(key, setting, task, supports), setting.spaces)
        outputs = network.apply(weights, prompt.tokens)[-setting.horizon :]
        policy = jax.nn.softmax(outputs[:, : setting.spaces.actions])
        return jnp.mean(jnp.sum(jnp.minimum(policy, prompt.label[-setting.horizon :]), axis=-1))

    keys = jax.random.split(key, held_out.bound.shape[0])
    return jnp.mean(jax.vmap(of_task)(keys, held_out))
