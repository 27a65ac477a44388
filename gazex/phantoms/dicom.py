"""Write a phantom as a DICOM Computed Radiography image (PS3.3 A.2), as a film reader would send it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid

from gazex.phantoms.phantom import Phantom

IMPLEMENTATION_UID = UID("1.2.826.0.1.3680043.8.498.26041431600001")
_NAMES = (
    "Okafor^Ada",
    "Lindqvist^Nils",
    "Moreau^Claire",
    "Tanaka^Ken",
    "Silva^Joana",
    "Novak^Petr",
    "Haddad^Rima",
    "Byrne^Sean",
)


def write_dicom(
    phantom: Phantom,
    path: Path | str,
    *,
    patient_id: str,
    identifiers: bool = True,
    monochrome1: bool | None = None,
) -> Path:
    """Write one phantom as an Explicit VR Little Endian CR file.

    Parameters
    ----------
    phantom
        What to write.
    path
        File to write; its folder must exist.
    patient_id
        Patient ID; patients with several images share it.
    identifiers
        With the identifiers a hospital's file carries (invented name, birth date, accession number, institution …), so
        that de-identification at import has something to remove. Without, those elements are empty.
    monochrome1
        Store inverted as MONOCHROME1; by default every fourth phantom is.

    Returns
    -------
    Path
        The file written. UIDs follow from seed and index, so that writing again gives the same file.
    """
    path = Path(path)
    rng = np.random.default_rng(np.random.SeedSequence([phantom.seed, phantom.index, 77]))
    inverted = phantom.index % 4 == 3 if monochrome1 is None else monochrome1
    top = 2**phantom.bits_stored - 1
    pixels = (top - phantom.pixels).astype("<u2") if inverted else phantom.pixels.astype("<u2")

    entropy = [f"gazeroom phantom {phantom.seed} {phantom.index} {phantom.rows}x{phantom.columns}"]
    sop = generate_uid(entropy_srcs=[*entropy, "image"])
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = ComputedRadiographyImageStorage
    meta.MediaStorageSOPInstanceUID = sop
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = IMPLEMENTATION_UID
    ds = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)

    day = f"2025{int(rng.integers(1, 13)):02d}{int(rng.integers(1, 29)):02d}"
    clock = f"{int(rng.integers(7, 20)):02d}{int(rng.integers(60)):02d}{int(rng.integers(60)):02d}"
    # Patient
    ds.PatientID = patient_id
    ds.PatientName = str(_NAMES[int(rng.integers(len(_NAMES)))]) if identifiers else ""
    ds.PatientBirthDate = f"{int(rng.integers(1935, 2005))}0{int(rng.integers(1, 10))}15" if identifiers else ""
    ds.PatientSex = "MF"[int(rng.integers(2))]
    ds.PatientAge = f"{int(rng.integers(20, 90)):03d}Y"
    # General study, series, equipment
    ds.StudyInstanceUID = generate_uid(entropy_srcs=[*entropy, "study"])
    ds.SeriesInstanceUID = generate_uid(entropy_srcs=[*entropy, "series"])
    ds.SOPClassUID = ComputedRadiographyImageStorage
    ds.SOPInstanceUID = sop
    ds.StudyID = str(phantom.index + 1)
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = day
    ds.StudyTime = ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = clock
    ds.AccessionNumber = f"ACC{int(rng.integers(10**7)):07d}" if identifiers else ""
    ds.ReferringPhysicianName = "Weber^Ines" if identifiers else ""
    if identifiers:
        ds.InstitutionName = "St. Elsewhere Hospital"
        ds.InstitutionAddress = "1 Harbour Road, Elsewhere"
        ds.StationName = "CR-ROOM-2"
        ds.OperatorsName = "Park^Min"
        ds.PatientAddress = "12 Hill Street, Elsewhere"
        ds.OtherPatientIDs = f"MRN{int(rng.integers(10**6)):06d}"
    ds.Modality = "CR"
    ds.Manufacturer = "Gazeroom"
    ds.ManufacturerModelName = "Phantom"
    ds.SoftwareVersions = "1"
    ds.StudyDescription = "Chest"
    ds.SeriesDescription = "Chest PA"
    ds.SeriesNumber = 1
    ds.InstanceNumber = 1
    ds.Laterality = ""
    ds.ImageType = ["ORIGINAL", "PRIMARY"]
    # CR series and image
    ds.BodyPartExamined = "CHEST"
    ds.ViewPosition = "PA"
    ds.PatientOrientation = ["L", "F"]
    ds.KVP = str(int(rng.integers(110, 126)))
    ds.PlateID = f"P{int(rng.integers(1000)):03d}"
    spacing = [f"{phantom.pixel_spacing_mm[0]:.6f}", f"{phantom.pixel_spacing_mm[1]:.6f}"]
    ds.ImagerPixelSpacing = spacing
    ds.PixelSpacing = spacing
    ds.BurnedInAnnotation = "NO"
    # Image pixel and VOI LUT
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME1" if inverted else "MONOCHROME2"
    ds.Rows, ds.Columns = phantom.rows, phantom.columns
    ds.BitsAllocated = 16
    ds.BitsStored = phantom.bits_stored
    ds.HighBit = phantom.bits_stored - 1
    ds.PixelRepresentation = 0
    low, high = np.percentile(pixels[::4, ::4], [1.0, 99.0])
    ds.WindowCenter = f"{(low + high) / 2:.1f}"
    ds.WindowWidth = f"{max(1.0, float(high - low)):.1f}"
    ds.WindowCenterWidthExplanation = "AUTO"
    ds.PixelData = pixels.tobytes()
    _check(ds)
    ds.save_as(path, enforce_file_format=True)
    return path


def _check(ds: Dataset) -> None:
    expected = int(ds.Rows) * int(ds.Columns) * 2
    if len(ds.PixelData) != expected:
        raise ValueError(
            f"The phantom's pixels are {len(ds.PixelData)} bytes; {ds.Rows}×{ds.Columns} needs {expected}."
        )
