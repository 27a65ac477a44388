"""Fitted ROC curves: against programs that others wrote, against their definition, and where there is no maximum."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, special, stats

from analysis.stats import RatingsError
from analysis.stats import parametric as module
from analysis.stats.components import delong_covariance
from analysis.stats.curves import average_smooth, empirical_roc
from analysis.stats.obuchowski_rockette import analyse
from analysis.stats.parametric import (
    MODELS,
    Fit,
    Model,
    area_components,
    average_band,
    average_parameters,
    fit_binormal,
    fit_counts,
    fit_proper,
    pooled_fit,
    smooth_curve,
    truth_state_runs,
)
from tests.analysis.golden import ratings
from tests.reference import needs_reference

#: Counts per category, non-diseased then diseased. Chakraborty, Observer Performance Methods (2017), table 4.1.
CHAKRABORTY = ([30, 19, 8, 2, 1], [5, 6, 5, 12, 22])
#: CT of 109 patients: Hanley & McNeil, Radiology 143:29 (1982), table 1.
HANLEY = ([33, 6, 6, 11, 2], [3, 2, 2, 11, 33])

#: What Metz's own PROPROC (in OR-DBM MRMC 2.5) printed for each treatment and reader: area, c, d_a; from the result
#: files that dpc10ster/RJafroc carries (inst/MRMCRuns). Treatment 2, reader 4 of VanDyke separates the classes.
PROPROC = {
    "VanDyke": {
        (1, 1): (0.9340403616, -0.2980072344, 2.1255412315),
        (1, 2): (0.8910714123, -0.2809004255, 1.7314724686),
        (1, 3): (0.9078321352, -0.7455097978, 0.0001186957),
        (1, 4): (0.9774594813, -0.9315807464, 0.0005236787),
        (1, 5): (0.8405597604, -0.5074269320, 0.8958638262),
        (2, 1): (0.9519359305, -0.3212354325, 2.3481494976),
        (2, 2): (0.9259925843, -0.7908676146, 0.0000409947),
        (2, 3): (0.9304317580, -0.3299822076, 2.0785433399),
        (2, 5): (0.9426874140, -0.5530819099, 2.0196598664),
    },
    "Franken": {
        (1, 1): (0.8699226270, -0.2898742992, 1.5702024913),
        (1, 2): (0.8948536765, -0.2546094563, 1.7670435407),
        (1, 3): (0.8782921411, -0.1354152360, 1.6496683288),
        (1, 4): (0.8378661974, -0.1350382395, 1.3939961715),
        (2, 1): (0.8615426988, -0.2161459821, 1.5345870268),
        (2, 2): (0.8706400129, -0.1199651486, 1.5972432890),
        (2, 3): (0.8541372357, -0.3551935737, 1.4018071886),
        (2, 4): (0.8252824271, -0.4420006829, 0.9836614513),
    },
}

models = pytest.mark.parametrize("model", MODELS)


@cache
def fitted(model: Model, truth: tuple[int, ...], rating: tuple[float, ...]) -> Fit:
    return (fit_binormal if model == "binormal" else fit_proper)(truth, rating)


def simulated(seed: int, n: int, a: float, b: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return np.repeat([0, 1], n), np.r_[rng.normal(0, 1, n), rng.normal(a / b, 1 / b, n)]


def log_likelihood(model: Model, low: np.ndarray, high: np.ndarray, a: float, b: float, cuts: np.ndarray) -> float:
    """From the definition: counts times the logarithms of the shares between cut-offs."""
    fpf = special.ndtr(-cuts)
    curve = smooth_curve(model, a, b, fpf)
    tpf = np.interp(fpf, curve.fpr, curve.tpr)
    p, q = -np.diff(np.r_[1, fpf, 0]), -np.diff(np.r_[1, tpf, 0])
    return float(special.xlogy(low, p).sum() + special.xlogy(high, q).sum())


def test_it_gives_the_binormal_fit_that_rocfit_gives() -> None:
    """a and b as Eng's web version of ROCFIT prints them; area and its error as in the book's online edition, ch. 6."""
    fit = fit_counts(*CHAKRABORTY)
    assert (round(fit.a.estimate, 4), round(fit.b.estimate, 4)) == (1.3205, 0.6075)
    assert fit.auc.estimate == pytest.approx(0.870452157, rel=1e-6)
    assert fit.auc.se == pytest.approx(0.0379042262, rel=1e-5)
    np.testing.assert_allclose(fit.cutoffs, [0.00768054675, 0.89627306763, 1.51564784976, 2.39672209865], atol=2e-6)


def test_it_gives_the_published_fit_of_hanley_and_mcneils_ct_data() -> None:
    fit = fit_counts(*HANLEY)
    assert (round(fit.a.estimate, 4), round(fit.b.estimate, 4)) == (1.6568, 0.7130)
    assert round(fit.auc.estimate, 3) == 0.911


@needs_reference
@pytest.mark.parametrize("name", PROPROC)
def test_it_gives_the_proper_fits_of_proproc(name: str) -> None:
    frame = ratings(name)
    for (treatment, reader), (area, c, d_a) in PROPROC[name].items():
        cell = frame[(frame.treatment == treatment) & (frame.reader == reader)]
        fit = fitted("proper", tuple(cell.truth), tuple(cell.rating))
        assert fit.auc.estimate == pytest.approx(area, abs=1e-6)
        assert fit.auc.se is not None and 0.005 < fit.auc.se < 0.06
        assert fit.c.estimate == pytest.approx(c, abs=2e-5)
        assert fit.d_a.estimate == pytest.approx(d_a, abs=1e-3 if d_a < 0.01 else 1e-4)
        assert bool(fit.d_a.not_estimable) == (d_a < 0.01)


@needs_reference
@models
def test_a_fitted_area_is_near_the_empirical_one(model: Model) -> None:
    """Within two standard errors, for every reader of VanDyke whose curve is estimable."""
    compared = 0
    for _, cell in ratings("VanDyke").groupby(["treatment", "reader"]):
        fit = fitted(model, tuple(cell.truth), tuple(cell.rating))
        if fit.not_estimable:
            assert "perfect separation" in fit.not_estimable
            continue
        compared += 1
        assert abs(fit.auc.estimate - empirical_roc(cell.truth, cell.rating).area) < 2 * fit.auc.se
    assert compared == 9


@models
@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_no_nearby_point_has_a_higher_likelihood(model: Model, seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth, values = simulated(seed, 60, 1.3, float(rng.uniform(0.5, 1.5)))
    low, high = truth_state_runs(*module.counts(truth, np.digitize(values, [-0.6, 0.1, 0.8, 1.6])))
    fit = fit_counts(low, high, model=model)
    if fit.not_estimable:
        return
    a, b, cuts = fit.a.estimate, fit.b.estimate, np.array(fit.cutoffs)
    top = log_likelihood(model, low, high, a, b, cuts)
    assert top == pytest.approx(fit.log_likelihood, abs=1e-8)
    for scale in (1e-3, 0.03, 0.3):
        for _ in range(20):
            da, db, dz = rng.normal(0, scale), np.exp(rng.normal(0, scale)), rng.normal(0, scale, len(cuts))
            moved = np.sort(cuts + dz)
            assert log_likelihood(model, low, high, abs(a + da), b * db, moved) <= top + 1e-9


@models
def test_the_parameters_of_a_large_simulated_reader_come_back(model: Model) -> None:
    """Within three of their own standard errors; a binormal reader with b < 1 is proper to three digits of the area."""
    truth, values = simulated(3, 4000, 1.5, 0.8)
    fit = (fit_binormal if model == "binormal" else fit_proper)(truth, np.round(values, 1))
    for found, true in ((fit.a, 1.5), (fit.b, 0.8)):
        assert found.lower < true < found.upper
        assert abs(found.estimate - true) < 3 * found.se < 0.15


def test_a_proper_reader_is_recovered_where_the_binormal_model_is_wrong() -> None:
    """The rating is the likelihood ratio of a binormal reader with b = .5: what the proper model says of the world."""
    rng = np.random.default_rng(5)
    x = np.r_[rng.normal(0, 1, 4000), rng.normal(1.2 / 0.5, 1 / 0.5, 4000)]
    ratio = stats.norm.logpdf(x, 2.4, 2.0) - stats.norm.logpdf(x)
    fit = fit_proper(np.repeat([0, 1], 4000), np.digitize(ratio, np.quantile(ratio, np.linspace(0.2, 0.8, 7))))
    assert fit.b.lower < 0.5 < fit.b.upper
    assert fit.a.lower < 1.2 < fit.a.upper
    # A large sample: the right model fits.
    assert fit.goodness.p > 0.01


def test_the_standard_error_is_the_spread_over_repeated_studies() -> None:
    areas, errors = [], []
    for seed in range(120):
        truth, values = simulated(seed, 80, 1.4, 0.8)
        fit = fit_binormal(truth, np.digitize(values, [-0.5, 0.3, 1.0, 1.8]))
        areas.append(fit.auc.estimate)
        errors.append(fit.auc.se)
    assert np.mean(errors) == pytest.approx(np.std(areas, ddof=1), rel=0.2)
    assert np.mean(areas) == pytest.approx(special.ndtr(1.4 / np.sqrt(1.64)), abs=0.01)


@models
@pytest.mark.parametrize(("a", "b"), [(1.2, 0.5), (1.2, 0.93), (1.2, 1.0), (1.2, 1.9), (0.3, 0.2), (0.05, 3.0)])
def test_the_slopes_of_the_curve_are_its_derivatives(model: Model, a: float, b: float) -> None:
    x = np.linspace(-2.6, 2.6, 15)
    curve = module._MODELS[model]
    _, by_x, by_ab = curve(x, a, b)
    step = 1e-5
    np.testing.assert_allclose(by_x, (curve(x + step, a, b)[0] - curve(x - step, a, b)[0]) / (2 * step), atol=1e-8)
    np.testing.assert_allclose(by_ab[0], (curve(x, a + step, b)[0] - curve(x, a - step, b)[0]) / (2 * step), atol=1e-8)
    np.testing.assert_allclose(by_ab[1], (curve(x, a, b + step)[0] - curve(x, a, b - step)[0]) / (2 * step), atol=1e-7)


@models
@settings(max_examples=40, deadline=None)
@given(a=st.floats(0, 4), b=st.floats(0.05, 8))
def test_the_area_formula_is_the_integral_of_the_curve(model: Model, a: float, b: float) -> None:
    curve = module._MODELS[model]
    area = integrate.quad(
        lambda x: curve(np.array([x]), a, b)[0][0] * stats.norm.pdf(x), -9, 9, limit=300, points=[-3, 0, 3]
    )[0]
    value, slopes = module._AREAS[model](a, b)
    assert value == pytest.approx(area, abs=1e-7)
    step = 1e-6
    by_b = (module._AREAS[model](a, b + step)[0] - module._AREAS[model](a, b - step)[0]) / (2 * step)
    assert slopes[1] == pytest.approx(by_b, abs=1e-5)


@settings(max_examples=40, deadline=None)
@given(a=st.floats(0, 4), b=st.floats(0.05, 8))
def test_a_proper_curve_is_concave_and_never_below_chance(a: float, b: float) -> None:
    curve = smooth_curve("proper", a, b, np.linspace(0, 1, 101))
    assert (curve.tpr >= curve.fpr - 1e-12).all()
    assert (np.diff(curve.tpr, 2) <= 1e-9).all()


def test_the_proper_curve_is_the_one_of_the_likelihood_ratio() -> None:
    """Against its definition: rank both normal populations by their likelihood ratio."""
    for a, b in ((1.0, 0.5), (0.8, 1.7)):
        x = np.linspace(-12, 25, 400_001) if b < 1 else np.linspace(-12, 12, 400_001)
        ratio = stats.norm.logpdf(x, a / b, 1 / b) - stats.norm.logpdf(x)
        order = np.argsort(-ratio)
        fpf = np.cumsum(stats.norm.pdf(x)[order]) * (x[1] - x[0])
        tpf = np.cumsum(stats.norm.pdf(x, a / b, 1 / b)[order]) * (x[1] - x[0])
        at = np.array([0.02, 0.1, 0.4, 0.8])
        curve = smooth_curve("proper", a, b, at)
        np.testing.assert_allclose(np.interp(at, curve.fpr, curve.tpr), np.interp(at, fpf, tpf), atol=1e-4)


@models
@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_a_monotone_change_of_the_scale_changes_nothing_at_all(model: Model, seed: int) -> None:
    truth, values = simulated(seed, 25, 1.2, 0.8)
    function = fit_binormal if model == "binormal" else fit_proper
    assert function(truth, values).to_dict() == function(truth, np.exp(3 * values) - 7).to_dict()


@models
def test_merging_categories_of_one_class_moves_nothing(model: Model) -> None:
    """Against the likelihood over all categories: the cut-off between two pure ones splits them as the counts are."""
    whole = ([30, 10, 9, 8, 2, 1], [5, 0, 0, 5, 12, 22])
    merged_low, merged_high = truth_state_runs(*whole)
    assert (merged_low.tolist(), merged_high.tolist()) == ([30, 19, 8, 2, 1], [5, 0, 5, 12, 22])
    fit = fit_counts(*whole, model=model)
    assert fit.auc == fit_counts(merged_low, merged_high, model=model).auc
    again = fit_counts([30, 0, 19, 8, 2, 1], [5, 0, 0, 5, 12, 22], model=model)
    assert again.auc == fit.auc


def test_swapping_the_classes_turns_the_binormal_curve_round() -> None:
    """1 − rating with the truth exchanged is the same question."""
    low, high = CHAKRABORTY
    fit, turned = fit_counts(low, high), fit_counts(high[::-1], low[::-1])
    assert turned.auc.estimate == pytest.approx(fit.auc.estimate, abs=1e-9)
    assert turned.auc.se == pytest.approx(fit.auc.se, rel=1e-6)
    assert turned.b.estimate == pytest.approx(1 / fit.b.estimate, rel=1e-7)


@models
def test_partial_areas_add_up_and_match_a_published_one(model: Model) -> None:
    fit = fit_counts(*CHAKRABORTY, model=model)
    whole = fit.partial_area()
    assert whole.estimate == pytest.approx(fit.auc.estimate, abs=1e-9)
    assert whole.se == pytest.approx(fit.auc.se, rel=1e-6)
    parts = fit.partial_area(0, 0.2).estimate + fit.partial_area(0.2, 1).estimate
    assert parts == pytest.approx(whole.estimate, abs=1e-9)
    grid = np.linspace(0, 0.2, 20_001)
    assert fit.partial_area(0, 0.2).estimate == pytest.approx(np.trapezoid(fit.curve(grid).tpr[:-1], grid), abs=1e-5)


def test_the_sensitivity_at_a_fraction_has_the_interval_of_the_linear_predictor() -> None:
    fit = fit_counts(*CHAKRABORTY)
    x = special.ndtri(0.1)
    found = fit.sensitivity_at(0.1)
    middle, spread = fit.a.estimate + fit.b.estimate * x, np.array([1, x])
    half = special.ndtri(0.975) * np.sqrt(spread @ fit.covariance[:2, :2] @ spread)
    assert found.estimate == pytest.approx(special.ndtr(middle))
    assert (found.lower, found.upper) == pytest.approx((special.ndtr(middle - half), special.ndtr(middle + half)))


@models
@pytest.mark.parametrize(
    ("low", "high", "why"),
    [
        ([44, 21, 4, 0, 0], [0, 0, 1, 6, 38], "perfect separation"),
        ([20, 0], [0, 20], "perfect separation"),
        ([0, 20], [20, 0], "wrong way round"),
        ([12, 8], [5, 15], "one operating point"),
        ([0, 0], [5, 5], "no case is non-diseased"),
        ([5, 5], [0, 0], "no case is diseased"),
        ([20], [20], "the same rating"),
        ([], [], "no case is"),
    ],
)
def test_it_says_why_there_is_no_maximum(model: Model, low: list[int], high: list[int], why: str) -> None:
    fit = fit_counts(low, high, model=model)
    assert fit.not_estimable.startswith("not estimable, because") and why in fit.not_estimable
    assert fit.auc.estimate is fit.a.estimate is fit.covariance is fit.log_likelihood is None
    assert fit.sensitivity_at(0.1).not_estimable == fit.partial_area(0, 0.5).not_estimable == fit.not_estimable
    with pytest.raises(ValueError, match="There is no"):
        fit.curve()


@pytest.mark.parametrize(
    ("low", "high"),
    [
        ([20, 10, 0], [5, 10, 15]),  # one point inside, one on the left edge
        ([20, 10, 0, 0], [5, 0, 10, 15]),
        ([0, 15, 15], [15, 3, 12]),
        ([20, 10, 10], [10, 0, 20]),  # two points on one level
    ],
)
def test_a_degenerate_binormal_fit_is_refused(low: list[int], high: list[int]) -> None:
    fit = fit_counts(low, high)
    assert fit.auc.estimate is None and "not estimable, because" in fit.not_estimable


def test_the_proper_model_fits_where_the_binormal_one_is_degenerate() -> None:
    """One operating point inside and one on the left edge: b → 0 fits both exactly, with a hook down to chance."""
    assert fit_counts([40, 10, 0], [5, 10, 35]).not_estimable
    proper = fit_counts([40, 10, 0], [5, 10, 35], model="proper")
    assert proper.not_estimable or proper.curve().area == pytest.approx(proper.auc.estimate, abs=2e-3)


def test_a_maximum_far_out_is_found_where_a_share_rounds_to_zero() -> None:
    """All diseased cases lie above the first cut-off, by eight standard deviations at the maximum."""
    low, high = np.array([4, 50, 2, 0, 9.0]), np.array([0, 10, 5, 3, 21.0])
    fit = fit_counts(low, high)
    assert fit.log_likelihood == pytest.approx(-94.3261935, abs=1e-6)
    moved = log_likelihood("binormal", low, high, fit.a.estimate * 1.02, fit.b.estimate, np.array(fit.cutoffs))
    assert moved < fit.log_likelihood
    assert np.isfinite(fit.goodness.statistic)


def test_readers_below_chance_have_no_proper_curve() -> None:
    fit = fit_counts([5, 5, 4], [9, 5, 4], model="proper")
    assert "no better than chance" in fit.not_estimable
    assert fit_counts([5, 5, 4], [9, 5, 4]).auc.estimate < 0.5


def test_a_hook_is_named() -> None:
    (warning,) = fit_counts([39, 19, 9, 1, 1], [7, 7, 3, 5, 23]).warnings
    assert warning.startswith("The binormal curve has a hook: beyond a false-positive fraction of 0.976")


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=6),
    st.sampled_from(MODELS),
)
def test_small_and_odd_tables_give_numbers_or_a_reason(table: list[tuple[int, int]], model: Model) -> None:
    fit = fit_counts([low for low, _ in table], [high for _, high in table], model=model)
    numbers = [fit.a, fit.b, fit.d_a, fit.c, fit.auc]
    if fit.not_estimable:
        assert all(number.estimate is None for number in numbers)
        return
    assert 0 <= fit.auc.estimate <= 1
    for number in numbers:
        assert np.isfinite(number.estimate)
        assert (number.se is None) == bool(number.not_estimable)
        assert number.se is None or np.isfinite([number.se, number.lower, number.upper]).all()
    curve = fit.curve()
    assert np.isfinite(curve.tpr).all() and (np.diff(curve.tpr) >= 0).all()


def test_infinite_ratings_are_ordinary_categories() -> None:
    truth, values = simulated(1, 40, 1.3, 0.9)
    values = np.digitize(values, [-0.5, 0.4, 1.2]).astype(float)
    marked = np.where(values == 0, -np.inf, values)
    assert fit_binormal(truth, marked).auc == fit_binormal(truth, values).auc


def test_faulty_input_is_refused_in_one_sentence() -> None:
    with pytest.raises(RatingsError, match=r"Rating 2 of 3 is missing"):
        fit_binormal([0, 1, 1], [1.0, np.nan, 2.0])
    with pytest.raises(RatingsError, match=r"shape"):
        fit_binormal([0, 1], [1.0, 2.0, 3.0])
    with pytest.raises(RatingsError, match=r"A count is negative or no whole number"):
        fit_counts([1, -2], [3, 4])
    with pytest.raises(RatingsError, match=r"one count per category and class"):
        fit_counts([1, 2], [3])
    with pytest.raises(RatingsError, match=r"model is 'cubic'"):
        fit_counts(*HANLEY, model="cubic")  # type: ignore[arg-type]
    with pytest.raises(RatingsError, match=r"alpha is 0"):
        fit_counts(*HANLEY, alpha=0)
    with pytest.raises(ValueError, match=r"strictly between 0 and 1"):
        fit_counts(*HANLEY).sensitivity_at(1)
    with pytest.raises(ValueError, match=r"0 ≤ lower < upper ≤ 1"):
        fit_counts(*HANLEY).partial_area(0.5, 0.2)


def test_pooled_ratings_give_a_curve_without_errors() -> None:
    truth, values = simulated(2, 40, 1.3, 0.9)
    pooled = pooled_fit(truth, np.stack([values, values]))
    alone = fit_binormal(truth, values)
    assert pooled.auc.estimate == pytest.approx(alone.auc.estimate, abs=1e-9)
    assert pooled.auc.se is None and "not independent" in pooled.auc.not_estimable
    assert pooled.sensitivity_at(0.2).se is None


def test_the_average_of_parameters_is_the_curve_of_the_means() -> None:
    fits = [fit_counts(*CHAKRABORTY), fit_counts(*HANLEY)]
    a, b = (np.mean([getattr(fit, name).estimate for fit in fits]) for name in ("a", "b"))
    np.testing.assert_allclose(average_parameters(fits).tpr, smooth_curve("binormal", a, b).tpr)
    proper = [fit_counts(*CHAKRABORTY, model="proper")] * 2
    np.testing.assert_allclose(average_parameters(proper).tpr, proper[0].curve().tpr, atol=1e-12)
    with pytest.raises(RatingsError, match="different models"):
        average_parameters([fits[0], proper[0]])


def readers(seed: int, n: int, areas: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Five-category ratings of the same 2n cases, one reader per area; half the variance is the cases'."""
    rng = np.random.default_rng(seed)
    truth = np.repeat([0, 1], n)
    case = rng.normal(0, np.sqrt(0.5), 2 * n)
    rows = [case + np.sqrt(2) * special.ndtri(area) * truth + rng.normal(0, np.sqrt(0.5), 2 * n) for area in areas]
    return truth, np.stack([np.digitize(row, [-0.6, 0.2, 0.9, 1.7]) for row in rows]).astype(float)


