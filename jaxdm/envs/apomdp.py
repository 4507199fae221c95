"""Ambiguous POMDPs: a set of models of one decision problem, of which the agent does not know the true one.

Dimensions: `M` models, `S` states, `A` actions, `O` observations. The agent knows the set. Nature draws the model of an
episode and never shows it. Families are in `jaxdm.envs.apomdp_families`; what a plan is worth is defined in
`jaxdm.oracles.ambiguity`.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxdm.envs import pomdp as pomdps
from jaxdm.envs.pomdp import POMDP
from jaxdm.random import inverse_cdf, sample_index, uniform
from jaxdm.types import Env, Predrawn
from jaxdm.validation import (
    check_distribution,
    check_shape,
    distributions,
    is_concrete,
    positive_integer,
    real_array,
    record,
)


class APOMDP(NamedTuple):
    """M POMDPs with one reward and one discount, and an attitude towards not knowing which.

    `attitude` weighs the worst model against the best: 1 is maximin, 0 is maximax. `nature` draws the model of an
    episode; it belongs to the world, and no planner reads it.

    Reference: Saghafian, Ambiguous partially observable Markov decision processes, J. Econ. Theory 178, 2018; that
    models differ also in their first states, and the distribution of nature, are ours.
    """

    transition: jax.Array  # [M, S, A, S]
    reward: jax.Array  # [S, A]
    initial: jax.Array  # [M, S]
    discount: jax.Array  # []
    observation: jax.Array  # [M, A, S, O] given the action and the state it led to
    initial_observation: jax.Array  # [M, S, O] given the first state
    attitude: jax.Array  # [] alpha in [0, 1]
    nature: jax.Array  # [M]


class APOMDPState(NamedTuple):
    """The model that nature drew, and where the episode is; the agent sees neither."""

    model: jax.Array  # [] int32
    state: jax.Array  # [] int32
    time: jax.Array  # [] int32


def make(members: POMDP, attitude: Any, nature: Any = None) -> APOMDP:
    """An APOMDP from M POMDPs, checked.

    Args:
        members: a POMDP whose fields have a leading axis [M] (`jax.vmap` of a family gives one, `jax.tree.map` of
            `jnp.stack` another); rewards and discounts must agree.
        attitude: alpha, [] in [0, 1].
        nature: [M] distribution of an episode's model; uniform when left out.

    Returns:
        The APOMDP.

    Raises:
        ValueError: models that disagree about reward or discount, or anything that `validate` refuses.
    """
    record("members", members, POMDP)
    check_shape("transition", members.transition, "M S A S")
    pomdps.validate(members)
    for name in ("reward", "discount"):
        field = getattr(members, name)
        if is_concrete(field) and not np.array_equal(field, np.broadcast_to(field[:1], field.shape)):
            raise ValueError(f"{name}: {np.asarray(field).tolist()} differs between models; expected one for all")
    dtype, models = members.transition.dtype, members.transition.shape[0]
    apomdp = APOMDP(
        **members._replace(reward=members.reward[0], discount=members.discount[0])._asdict(),
        attitude=real_array("attitude", attitude, "", dtype),
        nature=distributions("nature", np.full(models, 1 / models) if nature is None else nature, "M", dtype, M=models),
    )
    validate(apomdp)
    return apomdp


def of_one_model(pomdp: POMDP) -> APOMDP:
    """A POMDP as the APOMDP whose only model it is: the same problem, whatever the attitude."""
    alone = {name: getattr(pomdp, name)[None] for name in POMDP._fields if name not in ("reward", "discount")}
    one = jnp.ones_like(pomdp.discount)
    return APOMDP(**alone, reward=pomdp.reward, discount=pomdp.discount, attitude=one, nature=one[None])


def members(apomdp: APOMDP) -> POMDP:
    """The M models as one POMDP with a leading axis [M] on every field."""
    shared = {name: getattr(apomdp, name) for name in ("reward", "discount")}
    models = apomdp.transition.shape[:-3]
    batch = apomdp.attitude.ndim
    repeated = {
        name: jnp.broadcast_to(jnp.expand_dims(field, batch), models + field.shape[batch:])
        for name, field in shared.items()
    }
    own = {name: getattr(apomdp, name) for name in POMDP._fields if name not in shared}
    return POMDP(**own, **repeated)


def certain(apomdp: APOMDP, model: jax.Array) -> APOMDP:
    """The same world in which nature follows this model for certain."""
    return apomdp._replace(nature=jax.nn.one_hot(model, apomdp.nature.shape[-1], dtype=apomdp.nature.dtype))


def validate(apomdp: APOMDP) -> None:
    """Check an APOMDP, or a batch of them with the same leading axes on every field.

    Shapes are checked always, values only where they are not traced.

    Raises:
        ValueError: names the field, the value found and what was expected: everything `jaxdm.envs.pomdp.validate`
            looks at in each model, no model, an attitude outside [0, 1], a distribution of nature that is none.
    """
    record("apomdp", apomdp, APOMDP)
    check_shape("transition", apomdp.transition, "... M S A S")
    check_shape("attitude", apomdp.attitude, None)
    shape, batch = apomdp.transition.shape, apomdp.attitude.shape
    if len(shape) != len(batch) + 4 or shape[: len(batch)] != batch or shape[len(batch)] == 0:
        raise ValueError(f"transition: shape {shape}; expected {batch} + [M, S, A, S] with M >= 1")
    models, states, actions = shape[len(batch) : -1]
    expected = {"reward": (states, actions), "discount": (), "nature": (models,)}
    for name, tail in expected.items():
        found = getattr(apomdp, name).shape
        if found != batch + tail:
            raise ValueError(f"{name}: shape {found}; expected {batch + tail} beside transition {shape}")
    pomdps.validate(members(apomdp))
    if is_concrete(apomdp):
        check_distribution("nature", apomdp.nature)
        attitude = np.asarray(apomdp.attitude)
        if not np.all((attitude >= 0) & (attitude <= 1)):
            raise ValueError(f"attitude: {attitude}; expected a number in [0, 1]")


def reset(key: jax.Array, params: APOMDP) -> tuple[jax.Array, APOMDPState]:
    """Draw the model from `nature`, the first state, and what is seen of it."""
    for_model, for_state, for_observation = uniform(key, (3,), params.initial.dtype)
    model = sample_index(inverse_cdf(params.nature), for_model)
    state = sample_index(inverse_cdf(params.initial)[model], for_state)
    observation = sample_index(inverse_cdf(params.initial_observation)[model, state], for_observation)
    return observation, APOMDPState(model=model, state=state, time=jnp.int32(0))


def env(horizon: int | None = None) -> Env:
    """The simulator of any APOMDP: `params` is an `APOMDP`, observations and actions are int32 indices.

    The reward is `r(s, a)`. An APOMDP never terminates; the step that reaches `horizon` is truncated.

    Args:
        horizon: number of steps of an episode; endless when left out.

    Returns:
        An `Env`; the noise of a step is a `jaxdm.envs.pomdp.StepNoise`.

    Raises:
        ValueError: horizon < 1.
    """
    if horizon is not None:
        horizon = positive_integer("horizon", horizon)

    def step(noise: pomdps.StepNoise, state: APOMDPState, action: jax.Array, params: APOMDP) -> tuple:
        model = state.model
        # One row at a time: a table for every model, of which an episode meets one, costs more than it saves.
        index = sample_index(inverse_cdf(params.transition[model, state.state, action]), noise.state)
        observation = sample_index(inverse_cdf(params.observation[model, action, index]), noise.observation)
        time = state.time + 1
        truncated = jnp.bool_(False) if horizon is None else time >= horizon
        reward = params.reward[state.state, action]
        following = APOMDPState(model=model, state=index, time=time)
        return observation, following, reward, jnp.bool_(False), truncated, {}

    predrawn = Predrawn(draw=pomdps.step_noise, apply=step)
    return Env(reset=reset, step=predrawn.keyed, predrawn=predrawn)
