"""Where the paper's inspection areas lie on a frontal chest radiograph, and in which order they were looked at.

A classical search, no learning and no torch: pairs of dark regions that look like lungs, over many thresholds of the
image, say where to begin; a model lung is moved and reshaped until its outline lies on edges (Nelder–Mead), and the
outline goes to the edges near it (Cootes et al., Computer Vision and Image Understanding 61:38, 1995, for the idea).
Everything else is placed from the two outlines by the proportions of a chest. It finds out where a cluster of gaze
fell; it is no measurement of the patient, and it says None rather than guess where no such pair is found (a lateral
view, a white lung, a collimation that cuts the lungs).

The paper (arXiv 2604.14316) says that readings follow ABCDEF, an order of inspection taught to students, and does not
test it; `follows_abcdef` does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from scipy import ndimage, optimize

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]
Box = tuple[float, float, float, float]

AREAS: Final[tuple[str, ...]] = (
    "lung",
    "apical zone",
    "hilum",
    "heart",
    "mediastinum",
    "trachea",
    "spine",
    "abdomen",
)
"""The paper's inspection areas; lung, apical zone and hilum have a side."""

_GRID: Final = 48  # lungs are compared with their models on a grid of this size
_ROWS: Final = 256  # the search runs on an image of about this height
_QUANTILES: Final = np.linspace(0.14, 0.56, 22)
_SMALLEST, _LARGEST = 0.025, 0.24  # a lung's share of the image
_STARTS: Final = 5  # pairs of dark regions from which a model lung is fitted
_POINTS: Final = 96  # of a lung's outline
_ACCEPTED: Final = 0.70  # share of a lung's outline on an edge below which nothing is claimed

# Proportions of a chest, as shares of the lungs' height from the apex (0) to the costophrenic angle (1).
_APEX: Final = 0.17
_CARINA: Final = 0.28
_HEART_TOP: Final = 0.42
_MEDIASTINUM: Final = (0.05, 0.54)
_HEART_BOTTOM: Final = 0.93  # at least
_HILUM: Final = (0.32, 0.56)
_HILUM_WIDTH: Final = 0.30  # of a lung's width, from its medial border
_TRACHEA_TOP: Final = -0.14
_TRACHEA_WIDTH: Final = 0.10  # of the thorax's width
_SPINE_WIDTH: Final = 0.12
_MIDLINE: Final = (0.10, 0.40)  # the lungs' medial borders lie evenly about the midline here, above the heart
_DOME: Final = 0.78

# A model lung in its own box (x from the lateral wall 0 to the midline 1, y from the apex 0 to the angle 1): lateral
# wall down to the angle, dome, medial border. The family of models varies the heart's size and the dome's height.
_WALL: Final = (
    (0.52, 0.01), (0.36, 0.09), (0.24, 0.22), (0.13, 0.40), (0.07, 0.58), (0.03, 0.76), (0.00, 0.92), (0.02, 1.00),
)  # fmt: skip
_DOME_LINE: Final = ((0.14, 0.93), (0.30, 0.87), (0.48, 0.84), (0.68, 0.85), (0.88, 0.88))
_MEDIAL: Final = (
    (0.93, 0.80), (0.95, 0.60), (0.96, 0.45), (0.96, 0.34), (0.94, 0.20), (0.89, 0.10), (0.78, 0.03), (0.64, 0.00),
)  # fmt: skip
_HEARTS: Final = (0.0, 0.15, 0.3, 0.45, 0.6, 0.75)
_DOMES: Final = (-0.14, -0.07, 0.0, 0.07)


@dataclass(frozen=True)
class Area:
    """An inspection area: its name (one of `AREAS`) and the patient's side, "left", "right" or ""."""

    name: str
    side: str = ""

    def __str__(self) -> str:
        return f"{self.side} {self.name}".strip()


