"""Supervised fine-tuning: labels, losses, the gap estimator against exact enumeration, disjoint tasks, bad input."""

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdm.envs import apomdp, families, mdp, pomdp
from jaxdm.models.transformer import TransformerConfig, network
from jaxdm.oracles import graph_policy
from jaxdm.oracles.mdp.evaluation import finite_policy_evaluation
from jaxdm.oracles.pomdp import exact
from jaxdm.rollout import epsilon_soft, rollouts
from jaxdm.sft import data, evaluation, experts, losses, tasks
from jaxdm.sft.data import Setting
from jaxdm.tokens import Spaces
from tests.references import mdp as reference
from tests.references.apomdp import Ambiguous

HORIZON = 3


ROUGH = {"horizon": HORIZON, "visit_exploration": 0.5, "behaviour_scale": 3.0}


MDP = Setting(env=mdp.env(HORIZON), spaces=Spaces(observations=4, actions=4), member=lambda world, m: world, **ROUGH)


HIDDEN = MDP._replace(env=pomdp.env(HORIZON), spaces=Spaces(observations=18, actions=4))


DOUBTFUL = HIDDEN._replace(env=apomdp.env(HORIZON), member=lambda world, m: world._replace(nature=jax.nn.one_hot(m, 2)))


SETTINGS = {"mdp": MDP, "pomdp": HIDDEN, "apomdp": DOUBTFUL}


NETS = {
    name: network(TransformerConfig(width=8, layers=1, heads=1), s.spaces.features, s.spaces.outputs)
    for name, s in SETTINGS.items()
}


SPACES = MDP.spaces


UNKNOWN: Any = "words"


def draw_mdp(key, slip):
    return tasks.solve_mdp(families.mdp.dark_room(key, side=2, slip=slip), HORIZON)


def draw_pomdp(key, slip):
    return tasks.solve_room(
        families.rooms.hidden_mode_room(key, side=3, slip=slip, cue_accuracy=0.7, mode_prior=0.6), HORIZON
    )


def draw_apomdp(key, slip):
    slips, cue_accuracy = jnp.stack([slip, 0.4]), jnp.asarray([0.8, 0.6])
    return tasks.solve_room(
        families.rooms.hidden_mode_room(
            key, side=3, slip=slips, cue_accuracy=cue_accuracy, mode_prior=0.6, attitude=0.7
        ),
        HORIZON,
    )


DRAWS = {"mdp": draw_mdp, "pomdp": draw_pomdp, "apomdp": draw_apomdp}


@cache
def pool(kind: str = "mdp") -> tasks.Task:
    return tasks.sample(jax.random.key(0), DRAWS[kind], 0.1, 12)


def one(index: int, kind: str = "mdp") -> tasks.Task:
    return jax.tree.map(lambda x: x[index], pool(kind))


@cache
def item(kind: str) -> data.Prompt:
    make = data.expert_prompt if kind == "oracle" else data.behaviour_prompt
    return jax.jit(lambda key, task: make(key, MDP, task, 2))(jax.random.key(1), one(0))


def slow_q(kind: str, world: Any, actions: np.ndarray, observations: np.ndarray) -> np.ndarray:
    """The oracle's values after a history by plain loops: backward induction, or the recursion over histories."""
    left = HORIZON - len(actions)
    if kind == "mdp":
        transition, reward = (np.asarray(x, np.float64) for x in (world.transition, world.reward))
        return reference.backward_induction(transition, reward, float(world.discount), left)[1][0, observations[-1]]
    if kind == "pomdp":
        many = jax.tree.map(lambda x: x[None], world)
        world = apomdp.make(many, 1.0)
    slow = Ambiguous(world)
    beliefs = slow.first(int(observations[0]))
    for action, observation in zip(actions, observations[1:], strict=True):
        beliefs = slow.next(beliefs, int(action), int(observation))
    return np.asarray(slow.q(beliefs, left))


