"""The AI alone against the readers: RJafroc's numbers, and what must hold of any table."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from analysis.stats import RatingsError
from analysis.stats.components import components, jackknife_covariance
from analysis.stats.obuchowski_rockette import analyse
from analysis.stats.standalone import Standalone, standalone, standalone_froc
from tests.analysis.golden import golden, ratings
from tests.analysis.simulated import roe_metz
from tests.analysis.stats.free_response import free_response
from tests.reference import needs_reference

quick = settings(max_examples=8, deadline=None)


def one_treatment(seed: int, *, readers: int = 5, **options: Any) -> pd.DataFrame:
    """Readers R2… and an AI, R1."""
    return roe_metz(seed, readers=readers, treatments=("A",), **options)


def checked(frame: pd.DataFrame, ai: object = "R1", **options: Any) -> Standalone:
    result = standalone(frame, ai, **options)
    json.dumps(result.to_dict(), allow_nan=False)
    return result


def close(found: float | None, expected: float) -> None:
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-11)


# RJafroc


def expected(method: str) -> Any:
    return golden("froc_power")["StandaloneVsReaders_NICOCADROC"][f"dataset09_Wilcoxon_{method}"]


@needs_reference
@pytest.mark.reference
def test_readers_and_cases_random_agree_with_rjafrocs_one_treatment_analysis() -> None:
    wanted, found = expected("1T_RRRC"), checked(ratings("NICOCADROC"), 1)
    close(found.ai_estimate.estimate, wanted["fomCAD"])
    for one, value in zip(found.per_reader, wanted["fomRAD"], strict=True):
        close(one.estimate, value)
    close(found.readers_mean.estimate, wanted["avgRadFom"])
    close(found.difference, wanted["avgDiffFom"])
    assert found.ci is not None
    for mine, value, shifted in zip(found.ci, wanted["CIAvgDiffFom"], wanted["CIAvgRad"], strict=True):
        close(mine, value)
        # RJafroc prints the interval of the difference moved to the readers' mean beside it.
        close(mine + wanted["fomCAD"], shifted)
    close(found.ms_r, wanted["varR"])
    close(found.var, wanted["varError"])
    close(found.cov2, wanted["cov2"])
    close(found.statistic, wanted["Tstat"])
    close(found.df, wanted["df"])
    close(found.p, wanted["pval"])


@needs_reference
@pytest.mark.reference
def test_readers_random_agrees_with_rjafroc() -> None:
    wanted, found = expected("1T_RRFC"), checked(ratings("NICOCADROC"), 1, random="readers")
    assert found.ci is not None
    for mine, value in zip(found.ci, wanted["CIAvgDiffFom"], strict=True):
        close(mine, value)
    close(found.readers_mean.lower, wanted["CIAvgRadFom"][0])
    close(found.readers_mean.upper, wanted["CIAvgRadFom"][1])
    close(found.statistic, wanted["Tstat"])
    close(found.df, wanted["df"])
    close(found.p, wanted["pval"])


@needs_reference
@pytest.mark.reference
def test_the_ai_repeated_as_a_second_treatment_gives_the_same_and_rjafrocs_numbers() -> None:
    wanted, found = expected("2T_RRRC"), checked(ratings("NICOCADROC"), 1)
    for interval, row in zip((found.ai_estimate, found.readers_mean), wanted["ciAvgRdrEachTrt"], strict=True):
        close(interval.estimate, row["Estimate"])
        close(interval.se, row["StdErr"])
        close(interval.lower, row["CILower"])
        close(interval.upper, row["CIUpper"])
    close(found.readers_mean.df, wanted["ciAvgRdrEachTrt"][1]["DF"])
    assert found.ai_estimate.df == math.inf and wanted["ciAvgRdrEachTrt"][0]["DF"] is None

    wide = ratings("NICOCADROC").pivot(index=["truth", "case"], columns="reader", values="rating").to_numpy().T
    both = np.concatenate([np.repeat(wide[:1], 9, axis=0), wide[1:]])
    truth = ratings("NICOCADROC").drop_duplicates("case").sort_values(["truth", "case"]).truth.to_numpy() == 1
    parts = components(both[:, truth], both[:, ~truth])
    two = analyse(parts.auc.reshape(2, 9), jackknife_covariance(parts))
    assert two.omnibus is not None
    close(two.components.var_tr, wanted["varTR"])
    close(two.components.cov1, wanted["cov1"])
    close(two.components.cov2, wanted["cov2"])
    close(two.components.cov3, wanted["cov3"])
    close(two.components.var, wanted["varError"])
    close(two.omnibus.statistic, wanted["FStat"])
    (row,) = wanted["ciDiffFom"]
    pair = two.differences[0, 1]
    for mine, other, value in (
        (found.se, pair.se, row["StdErr"]),
        (found.df, pair.df, row["DF"]),
        (found.p, pair.p, row["PrGTt"]),
        (found.difference, -(pair.estimate or 0), row["Estimate"]),
    ):
        close(mine, value)
        close(other, value)


# Any table


@quick
@given(st.integers(0, 10_000))
def test_the_jackknife_of_the_mean_difference_equals_leaving_cases_out(seed: int) -> None:
    frame = one_treatment(seed, readers=4, n0=6, n1=6)

    def difference(rows: pd.DataFrame) -> float:
        wide = rows.pivot(index=["truth", "case"], columns="reader", values="rating")
        auc = components(wide.loc[1].to_numpy().T, wide.loc[0].to_numpy().T).auc
        return float(auc[1:].mean() - auc[0])

    left = np.array([difference(frame[frame.case != case]) for case in frame.case.unique()])
    n = len(left)
    found = checked(frame, random="cases")
    assert found.difference == pytest.approx(difference(frame))
    assert (found.se or 0) == pytest.approx(np.sqrt((n - 1) / n * ((left - left.mean()) ** 2).sum()))


@quick
@given(st.integers(0, 10_000), st.sampled_from(["jackknife", "delong", "unbiased"]))
def test_names_order_and_a_monotone_scale_change_nothing(seed: int, covariance: str) -> None:
    frame = one_treatment(seed)
    other = frame.assign(
        reader=frame.reader.map({"R1": "net", "R2": "b", "R3": "a", "R4": "z", "R5": "m"}),
        rating=np.exp(frame.rating),
    ).sample(frac=1, random_state=seed)
    first, second = checked(frame, covariance=covariance), checked(other, "net", covariance=covariance)
    assert (first.difference, first.se, first.df, first.p) == pytest.approx(
        (second.difference, second.se, second.df, second.p)
    )


def test_the_difference_is_readers_minus_ai_and_noninferiority_is_of_the_ai() -> None:
    frame = one_treatment(1, readers=9, n0=40, n1=40)
    better = frame.assign(rating=frame.rating + frame.truth * (frame.reader == "R1"))
    found = checked(better, margin=0.05)
    assert found.difference == pytest.approx((found.readers_mean.estimate or 0) - (found.ai_estimate.estimate or 0))
    assert found.difference < 0 and found.ci is not None
    assert found.noninferiority is not None and found.noninferiority.of == "R1" and found.noninferiority.shown
    assert found.noninferiority.lower == pytest.approx(-found.ci[1])
    worse = frame.assign(rating=np.where(frame.reader == "R1", -frame.rating, frame.rating))
    lost = checked(worse, margin=0.05)
    assert lost.noninferiority is not None and not lost.noninferiority.shown


def test_each_readers_own_difference_is_delongs_test_of_two_curves() -> None:
    frame = one_treatment(2, readers=3)
    found = checked(frame, covariance="delong")
    one = checked(frame[frame.reader != "R3"], covariance="delong", random="cases")
    assert (found.per_reader[0].se, found.per_reader[0].p) == pytest.approx((one.se, one.p))


def test_the_ai_may_stand_under_a_treatment_of_its_own() -> None:
    frame = one_treatment(3)
    apart = frame.assign(treatment=np.where(frame.reader == "R1", "machine", "unaided"))
    found = checked(apart)
    assert found.difference == checked(frame).difference and found.treatment == "unaided"
    assert found.warnings == ("R1 has nothing under unaided; its ratings are those under machine.",)


def test_the_treatment_the_readers_read_under_is_chosen() -> None:
    frame = roe_metz(4)
    only = checked(frame[frame.treatment == "B"])
    assert checked(frame, treatment="B").difference == only.difference


@pytest.mark.parametrize("fom", ["wafroc", "afroc", "hrauc"])
def test_free_response_figures_are_compared_alike(fom: str) -> None:
    marks, truth = free_response(3, readers=4, treatments=("A",), n0=15, n1=15)
    found = standalone_froc(marks, truth, "R1", fom=fom)
    assert found.p is not None and found.fom == fom
    own = {one.reader: one.estimate for one in found.per_reader}
    assert found.difference == pytest.approx(np.mean(list(own.values())) - (found.ai_estimate.estimate or 0))
    with pytest.raises(RatingsError, match="The comparison is not estimable, because no case is diseased"):
        standalone_froc(marks[marks.truth == 0], truth[truth.truth == 0], "R1", fom="afroc")


def test_type_one_error_is_near_its_level_when_the_ai_is_as_good_as_the_readers() -> None:
    """The AI's truth is the readers' mean: no reader effect at all, so that the null holds. 80 studies, level 5 %."""
    rng = np.random.default_rng(0)
    rejected = 0
    for _ in range(80):
        case = rng.normal(0, 0.5, 60)
        truth = np.repeat([0, 1], 30)
        scores = 1.2 * truth + case + rng.normal(0, 1, (6, 60))
        frame = pd.DataFrame(
            [
                {"reader": f"R{j + 1}", "treatment": "A", "case": k, "truth": truth[k], "rating": scores[j, k]}
                for j in range(6)
                for k in range(60)
            ]
        )
        rejected += (checked(frame).p or 1) < 0.05
    # More than 10 of 80 happen once in 500 times at a true 5 %.
    assert rejected <= 10 and stats.binom.sf(10, 80, 0.05) < 0.003


# What cannot be


def test_one_reader_beside_the_ai_is_not_estimable_when_readers_are_random() -> None:
    frame = one_treatment(1, readers=2)
    found = checked(frame, margin=0.1)
    assert found.not_estimable.startswith("not estimable, because there is one reader") and found.se is None
    assert found.noninferiority is not None and found.noninferiority.not_estimable == found.not_estimable
    assert checked(frame, random="cases").p is not None


def test_an_ai_that_agrees_with_every_reader_is_not_estimable() -> None:
    frame = one_treatment(1, readers=1)
    same = pd.concat([frame, frame.assign(reader="R2"), frame.assign(reader="R3")])
    found = checked(same)
    assert found.difference == 0 and found.se is None and found.not_estimable
    assert found.per_reader[0].not_estimable.startswith("not estimable, because the variance of this reader's")


def test_a_perfect_ai_is_named() -> None:
    frame = one_treatment(1)
    perfect = frame.assign(rating=np.where(frame.reader == "R1", frame.truth, frame.rating))
    assert any("exactly 0 or 1" in warning and "R1" in warning for warning in checked(perfect).warnings)


@pytest.mark.parametrize(
    ("change", "options", "sentence"),
    [
        (
            lambda f: f,
            {"ai": "net"},
            "The AI 'net' is not among the readers R1; R2; R3; R4; name it as the table does.",
        ),
        (lambda f: f, {}, "The table has the treatments A, B; say which one the readers are compared under"),
        (lambda f: f, {"treatment": "C"}, "The treatment 'C' is not among A, B."),
        (
            lambda f: f[f.treatment == "A"].drop(index=[5]),
            {},
            "Ratings are missing (1): R1 has no rating of case 0-5; the comparison needs the AI and every reader to",
        ),
        (
            lambda f: f[f.treatment == "A"].drop(index=[25]),
            {},
            "Ratings are missing (1): reader R2 has no rating of case 0-5; the comparison needs",
        ),
        (lambda f: f[f.truth == 0], {"treatment": "A"}, "The table has 0 diseased and 20 non-diseased cases; the comp"),
        (lambda f: f[f.reader == "R1"], {"treatment": "A"}, "The table has no reader beside R1; there is nobody"),
        (
            lambda f: pd.concat([f[(f.reader != "R1") | (f.treatment == "B")], _third(f)]),
            {"treatment": "A"},
            "R1 has nothing under A and stands under B, C; keep one set of its ratings.",
        ),
        (lambda f: f, {"treatment": "A", "covariance": "x"}, "covariance is 'x'; it must be one of 'delong', 'jackkn"),
        (lambda f: f, {"treatment": "A", "margin": -1}, "The non-inferiority margin is -1; it must be between 0 and 1"),
    ],
    ids=["no_ai", "treatments", "treatment", "ai_cell", "cell", "class", "alone", "twice", "covariance", "margin"],
)
def test_a_table_that_cannot_be_compared_is_refused(change: Any, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(RatingsError) as refused:
        standalone(change(roe_metz(0)), **{"ai": "R1", **options})
    assert str(refused.value).startswith(sentence)


def _third(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[(frame.reader == "R1") & (frame.treatment == "A")].assign(treatment="C")
