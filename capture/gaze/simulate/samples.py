"""Tracker samples from fixations: what an eye tracker would have reported while the eyes made a given scanpath.

Saccades follow the main sequence (duration in ms = 2.2 x amplitude in degrees + 21; Carpenter, Movements of the Eyes,
1988) with a minimum-jerk position profile (10 u^3 - 15 u^4 + 6 u^5; Flash & Hogan, J Neurosci 1985), which has the bell
shaped velocity of real saccades. During fixations each eye drifts as a random walk of 10 arcmin^2/s that starts afresh
with every fixation; the tracker adds white noise. Blinks close both eyes: no gaze, no pupil. Data loss comes in short
bursts.

`render` draws a whole scanpath at once; `Gaze` does the same incrementally, for a live simulator whose next fixation is
not known yet. Both run the same vectorised code. Numpy only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: Variance of fixational drift per second, in square degrees (10 arcmin^2/s, one axis).
DRIFT_DEG2_PER_S = 10 / 3600
#: Mean length of a burst of data loss, in samples.
LOSS_BURST = 3.0


@dataclass(frozen=True)
class Geometry:
    """The tracked display: size in device pixels and millimetres, viewing distance in millimetres."""

    width_px: int = 1280
    height_px: int = 800
    width_mm: float = 344.0
    height_mm: float = 215.0
    distance_mm: float = 600.0

    @property
    def px_per_degree(self) -> tuple[float, float]:
        """Pixels per degree of visual angle at the display's centre, in x and y."""
        mm = self.distance_mm * np.tan(np.radians(1.0))
        return float(mm * self.width_px / self.width_mm), float(mm * self.height_px / self.height_mm)

    def degrees(self, dx_px: Any, dy_px: Any) -> Any:
        """The visual angle of a distance on the display, in degrees (small angles)."""
        ppd_x, ppd_y = self.px_per_degree
        return np.hypot(np.asarray(dx_px) / ppd_x, np.asarray(dy_px) / ppd_y)


class Fixations(Protocol):
    """Fixations in display pixels; times in seconds. Arrays of one length, onsets ascending."""

    @property
    def x(self) -> Any: ...
    @property
    def y(self) -> Any: ...
    @property
    def onset_s(self) -> Any: ...
    @property
    def duration_s(self) -> Any: ...


@dataclass(frozen=True)
class Samples:
    """Binocular samples.

    `t` seconds [n]; `left`, `right` normalised display coordinates [n, 2], origin top left, NaN where not valid;
    `valid_*` bool [n]; `pupil_*` millimetres [n], NaN where not valid; `blink` bool [n].
    """

    t: Array
    left: Array
    right: Array
    valid_left: NDArray[np.bool_]
    valid_right: NDArray[np.bool_]
    pupil_left: Array
    pupil_right: Array
    blink: NDArray[np.bool_]


def saccade_duration(amplitude_deg: Any) -> Any:
    """Seconds a saccade of this many degrees takes (main sequence)."""
    return (2.2 * np.asarray(amplitude_deg) + 21.0) / 1000.0


def saccade_profile(u: Array) -> Array:
    """Share of the way covered after the share `u` of the time, clipped to 0 and 1 outside the saccade."""
    u = np.clip(u, 0.0, 1.0)
    return u**3 * (10.0 - 15.0 * u + 6.0 * u**2)


