"""The tests that touch the database, once more on PostgreSQL: same code, another DATABASE_URL."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.postgres import cluster, server_programs

ROOT = Path(__file__).resolve().parents[1]
LEG = ["tests/study", "tests/training/test_leak_guard.py", "tests/capture/room", "tests/analysis/test_plan.py"]


@pytest.mark.postgres
@pytest.mark.timeout(900)
@pytest.mark.skipif(server_programs() is None, reason="no PostgreSQL server is installed")
def test_the_database_tests_pass_on_postgresql_too() -> None:
    with cluster() as url:
        result = subprocess.run(
            [
                sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider",
                "-m", "not journey and not reference", "-k", "not viewer",
                # Pixels and tables of text, without a database.
                "--ignore=tests/study/importing/test_decoding.py", "--ignore=tests/study/importing/test_sidecars.py",
                *[path for path in LEG if (ROOT / path).exists()],
            ],
            cwd=ROOT,
            env={**os.environ, "DATABASE_URL": url, "GAZEROOM_REQUIRE": ""},
            capture_output=True,
            text=True,
        )  # fmt: skip
    assert result.returncode == 0, result.stdout[-4000:]
    assert "passed" in result.stdout
