"""Taking recorded gaze out of a study, in a format others read.

Pseudonyms only: readers by their code, cases and patients by their labels. While a comparison is blind its export holds
gaze and what was on the screen, and nothing of what was written, of arms or of the truth.
"""

from __future__ import annotations

import io
import logging
import re
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from django.db import transaction
from numpy.typing import NDArray

from capture.frames import CLOCK, GAZE, SOURCE, STANDARD_CHANNELS, Frame, FrameError, read_frames
from capture.gaze.formats import dataset
from capture.gaze.formats.errors import FormatError
from capture.gaze.formats.reading import Reading, numbered
from capture.gaze.formats.table import FORMATS, Format
from capture.gaze.formats.xdf import Channel, Stream
from capture.gaze.formats.xdf_reading import raw_stream
from capture.models import GazeTrack, Recording
from capture.queries.recordings import answers_shown, exportable_recordings, image_of_recording
from study.models import AuditEntry, Study, User
from study.services import audit
from study.services.errors import BadInput, Refused

from . import ingest, provenance, store, tracks

log = logging.getLogger(__name__)

#: Raises when what an export of the same track holds changes, so that a folder is written anew.
_VERSION = 2
Progress = Callable[[int, int, str], None]


def format_named(name: str) -> Format:
    """The format. Raises BadInput for an unknown one."""
    if name not in FORMATS:
        raise BadInput(f"{name[:40]!r} is no export format; choose one of {', '.join(FORMATS)}.")
    return FORMATS[name]


def export_study(
    *, study: Study, format: str, out: Path, actor: User | None, progress: Progress | None = None
) -> dataset.Outcome:
    """Write a study's gaze into a folder; an interrupted run continues, an unchanged reading is left as it is.

    Raises
    ------
    Refused
        Nothing to export, an unknown format, or a folder that holds something else.
    """
    chosen = format_named(format)
    recordings = list(exportable_recordings(study))
    if not recordings:
        raise Refused(f"{study} has no recording that became a gaze track; there is nothing to export.")
    items = _items(recordings, study, chosen)
    try:
        outcome = dataset.export(items, out, chosen, progress=progress)
    except FormatError as error:
        raise BadInput(str(error)) from error
    _note(study, chosen, actor, outcome.written + outcome.unchanged)
    return outcome


def zip_study(*, study: Study, format: str, recordings: Sequence[Recording], actor: User) -> Iterator[bytes]:
    """A study's gaze as a zip, made while it is sent. What can be refused is refused before the first byte.

    The iterator touches no database; a reading that the format cannot hold is named in `not-exported.txt`.

    Raises
    ------
    Refused
        Nothing to export, an unknown format, or a track whose file is missing.
    """
    chosen = format_named(format)
    if not recordings:
        raise Refused(f"{study} has no recording that became a gaze track; there is nothing to export.")
    items = _items(recordings, study, chosen)
    _note(study, chosen, actor, len(items))
    return _zipped(items, chosen)


def _note(study: Study, chosen: Format, actor: User | None, count: int) -> None:
    with transaction.atomic():
        audit.record(
            actor=actor,
            act=AuditEntry.Act.EXPORTED,
            subject=f"Study {study.slug}",
            detail={"what": "gaze", "format": chosen.name, "recordings": count, "answers": answers_shown(study)},
        )


# ── one recording as a reading ────────────────────────────────────────────────────────────────────────────────────────


def _items(recordings: Sequence[Recording], study: Study, chosen: Format) -> list[dataset.Item]:
    answers = answers_shown(study)
    out = []
    for recording in recordings:
        row = recording.tracks.first()
        assert row is not None, "exportable recordings have a track"
        if not row.file.exists():
            raise Refused(f"The file of gaze track {row.pk} is missing; process its recording again, then export.")
        made = _describe(recording, row, answers)
        digest = provenance.digest([_VERSION, row.sha256, made])
        out.append(dataset.Item(str(recording.pk), digest, _loader(recording, row, made, raw=chosen.name == "xdf")))
    return out


