"""What a reader's eyes did with a radiograph: how soon and how long they were on each finding, how much of the image
they covered, in which order, and why a finding was missed.

Positions are image pixels (centres are whole numbers), times seconds of recording time, angles degrees. A fixation sees
what lies in its useful field, a circle of a given visual angle around it: in image pixels an ellipse of the fixation's
own pixels per degree, which zoom changes and which differ along x and y where pixels are not square. A measure that a
read does not have is None, never NaN.

References
----------
- Kundel, Nodine & Carmody, "Visual scanning, pattern recognition and decision-making in pulmonary nodule detection"
  (Investigative Radiology 13, 1978): search, recognition and decision errors.
- Kundel, Nodine & Krupinski, "Searching for lung nodules: visual dwell indicates locations of false-positive and
  false-negative decisions" (Investigative Radiology 24, 1989): dwell of about a second parts recognition from decision.
- Kundel, Nodine, Thickman & Toto, "Searching for lung nodules: a comparison of human performance with random and
  systematic scanning models" (Investigative Radiology 22, 1987): coverage by a useful field of 5°.
- Krejtz, Duchowski, Szmidt, Krejtz, González Perilli, Pires, Vilaro & Villalobos, "Gaze transition entropy" (ACM
  Transactions on Applied Perception 13, 2015); Shiferaw, Downey & Crewther, "A review of gaze entropy as a measure of
  visual scanning efficiency" (Neuroscience & Biobehavioral Reviews 96, 2019).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .track import FixationTable, GazeTrack

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

#: Cells along the longer side of the image on which coverage is counted.
_GRID: Final = 512


@dataclass(frozen=True)
class Parameters:
    """What a study decides about its gaze measures.

    Attributes
    ----------
    field_deg
        Diameter of the useful field, degrees: a fixation is on a finding that reaches into it.
    coverage_fields_deg
        Diameters of the fields for which coverage is given, degrees.
    dwell_s
        A missed finding looked at for at least this long, in all, is a decision error, for less a recognition error.
    called_from
        Confidence (1 to 5) from which a finding counts as reported.
    max_data_loss
        With more gaze lost than this share no miss is classified: a look may be among what was lost.
    zones
        Rows and columns of equal zones between which transitions are counted; three by two are the lungs' zones.
    """

    field_deg: float = 5.0
    coverage_fields_deg: tuple[float, ...] = (2.5, 5.0)
    dwell_s: float = 1.0
    called_from: int = 4
    max_data_loss: float = 0.3
    zones: tuple[int, int] = (3, 2)

    def __post_init__(self) -> None:
        for name, value, high in (
            ("field_deg", self.field_deg, 30.0),
            ("dwell_s", self.dwell_s, 60.0),
            ("max_data_loss", self.max_data_loss, 1.0),
            *(("coverage_fields_deg", value, 30.0) for value in self.coverage_fields_deg),
        ):
            if not _is_number(value) or not 0 < value <= high:
                raise ValueError(f"{name} is {value!r}; write a number above 0 and at most {high:g}.")
        if not self.coverage_fields_deg or len(set(self.coverage_fields_deg)) != len(self.coverage_fields_deg):
            raise ValueError("coverage_fields_deg names no field, or one twice.")
        if not _is_whole(self.called_from) or not 2 <= self.called_from <= 5:
            raise ValueError(f"called_from is {self.called_from!r}; write a whole number from 2 to 5.")
        if len(self.zones) != 2 or not all(_is_whole(n) and 1 <= n <= 20 for n in self.zones):
            raise ValueError(f"zones is {list(self.zones)}; write two whole numbers from 1 to 20, rows and columns.")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Parameters:
        """The defaults with these values in their place; ValueError with a sentence for one that cannot be."""
        known = set(cls.__dataclass_fields__)
        if unknown := sorted(set(values) - known):
            raise ValueError(
                f"{unknown[0]!r} is no parameter of the gaze measures; they are {', '.join(sorted(known))}."
            )
        try:
            given: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
            return cls(**given)
        except TypeError as error:
            raise ValueError(f"A parameter of the gaze measures has the wrong kind of value: {error}.") from error

    def to_dict(self) -> dict[str, Any]:
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and bool(np.isfinite(value))


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


# ── areas ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, eq=False)
class Area:
    """A part of the image, given as one of three things.

    Attributes
    ----------
    box
        x0, y0, x1, y1, [4].
    outline
        The corners of a polygon, [V, 2], V ≥ 3.
    mask
        Which pixels belong to it, [rows, columns].
    """

    box: Floats | None = None
    outline: Floats | None = None
    mask: Bools | None = None

    def __post_init__(self) -> None:
        if sum(part is not None for part in (self.box, self.outline, self.mask)) != 1:
            raise ValueError("An area is a box, an outline or a mask.")
        if self.box is not None and (
            self.box.shape != (4,) or not np.isfinite(self.box).all() or (self.box[2:] < self.box[:2]).any()
        ):
            raise ValueError(f"The box is {self.box.tolist()}; x0 ≤ x1 and y0 ≤ y1 are needed.")
        if self.outline is not None and (
            self.outline.ndim != 2
            or self.outline.shape[1] != 2
            or len(self.outline) < 3
            or not np.isfinite(self.outline).all()
        ):
            raise ValueError(f"The outline has shape {list(self.outline.shape)}; at least three points make one.")
        if self.mask is not None and (self.mask.ndim != 2 or not self.mask.any()):
            raise ValueError("The mask has no pixel in it.")

    @classmethod
    def of_box(cls, box: ArrayLike) -> Area:
        return cls(box=np.asarray(box, dtype=np.float64))

    @classmethod
    def of_outline(cls, outline: ArrayLike) -> Area:
        return cls(outline=np.asarray(outline, dtype=np.float64))

    @classmethod
    def of_mask(cls, mask: ArrayLike) -> Area:
        return cls(mask=np.asarray(mask, dtype=bool))

    def contains(self, x: ArrayLike, y: ArrayLike) -> Bools:
        """Whether each point lies in the area, its edge included, [...]."""
        px, py = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
        if self.box is not None:
            x0, y0, x1, y1 = self.box
            return np.asarray((px >= x0) & (px <= x1) & (py >= y0) & (py <= y1))
        if self.outline is not None:
            inside = np.zeros(px.shape, dtype=bool)
            for (ax, ay), (bx, by) in zip(self.outline, np.roll(self.outline, -1, axis=0), strict=True):
                if ay != by:  # a ray to the right crosses the edge
                    inside ^= ((ay > py) != (by > py)) & (px < ax + (py - ay) * (bx - ax) / (by - ay))
            return inside
        assert self.mask is not None
        with np.errstate(invalid="ignore"):
            row, column = np.floor(py + 0.5), np.floor(px + 0.5)
            on = (row >= 0) & (row < self.mask.shape[0]) & (column >= 0) & (column < self.mask.shape[1])
        inside = np.zeros(px.shape, dtype=bool)
        inside[on] = self.mask[row[on].astype(np.int64), column[on].astype(np.int64)]
        return inside

    def distance_deg(self, x: ArrayLike, y: ArrayLike, ppd_x: ArrayLike, ppd_y: ArrayLike) -> Floats:
        """Visual angle from each fixation to the nearest point of the area, [K]; 0 inside, inf without a scale."""
        px, py, sx, sy = (np.asarray(v, dtype=np.float64) for v in (x, y, ppd_x, ppd_y))
        if self.box is not None:
            x0, y0, x1, y1 = self.box
            dx, dy = np.maximum(np.maximum(x0 - px, px - x1), 0), np.maximum(np.maximum(y0 - py, py - y1), 0)
            distance = np.hypot(dx / sx, dy / sy)
        elif self.outline is not None:
            scale = np.stack([sx, sy], axis=1)[:, None]
            a = (self.outline[None] - np.stack([px, py], axis=1)[:, None]) / scale
            edge = np.roll(a, -1, axis=1) - a
            length = (edge**2).sum(-1)
            with np.errstate(invalid="ignore", divide="ignore"):
                along = np.clip(np.where(length > 0, -(a * edge).sum(-1) / length, 0), 0, 1)
            distance = np.hypot(*np.moveaxis(a + along[..., None] * edge, -1, 0)).min(axis=1)
        else:
            assert self.mask is not None
            rows, columns = np.nonzero(_rim(self.mask))
            # A pixel is a square: its nearest point is up to half a pixel nearer than its centre.
            dx = np.maximum(np.abs(columns[None] - px[:, None]) - 0.5, 0) / sx[:, None]
            dy = np.maximum(np.abs(rows[None] - py[:, None]) - 0.5, 0) / sy[:, None]
            distance = np.hypot(dx, dy).min(axis=1)
        return np.where(self.contains(px, py), 0.0, np.where(np.isfinite(distance), distance, np.inf))


def _rim(mask: Bools) -> Bools:
    """The mask's pixels with a neighbour outside it: the nearest one from outside is always among them."""
    padded = np.pad(mask, 1)
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inner


