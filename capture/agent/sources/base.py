"""What every eye tracker is to the agent, however it is reached.

A source delivers, on a thread of its own, blocks of samples float64 [n, 1 + 30] (LSL seconds, then the channels of
`capture.frames.GAZE_CHANNELS`) with the tracker's own times, untouched, and beside them what it sent that has no place
there. It measures the tracker's clock against this machine's, and says in sentences what is worth knowing: a connection
lost, a display area moved, times that go backwards. It decides nothing about a recording except this: while one is held
(`hold`), no other tracker takes the place of the one it began with.
"""

from __future__ import annotations

import logging
import re
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from capture.frames import CLOCK_CHANNELS, EYES, GAZE_CHANNELS, channel_label

log = logging.getLogger(__name__)

Array = NDArray[np.float64]

#: Samples are believed to flow while the last one is younger than this.
FLOWING_S = 1.0
#: A fault is shown for so long after it was last seen.
SHOWN_S = 5.0
#: The same fault is told again after so long, with its number.
AGAIN_S = 10.0
#: A rate differs when the median interval differs by more than this share.
RATE_TOLERANCE = 0.1
#: Samples a rate is found from; it has changed when two such windows after each other agree on another.
RATE_WINDOW = 40
#: Screen coordinates whose size is looked at together.
UNIT_WINDOW = 400
#: A tracker's clock and this machine's may differ by so much when the tracker claims to share it.
CLOCK_LIMIT_S = 1e-3

EMPTY: Array = np.empty((0, 1 + len(GAZE_CHANNELS)))

_NUMBER = 1 + GAZE_CHANNELS.index("FrameNumber")
_SCREEN = [1 + GAZE_CHANNELS.index(channel_label(eye, kind)) for eye in EYES for kind in ("ScreenX", "ScreenY")]


@dataclass(frozen=True)
class Note:
    """Something worth knowing about the tracker: when (LSL seconds), what kind, and one sentence.

    `fault` says that data are affected; then the page shows it.
    """

    t: float
    kind: str
    text: str
    fault: bool = False

    def to_dict(self) -> dict[str, Any]:
        return {"t": self.t, "kind": self.kind, "text": self.text, "fault": self.fault}


@dataclass(frozen=True)
class Tracker:
    """The connected tracker, as it describes itself.

    `rate_hz` is what its samples show; `nominal_hz` what its description says. `clock` names the clock of the samples'
    times: "lsl", or "tobii system clock" for `system_time_stamp` / 1e6, which is then also LSL time within 1 ms.
    `described` are its channels as it sends them: label, type, unit, eye.
    """

    name: str
    source_id: str
    rate_hz: float
    acquisition: Mapping[str, str]
    display: Mapping[str, float | None]
    present: Sequence[str]
    nominal_hz: float = 0.0
    raw_labels: Sequence[str] = ()
    raw_units: Sequence[str] = ()
    remarks: Sequence[str] = ()
    clock: str = "lsl"
    described: Sequence[Sequence[str]] = ()

    @property
    def serial(self) -> str:
        return self.acquisition.get("serial_number") or self.source_id

    @property
    def identity(self) -> tuple[Any, ...]:
        """What must stay the same within one recording."""
        return (
            self.source_id,
            self.serial,
            tuple(sorted(self.display.items())),
            tuple(self.present),
            tuple(self.raw_labels),
            tuple(self.raw_units),
        )

    def streams(self) -> dict[str, dict[str, Any]]:
        """The description of the recording's streams that opens an upload."""
        out: dict[str, dict[str, Any]] = {
            "1": {
                "name": "gaze",
                "labels": list(GAZE_CHANNELS),
                "present": list(self.present),
                "rate_hz": self.rate_hz,
                "nominal_rate_hz": self.nominal_hz,
                "source_id": self.source_id,
                "clock": self.clock,
                "display": dict(self.display),
                "device": {"name": self.name, **self.acquisition},
                "channels_as_sent": [list(c) for c in self.described],
                "remarks": list(self.remarks),
            },
            "2": {"name": "clock", "labels": list(CLOCK_CHANNELS)},
        }
        if self.raw_labels:
            out["3"] = {"name": "source", "labels": list(self.raw_labels), "units": list(self.raw_units)}
        return out


