"""Structural components of the empirical AUC, and the covariances of many AUCs built on them.

The empirical AUC is a two-sample U-statistic with kernel ψ(x, y) = 1 if x > y, ½ if x = y, 0 if x < y (x the rating of
a diseased case, y of a non-diseased one). Its structural components are the kernel averaged over the other sample:

    V10[d] = mean over y of ψ(x_d, y)        V01[h] = mean over x of ψ(x, y_h)

Midranks give both in O(n log n): V10 = (rank in all − rank among diseased)/n0, V01 = 1 − (rank in all − rank among
non-diseased)/n1. Only comparisons are used, so ties count one half and ratings of ±inf are ordinary values.

Sources: DeLong, DeLong & Clarke-Pearson, Biometrics 44:837 (1988) for the components and their covariance; Sun & Xu,
IEEE Signal Processing Letters 21:1389 (2014) for the midrank form; Gallas, Academic Radiology 13:353 (2006) for the
unbiased U-statistic estimate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

Floats = NDArray[np.float64]

#: Most kernel values held at once by :func:`unbiased_covariance`: 4 × this stays below 2²⁴, so float32 sums are exact.
_PAIRS_AT_ONCE = 1 << 21


@dataclass(frozen=True)
class Components:
    """Structural components of C curves read on the same cases.

    Attributes:
        auc: ``[C]``.
        v10: ``[C, n1]``, one value per diseased case.
        v01: ``[C, n0]``, one value per non-diseased case.
    """

    auc: Floats
    v10: Floats
    v01: Floats


def components(positives: Floats, negatives: Floats) -> Components:
    """Structural components of the empirical AUC.

    Args:
        positives: ratings of the diseased cases, ``[C, n1]``, one row per curve (a reader under a treatment).
        negatives: ratings of the non-diseased cases, ``[C, n0]``, same rows.

    Raises:
        ValueError: either class is empty, or the two have different numbers of rows.
    """
    positives, negatives = np.atleast_2d(positives), np.atleast_2d(negatives)
    n1, n0 = positives.shape[1], negatives.shape[1]
    if positives.shape[0] != negatives.shape[0]:
        raise ValueError(f"{positives.shape[0]} rows of positives do not match {negatives.shape[0]} rows of negatives.")
    if n1 == 0 or n0 == 0:
        raise ValueError("An AUC needs diseased and non-diseased cases; one of the two classes is empty.")
    everything = _dense(np.concatenate([positives, negatives], axis=1))
    overall = rankdata(everything, axis=1)
    v10 = (overall[:, :n1] - rankdata(everything[:, :n1], axis=1)) / n0
    v01 = 1.0 - (overall[:, n1:] - rankdata(everything[:, n1:], axis=1)) / n1
    return Components(v10.mean(axis=1), v10, v01)


def delong_covariance(parts: Components) -> Floats:
    """DeLong's covariance of C AUCs, ``[C, C]``: cov(V10)/n1 + cov(V01)/n0.

    Raises:
        ValueError: a class has fewer than two cases.
    """
    n1, n0 = _two_of_each(parts)
    return _covariance(parts.v10) / n1 + _covariance(parts.v01) / n0


def jackknife_covariance(parts: Components) -> Floats:
    """Jackknife covariance of C AUCs over all n = n0 + n1 cases, ``[C, C]``, in closed form.

    The AUC without diseased case d is (n1·A − V10[d])/(n1 − 1), likewise without a non-diseased case, so no AUC is
    recomputed. The covariance is (n−1)/n · Σ (A₋k − mean)(A₋k − mean)ᵀ (Efron & Stein, Annals of Statistics 9:586,
    1981).

    Raises:
        ValueError: a class has fewer than two cases.
    """
    n1, n0 = _two_of_each(parts)
    n = n1 + n0
    auc = parts.auc[:, None]
    left_out = np.concatenate([(n1 * auc - parts.v10) / (n1 - 1), (n0 * auc - parts.v01) / (n0 - 1)], axis=1)
    centred = left_out - left_out.mean(axis=1, keepdims=True)
    return (n - 1) / n * (centred @ centred.T)


def unbiased_covariance(parts: Components, positives: Floats, negatives: Floats) -> Floats:
    """Unbiased U-statistic covariance of C AUCs, ``[C, C]``.

    With Ψ the kernel matrix of a curve, s its total and R⁺, R⁻ its row and column sums,

        C = [(1−δ) s sᵀ + δ (R⁺R⁺ᵀ + R⁻R⁻ᵀ − ΨΨᵀ)] / (n0 n1)²,   δ = n0 n1 / ((n0−1)(n1−1)).

    It can be negative in small samples; that is the price of having no bias.

    Args:
        parts: from :func:`components` on the same ratings.
        positives: ``[C, n1]``.
        negatives: ``[C, n0]``.

    Raises:
        ValueError: a class has fewer than two cases.
    """
    n1, n0 = _two_of_each(parts)
    curves = len(parts.auc)
    everything = _dense(np.concatenate([np.atleast_2d(positives), np.atleast_2d(negatives)], axis=1))
    above, below = everything[:, :n1], everything[:, n1:]
    kernel_products = np.zeros((curves, curves))
    step = max(1, min(n0, _PAIRS_AT_ONCE // n1))
    for start in range(0, n0, step):
        low = below[:, None, start : start + step]
        high = above[:, :, None]
        # 2ψ is 0, 1 or 2: products and their sums are whole numbers that float32 holds exactly.
        doubled = ((high > low).astype(np.float32) + (high >= low)).reshape(curves, -1)
        kernel_products += (doubled @ doubled.T).astype(np.float64)
    kernel_products /= 4.0
    rows, columns = parts.v10 * n0, parts.v01 * n1
    totals = rows.sum(axis=1)
    delta = n0 * n1 / ((n0 - 1) * (n1 - 1))
    summed = rows @ rows.T + columns @ columns.T - kernel_products
    return ((1 - delta) * np.outer(totals, totals) + delta * summed) / (n0 * n1) ** 2


def _delong(parts: Components, positives: Floats, negatives: Floats) -> Floats:
    return delong_covariance(parts)


def _jackknife(parts: Components, positives: Floats, negatives: Floats) -> Floats:
    return jackknife_covariance(parts)


#: Covariance estimators by name; each takes the components and the ratings they came from.
COVARIANCES: dict[str, Callable[[Components, Floats, Floats], Floats]] = {
    "delong": _delong,
    "jackknife": _jackknife,
    "unbiased": unbiased_covariance,
}


def _covariance(values: Floats) -> Floats:
    centred = values - values.mean(axis=1, keepdims=True)
    return centred @ centred.T / (values.shape[1] - 1)


def _two_of_each(parts: Components) -> tuple[int, int]:
    n1, n0 = parts.v10.shape[1], parts.v01.shape[1]
    if n1 < 2 or n0 < 2:
        raise ValueError(
            f"A covariance of AUCs needs two cases of each class; there are {n1} diseased and {n0} non-diseased."
        )
    return n1, n0


def _dense(values: Floats) -> Floats:
    """Refuse NaN, which compares with nothing and would pass silently."""
    if np.isnan(values).any():
        raise ValueError("A rating is missing (NaN); AUC components need a rating for every case.")
    return np.asarray(values, dtype=np.float64)