# ── looking at an area ────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Looks:
    """How an area was looked at.

    Attributes
    ----------
    time_to_first_fixation_s
        From `start_s` to the start of the first fixation on it, at least 0; None if there is none.
    dwell_s
        Summed duration of the fixations on it.
    fixations
        How many there are.
    visits
        Runs of successive fixations on it.
    revisits
        Visits after the first.
    longest_visit_s
        Summed fixation durations of the longest visit; None if there is none.
    """

    time_to_first_fixation_s: float | None
    dwell_s: float
    fixations: int
    visits: int
    revisits: int
    longest_visit_s: float | None


def on_area(fixations: FixationTable, area: Area, *, field_deg: float) -> Bools:
    """Whether the area reaches into each fixation's useful field, [K]. A field of 0 asks for the fixation itself."""
    return area.distance_deg(fixations.x, fixations.y, fixations.ppd_x, fixations.ppd_y) <= field_deg / 2


def looks_at(fixations: FixationTable, area: Area, *, field_deg: float, start_s: float = 0.0) -> Looks:
    """How an area was looked at.

    Parameters
    ----------
    fixations
        In order of time.
    area
        Where.
    field_deg
        Diameter of the useful field, degrees.
    start_s
        When the image appeared, recording time.
    """
    on = on_area(fixations, area, field_deg=field_deg)
    if not on.any():
        return Looks(None, 0.0, 0, 0, 0, None)
    visit = np.cumsum(on & ~np.r_[False, on[:-1]]) - 1
    per_visit = np.bincount(visit[on], fixations.duration[on])
    first = float(fixations.onset[on][0])
    return Looks(
        time_to_first_fixation_s=max(0.0, first - start_s),
        dwell_s=float(fixations.duration[on].sum()),
        fixations=int(on.sum()),
        visits=len(per_visit),
        revisits=len(per_visit) - 1,
        longest_visit_s=float(per_visit.max()),
    )


