"""Networks with numerical tokens as players of bandits and of online learning, one cached step a decision.

Dimensions: `T` decisions, `A` arms or coordinates, `N` tokens, `F` features.

A decision comes from the network's first A outputs z and exploration noise, `z' = z + sigma xi`, xi standard normal:

    arms      a ~ softmax(z') over the available arms
    simplex   x = softmax(4 z'), or one arm drawn from it
    ball      x = Project(z')

The token before a decision says what is available, what was decided last and what it brought, and whether this is the
first. These tokens are ours.
"""

from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp

from jaxdm import random
from jaxdm.envs.online import BALL
from jaxdm.random import inverse_cdf, sample_index
from jaxdm.tokens import bandit_features, bandit_past, first_past, online_features, online_past
from jaxdm.types import Agent, Network, Transition, Tree

Labels = Literal["sampled", "law", "output"]
"""What a rollout plays and later imitates where it has the choice: one drawn arm, or the decision itself; or it plays
the decision and imitates the noisy output behind it, by least squares."""


SHARPNESS = 4.0
"""Scale of outputs on the simplex: a law near a vertex needs large ones, and training moves them little by little."""


Decisions = Literal["simplex", "ball"]
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


def bandit_player(network: Network, arms: int, length: int) -> Agent:
    """The player of `jaxdm.envs.bandit` whose params are a `Player`.

    Args:
        network: with `bandit_features(arms)` features and at least A outputs.
        arms: A.
        length: T, the largest number of decisions.
    """

    def act(draw: jax.Array, memory: PlayerMemory, observation: jax.Array, params: Player) -> tuple:
        output, memory = _read(network, memory, observation, params)
        law = arm_law(output[:arms], observation, draw[1:], params.exploration)
        return sample_index(inverse_cdf(law), draw[0]), memory

    def observe(memory: PlayerMemory, transition: Transition, params: Player) -> PlayerMemory:
        chosen = jax.nn.one_hot(transition.action, arms, dtype=memory.past.dtype)
        return memory._replace(past=bandit_past(chosen, transition.reward))

    init = lambda key, params: _start(network, params, bandit_features(arms), arms, length)
    return Agent(init=init, act=act, observe=observe, draws=lambda key, length: _draws(key, length, arms))


def online_player(
    network: Network, dimension: int, length: int, decisions: Decisions = "simplex", labels: Labels = "law"
) -> Agent:
    """The player of `jaxdm.envs.online` whose params are a `Player`.

    Args:
        network: with `online_features(dimension)` features and at least A = d outputs.
        dimension: d.
        length: T, the largest number of decisions.
        decisions: the set; on the ball the available coordinates are used.
        labels: on the simplex, with "sampled" it plays one drawn arm, else the law.

    Raises:
        ValueError: unknown decisions or labels, or drawn arms on the ball.
    """
    check(decisions, labels)

    def act(draw: jax.Array, memory: PlayerMemory, observation: jax.Array, params: Player) -> tuple:
        output, memory = _read(network, memory, params.available, params)
        output = output[:dimension]
        if decisions == "ball":
            return ball_point(output, params.available, draw[1:], params.exploration), memory
        law = arm_law(SHARPNESS * output, params.available, draw[1:], SHARPNESS * params.exploration)
        if labels != "sampled":
            return law, memory
        return jax.nn.one_hot(sample_index(inverse_cdf(law), draw[0]), dimension, dtype=law.dtype), memory

    def observe(memory: PlayerMemory, transition: Transition, params: Player) -> PlayerMemory:
        return memory._replace(past=online_past(transition.next_observation, params.available))

    init = lambda key, params: _start(network, params, online_features(dimension), dimension, length)
    return Agent(init=init, act=act, observe=observe, draws=lambda key, length: _draws(key, length, dimension))


def check(decisions: str, labels: str) -> None:
    """Check the names of a set of decisions and of a kind of labels.

    Raises:
        ValueError: an unknown name, or drawn arms on the ball, which has none.
    """
    for field, value, names in (("decisions", decisions, get_args(Decisions)), ("labels", labels, get_args(Labels))):
        if value not in names:
            raise ValueError(f"{field}: {value!r}; expected one of {', '.join(names)}")
    if decisions == "ball" and labels == "sampled":
        raise ValueError("labels: 'sampled'; expected 'law' or 'output' on the ball, where a decision is a point")


def arm_law(output: jax.Array, available: jax.Array, noise: jax.Array, exploration: jax.Array) -> jax.Array:
    """`softmax(z + sigma xi)` over the available arms, [A]; all arguments [A] but `exploration`, []."""
    return jax.nn.softmax(jnp.where(available, output + exploration * noise.astype(output.dtype), -jnp.inf))


def ball_point(output: jax.Array, available: jax.Array, noise: jax.Array, exploration: jax.Array) -> jax.Array:
    """`Project(z + sigma xi)` on the unit ball of the available coordinates, [A]; arguments as `arm_law`."""
    return BALL.project(jnp.where(available, output + exploration * noise.astype(output.dtype), 0))


def _start(network: Network, params: Player, features: int, arms: int, length: int) -> PlayerMemory:
    dtype = params.exploration.dtype
    _, cache = network.prefill(params.weights, jnp.zeros((0, features), dtype), length)
    return PlayerMemory(cache=cache, past=first_past(features - arms, dtype))


def _read(network: Network, memory: PlayerMemory, available: jax.Array, params: Player) -> tuple:
    token = jnp.concatenate([available.astype(memory.past.dtype), memory.past])
    output, cache = network.step(params.weights, memory.cache, token)
    return output, memory._replace(cache=cache)


def _draws(key: jax.Array, length: int, arms: int) -> jax.Array:
    """A uniform number and A normal ones for every decision, [T, 1 + A]."""
    key_uniform, key_normal = random.split(key)
    uniform = random.uniform(key_uniform, (length, 1))
    return jnp.concatenate([uniform, random.normal(key_normal, (length, arms))], axis=-1)
