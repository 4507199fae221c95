"""Bayes' rule and exact planning on beliefs, against enumeration, Tiger's known values, and each other."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdm.envs import families, pomdp
from jaxdm.oracles.apomdp import history_graph
from jaxdm.oracles.graph_policy import nodes_along
from jaxdm.oracles.mdp.planning import backward_induction
from jaxdm.oracles.pomdp import belief, belief_graph, history_tree
from jaxdm.oracles.pomdp import exact as exact_planning
from tests.references import pomdp as reference_pomdp
from tests.references.histories import as_episode

EPS = float(np.finfo(np.float32).eps)


TIGER = {1: -1.0, 2: -1.95, 3: 2.3098, 5: 2.7630961931, 10: 6.6933684318, 20: 11.8795687288}
"""Optimal values of Tiger at the uniform belief, gamma = 0.95, to the digits given."""


PLAN_TREE = jax.jit(history_tree.plan_tree, static_argnums=1)


TREE_VALUE = jax.jit(history_tree.tree_value, static_argnums=1)


NODES = jax.jit(nodes_along)


FOLLOW = jax.jit(belief.follow)


def test_filter_agrees_with_enumeration(double):
    random = reference_pomdp.random_pomdp(0, observations=3)
    actions, observations = jnp.asarray([0, 1, 1, 0]), jnp.asarray([2, 0, 1, 1, 2])
    path = FOLLOW(random, actions, observations)
    for t in range(5):
        weights = reference_pomdp.history_weights(reference_pomdp.as_numpy(random), actions[:t], observations[: t + 1])
        np.testing.assert_allclose(path.belief[t], weights / weights.sum(), rtol=1e-13)
        np.testing.assert_allclose(np.sum(path.log_likelihood[: t + 1]), np.log(weights.sum()), rtol=1e-13)


def test_filter_survives_tiny_likelihoods():
    """Likelihoods far below the smallest float32 product still weigh states against each other."""
    filtered = belief.condition(jnp.asarray([1e-20, 1 - 1e-20]), jnp.asarray([3e-30, 1e-36]))
    np.testing.assert_allclose(filtered.belief, [3e-14, 1], rtol=8 * EPS)
    np.testing.assert_allclose(filtered.log_likelihood, np.log(1e-36), rtol=8 * EPS)


def test_impossible_observation_is_refused_and_flagged():
    seen = pomdp.from_mdp(families.mdp.chain(states=3, slip=0.0), 1.0)
    with pytest.raises(ValueError, match="possible observation"):
        belief.first(seen, 2)
    with pytest.raises(ValueError, match="number 1 has probability zero"):
        belief.follow(seen, jnp.asarray([0, 0]), jnp.asarray([0, 2, 2]))
    path = FOLLOW(seen, jnp.asarray([0, 0]), jnp.asarray([0, 2, 2]))
    np.testing.assert_array_equal(path.possible, [True, False, False])
    np.testing.assert_array_equal(path.log_likelihood[:2], [0, -np.inf])
    np.testing.assert_array_equal(path.belief[1], [0, 1, 0])


def test_both_planners_agree_with_enumeration(double):
    """Random POMDPs, horizons 1..3: recursion over state paths, the merged graph, the whole tree in one vmap."""
    worlds = [reference_pomdp.random_pomdp(seed) for seed in range(6)]
    batch = jax.tree.map(lambda *x: jnp.stack(x), *worlds)
    for horizon in (1, 2, 3):
        value, error = jax.jit(jax.vmap(lambda each, h=horizon: history_tree.tree_value(each, h)))(batch)
        for i, each in enumerate(worlds):
            graph = exact_planning.plan(each, horizon)
            exact = reference_pomdp.value(reference_pomdp.as_numpy(each), horizon)
            assert abs(graph.root_value - exact) <= graph.certificate.bound
            assert abs(value[i] - exact) <= error[i]


def test_every_history_has_its_value_action_and_belief(double):
    random, horizon = reference_pomdp.random_pomdp(0), 3
    tree, graph = PLAN_TREE(random, horizon), exact_planning.plan(random, horizon)
    twin = reference_pomdp.as_numpy(random)
    for t in range(horizon):
        for history in itertools.product(range(2), repeat=2 * t + 1):
            observations, actions = list(history[: t + 1]), list(history[t + 1 :])
            weights = reference_pomdp.history_weights(twin, actions, observations)
            q = reference_pomdp.q_of_history(twin, actions, observations, horizon - t) / weights.sum()
            number = observations[0]
            for step in range(t):
                number = (number * 2 + actions[step]) * 2 + observations[step + 1]
            row = int(tree.start[t]) + number
            np.testing.assert_allclose(tree.q[row], q, atol=float(tree.certificate.bound), rtol=0)
            np.testing.assert_allclose(tree.graph.belief[0, row], weights / weights.sum(), rtol=1e-13)
            assert int(tree.policy[row]) == int(q.argmax())
            episode = as_episode(actions, observations)
            assert int(NODES(tree.graph, episode)[-1]) == row
            node = int(NODES(graph.graph, episode)[-1])
            np.testing.assert_allclose(graph.q[t][node], q, atol=float(graph.certificate.bound), rtol=0)
            np.testing.assert_allclose(graph.graph.belief[0, node], tree.graph.belief[0, row], rtol=1e-12)
            assert int(graph.policy[t, node]) == int(q.argmax())


@pytest.mark.parametrize("horizon", TIGER)
def test_tiger_has_its_known_values(double, horizon):
    """The digits given are exact to half a unit of the last."""
    solved = exact_planning.plan(families.pomdp.tiger(), horizon)
    assert abs(solved.root_value - TIGER[horizon]) <= 0.5e-10 + solved.certificate.bound
    if horizon <= 5:
        value, error = TREE_VALUE(families.pomdp.tiger(), horizon, jnp.asarray([0.5, 0.5]))
        assert abs(value - solved.root_value) <= error


def test_endless_tiger_closes_on_37_beliefs(double):
    """Discounted limit 19.371368; the fixed point also satisfies Bellman's equation to its residual."""
    solved = exact_planning.plan_endless(families.pomdp.tiger(), tolerance=1e-8)
    assert abs(solved.root_value - 19.371368) <= 0.5e-6 + 1e-8
    assert float(solved.certificate.bound) <= 1e-8
    assert solved.graph.belief.shape[1] == 37


