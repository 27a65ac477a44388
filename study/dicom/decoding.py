"""Decode a radiograph once: from the file's pixels to the stored frame that the viewer and GazeX see.

The stored frame is uint16, v = (m − offset) · scale, where m is what the modality LUT or rescale gives:

- whole modality values within 16 bits are stored as they are (offset 0, scale 1), or shifted where some are negative;
- values that are not whole, or span more than 16 bits, keep the file's own steps: scale = 1 / |slope|, so that nothing
  is rounded and v still grows with m;
- VOI windows and tables are transformed with the same offset and scale (`study.dicom.voi`).

Pixel padding is no tissue: it takes the value that is displayed darkest and stays out of every statistic.
MONOCHROME1 stays as it is in the file; `inverted` says that the display must turn it over.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.filereader import read_file_meta_info
from pydicom.pixels import get_decoder
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    ComputedRadiographyImageStorage,
    DeflatedExplicitVRLittleEndian,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
    SecondaryCaptureImageStorage,
)

from study.dicom import voi as vois
from study.dicom.deidentify import (
    IDENTITY,
    KEEP,
    LUT_SEQUENCES,
    MODALITIES,
    deidentified,
    identities,
    lut_items,
    refuse_burned_in,
    text,
    value,
    values_of,
)
from study.dicom.errors import FileRefused
from study.dicom.limits import MAX_FILE_BYTES, MAX_PIXELS, MAX_SIDE
from study.dicom.pseudonyms import Pseudonyms

NATIVE: Final = frozenset({ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian})
CODESTREAMS: Final = frozenset(
    {
        JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1, JPEGLSLossless, JPEGLSNearLossless,
        JPEG2000Lossless, JPEG2000, HTJ2KLossless, HTJ2KLosslessRPCL, HTJ2K,
    }
)  # fmt: skip
"""Compressed forms whose stream ends with the marker FF D9."""
SOP_CLASSES: Final = frozenset(
    {ComputedRadiographyImageStorage, DigitalXRayImageStorageForPresentation, SecondaryCaptureImageStorage}
)
_READ: Final = [
    *KEEP, *IDENTITY, *LUT_SEQUENCES, "NumberOfFrames", "PixelData", "FloatPixelData", "DoubleFloatPixelData",
]  # fmt: skip


@dataclass(frozen=True)
class Decoded:
    """One radiograph, read and de-identified.

    Attributes
    ----------
    frame
        Stored frame, uint16 [rows, columns].
    source
        The de-identified file that is kept.
    inverted
        MONOCHROME1.
    voi
        Stored units, the default first; never empty.
    spacing_mm
        (between rows, between columns), or None where the file gives none.
    patient, examination
        Keyed hashes, 64 hexadecimal digits.
    attributes
        De-identified facts about the image, JSON-ready.
    """

    frame: NDArray[np.uint16]
    source: bytes
    inverted: bool
    voi: list[dict[str, Any]]
    spacing_mm: tuple[float, float] | None
    view: str
    patient: str
    examination: str
    attributes: dict[str, Any]


@dataclass(frozen=True)
class Stored:
    """A stored frame with its transform v = (m − offset) · scale and the histogram of its tissue."""

    frame: NDArray[np.uint16]
    offset: float
    scale: float
    counts: NDArray[np.int64]


def is_dicom(head: bytes) -> bool:
    """Whether a file's first 132 bytes are a DICOM preamble (PS3.10 7.1)."""
    return head[128:132] == b"DICM"


