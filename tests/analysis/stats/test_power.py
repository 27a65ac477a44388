"""Planning against RJafroc, against its own pilot, and against simulated studies."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from analysis.stats import RatingsError, analyze
from analysis.stats.power import PlanningComponents, cases_for, power, power_table, readers_for
from tests.analysis.golden import golden, ratings
from tests.analysis.simulated import roe_metz
from tests.reference import needs_reference

PUBLISHED = PlanningComponents(var=0.0008, cov1=0.00035, cov2=0.00034, cov3=0.00024, var_tr=0.0002, cases=114)

components = st.builds(
    lambda own, excess, cov3, var_tr, cases: PlanningComponents(
        var=cov3 + 2 * excess + own, cov1=cov3, cov2=cov3 + excess, cov3=cov3, var_tr=var_tr, cases=cases
    ),
    own=st.floats(1e-5, 1e-3),
    excess=st.floats(0, 5e-4),
    cov3=st.floats(0, 5e-4),
    var_tr=st.floats(-1e-4, 1e-3),
    cases=st.integers(10, 500),
)


@needs_reference
def test_every_power_of_rjafroc_is_met() -> None:
    pilot = PlanningComponents.of_pilot(analyze(ratings("VanDyke"), covariance="jackknife"))
    names = {"RRRC": "readers_cases", "FRRC": "cases", "RRFC": "readers"}
    for row in golden("froc_power")["power_VanDyke"]:
        kind = row["analysis"]
        found = power(pilot, readers=row["J"], cases=row["K"], difference=row["effect"], random=names[kind])
        assert found.power == pytest.approx(row[f"power{kind}"], rel=1e-8)
        assert found.ncp == pytest.approx(row[f"ncp{kind}"], rel=1e-9)
        df = row[f"df2{kind}"]
        assert found.df == (math.inf if df is None else pytest.approx(df, rel=1e-9))


@needs_reference
def test_the_cases_that_rjafroc_asks_for_are_met() -> None:
    pilot = PlanningComponents.of_pilot(analyze(ratings("VanDyke"), covariance="jackknife"))
    for row in golden("froc_power")["cases_given_readers_VanDyke"]:
        found = cases_for(pilot, readers=row["J"], difference=row["effect"])
        assert found.cases == row["KRRRC"]
        assert found.power == pytest.approx(row["powerRRRC"], rel=1e-8)


@pytest.mark.parametrize("random", ["readers_cases", "cases", "readers"])
def test_a_plan_of_the_pilots_size_expects_the_pilots_own_standard_error_and_df(random: str) -> None:
    for seed in range(30):
        result = analyze(roe_metz(seed, readers=5), covariance="jackknife", random=random)
        parts = result.components
        if parts.cov2 < parts.cov3 or parts.var_tr < 0:
            continue
        found = power(PlanningComponents.of_pilot(result), readers=5, cases=40, difference=0.05, random=random)
        assert found.se == pytest.approx(result.comparisons[0].se)
        assert found.df == pytest.approx(result.comparisons[0].df)
        return
    raise AssertionError("no pilot without a negative component was drawn")


@settings(max_examples=40, deadline=None)
@given(components, st.integers(2, 30), st.integers(4, 2000), st.floats(0.01, 0.2), st.booleans())
def test_power_is_the_upper_tail_of_a_noncentral_f(
    parts: PlanningComponents, readers: int, cases: int, difference: float, down: bool
) -> None:
    found = power(parts, readers=readers, cases=cases, difference=-difference if down else difference)
    f = parts.cases / cases
    excess = parts.cov2 - parts.cov3
    var_tr = max(parts.var_tr, 0)
    denominator = var_tr + f * (parts.var - parts.cov1 + (readers - 1) * excess)
    df = denominator**2 * (readers - 1) / (var_tr + f * (parts.var - parts.cov1 - excess)) ** 2
    assert found.ncp == pytest.approx(readers * difference**2 / (2 * denominator))
    assert found.df == pytest.approx(df)
    tail = stats.nct(df, math.sqrt(found.ncp))
    edge = stats.t(df).ppf(0.975)
    expected = tail.sf(edge) + tail.cdf(-edge)
    if not math.isnan(expected):
        assert found.power == pytest.approx(expected, abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(components, st.integers(2, 12), st.floats(0.02, 0.1), st.floats(0.3, 0.95))
def test_the_cases_found_reach_the_target_and_one_less_does_not(
    parts: PlanningComponents, readers: int, difference: float, target: float
) -> None:
    found = cases_for(parts, readers=readers, difference=difference, target=target)
    if found.cases is None:
        assert found.power is None and found.limit < target
        assert f"tends to {found.limit:.4f}" in found.not_estimable
        return
    assert found.power >= target
    if found.cases > 4:
        assert power(parts, readers=readers, cases=found.cases - 1, difference=difference).power < target


def test_the_readers_found_reach_the_target_and_one_less_does_not() -> None:
    found = readers_for(PUBLISHED, cases=200, difference=0.05)
    assert found.power >= 0.8
    assert power(PUBLISHED, readers=found.readers - 1, cases=200, difference=0.05).power < 0.8


def test_what_no_number_reaches_is_said_with_its_limit() -> None:
    few = cases_for(PUBLISHED, readers=3, difference=0.02)
    assert few.cases is None and few.not_estimable.startswith(
        "not reachable, because no number of cases gives 3 readers the power 0.8"
    )
    small = readers_for(PUBLISHED, cases=20, difference=0.02)
    assert small.readers is None and "20 cases" in small.not_estimable


def test_with_no_difference_beyond_the_margin_power_is_the_size_of_the_test() -> None:
    edge = power(PUBLISHED, readers=6, cases=200, difference=-0.05 + 1e-9, margin=0.05)
    assert edge.power == pytest.approx(0.025, abs=1e-6)


def test_non_inferiority_power_is_a_one_sided_noncentral_t() -> None:
    found = power(PUBLISHED, readers=6, cases=200, difference=-0.01, margin=0.05)
    edge = stats.t(found.df).ppf(0.975)
    assert found.power == pytest.approx(stats.nct(found.df, 0.04 / found.se).sf(edge), rel=1e-8)


@pytest.mark.parametrize("difference", [0.5, 5.0, 500.0])
@pytest.mark.parametrize("random", ["readers_cases", "cases", "readers"])
def test_a_huge_difference_is_found_for_sure(difference: float, random: str) -> None:
    found = power(PUBLISHED, readers=6, cases=100_000, difference=difference, random=random)
    assert found.power == pytest.approx(1)
    assert power(PUBLISHED, readers=6, cases=100_000, difference=difference, margin=0.1).power == pytest.approx(1)


def test_components_of_dorfman_berbaum_and_metz_are_converted_and_back() -> None:
    parts = PlanningComponents.of_dbm(
        case=0.03, treatment_case=0.01, reader_case=0.012, error=0.05, treatment_reader=0.0003, cases=100
    )
    assert (parts.var, parts.cov1, parts.cov2, parts.cov3) == pytest.approx((0.00102, 0.00042, 0.0004, 0.0003))
    assert parts.to_dbm() == pytest.approx(
        {"case": 0.03, "treatment_case": 0.01, "reader_case": 0.012, "error": 0.05, "treatment_reader": 0.0003}
    )


def test_negative_components_count_as_zero_and_are_named() -> None:
    odd = PlanningComponents(var=0.0008, cov1=0.0003, cov2=0.0002, cov3=0.00025, var_tr=-0.0001, cases=100)
    zero = PlanningComponents(var=0.0008, cov1=0.0003, cov2=0.00025, cov3=0.00025, var_tr=0.0, cases=100)
    plan = {"readers": 5, "cases": 100, "difference": 0.04}
    assert power(odd, **plan).power == power(zero, **plan).power
    assert any("VarTR of the pilot is -0.0001 and counts as zero" in line for line in power(odd, **plan).warnings)
    assert any("Cov2 − Cov3 of the pilot is negative" in line for line in power(odd, **plan).warnings)


def test_components_that_give_no_variance_are_not_estimable() -> None:
    none = PlanningComponents(var=0.0, cov1=0.0, cov2=0.0, cov3=0.0, var_tr=0.0, cases=100)
    for found in (
        power(none, readers=5, cases=100, difference=0.05),
        cases_for(none, readers=5, difference=0.05),
        readers_for(none, cases=100, difference=0.05),
    ):
        assert found.power is None
        assert found.not_estimable.startswith("not estimable, because the variance of the difference")
        json.dumps(found.to_dict(), allow_nan=False)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"readers": 1}, "The number of readers is 1; it must be a whole number, 2 or more."),
        ({"cases": 3}, "The number of cases is 3; it must be a whole number, 4 or more."),
        ({"cases": 10.5}, "The number of cases is 10.5; it must be a whole number, 4 or more."),
        ({"difference": 0.0}, "The difference to find is 0; it must be a number other than 0"),
        ({"difference": math.nan}, "The difference to find is nan"),
        ({"alpha": 1.0}, "alpha is 1; it must be between 0 and 1."),
        ({"random": "both"}, "random is 'both'; it must be one of"),
        ({"margin": -0.1}, "The non-inferiority margin is -0.1; it must be a positive number."),
        ({"margin": 0.05, "difference": -0.05}, "lies beyond the margin 0.05"),
    ],
    ids=lambda value: ", ".join(value) if isinstance(value, dict) else "",
)
def test_numbers_out_of_range_are_refused(change: dict, sentence: str) -> None:
    with pytest.raises(RatingsError, match=sentence.replace("(", r"\(")):
        power(PUBLISHED, **{"readers": 5, "cases": 100, "difference": 0.05, **change})


def test_a_target_out_of_range_is_refused() -> None:
    with pytest.raises(RatingsError, match="The target power is 1; it must be between 0 and 1"):
        cases_for(PUBLISHED, readers=5, difference=0.05, target=1.0)


def test_a_pilot_that_shows_too_little_is_refused_with_the_reason() -> None:
    frame = roe_metz(1, readers=2)
    with pytest.raises(RatingsError, match="one reader, which does not show cov2, cov3, var_tr"):
        PlanningComponents.of_pilot(analyze(frame[frame.reader == "R1"]))
    with pytest.raises(RatingsError, match="one treatment, which does not show cov1"):
        PlanningComponents.of_pilot(analyze(frame[frame.treatment == "A"]))
    with pytest.raises(RatingsError, match="cannot be planned from: no case is diseased"):
        PlanningComponents.of_pilot(analyze(frame[frame.truth == 0]))


def test_one_reader_is_enough_where_only_cases_are_random() -> None:
    assert power(PUBLISHED, readers=1, cases=100, difference=0.05, random="cases").power > 0.05


def test_the_table_goes_through_the_grid_in_order() -> None:
    rows = power_table(PUBLISHED, readers=(4, 6), cases=(100, 200), differences=(0.03, 0.05))
    assert [(row["difference"], row["readers"], row["cases"]) for row in rows] == [
        (d, j, k) for d in (0.03, 0.05) for j in (4, 6) for k in (100, 200)
    ]
    assert rows[-1]["power"] == power(PUBLISHED, readers=6, cases=200, difference=0.05).power
    assert rows[-1]["power"] == max(row["power"] for row in rows)
