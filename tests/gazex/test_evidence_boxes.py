"""The published recipe: both reference readings to the pixel, and any other reading as the slow recipe has it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from gazex.evidence.boxes import Gaze, boxes, foci, nearest
from gazex.evidence.folder import read_folder
from gazex.evidence.heatmaps import stamped
from tests.gazex import published_recipe as recipe

REFERENCE = Path(__file__).resolve().parents[3] / "shared" / "reference" / "gazex_boxes"
READINGS = sorted(p.name for p in REFERENCE.glob("*")) or ["none"]
needs_reference = pytest.mark.skipif(not REFERENCE.is_dir(), reason="the reference data is not beside the checkout")


def rows_of(gaze: Gaze, sentences: list[tuple[float, float]], width: int, height: int) -> list[tuple]:
    return [(k, f.cluster, *f.box, *f.centroid) for k, f in boxes(gaze, sentences, height, width)]


def same(ours: list[tuple], theirs: list[tuple], edge: int = 0, centroid: float = 0.05) -> None:
    assert [row[:2] for row in ours] == [row[:2] for row in theirs]
    for mine, other in zip(ours, theirs, strict=True):
        assert np.abs(np.subtract(mine[2:6], other[2:6])).max() <= edge, (mine, other)
        assert np.abs(np.subtract(mine[6:], other[6:])).max() <= centroid, (mine, other)


def check(gaze: Gaze, sentences: list[tuple[float, float]], width: int, height: int) -> list[tuple]:
    """Our rows of a reading, equal to the slow recipe's."""
    ours = rows_of(gaze, sentences, width, height)
    samples = recipe.Samples(gaze.t_s, gaze.x, gaze.y, gaze.ppd_x, gaze.ppd_y)
    same(ours, recipe.boxes(samples, sentences, width, height))
    return ours


def golden(name: str) -> tuple[Path, dict, list[tuple]]:
    folder = REFERENCE / name
    with (folder / "paper_boxes.csv").open() as file:
        rows = [(*(int(cell) for cell in row[:6]), float(row[6]), float(row[7])) for row in list(csv.reader(file))[1:]]
    return folder, json.loads((folder / "meta.json").read_text()), rows


