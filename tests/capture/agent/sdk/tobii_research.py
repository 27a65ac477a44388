"""A stand-in for Tobii's `tobii_research` 2.1 with its names, units and calls, and a tracker that does what it is told.

What it does comes from the environment (FAKE_TOBII, JSON): `trackers` (serial numbers), `offset_us` (of the system
clock from this machine's steady one), `rate`, `openness`, `script` (a list of [seconds, what happens]), `noise` (text
the library prints to standard output, as the real one may).
"""

import json
import os
import sys
import threading
import time

__version__ = "2.1.0"

CALIBRATION_STATUS_FAILURE = "calibration_status_failure"
CALIBRATION_STATUS_SUCCESS = "calibration_status_success"
CALIBRATION_STATUS_SUCCESS_LEFT_EYE = "calibration_status_success_left_eye"
CALIBRATION_STATUS_SUCCESS_RIGHT_EYE = "calibration_status_success_right_eye"
CAPABILITY_HAS_EYE_OPENNESS_DATA = "capability_has_eye_openness_data"
CAPABILITY_HAS_GAZE_DATA = "capability_has_gaze_data"
EYETRACKER_GAZE_DATA = "eyetracker_gaze_data"
EYETRACKER_EYE_OPENNESS_DATA = "eyetracker_eye_openness_data"
EYETRACKER_STREAM_ERRORS = "eyetracker_stream_errors"
EYETRACKER_NOTIFICATION_CALIBRATION_MODE_ENTERED = "eyetracker_notification_calibration_mode_entered"
EYETRACKER_NOTIFICATION_CALIBRATION_MODE_LEFT = "eyetracker_notification_calibration_mode_left"
EYETRACKER_NOTIFICATION_CALIBRATION_CHANGED = "eyetracker_notification_calibration_changed"
EYETRACKER_NOTIFICATION_CONNECTION_LOST = "eyetracker_notification_connection_lost"
EYETRACKER_NOTIFICATION_CONNECTION_RESTORED = "eyetracker_notification_connection_restored"
EYETRACKER_NOTIFICATION_DISPLAY_AREA_CHANGED = "eyetracker_notification_display_area_changed"
EYETRACKER_NOTIFICATION_GAZE_OUTPUT_FREQUENCY_CHANGED = "eyetracker_notification_gaze_output_frequency_changed"
EYETRACKER_NOTIFICATION_EYE_TRACKING_MODE_CHANGED = "eyetracker_notification_eye_tracking_mode_changed"
EYETRACKER_NOTIFICATION_DEVICE_FAULTS = "eyetracker_notification_device_faults"
EYETRACKER_NOTIFICATION_DEVICE_WARNINGS = "eyetracker_notification_device_warnings"
EYETRACKER_NOTIFICATION_STREAM_BUFFER_OVERFLOW = "eyetracker_notification_stream_buffer_overflow"

PLAN = {
    "trackers": ["TPSP1-0123"],
    "offset_us": 0,
    "rate": 250.0,
    "openness": True,
    "script": [],
    "noise": "",
    **json.loads(os.environ.get("FAKE_TOBII", "{}")),
}
if PLAN["noise"]:
    os.write(1, PLAN["noise"].encode())


class EyeTrackerInvalidOperationError(Exception):
    pass


def get_system_time_stamp():
    return time.monotonic_ns() // 1000 + PLAN["offset_us"]


def find_all_eyetrackers():
    return tuple(EyeTracker(serial) for serial in PLAN["trackers"])


class DisplayArea:
    width, height = 527.0, 296.5
    top_left, top_right, bottom_left = (-263.5, 310.0, 20.0), (263.5, 310.0, 20.0), (-263.5, 13.5, 20.0)
    bottom_right = (263.5, 13.5, 20.0)


def sample(index, device, system):
    """Gaze of sample `index`: every value can be told from every other."""
    data = {"device_time_stamp": device, "system_time_stamp": system}
    for k, eye in enumerate(("left", "right")):
        valid = int(index % 10 != 9)
        nothing = float("nan")
        data[f"{eye}_gaze_point_on_display_area"] = (0.25 + 0.1 * k, 0.75) if valid else (nothing, nothing)
        data[f"{eye}_gaze_point_in_user_coordinate_system"] = (10.0 + k, 20.0 + k, 30.0 + k)
        data[f"{eye}_gaze_point_validity"] = valid
        data[f"{eye}_pupil_diameter"] = 3.5 + k
        data[f"{eye}_pupil_validity"] = 1
        data[f"{eye}_gaze_origin_in_user_coordinate_system"] = (-31.0 + 62 * k, 5.0, 650.0)
        data[f"{eye}_gaze_origin_validity"] = 1
    return data


