"""Families of POMDPs: random ones seen with quality q, tiger, machine maintenance, treatment of a hidden disease.

Dimensions: `S` states, `A` actions, `O` observations. Numbers are data (map over them), sizes are static. A family
draws in `dtype`, that of jax when left out.
"""

import math
from math import comb
from typing import Any

import jax
import jax.numpy as jnp

from jaxdm.envs.families.mdp import dirichlet as dirichlet_mdp
from jaxdm.envs.families.mdp import garnet as garnet_mdp
from jaxdm.envs.pomdp import POMDP, check_quality, from_mdp, uninformative
from jaxdm.validation import float_type, integer, number, positive_integer, positive_number, probability

LISTEN, OPEN_LEFT, OPEN_RIGHT = 0, 1, 2
"""Actions of `tiger`."""


MANUFACTURE, EXAMINE, INSPECT, REPLACE = 0, 1, 2, 3
"""Actions of `machine_maintenance`."""


WAIT, TEST, TREAT = 0, 1, 2
"""Actions of `treatment`."""


def dirichlet(
    key: jax.Array,
    *,
    states: int,
    actions: int,
    quality: Any,
    concentration: Any = 1.0,
    discount: Any = 1.0,
    dtype: Any = None,
) -> POMDP:
    """A random MDP of `jaxdm.envs.families.mdp.dirichlet` whose state is seen with chance `quality`; O = S."""
    check_quality(quality, states)
    hidden = dirichlet_mdp(
        key, states=states, actions=actions, concentration=concentration, discount=discount, dtype=dtype
    )
    return from_mdp(hidden, quality)


def garnet(
    key: jax.Array,
    *,
    states: int,
    actions: int,
    branching: int,
    quality: Any,
    discount: Any = 1.0,
    dtype: Any = None,
) -> POMDP:
    """A random MDP of `jaxdm.envs.families.mdp.garnet` whose state is seen with chance `quality`; O = S."""
    check_quality(quality, states)
    hidden = garnet_mdp(key, states=states, actions=actions, branching=branching, discount=discount, dtype=dtype)
    return from_mdp(hidden, quality)


def dense(
    key: jax.Array,
    *,
    states: int,
    actions: int,
    observations: int,
    concentration: Any = 1.0,
    observation_concentration: Any = 1.0,
    discount: Any = 1.0,
    dtype: Any = None,
) -> POMDP:
    """Dense random POMDP: dynamics of `jaxdm.envs.families.mdp.dirichlet`, and `Z(.|a,s)` of a Dirichlet distribution.

    There is no first observation.

    Args:
        key: random key.
        states: S.
        actions: A.
        observations: O.
        concentration: [] or [S] parameters of the distribution of `P(.|s,a)`.
        observation_concentration: [] parameter of the distribution of `Z(.|a,s)`; small ones make observations nearly
            deterministic.
        discount: [] in [0, 1].
        dtype: float type.
    """
    observations = positive_integer("observations", observations)
    positive_number("observation_concentration", observation_concentration)
    key_hidden, key_observation = jax.random.split(key)
    hidden = dirichlet_mdp(
        key_hidden, states=states, actions=actions, concentration=concentration, discount=discount, dtype=dtype
    )
    alpha = jnp.broadcast_to(jnp.asarray(observation_concentration, hidden.reward.dtype), (observations,))
    return POMDP(
        **hidden._asdict(),
        observation=jax.random.dirichlet(key_observation, alpha, (actions, states), hidden.reward.dtype),
        initial_observation=uninformative(hidden.initial, observations),
    )


