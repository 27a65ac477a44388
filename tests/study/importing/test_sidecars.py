from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.management import call_command
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Picture

from gazex.findings import FINDINGS, SIDES
from gazex.phantoms import make_phantom, write_dicom, write_truth
from study.models import Case, Image, ReferenceFinding
from study.services import frames
from study.services.importing import import_paths
from study.services.importing.sidecars import Entry, SidecarError, TruthFinding, parse, parse_csv, parse_truth
from tests.factories import make_study

from .dicoms import make_dataset, ramp, write

HEADER = "filename,view,patient,spacing_mm,finding,side,x0,y0,x1,y1\n"


def test_several_rows_are_several_findings_of_one_file() -> None:
    entries = parse_csv(
        HEADER
        + "a.png,PA,17,0.168,Pneumothorax,right,52,60,190,310\n"
        + "a.png,,,,Cardiomegaly,,,,,\n"
        + "\n"
        + "b.png,ap,18,0.2 0.1,,,,,,\n"
    )
    assert entries == {
        "a.png": Entry(
            "PA", "17", (0.168, 0.168),
            (TruthFinding("Pneumothorax", "right", (52, 60, 190, 310)), TruthFinding("Cardiomegaly", "", None)),
        ),
        "b.png": Entry("AP", "18", (0.2, 0.1), ()),
    }  # fmt: skip


def test_without_a_finding_column_nothing_is_said_of_the_truth() -> None:
    assert parse_csv("filename,view\na.png,PA\n")["a.png"].findings is None


