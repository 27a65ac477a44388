"""What the page of calibration quality shows: sessions, drawings and tables, from what a person may see.

A session is one reader's day (UTC) at the stations of the site. Angles are degrees of visual angle, drawings are in
millimetres of the display, with errors enlarged so that they can be seen.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

import numpy as np

from capture.models import Calibration, DriftCheck
from capture.queries.calibrations import calibrations_visible_to, drift_checks_visible_to
from study.models import Study, User

#: How much longer errors and ellipses are drawn than they are: half a degree is 6 mm on a display.
ENLARGED = 3
#: Fewer sessions than this have no outliers: quartiles of a handful say nothing.
MIN_FOR_OUTLIERS = 8


@dataclass(frozen=True)
class DrawnPoint:
    """One validation point in the drawing, millimetres as texts; gaze None where there was none."""

    number: int
    x: str
    y: str
    label: str
    label_y: str
    limit: str
    bad: str
    gaze_x: str | None = None
    gaze_y: str | None = None
    ellipse: tuple[str, str, str] | None = None


@dataclass(frozen=True)
class Drawing:
    """A calibration's validation: targets, the threshold around them, error vectors and precision ellipses."""

    width: str
    height: str
    font: str
    cross: str
    points: list[DrawnPoint]
    description: str


@dataclass(frozen=True)
class Entry:
    """One calibration with the drift checks made of it."""

    calibration: Calibration
    checks: list[DriftCheck]
    drawing: Drawing
    models: str
    attempt: str


@dataclass
class Session:
    """A reader's day. `held` is its last calibration that passed, else its last."""

    reader: str
    day: date
    entries: list[Entry]
    checks: list[DriftCheck]
    remarks: list[str] = field(default_factory=list)

    @property
    def held(self) -> Calibration:
        passed = [e.calibration for e in self.entries if e.calibration.passed]
        return (passed or [e.calibration for e in self.entries])[-1]

    @property
    def stations(self) -> str:
        return ", ".join(sorted({str(e.calibration.station) for e in self.entries}))

    @property
    def largest_drift(self) -> float | None:
        return max((c.drift_deg for c in self.checks if c.drift_deg is not None), default=None)


@dataclass(frozen=True)
class DriftDot:
    x: str
    y: str
    bad: bool
    title: str


@dataclass(frozen=True)
class DriftCurve:
    """A reader's drift checks in their order; the dashed line is the threshold of the last one."""

    dots: list[DriftDot]
    line: str
    limit_y: str
    limit: str
    top: str
    first: datetime
    last: datetime


@dataclass(frozen=True)
class Reader:
    code: str
    sessions: list[Session]
    curve: DriftCurve | None


@dataclass(frozen=True)
class Report:
    readers: list[Reader]
    sessions: list[Session]
    calibrations: int
    passed: int
    median_accuracy_deg: float | None


def report(study: Study, user: User) -> Report:
    """Everything the page shows this person, newest session first."""
    codes = dict(study.enrolments.values_list("user_id", "reader_code"))
    calibrations = list(calibrations_visible_to(user, study).order_by("created_at").defer("samples"))
    checks = list(drift_checks_visible_to(user, study).order_by("created_at").defer("samples"))
    of_calibration: dict[Any, list[DriftCheck]] = defaultdict(list)
    for check in checks:
        of_calibration[check.calibration_id].append(check)
    days: dict[tuple[str, date], list[Entry]] = defaultdict(list)
    for row in calibrations:
        code = codes.get(row.user_id, "not enrolled")
        entry = Entry(row, of_calibration[row.pk], draw(row), models_of(row), attempt_of(row))
        days[code, row.created_at.date()].append(entry)
    sessions = [
        Session(code, day, entries, [check for entry in entries for check in entry.checks])
        for (code, day), entries in days.items()
    ]
    sessions.sort(key=lambda s: (s.day, s.reader), reverse=True)
    _remark(sessions)
    by_reader: dict[str, list[Session]] = defaultdict(list)
    for session in sessions:
        by_reader[session.reader].append(session)
    of_reader: dict[str, list[DriftCheck]] = defaultdict(list)
    for check in checks:
        of_reader[codes.get(check.user_id, "not enrolled")].append(check)
    passed = [row.accuracy_deg for row in calibrations if row.passed and row.accuracy_deg is not None]
    return Report(
        readers=[Reader(code, rows, drift_curve(of_reader[code])) for code, rows in sorted(by_reader.items())],
        sessions=sessions,
        calibrations=len(calibrations),
        passed=len(passed),
        median_accuracy_deg=statistics.median(passed) if passed else None,
    )


