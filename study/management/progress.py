"""Progress of a command that takes over two seconds: one overwritten line on a terminal, else one now and then."""

from __future__ import annotations

import time
from typing import Any


class ProgressLine:
    """Say how far a command is.

    Parameters
    ----------
    stream
        A command's `self.stderr`, so that the output proper stays clean.
    verb
        "Imported": what has been done to the things counted.
    """

    def __init__(self, stream: Any, verb: str) -> None:
        self._stream, self._verb = stream, verb
        self._terminal = bool(getattr(stream, "isatty", lambda: False)())
        self._every = 0.2 if self._terminal else 5.0
        self._next = time.monotonic() + 2.0
        self._shown = False

    def __call__(self, done: int, total: int, name: str = "") -> None:
        now = time.monotonic()
        if now < self._next and not (self._shown and done == total):
            return
        self._next = now + self._every
        self._shown = True
        line = f"{self._verb} {done} of {total}"
        if self._terminal:
            self._stream.write(f"\r{line}", ending="\n" if done == total else "")
        else:
            self._stream.write(line)