def tiger(
    *,
    accuracy: Any = 0.85,
    listen: Any = -1.0,
    right: Any = 10.0,
    wrong: Any = -100.0,
    discount: Any = 0.95,
    dtype: Any = None,
) -> POMDP:
    """A tiger behind the left (state 0) or right door: listen for it, or open a door and start again.

    Listening pays `listen` and tells the side with chance `accuracy`; opening the tiger's door pays `wrong`, the other
    `right`, and either puts the tiger behind a random door, unheard. There is no first observation.

    Reference: Cassandra, Kaelbling, Littman, Acting optimally in partially observable stochastic domains, AAAI 1994.
    """
    dtype = float_type(dtype)
    probability("discount", discount)
    probability("accuracy", accuracy)
    _require_finite(listen=listen, right=right, wrong=wrong)
    accuracy, listen, right, wrong = (jnp.asarray(x, dtype) for x in (accuracy, listen, right, wrong))
    stay, reset = jnp.eye(2, dtype=dtype), jnp.full((2, 2), 0.5, dtype)
    hears = jnp.where(jnp.eye(2, dtype=bool), accuracy, 1 - accuracy)
    initial = jnp.full(2, 0.5, dtype)
    return POMDP(
        transition=jnp.stack([stay, reset, reset], axis=1),
        reward=jnp.stack([jnp.stack([listen, wrong, right]), jnp.stack([listen, right, wrong])]),
        initial=initial,
        discount=jnp.asarray(discount, dtype),
        observation=jnp.stack([hears, reset, reset]),
        initial_observation=uninformative(initial, 2),
    )


def machine_maintenance(
    *,
    components: int = 2,
    wear: Any = 0.1,
    defect: Any = 0.5,
    examination: Any = 0.25,
    inspection: Any = 0.5,
    part: Any = 1.0,
    discount: Any = 1.0,
    dtype: Any = None,
) -> POMDP:
    """A machine whose state is how many of its parts have failed, judged by what it makes.

    While it makes a product (worth 1 if it is good), each working part fails with chance `wear`, and each failed part
    spoils the product with chance `defect`. MANUFACTURE makes one unseen; EXAMINE makes one, looks at it (observation
    0 is good, 1 defective) and pays `examination`; INSPECT pays `inspection` and `part` for each failed part, REPLACE
    pays `part` for every part, and both lead to a new machine, the start. There is no first observation.

    Args:
        components: number of parts; S = components + 1.
        wear: [] in [0, 1].
        defect: [] in [0, 1].
        examination: [] reward units.
        inspection: [] reward units.
        part: [] reward units.
        discount: [] in [0, 1].
        dtype: float type.

    Reference: Smallwood, Sondik, Operations Research 21, 1973, whose example has two parts and these numbers.
    """
    dtype = float_type(dtype)
    probability("discount", discount)
    components = positive_integer("components", components)
    probability("wear", wear)
    probability("defect", defect)
    _require_finite(examination=examination, inspection=inspection, part=part)
    wear, defect = jnp.asarray(wear, dtype), jnp.asarray(defect, dtype)
    states = components + 1
    failed = jnp.arange(states, dtype=dtype)
    ways = jnp.asarray([[comb(components - i, j - i) if j >= i else 0 for j in range(states)] for i in range(states)])
    breaks = jnp.maximum(failed[None, :] - failed[:, None], 0)
    works = (components - failed)[None, :]
    run = ways.astype(dtype) * wear**breaks * (1 - wear) ** works
    new = jnp.zeros((states, states), dtype).at[:, 0].set(1)
    good = (1 - defect) ** failed
    product = run @ good
    silent = uninformative(failed, 2)
    seen = jnp.stack([good, 1 - good], axis=-1)
    initial = jnp.zeros(states, dtype).at[0].set(1)
    pay = [product, product - examination, -inspection - part * failed, jnp.full(states, -part * components, dtype)]
    return POMDP(
        transition=jnp.stack([run, run, new, new], axis=1),
        reward=jnp.stack(pay, axis=1),
        initial=initial,
        discount=jnp.asarray(discount, dtype),
        observation=jnp.stack([silent, seen, silent, silent]),
        initial_observation=silent,
    )


