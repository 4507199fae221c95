"""The MDP record, its check, and its simulator."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdm import validation
from jaxdm.envs import cassandra, mdp
from jaxdm.oracles.mdp import planning
from jaxdm.rollout import noise_entry
from tests.references import mdp as reference

WORLD = mdp.env(horizon=3)


step = jax.jit(WORLD.step)


FAST = noise_entry(WORLD.step, WORLD.predrawn)


from_noise = jax.jit(FAST.apply)


steps = jax.jit(jax.vmap(FAST.apply, in_axes=(0, None, None, None)))


def problem(dtype=None):
    transition, reward, initial = reference.random_mdp(0, 4, 2)
    transition[0, 0] = [0.0, 0.3, 0.0, 0.7]  # some outcomes cannot happen
    initial[:] = [0.0, 0.5, 0.5, 0.0]
    return mdp.make(transition, reward, initial, 0.9, dtype)


def at(index):
    return mdp.MDPState(state=jnp.int32(index), time=jnp.int32(0))


def test_make_fills_in_a_uniform_start_and_takes_the_dtype_asked_for():
    made = mdp.make(np.full((2, 3, 2), 0.5), np.zeros((2, 3)))
    assert made.initial.tolist() == [0.5, 0.5]
    assert made.discount == 1
    assert {x.dtype for x in made} == {jnp.dtype(jnp.float32)}
    with jax.enable_x64(True):
        assert {x.dtype for x in problem()} == {jnp.dtype(jnp.float64)}
        assert {x.dtype for x in problem(jnp.float32)} == {jnp.dtype(jnp.float32)}


def test_a_batch_is_accepted_with_leading_axes_on_every_field():
    batch = jax.tree.map(lambda x: jnp.stack([x] * 5), problem())
    mdp.validate(batch)
    with pytest.raises(ValueError, match=r"discount: shape \(\); expected \(5,\)"):
        mdp.validate(batch._replace(discount=jnp.float32(0.9)))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("transition", np.full((4, 2, 4), 0.3), r"transition: 1.2 at index \(0, 0\); expected rows that sum to 1"),
        ("transition", np.full((4, 2, 4), [1.5, -0.5, 0, 0]), r"transition: -0.5 at index \(0, 0, 1\); expected prob"),
        ("transition", np.full((4, 2, 4), np.nan), r"transition: nan at index \(0, 0, 0\); expected finite"),
        ("transition", np.full((4, 2, 3), 1 / 3), r"transition: shape \(4, 2, 3\); expected \[S, A, S\]"),
        ("transition", np.ones((4, 4)), r"transition: shape \(4, 4\); expected \[S, A, S\]"),
        ("transition", np.ones((4, 0, 4)), "expected .*, no axis empty"),
        ("transition", np.ones((0, 2, 0)), "expected .*, no axis empty"),
        ("reward", np.zeros((4, 3)), r"reward: shape \(4, 3\); expected \(4, 2\)"),
        ("reward", np.full((4, 2), np.inf), r"reward: inf at index \(0, 0\); expected finite"),
        ("reward", [[-np.inf, -np.inf], *[[0, 0]] * 3], r"reward: -inf at index \(0,\); expected an available action"),
        ("initial", [0.5, 0.5, 0.5, 0.5], "initial: 2; expected rows that sum to 1"),
        ("initial", [2.0, -1.0, 0.0, 0.0], r"initial: -1 at index \(1,\); expected prob"),
        ("initial", [1.0], r"initial: shape \(1,\); expected \(4,\)"),
        ("discount", 1.5, r"discount: 1.5; expected a number in \[0, 1\]"),
        ("discount", -0.1, r"discount: -0.1; expected a number in \[0, 1\]"),
        ("discount", np.nan, "discount: nan; expected finite"),
        ("discount", [0.9], r"discount: shape \(1,\); expected \(\)"),
    ],
)
def test_bad_fields_are_named(field, value, message):
    with pytest.raises(ValueError, match=message):
        mdp.make(**(problem()._asdict() | {field: value}))


def test_a_table_of_available_actions_is_a_reward_of_minus_infinity():
    made = mdp.make(**problem()._asdict(), available=np.arange(8).reshape(4, 2) != 3)
    assert mdp.available(made).tolist() == [[True, True], [True, False], [True, True], [True, True]]
    assert mdp.make(**made._asdict()).reward[1, 1] == -jnp.inf
    assert mdp.uniform_play(made)[:2].tolist() == [[0.5, 0.5], [1.0, 0.0]]
    assert WORLD.step(jax.random.key(0), at(1), jnp.int32(1), made)[2] == -jnp.inf
    with pytest.raises(ValueError, match=r"available: .*float32.; expected booleans"):
        mdp.make(**problem()._asdict(), available=jnp.ones((4, 2)))
    with pytest.raises(ValueError, match=r"available: shape \(4, 3\); expected \(4, 2\)"):
        mdp.make(**problem()._asdict(), available=np.ones((4, 3), bool))


def test_bad_calls_are_named():
    with pytest.raises(ValueError, match="horizon: 0; expected an integer, at least 1"):
        mdp.env(0)


def test_values_are_not_looked_at_while_tracing():
    def inside(x):
        made = problem()._replace(reward=x)
        mdp.validate(made)
        return made.reward

    assert jnp.isnan(jax.jit(inside)(jnp.full((4, 2), jnp.nan))).all()
    with pytest.raises(ValueError, match="reward: shape"):
        jax.jit(inside)(jnp.zeros(3))


def test_a_kernel_that_passed_through_float32_is_accepted_in_float64(double):
    kernel = np.random.default_rng(0).dirichlet(np.ones(300), (300, 1)).astype(np.float32)
    assert mdp.make(kernel, np.zeros((300, 1))).transition.dtype == jnp.float64


@pytest.mark.parametrize(("state", "action"), [(s, a) for s in range(4) for a in range(2)])
def test_simulated_moves_follow_the_transition_rows(state, action):
    params, count = problem(), 50_000
    noise = FAST.draw(jax.random.fold_in(jax.random.key(0), 2 * state + action), count)
    observation, after, reward, *_ = steps(noise, at(state), jnp.int32(action), params)
    law = np.asarray(params.transition[state, action])
    share = np.bincount(observation, minlength=4) / count
    assert np.all(np.abs(share - law) <= 5 * np.sqrt(law * (1 - law) / count))  # exactly zero where law is
    assert jnp.array_equal(observation, after.state)
    assert jnp.all(reward == params.reward[state, action])


def test_first_states_follow_the_initial_law():
    params, count = problem(), 50_000
    observation, state = jax.jit(jax.vmap(WORLD.reset, in_axes=(0, None)))(
        jax.random.split(jax.random.key(1), count), params
    )
    law = np.asarray(params.initial)
    share = np.bincount(observation, minlength=4) / count
    assert np.all(np.abs(share - law) <= 5 * np.sqrt(law * (1 - law) / count))
    assert jnp.array_equal(observation, state.state)
    assert jnp.all(state.time == 0)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_a_step_from_a_key_is_the_step_from_its_uniform_number(dtype):
    with jax.enable_x64(dtype == jnp.float64):
        params = problem(dtype)
        for seed in range(20):
            key = jax.random.key(seed)
            by_key = step(key, at(seed % 4), jnp.int32(seed % 2), params)
            by_number = from_noise(
                jax.random.uniform(key, dtype=jnp.float32), at(seed % 4), jnp.int32(seed % 2), params
            )
            assert jax.tree.all(jax.tree.map(jnp.array_equal, by_key, by_number))


def test_the_step_that_reaches_the_horizon_is_truncated_and_nothing_terminates():
    params, state = problem(), at(0)
    seen = []
    for key in jax.random.split(jax.random.key(0), 4):
        _, state, _, terminated, truncated, info = step(key, state, jnp.int32(0), params)
        seen.append(bool(truncated))
        assert not terminated
        assert info == {}
    assert seen == [False, False, True, True]
    endless = mdp.env().step(jax.random.key(0), at(0), jnp.int32(0), params)
    assert not endless[4]


SOLVE = jax.jit(planning.policy_iteration)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("states", [7, 9])
def test_rows_have_one_rule_whatever_their_length(states, dtype, double):
    """A row that is nearly one is divided by its sum, in arrays and files; 1 for ever is worth 1 / (1 - gamma)."""
    defect = 1e-6
    short = np.full((states, 1, states), (1 - defect) / states)
    world = mdp.make(short, np.ones((states, 1)), discount=0.99999, dtype=dtype)
    text = f"discount: 0.99999\nvalues: reward\nstates: {states}\nactions: 1\nR: * : * : * 1\nT: 0\n"
    text += "\n".join(" ".join(map(repr, row[0].tolist())) for row in short)
    read = cassandra.parse(text, dtype).problem
    assert isinstance(read, mdp.MDP)
    for made in (world, read):
        off = np.abs(np.asarray(made.transition, np.float64).sum(-1) - 1).max()
        assert off <= validation.ROUNDED_ROW * np.finfo(dtype).eps
        plan = SOLVE(made)
        assert abs(float(plan.value[0]) - 1e5) <= float(plan.certificate.bound)
        if dtype == np.float64:
            assert plan.certificate.bound < 1
    with pytest.raises(ValueError, match=r"transition: .*expected rows that sum to 1"):
        mdp.make(short * (1 - 2e-5), np.ones((states, 1)), dtype=dtype)


def test_rows_that_rounding_explains_keep_their_bits(double):
    rows = np.random.default_rng(0).dirichlet(np.ones(6), (6, 2))
    single = rows.astype(np.float32)
    np.testing.assert_array_equal(mdp.make(single, np.zeros((6, 2)), dtype=np.float32).transition, single)
    np.testing.assert_array_equal(mdp.make(rows, np.zeros((6, 2))).transition, rows)
