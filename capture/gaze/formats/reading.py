"""What every format writes and reads: one person's reading of one image, as a GazeTrack with what belongs to it."""

from __future__ import annotations

import json
import logging
import re
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capture.gaze import quality
from capture.gaze.display import Display
from capture.gaze.events import ivt
from capture.gaze.mapping import ViewportStates
from capture.gaze.track import SCHEMA, FixationTable, GazeTrack

from .errors import FormatError
from .xdf import Stream

log = logging.getLogger(__name__)

Floats = NDArray[np.float64]
Sentence = tuple[str, float, float]

#: A gaze file steps by less than this; what steps by more is not in seconds.
MAX_STEP_S = 0.2


@dataclass(frozen=True, eq=False)
class Reading:
    """One reading of one image.

    Attributes
    ----------
    id
        Names it in its export; letters, digits, `-` and `_`.
    reader, image, patient, study
        Pseudonyms; empty where unknown.
    track
        Gaze in image pixels.
    sentences
        (text, start, end), seconds of recording time.
    raw
        The tracker's own streams as they were recorded, for formats that hold them.
    info
        What else is known, JSON values: source, hashes, acquisition, calibration.
    number
        Its place in its export, from 1; REFLACX names readings by it.
    """

    id: str
    reader: str
    image: str
    track: GazeTrack
    patient: str = ""
    study: str = ""
    sentences: tuple[Sentence, ...] = ()
    raw: tuple[Stream, ...] = ()
    info: Mapping[str, Any] = field(default_factory=dict)
    number: int = 1


@dataclass(frozen=True, eq=False)
class Found:
    """A reading found in a foreign file, before its image is known.

    Attributes
    ----------
    id, image, reader
        As the file calls them; empty where it does not.
    size
        (rows, columns) of the image where the file tells, else None.
    sources
        The reading's own files, name → content: what it can be read from again.
    build
        (rows, columns) of the image → the Reading. Raises FormatError.
    where
        The file, for messages.
    remark
        What is unusual about the file and was put up with, a sentence; mostly empty.
    """

    id: str
    image: str
    reader: str
    size: tuple[int, int] | None
    sources: Mapping[str, bytes]
    build: Callable[[int, int], Reading]
    where: str
    remark: str = ""

    def reading(self, size: tuple[int, int] | None = None) -> Reading:
        """The reading, for an image of this (rows, columns); by default of the size the file tells.

        Raises FormatError where neither is known, they differ, or the content cannot be gaze on such an image; nothing
        else, whatever a foreign file holds. What is returned can be stored, and its id names a file.
        """
        if size is None and self.size is None:
            raise FormatError(f"{self.where} does not tell the size of its image; give its rows and columns.")
        if size is not None and self.size is not None and tuple(size) != self.size:
            raise FormatError(
                f"{self.where} was recorded on an image of {self.size[1]} × {self.size[0]} pixels; "
                f"this one has {size[1]} × {size[0]}: match it to the right image."
            )
        rows, columns = size or self.size  # type: ignore[misc]
        try:
            made = self.build(rows, columns)
        except FormatError:
            raise
        except (LookupError, TypeError, AttributeError, ValueError, OverflowError) as error:
            # Neither the file's name nor what is in it, for the log is kept; the person who imports is told both.
            at = traceback.extract_tb(error.__traceback__)[-1]
            log.warning("a recording cannot be read: %s in %s:%s", type(error).__name__, at.filename, at.lineno)
            raise FormatError(
                f"{self.where} does not hold what its format says ({type(error).__name__}: {error}); export it again."
            ) from error
        return _checked(made, self.where)


def _checked(reading: Reading, where: str) -> Reading:
    """The reading under an id that is a name within its folder. Raises FormatError for one that cannot be kept."""
    track = reading.track
    meta = track.meta
    if not str(meta.get("schema")).startswith("gazeroom.track/"):
        raise FormatError(f"{where} has a gaze track of the schema {meta.get('schema')!r}; export it again.")
    for name, most, needed in (("data_loss", 1.0, True), ("rate_hz", np.inf, True), ("clock_bound_ms", np.inf, False)):
        value = meta.get(name)
        number = isinstance(value, int | float) and not isinstance(value, bool) and bool(0 <= value <= most)
        if not number and (needed or value is not None):
            raise FormatError(f"{where} has a gaze track whose {name} is {value!r}; export it again.")
    try:
        text = json.dumps(meta, allow_nan=False)
    except ValueError:
        raise FormatError(f"{where} describes its gaze track with a number that is not finite.") from None
    if "\\u0000" in text:
        raise FormatError(f"{where} describes its gaze track with a NUL character.")
    if track.states is not None:
        for state in (track.state, track.fixations.state):
            if len(state) and not -1 <= state.min() <= state.max() < len(track.states):
                raise FormatError(f"{where} counts viewport states that it does not hold; export it again.")
    for said, start, end in reading.sentences:
        if not -np.inf < start <= end < np.inf:
            raise FormatError(f"{where} has a sentence from {start:g} to {end:g} s ({said[:40]!r}); mend its times.")
    return replace(reading, id=re.sub(r"[^A-Za-z0-9_-]", "-", reading.id) or "reading")


