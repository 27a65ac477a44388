from __future__ import annotations

from django.conf import settings
from django.db import models

from .base import UuidModel


class Study(UuidModel):
    """A comparison of arms, or a collection of gaze."""

    class Kind(models.TextChoices):
        COMPARISON = "comparison", "Comparison of arms"
        COLLECTION = "collection", "Collection of gaze"

    class State(models.TextChoices):
        DRAFT = "draft", "Draft"
        OPEN = "open", "Open for reading"
        CLOSED = "closed", "Closed"
        UNBLINDED = "unblinded", "Unblinded"

    slug = models.SlugField(unique=True)
    name = models.CharField(max_length=200)
    kind = models.CharField(max_length=10, choices=Kind.choices)
    state = models.CharField(max_length=9, choices=State.choices, default=State.DRAFT)
    simulated = models.BooleanField(
        default=False, help_text="Read by simulated readers; every page of results says so."
    )
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]
        verbose_name_plural = "studies"

    def __str__(self) -> str:
        return self.name


class Membership(models.Model):
    """What a person is in a study. Every permission follows from these rows."""

    class Role(models.TextChoices):
        READER = "reader", "Reader"
        RESEARCHER = "researcher", "Researcher"
        COORDINATOR = "coordinator", "Coordinator"

    study = models.ForeignKey(Study, on_delete=models.PROTECT, related_name="memberships")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="memberships")
    role = models.CharField(max_length=11, choices=Role.choices)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["study", "user", "role"], name="one_membership_per_role")]

    def __str__(self) -> str:
        return f"{self.user} is {self.role} in {self.study}"
