"""U-statistic analysis of a reader study of any design: fully crossed, split-plot, nested, with cells missing.

The AUC of a treatment is the mean of the kernel ψ over every triple of a reader, a diseased and a non-diseased case
whose two ratings that reader gave. Its variance over readers and cases is a sum over pairs of triples, and two triples
may share the reader or not, the diseased case or not, the non-diseased case or not: eight second moments,

    M1 same reader, same diseased, same non-diseased     M5 … M8 the same for two different readers
    M2 same reader, same diseased
    M3 same reader, same non-diseased
    M4 same reader only                                  M8 nothing shared

each the mean of ψψ' over the pairs of triples that share exactly that. With c1 … c8 the shares of all pairs of triples,

    cov(A_a, A_b) = Σ c_k M_k − M8 = A_a A_b − M8        (a = b gives a variance),

which has no bias whatever the design, and can be negative. No pair of readers or of cases is visited: sums over pairs
that share *at least* something are products of row, column and reader sums of the masked kernel, and
inclusion–exclusion gives those that share exactly it. Doubled kernels are whole numbers that float32 holds exactly.

Where a quantity needs one class only (a yes or no per case, as in sensitivity), :func:`analyse_values` does the same
with four moments.

Sources: Gallas, Academic Radiology 13:353 (2006); Gallas, Pennello & Myers, JOSA A 24:B70 (2007); Gallas & Brown,
Neural Networks 21:387 (2008), the design-weighted estimator used here; Gallas, Bandos, Samuelson & Wagner,
Communications in Statistics 38:2586 (2009), moments to components of variance; Obuchowski, Gallas & Hillis, Academic
Radiology 19:1508 (2012), degrees of freedom; Gaylor & Hopper, Technometrics 11:691 (1969), their floor. The numbers are
those of iMRMC.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, combinations_with_replacement
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from analysis.stats.laws import t_critical, t_two_sided
from analysis.stats.obuchowski_rockette import Interval, VarianceComponents, variance_components
from analysis.stats.ratings import Ratings, sentence_list

Floats = NDArray[np.float64]
Df = Literal["r", "java"]
Rounding = Literal["down", "none"]

#: Kernel values worked on at once: fits a processor's cache, and 4 × this stays below 2²⁴, so float32 sums are exact.
_PAIRS_AT_ONCE = 1 << 18
#: Products of averages carry rounding of 1e-16; a variance of an AUC below this is zero.
_NOTHING = 1e-13
#: From this many degrees of freedom iMRMC uses the normal law.
_NORMAL_FROM = 50


@dataclass(frozen=True)
class Moments:
    """Second moments of two treatments (or of one with itself).

    Attributes:
        unbiased: M1 … M8 (four for :func:`analyse_values`), each over the pairs that share exactly what it names; None
            where the design has no such pair.
        biased: the same over the pairs that share at least that (the V-statistic, or MLE); None as above.
        coefficients: their weights; the last has 1 subtracted, so that weights times moments is the covariance.
    """

    unbiased: tuple[float | None, ...]
    biased: tuple[float | None, ...]
    coefficients: tuple[float, ...]


@dataclass(frozen=True)
class Estimate:
    """One treatment's average, or a difference of two, with every interval iMRMC prints.

    ``variance`` may be negative, and then no interval is estimable. ``variance_biased`` is the MLE's. ``df_bdg`` and
    ``df_hillis`` are not rounded; ``df_hillis`` stands only where every reader rated every case. The statistics test ½
    for a single AUC (0 for one-class values and differences).
    """

    estimate: float | None
    variance: float | None
    variance_biased: float | None
    df_bdg: float | None
    df_bdg_biased: float | None
    df_hillis: float | None
    normal: Interval
    bdg: Interval
    hillis: Interval
    not_estimable: str = ""


@dataclass(frozen=True)
class Analysis:
    """What :func:`analyse` found.

    Attributes:
        means: one per treatment, over all rated triples; BDG degrees of freedom; no test.
        differences: by the pair (i, k), mean A[i] − A[k], BDG degrees of freedom.
        reader_differences: by the pair, one per reader: over cases for that reader alone, normal law.
        cells: ``[I][J]``, each reader's AUC over the cases rated, over cases for that reader alone, normal law.
        foms: ``[I, J]`` AUCs; NaN where the reader has no pair of a diseased and a non-diseased case.
        moments: by the pair (i, k) with i ≤ k; (i, i) is the treatment with itself.
        covariances: by the pair (i, k) with i ≤ k, of the averages; None where not estimable.
        single: per treatment, in full; ``pairs`` the same per pair of treatments.
        fully_crossed: every reader rated every case under every treatment.
        components: Obuchowski–Rockette components with unbiased covariances, where fully crossed, else None.
        conventions: what was chosen where programs disagree.
        warnings: what a reader of the numbers should know.
    """

    means: tuple[Interval, ...]
    differences: dict[tuple[int, int], Interval]
    reader_differences: dict[tuple[int, int], tuple[Interval, ...]]
    cells: tuple[tuple[Interval, ...], ...]
    foms: Floats
    moments: dict[tuple[int, int], Moments]
    covariances: dict[tuple[int, int], float | None]
    single: tuple[Estimate, ...]
    pairs: dict[tuple[int, int], Estimate]
    fully_crossed: bool
    components: VarianceComponents | None
    conventions: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class _Scheme:
    """How sums over "at least" become sums over "exactly", and which moments make which component of variance.

    Attributes:
        exact: ``[q, q]``, inclusion–exclusion over the cases within a pair of readers.
        factors: by name, the moment that shares this factor only, and the moments whose pairs share at least it.
    """

    exact: Floats
    factors: dict[str, tuple[int, tuple[int, ...]]]


_TWO_CLASSES = _Scheme(
    np.array([[1, 0, 0, 0], [-1, 1, 0, 0], [-1, 0, 1, 0], [1, -1, -1, 1]], dtype=np.float64),
    {
        "non-diseased cases": (6, (0, 2, 4, 6)),
        "diseased cases": (5, (0, 1, 4, 5)),
        "readers": (3, (0, 1, 2, 3)),
    },
)
_ONE_CLASS = _Scheme(
    np.array([[1, 0], [-1, 1]], dtype=np.float64),
    {"cases": (2, (0, 2)), "readers": (1, (0, 1))},
)


@dataclass(frozen=True)
class _Sums:
    """Sums of products of the kernel, and (``_n``) how many products each holds; "at least" sums.

    Attributes:
        within: ``[I, I, J, q]``, one reader with itself.
        across: ``[I, I, q]``, all ordered pairs of readers, each with itself included.
        total: ``[I, J]``, sums of the kernel.
    """

    within: Floats
    within_n: Floats
    across: Floats
    across_n: Floats
    total: Floats
    total_n: Floats
    scheme: _Scheme


def analyse(table: Ratings, *, alpha: float = 0.05, df: Df = "r", rounding: Rounding = "down") -> Analysis:
    """Compare treatments over readers and cases, whatever the design.

    Args:
        table: a checked ratings table; cells nobody rated are NaN.
        alpha: two-sided; intervals are (1 − alpha).
        df: BDG degrees of freedom of a difference where readers or cases are not shared by the two treatments. "r" is
            iMRMC's R package: one mean square, of the sum, on the smaller df; "java" its Java program: two mean
            squares, each on its own df, and never below 2. They agree where readers and cases are shared.
        rounding: "down" takes the t law on the whole number below the df, and the normal law from 50 on, as iMRMC does
            in both programs; "none" takes the t law on the df as it is.

    Returns:
        What cannot be estimated says why; no NaN is returned but in ``foms``.
    """
    positives, negatives = np.asarray(table.positives, dtype=np.float64), np.asarray(table.negatives, dtype=np.float64)
    sums = _two_class_sums(positives, negatives)
    words = _Words(table.readers, table.treatments, "AUC", "both classes of cases", 0.5)
    crossed = not np.isnan(table.scores).any()
    return _finish(sums, words, crossed, alpha, df, rounding)


def analyse_values(
    values: Floats,
    *,
    readers: Sequence[str],
    treatments: Sequence[str],
    quantity: str = "mean",
    alpha: float = 0.05,
    df: Df = "r",
    rounding: Rounding = "down",
) -> Analysis:
    """The same for a number per reading: 1 and 0 of the diseased cases give sensitivity, any number gives its mean.

    Args:
        values: ``[I, J, n]``, finite; NaN where the reader did not read the case under the treatment.
        readers: names of the J readers.
        treatments: names of the I treatments.
        quantity: what the mean of the values is called in sentences.
        alpha: two-sided.
        df: see :func:`analyse`.
        rounding: see :func:`analyse`.
    """
    values = np.asarray(values, dtype=np.float64)
    words = _Words(tuple(readers), tuple(treatments), quantity, "a case", 0.0)
    return _finish(_one_class_sums(values), words, not np.isnan(values).any(), alpha, df, rounding)


@dataclass(frozen=True)
class _Words:
    readers: tuple[str, ...]
    treatments: tuple[str, ...]
    quantity: str
    needs: str
    null: float


def _codes(positives: Floats, negatives: Floats) -> tuple[NDArray[np.signedinteger], NDArray[np.signedinteger]]:
    """Ratings as ranks that compare alike; a missing positive is below everything, a missing negative above."""
    both = np.concatenate([positives, negatives], axis=-1)
    missing = np.isnan(both)
    filled = np.where(missing, 0.0, both)
    order = np.argsort(filled, axis=-1)
    ordered = np.take_along_axis(filled, order, axis=-1)
    kind = np.int16 if both.shape[-1] < np.iinfo(np.int16).max else np.int32
    steps = np.zeros(both.shape, dtype=kind)
    np.cumsum(ordered[..., 1:] != ordered[..., :-1], axis=-1, out=steps[..., 1:])
    codes = np.empty_like(steps)
    np.put_along_axis(codes, order, steps, axis=-1)
    n1 = positives.shape[-1]
    high, low = np.ascontiguousarray(codes[..., :n1]), np.ascontiguousarray(codes[..., n1:])
    high[missing[..., :n1]] = -1
    low[missing[..., n1:]] = np.iinfo(kind).max
    return high, low


def _two_class_sums(positives: Floats, negatives: Floats) -> _Sums:
    """Sums of products of the masked AUC kernel; memory grows with the number of cases, not of pairs."""
    treatments, readers, n1 = positives.shape
    n0 = negatives.shape[-1]
    high, low = _codes(positives, negatives)
    rows = np.zeros((treatments, readers, n1))
    columns = np.zeros((treatments, readers, n0))
    kernel = np.zeros((treatments, treatments, readers))
    joint = np.zeros((treatments, treatments))
    step = max(1, min(n0, _PAIRS_AT_ONCE // max(n1, 1)))
    upper = list(combinations_with_replacement(range(treatments), 2))
    for start in range(0, n0 if n1 else 0, step):
        width = min(step, n0 - start)
        doubled = np.empty((treatments, n1, width), dtype=np.float32)
        summed = np.zeros((treatments, n1, width), dtype=np.int16)
        flat = doubled.reshape(treatments, -1)
        for j in range(readers):
            for i in range(treatments):
                above, below = high[i, j, :, None], low[i, j, None, start : start + width]
                twice = np.greater(above, below).view(np.int8)
                twice += np.greater_equal(above, below).view(np.int8)
                summed[i] += twice
                doubled[i] = twice
                rows[i, j] += np.einsum("xy->x", doubled[i])
                columns[i, j, start : start + width] = np.einsum("xy->y", doubled[i])
            for i, k in upper:
                kernel[i, k, j] += np.einsum("p,p->", flat[i], flat[k])
        pooled = summed.reshape(treatments, -1).astype(np.float64)
        for i, k in upper:
            joint[i, k] += np.einsum("p,p->", pooled[i], pooled[k])

    for i, k in upper:
        kernel[k, i], joint[k, i] = kernel[i, k], joint[i, k]
    total = rows.sum(axis=-1)
    within = np.stack(
        [
            kernel,
            np.einsum("ijx,kjx->ikj", rows, rows),
            np.einsum("ijy,kjy->ikj", columns, columns),
            total[:, None] * total[None],
        ],
        axis=-1,
    )
    by_case, by_control, by_treatment = rows.sum(axis=1), columns.sum(axis=1), total.sum(axis=1)
    across = np.stack(
        [
            joint,
            np.einsum("ix,kx->ik", by_case, by_case),
            np.einsum("iy,ky->ik", by_control, by_control),
            np.outer(by_treatment, by_treatment),
        ],
        axis=-1,
    )

    read1, read0 = (~np.isnan(positives)).astype(np.float64), (~np.isnan(negatives)).astype(np.float64)
    shared1, shared0 = _shared(read1), _shared(read0)
    count1, count0 = read1.sum(axis=-1), read0.sum(axis=-1)
    both1 = np.einsum("ij,kl->ikjl", count1, count1)
    both0 = np.einsum("ij,kl->ikjl", count0, count0)
    counts = np.stack([shared1 * shared0, shared1 * both0, both1 * shared0, both1 * both0], axis=-1)
    return _Sums(
        within / 4.0,
        np.moveaxis(np.diagonal(counts, axis1=2, axis2=3), -1, 2),
        across / 4.0,
        counts.sum(axis=(2, 3)),
        total / 2.0,
        count1 * count0,
        _TWO_CLASSES,
    )


def _one_class_sums(values: Floats) -> _Sums:
    read = (~np.isnan(values)).astype(np.float64)
    filled = np.where(read > 0, values, 0.0)
    total, count = filled.sum(axis=-1), read.sum(axis=-1)
    within = np.stack([np.einsum("ijx,kjx->ikj", filled, filled), total[:, None] * total[None]], axis=-1)
    by_case, by_treatment = filled.sum(axis=1), total.sum(axis=1)
    across = np.stack([by_case @ by_case.T, np.outer(by_treatment, by_treatment)], axis=-1)
    counts = np.stack([_shared(read), np.einsum("ij,kl->ikjl", count, count)], axis=-1)
    within_n = np.moveaxis(np.diagonal(counts, axis1=2, axis2=3), -1, 2)
    return _Sums(within, within_n, across, counts.sum(axis=(2, 3)), total, count, _ONE_CLASS)


def _shared(read: Floats) -> Floats:
    """How many cases two cells share, ``[I, I, J, J]``."""
    treatments, readers, n = read.shape
    if read.all():
        return np.full((treatments, treatments, readers, readers), float(n))
    flat = read.reshape(treatments * readers, n)
    return (flat @ flat.T).reshape(treatments, readers, treatments, readers).transpose(0, 2, 1, 3)


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    """numerator/denominator, NaN where there is nothing to average."""
    return np.divide(numerator, denominator, out=np.full(numerator.shape, np.nan), where=denominator > 0)


def _finish(sums: _Sums, words: _Words, crossed: bool, alpha: float, df: Df, rounding: Rounding) -> Analysis:
    treatments, readers = sums.total.shape
    scheme = sums.scheme
    foms = _ratio(sums.total, sums.total_n)
    averages = _ratio(sums.total.sum(axis=1), sums.total_n.sum(axis=1))

    own, own_n = sums.within.sum(axis=2), sums.within_n.sum(axis=2)
    least, least_n = np.concatenate([own, sums.across], axis=-1), np.concatenate([own_n, sums.across_n], axis=-1)
    exact = np.concatenate([own @ scheme.exact.T, (sums.across - own) @ scheme.exact.T], axis=-1)
    exact_n = np.concatenate([own_n @ scheme.exact.T, (sums.across_n - own_n) @ scheme.exact.T], axis=-1)
    unbiased, biased = _ratio(exact, exact_n), _ratio(least, least_n)
    coefficients = _ratio(exact_n, np.broadcast_to(least_n[..., -1:], exact_n.shape))
    coefficients[..., -1] -= 1.0

    covariance = averages[:, None] * averages[None, :] - unbiased[..., -1]
    weighted = np.where(np.isnan(biased), 0.0, coefficients * biased).sum(axis=-1)
    covariance_biased = np.where(np.isnan(covariance), np.nan, weighted)
    components, component_df, paired = _components(scheme, biased, coefficients, df)

    last = scheme.exact[-1]
    alone = _ratio(sums.within @ last, sums.within_n @ last)
    reader_covariance = foms[:, None] * foms[None] - alone

    hillis = _hillis_df(foms, unbiased, len(scheme.exact)) if crossed and readers > 1 else {}
    why = {i: _why_none(sums, words, i) for i in range(treatments)}

    single = []
    for i in range(treatments):
        names = list(scheme.factors)
        single.append(
            _estimate(
                averages[i],
                covariance[i, i],
                covariance_biased[i, i],
                sum(_piece(components[name][i, i], component_df[name][i]) for name in names),
                min(component_df[name][i] for name in names),
                hillis.get((i, i)),
                why[i],
                f"the {words.quantity} of {words.treatments[i]}",
                words.null,
                alpha,
                df,
                rounding,
            )
        )
    pairs = {}
    for i, k in combinations(range(treatments), 2):
        pairs[i, k] = _estimate(
            averages[i] - averages[k],
            covariance[i, i] + covariance[k, k] - 2.0 * covariance[i, k],
            covariance_biased[i, i] + covariance_biased[k, k] - 2.0 * covariance_biased[i, k],
            sum(
                _difference_piece(components[name], component_df[name], i, k, bool(paired[name][i, k]) or df == "r")
                for name in scheme.factors
            ),
            min(min(component_df[name][i], component_df[name][k]) for name in scheme.factors),
            hillis.get((i, k)),
            why[i] or why[k] or _why_no_covariance(covariance[i, k], words, i, k),
            "the difference",
            0.0,
            alpha,
            df,
            rounding,
        )

    return Analysis(
        means=tuple(_untested(found.bdg) for found in single),
        differences={pair: found.bdg for pair, found in pairs.items()},
        reader_differences={
            (i, k): tuple(_own_difference(foms, reader_covariance, words, i, k, j, alpha) for j in range(readers))
            for i, k in pairs
        },
        cells=tuple(
            tuple(_cell(foms[i, j], reader_covariance[i, i, j], words, i, j, alpha) for j in range(readers))
            for i in range(treatments)
        ),
        foms=foms,
        moments={
            (i, k): Moments(_numbers(unbiased[i, k]), _numbers(biased[i, k]), tuple(coefficients[i, k].tolist()))
            for i in range(treatments)
            for k in range(i, treatments)
            if not np.isnan(coefficients[i, k]).any()
        },
        covariances={(i, k): _number(covariance[i, k]) for i in range(treatments) for k in range(i, treatments)},
        single=tuple(single),
        pairs=pairs,
        fully_crossed=crossed,
        components=_crossed_components(foms, unbiased, len(scheme.exact)) if crossed else None,
        conventions=_conventions(words, crossed, df, rounding),
        warnings=_warnings(sums, words),
    )


def _components(
    scheme: _Scheme, biased: Floats, coefficients: Floats, df: Df
) -> tuple[dict[str, Floats], dict[str, Floats], dict[str, NDArray[np.bool_]]]:
    """Per factor its biased component of variance, ``[I, I]`` (zero where two treatments do not share it), its df,
    ``[I]`` (the number of levels the design is worth, less one), and who shares it (Gallas et al. 2009, eq. 19)."""
    components, dfs, paired = {}, {}, {}
    for name, (moment, sharing) in scheme.factors.items():
        weight = coefficients[..., list(sharing)].sum(axis=-1)
        component = biased[..., moment] - biased[..., -1]
        paired[name] = (weight > _NOTHING) & ~np.isnan(component)
        components[name] = np.where(paired[name], component, 0.0)
        own = np.diagonal(weight)
        levels = np.divide(1.0, own, out=np.ones_like(own), where=own > 0) - 1.0
        # R rounds a half to the even number, Java up.
        dfs[name] = np.round(levels) if df == "r" else np.floor(levels + 0.5)
    return components, dfs, paired


def _piece(component: float, df: float) -> float:
    return component**2 / df**3 if df > 0 else math.inf


def _difference_piece(component: Floats, df: Floats, i: int, k: int, one: bool) -> float:
    if one:
        return _piece(component[i, i] + component[k, k] - 2.0 * component[i, k], min(df[i], df[k]))
    return _piece(component[i, i], df[i]) + _piece(component[k, k], df[k])


def _crossed_components(foms: Floats, unbiased: Floats, q: int) -> VarianceComponents | None:
    """The components of a fully crossed study, for which block means of the covariance are enough.

    Every reader has the same cases, so the covariance of two AUCs is on average the mean of their products less M4
    within a reader, less M8 between two.
    """
    treatments, readers = foms.shape
    products = np.einsum("ij,kl->ikjl", foms, foms)
    same = np.einsum("ikjj->ik", products)
    covariance = np.zeros((treatments, readers, treatments, readers))
    if readers > 1:
        different = (products.sum(axis=(2, 3)) - same) / (readers * (readers - 1)) - unbiased[..., -1]
        covariance += different[:, None, :, None]
    own = np.arange(readers)
    covariance[:, own, :, own] = same / readers - unbiased[..., q - 1]
    if np.isnan(covariance).any():
        return None
    return variance_components(foms, covariance.reshape(treatments * readers, -1))


def _hillis_df(foms: Floats, unbiased: Floats, q: int) -> dict[tuple[int, int], float]:
    """Hillis' df (2007; 2008 for one treatment) of each treatment (i, i) and pair of a fully crossed study."""
    treatments, readers = foms.shape
    found = {}
    for i, k in combinations_with_replacement(range(treatments), 2):
        two = [i] if i == k else [i, k]
        parts = _crossed_components(foms[two], unbiased[np.ix_(two, two)], q)
        if parts is None or parts.cov2 is None:
            continue
        mean_square, excess = (parts.ms_r, parts.cov2) if i == k else (parts.ms_tr, parts.cov2 - (parts.cov3 or 0.0))
        if mean_square is not None and mean_square > _NOTHING:
            found[i, k] = (readers - 1) * (1 + readers * max(excess, 0.0) / mean_square) ** 2
    return found


