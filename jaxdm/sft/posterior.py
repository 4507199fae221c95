"""Who knows the family: Bayes' rule over an enumeration of its tasks, and play that is best on average under it.

Dimensions: `I` particles, `M` models of a task, `S` states, `A` actions, `O` observations, `N` nodes, `H` steps.

A particle is a solved task. Every step, shown or played, weighs it by the chance that it gives to what was seen,

    w_im <- w_im sum_k b_m(s_k | n_i) 1{r(s_k, a) = reward} sum_s' P_m(s' | s_k, a) Z_m(o | a, s'),

with the model m drawn anew from nature in each episode, and demonstrated actions weigh it by
`(1 - slip) 1{a = expert_i(n_i)} + slip / A`. It then acts by `argmax_a sum_i w_i Q*_i(n_i, a)`. Shown nothing, this is
the planner that knows the family and not the task; with more and more it is the oracle. It is the reference for what
can be had from a context, not a bound: like QMDP it sees no worth in actions that only tell the tasks apart.

Rewards are taken for certain given state and action. What a particle rules out counts as `RULED_OUT`, since the true
task need not be among finitely many particles: only its identity is.

Reference: posterior sampling's relative; Littman, Cassandra, Kaelbling, Learning policies for partially observable
environments: scaling up (QMDP), ICML 1995.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxdm.envs.apomdp import APOMDP
from jaxdm.envs.mdp import MDP
from jaxdm.envs.pomdp import POMDP
from jaxdm.oracles.graph_policy import HistoryGraph, successor
from jaxdm.sft.tasks import Task
from jaxdm.types import Agent, Episode, Transition
from jaxdm.validation import InvalidInput, record, whole_number

RULED_OUT = 1e-6
"""The chance of what cannot be, see above."""


LEAST = -1e9
"""The value of an action that is not available: finite, so that particles without weight say nothing."""


EXPERT_SLIP = 0.05
"""How often a demonstrated action is taken to be any: particles differ from the task in continuous numbers too."""


class Particle(NamedTuple):
    """What Bayes' rule and play need of a solved task."""

    first: jax.Array  # [M, O] chance of the first observation
    following: jax.Array  # [M, S, A, O] chance of the next observation
    reward: jax.Array  # [S, A]
    nature: jax.Array  # [M]
    graph: HistoryGraph
    q: jax.Array  # [H, N, A], or [1, N, A]
    policy: jax.Array  # [H, N] of the expert, or [1, N]


class Beliefs(NamedTuple):
    """Parameters of the agent: particles, leading axis [I], and what has been learnt of them before the episode."""

    particles: Particle
    log_weight: jax.Array  # [I]


class PosteriorMemory(NamedTuple):
    """Where every particle is in the episode."""

    joint: jax.Array  # [I, M] log weight of particle and model
    node: jax.Array  # [I] int32
    time: jax.Array  # [] int32


class _Place(NamedTuple):
    """`PosteriorMemory` of one particle."""

    joint: jax.Array  # [M]
    node: jax.Array  # []


def particle(task: Task) -> Particle:
    """What is needed of a task, whose world is an MDP, a POMDP or an APOMDP; no batch axis.

    Raises:
        ValueError: what is no task, or the task of another kind of world.
    """
    record("task", task, Task)
    world = task.world
    if not isinstance(world, (MDP, POMDP, APOMDP)):
        raise InvalidInput(f"task: of a {type(world).__name__}; expected an MDP, a POMDP or an APOMDP")
    if isinstance(world, MDP):
        first, following = world.initial[None], world.transition[None]
        nature = jnp.ones(1, world.reward.dtype)
    else:
        models = jax.tree.map(lambda x: x[None], world) if isinstance(world, POMDP) else world
        first = jnp.einsum("ms,mso->mo", models.initial, models.initial_observation)
        following = jnp.einsum("msat,mato->msao", models.transition, models.observation)
        nature = jnp.ones(1, world.reward.dtype) if isinstance(world, POMDP) else world.nature
    return Particle(
        first=first,
        following=following,
        reward=world.reward,
        nature=nature,
        graph=task.graph,
        q=task.q,
        policy=task.expert.policy,
    )


def before(particles: Particle) -> Beliefs:
    """All particles alike, before anything is shown.

    Raises:
        ValueError: what are no particles.
    """
    record("particles", particles, Particle)
    return Beliefs(particles=particles, log_weight=jnp.zeros(particles.q.shape[0]))


