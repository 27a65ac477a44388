"""GazeTrack: a recording as gaze in image pixels, with its fixations.

A derivative: everything in it can be made again from the stored frames, viewport states and clock exchanges.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from capture.frames import GAZE_CHANNELS

from . import quality
from .calibration import IDENTITY, Affine, binocular
from .clocks import ClockFit
from .events import ivt
from .mapping import ViewportStates, to_image

Floats = NDArray[np.float64]

SCHEMA = "gazeroom.track/1"
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
    meta
        Facts of the making: schema, rate_hz, data_loss, clock_bound_ms, display, rows, columns.
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

    def __len__(self) -> int:
        return len(self.t)

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
                if meta.get("schema") != SCHEMA:
                    raise ValueError(f"its schema is {meta.get('schema')!r}")
                return cls(
                    origin_lsl=float(file["origin_lsl"]),
                    fixations=FixationTable(**{name: file[f"fixation_{name}"] for name in _FIXATIONS}),
                    meta=meta,
                    **{name: file[name] for name in _ARRAYS},
                )
        except (KeyError, ValueError, OSError) as error:
            raise ValueError(f"{Path(path).name} is not a gaze track this version can read: {error}.") from error


def build_track(
    samples: ArrayLike,
    *,
    states: ViewportStates,
    correction: Mapping[str, Affine | None] | None = None,
    clock: ClockFit | None = None,
    lost: int = 0,
) -> GazeTrack:
    """Turn gaze samples into a GazeTrack.

    Parameters
    ----------
    samples
        float64 [N, 31]: LSL seconds, then the 30 channels of `capture.frames.GAZE_CHANNELS`. Put in order of time here.
    states
        What was on the screen, in LSL seconds, with the display and the image's size.
    correction
        Each eye's affine from the calibration; none is applied if omitted.
    clock
        The fit that gave the states their times; its bound is published with the track.
    lost
        Samples known to be missing (by frame number); they count in the data loss.

    Returns
    -------
    GazeTrack
        Fixations are found in degrees on the screen (I-VT), where the eye moves; then they are cut wherever the image
        moved on the screen, and each piece of at least 40 ms is placed in the image through its own state.

    Raises
    ------
    ValueError
        No samples, or samples of another shape.
    """
    rows = np.asarray(samples, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[1] != 1 + len(GAZE_CHANNELS):
        raise ValueError(f"Gaze samples have shape [N, {1 + len(GAZE_CHANNELS)}], got {list(rows.shape)}.")
    rows = rows[np.isfinite(rows[:, 0])]
    if not len(rows):
        raise ValueError("The recording has no gaze samples.")
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    display = states.display
    lsl = rows[:, 0]
    gaze = screen_gaze(rows, correction if correction is not None else {"left": IDENTITY, "right": IDENTITY})
    screen = display.to_px(gaze)
    mapped = to_image(lsl, screen, states)
    seen = np.isfinite(screen).all(axis=1)
    degrees = display.to_degrees(screen)
    origin = float(lsl[0])
    rate = float(1.0 / np.median(np.diff(lsl))) if len(lsl) > 1 and np.median(np.diff(lsl)) > 0 else 0.0
    fixations = _fixations(lsl, screen, degrees, mapped.state, states, origin)
    meta = {
        "schema": SCHEMA,
        "rate_hz": round(rate, 3),
        "samples": len(lsl),
        "data_loss": quality.data_loss(seen, expected=len(lsl) + lost),
        "clock_bound_ms": None if clock is None else clock.bound_s * 1000.0,
        "clock_drift_ppm": None if clock is None else clock.drift_ppm,
        "clock_exchanges": 0 if clock is None else clock.exchanges,
        "states": len(states),
        "display": display.to_dict(),
        "rows": states.rows,
        "columns": states.columns,
        "rms_s2s_deg": _within_fixations(quality.rms_s2s, degrees, lsl, fixations, origin),
    }
    return GazeTrack(
        origin,
        lsl - origin,
        mapped.image_xy[:, 0],
        mapped.image_xy[:, 1],
        mapped.inside,
        mapped.state,
        mapped.ppd_x,
        mapped.ppd_y,
        screen[:, 0],
        screen[:, 1],
        fixations,
        meta,
    )


def screen_gaze(rows: Floats, correction: Mapping[str, Affine | None]) -> Floats:
    """Corrected binocular gaze, normalised, [N, 2], from rows [N, 31]; NaN where no eye is valid."""
    eyes = {}
    for eye in ("Left", "Right"):
        x, y, ok = (rows[:, 1 + GAZE_CHANNELS.index(f"{eye}Screen{what}")] for what in ("X", "Y", "Valid"))
        xy = np.stack([x, y], axis=1)
        xy[~((ok > 0) & np.isfinite(x) & np.isfinite(y))] = np.nan
        eyes[eye] = xy
    return binocular(eyes["Left"], eyes["Right"], correction)


def _fixations(
    lsl: Floats, screen: Floats, degrees: Floats, state: NDArray[np.int64], states: ViewportStates, origin: float
) -> FixationTable:
    found = ivt.detect(lsl, degrees)
    step = float(np.median(np.diff(lsl))) if len(lsl) > 1 else 0.0
    view = np.where(state >= 0, states.views()[np.maximum(state, 0)] if len(states) else 0, -1)
    inverse = states.inverse() if len(states) else np.zeros((0, 6))
    ppd = states.pixels_per_degree() if len(states) else (np.zeros(0), np.zeros(0))
    out: list[tuple[float, ...]] = []
    for start, stop in zip(found.start, found.stop, strict=True):
        cuts = np.flatnonzero(np.diff(view[start:stop])) + start + 1
        for first, last in zip(np.r_[start, cuts], np.r_[cuts, stop], strict=True):
            duration = lsl[last - 1] - lsl[first] + step
            s = int(state[first])
            if s < 0 or duration < 0.04 - 1e-9:
                continue
            piece = screen[first:last]
            piece = piece[np.isfinite(piece).all(axis=1)]
            if not len(piece):
                continue
            u, v = piece.mean(axis=0)
            i = inverse[s]
            out.append(
                (
                    i[0] * u + i[2] * v + i[4],
                    i[1] * u + i[3] * v + i[5],
                    lsl[first] - origin,
                    duration,
                    s,
                    ppd[0][s],
                    ppd[1][s],
                )
            )
    table = np.array(out, dtype=np.float64).reshape(-1, len(_FIXATIONS))
    x, y, onset, duration, begun, ppd_x, ppd_y = table.T.copy()
    return FixationTable(x, y, onset, duration, begun.astype(np.int64), ppd_x, ppd_y)


def _within_fixations(
    measure: Any, degrees: Floats, lsl: Floats, fixations: FixationTable, origin: float
) -> float | None:
    """A precision measure over fixation samples only: saccades are not imprecision."""
    if not len(fixations):
        return None
    start = np.searchsorted(lsl, fixations.onset + origin)
    stop = np.searchsorted(lsl, fixations.onset + fixations.duration + origin - 1e-9)
    inside = ivt.Fixations(start.astype(np.int64), stop.astype(np.int64)).mask(len(lsl))
    value: float | None = measure(np.where(inside[:, None], degrees, np.nan))
    return value