@models
def test_the_components_of_a_fitted_area_give_the_variance_of_the_jackknife(model: Model) -> None:
    """Leaving cases out one by one and fitting again, against the influences in closed form."""
    function = fit_binormal if model == "binormal" else fit_proper
    truth, values = readers(4, 25, (0.85,))
    parts = area_components([function(truth, values[0])], truth, values)
    assert parts.v10.mean() == pytest.approx(parts.auc[0]) and parts.v01.mean() == pytest.approx(parts.auc[0])
    # Cases of one class and rating leave the same fit behind.
    refit = cache(lambda low, high: fit_counts(low, high, model=model).auc.estimate)
    low, high = module.counts(truth, values[0])
    left_out = []
    for diseased, place in zip(truth, np.searchsorted(np.unique(values[0]), values[0]), strict=True):
        gone = np.eye(len(low))[place]
        left_out.append(refit(tuple(low - gone * (1 - diseased)), tuple(high - gone * diseased)))
    jackknife = 0.0
    for members in (truth == 0, truth == 1):
        own = np.array(left_out)[members]
        jackknife += (len(own) - 1) / len(own) * ((own - own.mean()) ** 2).sum()
    assert np.sqrt(delong_covariance(parts)[0, 0]) == pytest.approx(np.sqrt(jackknife), rel=0.15)