def test_tiger_has_as_many_vectors_as_exact_pruning_finds(double):
    """Counts 3, 5, 9, 13, 25 at horizons 1, 2, 3, 5, 8 (incremental pruning), and the same values at any belief."""
    tiger = families.pomdp.tiger()
    sets = reference_pomdp.vector_sets(reference_pomdp.as_numpy(tiger), 8)
    assert [len(sets[h - 1]) for h in (1, 2, 3, 5, 8)] == [3, 5, 9, 13, 25]
    for left in (0.02, 0.3, 0.5, 0.77):
        start = tiger._replace(initial=jnp.asarray([left, 1 - left]))
        for horizon in (3, 8):
            solved = exact_planning.plan(start, horizon)
            exact = (sets[horizon - 1] @ np.asarray([left, 1 - left])).max()
            # The twin rounds its vectors to 1e-10, once a step.
            assert abs(solved.root_value - exact) <= solved.certificate.bound + horizon * 1e-10


def test_full_observation_gives_the_mdp(double):
    hidden = reference_pomdp.random_mdp(0, states=4, actions=3)
    solved = exact_planning.plan(pomdp.from_mdp(hidden, 1.0), 6)
    plan = backward_induction(hidden, 6)
    assert solved.graph.belief.shape[1] == 4
    for t in range(6):
        nodes = solved.graph.root
        bound = float(solved.certificate.bound + plan.certificate.bound)
        np.testing.assert_allclose(solved.q[t][nodes], plan.q[t], atol=bound, rtol=0)
        np.testing.assert_array_equal(solved.policy[t, nodes], plan.policy[t])


def test_no_observation_gives_the_best_plan_made_beforehand(double):
    hidden = reference_pomdp.random_mdp(0)
    blind = pomdp.from_mdp(hidden, 1 / 3)
    solved = exact_planning.plan(blind, 5)
    assert (
        abs(solved.root_value - reference_pomdp.blind_value(reference_pomdp.as_numpy(blind), 5))
        <= solved.certificate.bound
    )


def test_information_never_hurts(double):
    qualities = jnp.linspace(1 / 3, 1, 9)
    hidden = reference_pomdp.random_mdp(0, concentration=0.3)
    batch = jax.vmap(pomdp.from_mdp, in_axes=(None, 0))(hidden, qualities)
    value, error = jax.jit(jax.vmap(lambda each: history_tree.tree_value(each, 4)))(batch)
    assert bool(jnp.all(jnp.diff(value) >= -2 * error[1:]))
    assert value[-1] > value[0]


