"""Tobii Pro trackers: through TittaPy in this process, or through `tobii-research` in another (`tobii_bridge`).

Both give the SDK's own samples. Their LSL time is `system_time_stamp` / 1e6: Tobii's system clock and LSL's are the
same clock of the machine, and where they are found to differ by more than a millisecond the tracker is refused. Device
time is a channel, the system time as the SDK gave it (whole microseconds) is kept beside the gaze, and what the two
clocks differ by is measured every few seconds: every time that was ever read is stored.

Samples carry no number of the tracker's own, so gaps are found by time.
"""

from __future__ import annotations

import base64
import contextlib
import importlib
import json
import queue
import struct
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from capture.agent import lsl, tobii_bridge
from capture.agent.sources.base import (
    CLOCK_LIMIT_S,
    EMPTY,
    SHOWN_S,
    Array,
    CalibrationError,
    CalibrationResult,
    Listeners,
    Source,
    Tracker,
)
from capture.frames import EYE_CHANNELS, EYES, GAZE_CHANNELS, channel_label

POLL_S = 0.02
SEARCH_EVERY_S = 2.0
CLOCK_EVERY_S = 5.0
CLOCK_TRIES = 20
SILENCE_S = 5.0
#: The SDK answers a step of a calibration within a few seconds, or not at all.
STEP_PATIENCE_S = 20.0

_DEVICE, _SYSTEM = GAZE_CHANNELS.index("DeviceTimeStamp"), "system_time_stamp"

#: A notification of the SDK: what it is to a person, and whether data are affected.
_NOTIFICATIONS: dict[str, tuple[str, bool]] = {
    "connection_lost": ("has lost its connection: look at its cable and power", True),
    "connection_restored": ("is connected again", False),
    "calibration_mode_entered": ("is being calibrated", False),
    "calibration_mode_left": ("is no longer being calibrated", False),
    "calibration_changed": ("has another calibration now: validate it before the next read", True),
    "display_area_changed": ("has another display area now: calibrate and validate before the next read", True),
    "gaze_output_frequency_changed": ("was set to another rate", True),
    "eye_tracking_mode_changed": ("was set to another tracking mode", True),
    "device_faults": ("reports a fault", True),
    "device_warnings": ("warns", True),
    "stream_buffer_overflow": ("has lost samples because they were not read in time: close other programs", True),
    "stream_error": ("reports an error of its stream", True),
}


