"""Gittins indices against tables and stopping problems; Bayes-optimal play against recursion; regret by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdm.envs import bandit, families
from jaxdm.learners.thompson import BetaPrior, beta_thompson
from jaxdm.oracles.bandit import bayes_optimal, bayes_plan, gittins_index, pseudo_regret
from jaxdm.rollout import rollout
from tests.references.bandit import bayes_value

TABLE = {
    0.9: [[0.7029, 0.8001, 0.8452, 0.8723], [0.5001, 0.6346, 0.7072, 0.7539], [0.3796, 0.5163, 0.6010, 0.6579]],
    0.99: [[0.8699]],
}
"""Gittins indices of Bernoulli arms by discount, columns a = 1.. and rows b = 1.. of the Beta(a, b) belief.

Gittins, Glazebrook, Weber, Multi-armed Bandit Allocation Indices, 2011, chapter 8 (first in Gittins, 1989);
four decimals.
"""


index_table = jax.jit(jax.vmap(gittins_index, (0, 0, None, None)), static_argnums=3)


plan = jax.jit(bayes_plan, static_argnums=1)


@pytest.mark.parametrize("discount", TABLE)
def test_gittins_indices_are_the_published_ones(discount, double):
    table = np.asarray(TABLE[discount])
    b, a = (np.ravel(x) + 1.0 for x in np.indices(table.shape))
    plays = int(np.log(1e-12) / np.log(discount))
    ours = index_table(a, b, discount, plays)
    np.testing.assert_allclose(ours.value, table.ravel(), rtol=0, atol=0.5e-4 + float(ours.certificate.bound.max()))
    assert ours.certificate.bound.max() <= 1e-9
    single = index_table(a.astype(np.float32), b.astype(np.float32), jnp.float32(discount), plays)
    assert np.all(np.abs(single.value - ours.value) <= single.certificate.bound)


def test_gittins_bounds_hold_when_the_tree_is_short(double):
    exact = gittins_index(2.0, 1.0, 0.9)
    for plays in (1, 5, 20, 80):
        short = gittins_index(2.0, 1.0, 0.9, plays)
        assert abs(short.value - exact.value) <= short.certificate.bound + exact.certificate.bound
    assert gittins_index(2.0, 3.0, 0.0).value == pytest.approx(0.4, abs=1e-12)


def test_the_larger_index_is_bayes_optimal(double):
    """The index theorem: in a discounted bandit it is best to play the arm of largest index."""
    beliefs = np.random.default_rng(0).integers(1, 6, (12, 2, 2)).astype(float)
    plans = jax.jit(jax.vmap(lambda prior: bayes_plan(prior, 24, 0.5)))(jnp.asarray(beliefs))
    index = np.asarray(index_table(beliefs[..., 0].ravel(), beliefs[..., 1].ravel(), 0.5, 60).value).reshape(12, 2)
    clear = np.abs(index[:, 0] - index[:, 1]) > 1e-6  # the plan ends after 24 rounds, worth 2^-23 at most
    assert clear.sum() >= 8
    np.testing.assert_array_equal(plans.policy[:, 0, 0, 0, 0][clear], np.argmax(index, axis=1)[clear])


@pytest.mark.parametrize(("arms", "horizon"), [(1, 5), (2, 2), (2, 7), (3, 4)])
def test_bayes_value_is_that_of_the_recursion(arms, horizon, double):
    prior = np.random.default_rng(arms).uniform(0.5, 2, (arms, 2))
    ours = plan(jnp.asarray(prior), horizon)
    start = (0,) * (2 * arms)
    assert abs(float(ours.value[start]) - bayes_value(prior, horizon)) <= float(ours.certificate.bound)
    assert float(plan(jnp.ones((2, 2)), 2).value[0, 0, 0, 0]) == pytest.approx(13 / 12, rel=1e-14)


def test_bayes_value_of_available_arms_is_that_of_a_smaller_bandit(double):
    prior = jnp.asarray([[1.0, 2.0], [5.0, 1.0], [2.0, 2.0]])
    whole = bayes_plan(prior, 4, available=[True, False, True])
    part = plan(prior[jnp.asarray([0, 2])], 4)
    assert whole.value[(0,) * 6] == part.value[(0,) * 4]
    assert not np.any(np.asarray(whole.policy) == 1)


def test_bayes_optimal_play_earns_its_value_and_beats_thompson():
    horizon, runs = 15, 20_000
    best = plan(jnp.ones((2, 2)), horizon)

    def pay(player, params):
        def run(key):
            key_world, key = jax.random.split(key)
            world = families.bandit.uniform_means(key_world, arms=2)
            return jnp.sum(rollout(key, bandit.bernoulli(), world, player, params, horizon).reward)

        return np.asarray(jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(0), runs)), np.float64)

    ours, theirs = pay(bayes_optimal(2), best), pay(beta_thompson(2), BetaPrior())

    def error(x):
        return x.std() / np.sqrt(runs)

    assert abs(ours.mean() - float(best.value[0, 0, 0, 0])) <= 5 * error(ours) + float(best.certificate.bound)
    assert np.mean(ours - theirs) >= 5 * error(ours - theirs)


def test_regret_is_against_the_best_available_arm_of_each_round():
    world = bandit.make([[0.5, 0.1, 0.9], [0.2, 0.6, 0.9]], available=[True, True, False])
    regret = pseudo_regret(world, jnp.asarray([0, 0, 1, 0]))
    np.testing.assert_allclose(regret, np.cumsum([0, 0.4, 0, 0.4]), rtol=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gittins_index(0.0, 1.0, 0.9), r"successes: 0\.0; expected a positive finite number"),
        (lambda: gittins_index(1.0, 1.0, 1.0), r"discount: 1\.0; expected a number in \[0, 1\)"),
        (lambda: gittins_index(1.0, 1.0, 0.9, plays=0), "plays: 0; expected an integer, at least 1"),
        (lambda: gittins_index(1.0, 1.0, float("nan")), r"discount: nan; expected a number in \[0, 1\)"),
        (lambda: bayes_plan(jnp.ones((2, 2)), 4, available=[False, False]), "available: .*; expected at least one arm"),
        (lambda: bayes_plan(jnp.ones((2, 3)), 4), r"prior: shape \(2, 3\)"),
        (lambda: bayes_plan(jnp.ones((2, 2)), 0), "horizon: 0; expected an integer, at least 1"),
        (lambda: bayes_plan(jnp.ones((5, 2)), 9), "horizon: 9 with 5 arms has 10000000000 beliefs"),
    ],
)
def test_bad_questions_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
