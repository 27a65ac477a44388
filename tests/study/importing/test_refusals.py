"""Bad input gets one clear sentence, and nothing of it is kept."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image as Picture
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    DigitalXRayImageStorageForProcessing,
    JPEGBaseline8Bit,
    MRImageStorage,
    RLELossless,
)

from study.dicom.errors import FileRefused
from study.dicom.sandbox import Sandbox, borrowed
from study.models import AuditEntry, Case, Image, Patient
from study.services.importing import gathering, import_paths, importing

from .dicoms import KEY, make_dataset, ramp, write


def kept_files(data_dir: Path) -> list[str]:
    return sorted(str(p.relative_to(data_dir)) for p in (data_dir / "blobs").rglob("*") if p.is_file())


def with_syntax(ds: Any, syntax: str, path: Path) -> Path:
    """A file whose meta names a syntax that its bytes need not have."""
    write(ds, path)
    old, new = b"1.2.840.10008.1.2.1\0", syntax.encode()
    new += b"\0" * (len(new) % 2)
    content = path.read_bytes()
    at = content.index(old)
    grown = len(new) - len(old)
    length = int.from_bytes(content[at - 2 : at], "little") + grown
    group = int.from_bytes(content[140:144], "little") + grown
    content = content[: at - 2] + length.to_bytes(2, "little") + new + content[at + len(old) :]
    path.write_bytes(content[:140] + group.to_bytes(4, "little") + content[144:])
    return path


def text_file(folder: Path) -> Path:
    (folder / "notes.dcm").write_text("Dear colleague, thank you for the referral. " * 20)
    return folder / "notes.dcm"


def bomb(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "bomb.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for i in range(3):
            archive.writestr(f"{i}.dcm", bytes(30 * 2**20))
    return folder / "bomb.zip"


def traversal(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "climb.zip", "w") as archive:
        archive.writestr("../../outside.dcm", b"x")
        archive.write(write(make_dataset(), folder / "inner"), "good.dcm")
    (folder / "inner").unlink()
    return folder / "climb.zip"


def nested(folder: Path) -> Path:
    inner = BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("a.dcm", b"x")
    with zipfile.ZipFile(folder / "outer.zip", "w") as archive:
        archive.writestr("inner.zip", inner.getvalue())
    return folder / "outer.zip"


def broken_zip(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "torn.zip", "w") as archive:
        archive.write(write(make_dataset(), folder / "inner"), "a.dcm")
    (folder / "inner").unlink()
    content = bytearray((folder / "torn.zip").read_bytes())
    content[500:900] = bytes(400)
    (folder / "torn.zip").write_bytes(content)
    return folder / "torn.zip"


def without_pixels(folder: Path) -> Path:
    ds = make_dataset()
    del ds.PixelData
    return write(ds, folder / "a.dcm")


def cut_off(folder: Path) -> Path:
    path = write(make_dataset(), folder / "a.dcm")
    path.write_bytes(path.read_bytes()[:-900])
    return path


def cut_off_jpeg(folder: Path) -> Path:
    buffer = BytesIO()
    Picture.fromarray(ramp(64, 64, top=255).astype(np.uint8)).save(buffer, "JPEG")
    ds = make_dataset(np.zeros((64, 64)), bits=8)
    ds.PixelData = encapsulate([buffer.getvalue()[:-700]])
    ds["PixelData"].is_undefined_length = True
    ds.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    return write(ds, folder / "a.dcm")


def cut_off_rle(folder: Path) -> Path:
    path = write(make_dataset(), folder / "a.dcm", RLELossless)
    path.write_bytes(path.read_bytes()[:-900])
    return path


def huge(folder: Path) -> Path:
    ds = make_dataset()
    ds.Rows = ds.Columns = 60000
    return write(ds, folder / "a.dcm")


def colour(folder: Path) -> Path:
    ds = make_dataset(bits=8, SamplesPerPixel=3, PhotometricInterpretation="RGB", PlanarConfiguration=0)
    ds.PixelData = ds.PixelData * 3
    return write(ds, folder / "a.dcm")


def colour_png(folder: Path) -> Path:
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[..., 0] = 200
    Picture.fromarray(pixels).save(folder / "a.png")
    (folder / "a.csv").write_text("filename,finding\na.png,\n")
    return folder / "a.png"


def broken_png(folder: Path) -> Path:
    Picture.fromarray(ramp(64, 64, top=255).astype(np.uint8)).save(folder / "a.png")
    (folder / "a.png").write_bytes((folder / "a.png").read_bytes()[:-2000])
    (folder / "a.csv").write_text("filename,finding\na.png,\n")
    return folder / "a.png"


def lonely_png(folder: Path) -> Path:
    Picture.fromarray(ramp(64, 64, top=255).astype(np.uint8)).save(folder / "a.png")
    return folder / "a.png"


def box_outside(folder: Path) -> Path:
    lonely_png(folder)
    (folder / "a.csv").write_text("filename,finding,side,x0,y0,x1,y1\na.png,Lung Lesion,left,10,10,300,40\n")
    return folder / "a.png"


def image(**changes: Any) -> Callable[[Path], Path]:
    return lambda folder: write(make_dataset(**changes), folder / "a.dcm")


REFUSALS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "a text file renamed": (text_file, "notes.dcm is not a DICOM file (its header does not say DICM)"),
    "an empty file": (lambda d: ((d / "a.dcm").write_bytes(b"") and None) or d / "a.dcm", "a.dcm is empty;"),
    "a missing path": (lambda d: d / "gone", "does not exist; check the path."),
    "a zip bomb": (bomb, "bomb.zip would unpack to 90 MB"),
    "a zip that climbs out": (traversal, "climb.zip holds a file whose name leads out of it"),
    "a zip in a zip": (nested, "outer.zip: inner.zip is a zip within a zip;"),
    "a damaged zip": (broken_zip, "torn.zip: a.dcm cannot be unpacked"),
    "no pixels": (without_pixels, "a.dcm has no pixels (no Pixel Data element)"),
    "an unknown transfer syntax": (
        lambda d: with_syntax(make_dataset(), "1.2.840.113619.5.2", d / "a.dcm"),
        "a.dcm has the transfer syntax 1.2.840.113619.5.2 (",
    ),
    "a made-up transfer syntax": (
        lambda d: with_syntax(make_dataset(), "1.2.3.4.5.6.7", d / "a.dcm"),
        "a.dcm has the transfer syntax 1.2.3.4.5.6.7 (unknown here), which cannot be read;",
    ),
    "a video": (
        lambda d: with_syntax(make_dataset(), "1.2.840.10008.1.2.4.102", d / "a.dcm"),
        "(MPEG-4 AVC/H.264 High Profile / Level 4.1), which cannot be read;",
    ),
    "deflated": (
        lambda d: with_syntax(make_dataset(), str(DeflatedExplicitVRLittleEndian), d / "a.dcm"),
        "a.dcm is stored deflated",
    ),
    "several frames": (image(NumberOfFrames=12), "a.dcm holds 12 frames; import single radiographs"),
    "colour": (colour, "a.dcm is a colour image (RGB, 3 samples a pixel)"),
    "a palette": (image(bits=8, PhotometricInterpretation="PALETTE COLOR"), "is a colour image (PALETTE COLOR"),
    "another modality": (image(Modality="CT"), "a.dcm has the modality CT; Gazeroom reads radiographs (CR, D"),
    "no modality": (image(Modality=None), "has the modality (none);"),
    "another kind of object": (image(SOPClassUID=MRImageStorage), "a.dcm is a MR Image Storage; import CR, DX"),
    "a raw detector image": (
        image(Modality="DX", SOPClassUID=DigitalXRayImageStorageForProcessing), "FOR PROCESSING",
    ),
    "cut-off pixels": (cut_off, "a.dcm is cut off in the middle of its pixels; copy or export it again."),
    "cut-off JPEG": (cut_off_jpeg, "a.dcm is cut off in the middle of its pixels; copy or export it again."),
    "cut-off RLE": (cut_off_rle, "a.dcm is cut off in the middle of its pixels; copy or export it again."),
    "far too many pixels": (huge, "a.dcm claims 60000 × 60000 pixels;"),
    "32 bits": (image(BitsAllocated=32, BitsStored=32, HighBit=31), "has 32 bits stored of 32"),
    "a high bit elsewhere": (image(HighBit=15), "has 12 bits stored of 16 with high bit 15;"),
    "nothing but padding": (
        image(pixels=np.zeros((9, 9)), PixelPaddingValue=0), "a.dcm holds nothing but padding;",
    ),
    "a slope of 0": (image(RescaleSlope=0, RescaleIntercept=0), "has a Rescale Slope of 0"),
    "an aspect ratio without spacing": (image(PixelAspectRatio=[2, 1]), "has pixels of 2 : 1 and no spacing"),
    "burned-in text": (image(BurnedInAnnotation="YES"), "says that text is burned into its pixels"),
    "a colour PNG": (colour_png, "a.png is a colour picture;"),
    "a cut-off PNG": (broken_png, "a.png is damaged and cannot be decoded"),
    "a PNG without sidecar": (lonely_png, "a.png has no row in a sidecar CSV; put a CSV with the columns "),
    "a box outside of the image": (
        box_outside, "a.png is 64 pixels wide and 64 high, and its sidecar has a box for Lung Lesion outside of it",
    ),
}  # fmt: skip


@pytest.mark.django_db
@pytest.mark.parametrize(("make", "said"), REFUSALS.values(), ids=REFUSALS.keys())
def test_one_sentence_and_nothing_half_imported(
    make: Callable[[Path], Path], said: str, tmp_path: Path, data_dir: Path
) -> None:
    source = tmp_path / "in"
    source.mkdir()
    report = import_paths(paths=[make(source)], actor=None)
    (refused,) = report.refused
    assert said in refused[1]
    assert refused[1].endswith(".") and "\n" not in refused[1]
    assert (report.cases, report.imported) == ([], [])
    assert not Case.objects.exists() and not Patient.objects.exists() and not AuditEntry.objects.exists()
    assert kept_files(data_dir) == []


@pytest.mark.django_db
def test_good_files_beside_bad_ones_are_imported(tmp_path: Path, data_dir: Path) -> None:
    (tmp_path / "in").mkdir()
    write(make_dataset(), tmp_path / "in" / "good.dcm")
    text_file(tmp_path / "in")
    report = import_paths(paths=[tmp_path / "in"], actor=None)
    assert report.summary == "1 image imported, 1 refused."
    assert len(kept_files(data_dir)) == 2


@pytest.mark.django_db
def test_the_same_file_again_is_already_here_and_no_error(tmp_path: Path, data_dir: Path) -> None:
    path = write(make_dataset(), tmp_path / "a.dcm")
    (case,) = import_paths(paths=[path], actor=None).cases
    report = import_paths(paths=[path, path], actor=None)
    assert report.refused == [] and report.imported == [] and report.cases == [case]
    assert set(report.already_here) == {("a.dcm", f"a.dcm is already here as {case.label}.")}
    assert Image.objects.count() == 1


@pytest.mark.django_db
def test_a_failing_database_leaves_no_blob_behind(
    tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.csv").write_text("filename,finding\na.dcm,Cardiomegaly\n")
    path = write(make_dataset(), tmp_path / "a.dcm")

    def fail(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("the disk of the database is full")

    monkeypatch.setattr(importing, "_store_truth", fail)
    with pytest.raises(RuntimeError, match="is full"):
        import_paths(paths=[path], actor=None)
    assert kept_files(data_dir) == []
    assert not Image.objects.exists() and not Case.objects.exists() and not Patient.objects.exists()


@pytest.mark.django_db
def test_a_blob_that_another_image_names_survives_a_failure(
    tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = ramp()
    import_paths(paths=[write(make_dataset(pixels), tmp_path / "a.dcm")], actor=None)
    before = kept_files(data_dir)

    def fail(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("fails")

    monkeypatch.setattr(importing, "_case_of", fail)
    with pytest.raises(RuntimeError):
        import_paths(paths=[write(make_dataset(pixels), tmp_path / "b.dcm")], actor=None)
    assert kept_files(data_dir) == before


@pytest.mark.django_db
def test_a_case_that_a_study_reads_takes_no_further_image(tmp_path: Path, data_dir: Path) -> None:
    from tests.factories import make_study

    examination = {"StudyInstanceUID": "1.2.3", "PatientID": "1"}
    (case,) = import_paths(paths=[write(make_dataset(**examination), tmp_path / "a.dcm")], actor=None).cases
    make_study(cases=[case], opened=False)
    report = import_paths(paths=[write(make_dataset(**examination), tmp_path / "b.dcm")], actor=None)
    assert "which a study already reads" in report.refused[0][1]
    assert case.images.count() == 1


@pytest.mark.django_db
def test_images_of_one_examination_are_one_case_and_never_two_patients(tmp_path: Path, data_dir: Path) -> None:
    for name, patient in [("a", "1"), ("b", "1"), ("c", "2")]:
        write(make_dataset(StudyInstanceUID="1.2.3", PatientID=patient), tmp_path / f"{name}.dcm")
    report = import_paths(paths=[tmp_path], actor=None)
    (case,) = report.cases
    assert case.images.count() == 2
    assert "another patient's" in report.refused[0][1]


@pytest.mark.django_db
def test_a_zip_is_imported_like_its_folder(tmp_path: Path, data_dir: Path) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    write(make_dataset(), tmp_path / "in" / "deep" / "a.dcm")
    Picture.fromarray(ramp(64, 64, top=255).astype(np.uint8)).save(tmp_path / "in" / "b.png")
    (tmp_path / "in" / "t.csv").write_text("filename,view,finding\nb.png,PA,Edema\ndeep/a.dcm,,\n")
    (tmp_path / "in" / ".DS_Store").write_text("x")
    shutil.make_archive(str(tmp_path / "all"), "zip", tmp_path / "in")
    packed = import_paths(paths=[tmp_path / "all.zip"], actor=None)
    assert packed.refused == [] and len(packed.imported) == 2
    assert sorted(f.finding for case in packed.cases for f in case.reference_standard.findings.all()) == ["Edema"]
    assert len(import_paths(paths=[tmp_path / "in"], actor=None).already_here) == 2


@pytest.mark.django_db
def test_a_zip_with_too_many_entries_is_refused(
    tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "MAX_ENTRIES", 3)
    with zipfile.ZipFile(tmp_path / "many.zip", "w") as archive:
        for i in range(4):
            archive.writestr(f"{i}.dcm", b"x")
    (refused,) = import_paths(paths=[tmp_path / "many.zip"], actor=None).refused
    assert refused[1] == "many.zip holds 4 files; pack at most 3 into one zip."


def test_a_file_that_takes_too_long_is_refused_and_the_next_one_is_read(tmp_path: Path) -> None:
    path = write(make_dataset(), tmp_path / "a.dcm")
    sandbox = Sandbox(seconds=0.01)  # less than the child takes to start
    with pytest.raises(FileRefused, match="takes longer than"):
        sandbox.read(path, kind="dicom", key=KEY, fallback="f")
    sandbox.seconds = 30
    assert sandbox.read(path, kind="dicom", key=KEY, fallback="f").frame.shape == (40, 48)
    sandbox.close()


def test_a_child_that_dies_costs_one_file_only(tmp_path: Path) -> None:
    path = write(make_dataset(), tmp_path / "a.dcm")
    sandbox = Sandbox()
    sandbox.read(path, kind="dicom", key=KEY, fallback="f")
    assert sandbox._child is not None and sandbox._child.stdin is not None
    sandbox._child.stdin.write(b"not a request\n")  # ends the child, as a crash in a decoder would
    with pytest.raises(FileRefused, match="makes the decoder crash"):
        sandbox.read(path, kind="dicom", key=KEY, fallback="f")
    assert sandbox.read(path, kind="dicom", key=KEY, fallback="f").frame.shape == (40, 48)
    sandbox.close()


def test_the_child_cannot_take_more_memory_than_it_may(tmp_path: Path) -> None:
    path = write(make_dataset(), tmp_path / "a.dcm")
    with borrowed() as sandbox:
        sandbox.read(path, kind="dicom", key=KEY, fallback="f")
        assert sandbox._child is not None
        limits = Path(f"/proc/{sandbox._child.pid}/limits").read_text()
        environment = Path(f"/proc/{sandbox._child.pid}/environ").read_text()
    assert [line.split()[3] for line in limits.splitlines() if line.startswith("Max address space")] == [str(3 * 2**30)]
    assert "SECRET" not in environment and "DATABASE" not in environment


_SEEDS: list[bytes] = []


def seed_files() -> list[bytes]:
    if not _SEEDS:
        for ds, syntax in [(make_dataset(ramp(12, 12)), None), (make_dataset(ramp(12, 12)), RLELossless)]:
            if syntax is not None:
                ds.compress(syntax)
            buffer = BytesIO()
            ds.save_as(buffer, enforce_file_format=True)
            _SEEDS.append(buffer.getvalue())
    return _SEEDS


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    which=st.integers(0, 1),
    cut=st.floats(0, 1),
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=12),
)
def test_damaged_bytes_are_decoded_or_refused_and_nothing_else(
    which: int, cut: float, changes: list[tuple[float, int]], tmp_path: Path
) -> None:
    content = bytearray(seed_files()[which])
    for where, byte in changes:
        content[132 + int(where * (len(content) - 132))] = byte
    path = tmp_path / "fuzzed.dcm"
    path.write_bytes(content[: max(140, int(cut * len(content)))] if cut < 0.9 else content)
    with borrowed() as sandbox:
        try:
            decoded = sandbox.read(path, kind="dicom", key=KEY, fallback="f")
        except FileRefused as refusal:
            sentence = refusal.sentence("fuzzed.dcm")
            assert sentence.endswith(".") and "\n" not in sentence
        else:
            assert decoded.frame.dtype == np.uint16 and decoded.voi


@pytest.mark.django_db
def test_the_command_names_each_refusal_and_fails_where_nothing_was_imported(
    tmp_path: Path, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "in"
    source.mkdir()
    text_file(source)
    with pytest.raises(CommandError, match="Nothing was imported"):
        call_command("import_cases", str(source))
    assert "notes.dcm is not a DICOM file" in capsys.readouterr().err
    write(make_dataset(), source / "a.dcm")
    call_command("import_cases", str(source))
    out = capsys.readouterr()
    assert out.out.strip() == "1 image imported, 1 refused."
    assert "notes.dcm" in out.err
    call_command("import_cases", str(source))  # all of it already here: no failure
    assert "1 image already here" in capsys.readouterr().out


@pytest.mark.django_db
def test_what_was_taken_in_before_a_fault_is_in_the_audit_trail(
    tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [write(make_dataset(ramp(40 + i, 50)), tmp_path / f"{i}.dcm") for i in range(2)]
    real, calls = importing._import_one, iter([True, False])

    def faulty(*arguments: Any) -> None:
        if not next(calls):
            raise OSError(28, "No space left on device")
        real(*arguments)

    monkeypatch.setattr(importing, "_import_one", faulty)
    with pytest.raises(OSError, match="No space"):
        import_paths(paths=paths, actor=None)
    (image,) = Image.objects.all()
    assert AuditEntry.objects.get(act=AuditEntry.Act.IMPORT).detail["images"] == [str(image.pk)]
