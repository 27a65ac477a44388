"""The geometry of a synthetic chest, in units of the image height.

Coordinates: `u` to the image's right (the patient's left), 0 in the midline; `v` downwards, 0 at the top edge, 1 at the
bottom edge. One unit is the height of the detector, 430 mm. All shapes are closed polygons [N, 2].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

FIELD_MM: Final = 430.0
"""Height of the detector in mm; a unit of length here."""

Points = NDArray[np.float64]

# The patient's left lung on the right side of the image: apex → lateral wall → costophrenic angle → dome → mediastinum.
_LUNG: Final = np.array(
    [
        (0.062, 0.150), (0.085, 0.122), (0.118, 0.112), (0.160, 0.126), (0.205, 0.170), (0.242, 0.235), (0.270, 0.320),
        (0.288, 0.410), (0.300, 0.510), (0.308, 0.610), (0.311, 0.690), (0.308, 0.738), (0.300, 0.738), (0.272, 0.697),
        (0.232, 0.664), (0.185, 0.648), (0.135, 0.650), (0.090, 0.668), (0.058, 0.694), (0.048, 0.690), (0.044, 0.600),
        (0.042, 0.500), (0.046, 0.420), (0.040, 0.330), (0.036, 0.250), (0.044, 0.190),
    ]
)  # fmt: skip
_COSTOPHRENIC: Final = 11
"""Index in `_LUNG` of the lateral costophrenic angle: the lateral wall is `_LUNG[: _COSTOPHRENIC + 1]`."""


def smooth(points: Points, rounds: int = 3) -> Points:
    """Chaikin's corner cutting of a closed polygon: twice the points a round, never outside the convex hull."""
    for _ in range(rounds):
        nxt = np.roll(points, -1, axis=0)
        points = np.stack([0.75 * points + 0.25 * nxt, 0.25 * points + 0.75 * nxt], axis=1).reshape(-1, 2)
    return points


def smooth_open(points: Points, rounds: int = 3) -> Points:
    """Chaikin's corner cutting of an open line, ends kept."""
    for _ in range(rounds):
        a, b = points[:-1], points[1:]
        cut = np.stack([0.75 * a + 0.25 * b, 0.25 * a + 0.75 * b], axis=1).reshape(-1, 2)
        points = np.concatenate([points[:1], cut, points[-1:]])
    return points


def inside(polygon: Points, points: Points) -> NDArray[np.bool_]:
    """Even-odd test of points [M, 2] against a closed polygon [N, 2]."""
    x, y = points[:, :1], points[:, 1:]
    x0, y0 = polygon[:, 0], polygon[:, 1]
    x1, y1 = np.roll(x0, -1), np.roll(y0, -1)
    crosses = (y0 > y) != (y1 > y)
    with np.errstate(divide="ignore", invalid="ignore"):
        at = x0 + (y - y0) * (x1 - x0) / (y1 - y0)
    return np.asarray((crosses & (x < at)).sum(axis=1) % 2 == 1)


def distance(polygon: Points, point: Points) -> float:
    """Distance of one point to a polygon's outline."""
    a, b = polygon, np.roll(polygon, -1, axis=0)
    d = b - a
    t = np.clip(((point - a) * d).sum(1) / np.maximum((d * d).sum(1), 1e-12), 0, 1)
    return float(np.hypot(*(a + t[:, None] * d - point).T).min())


@dataclass(frozen=True)
class Chest:
    """One person's chest: shapes in canonical coordinates, and the way the person stands before the detector."""

    lungs: dict[str, Points]
    walls: dict[str, Points]
    heart: Points
    heart_scale: float
    scale: tuple[float, float]
    shift: tuple[float, float]
    rotation: float
    habitus: float

    def place(self, points: Points) -> Points:
        """Canonical → detector coordinates: scale about the chest's middle, rotate, shift."""
        p = (np.asarray(points, np.float64) - (0.0, 0.45)) * self.scale
        c, s = np.cos(self.rotation), np.sin(self.rotation)
        return p @ np.array([[c, s], [-s, c]]) + (0.0, 0.45) + self.shift

    def unplace(
        self, u: NDArray[np.floating], v: NDArray[np.floating]
    ) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        """Detector → canonical coordinates, elementwise: the inverse of `place`."""
        x, y = u - self.shift[0], v - self.shift[1] - 0.45
        c, s = np.cos(self.rotation), np.sin(self.rotation)
        return (x * c + y * s) / self.scale[0], (-x * s + y * c) / self.scale[1] + 0.45


