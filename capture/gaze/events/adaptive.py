"""Fixations, saccades and post-saccadic oscillations, with thresholds taken from the recording itself.

After Nyström & Holmqvist, "An adaptive algorithm for fixation, saccade, and glissade detection in eyetracking data"
(Behav Res Methods 2010): the threshold that a saccade's peak must pass follows from the noise of what is slower, and is
iterated until it stands; a saccade may be followed by a glissade, here called post-saccadic oscillation (PSO) as in
Andersson, Larsson, Holmqvist, Stridh & Nyström (Behav Res Methods 2017). What differs, and why:

- Noise is measured by median and quartiles, not by mean and standard deviation. Drift, PSOs and the feet of saccades
  are all below the threshold and raise a standard deviation; where saccades are many, the original iteration can run
  away from the noise altogether.
- Velocity comes from a window of 12 ms, not 20 ms: at 20 ms the edge of a saccade and the first lobe of a PSO, 10 ms
  long, are one.
- In a noisy recording the window widens instead of the threshold rising beyond 100 °/s, which saccades below 3° do not
  reach.
- A saccade ends where the velocity has fallen below the threshold and reaches its first minimum, or where the eye turns
  back, whichever is first. The turn is where the overshoot begins, even if it is faster than the threshold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .compiled import Loop, frozen
from .table import Kind, Labels, runs
from .velocity import holes, sample_step, slopes, speed

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: Distance of the quartiles of a normal distribution, in standard deviations.
_QUARTILES = 1.349


@dataclass(frozen=True)
class Settings:
    """Settings of the detector, in seconds, °/s and multiples of the noise.

    Attributes
    ----------
    window_s, widest_s, noisy_deg_s
        Width of the velocity window; while the noise of the recording puts the peak threshold above `noisy_deg_s`, it
        is made half as wide again, up to `widest_s`.
    peak, edge, ringing, still
        How many deviations above the median speed lie: a saccade's peak, its onset, a PSO's movement, its end.
    floor_deg_s
        The peak threshold is never lower. Other thresholds keep their relation to it, so that a recording without noise
        (a filtered or a simulated one) does not find a saccade in every tremor.
    start_deg_s
        The first guess of the peak threshold.
    min_saccade_s, min_fixation_s
        Shorter ones are no events.
    ringing_gap_s, max_pso_s
        A PSO begins at most so long after its saccade, pauses at most so long, and lasts at most so long.
    """

    window_s: float = 0.012
    widest_s: float = 0.045
    noisy_deg_s: float = 100.0
    peak: float = 8.0
    edge: float = 6.0
    ringing: float = 4.0
    still: float = 2.0
    floor_deg_s: float = 20.0
    start_deg_s: float = 200.0
    min_saccade_s: float = 0.01
    min_fixation_s: float = 0.04
    ringing_gap_s: float = 0.02
    max_pso_s: float = 0.06


@dataclass(frozen=True)
class Thresholds:
    """Speeds, °/s, that a recording's own noise sets; see Settings for what each is."""

    peak: float
    edge: float
    ringing: float
    still: float


def thresholds(pace: ArrayLike, settings: Settings | None = None) -> Thresholds:
    """The thresholds that follow from the speeds of a recording, °/s [N] (NaN where there is none)."""
    s = settings or Settings()
    v = np.asarray(pace, dtype=np.float64)
    v = np.sort(v[np.isfinite(v)])
    peak, middle, spread = s.start_deg_s, 0.0, 0.0
    for _ in range(50):
        slow = int(np.searchsorted(v, peak))
        if not slow:
            break
        low, middle, high = (float(v[int(share * (slow - 1))]) for share in (0.25, 0.5, 0.75))
        spread = (high - low) / _QUARTILES
        before, peak = peak, middle + s.peak * spread
        if peak == before:
            break
    if middle + s.peak * spread < s.floor_deg_s:
        middle, spread = 0.0, s.floor_deg_s / s.peak
    return Thresholds(*(middle + k * spread for k in (s.peak, s.edge, s.ringing, s.still)))


def measure(t: Floats, degrees: Floats, settings: Settings, *, step: float) -> tuple[Floats, Thresholds]:
    """Velocity [2, N], °/s, through the window that suits the recording's noise, and the thresholds for it."""
    window = settings.window_s
    while True:
        slope = slopes(t, degrees, window_s=window, step=step)
        limits = thresholds(speed(slope), settings)
        window *= 1.5
        if limits.peak <= settings.noisy_deg_s or window > settings.widest_s:
            return slope, limits


