"""XDF, the file format of Lab Streaming Layer recordings: a vectorised writer, and a reader that mends before it reads.

A file is a sequence of chunks (https://github.com/sccn/xdf/wiki/Specifications), each with its length before it. This
writer puts headers, clock offsets and text first, then numeric samples in chunks of about a second in order of time,
each behind a boundary chunk, and the footers last: a file that was cut off keeps every stream up to the cut, and a
damaged stretch costs its own chunk. Every sample carries its own float64 time stamp as the tracker gave it; offsets
between clocks stand in ClockOffset chunks, applied to nothing.

Parsing is pyxdf's (dejittering off: it would move device-stamped gaze by up to 150 ms at a gap). pyxdf itself raises on
a file that ends inside a chunk's tag, a stream header or a clock offset, and takes a torn last sample of a chunk for a
whole one; so `read` first drops what is not whole (`mend`).
"""

from __future__ import annotations

import io
import logging
import re
import struct
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from .errors import FormatError

Floats = NDArray[np.float64]

MAGIC = b"XDF:"
BOUNDARY = bytes.fromhex("43A546DCCBF5410FB30ED5467383CBE4")
FILE_HEADER, STREAM_HEADER, SAMPLES, CLOCK_OFFSET, BOUNDARY_TAG, STREAM_FOOTER = 1, 2, 3, 4, 5, 6
_ITEM = {"double64": 8, "float32": 4, "int64": 8, "int32": 4, "int16": 2, "int8": 1}
_BOUNDARY_CHUNK = struct.pack("<BBH", 1, 18, BOUNDARY_TAG) + BOUNDARY
#: More than a machine should be asked to hold in one piece.
MAX_BYTES = 4 * 2**30

Channel = tuple[str, str, str, str]


@dataclass(frozen=True, eq=False)
class Stream:
    """One stream of an XDF file.

    Attributes
    ----------
    name, type
        As LSL knows them ("Gaze", "Markers").
    t
        Time stamps as recorded, seconds of the source's clock, [N].
    values
        Samples, float64 [N, channels], or N strings (one channel).
    channels
        (label, type, unit, eye) of each channel; eye is empty where there is none.
    rate_hz
        Nominal rate; 0 for irregular streams.
    offsets
        Clock offsets [K, 2]: time on the source's clock, seconds to add to it.
    desc
        More of the stream's description, nested dicts, lists and scalars.
    """

    name: str
    type: str
    t: Floats
    values: Floats | list[str]
    channels: Sequence[Channel] = ()
    rate_hz: float = 0.0
    offsets: Floats = field(default_factory=lambda: np.zeros((0, 2)))
    source_id: str = ""
    desc: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if isinstance(self.values, list):
            good = len(self.values) == len(self.t)
        else:
            good = self.values.ndim == 2 and len(self.values) == len(self.t)
            good = good and len(self.channels) in (0, self.values.shape[1])
        if not good or np.shape(self.offsets)[1:] != (2,):
            raise ValueError(f"Stream {self.name!r} has times, values and channels of different lengths.")

    @property
    def width(self) -> int:
        return 1 if isinstance(self.values, list) else self.values.shape[1]


