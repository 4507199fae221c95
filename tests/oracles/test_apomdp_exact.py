"""Planning under ambiguity against a slow twin, the POMDP, and problems that can be solved by hand."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdm.envs import apomdp as apomdps
from jaxdm.envs import pomdp
from jaxdm.envs.apomdp import APOMDP
from jaxdm.envs.pomdp import POMDP
from jaxdm.oracles import history_backup
from jaxdm.oracles.apomdp import history_graph, history_tree, information_states
from jaxdm.oracles.graph_policy import GraphPolicy, graph_agent, nodes_along
from jaxdm.oracles.pomdp import history_tree as pomdp_tree
from jaxdm.types import Transition
from tests.envs.test_apomdp import tiger, tigers
from tests.references.apomdp import Ambiguous
from tests.references.histories import as_episode

STATES, ACTIONS, MODELS, HORIZON = 3, 2, 3, 3


def world(seed: int, attitude: float, states: int = STATES, models: int = MODELS) -> APOMDP:
    """Random models in which every observation is possible; as many observations as states."""
    random = np.random.default_rng(seed)
    reward, laws = random.normal(size=(states, ACTIONS)), lambda *shape: random.dirichlet(np.ones(states), shape)
    return apomdps.make(
        stacked(lambda: (laws(states, ACTIONS), reward, laws(ACTIONS, states), laws(), laws(states), 0.9), models),
        attitude,
    )


def sparse(seed: int, attitude: float, states: int = STATES, models: int = MODELS) -> APOMDP:
    """Models in which most things are impossible, each in its own way; as many observations as states."""
    random = np.random.default_rng(seed)

    def laws(*shape: int) -> np.ndarray:
        weight = random.random(shape) * (random.random(shape) < 0.5)
        weight[..., 0] += weight.sum(-1) == 0
        return weight / weight.sum(-1, keepdims=True)

    reward = random.normal(size=(states, ACTIONS))

    def draw():
        return (
            laws(states, ACTIONS, states),
            reward,
            laws(ACTIONS, states, states),
            laws(states),
            laws(states, states),
            0.5,
        )

    return apomdps.make(stacked(draw, models), attitude)


def stacked(draw: Callable[[], tuple], models: int) -> POMDP:
    return jax.tree.map(lambda *x: jnp.stack(x), *[pomdp.make(*draw()) for _ in range(models)])


solve = jax.jit(history_tree.plan, static_argnums=1)


def close(found, expected, bound):
    np.testing.assert_allclose(found, expected, rtol=0, atol=float(bound))


@pytest.mark.parametrize("attitude", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_value_equals_the_slow_twin(double, seed, attitude):
    instance = world(seed, attitude)
    plan = solve(instance, HORIZON)
    twin = Ambiguous(instance)
    assert plan.certificate.bound < 1e-11
    close(plan.root_value, twin.root(HORIZON), plan.certificate.bound)
    laws, node = twin.first(1), 1
    close(plan.q[plan.start[0] + node], twin.q(laws, HORIZON), plan.certificate.bound)
    for t, (action, observation) in enumerate([(1, 2), (0, 0)], 1):
        laws, node = twin.next(laws, action, observation), (node * ACTIONS + action) * STATES + observation
        close(plan.q[plan.start[t] + node], twin.q(laws, HORIZON - t), plan.certificate.bound)
        belief = np.stack(laws) / np.stack(laws).sum(-1, keepdims=True)
        np.testing.assert_allclose(plan.graph.belief[:, plan.start[t] + node], belief, rtol=1e-13)
    walked = nodes_along(plan.graph, as_episode([1, 0], [1, 2, 0]))
    assert walked[-1] == plan.start[2] + node


@pytest.mark.parametrize("seed", range(4))
def test_impossible_histories_drop_their_models(double, seed):
    instance = sparse(seed, 0.6)
    plan = solve(instance, HORIZON)
    close(plan.root_value, Ambiguous(instance).root(HORIZON), plan.certificate.bound)
    assert not plan.alive.all()
    assert np.isfinite(plan.q).all()


@pytest.mark.parametrize("attitude", [0.0, 0.4, 1.0])
def test_one_model_or_equal_models_are_the_pomdp(double, attitude):
    """Independent of the attitude: the twin with one model has nothing to weigh."""
    instance = world(2, 0.5)
    one = jax.tree.map(lambda x: x[:1], apomdps.members(instance))
    expected = Ambiguous(apomdps.make(one, 0.5)).root(HORIZON)
    for copies in (1, 3):
        same = apomdps.make(jax.tree.map(lambda x, copies=copies: jnp.repeat(x, copies, axis=0), one), attitude)
        plan = solve(same, HORIZON)
        close(plan.root_value, expected, plan.certificate.bound)


def test_a_gamble_by_hand(double):
    """Action 1 pays 1 in the state that model 0 makes certain and model 1 impossible; action 0 pays 0.4 for sure."""
    transition = jnp.broadcast_to(jnp.eye(2)[:, None], (2, 2, 2, 2))
    fields = {
        "transition": transition,
        "reward": jnp.array([[0.4, 1.0], [0.4, 0.0]]),
        "initial": jnp.eye(2),
        "discount": jnp.float64(1),
        "observation": jnp.zeros((2, 2, 2, 2)).at[..., 0].set(1),
        "initial_observation": jnp.zeros((2, 2, 2)).at[..., 0].set(1),
        "nature": jnp.full(2, 0.5),
    }
    for attitude, value, action in ((1.0, 0.4, 0), (0.0, 1.0, 1), (0.5, 0.5, 1), (0.7, 0.4, 0)):
        plan = solve(APOMDP(**fields, attitude=jnp.float64(attitude)), 3)
        close(plan.root_value, 3 * value, plan.certificate.bound)
        assert plan.policy[0] == action
    # What tells the models apart makes the gamble safe: seeing the state leaves one model alive.
    seen = APOMDP(**fields | {"observation": jnp.broadcast_to(jnp.eye(2), (2, 2, 2, 2))}, attitude=jnp.float64(1))
    seen = seen._replace(initial_observation=jnp.broadcast_to(jnp.eye(2), (2, 2, 2)))
    plan = solve(seen, 3)
    close(plan.value[:2], [3.0, 1.2], plan.certificate.bound)
    np.testing.assert_array_equal(plan.alive[:, :2], np.eye(2, dtype=bool))


def test_batches_and_single_precision_agree_with_one_at_a_time():
    batch = jax.tree.map(lambda *x: jnp.stack(x), *[world(seed, seed / 7) for seed in range(8)])
    plans = jax.jit(jax.vmap(lambda x: history_tree.plan(x, HORIZON)))(batch)
    assert plans.q.dtype == jnp.float32
    for i in range(8):
        instance = jax.tree.map(lambda x, i=i: x[i], batch)
        close(plans.root_value[i], Ambiguous(instance).root(HORIZON), plans.certificate.bound[i])


def test_memory_is_known_beforehand_and_suffices():
    instance = world(4, 0.5)
    compiled = solve.lower(instance, HORIZON).compile().memory_analysis()
    assert compiled is not None
    taken = compiled.temp_size_in_bytes + compiled.output_size_in_bytes
    needed = history_tree.tree_memory(instance, STATES, HORIZON)
    assert taken <= needed <= 4 * taken
    layers = history_tree.grow(instance, history_tree.first(instance)[0], HORIZON)
    assert layers[-1].probability.size == 0  # nor does it compute, uncompiled, what lies beyond the last step
    with pytest.raises(ValueError, match=r"^memory: .* MiB needed; expected at most .* \(shorten the horizon"):
        history_tree.plan(instance, 12)
    with pytest.raises(ValueError, match=r"^memory: "):
        history_tree.plan(instance, HORIZON, memory=needed - 1)


def test_bad_input_is_refused():
    instance = world(5, 0.5)
    with pytest.raises(ValueError, match=r"^horizon: 0; expected an integer, at least 1"):
        history_tree.plan(instance, 0)
    with pytest.raises(ValueError, match=r"^transition: shape \(2, 3, 3, 2, 3\); expected \[M, S, A, S\]"):
        history_tree.plan(jax.tree.map(lambda x: jnp.stack([x, x]), instance), 2)


def test_merging_histories_changes_nothing(double):
    for instance in (world(6, 0.3), sparse(5, 0.7)):
        tree, graph = solve(instance, HORIZON), history_graph.plan(instance, HORIZON)
        slack = float(tree.certificate.bound + graph.certificate.bound)
        assert slack < 1e-10
        close(graph.root_value, tree.root_value, slack)
        here, there = (nodes_along(plan.graph, as_episode([1, 0], [1, 0, 1])) for plan in (tree, graph))
        possible = np.asarray(tree.alive[:, here].any(axis=0))
        close(graph.q[there][possible], tree.q[here][possible], slack)
        np.testing.assert_array_equal(graph.policy[there][possible], tree.policy[here][possible])
        assert len(graph.q) <= len(tree.q)


def test_long_horizons_are_exact_where_beliefs_come_back(double):
    """One tiger is the POMDP (values of Cassandra's example, as in the tests of beliefs); two are worth less."""
    known = {3: 2.3098, 5: 2.7630961931, 10: 6.6933684318, 20: 11.8795687288}
    for horizon, value in known.items():
        plan = history_graph.plan(tigers(0.85, attitude=0.3), horizon)
        np.testing.assert_allclose(plan.root_value, value, atol=1e-10 + float(plan.certificate.bound))
    values = [history_graph.plan(tigers(0.85, 0.75, attitude=a), 12).root_value for a in (1.0, 0.5, 0.0)]
    assert values[0] < values[1] < values[2]
    assert values[0] <= history_graph.plan(tigers(0.75, attitude=0.5), 12).root_value + 1e-9


def test_the_agent_follows_the_plan(double):
    """Along a simulated episode, the actions are those of the rows that the history leads to."""
    built, simulator, agent = world(7, 0.8), apomdps.env(HORIZON), graph_agent()
    for make in (solve, history_graph.plan):
        plan = make(built, HORIZON)
        seen, state = simulator.reset(jax.random.key(2), built)
        params = GraphPolicy(graph=plan.graph, policy=plan.policy)
        memory, actions, observations = agent.init(jax.random.key(1), params), [], [seen]
        for key in jax.random.split(jax.random.key(3), 3):
            action, memory = agent.act(key, memory, seen, params)
            after, state, reward, ended, cut, _ = simulator.step(key, state, action, built)
            step = Transition(
                observation=seen, action=action, reward=reward, next_observation=after, terminated=ended, truncated=cut
            )
            memory, seen = agent.observe(memory, step, params), after
            actions.append(action)
            observations.append(after)
        rows = nodes_along(plan.graph, as_episode(jnp.stack(actions[:-1]), jnp.stack(observations[:-1])))
        np.testing.assert_array_equal(jnp.stack(actions), plan.policy[np.asarray(rows)])


def test_one_model_is_the_plan_of_its_pomdp(double):
    hidden = tiger()
    expected, found = jax.jit(pomdp_tree.plan_tree, static_argnums=1)(hidden, 3), solve(tigers(0.85, attitude=0.2), 3)
    slack = float(expected.certificate.bound + found.certificate.bound)
    close(found.root_value, expected.root_value, slack)
    # The two number the histories of a length differently; the values of each action are the same in some order.
    for begin, end in zip(found.start, [*found.start[1:], len(found.q)], strict=True):
        close(np.sort(found.q[begin:end], axis=0), np.sort(expected.q[begin:end], axis=0), slack)


def test_what_values_ahead_may_be_off_is_carried_back_beside_the_rounding(double):
    """`gamma sum_o Pr_m(o|h,a) e(h a o)` for every model: with e the same everywhere, `gamma e`."""
    here = world(0, 0.3)
    layer, _ = history_tree.layer(here, history_tree.first(here)[0])
    ahead = jnp.zeros(layer.probability.shape[1:])
    _, error = history_backup.model_backup(layer, ahead, jnp.full_like(ahead, 0.25), here.discount, 1e-15)
    np.testing.assert_allclose(error, 0.25 * float(here.discount), rtol=1e-12)


def test_a_graph_of_summaries_without_an_action_is_refused(double):
    """Each action is allowed in one of two states, which look alike."""
    stay = np.broadcast_to(np.eye(2)[:, None], (2, 2, 2))
    blind = np.ones((2, 2, 1))
    stuck = apomdps.of_one_model(pomdp.make(stay, np.ones((2, 2)), blind, available=np.eye(2, dtype=bool)))
    with pytest.raises(ValueError, match=r"^available: no action at node 0"):
        information_states.plan(stuck, history_graph.merged(stuck, 3), 3)
    fine = stuck._replace(initial=jnp.array([[1.0, 0.0]]))
    information_states.check_available(fine, history_graph.merged(fine, 3), 3)


def test_graphs_of_summaries_are_checked(double):
    apomdp = apomdps.of_one_model(tiger())
    graph = history_graph.merged(apomdp, 2)
    bad = {
        "root": [np.full(2, 99), np.zeros(3, int), [0.5, 0.5]],
        "child": [graph.child + 0.5, graph.child[:, :2], graph.child - 99],
        "belief": [2 * graph.belief, graph.belief * np.nan, graph.belief[0], -graph.belief],
        "support": [np.full(graph.belief.shape[1:], 2), np.zeros((1, 1), int)],
    }
    for field, values in bad.items():
        for value in values:
            with pytest.raises(ValueError, match=f"^{field}: "):
                information_states.plan(apomdp, graph._replace(**{field: value}), 2)


def test_numbers_of_histories_are_not_counted_beyond_memory():
    """Of a horizon of a million steps the count alone has 800,000 digits."""
    with pytest.raises(ValueError, match=r"^memory: "):
        history_tree.plan(apomdps.of_one_model(tiger()), 10**6)
    with pytest.raises(ValueError, match=r"^memory: "):
        pomdp_tree.tree_value(tiger(), 10**6)
    assert history_tree.histories(2, 6, 3) == 2 + 12 + 72
    assert history_tree.histories(3, 1, 10**9) == 3 * 10**9
