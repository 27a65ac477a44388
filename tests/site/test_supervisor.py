"""Parts are started under one roof, and none is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from study.site.supervisor import StartError, Supervisor, listens, port_is_free, write_private
from tests.journeys.site import ROOT, free_port

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]
PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
time.sleep(600)
"""
WITH_CHILD = [sys.executable, "-c", PARENT]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def eventually(condition: Callable[[], bool], seconds: float = 30.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_stop_ends_every_part_and_what_it_started(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path)
    part = supervisor.start(
        "parent", WITH_CHILD, ready=lambda: (tmp_path / "parent.log").read_text().strip() != "", timeout=10
    )
    child = int((tmp_path / "parent.log").read_text())
    supervisor.stop()
    assert not alive(part.process.pid)
    assert eventually(lambda: not alive(child))


def test_a_part_that_ends_while_starting_is_named_with_the_end_of_its_log(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path)
    command = [sys.executable, "-c", "raise SystemExit('no such tracker')"]
    with pytest.raises(StartError, match=r"tracker ended with code 1 while starting; its log: .*no such tracker"):
        supervisor.start("tracker", command, ready=lambda: False)
    supervisor.stop()


def test_a_part_that_is_not_ready_in_time_is_named(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path)
    with pytest.raises(StartError, match="web was not ready after 0 s"):
        supervisor.start("web", SLEEP, ready=lambda: False, timeout=0.1)
    supervisor.stop()


def test_parts_do_not_outlive_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from study.site.supervisor import Supervisor\n"
        f"part = Supervisor(Path({str(tmp_path)!r})).start('sleeper', {SLEEP!r})\n"
        "print(part.process.pid, flush=True); time.sleep(600)"
    )
    supervisor = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert supervisor.stdout is not None
    part = int(supervisor.stdout.readline())
    assert alive(part)
    os.kill(supervisor.pid, signal.SIGKILL)
    supervisor.wait()
    assert eventually(lambda: not alive(part))


def test_a_port_in_use_is_refused_with_the_remedy(tmp_path: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert not port_is_free(port)
        assert listens(port)
        result = subprocess.run(
            [sys.executable, "manage.py", "up", "--port", str(port), "--agent-port", str(free_port())],
            cwd=ROOT,
            env={**os.environ, "GAZEROOM_DATA": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert result.returncode == 1
    assert f"Port {port} is in use; choose another: make run PORT={port + 1}" in result.stderr


def test_a_private_file_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    write_private(tmp_path / "key", "secret")
    assert (tmp_path / "key").read_text() == "secret"
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
