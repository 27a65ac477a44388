"""Attention maps, clusters and boxes of one sentence's gaze.

The thin form of the published recipe (arXiv 2604.14316): samples outside the 5th–95th percentile of x or of y are
dropped; one Gaussian a sample (σ = 1.5 × pixels per degree), summed and divided by its maximum; places above 0.1 are
clusters, ordered by the time they were looked at; their extent is the box. Maps are computed on a coarse grid.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects, gaussian_filter, label

from gazex.evidence.windows import gaze_in, window_of
from gazex.schema import Visit

SIGMA_DEG: Final = 1.5
THRESHOLD: Final = 0.1
GRID: Final = 128
"""Longer side of the grid on which maps are computed."""


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


def clusters_of(visit: Visit, sentence: int) -> list[GazeCluster]:
    """Clusters of a sentence's gaze in the order they were looked at; empty where there is no gaze on the image."""
    t, x, y = gaze_in(visit, *window_of(visit, sentence))
    if len(x) == 0:
        return []
    (x_low, x_high), (y_low, y_high) = np.percentile(x, [5, 95]), np.percentile(y, [5, 95])
    keep = (x >= x_low) & (x <= x_high) & (y >= y_low) & (y <= y_high)
    if keep.any():
        t, x, y = t[keep], x[keep], y[keep]
    scale = min(1.0, GRID / max(visit.rows, visit.columns))
    shape = max(1, round(visit.rows * scale)), max(1, round(visit.columns * scale))
    step_y, step_x = visit.rows / shape[0], visit.columns / shape[1]
    field = gaze_map(x, y, visit.rows, visit.columns, SIGMA_DEG * visit.ppd_x, SIGMA_DEG * visit.ppd_y, shape)
    regions, _ = label(field > THRESHOLD, structure=np.ones((3, 3)))
    row = np.clip(((y + 0.5) / step_y).astype(int), 0, shape[0] - 1)
    col = np.clip(((x + 0.5) / step_x).astype(int), 0, shape[1] - 1)
    member = regions[row, col]
    out = []
    for k, place in enumerate(find_objects(regions), start=1):
        mine = member == k
        if place is None or not mine.any():
            continue
        inside = np.where(regions[place] == k, field[place], 0)
        ys, xs = np.mgrid[place[0], place[1]]
        cx = float((inside * xs).sum() / inside.sum() + 0.5) * step_x - 0.5
        cy = float((inside * ys).sum() / inside.sum() + 0.5) * step_y - 0.5
        box = (
            max(0.0, place[1].start * step_x - 0.5),
            max(0.0, place[0].start * step_y - 0.5),
            min(visit.columns - 1.0, place[1].stop * step_x - 0.5),
            min(visit.rows - 1.0, place[0].stop * step_y - 0.5),
        )
        out.append(GazeCluster(box, (cx, cy), float(t[mine].mean()), float(mine.mean())))
    return sorted(out, key=lambda c: c.time_s)


def observation_box(clusters: list[GazeCluster]) -> tuple[float, float, float, float] | None:
    """Box of the cluster that held the eyes longest: the target of "locate the evidence"; None without clusters."""
    if not clusters:
        return None
    return max(clusters, key=lambda c: c.share).box
