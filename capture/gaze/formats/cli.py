"""`python -m capture.gaze convert`: gaze recordings from one format into another."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from capture.gaze.display import Display

from . import dataset
from .reading import Found, Reading
from .table import FORMATS, recognise


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `convert` takes."""
    held = "\n".join(f"  {name:9} {one.title}: {one.precision}" for name, one in FORMATS.items())
    parser.description = f"Convert gaze recordings. What survives a round trip:\n{held}"
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("source", type=Path, metavar="IN", help="a file or folder")
    parser.add_argument("out", type=Path, metavar="OUT", help="a new folder, or an earlier export in the format")
    parser.add_argument("--to", required=True, choices=list(FORMATS), dest="format")
    parser.add_argument("--image-size", nargs=2, type=int, metavar=("ROWS", "COLUMNS"), help="where IN tells none")
    parser.add_argument(
        "--display", nargs=5, type=float, metavar=("W_PX", "H_PX", "W_MM", "H_MM", "D_MM"), help="where IN tells none"
    )
    parser.add_argument(
        "--placed", nargs=4, type=float, metavar=("LEFT", "TOP", "RIGHT", "BOTTOM"),
        help="where on the display the image was, px: for XDF files of other programs",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Convert; returns 0, or 1 when a recording was left out, with a sentence on stderr for each that was.

    Raises ValueError or OSError where IN cannot be read or OUT not be written.
    """
    display = Display(*arguments.display) if arguments.display else None
    placed = tuple(arguments.placed) if arguments.placed else None
    found = list(recognise(arguments.source).read(arguments.source, display=display, placed=placed))
    size = tuple(arguments.image_size) if arguments.image_size else None
    items = [_item(one, size, number) for number, one in enumerate(found)]
    outcome = dataset.export(items, arguments.out, FORMATS[arguments.format])
    for _, sentence in outcome.refused:
        sys.stderr.write(f"{sentence}\n")
    total = outcome.written + outcome.unchanged
    sys.stdout.write(f"{total} recording{'' if total == 1 else 's'} in {arguments.out}.\n")
    return 1 if outcome.refused else 0


def _item(found: Found, size: tuple[int, int] | None, number: int) -> dataset.Item:
    def load() -> Reading:
        return found.reading(found.size or size)

    digest = dataset.digest_of(found.sources, size)
    return dataset.Item(f"{found.id}-{number}", digest, load)
