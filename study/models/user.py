from __future__ import annotations

from django.contrib.auth.models import AbstractUser


class User(AbstractUser):
    """A person who signs in. What they may see follows from their Memberships, never from a flag here."""

    def __str__(self) -> str:
        return self.get_full_name() or self.username
