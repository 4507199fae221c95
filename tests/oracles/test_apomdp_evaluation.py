"""The value of given policies under ambiguity: by enumeration, by a slow twin, and by simulation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdm.envs import apomdp as apomdps
from jaxdm.oracles.apomdp import evaluation, lookahead
from jaxdm.oracles.apomdp.bounds import window_bounds
from jaxdm.oracles.apomdp.lookahead import LookAheadParams
from jaxdm.oracles.graph_policy import GraphPolicy, graph_agent
from tests.oracles.test_apomdp_exact import ACTIONS, HORIZON, STATES, solve, sparse, world
from tests.references.apomdp import Ambiguous

SIZES = {"horizon": HORIZON, "actions": ACTIONS, "observations": STATES}


judge = jax.jit(evaluation.evaluate, static_argnums=2)


play = jax.jit(evaluation.agent_probabilities, static_argnames=("agent", *SIZES))


bound_windows = jax.jit(window_bounds, static_argnums=(1, 2))


look = jax.jit(lookahead.look_ahead, static_argnums=2)


def random_law(rows: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(0).dirichlet(np.ones(ACTIONS), rows))


@pytest.mark.parametrize("attitude", [0.0, 0.3, 1.0])
def test_both_verdicts_equal_the_slow_twin(double, attitude):
    instance = world(0, attitude)
    law = random_law(len(solve(instance, HORIZON).q))
    found, twin = judge(instance, law, HORIZON), Ambiguous(instance)
    assert found.certificate.bound < 1e-11
    np.testing.assert_allclose(found.recursive, twin.root(HORIZON, np.asarray(law)), atol=found.certificate.bound)
    single = [
        Ambiguous(apomdps.make(jax.tree.map(lambda x, m=m: x[m : m + 1], apomdps.members(instance)), 0.5))
        for m in range(3)
    ]
    expected = [each.root(HORIZON, np.asarray(law)) for each in single]
    np.testing.assert_allclose(found.models, expected, atol=found.certificate.bound)
    weighed = attitude * min(expected) + (1 - attitude) * max(expected)
    np.testing.assert_allclose(found.static, weighed, atol=found.certificate.bound)


@pytest.mark.parametrize("instance", [lambda: world(1, 0.4), lambda: sparse(1, 0.8)])
def test_the_optimal_policy_is_worth_the_optimal_value(double, instance):
    built = instance()
    plan = solve(built, HORIZON)
    bound = 2 * plan.certificate.bound
    law = jax.nn.one_hot(plan.policy, ACTIONS, dtype=jnp.float64)
    np.testing.assert_allclose(judge(built, law, HORIZON).recursive, plan.root_value, atol=bound)
    sizes = SIZES | {"observations": built.observation.shape[-1]}
    acted = play(jax.random.key(0), graph_agent(), GraphPolicy(graph=plan.graph, policy=plan.policy), **sizes)
    np.testing.assert_array_equal(acted, law)
    assert judge(built, random_law(len(law)), HORIZON).recursive <= plan.root_value + bound


def test_robust_value_is_never_above_any_models_and_optimistic_never_below(double):
    """With alpha 1 (0) the recursion picks the worst (best) model everywhere, which no single model outdoes."""
    law = random_law(len(solve(world(2, 1.0), HORIZON).q))
    worst, best = (judge(world(2, attitude), law, HORIZON) for attitude in (1.0, 0.0))
    slack = worst.certificate.bound + best.certificate.bound
    assert worst.recursive <= worst.static + slack
    assert best.recursive >= best.static - slack
    assert worst.recursive < best.recursive


def test_looking_ahead_earns_at_least_its_lower_bound(double):
    built = world(3, 0.7)
    bounds = bound_windows(built, HORIZON, 1)
    found = look(built, bounds, 1)
    guide = LookAheadParams(apomdp=built, bounds=bounds)
    law = play(jax.random.key(0), lookahead.agent(1), guide, **SIZES)
    earned = judge(built, law.astype(jnp.float64), HORIZON)
    slack = found.certificate.bound
    assert found.root_value - slack <= earned.recursive <= solve(built, HORIZON).root_value + earned.certificate.bound


def test_simulation_agrees_with_enumeration(double):
    built = world(4, 0.6)
    plan = solve(built, HORIZON)
    exact = judge(built, jax.nn.one_hot(plan.policy, ACTIONS), HORIZON)
    run = jax.jit(
        lambda key, built, plan: evaluation.simulate(
            key, built, graph_agent(), GraphPolicy(graph=plan.graph, policy=plan.policy), horizon=HORIZON, episodes=4000
        )
    )
    found = run(jax.random.key(1), built, plan)
    assert (np.abs(found.models - exact.models) <= 5 * found.standard_error).all()
    assert np.abs(found.static - exact.static) <= 5 * found.standard_error.max()
    assert (found.standard_error < 0.05).all()


def test_bad_input_is_refused():
    built = world(0, 0.5)
    with pytest.raises(ValueError, match=r"^probabilities: shape \(3, 2\); expected .* R = 129, A = 2"):
        evaluation.evaluate(built, jnp.full((3, 2), 0.5), HORIZON)
    with pytest.raises(ValueError, match=r"^probabilities: 2 at index \(0,\); expected rows that sum to 1"):
        evaluation.evaluate(built, jnp.ones((129, 2)), HORIZON)
    with pytest.raises(ValueError, match=r"^memory: "):
        evaluation.evaluate(built, jnp.full((129, 2), 0.5), HORIZON, memory=100)
    with pytest.raises(ValueError, match=r"^episodes: 1; expected an integer, at least 2"):
        evaluation.simulate(jax.random.key(0), built, graph_agent(), None, horizon=3, episodes=1)
