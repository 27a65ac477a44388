"""The browser's clock and the station's LSL clock, brought together by four-timestamp exchanges.

One exchange is `(t0, t1, t2, t3)`: the page sends at t0 and hears back at t3 (browser milliseconds), the agent receives
at t1 and answers at t2 (LSL seconds). If the way out took as long as the way back, the clocks differ by

    offset = (t1 + t2) / 2 - (t0 + t3) / 2,

and whatever the asymmetry, the true difference lies within ± RTT / 2 of it, RTT = (t3 - t0) - (t2 - t1) (Mills, RFC
5905, section 8). Delays only ever add to the RTT, so the shortest exchange of each window of a few seconds is the one
to believe; a continuous piecewise-linear function fitted to those, weighted by 1 / RTT² and hardened against outliers
(Huber), follows the drift of the two quartzes. Along it, the window's quickest way out and its quickest way back are
then looked for separately, and the function is drawn between them (Moon, Skelly & Towsley, "Estimation and removal of
clock skew from network delay measurements", INFOCOM 1999, in both directions).

A suspended computer, or a page that was loaded again, makes the difference jump: there the fit is broken, not bridged.
Each exchange proves an interval for the offset, and no two clocks drift apart faster than MAX_DRIFT: where what all
exchanges so far have proven leaves nothing for the next, there was a jump.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

#: Two quartz clocks on one machine differ by tens of ppm; no healthy pair by more than this.
MAX_DRIFT = 200e-6
#: The rate of one clock against the other changes by no more than this from one good exchange to the next.
WANDER = 5e-6
#: Exchanges come once a second. Across a longer silence none of them vouches for another: the computer may have slept.
SILENCE_S = 5.0
#: How often the fit is drawn closer.
_ROUNDS = 3
#: What browsers round their clock to, seconds: Firefox and Chromium without and with cross-origin isolation.
_STEPS_S = (1e-3, 100e-6, 20e-6, 5e-6)


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
        Error bound in seconds: at every exchange, one near it proves the fit to be within this of the truth.
    exchanges, drift_ppm
        How many exchanges went in, and the mean rate difference in parts per million (None where no stretch is long
        enough to tell it).
    rtt_s
        Median round trip in seconds.
    """

    pieces: tuple[ClockPiece, ...]
    bound_s: float
    exchanges: int
    drift_ppm: float | None
    rtt_s: float = 0.0

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
    rtt = np.maximum((rows[:, 3] - rows[:, 0]) / 1000.0 - (rows[:, 2] - rows[:, 1]), 0.0)
    # The way out and the way back took no less than nothing: the true offset is within this of the measured one. Each
    # stamp of the browser may be a step off, and so may the common origin of page and worker.
    reach = rtt / 2 + 2 * _step(rows)

    pieces, bounds, drifts = [], [], []
    for part in np.split(np.arange(len(rows)), _breaks(rows[:, 0], browser, lsl, reach)):
        part = part[np.argsort(browser[part], kind="stable")]
        piece, bound, drift = _piece(browser[part], lsl[part], reach[part], window_s, knot_s)
        pieces.append(piece)
        bounds.append(bound)
        drifts.append((drift, len(part)))
    return ClockFit(tuple(pieces), float(max(bounds)), len(rows), mean_drift(drifts), float(np.median(rtt)))


def mean_drift(drifts: Sequence[tuple[float | None, int]]) -> float | None:
    """Mean of drifts in ppm, each with its number of exchanges; None where none of them is known."""
    known = [(drift, count) for drift, count in drifts if drift is not None]
    if not known:
        return None
    values, counts = np.transpose(known)
    return float(np.average(values, weights=counts))


