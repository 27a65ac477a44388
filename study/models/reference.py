from __future__ import annotations

from django.db import models
from django.db.models import Q

from .base import InsertOnly
from .case import Case
from .image import Image


class ReferenceStandard(InsertOnly):
    """The truth of a case, and how it was come by. Never in a table with answers."""

    case = models.OneToOneField(Case, on_delete=models.PROTECT, related_name="reference_standard")
    method = models.CharField(max_length=200, help_text="phantom geometry, panel of three, follow-up CT …")

    def __str__(self) -> str:
        return f"{self.case.label}: {self.method}"


class ReferenceFinding(InsertOnly):
    """A finding that is there. A case whose standard has none is normal for every finding."""

    class Side(models.TextChoices):
        NONE = "", "–"
        LEFT = "left", "left"
        RIGHT = "right", "right"
        BILATERAL = "bilateral", "bilateral"

    standard = models.ForeignKey(ReferenceStandard, on_delete=models.PROTECT, related_name="findings")
    image = models.ForeignKey(Image, on_delete=models.PROTECT, related_name="+", null=True, blank=True)
    finding = models.CharField(max_length=64, help_text="A CheXbert label, verbatim.")
    side = models.CharField(max_length=9, choices=Side.choices, blank=True, default="")
    box = models.JSONField(null=True, blank=True, help_text="[x0, y0, x1, y1] in image pixels.")
    outline = models.JSONField(null=True, blank=True, help_text="[[x, y], …] in image pixels.")

    class Meta:
        constraints = [
            models.CheckConstraint(condition=~Q(finding=""), name="reference_finding_named"),
        ]

    def __str__(self) -> str:
        return f"{self.side} {self.finding}".strip()
