"""Blinks: gaze lost for a short while, with the false movement around it.

While the lid covers the pupil its measured centre runs away, mostly down, and returns when the eye opens: at both edges
of a blink the gaze seems to jump. Those samples are part of the blink (as in Nyström & Holmqvist, Behav Res Methods
2010, who remove them, and as human coders mark them), not saccades.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .table import runs
from .velocity import sample_step

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Settings:
    """When lost gaze is a blink; seconds.

    Attributes
    ----------
    join_s
        Losses so near to each other are one: the pupil seen for an instant through half-closed lids.
    lost_s
        Shorter losses are noise of the tracker.
    shortest_s, longest_s
        Bounds of a blink with its surroundings; what is longer is a reader who closed the eyes, looked away or left.
    reach_s
        False movement is looked for so far from the loss on either side.
    """

    join_s: float = 0.03
    lost_s: float = 0.02
    shortest_s: float = 0.05
    longest_s: float = 1.0
    reach_s: float = 0.15


def find(
    t: ArrayLike, good: Mask, speed: Floats, *, fast: float, calm: float, settings: Settings | None = None
) -> Mask:
    """Which samples belong to a blink, [N].

    Parameters
    ----------
    t
        Seconds, ascending, [N].
    good
        Where there is gaze (and a pupil, where the tracker tells), [N].
    speed
        °/s, [N]; NaN where there is none.
    fast, calm
        A blink's surroundings hold movement above `fast` and end where the gaze is slower than `calm`, °/s.
    settings
        Durations; the defaults if omitted.
    """
    s = settings or Settings()
    times = np.asarray(t, dtype=np.float64)
    n = len(times)
    blink = np.zeros(n, dtype=bool)
    starts, stops = runs(~good)
    if not len(starts) or n < 2:
        return blink
    step = sample_step(times)
    apart = times[starts[1:]] - times[stops[:-1] - 1] > s.join_s + step
    starts, stops = starts[np.r_[True, apart]], stops[np.r_[apart, True]]
    for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
        if times[stop - 1] - times[start] + step < s.lost_s - 1e-9:
            continue
        first = _settled(times, speed, good, start, -1, fast, calm, s)
        last = _settled(times, speed, good, stop - 1, 1, fast, calm, s)
        if s.shortest_s - 1e-9 <= times[last] - times[first] + step and times[stop - 1] - times[start] <= s.longest_s:
            blink[first : last + 1] = True
    return blink


def _settled(t: Floats, speed: Floats, good: Mask, edge: int, way: int, fast: float, calm: float, s: Settings) -> int:
    """The last sample of the false movement that adjoins a loss, going `way` (-1 or 1) from its edge."""
    last = edge
    k = edge + way
    while 0 <= k < len(t) and abs(t[k] - t[edge]) <= s.reach_s and abs(t[k] - t[last]) <= s.join_s:
        if not good[k] or speed[k] > fast:
            last = k
        k += way
    if last != edge:
        while 0 <= last + way < len(t) and speed[last + way] > calm and abs(t[last + way] - t[edge]) <= s.reach_s:
            last += way
    return last
