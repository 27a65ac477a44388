"""The conformance set: what we store and show against what pydicom says it should be."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.pixels import apply_modality_lut, apply_voi_lut
from pydicom.uid import (
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from study.dicom.decoding import Decoded, read_dicom
from study.dicom.pseudonyms import Pseudonyms
from study.dicom.voi import display
from tests.reference import REFERENCE, needs_reference

from .dicoms import KEY, lut, make_dataset, ramp, write

NAMES = Pseudonyms(KEY)
CURVE = (4095 * np.linspace(0, 1, 4096) ** 0.6).round().astype(np.int64)

CASES: dict[str, dict[str, Any]] = {
    "12 bit with a LINEAR window": {"WindowCenter": 2000, "WindowWidth": 1500},
    "8 bit": {"bits": 8, "WindowCenter": 100, "WindowWidth": 120},
    "10 bit": {"bits": 10, "WindowCenter": 512, "WindowWidth": 700},
    "14 bit": {"bits": 14, "WindowCenter": 9000, "WindowWidth": 6000},
    "16 bit": {"bits": 16, "WindowCenter": 30000, "WindowWidth": 50000},
    "MONOCHROME1": {"PhotometricInterpretation": "MONOCHROME1", "WindowCenter": 2000, "WindowWidth": 1500},
    "LINEAR_EXACT": {"WindowCenter": 2000, "WindowWidth": 1500, "VOILUTFunction": "LINEAR_EXACT"},
    "SIGMOID": {"WindowCenter": 2000, "WindowWidth": 1500, "VOILUTFunction": "SIGMOID"},
    "a narrow window": {"WindowCenter": 2000, "WindowWidth": 2},
    "several windows": {"WindowCenter": [1800, 2500], "WindowWidth": [1200, 800]},
    "VOI LUT": {"VOILUTSequence": lut(0, 12, CURVE)},
    "VOI LUT before window": {"VOILUTSequence": lut(0, 12, CURVE), "WindowCenter": 100, "WindowWidth": 50},
    "VOI LUT of a part": {"VOILUTSequence": lut(1000, 12, CURVE[:1500])},
    "rescale with whole numbers": {
        "RescaleSlope": 2, "RescaleIntercept": 100, "WindowCenter": 4000, "WindowWidth": 3000,
    },
    "rescale to negative values": {
        "RescaleSlope": 1, "RescaleIntercept": -1024, "WindowCenter": 500, "WindowWidth": 1500,
    },
    "rescale with a fraction": {
        "RescaleSlope": "0.37", "RescaleIntercept": "-12.5", "WindowCenter": 700, "WindowWidth": 600,
    },
    "rescale with a fraction, LINEAR_EXACT": {
        "RescaleSlope": "0.37", "RescaleIntercept": "-12.5", "WindowCenter": 700, "WindowWidth": 600,
        "VOILUTFunction": "LINEAR_EXACT",
    },
    "rescale with a fraction, SIGMOID": {
        "RescaleSlope": "0.37", "RescaleIntercept": "-12.5", "WindowCenter": 700, "WindowWidth": 600,
        "VOILUTFunction": "SIGMOID",
    },
    "rescale with a fraction, VOI LUT": {
        "RescaleSlope": "0.5", "RescaleIntercept": 10, "VOILUTSequence": lut(100, 12, CURVE[::2]),
    },
    "rescale downwards": {"RescaleSlope": -1, "RescaleIntercept": 4095, "WindowCenter": 2500, "WindowWidth": 1200},
    "rescale downwards with a fraction": {
        "RescaleSlope": "-0.5", "RescaleIntercept": 3000, "WindowCenter": 1900, "WindowWidth": 1200,
    },
    "rescale beyond 16 bit": {
        "RescaleSlope": 100, "RescaleIntercept": -5, "WindowCenter": 200000, "WindowWidth": 150000,
    },
    "modality LUT": {
        "ModalityLUTSequence": lut(0, 16, (CURVE * 15)), "WindowCenter": 30000, "WindowWidth": 40000,
    },
    "signed 12 bit": {
        "signed": True, "pixels": ramp(top=2047, bottom=-2048), "WindowCenter": -300, "WindowWidth": 900,
    },
    "signed 16 bit": {
        "bits": 16, "signed": True, "pixels": ramp(top=32767, bottom=-32768),
        "WindowCenter": 1000, "WindowWidth": 30000,
    },
    "signed with a VOI LUT from below 0": {
        "signed": True, "pixels": ramp(top=2047, bottom=-2048),
        "VOILUTSequence": lut(-1500, 12, CURVE[:3000], descriptor_vr="SS"),
    },
    "no window at all": {},
}  # fmt: skip


def save(path: Path, syntax: Any = None, **changes: Any) -> Path:
    return write(make_dataset(**changes), path / "image.dcm", syntax)


def read(path: Path) -> Decoded:
    return read_dicom(path, NAMES, "fallback")


def modality_of(decoded: Decoded) -> NDArray[np.float64]:
    """The stored frame taken back to modality values."""
    a = decoded.attributes
    return decoded.frame / a["StoredScale"] + a["StoredOffset"]


def pydicoms_display(ds: Dataset, modality: NDArray[Any]) -> NDArray[np.float64]:
    """pydicom's answer, scaled to 0–1 by the range it maps to."""
    out = apply_voi_lut(modality, ds).astype(np.float64)
    if "VOILUTSequence" in ds:
        return out / (2 ** ds.VOILUTSequence[0].LUTDescriptor[2] - 1)
    if "ModalityLUTSequence" in ds:
        ends = [0, 2 ** ds.ModalityLUTSequence[0].LUTDescriptor[2] - 1]
    elif ds.PixelRepresentation:
        ends = [-(2 ** (ds.BitsStored - 1)), 2 ** (ds.BitsStored - 1) - 1]
    else:
        ends = [0, 2**ds.BitsStored - 1]
    low, high = (float(ds.get("RescaleSlope", 1)) * end + float(ds.get("RescaleIntercept", 0)) for end in ends)
    return (out - low) / (high - low)