def learn(beliefs: Beliefs, shown: Episode, count: jax.Array, *, by_expert: bool = True) -> Beliefs:
    """What is believed after the first `count` (data) of K shown episodes.

    Args:
        beliefs: before.
        shown: leading axes [K, T].
        count: [] int32.
        by_expert: whether the expert acted, so that actions tell something.

    Raises:
        ValueError: what are no beliefs or episodes, or a count outside 0..K.
    """
    record("beliefs", beliefs, Beliefs)
    record("shown", shown, Episode)
    whole_number("count", count, 0, shown.reward.shape[0])

    def of_particle(one: Particle) -> jax.Array:
        def of_episode(episode: Episode) -> jax.Array:
            def step(at: tuple, seen: tuple) -> tuple:
                reached, time = at
                action, reward, after, mask = seen
                evidence = jnp.zeros(())
                if by_expert:
                    planned = one.policy[jnp.minimum(time, one.policy.shape[0] - 1), reached.node]
                    actions = one.q.shape[-1]
                    evidence = jnp.log(jnp.where(planned == action, 1 - EXPERT_SLIP, 0) + EXPERT_SLIP / actions)
                moved = _step(one, reached, action, reward, after)
                moved = moved._replace(joint=jnp.where(mask, moved.joint + evidence, reached.joint))
                return (moved, time + 1), None

            start = _start(one, jnp.zeros(()), episode.observation[0])
            seen = (episode.action, episode.reward, episode.next_observation, episode.mask)
            (end, _), _ = jax.lax.scan(step, (start, jnp.int32(0)), seen)
            return jax.nn.logsumexp(end.joint)

        each = jax.vmap(of_episode)(shown)
        return jnp.sum(jnp.where(jnp.arange(each.shape[0]) < count, each, 0))

    if shown.reward.shape[0] == 0:
        return beliefs
    return beliefs._replace(log_weight=beliefs.log_weight + jax.vmap(of_particle)(beliefs.particles))


def posterior_agent() -> Agent:
    """The agent whose parameters are `Beliefs`; it goes on learning while it plays."""

    def init(key: jax.Array, params: Beliefs) -> PosteriorMemory:
        models = params.particles.nature.shape
        return PosteriorMemory(
            joint=jnp.broadcast_to(params.log_weight[:, None], models),
            node=jnp.zeros(models[:1], jnp.int32),
            time=jnp.int32(0),
        )

    def act(key: jax.Array, memory: PosteriorMemory, observation: jax.Array, params: Beliefs) -> tuple:
        begun = jax.vmap(_start, in_axes=(0, 0, None))(params.particles, params.log_weight, observation)
        fresh = memory.time == 0
        joint = jnp.where(fresh, begun.joint, memory.joint)
        node = jnp.where(fresh, begun.node, memory.node)
        weight = jax.nn.softmax(jax.nn.logsumexp(joint, axis=-1))
        table = params.particles.q
        step = jnp.minimum(memory.time, table.shape[1] - 1)
        values = jnp.maximum(jax.vmap(lambda q, n: q[step, n])(table, node), LEAST)
        action = jnp.argmax(jnp.sum(weight[:, None] * values, axis=0)).astype(jnp.int32)
        return action, memory._replace(joint=joint, node=node)

    def observe(memory: PosteriorMemory, transition: Transition, params: Beliefs) -> PosteriorMemory:
        def one(particle: Particle, joint: jax.Array, node: jax.Array) -> _Place:
            reached = _Place(joint=joint, node=node)
            return _step(particle, reached, transition.action, transition.reward, transition.next_observation)

        moved = jax.vmap(one)(params.particles, memory.joint, memory.node)
        return PosteriorMemory(joint=moved.joint, node=moved.node, time=memory.time + 1)

    return Agent(init=init, act=act, observe=observe)


def _start(one: Particle, log_weight: jax.Array, observation: jax.Array) -> _Place:
    """A particle after the first observation."""
    seen = jnp.log(jnp.maximum(one.nature * one.first[:, observation], RULED_OUT))
    return _Place(joint=log_weight + seen, node=jnp.asarray(one.graph.root)[observation])


def _step(one: Particle, reached: _Place, action: jax.Array, reward: jax.Array, after: jax.Array) -> _Place:
    """A particle after one more step; sums and not products of matrices, which fuse with the look-ups."""
    belief = jnp.asarray(one.graph.belief)[:, reached.node]
    states = belief.shape[-1]
    support = jnp.arange(states) if one.graph.support is None else jnp.asarray(one.graph.support)[reached.node]
    paid = one.reward[support, action]
    fits = jnp.abs(paid - reward) <= 1e-4 * (1 + jnp.abs(reward))
    chance = jnp.sum(belief * one.following[:, support, action, after] * fits[None], axis=-1)
    joint = reached.joint + jnp.log(jnp.maximum(chance, RULED_OUT))
    return _Place(joint=joint, node=successor(one.graph, reached.node, action, after))
