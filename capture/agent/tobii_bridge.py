"""Tobii Pro trackers through `tobii-research`, in a process of its own: `PYTHON tobii_bridge.py [--tracker WHICH]`.

`tobii-research` has wheels for CPython 3.10 only, and the agent needs 3.11. So this file is the other half: standard
library and tobii_research, nothing of Gazeroom, clean for Python 3.10; the agent starts it with the interpreter that
`--tobii-python` names (see tobii_bridge.requirements.txt) and reads frames from its standard output:

    magic     4 bytes  b"GZB1"
    kind      uint8    1 JSON, 2 gaze
    sequence  uint64   0, 1, 2, ... over all frames: a frame that is missing shows
    length    uint32   bytes of payload
    payload            JSON (UTF-8), or n x len(COLUMNS) float64, row-major, little endian

Commands come as lines of JSON on standard input, `{"id": 1, "op": "clock"}`, and are answered by a JSON frame with the
same id. Values keep the SDK's own units: microseconds, millimetres, display area 0 to 1 from the top left.
"""

from __future__ import annotations

import argparse
import base64
import json
import math
import os
import struct
import sys
import threading
import time
from pathlib import Path
from typing import Any

MAGIC = b"GZB1"
HEADER = struct.Struct("<4sBQI")
JSON, GAZE = 1, 2

_EYE = (
    "gaze_point_on_display_area_x",
    "gaze_point_on_display_area_y",
    "gaze_point_validity",
    "gaze_point_in_user_coordinate_system_x",
    "gaze_point_in_user_coordinate_system_y",
    "gaze_point_in_user_coordinate_system_z",
    "pupil_diameter",
    "pupil_validity",
    "gaze_origin_in_user_coordinate_system_x",
    "gaze_origin_in_user_coordinate_system_y",
    "gaze_origin_in_user_coordinate_system_z",
    "gaze_origin_validity",
    "eye_openness_value",
    "eye_validity",
)
#: Columns of a gaze frame: the SDK's names, eye by eye, in the order of the agent's channels, then the SDK's two times.
COLUMNS = (
    *(f"{eye}_{name}" for eye in ("left", "right") for name in _EYE),
    "device_time_stamp",
    "system_time_stamp",
)

FLUSH_S = 0.01
HEARTBEAT_S = 1.0
#: Eye openness comes in a stream of its own: gaze waits so long for the sample of the same device time.
OPENNESS_S = 0.06

#: The SDK's notifications: the constant's name, and what the agent calls it.
NOTIFICATIONS = {
    "EYETRACKER_NOTIFICATION_CONNECTION_LOST": "connection_lost",
    "EYETRACKER_NOTIFICATION_CONNECTION_RESTORED": "connection_restored",
    "EYETRACKER_NOTIFICATION_CALIBRATION_MODE_ENTERED": "calibration_mode_entered",
    "EYETRACKER_NOTIFICATION_CALIBRATION_MODE_LEFT": "calibration_mode_left",
    "EYETRACKER_NOTIFICATION_CALIBRATION_CHANGED": "calibration_changed",
    "EYETRACKER_NOTIFICATION_DISPLAY_AREA_CHANGED": "display_area_changed",
    "EYETRACKER_NOTIFICATION_GAZE_OUTPUT_FREQUENCY_CHANGED": "gaze_output_frequency_changed",
    "EYETRACKER_NOTIFICATION_EYE_TRACKING_MODE_CHANGED": "eye_tracking_mode_changed",
    "EYETRACKER_NOTIFICATION_DEVICE_FAULTS": "device_faults",
    "EYETRACKER_NOTIFICATION_DEVICE_WARNINGS": "device_warnings",
    "EYETRACKER_NOTIFICATION_STREAM_BUFFER_OVERFLOW": "stream_buffer_overflow",
}


class Pipe:
    """Frames to the agent; any thread may write."""

    def __init__(self, descriptor: int) -> None:
        self._file = os.fdopen(descriptor, "wb", buffering=0)
        self._lock = threading.Lock()
        self._sequence = 0

    def json(self, **message: Any) -> None:
        self._write(JSON, json.dumps(message).encode())

    def gaze(self, rows: list[list[float]]) -> None:
        flat = [value for row in rows for value in row]
        self._write(GAZE, struct.pack(f"<{len(flat)}d", *flat))

    def _write(self, kind: int, payload: bytes) -> None:
        with self._lock:
            view = memoryview(HEADER.pack(MAGIC, kind, self._sequence, len(payload)) + payload)
            self._sequence += 1
            while view:
                view = view[self._file.write(view) :]


