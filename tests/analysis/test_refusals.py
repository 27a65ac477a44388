"""What cannot be estimated says why; what is faulty is named by its row. NaN is never an answer."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.stats import RatingsError, Result, analyze
from analysis.stats.curves import average_roc, empirical_roc
from analysis.stats.mrmc import COVARIANCE_NAMES, plain
from analysis.stats.reading_time import reading_time
from tests.analysis.simulated import roe_metz


def no_nan(value: Any) -> None:
    if isinstance(value, dict):
        for item in value.values():
            no_nan(item)
    elif isinstance(value, list):
        for item in value:
            no_nan(item)
    elif isinstance(value, float):
        assert math.isfinite(value)


def checked(frame: pd.DataFrame, **options: Any) -> Result:
    result = analyze(frame, **options)
    no_nan(result.to_dict())
    json.dumps(result.to_dict(), allow_nan=False)
    return result


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda f: f.drop(columns="truth"), "The ratings table lacks the column truth; it needs"),
        (lambda f: f.iloc[:0], "The ratings table has no rows; nothing can be analysed."),
        (
            lambda f: f.assign(truth=f.truth.where(f.index != 4)),
            "The truth of row 5 (reader R1, treatment A, case 0-4) is missing",
        ),
        (
            lambda f: f.assign(rating=f.rating.where(f.index != 2)),
            "The rating of row 3 (reader R1, treatment A, case 0-2) is missing",
        ),
        (
            lambda f: f.assign(rating=f.rating.astype(object).where(f.index != 1, "high")),
            "The rating of row 2 (reader R1, treatment A, case 0-1) is the text 'high'; it must be a number.",
        ),
        (
            lambda f: f.assign(truth=f.truth.where(f.index != 0, 2)),
            "The truth of row 1 (reader R1, treatment A, case 0-0) is 2",
        ),
        (
            lambda f: f.assign(truth=f.truth.where(f.index != 20, 1)),
            "Case 0-0 has truth 1 in row 21 (reader R2, treatment A, case 0-0) and 0 in an earlier row; a case has",
        ),
        (
            lambda f: pd.concat([f, f.iloc[[3]]]),
            "Row 161 (reader R1, treatment A, case 0-3) was already rated in row 4; keep one row per",
        ),
        (lambda f: f.assign(reader=f.reader.where(f.index != 6)), "Row 7 has no reader; give every row one."),
    ],
    ids=["no_column", "empty", "no_truth", "no_rating", "text", "truth_2", "two_truths", "twice", "no_reader"],
)
def test_a_faulty_table_is_refused_with_the_row(change: Any, sentence: str) -> None:
    frame = roe_metz(0, readers=2, n0=20, n1=20)
    with pytest.raises(RatingsError) as refused:
        analyze(change(frame))
    assert str(refused.value).startswith(sentence)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"fom": "dprime"},
            "fom is 'dprime'; it must be one of 'auc', 'sensitivity', 'specificity', 'partial_auc'.",
        ),
        (
            {"covariance": "magic"},
            f"covariance is 'magic'; it must be one of {', '.join(map(repr, COVARIANCE_NAMES))}.",
        ),
        ({"random": "none"}, "random is 'none'; it must be one of 'readers+cases', 'cases', 'readers'."),
        (
            {"margin": 5},
            "The non-inferiority margin is 5; it must be between 0 and 1, in units of the figure of merit.",
        ),
        ({"reference": "Z"}, "The reference treatment 'Z' is not among A, B."),
        ({"alpha": 0}, "alpha is 0; it must be between 0 and 1."),
        (
            {"equivalence": True},
            "Equivalence needs a margin: how far apart two treatments may be and count as equivalent.",
        ),
        ({"replicates": 1}, "replicates is 1; a bootstrap needs two draws, and 2000 are usual."),
        ({"multiplicity": "bh"}, "multiplicity is 'bh'; it must be one of 'holm', 'bonferroni', 'none'."),
        ({"df": "best"}, "df is 'best'; it must be one of 'hillis', 'original'."),
        (
            {"covariance": "ustat", "random": "cases"},
            "The U-statistic analysis takes readers and cases as random; ask for another where one is fixed.",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_an_unknown_option_is_refused_with_the_choices(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(RatingsError) as refused:
        analyze(roe_metz(0), **options)
    assert str(refused.value) == sentence


@pytest.mark.parametrize("random", ["readers_cases", "readers"])
def test_one_reader_is_not_estimable_when_readers_are_random(random: str) -> None:
    result = checked(roe_metz(1, readers=1), random=random)
    (comparison,) = result.comparisons
    assert comparison.se is None
    assert comparison.not_estimable.startswith("not estimable, because there is one reader")
    assert comparison.difference == pytest.approx(result.auc["A"]["R1"] - result.auc["B"]["R1"])


def test_one_truth_class_is_not_estimable() -> None:
    frame = roe_metz(1)
    result = checked(frame[frame.truth == 0])
    assert result.not_estimable == "not estimable, because no case is diseased: an AUC needs both classes"
    assert all(cell.auc is None and cell.not_estimable for cell in result.cells)
    assert result.comparisons[0].not_estimable == result.not_estimable


def test_one_diseased_case_has_aucs_and_no_variance() -> None:
    frame = roe_metz(1, n1=1)
    result = checked(frame)
    assert "there are 1 diseased and 20 non-diseased" in result.not_estimable
    assert all(cell.auc is not None and cell.se is None for cell in result.cells)


@pytest.mark.parametrize("covariance", ["delong", "jackknife", "unbiased"])
@pytest.mark.parametrize("random", ["readers_cases", "cases", "readers"])
def test_perfect_readers_are_not_estimable_and_named(covariance: str, random: str) -> None:
    frame = roe_metz(1)
    perfect = frame.assign(rating=frame.truth)
    result = checked(perfect, covariance=covariance, random=random)
    (comparison,) = result.comparisons
    assert comparison.difference == 0 and comparison.se is None
    assert comparison.not_estimable.startswith("not estimable, because")
    assert any("R1 under A" in warning for warning in result.warnings)
    assert result.omnibus is not None and result.omnibus.p is None


def test_readers_who_differ_by_the_same_amount_get_a_normal_law() -> None:
    frame = roe_metz(1, readers=1)
    twins = pd.concat([frame, frame.assign(reader="R2"), frame.assign(reader="R3")])
    result = checked(twins)
    (comparison,) = result.comparisons
    assert comparison.df == math.inf and comparison.p is not None
    assert result.to_dict()["comparisons"][0]["df"] == "infinite"


def test_missing_cells_are_named_and_the_analysis_of_any_design_taken() -> None:
    frame = roe_metz(1)
    result = checked(frame.drop(index=[0, 25]))
    assert "2 of 320 ratings are missing (reader R1 has no rating of case 0-0 under A; reader R2" in result.warnings[0]
    assert "U-statistic analysis of any design stands in" in result.warnings[0]
    assert result.covariance == "ustat" and "because ratings are missing" in result.method
    assert all(cell.auc is not None for cell in result.cells)
    assert result.comparisons[0].p is not None


def test_a_reader_who_saw_one_class_stops_the_comparison_and_is_named() -> None:
    frame = roe_metz(1)
    result = checked(frame[~((frame.reader == "R2") & (frame.treatment == "B") & (frame.truth == 1))])
    (cell,) = [cell for cell in result.cells if cell.auc is None]
    assert (cell.reader, cell.treatment) == ("R2", "B")
    assert "reader R2 rated only one class of cases" in cell.not_estimable
    assert result.not_estimable == (
        "not estimable, because the AUC needs cases of both classes, which are not there for reader R2 under B"
    )
    assert all(mean.se is None and mean.not_estimable for mean in result.means)
    assert [mean.estimate is None for mean in result.means] == [False, True]
    assert result.comparisons[0].difference is None


def test_one_treatment_gives_means_no_comparison_and_a_warning() -> None:
    result = checked(roe_metz(1, treatments=("A",)))
    assert result.comparisons == () and result.means[0].se is not None
    assert result.warnings[0].startswith("There is one treatment")


def test_ratings_of_minus_infinity_are_ordinary_lowest_ratings() -> None:
    frame = roe_metz(1)
    low = frame.rating < 0
    infinite = checked(frame.assign(rating=frame.rating.where(~low, -np.inf)))
    finite = checked(frame.assign(rating=frame.rating.where(~low, -99.0)))
    assert infinite.to_dict() == finite.to_dict()


def test_fixed_readers_or_cases_carry_a_warning() -> None:
    assert "these readers" in checked(roe_metz(1), random="cases").warnings[0]
    assert "these cases" in checked(roe_metz(1), random="readers").warnings[0]


def test_the_result_cannot_be_changed_and_has_one_row_per_estimate() -> None:
    result = checked(roe_metz(1), margin=0.1)
    with pytest.raises(AttributeError):
        result.alpha = 0.1  # type: ignore[misc]
    table = result.to_frame()
    assert list(table.kind.value_counts().items()) == [
        ("auc", 8),
        ("reader difference", 4),
        ("mean", 2),
        ("difference", 1),
    ]


def test_a_nan_in_a_result_is_a_defect_that_is_raised() -> None:
    with pytest.raises(ValueError, match="A NaN reached a result"):
        plain({"x": [float("nan")]})


def test_a_curve_of_one_class_or_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="one of the two classes is empty"):
        empirical_roc([1, 1], [1.0, 2.0])
    with pytest.raises(ValueError, match="A rating is NaN"):
        empirical_roc([1, 0], [1.0, np.nan])
    with pytest.raises(ValueError, match="no curves"):
        average_roc([])


def times(*, readers: int = 4, cases: int = 12, ratio: float = 0.8, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    by_case = rng.normal(0, 0.3, cases)
    rows = []
    for j in range(readers):
        level, slope = rng.normal(3.5, 0.2), rng.normal(np.log(ratio), 0.05)
        for k in range(cases):
            for period in (1, 2):
                assisted = int((period + j + k) % 2)
                log = level + slope * assisted + by_case[k] - 0.1 * (period - 1) + rng.normal(0, 0.2)
                rows.append({"reader": j, "case": k, "assisted": assisted, "period": period, "seconds": np.exp(log)})
    return pd.DataFrame(rows)


def test_reading_time_finds_the_ratio_that_was_simulated() -> None:
    found = reading_time(times(readers=8, cases=40, ratio=0.7))
    assert found.ratio_lower < 0.7 < found.ratio_upper
    no_nan(found.to_dict())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda f: f[f.assisted == 1], "every reading is assisted: there is nothing to compare"),
        (lambda f: f[f.reader == 0], "there is one reader"),
        (lambda f: f.assign(period=f.assisted + 1), "period and assistance change together"),
        (lambda f: f.assign(seconds=30.0), "the times leave no residual variation"),
    ],
    ids=["one_arm", "one_reader", "confounded", "constant"],
)
def test_reading_time_that_cannot_be_modelled_says_why(change: Any, reason: str) -> None:
    found = reading_time(change(times()))
    assert found.ratio is None and found.not_estimable.startswith(f"not estimable, because {reason}")
    assert found.geometric_means
    no_nan(found.to_dict())


def test_one_period_leaves_the_period_out_and_says_so() -> None:
    found = reading_time(times().assign(period=1))
    assert [effect.term for effect in found.fixed] == ["intercept", "assisted"]
    assert "no period term" in found.warnings[0]


def test_a_faulty_time_is_refused_with_the_row() -> None:
    frame = times()
    with pytest.raises(RatingsError, match=r"Row 3 has seconds 0.0; it must be more than 0\."):
        reading_time(frame.assign(seconds=frame.seconds.where(frame.index != 2, 0.0)))
    with pytest.raises(RatingsError, match="lacks the column period"):
        reading_time(frame.drop(columns="period"))
