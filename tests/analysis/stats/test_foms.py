"""Figures of merit against their definitions, case by case."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.stats import RatingsError, analyze
from analysis.stats.components import (
    Components,
    components,
    delong_covariance,
    jackknife_covariance,
    unbiased_covariance,
)
from analysis.stats.curves import empirical_roc
from analysis.stats.foms import FIGURES_OF_MERIT, FigureOfMerit, figure_of_merit
from tests.analysis.simulated import roe_metz

scores = st.lists(st.sampled_from([-np.inf, -1.0, 0.0, 0.5, 1.0, 2.0, np.inf]), min_size=2, max_size=8)
spans = st.lists(st.integers(0, 12), min_size=2, max_size=2, unique=True).map(lambda e: (min(e) / 12, max(e) / 12))
ALL = (
    figure_of_merit("auc"),
    figure_of_merit("sensitivity", threshold=1),
    figure_of_merit("specificity", threshold=1),
    figure_of_merit("partial_auc", fpr=(0, 0.25)),
    figure_of_merit("partial_auc", tpr=(0.6, 1), standardise="mcclish"),
)
named = pytest.mark.parametrize("fom", ALL, ids=["auc", "sensitivity", "specificity", "fpr", "tpr"])


def area_of_polyline(high: np.ndarray, low: np.ndarray, start: float, stop: float) -> float:
    """Segment by segment, with no formula of the library's."""
    curve = empirical_roc(np.r_[np.ones(len(high)), np.zeros(len(low))], np.r_[high, low])
    total = 0.0
    for x0, x1, y0, y1 in zip(curve.fpr[:-1], curve.fpr[1:], curve.tpr[:-1], curve.tpr[1:], strict=True):
        left, right = max(x0, start), min(x1, stop)
        if right > left:
            at_left, at_right = (y0 + (y1 - y0) * (x - x0) / (x1 - x0) for x in (left, right))
            total += (right - left) * (at_left + at_right) / 2
    return total


def value(fom: FigureOfMerit, high: np.ndarray, low: np.ndarray) -> float:
    return float(fom.components(high[None], low[None]).auc[0])


@given(scores, scores, spans)
def test_a_partial_area_is_that_under_the_polyline(high: list[float], low: list[float], span: tuple) -> None:
    x, y = np.array(high), np.array(low)
    assert value(figure_of_merit("partial_auc", fpr=span), x, y) == pytest.approx(area_of_polyline(x, y, *span))
    right_of = area_of_polyline(-y, -x, 1 - span[1], 1 - span[0])
    assert value(figure_of_merit("partial_auc", tpr=span), x, y) == pytest.approx(right_of)


@given(scores, scores)
def test_the_partial_area_over_everything_is_the_auc_with_its_components(high: list[float], low: list[float]) -> None:
    x, y = np.array(high)[None], np.array(low)[None]
    whole = components(x, y)
    for options in ({"fpr": (0, 1)}, {"tpr": (0, 1)}):
        parts = figure_of_merit("partial_auc", **options).components(x, y)
        for ours, theirs in ((parts.auc, whole.auc), (parts.v10, whole.v10), (parts.v01, whole.v01)):
            np.testing.assert_allclose(ours, theirs, atol=1e-12)


def test_standardised_partial_areas_map_chance_and_perfection() -> None:
    levels = np.arange(200.0)
    chance, perfect = (levels, levels), (levels + 500, levels)
    for span in ({"fpr": (0.1, 0.4)}, {"tpr": (0.6, 0.9)}):
        mcclish = figure_of_merit("partial_auc", standardise="mcclish", **span)
        assert value(mcclish, *chance) == pytest.approx(0.5, abs=1e-12)
        assert value(mcclish, *perfect) == pytest.approx(1)
        assert value(figure_of_merit("partial_auc", standardise="range", **span), *perfect) == pytest.approx(1)
        assert value(figure_of_merit("partial_auc", **span), *perfect) == pytest.approx(0.3)


@given(scores, scores, st.sampled_from([-1.0, 0.0, 0.7, 2.0, 9.0, np.inf]))
def test_sensitivity_and_specificity_count_cases_at_or_above_the_threshold(
    high: list[float], low: list[float], threshold: float
) -> None:
    x, y = np.array(high), np.array(low)
    assert value(figure_of_merit("sensitivity", threshold=threshold), x, y) == pytest.approx(np.mean(x >= threshold))
    assert value(figure_of_merit("specificity", threshold=threshold), x, y) == pytest.approx(np.mean(y < threshold))


@named
@given(scores, scores)
def test_components_say_what_leaving_a_case_out_does(fom: FigureOfMerit, high: list[float], low: list[float]) -> None:
    x, y = np.array(high), np.array(low)
    parts = fom.components(x[None], y[None])
    n1, n0 = len(x), len(y)
    without = [value(fom, np.delete(x, i), y) for i in range(n1)]
    without += [value(fom, x, np.delete(y, i)) for i in range(n0)]
    if fom.informative[0]:
        np.testing.assert_allclose((n1 * parts.auc[0] - parts.v10[0]) / (n1 - 1), without[:n1], atol=1e-12)
    if fom.informative[1]:
        np.testing.assert_allclose((n0 * parts.auc[0] - parts.v01[0]) / (n0 - 1), without[n1:], atol=1e-12)
    n = n1 + n0
    expected = (n - 1) / n * ((np.array(without) - np.mean(without)) ** 2).sum()
    assert jackknife_covariance(parts)[0, 0] == pytest.approx(expected, abs=1e-12)


