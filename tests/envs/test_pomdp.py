"""POMDPs: the record, its check, the simulator and the families."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdm.envs import families, pomdp
from jaxdm.rollout import noise_entry
from tests.references import pomdp as reference_pomdp

KEY = jax.random.key(11)


EPS = float(np.finfo(np.float32).eps)


FAMILIES = {
    "dirichlet": lambda key: families.pomdp.dirichlet(key, states=4, actions=3, quality=0.6),
    "garnet": lambda key: families.pomdp.garnet(key, states=4, actions=3, branching=2, quality=0.6),
    "dense": lambda key: families.pomdp.dense(key, states=4, actions=3, observations=2, observation_concentration=0.5),
    "tiger": lambda key: families.pomdp.tiger(accuracy=jax.random.uniform(key)),
    "maintenance": lambda key: families.pomdp.machine_maintenance(wear=jax.random.uniform(key)),
    "treatment": lambda key: families.pomdp.treatment(accuracy=jax.random.uniform(key), levels=3),
    "random treatment": lambda key: families.pomdp.random_treatment(key, stages=2),
}


def tiger_fields():
    return families.pomdp.tiger()._asdict()


@pytest.mark.parametrize("name", FAMILIES)
def test_families_make_valid_batches(name):
    pomdp.validate(jax.jit(jax.vmap(FAMILIES[name]))(jax.random.split(KEY, 5)))


def test_maintenance_is_the_textbook_example():
    """Smallwood and Sondik 1973: the expected products of 0, 1 and 2 failed parts, and their wear."""
    machine = families.pomdp.machine_maintenance()
    product = np.asarray([0.9025, 0.475, 0.25])
    expected = np.stack([product, product - 0.25, [-0.5, -1.5, -2.5], [-2, -2, -2]], axis=1)
    np.testing.assert_allclose(machine.reward, expected, rtol=8 * EPS, atol=8 * EPS)
    np.testing.assert_allclose(
        machine.transition[:, 0], [[0.81, 0.18, 0.01], [0, 0.9, 0.1], [0, 0, 1]], rtol=8 * EPS, atol=8 * EPS
    )


def test_treatment_moves_stage_and_toxicity_independently(double):
    """At stage 1 of 0..2 and toxicity 1 of 0..1, TREAT cures with `response` and cannot raise toxicity further."""
    world = families.pomdp.treatment(response=0.7, harm=0.6, recovery=0.3, progression=0.2)
    treat, wait = world.transition[3, families.pomdp.TREAT], world.transition[3, families.pomdp.WAIT]
    np.testing.assert_allclose(treat, [0, 0.7, 0, 0.3, 0, 0], atol=1e-15)
    np.testing.assert_allclose(wait, [0, 0, 0.8 * 0.3, 0.8 * 0.7, 0.2 * 0.3, 0.2 * 0.7], atol=1e-15)


def test_quality_puts_the_rest_on_the_other_states(double):
    world = pomdp.from_mdp(reference_pomdp.random_mdp(0), 0.5)
    row = np.asarray([[0.5, 0.25, 0.25], [0.25, 0.5, 0.25], [0.25, 0.25, 0.5]])
    np.testing.assert_array_equal(world.observation, np.stack([row, row]))
    np.testing.assert_array_equal(world.initial_observation, row)


def test_quality_is_data():
    hidden = reference_pomdp.random_mdp(0)
    batch = jax.vmap(pomdp.from_mdp, in_axes=(None, 0))(hidden, jnp.linspace(1 / 3, 1, 4))
    assert batch.observation.shape == (4, 2, 3, 3)
    one_state = pomdp.from_mdp(reference_pomdp.random_mdp(0, states=1), 1.0)
    pomdp.validate(one_state)


@pytest.mark.parametrize("quality", [0.2, 1.01, float("nan"), jnp.ones(2)])
def test_bad_quality_is_refused(quality):
    with pytest.raises(ValueError, match="quality"):
        pomdp.from_mdp(reference_pomdp.random_mdp(0, states=4), quality)


BAD = {
    "observation": [np.ones((3, 2)), np.ones((3, 2, 0)), np.full((2, 2, 2), 0.5), np.full((3, 2, 2), 0.6)],
    "initial_observation": [np.full((2, 3), 1 / 3), np.full((2, 2), 0.4), np.array([[2, -1], [0.5, 0.5]])],
    "transition": [np.full((2, 3, 2), 0.7)],
    "reward": [np.full((2, 3), np.nan)],
    "initial": [np.ones(2)],
    "discount": [1.5],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in BAD.items() for value in values])
def test_bad_fields_are_named(name, value):
    with pytest.raises(ValueError, match=f"^{name}: "):
        pomdp.make(**{**tiger_fields(), name: value})


def test_shapes_are_checked_under_tracing():
    world = families.pomdp.tiger()
    with pytest.raises(ValueError, match="initial_observation"):
        jax.eval_shape(pomdp.validate, world._replace(initial_observation=jnp.ones((2, 3))))


def test_simulated_steps_follow_the_laws():
    """Frequencies of (state, observation) after one step, and of the first pair, within five standard errors."""
    world = reference_pomdp.random_pomdp(0, observations=3)
    env, count = pomdp.env(1), 20_000

    def episode(key):
        key_reset, key_step = jax.random.split(key)
        seen, state = env.reset(key_reset, world)
        after = env.step(key_step, state, jnp.int32(1), world)
        return (state.state, seen), (after[1].state, after[0]), after[4]

    start, end, truncated = jax.jit(jax.vmap(episode))(jax.random.split(KEY, count))
    first_law = np.asarray(world.initial)[:, None] * np.asarray(world.initial_observation)
    second_law = (np.asarray(world.initial) @ np.asarray(world.transition[:, 1]))[:, None] * world.observation[1]
    for pair, law in ((start, first_law), (end, np.asarray(second_law))):
        frequency = np.histogram2d(*(np.asarray(x) for x in pair), bins=[np.arange(4) - 0.5] * 2)[0] / count
        assert np.all(np.abs(frequency - law) <= 5 * np.sqrt(law * (1 - law) / count))
    assert bool(jnp.all(truncated))


def test_noise_stands_for_keys():
    world, env = families.pomdp.tiger(), pomdp.env(3)
    fast = noise_entry(env.step, env.predrawn)
    noise = fast.draw(KEY, 7)
    assert {leaf.shape for leaf in noise} == {(7,)}
    _, state = env.reset(KEY, world)
    seen, after, reward, terminated, truncated, _ = fast.apply(
        jax.tree.map(lambda x: x[0], noise), state, jnp.int32(0), world
    )
    assert (int(after.state), float(reward)) == (int(state.state), -1.0)
    assert not bool(terminated)
    assert not bool(truncated)
    assert int(seen) in (0, 1)


def test_a_seen_state_is_the_mdp_state():
    world = pomdp.from_mdp(reference_pomdp.random_mdp(0, states=5), 1.0)
    env = pomdp.env()

    def step(state, key):
        return (lambda out: (out[1], out[0] == out[1].state))(env.step(key, state, jnp.int32(1), world))

    seen, state = env.reset(KEY, world)
    _, same = jax.lax.scan(step, state, jax.random.split(KEY, 50))
    assert int(seen) == int(state.state)
    assert bool(jnp.all(same))
