"""How a method of the fine-tuning study is put to the test: on one key all meet the same tasks and demonstrations.

Dimensions: `G` training seeds, `P` held-out tasks, `T` steps.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from experiments.sft_study import Config
from experiments.sft_tasks import key_of
from jaxdm.sft import data, evaluation
from jaxdm.sft.data import Setting
from jaxdm.sft.tasks import Task
from jaxdm.types import Agent, Episode, Tree


class Score(NamedTuple):
    """How a method did; every field has a leading axis of seeds, and the fields `jaxdm.sft.evaluation` tells of."""

    gap: jax.Array  # [G]
    gap_of_value: jax.Array  # [G]
    slip: jax.Array  # [G] loss in the values of the recursion
    agreed: jax.Array  # [G, T]
    copied: jax.Array  # [G, 2] share of optimal decisions at observations never demonstrated, and at others
    met: jax.Array  # [G, 2] share of decisions taken there


class Entry(NamedTuple):
    """A competitor as a contest sees it, all of it data: one program serves all that act alike."""

    known: Tree  # a network's weights, or which of `RIVALS`
    shown: Any  # [] int32, how many episodes
    unlabelled: Any  # [] bool, whether they are behaviour


Contest = Callable[[Task, Entry, Task], Score]
"""`(held-out tasks [P], entry of each seed [G, ...], tasks that demonstrations come from [P]) -> Score`."""


def contest(
    config: Config,
    setting: Setting,
    agent: Agent,
    inform: Callable[[Entry, Task, Episode], Tree],
    most: int,
    behaved: bool = False,
) -> Contest:
    """A contest between those who act by the same agent.

    Args:
        config: numbers of tasks, episodes and seeds.
        setting: kind of world.
        agent: who acts.
        inform: `(entry, task, episodes [most, T]) -> agent parameters`.
        most: episodes, of which an entry may look at the first `shown`.
        behaved: whether some are shown behaviour.
    """

    def of_seed(held_out: Task, sources: Task, key: jax.Array, entry: Entry) -> Score:
        def of_task(key: jax.Array, task: Task, source: Task) -> evaluation.Trial:
            def show(key: jax.Array) -> Episode:
                taught = data.demonstrate(key, setting, source, most)
                if not behaved:
                    return taught
                own = data.behave(key, setting, source, most)
                return jax.tree.map(lambda x, y: jnp.where(entry.unlabelled, x, y), own, taught)

            told = lambda task, shown: inform(entry, task, shown)
            return evaluation.trial(key, setting, task, agent, told, show=show, episodes=config.episodes)

        keys = jax.random.split(key, held_out.bound.shape[0])
        trials = jax.vmap(of_task)(keys, held_out, sources)
        gap = evaluation.gap(trials.loss, held_out)
        met = jnp.mean(trials.met, axis=0)
        return Score(
            gap=gap.of_random,
            gap_of_value=gap.of_value,
            slip=jnp.mean(trials.slip),
            agreed=jnp.mean(trials.agreed, axis=0),
            copied=jnp.where(met > 0, jnp.mean(trials.copied, axis=0) / jnp.where(met > 0, met, 1), jnp.nan),
            met=met,
        )

    keys = jax.random.split(key_of(config, "test"), config.seeds)
    return jax.jit(lambda held, entry, sources: jax.lax.map(lambda of: of_seed(held, sources, *of), (keys, entry)))
