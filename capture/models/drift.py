from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q

from study.models import Enrolment, InsertOnly, UuidModel

from .calibration import Calibration


class DriftCheck(UuidModel, InsertOnly):
    """A look at one target between cases: how far the calibration that holds has drifted, and what was measured.

    `drift_x_deg` (to the right) and `drift_y_deg` (down) are signed, `drift_deg` is their distance; none of them is
    known where no gaze was measured. Gaze is not shifted by a drift check: it is stored and shown beside the recordings
    made before and after it.
    """

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="drift_checks")
    calibration = models.ForeignKey(Calibration, on_delete=models.PROTECT, related_name="drift_checks")
    enrolment = models.ForeignKey(
        Enrolment, on_delete=models.PROTECT, related_name="drift_checks", help_text="Whose threshold held."
    )
    display = models.JSONField()
    drift_deg = models.FloatField(null=True)
    drift_x_deg = models.FloatField(null=True)
    drift_y_deg = models.FloatField(null=True)
    precision_sd_deg = models.FloatField(null=True)
    data_loss = models.FloatField()
    max_drift_deg = models.FloatField()
    point = models.JSONField(help_text="Result of the target.")
    samples = models.JSONField(help_text="What the tracker said while the target was looked at, raw.")
    passed = models.BooleanField()
    sentence = models.CharField(max_length=300)

    class Meta:
        ordering = ["-created_at"]
        indexes = [models.Index(fields=["calibration", "-created_at"], name="drift_of_calibration")]
        constraints = [
            models.CheckConstraint(
                condition=Q(passed=False) | Q(drift_deg__isnull=False, drift_deg__lte=models.F("max_drift_deg")),
                name="passed_drift_is_within_threshold",
            ),
            models.CheckConstraint(condition=Q(data_loss__gte=0, data_loss__lte=1), name="drift_loss_is_a_share"),
        ]

    def __str__(self) -> str:
        drift = "no gaze" if self.drift_deg is None else f"{self.drift_deg:.2f}°"
        return f"{self.user} {self.created_at:%Y-%m-%d %H:%M} {drift}"