@dataclass(frozen=True, eq=False)
class ChestMap:
    """The areas of one radiograph.

    Attributes
    ----------
    rows, columns
        Size of the image, pixels.
    masks
        Area → mask on a coarse grid, shape [h, w]. Areas overlap: the spine runs behind the heart.
    boxes
        Area → `[x0, y0, x1, y1]`, image pixels.
    confidence
        0–1: the share of the worse lung's outline that lies on an edge. It tells an image that is no chest from one
        that is, not a good outline from a fair one: a clavicle is an edge as well.
    """

    rows: int
    columns: int
    masks: dict[Area, Mask]
    boxes: dict[Area, Box]
    confidence: float

    def areas_of(self, x: float, y: float) -> tuple[Area, ...]:
        """Every area at a point in image pixels, the one that shows there first; none off the image."""
        if not (np.isfinite(x) and np.isfinite(y) and -0.5 <= x < self.columns - 0.5 and -0.5 <= y < self.rows - 0.5):
            return ()
        height, width = next(iter(self.masks.values())).shape
        row = min(height - 1, int((y + 0.5) * height / self.rows))
        column = min(width - 1, int((x + 0.5) * width / self.columns))
        return tuple(area for area in _IN_FRONT if self.masks[area][row, column])

    def area_of(self, x: float, y: float) -> Area | None:
        """The area a point in image pixels lies in, or None outside all of them.

        Where areas overlap, the more particular one: the apical zone and the hilum before the lung, the trachea before
        the mediastinum. The spine is named where nothing lies before it: in the abdomen.
        """
        found = self.areas_of(x, y)
        return found[0] if found else None


_IN_FRONT: Final[tuple[Area, ...]] = (
    Area("trachea"),
    Area("apical zone", "right"),
    Area("apical zone", "left"),
    Area("hilum", "right"),
    Area("hilum", "left"),
    Area("lung", "right"),
    Area("lung", "left"),
    Area("heart"),
    Area("mediastinum"),
    Area("spine"),
    Area("abdomen"),
)


def locate(pixels: ArrayLike) -> ChestMap | None:
    """Find the inspection areas on a frontal chest radiograph.

    Parameters
    ----------
    pixels
        [rows, columns], bright where dense (MONOCHROME2), the patient's right on the image's left.

    Returns
    -------
    ChestMap or None
        None where no pair of lungs is found.

    Raises
    ------
    ValueError
        Pixels that are not one grayscale image of at least 64×64.
    """
    image = np.asarray(pixels)
    if image.ndim != 2 or min(image.shape) < 64:
        raise ValueError(f"Anatomy is located on one grayscale image of 64×64 or more, not on shape {image.shape}.")
    if not np.isfinite(image).all():
        raise ValueError("Anatomy is located on finite grey values; this image holds NaN or infinity.")
    rows, columns = image.shape
    height = min(_ROWS, rows)
    width = max(32, round(columns * height / rows))
    small = np.asarray(
        Image.fromarray(image.astype(np.float32)).resize((width, height), Image.Resampling.BOX), np.float64
    )
    found = _lungs(small)
    if found is None:
        return None
    right, left, confidence = found
    if not _upright(small, right | left):
        return None
    masks = _areas(right, left, _body(small))
    if masks is None:
        return None
    scale_x, scale_y = columns / width, rows / height
    boxes = {}
    for area, mask in masks.items():
        y, x = np.nonzero(mask)
        if not len(x):
            return None
        boxes[area] = (
            float(x.min() * scale_x - 0.5),
            float(y.min() * scale_y - 0.5),
            float((x.max() + 1) * scale_x - 0.5),
            float((y.max() + 1) * scale_y - 0.5),
        )
    return ChestMap(rows, columns, masks, boxes, confidence)


# ── lungs ──────────────────────────────────────────────────────────────────────────────────────────


def _body(small: Floats) -> Mask:
    """What is not the dark surround: air beside the body, connected to the border."""
    smooth = ndimage.gaussian_filter(small, 2)
    low, high = np.percentile(smooth, [1, 99])
    dark = smooth < low + 0.12 * (high - low)
    labels, _ = ndimage.label(dark)
    edge = np.unique(np.concatenate([labels[0], labels[:, 0], labels[:, -1]]))
    return np.asarray(~np.isin(labels, edge[edge > 0]))


def _flattened(small: Floats) -> Iterator[Floats]:
    """The image smoothed, as it is and with slow changes of brightness taken away by two widths."""
    smooth = ndimage.gaussian_filter(small, 1.5 * len(small) / _ROWS)
    yield smooth
    for share in (0.25,):
        yield smooth - ndimage.gaussian_filter(small, share * len(small), mode="nearest")


