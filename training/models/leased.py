from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from study.models import UuidModel


class Leased(UuidModel):
    """Work that a worker holds for a while: the row is the truth, the queue's message only a wake-up.

    Only `training.services.leases` moves it: queued -> running -> succeeded | failed | cancelled, and back to queued
    when a person resumes it. A worker owns a running row while it carries that worker's token and the lease lasts.
    """

    class State(models.TextChoices):
        QUEUED = "queued", "Queued"
        RUNNING = "running", "Running"
        SUCCEEDED = "succeeded", "Succeeded"
        FAILED = "failed", "Failed"
        CANCELLED = "cancelled", "Cancelled"

    ACTIVE = (State.QUEUED, State.RUNNING)

    state = models.CharField(max_length=9, choices=State.choices, default=State.QUEUED)
    token = models.UUIDField(null=True, editable=False, help_text="Of the worker that holds the row.")
    attempt = models.PositiveIntegerField(default=0, help_text="How often a worker has claimed the row.")
    attempt_limit = models.PositiveIntegerField(default=5, help_text="No attempt after this one without a person.")
    lease_until = models.DateTimeField(null=True, editable=False)
    enqueued_at = models.DateTimeField(default=timezone.now, editable=False, help_text="When a message was last sent.")
    cancel_requested = models.BooleanField(default=False)
    error = models.TextField(blank=True, help_text="One sentence for the person who started it.")
    requested_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        abstract = True
        ordering = ["-created_at"]
        constraints = [
            models.CheckConstraint(
                condition=~Q(state="running") | (Q(token__isnull=False) & Q(lease_until__isnull=False)),
                name="%(class)s_running_is_held",
            ),
            models.CheckConstraint(condition=~Q(state="failed") | ~Q(error=""), name="%(class)s_failed_says_why"),
            models.CheckConstraint(
                condition=~Q(state__in=["succeeded", "failed", "cancelled"]) | Q(finished_at__isnull=False),
                name="%(class)s_finished_has_time",
            ),
        ]

    @property
    def active(self) -> bool:
        return self.state in self.ACTIVE
