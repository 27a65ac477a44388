"""The published data recipe (arXiv 2604.14316): the gaze of a sentence → clusters, maps, boxes.

A sentence's gaze runs from 2 s before its first word to the end of its last. Samples outside the 5th–95th percentile of
x or of y are dropped. On an image of a quarter of the size:

- The samples' Gaussians (σ 1.5°) are summed; pixels above a tenth of the maximum are clustered (`lattice`).
- If there are several clusters, each gets a map of its own: for every pixel of the cluster a Gaussian (σ 1.25°) at the
  sample nearest to it. Clusters are numbered by the mean time of those samples.
- A map is shown as log(1 + value + 1e-6) over its maximum. A cluster's box is the extent of shown values above 0.1, its
  centroid the mean place in that box, weighted by the map.
- A sentence ends with its holistic map of all its samples (σ 1.25°); its box is the extent of shown values above their
  80th percentile. (The recipe asks for the percentile of "non-zero" values, but the 1e-6 leaves no zeros: it is that of
  all pixels, and a sentence that looked at less than a fifth of the image has the box of every pixel reached.)

What is not in the paper is defined so. Samples with any number that is not finite are left out. A sentence without
gaze, with none on the image, or with so little that the percentiles leave none (two samples) has no boxes. One cluster,
or none, has only the holistic box. Gaze beside the image counts for the percentiles and for what is nearest, but leaves
no Gaussian; a cluster of which every nearest sample lies beside the image keeps its number and has no box.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gazex.evidence import lattice
from gazex.evidence.heatmaps import Field, stamped

LEAD_S: Final = 2.0
"""Seconds of gaze before a sentence's first word that belong to it."""
QUARTER: Final = 4
"""Maps have a pixel for every 4 × 4 of the image."""
KEPT_PERCENT: Final = (5, 95)
CLUSTER_SIGMA_DEG: Final = 1.5
MAP_SIGMA_DEG: Final = 1.25
THRESHOLD: Final = 0.1
HOLISTIC_PERCENT: Final = 80
HOLISTIC: Final = -1
"""Number of the map of a whole sentence."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Gaze:
    """Samples on an image, [N] each: seconds, image pixels, image pixels per degree. Any of them may be NaN."""

    t_s: Floats
    x: Floats
    y: Floats
    ppd_x: Floats
    ppd_y: Floats

    def __len__(self) -> int:
        return len(self.t_s)

    def __getitem__(self, which: NDArray[np.bool_] | slice) -> Gaze:
        return Gaze(self.t_s[which], self.x[which], self.y[which], self.ppd_x[which], self.ppd_y[which])

    def finite(self) -> Gaze:
        """The samples of which everything is known."""
        known = np.isfinite(self.t_s) & np.isfinite(self.x) & np.isfinite(self.y)
        return self[known & np.isfinite(self.ppd_x) & np.isfinite(self.ppd_y)]


@dataclass(frozen=True, eq=False)
class Focus:
    """One place looked at during a sentence, or all of them.

    Attributes
    ----------
    cluster
        From 0 in the order of time; −1 for the holistic map.
    time_s
        Mean time of the samples it was made from; for a cluster, of the sample nearest to each of its pixels.
    field
        The map, in pixels of `step` image pixels.
    box
        `(x_min, y_min, x_max, y_max)`, first and last pixel of the map inside.
    centroid
        `(x, y)` in pixels of the map.
    """

    cluster: int
    time_s: float
    field: Field
    box: tuple[int, int, int, int]
    centroid: tuple[float, float]


def foci(gaze: Gaze, start_s: float, end_s: float, rows: int, columns: int, *, step: int = QUARTER) -> list[Focus]:
    """Clusters of a sentence in the order of time, then its holistic map.

    Parameters
    ----------
    gaze
        The reading's samples, in any order.
    start_s, end_s
        The first word's start and the last word's end.
    rows, columns
        Size of the image in pixels.
    step
        Image pixels to a pixel of the maps: 4 in the paper.

    Returns
    -------
    list of Focus
        Empty where no sample lies on the image.
    """
    shape = rows // step, columns // step
    if min(shape) < 1:
        raise ValueError(f"An image of {columns} × {rows} pixels is too small for maps of every {step}th pixel.")
    gaze = trimmed(of_stretch(gaze.finite(), start_s - LEAD_S, end_s, step))
    if len(gaze) == 0:
        return []
    found = [
        _focus(number, time_s, field, _above(field))
        for number, (time_s, field) in enumerate(_cluster_maps(gaze, shape))
        if field.top_value > 0
    ]
    field = stamped_gaze(gaze, MAP_SIGMA_DEG, shape)
    if field.top_value > 0:
        found.append(_focus(HOLISTIC, float(gaze.t_s.mean()), field, _most(field)))
    return [focus for focus in found if focus is not None]


def boxes(gaze: Gaze, sentences: Sequence[tuple[float, float]], rows: int, columns: int) -> Iterator[tuple[int, Focus]]:
    """(Sentence from 0, Focus) of a reading, sentence by sentence; those are (first word's start, last word's end)."""
    gaze = gaze.finite()
    for number, (start, end) in enumerate(sentences):
        for focus in foci(gaze, start, end, rows, columns):
            yield number, focus


def of_stretch(gaze: Gaze, start_s: float, end_s: float, step: int) -> Gaze:
    """The samples of a stretch of time, both ends included, in pixels of the maps."""
    gaze = gaze[(gaze.t_s >= start_s) & (gaze.t_s <= end_s)]
    return Gaze(gaze.t_s, gaze.x / step, gaze.y / step, gaze.ppd_x / step, gaze.ppd_y / step)


def trimmed(gaze: Gaze) -> Gaze:
    """Without the samples outside the 5th–95th percentile of x or of y: of few samples perhaps none is left."""
    if len(gaze) == 0:
        return gaze
    (x_low, x_high), (y_low, y_high) = (np.percentile(v, KEPT_PERCENT) for v in (gaze.x, gaze.y))
    return gaze[(gaze.x >= x_low) & (gaze.x <= x_high) & (gaze.y >= y_low) & (gaze.y <= y_high)]


def stamped_gaze(gaze: Gaze, degrees: float, shape: tuple[int, int], weight: Floats | None = None) -> Field:
    """Sum of the samples' Gaussians of so many degrees; positions are truncated to pixels of the map."""
    column, row = (np.trunc(np.clip(v, -2, 2**31)).astype(np.int64) for v in (gaze.x, gaze.y))
    return stamped(shape, column, row, gaze.ppd_x * degrees, gaze.ppd_y * degrees, weight)


