"""Numbers per read between treatments: the crossed case is Obuchowski–Rockette, any other design keeps its coverage."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.stats.means import (
    cell_means,
    compare_means,
    compare_ratios,
    linearised,
    mean_of,
    nested,
    ratio_of,
    read_reads,
)
from analysis.stats.mrmc import analyze, plain
from analysis.stats.obuchowski_rockette import analyse
from analysis.stats.ratings import RatingsError

J, K = 5, 24


def values(rng: np.random.Generator, *, readers: int = J, cases: int = K, treatments: int = 2) -> np.ndarray:
    """Readers, cases, their interactions with the treatment and with each other; no treatment effect."""
    return (
        rng.normal(0, 0.2, (1, readers, 1))
        + rng.normal(0, 0.15, (treatments, readers, 1))
        + rng.normal(0, 0.5, (1, 1, cases))
        + rng.normal(0, 0.3, (treatments, 1, cases))
        + rng.normal(0, 0.3, (1, readers, cases))
        + rng.normal(0, 0.5, (treatments, readers, cases))
    )


def table(block: np.ndarray, name: str = "value") -> pd.DataFrame:
    where = np.argwhere(~np.isnan(block))
    return pd.DataFrame(
        {
            "reader": [f"R{j}" for j in where[:, 1]],
            "treatment": ["ABC"[i] for i in where[:, 0]],
            "case": where[:, 2],
            name: block[~np.isnan(block)],
        }
    )


def alternate(block: np.ndarray) -> np.ndarray:
    """Every reader reads every case once, in alternating arms."""
    for j in range(block.shape[1]):
        odd = (np.arange(block.shape[2]) + j) % 2 == 0
        block[0, j, odd] = np.nan
        block[1, j, ~odd] = np.nan
    return block


def thinned(block: np.ndarray) -> np.ndarray:
    block[np.random.default_rng(7).random(block.shape) < 0.3] = np.nan
    return block


def apart(block: np.ndarray) -> np.ndarray:
    """Half the readers under either treatment."""
    half = block.shape[1] // 2
    block[0, :half] = np.nan
    block[1, half:] = np.nan
    return block


def halves(block: np.ndarray) -> np.ndarray:
    """A split plot: half the readers read half the cases, under both treatments."""
    readers, cases = block.shape[1] // 2, block.shape[2] // 2
    block[:, :readers, cases:] = np.nan
    block[:, readers:, :cases] = np.nan
    return block


def test_a_crossed_study_is_the_obuchowski_rockette_analysis_of_the_cell_means() -> None:
    block = values(np.random.default_rng(1), treatments=3)
    result = compare_means(table(block), random="readers_cases")
    flat = block.reshape(3 * J, K)
    expected = analyse(block.mean(axis=2), np.cov(flat) / K)
    for found, wanted in zip(result.comparisons, expected.differences.values(), strict=True):
        assert (found.difference, found.se, found.df) == pytest.approx((wanted.estimate, wanted.se, wanted.df))
    assert all(c.p_holm is not None for c in result.comparisons)


def test_sensitivity_as_a_mean_of_hits_is_what_the_ratings_engine_calls_the_fraction_of_right_calls() -> None:
    """A single non-diseased case that nobody marks makes the AUC of 0/1 calls (1 + sensitivity)/2."""
    rng = np.random.default_rng(2)
    calls = (rng.random((2, J, K)) < 0.6).astype(float)
    hits = table(calls)
    frame = hits.rename(columns={"value": "rating"}).assign(truth=1)
    normals = pd.concat([frame[frame.case < 2].assign(truth=0, rating=0.0, case=lambda f: f.case + 1000)])
    auc = analyze(pd.concat([frame, normals])).comparisons[0]
    found = compare_means(hits).comparisons[0]
    assert auc.difference == pytest.approx(found.difference / 2)
    assert auc.se == pytest.approx(found.se / 2)
    assert auc.df == pytest.approx(found.df)


def test_the_error_covariance_is_unbiased_when_cells_are_missing() -> None:
    """Readers held fixed, cases drawn anew: the mean of the estimates is the covariance of the means."""
    rng = np.random.default_rng(3)
    hole = np.zeros((2, 2, 8), dtype=bool)
    hole[0, 0, :3] = hole[1, 0, 5:] = hole[1, 1, :7:2] = True
    hole[0, 1, 2:] = True  # two cases only
    estimates, means = [], []
    for _ in range(3000):
        block = rng.normal(0, 1, (1, 1, 8)) + rng.normal(0, 0.7, (2, 2, 8))
        block[hole] = np.nan
        found, covariance = cell_means(block)
        assert covariance is not None
        estimates.append(covariance)
        means.append(found.reshape(-1))
    assert np.mean(estimates, axis=0) == pytest.approx(np.cov(np.array(means).T), abs=0.05)


@pytest.mark.parametrize("random", ["readers_cases", "cases", "readers"])
def test_the_formula_for_absent_readers_is_obuchowski_rockettes_where_none_is_absent(random: Any) -> None:
    foms, errors = cell_means(values(np.random.default_rng(4)))
    assert errors is not None
    means, differences = nested(foms, errors, random=random)
    expected = analyse(foms, errors, random=random)
    for found, wanted in [*zip(means, expected.means, strict=True), (differences[0, 1], expected.differences[0, 1])]:
        assert (found.estimate, found.se, found.df) == pytest.approx((wanted.estimate, wanted.se, wanted.df))


def test_readers_of_one_treatment_each_and_cases_of_one_each_are_two_samples() -> None:
    """Without a common reader or case the two means are independent: their variances add."""
    block = apart(values(np.random.default_rng(5), readers=6))
    block[0, :, : K // 2] = np.nan
    block[1, :, K // 2 :] = np.nan
    result = compare_means(table(block))
    (found,) = result.comparisons
    parts = [m.se for m in result.means]
    assert found.se == pytest.approx(math.hypot(*parts), rel=1e-9)
    assert "pairs of treatments" in result.method
    assert any("nothing to average for reader R0 under A" in said for said in result.warnings)
    assert result.auc["A"]["R0"] is None and result.not_estimable == ""


@pytest.mark.parametrize("design", [thinned, alternate, halves, apart], ids=lambda f: f.__name__)
def test_intervals_cover_as_often_as_they_say(design: Callable) -> None:
    rng = np.random.default_rng(6)
    covered = []
    for _ in range(120):
        foms, errors = cell_means(design(values(rng, readers=6)))
        assert errors is not None
        means, differences = nested(foms, errors)
        covered.append([x.lower <= 0 <= x.upper for x in (differences[0, 1], means[0])])
    # 120 trials of a true 95 % have a standard error of 2 %.
    assert (np.mean(covered, axis=0) > 0.88).all(), np.mean(covered, axis=0)


def test_the_order_of_rows_and_the_unit_of_the_value_change_nothing_else() -> None:
    frame = table(thinned(values(np.random.default_rng(8))))
    found = compare_means(frame).comparisons[0]
    again = compare_means(frame.sample(frac=1, random_state=1).assign(value=lambda f: f.value * 60 + 7)).comparisons[0]
    assert again.difference == pytest.approx(60 * found.difference)
    assert again.se == pytest.approx(60 * found.se)
    assert (again.df, again.p) == pytest.approx((found.df, found.p))


def test_a_reference_and_a_margin_are_in_the_units_of_the_value() -> None:
    frame = table(values(np.random.default_rng(9)) + np.array([0.0, 5.0])[:, None, None])
    (found,) = compare_means(frame, reference="A", margin=2).comparisons
    assert found.treatments == ("B", "A") and 4 < found.difference < 6
    assert found.noninferiority is not None and found.noninferiority.shown
    with pytest.raises(RatingsError, match="reference treatment 'X' is not among A, B"):
        compare_means(frame, reference="X")


def test_one_treatment_has_a_mean_and_no_comparison() -> None:
    block = values(np.random.default_rng(10), treatments=1)
    frame = table(block).drop(columns="treatment")
    result = compare_means(frame)
    assert result.comparisons == () and result.warnings[0].startswith("There is one treatment")
    alone = mean_of(block[0])
    assert (result.means[0].estimate, result.means[0].lower) == pytest.approx((alone.estimate, alone.lower))


def ratio_table(rng: np.random.Generator) -> pd.DataFrame:
    frame = table(values(rng))
    return frame.assign(denominator=(frame.value > -0.4).astype(int), numerator=(frame.value > 0.4).astype(int))


def test_a_ratio_whose_denominator_is_one_is_the_mean() -> None:
    frame = table(thinned(values(np.random.default_rng(11))))
    ratio = compare_ratios(frame.assign(denominator=1), numerator="value").comparisons[0]
    mean = compare_means(frame).comparisons[0]
    assert (ratio.difference, ratio.se, ratio.df) == pytest.approx((mean.difference, mean.se, mean.df))


def test_pooled_and_averaged_ratios_are_what_their_names_say() -> None:
    frame = ratio_table(np.random.default_rng(12))
    sums = frame.groupby(["treatment", "reader"])[["numerator", "denominator"]].sum()
    total = sums.groupby("treatment").sum()
    own = (sums.numerator / sums.denominator).groupby("treatment").mean()
    pooled, averaged = (compare_ratios(frame, weighting=w) for w in ("pooled", "readers"))
    for i, treatment in enumerate("AB"):
        assert pooled.means[i].estimate == pytest.approx(total.numerator[treatment] / total.denominator[treatment])
        assert averaged.means[i].estimate == pytest.approx(own[treatment])
    assert pooled.auc == averaged.auc
    assert pooled.reader_differences == averaged.reader_differences


def test_with_the_same_occasions_for_every_reader_pooling_changes_nothing() -> None:
    block = (values(np.random.default_rng(13)) > 0).astype(float)
    frame = table(block, "numerator").assign(denominator=1)
    pooled, averaged = (compare_ratios(frame, weighting=w).comparisons[0] for w in ("pooled", "readers"))
    assert (pooled.difference, pooled.se, pooled.df) == pytest.approx((averaged.difference, averaged.se, averaged.df))


def test_the_linearised_variance_is_the_jackknifes_in_a_large_sample() -> None:
    rng = np.random.default_rng(14)
    under = (rng.random((1, 1, 2000)) < 0.4).astype(float)
    over = under * (rng.random(under.shape) < 0.3)
    _, _, errors = linearised(over, under, "readers")
    assert errors is not None
    left = (over.sum() - over) / (under.sum() - under)
    jackknife = (left.size - 1) / left.size * ((left - left.mean()) ** 2).sum()
    assert errors[0, 0] == pytest.approx(jackknife, rel=0.01)


def test_a_reader_without_an_occasion_is_named_and_the_others_are_compared() -> None:
    frame = ratio_table(np.random.default_rng(15))
    gone = (frame.reader == "R2") & (frame.treatment == "B")
    frame = frame.assign(denominator=frame.denominator.where(~gone, 0), numerator=frame.numerator.where(~gone, 0))
    averaged = compare_ratios(frame)
    assert "zero throughout for reader R2 under B" in " ".join(averaged.warnings)
    assert averaged.auc["B"]["R2"] is None and averaged.comparisons[0].se is not None
    pooled = compare_ratios(frame, weighting="pooled")
    assert pooled.comparisons[0].se is not None and pooled.auc["B"]["R2"] is None


def test_the_interval_of_a_proportion_stays_within_zero_and_one() -> None:
    rng = np.random.default_rng(16)
    under = np.ones((4, 30))
    over = (rng.random((4, 30)) < 0.04).astype(float)
    found = ratio_of(over, under, scale="logit")
    straight = ratio_of(over, under)
    assert straight.lower < 0 < found.lower < found.estimate < found.upper < 1
    assert found.se == straight.se
    mirrored = ratio_of(under - over, under, scale="logit")
    assert (1 - mirrored.upper, 1 - mirrored.lower) == pytest.approx((found.lower, found.upper))


@pytest.mark.parametrize("scale", ["identity", "logit"])
@pytest.mark.parametrize(
    ("over", "under", "reason"),
    [
        (np.zeros((3, 5)), np.zeros((3, 5)), "there was no occasion"),
        (np.zeros((3, 5)), np.ones((3, 5)), "neither readers nor cases show any variation"),
        (np.ones((3, 1)), np.ones((3, 1)), "readers read a single case"),
        (np.eye(1, 5), np.ones((1, 5)), "there is one reader"),
    ],
    ids=["no occasion", "never", "one case", "one reader"],
)
def test_a_rate_without_an_interval_says_why(over: Any, under: Any, reason: str, scale: Any) -> None:
    found = ratio_of(over, under, scale=scale)
    assert reason in found.not_estimable and found.lower is None
    plain(vars(found))


def test_one_case_or_identical_values_are_not_estimable_and_never_nan() -> None:
    frame = table(values(np.random.default_rng(17)))
    one_case = compare_means(frame[frame.case == 3])
    assert "readers read a single case" in one_case.not_estimable
    same = compare_means(frame.assign(value=1.5))
    assert "not estimable" in same.comparisons[0].not_estimable
    lone = compare_means(frame[frame.reader == "R1"])
    assert "there is one reader" in lone.comparisons[0].not_estimable
    assert compare_means(frame[frame.reader == "R1"], random="cases").comparisons[0].se is not None
    split = frame[(frame.reader == "R1") == (frame.treatment == "A")]
    assert "has a single reader" in compare_means(split).comparisons[0].not_estimable
    for result in (one_case, same, lone, compare_means(split)):
        result.to_dict()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda f: f.drop(columns="value"), "lacks the column value; it needs reader, treatment, case, value"),
        (lambda f: f.iloc[:0], "has no rows"),
        (lambda f: f.assign(value=f.value.astype(object).where(f.index != 4, "fast")), "value of row 5 is 'fast'"),
        (lambda f: f.assign(value=f.value.where(f.index != 4)), "value of row 5 is missing"),
        (lambda f: f.assign(value=f.value.where(f.index != 4, np.inf)), "value of row 5 is inf"),
        (lambda f: pd.concat([f, f.iloc[[2]]]), "repeats row 3; keep one row"),
        (lambda f: f.assign(reader=f.reader.where(f.index != 0, None)), "Row 1 has no reader"),
    ],
    ids=["column", "empty", "text", "missing", "infinite", "twice", "reader"],
)
def test_a_faulty_table_is_refused_with_the_row(change: Any, sentence: str) -> None:
    with pytest.raises(RatingsError, match=sentence):
        compare_means(change(table(values(np.random.default_rng(18)))))


def test_a_reader_of_one_case_borrows_the_variance_of_the_others() -> None:
    block = values(np.random.default_rng(21), readers=4, cases=200)
    block[0, 1, 1:] = np.nan
    foms, errors = cell_means(block)
    assert errors is not None
    assert foms[0, 1] == block[0, 1, 0]
    others = np.nanvar(block[0, [0, 2, 3]], axis=1, ddof=1).mean()
    assert errors[1, 1] == pytest.approx(others)
    assert errors[1, 2] == errors[2, 1]
    assert compare_means(table(block)).comparisons[0].se is not None


def test_an_unknown_argument_or_a_negative_denominator_is_refused() -> None:
    frame = ratio_table(np.random.default_rng(19))
    for arguments, sentence in (
        ({"random": "all"}, "random is 'all'"),
        ({"alpha": 1.0}, "alpha is 1.0"),
        ({"margin": -1}, "margin is -1"),
        ({"weighting": "cases"}, "weighting is 'cases'"),
    ):
        with pytest.raises(RatingsError, match=sentence):
            compare_ratios(frame, **arguments)
    with pytest.raises(RatingsError, match="covariance is 'bootstrap'"):
        compare_means(frame, covariance="bootstrap")
    with pytest.raises(RatingsError, match="denominator of row 1 is negative"):
        compare_ratios(frame.assign(denominator=-1))


def test_numbers_given_as_text_are_numbers() -> None:
    frame = table(values(np.random.default_rng(20)))
    assert compare_means(frame.astype(str)).comparisons[0].se == pytest.approx(compare_means(frame).comparisons[0].se)
    assert read_reads(frame.astype(str), ["value"]).cases[:3] == ("0", "1", "2")
