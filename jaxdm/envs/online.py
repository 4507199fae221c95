"""Full-information online learning: decision sets, the world that answers with a loss vector, and a direct way to play.

Dimensions: `T` rounds, `d` coordinates (arms, on the simplex). A decision is a point of a set, on the simplex a
distribution over arms; the learner then sees the whole loss vector and pays its inner product with the decision.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxdm import validation
from jaxdm.rollout import noise_entry
from jaxdm.types import Agent, Env, Transition, Tree

Response = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]
"""`(planned loss [d], sum of losses so far [d], decision [d]) -> loss [d]`: what an adversary does with its plan."""


class DecisionSet(NamedTuple):
    """A convex set of decisions; `size` is the radius of the ball, the sum of coordinates on the simplex.

    Fields:
        project: `(point [d], size) -> [d]`, the nearest point of the set.
        minimise: `(loss [d], size) -> [d]`, a point of the set where `<loss, x>` is least.
    """

    project: Callable[..., jax.Array]
    minimise: Callable[..., jax.Array]


def _ball_minimise(loss: jax.Array, size: jax.Array | float = 1.0) -> jax.Array:
    square = jnp.sum(loss**2)
    return -size * loss / jnp.sqrt(jnp.where(square > 0, square, 1))


def _simplex_project(point: jax.Array, size: jax.Array | float = 1.0) -> jax.Array:
    # optax divides by integers, which gives float64 wherever that is enabled.
    return jnp.asarray(optax.projections.projection_simplex(point, size), point.dtype)


def _simplex_minimise(loss: jax.Array, size: jax.Array | float = 1.0) -> jax.Array:
    return size * jax.nn.one_hot(jnp.argmin(loss), loss.shape[0], dtype=loss.dtype)


BALL = DecisionSet(project=optax.projections.projection_l2_ball, minimise=_ball_minimise)
"""`|x| <= size`; zero has its centre as minimiser."""


SIMPLEX = DecisionSet(project=_simplex_project, minimise=_simplex_minimise)
"""`x >= 0, sum x = size`; ties go to the lowest index."""


class OnlineState(NamedTuple):
    """What a simulated adversary knows of the past."""

    total: jax.Array  # [d] sum of losses so far
    time: jax.Array  # [] int32


def oblivious(loss: jax.Array, total: jax.Array, action: jax.Array) -> jax.Array:
    """The planned loss, whatever happened."""
    return loss


def orthogonal(loss: jax.Array, total: jax.Array, action: jax.Array) -> jax.Array:
    """The planned loss turned, at equal length, to stand orthogonal to the sum of losses so far.

    With unit lengths the sum has length `sqrt(t)`, while a learner that plays against the sum has paid nothing: its
    regret on the unit ball is `sqrt(T)` exactly. In one dimension there is nowhere to turn, and the loss is zero.

    Reference: Abernethy, Bartlett, Rakhlin, Tewari, Optimal strategies and minimax lower bounds for online convex
        games, COLT 2008.
    """
    square = jnp.sum(total**2)
    residual = loss - total * (jnp.dot(loss, total) / jnp.where(square > 0, square, 1))
    # What is left of a loss along the sum is rounding; of the axis farthest from the sum it is not, but for d = 1.
    axis = jax.nn.one_hot(jnp.argmin(jnp.abs(total)), loss.shape[0], dtype=loss.dtype)
    spare = axis - total * (jnp.dot(axis, total) / jnp.where(square > 0, square, 1))
    wanted = _length(loss)
    direction = jnp.where(_length(residual) > wanted / 10, residual, spare)
    length = _length(direction)
    return jnp.where(length > 0, wanted * direction / jnp.where(length > 0, length, 1), 0)


def against_ball(loss: jax.Array, total: jax.Array, action: jax.Array) -> jax.Array:
    """The planned loss turned, at equal length, to point along the decision: the worst of its length for the learner.

    At the decision zero the planned loss stands.
    """
    length = _length(action)
    return jnp.where(length > 0, _length(loss) * action / jnp.where(length > 0, length, 1), loss)


def _length(point: jax.Array) -> jax.Array:
    """The norm, with gradient zero at zero, where `jnp.linalg.norm` has NaN."""
    square = jnp.sum(point**2)
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)


def against_simplex(loss: jax.Array, total: jax.Array, action: jax.Array) -> jax.Array:
    """The largest planned number, charged to the arm that the learner prefers, lowest index on ties; none to others."""
    return jnp.max(loss) * jax.nn.one_hot(jnp.argmax(action), loss.shape[0], dtype=loss.dtype)


def env(respond: Response = oblivious) -> Env:
    """The world `l_t = respond(plan_t, S_{t-1}, x_t)`, with reward `-<l_t, x_t>`; `params` is the plan, [T, d].

    The observation is the last loss, first zeros. The step of round T is truncated; later ones repeat the last row.

    Args:
        respond: the adversary.

    Returns:
        An `Env` that uses no randomness.
    """

    def reset(key: jax.Array, params: jax.Array) -> tuple[jax.Array, OnlineState]:
        zeros = jnp.zeros_like(checked(params)[0])
        return zeros, OnlineState(total=zeros, time=jnp.int32(0))

    def step(key: jax.Array, state: OnlineState, action: jax.Array, params: jax.Array) -> tuple:
        planned = params[jnp.minimum(state.time, params.shape[0] - 1)]
        loss = respond(planned, state.total, action)
        time = state.time + 1
        after = OnlineState(total=state.total + loss, time=time)
        return loss, after, -jnp.dot(loss, action), jnp.bool_(False), time >= params.shape[0], {}

    return Env(reset=reset, step=step)


def play(key: jax.Array, losses: jax.Array, agent: Agent, agent_params: Tree) -> jax.Array:
    """The decisions of a learner on given losses, [T, d]: those of a rollout in `env()`, without the world.

    Differentiable in `losses` wherever the learner is; a round's gradient touches that round's loss alone.

    Args:
        key: random key; the same decisions as a rollout with this key.
        losses: [T, d].
        agent: an online learner.
        agent_params: its rates.

    Returns:
        [T, d]; row t is decided before loss t is seen.

    Raises:
        ValueError: bad losses (see `checked`).
    """
    losses = checked(losses)
    _, _, key_init, key_agent = jax.random.split(key, 4)
    memory = agent.init(key_init, agent_params)
    player, off = noise_entry(agent.act, agent.predrawn), jnp.bool_(False)

    def step(carry: tuple, inputs: tuple) -> tuple:
        observation, memory = carry
        noise, loss = inputs
        action, memory = player.apply(noise, memory, observation, agent_params)
        transition = Transition(
            observation=observation,
            action=action,
            reward=-jnp.dot(loss, action),
            next_observation=loss,
            terminated=off,
            truncated=off,
        )
        return (loss, agent.observe(memory, transition, agent_params)), action

    noise = player.draw(key_agent, losses.shape[0])
    return jax.lax.scan(step, (jnp.zeros_like(losses[0]), memory), (noise, losses))[1]


def checked(losses: Any) -> jax.Array:
    """A sequence of losses as an array [T, d]: its shape is checked always, its values only where they are not traced.

    Raises:
        ValueError: not [T, d] with T, d >= 1, or a number that is not finite.
    """
    return validation.float_array("losses", losses, "T d")
