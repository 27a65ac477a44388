"""The published data recipe (arXiv 2604.14316), slow and to the letter: what `gazex.evidence` is compared with.

One Gaussian a sample (and, for a cluster, one a point) is stamped into a float32 map, scikit-learn clusters, scipy's
k-d tree finds the nearest samples. Nothing is shared with `gazex.evidence`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree
from sklearn.cluster import DBSCAN
from sklearn.preprocessing import StandardScaler


@dataclass
class Samples:
    """Gaze in image pixels, seconds and pixels per degree, each [N]."""

    t: np.ndarray
    x: np.ndarray
    y: np.ndarray
    ppd_x: np.ndarray
    ppd_y: np.ndarray

    def __getitem__(self, which) -> Samples:
        return Samples(self.t[which], self.x[which], self.y[which], self.ppd_x[which], self.ppd_y[which])

    def __len__(self) -> int:
        return len(self.t)


def stamp(field: np.ndarray, x: float, y: float, sigma_x: float, sigma_y: float) -> None:
    """Add one Gaussian, cut at the square of radius int(3 max σ), at the truncated position, if that is on the map."""
    rows, columns = field.shape
    cx, cy = int(x), int(y)
    if not (0 <= cx < columns and 0 <= cy < rows):
        return
    radius = int(3 * max(sigma_x, sigma_y))
    left, right = max(cx - radius, 0), min(cx + radius + 1, columns)
    top, bottom = max(cy - radius, 0), min(cy + radius + 1, rows)
    across = np.exp(-((np.arange(left, right) - cx) ** 2) / (2 * sigma_x**2))
    down = np.exp(-((np.arange(top, bottom) - cy) ** 2) / (2 * sigma_y**2))
    field[top:bottom, left:right] += np.outer(down, across)


def cluster_points(s: Samples, rows: int, columns: int) -> list[np.ndarray]:
    """Points [n, 2] (x, y) of each DBSCAN cluster, in DBSCAN's order."""
    field = np.zeros((rows, columns), np.float32)
    for x, y, a, b in zip(s.x, s.y, s.ppd_x, s.ppd_y, strict=True):
        stamp(field, x, y, 1.5 * a, 1.5 * b)
    if field.max() > 0:
        field = field / field.max()
    ys, xs = np.nonzero(field > 0.1)
    if len(xs) == 0:
        return []
    places = StandardScaler().fit_transform(np.column_stack([xs, ys]))
    labels = DBSCAN(eps=0.3, min_samples=10).fit_predict(np.column_stack([places, 0.1 * field[ys, xs]]))
    return [np.column_stack([xs, ys])[labels == k] for k in range(labels.max() + 1)]


def log_map(field: np.ndarray) -> np.ndarray:
    out = np.log1p(field + 1e-6)
    return out / out.max()


def extent(where: np.ndarray, weights: np.ndarray) -> tuple[int, int, int, int, float, float] | None:
    """Box of the true pixels, and the centroid of the weights inside that box."""
    ys, xs = np.nonzero(where)
    if len(xs) == 0:
        return None
    x0, x1, y0, y1 = int(xs.min()), int(xs.max()), int(ys.min()), int(ys.max())
    inside = weights[y0 : y1 + 1, x0 : x1 + 1].astype(np.float64)
    v, u = np.indices(inside.shape)
    if inside.sum() == 0:
        return x0, y0, x1, y1, (x0 + x1) / 2, (y0 + y1) / 2
    return x0, y0, x1, y1, x0 + (u * inside).sum() / inside.sum(), y0 + (v * inside).sum() / inside.sum()


def sentence_boxes(s: Samples, start: float, end: float, rows: int, columns: int) -> list[tuple]:
    """Rows (cluster, x_min, y_min, x_max, y_max, cx, cy) of one sentence; rows and columns are the quartered size's."""
    s = s[np.isfinite(s.t) & np.isfinite(s.x) & np.isfinite(s.y) & np.isfinite(s.ppd_x) & np.isfinite(s.ppd_y)]
    s = s[(s.t >= start - 2) & (s.t <= end)]
    if len(s) == 0:
        return []
    s = Samples(s.t, s.x / 4, s.y / 4, s.ppd_x / 4, s.ppd_y / 4)
    (xl, xh), (yl, yh) = np.percentile(s.x, [5, 95]), np.percentile(s.y, [5, 95])
    s = s[(s.x >= xl) & (s.x <= xh) & (s.y >= yl) & (s.y <= yh)]
    if len(s) == 0:
        return []
    out: list[tuple] = []
    clusters = cluster_points(s, rows, columns)
    if len(clusters) > 1:
        tree = cKDTree(np.column_stack([s.x, s.y]))
        found = []
        for points in clusters:
            near = tree.query(points)[1]
            field = np.zeros((rows, columns), np.float32)
            for k in near:
                stamp(field, s.x[k], s.y[k], 1.25 * s.ppd_x[k], 1.25 * s.ppd_y[k])
            found.append((s.t[near].mean(), field))
        for number, (_, field) in enumerate(sorted(found, key=lambda f: f[0])):
            if field.max() > 0:
                out.append((number, *extent(log_map(field) > 0.1, field)))
    field = np.zeros((rows, columns), np.float32)
    for x, y, a, b in zip(s.x, s.y, s.ppd_x, s.ppd_y, strict=True):
        stamp(field, x, y, 1.25 * a, 1.25 * b)
    if field.max() > 0:
        shown = log_map(field)
        box = extent(shown > np.percentile(shown[shown > 0], 80), field)
        if box is not None:
            out.append((-1, *box))
    return out


def boxes(s: Samples, sentences: list[tuple[float, float]], width: int, height: int) -> list[tuple]:
    """Rows (sentence, cluster, x_min, y_min, x_max, y_max, cx, cy) of a reading of an image of width × height."""
    return [
        (k, *row)
        for k, (start, end) in enumerate(sentences)
        for row in sentence_boxes(s, start, end, height // 4, width // 4)
    ]
