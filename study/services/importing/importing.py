"""Take files in: each one wholly, or not at all with one sentence that says why."""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import zipfile
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import DatabaseError, IntegrityError, transaction

from study.dicom.decoding import Decoded, is_dicom
from study.dicom.errors import FileRefused
from study.dicom.pictures import picture_format
from study.dicom.pseudonyms import Pseudonyms, short
from study.dicom.sandbox import Sandbox, borrowed
from study.models import AuditEntry, Case, Image, Patient, ReferenceFinding, ReferenceStandard, User, blob_path
from study.services import audit, blobs, frames

from .gathering import Candidate, gather
from .sidecars import Entry

logger = logging.getLogger(__name__)

Progress = Callable[[int, int, str], None]
"""(files done, files in all, name of the one just done)."""


@dataclass
class ImportReport:
    """What became of every file.

    Attributes
    ----------
    cases
        The cases that the accepted files belong to, those that were already here among them, each once.
    imported
        Images that are new.
    refused
        (file, sentence) of every file that was not taken in.
    already_here
        (file, sentence) of every file whose image was here before.
    """

    cases: list[Case] = field(default_factory=list)
    imported: list[Image] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)
    already_here: list[tuple[str, str]] = field(default_factory=list)

    def _add_case(self, case: Case) -> None:
        if case not in self.cases:
            self.cases.append(case)

    @property
    def summary(self) -> str:
        def images(count: int) -> str:
            return f"{count} image" + ("" if count == 1 else "s")

        parts = [f"{images(len(self.imported))} imported"]
        if self.already_here:
            parts.append(f"{images(len(self.already_here))} already here")
        if self.refused:
            parts.append(f"{len(self.refused)} refused")
        return ", ".join(parts) + "."


class TooManyError(Exception):
    """More files than the caller allows; nothing was imported. `args[0]` is their number."""


def pseudonym_key() -> bytes:
    """The installation's own key, made once and kept beside the data with mode 0600.

    Whoever has it and a patient id can recompute the pseudonym; without it, a patient imported again is a stranger.
    """
    path = Path(settings.GAZEROOM_DATA) / "pseudonym_key"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        # Linked into place whole: another process sees all of the key or none.
        part = path.with_name(f".pseudonym_key-{secrets.token_hex(8)}")
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_bytes(32))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(part, path)
        except FileExistsError:
            pass  # made by another process in between
        finally:
            part.unlink()
    return path.read_bytes()


def import_paths(
    *,
    paths: Iterable[Path | str],
    actor: User | None,
    source: str | None = None,
    progress: Progress | None = None,
    limit: int | None = None,
) -> ImportReport:
    """Import DICOM, PNG and JPEG files, folders and zips of them.

    Each file is one transaction: pixels and truth are all there, or nothing is. Files are decoded in a child process
    (`study.dicom.sandbox`), so that none of them can take this one along.

    Parameters
    ----------
    paths
        Files, folders (searched to the bottom), zips. Sidecars (`sidecars.parse_csv`, `sidecars.parse_truth`) are found
        beside the images.
    actor
        Who imports; None for the system itself.
    source
        What the new cases are called a source of (`Case.Source`); by default told from the files.
    progress
        Called after every file.
    limit
        Most files to accept in one call.

    Raises
    ------
    TooManyError
        More candidates than `limit`.
    ValueError
        An unknown source.
    """
    if source is not None and source not in Case.Source.values:
        raise ValueError(f"The source {source!r} is unknown; use one of {', '.join(Case.Source.values)}.")
    gathered = gather([Path(path) for path in paths])
    if limit is not None and len(gathered.candidates) > limit:
        raise TooManyError(len(gathered.candidates))
    report = ImportReport(refused=list(gathered.refused))
    key = pseudonym_key()
    total = len(gathered.candidates)
    try:
        with borrowed() as sandbox:
            for done, candidate in enumerate(gathered.candidates, start=1):
                try:
                    _import_one(candidate, sandbox, key, source, report)
                except FileRefused as refusal:
                    report.refused.append((candidate.name, refusal.sentence(candidate.name)))
                if progress is not None:
                    progress(done, total, candidate.name)
    finally:
        # Also of a batch that a full disk or Ctrl-C ended: what was taken in by then is here.
        if report.imported:
            # Counts and pseudonyms only: file names are where hospitals write patients' names.
            audit.record(
                actor=actor,
                act=AuditEntry.Act.IMPORT,
                subject=report.summary,
                detail={"images": [str(image.pk) for image in report.imported], "refused": len(report.refused)},
            )
    return report


