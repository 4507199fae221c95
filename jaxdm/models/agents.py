"""A network as an agent: read the demonstrations once, then one cached step per decision.

Dimensions: `N` tokens of the demonstrations, `F` features, `A` actions.
"""

import functools
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np

from jaxdm import random
from jaxdm.envs.online import BALL
from jaxdm.random import inverse_cdf, sample_index
from jaxdm.rollout import uniform_noise
from jaxdm.tokens import Spaces, bandit_features, bandit_past, first_past, online_features, online_past, token
from jaxdm.types import Agent, Network, Predrawn, Transition, Tree
from jaxdm.validation import check_sizes, choice, is_concrete


class Deployment(NamedTuple):
    """What a deployed network knows: its weights, the context it is shown, and how greedily it acts."""

    weights: Tree
    context: jax.Array  # [N, F] tokens of the demonstrations
    length: jax.Array  # [] int32, how many of them are shown
    temperature: jax.Array  # [] 0 plays the likeliest action, 1 samples the network's probabilities


class NetworkMemory(NamedTuple):
    """The cached context, and what happened since the last decision."""

    cache: Tree
    last_observation: jax.Array  # [] int32
    last_action: jax.Array  # [] int32
    last_reward: jax.Array  # []
    start: jax.Array  # [] bool


def deploy(weights: Tree, context: jax.Array, temperature: Any = 0.0, length: Any = None) -> Deployment:
    """A `Deployment` that is shown all of its context, and acts greedily, unless told otherwise.

    Raises:
        ValueError: a concrete length that the context does not have, or a concrete temperature below zero.
    """
    tokens = context.shape[0]
    if length is not None and is_concrete(length) and not np.all((np.asarray(length) >= 0) & (length <= tokens)):
        raise ValueError(f"length: {length}; expected between 0 and the {tokens} tokens of the context")
    if is_concrete(temperature) and not np.all(np.asarray(temperature) >= 0):
        raise ValueError(f"temperature: {temperature}; expected at least 0")
    return Deployment(
        weights=weights,
        context=context,
        length=jnp.asarray(tokens if length is None else length, jnp.int32),
        temperature=jnp.asarray(temperature, context.dtype),
    )


def network_agent(network: Network, spaces: Spaces, length: int) -> Agent:
    """The agent that acts by a network's first A outputs, growing its context by one token a decision.

    Args:
        network: from `jaxdm.models.transformer.network`, with `spaces.features` features.
        spaces: sizes.
        length: T, the largest number of decisions after its context; a rollout of more is refused, and where an agent
            is driven by hand, its action after them is -1.

    Returns:
        Agent whose parameters are a `Deployment`.

    Raises:
        ValueError: length < 1.
    """
    check_sizes(length=length)

    def init(key: jax.Array, params: Deployment) -> NetworkMemory:
        capacity = params.context.shape[0] + length
        _, cache = network.prefill(params.weights, params.context, capacity, params.length)
        zero = jnp.zeros((), params.context.dtype)
        none = jnp.int32(0)
        return NetworkMemory(
            cache=cache, last_observation=none, last_action=none, last_reward=zero, start=jnp.bool_(True)
        )

    def act(uniform: jax.Array, memory: NetworkMemory, observation: jax.Array, params: Deployment) -> tuple:
        last = memory.last_observation, memory.last_action, memory.last_reward
        now = token(observation, last[0], last[1], last[2], memory.start, spaces)
        output, cache = network.step(params.weights, memory.cache, now)
        return choose(output[: spaces.actions], uniform, params.temperature), memory._replace(cache=cache)

    def observe(memory: NetworkMemory, transition: Transition, params: Deployment) -> NetworkMemory:
        return memory._replace(
            last_observation=transition.observation,
            last_action=transition.action,
            last_reward=transition.reward.astype(memory.last_reward.dtype),
            start=transition.terminated | transition.truncated,
        )

    predrawn = Predrawn(draw=at_most(length, uniform_noise), apply=act)
    return Agent(init=init, act=predrawn.keyed, observe=observe, predrawn=predrawn)