def _estimate(
    estimate: float,
    variance: float,
    biased: float,
    pieces: float,
    smallest: float,
    hillis: float | None,
    why: str,
    what: str,
    null: float,
    alpha: float,
    df: Df,
    rounding: Rounding,
) -> Estimate:
    """Intervals from a variance and the pieces of its Satterthwaite df."""
    if why or math.isnan(variance):
        none = Interval(_number(estimate), not_estimable=why)
        return Estimate(_number(estimate), None, None, None, None, None, none, none, none, why)
    variance = 0.0 if abs(variance) <= _NOTHING else float(variance)
    biased = float(biased)
    bdg, bdg_biased = _bdg_df(variance, pieces, smallest, df), _bdg_df(biased, pieces, smallest, df)
    if variance <= 0:
        sign = "zero" if variance == 0 else f"{variance:.3g}, negative"
        why = (
            f"not estimable, because the unbiased variance of {what} is {sign} "
            "(perfect or identical ratings, or too few readers and cases for an estimate without bias)"
        )
        none = Interval(float(estimate), not_estimable=why)
        return Estimate(float(estimate), variance, biased, None, bdg_biased, hillis, none, none, none, why)
    normal = _interval(estimate, variance, math.inf, math.inf, null, alpha)
    if bdg is None:
        why = (
            f"not estimable, because {what} rests almost entirely on one reader or one case, "
            "which leaves no degrees of freedom"
        )
        return Estimate(
            float(estimate),
            variance,
            biased,
            None,
            bdg_biased,
            hillis,
            normal,
            Interval(float(estimate), math.sqrt(variance), not_estimable=why),
            Interval(float(estimate), not_estimable=why),
            why,
        )
    law = law_df(bdg, df, rounding)
    if hillis is None:
        by_hillis = Interval(
            float(estimate), not_estimable="not estimable, because Hillis' df needs every reader to rate every case"
        )
    else:
        shown = max(hillis, 2.0) if df == "java" else hillis
        by_hillis = _interval(estimate, variance, shown, law_df(shown, df, rounding), null, alpha)
    return Estimate(
        float(estimate),
        variance,
        biased,
        bdg,
        bdg_biased,
        hillis,
        normal,
        _interval(estimate, variance, bdg, law, null, alpha),
        by_hillis,
    )


