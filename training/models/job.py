from __future__ import annotations

from django.db import models
from django.db.models import Q

from study.models import AssistanceOutput, Image, Study

from .leased import Leased
from .release import DatasetRelease
from .version import ModelVersion


class Job(Leased):
    """Something a page asked for that takes longer than a page may: it shows its progress here."""

    class Kind(models.TextChoices):
        RELEASE = "release", "Build a release"
        ANSWER = "answer", "Answer for one case"
        PRECOMPUTE = "precompute", "Answers for a study"
        REGISTER = "register", "Register the base model"

    kind = models.CharField(max_length=10, choices=Kind.choices)
    done = models.PositiveIntegerField(default=0)
    total = models.PositiveIntegerField(default=0)
    name = models.CharField(max_length=80, blank=True, help_text="Of the release to build.")
    release = models.OneToOneField(DatasetRelease, on_delete=models.PROTECT, null=True, blank=True, related_name="job")
    version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, null=True, blank=True, related_name="jobs")
    image = models.ForeignKey(Image, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    study = models.ForeignKey(Study, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    output = models.ForeignKey(AssistanceOutput, on_delete=models.PROTECT, null=True, blank=True, related_name="+")

    class Meta(Leased.Meta):
        constraints = [
            *Leased.Meta.constraints,
            models.CheckConstraint(
                condition=~Q(kind="answer") | (Q(version__isnull=False) & Q(image__isnull=False)),
                name="answer_has_case",
            ),
            models.CheckConstraint(
                condition=~Q(kind="precompute") | (Q(version__isnull=False) & Q(study__isnull=False)),
                name="precompute_has_study",
            ),
        ]

    def __str__(self) -> str:
        return self.get_kind_display()