Kundel = Literal["search", "recognition", "decision"]


def kundel_class(looks: Looks, *, dwell_s: float) -> Kundel:
    """Why a finding was missed (Kundel, Nodine & Carmody 1978).

    search: it never came into the useful field; recognition: it did, for less than `dwell_s` in all; decision: it was
    looked at for at least that long and not reported. Only of a finding that was missed: ask that first.
    """
    if looks.fixations == 0:
        return "search"
    return "recognition" if looks.dwell_s < dwell_s else "decision"


# ── the image as a whole ──────────────────────────────────────────────────────────────────────────────────────────────


def coverage(
    fixations: FixationTable, *, rows: int, columns: int, field_deg: float, region: Area | None = None
) -> float | None:
    """Share of the image, or of a region of it, that came into the useful field of at least one fixation, 0 to 1.

    Parameters
    ----------
    fixations
        Those whose scale is unknown are left out.
    rows, columns
        Size of the image in pixels.
    field_deg
        Diameter of the useful field, degrees.
    region
        Such as the lungs; the whole image if omitted.

    Returns
    -------
    float | None
        Counted on a grid of 512 cells along the longer side; None for a region without a cell on the image.
    """
    cells = min(_GRID / max(rows, columns), 1.0)
    high, wide = max(1, round(rows * cells)), max(1, round(columns * cells))
    y, x = (np.arange(high) + 0.5) * rows / high - 0.5, (np.arange(wide) + 0.5) * columns / wide - 0.5
    wanted = None if region is None else region.contains(*np.meshgrid(x, y))
    if wanted is not None and not wanted.any():
        return None
    seen = np.zeros((high, wide), dtype=bool)
    for u, v, a, b in zip(
        fixations.x, fixations.y, fixations.ppd_x * field_deg / 2, fixations.ppd_y * field_deg / 2, strict=True
    ):
        if not (np.isfinite(u + v + a + b) and a > 0 and b > 0):
            continue
        across = slice(*np.searchsorted(x, (u - a, u + a)))
        down = slice(*np.searchsorted(y, (v - b, v + b)))
        seen[down, across] |= ((x[across] - u) / a) ** 2 + (((y[down] - v) / b) ** 2)[:, None] <= 1
    return float(seen.mean() if wanted is None else seen[wanted].mean())


