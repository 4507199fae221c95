"""Finite Markov decision processes: the record, its simulator, and its check.

Dimensions: `S` states, `A` actions, `H` steps of a horizon. Families of instances are in `jaxdm.envs.families`.

**Available actions.** A reward of -inf says that the action is not available in the state; every state has one that is.
`available` tells which, and `make` takes such a table. An optimal Q-value is -inf exactly there, with error 0; planners
never choose or tie such an action, uniform play is uniform over the others, a policy that takes one with a positive
chance is worth -inf, and the simulator pays -inf for it. The transitions of an unavailable action are probabilities all
the same, of no meaning.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxdm import random
from jaxdm.random import inverse_cdf, sample_index
from jaxdm.types import Env, Predrawn
from jaxdm.validation import (
    boolean_array,
    check_distribution,
    check_shape,
    distributions,
    is_concrete,
    positive_integer,
    real_array,
    record,
    require,
)


class MDP(NamedTuple):
    """A finite MDP `(P, r, rho, gamma)`, where `P[s, a, s']` is the chance to reach s' from s by a; no horizon.

    Reference: Puterman, Markov Decision Processes, 1994, chapter 2.
    """

    transition: jax.Array  # [S, A, S]
    reward: jax.Array  # [S, A], -inf where the action is not available
    initial: jax.Array  # [S]
    discount: jax.Array  # []


class MDPState(NamedTuple):
    """Where a simulated MDP is, and for how many steps it has run."""

    state: jax.Array  # [] int32
    time: jax.Array  # [] int32


def make(
    transition: Any,
    reward: Any,
    initial: Any = None,
    discount: Any = 1.0,
    dtype: Any = None,
    available: Any = None,
) -> MDP:
    """An MDP from anything array-like, checked.

    Args:
        transition: [S, A, S], rows sum to one; see `jaxdm.validation.normalised`.
        reward: [S, A]; -inf where the action is not available.
        initial: [S]; uniform when left out.
        discount: [] in [0, 1].
        dtype: float type; that of jax when left out (float64 under `jax.enable_x64`).
        available: [S, A] bool, which actions can be taken in a state; all of finite reward when left out.

    Returns:
        The MDP.

    Raises:
        ValueError: as `validate`.
    """
    transition = distributions("transition", transition, "... S A S", dtype)
    dtype, states = transition.dtype, transition.shape[-1]
    if initial is None:
        initial = np.full((*transition.shape[:-3], states), 1 / states)
    reward = real_array("reward", reward, dtype=dtype, finite=False)
    if available is not None:
        reward = masked_reward(reward, available)
    initial = distributions("initial", initial, dtype=dtype)
    discount = real_array("discount", discount, dtype=dtype)
    return checked(MDP(transition=transition, reward=reward, initial=initial, discount=discount))


def masked_reward(reward: jax.Array, available: Any) -> jax.Array:
    """The reward [S, A] with -inf where `available` [S, A] is false.

    Raises:
        ValueError: a table that is not one of booleans, or of another shape.
    """
    available = boolean_array("available", available)
    if available.shape != reward.shape:
        raise ValueError(f"available: shape {available.shape}; expected {reward.shape} as the reward's")
    return jnp.where(available, reward, -jnp.inf)


def available(mdp: Any) -> jax.Array:
    """Which actions can be taken in a state, [S, A] bool: those of a reward other than -inf.

    Args:
        mdp: any record with a field `reward` [..., S, A].
    """
    return mdp.reward != -jnp.inf


def uniform_play(mdp: Any) -> jax.Array:
    """The policy that is uniform over the available actions, [S, A] probabilities.

    Args:
        mdp: any record with a field `reward` [..., S, A].
    """
    allowed = available(mdp).astype(mdp.reward.dtype)
    return allowed / jnp.sum(allowed, axis=-1, keepdims=True)


def check_reward(reward: Any) -> None:
    """Check a concrete reward [..., S, A]: finite, or -inf for an action that is not available, in no state for all.

    Raises:
        ValueError: names the entry and what was expected.
    """
    reward = np.asarray(reward)
    require("reward", np.isfinite(reward) | (reward == -np.inf), reward, "finite numbers, or -inf where not available")
    best = reward.max(axis=-1)
    require("reward", best > -np.inf, best, "an available action in every state")


def validate(mdp: MDP) -> None:
    """Check an MDP, or a batch of them with the same leading axes on every field.

    Shapes are checked always, values only where they are not traced.

    Raises:
        ValueError: names the field, the value found and what was expected: wrong shapes, no state or action, a
            number that is not finite (but rewards of -inf), a state without an available action, a negative
            probability, a row that does not sum to one, a discount outside [0, 1].
    """
    record("mdp", mdp, MDP)
    check_shape("transition", mdp.transition, "... S A S")
    shape = mdp.transition.shape
    batch, (states, actions) = shape[:-3], shape[-3:-1]
    expected = {"reward": (states, actions), "initial": (states,), "discount": ()}
    for name, tail in expected.items():
        check_shape(name, getattr(mdp, name), None)
        found = getattr(mdp, name).shape
        if found != batch + tail:
            raise ValueError(f"{name}: shape {found}; expected {batch + tail} beside transition {shape}")
    if not is_concrete(mdp):
        return
    check_reward(mdp.reward)
    for name in ("transition", "initial", "discount"):
        require(name, np.isfinite(getattr(mdp, name)), getattr(mdp, name), "finite numbers")
    check_distribution("transition", mdp.transition)
    check_distribution("initial", mdp.initial)
    discount = np.asarray(mdp.discount)
    require("discount", (discount >= 0) & (discount <= 1), discount, "a number in [0, 1]")


def checked(mdp: MDP) -> MDP:
    """The same MDP after `validate`: what a family ends with."""
    validate(mdp)
    return mdp


def reset(key: jax.Array, params: Any) -> tuple[jax.Array, MDPState]:
    """Draw the first state from `rho`; the observation is the state's index."""
    index = sample_index(inverse_cdf(params.initial), random.uniform(key, (), params.initial.dtype))
    return index, MDPState(state=index, time=jnp.int32(0))