def test_uninformative_first_observation_changes_nothing(double):
    made = reference_pomdp.random_pomdp(0)
    made = made._replace(initial_observation=pomdp.uninformative(made.initial, 2))
    uniform = made._replace(initial_observation=jnp.full((3, 2), 0.5))
    alone, _ = TREE_VALUE(made, 3, made.initial)
    values = [exact_planning.plan(each, 3).root_value for each in (made, uniform)]
    np.testing.assert_allclose(values, alone, atol=1e-14, rtol=0)


def test_certificates_cover_float32():
    """The float32 answers are off by no more than they say, and they do not say much more than 1e-4 here."""
    with jax.enable_x64(True):
        exact_world = reference_pomdp.random_pomdp(0, states=4, observations=3)
        exact = exact_planning.plan(exact_world, 4).root_value
    single = jax.tree.map(lambda x: jnp.asarray(np.asarray(x), jnp.float32), exact_world)
    graph, (value, error) = exact_planning.plan(single, 4), TREE_VALUE(single, 4)
    assert abs(graph.root_value - exact) <= graph.certificate.bound
    assert abs(value - exact) <= error
    assert float(error) < 1e-3


def test_ties_are_reported_and_broken_by_the_lowest_action(double):
    """Where listening is too dear, either door is best, and nothing tells them apart."""
    tiger = families.pomdp.tiger(listen=-100.0)
    solved = exact_planning.plan(tiger, 2)
    np.testing.assert_array_equal(solved.ties[0][solved.graph.root[0]], [False, True, True])
    assert solved.policy[0, solved.graph.root[0]] == families.pomdp.OPEN_LEFT
    tree = PLAN_TREE(tiger, 2)
    np.testing.assert_array_equal(tree.ties[0], [False, True, True])


def test_policy_value_is_the_recursion_without_a_maximum(double):
    random = reference_pomdp.random_pomdp(0)
    solved = exact_planning.plan(random, 3)
    uniform = np.full((*solved.policy.shape, 2), 0.5)
    value = exact_planning.policy_value(random, solved, uniform)
    mean = solved.reachable.root_probability @ value[0][solved.graph.root]
    exact = reference_pomdp.value(reference_pomdp.as_numpy(random), 3, np.asarray([0.5, 0.5]))
    assert abs(mean - exact) <= solved.certificate.bound
    best = exact_planning.policy_value(random, solved, np.eye(2)[solved.policy])
    for found, value in zip(best, solved.value, strict=True):
        np.testing.assert_allclose(found, value, atol=float(solved.certificate.bound), rtol=0)
    with pytest.raises(ValueError, match="probabilities"):
        exact_planning.policy_value(random, solved, uniform[1:])


def test_too_much_memory_is_refused_before_it_is_taken():
    with pytest.raises(ValueError, match="layer 5 of the belief graph"):
        exact_planning.plan(reference_pomdp.random_pomdp(0), 9, memory=2e5)
    with pytest.raises(ValueError, match="memory"):
        exact_planning.plan_endless(reference_pomdp.random_pomdp(0), memory=2e5)
    with pytest.raises(ValueError, match="histories"):
        history_tree.plan_tree(reference_pomdp.random_pomdp(0), 30)


@pytest.mark.parametrize("plan", [exact_planning.plan, history_tree.plan_tree, history_tree.tree_value])
def test_planners_refuse_bad_input(plan):
    with pytest.raises(ValueError, match="horizon"):
        plan(reference_pomdp.random_pomdp(0), 0)
    with pytest.raises(ValueError, match="discount"):
        plan(reference_pomdp.random_pomdp(0)._replace(discount=jnp.asarray(2.0)), 2)
    with pytest.raises(ValueError, match="transition"):
        plan(jax.tree.map(lambda x: x[None], reference_pomdp.random_pomdp(0)), 2)


def test_endless_planner_refuses_bad_input():
    with pytest.raises(ValueError, match="discount"):
        exact_planning.plan_endless(families.pomdp.tiger(discount=1.0))
    with pytest.raises(ValueError, match="tolerance"):
        exact_planning.plan_endless(families.pomdp.tiger(), tolerance=0.0)


