"""One synthetic chest radiograph with its truth: a pure function of (seed, index, size)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from capture.gaze.simulate.reader import PROTOCOL, phrase
from gazex.findings import PHANTOM_FINDINGS, SIDED
from gazex.phantoms.anatomy import FIELD_MM, Chest, Points, draw_chest, region_boxes
from gazex.phantoms.pathology import Lesion, Lure, place_lesion, place_lures
from gazex.phantoms.render import Exposure, render

TRAIN_SEED: Final = 2_604_143_161
CALIBRATION_SEED: Final = 2_604_143_162
VALIDATION_SEED: Final = 2_604_143_163
TEST_SEED: Final = 2_604_143_171
"""Seeds of the splits. Settings are tuned on the validation series; the test seed is frozen: nothing is ever trained or
tuned on its phantoms.
"""

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class PhantomFinding:
    """A finding that is there.

    Attributes
    ----------
    finding
        CheXbert name.
    side
        Patient's side, "left" or "right", or "" for the heart.
    box
        `[x0, y0, x1, y1]`, image pixels: the extent of the outline within the image.
    outline
        Closed polygon ((x, y), …), image pixels.
    """

    finding: str
    side: str
    box: Box
    outline: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Phantom:
    """A synthetic radiograph.

    Attributes
    ----------
    pixels
        uint16 [rows, columns], `bits_stored` bits, bright where dense (MONOCHROME2 sense).
    pixel_spacing_mm
        (between rows, between columns) at the detector, mm.
    findings
        What is there, in inspection order; empty for a normal phantom.
    regions
        Anatomical region → box `[x0, y0, x1, y1]`, image pixels.
    report
        The true report: one sentence for each of `PHANTOM_FINDINGS`, affirming or denying it.
    lures
        Boxes of what is conspicuous and no finding (electrodes, calcified spots, clips), image pixels: a reader looks
        at it and does not speak of it.
    """

    seed: int
    index: int
    rows: int
    columns: int
    pixels: NDArray[np.uint16]
    bits_stored: int
    pixel_spacing_mm: tuple[float, float]
    findings: list[PhantomFinding] = field(default_factory=list)
    regions: dict[str, Box] = field(default_factory=dict)
    report: list[str] = field(default_factory=list)
    lures: list[Box] = field(default_factory=list)

    @property
    def labels(self) -> dict[str, str]:
        """Finding → side ("" where it has none) of everything that is there."""
        return {f.finding: f.side for f in self.findings}


def make_phantom(
    seed: int,
    index: int,
    size: tuple[int, int] = (1024, 1024),
    *,
    subtlety: float = 0.35,
    normal_share: float = 0.45,
    draw: bool = True,
) -> Phantom:
    """Draw phantom number `index` of the series `seed`.

    Parameters
    ----------
    seed, index
        Non-negative integers that name the phantom; the same pair always gives the same chest, at any size.
    size
        (rows, columns), each 32 to 8192.
    subtlety
        0 (plain findings) to 1 (easily missed).
    normal_share
        Probability that nothing is there.
    draw
        False leaves the pixels zero: the truth alone, many times faster.

    Raises
    ------
    ValueError
        A size, a subtlety or a share out of range.
    """
    rows, columns = size
    if not (32 <= rows <= 8192 and 32 <= columns <= 8192):
        raise ValueError(f"A phantom of {rows}×{columns} pixels cannot be drawn; rows and columns run from 32 to 8192.")
    if not 0 <= subtlety <= 1:
        raise ValueError(f"Subtlety is {subtlety}; give a number from 0 (plain) to 1 (easily missed).")
    if not 0 <= normal_share <= 1:
        raise ValueError(f"The share of normal phantoms is {normal_share}; give a number from 0 to 1.")
    geometry, anatomy, noise, other = (np.random.default_rng(s) for s in np.random.SeedSequence([seed, index]).spawn(4))

    wanted = _draw_findings(geometry, normal_share)
    chest = draw_chest(geometry, cardiomegaly="Cardiomegaly" in wanted, subtlety=subtlety)
    lesions = [place_lesion(f, side, chest, subtlety, geometry) for f, side in wanted.items()]
    lures = place_lures(chest, other)
    exposure = Exposure(
        gain=float(geometry.uniform(1500, 2400)),
        offset=float(geometry.uniform(150, 700)),
        noise=float(geometry.uniform(0.02, 0.05)),
        marker=str(geometry.choice(["", "R", "L", "L"])),
    )
    report = [phrase(f, wanted.get(f, ""), present=f in wanted, rng=geometry) for f, _ in PROTOCOL]
    pixels = np.zeros((rows, columns), np.uint16)
    if draw:
        pixels = render(chest, lesions, exposure, rows, columns, anatomy, noise, lures)
    return Phantom(
        seed=seed,
        index=index,
        rows=rows,
        columns=columns,
        pixels=pixels,
        bits_stored=12,
        pixel_spacing_mm=(FIELD_MM / rows, FIELD_MM / rows),
        findings=[_reference(lesion, chest, rows, columns) for lesion in lesions],
        regions={name: _box(_to_pixels(p, rows, columns), rows, columns) for name, p in region_boxes(chest).items()},
        report=report,
        lures=[_lure_box(lure, chest, rows, columns) for lure in lures],
    )


def _draw_findings(rng: np.random.Generator, normal_share: float) -> dict[str, str]:
    """Finding → side: none with probability `normal_share`, else one (60 %), two (30 %) or three (10 %)."""
    sides = {f: ("left", "right")[int(rng.integers(2))] if f in SIDED else "" for f in PHANTOM_FINDINGS}
    count = int(rng.choice([1, 2, 3], p=[0.6, 0.3, 0.1]))
    chosen = set(rng.permutation(len(PHANTOM_FINDINGS))[:count].tolist())
    if rng.random() < normal_share:
        return {}
    return {f: sides[f] for i, f in enumerate(PHANTOM_FINDINGS) if i in chosen}


def _to_pixels(points: Points, rows: int, columns: int) -> Points:
    """Detector coordinates → image pixels whose centres are integers."""
    return np.stack([points[:, 0] * rows + columns / 2 - 0.5, points[:, 1] * rows - 0.5], axis=1)


def _box(points: Points, rows: int, columns: int) -> Box:
    x = np.clip(points[:, 0], 0, columns - 1)
    y = np.clip(points[:, 1], 0, rows - 1)
    return float(x.min()), float(y.min()), float(x.max()), float(y.max())


def _reference(lesion: Lesion, chest: Chest, rows: int, columns: int) -> PhantomFinding:
    outline = _to_pixels(chest.place(lesion.outline), rows, columns)
    outline[:, 0] = np.clip(outline[:, 0], 0, columns - 1)
    outline[:, 1] = np.clip(outline[:, 1], 0, rows - 1)
    return PhantomFinding(
        finding=lesion.finding,
        side=lesion.side,
        box=_box(outline, rows, columns),
        outline=tuple((float(x), float(y)) for x, y in outline),
    )


def _lure_box(lure: Lure, chest: Chest, rows: int, columns: int) -> Box:
    corners = lure.centre + lure.radius * np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])
    return _box(_to_pixels(chest.place(corners), rows, columns), rows, columns)
