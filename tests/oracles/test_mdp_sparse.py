"""Sparse planning: QuantEcon, dense planning, and certificates that must cover the true error."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import quantecon
from scipy import sparse as scipy_sparse

from jaxdm.envs import mdp, sparse_mdp
from jaxdm.oracles.mdp import planning, sparse

SOLVERS = {
    "value": sparse.value_iteration,
    "modified": sparse.modified_policy_iteration,
    "policy": sparse.policy_iteration,
}
dense_plan = jax.jit(planning.policy_iteration)


solvers = pytest.mark.parametrize("solve", SOLVERS.values(), ids=SOLVERS)


def random_arrays(seed, states, actions, successors, scale=1.0):
    random = np.random.default_rng(seed)
    successor = random.integers(0, states, (states, actions, successors))
    return (
        successor,
        random.dirichlet(np.ones(successors), (states, actions)),
        scale * random.normal(size=(states, actions)),
    )


@solvers
@pytest.mark.parametrize("discount", [0.0, 0.5, 0.99, 0.99999])
def test_against_dense_planning(double, solve, discount):
    for seed in range(5):
        problem = sparse_mdp.make(*random_arrays(seed, 6, 3, 2), discount=discount)
        exact = dense_plan(sparse_mdp.to_dense(problem))
        plan = solve(problem)
        bound = float(plan.certificate.bound)
        assert bound <= 1e-3
        assert np.all(np.abs(np.asarray(plan.value - exact.value)) <= bound + float(exact.certificate.bound))
        own = jnp.take_along_axis(exact.q, plan.policy[:, None], axis=1)[:, 0]
        assert np.all(np.asarray(exact.value - own) <= 2 * bound + 2 * float(exact.certificate.bound))
        assert np.all(np.asarray(plan.ties)[np.asarray(exact.q == exact.value[:, None])])


@solvers
def test_against_quantecon(double, solve):
    states, actions, successors = 300, 4, 3
    successor, probability, reward = random_arrays(1, states, actions, successors)
    start = np.arange(0, probability.size + 1, successors)
    matrix = scipy_sparse.csr_matrix((probability.ravel(), successor.ravel(), start), (states * actions, states))
    pairs = np.argwhere(np.random.default_rng(2).random(reward.shape) < 0.7)
    pairs = np.unique(np.concatenate([pairs, np.stack([np.arange(states), np.zeros(states, int)], axis=1)]), axis=0)
    row = pairs[:, 0] * actions + pairs[:, 1]
    theirs = quantecon.markov.DiscreteDP(reward.ravel()[row], matrix[row], 0.95, *pairs.T).solve(method="pi")
    problem = sparse_mdp.from_pairs(reward.ravel()[row], matrix[row], *pairs.T, discount=0.95)
    plan = solve(problem)
    assert np.all(np.abs(np.asarray(plan.value) - theirs.v) <= float(plan.certificate.bound) + 1e-10)
    assert np.all(np.isfinite(np.asarray(problem.reward)[np.arange(states), np.asarray(plan.policy)]))
    np.testing.assert_array_equal(plan.policy, theirs.sigma)


@solvers
def test_a_penalty_spoils_no_other_entry(double, solve):
    stay = np.broadcast_to(np.arange(2)[:, None, None], (2, 2, 1))
    problem = sparse_mdp.make(stay, np.ones((2, 2, 1)), [[0.0, 1.0], [0.0, -1e6]], discount=0.5, dtype=np.float32)
    plan = solve(problem)
    np.testing.assert_array_equal(plan.policy, [1, 0])
    assert plan.value.dtype == np.float32


def test_every_state_has_its_own_bound(double):
    """State 0 pays 1 for ever, state 1 pays -1e6, and state 2 goes to either: errors go only where values go."""
    to = np.array([[[0, 0]], [[1, 1]], [[0, 1]]])
    problem = sparse_mdp.make(to, np.full((3, 1, 2), 0.5), [[1.0], [-1e6], [0.0]], discount=0.99, dtype=np.float32)
    ahead = 1 / (1 - float(problem.discount)) * np.array([1.0, -1e6])
    exact = np.array([*ahead, float(problem.discount) * ahead.mean()])
    for solve in (sparse.modified_policy_iteration, sparse.policy_iteration):
        plan = solve(problem)
        off = np.abs(np.asarray(plan.value, float) - exact)
        # A value of 100 has 100 steps behind it, each of them off by a few of the units that numbers are stored to.
        assert float(plan.value_error[0]) <= 100 * 100 * 16 * np.finfo(np.float32).eps
        assert np.all(off <= np.asarray(plan.value_error))
        assert float(plan.certificate.bound) == float(np.max(np.asarray(plan.value_error)))


def test_float32_problems_are_solved_in_float64():
    """Outside x64, at a discount where float32 iteration stops thousands away from the value."""
    arrays = random_arrays(3, 20, 3, 2)
    for solve in SOLVERS.values():
        problem = sparse_mdp.make(*arrays, discount=0.99999)
        assert problem.reward.dtype == np.float32
        plan = solve(problem)
        with jax.enable_x64(True):
            wide = jax.tree.map(lambda x: x.astype(np.float64) if x.dtype == np.float32 else x, problem)
            wide = wide._replace(probability=wide.probability / wide.probability.sum(-1, keepdims=True))
            exact = dense_plan(sparse_mdp.to_dense(wide)).value
        assert plan.value.dtype == np.float32
        assert np.all(np.abs(np.asarray(plan.value, np.float64) - np.asarray(exact)) <= float(plan.certificate.bound))


@solvers
def test_what_cannot_be_guaranteed_is_infinite(double, solve):
    successor, probability, reward = random_arrays(4, 5, 2, 2)
    for bad in (
        sparse_mdp.make(successor, probability, 1e308 * np.abs(reward), discount=0.999),
        sparse_mdp.make(successor, probability, reward, discount=1 - 1e-8)._replace(
            probability=jnp.asarray(probability * (1 + 2e-7))
        ),
    ):
        plan = solve(bad, max_iterations=50)
        assert float(plan.certificate.bound) == np.inf
        assert not np.isnan(plan.certificate.residual)
        assert int(plan.certificate.iterations) <= 50


@solvers
def test_values_beyond_the_float_type_are_not_bounded(solve):
    """float64 holds 1e39, float32 does not."""
    plan = solve(sparse_mdp.make(np.zeros((1, 1, 1), int), np.ones((1, 1, 1)), [[1e38]], discount=0.9))
    assert plan.value.dtype == np.float32
    assert float(plan.certificate.bound) == np.inf


@solvers
def test_a_limit_is_reported(double, solve):
    problem = sparse_mdp.make(*random_arrays(5, 50, 3, 2), discount=0.999)
    exact = dense_plan(sparse_mdp.to_dense(problem)).value
    plan = solve(problem, max_iterations=1)
    assert int(plan.certificate.iterations) == 1
    assert np.max(np.abs(np.asarray(plan.value - exact))) <= float(plan.certificate.bound)


def test_a_corridor_that_mixes_slowly(double):
    """One step a move, a prize at the end: values are powers of the discount."""
    size = 300
    successor = np.stack([np.maximum(np.arange(size) - 1, 0), np.minimum(np.arange(size) + 1, size - 1)], axis=1)
    reward = np.zeros((size, 2))
    reward[-1] = 1
    problem = sparse_mdp.make(successor[..., None], np.ones((size, 2, 1)), reward, discount=0.999)
    expected = 0.999 ** np.arange(size - 1, -1, -1) / 0.001
    for solve in SOLVERS.values():
        plan = solve(problem)
        assert np.max(np.abs(np.asarray(plan.value) - expected)) <= float(plan.certificate.bound) <= 1e-5


@pytest.mark.parametrize("solve", [sparse.value_iteration, sparse.modified_policy_iteration, sparse.policy_iteration])
def test_batches(double, solve):
    problems = [sparse_mdp.make(*random_arrays(seed, 6, 3, 2), discount=0.9) for seed in range(4)]
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *problems)
    together = jax.jit(jax.vmap(solve))(stacked)
    for i, problem in enumerate(problems):
        np.testing.assert_allclose(together.value[i], solve(problem).value, atol=1e-5)


def test_many_actions_are_scanned(double):
    successor, probability, reward = random_arrays(6, 10, 70, 2)
    problem = sparse_mdp.make(successor, probability, reward, discount=0.9)
    exact = dense_plan(sparse_mdp.to_dense(problem))
    np.testing.assert_allclose(sparse.value_iteration(problem, 1e-9).value, exact.value, atol=1e-8)


def test_arguments_are_checked(double):
    problem = sparse_mdp.from_dense(mdp.make(np.eye(2)[:, None], [[1.0], [0.0]], discount=0.5))
    cases: tuple[dict[str, Any], ...] = (
        {"tolerance": 0.0},
        {"tolerance": np.nan},
        {"max_iterations": 0},
        {"sweeps": -1},
    )
    for bad in cases:
        with pytest.raises(ValueError, match=next(iter(bad))):
            sparse.modified_policy_iteration(problem, **bad)
    with pytest.raises(ValueError, match="linear_steps"):
        sparse.policy_iteration(problem, linear_steps=0)
    with pytest.raises(ValueError, match="discount"):
        sparse.value_iteration(problem._replace(discount=jnp.float64(1)))
