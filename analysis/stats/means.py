"""Numbers per read (a score, a dwell time, a yes or no) compared between treatments over readers and cases.

The mean of a reader's values over cases is a U-statistic of one sample, and its structural components are the values
themselves. So the error covariance of two cells a and b (a reader under a treatment each) is that of two means,

    C[a, b] = Σ (x_a − m_a)(x_b − m_b) / (n_a n_b − n_a − n_b + n_ab)      over the n_ab cases that both cells have,

with m and n the mean and number of cases of each cell. With every cell filled this is cov(x_a, x_b)/n, and DeLong's,
the jackknife's and the unbiased estimate are one and the same. With cells missing it is unbiased pair by pair, provided
that which cases a reader read does not depend on what that reader made of them; cells without a common case have
covariance zero. The Obuchowski–Rockette analysis then holds for readers and cases, each reader's mean being over that
reader's own cases and counting the same.

Where a reader has no case at all under some treatment (readers nested in treatments, or partly so), the same moments
are used per pair of treatments: S the (co)variances of the cells' means over readers (all J₁, all J₂, the J₁₂ common),

    var(m₁ − m₂) = [S₁₁/J₁ + S₂₂/J₂ − 2 J₁₂ S₁₂/(J₁J₂)] + max(Cov2₁ + Cov2₂ − 2 Cov3, 0).

It is the Obuchowski–Rockette variance where every reader reads under both. The df are Satterthwaite's: only the first
bracket is estimated on few readers.

A ratio of sums (events per occasion) is linearised: with R = Σ num/Σ den the value of a read is
(num − R·den)/mean(den), whose mean varies as R does (the delta method).

Sources: Obuchowski & Rockette, Communications in Statistics 24:285 (1995); Hillis, Statistics in Medicine 26:596 (2007)
and 33:330 (2014) for nested readers; Gallas, Academic Radiology 13:353 (2006) for one-sample moments of any design;
Cochran, Sampling Techniques, 3rd ed. (1977), ch. 6 for the linearised ratio.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.stats.components import COVARIANCES
from analysis.stats.laws import t_critical
from analysis.stats.obuchowski_rockette import RANDOM, Interval, Random, analyse, interval
from analysis.stats.options import known
from analysis.stats.ratings import RatingsError, in_order, name_of, row_word, sentence_list
from analysis.stats.results import Cell, Findings, ReaderDifference, Result, reference_last, result_from

Floats = NDArray[np.float64]
Weighting = Literal["readers", "pooled"]
#: The one treatment of a table without a column of that name.
ALL = "all"
_NOTHING = 1e-20

_SINGLE_CASE = "not estimable, because readers read a single case: a variance over cases needs two"
_ONE_READER = "not estimable, because one of the two has a single reader: how readers differ cannot be seen"
_NO_VARIATION = "not estimable, because neither readers nor cases show any variation (identical values)"
_NEGATIVE = (
    "not estimable, because the estimated variance is negative: too few readers read under both for their covariance"
)


@dataclass(frozen=True)
class Reads:
    """Numbers per read, laid out as arrays.

    Attributes:
        readers, treatments, cases: names, in order.
        values: one float64 block ``[I, J, K]`` per column asked for; NaN marks a read that was not made.
    """

    readers: tuple[str, ...]
    treatments: tuple[str, ...]
    cases: tuple[str, ...]
    values: dict[str, Floats]


def read_reads(frame: pd.DataFrame, columns: Sequence[str]) -> Reads:
    """Check a table of one row per reader, treatment and case, and lay it out as arrays.

    Args:
        frame: columns ``reader, case``, those named in ``columns`` and, unless there is one treatment, ``treatment``.
            Numbers may be given as text. A read that was not made has no row.
        columns: the columns of numbers.

    Raises:
        RatingsError: a column is missing, the table is empty, a row lacks a label or a finite number, or a cell stands
            twice. Rows are counted from 1 without the header.
    """
    absent = [column for column in ("reader", "case", *columns) if column not in frame.columns]
    if absent:
        needed = ", ".join(("reader", "treatment", "case", *columns))
        raise RatingsError(f"The table lacks the column {', '.join(absent)}; it needs {needed}, one row per reading.")
    if frame.empty:
        raise RatingsError("The table has no rows; nothing can be analysed.")
    if "treatment" not in frame.columns:
        frame = frame.assign(treatment=ALL)
    names: dict[str, tuple[str, ...]] = {}
    codes: dict[str, NDArray[np.intp]] = {}
    for column in ("treatment", "reader", "case"):
        empty = np.flatnonzero(frame[column].isna().to_numpy() | (frame[column].astype(str) == "").to_numpy())
        if empty.size:
            raise RatingsError(f"{_at(frame, empty[0])} has no {column}; give every row one.")
        labels = [name_of(value) for value in frame[column].tolist()]
        names[column] = tuple(str(label) for label in in_order(labels))
        index = {label: position for position, label in enumerate(names[column])}
        codes[column] = np.fromiter((index[label] for label in labels), dtype=np.intp, count=len(labels))
    shape = tuple(len(names[column]) for column in ("treatment", "reader", "case"))
    cell = np.ravel_multi_index((codes["treatment"], codes["reader"], codes["case"]), shape)
    first_seen = np.full(math.prod(shape), -1)
    first_seen[cell[::-1]] = np.arange(len(cell))[::-1]
    again = np.flatnonzero(first_seen[cell] != np.arange(len(cell)))
    if again.size:
        row = frame.iloc[int(again[0])]
        raise RatingsError(
            f"{_at(frame, again[0])} (reader {row['reader']}, treatment {row['treatment']}, case {row['case']}) "
            f"repeats {row_word(frame, int(first_seen[cell[again[0]]]))}; keep one row per reader, treatment and case."
        )
    blocks = {}
    for column in columns:
        block = np.full(shape, np.nan)
        block.reshape(-1)[cell] = numbers(frame, column)
        blocks[column] = block
    return Reads(names["reader"], names["treatment"], names["case"], blocks)


def numbers(frame: pd.DataFrame, column: str) -> Floats:
    """A column as finite numbers, text that is a number included.

    Raises:
        RatingsError: a cell is empty, no number, or infinite; the row is named.
    """
    values = pd.to_numeric(frame[column], errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        given = frame[column].iloc[int(bad[0])]
        said = "missing" if pd.isna(given) or given == "" else repr(given) if isinstance(given, str) else str(given)
        raise RatingsError(f"The {column} of {row_word(frame, int(bad[0]))} is {said}; it must be a finite number.")
    return values


def _at(frame: pd.DataFrame, position: int) -> str:
    return row_word(frame, int(position)).capitalize()


def cell_means(values: Floats) -> tuple[Floats, Floats | None]:
    """Means of the cells and their error covariance over cases.

    Args:
        values: ``[I, J, K]``, NaN where there is no read.

    Returns:
        Means ``[I, J]`` (NaN where a cell has no read), and their covariance ``[I·J, I·J]``, treatment-major (NaN rows
        for cells without a read). A cell of one case shows no variance of its own and is given the average (co)variance
        per case of its like (same two treatments; same reader or not); where there is no like the covariance is None.
    """
    treatments, readers, cases = values.shape
    flat = values.reshape(-1, cases)
    there = ~np.isnan(flat)
    n = there.sum(axis=1).astype(float)
    filled = np.where(there, flat, 0.0)
    with np.errstate(invalid="ignore"):
        means = filled.sum(axis=1) / n
    centred = np.where(there, flat - np.where(n > 0, means, 0.0)[:, None], 0.0)
    common = there.astype(float) @ there.T.astype(float)
    divisor = np.outer(n, n) - n[:, None] - n[None, :] + common
    covariance = np.where(common > 0, centred @ centred.T / np.where(divisor > 0, divisor, 1.0), 0.0)
    covariance[n == 0] = np.nan
    covariance[:, n == 0] = np.nan
    if (n == 1).any() and not _borrowed(covariance, n, common, treatments, readers):
        return means.reshape(treatments, readers), None
    return means.reshape(treatments, readers), covariance


def _borrowed(covariance: Floats, n: Floats, common: Floats, treatments: int, readers: int) -> bool:
    """Fill in, in place, what cells of one case cannot show; False where there is nothing to take it from."""
    arm, who = np.divmod(np.arange(treatments * readers), readers)
    same = who[:, None] == who[None, :]
    alone = ((n == 1)[:, None] | (n == 1)[None, :]) & (common > 0)
    known = (n > 1)[:, None] & (n > 1)[None, :] & (common > 0)
    per_case = np.where(known, covariance * np.outer(n, n) / np.where(common > 0, common, 1.0), 0.0)
    for i in range(treatments):
        for k in range(treatments):
            both = (arm == i)[:, None] & (arm == k)[None, :]
            for alike in (both & same, both & ~same):
                if not (alike & alone).any():
                    continue
                if not (alike & known).any():
                    return False
                average = per_case[alike & known].mean()
                covariance[alike & alone] = (average * common / np.outer(n, n).clip(1))[alike & alone]
    return True


def compare_means(
    frame: pd.DataFrame,
    value: str = "value",
    *,
    covariance: str = "unbiased",
    random: str = "readers_cases",
    alpha: float = 0.05,
    reference: str | None = None,
    margin: float | None = None,
) -> Result:
    """Compare the mean of a number per read between treatments, for new readers and new cases.

    Args:
        frame: columns ``reader, treatment, case`` and ``value``, one row per read; see :func:`read_reads`.
        value: the column of numbers; its name is the result's figure of merit.
        covariance: "delong", "jackknife", "unbiased" or "pairwise": for means these are the same estimate.
        random: "readers_cases", "cases" or "readers".
        alpha: two-sided.
        reference: the treatment the others are compared with (other − reference); without it, earlier − later.
        margin: non-inferiority margin in units of the value; higher values count as better.

    Returns:
        The same :class:`Result` as an AUC has: ``auc`` holds each reader's mean, ``nondiseased`` is 0 and ``diseased``
        the number of cases (they are one class here).

    Raises:
        RatingsError: the table is faulty, or an argument names nothing known; one sentence.
    """
    _check(covariance, random, alpha, margin)
    return compare_reads(
        read_reads(frame, [value]),
        value,
        covariance=covariance,
        random=random,
        alpha=alpha,
        reference=reference,
        margin=margin,
    )


def compare_reads(
    reads: Reads,
    value: str,
    *,
    covariance: str = "unbiased",
    random: str = "readers_cases",
    alpha: float = 0.05,
    reference: str | None = None,
    margin: float | None = None,
) -> Result:
    """:func:`compare_means` from arrays already in memory."""
    reads = _in_order(reads, reference)
    block = reads.values[value]
    foms, errors = cell_means(block)
    conventions = ["A mean's DeLong, jackknife and unbiased covariances are the same."]
    if ((~np.isnan(block)).sum(axis=2) == 1).any() and errors is not None:
        conventions.append("A reader's mean of one case is given the average variance per case of the other means.")
    return _result(
        reads,
        foms,
        errors,
        foms,
        errors,
        fom=value,
        covariance=covariance,
        random=random,  # type: ignore[arg-type]
        alpha=alpha,
        reference=reference,
        margin=margin,
        method_words=f"mean of {value} per read",
        empty=np.isnan(block),
        conventions=conventions,
        warnings=(),
    )


def compare_ratios(
    frame: pd.DataFrame,
    *,
    numerator: str = "numerator",
    denominator: str = "denominator",
    weighting: Weighting = "readers",
    random: str = "readers_cases",
    alpha: float = 0.05,
    reference: str | None = None,
    margin: float | None = None,
) -> Result:
    """Compare a ratio of sums over reads (events per occasion) between treatments, for new readers and new cases.

    Args:
        frame: columns ``reader, treatment, case``, ``numerator`` and ``denominator``, one row per read.
        weighting: "readers": each reader's own ratio, averaged with equal weight over the readers who have one;
            "pooled": one ratio of the totals over readers, to which a reader adds as much as there were occasions.
        random, alpha, reference, margin: as in :func:`compare_means`.

    Raises:
        RatingsError: the table is faulty, a denominator is negative, or an argument names nothing known.
    """
    _check("unbiased", random, alpha, margin)
    if weighting not in ("readers", "pooled"):
        raise RatingsError(f"weighting is {weighting!r}; it must be 'readers' or 'pooled'.")
    reads = _in_order(read_reads(frame, [numerator, denominator]), reference)
    over, under = reads.values[numerator], reads.values[denominator]
    negative = np.flatnonzero(numbers(frame, denominator) < 0)
    if negative.size:
        where = row_word(frame, int(negative[0]))
        raise RatingsError(f"The {denominator} of {where} is negative; it must be 0 or more.")
    own, foms, errors = linearised(over, under, weighting)
    own_errors = errors if weighting == "readers" else linearised(over, under, "readers")[2]
    without = [
        f"reader {reads.readers[j]} under {reads.treatments[i]}"
        for i, j in np.argwhere(np.isnan(own) & ~np.isnan(over).all(axis=2))
    ]
    warnings = []
    if without:
        left = "is left out of the mean" if weighting == "readers" else "adds nothing to the pooled ratio"
        warnings.append(
            f"The {denominator} is zero throughout for {sentence_list(without)}: no ratio of its own, and it {left}."
        )
    said = (
        "The mean is of the readers' own ratios, each with equal weight."
        if weighting == "readers"
        else "The mean is the ratio of totals over readers; a reader weighs as much as there were occasions."
    )
    return _result(
        reads,
        own,
        own_errors,
        foms,
        errors,
        fom=f"{numerator}/{denominator}",
        covariance="linearised",
        random=random,  # type: ignore[arg-type]
        alpha=alpha,
        reference=reference,
        margin=margin,
        method_words=f"ratio of {numerator} to {denominator}, linearised",
        empty=np.isnan(over),
        conventions=(said, "Ratios are linearised (delta method); the variance is that of the linearised values."),
        warnings=tuple(warnings),
    )


def linearised(over: Floats, under: Floats, weighting: Weighting) -> tuple[Floats, Floats, Floats | None]:
    """Ratios of sums as means of linearised values.

    Args:
        over, under: numerators and denominators, ``[I, J, K]``, NaN where there is no read.
        weighting: see :func:`compare_ratios`.

    Returns:
        Each cell's own ratio ``[I, J]`` (NaN without occasions); the figures of merit ``[I, J]`` whose mean over
        readers is the treatment's ratio; and their error covariance ``[I·J, I·J]``, treatment-major, or None where a
        cell has a single case.
    """
    there = ~np.isnan(over)
    n = there.sum(axis=2)
    total_over, total_under = np.nansum(over, axis=2), np.nansum(under, axis=2)
    with np.errstate(invalid="ignore", divide="ignore"):
        own = np.where(total_under > 0, total_over / total_under, np.nan)
        if weighting == "readers":
            values = own[:, :, None] + (over - own[:, :, None] * under) / (total_under / n)[:, :, None]
            return own, *cell_means(values)
        read = n > 0
        ratio = total_over.sum(axis=1) / total_under.sum(axis=1)
        per_reader = total_under.sum(axis=1) / read.sum(axis=1)
        # A reader's share is a sum over reads, not a mean: means and their covariance are scaled up by n.
        values = (over - ratio[:, None, None] * under) / per_reader[:, None, None]
        means, errors = cell_means(values)
        foms = ratio[:, None] + n * means
    scale = n.reshape(-1).astype(float)
    return own, foms, None if errors is None else errors * np.outer(scale, scale)


def mean_of(values: Floats, *, random: Random = "readers_cases", alpha: float = 0.05) -> Interval:
    """The readers' average of a number per read under one treatment, with an interval for new readers and cases.

    Args:
        values: ``[J, K]``, NaN where there is no read.
    """
    foms, errors = cell_means(np.asarray(values, dtype=np.float64)[None])
    return _one(foms[0], errors, random, alpha)


def ratio_of(
    over: Floats,
    under: Floats,
    *,
    weighting: Weighting = "pooled",
    random: Random = "readers_cases",
    alpha: float = 0.05,
    scale: Literal["identity", "logit"] = "identity",
) -> Interval:
    """A ratio of sums under one treatment, with an interval for new readers and cases.

    Args:
        over, under: numerators and denominators, ``[J, K]``, NaN where there is no read.
        scale: "logit" forms the interval on log(R/(1−R)), so that the interval of a proportion stays within 0 and 1;
            ``se`` remains that of the ratio itself.
    """
    if not np.nansum(under) > 0:
        return Interval(None, not_estimable="not estimable, because there was no occasion: the denominator is zero")
    _, foms, errors = linearised(over[None], under[None], weighting)
    found = _one(foms[0], errors, random, alpha)
    if scale == "identity" or found.se is None or found.estimate is None or found.df is None:
        return found
    if not 0 < found.estimate < 1:
        return dataclasses.replace(found, lower=None, upper=None)
    centre = math.log(found.estimate / (1 - found.estimate))
    half = t_critical(alpha, found.df) * found.se / (found.estimate * (1 - found.estimate))
    return dataclasses.replace(found, lower=_expit(centre - half), upper=_expit(centre + half))


def _expit(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x > -700 else 0.0


def _one(foms: Floats, errors: Floats | None, random: Random, alpha: float) -> Interval:
    there = np.flatnonzero(~np.isnan(foms))
    if not there.size:
        return Interval(None, not_estimable="not estimable, because no reader has anything to average under it")
    if errors is None:
        return Interval(float(foms[there].mean()), not_estimable=_SINGLE_CASE)
    return analyse(foms[None, there], errors[np.ix_(there, there)], random=random, alpha=alpha).means[0]


def nested(
    foms: Floats, errors: Floats, *, random: Random = "readers_cases", alpha: float = 0.05
) -> tuple[tuple[Interval, ...], dict[tuple[int, int], Interval]]:
    """Means and differences where some reader has nothing under some treatment; the module's notes give the formula.

    Args:
        foms: ``[I, J]``, NaN where a reader has nothing under a treatment.
        errors: ``[I·J, I·J]``, treatment-major; what stands for absent cells is not looked at.

    Returns:
        One interval per treatment, and one per pair (i, k) of treatments, of i − k.
    """
    treatments, readers = foms.shape
    blocks = errors.reshape(treatments, readers, treatments, readers)
    means = tuple(_one(foms[i], blocks[i, :, i], random, alpha) for i in range(treatments))
    pairs = combinations(range(treatments), 2)
    return means, {(i, k): _pair(foms[[i, k]], blocks[[i, k]][:, :, [i, k]], random, alpha) for i, k in pairs}


def _own_change(own: Floats, errors: Floats | None, i: int, k: int, j: int, alpha: float) -> Interval:
    """One reader's own change from treatment k to i, over that reader's cases."""
    if math.isnan(own[i, j]) or math.isnan(own[k, j]):
        why = "not estimable, because this reader has nothing to average under one of the two"
        return Interval(None, not_estimable=why)
    change = float(own[i, j] - own[k, j])
    if errors is None:
        return Interval(change, not_estimable=_SINGLE_CASE)
    first, second = i * own.shape[1] + j, k * own.shape[1] + j
    return interval(
        change,
        float(errors[first, first] + errors[second, second] - 2 * errors[first, second]),
        math.inf,
        alpha,
        why_not="not estimable, because this reader's difference does not vary over cases (identical values)",
    )


def _pair(foms: Floats, blocks: Floats, random: Random, alpha: float) -> Interval:
    """The difference of two treatments' means where readers are common, nested or partly so.

    Args:
        foms: ``[2, J]``, NaN where a reader has nothing.
        blocks: error covariance, ``[2, J, 2, J]``.
    """
    there = [np.flatnonzero(~np.isnan(row)) for row in foms]
    j1, j2 = len(there[0]), len(there[1])
    if not j1 or not j2:
        return Interval(
            None, not_estimable="not estimable, because no reader has anything to average under one of the two"
        )
    y = np.r_[foms[0, there[0]], foms[1, there[1]]]
    arm = np.repeat([0, 1], [j1, j2])
    who = np.r_[there[0], there[1]]
    error = blocks[arm[:, None], who[:, None], arm[None, :], who[None, :]]
    weight = np.repeat([1 / j1, -1 / j2], [j1, j2])
    estimate = float(weight @ y)
    if random == "cases":
        variance = float(weight @ error @ weight)
        return interval(estimate, variance, math.inf, alpha, why_not=_NO_VARIATION)
    if min(j1, j2) < 2:
        return Interval(estimate, not_estimable=_ONE_READER)

    first, second = np.nonzero(who[:j1, None] == who[None, j1:])
    common = len(first)
    form = np.zeros((len(y), len(y)))
    form[:j1, :j1] = _variance_form(j1) / j1
    form[j1:, j1:] = _variance_form(j2) / j2
    if common > 1:
        form[np.ix_(first, j1 + second)] = -common / (j1 * j2) * _variance_form(common)
        form[j1:, :j1] = form[:j1, j1:].T
    by_reader = float(y @ form @ y)
    # Errors between different readers; those within a reader are in the readers' own spread already.
    shared = _between(error[:j1, :j1], who[:j1], who[:j1]) + _between(error[j1:, j1:], who[j1:], who[j1:])
    across = error[:j1, j1:]
    if common > 1:
        shared -= (
            2
            * (
                common * _between(across[np.ix_(first, second)], who[first], who[first])
                + (j1 * j2 - common) * _between(across, who[:j1], who[j1:])
            )
            / (j1 * j2)
        )
    else:
        shared -= 2 * float(across.mean())
    variance = by_reader + (max(shared, 0.0) if random == "readers_cases" else 0.0)

    # The df of a quadratic form yᵀMy of normal y with covariance Σ: its variance is 2 tr(MΣMΣ).
    sigma = np.diag(np.repeat([y[:j1].var(ddof=1), y[j1:].var(ddof=1)], [j1, j2]))
    if common > 1:
        sigma[first, j1 + second] = sigma[j1 + second, first] = np.cov(y[first], y[j1 + second])[0, 1]
    spread = 2 * float(np.trace(form @ sigma @ form @ sigma))
    df = 2 * variance**2 / spread if spread > _NOTHING**2 else math.inf
    if variance < -_NOTHING:
        return Interval(estimate, not_estimable=_NEGATIVE)
    return interval(estimate, variance, df, alpha, why_not=_NO_VARIATION)


def _variance_form(n: int) -> Floats:
    """The matrix M of the sample variance yᵀMy of n values."""
    return (np.eye(n) - 1 / n) / (n - 1)


def _between(errors: Floats, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> float:
    """The mean covariance of cells of different readers, 0 where there are none."""
    different = rows[:, None] != columns[None, :]
    return float(errors[different].mean()) if different.any() else 0.0


def _result(
    reads: Reads,
    own: Floats,
    own_errors: Floats | None,
    foms: Floats,
    errors: Floats | None,
    *,
    fom: str,
    covariance: str,
    random: Random,
    alpha: float,
    reference: str | None,
    margin: float | None,
    method_words: str,
    empty: NDArray[np.bool_],
    conventions: Sequence[str],
    warnings: Sequence[str],
) -> Result:
    """The one result type; ``own`` are the readers' own numbers, ``foms`` what the treatments' means are means of."""
    said, conventions = list(warnings), list(conventions)
    conventions.append("Cases are one class here: the number of diseased cases is the number of cases.")
    if empty.any():
        n = int(empty.sum())
        said.append(
            f"{n} of {empty.size} combinations of reader, treatment and case were not read: each reader's number is "
            "over that reader's own cases, and which cases those are must not depend on the outcome."
        )
        conventions.append("Covariances are pairwise, over the cases that both cells have.")
    nowhere = np.isnan(foms)
    names, readers = reads.treatments, reads.readers
    pairs = list(combinations(range(len(names)), 2))
    cells = [
        [
            _own_number(own, own_errors, i, j, alpha, f"{readers[j]} has nothing to average under {names[i]}")
            for j in range(len(readers))
        ]
        for i in range(len(names))
    ]
    changes = {(i, k): [_own_change(own, own_errors, i, k, j, alpha) for j in range(len(readers))] for i, k in pairs}
    findings = None
    if errors is not None and nowhere.any():
        means, differences = nested(foms, errors, random=random, alpha=alpha)
        findings = Findings("Obuchowski–Rockette moments by pairs of treatments", means, differences, changes, cells)
        conventions.append(
            "Readers who lack a treatment: each pair of treatments has its own variance, from the readers of either "
            "treatment and the covariance of those of both; Satterthwaite degrees of freedom."
        )
        absent = [f"reader {readers[j]} under {names[i]}" for i, j in np.argwhere(nowhere)]
        said.append(
            f"There is nothing to average for {sentence_list(absent)}: treatments are averaged over different readers."
        )
    result = result_from(
        fom=fom,
        covariance=covariance,
        random=random,
        readers=readers,
        treatments=names,
        diseased=len(reads.cases),
        nondiseased=0,
        foms=foms,
        errors=None if findings is not None else errors,
        method_words=method_words,
        margin=margin,
        alpha=alpha,
        reference=reference,
        conventions=conventions,
        warnings=said,
        why="" if errors is not None else _SINGLE_CASE,
        findings=findings,
    )
    # A pooled ratio's figures of merit are shares of the total; what is shown of a reader is the reader's own ratio.
    shown = tuple(
        Cell(names[i], readers[j], c.estimate, c.se, c.lower, c.upper, c.not_estimable)
        for i, row in enumerate(cells)
        for j, c in enumerate(row)
    )
    return dataclasses.replace(
        result,
        cells=shown,
        auc={name: {cell.reader: cell.auc for cell in shown if cell.treatment == name} for name in names},
        reader_differences=tuple(
            ReaderDifference((names[i], names[k]), readers[j], d.estimate, d.se, d.lower, d.upper, d.not_estimable)
            for (i, k), row in changes.items()
            for j, d in enumerate(row)
        ),
    )


def _own_number(own: Floats, errors: Floats | None, i: int, j: int, alpha: float, absent: str) -> Interval:
    """One reader's own number under one treatment, over that reader's cases."""
    value = float(own[i, j])
    if math.isnan(value):
        return Interval(None, not_estimable=f"not estimable, because reader {absent}")
    if errors is None:
        return Interval(value, not_estimable=_SINGLE_CASE)
    place = i * own.shape[1] + j
    why = "its interval is not estimable, because its values do not vary over cases"
    found = interval(value, float(errors[place, place]), math.inf, alpha, why_not=why)
    return dataclasses.replace(found, df=None, statistic=None, p=None)


def _in_order(reads: Reads, reference: str | None) -> Reads:
    """The treatments with the reference last, as every comparison with a reference is printed."""
    if reference is None:
        return reads
    order = reference_last(reads.treatments, name_of(reference))
    values = {column: block[order] for column, block in reads.values.items()}
    return dataclasses.replace(reads, treatments=tuple(reads.treatments[i] for i in order), values=values)


def _check(covariance: str, random: str, alpha: float, margin: float | None) -> None:
    known("covariance", covariance, (*COVARIANCES, "pairwise"))
    known("random", random, RANDOM)
    if not 0 < alpha < 1:
        raise RatingsError(f"alpha is {alpha}; it must be between 0 and 1.")
    if margin is not None and not (margin > 0 and math.isfinite(margin)):
        raise RatingsError(f"The non-inferiority margin is {margin}; it must be positive, in units of the value.")
