from __future__ import annotations

from django.db import models

from .base import UuidModel
from .patient import Patient


class Case(UuidModel):
    """What a reader is asked to read: one examination of one patient, with its images."""

    class Source(models.TextChoices):
        DICOM = "dicom", "DICOM"
        PICTURE = "picture", "PNG or JPEG"
        PHANTOM = "phantom", "Phantom"

    patient = models.ForeignKey(Patient, on_delete=models.PROTECT, related_name="cases")
    label = models.CharField(max_length=64, unique=True, help_text="What pages call the case; carries no identifier.")
    source = models.CharField(max_length=8, choices=Source.choices)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["label"]

    def __str__(self) -> str:
        return self.label
