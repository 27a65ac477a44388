"""Smooth ROC curves by maximum likelihood: the binormal and the proper binormal model of one reader's ratings.

Ratings are taken as ordered labels: a case of either class falls between two of the cut-offs ζ₁ < … < ζ_{K−1} of a
latent scale, and only the counts per category enter the likelihood. Both models have two parameters, a and b, and are
one function of x = Φ⁻¹(FPF):

    binormal    TPF = Φ(a + b·x)
    proper      b < 1:  FPF = Φ(u) + Φ(u − 2ab/(1 − b²)),  TPF = Φ(a + bu) + Φ(a + bu − 2a/(1 − b²))
                b > 1:  the same with 1 − FPF and 1 − TPF on the left, bu − a on the right and b² − 1 below

The proper curve is the one that deciding by the likelihood ratio of the binormal model gives: it has no hook and does
not cross the chance line. Its parameters are also written d_a = √2·a/√(1 + b²) and c = (b − 1)/(b + 1), and its
likelihood is the same at d_a and −d_a, so d_a ≥ 0.

Continuous ratings: neighbouring categories that hold cases of one class only can be merged without moving the maximum
in (a, b), because the cut-off between them splits their joint probability as the counts are split. What remains are the
truth-state runs of Metz, Herman & Shen; here they are all kept. So only the order of the ratings counts, and a monotone
change of the scale changes nothing.

Sources:
    Dorfman & Alf, Journal of Mathematical Psychology 6:487 (1969): the likelihood, and scoring to its maximum.
    Metz, Herman & Shen, Statistics in Medicine 17:1033 (1998): truth-state runs for continuous ratings.
    Pan & Metz, Academic Radiology 4:380 (1997); Metz & Pan, Journal of Mathematical Psychology 43:1 (1999): the proper
    binormal model, d_a and c.
    Hillis & Metz, Academic Radiology 19:1491 (2012): partial areas.
    Owen, Annals of Mathematical Statistics 27:1075 (1956): the T function, with which the proper area
    Φ(d_a/√2) + 2F(−d_a/√2, 0; −(1 − c²)/(1 + c²)) becomes 1 − 2T(d_a/√2, (1 − c²)/(2|c|)).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg, special, stats

from analysis.stats.components import Components
from analysis.stats.curves import Curve, all_estimable, checked
from analysis.stats.obuchowski_rockette import analyse
from analysis.stats.ratings import RatingsError

Floats = NDArray[np.float64]
Model = Literal["binormal", "proper"]
MODELS: tuple[Model, ...] = ("binormal", "proper")

#: A fitted b outside these bounds is a step or a corner, not a curve: the likelihood rises towards b = 0 or ∞.
_SMALLEST_B, _LARGEST_B = 0.01, 100.0
#: Beyond this many standard deviations a normal tail is zero in double precision.
_FAR = 38.0
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(240)


@dataclass(frozen=True)
class Estimate:
    """A number with its standard error and interval; where one is None, ``not_estimable`` says why."""

    estimate: float | None
    se: float | None = None
    lower: float | None = None
    upper: float | None = None
    not_estimable: str = ""


@dataclass(frozen=True)
class GoodnessOfFit:
    """Likelihood-ratio test of the model against the saturated multinomial (G²), on χ²(K − 3)."""

    statistic: float | None
    df: int | None
    p: float | None
    not_estimable: str = ""


@dataclass(frozen=True)
class Fit:
    """A fitted ROC curve of one reader.

    ``not_estimable`` is empty unless the model has no maximum for these ratings; every number is then None, and
    :meth:`curve` refuses. No field is ever NaN.

    Attributes:
        model: "binormal" or "proper".
        a, b: separation and ratio of standard deviations (non-diseased to diseased) of the latent normals.
        d_a, c: the same two as d_a = √2·a/√(1 + b²) and c = (b − 1)/(b + 1).
        auc: area under the whole curve.
        cutoffs: ζ₁ < … < ζ_{K−1}; the share of non-diseased cases above ζ is Φ(−ζ).
        covariance: inverse observed information of (a, b, ζ₁, …, ζ_{K−1}), ``[K + 1, K + 1]``; None where singular.
            On the boundary d_a = 0 of the proper model it is that with a held at 0.
        log_likelihood: at the maximum, without the multinomial constant.
        goodness: of fit.
        categories: K, the categories that remained after merging (see the module).
        nondiseased, diseased: number of cases of each class.
        iterations: steps that the search took.
        alpha: two-sided level of the intervals.
        conventions, warnings: what was followed, and what to be wary of.
    """

    model: Model
    a: Estimate
    b: Estimate
    d_a: Estimate
    c: Estimate
    auc: Estimate
    cutoffs: tuple[float, ...]
    covariance: Floats | None
    log_likelihood: float | None
    goodness: GoodnessOfFit
    categories: int
    nondiseased: int
    diseased: int
    iterations: int
    alpha: float
    conventions: tuple[str, ...]
    warnings: tuple[str, ...]
    not_estimable: str = ""

    def curve(self, fpr: ArrayLike | None = None) -> Curve:
        """The fitted curve at the false-positive fractions ``fpr`` (``[m]``, sorted here), from (0, 0) to (1, 1).

        Raises:
            ValueError: the model is not estimable for these ratings, or a fraction is not between 0 and 1.
        """
        a, b = self._parameters()
        return smooth_curve(self.model, a, b, fpr)

    def sensitivity_at(self, fpr: float) -> Estimate:
        """Sensitivity at a false-positive fraction, with an interval that is symmetric on the probit scale.

        Raises:
            ValueError: ``fpr`` is not strictly between 0 and 1.
        """
        if not 0 < fpr < 1:
            raise ValueError(f"The false-positive fraction is {fpr}; it must lie strictly between 0 and 1.")
        if self.not_estimable:
            return Estimate(None, not_estimable=self.not_estimable)
        a, b = self._parameters()
        value, _, slopes = _MODELS[self.model](np.array([special.ndtri(fpr)]), a, b)
        return self._estimate(float(value[0]), slopes[:, 0], unit=True)

    def partial_area(self, lower: float = 0.0, upper: float = 1.0) -> Estimate:
        """Area under the curve between two false-positive fractions, not divided by their distance.

        Raises:
            ValueError: not 0 ≤ lower < upper ≤ 1.
        """
        if not 0 <= lower < upper <= 1:
            raise ValueError(f"The partial area runs from {lower} to {upper}; it needs 0 ≤ lower < upper ≤ 1.")
        if self.not_estimable:
            return Estimate(None, not_estimable=self.not_estimable)
        a, b = self._parameters()
        low, high = np.clip(special.ndtri([lower, upper]), -9.0, 9.0)
        # In pieces of the latent scale, so that a steep rise is not stepped over.
        edges = np.linspace(low, high, 9)
        half = np.diff(edges)[:, None] / 2
        at = ((edges[:-1, None] + edges[1:, None]) / 2 + half * _NODES).ravel()
        weight = (half * _WEIGHTS).ravel() * _density(at)
        value, _, slopes = _MODELS[self.model](at, a, b)
        return self._estimate(float(weight @ value), slopes @ weight, unit=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists and finite numbers, fit for JSON; without the covariance of the cut-offs."""
        found = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        for name in ("a", "b", "d_a", "c", "auc", "goodness"):
            found[name] = dataclasses.asdict(found[name])
        for name in ("cutoffs", "conventions", "warnings"):
            found[name] = list(found[name])
        found["covariance"] = None if self.covariance is None else self.covariance[:2, :2].tolist()
        return found

    def _parameters(self) -> tuple[float, float]:
        if self.a.estimate is None or self.b.estimate is None:
            raise ValueError(f"There is no {self.model} curve: {self.not_estimable}.")
        return self.a.estimate, self.b.estimate

    def _estimate(self, value: float, slopes: Floats, *, unit: bool) -> Estimate:
        if self.covariance is None:
            return Estimate(value, not_estimable=self.auc.not_estimable)
        return _with_interval(value, float(slopes @ self.covariance[:2, :2] @ slopes), self.alpha, unit=unit)


