from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q

from study.models import Image, InsertOnly, Study

from .recording import Recording


class ImportedGaze(InsertOnly):
    """Where a recording came from that was made elsewhere: whose gaze it is, on which image, out of which file.

    Neither its files nor the names they came with are kept, for either may name a person: the SHA-256s of the files
    are, under names of the format's own.
    """

    class Format(models.TextChoices):
        XDF = "xdf", "XDF"
        BIDS = "bids", "BIDS"
        REFLACX = "reflacx", "REFLACX"
        EGD = "egd", "EGD"
        PARQUET = "parquet", "Parquet"

    recording = models.OneToOneField(Recording, on_delete=models.PROTECT, related_name="imported")
    study = models.ForeignKey(Study, on_delete=models.PROTECT, related_name="imported_gaze")
    image = models.ForeignKey(Image, on_delete=models.PROTECT, related_name="imported_gaze")
    reader_code = models.CharField(max_length=32, help_text="A pseudonym; no enrolled reader's.")
    format = models.CharField(max_length=8, choices=Format.choices)
    source_sha256 = models.CharField(max_length=64, help_text="Over the names and hashes of its files.")
    files = models.JSONField(help_text="{the format's name of it: SHA-256}")
    settings_used = models.JSONField(
        default=dict, help_text="What the importer was told besides the files: display, place of the image."
    )
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+")

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["study", "source_sha256"], name="one_import_per_source_and_study"),
            models.CheckConstraint(
                condition=Q(format__in=["xdf", "bids", "reflacx", "egd", "parquet"]), name="imported_format_known"
            ),
            models.CheckConstraint(condition=~Q(reader_code=""), name="imported_gaze_has_reader"),
        ]

    def __str__(self) -> str:
        return f"{self.get_format_display()} of {self.reader_code} on {self.image}"
