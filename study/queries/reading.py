"""What a reader may be shown now, and which reads a person may look at afterwards."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db.models import Max, Q, QuerySet

from study.models import Assignment, Case, Enrolment, Image, Read, Study, User

from .studies import STAFF, studies_visible_to

FINAL = (Read.State.SUBMITTED, Read.State.INVALIDATED)
FRONTAL = ("PA", "AP")


def reads_of(user: User) -> QuerySet[Read]:
    """The reader's own reads, for writing to the one that is open. Not for looking back: see `reads_visible_to`."""
    return Read.objects.filter(
        assignment__enrolment__user=user, assignment__enrolment__withdrawn_at__isnull=True
    ).select_related(
        "assignment__enrolment__study", "assignment__enrolment__user", "assignment__arm", "assignment__period"
    )


def reads_visible_to(user: User) -> QuerySet[Read]:
    """Reads that coordinators and researchers of the study may look at.

    A reader is not among them: looking back at one's own read would show a case that comes again in the next period.
    """
    return Read.objects.filter(assignment__enrolment__study__in=studies_visible_to(user, *STAFF))


def current_read_of(enrolment: Enrolment) -> Read | None:
    """The read that is open in this enrolment; there is at most one."""
    return (
        Read.objects.filter(assignment__enrolment=enrolment)
        .exclude(state__in=FINAL)
        .select_related("assignment__enrolment__study", "assignment__arm", "assignment__period", "assignment__case")
        .first()
    )


def next_assignment_of(enrolment: Enrolment) -> Assignment | None:
    """The first line of the plan, in its order, that has no read yet."""
    return (
        Assignment.objects.filter(enrolment=enrolment, read__isnull=True)
        .select_related("enrolment__study", "arm", "period__protocol", "case")
        .order_by("period__number", "position")
        .first()
    )


def opens_at(assignment: Assignment) -> datetime | None:
    """When the washout before this assignment's period ends; None where there is nothing to wait for."""
    period = assignment.period
    if period.washout_days == 0:
        return None
    last = Read.objects.filter(
        assignment__enrolment_id=assignment.enrolment_id, assignment__period__number__lt=period.number
    ).aggregate(submitted=Max("submitted_at"), invalidated=Max("invalidated_at"), opened=Max("opened_at"))
    moments = [moment for moment in last.values() if moment is not None]
    return max(moments) + timedelta(days=period.washout_days) if moments else None


def shown_image(case: Case) -> Image | None:
    """The image of a case that is read: its first frontal one, else its first."""
    images = list(case.images.order_by("created_at", "id"))
    return next((image for image in images if image.view.upper() in FRONTAL), images[0] if images else None)


def image_of(read: Read) -> Image:
    """The image this read is about."""
    image = shown_image(read.assignment.case)
    assert image is not None, "open_study refuses cases without an image"
    return image


def next_in_arm(read: Read) -> Assignment | None:
    """The reader's very next assignment, if it is of the same period and arm and not opened yet.

    Its frame may be fetched ahead, while this read is open; nothing else of it.
    """
    following = (
        Assignment.objects.filter(
            enrolment_id=read.assignment.enrolment_id,
            period_id=read.assignment.period_id,
            position=read.assignment.position + 1,
            read__isnull=True,
        )
        .select_related("case")
        .first()
    )
    return following if following is not None and following.arm_id == read.assignment.arm_id else None


def images_served_for(read: Read) -> QuerySet[Image]:
    """The frames that may leave the server for this read: its own, and the next one's of the same arm."""
    if read.state in FINAL or read.assignment.enrolment.study.state != Study.State.OPEN:
        return Image.objects.none()
    following = next_in_arm(read)
    cases = [read.assignment.case] + ([following.case] if following else [])
    shown = [image.pk for case in cases if (image := shown_image(case)) is not None]
    return Image.objects.filter(pk__in=shown)


def images_served_to(user: User) -> QuerySet[Image]:
    """The frames this reader may be sent now, over all their enrolments."""
    served = Q(pk__in=[])
    for read in reads_of(user).exclude(state__in=FINAL):
        served |= Q(pk__in=images_served_for(read).values("pk"))
    return Image.objects.filter(served)
