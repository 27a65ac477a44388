"""A whole running site of a test's own: what `make run` starts, in a temporary folder, on free ports."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 300


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Site:
    """The address, the data folder and the process of a running site."""

    url: str
    data: Path
    truth: Path
    process: subprocess.Popen[str]
    env: dict[str, str]

    def logins(self) -> dict[str, str]:
        passwords: dict[str, str] = json.loads((self.data / "demo-logins.json").read_text())
        return passwords

    def ask(self, code: str) -> Any:
        """Run code against the site's own database, as an administrator would; `answer` is what it assigns."""
        result = subprocess.run(
            [sys.executable, "manage.py", "shell", "-v", "0", "-c", f"{code}\nimport json; print(json.dumps(answer))"],
            cwd=ROOT,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert result.returncode == 0, result.stderr[-2000:]
        return json.loads(result.stdout.strip().splitlines()[-1])

    def wait_for(self, code: str, expected: Any, seconds: float = 60.0) -> None:
        deadline = time.monotonic() + seconds
        while (answer := self.ask(code)) != expected:
            assert time.monotonic() < deadline, f"still {answer!r}, not {expected!r}; logs: {self.logs()}"
            time.sleep(0.5)

    def logs(self) -> str:
        return "\n".join(f"== {log.name}\n{log.read_text()[-1500:]}" for log in sorted((self.data / "logs").glob("*")))


@contextmanager
def running_site(folder: Path, *arguments: str, environment: dict[str, str] | None = None) -> Iterator[Site]:
    """Start the site as `make run` does, wait until it is ready, stop it as Ctrl-C does."""
    port, agent_port, truth = free_port(), free_port(), folder / "truth.jsonl"
    data = folder / "var"
    env = {**os.environ, "GAZEROOM_DATA": str(data), "PYTHONUNBUFFERED": "1", **(environment or {})}
    env.pop("REDIS_URL", None)
    process = subprocess.Popen(
        [
            sys.executable, "manage.py", "up", "--port", str(port), "--agent-port", str(agent_port),
            "--demo-size", "small", "--display", "1280x800", "--truth", str(truth), *arguments,
        ],
        cwd=ROOT,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )  # fmt: skip
    site = Site(f"http://127.0.0.1:{port}", data, truth, process, env)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not (data / "run" / "ready").exists():
            assert process.poll() is None, f"the site ended while starting: {process.stdout.read()}"  # type: ignore[union-attr]
            assert time.monotonic() < deadline, f"the site was not ready: {site.logs()}"
            time.sleep(0.2)
        yield site
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