# ── checks that every foreign table passes ────────────────────────────────────────────────────────────────────────────


def check_times(t: Floats, where: str, column: str, *, first_line: int = 2) -> None:
    """Refuse times that are missing, run backwards or are not in seconds. Repeated ones come from rounding."""
    bad = np.flatnonzero(~np.isfinite(t))
    if len(bad):
        raise FormatError(f"{where} has no {column} on line {bad[0] + first_line}; every sample needs its time.")
    if len(t) < 2:
        raise FormatError(f"{where} holds {len(t)} sample{'' if len(t) == 1 else 's'}; gaze needs at least two.")
    back = np.flatnonzero(np.diff(t) < 0)
    if len(back):
        line = int(back[0]) + 1 + first_line
        raise FormatError(
            f"{where} goes back in time on line {line} ({t[back[0] + 1]:g} after {t[back[0]]:g}); sort it."
        )
    step = float(np.median(np.diff(t)))
    if t[-1] == t[0]:
        raise FormatError(f"{where} has the same {column} on every line; it needs times in seconds.")
    if step > MAX_STEP_S:
        raise FormatError(
            f"{where} steps by {step:g} in {column}, which is in seconds: these look like milliseconds, divide by 1000."
        )


def check_pixels(
    x: Floats, y: Floats, rows: int, columns: int, where: str, columns_named: str, *, size_told: bool = False
) -> None:
    """Refuse positions that are fractions of the image, or, where a file tells no size, lie on one of another."""
    on = np.isfinite(x) & np.isfinite(y)
    if np.isinf(x).any() or np.isinf(y).any():
        raise FormatError(f"{where} has an infinite number in {columns_named}; leave lost samples empty.")
    if not on.any():
        raise FormatError(f"{where} has no gaze in {columns_named}: every sample is lost.")
    px, py = x[on], y[on]
    if min(rows, columns) >= 32 and np.abs(px).max() <= 2 and np.abs(py).max() <= 2:
        raise FormatError(
            f"{where} has {columns_named} between {min(px.min(), py.min()):g} and {max(px.max(), py.max()):g}: these "
            f"look like fractions of the image, and pixels of an image of {columns} × {rows} are needed."
        )
    beside = (px < -0.5) | (py < -0.5) | (px > columns - 0.5) | (py > rows - 0.5)
    if not size_told and beside.mean() > 0.75:
        raise FormatError(
            f"{where} has {100 * beside.mean():.0f} % of its gaze beside an image of {columns} × {rows} pixels: "
            "it belongs to an image of another size."
        )


# ── building tracks ───────────────────────────────────────────────────────────────────────────────────────────────────


def track_from_image_gaze(
    t: Floats,
    x: Floats,
    y: Floats,
    *,
    rows: int,
    columns: int,
    source: str,
    ppd: tuple[Floats, Floats] | None = None,
    states: ViewportStates | None = None,
    state: NDArray[np.int64] | None = None,
    screen: tuple[Floats, Floats] | None = None,
    display: Display | None = None,
    display_assumed: bool = False,
    fixations: FixationTable | None = None,
    origin: float = 0.0,
    meta: Mapping[str, Any] | None = None,
) -> GazeTrack:
    """A GazeTrack from gaze that is in image pixels already.

    Parameters
    ----------
    t
        Recording time, seconds, ascending, [N]. The first sample need not be at 0.
    x, y
        Image px, NaN where lost, [N].
    ppd
        Image px per degree, [N] each; NaN where unknown.
    states, state
        What was on the screen, and its index at each sample; without them the whole image is taken to have been.
    screen
        Gaze in screen px, [N] each; made from the states where it is not given.
    fixations
        The file's own; found here (I-VT) where it has none, if degrees are known.
    """
    n = len(t)
    nothing = np.full(n, np.nan)
    ppd_x, ppd_y = ppd if ppd is not None else (nothing, nothing.copy())
    on = np.isfinite(x) & np.isfinite(y)
    with np.errstate(invalid="ignore"):
        valid = on & (x >= -0.5) & (y >= -0.5) & (x <= columns - 0.5) & (y <= rows - 0.5)
    if states is not None:
        index = states.at(origin + t) if state is None else state
        rect = states.seen(index).image_rect
        with np.errstate(invalid="ignore"):
            # Half a thousandth: what rounding to three decimals may take.
            valid &= (x >= rect[:, 0] - 5e-4) & (x <= rect[:, 2] + 5e-4)
            valid &= (y >= rect[:, 1] - 5e-4) & (y <= rect[:, 3] + 5e-4)
        if screen is None:
            a, b, c, d, e, f = states.matrix[np.maximum(index, 0)].T
            screen = (a * x + c * y + e, b * x + d * y + f)
    else:
        index = np.zeros(n, dtype=np.int64) if state is None else state
    screen_x, screen_y = screen if screen is not None else (nothing.copy(), nothing.copy())
    rate = _rate(t)
    if fixations is None:
        fixations = find_fixations(t, x, y, ppd_x, ppd_y, index)
    expected = max(n, round((float(t[-1] - t[0])) * rate) + 1) if n > 1 else n
    return GazeTrack(
        origin_lsl=origin,
        t=t,
        x=x,
        y=y,
        valid=valid,
        state=index,
        ppd_x=ppd_x,
        ppd_y=ppd_y,
        screen_x=screen_x,
        screen_y=screen_y,
        fixations=fixations,
        meta={
            "schema": SCHEMA,
            "source": source,
            "rate_hz": round(rate, 3),
            "samples": n,
            "data_loss": quality.data_loss(on, expected=expected),
            "clock_bound_ms": None,
            "clock_drift_ppm": None,
            "clock_exchanges": 0,
            "states": 0 if states is None else len(states),
            # A display nobody told is no display: degrees are then the file's own, or there are none.
            **({} if display is None else {"display": display.to_dict(), "display_assumed": display_assumed}),
            "rows": rows,
            "columns": columns,
            "rms_s2s_deg": None,
            **(meta or {}),
        },
        states=states,
    )


