"""Hidden-mode rooms: the simulator's chances, counting against Bayes' rule, planning on summaries against histories."""

import functools
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdm.envs import apomdp, families, pomdp
from jaxdm.oracles.apomdp import evaluation, history_tree, information_states
from jaxdm.oracles.graph_policy import HistoryGraph
from jaxdm.oracles.pomdp import belief, exact
from jaxdm.sft import tasks
from tests.references.apomdp import Ambiguous

SIDE, HORIZON = 3, 3


NUMBERS = {"slip": [0.1, 0.3], "cue_accuracy": [0.8, 0.6], "mode_prior": [0.5, 0.7]}


@functools.partial(jax.jit, static_argnums=1)
def make(key, side, attitude, slip, cue_accuracy, mode_prior, extent=None):
    return families.rooms.hidden_mode_room(
        key, side=side, slip=slip, cue_accuracy=cue_accuracy, mode_prior=mode_prior, attitude=attitude, extent=extent
    )


@cache
def room(models: int = 2) -> families.rooms.Room:
    with jax.enable_x64(True):
        numbers: dict[str, Any] = {name: values[:models] for name, values in NUMBERS.items()}
        return make(jax.random.key(3), 3, 0.7, **numbers)


@jax.jit
def replan(world, graph):
    return information_states.plan(world, graph, HORIZON)


@cache
def solved(models: int = 2) -> tuple[HistoryGraph, information_states.InformationPlan]:
    with jax.enable_x64(True):
        graph = jax.jit(lambda room: tasks.room_information(room, HORIZON))(room(models))
        return graph, replan(room(models).world, graph)


def test_moves_are_opposite_and_lead_to_four_cells():
    target = np.asarray(room().target)
    assert all(len(set(target[mode, x])) == 4 for mode in range(2) for x in range(SIDE**2))
    for x in range(SIDE**2):
        for a in range(4):
            assert target[1, target[0, x, a], a] == x


def test_rows_are_distributions_and_the_cue_tells_the_mode(double):
    apomdp.validate(room().world)
    start = np.asarray(room().world.initial[0]).reshape(SIDE**2, 2, 2).sum(axis=0)
    np.testing.assert_allclose(start, [[0.4, 0.1], [0.1, 0.4]], rtol=1e-12)
    assert float(jnp.sum(room().world.reward[:, 0])) == 4  # one goal, in both modes, under both cues


def test_a_sure_cue_and_a_single_mode_are_an_mdp(double):
    """With q = 1 and one mode, the value is that of the torus walked in full sight."""
    sure = make(jax.random.key(3), SIDE, 1.0, 0.1, 1.0, 1.0)
    graph = tasks.room_information(sure, HORIZON)
    plan = replan(sure.world, graph)
    value = np.zeros(SIDE**2)
    goal = np.asarray(sure.world.reward).reshape(SIDE**2, 4, 4)[:, 0, 0]
    reach = np.eye(SIDE**2)[np.asarray(sure.target[0])]
    moves = 0.9 * reach + 0.1 * reach.mean(axis=1, keepdims=True)
    for _ in range(HORIZON):
        value = (goal[:, None] + moves @ value).max(axis=1)
    found = np.asarray(plan.q[0, graph.root].max(axis=-1)).reshape(SIDE**2, 2)[:, 0]
    np.testing.assert_allclose(found, value, atol=float(plan.bound))
    assert float(plan.bound) < 1e-11


@pytest.mark.parametrize("models", [1, 2])
def test_planning_on_summaries_is_planning_on_histories(double, models):
    graph, plan = solved(models)
    slow = Ambiguous(room(models).world)
    for observation in (0, 7):
        beliefs = slow.first(observation)
        expected = slow.q(beliefs, HORIZON)
        np.testing.assert_allclose(plan.q[0, graph.root[observation]], expected, atol=float(plan.bound))
    on_tree = history_tree.plan(room(models).world, HORIZON)
    root_value = plan.q[0, graph.root].max(axis=-1)
    np.testing.assert_allclose(root_value, on_tree.value[: 2 * SIDE**2], atol=2 * float(plan.bound))


def test_values_by_model_are_those_of_each_pomdp(double):
    graph, plan = solved(2)
    for m in range(2):
        alone = families.rooms.member(room().world, m)
        mass = np.asarray(room().world.initial[m] @ room().world.initial_observation[m])
        found = float(mass @ np.asarray(plan.model_q[m, 0][graph.root].max(axis=-1)))
        assert found == pytest.approx(float(exact.plan(alone, HORIZON).root_value), abs=2 * float(plan.bound))


