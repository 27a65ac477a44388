"""Blinks: gaze lost for a short while, with the false movement around it.

While the lid covers the pupil its measured centre runs away, mostly down, and returns when the eye opens: at both edges
of a blink the gaze seems to jump. Those samples are part of the blink (as in Nyström & Holmqvist, Behav Res Methods
2010, who remove them, and as human coders mark them), not saccades.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .compiled import Loop, frozen
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
    lost = times[stops - 1] - times[starts]
    keep = lost + step >= s.lost_s - 1e-9
    starts, stops, lost = starts[keep], stops[keep], lost[keep]
    first, last = np.empty_like(starts), np.empty_like(starts)
    for edges, way, out in ((starts, -1, first), (stops - 1, 1, last)):
        _settle(
            n, frozen(times), frozen(speed), frozen(good), frozen(edges), way, fast, calm, s.join_s, s.reach_s, out
        )  # fmt: skip
    blinks = (times[last] - times[first] + step >= s.shortest_s - 1e-9) & (lost <= s.longest_s)
    for start, stop in zip(first[blinks], last[blinks], strict=True):
        blink[start : stop + 1] = True
    return blink


@Loop
def _settle(
    t: Any, speed: Any, good: Any, edges: Any, way: int,
    fast: float, calm: float, join: float, reach: float,
    out: Any,
) -> None:  # fmt: skip
    """The last sample of the false movement that adjoins each loss, going `way` (-1 or 1) from its edge."""
    n = len(t)
    for i in range(len(edges)):
        edge = edges[i]
        last = edge
        k = edge + way
        while k >= 0 and k < n and abs(t[k] - t[edge]) <= reach and abs(t[k] - t[last]) <= join:
            if not good[k] or speed[k] > fast:
                last = k
            k += way
        if last != edge:
            k = last + way
            while k >= 0 and k < n and speed[k] > calm and abs(t[k] - t[edge]) <= reach:
                last = k
                k += way
        out[i] = last
