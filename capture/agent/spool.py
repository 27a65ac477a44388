"""The spool: what was received lies on this disk before anything else happens to it.

One folder per recording and epoch (an epoch is one uninterrupted stay of the agent on the recording)::

    SPOOL/<recording>/<epoch>/1.gzr           gaze frames, append-only
    SPOOL/<recording>/<epoch>/2.gzr           clock frames
    SPOOL/<recording>/<epoch>/3.gzr           what the tracker sent beside the gaze channels, if anything
    SPOOL/<recording>/<epoch>/16.gzr …        companion streams, if the station has any
    SPOOL/<recording>/<epoch>/recording.json  where it has to go, with the token; mode 0600

Frames of 100 ms are written as they fill (`capture.frames`), and made durable by fdatasync every second in a thread of
its own. A kill of the agent loses at most the frame being filled; the torn tail of a crash is truncated when the folder
is opened again. The folder is deleted only when the server has confirmed the whole.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import numpy as np
from numpy.typing import NDArray

from capture.agent.gaps import FRAME_NUMBER, SILENCE_S, GapFinder, finder_of
from capture.frames import (
    CLOCK,
    FIRST_COMPANION,
    GAZE,
    GAZE_CHANNELS,
    SOURCE,
    Frame,
    FrameError,
    encode,
    read_decoded,
    read_encoded,
)

__all__ = ["FRAME_NUMBER", "SILENCE_S", "Epoch", "GapFinder", "Recorder", "Spool", "SpoolError", "Summary"]

log = logging.getLogger(__name__)

FRAME_S = 0.1
#: A partial frame is written when no sample has come for so long.
STALE_S = 0.15
SYNC_S = 1.0
#: Rows after which a frame is cut whatever its times say (a tracker may send nonsense for times).
MAX_ROWS = 4096
#: Bytes of samples after which it is cut too: a WebSocket message has its limit.
MAX_FRAME_BYTES = 4 * 2**20
#: Samples kept in memory while the disk refuses them: five minutes at 1200 Hz, 90 MB.
MAX_WAITING = 360_000

#: The end of a recording waits so long for a source that the disk holds up.
SETTLE_S = 10.0
#: Samples on their way when a recording begins arrive within this time.
EARLY_S = 2.0
#: Notes kept with an epoch; a tracker that complains without end is told of at the start.
MAX_NOTES = 500

Array = NDArray[np.float64]


class SpoolError(RuntimeError):
    """The spool cannot do what was asked. The message is one sentence with the remedy."""


class StreamFile:
    """The append-only frame file of one stream; `path` must not exist or be a frame file of the same epoch.

    Appending happens on one thread, `sync` on another, `read` on any.
    """

    def __init__(self, path: Path, stream: int, epoch: UUID) -> None:
        self.path, self.stream, self.epoch = path, stream, epoch
        self.samples = 0
        self.synced = 0  # frames known to be on the disk
        self._offsets = [0]
        self._hash = hashlib.sha256()
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._fd)
            raise SpoolError(f"{path} is being written by another agent: stop that one first.") from None

    def recover(self, on_frame: Callable[[Frame], None] | None = None) -> None:
        """Index what is there and truncate the torn tail. Raises FrameError for damage that is no torn tail."""
        # The stream whose gaps are looked for is opened; of the others the CRC is enough.
        if on_frame:
            for data, frame in read_decoded(self.path):
                self._recognise((frame.stream, frame.epoch, frame.sequence))
                self._account(data, frame.n)
                on_frame(frame)
        else:
            for header, data in read_encoded(self.path):
                self._recognise((header.stream, header.epoch, header.sequence))
                self._account(data, header.n)
        os.ftruncate(self._fd, self.size)
        self.sync()

    def _recognise(self, found: tuple[int, UUID, int]) -> None:
        if found != (self.stream, self.epoch, self.frames):
            raise FrameError(
                f"{self.path.name} holds frame {found[2]} of stream {found[0]} and epoch {found[1]} "
                f"where frame {self.frames} of its own belongs."
            )

    @property
    def frames(self) -> int:
        """Frames written; also the next sequence number."""
        return len(self._offsets) - 1

    @property
    def size(self) -> int:
        return self._offsets[-1]

    @property
    def sha256(self) -> str:
        """Over all frames written, concatenated."""
        return self._hash.hexdigest()

    def sha256_of(self, frames: int) -> str:
        """Over the first `frames` frames, as they lie on the disk."""
        digest, place, end = hashlib.sha256(), 0, self._offsets[frames]
        while place < end:
            data = os.pread(self._fd, min(2**20, end - place), place)
            if not data:
                raise OSError(f"{self.path} is shorter than it was")
            digest.update(data)
            place += len(data)
        return digest.hexdigest()

    def append(self, samples: Array) -> None:
        """Write one frame. If the disk refuses it, nothing of it remains and OSError is raised."""
        data = encode(Frame(self.stream, self.epoch, self.frames, samples))
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError:
            os.ftruncate(self._fd, self.size)
            raise
        self._account(data, len(samples))

    def _account(self, data: bytes, n: int) -> None:
        self._hash.update(data)
        self.samples += n
        self._offsets.append(self.size + len(data))

    def sync(self) -> None:
        frames = self.frames
        if frames > self.synced:
            os.fdatasync(self._fd)
            self.synced = frames

    def read(self, sequence: int) -> bytes:
        start, end = self._offsets[sequence : sequence + 2]
        return os.pread(self._fd, end - start, start)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


@dataclass
class Epoch:
    """One stay on one recording, on disk. `state` is recording, ended or refused (then `reason` says why)."""

    folder: Path
    recording: str
    epoch: UUID
    token: str
    socket: str
    streams: dict[str, dict[str, Any]]
    state: str = "recording"
    reason: str = ""
    interrupted: bool = False  # the agent died on it
    gaps: list[dict[str, Any]] = field(default_factory=list)
    notes: list[dict[str, Any]] = field(default_factory=list)
    #: When it began: LSL seconds, seconds since 1970 and the boot of this computer, which its LSL clock counts from.
    began: dict[str, Any] = field(default_factory=dict)
    #: No sample later than this was to be recorded (LSL seconds); None if the agent died.
    until: float | None = None
    files: dict[int, StreamFile] = field(default_factory=dict)

    @classmethod
    def create(
        cls,
        root: Path,
        recording: str,
        token: str,
        socket: str,
        streams: dict[str, dict[str, Any]],
        now: float = 0.0,
    ) -> Epoch:
        """A new folder, durable with its name; `now` is LSL time. Raises OSError."""
        epoch = uuid4()
        folder = root / recording / str(epoch)
        folder.mkdir(parents=True, mode=0o700)
        new = cls(folder, recording, epoch, token, socket, streams)
        new.began = {"lsl": now, "utc": time.time(), "boot": boot_id()}
        new.files = {int(s): StreamFile(folder / f"{s}.gzr", int(s), epoch) for s in streams}
        new.save()
        for directory in (folder, folder.parent, root):
            _fsync_folder(directory)
        return new

    @classmethod
    def reopen(cls, folder: Path) -> Epoch:
        """A folder left by an agent before this one. Raises SpoolError if it cannot be understood."""
        try:
            values = json.loads((folder / "recording.json").read_text())
            epoch = UUID(values["epoch"])
            old = cls(
                folder,
                values["recording"],
                epoch,
                values["token"],
                values["socket"],
                values["streams"],
                values["state"],
                values["reason"],
                values["interrupted"],
                values["gaps"],
                values.get("notes", []),
                values.get("began", {}),
                values.get("until"),
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SpoolError(
                f"{folder} is no recording this agent can read ({error!r}): look at it by hand."
            ) from error
        finders: list[GapFinder] = []
        try:
            for s, told in old.streams.items():
                stream = int(s)
                file = StreamFile(folder / f"{s}.gzr", stream, epoch)
                old.files[stream] = file
                if old.state == "recording" and (stream == GAZE or stream >= FIRST_COMPANION):
                    finder = finder_of(stream, told, old.began.get("lsl"))
                    finders.append(finder)
                    file.recover(lambda frame, finder=finder: finder.feed(frame.samples))  # type: ignore[misc]
                else:
                    file.recover()
        except SpoolError:
            old.close()
            raise
        except FrameError as error:
            old.close()
            raise SpoolError(f"{folder} is damaged: {error}") from error
        if old.state == "recording":
            old.state, old.interrupted = "ended", True
            old.gaps = [gap for finder in finders for gap in finder.gaps]
            old.save()
        return old

    def save(self) -> None:
        """Write recording.json so that a crash leaves the old or the new one."""
        values = {
            "recording": self.recording,
            "epoch": str(self.epoch),
            "token": self.token,
            "socket": self.socket,
            "streams": self.streams,
            "state": self.state,
            "reason": self.reason,
            "interrupted": self.interrupted,
            "gaps": self.gaps,
            "notes": self.notes,
            "began": self.began,
            "until": self.until,
        }
        path = self.folder / "recording.json"
        temporary = path.with_suffix(".tmp")
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "w") as file:
            json.dump(values, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _fsync_folder(self.folder)

    def sync(self) -> None:
        for file in self.files.values():
            file.sync()

    def close(self) -> None:
        for file in self.files.values():
            file.close()

    def delete(self) -> None:
        """Only for what the server has confirmed."""
        self.close()
        shutil.rmtree(self.folder)
        if not any(self.folder.parent.iterdir()):
            self.folder.parent.rmdir()


class Spool:
    """The folder all recordings wait in; one agent at a time."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = os.open(root / "agent.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise SpoolError(
                f"Another agent uses the spool {root}: stop it, or give this one its own --spool."
            ) from None

        # Listed before this agent records anything of its own.
        self._left = sorted(marker.parent for marker in root.glob("*/*/recording.json"))

    def pending(self) -> list[Epoch]:
        """What earlier agents left, ready to be uploaded. What cannot be read is logged and left where it is."""
        found = []
        for folder in self._left:
            try:
                found.append(Epoch.reopen(folder))
            except SpoolError as error:
                log.error("%s", error)
        return found

    def create(
        self, recording: str, token: str, socket: str, streams: dict[str, dict[str, Any]], now: float = 0.0
    ) -> Epoch:
        return Epoch.create(self.root, recording, token, socket, streams, now)

    def close(self) -> None:
        os.close(self._lock)