def scanpath(
    seed: int,
    *,
    width: int = 480,
    height: int = 400,
    rate: float = 60.0,
    seconds: float = 9.0,
    ppd: tuple[float, float] = (24.0, 27.0),
    ppd_noise: float = 0.004,
    places: int = 4,
    beside: float = 0.0,
    lost: float = 0.02,
    decimals: int = 3,
    same_ppd: bool = False,
) -> Gaze:
    """Fixations around some places, saccades between, noise, lost samples, and a share of places beside the image."""
    rng = np.random.default_rng(seed)
    n = max(2, int(rate * seconds))
    t = np.round(np.arange(n) / rate, 3)
    where = rng.uniform(0.05, 0.95, (places, 2)) * (width, height)
    off = rng.random(places) < beside
    where[off] += np.array([width, height]) * rng.choice([-1.0, 1.0], (off.sum(), 2))
    looks = np.repeat(rng.integers(0, places, n), rng.integers(max(1, rate // 5), max(2, rate), n).astype(int))[:n]
    at = where[looks] + rng.normal(0, 0.35 * ppd[0], (n, 2))
    at = np.round(at, decimals)
    at[rng.random(n) < lost] = np.nan
    if same_ppd:
        return Gaze(t, at[:, 0], at[:, 1], np.full(n, ppd[0]), np.full(n, ppd[1]))
    drift = 1 + 0.05 * np.nan_to_num((at[:, 1] - height / 2) / height)
    density = np.array(ppd)[:, None] * drift * (1 + rng.normal(0, ppd_noise, (2, n)))
    return Gaze(t, at[:, 0], at[:, 1], *np.round(np.maximum(density, 0.5), 3))


SENTENCES = [(2.2, 5.0), (5.4, 8.8)]


# ── the reference ─────────────────────────────────────────────────────────────────────────────────────────────────────


@needs_reference
@pytest.mark.reference
@pytest.mark.parametrize("name", READINGS)
def test_the_boxes_of_the_reference_readings_are_the_published_ones(name):
    folder, meta, expected = golden(name)
    reading = read_folder(folder, width=meta["image_width"], height=meta["image_height"])
    same(rows_of(reading.gaze, reading.times, reading.columns, reading.rows), expected, centroid=0.001)


@needs_reference
@pytest.mark.reference
def test_the_slow_recipe_reproduces_the_published_boxes():
    """What everything else here is compared with is itself held to the reference."""
    folder, meta, expected = golden(READINGS[0])
    reading = read_folder(folder, width=meta["image_width"], height=meta["image_height"])
    samples = recipe.Samples(
        *(getattr(reading.gaze, name) for name in ("t_s", "x", "y", "ppd_x", "ppd_y")),
    )
    same(recipe.boxes(samples, reading.times, reading.columns, reading.rows), expected, centroid=0.001)


# ── any other reading ─────────────────────────────────────────────────────────────────────────────────────────────────

VARIED = {
    "a wide image": {"width": 900, "height": 300},
    "a size that four does not divide": {"width": 483, "height": 401},
    "250 Hz": {"rate": 250.0, "seconds": 9.0},
    "eyes at 20 Hz": {"rate": 20.0},
    "pixels per degree apart": {"ppd": (14.0, 40.0)},
    "pixels per degree far apart": {"ppd": (8.0, 64.0)},
    "few pixels per degree": {"ppd": (5.0, 6.0)},
    "the same pixels per degree all along": {"same_ppd": True},
    "a reader who zooms": {"ppd_noise": 0.3},
    "one place": {"places": 1},
    "many places": {"places": 14, "ppd": (18.0, 20.0)},
    "half of the places beside the image": {"beside": 0.5},
    "most samples lost": {"lost": 0.8},
    "whole pixels": {"decimals": 0},
    "tens of pixels": {"decimals": -1},
}


@pytest.mark.parametrize("changes", VARIED.values(), ids=VARIED)
@pytest.mark.parametrize("seed", [1, 2])
def test_other_readings_have_the_boxes_of_the_slow_recipe(changes, seed):
    how = {"width": 480, "height": 400, **changes}
    assert check(scanpath(seed, **how), SENTENCES, how["width"], how["height"])


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1), width=st.integers(8, 600), height=st.integers(8, 500),
    rate=st.sampled_from([10.0, 60.0, 120.0]), ppd_x=st.floats(2, 40), ratio=st.floats(0.4, 2.5),
    places=st.integers(1, 8), beside=st.sampled_from([0.0, 0.0, 0.3, 1.0]), lost=st.sampled_from([0.0, 0.1, 0.9, 1.0]),
    same_ppd=st.booleans(),
)  # fmt: skip
def test_any_reading_has_the_boxes_of_the_slow_recipe(seed, width, height, ppd_x, ratio, **how):
    gaze = scanpath(seed, width=width, height=height, ppd=(ppd_x, ratio * ppd_x), **how)
    check(gaze, [*SENTENCES, (40.0, 42.0)], width, height)


def test_a_sum_of_gaussians_is_the_sum_to_six_digits():
    rng = np.random.default_rng(4)
    n, shape = 3000, (150, 170)
    x, y = rng.normal(85, 45, n), rng.normal(75, 40, n)
    spread = np.exp(rng.normal(0, 0.02, n))
    sigma_x, sigma_y = 8 * spread, 9 * spread  # together, as a reader's zoom moves them
    slow = np.zeros(shape)
    for values in zip(x, y, sigma_x, sigma_y, strict=True):
        recipe.stamp(slow, *values)
    fast = stamped(shape, np.trunc(x).astype(int), np.trunc(y).astype(int), sigma_x, sigma_y).whole()
    assert np.array_equal(fast > 0, slow.astype(np.float32) > 0)
    assert np.abs(fast / np.where(slow > 0, slow, 1) - (slow > 0)).max() < 3e-6


def test_the_nearest_sample_of_every_pixel_is_the_nearest():
    rng = np.random.default_rng(6)
    for _ in range(20):
        x, y = rng.normal(30, 14, (2, rng.integers(1, 200))).round(3)
        picture = rng.random((60, 60)) < rng.uniform(0.05, 1)
        row, column = np.nonzero(picture)
        found = nearest(x, y, column, row)
        least, _ = cKDTree(np.column_stack([x, y])).query(np.column_stack([column, row]))
        assert np.allclose(np.hypot(x[found] - column, y[found] - row), least, rtol=0, atol=1e-9)


# ── what the paper leaves open ────────────────────────────────────────────────────────────────────────────────────────


def test_samples_that_are_not_finite_are_left_out():
    gaze = scanpath(8, lost=0.0)
    expected = rows_of(gaze, SENTENCES, 480, 400)
    holes = np.arange(0, len(gaze), 7)
    for name, value in (("t_s", np.nan), ("x", np.inf), ("y", -np.inf), ("ppd_x", np.nan), ("ppd_y", np.inf)):
        filled = {k: np.insert(getattr(gaze, k), holes, getattr(gaze, k)[holes]) for k in gaze.__dataclass_fields__}
        filled[name][holes + np.arange(len(holes))] = value
        assert rows_of(Gaze(**filled), SENTENCES, 480, 400) == expected, name


def test_a_sentence_without_gaze_has_no_boxes_and_the_others_keep_their_numbers():
    gaze = scanpath(9)
    rows = rows_of(gaze, [(50.0, 52.0), *SENTENCES, (8.0, 7.0 - 3.0)], 480, 400)
    assert {row[0] for row in rows} == {1, 2}
    assert [row[1:] for row in rows] == [row[1:] for row in rows_of(gaze, SENTENCES, 480, 400)]
    assert rows_of(gaze[:0], SENTENCES, 480, 400) == []


def test_one_place_has_its_holistic_box_only():
    rng = np.random.default_rng(3)
    n = 300
    gaze = Gaze(np.arange(n) / 60, *rng.normal(300, 8, (2, n)), np.full(n, 36.0), np.full(n, 40.0))
    found = foci(gaze, 2.0, 5.0, 400, 480)
    assert [f.cluster for f in found] == [-1]
    x0, y0, x1, y1 = found[0].box
    assert x0 < 75 < x1 and y0 < 75 < y1 and np.hypot(*np.subtract(found[0].centroid, 74.5)) < 2


def test_gaze_wholly_beside_the_image_has_no_boxes():
    gaze = scanpath(10)
    away = Gaze(gaze.t_s, gaze.x + 5000, gaze.y, gaze.ppd_x, gaze.ppd_y)
    assert rows_of(away, SENTENCES, 480, 400) == []


def test_a_sample_just_left_of_the_image_is_on_its_first_pixel_as_in_the_paper():
    n = 50
    gaze = Gaze(np.arange(n) / 10, np.full(n, -3.9), np.full(n, 100.0), np.full(n, 36.0), np.full(n, 36.0))
    (found,) = foci(gaze, 2.0, 4.0, 400, 400)
    assert found.field.whole()[25, 0] > 0 and found.box[0] == 0
    further = Gaze(gaze.t_s, gaze.x - 0.2, gaze.y, gaze.ppd_x, gaze.ppd_y)
    assert foci(further, 2.0, 4.0, 400, 400) == []


def test_a_single_sample_makes_one_box_of_its_gaussian():
    gaze = Gaze(*(np.array([v]) for v in (1.0, 200.0, 120.0, 32.0, 32.0)))
    (found,) = foci(gaze, 1.0, 2.0, 800, 800)
    assert found.time_s == 1.0 and found.centroid == pytest.approx((50, 30))
    assert found.field.top_value == 1 and found.box == (20, 0, 80, 60)  # the square of radius int(3 · 1.25 · 32 / 4)


def test_clusters_are_numbered_in_the_order_of_time():
    for seed in range(12, 18):
        for start, end in SENTENCES:
            found = foci(scanpath(seed, places=5), start, end, 400, 480)
            times = [f.time_s for f in found if f.cluster >= 0]
            assert times == sorted(times) and len(times) != 1


def test_an_image_too_small_for_a_map_is_refused():
    with pytest.raises(ValueError, match="too small"):
        foci(scanpath(1), 2.0, 4.0, 3, 3)
