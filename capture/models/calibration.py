from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q

from study.models import Enrolment, InsertOnly, UuidModel

from .station import Station


class Calibration(UuidModel, InsertOnly):
    """A reader calibrated and validated at a station: the correction, how good it is, and what was measured.

    `created_at` is when. A recording uses the reader's latest passed one. Where the tracker's maker calibrates too,
    this correction lies on top of that: it is fitted to gaze as the tracker reports it.
    """

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="calibrations")
    station = models.ForeignKey(Station, on_delete=models.PROTECT, related_name="calibrations")
    enrolment = models.ForeignKey(
        Enrolment, on_delete=models.PROTECT, related_name="calibrations", null=True, help_text="Whose thresholds held."
    )
    correction = models.JSONField(
        help_text='{"left": [6 or 12 coefficients] | null, "right": …}, normalised display space.'
    )
    fit = models.JSONField(
        default=dict, help_text='{"left": {"model", "points", "held_out_deg": {"affine", "quadratic"}}, "right": …}.'
    )
    repeats = models.ForeignKey(
        "self",
        on_delete=models.PROTECT,
        related_name="repeated_by",
        null=True,
        help_text="The calibration whose bad points were measured again; the other points are taken over from it.",
    )
    retaken = models.JSONField(default=dict, help_text='{"calibration": [[x, y]…], "validation": […]}: those points.')
    display = models.JSONField()
    tracker = models.JSONField(default=dict)
    accuracy_deg = models.FloatField(null=True)
    precision_rms_deg = models.FloatField(null=True)
    precision_sd_deg = models.FloatField(null=True)
    data_loss = models.FloatField()
    max_accuracy_deg = models.FloatField()
    max_data_loss = models.FloatField()
    points = models.JSONField(help_text="Result of each validation point.")
    samples = models.JSONField(help_text='{"calibration": […], "validation": […]}: what the tracker said, raw.')
    passed = models.BooleanField()
    sentence = models.CharField(max_length=300)

    class Meta:
        ordering = ["-created_at"]
        indexes = [models.Index(fields=["user", "-created_at"], name="calibration_of_user")]
        constraints = [
            models.CheckConstraint(
                condition=Q(passed=False) | Q(accuracy_deg__isnull=False), name="passed_calibration_has_accuracy"
            ),
            models.CheckConstraint(condition=Q(data_loss__gte=0, data_loss__lte=1), name="calibration_loss_is_a_share"),
        ]

    def __str__(self) -> str:
        return f"{self.user} {self.created_at:%Y-%m-%d %H:%M} {'passed' if self.passed else 'failed'}"