class Calibration(Protocol):
    """The tracker's own calibration. All methods block; they raise `CalibrationError`. x, y normalised (0 to 1)."""

    def enter(self) -> None: ...
    def collect(self, x: float, y: float) -> bool:
        """Collect at one point; False if the tracker saw too little and the point has to be shown again."""
        ...

    def discard(self, x: float, y: float) -> None: ...
    def compute(self) -> CalibrationResult:
        """Compute and apply; the calibration is in use when this returns with `ok`."""
        ...

    def leave(self) -> None: ...


class CalibrationError(RuntimeError):
    """The tracker refused a step of its calibration. The message is one sentence."""


@dataclass(frozen=True)
class CalibrationResult:
    """What a calibration came to. `eyes` are those it succeeded for; `data` is what the tracker can be given again.

    A success for one eye only carries no points: the SDK returns none then.
    """

    eyes: tuple[str, ...]
    points: tuple[dict[str, Any], ...] = ()
    data: bytes = b""

    @property
    def ok(self) -> bool:
        return bool(self.eyes)


@dataclass
class Listeners:
    """Where a source delivers. Every function is called on one of the source's threads.

    gaze(samples [n, 31], raw [n, 1 + k] or None): as they come; an empty array when there were none for a while.
    clock(row [1, 4]): LSL time, then `capture.frames.CLOCK_CHANNELS`.
    note(note): something worth knowing. changed(tracker): another description holds from the next block on.
    """

    gaze: Callable[[Array, Array | None], None]
    clock: Callable[[Array], None] = lambda row: None
    note: Callable[[Note], None] = lambda note: None
    changed: Callable[[Tracker], None] = lambda tracker: None