@pytest.mark.parametrize("changes", CASES.values(), ids=CASES.keys())
def test_the_stored_frame_is_pydicoms_modality_output(tmp_path: Path, changes: dict[str, Any]) -> None:
    path = save(tmp_path, **changes)
    decoded = read(path)
    ds = dcmread(path)
    np.testing.assert_allclose(modality_of(decoded), apply_modality_lut(ds.pixel_array, ds), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "changes", [c for c in CASES.values() if c], ids=[name for name, changes in CASES.items() if changes]
)
def test_the_default_voi_shows_what_pydicom_shows(tmp_path: Path, changes: dict[str, Any]) -> None:
    path = save(tmp_path, **changes)
    decoded = read(path)
    ds = dcmread(path)
    expected = pydicoms_display(ds, apply_modality_lut(ds.pixel_array, ds))
    shown = display(decoded.frame.astype(np.float64), decoded.voi[0])
    np.testing.assert_allclose(shown, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("index", [0, 1])
def test_every_window_of_the_file_is_kept_in_order(tmp_path: Path, index: int) -> None:
    path = save(tmp_path, **CASES["several windows"])
    decoded, ds = read(path), dcmread(path)
    expected = apply_voi_lut(ds.pixel_array, ds, index=index) / 4095
    np.testing.assert_allclose(display(decoded.frame.astype(float), decoded.voi[index]), expected, atol=1e-9)


@pytest.mark.parametrize(
    ("syntax", "bits", "signed"),
    [
        (syntax, bits, signed)
        for syntax in (RLELossless, JPEGLSLossless, JPEG2000Lossless)
        for bits, signed in ((8, False), (12, False), (16, False), (16, True))
        if not (signed and syntax == JPEGLSLossless)  # JPEG-LS has no signed pixels
    ],
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_compressed_pixels_are_the_same_as_plain_ones(tmp_path: Path, syntax: Any, bits: int, signed: bool) -> None:
    pixels = ramp(top=2 ** (bits - signed) - 1, bottom=-(2 ** (bits - 1)) if signed else 0)
    plain = read(save(tmp_path, pixels=pixels, bits=bits, signed=signed))
    packed = read(save(tmp_path, syntax, pixels=pixels, bits=bits, signed=signed))
    np.testing.assert_array_equal(packed.frame, plain.frame)
    np.testing.assert_array_equal(modality_of(packed), pixels)


def test_implicit_vr_reads_as_explicit_does(tmp_path: Path) -> None:
    changes = {"VOILUTSequence": lut(0, 12, CURVE), "WindowCenter": 2000, "WindowWidth": 1500}
    explicit = read(save(tmp_path, **changes))
    ds = make_dataset(**changes)
    ds.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    implicit = read(write(ds, tmp_path / "implicit.dcm"))
    np.testing.assert_array_equal(implicit.frame, explicit.frame)
    assert implicit.voi == explicit.voi


@pytest.mark.parametrize("name", ["12 bit with a LINEAR window", "MONOCHROME1", "signed 12 bit", "VOI LUT", "8 bit"])
def test_the_kept_file_decodes_to_the_same_frame(tmp_path: Path, name: str) -> None:
    decoded = read(save(tmp_path, **CASES[name]))
    (tmp_path / "kept.dcm").write_bytes(decoded.source)
    again = read(tmp_path / "kept.dcm")
    np.testing.assert_array_equal(again.frame, decoded.frame)
    assert again.voi == decoded.voi
    assert again.inverted == decoded.inverted


def test_monochrome1_is_marked_and_not_turned_over(tmp_path: Path) -> None:
    decoded = read(save(tmp_path, PhotometricInterpretation="MONOCHROME1"))
    assert decoded.inverted
    np.testing.assert_array_equal(decoded.frame, ramp())


@pytest.mark.parametrize(("photometric", "darkest"), [("MONOCHROME2", 100), ("MONOCHROME1", 3000)])
def test_padding_is_shown_darkest_and_moves_no_window(tmp_path: Path, photometric: str, darkest: int) -> None:
    pixels = ramp(top=3000, bottom=100)
    bare = read(save(tmp_path, pixels=pixels, PhotometricInterpretation=photometric))
    padded = pixels.copy()
    padded[:, :10] = 4000
    padded[:5, :] = 4010
    decoded = read(
        save(
            tmp_path, pixels=padded, PhotometricInterpretation=photometric, PixelPaddingValue=4000,
            PixelPaddingRangeLimit=4010,
        )
    )  # fmt: skip
    inside = decoded.frame[5:, 10:]
    np.testing.assert_array_equal(inside, pixels[5:, 10:])
    edge = inside.max() if photometric == "MONOCHROME1" else inside.min()
    assert set(np.unique(decoded.frame[:, :10])) == {edge}
    assert abs(decoded.voi[0]["width"] - bare.voi[0]["width"]) < 60
    assert abs(int(edge) - darkest) < 60


def test_signed_padding_written_as_unsigned_is_recognised(tmp_path: Path) -> None:
    pixels = ramp(top=2000, bottom=-500)
    pixels[0] = -32768
    ds = make_dataset(pixels, bits=16, signed=True)
    ds.add_new("PixelPaddingValue", "US", 32768)
    decoded = read(write(ds, tmp_path / "a.dcm"))
    assert decoded.frame.max() <= 2500
    assert decoded.attributes["StoredOffset"] == modality_of(decoded).min()


def test_unsigned_padding_written_as_signed_is_recognised(tmp_path: Path) -> None:
    pixels = ramp(top=2000)
    pixels[0] = 65535
    ds = make_dataset(pixels, bits=16)
    ds.add_new("PixelPaddingValue", "SS", -1)
    assert read(write(ds, tmp_path / "a.dcm")).frame.max() == 2000


def test_without_a_window_the_bulk_of_the_histogram_is_shown(tmp_path: Path) -> None:
    pixels = np.full((100, 100), 1000)
    pixels[:, 50:] = 2000
    pixels[0, 0], pixels[0, 1] = 0, 4095
    decoded = read(save(tmp_path, pixels=pixels))
    shown = display(np.array([1000.0, 2000.0]), decoded.voi[0])
    np.testing.assert_allclose(shown, [0, 1])


def test_a_window_that_the_standard_forbids_is_left_out(tmp_path: Path) -> None:
    decoded = read(save(tmp_path, WindowCenter=[5, 2000], WindowWidth=[0, 900]))
    assert [(voi["center"], voi["width"]) for voi in decoded.voi] == [(2000.0, 900.0)]


def test_overlays_in_the_unused_bits_are_no_pixels(tmp_path: Path) -> None:
    ds = make_dataset(ramp())
    ds.PixelData = (np.frombuffer(ds.PixelData, "<u2") | 0xA000).astype("<u2").tobytes()
    decoded = read(write(ds, tmp_path / "a.dcm"))
    np.testing.assert_array_equal(decoded.frame, ramp())
    kept = dcmread(BytesIO(decoded.source))
    assert np.frombuffer(kept.PixelData, "<u2").max() <= 4095


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"PixelSpacing": ["0.3", "0.15"], "ImagerPixelSpacing": ["0.4", "0.2"]}, (0.3, 0.15)),
        ({"ImagerPixelSpacing": ["0.4", "0.2"]}, (0.4, 0.2)),
        ({"PixelSpacing": ["0", "0"], "ImagerPixelSpacing": ["0.4", "0.2"]}, (0.4, 0.2)),
        ({}, None),
    ],
    ids=["at the patient first", "at the detector", "nonsense is no spacing", "none"],
)
def test_spacing_is_rows_then_columns(tmp_path: Path, changes: dict[str, Any], expected: Any) -> None:
    assert read(save(tmp_path, **changes)).spacing_mm == expected


@needs_reference
def test_the_reference_radiograph_is_read_as_pydicom_reads_it() -> None:
    (path,) = (REFERENCE / "chest_xrays").glob("*.dcm")
    decoded = read(path)
    ds = dcmread(path)
    np.testing.assert_array_equal(decoded.frame, ds.pixel_array)
    assert (decoded.view, decoded.spacing_mm, decoded.inverted) == ("PA", (0.168, 0.168), False)
    assert decoded.attributes["PatientAge"] == "062Y"
