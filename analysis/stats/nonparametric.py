"""Paired differences without a normal law: Wilcoxon's signed ranks with Hodges and Lehmann's estimate, McNemar's test.

These compare two arms over one kind of unit: over cases (of one reader, or of reader means) or over readers (of case
means). What the units are is what the conclusion holds for.

Sources: Wilcoxon, Biometrics Bulletin 1:80 (1945); Hodges & Lehmann, Annals of Mathematical Statistics 34:598 (1963);
Hollander, Wolfe & Chicken, Nonparametric Statistical Methods (3rd ed., 2014), ch. 3, for the exact law, ties, zeros and
the interval; Bauer, Journal of the American Statistical Association 67:687 (1972); McNemar, Psychometrika 12:153
(1947).
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from analysis.stats.results import plain

Floats = NDArray[np.float64]
Method = Literal["auto", "exact", "normal"]
#: The most differences for which the exact law is used without being asked for.
EXACT_UP_TO = 50


@dataclass(frozen=True)
class SignedRank:
    """Wilcoxon's signed-rank test with the Hodges–Lehmann estimate.

    Attributes:
        n: differences given; ``zeros`` of them are zero and enter the estimate, not the test.
        statistic: W⁺, the sum of the ranks of positive differences.
        p: two-sided.
        estimate: the median of the Walsh averages (dᵢ + dⱼ)/2, i ≤ j: the Hodges–Lehmann pseudomedian.
        lower, upper: interval that inverts the test.
        level: the level that the interval has (exact intervals come in steps), else the one asked for.
        method: which law, and what was done with ties, zeros and continuity.
        not_estimable: why there is no test or no interval.
    """

    n: int
    zeros: int
    statistic: float | None
    p: float | None
    estimate: float | None
    lower: float | None
    upper: float | None
    level: float | None
    method: str
    not_estimable: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return plain(dataclasses.asdict(self))


@dataclass(frozen=True)
class McNemar:
    """McNemar's exact test of two paired yes-or-no answers; ``difference`` is the proportion gained less that lost.

    ``lower`` and ``upper`` are Wald's with Agresti and Min's half pseudo-count per cell (Statistics in Medicine 24:729,
    2005).
    """

    n: int
    gained: int
    lost: int
    difference: float | None
    lower: float | None
    upper: float | None
    p: float | None
    method: str
    not_estimable: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return plain(dataclasses.asdict(self))


def signed_rank(
    first: ArrayLike,
    second: ArrayLike | None = None,
    *,
    alpha: float = 0.05,
    method: Method = "auto",
    correction: bool = True,
) -> SignedRank:
    """Wilcoxon's signed-rank test of paired values, with the Hodges–Lehmann estimate and its interval.

    Args:
        first, second: ``[n]``, the values of the same units under two arms; the differences are first − second. Without
            ``second``, ``first`` holds the differences. They are taken to 12 digits of the largest value.
        alpha: two-sided.
        method: "exact" counts all sign patterns, and needs differences without zeros and ties; "normal" uses the
            variance with ties, n(n+1)(2n+1)/24 − Σ(t³ − t)/48; "auto" is exact up to 50 differences without either.
        correction: subtract ½ from |W⁺ − mean| in the normal law.

    Raises:
        ValueError: the two differ in length, hold a value that is not finite, or "exact" is asked for with zeros or
            ties.
    """
    difference = _differences(first, second)
    if method not in ("auto", "exact", "normal"):
        raise ValueError(f"method is {method!r}; it must be 'auto', 'exact' or 'normal'.")
    n = len(difference)
    moved = difference[difference != 0]
    zeros = n - len(moved)
    if n == 0:
        return SignedRank(0, 0, None, None, None, None, None, None, "", "not estimable, because there is no difference")
    walsh = _walsh(difference)
    estimate = float(np.median(walsh))
    if not len(moved):
        why = "not estimable, because every difference is zero"
        return SignedRank(n, zeros, None, None, estimate, None, None, None, "", why)
    ranks = stats.rankdata(np.abs(moved))
    statistic = float(ranks[moved > 0].sum())
    tied = len(np.unique(np.abs(moved))) < len(moved)
    if method == "exact" and (tied or zeros):
        raise ValueError("The exact law needs differences without ties and zeros; ask for the normal law.")
    exact = method == "exact" or (method == "auto" and not tied and not zeros and n <= EXACT_UP_TO)
    if exact:
        law = _null_law(n)
        p = min(1.0, 2 * min(float(law[: int(statistic) + 1].sum()), float(law[int(statistic) :].sum())))
        lower, upper, level, why = _exact_interval(walsh, law, alpha)
        return SignedRank(n, 0, statistic, p, estimate, lower, upper, level, "exact law of the signed ranks", why)
    p = _normal_p(statistic, ranks, correction)
    lower, upper = _normal_interval(difference, alpha, correction)
    words = "normal law with the variance of tied ranks" + (", continuity correction" if correction else "")
    if zeros:
        words += f"; {zeros} differences of zero left out of the test"
    why = "" if lower is not None else "its interval is not estimable, because there are too few differences"
    return SignedRank(
        n, zeros, statistic, p, estimate, lower, upper, 1 - alpha if lower is not None else None, words, why
    )


def paired_signed_rank(
    frame: pd.DataFrame,
    value: str = "value",
    *,
    over: Literal["case", "reader"],
    treatments: tuple[str, str],
    alpha: float = 0.05,
    method: Method = "auto",
) -> SignedRank:
    """The signed-rank test between two arms of a table of reads, over cases or over readers.

    Args:
        frame: columns ``reader, treatment, case`` and ``value``; see :func:`analysis.stats.means.read_reads`.
        over: the unit. Each unit's difference is of its means, over the reads that were made under both treatments (the
            same readers of a case, the same cases of a reader).
        treatments: first − second.

    Raises:
        RatingsError: the table is faulty or lacks a treatment.
        ValueError: as in :func:`signed_rank`.
    """
    from analysis.stats.means import read_reads
    from analysis.stats.ratings import RatingsError

    reads = read_reads(frame, [value])
    absent = [name for name in treatments if name not in reads.treatments]
    if absent:
        raise RatingsError(f"The treatment {absent[0]!r} is not among {', '.join(reads.treatments)}.")
    first, second = (reads.values[value][reads.treatments.index(name)] for name in treatments)
    change = first - second
    there = ~np.isnan(change)
    axis = 0 if over == "case" else 1
    count = there.sum(axis=axis)
    means = np.where(there, change, 0.0).sum(axis=axis)[count > 0] / count[count > 0]
    return signed_rank(means, alpha=alpha, method=method)


def mcnemar(first: ArrayLike, second: ArrayLike, *, alpha: float = 0.05) -> McNemar:
    """McNemar's exact test of paired answers of 0 and 1; gained is 1 in ``first`` and 0 in ``second``.

    Raises:
        ValueError: the two differ in length, or an answer is not 0 or 1.
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"McNemar's test needs two equally long lists; got {a.shape} and {b.shape}.")
    for answers in (a, b):
        bad = np.flatnonzero((answers != 0) & (answers != 1))
        if bad.size:
            raise ValueError(f"Answer {int(bad[0]) + 1} is {answers[bad[0]]:g}; it must be 0 or 1.")
    n, gained, lost = len(a), int(((a == 1) & (b == 0)).sum()), int(((a == 0) & (b == 1)).sum())
    method = "exact binomial test of the discordant pairs; Agresti–Min interval"
    if n == 0:
        return McNemar(0, 0, 0, None, None, None, None, method, "not estimable, because there is no pair")
    p = float(stats.binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
    up, down, total = gained + 0.5, lost + 0.5, n + 2
    centre = (up - down) / total
    half = float(stats.norm.ppf(1 - alpha / 2)) * math.sqrt((up + down) - (up - down) ** 2 / total) / total
    return McNemar(n, gained, lost, (gained - lost) / n, max(-1.0, centre - half), min(1.0, centre + half), p, method)


def _differences(first: ArrayLike, second: ArrayLike | None) -> Floats:
    a = np.asarray(first, dtype=np.float64)
    b = np.zeros_like(a) if second is None else np.asarray(second, dtype=np.float64)
    if a.ndim != 1 or a.shape != b.shape:
        raise ValueError(f"Paired values need two equally long lists; got {a.shape} and {b.shape}.")
    difference = a - b
    bad = np.flatnonzero(~np.isfinite(difference))
    if bad.size:
        raise ValueError(f"Pair {int(bad[0]) + 1} has a value that is not finite.")
    # 0.3 − 0.1 and 0.2 are tied: what the subtraction of decimals leaves in the last digits is no difference.
    largest = float(np.maximum(np.abs(a), np.abs(b)).max(initial=0.0))
    return np.round(difference, 12 - math.ceil(math.log10(largest))) if largest > 0 else difference


def _walsh(difference: Floats) -> Floats:
    """All averages (dᵢ + dⱼ)/2 with i ≤ j, ascending."""
    i, j = np.triu_indices(len(difference))
    return np.sort((difference[i] + difference[j]) / 2)


def _null_law(n: int) -> Floats:
    """P(W⁺ = w) under the null, w = 0 … n(n+1)/2, without ties: each rank is in with probability ½."""
    law = np.ones(1)
    for rank in range(1, n + 1):
        longer = np.zeros(len(law) + rank)
        longer[: len(law)] += law / 2
        longer[rank:] += law / 2
        law = longer
    return law


def _exact_interval(walsh: Floats, law: Floats, alpha: float) -> tuple[float | None, float | None, float | None, str]:
    """Walsh averages between which the exact test does not reject (Bauer 1972)."""
    below = np.cumsum(law)
    # The largest c with P(W⁺ < c) ≤ alpha/2; the interval leaves out c − 1 Walsh averages at either end.
    c = int(np.searchsorted(below, alpha / 2, side="right"))
    if c == 0:
        return (
            None,
            None,
            None,
            "its interval is not estimable, because no exact interval of so few differences is as sure",
        )
    level = float(1 - 2 * below[c - 1])
    return float(walsh[c - 1]), float(walsh[len(walsh) - c]), level, ""


def _normal_p(statistic: float, ranks: Floats, correction: bool) -> float:
    n = len(ranks)
    mean = n * (n + 1) / 4
    _, times = np.unique(ranks, return_counts=True)
    variance = n * (n + 1) * (2 * n + 1) / 24 - float((times.astype(float) ** 3 - times).sum()) / 48
    if not variance > 0:
        return 1.0
    away = max(abs(statistic - mean) - (0.5 if correction else 0.0), 0.0)
    return float(2 * stats.norm.sf(away / math.sqrt(variance)))


def _normal_interval(difference: Floats, alpha: float, correction: bool) -> tuple[float | None, float | None]:
    """The shifts that the normal test of ``difference − shift`` does not reject: its ends are Walsh averages.

    The standardised statistic falls as the shift grows, so each end is found by bisection over the Walsh averages.
    """
    z = float(stats.norm.ppf(1 - alpha / 2))
    n = len(difference)
    walsh = np.unique(_walsh(difference))

    def standardised(shift: float) -> float:
        """Between Walsh averages there are no ties or zeros to mind, but for those of equal differences."""
        moved = difference - shift
        ranks = stats.rankdata(np.abs(moved))
        _, times = np.unique(ranks, return_counts=True)
        variance = n * (n + 1) * (2 * n + 1) / 24 - float((times.astype(float) ** 3 - times).sum()) / 48
        away = float(ranks[moved > 0].sum()) - n * (n + 1) / 4
        if not variance > 0:
            return math.copysign(math.inf, away)
        if correction:
            away -= math.copysign(0.5, away) if away else 0.0
        return away / math.sqrt(variance)

    middles = np.r_[walsh[0] - 1, (walsh[:-1] + walsh[1:]) / 2, walsh[-1] + 1]
    if standardised(middles[0]) <= z or standardised(middles[-1]) >= -z:
        return None, None

    def first_where(condition: Any) -> int:
        low, high = 0, len(middles) - 1
        while low < high:
            middle = (low + high) // 2
            if condition(standardised(middles[middle])):
                high = middle
            else:
                low = middle + 1
        return low

    enter = first_where(lambda value: value <= z)
    leave = first_where(lambda value: value < -z)
    return float(walsh[enter - 1]), float(walsh[leave - 1])