def fit_binormal(truth: ArrayLike, ratings: ArrayLike, *, alpha: float = 0.05) -> Fit:
    """Fit the conventional binormal model to one reader's ratings.

    Args:
        truth: 1 or True where diseased, ``[n]``.
        ratings: ``[n]``, higher is more certainly diseased; ordinal or continuous, ±inf allowed.
        alpha: two-sided level of the intervals.

    Raises:
        RatingsError: a rating is NaN, the shapes differ, or alpha is not between 0 and 1.
    """
    return _fit("binormal", *counts(truth, ratings), alpha)


def fit_proper(truth: ArrayLike, ratings: ArrayLike, *, alpha: float = 0.05) -> Fit:
    """Fit the proper binormal model (binormal likelihood ratio) to one reader's ratings; see :func:`fit_binormal`."""
    return _fit("proper", *counts(truth, ratings), alpha)


def fit_counts(nondiseased: ArrayLike, diseased: ArrayLike, *, model: Model = "binormal", alpha: float = 0.05) -> Fit:
    """Fit a model to counts per rating category, least suspicious first.

    Args:
        nondiseased, diseased: number of cases of each class per category, ``[K]``.
        model: "binormal" or "proper".
        alpha: two-sided level of the intervals.

    Raises:
        RatingsError: the counts are of different lengths, negative or no whole numbers, or the model is unknown.
    """
    low, high = np.asarray(nondiseased, dtype=np.float64), np.asarray(diseased, dtype=np.float64)
    if low.shape != high.shape or low.ndim != 1:
        raise RatingsError(
            f"The counts have shapes {low.shape} and {high.shape}; give one count per category and class."
        )
    for counted in (low, high):
        if not (np.isfinite(counted).all() and (counted >= 0).all() and (counted == np.round(counted)).all()):
            raise RatingsError("A count is negative or no whole number; give the number of cases per category.")
    return _fit(model, low, high, alpha)


def pooled_fit(truth: ArrayLike, ratings: ArrayLike, *, model: Model = "binormal", alpha: float = 0.05) -> Fit:
    """Fit a model to all readers' ratings taken as one reader's.

    Args:
        truth: ``[n]``.
        ratings: ``[J, n]``, one row per reader.
        model: "binormal" or "proper".
        alpha: kept with the result.

    The likelihood takes all ratings as independent, which ratings of one case by several readers are not; so the curve
    stands without standard errors. Its area is not the readers' mean area unless they use the scale alike.
    """
    values = np.atleast_2d(np.asarray(ratings, dtype=np.float64))
    found = _fit(model, *counts(np.tile(np.asarray(truth), len(values)), values.ravel()), alpha)
    if found.not_estimable or len(values) == 1:
        return found
    why = (
        "its standard error is not estimable, because the readers' ratings of one case are not independent "
        "and the pooled likelihood takes them as if they were"
    )
    a, b, d_a, c, auc = (
        Estimate(one.estimate, not_estimable=why) for one in (found.a, found.b, found.d_a, found.c, found.auc)
    )
    goodness = GoodnessOfFit(None, None, None, why.replace("its standard error", "goodness of fit"))
    return dataclasses.replace(found, covariance=None, goodness=goodness, a=a, b=b, d_a=d_a, c=c, auc=auc)


def average_parameters(fits: Sequence[Fit], fpr: ArrayLike | None = None) -> Curve:
    """The curve of the readers' mean (a, b), all fits of one model: the usual summary of binormal fits.

    For proper fits the means are of (d_a, c). The area of this curve is not the mean of the areas; for a curve whose
    area is, see :func:`analysis.stats.curves.average_smooth`.

    Args:
        fits: one per reader, all estimable and of one model.
        fpr: false-positive fractions, ``[m]``.

    Raises:
        RatingsError: there are no fits, one is not estimable, or they are of different models.
    """
    all_estimable(fits)
    model = fits[0].model
    if any(fit.model != model for fit in fits):
        raise RatingsError("The fitted curves are of different models; average those of one model.")
    if model == "binormal":
        a, b = np.mean([fit._parameters() for fit in fits], axis=0).tolist()
    else:
        d_a, c = np.mean([_d_a_and_c(*fit._parameters())[:2] for fit in fits], axis=0).tolist()
        b = (1 + c) / (1 - c)
        a = d_a * math.sqrt((1 + b * b) / 2)
    return smooth_curve(model, a, b, fpr)


def area_components(fits: Sequence[Fit], truth: ArrayLike, ratings: ArrayLike) -> Components:
    """Structural components of fitted areas: what each case adds to each curve's area, in the form DeLong's are.

    A case's influence on (a, b) is the inverse information times its score, centred within its class; n₁ (or n₀) times
    the influence on the area, added to the area, is its component. So every covariance and analysis that the library
    builds on components (:func:`analysis.stats.components.delong_covariance`,
    :func:`analysis.stats.obuchowski_rockette.analyse`) holds for fitted areas, over readers and cases.

    Args:
        fits: C estimable fits.
        truth: ``[n]``.
        ratings: ``[C, n]``, those that each was fitted to.

    Raises:
        RatingsError: a fit is not estimable or was not fitted to these ratings, or the shapes differ.
    """
    influence = _influence(fits, truth, ratings)
    diseased = np.asarray(truth).astype(bool)
    areas = np.array([_AREAS[fit.model](*fit._parameters())[0] for fit in fits])
    slopes = np.stack([_AREAS[fit.model](*fit._parameters())[1] for fit in fits])
    by_case = np.einsum("cp,cpn->cn", slopes, influence)
    return Components(
        areas,
        areas[:, None] + diseased.sum() * by_case[:, diseased],
        areas[:, None] + (~diseased).sum() * by_case[:, ~diseased],
    )


