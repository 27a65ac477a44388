from __future__ import annotations

from pathlib import Path

from django.conf import settings
from django.db import models
from django.db.models import Q

from study.models import InsertOnly

from .leased import Leased
from .release import DatasetRelease
from .version import ModelVersion


class TrainingRun(Leased):
    """One training of a base model on a release, by `python -m gazex train` in a process of its own."""

    class Phase(models.TextChoices):
        TRAINING = "training", "Training"
        CALIBRATING = "calibrating", "Calibrating probabilities"
        EVALUATING = "evaluating", "Evaluating on the frozen phantoms"

    release = models.ForeignKey(DatasetRelease, on_delete=models.PROTECT, related_name="runs")
    base = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="runs_from")
    seed = models.PositiveIntegerField()
    total = models.PositiveIntegerField(help_text="Steps to train.")
    step = models.PositiveIntegerField(default=0)
    loss = models.FloatField(null=True, blank=True)
    phase = models.CharField(max_length=11, choices=Phase.choices, default=Phase.TRAINING)
    gate = models.JSONField(default=dict, help_text="What the new version must reach, written before the run.")

    class Meta(Leased.Meta):
        constraints = [
            *Leased.Meta.constraints,
            models.CheckConstraint(condition=Q(total__gt=0), name="run_has_steps"),
        ]

    def __str__(self) -> str:
        return f"Run {str(self.id)[:8]} on {self.release}"

    @property
    def folder(self) -> Path:
        return Path(settings.GAZEROOM_DATA) / "runs" / str(self.id)


class TrainingStep(InsertOnly):
    """A point of the loss curve, as the trainer wrote it. A resumed run repeats the steps after its checkpoint."""

    run = models.ForeignKey(TrainingRun, on_delete=models.PROTECT, related_name="steps")
    attempt = models.PositiveIntegerField()
    step = models.PositiveIntegerField()
    loss = models.FloatField()
    lr = models.FloatField()
    elapsed_s = models.FloatField()

    class Meta:
        ordering = ["attempt", "step"]
        constraints = [
            models.UniqueConstraint(fields=["run", "attempt", "step"], name="one_point_per_attempt_and_step")
        ]

    def __str__(self) -> str:
        return f"{self.step}: {self.loss:.4f}"