def _lungs(small: Floats) -> tuple[Mask, Mask, float] | None:
    """The patient's right and left lung [h, w] and the share of the worse one's outline that lies on an edge."""
    starts: list[tuple[float, tuple[Parameters, Parameters]]] = []
    for flat in _flattened(small):
        for threshold in np.quantile(flat, _QUANTILES):
            dark = ndimage.binary_opening(flat < threshold, iterations=max(1, round(2 * len(small) / _ROWS)))
            pair = _pair(dark)
            if pair is not None:
                score = pair[2] + 0.35 * float(np.sqrt(pair[0].mean() + pair[1].mean()))
                starts.append((score, (_parameters(pair[0], "right"), _parameters(pair[1], "left"))))
    starts.sort(key=lambda start: -start[0])
    edges = _Edges.of(small)
    if not starts:
        return None
    fits = [[edges.fit(pair[k]) for _, pair in _distinct(starts, len(small))] for k in (0, 1)]
    right, left = edges.best_pair(*fits)
    # A clavicle may look like an apex, a stomach like a base: try each lung at the other's height as well.
    for mine, one, other in ((fits[0], right, left), (fits[1], left, right)):
        level = np.concatenate([one[:2], other[2:3], one[3:]])
        mine += [level, edges.fit(level), edges.fit(np.concatenate([one[:2], other[2:4], one[4:]]))]
    right, left = edges.best_pair(*fits)
    if not np.isfinite(_unlike(right, left)):
        return None
    outlines = [edges.refine(_evenly(_outline(lung))) for lung in (right, left)]
    confidence = min(edges.on_edge(outline) for outline in outlines)
    if confidence < _ACCEPTED:
        return None
    height, width = small.shape
    masks = [
        _inside(
            [(float(x), float(y)) for x, y in o],
            np.arange(width, dtype=float)[None],
            np.arange(height, dtype=float)[:, None],
        )
        for o in outlines
    ]
    if (masks[0] & masks[1]).any() or min(m.mean() for m in masks) < _SMALLEST:
        return None
    return masks[0], masks[1], confidence


Parameters = Floats
"""Lateral x, medial x, top y, bottom y (pixels), the heart's size and the dome's height: a model lung put somewhere."""


def _parameters(mask: Mask, side: str) -> Parameters:
    """Where to begin: the box of a dark region and the model that is most like it."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    grid = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    k = _likeness(grid, side)[1]
    lateral, medial = (columns[0], columns[-1]) if side == "right" else (columns[-1], columns[0])
    heart, dome = _HEARTS[k // len(_DOMES)], _DOMES[k % len(_DOMES)]
    return np.array([lateral, medial, rows[0], rows[-1], heart, dome], float)


def _distinct(
    starts: Sequence[tuple[float, tuple[Parameters, Parameters]]], height: int
) -> list[tuple[float, tuple[Parameters, Parameters]]]:
    """The best few of the starts that differ by more than a few pixels from each other."""
    out: list[tuple[float, tuple[Parameters, Parameters]]] = []
    for start in starts:
        place = np.concatenate([p[:4] for p in start[1]])
        if all(np.abs(place - np.concatenate([p[:4] for p in o[1]])).max() > 0.04 * height for o in out):
            out.append(start)
        if len(out) == _STARTS:
            break
    return out


def _unlike(right: Parameters, left: Parameters) -> float:
    """How far two lungs are from being a pair: tops and bottoms apart, widths and heights unequal."""
    tall_r, tall_l = right[3] - right[2], left[3] - left[2]
    wide_r, wide_l = right[1] - right[0], left[0] - left[1]
    if min(tall_r, tall_l, wide_r, wide_l) <= 0 or left[1] <= right[1]:
        return np.inf
    apart = (4 * abs(right[2] - left[2]) + 2 * abs(right[3] - left[3])) / (tall_r + tall_l)
    return float(apart + 0.3 * abs(np.log(tall_r / tall_l)) + 0.3 * abs(np.log(wide_r / wide_l)))


def _outline(lung: Parameters) -> Floats:
    """The closed outline (x, y) of a model lung put somewhere, shape [points, 2]."""
    lateral, medial, top, bottom, heart, dome = lung
    shape = _model(float(np.clip(heart, 0, 0.8)), float(np.clip(dome, -0.25, 0.1)))
    xy = np.stack([lateral + shape[:, 0] * (medial - lateral), top + shape[:, 1] * (bottom - top)], axis=1)
    return np.asarray(_corner_cutting(len(xy)) @ xy)


@cache
def _corner_cutting(count: int) -> Floats:
    """Two rounds of Chaikin's corner cutting of a closed polygon of `count` points, as a matrix [4·count, count]."""
    out = np.eye(count)
    for _ in range(2):
        ahead = np.roll(out, -1, axis=0)
        out = np.stack([0.75 * out + 0.25 * ahead, 0.25 * out + 0.75 * ahead], axis=1).reshape(-1, count)
    return out


