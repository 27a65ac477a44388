"""Taking in gaze that was recorded elsewhere: each reading whole, or not at all with one sentence that says why.

A reading becomes a Recording of kind "imported" with its GazeTrack and Utterances. The same files are taken in once per
study, however often they are brought; brought with another display or place of the image, they make its track again.

Nothing that can name a person comes in. The files are not kept, for headers hold names: of them stay the SHA-256s and
what was converted, which are arrays, sentences and the track's own facts by a list (`_FACTS`). Who read is the
pseudonym that the importer tells, or one this site already uses (so that its own exports come back as they went), or
else a code made of the file's name for the reader with the installation's key: the same name gives the same code. Only
sentences are taken as they are, as what was said is the data.
"""

from __future__ import annotations

import csv
import hashlib
import io
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import numpy as np
from django.db import IntegrityError, transaction
from django.utils import timezone

import capture.gaze.formats
from capture.gaze.display import Display
from capture.gaze.events.detection import ALGORITHMS
from capture.gaze.formats.errors import FormatError
from capture.gaze.formats.reading import Found, Reading
from capture.gaze.formats.table import FORMATS, recognise
from capture.gaze.stretches import Disorder
from capture.gaze.track import SCHEMA
from capture.models import GazeTrack, ImportedGaze, Recording, Utterance
from study.dicom.pseudonyms import Pseudonyms, short
from study.models import AuditEntry, Enrolment, Image, Study, User
from study.queries.reading import shown_image
from study.queries.studies import STAFF, studies_visible_to
from study.services import audit
from study.services.errors import BadInput, NotAllowed, Refused
from study.services.importing.gathering import gather
from study.services.importing.importing import pseudonym_key

from . import processing, provenance

#: A longer list is somebody's mistake.
MAX_MAPPING_BYTES: Final = 8 * 2**20
Progress = Callable[[int, str], None]
"""(readings done, name of the one just done); how many there are is known at the end."""


@dataclass
class GazeImport:
    """What became of every reading: new recordings, and (name, sentence) of what was here or was refused.

    `made_again` was here, and has a new track by what was told now; `already_here` stays as it was.

    `remarks` are sentences about what was taken in although something is wrong with it.
    """

    imported: list[Recording] = field(default_factory=list)
    made_again: list[tuple[str, str]] = field(default_factory=list)
    already_here: list[tuple[str, str]] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    undegreed: int = 0

    @property
    def summary(self) -> str:
        count = len(self.imported)
        parts = [f"{count} recording{'' if count == 1 else 's'} imported"]
        if self.made_again:
            parts.append(f"{len(self.made_again)} made again")
        if self.already_here:
            parts.append(f"{len(self.already_here)} already here")
        if self.refused:
            parts.append(f"{len(self.refused)} refused")
        return ", ".join(parts) + "."


@dataclass(frozen=True)
class Told:
    """What whoever imports says besides the files.

    reader
        A pseudonym; the files' own names for readers become codes.
    display
        The display it was recorded on, for files that do not describe theirs.
    placed
        Where on it the image was: left, top, right, bottom in screen px (XDF files of others).
    mapping
        What a file calls a recording or its image → what this site calls the image (case label, image id or SHA-256).
    """

    reader: str = ""
    display: Display | None = None
    placed: tuple[float, float, float, float] | None = None
    mapping: Mapping[str, str] = field(default_factory=dict)

    def used(self) -> dict[str, Any]:
        return {
            "display": self.display.to_dict() if self.display else None,
            "placed": list(self.placed) if self.placed else None,
        }


def parse_display(text: str) -> Display:
    """`WIDTHxHEIGHT px, WIDTHxHEIGHT mm, DISTANCE mm` as five numbers. Raises BadInput."""
    numbers = _numbers(text)
    if len(numbers) != 5:
        raise BadInput(f"{text[:60]!r} is no display: give width and height in px, then in mm, and the distance in mm.")
    try:
        return Display(*numbers)
    except ValueError as error:
        raise BadInput(str(error)) from error


def parse_placed(text: str) -> tuple[float, float, float, float]:
    """Left, top, right, bottom in screen px. Raises BadInput."""
    numbers = _numbers(text)
    if len(numbers) != 4 or not (numbers[0] < numbers[2] and numbers[1] < numbers[3]):
        raise BadInput(f"{text[:60]!r} is no place on a display: give left, top, right and bottom in px.")
    return numbers[0], numbers[1], numbers[2], numbers[3]


