"""Nothing that identifies a patient survives: text is planted wherever DICOM has room, and searched for."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard
from django.db import connection
from PIL import Image as Picture
from PIL.PngImagePlugin import PngInfo
from pydicom import dcmread
from pydicom.datadict import DicomDictionary, keyword_for_tag
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import JPEGBaseline8Bit

from study.dicom.decoding import read_dicom
from study.dicom.deidentify import KEEP
from study.dicom.errors import FileRefused
from study.dicom.pseudonyms import Pseudonyms
from study.models import Image, Patient
from study.services.importing import import_paths

from .dicoms import KEY, make_dataset, ramp, write

PLANT = "ZQXPLANTED"
DIGITS = "19630714"
UID_PLANT = "1.2.840.99887766"
NAMES = Pseudonyms(KEY)

TEXT_VRS = {
    "AE": PLANT, "LO": f"{PLANT} Lo", "LT": f"{PLANT} Lt", "PN": f"{PLANT}^Pn", "SH": PLANT, "ST": f"{PLANT} St",
    "UC": f"{PLANT} Uc", "UR": f"http://{PLANT}.example", "UT": f"{PLANT} Ut", "CS": PLANT,
    "DA": DIGITS, "DT": f"{DIGITS}101010", "TM": "101010.199407", "AS": "199Y", "UI": f"{UID_PLANT}.1",
    "OB": PLANT.encode(), "UN": PLANT.encode(),
}  # fmt: skip
STRUCTURAL = {
    "SOPClassUID", "Modality", "PhotometricInterpretation", "PixelData", "PresentationIntentType", "BurnedInAnnotation",
    "VOILUTFunction", "PatientAge",
}  # fmt: skip


def planted() -> Dataset:
    """Every standard element of a text, date, identifier or bytes VR filled, at the top and in a nested sequence."""
    ds = make_dataset()
    for tag, (vr, _, _, retired, keyword) in DicomDictionary.items():
        if (
            vr in TEXT_VRS
            and keyword
            and not retired
            and tag >> 16 not in (0x0000, 0x0002)
            and keyword not in STRUCTURAL
        ):
            ds.add_new(tag, vr, TEXT_VRS[vr])
    inner = Dataset()
    for vr, keyword in [
        ("PN", "PatientName"),
        ("LO", "PatientID"),
        ("DA", "StudyDate"),
        ("UI", "ReferencedSOPInstanceUID"),
    ]:
        inner.add_new(keyword, vr, TEXT_VRS[vr])
    middle = Dataset()
    middle.ReferencedSOPSequence = Sequence([inner])
    for keyword in (
        "RequestAttributesSequence",
        "OtherPatientIDsSequence",
        "ReferencedStudySequence",
        "IconImageSequence",
    ):
        setattr(ds, keyword, Sequence([middle]))
    # A kept sequence with more in it than a table.
    item = Dataset()
    item.LUTDescriptor, item.LUTExplanation = [4, 0, 12], f"{PLANT} Lut"
    item.add_new("LUTData", "OW", np.array([0, 1000, 2000, 4000], "<u2").tobytes())
    ds.VOILUTSequence = Sequence([item])
    block = ds.private_block(0x0011, f"{PLANT} CREATOR", create=True)
    block.add_new(0x01, "LO", f"{PLANT} private")
    block.add_new(0x02, "UN", PLANT.encode())
    ds.add_new(0x60000010, "US", 8)
    ds.add_new(0x60003000, "OW", PLANT.encode() * 2)
    ds.add_new(0x60000022, "LO", f"{PLANT} overlay")
    ds.file_meta.SourceApplicationEntityTitle = PLANT
    ds.file_meta.ImplementationVersionName = PLANT
    ds.file_meta.PrivateInformationCreatorUID = f"{UID_PLANT}.3"
    ds.file_meta.PrivateInformation = PLANT.encode()
    ds.preamble = PLANT.encode().ljust(128, b"\0")
    return ds


def needles() -> list[bytes]:
    return [PLANT.encode(), DIGITS.encode(), UID_PLANT.encode(), b"199407", PLANT.encode("utf-16-le")]


def test_the_plants_are_in_the_file_to_begin_with(tmp_path: Path) -> None:
    content = write(planted(), tmp_path / "a.dcm").read_bytes()
    assert content.count(PLANT.encode()) > 300
    assert all(needle in content for needle in needles()[:4])


@pytest.mark.django_db
def test_no_planted_text_reaches_the_kept_file_the_database_or_any_blob(tmp_path: Path, data_dir: Path) -> None:
    report = import_paths(paths=[write(planted(), tmp_path / f"{PLANT}.dcm")], actor=None)
    assert len(report.imported) == 1, report.refused

    blobs = [path for path in data_dir.rglob("*") if path.is_file()]
    contents = [path.read_bytes() for path in blobs]
    contents += [
        zstandard.ZstdDecompressor().decompress(c) for p, c in zip(blobs, contents, strict=True) if p.suffix == ".zst"
    ]
    contents += [str(path.relative_to(data_dir)).encode() for path in blobs]
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f'SELECT * FROM "{table}"')
            contents.append(repr(cursor.fetchall()).encode())
    assert len(contents) > 5
    for needle in needles():
        assert not any(needle in content for content in contents), needle


def test_only_listed_elements_are_kept(tmp_path: Path) -> None:
    kept = dcmread(BytesIO(read_dicom(write(planted(), tmp_path / "a.dcm"), NAMES, "f").source))
    allowed = set(KEEP) | {
        "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "PatientID", "PatientName",
        "PixelData", "VOILUTSequence", "PatientIdentityRemoved", "LongitudinalTemporalInformationModified",
        "DeidentificationMethod", "DeidentificationMethodCodeSequence",
    }  # fmt: skip
    filled = {keyword_for_tag(element.tag) for element in kept if not element.is_empty}
    assert filled <= allowed
    assert {keyword_for_tag(element.tag) for element in kept.VOILUTSequence[0]} == {"LUTDescriptor", "LUTData"}


def test_it_says_what_was_done(tmp_path: Path) -> None:
    kept = dcmread(BytesIO(read_dicom(write(planted(), tmp_path / "a.dcm"), NAMES, "f").source))
    assert kept.PatientIdentityRemoved == "YES"
    assert [item.CodeValue for item in kept.DeidentificationMethodCodeSequence] == ["113100", "113108"]
    assert {item.CodingSchemeDesignator for item in kept.DeidentificationMethodCodeSequence} == {"DCM"}
    assert kept.LongitudinalTemporalInformationModified == "REMOVED"


def test_uids_become_keyed_ones_that_stay_the_same(tmp_path: Path) -> None:
    path = write(make_dataset(StudyInstanceUID="1.2.3.4"), tmp_path / "a.dcm")
    first, again, elsewhere = (
        dcmread(BytesIO(read_dicom(path, names, "f").source))
        for names in (NAMES, NAMES, Pseudonyms(b"another key" * 3))
    )
    assert first.StudyInstanceUID.startswith("2.25.")
    assert first.StudyInstanceUID == again.StudyInstanceUID != elsewhere.StudyInstanceUID
    assert first.file_meta.MediaStorageSOPInstanceUID == first.SOPInstanceUID
    assert first.StudyInstanceUID.is_valid


@pytest.mark.parametrize(
    ("age", "kept"), [("045Y", "045Y"), ("62", "062Y"), ("095Y", "090Y"), ("011M", "011M"), (PLANT, "")]
)
def test_ages_are_kept_up_to_ninety(tmp_path: Path, age: str, kept: str) -> None:
    decoded = read_dicom(write(make_dataset(PatientAge=age), tmp_path / "a.dcm"), NAMES, "f")
    assert decoded.attributes.get("PatientAge", "") == kept


def test_burned_in_annotation_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileRefused, match="burned into its pixels"):
        read_dicom(write(make_dataset(BurnedInAnnotation="YES"), tmp_path / "a.dcm"), NAMES, "f")


def test_comments_in_a_jpeg_codestream_do_not_survive(tmp_path: Path) -> None:
    buffer = BytesIO()
    Picture.fromarray(ramp(64, 64, top=255).astype(np.uint8)).save(buffer, "JPEG", comment=PLANT.encode())
    ds = make_dataset(np.zeros((64, 64)), bits=8)
    ds.PixelData = encapsulate([buffer.getvalue()])
    ds["PixelData"].is_undefined_length = True
    ds.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    path = write(ds, tmp_path / "a.dcm")
    assert PLANT.encode() in path.read_bytes()
    assert PLANT.encode() not in read_dicom(path, NAMES, "f").source


@pytest.mark.django_db
def test_text_in_a_png_does_not_survive(tmp_path: Path, data_dir: Path) -> None:
    notes = PngInfo()
    notes.add_text("Patient", PLANT)
    Picture.fromarray(ramp(64, 64, top=255).astype(np.uint8)).save(tmp_path / "a.png", pnginfo=notes)
    (tmp_path / "a.csv").write_text(f"filename,patient,finding\na.png,{PLANT},\n")
    report = import_paths(paths=[tmp_path], actor=None)
    assert len(report.imported) == 1, report.refused
    assert PLANT.encode() not in b"".join(path.read_bytes() for path in data_dir.rglob("*") if path.is_file())


@pytest.mark.django_db
def test_one_patient_is_one_pseudonym_across_imports_and_two_are_two(tmp_path: Path, data_dir: Path) -> None:
    for name, patient in [("a", "4711"), ("b", "4711"), ("c", "4712")]:
        write(make_dataset(PatientID=patient), tmp_path / f"{name}.dcm")
        import_paths(paths=[tmp_path / f"{name}.dcm"], actor=None)
    assert Patient.objects.count() == 2
    assert sorted(p.cases.count() for p in Patient.objects.all()) == [1, 2]


@pytest.mark.django_db
@pytest.mark.parametrize(
    "nameless", [{"PatientID": None}, {"PatientID": ""}, {"PatientID": None, "StudyInstanceUID": None}]
)
def test_files_that_name_no_patient_do_not_become_one_patient(
    tmp_path: Path, data_dir: Path, nameless: dict[str, Any]
) -> None:
    for name in "ab":
        write(make_dataset(**nameless), tmp_path / f"{name}.dcm")
    report = import_paths(paths=[tmp_path], actor=None)
    assert len(report.imported) == 2, report.refused
    assert Patient.objects.count() == 2


@pytest.mark.django_db
def test_the_key_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path, data_dir: Path) -> None:
    write(make_dataset(), tmp_path / "a.dcm")
    import_paths(paths=[tmp_path / "a.dcm"], actor=None)
    key = data_dir / "pseudonym_key"
    before = key.read_bytes()
    import_paths(paths=[tmp_path / "a.dcm"], actor=None)
    assert key.read_bytes() == before and len(before) == 32
    assert key.stat().st_mode & 0o777 == 0o600
    assert Image.objects.count() == 1
