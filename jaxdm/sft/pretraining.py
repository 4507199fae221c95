"""Sequences for pretraining, which need no oracle's labels: many families of worlds, and mixed and improving behaviour.

Dimensions: `K` episodes, `T` steps of an episode, `O` observations, `A` actions.

A network that predicts the next action of whoever acts, the next observation and the next reward has to find out from
its context in which world it is, and by whom that is played. Behaviour is one of four kinds, equally likely:

- a random policy, `softmax(c g)` with standard normal `g [T, O, A]` and c uniform on [0, 4];
- an eps-soft expert, eps uniform on [0, 1], whose actions are data like any others;
- the same, improving: eps falls linearly to zero over the episodes;
- a tabular learner from its first episode on (`jaxdm.learners.episodic`).

Reference: improving experts are after Zisman et al., Emergence of in-context reinforcement learning from noise
distillation, ICML 2024; learners after Laskin et al., ICLR 2023.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxdm import random
from jaxdm.envs import families, pomdp
from jaxdm.envs.pomdp import POMDP
from jaxdm.learners import episodic
from jaxdm.oracles.graph_policy import GraphPolicy, graph_agent
from jaxdm.oracles.mdp.planning import backward_induction
from jaxdm.rollout import epsilon_soft, markov_agent, noise_entry, rollout
from jaxdm.sft.data import Sequence, Setting, supervise
from jaxdm.sft.experts import as_graph_policy
from jaxdm.sft.tasks import Task
from jaxdm.tokens import Spaces
from jaxdm.types import Agent, Episode, Predrawn, Tree
from jaxdm.validation import check_sizes, integer, positive_integer, record

RANDOM, EXPERT, IMPROVING, LEARNING = 0, 1, 2, 3
"""Kinds of behaviour."""


class Behaviour(NamedTuple):
    """Who acts in a sequence; data."""

    kind: jax.Array  # [] int32, one of the kinds above
    random_policy: jax.Array  # [T, O, A]
    exploration: jax.Array  # [] eps of the expert, at first
    learner: episodic.Learner


class Mixed(NamedTuple):
    """Parameters of the agent that plays by the graph of histories, or by a table of observations."""

    by_graph: jax.Array  # [] bool
    graph_policy: GraphPolicy
    table: jax.Array  # [T, O, A] probabilities


def draw_behaviour(key: jax.Array, spaces: Spaces, horizon: int) -> Behaviour:
    """One of the behaviours of this module's docstring.

    Raises:
        ValueError: horizon < 1, or sizes that are none.
    """
    record("spaces", spaces, Spaces)
    check_sizes(observations=spaces.observations, actions=spaces.actions, horizon=horizon)
    key_level, key_policy, key_learner = random.split(key, 3)
    level = random.uniform(key_level, (3,))
    logits = random.normal(key_policy, (spaces.observations, spaces.actions))
    policy = jax.nn.softmax(4 * level[1] * logits)
    return Behaviour(
        kind=jnp.floor(4 * level[0]).astype(jnp.int32),
        random_policy=jnp.broadcast_to(policy, (horizon, *policy.shape)),
        exploration=level[2],
        learner=episodic.draw_learner(key_learner),
    )


def any_world(key: jax.Array, spaces: Spaces) -> POMDP:
    """A random world with as many states as observations: Dirichlet, Garnet or deterministic, seen well or badly.

    The three kinds are equally likely. The Dirichlet parameter is log-uniform on [0.1, 1]; states are seen with
    certainty in half of the worlds, else with quality uniform on [1/2, 1].

    Raises:
        ValueError: sizes that are none.
    """
    record("spaces", spaces, Spaces)
    key_kind, key_world = random.split(key)
    level = random.uniform(key_kind, (4,))
    sizes = {"states": spaces.observations, "actions": spaces.actions}
    kinds = [
        families.mdp.dirichlet(key_world, concentration=10 ** (level[1] - 1), dtype=jnp.float32, **sizes),
        families.mdp.garnet(key_world, branching=min(3, spaces.observations), dtype=jnp.float32, **sizes),
        families.mdp.deterministic(key_world, dtype=jnp.float32, **sizes),
    ]
    which = jnp.floor(len(kinds) * level[0]).astype(jnp.int32)
    hidden = jax.tree.map(lambda *each: jnp.stack(each)[which], *kinds)
    quality = jnp.where(level[2] < 0.5, 1.0, 0.5 + 0.5 * level[3])
    return pomdp.from_mdp(hidden, jnp.maximum(quality, 1 / spaces.observations))


def any_sequence(key: jax.Array, spaces: Spaces, horizon: int, count: int) -> Sequence:
    """K episodes of one behaviour in a world of `any_world`; its expert is optimal for one who sees the state.

    Args:
        key: random key.
        spaces: sizes.
        horizon: T.
        count: K.

    Raises:
        ValueError: horizon or count < 1, or sizes that are none.
    """
    record("spaces", spaces, Spaces)
    check_sizes(horizon=horizon, count=count)
    key_world, key_behaviour, key_play = random.split(key, 3)
    world = any_world(key_world, spaces)
    behaviour = draw_behaviour(key_behaviour, spaces, horizon)
    best = backward_induction(pomdp.mdp_of(world), horizon).policy

    def play(key: jax.Array, exploration: jax.Array, table: jax.Array, informed: jax.Array) -> Episode:
        probabilities = jnp.where(informed, epsilon_soft(best, spaces.actions, exploration), table)
        return rollout(key, pomdp.env(horizon), world, markov_agent(horizon), probabilities, horizon)

    return _sequence(key_play, behaviour, play, spaces, horizon, count)


def task_sequence(key: jax.Array, setting: Setting, task: Task, supports: int) -> Sequence:
    """K + 1 episodes of one behaviour in a solved task, whose expert knows the history; a `jaxdm.sft.data.Item`.

    Raises:
        ValueError: supports < 0, or what is no task.
    """
    record("task", task, Task)
    supports = integer("supports", supports, 0)
    key_behaviour, key_play = random.split(key)
    behaviour = draw_behaviour(key_behaviour, setting.spaces, setting.horizon)
    agent = mixed_agent(setting.horizon)

    def play(key: jax.Array, exploration: jax.Array, table: jax.Array, informed: jax.Array) -> Episode:
        graph_policy = as_graph_policy(task, task.expert, exploration)
        params = Mixed(by_graph=informed, graph_policy=graph_policy, table=table)
        return rollout(key, setting.env, task.world, agent, params, setting.horizon)

    return _sequence(key_play, behaviour, play, setting.spaces, setting.horizon, supports + 1)


def mixed_agent(horizon: int) -> Agent:
    """The agent whose parameters are `Mixed`.

    Raises:
        ValueError: horizon < 1.
    """
    horizon = positive_integer("horizon", horizon)
    by_graph, by_table = graph_agent(), markov_agent(horizon)
    graph_entry, table_entry = (noise_entry(each.act, each.predrawn) for each in (by_graph, by_table))

    def init(key: jax.Array, params: Mixed) -> tuple:
        return by_graph.init(key, params.graph_policy), by_table.init(key, params.table)

    def act(uniform: jax.Array, memory: tuple, observation: jax.Array, params: Mixed) -> tuple:
        first, graph_memory = graph_entry.apply(uniform, memory[0], observation, params.graph_policy)
        second, table_memory = table_entry.apply(uniform, memory[1], observation, params.table)
        return jnp.where(params.by_graph, first, second), (graph_memory, table_memory)

    def observe(memory: tuple, transition: Tree, params: Mixed) -> tuple:
        after = by_graph.observe(memory[0], transition, params.graph_policy)
        return after, by_table.observe(memory[1], transition, params.table)

    predrawn = Predrawn(draw=graph_entry.draw, apply=act)
    return Agent(init=init, act=predrawn.keyed, observe=observe, predrawn=predrawn)


def _sequence(
    key: jax.Array, behaviour: Behaviour, play: Callable[..., Episode], spaces: Spaces, horizon: int, count: int
) -> Sequence:
    """K episodes of a behaviour, whatever it has learnt in between, as one sequence."""
    informed = (behaviour.kind == EXPERT) | (behaviour.kind == IMPROVING)

    def one(experience: episodic.Experience, at: tuple[jax.Array, jax.Array]) -> tuple:
        index, key = at
        key_policy, key_play = random.split(key)
        learnt = episodic.policy(key_policy, behaviour.learner, experience, horizon)
        table = jnp.where(behaviour.kind == LEARNING, learnt, behaviour.random_policy)
        left = jnp.where(behaviour.kind == IMPROVING, 1 - index / max(count - 1, 1), 1.0)
        episode = play(key_play, behaviour.exploration * left, table, informed)
        return episodic.learn(behaviour.learner, experience, episode), episode

    steps = (jnp.arange(count), random.split(key, count))
    episodes = jax.lax.scan(one, episodic.start(behaviour.learner, spaces), steps)[1]
    return supervise(episodes, jax.nn.one_hot(episodes.action, spaces.actions))
