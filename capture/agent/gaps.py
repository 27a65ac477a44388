"""Finding samples that never came, while they are recorded (the agent) and when they are sealed (the server)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from capture.frames import GAZE, GAZE_CHANNELS

#: Silence at the beginning or the end of a recording is a gap when it is longer than this; so is a pause of a tracker
#: that goes on counting where it was.
SILENCE_S = 0.5
#: Companion streams are stamped by their programs, which are late now and then: a shorter pause is no gap.
COMPANION_SLACK_S = 0.1
#: Beyond this float64 holds no numbers one apart: what a device says there, or between two integers, is no count.
MAX_NUMBER = 2.0**53
FRAME_NUMBER = 1 + GAZE_CHANNELS.index("FrameNumber")

Array = NDArray[np.float64]


class GapFinder:
    """Finds samples that never came, by the stream's own sequence numbers; by time where it has none.

    Parameters
    ----------
    rate_hz
        Nominal rate; 0 for a stream without one, whose gaps only a sequence channel can show.
    since
        When samples were first expected (LSL seconds), if that is known.
    stream, number
        The stream, and which column holds its sequence number; None for a stream without one.
    slack_s
        By time, an interval is a gap when it is longer than 1.5 periods and than this.

    Attributes
    ----------
    gaps
        One dict a gap: stream, after_frame, before_frame, missing (None where nobody can know), t0, t1 (LSL seconds of
        the samples before and after; the nearest time there is where one of them has none) and place (the number of
        samples before it in this epoch).
    """

    def __init__(
        self,
        rate_hz: float,
        since: float | None = None,
        *,
        stream: int = GAZE,
        number: int | None = FRAME_NUMBER,
        slack_s: float = 0.0,
    ) -> None:
        self._since, self._stream, self._number = since, stream, number
        self._rate, self._slack = rate_hz, slack_s
        self._last: tuple[float, float] | None = None  # sequence number, time
        self._known = since if since is not None else 0.0  # the last time that was one
        self._place = 0
        self._untimed = self._back = self._repeated = 0
        self.gaps: list[dict[str, Any]] = []
        #: The first and the last time there was, LSL seconds.
        self.t0: float | None = None
        self.t1: float | None = None

    @property
    def samples(self) -> int:
        return self._place

    @property
    def faults(self) -> list[str]:
        """What is wrong with the times, in sentences; the samples are kept as they came."""
        out = []
        for count, words in (
            (self._untimed, "have no time (NaN or infinite)"),
            (self._back, "lie before the sample that came before them"),
            (self._repeated, "repeat the time of the sample before them"),
        ):
            if count:
                out.append(f"{count} of {self._place} samples {words}.")
        return out

    def feed(self, samples: Array) -> None:
        """`samples` float64 [n, columns] in order of arrival, times in column 0."""
        if not len(samples):
            return
        finite = np.isfinite(samples[:, 0])
        times = np.where(finite, samples[:, 0], np.nan)
        numbered = self._number is not None and self._number < samples.shape[1]
        numbers = samples[:, self._number] if numbered else np.full(len(times), np.nan)
        numbers = np.where((np.abs(numbers) < MAX_NUMBER) & (numbers == np.floor(numbers)), numbers, np.nan)
        self._untimed += int(np.sum(~finite))
        first = self._last is None
        if finite.any():
            self.t0 = float(times[finite][0]) if self.t0 is None else self.t0
            self.t1 = float(times[finite][-1])
        if first and self._since is not None and self._timed and times[0] - self._since > SILENCE_S:
            self._add(None, numbers[0], None, self._since, float(times[0]), 0)
        start = self._place
        if self._last is not None:
            numbers = np.concatenate(([self._last[0]], numbers))
            times = np.concatenate(([self._last[1]], times))
            start -= 1
        self._last = (float(numbers[-1]), float(times[-1]))
        self._place += len(samples)
        with np.errstate(over="ignore"):
            steps, spans = np.diff(numbers), np.diff(times)
        self._back += int(np.sum(spans < 0))
        self._repeated += int(np.sum(spans == 0))
        counted = np.isfinite(steps)
        late = spans > max(1.5 / self._rate, self._slack) if self._rate > 0 else np.zeros(len(spans), dtype=bool)
        paused = (spans > SILENCE_S) & late
        for i in np.flatnonzero(np.where(counted, (steps != 1) | paused, late)):
            missing: int | None
            if not counted[i]:
                periods = float(spans[i]) * self._rate
                missing = max(round(periods) - 1, 1) if periods < MAX_NUMBER else None
            else:
                # Numbers that go back are a tracker that started again, and one that paused may not have counted: how
                # much is missing is not known.
                missing = int(steps[i]) - 1 if steps[i] > 1 else None
            if np.isnan(times[i]) and np.isnan(times[i + 1]):
                earlier = np.flatnonzero(np.isfinite(times[:i]))
                self._known = float(times[earlier[-1]]) if len(earlier) else self._known
            self._add(numbers[i], numbers[i + 1], missing, float(times[i]), float(times[i + 1]), start + int(i) + 1)
        if self.t1 is not None:
            self._known = self.t1

    def finish(self, until: float) -> None:
        """No more samples are expected after `until` (LSL seconds): silence before it is a gap."""
        number, last = self._last or (None, self._since)
        if self._timed and last is not None and until - last > SILENCE_S:
            self._add(number, None, None, last, until, self._place)

    @property
    def _timed(self) -> bool:
        """Whether samples are expected at any moment: a stream of rare events may be silent."""
        return self._rate > 0 or self._number is not None

    def _add(
        self, after: float | None, before: float | None, missing: int | None, t0: float, t1: float, place: int
    ) -> None:
        near = next((t for t in (t0, t1) if np.isfinite(t)), self._known)
        self.gaps.append(
            {
                "stream": self._stream,
                "after_frame": int(after) if after is not None and np.isfinite(after) else None,
                "before_frame": int(before) if before is not None and np.isfinite(before) else None,
                "missing": missing,
                "t0": t0 if np.isfinite(t0) else near,
                "t1": t1 if np.isfinite(t1) else near,
                "place": place,
            }
        )


def finder_of(stream: int, told: dict[str, Any], since: float | None = None) -> GapFinder:
    """The finder for a stream as its epoch describes it (`rate_hz`; for companions `sequence`, a channel's index)."""
    rate = told.get("rate_hz")
    rate = float(rate) if isinstance(rate, int | float) and np.isfinite(rate) and rate > 0 else 0.0
    if stream == GAZE:
        return GapFinder(rate, since)
    at = told.get("sequence")
    number = 1 + at if isinstance(at, int) and at >= 0 else None
    return GapFinder(rate, since, stream=stream, number=number, slack_s=COMPANION_SLACK_S)
