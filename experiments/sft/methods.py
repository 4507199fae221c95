"""The methods of the fine-tuning study, and how all of them are evaluated on the same held-out tasks.

Dimensions: `G` training seeds, `P` held-out tasks of each, `T` steps of an episode, `H` horizon, `O` observations, `A`
actions, `I` particles.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from experiments import cli
from jaxdm import tokens
from jaxdm.analysis.storage import named
from jaxdm.learners import tabular
from jaxdm.models.agents import deploy, network_agent
from jaxdm.oracles.graph_policy import GraphPolicy, graph_agent
from jaxdm.rollout import markov_agent
from jaxdm.sft import data, evaluation, posterior
from jaxdm.sft.data import Setting
from jaxdm.sft.posterior import Particle
from jaxdm.sft.tasks import Task
from jaxdm.types import Agent, Episode, Network, Tree

NETWORKS = ("SFT", "SFT from scratch", "DPT", "algorithm distillation", "ICL-only")


DEMONSTRATIONS, BEHAVIOUR, LEARNING = 0, 1, 2
"""What a method is shown: the expert's episodes, those of a random policy, or the first ones of a learner."""


SHOWN = {"DPT": BEHAVIOUR, "algorithm distillation": LEARNING}
"""Methods that are not shown demonstrations."""


BASELINES = ("random", "demonstration vote", "certainty-equivalent planner")


POSTERIOR = "Bayes posterior"
"""Who knows the family; shown nothing, the planner that knows the family."""


NEED_DEMONSTRATIONS = BASELINES[1:]
"""Baselines that are undefined without demonstrations."""


VISITS = ("never demonstrated", "demonstrated")
"""Observations at a decision: those that no demonstration visited, and the others."""


class Score(NamedTuple):
    """How a method did on the held-out tasks of one training seed; see `jaxdm.sft.evaluation`. With all: [G, ...]."""

    gap: jax.Array  # [] optimality gap: 0 is the oracle, 1 is uniform play
    gap_of_value: jax.Array  # [] the same loss as a share of the oracle's value
    gap_by_task: jax.Array  # [P] each task's loss, as a share of what random play loses in the mean
    recursive_regret: jax.Array  # [] regret in the values of the alpha-maxmin recursion
    accuracy: jax.Array  # [T] share of decisions that are optimal
    accuracy_by_visit: jax.Array  # [2] the same by `VISITS`, NaN where no decision was taken
    visit_share: jax.Array  # [2] share of decisions taken there


class Method(NamedTuple):
    """A method as data, so that one compiled program evaluates all that act by the same agent."""

    params: Tree  # a network's weights, the index of a baseline in `BASELINES`, particles, or a policy
    shown: Any  # [] int32, how many episodes it is shown
    source: Any  # [] int32, whose
    temperature: Any  # [] of a network: 0 is greedy, 1 samples its probabilities


Evaluate = Callable[[jax.Array, Task, Method, Task], Score]
"""`(key, held-out tasks [P], method, tasks that demonstrations come from [P]) -> Score`."""


class Methods(NamedTuple):
    """The programs that evaluate all methods of a setting, by the agent that acts."""

    networks: Evaluate
    baselines: Evaluate
    posterior: Evaluate
    plans: Evaluate  # a given policy of information states


class Judge(NamedTuple):
    """Programs, held-out tasks and random numbers, with which any method is evaluated."""

    methods: Methods
    held_out: Sequence[Task]  # for each of G seeds, leading axis [P]
    keys: jax.Array  # [G]
    workers: int  # seeds at once