def zone_of(fixations: FixationTable, *, rows: int, columns: int, zones: tuple[int, int]) -> Ints:
    """The zone of the image each fixation lies in, row by row from 0, [K]; -1 beside the image."""
    row = np.floor((fixations.y + 0.5) / rows * zones[0])
    column = np.floor((fixations.x + 0.5) / columns * zones[1])
    on = (row >= 0) & (row < zones[0]) & (column >= 0) & (column < zones[1])
    return np.where(on, np.where(on, row * zones[1] + column, 0), -1).astype(np.int64)


@dataclass(frozen=True)
class Transitions:
    """How gaze went between areas.

    Attributes
    ----------
    counts
        Successive fixations from area i (row) to area j (column), both in an area, [areas, areas].
    entropy_bits
        Transition entropy H_t = −Σ_i π_i Σ_j p_ij log₂ p_ij: how hard the next area is to foretell from this one.
    stationary_entropy_bits
        Stationary entropy H_s = −Σ_i π_i log₂ π_i: how evenly gaze was spread.
    entropy, stationary_entropy
        Both as shares of their greatest value, log₂ areas; None with a single area.

    Notes
    -----
    p_ij is the share of the transitions out of area i that went to j, staying included; π_i the share of all
    transitions that began in i (Shiferaw et al. 2019). Krejtz et al. (2015) take π as the eigenvector of p; the two
    differ by what the path's ends are worth, and the shares exist where the eigenvector does not, as when an area is
    never left again.
    """

    counts: Ints
    entropy_bits: float
    stationary_entropy_bits: float
    entropy: float | None
    stationary_entropy: float | None


def transitions(areas: ArrayLike, n: int) -> Transitions | None:
    """Transitions between n areas; None without one.

    Parameters
    ----------
    areas
        The area of each fixation in order of time, 0 to n − 1, or -1 for none of them, [K].
    n
        How many areas there are.
    """
    at = np.asarray(areas, dtype=np.int64)
    if len(at) and (at.max() >= n or at.min() < -1):
        raise ValueError(f"The areas run from {at.min()} to {at.max()}; there are {n}, counted from 0, and -1.")
    use = (at[:-1] >= 0) & (at[1:] >= 0)
    counts = np.zeros((n, n), dtype=np.int64)
    np.add.at(counts, (at[:-1][use], at[1:][use]), 1)
    total = counts.sum()
    if not total:
        return None
    out = counts.sum(axis=1)
    share = out / total
    p = counts / np.maximum(out, 1)[:, None]
    conditional = float((share * _entropies(p)).sum())
    stationary = float(_entropies(share[None])[0])
    most = float(np.log2(n)) if n > 1 else None
    return Transitions(
        counts,
        conditional,
        stationary,
        None if most is None else conditional / most,
        None if most is None else stationary / most,
    )


