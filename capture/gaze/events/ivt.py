"""I-VT: fixations are where the eye moves slowly.

Salvucci & Goldberg, "Identifying fixations and saccades in eye-tracking protocols" (ETRA 2000), with velocity from a
straight line fitted over a short window and with the joining of fixations torn apart by noise or a lost sample (Olsen,
"The Tobii I-VT fixation filter", 2012).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Fixations:
    """Fixations as sample ranges: first and one past the last index, each [K]."""

    start: NDArray[np.int64]
    stop: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.start)

    def mask(self, n: int) -> NDArray[np.bool_]:
        """Which of n samples lie in a fixation, [n]."""
        edge = np.zeros(n + 1, dtype=np.int64)
        np.add.at(edge, self.start, 1)
        np.add.at(edge, self.stop, -1)
        return np.cumsum(edge)[:-1] > 0


def velocity(t: ArrayLike, degrees: ArrayLike, *, window_s: float = 0.02) -> Floats:
    """Speed of gaze, °/s, [N].

    The slope of the least-squares line through the valid samples of a window centred on each sample. NaN where the
    sample itself is missing or the window holds fewer than two.

    Parameters
    ----------
    t
        Seconds, ascending, [N].
    degrees
        Gaze in degrees, [N, 2]; NaN where there is none.
    window_s
        Full width of the window in seconds; at least three samples are used.
    """
    times = np.asarray(t, dtype=np.float64)
    xy = np.asarray(degrees, dtype=np.float64)
    n = len(times)
    if xy.shape != (n, 2):
        raise ValueError(f"degrees has shape {xy.shape}, [{n}, 2] is needed for {n} times.")
    if n < 2:
        return np.full(n, np.nan)
    step = float(np.median(np.diff(times)))
    if not step > 0:
        raise ValueError("The times do not ascend: the samples cannot have a velocity.")
    half = max(1, round(window_s / step / 2))
    good: NDArray[np.bool_] = np.asarray(np.isfinite(xy).all(axis=1))
    # Only samples of the same stretch: a window never reaches across a hole in time.
    stretch = np.r_[0, np.cumsum(np.diff(times) > max(5 * step, window_s))]
    safe = np.where(good[:, None], xy, 0.0)
    # Sums of a window, one neighbour after another; times relative to the sample itself, so that nothing cancels.
    count, sx, sxx, sy, sxy = (np.zeros(shape) for shape in (n, n, n, (n, 2), (n, 2)))
    for shift in range(-half, half + 1):
        at = slice(max(0, -shift), n - max(0, shift))
        near = slice(max(0, shift), n - max(0, -shift))
        use = (good[near] & (stretch[near] == stretch[at])).astype(np.float64)
        dx = (times[near] - times[at]) * use
        dy = (safe[near] - safe[at]) * use[:, None]
        count[at] += use
        sx[at] += dx
        sxx[at] += dx * dx
        sy[at] += dy
        sxy[at] += dx[:, None] * dy
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = sxx - sx * sx / count
        slope = (sxy - sx[:, None] * sy / count[:, None]) / spread[:, None]
        speed = np.hypot(slope[:, 0], slope[:, 1])
    speed[~good | (count < 2) | ~(spread > 0)] = np.nan
    return speed


def detect(
    t: ArrayLike,
    degrees: ArrayLike,
    *,
    threshold_deg_s: float = 30.0,
    min_duration_s: float = 0.04,
    window_s: float = 0.02,
    merge_gap_s: float = 0.04,
    merge_distance_deg: float = 0.5,
) -> Fixations:
    """Find fixations by velocity.

    Parameters
    ----------
    t
        Seconds, ascending, [N].
    degrees
        Gaze in degrees of visual angle on the screen, [N, 2]; NaN where there is none.
    threshold_deg_s
        Slower than this is fixation, °/s.
    min_duration_s
        Shorter fixations are dropped, seconds.
    window_s
        Width of the velocity window, seconds.
    merge_gap_s, merge_distance_deg
        Two fixations with at most this between them, in seconds and degrees, are one: noise or a lost sample tore it.

    Returns
    -------
    Fixations
        In order of time; a hole in the data longer than `merge_gap_s` ends a fixation.
    """
    times = np.asarray(t, dtype=np.float64)
    xy = np.asarray(degrees, dtype=np.float64)
    speed = velocity(times, xy, window_s=window_s)
    if len(times) < 2:
        return _none()
    with np.errstate(invalid="ignore"):
        slow = speed < threshold_deg_s
    step = float(np.median(np.diff(times)))
    hole = np.r_[False, np.diff(times) > max(5 * step, window_s)]
    edge = np.diff(np.r_[0, slow.astype(np.int8), 0])
    starts = np.flatnonzero(edge == 1)
    stops = np.flatnonzero(edge == -1)
    # A hole in time inside a run of slow samples cuts it as well.
    inner = np.flatnonzero(hole & slow & np.r_[False, slow[:-1]])
    starts, stops = np.sort(np.r_[starts, inner]), np.sort(np.r_[stops, inner])
    starts, stops = _merge(times, xy, starts, stops, merge_gap_s, merge_distance_deg)
    keep = times[np.maximum(stops - 1, 0)] - times[starts] + step >= min_duration_s - 1e-9
    return Fixations(starts[keep], stops[keep])


def _merge(
    t: Floats, xy: Floats, starts: NDArray[np.int64], stops: NDArray[np.int64], gap_s: float, distance: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    if len(starts) < 2:
        return starts, stops
    # Mean position of each run; runs hold only samples that exist.
    total = np.concatenate([[[0.0, 0.0]], np.cumsum(np.where(np.isfinite(xy), xy, 0.0), axis=0)])
    centre = (total[stops] - total[starts]) / (stops - starts)[:, None]
    near = np.hypot(*(centre[1:] - centre[:-1]).T) <= distance
    soon = t[starts[1:]] - t[stops[:-1] - 1] <= gap_s
    new = np.r_[True, ~(near & soon)]
    return starts[new], stops[np.r_[new[1:], True]]


def _none() -> Fixations:
    return Fixations(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))
