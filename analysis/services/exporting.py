"""What may be taken out of the house, and the trace that it leaves."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from analysis.models import AnalysisResult
from analysis.queries.results import cases_withheld_from
from study.models import AuditEntry
from study.services.audit import record
from study.services.errors import Refused


def check_no_truth_for_readers(*, result: AnalysisResult, actor: Any) -> None:
    """Let nobody take out the truth of a case that they still read blind in another study.

    Raises:
        Refused: the actor reads some of the result's cases elsewhere.
    """
    count = cases_withheld_from(actor, result.study).count()
    if count:
        raise Refused(
            f"You read {count} of these cases in another study that is still blind, and this file holds their truth; "
            "another coordinator can export it, or you once that study is over."
        )


@transaction.atomic
def note_export(*, result: AnalysisResult, actor: Any, what: str) -> None:
    record(
        actor=actor,
        act=AuditEntry.Act.EXPORTED,
        subject=f"Study {result.study.slug}",
        detail={"result": str(result.pk), "what": what},
    )
