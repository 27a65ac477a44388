"""Places looked at during one sentence of a Visit, in pixels of its image: what our own tasks are made of.

The clusters are the published recipe's (`boxes`): the same map, threshold, DBSCAN and order. What differs is asked of
our targets: gaze beside the image counts for nothing, one place is a cluster too, two samples are gaze, small images
have finer maps, and a cluster's box is the extent of its own pixels, not that of a map drawn around them. `boxes.foci`
has the recipe's boxes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from gazex.evidence.boxes import (
    CLUSTER_SIGMA_DEG,
    QUARTER,
    Gaze,
    cluster_labels,
    nearest,
    of_stretch,
    stamped_gaze,
    trimmed,
)
from gazex.evidence.windows import gaze_in, window_of
from gazex.schema import Visit

GRID: Final = 128
"""Maps of smaller images than 4 × this are not of a quarter of their size, but of about this."""


@dataclass(frozen=True)
class GazeCluster:
    """A place looked at while a sentence was prepared: box and centroid in image pixels, mean time, dwell share 0–1."""

    box: tuple[float, float, float, float]
    centroid: tuple[float, float]
    time_s: float
    share: float


def gaze_map(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    rows: int,
    columns: int,
    sigma_x: float,
    sigma_y: float,
    shape: tuple[int, int],
    weights: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Sum of Gaussians at gaze positions, divided by its maximum.

    Parameters
    ----------
    x, y
        Positions in image pixels, shape [N].
    rows, columns
        Size of the image.
    sigma_x, sigma_y
        SD of the Gaussian, image pixels.
    shape
        Size of the map (rows, columns); it covers the whole image.
    weights
        Weight of each position, default 1.

    Returns
    -------
    array [shape]
        Values 0–1; all zero where there are no positions.
    """
    h, w = shape
    density = np.zeros(shape)
    col = np.clip(((x + 0.5) / columns * w).astype(int), 0, w - 1)
    row = np.clip(((y + 0.5) / rows * h).astype(int), 0, h - 1)
    np.add.at(density, (row, col), 1.0 if weights is None else weights)
    density = gaussian_filter(density, (sigma_y * h / rows, sigma_x * w / columns), mode="constant", truncate=3.0)
    top = density.max()
    return density / top if top > 0 else density


def sentence_map(visit: Visit, sentence: int, *, shape: tuple[int, int], sigma: float) -> NDArray[np.float64]:
    """Gaze map of one sentence on a grid, σ as a share of the image's height and width alike (see `gaze_map`)."""
    _, x, y = gaze_in(visit, *window_of(visit, sentence))
    return gaze_map(x, y, visit.rows, visit.columns, sigma * visit.columns, sigma * visit.rows, shape)


def step_of(rows: int, columns: int) -> int:
    """Image pixels to a pixel of the maps: the recipe's 4, less for images of which a quarter would show nothing."""
    return min(QUARTER, max(1, max(rows, columns) // GRID))


def clusters_of(visit: Visit, sentence: int) -> list[GazeCluster]:
    """Clusters of a sentence's gaze in the order they were looked at; empty where there is no gaze on the image."""
    step = step_of(visit.rows, visit.columns)
    shape = -(-visit.rows // step), -(-visit.columns // step)
    start, end = window_of(visit, sentence)
    t, x, y = gaze_in(visit, start, end)
    density = np.full(len(t), visit.ppd_x), np.full(len(t), visit.ppd_y)
    seen = of_stretch(Gaze(t, x + 0.5, y + 0.5, *density), start, end, step)  # now pixels begin at whole numbers
    if len(seen) == 0:
        return []
    gaze = trimmed(seen)
    gaze = gaze if len(gaze) else seen  # of two samples the percentiles leave none
    field = stamped_gaze(gaze, CLUSTER_SIGMA_DEG, shape)
    column, row, label = cluster_labels(field)
    count = int(label.max(initial=-1)) + 1
    if count == 0:  # too few pixels for a core point: what there is is one place
        label, count = np.zeros(len(column), np.int64), 1
    near = nearest(gaze.x, gaze.y, column, row) if count > 1 else None
    home = np.full(shape, -1)
    home[row, column] = label
    place = home[gaze.y.astype(int), gaze.x.astype(int)]
    value = field.whole()[row, column]
    out = []
    for k in range(count):
        mine = label == k
        time_s = gaze.t_s.mean() if near is None else gaze.t_s[near[mine]].mean()
        cx, cy = (float(np.average(v[mine], weights=value[mine]) + 0.5) * step - 0.5 for v in (column, row))
        box = (
            float(column[mine].min()) * step - 0.5,
            float(row[mine].min()) * step - 0.5,
            float(column[mine].max() + 1) * step - 0.5,
            float(row[mine].max() + 1) * step - 0.5,
        )
        inside = max(0.0, box[0]), max(0.0, box[1]), min(visit.columns - 1.0, box[2]), min(visit.rows - 1.0, box[3])
        out.append(GazeCluster(inside, (cx, cy), float(time_s), float((place == k).mean())))
    return sorted(out, key=lambda c: c.time_s)


def observation_box(clusters: list[GazeCluster]) -> tuple[float, float, float, float] | None:
    """Box of the cluster that held the eyes longest: the target of "locate the evidence"; None without clusters."""
    if not clusters:
        return None
    return max(clusters, key=lambda c: c.share).box