def test_merged_beliefs_are_close_and_equal_histories_are_one(double):
    """Hearing left then right is hearing nothing: Tiger has 2 t + 1 beliefs within t steps."""
    graph = belief_graph.reachable(families.pomdp.tiger(), 6)
    np.testing.assert_array_equal(graph.within, 2 * np.arange(7) + 1)
    assert graph.distance <= 4 * belief_graph.RESOLUTION
    assert not graph.closed


@pytest.mark.parametrize(("discount", "value"), [(0.95, 19.3713707), (0.9999, 10833.8155), (0.99999, 108229.6504)])
def test_endless_planning_of_float32_stops_at_the_rounding_of_float64(discount, value):
    """The values are those of the stored float32 numbers, found in float64; a linear solve confirms the digits."""
    tiger = families.pomdp.tiger()._replace(discount=jnp.float32(discount))
    plan = exact_planning.plan_endless(tiger)
    assert plan.root_value == pytest.approx(value, rel=1e-7)
    assert plan.certificate.iterations < 1000
    assert plan.certificate.bound > 1e-6 * value, "the rounding of the stored parameters is in the bound"


def test_endless_planning_gives_up_and_says_so(double):
    plan = exact_planning.plan_endless(families.pomdp.tiger(), max_iterations=3)
    assert plan.certificate.iterations == 3
    assert abs(plan.root_value - 19.3713683746) <= plan.certificate.bound


def test_rows_above_one_that_undo_the_discount_bound_nothing(double):
    tiger = families.pomdp.tiger()
    world = tiger._replace(transition=tiger.transition * (1 + 2e-7), discount=jnp.float64(1 - 1e-7))
    plan = exact_planning.plan_endless(world, max_iterations=50)
    assert np.isinf(plan.certificate.bound)


def test_values_that_grow_without_end_are_given_up_on_without_a_warning():
    """Outside x64, where neither the residual nor the bound fits float32."""
    world = pomdp.make(np.ones((1, 1, 1)), [[1.0]], np.ones((1, 1, 1)), discount=1 - 1e-7)
    plan = exact_planning.plan_endless(world._replace(transition=jnp.full((1, 1, 1), 1.000005, jnp.float32)))
    assert np.isinf(plan.certificate.bound)
    assert not np.isnan(plan.root_value)
    assert int(plan.certificate.iterations) < 1000


@pytest.mark.parametrize("resolution", [1e-20, float("nan"), 0, -1, 2])
def test_cells_that_floats_cannot_number_are_refused(resolution, double):
    tiger = families.pomdp.tiger()
    with pytest.raises(ValueError, match=r"resolution: .*; expected a number in"):
        exact_planning.plan(tiger, 5, resolution=resolution)
    with pytest.raises(ValueError, match=r"resolution: .*; expected a number in"):
        exact_planning.plan_endless(tiger, resolution=resolution)
    doubtful = families.apomdp.around(jax.random.key(0), tiger, models=2, radius=0.1, attitude=0.5)
    with pytest.raises(ValueError, match=r"resolution: .*; expected a number in"):
        history_graph.plan(doubtful, 3, resolution=resolution)


def test_tables_of_many_steps_count_as_memory(double):
    with pytest.raises(ValueError, match=r"memory: the tables of 3000 steps and \d+ beliefs need"):
        exact_planning.plan(families.pomdp.tiger(), 3000, memory=2**20)


def rare(chance: float) -> pomdp.POMDP:
    """Two states that never change, told apart by nothing; observation 1 is rare, and each action pays in one state."""
    seen = np.broadcast_to([1 - chance, chance], (2, 2, 2))
    still = np.broadcast_to(np.eye(2)[:, None], (2, 2, 2))
    return pomdp.make(still, [[1.0, 0.0], [0.0, 0.9]], seen, [0.6, 0.4], discount=1.0, dtype=jnp.float32)


def test_rare_histories_do_not_underflow():
    """Chance 1e-10 at every step, far below float32 in all: what is left is worth what the belief says, which stays."""
    steps = 6
    tree = PLAN_TREE(rare(1e-10), steps)
    for t in range(steps):
        node = int(NODES(tree.graph, as_episode([0] * t, [0] + [1] * t))[-1])
        assert abs(float(jnp.max(tree.q[node])) - 0.6 * (steps - t)) <= float(tree.value_error[node]) < 1e-3
    value, error = TREE_VALUE(rare(1e-10), steps)
    assert abs(float(value) - 0.6 * steps) <= float(error)


