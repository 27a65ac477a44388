"""Opening a recording for a read, and who may write to it."""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta
from pathlib import Path

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from capture.models import Recording, RecordingToken, Station
from capture.queries.calibrations import latest_passed
from study.models import Read
from study.services.errors import NotAllowed

#: Long enough for a read and for a station that could not reach the server for the rest of the day.
TOKEN_LIFE = timedelta(hours=24)


def this_station() -> Station:
    """The station of the machine this server runs on; made the first time it is asked for."""
    return Station.objects.get_or_create(name=Station.THIS_MACHINE)[0]


def agent_key(station: Station) -> str:
    """The key that opens the station's agent; empty when the agent has not written one yet."""
    if station.agent_key:
        return station.agent_key
    path = Path(settings.GAZEROOM_AGENT_KEY_FILE)
    return path.read_text().strip() if path.exists() else ""


@transaction.atomic
def open_recording(*, read: Read) -> tuple[Recording, str]:
    """The recording of an open read and a fresh token for the agent; the same recording however often it is asked.

    Raises
    ------
    NotAllowed
        The read is over, or its reader has not consented to recording, or has withdrawn.
    """
    enrolment = read.assignment.enrolment
    if enrolment.consented_at is None or enrolment.withdrawn_at is not None:
        raise NotAllowed(f"{enrolment.reader_code} has not consented to gaze recording, so nothing is recorded.")
    if read.state in (Read.State.SUBMITTED, Read.State.INVALIDATED):
        raise NotAllowed("This read is over; nothing more is recorded for it.")
    recording, _ = Recording.objects.get_or_create(
        read=read,
        defaults={"station": this_station(), "calibration": latest_passed(enrolment.user)},
    )
    token = secrets.token_urlsafe(32)
    RecordingToken.objects.create(recording=recording, sha256=hash_token(token), expires_at=timezone.now() + TOKEN_LIFE)
    return recording, token


def recording_of(token: str) -> Recording | None:
    """The recording a token opens; None for a token that is unknown, expired, or whose reader withdrew consent."""
    row = (
        RecordingToken.objects.filter(sha256=hash_token(token), expires_at__gt=timezone.now())
        .select_related("recording__read__assignment__enrolment")
        .first()
    )
    if row is None:
        return None
    recording: Recording = row.recording
    if recording.read is not None:
        enrolment = recording.read.assignment.enrolment
        if enrolment.consented_at is None or enrolment.withdrawn_at is not None:
            return None
    return recording


def hash_token(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