class TobiiSource(Source):
    """What both ways to a Tobii tracker share."""

    def __init__(self, listeners: Listeners, display: Mapping[str, float | None] | None = None) -> None:
        super().__init__(listeners, lsl.load().local_clock, display)

    def _described(self, about: Mapping[str, Any], area: Mapping[str, Any] | None, raw: list[str]) -> Tracker:
        serial = str(about["serial_number"])
        acquisition = {
            "manufacturer": "Tobii",
            "model": str(about["model"]),
            "serial_number": serial,
            "firmware_version": str(about["firmware_version"]),
            "tracking_mode": str(about["tracking_mode"]),
            "through": str(about["through"]),
        }
        display: dict[str, float | None] = {
            "width_mm": float(area["width"]) if area else None,
            "height_mm": float(area["height"]) if area else None,
        }
        remarks = []
        if area:
            for corner in ("top_left", "top_right", "bottom_left"):
                acquisition[f"display_{corner}_mm"] = ", ".join(f"{float(v):.2f}" for v in area[corner])
        else:
            remarks.append("its display area is not known: set it in Eye Tracker Manager.")
        present = [
            channel_label(eye, kind)
            for eye in EYES
            for kind, _ in EYE_CHANNELS
            if about["openness"] or not kind.startswith("Openness")
        ]
        rate = float(about["rate_hz"])
        return Tracker(
            f"Tobii {about['model']}",
            f"tobii-{serial}-gaze",
            rate,
            acquisition,
            self._display(display),
            [*present, "DeviceTimeStamp"],
            rate,
            raw,
            ["us" if label == _SYSTEM else "bool" for label in raw],
            remarks,
            "tobii system clock",
        )

    def _shares_clock(self, measured: tuple[float, float, float]) -> bool:
        """Whether Tobii's system clock is LSL's, by one measurement (correction, uncertainty, system time)."""
        correction, uncertainty, _ = measured
        return abs(correction) - uncertainty <= CLOCK_LIMIT_S

    def _clock_sentence(self, correction: float) -> str:
        return (
            f"its system clock and LSL's differ by {correction * 1e3:+.3f} ms, more than {CLOCK_LIMIT_S * 1e3:g} ms: "
            "restart this computer (a suspend can part them), and run tracker and agent on the same one."
        )

    def _watch_clock(self, measured: tuple[float, float, float]) -> None:
        self._measured(*measured)
        # The times are the SDK's and are taken for LSL's: what they differ by is stored, not added.
        self.correction = 0.0
        if not self._shares_clock(measured):
            self._recurring("clock", 1, "The tracker is read, but " + self._clock_sentence(measured[0]))

    def _notified(self, name: str, detail: Any, again: Callable[[], Tracker]) -> bool:
        """Journal a notification; returns False if the tracker is now another one to the running recording."""
        tracker = self._tracker
        assert tracker is not None
        what, fault = _NOTIFICATIONS.get(name, (f"says '{name}'", False))
        text = f"Tracker {tracker.source_id} {what}"
        if detail and name != "gaze_output_frequency_changed":
            text += f" ({detail})"
        if name == "gaze_output_frequency_changed" and detail:
            self._watch.rate_hz = float(detail)
            self._rate_changed(float(detail))
            return True
        self._note(name, text + ".", fault=fault)
        if name in ("display_area_changed", "eye_tracking_mode_changed"):
            changed = again()
            if not self._admits(changed):
                return False
            if changed != tracker:
                self._tracker = changed
                self._listeners.changed(changed)
        return True


# ── in this process: TittaPy ──────────────────────────────────────────────────────────────────────────────────────────


class SdkMissing(RuntimeError):  # noqa: N818 - named after what the person at the station has to hear
    """The vendor's library cannot be used here. The message names the remedy."""


def load_titta() -> ModuleType:
    """TittaPy's module. Raises SdkMissing."""
    for name in ("TittaPy_v2", "TittaPy", "TittaPy_v1"):
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError:
            continue
        except ImportError as error:
            raise SdkMissing(f"TittaPy cannot be loaded ({error}): install its wheel for this Python again.") from error
    raise SdkMissing("TittaPy is not installed: pip install 'gazeroom[titta]' (Python 3.11 to 3.13).")


#: TittaPy's fields of one eye, in the order of `capture.frames.EYE_CHANNELS`.
_TITTA_EYE = (
    "gaze_point_on_display_area_x",
    "gaze_point_on_display_area_y",
    "gaze_point_valid",
    "gaze_point_in_user_coordinates_x",
    "gaze_point_in_user_coordinates_y",
    "gaze_point_in_user_coordinates_z",
    "pupil_diameter",
    "pupil_valid",
    "gaze_origin_in_user_coordinates_x",
    "gaze_origin_in_user_coordinates_y",
    "gaze_origin_in_user_coordinates_z",
    "gaze_origin_valid",
    "eye_openness_diameter",
    "eye_openness_valid",
)
_TITTA_AVAILABLE = tuple(
    f"{eye}_{what}_available" for eye in EYES for what in ("gaze_point", "pupil", "gaze_origin", "eye_openness")
)


