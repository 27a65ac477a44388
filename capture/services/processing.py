"""From a recording to a GazeTrack and Utterances: when, and how.

The order of events is: the agent stops, its epoch is sealed, the page's states are acknowledged, the read is submitted.
Whichever of sealing and submission comes last wakes the task; the reaper finds what was missed. Processing is
idempotent: the track's inputs are named by hash, and the same inputs under the same code are not processed twice.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np
from celery.exceptions import SoftTimeLimitExceeded
from django.conf import settings
from django.db import transaction
from django.utils import timezone
from numpy.typing import NDArray

import capture.gaze
from capture.frames import CLOCK, CLOCK_CHANNELS, GAZE, GAZE_CHANNELS, Frame, FrameError, read_frames
from capture.gaze import clocks
from capture.gaze.calibration import IDENTITY
from capture.gaze.display import Display
from capture.gaze.mapping import ViewportStates
from capture.gaze.stretches import Stretch
from capture.gaze.track import GazeTrack as Track
from capture.gaze.track import join_tracks
from capture.models import Calibration, Gap, GazeTrack, Recording, Utterance
from capture.queries.recordings import awaiting_processing
from study.models import Image, Read, Stage, Transcript
from study.queries.reading import image_of
from study.services import blobs

from . import gaps, ingest, provenance, sending, store

log = logging.getLogger(__name__)

#: How long after submission a station may take to upload the rest before what is there is processed.
PATIENCE = timedelta(minutes=10)
#: Going back by more than this is another page's clock; the log's own order never does.
_NEW_CLOCK_MS = 1000.0

Floats = NDArray[np.float64]


class Unprocessable(Exception):  # noqa: N818 - it names a property of the recording
    """This recording cannot become a track. The message is one sentence."""


# ── when ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def enqueue(recording_id: UUID | str) -> None:
    """Start the task once the present transaction has committed.

    A broker that is away must not undo a submission or a seal: the failure is logged, and the reaper starts the task.
    """
    from capture.tasks import process_recording

    sending.when_committed(process_recording, recording_id=str(recording_id))


def wake(*, recording_id: UUID) -> None:
    """Something arrived: process if the read is submitted and nothing is outstanding."""
    if is_due(Recording.objects.select_related("read").get(pk=recording_id)):
        enqueue(recording_id)


def wake_if_late(*, recording_id: UUID) -> None:
    """States or exchanges came after the track was made: make it again with them."""
    late = Recording.objects.filter(pk=recording_id, state__in=[Recording.State.PROCESSED, Recording.State.FAILED])
    if late.exists():
        enqueue(recording_id)


def is_due(recording: Recording, *, now: Any = None) -> bool:
    """Whether the recording can be processed: submitted, and sealed or waited for long enough."""
    read = recording.read
    if read is None or read.state != Read.State.SUBMITTED or read.submitted_at is None:
        return False
    if recording.epochs and not ingest.open_epochs(recording):
        return True
    return bool((now or timezone.now()) - read.submitted_at >= PATIENCE)


def reap() -> int:
    """Start the task for every recording that is due, has no track and is not being made now; returns how many.

    A second task of a recording that is being made would wait for the first and keep a worker from the others.
    """
    due = [r for r in awaiting_processing().select_related("read") if is_due(r) and not _is_being_made(r)]
    for recording in due:
        enqueue(recording.pk)
    return len(due)


# ── how ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


def process(*, recording_id: UUID | str) -> GazeTrack | None:
    """Make the recording's track, or find that it exists; None when it is not due or cannot be made.

    What cannot be made is recorded as failed with a sentence; later data or a repaired station start it again.
    """
    recording = Recording.objects.select_related("read__assignment__case", "calibration").get(pk=recording_id)
    if not is_due(recording):
        return None
    with _alone(recording):
        recording.refresh_from_db(fields=["epochs", "calibration"])
        seen = _epochs(recording)
        try:
            track = _make(recording, seen)
        except (Unprocessable, FrameError) as reason:
            _fail(recording, seen, str(reason))
            return None
        except SoftTimeLimitExceeded:
            # Not left to the reaper, which would start it again for ever.
            _fail(recording, seen, "Making the gaze track took too long and was stopped.")
            return None
    return track


def _epochs(recording: Recording) -> str:
    """What there is of epochs, and which are open, as a hash."""
    return provenance.digest([recording.epochs, sorted(ingest.open_epochs(recording))])


def _conclude(recording: Recording, seen: str, failure: str = "") -> None:
    """Processed, or failed for a reason.

    Not if an epoch was begun or sealed since `seen`: the reaper looks no more at what is processed or failed.
    """
    with transaction.atomic():
        now = Recording.objects.select_for_update().get(pk=recording.pk)
        if _epochs(now) == seen:
            now.state, now.failure = Recording.State.FAILED if failure else Recording.State.PROCESSED, failure
            now.save(update_fields=["state", "failure"])


def _fail(recording: Recording, seen: str, sentence: str) -> None:
    log.warning("recording %s cannot be processed: %s", recording.pk, sentence)
    _conclude(recording, seen, sentence[:300])


def _make(recording: Recording, seen: str) -> GazeTrack:
    assert recording.read is not None
    image = image_of(recording.read)
    transcript = Transcript.objects.filter(read=recording.read, stage=Stage.FINAL).first()
    inputs = _inputs(recording, image, transcript)
    digest = provenance.digest(inputs)
    known = GazeTrack.objects.filter(recording=recording, inputs_sha256=digest, code_version=code_version()).first()
    if known is not None and known.file.exists():
        _conclude(recording, seen)
        return known

    built, clock = _build(recording, image)
    path, sha256 = keep_track(built)
    utterances = _utterances(transcript, clock, built)
    with transaction.atomic():
        if known is not None:
            _conclude(recording, seen)
            return known  # the file was missing and is there again
        track = GazeTrack.objects.create(
            recording=recording,
            path=path,
            sha256=sha256,
            inputs=inputs,
            inputs_sha256=digest,
            code_version=code_version(),
            samples=len(built),
            data_loss=built.meta["data_loss"],
            clock_bound_ms=built.meta["clock_bound_ms"],
            fixations=len(built.fixations),
            quality=built.meta,
        )
        Utterance.objects.bulk_create(
            Utterance(track=track, ordinal=i, text=text, start_s=start, end_s=end)
            for i, (text, start, end) in enumerate(utterances)
        )
        gaps.keep(_unsealed_gaps(recording))
        _conclude(recording, seen)
    return track


def _build(recording: Recording, image: Image) -> tuple[Track, clocks.ClockFit]:
    stretches = _stretches(recording)
    if not stretches:
        raise Unprocessable("No gaze sample arrived for this read.")
    records, exchanges = page_log(recording)
    if not len(records):
        raise Unprocessable("No viewport state arrived for this read, so gaze has no image under it.")
    try:
        timed = state_times(records, exchanges)
        # Between one page and the next the image was not on the screen.
        shown = [r for r, tied in zip(records, timed.tied, strict=True) if tied]
        shown += [{**records[i], "visible": False} for i, _ in timed.left]
        times = np.r_[timed.times[timed.tied], [t for _, t in timed.left]]
        longest = max(stretches, key=lambda s: len(s.samples))
        states = ViewportStates.from_records(
            shown, times, rows=image.rows, columns=image.columns, display=longest.display
        )
        lost = sum(g.missing or 0 for g in recording.gaps.filter(kind=Gap.Kind.SAMPLES, stream=GAZE))
        built = join_tracks(stretches, states=states, clock=timed.clock, lost=lost)
    except ValueError as error:
        raise Unprocessable(str(error)) from error
    if not (built.state >= 0).any():
        raise Unprocessable("Gaze and viewport were never recorded at the same time; look at the station's clock.")
    untied = int((~timed.tied).sum())
    built.meta.update(_tracker_clock(stretches), states_without_clock=untied)
    return built, timed.clock


def _stretches(recording: Recording) -> list[Stretch]:
    """What each epoch recorded, sealed or not, under the display and the calibration that held in it."""
    found: dict[UUID, dict[int, list[Frame]]] = {}
    for stream, epoch, path in store.stored_frames(recording.folder):
        if stream in (GAZE, CLOCK):
            found.setdefault(epoch, {})[stream] = list(read_frames(path))
    used = {str(c.pk): c for c in _calibrations(recording)}
    out = []
    for epoch, streams in found.items():
        frames = streams.get(GAZE, [])
        if not frames:
            continue
        width = 1 + len(GAZE_CHANNELS)
        if any(frame.samples.shape[1] != width for frame in frames):
            raise Unprocessable(f"Epoch {epoch} has gaze frames without the {width - 1} standard channels.")
        told = recording.epochs.get(str(epoch), {})
        # Epochs of before each named its calibration are under the recording's.
        held = used.get(str(told["calibration"])) if "calibration" in told else recording.calibration
        measured = told.get("streams", {}).get(str(GAZE), {}).get("display") or (held.display if held else {})
        try:
            display = Display.from_dict(measured)
        except ValueError as error:
            raise Unprocessable(str(error)) from error
        clock = [f.samples for f in streams.get(CLOCK, []) if f.samples.shape[1] == 1 + len(CLOCK_CHANNELS)]
        out.append(
            Stretch(
                np.concatenate([f.samples for f in frames]),
                display,
                held.correction if held else {"left": IDENTITY, "right": IDENTITY},
                np.concatenate(clock) if clock else None,
            )
        )
    return out


def _calibrations(recording: Recording) -> Iterable[Calibration]:
    named = {told.get("calibration") for told in recording.epochs.values()} | {recording.calibration_id}
    return Calibration.objects.filter(pk__in=[c for c in named if c])


def _tracker_clock(stretches: list[Stretch]) -> dict[str, Any]:
    """How far the tracker's clock was from the agent's, and how sure that is."""
    timed = [(s.samples[np.isfinite(s.samples[:, 0]), 0], s.clock) for s in stretches if s.clock is not None]
    found = [clocks.tracker_offset(t[:1], measured) for t, measured in timed if len(t)]
    known = [(float(offset[0]), bound) for offset, bound in found if bound is not None]
    if not known:
        return {"tracker_offset_ms": None, "tracker_bound_ms": None}
    offset, _ = known[0]
    return {"tracker_offset_ms": 1000 * offset, "tracker_bound_ms": 1000 * max(bound for _, bound in known)}


def page_log(recording: Recording) -> tuple[list[dict[str, Any]], Floats]:
    """The page's viewport states [M], and its clock exchanges [N, 5]: the four times and the page that made them.

    NaN stands for the page in logs of before pages had names.
    """
    records = store.read_journal(ingest.journal_path(recording, "states"))
    rows = store.read_journal(ingest.journal_path(recording, "clock"))
    return records, np.array([[*row, np.nan][:5] for row in rows], dtype=np.float64).reshape(-1, 5)


class Timed(NamedTuple):
    """The page's log in LSL time.

    times [M] of the states, NaN where not tied; tied [M], whether the state's page ever exchanged clocks with the
    agent; left: the last state and the LSL time of each page that another one followed; clock: the fit, with the worst
    bound.
    """

    times: Floats
    tied: NDArray[np.bool_]
    left: list[tuple[int, float]]
    clock: clocks.ClockFit


def state_times(records: list[dict[str, Any]], exchanges: Floats) -> Timed:
    """When each state was on the screen, in LSL time, each page by its own exchanges.

    A page loaded again keeps the first page's time origin as the wall clock tells it, which may have been set
    meanwhile: the clocks are tied anew. Raises ValueError when no page exchanged clocks with the agent.
    """
    t = np.array([r["t"] for r in records], dtype=np.float64)
    times = np.full(len(t), np.nan)
    fits: list[clocks.ClockFit] = []
    ends: list[tuple[int, float]] = []
    pages = _pages(records, t, exchanges)
    for states, own in pages:
        try:
            fit = clocks.fit(own)
        except ValueError:
            if len(pages) == 1:
                raise
            continue
        times[states] = fit.to_lsl(t[states])
        fits.append(fit)
        if states is not pages[-1][0]:
            ends.append((int(states[-1]), float(fit.to_lsl(max(own[-1, 3], t[states[-1]])))))
    if not fits:
        raise ValueError("There is no usable clock exchange between the page and the agent: the clocks cannot be tied.")
    return Timed(times, np.isfinite(times), ends, _whole(fits))


def _pages(records: list[dict[str, Any]], t: Floats, exchanges: Floats) -> list[tuple[NDArray[np.intp], Floats]]:
    """The places of each page's states, and its exchanges [K, 4], in order."""
    names = np.array([r.get("page", np.nan) for r in records], dtype=np.float64)
    out = []
    for name in dict.fromkeys(names[~np.isnan(names)].tolist()):
        out.append((np.flatnonzero(names == name), exchanges[exchanges[:, 4] == name, :4]))
    nameless = np.flatnonzero(np.isnan(names))
    if not len(nameless):
        return out
    # Pages without a name: where a browser had forgotten the first page's origin, time starts anew.
    old = exchanges[np.isnan(exchanges[:, 4]), :4]
    of_states = np.split(nameless, np.flatnonzero(np.diff(t[nameless]) < -_NEW_CLOCK_MS) + 1)
    of_clocks = np.split(old, np.flatnonzero(np.diff(old[:, 0]) < -_NEW_CLOCK_MS) + 1)
    if len(of_states) != len(of_clocks):
        raise ValueError(
            f"The page's states come from {len(of_states)} clocks and its exchanges from {len(of_clocks)}: "
            "they cannot be told apart."
        )
    return [*zip(of_states, of_clocks, strict=True), *out]


