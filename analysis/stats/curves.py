"""ROC curves of one reader, the readers' average and all ratings pooled; operating points and score distributions.

The curves here are empirical; the smooth ones are fitted in :mod:`analysis.stats.parametric` and averaged here.

Sources:
    Chen & Samuelson, British Journal of Radiology 87:20140016 (2014): averaging sensitivity at each false-positive
    fraction keeps the area equal to the readers' mean AUC; pooling ratings does not.
    Metz, Investigative Radiology 24:234 (1989): the average binormal curve by the readers' mean parameters.
    Wilson, JASA 22:209 (1927); Clopper & Pearson, Biometrika 26:404 (1934): intervals of a proportion.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from analysis.stats.ratings import RatingsError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """A ROC curve as a polyline from (0, 0) to (1, 1).

    Attributes:
        fpr: false-positive fraction (1 − specificity), non-decreasing, ``[m]``.
        tpr: sensitivity, non-decreasing, ``[m]``.
        thresholds: a case is called positive at or above this rating, ``[m]``; +inf at (0, 0). Empty for an average.
    """

    fpr: Floats
    tpr: Floats
    thresholds: Floats

    @property
    def area(self) -> float:
        """Area under the polyline, by trapezoids."""
        return float(np.trapezoid(self.tpr, self.fpr))


def empirical_roc(truth: ArrayLike, ratings: ArrayLike) -> Curve:
    """The empirical ROC curve: one operating point per distinct rating.

    Args:
        truth: 1 or True where diseased, ``[n]``.
        ratings: ``[n]``, higher is more certainly diseased; ±inf allowed.

    Raises:
        ValueError: a rating is NaN, shapes differ, or one class is absent.
    """
    diseased = np.asarray(truth).astype(bool)
    values = np.asarray(ratings, dtype=np.float64)
    if diseased.shape != values.shape or values.ndim != 1:
        raise ValueError(f"truth has shape {diseased.shape} and ratings {values.shape}; both must be one equal length.")
    if np.isnan(values).any():
        raise ValueError("A rating is NaN; a ROC curve needs a rating for every case.")
    if diseased.all() or not diseased.any():
        raise ValueError("A ROC curve needs diseased and non-diseased cases; one of the two classes is empty.")
    levels, place = np.unique(values, return_inverse=True)
    hits = np.bincount(place[diseased], minlength=len(levels))[::-1].cumsum() / diseased.sum()
    alarms = np.bincount(place[~diseased], minlength=len(levels))[::-1].cumsum() / (~diseased).sum()
    return Curve(np.r_[0.0, alarms], np.r_[0.0, hits], np.r_[np.inf, levels[::-1]])


def average_roc(curves: Sequence[Curve]) -> Curve:
    """The vertical average: mean sensitivity at every false-positive fraction where any curve bends.

    At a fraction where a curve rises vertically both ends of the rise are averaged, so the area of the average is the
    mean of the areas exactly.

    Raises:
        ValueError: there are no curves.
    """
    if not curves:
        raise ValueError("There are no curves to average.")
    grid = np.unique(np.concatenate([curve.fpr for curve in curves]))
    low = np.mean([_limit(curve, grid, upper=False) for curve in curves], axis=0)
    high = np.mean([_limit(curve, grid, upper=True) for curve in curves], axis=0)
    fpr, tpr = np.repeat(grid, 2), np.stack([low, high], axis=1).ravel()
    keep = np.r_[True, (np.diff(fpr) > 0) | (np.diff(tpr) > 0)]
    return Curve(fpr[keep], tpr[keep], np.empty(0))


def _limit(curve: Curve, grid: Floats, *, upper: bool) -> Floats:
    """The curve at ``grid``, taking the upper or the lower end where it rises vertically."""
    last = np.r_[np.diff(curve.fpr) > 0, True]
    first = np.r_[True, np.diff(curve.fpr) > 0]
    top_x, top_y = curve.fpr[last], curve.tpr[last]
    bottom_y = curve.tpr[first]
    # Between two fractions the line runs from the top of the left rise to the bottom of the right one.
    right = np.clip(np.searchsorted(top_x, grid, side="left"), 0, len(top_x) - 1)
    at_bend = top_x[right] == grid
    left = np.maximum(right - 1, 0)
    span = np.where(right > left, top_x[right] - top_x[left], 1.0)
    between = top_y[left] + (bottom_y[right] - top_y[left]) * (grid - top_x[left]) / span
    return np.where(at_bend, top_y[right] if upper else bottom_y[right], between)


def pooled_roc(truth: ArrayLike, ratings: ArrayLike) -> Curve:
    """The curve of all readers' ratings taken as one reader's.

    Args:
        truth: ``[n]``.
        ratings: ``[J, n]``, one row per reader.

    It shows the operating points of the group on one scale; its area is not the readers' mean AUC unless they use the
    scale alike.
    """
    values = np.atleast_2d(np.asarray(ratings, dtype=np.float64))
    return empirical_roc(np.tile(np.asarray(truth), len(values)), values.ravel())


class Smooth(Protocol):
    """A fitted curve, as :class:`analysis.stats.parametric.Fit` is one."""

    @property
    def not_estimable(self) -> str:
        """Why there is no curve, or an empty string."""
        ...

    def curve(self, fpr: ArrayLike | None = None) -> Curve:
        """The fitted curve at false-positive fractions."""
        ...


def average_smooth(fits: Sequence[Smooth], fpr: ArrayLike | None = None) -> Curve:
    """The vertical average of fitted curves: the readers' mean sensitivity at each false-positive fraction.

    Its area is the mean of the fitted areas, up to the fineness of the grid. To average the parameters instead, see
    :func:`analysis.stats.parametric.average_parameters`.

    Args:
        fits: one per reader, all estimable.
        fpr: false-positive fractions, ``[m]``; by default those that the first fit chooses.

    Raises:
        RatingsError: there are no fits, or one is not estimable: an average without it would be of other readers.
    """
    all_estimable(fits)
    first = fits[0].curve(fpr)
    tpr = np.mean([fit.curve(first.fpr).tpr for fit in fits], axis=0)
    return Curve(first.fpr, tpr, np.empty(0))


def all_estimable(fits: Sequence[Smooth]) -> None:
    """Refuse an empty list of fits, and one with a fit that is not estimable (RatingsError)."""
    if not fits:
        raise RatingsError("There are no fitted curves to average.")
    failed = [(place, fit.not_estimable) for place, fit in enumerate(fits, start=1) if fit.not_estimable]
    if failed:
        raise RatingsError(
            f"Curve {failed[0][0]} of {len(fits)} is {failed[0][1]}; average the empirical curves, "
            "or say which readers the average is of."
        )


@dataclass(frozen=True)
class Proportion:
    """A share of cases with its interval; None with the reason where there are no cases."""

    count: int
    total: int
    estimate: float | None
    lower: float | None
    upper: float | None
    not_estimable: str = ""


@dataclass(frozen=True)
class OperatingPoint:
    """What calling a case positive at or above a threshold gives: both fractions with their intervals over cases."""

    threshold: float
    fpr: Proportion
    tpr: Proportion


def proportion(
    count: int, total: int, *, alpha: float = 0.05, method: Literal["wilson", "clopper-pearson"] = "wilson"
) -> Proportion:
    """A binomial proportion with its two-sided interval.

    Args:
        count, total: successes among cases that are independent of each other.
        alpha: two-sided level.
        method: "wilson" (score interval: right on average) or "clopper-pearson" (exact: never too short).

    Raises:
        RatingsError: not 0 ≤ count ≤ total, or alpha or the method is unknown.
    """
    if not 0 <= count <= total:
        raise RatingsError(f"{count} of {total} is no proportion; the count lies between 0 and the total.")
    if not 0 < alpha < 1:
        raise RatingsError(f"alpha is {alpha}; it must be between 0 and 1.")
    if method not in ("wilson", "clopper-pearson"):
        raise RatingsError(f"method is {method!r}; it must be 'wilson' or 'clopper-pearson'.")
    if total == 0:
        return Proportion(0, 0, None, None, None, "not estimable, because there are no cases of this class")
    share = count / total
    if method == "clopper-pearson":
        lower = 0.0 if count == 0 else float(special.betaincinv(count, total - count + 1, alpha / 2))
        upper = 1.0 if count == total else float(special.betaincinv(count + 1, total - count, 1 - alpha / 2))
        return Proportion(count, total, share, lower, upper)
    z2 = float(special.ndtri(1 - alpha / 2)) ** 2
    centre = (share + z2 / (2 * total)) / (1 + z2 / total)
    half = np.sqrt(z2 * (share * (1 - share) / total + z2 / (4 * total**2))) / (1 + z2 / total)
    # At 0 and 1 the bound is the share itself; rounding would leave it 1e-17 off.
    lower = 0.0 if count == 0 else float(max(0.0, centre - half))
    upper = 1.0 if count == total else float(min(1.0, centre + half))
    return Proportion(count, total, share, lower, upper)


def operating_point(
    truth: ArrayLike,
    ratings: ArrayLike,
    threshold: float,
    *,
    alpha: float = 0.05,
    method: Literal["wilson", "clopper-pearson"] = "wilson",
) -> OperatingPoint:
    """One reader's false-positive fraction and sensitivity when a rating at or above ``threshold`` is called positive.

    Args:
        truth: 1 or True where diseased, ``[n]``.
        ratings: one reader's, ``[n]``; the interval takes cases as independent, so pooled ratings do not belong here.
        threshold: in units of the ratings.
        alpha, method: see :func:`proportion`.

    Raises:
        RatingsError: a rating is missing, the shapes differ, or the threshold is no number.
    """
    diseased, values = checked(truth, ratings)
    if np.isnan(threshold):
        raise RatingsError("The threshold is no number; give a rating from which on a case is called positive.")
    called = values >= threshold
    alarms, hits = int(called[~diseased].sum()), int(called[diseased].sum())
    return OperatingPoint(
        float(threshold),
        proportion(alarms, int((~diseased).sum()), alpha=alpha, method=method),
        proportion(hits, int(diseased.sum()), alpha=alpha, method=method),
    )


@dataclass(frozen=True)
class ScoreDistribution:
    """How often each rating, or each interval of ratings, was given to cases of each class.

    Attributes:
        labels: of the m bins, lowest first.
        lower, upper: bounds of the bins, ``[m]``; equal where a bin is one rating.
        nondiseased, diseased: counts, int ``[m]``; they add up to all ratings.
    """

    labels: tuple[str, ...]
    lower: Floats
    upper: Floats
    nondiseased: NDArray[np.int64]
    diseased: NDArray[np.int64]


def score_distribution(truth: ArrayLike, ratings: ArrayLike, *, most: int = 20) -> ScoreDistribution:
    """Counts of ratings by truth: one bin per rating on a short scale, else equal intervals.

    Args:
        truth: ``[n]``.
        ratings: ``[n]``; −inf and +inf get bins of their own.
        most: with up to this many distinct ratings each has its bin; else at most this many intervals are made
            (Freedman & Diaconis's width where that gives fewer).

    Raises:
        RatingsError: a rating is missing, the shapes differ, there are no ratings, or ``most`` is below 2.
    """
    diseased, values = checked(truth, ratings)
    if not values.size:
        raise RatingsError("There are no ratings to count.")
    if most < 2:
        raise RatingsError(f"most is {most}; a distribution needs two bins or more.")
    levels = np.unique(values)
    if len(levels) <= most:
        place = np.searchsorted(levels, values)
        lower = upper = levels
        labels = tuple(_label(level) for level in levels)
    else:
        finite = values[np.isfinite(values)]
        edges = np.histogram_bin_edges(finite, bins=min(most, len(np.histogram_bin_edges(finite, bins="fd")) - 1))
        inner = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
        ends = [end for end in (-np.inf, np.inf) if (values == end).any()]
        shift = int(-np.inf in ends)
        place = np.where(values == -np.inf, 0, np.where(values == np.inf, len(edges) - 1 + shift, inner + shift))
        lower, upper = edges[:-1], edges[1:]
        if -np.inf in ends:
            lower, upper = np.r_[-np.inf, lower], np.r_[-np.inf, upper]
        if np.inf in ends:
            lower, upper = np.r_[lower, np.inf], np.r_[upper, np.inf]
        labels = tuple(
            _label(low) if low == high else f"{low:.3g} to {high:.3g}" for low, high in zip(lower, upper, strict=True)
        )
    size = len(labels)
    return ScoreDistribution(
        labels,
        np.asarray(lower, dtype=np.float64),
        np.asarray(upper, dtype=np.float64),
        np.bincount(place[~diseased], minlength=size),
        np.bincount(place[diseased], minlength=size),
    )


def _label(level: float) -> str:
    if np.isinf(level):
        return "∞" if level > 0 else "−∞"
    return f"{level:.6g}".replace("-", "−")


def checked(truth: ArrayLike, ratings: ArrayLike) -> tuple[NDArray[np.bool_], Floats]:
    """One reader's truth and ratings as arrays, ``[n]`` each; RatingsError where shapes differ or a rating is NaN."""
    diseased = np.asarray(truth).astype(bool)
    values = np.asarray(ratings, dtype=np.float64)
    if diseased.shape != values.shape or values.ndim != 1:
        raise RatingsError(
            f"truth has shape {diseased.shape} and ratings {values.shape}; both must be one equal length."
        )
    empty = np.flatnonzero(np.isnan(values))
    if empty.size:
        raise RatingsError(f"Rating {empty[0] + 1} of {len(values)} is missing; every case needs one.")
    return diseased, values