def _bdg_df(variance: float, pieces: float, smallest: float, df: Df) -> float | None:
    """V²/Σ component²/df³, at least the smallest df of a factor (Gaylor & Hopper); the Java program stops at 2."""
    if not variance > 0:
        return None
    found = math.inf if pieces == 0 else variance**2 / pieces
    found = max(found, smallest)
    if df == "java":
        found = max(found, 2.0)
    return float(found) if found >= 1 else None


def law_df(df: float, convention: Df = "r", rounding: Rounding = "down") -> float:
    """The df of the t law that an interval with ``df`` was taken from (inf is the normal law); see :func:`analyse`."""
    if rounding == "none" or math.isinf(df):
        return df
    normal = df >= _NORMAL_FROM if convention == "java" else df > _NORMAL_FROM
    return math.inf if normal else float(math.floor(df))


def _interval(estimate: float, variance: float, df: float, law_df: float, null: float, alpha: float) -> Interval:
    se = math.sqrt(variance)
    estimate = float(estimate)
    t = (estimate - null) / se
    half = t_critical(alpha, law_df) * se
    return Interval(estimate, se, df, estimate - half, estimate + half, t, t_two_sided(t, law_df))


def _untested(found: Interval) -> Interval:
    """Nobody asks whether a mean is nothing."""
    return Interval(found.estimate, found.se, found.df, found.lower, found.upper, not_estimable=found.not_estimable)