def _import_one(candidate: Candidate, sandbox: Sandbox, key: bytes, source: str | None, report: ImportReport) -> None:
    if candidate.refusal:
        report.refused.append((candidate.name, candidate.refusal))
        return
    decoded, kind = _decode(candidate, sandbox, key)
    _check_boxes(candidate.entry, decoded)
    sha256 = hashlib.sha256(decoded.source).hexdigest()
    known = Image.objects.filter(source_sha256=sha256).select_related("case").first()
    if known is None:
        try:
            image = _store(decoded, sha256, candidate.entry, source or kind)
        except IntegrityError:
            # Another import of the same file may have been faster; anything else is a fault of ours and is raised.
            known = Image.objects.filter(source_sha256=sha256).select_related("case").first()
            if known is None:
                raise
        else:
            report.imported.append(image)
            report._add_case(image.case)
            return
    said = f"{candidate.name} is already here as {known.case.label}"
    said += "; its reference standard was added." if _add_missing_truth(known, candidate.entry) else "."
    report.already_here.append((candidate.name, said))
    report._add_case(known.case)


def _add_missing_truth(image: Image, entry: Entry | None) -> bool:
    """A truth that comes after its image is taken in while the case has none and no study reads it."""
    if entry is None or entry.findings is None:
        return False
    with transaction.atomic():
        if ReferenceStandard.objects.filter(case=image.case).exists() or image.case.study_cases.exists():
            return False
        _store_truth(image.case, image, entry)
    return True


def _decode(candidate: Candidate, sandbox: Sandbox, key: bytes) -> tuple[Decoded, str]:
    """The decoded file and the source it is of (`Case.Source`), with patient and examination."""
    try:
        with candidate.opened() as path:
            digest = _sha256(path)
            with path.open("rb") as file:
                head = file.read(132)
            if is_dicom(head):
                decoded = sandbox.read(path, kind="dicom", key=key, fallback=digest)
                phantom = candidate.entry is not None and candidate.entry.method == "phantom geometry"
                return _with_entry(decoded, candidate.entry), str(Case.Source.PHANTOM if phantom else Case.Source.DICOM)
            if picture_format(head) is None:
                raise FileRefused(_what_it_is(candidate.name, head))
            if candidate.entry is None:
                raise FileRefused(
                    "has no row in a sidecar CSV; put a CSV with the columns filename,view,patient,spacing_mm,finding,"
                    "side,x0,y0,x1,y1 beside it."
                )
            decoded = sandbox.read(path, kind="picture", key=key, fallback=digest)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise FileRefused(f"cannot be unpacked ({type(error).__name__}); pack the zip again.") from None
    except OSError as error:
        raise FileRefused(
            f"cannot be read ({error.strerror or type(error).__name__}); check its permissions."
        ) from None
    names = Pseudonyms(key)
    patient = names.identity(f"sidecar\\{candidate.entry.patient}" if candidate.entry.patient else f"picture\\{digest}")
    decoded = replace(decoded, patient=patient, examination=names.examination(f"picture\\{digest}"))
    return _with_entry(decoded, candidate.entry), str(Case.Source.PICTURE)


def _with_entry(decoded: Decoded, entry: Entry | None) -> Decoded:
    """The file's own view and spacing go before the sidecar's."""
    if entry is None:
        return decoded
    return replace(decoded, view=decoded.view or entry.view, spacing_mm=decoded.spacing_mm or entry.spacing_mm)


