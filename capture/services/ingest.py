"""What the two sockets do to the database and the store: begin, seal, and the page's journal.

Blocking functions without HTTP or event loop in them; the consumers run them in threads.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from capture.agent.gaps import GapFinder
from capture.frames import (
    CLOCK,
    CLOCK_CHANNELS,
    FIRST_COMPANION,
    GAZE,
    GAZE_CHANNELS,
    MAX_COMPANIONS,
    SOURCE,
    read_decoded,
)
from capture.models import DeliveryPermit, Gap, Recording, RecordingToken, Segment
from capture.services import stations
from study.services.errors import Refused

from . import gaps, store
from .store import StoreError

log = logging.getLogger(__name__)

STREAMS = (GAZE, CLOCK, SOURCE)
#: A day of reading does not restart an agent this often; a loop would.
MAX_EPOCHS = 200
MAX_ITEMS = 5000
MAX_NOTES = 500
#: A station's wall clock may be wrong by so much and still say when an epoch was recorded.
CLOCK_TOLERANCE = timedelta(minutes=10)
#: Two epochs whose LSL clocks began at the same moment, within so many seconds, share that clock.
SAME_CLOCK_S = 60.0


@transaction.atomic
def begin(
    *,
    recording: Recording,
    epoch: UUID,
    streams: dict[str, Any],
    until: datetime | None = None,
    under: RecordingToken | None = None,
    credential: str = "",
    began: Any = None,
) -> None:
    """Note an epoch and what the agent says of its streams. The same epoch again is a reconnection.

    `under` is the agent's token: the epoch keeps its station and its calibration, and only that station's agent, which
    proves itself by `credential`, may use it. `until` is when the token expires; after it, only epochs are taken that
    were recorded before it: those begun here before, and those of which the station says so (`began`, its clocks when
    the epoch began: `{"lsl", "utc", "boot"}`). A station that was offline for the whole of a read holds the only copy
    of it. Whose clock was wrong is taken under a `DeliveryPermit`.

    Raises StoreError for a token of another station, for any other epoch, when the streams are not streams or not those
    this epoch was begun with, or when there are too many epochs.
    """
    if under is not None:
        refuse_stranger(under, credential)
    if not streams or not all(_is_stream(key) for key in streams):
        raise StoreError(
            "An epoch has streams 1 (gaze), 2 (clock), 3 (source) and companions from "
            f"{FIRST_COMPANION} to {FIRST_COMPANION + MAX_COMPANIONS - 1}; these were announced: {sorted(streams)}."
        )
    for stream, told in streams.items():
        if not isinstance(told, dict) or not _is_storable(told):
            raise StoreError(f"Stream {stream} is announced by an object of finite numbers and text without NUL.")
    recording = Recording.objects.select_for_update().get(pk=recording.pk)
    known = recording.epochs.get(str(epoch))
    now = timezone.now()
    anchor = _anchor(began)
    if until is not None and now >= until and not _was_recorded_before(until, recording, known, anchor, now):
        raise StoreError(
            f"Epoch {epoch} was not begun before its token expired, by what the station says: open the read again if "
            f"it is not yet submitted; an administrator can allow it with manage.py allow_delivery {recording.pk}."
        )
    if known is not None:
        if known["streams"] != streams:
            raise StoreError(
                f"Epoch {epoch} was begun with other streams than are announced now: "
                "two spools carry the same epoch; look at the station."
            )
        return
    if len(recording.epochs) >= MAX_EPOCHS:
        raise StoreError(f"Recording {recording.pk} already has {MAX_EPOCHS} epochs: look at the station.")
    recording.epochs[str(epoch)] = {"streams": streams, "at": now.isoformat(), **_held(under), **anchor}
    recording.state = Recording.State.RECORDING
    recording.failure = ""
    recording.started_at = recording.started_at or now
    recording.save(update_fields=["epochs", "state", "started_at", "failure"])


def _is_stream(key: Any) -> bool:
    if not isinstance(key, str) or not key.isascii() or not key.isdigit() or len(key) > 2 or str(int(key)) != key:
        return False
    return int(key) in STREAMS or FIRST_COMPANION <= int(key) < FIRST_COMPANION + MAX_COMPANIONS


def channels_of(stream: int, told: dict[str, Any]) -> int | None:
    """How many channels the frames of a stream must have, as it was announced; None where that was not said."""
    if stream == GAZE:
        return len(GAZE_CHANNELS)
    if stream == CLOCK:
        return len(CLOCK_CHANNELS)
    labels = told.get("labels")
    return len(labels) if isinstance(labels, list) else None


def _anchor(began: Any) -> dict[str, Any]:
    """`{"began": {"lsl", "utc", "boot"}}` if the station said so in numbers that are times, else nothing."""
    if not isinstance(began, dict) or not _is_numbers([began.get("lsl"), began.get("utc")], 2):
        return {}
    boot = began.get("boot")
    boot = boot[:64] if isinstance(boot, str) and _is_storable(boot) else ""
    return {"began": {"lsl": float(began["lsl"]), "utc": float(began["utc"]), "boot": boot}}


def _was_recorded_before(
    until: datetime, recording: Recording, known: dict[str, Any] | None, anchor: dict[str, Any], now: datetime
) -> bool:
    """Whether an epoch that comes after its token expired was recorded while the token was good."""
    if known is not None and datetime.fromisoformat(known["at"]) < until:
        return True
    if DeliveryPermit.objects.filter(recording=recording, expires_at__gt=now).exists():
        return True
    if not anchor:
        return False
    try:
        told = datetime.fromtimestamp(anchor["began"]["utc"], UTC)
    except (ValueError, OverflowError, OSError):
        return False
    over = recording.read.submitted_at if recording.read is not None else None
    end = min(until, over) if over is not None else until
    return bool(recording.created_at - CLOCK_TOLERANCE <= told < end + CLOCK_TOLERANCE)


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
    """Whether every database's JSON holds it, and float64 its numbers: NaN, an integer of 400 digits, NUL and half a
    surrogate pair pass Python's parser."""
    waiting = [told]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            waiting += [*one.keys(), *one.values()]
        elif isinstance(one, list):
            waiting += one
        elif isinstance(one, int | float):
            if not abs(one) < gaps.MAX_VALUE:
                return False
        elif isinstance(one, str) and any(c == "\0" or "\ud800" <= c <= "\udfff" for c in one):
            return False
    return True


