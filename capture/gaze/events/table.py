"""The one result of every detector: a label for each sample, and the events those labels form."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
Labels = NDArray[np.int8]
Mask = NDArray[np.bool_]


class Kind(IntEnum):
    """What the eye does in a sample; the numbers are the codes of the hand-labelled Lund 2013 recordings."""

    FIXATION = 1
    SACCADE = 2
    PSO = 3
    PURSUIT = 4
    BLINK = 5
    UNDEFINED = 6

    @property
    def word(self) -> str:
        return self.name.lower()


@dataclass(frozen=True)
class Events:
    """Events of one recording in order of time; every sample lies in exactly one of them.

    Attributes
    ----------
    kind
        Codes of `Kind`, [K].
    start, stop
        First sample and one past the last, [K]. An undefined event without samples (start == stop) is a hole: time in
        which no sample came.
    onset_s, offset_s
        Times of the first and of the last sample, [K]; of a hole, one sample step inside its neighbours.
    x_px, y_px
        Mean position of the samples with gaze, screen px, NaN where there is none, [K].
    amplitude_deg
        Visual angle between the first and the last sample with gaze, degrees, NaN where there is none, [K].
    labels
        Codes of `Kind`, [N]. A lost sample that a fixation bridges lies inside its row but is itself undefined.
    """

    kind: Labels
    start: Indices
    stop: Indices
    onset_s: Floats
    offset_s: Floats
    x_px: Floats
    y_px: Floats
    amplitude_deg: Floats
    labels: Labels

    def __len__(self) -> int:
        return len(self.kind)

    def of(self, kind: Kind) -> Events:
        """Only the events of one kind; the labels stay whole."""
        keep = self.kind == kind
        names = ("kind", "start", "stop", "onset_s", "offset_s", "x_px", "y_px", "amplitude_deg")
        return Events(**{name: getattr(self, name)[keep] for name in names}, labels=self.labels)

    def rows(self) -> Iterator[tuple[str, float, float, float, float, float]]:
        """(word, onset s, offset s, x px, y px, amplitude °) of each event."""
        words = [Kind(int(code)).word for code in self.kind]
        columns = (self.onset_s, self.offset_s, self.x_px, self.y_px, self.amplitude_deg)
        return zip(words, *(column.tolist() for column in columns), strict=True)


def runs(mask: ArrayLike) -> tuple[Indices, Indices]:
    """Starts and stops of the runs of True in a mask [N]."""
    yes = np.asarray(mask, dtype=bool)
    if not len(yes):
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    change = np.flatnonzero(yes[1:] != yes[:-1]) + 1
    edges = np.concatenate([[0] if yes[0] else [], change, [len(yes)] if yes[-1] else []]).astype(np.int64)
    return edges[::2], edges[1::2]


def angle(a_deg: ArrayLike, b_deg: ArrayLike) -> Floats:
    """Visual angle between two directions [..., 2] and [..., 2] of `Display.to_degrees`, degrees, [...].

    Through the rays (tan x, tan y, 1): the difference of two screen angles would overstate what lies in a corner.
    """
    a, b = (np.tan(np.radians(np.asarray(v, dtype=np.float64))) for v in (a_deg, b_deg))
    rays = [np.concatenate([v, np.ones((*v.shape[:-1], 1))], axis=-1) for v in (a, b)]
    cross = np.linalg.norm(np.cross(rays[0], rays[1]), axis=-1)
    result: Floats = np.degrees(np.arctan2(cross, (rays[0] * rays[1]).sum(-1)))
    return result


def tabulate(
    t: Floats,
    px: Floats,
    degrees: Floats,
    labels: Labels,
    *,
    holes: Indices,
    bridge_s: float,
    bridge_deg: float = 0.5,
    step: float | None = None,
) -> Events:
    """Form events from labels.

    Parameters
    ----------
    t, px, degrees, labels
        Seconds [N], screen px [N, 2] and degrees [N, 2] with NaN where gaze is lost, codes of `Kind` [N].
    holes
        Indices of the samples before which others are missing, [H]; every event ends there.
    bridge_s, bridge_deg
        Two fixations with nothing but lost samples between them, at most so long, and so near, are one event.
    step
        Median step between samples, seconds, if it is known already.
    """
    n = len(t)
    if n == 0:
        none, index = np.zeros(0), np.zeros(0, dtype=np.int64)
        return Events(labels, index, index, none, none, none, none, none, labels)
    if step is None:
        step = float(np.median(np.diff(t))) if n > 1 else 0.0
    first_of = np.empty(n, dtype=bool)
    first_of[0] = True
    np.not_equal(labels[1:], labels[:-1], out=first_of[1:])
    first_of[holes] = True
    start = np.flatnonzero(first_of)
    stop = np.append(start[1:], n)
    kind = labels[start]
    good = np.isfinite(degrees[:, 0] + degrees[:, 1])
    start, stop, kind = _bridged(t, degrees, good, start, stop, kind, holes, bridge_s, bridge_deg)
    first, last, count = _ends(good, start, stop)
    seen = count > 0
    centre = _means(px, good, start, count)
    amplitude = np.full(len(start), np.nan)
    amplitude[seen] = angle(degrees[first[seen]], degrees[last[seen]])
    onset, offset = t[start], t[stop - 1]
    if len(holes):
        at = np.searchsorted(start, holes)
        start, stop = np.insert(start, at, holes), np.insert(stop, at, holes)
        kind = np.insert(kind, at, np.int8(Kind.UNDEFINED))
        onset, offset = np.insert(onset, at, t[holes - 1] + step), np.insert(offset, at, t[holes] - step)
        centre, amplitude = np.insert(centre, at, np.nan, axis=0), np.insert(amplitude, at, np.nan)
    return Events(kind, start, stop, onset, offset, centre[:, 0], centre[:, 1], amplitude, labels)


def _means(values: Floats, good: Mask, start: Indices, count: Indices) -> Floats:
    """Mean of the good values [N, 2] of each range that begins at `start` and ends where the next begins, [K, 2]."""
    out = np.empty((len(start), 2))
    with np.errstate(invalid="ignore", divide="ignore"):
        for axis in (0, 1):
            column = values[:, axis]
            out[:, axis] = np.add.reduceat(column if good.all() else np.where(good, column, 0.0), start) / count
    return out


def _bridged(
    t: Floats,
    degrees: Floats,
    good: Mask,
    start: Indices,
    stop: Indices,
    kind: Labels,
    holes: Indices,
    bridge_s: float,
    bridge_deg: float,
) -> tuple[Indices, Indices, Labels]:
    """Join fixations that only lost samples part."""
    if len(start) < 3 or good.all():
        return start, stop, kind
    _, _, count = _ends(good, start, stop)
    between = (count[1:-1] == 0) & (kind[1:-1] == Kind.UNDEFINED)
    between &= (kind[:-2] == Kind.FIXATION) & (kind[2:] == Kind.FIXATION)
    between &= t[start[2:]] - t[stop[:-2] - 1] <= bridge_s + 1e-9
    between &= ~(np.isin(start[1:-1], holes) | np.isin(start[2:], holes))
    if not between.any():
        return start, stop, kind
    centre = _means(degrees, good, start, count)
    between &= np.hypot(*(centre[2:] - centre[:-2]).T) <= bridge_deg
    drop = np.zeros(len(start), dtype=bool)
    drop[1:-1] |= between
    drop[2:] |= between
    return start[~drop], np.append(start[~drop][1:], len(t)), kind[~drop]


def _ends(good: Mask, start: Indices, stop: Indices) -> tuple[Indices, Indices, Indices]:
    """First and last sample with gaze of each range, and how many it has (the ends mean nothing where it has none)."""
    if good.all():
        return start, stop - 1, stop - start
    where = np.flatnonzero(good)
    low, high = np.searchsorted(where, start), np.searchsorted(where, stop)
    if not len(where):
        return np.zeros_like(start), np.zeros_like(start), np.zeros_like(start)
    return where[np.minimum(low, len(where) - 1)], where[np.maximum(high - 1, 0)], high - low
