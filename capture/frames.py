"""The frame: one tenth of a second of one stream, as it lies on disk and as it travels.

The agent appends frames to its spool, sends the same bytes to the server, and the server stores the same bytes, so that
one SHA-256 over the concatenated frames proves that nothing changed on the way.

Layout (little endian, 56 byte header)::

    magic      4 bytes   b"GZR1"
    stream     uint16    1 gaze, 2 clock, 3 source, 16 and above companion streams
    channels   uint16    columns of the payload without the time
    epoch      16 bytes  uuid of one uninterrupted stay of the writer on the stream (big-endian RFC 4122 bytes)
    sequence   uint64    0, 1, 2, ... within a stream and epoch
    n          uint32    samples
    t0, t1     float64   time of the first and the last sample (LSL seconds)
    length     uint32    bytes of payload
    payload    length    zstd of n x (1 + channels) float64, row-major: LSL time, then the channels
    crc32      uint32    of everything before it

A writer that is killed leaves at most one incomplete frame at the end: the torn tail. Readers stop there.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar
from uuid import UUID

import numpy as np
import zstandard
from numpy.typing import NDArray

T = TypeVar("T")

MAGIC = b"GZR1"
GAZE = 1
CLOCK = 2
#: What a tracker sends beside the 30 gaze channels, or had to be converted for them, as it was sent: frame by frame the
#: same samples as the gaze stream's. The labels are the tracker's own; a recording without any has no such stream.
SOURCE = 3
#: Other numeric streams of the station (external signals, mouse, a second device), each with channels of its own.
FIRST_COMPANION = 16
MAX_COMPANIONS = 64

EYES = ("left", "right")
#: (type, unit) of one eye's channels, in order. Types follow the XDF Gaze meta-data specification where it has them.
EYE_CHANNELS: tuple[tuple[str, str], ...] = (
    ("ScreenX", "normalized"),
    ("ScreenY", "normalized"),
    ("ScreenValid", "bool"),
    ("IntersectionX", "mm"),
    ("IntersectionY", "mm"),
    ("IntersectionZ", "mm"),
    ("Diameter", "mm"),
    ("DiameterValid", "bool"),
    ("PositionX", "mm"),
    ("PositionY", "mm"),
    ("PositionZ", "mm"),
    ("PositionValid", "bool"),
    ("Openness", "mm"),
    ("OpennessValid", "bool"),
)
#: (type, unit) of the channels that belong to no eye.
COMMON_CHANNELS: tuple[tuple[str, str], ...] = (("FrameNumber", "count"), ("DeviceTimeStamp", "microseconds"))


def channel_label(eye: str, kind: str) -> str:
    """The label of a channel: `LeftScreenX`, `RightDiameter`, `FrameNumber` (no eye)."""
    return eye.capitalize() + kind


#: The 30 gaze channels, in the order of the payload's columns 1 to 30 (column 0 is the LSL time): (label, type, unit,
#: eye); the eye of those that belong to none is "both".
STANDARD_CHANNELS: tuple[tuple[str, str, str, str], ...] = (
    *((channel_label(eye, kind), kind, unit, eye) for eye in EYES for kind, unit in EYE_CHANNELS),
    *((kind, kind, unit, "both") for kind, unit in COMMON_CHANNELS),
)
GAZE_CHANNELS: tuple[str, ...] = tuple(label for label, *_ in STANDARD_CHANNELS)
#: Labels of the clock stream: `lsl_time_correction_ex` of the gaze inlet, in seconds; column 0 is the agent's LSL time.
CLOCK_CHANNELS: tuple[str, ...] = ("Correction", "Uncertainty", "RemoteTime")

_HEADER = struct.Struct("<4sHH16sQIddI")
_CRC = struct.Struct("<I")
HEADER_SIZE = _HEADER.size
#: A frame holds 100 ms; anything larger than this is not one of ours (and could be a decompression bomb).
MAX_SAMPLE_BYTES = 64 * 1024 * 1024


class FrameError(ValueError):
    """The bytes are not a whole, undamaged frame. The message is one sentence."""


class TornFrame(FrameError):  # noqa: N818 - it is a state a reader meets after a crash, not a fault of the caller
    """The bytes end before the frame does."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a frame says about itself before its payload is opened."""

    stream: int
    channels: int
    epoch: UUID
    sequence: int
    n: int
    t0: float
    t1: float
    length: int

    @property
    def size(self) -> int:
        """Bytes of the whole frame: header, payload and CRC."""
        return HEADER_SIZE + self.length + _CRC.size


