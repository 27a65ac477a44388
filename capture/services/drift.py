"""Judging and storing a drift check."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from capture.gaze import calibration as library
from capture.gaze.display import Display
from capture.models import DriftCheck, Station
from capture.queries.calibrations import latest_passed
from study.models import Enrolment, User
from study.queries.studies import protocol_of
from study.services.errors import BadInput, Refused
from study.services.protocol_body import calibration_rules

from .calibrations import measured_object, points_of


def check_drift(*, user: User, station: Station, enrolment: Enrolment, measured: dict[str, Any]) -> DriftCheck:
    """Judge the calibration that holds by one target looked at now, and store what was measured, passed or not.

    `measured` is `{"display": {…}, "point": {…}}`. Nothing recorded is shifted by it. What exceeds the threshold opens
    no further case before the point is looked at again, or the station is calibrated again.

    Raises
    ------
    BadInput
        The display or the point is not understood, or is another one than the calibration's. Nothing is written.
    Refused
        No calibration holds here.
    """
    calibration = latest_passed(user, station)
    if calibration is None:
        raise Refused(f"No calibration holds at {station}: calibrate first.")
    try:
        display = Display.from_dict(measured_object(measured, "display"))
        (point,) = points_of([measured.get("point")], "drift check's")
    except ValueError as error:
        raise BadInput(str(error)) from error
    if display != Display.from_dict(calibration.display):
        known = calibration.display
        raise BadInput(
            f"The display has {display.width_px:g} × {display.height_px:g} pixels, {display.width_mm:g} × "
            f"{display.height_mm:g} mm at {display.distance_mm:g} mm; the calibration was made on "
            f"{known['width_px']:g} × {known['height_px']:g}, {known['width_mm']:g} × {known['height_mm']:g} mm at "
            f"{known['distance_mm']:g} mm: calibrate again."
        )
    if point.target != library.DRIFT_POINT:
        raise BadInput(f"The target at ({point.target[0]:g}, {point.target[1]:g}) is not the drift check's.")
    limit = calibration_rules(protocol_of(enrolment.study).body).max_drift_deg
    result = library.drift(point, calibration.correction, display, max_drift_deg=limit)
    return DriftCheck.objects.create(
        user=user,
        calibration=calibration,
        enrolment=enrolment,
        display=display.to_dict(),
        drift_deg=result.drift_deg,
        drift_x_deg=result.x_deg,
        drift_y_deg=result.y_deg,
        precision_sd_deg=result.point.sd_deg,
        data_loss=result.point.data_loss,
        max_drift_deg=limit,
        point=asdict(result.point),
        samples=measured["point"],
        passed=result.passed,
        sentence=result.sentence[:300],
    )
