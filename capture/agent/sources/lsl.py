"""Any Gaze stream on the Lab Streaming Layer of this machine.

One thread looks for a stream, looks at its first samples (`layout`: are the channels what they say, how fast do they
come, by which clock), reads it every 20 ms, and looks again when it is lost; another measures its clock and listens for
a second stream of the same name. Samples keep the tracker's own LSL times.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capture.agent import lsl
from capture.agent.sources import layout
from capture.agent.sources.base import EMPTY, Array, Listeners, Source, Tracker, rate_of

POLL_S = 0.02
#: No more than this is taken from liblsl before it is handed on: what a kill at that moment costs.
PULL_S = 0.01
#: The clock is measured this often; liblsl itself renews its estimate every few seconds.
CLOCK_EVERY_S = 5.0
#: A connected stream that says nothing for so long is let go and looked for again.
SILENCE_S = 5.0
#: A new stream is looked at for so long, and for so many samples, before it is read.
LOOK_S = 0.4
LOOK_SAMPLES = 20
#: Whoever must look at the screen for a unit to be found is waited for in turns of so long.
UNDECIDED_S = 10.0
#: Samples whose time is further from now than this carry another clock's time.
OTHER_CLOCK_S = 2.0
#: A second stream with the same source id is looked for this often.
TWINS_EVERY_S = 10.0


class LslSource(Source):
    """Reads the Gaze stream of the session for as long as it runs.

    Parameters
    ----------
    listeners
        Where samples, clock and notes go.
    source_id
        Which stream to read where there are several; any by default. Streams that an agent re-published are never
        taken for a tracker.
    screen_unit
        One of `layout.SCREEN_UNITS` where a stream says too little, or something untrue, about its gaze's unit.
    display
        What is known of the tracked display where a stream does not say it (`capture.agent.lsl.Display.to_dict`).
    """

    def __init__(
        self,
        listeners: Listeners,
        source_id: str | None = None,
        *,
        screen_unit: str | None = None,
        display: Mapping[str, float | None] | None = None,
    ) -> None:
        self._pylsl = lsl.load()
        super().__init__(listeners, self._pylsl.local_clock, display)
        self._wanted, self._screen_unit = source_id, screen_unit
        #: Set when a second stream goes by the name of the one that is read, and no recording depends on that one.
        self._twins = threading.Event()
        #: How a stream was understood once: when it comes back in mid-recording, nothing waits for a second look.
        self._known: dict[tuple[Any, ...], tuple[layout.ChannelMap, float]] = {}

    def _run(self) -> None:
        try:
            found = self._find()
        except RuntimeError as error:
            self._note("search", f"Looking for the tracker failed: {error}")
            found = []
        self._listeners.gaze(EMPTY, None)
        for info in found:
            if self._stop.is_set() or self._use(info):
                return
        if found:
            self._stop.wait(0.5)

    def _use(self, info: Any) -> bool:
        """Read this stream until it ends; False if it cannot be read."""
        name = info.source_id() or info.name()
        try:
            # recover=False: a lost stream is said to be lost, where recovering would silently skip what it missed.
            inlet = self._pylsl.StreamInlet(info, max_buflen=360, recover=False)
            full = inlet.info(timeout=3.0)
            inlet.open_stream(timeout=3.0)
            looked = self._look(inlet, full)
        except layout.Unusable as refusal:
            self._refuse(name, str(refusal))
            return False
        except layout.Undecided:
            self._refuse(
                name,
                "its metadata do not tell the unit of its gaze, and nobody has looked at the screen yet: look at it "
                "for a second, or say --screen-unit normalized.",
                # Until the next turn of waiting is over.
                UNDECIDED_S + SILENCE_S,
            )
            return False
        except (RuntimeError, TimeoutError) as error:
            reason = str(error) or "the connection was lost"
            self._recurring("connecting", 1, f"Tracker {name} is announced but cannot be read: {reason.rstrip('.')}.")
            return False
        if looked is None:
            return True
        channels, tracker, blocks = looked
        if not self._admits(tracker):
            return False
        self._take(tracker)
        self._twins.clear()
        over = threading.Event()
        clock = threading.Thread(target=self._measure, args=(inlet, info, over), name="clock", daemon=True)
        clock.start()
        reason = "it is not read any more."
        try:
            for times, samples in blocks:
                self._hand_on(channels, times, samples)
            reason = self._read(inlet, channels, tracker.rate_hz)
        except RuntimeError as error:  # pylsl.LostError is one
            reason = f"{error or 'connection lost'}; it is looked for again."
        finally:
            over.set()
            self._lose(reason)
        return True

    def _find(self) -> list[Any]:
        """The streams that may be read, as short StreamInfos, the one to prefer first."""
        wanted = self._held[0] if self._held is not None else self._wanted
        key = ("source_id", wanted) if wanted else ("type", lsl.GAZE_TYPE)
        found = self._pylsl.resolve_byprop(*key, 1, 1.0)
        if found and self._held is None:
            # The first answer ends a search; others of its kind may be about to answer.
            found = self._pylsl.resolve_byprop(*key, len(found) + 1, 0.3) or found
        streams = {
            info.uid(): info
            for info in found
            if info.type() == lsl.GAZE_TYPE and not lsl.is_republished(info.source_id())
        }
        by_id: dict[str, list[Any]] = {}
        for info in streams.values():
            by_id.setdefault(info.source_id() or info.uid(), []).append(info)
        for name in [name for name, infos in by_id.items() if len(infos) > 1]:
            self._refuse(name, _twins(by_id.pop(name)))
        if len(by_id) > 1:
            self._recurring(
                "several",
                0,
                f"There are several gaze streams ({', '.join(sorted(by_id))}): the first that can be read is taken; "
                "name another with --tracker.",
            )
        return [by_id[name][0] for name in sorted(by_id)]

    def _look(
        self, inlet: Any, info: Any
    ) -> tuple[layout.ChannelMap, Tracker, list[tuple[Array, NDArray[Any]]]] | None:
        """How the stream is to be read, what it is, and the samples it was found out with; None if none came.

        Raises layout.Unusable, layout.Undecided, and what pylsl raises for a stream that is gone.
        """
        if inlet.channel_format == self._pylsl.cf_string:
            raise layout.Unusable("it carries text, not numbers.")
        described = lsl.read_channels(info)
        display = self._display(lsl.read_display(info))
        key = (
            info.source_id(),
            inlet.channel_format,
            tuple(described),
            tuple(sorted(display.items())),
            self._screen_unit,
        )
        blocks: list[tuple[Array, NDArray[Any]]] = []
        if key in self._known:
            channels, rate = self._known[key]
        else:
            channels = layout.map_channels(
                described,
                display=display,
                float32=inlet.channel_format == self._pylsl.cf_float32,
                screen_unit=self._screen_unit,
            )
            began = self._clock()
            buffer = np.empty((4096, inlet.channel_count), dtype=inlet.np_dtype)
            while True:
                if self._stop.wait(POLL_S):
                    return None
                _, times = inlet.pull_chunk(timeout=0.0, max_samples=len(buffer), dest_obj=buffer)
                if len(times):
                    blocks.append((np.array(times), buffer[: len(times)].copy()))
                else:
                    self._listeners.gaze(EMPTY, None)
                waited = self._clock() - began
                count = sum(len(times) for times, _ in blocks)
                if count < LOOK_SAMPLES or waited < LOOK_S:
                    if waited > SILENCE_S and not count:
                        raise RuntimeError("it sends nothing.")
                    if waited < UNDECIDED_S:
                        continue
                try:
                    times, samples = (np.concatenate(part) for part in zip(*blocks, strict=True))
                    self._check_clock(times, lsl.time_correction(inlet, 2.0)[0])
                    channels = channels.settle(times, samples)
                    break
                except layout.Undecided:
                    if waited > UNDECIDED_S:
                        raise
                    # Only what is still coming can decide.
                    blocks = blocks[-100:]
            rate = rate_of(times) or info.nominal_srate()
            self._known[key] = channels, rate
        tracker = Tracker(
            info.name(),
            info.source_id() or info.name(),
            rate,
            lsl.read_children(info, "acquisition"),
            display,
            channels.present,
            info.nominal_srate(),
            channels.raw_labels,
            channels.raw_units,
            channels.remarks,
            described=[(c.label, c.type, c.unit, c.eye) for c in described],
        )
        return channels, tracker, blocks

    def _check_clock(self, times: Array, correction: float) -> None:
        finite = times[np.isfinite(times)]
        if not len(finite):
            raise layout.Unusable("its samples have no times: its program must stamp them with lsl_local_clock.")
        away = float(np.median(finite)) + correction - self._clock()
        if not -UNDECIDED_S - OTHER_CLOCK_S < away < OTHER_CLOCK_S:
            raise layout.Unusable(
                f"its samples carry the time of another clock ({away:+.1f} s from now): its program must stamp them "
                "with lsl_local_clock."
            )

    def _hand_on(self, channels: layout.ChannelMap, times: Array, samples: NDArray[Any]) -> None:
        self._deliver(channels.standard(times, samples), channels.beside(times, samples))

    def _read(self, inlet: Any, channels: layout.ChannelMap, rate_hz: float) -> str:
        """Read until the stream ends; returns why it did."""
        most = int(np.clip(PULL_S * rate_hz, 1, 4096)) if rate_hz > 0 else 4096
        buffer = np.empty((most, inlet.channel_count), dtype=inlet.np_dtype)
        while not self._stop.wait(POLL_S):
            while True:
                _, times = inlet.pull_chunk(timeout=0.0, max_samples=len(buffer), dest_obj=buffer)
                n = len(times)
                if n:
                    self._hand_on(channels, np.array(times), buffer[:n])
                if n < len(buffer):
                    break
            if self._twins.is_set():
                return "a second stream has its name, and it cannot be told which is meant."
            if not n:
                self._deliver(EMPTY)
                if self._clock() - self._last_sample > SILENCE_S:
                    return "it sends nothing; it is looked for again."
        return "the agent is being stopped."

    def _measure(self, inlet: Any, short: Any, over: threading.Event) -> None:
        """The clock correction every few seconds, in a thread of its own because the first estimate blocks."""
        looked = -np.inf
        while not (over.is_set() or self._stop.is_set()):
            try:
                self._measured(*lsl.time_correction(inlet, 2.0))
            except TimeoutError:
                continue
            except RuntimeError:
                return
            if short.source_id() and self._clock() - looked >= TWINS_EVERY_S:
                looked = self._clock()
                twins = self._pylsl.resolve_byprop("source_id", short.source_id(), 2, 0.5)
                if len({info.uid() for info in twins}) > 1:
                    if self._held is None:
                        self._twins.set()
                        return
                    self._recurring(
                        "twins",
                        0,
                        f"A second stream calls itself {short.source_id()}: the first one is still read and nothing of "
                        "the other is mixed in; stop the other program.",
                        shown_s=TWINS_EVERY_S + CLOCK_EVERY_S,
                    )
            over.wait(CLOCK_EVERY_S)


def _twins(infos: list[Any]) -> str:
    hosts = ", ".join(sorted(f"{info.name()} on {info.hostname()}" for info in infos))
    return f"{len(infos)} streams call themselves so ({hosts}), and it cannot be told which is meant: stop all but one."