def _cell(value: float, variance: float, words: _Words, i: int, j: int, alpha: float) -> Interval:
    reader, treatment = words.readers[j], words.treatments[i]
    if math.isnan(value):
        return Interval(
            None, not_estimable=f"not estimable, because reader {reader} did not rate {words.needs} under {treatment}"
        )
    if math.isnan(variance) or variance <= _NOTHING:
        why = (
            "its standard error is not estimable, because a variance over cases needs two rated cases of each class"
            if math.isnan(variance)
            else "its standard error is not estimable, because its variance over cases is zero or negative"
        )
        return Interval(float(value), not_estimable=why)
    return _untested(_interval(value, variance, math.inf, math.inf, 0.0, alpha))


def _own_difference(foms: Floats, covariance: Floats, words: _Words, i: int, k: int, j: int, alpha: float) -> Interval:
    for treatment in (i, k):
        if math.isnan(foms[treatment, j]):
            return _cell(math.nan, math.nan, words, treatment, j, alpha)
    estimate = float(foms[i, j] - foms[k, j])
    variance = float(covariance[i, i, j] + covariance[k, k, j] - 2.0 * covariance[i, k, j])
    if math.isnan(variance):
        return Interval(
            estimate,
            not_estimable="not estimable, because a variance over cases needs two rated cases of each class",
        )
    if variance <= _NOTHING:
        return Interval(
            estimate,
            not_estimable="not estimable, because the variance of this reader's difference is zero or negative "
            "(perfect or identical ratings)",
        )
    return _interval(estimate, variance, math.inf, math.inf, 0.0, alpha)


