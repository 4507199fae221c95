"""Comparators, regrets and the attack: against enumeration, against one another, and against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdm.envs import mdp, online
from jaxdm.envs.online import BALL, SIMPLEX
from jaxdm.learners import online as learners
from jaxdm.oracles import attack, regret
from jaxdm.rollout import rollout
from tests.references import online as reference

ROUNDING = 1e-13


def sample(seed, length=6, arms=3):
    draws = np.random.default_rng(seed)
    losses, played = draws.normal(size=(length, arms)), draws.dirichlet(np.ones(arms), length)
    return jnp.asarray(losses), jnp.asarray(played)


# Comparators


@pytest.mark.parametrize("seed", range(3))
def test_fixed_comparators_are_the_best_by_enumeration(seed, double):
    losses, _ = sample(seed)
    best = regret.best_fixed(SIMPLEX, losses)
    assert float(best.loss) == pytest.approx(reference.best_fixed_value("simplex", np.asarray(losses)), abs=ROUNDING)
    assert int(regret.best_arm(losses)) == int(np.argmax(best.decision))
    plane = losses[:, :2]
    best = regret.best_fixed(BALL, plane, 2.0)
    searched = reference.best_fixed_value("ball", np.asarray(plane), 2.0)
    net = 2.0 * np.linalg.norm(plane.sum(axis=0)) * (2 * np.pi / 20000) ** 2  # the net of angles misses by a cosine
    assert float(best.loss) <= searched <= float(best.loss) + net
    assert float(jnp.linalg.norm(best.decision)) == pytest.approx(2.0, rel=1e-15)


@pytest.mark.parametrize("region", [BALL, SIMPLEX], ids=["ball", "simplex"])
def test_comparators_of_prefixes_and_of_rounds_agree_with_the_fixed_one(region, double):
    losses, _ = sample(0, length=9)
    course, rounds = regret.best_so_far(region, losses, 1.5), regret.best_each_round(region, losses, 1.5)
    for t in (0, 4, 8):
        prefix = regret.best_fixed(region, losses[: t + 1], 1.5)
        assert float(course[t]) == pytest.approx(float(prefix.loss), abs=ROUNDING)
        alone = regret.best_fixed(region, losses[t : t + 1], 1.5)
        assert np.allclose(rounds[t], alone.decision, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("switches", [0, 1, 2, 5, 9])
def test_switching_comparator_is_the_best_of_all_sequences(switches, double):
    best_switching = jax.jit(regret.best_switching, static_argnums=1)
    for seed in range(3):
        losses, _ = sample(seed)
        best = best_switching(losses, switches)
        arms = np.asarray(best.arms)
        assert float(best.loss) == pytest.approx(
            reference.best_switching_value(np.asarray(losses), switches), abs=ROUNDING
        )
        assert float(best.loss) == pytest.approx(float(losses[np.arange(6), arms].sum()), abs=ROUNDING)
        assert np.count_nonzero(np.diff(arms)) <= switches


def test_switching_comparator_of_one_round():
    best = regret.best_switching(jnp.asarray([[3.0, 1.0, 2.0]]), 2)
    assert (int(best.arms[0]), float(best.loss)) == (1, 1.0)


# Regrets


@pytest.mark.parametrize("seed", range(3))
def test_regrets_are_those_of_enumeration_on_every_prefix(seed, double):
    losses, played = sample(seed)
    courses = {
        "external": regret.external(SIMPLEX, losses, played),
        "swap": regret.swap(losses, played),
        "internal": regret.internal(losses, played),
    }
    for t in range(1, 7):
        seen, x = np.asarray(losses[:t]), np.asarray(played[:t])
        expected = {
            "external": np.sum(seen * x) - reference.best_fixed_value("simplex", seen),
            "swap": reference.swap_regret(seen, x),
            "internal": reference.internal_regret(seen, x),
        }
        for name, value in expected.items():
            assert float(courses[name][t - 1]) == pytest.approx(value, abs=ROUNDING), name


def test_regrets_are_ordered(double):
    def every(losses, played):
        strictest = regret.dynamic(losses, played, regret.best_each_round(SIMPLEX, losses))
        courses = regret.external(SIMPLEX, losses, played), regret.swap(losses, played), regret.internal(losses, played)
        return *courses, strictest

    draws = np.random.default_rng(7)
    losses, played = draws.normal(size=(50, 12, 4)), draws.dirichlet(np.ones(4), (50, 12))
    external, swap, internal, strictest = map(np.asarray, jax.jit(jax.vmap(every))(losses, played))
    assert np.all(internal <= swap + ROUNDING)
    assert np.all(swap <= 4 * internal + ROUNDING)
    assert np.all(external <= swap + ROUNDING)
    assert np.all(external <= strictest + ROUNDING)


def test_dynamic_regret_against_constant_and_switching_comparators(double):
    losses, played = sample(1)
    best = regret.best_fixed(SIMPLEX, losses).decision
    constant = jnp.broadcast_to(best, losses.shape)
    external = regret.external(SIMPLEX, losses, played)[-1]
    assert float(regret.dynamic(losses, played, constant)[-1]) == pytest.approx(float(external), abs=ROUNDING)
    tracked = regret.best_switching(losses, 2)
    tracking = regret.dynamic(losses, played, jax.nn.one_hot(tracked.arms, 3))[-1]
    assert float(tracking) == pytest.approx(float(jnp.sum(losses * played) - tracked.loss), abs=ROUNDING)


def test_external_regret_on_the_ball_has_its_closed_form(double):
    losses, played = sample(2)
    expected = np.sum(np.asarray(losses * played)) + 3 * np.linalg.norm(np.asarray(losses).sum(axis=0))
    assert float(regret.external(BALL, losses, played, 3.0)[-1]) == pytest.approx(expected, abs=ROUNDING)


def test_bandit_regrets_by_hand(double):
    means, actions = jnp.asarray([0.2, 0.5]), jnp.asarray([0, 1, 0, 0])
    assert np.allclose(regret.pseudo(means, actions), [0.3, 0.3, 0.6, 0.9], rtol=0, atol=ROUNDING)
    drifting = jnp.asarray([[0.2, 0.5], [0.2, 0.5], [0.9, 0.5], [0.1, 0.5]])
    assert np.allclose(regret.nonstationary(drifting, actions), [0.3, 0.3, 0.3, 0.7], rtol=0, atol=ROUNDING)
    assert float(regret.variation(drifting)) == pytest.approx(0.7 + 0.8, abs=ROUNDING)
    still = jnp.broadcast_to(means, (4, 2))
    assert np.array_equal(regret.nonstationary(still, actions), regret.pseudo(means, actions))


def test_policy_regret_is_external_regret_when_the_world_does_not_react(double):
    losses, _ = sample(0, length=20)
    played = online.play(jax.random.key(1), losses, learners.hedge(3), learners.hedge_rate(3, 20))
    found = regret.policy(jax.random.key(1), online.env(), losses, played, jnp.eye(3))
    assert np.allclose(found, regret.external(SIMPLEX, losses, played), rtol=0, atol=ROUNDING)


def test_policy_regret_lets_the_world_react(double):
    # Against constant play the adversary charges that arm 1 each round: the best constant earns -T, so does anything.
    plan, world = jnp.ones((20, 3)), online.env(online.against_simplex)
    agent = learners.follow_leader(SIMPLEX, 3)
    episode = rollout(jax.random.key(0), world, plan, agent, learners.rate(1.0), 20)
    found = regret.policy(jax.random.key(0), world, plan, episode.action, jnp.eye(3))
    assert np.allclose(found, 0, rtol=0, atol=ROUNDING)
    external = regret.external(SIMPLEX, episode.next_observation, episode.action)
    assert float(external[-1]) == pytest.approx(20 - 6, abs=ROUNDING)


def test_policy_regret_replays_any_world(double):
    # Two states, action 1 moves to the other; reward 1 in state 0. Always-0 earns 1 a step from state 0.
    transition = np.zeros((2, 2, 2))
    transition[[0, 1], 0, [0, 1]] = transition[[0, 1], 1, [1, 0]] = 1
    model = mdp.make(transition, [[1.0, 1.0], [0.0, 0.0]], [1.0, 0.0])
    found = regret.policy(jax.random.key(0), mdp.env(), model, jnp.asarray([1, 0, 0, 1]), jnp.asarray([0, 1]))
    assert np.allclose(found, [0, 1, 2, 3], rtol=0, atol=ROUNDING)


# Attack


def test_ascent_finds_the_worst_of_a_problem_solved_by_hand(double):
    # <a, l> over a box: the worst is the indicator of a > 0.
    slope = jnp.asarray([[1.0, -2.0], [0.5, 3.0]])
    found = attack.ascend(
        lambda losses: jnp.sum(slope * losses), attack.to_unit_interval, jnp.full((2, 2), 0.5), steps=50
    )
    assert np.array_equal(found.losses, (slope > 0).astype(float))
    assert float(found.value) == 4.5
    assert found.progress.shape == (51,)
    assert np.all(np.diff(found.progress) >= 0)


def test_the_attack_keeps_the_best_it_met_and_stays_allowed(double):
    agent, params = learners.ftrl(BALL, 2), learners.ftrl_rate(1.0, 20)

    def of(losses):
        return regret.external(BALL, losses, online.play(jax.random.key(0), losses, agent, params))[-1]

    starts = jnp.asarray(np.random.default_rng(0).normal(size=(8, 20, 2)))
    found = jax.jit(jax.vmap(lambda start: attack.ascend(of, attack.to_unit_ball, start, 100)))(starts)
    assert np.allclose(found.value, jax.jit(jax.vmap(of))(found.losses), rtol=0, atol=ROUNDING)
    assert np.linalg.norm(found.losses, axis=-1).max() <= 1 + 1e-15
    assert np.array_equal(found.progress[:, -1], found.value)
    assert np.all(found.progress[:, -1] >= found.progress[:, 0])
    assert 0.99 * np.sqrt(20) <= float(jnp.max(found.value)) <= np.sqrt(20) + ROUNDING


def test_no_steps_only_judge_the_start():
    found = attack.ascend(jnp.sum, attack.to_unit_interval, jnp.full((2, 2), 3.0), steps=0)
    assert float(found.value) == 4.0
    assert found.progress.shape == (1,)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: regret.best_switching(jnp.ones((2, 2)), -1), "switches: -1"),
        (lambda: regret.best_fixed(BALL, jnp.ones(2)), r"losses: shape \(2,\)"),
        (lambda: regret.external(BALL, jnp.ones((2, 2)), jnp.ones((2, 3))), r"decisions: shape \(2, 3\)"),
        (lambda: regret.dynamic(jnp.ones((2, 2)), jnp.ones((2, 2)), jnp.ones(2)), r"comparators: shape \(2,\)"),
        (lambda: regret.pseudo(jnp.ones((2, 2)), jnp.zeros(2, int)), r"means: shape \(2, 2\); expected \[K\]"),
        (
            lambda: regret.nonstationary(jnp.ones((3, 2)), jnp.zeros(2, int)),
            r"actions: shape \(2,\); expected \[T\] with T = 3",
        ),
        (
            lambda: regret.policy(jax.random.key(0), online.env(), jnp.ones((2, 2)), jnp.ones((2, 2)), jnp.ones(2)),
            r"constants: shape \(2,\)",
        ),
        (lambda: attack.ascend(jnp.sum, attack.to_unit_ball, jnp.ones((2, 2)), steps=-1), "steps: -1"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
