"""Leaving a trace of what was taken out of the house."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from analysis.models import AnalysisResult
from study.models import AuditEntry
from study.services.audit import record


@transaction.atomic
def note_export(*, result: AnalysisResult, actor: Any, what: str) -> None:
    record(
        actor=actor,
        act=AuditEntry.Act.EXPORTED,
        subject=f"Study {result.study.slug}",
        detail={"result": str(result.pk), "what": what},
    )
