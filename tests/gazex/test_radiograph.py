"""Radiographs from files: what is an image is read, what is none is refused by its header, in one sentence."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset

from gazex.__main__ import main
from gazex.radiograph import ImageError, picture_size, read_picture, read_radiograph
from gazex.schema import SchemaError, read_image

HERE = Path(__file__).resolve().parents[2]
LEVELS = np.random.default_rng(1).integers(5, 4000, (24, 30)).astype(np.uint16)


def dicom(path: Path, rows: int = 24, columns: int = 30, data: bytes | None = LEVELS.tobytes(), **changes) -> Path:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1", "1.2.3"
    ds = FileDataset(None, {}, file_meta=meta, preamble=bytes(128))
    ds.SOPClassUID, ds.SOPInstanceUID, ds.Rows, ds.Columns = "1.2.840.10008.5.1.4.1.1.1", "1.2.3", rows, columns
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 12, 11
    if data is not None:
        ds.PixelData = data
    for name, value in changes.items():
        if value is None:
            delattr(ds, name)
        else:
            setattr(ds, name, value)
    ds.save_as(path, enforce_file_format=True)
    return path


def png(path: Path, rows: int, columns: int) -> Path:
    """A whole grayscale PNG of black pixels, written without holding them."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packed = zlib.compressobj(1)
    data = b"".join(packed.compress(bytes(1 + columns)) for _ in range(rows)) + packed.flush()
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", data) + chunk(b"IEND", b""))
    return path


def test_gray_levels_come_back_as_they_are_dense_bright_from_zero_on(tmp_path: Path):
    Image.fromarray(LEVELS).save(tmp_path / "a.png")
    assert np.array_equal(read_radiograph(tmp_path / "a.png").pixels, LEVELS)
    assert picture_size(tmp_path / "a.png") == (24, 30)
    plain = read_radiograph(dicom(tmp_path / "a.dcm", PixelSpacing=[0.2, 0.1]))
    assert np.array_equal(plain.pixels, LEVELS - LEVELS.min()) and plain.spacing == (0.2, 0.1)
    dicom(tmp_path / "without-suffix", PhotometricInterpretation="MONOCHROME1")
    inverted = read_radiograph(tmp_path / "without-suffix")
    assert np.array_equal(inverted.pixels, LEVELS.max() - LEVELS) and inverted.spacing is None
    dicom(tmp_path / "dicom.png")
    assert np.array_equal(read_radiograph(tmp_path / "dicom.png").pixels, plain.pixels)


def test_colours_that_are_gray_are_read_where_asked_for_and_others_never(tmp_path: Path):
    gray = Image.fromarray((LEVELS >> 4).astype(np.uint8))
    gray.convert("RGB").save(tmp_path / "gray.png")
    assert np.array_equal(read_picture(tmp_path / "gray.png", gray_colours=True), np.asarray(gray))
    Image.new("RGB", (30, 24), (90, 90, 91)).save(tmp_path / "blue.png")
    for name, gray_colours in (("gray.png", False), ("blue.png", False), ("blue.png", True)):
        with pytest.raises(ImageError, match=r"not a grayscale image \(mode RGB\)"):
            read_picture(tmp_path / name, gray_colours=gray_colours)


def no_image(folder: Path) -> dict[str, Path]:
    whole = dicom(folder / "whole.dcm").read_bytes()
    picture = folder / "whole.png"
    Image.fromarray(LEVELS).save(picture)
    for name, data in (
        ("empty.png", b""), ("empty.dcm", b""), ("text.png", b"hello"), ("text.dcm", b"hello" * 99),
        ("cut.png", picture.read_bytes()[:300]), ("cut.dcm", whole[: len(whole) - 700]), ("cut-head.dcm", whole[:200]),
    ):  # fmt: skip
        (folder / name).write_bytes(data)
    Image.new("RGB", (30, 24)).save(folder / "rgb.png")
    dicom(folder / "no-pixels.dcm", data=None)
    dicom(folder / "no-rows.dcm", Rows=None)
    dicom(folder / "no-photometry.dcm", PhotometricInterpretation=None)
    dicom(folder / "odd-bits.dcm", BitsAllocated=12)
    dicom(folder / "film.dcm", rows=12, NumberOfFrames=2)
    dicom(folder / "rgb.dcm", rows=8, SamplesPerPixel=3, PhotometricInterpretation="RGB", BitsAllocated=8)
    dicom(folder / "no-spacing.dcm", PixelSpacing=[0, 0])
    dicom(folder / "spacing.dcm", PixelSpacing=[1e6, 0.1])
    dicom(folder / "frames.dcm", NumberOfFrames=1_000_000)
    return {"nothing.png": folder / "nothing.png", "nothing.dcm": folder / "nothing.dcm", "folder": folder}


NO_IMAGE = (
    "nothing.png", "nothing.dcm", "folder", "empty.png", "empty.dcm", "text.png", "text.dcm", "cut.png", "cut.dcm",
    "cut-head.dcm", "rgb.png", "no-pixels.dcm", "no-rows.dcm", "no-photometry.dcm", "odd-bits.dcm", "film.dcm",
    "rgb.dcm", "no-spacing.dcm", "spacing.dcm", "frames.dcm",
)  # fmt: skip


@pytest.mark.parametrize("name", NO_IMAGE)
def test_what_is_no_radiograph_is_refused_in_one_sentence_that_names_it(tmp_path: Path, capsys, name):
    path = no_image(tmp_path).get(name, tmp_path / name)
    with pytest.raises(ImageError, match=r"^[^\n]+\.$"):
        read_radiograph(path)
    assert main(["read", str(path)]) == 2
    out, err = capsys.readouterr()
    assert not out and err.count("\n") == 1 and path.name in err and err.rstrip().endswith(".")
    assert "force" not in err and "Errno" not in err


@pytest.mark.parametrize("name", ["huge.png", "huge.dcm"])
def test_thirty_thousand_pixels_a_side_are_refused_without_taking_their_memory(tmp_path: Path, name):
    path = tmp_path / name
    if path.suffix == ".png":
        png(path, 30_000, 30_000)
    else:
        size = 2 * 30_000**2
        dicom(path, 30_000, 30_000, data=b"\xab\xcd" * 8)
        data = path.read_bytes()
        path.write_bytes(data.replace(struct.pack("<I", 16) + b"\xab\xcd", struct.pack("<I", size) + b"\xab\xcd"))
        os.truncate(path, len(data) - 16 + size)  # a hole: it takes no disk
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_AS, (1_500_000_000,) * 2);"
        "from gazex.__main__ import main; sys.exit(main(['read', sys.argv[1]]))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(path)], cwd=HERE, capture_output=True, text=True, check=False, timeout=60,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip
    assert run.returncode == 2, run.stderr
    assert run.stderr.startswith(name) and run.stderr.endswith("that is no radiograph.\n")
    assert run.stderr.count("\n") == 1


def test_an_image_larger_than_pillow_warns_of_is_refused_without_a_warning(tmp_path: Path, recwarn):
    with pytest.raises(ImageError, match=r"^large\.png has 12000 × 10000 pixels; that is no radiograph\.$"):
        read_radiograph(png(tmp_path / "large.png", 10_000, 12_000))
    with pytest.raises(SchemaError, match="that is no radiograph"):
        read_image(tmp_path / "large.png")
    assert not recwarn.list