@dataclass(frozen=True)
class Band:
    """The readers' average curve with pointwise intervals over readers and cases.

    ``lower`` and ``upper`` are None where ``not_estimable`` says why; at a single fraction where the variance is zero
    they meet the curve.
    """

    fpr: Floats
    tpr: Floats
    lower: Floats | None
    upper: Floats | None
    not_estimable: str = ""


def average_band(
    fits: Sequence[Fit], truth: ArrayLike, ratings: ArrayLike, fpr: ArrayLike | None = None, *, alpha: float = 0.05
) -> Band:
    """The vertical average of the readers' fitted curves under one treatment, with a pointwise interval.

    At each false-positive fraction the readers' sensitivities are figures of merit of a one-treatment study: readers
    and cases random, error covariances from the influences of :func:`area_components`, degrees of freedom by Hillis.
    The interval is symmetric on the probit scale. It holds at one fraction chosen beforehand, not for the whole curve.

    Args:
        fits: J estimable fits.
        truth: ``[n]``.
        ratings: ``[J, n]``, those that each was fitted to.
        fpr: fractions strictly between 0 and 1, ``[m]``; by default .01 to .99.
        alpha: two-sided level at each fraction.

    Raises:
        RatingsError: as :func:`area_components`; or a fraction is not strictly between 0 and 1.
    """
    grid = np.arange(1, 100) / 100 if fpr is None else np.unique(np.asarray(fpr, dtype=np.float64))
    if not ((grid > 0) & (grid < 1)).all():
        raise RatingsError("A false-positive fraction of the band is not strictly between 0 and 1.")
    influence = _influence(fits, truth, ratings)
    x = special.ndtri(grid)
    drawn = [_MODELS[fit.model](x, *fit._parameters()) for fit in fits]
    tpr = np.stack([values for values, _, _ in drawn])
    average = tpr.mean(axis=0)
    if len(fits) < 2:
        why = "not estimable, because there is one reader: how readers differ cannot be seen"
        return Band(grid, average, None, None, why)
    diseased = np.asarray(truth).astype(bool)
    half = np.zeros(len(grid))
    for place in range(len(grid)):
        by_case = np.stack([slopes[:, place] @ own for (_, _, slopes), own in zip(drawn, influence, strict=True)])
        errors = np.zeros((len(fits), len(fits)))
        for members in (diseased, ~diseased):
            errors += members.sum() ** 2 * np.atleast_2d(np.cov(by_case[:, members])) / members.sum()
        (mean,) = analyse(tpr[None, :, place], errors, alpha=alpha).means
        if mean.upper is not None and mean.estimate is not None:
            half[place] = mean.upper - mean.estimate
    middle = special.ndtri(np.clip(average, 1e-12, 1 - 1e-12))
    reach = half / np.maximum(_density(middle), 1e-12)
    return Band(grid, average, special.ndtr(middle - reach), special.ndtr(middle + reach))


def _influence(fits: Sequence[Fit], truth: ArrayLike, ratings: ArrayLike) -> Floats:
    """Each case's influence on (a, b) of each fit, ``[C, 2, n]``; zero in the mean over either class."""
    all_estimable(fits)
    values = np.atleast_2d(np.asarray(ratings, dtype=np.float64))
    if len(values) != len(fits):
        raise RatingsError(f"There are {len(fits)} fits and {len(values)} rows of ratings; give one row per fit.")
    out = []
    for number, (fit, row) in enumerate(zip(fits, values, strict=True), start=1):
        diseased, row = checked(truth, row)
        low, high = counts(diseased, row)
        starts = _run_starts(low, high)
        run = np.searchsorted(starts, np.searchsorted(np.unique(row), row), side="right") - 1
        if len(starts) - 1 != len(fit.cutoffs) or (low.sum(), high.sum()) != (fit.nondiseased, fit.diseased):
            raise RatingsError(
                f"Fit {number} was not made of row {number} of the ratings; give each fit its own ratings."
            )
        if fit.covariance is None:
            raise RatingsError(f"Fit {number} has no covariance: {fit.auc.not_estimable}.")
        if min(fit.nondiseased, fit.diseased) < 2:
            raise RatingsError("A variance over cases needs two cases of each class.")
        (a, b), cuts = fit._parameters(), np.array(fit.cutoffs)
        tpf, by_x, by_ab = _MODELS[fit.model](-cuts, a, b)
        p, q = _between(special.ndtr(cuts), special.ndtr(-cuts)), _between(1 - tpf, tpf)
        p, q = np.maximum(p, 1e-18), np.maximum(q, 1e-18)
        # Scores of one case of each class per category: d log p and d log q in (a, b, ζ).
        size = len(cuts)
        score = np.zeros((2, size + 1, size + 2))
        score[1, :, :2] = (-np.diff(by_ab, axis=1, prepend=0.0, append=0.0) / q).T
        place = np.arange(size)
        for kind, heights, shares in ((0, _density(cuts), p), (1, by_x, q)):
            score[kind, place, 2 + place] += heights / shares[:-1]
            score[kind, place + 1, 2 + place] -= heights / shares[1:]
        own = (score @ fit.covariance[:, :2])[diseased.astype(int), run].T
        for members in (diseased, ~diseased):
            own[:, members] -= own[:, members].mean(axis=1, keepdims=True)
        out.append(own)
    return np.stack(out)


def counts(truth: ArrayLike, ratings: ArrayLike) -> tuple[Floats, Floats]:
    """Cases of each class per distinct rating, least suspicious first: (non-diseased ``[K]``, diseased ``[K]``).

    Raises:
        RatingsError: a rating is NaN or the shapes differ.
    """
    diseased, values = checked(truth, ratings)
    levels, place = np.unique(values, return_inverse=True)
    high = np.bincount(place[diseased], minlength=len(levels)).astype(np.float64)
    low = np.bincount(place[~diseased], minlength=len(levels)).astype(np.float64)
    return low, high


def truth_state_runs(nondiseased: ArrayLike, diseased: ArrayLike) -> tuple[Floats, Floats]:
    """Merge neighbouring categories that hold one class only, and drop empty ones; see the module."""
    low, high = np.asarray(nondiseased, dtype=np.float64), np.asarray(diseased, dtype=np.float64)
    used = low + high > 0
    low, high = low[used], high[used]
    if not low.size:
        return low, high
    starts = _run_starts(low, high)
    return np.add.reduceat(low, starts), np.add.reduceat(high, starts)


def _run_starts(low: Floats, high: Floats) -> NDArray[np.intp]:
    """Where a run begins, among categories none of which is empty."""
    pure = np.where(high == 0, 0, np.where(low == 0, 1, 2))
    return np.flatnonzero(np.r_[True, (pure[1:] != pure[:-1]) | (pure[1:] == 2)])