class TittaSource(TobiiSource):
    """A Tobii Pro tracker through TittaPy.

    `which` is a serial number or an address where there are several trackers. Raises SdkMissing.
    """

    def __init__(
        self,
        listeners: Listeners,
        which: str | None = None,
        *,
        display: Mapping[str, float | None] | None = None,
        sdk: Any = None,
    ) -> None:
        super().__init__(listeners, display)
        self._sdk = sdk or load_titta()
        self._which = which
        self._handle: Any = None
        self.calibration = _TittaCalibration(self)

    def _run(self) -> None:
        try:
            handle = self._connect()
            if handle is None:
                self._listeners.gaze(EMPTY, None)
                self._stop.wait(SEARCH_EVERY_S)
                return
            measured = self._measure()
            tracker = self._describe(handle)
        except RuntimeError as error:  # what TittaPy raises for everything
            self._refuse("Tobii", f"{_first_line(error)}: restart it and its service.")
            self._stop.wait(SEARCH_EVERY_S)
            return
        if not self._shares_clock(measured):
            self._refuse(tracker.source_id, self._clock_sentence(measured[0]))
            self._stop.wait(SEARCH_EVERY_S)
            return
        if not self._admits(tracker):
            self._stop.wait(SEARCH_EVERY_S)
            return
        self._handle = handle
        self._take(tracker)
        reason = "the agent is being stopped."
        try:
            handle.start("gaze")
            reason = self._read(handle)
        except RuntimeError as error:
            reason = _first_line(error)
        finally:
            self._handle = None
            self._lose(reason)
            with contextlib.suppress(RuntimeError):  # it may be gone already
                handle.stop("gaze")

    def _connect(self) -> Any:
        found = self._sdk.find_all_eye_trackers()
        if self._which:
            found = [one for one in found if self._which in (one["serial_number"], one["address"])]
        found.sort(key=lambda one: one["serial_number"])
        if not found:
            which = f" {self._which}" if self._which else ""
            self._refuse(f"Tobii{which}", "it is not found: switch it on, and look for it in Eye Tracker Manager.")
            return None
        if len(found) > 1:
            names = ", ".join(one["serial_number"] for one in found)
            self._recurring("several", 0, f"There are several Tobii trackers ({names}): name one with --tracker.")
        handle = self._sdk.EyeTracker(found[0]["address"])
        if handle.has_stream("eye_openness"):
            handle.set_include_eye_openness_in_gaze(True)
        return handle

    def _describe(self, handle: Any) -> Tracker:
        about = {
            "serial_number": handle.serial_number,
            "model": handle.model,
            "firmware_version": handle.firmware_version,
            "tracking_mode": handle.tracking_mode,
            "through": f"TittaPy {getattr(self._sdk, '__version__', '')}".strip(),
            "openness": handle.has_stream("eye_openness"),
            "rate_hz": handle.frequency,
        }
        try:
            area = handle.display_area
        except RuntimeError:
            area = None  # trackers worn on the head have none
        return self._described(about, area, [_SYSTEM, *_TITTA_AVAILABLE])

    def _measure(self) -> tuple[float, float, float]:
        """(LSL - system clock, half of what that took, system clock) in seconds; the best of several."""
        best = (0.0, np.inf, 0.0)
        for _ in range(CLOCK_TRIES):
            before = self._clock()
            system = self._sdk.get_system_timestamp() / 1e6
            after = self._clock()
            if (after - before) / 2 < best[1]:
                best = ((before + after) / 2 - system, (after - before) / 2, system)
        return best

    def _read(self, handle: Any) -> str:
        clocked = -np.inf
        while not self._stop.wait(POLL_S):
            samples, raw = self._samples(handle.consume_time_range("gaze"))
            self._deliver(samples, raw)
            if not self._hear(handle):
                return "it is not what the recording began with."
            if self._clock() - clocked >= CLOCK_EVERY_S:
                clocked = self._clock()
                self._watch_clock(self._measure())
            if self._clock() - self._last_sample > SILENCE_S:
                return "it sends nothing; it is looked for again."
        return "the agent is being stopped."

    def _samples(self, data: Mapping[str, Any]) -> tuple[Array, Array | None]:
        system = np.asarray(data["system_time_stamp"], dtype=np.float64)
        if not len(system):
            return EMPTY, None
        out = np.full((len(system), 1 + len(GAZE_CHANNELS)), np.nan)
        out[:, 0] = system / 1e6
        for e, eye in enumerate(EYES):
            for k, name in enumerate(_TITTA_EYE):
                out[:, 1 + e * len(EYE_CHANNELS) + k] = data[f"{eye}_{name}"]
            # What the tracker does not provide, TittaPy fills with zeros.
            absent = ~np.asarray(data[f"{eye}_eye_openness_available"], dtype=bool)
            first = e * len(EYE_CHANNELS) + _TITTA_EYE.index("eye_openness_diameter")
            out[absent, 1 + first : 3 + first] = np.nan
        out[:, 1 + _DEVICE] = data["device_time_stamp"]
        available = [np.asarray(data[name], dtype=np.float64) for name in _TITTA_AVAILABLE]
        return out, np.column_stack([out[:, 0], system, *available])

    def _hear(self, handle: Any) -> bool:
        try:
            told = handle.consume_time_range("notification")
        except TypeError as error:
            # Some of what a notification may hold TittaPy cannot hand to Python.
            self._note("notification", f"A notification of the tracker cannot be read: {_first_line(error)}")
            return True
        for k, kind in enumerate(told["notification_type"]):
            name = _name(kind)
            detail = told["output_frequency"][k] if "frequency" in name else told["errors_or_warnings"][k]
            if not self._notified(name, detail, lambda: self._describe(handle)):
                return False
        return True