@pytest.mark.parametrize("kind", SETTINGS)
def test_labels_equal_a_slow_oracle_on_a_whole_batch(kind):
    """The labels of the batch of a training step, one by one, against an oracle that shares no code with ours."""
    setting, count = SETTINGS[kind], 4

    @jax.jit
    def batch(key, pool):
        def one(key, task):
            episode = jax.tree.map(lambda x: x[0], data.query_episode(key, setting, task))
            return episode, data.label(task, episode)

        return jax.vmap(one)(jax.random.split(key, 12), pool)

    episodes, labels = batch(jax.random.key(2), pool(kind))
    for n in range(count if kind != "mdp" else 12):
        world = one(n, kind).world
        for t in range(HORIZON):
            q = slow_q(kind, world, np.asarray(episodes.action[n, :t]), np.asarray(episodes.observation[n, : t + 1]))
            best = q >= q.max() - 1e-5  # the world went through float32; gaps between actions are far larger
            np.testing.assert_allclose(labels[n, t], best / best.sum(), rtol=1e-6)


def test_experts_play_and_label_as_they_say():
    task = one(0, "pomdp")
    soft = experts.soft_oracle(0.4)(task)
    np.testing.assert_allclose(
        tasks.play_probabilities(soft), 0.6 * tasks.play_probabilities(experts.oracle(task)) + 0.1, rtol=1e-6
    )
    even = np.asarray(task.optimal) / np.asarray(task.optimal).sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(tasks.label_probabilities(soft), 0.6 * even + 0.1, rtol=1e-6)
    optimal = np.asarray(task.optimal)
    np.testing.assert_array_equal(experts.myopic(2)(task).good, optimal[[1, 1, 2]])
    np.testing.assert_array_equal(experts.myopic(HORIZON)(task).good, optimal)
    np.testing.assert_array_equal(experts.adversarial(task).policy, np.asarray(task.q).argmin(axis=-1))
    other = task._replace(expert=experts.myopic(1)(task))
    assert other.optimal is task.optimal
    np.testing.assert_array_equal(other.expert.good, optimal[[2, 2, 2]])


def test_loss_with_one_hot_labels_is_cross_entropy():
    prompt = item("behaviour")
    outputs = jax.random.normal(jax.random.key(3), (prompt.reward.shape[0], SPACES.outputs))
    logits = np.asarray(outputs[:, : SPACES.actions], np.float64)
    picked = np.asarray(prompt.action)
    expected = np.mean([np.log(np.exp(row).sum()) - row[a] for row, a in zip(logits, picked, strict=True)])
    assert float(losses.prediction_loss(outputs, prompt, SPACES)) == pytest.approx(expected, rel=1e-5)


def test_full_loss_adds_the_next_observation_and_the_reward():
    prompt = item("behaviour")
    outputs = np.asarray(jax.random.normal(jax.random.key(3), (prompt.reward.shape[0], SPACES.outputs)))
    short = float(losses.prediction_loss(jnp.asarray(outputs), prompt, SPACES))
    full = float(losses.prediction_loss(jnp.asarray(outputs), prompt, SPACES, "all"))
    extra = []
    for n, action in enumerate(np.asarray(prompt.action)):
        start = SPACES.actions + action * SPACES.observations
        logits = outputs[n, start : start + SPACES.observations].astype(np.float64)
        predicted = outputs[n, SPACES.actions * (SPACES.observations + 1) + action]
        surprise = np.log(np.exp(logits).sum()) - logits[int(prompt.next_observation[n])]
        extra.append(surprise + (predicted - float(prompt.reward[n])) ** 2)
    assert full - short == pytest.approx(np.mean(extra), rel=1e-4)


def test_behaviour_is_one_policy_and_uses_no_oracle():
    """Pretraining items do not change when the oracle's tables are destroyed."""
    task = one(0)
    blank = {"q": jnp.full_like(task.q, jnp.nan), "expert": jax.tree.map(jnp.zeros_like, task.expert)}
    make = jax.jit(lambda key, task: data.behaviour_prompt(key, MDP, task, 2))
    again = make(jax.random.key(1), task._replace(**blank))
    assert jax.tree.all(jax.tree.map(lambda x, y: bool(jnp.all(x == y)), again, item("behaviour")))


