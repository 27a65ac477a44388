"""The files of a recording: frames as the agent sent them, states and clock exchanges as the page did.

Everything is appended, made durable before it is acknowledged, and never rewritten; a torn tail, which only a crash in
the middle of a write can leave, is cut off when a file is opened again. No database in here, and no event loop: callers
run these functions in a thread.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any
from uuid import UUID

from capture import frames


class StoreError(Exception):
    """What was sent cannot be stored. The message is a sentence for whoever sent it."""


class StoreBusy(Exception):  # noqa: N818 - a state of affairs, not a fault of the caller
    """Another connection is writing this file; try again in a moment."""


def frame_path(folder: Path, stream: int, epoch: UUID) -> Path:
    return folder / f"{stream}-{epoch}.gzr"


def stored_frames(folder: Path) -> list[tuple[int, UUID, Path]]:
    """(stream, epoch, path) of every frame file of a recording."""
    out = []
    for path in sorted(folder.glob("*-*.gzr")):
        stream, epoch = path.stem.split("-", 1)
        out.append((int(stream), UUID(epoch), path))
    return out


class _Appended:
    """A file that only this process may append to, open at its end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        created = not path.exists()
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._fd)
            raise StoreBusy(f"{path.name} is being written by another connection.") from None
        if created:
            # The name must survive a crash too.
            for folder in (path.parent, path.parent.parent):
                _fsync_folder(folder)

    def _keep(self, length: int) -> None:
        """Cut off what is beyond `length`, and make the rest durable: a server killed between writing and fdatasync
        acknowledged none of it, and whoever continues the file is about to."""
        if os.fstat(self._fd).st_size > length:
            os.ftruncate(self._fd, length)
        os.fdatasync(self._fd)

    def _write(self, data: bytes) -> None:
        """All of `data` on the disk, or nothing of it and OSError."""
        size = os.fstat(self._fd).st_size
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
            os.fdatasync(self._fd)
        except OSError:
            os.ftruncate(self._fd, size)
            raise

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Any:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class FrameFile(_Appended):
    """The frames of one stream and epoch, numbered from 0 without a hole.

    `channels` is how many each frame must have; None where that was not announced: as many as the first.
    """

    def __init__(self, path: Path, stream: int, epoch: UUID, channels: int | None = None) -> None:
        super().__init__(path)
        self._channels, self._announced = channels, channels is not None
        self.stream, self.epoch = stream, epoch
        self.next = 0
        self._hash = hashlib.sha256()
        length = 0
        try:
            for header, data in frames.read_encoded(path):
                if (header.stream, header.epoch, header.sequence) != (stream, epoch, self.next):
                    raise StoreError(f"{path.name} holds frame {header.sequence} where frame {self.next} belongs.")
                self._channels = header.channels if self._channels is None else self._channels
                self.next += 1
                self._hash.update(data)
                length += len(data)
            self._keep(length)
        except frames.FrameError as error:
            self.close()
            raise StoreError(f"The stored recording is damaged: {error}") from error
        except BaseException:
            self.close()
            raise

    @property
    def sha256(self) -> str:
        """Over all frames stored, concatenated."""
        return self._hash.hexdigest()

    def append(self, data: Sequence[bytes]) -> bool:
        """Store the frames that come next and return True; frames it has already are passed over.

        Returns False when one was skipped on the way here: the sender must go back to `next`. What came before the hole
        is stored. Raises StoreError for bytes that are no frame of this file.
        """
        fresh: list[bytes] = []
        place, channels = self.next, self._channels
        complete = True
        for one in data:
            try:
                frame = frames.decode(one)
            except frames.FrameError as error:
                raise StoreError(str(error)) from error
            if frame.stream != self.stream or frame.epoch != self.epoch:
                raise StoreError(f"A frame of epoch {frame.epoch} was sent into epoch {self.epoch}.")
            channels = frame.channels if channels is None else channels
            if channels != frame.channels:
                said = f"epoch {self.epoch} announced" if self._announced else "those before it have"
                raise StoreError(
                    f"Frame {frame.sequence} of stream {frame.stream} has {frame.channels} channels, "
                    f"but {said} {channels}."
                )
            if frame.sequence < place:
                continue
            if frame.sequence > place:
                complete = False
                break
            fresh.append(one)
            place += 1
        if fresh:
            whole = b"".join(fresh)
            self._write(whole)
            self._hash.update(whole)
            self.next, self._channels = place, channels
        return complete


#: (inode, size) of journals → lines in them, so that the next message need not count them again.
_counted: dict[tuple[int, int], int] = {}


class JournalFile(_Appended):
    """JSON lines of the page, numbered by their place from 0."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        known = _counted.pop(self._key(), None)
        if known is not None:
            self.next = known
            return
        self.next = 0
        length = 0
        with path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self.next += 1
                length += len(line)
        self._keep(length)

    def _key(self) -> tuple[int, int]:
        stat = os.fstat(self._fd)
        return stat.st_ino, stat.st_size

    def close(self) -> None:
        if self._fd >= 0:
            if len(_counted) > 1000:
                _counted.clear()
            _counted[self._key()] = self.next
        super().close()

    def append(self, start: int, items: Sequence[Any]) -> None:
        """Store items numbered from `start`: those it has are passed over, and nothing is stored beyond a hole."""
        if start > self.next:
            return
        fresh = items[self.next - start :]
        if fresh:
            self._write(b"".join(json.dumps(i, separators=(",", ":"), allow_nan=False).encode() + b"\n" for i in fresh))
            self.next += len(fresh)


def read_journal(path: Path) -> list[Any]:
    """The items of a journal, in order; a torn tail is left out, a missing file is empty."""
    if not path.exists():
        return []
    with path.open("rb") as file:
        return [json.loads(line) for line in file if line.endswith(b"\n")]


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
