"""Small synthetic DICOM files, each of one kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid

KEY = b"a key for tests, 32 bytes long ."


def ramp(rows: int = 40, columns: int = 48, *, top: int = 4095, bottom: int = 0) -> NDArray[np.int64]:
    """Every part of the range occurs, and neighbours differ."""
    values = np.linspace(bottom, top, rows * columns).round().astype(np.int64)
    return np.random.default_rng(7).permutation(values).reshape(rows, columns)


def make_dataset(
    pixels: NDArray[Any] | None = None, *, bits: int = 12, signed: bool = False, **changes: Any
) -> Dataset:
    """A CR image of these pixels; `changes` sets elements by keyword, None leaves one out."""
    if pixels is None:
        pixels = ramp(top=2**bits - 1)
    allocated = 8 if bits <= 8 else 16
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    elements: dict[str, Any] = {
        "SOPClassUID": ComputedRadiographyImageStorage,
        "SOPInstanceUID": generate_uid(),
        "StudyInstanceUID": generate_uid(),
        "SeriesInstanceUID": generate_uid(),
        "PatientID": "4711",
        "PatientName": "Doe^Jane",
        "Modality": "CR",
        "ViewPosition": "PA",
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": pixels.shape[0],
        "Columns": pixels.shape[1],
        "BitsAllocated": allocated,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": int(signed),
    } | changes
    for keyword, value in elements.items():
        if value is not None:
            setattr(ds, keyword, value)
    unsigned = pixels.astype(np.int64) & ((1 << bits) - 1)
    ds.PixelData = unsigned.astype("<u1" if allocated == 8 else "<u2").tobytes()
    ds["PixelData"].VR = "OB" if allocated == 8 else "OW"
    return ds


def lut(first: int, bits: int, entries: NDArray[Any], *, descriptor_vr: str = "US") -> Sequence:
    item = Dataset()
    item.add_new("LUTDescriptor", descriptor_vr, [len(entries) % 65536, first, bits])
    item.add_new("LUTData", "OW", entries.astype("<u2").tobytes())
    return Sequence([item])


def write(ds: Dataset, path: Path, syntax: UID | None = None) -> Path:
    """Save, compressed with `syntax` where one is named."""
    if syntax is not None:
        ds.compress(syntax, generate_instance_uid=False)
    ds.save_as(path, enforce_file_format=True)
    return path
