"""What a protocol may say: made with defaults, checked strictly, one sentence for each thing that is wrong."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gazex.findings import FINDINGS
from study.models import Arm, Study

from .errors import BadInput

GAZE = ("required", "optional", "none")
#: What a protocol says of calibration unless told otherwise: the one home of these thresholds.
CALIBRATION: dict[str, Any] = {"max_accuracy_deg": 1.5, "max_data_loss": 0.3}
#: What it may say besides. A protocol without a key has no such rule, or the first of the two numbers of points.
CALIBRATION_POINTS = (5, 9)
DRIFT_KEYS = ("drift_every_cases", "drift_every_minutes")
OPTIONAL_CALIBRATION = {"points", "max_drift_deg", *DRIFT_KEYS}
KEYS = {"findings", "gaze", "calibration", "washout_days", "periods", "model_sha256", "arms", "seed"}
#: May be left out: what the study decides about its gaze measures, in place of the defaults. Above 0, at most this; a
#: list of such numbers; whole numbers. `capture.gaze.radiology.Parameters` says what each means.
GAZE_MEASURES = {"field_deg": 30.0, "dwell_s": 60.0, "max_data_loss": 1.0}
GAZE_MEASURES_KEYS = {*GAZE_MEASURES, "coverage_fields_deg", "called_from", "zones"}

#: The ways of reading that the reading room has controls for; in any other, a read would open and never be submitted.
READABLE: tuple[Any, ...] = (Arm.Assistance.NONE, Arm.Assistance.CONCURRENT)

UNASSISTED = {"key": "unassisted", "name": "Unassisted", "assistance": "none"}
CONCURRENT = {"key": "gazex", "name": "With GazeX", "assistance": "concurrent"}


@dataclass(frozen=True)
class CalibrationRules:
    """What a protocol asks of the eye tracker. Degrees of visual angle; data loss is a share, 0 to 1.

    A drift check is due after `drift_every_cases` cases or `drift_every_minutes` minutes; None: never for that reason.
    """

    max_accuracy_deg: float
    max_data_loss: float
    points: int
    max_drift_deg: float
    drift_every_cases: int | None
    drift_every_minutes: int | None

    @property
    def checks_drift(self) -> bool:
        return self.drift_every_cases is not None or self.drift_every_minutes is not None

    def __str__(self) -> str:
        text = (
            f"accuracy {self.max_accuracy_deg:g}° or better, at most {100 * self.max_data_loss:g} % lost, "
            f"{self.points} points"
        )
        every = [
            f"{number} {unit}{'' if number == 1 else 's'}"
            for number, unit in ((self.drift_every_cases, "case"), (self.drift_every_minutes, "minute"))
            if number is not None
        ]
        return f"{text}; drift at most {self.max_drift_deg:g}°, checked every {' or '.join(every)}" if every else text


def calibration_rules(body: Mapping[str, Any] | None) -> CalibrationRules:
    """The rules of a protocol's body; those of a protocol made with defaults where there is none."""
    told = {**CALIBRATION, **((body or {}).get("calibration") or {})}
    return CalibrationRules(
        max_accuracy_deg=float(told["max_accuracy_deg"]),
        max_data_loss=float(told["max_data_loss"]),
        points=told.get("points", CALIBRATION_POINTS[0]),
        # Gaze that has drifted further than calibration may be wrong is as bad as uncalibrated.
        max_drift_deg=float(told.get("max_drift_deg", told["max_accuracy_deg"])),
        drift_every_cases=told.get("drift_every_cases"),
        drift_every_minutes=told.get("drift_every_minutes"),
    )


def collection_body(
    *,
    findings: Sequence[str],
    gaze: str = "required",
    calibration: Mapping[str, Any] = CALIBRATION,
    seed: int = 1,
) -> dict[str, Any]:
    """The body of a collection: one unassisted arm, each reader reads each case once."""
    return {
        "findings": list(findings),
        "gaze": gaze,
        "calibration": dict(calibration),
        "washout_days": 0,
        "periods": 1,
        "model_sha256": None,
        "arms": [dict(UNASSISTED)],
        "seed": seed,
    }


def comparison_body(
    *,
    findings: Sequence[str],
    model_sha256: str,
    gaze: str = "optional",
    calibration: Mapping[str, Any] = CALIBRATION,
    washout_days: int = 28,
    seed: int = 1,
) -> dict[str, Any]:
    """The body of a two-period crossover: unassisted against GazeX concurrent."""
    return {
        "findings": list(findings),
        "gaze": gaze,
        "calibration": dict(calibration),
        "washout_days": washout_days,
        "periods": 2,
        "model_sha256": model_sha256,
        "arms": [dict(UNASSISTED), dict(CONCURRENT)],
        "seed": seed,
    }