def read_dicom(path: Path, names: Pseudonyms, fallback: str) -> Decoded:
    """Read one radiograph.

    Parameters
    ----------
    path
        A DICOM file (PS3.10) with one greyscale frame.
    names
        The installation's pseudonyms.
    fallback
        Stands for the examination where the file names none: the file's own hash.

    Raises
    ------
    FileRefused
        Whatever is wrong with the file, as a predicate.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _read(path, names, fallback)
    except FileRefused:
        raise
    except MemoryError:
        raise FileRefused("needs more memory to open than a radiograph may; it is damaged or hostile.") from None
    except Exception as error:  # pydicom and its decoders raise whatever their parsers trip over
        raise FileRefused(
            f"is damaged and cannot be decoded ({type(error).__name__}); export it again from its archive."
        ) from error


def _read(path: Path, names: Pseudonyms, fallback: str) -> Decoded:
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        raise FileRefused(f"is {size / 2**20:.0f} MB; a radiograph may have {MAX_FILE_BYTES // 2**20} MB.")
    with path.open("rb") as file:
        if not is_dicom(file.read(132)):
            raise FileRefused(
                "is not a DICOM file (its header does not say DICM), whatever its name; export the image as DICOM."
            )
    syntax = _transfer_syntax(path)
    ds = dcmread(path, specific_tags=_READ)
    big_endian = syntax == ExplicitVRBigEndian
    if "PixelData" not in ds and not text(ds, "Modality"):
        raise _without_pixels(ds, path)  # a compressed file that is cut off may lose every element in reading
    _check_kind(ds)
    if "PixelData" not in ds:
        raise _without_pixels(ds, path)
    rows, columns, bits_allocated, bits_stored, signed = _check_pixels(ds)
    refuse_burned_in(ds)
    _check_length(ds, syntax, rows, columns, bits_allocated)
    raw, bits_stored = _raw(ds, syntax, rows, columns, bits_stored, signed)

    header = deidentified(ds, names, fallback, big_endian=big_endian)
    stored = store(header, raw, bits_stored, signed=signed)
    inverted = text(header, "PhotometricInterpretation") == "MONOCHROME1"
    source = _kept_file(header, raw, bits_allocated, bits_stored)
    patient, examination = identities(ds, names, fallback)
    spacing, spacing_from = _spacing(header)
    view = text(header, "ViewPosition")
    attributes: dict[str, Any] = {
        keyword: text(header, keyword)
        for keyword in (
            "Modality", "BodyPartExamined", "PatientSex", "PatientAge", "KVP", "PhotometricInterpretation",
            "LossyImageCompression",
        )
        if text(header, keyword)
    }  # fmt: skip
    attributes |= {
        "BitsStored": bits_stored,
        "TransferSyntax": syntax.name,
        "SpacingFrom": spacing_from,
        "StoredOffset": stored.offset,
        "StoredScale": stored.scale,
    }
    return Decoded(
        frame=stored.frame,
        source=source,
        inverted=inverted,
        voi=voi_of(header, stored),
        spacing_mm=spacing,
        view=view,
        patient=patient,
        examination=examination,
        attributes=attributes,
    )


def _transfer_syntax(path: Path) -> UID:
    """From the file meta alone, before anything is inflated or parsed."""
    syntax = UID(str(getattr(read_file_meta_info(path), "TransferSyntaxUID", "") or ""))
    if not syntax:
        raise FileRefused("does not name its transfer syntax (0002,0010); export it again as a DICOM file.")
    if syntax == DeflatedExplicitVRLittleEndian:
        raise FileRefused(
            "is stored deflated, which can unpack to any size; convert it to Explicit VR Little Endian and import that."
        )
    if syntax not in NATIVE | CODESTREAMS | {RLELossless}:
        known = syntax.name if syntax.name != str(syntax) else "unknown here"
        raise FileRefused(
            f"has the transfer syntax {str(syntax)[:64]} ({known}), which cannot be read; convert it to "
            "Explicit VR Little Endian and import that."
        )
    return syntax


def _check_kind(ds: Dataset) -> None:
    modality = text(ds, "Modality").upper()
    if modality not in MODALITIES:
        raise FileRefused(
            f"has the modality {modality[:16] or '(none)'}; Gazeroom reads radiographs "
            f"({', '.join(sorted(MODALITIES))})."
        )
    sop_class = UID(text(ds, "SOPClassUID"))
    intent = text(ds, "PresentationIntentType").upper()
    if sop_class == DigitalXRayImageStorageForProcessing or intent == "FOR PROCESSING":
        raise FileRefused("is a detector's raw image (FOR PROCESSING); import the one FOR PRESENTATION instead.")
    if sop_class not in SOP_CLASSES:
        raise FileRefused(
            f"is a {sop_class.name[:64] or 'file without SOP class'}; import CR, DX or secondary capture images."
        )


def _without_pixels(ds: Dataset, path: Path) -> FileRefused:
    if "FloatPixelData" in ds or "DoubleFloatPixelData" in ds:
        return FileRefused("has floating-point pixels; export the image with 8 to 16 bit whole-number pixels.")
    tags = (b"\xe0\x7f\x10\x00", b"\x7f\xe0\x00\x10")
    content = path.read_bytes()
    if any(tag in content for tag in tags):
        return FileRefused("is cut off in the middle of its pixels; copy or export it again.")
    return FileRefused("has no pixels (no Pixel Data element), or ends before them; import the image itself.")


def _check_pixels(ds: Dataset) -> tuple[int, int, int, int, bool]:
    def number(keyword: str, default: int | None = None) -> int:
        found = value(ds, keyword)
        try:
            return int(found if found is not None else default)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            raise FileRefused(f"does not say its {keyword}; export it again from its archive.") from None

    frames = number("NumberOfFrames", 1)
    if frames > 1:
        raise FileRefused(f"holds {frames} frames; import single radiographs, one file each.")
    samples = number("SamplesPerPixel", 1)
    photometric = text(ds, "PhotometricInterpretation").upper()
    if samples != 1 or photometric not in {"MONOCHROME1", "MONOCHROME2"}:
        raise FileRefused(
            f"is a colour image ({photometric[:16] or 'no photometric interpretation'}, {samples} samples a pixel); "
            "import the greyscale original (MONOCHROME1 or MONOCHROME2)."
        )
    rows, columns = number("Rows"), number("Columns")
    if not (1 <= rows <= MAX_SIDE and 1 <= columns <= MAX_SIDE) or rows * columns > MAX_PIXELS:
        raise FileRefused(
            f"claims {rows} × {columns} pixels; a radiograph may have {MAX_SIDE} a side and "
            f"{MAX_PIXELS // 10**6} million."
        )
    allocated, stored = number("BitsAllocated"), number("BitsStored")
    high = number("HighBit", stored - 1)
    if allocated not in (8, 16) or not 1 <= stored <= allocated or high != stored - 1:
        raise FileRefused(
            f"has {stored} bits stored of {allocated} with high bit {high}; export it with 8 to 16 bits, "
            "the high bit one below the bits stored."
        )
    return rows, columns, allocated, stored, number("PixelRepresentation", 0) == 1


def _check_length(ds: Dataset, syntax: UID, rows: int, columns: int, allocated: int) -> None:
    data = ds.PixelData
    cut_off = FileRefused("is cut off in the middle of its pixels; copy or export it again.")
    if not data:
        raise FileRefused("has an empty Pixel Data element; import the image itself.")
    if syntax in NATIVE:
        if len(data) < rows * columns * allocated // 8:
            raise cut_off
    elif syntax in CODESTREAMS and b"\xff\xd9" not in data[-64:]:
        # Decoders fill a cut-off stream with grey and say nothing.
        raise cut_off


def _raw(
    ds: Dataset, syntax: UID, rows: int, columns: int, bits_stored: int, signed: bool
) -> tuple[NDArray[np.int32], int]:
    """Pixel values as in the file, int32 [rows, columns], and the bits they need."""
    ds.NumberOfFrames = 1
    ds.SamplesPerPixel = 1
    decoder = get_decoder(syntax)
    array, _ = decoder.as_array(ds, raw=True, index=0)
    if array.shape != (rows, columns):
        raise FileRefused(
            f"says {rows} × {columns} pixels and holds {' × '.join(map(str, array.shape))}; export it again."
        )
    raw = array.astype(np.int32)
    if syntax in NATIVE:
        # What lies above the stored bits is no pixel: old overlays live there, and may be handwriting.
        raw &= (1 << bits_stored) - 1
        if signed:
            raw -= (raw >> (bits_stored - 1)) << bits_stored
        return raw, bits_stored
    low, high = int(raw.min()), int(raw.max())
    needed = max(high.bit_length(), (-low - 1).bit_length() if low < 0 else 0) + signed
    if needed > 16 or (low < 0 and not signed):
        raise FileRefused("decodes to values that its header does not allow; export it again from its archive.")
    return raw, max(bits_stored, needed)


def store(header: Dataset, raw: NDArray[np.int32], bits: int, *, signed: bool) -> Stored:
    """The stored frame of raw pixel values, by a table over all 2^bits of them.

    Raises
    ------
    FileRefused
        Nothing but padding, a rescale slope of 0, or square-less pixels without a spacing.
    """
    low = -(1 << (bits - 1)) if signed else 0
    values = np.arange(low, low + (1 << bits), dtype=np.int64)
    index = (raw - low).astype(np.uint16)
    counts = np.bincount(index.ravel(), minlength=len(values))
    padding = _padding(header, values)
    present = (counts > 0) & ~padding
    if not present.any():
        raise FileRefused("holds nothing but padding; import the image itself.")

    stored, offset, scale = _modality(header, values, present)
    inside = stored[present]
    darkest = inside.max() if text(header, "PhotometricInterpretation") == "MONOCHROME1" else inside.min()
    table = np.where(padding, darkest, np.clip(stored, 0, 65535)).astype(np.uint16)
    histogram = np.bincount(inside, weights=counts[present]).astype(np.int64)
    return Stored(frame=table[index], offset=offset, scale=scale, counts=histogram)


def _padding(header: Dataset, values: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which raw values are padding: Pixel Padding Value, or from it to the Range Limit (PS3.3 C.7.5.1.1.2)."""
    first = value(header, "PixelPaddingValue")
    if first is None:
        return np.zeros(len(values), bool)
    last = value(header, "PixelPaddingRangeLimit")

    a = int(first)
    b = int(last) if last is not None else a
    return np.asarray((values >= min(a, b)) & (values <= max(a, b)))


