"""From screen pixels to events in one call."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from capture.gaze.display import Display

from . import adaptive, blinks, idt, ivt
from .table import Events, Kind, tabulate
from .velocity import holes, sample_step, slopes, speed

Floats = NDArray[np.float64]
Algorithm = Literal["ivt", "idt", "adaptive"]
ALGORITHMS: tuple[Algorithm, ...] = ("ivt", "idt", "adaptive")

#: Gaze further outside the display than this share of its size is an artefact of half-closed lids.
OUTSIDE = 0.5
#: Fixations with only lost samples between them are one if those lasted no longer, seconds.
BRIDGE_S = 0.04


def gaze_present(px: ArrayLike, display: Display) -> NDArray[np.bool_]:
    """Which samples [N, 2] hold gaze, [N].

    Not NaN; not exactly (0, 0), by which many exporters mark a lost sample; not further outside the display than half
    its size.
    """
    x, y = np.asarray(px, dtype=np.float64).T
    w, h = display.width_px, display.height_px
    with np.errstate(invalid="ignore"):
        near = (x >= -OUTSIDE * w) & (x <= (1 + OUTSIDE) * w) & (y >= -OUTSIDE * h) & (y <= (1 + OUTSIDE) * h)
    return near & ((x != 0) | (y != 0))


def detect(
    t: ArrayLike, px: ArrayLike, display: Display, *, algorithm: Algorithm = "adaptive", valid: ArrayLike | None = None
) -> Events:
    """Find the events of one recording.

    Parameters
    ----------
    t
        Seconds, ascending, [N].
    px
        Gaze in screen px of the display, [N, 2]; see `gaze_present` for what counts as lost.
    display
        Where degrees come from.
    algorithm
        "ivt", "idt" or "adaptive", each with its defaults; blinks are found alike for all three.
    valid
        The tracker's own word (validity, or whether it saw a pupil) on each sample, [N]; all valid if omitted.

    Raises
    ------
    ValueError
        Arrays of other shapes, times that do not ascend or are not finite, an unknown algorithm.
    """
    if algorithm not in ALGORITHMS:
        raise ValueError(f"The algorithm {algorithm!r} is unknown; choose one of {', '.join(ALGORITHMS)}.")
    times = np.asarray(t, dtype=np.float64)
    xy = np.asarray(px, dtype=np.float64)
    n = len(times)
    if xy.shape != (n, 2):
        raise ValueError(f"Gaze has shape {list(xy.shape)}; [{n}, 2] is needed for {n} times.")
    if not (np.isfinite(times).all() and (np.diff(times) > 0).all()):
        raise ValueError("The times must be finite and ascend from sample to sample.")
    good = gaze_present(xy, display)
    if valid is not None:
        good &= np.asarray(valid, dtype=bool)
    whole = bool(good.all())
    if not whole:
        xy = np.where(good[:, None], xy, np.nan)
    degrees = display.to_degrees(xy)
    if n < 2:
        return tabulate(times, xy, degrees, np.full(n, Kind.UNDEFINED, dtype=np.int8), holes=_NONE, bridge_s=BRIDGE_S)
    step = sample_step(times)
    blink = np.zeros(n, dtype=bool)
    if algorithm == "adaptive":
        settings = adaptive.Settings()
        slope, limits = adaptive.measure(times, degrees, settings, step=step)
        pace = speed(slope)
        if not whole:
            blink = blinks.find(times, good, pace, fast=limits.peak, calm=limits.edge)
        seen = degrees if whole else np.where(blink[:, None], np.nan, degrees)
        labels = adaptive.classify(times, seen, settings=settings, slope=slope, limits=limits, step=step)
    else:
        pace = (
            speed(slopes(times, degrees, window_s=ivt.WINDOW_S, step=step)) if algorithm == "ivt" or not whole else _NO
        )
        if not whole:
            blink = blinks.find(times, good, pace, fast=2 * ivt.THRESHOLD_DEG_S, calm=ivt.THRESHOLD_DEG_S)
        seen = degrees if whole else np.where(blink[:, None], np.nan, degrees)
        if algorithm == "ivt":
            labels = ivt.classify(times, seen, pace=pace if whole else np.where(blink, np.nan, pace), step=step)
        else:
            labels = idt.classify(times, seen, step=step)
    labels[blink] = Kind.BLINK
    return tabulate(times, xy, degrees, labels, holes=holes(times, step), bridge_s=BRIDGE_S, step=step)


_NONE = np.zeros(0, dtype=np.int64)
_NO = np.zeros(0)
