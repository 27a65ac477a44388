from __future__ import annotations

from django.db import models
from django.db.models import Q

from .assignment import Assignment
from .base import InsertOnly, UuidModel


class Read(UuidModel):
    """A reading of one assignment. The row exists from the moment the case opens (no row: still assigned).

    Only `study.services.reading` changes it: open -> [initial_locked -> revealed] -> submitted | invalidated.
    """

    class State(models.TextChoices):
        OPEN = "open", "Open"
        INITIAL_LOCKED = "initial_locked", "Initial answers locked"
        REVEALED = "revealed", "Assistance revealed"
        SUBMITTED = "submitted", "Submitted"
        INVALIDATED = "invalidated", "Invalidated"

    assignment = models.OneToOneField(Assignment, on_delete=models.PROTECT, related_name="read")
    state = models.CharField(max_length=14, choices=State.choices, default=State.OPEN)
    opened_at = models.DateTimeField()
    initial_locked_at = models.DateTimeField(null=True, blank=True)
    revealed_at = models.DateTimeField(null=True, blank=True)
    submitted_at = models.DateTimeField(null=True, blank=True)
    invalidated_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=~Q(state="submitted") | Q(submitted_at__isnull=False), name="submitted_has_time"
            ),
            models.CheckConstraint(
                condition=~Q(state="invalidated") | Q(invalidated_at__isnull=False), name="invalidated_has_time"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.assignment} ({self.state})"

    @property
    def seconds(self) -> float | None:
        """Reading time by the server's clock, from opening to submission; None until submitted."""
        if self.submitted_at is None:
            return None
        return (self.submitted_at - self.opened_at).total_seconds()


class ReadEvent(InsertOnly):
    """Something that happened in the reading room, in the browser's own order."""

    read = models.ForeignKey(Read, on_delete=models.PROTECT, related_name="events")
    sequence = models.PositiveIntegerField()
    kind = models.CharField(max_length=40)
    browser_ms = models.FloatField()
    payload = models.JSONField(default=dict)

    class Meta:
        ordering = ["sequence"]
        constraints = [models.UniqueConstraint(fields=["read", "sequence"], name="one_event_per_sequence")]

    def __str__(self) -> str:
        return f"{self.sequence} {self.kind}"