def _entropies(p: Floats) -> Floats:
    """Entropy of each row, bits."""
    return -(p * np.log2(np.where(p > 0, p, 1.0))).sum(axis=1) + 0.0


# ── assistance ────────────────────────────────────────────────────────────────────────────────────────────────────────


def dwell_between(fixations: FixationTable, on: Bools, start_s: float, stop_s: float) -> float:
    """Summed time of the chosen fixations within an interval, seconds; one across its edge counts with its part."""
    begun = np.maximum(fixations.onset[on], start_s)
    ended = np.minimum(fixations.onset[on] + fixations.duration[on], stop_s)
    return float(np.maximum(ended - begun, 0).sum())


def time_inside(t: ArrayLike, x: ArrayLike, y: ArrayLike, moved: ArrayLike, rects: ArrayLike) -> float:
    """Time that gaze was in a rectangle of the screen which moves, such as a panel that scrolls, seconds.

    Parameters
    ----------
    t
        Times of the samples, ascending, [N].
    x, y
        Gaze in screen pixels, NaN where there is none, [N].
    moved
        Times from which the rectangle was at each place, ascending, [M].
    rects
        left, top, right, bottom in screen pixels, [M, 4]; NaN for nowhere.

    Returns
    -------
    float
        Each sample counts until the next one, at most five median intervals: a hole in the data is nobody's time.
    """
    times = np.asarray(t, dtype=np.float64)
    where = np.searchsorted(np.asarray(moved, dtype=np.float64), times, side="right") - 1
    if len(times) < 2 or (where < 0).all():
        return 0.0
    step = np.diff(times)
    usual = float(np.median(step))
    lasted = np.minimum(np.r_[step, usual], 5 * usual)
    left, top, right, bottom = np.asarray(rects, dtype=np.float64)[np.maximum(where, 0)].T
    px, py = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        inside = (where >= 0) & (px >= left) & (px < right) & (py >= top) & (py < bottom)
    return float(lasted[inside].sum())


@dataclass(frozen=True, eq=False)
class Assistance:
    """What a model showed during a read, and when.

    Attributes
    ----------
    revealed_s
        Recording time of the moment it was drawn.
    areas
        The boxes drawn on the image.
    moved_s, rects
        From when its panel was where on the screen, see `time_inside`; None where that is not known.
    """

    revealed_s: float
    areas: Sequence[Area]
    moved_s: Floats | None = None
    rects: Floats | None = None


# ── one read ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, eq=False)
class Finding:
    """A finding that is there.

    Attributes
    ----------
    name, side
        As the reference standard has it.
    area
        Where it is; None where nobody said.
    confidence
        The reader's final confidence that it is present, 1 to 5; None where it was not asked for.
    elsewhere
        The reader marked this finding, and no mark lies on it.
    """

    name: str
    side: str = ""
    area: Area | None = None
    confidence: int | None = None
    elsewhere: bool = False


def image_onset(track: GazeTrack) -> float | None:
    """Recording time of the first sample with the image on the screen; None if it never was."""
    on = np.flatnonzero(track.state >= 0)
    return float(track.t[on[0]]) if len(on) else None