@dataclass(frozen=True, eq=False, slots=True)
class Frame:
    """Samples of one stream.

    `samples` is float64 [n, 1 + channels] with n >= 1: LSL time in seconds, then the channels.
    """

    stream: int
    epoch: UUID
    sequence: int
    samples: NDArray[np.float64]

    @property
    def n(self) -> int:
        return int(self.samples.shape[0])

    @property
    def channels(self) -> int:
        return int(self.samples.shape[1]) - 1

    @property
    def t0(self) -> float:
        return float(self.samples[0, 0])

    @property
    def t1(self) -> float:
        return float(self.samples[-1, 0])


def encode(frame: Frame) -> bytes:
    """The bytes of `frame`, for disk and wire. Raises FrameError if its numbers do not fit the layout."""
    samples = np.ascontiguousarray(frame.samples, dtype="<f8")
    if samples.ndim != 2 or samples.shape[0] < 1 or samples.shape[1] < 1:
        raise FrameError(f"A frame needs samples of shape [n >= 1, 1 + channels], got {list(samples.shape)}.")
    if samples.nbytes > MAX_SAMPLE_BYTES:
        raise FrameError(f"A frame holds at most {MAX_SAMPLE_BYTES} bytes of samples, got {samples.nbytes}: cut it up.")
    payload = zstandard.ZstdCompressor(level=3).compress(samples.tobytes())
    n, columns = samples.shape
    try:
        head = _HEADER.pack(
            MAGIC,
            frame.stream,
            columns - 1,
            frame.epoch.bytes,
            frame.sequence,
            n,
            float(samples[0, 0]),
            float(samples[-1, 0]),
            len(payload),
        )
    except struct.error as error:
        raise FrameError(
            f"Frame {frame.sequence} of stream {frame.stream} does not fit the header: {error}."
        ) from error
    body = head + payload
    return body + _CRC.pack(zlib.crc32(body))


def peek(data: bytes) -> Header:
    """The header at the start of `data`, without touching payload or CRC. Raises FrameError."""
    if not data.startswith(MAGIC):
        if MAGIC.startswith(data[: len(MAGIC)]):
            raise TornFrame(f"The frame ends after {len(data)} bytes, inside its header.")
        raise FrameError(f"Not a Gazeroom frame: it starts with {bytes(data[:4])!r}, not {MAGIC!r}.")
    if len(data) < HEADER_SIZE:
        raise TornFrame(f"The frame ends after {len(data)} bytes, inside its header.")
    _, stream, channels, epoch, sequence, n, t0, t1, length = _HEADER.unpack_from(data)
    return Header(stream, channels, UUID(bytes=epoch), sequence, n, t0, t1, length)


def check(data: bytes) -> Header:
    """The header of the one whole frame in `data`, once its CRC has been found right. Raises FrameError."""
    header = peek(data)
    where = f"Frame {header.sequence} of stream {header.stream}"
    if len(data) < header.size:
        raise TornFrame(f"{where} is cut off: {len(data)} of {header.size} bytes.")
    if len(data) > header.size:
        raise FrameError(f"{where} is followed by {len(data) - header.size} bytes that do not belong to it.")
    if zlib.crc32(memoryview(data)[: -_CRC.size]) != _CRC.unpack_from(data, header.size - _CRC.size)[0]:
        raise FrameError(f"{where} is damaged: its CRC does not match its bytes.")
    return header


