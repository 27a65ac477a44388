"""GazeTrack: a recording as gaze in image pixels, with its fixations.

A derivative: everything in it can be made again from the stored frames, viewport states and clock exchanges.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from capture.frames import GAZE_CHANNELS

from . import quality
from .calibration import IDENTITY, apply, binocular
from .clocks import ClockFit
from .display import Display
from .events import detection
from .events.table import Events, Kind
from .mapping import Seen, ViewportStates, to_image
from .stretches import Stretch, in_order

Floats = NDArray[np.float64]

SCHEMA = "gazeroom.track/2"
#: Before the track carried its viewport states.
_WITHOUT_STATES = "gazeroom.track/1"
#: A piece of a fixation that is shorter than this, because the image moved under it, has no place of its own.
MIN_FIXATION_S = 0.04
_ARRAYS = ("t", "x", "y", "valid", "state", "ppd_x", "ppd_y", "screen_x", "screen_y")
_FIXATIONS = ("x", "y", "onset", "duration", "state", "ppd_x", "ppd_y")


@dataclass(frozen=True)
class FixationTable:
    """Fixations in image pixels, in order of time, each array [K].

    x, y image px; onset (recording time) and duration in seconds; state index of the viewport state it began under;
    ppd_x, ppd_y image px per degree. A fixation the viewport moved under is cut there, so that one position holds.
    """

    x: Floats
    y: Floats
    onset: Floats
    duration: Floats
    state: NDArray[np.int64]
    ppd_x: Floats
    ppd_y: Floats

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True)
class GazeTrack:
    """Gaze on one image.

    Attributes
    ----------
    origin_lsl
        LSL seconds of recording time 0, the first sample.
    t
        Recording time, seconds, [N].
    x, y
        Image px (x column, y row, centres integers), NaN where there is none, [N]. Beside the image they run on.
    valid
        Gaze lies on the visible part of the image, [N].
    state
        Index of the viewport state, -1 where none was on the screen, [N].
    ppd_x, ppd_y
        Image px per degree along columns and rows, [N].
    screen_x, screen_y
        Corrected gaze in screen px, NaN where lost, [N].
    fixations
        See FixationTable.
    eyes
        Left and right eye: corrected gaze x, y in screen px and pupil diameter in mm, each NaN where not valid,
        [N, 2, 3]. None in tracks made before, or elsewhere.
    meta
        Facts of the making: schema, rate_hz, data_loss, clock_bound_ms, display, rows, columns.
    states
        What was on the screen; `state` counts in it. None in a track written before tracks carried it: make it again.
    """

    origin_lsl: float
    t: Floats
    x: Floats
    y: Floats
    valid: NDArray[np.bool_]
    state: NDArray[np.int64]
    ppd_x: Floats
    ppd_y: Floats
    screen_x: Floats
    screen_y: Floats
    fixations: FixationTable
    meta: dict[str, Any] = field(default_factory=dict)
    states: ViewportStates | None = None
    eyes: Floats | None = None

    def __len__(self) -> int:
        return len(self.t)

    def seen(self) -> Seen:
        """The visible part of the image, the window and the focus at each sample; `[N]` or `[N, 4]` each, see `Seen`.

        For fixations: `track.states.seen(track.fixations.state)`. Raises ValueError for a track without its states.
        """
        if self.states is None:
            raise ValueError("This gaze track does not say what was on the screen: process its recording again.")
        return self.states.seen(self.state)

    def to_bytes(self) -> bytes:
        """The track as an npz file; the same track always gives the same bytes."""
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer,
            allow_pickle=False,
            meta=np.frombuffer(json.dumps(self.meta, sort_keys=True).encode(), dtype=np.uint8),
            origin_lsl=np.float64(self.origin_lsl),
            **{name: getattr(self, name) for name in _ARRAYS},
            **{f"fixation_{name}": getattr(self.fixations, name) for name in _FIXATIONS},
            **({} if self.eyes is None else {"eyes": self.eyes}),
            **(
                {} if self.states is None else {f"viewport_{n}": getattr(self.states, n) for n in ViewportStates.ARRAYS}
            ),
        )
        return buffer.getvalue()

    def save(self, path: Path | str) -> str:
        """Write the npz and return its SHA-256."""
        data = self.to_bytes()
        Path(path).write_bytes(data)
        return hashlib.sha256(data).hexdigest()

    @classmethod
    def load(cls, path: Path | str) -> GazeTrack:
        """Read what `save` wrote. Raises ValueError if the file is something else."""
        try:
            with np.load(path, allow_pickle=False) as file:
                meta = json.loads(file["meta"].tobytes())
                if meta.get("schema") not in (SCHEMA, _WITHOUT_STATES):
                    raise ValueError(f"its schema is {meta.get('schema')!r}")
                return cls(
                    origin_lsl=float(file["origin_lsl"]),
                    fixations=FixationTable(**{name: file[f"fixation_{name}"] for name in _FIXATIONS}),
                    meta=meta,
                    states=_read_states(file, meta),
                    eyes=file.get("eyes", None),
                    **{name: file[name] for name in _ARRAYS},
                )
        except (KeyError, ValueError, OSError) as error:
            raise ValueError(f"{Path(path).name} is not a gaze track this version can read: {error}.") from error


def build_track(
    samples: ArrayLike,
    *,
    states: ViewportStates,
    correction: Mapping[str, Any] | None = None,
    clock: ClockFit | None = None,
    lost: int = 0,
    algorithm: detection.Algorithm = "ivt",
) -> GazeTrack:
    """Turn the gaze samples of one stretch into a GazeTrack: `join_tracks` of samples [N, 31] on the states' display.

    `correction` is each eye's from the calibration; none is applied if omitted.
    """
    eyes = correction if correction is not None else {"left": IDENTITY, "right": IDENTITY}
    stretch = Stretch(np.asarray(samples, dtype=np.float64), states.display, eyes)
    return join_tracks([stretch], states=states, clock=clock, lost=lost, algorithm=algorithm)


def join_tracks(
    stretches: Sequence[Stretch],
    *,
    states: ViewportStates,
    clock: ClockFit | None = None,
    lost: int = 0,
    algorithm: detection.Algorithm = "ivt",
) -> GazeTrack:
    """Turn everything that was recorded of one read into one GazeTrack.

    Parameters
    ----------
    stretches
        What was recorded, each stretch with its own display, calibration and clock. Put in order of time here
        (`stretches.in_order`); what could not be used is counted in the track's `meta["disorder"]` and is data loss.
    states
        What was on the screen, in LSL seconds, with the image's size.
    clock
        The fit that gave the states their times; its bound is published with the track.
    lost
        Samples known to be missing (by frame number); they count in the data loss.
    algorithm
        How events are found, with its defaults (`events.detection`); the track's `meta["events"]` names it.

    Returns
    -------
    GazeTrack
        Fixations are found in degrees on the screen, where the eye moves; then they are cut wherever the image moved on
        the screen, and each piece of at least 40 ms is placed in the image through its own state.

    Raises
    ------
    ValueError
        No samples with a time, or samples of another shape.
    """
    pieces, disorder = in_order(stretches)
    if not pieces:
        raise ValueError("The recording has no gaze samples.")
    origin = float(pieces[0].samples[0, 0])
    parts = [_part(piece, states, origin, algorithm) for piece in pieces]
    columns = [np.concatenate([part.columns[i] for part in parts]) for i in range(len(parts[0].columns))]
    # A short piece may lie in the silences of a longer one.
    order = np.argsort(columns[0], kind="stable")
    lsl, image, inside, state, ppd_x, ppd_y, screen, eyes = (column[order] for column in columns)
    table = [np.concatenate([getattr(part.fixations, name) for part in parts]) for name in _FIXATIONS]
    begun = np.argsort(table[_FIXATIONS.index("onset")], kind="stable")
    fixations = FixationTable(*(column[begun] for column in table))
    step = float(np.median(np.diff(lsl))) if len(lsl) > 1 else 0.0
    displays = [display.to_dict() for display in dict.fromkeys(piece.display for piece in pieces)]
    seen = np.isfinite(screen).all(axis=1)
    meta = {
        "schema": SCHEMA,
        "rate_hz": round(1.0 / step, 3) if step > 0 else 0.0,
        "samples": len(lsl),
        "origin_lsl": origin,
        "duration_s": float(lsl[-1]) - origin,
        "data_loss": quality.data_loss(seen, expected=len(lsl) + lost + disorder.left_out),
        "disorder": disorder.to_dict(),
        "clock_bound_ms": None if clock is None else clock.bound_s * 1000.0,
        "clock_drift_ppm": None if clock is None else clock.drift_ppm,
        "clock_exchanges": 0 if clock is None else clock.exchanges,
        "clock_pieces": 0 if clock is None else len(clock.pieces),
        "clock_rtt_ms": None if clock is None else clock.rtt_s * 1000.0,
        "events": {"algorithm": algorithm, **sum((part.counts for part in parts), Counter())},
        "states": len(states),
        "display": states.display.to_dict(),
        "displays": displays,
        "rows": states.rows,
        "columns": states.columns,
    }
    track = GazeTrack(
        origin_lsl=origin,
        t=lsl - origin,
        x=image[:, 0],
        y=image[:, 1],
        valid=inside,
        state=state,
        ppd_x=ppd_x,
        ppd_y=ppd_y,
        screen_x=screen[:, 0],
        screen_y=screen[:, 1],
        fixations=fixations,
        meta=meta,
        states=states,
        eyes=eyes,
    )
    found = quality.of_track(track)
    meta.update(rms_s2s_deg=found["rms_s2s"], std_rms_deg=found["std_rms"], bcea_deg2=found["bcea"])
    return track


class _Part(NamedTuple):
    """One piece mapped: time, image, inside, state, ppd x, ppd y, screen and eyes of its samples; how many events."""

    columns: tuple[Any, ...]
    fixations: FixationTable
    counts: Counter[str]


def _part(piece: Stretch, states: ViewportStates, origin: float, algorithm: detection.Algorithm) -> _Part:
    rows, display = piece.samples, piece.display
    here = states if display == states.display else replace(states, display=display)
    lsl = rows[:, 0]
    screen = display.to_px(screen_gaze(rows, piece.correction))
    mapped = to_image(lsl, screen, here)
    found = detection.detect(lsl, screen, display, algorithm=algorithm)
    counts = Counter({f"{kind.word}s": int((found.kind == kind).sum()) for kind in (Kind.SACCADE, Kind.BLINK)})
    fixations = _fixations(lsl, screen, found.of(Kind.FIXATION), mapped.state, here, origin)
    return _Part((lsl, *mapped[:2], mapped.state, *mapped[2:4], screen, _eyes(piece)), fixations, counts)


def _read_states(file: Any, meta: Mapping[str, Any]) -> ViewportStates | None:
    if "viewport_t" not in file:
        return None
    size = {"rows": meta["rows"], "columns": meta["columns"], "display": Display.from_dict(meta["display"])}
    return ViewportStates(**{name: file[f"viewport_{name}"] for name in ViewportStates.ARRAYS}, **size)


def screen_gaze(rows: Floats, correction: Mapping[str, Any]) -> Floats:
    """Corrected binocular gaze, normalised, [N, 2], from rows [N, 31]; NaN where no eye is valid."""
    return binocular(_raw_gaze(rows, "Left"), _raw_gaze(rows, "Right"), correction)


def _raw_gaze(rows: Floats, eye: str) -> Floats:
    x, y, ok = (rows[:, 1 + GAZE_CHANNELS.index(f"{eye}Screen{what}")] for what in ("X", "Y", "Valid"))
    xy = np.stack([x, y], axis=1)
    xy[~(_valid(ok) & np.isfinite(x) & np.isfinite(y))] = np.nan
    return xy


def _valid(told: Floats) -> NDArray[np.bool_]:
    """What a validity channel says; where the stream has none (NaN), a value that is there is valid."""
    return np.isnan(told) | (told > 0)


def _eyes(piece: Stretch) -> Floats:
    rows, correction, display = piece.samples, piece.correction, piece.display
    out = np.empty((len(rows), 2, 3))
    for place, eye in enumerate(("Left", "Right")):
        out[:, place, :2] = display.to_px(apply(correction.get(eye.lower()), _raw_gaze(rows, eye)))
        diameter, ok = (rows[:, 1 + GAZE_CHANNELS.index(f"{eye}Diameter{what}")] for what in ("", "Valid"))
        out[:, place, 2] = np.where(_valid(ok) & (diameter > 0), diameter, np.nan)
    return out


def _fixations(
    lsl: Floats,
    screen: Floats,
    found: Events,
    state: NDArray[np.int64],
    states: ViewportStates,
    origin: float,
) -> FixationTable:
    step = float(np.median(np.diff(lsl))) if len(lsl) > 1 else 0.0
    view = np.where(state >= 0, states.views()[np.maximum(state, 0)] if len(states) else 0, -1)
    out: list[tuple[float, ...]] = []
    for start, stop in zip(found.start, found.stop, strict=True):
        cuts = np.flatnonzero(np.diff(view[start:stop])) + start + 1
        for first, last in zip(np.r_[start, cuts], np.r_[cuts, stop], strict=True):
            duration = lsl[last - 1] - lsl[first] + step
            if state[first] < 0 or duration < MIN_FIXATION_S - 1e-9:
                continue
            piece = screen[first:last]
            piece = piece[np.isfinite(piece).all(axis=1)]
            if len(piece):
                out.append((first, duration, *piece.mean(axis=0)))
    first, duration, u, v = np.array(out, dtype=np.float64).reshape(-1, 4).T.copy()
    begun = first.astype(np.int64)
    place = to_image(lsl[begun], np.column_stack([u, v]), states)
    x, y = place.image_xy.T.copy()
    return FixationTable(x, y, lsl[begun] - origin, duration, state[begun], place.ppd_x, place.ppd_y)
