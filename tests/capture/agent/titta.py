"""A stand-in for TittaPy 2.1 (`TittaPy_v2`) with its names, units and calls: one tracker whose samples a test makes."""

from __future__ import annotations

import time
from enum import Enum
from typing import Any

import numpy as np

NotificationType = Enum(
    "NotificationType",
    "connection_lost connection_restored calibration_mode_entered calibration_mode_left calibration_changed "
    "display_area_changed gaze_output_frequency_changed device_faults device_warnings stream_buffer_overflow",
)
Action = Enum("Action", "nothing enter collect_data discard_data compute get_calibration_data exit")
Status = Enum("Status", "failure success success_left_eye success_right_eye")

_FIELDS = (
    *(f"gaze_point_on_display_area_{a}" for a in "xy"),
    *(f"gaze_point_in_user_coordinates_{a}" for a in "xyz"),
    "gaze_point_valid",
    "gaze_point_available",
    "pupil_diameter",
    "pupil_valid",
    "pupil_available",
    *(f"gaze_origin_in_user_coordinates_{a}" for a in "xyz"),
    "gaze_origin_valid",
    "gaze_origin_available",
    "eye_openness_diameter",
    "eye_openness_valid",
    "eye_openness_available",
)


class Titta:
    """The module. `offset_us` moves its system clock from this machine's."""

    __version__ = "2.1.0"

    def __init__(self, *, openness: bool = True, offset_us: int = 0) -> None:
        self.openness, self.offset_us = openness, offset_us
        self.connected: list[EyeTracker] = []
        self.trackers = [{"address": "tobii-prp://TPFC2-9", "serial_number": "TPFC2-9", "model": "Tobii Pro Fusion"}]
        self.area = {
            "width": 527.0,
            "height": 296.5,
            "top_left": [-263.5, 310.0, 20.0],
            "top_right": [263.5, 310.0, 20.0],
            "bottom_left": [-263.5, 13.5, 20.0],
            "bottom_right": [263.5, 13.5, 20.0],
        }

    def find_all_eye_trackers(self) -> list[dict[str, Any]]:
        return list(self.trackers)

    def get_system_timestamp(self) -> int:
        return time.monotonic_ns() // 1000 + self.offset_us

    def EyeTracker(self, address: str) -> EyeTracker:
        self.connected.append(EyeTracker(self, address))
        return self.connected[-1]


class EyeTracker:
    def __init__(self, module: Titta, address: str) -> None:
        self.module, self.address = module, address
        self.serial_number, self.model, self.firmware_version = address.split("/")[-1], "Tobii Pro Fusion", "2.6.1"
        self.tracking_mode, self.frequency = "human", 250.0
        self.include_openness = False
        self.running = False
        self.gone = ""
        self.samples: list[dict[str, float]] = []
        self.notifications: list[tuple[NotificationType, float | None, str | None]] = []
        self.count = 0
        self.last = 0
        self.result: dict[str, Any] | None = None
        self.points: list[tuple[float, float]] = []
        self.in_calibration = False

    @property
    def display_area(self) -> dict[str, Any]:
        return self.module.area

    def has_stream(self, stream: str) -> bool:
        return stream != "eye_openness" or self.module.openness

    def set_include_eye_openness_in_gaze(self, include: bool) -> bool:
        self.include_openness = include
        return True

    def start(self, stream: str) -> bool:
        assert stream == "gaze"
        self.running, self.last = True, self.module.get_system_timestamp()
        return True

    def stop(self, stream: str) -> bool:
        self.running = False
        return True

    def consume_time_range(self, stream: str) -> dict[str, Any]:
        if self.gone:
            raise RuntimeError(f"Titta::cpp Error: {self.gone}\nError code: 204\nstack")
        if stream == "notification":
            told, self.notifications = self.notifications, []
            return {
                "system_time_stamp": np.array([self.module.get_system_timestamp()] * len(told)),
                "notification_type": [one[0] for one in told],
                "output_frequency": [one[1] for one in told],
                "display_area": [None for _ in told],
                "errors_or_warnings": [one[2] for one in told],
            }
        now = self.module.get_system_timestamp()
        times = np.arange(self.last + 4000, now, 4000, dtype=np.int64) if self.running else np.empty(0, np.int64)
        if len(times):
            self.last = int(times[-1])
        n = len(times)
        data: dict[str, Any] = {"device_time_stamp": times - 7_000_000, "system_time_stamp": times}
        for k, eye in enumerate(("left", "right")):
            for j, name in enumerate(_FIELDS):
                data[f"{eye}_{name}"] = np.full(n, 100.0 * k + j, dtype=np.float32)
                if name.endswith(("_valid", "_available")):
                    data[f"{eye}_{name}"] = np.ones(n, dtype=bool)
            data[f"{eye}_gaze_point_on_display_area_x"][:] = 0.25 + 0.5 * k
            data[f"{eye}_gaze_point_on_display_area_y"][:] = 0.75
            if not self.include_openness:
                data[f"{eye}_eye_openness_diameter"][:] = 0.0
                data[f"{eye}_eye_openness_valid"][:] = False
                data[f"{eye}_eye_openness_available"][:] = False
        return data

    # ── calibration: each step leaves its result to be fetched ────────────────────────────────────────────────────────

    def _done(self, action: Action, *, status: int = 0, **more: Any) -> None:
        self.result = {
            "work_item": {"action": action},
            "status": status,
            "status_string": "TOBII_RESEARCH_STATUS_OK" if not status else "TOBII_RESEARCH_STATUS_OPERATION_FAILED",
            **more,
        }

    def enter_calibration_mode(self, do_monocular: bool) -> bool:
        self.in_calibration = True
        self._done(Action.enter)
        return True

    def leave_calibration_mode(self, force: bool | None = None) -> bool:
        self.in_calibration = False
        self._done(Action.exit)
        return True

    def calibration_collect_data(self, coordinates: list[float], eye: str | None = None) -> None:
        if not self.in_calibration:
            raise RuntimeError("Titta::cpp Error: calibrationCollectData: you have not entered calibration mode\nstack")
        seen = coordinates[0] <= 0.95
        if seen:
            self.points.append((coordinates[0], coordinates[1]))
        self._done(Action.collect_data, status=0 if seen else 11)

    def calibration_discard_data(self, coordinates: list[float], eye: str | None = None) -> None:
        self.points = [p for p in self.points if p != tuple(coordinates)]
        self._done(Action.discard_data)

    def calibration_compute_and_apply(self) -> None:
        status = Status.success if len(self.points) > 2 else Status.success_left_eye
        status = status if len(self.points) > 1 else Status.failure
        points = [
            {
                "position_on_display_area_x": x,
                "position_on_display_area_y": y,
                **{
                    f"samples_{eye}_position_on_display_area_{a}": np.array([v + 0.01], np.float32)
                    for eye in ("left", "right")
                    for a, v in (("x", x), ("y", y))
                },
            }
            for x, y in (self.points if status is Status.success else [])
        ]
        self._done(
            Action.compute,
            status=0 if status is not Status.failure else 11,
            calibration_result={"points": points, "status": status},
        )

    def calibration_get_data(self) -> None:
        self._done(Action.get_calibration_data, calibration_data=list(b"kept"))

    def calibration_retrieve_result(self) -> dict[str, Any] | None:
        result, self.result = self.result, None
        return result


__all__ = ["EyeTracker", "NotificationType", "Titta"]
