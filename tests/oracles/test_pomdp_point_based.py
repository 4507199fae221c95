"""Bounds, vector policies and agents: against exact values, in simulation, and on a problem too large for either."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.speed import classics
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


IMPROVE = jax.jit(value_bounds.improve, static_argnums=(3, 4))


VISITS = 24


BEST_ACTION = jax.jit(jax.vmap(alpha_vectors.best_action, in_axes=(None, 0, 0)))


def world(seed=0):
    """A random POMDP, S = 4, A = 2, O = 3, that a search has work with."""
    return reference_pomdp.random_pomdp(seed, states=4, observations=3, concentration=0.3)


def gap_of(plan):
    return float(plan.upper - plan.lower)


def test_bounds_hold_at_every_reachable_belief(double):
    """Untouched, and after some visits: lower <= V <= upper at each step and belief of the exact plan."""
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
        low, high = value_bounds.root_bounds(random, bounds)
        gaps.append(float(high - low))
        bounds = IMPROVE(random, bounds, jnp.asarray(1e-6), HORIZON, VISITS)
    assert gaps[1] < gaps[0]


def test_finite_search_meets_the_exact_value(double):
    random = world()
    exact = exact_planning.plan(random, HORIZON)
    solved = point_based.solve(random, HORIZON, tolerance=1e-3, relative=0.0)
    assert solved.lower <= exact.root_value <= solved.upper
    assert gap_of(solved) <= 1e-3


def test_improvement_is_batched(double):
    """A vmap of searches is the searches one by one."""
    worlds, tolerance = [world(seed) for seed in (0, 1, 5)], jnp.asarray(1e-4)
    starts = [START(each, HORIZON, 32) for each in worlds]
    batch = jax.tree.map(lambda *x: jnp.stack(x), *worlds), jax.tree.map(lambda *x: jnp.stack(x), *starts)

    def search(each, start):
        return value_bounds.improve(each, start, tolerance, HORIZON, VISITS)

    together = jax.jit(jax.vmap(search))(*batch)
    for i in range(3):
        alone = IMPROVE(worlds[i], starts[i], tolerance, HORIZON, VISITS)
        assert int(alone.points.max()) > 1
        for batched, single in zip(together, alone, strict=True):
            np.testing.assert_allclose(batched[i], single, rtol=1e-12, atol=1e-13)


@pytest.fixture(scope="module")
def tiger_plan():
    with jax.enable_x64(True):
        return point_based.solve(families.pomdp.tiger(), relative=1e-3)


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
    """One per cent, certified of float32 parameters within a minute; the gap is what the certificate says."""
    solved = point_based.solve(classics.worn_machine(), seconds=60.0)
    assert gap_of(solved) <= 0.01 * solved.lower
    assert abs(float(solved.certificate.bound) - gap_of(solved)) <= 8 * EPS * float(solved.upper)


def test_a_spent_budget_reports_the_gap(double):
    random = world()
    solved = point_based.solve(random, HORIZON, relative=0.0, trials=1)
    assert solved.certificate.iterations == 1
    assert float(solved.certificate.bound) > 0
    assert solved.lower < solved.upper


SMALL = {
    "shuttle": (classics.shuttle, 32.7, 32.9),
    "4x4": (classics.grid_4x4, 3.70, 3.77),
    "cheese": (classics.cheese_maze, 3.45, 3.50),
    "4x3": (classics.maze_4x3, 1.88, 1.93),
}
"""Problems of the literature, and where their values lie as the searches of other authors report them."""


@pytest.mark.parametrize("name", SMALL)
def test_small_problems_are_settled(double, name):
    """One per cent in few trials, around values that others found."""
    build, low, high = SMALL[name]
    solved = point_based.solve(build(), trials=300)
    assert gap_of(solved) <= 0.01 * solved.lower
    assert solved.lower <= high
    assert solved.upper >= low


def test_a_penalty_blurs_nothing_else():
    """Tiger with a fourth action that costs 1e7: in float32 still certified to 1 %, around 19.371368."""
    tiger = families.pomdp.tiger()
    more = pomdp.make(
        jnp.concatenate([tiger.transition, tiger.transition[:, :1]], axis=1),
        jnp.concatenate([tiger.reward, jnp.full((2, 1), -1e7)], axis=1),
        jnp.concatenate([tiger.observation, tiger.observation[:1]]),
        tiger.initial,
        tiger.initial_observation,
        tiger.discount,
    )
    solved = point_based.solve(more)
    assert solved.lower <= 19.371368 <= solved.upper
    assert gap_of(solved) <= 0.01 * solved.lower


def random_scales(seed):
    """A random POMDP whose rewards lie between 1e-6 and 1e7 in size, in either sign."""
    rng = np.random.default_rng(seed)
    base = reference_pomdp.random_pomdp(seed, states=4, observations=3, concentration=0.3)
    sizes = 10 ** rng.uniform(-6, 7, np.shape(base.reward)) * rng.choice([-1, 1], np.shape(base.reward))
    return base._replace(reward=jnp.asarray(sizes, base.reward.dtype))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_value_outside_its_bounds(double, dtype):
    """Rewards of mixed sizes, parameters in either type: the exact value in float64 lies between the bounds.

    And the policy earns what the lower bound says.
    """
    for seed in range(12):
        stored = jax.tree.map(lambda x: jnp.asarray(x, dtype), random_scales(seed))
        exact = exact_planning.plan(jax.tree.map(lambda x: jnp.asarray(x, np.float64), stored), 3)
        solved = point_based.solve(stored, 3, relative=1e-3, trials=50)
        slack = 1e-14 * np.abs(np.asarray(stored.reward)).max()  # rounding of the exact plan
        assert solved.lower <= exact.root_value + slack
        assert solved.upper >= exact.root_value - slack
        step, node = (x.ravel() for x in np.indices(exact.policy.shape))
        chosen = BEST_ACTION(solved.policy, jnp.asarray(exact.graph.belief[0], dtype)[node], step)
        played = np.eye(2)[chosen.reshape(exact.policy.shape)]
        earned = exact_planning.policy_value(stored, exact, played)[0][exact.graph.root]
        assert solved.lower <= exact.reachable.root_probability @ earned + slack
        jitted = IMPROVE(stored, START(stored, 3, 32), jnp.asarray(0, dtype), 3, VISITS)
        lower, upper = value_bounds.root_bounds(stored, jitted)
        assert lower <= exact.root_value + slack
        assert upper >= exact.root_value - slack


def cycle(seen, discount=0.9):
    """Two states in turns; in state 0 action 0 pays 1 and 1 is not available, in state 1 action 1 pays 2 and 0 is not.

    Where the state is not seen there is a third action, which is available in both and costs 5.
    """
    flip = np.eye(2)[::-1]
    observation = np.eye(2) if seen else np.full((2, 2), 0.5)
    reward = np.array([[1, -np.inf, -5], [-np.inf, 2, -5]])[:, : 2 if seen else 3]
    actions = reward.shape[1]
    start = [1, 0] if seen else [0.5, 0.5]
    tables = np.stack([flip] * actions, axis=1), reward, np.stack([observation] * actions)
    return pomdp.make(*tables, start, observation, discount)


@pytest.mark.parametrize("horizon", [None, 3])
def test_actions_that_are_not_available(double, horizon):
    """Seen, each state's own action is played, and none could be for ever; unseen, only the third is possible."""
    powers = 0.9 ** np.arange(3)
    values = {True: powers @ [1, 2, 1], False: -5 * powers.sum()}
    if horizon is None:
        values = {True: (1 + 0.9 * 2) / (1 - 0.81), False: -5 / 0.1}
    for seen, value in values.items():
        solved = point_based.solve(cycle(seen), horizon, relative=1e-6)
        assert solved.lower <= value <= solved.upper
        assert gap_of(solved) <= 1e-6 * abs(value)
        actions = [0, 1] if seen else [2]
        for time, action in enumerate(actions):
            belief = np.eye(2)[time] if seen else np.full(2, 0.5)
            assert alpha_vectors.best_action(solved.policy, jnp.asarray(belief), time) == action


