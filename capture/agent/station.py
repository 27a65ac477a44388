"""The agent of one reading station: tracker, spool, upload and page socket, put together."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capture.agent import lsl
from capture.agent.outlet import Outlet
from capture.agent.pagesocket import PageSocket, Refusal
from capture.agent.pairing import SPEAK_S, Pairing, Presence
from capture.agent.sources.base import (
    Array,
    CalibrationError,
    CalibrationResult,
    Listeners,
    Note,
    Source,
    Tracker,
)
from capture.agent.sources.companions import Companions
from capture.agent.sources.lsl import LslSource
from capture.agent.spool import Epoch, Recorder, Spool, SpoolError
from capture.agent.terminal import Terminal, status_line
from capture.agent.upload import Uploader
from capture.frames import GAZE_CHANNELS
from capture.tokens import fingerprint, was_minted

log = logging.getLogger(__name__)

#: A recording whose page has gone (a crashed browser) is ended after so long without any page.
ABANDONED_S = 120.0
NO_GAZE = "No gaze is arriving: switch the eye tracker on, or start its LSL program."
#: Samples are waited for so long after the time they were asked for.
COLLECT_GRACE_S = 0.5

_COLUMN = {label: 1 + i for i, label in enumerate(GAZE_CHANNELS)}


class _Collector:
    """Gathers the samples of an interval; filled on the tracker's thread."""

    def __init__(self, since: float, until: float) -> None:
        self.since, self.until = since, until
        self.rows: list[Array] = []
        self.complete = threading.Event()

    def feed(self, samples: Array, correction: float) -> None:
        here = samples[:, 0] + correction
        self.rows.append(samples[(here >= self.since) & (here <= self.until)])
        if here[-1] > self.until:
            self.complete.set()