def tracker_offset(t: ArrayLike, measured: ArrayLike, *, window_s: float = 30.0) -> tuple[Floats, float | None]:
    """Seconds to add to a tracker's times to have the agent's LSL time, [N], and the error bound of the measurements.

    Parameters
    ----------
    t
        The tracker's times, LSL seconds, [N].
    measured
        What the agent measured meanwhile (stream 2): its LSL time, correction, uncertainty and the tracker's time of
        each measurement, seconds, [K, 4]. Rows that are not finite are left out; without any there is nothing to add.
    window_s
        Length of the windows whose least uncertain measurement is believed, as in `fit`.
    """
    times = np.asarray(t, dtype=np.float64)
    rows = np.asarray(measured, dtype=np.float64).reshape(-1, 4)
    rows = rows[np.isfinite(rows[:, :3]).all(axis=1)]
    if not len(rows):
        return np.zeros(len(times)), None
    there, correction, uncertainty = rows[:, 0] - rows[:, 1], rows[:, 1], np.maximum(rows[:, 2], 1e-6)
    order = np.argsort(there, kind="stable")
    there, correction, uncertainty = there[order], correction[order], uncertainty[order]
    x, base = there - there[0], correction[0]
    best = _best_of_each(_windows(x, np.zeros(len(x), dtype=np.int64), window_s), uncertainty)
    span = x[best][-1] - x[best][0]
    knots = np.linspace(x[best][0], x[best][-1], max(2, round(span / 60.0) + 1)) if span > 0 else np.zeros(1)
    values = _robust(x[best], correction[best] - base, 1.0 / uncertainty[best], knots)
    return base + _line(times - there[0], knots, values), float(uncertainty[best].max())


def _step(rows: Floats) -> float:
    """What the browser rounds its clock to, seconds: the coarsest step that all durations are multiples of."""
    seconds = (rows[:, 3] - rows[:, 0]) / 1000.0
    for step in _STEPS_S:
        # The times themselves are milliseconds since the page's start and carry a rounding of their own.
        if (np.abs(seconds - np.round(seconds / step) * step) < 5e-7).all():
            return step
    return _STEPS_S[-1]


def _breaks(sent: Floats, browser: Floats, lsl: Floats, reach: Floats) -> list[int]:
    """Indices at which a new piece starts."""
    offset = lsl - browser
    low, high = offset - reach, offset + reach
    out: list[int] = []
    start = 0
    for i in range(1, len(offset)):
        # Slow exchanges overtake one another; the times they were sent at do not, unless the page was loaded again.
        if sent[i] < sent[i - 1]:
            start = i
            out.append(i)
        elif _contradicts(i, start, browser, low, high):
            # The first exchanges after a jump may be too slow to show it: the longest silence among them was the jump.
            first = i
            while first - 1 > start and not _contradicts(first - 1, i, browser, low, high):
                first -= 1
            start = first + int(np.argmax(np.diff(sent[first - 1 : i + 1])))
            out.append(start)
    return out


def _contradicts(i: int, since: int, browser: Floats, low: Floats, high: Floats) -> bool:
    """Whether exchange i cannot be true together with those between it and `since` (before or after it)."""
    others = slice(since, i) if since < i else slice(i + 1, since + 1)
    drifted = MAX_DRIFT * np.abs(browser[i] - browser[others])
    return bool(low[i] > (high[others] + drifted).min() or high[i] < (low[others] - drifted).max())


def _piece(
    browser: Floats, lsl: Floats, reach: Floats, window_s: float, knot_s: float
) -> tuple[ClockPiece, float, float | None]:
    origin, base = browser[0], lsl[0] - browser[0]
    x, offset = browser - origin, (lsl - browser) - base
    low, high = offset - reach, offset + reach
    stretch = np.r_[0, np.cumsum(np.diff(x) > SILENCE_S)]
    window = _windows(x, stretch, window_s)
    best = _best_of_each(window, reach)
    at, middle, weight = x[best], offset[best], 1.0 / reach[best]
    span = at[-1] - at[0]
    knots = np.linspace(at[0], at[-1], max(2, round(span / knot_s) + 1)) if span > 0 else np.zeros(1)
    values = _robust(at, middle, weight, knots)
    for _ in range(_ROUNDS):
        # Along a line that is nearly right, the quickest way out and the quickest way back of a window need not belong
        # to one exchange: together they leave less than the shortest exchange does.
        line = _line(x, knots, values)
        at, left = _narrowest(x, low - line, high - line, window)
        values = _robust(at, _line(at, knots, values) + left.mean(axis=0), 1.0 / (np.ptp(left, axis=0) / 2), knots)
    drift = float((values[-1] - values[0]) / (knots[-1] - knots[0])) * 1e6 if len(knots) > 1 else None
    if len(knots) == 1:
        knots, values = np.array([x[0], x[0] + 1.0]), np.repeat(values, 2)
    piece = ClockPiece(knots + origin, knots + origin + values + base, float(browser[0]), float(browser[-1]))
    slopes = np.diff(values) / np.diff(knots)
    line = _line(x, knots, values)
    bounds = [
        _bound(x[mine], (line - low)[mine], (high - line)[mine], slopes)
        for mine in (stretch == which for which in range(stretch[-1] + 1))
    ]
    return piece, max(bounds), drift


