"""Partially observed Markov decision processes: the record, its simulator, its check, and the MDP behind it.

Dimensions: `S` states, `A` actions, `O` observations. Families of instances are in `jaxdm.envs.pomdp_families`.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxdm import validation
from jaxdm.envs import mdp
from jaxdm.envs.mdp import MDP
from jaxdm.random import inverse_cdf, sample_index, uniform
from jaxdm.types import Env, Predrawn
from jaxdm.validation import (
    check_distribution,
    check_shape,
    distributions,
    is_concrete,
    positive_integer,
    record,
)


class POMDP(NamedTuple):
    """A finite POMDP: an MDP whose state is hidden, and `Z[a, s', o]`, the chance to see o when a led to s'.

    The first observation, seen before any action, has the distribution `Z_0[s, o]` given the first state. A problem
    that has none is one where it says nothing: `Z_0` has equal rows (`make` puts all mass on observation 0), so that
    the belief stays `rho` and no value changes.

    Reference: Kaelbling, Littman, Cassandra, Planning and acting in partially observable stochastic domains, 1998.
    """

    transition: jax.Array  # [S, A, S]
    reward: jax.Array  # [S, A]
    initial: jax.Array  # [S]
    discount: jax.Array  # []
    observation: jax.Array  # [A, S, O] given the action and the state it led to
    initial_observation: jax.Array  # [S, O] given the first state


class POMDPState(NamedTuple):
    """Where a simulated POMDP is, unseen by the agent, and for how many steps it has run."""

    state: jax.Array  # [] int32
    time: jax.Array  # [] int32


def make(
    transition: Any,
    reward: Any,
    observation: Any,
    initial: Any = None,
    initial_observation: Any = None,
    discount: Any = 1.0,
    dtype: Any = None,
    available: Any = None,
) -> POMDP:
    """A POMDP from anything array-like, checked.

    Args:
        transition: [S, A, S], rows sum to one.
        reward: [S, A]; -inf where the action is not available.
        observation: [A, S, O], given the action and the next state; rows sum to one.
        initial: [S]; uniform when left out.
        initial_observation: [S, O]; observation 0 in every state when left out, which tells nothing.
        discount: [] in [0, 1].
        dtype: float type; that of jax when left out (float64 under `jax.enable_x64`).
        available: [S, A] bool, which actions can be taken in a state; all of finite reward when left out. At a belief
            those are available that are so in every state of positive belief.

    Returns:
        The POMDP.

    Raises:
        ValueError: as `validate`.
    """
    hidden = mdp.make(transition, reward, initial, discount, dtype, available)
    observation = distributions("observation", observation, "... A S O", hidden.transition.dtype)
    if initial_observation is None:
        initial_observation = uninformative(hidden.initial, observation.shape[-1])
    initial_observation = distributions("initial_observation", initial_observation, "... S O", hidden.transition.dtype)
    pomdp = POMDP(**hidden._asdict(), observation=observation, initial_observation=initial_observation)
    validate(pomdp)
    return pomdp


def uninformative(initial: jax.Array, observations: int) -> jax.Array:
    """The first observation of a problem that has none: observation 0 in every state.

    Args:
        initial: [..., S].
        observations: O.

    Returns:
        [..., S, O].
    """
    return jnp.zeros((*initial.shape, observations), initial.dtype).at[..., 0].set(1)


def validate(pomdp: POMDP) -> None:
    """Check a POMDP, or a batch of them with the same leading axes on every field.

    Shapes are checked always, values only where they are not traced.

    Raises:
        ValueError: names the field, the value found and what was expected: everything `jaxdm.envs.mdp.validate` looks
            at, and the same of the two observation distributions.
    """
    record("pomdp", pomdp, POMDP)
    mdp.validate(mdp_of(pomdp))
    check_shape("observation", pomdp.observation, "... A S O")
    check_shape("initial_observation", pomdp.initial_observation, "... S O")
    shape, observations = pomdp.transition.shape, pomdp.observation.shape[-1:]
    batch, (states, actions) = shape[:-3], shape[-3:-1]
    expected = {"observation": (actions, states), "initial_observation": (states,)}
    for name, tail in expected.items():
        found = getattr(pomdp, name).shape
        if found != batch + tail + observations:
            raise ValueError(f"{name}: shape {found}; expected {batch + tail + observations} beside transition {shape}")
    if is_concrete(pomdp):
        check_distribution("observation", pomdp.observation)
        check_distribution("initial_observation", pomdp.initial_observation)


def mdp_of(pomdp: POMDP) -> MDP:
    """The MDP behind a POMDP: the same problem for one who sees the state."""
    return MDP(transition=pomdp.transition, reward=pomdp.reward, initial=pomdp.initial, discount=pomdp.discount)


def from_mdp(hidden: MDP, quality: Any) -> POMDP:
    """An MDP seen with observation quality q: `Z(o|s) = q` if o = s, else `(1 - q) / (S - 1)`, from the start on.

    At q = 1 the state is seen; at q = 1/S nothing is.

    Args:
        hidden: an MDP without batch axes.
        quality: q, [] in [1/S, 1]; data, so that `jax.vmap` over it gives a family.

    Returns:
        POMDP with O = S.

    Raises:
        ValueError: quality outside [1/S, 1] (where it is concrete) or not a scalar, or a batch of MDPs.
    """
    record("hidden", hidden, MDP)
    check_shape("reward", hidden.reward, "S A")
    states, actions = hidden.reward.shape
    check_quality(quality, states)
    quality = jnp.asarray(quality, hidden.reward.dtype)
    same = jnp.eye(states, dtype=bool)
    distribution = jnp.where(same, quality, (1 - quality) / max(states - 1, 1))
    observation = jnp.broadcast_to(distribution, (actions, states, states))
    return POMDP(**hidden._asdict(), observation=observation, initial_observation=distribution)


def check_quality(quality: Any, states: int) -> None:
    """Check an observation quality of S states where it is concrete.

    Raises:
        ValueError: it is outside [1/S, 1], or not a scalar.
    """
    # 1/S as float32 rounds it may lie below 1/S; then (1 - q) / (S - 1) is above q by rounding, which is harmless.
    least = 1 / validation.positive_integer("states", states) - validation.ROW_SUM_TOLERANCE
    wanted = f"a number in [1/S, 1] = [{1 / states:.6g}, 1], and jax.vmap for several"
    validation.number("quality", quality, lambda q: least <= q <= 1, wanted)


class StepNoise(NamedTuple):
    """The uniform numbers that draw the next state and what is seen of it."""

    state: jax.Array  # []
    observation: jax.Array  # []


def reset(key: jax.Array, params: POMDP) -> tuple[jax.Array, POMDPState]:
    """Draw the first state from `rho` and what is seen of it from `Z_0`."""
    for_state, for_observation = uniform(key, (2,), params.initial.dtype)
    state = sample_index(inverse_cdf(params.initial), for_state)
    observation = sample_index(inverse_cdf(params.initial_observation)[state], for_observation)
    return observation, POMDPState(state=state, time=jnp.int32(0))


def env(horizon: int | None = None) -> Env:
    """The simulator of any POMDP: `params` is a `POMDP`, observations and actions are int32 indices.

    The reward is `r(s, a)`. A POMDP never terminates; the step that reaches `horizon` is truncated.

    Args:
        horizon: number of steps of an episode; endless when left out.

    Returns:
        An `Env`; the noise of a step is a `StepNoise`.

    Raises:
        ValueError: horizon < 1.
    """
    if horizon is not None:
        horizon = positive_integer("horizon", horizon)

    def step(noise: StepNoise, state: POMDPState, action: jax.Array, params: POMDP) -> tuple:
        # All thresholds, not one row's: they do not change within an episode, so XLA moves them out of the loop.
        index = sample_index(inverse_cdf(params.transition)[state.state, action], noise.state)
        observation = sample_index(inverse_cdf(params.observation)[action, index], noise.observation)
        time = state.time + 1
        truncated = jnp.bool_(False) if horizon is None else time >= horizon
        reward = params.reward[state.state, action]
        return observation, POMDPState(state=index, time=time), reward, jnp.bool_(False), truncated, {}

    predrawn = Predrawn(draw=step_noise, apply=step)
    return Env(reset=reset, step=predrawn.keyed, predrawn=predrawn)


def step_noise(key: jax.Array, length: int) -> StepNoise:
    """The noise of T steps of a POMDP, leading axis [T]."""
    both = uniform(key, (length, 2))
    return StepNoise(state=both[:, 0], observation=both[:, 1])
