"""Players that fail to explore: against a loop, by their shares of rounds, by how often they give the best arm up."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdm.analysis import exploration
from jaxdm.envs import bandit
from jaxdm.learners import imperfect
from jaxdm.learners.imperfect import Habits, Mixture
from tests.envs.test_bandit import play

HARD = np.array([0.4, 0.4, 0.6, 0.4, 0.4])


@pytest.mark.parametrize("optimism", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("commitment", [np.inf, 7.0, 0.0])
def test_the_greedy_player_plays_as_the_loop(optimism, commitment):
    rewards = np.random.default_rng(3).integers(0, 2, (40, 4)).astype(np.float32)
    world, habits = bandit.make(rewards, deviation=0.0), Habits(optimism=optimism, commitment=commitment)
    ours = np.asarray(play(imperfect.with_habits(4), habits, world, 40, 6, bandit.gaussian()).action)
    assert len(np.unique(ours[:, 0])) > 1  # the tie of the first round is broken by chance
    for run in ours:
        total, plays, settled = np.zeros(4), np.zeros(4), None
        for t, arm in enumerate(run):
            value = (total + np.float32(optimism)) / (plays + 1)
            best = np.flatnonzero(value > value.max() - 1e-4)
            if t >= commitment and settled is None:
                settled = arm
                assert arm in best
            assert arm == settled if settled is not None else arm in best
            total[arm] += rewards[t, arm]
            plays[arm] += 1


def test_habits_are_chances_of_a_round():
    world, rounds, runs = bandit.make([1.0, 0.0, 0.0], available=[True, True, True]), 200, 300
    player = imperfect.with_habits(3)
    greedy = np.asarray(play(player, Habits(exploration=0.3, optimism=0.0), world, rounds, runs).action)
    others = greedy[:, 50:] != 0  # only exploration plays an arm that never paid
    assert abs(others.mean() - 0.2) <= 5 * np.sqrt(0.2 * 0.8 / others.size)
    sticky = np.asarray(play(player, Habits(exploration=0.2, stickiness=1.0), world, rounds, runs).action)
    changed = sticky[:, 1:] != sticky[:, :-1]
    chance = 0.2 * 2 / 3
    assert abs(changed.mean() - chance) <= 5 * np.sqrt(chance * (1 - chance) / changed.size)


def test_unavailable_arms_are_never_played_though_one_was_settled_on():
    world = bandit.make([0.9, 0.5, 0.5, 0.5], available=[False, True, False, True])
    for params, player in ((Mixture(), imperfect.mixture(4)), (Habits(commitment=0.0), imperfect.with_habits(4))):
        assert set(np.unique(play(player, params, world, 30, 200).action)) == {1, 3}


@pytest.mark.parametrize(("rounds", "least", "most"), [(50, 0.3, 0.5), (100, 0.2, 0.5)])
def test_the_mixture_gives_the_best_arm_up_as_often_as_language_models_do(rounds, least, most):
    runs = 3000
    actions = np.asarray(play(imperfect.mixture(5), Mixture(), bandit.make(HARD), rounds, runs).action)
    failed = exploration.suffix_failure(actions, np.full(runs, int(np.argmax(HARD))), rounds // 2)
    error = 5 * failed.std() / np.sqrt(runs)
    assert least + error < failed.mean() < most - error


def test_each_kind_of_habit_is_drawn_as_often_as_its_chance():
    keys = jax.random.split(jax.random.key(0), 4000)
    habits = jax.vmap(lambda key: imperfect.drawn_habits(key, Mixture()))(keys)
    sticks, commits, explores = habits.stickiness > 0, jnp.isfinite(habits.commitment), habits.exploration == 1
    for share, expected in ((sticks, 0.3), (commits, 0.15 + 0.075), (explores, 0.15)):
        assert abs(np.mean(share) - expected) <= 5 * np.sqrt(expected * (1 - expected) / 4000)
    assert float(jnp.max(jnp.where(commits, habits.commitment, 0))) <= 20


@pytest.mark.parametrize(
    ("player", "params", "message"),
    [
        (imperfect.with_habits, Habits(exploration=1.5), "exploration: 1.5; expected a number in"),
        (imperfect.with_habits, Habits(commitment=-1.0), "commitment: -1.0; expected a number >= 0"),
        (imperfect.mixture, Mixture(mixed=-0.1), "mixed: -0.1; expected a finite number >= 0"),
        (imperfect.mixture, Mixture(patience=0.0), "patience: 0.0; expected a number >= 1"),
    ],
)
def test_bad_habits_are_named(player, params, message):
    with pytest.raises(ValueError, match=message):
        player(3).init(jax.random.key(0), params)
