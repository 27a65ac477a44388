from __future__ import annotations

from typing import Any

from django.db.models import Q, QuerySet

from study.models import Case
from study.queries.studies import cases_visible_to
from training.models import DatasetRelease, ModelVersion, Promotion

from .releases import releases_visible_to
from .roles import is_researcher


def versions_visible_to(user: Any) -> QuerySet[ModelVersion]:
    """Base models, and the versions trained on releases this person may see."""
    if not is_researcher(user):
        return ModelVersion.objects.none()
    return ModelVersion.objects.filter(Q(run__isnull=True) | Q(run__release__in=releases_visible_to(user)))


def versions_offered_to(user: Any) -> QuerySet[ModelVersion]:
    """What this person can make a comparison with: what they may see, and the base models, which are everyone's."""
    return ModelVersion.objects.filter(Q(run__isnull=True) | Q(pk__in=versions_visible_to(user).values("pk")))


def answerable_cases(user: Any) -> QuerySet[Case]:
    """The cases a researcher may try a model on: the library, without what they are to read themselves, blind."""
    if not is_researcher(user):
        return Case.objects.none()
    return cases_visible_to(user).filter(images__isnull=False).distinct().order_by("label")


def lineage(version: ModelVersion) -> list[ModelVersion]:
    """The version, its base, its base's base …, to a model that was not trained here."""
    chain: list[ModelVersion] = []
    here: ModelVersion | None = version
    while here is not None and here not in chain:
        chain.append(here)
        here = here.base
    return chain


def ancestor_releases(version: ModelVersion) -> QuerySet[DatasetRelease]:
    """Every release that this version or one of its ancestors was trained on."""
    return DatasetRelease.objects.filter(runs__model_version__in=lineage(version)).distinct()


def current_version() -> ModelVersion | None:
    """The promoted version; None until somebody promoted one."""
    latest = Promotion.objects.select_related("version").order_by("-id").first()
    return latest.version if latest else None


def version_with(weights_sha256: str | None) -> ModelVersion | None:
    """The version whose weights these are; None where they are no version's."""
    return ModelVersion.objects.filter(weights_sha256=weights_sha256).first() if weights_sha256 else None