class Agent:
    """One station. `run` serves until `stopping` is set."""

    def __init__(
        self,
        *,
        spool: Path,
        port: int,
        pairing: Pairing,
        origins: Sequence[str] = (),
        source: Callable[[Listeners], Source] | None = None,
        also: Sequence[str] = (),
        republish: bool = True,
        abandoned_s: float = ABANDONED_S,
        terminal: Terminal | None = None,
        speak_every_s: float = SPEAK_S,
    ) -> None:
        self._pylsl = lsl.load()
        self.clock = self._pylsl.local_clock
        self._spool = Spool(spool)
        self._recorder = Recorder(self._spool, self.clock, self._changed, self._on_written)
        self._companions = Companions(also, self._recorder.companion, self._on_companions)
        self._recorder.settle = self._companions.settle
        listeners = Listeners(self._on_gaze, self._recorder.clock, self._on_note, self._on_tracker)
        self._source = source(listeners) if source else LslSource(listeners)
        self._outlet = Outlet() if republish else None
        self._pairing = pairing
        self._fingerprint = fingerprint(pairing.credential)
        self._presence = Presence(pairing, self._describe, speak_every_s)
        self._terminal = terminal or Terminal()
        self._uploader = Uploader(pairing.credential)
        self._socket = PageSocket(
            self, port=port, key=pairing.key, origins=[*pairing.origins, *origins], on_pages=self._on_pages
        )
        self._collectors: list[_Collector] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._busy = asyncio.Lock()
        self._stimulus: dict[str, Any] | None = None
        self._calibrating = False
        self._leaving: asyncio.Task[None] | None = None
        self._abandoned_s = abandoned_s
        self._alone_since: float | None = None
        info = self._pylsl.StreamInfo(
            lsl.STIMULUS_NAME, lsl.MARKER_TYPE, 1, 0, self._pylsl.cf_string, f"{lsl.STIMULUS_NAME}-{port}"
        )
        self._markers = self._pylsl.StreamOutlet(info)
        self.stopping = asyncio.Event()

    async def run(self) -> None:
        """Serve until `stopping` is set. Raises OSError when the port is taken."""
        self._loop = asyncio.get_running_loop()
        # A clock exchange must not wait 5 ms for the thread that reads the tracker.
        sys.setswitchinterval(0.001)
        await self._socket.start()
        self._source.start()
        self._companions.start()
        say = self._terminal.say
        say(f"This is {self._pairing.name} of {self._pairing.server}.")
        say(f"Listening for the reading room on ws://127.0.0.1:{self._socket.port}")
        self._presence.start()
        for epoch in await asyncio.to_thread(self._spool.pending):
            log.info("recording %s waits in the spool: %d frames", epoch.recording, epoch.files[1].frames)
            self._uploader.submit(epoch)
        try:
            while not self.stopping.is_set():
                try:
                    async with asyncio.timeout(1.0):
                        await self.stopping.wait()
                except TimeoutError:
                    await self._tick()
        finally:
            self._presence.stop()
            await self._close()

    async def _close(self) -> None:
        self._loop = None
        if self._recorder.epoch is not None:
            try:
                await asyncio.to_thread(self._recorder.stop, 0.1)
                self._terminal.say("○ Recording ended: the agent is being stopped.")
            except SpoolError as error:
                log.error("%s", error)
        self._source.stop(wait_s=0)
        await self._socket.close()
        self._uploader.wake()
        await self._uploader.close()
        await asyncio.to_thread(self._source.stop)
        await asyncio.to_thread(self._companions.stop)
        await asyncio.to_thread(self._recorder.close)
        self._spool.close()
        self._terminal.end()

    async def _tick(self) -> None:
        status = self.status()
        await self._socket.push(status)
        line = status_line(self.welcome(), status, server=self._server_state())
        self._terminal.show(line, alarm=bool(status["recording"]))
        if self._stimulus is not None:
            # For those who began to listen after it was first said.
            self._publish(self._stimulus)
        alone = self._alone_since
        why = None
        if self._presence.refused:
            why = self._presence.refused
        elif alone and time.monotonic() - alone > self._abandoned_s:
            why = "no page has been connected for a while."
        if self._recorder.epoch is not None and why:
            self._terminal.say(f"○ Recording ended: {why}")
            try:
                await self.stop()
            except Refusal as refusal:
                log.error("%s", refusal)

    # ── on other threads ──────────────────────────────────────────────────────────────────────────────────────────────

    def _on_gaze(self, samples: Array, raw: Array | None) -> None:
        correction = self._source.correction
        self._recorder.gaze(samples, correction, raw)
        if len(samples):
            for collector in list(self._collectors):
                collector.feed(samples, correction)

    def _on_written(self, samples: Array) -> None:
        # What others may read is what is recorded: under the same consent, and after it is in the spool.
        if self._outlet is not None:
            self._outlet.push(samples, self._source.correction)

    def _on_note(self, note: Note) -> None:
        self._recorder.note(note.to_dict())

    def _on_tracker(self, tracker: Tracker) -> None:
        if self._outlet is not None:
            self._outlet.describe(tracker)
        self._roll(self._recorder.roll, tracker.streams())

    def _on_companions(self, streams: dict[str, dict[str, Any]]) -> None:
        self._roll(self._recorder.companions, streams)

    def _roll(
        self, into: Callable[[dict[str, dict[str, Any]]], Epoch | None], streams: dict[str, dict[str, Any]]
    ) -> None:
        """Streams are described anew: what is recorded from now on is delivered as another epoch."""
        try:
            epoch = into(streams)
        except SpoolError as error:
            log.error("%s", error)
            return
        loop = self._loop
        if epoch is not None and loop is not None:
            loop.call_soon_threadsafe(self._uploader.submit, epoch)

    def _changed(self) -> None:
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._uploader.wake)

    # ── this station and its site ─────────────────────────────────────────────────────────────────────────────────────

    @property
    def number(self) -> str:
        """What a page may know before its hello."""
        return self._pairing.station

    def _describe(self) -> dict[str, Any]:
        told = self.welcome()
        return {"tracker": told["tracker"], "display": told["display"]}

    def _server_state(self) -> str:
        presence = self._presence
        if presence.refused:
            return presence.refused
        return {None: "asking the server", True: "server reached", False: "server away"}[presence.reached]

    def _refuse_stranger(self, recording: str, token: str, socket: str) -> None:
        """Nothing is recorded without the server's word for this read at this station, nor for any other server."""
        if self._presence.refused:
            raise Refusal(self._presence.refused)
        if not self._pairing.sends_to(socket):
            raise Refusal(f"{socket} is not of {self._pairing.server}, the site this station is paired with.")
        if not was_minted(token, self._fingerprint, recording):
            raise Refusal(
                f"This token was not made for recording {recording} at this station: load the page again, "
                "or pair the station again if that does not help."
            )

    # ── what pages ask for ────────────────────────────────────────────────────────────────────────────────────────────

    def welcome(self) -> dict[str, Any]:
        tracker = self._source.tracker
        return {
            "tracker": {
                "found": tracker is not None,
                "name": tracker.name if tracker else None,
                "serial": tracker.serial if tracker else None,
                "rate_hz": tracker.rate_hz if tracker else None,
                "calibrates": self._source.calibration is not None,
                "simulated": bool(tracker and tracker.acquisition.get("tracking_mode") == "simulated"),
            },
            "display": dict(tracker.display) if tracker else dict.fromkeys(lsl.Display().to_dict()),
            "recording": self._recorder.epoch is not None,
        }

    def status(self) -> dict[str, Any]:
        epoch = self._recorder.epoch
        refused = self._uploader.refused
        return {
            "op": "status",
            "recording": epoch is not None,
            "recording_id": epoch.recording if epoch else None,
            "tracker": self._source.flowing,
            "pending_frames": self._uploader.pending_frames,
            "uploaded": self._uploader.uploaded,
            "companions": self._companions.status(),
            "problem": self._presence.refused
            or self._recorder.fault
            or self._source.problem
            or (refused[0] if refused else None),
        }

    def stimulus(self, stimulus: dict[str, Any]) -> None:
        self._stimulus = stimulus
        self._publish(stimulus)

    def _publish(self, stimulus: dict[str, Any]) -> None:
        self._markers.push_sample([json.dumps(stimulus)])

    async def collect(self, seconds: float) -> dict[str, Any]:
        if not self._source.flowing:
            raise Refusal(self._source.problem or NO_GAZE)
        now = self.clock()
        collector = _Collector(now, now + seconds)
        self._collectors.append(collector)
        try:
            await asyncio.sleep(seconds)
            deadline = time.monotonic() + COLLECT_GRACE_S
            while not collector.complete.is_set() and time.monotonic() < deadline:
                await asyncio.sleep(0.02)
        finally:
            self._collectors.remove(collector)
        rows = np.concatenate(collector.rows) if collector.rows else np.empty((0, 1 + len(GAZE_CHANNELS)))
        answer: dict[str, Any] = {"t": rows[:, 0].tolist()}
        for eye in ("left", "right"):
            prefix = eye.capitalize()
            xy = rows[:, [_COLUMN[f"{prefix}ScreenX"], _COLUMN[f"{prefix}ScreenY"]]]
            told = rows[:, _COLUMN[f"{prefix}ScreenValid"]]
            finite: NDArray[np.bool_] = np.all(np.isfinite(xy), axis=1)
            # A stream without a validity channel says "not valid" by NaN coordinates.
            valid = finite & np.where(np.isnan(told), True, told > 0.5)
            # JSON has no NaN.
            answer[eye] = [
                [x, y] if ok else [None, None] for (x, y), ok in zip(xy.tolist(), finite.tolist(), strict=True)
            ]
            answer[f"valid_{eye}"] = valid.tolist()
        return answer

    async def calibrate(self, step: str, x: float, y: float) -> dict[str, Any]:
        """One step of the tracker's own calibration. What it comes to is kept beside the spool, by its SHA-256."""
        calibration = self._source.calibration
        if calibration is None:
            raise Refusal("This tracker cannot be calibrated from here: calibrate it in its own program.")
        if self._recorder.epoch is not None:
            raise Refusal("The tracker is not calibrated during a recording: end the read first.")
        try:
            match step:
                case "enter":
                    await asyncio.to_thread(calibration.enter)
                    self._calibrating = True
                case "collect":
                    return {"step": step, "ok": await asyncio.to_thread(calibration.collect, x, y)}
                case "discard":
                    await asyncio.to_thread(calibration.discard, x, y)
                case "leave":
                    self._calibrating = False
                    await asyncio.to_thread(calibration.leave)
                case "compute":
                    result = await asyncio.to_thread(calibration.compute)
                    kept = await asyncio.to_thread(self._keep_calibration, result)
                    return {
                        "step": step,
                        "ok": result.ok,
                        "eyes": list(result.eyes),
                        "points": list(result.points),
                        "calibration_id": kept,
                    }
        except CalibrationError as error:
            raise Refusal(str(error)) from None
        return {"step": step, "ok": True}

    async def _leave_calibration(self) -> None:
        try:
            await self.calibrate("leave", 0.5, 0.5)
        except Refusal as refusal:
            log.warning("%s", refusal)

    def _keep_calibration(self, result: CalibrationResult) -> str | None:
        if not result.ok or not result.data:
            return None
        name = hashlib.sha256(result.data).hexdigest()
        folder = self._spool.root.absolute().with_name("calibrations")
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            (folder / f"{name}.bin").write_bytes(result.data)
        except OSError as error:
            raise CalibrationError(
                f"The calibration is in use but cannot be kept in {folder} ({error.strerror}): free space and compute "
                "again."
            ) from error
        self._source.calibrated(name)
        return name

    async def start(self, recording: str, token: str, socket: str) -> dict[str, Any]:
        self._refuse_stranger(recording, token, socket)
        async with self._busy:
            epoch = self._recorder.epoch
            if epoch is not None and epoch.recording == recording:
                # The page was loaded again: the recording went on meanwhile.
                self._uploader.renew(recording, token, socket)
                return {"recording": recording, "epoch": str(epoch.epoch)}
            if epoch is not None:
                raise Refusal(f"This station is recording {epoch.recording}: end that read first.")
            tracker = self._source.hold()
            try:
                if tracker is None or not self._source.flowing:
                    raise Refusal(self._source.problem or NO_GAZE)
                epoch = await asyncio.to_thread(self._recorder.start, recording, token, socket, tracker.streams())
            except (Refusal, SpoolError) as error:
                self._source.release()
                raise Refusal(str(error)) from None
            self._uploader.renew(recording, token, socket)
            self._uploader.submit(epoch)
        self._terminal.say(f"● RECORDING GAZE: {recording}")
        await self._socket.push(self.status())
        return {"recording": recording, "epoch": str(epoch.epoch)}

    async def stop(self) -> dict[str, Any]:
        async with self._busy:
            try:
                summary = await asyncio.to_thread(self._recorder.stop)
            except SpoolError as error:
                raise Refusal(str(error)) from None
            self._source.release()
        self._terminal.say(
            f"○ Recording ended: {summary.recording}, {summary.samples} samples, {len(summary.gaps)} gaps."
        )
        await self._socket.push(self.status())
        return summary.to_dict()

    def _on_pages(self, pages: int) -> None:
        self._alone_since = None if pages else time.monotonic()
        if not pages and self._calibrating and self._loop is not None:
            # A tracker that is left in its calibration gives no gaze to the next page.
            self._leaving = self._loop.create_task(self._leave_calibration())
        if not pages and self._stimulus is not None:
            self._stimulus = None
            self._publish({"kind": "blank"})
