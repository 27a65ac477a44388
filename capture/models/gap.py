from __future__ import annotations

from django.db import models
from django.db.models import Q

from study.models import InsertOnly

from .recording import Recording


class Gap(InsertOnly):
    """Time for which samples were expected and are not there. A gap is a row, not silence."""

    class Kind(models.TextChoices):
        SAMPLES = "samples", "Samples missing by frame number"
        SILENCE = "silence", "The tracker said nothing at the start or the end"
        BETWEEN = "between", "The agent was away between two epochs"
        UNSEALED = "unsealed", "The station never confirmed the rest"

    recording = models.ForeignKey(Recording, on_delete=models.PROTECT, related_name="gaps")
    kind = models.CharField(max_length=8, choices=Kind.choices)
    stream = models.PositiveSmallIntegerField()
    epoch = models.UUIDField(help_text="The epoch the gap is in, or the later of the two it lies between.")
    after_frame = models.BigIntegerField(null=True, help_text="The tracker's frame number before the gap.")
    before_frame = models.BigIntegerField(null=True)
    missing = models.PositiveBigIntegerField(null=True, help_text="Samples missing; null where nobody can know.")
    t0 = models.FloatField(help_text="LSL seconds of the samples before and after.")
    t1 = models.FloatField()
    place = models.PositiveBigIntegerField(
        default=0, help_text="Samples of this stream and epoch that came before it: times may repeat, this does not."
    )

    class Meta:
        ordering = ["t0"]
        constraints = [
            models.UniqueConstraint(
                fields=["recording", "kind", "stream", "epoch", "t0", "t1", "place"], name="one_row_per_gap"
            ),
            models.CheckConstraint(
                condition=Q(kind__in=["samples", "silence", "between", "unsealed"]), name="gap_kind_known"
            ),
        ]

    def __str__(self) -> str:
        many = "an unknown number of" if self.missing is None else self.missing
        return f"{many} samples missing in {self.recording_id}"

    @property
    def seconds(self) -> float:
        return self.t1 - self.t0