def smooth_curve(model: Model, a: float, b: float, fpr: ArrayLike | None = None) -> Curve:
    """The curve of given parameters at false-positive fractions ``fpr`` (by default 201 even steps and both tails).

    Raises:
        ValueError: a fraction is not between 0 and 1, or b is not positive.
    """
    if not b > 0:
        raise ValueError(f"b is {b}; a ratio of standard deviations is positive.")
    if fpr is None:
        tails = np.logspace(-5, -2.4, 25)
        fpr = np.r_[np.linspace(0, 1, 201), tails, 1 - tails]
    grid = np.unique(np.asarray(fpr, dtype=np.float64))
    if not ((grid >= 0) & (grid <= 1)).all():
        raise ValueError("A false-positive fraction is not between 0 and 1.")
    grid = np.unique(np.r_[0.0, grid, 1.0])
    tpr = np.r_[0.0, np.ones(len(grid) - 1)]
    tpr[1:-1] = _MODELS[model](special.ndtri(grid[1:-1]), a, b)[0]
    return Curve(grid, np.maximum.accumulate(np.clip(tpr, 0, 1)), np.empty(0))


# The models: each gives TPF [m], its slope in x = Φ⁻¹(FPF) [m] and in (a, b) [2, m].
_Values = tuple[Floats, Floats, Floats]


def _density(x: Floats) -> Floats:
    density: Floats = np.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
    return density


def _binormal(x: Floats, a: float, b: float) -> _Values:
    at = a + b * x
    height = _density(at)
    return special.ndtr(at), b * height, np.stack([height, x * height])


def _proper(x: Floats, a: float, b: float) -> _Values:
    sign = 1.0 if a >= 0 else -1.0
    a = abs(a)
    spread = abs(1 - b * b)
    if spread < 1e-12 or 2 * a * min(1.0, b) / spread > 2 * _FAR:
        # One standard deviation for both classes, or a second branch that no case reaches: the binormal curve itself.
        value, slope, slopes = _binormal(x, a, b)
        return value, slope, slopes * np.array([sign, 1.0])[:, None]
    side = 1.0 if b < 1 else -1.0
    first, second = 2 * a * b / spread, 2 * a / spread
    u = _branch(side * x, first)
    v = b * u + side * a
    h_u2, h_v, h_v2 = _density(u - first), _density(v), _density(v - second)
    share = special.ndtr(v) + special.ndtr(v - second)
    # Likelihood ratio at u, by logarithms where both densities vanish.
    ratio = b * np.exp(
        np.logaddexp(-0.5 * v * v, -0.5 * (v - second) ** 2) - np.logaddexp(-0.5 * u * u, -0.5 * (u - first) ** 2)
    )
    # d|1 − b²|/db is −2b on the side b < 1 and 2b on the other.
    bend = -2 * b * side / spread
    first_ab = (2 * b / spread, 2 * a / spread - first * bend)
    second_ab = (2 / spread, -second * bend)
    # u moves with the parameters so that FPF stays: (φ(u) + φ(u − first))·du = φ(u − first)·d(first).
    by_a = (h_v + h_v2) * side - h_v2 * second_ab[0] + ratio * h_u2 * first_ab[0]
    by_b = (h_v + h_v2) * u - h_v2 * second_ab[1] + ratio * h_u2 * first_ab[1]
    value = share if side > 0 else 1 - share
    return value, ratio * _density(x), side * np.stack([sign * by_a, by_b])


def _branch(y: Floats, apart: float) -> Floats:
    """u with Φ(u) + Φ(u − apart) = Φ(y): Newton's method on logarithms inside the bounds of the second term."""
    goal = special.ndtr(y)
    high = np.minimum(y, apart / 2)
    low = np.minimum(special.ndtri(goal / 2), high)
    # u as if the second term were at y: exact where the two branches lie far apart.
    at = np.clip(special.ndtri(np.maximum(goal - special.ndtr(y - apart), goal / 2)), low, high)
    for _ in range(60):
        reached = special.ndtr(at) + special.ndtr(at - apart)
        below = reached < goal
        low, high = np.where(below, at, low), np.where(below, high, at)
        step = (np.log(goal) - np.log(reached)) * reached / (_density(at) + _density(at - apart))
        ahead = at + step
        # The bounds included: at the root a step of nothing stays, where halving would jump away again.
        inside = (ahead >= low) & (ahead <= high)
        ahead = np.where(inside, ahead, (low + high) / 2)
        # Newton's steps square the error: after one of 1e-9 nothing is left to gain.
        settled = inside.all() and (np.abs(ahead - at) <= 1e-9 * np.maximum(1.0, np.abs(at))).all()
        at = ahead
        if settled:
            break
    return at


_MODELS: dict[str, Callable[[Floats, float, float], _Values]] = {"binormal": _binormal, "proper": _proper}


def _proper_auc(a: float, b: float) -> tuple[float, Floats]:
    """Area under the proper curve, and its slopes in (a, b)."""
    d_a, c, jacobian = _d_a_and_c(a, b)
    h = d_a / math.sqrt(2)
    if abs(c) < 1e-12:
        value, by_h, by_t = float(special.ndtr(h)), float(_density(np.array(h))), 0.0
        by_c = 0.0
    else:
        t = (1 - c * c) / (2 * abs(c))
        value = 1 - 2 * float(special.owens_t(h, t))
        by_h = 2 * float(_density(np.array(h))) * (float(special.ndtr(h * t)) - 0.5)
        by_t = -math.exp(-h * h * (1 + t * t) / 2) / (math.pi * (1 + t * t))
        by_c = by_t * -math.copysign((1 + c * c) / (2 * c * c), c)
    return value, np.array([by_h / math.sqrt(2), by_c]) @ jacobian


def _binormal_auc(a: float, b: float) -> tuple[float, Floats]:
    root = math.sqrt(1 + b * b)
    height = float(_density(np.array(a / root)))
    return float(special.ndtr(a / root)), height * np.array([1 / root, -a * b / root**3])


_AREAS: dict[str, Callable[[float, float], tuple[float, Floats]]] = {"binormal": _binormal_auc, "proper": _proper_auc}


def _d_a_and_c(a: float, b: float) -> tuple[float, float, Floats]:
    """(d_a, c) and their Jacobian in (a, b)."""
    root = math.sqrt(1 + b * b)
    jacobian = np.array([[math.sqrt(2) / root, -math.sqrt(2) * a * b / root**3], [0.0, 2 / (1 + b) ** 2]])
    return math.sqrt(2) * a / root, (b - 1) / (b + 1), jacobian


# The likelihood over (θ, ζ) and the search for its maximum. θ is (a, log b) for the binormal model and (a², log b) for
# the proper one, whose likelihood is even in a: in a² its maximum at a = 0 is an ordinary boundary.

#: Where the proper search holds a when the maximum lies on the boundary a = 0.
_LEAST_A = 1e-4