# ── writing ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def write(target: Path | BinaryIO, streams: Sequence[Stream], *, info: Mapping[str, Any] | None = None) -> None:
    """Write streams as one XDF file.

    Parameters
    ----------
    target
        A path, written in place (callers who need it whole or not at all write elsewhere and rename), or a binary file.
    streams
        Numbered 1, 2, … in this order.
    info
        More of the file header, nested dicts of scalars.
    """
    if isinstance(target, Path):
        with target.open("wb") as file:
            write(file, streams, info=info)
        return
    target.write(MAGIC)
    target.write(_chunk(FILE_HEADER, _xml({"version": "1.0", **(info or {})})))
    for number, stream in enumerate(streams, start=1):
        target.write(_chunk(STREAM_HEADER, _xml(_header(stream)), number))
    for number, stream in enumerate(streams, start=1):
        for when, offset in np.asarray(stream.offsets, dtype="<f8"):
            target.write(_chunk(CLOCK_OFFSET, struct.pack("<dd", when, offset), number))
    target.write(_BOUNDARY_CHUNK)
    pieces: list[tuple[float, int, int, int]] = []
    for number, stream in enumerate(streams, start=1):
        if isinstance(stream.values, list):
            if stream.values:
                target.write(_strings(stream.t, stream.values, number))
                target.write(_BOUNDARY_CHUNK)
        else:
            step = max(1, round(stream.rate_hz)) if stream.rate_hz > 0 else 1024
            pieces += [(float(stream.t[i]), number, i, step) for i in range(0, len(stream.t), step)]
    buffers: dict[int, NDArray[np.uint8]] = {}
    for _, number, start, step in sorted(pieces, key=lambda piece: (piece[0], piece[1], piece[2])):
        stream = streams[number - 1]
        assert not isinstance(stream.values, list)
        if number not in buffers:
            buffers[number] = np.empty((step, 9 + 8 * stream.width), dtype=np.uint8)
            buffers[number][:, 0] = 8
        t, values = stream.t[start : start + step], stream.values[start : start + step]
        rows = buffers[number][: len(t)]
        rows[:, 1:9] = _bytes(t).reshape(len(t), 8)
        rows[:, 9:] = _bytes(values).reshape(len(t), 8 * stream.width)
        # One write for boundary, lengths and count; the rows go out as they lie.
        length = 2 + 4 + 5 + rows.size
        head = struct.pack("<BQHIBI", 8, length, SAMPLES, number, 4, len(t))
        target.write(_BOUNDARY_CHUNK + head)
        target.write(rows.data)
    target.write(_BOUNDARY_CHUNK)
    for number, stream in enumerate(streams, start=1):
        target.write(_chunk(STREAM_FOOTER, _xml(_footer(stream)), number))


def _bytes(values: Any) -> NDArray[np.uint8]:
    return np.ascontiguousarray(values, dtype="<f8").view(np.uint8)


def _chunk(tag: int, content: bytes, stream: int | None = None) -> bytes:
    body = struct.pack("<H", tag) + (b"" if stream is None else struct.pack("<I", stream)) + content
    return _length(len(body)) + body


def _length(n: int) -> bytes:
    return struct.pack("<BB", 1, n) if n < 256 else struct.pack("<BI", 4, n)


def _strings(t: Floats, values: list[str], number: int) -> bytes:
    out = [struct.pack("<BI", 4, len(values))]
    for when, text in zip(t.tolist(), values, strict=True):
        data = text.encode()
        out += [struct.pack("<Bd", 8, when), _length(len(data)), data]
    return _chunk(SAMPLES, b"".join(out), number)


def _header(stream: Stream) -> dict[str, Any]:
    desc = dict(stream.desc)
    if stream.channels:
        names = ("label", "type", "unit", "eye")
        rows = [{k: v for k, v in zip(names, channel, strict=True) if v} for channel in stream.channels]
        desc = {"channels": {"channel": rows}, **desc}
    return {
        "name": stream.name,
        "type": stream.type,
        "channel_count": stream.width,
        "nominal_srate": float(stream.rate_hz),
        "channel_format": "string" if isinstance(stream.values, list) else "double64",
        "source_id": stream.source_id,
        "desc": desc,
    }


def _footer(stream: Stream) -> dict[str, Any]:
    offsets = [{"time": float(when), "value": float(offset)} for when, offset in stream.offsets]
    return {
        "first_timestamp": float(stream.t[0]) if len(stream.t) else 0,
        "last_timestamp": float(stream.t[-1]) if len(stream.t) else 0,
        "sample_count": len(stream.t),
        "clock_offsets": {"offset": offsets},
    }


#: What XML 1.0 has no way to say.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _xml(content: Mapping[str, Any]) -> bytes:
    root = ET.Element("info")
    _fill(root, content)
    return b'<?xml version="1.0"?>' + ET.tostring(root, encoding="unicode").encode()


def _fill(node: ET.Element, content: Mapping[str, Any]) -> None:
    for key, value in content.items():
        for one in value if isinstance(value, list) else [value]:
            child = ET.SubElement(node, key)
            if isinstance(one, Mapping):
                _fill(child, one)
            else:
                child.text = _NOT_XML.sub("\ufffd", repr(one) if isinstance(one, float) else str(one))


# ── reading ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, eq=False)
class Mended:
    """An XDF file of whole chunks: its bytes, and how many of the original were left out."""

    data: bytes
    dropped: int