def _remark(sessions: Sequence[Session]) -> None:
    """Say in words what is unusual about each session."""
    accuracies = [s.held.accuracy_deg for s in sessions if s.held.passed and s.held.accuracy_deg is not None]
    fence = None
    if len(accuracies) >= MIN_FOR_OUTLIERS:
        # Tukey's fence (Exploratory Data Analysis, 1977).
        low, high = np.percentile(accuracies, [25, 75])
        fence = float(high + 1.5 * (high - low))
    for session in sessions:
        held, failed = session.held, sum(not e.calibration.passed for e in session.entries)
        if failed:
            made = len(session.entries)
            session.remarks.append(f"{failed} of {made} calibration{'' if made == 1 else 's'} failed")
        if fence is not None and held.passed and held.accuracy_deg is not None and held.accuracy_deg > fence:
            session.remarks.append(f"outlier: accuracy is usually better than {fence:.2f}° in this study")
        far = [p for p in held.points if p["accuracy_deg"] is not None and p["accuracy_deg"] > held.max_accuracy_deg]
        if held.passed and far:
            session.remarks.append(f"{len(far)} of {len(held.points)} points beyond {held.max_accuracy_deg:.2f}°")
        drifted = sum(c.drift_deg is not None and not c.passed for c in session.checks)
        if drifted:
            session.remarks.append(f"drifted too far at {drifted} of {len(session.checks)} checks")
        unseen = sum(c.drift_deg is None for c in session.checks)
        if unseen:
            session.remarks.append(f"{unseen} drift check{'' if unseen == 1 else 's'} without gaze")


def models_of(row: Calibration) -> str:
    """Each eye's model in words: "both eyes affine", "left affine, right not used"."""
    told = {eye: row.fit.get(eye, {}).get("model") for eye in ("left", "right")}
    if not row.fit and any(row.correction.values()):
        told = {eye: "affine" if row.correction.get(eye) else None for eye in told}
    if told["left"] == told["right"]:
        return f"both eyes {told['left']}" if told["left"] else "none"
    return ", ".join(f"{eye} {model or 'not used'}" for eye, model in told.items())


def attempt_of(row: Calibration) -> str:
    """What was measured: all points, or some again."""
    if row.repeats_id is None:
        return f"{len(row.points)} points checked" if row.points else "not judged"
    again = sum(len(targets) for targets in row.retaken.values())
    return f"{again} point{'' if again == 1 else 's'} measured again"


def draw(row: Calibration) -> Drawing:
    """The validation as a drawing of the display in millimetres."""
    width, height = float(row.display["width_mm"]), float(row.display["height_mm"])
    font = width / 28
    limit = ENLARGED * float(row.display["distance_mm"]) * np.tan(np.radians(row.max_accuracy_deg))
    points = []
    for number, told in enumerate(row.points, 1):
        x, y = told["x"] * width, told["y"] * height
        bad = _problem(told, row)
        accuracy = "no gaze" if told["accuracy_deg"] is None else f"{told['accuracy_deg']:.2f}°"
        base: dict[str, Any] = {"number": number, "x": f"{x:.1f}", "y": f"{y:.1f}", "label": accuracy, "bad": bad}
        base |= {"label_y": f"{y + 1.8 * font:.1f}", "limit": f"{limit:.1f}"}
        if told["gaze_x"] is not None:
            base["gaze_x"] = f"{x + ENLARGED * (told['gaze_x'] * width - x):.1f}"
            base["gaze_y"] = f"{y + ENLARGED * (told['gaze_y'] * height - y):.1f}"
            if axes := told.get("ellipse_mm"):
                major, minor, angle = axes
                base["ellipse"] = (f"{ENLARGED * major:.1f}", f"{ENLARGED * minor:.1f}", f"{angle:.1f}")
        points.append(DrawnPoint(**base))
    description = (
        "; ".join(f"point {p.number}: {p.label}{f', {p.bad}' if p.bad else ''}" for p in points)
        or "No point was judged."
    )
    return Drawing(f"{width:.1f}", f"{height:.1f}", f"{font:.1f}", f"{width / 80:.1f}", points, description)


