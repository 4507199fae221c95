"""Verdicts of empirical statements by their intervals, and the correction of the primary ones for their number."""

import numpy as np
import pytest

from jaxdm.analysis import claims
from jaxdm.analysis.statistics import Interval, holm

SMALL, LARGE = np.array([0.1, 0.11, 0.12]), np.array([0.5, 0.52, 0.54])


WIDE = np.array([0.1, 0.5, 0.9])


@pytest.mark.parametrize(
    ("constructor", "holds", "differs", "inconclusive"),
    [
        (claims.below, (SMALL, 0.5), (LARGE, 0.3), (WIDE, 0.6)),
        (claims.above, (LARGE, 0.4), (SMALL, 0.3), (WIDE, 0.3)),
        (claims.smaller, (SMALL, SMALL + np.array([0.01, 0.011, 0.012])), (LARGE, SMALL), (SMALL, SMALL[::-1])),
        (claims.rising, ([1, 2], [SMALL, LARGE]), ([1, 2], [LARGE, SMALL]), ([1, 2], [SMALL, SMALL[::-1]])),
        (
            claims.ordered,
            ({"x": SMALL, "y": LARGE, "z": LARGE + SMALL},),
            ({"x": SMALL, "y": LARGE + SMALL, "z": LARGE},),
            ({"x": SMALL, "y": LARGE, "z": LARGE[::-1]},),
        ),
    ],
)
def test_the_whole_interval_decides(constructor, holds, differs, inconclusive):
    rows = [constructor("id", "statement", "source", *arguments) for arguments in (holds, differs, inconclusive)]
    assert [row.verdict for row in rows] == ["holds", "differs", "inconclusive"]
    assert [row.p_value <= claims.LEVEL for row in rows] == [True, True, False]
    assert rows[0].low <= rows[0].measured <= rows[0].high


def test_worlds_in_common_decide_what_single_intervals_cannot():
    shared = np.array([1.0, 2.0, 3.0, 4.0])
    assert claims.smaller("a", "s", "t", shared, shared + np.array([0.1, 0.11, 0.1, 0.09])).verdict == "holds"
    with pytest.raises(ValueError, match=r"theirs: shape \(3,\); expected \(4,\)"):
        claims.smaller("a", "s", "t", shared, SMALL)


def test_equal_numbers_are_not_smaller():
    assert claims.smaller("a", "s", "t", SMALL, SMALL).verdict == "differs"


@pytest.mark.parametrize(
    ("low", "high", "expected"), [(0.1, 0.9, "holds"), (-0.5, 0.5, "inconclusive"), (1.1, 1.2, "differs")]
)
def test_an_interval_lies_within_outside_or_across(low, high, expected):
    interval = Interval(estimate=np.asarray((low + high) / 2), low=np.asarray(low), high=np.asarray(high))
    row = claims.within("a", "s", "t", interval, 0, 1)
    assert row.verdict == expected
    with pytest.raises(ValueError, match="'a' has no p-value"):
        claims.ranked([row], ["a"])


def test_a_trend_is_the_slope_of_each_seed():
    points, slopes = np.array([1.0, 2.0, 4.0]), np.array([0.9, 1.0, 1.1])
    row = claims.rising("a", "s", "t", points, 3 + slopes * points[:, None])
    assert row.measured == pytest.approx(1.0)
    assert row.low == pytest.approx(1 - 4.302652729911275 * 0.1 / np.sqrt(3))  # t_{0.975}, 2 degrees of freedom


def test_an_order_is_judged_by_the_pair_that_is_least_sure():
    rows = {"x": SMALL, "y": LARGE, "z": LARGE + np.array([0.001, 0.0012, 0.0011])}
    row = claims.ordered("a", "s", "t", rows)
    assert row.measured == pytest.approx(0.0011)
    assert row.p_value == claims.above("a", "s", "t", rows["z"] - rows["y"], 0).p_value
    assert row.verdict == "holds"


def test_primary_rows_are_corrected_and_others_are_exploratory():
    noise = np.random.default_rng(0).normal(size=8)
    noise = (noise - noise.mean()) / noise.std(ddof=1)
    means = [1.0, 0.95, 0.3]  # t = 2.8, 2.7, 0.8 with seven degrees of freedom
    rows = [claims.above(name, "s", "t", mean + noise, 0.0) for name, mean in zip("abc", means, strict=True)]
    rows.append(claims.above("d", "s", "t", 1.0 + noise, 0.0))
    assert [row.verdict for row in rows] == ["holds", "holds", "inconclusive", "holds"]
    found = claims.ranked(rows, ["a", "b", "c"])
    assert [row.rank for row in found] == ["primary"] * 3 + ["exploratory"]
    assert [row.verdict for row in found] == ["inconclusive"] * 3 + ["holds"]
    assert [row.p_value for row in found[:3]] == list(holm([row.p_value for row in rows[:3]]))
    assert [row.verdict for row in claims.ranked(rows, ["a"])] == ["holds", "holds", "inconclusive", "holds"]
    assert {row.rank for row in claims.ranked(rows, ["a"], preview=True)} == {"preview"}


@pytest.mark.parametrize(
    ("primary", "message"),
    [
        (["b"], "primary: 'b' is no row of this study"),
        (["a", "a"], "primary: a, a; expected at most 12 different names"),
        ([str(i) for i in range(13)], "expected at most 12 different names"),
    ],
)
def test_a_list_of_primary_rows_that_does_not_fit_is_refused(primary, message):
    with pytest.raises(ValueError, match=message):
        claims.ranked([claims.above("a", "s", "t", SMALL, 0.0)], primary)


def test_claims_come_back_as_they_were_written(tmp_path):
    rows = claims.ranked([claims.above("a", "s", "t", SMALL, 0.0), claims.at_most("b", "s", "t", 1.0, 2.0)], ["a"])
    stored = claims.read_claims(claims.write_claims(tmp_path, rows, "python -m something"))
    assert stored[0] == rows[0]._replace(command="python -m something")
    assert np.isnan(stored[1].p_value)
    with pytest.raises(ValueError, match="rank: 'first' of claim 'a'; expected one of"):
        claims.write_claims(tmp_path, [rows[0]._replace(rank="first")], "")
