"""De-identification by a keep-list (PS3.15 Annex E, Basic Application Level Confidentiality Profile).

Nothing survives because nobody thought of it: an element is kept only when it stands in `KEEP`, and then only as a
number within bounds, a code from a closed list, or a keyed pseudonym. No free text, no date, no time, no private tag,
no overlay and no unknown sequence is kept. Two decisions go beyond the Basic Profile and are recorded in the
De-identification Method Code Sequence: sex and age are retained (113108), age cut at 90 years; pixels are not cleaned,
so a file that says it carries burned-in annotation is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, Final

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, ExplicitVRLittleEndian
from pydicom.valuerep import format_number_as_ds

from study.dicom.errors import FileRefused
from study.dicom.pseudonyms import Pseudonyms, short

IMPLEMENTATION_UID: Final = UID("2.25.183047026549410893372501930174485206117")
METHOD: Final = "Gazeroom keep-list 1"
METHOD_CODES: Final = (
    ("113100", "Basic Application Confidentiality Profile"),
    ("113108", "Retain Patient Characteristics Option"),
)
VIEWS: Final = frozenset({"PA", "AP", "LL", "RL", "LLD", "RLD", "LLO", "RLO"})
"""View positions of PS3.3 C.8.1.3 and C.8.7.1."""
MODALITIES: Final = frozenset({"CR", "DX", "DR", "RG"})

Rule = Callable[[Any], Any]


def values_of(value: Any) -> list[Any]:
    """An element's values as a list: pydicom gives a scalar for one, a sequence for several, None or "" for none."""
    if value is None or (isinstance(value, str | bytes) and not value):
        return []
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        return [value]
    return list(value)


def codes(*allowed: str) -> Rule:
    """Keep the values that stand in a closed list; drop the others."""

    def keep(value: Any) -> Any:
        kept = [str(v).strip().upper() for v in values_of(value) if str(v).strip().upper() in allowed]
        return kept or None

    return keep


def numbers(low: float, high: float, *, whole: bool = False) -> Rule:
    """Keep numbers within bounds; a single value out of bounds drops the element."""

    def keep(value: Any) -> Any:
        found = [float(v) for v in values_of(value)]
        if not found or not all(low <= v <= high for v in found):
            return None
        return [int(v) for v in found] if whole else [format_number_as_ds(v) for v in found]

    return keep


def age(value: Any) -> Any:
    """nnnY, nnnM, nnnW or nnnD; a bare number is years; above 89 it becomes 90, as for every such patient."""
    match = re.fullmatch(r"\s*(\d{1,3})\s*([DWMY]?)\s*", str(value or ""))
    if match is None:
        return None
    number, unit = int(match[1]), match[2] or "Y"
    return f"{min(number, 90) if unit == 'Y' else number:03d}{unit}"


