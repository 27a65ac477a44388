from __future__ import annotations

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from capture.gaze.formats.table import FORMATS
from capture.services.exporting import export_study
from study.management.naming import study_named
from study.management.progress import ProgressLine
from study.services.errors import Refused

_HELP = """Write a study's gaze into a folder: pseudonyms only, each recording whole or not there.

A run that was interrupted continues where it was; a second run writes what is new or changed. While a comparison is
blind the export holds gaze and what was on the screen, and nothing of reports, arms or the truth.

What survives a round trip:
""" + "\n".join(f"  {name:9} {one.title}: {one.precision}" for name, one in FORMATS.items())


class Command(BaseCommand):
    help = _HELP

    def create_parser(self, *args: Any, **kwargs: Any) -> Any:
        return super().create_parser(*args, formatter_class=RawDescriptionHelpFormatter, **kwargs)

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("study", help="the study's slug, as in its address")
        parser.add_argument("--format", required=True, choices=list(FORMATS))
        parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="a new folder, or an earlier export")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            outcome = export_study(
                study=study_named(options["study"]),
                format=options["format"],
                out=options["out"],
                actor=None,
                progress=ProgressLine(self.stderr, "Exported") if options["verbosity"] else None,
            )
        except Refused as refusal:
            raise CommandError(refusal.sentence) from refusal
        except OSError as error:
            raise CommandError(f"{options['out']} cannot be written: {error.strerror or error}.") from error
        for _, sentence in outcome.refused:
            self.stderr.write(sentence)
        total = outcome.written + outcome.unchanged
        if options["verbosity"]:
            again = f", {outcome.unchanged} unchanged" if outcome.unchanged else ""
            self.stdout.write(f"{total} recording{'' if total == 1 else 's'} in {options['out']}{again}.")
        if outcome.refused:
            raise CommandError(f"{len(outcome.refused)} could not be exported.")
