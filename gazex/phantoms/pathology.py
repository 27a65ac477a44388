"""Findings a phantom can show: each is a polygon in canonical coordinates with what is needed to paint it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gazex.phantoms.anatomy import Chest, Points, distance, inside


@dataclass(frozen=True)
class Lesion:
    """A finding before it is painted.

    Attributes
    ----------
    outline
        Closed polygon, canonical coordinates.
    edge
        The part of the outline that shows as a line of its own (a visceral pleural line), or empty.
    strength
        Contrast relative to a plain example; below 1 is subtler.
    """

    finding: str
    side: str
    outline: Points
    edge: Points
    strength: float
    seed: int


_NO_EDGE = np.zeros((0, 2))


def _sign(side: str) -> float:
    return 1.0 if side == "left" else -1.0


def place_lesion(finding: str, side: str, chest: Chest, subtlety: float, rng: np.random.Generator) -> Lesion:
    """Draw one finding at random within a chest.

    Parameters
    ----------
    finding
        One of `PHANTOM_FINDINGS`.
    side
        "left" or "right" of the patient; "" for Cardiomegaly.
    subtlety
        0 (plain) to 1 (easily missed): smaller and fainter.
    """
    strength = float((1.35 - 0.75 * subtlety) * rng.uniform(0.88, 1.12))
    size = 1.2 - 0.5 * subtlety
    edge = _NO_EDGE
    if finding == "Cardiomegaly":
        outline = chest.heart
    elif finding == "Pneumothorax":
        outline, edge = _pneumothorax(chest, side, size, rng)
    elif finding == "Pleural Effusion":
        outline = _effusion(chest, side, size, rng)
    elif finding == "Lung Lesion":
        outline = _nodule(chest, side, size, rng)
    elif finding == "Consolidation":
        outline = _consolidation(chest, side, size, rng)
    else:
        raise ValueError(f"Phantoms cannot show “{finding}”.")
    return Lesion(finding, side, outline, edge, strength, int(rng.integers(2**31)))


def _pneumothorax(chest: Chest, side: str, size: float, rng: np.random.Generator) -> tuple[Points, Points]:
    """Air between the chest wall and the retracted lung, widest at the apex and gone at its lower end."""
    wall = chest.walls[side]
    end_v = rng.uniform(0.34, 0.55) * (0.85 + 0.15 * size)
    outer = wall[: int(np.argmax(wall[:, 1] > end_v))]
    middle = np.array([_sign(side) * 0.13, 0.40])
    along = np.linspace(0, 1, len(outer))
    depth = rng.uniform(0.032, 0.055) * size * np.sqrt(np.sin(np.pi * np.clip(along * 0.92 + 0.06, 0, 1)))
    depth *= np.clip((1 - along) / 0.12, 0, 1) ** 0.5
    inward = middle - outer
    inner = outer + inward / np.linalg.norm(inward, axis=1, keepdims=True) * depth[:, None]
    return np.concatenate([outer, inner[::-1]]), inner


def _effusion(chest: Chest, side: str, size: float, rng: np.random.Generator) -> Points:
    """The lung below a meniscus: level in the middle, climbing the lateral wall."""
    lung, sign = chest.lungs[side], _sign(side)
    bottom = float(lung[:, 1].max())
    dome = float(lung[(np.abs(lung[:, 0]) > 0.12) & (np.abs(lung[:, 0]) < 0.2) & (lung[:, 1] > 0.55)][:, 1].min())
    level = dome + (bottom - dome) * 0.45 - rng.uniform(0.005, 0.085) * size
    rise = rng.uniform(0.045, 0.075)

    def meniscus(u: np.ndarray) -> np.ndarray:
        return level - rise * np.clip((u - 0.15) / 0.16, -0.3, 1) ** 3

    below = lung[:, 1] > meniscus(np.abs(lung[:, 0]))
    start = int(np.flatnonzero(below & ~np.roll(below, 1))[0])  # the run that holds the costophrenic angle comes first
    rolled, flags = np.roll(lung, -start, axis=0), np.roll(below, -start)
    run = rolled[: int(np.argmin(flags))] if not flags.all() else rolled
    us = np.linspace(abs(run[-1, 0]), abs(run[0, 0]), 24)
    return np.concatenate([run, np.stack([sign * us, meniscus(us)], axis=1)])


def _nodule(chest: Chest, side: str, size: float, rng: np.random.Generator) -> Points:
    radius = rng.uniform(0.017, 0.030) * size
    centre = _place_in_lung(chest, side, radius + 0.012, rng)
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    wobble = 1 + 0.06 * np.sin(3 * angle + rng.uniform(0, 6.28)) + 0.04 * np.sin(5 * angle + rng.uniform(0, 6.28))
    return centre + radius * wobble[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _consolidation(chest: Chest, side: str, size: float, rng: np.random.Generator) -> Points:
    radius = rng.uniform(0.062, 0.095) * (0.6 + 0.4 * size)
    centre = _place_in_lung(chest, side, 0.035, rng)
    angle = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    wobble = 1 + sum(rng.normal(0, 0.16 / k) * np.sin(k * angle + rng.uniform(0, 6.28)) for k in range(2, 7))
    reach = radius * np.clip(wobble, 0.5, 1.5)
    ray = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    lung = chest.lungs[side]
    for _ in range(30):  # pull each ray back into the lung
        out = ~inside(lung, centre + reach[:, None] * ray)
        if not out.any():
            break
        reach[out] *= 0.9
    return centre + reach[:, None] * ray


def _place_in_lung(chest: Chest, side: str, margin: float, rng: np.random.Generator) -> Points:
    """A point in the lung at least `margin` from its border and outside the heart, else the roomiest one tried."""
    lung, sign = chest.lungs[side], _sign(side)
    best, best_room = np.array([sign * 0.18, 0.40]), -1.0
    for _ in range(60):
        point = np.array([sign * rng.uniform(0.07, 0.29), rng.uniform(0.17, 0.64)])
        if not inside(lung, point[None])[0] or inside(chest.heart, point[None])[0]:
            continue
        room = min(distance(lung, point), distance(chest.heart, point))
        if room >= margin:
            return point
        if room > best_room:
            best, best_room = point, room
    return best


@dataclass(frozen=True)
class Lure:
    """Something conspicuous that means nothing: an electrode, a granuloma, a clip; canonical coordinates."""

    kind: str
    centre: Points
    radius: float
    angle: float


LURES = {"electrode": (0.014, 0.018), "granuloma": (0.007, 0.010), "clip": (0.014, 0.020)}
"""Kind → smallest and largest radius."""


def place_lures(chest: Chest, rng: np.random.Generator) -> list[Lure]:
    """None (10 %), one (40 %), two (30 %) or three (20 %) lures, apart from one another."""
    out: list[Lure] = []
    for _ in range(int(rng.choice(4, p=[0.1, 0.4, 0.3, 0.2]))):
        kind = list(LURES)[int(rng.integers(len(LURES)))]
        radius = float(rng.uniform(*LURES[kind]))
        for _ in range(20):
            centre = np.array([rng.uniform(-0.30, 0.30), rng.uniform(0.10, 0.80)])
            if all(np.hypot(*(centre - other.centre)) > 0.12 for other in out):
                break
        out.append(Lure(kind, centre, radius, float(rng.uniform(0, np.pi))))
    return out
