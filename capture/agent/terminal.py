"""What the person in front of the station's terminal sees: lines that stay, and one last line that is always current.

On a terminal the last line is drawn anew each second, below everything that was said and logged; where output goes to a
file or a service's log, it is left out, and lines say what changes.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
from typing import Any, TextIO

_RED, _PLAIN = "\x1b[1;31m", "\x1b[0m"


class Terminal:
    """`out` is where lines go; the live line is drawn only if that is a terminal."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        self.live = self._out.isatty() and os.environ.get("TERM") != "dumb"
        self._colour = self.live and "NO_COLOR" not in os.environ
        self._line = ""

    def say(self, line: str) -> None:
        """A line that stays."""
        self._write(f"{line}\n")

    def show(self, line: str, *, alarm: bool = False) -> None:
        """Make `line` the live line, its first character red if `alarm`."""
        if not self.live:
            return
        width = max(shutil.get_terminal_size().columns - 1, 20)
        line = line if len(line) <= width else line[: width - 1] + "…"
        self._line = f"{_RED}{line[:1]}{_PLAIN}{line[1:]}" if alarm and self._colour else line
        self._write("")

    def end(self) -> None:
        """No live line any more."""
        if self._line:
            self._line = ""
            self._write("")

    def _write(self, text: str) -> None:
        erase = "\r\x1b[K" if self.live else ""
        self._out.write(erase + text + self._line)
        self._out.flush()


class TerminalHandler(logging.Handler):
    """Log records as lines that stay, so that they do not run into the live line."""

    def __init__(self, terminal: Terminal) -> None:
        super().__init__()
        self._terminal = terminal

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._terminal.say(self.format(record))
        except Exception:
            self.handleError(record)


def status_line(welcome: dict[str, Any], status: dict[str, Any], *, server: str) -> str:
    """One line of what the station does now: recording, tracker and rate, what waits to be sent, the server."""
    recording, tracker = status.get("recording_id"), welcome.get("tracker") or {}
    parts = [f"● RECORDING GAZE {recording}" if recording else "○ Not recording"]
    if tracker.get("found") and status.get("tracker"):
        rate = tracker.get("rate_hz")
        parts.append(str(tracker.get("name") or "tracker") + (f", {rate:g} Hz" if rate else ""))
    else:
        parts.append("no gaze arriving")
    pending = status.get("pending_frames") or 0
    parts.append(f"{pending} frames to send" if pending else "nothing to send")
    parts.append(server)
    if status.get("problem"):
        parts.append(str(status["problem"]))
    return " · ".join(parts)
