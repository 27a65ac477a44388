"""`manage.py pair_here`: pair an agent that runs beside the site itself; `make run` does it for its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from capture.agent import pairing
from capture.models import Station
from capture.services import stations
from study.services.errors import Refused


class Command(BaseCommand):
    help = "Pair an agent on the machine the site runs on: the code never leaves it, so nobody has to type one."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--server", default="http://localhost:8000", help="where the site answers on this machine")
        parser.add_argument("--name", default=Station.THIS_MACHINE, help="the station's name (default: %(default)s)")
        parser.add_argument(
            "--spool",
            type=Path,
            default=Path(settings.GAZEROOM_DATA) / "spool",
            help="the agent's spool, beside which the pairing is kept (default: %(default)s)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            stations.pair_here(name=options["name"], server=options["server"], spool=options["spool"])
        except Refused as refusal:
            raise CommandError(refusal.sentence) from refusal
        except pairing.PairingError as error:
            raise CommandError(str(error)) from error
