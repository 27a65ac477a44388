"""Further numeric LSL streams of the station, recorded beside the gaze: TimeSync, pupil, mouse, external signals.

Each is wanted by name or type (`--also`), gets a stream number from 16 on and keeps it while the agent runs, and is
spooled as it comes: its own channels as float64 (integers beyond 2^53 lose their last digits), its own LSL times,
untouched. One thread polls all of them every 20 ms, which costs a quarter of a thread for each; another looks for those
that are not there yet, or no longer.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capture.agent import lsl
from capture.agent.spool import SETTLE_S
from capture.frames import FIRST_COMPANION, MAX_COMPANIONS

log = logging.getLogger(__name__)

POLL_S = 0.02
#: What is wanted and not there is looked for this often.
SEARCH_S = 1.0
#: A regular stream that is silent for so long is let go and looked for again: its program may have been killed.
SILENCE_S = 5.0
MAX_CHANNELS = 1024
#: Types of a channel that numbers the samples, and so shows its own gaps.
SEQUENCE_TYPES = {"framenumber", "sequencenumber", "sequence", "samplenumber"}

Array = NDArray[np.float64]


class _Unfit(Exception):  # noqa: N818
    """A stream that cannot be recorded beside the gaze. The message is one sentence."""


class _Inlet:
    """One connected companion."""

    def __init__(self, inlet: Any, uid: str, stream: int, told: dict[str, Any], now: float) -> None:
        self.inlet, self.uid, self.stream, self.told = inlet, uid, stream, told
        self.regular = told["rate_hz"] > 0
        self.buffer = np.empty((1024, inlet.channel_count), dtype=inlet.np_dtype)
        self.reached = -np.inf  # time of its last sample
        self.arrived = now


class Companions:
    """Reads every stream whose name or type is among `wanted`.

    Parameters
    ----------
    wanted
        Names or types of LSL streams. Text streams, gaze that an agent re-published, and gaze itself are left out.
    on_samples
        Called on the polling thread with the stream's number and samples [n, 1 + channels]; n may be 0.
    on_streams
        Called when a stream is there that was not before, with the descriptions of all there have been, by number.
    """

    def __init__(
        self,
        wanted: Sequence[str],
        on_samples: Callable[[int, Array], None],
        on_streams: Callable[[dict[str, dict[str, Any]]], None],
    ) -> None:
        self._pylsl = lsl.load()
        self._wanted = [name.strip() for name in wanted if name.strip()]
        self._on_samples, self._on_streams = on_samples, on_streams
        self._stop = threading.Event()
        self._mutex = threading.Lock()
        self._inlets: dict[str, _Inlet] = {}  # by the outlet's uid
        self._numbers: dict[str, int] = {}  # by what the stream says of itself
        self._streams: dict[str, dict[str, Any]] = {}
        self._refused: set[str] = set()
        self._polled = -np.inf
        self._threads = [
            threading.Thread(target=self._poll, name="companions", daemon=True),
            threading.Thread(target=self._search, name="companion search", daemon=True),
        ]

    def start(self) -> None:
        if self._wanted:
            for thread in self._threads:
                thread.start()

    def stop(self, wait_s: float = 1.5) -> None:
        self._stop.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(wait_s)

    def settle(self, until: float, patience_s: float) -> None:
        """Wait until what was measured up to `until` (LSL seconds) has been read.

        A regular stream has then sent a later sample, or has had `patience_s` seconds for it; an irregular one is
        believed after one more look. However slow the disk is, what has arrived by then is read, for up to 10 seconds.
        """
        now = self._pylsl.local_clock()
        deadline = now + patience_s
        while self._inlets and not self._stop.is_set() and now < deadline + SETTLE_S:
            with self._mutex:
                late = [one for one in self._inlets.values() if one.regular and one.reached <= until]
                polled = self._polled
            # A round that began after the deadline has read all that was there at the deadline.
            if polled > (deadline if late else until + 2 * POLL_S):
                return
            self._stop.wait(POLL_S / 2)
            now = self._pylsl.local_clock()

    def status(self) -> list[dict[str, Any]]:
        """What is wanted and whether it is there: `{"stream", "name", "type", "connected"}`."""
        with self._mutex:
            here = {one.stream for one in self._inlets.values()}
            return [
                {"stream": int(s), "name": told["name"], "type": told["type"], "connected": int(s) in here}
                for s, told in self._streams.items()
            ]

    # ── looking for them ──────────────────────────────────────────────────────────────────────────────────────────────

    def _search(self) -> None:
        while not self._stop.is_set():
            try:
                self._look()
            except (RuntimeError, TimeoutError) as error:
                log.warning("looking for companion streams failed: %s", error)
            except Exception:
                log.exception("looking for companion streams failed")
            self._stop.wait(SEARCH_S)

    def _look(self) -> None:
        found = self._pylsl.resolve_streams(0.5)
        with self._mutex:
            known = set(self._inlets)
        new = [
            info
            for info in sorted(found, key=lambda info: (info.name(), info.source_id(), info.uid()))
            if info.uid() not in known
            and (info.name() in self._wanted or info.type() in self._wanted)
            and not lsl.is_republished(info.source_id())
            and info.uid() not in self._refused
        ]
        connected = []
        for info in new:
            try:
                connected.append(self._connect(info))
            except _Unfit as refusal:
                self._refused.add(info.uid())
                log.error("companion stream %s", refusal)
            except (RuntimeError, TimeoutError) as error:
                log.warning("companion stream %s went away while it was being connected: %s", info.name(), error)
        if not connected:
            return
        with self._mutex:
            described = {**self._streams, **{str(one.stream): one.told for one in connected}}
            changed, self._streams = described != self._streams, described
        if changed:
            # Before their first sample is handed on: a recording must have a file for it.
            self._on_streams(described)
        with self._mutex:
            self._inlets.update({one.uid: one for one in connected})

    def _connect(self, info: Any) -> _Inlet:
        """Raises _Unfit, or what liblsl raises when the stream goes away meanwhile."""
        name = info.name()
        if info.type() == lsl.GAZE_TYPE:
            raise _Unfit(f"{name} is a gaze stream: choose it with --tracker.")
        if info.channel_format() == self._pylsl.cf_string:
            raise _Unfit(f"{name} carries text: only streams of numbers are recorded beside the gaze.")
        if info.channel_count() > MAX_CHANNELS:
            raise _Unfit(f"{name} has {info.channel_count()} channels: at most {MAX_CHANNELS} fit.")
        # recover=False: a lost stream is said to be lost, where recovering would silently skip what it missed.
        inlet = self._pylsl.StreamInlet(info, max_buflen=360, recover=False)
        told = describe(inlet.info(timeout=3.0))
        with self._mutex:
            number = self._number(told)
        if number is None:
            raise _Unfit(f"{name} is one too many: {MAX_COMPANIONS} companion streams are recorded.")
        inlet.open_stream(timeout=3.0)
        log.info("companion stream %d: %s (%s), %d channels", number, name, told["type"], info.channel_count())
        return _Inlet(inlet, info.uid(), number, told, self._pylsl.local_clock())

    def _number(self, told: dict[str, Any]) -> int | None:
        """The stream's number: its old one if it says the same of itself and nobody else has it now."""
        taken = {one.stream for one in self._inlets.values()}
        key = repr(sorted(told.items(), key=lambda item: item[0]))
        if key in self._numbers and self._numbers[key] not in taken:
            return self._numbers[key]
        number = FIRST_COMPANION + len(self._numbers)
        if number >= FIRST_COMPANION + MAX_COMPANIONS:
            return None
        self._numbers[key if key not in self._numbers else f"{key} {number}"] = number
        return number

    # ── reading them ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _poll(self) -> None:
        while not self._stop.wait(POLL_S):
            began = self._pylsl.local_clock()
            with self._mutex:
                inlets = list(self._inlets.items())
            for uid, one in inlets:
                try:
                    self._read(one)
                    if one.regular and began - one.arrived > SILENCE_S:
                        raise RuntimeError("it sends nothing")
                except RuntimeError as error:  # pylsl.LostError is one
                    log.warning("companion stream %s is gone: %s", one.told["name"], error or "connection lost")
                    with self._mutex:
                        self._inlets.pop(uid, None)
                except Exception:
                    log.exception("reading companion stream %s failed", one.told["name"])
            with self._mutex:
                self._polled = began

    def _read(self, one: _Inlet) -> None:
        while True:
            _, times = one.inlet.pull_chunk(timeout=0.0, max_samples=len(one.buffer), dest_obj=one.buffer)
            n = len(times)
            rows = np.empty((n, 1 + one.buffer.shape[1]))
            rows[:, 0], rows[:, 1:] = times, one.buffer[:n]
            self._on_samples(one.stream, rows)
            if n:
                one.reached, one.arrived = float(rows[-1, 0]), self._pylsl.local_clock()
            if n < len(one.buffer):
                return


def describe(info: Any) -> dict[str, Any]:
    """What opens an upload of this stream: name, type, source_id, host, rate, format and its channels' metadata."""
    channels = lsl.read_channels(info)
    labels = [channel.label or f"channel {i}" for i, channel in enumerate(channels)]
    kinds = [channel.type.strip() for channel in channels]
    rate = float(info.nominal_srate())
    told: dict[str, Any] = {
        "name": info.name(),
        "type": info.type(),
        "source_id": info.source_id(),
        "host": info.hostname(),
        "rate_hz": rate if np.isfinite(rate) and rate > 0 else 0.0,
        "format": int(info.channel_format()),
        "labels": labels,
        "types": kinds,
        "units": [channel.unit for channel in channels],
    }
    at = next((i for i, kind in enumerate(kinds) if kind.lower() in SEQUENCE_TYPES), None)
    if at is not None:
        told["sequence"] = at
    return told
