"""Who may see gaze measures, and the measures of a study as one tidy table.

Measures know the truth and are outcomes of a comparison. So they are for coordinators and researchers of the study,
never for a reader of its cases, and those of a comparison for nobody before it is unblinded.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import Any, Final

from django.db.models import Max, Q, QuerySet

from capture.gaze.quality import MEASURES
from capture.models import GazeMeasures, GazeTrack, Recording
from study.models import Study, User
from study.queries.studies import STAFF, cases_visible_to, studies_visible_to

from . import cells
from .recordings import exportable_recordings, recordings_visible_to

#: Of a comparison nothing is shown before this.
_OPEN_TO_STAFF = Q(kind=Study.Kind.COLLECTION) | Q(state=Study.State.UNBLINDED)


def studies_measured_for(user: User) -> QuerySet[Study]:
    """The studies whose gaze measures the person may see: those of which they are staff, comparisons once unblinded."""
    return studies_visible_to(user, *STAFF).filter(_OPEN_TO_STAFF)


def recordings_measured_for(user: User) -> QuerySet[Recording]:
    """The recordings whose measures the person may see: of those studies, of cases whose truth they may see."""
    studies, cases = studies_measured_for(user), cases_visible_to(user)
    of_reads = Q(read__assignment__enrolment__study__in=studies, read__assignment__case__in=cases)
    imported = Q(imported__study__in=studies, imported__image__case__in=cases)
    return recordings_visible_to(user).filter(of_reads | imported)


def recordings_measured_in(study: Study) -> QuerySet[Recording]:
    """Every recording of the study that is measured, in the order of readers, periods and cases."""
    assignment = "read__assignment"
    return (
        exportable_recordings(study)
        .select_related(f"{assignment}__period__protocol")
        .order_by(
            f"{assignment}__enrolment__reader_code",
            "imported__reader_code",
            f"{assignment}__period__number",
            f"{assignment}__position",
            "created_at",
        )
    )


def latest_measures(recordings: QuerySet[Recording]) -> dict[Any, tuple[GazeTrack, GazeMeasures | None]]:
    """Of each recording that has a track, by its key: the latest track and its latest measures."""
    newest = GazeTrack.objects.filter(recording__in=recordings).values("recording").annotate(last=Max("id"))
    found = {t.pk: t for t in GazeTrack.objects.filter(pk__in=newest.values("last"))}
    last = GazeMeasures.objects.filter(track__in=found).values("track").annotate(last=Max("id"))
    measures = {m.track_id: m for m in GazeMeasures.objects.filter(pk__in=last.values("last"))}
    return {track.recording_id: (track, measures.get(pk)) for pk, track in found.items()}


#: The columns, in order: name -> what it holds. `coverage_*` has one for each field of the protocol.
COLUMNS: Final[dict[str, str]] = {
    "study": "the study's short name",
    "reader": "the reader's code",
    "case": "the case's label",
    "arm": "the arm's key; empty for gaze that was imported",
    "period": "the period's number",
    "recording": "the recording's id",
    **{name: f"{definition} [{unit}]" for name, (unit, definition) in MEASURES.items()},
    "clock_bound": "Largest error of the time between gaze and image. [ms]",
    "reading_s": "From opening to submission by the server's clock. [s]",
    "viewing_s": "From the image's appearance to the last gaze sample with it on the screen. [s]",
    "fixations": "Number of fixations, on the image and beside it.",
    "fixation_s": "Their summed duration. [s]",
    "coverage_*": "Share of the image that came into a useful field of that many degrees across.",
    "transition_entropy": "Transition entropy between equal zones of the image over its greatest value.",
    "stationary_entropy": "Stationary entropy over the zones over its greatest value.",
    "assistance_s": "When the model's output was drawn, after the image's appearance. [s]",
    "viewing_before_s": "Viewing time before the output was drawn. [s]",
    "viewing_after_s": "Viewing time after the output was drawn. [s]",
    "assistance_boxes": "Boxes the model drew.",
    "assistance_boxes_before_s": "Dwell on the places of these boxes before they were drawn. [s]",
    "assistance_boxes_after_s": "Dwell on them afterwards. [s]",
    "assistance_panel_s": "Time on the model's panel beside the image. [s]",
    "reference": "Whether the case has a reference standard: yes or no.",
    "finding": "A finding that is there; empty for a normal image.",
    "side": "Its side, of the patient.",
    "confidence": "The reader's final confidence that it is present, 1 to 5.",
    "marked_elsewhere": "Whether the reader marked this finding and no mark lies on it: yes or no.",
    "reported": "Whether the reader reported it: yes or no; empty if not asked for.",
    "time_to_first_fixation_s": "From the image's appearance to the first fixation on it; empty if there was none. [s]",
    "dwell_s": "Summed duration of the fixations on it. [s]",
    "fixations_on_it": "Their number.",
    "visits": "Runs of successive fixations on it.",
    "revisits": "Visits after the first.",
    "longest_visit_s": "Summed fixation durations of the longest visit; empty if there was none. [s]",
    "kundel": "Of a finding that was missed: search, recognition or decision error.",
    "not_estimable": "Why a miss has no class, or a recording no measures.",
    "field_deg": "Diameter of the useful field for what is on a finding. [°]",
    "threshold_s": "Dwell from which a miss is a decision error. [s]",
    "called_from": "Confidence from which a finding counts as reported.",
    "track_sha256": "Of the gaze track.",
    "inputs_sha256": "Of the track, truth, answers, assistance and parameters together.",
    "code": "Version of the code that measured.",
}


def table(
    recordings: QuerySet[Recording], known: dict[Any, tuple[GazeTrack, GazeMeasures | None]]
) -> tuple[list[str], list[dict[str, Any]]]:
    """The measured recordings as columns and rows: one row for each finding that is there, one for a normal image.

    `known` is their `latest_measures`. What is not estimable is None.
    """
    rows: list[dict[str, Any]] = []
    for recording in recordings:
        track, measures = known.get(recording.pk, (None, None))
        if track is not None and measures is not None:
            rows += _rows(recording, track, measures)
        elif track is not None:
            rows.append({**_about(recording, track), "not_estimable": "Not measured yet."})
    fields = {name: None for row in rows for name in row if name.startswith("coverage_")}
    columns: list[str] = []
    for name in COLUMNS:
        columns += sorted(fields, key=lambda n: float(n.removeprefix("coverage_"))) if name == "coverage_*" else [name]
    return columns, rows


def _about(recording: Recording, track: GazeTrack) -> dict[str, Any]:
    read = recording.read
    return {
        "study": recording.study.slug,
        "reader": recording.reader_code,
        "case": recording.case.label,
        "arm": read.assignment.arm.key if read else None,
        "period": read.assignment.period.number if read else None,
        "recording": str(recording.pk),
        "clock_bound": track.clock_bound_ms,
        "reading_s": read.seconds if read else None,
        "track_sha256": track.sha256,
    }


def _rows(recording: Recording, track: GazeTrack, measures: GazeMeasures) -> list[dict[str, Any]]:
    body = measures.body
    whole, used = body["read"], measures.inputs["parameters"]
    assistance = whole["assistance"] or {}
    common = {
        **_about(recording, track),
        **body["quality"],
        **{name: whole[name] for name in ("viewing_s", "fixations", "fixation_s")},
        **{f"coverage_{field}": share for field, share in whole["coverage"].items()},
        **{name: whole[name] for name in ("transition_entropy", "stationary_entropy")},
        "assistance_s": assistance.get("revealed_s"),
        "viewing_before_s": assistance.get("viewing_before_s"),
        "viewing_after_s": assistance.get("viewing_after_s"),
        "assistance_boxes": assistance.get("boxes"),
        "assistance_boxes_before_s": assistance.get("boxes_before_s"),
        "assistance_boxes_after_s": assistance.get("boxes_after_s"),
        "assistance_panel_s": assistance.get("panel_s"),
        "reference": body["reference"],
        "field_deg": used["field_deg"],
        "threshold_s": used["dwell_s"],
        "called_from": used["called_from"],
        "inputs_sha256": measures.inputs_sha256,
        "code": measures.code_version,
    }
    out = []
    for found in whole["findings"] or [None]:
        row = dict(common)
        if found is not None:
            looks = dict(found["looks"] or {})
            row |= {name: found[name] for name in ("finding", "side", "confidence", "marked_elsewhere", "reported")}
            row |= {"kundel": found["kundel"], "not_estimable": found["not_estimable"] or None}
            row |= {"fixations_on_it": looks.pop("fixations", None), **looks}
        out.append(row)
    return out


def to_csv(columns: Iterable[str], rows: Iterable[dict[str, Any]]) -> str:
    """UTF-8 text with commas and LF; an empty cell for what is not estimable, yes and no for what is true and not."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = list(columns)
    writer.writerow(names)
    writer.writerows([_cell(row.get(name)) for name in names] for row in rows)
    return out.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    return cells.plain(value)
