"""Bounds, vector policies and agents: against exact values, in simulation, and on a problem too large for either."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdm.envs import families, pomdp
from jaxdm.oracles.graph_policy import GraphPolicy, graph_agent
from jaxdm.oracles.pomdp import alpha_vectors, history_tree, point_based
from jaxdm.oracles.pomdp import bounds as value_bounds
from jaxdm.oracles.pomdp import exact as exact_planning
from jaxdm.types import Transition
from tests.references import pomdp as reference_pomdp

KEY = jax.random.key(6)


EPS = float(np.finfo(np.float32).eps)


HORIZON = 4


START = jax.jit(value_bounds.initial_bounds, static_argnums=(1, 2))


PLAN_TREE = jax.jit(history_tree.plan_tree, static_argnums=1)


IMPROVE = jax.jit(point_based.improve, static_argnums=(3, 4))


def world(seed=0):
    """A random POMDP, S = 4, A = 2, O = 3, that a search has work with."""
    return reference_pomdp.random_pomdp(seed, states=4, observations=3, concentration=0.3)


def worn_machine(states=100, readings=20):
    """Machine replacement whose wear is seen as a noisy reading on a coarser scale."""
    hidden = families.mdp.machine_replacement(states=states, wear=0.9, discount=0.95)
    level = np.arange(states) / states * readings
    law = np.exp(-0.125 * (np.arange(readings) + 0.5 - level[:, None]) ** 2)
    law /= law.sum(axis=-1, keepdims=True)
    fields = hidden._asdict()
    return pomdp.make(**fields, observation=np.stack([law, law]))


def gap_of(plan):
    return float(plan.upper - plan.lower)


def test_bounds_hold_at_every_reachable_belief(double):
    """Untouched, and after one trial: lower <= V <= upper at each step and belief of the exact plan."""
    random = world()
    exact = exact_planning.plan(random, HORIZON)
    slack = float(exact.certificate.bound)
    assert len(exact.reachable.within) == HORIZON
    bounds, gaps = START(random, HORIZON, 32), []
    both = jax.jit(lambda b, t, x: (value_bounds.lower_bound(b, t, x)[0], value_bounds.upper_bound(b, t, x)))
    for _ in range(2):
        for t in range(HORIZON):
            value = exact.value[t]
            lower, upper = both(bounds, t, exact.graph.belief[0])  # all beliefs at each step: one compilation
            assert np.all(lower[: len(value)] <= value + slack)
            assert np.all(upper[: len(value)] >= value - slack)
        low, high = point_based.root_bounds(random, bounds)
        gaps.append(float(high - low))
        bounds = IMPROVE(random, bounds, jnp.asarray(1e-6), HORIZON, 4)
    assert gaps[1] < gaps[0]


def test_finite_search_meets_the_exact_value(double):
    random = world()
    exact = exact_planning.plan(random, HORIZON)
    solved = point_based.solve(random, HORIZON, tolerance=1e-3, relative=0.0, capacity=32)
    assert solved.lower <= exact.root_value <= solved.upper
    assert gap_of(solved) <= 1e-3


def test_improvement_is_batched(double):
    """A vmap of searches is the searches one by one."""
    worlds, tolerance = [world(seed) for seed in (0, 1, 5)], jnp.asarray(1e-4)
    starts = [START(each, HORIZON, 32) for each in worlds]
    batch = jax.tree.map(lambda *x: jnp.stack(x), *worlds), jax.tree.map(lambda *x: jnp.stack(x), *starts)

    def search(each, start):
        return point_based.improve(each, start, tolerance, HORIZON, point_based.CHUNK)

    together = jax.jit(jax.vmap(search))(*batch)
    for i in range(3):
        alone = IMPROVE(worlds[i], starts[i], tolerance, HORIZON, point_based.CHUNK)
        assert int(alone.points.max()) > 1
        for batched, single in zip(together, alone, strict=True):
            np.testing.assert_allclose(batched[i], single, rtol=1e-12, atol=1e-13)


@pytest.fixture(scope="module")
def tiger_plan():
    with jax.enable_x64(True):
        return point_based.solve(families.pomdp.tiger(), relative=1e-3, capacity=256)


def test_endless_tiger(double, tiger_plan):
    """The discounted limit 19.371368 lies between bounds 0.1 % apart."""
    assert gap_of(tiger_plan) <= 1e-3 * tiger_plan.lower
    assert tiger_plan.lower <= 19.371368 + 0.5e-6
    assert tiger_plan.upper >= 19.371368 - 0.5e-6
    np.testing.assert_allclose(tiger_plan.certificate.bound, gap_of(tiger_plan), rtol=1e-9)


def test_lower_bound_is_kept_by_its_policy(double, tiger_plan):
    """Exactly evaluated on Tiger's 37 beliefs, the vectors' policy earns at least what they promise."""
    tiger = families.pomdp.tiger()
    exact = exact_planning.plan_endless(tiger, tolerance=1e-10)
    beliefs, graph, nodes = exact.reachable, exact.graph, np.arange(37)
    action = jax.vmap(alpha_vectors.best_action, in_axes=(None, 0, None))(
        tiger_plan.policy, jnp.asarray(graph.belief[0]), 0
    )
    kernel = np.zeros((37, 37))
    for seen in range(2):
        np.add.at(kernel, (nodes, graph.child[nodes, action, seen]), beliefs.probability[nodes, action, seen])
    value = np.linalg.solve(np.eye(37) - 0.95 * kernel, beliefs.reward[nodes, action])
    slack = 1e-8  # beliefs were merged, at distances that `plan_endless` certifies to cost less than this
    assert tiger_plan.lower <= value[graph.root[0]] + slack
    assert value[graph.root[0]] <= exact.root_value + slack
    assert np.all(value_bounds.lower_bound(tiger_plan.bounds, 0, jnp.asarray(graph.belief[0]))[0] <= value + slack)


def test_a_hundred_states_and_twenty_observations():
    """One per cent, certified in float32 within a minute; the gap is what the certificate says."""
    solved = point_based.solve(worn_machine(), seconds=60.0)
    assert gap_of(solved) <= 0.01 * solved.lower
    assert abs(float(solved.certificate.bound) - gap_of(solved)) <= 8 * EPS * float(solved.upper)


def test_a_spent_budget_reports_the_gap(double):
    random = world()
    solved = point_based.solve(random, HORIZON, relative=0.0, trials=1, capacity=32)
    assert solved.certificate.iterations == point_based.CHUNK
    assert float(solved.certificate.bound) > 0
    assert solved.lower < solved.upper


def test_capacity_grows_without_loss(double):
    """With little room at first, the search still closes the gap."""
    random = world()
    solved = point_based.solve(random, HORIZON, tolerance=1e-3, relative=0.0, capacity=16)
    assert gap_of(solved) <= 1e-3
    assert solved.bounds.drop.shape[1] == 32


def test_share_is_the_largest_multiple_that_fits():
    beliefs, points = jnp.asarray([[0.5, 0.5, 0.0], [0.2, 0.3, 0.5]]), jnp.asarray([[1.0, 0, 0], [0.25, 0.25, 0.5]])
    np.testing.assert_allclose(value_bounds.share(beliefs, points), [[0.5, 0], [0.2, 0.8]], rtol=1e-6)


def test_qmdp_is_optimal_when_the_state_is_seen(double):
    """And both QMDP and the myopic policy are worth no more than the optimum when it is not."""
    hidden = reference_pomdp.random_mdp(0, concentration=0.3)
    for quality in (1.0, 0.6):
        seen = pomdp.from_mdp(hidden, quality)
        exact = exact_planning.plan(seen, HORIZON)
        step, node = (x.ravel() for x in np.indices(exact.policy.shape))
        for policy in (alpha_vectors.qmdp(seen, HORIZON), alpha_vectors.myopic(seen)):
            choose = jax.jit(jax.vmap(alpha_vectors.best_action, in_axes=(None, 0, 0)))
            action = choose(policy, jnp.asarray(exact.graph.belief[0])[node], step).reshape(exact.policy.shape)
            value = exact_planning.policy_value(seen, exact, np.eye(2)[action])[0][exact.graph.root]
            assert np.all(value <= exact.value[0][exact.graph.root] + exact.certificate.bound)
            if quality == 1.0 and policy.action.shape[0] == HORIZON:
                optimum = exact.value[0][exact.graph.root]
                np.testing.assert_allclose(value, optimum, atol=float(exact.certificate.bound), rtol=0)


def returns(agent, params, world, horizon, count):
    """Discounted returns of `count` simulated episodes."""
    env = pomdp.env(horizon)

    def episode(key):
        key_reset, key_env, key_init, key_agent = jax.random.split(key, 4)
        seen, state = env.reset(key_reset, world)

        def step(carry, keys):
            seen, state, memory, weight = carry
            action, memory = agent.act(keys[1], memory, seen, params)
            after, state, reward, terminated, truncated, _ = env.step(keys[0], state, action, world)
            transition = Transition(
                observation=seen,
                action=action,
                reward=reward,
                next_observation=after,
                terminated=terminated,
                truncated=truncated,
            )
            memory = agent.observe(memory, transition, params)
            return (after, state, memory, weight * world.discount), weight * reward

        keys = jax.random.split(key_env, horizon), jax.random.split(key_agent, horizon)
        start = (seen, state, agent.init(key_init, params), jnp.ones_like(world.discount))
        return jnp.sum(jax.lax.scan(step, start, keys)[1])

    return jax.jit(jax.vmap(episode))(jax.random.split(KEY, count))


def follow(plan):
    return GraphPolicy(graph=plan.graph, policy=plan.policy)


def agents(world, horizon):
    """Every optimal agent of this part, with its parameters."""
    search = point_based.solve(world, horizon, tolerance=1e-3, relative=0.0, capacity=32)
    return {
        "graph": (graph_agent(), follow(exact_planning.plan(world, horizon))),
        "tree": (graph_agent(), follow(PLAN_TREE(world, horizon))),
        "search": (alpha_vectors.agent(), search.policy),
    }


def test_agents_earn_what_they_promise(double):
    """Simulated means within five standard errors of the optimum, and of the gap left to the search."""
    random, count = world(), 10_000
    value = exact_planning.plan(random, HORIZON).root_value
    for name, (agent, params) in agents(random, HORIZON).items():
        earned = np.asarray(returns(agent, params, random, HORIZON, count))
        slack = 5 * earned.std() / np.sqrt(count) + 1e-3 * (name == "search")
        assert abs(earned.mean() - value) <= slack, name


def test_agents_work_outside_jit_too_and_have_no_action_where_their_plan_ends():
    """On Tiger what is heard later, observation 1, could not have come first."""
    tiger = families.pomdp.tiger()
    for agent, params, steps in (
        (alpha_vectors.agent(), alpha_vectors.qmdp(tiger), 4),
        (graph_agent(), follow(exact_planning.plan(tiger, 1)), 1),
        (graph_agent(), follow(exact_planning.plan(tiger, 2)), 2),
        (graph_agent(), follow(PLAN_TREE(tiger, 1)), 1),
        (graph_agent(), follow(PLAN_TREE(tiger, 2)), 2),
    ):
        memory, actions = agent.init(KEY, params), []
        for step in range(4):
            action, memory = agent.act(KEY, memory, jnp.int32(min(step, 1)), params)
            heard = Transition(
                observation=jnp.int32(min(step, 1)),
                action=action,
                reward=jnp.float32(-1),
                next_observation=jnp.int32(1),
                terminated=jnp.bool_(False),
                truncated=jnp.bool_(False),
            )
            memory = agent.observe(memory, heard, params)
            actions.append(int(action))
        assert actions[0] == families.pomdp.LISTEN
        assert all(action in (0, 1, 2) for action in actions[:steps])
        assert all(action == -1 for action in actions[steps:])


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"horizon": 0}, "horizon"),
        ({"trials": 0}, "trials"),
        ({"relative": -1.0}, "relative"),
        ({}, "discount"),
    ],
)
def test_search_refuses_bad_input(options, field):
    with pytest.raises(ValueError, match=field):
        point_based.solve(reference_pomdp.random_pomdp(0, discount=1.0), **options)


def test_search_refuses_a_batch():
    with pytest.raises(ValueError, match="one POMDP"):
        point_based.solve(jax.tree.map(partial(jnp.expand_dims, axis=0), world()), 3)
