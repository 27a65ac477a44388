"""From heat to probability and box: Platt scaling and box settings, fitted on phantoms that are not trained on.

Platt (1999): p = 1 / (1 + exp(-(a·z + b))), z the largest heat logit of a finding, a and b by maximum likelihood with a
weak prior towards a = 1, b = 0 so that separable data stay finite.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from gazex.phantoms import CALIBRATION_SEED, make_phantom

if TYPE_CHECKING:
    from gazex.model.network import GazeXNetwork

SCHEMA: Final = "gazeroom.calibration/1"
LEVELS: Final = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
SHRINKS: Final = (0.25, 0.4, 0.55, 0.7, 0.85, 1.0, 1.15, 1.3)
PRIOR: Final = 0.02
FINE: Final = 64
REACH: Final = 0.35
"""A reader's own box ends where the heat has fallen to this share of its maximum: on 106 boxes of the validation series
no edge of the small model's lay on average more than 1.7 % of the image to one side, and each .031 to .034 away
(`gazex.decoding.EDGE`); `benchmarks/gazex_small.py` prints both of every model."""
SUREST: Final = 0.95
"""The largest heat of a map is no probability: it may be wrong where it is sure."""
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Setting:
    """One finding's calibration: Platt's a and b; a box is where heat exceeds `level` of its maximum, its width and
    height scaled about its middle.
    """

    a: float = 1.0
    b: float = 0.0
    level: float = 0.5
    shrink_x: float = 1.0
    shrink_y: float = 1.0

    def probability(self, logit: float) -> float:
        return float(1 / (1 + np.exp(-np.clip(self.a * logit + self.b, -60, 60))))


@dataclass(frozen=True)
class Calibration:
    """Settings of every finding of a model's heat head; `cases` is 0 where nothing was fitted."""

    cases: int = 0
    settings: dict[str, Setting] = field(default_factory=dict)

    def of(self, finding: str) -> Setting:
        return self.settings.get(finding, Setting())

    def to_dict(self) -> dict[str, Any]:
        return {"schema": SCHEMA, "cases": self.cases, "settings": {f: s.__dict__ for f, s in self.settings.items()}}

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> Calibration:
        return cls(int(raw["cases"]), {f: Setting(**s) for f, s in raw["settings"].items()})


def fit_platt(logits: NDArray[np.floating], truth: NDArray[np.bool_]) -> tuple[float, float]:
    """Platt's (a, b) by Newton's method; (1, 0) where the truth has one class only."""
    if truth.all() or not truth.any():
        return 1.0, 0.0
    z, y = np.asarray(logits, float), truth.astype(float)
    w, centre = np.array([1.0, 0.0]), np.array([1.0, 0.0])
    design = np.stack([z, np.ones_like(z)], axis=1)
    for _ in range(60):
        p = 1 / (1 + np.exp(-np.clip(design @ w, -40, 40)))
        gradient = design.T @ (p - y) + PRIOR * len(z) * (w - centre) * 0.1
        hessian = (design * (p * (1 - p))[:, None]).T @ design + PRIOR * len(z) * 0.1 * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        w = w - step
        if np.abs(step).max() < 1e-8:
            break
    return float(max(w[0], 1e-3)), float(w[1])


