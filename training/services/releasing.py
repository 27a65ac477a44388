"""Freezing reads into a release: the visits GazeX trains on, and a manifest that names everything they came from."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from django.conf import settings
from django.db import transaction
from numpy.typing import NDArray

from capture.models import GazeTrack, Utterance
from capture.services import tracks
from gazex.findings import FINDINGS
from gazex.schema import SCHEMA, SchemaError, Visit, VisitBox, write_visits
from study.models import AuditEntry, Image, Mark, Read, Response, Stage
from study.queries.reading import image_of
from study.services import audit
from study.services.errors import Refused
from training.models import DatasetRelease, ReleaseRead
from training.queries import eligible_reads

from .code import code_version
from .pixels import frame_for_gazex

MANIFEST = "gazeroom.release/1"
#: A finding counts as seen from "probably present" on.
PRESENT_FROM = 4

Progress = Callable[[int, int], None]


def build_release(*, name: str, actor: Any, user: Any, progress: Progress | None = None) -> DatasetRelease:
    """Freezes the reads that `user` may use now.

    Parameters
    ----------
    name
        What people call the release.
    actor
        Who asked for it, for the audit.
    progress
        Called with (reads done, reads in all).

    Raises
    ------
    Refused
        No eligible reads, a name in use, or the same content released before.
    """
    name = name.strip()
    if not name:
        raise Refused("A release needs a name.")
    if DatasetRelease.objects.filter(name=name).exists():
        raise Refused(f"There is a release called “{name}” already; choose another name.")
    reads = _with_inputs(eligible_reads(user))
    if not reads:
        raise Refused(
            "No read is eligible yet: a release needs submitted, consented reads with processed gaze, of patients who "
            "are in no comparison that is still blinded."
        )
    releases = Path(settings.GAZEROOM_DATA) / "releases"
    releases.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".building-", dir=releases))
    try:
        manifest = export(reads, folder, progress=progress)
        sha256 = hash_of(manifest)
        with transaction.atomic():
            same = DatasetRelease.objects.filter(sha256=sha256).first()
            if same is not None:
                raise Refused(
                    f"Release “{same}” holds exactly these {len(reads)} reads already; nothing new to release."
                )
            still = set(eligible_reads(user).filter(pk__in=[read.pk for read in reads]).values_list("pk", flat=True))
            if len(still) != len(reads):
                raise Refused(
                    f"{len(reads) - len(still)} of the reads stopped being eligible while the release was built; "
                    "build it again."
                )
            release = DatasetRelease(
                name=name, sha256=sha256, manifest=manifest, path=f"releases/{sha256[:12]}", created_by=actor
            )
            release.full_clean()
            release.save()
            ReleaseRead.objects.bulk_create([ReleaseRead(release=release, read=read) for read in reads])
            audit.record(
                actor=actor,
                act=AuditEntry.Act.RELEASE_BUILT,
                subject=f"Release {name}"[:120],
                detail={"sha256": sha256, "reads": len(reads)},
            )
            _put(folder, release.folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return release


def rebuild_release(*, release: DatasetRelease, progress: Progress | None = None) -> None:
    """Makes the release's files again from the raw inputs.

    Raises
    ------
    Refused
        What came out is not what the manifest says: the sentence names the first file that differs.
    """
    reads = _with_inputs(Read.objects.filter(release_reads__release=release))
    folder = Path(tempfile.mkdtemp(prefix=".building-", dir=_made(release.folder.parent)))
    wanted = {row["read"]: row["track_sha256"] for row in release.manifest["reads"]}
    try:
        manifest = export(reads, folder, track_of=wanted, progress=progress)
        then, now = release.manifest["files"], manifest["files"]
        if then != now:
            differing = next(name for name in sorted({*then, *now}) if then.get(name) != now.get(name))
            raise Refused(
                f"{differing} of release “{release}” comes out differently than when it was built by "
                f"{release.manifest['code_version']}; its inputs or the code have changed."
            )
        shutil.rmtree(release.folder, ignore_errors=True)
        _put(folder, release.folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def export(
    reads: Sequence[Read], folder: Path, *, track_of: dict[str, str] | None = None, progress: Progress | None = None
) -> dict[str, Any]:
    """Writes the visits of these reads into `folder` and returns the manifest that describes them.

    `track_of` names the GazeTrack to use by hash (read id → SHA-256); without it each read's latest is used.
    """
    rows: list[dict[str, Any]] = []

    def visits() -> Iterator[tuple[Visit, NDArray[np.uint16]]]:
        cached: tuple[Any, NDArray[np.uint16]] | None = None
        for done, read in enumerate(reads):
            if progress is not None:
                progress(done, len(reads))
            track = _track(read, (track_of or {}).get(str(read.pk)))
            image = image_of(read)
            if cached is None or cached[0] != image.pk:
                cached = (image.pk, frame_for_gazex(image))
            visit = visit_of(read, track, image)
            rows.append(
                {
                    "read": str(read.pk),
                    "reader": visit.reader,
                    "patient": visit.patient,
                    "study": visit.study,
                    "simulated": read.assignment.enrolment.study.simulated,
                    "image_sha256": image.frame_sha256,
                    "track_sha256": track.sha256,
                    "samples": len(visit.t_s),
                    "sentences": len(visit.sentences),
                    "labels": visit.labels,
                }
            )
            yield visit, cached[1]

    try:
        write_visits(folder, visits())
    except SchemaError as error:
        raise Refused(f"The release cannot be written: {error}") from error
    if progress is not None:
        progress(len(reads), len(reads))
    files = {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    return {
        "schema": MANIFEST,
        "visits_schema": SCHEMA,
        "code_version": code_version(),
        "present_from_confidence": PRESENT_FROM,
        "reads": rows,
        "files": files,
    }


def visit_of(read: Read, row: GazeTrack, image: Image) -> Visit:
    """One read as GazeX learns from it: gaze in image px, timed sentences, and what the READER answered.

    The reference standard is not looked at. A finding the reader gave confidence 4 or 5 is there, on a side nobody
    recorded; boxes are the reader's own marks, a point becoming a box without extent is left out.
    """
    try:
        track = tracks.load(row)
    except ValueError as error:
        raise Refused(str(error)) from error
    seen = np.isfinite(track.ppd_x) & np.isfinite(track.ppd_y)
    if not seen.any():
        raise Refused(f"The gaze of read {read.pk} never met its image; invalidate the read or withdraw its track.")
    x, y = track.x.copy(), track.y.copy()
    x[~track.valid] = y[~track.valid] = np.nan
    enrolment = read.assignment.enrolment
    answers = Response.objects.filter(read=read, stage=Stage.FINAL, confidence__gte=PRESENT_FROM).order_by("finding")
    marks = Mark.objects.filter(read=read, stage=Stage.FINAL, shape=Mark.Shape.BOX).order_by("id")
    spoken = Utterance.objects.filter(track=row).order_by("ordinal")
    return Visit(
        id=str(read.pk),
        reader=f"{enrolment.study.slug}:{enrolment.reader_code}",
        patient=read.assignment.case.patient.pseudonym,
        study=enrolment.study.slug,
        image_file=f"images/{image.frame_sha256}{'-inverted' if image.inverted else ''}.png",
        rows=image.rows,
        columns=image.columns,
        t_s=track.t,
        x=x,
        y=y,
        ppd_x=float(np.median(track.ppd_x[seen])),
        ppd_y=float(np.median(track.ppd_y[seen])),
        sentences=[(said.text, float(said.start_s), float(said.end_s)) for said in spoken],
        labels={answer.finding: True for answer in answers if answer.finding in FINDINGS},
        boxes=[VisitBox(mark.finding, "", _ordered(mark.points)) for mark in marks if mark.finding in FINDINGS],
    )


def hash_of(manifest: dict[str, Any]) -> str:
    """SHA-256 of the manifest's canonical JSON."""
    canonical = json.dumps(manifest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _with_inputs(reads: Any) -> list[Read]:
    related = ("assignment__enrolment__study", "assignment__case__patient")
    # By case, so that a frame is decoded once however many readers read it; then by id: the order is the content's.
    return sorted(reads.select_related(*related), key=lambda read: (str(read.assignment.case_id), str(read.pk)))


def _track(read: Read, sha256: str | None) -> GazeTrack:
    found = GazeTrack.objects.filter(recording__read=read)
    track: GazeTrack | None = (found.filter(sha256=sha256) if sha256 else found.order_by("-id")).first()
    if track is None:
        raise Refused(f"The gaze track of read {read.pk} is gone; process its recording again.")
    return track


def _ordered(points: Sequence[float]) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = (float(value) for value in points)
    return min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _put(made: Path, target: Path) -> None:
    """Moves a finished folder to its place; a folder of the same content that is there already is replaced."""
    made.chmod(0o755)
    if target.exists():
        shutil.rmtree(target)
    made.rename(target)
