"""Fixations by dispersion (I-DT; Salvucci & Goldberg, ETRA 2000), and a reading condensed to a few points."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
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
    return Samples(t_s, x, y, ppd_x, ppd_y).fixations()


class Samples:
    """Samples of which the fixations of several stretches are wanted: what they share is worked out once.

    Parameters as in `fixations`.
    """

    def __init__(
        self, t_s: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64], ppd_x: float, ppd_y: float
    ) -> None:
        good = np.isfinite(x) & np.isfinite(y)
        self.t, self.ppd = t_s[good], (ppd_x, ppd_y)
        u, v = x[good] / ppd_x, y[good] / ppd_y
        self._places, self._signed = (u, v), np.stack([u, -u, v, -v])
        # Where what went before does not go on.
        breaks = np.r_[np.flatnonzero(np.diff(self.t) > MAX_GAP_S) + 1, len(self.t)]
        last = self._least_last()
        starts = np.flatnonzero(_begins(self._signed, last, breaks)) if len(self.t) > 1 else last[:0]
        self._breaks, self._starts, self._last = breaks.tolist(), starts.tolist(), last[starts].tolist()
        self._ends: dict[int, int] = {}

    def _least_last(self) -> NDArray[np.int64]:
        """The first sample that is the least duration after each one, [N]; N where there is none."""
        t, n = self.t, len(self.t)
        last = np.searchsorted(t, t + MIN_DURATION_S)
        # t + d rounds otherwise than t' - t: put right what lies on the edge, one sample after the other.
        while n and (early := (last > 0) & (t[np.maximum(last - 1, 0)] - t >= MIN_DURATION_S)).any():
            last -= early
        while n and (late := (last < n) & (t[np.minimum(last, n - 1)] - t < MIN_DURATION_S)).any():
            last += late
        return last

    def fixations(self, start_s: float = -np.inf, end_s: float = np.inf) -> list[Point]:
        """The fixations of the samples from `start_s` to `end_s`, as if there were no others."""
        t, (u, v) = self.t, self._places
        stop, end = int(t.searchsorted(start_s)), int(t.searchsorted(end_s, side="right"))
        out: list[Point] = []
        while True:
            at = bisect_left(self._starts, stop)
            if at == len(self._starts) or self._last[at] >= end:
                return out
            start = self._starts[at]
            stop = min(end, self._end(start))
            duration = (t[stop - 1] - t[start]) * 1000
            n = stop - start
            centre = float(u[start:stop].sum() / n * self.ppd[0]), float(v[start:stop].sum() / n * self.ppd[1])
            out.append(Point(*centre, float(t[start]), float(duration)))

    def _end(self, start: int) -> int:
        """Where the samples from `start` on no longer stay together: one after the last of them."""
        if start not in self._ends:
            self._ends[start] = _end(self._signed, start, self._breaks[bisect_right(self._breaks, start)])
        return self._ends[start]


def _begins(signed: NDArray[np.float64], last: NDArray[np.int64], breaks: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether the samples from each one to its `last` stay together, [N]; `signed` as for `_end`."""
    there = last < np.repeat(breaks, np.diff(breaks, prepend=0))
    length = np.where(there, last - np.arange(len(last)) + 1, 1)
    reach = _maxima(signed, length)
    return there & ((reach[0] + reach[1]) + (reach[2] + reach[3]) <= DISPERSION_DEG)


def _maxima(rows: NDArray[np.float64], length: NDArray[np.int64]) -> NDArray[np.float64]:
    """In every row the largest of `length` values from each one on, [rows, N]; a tracker's lengths are few."""
    out, span, reach = rows.copy(), rows, 1
    counts = np.bincount(length)
    for n in np.flatnonzero(counts).tolist():
        while 2 * reach <= n:  # the largest of 1, 2, 4, … values
            span = np.maximum(span[:, :-reach], span[:, reach:])
            reach *= 2
        if 8 * counts[n] > len(length):
            of_n = np.maximum(span[:, : span.shape[1] - n + reach], span[:, n - reach :])
            np.copyto(out[:, : of_n.shape[1]], of_n, where=length[: of_n.shape[1]] == n)
        else:
            some = np.flatnonzero(length == n)
            out[:, some] = np.maximum(span[:, some], span[:, some + n - reach])
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
