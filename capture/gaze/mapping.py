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
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .display import Display
from .events.compiled import Loop

Floats = NDArray[np.float64]

#: Samples mapped at a time: their intermediate arrays stay in the processor's cache.
_CHUNK = 16384
#: One degree, as the tangent that `Display.px_per_degree` uses too.
_DEGREE = float(np.tan(np.radians(1.0)))


class Mapped(NamedTuple):
    """What `to_image` answers for N samples.

    image_xy [N, 2] image px (NaN where no image was on the screen), inside [N] (on the drawn part of the image),
    ppd_x, ppd_y [N] image px per degree along the image's columns and rows where the eye looks (at the display's centre
    while gaze is lost), state [N] index or -1.
    """

    image_xy: Floats
    inside: NDArray[np.bool_]
    ppd_x: Floats
    ppd_y: Floats
    state: NDArray[np.int64]


class Seen(NamedTuple):
    """What was on the screen at N moments; NaN, False and -1 where no image was.

    image_rect [N, 4]
        The part of the image that was shown: x0, y0, x1, y1 in image px (edges: a whole image is -0.5 to size - 0.5).
    screen_rect [N, 4]
        Where that part lay on the screen: x0, y0, x1, y1 in screen px.
    window_width, window_level [N]
        Grey level window in effect, in units of the stored frame; NaN where the log does not say.
    visible, focus [N]
        Whether the page was visible, and whether it had the keyboard.
    seq [N]
        The state's own number in the page's log.
    """

    image_rect: Floats
    screen_rect: Floats
    window_width: Floats
    window_level: Floats
    visible: NDArray[np.bool_]
    focus: NDArray[np.bool_]
    seq: NDArray[np.int64]