def exact_loss(task: tasks.Task, policy: np.ndarray) -> float:
    """`V* - V^pi` by summing over every trajectory of states and actions."""
    world = jax.tree.map(lambda x: np.asarray(x, np.float64), task.world)
    value, _ = reference.path_values(world.transition, world.reward, world.initial, 1.0, policy, HORIZON)
    return float(task.model_value[0]) - value


def test_the_gap_estimator_is_exact_in_mean_and_beats_returns():
    task = one(3)
    policy = epsilon_soft(task.expert.policy, SPACES.actions, 0.4)

    @jax.jit
    def sample(key):
        expert = experts.as_graph_policy(task, task.expert, 0.4)
        episodes = rollouts(key, MDP.env, task.world, graph_policy.graph_agent(), expert, HORIZON, 20_000)
        returns = jnp.sum(episodes.reward, axis=-1)

        def loss(episode):
            node = graph_policy.nodes_along(task.graph, episode)
            return tasks.loss_along(task.q, task.world.discount, node, episode)

        return jax.vmap(loss)(episodes), task.model_value[0] - returns

    losses, returns = (np.asarray(x, np.float64) for x in sample(jax.random.key(5)))
    truth = exact_loss(task, np.asarray(policy, np.float64))
    assert abs(losses.mean() - truth) <= 5 * losses.std() / np.sqrt(losses.size)
    assert abs(returns.mean() - truth) <= 5 * returns.std() / np.sqrt(returns.size)
    assert losses.std() < returns.std()
    planned = finite_policy_evaluation(task.world, policy, HORIZON).value[0] @ task.world.initial
    assert float(task.model_value[0] - planned) == pytest.approx(truth, abs=1e-5)


@pytest.mark.parametrize("kind", SETTINGS)
def test_oracle_and_random_play_are_the_ends_of_the_scale(kind):
    """In every model: the oracle loses nothing beyond what it must, uniform play all that there is to lose."""
    setting, episodes = SETTINGS[kind], 200

    @jax.jit
    def play(key, pool, exploration):
        def inform(task, shown):
            return experts.as_graph_policy(task, task.expert, exploration)

        def one(key, task):
            def show(key):
                return data.demonstrations(key, setting, task, 1)

            return evaluation.trial(
                key, setting, task, graph_policy.graph_agent(), inform, show=show, episodes=episodes
            )

        trials = jax.vmap(one)(jax.random.split(key, 12), pool)
        return trials, evaluation.gap(trials.loss, pool)

    best, gap = play(jax.random.key(6), pool(kind), 0.0)
    np.testing.assert_allclose(best.loss, pool(kind).model_value - pool(kind).oracle_value, atol=1e-5)
    np.testing.assert_allclose(best.accuracy, 1)
    np.testing.assert_allclose(gap.of_random, 0, atol=1e-5)
    worst, _ = play(jax.random.key(6), pool(kind), 1.0)
    room = np.asarray(pool(kind).model_value - pool(kind).random_value).mean(axis=0)
    # 2400 episodes in each model, whose losses, the control's included, have a spread below the horizon
    np.testing.assert_allclose(worst.loss.mean(axis=0), room, atol=5 * HORIZON / np.sqrt(12 * episodes))
    np.testing.assert_allclose(worst.visit_share.sum(axis=-1), 1, rtol=1e-6)


@pytest.mark.parametrize("reward", [0.0, 0.1, -0.3])
def test_the_gap_is_zero_where_all_actions_are_equal(reward):
    world = mdp.make(np.full((3, 2, 3), 1 / 3), np.full((3, 2), reward))
    task = jax.tree.map(lambda x: x[None], tasks.solve_mdp(world, HORIZON))
    for rounding in (0.0, 1e-8, -1e-8):
        assert tuple(evaluation.gap(jnp.full((1, 1), rounding), task)) == (0, 0)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_the_gap_weighs_the_worst_model_by_alpha_and_the_best_by_the_rest(alpha):
    """By hand: `J = alpha min_m V_m + (1 - alpha) max_m V_m` of the oracle, of what was met, and of random play."""
    task = jax.tree.map(lambda x: x[None], one(0))._replace(
        attitude=jnp.asarray([alpha]),
        model_value=jnp.asarray([[9.0, 8.0]]),
        oracle_value=jnp.asarray([[8.0, 5.0]]),
        random_value=jnp.asarray([[2.0, 1.0]]),
    )
    found = evaluation.gap(jnp.asarray([[3.0, 4.0]]), task)  # values met: 6 and 4
    best, met, worst = (alpha * low + (1 - alpha) * high for low, high in ((5, 8), (4, 6), (1, 2)))
    assert float(found.of_random[()]) == pytest.approx((best - met) / (best - worst))
    assert float(found.of_value[()]) == pytest.approx((best - met) / best)


