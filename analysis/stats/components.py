"""Structural components of a two-sample figure of merit, and the covariances of many built on them.

The empirical AUC is a two-sample U-statistic with kernel ψ(x, y) = 1 if x > y, ½ if x = y, 0 if x < y (x the rating of
a diseased case, y of a non-diseased one). Its structural components are the kernel averaged over the other sample:

    V10[d] = mean over y of ψ(x_d, y)        V01[h] = mean over x of ψ(x, y_h)

Each is half the number of ratings of the other class below plus half the number at or below, over their number (the
midrank form), which sorting or counting gives in O(n log n). Only comparisons are used, so ties count one half and
ratings of ±inf are ordinary values.

Every figure of merit of :mod:`analysis.stats.foms` and of free-response data has components with one meaning: leaving
case d out changes the figure of merit A to (n1·A − V10[d])/(n1 − 1), and likewise V01 with n0. DeLong's and the
jackknife's covariances therefore need the components alone.

Sources: DeLong, DeLong & Clarke-Pearson, Biometrics 44:837 (1988) for the components and their covariance; Sun & Xu,
IEEE Signal Processing Letters 21:1389 (2014) for the midrank form; Gallas, Academic Radiology 13:353 (2006) for the
unbiased U-statistic estimate; Zhou & Gatsonis, Statistics in Medicine 15:1687 (1996) for partly paired designs; Efron
& Tibshirani, An Introduction to the Bootstrap (1993) for the bootstrap.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
#: The doubled kernel (0, 1 or 2) of diseased ratings ``[C, n1, 1]`` and non-diseased ones ``[C, 1, n0]``.
Kernel = Callable[[NDArray[Any], NDArray[Any]], NDArray[np.int8]]
#: Figures of merit ``[B]`` of one curve when its cases count ``[B, n1]`` and ``[B, n0]`` times.
Weighted = Callable[[Floats, Floats, Floats, Floats], Floats]

#: Kernel values held at once by :func:`unbiased_covariance`. Few enough to stay in the cache, and 4 × this stays below
#: 2²⁴, so that float32 sums of products are exact.
_PAIRS_AT_ONCE = 1 << 13


@dataclass(frozen=True)
class Components:
    """Structural components of C curves read on the same cases.

    Attributes:
        auc: the figures of merit, ``[C]``.
        v10: ``[C, n1]``, one value per diseased case.
        v01: ``[C, n0]``, one value per non-diseased case.
        informative: whether the diseased and the non-diseased cases have any part in the figure of merit; the
            components of a class that has none all equal the figure of merit.
    """

    auc: Floats
    v10: Floats
    v01: Floats
    informative: tuple[bool, bool] = (True, True)


def components(positives: Floats, negatives: Floats) -> Components:
    """Structural components of the empirical AUC.

    Args:
        positives: ratings of the diseased cases, ``[C, n1]``, one row per curve (a reader under a treatment).
        negatives: ratings of the non-diseased cases, ``[C, n0]``, same rows.

    Raises:
        ValueError: either class is empty, or the two have different numbers of rows, or a rating is NaN.
    """
    high, low = both_dense(positives, negatives)
    n1, n0 = high.shape[1], low.shape[1]
    if n1 == 0 or n0 == 0:
        raise ValueError("An AUC needs diseased and non-diseased cases; one of the two classes is empty.")
    twice_below, twice_above = _counted(high, low) or _sorted(high, low)
    v10, v01 = twice_below / (2 * n0), 1.0 - twice_above / (2 * n1)
    return Components(v10.mean(axis=1), v10, v01)


def _sorted(high: Floats, low: Floats) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """For each value of one class twice the number of the other's below it, ties counting once."""
    order_high, order_low = np.sort(high, axis=1), np.sort(low, axis=1)
    below, above = np.empty(high.shape, dtype=np.intp), np.empty(low.shape, dtype=np.intp)
    for row in range(len(high)):
        below[row] = order_low[row].searchsorted(high[row], "left") + order_low[row].searchsorted(high[row], "right")
        above[row] = order_high[row].searchsorted(low[row], "left") + order_high[row].searchsorted(low[row], "right")
    return below, above


def _counted(high: Floats, low: Floats) -> tuple[NDArray[np.intp], NDArray[np.intp]] | None:
    """The same by counting, for ratings that are whole numbers of a short scale; None for all others."""
    bottom, top = min(high.min(), low.min()), max(high.max(), low.max())
    if not (np.isfinite(bottom) and np.isfinite(top)) or top - bottom >= min(4096, high.shape[1] + low.shape[1]):
        return None
    step_high, step_low = (high - bottom).astype(np.intp), (low - bottom).astype(np.intp)
    if (step_high + bottom != high).any() or (step_low + bottom != low).any():
        return None
    rows, levels = len(high), int(top - bottom) + 1
    offset = np.arange(rows)[:, None] * levels

    def below(those: NDArray[np.intp], others: NDArray[np.intp]) -> NDArray[np.intp]:
        counts = np.bincount((others + offset).ravel(), minlength=rows * levels).reshape(rows, levels)
        return (2 * counts.cumsum(axis=1) - counts).ravel()[those + offset]

    return below(step_high, step_low), below(step_low, step_high)


