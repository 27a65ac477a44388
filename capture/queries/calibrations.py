"""Which calibration holds for a reader now."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone

from capture.models import Calibration, Recording, Station
from study.models import Study, User

#: How long a passed calibration opens cases.
VALIDITY = timedelta(hours=8)
DEFAULT_MAX_ACCURACY_DEG = 1.0
DEFAULT_MAX_DATA_LOSS = 0.2


def thresholds(protocol_body: dict[str, Any] | None) -> tuple[float, float]:
    """(largest accuracy in degrees, largest data loss 0 to 1) a protocol accepts."""
    limits = (protocol_body or {}).get("calibration") or {}
    return (
        float(limits.get("max_accuracy_deg", DEFAULT_MAX_ACCURACY_DEG)),
        float(limits.get("max_data_loss", DEFAULT_MAX_DATA_LOSS)),
    )


def calibrations_of(user: User) -> QuerySet[Calibration]:
    return Calibration.objects.filter(user=user).order_by("-created_at")


def latest_passed(user: User, station: Station | None) -> Calibration | None:
    """The reader's last calibration that passed at this station, if it is still valid; None where no station is known.

    A calibration is of one reader before one tracker under one display: at another station it says nothing.
    """
    if station is None:
        return None
    valid = calibrations_of(user).filter(station=station, passed=True, created_at__gte=timezone.now() - VALIDITY)
    return valid.first()


def calibration_for(recording: Recording, user: User, station: Station) -> Calibration | None:
    """The calibration that holds when the recording is opened at this station.

    It is the one valid there now. One that has run out since the read was first opened there goes on to hold: the
    reader sits before the same tracker, in the same read.
    """
    valid = latest_passed(user, station)
    if valid is not None:
        return valid
    before = recording.tokens.filter(station=station, calibration__isnull=False).select_related("calibration")
    row = before.order_by("-id").first()
    return row.calibration if row else None


def is_calibrated(user: User, protocol_body: dict[str, Any], station: Station | None) -> bool:
    """Whether the calibration a recording at this station would use satisfies this protocol's thresholds."""
    return satisfies(latest_passed(user, station), protocol_body)


def satisfies(latest: Calibration | None, protocol_body: dict[str, Any]) -> bool:
    """Whether a calibration is as good as this protocol asks."""
    accuracy, loss = thresholds(protocol_body)
    return (
        latest is not None
        and latest.accuracy_deg is not None
        and latest.accuracy_deg <= accuracy
        and latest.data_loss <= loss
    )


def latest_accuracy(study: Study) -> dict[int, Calibration]:
    """The latest calibration of each enrolled reader, by enrolment id."""
    out: dict[int, Calibration] = {}
    enrolments = {e.user_id: e.pk for e in study.enrolments.all()}
    for calibration in Calibration.objects.filter(user__in=enrolments).order_by("created_at"):
        out[enrolments[calibration.user_id]] = calibration
    return out
