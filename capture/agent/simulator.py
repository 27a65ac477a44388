"""A simulated reader with a simulated eye tracker: `python -m capture.agent.simulator` or `gazeroom-agent simulate`."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from capture.agent import lsl


def display(text: str) -> lsl.Display:
    """`1280x800` or `1280x800,344x215,600`: pixels, then millimetres, then viewing distance in millimetres."""
    try:
        pixels, *rest = text.split(",")
        width_px, height_px = (int(v) for v in pixels.lower().split("x"))
        # Without millimetres: the pixel pitch of a 16:10 laptop display.
        width_mm, height_mm = (float(v) for v in rest[0].lower().split("x")) if rest else (width_px * 0.26875,) * 2
        if not rest:
            height_mm = height_px * 0.26875
        distance_mm = float(rest[1]) if len(rest) > 1 else 600.0
        values = (width_px, height_px, width_mm, height_mm, distance_mm)
        if len(rest) > 2 or min(values) <= 0:
            raise ValueError
    except (ValueError, IndexError):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no display: give WIDTHxHEIGHT[,MMxMM[,DISTANCE_MM]], for example 1280x800,344x215,600"
        ) from None
    return lsl.Display(*values)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rate", type=float, default=120.0, help="samples per second (default 120)")
    parser.add_argument(
        "--display",
        type=display,
        default=lsl.Display(),
        help="WIDTHxHEIGHT[,MMxMM[,DISTANCE_MM]] (1280x800,344x215,600)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the eyes, their error and the serial number")
    parser.add_argument("--truth", type=Path, help="append what the eyes really did to this JSON lines file")
    parser.add_argument("--noise", type=float, default=0.1, help="tracker noise, degrees SD (default 0.1)")
    parser.add_argument("--loss", type=float, default=0.005, help="share of samples lost (default 0.005)")
    parser.add_argument("--blinks", type=float, default=12.0, help="blinks per minute (default 12)")
    parser.add_argument("--offset", type=float, default=1.0, help="systematic error, degrees (default 1)")
    parser.add_argument("--scale", type=float, default=0.03, help="systematic scale error (default 0.03)")
    parser.add_argument("--jumble", action="store_true", help="publish the channels in another order")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="play this recording instead of simulating eyes")
    parser.add_argument("--speed", type=float, default=1.0, help="of --replay (default 1: as recorded)")
    parser.add_argument("--loop", action="store_true", help="begin --replay again at its end")
    parser.add_argument("--lsl-session", help=f"LSL session (default ${lsl.SESSION_VARIABLE} or 'default')")


def run(arguments: argparse.Namespace) -> int:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        lsl.load(arguments.lsl_session)
    except (lsl.LslMissing, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if arguments.replay is not None:
        return _replay(arguments, stop)
    from capture.agent.sources.simulator import Simulator

    screen: lsl.Display | None = arguments.display
    while screen is not None:
        simulator = Simulator(
            display=screen,
            rate_hz=arguments.rate,
            seed=arguments.seed,
            noise_deg=arguments.noise,
            loss=arguments.loss,
            blinks=arguments.blinks,
            offset_deg=arguments.offset,
            scale=arguments.scale,
            truth=arguments.truth,
            jumble=arguments.jumble,
        )
        sys.stdout.write(
            f"Simulated eye tracker {simulator.source_id} at {arguments.rate:g} Hz "
            f"before a display of {screen.width_px} x {screen.height_px} pixels.\n"
        )
        sys.stdout.flush()
        screen = simulator.run(stop)
        del simulator  # its outlet ends before the next begins
    return 0


def _replay(arguments: argparse.Namespace, stop: threading.Event) -> int:
    from capture.agent.sources import replay

    def say(line: str) -> None:
        sys.stdout.write(line)
        sys.stdout.flush()

    try:
        replay.publish(arguments.replay, stop, speed=arguments.speed, loop=arguments.loop, say=say)
    except replay.Unreadable as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m capture.agent.simulator", description=__doc__)
    add_arguments(parser)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    return run(parser.parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