def decode(data: bytes) -> Frame:
    """The frame in `data`, which must hold exactly one. Raises FrameError, naming what is wrong with it."""
    header = check(data)
    where = f"Frame {header.sequence} of stream {header.stream}"
    expected = header.n * (1 + header.channels) * 8
    if header.n < 1 or expected > MAX_SAMPLE_BYTES:
        raise FrameError(f"{where} claims {header.n} samples of {header.channels} channels, which no frame holds.")
    payload = data[HEADER_SIZE : HEADER_SIZE + header.length]
    try:
        if zstandard.get_frame_parameters(payload).content_size != expected:
            raise FrameError(f"{where} does not unpack to its {header.n} samples of {header.channels} channels.")
        raw = zstandard.ZstdDecompressor().decompress(payload, max_output_size=expected)
    except zstandard.ZstdError as error:
        raise FrameError(f"{where} has a payload that zstd cannot open: {error}.") from error
    if len(raw) != expected:
        raise FrameError(f"{where} does not unpack to its {header.n} samples of {header.channels} channels.")
    samples = np.frombuffer(raw, dtype="<f8").reshape(header.n, 1 + header.channels)
    ends = struct.pack("<dd", samples[0, 0], samples[-1, 0])
    if ends != data[HEADER_SIZE - 20 : HEADER_SIZE - 4]:
        raise FrameError(f"{where} has times in its header that are not those of its samples.")
    return Frame(header.stream, header.epoch, header.sequence, samples)


def read_encoded(path: Path | str) -> Iterator[tuple[Header, bytes]]:
    """Header and bytes of every good frame of a file, in order; stops at a torn tail.

    Good is a frame whose CRC is that of its bytes; its payload is not opened. A file that is no frame file, or that is
    damaged in the middle with good frames after the damage, raises FrameError: silence there would turn damage into
    missing data.
    """
    for header, data, _ in _read(path, check):
        yield header, data


def read_decoded(path: Path | str) -> Iterator[tuple[bytes, Frame]]:
    """Bytes and content of every good frame of a file, in order (see `read_encoded` for what it refuses)."""
    for _, data, frame in _read(path, decode):
        yield data, frame


def read_frames(path: Path | str) -> Iterator[Frame]:
    """The frames of a file, in order; stops at a torn tail (see `read_encoded` for what it refuses)."""
    for _, _, frame in _read(path, decode):
        yield frame


def good_length(path: Path | str) -> int:
    """Bytes of a file up to the end of its last good frame: what a writer truncates to before it appends."""
    return sum(len(data) for _, data in read_encoded(path))


def _read(path: Path | str, open_one: Callable[[bytes], T]) -> Iterator[tuple[Header, bytes, T]]:
    path = Path(path)
    with path.open("rb") as file:
        offset = 0
        while True:
            try:
                step = _next(file, open_one)
            except FrameError as error:
                if offset == 0 and not isinstance(error, TornFrame) and not _is_frame_file(file):
                    raise FrameError(f"{path.name} is not a frame file: {error}") from error
                if _good_frame_after(file, offset + 1):
                    raise FrameError(f"{path.name} is damaged at byte {offset}, before its end: {error}") from error
                return
            if step is None:
                return
            offset += len(step[1])
            yield step


def _next(file: BinaryIO, open_one: Callable[[bytes], T]) -> tuple[Header, bytes, T] | None:
    head = file.read(HEADER_SIZE)
    if not head:
        return None
    header = peek(head)
    data = head + file.read(header.size - HEADER_SIZE)
    return header, data, open_one(data)


def _is_frame_file(file: BinaryIO) -> bool:
    """Whether the start could be ours: the magic, or the zeros a file system leaves for a write that never landed."""
    file.seek(0)
    start = file.read(len(MAGIC))
    return start == MAGIC or not any(start)


def _good_frame_after(file: BinaryIO, offset: int) -> bool:
    file.seek(offset)
    rest = file.read()
    at = rest.find(MAGIC)
    while at >= 0:
        try:
            header = peek(rest[at : at + HEADER_SIZE])
            decode(rest[at : at + header.size])
            return True
        except FrameError:
            at = rest.find(MAGIC, at + 1)
    return False
