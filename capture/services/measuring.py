"""Gaze measures of recordings: made from a track, the truth, the answers and the study's parameters; kept for good.

Measuring the same inputs with the same code finds the row that exists. The inputs of a submitted read do not change any
more, so that its measures are made once after its track, and again only by other code.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any

import numpy as np
from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from capture.gaze import clocks, quality, radiology
from capture.gaze.radiology import Area, Assistance, Finding, Parameters
from capture.gaze.track import GazeTrack as Track
from capture.models import GazeMeasures, GazeTrack, Recording
from capture.queries.measures import latest_measures, table, to_csv
from capture.queries.recordings import answers_shown, image_of_recording
from study.models import (
    AuditEntry,
    Image,
    Mark,
    Read,
    ReferenceFinding,
    ReferenceStandard,
    Response,
    Stage,
    Study,
    User,
)
from study.services import audit
from study.services.errors import Refused

from . import processing, provenance, sending, tracks

log = logging.getLogger(__name__)

SCHEMA = "gazeroom.measures/1"
#: The reading room's events: the output was drawn; its panel is here, [left, top, width, height] in CSS pixels.
SHOWN, PLACED = "assistance_shown", "assistance_placed"


def measure(*, track: GazeTrack) -> GazeMeasures:
    """The measures of a track, made now unless they are known.

    Raises
    ------
    ValueError
        The track's file is missing or changed, or the protocol's parameters cannot be; one sentence.
    """
    recording = track.recording
    image = image_of_recording(recording)
    parameters = parameters_of(recording)
    standard = ReferenceStandard.objects.filter(case=image.case_id).first()
    truth = _truth(standard, image)
    answers = _answers(recording.read)
    shown = _shown(recording.read)
    calibration = recording.calibration
    inputs = {
        "track": track.sha256,
        "reference": None if standard is None else provenance.digest([standard.method, [_as_json(f) for f in truth]]),
        "answers": provenance.digest(answers),
        "assistance": provenance.digest(shown),
        "calibration": None if calibration is None else str(calibration.pk),
        "parameters": parameters.to_dict(),
    }
    digest = provenance.digest(inputs)
    known = GazeMeasures.objects.filter(track=track, inputs_sha256=digest, code_version=code_version()).first()
    if known is not None:
        return known
    gaze = tracks.load(track)
    body = {
        "schema": SCHEMA,
        "quality": quality.of_track(gaze, accuracy=None if calibration is None else calibration.accuracy_deg),
        "reference": standard is not None,
        "read": radiology.of_read(
            gaze,
            rows=image.rows,
            columns=image.columns,
            findings=[_finding(f, answers) for f in truth],
            assistance=_assistance(shown, recording, gaze),
            parameters=parameters,
        ),
    }
    try:
        with transaction.atomic():
            return GazeMeasures.objects.create(
                track=track, inputs=inputs, inputs_sha256=digest, code_version=code_version(), body=body
            )
    except IntegrityError:  # another process was first with the same numbers
        return GazeMeasures.objects.get(track=track, inputs_sha256=digest, code_version=code_version())


def measure_if_possible(*, track: GazeTrack) -> GazeMeasures | None:
    """As `measure`, for the end of processing: a track stands, whatever becomes of its measures."""
    try:
        return measure(track=track)
    except ValueError as reason:
        log.warning("recording %s cannot be measured: %s", track.recording_id, reason)
        return None


def measure_all(
    recordings: Sequence[Recording], *, progress: Callable[[int, int], None] | None = None
) -> list[tuple[Recording, str]]:
    """Measure the latest track of each recording; returns those that could not be, each with a sentence.

    `progress` is told how many are done, and of how many.
    """
    failed = []
    for done, recording in enumerate(recordings, start=1):
        track = recording.tracks.first()
        try:
            if track is None:
                raise ValueError("It has no gaze track.")
            measure(track=track)
        except ValueError as reason:
            failed.append((recording, str(reason)))
        if progress is not None:
            progress(done, len(recordings))
    return failed


def parameters_of(recording: Recording) -> Parameters:
    """What the protocol that was read says of gaze measures, else the defaults."""
    if recording.read is None:
        return Parameters()
    return Parameters.from_dict(recording.read.assignment.period.protocol.body.get("gaze_measures", {}))


# ── inputs ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _truth(standard: ReferenceStandard | None, image: Image) -> list[ReferenceFinding]:
    """The findings that are on this image."""
    if standard is None:
        return []
    return [f for f in standard.findings.order_by("pk") if f.image_id in (None, image.pk)]


def _as_json(found: ReferenceFinding) -> list[Any]:
    return [found.finding, found.side, found.box, found.outline]


def _answers(read: Read | None) -> dict[str, Any]:
    if read is None:
        return {"confidence": {}, "marks": []}
    confidence = Response.objects.filter(read=read, stage=Stage.FINAL).order_by("finding")
    marks = Mark.objects.filter(read=read, stage=Stage.FINAL).order_by("pk")
    return {
        "confidence": dict(confidence.values_list("finding", "confidence")),
        "marks": [[m.finding, m.shape, m.points] for m in marks],
    }


def _shown(read: Read | None) -> dict[str, Any] | None:
    """What the model showed in this read, and the page's own account of when and where."""
    reveal = getattr(read, "reveal", None)
    if read is None or reveal is None:
        return None
    events = read.events.filter(kind__in=[SHOWN, PLACED]).order_by("sequence")
    return {
        "boxes": [line["box"] for line in reveal.output.evidence.get("report", []) if line["box"] is not None],
        "events": [[e.kind, e.browser_ms, e.payload.get("rect")] for e in events],
    }


