"""Parse files in a child process that may crash, loop or run out of memory without taking anybody along.

A child takes about a second to start and is then kept for the next file, and for a minute after the last one: a batch
pays once. What the child could not digest costs it its life, and the next file gets a new one.
"""

from __future__ import annotations

import json
import logging
import os
import selectors
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

import study
from study.dicom.decoding import Decoded
from study.dicom.errors import FileRefused
from study.dicom.limits import MAX_PIXELS, PARSE_SECONDS

logger = logging.getLogger(__name__)

_MAX_ANSWER = 2 * MAX_PIXELS + 2**26
_ROOT = Path(study.__file__).resolve().parents[1]


class _DiedError(Exception):
    """The child ended in the middle of an answer."""


class Sandbox:
    """A child that parses one file after the other. Not for two threads at once; see `borrowed`."""

    def __init__(self, *, seconds: float = PARSE_SECONDS) -> None:
        self.seconds = seconds
        self._child: subprocess.Popen[bytes] | None = None
        self._owner = 0

    def read(self, path: Path, *, kind: str, key: bytes, fallback: str) -> Decoded:
        """Read a file of kind "dicom" or "picture"; see `read_dicom` and `read_picture`.

        Raises
        ------
        FileRefused
            What they refuse, and a file that crashes the parser or keeps it longer than `seconds`.
        """
        request = {"path": str(path), "kind": kind, "key": key.hex(), "fallback": fallback}
        line = json.dumps(request).encode() + b"\n"
        self._start_if_ended()
        try:
            header, blobs = self._ask(line)
        except TimeoutError:
            self.close()
            raise FileRefused(
                f"takes longer than {self.seconds:.0f} s to decode; it is damaged or hostile, export it again."
            ) from None
        except (_DiedError, BrokenPipeError, ValueError, KeyError) as error:
            logger.warning("the decoding child ended", extra={"cause": repr(error)})
            self.close()
            raise FileRefused("makes the decoder crash; it is damaged, export it again from its archive.") from None
        if "refused" in header:
            raise FileRefused(str(header["refused"]))
        rows, columns = int(header["rows"]), int(header["columns"])
        frame = np.frombuffer(blobs[0], "<u2").reshape(rows, columns)
        spacing = header["spacing_mm"]
        return Decoded(
            frame=frame,
            source=blobs[1],
            inverted=bool(header["inverted"]),
            voi=header["voi"],
            spacing_mm=(float(spacing[0]), float(spacing[1])) if spacing else None,
            view=header["view"],
            patient=header["patient"],
            examination=header["examination"],
            attributes=header["attributes"],
        )

    def close(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()
        if self._owner == os.getpid():
            child.kill()
            child.wait()

    def _start_if_ended(self) -> None:
        if self._child is not None and self._owner == os.getpid() and self._child.poll() is None:
            return
        if self._owner != os.getpid():
            self._child = None  # another process's child, inherited by a fork: its pipes are not ours to speak into
        self.close()
        # This process's environment stays here, and the site's secrets and its database's address with it. One secret
        # does go along, in each request: the pseudonym key, because the child writes the pseudonyms into the kept file.
        environment = {name: os.environ[name] for name in ("PATH", "LANG", "LD_LIBRARY_PATH") if name in os.environ}
        environment |= {"PYTHONPATH": str(_ROOT), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self._child = subprocess.Popen(
            [sys.executable, "-m", "study.dicom.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            bufsize=0,
        )
        self._owner = os.getpid()

    def _ask(self, line: bytes) -> tuple[dict[str, Any], list[bytes]]:
        assert self._child is not None and self._child.stdin is not None
        deadline = time.monotonic() + self.seconds
        self._child.stdin.write(line)
        (length,) = struct.unpack(">Q", self._receive(8, deadline))
        header = json.loads(self._receive(length, deadline))
        return header, [self._receive(int(header.get(name, 0)), deadline) for name in ("frame_bytes", "source_bytes")]

    def _receive(self, count: int, deadline: float) -> bytes:
        if not 0 <= count <= _MAX_ANSWER:
            raise _DiedError(f"announced {count} bytes")
        assert self._child is not None and self._child.stdout is not None
        descriptor = self._child.stdout.fileno()
        received = bytearray()
        with selectors.DefaultSelector() as selector:
            selector.register(descriptor, selectors.EVENT_READ)
            while len(received) < count:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise TimeoutError
                part = os.read(descriptor, min(count - len(received), 2**20))
                if not part:
                    raise _DiedError("end of file")
                received += part
        return bytes(received)


_kept: Sandbox | None = None
_kept_lock = threading.Lock()


@contextmanager
def borrowed() -> Iterator[Sandbox]:
    """The kept child of this process, or a new one while another thread has it."""
    global _kept
    with _kept_lock:
        sandbox, _kept = _kept or Sandbox(), None
    try:
        yield sandbox
    finally:
        with _kept_lock:
            if _kept is None:
                _kept, sandbox = sandbox, None  # type: ignore[assignment]
        if sandbox is not None:
            sandbox.close()