def _whole(fits: list[clocks.ClockFit]) -> clocks.ClockFit:
    """One fit of all pages whose times follow one another, else of the last; its bound is the worst of all."""
    pieces = tuple(piece for fit in fits for piece in fit.pieces)
    if any(b.first_s < a.last_s for a, b in pairwise(pieces)):
        pieces = fits[-1].pieces
    count = sum(fit.exchanges for fit in fits)
    drift = clocks.mean_drift([(fit.drift_ppm, fit.exchanges) for fit in fits])
    return clocks.ClockFit(pieces, max(f.bound_s for f in fits), count, drift, max(f.rtt_s for f in fits))


def _utterances(transcript: Transcript | None, clock: clocks.ClockFit, track: Track) -> list[tuple[str, float, float]]:
    """(sentence, start, end) in recording time; sentences without times are left out."""
    out = []
    for said in transcript.sentences if transcript else []:
        start, end, text = said.get("start"), said.get("end"), str(said.get("text", "")).strip()
        if not text or not isinstance(start, (int, float)) or not isinstance(end, (int, float)):
            continue
        begun, ended = clock.to_lsl([start, end]) - track.origin_lsl
        out.append((text, float(begun), float(max(begun, ended))))
    return out


def _inputs(recording: Recording, image: Image, transcript: Transcript | None) -> dict[str, Any]:
    files = {path.name: store.sha256_of(path) for _, _, path in store.stored_frames(recording.folder)}
    for segment in recording.segments.filter(frames__gt=0):
        # A damaged last frame would otherwise pass for one that was never finished.
        if files.get(segment.file.name) != segment.sha256:
            raise Unprocessable(
                f"{segment.file.name} is not what was sealed (SHA-256); restore it from a copy of the recordings, "
                "then run manage.py process_recording."
            )
    for kind in ("states", "clock"):
        path = ingest.journal_path(recording, kind)
        if path.exists():
            files[path.name] = store.sha256_of(path)
    return {
        "files": files,
        "epochs": provenance.digest(recording.epochs),
        "calibration": str(recording.calibration_id) if recording.calibration_id else None,
        "image": image.frame_sha256,
        "sentences": provenance.digest(transcript.sentences if transcript else []),
    }


