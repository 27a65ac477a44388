"""`python -m tests.postgres_leg`: the tests that touch the database, once more on a PostgreSQL cluster of their own.

They take minutes and a core, so the suite starts them beside its first tests (`begin`, from conftest) and
`test_postgres_leg.py` waits for them.
"""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

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


class Leg:
    """One run of the leg, in a process of its own."""

    _running: Leg | None = None

    def __init__(self) -> None:
        self._output = tempfile.TemporaryFile("w+")  # noqa: SIM115 - open for as long as the process writes
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.postgres_leg"],
            cwd=ROOT,
            # An LSL session of its own: the leg's trackers and the suite's must not hear each other.
            env={key: value for key, value in os.environ.items() if key != "GAZEROOM_TEST_LSL_SESSION"},
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )
        atexit.register(self._process.terminate)  # where the suite is stopped before its last test

    @classmethod
    def begin(cls) -> Leg:
        """The leg of this session, started now where it is not running."""
        cls._running = cls._running or cls()
        return cls._running

    def result(self) -> tuple[int, str]:
        """Wait for its end: exit status and output."""
        status = self._process.wait()
        self._output.seek(0)
        return status, self._output.read()


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the cluster is stopped and removed
    with cluster() as url:
        return subprocess.run(
            [
                sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider",
                "-m", "not journey and not reference", "-k", "not viewer",
                *[f"--ignore={path}" for path in SAME_ON_BOTH],
                *LEG,
            ],
            cwd=ROOT,
            env={**os.environ, "DATABASE_URL": url, "GAZEROOM_REQUIRE": ""},
        ).returncode  # fmt: skip


if __name__ == "__main__":
    assert server_programs() is not None, "No PostgreSQL server is installed."
    sys.exit(main())