def _describe(recording: Recording, row: GazeTrack, answers: bool) -> dict[str, Any]:
    """Everything of a reading that is in the database, as JSON values."""
    image = image_of_recording(recording)
    case, calibration = recording.case, recording.calibration
    code = re.sub(r"[^A-Za-z0-9]+", "-", recording.reader_code).strip("-")
    label = re.sub(r"[^A-Za-z0-9]+", "-", case.label).strip("-")
    info: dict[str, Any] = {
        "recording": str(recording.pk),
        "track_sha256": row.sha256,
        "code_version": row.code_version,
        "image_frame_sha256": image.frame_sha256,
        "simulated": recording.study.simulated,
    }
    if calibration is not None:
        info["calibration"] = {
            "accuracy_deg": calibration.accuracy_deg,
            "precision_rms_deg": calibration.precision_rms_deg,
            "data_loss": calibration.data_loss,
        }
    device = next(iter(_told(recording, GAZE).values()), {}).get("device")
    if device:
        info["acquisition"] = {key: value for key, value in device.items() if isinstance(value, str | int | float)}
    if recording.read is not None and answers:
        info["assistance"] = recording.read.assignment.arm.assistance
    if recording.read is None:
        info["imported_from"] = recording.imported.format
    return {
        "id": f"{code}-{label}-{recording.pk.hex[:8]}",
        "reader": recording.reader_code,
        "image": str(image.pk),
        "patient": case.patient.pseudonym,
        "study": recording.study.slug,
        "sentences": [(u.text, u.start_s, u.end_s) for u in row.utterances.all()] if answers else [],
        "info": info,
    }


def _loader(recording: Recording, row: GazeTrack, made: dict[str, Any], *, raw: bool) -> Callable[[], Reading]:
    def load() -> Reading:
        try:
            track = tracks.load(row)
            streams = raw_streams(recording) if raw else ()
        except (ValueError, FrameError) as error:
            raise FormatError(str(error)) from error
        return Reading(
            made["id"],
            made["reader"],
            made["image"],
            track,
            made["patient"],
            made["study"],
            tuple((text, start, end) for text, start, end in made["sentences"]),
            streams,
            made["info"],
        )

    return load


def _told(recording: Recording, stream: int) -> dict[str, dict[str, Any]]:
    """What each epoch said of a stream."""
    return {epoch: dict((told.get("streams") or {}).get(str(stream)) or {}) for epoch, told in recording.epochs.items()}


def raw_streams(recording: Recording) -> tuple[Stream, ...]:
    """The recording's stored streams with their LSL times.

    Epochs of the same channels on the same clock are joined in order of time. After a reboot and at another station LSL
    time has another origin: those are streams of their own, in the order they were recorded, each with the offsets that
    were measured on its clock.
    """
    frames: dict[int, dict[str, list[Frame]]] = {}
    for stream, epoch_id, path in store.stored_frames(recording.folder):
        read = list(read_frames(path))
        if read:
            frames.setdefault(stream, {})[str(epoch_id)] = read
    origins = _origins(recording, {epoch for epochs in frames.values() for epoch in epochs})
    out = []
    for stream, epochs in sorted(frames.items()):
        if stream == CLOCK:
            continue
        told = _told(recording, stream)
        layouts: dict[tuple[tuple[Channel, ...], int], list[str]] = {}
        for epoch in sorted(epochs, key=list(origins).index):
            channels = _channels(stream, told.get(epoch, {}), epochs[epoch][0].channels)
            layouts.setdefault((channels, origins[epoch]), []).append(epoch)
        for number, ((channels, origin), names) in enumerate(layouts.items(), start=1):
            samples = np.concatenate([frame.samples for name in names for frame in epochs[name]])
            samples = samples[np.argsort(samples[:, 0], kind="stable")]
            about = told.get(names[0], {})
            clock = _clock(frames.get(CLOCK, {}), [epoch for epoch in origins if origins[epoch] == origin])
            title = str(about.get("name") or ("gaze" if stream == GAZE else f"stream-{stream}"))
            out.append(
                raw_stream(
                    name=title if number == 1 else f"{title}-{number}",
                    kind="Gaze" if stream == GAZE else str(about.get("type") or "GazeSource"),
                    samples=samples,
                    channels=channels,
                    rate_hz=float(about.get("rate_hz") or 0.0),
                    # A companion has a clock of its own, which may be another computer's.
                    clock=clock if stream in (GAZE, SOURCE) else clock[:0],
                    source_id=str(about.get("source_id") or ""),
                    acquisition=about.get("device"),
                    display=about.get("display"),
                )
            )
    return tuple(out)