class EyeTracker:
    def __init__(self, serial):
        self.serial_number, self.address = serial, f"tobii-prp://{serial}"
        self.model, self.device_name, self.firmware_version = "Tobii Pro Spectrum", "desk 3", "2.6.1"
        self.device_capabilities = (CAPABILITY_HAS_GAZE_DATA,)
        if PLAN["openness"]:
            self.device_capabilities += (CAPABILITY_HAS_EYE_OPENNESS_DATA,)
        self.rate, self.area, self.calibrated, self.mode = PLAN["rate"], DisplayArea(), b"factory", False
        self.callbacks = {}
        self.lock = threading.Lock()

    def get_gaze_output_frequency(self):
        return self.rate

    def get_eye_tracking_mode(self):
        return "human"

    def get_display_area(self):
        return self.area

    def retrieve_calibration_data(self):
        return self.calibrated

    def subscribe_to(self, kind, callback, as_dictionary=False):
        assert as_dictionary
        self.callbacks[kind] = callback
        if kind == EYETRACKER_GAZE_DATA:
            threading.Thread(target=self._stream, daemon=True).start()

    def unsubscribe_from(self, kind, callback=None):
        self.callbacks.pop(kind, None)

    def notify(self, kind, **data):
        data["system_time_stamp"] = get_system_time_stamp()
        if kind in self.callbacks:
            self.callbacks[kind](data)

    def _stream(self):
        began, index = time.monotonic(), 0
        script = list(PLAN["script"])
        while EYETRACKER_GAZE_DATA in self.callbacks:
            time.sleep(1 / self.rate)
            while script and time.monotonic() - began >= script[0][0]:
                self._happen(script.pop(0)[1])
            system = get_system_time_stamp()
            data = sample(index, system - 5_000_000, system)
            index += 1
            callback = self.callbacks.get(EYETRACKER_GAZE_DATA)
            if callback:
                callback(data)
            # Openness is a stream of its own, a little later, and now and then not at all.
            openness = self.callbacks.get(EYETRACKER_EYE_OPENNESS_DATA)
            if openness and index % 7:
                openness(
                    {
                        "device_time_stamp": data["device_time_stamp"],
                        "system_time_stamp": data["system_time_stamp"],
                        "left_eye_validity": 1,
                        "left_eye_openness_value": 9.5,
                        "right_eye_validity": 0,
                        "right_eye_openness_value": 9.7,
                    }
                )

    def _happen(self, what):
        if what == "die":
            sys.stderr.write("the library gave up\n")
            sys.stderr.flush()
            os._exit(7)
        if what == "hang":
            time.sleep(3600)
        if what == "lost":
            self.notify(EYETRACKER_NOTIFICATION_CONNECTION_LOST)
        if what == "restored":
            self.notify(EYETRACKER_NOTIFICATION_CONNECTION_RESTORED)
        if what == "fault":
            self.notify(EYETRACKER_NOTIFICATION_DEVICE_FAULTS, faults="illuminator 2 failed")
        if what == "overflow":
            self.notify(EYETRACKER_NOTIFICATION_STREAM_BUFFER_OVERFLOW, notification_source_stream="gaze")
        if what == "moved":
            self.area = DisplayArea()
            self.area.width = 600.0
            self.notify(EYETRACKER_NOTIFICATION_DISPLAY_AREA_CHANGED, display_area={})
        if what == "slower":
            self.rate = 60.0
            self.notify(EYETRACKER_NOTIFICATION_GAZE_OUTPUT_FREQUENCY_CHANGED, gaze_output_frequency=60.0)


class _Eye:
    def __init__(self, x, y):
        self.position_on_display_area, self.validity = (x, y), "validity_valid_and_used"


class _Sample:
    def __init__(self, x, y):
        self.left_eye, self.right_eye = _Eye(x + 0.01, y), _Eye(x - 0.01, y)


class _Point:
    def __init__(self, x, y):
        self.position_on_display_area, self.calibration_samples = (x, y), (_Sample(x, y), _Sample(x, y))


class _Result:
    def __init__(self, status, points):
        self.status, self.calibration_points = status, points


class ScreenBasedCalibration:
    def __init__(self, eyetracker):
        self.tracker, self.points = eyetracker, []

    def _needs_mode(self):
        if not self.tracker.mode:
            raise EyeTrackerInvalidOperationError("The eye tracker is not in calibration mode.")

    def enter_calibration_mode(self):
        self.tracker.mode = True
        self.tracker.notify(EYETRACKER_NOTIFICATION_CALIBRATION_MODE_ENTERED)

    def leave_calibration_mode(self):
        self._needs_mode()
        self.tracker.mode = False
        self.tracker.notify(EYETRACKER_NOTIFICATION_CALIBRATION_MODE_LEFT)

    def collect_data(self, x, y):
        self._needs_mode()
        if x > 0.95:  # where this one never sees an eye
            return CALIBRATION_STATUS_FAILURE
        self.points.append((x, y))
        return CALIBRATION_STATUS_SUCCESS

    def discard_data(self, x, y):
        self._needs_mode()
        self.points = [p for p in self.points if p != (x, y)]

    def compute_and_apply(self):
        self._needs_mode()
        if len(self.points) < 2:
            return _Result(CALIBRATION_STATUS_FAILURE, ())
        self.tracker.calibrated = b"calibration of %d points" % len(self.points)
        self.tracker.notify(EYETRACKER_NOTIFICATION_CALIBRATION_CHANGED)
        if len(self.points) == 2:  # one eye only: the SDK returns no points then
            return _Result(CALIBRATION_STATUS_SUCCESS_LEFT_EYE, ())
        return _Result(CALIBRATION_STATUS_SUCCESS, tuple(_Point(x, y) for x, y in self.points))
