"""What the study floor asks of the analysis, through its registries."""

from __future__ import annotations

from typing import Any

from django.urls import reverse

from study.models import Study
from study.registries import Refusal

from .models import AnalysisPlan
from .queries.results import studies_analysed_by


def plan_is_locked_before_unblinding(study: Study, target_state: str) -> Refusal | None:
    """A comparison is not unblinded before somebody has written down, for good, what will be computed."""
    if study.kind != Study.Kind.COMPARISON or target_state != Study.State.UNBLINDED:
        return None
    if AnalysisPlan.objects.filter(study=study, locked_at__isnull=False).exists():
        return None
    return Refusal(
        f"{study.name} cannot be unblinded before its analysis plan is locked; lock the plan on the study's "
        "analysis page first.",
        reverse("analysis:study", args=[study.slug]),
    )


def link_to_analysis(study: Study, user: Any) -> list[tuple[str, str]]:
    if not studies_analysed_by(user).contains(study):
        return []
    return [("Analysis", reverse("analysis:study", args=[study.slug]))]
