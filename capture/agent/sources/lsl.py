"""The eye tracker as the agent sees it: whatever Gaze stream is on the Lab Streaming Layer of this machine.

One thread looks for a stream, reads it every 20 ms, and looks again when it is lost; another measures its clock.
Samples reach their listeners as float64 [n, 1 + 30] in the order of `capture.frames.GAZE_CHANNELS`, with the tracker's
own LSL times, untouched.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capture.agent import lsl
from capture.frames import CLOCK_CHANNELS, GAZE_CHANNELS

log = logging.getLogger(__name__)

POLL_S = 0.02
#: The clock is measured this often; liblsl itself renews its estimate every few seconds.
CLOCK_EVERY_S = 5.0
#: A connected stream that says nothing for so long is let go and looked for again.
SILENCE_S = 5.0
#: Samples are believed to flow while the last one is younger than this.
FLOWING_S = 1.0

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Tracker:
    """What the connected stream says about itself."""

    name: str
    source_id: str
    rate_hz: float
    acquisition: dict[str, str]
    display: dict[str, float | None]
    channels: lsl.ChannelMap

    @property
    def serial(self) -> str:
        return self.acquisition.get("serial_number", self.source_id)

    def streams(self) -> dict[str, dict[str, Any]]:
        """The description of the recording's streams that opens an upload."""
        return {
            "1": {
                "name": "gaze",
                "labels": list(GAZE_CHANNELS),
                "present": self.channels.present,
                "rate_hz": self.rate_hz,
                "source_id": self.source_id,
                "display": self.display,
                "device": {"name": self.name, **self.acquisition},
            },
            "2": {"name": "clock", "labels": list(CLOCK_CHANNELS)},
        }


class LslSource:
    """Reads the Gaze stream of the session for as long as it runs.

    Parameters
    ----------
    on_gaze
        Called on the reading thread with samples [n, 31] as they come, and with an empty array when a poll found none.
    on_clock
        Called on the clock thread with one row [1, 4]: LSL time, then `capture.frames.CLOCK_CHANNELS`.
    source_id
        Which stream to read where there are several; any by default.
    """

    def __init__(
        self, on_gaze: Callable[[Array], None], on_clock: Callable[[Array], None], source_id: str | None = None
    ) -> None:
        self._pylsl = lsl.load()
        self._on_gaze, self._on_clock, self._wanted = on_gaze, on_clock, source_id
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tracker", daemon=True)
        self._tracker: Tracker | None = None
        self._last_sample = -np.inf
        self._refused: set[str] = set()
        self.correction = 0.0

    def start(self) -> None:
        self._thread.start()

    def stop(self, wait_s: float = 1.2) -> None:
        self._stop.set()
        self._thread.join(wait_s)

    @property
    def tracker(self) -> Tracker | None:
        """The connected tracker; None while there is none."""
        return self._tracker

    @property
    def flowing(self) -> bool:
        """Whether samples are arriving."""
        return self._tracker is not None and self._pylsl.local_clock() - self._last_sample < FLOWING_S

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                inlet, tracker = self._connect()
            except (RuntimeError, TimeoutError) as error:
                log.warning("the tracker went away while it was being connected: %s", error)
                continue
            if inlet is None or tracker is None:
                self._on_gaze(np.empty((0, 1 + len(GAZE_CHANNELS))))
                continue
            log.info("tracker %s (%s) at %g Hz", tracker.name, tracker.source_id, tracker.rate_hz)
            self._tracker = tracker
            over = threading.Event()
            clock = threading.Thread(target=self._measure, args=(inlet, over), name="clock", daemon=True)
            clock.start()
            try:
                self._read(inlet, tracker)
            except RuntimeError as error:  # pylsl.LostError is one
                log.warning("tracker %s is gone: %s", tracker.source_id, error or "connection lost")
            except Exception:
                # Whatever a listener did, the next stream must still be read.
                log.exception("reading tracker %s failed", tracker.source_id)
            finally:
                self._tracker = None
                over.set()

    def _connect(self) -> tuple[Any, Tracker | None]:
        found = self._pylsl.resolve_byprop("type", lsl.GAZE_TYPE, 1, 1.0)
        if self._wanted:
            found = [info for info in found if info.source_id() == self._wanted]
        if not found:
            return None, None
        found.sort(key=lambda info: info.source_id())
        others = sorted({info.source_id() for info in found})
        if len(others) > 1:
            log.warning(
                "several gaze streams, taking %s; name another with --tracker: %s", others[0], ", ".join(others)
            )
        for candidate in found:
            # recover=False: a lost stream is said to be lost, where recovering would silently skip what it missed.
            inlet = self._pylsl.StreamInlet(candidate, max_buflen=360, recover=False)
            info = inlet.info(timeout=3.0)
            try:
                if inlet.channel_format == self._pylsl.cf_string:
                    raise ValueError("The stream carries text.")
                channels = lsl.map_channels(lsl.read_channels(info))
            except ValueError as error:
                if info.uid() not in self._refused:
                    self._refused.add(info.uid())
                    log.error("gaze stream %s cannot be used: %s", info.source_id(), error)
                self._stop.wait(0.5)
                continue
            inlet.open_stream(timeout=3.0)
            tracker = Tracker(
                info.name(),
                info.source_id(),
                info.nominal_srate(),
                lsl.read_children(info, "acquisition"),
                lsl.read_display(info),
                channels,
            )
            return inlet, tracker
        return None, None

    def _read(self, inlet: Any, tracker: Tracker) -> None:
        clock = self._pylsl.local_clock
        buffer = np.empty((4096, inlet.channel_count), dtype=inlet.np_dtype)
        self._last_sample = clock()
        empty = np.empty((0, 1 + len(GAZE_CHANNELS)))
        while not self._stop.wait(POLL_S):
            while True:
                _, times = inlet.pull_chunk(timeout=0.0, max_samples=len(buffer), dest_obj=buffer)
                n = len(times)
                if n:
                    self._last_sample = clock()
                    self._on_gaze(tracker.channels.standard(np.array(times), buffer[:n]))
                if n < len(buffer):
                    break
            if not n:
                self._on_gaze(empty)
                if clock() - self._last_sample > SILENCE_S:
                    log.warning("tracker %s sends nothing; looking for it again", tracker.source_id)
                    return

    def _measure(self, inlet: Any, over: threading.Event) -> None:
        """The clock correction every few seconds, in a thread of its own because the first estimate blocks."""
        while not (over.is_set() or self._stop.is_set()):
            try:
                correction, uncertainty, remote = lsl.time_correction(inlet, 2.0)
            except TimeoutError:
                continue
            except RuntimeError:
                return
            self.correction = correction
            self._on_clock(np.array([[self._pylsl.local_clock(), correction, uncertainty, remote]]))
            over.wait(CLOCK_EVERY_S)
