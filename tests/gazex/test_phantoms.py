"""Phantoms: deterministic, exact in their geometry, valid as DICOM."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gazex.findings import PHANTOM_FINDINGS, SIDED, report_findings
from gazex.phantoms import make_phantom, write_dicom, write_truth
from gazex.phantoms.anatomy import inside

SMALL = (96, 96)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**40), index=st.integers(0, 2**31), subtlety=st.floats(0, 1))
def test_every_finding_lies_in_the_image_with_its_outline_touching_all_four_sides_of_its_box(seed, index, subtlety):
    phantom = make_phantom(seed, index, SMALL, subtlety=subtlety, draw=False)
    for finding in phantom.findings:
        x0, y0, x1, y1 = finding.box
        assert 0 <= x0 < x1 <= phantom.columns - 1
        assert 0 <= y0 < y1 <= phantom.rows - 1
        outline = np.array(finding.outline)
        assert np.allclose([*outline.min(0), *outline.max(0)], finding.box)


@settings(max_examples=40, deadline=None)
@given(index=st.integers(0, 100_000))
def test_sided_findings_lie_on_the_patients_side_which_is_mirrored_in_the_image(index):
    phantom = make_phantom(5, index, SMALL, normal_share=0.0, draw=False)
    assert phantom.findings
    for finding in phantom.findings:
        assert (finding.side in {"left", "right"}) == (finding.finding in SIDED)
        if finding.side:
            centre = (finding.box[0] + finding.box[2]) / 2
            assert (finding.side == "left") == (centre > phantom.columns / 2)


def test_the_same_seed_and_index_give_the_same_pixels_and_another_index_does_not():
    one, again, other = make_phantom(3, 7, SMALL), make_phantom(3, 7, SMALL), make_phantom(3, 8, SMALL)
    assert np.array_equal(one.pixels, again.pixels)
    assert one.findings == again.findings and one.report == again.report
    assert not np.array_equal(one.pixels, other.pixels)


def test_the_geometry_is_the_same_at_any_size():
    small, large = make_phantom(3, 4, (128, 128), normal_share=0), make_phantom(3, 4, (512, 512), normal_share=0)
    assert small.labels == large.labels
    for a, b in zip(small.findings, large.findings, strict=True):
        assert np.allclose((np.array(a.box) + 0.5) * 4, np.array(b.box) + 0.5, atol=1e-6)


def test_the_truth_is_the_same_whether_the_image_is_drawn_or_not():
    drawn, bare = make_phantom(3, 4, SMALL, normal_share=0), make_phantom(3, 4, SMALL, normal_share=0, draw=False)
    assert (drawn.findings, drawn.regions, drawn.report) == (bare.findings, bare.regions, bare.report)
    assert drawn.pixels.any() and not bare.pixels.any()


def test_the_image_shows_the_same_chest_at_any_size():
    small, large = make_phantom(3, 4, (128, 128)).pixels, make_phantom(3, 4, (512, 512)).pixels
    reduced = large.reshape(128, 4, 128, 4).mean((1, 3))
    assert np.corrcoef(small.ravel(), reduced.ravel())[0, 1] > 0.99


def test_pixels_use_twelve_bits_and_most_of_their_range():
    for index in range(12):
        pixels = make_phantom(11, index, SMALL).pixels
        assert pixels.dtype == np.uint16 and pixels.max() <= 4095
        assert np.ptp(np.percentile(pixels, [1, 99])) > 1000


def test_lungs_are_darker_than_the_heart_and_brighter_than_the_air_around_the_body():
    for index in range(8):
        p = make_phantom(21, index, (128, 128), normal_share=1.0)
        grid = np.stack(np.meshgrid(np.arange(128), np.arange(128)), axis=-1).reshape(-1, 2).astype(float)
        mean = {}
        for name in ("left_middle_zone", "heart"):
            x0, y0, x1, y1 = p.regions[name]
            box = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])
            mean[name] = p.pixels.ravel()[inside(box, grid)].mean()
        assert p.pixels[8:20, 2:10].mean() < mean["left_middle_zone"] < mean["heart"]


def test_about_half_are_normal_and_every_finding_occurs_on_both_sides():
    phantoms = [make_phantom(2, i, (32, 32), draw=False) for i in range(300)]
    normal = sum(not p.findings for p in phantoms) / len(phantoms)
    assert 0.36 < normal < 0.54
    seen = Counter((f.finding, f.side) for p in phantoms for f in p.findings)
    for finding in PHANTOM_FINDINGS:
        for side in ("left", "right") if finding in SIDED else ("",):
            assert seen[finding, side] >= 5


def test_the_report_reads_back_as_the_findings_that_are_there():
    for index in range(150):
        phantom = make_phantom(9, index, (32, 32), draw=False)
        assert report_findings(phantom.report) == phantom.labels


def test_subtler_findings_change_the_image_less():
    def visible(subtlety: float) -> float:
        change = []
        for index in range(60):
            p = make_phantom(4, index, SMALL, subtlety=subtlety, normal_share=0.0)
            nodules = [f for f in p.findings if f.finding == "Lung Lesion"]
            if nodules:
                x0, y0, x1, y1 = (round(v) for v in nodules[0].box)
                patch = p.pixels[y0 : y1 + 1, x0 : x1 + 1].astype(float)
                around = p.pixels[max(0, y0 - 3) : y1 + 4, max(0, x0 - 3) : x1 + 4].astype(float)
                change.append((patch.mean() - around.mean()) / p.pixels.std())
        return float(np.mean(change))

    assert visible(0.0) > visible(1.0) + 0.02


@pytest.mark.parametrize(("size", "subtlety"), [((16, 16), 0.3), ((9000, 64), 0.3), ((64, 64), 1.5)])
def test_sizes_and_subtleties_out_of_range_are_refused_in_one_sentence(size, subtlety):
    with pytest.raises(ValueError, match=r"^[^\n]+\.$"):
        make_phantom(1, 1, size, subtlety=subtlety)


@pytest.mark.parametrize("monochrome1", [False, True])
def test_the_dicom_file_reads_back_as_a_valid_cr_with_the_same_picture(tmp_path: Path, monochrome1: bool):
    phantom = make_phantom(1, 2, (160, 128))
    path = write_dicom(phantom, tmp_path / "a.dcm", patient_id="P-17", monochrome1=monochrome1)
    ds = pydicom.dcmread(path)
    assert (
        ds.SOPClassUID == "1.2.840.10008.5.1.4.1.1.1" and ds.file_meta.MediaStorageSOPInstanceUID == ds.SOPInstanceUID
    )
    assert (ds.Modality, ds.ViewPosition, ds.BodyPartExamined, ds.PatientID) == ("CR", "PA", "CHEST", "P-17")
    assert (ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation) == (16, 12, 11, 0)
    assert float(ds.WindowWidth) > 1
    assert np.allclose([float(v) for v in ds.PixelSpacing], phantom.pixel_spacing_mm, atol=1e-5)
    for element in ds:  # every value fits its VR
        assert element.VR
        pydicom.valuerep.validate_value(element.VR, element.value, pydicom.config.RAISE) if isinstance(
            element.value, str
        ) else None
    pixels = ds.pixel_array
    if monochrome1:
        assert ds.PhotometricInterpretation == "MONOCHROME1"
        pixels = 4095 - pixels
    assert np.array_equal(pixels, phantom.pixels)


def test_a_series_holds_both_photometric_interpretations_and_identifiers_only_where_asked(tmp_path: Path):
    kinds = set()
    for index in range(4):
        path = write_dicom(make_phantom(1, index, SMALL), tmp_path / f"{index}.dcm", patient_id="X")
        kinds.add(pydicom.dcmread(path).PhotometricInterpretation)
    assert kinds == {"MONOCHROME1", "MONOCHROME2"}
    assert str(pydicom.dcmread(tmp_path / "0.dcm").PatientName)
    bare = pydicom.dcmread(
        write_dicom(make_phantom(1, 0, SMALL), tmp_path / "b.dcm", patient_id="X", identifiers=False)
    )
    assert not str(bare.PatientName) and not bare.AccessionNumber and "InstitutionName" not in bare


def test_writing_a_phantom_again_gives_the_same_bytes(tmp_path: Path):
    a = write_dicom(make_phantom(1, 5, SMALL), tmp_path / "a.dcm", patient_id="X").read_bytes()
    b = write_dicom(make_phantom(1, 5, SMALL), tmp_path / "b.dcm", patient_id="X").read_bytes()
    assert a == b


def test_the_truth_files_name_every_image_and_finding(tmp_path: Path):
    phantoms = {f"{i}.dcm": (f"P{i}", make_phantom(6, i, SMALL)) for i in range(6)}
    json_path, csv_path = write_truth(tmp_path, phantoms)
    truth = json.loads(json_path.read_text())
    assert set(truth["images"]) == set(phantoms)
    with csv_path.open() as file:
        rows = list(csv.DictReader(file))
    for name, (_, phantom) in phantoms.items():
        listed = {(r["finding"], r["side"]) for r in rows if r["file"] == name}
        assert listed == {(f.finding, f.side) for f in phantom.findings} or (
            listed == {("", "")} and not phantom.findings
        )
        assert len(truth["images"][name]["findings"]) == len(phantom.findings)


def test_findings_phantoms_and_schema_import_without_torch_and_without_django():
    code = (
        "import sys, gazex.findings, gazex.phantoms, gazex.schema, gazex.evidence, capture.gaze.simulate.reader;"
        "print([m for m in ('torch', 'transformers', 'django', 'sklearn') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_lures_are_bright_spots_that_leave_the_findings_and_the_report_alone():
    brighter, count = [], []
    for index in range(40):
        phantom = make_phantom(12, index, (128, 128))
        count.append(len(phantom.lures))
        for x0, y0, x1, y1 in phantom.lures:
            assert 0 <= x0 < x1 <= 127 and 0 <= y0 < y1 <= 127
            inside = phantom.pixels[int(y0) : int(y1) + 2, int(x0) : int(x1) + 2].astype(float)
            around = phantom.pixels[max(0, int(y0) - 4) : int(y1) + 6, max(0, int(x0) - 4) : int(x1) + 6]
            brighter.append(inside.max() - np.median(around))
        assert report_findings(phantom.report) == phantom.labels
    assert set(count) == {0, 1, 2, 3}
    assert np.mean(np.array(brighter) > 50) > 0.9
