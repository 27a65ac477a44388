"""Filters for gaze: each works within what is there, and invents nothing.

A filter's window never reaches across lost samples (NaN) or a hole in the times: such a stretch is filtered on its own,
with the window cut short at its ends. Lost samples stay lost. The times are only read for their holes, so that a filter
suits evenly sampled gaze; one column or more, [N] or [N, C].
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

from .table import runs
from .velocity import holes, sample_step

Floats = NDArray[np.float64]


def median(t: ArrayLike, values: ArrayLike, *, width: int = 3) -> Floats:
    """Running median over `width` samples (odd); keeps edges, removes spikes up to half the width."""
    half = _half(width)
    return _each(t, values, lambda x: np.asarray(np.nanmedian(_windows(x, half), axis=1)))


def moving_average(t: ArrayLike, values: ArrayLike, *, width: int = 3) -> Floats:
    """Running mean over `width` samples (odd); at the ends of a stretch over what remains of them."""
    half = _half(width)
    return _each(t, values, lambda x: np.asarray(np.nanmean(_windows(x, half), axis=1)))


def savitzky_golay(t: ArrayLike, values: ArrayLike, *, width: int = 5, order: int = 2) -> Floats:
    """Value at the centre of a polynomial fitted to `width` samples (odd; Savitzky & Golay, Anal Chem 1964).

    The ends of a stretch take the polynomial of its first and last full window; a stretch shorter than the window
    stays as it is. Raises ValueError unless 0 <= order < width.
    """
    half = _half(width)
    if not 0 <= order < width:
        raise ValueError(
            f"The order of the polynomial is {order}; it must lie between 0 and the width {width} less one."
        )
    # Row j of the hat matrix gives the polynomial's value at the window's sample j.
    design = np.vander(np.arange(-half, half + 1, dtype=np.float64), order + 1)
    hat = design @ np.linalg.pinv(design)

    def smooth(x: Floats) -> Floats:
        if len(x) < width:
            return x
        whole = sliding_window_view(x, width)
        return np.concatenate([hat[:half] @ whole[0], whole @ hat[half], hat[half + 1 :] @ whole[-1]])

    return _each(t, values, smooth)


def despike(t: ArrayLike, values: ArrayLike) -> Floats:
    """Remove one-sample spikes: the first heuristic of Stampe (Behav Res Methods Instrum Comput 1993).

    A sample above or below both its neighbours becomes the nearer of the two. Each axis is judged on its own, always
    against the unfiltered neighbours. What moves in one direction, a saccade above all, is untouched.
    """

    def one(x: Floats) -> Floats:
        if len(x) < 3:
            return x
        left, middle, right = x[:-2], x[1:-1], x[2:]
        spike = (middle - left) * (middle - right) > 0
        nearer = np.where(np.abs(middle - left) <= np.abs(middle - right), left, right)
        return np.concatenate([x[:1], np.where(spike, nearer, middle), x[-1:]])

    return _each(t, values, one)


def _each(t: ArrayLike, values: ArrayLike, function: Callable[[Floats], Floats]) -> Floats:
    """Apply a function to each unbroken stretch of each column."""
    times = np.asarray(t, dtype=np.float64)
    x = np.asarray(values, dtype=np.float64)
    if x.ndim not in (1, 2) or len(x) != len(times):
        raise ValueError(f"The values have shape {list(x.shape)}; [{len(times)}] or [{len(times)}, C] is needed.")
    out = np.full(x.shape, np.nan)
    if not len(x):
        return out
    columns = x[:, None] if x.ndim == 1 else x
    good: NDArray[np.bool_] = np.asarray(np.isfinite(columns).all(axis=1))
    starts, stops = runs(good)
    if len(times) > 1:
        breaks = holes(times, sample_step(times))
        breaks = breaks[good[breaks] & good[breaks - 1]]
        starts, stops = np.sort(np.r_[starts, breaks]), np.sort(np.r_[stops, breaks])
    result = out[:, None] if x.ndim == 1 else out
    for start, stop in zip(starts, stops, strict=True):
        for c in range(columns.shape[1]):
            result[start:stop, c] = function(columns[start:stop, c])
    return out


def _windows(x: Floats, half: int) -> Floats:
    """Windows of 2·half + 1 around each value, [N, 2·half + 1]; NaN beyond the ends."""
    edge = np.full(half, np.nan)
    return sliding_window_view(np.concatenate([edge, x, edge]), 2 * half + 1)


def _half(width: int) -> int:
    if width < 1 or width % 2 == 0:
        raise ValueError(f"The width of a filter is an odd number of samples, not {width}.")
    return width // 2