@dataclass(frozen=True)
class Summary:
    """What a recording came to."""

    recording: str
    frames: int
    samples: int
    gaps: list[dict[str, Any]]

    def to_dict(self) -> dict[str, Any]:
        return {
            "recording": self.recording,
            "last_sequence": self.frames - 1,
            "frames": self.frames,
            "samples": self.samples,
            "gaps": self.gaps,
        }


class Recorder:
    """Puts the samples of the running recording into its epoch, frame by frame.

    `gaze` and `clock` are the listeners of a source; `clock_s` reads the LSL clock; `changed` is called (on any thread)
    when there is more on the disk, or the recording has ended; `written` with the samples [n, 31] of each gaze frame,
    once the file has it.
    """

    def __init__(
        self,
        spool: Spool,
        clock_s: Callable[[], float],
        changed: Callable[[], None],
        written: Callable[[Array], None] = lambda samples: None,
    ) -> None:
        self._spool, self._clock, self._changed, self._written = spool, clock_s, changed, written
        self._mutex = threading.Lock()
        self._epoch: Epoch | None = None
        self._rows: list[Array] = []  # gaze and, behind it, what came beside it
        self._owed: list[Array] = []  # frames of stream 3 whose gaze frame is on the disk already
        self._before: list[Epoch] = []  # epochs of this recording that `roll` has ended
        self._finder = GapFinder(0)
        self._companions: dict[str, dict[str, Any]] = {}  # what streams 16 and above say of themselves
        self._beside: dict[int, _Beside] = {}
        #: Waits until companions have delivered what was measured up to (LSL seconds), at most so long (seconds).
        self.settle: Callable[[float, float], None] = lambda until, patience_s: None
        self._since, self._until = -np.inf, np.inf
        self._correction: Array | None = None
        self._arrived = 0.0
        self._drained = threading.Event()
        # The last call of `gaze`: whether it is still running, whether it brought nothing, and when it ended.
        self._taking, self._nothing_came, self._called = False, True, -np.inf
        self._stop = threading.Event()
        self._syncer = threading.Thread(target=self._sync, name="fdatasync", daemon=True)
        self._syncer.start()
        #: What keeps samples from the disk, in one sentence; empty while all is well.
        self.fault = ""

    @property
    def epoch(self) -> Epoch | None:
        """The epoch being recorded; None when nothing is."""
        return self._epoch

    def start(self, recording: str, token: str, socket: str, streams: dict[str, dict[str, Any]]) -> Epoch:
        """Record from now on. Raises SpoolError if the disk refuses the folder."""
        with self._mutex:
            if self._epoch is not None:
                raise SpoolError(f"Recording {self._epoch.recording} is still running: stop it first.")
            since = self._clock()
            streams = {**streams, **self._companions}
            try:
                epoch = self._spool.create(recording, token, socket, streams, since)
            except OSError as error:
                raise SpoolError(f"The spool {self._spool.root} cannot be written ({error.strerror}).") from error
            self._since, self._until = since, np.inf
            self._rows, self._owed, self._before = [], [], []
            self._finder = finder_of(GAZE, streams[str(GAZE)], since)
            self._beside = _besides(streams, since)
            self._drained.clear()
            self.fault = ""
            self._epoch = epoch
            if self._correction is not None:
                self._append(CLOCK, self._correction)
        return epoch

    def stop(self, patience_s: float = 0.5) -> Summary:
        """End the recording now and wait until its last frame is on the disk (blocking).

        Samples that are still on their way from the tracker are waited for, at most `patience_s`.
        """
        with self._mutex:
            if self._epoch is None:
                raise SpoolError("Nothing is being recorded.")
            self._until = self._clock()
        began = time.monotonic()
        self._drain(patience_s)
        self.settle(self._until, max(patience_s - (time.monotonic() - began), 0.0))
        with self._mutex:
            epoch = self._epoch
            if epoch is None:
                raise SpoolError("Nothing is being recorded.")
            if not self._cut_all():
                self._until = np.inf
                raise SpoolError(f"The end of the recording cannot be written: {self.fault} Free space and stop again.")
            for finder in self._finders():
                finder.finish(self._until)
            try:
                epoch.sync()
                epoch.state, epoch.gaps, epoch.until = "ended", self._gaps(), self._until
                epoch.save()
            except OSError as error:
                epoch.state, self._until = "recording", np.inf
                raise SpoolError(
                    f"The end of the recording cannot be written ({error.strerror}): stop again."
                ) from error
            self._epoch = None
            whole = [*self._before, epoch]
        self._changed()
        gaze = [one.files[GAZE] for one in whole]
        gaps = [gap for one in whole for gap in one.gaps]
        return Summary(epoch.recording, sum(f.frames for f in gaze), sum(f.samples for f in gaze), gaps)

    def _drain(self, patience_s: float) -> None:
        """Wait for gaze on its way, and then for as long as a slow disk keeps its source from handing over the rest."""
        deadline = time.monotonic() + patience_s
        while not self._drained.wait(0.01):
            now = time.monotonic()
            quiet = not self._taking and (self._nothing_came or now - self._called > patience_s)
            if now > deadline and (quiet or now > deadline + SETTLE_S):
                return

    def roll(self, streams: dict[str, dict[str, Any]]) -> Epoch | None:
        """The tracker describes itself differently from now on: end the epoch, and go on in a new one.

        What one epoch says of its streams then holds for all of its samples. Returns the new epoch, None when nothing
        is being recorded or this epoch says the same already. Raises SpoolError if the disk refuses; then the old epoch
        goes on.
        """
        with self._mutex:
            old = self._epoch
            if old is not None:
                streams = {**streams, **self._companions}
            if old is None or old.streams == streams:
                return None
            if not self._cut_all():
                raise SpoolError(f"A new epoch cannot begin: {self.fault}")
            try:
                new = self._spool.create(old.recording, old.token, old.socket, streams, self._clock())
                old.sync()
                old.state, old.gaps = "ended", self._gaps()
                old.save()
            except OSError as error:
                old.state = "recording"
                raise SpoolError(f"The spool {self._spool.root} cannot be written ({error.strerror}).") from error
            self._finder = finder_of(GAZE, streams[str(GAZE)])
            self._beside = _besides(streams)
            self._before.append(old)
            self._epoch = new
            if self._correction is not None:
                self._append(CLOCK, self._correction)
        self._changed()
        return new

    def companions(self, streams: dict[str, dict[str, Any]]) -> Epoch | None:
        """These companion streams are there from now on; a running recording goes on with them in a new epoch.

        A companion that has gone stays described: it may come back. Returns and raises as `roll`.
        """
        with self._mutex:
            self._companions = dict(streams)
            old = self._epoch
            if old is None:
                return None
            own = {s: told for s, told in old.streams.items() if int(s) < FIRST_COMPANION}
        return self.roll(own)

    def companion(self, stream: int, samples: Array) -> None:
        """Samples [n, 1 + channels] of a companion stream as they arrive; n = 0 as for `gaze`."""
        with self._mutex:
            beside = self._beside.get(stream)
            if self._epoch is None or beside is None:
                return
            now = self._clock()
            if len(samples):
                times = samples[:, 0]
                early = (times < self._since) & (now - self._since < EARLY_S)
                samples = samples[~(early | (times > self._until))]
            if len(samples):
                beside.rows.append(samples)
                beside.arrived = now
            self._cut_beside(stream, beside, whole=now - beside.arrived < STALE_S)

    def _finders(self) -> list[GapFinder]:
        return [self._finder, *(beside.finder for beside in self._beside.values())]

    def _gaps(self) -> list[dict[str, Any]]:
        return [gap for finder in self._finders() for gap in finder.gaps]

    def _cut_all(self) -> bool:
        """Write all that waits; False if the disk refused some of it."""
        self._cut(whole=False)
        for stream, beside in self._beside.items():
            self._cut_beside(stream, beside, whole=False)
        return not (self._rows or self._owed or any(beside.rows for beside in self._beside.values()))

    def _cut_beside(self, stream: int, beside: _Beside, *, whole: bool) -> None:
        if not beside.rows:
            return
        rows = beside.rows[0] if len(beside.rows) == 1 else np.concatenate(beside.rows)
        while len(rows):
            end = _frame_end(rows, whole=whole)
            if not end or not self._append(stream, rows[:end]):
                break
            beside.finder.feed(rows[:end])
            rows = rows[end:]
        if len(rows) > MAX_WAITING // 8:
            log.critical("%d samples of stream %d are lost: %s", len(rows) - MAX_WAITING // 8, stream, self.fault)
            rows = rows[-MAX_WAITING // 8 :]
        beside.rows = [rows] if len(rows) else []

    def note(self, note: dict[str, Any]) -> None:
        """Keep with the recording, if there is one, what its source has to say."""
        with self._mutex:
            epoch = self._epoch
            if epoch is None or len(epoch.notes) >= MAX_NOTES:
                return
            epoch.notes.append(note)
            try:
                epoch.save()
            except OSError as error:
                log.error("a note cannot be written with its recording (%s): %s", error.strerror, note)

    def gaze(self, samples: Array, correction: float = 0.0, raw: Array | None = None) -> None:
        """Samples [n, 31] as they arrive; n = 0 lets an unfinished frame of a silent tracker be written.

        `raw` [n, 1 + k] came with them (stream 3): it is cut into frames of the same samples.
        """
        self._taking, self._nothing_came = True, not len(samples)
        try:
            self._take(samples, correction, raw)
        finally:
            self._taking, self._called = False, time.monotonic()

    def _take(self, samples: Array, correction: float, raw: Array | None) -> None:
        with self._mutex:
            if self._epoch is None:
                return
            now = self._clock()
            beside = self._epoch.streams.get(str(SOURCE), {}).get("labels", ())
            if not beside:
                raw = None
            elif raw is None:
                raw = np.full((len(samples), 1 + len(beside)), np.nan)
            if len(samples):
                here = samples[:, 0] + correction
                if np.any(here > self._until):
                    self._drained.set()
                # Measured before the recording began, though it came after: soon after the start only, since a time
                # that later goes back is a fault of the tracker's clock. A time that is not a number is kept.
                early = (here < self._since) & (now - self._since < EARLY_S)
                inside = ~(early | (here > self._until))
                samples = samples[inside]
            if len(samples):
                self._rows.append(samples if raw is None else np.hstack([samples, raw[inside, 1:]]))
                self._arrived = now
            self._cut(whole=now - self._arrived < STALE_S)

    def clock(self, row: Array) -> None:
        """One measurement of the tracker's clock [1, 4]."""
        with self._mutex:
            self._correction = row
            if self._epoch is not None:
                self._append(CLOCK, row)

    def _cut(self, *, whole: bool) -> None:
        """Write the frames that are full; with `whole` False the last one too, full or not."""
        self._pay()
        if not self._rows:
            return
        rows = self._rows[0] if len(self._rows) == 1 else np.concatenate(self._rows)
        while len(rows):
            end = _frame_end(rows, whole=whole)
            if not end:
                break
            if self._owed or not self._append(GAZE, rows[:end, : 1 + len(GAZE_CHANNELS)]):
                break
            # By the frame: what the disk refused until it had to be let go is a gap too.
            self._finder.feed(rows[:end])
            if rows.shape[1] > 1 + len(GAZE_CHANNELS):
                self._owed.append(np.hstack([rows[:end, :1], rows[:end, 1 + len(GAZE_CHANNELS) :]]))
                self._pay()
            self._written(rows[:end, : 1 + len(GAZE_CHANNELS)])
            rows = rows[end:]
        if len(rows) > MAX_WAITING:
            log.critical("%d samples are lost: %s", len(rows) - MAX_WAITING, self.fault)
            rows = rows[-MAX_WAITING:]
        self._rows = [rows] if len(rows) else []

    def _pay(self) -> None:
        while self._owed and self._append(SOURCE, self._owed[0]):
            del self._owed[0]

    def _append(self, stream: int, samples: Array) -> bool:
        assert self._epoch is not None
        try:
            self._epoch.files[stream].append(samples)
        except OSError as error:
            fault = f"the spool {self._spool.root} cannot be written ({error.strerror}): free space on its disk."
            if fault != self.fault:
                log.error("%s", fault)
            self.fault = fault
            return False
        self.fault = ""
        return True

    def _sync(self) -> None:
        while not self._stop.wait(SYNC_S):
            epoch = self._epoch
            if epoch is None:
                continue
            try:
                epoch.sync()
            except (OSError, ValueError) as error:
                log.error("fdatasync of %s failed: %s", epoch.folder, error)
            self._changed()

    def close(self) -> None:
        self._stop.set()
        self._syncer.join(2.0)


@dataclass
class _Beside:
    """A companion stream while it is recorded."""

    finder: GapFinder
    rows: list[Array] = field(default_factory=list)
    arrived: float = 0.0


def _besides(streams: dict[str, dict[str, Any]], since: float | None = None) -> dict[int, _Beside]:
    told = {int(s): one for s, one in streams.items() if int(s) >= FIRST_COMPANION}
    return {s: _Beside(finder_of(s, one, since)) for s, one in told.items()}


def _frame_end(rows: Array, *, whole: bool) -> int:
    """How many of these rows make the next frame; 0 while it is not full and `whole` asks for a full one."""
    beyond = np.flatnonzero(rows[:, 0] >= rows[0, 0] + FRAME_S - 1e-6)
    most = max(min(MAX_ROWS, MAX_FRAME_BYTES // (8 * rows.shape[1])), 1)
    if whole and not len(beyond) and len(rows) < most:
        return 0
    return min(int(beyond[0]) if len(beyond) else len(rows), most)


def boot_id() -> str:
    """This boot of this computer, from which its LSL clock counts; empty where the system does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _fsync_folder(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
