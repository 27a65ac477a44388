"""Which calibration holds for a reader now, when its drift is checked, and who may see how good they are."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db.models import Q, QuerySet
from django.utils import timezone

from capture.models import Calibration, DriftCheck, Recording, Station
from study.models import Read, Study, User
from study.queries.studies import STAFF, enrolments_of, studies_visible_to
from study.services.protocol_body import calibration_rules

#: How long a passed calibration opens cases.
VALIDITY = timedelta(hours=8)


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
    """Whether a calibration is as good as this protocol asks, and has not drifted further than it allows."""
    rules = calibration_rules(protocol_body)
    if latest is None or latest.accuracy_deg is None:
        return False
    if latest.accuracy_deg > rules.max_accuracy_deg or latest.data_loss > rules.max_data_loss:
        return False
    return not has_drifted(latest, protocol_body)


def last_drift(calibration: Calibration) -> DriftCheck | None:
    """The last drift check of it that measured anything."""
    return calibration.drift_checks.filter(drift_deg__isnull=False).order_by("-created_at").first()


def has_drifted(calibration: Calibration, protocol_body: dict[str, Any]) -> bool:
    """Whether its last drift check found more than this protocol allows; never, where the protocol asks for none."""
    rules = calibration_rules(protocol_body)
    last = last_drift(calibration) if rules.checks_drift else None
    return last is not None and last.drift_deg is not None and last.drift_deg > rules.max_drift_deg


def drift_is_due(user: User, protocol_body: dict[str, Any], station: Station | None) -> bool:
    """Whether this protocol asks for a drift check before the next case.

    Cases and minutes are counted from the calibration, or from the last check of it; cases of every study count, for
    gaze drifts whatever is read.
    """
    rules = calibration_rules(protocol_body)
    held = latest_passed(user, station)
    if held is None or not rules.checks_drift:
        return False
    last = last_drift(held)
    since = last.created_at if last else held.created_at
    if rules.drift_every_minutes and timezone.now() - since >= timedelta(minutes=rules.drift_every_minutes):
        return True
    if rules.drift_every_cases is None:
        return False
    return (
        Read.objects.filter(assignment__enrolment__user=user, opened_at__gte=since).count() >= rules.drift_every_cases
    )


def drift_around(recording: Recording) -> tuple[DriftCheck | None, DriftCheck | None]:
    """The last drift check before a recording was opened and the first after, of the calibration it is mapped with."""
    if recording.calibration is None:
        return None, None
    checks = recording.calibration.drift_checks.filter(drift_deg__isnull=False)
    before = checks.filter(created_at__lte=recording.created_at).order_by("-created_at").first()
    return before, checks.filter(created_at__gt=recording.created_at).order_by("created_at").first()


# ── what a person may see ─────────────────────────────────────────────────────────────────────────────────────────────


def calibrations_visible_to(user: User, study: Study) -> QuerySet[Calibration]:
    """A study's calibrations: all of them for its coordinators and researchers, their own for its readers.

    A study's are those made under it and those its recordings were mapped with; a reader may have made one of these
    under another study that same day.
    """
    of_study = Q(enrolment__study=study) | Q(recordings__read__assignment__enrolment__study=study)
    rows = Calibration.objects.filter(pk__in=Calibration.objects.filter(of_study).values("pk"))
    return _visible(rows, user, study).select_related("station", "user", "enrolment")


def drift_checks_visible_to(user: User, study: Study) -> QuerySet[DriftCheck]:
    """A study's drift checks, as its calibrations are seen."""
    return _visible(DriftCheck.objects.filter(enrolment__study=study), user, study)


def has_calibration_page(user: User, study: Study) -> bool:
    """Whether there is a page of calibration quality for this person: the study's staff and its readers."""
    return studies_visible_to(user, *STAFF).contains(study) or enrolments_of(user).filter(study=study).exists()


def _visible(rows: QuerySet[Any], user: User, study: Study) -> QuerySet[Any]:
    if not user.is_authenticated:
        return rows.none()
    if studies_visible_to(user, *STAFF).contains(study):
        return rows
    return rows.filter(user=user) if enrolments_of(user).filter(study=study).exists() else rows.none()


def latest_of_readers(study: Study) -> dict[int, Calibration]:
    """The latest of the study's calibrations of each enrolled reader, by enrolment id."""
    of_study = Q(enrolment__study=study) | Q(recordings__read__assignment__enrolment__study=study)
    enrolments = {e.user_id: e.pk for e in study.enrolments.all()}
    rows = Calibration.objects.filter(of_study, user__in=enrolments).order_by("created_at").defer("samples")
    return {enrolments[calibration.user_id]: calibration for calibration in rows}
