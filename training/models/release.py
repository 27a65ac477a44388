from __future__ import annotations

from pathlib import Path

from django.conf import settings
from django.db import models
from django.db.models import Q

from study.models import InsertOnly, Read, UuidModel


class DatasetRelease(UuidModel, InsertOnly):
    """A frozen list of reads and the visits exported from them, under one hash.

    `sha256` is that of the canonical manifest, which names every read with its inputs' hashes and every exported file
    with its own; the files lie in `path` under GAZEROOM_DATA and can be rebuilt from the raw recordings.
    """

    name = models.CharField(max_length=80, unique=True)
    sha256 = models.CharField(max_length=64, unique=True)
    manifest = models.JSONField()
    path = models.CharField(max_length=200, help_text="Relative to GAZEROOM_DATA.")
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+")

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.CheckConstraint(condition=~Q(name=""), name="release_named"),
            models.CheckConstraint(condition=~Q(sha256=""), name="release_hashed"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def folder(self) -> Path:
        return Path(settings.GAZEROOM_DATA) / self.path


class ReleaseRead(InsertOnly):
    """A read in a release. The leak guard looks here for whose patients a model has seen."""

    release = models.ForeignKey(DatasetRelease, on_delete=models.PROTECT, related_name="release_reads")
    read = models.ForeignKey(Read, on_delete=models.PROTECT, related_name="release_reads")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["release", "read"], name="read_once_per_release")]

    def __str__(self) -> str:
        return f"{self.read_id} in {self.release}"
