"""Supervised fine-tuning: labels, losses, the gap estimator against exact enumeration, disjoint tasks, bad input."""

import functools
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdm.envs import apomdp, families, mdp, pomdp
from jaxdm.learners import episodic
from jaxdm.models.transformer import TransformerConfig, network
from jaxdm.oracles import graph_policy
from jaxdm.oracles.apomdp import information_states
from jaxdm.oracles.mdp.evaluation import finite_policy_evaluation
from jaxdm.oracles.pomdp import exact
from jaxdm.rollout import epsilon_soft, rollouts
from jaxdm.sft import data, evaluation, experts, losses, offline, posterior, pretraining, tasks, worlds
from jaxdm.sft.data import Setting
from jaxdm.sft.tasks import Family
from jaxdm.tokens import Spaces
from tests.references import mdp as reference
from tests.references.apomdp import Ambiguous

HORIZON = 3


ROUGH = {"horizon": HORIZON, "visit_exploration": 0.5, "behaviour_scale": 3.0}


MDP = Setting(env=mdp.env(HORIZON), spaces=Spaces(observations=4, actions=4), member=lambda world, m: world, **ROUGH)


HIDDEN = MDP._replace(env=apomdp.env(HORIZON), spaces=Spaces(observations=18, actions=4))


DOUBTFUL = HIDDEN._replace(member=lambda world, m: world._replace(nature=jax.nn.one_hot(m, 2)))


SETTINGS = {"mdp": MDP, "pomdp": HIDDEN, "apomdp": DOUBTFUL}


NETS = {
    name: network(TransformerConfig(width=8, layers=1, heads=1), s.spaces.features, s.spaces.outputs)
    for name, s in SETTINGS.items()
}


SPACES = MDP.spaces


UNKNOWN: Any = "words"


def draw_mdp(key, identity, slip):
    return tasks.solve_mdp(families.mdp.dark_room(key, side=2, slip=slip), HORIZON)


def draw_pomdp(key, identity, slip):
    return tasks.solve_room(
        families.rooms.hidden_mode_room(key, side=3, slip=slip, cue_accuracy=0.7, mode_prior=0.6), HORIZON
    )


def draw_apomdp(key, identity, slip):
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
    return tasks.sample(jax.random.key(0), Family(draw=DRAWS[kind]), 0.1, 12)


def one(index: int, kind: str = "mdp") -> tasks.Task:
    return jax.tree.map(lambda x: x[index], pool(kind))


@cache
def item(kind: str) -> data.Prompt:
    make = data.expert_sequence if kind == "oracle" else data.behaviour_sequence
    return jax.jit(lambda key, task: data.as_prompt(make(key, MDP, task, 2), SPACES))(jax.random.key(1), one(0))


def slow_q(kind: str, world: Any, actions: np.ndarray, observations: np.ndarray) -> np.ndarray:
    """The oracle's values after a history by plain loops: backward induction, or the recursion over histories."""
    left = HORIZON - len(actions)
    if kind == "mdp":
        transition, reward = (np.asarray(x, np.float64) for x in (world.transition, world.reward))
        return reference.backward_induction(transition, reward, float(world.discount), left)[1][0, observations[-1]]
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
    make = jax.jit(lambda key, task: data.as_prompt(data.behaviour_sequence(key, MDP, task, 2), SPACES))
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
    np.testing.assert_allclose(best.loss.mean(axis=1), pool(kind).model_value - pool(kind).oracle_value, atol=1e-5)
    np.testing.assert_allclose(best.accuracy, 1)
    np.testing.assert_allclose(gap.of_random, 0, atol=1e-5)
    worst, _ = play(jax.random.key(6), pool(kind), 1.0)
    room = np.asarray(pool(kind).model_value - pool(kind).random_value).mean(axis=0)
    # 2400 episodes in each model, whose losses, the control's included, have a spread below the horizon
    np.testing.assert_allclose(worst.loss.mean(axis=(0, 1)), room, atol=5 * HORIZON / np.sqrt(12 * episodes))
    np.testing.assert_allclose(worst.visit_share.sum(axis=-1), 1, rtol=1e-6)


