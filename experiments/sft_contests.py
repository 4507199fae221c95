"""How a method of the fine-tuning study is put to the test: on one key all meet the same tasks and demonstrations.

Dimensions: `G` training seeds, `P` held-out tasks, `T` steps.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from experiments.sft_study import Config
from experiments.sft_tasks import key_of
from jaxdm import evaluation, finetuning, prompts
from jaxdm.finetuning import Setting
from jaxdm.learners import tabular
from jaxdm.models.agent import deploy, network_agent
from jaxdm.tasks import Task
from jaxdm.types import Agent, Episode, Network, Tree

NETWORKS = ("SFT", "SFT from scratch", "DPT", "ICL-only")
RIVALS = ("random", "demonstration vote", "certainty-equivalent planner")
NEEDY = RIVALS[1:3]
"""Rivals that can do nothing without demonstrations."""


class Score(NamedTuple):
    """How a method did; every field has a leading axis of seeds, and the fields `jaxdm.evaluation` tells of."""

    gap: jax.Array  # [G]
    gap_of_value: jax.Array  # [G]
    slip: jax.Array  # [G] loss in the values of the recursion
    agreed: jax.Array  # [G, T]
    copied: jax.Array  # [G, 2] share of optimal decisions at observations never demonstrated, and at others
    met: jax.Array  # [G, 2] share of decisions taken there


Contest = Callable[..., Score]
"""`(held-out tasks [P], what each seed knows [G, ...], tasks that demonstrations come from [P]) -> Score`."""


def contest(
    config: Config,
    setting: Setting,
    agent: Agent,
    inform: Callable[..., Tree],
    show: Callable[..., Episode] = finetuning.demonstrate,
) -> Contest:
    """A method's contest, compiled once for all tasks of the same size.

    Args:
        config: numbers of tasks, episodes and seeds.
        setting: kind of world.
        agent: who acts.
        inform: `(known, task, demonstrations) -> agent parameters`.
        show: `(key, setting, task, count) -> episodes [count, T]`, what it is shown.
    """
    most = max(config.demonstrations)

    def of_seed(held_out: Task, shown: Task, key: jax.Array, known: Tree) -> Score:
        told = lambda task, demos: inform(known, task, demos)
        count = held_out.bound.shape[0]

        def of_task(key: jax.Array, task: Task, source: Task) -> evaluation.Trial:
            shows = lambda key: show(key, setting, source, most)
            return evaluation.trial(key, setting, task, agent, told, show=shows, episodes=config.episodes)

        trials = jax.vmap(of_task)(jax.random.split(key, count), held_out, shown)
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
    return jax.jit(lambda held, known, shown: jax.lax.map(lambda of: of_seed(held, shown, *of), (keys, known)))


def deployed(
    config: Config,
    setting: Setting,
    network: Network,
    count: int,
    show: Callable[..., Episode] = finetuning.demonstrate,
) -> Contest:
    """The contest of a network that is shown `count` episodes; it knows its weights."""
    player = network_agent(network, setting.spaces, setting.horizon)
    told = lambda known, task, demos: deploy(known, prompts.encode(prompts.take(demos, count), setting.spaces))
    return contest(config, setting, player, told, show)


def rivals(config: Config, setting: Setting) -> dict[str, Contest]:
    """The contests of what needs no network; they know how many demonstrations they may look at."""
    spaces, horizon = setting.spaces, setting.horizon
    first = lambda count, task, demos: tabular.first(demos, count)
    players = {
        "random": (tabular.random(spaces), lambda count, task, demos: ()),
        "demonstration vote": (tabular.vote(spaces), first),
        "certainty-equivalent planner": (tabular.certainty_equivalent(spaces, horizon), first),
    }
    return {name: contest(config, setting, *player) for name, player in players.items()}


def line_up(config: Config, setting: Setting, network: Network, counts: tuple[int, ...]) -> dict[str | int, Contest]:
    """Every contest of a setting: rivals by name, networks by how many demonstrations they are shown."""
    by_count: dict[str | int, Contest] = {count: deployed(config, setting, network, count) for count in counts}
    return by_count | rivals(config, setting)
