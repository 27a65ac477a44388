"""Fixations by dispersion (I-DT; Salvucci & Goldberg, ETRA 2000), and a reading condensed to a few points."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
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
    out: list[Point] = []
    start, n = 0, len(t)
    while start < n:
        low_u = high_u = u[start]
        low_v = high_v = v[start]
        end = start + 1
        while end < n and t[end] - t[end - 1] <= MAX_GAP_S:
            lu, hu, lv, hv = min(low_u, u[end]), max(high_u, u[end]), min(low_v, v[end]), max(high_v, v[end])
            if (hu - lu) + (hv - lv) > DISPERSION_DEG:
                break
            low_u, high_u, low_v, high_v = lu, hu, lv, hv
            end += 1
        if t[end - 1] - t[start] >= MIN_DURATION_S:
            duration = (t[end - 1] - t[start]) * 1000
            centre = float(u[start:end].mean() * ppd_x), float(v[start:end].mean() * ppd_y)
            out.append(Point(*centre, float(t[start]), float(duration)))
            start = end
        else:
            start += 1
    return out


def condense(points: list[Point], most: int) -> list[Point]:
    """At most `most` points: the nearest two successive ones are merged (dwell-weighted) until few enough."""
    points = list(points)
    while len(points) > max(1, most):
        gaps = [np.hypot(a.x - b.x, a.y - b.y) for a, b in pairwise(points)]
        k = int(np.argmin(gaps))
        a, b = points[k], points[k + 1]
        total = a.duration_ms + b.duration_ms
        w = a.duration_ms / total if total > 0 else 0.5
        points[k : k + 2] = [Point(w * a.x + (1 - w) * b.x, w * a.y + (1 - w) * b.y, a.onset_s, total)]
    return points