@pytest.mark.parametrize("reward", [0.0, 0.1, -0.3])
def test_the_gap_is_zero_where_all_actions_are_equal(reward):
    world = mdp.make(np.full((3, 2, 3), 1 / 3), np.full((3, 2), reward))
    task = jax.tree.map(lambda x: x[None], tasks.solve_mdp(world, HORIZON))
    for rounding in (0.0, 1e-8, -1e-8):
        assert tuple(evaluation.gap(jnp.full((1, 2, 1), rounding), task)) == (0, 0, 0)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_the_gap_weighs_the_worst_model_by_alpha_and_the_best_by_the_rest(alpha):
    """By hand: `J = alpha min_m V_m + (1 - alpha) max_m V_m` of the oracle, of what was met, and of random play."""
    task = jax.tree.map(lambda x: x[None], one(0))._replace(
        attitude=jnp.asarray([alpha]),
        model_value=jnp.asarray([[9.0, 8.0]]),
        oracle_value=jnp.asarray([[8.0, 5.0]]),
        random_value=jnp.asarray([[2.0, 1.0]]),
    )
    found = evaluation.gap(jnp.asarray([[[3.0, 4.0]] * 2]), task)  # values met: 6 and 4, in both halves
    best, met, worst = (alpha * low + (1 - alpha) * high for low, high in ((5, 8), (4, 6), (1, 2)))
    assert float(found.of_random[()]) == pytest.approx((best - met) / (best - worst))
    assert float(found.of_value[()]) == pytest.approx((best - met) / best)


