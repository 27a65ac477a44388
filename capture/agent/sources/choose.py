"""Which eye tracker the agent reads: the options of `gazeroom-agent run`, and the source they mean."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from capture.agent import simulator
from capture.agent.sources.base import Listeners, Source
from capture.agent.sources.layout import SCREEN_UNITS

SOURCES = ("lsl", "titta", "tobii", "replay")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--source",
        choices=SOURCES,
        default="lsl",
        help="how the tracker is reached: a Gaze stream on LSL (default), Tobii Pro through TittaPy, Tobii Pro through "
        "tobii-research in an interpreter of its own, or a recording that is played again",
    )
    parser.add_argument(
        "--tracker", metavar="WHICH", help="where there are several: an LSL source id, or a Tobii serial number"
    )
    parser.add_argument(
        "--tobii-python", type=Path, metavar="PYTHON", help="a Python 3.10 with tobii-research, for --source tobii"
    )
    parser.add_argument(
        "--replay", type=Path, metavar="FILE", help="for --source replay: frame file or folder, XDF or CSV"
    )
    parser.add_argument("--speed", type=float, default=1.0, help="of --source replay (default 1: as recorded)")
    parser.add_argument(
        "--display",
        type=simulator.display,
        help="the tracked display, where the tracker does not say it: WIDTHxHEIGHT,MMxMM,DISTANCE_MM",
    )
    parser.add_argument(
        "--screen-unit",
        choices=SCREEN_UNITS,
        help="what an LSL stream's gaze is in, where its metadata do not say it or are wrong",
    )
    parser.add_argument(
        "--no-republish", action="store_true", help="do not publish what is recorded on LSL for other programs"
    )


def make(arguments: argparse.Namespace) -> Callable[[Listeners], Source]:
    """What makes the source these options mean. Raises ValueError for options that do not belong together."""
    display = arguments.display.to_dict() if arguments.display else None
    if arguments.source == "tobii" and arguments.tobii_python is None:
        raise ValueError("--source tobii needs --tobii-python: a Python 3.10 in which tobii-research is installed.")
    if (arguments.source == "replay") != (arguments.replay is not None):
        raise ValueError("--source replay and --replay FILE belong together.")

    def source(listeners: Listeners) -> Source:
        if arguments.source == "titta":
            from capture.agent.sources.tobii import TittaSource

            return TittaSource(listeners, arguments.tracker, display=display)
        if arguments.source == "tobii":
            from capture.agent.sources.tobii import BridgeSource

            return BridgeSource(listeners, arguments.tobii_python, arguments.tracker, display=display)
        if arguments.source == "replay":
            from capture.agent.sources.replay import ReplaySource

            return ReplaySource(listeners, arguments.replay, speed=arguments.speed, loop=True, display=display)
        from capture.agent.sources.lsl import LslSource

        return LslSource(listeners, arguments.tracker, screen_unit=arguments.screen_unit, display=display)

    return source