def mend(data: bytes) -> Mended:
    """The file without what is torn or damaged: only whole chunks that say what they should.

    A chunk whose length makes no sense is skipped up to the next boundary chunk. Raises FormatError for what is no XDF
    file at all, or one that ends before its first stream is described.
    """
    if data[:4] != MAGIC:
        raise FormatError(f"it does not begin with {MAGIC.decode()!r}, as an XDF file does.")
    streams: dict[int, tuple[int, int | None]] = {}  # number → channels, bytes a value (None: text)
    kept = [MAGIC]
    for start, end in _whole_chunks(data):
        if _is_good(data, start, end, streams):
            kept.append(data[start:end])
    if not streams:
        raise FormatError("it ends, or is damaged, before a stream is described: there is nothing to read in it.")
    whole = b"".join(kept)
    return Mended(whole, len(data) - len(whole))


def _whole_chunks(data: bytes) -> Iterator[tuple[int, int]]:
    at = len(MAGIC)
    while at < len(data):
        size = data[at]
        head = at + 1 + size
        length = int.from_bytes(data[at + 1 : head], "little") if size in (1, 4, 8) and head <= len(data) else 0
        tag = int.from_bytes(data[head : head + 2], "little")
        if length < 2 or head + length > len(data) or not 1 <= tag <= 6:
            # Torn or damaged: the next boundary tells where a chunk begins again.
            found = data.find(_BOUNDARY_CHUNK[4:], at + 1)
            if found < 0:
                return
            at = found + len(BOUNDARY)
            continue
        yield at, head + length
        at = head + length


def _is_good(data: bytes, start: int, end: int, streams: dict[int, tuple[int, int | None]]) -> bool:
    """Whether a chunk is one that pyxdf can read after those before it; a stream header is noted in `streams`."""
    head = start + 1 + data[start]
    tag = int.from_bytes(data[head : head + 2], "little")
    body = head + 2
    if tag == FILE_HEADER:
        return _parsed(data[body:end]) is not None
    if tag == BOUNDARY_TAG:
        return True
    if end - body < 4:
        return False
    number = int.from_bytes(data[body : body + 4], "little")
    body += 4
    if tag == STREAM_HEADER:
        described = _described(data[body:end])
        if described is None or number in streams:
            return False
        streams[number] = described
        return True
    if number not in streams:
        return False
    if tag == CLOCK_OFFSET:
        return end - body == 16 and bool(np.isfinite(np.frombuffer(data[body:end], dtype="<f8")).all())
    if tag == STREAM_FOOTER:
        return _parsed(data[body:end]) is not None
    return _samples_fit(data, body, end, streams[number])


def _samples_fit(data: bytes, body: int, end: int, described: tuple[int, int | None]) -> bool:
    """Whether the samples of a chunk fill it exactly (numbers) or could (text): what pyxdf would otherwise guess at."""
    size = data[body] if body < end else 0
    if size not in (1, 4, 8) or body + 1 + size > end:
        return False
    count = int.from_bytes(data[body + 1 : body + 1 + size], "little")
    at = body + 1 + size
    width, item = described
    if item is None:
        return _strings_fit(data, at, end, count, width)
    values = width * item
    if count * (1 + values) > end - at:
        return False
    stamped = np.frombuffer(data, dtype=np.uint8, count=end - at, offset=at)
    if count and stamped.size == count * (9 + values):
        rows = stamped.reshape(count, 9 + values)[:, 0]
        if (rows == 8).all():
            return True
    for _ in range(count):
        if at >= end or data[at] not in (0, 8):
            return False
        at += 1 + data[at] + values
    return at == end


def _strings_fit(data: bytes, at: int, end: int, count: int, width: int) -> bool:
    if count * (1 + 2 * width) > end - at:
        return False
    for _ in range(count):
        if at >= end or data[at] not in (0, 8):
            return False
        at += 1 + data[at]
        for _ in range(width):
            size = data[at] if at < end else 0
            if size not in (1, 4, 8) or at + 1 + size > end:
                return False
            at += 1 + size + int.from_bytes(data[at + 1 : at + 1 + size], "little")
    return at == end


def _parsed(xml: bytes) -> ET.Element | None:
    # Entities are no part of XDF, and the door to files that grow when parsed.
    if b"<!" in xml:
        return None
    try:
        return ET.fromstring(xml.decode("utf-8", "replace"))
    except (ET.ParseError, ValueError):
        return None