def _numbers(text: str) -> list[float]:
    for mark in ",;x×":
        text = text.replace(mark, " ")
    try:
        return [float(part) for part in text.split()]
    except ValueError:
        return []


def read_mapping(data: bytes, name: str) -> dict[str, str]:
    """A mapping CSV with the columns `recording` and `image`. Raises BadInput with the line."""
    remedy = "its first line is recording,image: what the file calls a recording or its image, and a case's label here."
    if len(data) > MAX_MAPPING_BYTES:
        raise BadInput(f"{name} is too large for a mapping; {remedy}")
    try:
        rows = list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error):
        raise BadInput(f"{name} is no readable CSV; {remedy}") from None
    header = [cell.strip().lower() for cell in rows[0]] if rows else []
    if "recording" not in header or "image" not in header:
        raise BadInput(f"{name} lacks a column; {remedy}")
    out: dict[str, str] = {}
    for line, row in enumerate(rows[1:], start=2):
        if not any(cell.strip() for cell in row):
            continue
        if len(row) != len(header):
            raise BadInput(f"{name} has {len(row)} cells on line {line} and {len(header)} columns; mend that line.")
        key, image = row[header.index("recording")].strip(), row[header.index("image")].strip()
        if out.setdefault(key, image) != image:
            raise BadInput(f"{name} names {key[:60]} twice, for different images (line {line}); keep one.")
    return out


def import_gaze(
    *,
    paths: Sequence[Path],
    study: Study,
    actor: User | None,
    told: Told | None = None,
    format: str | None = None,
    progress: Progress | None = None,
) -> GazeImport:
    """Import gaze recordings: XDF files, and folders or zips of REFLACX, EGD, BIDS, Parquet or XDF.

    Parameters
    ----------
    study
        Whose images they were recorded on, and whose coordinators and researchers see them.
    actor
        A coordinator or researcher of it; None for the system itself (a command).
    format
        One of `FORMATS`; told from the files where it is None.

    Raises
    ------
    NotAllowed
        The person is neither coordinator nor researcher of the study.
    BadInput
        An unknown format.
    """
    if actor is not None and not studies_visible_to(actor, *STAFF).contains(study):
        raise NotAllowed(f"Only coordinators and researchers of {study} import recordings into it.")
    if format is not None and format not in FORMATS:
        raise BadInput(f"{format[:40]!r} is no format; use one of {', '.join(FORMATS)}.")
    told = told or Told()
    report = GazeImport()
    done = 0
    images = _Images(study)
    for path in paths:
        try:
            with _opened(path) as place:
                chosen = FORMATS[format] if format else recognise(place)
                for one in chosen.read(place, display=told.display, placed=told.placed):
                    _import_one(one, chosen.name, study, actor, told, images, report)
                    done += 1
                    if progress is not None:
                        progress(done, one.id)
        except (FormatError, Refused) as refusal:
            report.refused.append((path.name, _about(path, str(refusal))))
    if report.undegreed:
        report.remarks.append(
            f"{report.undegreed} of the recordings have no visual degrees, for no display was told: import the same "
            "files again with the display they were recorded on to give them some."
        )
    if report.imported or report.made_again:
        # Pseudonyms and counts only: file names are where hospitals write patients' names.
        audit.record(
            actor=actor,
            act=AuditEntry.Act.IMPORT,
            subject=f"Gaze into study {study.slug}: {report.summary}",
            detail={"recordings": [str(r.pk) for r in report.imported], "refused": len(report.refused)},
        )
    return report


def _about(path: Path, sentence: str) -> str:
    """The sentence with the name the person knows, where it names a temporary place."""
    return sentence if path.name in sentence else f"{path.name}: {sentence}"


