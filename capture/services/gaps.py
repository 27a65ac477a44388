"""Finding the time for which samples were expected and are not there."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from capture.frames import GAZE, GAZE_CHANNELS
from capture.models import Gap, Recording

_NUMBER = 1 + GAZE_CHANNELS.index("FrameNumber")


def sample_gaps(recording: Recording, epoch: UUID, samples: NDArray[np.float64]) -> list[Gap]:
    """Gaps within one epoch's gaze samples [N, 31], in order of arrival: by frame number, by time without one.

    A step of the frame number other than 1 is a gap; one that goes back (the tracker started again) has an unknown
    number missing. Trackers without numbers: an interval of more than 1.5 sample periods.
    """
    if len(samples) < 2:
        return []
    numbers, times = samples[:, _NUMBER], samples[:, 0]
    steps, spans = np.diff(numbers), np.diff(times)
    counted = np.isfinite(steps)
    period = float(np.median(spans))
    late = (spans > 1.5 * period) if period > 0 else np.zeros(len(spans), dtype=bool)
    out = []
    for i in np.flatnonzero(np.where(counted, steps != 1, late)):
        missing: int | None
        if counted[i]:
            missing = int(steps[i]) - 1 if steps[i] > 1 else None
        else:
            missing = max(round(float(spans[i]) / period) - 1, 1)
        out.append(
            Gap(
                recording=recording,
                kind=Gap.Kind.SAMPLES,
                stream=GAZE,
                epoch=epoch,
                after_frame=int(numbers[i]) if np.isfinite(numbers[i]) else None,
                before_frame=int(numbers[i + 1]) if np.isfinite(numbers[i + 1]) else None,
                missing=missing,
                t0=float(times[i]),
                t1=float(times[i + 1]),
            )
        )
    return out


def silence_gaps(recording: Recording, epoch: UUID, told: Any) -> list[Gap]:
    """The agent's own report of silence at the start or the end of an epoch, which samples cannot show."""
    out = []
    for row in told if isinstance(told, list) else []:
        if not isinstance(row, dict) or (row.get("after_frame") is not None and row.get("before_frame") is not None):
            continue
        t0, t1 = row.get("t0"), row.get("t1")
        if not all(isinstance(t, (int, float)) and np.isfinite(t) for t in (t0, t1)):
            continue
        out.append(
            Gap(
                recording=recording,
                kind=Gap.Kind.SILENCE,
                stream=GAZE,
                epoch=epoch,
                after_frame=_whole(row.get("after_frame")),
                before_frame=_whole(row.get("before_frame")),
                missing=None,
                t0=float(t0),  # type: ignore[arg-type]
                t1=float(t1),  # type: ignore[arg-type]
            )
        )
    return out


def _whole(value: Any) -> int | None:
    return int(value) if isinstance(value, (int, float)) and np.isfinite(value) and abs(value) < 2**62 else None
