from __future__ import annotations

from django.conf import settings
from django.db import models

from .study import Study


class Enrolment(models.Model):
    """A reader in a study, under the code that results and releases call them by."""

    study = models.ForeignKey(Study, on_delete=models.PROTECT, related_name="enrolments")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="enrolments")
    reader_code = models.CharField(max_length=16)
    consented_at = models.DateTimeField(
        null=True, blank=True, help_text="Consent to gaze recording; none is made without."
    )
    withdrawn_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["reader_code"]
        constraints = [
            models.UniqueConstraint(fields=["study", "user"], name="one_enrolment_per_reader"),
            models.UniqueConstraint(fields=["study", "reader_code"], name="one_reader_per_code"),
        ]

    def __str__(self) -> str:
        return f"{self.reader_code} in {self.study}"

    @property
    def consents(self) -> bool:
        """Whether gaze may be recorded: consent was given, and the reader has not withdrawn."""
        return self.consented_at is not None and self.withdrawn_at is None
