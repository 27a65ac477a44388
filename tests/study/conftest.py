from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from study import registries


@pytest.fixture(autouse=True)
def _quick_passwords(settings: Any) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture(autouse=True)
def _blobs_of_this_test(data_dir: Path) -> None:
    """Frames lie in a folder of this test's own."""


@pytest.fixture(autouse=True)
def _nobody_above(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The study engine alone: the rooms above register nothing, so a test says itself who refuses what."""
    for registry in vars(registries).values():
        if isinstance(registry, registries.Registry):
            monkeypatch.setattr(registry, "_functions", [])
