"""Families of APOMDPs: models around a nominal one, unrelated ones, and clinicians who disagree about a treatment.

Dimensions: `M` models, `S` states, `A` actions, `O` observations. Numbers are data (map over them), sizes are static.
"""

from math import prod
from typing import Any

import jax
import jax.numpy as jnp

from jaxdm.envs.apomdp import APOMDP, make
from jaxdm.envs.families.pomdp import treatment
from jaxdm.envs.pomdp import POMDP, validate
from jaxdm.validation import (
    check_shape,
    check_sizes,
    float_type,
    nonnegative_number,
    positive_integer,
    probability,
    record,
)


def around(
    key: jax.Array, nominal: POMDP, *, models: int, radius: Any, attitude: Any = 1.0, nature: Any = None
) -> APOMDP:
    """M models within total variation `radius` of a nominal one, which is the first of them.

    `P_m = (1 - radius) P + radius D_m` with rows of D_m from Dirichlet(1); likewise for the observations. The first
    state and its observation have the nominal distributions in all models.

    Args:
        key: random key.
        nominal: a POMDP without batch axes.
        models: M.
        radius: [] in [0, 1]; data.
        attitude: alpha, [] in [0, 1].
        nature: [M]; uniform when left out.

    Raises:
        ValueError: radius outside [0, 1] (where it is concrete), models < 1, or as `validate`.
    """
    models = positive_integer("models", models)
    probability("radius", radius)
    record("nominal", nominal, POMDP)
    check_shape("transition", nominal.transition, "S A S")
    validate(nominal)
    dtype = nominal.transition.dtype
    key_transition, key_observation = jax.random.split(key)
    # The first model moves by nothing, not by an amount that happens to be small.
    weight = jnp.where(jnp.arange(models) == 0, 0, jnp.asarray(radius, dtype))[:, None, None, None]

    def spread(key: jax.Array, distribution: jax.Array) -> jax.Array:
        other = jax.random.exponential(
            key, (models, *distribution.shape), dtype
        )  # Dirichlet(1), once divided by its sum
        return (1 - weight) * distribution[None] + weight * other / jnp.sum(other, axis=-1, keepdims=True)

    repeated = jax.tree.map(lambda x: jnp.broadcast_to(x, (models, *x.shape)), nominal)
    transition = spread(key_transition, nominal.transition)
    observation = spread(key_observation, nominal.observation)
    return make(repeated._replace(transition=transition, observation=observation), attitude, nature)


def independent(
    key: jax.Array,
    *,
    models: int,
    states: int,
    actions: int,
    observations: int,
    density: Any = 1.0,
    attitude: Any = 1.0,
    discount: Any = 1.0,
    dtype: Any = None,
) -> APOMDP:
    """M models that have nothing but the reward in common, and rule out different things where `density < 1`.

    Every distribution is Dirichlet(1) on a random support that holds each outcome with chance `density`; an outcome
    is drawn for a support left empty. `r(s,a) ~ U[0,1]`; the first state and what is seen of it are such
    distributions too.

    Args:
        key: random key.
        models, states, actions, observations: M, S, A, O.
        density: [] in [0, 1]; data.
        attitude: alpha, [] in [0, 1].
        discount: [] in [0, 1].
        dtype: float type.

    Raises:
        ValueError: models < 1, density outside [0, 1] (where it is concrete), or as `jaxdm.envs.apomdp.validate`.
    """
    check_sizes(models=models, states=states, actions=actions, observations=observations)
    probability("density", density)
    probability("discount", discount)
    dtype = float_type(dtype)
    key_reward, key_distributions = jax.random.split(key)
    shapes = {
        "transition": (models, states, actions, states),
        "observation": (models, actions, states, observations),
        "initial": (models, states),
        "initial_observation": (models, states, observations),
    }
    sizes = [prod(shape) for shape in shapes.values()]
    weights, keeps = jax.random.uniform(key_distributions, (2, sum(sizes)), dtype)  # one call: it is what takes time

    def distribution(shape: tuple[int, ...], weight: jax.Array, keep: jax.Array) -> jax.Array:
        weight, keep = -jnp.log1p(-weight.reshape(shape)), keep.reshape(shape)
        kept = jnp.where((keep < density) | (keep == jnp.min(keep, axis=-1, keepdims=True)), weight + 1e-6, 0)
        return kept / jnp.sum(kept, axis=-1, keepdims=True)

    ends = [sum(sizes[: i + 1]) for i in range(len(sizes) - 1)]
    pairs = zip(shapes.items(), jnp.split(weights, ends), jnp.split(keeps, ends), strict=True)
    distributions = {name: distribution(shape, weight, keep) for (name, shape), weight, keep in pairs}
    reward = jax.random.uniform(key_reward, (states, actions), dtype)
    members = POMDP(
        **distributions,
        reward=jnp.broadcast_to(reward, (models, states, actions)),
        discount=jnp.full((models,), discount, dtype),
    )
    return make(members, attitude)


def clinicians(
    key: jax.Array,
    *,
    models: int,
    disagreement: Any = 0.5,
    attitude: Any = 1.0,
    nature: Any = None,
    stages: int = 3,
    levels: int = 2,
    progression: Any = 0.2,
    response: Any = 0.7,
    harm: Any = 0.6,
    recovery: Any = 0.3,
    accuracy: Any = 0.8,
    discount: Any = 1.0,
    dtype: Any = None,
) -> APOMDP:
    """A `treatment` about whose five chances M clinicians disagree; each one's opinion is a model.

    Clinician m holds `p_m = 1 / (1 + exp(-(logit p + disagreement xi_m)))` with xi standard normal, for each chance p
    on its own; the first holds the nominal p. Nobody doubts what is impossible or certain, nor the costs. Ours.

    Args:
        key: random key.
        models: M.
        disagreement: [] >= 0, standard deviation of the log-odds; data.
        attitude: alpha, [] in [0, 1].
        nature: [M]; uniform when left out.
        stages, levels: sizes of `jaxdm.envs.families.pomdp.treatment`.
        progression, response, harm, recovery, accuracy: [] in [0, 1], the nominal chances.
        discount: [] in [0, 1].
        dtype: float type.

    Raises:
        ValueError: models < 1, disagreement < 0 (where it is concrete), or as `jaxdm.envs.apomdp.validate`.
    """
    models = positive_integer("models", models)
    nonnegative_number("disagreement", disagreement)
    dtype = float_type(dtype)
    chances = {
        "progression": progression,
        "response": response,
        "harm": harm,
        "recovery": recovery,
        "accuracy": accuracy,
    }
    for name, chance in chances.items():
        probability(name, chance)
    nominal = jnp.stack([jnp.asarray(p, dtype) for p in chances.values()])[None]
    moved = jax.scipy.special.logit(nominal) + disagreement * jax.random.normal(key, (models, len(chances)), dtype)
    held = jnp.where(jnp.arange(models)[:, None] == 0, nominal, jax.nn.sigmoid(moved))

    def opinion(held: jax.Array) -> POMDP:
        own = dict(zip(chances, held, strict=True))
        return treatment(stages=stages, levels=levels, discount=discount, dtype=dtype, **own)

    return make(jax.vmap(opinion)(held), attitude, nature)