def test_a_policy_is_worth_what_enumeration_says(double):
    graph, plan = solved(2)
    policy = jax.nn.softmax(3 * jax.random.normal(jax.random.key(0), plan.q.shape))
    rows = history_tree.plan(room().world, HORIZON)
    places = [graph.root]
    for _ in range(HORIZON - 1):
        places.append(graph.child[places[-1]].reshape(-1))
    by_history = jnp.concatenate([policy[t, node] for t, node in enumerate(places)])
    assert by_history.shape[0] == rows.q.shape[0]
    evaluated = evaluation.evaluate(room().world, by_history, HORIZON)
    np.testing.assert_allclose(information_states.evaluate(room().world, graph, policy), evaluated.models, atol=1e-12)


def test_counting_is_bayes_rule(double):
    graph, _ = solved(2)
    assert graph.support is not None
    alone = families.rooms.member(room().world, 1)
    rng = np.random.default_rng(0)
    for _ in range(5):
        actions, observations, cell = rng.integers(0, 4, HORIZON - 1), [2 * int(rng.integers(9)) + 1], None
        for action in actions:  # any of the four neighbours is possible
            cell = int(room().target[0, observations[-1] // 2, (action + rng.integers(4)) % 4])
            observations.append(2 * cell + 1)
        path = belief.follow(alone, jnp.asarray(actions), jnp.asarray(observations))
        node = graph.root[observations[0]]
        for action, observation in zip(actions, observations[1:], strict=True):
            node = graph.child[node, action, observation]
        weight = np.zeros(4 * SIDE**2)
        weight[np.asarray(graph.support[node])] = np.asarray(graph.belief[1, node])
        np.testing.assert_allclose(weight, path.belief[-1], atol=1e-13)


def test_a_wrong_graph_is_no_certificate(double):
    """Summaries that merge unequal histories, or that weigh them wrongly, make the bound large."""
    graph, plan = solved(2)
    forgetful = graph._replace(child=jnp.broadcast_to(graph.root, graph.child.shape))
    skewed = graph._replace(belief=graph.belief**1.01 / jnp.sum(graph.belief**1.01, axis=-1, keepdims=True))
    for wrong in (forgetful, skewed):
        assert float(replan(room().world, wrong).bound) > 1e9 * float(plan.bound)


def test_smaller_rooms_fit_into_larger_ones(double):
    """A torus of side 3 inside labels of side 4 has the value of the torus of side 3, and so has a dark room."""
    inner = make(jax.random.key(1), 4, 1.0, 0.1, 0.8, 0.5, extent=3)
    apomdp.validate(inner.world)
    assert float(jnp.sum(inner.world.initial > 0)) == 9 * 4
    padded = families.mdp.dark_room(jax.random.key(1), side=4, extent=3, slip=0.1)
    assert float(jnp.sum(padded.initial > 0)) == 9
    reached = np.asarray(padded.transition)[np.asarray(padded.initial) > 0].sum(axis=(0, 1)) > 0
    np.testing.assert_array_equal(reached, np.asarray(padded.initial) > 0)


def test_the_simulator_follows_the_mode():
    """How often a control leads where mode 0 says, in the world of one model, within 5 standard errors."""
    with jax.enable_x64(True):
        alone = families.rooms.member(room().world, 0)
    alone = jax.tree.map(lambda x: jnp.asarray(np.asarray(x, np.float32)), alone)
    env = pomdp.env(1)

    @jax.jit
    def moved(key):
        key_start, key_step = jax.random.split(key)
        _, state = env.reset(key_start, alone)
        seen, *_ = env.step(key_step, state, jnp.int32(2), alone)
        mode = (state.state // 2) % 2
        return seen // 2 == room().target[mode, state.state // 4, 2]

    hits = np.asarray(jax.vmap(moved)(jax.random.split(jax.random.key(0), 20_000)))
    chance = 1 - 0.75 * 0.1
    assert abs(hits.mean() - chance) <= 5 * np.sqrt(chance * (1 - chance) / hits.size)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"side": 2}, "side: 2; expected an integer, at least 3"),
        ({"cue_accuracy": 0.4}, "cue_accuracy: 0.4.*; expected numbers in"),
        ({"slip": [0.1, 1.5]}, r"slip: 1.5 at index \(1,\); expected numbers in"),
        ({"mode_prior": -0.1}, "mode_prior: -0.1.*; expected numbers in"),
        ({"attitude": 2.0}, "attitude: 2.0; expected a number in"),
    ],
)
def test_bad_numbers_are_named(change, message):
    numbers: dict[str, Any] = {"side": 3, "slip": 0.1, "cue_accuracy": 0.8, "mode_prior": 0.5} | change
    with pytest.raises(ValueError, match=f"^{message}"):
        families.rooms.hidden_mode_room(jax.random.key(0), **numbers)


def test_no_horizon_is_refused():
    with pytest.raises(ValueError, match=r"^horizon: 0; expected an integer, at least 1"):
        information_states.plan(room().world, solved()[0], 0)
