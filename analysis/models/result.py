from __future__ import annotations

from django.conf import settings
from django.db import models

from study.models import InsertOnly, UuidModel

from .plan import AnalysisPlan


class AnalysisResult(UuidModel, InsertOnly):
    """Everything that one run of the analysis computed, with what it was computed from.

    `inputs` names the sources by hash: {"readings_sha256", "readings", "tables": {file: sha256}, "facts": what the
    tables do not say, "plan_sha256", "protocol_sha256", "assignments_sha256", "model_sha256"}. The same tables, facts
    and code give the same numbers. Results of schema gazeroom.analysis/1 lack "tables" and "facts".
    """

    study = models.ForeignKey("study.Study", on_delete=models.PROTECT, related_name="analysis_results")
    plan = models.ForeignKey(AnalysisPlan, on_delete=models.PROTECT, related_name="results")
    inputs = models.JSONField()
    inputs_sha256 = models.CharField(max_length=64, help_text="Of the readings table as the CSV export gives it.")
    code_version = models.CharField(max_length=120)
    numbers = models.JSONField(help_text="gazeroom.analysis/2, or /1 of results made earlier")
    made_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+")

    class Meta:
        ordering = ["-created_at"]
        get_latest_by = "created_at"

    def __str__(self) -> str:
        return f"Analysis of {self.study} at {self.created_at:%Y-%m-%d %H:%M}"
