from __future__ import annotations

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from study.management.progress import ProgressLine
from study.models import Case
from study.services.importing import import_paths

_HELP = """Import radiographs: DICOM files, PNG or JPEG pictures with a sidecar, folders and zips of them.

Everything that identifies a patient is removed at import; what is refused is named with one sentence each.

A sidecar CSV beside the images says what they do not say themselves. Its columns, in any order:

  filename,view,patient,spacing_mm,finding,side,x0,y0,x1,y1

  filename     relative to the CSV; the only column that must be there
  view         PA, AP, LL, RL, LLD, RLD, LLO, RLO, LAT or empty
  patient      what tells patients apart; replaced by a pseudonym, not kept
  spacing_mm   millimetres between pixels; "0.2 0.1" is between rows and between columns
  finding      a CheXbert label ("Pleural Effusion"); empty or "No Finding" for a normal image
  side         the patient's: left, right, bilateral or empty
  x0,y0,x1,y1  the finding's box in image pixels, all four or none

One row a finding; a file with several findings has several rows. Without a finding column nothing is said of the
truth. DICOM files need no sidecar; where one lists them, it gives their truth."""


class Command(BaseCommand):
    help = _HELP

    def create_parser(self, *args: Any, **kwargs: Any) -> Any:
        return super().create_parser(*args, formatter_class=RawDescriptionHelpFormatter, **kwargs)

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("paths", nargs="+", metavar="PATH", type=Path, help="file, folder or zip")
        parser.add_argument("--source", choices=Case.Source.values, help="by default told from each file")

    def handle(self, *args: Any, **options: Any) -> None:
        report = import_paths(
            paths=options["paths"],
            actor=None,
            source=options["source"],
            progress=ProgressLine(self.stderr, "Imported") if options["verbosity"] else None,
        )
        for _, sentence in report.refused:
            self.stderr.write(sentence)
        if options["verbosity"] > 1:
            for _, sentence in report.already_here:
                self.stdout.write(sentence)
        if not report.imported and not report.already_here:
            raise CommandError("Nothing was imported: none of the paths holds a radiograph that can be read.")
        if options["verbosity"]:
            self.stdout.write(report.summary)
