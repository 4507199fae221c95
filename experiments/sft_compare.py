"""The methods of the fine-tuning study on the same held-out tasks, demonstrations and keys."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.sft_study import Study
from jaxdm import evaluation, prompts
from jaxdm.episodes import as_law, markov
from jaxdm.learners import tabular
from jaxdm.models.agent import deploy, network_agent
from jaxdm.tasks import Task
from jaxdm.types import Agent, Tree

NETWORKS = ("SFT", "SFT from scratch", "ICL-only")
RIVALS = ("random", "demonstration vote", "certainty-equivalent planner", "oracle")


def compare(study: Study, weights: dict[str, Tree]) -> dict[str, Any]:
    """Gaps of all methods for every number of demonstrations, on the same tasks, demonstrations and keys.

    Returns:
        `methods` [m], `demonstrations` [D], and `gap`, `gap_of_value` [m, D, seeds]; NaN where a method needs
        demonstrations and there are none.
    """
    config, spaces = study.config, study.setting.spaces
    keys = jax.random.split(jax.random.fold_in(jax.random.key(config.seed), 3), config.seeds)
    gaps = np.full((2, len(NETWORKS + RIVALS), len(config.demonstrations), config.seeds), np.nan)

    def measure(agent: Agent, inform: Callable[..., Tree]) -> Callable[[Tree], evaluation.Gap]:
        """Gaps of all seeds for an agent that is told `inform(known, task, demonstrations)`."""
        sizes = {"demonstrations": max(config.demonstrations), "episodes": config.episodes}

        def of_seed(held_out: Task, key: jax.Array, known: Tree) -> evaluation.Gap:
            told = lambda task, demos: inform(known, task, demos)
            of_task = lambda k, task: evaluation.expected_loss(k, study.setting, task, agent, told, **sizes)
            losses = jax.vmap(of_task)(jax.random.split(key, config.test_tasks), held_out)
            return evaluation.gap(losses, held_out)

        return functools.partial(jax.jit(jax.vmap(of_seed, in_axes=(None, 0, 0))), study.held_out, keys)

    vote, planner = tabular.vote(spaces), tabular.certainty_equivalent(spaces, config.horizon)
    rivals = {
        "random": measure(tabular.random(spaces), lambda count, task, demos: ()),
        "demonstration vote": measure(vote, lambda count, task, demos: tabular.first(demos, count)),
        "certainty-equivalent planner": measure(planner, lambda count, task, demos: tabular.first(demos, count)),
        "oracle": measure(markov(config.horizon), lambda count, task, demos: as_law(task.policy, spaces.actions)),
    }
    player = network_agent(study.network, spaces, config.horizon)
    for column, count in enumerate(config.demonstrations):
        deployed = measure(
            player, lambda known, task, demos, n=count: deploy(known, prompts.encode(prompts.take(demos, n), spaces))
        )
        found = {name: deployed(known) for name, known in weights.items()}
        counts = jnp.full(config.seeds, count)
        found |= {name: rival(counts) for name, rival in rivals.items() if count > 0 or name in ("random", "oracle")}
        for name, gap in found.items():
            gaps[:, (NETWORKS + RIVALS).index(name), column] = gap
    return {
        "methods": np.array(NETWORKS + RIVALS),
        "demonstrations": np.array(config.demonstrations),
        "gap": gaps[0],
        "gap_of_value": gaps[1],
    }