@dataclass(frozen=True)
class ViewportStates:
    """What was on the screen, a structure of arrays in order of time.

    Attributes
    ----------
    t
        LSL seconds from which each state was on the screen, [M], ascending.
    matrix
        Image pixels to screen pixels, [M, 6].
    rect
        Canvas in screen pixels: left, top, width, height, [M, 4].
    shown, focus
        Whether the page was visible, and whether it had the keyboard, [M].
    window
        Grey level window: width, level, [M, 2]; NaN where the log does not say.
    seq
        The number of each state in the page's log, [M].
    rows, columns
        Size of the image in pixels.
    display
        The tracked display.
    """

    t: Floats
    matrix: Floats
    rect: Floats
    shown: NDArray[np.bool_]
    focus: NDArray[np.bool_]
    window: Floats
    seq: NDArray[np.int64]
    rows: int
    columns: int
    display: Display

    #: The arrays, by name, for whoever stores them.
    ARRAYS: ClassVar[tuple[str, ...]] = ("t", "matrix", "rect", "shown", "focus", "window", "seq")

    def __post_init__(self) -> None:
        m = len(self.t)
        shapes = {"matrix": (m, 6), "rect": (m, 4), "window": (m, 2), "shown": (m,), "focus": (m,), "seq": (m,)}
        for name, shape in shapes.items():
            if getattr(self, name).shape != shape:
                raise ValueError(f"{name} has shape {getattr(self, name).shape}, {shape} is needed for {m} states.")
        if m and not (np.diff(self.t) >= 0).all():
            raise ValueError("The viewport states are not in order of time.")

    def __len__(self) -> int:
        return len(self.t)

    @classmethod
    def from_records(
        cls, records: Sequence[Mapping[str, Any]], t_lsl: ArrayLike, *, rows: int, columns: int, display: Display
    ) -> ViewportStates:
        """States as the page recorded them, with LSL times [M].

        A record has `a`, `rect`, `dpr`, `screenX`, `screenY`; those of older pages may lack `visible`, `focus` (taken
        as true), `view.ww`, `view.wc` (NaN) and `seq` (their place).

        Raises ValueError, naming the state's sequence number, for one whose matrix has no inverse.
        """
        t = np.asarray(t_lsl, dtype=np.float64)
        css = np.array([r["a"] for r in records], dtype=np.float64).reshape(-1, 6)
        rect = np.array([r["rect"] for r in records], dtype=np.float64).reshape(-1, 4)
        dpr = np.array([r["dpr"] for r in records], dtype=np.float64)
        origin = np.array([[r["screenX"], r["screenY"]] for r in records], dtype=np.float64).reshape(-1, 2)
        shown, focus = (np.array([bool(r.get(k, True)) for r in records], dtype=bool) for k in ("visible", "focus"))
        views = [r.get("view") or {} for r in records]
        window = np.array([[_number(v.get("ww")), _number(v.get("wc"))] for v in views], np.float64).reshape(-1, 2)
        seq = np.array([r.get("seq", i) for i, r in enumerate(records)], dtype=np.int64)
        matrix = screen_matrix(css, origin, dpr)
        bad = np.flatnonzero(~_invertible(matrix))
        if len(bad):
            raise ValueError(f"Viewport state {seq[bad[0]]} has a matrix without an inverse.")
        screen_rect = rect.copy()
        screen_rect[:, :2] += origin
        screen_rect *= dpr[:, None]
        arrays: tuple[Any, ...] = (t, matrix, screen_rect, shown, focus, window, seq)
        return cls._in_order(arrays, rows, columns, display)

    @classmethod
    def from_rectangles(
        cls,
        t_lsl: ArrayLike,
        image_rect: ArrayLike,
        screen_rect: ArrayLike,
        *,
        window: ArrayLike | None = None,
        rows: int,
        columns: int,
        display: Display,
    ) -> ViewportStates:
        """States of an upright image of which each shows `image_rect` at `screen_rect` (as in `Seen`), both [M, 4].

        For recordings made elsewhere, which tell what was on the screen in this way. `window` is width, level [M, 2].
        Raises ValueError, naming the row, for a rectangle without an area.
        """
        t = np.asarray(t_lsl, dtype=np.float64)
        image, screen = (np.asarray(r, dtype=np.float64).reshape(-1, 4) for r in (image_rect, screen_rect))
        size, drawn = image[:, 2:] - image[:, :2], screen[:, 2:] - screen[:, :2]
        bad = np.flatnonzero(~((size > 0) & (drawn > 0) & np.isfinite(size) & np.isfinite(drawn)).all(axis=1))
        if len(bad):
            raise ValueError(f"Row {bad[0]}: the part of the image that was shown, or its place, has no area.")
        scale = drawn / size
        shift = screen[:, :2] - scale * image[:, :2]
        zero = np.zeros(len(t))
        matrix = np.column_stack([scale[:, 0], zero, zero, scale[:, 1], shift])
        always = np.ones(len(t), dtype=bool)
        grey = np.full((len(t), 2), np.nan) if window is None else np.asarray(window, dtype=np.float64).reshape(-1, 2)
        rect, seq = np.c_[screen[:, :2], drawn], np.arange(len(t), dtype=np.int64)
        arrays: tuple[Any, ...] = (t, matrix, rect, always, always, grey, seq)
        return cls._in_order(arrays, rows, columns, display)

    @classmethod
    def _in_order(cls, arrays: tuple[Any, ...], rows: int, columns: int, display: Display) -> ViewportStates:
        order = np.argsort(arrays[0], kind="stable")
        named = {name: array[order] for name, array in zip(cls.ARRAYS, arrays, strict=True)}
        return cls(**named, rows=rows, columns=columns, display=display)

    def at(self, t_lsl: ArrayLike) -> NDArray[np.int64]:
        """Index of the state on the screen at each time [N]; -1 before the first, and where there is no time (NaN)."""
        return self._lookup(np.asarray(t_lsl, dtype=np.float64), np.arange(len(self)))

    def _lookup(self, t: Floats, values: NDArray[np.int64]) -> NDArray[np.int64]:
        """The value [M] of the state on the screen at each time [N], else -1."""
        values = np.r_[-1, values]
        if len(t) > 1 and (t[1:] >= t[:-1]).all():
            # Times in order: few states are looked up among many samples, not the other way round.
            first = np.searchsorted(t, self.t, side="left")
            return np.repeat(values, np.diff(np.r_[0, first, len(t)]))
        state = np.searchsorted(self.t, t, side="right")
        state[np.isnan(t)] = 0
        return np.asarray(values[state], dtype=np.int64)

    def inverse(self) -> Floats:
        """Screen pixels to image pixels, [M, 6]."""
        a, b, c, d, e, f = self.matrix.T
        det = a * d - b * c
        return np.stack([d, -b, -c, a, c * f - d * e, b * e - a * f], axis=1) / det[:, None]

    def pixels_per_degree(self) -> tuple[Floats, Floats]:
        """Image pixels per degree along columns (x) and along rows (y), each [M], at the display's centre.

        Away from the centre there are more: `to_image` gives them for each sample.
        """
        a, b, c, d, _, _ = self.matrix.T
        mm_x, mm_y = self.display.mm_per_px
        degree_mm = self.display.distance_mm * _DEGREE
        return degree_mm / np.hypot(a * mm_x, b * mm_y), degree_mm / np.hypot(c * mm_x, d * mm_y)

    def visible_rect(self) -> Floats:
        """The part of the image that each state shows: x0, y0, x1, y1 in image px, cut at the image's edges, [M, 4].

        Under a rotation that is no quarter turn it is the box around the visible part. A state that shows nothing of
        the image has x1 <= x0 or y1 <= y0.
        """
        left, top, width, height = self.rect.T
        x, y = _corners(self.inverse(), left, top, left + width, top + height)
        return _cut(x, y, -0.5, -0.5, self.columns - 0.5, self.rows - 0.5)

    def visible_rect_on_screen(self) -> Floats:
        """Where that part lies on the screen: x0, y0, x1, y1 in screen px, cut at the canvas, [M, 4]."""
        left, top, width, height = self.rect.T
        low = np.full(len(self), -0.5)
        x, y = _corners(self.matrix, low, low, low + self.columns, low + self.rows)
        return _cut(x, y, left, top, left + width, top + height)

    def seen(self, state: ArrayLike) -> Seen:
        """What was on the screen, for state indices [N] as `to_image` and a GazeTrack give them (-1: nothing was)."""
        index = np.asarray(state, dtype=np.int64)
        on = index >= 0
        if not len(self):
            on = np.zeros_like(on)
        s = index[on]
        on[on] = self.shown[s]
        s = index[on]
        image, screen = self.visible_rect(), self.visible_rect_on_screen()
        nothing = ~((image[:, 2:] > image[:, :2]) & (screen[:, 2:] > screen[:, :2])).all(axis=1)
        image[nothing] = screen[nothing] = np.nan

        def spread(values: Any, empty: Any) -> Any:
            out = np.full((len(index), *values.shape[1:]), empty, dtype=values.dtype)
            out[on] = values[s]
            return out

        window = spread(self.window, np.nan)
        return Seen(
            spread(image, np.nan),
            spread(screen, np.nan),
            window[:, 0],
            window[:, 1],
            spread(self.shown, False),
            spread(self.focus, False),
            spread(self.seq, -1),
        )

    def views(self) -> NDArray[np.int64]:
        """A number per state [M] that changes only where the geometry on the screen does (not its grey levels)."""
        if not len(self):
            return np.zeros(0, dtype=np.int64)
        # A hundredth of a screen pixel at every corner of the image is no change anybody could see.
        zero = np.zeros(len(self))
        x, y = _corners(self.matrix, zero, zero, zero + self.columns, zero + self.rows)
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
        Sample times, LSL seconds, [N]. In order of time it is fastest.
    screen_px_xy
        Gaze in screen pixels, [N, 2]; NaN where there is none.
    states
        What was on the screen.

    Returns
    -------
    Mapped
        See there. A sample before the first state, or while the page was hidden, has no image position. One beside the
        image has a position (it may be negative) and is not `inside`.

    Notes
    -----
    Pixels per degree are local: an eye D mm before the display sees the point r = (X, Y, D) mm, and an image pixel that
    is w mm there under the angle |r × w| / |r|² (at the display's centre |w| / D).
    """
    t = np.asarray(t_lsl, dtype=np.float64)
    xy = np.asarray(screen_px_xy, dtype=np.float64)
    n = len(t)
    if xy.shape != (n, 2):
        raise ValueError(f"screen_px_xy has shape {xy.shape}, [{n}, 2] is needed for {n} times.")
    # A state that shows nothing maps to nothing, like the time before the first.
    state = states._lookup(t, np.where(states.shown, np.arange(len(states)), -1))
    image, inside, ppd = np.empty((n, 2)), np.empty(n, dtype=bool), np.empty((2, n))
    table = _Table(states)
    if len(states) and _map_each.pays(n):
        _map_each.compiled(state, xy, *table.rows(), image, inside, ppd)
        return Mapped(image, inside, ppd[0], ppd[1], state)
    for start in range(0, n, _CHUNK):
        part = slice(start, min(start + _CHUNK, n))
        table.map(state[part], xy[part, 0], xy[part, 1], image[part], inside[part], ppd[:, part])
    return Mapped(image, inside, ppd[0], ppd[1], state)


class _Table:
    """What mapping needs of each state, as columns [1 + M]; the first row is for "no state" and gives NaN."""

    def __init__(self, states: ViewportStates) -> None:
        display = states.display
        self._mm = display.mm_per_px
        self._centre = display.width_mm / 2, display.height_mm / 2
        self._distance2 = display.distance_mm**2
        self._last_x, self._last_y = states.columns - 0.5, states.rows - 0.5
        left, top, width, height = states.rect.T
        a, b, c, d, _, _ = states.matrix.T
        mm_x, mm_y = self._mm
        # One image pixel along its columns and along its rows, mm on the screen.
        pixels = (a * mm_x, b * mm_y), (c * mm_x, d * mm_y)
        self._inverse = [_with_none(column) for column in states.inverse().T]
        self._edges = [_with_none(column) for column in (left, top, left + width, top + height)]
        self._pixels = [
            (_with_none(wx), _with_none(wy), _with_none(self._distance2 * (wx * wx + wy * wy))) for wx, wy in pixels
        ]

    def rows(self) -> tuple[Floats, Floats, Floats, Floats]:
        """The same for `_map_each`: inverse [M, 6], edges [M, 4], pixels [M, 6], and what all states share [8]."""
        pixels = [column for axis in self._pixels for column in axis]
        inverse, edges, along = (np.stack(c, axis=1)[1:] for c in (self._inverse, self._edges, pixels))
        shared = [*self._mm, *self._centre, self._distance2, self._last_x, self._last_y, _DEGREE]
        return inverse, edges, along, np.array(shared, dtype=np.float64)

    def map(
        self, state: NDArray[np.int64], u: Floats, v: Floats, image: Floats, inside: NDArray[np.bool_], ppd: Floats
    ) -> None:
        """Write image [n, 2], inside [n] and ppd [2, n] of samples at (u, v) screen px under the given states."""
        row = state + 1
        u, v = np.ascontiguousarray(u), np.ascontiguousarray(v)
        a, b, c, d, e, f = (column.take(row, mode="clip") for column in self._inverse)
        left, top, right, bottom = (column.take(row, mode="clip") for column in self._edges)
        x, y = _sum(a * u, c * v, e), _sum(b * u, d * v, f)
        image[:, 0], image[:, 1] = x, y
        np.greater_equal(x, -0.5, out=inside)
        for more in (x <= self._last_x, y >= -0.5, y <= self._last_y, u >= left, u <= right, v >= top, v <= bottom):
            inside &= more
        # From the display's centre in mm, r = (X, Y, D); lost gaze counts as the centre.
        across, down = u * self._mm[0] - self._centre[0], v * self._mm[1] - self._centre[1]
        lost = ~np.isfinite(across + down)
        across[lost] = down[lost] = 0.0
        length2 = _sum(across * across, down * down, self._distance2)
        length2 *= _DEGREE
        for out, (wx, wy, flat) in zip(ppd, self._pixels, strict=True):
            turn = across * wy.take(row, mode="clip")
            turn -= down * wx.take(row, mode="clip")
            turn *= turn
            turn += flat.take(row, mode="clip")
            np.divide(length2, np.sqrt(turn, out=turn), out=out)


@Loop
def _map_each(
    state: NDArray[np.int64],
    xy: Floats,
    inverse: Floats,
    edges: Floats,
    pixels: Floats,
    shared: Floats,
    image: Floats,
    inside: NDArray[np.bool_],
    ppd: Floats,
) -> None:
    """`_Table.map` sample by sample, for long recordings; to the last bit the same."""
    mm_x, mm_y, centre_x, centre_y, distance2, last_x, last_y, degree = shared
    for i in range(len(state)):
        s = state[i]
        if s < 0:
            image[i, 0] = image[i, 1] = ppd[0, i] = ppd[1, i] = np.nan
            inside[i] = False
            continue
        u, v = xy[i, 0], xy[i, 1]
        x = inverse[s, 0] * u + inverse[s, 2] * v + inverse[s, 4]
        y = inverse[s, 1] * u + inverse[s, 3] * v + inverse[s, 5]
        image[i, 0], image[i, 1] = x, y
        on_image = x >= -0.5 and x <= last_x and y >= -0.5 and y <= last_y
        inside[i] = on_image and u >= edges[s, 0] and v >= edges[s, 1] and u <= edges[s, 2] and v <= edges[s, 3]
        across, down = u * mm_x - centre_x, v * mm_y - centre_y
        if not np.isfinite(across + down):
            across = down = 0.0
        length2 = (across * across + down * down + distance2) * degree
        turn = across * pixels[s, 1] - down * pixels[s, 0]
        ppd[0, i] = length2 / np.sqrt(turn * turn + pixels[s, 2])
        turn = across * pixels[s, 4] - down * pixels[s, 3]
        ppd[1, i] = length2 / np.sqrt(turn * turn + pixels[s, 5])


def _sum(first: Floats, *others: Any) -> Floats:
    """first + others, in the memory of the first."""
    for other in others:
        first += other
    return first


def _with_none(column: Floats) -> Floats:
    return np.r_[np.nan, column]


def _corners(matrix: Floats, x0: Floats, y0: Floats, x1: Floats, y1: Floats) -> tuple[Floats, Floats]:
    """The four corners of a rectangle under each matrix [M, 6]: x [M, 4] and y [M, 4]."""
    x, y = np.stack([x0, x1, x0, x1], axis=1), np.stack([y0, y0, y1, y1], axis=1)
    a, b, c, d, e, f = (column[:, None] for column in matrix.T)
    return a * x + c * y + e, b * x + d * y + f


def _cut(x: Floats, y: Floats, left: Any, top: Any, right: Any, bottom: Any) -> Floats:
    """The box [M, 4] around corners x, y [M, 4], cut at the given edges."""
    sides = (x.min(1), left, right), (y.min(1), top, bottom), (x.max(1), left, right), (y.max(1), top, bottom)
    return np.stack([np.clip(value, low, high) for value, low, high in sides], axis=1)


def _invertible(matrix: Floats) -> NDArray[np.bool_]:
    det = matrix[:, 0] * matrix[:, 3] - matrix[:, 1] * matrix[:, 2]
    return np.asarray(np.isfinite(det) & (np.abs(det) > 1e-12))


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else float("nan")