@contextmanager
def _opened(path: Path) -> Iterator[Path]:
    """The path itself; a zip unpacked under the guards of case import, whole or not at all."""
    if not path.is_file() or path.suffix.lower() != ".zip":
        yield path
        return
    gathered = gather([path])
    problems = [sentence for _, sentence in gathered.refused]
    for candidate in gathered.candidates:
        if "a radiograph may have" in candidate.refusal:
            problems.append(
                f"{candidate.name} is too large to be unpacked; import its folder with manage.py import_gaze."
            )
        elif candidate.refusal:
            problems.append(candidate.refusal)
    if problems or not gathered.candidates or not gathered.candidates[0].member:
        raise FormatError(problems[0] if problems else f"{path.name} is no zip, or an empty one; pack it again.")
    folder = Path(tempfile.mkdtemp(prefix="gazeroom-gaze-"))
    try:
        for candidate in gathered.candidates:
            # The name within the archive, which `gather` has checked not to lead out of it.
            target = folder / candidate.name.removeprefix(f"{path.name}: ")
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                with candidate.opened() as unpacked:
                    shutil.copyfile(unpacked, target)
            except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, OSError) as error:
                raise FormatError(
                    f"{candidate.name} cannot be unpacked ({type(error).__name__}); pack the zip again."
                ) from None
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _Images:
    """The images of a study's cases, by everything that names one."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self._by_name: dict[str, Image] = {}
        images = Image.objects.filter(case__study_cases__protocol__study=study).select_related("case").distinct()
        for image in images:
            for name in (str(image.pk), image.frame_sha256, image.source_sha256):
                self._by_name[name.lower()] = image
            shown = shown_image(image.case)
            if shown is not None and shown.pk == image.pk:
                self._by_name[image.case.label.lower()] = image

    def of(self, found: Found, mapping: Mapping[str, str]) -> Image:
        """The image a recording is of. Raises FormatError where the study has none under its names."""
        for name in (found.id, found.image):
            if name and name in mapping:
                image = self._by_name.get(mapping[name].lower())
                if image is None:
                    raise FormatError(
                        f"The mapping takes {name} to {mapping[name][:60]!r}, which is no image of {self.study}; write "
                        "a case's label, an image's id or its SHA-256."
                    )
                return image
        image = self._by_name.get(found.image.lower()) if found.image else None
        if image is None:
            if not found.image:
                raise FormatError(
                    f"{found.where} does not name its image; name it for the recording {found.id} in a mapping CSV "
                    "(recording,image)."
                )
            raise FormatError(
                f"{found.where} is of the image {found.image[:80]!r}, which {self.study} does not hold under that "
                "name; match it in a mapping CSV (recording,image)."
            )
        return image


def _import_one(
    found: Found,
    format: str,
    study: Study,
    actor: User | None,
    told: Told,
    images: _Images,
    report: GazeImport,
) -> None:
    try:
        image = images.of(found, told.mapping)
        files = {name: hashlib.sha256(data).hexdigest() for name, data in found.sources.items()}
        digest = provenance.digest(files)
        known = ImportedGaze.objects.filter(study=study, source_sha256=digest).select_related("image__case").first()
        if known is not None and known.image_id != image.pk:
            raise FormatError(
                f"{found.where} is already here as a recording on {known.image}; it cannot be of {image} as well."
            )
        reading = found.reading((image.rows, image.columns))
    except FormatError as refusal:
        report.refused.append((found.id, str(refusal)))
        return
    inputs = {"files": files, "image": image.frame_sha256, "told": told.used(), "format": format}
    degrees = bool(np.isfinite(reading.track.ppd_x).any())
    if known is not None:
        here = f"{found.id} is already here, on {known.image.case}"
        latest = known.recording.tracks.first()
        before = latest.inputs["told"] if latest else {}
        if any(value and not told.used().get(name) for name, value in before.items()):
            # Less is told than was: the track stays, which knows more.
            report.already_here.append((found.id, f"{here}."))
        elif _track(known.recording, reading, inputs):
            report.made_again.append((found.id, f"{here}; its track was made again with what is told now."))
        else:
            other = "" if before == told.used() else "; its track by other settings, told later, is the one in use"
            report.already_here.append((found.id, f"{here}{other}."))
            report.undegreed += not degrees
        return
    try:
        recording = _store(found, reading, format, study, image, actor, told, files, digest, inputs)
    except IntegrityError:
        # Another import of the same files was faster; anything else is a fault of ours and is raised.
        if not ImportedGaze.objects.filter(study=study, source_sha256=digest).exists():
            raise
        report.already_here.append((found.id, f"{found.id} is already here, on {image.case}."))
        return
    report.imported.append(recording)
    report.undegreed += not degrees
    if found.remark:
        report.remarks.append(found.remark)


def _store(
    found: Found,
    reading: Reading,
    format: str,
    study: Study,
    image: Image,
    actor: User | None,
    told: Told,
    files: dict[str, str],
    digest: str,
    inputs: dict[str, Any],
) -> Recording:
    now = timezone.now()
    recording = Recording(id=uuid4(), kind=Recording.Kind.IMPORTED, state=Recording.State.PROCESSED, sealed_at=now)
    with transaction.atomic():
        recording.save(force_insert=True)
        ImportedGaze.objects.create(
            recording=recording,
            study=study,
            image=image,
            reader_code=_reader(told.reader, found.reader, format, study),
            format=format,
            source_sha256=digest,
            files=files,
            settings_used=told.used(),
            actor=actor,
        )
        _track(recording, reading, inputs)
    return recording


def _reader(told: str, named: str, format: str, study: Study) -> str:
    """A pseudonym that is no enrolled reader's of the study: their codes are in results and releases.

    What is told; what the file says where it is a pseudonym of this site already; a code for it where it is not; the
    format's name where neither says anything.
    """
    told, named = _printable(told), _printable(named)
    known = Enrolment.objects.filter(reader_code=named), ImportedGaze.objects.filter(reader_code=named)
    if told or not named:
        code = told[:23] or format
    elif any(rows.exists() for rows in known):
        code = named
    else:
        code = short("R", Pseudonyms(pseudonym_key()).digest("gaze reader", named).hex())
    return f"{code} (import)" if study.enrolments.filter(reader_code=code).exists() else code


def _printable(text: str) -> str:
    return "".join(c for c in text if c.isprintable()).strip()


#: What a track says of its making, at any depth; of a foreign file nothing else is taken.
_FACTS: Final = frozenset(
    {
        "schema", "source", "rate_hz", "samples", "origin_lsl", "duration_s", "data_loss", "cut_off",
        "disorder", *(f.name for f in fields(Disorder)),
        "clock_bound_ms", "clock_drift_ppm", "clock_exchanges", "clock_pieces", "clock_rtt_ms", "tracker_offset_ms",
        "tracker_bound_ms", "states", "states_without_clock",
        "events", "algorithm", "fixations", "saccades", "blinks", "rms_s2s_deg", "std_rms_deg", "bcea_deg2",
        "display", "displays", "display_assumed", *(f.name for f in fields(Display)), "rows", "columns",
    }
)  # fmt: skip
_WORDS: Final = frozenset({SCHEMA, *FORMATS, *ALGORITHMS})


def _facts(value: Any) -> Any:
    """The numbers and known words under known names."""
    if isinstance(value, dict):
        return {name: _facts(one) for name, one in value.items() if name in _FACTS}
    if isinstance(value, list):
        return [_facts(one) for one in value]
    return value if not isinstance(value, str) or value in _WORDS else None


def _track(recording: Recording, reading: Reading, inputs: dict[str, Any]) -> bool:
    """Write the reading's track and sentences; False when the same inputs and code have made one already."""
    inputs_sha256 = provenance.digest(inputs)
    made = {"recording": recording, "inputs_sha256": inputs_sha256, "code_version": code_version()}
    # The schema is what is written here, whatever the file says it was.
    facts = {**_facts(reading.track.meta), "schema": SCHEMA}
    path, sha256 = processing.keep_track(replace(reading.track, meta=facts))
    if GazeTrack.objects.filter(**made).exists():
        return False
    with transaction.atomic():
        track = GazeTrack.objects.create(
            **made,
            path=path,
            sha256=sha256,
            inputs=inputs,
            samples=len(reading.track),
            data_loss=facts["data_loss"],
            clock_bound_ms=facts["clock_bound_ms"],
            fixations=len(reading.track.fixations),
            quality=facts,
        )
        Utterance.objects.bulk_create(
            Utterance(track=track, ordinal=i, text=text.replace("\x00", ""), start_s=start, end_s=end)
            for i, (text, start, end) in enumerate(reading.sentences)
        )
    return True


@cache
def code_version() -> str:
    """The version of processing and of the formats' code."""
    digest = hashlib.sha256(processing.code_version().encode())
    for path in sorted(Path(capture.gaze.formats.__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return f"{processing.code_version().split('+')[0]}+import.{digest.hexdigest()[:16]}"
