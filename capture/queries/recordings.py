"""Which recordings a person may look at. A single one's permission is `recordings_visible_to(user).contains(it)`."""

from __future__ import annotations

from django.db.models import Exists, OuterRef, Q, QuerySet

from capture.models import GazeTrack, Recording
from study.models import Case, Image, Read, Study, User
from study.queries.reading import image_of
from study.queries.studies import STAFF, studies_visible_to


def recordings_visible_to(user: User) -> QuerySet[Recording]:
    """Recordings made in or imported into the studies a person coordinates or researches, and their own submitted ones.

    A replay shows the case again. So nobody who reads a comparison sees a recording of any of its cases, in whatever
    study it was made and their own included, before it is closed: the same case may still come in another arm.
    """
    if not user.is_authenticated:
        return Recording.objects.none()
    staffed = Study.objects.filter(memberships__user=user, memberships__role__in=STAFF)
    reading = Study.objects.filter(
        kind=Study.Kind.COMPARISON, state__in=[Study.State.DRAFT, Study.State.OPEN], enrolments__user=user
    )
    blind = Case.objects.filter(study_cases__protocol__study__in=reading)
    own = Q(read__assignment__enrolment__user=user, read__state=Read.State.SUBMITTED)
    of_staff = Q(read__assignment__enrolment__study__in=staffed) | Q(imported__study__in=staffed)
    return (
        Recording.objects.filter(of_staff | own)
        .exclude(read__assignment__case__in=blind)
        .exclude(imported__image__case__in=blind)
        .select_related(*_RELATED)
    )


_RELATED = (
    "read__assignment__enrolment__study",
    "read__assignment__case",
    "read__assignment__arm",
    "imported__study",
    "imported__image__case",
    "calibration",
)


def exportable_recordings(study: Study) -> QuerySet[Recording]:
    """A study's recordings that became tracks, of readers who consent to it still, and those imported into it."""
    enrolment = "read__assignment__enrolment"
    made = Q(
        **{
            f"{enrolment}__study": study,
            f"{enrolment}__consented_at__isnull": False,
            f"{enrolment}__withdrawn_at__isnull": True,
            "read__state": Read.State.SUBMITTED,
        }
    )
    return (
        Recording.objects.filter(made | Q(imported__study=study))
        .filter(Exists(GazeTrack.objects.filter(recording=OuterRef("pk"))), state=Recording.State.PROCESSED)
        .select_related(*_RELATED, "read__assignment__case__patient", "imported__image__case__patient")
        .order_by("created_at", "pk")
    )


def recordings_exported_to(user: User, study: Study) -> QuerySet[Recording]:
    """What this person may take out of a study: only its coordinators and researchers anything, and only what they see.

    Somebody who reads a comparison as well gets none of its cases before it is closed (`recordings_visible_to`).
    """
    if not studies_visible_to(user, *STAFF).contains(study):
        return Recording.objects.none()
    return exportable_recordings(study).filter(pk__in=recordings_visible_to(user).values("pk"))


def image_of_recording(recording: Recording) -> Image:
    """The image that was looked at."""
    return recording.imported.image if recording.read is None else image_of(recording.read)


def answers_shown(study: Study) -> bool:
    """Whether reports and arms of a study may be shown with its gaze: not while a comparison is blind."""
    return study.kind == Study.Kind.COLLECTION or study.state == Study.State.UNBLINDED


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
