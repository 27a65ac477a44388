from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from study.models import Enrolment, Read
from study.services import reading
from tests.factories import make_study


@pytest.fixture(autouse=True)
def _quick_passwords(settings: Any) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture(autouse=True)
def _files_of_this_test(data_dir: Path) -> None:
    """Blobs and recordings lie in a folder of this test's own."""


@pytest.fixture(autouse=True)
def woken(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The recordings whose task was sent to Celery; there is no broker in these tests."""
    from capture.tasks import process_recording

    sent: list[str] = []
    monkeypatch.setattr(process_recording, "apply_async", lambda *, kwargs, retry: sent.append(kwargs["recording_id"]))
    return sent


@pytest.fixture
def enrolment(db: None) -> Enrolment:
    """A consenting reader of an open collection that offers gaze recording."""
    study = make_study(gaze="optional", consented=True)
    return study.enrolments.get()


@pytest.fixture
def read(enrolment: Enrolment) -> Read:
    """A read that is open."""
    return reading.open_next(enrolment=enrolment, actor=enrolment.user)