def at_most(length: int, draw: Callable[[jax.Array, int], Tree]) -> Callable[[jax.Array, int], Tree]:
    """The noise of an agent with room for `length` decisions, which refuses to be drawn for more."""

    def checked(key: jax.Array, decisions: int) -> Tree:
        if decisions > length:
            raise ValueError(f"length: {decisions} decisions; expected at most {length}, for which the agent has room")
        return draw(key, decisions)

    return checked


def choose(logits: jax.Array, uniform: jax.Array, temperature: jax.Array) -> jax.Array:
    """An action from `softmax(logits / temperature)`; the largest logit at temperature 0.

    Args:
        logits: [A].
        uniform: [] in [0, 1).
        temperature: [] >= 0.

    Returns:
        [] int32; -1, no action, where a logit is NaN.
    """
    probabilities = jax.nn.softmax(logits / jnp.where(temperature > 0, temperature, 1))
    sampled = sample_index(inverse_cdf(probabilities), uniform)
    action = jnp.where(temperature > 0, sampled, jnp.argmax(logits).astype(jnp.int32))
    return jnp.where(jnp.any(jnp.isnan(logits)), -1, action)


def draw_arm(probabilities: jax.Array, uniform: jax.Array) -> jax.Array:
    """An arm with probabilities [A], [] int32; -1, no arm, where they are NaN."""
    return jnp.where(jnp.any(jnp.isnan(probabilities)), -1, sample_index(inverse_cdf(probabilities), uniform))


Labels = Literal["sampled", "probabilities", "output"]
"""What a rollout plays and later imitates where it has the choice: one drawn arm, or the decision itself; or it plays
the decision and imitates the noisy output behind it, by least squares."""


INVERSE_TEMPERATURE = 4.0
"""Scale of outputs on the simplex: a policy near a vertex needs large ones, and training moves them slowly."""


DecisionSetName = Literal["simplex", "ball"]
"""Sets of decisions of online learning."""


class Player(NamedTuple):
    """What a player knows: its weights, how much it explores, and what it may use."""

    weights: Tree
    exploration: jax.Array  # [] standard deviation of the noise on the outputs
    available: jax.Array  # [A] bool; bandits say it themselves


class PlayerMemory(NamedTuple):
    """The cached context, and what the next token says of the past."""

    cache: Tree
    past: jax.Array  # [F - A]


class DecisionNoise(NamedTuple):
    """What a player's decision draws: an arm, and what is added to the network's outputs to explore."""

    arm: jax.Array  # [] uniform
    outputs: jax.Array  # [A] standard normal


def decision_noise(key: jax.Array, length: int, arms: int) -> DecisionNoise:
    """The noise of T decisions, leading axis [T]."""
    key_arm, key_outputs = random.split(key)
    return DecisionNoise(arm=random.uniform(key_arm, (length,)), outputs=random.normal(key_outputs, (length, arms)))


def bandit_player(network: Network, arms: int, length: int) -> Agent:
    """The player of `jaxdm.envs.bandit` whose params are a `Player`.

    Args:
        network: with `bandit_features(arms)` features and at least A outputs.
        arms: A.
        length: T, the largest number of decisions; a rollout of more is refused, and an arm after them is -1.

    Raises:
        ValueError: a size below one.
    """
    check_sizes(arms=arms, length=length)

    def act(noise: DecisionNoise, memory: PlayerMemory, observation: jax.Array, params: Player) -> tuple:
        output, memory = _read(network, memory, observation, params)
        probabilities = arm_probabilities(output[:arms], observation, noise.outputs, params.exploration)
        return draw_arm(probabilities, noise.arm), memory

    def observe(memory: PlayerMemory, transition: Transition, params: Player) -> PlayerMemory:
        chosen = jax.nn.one_hot(transition.action, arms, dtype=memory.past.dtype)
        return memory._replace(past=bandit_past(chosen, transition.reward))

    def init(key, params):
        return _start(network, params, bandit_features(arms), arms, length)

    predrawn = Predrawn(draw=at_most(length, functools.partial(decision_noise, arms=arms)), apply=act)
    return Agent(init=init, act=predrawn.keyed, observe=observe, predrawn=predrawn)


