"""DBSCAN of pixels is scikit-learn's, label for label: on maps of gaze, on sparse pixels, where eps is a close call."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from sklearn.cluster import DBSCAN
from sklearn.preprocessing import StandardScaler

from gazex.evidence import lattice


def theirs(x, y, intensity, eps=0.3, least=10):
    places = StandardScaler().fit_transform(np.column_stack([x, y]))
    return DBSCAN(eps=eps, min_samples=least).fit_predict(np.column_stack([places, 0.1 * intensity]))


def check(field: np.ndarray, threshold: float) -> tuple[int, int]:
    """Clusters and noise pixels of a map's pixels above a threshold; asserts that both say the same."""
    y, x = np.nonzero(field > threshold)
    intensity = field[y, x]
    if len(x) == 0:
        assert len(lattice.clusters(x, y, intensity)) == 0
        return 0, 0
    expected = theirs(x, y, intensity)
    assert np.array_equal(lattice.clusters(x, y, intensity), expected)
    return int(expected.max()) + 1, int((expected < 0).sum())


def gaze_like(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    field = np.zeros((rows, columns))
    for _ in range(rng.integers(1, 9)):
        field[rng.integers(rows), rng.integers(columns)] += rng.exponential()
    field = gaussian_filter(field, (rng.uniform(1.5, 8), rng.uniform(1.5, 8)), mode="constant")
    return (field / field.max()).astype(np.float32)


def test_maps_of_gaze_cluster_as_scikit_learn_clusters_them():
    rng = np.random.default_rng(0)
    seen = [check(gaze_like(rng, *rng.integers(25, 110, 2)), 0.1) for _ in range(120)]
    assert sum(clusters > 1 for clusters, _ in seen) > 30 and sum(noise > 0 for _, noise in seen) > 3


def test_sparse_pixels_have_border_points_and_noise_where_scikit_learn_has_them():
    """Pixels at random: core points, border points between two clusters and noise lie everywhere."""
    rng = np.random.default_rng(1)
    noisy = several = 0
    for _ in range(120):
        field = rng.random(rng.integers(8, 50, 2)).astype(np.float32)
        clusters, noise = check(field, 1 - rng.uniform(0.01, 0.25))
        several += clusters > 1
        noisy += noise > 0
    assert several > 10 and noisy > 40


def test_narrow_maps_whose_neighbours_are_apart_are_measured():
    rng = np.random.default_rng(2)
    for shape in ((1, 60), (60, 1), (2, 90), (90, 3), (4, 4), (3, 200), (1, 1), (6, 60)):
        for share in (0.2, 0.6, 0.95):
            check(rng.random(shape).astype(np.float32), 1 - share)


def test_a_gap_of_exactly_eps_joins_and_one_just_wider_does_not():
    """Two bars of equal intensity, moved apart: the pair splits where scikit-learn's does, at about 0.3 of an SD."""
    counts = []
    for gap in range(1, 40, 2):
        field = np.zeros((20, 120), np.float32)
        field[:, :40] = field[:, 40 + gap : 80 + gap] = 0.5
        counts.append(check(field, 0.1)[0])
    assert counts[0] == 1 and counts[-1] == 2 and sorted(counts) == counts


def test_intensity_decides_where_the_gap_alone_does_not():
    """The gap is a little below eps; a step in intensity, a tenth of which counts, separates the bars."""
    close = [
        (width, gap)
        for width in range(20, 60)
        for gap in range(3, 15)
        if 0.291 < (gap + 1) / np.std(np.r_[0:width, width + gap : 2 * width + gap]) < 0.299
    ]
    assert len(close) > 3
    for width, gap in close[:4]:
        counts = []
        for step in (0.0, 0.84):
            field = np.zeros((30, 2 * width + gap), np.float32)
            field[:, :width], field[:, width + gap :] = 0.15, 0.15 + step
            counts.append(check(field, 0.1)[0])
        assert counts == [1, 2]


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1), st.integers(2, 40), st.integers(2, 40), st.floats(0.02, 0.6), st.sampled_from([0.0, 1.0])
)
def test_any_pixels_cluster_as_scikit_learn_clusters_them(seed, rows, columns, share, smooth):
    field = np.random.default_rng(seed).random((rows, columns))
    if smooth:
        field = gaussian_filter(field, smooth)
        field = (field - field.min()) / (np.ptp(field) or 1)
    check(field.astype(np.float32), np.quantile(field, 1 - share))


@pytest.mark.parametrize(("eps", "least"), [(0.1, 3), (0.3, 10), (0.6, 25), (0.3, 1)])
def test_other_radii_and_counts_hold_as_well(eps, least):
    rng = np.random.default_rng(5)
    for _ in range(25):
        field = gaze_like(rng, 40, 50) + 0.2 * rng.random((40, 50)).astype(np.float32)
        y, x = np.nonzero(field > 0.25)
        expected = theirs(x, y, field[y, x], eps, least)
        assert np.array_equal(lattice.clusters(x, y, field[y, x], eps, least), expected)
