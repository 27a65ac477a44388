"""Studies in which not every reader rated every case under every treatment, and whatever can go wrong at once."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.stats import RatingsError, Result, analyze
from tests.analysis.simulated import roe_metz


def without(frame: pd.DataFrame, share: float, seed: int = 0) -> pd.DataFrame:
    return frame[np.random.default_rng(seed).random(len(frame)) >= share]


def test_pairwise_covariances_of_a_full_study_are_delongs() -> None:
    frame = roe_metz(2)
    pairwise, delong = analyze(frame, covariance="pairwise"), analyze(frame)
    assert pairwise.comparisons[0].se == pytest.approx(delong.comparisons[0].se)
    assert pairwise.comparisons[0].df == pytest.approx(delong.comparisons[0].df)


def test_pairwise_and_ustatistics_agree_where_little_is_missing() -> None:
    frame = without(roe_metz(15, readers=6, n0=60, n1=60), 0.05)
    assert analyze(frame, covariance="pairwise").components.cov2 > 1e-4  # nothing is truncated
    (ustat,), (pairwise,) = analyze(frame).comparisons, analyze(frame, covariance="pairwise").comparisons
    assert pairwise.se == pytest.approx(ustat.se, rel=0.1)
    assert pairwise.difference == pytest.approx(ustat.difference, abs=0.01)
    result = analyze(frame, covariance="pairwise")
    assert result.method.startswith("Obuchowski–Rockette") and "not pooled" in " ".join(result.conventions)


@pytest.mark.parametrize("random", ["cases", "readers"])
def test_with_one_factor_fixed_missing_cells_lead_to_pairwise_covariances(random: str) -> None:
    result = analyze(without(roe_metz(4), 0.05), random=random)
    assert result.covariance == "pairwise" and result.comparisons[0].p is not None
    assert any("covariances are pairwise" in said for said in result.warnings)


@pytest.mark.parametrize(("fom", "threshold"), [("sensitivity", 1.0), ("specificity", 0.5)])
def test_at_a_threshold_missing_cells_lead_to_ustatistics_of_the_calls(fom: str, threshold: float) -> None:
    frame = roe_metz(2, n0=60, n1=60)
    full = analyze(frame, fom=fom, threshold=threshold, covariance="ustat")
    unbiased = analyze(frame, fom=fom, threshold=threshold, covariance="unbiased")
    assert unbiased.components.cov2 > unbiased.components.cov3  # nothing is truncated
    assert full.comparisons[0].se == pytest.approx(unbiased.comparisons[0].se)
    part = analyze(without(frame, 0.1), fom=fom, threshold=threshold)
    assert part.covariance == "ustat" and part.comparisons[0].se is not None


def test_missing_ratings_without_a_part_in_the_figure_of_merit_are_no_holes() -> None:
    frame = roe_metz(4)
    nondiseased = frame[frame.truth == 0]
    holed = pd.concat([frame[frame.truth == 1], without(nondiseased, 0.5)])
    for covariance in ("delong", "jackknife", "unbiased", "bootstrap"):
        options = {"fom": "sensitivity", "threshold": 1.0, "covariance": covariance, "replicates": 30}
        first, second = analyze(frame, **options), analyze(holed, **options)
        assert first.comparisons == second.comparisons and second.covariance == covariance
    nested = holed[(holed.reader < "R3") == (holed.treatment == "A")]
    assert analyze(nested, fom="sensitivity", threshold=1.0).comparisons[0].p is not None


def test_a_partial_auc_with_missing_cells_has_pairwise_covariances() -> None:
    result = analyze(without(roe_metz(4), 0.1), fom="partial_auc", fpr=(0, 0.3))
    assert result.covariance == "pairwise" and result.comparisons[0].p is not None


def test_readers_nested_in_treatments_are_compared_by_ustatistics_alone() -> None:
    frame = roe_metz(4, readers=8)
    nested = frame[(frame.reader < "R5") == (frame.treatment == "A")]
    result = analyze(nested)
    assert result.comparisons[0].p is not None
    assert result.reader_differences and all(change.se is None for change in result.reader_differences)
    pairwise = analyze(nested, covariance="pairwise")
    assert "needs a AUC" not in pairwise.not_estimable
    assert pairwise.not_estimable.startswith("not estimable, because the Obuchowski–Rockette analysis needs the AUC of")


def test_unpaired_cases_are_compared_by_ustatistics() -> None:
    frame = roe_metz(4, n0=40, n1=40)
    first = frame.case.str.split("-").str[1].astype(int) < 20
    result = analyze(frame[first == (frame.treatment == "A")])
    (found,) = result.comparisons
    assert result.covariance == "ustat" and found.p is not None
    # Readers are shared, so the two treatments' averages are still correlated.
    assert {moments.treatments: moments.covariance for moments in result.moments}["A", "B"] != 0


def test_a_reference_comes_last_in_ustatistics_too() -> None:
    frame = without(roe_metz(0, n0=40, n1=40, treatments=("A", "B", "C")), 0.05)
    plain_, turned = analyze(frame), analyze(frame, reference="A", margin=0.1, equivalence=True)
    assert turned.treatments == ("B", "C", "A")
    first = {found.treatments: found for found in plain_.comparisons}
    for found in turned.comparisons:
        a, b = found.treatments
        one, sign = (first[a, b], 1) if (a, b) in first else (first[b, a], -1)
        assert found.difference == pytest.approx(sign * one.difference)
        assert found.p == pytest.approx(one.p) and found.p_holm == pytest.approx(one.p_holm)
        assert found.equivalence is not None and found.noninferiority is not None
        assert found.ci is not None and found.noninferiority.lower == pytest.approx(found.ci[0])


def test_type_one_error_of_a_split_plot_study_is_near_its_level() -> None:
    """100 null studies of two blocks: at a true 5 % level more than 12 rejections happen once in 670 times."""
    rejected = 0
    for seed in range(100):
        frame = roe_metz(seed, readers=6, n0=24, n1=24)
        block = frame.case.str.split("-").str[1].astype(int) % 2
        reader = frame.reader.str[1:].astype(int) % 2
        (found,) = analyze(frame[block == reader]).comparisons
        rejected += found.p is not None and found.p < 0.05
    assert rejected <= 12


values = st.sampled_from([-np.inf, -1.0, 0.0, 1.0, 1.0, 2.0, np.inf])
OPTIONS = (
    {},
    {"fom": "sensitivity", "threshold": 1.0},
    {"fom": "specificity", "threshold": 1.0},
    {"fom": "partial_auc", "fpr": (0.0, 0.4)},
    {"fom": "partial_auc", "tpr": (0.5, 1.0), "standardise": "mcclish"},
)


@st.composite
def tables(draw: st.DrawFn) -> pd.DataFrame:
    readers, treatments = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    n1, n0 = draw(st.integers(0, 4)), draw(st.integers(0, 4))
    rows = [
        (f"r{j}", f"t{i}", f"c{k}", int(k < n1), draw(values))
        for j in range(readers)
        for i in range(treatments)
        for k in range(n1 + n0)
    ]
    frame = pd.DataFrame(rows, columns=["reader", "treatment", "case", "truth", "rating"])
    holes = draw(st.sampled_from([0.0, 0.0, 0.1, 0.4]))
    return without(frame, holes, draw(st.integers(0, 100)))


@settings(max_examples=150, deadline=None)
@given(
    tables(),
    st.sampled_from(OPTIONS),
    st.sampled_from(["delong", "jackknife", "unbiased", "bootstrap", "pairwise", "ustat"]),
    st.sampled_from(["readers+cases", "cases", "readers"]),
)
def test_whatever_is_given_no_number_is_nan_and_what_is_absent_says_why(
    frame: pd.DataFrame, options: dict, covariance: str, random: str
) -> None:
    try:
        result: Result = analyze(
            frame, covariance=covariance, random=random, margin=0.1, equivalence=True, replicates=20, **options
        )
    except RatingsError:
        # What is refused is refused with a sentence; anything else that is raised fails the test.
        return
    json.dumps(result.to_dict(), allow_nan=False)
    for mean in result.means:
        assert (mean.se is not None) != bool(mean.not_estimable)
    for found in result.comparisons:
        assert (found.p is not None) != bool(found.not_estimable)
        assert found.not_estimable == "" or found.not_estimable.startswith("not estimable, because")
        assert found.se is None or found.se > 0
    for cell in result.cells:
        assert cell.se is not None or cell.not_estimable
    for change in result.reader_differences:
        assert change.se is not None or change.not_estimable
