"""Free-response figures of merit: the references, the definitions, and what must hold of any study."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.stats import RatingsError, Result
from analysis.stats.components import components, delong_covariance, jackknife_covariance
from analysis.stats.froc import FIGURES_OF_MERIT, analyze_froc, covariance_of, figures_of_merit
from analysis.stats.marks import read_marks
from tests.analysis.golden import golden, ratings
from tests.analysis.stats.free_response import by_definition, free_response
from tests.reference import needs_reference

NAMES = {"wafroc": "wAFROC", "afroc": "AFROC", "wafroc1": "wAFROC1", "afroc1": "AFROC1", "hrauc": "HrAuc"}
seeds = st.integers(0, 10_000)
quick = settings(max_examples=8, deadline=None)


def checked(marks: pd.DataFrame, truth: pd.DataFrame, *args: Any, **options: Any) -> Result:
    result = analyze_froc(marks, truth, *args, **options)
    json.dumps(result.to_dict(), allow_nan=False)
    return result


def study(name: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    return ratings(f"{name}_marks"), ratings(f"{name}_truth")


# RJafroc


def close(found: float | None, expected: float) -> None:
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-11)


@needs_reference
@pytest.mark.reference
@pytest.mark.parametrize(
    ("data", "fom"), [*(("TONY", fom) for fom in FIGURES_OF_MERIT), ("FEDERICA", "wafroc"), ("FEDERICA", "afroc")]
)
def test_every_readers_figure_of_merit_agrees_with_rjafroc(data: str, fom: str) -> None:
    result = analyze_froc(*study(data), fom)
    for treatment, row in zip(result.treatments, golden("froc_power")[data][f"FOM_{NAMES[fom]}"], strict=True):
        assert row["_row"] == f"trt{treatment}"
        for reader, value in result.auc[treatment].items():
            close(value, row[f"rdr{reader}"])


@needs_reference
@pytest.mark.reference
@pytest.mark.parametrize(
    ("data", "fom"),
    [("TONY", "wafroc"), ("TONY", "afroc"), ("TONY", "hrauc"), ("FEDERICA", "wafroc"), ("FEDERICA", "afroc")],
)
def test_the_analysis_over_readers_and_cases_agrees_with_rjafroc(data: str, fom: str) -> None:
    expected = golden("froc_power")[data][f"{NAMES[fom]}_OR_RRRC_jackknife"]
    result = analyze_froc(*study(data), fom)
    assert result.components is not None and result.omnibus is not None
    found = result.components
    for row in expected["ANOVA"]["VarCom"]:
        close(
            {
                "VarR": found.var_r,
                "VarTR": found.var_tr,
                "Cov1": found.cov1,
                "Cov2": found.cov2,
                "Cov3": found.cov3,
                "Var": found.var,
            }[row["_row"]],
            row["Estimates"],
        )
    for row in expected["ANOVA"]["TRanova"]:
        close({"T": found.ms_t, "R": found.ms_r, "TR": found.ms_tr}[row["_row"]], row["MS"])
    treatment, error = expected["RRRC"]["FTests"]
    close(result.omnibus.statistic, treatment["FStat"])
    close(result.omnibus.p, treatment["p"])
    close(result.omnibus.df2, error["DF"])
    close(result.omnibus.denominator, error["MS"])
    for comparison, row in zip(result.comparisons, expected["RRRC"]["ciDiffTrt"], strict=True):
        assert comparison.ci is not None
        close(comparison.difference, row["Estimate"])
        close(comparison.se, row["StdErr"])
        close(comparison.df, row["DF"])
        close(comparison.statistic, row["t"])
        close(comparison.p, row["PrGTt"])
        close(comparison.ci[0], row["CILower"])
        close(comparison.ci[1], row["CIUpper"])
    for mean, row in zip(result.means, expected["RRRC"]["ciAvgRdrEachTrt"], strict=True):
        close(mean.estimate, row["Estimate"])
        close(mean.se, row["StdErr"])
        close(mean.df, row["DF"])
        close(mean.lower, row["CILower"])
        close(mean.upper, row["CIUpper"])


@needs_reference
@pytest.mark.reference
@pytest.mark.parametrize("fom", ["wafroc", "afroc"])
@pytest.mark.parametrize("data", ["TONY", "FEDERICA"])
def test_delong_and_the_bootstrap_stand_near_the_jackknife_on_a_real_study(data: str, fom: str) -> None:
    figures = figures_of_merit(read_marks(*study(data)), fom)
    jackknife = np.sqrt(np.diag(covariance_of(figures, "jackknife")))
    np.testing.assert_allclose(np.sqrt(np.diag(covariance_of(figures, "delong"))), jackknife, rtol=0.02)
    np.testing.assert_allclose(np.sqrt(np.diag(covariance_of(figures, "bootstrap"))), jackknife, rtol=0.12)


# The definitions


@pytest.mark.parametrize("fom", FIGURES_OF_MERIT)
@quick
@given(seeds)
def test_a_figure_of_merit_is_its_definition_pair_by_pair(fom: str, seed: int) -> None:
    marks, truth = free_response(seed, n0=4, n1=4, readers=2, treatments=("A",))
    result = checked(marks, truth, fom, readers=["R1", "R2"], treatments=["A"])
    for reader, value in result.auc["A"].items():
        assert value == pytest.approx(by_definition(marks, truth, fom, reader, "A"))


@pytest.mark.parametrize("fom", FIGURES_OF_MERIT)
@quick
@given(seeds)
def test_the_closed_form_jackknife_equals_leaving_cases_out_one_by_one(fom: str, seed: int) -> None:
    marks, truth = free_response(seed, n0=3, n1=4, readers=1)
    figures = figures_of_merit(read_marks(marks, truth, readers=["R1"], treatments=["A", "B"]), fom)
    cases = list(dict.fromkeys(truth.case))
    for place, case in enumerate(cases):
        rest = marks[marks.case != case], truth[truth.case != case]
        for cell, treatment in enumerate(("A", "B")):
            expected = by_definition(*rest, fom, "R1", treatment)
            assert figures.without[cell, place] == pytest.approx(expected), case
    left = figures.without
    expected_matrix = np.cov(left) * (len(cases) - 1) ** 2 / len(cases)
    np.testing.assert_allclose(covariance_of(figures, "jackknife"), expected_matrix, atol=1e-14)


@quick
@given(seeds)
def test_with_one_lesion_a_case_the_figure_is_a_two_sample_auc_with_its_covariances(seed: int) -> None:
    marks, truth = free_response(seed, lesions=1)
    table = read_marks(marks, truth, readers=["R1", "R2", "R3"], treatments=["A", "B"])
    high, low = table.lesion_ratings.reshape(6, -1), table.highest[:, :, ~table.truth].reshape(6, -1)
    parts = components(high, low)
    for fom in ("wafroc", "afroc"):
        figures = figures_of_merit(table, fom)
        np.testing.assert_allclose(figures.foms, parts.auc)
        np.testing.assert_allclose(covariance_of(figures, "delong"), delong_covariance(parts), atol=1e-14)
        np.testing.assert_allclose(covariance_of(figures, "jackknife"), jackknife_covariance(parts), atol=1e-14)


def test_the_bootstrap_draws_cases_and_not_lesions() -> None:
    """Lesions of a case that always agree: as many independent ones would halve the variance."""
    marks, truth = free_response(3, readers=1, treatments=("A",), n0=40, n1=40, lesions=1)
    twin = truth[truth.truth == 1].assign(lesion=2)
    hits = marks[marks.mark == "LL"].assign(lesion=2)
    single = figures_of_merit(read_marks(marks, truth, weighted=False), "afroc")
    double = figures_of_merit(read_marks(pd.concat([marks, hits]), pd.concat([truth, twin]), weighted=False), "afroc")
    assert double.foms == pytest.approx(single.foms)
    for covariance in ("jackknife", "delong", "bootstrap"):
        np.testing.assert_allclose(covariance_of(double, covariance), covariance_of(single, covariance), rtol=1e-9)


# What must hold of any study


@pytest.mark.parametrize("fom", FIGURES_OF_MERIT)
@quick
@given(seeds)
def test_row_order_and_a_monotone_change_of_the_scale_change_nothing(fom: str, seed: int) -> None:
    marks, truth = free_response(seed)
    other = marks.assign(rating=np.exp(marks.rating) - 40).sample(frac=1, random_state=seed)
    first, second = checked(marks, truth, fom), checked(other, truth.sample(frac=1, random_state=seed), fom)
    assert first.auc["A"]["R1"] == pytest.approx(second.auc["A"]["R1"])
    (a,), (b,) = first.comparisons, second.comparisons
    assert (a.difference, a.se, a.df, a.p) == pytest.approx((b.difference, b.se, b.df, b.p))


@quick
@given(seeds)
def test_a_lower_mark_beside_a_higher_one_changes_nothing(seed: int) -> None:
    marks, truth = free_response(seed)
    again = marks[marks.mark == "NL"].assign(rating=lambda rows: rows.rating - 1)
    more = pd.concat([marks, again])
    for fom in FIGURES_OF_MERIT:
        assert checked(more, truth, fom).to_dict() == checked(marks, truth, fom).to_dict()


@quick
@given(seeds)
def test_false_positives_on_diseased_cases_enter_only_where_the_figure_says_so(seed: int) -> None:
    marks, truth = free_response(seed)
    fewer = marks[(marks.mark == "LL") | (marks.truth == 0)]
    names: dict[str, Any] = {"readers": ["R1", "R2", "R3"], "treatments": ["A", "B"]}
    for fom in ("wafroc", "afroc"):
        assert checked(fewer, truth, fom, **names).auc == checked(marks, truth, fom, **names).auc
    for fom in ("wafroc1", "afroc1"):
        with_them, without = checked(marks, truth, fom, **names).auc, checked(fewer, truth, fom, **names).auc
        for cell in ("R1", "R2", "R3"):
            assert (with_them["A"][cell] or 0) <= (without["A"][cell] or 0)


@quick
@given(seeds)
def test_where_every_case_has_as_many_equal_lesions_the_weighted_figure_is_the_unweighted(seed: int) -> None:
    marks, truth = free_response(seed, lesions=1)
    twin = truth[truth.truth == 1].assign(lesion=2, weight=0.5)
    both = pd.concat([truth.assign(weight=truth.weight / (1 + truth.truth)), twin])
    for pair in (("wafroc", "afroc"), ("wafroc1", "afroc1")):
        first, second = (checked(marks, both, fom) for fom in pair)
        assert first.comparisons[0].difference == pytest.approx(second.comparisons[0].difference)
        assert first.comparisons[0].se == pytest.approx(second.comparisons[0].se)


def test_rounded_weights_are_scaled_to_one() -> None:
    marks, truth = free_response(1)
    rounded = truth.assign(weight=truth.weight.round(4))
    exact, near = checked(marks, truth), checked(marks, rounded)
    assert near.comparisons[0].difference == pytest.approx(exact.comparisons[0].difference, abs=1e-3)
    weights = read_marks(marks, rounded).weights
    table = read_marks(marks, rounded)
    assert weights is not None
    np.testing.assert_allclose(np.bincount(table.lesion_case, weights)[table.truth], 1.0, rtol=1e-15)


def test_weights_of_a_third_with_three_decimals_are_a_third() -> None:
    marks, truth = free_response(1, lesions=1)
    thirds = [truth[truth.truth == 1].assign(lesion=k, weight=0.333) for k in (1, 2, 3)]
    weights = read_marks(marks, pd.concat([truth[truth.truth == 0], *thirds])).weights
    assert weights is not None
    np.testing.assert_allclose(weights, 1 / 3, rtol=1e-15)


def test_the_reference_is_compared_and_tested_for_noninferiority() -> None:
    marks, truth = free_response(5, n0=20, n1=20)
    plain, turned = checked(marks, truth), checked(marks, truth, reference="A", margin=0.1)
    (before,), (after,) = plain.comparisons, turned.comparisons
    assert after.treatments == ("B", "A") and after.difference == pytest.approx(-(before.difference or 0))
    assert after.noninferiority is not None and (after.noninferiority.of, after.noninferiority.to) == ("B", "A")


@pytest.mark.parametrize("random", ["readers_cases", "cases", "readers"])
@pytest.mark.parametrize("covariance", ["jackknife", "delong", "bootstrap"])
def test_every_covariance_and_every_randomness_gives_an_answer(covariance: str, random: str) -> None:
    result = checked(*free_response(2, n0=20, n1=20), "wafroc", covariance, random)
    assert result.comparisons[0].p is not None
    assert covariance in result.method.lower()


def test_type_one_error_is_near_its_level_in_null_studies() -> None:
    """60 null studies: at a true 5 % level more than 9 rejections happen once in 1,300 times."""
    rejected = 0
    for seed in range(60):
        (found,) = checked(*free_response(seed, readers=4, n0=20, n1=20)).comparisons
        rejected += found.p is not None and found.p < 0.05
    assert rejected <= 9


# What cannot be estimated


def test_a_reader_without_a_mark_scores_one_half_and_is_named() -> None:
    marks, truth = free_response(1)
    silent = marks[(marks.reader != "R2") | (marks.treatment != "B")]
    result = checked(silent, truth)
    assert result.auc["B"]["R2"] == 0.5
    assert any(warning.startswith("No mark at all: reader R2 under B; taken to") for warning in result.warnings)
    assert result.comparisons[0].p is not None


def test_a_perfect_reader_with_weights_in_thirds_is_exactly_one() -> None:
    _, truth = free_response(1, lesions=3)
    diseased = truth[truth.truth == 1]
    thirds = pd.concat([diseased.drop_duplicates("case").assign(lesion=k, weight=1 / 3) for k in (1, 2, 3)])
    all_truth = pd.concat([truth[truth.truth == 0], thirds])
    rows = [
        {"reader": r, "treatment": t, "case": c, "truth": 1, "mark": "LL", "lesion": k, "rating": 9}
        for r in ("R1", "R2")
        for t in ("A", "B")
        for c in thirds.case.unique()
        for k in (1, 2, 3)
    ]
    for fom in FIGURES_OF_MERIT:
        result = checked(pd.DataFrame(rows), all_truth, fom)
        assert result.auc == {"A": {"R1": 1.0, "R2": 1.0}, "B": {"R1": 1.0, "R2": 1.0}}
        assert result.comparisons[0].se is None and result.comparisons[0].not_estimable
        assert any("exactly 0 or 1" in warning for warning in result.warnings)


@pytest.mark.parametrize(
    ("fom", "n0", "n1", "why"),
    [
        ("wafroc", 0, 5, "no case is normal: wAFROC takes its false positives from normal cases"),
        ("afroc", 5, 0, "no case is diseased: AFROC needs lesions"),
        ("hrauc", 0, 5, "no case is normal: highest-rating AUC takes"),
        ("wafroc", 1, 5, "a variance over cases needs two cases of each class; there are 5 diseased and 1 normal"),
        ("afroc1", 5, 1, "a variance over cases needs two diseased cases; there are 1 diseased and 5 normal"),
    ],
)
def test_too_few_cases_are_not_estimable(fom: str, n0: int, n1: int, why: str) -> None:
    marks, truth = free_response(4, n0=n0, n1=n1)
    result = checked(marks, truth, fom)
    assert result.not_estimable.startswith(f"not estimable, because {why}")
    (one,) = result.comparisons
    assert (result.auc["A"]["R1"] is None) == (one.difference is None) == (n0 == 0 or n1 == 0)
    assert one.se is None and one.p is None and one.not_estimable


def test_figures_of_all_cases_need_no_normal_one() -> None:
    result = checked(*free_response(4, n0=0, n1=10), "wafroc1")
    assert result.not_estimable == "" and result.comparisons[0].se is not None
    assert covariance_of(figures_of_merit(read_marks(*free_response(4, n0=0)), "wafroc1"), "bootstrap").shape == (6, 6)


def test_one_reader_one_treatment_and_one_of_each() -> None:
    marks, truth = free_response(4, readers=1)
    assert checked(marks, truth).comparisons[0].not_estimable.startswith("not estimable, because there is one reader")
    assert checked(marks, truth, random="cases").comparisons[0].p is not None
    alone = checked(marks[marks.treatment == "A"], truth, random="cases")
    assert alone.comparisons == () and alone.means[0].se is not None
    assert any(warning.startswith("There is one treatment") for warning in alone.warnings)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"fom": "jafroc"}, "fom is 'jafroc'; it must be one of 'wafroc', 'afroc', 'wafroc1', 'afroc1', 'hrauc'."),
        ({"covariance": "unbiased"}, "covariance is 'unbiased'; it must be one of 'jackknife', 'delong', 'bootstrap'."),
        ({"random": "none"}, "random is 'none'; it must be one of"),
        ({"margin": 2}, "The non-inferiority margin is 2; it must be between 0 and 1"),
        ({"truncation": "some"}, "truncation is 'some'; it must be one of 'none', 'truncate'."),
        ({"multiplicity": "tukey"}, "multiplicity is 'tukey'; it must be one of 'holm', 'bonferroni', 'none'."),
        ({"equivalence": True}, "Equivalence needs a margin"),
        ({"alpha": 1.5}, "alpha is 1.5; it must be between 0 and 1."),
        ({"reference": "Z"}, "The reference treatment 'Z' is not among A, B."),
        ({"fom": "afroc1", "covariance": "delong"}, "DeLong's covariance needs normal and diseased cases to be two"),
        ({"replicates": 1}, "replicates is 1; a bootstrap needs two draws"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_an_unknown_option_is_refused_with_the_choices(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(RatingsError) as refused:
        analyze_froc(*free_response(0), **options)
    assert str(refused.value).startswith(sentence)


def test_a_weighted_figure_refuses_a_table_read_without_weights() -> None:
    with pytest.raises(ValueError, match="needs lesion weights"):
        figures_of_merit(read_marks(*free_response(0), weighted=False), "wafroc")
