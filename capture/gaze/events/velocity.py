"""Velocity of gaze: the slope of a straight line fitted over a short window.

In a full window of evenly spaced samples this is the Savitzky-Golay derivative of first and of second order. Where a
sample is lost, samples are missing or the times jitter, the line is fitted to what is there, at its own times.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .compiled import Loop, frozen

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

#: A step within this share of the median step counts as even.
_EVEN = 0.02


def sample_step(t: ArrayLike) -> float:
    """The median step between samples, seconds (in a long recording of every so many steps).

    Raises ValueError if it is not positive: the times do not ascend.
    """
    times = np.asarray(t, dtype=np.float64)
    every = max(1, (len(times) - 1) // 2000)
    step = float(np.median(times[1::every] - times[: len(times) - 1 : every]))
    if not step > 0:
        raise ValueError("The times do not ascend: the samples cannot have a velocity.")
    return step


def holes(t: ArrayLike, step: float, *, window_s: float = 0.02) -> Indices:
    """Indices of the samples before which others are missing for more than 5 steps and the window, [H]."""
    return np.flatnonzero(np.diff(np.asarray(t, dtype=np.float64)) > _longest_step(step, window_s)) + 1


def _longest_step(step: float, window_s: float) -> float:
    return max(5 * step, window_s)


def slopes(t: ArrayLike, degrees: ArrayLike, *, window_s: float, step: float | None = None) -> Floats:
    """Velocity of gaze along x and y, °/s, [2, N].

    NaN where the sample itself is lost or its window holds fewer than two; a window never reaches across a hole.

    Parameters
    ----------
    t
        Seconds, ascending, [N].
    degrees
        Gaze in degrees, [N, 2]; NaN where there is none.
    window_s
        Full width of the window, seconds; at least three samples are used.
    step
        Median step between samples, seconds, if it is known already.
    """
    times = np.asarray(t, dtype=np.float64)
    xy = np.asarray(degrees, dtype=np.float64)
    n = len(times)
    if xy.shape != (n, 2):
        raise ValueError(f"degrees has shape {xy.shape}, [{n}, 2] is needed for {n} times.")
    if n < 2:
        return np.full((2, n), np.nan)
    if step is None:
        step = sample_step(times)
    half = max(1, round(window_s / step / 2))
    if _slopes.pays(n):
        out = np.empty((2, n))
        _slopes.compiled(
            frozen(times), frozen(xy[:, 0]), frozen(xy[:, 1]), step, _longest_step(step, window_s), half, out[0], out[1]
        )
    else:
        out = np.full((2, n), np.nan)
        _vectorised(times, np.ascontiguousarray(xy.T), step, _longest_step(step, window_s), half, out)
    return out


def _vectorised(t: Floats, x: Floats, step: float, longest: float, half: int, out: Floats) -> None:
    n = len(t)
    steps = np.diff(t)
    if n > 2 * half:
        rise = x[:, half + 1 : n - half + 1] - x[:, half - 1 : n - half - 1]
        for k in range(2, half + 1):
            rise += k * (x[:, half + k : n - half + k] - x[:, half - k : n - half - k])
        # sum k·x over the window, by sum k² = h(h+1)(2h+1)/3, by the step: the window spans 2h of them.
        run = (t[2 * half :] - t[: n - 2 * half]) * ((half + 1) * (2 * half + 1) / 6)
        uneven = np.abs(steps - step) > _EVEN * step
        if uneven.any():
            odd = np.r_[0, np.cumsum(uneven)]
            run[odd[2 * half :] != odd[: n - 2 * half]] = np.nan
        rise /= run
        out[:, half : n - half] = rise
    rest = np.flatnonzero(np.isnan(out[0] + out[1]))
    rest = rest[np.isfinite(x[0, rest] + x[1, rest])]
    out[:, rest] = _fitted(t, x, rest, half, np.flatnonzero(steps > longest) + 1)


def _fitted(t: Floats, x: Floats, at: Indices, half: int, breaks: Indices) -> Floats:
    """Least-squares slopes [2, M] at the samples `at` [M] over the good samples of their windows."""
    n = len(t)
    stretch = np.zeros(n, dtype=np.int64)
    stretch[breaks] = 1
    stretch = np.cumsum(stretch)
    good = np.isfinite(x[0] + x[1])
    m = len(at)
    count, sx, sxx, sy, sxy = np.zeros(m), np.zeros(m), np.zeros(m), np.zeros((2, m)), np.zeros((2, m))
    # Sums of a window, one neighbour after another; times relative to the sample itself, so that nothing cancels.
    for shift in range(-half, half + 1):
        near = np.clip(at + shift, 0, n - 1)
        use = good[near] & (stretch[near] == stretch[at]) & (near == at + shift)
        dx = np.where(use, t[near] - t[at], 0.0)
        dy = np.where(use, x[:, near] - x[:, at], 0.0)
        count += use
        sx += dx
        sxx += dx * dx
        sy += dy
        sxy += dx * dy
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = sxx - sx * sx / count
        slope = (sxy - sx * sy / count) / spread
    slope[:, (count < 2) | ~(spread > 0)] = np.nan
    return slope


@Loop
def _slopes(t: Any, x: Any, y: Any, step: float, longest: float, half: int, out_x: Any, out_y: Any) -> None:
    """`_vectorised` as one loop, for numba: the same operations in the same order."""
    n = len(t)
    scale = (half + 1) * (2 * half + 1) / 6
    # Full windows first, a block at a time, in inner loops of which a processor does several steps at once.
    for begin in range(half, n - half, 2048):
        end = min(begin + 2048, n - half)
        m = end - begin
        u = np.zeros(m)
        w = np.zeros(m)
        for k in range(1, half + 1):
            xr, xl, yr, yl = (
                x[begin + k : end + k],
                x[begin - k : end - k],
                y[begin + k : end + k],
                y[begin - k : end - k],
            )
            for i in range(m):
                u[i] += k * (xr[i] - xl[i])
            for i in range(m):
                w[i] += k * (yr[i] - yl[i])
        tr, tl, ox, oy = t[begin + half : end + half], t[begin - half : end - half], out_x[begin:end], out_y[begin:end]
        for i in range(m):
            run = (tr[i] - tl[i]) * scale
            ox[i] = u[i] / run
            oy[i] = w[i] / run
    uneven = -1  # the last uneven step within reach
    for j in range(min(half, n - 1)):
        if abs((t[j + 1] - t[j]) - step) > 0.02 * step:
            uneven = j
    for i in range(n):
        left = i - half
        right = i + half
        if right < n and abs((t[right] - t[right - 1]) - step) > 0.02 * step:
            uneven = right - 1
        if left >= 0 and right < n and uneven < left and out_x[i] + out_y[i] == out_x[i] + out_y[i]:
            continue
        out_x[i] = out_y[i] = np.nan
        if not (abs(x[i] + y[i]) < np.inf):
            continue
        # What is there of the window, up to the nearest hole on either side.
        a = i
        while a > 0 and a > left and t[a] - t[a - 1] <= longest:
            a -= 1
        b = i
        while b < n - 1 and b < right and t[b + 1] - t[b] <= longest:
            b += 1
        count = sx = sxx = sy = sxy = sz = sxz = 0.0
        for j in range(a, b + 1):
            if abs(x[j] + y[j]) < np.inf:
                d = t[j] - t[i]
                e = x[j] - x[i]
                f = y[j] - y[i]
                count += 1.0
                sx += d
                sxx += d * d
                sy += e
                sxy += d * e
                sz += f
                sxz += d * f
        spread = sxx - sx * sx / count
        if count >= 2.0 and spread > 0.0:
            out_x[i] = (sxy - sx * sy / count) / spread
            out_y[i] = (sxz - sx * sz / count) / spread


def speed(slope: Floats) -> Floats:
    """Length of the velocity [2, N], °/s, [N]."""
    squared = slope[0] * slope[0]
    squared += slope[1] * slope[1]
    return np.sqrt(squared, out=squared)
