"""The gaze of a comparison's reads: which have it, why the others do not, and where GazeX would have looked.

The caller answers for who may see it: measures know the truth, and nothing here asks whether the study is unblinded.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from capture.gaze.track import FixationTable
from capture.models import GazeMeasures, GazeTrack, Recording
from capture.queries.measures import latest_measures, recordings_measured_in
from capture.services.tracks import load
from study.models import Arm, Case, Image, ProtocolVersion, Read, Study
from study.queries.reading import shown_image
from study.services.assistance import output_for

from .readings import current_protocol


@dataclass(frozen=True)
class GazeRead:
    """A submitted read of the protocol that is analysed.

    `track` is the latest one of its recording, or None, and then `missing` says why; `measures` are the track's latest,
    or None where it was not measured.
    """

    reader: str
    case: Case
    arm: str
    assisted: bool
    track: GazeTrack | None = None
    measures: GazeMeasures | None = None
    missing: str = ""


def gaze_reads(study: Study) -> list[GazeRead]:
    """Every submitted read of the current protocol, by reader, case and arm; those without usable gaze say why.

    The gaze of readers who did not consent to its recording, or withdrew, is not used.
    """
    protocol = current_protocol(study)
    measured = recordings_measured_in(study).filter(read__assignment__arm__protocol=protocol)
    known = {recording.read_id: recording.pk for recording in measured}
    latest = latest_measures(measured)
    recordings = {
        recording.read_id: recording
        for recording in Recording.objects.filter(read__assignment__arm__protocol=protocol).only(
            "id", "read_id", "state", "failure"
        )
    }
    reads = (
        Read.objects.filter(state=Read.State.SUBMITTED, assignment__arm__protocol=protocol)
        .select_related("assignment__enrolment", "assignment__arm", "assignment__case")
        .order_by("assignment__enrolment__reader_code", "assignment__case__label", "assignment__arm__key")
    )
    out = []
    for read in reads:
        line = read.assignment
        track, measures = latest.get(known.get(read.pk), (None, None))
        why = "" if track is not None else _why(read, recordings.get(read.pk), protocol)
        assisted = line.arm.assistance != Arm.Assistance.NONE
        out.append(GazeRead(line.enrolment.reader_code, line.case, line.arm.key, assisted, track, measures, why))
    return out


def _why(read: Read, recording: Recording | None, protocol: ProtocolVersion) -> str:
    enrolment = read.assignment.enrolment
    if enrolment.withdrawn_at is not None:
        return "the reader has withdrawn"
    if recording is None:
        return "the protocol records no gaze" if protocol.body.get("gaze") == "none" else "no gaze was recorded"
    if enrolment.consented_at is None:
        return "the reader did not consent to gaze recording"
    if recording.state == Recording.State.FAILED:
        return f"its recording could not be processed: {recording.failure}".rstrip(": ")
    return "its recording is not processed yet"


def fixations_of(track: GazeTrack) -> FixationTable:
    """The track's fixations. Raises ValueError when its file is missing or is not the one that was recorded."""
    return load(track).fixations


@dataclass(frozen=True)
class Trajectory:
    """Where GazeX would have looked in a case: x, y (pixels of `image`) and seconds; or why that is not known."""

    image: Image | None
    points: list[tuple[float, float, float]]
    missing: str = ""


def trajectories(study: Study, cases: Iterable[Case]) -> dict[str, Trajectory]:
    """By the case's label: the trajectory of the output that the study's protocol names, on the image that is read."""
    model = current_protocol(study).body.get("model_sha256")
    out = {}
    for case in cases:
        image = shown_image(case)
        if image is None:
            out[case.label] = Trajectory(None, [], "the case has no image")
            continue
        output = output_for(image=image, model_sha256=model)
        if output is None:
            why = "the protocol names no model" if model is None else "GazeX has no valid output for it"
            out[case.label] = Trajectory(image, [], why)
            continue
        points = [_point(step) for step in output.evidence.get("trajectory", [])]
        out[case.label] = Trajectory(image, points, "" if points else "GazeX's output has no trajectory")
    return out


def _point(step: dict[str, Any]) -> tuple[float, float, float]:
    return float(step["x"]), float(step["y"]), float(step["duration_ms"]) / 1000.0
