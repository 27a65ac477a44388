"""Judging and storing a calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from capture.gaze import calibration as library
from capture.gaze.display import Display
from capture.models import Calibration, Station
from capture.queries.calibrations import calibrations_of
from study.models import Enrolment, User
from study.queries.studies import protocol_of
from study.services.errors import BadInput
from study.services.protocol_body import calibration_rules

from .stations import tracker_told

#: A point holds a second of samples at 1200 Hz at most; more is no station check.
MAX_SAMPLES = 5000
MAX_POINTS = 25
#: Bad points are measured again while the reader still sits there; later it is another calibration.
REPEAT_WITHIN = timedelta(minutes=15)
KINDS = ("calibration", "validation")


def calibrate(*, user: User, station: Station, enrolment: Enrolment | None, measured: dict[str, Any]) -> Calibration:
    """Fit the correction to the calibration points, judge it on the validation points, store both, passed or not.

    `measured` is `{"display": {…}, "tracker": {…}, "calibration": [point…], "validation": [point…]}`, a point being
    what `PointSamples.from_dict` reads. With `"repeats"`, the id of the reader's last calibration here, only the points
    that are measured again need to be there: the others are taken over from it, and the new row says which.

    Raises
    ------
    BadInput
        The display or a point is not understood, or the points are not those that were asked for. Nothing is written.
    """
    try:
        display = Display.from_dict(measured_object(measured, "display"))
        tracker = tracker_told(measured_object(measured, "tracker"))
        given = {kind: points_of(measured.get(kind), kind) for kind in KINDS}
    except ValueError as error:
        raise BadInput(str(error)) from error
    rules = calibration_rules(protocol_of(enrolment.study).body if enrolment else None)
    earlier = None
    if measured.get("repeats") is not None:
        earlier = _repeated(user, station, display, measured["repeats"])
    samples, retaken = _all_points(given, measured, rules.points, earlier)
    points = {kind: [library.PointSamples.from_dict(value) for value in samples[kind]] for kind in KINDS}
    correction: library.Correction = {"left": None, "right": None}
    fits: dict[str, library.EyeFit] = {}
    try:
        correction, fits = library.fit_correction(points["calibration"], display)
        result = library.validate(
            points["validation"],
            correction,
            display,
            max_accuracy_deg=rules.max_accuracy_deg,
            max_data_loss=rules.max_data_loss,
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
            fit={eye: asdict(how) for eye, how in fits.items()},
            display=display.to_dict(),
            tracker=tracker,
            accuracy_deg=result.accuracy_deg,
            precision_rms_deg=result.rms_s2s_deg,
            precision_sd_deg=result.sd_deg,
            data_loss=result.data_loss,
            max_accuracy_deg=rules.max_accuracy_deg,
            max_data_loss=rules.max_data_loss,
            points=[asdict(point) for point in result.points],
            samples=samples,
            repeats=earlier,
            retaken=retaken,
            passed=result.passed,
            sentence=result.sentence[:300],
        )


def bad_points(calibration: Calibration) -> dict[str, list[tuple[float, float]]]:
    """The targets worth measuring again, by kind: far from their gaze, or hardly seen. None if nothing was fitted."""
    if not any(calibration.correction.values()):
        return {kind: [] for kind in KINDS}
    display = Display.from_dict(calibration.display)
    limits = {"max_accuracy_deg": calibration.max_accuracy_deg, "max_data_loss": calibration.max_data_loss}
    out: dict[str, list[tuple[float, float]]] = {}
    for kind in KINDS:
        points = [library.PointSamples.from_dict(value) for value in calibration.samples[kind]]
        results = [library.point_result(point, calibration.correction, display) for point in points]
        out[kind] = [(result.x, result.y) for result in results if result.problem(**limits)]
    return out


def measured_object(measured: dict[str, Any], name: str) -> dict[str, Any]:
    """The object of this name in what a page sent; a tracker may be missing. Raises ValueError."""
    value = measured.get(name)
    if value is None and name == "tracker":
        return {}
    if not isinstance(value, dict):
        raise ValueError(f"The {name} is not described.")
    return value


def points_of(values: Any, kind: str) -> list[library.PointSamples]:
    """The points a page sent. Raises ValueError."""
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


def _repeated(user: User, station: Station, display: Display, number: Any) -> Calibration:
    """The calibration whose bad points are measured again: this reader's last one, here, a moment ago."""
    last = calibrations_of(user).filter(station=station, created_at__gte=timezone.now() - REPEAT_WITHIN).first()
    try:
        wanted = UUID(str(number))
    except ValueError:
        wanted = None
    if last is None or last.pk != wanted:
        raise BadInput(
            "That is not your last calibration at this station, or it was long ago: calibrate from the start."
        )
    if last.display != display.to_dict():
        raise BadInput("The display is not the one the other points were measured on: calibrate from the start.")
    return last


def _all_points(
    given: dict[str, list[library.PointSamples]], measured: dict[str, Any], number: int, earlier: Calibration | None
) -> tuple[dict[str, list[Any]], dict[str, list[library.Point]]]:
    """Every point as it was sent, those of the earlier calibration included, and the targets that were retaken."""
    asked = {
        "calibration": library.CALIBRATION_POINTS[number],
        "validation": library.VALIDATION_POINTS,
    }
    if earlier is not None:
        asked = {kind: tuple((v["x"], v["y"]) for v in earlier.samples[kind]) for kind in KINDS}
    samples: dict[str, list[Any]] = {}
    retaken: dict[str, list[library.Point]] = {}
    for kind in KINDS:
        found = {_key(point.target): value for point, value in zip(given[kind], measured[kind], strict=True)}
        _refuse_other_targets(kind, asked[kind], [point.target for point in given[kind]], whole=earlier is None)
        kept = {_key((v["x"], v["y"])): v for v in earlier.samples[kind]} if earlier else {}
        samples[kind] = [(kept | found)[_key(target)] for target in asked[kind]]
        retaken[kind] = [target for target in asked[kind] if _key(target) in found] if earlier else []
    if earlier is not None and not any(retaken.values()):
        raise BadInput("No point was measured again.")
    return samples, retaken if earlier is not None else {}


def _refuse_other_targets(
    kind: str, asked: Sequence[library.Point], given: Sequence[library.Point], *, whole: bool
) -> None:
    wanted, had = {_key(target) for target in asked}, [_key(target) for target in given]
    if other := [target for target in had if target not in wanted]:
        raise BadInput(f"The {kind} has a target at ({other[0][0]:g}, {other[0][1]:g}) that was not asked for.")
    if len(set(had)) != len(had):
        raise BadInput(f"The {kind} has a target twice.")
    missing = [target for target in asked if _key(target) not in had]
    if whole and missing:
        raise BadInput(f"The {kind} lacks the target at ({missing[0][0]:g}, {missing[0][1]:g}).")


def _key(target: library.Point) -> library.Point:
    return round(target[0], 4), round(target[1], 4)