def check_body(kind: str, body: Any) -> None:
    """Refuse a body that breaks a rule.

    Raises
    ------
    BadInput
        With one sentence that names the key and what it should be.
    """
    if not isinstance(body, dict):
        raise BadInput("The protocol is not an object with keys and values.")
    if missing := sorted(KEYS - body.keys()):
        raise BadInput(f"The protocol lacks {missing[0]!r}.")
    if unknown := sorted(body.keys() - KEYS - {"gaze_measures"}):
        raise BadInput(f"The protocol has {unknown[0]!r}, which means nothing here; leave it out.")
    _check_findings(body["findings"])
    if body["gaze"] not in GAZE:
        raise BadInput(f"gaze is {body['gaze']!r}; write required, optional or none.")
    _check_calibration(body["calibration"])
    _check_gaze_measures(body.get("gaze_measures", {}))
    _check_whole("washout_days", body["washout_days"], 0, 3650)
    _check_whole("seed", body["seed"], 0, 2**53)
    _check_arms(kind, body["arms"])
    _check_whole("periods", body["periods"], 1, 8)
    if body["periods"] != len(body["arms"]):
        raise BadInput(f"periods is {body['periods']}; a protocol of {len(body['arms'])} arms has as many periods.")
    assisted = any(arm["assistance"] != Arm.Assistance.NONE for arm in body["arms"])
    model = body["model_sha256"]
    if assisted and not (isinstance(model, str) and re.fullmatch(r"[0-9a-f]{64}", model)):
        raise BadInput("model_sha256 has to name the model of the assisted arm by the SHA-256 of its weights.")
    if not assisted and model is not None:
        raise BadInput("model_sha256 names a model, but no arm is assisted; write null.")


def _check_whole(name: str, value: Any, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise BadInput(f"{name} is {value!r}; write a whole number from {low} to {high}.")


def _check_findings(findings: Any) -> None:
    if not isinstance(findings, list) or not findings:
        raise BadInput("The protocol asks for no finding; name at least one.")
    for finding in findings:
        if finding not in FINDINGS:
            raise BadInput(f"{finding!r} is not a finding known here; use CheXbert's names, such as {FINDINGS[8]!r}.")
    if len(set(findings)) != len(findings):
        raise BadInput("The protocol names a finding twice.")


def _check_calibration(calibration: Any) -> None:
    if not isinstance(calibration, dict) or not set(CALIBRATION) <= set(calibration):
        raise BadInput("calibration needs max_accuracy_deg and max_data_loss.")
    if unknown := sorted(calibration.keys() - CALIBRATION.keys() - OPTIONAL_CALIBRATION):
        raise BadInput(f"calibration has {unknown[0]!r}, which means nothing here; leave it out.")
    for name, high in (("max_accuracy_deg", 10.0), ("max_data_loss", 1.0), ("max_drift_deg", 10.0)):
        value = calibration.get(name, high)
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= high:
            raise BadInput(f"{name} is {value!r}; write a number above 0 and at most {high:g}.")
    if calibration.get("points", CALIBRATION_POINTS[0]) not in CALIBRATION_POINTS:
        raise BadInput(f"points is {calibration['points']!r}; calibrate with 5 or 9.")
    for name in DRIFT_KEYS:
        if name in calibration:
            _check_whole(name, calibration[name], 1, 1000)
    if "max_drift_deg" in calibration and not set(DRIFT_KEYS) & set(calibration):
        raise BadInput("max_drift_deg has no use without drift_every_cases or drift_every_minutes.")


def _check_gaze_measures(chosen: Any) -> None:
    if not isinstance(chosen, dict) or chosen.keys() - GAZE_MEASURES_KEYS:
        raise BadInput(f"gaze_measures may hold {', '.join(sorted(GAZE_MEASURES_KEYS))} and nothing else.")
    fields = chosen.get("coverage_fields_deg", [1.0])
    if not isinstance(fields, list) or not fields or len({str(field) for field in fields}) != len(fields):
        raise BadInput("coverage_fields_deg has to be a list of different numbers of degrees.")
    numbers = [(name, chosen[name], high) for name, high in GAZE_MEASURES.items() if name in chosen]
    for name, value, high in [*numbers, *(("coverage_fields_deg", field, 30.0) for field in fields)]:
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= high:
            raise BadInput(f"{name} is {value!r}; write a number above 0 and at most {high:g}.")
    _check_whole("called_from", chosen.get("called_from", 4), 2, 5)
    zones = chosen.get("zones", [3, 2])
    if not isinstance(zones, list) or len(zones) != 2:
        raise BadInput("zones has to be two whole numbers, of rows and of columns.")
    for number in zones:
        _check_whole("zones", number, 1, 20)


def _check_arms(kind: str, arms: Any) -> None:
    if kind not in Study.Kind.values:
        raise BadInput(f"{kind!r} is not a kind of study; write comparison or collection.")
    if not isinstance(arms, list) or not all(isinstance(arm, dict) for arm in arms):
        raise BadInput("arms has to be a list of arms.")
    for arm in arms:
        if set(arm) != {"key", "name", "assistance"}:
            raise BadInput("Each arm has exactly a key, a name and an assistance.")
        if not isinstance(arm["key"], str) or not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,31}", arm["key"]):
            raise BadInput(f"{arm['key']!r} is no arm key; use up to 32 lower-case letters, digits, - and _.")
        if not isinstance(arm["name"], str) or not 0 < len(arm["name"].strip()) <= 64:
            raise BadInput(f"The arm {arm['key']} needs a name of at most 64 characters.")
        if arm["assistance"] not in Arm.Assistance.values:
            raise BadInput(f"The arm {arm['key']} has assistance {arm['assistance']!r}, which is unknown.")
        if arm["assistance"] not in READABLE:
            raise BadInput(
                f"The arm {arm['key']}, {Arm.Assistance(arm['assistance']).label}, cannot be read in the reading room "
                f"yet; use {' or '.join(READABLE)}."
            )
    if len({arm["key"] for arm in arms}) != len(arms):
        raise BadInput("Two arms have the same key.")
    if kind == Study.Kind.COLLECTION and [arm["assistance"] for arm in arms] != ["none"]:
        raise BadInput("A collection has one arm, and it is unassisted.")
    if kind == Study.Kind.COMPARISON and len(arms) < 2:
        raise BadInput("A comparison needs at least two arms.")