_S16 = (-(2**15), 2**16 - 1)
KEEP: Final[dict[str, Rule]] = {
    # What kind of image
    "ImageType": codes("ORIGINAL", "DERIVED", "PRIMARY", "SECONDARY"),
    "Modality": codes(*MODALITIES),
    "ConversionType": codes("DV", "DI", "DF", "WSD", "SD", "SI", "DRW", "SYN"),
    "PresentationIntentType": codes("FOR PRESENTATION"),
    "BodyPartExamined": codes("CHEST", "THORAX", "LUNG", "RIB", "STERNUM", "CLAVICLE"),
    "ViewPosition": codes(*VIEWS),
    "PatientOrientation": codes("L", "R", "A", "P", "H", "F"),
    "Laterality": codes("L", "R"),
    "ImageLaterality": codes("L", "R", "U", "B"),
    # Patient characteristics (113108)
    "PatientSex": codes("M", "F", "O"),
    "PatientAge": age,
    # Exposure
    "KVP": numbers(1, 500),
    "ExposureTime": numbers(0, 100_000, whole=True),
    "XRayTubeCurrent": numbers(0, 10_000, whole=True),
    "Exposure": numbers(0, 100_000, whole=True),
    "DistanceSourceToDetector": numbers(0, 10_000),
    # Image pixel
    "SamplesPerPixel": numbers(1, 1, whole=True),
    "PhotometricInterpretation": codes("MONOCHROME1", "MONOCHROME2"),
    "Rows": numbers(1, 65535, whole=True),
    "Columns": numbers(1, 65535, whole=True),
    "BitsAllocated": numbers(8, 16, whole=True),
    "BitsStored": numbers(1, 16, whole=True),
    "HighBit": numbers(0, 15, whole=True),
    "PixelRepresentation": numbers(0, 1, whole=True),
    "PixelPaddingValue": numbers(*_S16, whole=True),
    "PixelPaddingRangeLimit": numbers(*_S16, whole=True),
    "PixelSpacing": numbers(0.001, 100),
    "ImagerPixelSpacing": numbers(0.001, 100),
    "NominalScannedPixelSpacing": numbers(0.001, 100),
    "PixelSpacingCalibrationType": codes("GEOMETRY", "FIDUCIAL"),
    "PixelAspectRatio": numbers(1, 10_000, whole=True),
    "PixelIntensityRelationship": codes("LIN", "LOG", "DISP"),
    "PixelIntensityRelationshipSign": numbers(-1, 1, whole=True),
    "LossyImageCompression": codes("00", "01"),
    "LossyImageCompressionRatio": numbers(0, 10_000),
    "LossyImageCompressionMethod": codes("ISO_10918_1", "ISO_14495_1", "ISO_15444_1", "ISO_15444_15"),
    # From pixel to meaning to display
    "RescaleSlope": numbers(-1e9, 1e9),
    "RescaleIntercept": numbers(-1e9, 1e9),
    "RescaleType": codes("US", "OD", "HU"),
    "WindowCenter": numbers(-1e9, 1e9),
    "WindowWidth": numbers(0, 1e9),
    "VOILUTFunction": codes("LINEAR", "LINEAR_EXACT", "SIGMOID"),
    "PresentationLUTShape": codes("IDENTITY", "INVERSE"),
    "BurnedInAnnotation": codes("NO"),
}
LUT_SEQUENCES: Final = ("ModalityLUTSequence", "VOILUTSequence")
IDENTITY: Final = (
    "PatientID", "IssuerOfPatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID",
)  # fmt: skip
"""Read to be turned into pseudonyms; never kept as they are."""


def value(ds: Dataset, keyword: str) -> Any:
    """An element's value, or None where it is absent, empty or malformed."""
    try:
        found = ds.get(keyword)
    except Exception:  # a malformed value is no value; pydicom raises a dozen types here
        return None
    return None if isinstance(found, str) and not found.strip() else found


def text(ds: Dataset, keyword: str) -> str:
    found = value(ds, keyword)
    return "" if found is None else str(found).strip()


def identities(ds: Dataset, names: Pseudonyms, fallback: str) -> tuple[str, str]:
    """Keyed hashes of (patient, examination).

    The patient is Patient ID with its issuer; without one, the examination; without that, `fallback` (the file's own
    hash), so that strangers never become one patient.
    """
    study = text(ds, "StudyInstanceUID") or fallback
    patient = text(ds, "PatientID")
    identity = f"{text(ds, 'IssuerOfPatientID')}\\{patient}" if patient else f"no patient id\\{study}"
    return names.identity(identity), names.examination(study)