@functools.cache
def make_methods(setting: Setting, network: Network, most: int, episodes: int) -> Methods:
    """Programs that show up to `most` episodes; each is compiled once for all tasks of the same size.

    Args:
        setting: kind of world.
        network: whose weights are evaluated.
        most: the largest number of episodes in the context.
        episodes: query episodes for each task, in each model.
    """
    spaces, horizon = setting.spaces, setting.horizon

    def network_params(method: Method, task: Task, shown: Episode) -> Tree:
        context = tokens.encode(shown, spaces)
        return deploy(method.params, context, method.temperature, length=method.shown * horizon)

    def baseline_params(method: Method, task: Task, shown: Episode) -> Tree:
        return baseline_policies(setting, tabular.first(shown, method.shown))[method.params]

    def posterior_params(method: Method, task: Task, shown: Episode) -> Tree:
        return posterior.learn(posterior.before(method.params), shown, method.shown)

    def plan_params(method: Method, task: Task, shown: Episode) -> Tree:
        return GraphPolicy(graph=task.graph, policy=method.params)

    def expert(method: Method, key: jax.Array, task: Task) -> Episode:
        return data.demonstrations(key, setting, task, most)

    def any_source(method: Method, key: jax.Array, task: Task) -> Episode:
        sources = (data.demonstrations, data.behaviour_episodes, data.learning_episodes)
        shown = [each(key, setting, task, most) for each in sources]
        return jax.tree.map(lambda *each: jnp.stack(each)[method.source], *shown)

    make = functools.partial(_evaluation, setting, episodes)
    by_table = markov_agent(horizon)
    return Methods(
        networks=make(network_agent(network, spaces, horizon), network_params, any_source),
        baselines=make(by_table, baseline_params, expert),
        posterior=make(posterior.posterior_agent(), posterior_params, expert, at_once=4),
        plans=make(graph_agent(), plan_params, expert),
    )


def _evaluation(
    setting: Setting,
    episodes: int,
    agent: Agent,
    agent_params: Callable[[Method, Task, Episode], Tree],
    show: Callable[[Method, jax.Array, Task], Episode],
    at_once: int | None = None,
) -> Evaluate:
    """The program that evaluates all methods which act by this agent, so many tasks at once, or all."""

    def of_seed(key: jax.Array, held_out: Task, method: Method, sources: Task) -> Score:
        def of_task(at: tuple[jax.Array, Task, Task]) -> evaluation.Trial:
            key, task, source = at
            return evaluation.trial(
                key,
                setting,
                task,
                agent,
                lambda task, shown: agent_params(method, task, shown),
                show=lambda key: show(method, key, source),
                episodes=episodes,
            )

        count = held_out.bound.shape[0]
        trials = jax.lax.map(of_task, (jax.random.split(key, count), held_out, sources), batch_size=at_once or count)
        gap = evaluation.gap(trials.loss, held_out)
        share = jnp.mean(trials.visit_share, axis=0)
        correct = jnp.mean(trials.correct_by_visit, axis=0)
        return Score(
            gap=gap.of_random,
            gap_of_value=gap.of_value,
            gap_by_task=gap.by_task,
            recursive_regret=jnp.mean(trials.recursive_regret),
            accuracy=jnp.mean(trials.accuracy, axis=0),
            accuracy_by_visit=jnp.where(share > 0, correct / jnp.where(share > 0, share, 1), jnp.nan),
            visit_share=share,
        )

    return jax.jit(of_seed)


def evaluate(
    judge: Judge,
    name: str,
    params: Callable[[int], Tree],
    count: int,
    *,
    temperature: float = 0.0,
    others: bool = False,
) -> Score:
    """How a method does, shown `count` episodes of the same task; fields have a leading axis [G].

    Args:
        judge: what it is evaluated with.
        name: one of `NETWORKS`, `BASELINES`, `POSTERIOR`; any other name is that of a plan.
        params: `seed index -> weights`, particles or policy; of a baseline its index.
        count: episodes in the context.
        temperature: of a network.
        others: whether demonstrations come from another task, the control.
    """
    methods = judge.methods
    program = {POSTERIOR: methods.posterior} | dict.fromkeys(NETWORKS, methods.networks)
    program |= dict.fromkeys(BASELINES, methods.baselines)

    def one(seed: int) -> Score:
        held_out = judge.held_out[seed]
        source = jax.tree.map(lambda x: jnp.roll(x, 1, axis=0), held_out) if others else held_out
        method = Method(
            params=params(seed),
            shown=np.int32(count),
            source=np.int32(SHOWN.get(name, DEMONSTRATIONS)),
            temperature=np.float32(temperature),
        )
        run = program.get(name, methods.plans)
        return jax.device_get(run(judge.keys[seed], held_out, method, source))

    return jax.tree.map(lambda *rows: np.stack(rows), *cli.at_once(one, range(len(judge.keys)), judge.workers))