def _modality(
    header: Dataset, values: NDArray[np.int64], present: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], float, float]:
    """Stored value of every raw value, offset and scale."""
    luts = lut_items(header, "ModalityLUTSequence")
    slope, intercept = 1.0, 0.0
    if luts:
        first, _, entries = luts[0]
        modality = entries[np.clip(values - first, 0, len(entries) - 1)]
    else:
        if value(header, "RescaleSlope") is not None and value(header, "RescaleIntercept") is not None:
            slope, intercept = float(header.RescaleSlope), float(header.RescaleIntercept)
        if slope == 0 or not math.isfinite(slope) or not math.isfinite(intercept):
            raise FileRefused("has a Rescale Slope of 0, which leaves no image; export it again from its archive.")
        modality = values if slope == 1 and intercept == 0 else np.zeros(0, np.int64)
        if slope.is_integer() and intercept.is_integer() and max(abs(slope), abs(intercept)) < 2**40:
            modality = values * int(slope) + int(intercept)
    if len(modality):
        low, high = int(modality[present].min()), int(modality[present].max())
        if low >= 0 and high <= 65535:
            return modality, 0.0, 1.0
        if high - low <= 65535:
            return modality - low, float(low), 1.0
    ordered = values if slope > 0 else -values
    start = int(ordered[present].min())
    start = 0 if start >= 0 and int(ordered[present].max()) <= 65535 else start
    return ordered - start, intercept + abs(slope) * start, 1 / abs(slope)


