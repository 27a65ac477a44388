"""Starts the parts of a site under one roof and stops them cleanly, the last started first.

Each part runs in a process group of its own, and the kernel ends it if this process is killed (PDEATHSIG), so that
neither Ctrl-C nor a kill -9 leaves an orphan behind.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

_PR_SET_PDEATHSIG = 1
STOP_SECONDS = 10.0


class StartError(Exception):
    """A part did not come up; the sentence says which, and where its log is."""


def die_with_parent(parent: int) -> None:
    """Ask the kernel for SIGTERM when the parent dies; runs in the child between fork and exec."""
    try:
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    except (OSError, AttributeError):
        return  # not Linux: the parent's own stop is all there is
    if os.getppid() != parent:
        os._exit(1)  # the parent was gone before the request was heard


@dataclass
class Part:
    name: str
    process: subprocess.Popen[bytes]
    log: Path
    stream: IO[bytes]


@dataclass
class Supervisor:
    """The running parts, in the order they were started."""

    logs: Path
    parts: list[Part] = field(default_factory=list)

    def start(
        self,
        name: str,
        command: Sequence[str],
        *,
        env: dict[str, str] | None = None,
        ready: Callable[[], bool] | None = None,
        timeout: float = 60.0,
    ) -> Part:
        """Start a part and wait until `ready()`; raises StartError with the end of its log when it does not come up."""
        self.logs.mkdir(parents=True, exist_ok=True)
        log = self.logs / f"{name}.log"
        stream = log.open("ab")
        parent = os.getpid()
        process = subprocess.Popen(
            list(command),
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=lambda: die_with_parent(parent),
        )
        part = Part(name, process, log, stream)
        self.parts.append(part)
        deadline = time.monotonic() + timeout
        while ready is not None and not ready():
            if process.poll() is not None:
                raise StartError(f"{name} ended with code {process.returncode} while starting; its log: {_tail(log)}")
            if time.monotonic() > deadline:
                raise StartError(f"{name} was not ready after {timeout:.0f} s; its log: {_tail(log)}")
            time.sleep(0.05)
        return part

    def ended(self) -> Part | None:
        """The first part that is no longer running, if any."""
        return next((part for part in self.parts if part.process.poll() is not None), None)

    def stop(self) -> None:
        """SIGTERM to each part, the last started first; SIGKILL to whoever is there after ten seconds."""
        for part in reversed(self.parts):
            if part.process.poll() is None:
                _signal_group(part.process, signal.SIGTERM)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    part.process.wait(STOP_SECONDS)
            _signal_group(part.process, signal.SIGKILL)
            part.process.wait()
            part.stream.close()
        self.parts.clear()


def _signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _tail(log: Path, lines: int = 8) -> str:
    return " | ".join(log.read_text(errors="replace").strip().splitlines()[-lines:]) or "(empty)"


def write_private(path: Path, text: str) -> None:
    """Write a file that only this user can read, whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)


def port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.3)
        return probe.connect_ex(("127.0.0.1", port)) == 0