def lut_items(ds: Dataset, keyword: str, *, big_endian: bool = False) -> list[tuple[int, int, np.ndarray]]:
    """The tables of a LUT sequence as (first value mapped, bits, entries int64 [n]); malformed ones are left out.

    PS3.3 C.11.1.1: the descriptor is (number of entries, 0 meaning 65,536; first value mapped; bits of an entry).
    """
    out = []
    for item in value(ds, keyword) or []:
        try:
            count, first, bits = (int(v) for v in item.LUTDescriptor)
            count = count % 65536 or 65536
            data = item.LUTData
            if isinstance(data, bytes):
                if count <= len(data) < 2 * count:  # 8-bit entries, one byte each
                    entries: np.ndarray = np.frombuffer(data, np.uint8)
                else:
                    entries = np.frombuffer(data[: len(data) // 2 * 2], ">u2" if big_endian else "<u2")
            else:
                entries = np.asarray(values_of(data), np.int64) % 65536
            entries = entries[:count].astype(np.int64)
        except Exception:  # any malformed descriptor or table: as if it were not there
            continue
        if len(entries) == count and 8 <= bits <= 16:
            bits = max(bits, int(entries.max()).bit_length())
            out.append((first, bits, entries))
    return out


def _lut_sequence(items: list[tuple[int, int, np.ndarray]], *, modality: bool) -> Sequence:
    out = []
    for first, bits, entries in items:
        item = Dataset()
        # SS where the first value is negative; a count above 32,767 is then written as its 16-bit pattern.
        signed = first < 0
        count = len(entries) % 65536
        if signed and count > 32767:
            count -= 65536
        item.add_new("LUTDescriptor", "SS" if signed else "US", [count, first, bits])
        item.add_new("LUTData", "OW", entries.astype("<u2").tobytes())
        if modality:
            item.ModalityLUTType = "US"
        out.append(item)
    return Sequence(out)


def refuse_burned_in(ds: Dataset) -> None:
    if text(ds, "BurnedInAnnotation").upper() == "YES":
        raise FileRefused(
            "says that text is burned into its pixels (Burned In Annotation is YES), which may name the patient; "
            "blank the text, set the element to NO, and import it again."
        )


def deidentified(ds: Dataset, names: Pseudonyms, fallback: str, *, big_endian: bool = False) -> Dataset:
    """The header that is kept, with its file meta; the caller adds the pixels.

    Parameters
    ----------
    ds
        As read from the file; not changed.
    names
        The installation's pseudonyms.
    fallback
        What stands for the examination where the file names none, unique to the file.
    big_endian
        Byte order of OW data in `ds`.

    Raises
    ------
    FileRefused
        Burned-in annotation.
    """
    refuse_burned_in(ds)
    out = Dataset()
    for keyword, rule in KEEP.items():
        found = value(ds, keyword)
        if found is None:
            continue
        try:
            kept = rule(found)
        except (TypeError, ValueError, OverflowError):
            kept = None
        if kept is not None:
            setattr(out, keyword, kept[0] if isinstance(kept, list) and len(kept) == 1 else kept)
    _same_sign(out)
    for keyword in LUT_SEQUENCES:
        items = lut_items(ds, keyword, big_endian=big_endian)
        if items:
            setattr(out, keyword, _lut_sequence(items, modality=keyword == "ModalityLUTSequence"))

    patient, _ = identities(ds, names, fallback)
    out.PatientID = short("P", patient)
    out.PatientName = short("P", patient)
    study = text(ds, "StudyInstanceUID") or fallback
    out.StudyInstanceUID = names.uid(study)
    out.SeriesInstanceUID = names.uid(text(ds, "SeriesInstanceUID") or f"series of {study}")
    out.SOPInstanceUID = names.uid(text(ds, "SOPInstanceUID") or fallback)
    out.SOPClassUID = UID(text(ds, "SOPClassUID"))
    # Type 2 elements of the CR and DX IODs: present and empty.
    for keyword in (
        "PatientBirthDate", "StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName", "StudyID",
        "Manufacturer", "SeriesNumber", "InstanceNumber",
    ):  # fmt: skip
        setattr(out, keyword, None)
    for keyword in ("PatientSex", "BodyPartExamined", "ViewPosition", "PatientOrientation"):
        if keyword not in out:
            setattr(out, keyword, None)
    out.PatientIdentityRemoved = "YES"
    out.LongitudinalTemporalInformationModified = "REMOVED"
    out.DeidentificationMethod = METHOD
    out.DeidentificationMethodCodeSequence = Sequence([_code(*code) for code in METHOD_CODES])

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = out.SOPClassUID
    meta.MediaStorageSOPInstanceUID = out.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = IMPLEMENTATION_UID
    meta.ImplementationVersionName = "GAZEROOM_1"  # fixed: the kept file's hash must not follow pydicom's version
    out.file_meta = meta
    return out


def _same_sign(out: Dataset) -> None:
    """Padding given as US where the pixels are signed, or the reverse, is the same bit pattern in the other VR."""
    signed = out.get("PixelRepresentation") == 1
    for keyword in ("PixelPaddingValue", "PixelPaddingRangeLimit"):
        number = out.get(keyword)
        if number is not None:
            number %= 65536
            setattr(out, keyword, number - 65536 if signed and number > 32767 else number)


def _code(code_value: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue = code_value
    item.CodingSchemeDesignator = "DCM"
    item.CodeMeaning = meaning
    return item
