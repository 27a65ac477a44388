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

#: A token begins epochs for so long: a read, and the rest of the day in which it is finished.
TOKEN_LIFE = timedelta(hours=24)
#: What was begun in that time may be delivered for so long after it: a station that was offline, or switched off over a
#: holiday, holds the only copy of a submitted read, and a read that is over gets no other token.
DELIVERY_LIFE = timedelta(days=30)


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


def opened_by(token: str) -> RecordingToken | None:
    """The token's row, if it still opens its recording; None for one that is unknown or whose reader withdrew consent.

    A token that has expired opens it only to deliver epochs that were begun before: `capture.services.ingest.begin`
    holds it to those.
    """
    now = timezone.now()
    row = (
        RecordingToken.objects.filter(sha256=hash_token(token), expires_at__gt=now - DELIVERY_LIFE)
        .select_related("recording__read__assignment__enrolment")
        .first()
    )
    if row is None or (row.expires_at <= now and not row.recording.epochs):
        return None
    if row.recording.read is not None:
        enrolment = row.recording.read.assignment.enrolment
        if enrolment.consented_at is None or enrolment.withdrawn_at is not None:
            return None
    return row


def hash_token(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
