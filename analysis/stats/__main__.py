"""``python -m analysis.stats COMMAND …``: the library at the command line. Results are JSON on standard output.

Bad input is one sentence on standard error and exit status 2; nothing is printed on standard output then.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

#: Each a module of :mod:`analysis.stats.commands` with ``HELP``, ``add_arguments(parser)`` and ``run(args) -> dict``.
COMMANDS = ("mrmc", "froc", "power", "time", "standalone")


class _Parser(argparse.ArgumentParser):
    """Says what it did not understand in one line, as everything else that is refused."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; --help shows how.\n")


def main(argv: Sequence[str] | None = None) -> int:
    parser = _Parser(prog="python -m analysis.stats", description="Reader-study statistics.")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    given = sys.argv[1:] if argv is None else list(argv)
    modules = {}
    # One command needs no other's module; without one, all are asked for their help.
    for name in given[:1] if given and given[0] in COMMANDS else COMMANDS:
        modules[name] = import_module(f"analysis.stats.commands.{name}")
        command = subparsers.add_parser(name, help=modules[name].HELP, description=modules[name].__doc__)
        modules[name].add_arguments(command)
    args = parser.parse_args(given)

    from analysis.stats.commands.common import printed
    from analysis.stats.ratings import RatingsError

    try:
        sys.stdout.write(printed(modules[args.command].run(args)))
    except RatingsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
