"""Gaps as rows: time for which samples were expected and are not there."""

from __future__ import annotations

from typing import Any, TypeGuard
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from capture.agent.gaps import GapFinder, finder_of
from capture.frames import FIRST_COMPANION, GAZE
from capture.models import Gap, Recording

#: No number that a station tells is as large: an integer may be, and float64 needs room for what is calculated from it.
MAX_VALUE = 1e100
#: Samples from which the rate of a gaze stream is taken that announces none.
_ENOUGH = 200

Floats = NDArray[np.float64]


class Waiting:
    """A gap finder for a stream as its epoch describes it; gaze announced without a rate shows it by its samples."""

    def __init__(self, stream: int, told: dict[str, Any]) -> None:
        self._stream, self._told = stream, dict(told)
        rate = told.get("rate_hz")
        known = isinstance(rate, int | float) and np.isfinite(rate) and rate > 0
        self._waiting: list[Floats] | None = [] if stream == GAZE and not known else None
        self._finder = finder_of(stream, self._told)

    def feed(self, samples: Floats) -> None:
        if self._waiting is None:
            self._finder.feed(samples)
            return
        self._waiting.append(samples)
        if sum(map(len, self._waiting)) >= _ENOUGH:
            self._go()

    def _go(self) -> None:
        rows, self._waiting = self._waiting or [], None
        if not rows:
            return
        spans = np.diff(np.concatenate([r[:, 0] for r in rows]))
        spans = spans[spans > 0]
        rate = 1 / float(np.median(spans)) if len(spans) else 0.0
        self._finder = finder_of(self._stream, {**self._told, "rate_hz": rate})
        for one in rows:
            self._finder.feed(one)

    @property
    def finder(self) -> GapFinder:
        """Fed with everything that came."""
        if self._waiting is not None:
            self._go()
        return self._finder


def sample_gaps(recording: Recording, epoch: UUID, samples: Floats) -> list[Gap]:
    """Gaps within one epoch's gaze samples [N, 31], in order of arrival: by frame number, by time without one.

    A step of the frame number other than 1 is a gap; one that goes back (the tracker started again) has an unknown
    number missing, and so has a pause over which the tracker did not count. Trackers without numbers: an interval of
    more than 1.5 sample periods.
    """
    told = recording.epochs.get(str(epoch), {}).get("streams", {}).get(str(GAZE)) or {}
    waiting = Waiting(GAZE, told)
    waiting.feed(samples)
    return rows_of(recording, epoch, waiting.finder)


def rows_of(recording: Recording, epoch: UUID, finder: GapFinder) -> list[Gap]:
    """What a finder found, as rows that are not yet saved."""
    return [Gap(recording=recording, kind=Gap.Kind.SAMPLES, epoch=epoch, **gap) for gap in finder.gaps]


def keep(rows: list[Gap]) -> None:
    """Store gaps; one that is stored already stays as it is.

    Raises ValueError for a gap without finite times, which SQLite would take for a conflict (NaN is NULL there) and
    pass over without a word.
    """
    for row in rows:
        if not (np.isfinite(row.t0) and np.isfinite(row.t1)):
            raise ValueError(f"A gap of stream {row.stream} in epoch {row.epoch} has no times ({row.t0}, {row.t1}).")
    Gap.objects.bulk_create(rows, ignore_conflicts=True)


def silence_gaps(recording: Recording, epoch: UUID, told: Any, samples: dict[int, int]) -> list[Gap]:
    """The agent's own report of silence at the start or the end of an epoch, which samples cannot show.

    `samples` is how many each stream has; what the agent says of gaps between them is found anew from the samples.
    """
    out = []
    for row in told if isinstance(told, list) else []:
        if not isinstance(row, dict) or (row.get("after_frame") is not None and row.get("before_frame") is not None):
            continue
        stream, t0, t1 = row.get("stream", GAZE), row.get("t0"), row.get("t1")
        if not (_is_number(t0) and _is_number(t1) and isinstance(stream, int) and stream in samples):
            continue
        place = _whole(row.get("place", 0)) or 0
        if (stream != GAZE and stream < FIRST_COMPANION) or place not in (0, samples[stream]):
            continue
        out.append(
            Gap(
                recording=recording,
                kind=Gap.Kind.SILENCE,
                stream=stream,
                epoch=epoch,
                after_frame=_whole(row.get("after_frame")),
                before_frame=_whole(row.get("before_frame")),
                missing=None,
                t0=float(t0),
                t1=float(t1),
                place=place,
            )
        )
    return out


def _whole(value: Any) -> int | None:
    return int(value) if _is_number(value) and abs(value) < 2**62 else None


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and abs(value) < MAX_VALUE