def fine_heat(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Heat logits [h, w] as heat 0–1 on a 64 × 64 grid over the image, bilinear between cell centres."""
    heat = 1 / (1 + np.exp(-np.asarray(logits, float)))
    for axis in (0, 1):
        n = heat.shape[axis]
        at = np.clip((np.arange(FINE) + 0.5) / FINE * n - 0.5, 0, n - 1)
        low = np.floor(at).astype(int)
        high = np.minimum(low + 1, n - 1)
        part = (at - low)[:, None] if axis == 0 else (at - low)[None, :]
        heat = np.take(heat, low, axis) * (1 - part) + np.take(heat, high, axis) * part
    return heat


def region_box(heat: NDArray[np.float64], level: float) -> Box:
    """Extent of the connected region above `level` × maximum that holds the maximum, as shares of the image 0–1."""
    from scipy.ndimage import label

    regions, _ = label(heat >= level * heat.max())
    top = np.unravel_index(int(heat.argmax()), heat.shape)
    ys, xs = np.nonzero(regions == regions[top])
    h, w = heat.shape
    return float(xs.min()) / w, float(ys.min()) / h, float(xs.max() + 1) / w, float(ys.max() + 1) / h


def shrink_box(box: Box, shrink_x: float, shrink_y: float) -> Box:
    x0, y0, x1, y1 = box
    cx, cy, rx, ry = (x0 + x1) / 2, (y0 + y1) / 2, (x1 - x0) / 2 * shrink_x, (y1 - y0) / 2 * shrink_y
    return max(0.0, cx - rx), max(0.0, cy - ry), min(1.0, cx + rx), min(1.0, cy + ry)


def iou(a: Sequence[float], b: Sequence[float]) -> float:
    """Intersection over union of two boxes in the same unit."""
    w = min(a[2], b[2]) - max(a[0], b[0])
    h = min(a[3], b[3]) - max(a[1], b[1])
    if w <= 0 or h <= 0:
        return 0.0
    both = w * h
    return float(both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both))


def unit_box(box: Sequence[float], rows: int, columns: int) -> Box:
    """A box in image pixels (centres are integers) as shares of the image 0–1."""
    return (box[0] + 0.5) / columns, (box[1] + 0.5) / rows, (box[2] + 0.5) / columns, (box[3] + 0.5) / rows


def calibrate(
    network: GazeXNetwork, *, cases: int, seed: int = CALIBRATION_SEED, tick: Callable[[int, int], None] | None = None
) -> Calibration:
    """Fit a model's calibration on phantoms of the calibration series.

    Parameters
    ----------
    network
        A model with a heat head; findings phantoms do not show keep the identity.
    cases
        Number of phantoms.
    seed
        Their series.
    tick
        Called with (done, of) as phantoms are read.
    """
    import torch

    findings = network.config.heat_findings
    logits: list[NDArray[np.float32]] = []
    truth: list[dict[str, Box]] = []
    with torch.inference_mode():
        for index in range(cases):
            columns = (224, 200, 184)[index % 3]
            phantom = make_phantom(seed, index, (224, columns))
            prepared = network.processor.prepare(phantom.pixels)
            maps = network.heat_maps(network.see([network.processor.patchify([prepared])]))[0]
            logits.append(maps.cpu().numpy())
            truth.append({f.finding: unit_box(f.box, 224, columns) for f in phantom.findings})
            if tick is not None:
                tick(index + 1, cases)
    settings = {}
    for channel, finding in enumerate(findings):
        here = np.array([finding in t for t in truth])
        a, b = fit_platt(np.array([m[channel].max() for m in logits]), here)
        heats = [fine_heat(logits[k][channel]) for k in np.flatnonzero(here)]
        boxes = [truth[k][finding] for k in np.flatnonzero(here)]
        level, shrink_x, shrink_y = _fit_box(heats, boxes)
        settings[finding] = Setting(round(a, 5), round(b, 5), level, shrink_x, shrink_y)
    return Calibration(cases, settings)


def _fit_box(heats: list[NDArray[np.float64]], boxes: list[Box]) -> tuple[float, float, float]:
    if not heats:
        return 0.5, 1.0, 1.0
    best, chosen = -1.0, (0.5, 1.0, 1.0)
    for level in LEVELS:
        found = [region_box(h, level) for h in heats]
        for sx in SHRINKS:
            for sy in SHRINKS:
                score = float(np.mean([iou(shrink_box(f, sx, sy), b) for f, b in zip(found, boxes, strict=True)]))
                if score > best:
                    best, chosen = score, (level, sx, sy)
    return chosen