class Gaze:
    """Samples as the SDK's threads bring them, joined with the eye openness of the same device time."""

    def __init__(self, waits_for_openness: bool) -> None:
        self._waits = waits_for_openness
        self._lock = threading.Lock()
        self._rows: list[tuple[float, list[float]]] = []  # (arrival, row)
        self._openness: dict[int, list[float]] = {}

    def sample(self, data: dict[str, Any]) -> None:
        row = []
        for eye in ("left", "right"):
            for name in _EYE:
                key = f"{eye}_{name}"
                if name[-2:] in ("_x", "_y", "_z"):
                    row.append(_number(data[key[:-2]]["xyz".index(name[-1])]))
                elif name in ("eye_openness_value", "eye_validity"):
                    row.append(math.nan)
                else:
                    row.append(_number(data[key]))
        row += [float(data["device_time_stamp"]), float(data["system_time_stamp"])]
        with self._lock:
            self._rows.append((time.monotonic(), row))

    def openness(self, data: dict[str, Any]) -> None:
        values = [_number(data[f"{eye}_{name}"]) for eye in ("left", "right") for name in _EYE[-2:]]
        with self._lock:
            self._openness[int(data["device_time_stamp"])] = values

    def take(self, everything: bool = False) -> list[list[float]]:
        """Rows that are complete, in order."""
        now, out = time.monotonic(), list[list[float]]()
        with self._lock:
            while self._rows:
                arrived, row = self._rows[0]
                values = self._openness.pop(int(row[-2]), None)
                if values is None and self._waits and not everything and now - arrived < OPENNESS_S:
                    break
                if values is not None:
                    n = len(_EYE)
                    row[n - 2 : n], row[2 * n - 2 : 2 * n] = values[:2], values[2:]
                out.append(row)
                del self._rows[0]
            if len(self._openness) > 4096:
                self._openness.clear()
        return out


def _number(value: Any) -> float:
    return float(value) if value is not None else math.nan


class Bridge:
    """One tracker, from found to lost."""

    def __init__(self, sdk: Any, tracker: Any, pipe: Pipe) -> None:
        self.sdk, self.tracker, self.pipe = sdk, tracker, pipe
        capabilities = tuple(tracker.device_capabilities)
        self.has_openness = getattr(sdk, "CAPABILITY_HAS_EYE_OPENNESS_DATA", "") in capabilities
        self.gaze = Gaze(self.has_openness)
        self._calibration: Any = None

    def describe(self) -> dict[str, Any]:
        tracker, area = self.tracker, None
        try:
            area = tracker.get_display_area()
        except Exception as error:  # not every tracker has one
            sys.stderr.write(f"The display area cannot be read: {error}\n")
        return {
            "model": tracker.model,
            "serial_number": tracker.serial_number,
            "device_name": tracker.device_name,
            "firmware_version": tracker.firmware_version,
            "address": tracker.address,
            "rate_hz": float(tracker.get_gaze_output_frequency()),
            "tracking_mode": tracker.get_eye_tracking_mode(),
            "openness": self.has_openness,
            "sdk_version": getattr(self.sdk, "__version__", ""),
            "display": {
                "width_mm": float(area.width),
                "height_mm": float(area.height),
                "top_left": [float(v) for v in area.top_left],
                "top_right": [float(v) for v in area.top_right],
                "bottom_left": [float(v) for v in area.bottom_left],
            }
            if area is not None
            else None,
        }

    def subscribe(self) -> None:
        sdk, tracker = self.sdk, self.tracker
        for constant, name in NOTIFICATIONS.items():
            subscription = getattr(sdk, constant, None)
            if subscription is not None:
                tracker.subscribe_to(subscription, self._notifier(name), as_dictionary=True)
        if hasattr(sdk, "EYETRACKER_STREAM_ERRORS"):
            tracker.subscribe_to(sdk.EYETRACKER_STREAM_ERRORS, self._notifier("stream_error"), as_dictionary=True)
        if self.has_openness:
            tracker.subscribe_to(sdk.EYETRACKER_EYE_OPENNESS_DATA, self.gaze.openness, as_dictionary=True)
        tracker.subscribe_to(sdk.EYETRACKER_GAZE_DATA, self.gaze.sample, as_dictionary=True)

    def _notifier(self, name: str) -> Any:
        def told(data: dict[str, Any]) -> None:
            detail = data.get("faults") or data.get("warnings") or data.get("message") or data.get("error") or ""
            if "gaze_output_frequency" in data:
                detail = float(data["gaze_output_frequency"])
            source = data.get("notification_source_stream") or data.get("source") or ""
            self.pipe.json(
                op="notification",
                name=name,
                detail=detail if isinstance(detail, float) else str(detail),
                source=str(source),
                system_time_stamp=int(data.get("system_time_stamp", 0)),
            )

        return told

    def obey(self, command: dict[str, Any]) -> dict[str, Any]:
        """The answer to one command. Raises what the SDK raises."""
        op = command["op"]
        if op == "clock":
            return {"system_time_stamp": int(self.sdk.get_system_time_stamp())}
        if op == "describe":
            return {"tracker": self.describe()}
        if op == "enter":
            self._calibration = self.sdk.ScreenBasedCalibration(self.tracker)
            self._calibration.enter_calibration_mode()
            return {}
        if self._calibration is None:
            raise RuntimeError("no calibration has been entered")
        if op == "leave":
            calibration, self._calibration = self._calibration, None
            calibration.leave_calibration_mode()
            return {}
        if op == "collect":
            status = self._calibration.collect_data(command["x"], command["y"])
            return {"ok": status == self.sdk.CALIBRATION_STATUS_SUCCESS}
        if op == "discard":
            self._calibration.discard_data(command["x"], command["y"])
            return {}
        if op == "compute":
            result = self._calibration.compute_and_apply()
            data = b""
            if result.status != self.sdk.CALIBRATION_STATUS_FAILURE:
                data = self.tracker.retrieve_calibration_data() or b""
            return {
                "status": result.status,
                "points": [_point(point) for point in result.calibration_points],
                "data": base64.b64encode(bytes(data)).decode("ascii"),
            }
        raise RuntimeError(f"it does not know the command {op!r}")

    def listen(self, ended: threading.Event) -> None:
        """Commands, until the agent closes standard input."""
        for line in sys.stdin:
            command: dict[str, Any] = {}
            try:
                command = json.loads(line)
                answer = self.obey(command)
            except Exception as error:  # the SDK's own classes are many; the agent says it to a person
                answer = {"error": str(error) or type(error).__name__}
            self.pipe.json(op="answer", id=command.get("id"), **answer)
        ended.set()

    def run(self) -> None:
        ended = threading.Event()
        self.pipe.json(op="tracker", **self.describe())
        threading.Thread(target=self.listen, args=(ended,), daemon=True).start()
        self.subscribe()
        beat = time.monotonic()
        while not ended.wait(FLUSH_S):
            rows = self.gaze.take()
            if rows:
                self.pipe.gaze(rows)
            if time.monotonic() - beat >= HEARTBEAT_S:
                beat = time.monotonic()
                self.pipe.json(op="alive", system_time_stamp=int(self.sdk.get_system_time_stamp()))
        self.tracker.unsubscribe_from(self.sdk.EYETRACKER_GAZE_DATA, self.gaze.sample)
        rows = self.gaze.take(everything=True)
        if rows:
            self.pipe.gaze(rows)


