from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture(autouse=True)
def _passwords_cost_nothing(settings: Any) -> None:
    """Nobody attacks the people of a test: scrypt would take most of the suite's time."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
