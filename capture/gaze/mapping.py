"""From a point on the screen to a point in the image, through what was on the screen at that moment.

The viewer records every drawn frame's state: the matrix `a = [a, b, c, d, e, f]` that takes image pixels to CSS pixels
of the page (x' = a·x + c·y + e, y' = b·x + d·y + f), where the page lies on the screen and the device pixel ratio.
Screen pixels are (a(image) + (screenX, screenY)) × dpr; gaze goes the other way through the inverse. A state is on the
screen from its own time until the next state's. `tests/golden/affine.json` holds this module and the viewer to the same
numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .display import Display

Floats = NDArray[np.float64]


class Mapped(NamedTuple):
    """What `to_image` answers for N samples.

    image_xy [N, 2] image px (NaN where no image was on the screen), inside [N] (on the drawn part of the image),
    ppd_x, ppd_y [N] image px per degree along the image's columns and rows, state [N] index or -1.
    """

    image_xy: Floats
    inside: NDArray[np.bool_]
    ppd_x: Floats
    ppd_y: Floats
    state: NDArray[np.int64]


@dataclass(frozen=True)
class ViewportStates:
    """What was on the screen, a structure of arrays in order of time.

    Attributes
    ----------
    t
        LSL seconds from which each state was on the screen, [M], ascending.
    matrix
        Image pixels to screen pixels, [M, 6].
    css
        Image pixels to CSS pixels of the page as recorded, [M, 6].
    rect
        Canvas in screen pixels: left, top, width, height, [M, 4].
    shown
        Whether the page was visible, [M].
    rows, columns
        Size of the image in pixels.
    display
        The tracked display.
    """

    t: Floats
    matrix: Floats
    css: Floats
    rect: Floats
    shown: NDArray[np.bool_]
    rows: int
    columns: int
    display: Display

    def __post_init__(self) -> None:
        m = len(self.t)
        for name, shape in (("matrix", (m, 6)), ("css", (m, 6)), ("rect", (m, 4)), ("shown", (m,))):
            if getattr(self, name).shape != shape:
                raise ValueError(f"{name} has shape {getattr(self, name).shape}, {shape} is needed for {m} states.")
        if m and (np.diff(self.t) < 0).any():
            raise ValueError("The viewport states are not in order of time.")

    def __len__(self) -> int:
        return len(self.t)

    @classmethod
    def from_records(
        cls, records: Sequence[Mapping[str, Any]], t_lsl: ArrayLike, *, rows: int, columns: int, display: Display
    ) -> ViewportStates:
        """States as the page recorded them (`a`, `rect`, `dpr`, `screenX`, `screenY`, `visible`), with LSL times [M].

        Raises ValueError, naming the state's sequence number, for one whose matrix has no inverse.
        """
        t = np.asarray(t_lsl, dtype=np.float64)
        order = np.argsort(t, kind="stable")
        css = np.array([r["a"] for r in records], dtype=np.float64).reshape(-1, 6)
        rect = np.array([r["rect"] for r in records], dtype=np.float64).reshape(-1, 4)
        dpr = np.array([r["dpr"] for r in records], dtype=np.float64)
        origin = np.array([[r["screenX"], r["screenY"]] for r in records], dtype=np.float64).reshape(-1, 2)
        shown = np.array([bool(r.get("visible", True)) for r in records], dtype=bool)
        matrix = screen_matrix(css, origin, dpr)
        det = matrix[:, 0] * matrix[:, 3] - matrix[:, 1] * matrix[:, 2]
        bad = ~(np.isfinite(det) & (np.abs(det) > 1e-12))
        if bad.any():
            which = records[int(np.flatnonzero(bad)[0])].get("seq", int(np.flatnonzero(bad)[0]))
            raise ValueError(f"Viewport state {which} has a matrix without an inverse.")
        screen_rect = rect.copy()
        screen_rect[:, :2] += origin
        screen_rect *= dpr[:, None]
        return cls(t[order], matrix[order], css[order], screen_rect[order], shown[order], rows, columns, display)

    def at(self, t_lsl: ArrayLike) -> NDArray[np.int64]:
        """Index of the state on the screen at each time [N]; -1 before the first."""
        return np.searchsorted(self.t, np.asarray(t_lsl, dtype=np.float64), side="right") - 1

    def inverse(self) -> Floats:
        """Screen pixels to image pixels, [M, 6]."""
        a, b, c, d, e, f = self.matrix.T
        det = a * d - b * c
        return np.stack([d, -b, -c, a, c * f - d * e, b * e - a * f], axis=1) / det[:, None]

    def pixels_per_degree(self) -> tuple[Floats, Floats]:
        """Image pixels per degree along columns (x) and along rows (y), each [M], at the display's centre."""
        a, b, c, d, _, _ = self.matrix.T
        mm_x, mm_y = self.display.mm_per_px
        degree_mm = self.display.distance_mm * np.tan(np.radians(1.0))
        return degree_mm / np.hypot(a * mm_x, b * mm_y), degree_mm / np.hypot(c * mm_x, d * mm_y)

    def visible_rect(self) -> Floats:
        """The part of the image that each state shows: x0, y0, x1, y1 in image px, cut at the image's edges, [M, 4].

        Under rotation it is the box around the visible part. A state that shows nothing of the image has x1 <= x0 or
        y1 <= y0.
        """
        left, top, width, height = self.rect.T
        u = np.stack([left, left + width, left, left + width], axis=1)
        v = np.stack([top, top, top + height, top + height], axis=1)
        i = self.inverse()[:, :, None]
        x = i[:, 0] * u + i[:, 2] * v + i[:, 4]
        y = i[:, 1] * u + i[:, 3] * v + i[:, 5]
        return np.stack(
            [
                np.clip(x.min(1), -0.5, self.columns - 0.5),
                np.clip(y.min(1), -0.5, self.rows - 0.5),
                np.clip(x.max(1), -0.5, self.columns - 0.5),
                np.clip(y.max(1), -0.5, self.rows - 0.5),
            ],
            axis=1,
        )

    def views(self) -> NDArray[np.int64]:
        """A number per state [M] that changes only where the geometry on the screen does (not its grey levels)."""
        if not len(self):
            return np.zeros(0, dtype=np.int64)
        # A hundredth of a screen pixel at every corner of the image is no change anybody could see.
        corners = np.array([[0, 0], [self.columns, 0], [0, self.rows], [self.columns, self.rows]], dtype=np.float64)
        a, b, c, d, e, f = (column[:, None] for column in self.matrix.T)
        x = a * corners[:, 0] + c * corners[:, 1] + e
        y = b * corners[:, 0] + d * corners[:, 1] + f
        moved = (np.abs(np.diff(x, axis=0)).max(1) > 0.01) | (np.abs(np.diff(y, axis=0)).max(1) > 0.01)
        moved |= np.diff(self.shown)
        return np.r_[0, np.cumsum(moved)]


