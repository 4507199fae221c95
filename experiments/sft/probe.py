"""Is the belief in the network? A linear probe of its last layer, beside the same probe of an untrained network.

Dimensions: `P` tasks, `T` steps of the query episode, `D` width.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from jaxdm import tokens
from jaxdm.analysis.storage import named
from jaxdm.models.transformer import TransformerConfig, network
from jaxdm.oracles import graph_policy
from jaxdm.sft import data
from jaxdm.sft.data import Setting
from jaxdm.sft.tasks import Task
from jaxdm.types import Tree

RIDGE = 0.1
"""Ridge penalty of the regression, in units of the features' mean variance: tasks are few beside features."""


PROMPTS = 8
"""Sequences of every task, each with demonstrations and a query episode of its own."""


def probe(
    shape: TransformerConfig,
    setting: Setting,
    held_out: Sequence[Task],
    weights: dict[str, Tree],
    key: jax.Array,
    supports: int,
) -> dict[str, xr.DataArray]:
    """Held-out R^2 of a linear map from the last layer to the belief in the mode.

    The target is the belief that the mode is the one that the present cue shows, a mean over models: a network need not
    know which mode reverses the controls to hold it. Half of the tasks are fitted, the other half explained.

    Args:
        shape: of the network.
        setting: kind of world, with hidden modes.
        held_out: tasks, leading axis [P], of each seed.
        weights: by name of the network, leading axis [seeds].
        key: random key.
        supports: demonstrations in the context.

    Returns:
        `probe` with axes `network`, `seed`.
    """
    last_layer = network(shape, setting.spaces.features, shape.width)
    count = held_out[0].bound.shape[0]
    half = count // 2

    def of_task(params: Tree, key: jax.Array, task: Task) -> tuple[jax.Array, jax.Array]:
        """The last layer [T, D] along a query episode, and the belief [T] there."""
        key_show, key_query = jax.random.split(key)
        shown = data.demonstrations(key_show, setting, task, supports)
        query = data.query_episode(key_query, setting, task)
        episodes = jax.tree.map(lambda x, y: jnp.concatenate([x, y]), shown, query)
        hidden = last_layer.apply(with_identity_readout(params, shape.width), tokens.encode(episodes, setting.spaces))
        episode = jax.tree.map(lambda x: x[0], query)
        node = graph_policy.nodes_along(task.graph, episode)
        belief = jnp.mean(task.graph.belief, axis=0)[node, episode.observation % 2]
        return hidden[-setting.horizon :], belief

    def explained(params: Tree, held_out: Task) -> jax.Array:
        def of_prompts(keys: jax.Array, task: Task) -> tuple[jax.Array, jax.Array]:
            return jax.vmap(lambda key: of_task(params, key, task))(keys)

        hidden, belief = jax.vmap(of_prompts)(jax.random.split(key, (count, PROMPTS)), held_out)
        fitted = hidden[:half].reshape(-1, shape.width)
        explained = hidden[half : 2 * half].reshape(-1, shape.width)
        return ridge_r2(fitted, belief[:half].reshape(-1), explained, belief[half : 2 * half].reshape(-1))

    run, seeds = jax.jit(explained), range(len(held_out))
    values = [[run(jax.tree.map(lambda x, g=g: x[g], each), held_out[g]) for g in seeds] for each in weights.values()]
    return {"probe": named(np.asarray(values), network=list(weights), seed=seeds)}


def ridge_r2(x: jax.Array, y: jax.Array, x_new: jax.Array, y_new: jax.Array) -> jax.Array:
    """The held-out `R^2 = 1 - |y_new - prediction|^2 / |y_new - mean|^2` of ridge regression, [].

    Args:
        x: [n, D] fitted features.
        y: [n] fitted targets.
        x_new: [n', D].
        y_new: [n'].
    """
    centre = jnp.mean(x, axis=0)
    mean = jnp.mean(y)
    x = x - centre[None]
    gram = x.T @ x
    gram += RIDGE * jnp.trace(gram) / len(gram) * jnp.eye(len(gram), dtype=gram.dtype)
    predicted = mean + (x_new - centre[None]) @ jnp.linalg.solve(gram, x.T @ (y - mean))
    return 1 - jnp.sum((predicted - y_new) ** 2) / jnp.sum((y_new - jnp.mean(y_new)) ** 2)


def with_identity_readout(params: Tree, width: int) -> Tree:
    """The weights of the same network with an identity as its read-out, which makes its last layer its output."""
    return params | {"readout": {"kernel": jnp.eye(width), "bias": jnp.zeros(width)}}
