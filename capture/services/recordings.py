"""Opening a recording for a read, and who may write to it."""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta
from urllib.parse import urlencode

from django.db import transaction
from django.urls import reverse
from django.utils import timezone

from capture import tokens
from capture.models import DeliveryPermit, Recording, RecordingToken, Station
from capture.queries.calibrations import calibration_for, satisfies
from capture.queries.stations import pairing_of
from study.models import Enrolment, Read
from study.services.errors import NotAllowed, NotYet

#: A token begins epochs for so long: a read, and the rest of the day in which it is finished.
TOKEN_LIFE = timedelta(hours=24)
#: What was recorded in that time may be delivered for so long after it: a station that was offline, or switched off
#: over a holiday, holds the only copy of a submitted read, and a read that is over gets no other token. Later still
#: an administrator allows it (`allow_delivery`).
DELIVERY_LIFE = timedelta(days=30)


def this_station() -> Station:
    """The station of the machine this server runs on; made the first time it is asked for."""
    return Station.objects.get_or_create(name=Station.THIS_MACHINE)[0]


@transaction.atomic
def prepare(*, read: Read) -> Recording:
    """The recording of an open read, made the first time it is asked for. Nobody may write gaze to it yet.

    Raises
    ------
    NotAllowed
        The read is over, or its reader has not consented to recording, or has withdrawn.
    """
    _refuse_unless_consented(read)
    return Recording.objects.get_or_create(read=read)[0]


@transaction.atomic
def open_at(*, read: Read, station: Station) -> tuple[Recording, str]:
    """`open_recording` for a page that sits at `station`, whose agent answers it.

    Raises
    ------
    NotAllowed
        As `prepare`.
    NotYet
        The study requires gaze, and its reader has no calibration at this station that is good enough.
    """
    recording = prepare(read=read)
    enrolment, body = read.assignment.enrolment, read.assignment.period.protocol.body
    held = calibration_for(recording, enrolment.user, station)
    if body.get("gaze") == "required" and not satisfies(held, body):
        raise NotYet(
            f"You have not calibrated at {station}: check the station (on the worklist), then continue reading.",
            url=check_url(enrolment),
        )
    return open_recording(read=read, station=station)


def check_url(enrolment: Enrolment) -> str:
    """The station check under this study's thresholds; it leads back to the worklist."""
    query = urlencode({"next": reverse("study:worklist"), "enrolment": enrolment.pk})
    return f"{reverse('capture:station')}?{query}"


@transaction.atomic
def open_recording(*, read: Read, station: Station | None = None) -> tuple[Recording, str]:
    """The recording of an open read and a fresh token for one station's agent; the same recording however often.

    `station` None is the machine the server runs on. The token and the recording name the calibration that holds at the
    station now; epochs begun under an earlier token keep the one that held then.

    Raises
    ------
    NotAllowed
        As `prepare`.
    """
    recording = prepare(read=read)
    station = station or this_station()
    calibration = calibration_for(recording, read.assignment.enrolment.user, station)
    recording.station, recording.calibration = station, calibration
    recording.save(update_fields=["station", "calibration"])
    pairing = pairing_of(station)
    if pairing is None:
        token = secrets.token_urlsafe(32)  # no agent is paired here that could check it
    else:
        token = tokens.mint(pairing.credential_sha256, str(recording.pk))
    RecordingToken.objects.create(
        recording=recording,
        station=station,
        calibration=calibration,
        sha256=hash_token(token),
        expires_at=timezone.now() + TOKEN_LIFE,
    )
    return recording, token


def _refuse_unless_consented(read: Read) -> None:
    enrolment = read.assignment.enrolment
    if not enrolment.consents:
        raise NotAllowed(f"{enrolment.reader_code} has not consented to gaze recording, so nothing is recorded.")
    if read.state in (Read.State.SUBMITTED, Read.State.INVALIDATED):
        raise NotAllowed("This read is over; nothing more is recorded for it.")


def opened_by(token: str) -> RecordingToken | None:
    """The token's row, if it still opens its recording; None for one that is unknown or whose reader withdrew consent.

    A token that has expired opens it only to deliver what was recorded before: `capture.services.ingest.begin` holds it
    to that. Long after, it opens it while a `DeliveryPermit` says so.
    """
    now = timezone.now()
    row = (
        RecordingToken.objects.filter(sha256=hash_token(token))
        .select_related("recording__read__assignment__enrolment", "station")
        .first()
    )
    if row is None:
        return None
    if row.expires_at <= now - DELIVERY_LIFE and not row.recording.permits.filter(expires_at__gt=now).exists():
        return None
    if row.recording.read is not None:
        enrolment = row.recording.read.assignment.enrolment
        if not enrolment.consents:
            return None
    return row


def hash_token(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


@transaction.atomic
def allow_delivery(*, recording: Recording, span: timedelta, reason: str) -> DeliveryPermit:
    """Let the station that recorded for `recording` deliver it for `span` from now, whenever it was recorded.

    Raises
    ------
    NotAllowed
        The reader has withdrawn consent, so nothing more is taken; or no reason was given.
    """
    if not reason.strip():
        raise NotAllowed("Say why this delivery is allowed: it is kept with the recording.")
    if recording.read is not None:
        enrolment = recording.read.assignment.enrolment
        if not enrolment.consents:
            raise NotAllowed(f"{enrolment.reader_code} does not consent to gaze recording: nothing more is taken.")
    return DeliveryPermit.objects.create(
        recording=recording, expires_at=timezone.now() + span, reason=reason.strip()[:200]
    )