def test_the_components_agree_with_the_information_where_the_model_holds() -> None:
    truth, values = readers(7, 2000, (0.85, 0.8))
    fits = [fit_binormal(truth, row) for row in values]
    found = np.sqrt(np.diag(delong_covariance(area_components(fits, truth, values))))
    np.testing.assert_allclose(found, [fit.auc.se for fit in fits], rtol=0.06)


def test_readers_of_the_same_cases_have_correlated_areas() -> None:
    """The covariance over repeated studies, against the mean of the estimates: about .0006 of .0013."""
    areas, estimates = [], []
    for seed in range(60):
        truth, values = readers(seed, 60, (0.85, 0.85))
        fits = [fit_binormal(truth, row) for row in values]
        areas.append([fit.auc.estimate for fit in fits])
        estimates.append(delong_covariance(area_components(fits, truth, values))[0, 1])
    assert np.mean(estimates) == pytest.approx(np.cov(np.array(areas).T)[0, 1], rel=0.5)


def test_the_band_is_the_one_treatment_analysis_at_each_fraction() -> None:
    truth, values = readers(11, 60, (0.8, 0.85, 0.9))
    fits = [fit_binormal(truth, row) for row in values]
    band = average_band(fits, truth, values, [0.1, 0.3])
    np.testing.assert_allclose(band.tpr, average_smooth(fits, [0.1, 0.3]).tpr[1:-1])
    assert (band.lower < band.tpr).all() and (band.tpr < band.upper).all()
    assert (band.lower > 0).all() and (band.upper < 1).all()
    foms = np.array([fit.auc.estimate for fit in fits])
    mean = analyse(foms[None], delong_covariance(area_components(fits, truth, values))).means[0]
    assert mean.lower < foms.mean() < mean.upper
    alone = average_band(fits[:1], truth, values[:1])
    assert alone.lower is None and "one reader" in alone.not_estimable


def test_fits_and_ratings_that_do_not_belong_together_are_refused() -> None:
    truth, values = readers(1, 30, (0.8, 0.9))
    fits = [fit_binormal(truth, row) for row in values]
    with pytest.raises(RatingsError, match="one row per fit"):
        area_components(fits, truth, values[:1])
    with pytest.raises(RatingsError, match="Fit 1 was not made of row 1"):
        area_components(fits, truth, np.stack([np.minimum(values[0], 2), values[1]]))
    with pytest.raises(RatingsError, match="strictly between 0 and 1"):
        average_band(fits, truth, values, [0.0, 0.5])
    with pytest.raises(RatingsError, match="Curve 1 of 1 is not estimable"):
        area_components([fit_counts([2, 0], [0, 2])], [0, 0, 1, 1], [[1, 1, 2, 2]])
