"""Who is compared in the fine-tuning study, and the two contests in which all of them meet.

Dimensions: `G` training seeds, `P` held-out tasks, `H` horizon, `O` observations, `A` actions.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.sft_contests import Contest, Entry, Score, contest
from experiments.sft_study import Config
from jaxdm import tokens
from jaxdm.learners import tabular
from jaxdm.models.agents import deploy, network_agent
from jaxdm.rollout import markov_agent
from jaxdm.sft.data import Setting
from jaxdm.sft.tasks import Task
from jaxdm.types import Episode, Network, Tree

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