@pytest.mark.parametrize("planner", [exact_planning.plan, PLAN_TREE])
def test_a_penalty_elsewhere_blurs_no_decision(planner):
    """Action 2 costs 1e7; which of the others is better is clear to 1e-3, in float32."""
    still = np.broadcast_to(np.eye(2)[:, None], (2, 3, 2))
    world = pomdp.make(
        still,
        [[0.0, 1e-3, -1e7], [0.0, 1e-3, 0.0]],
        np.full((3, 2, 2), 0.5),
        [0.5, 0.5],
        discount=0.5,
        dtype=jnp.float32,
    )
    plan = planner(world, 3)
    node = int(plan.graph.root[0])
    policy, ties = (
        (plan.policy[0][node], plan.ties[0][node])
        if planner is exact_planning.plan
        else (
            plan.policy[node],
            plan.ties[node],
        )
    )
    assert policy == 1
    np.testing.assert_array_equal(ties, [False, True, False])
    endless = exact_planning.plan_endless(world)
    assert endless.policy[0, node] == 1
    np.testing.assert_array_equal(endless.ties[0][node], [False, True, False])


def test_actions_that_are_not_available_are_never_chosen(double):
    """The best action is not available in state 1, so only where state 1 is ruled out is it worth anything."""
    still = np.broadcast_to(np.eye(2)[:, None], (2, 2, 2))
    seen = np.broadcast_to(np.eye(2), (2, 2, 2))
    reward = np.asarray([[5.0, 1.0], [-np.inf, 1.0]])
    world = pomdp.make(still, reward, seen, [0.5, 0.5], discount=0.5)
    for plan in (exact_planning.plan(world, 3), exact_planning.plan_endless(world)):
        first = np.asarray(plan.q[0])[plan.graph.root[0]]
        np.testing.assert_array_equal(np.isneginf(first), [True, False])
        assert plan.policy[0, plan.graph.root[0]] == 1
        assert not plan.ties[0][plan.graph.root[0], 0]
    # The first action shows the state; with two steps to go, five in one of the two.
    value = 1 + 0.5 * (0.5 * 5 + 0.5 * 1)
    tree = PLAN_TREE(world, 2)
    for found in (exact_planning.plan(world, 2).root_value, tree.root_value, TREE_VALUE(world, 2)[0]):
        assert found == pytest.approx(value, rel=1e-12)
    blind = pomdp.make(still, [[1.0, -np.inf], [-np.inf, 1.0]], np.full((2, 2, 2), 0.5), [0.5, 0.5])
    for refused in (exact_planning.plan, history_tree.plan_tree, history_tree.tree_value):
        with pytest.raises(ValueError, match=r"^available: no action"):
            refused(blind, 1)


def test_merging_along_a_history_is_in_its_error(double):
    """Rows of histories of Tiger, with rare turns, lie within the node's error and `history_error` together."""
    tiger, steps = families.pomdp.tiger(), 40
    solved = exact_planning.plan(tiger, steps)
    assert solved.reachable.distance > 0
    extra = exact_planning.history_error(tiger, solved)
    sided = [0] * 20 + [1] * (steps - 21)
    node = NODES(solved.graph, as_episode([0] * (steps - 1), [0, *sided]))
    odds = np.cumsum([0] + [1 if o == 0 else -1 for o in sided]) * np.log(0.85 / 0.15)
    for t in (10, 20, 30, steps - 1):
        left = 1 / (1 + np.exp(-odds[t]))
        belief_there = np.asarray(solved.graph.belief[0, node[t]])
        # One step to go is linear in the belief; further ahead the value is as far off at most.
        far = np.abs(belief_there - [left, 1 - left]).sum()
        assert far * 100 <= extra[t][node[t]] + float(solved.certificate.bound)


def test_tree_value_knows_its_memory():
    with pytest.raises(ValueError, match=r"^memory: .* needed; expected at most"):
        history_tree.tree_value(reference_pomdp.random_pomdp(0), 30)
    with pytest.raises(ValueError, match=r"^belief: "):
        history_tree.tree_value(reference_pomdp.random_pomdp(0), 2, jnp.asarray([2.0, -1.0, 0.0]))
    wrong: tuple[Any, ...] = (1.5, "3", 2**31)
    for horizon in wrong:
        with pytest.raises(ValueError, match=r"^horizon: "):
            exact_planning.plan(families.pomdp.tiger(), horizon)
