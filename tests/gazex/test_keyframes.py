"""Key frames: the published formula, in the published order, and a file that plays."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

from gazex.evidence.boxes import boxes
from gazex.evidence.heatmaps import Field
from gazex.evidence.keyframes import key_frames, quarter_gray, read_gray, write_video
from tests.gazex.test_evidence_boxes import SENTENCES, scanpath

GRAY = np.random.default_rng(0).integers(0, 256, (100, 120)).astype(np.uint8)


def found():
    return [f for _, f in boxes(scanpath(2, places=5), SENTENCES, 400, 480)]


def test_a_frame_is_the_image_dark_where_nobody_looked():
    shown = found()
    frames = key_frames(GRAY, shown)
    assert frames.shape == (len(shown), 100, 120) and frames.dtype == np.uint8
    for frame, focus in zip(frames, shown, strict=True):
        raw = focus.field.whole().astype(np.float64)
        share = np.log(1 + raw + 1e-6) / np.log(1 + raw.max() + 1e-6)
        assert np.abs(frame - np.floor(GRAY * (0.15 + 0.85 * share))).max() <= 1  # float32 at a whole number
        assert np.mean(frame != np.floor(GRAY * (0.15 + 0.85 * share))) < 0.001
        peak = np.unravel_index(raw.argmax(), raw.shape)
        assert frame[peak] >= GRAY[peak] - 1


def test_clusters_come_in_the_order_of_time_and_the_whole_sentence_last():
    order = [(k, f.cluster) for k, f in boxes(scanpath(2, places=5), SENTENCES, 400, 480)]
    for sentence in (0, 1):
        numbers = [cluster for k, cluster in order if k == sentence]
        assert numbers == [*range(len(numbers) - 1), -1] and len(numbers) > 2
    assert [k for k, _ in order] == sorted(k for k, _ in order)


def test_no_gaze_is_no_frame_and_no_file(tmp_path: Path):
    assert key_frames(GRAY, []).shape == (0, 100, 120)
    with pytest.raises(ValueError, match="no frame"):
        write_video(tmp_path / "v.png", key_frames(GRAY, []))
    assert list(tmp_path.iterdir()) == []
    empty = Field(np.zeros((0, 0), np.float32), 0, 0, (100, 120))
    assert not empty.shown().any() and empty.shown().shape == (100, 120)


@pytest.mark.parametrize("name", ["v.png", "v.webp", "v.PNG"])
def test_the_file_plays_the_frames_as_they_are_one_a_second(tmp_path: Path, name: str):
    frames = key_frames(GRAY, found())
    write_video(tmp_path / name, frames)
    assert [p.name for p in tmp_path.iterdir()] == [name]
    with Image.open(tmp_path / name) as video:
        assert video.n_frames == len(frames)
        for frame, shown in zip(frames, ImageSequence.Iterator(video), strict=True):
            assert np.array_equal(np.asarray(shown.convert("L")), frame)
            assert shown.info["duration"] == 1000


def test_other_kinds_of_file_are_refused_in_one_sentence(tmp_path: Path):
    with pytest.raises(ValueError, match=r"^v\.mp4 must end in \.png or \.webp"):
        write_video(tmp_path / "v.mp4", key_frames(GRAY, found()))
    assert list(tmp_path.iterdir()) == []


def test_the_image_is_quartered_by_means_and_keeps_its_levels():
    pixels = np.arange(8 * 12, dtype=np.uint8).reshape(8, 12)
    expected = pixels.reshape(2, 4, 3, 4).mean(axis=(1, 3))
    assert np.abs(quarter_gray(pixels) - expected).max() <= 0.5
    assert quarter_gray(np.zeros((402, 403), np.uint8)).shape == (100, 100)
    deep = quarter_gray(np.linspace(1000, 41000, 64 * 64).astype(np.uint16).reshape(64, 64))
    assert deep.min() < 10 and deep.max() > 245
    assert not quarter_gray(np.full((40, 40), 7, np.uint16)).any()


def test_images_that_cannot_be_read_are_named(tmp_path: Path):
    (tmp_path / "a.png").write_bytes(b"no image")
    (tmp_path / "a.dcm").write_bytes(b"no image either")
    for name, said in (("a.png", "a.png is not an image"), ("a.dcm", "a.dcm is not a DICOM"), ("b.png", "no image")):
        with pytest.raises(ValueError, match=said):
            read_gray(tmp_path / name)
    head = b"IHDR" + struct.pack(">IIBBBBB", 30_000, 30_000, 8, 0, 0, 0, 0)
    chunk = struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head))
    (tmp_path / "huge.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 0) + b"IDAT" + bytes(4))
    with pytest.raises(ValueError, match=r"^huge\.png has .* pixels; that is no radiograph\.$"):
        read_gray(tmp_path / "huge.png")


@pytest.mark.parametrize("mode", ["L", "RGB", "I;16"])
def test_gray_colour_and_deep_images_are_read_as_gray(tmp_path: Path, mode: str):
    pixels = np.arange(64, dtype=np.uint8).reshape(8, 8)
    image = Image.fromarray(pixels.astype(np.uint16) * 100) if mode == "I;16" else Image.fromarray(pixels).convert(mode)
    image.save(tmp_path / "a.png")
    back = read_gray(tmp_path / "a.png")
    assert back.dtype == (np.uint16 if mode == "I;16" else np.uint8)
    assert np.array_equal(back, pixels.astype(back.dtype) * (100 if mode == "I;16" else 1))