def draw_chest(rng: np.random.Generator, *, cardiomegaly: bool, subtlety: float) -> Chest:
    """A random chest. `cardiomegaly` sets the heart's width; a subtle one is barely over half the thorax."""
    lungs, walls = {}, {}
    for side, sign in (("left", 1.0), ("right", -1.0)):
        points = _LUNG.copy()
        lateral = np.linspace(0, 1, len(points))
        points[:, 0] += 0.006 * np.sin(2 * np.pi * (lateral + rng.random())) * (points[:, 0] > 0.1)
        depth = rng.normal(0.0, 0.012) - (0.018 if side == "right" else -0.004)  # the liver holds the right dome higher
        below = np.clip((points[:, 1] - 0.45) / 0.25, 0, 1)
        points[:, 1] += depth * below
        points[10:14, 1] -= 0.6 * depth  # the angle moves less than the dome
        points[:, 0] *= sign
        lungs[side] = smooth(points)
        walls[side] = smooth_open(points[: _COSTOPHRENIC + 1])
    normal = rng.uniform(0.39, 0.475)
    enlarged = 0.655 - 0.07 * subtlety + rng.uniform(-0.03, 0.035)
    ratio = enlarged if cardiomegaly else normal  # cardiothoracic ratio
    scale = ratio * 0.622 / 0.262
    return Chest(
        lungs=lungs,
        walls=walls,
        heart=_heart(scale, rng),
        heart_scale=scale,
        scale=(float(rng.uniform(0.93, 1.05)), float(rng.uniform(0.93, 1.04))),
        shift=(float(rng.normal(0, 0.010)), float(rng.normal(0, 0.010))),
        rotation=float(np.clip(rng.normal(0, 0.015), -0.04, 0.04)),
        habitus=float(rng.uniform(0, 1)),
    )


def _heart(scale: float, rng: np.random.Generator) -> Points:
    outline = np.array(
        [
            (-0.035, 0.400), (0.000, 0.380), (0.048, 0.392), (0.070, 0.430), (0.098, 0.485), (0.140, 0.550),
            (0.172, 0.615), (0.176, 0.660), (0.150, 0.692), (0.080, 0.712), (0.000, 0.715), (-0.062, 0.700),
            (-0.086, 0.650), (-0.090, 0.590), (-0.078, 0.520), (-0.055, 0.450),
        ]
    )  # fmt: skip
    outline = outline + rng.normal(0, 0.003, outline.shape)
    tall = 1 + 0.35 * (scale - 1)
    return smooth(np.stack([outline[:, 0] * scale, 0.70 + (outline[:, 1] - 0.70) * tall], axis=1))


REGION_BOXES: Final[dict[str, tuple[float, float, float, float]]] = {
    "trachea": (-0.03, 0.03, 0.03, 0.27),
    "mediastinum": (-0.06, 0.22, 0.07, 0.45),
    "spine": (-0.035, 0.10, 0.035, 0.95),
    "left_apex": (0.06, 0.11, 0.22, 0.22),
    "left_upper_zone": (0.06, 0.18, 0.28, 0.34),
    "left_middle_zone": (0.08, 0.34, 0.30, 0.50),
    "left_lower_zone": (0.10, 0.50, 0.31, 0.68),
    "left_hilum": (0.04, 0.32, 0.12, 0.45),
    "left_costophrenic": (0.23, 0.63, 0.32, 0.75),
    "abdomen": (-0.28, 0.74, 0.28, 0.97),
}
"""Canonical boxes; the right-sided ones are the left ones mirrored."""


def region_boxes(chest: Chest) -> dict[str, Points]:
    """Anatomical regions as polygons in detector coordinates; heart and lungs from their own outlines."""
    out: dict[str, Points] = {}
    for name, (u0, v0, u1, v1) in REGION_BOXES.items():
        corners = np.array([(u0, v0), (u1, v0), (u1, v1), (u0, v1)])
        out[name] = chest.place(corners)
        if name.startswith("left_"):
            out[name.replace("left_", "right_")] = chest.place(corners * (-1.0, 1.0))
    out["heart"] = chest.place(chest.heart)
    for side, lung in chest.lungs.items():
        out[f"{side}_lung"] = chest.place(lung)
    return out
