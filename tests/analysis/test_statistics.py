"""Intervals against scipy and by coverage; exponents and trends against closed forms; exploration against loops."""

from typing import Any

import numpy as np
import pytest
import scipy.stats

from jaxdm.analysis import exploration, statistics

RNG = np.random.default_rng(7)


REPEATS = 4000


HALF: Any = 0.5


def assert_share(hits, expected):
    """A share of independent hits is `expected`, within five standard errors."""
    assert abs(np.mean(hits) - expected) <= 5 * np.sqrt(expected * (1 - expected) / np.size(hits))


def contains(interval, target):
    return (interval.low <= target) & (target <= interval.high)


def test_mean_interval_is_students():
    values = RNG.normal(size=(6, 2))
    ours = statistics.mean_interval(values, 0.9)
    low, high = scipy.stats.t.interval(0.9, 5, loc=values.mean(0), scale=scipy.stats.sem(values))
    np.testing.assert_allclose(ours.low, low, rtol=1e-12)
    np.testing.assert_allclose(ours.high, high, rtol=1e-12)
    np.testing.assert_array_equal(ours.estimate, values.mean(0))


def test_mean_interval_covers_as_often_as_it_says():
    assert_share(contains(statistics.mean_interval(RNG.normal(3, 2, (5, REPEATS)), 0.8), 3), 0.8)


def test_the_test_of_a_mean_is_students_and_agrees_with_the_interval():
    for values in RNG.normal(0.5, 1, (50, 6)):
        p_value = statistics.mean_test(values, 0.2)
        np.testing.assert_allclose(p_value, np.asarray(scipy.stats.ttest_1samp(values, 0.2), float)[1], rtol=1e-10)
        assert (p_value > 0.05) == contains(statistics.mean_interval(values), 0.2)
    assert statistics.mean_test([2.0, 2.0], 2.0) == 1
    assert statistics.mean_test([2.0, 2.0], 1.0) == 0


def test_holms_rule_by_hand_and_by_coverage():
    np.testing.assert_allclose(statistics.holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02], rtol=1e-12)
    np.testing.assert_allclose(statistics.holm([0.9, 0.6]), [1, 1])
    # Of eight true hypotheses with a common part, some is rejected in at most 5 % of studies; without the rule in more.
    shared, own = RNG.normal(size=(2000, 6, 1)), RNG.normal(size=(2000, 6, 8))
    studies = 0.5 * shared + own
    t = studies.mean(1) / (studies.std(1, ddof=1) / np.sqrt(6))
    p_values = 2 * scipy.stats.t.sf(np.abs(t), 5)
    wrong = [np.any(statistics.holm(row) <= 0.05) for row in p_values]
    assert np.mean(wrong) <= 0.05 + 5 * np.sqrt(0.05 * 0.95 / 2000)
    assert np.mean(np.any(p_values <= 0.05, axis=1)) > 0.15


def test_exponent_fit_is_linear_regression():
    times = np.arange(1.0, 30)
    curve = 2 * times**0.5 * np.exp(0.1 * RNG.normal(size=29))
    slope, intercept, _, p_value, error = np.asarray(scipy.stats.linregress(np.log(times), np.log(curve)), float)
    half = scipy.stats.t.ppf(0.975, 27) * error
    ours = statistics.exponent_fit(times, curve)
    np.testing.assert_allclose(ours, [slope, slope - half, slope + half, intercept, p_value], rtol=1e-9)


@pytest.mark.parametrize("level", [2.0, 0.1, 1 / 3, 1e300, 7e-300])
def test_a_constant_curve_has_exponent_zero_whatever_its_last_digits(level):
    fit = statistics.exponent_fit(np.arange(1.0, 40), np.full(39, level))
    assert abs(fit.exponent) <= 1e-12
    assert fit.p_value > 0.05
    assert fit.low <= 0 <= fit.high
    over_seeds = statistics.exponent_interval(np.arange(1.0, 40), np.full((3, 39), level))
    assert over_seeds.p_value > 0.05


def test_exponent_fit_recovers_a_power_law():
    times = np.arange(1.0, 50)
    ours = statistics.exponent_fit(times, 3 * times**0.7)
    np.testing.assert_allclose([ours.exponent, ours.low, ours.high, ours.intercept], [0.7] * 3 + [np.log(3)], rtol=1e-9)
    assert ours.p_value < 1e-100


def test_exponent_interval_covers_when_rounds_of_a_run_are_dependent():
    times = np.arange(1.0, 40)
    target = statistics.exponent_fit(times, times**0.5).exponent
    walks = times**0.5 * (1 + 0.02 * np.cumsum(RNG.normal(size=(800, 10, 39)), axis=-1))
    fits = [statistics.exponent_interval(times, runs) for runs in walks]
    assert_share([fit.low <= target <= fit.high for fit in fits], 0.95)


def test_exponent_interval_is_the_jackknife():
    times, runs = np.arange(1.0, 9), RNG.uniform(1, 2, (4, 8))
    ours = statistics.exponent_interval(times, runs)

    def fit(curves):
        return np.polyfit(np.log(times), np.log(curves.mean(0)), 1)[0]

    parts = np.asarray([fit(runs[[j for j in range(4) if j != i]]) for i in range(4)])
    half = scipy.stats.t.ppf(0.975, 3) * np.sqrt(3 / 4 * np.sum((parts - parts.mean()) ** 2))
    np.testing.assert_allclose(ours[:3], [fit(runs), fit(runs) - half, fit(runs) + half], rtol=1e-9)


