"""Sparse MDPs: every form of the input gives the same problem, the simulator draws from it, and faults are named."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import sparse

from jaxdm.envs import mdp, sparse_mdp


def random_dense(seed, states=7, actions=3, successors=3):
    random = np.random.default_rng(seed)
    law = np.zeros((states, actions, states))
    for s, a in np.ndindex(states, actions):
        law[s, a, random.choice(states, successors, replace=False)] = random.dirichlet(np.ones(successors))
    initial = random.dirichlet(np.ones(states))
    return mdp.make(law, random.normal(size=(states, actions)), initial, discount=0.9)


def test_every_form_is_the_same_problem(double):
    dense = random_dense(0)
    law, reward = np.asarray(dense.transition), np.asarray(dense.reward)
    rest = {"initial": dense.initial, "discount": dense.discount}
    pairs = np.argwhere(np.ones(reward.shape))
    forms = [
        sparse_mdp.from_dense(dense),
        sparse_mdp.from_csr([sparse.csr_matrix(law[:, a]) for a in range(3)], reward, **rest),
        sparse_mdp.from_pairs(reward.ravel(), sparse.coo_array(law.reshape(-1, 7)), *pairs.T, **rest),
    ]
    for form in forms:
        assert form.successor.shape == (7, 3, 3)
        again = sparse_mdp.to_dense(form)
        for name, value in dense._asdict().items():
            np.testing.assert_array_equal(getattr(again, name), value, err_msg=name)


def test_a_pair_that_is_not_listed_is_not_available(double):
    problem = sparse_mdp.from_pairs([1.0, 2.0, 3.0], np.eye(2)[[0, 1, 0]], [0, 1, 1], [0, 0, 1])
    np.testing.assert_array_equal(problem.reward, [[1, -np.inf], [2, 3]])
    assert float(problem.probability.sum()) == 4


def test_the_simulator_draws_successors(double):
    problem = sparse_mdp.make(
        [[[2, 0, 2]], [[1, 1, 1]], [[0, 1, 2]]], [[[0.25, 0.5, 0.25]], [[1, 0, 0]], [[0, 1, 0]]], [[5.0]] * 3
    )
    env = sparse_mdp.env(horizon=2)
    _, start = env.reset(jax.random.key(0), problem)
    step = jax.jit(jax.vmap(lambda key: env.step(key, start._replace(state=jnp.int32(0)), jnp.int32(0), problem)))
    seen, state, reward, terminated, truncated, _ = step(jax.random.split(jax.random.key(1), 4000))
    np.testing.assert_allclose(np.bincount(seen, minlength=3) / 4000, [0.5, 0, 0.5], atol=0.03)
    np.testing.assert_array_equal(state.state, seen)
    assert np.all(reward == 5)
    assert not np.any(terminated)
    assert not np.any(truncated)


GOOD = {"successor": [[[0, 1]], [[1, 1]]], "probability": [[[0.5, 0.5]], [[1.0, 0.0]]], "reward": [[1.0], [2.0]]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"successor": [[[0, 2]], [[1, 1]]]}, "successor: 2 at index .0, 0, 1.; expected integers in 0..1"),
        ({"successor": [[[0, -1]], [[1, 1]]]}, "successor: -1"),
        ({"successor": [[[0, 2**33]], [[1, 1]]]}, "successor: 8.58"),
        ({"successor": [[[0.0, 1.0]], [[1.0, 1.0]]]}, "successor: .*float64.; expected integers"),
        ({"successor": [[[0]], [[1]]]}, "successor: shape"),
        ({"probability": [[[0.5, 0.6]], [[1.0, 0.0]]]}, "probability: 1.1 at index .0, 0."),
        ({"probability": [[[0.5, np.nan]], [[1.0, 0.0]]]}, "probability: nan"),
        ({"reward": [[np.inf], [1.0]]}, "reward: inf"),
        ({"reward": [[-np.inf], [1.0]]}, "reward: -inf at index .0,.; expected an available action"),
        ({"reward": [1.0, 2.0]}, "reward: shape"),
        ({"discount": 1.5}, "discount: 1.5"),
        ({"initial": [0.5, 0.6]}, "initial: 1.1"),
    ],
)
def test_faults_are_named(double, change, message):
    sparse_mdp.make(**GOOD)
    with pytest.raises(ValueError, match=message):
        sparse_mdp.make(**GOOD | change)


def test_pairs_that_are_wrong_are_named():
    eye = np.eye(2)
    with pytest.raises(ValueError, match="twice"):
        sparse_mdp.from_pairs([1.0, 2.0], eye, [0, 0], [0, 0])
    with pytest.raises(ValueError, match="actions: -1"):
        sparse_mdp.from_pairs([1.0, 2.0], eye, [0, 1], [0, -1])
    with pytest.raises(ValueError, match="reward: shape"):
        sparse_mdp.from_pairs([1.0], eye, [0, 1], [0, 0])
    with pytest.raises(ValueError, match="no matrix"):
        sparse_mdp.from_csr([], np.ones((2, 1)))