def _narrowest(x: Floats, low: Floats, high: Floats, window: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """What all exchanges of each window leave together: its time [W], and the highest low and lowest high, [2, W]."""
    below, above = _best_of_each(window, -low), _best_of_each(window, high)
    left = np.stack([low[below], high[above]])
    # A rate that is not quite right may cross them by some microseconds.
    crossed = np.ptp(left, axis=0) < 2 * _STEPS_S[-1]
    left[:, crossed] = left[:, crossed].mean(axis=0) + np.array([[-1.0], [1.0]]) * _STEPS_S[-1]
    return (x[below] + x[above]) / 2, left


def _windows(x: Floats, stretch: NDArray[np.int64], window_s: float) -> NDArray[np.int64]:
    """The window of each exchange: each stretch cut into windows of at least `window_s`, or one.

    A short rest at a stretch's end would have to believe whatever it holds.
    """
    out = np.empty(len(x), dtype=np.int64)
    count = 0
    for which in range(stretch[-1] + 1):
        mine = np.flatnonzero(stretch == which)
        since = x[mine] - x[mine[0]]
        windows = max(1, int(since[-1] // window_s))
        out[mine] = count + np.minimum((since / max(since[-1], 1e-9) * windows).astype(np.int64), windows - 1)
        count += windows
    return out


def _bound(x: Floats, early: Floats, late: Floats, slopes: Floats) -> float:
    """The largest error that the fit can have at any exchange of a stretch.

    Each exchange limits by how much the fit can be `early` and `late` at its own time x, and thereby near it: between
    two of them the error is no larger than theirs but for what the rates change meanwhile (of the clocks: WANDER, of
    the fit: its `slopes`); beside one, it grows no faster than the fit's rate can be wrong.
    """
    changes = WANDER + float(np.ptp(slopes))
    wrong = MAX_DRIFT + float(np.abs(slopes).max())
    half = len(x) // 2
    if half:
        both = np.maximum(early, late)
        a, b = int(np.argmin(both[:half])), half + int(np.argmin(both[half:]))
        wrong = min(wrong, float((both[a] + both[b]) / max(x[b] - x[a], 1e-9)) + changes)
    return max(
        float(np.minimum(np.maximum(*_spread(x, most, changes)), np.minimum(*_spread(x, most, wrong))).max())
        for most in (early, late)
    )


def _spread(x: Floats, proven: Floats, rate: float) -> tuple[Floats, Floats]:
    """At each x, the least that the exchanges up to there and from there on prove, if the error grows at `rate`."""
    before = np.minimum.accumulate(proven - rate * x) + rate * x
    after = np.minimum.accumulate((proven + rate * x)[::-1])[::-1] - rate * x
    return before, after


def _best_of_each(window: NDArray[np.int64], least: Floats) -> NDArray[np.intp]:
    """Index of the smallest value of each window that is not empty, in order."""
    order = np.lexsort((least, window))
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
    """Piecewise-linear interpolation that goes on in a straight line beyond the first and last knot; one is level."""
    if len(knots) == 1:
        return np.full(np.shape(x), values[0])
    i = np.clip(np.searchsorted(knots, x, side="right") - 1, 0, len(knots) - 2)
    slope = (values[i + 1] - values[i]) / (knots[i + 1] - knots[i])
    return np.asarray(values[i] + (x - knots[i]) * slope, dtype=np.float64)


def _first(piece: ClockPiece, forward: bool) -> float:
    return piece.first_s if forward else float(_line(np.array([piece.first_s]), piece.browser_s, piece.lsl_s)[0])


def _last(piece: ClockPiece, forward: bool) -> float:
    return piece.last_s if forward else float(_line(np.array([piece.last_s]), piece.browser_s, piece.lsl_s)[0])
