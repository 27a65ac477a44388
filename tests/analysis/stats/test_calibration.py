"""Calibration: identities, statsmodels, readers of known calibration, and what cannot be estimated."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from analysis.stats.calibration import FIVE_STEPS, calibration, compare_brier
from analysis.stats.means import compare_means
from analysis.stats.ratings import RatingsError


def reads(
    seed: int = 1, *, readers: int = 5, cases: int = 80, slope: float = 1.0, shift: float = 0.0, treatments: str = "A"
) -> pd.DataFrame:
    """Readers whose probabilities p have logit P(y) = shift + slope·logit p on average."""
    rng = np.random.default_rng(seed)
    rows = []
    chance = rng.uniform(-2.5, 2.5, cases)
    truth = (rng.random(cases) < 1 / (1 + np.exp(-chance))).astype(int)
    for treatment in treatments:
        for j in range(readers):
            said = (chance - shift) / slope
            rows += [(f"R{j}", treatment, k, truth[k], 1 / (1 + np.exp(-said[k]))) for k in range(cases)]
    return pd.DataFrame(rows, columns=["reader", "treatment", "case", "truth", "probability"])


@pytest.mark.parametrize("binning", ["width", "count", "values"])
@pytest.mark.parametrize("bins", [1, 4, 10])
def test_murphys_parts_add_up_to_the_brier_score(binning: Any, bins: int) -> None:
    frame = reads()
    found = calibration(frame, binning=binning, bins=bins, resamples=0)["A"]
    assert found.brier.value == pytest.approx(((frame.probability - frame.truth) ** 2).mean())
    parts = found.reliability - found.resolution + found.uncertainty + found.within
    assert parts == pytest.approx(found.brier.value)
    assert sum(one.n for one in found.bins) == found.reads == len(frame)
    if binning == "values":
        assert found.within == pytest.approx(0, abs=1e-12)


def test_bins_and_their_error_are_counted_by_hand() -> None:
    frame = reads(2)
    for binning, bins in (("width", 5), ("count", 4)):
        found = calibration(frame, binning=binning, bins=bins, resamples=0)["A"]
        cut = (
            np.minimum((frame.probability * bins).astype(int), bins - 1)
            if binning == "width"
            else pd.qcut(frame.probability, bins, labels=False)
        )
        groups = frame.groupby(cut)
        gaps = groups.apply(lambda g: len(g) * abs(g.probability.mean() - g.truth.mean()), include_groups=False)
        assert found.ece.value == pytest.approx(gaps.sum() / len(frame), abs=0.02 if binning == "count" else 1e-12)
        if binning == "width":
            assert [one.observed for one in found.bins] == pytest.approx(list(groups.truth.mean()))


def test_slope_and_intercept_agree_with_statsmodels() -> None:
    frame = reads(3, slope=0.6, shift=0.4)
    x = np.log(frame.probability / (1 - frame.probability))
    found = calibration(frame, resamples=0)["A"]
    peer = sm.GLM(frame.truth, sm.add_constant(x), family=sm.families.Binomial()).fit()
    assert (found.intercept.value, found.slope.value) == pytest.approx(tuple(peer.params), rel=1e-6)
    large = sm.GLM(frame.truth, np.ones(len(frame)), family=sm.families.Binomial(), offset=x).fit()
    assert found.in_the_large.value == pytest.approx(large.params.iloc[0], rel=1e-6)


def test_readers_who_are_too_sure_have_a_slope_below_one() -> None:
    sure = calibration(reads(4, cases=300, slope=0.5), resamples=200)["A"]
    good = calibration(reads(4, cases=300), resamples=200)["A"]
    assert sure.slope.upper < 1 < good.slope.upper and good.slope.lower < 1
    assert sure.ece.value > good.ece.value and sure.reliability > good.reliability
    assert good.in_the_large.lower < 0 < good.in_the_large.upper
    assert calibration(reads(4, cases=300, shift=1.5), resamples=200)["A"].in_the_large.lower > 0


def test_the_bootstrap_is_seeded_and_draws_cases_whole() -> None:
    frame = reads(5)
    assert calibration(frame, seed=7, resamples=50) == calibration(frame, seed=7, resamples=50)
    one, other = (calibration(frame, seed=s, resamples=50)["A"] for s in (7, 8))
    assert one.brier.value == other.brier.value and one.brier.lower != other.brier.lower
    # Readers who say the same of every case add nothing: the interval of five is that of one.
    five, alone = (calibration(f, resamples=400)["A"].brier for f in (frame, frame[frame.reader == "R0"]))
    assert five.upper - five.lower == pytest.approx(alone.upper - alone.lower, rel=0.15)


def test_a_scale_means_what_is_declared() -> None:
    frame = reads(6).assign(step=lambda f: np.clip((f.probability * 5).astype(int) + 1, 1, 5))
    found = calibration(frame, "step", scale=FIVE_STEPS, resamples=0)["A"]
    assert [one.mean_probability for one in found.bins] == pytest.approx(sorted(set(frame.step.map(FIVE_STEPS))))
    assert found.conventions[0] == "The scale's steps mean 1 → 0.1, 2 → 0.3, 3 → 0.5, 4 → 0.7, 5 → 0.9."
    assert found.conventions[1] == "Bins: one per probability."
    other = calibration(frame, "step", scale={k: k / 10 for k in range(1, 6)}, resamples=0)["A"]
    assert other.brier.value != found.brier.value
    with pytest.raises(RatingsError, match=r"step of row 3 is 6, which is not on the scale \(1, 2, 3, 4, 5\)"):
        calibration(frame.assign(step=frame.step.where(frame.index != 2, 6)), "step", scale=FIVE_STEPS)


def test_the_brier_score_is_compared_as_a_mean_per_read() -> None:
    frame = reads(7, treatments="AB")
    rng = np.random.default_rng(7)
    worse = frame.treatment == "B"
    frame = frame.assign(probability=np.where(worse, rng.uniform(0, 1, len(frame)), frame.probability))
    found = compare_brier(frame, reference="A").comparisons[0]
    squares = frame.assign(value=(frame.probability - frame.truth) ** 2)
    wanted = compare_means(squares, reference="A").comparisons[0]
    assert (found.difference, found.se, found.p) == pytest.approx((wanted.difference, wanted.se, wanted.p))
    assert found.difference > 0 and found.p < 0.01
    by_treatment = calibration(frame, resamples=0)
    assert found.difference == pytest.approx(by_treatment["B"].brier.value - by_treatment["A"].brier.value)


@pytest.mark.parametrize(
    ("change", "name", "reason"),
    [
        (lambda f: f[f.truth == 1], "slope", "every read is of a diseased case"),
        (lambda f: f[f.truth == 0], "in_the_large", "every read is of a non-diseased case"),
        (lambda f: f.assign(probability=0.4), "slope", "every probability is the same"),
        (lambda f: f.assign(probability=0.2 + 0.6 * f.truth), "slope", "one cut of the probabilities separates"),
    ],
    ids=["diseased", "healthy", "constant", "perfect"],
)
def test_what_cannot_be_estimated_says_why(change: Any, name: str, reason: str) -> None:
    found = calibration(change(reads(8)), resamples=20)["A"]
    estimate = getattr(found, name)
    assert estimate.value is None and reason in estimate.not_estimable
    json.dumps(found.to_dict(), allow_nan=False)


def test_one_case_or_one_reader_is_said() -> None:
    frame = reads(9)
    one_case = calibration(frame[frame.case == 0])["A"]
    assert one_case.brier.value is not None and "there is one case" in one_case.brier.not_estimable
    alone = calibration(frame[frame.reader == "R0"], resamples=20)["A"]
    said = "a bootstrap over the cases of the one reader there is; bins keep their bounds."
    assert alone.conventions[-1] == f"Intervals are percentiles of {said}"
    json.dumps([one_case.to_dict(), alone.to_dict()], allow_nan=False)


def test_certainty_has_no_logit_and_is_moved_a_little_and_said() -> None:
    frame = reads(10).assign(probability=lambda f: f.probability.where(f.index % 7 != 0, f.truth.astype(float)))
    found = calibration(frame, resamples=0)["A"]
    assert "probabilities lie outside 0.001 to 0.999 and were moved there" in found.warnings[0]
    assert found.slope.value is not None


def test_a_table_without_treatments_and_with_missing_reads_is_one_treatment() -> None:
    frame = reads(11).drop(columns="treatment").sample(frac=0.7, random_state=1)
    (found,) = calibration(frame, resamples=20).values()
    assert found.treatment == "all" and found.reads == len(frame)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda f: f.assign(probability=f.probability.where(f.index != 1, 1.2)), "row 2 is 1.2; it must be within 0"),
        (lambda f: f.assign(truth=f.truth.where(f.index != 1, 3)), "truth of row 2 is 3; it must be 0 or 1"),
        (lambda f: f.assign(truth=f.truth.where(f.index != 1, 1 - f.truth)), "Case 1 has truth 0 in one row"),
        (lambda f: f.drop(columns="truth"), "lacks the column truth"),
        (lambda f: pd.concat([f, f.iloc[[0]]]), "repeats row 1"),
    ],
    ids=["above one", "truth", "two truths", "column", "twice"],
)
def test_faulty_probabilities_are_refused_with_the_row(change: Any, sentence: str) -> None:
    with pytest.raises(RatingsError, match=sentence):
        calibration(change(reads(12)))


def test_unknown_options_are_refused() -> None:
    with pytest.raises(RatingsError, match="binning is 'kernel'"):
        calibration(reads(13), binning="kernel")  # type: ignore[arg-type]
    with pytest.raises(RatingsError, match="bins must be 1 or more"):
        calibration(reads(13), bins=0)