def of_read(
    track: GazeTrack,
    *,
    rows: int,
    columns: int,
    findings: Sequence[Finding],
    assistance: Assistance | None = None,
    parameters: Parameters | None = None,
) -> dict[str, Any]:
    """The gaze measures of one read, ready for JSON.

    Parameters
    ----------
    track
        The read's gaze.
    rows, columns
        Size of the image in pixels.
    findings
        The reference standard's findings with what the reader answered; none for a normal image.
    assistance
        What a model showed; None in a read without.
    parameters
        The study's decisions; the defaults if omitted.

    Returns
    -------
    dict
        - viewing_s: from the image's appearance to the last sample with it on the screen
        - fixations, fixation_s: their number and summed duration, on the image and beside it
        - coverage: {field in degrees: share of the image}
        - zones, transition_entropy, stationary_entropy: see `Transitions`; between equal zones of the image
        - findings: for each one its name, side, confidence, `Looks`, reported (None where it was not asked for),
          kundel (None unless it was missed) and, where a miss is not classified, why
        - assistance: None, or revealed_s (after the image's appearance), viewing before and after, dwell on its boxes
          before and after, time on its panel (None where the panel's place is not known)
    """
    chosen = parameters or Parameters()
    fixations = track.fixations
    start = image_onset(track)
    end = float(track.t[np.flatnonzero(track.state >= 0)[-1]]) if start is not None else None
    viewing = None if start is None or end is None else end - start
    zone = zone_of(fixations, rows=rows, columns=columns, zones=chosen.zones)
    moves = transitions(zone, chosen.zones[0] * chosen.zones[1])
    return {
        "viewing_s": viewing,
        "fixations": len(fixations),
        "fixation_s": float(fixations.duration.sum()),
        "coverage": {
            f"{field:g}": coverage(fixations, rows=rows, columns=columns, field_deg=field) if len(fixations) else None
            for field in chosen.coverage_fields_deg
        },
        "zones": list(chosen.zones),
        "transition_entropy": moves.entropy if moves else None,
        "stationary_entropy": moves.stationary_entropy if moves else None,
        "findings": [_of_finding(track, finding, start or 0.0, chosen) for finding in findings],
        "assistance": None if assistance is None else _of_assistance(track, assistance, start, end, chosen),
    }


def _of_finding(track: GazeTrack, finding: Finding, start: float, chosen: Parameters) -> dict[str, Any]:
    looks = None
    if finding.area is not None and len(track.fixations):
        looks = looks_at(track.fixations, finding.area, field_deg=chosen.field_deg, start_s=start)
    reported = None
    if finding.confidence is not None:
        reported = finding.confidence >= chosen.called_from and not finding.elsewhere
    kundel, why = None, ""
    if reported is False:
        loss = track.meta.get("data_loss")
        if finding.area is None:
            why = "The reference standard does not say where it is."
        elif looks is None:
            why = "The recording has no fixation."
        elif loss is not None and loss > chosen.max_data_loss:
            why = f"{100 * loss:.0f} % of the gaze is lost."
        else:
            kundel = kundel_class(looks, dwell_s=chosen.dwell_s)
    return {
        "finding": finding.name,
        "side": finding.side,
        "confidence": finding.confidence,
        "marked_elsewhere": finding.elsewhere,
        "reported": reported,
        "looks": None if looks is None else asdict(looks),
        "kundel": kundel,
        "not_estimable": why,
    }


def _of_assistance(
    track: GazeTrack, shown: Assistance, start: float | None, end: float | None, chosen: Parameters
) -> dict[str, Any] | None:
    if start is None or end is None:
        return None
    fixations = track.fixations
    moment = min(max(shown.revealed_s, start), end)
    on = np.zeros(len(fixations), dtype=bool)
    for area in shown.areas:
        on |= on_area(fixations, area, field_deg=chosen.field_deg)
    panel = None
    if shown.moved_s is not None and shown.rects is not None:
        panel = time_inside(track.t, track.screen_x, track.screen_y, shown.moved_s, shown.rects)
    return {
        "revealed_s": shown.revealed_s - start,
        "viewing_before_s": moment - start,
        "viewing_after_s": end - moment,
        "boxes": len(shown.areas),
        "boxes_before_s": dwell_between(fixations, on, -np.inf, shown.revealed_s) if shown.areas else None,
        "boxes_after_s": dwell_between(fixations, on, shown.revealed_s, np.inf) if shown.areas else None,
        "panel_s": panel,
    }
