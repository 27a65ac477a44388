from __future__ import annotations

from typing import Any

from django.db.models import Q, QuerySet

from study.queries.studies import cases_visible_to
from training.models import Job, TrainingRun

from .releases import releases_visible_to


def runs_visible_to(user: Any) -> QuerySet[TrainingRun]:
    """Runs on the releases this person may see."""
    return TrainingRun.objects.filter(release__in=releases_visible_to(user))


def jobs_visible_to(user: Any) -> QuerySet[Job]:
    """What this person asked for, without answers for cases that they are to read themselves, blind, by now."""
    if not user.is_authenticated:
        return Job.objects.none()
    in_sight = Q(image__isnull=True) | Q(image__case__in=cases_visible_to(user))
    return Job.objects.filter(in_sight, requested_by=user)
