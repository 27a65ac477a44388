"""The tests that touch the database, once more on PostgreSQL: same code, another DATABASE_URL."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.postgres import cluster, server_programs

ROOT = Path(__file__).resolve().parents[1]
#: Pixels, files, clocks and pages in a browser: nothing in them depends on which database answers.
SAME_ON_BOTH = [
    "tests/study/importing/test_decoding.py",
    "tests/study/importing/test_sidecars.py",
    "tests/study/test_fiducial.py",
    "tests/study/test_clock_load.py",
    "tests/study/test_page_outage.py",
    "tests/capture/room/test_station_in_browser.py",
    "tests/capture/room/test_exporting.py",
]
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
                *[f"--ignore={path}" for path in SAME_ON_BOTH],
                *[path for path in LEG if (ROOT / path).exists()],
            ],
            cwd=ROOT,
            env={**os.environ, "DATABASE_URL": url, "GAZEROOM_REQUIRE": ""},
            capture_output=True,
            text=True,
        )  # fmt: skip
    assert result.returncode == 0, result.stdout[-4000:]
    assert "passed" in result.stdout
