"""`python -m capture.gaze COMMAND …`: gaze files from the command line, without Django."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

#: Command: (what it does, its module). A module offers `add_arguments(parser)` and `run(options) -> exit code`; it is
#: imported only when its command is called. A ValueError or OSError it raises becomes one sentence and exit code 2.
COMMANDS: dict[str, tuple[str, str]] = {
    "events": ("find fixations, saccades, PSOs and blinks in a gaze file", "capture.gaze.events.command"),
    "convert": ("convert gaze recordings between XDF, BIDS, REFLACX, EGD and Parquet", "capture.gaze.formats.cli"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    words = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(prog="python -m capture.gaze", description="Gaze files from the command line.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (does, module) in COMMANDS.items():
        sub = commands.add_parser(name, help=does, description=does[0].upper() + does[1:] + ".")
        if name in words[:1]:
            import_module(module).add_arguments(sub)
    options = parser.parse_args(words)
    try:
        return int(import_module(COMMANDS[options.command][1]).run(options))
    except (ValueError, OSError) as error:
        print(f"{parser.prog} {options.command}: {_sentence(error)}", file=sys.stderr)
        return 2


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}."
    return str(error)


if __name__ == "__main__":
    sys.exit(main())