def _evenly(xy: Floats) -> Floats:
    """`_POINTS` points evenly apart on a closed outline."""
    closed = np.concatenate([xy, xy[:1]])
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(closed, axis=0).T))])
    at = np.linspace(0, along[-1], _POINTS, endpoint=False)
    return np.stack([np.interp(at, along, closed[:, 0]), np.interp(at, along, closed[:, 1])], axis=1)


def _outward(xy: Floats) -> Floats:
    """Unit normals of a closed outline, pointing out of it."""
    along = np.roll(xy, -1, axis=0) - np.roll(xy, 1, axis=0)
    normal = np.stack([along[:, 1], -along[:, 0]], axis=1) / np.maximum(np.hypot(*along.T), 1e-9)[:, None]
    area = float((xy[:, 0] * np.roll(xy[:, 1], -1) - np.roll(xy[:, 0], -1) * xy[:, 1]).sum())
    return normal if area > 0 else -normal


@dataclass(frozen=True, eq=False)
class _Edges:
    """Where brightness rises, and how fast: the gradient in x and y, 1 at a plain edge, bounded so that metal weighs no
    more than a diaphragm.
    """

    x: Floats
    y: Floats

    @classmethod
    def of(cls, small: Floats) -> _Edges:
        smooth = ndimage.gaussian_filter(small, 2.0 * len(small) / _ROWS)
        y, x = np.gradient(smooth)
        size = np.hypot(x, y)
        plain = float(np.quantile(size, 0.80)) or 1.0
        bounded = np.tanh(size / plain) / np.maximum(size, 1e-12)
        return cls(x * bounded, y * bounded)

    def rise(self, xy: Floats, normal: Floats) -> Floats:
        """How fast brightness rises along the normals at points of an outline; −1 to 1, below 0 off the image."""
        height, width = self.x.shape
        column, row = xy.T
        off = (row < 0) | (column < 0) | (row > height - 1) | (column > width - 1)
        gx = ndimage.map_coordinates(self.x, (row, column), order=1, mode="nearest")
        gy = ndimage.map_coordinates(self.y, (row, column), order=1, mode="nearest")
        return np.where(off, -0.5, gx * normal[:, 0] + gy * normal[:, 1])

    def score(self, lung: Parameters) -> float:
        outline = _outline(lung)
        height = len(self.x)
        share = (lung[3] - lung[2]) / height
        unlikely = max(0.0, 0.30 - share) + max(0.0, share - 0.85) + max(0.0, -lung[4]) + max(0.0, lung[4] - 0.8)
        weight = np.hypot(*(np.roll(outline, -1, axis=0) - np.roll(outline, 1, axis=0)).T)
        rise = float(weight @ self.rise(outline, _outward(outline))) / max(float(weight.sum()), 1e-9)
        return rise + 0.3 * share - 2 * unlikely

    def fit(self, start: Parameters) -> Parameters:
        """Move and reshape a model lung until its outline lies on edges as well as it can."""
        step = np.array([8, 8, 10, 10, 0.15, 0.06]) * np.array([*[len(self.x) / _ROWS] * 4, 1, 1])
        simplex = np.stack([start, *(start + np.diag(step))])
        found = optimize.minimize(
            lambda p: -self.score(p),
            start,
            method="Nelder-Mead",
            options={"initial_simplex": simplex, "maxfev": 220, "xatol": 0.2, "fatol": 1e-4},
        )
        return np.asarray(found.x, float)

    def best_pair(self, rights: Sequence[Parameters], lefts: Sequence[Parameters]) -> tuple[Parameters, Parameters]:
        """The two lungs that lie best on edges and are most like a pair."""
        score = {id(lung): self.score(lung) for lung in (*rights, *lefts)}
        return max(
            ((one, two) for one in rights for two in lefts),
            key=lambda p: score[id(p[0])] + score[id(p[1])] - _unlike(*p),
        )

    def refine(self, outline: Floats) -> Floats:
        """Let every point of an outline go to the edge near it, its neighbours with it."""
        reach = 0.035 * len(self.x)
        shifts = np.linspace(-reach, reach, 15)
        for _ in range(3):
            normal = _outward(outline)
            rise = np.stack([self.rise(outline + s * normal, normal) for s in shifts])  # [shift, point]
            rise = ndimage.gaussian_filter1d(rise, 3.0, axis=1, mode="wrap") - 0.25 * (shifts[:, None] / reach) ** 2
            move = ndimage.gaussian_filter1d(shifts[rise.argmax(axis=0)], 2.5, mode="wrap")
            outline = _evenly(outline + move[:, None] * normal)
        return outline

    def on_edge(self, outline: Floats) -> float:
        """The share of an outline behind which it is brighter than before it."""
        return float((self.rise(outline, _outward(outline)) > 0.15).mean())


