"""Covariances of many figures of merit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.stats.components import (
    CellComponents,
    Components,
    bootstrap_covariance,
    components,
    delong_covariance,
    jackknife_covariance,
    pairwise_covariance,
    unbiased_covariance,
)
from analysis.stats.foms import figure_of_merit


def ratings(seed: int, *, curves: int = 4, n1: int = 30, n0: int = 40) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    high = rng.normal(1, 1, (1, n1)) + rng.normal(0, 0.7, (curves, n1))
    low = rng.normal(0, 1, (1, n0)) + rng.normal(0, 0.7, (curves, n0))
    return high, low


@given(st.integers(0, 10_000), st.integers(1, 40), st.sampled_from([-7, 0, 250]))
def test_counting_and_sorting_find_the_same_components(seed: int, levels: int, bottom: int) -> None:
    rng = np.random.default_rng(seed)
    high, low = (rng.integers(0, levels, (3, n)) + float(bottom) for n in (25, 30))
    counted, sorted_ = components(high, low), components(high * 1.3, low * 1.3)
    for name in ("auc", "v10", "v01"):
        np.testing.assert_allclose(getattr(counted, name), getattr(sorted_, name), atol=1e-12)


def test_delong_and_the_jackknife_need_the_components_alone() -> None:
    """A figure of merit nobody here knows: a mean difference, whose components are the values themselves."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(1, 1, (2, 9)), rng.normal(0, 1, (2, 7))
    value = x.mean(axis=1) - y.mean(axis=1)
    parts = Components(value, x - y.mean(axis=1, keepdims=True), x.mean(axis=1, keepdims=True) - y)
    np.testing.assert_allclose(delong_covariance(parts), np.cov(x) / 9 + np.cov(y) / 7)
    left = np.array([np.delete(x, i, 1).mean(1) - y.mean(1) for i in range(9)])
    left = np.r_[left, [x.mean(1) - np.delete(y, i, 1).mean(1) for i in range(7)]]
    np.testing.assert_allclose(jackknife_covariance(parts), 15 / 16 * 16 * np.cov(left.T, ddof=0))


def test_covariances_are_close_in_a_large_sample_and_the_bootstrap_repeats_itself() -> None:
    high, low = ratings(1, n1=150, n0=150)
    parts, fom = components(high, low), figure_of_merit("auc")
    delong = delong_covariance(parts)
    np.testing.assert_allclose(unbiased_covariance(parts, high, low), delong, rtol=0.05)
    first = bootstrap_covariance(parts, high, low, fom.weighted, replicates=4000, seed=3)
    np.testing.assert_allclose(first, delong, rtol=0.12)
    again = bootstrap_covariance(parts, high, low, fom.weighted, replicates=4000, seed=3)
    other = bootstrap_covariance(parts, high, low, fom.weighted, replicates=4000, seed=4)
    assert (first == again).all() and (first != other).any()


def with_holes(seed: int) -> tuple[CellComponents, np.ndarray, np.ndarray]:
    high, low = ratings(seed)
    rng = np.random.default_rng(seed)
    parts = []
    for values in (high, low):
        values[rng.random(values.shape) < 0.3] = np.nan
        parts.append(~np.isnan(values))
    auc, v10, v01 = np.zeros(4), np.full(high.shape, np.nan), np.full(low.shape, np.nan)
    for row in range(4):
        has1, has0 = parts[0][row], parts[1][row]
        own = components(high[row, has1][None], low[row, has0][None])
        auc[row], v10[row, has1], v01[row, has0] = own.auc[0], own.v10[0], own.v01[0]
    return CellComponents(auc, v10, v01), high, low


def test_pairwise_covariances_of_shared_cases_are_delongs() -> None:
    parts = components(*ratings(2))
    np.testing.assert_allclose(
        pairwise_covariance(CellComponents(parts.auc, parts.v10, parts.v01)), delong_covariance(parts), rtol=1e-10
    )


@pytest.mark.parametrize("seed", range(5))
def test_pairwise_covariances_are_over_the_cases_both_share(seed: int) -> None:
    parts, _, _ = with_holes(seed)
    found = pairwise_covariance(parts)
    for a in range(4):
        for b in range(4):
            expected = 0.0
            for values in (parts.v10, parts.v01):
                shared = ~np.isnan(values[a]) & ~np.isnan(values[b])
                held = (~np.isnan(values[[a, b]])).sum(axis=1).prod()
                expected += shared.sum() * np.cov(values[a, shared], values[b, shared])[0, 1] / held
            assert found[a, b] == pytest.approx(expected)


def test_curves_without_a_shared_case_are_uncorrelated() -> None:
    high, low = ratings(3, curves=2)
    v10, v01 = np.full((2, 60), np.nan), np.full((2, 80), np.nan)
    for row in range(2):
        own = components(high[row : row + 1], low[row : row + 1])
        v10[row, 30 * row : 30 * row + 30], v01[row, 40 * row : 40 * row + 40] = own.v10[0], own.v01[0]
    found = pairwise_covariance(CellComponents(components(high, low).auc, v10, v01))
    assert found[0, 1] == 0 and found[0, 0] == pytest.approx(delong_covariance(components(high, low))[0, 0])


def test_pairwise_covariances_have_the_right_size() -> None:
    """400 drawn studies in which two curves share half their cases."""
    rng = np.random.default_rng(5)
    estimates, predicted = [], []
    for _ in range(400):
        base1, base0 = rng.normal(1, 1, 45), rng.normal(0, 1, 45)
        auc, v10, v01 = np.zeros(2), np.full((2, 45), np.nan), np.full((2, 45), np.nan)
        for row, rows in enumerate((slice(0, 30), slice(15, 45))):
            own = components((base1[rows] + rng.normal(0, 0.5, 30))[None], (base0[rows] + rng.normal(0, 0.5, 30))[None])
            auc[row], v10[row, rows], v01[row, rows] = own.auc[0], own.v10[0], own.v01[0]
        estimates.append(auc)
        predicted.append(pairwise_covariance(CellComponents(auc, v10, v01)))
    seen = np.cov(np.array(estimates).T)
    np.testing.assert_allclose(np.mean(predicted, axis=0), seen, rtol=0.25)


def test_too_few_cases_are_refused() -> None:
    high, low = ratings(1, n1=1)
    parts = components(high, low)
    for covariance in (delong_covariance, jackknife_covariance):
        with pytest.raises(ValueError, match="needs two cases of each class; there are 1 diseased and 40"):
            covariance(parts)
    with pytest.raises(ValueError, match="A rating is missing"):
        components(np.array([[np.nan, 1.0]]), np.array([[0.0, 1.0]]))
