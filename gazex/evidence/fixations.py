"""Fixations by dispersion (I-DT; Salvucci & Goldberg, ETRA 2000), and a reading condensed to a few points."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import hypot
from typing import Final

import numpy as np
from numpy.typing import NDArray

DISPERSION_DEG: Final = 1.0
MIN_DURATION_S: Final = 0.08
MAX_GAP_S: Final = 0.15


@dataclass(frozen=True)
class Point:
    """A place looked at: image pixels, onset in seconds, dwell in milliseconds."""

    x: float
    y: float
    onset_s: float
    duration_ms: float


def fixations(
    t_s: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64], ppd_x: float, ppd_y: float
) -> list[Point]:
    """Group samples into fixations.

    Parameters
    ----------
    t_s, x, y
        Samples, shape [N]: seconds, image pixels; non-finite ones are left out.
    ppd_x, ppd_y
        Image pixels per degree.

    Returns
    -------
    list of Point
        Maximal runs of at least 80 ms whose extent (x plus y) stays within 1° and that hold no gap over 150 ms.
    """
    good = np.isfinite(x) & np.isfinite(y)
    t, u, v = t_s[good], x[good] / ppd_x, y[good] / ppd_y
    if len(t) < 2:
        return []
    out: list[Point] = []
    breaks = np.r_[np.flatnonzero(np.diff(t) > MAX_GAP_S) + 1, len(t)]  # where what went before does not go on
    signed = np.stack([u, -u, v, -v])
    starts = np.flatnonzero(_begins(t, signed, breaks))
    stop = 0
    while True:
        at = int(starts.searchsorted(stop))
        if at == len(starts):
            return out
        start = int(starts[at])
        stop = _end(signed, start, int(breaks[breaks.searchsorted(start, side="right")]))
        duration = (t[stop - 1] - t[start]) * 1000
        n = stop - start
        centre = float(u[start:stop].sum() / n * ppd_x), float(v[start:stop].sum() / n * ppd_y)
        out.append(Point(*centre, float(t[start]), float(duration)))


def _begins(t: NDArray[np.float64], signed: NDArray[np.float64], breaks: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether the samples from each one on stay together for the least duration, [N]; `signed` as for `_end`."""
    n = len(t)
    last = np.searchsorted(t, t + MIN_DURATION_S)
    # t + d rounds otherwise than t' - t: put right what lies on the edge.
    last -= (t[np.maximum(last - 1, 0)] - t >= MIN_DURATION_S) & (last > 0)
    last += (last < n) & (t[np.minimum(last, n - 1)] - t < MIN_DURATION_S)
    there = last < np.repeat(breaks, np.diff(breaks, prepend=0))
    length = np.where(there, last - np.arange(n) + 1, 1)
    reach = _maxima(signed, length)
    return there & ((reach[0] + reach[1]) + (reach[2] + reach[3]) <= DISPERSION_DEG)


def _maxima(rows: NDArray[np.float64], length: NDArray[np.int64]) -> NDArray[np.float64]:
    """In every row the largest of `length` values from each one on, [rows, N], from those of 1, 2, 4, … values."""
    power = np.frexp(length)[1] - 1
    out, span = rows.copy(), rows
    for level, count in enumerate(np.bincount(power)):
        if count:
            some = np.flatnonzero(power == level)
            out[:, some] = np.maximum(span[:, some], span[:, some + length[some] - (1 << level)])
        span = np.maximum(span[:, : -(1 << level)], span[:, (1 << level) :])
    return out


def _end(signed: NDArray[np.float64], start: int, most: int) -> int:
    """Where the samples from `start` on no longer stay together: one after the last of them, at most `most`.

    `signed` holds u, −u, v and −v, so that all four extremes are running maxima.
    """
    block = 256
    while True:
        reach = np.maximum.accumulate(signed[:, start : min(most, start + block)], axis=1)
        spread = (reach[0] + reach[1]) + (reach[2] + reach[3])
        together = int(spread.searchsorted(DISPERSION_DEG, side="right"))
        if together < len(spread) or start + together == most:
            return start + together
        block *= 4


def condense(points: list[Point], most: int) -> list[Point]:
    """At most `most` points: the nearest two successive ones are merged (dwell-weighted) until few enough."""
    points = list(points)
    gaps = [hypot(a.x - b.x, a.y - b.y) for a, b in pairwise(points)]
    while len(points) > max(1, most):
        k = gaps.index(min(gaps))
        a, b = points[k], points[k + 1]
        total = a.duration_ms + b.duration_ms
        w = a.duration_ms / total if total > 0 else 0.5
        merged = Point(w * a.x + (1 - w) * b.x, w * a.y + (1 - w) * b.y, a.onset_s, total)
        points[k : k + 2] = [merged]
        del gaps[k]
        for j in (k - 1, k):
            if 0 <= j < len(gaps):
                gaps[j] = hypot(points[j].x - points[j + 1].x, points[j].y - points[j + 1].y)
    return points
