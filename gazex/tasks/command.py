"""`python -m gazex examples`: folders of readings → one JSONL file of examples."""

from __future__ import annotations

import argparse
import csv
import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import numpy as np

from gazex.findings import report_findings
from gazex.schema import SchemaError, Visit, read_visits
from gazex.tasks.build import OF_PUBLISHED, build, check, read_prompts
from gazex.tasks.example import TASKS, Example
from gazex.tasks.jsonl import write_examples
from gazex.tasks.splits import SHARES, split_of

log = logging.getLogger(__name__)
_SPACE: Final = re.compile(r"\s+([.,;:?!])")


def run(options: argparse.Namespace) -> dict[str, int]:
    """Writes the file; returns how many examples of each task it holds. ValueError says what is wrong."""
    tasks = [t.strip() for t in options.tasks.split(",") if t.strip()]
    tasks = tasks or list(OF_PUBLISHED if options.format == "published" else TASKS)
    check(tasks, options.format)
    prompts = read_prompts(options.prompts) if options.prompts else None
    if options.split not in {"", *(name for name, _ in SHARES)}:
        raise ValueError(f"There is no split “{options.split}”; splits are {', '.join(name for name, _ in SHARES)}.")
    counts = dict.fromkeys(tasks, 0)

    def examples() -> Iterator[Example]:
        seen: set[str] = set()
        for visit in visits_of(options.folders, width=options.width, height=options.height, reader=options.reader):
            if visit.id in seen:
                raise ValueError(f"Two readings are called “{visit.id}”; names must be unique among all folders.")
            seen.add(visit.id)
            if options.split and split_of(visit.patient) != options.split:
                continue
            made = build(visit, tasks=tasks, format=options.format, seed=options.seed, prompts=prompts)
            if not made:
                log.warning("Visit “%s” %s: it gives no example.", visit.id, _lacks(visit))
            for example in made:
                counts[example.task] += 1
            yield from made
        if not sum(counts.values()):
            raise ValueError(f"{_named(options.folders)} gives no example of {', '.join(tasks)}; nothing is written.")

    write_examples(options.out, examples())
    return {"examples": sum(counts.values()), **counts}


def _lacks(visit: Visit) -> str:
    missing = [what for what, there in (("sentences", visit.sentences), ("gaze", len(visit.t_s))) if not there]
    return f"has no {' and no '.join(missing)}" if missing else "has nothing that these tasks ask for"


def _named(folders: list[Path]) -> str:
    return str(folders[0]) if len(folders) == 1 else f"None of the {len(folders)} folders"


def visits_of(
    folders: list[Path], *, width: int | None = None, height: int | None = None, reader: str = "reflacx"
) -> Iterator[Visit]:
    """The visits of folders of either kind.

    Raises
    ------
    ValueError
        A folder of neither kind, or one that is faulty; the sentence names it.
    """
    for folder in folders:
        if not folder.is_dir():
            raise SchemaError(f"There is no folder {folder}.")
        if (folder / "visits.jsonl").is_file():
            yield from read_visits(folder)
        elif any((folder / name).is_file() for name in ("gaze.csv", "timestamps_transcription.csv")):
            yield visit_of_folder(folder, width=width, height=height, reader=reader)
        else:
            raise SchemaError(f"{folder} holds neither visits.jsonl nor gaze.csv; name a folder of readings.")


def visit_of_folder(
    folder: Path | str, *, width: int | None = None, height: int | None = None, reader: str = "reflacx"
) -> Visit:
    """A visit from a REFLACX folder.

    The patient is the `subject_id` of the dataset's table (`metadata_phase_*.csv` above the folder); without that table
    the reading is taken for a patient of its own, and `width` and `height` have to be given. The labels are what the
    reader affirmed. A sample without a time is left out.

    Raises
    ------
    ValueError
        What is wrong and would mend it, in one sentence.
    """
    from gazex.evidence.folder import read_folder

    folder = Path(folder)
    row = _metadata(folder)
    told = _size(row, folder)
    if width is None or height is None:
        if told is None:
            raise SchemaError(f"{folder} does not tell the size of its image; give --width and --height.")
        width, height = told
    elif told is not None and told != (width, height):
        raise SchemaError(
            f"{folder} was read on an image of {told[0]} × {told[1]} pixels; "
            f"--width and --height say {width} × {height}."
        )
    reading = read_folder(folder, width=width, height=height)
    gaze = reading.gaze
    timed = np.isfinite(gaze.t_s)
    ppd = np.column_stack([gaze.ppd_x, gaze.ppd_y])[timed]
    middle = np.nanmedian(ppd, axis=0)
    sentences = [(_SPACE.sub(r"\1", text), start, end) for text, start, end in reading.sentences]
    name = folder.resolve().name
    return Visit(
        id=name,
        reader=reader,
        patient=row.get("subject_id") or name,
        study=row.get("dicom_id") or name,
        image_file=row.get("image") or f"{name}.png",
        rows=height,
        columns=width,
        t_s=gaze.t_s[timed],
        x=gaze.x[timed],
        y=gaze.y[timed],
        ppd_x=float(middle[0]),
        ppd_y=float(middle[1]),
        sentences=sentences,
        labels=dict(report_findings([text for text, _, _ in sentences])),
        sample_ppd=ppd,
    )


def _metadata(folder: Path) -> Mapping[str, str]:
    """The reading's row in the dataset's table; empty without one."""
    folder = folder.resolve()
    for place in list(folder.parents)[:3]:
        for file in sorted([*place.glob("metadata_phase_*.csv"), *place.glob("main_data/metadata_phase_*.csv")]):
            try:
                with file.open(encoding="utf-8-sig", newline="") as opened:
                    for row in csv.DictReader(opened):
                        if row.get("id") == folder.name:
                            return {k: v for k, v in row.items() if isinstance(k, str) and isinstance(v, str)}
            except (UnicodeDecodeError, csv.Error):
                raise SchemaError(f"{file.name} is not a table in UTF-8.") from None
    return {}


def _size(row: Mapping[str, str], folder: Path) -> tuple[int, int] | None:
    """(width, height) as the table tells it."""
    if not row.get("image_size_x") or not row.get("image_size_y"):
        return None
    try:
        return int(float(row["image_size_x"])), int(float(row["image_size_y"]))
    except (ValueError, OverflowError):
        raise SchemaError(
            f"The row {folder.name} of metadata_phase_*.csv has an image size that is no number."
        ) from None