class Gaze:
    """Two eyes in front of a display, sampled as time goes on.

    Parameters
    ----------
    geometry
        The display.
    rate_hz
        Sampling rate; it scales the drift and the chance of loss per sample.
    rng
        The only source of chance.
    noise_deg
        Standard deviation of the tracker's white noise per axis, degrees.
    loss
        Share of samples lost in bursts (both eyes), 0 to below 1.
    blinks
        Blinks per minute; 0 for none.
    start
        Where the eyes are at first, display pixels; the centre by default.
    """

    def __init__(
        self,
        geometry: Geometry,
        rate_hz: float,
        rng: np.random.Generator,
        *,
        noise_deg: float = 0.1,
        loss: float = 0.005,
        blinks: float = 12.0,
        start: tuple[float, float] | None = None,
    ) -> None:
        if rate_hz <= 0:
            raise ValueError(f"rate_hz must be above 0, got {rate_hz}.")
        if not 0 <= loss < 1:
            raise ValueError(f"loss must be a share from 0 to below 1, got {loss}.")
        self.geometry, self.rate_hz = geometry, rate_hz
        self._rng, self._noise, self._loss = rng, noise_deg, loss
        self._blink_gap = 60.0 / blinks if blinks > 0 else np.inf
        place = start or (geometry.width_px / 2, geometry.height_px / 2)
        # Columns: start time, duration, from x, from y, to x, to y.
        self._moves = [(-np.inf, 0.0, *place, *place)]
        self._walk = np.zeros((2, 2))  # eye, axis: drift in degrees so far
        self._anchor = np.zeros((2, 2))  # the walk's value when the present fixation began
        self._current = 0  # movements before the one that `_anchor` belongs to have been forgotten
        self._lost = 0  # samples still to be lost of a burst that ran over the end of a chunk
        self._blink: tuple[float, float] | None = None

    @property
    def target(self) -> tuple[float, float]:
        """Where the eyes are, or where they are flying to: display pixels."""
        return self._moves[-1][4], self._moves[-1][5]

    @property
    def landing_s(self) -> float:
        """When the last movement ends."""
        return self._moves[-1][0] + self._moves[-1][1]

    def saccade(self, at_s: float, x: float, y: float) -> float:
        """Move to display pixel (x, y), starting at `at_s` or when the movement under way has landed.

        Returns the time of landing. Samples already drawn are not changed.
        """
        at_s = max(at_s, self.landing_s)
        x0, y0 = self.target
        duration = float(saccade_duration(self.geometry.degrees(x - x0, y - y0)))
        self._moves.append((at_s, duration, x0, y0, x, y))
        return at_s + duration

    def sample(self, t: Array) -> Samples:
        """The samples at times `t` (seconds, ascending, after all times asked for before)."""
        t = np.asarray(t, dtype=np.float64)
        n = len(t)
        moves = np.array(self._moves)
        index = np.searchsorted(moves[:, 0], t, side="right") - 1
        move = moves[index]
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.where(move[:, 1] > 0, (t - move[:, 0]) / move[:, 1], 1.0)
        way = saccade_profile(np.where(np.isfinite(share), share, 1.0))[:, None]
        place = move[:, 2:4] + (move[:, 4:6] - move[:, 2:4]) * way

        blink = self._blinks(t)
        lost = self._losses(n)
        off = blink | lost
        ppd = np.array(self.geometry.px_per_degree)
        size = np.array([self.geometry.width_px, self.geometry.height_px])
        drift = self._drift(index)
        eyes = []
        for eye in range(2):
            degrees = drift[:, eye] + self._rng.normal(0, self._noise, size=(n, 2))
            xy = (place + degrees * ppd) / size
            xy[off] = np.nan
            eyes.append(xy)
        pupil = 3.2 + 0.15 * np.sin(2 * np.pi * 0.2 * t)
        pupils = [np.where(off, np.nan, pupil + shift + self._rng.normal(0, 0.02, n)) for shift in (0.0, 0.08)]
        if n:
            self._forget(t[-1])
        return Samples(t, eyes[0], eyes[1], ~off, ~off, pupils[0], pupils[1], blink)

    def _drift(self, index: NDArray[np.intp]) -> Array:
        n = len(index)
        if not n:
            return np.zeros((0, 2, 2))
        step = np.sqrt(DRIFT_DEG2_PER_S / self.rate_hz)
        walk = self._walk + np.cumsum(self._rng.normal(0, step, size=(n, 2, 2)), axis=0)
        first = np.flatnonzero(np.diff(index, prepend=self._current))
        anchor = np.concatenate([self._anchor[None], walk[first]])
        group = np.cumsum(np.diff(index, prepend=self._current) != 0)
        self._walk, self._anchor, self._current = walk[-1], anchor[-1], int(index[-1])
        return walk - anchor[group]

    def _blinks(self, t: Array) -> NDArray[np.bool_]:
        out = np.zeros(len(t), dtype=bool)
        if not np.isfinite(self._blink_gap) or not len(t):
            return out
        if self._blink is None:
            self._blink = self._next_blink(t[0])
        while self._blink[0] <= t[-1]:
            out |= (t >= self._blink[0]) & (t < self._blink[1])
            if self._blink[1] > t[-1]:
                break
            self._blink = self._next_blink(self._blink[1])
        return out

    def _next_blink(self, after: float) -> tuple[float, float]:
        start = after + self._rng.exponential(self._blink_gap)
        return start, start + self._rng.uniform(0.1, 0.3)

    def _losses(self, n: int) -> NDArray[np.bool_]:
        # A burst begins after a sample that was not lost, so that the share of lost samples is `loss` on average.
        chance = self._loss / (LOSS_BURST * (1 - self._loss))
        out = np.zeros(n, dtype=bool)
        carried = min(self._lost, n)
        out[:carried] = True
        self._lost -= carried
        starts = np.flatnonzero(self._rng.random(n) < chance)
        lengths = self._rng.geometric(1 / LOSS_BURST, len(starts))
        for start, length in zip(starts, lengths, strict=True):
            if not out[start]:
                out[start : start + length] = True
                self._lost = max(self._lost, int(start + length - n), 0)
        return out

    def _forget(self, t: float) -> None:
        keep = 0
        while keep + 1 < len(self._moves) and self._moves[keep + 1][0] <= t:
            keep += 1
        del self._moves[:keep]
        self._current -= keep


def render(
    scanpath_screen_px: Fixations,
    geometry: Geometry,
    rate_hz: float,
    rng: np.random.Generator,
    noise_deg: float = 0.1,
    loss: float = 0.005,
    blinks: float = 12.0,
) -> Samples:
    """Samples of a whole scanpath, from its first onset to the end of its last fixation.

    Every saccade is timed to land at the onset of its fixation; where the scanpath leaves it too little time, it starts
    when the one before has landed. Raises ValueError for arrays of different lengths or onsets that do not ascend.
    """
    x, y, onset, duration = (
        np.asarray(a, dtype=np.float64)
        for a in (
            scanpath_screen_px.x,
            scanpath_screen_px.y,
            scanpath_screen_px.onset_s,
            scanpath_screen_px.duration_s,
        )
    )
    if not len(x) == len(y) == len(onset) == len(duration) or not len(x):
        raise ValueError("A scanpath needs x, y, onset_s and duration_s of one length, at least 1.")
    if np.any(np.diff(onset) <= 0):
        raise ValueError("The onsets of a scanpath must ascend.")
    gaze = Gaze(geometry, rate_hz, rng, noise_deg=noise_deg, loss=loss, blinks=blinks, start=(x[0], y[0]))
    for k in range(1, len(x)):
        travel = float(saccade_duration(geometry.degrees(x[k] - x[k - 1], y[k] - y[k - 1])))
        gaze.saccade(float(onset[k]) - travel, float(x[k]), float(y[k]))
    n = int(np.floor((onset[-1] + duration[-1] - onset[0]) * rate_hz)) + 1
    return gaze.sample(onset[0] + np.arange(n) / rate_hz)