@dataclass(frozen=True)
class _Blocks:
    """A symmetric matrix over (two parameters, ζ) whose ζ block is tridiagonal: ``[2, 2]``, ``[2, m]``, and bands."""

    theta: Floats
    border: Floats
    diagonal: Floats
    beside: Floats

    def solve(self, theta: Floats, cuts: Floats, *, damping: float = 0.0, held: bool = False) -> tuple[Floats, Floats]:
        """Solve for a right side ``[2]``, ``[m]``; the diagonal raised by ``damping``, ``held`` fixing the first at 0.

        Raises:
            LinAlgError: the matrix is not positive definite.
        """
        banded = np.zeros((2, len(self.diagonal)))
        banded[0, 1:], banded[1] = self.beside, self.diagonal * (1 + damping)
        inner = linalg.solveh_banded(banded, np.c_[cuts, self.border.T], check_finite=False)
        raised = self.theta + np.diag(damping * np.diag(self.theta))
        schur, right = raised - self.border @ inner[:, 1:], theta - self.border @ inner[:, 0]
        if not schur[1, 1] > 0 or not (held or np.linalg.det(schur) > 0):
            raise np.linalg.LinAlgError("not positive definite")
        step = np.r_[0.0, right[1] / schur[1, 1]] if held else np.linalg.solve(schur, right)
        return step, inner[:, 0] - inner[:, 1:] @ step

    def inverse(self, *, without_first: bool = False) -> Floats:
        """The whole inverse, ``[m + 2, m + 2]``; the first parameter taken as known if asked, with zeros in its place.

        Raises:
            LinAlgError: the matrix is not positive definite.
        """
        size, kept = len(self.diagonal), slice(1 if without_first else 0, 2)
        border = self.border[kept]
        banded = np.zeros((2, size))
        banded[0, 1:], banded[1] = self.beside, self.diagonal
        inner = linalg.solveh_banded(banded, np.c_[border.T, np.eye(size)], check_finite=False)
        apart, inner = inner[:, : len(border)], inner[:, len(border) :]
        schur = self.theta[kept, kept] - border @ apart
        if not (schur[-1, -1] > 0 and np.linalg.det(schur) > 0):
            raise np.linalg.LinAlgError("not positive definite")
        corner = np.linalg.inv(schur)
        edge = -corner @ apart.T
        whole = np.zeros((size + 2, size + 2))
        whole[kept.start :, kept.start :] = np.block([[corner, edge], [edge.T, inner - apart @ edge]])
        return whole


@dataclass(frozen=True)
class _State:
    """The likelihood at one point: its value, gradient and expected information."""

    theta: Floats
    cuts: Floats
    value: float
    gradient_theta: Floats
    gradient_cuts: Floats
    information: _Blocks


def _natural(model: Model, theta: Floats) -> tuple[float, float, Floats]:
    """(a, b) and d(a, b)/dθ, which is diagonal."""
    b = math.exp(float(theta[1]))
    if model == "binormal":
        return float(theta[0]), b, np.array([1.0, b])
    a = math.sqrt(float(theta[0]))
    return a, b, np.array([0.5 / a, b])


def _state(model: Model, low: Floats, high: Floats, theta: Floats, cuts: Floats) -> _State | None:
    """The likelihood at (θ, ζ), or None where the cut-offs are out of order or a needed probability is zero."""
    if not (np.isfinite(theta).all() and np.isfinite(cuts).all() and abs(theta[1]) < 12 and np.abs(cuts).max() < _FAR):
        return None
    if (np.diff(cuts) <= 0).any():
        return None
    if abs(theta[0]) > 1e4 or (model == "proper" and theta[0] <= 0):
        return None
    a, b, by_natural = _natural(model, theta)
    found = _shares(model, low, high, a, b, cuts)
    if found is None:
        return None
    p, q, heights, by_x, q_by_ab = found
    q_by_theta = q_by_ab * by_natural[:, None]
    gradient_theta, gradient_cuts = _gradient(low, high, p, q, heights, by_x, q_by_theta)
    n0, n1 = low.sum(), high.sum()
    weighted = q_by_theta / q
    return _State(
        theta,
        cuts,
        float(special.xlogy(low, p).sum() + special.xlogy(high, q).sum()),
        gradient_theta,
        gradient_cuts,
        _Blocks(
            n1 * weighted @ q_by_theta.T,
            n1 * by_x * (weighted[:, :-1] - weighted[:, 1:]),
            n0 * heights**2 * (1 / p[:-1] + 1 / p[1:]) + n1 * by_x**2 * (1 / q[:-1] + 1 / q[1:]),
            -n0 * heights[:-1] * heights[1:] / p[1:-1] - n1 * by_x[:-1] * by_x[1:] / q[1:-1],
        ),
    )


def _shares(
    model: Model, low: Floats, high: Floats, a: float, b: float, cuts: Floats
) -> tuple[Floats, Floats, Floats, Floats, Floats] | None:
    """What the likelihood is made of at cut-offs ``[…, m]``, or None where a needed probability is zero.

    Returns:
        p, q ``[…, m + 1]``: the categories' probabilities in either class; φ(ζ) and dTPF/dx ``[…, m]``; dq/d(a, b)
        ``[2, …, m + 1]``.
    """
    tpf, by_x, by_ab = (
        values.reshape(values.shape[:-1] + cuts.shape) for values in _MODELS[model](-cuts.ravel(), a, b)
    )
    # Differences are taken in whichever tail is the smaller, so that small probabilities keep their digits.
    p = _between(special.ndtr(cuts), special.ndtr(-cuts))
    q = _between(1 - tpf, tpf)
    # A share that no case needs may round to zero far out.
    p, q = np.where(low == 0, np.maximum(p, 1e-18), p), np.where(high == 0, np.maximum(q, 1e-18), q)
    if not ((p > 0).all() and (q > 0).all() and np.isfinite(by_x).all() and np.isfinite(by_ab).all()):
        return None
    by_ab = np.concatenate([-by_ab[..., :1], by_ab[..., :-1] - by_ab[..., 1:], by_ab[..., -1:]], axis=-1)
    return p, q, _density(cuts), by_x, by_ab


def _gradient(
    low: Floats, high: Floats, p: Floats, q: Floats, heights: Floats, by_x: Floats, q_by: Floats
) -> tuple[Floats, Floats]:
    """The gradient in two parameters ``[2, …]``, in which q has the slopes ``q_by``, and in the cut-offs ``[…, m]``."""
    ones, twos = low / p, high / q
    by_cuts = heights * (ones[..., :-1] - ones[..., 1:]) + by_x * (twos[..., :-1] - twos[..., 1:])
    return (q_by * twos).sum(axis=-1), by_cuts


def _between(below: Floats, above: Floats) -> Floats:
    """Probabilities of the K categories from the shares below and above each of the K − 1 cut-offs, ``[…, K − 1]``."""
    inner = np.where(below[..., 1:] < 0.5, np.diff(below), -np.diff(above))
    return np.concatenate([below[..., :1], inner, above[..., -1:]], axis=-1)