def _described(xml: bytes) -> tuple[int, int | None] | None:
    root = _parsed(xml)
    if root is None or root.tag != "info":
        return None
    try:
        width = int(root.findtext("channel_count") or "")
        rate = float(root.findtext("nominal_srate") or "")
    except ValueError:
        return None
    kind = root.findtext("channel_format") or ""
    if not 0 < width <= 100_000 or not np.isfinite(rate) or (kind != "string" and kind not in _ITEM):
        return None
    return width, None if kind == "string" else _ITEM[kind]


@dataclass(frozen=True, eq=False)
class Contents:
    """What `read` found: the streams in the file's order, the file header, and the bytes that could not be used."""

    streams: list[Stream]
    info: dict[str, Any]
    dropped: int


def read(path: Path, *, synchronise: bool = False) -> Contents:
    """Read an XDF file, a truncated or damaged one as far as it goes.

    Parameters
    ----------
    synchronise
        Apply the recorded clock offsets, so that streams of different machines share one clock (pyxdf's robust fit,
        with clock resets). Off, every time stamp is the one in the file.

    Raises
    ------
    FormatError
        The file cannot be opened, is no XDF, or holds nothing that can be read.
    """
    import pyxdf

    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise FormatError(
                f"{path.name} is {size / 2**30:.1f} GB; split it, at most {MAX_BYTES // 2**30} GB are read."
            )
        mended = mend(path.read_bytes())
    except OSError as error:
        raise FormatError(f"{path.name} cannot be read: {error.strerror or error}.") from error
    except FormatError as error:
        if str(error).startswith(path.name):
            raise
        raise FormatError(f"{path.name} cannot be read as XDF: {error}") from error
    # Its messages are about files that were just mended; what matters is in `dropped`.
    quiet = logging.getLogger("pyxdf")
    level = quiet.level
    quiet.setLevel(logging.CRITICAL)
    try:
        found, header = pyxdf.load_xdf(
            io.BytesIO(mended.data), dejitter_timestamps=False, synchronize_clocks=synchronise
        )
    except Exception as error:
        raise FormatError(
            f"{path.name} cannot be read as XDF ({type(error).__name__}: {error}); record or export it again."
        ) from error
    finally:
        quiet.setLevel(level)
    return Contents([_stream(one) for one in found], _plain((header or {}).get("info")), mended.dropped)


def _stream(found: Mapping[str, Any]) -> Stream:
    info = found["info"]
    desc = _plain((info.get("desc") or [None])[0])
    text = _first(info, "channel_format") == "string"
    series = found["time_series"]
    t = np.asarray(found["time_stamps"], dtype=np.float64)
    values: Floats | list[str]
    if text:
        values = ["\t".join(row) for row in series]
    else:
        values = np.asarray(series, dtype=np.float64)
    told = desc.get("channels", {}).get("channel", []) if isinstance(desc.get("channels"), dict) else []
    rows = [one if isinstance(one, dict) else {} for one in (told if isinstance(told, list) else [told])]
    channels = [tuple(str(row.get(k) or "") for k in ("label", "type", "unit", "eye")) for row in rows]
    if text or len(channels) != np.shape(values)[1]:
        channels = []
    return Stream(
        name=_first(info, "name"),
        type=_first(info, "type"),
        t=t,
        values=values,
        channels=channels,  # type: ignore[arg-type]
        rate_hz=float(_first(info, "nominal_srate")),
        offsets=np.column_stack([found["clock_times"], found["clock_values"]]).astype(np.float64).reshape(-1, 2),
        source_id=_first(info, "source_id"),
        desc={key: value for key, value in desc.items() if key != "channels"},
    )


def _first(info: Mapping[str, Any], key: str) -> str:
    value = (info.get(key) or [""])[0]
    return value if isinstance(value, str) else ""


def _plain(node: Any) -> dict[str, Any]:
    """pyxdf's dicts of lists as plain nested dicts; what stands there once is not in a list."""
    if not isinstance(node, Mapping):
        return {}
    out: dict[str, Any] = {}
    for key, values in node.items():
        plain = [_plain(value) if isinstance(value, Mapping) else (value or "") for value in values]
        out[key] = plain[0] if len(plain) == 1 else plain
    return out