def sealed_frames(*, recording: Recording, epoch: UUID) -> dict[int, int]:
    """Frames of each stream of a sealed epoch; empty while it is open."""
    return dict(Segment.objects.filter(recording=recording, epoch=epoch).values_list("stream", "frames"))


def is_sealed(recording: Recording, epoch: UUID) -> bool:
    return Segment.objects.filter(recording=recording, epoch=epoch).exists()


@dataclass(frozen=True)
class Verified:
    """What is stored of an epoch, read again from the disk and found to be what the agent spooled."""

    segments: list[Segment]
    finders: dict[int, GapFinder]


def seal(
    *,
    recording: Recording,
    epoch: UUID,
    told: dict[str, Any],
    reported_gaps: Any = None,
    notes: Any = None,
    until: Any = None,
    verified: Verified | None = None,
) -> None:
    """Verify what is stored of an epoch against the agent's counts and hashes, and record it as Segments for good.

    `told` is `{"1": {"frames", "sha256"}, "2": …}`. Sealing what is sealed already changes nothing. When no epoch of
    the recording is left open, the recording is sealed. `notes` is what the agent heard from its tracker meanwhile; it
    is kept with the epoch, and so is `until`, after which nothing was to be recorded (LSL seconds; None where the agent
    died on it). `verified` is the answer of `verify` where that has been asked already.

    Raises
    ------
    StoreError
        Counts or hashes differ, or a stored stream is not mentioned. Nothing is written.
    """
    if is_sealed(recording, epoch):
        return
    if verified is None:
        verified = verify(recording, epoch, told)
    found = verified.finders
    rows: list[Gap] = gaps.silence_gaps(recording, epoch, reported_gaps, {s: f.samples for s, f in found.items()})
    for stream, finder in found.items():
        if stream == GAZE or stream >= FIRST_COMPANION:
            rows += gaps.rows_of(recording, epoch, finder)
    faults = {str(stream): finder.faults for stream, finder in found.items() if finder.faults}
    with transaction.atomic():
        locked = Recording.objects.select_for_update().get(pk=recording.pk)
        if is_sealed(locked, epoch):
            return  # another connection got there first
        Segment.objects.bulk_create(verified.segments)
        open_now = open_epochs(locked)
        rows += _between(locked, open_now)
        gaps.keep(rows)
        about = locked.epochs.get(str(epoch))
        if about is not None:
            if isinstance(notes, list) and notes and _is_storable(notes):
                about["notes"] = notes[:MAX_NOTES]
            if _is_numbers([until], 1):
                about["until"] = float(until)
            if faults:
                about["faults"] = faults
            locked.save(update_fields=["epochs"])
        if not open_now:
            locked.state = Recording.State.SEALED
            locked.sealed_at = timezone.now()
            locked.save(update_fields=["state", "sealed_at"])
    for which, sentences in faults.items():
        log.warning("epoch %s, stream %s is stored as it came: %s", epoch, which, " ".join(sentences))
    for segment in verified.segments:
        if segment.file.exists():
            segment.file.chmod(0o400)


