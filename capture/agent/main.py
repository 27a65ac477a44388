"""`gazeroom-agent`: the program of a reading station.

``pair``      pair this station with a site, once, by a code from the site's Stations page
``run``       record the tracker's gaze for the reading room and take it to the server
``simulate``  be a simulated eye tracker with a simulated reader
``doctor``    say what this station lacks

Everything it needs is in `gazeroom[agent]`: no Django, no torch. To set up a station: install it, start the tracker's
LSL program, ``gazeroom-agent pair https://the.site CODE``, then keep ``gazeroom-agent run`` running. The way of a
sample: tracker → LSL → this agent's spool (`spool`) → the server (`upload`), with the reading room's page in command
(`pagesocket`). A Tobii Pro tracker needs no LSL program: ``--source titta`` reads it through TittaPy
(`gazeroom[titta]`), ``--source tobii --tobii-python PYTHON`` through tobii-research; ``--source replay --replay FILE``
plays a recording again.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from capture.agent import lsl, pairing
from capture.agent.terminal import Terminal, TerminalHandler

DEFAULT_PORT = 8765
SPOOL_VARIABLE = "GAZEROOM_SPOOL"


def default_spool() -> Path:
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return Path(os.environ.get(SPOOL_VARIABLE) or data / "gazeroom" / "spool")


def parser() -> argparse.ArgumentParser:
    from capture.agent import simulator
    from capture.agent.sources import choose

    root = argparse.ArgumentParser(prog="gazeroom-agent", description="The program of a reading station.")
    root.add_argument("--verbose", action="store_true", help="log everything")
    commands = root.add_subparsers(dest="command", required=True)

    pair = commands.add_parser("pair", help="pair this station with a site, once, by a code")
    pair.add_argument("server", help="address of the site as readers use it, such as https://reading.example")
    pair.add_argument("code", help="as the site's Stations page shows it, such as K7M2Q-XR4TB")
    pair.add_argument("--spool", type=Path, default=default_spool(), help="folder beside which the pairing is kept")

    run = commands.add_parser("run", help="record gaze for the reading room and take it to the server")
    run.add_argument("--port", type=int, default=DEFAULT_PORT, help=f"of the page socket (default {DEFAULT_PORT})")
    run.add_argument(
        "--allow-origin",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="of pages that may connect, besides those of the site it is paired with; may be repeated",
    )
    run.add_argument(
        "--spool", type=Path, default=default_spool(), help=f"folder (default ${SPOOL_VARIABLE} or %(default)s)"
    )
    choose.add_arguments(run)
    run.add_argument(
        "--also",
        action="append",
        default=[],
        metavar="NAME_OR_TYPE",
        help="record this further LSL stream of numbers beside the gaze, too; may be repeated",
    )
    run.add_argument(
        "--abandoned-after",
        type=float,
        default=120.0,
        metavar="SECONDS",
        help="end a recording that has had no page for so long (default 120)",
    )
    run.add_argument(
        "--speak-every",
        type=float,
        default=pairing.SPEAK_S,
        metavar="SECONDS",
        help="how often the site is told that this station is there (default %(default)g)",
    )
    run.add_argument("--lsl-session", help=f"LSL session (default ${lsl.SESSION_VARIABLE} or 'default')")

    simulate = commands.add_parser("simulate", help="be a simulated eye tracker with a simulated reader")
    simulator.add_arguments(simulate)

    doctor = commands.add_parser("doctor", help="say what this station lacks")
    doctor.add_argument("--server", help="address of the site")
    doctor.add_argument("--spool", type=Path, default=default_spool())
    choose.add_arguments(doctor)
    doctor.add_argument("--lsl-session", help=f"LSL session (default ${lsl.SESSION_VARIABLE} or 'default')")

    return root


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parser().parse_args(argv)
    level = logging.DEBUG if arguments.verbose else logging.INFO
    terminal = Terminal()
    # Below a live line, the log goes the same way as what is said; a service keeps the two apart.
    handlers = [TerminalHandler(terminal)] if terminal.live and arguments.command == "run" else None
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s", handlers=handlers)
    logging.getLogger("websockets").setLevel(logging.WARNING)
    try:
        if arguments.command == "simulate":
            from capture.agent import simulator

            return simulator.run(arguments)
        if arguments.command == "doctor":
            from capture.agent import doctor

            return doctor.report(doctor.examine(arguments))
        if arguments.command == "pair":
            return _pair(arguments, terminal)
        return asyncio.run(_run(arguments, terminal))
    except (lsl.LslMissing, ValueError, RuntimeError) as error:
        sys.stderr.write(f"gazeroom-agent: {error}\n")
        return 1


def _pair(arguments: argparse.Namespace, terminal: Terminal) -> int:
    path = pairing.file_beside(arguments.spool)
    paired = pairing.pair(arguments.server, arguments.code)
    pairing.save(paired, path)
    terminal.say(f"Paired: this is {paired.name} of {paired.server}. What ties it to the site is in {path}.")
    terminal.say("Start the agent now, or restart it if it is running: gazeroom-agent run")
    return 0


async def _run(arguments: argparse.Namespace, terminal: Terminal) -> int:
    from capture.agent.sources import choose
    from capture.agent.station import Agent

    # Options first: a wrong one is wrong on an unpaired station, too.
    source = choose.make(arguments)
    paired = pairing.load(pairing.file_beside(arguments.spool))
    lsl.load(arguments.lsl_session)

    try:
        agent = Agent(
            spool=arguments.spool,
            port=arguments.port,
            pairing=paired,
            origins=arguments.allow_origin,
            source=source,
            also=arguments.also,
            republish=not arguments.no_republish,
            abandoned_s=arguments.abandoned_after,
            terminal=terminal,
            speak_every_s=arguments.speak_every,
        )
    except OSError as error:
        raise RuntimeError(f"The spool {arguments.spool} cannot be used ({error.strerror}): name another.") from error
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, agent.stopping.set)
    try:
        await agent.run()
    except OSError as error:
        raise RuntimeError(
            f"Port {arguments.port} of 127.0.0.1 cannot be used ({error.strerror}): stop the other agent or set --port."
        ) from error
    return 0


if __name__ == "__main__":
    sys.exit(main())
