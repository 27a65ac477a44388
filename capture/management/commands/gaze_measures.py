from __future__ import annotations

import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from capture.queries.measures import COLUMNS, recordings_measured_in
from capture.services import measuring
from study.management.naming import study_named
from study.management.progress import ProgressLine
from study.services.errors import Refused

_HELP = """Measure a study's gaze and write the measures as CSV.

One row for each reference finding of each read, one for a read of a normal image; an empty cell is not estimable. A
comparison has to be unblinded. The columns:
""" + "\n".join(f"  {name:26} {meaning}" for name, meaning in COLUMNS.items())


class Command(BaseCommand):
    help = _HELP

    def create_parser(self, *args: Any, **kwargs: Any) -> Any:
        return super().create_parser(*args, formatter_class=RawDescriptionHelpFormatter, **kwargs)

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("study", help="the study's slug, as in its address")
        parser.add_argument("--out", required=True, metavar="FILE", help="the CSV file to write; - for standard output")

    def handle(self, *args: Any, **options: Any) -> None:
        study = study_named(options["study"])
        recordings = recordings_measured_in(study)
        try:
            measuring.refuse_while_blind(study)
            chosen = list(recordings)
            line = ProgressLine(self.stderr, "Measured") if options["verbosity"] else None
            failed = measuring.measure_all(chosen, progress=line)
            text = measuring.export(study=study, recordings=recordings, actor=None)
        except Refused as refusal:
            raise CommandError(refusal.sentence) from refusal
        for recording, sentence in failed:
            self.stderr.write(f"{recording.pk}: {sentence}")
        if options["out"] == "-":
            sys.stdout.write(text)
        else:
            try:
                Path(options["out"]).write_text(text, encoding="utf-8", newline="")
            except OSError as error:
                raise CommandError(f"{options['out']} cannot be written: {error.strerror or error}.") from error
            if options["verbosity"]:
                measured, rows = len(chosen) - len(failed), text.count("\n") - 1
                many = ", ".join(
                    f"{n} {what}{'' if n == 1 else 's'}" for n, what in ((measured, "recording"), (rows, "row"))
                )
                self.stdout.write(f"{many} in {options['out']}.")
        if failed:
            raise CommandError(f"{len(failed)} of {len(chosen)} recordings could not be measured.")
