"""`gazeroom-agent`: the program of a reading station.

``run``       record the tracker's gaze for the reading room and take it to the server
``simulate``  be a simulated eye tracker with a simulated reader
``doctor``    say what this station lacks
``key``       show this station's key (made on first use)

Everything it needs is in `gazeroom[agent]`: no Django, no torch. To set up a station: install it, start the tracker's
LSL program, give it the site's station key (``run/agent-key`` in the site's data folder) with ``--key-file``, then keep
``gazeroom-agent run --allow-origin https://the.site`` running. The way of a sample: tracker → LSL → this agent's spool
(`spool`) → the server (`upload`), with the reading room's page in command (`pagesocket`).
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import secrets
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from capture.agent import lsl

DEFAULT_PORT = 8765
KEY_VARIABLE = "GAZEROOM_STATION_KEY"
SPOOL_VARIABLE = "GAZEROOM_SPOOL"


def config_folder() -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "gazeroom"


def default_spool() -> Path:
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return Path(os.environ.get(SPOOL_VARIABLE) or data / "gazeroom" / "spool")


def station_key(path: Path | None) -> str:
    """The station's key: the content of `path` (made, mode 0600, if there is none).

    Without `path` it is $GAZEROOM_STATION_KEY, or the content of the station's own key file.
    """
    if path is None and os.environ.get(KEY_VARIABLE):
        return os.environ[KEY_VARIABLE].strip()
    path = path or config_folder() / "station.key"
    try:
        key = path.read_text().strip()
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        key = secrets.token_urlsafe(32)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "w") as file:
            file.write(key + "\n")
    if not key:
        raise ValueError(f"The key file {path} is empty: delete it, a new key is made then.")
    return key


def parser() -> argparse.ArgumentParser:
    from capture.agent import simulator

    root = argparse.ArgumentParser(prog="gazeroom-agent", description="The program of a reading station.")
    root.add_argument("--verbose", action="store_true", help="log everything")
    commands = root.add_subparsers(dest="command", required=True)

    run = commands.add_parser("run", help="record gaze for the reading room and take it to the server")
    run.add_argument("--port", type=int, default=DEFAULT_PORT, help=f"of the page socket (default {DEFAULT_PORT})")
    run.add_argument(
        "--allow-origin", action="append", required=True, metavar="ORIGIN", help="of the site's pages; may be repeated"
    )
    run.add_argument(
        "--spool", type=Path, default=default_spool(), help=f"folder (default ${SPOOL_VARIABLE} or %(default)s)"
    )
    run.add_argument("--key-file", type=Path, help=f"with the station's key (default: ${KEY_VARIABLE} or its own file)")
    run.add_argument("--tracker", metavar="SOURCE_ID", help="which gaze stream, where there are several")
    run.add_argument(
        "--abandoned-after",
        type=float,
        default=120.0,
        metavar="SECONDS",
        help="end a recording that has had no page for so long (default 120)",
    )
    run.add_argument("--lsl-session", help=f"LSL session (default ${lsl.SESSION_VARIABLE} or 'default')")

    simulate = commands.add_parser("simulate", help="be a simulated eye tracker with a simulated reader")
    simulator.add_arguments(simulate)

    doctor = commands.add_parser("doctor", help="say what this station lacks")
    doctor.add_argument("--server", help="address of the site")
    doctor.add_argument("--spool", type=Path, default=default_spool())
    doctor.add_argument("--lsl-session", help=f"LSL session (default ${lsl.SESSION_VARIABLE} or 'default')")

    key = commands.add_parser("key", help="show this station's key")
    key.add_argument("--key-file", type=Path)
    return root


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parser().parse_args(argv)
    level = logging.DEBUG if arguments.verbose else logging.INFO
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("websockets").setLevel(logging.WARNING)
    try:
        if arguments.command == "simulate":
            from capture.agent import simulator

            return simulator.run(arguments)
        if arguments.command == "doctor":
            from capture.agent import doctor

            findings = doctor.examine(session=arguments.lsl_session, spool=arguments.spool, server=arguments.server)
            return doctor.report(findings)
        if arguments.command == "key":
            sys.stdout.write(station_key(arguments.key_file) + "\n")
            return 0
        return asyncio.run(_run(arguments))
    except (lsl.LslMissing, ValueError, RuntimeError) as error:
        sys.stderr.write(f"gazeroom-agent: {error}\n")
        return 1


async def _run(arguments: argparse.Namespace) -> int:
    lsl.load(arguments.lsl_session)
    from capture.agent.station import Agent

    try:
        agent = Agent(
            spool=arguments.spool,
            port=arguments.port,
            key=station_key(arguments.key_file),
            origins=arguments.allow_origin,
            tracker=arguments.tracker,
            abandoned_s=arguments.abandoned_after,
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
