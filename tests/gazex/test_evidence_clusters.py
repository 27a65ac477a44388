"""Clusters of a Visit: the recipe's own clusters, in pixels of the image, for images of any size."""

from __future__ import annotations

import numpy as np
import pytest

from gazex.evidence import clusters_of, gaze_map, observation_box, sentence_map
from gazex.evidence.boxes import foci
from gazex.evidence.clusters import step_of
from gazex.schema import Visit
from tests.gazex.test_evidence_boxes import scanpath


def visit_of(x, y, *, rows=800, columns=900, ppd=32.0, sentences=((2.0, 9.0),), rate=60.0) -> Visit:
    return Visit(
        id="v", reader="r", patient="p", study="s", image_file="images/v.png", rows=rows, columns=columns,
        t_s=np.arange(len(x)) / rate, x=x, y=y, ppd_x=ppd, ppd_y=ppd,
        sentences=[(f"Sentence {k}.", *times) for k, times in enumerate(sentences)],
    )  # fmt: skip


def looks(
    *places: tuple[float, float], n: int = 90, spread: float = 6.0, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    at = np.concatenate([rng.normal(place, spread, (n, 2)) for place in places])
    return at[:, 0], at[:, 1]


def test_places_come_in_the_order_they_were_looked_at_with_their_share_of_the_time():
    visit = visit_of(*looks((700, 600), (150, 150), (150, 150), (700, 150)))
    found = clusters_of(visit, 0)
    assert np.allclose([c.centroid for c in found], [(700, 600), (150, 150), (700, 150)], atol=4)
    assert [c.share for c in found] == pytest.approx([0.25, 0.5, 0.25], abs=0.06)
    assert [c.time_s for c in found] == sorted(c.time_s for c in found)
    x0, y0, x1, y1 = observation_box(found)
    assert x0 < 150 < x1 and y0 < 150 < y1 and x1 - x0 < 250


@pytest.mark.parametrize("seed", range(4))
def test_clusters_are_as_many_as_the_recipe_finds_and_in_its_order(seed):
    gaze = scanpath(seed, width=900, height=800, ppd=(30.0, 30.0), same_ppd=True, places=5, lost=0.0)
    visit = visit_of(gaze.x, gaze.y, ppd=30.0, sentences=((2.2, 8.8),))
    theirs = [f for f in foci(gaze, 2.2, 8.8, 800, 900) if f.cluster >= 0]
    ours = clusters_of(visit, 0)
    assert len(theirs) > 1 and len(ours) == len(theirs)
    assert np.allclose([c.time_s for c in ours], [f.time_s for f in theirs], atol=0.15)


def test_one_place_is_one_cluster_around_it():
    (found,) = clusters_of(visit_of(*looks((300, 200), n=400)), 0)
    assert found.share == pytest.approx(1, abs=0.02)
    assert np.allclose(found.centroid, (300, 200), atol=3)
    x0, y0, x1, y1 = found.box
    # σ = 1.5 · 32 px and a little of the samples' own; a tenth of a Gaussian's top lies at 2.15 σ.
    assert (x1 - x0) / 2 == pytest.approx(2.15 * np.hypot(48, 6), rel=0.05)
    assert (y1 - y0) / 2 == pytest.approx(2.15 * np.hypot(48, 6), rel=0.05)


@pytest.mark.parametrize("size", [(12, 9), (96, 96), (300, 256), (2500, 2000)])
def test_images_of_any_size_have_boxes_inside_them(size):
    rows, columns = size
    scale = max(size) / 112
    x, y = looks((0.2 * columns, 0.3 * rows), (0.9 * columns, 0.9 * rows), spread=scale)
    found = clusters_of(visit_of(x, y, rows=rows, columns=columns, ppd=4.3 * scale, sentences=((0.0, 3.0),)), 0)
    assert found
    for cluster in found:
        x0, y0, x1, y1 = cluster.box
        assert 0 <= x0 < x1 <= columns - 1 and 0 <= y0 < y1 <= rows - 1
    assert step_of(96, 96) == 1 and step_of(2500, 2000) == 4


def test_few_samples_none_and_gaze_beside_the_image_are_no_surprise():
    two = visit_of(np.array([100.0, 110.0]), np.array([100.0, 104.0]), sentences=((0.0, 1.0),))
    assert len(clusters_of(two, 0)) == 1
    lost = visit_of(np.full(9, np.nan), np.full(9, np.nan), sentences=((0.0, 1.0),))
    beside = visit_of(np.full(9, -50.0), np.full(9, 10.0), sentences=((0.0, 1.0),))
    assert clusters_of(lost, 0) == clusters_of(beside, 0) == [] and observation_box([]) is None


def test_a_sentence_map_is_a_share_of_the_image_wide_whatever_its_size():
    maps = [
        sentence_map(visit_of(*looks((k / 2, k / 3)), rows=k, columns=k), 0, shape=(40, 40), sigma=0.06)
        for k in (120, 1200)
    ]
    assert maps[0].max() == maps[1].max() == 1
    for k, shown in zip((120, 1200), maps, strict=True):
        y, x = np.unravel_index(shown.argmax(), shown.shape)
        assert abs((x + 0.5) / 40 - 0.5) < 0.05 and abs((y + 0.5) / 40 - 1 / 3) < 0.05, k
    assert not gaze_map(np.zeros(0), np.zeros(0), 10, 10, 1, 1, (5, 5)).any()
