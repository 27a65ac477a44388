from __future__ import annotations

import tempfile
from argparse import ArgumentParser, BooleanOptionalAction
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from django.core.management.base import BaseCommand, CommandError

from gazex.phantoms import Phantom, make_phantom, write_dicom, write_truth
from study.management.progress import ProgressLine
from study.models import Case
from study.services.importing import import_paths

_BATCH = 32
"""Phantoms on disk at a time where nobody wants to keep them."""


class Command(BaseCommand):
    help = (
        "Draw N synthetic chest radiographs with known findings, write them as 12-bit DICOM CR with their truth beside "
        "them, and import them like any other file. The same seed draws the same phantoms: importing them again "
        "changes nothing."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("count", type=int, metavar="N", help="how many")
        parser.add_argument("--seed", type=int, default=1, help="names the series (default 1)")
        parser.add_argument("--start", type=int, default=0, metavar="INDEX", help="first of the series (default 0)")
        parser.add_argument("--size", type=int, default=1024, metavar="PIXELS", help="rows and columns (default 1024)")
        parser.add_argument("--out", type=Path, metavar="DIR", help="keep the DICOM files and truth.json here")
        parser.add_argument(
            "--import", dest="do_import", action=BooleanOptionalAction, default=True, help="take them into this site"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        count, out = options["count"], options["out"]
        if count < 1:
            raise CommandError(f"{count} phantoms cannot be made; give a number from 1.")
        if options["seed"] < 0 or options["start"] < 0:
            raise CommandError("Seed and start are whole numbers from 0.")
        if out is None and not options["do_import"]:
            raise CommandError("Without importing, say where to keep the phantoms: --out DIR.")
        indices = range(options["start"], options["start"] + count)
        show = ProgressLine(self.stderr, "Made") if options["verbosity"] else None
        try:
            if out is not None:
                out.mkdir(parents=True, exist_ok=True)
                self._write(out, indices, options, show, 0)
                report = self._import(out, indices, options) if options["do_import"] else None
                said = [f"{count} phantoms written to {out}."] + ([report] if report else [])
            else:
                totals = [0, 0]
                for first in range(0, count, _BATCH):
                    with tempfile.TemporaryDirectory(prefix="gazeroom-phantoms-") as folder:
                        batch = indices[first : first + _BATCH]
                        self._write(Path(folder), batch, options, show, first)
                        done = self._imported(Path(folder), batch, options)
                        totals = [totals[0] + done[0], totals[1] + done[1]]
                said = [self._sentence(*totals)]
        except ValueError as error:
            raise CommandError(str(error)) from None
        if options["verbosity"]:
            for sentence in said:
                self.stdout.write(sentence)

    def _write(self, folder: Path, indices: range, options: dict[str, Any], show: Any, before: int) -> None:
        phantoms: dict[str, tuple[str, Phantom]] = {}
        size = (options["size"], options["size"])
        for index in indices:
            phantom = make_phantom(options["seed"], index, size)
            patient = f"PHANTOM-{options['seed']}-{index}"
            name = _name(options["seed"], index)
            write_dicom(phantom, folder / name, patient_id=patient)
            # The truth needs no pixels; a long series would not fit in memory with them.
            phantoms[name] = (patient, replace(phantom, pixels=np.zeros((0, 0), np.uint16)))
            if show is not None:
                show(before + len(phantoms), options["count"])
        write_truth(folder, phantoms)

    def _imported(self, folder: Path, indices: range, options: dict[str, Any]) -> tuple[int, int]:
        files = [folder / _name(options["seed"], index) for index in indices]
        report = import_paths(paths=files, actor=None, source=str(Case.Source.PHANTOM))
        if report.refused:
            raise CommandError(report.refused[0][1])
        return len(report.imported), len(report.already_here)

    def _import(self, folder: Path, indices: range, options: dict[str, Any]) -> str:
        return self._sentence(*self._imported(folder, indices, options))

    @staticmethod
    def _sentence(imported: int, already_here: int) -> str:
        phantoms = "phantom" if imported == 1 else "phantoms"
        return f"{imported} {phantoms} imported" + (f", {already_here} already here." if already_here else ".")


def _name(seed: int, index: int) -> str:
    return f"phantom-{seed}-{index:05d}.dcm"
