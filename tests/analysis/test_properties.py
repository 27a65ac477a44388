"""What must hold of any ratings table."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.stats import analyze
from analysis.stats.components import (
    COVARIANCES,
    components,
    delong_covariance,
    jackknife_covariance,
    unbiased_covariance,
)
from analysis.stats.curves import average_roc, empirical_roc, pooled_roc
from tests.analysis.simulated import roe_metz

scores = st.lists(st.sampled_from([-np.inf, -1.0, 0.0, 0.5, 1.0, 2.0, np.inf]), min_size=2, max_size=7)


def kernel(positives: np.ndarray, negatives: np.ndarray) -> np.ndarray:
    return (positives[:, None] > negatives) + 0.5 * (positives[:, None] == negatives)


@given(scores, scores)
def test_midrank_components_equal_the_kernel_averaged_case_by_case(high: list[float], low: list[float]) -> None:
    x, y = np.array(high), np.array(low)
    parts = components(x[None], y[None])
    np.testing.assert_allclose(parts.v10[0], kernel(x, y).mean(axis=1), atol=1e-12)
    np.testing.assert_allclose(parts.v01[0], kernel(x, y).mean(axis=0), atol=1e-12)
    assert parts.auc[0] == pytest.approx(kernel(x, y).mean())


@given(scores, scores)
def test_the_delong_variance_of_one_reader_is_the_textbook_one(high: list[float], low: list[float]) -> None:
    x, y = np.array(high), np.array(low)
    psi = kernel(x, y)
    textbook = np.var(psi.mean(axis=1), ddof=1) / len(x) + np.var(psi.mean(axis=0), ddof=1) / len(y)
    assert delong_covariance(components(x[None], y[None]))[0, 0] == pytest.approx(textbook, abs=1e-12)


@given(scores, scores)
def test_the_closed_form_jackknife_equals_leaving_cases_out_one_by_one(high: list[float], low: list[float]) -> None:
    x, y = np.array(high), np.array(low)
    left_out = [kernel(np.delete(x, i), y).mean() for i in range(len(x))]
    left_out += [kernel(x, np.delete(y, i)).mean() for i in range(len(y))]
    n = len(left_out)
    expected = (n - 1) / n * ((np.array(left_out) - np.mean(left_out)) ** 2).sum()
    assert jackknife_covariance(components(x[None], y[None]))[0, 0] == pytest.approx(expected, abs=1e-12)


@given(scores, scores, st.integers(0, 5))
def test_the_unbiased_covariance_equals_its_definition_over_pairs_of_pairs(
    high: list[float], low: list[float], seed: int
) -> None:
    """Unbiased: A·B minus the mean of ψ_a·ψ_b over pairs that share neither case."""
    x, y = np.array(high), np.array(low)
    rng = np.random.default_rng(seed)
    other = rng.integers(0, 3, len(x)).astype(float), rng.integers(0, 3, len(y)).astype(float)
    a, b = kernel(x, y), kernel(*other)
    apart = [
        a[i, j] * b[k, m]
        for i in range(len(x))
        for j in range(len(y))
        for k in range(len(x))
        for m in range(len(y))
        if i != k and j != m
    ]
    positives, negatives = np.stack([x, other[0]]), np.stack([y, other[1]])
    found = unbiased_covariance(components(positives, negatives), positives, negatives)[0, 1]
    assert found == pytest.approx(a.mean() * b.mean() - np.mean(apart), abs=1e-12)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(sorted(COVARIANCES)))
def test_a_monotone_change_of_the_scale_changes_nothing(seed: int, covariance: str) -> None:
    frame = roe_metz(seed)
    stretched = frame.assign(rating=np.exp(3 * frame.rating) - 7)
    first, second = analyze(frame, covariance=covariance), analyze(stretched, covariance=covariance)
    assert first.to_dict() == second.to_dict()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.permutations(["R1", "R2", "R3", "R4"]), st.randoms(use_true_random=False))
def test_names_and_row_order_do_not_matter(seed: int, names: list[str], random: object) -> None:
    frame = roe_metz(seed)
    renamed = frame.assign(reader=frame.reader.map(dict(zip(["R1", "R2", "R3", "R4"], names, strict=True))))
    shuffled = renamed.sample(frac=1, random_state=seed)
    (first,), (second,) = analyze(frame).comparisons, analyze(shuffled).comparisons
    assert first.difference == pytest.approx(second.difference)
    assert first.se == pytest.approx(second.se)
    assert first.p == pytest.approx(second.p)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_swapping_the_treatments_turns_the_difference_round(seed: int) -> None:
    frame = roe_metz(seed)
    (ab,) = analyze(frame, reference="B").comparisons
    (ba,) = analyze(frame, reference="A").comparisons
    assert (ab.treatments, ba.treatments) == (("A", "B"), ("B", "A"))
    assert ab.difference == pytest.approx(-ba.difference)
    assert ab.p == pytest.approx(ba.p)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_one_reader_with_random_cases_is_delongs_test_of_two_curves(seed: int) -> None:
    frame = roe_metz(seed, readers=1)
    (found,) = analyze(frame, random="cases").comparisons
    wide = frame.pivot(index=["truth", "case"], columns="treatment", values="rating")
    positives, negatives = wide.loc[1].to_numpy().T, wide.loc[0].to_numpy().T
    matrix = delong_covariance(components(positives, negatives))
    assert found.se == pytest.approx(np.sqrt(matrix[0, 0] + matrix[1, 1] - 2 * matrix[0, 1]))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_the_averaged_curve_has_the_readers_mean_area(seed: int) -> None:
    frame = roe_metz(seed, treatments=("A",))
    result = analyze(frame)
    curves = []
    for _, one in frame.groupby("reader"):
        curves.append(empirical_roc(one.truth, one.rating))
    for curve, auc in zip(curves, result.auc["A"].values(), strict=True):
        assert curve.area == pytest.approx(auc)
    average = average_roc(curves)
    assert average.area == pytest.approx(result.means[0].estimate)
    assert (np.diff(average.tpr) >= 0).all() and average.tpr[-1] == pytest.approx(1)


def test_pooling_identical_readers_gives_each_readers_curve() -> None:
    truth, rating = np.array([0, 0, 1, 1, 1]), np.array([1.0, 3.0, 2.0, 3.0, 5.0])
    one, pooled = empirical_roc(truth, rating), pooled_roc(truth, np.stack([rating, rating]))
    np.testing.assert_allclose(one.tpr, pooled.tpr)
    np.testing.assert_allclose(one.fpr, pooled.fpr)


def test_type_one_error_is_near_its_level_in_a_null_study() -> None:
    """150 null studies: at a true 5 % level more than 16 rejections happen once in 1,700 times."""
    rejected = sum(analyze(roe_metz(seed, readers=5, n0=25, n1=25)).comparisons[0].p < 0.05 for seed in range(150))
    assert rejected <= 16


def test_three_treatments_share_one_error_and_holm_adjusts() -> None:
    frame = roe_metz(3, treatments=("A", "B", "C"))
    frame = pd.concat([frame])
    result = analyze(frame)
    assert [c.treatments for c in result.comparisons] == [("A", "B"), ("A", "C"), ("B", "C")]
    assert len({c.se for c in result.comparisons}) == 1
    smallest = min(result.comparisons, key=lambda c: c.p or 1)
    assert smallest.p_holm == pytest.approx(min(1, 3 * smallest.p))