class _TittaCalibration:
    """The SDK's calibration; TittaPy does each step on a thread of its own and leaves its result to be fetched."""

    def __init__(self, source: TittaSource) -> None:
        self._source = source

    def enter(self) -> None:
        self._step(lambda handle: handle.enter_calibration_mode(False))

    def collect(self, x: float, y: float) -> bool:
        return bool(self._step(lambda handle: handle.calibration_collect_data([x, y]), may_fail=True)["status"] == 0)

    def discard(self, x: float, y: float) -> None:
        self._step(lambda handle: handle.calibration_discard_data([x, y]))

    def compute(self) -> CalibrationResult:
        result = self._step(lambda handle: handle.calibration_compute_and_apply(), may_fail=True)
        told = result.get("calibration_result") or {}
        eyes = _eyes(_name(told.get("status", "failure")))
        if not eyes:
            return CalibrationResult(())
        kept = self._step(lambda handle: handle.calibration_get_data())
        points = tuple(
            {"x": point["position_on_display_area_x"], "y": point["position_on_display_area_y"]}
            | {
                f"{eye}_{axis}": np.asarray(point[f"samples_{eye}_position_on_display_area_{axis}"]).tolist()
                for eye in EYES
                for axis in "xy"
            }
            for point in told["points"]
        )
        return CalibrationResult(eyes, points, bytes(kept["calibration_data"]))

    def leave(self) -> None:
        self._step(lambda handle: handle.leave_calibration_mode(False))

    def _step(self, begin: Callable[[Any], object], *, may_fail: bool = False) -> dict[str, Any]:
        handle = self._source._handle
        if handle is None:
            raise CalibrationError("No tracker is connected: switch it on before calibrating it.")
        try:
            begin(handle)
            until = self._source._clock() + STEP_PATIENCE_S
            while (result := handle.calibration_retrieve_result()) is None:
                if self._source._clock() > until or self._source._stop.wait(POLL_S):
                    raise CalibrationError("The tracker does not answer: leave the calibration and begin it again.")
        except RuntimeError as error:
            if isinstance(error, CalibrationError):
                raise
            raise CalibrationError(f"The tracker refuses this step of its calibration: {_first_line(error)}") from error
        if result["status"] != 0 and not may_fail:
            raise CalibrationError(f"The tracker refuses this step of its calibration: {result['status_string']}")
        return dict(result)


