"""What the two sockets do to the database and the store: begin, seal, and the page's journal.

Blocking functions without HTTP or event loop in them; the consumers run them in threads.
"""

from __future__ import annotations

import math
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from capture.frames import CLOCK, GAZE, SOURCE, read_frames
from capture.models import Gap, Recording, RecordingToken, Segment
from capture.services import stations
from study.services.errors import Refused

from . import gaps, store
from .store import StoreError

STREAMS = (GAZE, CLOCK, SOURCE)
#: A day of reading does not restart an agent this often; a loop would.
MAX_EPOCHS = 200
MAX_ITEMS = 5000
MAX_NOTES = 500


@transaction.atomic
def begin(
    *,
    recording: Recording,
    epoch: UUID,
    streams: dict[str, Any],
    until: datetime | None = None,
    under: RecordingToken | None = None,
    credential: str = "",
) -> None:
    """Note an epoch and what the agent says of its streams. The same epoch again is a reconnection.

    `under` is the agent's token: the epoch keeps its station and its calibration, and only that station's agent, which
    proves itself by `credential`, may use it. `until` is when the token expires; after it, only epochs begun before it
    are continued. Raises StoreError for a token of another station, for any other, when the streams are not streams, or
    when there are too many epochs.
    """
    if under is not None:
        refuse_stranger(under, credential)
    if not streams or any(key not in {str(s) for s in STREAMS} for key in streams):
        raise StoreError(
            f"An epoch has streams 1 (gaze), 2 (clock) and 3 (source); these were announced: {sorted(streams)}."
        )
    for stream, told in streams.items():
        if not isinstance(told, dict) or not _is_storable(told):
            raise StoreError(f"Stream {stream} is announced by an object of finite numbers and text without NUL.")
    recording = Recording.objects.select_for_update().get(pk=recording.pk)
    known = recording.epochs.get(str(epoch))
    now = timezone.now()
    if until is not None and now >= until and (known is None or datetime.fromisoformat(known["at"]) >= until):
        raise StoreError(
            f"Epoch {epoch} was not begun before its token expired: open the read again, if it is not yet submitted."
        )
    if known is not None:
        return
    if len(recording.epochs) >= MAX_EPOCHS:
        raise StoreError(f"Recording {recording.pk} already has {MAX_EPOCHS} epochs: look at the station.")
    recording.epochs[str(epoch)] = {"streams": streams, "at": now.isoformat(), **_held(under)}
    recording.state = Recording.State.RECORDING
    recording.failure = ""
    recording.started_at = recording.started_at or now
    recording.save(update_fields=["epochs", "state", "started_at", "failure"])


def _held(under: RecordingToken | None) -> dict[str, str | None]:
    """Where the epoch was recorded, and which calibration held there."""
    if under is None:
        return {}
    station, calibration = under.station, under.calibration_id
    return {
        "station": str(station.uuid) if station else None,
        "calibration": str(calibration) if calibration else None,
    }


def refuse_stranger(under: RecordingToken, credential: str) -> None:
    """Raises StoreError unless the agent with this credential is the one the token was made for.

    A token of a time before its station was paired, or from before stations were paired at all, proves itself.
    """
    station = under.station
    if station is None or not station.pairings.exists():
        return
    try:
        here = stations.identify(credential=credential)
    except Refused as refusal:
        raise StoreError(refusal.sentence) from refusal
    if here != station:
        raise StoreError(
            f"This token is for {station}, and this computer is paired as {here}: "
            f"what it has recorded as {station} is taken once it is paired as {station} again."
        )


def _is_storable(told: Any) -> bool:
    """Whether every database's JSON holds it: NaN, NUL and half a surrogate pair pass Python's parser, not theirs."""
    waiting = [told]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            waiting += [*one.keys(), *one.values()]
        elif isinstance(one, list):
            waiting += one
        elif isinstance(one, float):
            if not math.isfinite(one):
                return False
        elif isinstance(one, str) and any(c == "\0" or "\ud800" <= c <= "\udfff" for c in one):
            return False
    return True


def sealed_frames(*, recording: Recording, epoch: UUID) -> dict[int, int]:
    """Frames of each stream of a sealed epoch; empty while it is open."""
    return dict(Segment.objects.filter(recording=recording, epoch=epoch).values_list("stream", "frames"))


def is_sealed(recording: Recording, epoch: UUID) -> bool:
    return Segment.objects.filter(recording=recording, epoch=epoch).exists()


def seal(
    *, recording: Recording, epoch: UUID, told: dict[str, Any], reported_gaps: Any = None, notes: Any = None
) -> None:
    """Verify what is stored of an epoch against the agent's counts and hashes, and record it as Segments for good.

    `told` is `{"1": {"frames", "sha256"}, "2": …}`. Sealing what is sealed already changes nothing. When no epoch of
    the recording is left open, the recording is sealed. `notes` is what the agent heard from its tracker meanwhile; it
    is kept with the epoch.

    Raises
    ------
    StoreError
        Counts or hashes differ, or a stored stream is not mentioned. Nothing is written.
    """
    if is_sealed(recording, epoch):
        return
    segments, found = _segments(recording, epoch, told)
    gaze = [s for s in segments if s.stream == GAZE and s.samples]
    rows: list[Gap] = list(gaps.silence_gaps(recording, epoch, reported_gaps))
    for segment in gaze:
        rows += gaps.sample_gaps(recording, epoch, found[segment.stream])
    with transaction.atomic():
        locked = Recording.objects.select_for_update().get(pk=recording.pk)
        if is_sealed(locked, epoch):
            return  # another connection got there first
        rows += _between(locked, gaze)
        Segment.objects.bulk_create(segments)
        Gap.objects.bulk_create(rows, ignore_conflicts=True)
        if isinstance(notes, list) and notes and _is_storable(notes):
            locked.epochs[str(epoch)]["notes"] = notes[:MAX_NOTES]
            locked.save(update_fields=["epochs"])
        if not open_epochs(locked):
            locked.state = Recording.State.SEALED
            locked.sealed_at = timezone.now()
            locked.save(update_fields=["state", "sealed_at"])
    for segment in segments:
        if segment.file.exists():
            segment.file.chmod(0o400)


