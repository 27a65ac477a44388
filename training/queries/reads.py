"""The leak guard: which reads may become training data, as one query."""

from __future__ import annotations

from typing import Any

from django.db.models import Exists, OuterRef, Q, QuerySet

from capture.models import GazeTrack, Recording
from study.models import Arm, AssistanceReveal, Patient, Read, Study, StudyCase
from training.models import ReleaseRead

from .roles import researcher_studies


def guarded_patients() -> QuerySet[Patient]:
    """Patients of a comparison that is not yet unblinded, drafts included: what is learnt of them would leak."""
    blinded = StudyCase.objects.filter(protocol__study__kind=Study.Kind.COMPARISON).exclude(
        protocol__study__state=Study.State.UNBLINDED
    )
    return Patient.objects.filter(pk__in=blinded.values("case__patient"))


def eligible_reads(user: Any) -> QuerySet[Read]:
    """The reads this researcher may put in a release.

    A read is eligible when it is submitted (and so neither open nor invalidated), its reader consented to the recording
    and has not withdrawn, its gaze was processed into a GazeTrack, it was made without assistance (a model must not
    learn from what it suggested), it belongs to a collection or to an unblinded comparison, and its patient is in no
    comparison that is not yet unblinded.
    """
    study = "assignment__enrolment__study"
    return (
        Read.objects.filter(state=Read.State.SUBMITTED)
        .filter(**{f"{study}__in": researcher_studies(user)})
        .filter(
            Q(**{f"{study}__kind": Study.Kind.COLLECTION})
            | Q(**{f"{study}__kind": Study.Kind.COMPARISON, f"{study}__state": Study.State.UNBLINDED})
        )
        .filter(assignment__enrolment__consented_at__isnull=False, assignment__enrolment__withdrawn_at__isnull=True)
        .filter(assignment__arm__assistance=Arm.Assistance.NONE)
        .filter(~Exists(AssistanceReveal.objects.filter(read=OuterRef("pk"))))
        .filter(
            Exists(GazeTrack.objects.filter(recording__read=OuterRef("pk"), recording__state=Recording.State.PROCESSED))
        )
        .exclude(assignment__case__patient__in=guarded_patients())
        .order_by("submitted_at", "pk")
    )


def unreleased(reads: QuerySet[Read]) -> QuerySet[Read]:
    """Those of the reads that are in no release yet."""
    return reads.filter(~Exists(ReleaseRead.objects.filter(read=OuterRef("pk"))))
