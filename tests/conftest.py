from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

# Before Django reads its settings: tests keep their blobs and database away from a running site's.
os.environ["GAZEROOM_DATA"] = tempfile.mkdtemp(prefix="gazeroom-test-")
os.environ.pop("REDIS_URL", None)


@pytest.fixture(autouse=True)
def _flush_lifts_the_triggers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Transactional tests empty the tables between themselves; only that flush may lift the triggers."""
    from django.core.management.commands.flush import Command

    from study.insert_only import lifted

    flush = Command.handle

    def handle(self: Command, *args: Any, **options: Any) -> Any:
        with lifted():
            return flush(self, *args, **options)

    monkeypatch.setattr(Command, "handle", handle)


@pytest.fixture
def data_dir(tmp_path: Path, settings: Any) -> Path:
    """A data directory of this test's own."""
    settings.GAZEROOM_DATA = tmp_path / "var"
    settings.GAZEROOM_DATA.mkdir()
    return settings.GAZEROOM_DATA