def _area(found: ReferenceFinding) -> Area | None:
    """The outline where there is one, else the box."""
    if found.outline:
        return Area.of_outline(found.outline)
    return Area.of_box(found.box) if found.box else None


def _finding(found: ReferenceFinding, answers: dict[str, Any]) -> Finding:
    area = _area(found)
    marks = [(shape, points) for name, shape, points in answers["marks"] if name == found.finding]
    return Finding(
        name=found.finding,
        side=found.side,
        area=area,
        confidence=answers["confidence"].get(found.finding),
        elsewhere=area is not None and bool(marks) and not any(_lies_on(area, *mark) for mark in marks),
    )


def _lies_on(area: Area, shape: str, points: list[float]) -> bool:
    """Whether a mark means this area: the centre of one lies in the other."""
    marked = np.asarray(points, dtype=np.float64)
    centre = marked if shape == Mark.Shape.POINT else (marked[:2] + marked[2:]) / 2
    if area.contains(*centre):
        return True
    if shape == Mark.Shape.POINT:
        return False
    corners = area.box.reshape(2, 2) if area.box is not None else area.outline
    assert corners is not None, "the truth is a box or an outline"
    middle = (corners.min(axis=0) + corners.max(axis=0)) / 2
    return bool(Area.of_box(marked).contains(*middle))


def _assistance(shown: dict[str, Any] | None, recording: Recording, gaze: Track) -> Assistance | None:
    """The same in recording time; None where the page never said that it drew it, or its clock cannot be tied."""
    if shown is None or not any(kind == SHOWN for kind, _, _ in shown["events"]):
        return None
    records, exchanges = processing.page_log(recording)
    try:
        timed = processing.state_times(records, exchanges)
    except ValueError:
        return None
    moments = timed.clock.to_lsl([t for _, t, _ in shown["events"]]) - gaze.origin_lsl
    kinds = [kind for kind, _, _ in shown["events"]]
    placed = [i for i, kind in enumerate(kinds) if kind == PLACED]
    order = np.argsort(timed.times[timed.tied], kind="stable")
    states = [r for r, tied in zip(records, timed.tied, strict=True) if tied]
    since = timed.times[timed.tied][order] - gaze.origin_lsl
    rects = []
    for i in placed:
        state = states[order[max(0, int(np.searchsorted(since, moments[i], side="right")) - 1)]]
        rects.append(_on_screen(shown["events"][i][2], state))
    return Assistance(
        revealed_s=float(moments[kinds.index(SHOWN)]),
        areas=[Area.of_box(box) for box in shown["boxes"]],
        moved_s=moments[placed] if placed else None,
        rects=np.array(rects) if placed else None,
    )


def _on_screen(rect: Any, state: dict[str, Any]) -> list[float]:
    """left, top, right, bottom in screen pixels of a rectangle of the page; nowhere (NaN) if it is not four numbers."""
    try:
        left, top, width, height = (float(v) for v in rect)
    except (TypeError, ValueError):
        return [float("nan")] * 4
    x, y, dpr = state["screenX"] + left, state["screenY"] + top, state["dpr"]
    return [x * dpr, y * dpr, (x + width) * dpr, (y + height) * dpr]


@cache
def code_version() -> str:
    """The package's version and the SHA-256 of the measures' source, shortened.

    What ties the page's events to recording time is part of it: other clocks give other measures of the same track.
    """
    modules = (quality, radiology, clocks, processing)
    return provenance.code_version([*(str(module.__file__) for module in modules), __file__])


def wake(waiting: Iterable[GazeTrack]) -> None:
    """Have tracks measured by a worker. A broker that is away is logged; whoever looks again wakes again."""
    from capture.tasks import measure_track

    for track in waiting:
        sending.when_committed(measure_track, track_id=track.pk)


def refuse_while_blind(study: Study) -> None:
    """Refuse a comparison that is not unblinded: measures know the truth and are outcomes."""
    if not answers_shown(study):
        raise Refused(f"{study} is not unblinded; its gaze measures stay closed until then.")


def export(*, study: Study, recordings: QuerySet[Recording], actor: User | None) -> str:
    """The measures of these recordings of a study as CSV, see `capture.queries.measures.COLUMNS`; noted in the audit.

    A recording that is not measured yet has a row that says so, and is measured now.

    Raises
    ------
    Refused
        The study is a comparison that is not unblinded, or none of its gaze is processed.
    """
    refuse_while_blind(study)
    known = latest_measures(recordings)
    if not known:
        why = "none is processed yet" + (", or you read its cases yourself." if actor else ".")
        raise Refused(f"{study} has no gaze to give measures of: {why}")
    wake(track for track, measures in known.values() if measures is None)
    columns, rows = table(recordings, known)
    with transaction.atomic():
        audit.record(
            actor=actor,
            act=AuditEntry.Act.EXPORTED,
            subject=f"Study {study.slug}",
            detail={"what": "gaze measures", "recordings": len(known)},
        )
    return to_csv(columns, rows)
