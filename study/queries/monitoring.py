"""How a study's reading goes, without a word of what was answered: a study stays blind until it is unblinded."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from django.db.models import Max

from study.models import Enrolment, Read, Study

from .reading import FINAL
from .studies import with_progress


@dataclass(frozen=True)
class Row:
    """One reader's progress."""

    enrolment: Enrolment
    finished: int
    total: int
    invalidated: int
    last_submitted: datetime | None
    open_read: Read | None
    cells: list[str] = field(default_factory=list)


def monitor(study: Study) -> list[Row]:
    """A row for each enrolment, in the order of the readers' codes."""
    open_reads = {
        read.assignment.enrolment_id: read
        for read in Read.objects.filter(assignment__enrolment__study=study)
        .exclude(state__in=FINAL)
        .select_related("assignment__case", "assignment__period")
    }
    enrolments = with_progress(study.enrolments.select_related("user")).annotate(
        last=Max("assignments__read__submitted_at")
    )
    return [
        Row(
            enrolment=enrolment,
            finished=enrolment.submitted + enrolment.invalidated,
            total=enrolment.total,
            invalidated=enrolment.invalidated,
            last_submitted=enrolment.last,
            open_read=open_reads.get(enrolment.pk),
        )
        for enrolment in enrolments.order_by("reader_code")
    ]