def _point(point: Any) -> dict[str, Any]:
    samples = []
    for sample in point.calibration_samples:
        samples.append(
            [[list(eye.position_on_display_area), eye.validity] for eye in (sample.left_eye, sample.right_eye)]
        )
    return {"x": point.position_on_display_area[0], "y": point.position_on_display_area[1], "samples": samples}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Feed the agent from a Tobii Pro tracker.")
    parser.add_argument("--tracker", help="its serial number or address, where there are several")
    arguments = parser.parse_args(argv)
    # The SDK may write to standard output, which is the agent's pipe: it gets standard error instead.
    pipe = Pipe(os.dup(1))
    os.dup2(2, 1)
    try:
        import tobii_research as sdk
    except ImportError as error:
        pipe.json(
            op="failed",
            final=True,
            sentence=f"{sys.executable} has no tobii_research ({error}): "
            f"{sys.executable} -m pip install -r {Path(__file__).resolve().with_suffix('.requirements.txt')}",
        )
        return 3
    found = list(sdk.find_all_eyetrackers())
    if arguments.tracker:
        found = [t for t in found if arguments.tracker in (t.serial_number, t.address)]
    if not found:
        which = " " + arguments.tracker if arguments.tracker else ""
        pipe.json(
            op="failed",
            final=False,
            sentence=f"no Tobii tracker{which} is found: switch it on, and look for it in Eye Tracker Manager",
        )
        return 4
    found.sort(key=lambda t: t.serial_number)
    Bridge(sdk, found[0], pipe).run()
    return 0


if __name__ == "__main__":
    # This file's folder is the agent's: none of its modules may stand in for one that the SDK means.
    here = Path(__file__).resolve().parent
    sys.path[:] = [place for place in sys.path if Path(place or ".").resolve() != here]
    try:
        sys.exit(main())
    except BrokenPipeError:
        # The agent has gone.
        os._exit(0)
