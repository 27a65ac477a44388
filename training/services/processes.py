"""A command in a process group of its own, watched by a heartbeat, that never outlives whoever watches it."""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from .leases import Held

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


@dataclass(frozen=True)
class Ending:
    """How a command ended: its exit status (negative: the signal that killed it) and whether it was told to stop."""

    code: int
    told: Held


class BusyFolderError(Exception):
    """Another process still works in the folder; the sentence names it."""


@contextmanager
def exclusive(folder: Path) -> Iterator[int]:
    """Locks the folder for this process and for the children that inherit the descriptor it yields.

    The lock lives as long as any of them: a new attempt cannot write beside a trainer that was left over.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyFolderError(f"Another process still works in {folder.name}.") from None
        yield file.fileno()


def watch(
    command: Sequence[str],
    *,
    log: Path,
    inherit: int,
    beat: Callable[[], Held],
    beat_s: float = 2.0,
    grace_s: float = 60.0,
    cwd: Path | None = None,
) -> Ending:
    """Runs a command to its end, calling `beat()` every `beat_s` seconds.

    Parameters
    ----------
    log
        Receives the command's output, from the start.
    inherit
        A descriptor the command keeps open, see `exclusive`.
    beat
        Says whether to go on: CANCEL sends SIGTERM and waits up to `grace_s` for a checkpoint; LOST kills at once.

    Returns
    -------
    Ending
        Whatever happens, exceptions included, no process of the group is left when this returns.
    """
    parent = os.getpid()
    with log.open("wb") as output:
        process = _start(command, output=output, inherit=inherit, parent=parent, cwd=cwd)
        told, stop_by = Held.YES, float("inf")
        try:
            next_beat = 0.0
            while process.poll() is None:
                now = time.monotonic()
                if now >= next_beat:
                    next_beat = now + beat_s
                    held = beat()
                    if held is Held.LOST:
                        told = held
                        break
                    if held is Held.CANCEL and told is Held.YES:
                        told, stop_by = held, now + grace_s
                        _signal_group(process, signal.SIGTERM)
                if now > stop_by:
                    break
                time.sleep(0.1)
        except BaseException:
            # A time limit or a broken database: let it checkpoint, then go down with it.
            _signal_group(process, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(grace_s)
            raise
        finally:
            _signal_group(process, signal.SIGKILL)
            process.wait()
    return Ending(process.returncode, told)


def last_sentence(log: Path) -> str:
    """The last line a command wrote, or an empty string."""
    try:
        lines = log.read_text(errors="replace").strip().splitlines()
    except FileNotFoundError:
        return ""
    return lines[-1].strip()[:500] if lines else ""


def _start(
    command: Sequence[str], *, output: IO[bytes], inherit: int, parent: int, cwd: Path | None
) -> subprocess.Popen[bytes]:
    def die_with_parent() -> None:
        # SIGKILL, not SIGTERM: a successor may take over in seconds, and the checkpoints on disk are whole.
        if _LIBC is not None:
            _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(1)

    return subprocess.Popen(
        list(command),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        pass_fds=(inherit,),
        preexec_fn=die_with_parent,
        cwd=cwd,
    )


def _signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