def open_epochs(recording: Recording) -> set[str]:
    """Epochs that have begun and are not sealed."""
    sealed = {str(e) for e in Segment.objects.filter(recording=recording).values_list("epoch", flat=True)}
    return set(recording.epochs) - sealed


def _segments(
    recording: Recording, epoch: UUID, told: dict[str, Any]
) -> tuple[list[Segment], dict[int, np.ndarray[Any, np.dtype[np.float64]]]]:
    segments, found = [], {}
    for stream in STREAMS:
        path = store.frame_path(recording.folder, stream, epoch)
        claim = told.get(str(stream))
        if claim is None:
            if path.exists() and path.stat().st_size:
                raise StoreError(
                    f"The end of epoch {epoch} does not mention stream {stream}, of which frames are stored."
                )
            continue
        try:
            count, sha256 = int(claim["frames"]), str(claim["sha256"]).lower()
        except (KeyError, TypeError, ValueError) as error:
            raise StoreError(f"The end of epoch {epoch} names no frames and sha256 for stream {stream}.") from error
        frames = list(read_frames(path)) if path.exists() else []
        if len(frames) != count:
            raise StoreError(
                f"Stream {stream} of epoch {epoch}: {len(frames)} frames are stored, the agent has {count}."
            )
        if count and store.sha256_of(path) != sha256:
            raise StoreError(
                f"Stream {stream} of epoch {epoch}: what is stored is not what the agent spooled (SHA-256)."
            )
        if not count:
            sha256 = sha256 if len(sha256) == 64 else ""
        samples = np.concatenate([f.samples for f in frames]) if frames else np.zeros((0, 1))
        found[stream] = samples
        segments.append(
            Segment(
                recording=recording,
                stream=stream,
                epoch=epoch,
                frames=count,
                samples=len(samples),
                sha256=sha256,
                path=str(path.relative_to(Path(settings.GAZEROOM_DATA))),
                t0=float(samples[0, 0]) if len(samples) else None,
                t1=float(samples[-1, 0]) if len(samples) else None,
            )
        )
    if not segments:
        raise StoreError(f"The end of epoch {epoch} names no stream.")
    return segments, found


def _between(recording: Recording, new: list[Segment]) -> list[Gap]:
    """The agent's downtime: from the end of the gaze before each new segment to its start, and after it likewise."""
    known = list(Segment.objects.filter(recording=recording, stream=GAZE, samples__gt=0))
    out = []
    ordered = sorted([*known, *new], key=lambda s: s.t0 or 0.0)
    for before, after in pairwise(ordered):
        if before not in new and after not in new:
            continue
        assert before.t1 is not None and after.t0 is not None
        if after.t0 > before.t1:
            out.append(
                Gap(
                    recording=recording,
                    kind=Gap.Kind.BETWEEN,
                    stream=GAZE,
                    epoch=after.epoch,
                    missing=None,
                    t0=before.t1,
                    t1=after.t0,
                )
            )
    return out


# ── the page ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def journal_path(recording: Recording, kind: str) -> Path:
    """`kind` is states or clock."""
    return recording.folder / f"{kind}.jsonl"


def check_items(kind: str, start: Any, items: Any) -> list[Any]:
    """The items of a page message if they are what they should be. Raises StoreError naming the first that is not."""
    if not isinstance(start, int) or start < 0 or not isinstance(items, list):
        raise StoreError(f"A {kind} message has a number to start from and a list of items.")
    if len(items) > MAX_ITEMS:
        raise StoreError(f"At most {MAX_ITEMS} items fit in one message; {len(items)} came.")
    for place, item in enumerate(items, start):
        # The fifth number of an exchange says which page made it; older pages had none.
        good = _is_state(item) if kind == "states" else _is_numbers(item, 4) or _is_numbers(item, 5)
        if not good:
            raise StoreError(f"Item {place} of {kind} is not understood; nothing of this message is stored.")
    return items


def _is_state(item: Any) -> bool:
    return (
        isinstance(item, dict)
        and _is_numbers(item.get("a"), 6)
        and _is_numbers(item.get("rect"), 4)
        and _is_numbers([item.get(k) for k in ("t", "dpr", "screenX", "screenY")], 4)
        and abs(item["a"][0] * item["a"][3] - item["a"][1] * item["a"][2]) > 1e-12
        and item["dpr"] > 0
        and isinstance(item.get("visible"), bool)
        and isinstance(item.get("view"), dict)
    )


def _is_numbers(value: Any, n: int) -> bool:
    return (
        isinstance(value, list)
        and len(value) == n
        and all(isinstance(v, (int, float)) and not isinstance(v, bool) and math.isfinite(v) for v in value)
    )
