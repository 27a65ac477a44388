"""Which recordings a person may look at. A single one's permission is `recordings_visible_to(user).contains(it)`."""

from __future__ import annotations

from django.db.models import Q, QuerySet

from capture.models import Recording
from study.models import Case, Membership, Read, Study, User

STAFF = (Membership.Role.COORDINATOR, Membership.Role.RESEARCHER)


def recordings_visible_to(user: User) -> QuerySet[Recording]:
    """Recordings of reads in the studies a person coordinates or researches, and a reader's own submitted ones.

    A replay shows the case again. So nobody who reads a comparison sees a recording of any of its cases, in whatever
    study it was made and their own included, before it is closed: the same case may still come in another arm.
    """
    if not user.is_authenticated:
        return Recording.objects.none()
    staffed = Study.objects.filter(memberships__user=user, memberships__role__in=STAFF)
    reading = Study.objects.filter(
        kind=Study.Kind.COMPARISON, state__in=[Study.State.DRAFT, Study.State.OPEN], enrolments__user=user
    )
    own = Q(read__assignment__enrolment__user=user, read__state=Read.State.SUBMITTED)
    return (
        Recording.objects.filter(Q(read__assignment__enrolment__study__in=staffed) | own)
        .exclude(read__assignment__case__in=Case.objects.filter(study_cases__protocol__study__in=reading))
        .select_related(
            "read__assignment__enrolment__study", "read__assignment__case", "read__assignment__arm", "calibration"
        )
    )


def recordings_written_by(user: User) -> QuerySet[Recording]:
    """Recordings a page of this user may add states and clock exchanges to: those of their own reads."""
    return Recording.objects.filter(
        read__assignment__enrolment__user=user,
        read__assignment__enrolment__consented_at__isnull=False,
        read__assignment__enrolment__withdrawn_at__isnull=True,
    )


def awaiting_processing() -> QuerySet[Recording]:
    """Recordings of submitted reads that have no track yet."""
    return Recording.objects.filter(
        read__state=Read.State.SUBMITTED,
        state__in=[Recording.State.WAITING, Recording.State.RECORDING, Recording.State.SEALED],
    )