def voi_of(header: Dataset, stored: Stored) -> list[dict[str, Any]]:
    """The file's VOI tables, then its windows, in stored units (pydicom's order of preference); else percentiles."""
    offset, scale, max_value = stored.offset, stored.scale, int(stored.frame.max())
    out = [
        vois.table(first, bits, entries, offset=offset, scale=scale, max_value=max_value)
        for first, bits, entries in lut_items(header, "VOILUTSequence")
    ]
    function = text(header, "VOILUTFunction") or "LINEAR"
    centers, widths = (values_of(value(header, keyword)) for keyword in ("WindowCenter", "WindowWidth"))
    for center, width in zip(centers, widths, strict=False):
        found = vois.window(float(center), float(width), function, offset=offset, scale=scale)
        if found is not None:
            out.append(found)
    return out[:16] or [vois.from_percentiles(stored.counts)]


def _spacing(header: Dataset) -> tuple[tuple[float, float] | None, str]:
    """(between rows, between columns) in mm and the element it comes from; at the patient before at the detector."""
    for keyword in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        found = values_of(value(header, keyword))
        if len(found) == 2:
            return (float(found[0]), float(found[1])), keyword
    ratio = values_of(value(header, "PixelAspectRatio"))
    if len(ratio) == 2 and ratio[0] != ratio[1]:
        raise FileRefused(
            f"has pixels of {ratio[0]} : {ratio[1]} and no spacing, so that it cannot be drawn in shape; "
            "add its Pixel Spacing and import it again."
        )
    return None, ""


def _kept_file(header: Dataset, raw: NDArray[np.int32], allocated: int, bits: int) -> bytes:
    """The de-identified file: native pixels, so that no codestream can carry a comment."""
    allocated = 8 if allocated == 8 and bits <= 8 else 16
    header.SamplesPerPixel = 1
    header.BitsAllocated, header.BitsStored, header.HighBit = allocated, bits, bits - 1
    data = raw.astype(np.uint8 if allocated == 8 else "<u2").tobytes()
    header.add_new("PixelData", "OB" if allocated == 8 else "OW", data + b"\0" * (len(data) % 2))
    buffer = BytesIO()
    header.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
