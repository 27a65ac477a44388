"""Who may see what of an analysis: the coordinators of the study, and nobody else."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet

from analysis.models import AnalysisResult
from study.models import Case, Membership, Study
from study.queries.studies import cases_visible_to

from .readings import current_protocol


def studies_analysed_by(user: Any) -> QuerySet[Study]:
    """The comparisons whose analysis this person plans and reads."""
    if not user.is_authenticated:
        return Study.objects.none()
    coordinated = Membership.objects.filter(user=user, role=Membership.Role.COORDINATOR)
    return Study.objects.filter(kind=Study.Kind.COMPARISON, pk__in=coordinated.values("study"))


def cases_withheld_from(user: Any, study: Study) -> QuerySet[Case]:
    """The study's cases that the person still reads blind in another study: nothing may show them their truth."""
    return Case.objects.filter(study_cases__protocol=current_protocol(study)).exclude(
        pk__in=cases_visible_to(user).values("pk")
    )


def results_visible_to(user: Any) -> QuerySet[AnalysisResult]:
    """Results of those studies. A result exists only of an unblinded study."""
    return AnalysisResult.objects.filter(study__in=studies_analysed_by(user), study__state=Study.State.UNBLINDED)