def test_spreadsheets_byte_order_marks_and_quotes_are_understood() -> None:
    assert parse("a.csv", b'\xef\xbb\xbf"filename","finding"\r\n"a, b.png","Edema"\r\n')["a, b.png"].findings


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty;"),
        ("name,finding\na,b\n", "has no column filename;"),
        ("filename,finding,finding\na,Edema,Edema\n", "has two columns finding;"),
        ("filename,finding\na.png\n", "has 1 fields on line 2 and 2 columns;"),
        ("filename,finding\na.png,Pnuemothorax\n", "'Pnuemothorax' on line 2; did you mean Pneumothorax?"),
        ("filename,finding,side\na.png,Edema,up\n", "has the side 'up' on line 2;"),
        ("filename,side\na.png,left\n", "has a side or a box without a finding on line 2;"),
        ("filename,view\na.png,XX\n", "has the view 'XX' on line 2;"),
        ("filename,patient\na.png,1\na.png,2\n", "gives a.png two values of patient (lines 2 and 3);"),
        ("filename,spacing_mm\na.png,wide\n", "has the spacing 'wide' on line 2;"),
        ("filename,spacing_mm\na.png,-1\n", "has the spacing '-1' on line 2;"),
        (HEADER + "a.png,,,,Edema,,1,2,x,4\n", "has 'x' on line 2 where a number belongs;"),
        (HEADER + "a.png,,,,Edema,,1,2,nan,4\n", "has 'nan' on line 2 where a number belongs;"),
        (HEADER + "a.png,,,,Edema,,1,2,3,\n", "has '' on line 2 where a number belongs;"),
        (HEADER + "a.png,,,,Edema,,5,2,3,4\n", "has a box on line 2 whose x1, y1"),
        ("filename\n../a.png\n", "names no file beside it on line 2 ('../a.png');"),
        ("filename\n/etc/a.png\n", "names no file beside it"),
        ('filename\n"a.png', "is not a readable CSV"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_line_and_remedy(text: str, said: str) -> None:
    with pytest.raises(SidecarError) as error:
        parse_csv(text)
    assert said in str(error.value)
    assert str(error.value).endswith((".", "?"))


NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"], exclude_characters="/\\."), min_size=1)


@st.composite
def rows(draw: st.DrawFn) -> tuple[dict[str, Entry], str]:
    """Entries, and a CSV that says them."""
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(HEADER.strip().split(","))
    entries: dict[str, Entry] = {}
    for name in draw(st.lists(NAMES, unique=True, max_size=5)):
        view = draw(st.sampled_from(["PA", "AP", ""]))
        patient = draw(NAMES | st.just(""))
        findings = []
        for finding in draw(st.lists(st.sampled_from(FINDINGS), max_size=3)):
            numbers = st.floats(-1e4, 1e4, allow_nan=False)
            x0, y0 = draw(numbers), draw(numbers)
            width, height = draw(st.floats(1, 1e4)), draw(st.floats(1, 1e4))
            box = draw(st.sampled_from([None, (x0, y0, x0 + width, y0 + height)]))
            findings.append(TruthFinding(finding, draw(st.sampled_from(SIDES)), box))
        entries[name] = Entry(view, patient, None, tuple(findings))
        for f in findings:
            writer.writerow([name, view, patient, "", f.finding, f.side, *(map(repr, f.box) if f.box else [""] * 4)])
        if not findings:
            writer.writerow([name, view, patient, *[""] * 7])
    return entries, out.getvalue()


@given(rows())
def test_what_is_written_is_read_back(case: tuple[dict[str, Entry], str]) -> None:
    entries, text = case
    assert parse_csv(text) == entries


@given(st.binary(max_size=300) | st.text(max_size=300).map(lambda t: (HEADER + t).encode("utf-8", "replace")))
def test_any_bytes_are_a_sidecar_or_a_sentence(content: bytes) -> None:
    for name in ("a.csv", "truth.json"):
        try:
            entries = parse(name, content)
        except SidecarError as error:
            said = str(error)
        else:
            said = "." if all(isinstance(entry, Entry) for entry in entries.values()) else "something else"
        assert said.endswith((".", "?"))


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(
    st.dictionaries(
        st.text(max_size=5), JSON | st.fixed_dictionaries({"findings": st.lists(JSON, max_size=3)}), max_size=3
    )
)
def test_any_json_in_the_truth_schema_is_a_truth_or_a_sentence(images: Any) -> None:
    try:
        said = f"{len(parse_truth(json.dumps({'schema': 'gazeroom.truth/1', 'images': images})))} entries."
    except SidecarError as error:
        said = str(error)
    assert said.endswith((".", "?"))


@pytest.mark.django_db
def test_a_picture_takes_view_spacing_and_truth_from_its_sidecar(tmp_path: Path, data_dir: Path) -> None:
    pixels = ramp(64, 80, top=255).astype(np.uint8)
    Picture.fromarray(pixels).save(tmp_path / "a.png")
    (tmp_path / "truth.csv").write_text(HEADER + "a.png,AP,17,0.2 0.1,Lung Lesion,left,10,20,30,44\n")
    report = import_paths(paths=[tmp_path / "a.png"], actor=None)
    (image,) = report.imported
    assert (image.view, image.row_spacing_mm, image.column_spacing_mm) == ("AP", 0.2, 0.1)
    assert image.case.source == Case.Source.PICTURE
    np.testing.assert_array_equal(frames.pixels(image), pixels)
    finding = ReferenceFinding.objects.get()
    assert (finding.finding, finding.side, finding.box, finding.image) == (
        "Lung Lesion",
        "left",
        [10, 20, 30, 44],
        image,
    )


@pytest.mark.django_db
@pytest.mark.parametrize("mode", ["L", "I;16", "RGB", "JPEG"])
def test_grey_pictures_of_every_kind_are_read(tmp_path: Path, data_dir: Path, mode: str) -> None:
    pixels = np.add.outer(np.arange(64), np.arange(80)).astype(np.uint16)
    if mode == "I;16":
        pixels *= 300
        picture = Picture.fromarray(pixels)
    else:
        picture = Picture.fromarray(pixels.astype(np.uint8)).convert("RGB" if mode == "RGB" else "L")
    name = "a.jpg" if mode == "JPEG" else "a.png"
    picture.save(tmp_path / name, **({"quality": 95} if mode == "JPEG" else {}))
    (tmp_path / "t.csv").write_text(f"filename,finding\n{name},\n")
    report = import_paths(paths=[tmp_path / name], actor=None)
    stored = frames.pixels(report.imported[0]).astype(int)
    assert np.abs(stored - pixels).max() <= (3 if mode == "JPEG" else 0)


@pytest.mark.django_db
def test_a_dicom_takes_its_truth_from_a_sidecar_and_keeps_its_own_view(tmp_path: Path, data_dir: Path) -> None:
    write(make_dataset(), tmp_path / "a.dcm")
    (tmp_path / "t.csv").write_text("filename,view,finding\na.dcm,AP,Cardiomegaly\n")
    report = import_paths(paths=[tmp_path / "a.dcm"], actor=None)
    assert report.imported[0].view == "PA"
    assert report.cases[0].reference_standard.method == "sidecar CSV"
    assert report.cases[0].source == Case.Source.DICOM


@pytest.mark.django_db
def test_a_truth_that_comes_after_its_image_is_added_once(tmp_path: Path, data_dir: Path) -> None:
    path = write(make_dataset(), tmp_path / "a.dcm")
    (case,) = import_paths(paths=[path], actor=None).cases
    (tmp_path / "t.csv").write_text("filename,finding\na.dcm,Cardiomegaly\n")
    first = import_paths(paths=[path], actor=None)
    assert first.already_here[0][1] == f"a.dcm is already here as {case.label}; its reference standard was added."
    (tmp_path / "t.csv").write_text("filename,finding\na.dcm,Edema\n")
    again = import_paths(paths=[path], actor=None)
    assert again.already_here[0][1] == f"a.dcm is already here as {case.label}."
    assert [f.finding for f in ReferenceFinding.objects.all()] == ["Cardiomegaly"]


@pytest.mark.django_db
def test_a_case_in_a_study_gets_no_truth_afterwards(tmp_path: Path, data_dir: Path) -> None:
    path = write(make_dataset(), tmp_path / "a.dcm")
    make_study(cases=import_paths(paths=[path], actor=None).cases, opened=False)
    (tmp_path / "t.csv").write_text("filename,finding\na.dcm,Cardiomegaly\n")
    import_paths(paths=[path], actor=None)
    assert not ReferenceFinding.objects.exists()


@pytest.mark.django_db
def test_files_wait_for_a_sidecar_that_cannot_be_read(tmp_path: Path, data_dir: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    write(make_dataset(), source / "a.dcm")
    (source / "t.csv").write_text("filename,finding\na.dcm,Cardiomegly\n")
    report = import_paths(paths=[source], actor=None)
    assert [sentence for _, sentence in report.refused] == [
        "t.csv has the unknown finding 'Cardiomegly' on line 2; did you mean Cardiomegaly?",
        "a.dcm waits for its sidecar t.csv, which cannot be read; mend that first.",
    ]
    assert not Image.objects.exists()


@pytest.mark.django_db
def test_a_file_that_a_sidecar_lists_and_nobody_sent_is_named(tmp_path: Path, data_dir: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    write(make_dataset(), source / "a.dcm")
    (source / "t.csv").write_text("filename,finding\na.dcm,\nb.dcm,\n")
    report = import_paths(paths=[source], actor=None)
    assert len(report.imported) == 1
    assert report.refused == [("t.csv", "t.csv lists b.dcm, which is not beside it; add the file or drop the row.")]


@pytest.mark.django_db
def test_phantoms_bring_their_exact_geometry(tmp_path: Path, data_dir: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    phantoms = {f"{i}.dcm": (f"PH{i}", make_phantom(11, i, (128, 128), normal_share=i % 2)) for i in range(4)}
    for name, (patient, phantom) in phantoms.items():
        write_dicom(phantom, source / name, patient_id=patient)
    write_truth(source, phantoms)
    for name, (_, phantom) in phantoms.items():
        report = import_paths(paths=[source / name], actor=None)
        (case,) = report.cases
        assert case.source == Case.Source.PHANTOM
        assert case.reference_standard.method == "phantom geometry"
        stored = {f.finding: f for f in case.reference_standard.findings.all()}
        assert {f: s.side for f, s in stored.items()} == phantom.labels
        for finding in phantom.findings:
            np.testing.assert_allclose(stored[finding.finding].box, finding.box, atol=0.006)
            np.testing.assert_allclose(stored[finding.finding].outline, finding.outline, atol=0.006)
        grey = frames.pixels(report.imported[0]).astype(int)
        top = 4095 if report.imported[0].inverted else 0
        np.testing.assert_array_equal(abs(top - grey), phantom.pixels)
    assert {phantom.labels != {} for _, phantom in phantoms.values()} == {True, False}


@pytest.mark.django_db
def test_make_phantoms_imports_a_series_once(
    tmp_path: Path, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("make_phantoms", 3, seed=5, size=96)
    assert Case.objects.filter(source="phantom", reference_standard__method="phantom geometry").count() == 3
    call_command("make_phantoms", 4, seed=5, size=96, out=tmp_path / "kept")
    assert Case.objects.count() == 4
    assert "1 phantom imported, 3 already here." in capsys.readouterr().out
    assert len(list((tmp_path / "kept").glob("*.dcm"))) == 4
    truth = json.loads((tmp_path / "kept" / "truth.json").read_text())["images"]
    assert {entry["rows"] for entry in truth.values()} == {96}


@pytest.mark.django_db
def test_make_phantoms_without_importing_leaves_the_site_alone(tmp_path: Path, data_dir: Path) -> None:
    call_command("make_phantoms", 1, seed=5, size=96, out=tmp_path / "kept", do_import=False, verbosity=0)
    assert not Case.objects.exists()
    report = import_paths(paths=[tmp_path / "kept"], actor=None)
    assert len(report.imported) == 1 and report.refused == []
