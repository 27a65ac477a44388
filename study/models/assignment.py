from __future__ import annotations

from django.db import models

from .base import InsertOnly, UuidModel
from .case import Case
from .enrolment import Enrolment
from .protocol import Arm, Period


class Assignment(UuidModel, InsertOnly):
    """One line of the materialised plan: this reader reads this case in this arm, in this place of this period."""

    enrolment = models.ForeignKey(Enrolment, on_delete=models.PROTECT, related_name="assignments")
    case = models.ForeignKey(Case, on_delete=models.PROTECT, related_name="assignments")
    arm = models.ForeignKey(Arm, on_delete=models.PROTECT, related_name="assignments")
    period = models.ForeignKey(Period, on_delete=models.PROTECT, related_name="assignments")
    position = models.PositiveIntegerField(help_text="Order within the period, from 1.")

    class Meta:
        ordering = ["enrolment", "period__number", "position"]
        constraints = [
            models.UniqueConstraint(fields=["enrolment", "period", "position"], name="one_assignment_per_place"),
            models.UniqueConstraint(fields=["enrolment", "case", "arm"], name="case_once_per_arm"),
        ]

    def __str__(self) -> str:
        return f"{self.enrolment.reader_code} period {self.period.number} no. {self.position}"