def delong_covariance(parts: Components) -> Floats:
    """DeLong's covariance of C figures of merit, ``[C, C]``: cov(V10)/n1 + cov(V01)/n0.

    A class without a part in the figure of merit adds nothing: of sensitivities it is the covariance of the calls of
    the diseased cases over n1. It equals the jackknife that leaves cases out within each class.

    Raises:
        ValueError: a class has fewer than two cases.
    """
    two_of_each(parts)
    total = np.zeros((len(parts.auc), len(parts.auc)))
    for values, counts in zip((parts.v10, parts.v01), parts.informative, strict=True):
        if counts:
            total += _covariance(values) / values.shape[1]
    return total


def jackknife_covariance(parts: Components) -> Floats:
    """Jackknife covariance of C figures of merit over all n = n0 + n1 cases, ``[C, C]``, in closed form.

    The figure of merit without diseased case d is (n1·A − V10[d])/(n1 − 1), likewise without a non-diseased case, so
    none is recomputed. The covariance is (n−1)/n · Σ (A₋k − mean)(A₋k − mean)ᵀ (Efron & Stein, Annals of Statistics
    9:586, 1981). All cases are left out in turn, also those of a class without a part in the figure of merit.

    Raises:
        ValueError: a class has fewer than two cases.
    """
    two_of_each(parts)
    auc = parts.auc[:, None]
    left_out = []
    for values, counts in zip((parts.v10, parts.v01), parts.informative, strict=True):
        n = values.shape[1]
        left_out.append((n * auc - values) / (n - 1) if counts else np.broadcast_to(auc, values.shape))
    stacked = np.concatenate(left_out, axis=1)
    n = stacked.shape[1]
    centred = stacked - stacked.mean(axis=1, keepdims=True)
    return (n - 1) / n * (centred @ centred.T)


def doubled_auc_kernel(high: NDArray[Any], low: NDArray[Any]) -> NDArray[np.int8]:
    """2ψ of the AUC: 2 where the diseased rating is higher, 1 where they tie."""
    return (high > low).view(np.int8) + (high >= low).view(np.int8)