def treatment(
    *,
    stages: int = 3,
    levels: int = 2,
    progression: Any = 0.2,
    response: Any = 0.7,
    harm: Any = 0.6,
    recovery: Any = 0.3,
    accuracy: Any = 0.8,
    test_cost: Any = 0.05,
    toxicity_cost: Any = 0.4,
    discount: Any = 1.0,
    dtype: Any = None,
) -> POMDP:
    """A dynamic treatment regime: a hidden disease stage, an imperfect test, and a treatment that is toxic.

    The state is `(stage, toxicity) -> stage * levels + toxicity`, stage 0 being healthy. Under WAIT and TEST the
    disease advances a stage with chance `progression` and toxicity falls a level with chance `recovery`; under TREAT
    the disease retreats a stage with chance `response` and toxicity rises a level with chance `harm`. A step pays
    `1 - stage / (stages - 1) - toxicity_cost toxicity / (levels - 1)`, less `test_cost` for a test. Toxicity is
    always seen; the stage only by TEST, right with chance `accuracy`, else uniformly one of the others. Observation
    `result * levels + toxicity` has result 0 for no test, `1 + stage` for a test that says so. At the start toxicity
    is zero and every stage equally likely. The model is ours.

    Args:
        stages: disease stages, at least 2.
        levels: toxicity levels, at least 2; S = stages * levels, O = (stages + 1) * levels.
        progression, response, harm, recovery, accuracy: [] in [0, 1].
        test_cost, toxicity_cost: [] reward units.
        discount: [] in [0, 1].
        dtype: float type.

    Returns:
        POMDP with A = 3.

    Raises:
        ValueError: fewer than two stages or levels.
    """
    stages, levels = integer("stages", stages, 2), integer("levels", levels, 2)
    chances = {"progression": progression, "response": response, "harm": harm}
    for name, chance in (chances | {"recovery": recovery, "accuracy": accuracy}).items():
        probability(name, chance)
    _require_finite(test_cost=test_cost, toxicity_cost=toxicity_cost)
    dtype = float_type(dtype)
    probability("discount", discount)
    worse, better = _drift(stages, 1, progression, dtype), _drift(stages, -1, response, dtype)
    rise, fall = _drift(levels, 1, harm, dtype), _drift(levels, -1, recovery, dtype)
    untreated, treated = jnp.kron(worse, fall), jnp.kron(better, rise)
    stage, toxicity = jnp.arange(stages, dtype=dtype), jnp.arange(levels, dtype=dtype)
    burden = stage[:, None] / (stages - 1) + toxicity_cost * toxicity[None] / (levels - 1)
    well = 1 - burden.reshape(-1)
    silent, informative = _stage_distributions(stages, levels, jnp.asarray(accuracy, dtype))
    start = jnp.zeros(levels, dtype).at[0].set(1)
    return POMDP(
        transition=jnp.stack([untreated, untreated, treated], axis=1),
        reward=jnp.stack([well, well - test_cost, well], axis=1),
        initial=jnp.kron(jnp.full(stages, 1 / stages, dtype), start),
        discount=jnp.asarray(discount, dtype),
        observation=jnp.stack([silent, informative, silent]),
        initial_observation=silent,
    )


def random_treatment(
    key: jax.Array, *, stages: int = 3, levels: int = 2, accuracy: Any = 0.8, discount: Any = 1.0, dtype: Any = None
) -> POMDP:
    """A `treatment` with progression and recovery from U[0.1, 0.4], response and harm from U[0.4, 0.9]."""
    dtype = float_type(dtype)
    slow, fast = jnp.split(jax.random.uniform(key, (4,), dtype), 2)
    progression, recovery = 0.1 + 0.3 * slow
    response, harm = 0.4 + 0.5 * fast
    return treatment(
        stages=stages,
        levels=levels,
        progression=progression,
        response=response,
        harm=harm,
        recovery=recovery,
        accuracy=accuracy,
        discount=discount,
        dtype=dtype,
    )


def _require_finite(**numbers: Any) -> None:
    for name, value in numbers.items():
        number(name, value, math.isfinite, "a finite number")


def _stage_distributions(stages: int, levels: int, accuracy: jax.Array) -> tuple[jax.Array, jax.Array]:
    """What `treatment` shows without and with a test, two arrays [S, O]."""
    result = jnp.where(jnp.eye(stages, dtype=bool), accuracy, (1 - accuracy) / (stages - 1))
    tested = jnp.concatenate([jnp.zeros((stages, 1), accuracy.dtype), result], axis=-1)
    toxicity = jnp.eye(levels, dtype=accuracy.dtype)
    return jnp.kron(uninformative(result[0], stages + 1), toxicity), jnp.kron(tested, toxicity)


def _drift(size: int, direction: int, chance: Any, dtype: Any) -> jax.Array:
    """A walk on 0..size-1 that moves by `direction` with `chance`, and stays where it cannot."""
    target = jnp.clip(jnp.arange(size) + direction, 0, size - 1)
    chance = jnp.asarray(chance, dtype)
    return (1 - chance) * jnp.eye(size, dtype=dtype) + chance * jax.nn.one_hot(target, size, dtype=dtype)