def test_qmdp_never_plays_what_is_not_available(double):
    policy = alpha_vectors.qmdp(cycle(seen=False))
    assert alpha_vectors.best_action(policy, jnp.full(2, 0.5), 0) == 2
    assert alpha_vectors.best_action(policy, jnp.asarray([1.0, 0]), 0) == 0


def test_a_sum_that_may_diverge_is_not_bounded():
    """A float32 discount next to one may stand for one: the bound is infinite, and nothing is NaN."""
    tiger = families.pomdp.tiger(discount=np.nextafter(np.float32(1), np.float32(0)))
    solved = point_based.solve(tiger, trials=2)
    assert float(solved.certificate.bound) == np.inf
    assert (solved.lower, solved.upper) == (-np.inf, np.inf)
    assert all(np.all(np.isfinite(x)) for x in solved.bounds)


def test_undominated_vectors():
    vectors = np.array([[1.0, 1], [0, 3], [1, 1], [3, 0], [0.5, 0.5]])
    np.testing.assert_array_equal(point_based.undominated(vectors), [0, 1, 3])


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
    search = point_based.solve(world, horizon, tolerance=1e-3, relative=0.0)
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
        ({"horizon": 1.5}, "horizon"),
        ({"relative": -1.0}, "relative"),
        ({"tolerance": float("nan")}, "tolerance"),
        ({"seconds": float("nan")}, "seconds"),
        ({}, "discount"),
    ],
)
def test_search_refuses_bad_input(options, field):
    with pytest.raises(ValueError, match=field):
        point_based.solve(reference_pomdp.random_pomdp(0, discount=1.0), **options)


def test_search_refuses_a_batch():
    with pytest.raises(ValueError, match="one POMDP"):
        point_based.solve(jax.tree.map(partial(jnp.expand_dims, axis=0), world()), 3)