def _climb(
    model: Model, low: Floats, high: Floats, theta: Floats, cuts: Floats, *, hold: bool = False
) -> tuple[_State | None, bool, int]:
    """Damped scoring (Levenberg–Marquardt) up to a maximum: the last point, whether it is near one, the steps taken.

    ``hold`` keeps a where it is. Near means that less than .01 of log-likelihood is to be gained, or that scoring has
    become slow; :func:`_polish` does the rest.
    """
    at = _state(model, low, high, theta, cuts)
    damping = 1e-3
    least = _LEAST_A**2 if model == "proper" else -math.inf
    for iteration in range(1, 61):
        if at is None:
            return None, False, iteration
        held = hold or bool(at.theta[0] <= least and at.gradient_theta[0] <= 0)
        try:
            step, moves = at.information.solve(at.gradient_theta, at.gradient_cuts, damping=damping, held=held)
        except np.linalg.LinAlgError:
            step, moves = np.zeros(2), np.zeros(len(at.cuts))
        promised = float(step @ at.gradient_theta + moves @ at.gradient_cuts)
        if 0 < promised * (1 + damping) < 0.01:
            return at, True, iteration
        ahead = _state(
            model, low, high, np.r_[max(at.theta[0] + step[0], least), at.theta[1] + step[1]], at.cuts + moves
        )
        if ahead is not None and ahead.value > at.value:
            at, damping = ahead, max(damping / 10, 1e-9)
        else:
            damping = 10 * damping
            if damping > 1e12:
                return at, False, iteration
    return at, True, 60


def _polish(model: Model, low: Floats, high: Floats, at: _State, hold: bool) -> tuple[_State, bool, int]:
    """Newton's steps with the observed information, where scoring has come close and would only oscillate."""
    nearest, was_held = math.inf, False
    for taken in range(1, 41):
        information = _observed_information(model, low, high, at)
        if information is None:
            return at, False, taken
        a, b, by_natural = _natural(model, at.theta)
        gradient = at.gradient_theta / by_natural
        held = hold or bool(model == "proper" and a <= _LEAST_A and gradient[0] <= 0)
        scored = False
        try:
            step, moves = information.solve(gradient, at.gradient_cuts, held=held)
        except np.linalg.LinAlgError:
            # The likelihood is not yet curved downwards in every direction: a step of scoring, which always rises.
            try:
                step, moves = at.information.solve(at.gradient_theta, at.gradient_cuts, damping=0.1, held=held)
            except np.linalg.LinAlgError:
                return at, False, taken
            step, nearest, scored = step * by_natural, math.inf, True
        promised = float(step @ gradient + moves @ at.gradient_cuts)
        if held != was_held:
            nearest, was_held = math.inf, held
        if promised < 1e-20 or promised > 0.25 * nearest:
            return at, promised < 1e-8 and not scored, taken
        if promised < 1e-6 and not scored:
            nearest = promised
        for part in 0.5 ** np.arange(12):
            moved_a, moved_b = a + part * step[0], b + part * step[1]
            if model == "proper":
                moved_a = max(moved_a, _LEAST_A)
            if moved_b <= 0:
                continue
            theta = np.array([moved_a**2 if model == "proper" else moved_a, math.log(moved_b)])
            ahead = _state(model, low, high, theta, at.cuts + part * moves)
            # So near the top that rounding hides the gain, the step is trusted.
            if ahead is not None and (promised < 1e-8 or ahead.value > at.value):
                break
        else:
            return at, False, taken
        at = ahead
    return at, False, 40


def _observed_information(model: Model, low: Floats, high: Floats, at: _State) -> _Blocks | None:
    """Minus the Hessian of the log-likelihood in (a, b, ζ), by fourth-order differences of the analytic gradient.

    The ζ block is tridiagonal, so every third cut-off is moved at once.
    """
    size = len(at.cuts)
    a, b, _ = _natural(model, at.theta)
    gaps = np.diff(np.r_[at.cuts[0] - 1, at.cuts, at.cuts[-1] + 1])
    reach = 0.02 * np.minimum(np.minimum(gaps[:-1], gaps[1:]), 0.5)

    weights = np.array([1, -8, 8, -1]) / 12  # of the gradients at −2, −1, 1 and 2 steps
    steps = np.array([-2.0, -1.0, 1.0, 2.0])

    def gradients(there_a: float, there_b: float, cuts: Floats) -> Floats | None:
        """In (a, b, ζ), ``[r, m + 2]``, at the cut-offs of each row."""
        if (np.diff(cuts) <= 0).any():
            return None
        found = _shares(model, low, high, there_a, there_b, cuts)
        if found is None:
            return None
        by_ab, by_cuts = _gradient(low, high, *found)
        return np.concatenate([by_ab.T, by_cuts], axis=1)

    unit_a, unit_b = 0.002 * (a if model == "proper" else max(abs(a), 0.2)), 0.002 * b
    places = np.arange(size)
    colours = np.stack([places % 3 == colour for colour in range(3)])
    around = at.cuts + (steps[:, None, None] * reach * colours).reshape(-1, size)
    by_cuts = gradients(a, b, around)
    by_a = [gradients(a + k * unit_a, b, at.cuts[None, :]) for k in steps]
    by_b = [gradients(a, b + k * unit_b, at.cuts[None, :]) for k in steps]
    if by_cuts is None or any(found is None for found in (*by_a, *by_b)):
        return None
    in_a = weights @ np.concatenate(by_a) / unit_a  # type: ignore[arg-type]
    in_b = weights @ np.concatenate(by_b) / unit_b  # type: ignore[arg-type]
    in_cuts = np.einsum("k,kcj->cj", weights, by_cuts.reshape(4, 3, size + 2))
    diagonal, above, below = np.zeros(size), np.zeros(size), np.zeros(size)
    for chosen, own in zip(colours, in_cuts, strict=True):
        rows = np.r_[0.0, own[2:], 0.0]
        above[chosen], diagonal[chosen], below[chosen] = rows[:-2][chosen], rows[1:-1][chosen], rows[2:][chosen]
    diagonal, above, below = diagonal / reach, above / reach, below / reach
    corner = np.array([[in_a[0], (in_a[1] + in_b[0]) / 2], [(in_a[1] + in_b[0]) / 2, in_b[1]]])
    return _Blocks(-corner, -np.stack([in_a[2:], in_b[2:]]), -diagonal, -(above[1:] + below[:-1]) / 2)


# From the maximum to the result.