def _pair(dark: Mask) -> tuple[Mask, Mask, float] | None:
    height, width = dark.shape
    labels, count = ndimage.label(dark)
    if count < 2:
        return None
    sizes = np.bincount(labels.ravel(), minlength=count + 1) / dark.size
    border = np.concatenate([labels[0], labels[:, 0], labels[:, -1]])
    touching = np.bincount(border, minlength=count + 1)
    candidates: dict[str, list[tuple[float, Mask, tuple[slice, slice]]]] = {"right": [], "left": []}
    found = ndimage.find_objects(labels)
    for k, where in enumerate(found, start=1):
        if not _SMALLEST <= sizes[k] <= _LARGEST or touching[k] > 0.02 * height:
            continue
        rows, columns = where
        tall, wide = (rows.stop - rows.start) / height, (columns.stop - columns.start) / width
        if not (0.25 <= tall <= 0.9 and 0.10 <= wide <= 0.45):
            continue
        middle = (columns.start + columns.stop) / 2 / width
        where, mask = _whole(labels, k, where, found, touching)
        for side, lies in (("right", middle < 0.55), ("left", middle > 0.45)):
            if lies:
                candidates[side].append((_likeness(mask, side)[0], mask, where))
    best: tuple[float, Mask, Mask] | None = None
    for agree_r, right, (rows_r, columns_r) in candidates["right"]:
        for agree_l, left, (rows_l, columns_l) in candidates["left"]:
            shared = min(rows_r.stop, rows_l.stop) - max(rows_r.start, rows_l.start)
            longer = max(rows_r.stop - rows_r.start, rows_l.stop - rows_l.start)
            apart = (columns_l.start + columns_l.stop - columns_r.start - columns_r.stop) / 2
            if shared < 0.6 * longer or apart < 0.15 * width or columns_l.start <= columns_r.start:
                continue
            agree = min(agree_r, agree_l)
            if best is None or agree > best[0]:
                whole_r, whole_l = np.zeros_like(dark), np.zeros_like(dark)
                whole_r[rows_r, columns_r] = right
                whole_l[rows_l, columns_l] = left
                best = (agree, whole_r, whole_l)
    return None if best is None else (best[1], best[2], best[0])


def _whole(
    labels: NDArray[np.intp],
    k: int,
    where: tuple[slice, slice],
    found: list[tuple[slice, slice]],
    touching: NDArray[np.intp],
) -> tuple[tuple[slice, slice], Mask]:
    """A lung with the apex that its clavicle cuts off, ribs and vessels filled in: its place and its mask there."""
    rows, columns = where
    tall = rows.stop - rows.start
    parts = [k]
    for other, (r, c) in enumerate(found, start=1):
        middle = (c.start + c.stop) / 2
        near = r.stop <= rows.start + 0.12 * tall and rows.start - r.stop < 0.10 * tall
        if near and columns.start <= middle <= columns.stop and not touching[other] and r.stop - r.start < 0.3 * tall:
            parts.append(other)
    top = min(found[part - 1][0].start for part in parts)
    first = min(found[part - 1][1].start for part in parts)
    last = max(found[part - 1][1].stop for part in parts)
    where = (slice(top, rows.stop), slice(first, last))
    pad = max(2, round(0.04 * tall))
    mask = np.pad(np.isin(labels[where], parts), pad)
    closed = ndimage.binary_closing(mask, iterations=pad)
    return where, np.asarray(ndimage.binary_fill_holes(closed)[pad:-pad, pad:-pad])


