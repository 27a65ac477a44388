from __future__ import annotations

from django.db import models

from .base import UuidModel


class Patient(UuidModel):
    """A pseudonym. Two imports of the same patient meet here through a keyed hash, never through a name."""

    pseudonym = models.CharField(max_length=32, unique=True)
    identity_hmac = models.CharField(max_length=64, unique=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.pseudonym
