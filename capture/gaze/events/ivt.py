"""I-VT: fixations are where the eye moves slowly.

Salvucci & Goldberg, "Identifying fixations and saccades in eye-tracking protocols" (ETRA 2000), with velocity from a
straight line fitted over a short window and with the joining of fixations torn apart by noise or a lost sample (Olsen,
"The Tobii I-VT fixation filter", 2012).

The joining (at most 40 ms and 0.5° apart) makes one look of two that a microsaccade or a burst of noise parted. That is
what a fixation means in reading an image, and below the accuracy of a calibrated tracker the two places are one. It is
rare: on five Lund 2013 trials it joins 1 of 162 fixations (κ 0.83 with it, 0.84 without; at 1° it costs 0.05). A study
of microsaccades wants `merge_distance_deg=0`, or the adaptive detector, which keeps every saccade it finds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .table import Kind, Labels, runs
from .velocity import holes, sample_step, slopes, speed

Floats = NDArray[np.float64]

#: Slower than this is fixation, °/s (the common choice of the Tobii I-VT filter).
THRESHOLD_DEG_S = 30.0
#: Width of the velocity window, seconds.
WINDOW_S = 0.02


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


def velocity(t: ArrayLike, degrees: ArrayLike, *, window_s: float = WINDOW_S) -> Floats:
    """Speed of gaze, °/s, [N]; see `velocity.slopes` for the arguments and for where it is NaN."""
    return speed(slopes(t, degrees, window_s=window_s))


def detect(
    t: ArrayLike,
    degrees: ArrayLike,
    *,
    threshold_deg_s: float = THRESHOLD_DEG_S,
    min_duration_s: float = 0.04,
    window_s: float = WINDOW_S,
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
    if len(times) < 2:
        return _none()
    step = sample_step(times)
    pace = speed(slopes(times, xy, window_s=window_s, step=step))
    return _fixations(times, xy, pace, step, threshold_deg_s, min_duration_s, window_s, merge_gap_s, merge_distance_deg)


def classify(
    t: ArrayLike,
    degrees: ArrayLike,
    *,
    pace: Floats | None = None,
    step: float | None = None,
    threshold_deg_s: float = THRESHOLD_DEG_S,
    min_duration_s: float = 0.04,
    window_s: float = WINDOW_S,
    merge_gap_s: float = 0.04,
    merge_distance_deg: float = 0.5,
) -> Labels:
    """Label every sample, [N] codes of `Kind`.

    Fixations are those of `detect`; of what remains, samples as fast as the threshold are saccades. Slow samples too
    short to be a fixation, and lost ones, are undefined. `pace`, `step` are the speed [N]
    and the median step if they are known already.
    """
    times = np.asarray(t, dtype=np.float64)
    xy = np.asarray(degrees, dtype=np.float64)
    if len(times) < 2:
        return np.full(len(times), Kind.UNDEFINED, dtype=np.int8)
    if step is None:
        step = sample_step(times)
    if pace is None:
        pace = speed(slopes(times, xy, window_s=window_s, step=step))
    found = _fixations(
        times, xy, pace, step, threshold_deg_s, min_duration_s, window_s, merge_gap_s, merge_distance_deg
    )
    with np.errstate(invalid="ignore"):
        labels = np.where(pace >= threshold_deg_s, np.int8(Kind.SACCADE), np.int8(Kind.UNDEFINED))
    labels[found.mask(len(times))] = Kind.FIXATION
    labels[~np.isfinite(xy[:, 0] + xy[:, 1])] = Kind.UNDEFINED
    return labels


def _fixations(
    t: Floats,
    xy: Floats,
    pace: Floats,
    step: float,
    threshold: float,
    min_duration_s: float,
    window_s: float,
    merge_gap_s: float,
    merge_distance_deg: float,
) -> Fixations:
    with np.errstate(invalid="ignore"):
        slow = pace < threshold
    starts, stops = runs(slow)
    # A hole in time inside a run of slow samples cuts it as well.
    breaks = holes(t, step, window_s=window_s)
    inner = breaks[slow[breaks] & slow[breaks - 1]]
    if len(inner):
        starts, stops = np.sort(np.r_[starts, inner]), np.sort(np.r_[stops, inner])
    starts, stops = _merge(t, xy, starts, stops, merge_gap_s, merge_distance_deg)
    keep = t[np.maximum(stops - 1, 0)] - t[starts] + step >= min_duration_s - 1e-9
    return Fixations(starts[keep], stops[keep])


def _merge(
    t: Floats, xy: Floats, starts: NDArray[np.int64], stops: NDArray[np.int64], gap_s: float, distance: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    if len(starts) < 2:
        return starts, stops
    # Mean position of each run; runs hold only samples that exist.
    bounds = np.stack([starts, stops], axis=1).ravel()
    bounds = bounds[bounds < len(t)]
    sums = [np.add.reduceat(xy[:, axis], bounds)[::2] for axis in (0, 1)]
    centre = np.stack(sums, axis=1) / (stops - starts)[:, None]
    near = np.hypot(*(centre[1:] - centre[:-1]).T) <= distance
    soon = t[starts[1:]] - t[stops[:-1] - 1] <= gap_s
    new = np.r_[True, ~(near & soon)]
    return starts[new], stops[np.r_[new[1:], True]]


def _none() -> Fixations:
    return Fixations(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))