# ── in another process: tobii-research ────────────────────────────────────────────────────────────────────────────────


class BridgeSource(TobiiSource):
    """A Tobii Pro tracker through `tobii-research`, which an interpreter of its own runs (`tobii_bridge`).

    The child is started again when it dies, with growing pauses; what was missed meanwhile is a gap.
    """

    PAUSE_S = (0.5, 30.0)

    def __init__(
        self,
        listeners: Listeners,
        python: str | Path,
        which: str | None = None,
        *,
        display: Mapping[str, float | None] | None = None,
    ) -> None:
        super().__init__(listeners, display)
        self._python, self._which = str(python), which
        self._pause = self.PAUSE_S[0]
        self._child: subprocess.Popen[bytes] | None = None
        self._asked: dict[int, queue.SimpleQueue[dict[str, Any]]] = {}
        self._ids = 0
        self._writing = threading.Lock()
        self.calibration = _BridgeCalibration(self)

    def stop(self, wait_s: float = 1.2) -> None:
        self._stop.set()
        child = self._child
        if child is not None and child.stdin is not None:
            with contextlib.suppress(OSError):
                child.stdin.close()  # it ends by itself; `_run` kills it if not
        super().stop(wait_s)

    def _run(self) -> None:
        command = [self._python, tobii_bridge.__file__, *(["--tracker", self._which] if self._which else [])]
        try:
            child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        except OSError as error:
            self._refuse(
                "Tobii",
                f"{self._python} cannot be started ({error.strerror}): name a Python 3.10 with --tobii-python.",
                self._pause + SHOWN_S,
            )
            self._wait()
            return
        self._child = child
        frames: queue.Queue[tuple[int, int, bytes] | None] = queue.Queue()
        complaints: deque[str] = deque(maxlen=5)
        readers = [
            threading.Thread(target=_read_frames, args=(child.stdout, frames), daemon=True),
            threading.Thread(target=_read_lines, args=(child.stderr, complaints), daemon=True),
        ]
        for reader in readers:
            reader.start()
        reason = ""
        try:
            reason = self._converse(frames)
        finally:
            self._asked.clear()
            if child.stdin is not None:
                with contextlib.suppress(OSError):
                    child.stdin.close()
            try:
                code = child.wait(1.0)
            except subprocess.TimeoutExpired:
                child.kill()
                code = child.wait()
            for reader in readers:
                reader.join(1.0)
            self._child = None
            last = complaints[-1] if complaints else ""
            self._lose(reason or f"the program that reads it ended with {code}{f' ({last})' if last else ''}.")
        if not self._stop.is_set():
            self._listeners.gaze(EMPTY, None)
            self._wait()

    def _wait(self) -> None:
        """A pause before the next try, longer each time; a silent tracker's last frame is written meanwhile."""
        until = self._clock() + self._pause
        self._pause = min(self._pause * 2, self.PAUSE_S[1])
        while self._clock() < until and not self._stop.wait(POLL_S):
            self._listeners.gaze(EMPTY, None)

    def _converse(self, frames: queue.Queue[tuple[int, int, bytes] | None]) -> str:
        """Read the child until it ends; returns why, or "" if only its exit tells."""
        expected, clocked = 0, -np.inf
        heard = self._clock()
        about: dict[str, Any] | None = None
        measuring: _Exchange | None = None
        while not self._stop.is_set():
            try:
                frame = frames.get(timeout=POLL_S)
            except queue.Empty:
                self._deliver(EMPTY)
                if self._clock() - heard > SILENCE_S:
                    return "the program that reads it says nothing any more; it is started again."
                frame = (0, -1, b"")
            if frame is None:
                return ""
            kind, sequence, payload = frame
            if sequence >= 0:
                heard = self._clock()
                if sequence != expected:
                    self._note(
                        "bridge", f"{sequence - expected} messages of the tracker's program are missing.", fault=True
                    )
                expected = sequence + 1
            if kind == tobii_bridge.GAZE and self._tracker is not None:
                self._deliver(*_bridge_samples(payload))
            elif kind == tobii_bridge.JSON:
                message = json.loads(payload)
                if message["op"] == "failed":
                    self._refuse("Tobii", message["sentence"] + ".", self._pause + SHOWN_S)
                    return message["sentence"] + "."
                if message["op"] == "tracker":
                    about = message
                elif message["op"] == "answer" and message["id"] in self._asked:
                    self._asked.pop(message["id"]).put(message)
                elif message["op"] == "notification" and self._tracker is not None:
                    # Described anew by the child itself; its answer is dealt with below.
                    if message["name"] in ("display_area_changed", "eye_tracking_mode_changed"):
                        described = self._begin("describe")
                        self._note(message["name"], *self._wording(message))
                        about = {"op": "again", "answer": described}
                    else:
                        self._notified(message["name"], message["detail"], lambda: self._tracker)  # type: ignore[arg-type,return-value]
            if about is not None and about["op"] == "again":
                answer = _poll(about["answer"])
                if answer is not None:
                    about = None
                    changed = self._bridge_tracker(answer["tracker"])
                    if not self._admits(changed):
                        return "it is not what the recording began with."
                    self._tracker = changed
                    self._listeners.changed(changed)
            new = about is not None and about["op"] == "tracker"
            read = self._tracker is not None
            if measuring is None and (new or (read and self._clock() - clocked >= CLOCK_EVERY_S)):
                measuring = _Exchange(self)
            if measuring is not None and (measured := measuring.step()) is not None:
                measuring, clocked = None, self._clock()
                if about is None or not new:
                    self._watch_clock(measured)
                    continue
                tracker = self._bridge_tracker(about)
                if not self._shares_clock(measured):
                    self._refuse(tracker.source_id, self._clock_sentence(measured[0]), self._pause + SHOWN_S)
                    return self._clock_sentence(measured[0])
                if not self._admits(tracker):
                    return "another tracker is being recorded."
                about = None
                self._pause = self.PAUSE_S[0]
                self._take(tracker)
                self._watch_clock(measured)
        return "the agent is being stopped."

    def _wording(self, message: Mapping[str, Any]) -> tuple[str]:
        assert self._tracker is not None
        what, _ = _NOTIFICATIONS[message["name"]]
        return (f"Tracker {self._tracker.source_id} {what}.",)

    def _bridge_tracker(self, about: Mapping[str, Any]) -> Tracker:
        area = about["display"]
        if area is not None:
            area = {**area, "width": area["width_mm"], "height": area["height_mm"]}
        told = {**about, "through": f"tobii-research {about['sdk_version']}".strip()}
        return self._described(told, area, [_SYSTEM])

    def _begin(self, op: str, **content: Any) -> queue.SimpleQueue[dict[str, Any]]:
        """Send a command; its answer will be in the queue. Raises OSError when the child is gone."""
        answer: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        with self._writing:
            self._ids += 1
            self._asked[self._ids] = answer
            child = self._child
            if child is None or child.stdin is None:
                raise BrokenPipeError("the tracker's program is not running")
            child.stdin.write(json.dumps({"id": self._ids, "op": op, **content}).encode() + b"\n")
            child.stdin.flush()
        return answer