def cluster_labels(field: Field) -> tuple[Ints, Ints, Ints]:
    """Columns, rows and cluster of the pixels above a tenth of the map's maximum, [N] each, row by row."""
    if not field.top_value > 0:
        none = np.zeros(0, np.int64)
        return none, none, none
    share = field.values / field.top_value
    y, x = np.nonzero(share > np.float32(THRESHOLD))
    return x + field.left, y + field.top, lattice.clusters(x, y, share[y, x])


def _cluster_maps(gaze: Gaze, shape: tuple[int, int]) -> list[tuple[float, Field]]:
    """(Mean time, map) of each cluster in the order of time; none where there are not several."""
    x, y, label = cluster_labels(stamped_gaze(gaze, CLUSTER_SIGMA_DEG, shape))
    count = int(label.max(initial=-1)) + 1
    if count < 2:
        return []
    near = nearest(gaze.x, gaze.y, x, y)
    out = []
    for k in range(count):
        mine = near[label == k]
        weight = np.bincount(mine, minlength=len(gaze)).astype(np.float64)
        used = weight > 0
        out.append((float(gaze.t_s[mine].mean()), stamped_gaze(gaze[used], MAP_SIGMA_DEG, shape, weight[used])))
    return sorted(out, key=lambda found: found[0])


