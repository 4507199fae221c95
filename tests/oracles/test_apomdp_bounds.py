"""Bounds for long horizons under ambiguity: they hold, they close, and the look-ahead says how far."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdm.envs import apomdp, mdp, pomdp
from jaxdm.envs.apomdp import APOMDP
from jaxdm.oracles.apomdp.bounds import grid_bounds, never_dropped, range_max, window_bounds
from jaxdm.oracles.apomdp.lookahead import LookAhead, look_ahead
from tests.oracles.test_apomdp_exact import ACTIONS, close, solve, sparse, world

HORIZON = 3


windows = jax.jit(window_bounds, static_argnums=(1, 2))


grid = jax.jit(grid_bounds, static_argnums=(1, 2))


look = jax.jit(look_ahead, static_argnums=2)


def assert_brackets(found: LookAhead, instance: APOMDP) -> None:
    exact = solve(instance, HORIZON)
    first = exact.q[: found.q.shape[0]]
    slack = float(exact.certificate.bound)
    assert (found.bracket.lower <= first + slack).all()
    assert (found.bracket.upper >= first - slack).all()
    close(found.root_value, exact.root_value, found.certificate.bound + slack)
    assert (found.ties | ~exact.ties[: found.q.shape[0]])[exact.alive.any(axis=0)[: found.q.shape[0]]].all()


@pytest.mark.parametrize("attitude", [0.0, 0.3, 1.0])
def test_windows_bracket_the_exact_value_and_close_with_memory(double, attitude):
    instance = world(0, attitude)
    gaps = []
    for window, depth in ((0, 1), (2, 2)):
        found = look(instance, windows(instance, HORIZON, window), depth)
        assert_brackets(found, instance)
        gaps.append(float(found.certificate.residual))
    assert gaps[0] > 4 * gaps[1]
    trivial = (instance.reward.max() - instance.reward.min()) * (0.9 + 0.81)
    assert gaps[0] <= trivial + 1e-12


@pytest.mark.parametrize("seed", range(4))
def test_windows_bracket_when_models_are_dropped(double, seed):
    instance = sparse(seed, 0.6)
    assert not never_dropped(instance).all()
    for window, depth in ((0, 1), (2, 2)):
        assert_brackets(look(instance, windows(instance, HORIZON, window), depth), instance)


def test_looking_ahead_to_the_end_is_exact(double):
    instance = world(1, 0.5)
    found = look(instance, windows(instance, HORIZON, 0), HORIZON)
    assert found.certificate.bound < 1e-10
    assert_brackets(found, instance)


@pytest.mark.parametrize("attitude", [0.0, 0.4, 1.0])
def test_grid_brackets_the_exact_value_and_closes_with_cells(double, attitude):
    for instance in (world(2, attitude, states=2, models=2), sparse(2, attitude, states=2, models=2)):
        gaps = []
        for cells in (3, 48):
            found = look(instance, grid(instance, HORIZON, cells), 1)
            assert_brackets(found, instance)
            gaps.append(float(found.certificate.residual))
        assert gaps[0] > 8 * gaps[1]


def test_single_precision_bounds_hold():
    instance = world(3, 0.5, states=2, models=2)
    with jax.enable_x64(True):
        double = jax.tree.map(lambda x: jnp.asarray(np.asarray(x, np.float64)), instance)
        exact = solve(double, HORIZON)
    found = look(instance, grid(instance, HORIZON, 48), 1)
    assert found.q.dtype == jnp.float32
    assert (found.bracket.lower <= np.asarray(exact.q[:2])).all()
    assert (found.bracket.upper >= np.asarray(exact.q[:2])).all()


@pytest.mark.parametrize("cells", [1, 7])
def test_range_max_equals_a_loop(cells):
    random = np.random.default_rng(cells)
    values = random.normal(size=(cells + 1, 3))
    low, high = np.sort(random.integers(0, cells, (2, cells)), axis=0)
    live = random.random(cells) < 0.7
    die = ~live | (random.random(cells) < 0.5)
    expected = [values[cells]]
    for i in reversed(range(cells)):
        reached = [values[j] for j in range(low[i], high[i] + 1) if live[i]] + [values[cells]] * int(die[i])
        expected.insert(0, np.max(reached, axis=0))
    found = range_max(*(jnp.asarray(x) for x in (values, low, high, die, live)))
    np.testing.assert_array_equal(found, np.stack(expected).astype(np.float32))


def test_bad_input_is_refused():
    instance = world(0, 0.5)
    with pytest.raises(ValueError, match=r"^window: -1; expected an integer, at least 0"):
        window_bounds(instance, 3, -1)
    with pytest.raises(ValueError, match=r"^memory: .*shorten the window"):
        window_bounds(instance, 3, 12)
    with pytest.raises(ValueError, match=r"^transition: shape \(3, 3, 2, 3\); expected S = 2"):
        grid_bounds(instance, 3, 10)
    small = world(0, 0.5, states=2)
    with pytest.raises(ValueError, match=r"^cells: 0; expected an integer, at least 1"):
        grid_bounds(small, 3, 0)
    with pytest.raises(ValueError, match=r"^memory: .*use fewer cells"):
        grid_bounds(small, 3, 5000)
    with pytest.raises(ValueError, match=r"^depth: 1; expected at least 1, and at least the window"):
        look_ahead(instance, windows(instance, HORIZON, 2), 1)
    assert windows(instance, HORIZON, 2).lower.shape == (HORIZON + 1, (ACTIONS * 3) ** 2)


def test_a_penalty_widens_no_other_bound():
    """Two states that are seen and never left, one of which costs 1e7 a step: in float32 the other's value is clear."""
    stay = np.broadcast_to(np.eye(2)[:, None], (2, 1, 2))
    seen = pomdp.from_mdp(mdp.make(stay, [[1.0], [-1e7]], discount=0.9), 1.0)
    found = windows(apomdp.of_one_model(seen), HORIZON, 1)
    for step in range(HORIZON + 1):
        exact = sum(0.9**t for t in range(step))
        assert float(found.lower[step, 0]) <= exact * (1 + 1e-6)
        assert float(found.upper[step, 0]) >= exact * (1 - 1e-6)
        assert float(found.upper[step, 0] - found.lower[step, 0]) <= 1e-4
