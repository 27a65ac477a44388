"""Every number the references print, to 1e-6 relative (reading time 1e-4)."""

from __future__ import annotations

import math

import numpy as np
import pytest

from analysis.stats import analyze
from analysis.stats.reading_time import reading_time
from tests.analysis.golden import golden, ratings
from tests.reference import needs_reference

pytestmark = [needs_reference, pytest.mark.reference]

RANDOM = {"RRRC": "readers_cases", "FRRC": "cases", "RRFC": "readers"}
DATA = ("VanDyke", "Franken")
RUNS = [("RRRC", c) for c in ("DeLong", "jackknife", "unbiased")]
RUNS += [("FRRC", c) for c in ("DeLong", "jackknife", "unbiased")] + [("RRFC", "")]


def close(found: float | None, expected: float, rel: float = 1e-6) -> None:
    assert found is not None
    assert found == pytest.approx(expected, rel=rel, abs=1e-11)


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize(("random", "covariance"), RUNS, ids=["-".join(filter(None, run)) for run in RUNS])
def test_obuchowski_rockette_agrees_with_mrmcaov(data: str, random: str, covariance: str) -> None:
    expected = golden("or")[data][f"{random}_{covariance}".rstrip("_")]
    result = analyze(ratings(data), covariance=covariance.lower() or "delong", random=RANDOM[random])
    if "components" in expected:
        components = result.components
        assert components is not None
        for name, value in {
            "reader": components.var_r,
            "treatment:reader": components.var_tr,
            "Error": components.var,
            "Cov1": components.cov1,
            "Cov2": components.cov2,
            "Cov3": components.cov3,
        }.items():
            close(value, expected["components"][name])
    test = result.omnibus
    assert test is not None and result.components is not None
    close(result.components.ms_t, expected["test"]["MS(T)"])
    close(test.statistic, expected["test"]["X2" if random == "FRRC" else "F"])
    close(test.p, expected["test"]["p-value"])
    if random != "FRRC":
        close(test.df2, expected["test"]["df2"])
    (difference,) = result.comparisons
    wanted = expected["diffs"][0]
    close(difference.difference, wanted["Estimate"])
    close(difference.se, wanted["StdErr"])
    close(difference.p, wanted["p-value"])
    assert difference.ci is not None
    close(difference.ci[0], wanted["CI"][0])
    close(difference.ci[1], wanted["CI"][1])
    close(difference.statistic, wanted["z" if random == "FRRC" else "t"])
    assert difference.df == (math.inf if random == "FRRC" else pytest.approx(wanted["df"], rel=1e-6))
    for mean, one in zip(result.means, expected["means"], strict=True):
        close(mean.estimate, one["Estimate"])
        close(mean.se, one["StdErr"])
        close(mean.lower, one["CI"][0])
        close(mean.upper, one["CI"][1])


@pytest.mark.parametrize("data", DATA)
def test_every_readers_auc_agrees_with_mrmcaov(data: str) -> None:
    result = analyze(ratings(data))
    for row in golden("or")[data]["per_reader_auc"]:
        close(result.auc[row["treatment"]][row["reader"]], row["empirical_auc"])


def test_noninferiority_of_vandyke_agrees_with_the_notes() -> None:
    (comparison,) = analyze(ratings("VanDyke"), covariance="jackknife", margin=0.05).comparisons
    found = comparison.noninferiority
    assert found is not None
    assert (found.of, found.to, found.shown) == ("2", "1", True)
    close(found.statistic, 4.520798)
    close(found.p, 1.94884e-4, rel=3e-6)  # printed digits


def test_unbiased_single_treatment_df_agree_with_imrmc_hillis() -> None:
    expected = golden("ustat")["java_4_0_3"]["VanDyke"]
    result = analyze(ratings("VanDyke"), covariance="unbiased")
    for mean, row in zip(result.means, expected, strict=False):
        close(mean.df, row["dfHillis"])
        close(mean.estimate, row["AUCA"])
    close(result.comparisons[0].df, expected[2]["dfHillis"])


