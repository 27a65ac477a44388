"""Visits on disk: what is written is read back, what is wrong is named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gazex.schema import SchemaError, Visit, VisitBox, read_image, read_visits, write_visits


def visit(**changes) -> Visit:
    base = Visit(
        id="v1", reader="r1", patient="p1", study="s1", image_file="images/a.png", rows=40, columns=30,
        t_s=np.array([0.0, 0.1, 0.2]), x=np.array([1.0, np.nan, 3.5]), y=np.array([2.0, np.nan, 4.0]),
        ppd_x=10.0, ppd_y=11.0, sentences=[("No pneumothorax.", 0.05, 0.15)],
        labels={"Lung Lesion": "left", "Edema": True}, boxes=[VisitBox("Lung Lesion", "left", (1.0, 2.0, 8.0, 9.0))],
    )  # fmt: skip
    return replace(base, **changes)


PIXELS = (np.arange(1200, dtype=np.uint16) * 50).reshape(40, 30)


def test_visits_and_images_come_back_as_they_were_written(tmp_path: Path):
    write_visits(tmp_path, [(visit(), PIXELS), (visit(id="v2"), PIXELS)])
    back, second = read_visits(tmp_path)
    assert second.id == "v2"
    for name in ("id", "reader", "patient", "study", "rows", "columns", "sentences", "labels", "boxes", "ppd_x"):
        assert getattr(back, name) == getattr(visit(), name)
    assert np.array_equal(back.x, visit().x, equal_nan=True)
    assert np.array_equal(read_image(back.image_path(tmp_path)), PIXELS)


def test_pixels_per_degree_of_each_sample_come_back_where_they_were_measured(tmp_path: Path):
    ppd = np.array([[10.0, 11.0], [np.nan, np.nan], [10.5, 11.5]])
    write_visits(tmp_path, [(visit(sample_ppd=ppd), PIXELS), (visit(id="v2"), PIXELS)])
    back, second = read_visits(tmp_path)
    assert np.array_equal(back.sample_ppd, ppd, equal_nan=True) and second.sample_ppd is None


@pytest.mark.parametrize(
    "changes",
    [
        {"sample_ppd": np.ones((2, 2))},
        {"sample_ppd": np.zeros((3, 2))},
        {"id": "../x"},
        {"id": ""},
        {"x": np.zeros(2)},
        {"t_s": np.array([0.2, 0.1, 0.3])},
        {"ppd_x": 0.0},
        {"sentences": [("Oops.", 2.0, 1.0)]},
        {"sentences": [("Oops.", float("nan"), 1.0)]},
        {"labels": {"Nodule": "left"}},
        {"labels": {"Edema": "up"}},
        {"boxes": [VisitBox("Edema", "", (9.0, 2.0, 1.0, 9.0))]},
    ],
    ids=lambda c: next(iter(c)),
)
def test_a_visit_that_makes_no_sense_is_refused_in_one_sentence(changes):
    with pytest.raises(SchemaError, match=r"^Visit “[^\n]*\.$"):
        visit(**changes)


def test_folders_that_are_not_whole_are_refused_with_the_place(tmp_path: Path):
    with pytest.raises(SchemaError, match=r"visits.jsonl is missing"):
        read_visits(tmp_path)
    write_visits(tmp_path, [(visit(), PIXELS)])
    (tmp_path / "gaze" / "v1.npz").rename(tmp_path / "moved.npz")
    with pytest.raises(SchemaError, match=r"line 1: the gaze file gaze/v1.npz is missing"):
        read_visits(tmp_path)
    (tmp_path / "moved.npz").rename(tmp_path / "gaze" / "v1.npz")
    (tmp_path / "images" / "a.png").unlink()
    with pytest.raises(SchemaError, match=r"line 1: the image images/a.png is missing"):
        read_visits(tmp_path)
    (tmp_path / "visits.jsonl").write_text("{nonsense\n")
    with pytest.raises(SchemaError, match=r"line 1 is not a visit"):
        read_visits(tmp_path)


def spoil_line(folder: Path, text: bytes) -> None:
    (folder / "visits.jsonl").write_bytes(text)


def spoil_gaze(folder: Path, keep: int) -> None:
    path = folder / "gaze" / "v1.npz"
    path.write_bytes(path.read_bytes()[:keep])


SPOILT = {
    "bytes that are no text": (lambda f: spoil_line(f, b"\xff\xfe"), r"visits\.jsonl is not UTF-8 text"),
    "a list": (lambda f: spoil_line(f, b"[1]\n"), "line 1: a visit is a JSON object, not list"),
    "null": (lambda f: spoil_line(f, b"null\n"), "line 1: a visit is a JSON object"),
    "an image size of billions": (
        lambda f: spoil_line(f, (f / "visits.jsonl").read_bytes().replace(b'"rows": 40', b'"rows": 1000000000')),
        "has an image of 1000000000×30 pixels",
    ),
    "an empty gaze file": (lambda f: spoil_gaze(f, 0), "line 1: the gaze file gaze/v1.npz cannot be read"),
    "a gaze file cut short": (lambda f: spoil_gaze(f, 200), "line 1: the gaze file gaze/v1.npz cannot be read"),
    "an empty image": (lambda f: (f / "images" / "a.png").write_bytes(b""), "line 1: a.png is not an image"),
    "an image in colour": (
        lambda f: Image.new("RGB", (30, 40)).save(f / "images" / "a.png"),
        "line 1: a.png is not a grayscale image",
    ),
    "another image": (
        lambda f: Image.new("L", (31, 40)).save(f / "images" / "a.png"),
        r"line 1 says 40×30 pixels, and its image images/a.png has 40×31",
    ),
}


def test_gaze_in_fractions_of_the_image_is_refused_with_the_line(tmp_path: Path):
    pixels = np.zeros((40, 50), np.uint16)
    shares = visit(rows=40, columns=50, x=np.array([0.1, np.nan, 0.9]), y=np.array([0.2, np.nan, 1.1]))
    write_visits(tmp_path, [(shares, pixels)])
    with pytest.raises(
        SchemaError, match=r"^visits\.jsonl line 1 .* fractions of the image; pixels of its 50 × 40 are"
    ):
        read_visits(tmp_path)


@pytest.mark.parametrize(("change", "why"), SPOILT.values(), ids=SPOILT)
def test_a_damaged_folder_is_refused_in_one_sentence_with_the_line(tmp_path: Path, change, why):
    write_visits(tmp_path, [(visit(), PIXELS)])
    change(tmp_path)
    with pytest.raises(SchemaError, match=why) as caught:
        read_visits(tmp_path)
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)


def test_images_outside_the_folder_and_ids_used_twice_are_refused(tmp_path: Path):
    with pytest.raises(SchemaError, match="outside"):
        write_visits(tmp_path, [(visit(image_file="../a.png"), PIXELS)])
    with pytest.raises(SchemaError, match="unique"):
        write_visits(tmp_path, [(visit(), PIXELS), (visit(), PIXELS)])
    assert not (tmp_path / "visits.jsonl").exists()
