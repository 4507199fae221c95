"""Greedy play on estimates, and the coverage of data, against enumeration of policies and of paths."""

import itertools

import jax
import numpy as np
import pytest

from theory.linear_attention import greedy_play, linear_mdps

SIZE = (2, 2, 4, 3)
"""(S, A, d, H)."""


@pytest.fixture(params=[linear_mdps.dense, linear_mdps.deterministic])
def world(request, double):
    worlds = linear_mdps.instances(jax.random.key(0), SIZE, 10.0, 1, request.param)
    return jax.tree.map(lambda x: x[0], worlds)


def visits(world, policy):
    """Chances of states [H, S] under a policy [H, S] of actions, forward in time."""
    reach = [np.asarray(world.stages.initial[0])]
    for kernel, actions in zip(np.asarray(world.stages.transition[:-1]), policy[:-1], strict=True):
        reach.append(reach[-1] @ kernel[np.arange(len(actions)), actions])
    return np.stack(reach)


def test_coverage_is_the_largest_over_policies(world):
    states, actions, _, horizon = SIZE
    policies = itertools.product(range(actions), repeat=horizon * states)
    reach = np.max([visits(world, np.reshape(policy, (horizon, states))) for policy in policies], axis=0)
    np.testing.assert_allclose(greedy_play.coverage(world), reach.max(axis=1) * states * actions, rtol=1e-12)


def test_errors_are_met_where_greedy_play_goes_and_losses_add_up_there(world):
    rng = np.random.default_rng(0)
    estimated = np.asarray(world.q) + rng.normal(size=world.q.shape)
    policy = estimated.argmax(axis=-1)
    reach, steps = visits(world, policy), np.indices(policy.shape)
    errors = np.abs(estimated - world.q).max(axis=-1)
    lost = np.asarray(world.q).max(axis=-1) - np.asarray(world.q)[(*steps, policy)]
    found = greedy_play.outcome(world, estimated)
    np.testing.assert_allclose(found.error, np.sum(reach * errors), rtol=1e-12)
    np.testing.assert_allclose(found.first_error, reach[0] @ errors[0], rtol=1e-12)
    np.testing.assert_allclose(found.initial_error, np.sum(errors @ world.stages.initial[0]), rtol=1e-12)
    np.testing.assert_allclose(found.gap, np.sum(reach * lost), rtol=1e-10, atol=1e-14)
