from __future__ import annotations

from django.db import models
from django.db.models import Q

from .base import UuidModel
from .study import Study


class ProtocolVersion(UuidModel):
    """How a study is read. Immutable and hashed once locked; an amendment is a new version.

    body: {"findings": [CheXbert labels], "gaze": "required" | "optional" | "none",
           "calibration": {"max_accuracy_deg", "max_data_loss"[, "points", "drift_every_cases",
                           "drift_every_minutes", "max_drift_deg"]},
           "washout_days": int, "periods": int, "model_sha256": str | None,
           "arms": [{"key", "name", "assistance"}], "seed": int
           [, "gaze_measures": {parameters of the gaze measures that differ from their defaults}]}
    """

    study = models.ForeignKey(Study, on_delete=models.PROTECT, related_name="protocols")
    number = models.PositiveIntegerField(default=1)
    body = models.JSONField()
    sha256 = models.CharField(max_length=64, blank=True, help_text="Of the canonical body, set when locked.")
    plan_sha256 = models.CharField(max_length=64, blank=True, help_text="Of the materialised plan, set when locked.")
    locked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["study", "number"], name="one_protocol_per_number"),
            models.CheckConstraint(
                condition=Q(locked_at__isnull=True) | (~Q(sha256="") & ~Q(plan_sha256="")), name="locked_is_hashed"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.study} protocol {self.number}"


class Arm(models.Model):
    class Assistance(models.TextChoices):
        NONE = "none", "Unassisted"
        CONCURRENT = "concurrent", "GazeX concurrent"
        ON_REQUEST = "on_request", "GazeX on request"
        SECOND_READ = "second_read", "GazeX as second reader"

    protocol = models.ForeignKey(ProtocolVersion, on_delete=models.PROTECT, related_name="arms")
    key = models.SlugField(max_length=32)
    name = models.CharField(max_length=64)
    assistance = models.CharField(max_length=11, choices=Assistance.choices)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["protocol", "key"], name="one_arm_per_key")]

    def __str__(self) -> str:
        return self.name


class Period(models.Model):
    protocol = models.ForeignKey(ProtocolVersion, on_delete=models.PROTECT, related_name="periods")
    number = models.PositiveIntegerField()
    washout_days = models.PositiveIntegerField(
        default=0, help_text="Days since the reader's last read before it opens."
    )

    class Meta:
        ordering = ["number"]
        constraints = [models.UniqueConstraint(fields=["protocol", "number"], name="one_period_per_number")]

    def __str__(self) -> str:
        return f"Period {self.number}"


class StudyCase(models.Model):
    """Which cases a protocol reads."""

    protocol = models.ForeignKey(ProtocolVersion, on_delete=models.PROTECT, related_name="study_cases")
    case = models.ForeignKey("study.Case", on_delete=models.PROTECT, related_name="study_cases")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["protocol", "case"], name="case_once_per_protocol")]

    def __str__(self) -> str:
        return f"{self.case} in {self.protocol}"
