"""Families of MDPs: their laws, their shapes, their structure, and what they refuse."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdm.envs import families, mdp
from jaxdm.oracles.mdp import planning

RANDOM: dict[str, Callable[..., mdp.MDP]] = {
    "dirichlet": functools.partial(families.mdp.dirichlet, states=5, actions=3, discount=0.9),
    "garnet": functools.partial(families.mdp.garnet, states=5, actions=3, branching=2, discount=0.9),
    "dark_room": functools.partial(families.mdp.dark_room, side=3, slip=0.1, discount=0.9),
}


FIXED = {
    "chain": functools.partial(families.mdp.chain, states=5),
    "machine_replacement": functools.partial(families.mdp.machine_replacement, states=5),
}


ALL = {name: functools.partial(family, jax.random.key(0)) for name, family in RANDOM.items()} | FIXED


COUNT = 2000


DRAWS = {name: jax.jit(jax.vmap(family)) for name, family in RANDOM.items()}


DRAWS["dirichlet"] = jax.jit(jax.vmap(lambda key, alpha: RANDOM["dirichlet"](key, concentration=alpha)))


@functools.cache
def many(name, concentration=1.0):
    """COUNT instances of a family; the concentration is data, so that nothing is compiled twice."""
    extra = (jnp.full(COUNT, concentration),) if name == "dirichlet" else ()
    return DRAWS[name](jax.random.split(jax.random.key(1), COUNT), *extra)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_every_family_draws_in_the_dtype_asked_for(name, dtype):
    with jax.enable_x64(True):
        assert {x.dtype for x in jax.eval_shape(lambda: ALL[name](dtype=dtype))} == {jnp.dtype(dtype)}
    assert jax.eval_shape(ALL[name]).transition.dtype == jnp.float32


@pytest.mark.parametrize("name", RANDOM)
def test_random_families_use_their_key_and_vmap(name):
    batch = many(name)
    mdp.validate(batch)
    assert not jnp.array_equal(batch.transition[0], batch.transition[1])
    assert not jnp.array_equal(batch.reward[0], batch.reward[1])
    again = many.__wrapped__(name)
    assert jnp.array_equal(batch.transition, again.transition)


@pytest.mark.parametrize("name", FIXED)
def test_fixed_families_are_valid(name):
    mdp.validate(FIXED[name]())


def test_parameters_are_data():
    """Everything but the sizes may differ between the instances of one compiled batch."""
    keys, slip = jax.random.split(jax.random.key(0), 3), jnp.array([0.0, 0.5, 1.0])
    rooms = jax.jit(jax.vmap(lambda key, slip: families.mdp.dark_room(key, side=3, slip=slip, discount=slip)))(
        keys, slip
    )
    np.testing.assert_array_equal(rooms.discount, slip)
    chains = jax.jit(jax.vmap(lambda slip: families.mdp.chain(states=4, slip=slip)))(slip)
    np.testing.assert_allclose(chains.transition[:, 0, 0, 0], slip)


@pytest.mark.parametrize("concentration", [0.3, 1.0, 5.0])
def test_dirichlet_rows_have_the_moments_of_the_law(concentration):
    batch = many("dirichlet", concentration)
    entries = np.asarray(batch.transition)[:, 0, 0, 0]
    mean, variance = 1 / 5, (1 / 5) * (4 / 5) / (5 * concentration + 1)
    assert abs(entries.mean() - mean) <= 5 * np.sqrt(variance / COUNT)
    spread = (entries - mean) ** 2
    assert abs(spread.mean() - variance) <= 5 * spread.std() / np.sqrt(COUNT)
    rewards = np.asarray(batch.reward)[:, 0, 0]
    assert abs(rewards.mean() - 0.5) <= 5 * np.sqrt(1 / 12 / COUNT)
    assert rewards.min() >= 0
    assert rewards.max() < 1


def test_garnet_reaches_exactly_b_states_each_as_likely():
    batch = many("garnet")
    reached = np.asarray(batch.transition) > 0
    assert np.all(reached.sum(axis=-1) == 2)
    share = reached[:, 0, 0].mean(axis=0)
    assert np.all(np.abs(share - 2 / 5) <= 5 * np.sqrt(0.4 * 0.6 / COUNT))
    # One uniform cut of [0, 1]: the weight of a successor has mean 1/2 and variance 1/12.
    weight = np.asarray(batch.transition)[:, 0, 0].max(axis=-1)
    assert abs(weight.mean() - 3 / 4) <= 5 * np.sqrt(1 / 48 / COUNT)


@pytest.mark.parametrize("branching", [0, 6])
def test_garnet_refuses_a_branching_it_cannot_have(branching):
    with pytest.raises(ValueError, match=f"branching: {branching}; expected an integer, at least 1, at most 5"):
        RANDOM["garnet"](jax.random.key(0), branching=branching)


def test_dark_room_goals_and_controls_are_uniform():
    rooms, count = many("dark_room"), COUNT
    goals = np.argmax(np.asarray(rooms.reward)[:, :, 0], axis=1)
    share = np.bincount(goals, minlength=9) / count
    assert np.all(np.abs(share - 1 / 9) <= 5 * np.sqrt(1 / 9 * 8 / 9 / count))
    assert np.all(np.asarray(rooms.reward).sum(axis=1) == 1)
    middle = np.argmax(np.asarray(rooms.transition)[:, 4], axis=-1)  # [N, 4]: where each action leads from the middle
    assert np.all(np.sort(middle, axis=1) == [1, 3, 5, 7])
    up = np.bincount(np.argmax(middle == 1, axis=1), minlength=4) / count
    assert np.all(np.abs(up - 1 / 4) <= 5 * np.sqrt(1 / 4 * 3 / 4 / count))


def test_dark_room_walls_and_slips():
    room = families.mdp.dark_room(jax.random.key(0), side=2, slip=0.4)
    # In a corner of a 2 x 2 room two moves stay: the wanted one has 0.6 + 0.1, or joins the other stay.
    rows = np.sort(np.asarray(room.transition)[0], axis=-1)
    expected = [[0, 0.1, 0.1, 0.8], [0, 0.1, 0.1, 0.8], [0, 0.1, 0.2, 0.7], [0, 0.1, 0.2, 0.7]]
    np.testing.assert_allclose(rows[np.argsort(-rows[:, 3])], expected, atol=1e-6)


def test_chain_of_dearden_by_hand():
    chain = families.mdp.chain(states=5)
    np.testing.assert_allclose(chain.transition[4, 0], [0.2, 0, 0, 0, 0.8], atol=1e-7)
    np.testing.assert_allclose(chain.transition[1, 1], [0.8, 0, 0.2, 0, 0], atol=1e-7)
    np.testing.assert_allclose(chain.reward[:, 0], [0.4, 0.4, 0.4, 0.4, 8.4], rtol=1e-6)
    np.testing.assert_allclose(chain.reward[:, 1], [1.6, 1.6, 1.6, 1.6, 3.6], rtol=1e-6)
    plan = jax.jit(planning.policy_iteration)(families.mdp.chain(states=5, discount=0.99))
    assert plan.policy.tolist() == [0] * 5  # a patient walker never turns back


def test_machines_are_replaced_past_a_threshold():
    """Puterman 1994, section 4.7.5: wear never makes keeping more attractive, so a control limit is optimal."""
    machine = functools.partial(families.mdp.machine_replacement, states=8, discount=0.95)
    machines = jax.vmap(lambda cost: machine(replacement_cost=cost))(jnp.linspace(0.1, 3.0, 12))
    plans = jax.jit(jax.vmap(planning.policy_iteration))(machines)
    policies = np.asarray(plans.policy)
    assert np.all(np.diff(policies, axis=1) >= 0)
    limits = policies.sum(axis=1)
    assert np.all(np.diff(limits) <= 0)  # the dearer, the later
    assert limits[0] > limits[-1]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: RANDOM["dark_room"](jax.random.key(0), slip=1.5), "slip: 1.5; expected a number in"),
        (lambda: RANDOM["dark_room"](jax.random.key(0), slip=float("nan")), "slip: nan"),
        (lambda: RANDOM["dark_room"](jax.random.key(0), discount=1.1), r"discount: 1.1; expected a number in \[0, 1\]"),
        (lambda: families.mdp.chain(states=4, discount=-1.0), "discount: -1.0; expected"),
        (lambda: families.mdp.chain(states=4, slip=-0.1), "slip: -0.1; expected a number"),
        (lambda: families.mdp.machine_replacement(states=1), "states: 1; expected an integer, at least 2"),
        (
            lambda: families.mdp.machine_replacement(states=4, wear=1.1),
            "wear: 1.1; expected a number in",
        ),
    ],
)
def test_bad_settings_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
