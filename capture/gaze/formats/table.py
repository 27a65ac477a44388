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
    one.name: one
    for one in (
        Format(
            "xdf", "XDF (Lab Streaming Layer)", "exact; with the tracker's own samples and clock offsets",
            xdf_reading.write, xdf_reading.finish, xdf_reading.sniff, xdf_reading.read,
        ),
        Format(
            "bids", "BIDS 1.11 eye tracking", "times 1 µs, positions a ten-thousandth of a pixel",
            bids.write, bids.finish, bids.sniff, bids.read,
        ),
        Format(
            "reflacx", "REFLACX folders", "times 1 ms, image positions a thousandth of a pixel, upright views",
            reflacx.write, reflacx.finish, reflacx.sniff, reflacx.read,
        ),
        Format(
            "egd", "EGD tables", "times 10 µs, image positions a thousandth of a pixel, no views",
            egd.write, egd.finish, egd.sniff, egd.read,
        ),
        Format(
            "parquet", "Parquet tables", "exact",
            parquet.write, parquet.finish, parquet.sniff, parquet.read,
        ),
    )
}  # fmt: skip


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