def _fit(model: Model, nondiseased: Floats, diseased: Floats, alpha: float) -> Fit:
    if model not in _MODELS:
        raise RatingsError(f"model is {model!r}; it must be one of {', '.join(map(repr, MODELS))}.")
    if not 0 < alpha < 1:
        raise RatingsError(f"alpha is {alpha}; it must be between 0 and 1.")
    low, high = truth_state_runs(nondiseased, diseased)
    why = _why_not(model, low, high)
    if why:
        return _no_fit(model, low, high, alpha, why)
    best, steps, others = _maximum(model, low, high)
    if best is None:
        why = (
            "not estimable, because the search for the maximum of the likelihood did not converge: "
            "it has none, or is too flat for one to be found"
        )
        return _no_fit(model, low, high, alpha, why, steps)
    b = _natural(model, best.theta)[1]
    if _is_chance(model, best):
        why = (
            "not estimable, because these ratings do no better than chance: the proper curve that fits best is the "
            "chance line, an area of 0.5, where a and b cannot be told apart"
        )
        return _no_fit(model, low, high, alpha, why, steps)
    if not _SMALLEST_B < b < _LARGEST_B:
        end = "0" if b < 1 else "∞"
        why = (
            f"not estimable, because the likelihood keeps rising as b goes to {end}: the best curve is a step, "
            "which these ratings do not determine further"
        )
        return _no_fit(model, low, high, alpha, why, steps)
    return _result(model, low, high, best, others, steps, alpha)


def _why_not(model: Model, low: Floats, high: Floats) -> str:
    """Why the likelihood has no maximum, or an empty string."""
    n0, n1 = low.sum(), high.sum()
    if n0 == 0 or n1 == 0:
        word = "diseased" if n1 == 0 else "non-diseased"
        return f"not estimable, because no case is {word}: a ROC curve needs both classes"
    fpf, tpf = 1 - low.cumsum()[:-1] / n0, 1 - high.cumsum()[:-1] / n1
    fpf, tpf = np.round(fpf, 12), np.round(tpf, 12)
    if len(low) == 1:
        return "not estimable, because every case has the same rating"
    if ((fpf == 0) | (tpf == 1)).all():
        return (
            "not estimable, because every operating point lies on the left or the upper edge (perfect separation): "
            "the likelihood rises towards an area of 1 without reaching a maximum"
        )
    if ((fpf == 1) | (tpf == 0)).all():
        return (
            "not estimable, because every operating point lies on the right or the lower edge (separation the wrong "
            "way round); check the direction of the scale"
        )
    if len(low) < 3:
        return "not estimable, because the ratings give one operating point; a curve with two parameters needs two"
    if model == "binormal":
        inner = (fpf > 0) & (fpf < 1) & (tpf > 0) & (tpf < 1)
        level = np.unique(tpf[(fpf > 0) & (fpf < 1)])
        upright = np.unique(fpf[(tpf > 0) & (tpf < 1)])
        if len(level) <= 1 or len(upright) <= 1:
            given = "one operating point" if inner.sum() == 1 else f"{int(inner.sum())} operating points in one line"
            return (
                f"not estimable, because inside the unit square the ratings give {given}: a curve of horizontal and "
                "vertical pieces (b = 0 or ∞) fits them exactly, so the binormal model is degenerate; "
                "the proper model may be estimable"
            )
    return ""


def _maximum(model: Model, low: Floats, high: Floats) -> tuple[_State | None, int, list[_State]]:
    """The highest point that the search converges to, all steps taken, and every other maximum it came upon."""
    n0, n1 = low.sum(), high.sum()
    # Shares are drawn in by half a case, so that their probits are finite.
    fpf = (n0 - low.cumsum()[:-1] + 0.5) / (n0 + 1)
    tpf = (n1 - high.cumsum()[:-1] + 0.5) / (n1 + 1)
    x, y = special.ndtri(fpf), special.ndtri(tpf)
    slope = float(np.sqrt(np.var(y) / np.var(x))) if np.var(x) > 0 and np.var(y) > 0 else 1.0
    slopes = [float(np.clip(slope, 0.2, 5)), 1.0] if model == "binormal" else [float(np.clip(slope, 0.3, 3)), 0.6, 1.4]
    starts = [(float(np.mean(y - b * x)), b, False) for b in slopes]
    if model == "proper":
        # The likelihood can have a second maximum at d_a = 0, where only the spread tells the classes apart.
        starts = [(max(a, 0.3), b, False) for a, b, _ in starts] + [(_LEAST_A, 0.2, True), (_LEAST_A, 5.0, True)]
    steps, unfinished = 0, -math.inf
    near: list[tuple[_State, bool]] = []
    for a, b, hold in starts:
        theta = np.array([a**2 if model == "proper" else a, math.log(b)])
        top, arrived, taken = _climb(model, low, high, theta, _cuts_for(model, low, high, a, b), hold=hold)
        steps += taken
        if top is None:
            continue
        if arrived or abs(float(top.theta[1])) > math.log(_LARGEST_B):
            near.append((top, hold))
        else:
            unfinished = max(unfinished, top.value)
    tops: list[_State] = []
    for start, hold in sorted(near, key=lambda one: -one[0].value):
        if any(abs(start.value - top.value) < 0.1 and np.abs(start.theta - top.theta).max() < 0.1 for top in tops):
            continue
        top, converged, taken = _polish(model, low, high, start, hold)
        steps += taken
        if not converged and model == "proper" and _natural(model, top.theta)[0] < 0.3:
            # Near d_a = 0 the likelihood is flat along a curve in (d_a, c); where a search stalls there, hold d_a at 0.
            edge = _state(model, low, high, np.array([_LEAST_A**2, top.theta[1]]), top.cuts)
            if edge is not None:
                settled, converged, taken = _polish(model, low, high, edge, hold=True)
                steps += taken
                converged = converged and settled.value > top.value - 1e-4
                top = settled if converged else top
        if converged or abs(float(top.theta[1])) > math.log(_LARGEST_B) or _is_chance(model, top):
            tops.append(top)
        else:
            unfinished = max(unfinished, top.value)
    tops.sort(key=lambda top: -top.value)
    if not tops or unfinished > tops[0].value + 1e-4:
        return None, steps, []
    return tops[0], steps, tops[1:]


def _is_chance(model: Model, top: _State) -> bool:
    """The proper curve is the chance line, where a and b cannot be told apart and no search settles."""
    a, b, _ = _natural(model, top.theta)
    return model == "proper" and a <= 0.02 and abs(b - 1) < 0.01


def _cuts_for(model: Model, low: Floats, high: Floats, a: float, b: float) -> Floats:
    """Cut-offs that leave as many cases above them, both classes together, as the ratings do; Newton within bounds."""
    n0, n1 = low.sum(), high.sum()
    goal = (n0 + n1) - (low + high).cumsum()[:-1]
    bottom, top = np.full(len(goal), -_FAR), np.full(len(goal), _FAR)
    at = -special.ndtri(goal / (n0 + n1))
    for _ in range(60):
        tpf, by_x, _ = _MODELS[model](-at, a, b)
        surplus = n0 * special.ndtr(-at) + n1 * tpf - goal
        bottom, top = np.where(surplus > 0, at, bottom), np.where(surplus > 0, top, at)
        ahead = at + surplus / np.maximum(n0 * _density(at) + n1 * by_x, 1e-300)
        ahead = np.where((ahead >= bottom) & (ahead <= top), ahead, (bottom + top) / 2)
        settled = (np.abs(ahead - at) < 1e-8).all()
        at = ahead
        if settled:
            break
    return at