def open_epochs(recording: Recording) -> set[str]:
    """Epochs that have begun and are not sealed."""
    sealed = {str(e) for e in Segment.objects.filter(recording=recording).values_list("epoch", flat=True)}
    return set(recording.epochs) - sealed


def verify(recording: Recording, epoch: UUID, told: dict[str, Any], streams: dict[str, Any] | None = None) -> Verified:
    """Read the stored frames of an epoch once more, in constant memory, and compare them with what the agent has.

    `streams` is how the epoch announced them; by default as the recording holds it. No database is asked.
    Raises StoreError as `seal`.
    """
    streams = recording.epochs.get(str(epoch), {}).get("streams", {}) if streams is None else streams
    segments, finders = [], {}
    stored = {stream: path for stream, of, path in store.stored_frames(recording.folder) if of == epoch}
    for stream in sorted({*stored, *(int(s) for s in told if _is_stream(s))}):
        path = stored.get(stream, store.frame_path(recording.folder, stream, epoch))
        claim = told.get(str(stream))
        if claim is None:
            if path.exists() and path.stat().st_size:
                raise StoreError(
                    f"The end of epoch {epoch} does not mention stream {stream}, of which frames are stored."
                )
            continue
        try:
            count, sha256 = int(claim["frames"]), str(claim["sha256"]).lower()
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise StoreError(f"The end of epoch {epoch} names no frames and sha256 for stream {stream}.") from error
        digest, frames = hashlib.sha256(), 0
        finder = gaps.Waiting(stream, streams.get(str(stream)) or {})
        for data, frame in read_decoded(path) if path.exists() else ():
            digest.update(data)
            frames += 1
            finder.feed(frame.samples)
        if frames != count:
            raise StoreError(f"Stream {stream} of epoch {epoch}: {frames} frames are stored, the agent has {count}.")
        if count and digest.hexdigest() != sha256:
            raise StoreError(
                f"Stream {stream} of epoch {epoch}: what is stored is not what the agent spooled (SHA-256)."
            )
        if not count:
            sha256 = sha256 if len(sha256) == 64 else ""
        finders[stream] = finder.finder
        segments.append(
            Segment(
                recording=recording,
                stream=stream,
                epoch=epoch,
                frames=count,
                samples=finder.finder.samples,
                sha256=sha256,
                path=str(path.relative_to(Path(settings.GAZEROOM_DATA))),
                t0=finder.finder.t0,
                t1=finder.finder.t1,
            )
        )
    if not segments:
        raise StoreError(f"The end of epoch {epoch} names no stream.")
    return Verified(segments, finders)


