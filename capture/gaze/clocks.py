"""The browser's clock and the station's LSL clock, brought together by four-timestamp exchanges.

One exchange is `(t0, t1, t2, t3)`: the page sends at t0 and hears back at t3 (browser milliseconds), the agent receives
at t1 and answers at t2 (LSL seconds). If the way out took as long as the way back, the clocks differ by

    offset = (t1 + t2) / 2 - (t0 + t3) / 2,

and whatever the asymmetry, the true difference lies within ± RTT / 2 of it, RTT = (t3 - t0) - (t2 - t1) (Mills, RFC
5905, section 8). Delays only ever add to the RTT, so the shortest exchange of each window of a few seconds is the one
to believe; a continuous piecewise-linear function fitted to those, weighted by 1 / RTT² and hardened against outliers
(Huber), follows the drift of the two quartzes.

A suspended computer, or a page that was loaded again, makes the difference jump: there the fit is broken, not bridged.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

#: Two quartz clocks on one machine differ by tens of ppm; no healthy pair by more than this.
MAX_DRIFT = 500e-6
#: A jump of the offset beyond what both exchanges' RTTs and MAX_DRIFT explain, plus this, is a break.
JUMP_S = 0.002


@dataclass(frozen=True)
class ClockPiece:
    """One unbroken stretch: knots of a piecewise-linear map, browser seconds to LSL seconds, both [K >= 2]."""

    browser_s: Floats
    lsl_s: Floats
    first_s: float  # browser seconds of the first and last exchange
    last_s: float


@dataclass(frozen=True)
class ClockFit:
    """The map between the two clocks.

    Attributes
    ----------
    pieces
        Unbroken stretches in order of time.
    bound_s
        Error bound in seconds: in every window there is an exchange that proves the fit to be within this of the truth.
    exchanges, drift_ppm
        How many exchanges went in, and the mean rate difference in parts per million (0.0 for a single exchange).
    """

    pieces: tuple[ClockPiece, ...]
    bound_s: float
    exchanges: int
    drift_ppm: float

    def to_lsl(self, browser_ms: ArrayLike) -> Floats:
        """Browser milliseconds (any shape) as LSL seconds (same shape)."""
        return self._map(np.asarray(browser_ms, dtype=np.float64) / 1000.0, forward=True)

    def to_browser(self, lsl_s: ArrayLike) -> Floats:
        """LSL seconds (any shape) as browser milliseconds (same shape); the exact inverse of `to_lsl`."""
        return self._map(np.asarray(lsl_s, dtype=np.float64), forward=False) * 1000.0

    def _map(self, values: Floats, *, forward: bool) -> Floats:
        flat = np.atleast_1d(values).ravel()
        out = np.empty_like(flat)
        # A time between two pieces belongs to the piece whose exchanges are nearer.
        starts = [p.browser_s if forward else p.lsl_s for p in self.pieces]
        edges = [
            (_last(a, forward) + _first(b, forward)) / 2 for a, b in zip(self.pieces, self.pieces[1:], strict=False)
        ]
        which = np.searchsorted(np.asarray(edges), flat, side="right")
        for index, piece in enumerate(self.pieces):
            mine = which == index
            if mine.any():
                goal = piece.lsl_s if forward else piece.browser_s
                out[mine] = _line(flat[mine], starts[index], goal)
        return out.reshape(np.shape(values))


def fit(exchanges: ArrayLike, *, window_s: float = 10.0, knot_s: float = 60.0) -> ClockFit:
    """Fit the map between browser and LSL time.

    Parameters
    ----------
    exchanges
        float [N, 4]: t0 (browser ms), t1, t2 (LSL s), t3 (browser ms), in the order they were made. Rows that are not
        finite or whose times run backwards are left out.
    window_s
        Length of the windows whose shortest exchange is believed.
    knot_s
        Distance of the knots of the piecewise-linear model.

    Raises
    ------
    ValueError
        Not [N, 4], or no usable exchange.
    """
    rows = np.asarray(exchanges, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[1] != 4:
        raise ValueError(f"Clock exchanges are rows of four times, got shape {list(rows.shape)}.")
    rows = rows[np.isfinite(rows).all(axis=1)]
    t0, t3 = rows[:, 0] / 1000.0, rows[:, 3] / 1000.0
    rows = rows[(t3 > t0) & (rows[:, 2] >= rows[:, 1])]
    if not len(rows):
        raise ValueError("There is no usable clock exchange between the page and the agent: the clocks cannot be tied.")
    browser = (rows[:, 0] + rows[:, 3]) / 2000.0
    lsl = (rows[:, 1] + rows[:, 2]) / 2.0
    # The clock's own steps (5 µs isolated, 100 µs not) can make an RTT come out as nothing.
    rtt = np.maximum((rows[:, 3] - rows[:, 0]) / 1000.0 - (rows[:, 2] - rows[:, 1]), 10e-6)

    pieces, bounds, drifts = [], [], []
    for part in np.split(np.arange(len(rows)), _breaks(rows[:, 0], browser, lsl, rtt)):
        part = part[np.argsort(browser[part], kind="stable")]
        piece, bound, drift = _piece(browser[part], lsl[part], rtt[part], window_s, knot_s)
        pieces.append(piece)
        bounds.append(bound)
        drifts.append((drift, len(part)))
    weights = np.array([n for _, n in drifts], dtype=np.float64)
    drift = float((np.array([d for d, _ in drifts]) * weights).sum() / weights.sum())
    return ClockFit(tuple(pieces), float(max(bounds)), len(rows), drift * 1e6)


def _breaks(sent: Floats, browser: Floats, lsl: Floats, rtt: Floats) -> NDArray[np.intp]:
    """Indices at which a new piece starts."""
    offset = lsl - browser
    step = np.abs(np.diff(offset))
    allowed = (rtt[1:] + rtt[:-1]) / 2 + MAX_DRIFT * np.abs(np.diff(browser)) + JUMP_S
    # Slow exchanges overtake one another; the times they were sent at do not, unless the page was loaded again.
    return np.flatnonzero((step > allowed) | (np.diff(sent) < 0)) + 1


def _piece(
    browser: Floats, lsl: Floats, rtt: Floats, window_s: float, knot_s: float
) -> tuple[ClockPiece, float, float]:
    origin, base = browser[0], lsl[0] - browser[0]
    x, offset = browser - origin, (lsl - browser) - base
    # Windows of at least `window_s`: a short rest at the end would have to believe whatever it holds.
    windows = max(1, int(x[-1] // window_s))
    window = np.minimum((x / max(x[-1], 1e-9) * windows).astype(np.int64), windows - 1)
    best = _best_of_each(window, rtt)
    span = x[best][-1] - x[best][0]
    knots = np.linspace(x[best][0], x[best][-1], max(2, round(span / knot_s) + 1)) if span > 0 else np.zeros(1)
    values = _robust(x[best], offset[best], 1.0 / rtt[best], knots)
    if len(knots) == 1:
        knots, values = np.array([x[0], x[0] + 1.0]), np.repeat(values, 2)
    # What each exchange proves of the fit: its own residual plus the most its asymmetry can hide.
    proven = np.abs(offset - _line(x, knots, values)) + rtt / 2
    bound = max(proven[window == w].min() for w in np.unique(window))
    drift = (values[-1] - values[0]) / (knots[-1] - knots[0])
    piece = ClockPiece(knots + origin, knots + origin + values + base, float(browser[0]), float(browser[-1]))
    return piece, float(bound), float(drift)


def _best_of_each(window: NDArray[np.int64], rtt: Floats) -> NDArray[np.intp]:
    order = np.lexsort((rtt, window))
    first = np.r_[True, np.diff(window[order]) > 0]
    return np.sort(order[first])


def _robust(x: Floats, y: Floats, weight: Floats, knots: Floats) -> Floats:
    """Values at the knots of the continuous piecewise-linear function nearest to (x, y): Huber weights, 10 rounds."""
    if len(knots) == 1:
        return np.array([np.average(y, weights=weight**2)])
    place = np.clip(np.searchsorted(knots, x, side="right") - 1, 0, len(knots) - 2)
    share = (x - knots[place]) / (knots[place + 1] - knots[place])
    design = np.zeros((len(x), len(knots)))
    design[np.arange(len(x)), place] = 1 - share
    design[np.arange(len(x)), place + 1] = share
    # A weak preference for a constant drift keeps a knot with few exchanges near it in line with its neighbours.
    bend = np.diff(np.eye(len(knots)), n=2, axis=0) * 1e-2 * np.median(weight)
    huber = np.ones(len(x))
    values = np.zeros(len(knots))
    for _ in range(10):
        w = weight * np.sqrt(huber)
        system = np.vstack([design * w[:, None], bend])
        values = np.asarray(np.linalg.lstsq(system, np.r_[y * w, np.zeros(len(bend))], rcond=None)[0], np.float64)
        residual = np.abs(y - design @ values)
        scale = max(1.4826 * float(np.median(residual)), 5e-6)
        huber = np.minimum(1.0, 1.5 * scale / np.maximum(residual, 1e-12))
    return values


def _line(x: Floats, knots: Floats, values: Floats) -> Floats:
    """Piecewise-linear interpolation that goes on in a straight line beyond the first and last knot."""
    i = np.clip(np.searchsorted(knots, x, side="right") - 1, 0, len(knots) - 2)
    slope = (values[i + 1] - values[i]) / (knots[i + 1] - knots[i])
    return np.asarray(values[i] + (x - knots[i]) * slope, dtype=np.float64)


def _first(piece: ClockPiece, forward: bool) -> float:
    return piece.first_s if forward else float(_line(np.array([piece.first_s]), piece.browser_s, piece.lsl_s)[0])


def _last(piece: ClockPiece, forward: bool) -> float:
    return piece.last_s if forward else float(_line(np.array([piece.last_s]), piece.browser_s, piece.lsl_s)[0])
