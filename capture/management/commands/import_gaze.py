from __future__ import annotations

import time
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from capture.gaze.formats.table import FORMATS
from capture.services.importing import Told, import_gaze, parse_display, parse_placed, read_mapping
from study.management.naming import study_named
from study.services.errors import Refused

_HELP = """Import gaze that was recorded elsewhere: XDF, BIDS, REFLACX, EGD, Parquet; files, folders or zips.

Each recording is taken in whole or refused with one sentence, and must be of an image of the study: by the name its
files give the image (a case's label, an image's id or SHA-256), or by a mapping CSV:

  recording,image
  P101R000001,C-7F3K2M4Q
  ab1c-mimic-dicom-id,C-2J5N7PQA

`recording` is what the files call the recording or its image. The same files are taken in
once, and are not kept: only their SHA-256 and the gaze. Brought again with another --display or --placed, they make the
recording's track again.

EGD and XDF files of others do not tell the size of their screen: --display "1920 1080 527 296 711" (px, px, mm, mm,
viewing distance in mm). XDF files of others do not tell where the image was: --placed "420 0 1500 1080" (left, top,
right, bottom, screen px)."""


class Command(BaseCommand):
    help = _HELP

    def create_parser(self, *args: Any, **kwargs: Any) -> Any:
        return super().create_parser(*args, formatter_class=RawDescriptionHelpFormatter, **kwargs)

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("paths", nargs="+", type=Path, metavar="PATH")
        parser.add_argument("--study", required=True, help="the study's slug, as in its address")
        parser.add_argument("--format", choices=list(FORMATS), help="by default told from the files")
        parser.add_argument(
            "--reader", default="", help="a pseudonym; else what the files call a reader becomes a code"
        )
        parser.add_argument("--mapping", type=Path, metavar="CSV")
        parser.add_argument("--display", default="", metavar="NUMBERS")
        parser.add_argument("--placed", default="", metavar="NUMBERS")

    def handle(self, *args: Any, **options: Any) -> None:
        study = study_named(options["study"])
        try:
            mapping = options["mapping"]
            told = Told(
                reader=options["reader"],
                display=parse_display(options["display"]) if options["display"] else None,
                placed=parse_placed(options["placed"]) if options["placed"] else None,
                mapping=read_mapping(mapping.read_bytes(), mapping.name) if mapping else {},
            )
            report = import_gaze(
                paths=options["paths"],
                study=study,
                actor=None,
                told=told,
                format=options["format"],
                progress=self._progress() if options["verbosity"] else None,
            )
        except Refused as refusal:
            raise CommandError(refusal.sentence) from refusal
        except OSError as error:
            raise CommandError(f"{error.filename or 'A file'} cannot be read: {error.strerror or error}.") from error
        for _, sentence in report.refused:
            self.stderr.write(sentence)
        for sentence in report.remarks:
            self.stderr.write(sentence)
        if options["verbosity"] > 1:
            for _, sentence in [*report.made_again, *report.already_here]:
                self.stdout.write(sentence)
        if not (report.imported or report.made_again or report.already_here):
            raise CommandError("Nothing was imported.")
        if options["verbosity"]:
            self.stdout.write(report.summary)

    def _progress(self) -> Any:
        last = time.monotonic()

        def say(done: int, name: str) -> None:
            nonlocal last
            if time.monotonic() - last > 5:
                last = time.monotonic()
                self.stderr.write(f"Read {done} recordings")

        return say
