"""The fine-tuning pipeline: labels, losses, the gap estimator against exact enumeration, disjoint tasks, bad input."""

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference

from jaxdm import evaluation, finetuning, objectives, prompts, tasks
from jaxdm.envs import families
from jaxdm.episodes import as_law, markov
from jaxdm.models.transformer import Transformer, network
from jaxdm.oracles.policies import finite_policy_evaluation
from jaxdm.prompts import Spaces

SPACES, HORIZON = Spaces(observations=4, actions=4), 3
SETTING = finetuning.mdp_setting(SPACES, HORIZON, 0.0, 0.5, 3.0)
NET = network(Transformer(width=8, layers=1, heads=1), SPACES.features, SPACES.outputs)

UNKNOWN: Any = "words"


def family(key):
    return families.dark_room(key, side=2, slip=0.1)


@cache
def pool():
    return tasks.sample(jax.random.key(0), family, HORIZON, 12)


def one(index: int) -> tasks.Task:
    return jax.tree.map(lambda x: x[index], pool())


@cache
def item(kind: str) -> prompts.Prompt:
    make = finetuning.oracle_prompt if kind == "oracle" else finetuning.behaviour_prompt
    return jax.jit(lambda key, task: make(key, SETTING, task, 2))(jax.random.key(1), one(0))


def test_labels_equal_a_slow_oracle_on_a_whole_batch():
    """The labels of a training batch, one by one, against backward induction in plain loops."""

    @jax.jit
    def batch(key, pool):
        keys = jax.random.split(key, 12)
        return jax.vmap(lambda k, task: SETTING.visit(k, task, 1))(keys, pool)

    episodes = batch(jax.random.key(2), pool())
    labels = jax.vmap(lambda task, e: SETTING.label(task, jax.tree.map(lambda x: x[0], e)))(pool(), episodes)
    world = jax.tree.map(lambda x: np.asarray(x, np.float64), pool().world)
    for n in range(12):
        q = reference.backward_induction(world.transition[n], world.reward[n], float(world.discount[n]), HORIZON)[1]
        for t in range(HORIZON):
            row = q[t, int(episodes.observation[n, 0, t])]
            best = row >= row.max() - 1e-6  # the world went through float32; gaps of a dark room are far larger
            np.testing.assert_allclose(labels[n, t], best / best.sum(), rtol=1e-6)


def test_loss_with_one_hot_labels_is_cross_entropy():
    prompt = item("behaviour")
    outputs = jax.random.normal(jax.random.key(3), (prompt.reward.shape[0], SPACES.outputs))
    logits = np.asarray(outputs[:, : SPACES.actions], np.float64)
    picked = np.asarray(prompt.action)
    expected = np.mean([np.log(np.exp(row).sum()) - row[a] for row, a in zip(logits, picked, strict=True)])
    assert float(objectives.prediction_loss(outputs, prompt, SPACES)) == pytest.approx(expected, rel=1e-5)


def test_full_loss_adds_the_next_observation_and_the_reward():
    prompt = item("behaviour")
    outputs = np.asarray(jax.random.normal(jax.random.key(3), (prompt.reward.shape[0], SPACES.outputs)))
    short = float(objectives.prediction_loss(jnp.asarray(outputs), prompt, SPACES))
    full = float(objectives.prediction_loss(jnp.asarray(outputs), prompt, SPACES, "all"))
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
    blank = {"q": jnp.full_like(task.q, jnp.nan), "policy": task.policy * 0, "optimal": task.optimal & False}
    make = jax.jit(lambda key, task: finetuning.behaviour_prompt(key, SETTING, task, 2))
    again = make(jax.random.key(1), task._replace(**blank))
    assert jax.tree.all(jax.tree.map(lambda x, y: bool(jnp.all(x == y)), again, item("behaviour")))