def _likeness(mask: Mask, side: str) -> tuple[float, int]:
    """Dice overlap of a mask, cut to its box, with the model lung most like it in the same box, and that model."""
    grid = np.asarray(Image.fromarray(mask.astype(np.uint8) * 255).resize((_GRID, _GRID), Image.Resampling.BOX)) > 127
    if side == "left":
        grid = grid[:, ::-1]
    models = _models()
    shared = (models & grid).sum(axis=(1, 2))
    dice = 2 * shared / (models.sum(axis=(1, 2)) + grid.sum())
    return float(dice.max()), int(dice.argmax())


@cache
def _models() -> Mask:
    """The family of model lungs, right side, shape [models, grid, grid]."""
    at = (np.arange(_GRID) + 0.5) / _GRID
    shapes = [_model(heart, dome) for heart in _HEARTS for dome in _DOMES]
    return np.stack([_inside([(float(x), float(y)) for x, y in s], at[None], at[:, None]) for s in shapes])


def _model(heart: float, dome: float) -> Floats:
    """A model lung in its own box, lateral wall at x = 0, closed outline [points, 2].

    `heart` is the share of the base that the heart takes; `dome` moves the diaphragm, negative is higher.
    """
    base, medial = np.array(_DOME_LINE), np.array(_MEDIAL)
    base[:, 1] = np.minimum(1.0, base[:, 1] + dome)
    # The heart takes from the hilum down, most at the base.
    medial[:, 0] -= heart * np.clip((medial[:, 1] - 0.34) / 0.5, 0, 1) ** 1.2
    medial[0, 1] += min(0.0, dome)
    base[:, 0] *= medial[0, 0] / 0.93  # the dome ends where the heart begins
    return np.concatenate([np.array(_WALL), base, medial])


def _inside(polygon: Sequence[tuple[float, float]], x: Floats, y: Floats) -> Mask:
    """Even-odd test on a grid: x [1, w], y [h, 1] → [h, w]."""
    out = np.zeros(np.broadcast_shapes(x.shape, y.shape), bool)
    for (x0, y0), (x1, y1) in zip(polygon, [*polygon[1:], polygon[0]], strict=True):
        if y0 != y1:
            out ^= ((y0 > y) != (y1 > y)) & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
    return out


def _upright(small: Floats, lungs: Mask) -> bool:
    """Whether it is brighter below the lungs than above them: an abdomen lets less through than a neck."""
    rows, columns = np.flatnonzero(lungs.any(1)), np.flatnonzero(lungs.any(0))
    strip = max(3, round(0.12 * (rows[-1] - rows[0])))
    across = slice(columns[0], columns[-1] + 1)
    above = small[max(0, rows[0] - strip) : rows[0], across]
    below = small[rows[-1] + 1 : rows[-1] + 1 + strip, across]
    return above.size == 0 or below.size == 0 or bool(np.median(below) > np.median(above))


# ── everything else ────────────────────────────────────────────────────────────────────────────────


