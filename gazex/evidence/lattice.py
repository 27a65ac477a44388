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
RIM: Final = 2
"""Empty pixels around a picture: as far as a look nearby goes."""

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
    core = grid.crowded(within_x, within_y, least)
    near = _Near(points, grid, _pixels(eps, step_x, x) + 1, _pixels(eps, step_y, y) + 1, eps)
    for few in near.blocks(np.flatnonzero(~core)):
        core[few] = near.of(few)[1].sum(axis=1) >= least
    blob = grid.blobs(core, diagonal=bool(np.hypot(step_x, step_y) <= sure))
    return _labels(_joined(blob, points, grid.rim(core), sure, eps), core, near)


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
    """The pixels as a picture with an empty rim around it; `place` counts its pixels row by row."""

    def __init__(self, x: Ints, y: Ints) -> None:
        self.x, self.y = x - x.min() + RIM, y - y.min() + RIM
        self.shape = int(self.y.max()) + RIM + 1, int(self.x.max()) + RIM + 1
        self.place = self.y * self.shape[1] + self.x
        index = np.full(self.shape[0] * self.shape[1], -1, np.int64)
        index[self.place] = np.arange(len(x))
        self.index = index.reshape(self.shape)

    def crowded(self, half_x: int, half_y: int, least: int) -> NDArray[np.bool_]:
        """Pixels that have so many within the rectangle of ± half_x, ± half_y, as far as a look nearby tells, [N]."""
        first, run = _runs(self.place)
        before = np.arange(len(run)) - first[run]
        after = np.diff(np.r_[first, len(run)])[run] - 1 - before
        out = np.minimum(before, half_x) + np.minimum(after, half_x) + 1 >= least
        rest = np.flatnonzero(~out)
        dx, dy = np.meshgrid(*(np.arange(-min(half, RIM), min(half, RIM) + 1) for half in (half_x, half_y)))
        around = self.place[rest, None] + (dy * self.shape[1] + dx).ravel()
        out[rest] = (self.index.ravel()[around] >= 0).sum(axis=1) >= least
        return out

    def rim(self, core: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Core pixels with a neighbour above, below or beside them that is none, [N]."""
        picture = np.zeros(self.index.size, bool)
        picture[self.place[core]] = True
        inner = core.copy()
        for step in (1, -1, self.shape[1], -self.shape[1]):
            inner &= picture[self.place + step]
        return core & ~inner

    def blobs(self, core: NDArray[np.bool_], *, diagonal: bool) -> Ints:
        """Number of the blob of core pixels that each pixel is in, [N], from 0; −1 for others.

        Runs of pixels in a row are joined to the runs they touch in the next. (scipy's `label` takes longer to import
        than this takes to run.)
        """
        out = np.full(len(core), -1, np.int64)
        place = self.place[core]
        if not len(place):
            return out
        first, run = _runs(place)
        start, stop = place[first], place[np.r_[first[1:], len(place)] - 1] + 1
        low = np.searchsorted(stop, start + self.shape[1] - diagonal, side="right")
        high = np.searchsorted(start, stop + self.shape[1] + diagonal, side="left")
        upper = np.repeat(np.arange(len(first)), high - low)
        lower = np.arange(len(upper)) + np.repeat(low - np.r_[0, np.cumsum(high - low)[:-1]], high - low)
        _, blob = np.unique(_linked(len(first), upper, lower), return_inverse=True)
        out[core] = blob[run]
        return out


def _runs(place: Ints) -> tuple[Ints, Ints]:
    """Where each run of consecutive places begins, [R], and which run each is in, [N]."""
    new = np.r_[True, np.diff(place) != 1]
    return np.flatnonzero(new), np.cumsum(new) - 1


def _linked(count: int, a: Ints, b: Ints) -> Ints:
    """The lowest member of the component that each of `count` things is in, given the pairs that are linked."""
    root = np.arange(count)
    while True:
        low = np.minimum(root[a], root[b])
        if np.array_equal(low, root[a]) and np.array_equal(low, root[b]):
            return root
        for side in (a, b):
            np.minimum.at(root, root[side], low)
            np.minimum.at(root, side, low)
        root = root[root]


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


def _joined(blob: Ints, points: Floats, rim: NDArray[np.bool_], sure: float, eps: float) -> Ints:
    """Blobs with core points within eps of one another become one.

    Between blobs the shortest way across the picture is one between their rims. If that is `sure` they touch, if it is
    longer than eps they do not, and in between the intensities of all their points decide.
    """
    count = int(blob.max(initial=-1)) + 1
    if count < 2:
        return blob
    outer, owner = points[rim, :2], blob[rim]
    edges = [outer[owner == k] for k in range(count)]
    low, high = (np.array([extreme(e, axis=0) for e in edges]) for extreme in (np.min, np.max))
    root = np.arange(count)
    for i in range(count):
        for j in range(i + 1, count):
            gap = np.maximum(0, np.maximum(low[i] - high[j], low[j] - high[i]))
            if root[i] == root[j] or (gap**2).sum() > eps**2:
                continue
            apart = _apart(*(e[_beside(e, low[o], high[o], eps)] for e, o in ((edges[i], j), (edges[j], i))))
            if sure < apart <= eps * (1 + 1e-9):
                both = (points[blob == k] for k in (i, j))
                apart = _apart(*(p[_beside(p, low[o], high[o], eps)] for p, o in zip(both, (j, i), strict=True)))
            if apart**2 <= eps**2:
                root[root == root[j]] = root[i]
    return np.where(blob < 0, -1, root[blob])


def _beside(points: Floats, low: Floats, high: Floats, eps: float) -> NDArray[np.bool_]:
    """Points no further than eps, and a bit, from a rectangle along either axis."""
    reach = eps * (1 + 1e-9)
    return np.asarray(((points[:, :2] >= low - reach) & (points[:, :2] <= high + reach)).all(axis=1))


def _apart(a: Floats, b: Floats) -> float:
    """Distance of the nearest two points of two sets; infinite if one is empty."""
    from scipy.spatial import cKDTree

    if not len(a) or not len(b):
        return float("inf")
    few, many = sorted((a, b), key=len)
    return float(cKDTree(many).query(few)[0].min())


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
