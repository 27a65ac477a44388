from __future__ import annotations

from pathlib import Path

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from study.models import InsertOnly, UuidModel


class ModelVersion(UuidModel):
    """A GazeX that answers, named by the hash of its weights, with its card, its metrics and where it came from."""

    name = models.CharField(max_length=80, unique=True)
    weights_sha256 = models.CharField(max_length=64, unique=True)
    path = models.CharField(
        max_length=200, help_text="A model's name that gazex knows, a folder, or a folder relative to GAZEROOM_DATA."
    )
    base = models.ForeignKey("self", on_delete=models.PROTECT, null=True, blank=True, related_name="children")
    run = models.OneToOneField(
        "training.TrainingRun", on_delete=models.PROTECT, null=True, blank=True, related_name="model_version"
    )
    card = models.JSONField(default=dict, blank=True)
    metrics = models.JSONField(
        default=dict, blank=True, help_text="What `gazex evaluate` wrote; {} until it was evaluated."
    )
    promoted_at = models.DateTimeField(null=True, blank=True, help_text="When it was last promoted.")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.CheckConstraint(condition=~Q(weights_sha256=""), name="version_hashed"),
            models.CheckConstraint(
                condition=Q(run__isnull=True) | Q(base__isnull=False), name="trained_version_has_base"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def phantoms_only(self) -> bool:
        """Whether it has seen drawn radiographs only: a base model whose card counts the phantoms it learnt from."""
        return self.run_id is None and bool(self.card.get("phantoms"))

    @property
    def caveat(self) -> str:
        """What whoever reads with it must know, in a few words; "" where there is nothing."""
        return "knows phantoms only" if self.phantoms_only else ""

    @property
    def label(self) -> str:
        """Its name on a list to choose from."""
        return f"{self}, {self.caveat}" if self.caveat else str(self)

    @property
    def location(self) -> str:
        """What `gazex` loads: a folder of this site, or the name or folder the base model was registered by."""
        inside = Path(settings.GAZEROOM_DATA) / self.path
        return str(inside) if self.run_id and inside.is_dir() else self.path


class Promotion(InsertOnly):
    """A person's decision that new training runs start from this version. The latest row names the current one."""

    version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="promotions")
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+")
    rollback = models.BooleanField(default=False)
    gate = models.JSONField(default=list, help_text="The gate's checks as they stood when the decision was made.")

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.version} {'rolled back to' if self.rollback else 'promoted'}"
