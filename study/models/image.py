from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q

from .base import InsertOnly, UuidModel
from .case import Case


class Image(UuidModel, InsertOnly):
    """One radiograph, decoded once at import and addressed by content.

    The stored frame is little-endian uint16, rows x columns, row major, zstd-compressed, already through the modality
    LUT and shifted so that its smallest value is 0 or more; `voi` is in the stored frame's units, the default first.
    Pixel centres are integers: x = column, y = row.
    """

    case = models.ForeignKey(Case, on_delete=models.PROTECT, related_name="images")
    view = models.CharField(max_length=16, blank=True, help_text="PA, AP, LL …")
    rows = models.PositiveIntegerField()
    columns = models.PositiveIntegerField()
    row_spacing_mm = models.FloatField(null=True, blank=True)
    column_spacing_mm = models.FloatField(null=True, blank=True)
    max_value = models.PositiveIntegerField(help_text="Largest stored value, for the display table.")
    inverted = models.BooleanField(default=False, help_text="MONOCHROME1: small values are shown bright.")
    voi = models.JSONField(default=list)
    frame_sha256 = models.CharField(max_length=64, db_index=True, help_text="Of the uncompressed stored frame.")
    source_sha256 = models.CharField(max_length=64, unique=True, help_text="Of the de-identified file that is kept.")
    attributes = models.JSONField(default=dict, help_text="De-identified attributes kept by the keep-list.")

    class Meta:
        ordering = ["created_at"]
        constraints = [
            models.CheckConstraint(
                condition=Q(rows__gt=0, rows__lte=16384, columns__gt=0, columns__lte=16384), name="image_size"
            )
        ]

    def __str__(self) -> str:
        return f"{self.case.label} {self.view}".strip()

    @property
    def frame_path(self) -> Path:
        return blob_path("frames", self.frame_sha256, ".u16.zst")

    @property
    def source_path(self) -> Path:
        return blob_path("images", self.source_sha256, "")

    def for_viewer(self) -> dict[str, Any]:
        """What the viewer has to know of an image to draw it, in the names its TypeScript uses."""
        return {
            "rows": self.rows,
            "columns": self.columns,
            "rowSpacing": self.row_spacing_mm,
            "columnSpacing": self.column_spacing_mm,
            "max": self.max_value,
            "invert": self.inverted,
            "voi": list(self.voi),
        }


def blob_path(kind: str, sha256: str, suffix: str) -> Path:
    """Where a blob of this content lies: `GAZEROOM_DATA/blobs/<kind>/<ab>/<sha256><suffix>`."""
    return Path(settings.GAZEROOM_DATA) / "blobs" / kind / sha256[:2] / f"{sha256}{suffix}"
