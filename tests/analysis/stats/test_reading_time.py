"""The mixed model of reading time against closed forms, a dense likelihood, statsmodels, and its own invariances."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.stats.ratings import RatingsError
from analysis.stats.reading_time import ReadingTime, reading_time


def times(
    seed: int = 0,
    *,
    readers: int = 6,
    cases: int = 15,
    keep: float = 1.0,
    slope_sd: float = 0.15,
    one_period: bool = False,
    noise: float = 0.25,
) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    of_case = rng.normal(0, 0.3, cases)
    rows = []
    for j in range(readers):
        level, slope = rng.normal(3.4, 0.25), rng.normal(-0.2, slope_sd)
        for k in range(cases):
            for period in (1, 2):
                if rng.random() > keep:
                    continue
                assisted = int((period + j + k) % 2)
                log = level + slope * assisted + of_case[k] - 0.1 * (period - 1) + rng.normal(0, noise)
                rows.append((f"R{j}", f"C{k}", assisted, 1 if one_period else period, float(np.exp(log))))
    return pd.DataFrame(rows, columns=["reader", "case", "assisted", "period", "seconds"])


def effect(found: ReadingTime, term: str = "assisted") -> Any:
    return next(one for one in found.fixed if one.term == term)


def test_a_balanced_study_estimates_the_mean_difference_of_the_logarithms() -> None:
    frame = times(1, one_period=True, slope_sd=0.3)
    found = reading_time(frame)
    means = frame.assign(log=np.log(frame.seconds)).groupby("assisted").log.mean()
    assert effect(found).estimate == pytest.approx(means[1] - means[0], rel=1e-9)
    assert found.ratio == pytest.approx(found.geometric_means["assisted"] / found.geometric_means["unassisted"])
    assert 4 < effect(found).df < 12  # six readers


def test_without_a_slope_a_balanced_study_is_the_two_way_analysis_of_variance() -> None:
    frame = times(2, one_period=True)
    found = reading_time(frame, reader_slope=False)
    log = np.log(frame.seconds)
    n, readers, cases = len(frame), 6, 15
    dummies = pd.get_dummies(frame[["reader", "case"]], drop_first=True).to_numpy(dtype=float)
    x = np.column_stack([np.ones(n), frame.assisted, dummies])
    residual = log - x @ np.linalg.lstsq(x, log, rcond=None)[0]
    mean_square = (residual**2).sum() / (n - readers - cases)
    assert found.variances["residual"] == pytest.approx(mean_square, rel=1e-6)
    assert effect(found).se == pytest.approx(np.sqrt(4 * mean_square / n), rel=1e-6)
    assert effect(found).df == pytest.approx(n - readers - cases, rel=1e-5)


def dense(frame: pd.DataFrame) -> Any:
    """−2 REML log likelihood and covariance of β from V itself, as functions of the variances (r, s, c, e)."""
    y = np.log(frame.seconds.to_numpy())
    x = np.column_stack([np.ones(len(y)), frame.assisted, frame.period - 1])
    reader = pd.get_dummies(frame.reader).to_numpy(dtype=float)
    case = pd.get_dummies(frame.case).to_numpy(dtype=float)
    slope = reader * frame.assisted.to_numpy()[:, None]
    parts = [reader @ reader.T, slope @ slope.T, case @ case.T, np.eye(len(y))]

    def deviance(variances: np.ndarray) -> tuple[float, np.ndarray]:
        v = sum(s * part for s, part in zip(variances, parts, strict=True))
        inverse = np.linalg.inv(v)
        information = x.T @ inverse @ x
        beta = np.linalg.solve(information, x.T @ inverse @ y)
        rest = y - x @ beta
        value = np.linalg.slogdet(v)[1] + np.linalg.slogdet(information)[1] + rest @ inverse @ rest
        return value + (len(y) - 3) * np.log(2 * np.pi), np.linalg.inv(information)

    return deviance


def test_an_unbalanced_study_agrees_with_the_likelihood_written_out() -> None:
    """The df do not depend on how the variances are parametrised, so those of the variances themselves must agree."""
    frame = times(3, readers=5, cases=10, keep=0.7, slope_sd=0.4)
    found = reading_time(frame)
    deviance = dense(frame)
    at = np.array([found.variances[name] for name in ("reader", "reader slope", "case", "residual")])
    assert (at > 0).all()
    value, covariance = deviance(at)
    assert found.reml == pytest.approx(value, abs=1e-7)
    for direction in np.eye(4):  # a minimum: no variance can be changed to advantage
        for sign in (-1, 1):
            assert deviance(at * (1 + sign * 1e-3 * direction))[0] > value
    step = 2e-3 * at
    gradient = np.empty((4, 3))
    hessian = np.empty((4, 4))
    for a in range(4):
        ea = np.eye(4)[a] * step
        up, down = deviance(at + ea), deviance(at - ea)
        gradient[a] = (np.diag(up[1]) - np.diag(down[1])) / (2 * step[a])
        hessian[a, a] = (up[0] - 2 * value + down[0]) / step[a] ** 2
        for b in range(a):
            eb = np.eye(4)[b] * step
            corners = [deviance(at + p * ea + q * eb)[0] for p, q in ((1, 1), (1, -1), (-1, 1), (-1, -1))]
            hessian[a, b] = hessian[b, a] = (corners[0] - corners[1] - corners[2] + corners[3]) / (
                4 * step[a] * step[b]
            )
    for position, one in enumerate(found.fixed):
        assert one.se == pytest.approx(np.sqrt(covariance[position, position]), rel=1e-6)
        df = (
            2
            * covariance[position, position] ** 2
            / (gradient[:, position] @ (2 * np.linalg.inv(hessian)) @ gradient[:, position])
        )
        assert one.df == pytest.approx(df, rel=2e-3)
        assert one.p == pytest.approx(2 * stats.t.sf(abs(one.t), one.df), rel=1e-12)


def test_an_unbalanced_study_agrees_with_statsmodels() -> None:
    from statsmodels.regression.mixed_linear_model import MixedLM

    frame = times(5, readers=5, cases=8, keep=0.8, slope_sd=0.4).assign(all=1)
    frame = frame.assign(log=np.log(frame.seconds), later=frame.period - 1)
    parts = {"reader": "0 + C(reader)", "slope": "0 + C(reader):assisted", "case": "0 + C(case)"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = MixedLM.from_formula("log ~ assisted + later", frame, groups="all", vc_formula=parts).fit(reml=True)
    found = reading_time(frame)
    assert [one.estimate for one in found.fixed] == pytest.approx(list(peer.fe_params), abs=2e-4)
    assert [one.se for one in found.fixed] == pytest.approx(list(peer.bse_fe), rel=2e-2)
    assert found.variances["residual"] == pytest.approx(peer.scale, rel=1e-2)
    by_name = dict(zip(peer.model.exog_vc.names, peer.vcomp, strict=True))
    for ours, theirs in (("reader", "reader"), ("reader slope", "slope"), ("case", "case")):
        assert found.variances[ours] == pytest.approx(by_name[theirs], rel=5e-2)
    assert found.reml <= -2 * peer.llf + 1e-6


def test_a_slope_of_no_variance_leaves_the_model_without_one() -> None:
    for seed in range(6, 40):
        frame = times(seed, slope_sd=0.0, readers=5)
        found = reading_time(frame)
        if found.variances["reader slope"] == 0:
            break
    assert "The variance of reader slope is estimated as zero." in found.warnings
    without = reading_time(frame, reader_slope=False)
    for one, other in zip(found.fixed, without.fixed, strict=True):
        assert (one.estimate, one.se, one.df) == pytest.approx((other.estimate, other.se, other.df), rel=1e-5)
    assert found.reml == pytest.approx(without.reml, abs=1e-8)


def test_another_unit_of_time_moves_the_intercept_and_nothing_else() -> None:
    frame = times(7, keep=0.8, slope_sd=0.4)
    seconds, hours = reading_time(frame), reading_time(frame.assign(seconds=frame.seconds / 3600))
    assert effect(hours, "intercept").estimate == pytest.approx(effect(seconds, "intercept").estimate - np.log(3600))
    for term in ("assisted", "period"):
        one, other = effect(seconds, term), effect(hours, term)
        assert (one.estimate, one.se, one.df) == pytest.approx((other.estimate, other.se, other.df), rel=1e-5)
    assert seconds.variances == pytest.approx(hours.variances, rel=1e-4)


def test_row_order_and_names_do_not_matter() -> None:
    frame = times(8, keep=0.8)
    other = frame.sample(frac=1, random_state=1).assign(reader=lambda f: "x" + f.reader, case=lambda f: f.case + "y")
    for one, again in zip(reading_time(frame).fixed, reading_time(other.astype(str)).fixed, strict=True):
        assert (one.estimate, one.se, one.df) == pytest.approx((again.estimate, again.se, again.df), rel=1e-4)


def test_the_fit_does_not_depend_on_how_large_the_noise_is() -> None:
    quiet, less, noisy = (reading_time(times(9, slope_sd=0.4, noise=noise)) for noise in (1e-4, 1e-2, 3.0))
    for found, noise in ((quiet, 1e-4), (less, 1e-2), (noisy, 3.0)):
        assert found.variances["residual"] == pytest.approx(noise**2, rel=0.3)
        assert found.ratio_lower < found.ratio < found.ratio_upper
    assert effect(quiet).df == pytest.approx(effect(less).df, rel=0.02)
    assert 4 < effect(quiet).df < 12  # six readers


def test_the_interval_of_the_ratio_covers_as_often_as_it_says() -> None:
    covered = [
        found.ratio_lower < np.exp(-0.2) < found.ratio_upper
        for found in (reading_time(times(seed, readers=5, cases=8, keep=0.8)) for seed in range(100, 124))
    ]
    # 24 trials of a true 95 % have a standard error of 4.4 %.
    assert np.mean(covered) > 0.8


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda f: f.groupby("reader").head(1), "every reader read once"),
        (lambda f: f.iloc[:1], "every reading is"),
        (lambda f: f.assign(period=2 - f.assisted), "period and assistance change together"),
    ],
    ids=["once", "one row", "confounded"],
)
def test_what_the_model_cannot_tell_apart_is_not_estimable(change: Any, reason: str) -> None:
    found = reading_time(change(times(10, readers=12)))
    assert reason in found.not_estimable and found.fixed == ()
    found.to_dict()


def test_cases_read_once_and_readers_of_one_arm_are_modelled_and_said() -> None:
    frame = times(11, readers=8, cases=40)
    case = frame.case.str[1:].astype(int)
    once = frame[(case // 5 == frame.reader.str[1:].astype(int)) & (frame.period == 1 + case // 2 % 2)]
    found = reading_time(once)
    assert "Every case was read once" in " ".join(found.warnings) and found.ratio is not None
    apart = frame[(frame.reader.str[1:].astype(int) < 4) == (frame.assisted == 1)]
    found = reading_time(apart)
    assert "Fewer than two readers read in both arms" in " ".join(found.warnings) and found.ratio is not None
    found.to_dict()


def test_a_row_that_cannot_be_used_is_named() -> None:
    frame = times(12).astype(object)
    for column, value, sentence in (
        ("seconds", "fast", "Row 4 has seconds fast; it must be more than 0"),
        ("seconds", "", "Row 4 has no seconds; it must be more than 0"),
        ("assisted", "yes", "Row 4 has assisted yes; it must be 0 or 1"),
        ("period", 0, "Row 4 has period 0; it must be 1 or more"),
        ("reader", "", "Row 4 has no reader"),
    ):
        with pytest.raises(RatingsError, match=sentence):
            reading_time(frame.assign(**{column: frame[column].where(frame.index != 3, value)}))


def test_readings_that_the_model_fits_exactly_are_too_few() -> None:
    rows = [
        (1, 1, 0, 2.7),
        (1, 4, 0, 2.7),
        (2, 2, 0, 1.0),
        (2, 3, 1, 0.05),
        (3, 1, 1, 12.2),
        (3, 2, 0, 2.7),
        (3, 2, 1, 12.2),
    ]
    frame = pd.DataFrame(rows, columns=["reader", "case", "assisted", "seconds"]).assign(period=1)
    found = reading_time(frame)
    assert "leaves no residual variation" in found.not_estimable and found.fixed == ()