def test_exploration_is_counted_as_by_hand():
    actions, rewards = RNG.integers(0, 3, (20, 12)), RNG.integers(0, 2, (20, 12)).astype(float)
    best = RNG.integers(0, 3, 20)
    fractions, greedy = exploration.min_fraction(actions, 3), exploration.greedy_fraction(actions, rewards, 3)
    failures = exploration.suffix_failure(actions, best, 8)
    for run in range(20):
        hits = 0
        for t in range(12):
            played = [actions[run, :t] == arm for arm in range(3)]
            means = [rewards[run, :t][p].mean() if p.any() else -1 for p in played]
            hits += t > 0 and means[actions[run, t]] == max(means)
            least = min((actions[run, : t + 1] == arm).sum() for arm in range(3))
            np.testing.assert_allclose(fractions[run, t], 3 * least / (t + 1), rtol=1e-12)
        np.testing.assert_allclose(greedy[run], hits / 11, rtol=1e-12)
        assert failures[run] == (best[run] not in actions[run, 8:])


def test_two_best_arms_and_arms_that_may_not_be_played():
    actions = np.asarray([[0, 1, 1, 1], [0, 2, 2, 2], [1, 0, 0, 2]])
    best = np.asarray([[False, True, True], [False, True, True], [True, False, False]])
    np.testing.assert_array_equal(exploration.suffix_failure(actions, best, 2), [False, False, False])
    np.testing.assert_array_equal(exploration.suffix_failure(actions, best, 3), [False, False, True])
    np.testing.assert_array_equal(exploration.suffix_failure(actions, [1, 1, 0], 2), [False, True, False])
    allowed = np.asarray([[True, True, False], [True, False, True], [True, True, True]])
    found = exploration.min_fraction(actions, 3, allowed)[:, -1]
    np.testing.assert_allclose(found, [2 / 4, 2 / 4, 3 / 4])
    with pytest.raises(ValueError, match=r"actions: an arm that is not available"):
        exploration.min_fraction(actions, 3, allowed[[1, 0, 2]])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: statistics.mean_interval([1.0]), r"values: shape \(1,\); expected .* N >= 2"),
        (lambda: statistics.mean_interval([1.0, np.nan]), "values: 1 entries are not finite"),
        (lambda: statistics.mean_interval([1.0, 2.0], 95), r"confidence: 95; expected a number in \(0, 1\)"),
        (lambda: statistics.holm([0.1, 1.2]), r"p_values: .*expected numbers in \[0, 1\]"),
        (lambda: statistics.holm([0.1, np.nan]), r"p_values: .*expected numbers in \[0, 1\]"),
        (lambda: statistics.exponent_fit([1, 2, 3], [1.0, -1.0, 2.0]), "values: -1 is smallest; expected positive"),
        (lambda: statistics.exponent_fit([2, 2, 2], [1, 2, 3]), "times: all 2; expected at least two that differ"),
        (lambda: statistics.exponent_interval([2, 2, 2], np.ones((2, 3))), "times: all 2; expected at least two"),
        (lambda: statistics.exponent_fit([1, 2, 3], [1, 2, 3], np.nan), "confidence: nan; expected a number in"),
        (lambda: statistics.mean_interval([[1.0], [1.0, 2.0]]), "values: lists of unequal length"),
        (lambda: statistics.mean_interval(["1", "2"]), "values: list of <U1; expected an array of real numbers"),
        (lambda: statistics.mean_interval(np.ma.masked_array([1.0, 2.0], [False, True])), "values: MaskedArray"),
        (lambda: exploration.suffix_failure([0, 1], 0, HALF), "start: 0.5; expected an integer"),
        (lambda: exploration.greedy_fraction([0, 1], [1.0, np.nan], 2), "rewards: 1 are not finite"),
        (lambda: exploration.greedy_fraction([0, 1], [1.0], 2), r"rewards: shape \(1,\); expected \(2,\)"),
        (lambda: exploration.min_fraction([0.5, 1], 3), r"actions: shape \(2,\); expected whole numbers"),
        (lambda: statistics.exponent_fit([1, 2], [1.0, 1.0]), "values: shape"),
        (lambda: exploration.suffix_failure([0, 1], 0, 2), "start: 2; expected an integer, 0 <= start < T = 2"),
        (lambda: exploration.min_fraction([0, 3], 3), r"actions: in 0..3; expected 0..2"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_linear_part_of_a_regret_is_found_where_its_exponent_hides_it():
    """Sums of the basis give their b exactly; a curve that a slope below one passes has its linear part."""
    times = np.arange(10, 401)
    for growth in ("log", "sqrt"):
        f = np.log(times) if growth == "log" else np.sqrt(times)
        found = statistics.linear_part(times, np.stack([3 * f + 2, f + 0.05 * times, 0.3 * times]), growth)
        np.testing.assert_allclose(found, [0, 0.05, 0.3], atol=1e-9)
    hidden = 5 * (1 - np.exp(-times / 5)) + 0.05 * times
    assert statistics.exponent_fit(times, hidden).high < 1
    assert abs(float(statistics.linear_part(times, hidden)) - 0.05) < 0.002
    with pytest.raises(ValueError, match=r"^values: shape \(3,\) beside times"):
        statistics.linear_part(times, np.ones(3))
    with pytest.raises(ValueError, match=r"^times: 3 of them"):
        statistics.linear_part([1, 2, 3], [1, 2, 3])
    with pytest.raises(ValueError, match=r"^values: 1 are not finite"):
        statistics.linear_part([1, 2, 3, 4], [1, 2, 3, np.nan])