def test_decision_pretraining_shows_behaviour_and_is_labelled_by_the_expert():
    task, other = one(0), one(0)._replace(expert=experts.adversarial(one(0)))
    make = jax.jit(lambda key, task: data.dpt_prompt(key, MDP, task, 2))
    item, asked = make(jax.random.key(1), task), make(jax.random.key(1), other)
    np.testing.assert_array_equal(
        item.tokens[: 2 * HORIZON], asked.tokens[: 2 * HORIZON]
    )  # what is shown does not depend on the expert
    time = np.tile(np.arange(HORIZON), 3)
    seen = np.asarray(item.tokens[:, : SPACES.observations]).argmax(-1)
    np.testing.assert_allclose(item.label, np.asarray(tasks.label_probabilities(task.expert))[time, seen], rtol=1e-6)


@pytest.mark.parametrize("kind", SETTINGS)
def test_one_gradient_step_uses_every_parameter(kind):
    stages: tuple[tuple[Any, Any], ...] = (
        (data.expert_prompt, "actions"),
        (data.behaviour_prompt, "all"),
    )
    for make, targets in stages if kind == "mdp" else stages[:1]:
        loss = losses.batch_loss(NETS[kind], SETTINGS[kind], make, supports=1, batch=3, targets=targets)
        gradient = jax.jit(jax.grad(loss))(NETS[kind].init(jax.random.key(0)), jax.random.key(1), pool(kind))
        assert all(bool(jnp.any(leaf != 0)) for leaf in jax.tree.leaves(gradient))
        assert all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(gradient))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: experts.soft_oracle(1.5), "exploration: 1.5; expected"),
        (lambda: experts.myopic(0), "steps: 0; expected at least 1"),
        (lambda: tasks.sample(jax.random.key(0), draw_mdp, 0.1, 0), "count: 0; expected at least 1"),
        (
            lambda: losses.batch_loss(NETS["mdp"], MDP, data.expert_prompt, supports=-1, batch=2, targets="actions"),
            "supports: -1",
        ),
        (
            lambda: losses.prediction_loss(jnp.zeros((9, SPACES.outputs)), item("oracle"), SPACES, UNKNOWN),
            "targets: 'words'; expected 'actions' or 'all'",
        ),
    ],
)
def test_bad_input_names_field_value_and_expectation(call, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        call()


def test_any_pomdp_is_a_task(double):
    """Tiger on its merged histories: the planner's value on beliefs, which the task's oracle earns by the identity."""
    tiger = families.pomdp.tiger()
    task, plan = tasks.solve_pomdp(tiger, 5), exact.plan(tiger, 5)
    eps = float(np.finfo(np.float32).eps)
    assert float(task.bound) < 1e-6
    slack = float(task.bound + plan.certificate.bound) + 8 * eps * abs(plan.root_value)
    for value in (task.model_value[0], task.oracle_value[0]):
        assert abs(float(value) - plan.root_value) <= slack
    policy = experts.as_graph_policy(task, task.expert)
    episodes = rollouts(jax.random.key(0), pomdp.env(5), task.world, graph_policy.graph_agent(), policy, 5, 50)
    node = jax.vmap(lambda e: graph_policy.nodes_along(task.graph, e))(episodes)
    lost = jax.vmap(lambda n, e: tasks.loss_along(task.q, task.world.discount, n, e))(node, episodes)
    assert float(jnp.max(lost)) <= 2 * 5 * slack
