"""What can be had from demonstrations without a network: their vote, and planning on the model they count.

Dimensions: `K` demonstrations, `T` steps, `S` observations (states), `A` actions, `H` horizon.

The parameters of these agents are the demonstrations, an `Episode` with leading axes [K, T].
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxdm.envs.mdp import MDP, masked_reward
from jaxdm.oracles.mdp.planning import backward_induction
from jaxdm.random import inverse_cdf, sample_index
from jaxdm.rollout import markov_agent, noise_entry, uniform_noise
from jaxdm.tokens import Spaces
from jaxdm.types import Agent, Episode, Predrawn, Transition


class VoteMemory(NamedTuple):
    """The probabilities that the demonstrations vote for."""

    probabilities: jax.Array  # [S, A]


def random(spaces: Spaces, available: jax.Array | None = None) -> Agent:
    """Uniform play; its parameters are ignored.

    Args:
        spaces: sizes.
        available: [S, A] bool, the actions that can be taken at an observation; all when left out.
    """

    def act(uniform: jax.Array, memory: tuple, observation: jax.Array, params: object) -> tuple:
        if available is None:
            return jnp.floor(uniform * spaces.actions).astype(jnp.int32), memory
        return sample_index(inverse_cdf(_uniform(available))[observation], uniform), memory

    predrawn = Predrawn(draw=uniform_noise, apply=act)
    return Agent(
        init=lambda key, params: (),
        act=predrawn.keyed,
        observe=lambda memory, transition, params: memory,
        predrawn=predrawn,
    )


def _uniform(allowed: jax.Array) -> jax.Array:
    """The probabilities that are uniform where `allowed` [S, A] is true, which is somewhere in every row."""
    weight = allowed.astype(jnp.float32)
    return weight / jnp.sum(weight, axis=-1, keepdims=True)


def count_actions(demonstrations: Episode, spaces: Spaces) -> jax.Array:
    """How often each action was taken at each observation, [S, A]."""
    weight = demonstrations.mask.astype(jnp.float32)
    counts = jnp.zeros((spaces.observations, spaces.actions))
    return counts.at[demonstrations.observation, demonstrations.action].add(weight)


def vote_probabilities(demonstrations: Episode, spaces: Spaces, available: jax.Array | None = None) -> jax.Array:
    """Uniform over the actions demonstrated most often at an observation; over all where none was, [S, A].

    Args:
        demonstrations: leading axes [K, T].
        spaces: sizes.
        available: [S, A] bool, the actions that have a vote; all when left out.
    """
    counts = count_actions(demonstrations, spaces)
    if available is not None:
        counts = jnp.where(available, counts, -1)
    return _uniform(counts == jnp.max(counts, axis=-1, keepdims=True))


def vote(spaces: Spaces, available: jax.Array | None = None) -> Agent:
    """Majority vote of the demonstrations at each observation.

    Args:
        spaces: sizes.
        available: [S, A] bool, the actions that have a vote; all when left out.

    Raises:
        ValueError: no demonstrations.
    """
    player = markov_agent()
    follow = noise_entry(player.act, player.predrawn)

    def init(key: jax.Array, params: Episode) -> VoteMemory:
        _require_demonstrations(params)
        return VoteMemory(probabilities=vote_probabilities(params, spaces, available))

    def act(uniform: jax.Array, memory: VoteMemory, observation: jax.Array, params: Episode) -> tuple:
        action, _ = follow.apply(uniform, memory, observation, memory.probabilities)
        return action, memory

    predrawn = Predrawn(draw=follow.draw, apply=act)
    return Agent(init=init, act=predrawn.keyed, observe=lambda memory, transition, params: memory, predrawn=predrawn)


def first(demonstrations: Episode, count: jax.Array) -> Episode:
    """Only the first `count` (data) demonstrations: the others are masked out, and what counts them does not."""
    kept = jnp.arange(demonstrations.mask.shape[0]) < count
    return demonstrations._replace(mask=demonstrations.mask & kept[:, None])


class CertaintyMemory(NamedTuple):
    """The plan on the counted model, and the time."""

    policy: jax.Array  # [H, S] int32
    time: jax.Array  # [] int32


def counted_mdp(demonstrations: Episode, spaces: Spaces, prior: float = 0.1, available: jax.Array | None = None) -> MDP:
    """The posterior-mean MDP of the demonstrated transitions under symmetric Dirichlet priors.

    `P(s'|s,a) = (n(s,a,s') + prior/S) / (n(s,a) + prior)`; the mean reward at (s, a) is shrunk by `prior` observations
    of the mean reward of all demonstrations.

    Args:
        demonstrations: leading axes [K, T].
        spaces: sizes; observations are states.
        prior: pseudo-observations per (s, a), > 0.
        available: [S, A] bool, the actions that can be taken; all when left out.
    """
    weight = demonstrations.mask.astype(jnp.float32)
    state, action, after = demonstrations.observation, demonstrations.action, demonstrations.next_observation
    pairs = (spaces.observations, spaces.actions)
    moves = jnp.zeros((*pairs, spaces.observations)).at[state, action, after].add(weight)
    paid = jnp.zeros(pairs).at[state, action].add(weight * demonstrations.reward)
    visits = jnp.sum(moves, axis=-1)
    average = jnp.sum(paid) / jnp.maximum(jnp.sum(visits), 1)
    start = jnp.full((spaces.observations,), 1 / spaces.observations)
    reward = (paid + prior * average) / (visits + prior)
    return MDP(
        transition=(moves + prior / spaces.observations) / (visits + prior)[..., None],
        reward=reward if available is None else masked_reward(reward, available),
        initial=start,
        discount=jnp.float32(1),
    )


def planned(
    demonstrations: Episode,
    spaces: Spaces,
    horizon: int,
    prior: float = 0.1,
    available: jax.Array | None = None,
) -> jax.Array:
    """What is optimal over `horizon` steps of `counted_mdp`, [H, S] int32."""
    return backward_induction(counted_mdp(demonstrations, spaces, prior, available), horizon).policy


def certainty_equivalent(spaces: Spaces, horizon: int, prior: float = 0.1, available: jax.Array | None = None) -> Agent:
    """Plan on `counted_mdp` as if it were the truth, by backward induction over `horizon` steps.

    Raises:
        ValueError: no demonstrations.
    """

    def init(key: jax.Array, params: Episode) -> CertaintyMemory:
        _require_demonstrations(params)
        return CertaintyMemory(policy=planned(params, spaces, horizon, prior, available), time=jnp.int32(0))

    def act(key: jax.Array, memory: CertaintyMemory, observation: jax.Array, params: Episode) -> tuple:
        return memory.policy[jnp.minimum(memory.time, horizon - 1), observation], memory

    def observe(memory: CertaintyMemory, transition: Transition, params: Episode) -> CertaintyMemory:
        return memory._replace(time=memory.time + 1)

    return Agent(init=init, act=act, observe=observe)


def _require_demonstrations(demonstrations: Episode) -> None:
    if demonstrations.reward.shape[0] == 0:
        raise ValueError("demonstrations: none; expected at least one episode")