def _between(recording: Recording, open_now: set[str]) -> list[Gap]:
    """The agent's downtime: from the end of each sealed epoch to the start of the next, stream by stream.

    While an epoch between two sealed ones is still open, nothing is said of what lies between those. Epochs are ordered
    by the stations' wall clocks, because the LSL clock begins anew with every start of the computer and differs from
    station to station.
    """
    by_stream: dict[Any, list[Segment]] = {}
    for segment in Segment.objects.filter(recording=recording, samples__gt=0):
        if segment.stream == GAZE:
            by_stream.setdefault(GAZE, []).append(segment)
        elif segment.stream >= FIRST_COMPANION:
            told = _told(recording, segment)
            by_stream.setdefault((told.get("name"), told.get("source_id")), []).append(segment)
    still_open = [recorded_at(recording, epoch) for epoch in open_now]
    out = []
    for segments in by_stream.values():
        ordered = sorted(segments, key=lambda s: (recorded_at(recording, str(s.epoch)), s.t0 or 0.0))
        for before, after in pairwise(ordered):
            first, last = recorded_at(recording, str(before.epoch)), recorded_at(recording, str(after.epoch))
            if before.epoch == after.epoch or any(first <= place < last for place in still_open):
                continue
            gap = _gap_between(recording, before, after)
            if gap is not None:
                out.append(gap)
    return out


def _gap_between(recording: Recording, before: Segment, after: Segment) -> Gap | None:
    one, other = (recording.epochs.get(str(s.epoch), {}) for s in (before, after))
    began, begun = one.get("began"), other.get("began")
    end = before.t1 if before.t1 is not None else (began or {}).get("lsl")
    start = after.t0 if after.t0 is not None else (begun or {}).get("lsl")
    if end is None or start is None:
        return None
    if began and begun and not same_clock(one, other):
        # In the later epoch's LSL time, by the wall clocks of both.
        silent = (begun["utc"] + start - begun["lsl"]) - (began["utc"] + end - began["lsl"])
        end = start - max(silent, 0.0)
    rate = _told(recording, after).get("rate_hz")
    shortest = 1.5 / rate if isinstance(rate, int | float) and rate > 0 else 0.0
    if start - end <= shortest:
        return None
    return Gap(
        recording=recording,
        kind=Gap.Kind.BETWEEN,
        stream=after.stream,
        epoch=after.epoch,
        missing=None,
        t0=end,
        t1=start,
    )


def same_clock(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two epochs, as the recording holds them, were stamped by one LSL clock: of one station, in one boot.

    Where an agent did not tell its clocks, the station alone decides.
    """
    if one.get("station") != other.get("station"):
        return False
    a, b = one.get("began"), other.get("began")
    if not a or not b:
        return True
    if a["boot"] and b["boot"]:
        return bool(a["boot"] == b["boot"])
    return abs((a["utc"] - a["lsl"]) - (b["utc"] - b["lsl"])) < SAME_CLOCK_S


def recorded_at(recording: Recording, epoch: str) -> float:
    """Where an epoch lies among the others of its recording: when it began, seconds since 1970."""
    about = recording.epochs.get(epoch, {})
    if "began" in about:
        return float(about["began"]["utc"])
    return datetime.fromisoformat(about["at"]).timestamp() if "at" in about else 0.0


def _told(recording: Recording, segment: Segment) -> dict[str, Any]:
    return recording.epochs.get(str(segment.epoch), {}).get("streams", {}).get(str(segment.stream)) or {}


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
        and _is_storable(item)
    )


def _is_numbers(value: Any, n: int) -> bool:
    return (
        isinstance(value, list)
        and len(value) == n
        and all(isinstance(v, (int, float)) and not isinstance(v, bool) and abs(v) < gaps.MAX_VALUE for v in value)
    )