def _areas(right: Mask, left: Mask, body: Mask) -> dict[Area, Mask] | None:
    """All areas from the outlines of the two lungs, or None where the outlines contradict a chest."""
    height, width = right.shape
    rows = np.arange(height)[:, None]
    columns = np.arange(width)[None]
    spans = {side: np.flatnonzero(mask.any(1)) for side, mask in (("right", right), ("left", left))}
    top = min(int(s[0]) for s in spans.values())
    bottom = max(int(s[-1]) for s in spans.values())
    tall = bottom - top + 1
    at = (rows - top) / tall  # 0 at the apex, 1 at the angle
    thorax = float(np.flatnonzero(left.any(0))[-1] - np.flatnonzero(right.any(0))[0])

    # The lungs' medial borders, row by row, where both are seen.
    medial_r = np.where(right.any(1), width - 1 - np.argmax(right[:, ::-1], axis=1), -1)
    medial_l = np.where(left.any(1), np.argmax(left, axis=1), -1)
    both = (medial_r >= 0) & (medial_l >= 0)
    upper = both & (at[:, 0] >= _MIDLINE[0]) & (at[:, 0] <= _MIDLINE[1])
    if upper.sum() < 5 or not (medial_r < medial_l)[upper].all():
        return None
    middle = (medial_r + medial_l) / 2
    # A line through the upper rows, tilted no more than people stand; the median lets no single row bend it.
    y = np.flatnonzero(upper).astype(float)
    tilt = float(np.clip(np.polyfit(y, middle[upper], 1)[0], -0.06, 0.06))
    offset = float(np.median(middle[upper] - tilt * y))
    midline = offset + tilt * rows
    beside = columns - midline

    # Between the lungs: from border to border, and where one lung is hidden as far as on the nearest row that shows it.
    inner = np.flatnonzero(both)
    if len(inner) < 0.4 * tall:
        return None
    edge_r = np.interp(rows[:, 0], inner, ndimage.median_filter(medial_r[inner], 5, mode="nearest"))[:, None]
    edge_l = np.interp(rows[:, 0], inner, ndimage.median_filter(medial_l[inner], 5, mode="nearest"))[:, None]
    between = (columns > edge_r) & (columns < edge_l) & ~right & ~left
    domes = _domes(right, left)
    above = rows < domes
    out = {Area("lung", "right"): right, Area("lung", "left"): left}
    for side, mask in (("right", right), ("left", left)):
        first, last = int(spans[side][0]), int(spans[side][-1])
        own = (rows - first) / (last - first + 1)
        wide = float(np.ptp(np.flatnonzero(mask.any(0))))
        edge = (edge_r if side == "right" else edge_l)[first + round(_HILUM[0] * (last - first)), 0]
        outward = (edge - columns) if side == "right" else (columns - edge)
        out[Area("apical zone", side)] = np.asarray(mask & (own < _APEX))
        out[Area("hilum", side)] = np.asarray(
            (own >= _HILUM[0]) & (own < _HILUM[1]) & (outward > -0.10 * wide) & (outward < _HILUM_WIDTH * wide)
            & (np.abs(beside) > 0.5 * _SPINE_WIDTH * thorax)
        )  # fmt: skip
    out[Area("heart")] = np.asarray(between & above & (at >= _HEART_TOP))
    out[Area("mediastinum")] = np.asarray(between & (at < _MEDIASTINUM[1]) & (at >= _MEDIASTINUM[0]))
    windpipe = np.abs(beside) <= 0.5 * _TRACHEA_WIDTH * thorax
    out[Area("trachea")] = np.asarray(windpipe & (at >= _TRACHEA_TOP) & (at < _CARINA) & body)
    out[Area("spine")] = np.asarray((np.abs(beside) <= 0.5 * _SPINE_WIDTH * thorax) & (at >= 0) & body)
    within = (columns > np.flatnonzero(right.any(0))[0]) & (columns < np.flatnonzero(left.any(0))[-1])
    out[Area("abdomen")] = np.asarray(~above & within & ~right & ~left & body)
    return out


def _domes(right: Mask, left: Mask) -> NDArray[np.float64]:
    """The diaphragm [1, w]: the lungs' lower border, straight on between and beside them."""
    lungs = right | left
    height, width = lungs.shape
    lowest = height - 1 - np.argmax(lungs[::-1], axis=0)
    # Only where a lung reaches far down does it show the diaphragm; nearer the midline it shows the heart's border.
    x, y = [], []
    for mask in (right, left):
        rows = np.flatnonzero(mask.any(1))
        down = rows[0] + _DOME * (rows[-1] - rows[0])
        own = np.flatnonzero(mask.any(0) & (lowest >= down))
        x.append(own)
        y.append(ndimage.median_filter(lowest[own], 5, mode="nearest") if len(own) else own)
    if not (len(x[0]) and len(x[1])):
        return np.full((1, width), float(np.flatnonzero(lungs.any(1))[-1]))
    span = np.flatnonzero(lungs.any(1))
    lowest_heart = span[0] + _HEART_BOTTOM * (span[-1] - span[0])
    out = np.interp(np.arange(width), np.concatenate(x), np.concatenate(y).astype(float))
    out[x[0][-1] : x[1][0]] = max(y[0][-1], y[1][0], lowest_heart)  # on the lower of the two lies the heart
    return out[None]


# ── the order of inspection ────────────────────────────────────────────────────────────────────────

ABCDEF: Final[dict[str, str]] = {
    "trachea": "A",
    "lung": "B",
    "apical zone": "B",
    "hilum": "B",
    "heart": "C",
    "mediastinum": "C",
    "abdomen": "D",
    "spine": "E",
}
"""Airway, breathing, circulation, diaphragm and below, everything else (of which the spine alone is located). F,
foreign bodies, has no place of its own and does not take part.
"""