def _result(
    model: Model, low: Floats, high: Floats, best: _State, others: list[_State], steps: int, alpha: float
) -> Fit:
    a, b, _ = _natural(model, best.theta)
    warnings: list[str] = []
    covariance: Floats | None = None
    information = _observed_information(model, low, high, best)
    reason = on_boundary = ""
    if information is None:
        reason = "its standard error is not estimable, because the information at the maximum cannot be computed"
    else:
        boundary = model == "proper" and a < 0.02
        try:
            covariance = information.inverse(without_first=boundary)
        except np.linalg.LinAlgError:
            reason = (
                "its standard error is not estimable, because the observed information is not positive definite: "
                "the likelihood is flat at its maximum"
            )
        if boundary:
            # The curve is one of central χ² laws. To first order in a² making them non-central only stretches them, as
            # a change of b does; so what is uncertain about the curve is uncertain about b with a held at 0.
            on_boundary = (
                "its standard error is not estimable, because the maximum lies on the boundary d_a = 0, "
                "where a² and b cannot be told apart; that of the curve and its area can be given"
            )
            warnings.append("The maximum of the proper model lies on its boundary d_a = 0.")
            a = 0.0 if a <= _LEAST_A else a
    auc, auc_slopes = _AREAS[model](a, b)
    d_a, c, jacobian = _d_a_and_c(a, b)

    def estimate(value: float, slopes: Floats, *, unit: bool = False, why: str = "") -> Estimate:
        if covariance is None or why:
            return Estimate(value, not_estimable=reason or why)
        return _with_interval(value, float(slopes @ covariance[:2, :2] @ slopes), alpha, unit=unit)

    if model == "binormal":
        warnings += _hook(a, b)
    rivals = [_AREAS[model](*_natural(model, top.theta)[:2])[0] for top in others if top.value > best.value - 1.92]
    rival = max(rivals, key=lambda area: abs(area - auc), default=auc)
    if abs(rival - auc) > 0.002:
        warnings.append(
            "The likelihood has a second maximum that these ratings do not tell from the first; "
            f"its area is {rival:.3f}."
        )
    return Fit(
        model=model,
        a=estimate(a, np.array([1.0, 0.0]), why=on_boundary),
        b=estimate(b, np.array([0.0, 1.0]), why=on_boundary),
        d_a=estimate(d_a, jacobian[0], why=on_boundary),
        c=estimate(c, jacobian[1], why=on_boundary),
        auc=estimate(auc, auc_slopes, unit=True),
        cutoffs=tuple(best.cuts.tolist()),
        covariance=covariance,
        log_likelihood=best.value,
        goodness=_goodness(model, low, high, best),
        categories=len(low),
        nondiseased=int(low.sum()),
        diseased=int(high.sum()),
        iterations=steps,
        alpha=alpha,
        conventions=_CONVENTIONS,
        warnings=tuple(warnings),
    )


_CONVENTIONS = (
    "Ratings are ordered labels; neighbouring categories of one class only are merged (truth-state runs, all kept).",
    "Standard errors are from the inverse observed information, by the delta method.",
    "Intervals of the whole area and of sensitivities are symmetric on the probit scale; the others are Wald's.",
    "Goodness of fit: G² on K − 3 degrees of freedom, p where no expected count is below 1 and few are below 5.",
)


def _hook(a: float, b: float) -> list[str]:
    """A warning where the binormal curve runs below the chance line by a visible amount."""
    if b == 1:
        return []
    crossing = float(special.ndtr(a / (1 - b)))
    if not 1e-9 < crossing < 1 - 1e-9:
        return []
    inside = np.linspace(crossing, 1.0, 200)[1:-1] if b < 1 else np.linspace(0.0, crossing, 200)[1:-1]
    depth = float(np.max(inside - _binormal(special.ndtri(inside), a, b)[0], initial=0.0))
    if depth < 0.005:
        return []
    side = "beyond" if b < 1 else "before"
    where = f"{side} a false-positive fraction of {crossing:.3f} it runs up to {depth:.3f} below the chance line"
    return [f"The binormal curve has a hook: {where}; the proper model has none."]


def _goodness(model: Model, low: Floats, high: Floats, best: _State) -> GoodnessOfFit:
    df = len(low) - 3
    if df < 1:
        return GoodnessOfFit(
            None, df, None, "not estimable, because two parameters fit two operating points exactly: no freedom is left"
        )
    a, b, _ = _natural(model, best.theta)
    tpf = _MODELS[model](-best.cuts, a, b)[0]
    p, q = _between(special.ndtr(best.cuts), special.ndtr(-best.cuts)), _between(1 - tpf, tpf)
    observed, expected = np.r_[low, high], np.r_[low.sum() * p, high.sum() * q]
    seen = observed > 0
    statistic = max(0.0, 2 * float((observed[seen] * np.log(observed[seen] / expected[seen])).sum()))
    if (expected < 1).any() or (expected < 5).mean() > 0.2:
        why = (
            "its p-value is not estimable, because the expected counts are too small for the χ² law "
            "(below 1, or more than a fifth below 5)"
        )
        return GoodnessOfFit(statistic, df, None, why)
    return GoodnessOfFit(statistic, df, float(stats.chi2.sf(statistic, df)))


def _with_interval(value: float, variance: float, alpha: float, *, unit: bool) -> Estimate:
    """Wald interval, on the probit scale where the value lives in (0, 1)."""
    if not (variance > 0 and math.isfinite(variance)):
        return Estimate(
            value, not_estimable="its standard error is not estimable, because its variance is not positive"
        )
    se, z = math.sqrt(variance), float(special.ndtri(1 - alpha / 2))
    if not unit:
        return Estimate(value, se, value - z * se, value + z * se)
    if not 0 < value < 1:
        return Estimate(value, not_estimable="its standard error is not estimable, because it is exactly 0 or 1")
    probit = float(special.ndtri(value))
    half = z * se / float(_density(np.array(probit)))
    return Estimate(value, se, float(special.ndtr(probit - half)), float(special.ndtr(probit + half)))


def _no_fit(model: Model, low: Floats, high: Floats, alpha: float, why: str, steps: int = 0) -> Fit:
    none = Estimate(None, not_estimable=why)
    return Fit(
        model=model,
        a=none,
        b=none,
        d_a=none,
        c=none,
        auc=none,
        cutoffs=(),
        covariance=None,
        log_likelihood=None,
        goodness=GoodnessOfFit(None, None, None, why),
        categories=len(low),
        nondiseased=int(low.sum()),
        diseased=int(high.sum()),
        iterations=steps,
        alpha=alpha,
        conventions=_CONVENTIONS,
        warnings=(),
        not_estimable=why,
    )
