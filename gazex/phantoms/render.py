"""Paint a chest: attenuation is summed organ by organ and turned into detector values.

Anatomy is painted at 512 rows at most and enlarged; noise is drawn at the full resolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import gaussian_filter

from gazex.phantoms.anatomy import Chest, Points, smooth_open
from gazex.phantoms.pathology import Lesion, Lure

Layer = NDArray[np.float32]
WORK_ROWS = 512
_SUPER = 2  # drawn at twice the size and averaged: Pillow's polygons have hard edges


@dataclass(frozen=True)
class Exposure:
    """How the image was taken: gain in detector units per unit of attenuation, offset, noise SD at unit attenuation."""

    gain: float
    offset: float
    noise: float
    marker: str


class Canvas:
    """Draws canonical shapes as layers with values 0–1, shape [rows, cols]."""

    def __init__(self, chest: Chest, rows: int, cols: int) -> None:
        self.chest, self.rows, self.cols = chest, rows, cols
        v, u = np.meshgrid(
            (np.arange(rows, dtype=np.float32) + 0.5) / rows,
            ((np.arange(cols, dtype=np.float32) + 0.5) / cols - 0.5) * (cols / rows),
            indexing="ij",
        )
        self.u, self.v = chest.unplace(u, v)

    def _pixels(self, points: Points) -> list[tuple[float, float]]:
        k = self.rows * _SUPER
        placed = self.chest.place(points)
        xy = np.stack([placed[:, 0] * k + self.cols * _SUPER / 2, placed[:, 1] * k], axis=1) - 0.5
        return [(float(x), float(y)) for x, y in xy]

    def _start(self) -> tuple[Image.Image, ImageDraw.ImageDraw]:
        image = Image.new("L", (self.cols * _SUPER, self.rows * _SUPER), 0)
        return image, ImageDraw.Draw(image)

    def _finish(self, image: Image.Image, blur: float) -> Layer:
        layer = np.asarray(np.asarray(image.reduce(_SUPER), np.float32) / 255, np.float32)
        return self.blur(layer, blur) if blur else layer

    def blur(self, layer: Layer, sigma: float) -> Layer:
        """Gaussian blur, `sigma` in units of the image height."""
        if sigma * self.rows < 0.3:  # below a third of a pixel nothing is blurred
            return np.asarray(layer, np.float32)
        return np.asarray(gaussian_filter(layer, sigma * self.rows, mode="nearest", truncate=3.0), np.float32)

    def polygon(self, points: Points, blur: float = 0.0) -> Layer:
        image, draw = self._start()
        draw.polygon(self._pixels(points), fill=255)
        return self._finish(image, blur)

    def lines(self, lines: list[tuple[Points, float, float]], blur: float = 0.0) -> Layer:
        """Open lines `(points, width in image heights, value 0–1)`; later ones overwrite earlier ones."""
        image, draw = self._start()
        k = self.rows * _SUPER
        placed = self.chest.place(np.concatenate([points for points, _, _ in lines])) * k
        placed += (self.cols * _SUPER / 2 - 0.5, -0.5)
        first = 0
        for points, width, value in lines:
            xy = placed[first : first + len(points)]
            first += len(points)
            w = width * k
            # A line thinner than a drawn pixel is drawn fainter instead.
            fill = int(255 * value * min(1.0, w))
            if w > 2.5 and len(points) > 3:  # a ribbon: Pillow's own joints are slow
                along = np.concatenate([xy[1:2] - xy[:1], xy[2:] - xy[:-2], xy[-1:] - xy[-2:-1]])
                across = np.stack([-along[:, 1], along[:, 0]], axis=1)
                across *= 0.5 * w / np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-9)
                draw.polygon(np.concatenate([xy + across, (xy - across)[::-1]]).ravel().tolist(), fill=fill)
            else:
                draw.line(xy.ravel().tolist(), fill=fill, width=max(1, round(w)))
        return self._finish(image, blur)


def render(
    chest: Chest,
    lesions: list[Lesion],
    exposure: Exposure,
    rows: int,
    cols: int,
    anatomy_rng: np.random.Generator,
    noise_rng: np.random.Generator,
    lures: Sequence[Lure] = (),
) -> NDArray[np.uint16]:
    """Detector values [rows, cols], 12 bits, bright where much is absorbed (MONOCHROME2)."""
    work_rows = min(rows, WORK_ROWS)
    work_cols = max(1, round(cols * work_rows / rows))
    attenuation = _attenuation(Canvas(chest, work_rows, work_cols), lesions, anatomy_rng, lures)
    if (work_rows, work_cols) != (rows, cols):
        attenuation = np.asarray(
            Image.fromarray(attenuation).resize((cols, rows), Image.Resampling.BICUBIC), np.float32
        )
    # Fewer photons arrive behind more tissue; the noise of neighbouring pixels is slightly correlated by the screen.
    # Its SD is that of a 1024-row detector; a coarser grid averages it down.
    noise = noise_rng.standard_normal((rows, cols), dtype=np.float32)
    if rows >= WORK_ROWS:
        noise = (noise + np.roll(noise, 1, 0) + np.roll(noise, 1, 1)) / np.float32(1.732)
    sd = exposure.noise * min(1.0, rows / 1024) * np.exp(0.55 * (attenuation - 1.0))
    values = exposure.offset + exposure.gain * _tone(attenuation + sd * noise)
    if exposure.marker:
        _stamp(values, exposure.marker)
    return np.clip(np.rint(values), 0, 4095).astype(np.uint16)


def _tone(x: NDArray[np.floating]) -> NDArray[np.floating]:
    """The film's curve: a gentle S that lifts the lungs and compresses the abdomen."""
    return 1.15 * x / (1 + 0.22 * np.maximum(x, 0))