class Source:
    """The part all sources share. A subclass runs `_run` on a thread, and hands on what comes through `_deliver`."""

    #: The tracker's own calibration, where it has one that can be driven from here.
    calibration: Calibration | None = None

    def __init__(
        self,
        listeners: Listeners,
        clock: Callable[[], float],
        display: Mapping[str, float | None] | None = None,
    ) -> None:
        self._listeners, self._clock = listeners, clock
        self._known_display = dict(display or {})
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._guarded, name="tracker", daemon=True)
        self._tracker: Tracker | None = None
        self._held: tuple[Any, ...] | None = None
        self._last_sample = -np.inf
        self._watch = Watch(0.0)
        self._shown: dict[str, tuple[float, str]] = {}
        self._told: dict[str, float] = {}
        self._counted: dict[str, int] = defaultdict(int)
        #: Seconds to add to a sample's time to have it on this machine's LSL clock.
        self.correction = 0.0

    # ── for the agent ─────────────────────────────────────────────────────────────────────────────────────────────────

    def start(self) -> None:
        self._thread.start()

    def stop(self, wait_s: float = 1.2) -> None:
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(wait_s)

    @property
    def tracker(self) -> Tracker | None:
        """The connected tracker; None while there is none."""
        return self._tracker

    @property
    def flowing(self) -> bool:
        """Whether samples are arriving."""
        return self._tracker is not None and self._clock() - self._last_sample < FLOWING_S

    @property
    def problem(self) -> str:
        """What is wrong with the tracker or its data just now, in one sentence; empty while all is well."""
        now = self._clock()
        for until, text in list(self._shown.values()):
            if until > now:
                return text
        return ""

    def hold(self) -> Tracker | None:
        """A recording begins: until `release`, only this very tracker, described as it is now, is read.

        Returns that tracker; None if there is none to hold.
        """
        tracker = self._tracker
        self._held = tracker.identity if tracker else None
        return tracker

    def release(self) -> None:
        self._held = None

    def calibrated(self, calibration_id: str) -> None:
        """The tracker uses this calibration from now on: its description says so."""
        tracker = self._tracker
        if tracker is not None:
            self._tracker = replace(tracker, acquisition={**tracker.acquisition, "calibration_id": calibration_id})
            self._listeners.changed(self._tracker)

    # ── for subclasses ────────────────────────────────────────────────────────────────────────────────────────────────

    def _display(self, told: Mapping[str, float | None]) -> dict[str, float | None]:
        """The display as the tracker tells it, and where it is silent, as the person at the station has told it."""
        keys = ("width_px", "height_px", "width_mm", "height_mm", "distance_mm")
        return {key: told[key] if told.get(key) is not None else self._known_display.get(key) for key in keys}

    def _run(self) -> None:
        raise NotImplementedError

    def _guarded(self) -> None:
        while not self._stop.is_set():
            try:
                self._run()
            except Exception:
                # Whatever a listener or a library did, the tracker must be looked for again.
                log.exception("reading the tracker failed")
                self._tracker = None
                self._stop.wait(0.5)

    def _note(self, kind: str, text: str, *, fault: bool = False, shown_s: float = SHOWN_S) -> None:
        """Tell once what happened; a fault is shown for a while."""
        now = self._clock()
        if fault:
            self._shown[kind] = now + shown_s, text
        (log.warning if fault else log.info)("%s", text)
        self._listeners.note(Note(now, kind, text, fault))

    def _recurring(self, kind: str, count: int, sentence: str, shown_s: float = SHOWN_S) -> None:
        """Tell of a fault that comes again and again at once, and then every ten seconds with its number."""
        now = self._clock()
        self._counted[kind] += count
        text = sentence.replace("{n}", str(self._counted[kind]))
        self._shown[kind] = now + shown_s, text
        if now - self._told.get(kind, -np.inf) >= AGAIN_S:
            self._told[kind] = now
            self._note(kind, text, fault=True, shown_s=shown_s)

    def _refuse(self, name: str, sentence: str, shown_s: float = SHOWN_S) -> None:
        """A tracker that cannot be used: told when it is new, shown while it is so."""
        text = f"Tracker {name} cannot be used: {sentence}"
        kind = f"refused {name}"
        # A measurement in it may differ each time; that is no news.
        if _words(self._shown.get(kind, (0.0, ""))[1]) != _words(text):
            self._note(kind, text, fault=True)
        self._shown[kind] = self._clock() + shown_s, text

    def _admits(self, tracker: Tracker) -> bool:
        """Whether the running recording, if there is one, may take samples of this tracker."""
        if self._held is None or tracker.identity == self._held:
            return True
        same = tracker.source_id == self._held[0]
        what = "describes its channels or display differently now" if same else f"is not {self._held[0]}"
        self._refuse(
            tracker.source_id, f"it {what}, with which this recording began: bring that back, or end the read."
        )
        return False

    def _take(self, tracker: Tracker) -> None:
        """This tracker is read from now on."""
        self._tracker = tracker
        self._watch = Watch(tracker.rate_hz)
        self._shown = {}
        self._last_sample = self._clock()
        self._note(
            "connected",
            f"Tracker {tracker.name} ({tracker.source_id}) is connected at {tracker.rate_hz:g} samples/s.",
        )
        for remark in tracker.remarks:
            self._note("remark", f"Tracker {tracker.source_id}: {remark}")
        if tracker.nominal_hz and abs(tracker.rate_hz / tracker.nominal_hz - 1) > RATE_TOLERANCE:
            self._note(
                "rate",
                f"Tracker {tracker.source_id} describes itself with {tracker.nominal_hz:g} samples/s and sends "
                f"{tracker.rate_hz:g}: the rate it sends is taken.",
            )
        self._listeners.changed(tracker)

    def _lose(self, reason: str) -> None:
        tracker, self._tracker = self._tracker, None
        if tracker is not None:
            self._note("lost", f"Tracker {tracker.source_id} is gone: {reason}", fault=True)

    def _deliver(self, samples: Array, raw: Array | None = None) -> None:
        """Hand on samples as they came, after a look at them."""
        if len(samples):
            self._last_sample = self._clock()
            for finding in self._watch.look(samples):
                if finding.rate_hz and self._tracker is not None:
                    self._rate_changed(finding.rate_hz)
                else:
                    self._recurring(finding.kind, finding.count, finding.sentence)
        self._listeners.gaze(samples, raw)

    def _rate_changed(self, rate_hz: float) -> None:
        assert self._tracker is not None
        old = self._tracker
        self._tracker = replace(old, rate_hz=rate_hz)
        self._note(
            "rate",
            f"Tracker {old.source_id} has changed its rate from {old.rate_hz:g} to {rate_hz:g} samples/s: if that was "
            "not intended, set it back in the tracker's program.",
            fault=True,
        )
        self._listeners.changed(self._tracker)

    def _measured(self, correction: float, uncertainty: float, remote: float) -> None:
        self.correction = correction
        self._listeners.clock(np.array([[self._clock(), correction, uncertainty, remote]]))