class _Exchange:
    """A handful of clock exchanges with the child, the one with the shortest round trip taken."""

    def __init__(self, source: BridgeSource) -> None:
        self._source, self._left = source, CLOCK_TRIES
        self._best = (0.0, np.inf, 0.0)
        self._answer: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._ask()

    def _ask(self) -> None:
        self._sent = self._source._clock()
        # A child that has gone does not answer; that is noticed elsewhere.
        with contextlib.suppress(OSError):
            self._answer = self._source._begin("clock")

    def step(self) -> tuple[float, float, float] | None:
        """Goes on without waiting; the measurement when it is done."""
        answer = _poll(self._answer)
        if answer is None:
            return None
        half = (self._source._clock() - self._sent) / 2
        system = answer["system_time_stamp"] / 1e6
        if half < self._best[1]:
            self._best = (self._sent + half - system, half, system)
        self._left -= 1
        if self._left <= 0:
            return self._best
        self._ask()
        return None


class _BridgeCalibration:
    """The SDK's calibration, asked for through the bridge."""

    def __init__(self, source: BridgeSource) -> None:
        self._source = source

    def enter(self) -> None:
        self._ask("enter")

    def collect(self, x: float, y: float) -> bool:
        return bool(self._ask("collect", x=x, y=y)["ok"])

    def discard(self, x: float, y: float) -> None:
        self._ask("discard", x=x, y=y)

    def compute(self) -> CalibrationResult:
        told = self._ask("compute")
        eyes = _eyes(told["status"].removeprefix("calibration_status_"))
        return CalibrationResult(eyes, tuple(told["points"]) if eyes else (), base64.b64decode(told["data"]))

    def leave(self) -> None:
        self._ask("leave")

    def _ask(self, op: str, **content: Any) -> dict[str, Any]:
        if self._source.tracker is None:
            raise CalibrationError("No tracker is connected: switch it on before calibrating it.")
        try:
            answer = self._source._begin(op, **content).get(timeout=STEP_PATIENCE_S)
        except (OSError, queue.Empty):
            raise CalibrationError("The tracker does not answer: leave the calibration and begin it again.") from None
        if "error" in answer:
            raise CalibrationError(f"The tracker refuses this step of its calibration: {answer['error']}")
        return answer


