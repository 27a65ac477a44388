"""What this room answers when `study` asks: the functions behind the registries."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse

from capture.queries.calibrations import (
    VALIDITY,
    drift_is_due,
    has_drifted,
    is_calibrated,
    last_drift,
    latest_of_readers,
    latest_passed,
)
from capture.queries.stations import may_manage_stations, station_of
from capture.services import processing, recordings
from study.models import Assignment, Enrolment, Membership, Read, Study, User
from study.queries.reading import current_read_of
from study.queries.studies import protocol_of
from study.registries import Refusal


def needs_calibration(assignment: Assignment, request: HttpRequest) -> Refusal | None:
    """A study that requires gaze opens no case to a reader without consent or without a valid calibration."""
    body = assignment.period.protocol.body
    if body.get("gaze") != "required":
        return None
    enrolment = assignment.enrolment
    if enrolment.consented_at is None:
        return Refusal(
            f"{enrolment.study.name} records gaze: consent to it on the worklist before reading.",
            reverse("study:worklist"),
        )
    station = station_of(getattr(request, "session", None))
    if is_calibrated(enrolment.user, body, station):
        return None
    held = latest_passed(enrolment.user, station)
    last = last_drift(held) if held and has_drifted(held, body) else None
    if last is not None:
        return Refusal(
            f"Gaze has drifted by {last.drift_deg:.1f}° since your calibration: calibrate again before the next case.",
            recordings.check_url(enrolment),
        )
    hours = VALIDITY.total_seconds() / 3600
    where = f" at {station}" if station else ""
    return Refusal(
        f"Check the station first: {enrolment.study.name} asks for a calibration{where} of the last {hours:.0f} hours.",
        recordings.check_url(enrolment),
    )


def offers(enrolment: Enrolment, request: HttpRequest) -> list[tuple[str, str]]:
    """The station check, where nothing leads to it: a study whose gaze is optional, and a case that is open already.

    Where gaze is optional it is recorded without a check as well, uncorrected. A reader who goes on with a case at
    another station than the one where it was opened is not sent there out of the open case, but needs it.
    """
    body, station = protocol_of(enrolment.study).body, station_of(getattr(request, "session", None))
    gaze = body.get("gaze", "none")
    if gaze == "none" or enrolment.consented_at is None or is_calibrated(enrolment.user, body, station):
        return []
    if gaze == "required" and current_read_of(enrolment) is None:
        return []
    label = "Record gaze: check the station" if gaze == "optional" else "Check this station first"
    return [(label, recordings.check_url(enrolment))]


def needs_drift_check(assignment: Assignment, request: HttpRequest) -> Refusal | None:
    """A study that requires gaze and checks drift opens no case before a check that is due."""
    body = assignment.period.protocol.body
    if body.get("gaze") != "required":
        return None
    enrolment = assignment.enrolment
    if not drift_is_due(enrolment.user, body, station_of(getattr(request, "session", None))):
        return None
    return Refusal(
        "Before the next case, look at one point for two seconds.",
        f"{reverse('capture:drift')}?{urlencode({'enrolment': enrolment.pk})}",
    )


def reading_room(read: Read, request: HttpRequest) -> dict[str, Any] | None:
    """The reading room's `capture` configuration; None when nothing may or shall be recorded.

    It holds no secret. The page asks `enter` for the key of the agent it finds on its loopback, and for a token.
    """
    assignment = read.assignment
    gaze = assignment.period.protocol.body.get("gaze", "none")
    if gaze == "none" or not assignment.enrolment.consents:
        return None
    if read.state in (Read.State.SUBMITTED, Read.State.INVALIDATED):
        return None
    recording = recordings.prepare(read=read)
    scheme = "wss" if request.is_secure() else "ws"
    return {
        "recording": str(recording.pk),
        "pageSocket": f"/ws/page/{recording.pk}/",
        "ingestSocket": f"{scheme}://{request.get_host()}/ws/ingest/",
        "agent": settings.GAZEROOM_AGENT_URL,
        "enter": reverse("capture:enter"),
        "required": gaze == "required",
    }


def submitted(read: Read) -> None:
    """The read's recording is processed as soon as it is complete."""
    recording = getattr(read, "recording", None)
    if recording is not None:
        processing.enqueue(recording.pk)


def calibration_column(study: Study) -> tuple[str, dict[int, str]]:
    """The latest validation of each reader and the drift since, for the coordinator's monitor."""
    texts = {}
    for enrolment_id, calibration in latest_of_readers(study).items():
        if calibration.accuracy_deg is None:
            texts[enrolment_id] = "failed"
            continue
        text = f"{calibration.accuracy_deg:.2f}°, {100 * calibration.data_loss:.0f} % lost"
        if not calibration.passed:
            text += ", failed"
        if drift := last_drift(calibration):
            text += f"; drift {drift.drift_deg:.2f}°{'' if drift.passed else ', too far'}"
        texts[enrolment_id] = text
    return "Calibration", texts


def links(study: Study, user: User) -> list[tuple[str, str]]:
    """The study's recordings and its calibrations, for those who may see them."""
    staff = (Membership.Role.COORDINATOR, Membership.Role.RESEARCHER)
    if not study.memberships.filter(user=user, role__in=staff).exists():
        return []
    found = [("Recordings", f"{reverse('capture:recordings')}?{urlencode({'study': study.slug})}")]
    if protocol_of(study).body.get("gaze", "none") != "none":
        found.append(("Calibration quality", reverse("capture:quality", args=[study.slug])))
    return found


def navigation(user: User) -> list[tuple[str, str]]:
    links = []
    if Membership.objects.filter(user=user).exists():
        links.append(("Recordings", reverse("capture:recordings")))
    if may_manage_stations(user):
        links.append(("Stations", reverse("capture:stations")))
    return links