@named
@given(scores, scores, st.integers(0, 10_000))
def test_counting_cases_several_times_is_repeating_them(
    fom: FigureOfMerit, high: list[float], low: list[float], seed: int
) -> None:
    x, y = np.array(high), np.array(low)
    rng = np.random.default_rng(seed)
    often1, often0 = (rng.multinomial(len(v), np.full(len(v), 1 / len(v)), 3) for v in (x, y))
    found = fom.weighted(x, y, often1.astype(float), often0.astype(float))
    for row in range(3):
        assert found[row] == pytest.approx(value(fom, np.repeat(x, often1[row]), np.repeat(y, often0[row])), abs=1e-12)


@given(scores, scores, st.integers(0, 100))
def test_with_one_class_the_unbiased_covariance_is_that_of_a_mean(
    high: list[float], low: list[float], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    x, y = np.stack([high, rng.permutation(high)]), np.stack([low, rng.permutation(low)])
    for fom in ALL[1:3]:
        parts = fom.components(x, y)
        general = Components(parts.auc, parts.v10, parts.v01)
        np.testing.assert_allclose(
            unbiased_covariance(general, x, y, fom.kernel), delong_covariance(parts), rtol=1e-9, atol=1e-12
        )


def test_a_sensitivity_has_the_variance_of_a_proportion() -> None:
    x, y = np.array([[1.0, 1, 0, 1, 0, 0, 1]]), np.array([[0.0]])
    parts = figure_of_merit("sensitivity", threshold=1).components(x, y)
    assert delong_covariance(parts)[0, 0] == pytest.approx(4 / 7 * 3 / 7 / 6)


def test_a_sensitivity_needs_no_nondiseased_case() -> None:
    frame = roe_metz(1)
    result = analyze(frame[frame.truth == 1], fom="sensitivity", threshold=1)
    assert result.not_estimable == "" and result.comparisons[0].p is not None
    both = analyze(frame, fom="sensitivity", threshold=1)
    assert both.comparisons[0].se == pytest.approx(result.comparisons[0].se)
    none = analyze(frame[frame.truth == 0], fom="sensitivity", threshold=1)
    assert none.not_estimable == "not estimable, because no case is diseased"


@pytest.mark.parametrize(("fom", "truth"), [("sensitivity", 1), ("specificity", 0)])
def test_at_a_threshold_the_result_is_that_of_right_calls(fom: str, truth: int) -> None:
    frame = roe_metz(3, readers=5)
    result = analyze(frame, fom=fom, threshold=0.8)
    own = frame[frame.truth == truth]
    right = (own.rating >= 0.8) if truth else (own.rating < 0.8)
    shares = right.groupby([own.treatment, own.reader]).mean()
    for treatment, readers in result.auc.items():
        for reader, found in readers.items():
            assert found == pytest.approx(shares[treatment, reader])
    assert result.to_dict()["fom_values"] == result.to_dict()["auc"]
    assert any("A case is called positive at a rating of 0.8 or more" in said for said in result.conventions)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(["delong", "jackknife", "bootstrap"]))
def test_a_monotone_change_of_the_scale_leaves_a_partial_auc(seed: int, covariance: str) -> None:
    frame = roe_metz(seed)
    stretched = frame.assign(rating=np.exp(3 * frame.rating) - 7)
    options = {"fom": "partial_auc", "fpr": (0.0, 0.3), "covariance": covariance, "replicates": 50}
    assert analyze(frame, **options).to_dict() == analyze(stretched, **options).to_dict()


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("sensitivity", {}, "The sensitivity needs a threshold: a case rated at or above it is called positive."),
        ("auc", {"threshold": 3}, "A threshold is given, and the AUC has none; ask for sensitivity or specificity."),
        ("auc", {"fpr": (0, 0.5)}, "A range of the curve belongs to a partial AUC, not to the AUC."),
        (
            "partial_auc",
            {},
            "A partial AUC needs one range of the curve, of false-positive fractions or sensitivities.",
        ),
        (
            "partial_auc",
            {"fpr": (0.5, 0.2)},
            "The range of false-positive fractions is 0.5 to 0.2; it must rise within 0 to 1.",
        ),
        ("partial_auc", {"tpr": (0, 2)}, "The range of sensitivities is 0 to 2; it must rise within 0 to 1."),
        ("sensitivity", {"threshold": float("nan")}, "The threshold is no number."),
        (
            "partial_auc",
            {"fpr": (0, 1), "standardise": "yes"},
            "standardise is 'yes'; it must be one of 'none', 'range', 'mcclish'.",
        ),
    ],
)
def test_what_a_figure_of_merit_needs_is_asked_for(name: str, options: dict, sentence: str) -> None:
    with pytest.raises(RatingsError) as refused:
        figure_of_merit(name, **options)
    assert str(refused.value) == sentence


def test_a_partial_auc_has_no_unbiased_covariance() -> None:
    with pytest.raises(RatingsError, match="The partial AUC is no U-statistic, so it has no unbiased covariance"):
        analyze(roe_metz(1), fom="partial_auc", fpr=(0, 0.2), covariance="unbiased")


def test_every_figure_of_merit_is_analysed_with_every_covariance_it_has() -> None:
    options = {"sensitivity": {"threshold": 1}, "specificity": {"threshold": 0.5}, "partial_auc": {"fpr": (0, 0.3)}}
    frame = roe_metz(5, n0=40, n1=40)
    for fom in FIGURES_OF_MERIT:
        names = ["delong", "jackknife", "bootstrap", "pairwise"]
        names += [] if fom == "partial_auc" else ["unbiased", "ustat"]
        ses = {name: analyze(frame, fom=fom, covariance=name, **options.get(fom, {})).cells[0].se for name in names}
        assert all(se == pytest.approx(ses["delong"], rel=0.25) for se in ses.values()), (fom, ses)
        assert ses["pairwise"] == pytest.approx(ses["delong"])
