from __future__ import annotations

from django.db import models

from study.models import InsertOnly

from .track import GazeTrack


class GazeMeasures(InsertOnly):
    """What the eyes did in one recording: a derivative of its track, the truth, the answers and the study's parameters.

    It knows the truth, so it is shown only through `capture.queries.measures`. The latest of a track is the one to use.
    """

    track = models.ForeignKey(GazeTrack, on_delete=models.PROTECT, related_name="measures")
    inputs = models.JSONField(
        help_text="SHA-256 of the track, the reference standard, the answers and the assistance; the parameters."
    )
    inputs_sha256 = models.CharField(max_length=64)
    code_version = models.CharField(max_length=64)
    body = models.JSONField(help_text="gazeroom.measures/1")

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "gaze measures"
        constraints = [
            models.UniqueConstraint(
                fields=["track", "inputs_sha256", "code_version"], name="one_measurement_per_inputs_and_code"
            )
        ]

    def __str__(self) -> str:
        return f"Measures of {self.track}"
