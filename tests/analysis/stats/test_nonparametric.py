"""Signed ranks and McNemar against scipy, statsmodels and every sign pattern counted out."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as peer_mcnemar

from analysis.stats.nonparametric import mcnemar, paired_signed_rank, signed_rank
from analysis.stats.ratings import RatingsError

#: Depression scores before and after (Hollander & Wolfe's example of the signed-rank test; R's wilcox.test too).
BEFORE = [1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30]
AFTER = [0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29]


def test_hollander_and_wolfes_example() -> None:
    found = signed_rank(AFTER, BEFORE)
    assert found.statistic == 5 and found.p == pytest.approx(0.0390625)
    assert found.estimate == pytest.approx(-0.46)
    assert (found.lower, found.upper) == pytest.approx((-0.786, -0.010), abs=0.0005)
    assert found.level == pytest.approx(0.9609375)
    assert found.method == "exact law of the signed ranks"


@pytest.mark.parametrize("n", [1, 2, 5, 8, 12, 30])
@pytest.mark.parametrize("seed", range(3))
def test_the_exact_test_agrees_with_scipy(n: int, seed: int) -> None:
    difference = np.random.default_rng(seed).normal(0.4, 1, n)
    found = signed_rank(difference)
    peer = stats.wilcoxon(difference, method="exact")
    assert found.p == pytest.approx(peer.pvalue)
    assert min(found.statistic, n * (n + 1) / 2 - found.statistic) == peer.statistic


@pytest.mark.parametrize("correction", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_the_normal_test_with_ties_and_zeros_agrees_with_scipy(seed: int, correction: bool) -> None:
    difference = np.random.default_rng(seed).integers(-3, 6, 60).astype(float)
    found = signed_rank(difference, correction=correction)
    peer = stats.wilcoxon(difference, zero_method="wilcox", correction=correction, method="asymptotic")
    assert found.p == pytest.approx(peer.pvalue)
    assert found.zeros == (difference == 0).sum() and "left out of the test" in found.method


def test_the_exact_p_counts_every_sign_pattern() -> None:
    difference = np.array([0.3, -1.1, 2.2, 0.7, 1.9, -0.2])
    ranks = stats.rankdata(abs(difference))
    sums = np.array([(ranks * signs).sum() for signs in itertools.product((0, 1), repeat=6)])
    w = ranks[difference > 0].sum()
    expected = min(1, 2 * min((sums <= w).mean(), (sums >= w).mean()))
    assert signed_rank(difference).p == pytest.approx(expected)


@pytest.mark.parametrize("method", ["exact", "normal"])
@pytest.mark.parametrize("seed", range(3))
def test_the_interval_holds_the_shifts_that_the_test_does_not_reject(method: Any, seed: int) -> None:
    difference = np.random.default_rng(seed).normal(0.3, 1, 14)
    found = signed_rank(difference, method=method)
    assert found.lower < found.estimate < found.upper
    for shift, rejected in (
        (found.lower - 1e-6, True),
        (found.lower + 1e-6, False),
        (found.upper - 1e-6, False),
        (found.upper + 1e-6, True),
    ):
        assert (signed_rank(difference - shift, method=method).p < 0.05) == rejected


def test_the_estimate_is_the_median_of_all_pairwise_averages() -> None:
    difference = np.random.default_rng(4).integers(-4, 9, 21).astype(float)
    averages = [(a + b) / 2 for i, a in enumerate(difference) for b in difference[i:]]
    assert signed_rank(difference).estimate == pytest.approx(np.median(averages))


@pytest.mark.parametrize(("n", "digits"), [(12, 9), (40, 0), (80, 1)])
def test_the_interval_covers_as_often_as_it_says(n: int, digits: int) -> None:
    rng = np.random.default_rng(5)
    covered = []
    for _ in range(150):
        found = signed_rank(np.round(1 + 1.5 * rng.standard_t(4, n), digits))
        covered.append(found.lower <= 1 <= found.upper)
    assert np.mean(covered) > 0.9


def test_decimals_that_are_equal_are_tied() -> None:
    found = signed_rank([0.3, 0.5, 0.9, 0.2], [0.1, 0.3, 0.2, 0.2])  # 0.2, 0.2, 0.7, 0
    assert found.zeros == 1 and found.method.startswith("normal law")
    whole = signed_rank([3, 5, 9, 2], [1, 3, 2, 2])
    assert (found.statistic, found.p) == (whole.statistic, whole.p)
    assert found.estimate == pytest.approx(whole.estimate / 10)


def test_turning_the_arms_turns_the_signs() -> None:
    for values in (np.array([BEFORE, AFTER]), np.random.default_rng(6).integers(1, 6, (2, 40)).astype(float)):
        one, other = signed_rank(*values), signed_rank(*values[::-1])
        assert one.p == pytest.approx(other.p) and one.estimate == pytest.approx(-other.estimate)
        assert (one.lower, one.upper) == pytest.approx((-other.upper, -other.lower))


@pytest.mark.parametrize(
    ("difference", "reason"),
    [
        ([], "there is no difference"),
        ([0.0, 0.0], "every difference is zero"),
        ([1.0, 2.0], "no exact interval of so few differences"),
        ([1.0, 1.0, 0.0], "too few differences"),
    ],
    ids=["none", "zero", "two", "tied"],
)
def test_what_cannot_be_tested_says_why(difference: list[float], reason: str) -> None:
    found = signed_rank(difference)
    assert reason in found.not_estimable and found.lower is None
    found.to_dict()


def test_faulty_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="Pair 2 has a value that is not finite"):
        signed_rank([1, np.nan], [0, 1])
    with pytest.raises(ValueError, match="two equally long lists"):
        signed_rank([1, 2], [1])
    with pytest.raises(ValueError, match="without ties and zeros"):
        signed_rank([1, 1, 2], method="exact")
    with pytest.raises(ValueError, match="method is 'permutation'"):
        signed_rank([1, 2], method="permutation")  # type: ignore[arg-type]


def reads() -> pd.DataFrame:
    rng = np.random.default_rng(7)
    rows = [
        (j, arm, k, rng.normal(30 - 4 * (arm == "aided") + k % 3, 5))
        for j in range(7)
        for arm in ("aided", "unaided")
        for k in range(15)
    ]
    return pd.DataFrame(rows, columns=["reader", "treatment", "case", "seconds"])


def test_a_table_of_reads_is_paired_over_cases_or_readers() -> None:
    frame = reads()
    wide = frame.pivot_table(index="case", columns="treatment", values="seconds")
    by_case = paired_signed_rank(frame, "seconds", over="case", treatments=("aided", "unaided"))
    alone = signed_rank(wide.aided, wide.unaided)
    assert (by_case.p, by_case.statistic) == (alone.p, alone.statistic)
    assert (by_case.estimate, by_case.lower) == pytest.approx((alone.estimate, alone.lower))
    by_reader = paired_signed_rank(frame, "seconds", over="reader", treatments=("aided", "unaided"))
    assert by_reader.n == 7 and by_reader.estimate < 0
    some = frame[~((frame.reader == 3) & (frame.treatment == "aided") & (frame.case < 10))]
    again = paired_signed_rank(some, "seconds", over="reader", treatments=("aided", "unaided"))
    kept = some[(some.reader == 3) & (some.case >= 10)].pivot(index="case", columns="treatment", values="seconds")
    assert again.n == 7 and (kept.aided - kept.unaided).mean() != 0
    with pytest.raises(RatingsError, match="treatment 'second' is not among aided, unaided"):
        paired_signed_rank(frame, "seconds", over="case", treatments=("aided", "second"))


@pytest.mark.parametrize("seed", range(3))
def test_mcnemar_agrees_with_statsmodels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    second = rng.integers(0, 2, 40)
    first = np.where(rng.random(40) < 0.3, 1, second)
    found = mcnemar(first, second)
    table = pd.crosstab(first, second)
    assert found.p == pytest.approx(peer_mcnemar(table, exact=True).pvalue)
    assert found.difference == pytest.approx(first.mean() - second.mean())
    assert found.lower < found.difference < found.upper


def test_mcnemar_without_a_pair_that_differs_is_one() -> None:
    found = mcnemar([1, 0, 1], [1, 0, 1])
    assert (found.p, found.difference) == (1.0, 0.0) and found.lower < 0 < found.upper
    assert mcnemar([], []).not_estimable.endswith("there is no pair")
    with pytest.raises(ValueError, match="Answer 2 is 3; it must be 0 or 1"):
        mcnemar([1, 3], [0, 0])
    with pytest.raises(ValueError, match="two equally long lists"):
        mcnemar([1], [0, 0])
