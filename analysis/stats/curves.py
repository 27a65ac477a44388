"""Empirical ROC curves: one reader's, the readers' average, and all ratings pooled.

Source of the averaging: Chen & Samuelson, British Journal of Radiology 87:20140016 (2014): averaging sensitivity at
each false-positive fraction keeps the area equal to the readers' mean AUC; pooling ratings does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

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
