from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings as hypothesis_settings

# How long an example takes says how busy the machine is, and nothing about the code.
hypothesis_settings.register_profile("patient", deadline=None)
hypothesis_settings.load_profile("patient")


@pytest.fixture(autouse=True)
def _quick_passwords(settings: Any) -> None:
    """Nobody attacks these tests; scrypt would be most of their time."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def eager_celery() -> Iterator[None]:
    """Tasks run where they are sent from, through the site's own Celery app."""
    from study.site.celery import app

    app.conf.task_always_eager = True
    yield
    app.conf.task_always_eager = False
