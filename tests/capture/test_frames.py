"""The wire and disk frame: whole or refused, never half believed."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from uuid import UUID, uuid4

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from capture.frames import GAZE_CHANNELS, HEADER_SIZE, Frame, FrameError, decode, encode, good_length, peek, read_frames

EPOCH = UUID("12345678-1234-5678-1234-567812345678")


def frame(sequence: int = 0, n: int = 12, channels: int = 30, stream: int = 1) -> Frame:
    rng = np.random.default_rng(sequence)
    samples = rng.normal(size=(n, 1 + channels))
    samples[:, 0] = sequence * 0.1 + np.arange(n) / 120
    samples[0, -1] = np.nan
    return Frame(stream, EPOCH, sequence, samples)


def repack(data: bytes, **fields: object) -> bytes:
    """The same frame with header fields or payload replaced and a CRC that is right for the forgery."""
    names = ["magic", "stream", "channels", "epoch", "sequence", "n", "t0", "t1", "length"]
    values = dict(zip(names, struct.unpack_from("<4sHH16sQIddI", data), strict=True))
    payload = fields.pop("payload", data[HEADER_SIZE:-4])
    values.update(fields)
    values["length"] = len(payload)  # type: ignore[arg-type]
    body = struct.pack("<4sHH16sQIddI", *values.values()) + payload  # type: ignore[operator]
    return body + struct.pack("<I", zlib.crc32(body))


@settings(max_examples=200, deadline=None)
@given(
    samples=st.tuples(st.integers(1, 40), st.integers(1, 33)).flatmap(
        lambda shape: arrays(np.float64, shape, elements=st.floats(width=64))
    ),
    sequence=st.integers(0, 2**64 - 1),
    stream=st.integers(0, 2**16 - 1),
    epoch=st.uuids(),
)
def test_every_frame_comes_back_bit_for_bit(samples: np.ndarray, sequence: int, stream: int, epoch: UUID) -> None:
    back = decode(encode(Frame(stream, epoch, sequence, samples)))
    assert (back.stream, back.epoch, back.sequence) == (stream, epoch, sequence)
    assert back.samples.tobytes() == samples.astype("<f8").tobytes()


@settings(max_examples=300, deadline=None)
@given(position=st.integers(0, 10_000), flip=st.integers(1, 255))
def test_any_flipped_byte_is_refused(position: int, flip: int) -> None:
    data = bytearray(encode(frame()))
    data[position % len(data)] ^= flip
    with pytest.raises(FrameError):
        decode(bytes(data))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400))
def test_arbitrary_bytes_are_refused_with_one_sentence(data: bytes) -> None:
    with pytest.raises(FrameError) as caught:
        decode(data)
    assert str(caught.value).endswith(".")


def test_the_header_can_be_read_without_the_payload() -> None:
    data = encode(frame(7, n=5))
    header = peek(data[:HEADER_SIZE])
    assert (header.stream, header.channels, header.epoch, header.sequence, header.n) == (1, 30, EPOCH, 7, 5)
    assert (header.t0, header.t1, header.size) == (frame(7, n=5).t0, frame(7, n=5).t1, len(data))


def test_a_corrupted_payload_names_the_frame_and_the_crc() -> None:
    data = bytearray(encode(frame(3)))
    data[HEADER_SIZE + 10] ^= 1
    with pytest.raises(FrameError, match=r"^Frame 3 of stream 1 is damaged: its CRC does not match its bytes\.$"):
        decode(bytes(data))


def test_a_wrong_magic_says_what_it_starts_with() -> None:
    with pytest.raises(FrameError, match=r"^Not a Gazeroom frame: it starts with b'XDF:', not b'GZR1'\.$"):
        decode(b"XDF:" + encode(frame())[4:])


def test_bytes_after_the_frame_are_refused() -> None:
    with pytest.raises(FrameError, match="is followed by 3 bytes"):
        decode(encode(frame()) + b"abc")


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"n": 0}, "claims 0 samples"),
        ({"n": 2**31}, "claims 2147483648 samples"),
        ({"n": 11}, "does not unpack to its 11 samples of 30 channels"),
        ({"channels": 29}, "does not unpack to its 12 samples of 29 channels"),
        ({"t1": 99.0}, "has times in its header that are not those of its samples"),
        ({"payload": b"not zstd"}, "has a payload that zstd cannot open"),
        ({"payload": zstandard.compress(bytes(50_000_000))}, "does not unpack to its 12 samples"),
    ],
    ids=["no_samples", "too_many_samples", "fewer_samples", "fewer_channels", "other_times", "not_zstd", "bomb"],
)
def test_a_forged_frame_with_a_right_crc_is_refused(fields: dict[str, object], sentence: str) -> None:
    with pytest.raises(FrameError, match=sentence):
        decode(repack(encode(frame()), **fields))


@pytest.mark.parametrize("shape", [(0, 31), (31,), (2, 3, 4)])
def test_a_frame_without_rows_of_samples_is_not_written(shape: tuple[int, ...]) -> None:
    with pytest.raises(FrameError, match="needs samples of shape"):
        encode(Frame(1, EPOCH, 0, np.zeros(shape)))


def test_reading_stops_at_a_torn_tail_wherever_it_is_torn(tmp_path: Path) -> None:
    path = tmp_path / "gaze.gzr"
    whole = [encode(frame(i)) for i in range(3)]
    for cut in (1, 3, HEADER_SIZE - 1, HEADER_SIZE, HEADER_SIZE + 1, len(whole[2]) - 1):
        path.write_bytes(whole[0] + whole[1] + whole[2][:cut])
        assert [f.sequence for f in read_frames(path)] == [0, 1]
        assert good_length(path) == len(whole[0]) + len(whole[1])


@pytest.mark.parametrize("tail", [bytes(300), b"\xff" * 300, b"GZR1" + b"\x07" * 300], ids=["zeros", "ones", "magic"])
def test_garbage_after_the_last_frame_is_a_torn_tail(tmp_path: Path, tail: bytes) -> None:
    path = tmp_path / "gaze.gzr"
    path.write_bytes(encode(frame(0)) + tail)
    assert good_length(path) == len(encode(frame(0)))


def test_damage_before_good_frames_is_an_error_and_not_a_tail(tmp_path: Path) -> None:
    path = tmp_path / "gaze.gzr"
    first, second, third = (bytearray(encode(frame(i))) for i in range(3))
    second[100] ^= 1
    path.write_bytes(first + second + third)
    with pytest.raises(FrameError, match=rf"^gaze.gzr is damaged at byte {len(first)}, before its end: Frame 1 "):
        list(read_frames(path))


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "gaze.gzr"
    path.write_text("time,x,y\n0,1,2\n")
    with pytest.raises(FrameError, match=r"^gaze.gzr is not a frame file: Not a Gazeroom frame"):
        list(read_frames(path))


def test_an_empty_file_has_no_frames(tmp_path: Path) -> None:
    path = tmp_path / "gaze.gzr"
    path.touch()
    assert list(read_frames(path)) == []


def test_the_thirty_gaze_channels_have_distinct_labels() -> None:
    assert len(GAZE_CHANNELS) == len(set(GAZE_CHANNELS)) == 30
    assert (
        GAZE_CHANNELS[0] == "LeftScreenX" and GAZE_CHANNELS[14] == "RightScreenX" and GAZE_CHANNELS[-2] == "FrameNumber"
    )


def test_epochs_are_kept_apart() -> None:
    one, other = uuid4(), uuid4()
    assert (
        decode(encode(Frame(1, one, 0, np.ones((1, 2))))).epoch
        != decode(encode(Frame(1, other, 0, np.ones((1, 2))))).epoch
    )
