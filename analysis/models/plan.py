from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q

from study.models import InsertOnlyError, UuidModel


class AnalysisPlanQuerySet(models.QuerySet["AnalysisPlan"]):
    def locked(self) -> AnalysisPlanQuerySet:
        return self.filter(locked_at__isnull=False)

    def delete(self) -> tuple[int, dict[str, int]]:
        if self.locked().exists():
            raise InsertOnlyError("A locked analysis plan cannot be deleted.")
        return super().delete()


class AnalysisPlan(UuidModel):
    """What will be computed of a comparison, written before anybody knows the answer.

    body: as :mod:`analysis.services.plan_body` describes it. A plan that was locked before plans had several figures of
    merit has another shape; `plan_body.complete` reads both.

    A draft may change; once locked it is hashed and triggers refuse every UPDATE and DELETE.
    """

    study = models.OneToOneField("study.Study", on_delete=models.PROTECT, related_name="analysis_plan")
    body = models.JSONField()
    sha256 = models.CharField(max_length=64, blank=True, help_text="Of the canonical body, set when locked.")
    locked_at = models.DateTimeField(null=True, blank=True)
    locked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    objects = AnalysisPlanQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(locked_at__isnull=True, sha256="") | (Q(locked_at__isnull=False) & ~Q(sha256="")),
                name="locked_analysis_plan_is_hashed",
            )
        ]

    def __str__(self) -> str:
        return f"Analysis plan of {self.study}"

    @property
    def is_locked(self) -> bool:
        return self.locked_at is not None

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        if self.is_locked:
            raise InsertOnlyError("A locked analysis plan cannot be deleted.")
        return super().delete(*args, **kwargs)
