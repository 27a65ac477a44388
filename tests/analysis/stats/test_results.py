"""The result: conversions, margins, several comparisons, and the conventions it names."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.stats import analyze
from analysis.stats.components import components, jackknife_covariance
from analysis.stats.mrmc import result_from
from analysis.stats.obuchowski_rockette import Conventions, analyse
from analysis.stats.ratings import Ratings, read_ratings
from tests.analysis.golden import ratings
from tests.analysis.simulated import roe_metz
from tests.reference import needs_reference


def pseudovalues(table: Ratings) -> np.ndarray:
    """``[I, J, n]``: n·A − (n − 1)·A₋k, leaving cases out one by one."""
    shape = table.scores.shape
    n = shape[2]
    out = np.empty(shape)
    for i, j in np.ndindex(*shape[:2]):
        own = table.scores[i, j]

        def auc(keep: np.ndarray, own: np.ndarray = own) -> float:
            high, low = own[keep & table.truth], own[keep & ~table.truth]
            return float(components(high[None], low[None]).auc[0])

        whole = auc(np.ones(n, dtype=bool))
        for k in range(n):
            out[i, j, k] = n * whole - (n - 1) * auc(np.arange(n) != k)
    return out


@pytest.mark.parametrize("seed", [1, 2])
def test_dbm_components_are_those_of_the_anova_of_pseudovalues(seed: int) -> None:
    """The three-way layout of treatment, reader and case computed from its definition."""
    frame = roe_metz(seed, readers=3, n0=9, n1=8)
    found = analyze(frame, covariance="jackknife").dbm
    assert found is not None
    y = pseudovalues(read_ratings(frame))
    i, j, n = y.shape
    grand = y.mean()
    t, r, c = (y.mean(axis=axes, keepdims=True) - grand for axes in ((1, 2), (0, 2), (0, 1)))
    tr = y.mean(axis=2, keepdims=True) - grand - t - r
    tc = y.mean(axis=1, keepdims=True) - grand - t - c
    rc = y.mean(axis=0, keepdims=True) - grand - r - c
    rest = y - grand - t - r - c - tr - tc - rc
    expected = {
        "ms_t": j * n * (t**2).sum() / (i - 1),
        "ms_r": i * n * (r**2).sum() / (j - 1),
        "ms_c": i * j * (c**2).sum() / (n - 1),
        "ms_tr": n * (tr**2).sum() / ((i - 1) * (j - 1)),
        "ms_tc": j * (tc**2).sum() / ((i - 1) * (n - 1)),
        "ms_rc": i * (rc**2).sum() / ((j - 1) * (n - 1)),
        "ms_trc": (rest**2).sum() / ((i - 1) * (j - 1) * (n - 1)),
    }
    for name, value in expected.items():
        assert getattr(found, name) == pytest.approx(value, rel=1e-9), name
    e = expected
    components_ = {
        "var_r": (e["ms_r"] - e["ms_tr"] - e["ms_rc"] + e["ms_trc"]) / (i * n),
        "var_c": (e["ms_c"] - e["ms_tc"] - e["ms_rc"] + e["ms_trc"]) / (i * j),
        "var_tr": (e["ms_tr"] - e["ms_trc"]) / n,
        "var_tc": (e["ms_tc"] - e["ms_trc"]) / j,
        "var_rc": (e["ms_rc"] - e["ms_trc"]) / i,
        "var_error": e["ms_trc"],
    }
    for name, value in components_.items():
        assert getattr(found, name) == pytest.approx(value, rel=1e-9, abs=1e-15), name


def test_the_closed_form_jackknife_is_that_of_the_pseudovalues() -> None:
    table = read_ratings(roe_metz(1, readers=2, n0=9, n1=8))
    y = pseudovalues(table).reshape(4, -1)
    parts = components(table.positives.reshape(4, -1), table.negatives.reshape(4, -1))
    np.testing.assert_allclose(jackknife_covariance(parts), np.cov(y) / y.shape[1], rtol=1e-9)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("margin", [0.02, 0.08, 0.3])
def test_equivalence_is_shown_where_the_interval_lies_within_the_margin(seed: int, margin: float) -> None:
    (found,) = analyze(roe_metz(seed, n0=60, n1=60), margin=margin, equivalence=True).comparisons
    equal = found.equivalence
    assert equal is not None and found.ci is not None and found.df is not None and found.se is not None
    assert equal.ci == pytest.approx(found.ci)
    assert equal.shown == (-margin < found.ci[0] and found.ci[1] < margin) == (equal.p < 0.025)
    lower = stats.t(found.df).sf((found.difference + margin) / found.se)
    upper = stats.t(found.df).cdf((found.difference - margin) / found.se)
    assert equal.p == pytest.approx(max(lower, upper))
    if equal.shown:
        assert found.noninferiority is not None and found.noninferiority.shown


def test_without_being_asked_for_equivalence_is_not_tested() -> None:
    (found,) = analyze(roe_metz(1), margin=0.1).comparisons
    assert found.noninferiority is not None and found.equivalence is None


@pytest.mark.parametrize("how", ["holm", "bonferroni", "none"])
def test_several_comparisons_are_adjusted_as_asked(how: str) -> None:
    frame = roe_metz(3, treatments=("A", "B", "C", "D"))
    result = analyze(frame, multiplicity=how)
    p = [found.p for found in result.comparisons]
    assert len(p) == 6
    expected = {"bonferroni": [min(1, 6 * one) for one in p], "none": p}.get(how)
    if expected is not None:
        assert [found.p_adjusted for found in result.comparisons] == pytest.approx(expected)
    else:
        assert [found.p_adjusted for found in result.comparisons] == [found.p_holm for found in result.comparisons]
        assert all(found.p_holm >= found.p for found in result.comparisons)
    assert result.multiplicity == how
    assert any(
        said.startswith("With more than two treatments every pair shares one error") for said in result.conventions
    )


def test_with_three_treatments_the_omnibus_test_is_the_square_of_the_pairs() -> None:
    """MS(T) is J/(I(I−1)) times the sum of squared pairwise differences, so F is the mean of the squared t."""
    result = analyze(roe_metz(3, treatments=("A", "B", "C")))
    assert result.omnibus is not None
    assert result.omnibus.statistic == pytest.approx(np.mean([found.statistic**2 for found in result.comparisons]))
    assert result.omnibus.df1 == 2


def test_conventions_can_be_switched_and_are_named() -> None:
    frame = roe_metz(3, n0=60, n1=60)
    hillis, floor, original = (
        analyze(frame, **options) for options in ({}, {"df_rounding": "floor"}, {"df": "original"})
    )
    df = [one.comparisons[0].df for one in (hillis, floor, original)]
    assert df[1] == math.floor(df[0]) and df[2] == 3 and df[0] > 3
    assert original.comparisons[0].p >= floor.comparisons[0].p >= hillis.comparisons[0].p
    said = [" ".join(one.conventions) for one in (hillis, floor, original)]
    assert "not rounded" in said[0] and "rounded down as iMRMC" in said[1] and "first published (1995)" in said[2]


def test_truncation_with_cases_random_changes_only_negative_excess() -> None:
    fom = np.array([[0.8, 0.9, 0.85], [0.7, 0.88, 0.86]])
    for excess, changes in ((-2e-4, True), (2e-4, False)):
        errors = np.full((6, 6), 3e-4)
        errors[:3, :3] = errors[3:, 3:] = 3e-4 + excess
        errors += np.diag(np.full(6, 1.2e-3))
        se = [
            analyse(fom, errors, random="cases", conventions=Conventions(truncation=how)).differences[0, 1].se
            for how in ("none", "truncate")
        ]
        assert (se[0] != pytest.approx(se[1])) == changes


@pytest.mark.parametrize("random", ["readers_cases", "cases", "readers"])
@pytest.mark.parametrize("covariance", ["delong", "jackknife", "unbiased", "bootstrap", "ustat"])
def test_identical_treatments_are_not_estimable(random: str, covariance: str) -> None:
    frame = roe_metz(1, treatments=("A",), readers=6, n0=37, n1=23)
    if covariance == "ustat":
        random = "readers_cases"
    twice = pd.concat([frame, frame.assign(treatment="B")])
    (found,) = analyze(twice, covariance=covariance, random=random, replicates=30).comparisons
    assert found.difference == 0 and found.se is None and found.p is None
    assert found.not_estimable.startswith("not estimable, because")


@needs_reference
@pytest.mark.reference
def test_a_negative_ustatistic_variance_is_not_estimable_and_says_so() -> None:
    (found,) = analyze(ratings("Franken"), covariance="ustat", margin=0.1, equivalence=True).comparisons
    assert found.difference == pytest.approx(0.01085482, rel=1e-6) and found.se is None
    assert "negative" in found.not_estimable
    assert found.noninferiority is not None and found.noninferiority.not_estimable == found.not_estimable
    assert found.equivalence is not None and found.equivalence.p is None


def test_a_result_is_made_from_any_figures_and_their_covariance() -> None:
    rng = np.random.default_rng(1)
    root = rng.normal(0, 0.03, (6, 9))
    result = result_from(
        fom="novel",
        covariance="own",
        random="readers_cases",
        readers=("a", "b", "c"),
        treatments=("X", "Y"),
        diseased=10,
        nondiseased=12,
        foms=rng.uniform(2, 3, (2, 3)),
        errors=root @ root.T,
        method_words="a novel figure, its own covariances",
        reference="X",
        conventions=("Novel.",),
        warnings=("Beware.",),
    )
    assert result.treatments == ("Y", "X") and result.comparisons[0].p is not None
    assert result.method == "Obuchowski–Rockette, readers and cases random, a novel figure, its own covariances"
    assert result.conventions[0] == "Novel." and result.warnings == ("Beware.",)
    assert result.to_frame().kind.iloc[0] == "novel"
    assert result.to_dict()["fom_values"] == result.to_dict()["auc"]


def test_a_result_without_a_covariance_must_say_why() -> None:
    blank = {"fom": "x", "covariance": "y", "random": "cases", "readers": ("a",), "treatments": ("X", "Y")}
    blank |= {"diseased": 1, "nondiseased": 1, "foms": np.full((2, 1), np.nan), "errors": None, "method_words": ""}
    with pytest.raises(ValueError, match="must say why it has none"):
        result_from(**blank)
    result = result_from(
        **blank, why="not estimable, because it is so", why_cells={(0, 0): "not estimable, because no"}
    )
    assert result.cells[0].not_estimable == "not estimable, because no"
    assert result.comparisons[0].not_estimable == result.not_estimable == "not estimable, because it is so"
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.fom = "z"


def test_the_bootstrap_is_the_same_for_the_same_seed() -> None:
    frame = roe_metz(1)
    first, again, other = (analyze(frame, covariance="bootstrap", replicates=200, seed=seed) for seed in (1, 1, 2))
    assert first.to_dict() == again.to_dict() and first.to_dict() != other.to_dict()


def test_a_result_draws_itself() -> None:
    result = analyze(roe_metz(1))
    forest = result.plot_forest()
    written = [text.get_text() for axis in forest.axes for text in (*axis.texts, *axis.get_yticklabels())]
    assert any("R1" in text for text in written)
    assert analyze(roe_metz(1, treatments=("A",))).plot_means().axes
    three = analyze(roe_metz(1, treatments=("A", "B", "C")))
    assert three.plot_forest(("A", "C")).axes


def test_every_interval_is_a_pair_in_json_under_one_name() -> None:
    found = analyze(roe_metz(3, readers=3)).to_dict()
    for kind in ("cells", "means", "reader_differences"):
        for one in found[kind]:
            assert one["ci"] == ([one["lower"], one["upper"]] if one["se"] is not None else None)
    assert len(found["comparisons"][0]["ci"]) == 2
    perfect = roe_metz(3, readers=3).assign(rating=lambda frame: frame.truth)
    assert {one["ci"] for one in analyze(perfect).to_dict()["cells"]} == {None}


def test_without_a_variance_over_cases_the_averages_are_still_shown() -> None:
    frame = roe_metz(3, readers=3)
    only = frame.loc[frame.truth == 1, "case"].iloc[0]
    found = analyze(frame[(frame.truth == 0) | (frame.case == only)])
    a, b = (sum(found.auc[arm].values()) / 3 for arm in ("A", "B"))  # type: ignore[arg-type]
    assert [mean.estimate for mean in found.means] == pytest.approx([a, b])
    assert found.comparisons[0].difference == pytest.approx(a - b)
    assert found.comparisons[0].not_estimable.endswith("there are 1 diseased and 20 non-diseased")
    assert found.comparisons[0].se is None and found.means[0].se is None
