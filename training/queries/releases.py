from __future__ import annotations

from typing import Any

from django.db.models import Exists, OuterRef, QuerySet

from study.models import Patient
from training.models import DatasetRelease, ReleaseRead

from .roles import is_researcher, researcher_studies


def releases_visible_to(user: Any) -> QuerySet[DatasetRelease]:
    """Releases all of whose reads are of studies this person is a researcher of."""
    if not is_researcher(user):
        return DatasetRelease.objects.none()
    foreign = ReleaseRead.objects.filter(release=OuterRef("pk")).exclude(
        read__assignment__enrolment__study__in=researcher_studies(user)
    )
    return DatasetRelease.objects.filter(~Exists(foreign))


def patients_of_release(*releases: DatasetRelease) -> QuerySet[Patient]:
    """Whose images are in these releases."""
    rows = ReleaseRead.objects.filter(release__in=releases)
    return Patient.objects.filter(pk__in=rows.values("read__assignment__case__patient"))
