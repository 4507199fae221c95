"""Is the belief in the network? A linear probe of its last layer, beside the same probe of an untrained network.

Dimensions: `P` tasks, `T` steps of the query episode, `D` width, `X` cells.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.sft.tasks import Study, key_of
from jaxdm import tokens
from jaxdm.models.transformer import network
from jaxdm.oracles import graph_policy
from jaxdm.sft import data
from jaxdm.sft.tasks import Task
from jaxdm.types import Tree

RIDGE = 0.1
"""Of the regression, in units of the features' mean variance: tasks are few beside features."""


PROMPTS = 8
"""Of every task, each with demonstrations and a query episode of its own."""


def probe(study: Study, weights: dict[str, Tree]) -> dict[str, Any]:
    """How much of the mood's belief a linear map of the last layer explains on tasks that it was not fitted to.

    The target is the belief in the mood that the present sign shows, a mean over models: a network need not know which
    mood reverses the controls to hold it. Half of the tasks are fitted, the other half explained.

    Returns:
        `probe` [networks, seeds], held-out R^2, for the networks named in `probed`.
    """
    if study.kind == "mdp":
        return {}
    config, setting = study.config, study.setting
    hidden = network(config.network, setting.spaces.features, config.network.width)
    half = config.test_tasks // 2

    def gather(params: Tree) -> tuple[jax.Array, jax.Array]:
        def of_task(key: jax.Array, task: Task) -> tuple[jax.Array, jax.Array]:
            key_show, key_query = jax.random.split(key)
            shown = data.demonstrations(key_show, setting, task, config.supports)
            query = data.query_episode(key_query, setting, task)
            episodes = jax.tree.map(lambda x, y: jnp.concatenate([x, y]), shown, query)
            features = hidden.apply(exposed(params, config.network.width), tokens.encode(episodes, setting.spaces))
            one = jax.tree.map(lambda x: x[0], query)
            node = graph_policy.nodes_along(task.graph, one)
            own = jnp.mean(task.graph.belief, axis=0)[node, one.observation % 2]
            return features[-setting.horizon :], own

        keys = jax.random.split(key_of(config, "probe"), (config.test_tasks, PROMPTS))
        return jax.vmap(jax.vmap(of_task, in_axes=(0, None)))(keys, study.held_out)

    def explained(params: Tree) -> jax.Array:
        features, target = gather(params)
        flat = lambda x: x.reshape(half * PROMPTS * setting.horizon, -1)
        known, asked = (flat(x) for x in (features[:half], features[half : 2 * half]))
        learnt, truth = (flat(x)[:, 0] for x in (target[:half], target[half : 2 * half]))
        centre, mean = jnp.mean(known, axis=0), jnp.mean(learnt)
        x = known - centre[None]
        gram = x.T @ x
        gram += RIDGE * jnp.trace(gram) / len(gram) * jnp.eye(len(gram), dtype=gram.dtype)
        guess = mean + (asked - centre[None]) @ jnp.linalg.solve(gram, x.T @ (learnt - mean))
        return 1 - jnp.sum((guess - truth) ** 2) / jnp.sum((truth - jnp.mean(truth)) ** 2)

    run = jax.jit(jax.vmap(explained))
    return {"probed": np.array(list(weights)), "probe": np.stack([run(known) for known in weights.values()])}


def exposed(params: Tree, width: int) -> Tree:
    """The weights of the same network with an identity as its read-out, which makes its last layer its output."""
    return params | {"readout": {"kernel": jnp.eye(width), "bias": jnp.zeros(width)}}
