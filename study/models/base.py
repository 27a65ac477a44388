"""What every entity shares: rows that are only ever inserted, and rows that know when they were made."""

from __future__ import annotations

import uuid
from typing import Any

from django.db import models
from django.utils import timezone


class InsertOnlyError(Exception):
    """Raised when code tries to change or delete a recorded row."""


class InsertOnlyQuerySet(models.QuerySet[Any]):
    def update(self, **kwargs: Any) -> int:
        raise InsertOnlyError(f"{self.model.__name__} rows are recorded once; insert a new one instead of updating.")

    def delete(self) -> tuple[int, dict[str, int]]:
        raise InsertOnlyError(f"{self.model.__name__} rows are recorded once; lawful erasure is an audited command.")


class InsertOnly(models.Model):
    """A row that is never updated: refused here with a sentence, and by a database trigger whoever asks.

    The triggers are made by `study.insert_only.triggers` in a migration of the app that owns the table.
    """

    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = InsertOnlyQuerySet.as_manager()

    class Meta:
        abstract = True

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise InsertOnlyError(f"{type(self).__name__} {self.pk} is recorded; it cannot be changed.")
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        raise InsertOnlyError(f"{type(self).__name__} {self.pk} is recorded; it cannot be deleted.")


class UuidModel(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)

    class Meta:
        abstract = True