def _rate(t: Floats) -> float:
    """Samples a second, gaps left out. The mean step, because rounding to milliseconds leaves no step as it was."""
    steps = np.diff(t)
    if not (steps > 0).any():
        return 0.0
    near = steps[steps <= 5 * np.median(steps[steps > 0])]
    return float(1.0 / near.mean())


def find_fixations(
    t: Floats, x: Floats, y: Floats, ppd_x: Floats, ppd_y: Floats, state: NDArray[np.int64]
) -> FixationTable:
    """Fixations (I-VT) of gaze in image pixels, by the degrees that its pixels are; none where degrees are unknown."""
    scale_x, scale_y = (_median(ppd_x), _median(ppd_y))
    if scale_x is None or scale_y is None:
        return no_fixations()
    times = spread(t)
    found = ivt.detect(times, np.column_stack([x / scale_x, y / scale_y]))
    step = float(np.median(np.diff(times)))
    out = []
    for start, stop in zip(found.start, found.stop, strict=True):
        piece = slice(start, stop)
        if not np.isfinite(x[piece]).any():
            continue
        out.append(
            (
                np.nanmean(x[piece]),
                np.nanmean(y[piece]),
                t[start],
                t[stop - 1] - t[start] + step,
                state[start],
                scale_x if np.isnan(ppd_x[start]) else ppd_x[start],
                scale_y if np.isnan(ppd_y[start]) else ppd_y[start],
            )
        )
    return fixation_table(np.array(out, dtype=np.float64).reshape(-1, 7))


def fixation_table(rows: Floats) -> FixationTable:
    """The table of rows [K, 7]: x, y, onset, duration, state, ppd_x, ppd_y."""
    x, y, onset, duration, state, ppd_x, ppd_y = rows.T.copy()
    return FixationTable(x, y, onset, duration, state.astype(np.int64), ppd_x, ppd_y)


def no_fixations() -> FixationTable:
    return fixation_table(np.zeros((0, 7)))


def spread(t: Floats) -> Floats:
    """Times that rounding made equal, spread evenly up to the next one, so that every step is positive."""
    if len(t) < 2 or (np.diff(t) > 0).all():
        return t
    value, first, count = np.unique(t, return_index=True, return_counts=True)
    ends = np.r_[value[1:], value[-1] + (value[-1] - value[0]) / max(1, len(t) - 1)]
    within = np.arange(len(t)) - np.repeat(first, count)
    return np.repeat(value, count) + within * np.repeat((ends - value) / count, count)


def _median(values: Floats) -> float | None:
    good = values[np.isfinite(values)]
    return float(np.median(good)) if len(good) and np.median(good) > 0 else None


def sentences_from_words(words: Sequence[tuple[str, float, float]]) -> tuple[Sentence, ...]:
    """Words with their times (seconds) as sentences: they end at a full stop, question or exclamation mark.

    A mark may be a word of its own, as REFLACX writes it; the sentence then ends with it.
    """
    out: list[Sentence] = []
    run: list[tuple[str, float, float]] = []

    def close() -> None:
        spoken = [word for word, _, _ in run]
        if any(word not in _MARKS and word != "," for word in spoken):
            text = spoken[0]
            for word in spoken[1:]:
                text += word if word in _MARKS or word == "," else f" {word}"
            out.append((text, run[0][1], max(end for _, _, end in run)))
        run.clear()

    for word, start, end in words:
        word = word.strip()
        if not word:
            continue
        run.append((word, start, end))
        if word[-1] in ".?!" and not (len(word) > 1 and word[:-1].isdigit()):
            close()
    if run:
        close()
    return tuple(out)


_MARKS = {".", "?", "!"}


def numbered(reading: Reading, number: int) -> Reading:
    return replace(reading, number=number)