def test_decision_pretraining_shows_behaviour_and_is_labelled_by_the_expert():
    task, other = one(0), one(0)._replace(expert=experts.adversarial(one(0)))
    make = jax.jit(lambda key, task: data.as_prompt(data.dpt_sequence(key, MDP, task, 2), SPACES))
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
        (data.expert_sequence, "actions"),
        (data.behaviour_sequence, "all"),
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
        (lambda: experts.myopic(0), "steps: 0; expected an integer, at least 1"),
        (
            lambda: tasks.sample(jax.random.key(0), Family(draw=draw_mdp), 0.1, 0),
            "count: 0; expected an integer, at least 1",
        ),
        (
            lambda: losses.batch_loss(NETS["mdp"], MDP, data.expert_sequence, supports=-1, batch=2, targets="actions"),
            "supports: -1",
        ),
        (
            lambda: losses.prediction_loss(jnp.zeros((9, SPACES.outputs)), item("oracle"), SPACES, UNKNOWN),
            "targets: 'words'; expected one of actions, all",
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


def test_uniform_play_scores_one_at_every_attitude_and_any_policy_what_it_is_worth():
    """The double estimator on few episodes: uniform play is worth the same in every model of a torus, so 1 in mean."""
    setting, play = SETTINGS["apomdp"], 120

    @functools.partial(jax.jit, static_argnums=4)
    def scores(keys, pool, exploration, attitude, episodes):
        judged = pool._replace(attitude=jnp.full_like(pool.attitude, attitude))

        def of_task(key, task):
            def inform(task, shown):
                return experts.as_graph_policy(task, task.expert, exploration)

            def show(key):
                return data.demonstrations(key, setting, task, 1)

            return evaluation.trial(
                key, setting, task, graph_policy.graph_agent(), inform, show=show, episodes=episodes
            )

        def of_run(key):
            trials = jax.vmap(of_task)(jax.random.split(key, 12), pool)
            return evaluation.gap(trials.loss, judged).of_random

        return jax.lax.map(of_run, keys)

    keys = jax.random.split(jax.random.key(8), play)
    for attitude in (0.0, 0.5, 1.0):
        found = np.asarray(scores(keys, pool("apomdp"), 1.0, attitude, 4), np.float64)
        assert abs(found.mean() - 1) <= 5 * found.std(ddof=1) / np.sqrt(play), attitude
    task = pool("apomdp")
    policy = jax.vmap(lambda t: tasks.play_probabilities(t.expert._replace(exploration=jnp.float32(0.3))))(task)
    value = np.asarray(jax.vmap(information_states.evaluate)(task.world, task.graph, policy))

    def exact(attitude):
        best, worst = (
            evaluation.criterion(task.oracle_value, attitude),
            evaluation.criterion(task.random_value, attitude),
        )
        return float(jnp.sum(best - evaluation.criterion(jnp.asarray(value), attitude)) / jnp.sum(best - worst))

    found = np.asarray(scores(keys[:12], task, 0.3, 1.0, 200), np.float64)
    error = found.std(ddof=1) / np.sqrt(
        12
    )  # of halves of 100 episodes, which seldom take the wrong model for the worst
    assert abs(found.mean() - exact(1.0)) <= 5 * error


def test_means_of_halves_are_what_the_double_estimator_says():
    """By hand: the half that chooses the model does not say what it is worth."""
    task = jax.tree.map(lambda x: x[:1], pool("apomdp"))._replace(
        model_value=jnp.zeros((1, 2)),
        oracle_value=jnp.asarray([[4.0, 4.0]]),
        random_value=jnp.zeros((1, 2)),
        attitude=jnp.asarray([1.0]),
    )
    loss = -jnp.asarray([[[1.0, 3.0], [2.5, 2.0]]])  # values by half: the first takes model 0, the second model 1
    assert float(evaluation.gap(loss, task).of_random) == pytest.approx((4 - (2.5 + 3.0) / 2) / 4)


def room_task(key, identity, slip):
    room = families.rooms.hidden_mode_room(key, side=3, slip=slip, cue_accuracy=0.7, mode_prior=0.6, identity=identity)
    return tasks.solve_room(room, HORIZON)._replace(identity=identity)


FAMILY = Family(draw=room_task, identities=216, tied=2)


def discrete(pool: tasks.Task) -> set[tuple]:
    """What a task shows of its goal and controls, whichever of its modes is called 0: read off the kernels."""
    found = set()
    for reward, transition in zip(np.asarray(pool.world.reward), np.asarray(pool.world.transition)[:, 0], strict=True):
        leads = tuple(int(x) // 4 for x in transition[0].argmax(axis=-1))
        turned = tuple(int(x) // 4 for x in transition[2].argmax(axis=-1))
        found.add((int(reward[:, 0].argmax()) // 4, *sorted([leads, turned])))
    return found


def test_held_out_identities_are_not_trained_on_and_without_the_split_they_would_be():
    known, new = tasks.split_identities(jax.random.key(0), FAMILY, 0.75)
    assert len(known) == 162
    assert sorted([*known, *new]) == list(range(216))
    pools = [tasks.sample(jax.random.key(n), FAMILY, 0.1, 120, ids) for n, ids in ((1, known), (2, new), (3, None))]
    trained, held_out, unsplit = (discrete(each) for each in pools)
    assert not trained & held_out
    assert set(np.asarray(pools[1].identity)) <= set(new)
    assert trained & unsplit


def test_an_identity_is_a_goal_and_an_order_of_controls():
    pool = tasks.solve_each(jax.random.key(0), FAMILY, 0.1, np.arange(216, dtype=np.int32))
    assert len(discrete(pool)) == 108
    goals = np.asarray(pool.world.reward)[:, :, 0].argmax(axis=-1) // 4
    np.testing.assert_array_equal(goals, np.arange(216) // 24)


@pytest.fixture(scope="module")
def stored():
    return offline.gather(jax.random.key(3), MDP, pool(), data.expert_sequence, 2, 5)


@pytest.mark.parametrize("ending", ["npz", "jsonl"])
def test_sequences_are_read_as_they_were_written(stored, tmp_path, ending):
    again = offline.read(offline.write(tmp_path / f"data.{ending}", stored), SPACES)
    for name, value in stored._asdict().items():
        np.testing.assert_allclose(getattr(again, name), value, rtol=1e-6, err_msg=name)


def test_episodes_of_a_file_may_differ_in_length_and_lack_labels(tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_text(
        '{"episodes": [{"observations": [0, 1], "actions": [2], "rewards": [0.5]}, {"observations": [3, 2, 1], '
        '"actions": [0, 1], "rewards": [0, 1], "labels": [[0.5, 0.5, 0, 0], 3]}]}\n'
        '{"episodes": [{"observations": [0, 1], "actions": [2], "rewards": [0.5], "labels": [null]}]}\n'
    )
    found = offline.read(path, SPACES)
    np.testing.assert_array_equal(found.mask, [[False, True, True], [False] * 3])
    np.testing.assert_array_equal(found.start[0], [True, True, False])
    np.testing.assert_array_equal(found.next_observation[0], [1, 2, 1])
    np.testing.assert_allclose(found.label[0, 1:], [[0.5, 0.5, 0, 0], [0, 0, 0, 1]])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: no sequence"),
        ('{"episodes": []}', "line 2: expected an object with"),
        ('{"episodes": [{"actions": [0], "rewards": [1]}]}', "line 2: episode: no 'observations'"),
        ('{"episodes": [{"observations": [0, 4], "actions": [0], "rewards": [1]}]}', "line 2: observations: 4"),
        ('{"episodes": [{"observations": [0], "actions": [0], "rewards": [1]}]}', "line 2: episode: 1 observations"),
        ('{"episodes": [{"observations": [0, 1], "actions": [0], "rewards": ["1"]}]}', "line 2: rewards: ..1"),
        ('{"episodes": [{"observations": [0, 1], "actions": [0], "rewards": [true]}]}', "line 2: rewards: .True"),
        ('{"episodes": [{"observations": [0, 1], "actions": [0], "rewards": [1e39]}]}', "line 2: rewards: 1e[+]39"),
        ('{"episodes": [{"observations": [0, 1], "actions": [0], "rewards": [NaN]}]}', "line 2: rewards: nan"),
        ("[[[[", "line 2: no sequence"),
        (
            '{"episodes": [{"observations": [0, 1], "actions": [0], "rewards": [1], "labels": [[1, 1, 0, 0]]}]}',
            "line 2: labels",
        ),
    ],
)
def test_a_malformed_line_is_refused_with_its_number(tmp_path, line, message):
    path = tmp_path / "data.jsonl"
    path.write_text('{"episodes": [{"observations": [0, 1], "actions": [2], "rewards": [0.5]}]}\n' + line + "\n")
    with pytest.raises(ValueError, match=message):
        offline.read(path, SPACES)


def test_only_a_newline_ends_a_line_and_only_utf_8_is_read(tmp_path):
    """A text of JSON may hold U+2028 and what else `str.splitlines` takes for an end."""
    line = '{"episodes": [{"observations": [0, 1], "actions": [2], "rewards": [0.5], "note": "a\u2028\u0085b"}]}'
    path = tmp_path / "data.jsonl"
    path.write_bytes(f"\ufeff{line}\r\n\n{line}".encode())
    assert offline.read(path, SPACES).action.shape == (2, 1)
    path.write_bytes(line.encode() + b"\n\xff")
    with pytest.raises(ValueError, match="line 2: byte 0xff"):
        offline.read(path, SPACES)


@pytest.mark.parametrize(
    ("field", "value"),
    [("reward", np.nan), ("reward", "a"), ("label", 2.0), ("mask", 1), ("start", 0), ("action", 0.5)],
)
def test_stored_arrays_of_other_types_or_values_are_refused(tmp_path, stored, field, value):
    path = tmp_path / "data.npz"
    with open(path, "wb") as file:
        spoilt = np.full(np.shape(getattr(stored, field)), value)
        np.savez(file, **{**stored._asdict(), field: spoilt})
    with pytest.raises(ValueError, match=f"^{field} in "):
        offline.read(path, SPACES)


def test_uniform_play_is_over_available_actions(double):
    """An action that would pay 100 where it is not allowed does not count."""
    closed = np.array([[True, True, False], [True, False, True]])
    hidden = mdp.make(np.full((2, 3, 2), 0.5), [[1.0, 2.0, 100.0], [3.0, 100.0, 4.0]], available=closed)
    solved = jax.jit(tasks.solve_tree, static_argnums=1)(apomdp.of_one_model(pomdp.from_mdp(hidden, 1.0)), 1)
    np.testing.assert_allclose(solved.random_value, (1 + 2 + 3 + 4) / 4, rtol=1e-12)


def test_only_the_first_sequences_are_trained_on(stored):
    """Whatever lies behind the count changes neither the loss nor its gradient."""
    loss = losses.stored_loss(NETS["mdp"], SPACES, batch=6, targets="actions")
    spoilt = jax.tree.map(
        lambda x: np.where(np.arange(5).reshape(-1, *[1] * (x.ndim - 1)) < 2, x, np.zeros((), x.dtype)), stored
    )
    params = NETS["mdp"].init(jax.random.key(0))
    value = jax.jit(loss)
    for sequences in (stored, spoilt):
        kept = float(value(params, jax.random.key(1), offline.store(sequences, 2)))
        assert kept == float(value(params, jax.random.key(1), offline.store(stored, 2)))
    assert float(value(params, jax.random.key(1), offline.store(spoilt))) != float(
        value(params, jax.random.key(1), offline.store(stored))
    )


def test_a_tree_says_what_the_merged_histories_say(double):
    """Tiger: values on the whole tree, of the oracle and of uniform play, beside those on merged histories."""
    tiger = families.pomdp.tiger()
    world = apomdp.make(jax.tree.map(lambda x: x[None], tiger), 1.0)
    tree = jax.jit(tasks.solve_tree, static_argnums=1)(world, 3)
    merged = tasks.solve_pomdp(tiger, 3)
    for name in ("model_value", "oracle_value", "random_value"):
        np.testing.assert_allclose(getattr(tree, name), getattr(merged, name), rtol=1e-5, err_msg=name)
    episodes = rollouts(
        jax.random.key(0),
        apomdp.env(3),
        world,
        graph_policy.graph_agent(),
        experts.as_graph_policy(tree, tree.expert),
        3,
        50,
    )
    node = jax.vmap(lambda e: graph_policy.nodes_along(tree.graph, e))(episodes)
    lost = jax.vmap(lambda n, e: tasks.loss_along(tree.q, world.discount, n, e))(node, episodes)
    assert float(jnp.max(jnp.abs(lost))) <= 1e-6


def test_neighbours_of_a_world_keep_its_zeros_and_its_mean(double):
    centre = worlds.prepared(families.pomdp.tiger())
    keys = jax.random.split(jax.random.key(0), 2000)
    drawn = jax.jit(jax.vmap(lambda key: worlds.perturbed(key, centre, 20.0)))(keys)
    np.testing.assert_allclose(np.asarray(drawn.observation).sum(axis=-1), 1, rtol=1e-12)
    assert np.all((np.asarray(drawn.transition) > 0) <= (np.asarray(centre.transition) > 0)[None])
    heard = np.asarray(drawn.observation)[:, 0, 0, 0, 0]
    assert abs(heard.mean() - 0.85) <= 5 * heard.std() / np.sqrt(2000)
    assert heard.var() == pytest.approx(0.85 * 0.15 / 21, rel=0.2)  # Dirichlet; five errors of a variance of 2000
    assert float(jnp.max(jnp.abs(centre.reward))) == 1


def test_a_tree_that_does_not_fit_is_refused_with_numbers():
    with pytest.raises(ValueError, match=r"horizon: 12 with A = 3, O = 2 makes .* histories, for each of 1000 tasks"):
        worlds.around(families.pomdp.tiger(), 12, 1000)


def test_the_posterior_is_bayes_rule_and_its_play_closes_the_gap():
    """Against plain loops over particles; and the more it is shown, the less it loses."""
    particles = jax.jit(jax.vmap(posterior.particle))(pool("pomdp"))
    task = one(3, "pomdp")
    shown = data.demonstrations(jax.random.key(4), HIDDEN, task, 3)
    found = jax.jit(posterior.learn)(posterior.before(particles), shown, jnp.int32(2)).log_weight
    expected = np.zeros(12)
    for i in range(12):
        world, expert = jax.tree.map(np.asarray, (one(i, "pomdp").world, one(i, "pomdp").expert))
        for k in range(2):
            node = np.asarray(graph_policy.nodes_along(one(i, "pomdp").graph, jax.tree.map(lambda x, k=k: x[k], shown)))
            first = int(shown.observation[k, 0])
            chance = world.initial[0] * world.initial_observation[0, :, first]
            for t in range(HORIZON):
                action, after = int(shown.action[k, t]), int(shown.next_observation[k, t])
                told = 0.95 * (expert.policy[t, node[t]] == action) + 0.05 / 4
                pays = np.isclose(world.reward[:, action], float(shown.reward[k, t]))
                next_chance = (chance * pays) @ world.transition[0, :, action] * world.observation[0, action, :, after]
                share = next_chance.sum() / chance.sum()
                expected[i] += np.log(max(share, posterior.RULED_OUT)) + np.log(told)
                moved = chance @ world.transition[0, :, action] * world.observation[0, action, :, after]
                chance = moved if moved.sum() > 0 else np.full_like(chance, np.nan)
                if np.isnan(chance).any():
                    break
            expected[i] += np.log(max((world.initial[0] * world.initial_observation[0, :, first]).sum(), 1e-6))
    possible = np.isfinite(expected) & (expected > expected[3] - 12)
    np.testing.assert_allclose(found[possible], expected[possible], rtol=1e-4)
    assert int(np.argmax(found)) == 3


def test_learners_improve_and_experts_of_pretraining_are_mixed():
    """A learner's later episodes earn more than its first, in worlds whose random play is far from optimal."""

    @jax.jit
    def earned(keys):
        def one(key):
            key_world, key_learner, key_play = jax.random.split(key, 3)
            world = families.mdp.deterministic(key_world, states=4, actions=4)
            learner = episodic.draw_learner(key_learner)
            return episodic.history(key_play, mdp.env(8), world, learner, SPACES, 8, 6).reward.sum(axis=-1)

        return jax.vmap(one)(keys)

    reward = np.asarray(earned(jax.random.split(jax.random.key(0), 200)))
    gain = reward[:, -1] - reward[:, 0]
    assert gain.mean() > 5 * gain.std() / np.sqrt(len(gain))


def test_pretraining_needs_no_labels():
    """Sequences of tasks whose values and labels are destroyed are the same."""
    make = jax.jit(lambda key, task: pretraining.task_sequence(key, MDP, task, 2))
    task = one(0)
    blank = task._replace(q=jnp.full_like(task.q, jnp.nan), optimal=~task.optimal)
    again, sequence = make(jax.random.key(1), blank), make(jax.random.key(1), task)
    assert jax.tree.all(jax.tree.map(lambda x, y: bool(jnp.all(x == y)), again, sequence))
    np.testing.assert_array_equal(np.asarray(sequence.label).argmax(-1), sequence.action)
    other = pretraining.any_sequence(jax.random.key(2), SPACES, HORIZON, 2)
    assert other.action.shape == (2 * HORIZON,)
    assert bool(jnp.all((other.observation >= 0) & (other.observation < 4)))
