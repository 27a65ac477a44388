"""How much a file may ask of the machine. A radiograph of 43 cm at 0.1 mm is 18 million pixels; these leave room."""

from __future__ import annotations

from typing import Final

MAX_FILE_BYTES: Final = 256 * 2**20
MAX_SIDE: Final = 16384
MAX_PIXELS: Final = 64_000_000
PARSE_SECONDS: Final = 30.0
"""Wall-clock time in which the child must answer for one file."""
PARSE_BYTES: Final = 3 * 2**30
"""Address space of the child that parses: libraries about 1 GiB, the rest for pixels."""
IDLE_SECONDS: Final = 60.0
"""A child that nobody has asked anything for so long ends."""