def env(horizon: int | None = None) -> Env:
    """The simulator of any MDP: `params` is an `MDP`, observations and actions are int32 indices.

    The reward is `r(s, a)`. An MDP never terminates; the step that reaches `horizon` is truncated.

    Args:
        horizon: number of steps of an episode; endless when left out.

    Returns:
        An `Env`; the noise of a step is a uniform number.

    Raises:
        ValueError: horizon < 1.
    """
    return simulator(horizon, _successor)


def _successor(noise: jax.Array, state: jax.Array, action: jax.Array, params: MDP) -> jax.Array:
    # All thresholds, not this row's alone: they do not change within an episode, so XLA moves them out of the loop.
    return sample_index(inverse_cdf(params.transition)[state, action], noise)


def simulator(horizon: int | None, successor: Callable[[jax.Array, jax.Array, jax.Array, Any], jax.Array]) -> Env:
    """The simulator of a record that has MDP's `initial` and `reward`, as `env` describes it.

    Args:
        horizon: as in `env`.
        successor: `(noise, state, action, params) -> next state`, all but the params without axes.

    Raises:
        ValueError: horizon < 1.
    """
    if horizon is not None:
        horizon = positive_integer("horizon", horizon)

    def step(noise: jax.Array, state: MDPState, action: jax.Array, params: Any) -> tuple:
        index = successor(noise, state.state, action, params)
        time = state.time + 1
        truncated = jnp.bool_(False) if horizon is None else time >= horizon
        reward = params.reward[state.state, action]
        return index, MDPState(state=index, time=time), reward, jnp.bool_(False), truncated, {}

    def draw(key: jax.Array, length: int) -> jax.Array:
        return random.uniform(key, (length,))

    predrawn = Predrawn(draw=draw, apply=step)
    return Env(reset=reset, step=predrawn.keyed, predrawn=predrawn)
