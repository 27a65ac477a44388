from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q

from study.models import UuidModel

from .result import AnalysisResult


class AnalysisRun(UuidModel):
    """A request to run the analysis and how far it has come."""

    class State(models.TextChoices):
        QUEUED = "queued", "Queued"
        RUNNING = "running", "Running"
        SUCCEEDED = "succeeded", "Done"
        FAILED = "failed", "Failed"

    study = models.ForeignKey("study.Study", on_delete=models.PROTECT, related_name="analysis_runs")
    state = models.CharField(max_length=9, choices=State.choices, default=State.QUEUED)
    step = models.CharField(max_length=120, blank=True, help_text="What it is doing, for the page.")
    done = models.PositiveIntegerField(default=0)
    total = models.PositiveIntegerField(default=0)
    sentence = models.TextField(blank=True, help_text="Why it failed.")
    result = models.ForeignKey(AnalysisResult, on_delete=models.PROTECT, null=True, blank=True, related_name="runs")
    requested_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+")
    requested_at = models.DateTimeField(auto_now_add=True)
    touched_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["-requested_at"]
        get_latest_by = "requested_at"
        constraints = [
            models.CheckConstraint(
                condition=~Q(state="succeeded") | Q(result__isnull=False), name="succeeded_analysis_has_result"
            ),
            models.UniqueConstraint(
                fields=["study"], condition=Q(state__in=["queued", "running"]), name="one_analysis_at_a_time"
            ),
        ]

    def __str__(self) -> str:
        return f"Analysis of {self.study}: {self.state}"

    @property
    def is_active(self) -> bool:
        return self.state in {self.State.QUEUED, self.State.RUNNING}
