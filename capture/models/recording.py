from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from study.models import Case, InsertOnly, Read, Study, UuidModel

from .calibration import Calibration
from .station import Station


class Recording(UuidModel):
    """The gaze of one read: everything the agent and the page stored while it was open. Or one that was imported.

    waiting (no sample yet) -> recording -> sealed (every epoch's hash verified) -> processed | failed. A recording that
    gets another epoch goes back to recording. Only `capture.services` changes it.
    """

    class Kind(models.TextChoices):
        READ = "read", "Read"
        CALIBRATION = "calibration", "Calibration"
        IMPORTED = "imported", "Imported"

    class State(models.TextChoices):
        WAITING = "waiting", "Waiting"
        RECORDING = "recording", "Recording"
        SEALED = "sealed", "Sealed"
        PROCESSED = "processed", "Processed"
        FAILED = "failed", "Failed"

    read = models.OneToOneField(Read, on_delete=models.PROTECT, related_name="recording", null=True, blank=True)
    station = models.ForeignKey(
        Station,
        on_delete=models.PROTECT,
        related_name="recordings",
        null=True,
        blank=True,
        help_text="Where it was last opened; null while no page has said where it is read. Each epoch names its own.",
    )
    calibration = models.ForeignKey(
        Calibration, on_delete=models.PROTECT, related_name="recordings", null=True, blank=True
    )
    kind = models.CharField(max_length=11, choices=Kind.choices, default=Kind.READ)
    state = models.CharField(max_length=9, choices=State.choices, default=State.WAITING)
    epochs: models.JSONField[dict[str, Any], dict[str, Any]] = models.JSONField(
        default=dict,
        help_text='{epoch: {"streams": what the agent said of them, "at": ISO time, "station": id, "calibration": id}}',
    )
    failure = models.CharField(max_length=300, blank=True, help_text="Why it could not be processed, in a sentence.")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    started_at = models.DateTimeField(null=True, blank=True)
    sealed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.CheckConstraint(
                condition=~Q(state="sealed") | Q(sealed_at__isnull=False), name="sealed_recording_has_time"
            ),
            models.CheckConstraint(
                condition=Q(kind="calibration")
                | Q(kind="imported", read__isnull=True)
                | Q(kind="read", read__isnull=False),
                name="recording_of_a_read_has_one",
            ),
        ]

    def __str__(self) -> str:
        return f"Recording {str(self.pk)[:8]} ({self.state})"

    @property
    def study(self) -> Study:
        """The study it was made in, or imported into."""
        return self.imported.study if self.read is None else self.read.assignment.enrolment.study

    @property
    def case(self) -> Case:
        return self.imported.image.case if self.read is None else self.read.assignment.case

    @property
    def reader_code(self) -> str:
        return self.imported.reader_code if self.read is None else self.read.assignment.enrolment.reader_code

    @property
    def folder(self) -> Path:
        """Where its files lie: frames by stream and epoch, states and clock exchanges of the page."""
        return Path(settings.GAZEROOM_DATA) / "recordings" / str(self.pk)


class RecordingToken(InsertOnly):
    """What lets one agent session write to one recording. Only its hash is kept.

    A page that is loaded again gets a new one; the old one stays good, because the station may still be uploading what
    it recorded under it. Once expired it begins nothing, and only delivers what was begun before.
    """

    recording = models.ForeignKey(Recording, on_delete=models.PROTECT, related_name="tokens")
    station = models.ForeignKey(
        Station, on_delete=models.PROTECT, null=True, related_name="+", help_text="The only one that may use it."
    )
    calibration = models.ForeignKey(
        Calibration,
        on_delete=models.PROTECT,
        null=True,
        related_name="+",
        help_text="What held there when it was made.",
    )
    sha256 = models.CharField(max_length=64, unique=True)
    expires_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"Token of {self.recording_id} until {self.expires_at:%Y-%m-%d %H:%M}"


class DeliveryPermit(InsertOnly):
    """An administrator's word that a station may still deliver what it recorded for a recording.

    For a station that comes back after its token's time, or whose clock was wrong while it recorded. It begins epochs
    that the token alone would not; whose token it is, and the reader's consent, are checked as always.
    """

    recording = models.ForeignKey(Recording, on_delete=models.PROTECT, related_name="permits")
    expires_at = models.DateTimeField()
    reason = models.CharField(max_length=200)

    def __str__(self) -> str:
        return f"Delivery of {self.recording_id} allowed until {self.expires_at:%Y-%m-%d %H:%M}"
