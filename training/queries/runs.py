from __future__ import annotations

from typing import Any

from django.db.models import QuerySet

from training.models import Job, TrainingRun

from .releases import releases_visible_to


def runs_visible_to(user: Any) -> QuerySet[TrainingRun]:
    """Runs on the releases this person may see."""
    return TrainingRun.objects.filter(release__in=releases_visible_to(user))


def jobs_visible_to(user: Any) -> QuerySet[Job]:
    """What this person asked for."""
    return Job.objects.filter(requested_by=user) if user.is_authenticated else Job.objects.none()
