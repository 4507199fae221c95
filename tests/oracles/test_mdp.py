"""Planning: textbook solutions, the slow twin, quantecon, and certificates that must cover the true error."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdm.envs import families, mdp
from jaxdm.oracles.mdp import bellman, planning
from jaxdm.oracles.mdp import evaluation as policies
from tests.references import mdp as reference

induction = jax.jit(planning.backward_induction, static_argnums=1)


iteration = jax.jit(planning.value_iteration)


howard = jax.jit(planning.policy_iteration)


evaluation = jax.jit(policies.policy_evaluation)


DISCOUNTED = {"value iteration": iteration, "policy iteration": howard}


evaluations = jax.jit(jax.vmap(policies.policy_evaluation))


inductions = jax.jit(jax.vmap(lambda m: planning.backward_induction(m, 20)))


iterations = jax.jit(jax.vmap(planning.value_iteration, in_axes=(0, None)))


howards = jax.jit(jax.vmap(planning.policy_iteration))


BATCHED = {"value iteration": lambda m: iterations(m, 1e-6), "policy iteration": howards}


S, A, COUNT = 6, 3, 100  # one shape for all random problems: each solver is compiled once per precision


def two_state_example(discount):
    """Puterman 1994, example 6.2.1: stay for 5, or leave for 10 to where every step costs 1."""
    transition = [[[0.5, 0.5], [0.0, 1.0]], [[0.0, 1.0], [0.0, 1.0]]]
    return mdp.make(transition, [[5.0, 10.0], [-1.0, -1.0]], discount=discount)


def forest():
    """Forest management of pymdptoolbox with its defaults: wait (0) or cut (1), fire with chance 0.1."""
    wait = [[0.1, 0.9, 0.0], [0.1, 0.0, 0.9], [0.1, 0.0, 0.9]]
    cut = [[1.0, 0.0, 0.0]] * 3
    return mdp.make(np.stack([wait, cut], axis=1), [[0.0, 0.0], [0.0, 1.0], [4.0, 2.0]], discount=0.9)


def random_batch(count, states, actions, discount, first=0):
    """Random MDPs in float64 numpy, stacked, as (transition, reward, initial, discount)."""
    drawn = [reference.random_mdp(seed, states, actions) for seed in range(first, first + count)]
    return (*(np.stack(parts) for parts in zip(*drawn, strict=True)), np.full(count, discount))


def as_mdp(arrays, dtype):
    return mdp.MDP(**{name: jnp.asarray(x, dtype) for name, x in zip(mdp.MDP._fields, arrays, strict=True)})


def random_problem(seed, discount):
    return mdp.make(*reference.random_mdp(seed, S, A), discount=discount)


def close(plan, value):
    return bool(np.all(np.abs(np.asarray(plan.value) - value) <= float(plan.certificate.bound)))


@pytest.mark.parametrize("solve", DISCOUNTED.values(), ids=DISCOUNTED)
@pytest.mark.parametrize("b", [0.5, 0.92, 0.95, 0.99])
def test_puterman_example_6_2_1(double, solve, b):
    plan = solve(two_state_example(b))
    end = -1 / (1 - b)
    stay, leave = (5 - 5.5 * b) / ((1 - 0.5 * b) * (1 - b)), 10 + b * end
    assert close(plan, [max(stay, leave), end])
    assert int(plan.policy[0]) == (0 if b > 10 / 11 else 1)
    assert plan.certificate.bound <= 1e-6


def test_an_exact_tie_is_reported_and_broken_by_the_lowest_index(double):
    plan = howard(two_state_example(10 / 11))  # staying and leaving are worth the same
    assert plan.ties.all()
    assert (plan.policy == 0).all()
    assert close(plan, [0.0, -11.0])


@pytest.mark.parametrize("solve", DISCOUNTED.values(), ids=DISCOUNTED)
def test_forest_management_of_pymdptoolbox(double, solve):
    plan = solve(forest())
    assert close(plan, [26.244, 29.484, 33.484])
    assert (plan.policy == 0).all()


def test_one_state_pays_a_geometric_series(double):
    single = mdp.make([[[1.0], [1.0]]], [[1.0, 3.0]], discount=0.75)
    assert close(howard(single), [12.0])
    plan = induction(single, 5)
    np.testing.assert_allclose(plan.value[:, 0], [12 * (1 - 0.75**n) for n in (5, 4, 3, 2, 1, 0)], rtol=1e-14)


def test_dark_room_is_worth_the_discounted_distance_to_the_goal(double):
    """A goal by a wall pays every step (walk into the wall), an inner one every second step."""
    side, discount = 4, 0.9
    draw = jax.jit(jax.vmap(lambda key: families.mdp.dark_room(key, side=side, discount=discount)))
    rooms = draw(jax.random.split(jax.random.key(0), 12))
    plans = howards(rooms)
    goals = np.argmax(np.asarray(rooms.reward)[:, :, 0], axis=1)
    cells = np.array(np.divmod(np.arange(side * side), side))
    for goal, value in zip(goals, np.asarray(plans.value), strict=True):
        place = cells[:, goal]
        by_wall = bool(np.any((place == 0) | (place == side - 1)))
        distance = np.abs(cells - place[:, None]).sum(axis=0)
        pay = 1 / (1 - discount) if by_wall else 1 / (1 - discount**2)
        np.testing.assert_allclose(value, discount**distance * pay, atol=float(plans.certificate.bound.max()))


@pytest.mark.parametrize(("states", "actions", "discount"), [(1, 2, 0.5), (6, 3, 0.9), (4, 2, 1.0)])
def test_backward_induction_is_the_slow_twin(double, states, actions, discount):
    for seed in range(5):
        transition, reward, initial = reference.random_mdp(seed, states, actions)
        terminal = np.arange(states) / 7
        plan = induction(mdp.make(transition, reward, initial, discount), 6, jnp.asarray(terminal))
        value, q = reference.backward_induction(transition, reward, discount, 6, terminal)
        rounding = float(plan.certificate.bound)
        np.testing.assert_allclose(plan.value, value, rtol=0, atol=rounding)
        np.testing.assert_allclose(plan.q, q, rtol=0, atol=rounding)
        assert rounding < 1e-12
        taken = np.take_along_axis(q, np.asarray(plan.policy)[..., None], axis=-1)[..., 0]
        assert np.all(taken >= value[:-1] - 2 * rounding)


@pytest.mark.parametrize("solve", DISCOUNTED.values(), ids=DISCOUNTED)
def test_discounted_solvers_are_the_slow_twins(double, solve):
    for seed in range(3):
        transition, reward, _ = reference.random_mdp(seed, S, A)
        plan = solve(random_problem(seed, 0.6))
        best = reference.best_stationary(transition, reward, 0.6)
        assert close(plan, best)
        slow = reference.value_iteration(transition, reward, 0.6, tolerance=1e-9)
        np.testing.assert_allclose(slow, best, rtol=0, atol=1e-9)


def test_all_solvers_agree_within_their_bounds(double):
    batch = as_mdp(random_batch(COUNT, S, A, 0.9), float)
    plans = {name: solve(batch) for name, solve in BATCHED.items()}
    plans["value iteration, loose"] = iterations(batch, 0.1)
    exact = plans["policy iteration"]
    for name, plan in plans.items():
        room = plan.certificate.bound + exact.certificate.bound
        assert jnp.all(jnp.abs(plan.value - exact.value) <= room[:, None]), name
        own = evaluations(batch, plan.policy)
        # A policy greedy for Q-values off by e loses at most 2 e / (1 - gamma) (Singh and Yee, 1994).
        loss = 2 * plan.certificate.bound / (1 - 0.9) + own.certificate.bound + exact.certificate.bound
        assert jnp.all(exact.value - own.value <= loss[:, None]), name
    # The first of H steps is worth what the endless problem is, but for what is paid later.
    finite = inductions(batch)
    late = 0.9**20 * jnp.max(jnp.abs(batch.reward), axis=(1, 2)) / 0.1
    room = late + exact.certificate.bound + finite.certificate.bound
    assert jnp.all(jnp.abs(finite.value[:, 0] - exact.value) <= room[:, None])


def test_quantecon_agrees_in_value_and_policy_on_300_random_mdps(double):
    markov = pytest.importorskip("quantecon.markov")
    for discount in (0.5, 0.9, 0.99):
        arrays = random_batch(COUNT, S, A, discount, first=1000)
        plans = howards(as_mdp(arrays, float))
        value, ties, policy = (np.asarray(x) for x in (plans.value, plans.ties, plans.policy))
        for i in range(COUNT):
            theirs = markov.DiscreteDP(arrays[1][i], arrays[0][i], discount).solve(method="policy_iteration")
            # Theirs carries rounding of its own, of the same kind: twice our bound.
            np.testing.assert_allclose(value[i], theirs.v, rtol=0, atol=2 * float(plans.certificate.bound[i]))
            assert ties[i, np.arange(S), theirs.sigma].all()
            unique = ties[i].sum(axis=-1) == 1
            np.testing.assert_array_equal(policy[i][unique], theirs.sigma[unique])


def test_a_near_tie_that_float32_gets_wrong_is_reported_as_a_tie():
    transition, reward = np.ones((1, 2, 1)), np.array([[1.0, 1.0 + 1e-9]])
    single = howard(mdp.make(transition, reward, discount=0.9))
    assert single.value.dtype == jnp.float32
    with jax.enable_x64(True):
        truth = howard(mdp.make(transition, reward, discount=0.9))
        assert truth.policy.tolist() == [1]
        assert truth.ties.tolist() == [[False, True]]
    assert single.policy.tolist() == [0]
    assert single.ties.tolist() == [[True, True]]


@pytest.mark.parametrize(
    ("states", "actions", "discount"), [(S, A, 0.5), (S, A, 0.9), (S, A, 0.99), (S, A, 0.999), (30, 4, 0.95)]
)
def test_float32_bounds_cover_the_unrounded_problem_and_are_not_absurd(states, actions, discount):
    arrays = random_batch(COUNT, states, actions, discount, first=50)
    rounded = as_mdp(arrays, jnp.float32)
    plans = {name: solve(rounded) for name, solve in BATCHED.items()}
    with jax.enable_x64(True):
        truth = howards(as_mdp(arrays, float))
        true_value, true_q, best = (np.asarray(x) for x in (truth.value, truth.q, truth.policy))
    scale = np.abs(arrays[1]).max(axis=(1, 2)) + np.abs(true_value).max(axis=1)
    for name, plan in plans.items():
        assert plan.value.dtype == jnp.float32
        bound = np.asarray(plan.certificate.bound, np.float64)
        error = np.abs(np.asarray(plan.q, np.float64) - true_q).max(axis=(1, 2))
        assert np.all(error <= bound), name
        assert np.all(np.abs(np.asarray(plan.value, np.float64) - true_value) <= bound[:, None]), name
        # What is lost to stopping is no more than what is lost to rounding, delta / (1 - gamma) each, or the tolerance.
        delta = (states + 8) * np.finfo(np.float32).eps * scale
        assert np.all(bound <= np.maximum(2 * delta / (1 - discount), 1e-6 + delta) * 1.01), name
        ties = np.asarray(plan.ties)
        assert np.take_along_axis(ties, best[..., None], axis=-1).all(), "the best action is always among the ties"


def test_float32_bounds_of_a_finite_horizon_cover_the_unrounded_problem():
    arrays = random_batch(COUNT, S, A, 1.0, first=50)
    plan = inductions(as_mdp(arrays, jnp.float32))
    with jax.enable_x64(True):
        truth = np.asarray(inductions(as_mdp(arrays, float)).value)
    error = np.abs(np.asarray(plan.value, np.float64) - truth).max(axis=(1, 2))
    assert np.all(error <= plan.certificate.bound)
    largest = np.abs(arrays[1]).max(axis=(1, 2)) + np.abs(truth).max(axis=(1, 2))
    assert np.all(plan.certificate.bound <= 20 * 1.01 * (S + 8) * np.finfo(np.float32).eps * largest)


def test_evaluation_bounds_cover_the_unrounded_problem():
    arrays = random_batch(COUNT, S, A, 0.95, first=500)
    laws = np.random.default_rng(0).dirichlet(np.ones(A), (COUNT, S))
    finite = jax.jit(jax.vmap(lambda m, law: policies.finite_policy_evaluation(m, law, 15)))
    found = [f(as_mdp(arrays, jnp.float32), jnp.asarray(laws, jnp.float32)) for f in (evaluations, finite)]
    with jax.enable_x64(True):
        truth = [np.asarray(f(as_mdp(arrays, float), jnp.asarray(laws)).value) for f in (evaluations, finite)]
    for single, value in zip(found, truth, strict=True):
        error = np.abs(np.asarray(single.value, np.float64) - value).reshape(COUNT, -1).max(axis=1)
        assert np.all(error <= single.certificate.bound)
        assert np.all(single.certificate.bound <= 1e-2)


def test_what_float32_cannot_reach_is_admitted():
    problem = random_problem(0, 0.99)
    plan = iteration(problem, tolerance=1e-9)
    assert plan.value.dtype == jnp.float32
    assert 1e-9 < plan.certificate.bound < 1
    assert plan.certificate.iterations < 100_000
    with jax.enable_x64(True):
        exact = iteration(random_problem(0, 0.99), tolerance=1e-9)
        assert exact.certificate.bound <= 1e-9
        assert np.all(np.abs(np.asarray(plan.value, np.float64) - exact.value) <= plan.certificate.bound)


@pytest.mark.parametrize("tolerance", [1.0, 1e-2, 1e-4, 1e-8])
def test_tolerance_is_a_guarantee_on_the_value(double, tolerance):
    problem = random_problem(3, 0.97)
    plan = iteration(problem, tolerance)
    error = jnp.max(jnp.abs(plan.value - howard(problem).value))
    assert error <= plan.certificate.bound <= tolerance


def test_giving_up_early_is_admitted(double):
    problem = random_problem(5, 0.97)  # what pays at once is wrong here
    truth = howard(problem)
    early = jax.jit(lambda m: planning.value_iteration(m, 1e-9, max_iterations=3))(problem)
    hasty = jax.jit(lambda m: planning.policy_iteration(m, max_iterations=1, sweeps=0))(problem)
    assert early.certificate.iterations == 3
    assert hasty.certificate.iterations == 1
    for plan in (early, hasty):
        assert plan.certificate.bound > 1e-6
        assert jnp.max(jnp.abs(plan.value - truth.value)) <= plan.certificate.bound


def test_a_batch_is_a_loop(double):
    batch = as_mdp(random_batch(COUNT, S, A, 0.9), float)
    single = DISCOUNTED | {"induction": lambda m: induction(m, 20)}
    many = BATCHED | {"induction": inductions}
    for name, one in single.items():
        together = many[name](batch)
        for i in range(5):
            alone = one(jax.tree.map(lambda x, i=i: x[i], batch))
            room = float(alone.certificate.bound + together.certificate.bound[i])
            np.testing.assert_allclose(together.value[i], alone.value, rtol=0, atol=room)
            np.testing.assert_array_equal(together.policy[i], alone.policy)


def test_stages_that_differ_are_the_slow_twin_and_equal_ones_the_stationary_problem(double):
    drawn = [reference.random_mdp(seed, 4, 3) for seed in range(5)]
    transition, reward, initial = (np.stack(parts) for parts in zip(*drawn, strict=True))
    stages = mdp.make(transition, reward, initial, np.full(5, 0.9))
    terminal = jnp.arange(4.0)
    plan = jax.jit(planning.backward_induction_staged)(stages, terminal)
    value, q = reference.backward_induction(transition, reward, 0.9, 5, np.asarray(terminal))
    np.testing.assert_allclose(plan.value, value, rtol=0, atol=float(plan.certificate.bound))
    np.testing.assert_allclose(plan.q, q, rtol=0, atol=float(plan.certificate.bound))
    one = mdp.make(*drawn[0], discount=0.9)
    same = jax.jit(planning.backward_induction_staged)(jax.tree.map(lambda x: jnp.stack([x] * 5), one))
    stationary = induction(one, 5)
    room = float(same.certificate.bound)
    np.testing.assert_allclose(same.value, stationary.value, rtol=0, atol=room)


def test_a_policy_is_worth_the_sum_over_its_paths(double):
    rng = np.random.default_rng(0)
    transition, reward, initial = reference.random_mdp(0, 3, 2)
    problem = mdp.make(transition, reward, initial, 0.9)
    laws = rng.dirichlet(np.ones(2), (4, 3))
    total, reach = reference.path_values(transition, reward, initial, 0.9, laws, 4)
    found = jax.jit(policies.finite_policy_evaluation, static_argnums=2)(problem, jnp.asarray(laws), 4)
    np.testing.assert_allclose(initial @ np.asarray(found.value[0]), total, atol=float(found.certificate.bound))
    places = jax.jit(policies.reach_probabilities, static_argnums=2)(problem, jnp.asarray(laws), 4)
    np.testing.assert_allclose(places, reach, rtol=0, atol=1e-14)
    # Rewards collected along the reach probabilities are the value.
    paid = np.einsum("h,hs,hsa,sa->", 0.9 ** np.arange(4), reach[:-1], laws, reward)
    np.testing.assert_allclose(paid, total, rtol=1e-13)


def test_the_optimal_policy_is_worth_the_optimal_value(double):
    problem = random_problem(7, 0.9)
    plan, finite = howard(problem), induction(problem, 6)
    own = evaluation(problem, plan.policy)
    assert jnp.max(jnp.abs(own.value - plan.value)) <= own.certificate.bound + plan.certificate.bound
    kept = jax.jit(policies.finite_policy_evaluation, static_argnums=2)(problem, finite.policy, 6)
    assert jnp.max(jnp.abs(kept.value - finite.value)) <= kept.certificate.bound + finite.certificate.bound
    one_hot = evaluation(problem, jax.nn.one_hot(plan.policy, 3, dtype=problem.reward.dtype))
    assert jnp.array_equal(one_hot.value, own.value)


def test_a_stationary_policy_is_used_at_every_step(double):
    problem = mdp.make(*reference.random_mdp(7, 4, 2), discount=0.9)
    law = jnp.full((4, 2), 0.5)
    one = policies.finite_policy_evaluation(problem, law, 3)
    three = policies.finite_policy_evaluation(problem, jnp.broadcast_to(law, (3, 4, 2)), 3)
    assert jnp.array_equal(one.value, three.value)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: planning.backward_induction(m, 0), "horizon: 0; expected an integer, at least 1"),
        (
            lambda m: planning.backward_induction(m, 2, jnp.zeros(3)),
            r"terminal: shape \(3,\); expected \[S\] with S = 2",
        ),
        (planning.backward_induction_staged, r"transition: shape .* expected \[H, S, A, S\]"),
        (lambda m: planning.value_iteration(m, tolerance=0.0), "tolerance: 0.0; expected a positive"),
        (lambda m: planning.value_iteration(m, tolerance=float("nan")), "tolerance: nan; expected a positive"),
        (lambda m: planning.value_iteration(m._replace(discount=jnp.float32(1))), "discount: 1.0; expected .* below 1"),
        (
            lambda m: planning.policy_iteration(m._replace(discount=jnp.float32(1))),
            "discount: 1.0; expected .* below 1",
        ),
        (lambda m: planning.policy_iteration(m._replace(reward=m.reward * jnp.nan)), "reward: nan at index"),
        (lambda m: policies.policy_evaluation(m, jnp.array([0, 2])), "policy: actions"),
        (lambda m: policies.policy_evaluation(m, jnp.array([0, 1, 1])), r"policy: shape \(3,\)"),
        (lambda m: policies.policy_evaluation(m, jnp.ones((2, 2))), "policy: 2 at index .* sum to 1"),
        (lambda m: policies.policy_evaluation(m, jnp.ones((2, 3))), r"policy: shape \(2, 3\)"),
        (lambda m: policies.finite_policy_evaluation(m, jnp.zeros((3, 2), int), 4), r"policy: shape \(3, 2\)"),
        (lambda m: policies.finite_policy_evaluation(m, jnp.zeros(2, int), 0), "horizon: 0"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(two_state_example(0.9))


def test_a_penalty_elsewhere_does_not_blur_a_decision():
    world = mdp.make(np.broadcast_to(np.eye(2)[:, None], (2, 2, 2)), [[0.0, 1.0], [0.0, -1e6]])
    plan = planning.backward_induction(world, 1)
    assert plan.policy.tolist() == [[1, 0]]
    assert plan.ties.tolist() == [[[False, True], [True, False]]]
    assert plan.value_error[0, 0] <= 2e-6
    assert plan.certificate.bound <= 2e-6, "the penalised action is never taken, so its rounding bounds nothing"


@pytest.mark.parametrize("solve", DISCOUNTED.values(), ids=DISCOUNTED)
@pytest.mark.parametrize("paid", [[0.0, -1e6], [-1e6, -1e6], [1e6, -1e6], [1e6, 1e6]])
@pytest.mark.parametrize("states", [2, 3])
def test_what_is_paid_elsewhere_for_ever_does_not_blur_a_decision(solve, paid, states):
    """In float32, also where the large payment cannot be avoided; the last states stay where they are."""
    reward = np.array([[0.0, 1.0]] * (states - 1) + [paid])
    world = mdp.make(np.broadcast_to(np.eye(states)[:, None], (states, 2, states)), reward, discount=0.99)
    plan = solve(world)
    assert plan.policy.tolist() == [1] * (states - 1) + [int(np.argmax(paid))]
    np.testing.assert_allclose(plan.value[:-1], 100.0, rtol=1e-3)
    # A state's own rounding, (S + 8) eps of what it is worth, for ever; here and in what is paid elsewhere.
    truth = np.array([100.0] * (states - 1) + [max(paid) / 0.01])
    assert np.all(np.abs(np.asarray(plan.value, float) - truth) <= np.asarray(plan.value_error))
    assert np.all(np.asarray(plan.value_error)[:-1] <= 0.1)


def inventory(capacity=10, price=4.0, order=2.0, fixed=1.0, holding=0.3, penalty=-1e5):
    """A newsvendor with stock 0..C and demand uniform on it; orders beyond the capacity pay a penalty."""
    sizes = capacity + 1
    transition, reward = np.zeros((sizes, sizes, sizes)), np.zeros((sizes, sizes))
    for stock in range(sizes):
        for ordered in range(sizes):
            level = stock + ordered
            if level > capacity:
                transition[stock, ordered, stock], reward[stock, ordered] = 1.0, penalty
                continue
            for demand in range(sizes):
                sold = min(level, demand)
                transition[stock, ordered, level - sold] += 1 / sizes
                reward[stock, ordered] += (price * sold - holding * (level - sold)) / sizes
            reward[stock, ordered] -= order * ordered + fixed * (ordered > 0)
    return transition, reward


def masked_problem(seed, penalty):
    """A random MDP in which a third of the actions is not available, as -inf or, for the twin, as a penalty."""
    transition, reward, initial = reference.random_mdp(seed, S, A)
    shut = np.random.default_rng(seed).random((S, A)) < 0.33
    shut[shut.all(axis=1), 0] = False
    return transition, np.where(shut, penalty, reward), initial, ~shut


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_unavailable_actions_are_never_taken(precision):
    """The same as a problem in which they cost more than can ever be won, without its rounding."""
    with jax.enable_x64(precision == "float64"):
        for seed in range(5):
            transition, reward, initial, open_ = masked_problem(seed, -np.inf)
            world = mdp.make(transition, reward, initial, 0.9)
            twin = masked_problem(seed, -1e4)[1]
            for horizon, plan in ((None, howard(world)), (None, iteration(world)), (20, induction(world, 20))):
                value, q = reference.extended(transition, twin, 0.9, horizon)
                at = ... if horizon is None else 0
                ours, error = np.asarray(plan.q[at], float), np.asarray(plan.error[at], float)
                assert np.all(ours[~open_] == -np.inf)
                assert np.all(error[~open_] == 0)
                assert np.all(np.abs(ours - q)[open_] <= error[open_])
                assert np.all(np.abs(np.asarray(plan.value[at], float) - value) <= np.asarray(plan.value_error[at]))
                assert np.all(open_[np.arange(S), plan.policy[at]])
                assert not np.any(np.asarray(plan.ties[at]) & ~open_)


def test_uniform_play_is_over_available_actions_and_others_are_refused(double):
    transition, reward, initial, _ = masked_problem(1, -np.inf)
    world = mdp.make(transition, reward, initial, 0.9)
    policy = mdp.uniform_play(world)
    paid = np.asarray(jnp.sum(jnp.where(policy > 0, policy * world.reward, 0), axis=1))
    kernel = np.einsum("sa,sat->st", policy, transition)
    np.testing.assert_allclose(evaluation(world, policy).value, np.linalg.solve(np.eye(S) - 0.9 * kernel, paid))
    finite = policies.finite_policy_evaluation(world, policy, 2)
    np.testing.assert_allclose(finite.value[0], paid + 0.9 * kernel @ paid)
    even = jnp.full((S, A), 1 / A)
    for refused in (
        lambda: policies.policy_evaluation(world, even),
        lambda: policies.finite_policy_evaluation(world, even, 2),
    ):
        with pytest.raises(ValueError, match=r"policy: .* at index .*; expected 0 where the action is not available"):
            refused()
    traced = evaluation(world, even)
    assert np.all(np.asarray(traced.value) == -np.inf)
    assert traced.certificate.bound == np.inf


def test_orders_that_do_not_fit_are_not_available(double):
    """The same values, to rounding, as with a penalty that no order is worth."""
    transition, reward = inventory()
    world = families.mdp.inventory(capacity=10, discount=0.9)
    fits = np.asarray(mdp.available(world))
    np.testing.assert_allclose(np.asarray(world.transition)[fits], transition[fits], atol=1e-15)
    np.testing.assert_array_equal(fits, reward > -1e4)
    np.testing.assert_allclose(np.asarray(world.reward)[fits], reward[fits], rtol=1e-12, atol=1e-12)
    assert close(howard(world), np.asarray(reference.extended(transition, reward, 0.9)[0], float))


@pytest.mark.parametrize("solve", DISCOUNTED.values(), ids=DISCOUNTED)
def test_infeasible_orders_do_not_spoil_an_inventory(solve):
    transition, reward = inventory()
    true_value, true_q = reference.extended(transition, reward, 0.9)
    plan = solve(mdp.make(transition, reward, discount=0.9))
    assert plan.value.dtype == jnp.float32
    assert np.all(np.abs(np.asarray(plan.value, float) - true_value) <= float(plan.certificate.bound))
    assert plan.certificate.bound <= 0.02
    chosen = np.take_along_axis(true_q, np.asarray(plan.policy)[:, None], axis=1)[:, 0]
    assert np.all(true_value - chosen <= 1e-3)


def mixed_problem(rng):
    """A random MDP with rewards of scales 1e-6 to 1e7, penalties, states without reward, near-ties and sure moves."""
    transition = rng.dirichlet(np.full(S, rng.choice([0.1, 1.0])), size=(S, A))
    sure = rng.random((S, A)) < 0.2
    transition[sure] = np.eye(S)[rng.integers(S, size=sure.sum())]
    transition /= transition.sum(axis=-1, keepdims=True)
    reward = rng.normal(size=(S, A)) * 10.0 ** rng.uniform(-6, 2)
    penalised = rng.random((S, A)) < 0.15
    reward[penalised] = -(10.0 ** rng.uniform(2, 7, size=penalised.sum()))
    reward[rng.random(S) < 0.2] = 0.0
    if rng.random() < 0.3:
        reward[:, 1] = reward[:, 0] * (1 + 1e-7 * rng.normal(size=S))
        transition[:, 1] = transition[:, 0]
    return transition, reward


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("discount", [0.5, 0.99, 1 - 1e-4, 1 - 1e-7])
def test_no_entry_leaves_its_bound_on_mixed_scales(precision, discount):
    rng = np.random.default_rng(int(1e8 * discount))
    problems = [mixed_problem(rng) for _ in range(COUNT)]
    with jax.enable_x64(precision == "float64"):
        worlds = [mdp.make(transition, reward, discount=discount) for transition, reward in problems]
        batch = jax.tree.map(lambda *rows: jnp.stack(rows), *worlds)
        solved = {None: howards(batch), 20: inductions(batch)}
    for horizon, plan in solved.items():
        for i, (transition, reward) in enumerate(problems):
            true_value, true_q = reference.extended(transition, reward, discount, horizon)
            at = (i,) if horizon is None else (i, 0)
            q, error, policy = (np.asarray(x[at], np.longdouble) for x in (plan.q, plan.error, plan.policy))
            assert np.all(np.abs(q - true_q) <= error)
            assert np.all(
                np.abs(np.asarray(plan.value[at], np.longdouble) - true_value) <= np.asarray(plan.value_error[at])
            )
            rows, taken, best = np.arange(S), policy.astype(int), true_q.argmax(axis=1)
            assert np.all(true_value - true_q[rows, taken] <= error[rows, taken] + error[rows, best])
            assert np.all(np.asarray(plan.ties[at])[rows, best]), "the best action is among the ties"
            assert not np.isnan(plan.certificate.bound[i])


@pytest.mark.parametrize("solve", DISCOUNTED.values(), ids=DISCOUNTED)
def test_rows_slightly_below_one_near_discount_one(double, solve):
    world = mdp.make(np.full((3, 1, 3), 1 / 3) * (1 - 2e-7), np.ones((3, 1)), discount=1 - 1e-7)
    plan = solve(world)
    truth = 1 / (1 - float(world.discount) * float(world.transition.sum(axis=-1).min()))
    assert np.all(np.abs(np.asarray(plan.value) - truth) <= plan.certificate.bound)
    assert plan.certificate.bound < 1


def test_what_vanishes_in_the_float_type_is_in_the_bound():
    plan = planning.backward_induction(mdp.make(np.ones((1, 1, 1)), [[1e-40]]), 3)
    assert abs(float(plan.value[0, 0]) - 3e-40) <= float(plan.certificate.bound) < 1e-35


@pytest.mark.parametrize(("reward", "discount"), [(3e38, 0.9), (1e36, 0.999)])
def test_rewards_whose_sum_would_overflow_are_refused(reward, discount):
    world = mdp.make(np.ones((1, 1, 1)), [[reward]], discount=discount)
    for solve in (planning.value_iteration, planning.policy_iteration):
        with pytest.raises(ValueError, match=r"reward: .* in modulus; expected at most .*float32"):
            solve(world)
    with pytest.raises(ValueError, match=r"reward: .* in modulus; expected at most .*float32"):
        planning.backward_induction(world, 1000)


@pytest.mark.parametrize("solve", DISCOUNTED.values(), ids=DISCOUNTED)
def test_overflow_in_a_trace_is_a_bound_and_a_residual_without_end(double, solve):
    """Where nothing can be refused; and no loop goes on for ever."""
    plan = solve(mdp.make(np.full((2, 1, 2), 0.5), [[1e308], [-1e300]], discount=0.999))
    assert plan.certificate.bound == np.inf
    assert not np.isnan(plan.certificate.residual)
    assert plan.certificate.iterations <= 100_000


def test_sums_of_rows_are_known_beyond_the_float_type():
    rows = np.random.default_rng(0).dirichlet(np.ones(37), (50, 3)).astype(np.float32)
    found = jax.jit(bellman.row_excess)(jnp.asarray(rows))
    # float64 sums of float32 numbers are exact to 37 of its units.
    np.testing.assert_allclose(found, rows.astype(float).sum(axis=-1) - 1, rtol=1e-6, atol=1e-13)


@pytest.mark.parametrize("branching", [None, 3])
def test_few_suboptimal_actions_are_ties_in_float32_near_discount_one(branching):
    """Values of 1e3 are known to 1 at best, but actions are told apart that differ by a thousandth of that.

    Also where rows have nothing in common, as with three successors of each.
    """
    arrays = random_batch(COUNT, S, A, 0.999, first=50)
    if branching is not None:
        kept = np.argsort(np.random.default_rng(0).random(arrays[0].shape), axis=-1) < branching
        arrays = (arrays[0] * kept / (arrays[0] * kept).sum(axis=-1, keepdims=True), *arrays[1:])
    rounded = as_mdp(arrays, jnp.float32)
    plans = [solve(rounded) for solve in BATCHED.values()]
    with jax.enable_x64(True):
        q = np.asarray(howards(as_mdp(arrays, float)).q)
    loss = q.max(axis=-1, keepdims=True) - q
    for plan in plans:
        ties = np.asarray(plan.ties)
        assert np.all(ties[loss == 0]), "the best action is among the ties"
        assert ties[loss > 0].mean() < 0.06
        chosen = np.take_along_axis(loss, np.asarray(plan.policy)[..., None], axis=-1)
        assert chosen.max() <= 1e-3


def test_what_values_ahead_may_be_off_is_carried_back(double):
    """`gamma P e`, beside which rounding is nothing."""
    world = families.mdp.garnet(jax.random.key(0), states=S, actions=A, branching=3, discount=0.9)
    behind = jnp.linspace(0.1, 1.0, S)
    found = bellman.errors(world, jnp.zeros(S), behind)
    np.testing.assert_allclose(found, world.discount * np.asarray(world.transition) @ np.asarray(behind), rtol=1e-12)