def _words(text: str) -> str:
    return re.sub(r"[\d.]+", "#", text)


def rate_of(times: Array) -> float:
    """Samples per second by the median interval of increasing times [n]; 0 if that says nothing.

    Intervals that are zero or negative, and those that lead over a gap, do not count.
    """
    steps = np.diff(times)
    steps = steps[np.isfinite(steps) & (steps > 0)]
    if not len(steps):
        return 0.0
    return nice(1.0 / float(np.median(steps)))


def nice(rate_hz: float) -> float:
    """The rate a person would name: whole numbers and tenths where they lie within half a percent."""
    for digits in (-1, 0, 1):
        rounded = round(rate_hz, digits)
        if rounded and abs(rounded / rate_hz - 1) < 0.002:
            return rounded
    return round(rate_hz, 2)


@dataclass(frozen=True)
class Finding:
    """Something wrong in a block; `rate_hz` if it is a change of rate. `sentence` has a place for the number so far."""

    kind: str
    count: int
    sentence: str
    rate_hz: float = 0.0


@dataclass
class Watch:
    """Looks at samples in order of arrival and finds what a recording must not pass over in silence.

    It changes nothing: a time that goes backwards is stored as it was sent, and said to have gone backwards.
    """

    rate_hz: float
    _last: float = np.nan
    _number: float = np.nan
    _other: float = 0.0
    _times: list[Array] = field(default_factory=list)
    _screen: list[Array] = field(default_factory=list)

    def look(self, samples: Array) -> list[Finding]:
        """Findings in samples [n >= 1, 31]."""
        times, numbers = samples[:, 0], samples[:, _NUMBER]
        out = []
        finite = np.isfinite(times)
        if not finite.all():
            out.append(
                Finding(
                    "times",
                    int((~finite).sum()),
                    "{n} samples came with a time that is not a number: they are stored but cannot be placed; restart "
                    "the tracker's program.",
                )
            )
        good = times[finite]
        steps = np.diff(good, prepend=self._last)
        back, twice = int((steps < 0).sum()), int((steps == 0).sum())
        if back:
            out.append(
                Finding(
                    "order",
                    back,
                    "{n} times the tracker's time went backwards: samples are stored as they came; restart its "
                    "program, and look at this machine's clock.",
                )
            )
        if twice:
            out.append(
                Finding(
                    "repeated",
                    twice,
                    "{n} samples repeat the time of the one before them: they are stored as they came; the tracker's "
                    "program must give every sample its own time.",
                )
            )
        if len(good):
            self._last = float(good[-1])
        moves = np.diff(numbers, prepend=self._number)
        again = int((moves == 0).sum())
        if again:
            out.append(
                Finding(
                    "numbers",
                    again,
                    "{n} samples repeat the frame number of the one before them: they are stored as they came; samples "
                    "missing there cannot be counted.",
                )
            )
        self._number = float(numbers[-1])
        out += self._rate(good)
        out += self._units(samples)
        return out

    def _rate(self, times: Array) -> list[Finding]:
        self._times.append(times)
        if sum(map(len, self._times)) < RATE_WINDOW:
            return []
        rate, self._times = rate_of(np.concatenate(self._times)), []
        before, self._other = self._other, 0.0
        if not rate or not self.rate_hz or abs(rate / self.rate_hz - 1) <= RATE_TOLERANCE:
            return []
        if not before or abs(rate / before - 1) > RATE_TOLERANCE:
            self._other = rate
            return []
        self.rate_hz = rate
        return [Finding("rate", 1, "", rate)]

    def _units(self, samples: Array) -> list[Finding]:
        seen = samples[:, _SCREEN]
        self._screen.append(seen[np.isfinite(seen)])
        if sum(map(len, self._screen)) < UNIT_WINDOW:
            return []
        values, self._screen = np.concatenate(self._screen), []
        if float(np.mean((values >= -10) & (values <= 10))) >= 0.5:
            return []
        return [
            Finding(
                "units",
                len(values),
                f"The tracker's gaze has values such as {float(np.median(np.abs(values))):.4g}, which are not 0 to 1 "
                "of its display: it is stored as it came; look at the unit in the tracker's program.",
            )
        ]
