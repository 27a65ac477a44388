"""The formats by name: how each writes one reading, finishes a folder, is recognised and read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from . import bids, egd, parquet, reflacx, xdf_reading
from .errors import FormatError
from .reading import Found, Reading


@dataclass(frozen=True)
class Format:
    """A format of gaze recordings.

    Attributes
    ----------
    name, title
        For commands, and for people.
    precision
        What survives a round trip, in a sentence.
    write
        (reading, folder) → what `finish` needs of it (JSON values). Writes that reading's own files.
    finish
        (folder, [what write returned]) writes the files that describe all of them.
    sniff, read
        Whether a path holds the format; its readings.
    """

    name: str
    title: str
    precision: str
    write: Callable[[Reading, Path], dict[str, Any]]
    finish: Callable[[Path, list[dict[str, Any]]], None]
    sniff: Callable[[Path], bool]
    read: Callable[..., Iterator[Found]]


FORMATS: Final[dict[str, Format]] = {
    name: Format(name, title, precision, module.write, module.finish, module.sniff, module.read)
    for name, title, precision, module in (
        ("xdf", "XDF (Lab Streaming Layer)", "exact; with the tracker's own samples and clock offsets", xdf_reading),
        ("bids", "BIDS 1.11 eye tracking", "times 1 µs, positions a ten-thousandth of a pixel", bids),
        ("reflacx", "REFLACX folders", "times 1 ms, image positions a thousandth of a pixel, upright views", reflacx),
        ("egd", "EGD tables", "times 10 µs, image positions a thousandth of a pixel, no views", egd),
        ("parquet", "Parquet tables", "exact", parquet),
    )
}


def recognise(path: Path) -> Format:
    """The format of a file or folder. Raises FormatError where it is none of them."""
    if not path.exists():
        raise FormatError(f"{path} does not exist; check the path.")
    for one in FORMATS.values():
        try:
            if one.sniff(path):
                return one
        except OSError as error:
            raise FormatError(f"{path.name} cannot be read: {error.strerror or error}.") from error
    raise FormatError(
        f"{path.name} holds no gaze recording that is known: XDF, BIDS eye tracking, REFLACX (gaze.csv), EGD "
        "(eye_gaze.csv) or Parquet written here."
    )