def _bridge_samples(payload: bytes) -> tuple[Array, Array]:
    rows = np.frombuffer(payload, dtype="<f8").reshape(-1, len(tobii_bridge.COLUMNS))
    system = rows[:, -1]
    out = np.full((len(rows), 1 + len(GAZE_CHANNELS)), np.nan)
    out[:, 0] = system / 1e6
    out[:, 1 : 1 + 2 * len(EYE_CHANNELS)] = rows[:, :-2]
    out[:, 1 + _DEVICE] = rows[:, -2]
    return out, np.column_stack([out[:, 0], system])


def _read_frames(pipe: Any, frames: queue.Queue[tuple[int, int, bytes] | None]) -> None:
    """Frames until the pipe ends or is not ours any more; then None."""
    header = tobii_bridge.HEADER
    try:
        while True:
            head = pipe.read(header.size)
            if len(head) < header.size:
                break
            magic, kind, sequence, length = header.unpack(head)
            if magic != tobii_bridge.MAGIC:
                break
            payload = pipe.read(length)
            if len(payload) < length:
                break
            frames.put((kind, sequence, payload))
    except (OSError, ValueError, struct.error):
        pass  # closed under the reader
    frames.put(None)


def _read_lines(pipe: Any, lines: deque[str]) -> None:
    for line in pipe:
        text = line.decode(errors="replace").strip()
        if text:
            lines.append(text)
            sys.stderr.write(f"tobii: {text}\n")


def _poll(answer: queue.SimpleQueue[dict[str, Any]]) -> dict[str, Any] | None:
    try:
        return answer.get_nowait()
    except queue.Empty:
        return None


def _eyes(status: str) -> tuple[str, ...]:
    return {"success": EYES, "success_left_eye": ("left",), "success_right_eye": ("right",)}.get(status, ())


def _name(kind: Any) -> str:
    """The name of one of TittaPy's enumerations' members."""
    return str(getattr(kind, "name", kind)).lower()


def _first_line(error: BaseException) -> str:
    """TittaPy's errors carry a file and a stack behind their first lines."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