def _unsealed_gaps(recording: Recording) -> list[Gap]:
    """What an epoch that was never sealed shows of its gaps, and that its end is unknown."""
    open_now = ingest.open_epochs(recording)
    out: list[Gap] = []
    for stream, epoch, path in store.stored_frames(recording.folder):
        if stream != GAZE or str(epoch) not in open_now:
            continue
        found = list(read_frames(path))
        if not found:
            continue
        samples = np.concatenate([f.samples for f in found])
        out += gaps.sample_gaps(recording, epoch, samples)
        timed = samples[np.isfinite(samples[:, 0]), 0]
        if not len(timed):
            continue  # nothing says when that was
        end = float(timed[-1])
        out.append(
            Gap(recording=recording, kind=Gap.Kind.UNSEALED, stream=stream, epoch=epoch, missing=None, t0=end, t1=end)
        )
    return out


def keep_track(track: Track) -> tuple[str, str]:
    """Store the npz under its hash, whole or not at all; returns its path under the data directory and its SHA-256."""
    data = track.to_bytes()
    sha256 = hashlib.sha256(data).hexdigest()
    relative = Path("tracks") / sha256[:2] / f"{sha256}.npz"
    blobs.write(Path(settings.GAZEROOM_DATA) / relative, data)
    return str(relative), sha256


def _lock_path(recording: Recording) -> Path:
    return recording.folder / "processing.lock"


def _is_being_made(recording: Recording) -> bool:
    try:
        descriptor = os.open(_lock_path(recording), os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


@contextmanager
def _alone(recording: Recording) -> Iterator[None]:
    """One process at a time makes this recording's track."""
    recording.folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(_lock_path(recording), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@cache
def code_version() -> str:
    """The package's version and the SHA-256 of the signal processing's source, shortened."""
    root = Path(capture.gaze.__file__).parent
    return provenance.code_version([*sorted(root.glob("*.py")), *sorted((root / "events").glob("*.py")), __file__])