def test_df_rounded_down_agree_with_imrmcs_java_program() -> None:
    expected = golden("ustat")["java_4_0_3"]["VanDyke"][2]
    (found,) = analyze(ratings("VanDyke"), covariance="unbiased", df_rounding="floor").comparisons
    assert found.df == 15 and found.ci is not None
    close(found.p, expected["pValueHillis"], rel=1e-8)
    close(found.ci[0], expected["botCIHillis"], rel=1e-8)
    close(found.ci[1], expected["topCIHillis"], rel=1e-8)


def test_a_split_plot_study_is_analysed_by_ustatistics_as_imrmc_does() -> None:
    frame = ratings("split_plot2blocks")
    result = analyze(frame)
    expected = golden("ustat")["java_4_0_3"]["split_plot2blocks"]
    assert result.not_estimable == "" and result.covariance == "ustat" and result.method.startswith("U-statistics")
    assert "2000 of 4000 ratings are missing" in result.warnings[0]
    for mean, row in zip(result.means, expected[:2], strict=True):
        close(mean.estimate, row["AUCA"])
        close(mean.se, math.sqrt(row["varAUCA"]))
    (difference,) = result.comparisons
    close(difference.difference, expected[2]["AUCAminusAUCB"])
    close(difference.se, math.sqrt(expected[2]["varAUCAminusAUCB"]))
    close(difference.df, expected[2]["dfBDG"])
    close(difference.p, expected[2]["pValueBDG"])
    readers = sorted(frame.reader.unique())
    for half in (readers[:5], readers[5:]):
        assert analyze(frame[frame.reader.isin(half)]).covariance == "delong"


def test_ustatistics_of_a_fully_crossed_study_agree_with_imrmc() -> None:
    expected = golden("ustat")["java_4_0_3"]["VanDyke"][2]
    (found,) = analyze(ratings("VanDyke"), covariance="ustat", margin=0.05).comparisons
    close(found.se, math.sqrt(expected["varAUCAminusAUCB"]))
    close(found.df, expected["dfBDG"])
    close(found.p, expected["pValueBDG"])
    assert found.ci is not None and found.noninferiority is not None
    close(found.ci[0], expected["botCIBDG"], rel=1e-8)
    close(found.noninferiority.lower, -found.ci[1])


@pytest.mark.parametrize("model", ["full", "without_slope"])
def test_reading_time_agrees_with_lme4_and_lmertest(model: str) -> None:
    expected = golden("readtime")["8x60"]
    if model == "without_slope":
        expected = expected["simple"]
    found = reading_time(ratings("sim_readtime_8x60"), reader_slope=model == "full")
    for effect, wanted in zip(found.fixed, expected["fixef"], strict=True):
        close(effect.estimate, wanted["Estimate"], rel=1e-4)
        close(effect.se, wanted["Std. Error"], rel=1e-4)
        close(effect.df, wanted["df"], rel=1e-4)
        close(effect.t, wanted["t value"], rel=1e-4)
        close(effect.p, wanted["Pr(>|t|)"], rel=1e-4)
    names = {"case": "case", "reader": "reader slope", "reader.1": "reader", "Residual": "residual"}
    if model == "without_slope":
        names["reader"] = "reader"
    for row in expected["varcomp"]:
        close(found.variances[names[row["grp"]]], row["vcov"], rel=1e-4)
    close(found.reml, expected["reml"], rel=1e-6)


def test_the_large_tied_study_is_estimable_with_every_covariance() -> None:
    names = ("delong", "unbiased", "jackknife", "ustat")
    ses = [analyze(ratings("sim20x2x1000_ties"), covariance=c).comparisons[0].se for c in names]
    assert np.isfinite(ses).all() and ses == pytest.approx([ses[0]] * 4, rel=0.02)
    assert ses[1] == pytest.approx(ses[3], rel=1e-9)