def of_seed(weights: Tree) -> Callable[[int], Tree]:
    """The weights of one seed, of weights with leading axis [G]."""
    return lambda seed: jax.tree.map(lambda x: x[seed], weights)


def gaps(judge: Judge, weights: Mapping[str, Tree], names: Sequence[str], supports: int, particles: Any = None) -> Any:
    """The gaps [m, G] of the methods named, with the demonstrations of training."""
    return np.stack([evaluate(judge, name, _params(name, weights, particles), supports).gap for name in names])


def _params(name: str, weights: Mapping[str, Tree], particles: Particle | None) -> Callable[[int], Tree]:
    if name in weights:
        return of_seed(weights[name])
    if name == POSTERIOR:
        return lambda seed: particles
    return lambda seed: np.int32(BASELINES.index(name))


def evaluate_methods(
    judge: Judge,
    weights: Mapping[str, Tree],
    particles: Particle,
    demonstrations: Sequence[int],
    supports: int,
) -> dict[str, xr.DataArray]:
    """All methods for every number of demonstrations; those that are shown something else for that of training.

    Args:
        judge: on held-out tasks of new identities.
        weights: of the networks by name, leading axis [G].
        particles: the enumeration of the family.
        demonstrations: episodes in the context.
        supports: their number in training.

    Returns:
        The fields of `Score` by name, with axes `agent`, `demonstrations`, `seed` and `step`, `visit` or `task`; NaN
        where a method was not evaluated. `gap_sampled` is the gap of networks that sample their actions, by `agent` and
        `seed`, and `swapped` SFT's gap, by `seed`, when the demonstrations come from another task, both as in training.
    """
    names = (*(name for name in NETWORKS if name in weights), POSTERIOR, *BASELINES)
    scores: dict[tuple[str, int], Score] = {}
    for count in demonstrations:
        for name in names:
            if (name in NEED_DEMONSTRATIONS and count == 0) or (name in SHOWN and count != supports):
                continue
            scores[name, count] = evaluate(judge, name, _params(name, weights, particles), count)
    metrics = {}
    seeds = range(len(judge.keys))
    for field in Score._fields:
        shape = np.shape(getattr(scores["SFT", demonstrations[0]], field))
        values = np.full((len(names), len(demonstrations), *shape), np.nan)
        for (name, count), score in scores.items():
            values[names.index(name), list(demonstrations).index(count)] = getattr(score, field)
        axes: dict[str, dict[str, Any]] = {
            "accuracy": {"step": np.arange(1, shape[-1] + 1)},
            "gap_by_task": {"task": np.arange(shape[-1])},
        }
        last = axes.get(field, {"visit": VISITS}) if len(shape) == 2 else {}
        metrics[field] = named(values, agent=names, demonstrations=demonstrations, seed=seeds, **last)
    sampled = [evaluate(judge, name, of_seed(each), supports, temperature=1.0).gap for name, each in weights.items()]
    metrics["gap_sampled"] = named(np.stack(sampled), agent=list(weights), seed=seeds)
    swapped = evaluate(judge, "SFT", of_seed(weights["SFT"]), supports, others=True).gap
    return metrics | {"swapped": named(swapped, seed=seeds)}


def baseline_policies(setting: Setting, shown: Episode) -> jax.Array:
    """Action probabilities of every baseline after these episodes [K, T], in the order of `BASELINES`: [3, H, O, A]."""
    spaces = setting.spaces
    table = (setting.horizon, spaces.observations, spaces.actions)
    uniform = jnp.full(table, 1 / spaces.actions)
    vote = jnp.broadcast_to(tabular.vote_probabilities(shown, spaces), table)
    planned = jax.nn.one_hot(tabular.planned(shown, spaces, setting.horizon), spaces.actions)
    return jnp.stack([uniform, vote, planned])
