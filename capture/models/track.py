from __future__ import annotations

from pathlib import Path

from django.conf import settings
from django.db import models

from study.models import InsertOnly

from .recording import Recording


class GazeTrack(InsertOnly):
    """A recording as gaze in image pixels: a derivative that names its inputs and can be made again.

    Processing the same inputs with the same code gives the same track and no second row; the latest is the one to use.
    """

    recording = models.ForeignKey(Recording, on_delete=models.PROTECT, related_name="tracks")
    path = models.CharField(max_length=200, help_text="npz under the data directory.")
    sha256 = models.CharField(max_length=64)
    inputs = models.JSONField(help_text="SHA-256 of every file it was made from, the calibration and the image.")
    inputs_sha256 = models.CharField(max_length=64)
    code_version = models.CharField(max_length=64)
    samples = models.PositiveBigIntegerField()
    data_loss = models.FloatField()
    clock_bound_ms = models.FloatField(null=True, help_text="Null for gaze that came mapped into the image.")
    fixations = models.PositiveIntegerField()
    quality = models.JSONField(default=dict)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["recording", "inputs_sha256", "code_version"], name="one_track_per_inputs_and_code"
            )
        ]

    def __str__(self) -> str:
        return f"Track of {self.recording_id}: {self.samples} samples, {self.fixations} fixations"

    @property
    def file(self) -> Path:
        return Path(settings.GAZEROOM_DATA) / self.path


class Utterance(InsertOnly):
    """A sentence of the report with its interval in recording time (seconds from the track's first sample)."""

    track = models.ForeignKey(GazeTrack, on_delete=models.PROTECT, related_name="utterances")
    ordinal = models.PositiveIntegerField()
    text = models.TextField()
    start_s = models.FloatField()
    end_s = models.FloatField()

    class Meta:
        ordering = ["ordinal"]
        constraints = [
            models.UniqueConstraint(fields=["track", "ordinal"], name="one_utterance_per_ordinal"),
            models.CheckConstraint(condition=models.Q(end_s__gte=models.F("start_s")), name="utterance_runs_forward"),
        ]

    def __str__(self) -> str:
        return f"{self.start_s:.1f}–{self.end_s:.1f} s: {self.text[:60]}"
