from __future__ import annotations

from pathlib import Path

from django.conf import settings
from django.db import models
from django.db.models import Q

from study.models import InsertOnly

from .recording import Recording


class Segment(InsertOnly):
    """One sealed file of frames: one stream of one uninterrupted stay of the agent."""

    recording = models.ForeignKey(Recording, on_delete=models.PROTECT, related_name="segments")
    stream = models.PositiveSmallIntegerField(help_text="1 gaze, 2 clock, 3 source, 16 and above companions.")
    epoch = models.UUIDField()
    frames = models.PositiveIntegerField()
    samples = models.PositiveBigIntegerField()
    sha256 = models.CharField(max_length=64, help_text="Over all frames, as the agent spooled them.")
    path = models.CharField(max_length=200, help_text="Under the data directory.")
    t0 = models.FloatField(null=True, help_text="LSL seconds of the first and last sample that has a time.")
    t1 = models.FloatField(null=True)

    class Meta:
        ordering = ["t0", "stream"]
        constraints = [
            models.UniqueConstraint(fields=["recording", "stream", "epoch"], name="one_segment_per_stream_and_epoch"),
            models.CheckConstraint(
                condition=Q(t0__isnull=True, t1__isnull=True) | Q(t0__isnull=False, t1__isnull=False),
                name="segment_has_both_times",
            ),
        ]

    def __str__(self) -> str:
        return f"Stream {self.stream} of {self.recording_id}: {self.frames} frames"

    @property
    def file(self) -> Path:
        return Path(settings.GAZEROOM_DATA) / self.path
