"""The inspection areas are found where the phantoms' truth has them, and the order of inspection is tested honestly."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from capture.gaze.simulate.reader import inspect
from gazex.anatomy import AREAS, Area, follows_abcdef, inspection, locate
from gazex.phantoms import Phantom, make_phantom
from tests.reference import REFERENCE, needs_reference

PLACES = {
    "trachea": Area("trachea"),
    "spine": Area("spine"),
    "abdomen": Area("abdomen"),
    "right_hilum": Area("hilum", "right"),
    "left_hilum": Area("hilum", "left"),
    "right_apex": Area("apical zone", "right"),
    "left_apex": Area("apical zone", "left"),
    "right_middle_zone": Area("lung", "right"),
    "left_middle_zone": Area("lung", "left"),
    "mediastinum": Area("mediastinum"),
    "heart": Area("heart"),
}


@pytest.fixture(scope="module")
def located():
    phantoms = [make_phantom(811, i, (256, 256 + 32 * (i % 2))) for i in range(5)]
    return [(p, locate(p.pixels)) for p in phantoms]


def overlap(a, b) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(0.0, width) * max(0.0, height)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def test_every_phantom_has_all_areas(located):
    for _, chest in located:
        assert chest is not None
        assert {area.name for area in chest.masks} == set(AREAS)
        assert 0.7 <= chest.confidence <= 1


def test_the_lungs_lie_where_the_phantom_has_them(located):
    for side in ("left", "right"):
        found = [overlap(p.regions[f"{side}_lung"], chest.boxes[Area("lung", side)]) for p, chest in located]
        assert np.mean(found) > 0.85 and min(found) > 0.65


@pytest.mark.parametrize("name", PLACES)
def test_points_within_a_region_are_named_after_it(located, name):
    hits = []
    for phantom, chest in located:
        x0, y0, x1, y1 = phantom.regions[name]
        for fx in (0.35, 0.5, 0.65):
            for fy in (0.35, 0.5, 0.65):
                hits.append(PLACES[name] in chest.areas_of(x0 + fx * (x1 - x0), y0 + fy * (y1 - y0)))
    assert np.mean(hits) >= 0.8


def test_boxes_and_masks_share_the_images_pixels(located):
    for phantom, chest in located:
        for area, (x0, y0, x1, y1) in chest.boxes.items():
            assert -0.5 <= x0 < x1 <= phantom.columns - 0.5 and -0.5 <= y0 < y1 <= phantom.rows - 0.5
            assert chest.masks[area].any()


def test_the_particular_area_comes_before_the_general(located):
    _, chest = located[0]
    x0, _, x1, y1 = chest.boxes[Area("apical zone", "left")]
    assert chest.area_of((x0 + x1) / 2, y1 - 2) == Area("apical zone", "left")
    assert chest.areas_of((x0 + x1) / 2, y1 - 2)[-1] == Area("lung", "left")
    assert str(Area("apical zone", "left")) == "left apical zone" and str(Area("heart")) == "heart"


@pytest.mark.parametrize("point", [(-1, 5), (5, -1), (1e9, 5), (float("nan"), 5), (5, float("inf"))])
def test_a_point_off_the_image_lies_nowhere(located, point):
    assert located[0][1].area_of(*point) is None


def test_the_same_chest_brighter_and_larger_has_the_same_areas(located):
    phantom, chest = located[0]
    again = locate(np.kron(phantom.pixels, np.ones((2, 2))) * 3.0 + 100)
    for area, box in chest.boxes.items():
        assert overlap(np.array(again.boxes[area]) / 2, box) > 0.9


def degraded(phantom: Phantom) -> dict[str, np.ndarray]:
    pixels = phantom.pixels.astype(float)
    return {
        "upside down": pixels[::-1],
        "on its side": np.rot90(pixels),
        "inverted": pixels.max() - pixels,
        "one half": pixels[:, : phantom.columns // 2],
        "the lower half": pixels[phantom.rows // 2 :],
        "noise": np.random.default_rng(1).normal(size=(128, 128)),
        "nothing": np.zeros((128, 128)),
    }


@pytest.mark.parametrize("what", degraded(make_phantom(3, 0, (64, 64), draw=False)))
def test_what_is_no_upright_chest_is_not_located(located, what):
    assert locate(degraded(located[0][0])[what]) is None


@pytest.mark.parametrize(
    ("pixels", "why"),
    [
        (np.zeros((200, 200, 3)), "one grayscale image"),
        (np.zeros((20, 200)), "one grayscale image"),
        (np.full((100, 100), np.nan), "NaN or infinity"),
    ],
)
def test_what_is_no_image_is_refused(pixels, why):
    with pytest.raises(ValueError, match=why):
        locate(pixels)


@needs_reference
@pytest.mark.parametrize(
    ("points", "file"),
    [
        # Read off the radiographs by eye, as shares of width and height.
        (
            {
                (0.30, 0.45): Area("lung", "right"),
                (0.72, 0.40): Area("lung", "left"),
                (0.52, 0.62): Area("heart"),
                (0.40, 0.85): Area("abdomen"),
                (0.30, 0.22): Area("apical zone", "right"),
            },
            "*.dcm",
        ),
        (
            {
                (0.25, 0.45): Area("lung", "right"),
                (0.78, 0.40): Area("lung", "left"),
                (0.52, 0.62): Area("heart"),
                (0.35, 0.88): Area("abdomen"),
                (0.33, 0.20): Area("apical zone", "right"),
                (0.50, 0.15): Area("trachea"),
            },
            "*.png",
        ),
    ],
    ids=["dicom", "png"],
)
def test_areas_are_found_on_a_real_radiograph(points, file):
    path = next((REFERENCE / "chest_xrays").glob(file))
    if path.suffix == ".dcm":
        pydicom = pytest.importorskip("pydicom")
        pixels = pydicom.dcmread(path).pixel_array
    else:
        pixels = np.asarray(Image.open(path).convert("L"))
    chest = locate(pixels)
    rows, columns = pixels.shape
    assert {at: chest.area_of(at[0] * columns, at[1] * rows) for at in points} == points


# ── the order of inspection ────────────────────────────────────────────────────────────────────────

ORDERED = [Area(name) for name in ("trachea", "lung", "hilum", "heart", "mediastinum", "abdomen", "spine")]


def test_readings_in_the_order_of_the_alphabet_follow_it():
    test = follows_abcdef([ORDERED] * 4)
    assert test.tau == 1 and test.p < 0.001 and test.orders == ("ABCDE",) * 4 and test.readings == 4


def test_readings_in_the_reverse_order_do_not():
    test = follows_abcdef([ORDERED[::-1]] * 4)
    assert test.tau == -1 and test.p > 0.99


def test_one_reading_has_the_exact_chance_of_its_order():
    # Five visits of five letters: one order in 120 agrees fully.
    test = follows_abcdef([ORDERED], permutations=20_000)
    assert test.p == pytest.approx(1 / 120, abs=0.002)


def test_chance_is_found_five_times_in_a_hundred():
    rng = np.random.default_rng(5)
    areas = [Area("lung", "left")] * 6 + [Area("heart")] * 3 + [Area("trachea"), Area("abdomen"), None]
    found = 0
    for _ in range(300):
        readings = [[areas[k] for k in rng.permutation(len(areas))[:9]] for _ in range(3)]
        found += follows_abcdef(readings, permutations=199).p <= 0.05
    # The visits of a letter that runs on are merged before they are shuffled, so the test is not quite exact.
    assert 2 <= found <= 30


def test_the_order_is_that_of_first_visits():
    lung, heart, trachea = Area("lung", "left"), Area("heart"), Area("trachea")
    assert follows_abcdef([[heart, lung, None, lung, heart, trachea]]).orders == ("CBA",)


@pytest.mark.parametrize("readings", [[], [[]], [[None, None]], [[Area("heart"), Area("mediastinum")]]])
def test_an_order_that_cannot_be_seen_is_not_estimable(readings):
    test = follows_abcdef(readings)
    assert test.tau is None and test.p is None and "not estimable" in test.not_estimable


def test_too_few_permutations_are_refused():
    with pytest.raises(ValueError, match="at least 99"):
        follows_abcdef([ORDERED], permutations=10)


def test_an_inspection_needs_pairs(located):
    with pytest.raises(ValueError, match="as many"):
        inspection(located[0][1], [1, 2], [3])


def test_the_simulated_reader_who_looks_at_lungs_before_the_heart_is_seen_to(located):
    readings = []
    for phantom, chest in located:
        path = inspect(phantom.regions, phantom.findings, rng=np.random.default_rng(phantom.index))
        readings.append(inspection(chest, path.x, path.y))
    test = follows_abcdef(readings, permutations=499)
    assert test.readings == len(readings)
    assert all(order.index("B") < order.index("C") for order in test.orders if "C" in order)


def test_anatomy_imports_no_torch():
    code = "import sys, gazex.anatomy; sys.exit(bool({'torch', 'transformers', 'django'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
