"""I-DT: a fixation is a while in which gaze stays within a small area.

Salvucci & Goldberg, "Identifying fixations and saccades in eye-tracking protocols" (ETRA 2000): dispersion is the width
plus the height of the samples' box. The window that first holds the shortest fixation is found from its end instead of
by dropping one sample after another from its start; the windows are the same, the work is one pass.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .compiled import Loop, frozen
from .table import Kind, Labels
from .velocity import holes, sample_step

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


def detect(
    t: ArrayLike,
    degrees: ArrayLike,
    *,
    dispersion_deg: float = 1.0,
    min_duration_s: float = 0.1,
    max_gap_s: float = 0.04,
    step: float | None = None,
) -> tuple[Indices, Indices]:
    """Find fixations by dispersion: first sample and one past the last of each, [K] and [K].

    Parameters
    ----------
    t
        Seconds, ascending, [N].
    degrees
        Gaze in degrees of visual angle, [N, 2]; NaN where there is none.
    dispersion_deg
        Largest width plus height of a fixation, degrees.
    min_duration_s
        Shortest fixation, seconds.
    max_gap_s
        A longer while without gaze ends a fixation; lost samples within a shorter one do not count.
    step
        Median step between samples, seconds, if it is known already.
    """
    times = np.asarray(t, dtype=np.float64)
    xy = np.asarray(degrees, dtype=np.float64)
    if xy.shape != (len(times), 2):
        raise ValueError(f"degrees has shape {xy.shape}, [{len(times)}, 2] is needed for {len(times)} times.")
    good = np.isfinite(xy[:, 0] + xy[:, 1])
    where = None if good.all() else np.flatnonzero(good)
    if len(times) < 2:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    if step is None:
        step = sample_step(times)
    if where is not None:
        times, xy = times[where], xy[where]
    starts, stops = np.zeros(len(times), dtype=np.int64), np.zeros(len(times), dtype=np.int64)
    needed = min_duration_s - step - 1e-9
    k = _windows(
        len(times), frozen(times), frozen(xy[:, 0]), frozen(xy[:, 1]), needed, max_gap_s + 1e-9, dispersion_deg,
        starts, stops,
    )  # fmt: skip
    starts, stops = starts[:k], stops[:k]
    return (starts, stops) if where is None else (where[starts], where[stops - 1] + 1)


@Loop
def _windows(t: Any, x: Any, y: Any, needed: float, gap: float, dispersion: float, starts: Any, stops: Any) -> int:
    """Fill `starts` and `stops` with the fixations' sample ranges and say how many there are."""
    n = len(t)
    found = 0
    i = 0  # first sample of the window [i, j]
    j = 0
    fixed = False
    if n == 0:
        return 0
    x0 = x1 = x[0]
    y0 = y1 = y[0]
    while True:
        if not fixed and t[j] - t[i] >= needed:
            fixed = True
        j += 1
        if j == n:
            break
        cut = t[j] - t[j - 1] > gap
        a, b = x[j], y[j]
        if not cut:
            u0 = a if a < x0 else x0
            u1 = a if a > x1 else x1
            v0 = b if b < y0 else y0
            v1 = b if b > y1 else y1
            if (u1 - u0) + (v1 - v0) <= dispersion:
                x0, x1, y0, y1 = u0, u1, v0, v1
                continue
        first = i
        if fixed:
            starts[found] = i
            stops[found] = j
            found += 1
        # The next window ends in j and begins as early as it can, but takes nothing from the fixation before.
        limit = j if fixed or cut else first
        fixed = False
        x0 = x1 = a
        y0 = y1 = b
        i = j
        while i > limit:
            a, b = x[i - 1], y[i - 1]
            u0 = a if a < x0 else x0
            u1 = a if a > x1 else x1
            v0 = b if b < y0 else y0
            v1 = b if b > y1 else y1
            if (u1 - u0) + (v1 - v0) > dispersion:
                break
            x0, x1, y0, y1 = u0, u1, v0, v1
            i -= 1
    if fixed:
        starts[found] = i
        stops[found] = n
        found += 1
    return found


def classify(
    t: ArrayLike,
    degrees: ArrayLike,
    *,
    longest_saccade_s: float = 0.15,
    step: float | None = None,
    **settings: float,
) -> Labels:
    """Label every sample, [N] codes of `Kind`.

    Between two fixations the eye has jumped: what lies there is a saccade, if no sample of it is lost and it is no
    longer than `longest_saccade_s`; else it is undefined. `settings` are those of `detect`.
    """
    times = np.asarray(t, dtype=np.float64)
    xy = np.asarray(degrees, dtype=np.float64)
    good: NDArray[np.bool_] = np.isfinite(xy[:, 0] + xy[:, 1])
    labels = np.full(len(times), Kind.UNDEFINED, dtype=np.int8)
    if len(times) < 2:
        return labels
    if step is None:
        step = sample_step(times)
    starts, stops = detect(times, degrees, step=step, **settings)
    parted = ~good
    parted[holes(times, step)] = True
    lost = np.cumsum(parted)
    for start, stop in zip(starts, stops, strict=True):
        labels[start:stop] = Kind.FIXATION
    for stop, start in zip(stops[:-1], starts[1:], strict=True):
        if lost[stop - 1] == lost[start] and times[start] - times[stop - 1] <= longest_saccade_s:
            labels[stop:start] = Kind.SACCADE
    labels[~good] = Kind.UNDEFINED
    return labels
