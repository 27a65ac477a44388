from __future__ import annotations

from django.db import models
from django.db.models import Q

from .base import InsertOnly
from .read import Read


class Stage(models.TextChoices):
    INITIAL = "initial", "Initial"
    FINAL = "final", "Final"


class Response(InsertOnly):
    """A reader's confidence that a finding is present: 1 definitely absent … 5 definitely present."""

    read = models.ForeignKey(Read, on_delete=models.PROTECT, related_name="responses")
    stage = models.CharField(max_length=7, choices=Stage.choices, default=Stage.FINAL)
    finding = models.CharField(max_length=64)
    confidence = models.PositiveSmallIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["read", "stage", "finding"], name="one_response_per_finding"),
            models.CheckConstraint(condition=Q(confidence__gte=1, confidence__lte=5), name="confidence_1_to_5"),
        ]

    def __str__(self) -> str:
        return f"{self.finding}: {self.confidence}"


class Mark(InsertOnly):
    """Where the reader saw it: a box [x0, y0, x1, y1] or a point [x, y] in image pixels."""

    class Shape(models.TextChoices):
        BOX = "box", "Box"
        POINT = "point", "Point"

    read = models.ForeignKey(Read, on_delete=models.PROTECT, related_name="marks")
    stage = models.CharField(max_length=7, choices=Stage.choices, default=Stage.FINAL)
    finding = models.CharField(max_length=64)
    shape = models.CharField(max_length=5, choices=Shape.choices)
    points = models.JSONField()
    confidence = models.PositiveSmallIntegerField(null=True, blank=True)

    def __str__(self) -> str:
        return f"{self.finding} {self.shape}"


class Transcript(InsertOnly):
    """The report as the reader wrote it, each sentence with its interval in browser milliseconds."""

    read = models.ForeignKey(Read, on_delete=models.PROTECT, related_name="transcripts")
    stage = models.CharField(max_length=7, choices=Stage.choices, default=Stage.FINAL)
    text = models.TextField(blank=True)
    sentences = models.JSONField(default=list, help_text='[{"text", "start", "end"}], browser milliseconds.')

    class Meta:
        constraints = [models.UniqueConstraint(fields=["read", "stage"], name="one_transcript_per_stage")]

    def __str__(self) -> str:
        return self.text[:60]
