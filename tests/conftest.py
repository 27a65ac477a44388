from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# Before Django reads its settings: tests keep their blobs and database away from a running site's.
os.environ["GAZEROOM_DATA"] = tempfile.mkdtemp(prefix="gazeroom-test-")
os.environ.pop("REDIS_URL", None)


@pytest.fixture(autouse=True, scope="session")
def _flush_lifts_the_triggers() -> Iterator[None]:
    """Transactional tests empty the tables between themselves; only that flush may lift the triggers."""
    from django.core.management.commands.flush import Command

    from study.insert_only import lifted
    from study.sealing import unsealed

    flush = Command.handle

    def handle(self: Command, *args: Any, **options: Any) -> Any:
        with lifted(), unsealed():
            return flush(self, *args, **options)

    # For the whole session: the flush comes after a test's own fixtures have been taken down.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Command, "handle", handle)
        yield


@pytest.fixture(autouse=True)
def _cheap_passwords(settings: Any) -> None:
    """Scrypt is slow on purpose; no test of ours is about it."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture(autouse=True)
def _names_do_not_depend_on_earlier_tests() -> None:
    from tests.factories import number_anew

    number_anew()


def pytest_collection_finish(session: pytest.Session) -> None:
    """The PostgreSQL leg takes minutes and a core that the first tests leave idle: it runs beside them."""
    from tests.postgres import server_programs
    from tests.postgres_leg import Leg

    # A single test that is run by hand waits for nothing else, and collecting runs nothing.
    chosen = [item for item in session.items if item.get_closest_marker("postgres")]
    if chosen and len(session.items) > len(chosen) and server_programs() and not session.config.option.collectonly:
        Leg.begin()


#: What a skip says when one of these is missing; GAZEROOM_REQUIRE names those that must not be.
WANTED = {"reference": "reference data", "browser": "Chromium", "postgres": "PostgreSQL"}


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Where everything must be checked (GAZEROOM_REQUIRE), a skip for want of something is a failure."""
    required = [WANTED[name] for name in os.environ.get("GAZEROOM_REQUIRE", "").split(",") if name]
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if not required or reporter is None:
        return
    missed = [
        report for report in reporter.stats.get("skipped", []) if any(word in str(report.longrepr) for word in required)
    ]
    if missed:
        reporter.write_line(f"{len(missed)} tests were skipped for want of what GAZEROOM_REQUIRE demands.", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture
def data_dir(tmp_path: Path, settings: Any) -> Path:
    """A data directory of this test's own."""
    settings.GAZEROOM_DATA = tmp_path / "var"
    settings.GAZEROOM_DATA.mkdir()
    return settings.GAZEROOM_DATA
