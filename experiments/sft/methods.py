"""The methods of the fine-tuning study, and how all of them are evaluated on the same held-out tasks.

Dimensions: `G` training seeds, `P` held-out tasks, `T` steps of an episode, `H` horizon, `O` observations, `A` actions.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from jaxdm import tokens
from jaxdm.analysis.storage import named
from jaxdm.learners import tabular
from jaxdm.models.agents import deploy, network_agent
from jaxdm.rollout import markov_agent
from jaxdm.sft import data, evaluation
from jaxdm.sft.data import Setting
from jaxdm.sft.tasks import Task
from jaxdm.types import Agent, Episode, Network, Tree

NETWORKS = ("SFT", "SFT from scratch", "DPT", "ICL-only")


UNLABELLED = ("DPT",)
"""Networks that are shown unlabelled behaviour, not demonstrations."""


BASELINES = ("random", "demonstration vote", "certainty-equivalent planner")


NEED_DEMONSTRATIONS = BASELINES[1:]
"""Baselines that are undefined without demonstrations."""


VISITS = ("never demonstrated", "demonstrated")
"""Observations at a decision: those that no demonstration visited, and the others."""


class Score(NamedTuple):
    """How a method did on the held-out tasks, one number for each training seed; see `jaxdm.sft.evaluation`."""

    gap: jax.Array  # [G] optimality gap: 0 is the oracle, 1 is uniform play
    gap_of_value: jax.Array  # [G] the same loss as a share of the oracle's value
    recursive_regret: jax.Array  # [G] regret in the values of the alpha-maxmin recursion
    accuracy: jax.Array  # [G, T] share of decisions that are optimal
    accuracy_by_visit: jax.Array  # [G, 2] the same by `VISITS`, NaN where no decision was taken
    visit_share: jax.Array  # [G, 2] share of decisions taken there


class Method(NamedTuple):
    """A method as data, so that one compiled program evaluates all that act by the same agent."""

    params: Tree  # a network's weights, or the index of a baseline in `BASELINES`
    shown: Any  # [] int32, how many episodes it is shown
    unlabelled: Any  # [] bool, whether they are unlabelled behaviour


Evaluate = Callable[[Task, Method, Task], Score]
"""`(held-out tasks [P], method of each seed [G, ...], tasks that demonstrations come from [P]) -> Score`."""


class Methods(NamedTuple):
    """The two programs that evaluate all methods of a setting."""

    networks: Evaluate
    baselines: Evaluate
    seeds: int


def make_methods(setting: Setting, network: Network, keys: jax.Array, most: int, episodes: int) -> Methods:
    """Programs that show up to `most` episodes; each is compiled once for all tasks of the same size.

    Args:
        setting: kind of world.
        network: whose weights are evaluated.
        keys: [G], one for each training seed.
        most: the largest number of episodes in the context.
        episodes: query episodes for each task, in each model.
    """

    def network_params(method: Method, shown: Episode) -> Tree:
        context = tokens.encode(shown, setting.spaces)
        return deploy(method.params, context, length=method.shown * setting.horizon)

    def baseline_params(method: Method, shown: Episode) -> Tree:
        return baseline_policies(setting, tabular.first(shown, method.shown))[method.params]

    def labelled(method: Method, key: jax.Array, task: Task) -> Episode:
        return data.demonstrations(key, setting, task, most)

    def labelled_or_not(method: Method, key: jax.Array, task: Task) -> Episode:
        behaviour = data.behaviour_episodes(key, setting, task, most)
        demonstrated = labelled(method, key, task)
        return jax.tree.map(lambda x, y: jnp.where(method.unlabelled, x, y), behaviour, demonstrated)

    network_player = network_agent(network, setting.spaces, setting.horizon)
    policy_player = markov_agent(setting.horizon)
    return Methods(
        networks=_evaluation(setting, keys, network_player, network_params, labelled_or_not, episodes),
        baselines=_evaluation(setting, keys, policy_player, baseline_params, labelled, episodes),
        seeds=len(keys),
    )


def _evaluation(
    setting: Setting,
    keys: jax.Array,
    agent: Agent,
    agent_params: Callable[[Method, Episode], Tree],
    show: Callable[[Method, jax.Array, Task], Episode],
    episodes: int,
) -> Evaluate:
    """The program that evaluates all methods which act by this agent."""

    def of_seed(held_out: Task, sources: Task, key: jax.Array, method: Method) -> Score:
        def of_task(key: jax.Array, task: Task, source: Task) -> evaluation.Trial:
            return evaluation.trial(
                key,
                setting,
                task,
                agent,
                lambda task, shown: agent_params(method, shown),
                show=lambda key: show(method, key, source),
                episodes=episodes,
            )

        trials = jax.vmap(of_task)(jax.random.split(key, held_out.bound.shape[0]), held_out, sources)
        gap = evaluation.gap(trials.loss, held_out)
        share = jnp.mean(trials.visit_share, axis=0)
        correct = jnp.mean(trials.correct_by_visit, axis=0)
        return Score(
            gap=gap.of_random,
            gap_of_value=gap.of_value,
            recursive_regret=jnp.mean(trials.recursive_regret),
            accuracy=jnp.mean(trials.accuracy, axis=0),
            accuracy_by_visit=jnp.where(share > 0, correct / jnp.where(share > 0, share, 1), jnp.nan),
            visit_share=share,
        )

    def all_seeds(held_out: Task, method: Method, sources: Task) -> Score:
        return jax.lax.map(lambda of: of_seed(held_out, sources, *of), (keys, method))

    return jax.jit(all_seeds)


def evaluate(
    methods: Methods, name: str, weights: dict[str, Tree], count: int, held_out: Task, source: Task | None = None
) -> Score:
    """How the network or baseline of this name does, shown `count` episodes of the same tasks, or of those of `source`.

    Args:
        methods: from `make_methods`.
        name: one of `NETWORKS` or `BASELINES`.
        weights: of the networks by name, leading axis [G].
        count: episodes in the context.
        held_out: tasks, leading axis [P].
        source: tasks that demonstrations come from, leading axis [P].
    """

    def for_each_seed(value: Any) -> np.ndarray:
        return np.full(methods.seeds, value)

    is_network = name in weights
    method = Method(
        params=weights[name] if is_network else for_each_seed(BASELINES.index(name)),
        shown=for_each_seed(count),
        unlabelled=for_each_seed(name in UNLABELLED),
    )
    program = methods.networks if is_network else methods.baselines
    return program(held_out, method, held_out if source is None else source)


def evaluate_methods(
    methods: Methods, weights: dict[str, Tree], held_out: Task, demonstrations: Sequence[int], supports: int
) -> dict[str, xr.DataArray]:
    """All methods for every number of demonstrations; DPT, shown unlabelled behaviour, for that of training.

    Args:
        methods: from `make_methods`.
        weights: of the networks by name, leading axis [G].
        held_out: tasks, leading axis [P].
        demonstrations: episodes in the context.
        supports: their number in training.

    Returns:
        The fields of `Score` by name, with axes `agent`, `demonstrations`, `seed` and `step` or `visit`; NaN where a
        method was not evaluated. `swapped` is SFT's gap, by `seed`, when the demonstrations come from another task.
    """
    names = NETWORKS + BASELINES
    scores: dict[tuple[str, int], Score] = {}
    for count in demonstrations:
        for name in names:
            if (name in NEED_DEMONSTRATIONS and count == 0) or (name in UNLABELLED and count != supports):
                continue
            scores[name, count] = evaluate(methods, name, weights, count, held_out)
    metrics = {}
    seeds = range(methods.seeds)
    for field in Score._fields:
        shape = np.shape(getattr(scores["SFT", demonstrations[0]], field))
        values = np.full((len(names), len(demonstrations), *shape), np.nan)
        for (name, count), score in scores.items():
            values[names.index(name), list(demonstrations).index(count)] = getattr(score, field)
        last: dict[str, Any] = {}
        if len(shape) == 2:
            last = {"step": np.arange(1, shape[1] + 1)} if field == "accuracy" else {"visit": VISITS}
        metrics[field] = named(values, agent=names, demonstrations=demonstrations, seed=seeds, **last)
    others = jax.tree.map(lambda x: np.roll(x, 1, axis=0), held_out)
    swapped = evaluate(methods, "SFT", weights, supports, held_out, others).gap
    return metrics | {"swapped": named(swapped, seed=seeds)}


def baseline_policies(setting: Setting, shown: Episode) -> jax.Array:
    """Action probabilities of every baseline after these episodes [K, T], in the order of `BASELINES`: [3, H, O, A]."""
    spaces = setting.spaces
    table = (setting.horizon, spaces.observations, spaces.actions)
    uniform = jnp.full(table, 1 / spaces.actions)
    vote = jnp.broadcast_to(tabular.vote_probabilities(shown, spaces), table)
    planned = jax.nn.one_hot(tabular.planned(shown, spaces, setting.horizon), spaces.actions)
    return jnp.stack([uniform, vote, planned])
