"""Who is compared in the fine-tuning study, and the two contests in which all of them meet.

Dimensions: `G` training seeds, `P` held-out tasks, `H` horizon, `O` observations, `A` actions.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.sft.config import Config
from experiments.sft.tasks import Study, key_of
from jaxdm import tokens
from jaxdm.learners import tabular
from jaxdm.models.agents import deploy, network_agent
from jaxdm.rollout import markov_agent
from jaxdm.sft import data, evaluation
from jaxdm.sft.data import Setting
from jaxdm.sft.tasks import Task
from jaxdm.types import Agent, Episode, Network, Tree


class Score(NamedTuple):
    """How a method did; every field has a leading axis of seeds, and the fields `jaxdm.sft.evaluation` tells of."""

    gap: jax.Array  # [G]
    gap_of_value: jax.Array  # [G]
    recursive_regret: jax.Array  # [G] loss in the values of the recursion
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


NETWORKS = ("SFT", "SFT from scratch", "DPT", "ICL-only")


UNLABELLED = ("DPT",)
"""Networks that are shown unlabelled behaviour, not demonstrations."""


RIVALS = ("random", "demonstration vote", "certainty-equivalent planner")


NEEDY = RIVALS[1:3]
"""Rivals that can do nothing without demonstrations."""


class Arena(NamedTuple):
    """The contests of a setting."""

    networks: Contest
    rivals: Contest
    seeds: int


def compare(study: Study, arena: Arena, weights: dict[str, Tree]) -> dict[str, Any]:
    """All methods for every number of demonstrations; DPT, shown unlabelled behaviour, for that of training.

    Returns:
        `methods` [m], `demonstrations` [D]; `gap`, `gap_of_value`, `recursive_regret` [m, D, G], `agreed` [m, D, G, T],
        `copied`, `met` [m, D, G, 2]; NaN where a method was not tried: no demonstrations, or DPT. `swapped` [G]:
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
                taught = data.demonstrations(key, setting, source, most)
                if not behaved:
                    return taught
                own = data.behaviour_episodes(key, setting, source, most)
                return jax.tree.map(lambda x, y: jnp.where(entry.unlabelled, x, y), own, taught)

            told = lambda task, shown: inform(entry, task, shown)
            return evaluation.trial(key, setting, task, agent, told, show=show, episodes=config.episodes)

        keys = jax.random.split(key, held_out.bound.shape[0])
        trials = jax.vmap(of_task)(keys, held_out, sources)
        gap = evaluation.gap(trials.loss, held_out)
        met = jnp.mean(trials.visit_share, axis=0)
        return Score(
            gap=gap.of_random,
            gap_of_value=gap.of_value,
            recursive_regret=jnp.mean(trials.recursive_regret),
            agreed=jnp.mean(trials.accuracy, axis=0),
            copied=jnp.where(met > 0, jnp.mean(trials.correct_by_visit, axis=0) / jnp.where(met > 0, met, 1), jnp.nan),
            met=met,
        )

    keys = jax.random.split(key_of(config, "test"), config.seeds)
    return jax.jit(lambda held, entry, sources: jax.lax.map(lambda of: of_seed(held, sources, *of), (keys, entry)))


def arena(config: Config, setting: Setting, network: Network, most: int) -> Arena:
    """Contests in which up to `most` episodes are shown; each is compiled once for all tasks of the same size."""
    told = lambda entry, task, shown: deploy(
        entry.known, tokens.encode(shown, setting.spaces), length=entry.shown * setting.horizon
    )
    player = network_agent(network, setting.spaces, setting.horizon)
    laws = lambda entry, task, shown: rival_laws(setting, tabular.first(shown, entry.shown))[entry.known]
    return Arena(
        networks=contest(config, setting, player, told, most, behaved=True),
        rivals=contest(config, setting, markov_agent(setting.horizon), laws, most),
        seeds=config.seeds,
    )


def score(
    arena: Arena, name: str, weights: dict[str, Tree], count: int, held_out: Task, source: Task | None = None
) -> Score:
    """How the network or rival of this name did, shown `count` episodes of the same tasks, or of those of `source`."""
    each = lambda value: np.full(arena.seeds, value)
    known = weights[name] if name in weights else each(RIVALS.index(name))
    entry = Entry(known=known, shown=each(count), unlabelled=each(name in UNLABELLED))
    play = arena.networks if name in weights else arena.rivals
    return play(held_out, entry, held_out if source is None else source)


def rival_laws(setting: Setting, shown: Episode) -> jax.Array:
    """What every rival does after these episodes, [3, H, O, A]."""
    spaces, horizon = setting.spaces, setting.horizon
    table = (horizon, spaces.observations, spaces.actions)
    planned = jax.nn.one_hot(tabular.planned(shown, spaces, horizon), spaces.actions)
    return jnp.stack(
        [jnp.full(table, 1 / spaces.actions), jnp.broadcast_to(tabular.vote_law(shown, spaces), table), planned]
    )