def _why_none(sums: _Sums, words: _Words, i: int) -> str:
    """Why treatment i has no variance, or nothing."""
    treatment = words.treatments[i]
    with_pairs = [words.readers[j] for j in np.flatnonzero(sums.total_n[i] > 0)]
    if not with_pairs:
        return f"not estimable, because no reader rated {words.needs} under {treatment}"
    if len(with_pairs) == 1:
        return (
            f"not estimable, because only reader {with_pairs[0]} rated {words.needs} under {treatment}: "
            "how readers differ cannot be seen"
        )
    exact_n = (sums.across_n[i, i] - sums.within_n[i, i].sum(axis=0)) @ sums.scheme.exact[-1]
    if not exact_n > 0:
        return (
            f"not estimable, because under {treatment} no two readers rated different cases of each class: "
            "a variance over cases needs two"
        )
    return ""


def _why_no_covariance(covariance: float, words: _Words, i: int, k: int) -> str:
    if math.isnan(covariance):
        return (
            f"not estimable, because no two readers rated different cases of each class under {words.treatments[i]} "
            f"and {words.treatments[k]}"
        )
    return ""


def _conventions(words: _Words, crossed: bool, df: Df, rounding: Rounding) -> tuple[str, ...]:
    said = [
        "U-statistic variances over readers and cases (Gallas 2006, 2008), without bias; they can be negative.",
        f"The {words.quantity} of a treatment averages all that was rated, as in iMRMC: who rated more counts more.",
        "Degrees of freedom by BDG: V² over the sum of each factor's biased component² / df³, at least the smallest df"
        + (", and 2." if df == "java" else "."),
    ]
    if not crossed:
        said.append(
            "Readers or cases that two treatments do not share enter as "
            + (
                "two mean squares on their own df, as in iMRMC's Java program (its R package takes one on the smaller)."
                if df == "java"
                else "one mean square on the smaller df, as in iMRMC's R package (its Java program takes two)."
            )
        )
    said.append(
        "The t law is on the whole number below the df, and normal from 50 on, as in iMRMC."
        if rounding == "down"
        else "The t law is on the df as it is (iMRMC rounds down, and takes the normal law from 50 on)."
    )
    said.append("A single reader's interval is over cases for that reader alone (normal law).")
    return tuple(said)


def _warnings(sums: _Sums, words: _Words) -> tuple[str, ...]:
    said = []
    empty = [f"{words.readers[j]} under {words.treatments[i]}" for i, j in np.argwhere(sums.total_n == 0)]
    if empty:
        said.append(
            f"Without {words.needs} a reader adds nothing to a treatment's {words.quantity}: {sentence_list(empty)}."
        )
    return tuple(said)


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _numbers(values: Floats) -> tuple[float | None, ...]:
    return tuple(_number(value) for value in values.tolist())