def unbiased_covariance(
    parts: Components, positives: Floats, negatives: Floats, kernel: Kernel = doubled_auc_kernel
) -> Floats:
    """Unbiased U-statistic covariance of C figures of merit, ``[C, C]``.

    With Ψ the kernel matrix of a curve, s its total and R⁺, R⁻ its row and column sums,

        C = [(1−δ) s sᵀ + δ (R⁺R⁺ᵀ + R⁻R⁻ᵀ − ΨΨᵀ)] / (n0 n1)²,   δ = n0 n1 / ((n0−1)(n1−1)).

    It can be negative in small samples; that is the price of having no bias.

    Args:
        parts: from the same ratings.
        positives: ``[C, n1]``.
        negatives: ``[C, n0]``.
        kernel: the doubled kernel, whose values are 0, 1 and 2.

    Raises:
        ValueError: a class has fewer than two cases.
    """
    n1, n0 = two_of_each(parts)
    curves = len(parts.auc)
    high, low = both_dense(positives, negatives)
    above, below = _ranks(high, low) if kernel is doubled_auc_kernel else (high, low)
    kernel_products = np.zeros((curves, curves))
    step = max(1, min(n1, _PAIRS_AT_ONCE // n0))
    for start in range(0, n1, step):
        doubled = kernel(above[:, start : start + step, None], below[:, None, :])
        # Products and their sums are whole numbers that float32 holds exactly.
        values = doubled.reshape(curves, -1).astype(np.float32)
        kernel_products += values @ values.T
    kernel_products /= 4.0
    rows, columns = parts.v10 * n0, parts.v01 * n1
    totals = rows.sum(axis=1)
    delta = n0 * n1 / ((n0 - 1) * (n1 - 1))
    summed = rows @ rows.T + columns @ columns.T - kernel_products
    return ((1 - delta) * np.outer(totals, totals) + delta * summed) / (n0 * n1) ** 2


def _ranks(high: Floats, low: Floats) -> tuple[NDArray[Any], NDArray[Any]]:
    """The ratings as small integers with the same order and ties: narrow ones compare several times faster."""
    levels, codes = np.unique(np.concatenate([high, low], axis=1), return_inverse=True)
    for kind in (np.uint8, np.uint16, np.uint32):
        if len(levels) - 1 <= np.iinfo(kind).max:
            codes = codes.astype(kind)
            break
    codes = codes.reshape(len(high), -1)
    return codes[:, : high.shape[1]], codes[:, high.shape[1] :]


def bootstrap_covariance(
    parts: Components,
    positives: Floats,
    negatives: Floats,
    weighted: Weighted,
    *,
    replicates: int = 2000,
    seed: int = 0,
) -> Floats:
    """Bootstrap covariance of C figures of merit, ``[C, C]``: cases drawn again within each truth class.

    The same draw of cases serves every curve, so covariances between curves are those of readings of the same cases.

    Args:
        parts: from the same ratings.
        positives: ``[C, n1]``.
        negatives: ``[C, n0]``.
        weighted: the figure of merit of one curve with counts of its cases.
        replicates: number of draws, at least 2.
        seed: of the random numbers; the same seed gives the same covariance.

    Raises:
        ValueError: a class has fewer than two cases, or there are fewer than two replicates.
    """
    n1, n0 = two_of_each(parts)
    if replicates < 2:
        raise ValueError(f"A bootstrap covariance needs two replicates; {replicates} asked for.")
    high, low = both_dense(positives, negatives)
    rng = np.random.default_rng(seed)
    often1, often0 = (
        rng.multinomial(n, np.full(n, 1 / n), size=replicates).astype(np.float64) if n else np.zeros((replicates, 0))
        for n in (n1, n0)
    )
    drawn = np.stack([weighted(high[row], low[row], often1, often0) for row in range(len(high))])
    return _covariance(drawn)


@dataclass(frozen=True)
class CellComponents:
    """Components of C curves that were not all read on the same cases; NaN where a curve lacks a case.

    Attributes:
        auc: ``[C]``, NaN for a curve without a figure of merit.
        v10: ``[C, n1]``.
        v01: ``[C, n0]``.
        informative: as in :class:`Components`.
    """

    auc: Floats
    v10: Floats
    v01: Floats
    informative: tuple[bool, bool] = (True, True)


def pairwise_covariance(parts: CellComponents) -> Floats:
    """DeLong covariances where curves share only some of their cases, ``[C, C]``.

    Each curve's components come from all its own cases. The covariance of curves a and b is over the cases that both
    have, per class m·S/(n_a·n_b) with m the number of shared cases and S the sample covariance of their components
    (Zhou & Gatsonis 1996). With no shared case a class adds nothing; with one, S is the product of its deviations from
    each curve's own mean. Where every curve has every case this is DeLong's covariance. The matrix need not be positive
    semidefinite.

    Raises:
        ValueError: a curve has fewer than two cases of a class, or no figure of merit.
    """
    curves = len(parts.auc)
    total = np.zeros((curves, curves))
    for values, counts in zip((parts.v10, parts.v01), parts.informative, strict=True):
        if not counts:
            continue
        have = ~np.isnan(values)
        held = have.sum(axis=1)
        if (held < 2).any() or np.isnan(parts.auc).any():
            raise ValueError("A pairwise covariance needs two cases of each class from every curve.")
        mask = have.astype(np.float64)
        # Centred by each curve's own mean first, which changes no covariance and keeps the sums small.
        centred = np.where(have, values - np.nanmean(values, axis=1, keepdims=True), 0.0)
        shared = mask @ mask.T
        product, left = centred @ centred.T, centred @ mask.T
        with np.errstate(divide="ignore", invalid="ignore"):
            spread = (product - left * left.T / shared) / (shared - 1)
        spread = np.where(shared >= 2, spread, product)
        total += shared * spread / np.outer(held, held)
    return (total + total.T) / 2


def _delong(parts: Components, positives: Floats, negatives: Floats) -> Floats:
    return delong_covariance(parts)


def _jackknife(parts: Components, positives: Floats, negatives: Floats) -> Floats:
    return jackknife_covariance(parts)


#: Covariance estimators of AUCs by name; each takes the components and the ratings they came from.
COVARIANCES: dict[str, Callable[[Components, Floats, Floats], Floats]] = {
    "delong": _delong,
    "jackknife": _jackknife,
    "unbiased": unbiased_covariance,
}


def _covariance(values: Floats) -> Floats:
    centred = values - values.mean(axis=1, keepdims=True)
    return centred @ centred.T / (values.shape[1] - 1)


def two_of_each(parts: Components) -> tuple[int, int]:
    """The numbers of diseased and non-diseased cases.

    Raises:
        ValueError: a class that has a part in the figure of merit has fewer than two cases.
    """
    n1, n0 = parts.v10.shape[1], parts.v01.shape[1]
    if (parts.informative[0] and n1 < 2) or (parts.informative[1] and n0 < 2):
        raise ValueError(
            f"A covariance of figures of merit needs two cases of each class; there are {n1} diseased and {n0} "
            "non-diseased."
        )
    return n1, n0


def both_dense(positives: Floats, negatives: Floats) -> tuple[Floats, Floats]:
    """Both classes as float64 ``[C, n]``; NaN is refused, because it compares with nothing and would pass silently.

    Raises:
        ValueError: the two have different numbers of rows, or a rating is NaN.
    """
    high, low = (np.atleast_2d(np.asarray(values, dtype=np.float64)) for values in (positives, negatives))
    if len(high) != len(low):
        raise ValueError(f"{len(high)} rows of positives do not match {len(low)} rows of negatives.")
    if np.isnan(high).any() or np.isnan(low).any():
        raise ValueError("A rating is missing (NaN); a figure of merit needs a rating for every case.")
    return high, low
