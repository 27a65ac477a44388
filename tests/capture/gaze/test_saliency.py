from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from capture.gaze import saliency

ROWS, COLUMNS = 23, 31


@pytest.fixture
def case() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A map, and fixations on pixels that tend to lie where the map is high; two of them on one pixel."""
    rng = np.random.default_rng(4)
    grid = rng.gamma(0.7, size=(ROWS, COLUMNS))
    at = rng.choice(grid.size, size=14, replace=False, p=(grid / grid.sum()).ravel())
    at[1] = at[0]
    return grid, (at % COLUMNS).astype(float), (at // COLUMNS).astype(float)


def test_nss_is_the_mean_of_the_standardised_map_at_the_fixations(case) -> None:
    grid, x, y = case
    cells = [float(v) for row in grid for v in row]
    mean = math.fsum(cells) / len(cells)
    spread = math.sqrt(math.fsum((v - mean) ** 2 for v in cells) / len(cells))
    slow = sum((grid[int(v), int(u)] - mean) / spread for u, v in zip(x, y, strict=True)) / len(x)
    assert saliency.nss(grid, x, y) == pytest.approx(slow, rel=1e-12)


def test_cc_is_pearsons_correlation(case) -> None:
    grid, x, y = case
    other = saliency.fixation_density(x, y, rows=ROWS, columns=COLUMNS, ppd_x=3, ppd_y=3)
    assert saliency.cc(grid, other) == pytest.approx(np.corrcoef(grid.ravel(), other.ravel())[0, 1], rel=1e-10)
    assert saliency.cc(grid, 7 * grid + 2) == pytest.approx(1) and saliency.cc(grid, -grid) == pytest.approx(-1)


def test_sim_and_kl_follow_their_sums(case) -> None:
    grid, x, y = case
    q = saliency.fixation_density(x, y, rows=ROWS, columns=COLUMNS, ppd_x=3, ppd_y=2)
    overlap = divergence = 0.0
    for row in range(ROWS):
        for column in range(COLUMNS):
            a, b = grid[row, column] / grid.sum(), q[row, column]
            overlap += min(a, b)
            divergence += b * math.log(2.220446049250313e-16 + b / (a + 2.220446049250313e-16))
    assert saliency.sim(grid, q) == pytest.approx(overlap, rel=1e-10)
    assert saliency.kl(grid, q) == pytest.approx(divergence, rel=1e-10)
    assert saliency.sim(q, q) == pytest.approx(1) and saliency.kl(q, q) == pytest.approx(0, abs=1e-9)


def test_kl_stays_finite_where_the_map_says_nobody_looks() -> None:
    left, right = np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])
    assert saliency.kl(left, right) == pytest.approx(-math.log(2.220446049250313e-16), rel=1e-6)


def pairwise(positive, negative) -> float:
    score = sum(1.0 if p > n else 0.5 if p == n else 0.0 for p in positive for n in negative)
    return score / (len(positive) * len(negative))


def test_the_areas_count_every_pair_of_a_fixated_and_another_pixel(case) -> None:
    grid, x, y = case
    grid = np.round(grid, 1)  # with equal values
    seen = {(int(v), int(u)) for u, v in zip(x, y, strict=True)}
    at = [grid[int(v), int(u)] for u, v in zip(x, y, strict=True)]
    others = [grid[r, c] for r in range(ROWS) for c in range(COLUMNS) if (r, c) not in seen]
    assert saliency.auc_judd(grid, x, y) == pytest.approx(pairwise(at, others), rel=1e-12)
    assert saliency.auc_borji(grid, x, y) == pytest.approx(pairwise(at, grid.ravel()), rel=1e-12)
    elsewhere = [grid[2, 3], grid[4, 5]]
    shuffled = saliency.auc_shuffled(grid, x, y, [3.0, 5.0], [2.0, 4.0])
    assert shuffled == pytest.approx(pairwise(at, elsewhere), rel=1e-12)


def test_judds_own_curve_through_the_fixations_values_lies_within_its_step(case) -> None:
    grid, x, y = case
    x, y = x[1:], y[1:]  # each pixel once, as in the published script
    values = sorted((grid[int(v), int(u)] for u, v in zip(x, y, strict=True)), reverse=True)
    n, pixels = len(values), grid.size
    curve = [(0.0, 0.0)]
    curve += [((int((grid >= value).sum()) - i) / (pixels - n), i / n) for i, value in enumerate(values, start=1)]
    curve.append((1.0, 1.0))
    trapezoids = sum((x1 - x0) * (y0 + y1) / 2 for (x0, y0), (x1, y1) in itertools.pairwise(curve))
    exact = saliency.auc_judd(grid, x, y)
    assert exact <= trapezoids <= exact + 1 / (2 * n)


def test_borjis_mean_over_random_draws_comes_to_the_exact_area(case) -> None:
    grid, x, y = case
    rng = np.random.default_rng(0)
    at = grid[y.astype(int), x.astype(int)]
    draws = rng.choice(grid.ravel(), size=(2000, len(at)))
    areas = (at[:, None, None] > draws[None]).mean(axis=(0, 2))
    exact = saliency.auc_borji(grid, x, y)
    assert abs(areas.mean() - exact) < 5 * areas.std() / math.sqrt(len(areas)) + 1 / grid.size


def test_a_density_is_the_sum_of_every_fixations_own_ellipse() -> None:
    x, y, ppd_x, ppd_y, weight = [5.0, 20.25], [7.0, 11.5], [4.0, 2.0], [3.0, 6.0], [0.3, 0.9]
    slow = np.zeros((ROWS, COLUMNS))
    for row in range(ROWS):
        for column in range(COLUMNS):
            for u, v, a, b, w in zip(x, y, ppd_x, ppd_y, weight, strict=True):
                sx, sy = 1.5 * a, 1.5 * b
                distance = ((column - u) / sx) ** 2 + ((row - v) / sy) ** 2
                slow[row, column] += w * math.exp(-distance / 2) / (2 * math.pi * sx * sy)
    density = saliency.fixation_density(
        x, y, rows=ROWS, columns=COLUMNS, ppd_x=ppd_x, ppd_y=ppd_y, sigma_deg=1.5, weights=weight
    )
    np.testing.assert_allclose(density, slow / slow.sum(), rtol=1e-10)


def test_a_smaller_map_shows_the_same_place() -> None:
    density = saliency.fixation_density([600], [200], rows=1000, columns=1200, ppd_x=50, ppd_y=50, shape=(50, 60))
    rows, columns = np.indices(density.shape)
    assert (density * rows).sum() * 20 + 9.5 == pytest.approx(200, abs=0.5)
    assert (density * columns).sum() * 20 + 9.5 == pytest.approx(600, abs=0.5)


def test_fixations_are_counted_on_the_pixel_they_fall_on() -> None:
    x, y = [0.4, 0.4, 2.5, -0.6, np.nan, 30.49], [0, 0.49, 1, 1, 1, 22.49]
    counts = saliency.fixation_counts(x, y, rows=23, columns=31)
    assert counts.sum() == 4 and counts[0, 0] == 2 and counts[1, 3] == 1 and counts[22, 30] == 1


@pytest.mark.parametrize("measure", [saliency.nss, saliency.auc_judd, saliency.auc_borji])
def test_without_a_fixation_on_the_image_nothing_is_estimated(measure, case) -> None:
    assert measure(case[0], [-5.0, np.nan], [3.0, 3.0]) is None
    assert measure(case[0], [], []) is None


def test_a_flat_map_says_nothing(case) -> None:
    _, x, y = case
    flat = np.full((ROWS, COLUMNS), 0.1)
    assert saliency.nss(flat, x, y) is None and saliency.cc(flat, case[0]) is None
    assert saliency.auc_judd(flat, x, y) == saliency.auc_borji(flat, x, y) == 0.5
    assert saliency.sim(np.zeros((2, 2)), np.ones((2, 2))) is None
    assert saliency.kl(np.zeros((2, 2)), np.ones((2, 2))) is None
    assert saliency.fixation_density([], [], rows=3, columns=3, ppd_x=1, ppd_y=1) is None


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: saliency.cc(np.ones((2, 3)), np.ones((3, 2))), "shapes"),
        (lambda: saliency.sim(-np.ones((2, 2)), np.ones((2, 2))), "negative"),
        (lambda: saliency.nss(np.array([[np.nan, 1.0]]), [0], [0]), "no numbers"),
        (lambda: saliency.nss(np.ones(4), [0], [0]), r"\[rows, columns\]"),
        (lambda: saliency.nss(np.ones((2, 2)), [0, 1], [0]), r"\[K\]"),
        (lambda: saliency.fixation_density([1], [1], rows=3, columns=3, ppd_x=0, ppd_y=1), "per degree"),
    ],
    ids=["sizes", "negative", "nan", "one-dimensional", "unequal-lengths", "no-scale"],
)
def test_what_is_no_map_is_refused_with_a_sentence(call, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        call()