def _stamp(values: NDArray[np.floating], letter: str) -> None:
    """A lead side marker in the upper corner of its side (the patient's right is on the image's left)."""
    rows, cols = values.shape
    size = max(6, rows // 22)
    image = Image.new("L", (cols, rows), 0)
    x = int(0.035 * cols) if letter == "R" else int(0.965 * cols) - size
    ImageDraw.Draw(image).text((x, int(0.10 * rows)), letter, fill=255, font=ImageFont.load_default(size))
    mask = np.asarray(image, np.float32) / 255
    values += mask * (np.float32(np.percentile(values[::8, ::8], 99.5)) - values) * 0.95


def _attenuation(c: Canvas, lesions: list[Lesion], rng: np.random.Generator, lures: Sequence[Lure]) -> Layer:
    chest, u, v = c.chest, c.u, c.v
    fat = chest.habitus
    lungs = {side: c.polygon(outline, 0.0022) for side, outline in chest.lungs.items()}
    lung = lungs["left"] + lungs["right"]

    # Soft tissue: a flat ellipse in cross-section, thicker at shoulders and abdomen.
    half = 0.395 + 0.03 * fat
    body = c.polygon(_body(half), 0.004)
    across = np.sqrt(np.clip(1 - (u / (half + 0.02)) ** 2, 0.02, 1))
    thickness = (0.72 + 0.10 * fat) * (0.35 + 0.65 * across)
    thickness = thickness + 0.34 / (1 + np.exp(-(v - 0.73) / 0.05)) * across
    thickness = thickness + 0.16 * np.exp(-((v - 0.12) ** 2) / 0.006) * np.exp(-((np.abs(u) - 0.30) ** 2) / 0.02)
    out = body * thickness

    # Lungs: air takes away most where the lung is deepest; the bases lie behind more tissue.
    deep = 0.42 + 0.12 * np.sin(np.pi * np.clip((v - 0.10) / 0.62, 0, 1)) - 0.05 * fat
    side_fall = np.clip(1.05 - 2.0 * (np.abs(u) - 0.17) ** 2 / 0.04, 0.72, 1)
    out = out - lung * deep * side_fall
    texture = c.blur(rng.standard_normal(u.shape, dtype=np.float32), 0.006) * (0.006 * c.rows) * 3.5
    out = out + lung * np.float32(0.012) * texture

    heart = c.polygon(chest.heart, 0.0045)
    out = out + heart * (0.17 + 0.20 * lung)
    out = out + c.polygon(_mediastinum(rng), 0.006) * (0.10 + 0.16 * lung)
    # Below the domes: liver, stomach with its bubble.
    bubble = np.exp(-(((u - 0.13) / 0.045) ** 2 + ((v - 0.735) / 0.022) ** 2)) * rng.uniform(0.05, 0.28)
    out = out - bubble * (1 - lung) * (1 - heart)
    if fat > 0.45:  # breast shadows
        for sign in (-1, 1):
            r = ((u - sign * 0.185) / 0.125) ** 2 + ((v - 0.60) / 0.115) ** 2
            out = out + body * 0.11 * (fat - 0.25) / (1 + np.exp((r - 1) * 9)) * (1 + 0.3 * (v > 0.6))

    vessels = _vessels(c, rng) * lung
    bones = _bones(c, rng)
    out = _paint_lesions(c, out, vessels, lungs, heart, lesions)
    out = out + bones * body + _lures(c, lures)
    # The trachea and main bronchi hold air.
    airway = c.lines(
        [
            (np.array([(0.0, 0.0), (0.002, 0.16), (0.0, 0.285)]), 0.036, 1.0),
            (np.array([(0.0, 0.28), (-0.03, 0.33), (-0.06, 0.365)]), 0.022, 0.75),
            (np.array([(0.0, 0.28), (0.035, 0.325), (0.075, 0.35)]), 0.020, 0.65),
        ],
        0.004,
    )
    out = out - 0.15 * airway * body
    return np.asarray(np.maximum(c.blur(np.asarray(out, np.float32), 0.0009), -0.02), np.float32)


def _body(half: float) -> Points:
    right = [
        (0.075, -0.05), (0.085, 0.03), (0.13, 0.065), (0.26, 0.095), (0.40, 0.135), (0.50, 0.21), (0.56, 0.33),
        (0.57, 0.45), (half + 0.06, 0.36), (half + 0.005, 0.40), (half - 0.008, 0.55), (half - 0.012, 0.75),
        (half, 1.1),
    ]  # fmt: skip
    left = [(-x, y) for x, y in reversed(right)]
    return np.array(right + left)


def _mediastinum(rng: np.random.Generator) -> Points:
    knob = 0.060 + rng.uniform(-0.004, 0.012)
    return np.array(
        [
            (-0.040, 0.05), (-0.044, 0.20), (-0.050, 0.28), (-0.052, 0.36), (-0.060, 0.44), (-0.055, 0.60),
            (-0.050, 0.98), (0.050, 0.98), (0.052, 0.60), (0.062, 0.42), (0.060, 0.36), (knob - 0.012, 0.325),
            (knob, 0.29),
            (knob - 0.008, 0.255), (0.044, 0.22), (0.040, 0.05),
        ]
    )  # fmt: skip


def _rib(k: int, sign: float, jitter: float) -> tuple[Points, Points]:
    """Posterior and anterior course of rib k (0 is the first)."""
    start = 0.118 + 0.0555 * k + jitter
    reach = (0.150, 0.205, 0.245, 0.272, 0.291, 0.303, 0.311, 0.316, 0.318, 0.318)[k]
    drop = 0.018 + 0.0115 * k
    t = np.linspace(0, 1, 14)
    back = np.stack(
        [0.030 + (reach - 0.030) * np.sin(t * np.pi / 2) ** 0.92, start - 0.022 * np.sin(np.pi * t) + drop * t**2.2],
        axis=1,
    )
    s = np.linspace(0, 1, 14)
    fall = 0.062 + 0.0105 * k
    inner = 0.075 + 0.0125 * k
    front = np.stack(
        [reach - (reach - inner) * s**1.35, start + drop + 0.018 * np.sin(np.pi * s / 2) + fall * s**1.1], axis=1
    )
    return back * (sign, 1), front * (sign, 1)


def _bones(c: Canvas, rng: np.random.Generator) -> Layer:
    backs: list[tuple[Points, float, float]] = []
    fronts: list[tuple[Points, float, float]] = []
    for sign in (-1.0, 1.0):
        for k in range(10):
            back, front = _rib(k, sign, rng.normal(0, 0.002))
            width = 0.0185 + 0.0005 * k
            backs += [(back, width, 0.95), (back, width * 0.70, 0.66)]  # cortex outside, marrow inside
            if k < 7:
                fronts += [(front, width * 1.05, 0.9), (front, width * 0.78, 0.66)]
    out = 0.145 * c.lines(backs, 0.0012) + 0.105 * c.lines(fronts, 0.0016)
    clavicles: list[tuple[Points, float, float]] = []
    scapulae: list[tuple[Points, float, float]] = []
    tilt = rng.normal(0, 0.008)
    for sign in (-1.0, 1.0):
        course = np.array([(0.028, 0.178), (0.07, 0.165), (0.13, 0.160), (0.19, 0.138), (0.26, 0.112), (0.34, 0.105)])
        course[:, 1] += sign * tilt
        line = smooth_open(course, 2) * (sign, 1)
        clavicles += [(line, 0.024, 0.95), (line, 0.016, 0.62)]
        blade = smooth_open(
            np.array([(0.325, 0.13), (0.300, 0.21), (0.292, 0.31), (0.318, 0.40), (0.36, 0.36), (0.40, 0.20)]), 2
        ) * (sign, 1)
        scapulae.append((blade, 0.008, 0.9))
        out = out + 0.045 * c.polygon(blade, 0.003)
    out = out + 0.15 * c.lines(clavicles, 0.0013) + 0.05 * c.lines(scapulae, 0.003)
    # Spine: vertebral bodies with discs between them, end plates brighter.
    column = np.exp(-np.square(np.square(c.u / 0.036))) * (c.v > -0.05)
    beat = np.cos(2 * np.pi * c.v / 0.052 + rng.uniform(0, 6.28))
    spine = column * (0.115 + 0.03 * np.clip(beat, -0.4, 1)) * (0.75 + 0.5 * (c.v > 0.68))
    pedicle = np.exp(-(((np.abs(c.u) - 0.022) / 0.006) ** 2)) * np.clip(beat, 0, 1) * 0.035
    return np.asarray(out + spine + pedicle, np.float32)


def _vessels(c: Canvas, rng: np.random.Generator) -> Layer:
    """Arteries and veins as random trees from the hila, thinner with every branching; grown level by level."""
    sign = np.repeat([-1.0, 1.0], 7)
    spread = np.tile(np.linspace(-1.25, 1.35, 7), 2) + rng.normal(0, 0.10, 14)
    start = np.stack([sign * 0.062, np.where(sign < 0, 0.385, 0.365)], axis=1) + rng.normal(0, 0.008, (14, 2))
    angle = np.where(sign > 0, spread, np.pi - spread)
    length = rng.uniform(0.06, 0.085, 14)
    width, value = 0.0105, 0.95
    lines: list[tuple[Points, float, float]] = []
    for _ in range(4):
        n = len(angle)
        bend = angle + rng.normal(0, 0.16, n)
        middle = start + 0.5 * length[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        end = middle + 0.5 * length[:, None] * np.stack([np.cos(bend), np.sin(bend)], axis=1)
        paths = np.stack([start, middle, end], axis=1)
        lines = [(path, width, value) for path in paths] + lines  # thick ones are drawn last, over the thin
        start = np.repeat(end, 2, axis=0)
        angle = np.repeat(bend, 2) + np.tile([-1.0, 1.0], n) * rng.uniform(0.22, 0.55, 2 * n)
        length = np.repeat(length, 2) * rng.uniform(0.62, 0.85, 2 * n)
        width, value = width * 0.70, value * 0.82
    tree = c.lines(lines, 0.0011)
    hila = sum(
        np.exp(-(((c.u - s * 0.068) / 0.024) ** 2 + ((c.v - (0.385 if s < 0 else 0.365)) / 0.045) ** 2))
        for s in (-1, 1)
    )
    return np.asarray(0.17 * tree + 0.13 * hila, np.float32)


def _lures(c: Canvas, lures: Sequence[Lure]) -> Layer | float:
    """Metal and calcium: brighter than any finding, with hard edges."""
    lines: list[tuple[Points, float, float]] = []
    for lure in lures:
        turn = np.linspace(0, 2 * np.pi, 28)
        ring = lure.centre + lure.radius * np.stack([np.cos(turn), np.sin(turn)], axis=1)
        along = lure.radius * np.array([np.cos(lure.angle), np.sin(lure.angle)])
        if lure.kind == "electrode":
            lines += [
                (ring, 0.006, 0.9),
                (np.stack([lure.centre - 0.2 * along, lure.centre + 0.2 * along]), 0.008, 1.0),
            ]
        elif lure.kind == "granuloma":
            lines.append((lure.centre + (ring - lure.centre) * 0.5, lure.radius * 1.1, 0.9))
        else:
            lines.append((np.stack([lure.centre - along, lure.centre + along]), 0.007, 1.0))
    return 0.42 * c.lines(lines, 0.0008) if lines else 0.0


def _paint_lesions(
    c: Canvas, out: Layer, vessels: Layer, lungs: dict[str, Layer], heart: Layer, lesions: list[Lesion]
) -> Layer:
    keep = np.ones_like(vessels)
    for lesion in lesions:
        k = lesion.strength
        if lesion.finding == "Pneumothorax":
            air = c.polygon(lesion.outline, 0.0015)
            keep = keep * (1 - air)
            line = c.lines([(lesion.edge, 0.0042, 1.0)], 0.0008)
            out = out - 0.085 * k * air + 0.12 * k * line + 0.03 * k * (lungs[lesion.side] * (1 - air))
        elif lesion.finding == "Pleural Effusion":
            fluid = c.polygon(lesion.outline, 0.004)
            keep = keep * (1 - 0.8 * fluid)
            out = out + (0.30 + 0.07 * k) * fluid * lungs[lesion.side] * (1 - 0.75 * heart) * np.clip(
                1.25 - 2.2 * np.abs(c.u), 0.5, 1
            )
        elif lesion.finding == "Lung Lesion":
            ball = c.polygon(lesion.outline, 0.0022)
            centre = lesion.outline.mean(0)
            radius = np.linalg.norm(lesion.outline - centre, axis=1).mean()
            r2 = ((c.u - centre[0]) ** 2 + (c.v - centre[1]) ** 2) / radius**2
            out = out + 0.235 * k * ball * (0.55 + 0.45 * np.sqrt(np.clip(1 - r2, 0, 1)))
        elif lesion.finding == "Consolidation":
            rng = np.random.default_rng(lesion.seed)
            patch = c.polygon(lesion.outline, 0.010)
            mottle = c.blur(rng.standard_normal(c.u.shape, dtype=np.float32), 0.008) * (0.008 * c.rows) * 3.5
            centre = lesion.outline.mean(0)
            hilum = np.array([np.sign(centre[0]) * 0.06, 0.38])
            bronchi: list[tuple[Points, float, float]] = []
            for _ in range(5):
                tip = lesion.outline[int(rng.integers(len(lesion.outline)))]
                bronchi.append(
                    (np.array([hilum + 0.5 * (centre - hilum), centre, 0.4 * centre + 0.6 * tip]), 0.005, 0.9)
                )
            air = c.lines(bronchi, 0.0015)
            out = out + 0.25 * k * patch * np.clip(1 + 0.20 * mottle, 0.3, 1.5) * (1 - 0.55 * air)
            keep = keep * (1 - 0.6 * patch)
    return np.asarray(out + vessels * keep, np.float32)
