"""Judging and storing a calibration."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from django.db import transaction

from capture.gaze import calibration as library
from capture.gaze.display import Display
from capture.models import Calibration, Station
from capture.queries.calibrations import thresholds
from study.models import Enrolment, User
from study.queries.studies import protocol_of
from study.services.errors import BadInput

#: A point holds a second of samples at 1200 Hz at most; more is no station check.
MAX_SAMPLES = 5000
MAX_POINTS = 25


def calibrate(*, user: User, station: Station, enrolment: Enrolment | None, measured: dict[str, Any]) -> Calibration:
    """Fit the correction to the calibration points, judge it on the validation points, store both, passed or not.

    `measured` is `{"display": {…}, "tracker": {…}, "calibration": [point…], "validation": [point…]}`, a point being
    `{"x", "y", "left": [[x, y]…], "right": […], "valid_left": […], "valid_right": […]}` in normalised display space.

    Raises
    ------
    BadInput
        The display or a point is not understood, or fewer than four calibration or five validation points came.
    """
    try:
        display = Display.from_dict(_dict(measured.get("display"), "display"))
        tracker = _dict(measured.get("tracker"), "tracker")
        points = {kind: _points(measured.get(kind), kind) for kind in ("calibration", "validation")}
    except ValueError as error:
        raise BadInput(str(error)) from error
    if len(points["calibration"]) < 4 or len(points["validation"]) < 5:
        raise BadInput(
            f"{len(points['calibration'])} calibration and {len(points['validation'])} validation points came; "
            "at least four and five are needed."
        )
    max_accuracy, max_loss = thresholds(protocol_of(enrolment.study).body if enrolment else None)
    correction: library.Correction = {"left": None, "right": None}
    try:
        correction = library.fit_correction(points["calibration"])
        result = library.validate(
            points["validation"], correction, display, max_accuracy_deg=max_accuracy, max_data_loss=max_loss
        )
    except ValueError as error:
        # What was measured is not good enough to judge: that is a failed calibration, not a failed request.
        result = library.Validation(False, str(error), None, None, None, 1.0)
    with transaction.atomic():
        Station.objects.filter(pk=station.pk).update(display=display.to_dict(), tracker=tracker)
        return Calibration.objects.create(
            user=user,
            station=station,
            enrolment=enrolment,
            correction=correction,
            display=display.to_dict(),
            tracker=tracker,
            accuracy_deg=result.accuracy_deg,
            precision_rms_deg=result.rms_s2s_deg,
            precision_sd_deg=result.sd_deg,
            data_loss=result.data_loss,
            max_accuracy_deg=max_accuracy,
            max_data_loss=max_loss,
            points=[asdict(point) for point in result.points],
            samples={kind: measured[kind] for kind in ("calibration", "validation")},
            passed=result.passed,
            sentence=result.sentence[:300],
        )


def _dict(value: Any, name: str) -> dict[str, Any]:
    if value is None and name == "tracker":
        return {}
    if not isinstance(value, dict):
        raise ValueError(f"The {name} is not described.")
    return value


def _points(values: Any, kind: str) -> list[library.PointSamples]:
    if not isinstance(values, list) or len(values) > MAX_POINTS:
        raise ValueError(f"The {kind} points are a list of at most {MAX_POINTS}.")
    out = []
    for value in values:
        if not isinstance(value, dict):
            raise ValueError(f"A {kind} point is not an object.")
        point = library.PointSamples.from_dict(value)
        if len(point.left) > MAX_SAMPLES:
            raise ValueError(f"A {kind} point has {len(point.left)} samples; at most {MAX_SAMPLES} are taken.")
        out.append(point)
    return out