def test_training_and_held_out_tasks_are_disjoint():
    """Continuous families collide with probability zero; equality would be a reused key."""
    draw = lambda key: families.garnet(key, states=3, actions=2, branching=2)
    one, two = (tasks.sample(jax.random.key(seed), draw, 2, 50).world.transition.reshape(50, -1) for seed in (1, 2))
    assert not np.any(np.all(np.asarray(one)[:, None] == np.asarray(two)[None], axis=-1))


def exact_loss(task: tasks.Task, law: np.ndarray) -> float:
    """`V* - V^pi` by summing over every trajectory of states and actions."""
    world = jax.tree.map(lambda x: np.asarray(x, np.float64), task.world)
    value, _ = reference.path_values(world.transition, world.reward, world.initial, 1.0, law, HORIZON)
    return float(task.best_value) - value


def test_the_gap_estimator_is_exact_in_mean_and_beats_returns():
    task = one(3)
    law = as_law(task.policy, SPACES.actions, 0.4)

    @jax.jit
    def sample(key):
        episodes = prompts.play(key, SETTING.env, task.world, markov(HORIZON), law, HORIZON, 20_000)
        returns = jnp.sum(episodes.reward, axis=-1)
        return jax.vmap(lambda e: tasks.loss_along(task, e))(episodes), task.best_value - returns

    losses, returns = (np.asarray(x, np.float64) for x in sample(jax.random.key(5)))
    truth = exact_loss(task, np.asarray(law, np.float64))
    assert abs(losses.mean() - truth) <= 5 * losses.std() / np.sqrt(losses.size)
    assert abs(returns.mean() - truth) <= 5 * returns.std() / np.sqrt(returns.size)
    assert losses.std() < returns.std()
    planned = finite_policy_evaluation(task.world, law, HORIZON).value[0] @ task.world.initial
    assert float(task.best_value - planned) == pytest.approx(truth, abs=1e-5)


def test_oracle_and_random_play_are_the_ends_of_the_scale():
    @jax.jit
    def gap(key, pool, exploration):
        inform = lambda task, demos: as_law(task.policy, SPACES.actions, exploration)
        loss = lambda k, task: evaluation.expected_loss(
            k, SETTING, task, markov(HORIZON), inform, demonstrations=0, episodes=400
        )
        return evaluation.gap(jax.vmap(loss)(jax.random.split(key, 12), pool), pool)

    assert float(gap(jax.random.key(6), pool(), 0.0).of_random) == pytest.approx(0, abs=1e-6)
    # 4800 episodes whose loss has a spread below the horizon, over a room of sum(V* - V^random)
    slack = 5 * HORIZON / np.sqrt(400 * 12) * 12 / float(jnp.sum(pool().best_value - pool().random_value))
    assert float(gap(jax.random.key(6), pool(), 1.0).of_random) == pytest.approx(1, abs=slack)


def test_one_gradient_step_uses_every_parameter():
    stages: tuple[tuple[Any, Any], ...] = (
        (finetuning.oracle_prompt, "actions"),
        (finetuning.behaviour_prompt, "all"),
    )
    for make, targets in stages:
        loss = finetuning.batch_loss(NET, SETTING, make, supports=1, batch=3, targets=targets)
        gradient = jax.jit(jax.grad(loss))(NET.init(jax.random.key(0)), jax.random.key(1), pool())
        assert all(bool(jnp.any(leaf != 0)) for leaf in jax.tree.leaves(gradient))
        assert all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(gradient))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: finetuning.mdp_setting(SPACES, 3, 1.5, 0.0, 1.0), "teacher_exploration: 1.5; expected"),
        (lambda: tasks.sample(jax.random.key(0), family, 3, 0), "count: 0; expected at least 1"),
        (
            lambda: finetuning.batch_loss(
                NET, SETTING, finetuning.oracle_prompt, supports=-1, batch=2, targets="actions"
            ),
            "supports: -1",
        ),
        (
            lambda: objectives.prediction_loss(jnp.zeros((9, SPACES.outputs)), item("oracle"), SPACES, UNKNOWN),
            "targets: 'words'; expected 'actions' or 'all'",
        ),
    ],
)
def test_bad_input_names_field_value_and_expectation(call, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        call()