def online_player(
    network: Network,
    dimension: int,
    length: int,
    decisions: DecisionSetName = "simplex",
    labels: Labels = "probabilities",
) -> Agent:
    """The player of `jaxdm.envs.online` whose params are a `Player`.

    Args:
        network: with `online_features(dimension)` features and at least A = d outputs.
        dimension: d.
        length: T, the largest number of decisions; a rollout of more is refused, and a decision after them is NaN.
        decisions: the set; on the ball the available coordinates are used.
        labels: on the simplex, with "sampled" it plays one drawn arm, else the probabilities.

    Raises:
        ValueError: unknown decisions or labels, drawn arms on the ball, or a size below one.
    """
    check(decisions, labels)
    check_sizes(dimension=dimension, length=length)

    def act(noise: DecisionNoise, memory: PlayerMemory, observation: jax.Array, params: Player) -> tuple:
        output, memory = _read(network, memory, params.available, params)
        output = output[:dimension]
        if decisions == "ball":
            return ball_point(output, params.available, noise.outputs, params.exploration), memory
        probabilities = arm_probabilities(
            INVERSE_TEMPERATURE * output, params.available, noise.outputs, INVERSE_TEMPERATURE * params.exploration
        )
        if labels != "sampled":
            return probabilities, memory
        drawn = jax.nn.one_hot(draw_arm(probabilities, noise.arm), dimension, dtype=probabilities.dtype)
        return jnp.where(jnp.isnan(probabilities), jnp.nan, drawn), memory

    def observe(memory: PlayerMemory, transition: Transition, params: Player) -> PlayerMemory:
        return memory._replace(past=online_past(transition.next_observation, params.available))

    def init(key, params):
        return _start(network, params, online_features(dimension), dimension, length)

    predrawn = Predrawn(draw=at_most(length, functools.partial(decision_noise, arms=dimension)), apply=act)
    return Agent(init=init, act=predrawn.keyed, observe=observe, predrawn=predrawn)


def check(decisions: str, labels: str) -> None:
    """Check the names of a set of decisions and of a kind of labels.

    Raises:
        ValueError: an unknown name, or drawn arms on the ball, which has none.
    """
    for field, value, names in (
        ("decisions", decisions, get_args(DecisionSetName)),
        ("labels", labels, get_args(Labels)),
    ):
        choice(field, value, names)
    if decisions == "ball" and labels == "sampled":
        raise ValueError(
            "labels: 'sampled'; expected 'probabilities' or 'output' on the ball, where a decision is a point"
        )


def arm_probabilities(output: jax.Array, available: jax.Array, noise: jax.Array, exploration: jax.Array) -> jax.Array:
    """`softmax(z + sigma xi)` over the available arms, [A]; all arguments [A] but `exploration`, []."""
    return jax.nn.softmax(jnp.where(available, output + exploration * noise.astype(output.dtype), -jnp.inf))


def ball_point(output: jax.Array, available: jax.Array, noise: jax.Array, exploration: jax.Array) -> jax.Array:
    """`Project(z + sigma xi)` on the unit ball of the available coordinates, [A]; arguments as `arm_probabilities`."""
    return BALL.project(jnp.where(available, output + exploration * noise.astype(output.dtype), 0))


def _start(network: Network, params: Player, features: int, arms: int, length: int) -> PlayerMemory:
    dtype = params.exploration.dtype
    _, cache = network.prefill(params.weights, jnp.zeros((0, features), dtype), length)
    return PlayerMemory(cache=cache, past=first_past(features - arms, dtype))


def _read(network: Network, memory: PlayerMemory, available: jax.Array, params: Player) -> tuple:
    token = jnp.concatenate([available.astype(memory.past.dtype), memory.past])
    output, cache = network.step(params.weights, memory.cache, token)
    return output, memory._replace(cache=cache)