def _problem(told: dict[str, Any], row: Calibration) -> str:
    if told["accuracy_deg"] is None:
        return "not seen"
    if told["accuracy_deg"] > row.max_accuracy_deg:
        return "too far"
    return "too much lost" if told["data_loss"] > row.max_data_loss else ""


def drift_curve(checks: Iterable[DriftCheck]) -> DriftCurve | None:
    """A reader's measured drift in the order of the checks, in a box of 600 × 140; None without a check."""
    rows = [(c, float(c.drift_deg)) for c in checks if c.drift_deg is not None]
    if not rows:
        return None
    left, right, upper, lower = 34.0, 590.0, 10.0, 120.0
    limit = rows[-1][0].max_drift_deg
    top = 1.15 * max(limit, *(drift for _, drift in rows)) if len(rows) else limit

    def height(drift: float) -> float:
        return lower - (lower - upper) * drift / top

    step = (right - left - 20) / max(1, len(rows) - 1)
    dots = [
        DriftDot(
            f"{left + 10 + k * step:.1f}",
            f"{height(drift):.1f}",
            not check.passed,
            f"{check.created_at:%-d %b %Y, %H:%M} UTC: {drift:.2f}°{'' if check.passed else ', too far'}",
        )
        for k, (check, drift) in enumerate(rows)
    ]
    return DriftCurve(
        dots=dots,
        line=" ".join(f"{dot.x},{dot.y}" for dot in dots),
        limit_y=f"{height(limit):.1f}",
        limit=f"{limit:g}°",
        top=f"{top:.1f}°",
        first=rows[0][0].created_at,
        last=rows[-1][0].created_at,
    )


# ── tables ────────────────────────────────────────────────────────────────────────────────────────────────────────────

TABLES = ("calibrations", "points", "drift")


def table(study: Study, user: User, what: str) -> list[list[Any]]:
    """One of TABLES, header first; units are in the names of the columns, times are UTC."""
    codes = dict(study.enrolments.values_list("user_id", "reader_code"))
    if what == "drift":
        rows = drift_checks_visible_to(user, study).order_by("created_at").defer("samples")
        head = ["reader", "drift_check", "calibration", "at_utc", "drift_deg", "drift_right_deg", "drift_down_deg"]
        head += ["precision_sd_deg", "data_loss", "max_drift_deg", "passed"]
        return [head] + [
            [
                codes.get(c.user_id, ""), c.pk, c.calibration_id, c.created_at.isoformat(), c.drift_deg, c.drift_x_deg,
                c.drift_y_deg, c.precision_sd_deg, c.data_loss, c.max_drift_deg, c.passed,
            ]
            for c in rows
        ]  # fmt: skip
    calibrations = calibrations_visible_to(user, study).order_by("created_at").defer("samples")
    if what == "points":
        names = ["x", "y", "gaze_x", "gaze_y", "accuracy_deg", "rms_s2s_deg", "sd_deg", "data_loss", "samples"]
        head = ["reader", "calibration", "at_utc", "point", "target_x_share", "target_y_share", "gaze_x_share"]
        head += ["gaze_y_share", *names[4:]]
        return [head] + [
            [codes.get(c.user_id, ""), c.pk, c.created_at.isoformat(), k, *(p[name] for name in names)]
            for c in calibrations
            for k, p in enumerate(c.points, 1)
        ]
    head = ["reader", "calibration", "at_utc", "station", "tracker", "width_px", "height_px", "width_mm", "height_mm"]
    head += ["distance_mm", "model", "accuracy_deg", "max_accuracy_deg", "precision_rms_s2s_deg", "precision_sd_deg"]
    head += ["data_loss", "max_data_loss", "passed", "repeats", "sentence"]
    display = ("width_px", "height_px", "width_mm", "height_mm", "distance_mm")
    return [head] + [
        [
            codes.get(c.user_id, ""), c.pk, c.created_at.isoformat(), c.station.name, c.tracker.get("name"),
            *(c.display[name] for name in display), models_of(c), c.accuracy_deg, c.max_accuracy_deg,
            c.precision_rms_deg, c.precision_sd_deg, c.data_loss, c.max_data_loss, c.passed, c.repeats_id, c.sentence,
        ]
        for c in calibrations
    ]  # fmt: skip
