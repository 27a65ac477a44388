"""LROC: ALROC and PCL against their definitions, and what must hold of any table."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.stats import RatingsError, Result, analyze
from analysis.stats.lroc import analyze_lroc, fraction_located, lowered, lroc_curve, read_localisations
from tests.analysis.simulated import roe_metz

seeds = st.integers(0, 10_000)
quick = settings(max_examples=8, deadline=None)


def localised(seed: int, *, right: float = 0.8, **options: Any) -> pd.DataFrame:
    """Roe and Metz ratings whose place is right the more often the higher the rating."""
    frame = roe_metz(seed, **options)
    rng = np.random.default_rng(seed)
    chance = np.clip(right + 0.1 * frame.rating, 0, 1)
    return frame.assign(correct=((rng.random(len(frame)) < chance) & (frame.truth == 1)).astype(int))


def checked(frame: pd.DataFrame, *args: Any, **options: Any) -> Result:
    result = analyze_lroc(frame, *args, **options)
    json.dumps(result.to_dict(), allow_nan=False)
    return result


def alroc(cell: pd.DataFrame) -> float:
    """By definition, pair by pair."""
    high, low = cell[cell.truth == 1], cell[cell.truth == 0].rating.to_numpy()
    return float(
        np.mean([c * ((x > low) + 0.5 * (x == low)).mean() for x, c in zip(high.rating, high.correct, strict=True)])
    )


@quick
@given(seeds)
def test_alroc_is_its_definition_and_the_area_under_the_curve(seed: int) -> None:
    frame = localised(seed, n0=6, n1=6)
    frame.loc[frame.index % 7 == 0, "rating"] = -np.inf
    result, table = checked(frame), read_localisations(frame)
    for (reader, treatment), cell in frame.groupby(["reader", "treatment"]):
        value = result.auc[str(treatment)][str(reader)]
        assert value == pytest.approx(alroc(cell))
        assert lroc_curve(table, str(treatment), str(reader)).area == pytest.approx(value)


@quick
@given(seeds)
def test_the_jackknife_equals_leaving_cases_out_one_by_one(seed: int) -> None:
    frame = localised(seed, readers=1, treatments=("A",), n0=5, n1=6)
    left = np.array([alroc(frame[frame.case != case]) for case in frame.case])
    n = len(left)
    (cell,) = checked(frame, random="cases").cells
    expected = np.sqrt((n - 1) / n * ((left - np.mean(left)) ** 2).sum())
    assert (cell.se or 0) == pytest.approx(expected, abs=1e-9)


@quick
@given(seeds, st.floats(0.01, 1.0))
def test_pcl_is_read_off_the_curve(seed: int, fpf: float) -> None:
    frame = localised(seed, n0=7, n1=6)
    table = read_localisations(frame)
    x, y = lowered(table)
    curve = lroc_curve(table, "A", "R1")
    # Between two fractions of false positives the polyline has one height there; numpy takes it from its right end.
    if np.abs(curve.fpr - fpf).min() > 1e-9:
        assert fraction_located(x[0], y[0], fpf) == pytest.approx(np.interp(fpf, curve.fpr, curve.tpr))
    for at in np.unique(curve.fpr)[1:]:
        assert fraction_located(x[0], y[0], at) == pytest.approx(curve.tpr[curve.fpr == at].max())


def test_pcl_at_one_is_the_fraction_located() -> None:
    frame = localised(3)
    result = checked(frame, "pcl", fpf=1.0)
    located = frame[frame.truth == 1].groupby(["treatment", "reader"]).correct.mean()
    for (treatment, reader), value in located.items():
        assert result.auc[treatment][reader] == pytest.approx(value)
    assert "PCL at a false-positive fraction of 1" in result.method


def test_where_every_place_is_right_alroc_is_the_auc_with_its_covariances() -> None:
    frame = localised(1).assign(correct=lambda rows: rows.truth)
    for covariance in ("jackknife", "delong", "unbiased"):
        (located,) = checked(frame, covariance=covariance).comparisons
        (plain,) = analyze(frame, covariance=covariance).comparisons
        assert (located.difference, located.se, located.p) == pytest.approx((plain.difference, plain.se, plain.p))


def test_a_wrong_place_never_ties_even_with_the_lowest_rating() -> None:
    frame = localised(1, n0=4, n1=4).assign(rating=-np.inf, correct=0)
    assert set(checked(frame).auc["A"].values()) == {0.0}


@quick
@given(seeds)
def test_a_monotone_change_of_the_scale_and_the_row_order_change_nothing(seed: int) -> None:
    frame = localised(seed)
    other = frame.assign(rating=np.exp(frame.rating)).sample(frac=1, random_state=seed)
    for options in ({"fom": "alroc"}, {"fom": "pcl", "fpf": 0.3}):
        (first,), (second,) = checked(frame, **options).comparisons, checked(other, **options).comparisons
        assert (first.difference, first.se) == pytest.approx((second.difference, second.se))


def test_text_as_a_file_gives_it_is_read_as_the_numbers_it_is() -> None:
    frame = localised(2, n0=3, n1=3)
    given_as_text = frame.assign(correct=[str(c) if t else "" for c, t in zip(frame.correct, frame.truth, strict=True)])
    np.testing.assert_array_equal(read_localisations(given_as_text).correct, read_localisations(frame).correct)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda f: f.drop(columns="correct"), "The ratings table lacks the column correct; it is 1 where the place"),
        (
            lambda f: f.assign(correct=f.correct.astype(object).where(f.index != 16, "yes")),
            "correct of row 17 (reader R1, treatment A, case 1-0) is 'yes'; it must be 1 (the lesion's place) or 0.",
        ),
        (
            lambda f: f.assign(correct=f.correct.where(f.index != 16)),
            "correct of row 17 (reader R1, treatment A, case 1-0) is missing; it must be 1 (the lesion's place) or 0.",
        ),
        (
            lambda f: f.assign(correct=f.correct.where(f.index != 16, 2)),
            "correct of row 17 (reader R1, treatment A, case 1-0) is 2; it must be 1 (the lesion's place) or 0.",
        ),
        (
            lambda f: f.assign(correct=f.correct.where(f.index != 1, 1)),
            "correct of row 2 (reader R1, treatment A, case 0-1) is 1 and the case is not diseased; there is no lesion",
        ),
        (lambda f: f.drop(index=0), "1 ratings are missing: reader R1 has no rating of case 0-0 under A; an LROC"),
    ],
    ids=["no_column", "text", "missing", "two", "normal", "missing_cell"],
)
def test_a_faulty_table_is_refused_with_the_row(change: Any, sentence: str) -> None:
    frame = localised(0, readers=2, n0=4, n1=4)
    with pytest.raises(RatingsError) as refused:
        analyze_lroc(change(frame))
    assert str(refused.value).startswith(sentence)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"fom": "auc"}, "fom is 'auc'; it must be one of 'alroc', 'pcl'."),
        ({"fom": "pcl"}, "PCL needs the false-positive fraction it is taken at, above 0 and at most 1, not None."),
        (
            {"fom": "pcl", "fpf": 0.0},
            "PCL needs the false-positive fraction it is taken at, above 0 and at most 1, not 0",
        ),
        ({"fom": "pcl", "fpf": 0.5, "covariance": "delong"}, "PCL at a false-positive fraction has no structural"),
    ],
)
def test_an_unknown_option_is_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(RatingsError) as refused:
        analyze_lroc(localised(0), **options)
    assert str(refused.value).startswith(sentence)


@pytest.mark.parametrize("fom", ["alroc", "pcl"])
def test_one_class_and_too_few_cases_are_not_estimable(fom: str) -> None:
    frame = localised(1)
    lone = checked(frame[frame.truth == 0], fom, fpf=0.5)
    assert lone.not_estimable == "not estimable, because no case is diseased: an LROC curve needs both classes"
    few = checked(localised(1, n1=1), fom, fpf=0.5)
    assert "there are 1 diseased and 20 non-diseased" in few.not_estimable and few.auc["A"]["R1"] is not None
