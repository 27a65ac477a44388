from __future__ import annotations

from django.conf import settings
from django.db import models

from .base import InsertOnly


class AuditEntry(InsertOnly):
    """Who did what, in the order it was done."""

    class Act(models.TextChoices):
        SIGN_IN = "sign_in"
        IMPORT = "import"
        STUDY_CREATED = "study_created"
        PROTOCOL_LOCKED = "protocol_locked"
        STUDY_OPENED = "study_opened"
        STUDY_CLOSED = "study_closed"
        STUDY_UNBLINDED = "study_unblinded"
        ENROLLED = "enrolled"
        CONSENTED = "consented"
        READ_OPENED = "read_opened"
        READ_SUBMITTED = "read_submitted"
        READ_INVALIDATED = "read_invalidated"
        ASSISTANCE_REVEALED = "assistance_revealed"
        PLAN_LOCKED = "plan_locked"
        ANALYSED = "analysed"
        RELEASE_BUILT = "release_built"
        TRAINING_STARTED = "training_started"
        TRAINING_CANCELLED = "training_cancelled"
        MODEL_PROMOTED = "model_promoted"
        EXPORTED = "exported"
        STATION_ADDED = "station_added"
        STATION_PAIRED = "station_paired"
        STATION_REVOKED = "station_revoked"

    actor = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+")
    act = models.CharField(max_length=24, choices=Act.choices)
    subject = models.CharField(max_length=120, help_text="'Read 4f…', 'Study lung-ct': what it was done to.")
    detail = models.JSONField(default=dict)

    class Meta:
        verbose_name_plural = "audit entries"
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(
                    act__in=[
                        "sign_in",
                        "import",
                        "study_created",
                        "protocol_locked",
                        "study_opened",
                        "study_closed",
                        "study_unblinded",
                        "enrolled",
                        "consented",
                        "read_opened",
                        "read_submitted",
                        "read_invalidated",
                        "assistance_revealed",
                        "plan_locked",
                        "analysed",
                        "release_built",
                        "training_started",
                        "training_cancelled",
                        "model_promoted",
                        "exported",
                        "station_added",
                        "station_paired",
                        "station_revoked",
                    ]
                ),
                name="audit_act_known",
            )
        ]

    def __str__(self) -> str:
        return f"{self.act} {self.subject}"