def screen_matrix(css: Floats, origin: Floats, dpr: Floats) -> Floats:
    """Image → CSS matrices [M, 6] as image → screen pixels: plus the page's origin [M, 2], times dpr [M]."""
    out = np.array(css, dtype=np.float64)
    out[:, 4:] += origin
    return out * np.asarray(dpr, dtype=np.float64)[:, None]


def to_image(t_lsl: ArrayLike, screen_px_xy: ArrayLike, states: ViewportStates) -> Mapped:
    """Map gaze on the screen to the image.

    Parameters
    ----------
    t_lsl
        Sample times, LSL seconds, [N].
    screen_px_xy
        Gaze in screen pixels, [N, 2]; NaN where there is none.
    states
        What was on the screen.

    Returns
    -------
    Mapped
        See there. A sample before the first state, or while the page was hidden, has no image position. One beside the
        image has a position (it may be negative) and is not `inside`.
    """
    t = np.asarray(t_lsl, dtype=np.float64)
    xy = np.asarray(screen_px_xy, dtype=np.float64)
    if xy.shape != (len(t), 2):
        raise ValueError(f"screen_px_xy has shape {xy.shape}, [{len(t)}, 2] is needed for {len(t)} times.")
    image = np.full((len(t), 2), np.nan)
    ppd = np.full((2, len(t)), np.nan)
    inside = np.zeros(len(t), dtype=bool)
    if not len(states):
        return Mapped(image, inside, ppd[0], ppd[1], np.full(len(t), -1, dtype=np.int64))
    state = states.at(t)
    on = state >= 0
    on[on] = states.shown[state[on]]
    where = np.flatnonzero(on)
    s = state[where]
    u, v = xy[where, 0], xy[where, 1]
    i = states.inverse()
    x = i[s, 0] * u + i[s, 2] * v + i[s, 4]
    y = i[s, 1] * u + i[s, 3] * v + i[s, 5]
    image[where, 0], image[where, 1] = x, y
    r = states.rect
    with np.errstate(invalid="ignore"):
        inside[where] = (
            (x >= -0.5)
            & (x <= states.columns - 0.5)
            & (y >= -0.5)
            & (y <= states.rows - 0.5)
            & (u >= r[s, 0])
            & (u <= r[s, 0] + r[s, 2])
            & (v >= r[s, 1])
            & (v <= r[s, 1] + r[s, 3])
        )
    ppd_x, ppd_y = states.pixels_per_degree()
    ppd[0, where], ppd[1, where] = ppd_x[s], ppd_y[s]
    return Mapped(image, inside, ppd[0], ppd[1], np.where(on, state, -1))
