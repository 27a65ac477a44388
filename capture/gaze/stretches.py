"""Gaze samples as they came, brought into one order of time: nothing is mixed, and what is left out is counted.

A tracker's times may be missing (NaN), repeated, swapped by a few milliseconds or set back as a whole; an agent that
was killed begins anew, perhaps with another tracker, display or calibration. What was recorded stays as it is; here it
is decided what of it can be placed in time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capture.frames import GAZE_CHANNELS

from . import clocks
from .display import Display

Floats = NDArray[np.float64]

#: Samples that arrive in the wrong order are sorted; a step back by more than this is another clock, seconds.
REORDER_S = 0.05
#: After a silence of so many seconds the next samples stand for themselves: a single wild time moves nothing else.
SILENCE_S = 1.0


@dataclass(frozen=True)
class Stretch:
    """What one agent recorded of one tracker in one go.

    Attributes
    ----------
    samples
        float64 [N, 31]: the tracker's LSL seconds, then the 30 channels of `capture.frames.GAZE_CHANNELS`.
    display
        The display they were measured on.
    correction
        Each eye's correction from the calibration that held; an eye without one is not used.
    clock
        Measurements of the tracker's clock by the agent, [K, 4] as in stream 2; None if it is the agent's own.
    """

    samples: Floats
    display: Display
    correction: Mapping[str, Any]
    clock: Floats | None = None


@dataclass(frozen=True)
class Disorder:
    """Samples that could not be used as they came, counted.

    without_time (NaN), repeated (the time of the sample before, left out) and overlapping (within a time that a longer
    piece covers, left out) are lost to the track; reversed ones were put in order.
    """

    without_time: int = 0
    repeated: int = 0
    overlapping: int = 0
    reversed: int = 0

    @property
    def left_out(self) -> int:
        return self.without_time + self.repeated + self.overlapping

    def to_dict(self) -> dict[str, int]:
        return asdict(self)


def in_order(stretches: Sequence[Stretch]) -> tuple[list[Stretch], Disorder]:
    """Pieces whose times strictly ascend and do not overlap, in order, in the agent's LSL time; and what that took.

    Of two that overlap, the one with more samples keeps its time, and the other only what lies outside it.

    Raises
    ------
    ValueError
        Samples of another shape.
    """
    found: list[Stretch] = []
    counts = dict.fromkeys(asdict(Disorder()), 0)
    for stretch in stretches:
        rows = np.array(stretch.samples, dtype=np.float64)
        if rows.ndim != 2 or rows.shape[1] != 1 + len(GAZE_CHANNELS):
            raise ValueError(f"Gaze samples have shape [N, {1 + len(GAZE_CHANNELS)}], got {list(rows.shape)}.")
        timed = np.isfinite(rows[:, 0])
        counts["without_time"] += int((~timed).sum())
        rows = rows[timed]
        if stretch.clock is not None:
            rows[:, 0] += clocks.tracker_offset(rows[:, 0], stretch.clock)[0]
        step = np.diff(rows[:, 0])
        for run in np.split(rows, np.flatnonzero((step < -REORDER_S) | (step > SILENCE_S)) + 1):
            counts["reversed"] += int((run[:, 0] < np.maximum.accumulate(run[:, 0])).sum())
            run = run[np.argsort(run[:, 0], kind="stable")]
            again = np.r_[False, np.diff(run[:, 0]) <= 0][: len(run)]
            counts["repeated"] += int(again.sum())
            found.append(replace(stretch, samples=run[~again], clock=None))
    kept: list[Stretch] = []
    for piece in sorted(found, key=lambda p: -len(p.samples)):
        t = piece.samples[:, 0]
        free = np.ones(len(t), dtype=bool)
        for other in kept:
            free &= (t < other.samples[0, 0]) | (t > other.samples[-1, 0])
        counts["overlapping"] += int((~free).sum())
        if free.any():
            kept.append(replace(piece, samples=piece.samples[free]))
    return sorted(kept, key=lambda p: p.samples[0, 0]), Disorder(**counts)