def _origins(recording: Recording, epochs: set[str]) -> dict[str, int]:
    """Which clock each epoch was stamped by, counted from 0; the epochs in the order they were recorded."""
    first: list[dict[str, Any]] = []
    out: dict[str, int] = {}
    for epoch in sorted(epochs, key=lambda e: (ingest.recorded_at(recording, e), e)):
        about = recording.epochs.get(epoch, {})
        known = next((i for i, other in enumerate(first) if ingest.same_clock(about, other)), None)
        if known is None:
            first.append(about)
        out[epoch] = len(first) - 1 if known is None else known
    return out


def _clock(frames: dict[str, list[Frame]], epochs: Sequence[str]) -> NDArray[np.float64]:
    """What was measured of the tracker's clock in these epochs, [K, 4]."""
    parts = [frame.samples for epoch in epochs for frame in frames.get(epoch, ()) if frame.samples.shape[1] == 4]
    return np.concatenate([np.zeros((0, 4)), *parts])


def _channels(stream: int, told: dict[str, Any], width: int) -> tuple[Channel, ...]:
    if stream == GAZE and width == len(STANDARD_CHANNELS):
        return STANDARD_CHANNELS
    labels = [str(label) for label in told.get("labels") or ()]
    units = [str(unit) for unit in told.get("units") or ()]
    labels = labels if len(labels) == width else [f"channel{i}" for i in range(1, width + 1)]
    units = units if len(units) == width else [""] * width
    return tuple((label, label, unit, "") for label, unit in zip(labels, units, strict=True))


# ── a zip while it is sent ────────────────────────────────────────────────────────────────────────────────────────────


class _Sink(io.RawIOBase):
    """Where a zip is written that nobody can seek in; `take` gives what came since."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        out = b"".join(self._parts)
        self._parts.clear()
        return out


#: Already packed: packing again costs time and saves nothing.
_PACKED = (".gz", ".parquet")


def _zipped(items: Sequence[dataset.Item], chosen: Format) -> Iterator[bytes]:
    sink = _Sink()
    rows: list[dict[str, Any]] = []
    left_out: list[str] = []
    folder = Path(tempfile.mkdtemp(prefix="gazeroom-export-"))
    try:
        with zipfile.ZipFile(sink, "w") as archive:
            for number, item in enumerate(items, start=1):
                part = folder / "part"
                part.mkdir()
                try:
                    rows.append(chosen.write(numbered(item.load(), number), part))
                except FormatError as refusal:
                    left_out.append(str(refusal))
                else:
                    yield from _packed(archive, part, sink)
                shutil.rmtree(part)
            part = folder / "part"
            part.mkdir()
            chosen.finish(part, rows)
            if left_out:
                (part / "not-exported.txt").write_text("\n".join(left_out) + "\n", encoding="utf-8")
            yield from _packed(archive, part, sink)
        yield sink.take()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _packed(archive: zipfile.ZipFile, part: Path, sink: _Sink) -> Iterator[bytes]:
    for path in sorted(p for p in part.rglob("*") if p.is_file()):
        method = zipfile.ZIP_STORED if path.suffix in _PACKED else zipfile.ZIP_DEFLATED
        info = zipfile.ZipInfo.from_file(path, path.relative_to(part).as_posix())
        info.compress_type = method
        with path.open("rb") as source, archive.open(info, "w") as target:
            while block := source.read(2**20):
                target.write(block)
                if data := sink.take():
                    yield data


__all__ = ["FORMATS", "export_study", "format_named", "raw_streams", "zip_study"]
