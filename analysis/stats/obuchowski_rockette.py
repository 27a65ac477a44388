"""Obuchowski–Rockette analysis of a multi-reader multi-case (MRMC) study.

The figure of merit A[i, j] of treatment i and reader j follows a two-way model with correlated errors whose covariance
has four levels: Var (same treatment, same reader), Cov1 (same reader), Cov2 (same treatment), Cov3 (neither).

Sources:
    Obuchowski & Rockette, Communications in Statistics 24:285 (1995): the model.
    Hillis, Statistics in Medicine 26:596 (2007): degrees of freedom of the readers-and-cases test.
    Hillis, Berbaum & Metz, Academic Radiology 15:647 (2008): single-treatment intervals, readers only and cases only.
    Chakraborty, Observer Performance Methods (2017), ch. 10: the same in one notation.
    Hillis, Obuchowski, Schartz & Berbaum, Statistics in Medicine 24:1579 (2005): the Dorfman–Berbaum–Metz analysis as
        the same analysis, and its mean squares and components from these.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from analysis.stats.laws import f_above, t_critical, t_two_sided

Floats = NDArray[np.float64]
Random = Literal["readers_cases", "cases", "readers"]
#: Rounding leaves 1e-33 where the exact mean square or variance is zero; what is smaller than this is zero.
_NOTHING = 1e-20
RANDOM: tuple[Random, ...] = ("readers_cases", "cases", "readers")
Truncation = Literal["none", "truncate"]
Df = Literal["hillis", "original"]
Rounding = Literal["none", "floor"]


@dataclass(frozen=True)
class Conventions:
    """Where programs differ, which way to go.

    Attributes:
        truncation: of Cov2 − Cov3 at zero when only cases are random. "none" follows MRMCaov, "truncate" follows
            RJafroc and the Iowa programs. With readers and cases random every program truncates, and so does this.
        df: of the readers-and-cases test: "hillis" (2007), or "original", the (I − 1)(J − 1) of Obuchowski and
            Rockette (1995), which is known to be conservative; of one treatment J − 1 then.
        rounding: of these degrees of freedom: "none", or "floor" as iMRMC's Java program rounds down.
    """

    truncation: Truncation = "none"
    df: Df = "hillis"
    rounding: Rounding = "none"


@dataclass(frozen=True)
class VarianceComponents:
    """Error covariances and variance components of the Obuchowski–Rockette model.

    A component that the design cannot show (Cov2 and Cov3 with one reader, Cov1 with one treatment) is None.
    """

    var: float
    cov1: float | None
    cov2: float | None
    cov3: float | None
    var_r: float | None
    var_tr: float | None
    ms_t: float | None
    ms_r: float | None
    ms_tr: float | None


@dataclass(frozen=True)
class DbmComponents:
    """The Dorfman–Berbaum–Metz (DBM) analysis that is the same as an Obuchowski–Rockette one; scale of one case.

    Variance components of reader, case and their interactions with treatment (``error`` holds the three-way interaction
    too), and the mean squares of the three-way layout of pseudo-values. None where the design cannot show one.
    """

    var_r: float | None
    var_c: float | None
    var_tr: float | None
    var_tc: float | None
    var_rc: float | None
    var_error: float | None
    ms_t: float | None
    ms_r: float | None
    ms_c: float | None
    ms_tr: float | None
    ms_tc: float | None
    ms_rc: float | None
    ms_trc: float | None


@dataclass(frozen=True)
class Interval:
    """An estimate with its standard error, degrees of freedom (inf where a normal is used) and interval.

    When ``not_estimable`` is not empty it says why, and every number except ``estimate`` may be None.
    """

    estimate: float | None
    se: float | None = None
    df: float | None = None
    lower: float | None = None
    upper: float | None = None
    statistic: float | None = None
    p: float | None = None
    not_estimable: str = ""


@dataclass(frozen=True)
class Omnibus:
    """The test that all treatments have the same figure of merit: an F, or a χ² (``df2`` None)."""

    statistic_name: Literal["F", "X2"]
    statistic: float | None = None
    df1: int | None = None
    df2: float | None = None
    denominator: float | None = None
    p: float | None = None
    not_estimable: str = ""


@dataclass(frozen=True)
class Analysis:
    """What :func:`analyse` found; ``differences`` are keyed by the pair (i, k) and mean A[i] − A[k]."""

    components: VarianceComponents
    omnibus: Omnibus | None
    means: tuple[Interval, ...]
    differences: dict[tuple[int, int], Interval]
    reader_differences: dict[tuple[int, int], tuple[Interval, ...]]


def variance_components(fom: Floats, covariance: Floats) -> VarianceComponents:
    """Block means of the error covariance and the variance components that follow.

    Args:
        fom: figures of merit, ``[I, J]``.
        covariance: their error covariance, ``[I·J, I·J]``, treatment-major.

    VarTR = MSTR − Var + Cov1 + (Cov2 − Cov3) and VarR = (MSR − MSTR)/I − Cov1 + Cov3; either may be negative.
    """
    treatments, readers = fom.shape
    blocks = covariance.reshape(treatments, readers, treatments, readers)
    same_treatment = np.eye(treatments, dtype=bool)[:, None, :, None]
    same_reader = np.eye(readers, dtype=bool)[None, :, None, :]

    def mean_where(mask: NDArray[np.bool_]) -> float | None:
        mask = np.broadcast_to(mask, blocks.shape)
        return float(blocks[mask].mean()) if mask.any() else None

    var = mean_where(same_treatment & same_reader)
    assert var is not None
    cov1 = mean_where(~same_treatment & same_reader)
    cov2 = mean_where(same_treatment & ~same_reader)
    cov3 = mean_where(~same_treatment & ~same_reader)

    grand, by_treatment, by_reader = fom.mean(), fom.mean(axis=1), fom.mean(axis=0)
    ms_t = ms_r = ms_tr = None
    if treatments > 1:
        ms_t = float(readers * ((by_treatment - grand) ** 2).sum() / (treatments - 1))
    if readers > 1:
        ms_r = float(treatments * ((by_reader - grand) ** 2).sum() / (readers - 1))
    if treatments > 1 and readers > 1:
        residual = fom - by_treatment[:, None] - by_reader[None, :] + grand
        ms_tr = float((residual**2).sum() / ((treatments - 1) * (readers - 1)))
    var_tr = var_r = None
    if ms_tr is not None and ms_r is not None and cov1 is not None and cov2 is not None and cov3 is not None:
        var_tr = ms_tr - var + cov1 + (cov2 - cov3)
        var_r = (ms_r - ms_tr) / treatments - cov1 + cov3
    return VarianceComponents(var, cov1, cov2, cov3, var_r, var_tr, ms_t, ms_r, ms_tr)


def dbm_components(parts: VarianceComponents, *, treatments: int, readers: int, cases: int) -> DbmComponents:
    """DBM mean squares and variance components from Obuchowski–Rockette ones (Hillis et al. 2005, tables 2 and 3).

    Exact where the error covariance is the jackknife's over all ``cases``; with another covariance they are what DBM
    would have found had its pseudo-values had that covariance.
    """
    n, i, j = cases, treatments, readers
    scaled = {name: None if ms is None else n * ms for name, ms in vars(parts).items() if name.startswith("ms_")}
    # Cov1 is absent with one treatment, Cov2 with one reader, Cov3 with either; their multipliers are zero then.
    cov1, cov2, cov3 = parts.cov1 or 0.0, parts.cov2 or 0.0, parts.cov3 or 0.0
    ms_c = n * (parts.var + (i - 1) * cov1 + (j - 1) * cov2 + (i - 1) * (j - 1) * cov3)
    ms_tc = n * (parts.var - cov1 + (j - 1) * (cov2 - cov3)) if i > 1 else None
    ms_rc = n * (parts.var - cov2 + (i - 1) * (cov1 - cov3)) if j > 1 else None
    full = i > 1 and j > 1
    return DbmComponents(
        var_r=parts.var_r,
        var_c=n * cov3 if full else None,
        var_tr=parts.var_tr,
        var_tc=n * (cov2 - cov3) if full else None,
        var_rc=n * (cov1 - cov3) if full else None,
        var_error=n * (parts.var - cov1 - cov2 + cov3) if full else None,
        ms_t=scaled["ms_t"],
        ms_r=scaled["ms_r"],
        ms_c=ms_c,
        ms_tr=scaled["ms_tr"],
        ms_tc=ms_tc,
        ms_rc=ms_rc,
        ms_trc=n * (parts.var - cov1 - cov2 + cov3) if full else None,
    )


def interval(
    estimate: float, variance: float, df: float, alpha: float, *, why_not: str, nothing: float = _NOTHING
) -> Interval:
    """A two-sided interval and the test of zero, or the reason there is none (``variance`` not above ``nothing``)."""
    if not variance > nothing:
        return Interval(estimate, not_estimable=why_not)
    se = math.sqrt(variance)
    half = t_critical(alpha, df) * se
    t = estimate / se
    return Interval(estimate, se, df, estimate - half, estimate + half, t, t_two_sided(t, df))


def analyse(
    fom: Floats,
    covariance: Floats,
    *,
    random: Random = "readers_cases",
    alpha: float = 0.05,
    truncation: Truncation = "none",
    conventions: Conventions | None = None,
) -> Analysis:
    """Obuchowski–Rockette analysis of a fully crossed study.

    Args:
        fom: figures of merit, ``[I, J]``, treatments by readers.
        covariance: error covariance of ``fom``, ``[I·J, I·J]``, treatment-major.
        random: what the conclusion should hold for: new readers and new cases, new cases read by these readers, or new
            readers reading these cases.
        alpha: two-sided; intervals are (1 − alpha).
        truncation: see :class:`Conventions`; ``conventions`` takes its place where given.
        conventions: which way to go where programs differ.

    Returns:
        Components, omnibus test, one interval per treatment, one per pair of treatments and one per pair and reader.
        What cannot be estimated says why; no NaN is returned.
    """
    follow = conventions or Conventions(truncation=truncation)
    treatments, readers = fom.shape
    parts = variance_components(fom, covariance)
    blocks = covariance.reshape(treatments, readers, treatments, readers)
    lone = ""
    if readers < 2 and random != "cases":
        lone = (
            "not estimable, because there is one reader: how readers differ cannot be seen; "
            "a conclusion for this reader alone would treat only the cases as random"
        )

    means = tuple(_mean(fom[i], blocks[i, :, i, :], random, alpha, lone, follow) for i in range(treatments))
    if treatments < 2:
        return Analysis(parts, None, means, {}, {})

    omnibus, variance, df, why = _test(parts, treatments, readers, random, follow, lone)
    differences = {}
    per_reader = {}
    for i, k in combinations(range(treatments), 2):
        estimate = float(fom[i].mean() - fom[k].mean())
        if variance is None:
            differences[i, k] = Interval(estimate, not_estimable=why)
        else:
            differences[i, k] = interval(estimate, variance, df, alpha, why_not=why)
        per_reader[i, k] = tuple(
            interval(
                float(fom[i, j] - fom[k, j]),
                float(blocks[i, j, i, j] + blocks[k, j, k, j] - 2 * blocks[i, j, k, j]),
                math.inf,
                alpha,
                why_not="not estimable, because the variance of this reader's difference is zero or negative "
                "(perfect or identical ratings)",
                nothing=_nothing(float(blocks[i, j, i, j] + blocks[k, j, k, j])),
            )
            for j in range(readers)
        )
    return Analysis(parts, omnibus, means, differences, per_reader)


def _test(
    parts: VarianceComponents, treatments: int, readers: int, random: Random, follow: Conventions, lone: str
) -> tuple[Omnibus, float | None, float, str]:
    """The omnibus test, and the variance and df of a difference of two treatment means (Hillis 2007, eqs 7–9)."""
    name: Literal["F", "X2"] = "X2" if random == "cases" else "F"
    if lone:
        return Omnibus(name, not_estimable=lone), None, math.inf, lone
    assert parts.ms_t is not None and parts.cov1 is not None
    excess = parts.cov2 - parts.cov3 if parts.cov2 is not None and parts.cov3 is not None else 0.0
    df1 = treatments - 1
    nothing = _nothing(parts.var)

    if random == "cases":
        if follow.truncation == "truncate":
            excess = max(excess, 0.0)
        denominator = parts.var - parts.cov1 + (readers - 1) * excess
        df2: float = math.inf
        why = (
            "not estimable, because the variance of the difference, Var − Cov1 + (J−1)(Cov2 − Cov3), is "
            f"{denominator:.3g}, not positive (perfect or identical ratings, or too few cases)"
        )
    else:
        assert parts.ms_tr is not None
        denominator = parts.ms_tr + (readers * max(excess, 0.0) if random == "readers_cases" else 0.0)
        error_df = df1 * (readers - 1)
        why = (
            "not estimable, because neither the readers' differences nor the cases show any variation "
            "(perfect or identical ratings)"
        )
        df2 = _satterthwaite(denominator, parts.ms_tr, error_df, random, follow, nothing)
    if not denominator > nothing:
        return Omnibus(name, df1=df1, not_estimable=why), None, df2, why
    if random == "cases":
        statistic = df1 * parts.ms_t / denominator
        omnibus = Omnibus(name, statistic, df1, None, denominator, f_above(statistic / df1, df1))
    else:
        statistic = parts.ms_t / denominator
        omnibus = Omnibus(name, statistic, df1, df2, denominator, f_above(statistic, df1, df2))
    return omnibus, 2 * denominator / readers, df2, why


def _satterthwaite(
    total: float, mean_square: float, error_df: int, random: Random, follow: Conventions, nothing: float
) -> float:
    """Degrees of freedom of ``total``, of which ``mean_square`` is estimated on ``error_df`` and the rest is known."""
    if random == "readers" or follow.df == "original":
        return float(error_df)
    if mean_square <= nothing:
        return math.inf
    df = (total / mean_square) ** 2 * error_df
    return float(math.floor(df)) if follow.rounding == "floor" else df


def _nothing(scale: float) -> float:
    """What is no more than rounding beside variances of this size."""
    return max(_NOTHING, 1e-12 * abs(scale))


def _mean(fom: Floats, block: Floats, random: Random, alpha: float, lone: str, follow: Conventions) -> Interval:
    """One treatment's reader-averaged figure of merit (Hillis, Berbaum & Metz 2008); ``block`` is its ``[J, J]``."""
    readers = len(fom)
    estimate = float(fom.mean())
    if lone:
        return Interval(estimate, not_estimable=lone)
    var = float(np.trace(block) / readers)
    cov2 = float((block.sum() - np.trace(block)) / (readers * (readers - 1))) if readers > 1 else 0.0
    df, nothing = math.inf, _nothing(var)
    if random == "cases":
        variance = (var + (readers - 1) * cov2) / readers
    else:
        ms_r = float(fom.var(ddof=1))
        total = ms_r + (readers * max(cov2, 0.0) if random == "readers_cases" else 0.0)
        variance = total / readers
        df = _satterthwaite(total, ms_r, readers - 1, random, follow, nothing)
    found = interval(
        estimate,
        variance,
        df,
        alpha,
        why_not="not estimable, because neither readers nor cases show any variation (perfect or identical AUCs)",
        nothing=nothing,
    )
    # The test that an AUC is zero asks nothing anybody wants to know.
    return Interval(found.estimate, found.se, found.df, found.lower, found.upper, not_estimable=found.not_estimable)