def _what_it_is(name: str, head: bytes) -> str:
    remedy = "import DICOM, PNG, JPEG or a zip of them."
    if not head:
        return f"is empty; {remedy}"
    if Path(name).suffix.lower() in {".dcm", ".dicom", ".ima"}:
        return "is not a DICOM file (its header does not say DICM), whatever its name; export the image as DICOM."
    if name.lower().endswith(".csv"):
        return "is no sidecar (its first line needs the columns filename and finding); mend it or leave it out."
    return f"is neither a DICOM file nor a PNG or JPEG picture; {remedy}"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_boxes(entry: Entry | None, decoded: Decoded) -> None:
    rows, columns = decoded.frame.shape
    for finding in (entry.findings or ()) if entry else ():
        box = finding.box
        # Half a pixel around the outermost centres is still the image.
        if box and not (min(box[0], box[1]) >= -0.5 and box[2] <= columns and box[3] <= rows):
            raise FileRefused(
                f"is {columns} pixels wide and {rows} high, and its sidecar has a box for {finding.finding} "
                f"outside of it ({', '.join(f'{v:g}' for v in box)}); mend the box."
            )


def _store(decoded: Decoded, sha256: str, entry: Entry | None, source: str) -> Image:
    rows, columns = decoded.frame.shape
    frame_path = _frame_path(decoded)
    with _new_blobs(frame_path, blob_path("images", sha256, "")) as mine:
        mine[frame_path] = not frame_path.exists()
        frame_sha256 = frames.store(decoded.frame)
        source_path = blob_path("images", sha256, "")
        mine[source_path] = blobs.write(source_path, decoded.source)
        with transaction.atomic():
            case = _case_of(decoded, source)
            image = Image(
                case=case,
                view=decoded.view,
                rows=rows,
                columns=columns,
                row_spacing_mm=decoded.spacing_mm[0] if decoded.spacing_mm else None,
                column_spacing_mm=decoded.spacing_mm[1] if decoded.spacing_mm else None,
                max_value=int(decoded.frame.max()),
                inverted=decoded.inverted,
                voi=decoded.voi,
                frame_sha256=frame_sha256,
                source_sha256=sha256,
                attributes=decoded.attributes,
            )
            image.save(force_insert=True)
            if entry is not None and entry.findings is not None:
                _store_truth(case, image, entry)
    return image


def _frame_path(decoded: Decoded) -> Path:
    return blob_path("frames", hashlib.sha256(decoded.frame.astype("<u2").tobytes()).hexdigest(), ".u16.zst")


@contextmanager
def _new_blobs(*paths: Path) -> Any:
    """Blobs written inside, taken away again where what should name them was not written."""
    mine = dict.fromkeys(paths, False)
    try:
        yield mine
    except BaseException:
        for path, new in mine.items():
            if new and not _is_named(path):
                path.unlink(missing_ok=True)
        raise


def _is_named(path: Path) -> bool:
    sha256 = path.name.split(".")[0]
    try:
        return (Image.objects.filter(frame_sha256=sha256) | Image.objects.filter(source_sha256=sha256)).exists()
    except DatabaseError:
        return True  # cannot know; an orphan does less harm than a row without its blob


def _case_of(decoded: Decoded, source: str) -> Case:
    """The case of this examination: the images of one study of one patient meet in one case."""
    patient, _ = Patient.objects.get_or_create(
        identity_hmac=decoded.patient, defaults={"pseudonym": short("P", decoded.patient)}
    )
    case, created = Case.objects.get_or_create(
        label=short("C", decoded.examination), defaults={"patient": patient, "source": source}
    )
    if case.patient_id != patient.pk:
        raise FileRefused(
            f"belongs to the examination {case.label}, which is another patient's; correct its Patient ID or its Study "
            "Instance UID."
        )
    if not created and case.study_cases.exists():
        raise FileRefused(
            f"belongs to {case.label}, which a study already reads; a case in a study does not change, import all "
            "of an examination before."
        )
    return case


def _store_truth(case: Case, image: Image, entry: Entry) -> None:
    standard, _ = ReferenceStandard.objects.get_or_create(case=case, defaults={"method": entry.method})
    for finding in entry.findings or ():
        ReferenceFinding.objects.create(
            standard=standard,
            image=image,
            finding=finding.finding,
            side=finding.side,
            box=list(finding.box) if finding.box else None,
            outline=[list(point) for point in finding.outline] if finding.outline else None,
        )
