"""DBSCAN of the pixels of a map, without a search among points (Ester et al., KDD 1996; as scikit-learn 1.9 orders it).

The recipe clusters the pixels above a threshold in (standardised x, standardised y, 0.1 × intensity) by DBSCAN with
eps 0.3, at least 10 points. Pixels lie on a lattice and their intensities differ by less than eps, so nearly all of it
is known without measuring: pixels next to each other belong together, a pixel amid others is a core point. What is not
known that way (sparse pixels, gaps between blobs of about eps) is measured. The result is DBSCAN's own, to the label.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

EPS: Final = 0.3
MIN_SAMPLES: Final = 10
INTENSITY_WEIGHT: Final = 0.1

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def clusters(x: Ints, y: Ints, intensity: NDArray[np.floating], eps: float = EPS, least: int = MIN_SAMPLES) -> Ints:
    """DBSCAN's label of each pixel.

    Parameters
    ----------
    x, y
        Columns and rows of different pixels, [N], row by row (as `numpy.nonzero` gives them).
    intensity
        Their values in the map, [N].
    eps, least
        DBSCAN's radius, and the fewest points within it (itself counted) that make a core point.

    Returns
    -------
    array [N]
        Clusters count from 0 in the order of their first core point; a pixel near two clusters is the earlier one's; −1
        is noise.
    """
    if len(x) == 0:
        return np.zeros(0, np.int64)
    points = np.column_stack([_standardised(x), _standardised(y), INTENSITY_WEIGHT * intensity])
    depth = float(np.ptp(points[:, 2]))
    sure = np.sqrt(max(0.0, eps**2 - depth**2)) * (1 - 1e-9)  # nearer than this in x and y: neighbours for certain
    step_x, step_y = _step(x, points[:, 0]), _step(y, points[:, 1])
    if max(step_x, step_y) > sure:
        return _measured(points, eps, least)
    grid = _Grid(x, y)
    within_x, within_y = (_pixels(sure / np.sqrt(2), step, v) for step, v in ((step_x, x), (step_y, y)))
    core = grid.crowd(within_x, within_y) >= least
    near = _Near(points, grid, _pixels(eps, step_x, x) + 1, _pixels(eps, step_y, y) + 1, eps)
    for few in near.blocks(np.flatnonzero(~core)):
        core[few] = near.of(few)[1].sum(axis=1) >= least
    blob = _joined(grid.blobs(core, diagonal=np.hypot(step_x, step_y) <= sure), points, core, sure, eps)
    return _labels(blob, core, near)


def _standardised(v: Ints) -> Floats:
    scale = np.std(v)
    return (v - np.mean(v)) / (scale if scale > 0 else 1.0)


def _step(v: Ints, standardised: Floats) -> float:
    """How far apart neighbouring columns (or rows) are; 0 if there is only one."""
    first, last = int(np.argmin(v)), int(np.argmax(v))
    return float(standardised[last] - standardised[first]) / max(1, int(v[last] - v[first]))


def _pixels(distance: float, step: float, v: Ints) -> int:
    """Whole pixels in a distance, no more than there are."""
    most = int(np.ptp(v))
    return min(most, int(distance / step)) if step > 0 else most


class _Grid:
    """The pixels as a picture, with one empty pixel around it."""

    def __init__(self, x: Ints, y: Ints) -> None:
        self.x, self.y = x - x.min() + 1, y - y.min() + 1
        self.shape = int(self.y.max()) + 2, int(self.x.max()) + 2
        self.index = np.full(self.shape, -1, np.int64)
        self.index[self.y, self.x] = np.arange(len(x))

    def crowd(self, half_x: int, half_y: int) -> Ints:
        """How many pixels lie in the rectangle of ± half_x, ± half_y around each pixel, [N]."""
        total = np.zeros((self.shape[0] + 1, self.shape[1] + 1), np.int32)
        np.cumsum(self.index >= 0, axis=0, dtype=np.int32, out=total[1:, 1:])
        np.cumsum(total[1:, 1:], axis=1, out=total[1:, 1:])
        x0, x1 = np.maximum(self.x - half_x, 0), np.minimum(self.x + half_x + 1, self.shape[1])
        y0, y1 = np.maximum(self.y - half_y, 0), np.minimum(self.y + half_y + 1, self.shape[0])
        return total[y1, x1] - total[y0, x1] - total[y1, x0] + total[y0, x0]

    def blobs(self, core: NDArray[np.bool_], *, diagonal: bool) -> Ints:
        """Number of the blob of core pixels that each pixel is in, [N], from 0; −1 for others.

        Runs of pixels in a row are joined to the runs they touch in the next. (scipy's `label` takes longer to import
        than this takes to run.)
        """
        width = self.shape[1]
        place = self.y * width + self.x
        picture = np.zeros(self.shape[0] * width, bool)
        picture[place[core]] = True
        edges = np.flatnonzero(picture[1:] != picture[:-1]) + 1  # the rim is empty: no run goes around a corner
        start, stop = edges[::2], edges[1::2]
        low = np.searchsorted(stop, start + width - diagonal, side="right")
        high = np.searchsorted(start, stop + width + diagonal, side="left")
        root = list(range(len(start)))

        def find(k: int) -> int:
            while root[k] != k:
                root[k] = k = root[root[k]]
            return k

        for run, (first, last) in enumerate(zip(low.tolist(), high.tolist(), strict=True)):
            for other in range(first, last):
                a, b = find(run), find(other)
                root[max(a, b)] = min(a, b)
        _, blob = np.unique([find(k) for k in range(len(start))], return_inverse=True)
        out = np.full(len(place), -1, np.int64)
        out[core] = blob[np.searchsorted(start, place[core], side="right") - 1]
        return out


class _Near:
    """Which pixels lie within eps of a pixel, measured over the offsets that can."""

    def __init__(self, points: Floats, grid: _Grid, reach_x: int, reach_y: int, eps: float) -> None:
        self.points, self.grid, self.eps = points, grid, eps
        self.dy, self.dx = (v.ravel() for v in np.mgrid[-reach_y : reach_y + 1, -reach_x : reach_x + 1])

    def blocks(self, which: Ints) -> list[Ints]:
        """`which` in pieces whose neighbourhoods fit into memory."""
        size = max(1, 2_000_000 // len(self.dx))
        return [which[k : k + size] for k in range(0, len(which), size)]

    def of(self, which: Ints) -> tuple[Ints, NDArray[np.bool_]]:
        """Pixels around each of `which`, [n, offsets], and whether they are there and within eps."""
        y, x = self.grid.y[which, None] + self.dy, self.grid.x[which, None] + self.dx
        inside = (y >= 0) & (y < self.grid.shape[0]) & (x >= 0) & (x < self.grid.shape[1])
        other = np.where(inside, self.grid.index[np.where(inside, y, 0), np.where(inside, x, 0)], -1)
        square = ((self.points[which, None] - self.points[other]) ** 2).sum(axis=2)
        return other, (other >= 0) & (square <= self.eps**2)


def _joined(blob: Ints, points: Floats, core: NDArray[np.bool_], sure: float, eps: float) -> Ints:
    """Blobs with core points within eps of one another become one; the lowest number stays."""
    count = int(blob.max()) + 1
    if count < 2:
        return blob
    members = [np.flatnonzero(blob == k) for k in range(count)]
    low = np.array([points[m, :2].min(axis=0) for m in members])
    high = np.array([points[m, :2].max(axis=0) for m in members])
    parent = np.arange(count)
    for i in range(count):
        for j in range(i + 1, count):
            if parent[i] == parent[j]:
                continue
            gap = np.maximum(0, np.maximum(low[i] - high[j], low[j] - high[i]))
            if (gap**2).sum() <= eps**2 and _touch(points, members[i], members[j], low, high, i, j, eps):
                parent[parent == parent[j]] = parent[i]
    return np.where(blob < 0, -1, parent[blob])


def _touch(
    points: Floats, mine: Ints, other: Ints, low: Floats, high: Floats, i: int, j: int, eps: float
) -> bool:
    """Whether two blobs have points within eps of each other."""
    from scipy.spatial import cKDTree

    mine = mine[((points[mine, :2] >= low[j] - eps) & (points[mine, :2] <= high[j] + eps)).all(axis=1)]
    other = other[((points[other, :2] >= low[i] - eps) & (points[other, :2] <= high[i] + eps)).all(axis=1)]
    if len(mine) == 0 or len(other) == 0:
        return False
    few, many = sorted((mine, other), key=len)
    distance, _ = cKDTree(points[few]).query(points[many])
    return bool((distance**2 <= eps**2).any())


def _labels(blob: Ints, core: NDArray[np.bool_], near: _Near) -> Ints:
    """Number the clusters by their first core point and give each border pixel to the earliest cluster near it."""
    out = np.full(len(blob), -1, np.int64)
    if not core.any():
        return out
    _, first, group = np.unique(blob[core], return_index=True, return_inverse=True)
    out[core] = np.argsort(np.argsort(first))[group]
    for border in near.blocks(np.flatnonzero(~core)):
        other, within = near.of(border)
        label = np.where(within & core[other], out[other], len(blob)).min(axis=1)
        out[border] = np.where(label < len(blob), label, -1)
    return out


def _measured(points: Floats, eps: float, least: int) -> Ints:
    """DBSCAN by measuring every pair: for few or narrow pixels, where neighbours are farther apart than eps may be."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import cKDTree

    pairs = cKDTree(points).query_pairs(eps, output_type="ndarray")
    count = np.bincount(pairs.ravel(), minlength=len(points)) + 1
    core = count >= least
    linked = pairs[core[pairs].all(axis=1)]
    graph = coo_array((np.ones(len(linked), np.int8), (linked[:, 0], linked[:, 1])), shape=(len(points),) * 2)
    _, blob = connected_components(graph, directed=False)
    out = np.full(len(points), -1, np.int64)
    if not core.any():
        return out
    _, first, group = np.unique(blob[core], return_index=True, return_inverse=True)
    out[core] = np.argsort(np.argsort(first))[group]
    label = np.full(len(points), len(points))
    for a, b in ((0, 1), (1, 0)):
        edge = pairs[~core[pairs[:, a]] & core[pairs[:, b]]]
        np.minimum.at(label, edge[:, a], out[edge[:, b]])
    border = ~core & (label < len(points))
    out[border] = label[border]
    return out