def classify(
    t: ArrayLike,
    degrees: ArrayLike,
    *,
    settings: Settings | None = None,
    slope: Floats | None = None,
    limits: Thresholds | None = None,
    step: float | None = None,
) -> Labels:
    """Label every sample, [N] codes of `Kind`: fixation, saccade, pso or undefined.

    Parameters
    ----------
    t
        Seconds, ascending, [N].
    degrees
        Gaze in degrees of visual angle, [N, 2]; NaN where there is none (blinks removed before: `blinks.find`).
    settings
        The defaults if omitted.
    slope, limits, step
        Velocity [2, N] and thresholds (both or neither) and median step, if they are known already.
    """
    s = settings or Settings()
    times = np.asarray(t, dtype=np.float64)
    xy = np.asarray(degrees, dtype=np.float64)
    n = len(times)
    labels = np.full(n, Kind.UNDEFINED, dtype=np.int8)
    if n < 2:
        return labels
    if step is None:
        step = sample_step(times)
    if slope is None or limits is None:
        slope, limits = measure(times, xy, s, step=step)
    good = np.isfinite(xy[:, 0] + xy[:, 1])
    pace = np.where(good, speed(slope), np.nan)
    labels[np.isfinite(pace)] = Kind.FIXATION
    breaks = holes(times, step)
    cut = np.zeros(n, dtype=bool)
    cut[breaks] = True
    _saccades(
        n, frozen(pace), frozen(slope[0]), frozen(slope[1]), frozen(cut),
        limits.peak, limits.edge, limits.ringing, limits.still,
        max(1, round(s.min_saccade_s / step)), max(1, round(s.ringing_gap_s / step)), max(1, round(s.max_pso_s / step)),
        labels,
    )  # fmt: skip
    starts, stops = runs(labels == Kind.FIXATION)
    inner = breaks[(labels[breaks] == Kind.FIXATION) & (labels[breaks - 1] == Kind.FIXATION)]
    if len(inner):
        starts, stops = np.sort(np.r_[starts, inner]), np.sort(np.r_[stops, inner])
    for k in np.flatnonzero(times[np.maximum(stops - 1, 0)] - times[starts] + step < s.min_fixation_s - 1e-9):
        labels[starts[k] : stops[k]] = Kind.UNDEFINED
    return labels


@Loop
def _saccades(
    v: Any, vx: Any, vy: Any, cut: Any,
    peak: float, edge: float, ringing: float, still: float,
    min_saccade: int, gap: int, max_pso: int,
    labels: Any,
) -> None:  # fmt: skip
    """Write saccades and PSOs into `labels`. A comparison with NaN is false: lost samples end whatever reaches them."""
    n = len(v)
    free = 0  # first sample that no event has taken
    i = 0
    while i < n:
        if not v[i] > peak:
            i += 1
            continue
        first = i
        while first > free and not cut[first] and v[first - 1] > edge:
            first -= 1
        # Along the first stretch above the threshold: where is it fastest?
        top = i
        stop = i
        while stop < n and v[stop] > peak and (stop == i or not cut[stop]):
            if v[stop] > v[top]:
                top = stop
            stop += 1
        turned = False
        k = top + 1
        while k < stop:
            if vx[k] * vx[top] + vy[k] * vy[top] < 0.0:
                turned = True
                stop = k
                break
            k += 1
        if not turned:
            while stop < n and not cut[stop] and stop > 0 and v[stop] < v[stop - 1]:
                if vx[stop] * vx[top] + vy[stop] * vy[top] < 0.0:
                    break
                stop += 1
        if stop - first < min_saccade:
            i = stop if stop > i else i + 1
            continue
        k = first
        while k < stop:
            labels[k] = 2
            k += 1
        # Movement soon after, slower than the saccade was, is the eye ringing.
        last = -1
        k = stop
        until = stop + gap
        while k < n and k < until and k < stop + max_pso and not cut[k] and v[k] == v[k]:
            if v[k] > v[top]:
                last = -1
                break
            if v[k] > ringing:
                last = k
                until = k + 1 + gap
            k += 1
        free = stop
        if last >= 0:
            free = last + 1
            while free < n and free < stop + max_pso and not cut[free] and v[free] > still:
                free += 1
            k = stop
            while k < free:
                labels[k] = 3
                k += 1
        i = free if free > i else i + 1