def nearest(x: Floats, y: Floats, column: Ints, row: Ints) -> Ints:
    """Index of the sample nearest to each pixel, [M]; of equally near ones the one that scipy's k-d tree finds.

    The pixels come row by row. The places nearest to one sample are convex: what lies straight between two pixels of
    the same sample is that sample's too, and only the others are looked up.
    """
    from scipy.spatial import cKDTree

    tree = cKDTree(np.column_stack([x, y]))
    pixels = np.column_stack([column, row]).astype(np.float64)
    out = np.full(len(pixels) + 1, -1, np.int64)  # one more, for pixels that are none

    def settle(some: Ints, one: Ints, other: Ints) -> None:
        """Give pixels between `one` and `other` their sample, where those agree; look the rest up."""
        same = (out[one] == out[other]) & (out[one] >= 0)
        out[some[same]] = out[one[same]]
        out[some[~same]] = tree.query(pixels[some[~same]])[1]

    even = np.flatnonzero(row % 2 == 0)
    first = np.r_[True, (np.diff(column[even]) != 1) | (np.diff(row[even]) != 0)]
    last = np.r_[first[1:], True]
    place = np.arange(len(even)) - np.flatnonzero(first)[np.cumsum(first) - 1]
    known = last | (place % 4 == 0)
    out[even[known]] = tree.query(pixels[even[known]])[1]
    for step in (2, 1):
        some = np.flatnonzero(~known & (place % (2 * step) == step))
        settle(even[some], even[some - step], even[some + np.where(last[some + 1], 1, step)])
        known[some] = True
    odd = np.flatnonzero(row % 2 == 1)
    index = np.full((int(np.ptp(row)) + 3, int(np.ptp(column)) + 3), -1, np.int64)
    v, u = row - row.min() + 1, column - column.min() + 1
    index[v, u] = np.arange(len(pixels))
    above, below = (index[v[odd] + k, u[odd]] for k in (-1, 1))
    same = (out[above] == out[below]) & (out[above] >= 0)
    out[odd[same]] = out[above[same]]
    rest = odd[~same]
    settle(rest, *(index[v[rest], u[rest] + k] for k in (-1, 1)))
    return out[:-1]


def _above(field: Field) -> NDArray[np.bool_]:
    shown, _ = field.logarithm()
    return shown > np.float32(THRESHOLD)


def _most(field: Field) -> NDArray[np.bool_]:
    """Values above the 80th percentile of all pixels: above the last value below that share of them."""
    shown, rest = field.logarithm()
    some = shown[shown > rest]
    total = field.shape[0] * field.shape[1]
    rank = (total - 1) * HOLISTIC_PERCENT // 100 - (total - len(some))
    least = np.partition(some, rank)[rank] if rank >= 0 else rest
    return shown > least


def _focus(number: int, time_s: float, field: Field, inside: NDArray[np.bool_]) -> Focus | None:
    """Box and centroid of the pixels `inside` the map's window; None where there is none."""
    across, down = np.flatnonzero(inside.any(axis=0)), np.flatnonzero(inside.any(axis=1))
    if len(across) == 0:
        return None
    x0, x1, y0, y1 = (int(v) for v in (across[0], across[-1], down[0], down[-1]))
    part = field.values[y0 : y1 + 1, x0 : x1 + 1].astype(np.float64)
    total = part.sum()
    cx = float(part.sum(axis=0) @ np.arange(x0, x1 + 1) / total) + field.left
    cy = float(part.sum(axis=1) @ np.arange(y0, y1 + 1) / total) + field.top
    box = x0 + field.left, y0 + field.top, x1 + field.left, y1 + field.top
    return Focus(number, time_s, field, box, (cx, cy))
