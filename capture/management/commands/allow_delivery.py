"""Let a station deliver a recording that its token no longer opens."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

from capture.models import Recording
from capture.services import recordings
from study.services.errors import Refused


class Command(BaseCommand):
    help = "Let a station deliver what it holds of a recording, although its token has expired or its clock was wrong."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("recording", help="as the agent names it in its log and its status line")
        parser.add_argument("--days", type=float, default=7.0, help="for so long from now (default 7)")
        parser.add_argument("--reason", required=True, help="kept with the recording")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            recording = Recording.objects.get(pk=UUID(options["recording"]))
        except (ValueError, Recording.DoesNotExist):
            raise CommandError(f"There is no recording {options['recording']}.") from None
        if not 0 < options["days"] <= 365:
            raise CommandError(f"--days must be above 0 and at most 365, got {options['days']:g}.")
        try:
            permit = recordings.allow_delivery(
                recording=recording, span=timedelta(days=options["days"]), reason=options["reason"]
            )
        except Refused as refusal:
            raise CommandError(refusal.sentence) from refusal
        self.stdout.write(f"{permit}. The agent asks again within a quarter of an hour, or when it is started again.\n")
