"""Averages of fitted curves, operating points with their intervals, and score distributions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from analysis.stats import RatingsError
from analysis.stats.curves import (
    average_smooth,
    empirical_roc,
    operating_point,
    proportion,
    score_distribution,
)
from analysis.stats.parametric import fit_counts

CHAKRABORTY = ([30, 19, 8, 2, 1], [5, 6, 5, 12, 22])
HANLEY = ([33, 6, 6, 11, 2], [3, 2, 2, 11, 33])


def test_the_vertical_average_of_fits_has_the_mean_of_their_areas() -> None:
    fits = [fit_counts(*CHAKRABORTY), fit_counts(*HANLEY)]
    average = average_smooth(fits, np.linspace(0, 1, 4001))
    assert average.area == pytest.approx(np.mean([fit.auc.estimate for fit in fits]), abs=2e-5)
    middle = np.searchsorted(average.fpr, 0.25)
    assert average.tpr[middle] == pytest.approx(np.mean([fit.sensitivity_at(0.25).estimate for fit in fits]))


def test_an_average_with_a_reader_without_a_curve_is_refused() -> None:
    perfect = fit_counts([10, 0], [0, 10])
    with pytest.raises(RatingsError, match=r"Curve 2 of 2 is not estimable, because .*perfect separation"):
        average_smooth([fit_counts(*HANLEY), perfect])
    with pytest.raises(RatingsError, match="no fitted curves"):
        average_smooth([])


@given(st.integers(0, 60), st.integers(1, 60), st.sampled_from([0.01, 0.05, 0.2]))
def test_the_intervals_of_a_proportion_are_those_of_scipy(count: int, total: int, alpha: float) -> None:
    count = min(count, total)
    result = stats.binomtest(count, total)
    for method, name in (("wilson", "wilson"), ("clopper-pearson", "exact")):
        found = proportion(count, total, alpha=alpha, method=method)  # type: ignore[arg-type]
        expected = result.proportion_ci(1 - alpha, method=name)
        assert (found.lower, found.upper) == pytest.approx((expected.low, expected.high), abs=1e-9)
        assert 0 <= found.lower <= found.estimate <= found.upper <= 1


def test_a_proportion_of_no_cases_says_so_and_a_wrong_one_is_refused() -> None:
    nothing = proportion(0, 0)
    assert nothing.estimate is nothing.lower is None and nothing.not_estimable.startswith("not estimable, because")
    with pytest.raises(RatingsError, match="5 of 3"):
        proportion(5, 3)
    with pytest.raises(RatingsError, match="alpha is 1"):
        proportion(1, 3, alpha=1)
    with pytest.raises(RatingsError, match="method is 'wald'"):
        proportion(1, 3, method="wald")  # type: ignore[arg-type]


def test_an_operating_point_lies_on_the_empirical_curve() -> None:
    rng = np.random.default_rng(0)
    truth, values = rng.integers(0, 2, 60), rng.integers(1, 6, 60).astype(float)
    curve = empirical_roc(truth, values)
    for threshold, fpr, tpr in zip(curve.thresholds[1:], curve.fpr[1:], curve.tpr[1:], strict=True):
        point = operating_point(truth, values, threshold)
        assert (point.fpr.estimate, point.tpr.estimate) == pytest.approx((fpr, tpr))
    nobody = operating_point(truth, values, np.inf)
    assert (nobody.fpr.count, nobody.tpr.count) == (0, 0)
    with pytest.raises(RatingsError, match="threshold is no number"):
        operating_point(truth, values, np.nan)


def test_an_operating_point_without_one_class_gives_the_other() -> None:
    point = operating_point([1, 1, 1], [1.0, 2.0, 3.0], 2)
    assert point.tpr.estimate == pytest.approx(2 / 3)
    assert point.fpr.estimate is None and point.fpr.not_estimable


def test_a_short_scale_is_counted_rating_by_rating() -> None:
    counts = score_distribution([0, 0, 1, 1, 1], [-1.0, 2.5, 2.5, 4.0, np.inf])
    assert counts.labels == ("−1", "2.5", "4", "∞")
    assert counts.nondiseased.tolist() == [1, 1, 0, 0]
    assert counts.diseased.tolist() == [0, 1, 1, 1]


@given(st.lists(st.floats(-1e6, 1e6) | st.sampled_from([-np.inf, np.inf]), min_size=30, max_size=120, unique=True))
def test_no_rating_is_lost_or_counted_twice_on_a_long_scale(values: list[float]) -> None:
    truth = np.arange(len(values)) % 3 == 0
    counts = score_distribution(truth, values, most=10)
    assert counts.diseased.sum() == truth.sum()
    assert counts.nondiseased.sum() == (~truth).sum()
    assert len(counts.labels) == len(counts.lower) <= 12
    both = counts.diseased + counts.nondiseased
    array = np.array(values)
    for low, high, number in list(zip(counts.lower, counts.upper, both, strict=True)):
        inside = (array == low) if low == high else (array >= low) & (array < high)
        assert number >= inside.sum()


def test_faulty_ratings_are_refused() -> None:
    with pytest.raises(RatingsError, match="Rating 1 of 2 is missing"):
        score_distribution([0, 1], [np.nan, 1.0])
    with pytest.raises(RatingsError, match="no ratings to count"):
        score_distribution([], [])
    with pytest.raises(RatingsError, match="most is 1"):
        score_distribution([0, 1], [1.0, 2.0], most=1)
    with pytest.raises(RatingsError, match="shape"):
        operating_point([0, 1], [1.0], 1)
