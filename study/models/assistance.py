from __future__ import annotations

from django.db import models

from .base import InsertOnly, UuidModel
from .case import Case
from .image import Image
from .read import Read


class AssistanceOutput(UuidModel, InsertOnly):
    """What a model said of an image, computed before the study opened and stored for good.

    It names its model by the hash of the weights, so that this floor needs no ModelVersion.
    """

    case = models.ForeignKey(Case, on_delete=models.PROTECT, related_name="assistance_outputs")
    image = models.ForeignKey(Image, on_delete=models.PROTECT, related_name="assistance_outputs")
    model_sha256 = models.CharField(max_length=64)
    prompt_version = models.CharField(max_length=32)
    valid = models.BooleanField(help_text="Parsed strictly; an invalid output is kept as it is and never shown.")
    evidence = models.JSONField(help_text="gazeroom.evidence/1; {} when invalid.")
    raw = models.TextField(blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["image", "model_sha256", "prompt_version"], name="one_output_per_model_and_image"
            )
        ]

    def __str__(self) -> str:
        return f"{self.case} by {self.model_sha256[:12]}"


class AssistanceReveal(InsertOnly):
    """The moment a reader was first given an output. No row: the bytes never left the server for this read."""

    read = models.OneToOneField(Read, on_delete=models.PROTECT, related_name="reveal")
    output = models.ForeignKey(AssistanceOutput, on_delete=models.PROTECT, related_name="reveals")

    def __str__(self) -> str:
        return f"{self.read_id} saw {self.output_id}"