@dataclass(frozen=True)
class OrderTest:
    """Whether readings visit areas in the order of ABCDEF.

    Attributes
    ----------
    tau
        Kendall's tau between the order of first visits and the alphabet, averaged over the readings that tell: 1 for
        A before B before C …, 0 for none, −1 for the reverse.
    p
        One-sided permutation p value: how often orders drawn by chance agree at least as well.
    readings, permutations
        Readings that entered, permutations drawn.
    orders
        The order of first visits of every reading, such as "BACD"; "" where no area was visited.
    not_estimable
        Why there is no number; then `tau` and `p` are None.
    """

    tau: float | None
    p: float | None
    readings: int
    permutations: int
    orders: tuple[str, ...]
    not_estimable: str = ""


def inspection(chest: ChestMap, x: ArrayLike, y: ArrayLike) -> list[Area | None]:
    """The area of each fixation or cluster, in the order given; None where a point lies in none of them."""
    xs, ys = np.asarray(x, np.float64).ravel(), np.asarray(y, np.float64).ravel()
    if len(xs) != len(ys):
        raise ValueError(f"There are {len(xs)} x and {len(ys)} y; an inspection needs as many of one as of the other.")
    return [chest.area_of(float(a), float(b)) for a, b in zip(xs, ys, strict=True)]


def follows_abcdef(
    readings: Sequence[Sequence[Area | None]],
    *,
    letters: Mapping[str, str] = ABCDEF,
    permutations: int = 9_999,
    seed: int = 0,
) -> OrderTest:
    """Test whether readings first visit the chest's areas in the order of ABCDEF.

    A reading is the sequence of areas its fixations or clusters fell in (`inspection`). Neighbours in one letter are
    one visit. The null hypothesis is that a reading makes these visits in any order: each is shuffled within its
    reading. A letter that is visited often comes early by chance as well, so that a test over the orders of letters
    alone would find an order where there is none: the lungs are large.

    Parameters
    ----------
    readings
        One sequence a reading. Those that visit fewer than two letters tell nothing and are left out.
    letters
        Area name → letter; areas that are missing here do not take part.
    permutations
        Shuffles of every reading, at least 99.
    seed
        Of the shuffles.

    Returns
    -------
    OrderTest

    Raises
    ------
    ValueError
        Fewer than 99 permutations.
    """
    if permutations < 99:
        raise ValueError(f"{permutations} permutations cannot tell 5 %; draw at least 99.")
    visits = [_visits(reading, letters) for reading in readings]
    orders = tuple("".join(dict.fromkeys(v)) for v in visits)
    telling = [v for v, order in zip(visits, orders, strict=True) if len(order) > 1]
    if not telling:
        why = "no reading visits two of the areas that have a letter"
        return OrderTest(None, None, 0, permutations, orders, f"not estimable, because {why}")
    rng = np.random.default_rng(seed)
    observed = float(np.mean([_tau(v) for v in telling]))
    drawn = np.zeros(permutations)
    for v in telling:
        codes = np.array([ord(letter) for letter in v])
        drawn += _taus(rng.permuted(np.tile(codes, (permutations, 1)), axis=1)) / len(telling)
    p = (1 + int((drawn >= observed - 1e-12).sum())) / (1 + permutations)
    return OrderTest(observed, p, len(telling), permutations, orders)


def _visits(reading: Sequence[Area | None], letters: Mapping[str, str]) -> list[str]:
    """Letters in the order in which they were visited, neighbours merged."""
    out: list[str] = []
    for area in reading:
        letter = letters.get(area.name) if area is not None else None
        if letter is not None and (not out or out[-1] != letter):
            out.append(letter)
    return out


def _tau(visits: Sequence[str]) -> float:
    return float(_taus(np.array([[ord(letter) for letter in visits]]))[0])


def _taus(codes: NDArray[np.int64]) -> Floats:
    """Kendall's tau between first visits and the letters' order, for every row of letters, shape [rows]."""
    kinds = np.unique(codes)
    first = np.stack([(codes == kind).argmax(axis=1) for kind in kinds], axis=1)
    later = np.sign(first[:, None, :] - first[:, :, None])  # [row, earlier letter, later letter]
    pairs = len(kinds) * (len(kinds) - 1) / 2
    upper = np.triu(np.ones((len(kinds), len(kinds))), 1)
    return np.asarray((later * upper).sum(axis=(1, 2)) / pairs)
