"""EGD tables: gaze and fixations in the columns of "Eye Gaze Data for Chest X-rays" (Karargyris et al. 2021).

`eye_gaze.csv` has a row a sample, `fixations.csv` a row a fixation, both with Gazepoint's columns: FPOG (the fixation)
and BPOG (both eyes) are fractions of the screen, times are seconds, X_ORIGINAL and Y_ORIGINAL image pixels, beside the
image where they are negative or beyond its size. Written here, one folder a reading: times and fractions with five
decimals, image pixels with three. The tables hold neither the image's size nor the window, zoom or size of the screen;
an import takes the image's size from the image, and degrees only from a display that is given.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from capture.gaze.display import Display
from capture.gaze.mapping import ViewportStates
from capture.gaze.track import FixationTable

from .errors import FormatError
from .reading import (
    Found,
    Reading,
    check_pixels,
    check_times,
    fixation_table,
    no_fixations,
    track_from_image_gaze,
)
from .tables import Table, dump, load, rows_of

Floats = NDArray[np.float64]

KEY: Final = ("SESSION_ID", "MEDIA_ID", "DICOM_ID")
TIME: Final = "Time (in secs)"
COLUMNS: Final = (
    *KEY, "CNT", TIME, "TIMETICK(f=10000000)", "FPOGX", "FPOGY", "FPOGS", "FPOGD", "FPOGID", "FPOGV",
    "BPOGX", "BPOGY", "BPOGV", "LPMM", "LPMMV", "RPMM", "RPMMV", "X_ORIGINAL", "Y_ORIGINAL",
)  # fmt: skip
_NEEDED: Final = (*KEY, TIME, "BPOGX", "BPOGY", "BPOGV", "X_ORIGINAL", "Y_ORIGINAL")
#: EGD's own screen, pixels.
SCREEN_PX: Final = (1920, 1080)
#: A fit of image to screen that is worse than this is no single placement of the image.
_FIT_PX: Final = 2.0
#: Fewer samples would fit any placement.
_FIT_POINTS: Final = 20


# ── writing ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def write(reading: Reading, folder: Path) -> dict[str, Any]:
    """Write `<id>/eye_gaze.csv` and `<id>/fixations.csv` under `folder`. Raises FormatError without a display."""
    track, f = reading.track, reading.track.fixations
    display = track.meta.get("display")
    if not display:
        raise FormatError(f"{reading.id} does not tell the display it was recorded on, of which EGD gives fractions.")
    size = np.array([display["width_px"], display["height_px"]], dtype=np.float64)
    target = folder / reading.id
    target.mkdir(parents=True)
    n = len(track)
    screen = np.column_stack([track.screen_x, track.screen_y]) / size
    fixed = _on_screen(reading) / size
    current = np.clip(np.searchsorted(f.onset, track.t + 1e-9, side="right") - 1, -1, len(f) - 1)
    inside = current >= 0
    inside[inside] = track.t[inside] < (f.onset + f.duration)[current[inside]] - 1e-9
    at = np.maximum(current, 0)

    def of_fixation(values: Floats) -> Floats:
        return np.where(current >= 0, values[at], np.nan) if len(f) else np.full(n, np.nan)

    mm = track.eyes[:, :, 2] if track.eyes is not None else np.full((n, 2), np.nan)
    session = str(reading.number)
    good: NDArray[np.bool_] = np.asarray(np.isfinite(screen).all(axis=1))
    onset = of_fixation(f.onset)
    dump(
        target / "eye_gaze.csv",
        COLUMNS,
        [
            *([value] * n for value in (session, "1", reading.image)),
            np.arange(n),
            np.round(track.t, 5),
            np.round(track.t * 1e7).astype(np.int64),
            *(np.round(of_fixation(fixed[:, i]), 5) for i in (0, 1)),
            np.round(onset, 5),
            np.round(np.where(inside, track.t - onset, of_fixation(f.duration)), 5),
            np.where(current >= 0, current + 1, 0),
            inside.astype(int),
            *np.round(screen, 5).T,
            good.astype(int),
            *_pupils(mm),
            *(np.round(v, 3) for v in (track.x, track.y)),
        ],
    )
    k = len(f)
    begin = np.clip(np.searchsorted(track.t, f.onset - 1e-9), 0, max(0, n - 1))
    dump(
        target / "fixations.csv",
        COLUMNS,
        [
            *([value] * k for value in (session, "1", reading.image)),
            begin,
            np.round(f.onset, 5),
            np.round(f.onset * 1e7).astype(np.int64),
            *np.round(fixed, 5).T,
            np.round(f.onset, 5),
            np.round(f.duration, 5),
            np.arange(1, k + 1),
            np.ones(k, dtype=int),
            *np.round(screen[begin], 5).T,
            good[begin].astype(int),
            *_pupils(mm[begin]),
            *(np.round(v, 3) for v in (f.x, f.y)),
        ],
    )
    return {"id": reading.id, "dicom_id": reading.image}


def finish(folder: Path, rows: list[dict[str, Any]]) -> None:
    """EGD has no table of readings that these columns could fill."""


def _pupils(mm: Floats) -> list[Any]:
    return [v for eye in (0, 1) for v in (np.round(mm[:, eye], 3), np.isfinite(mm[:, eye]).astype(int))]


def _on_screen(reading: Reading) -> Floats:
    """Fixations in screen px [K, 2], through the state they began under."""
    track, f = reading.track, reading.track.fixations
    if track.states is None or not len(track.states):
        return np.full((len(f), 2), np.nan)
    a, b, c, d, e, g = track.states.matrix[np.maximum(f.state, 0)].T
    return np.column_stack([a * f.x + c * f.y + e, b * f.x + d * f.y + g])


# ── reading ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def sniff(path: Path) -> bool:
    """Whether a file or folder holds EGD gaze."""
    return any(True for _ in _gaze_files(path))


def _gaze_files(path: Path) -> Iterator[Path]:
    for file in [path] if path.is_file() else sorted(path.rglob("eye_gaze.csv")):
        if file.suffix.lower() == ".csv":
            with file.open("rb") as opened:
                line = opened.readline(8192)
            if b"DICOM_ID" in line and b"BPOGX" in line:
                yield file


def read(path: Path, *, display: Display | None = None, **_: Any) -> Iterator[Found]:
    """Every reading (session, media, image) of the `eye_gaze.csv` under a path.

    Parameters
    ----------
    display
        The screen it was recorded on; without it the tracks have no degrees. EGD's own has 1920 × 1080 pixels.
    """
    some = False
    for file in _gaze_files(path):
        some = True
        fixations = {}
        beside = file.parent / "fixations.csv"
        if beside.is_file():
            fixations = {key: (header, rows) for key, header, rows, _ in _groups(load(beside), beside.name)}
        for key, header, rows, lines in _groups(load(file), file.name):
            yield _found(key, header, rows, lines, fixations.get(key), display, file.name)
    if not some:
        raise FormatError(f"{path.name} holds no eye_gaze.csv with the columns DICOM_ID and BPOGX, as EGD has.")


Rows = tuple[Sequence[str], list[list[str]]]
_Key = tuple[str, str, str]


def _groups(data: bytes, name: str) -> Iterator[tuple[_Key, list[str], list[list[str]], list[int]]]:
    """Rows by session, media and image; those of one lie together."""
    source = rows_of(data, name)
    _, header = next(source, (0, []))
    header = [cell.strip() for cell in header]
    Table(name, header, [], []).need(KEY, "EGD")
    at = [header.index(column) for column in KEY]
    seen: set[_Key] = set()
    key: _Key | None = None
    rows: list[list[str]] = []
    lines: list[int] = []
    for line, row in source:
        if len(row) != len(header):
            raise FormatError(f"{name} has {len(row)} cells on line {line} and {len(header)} columns; mend that line.")
        now = (row[at[0]], row[at[1]], row[at[2]])
        if now != key:
            if key is not None:
                yield key, header, rows, lines
            if now in seen:
                raise FormatError(f"{name} comes back to session {now[0]}, media {now[1]} on line {line}; sort it.")
            seen.add(now)
            key, rows, lines = now, [], []
        rows.append(row)
        lines.append(line)
    if key is None:
        raise FormatError(f"{name} has no row under its columns.")
    yield key, header, rows, lines


def _found(
    key: _Key,
    header: Sequence[str],
    rows: list[list[str]],
    lines: list[int],
    fixations: Rows | None,
    display: Display | None,
    name: str,
) -> Found:
    where = f"{name} (session {key[0]}, media {key[1]})"
    sources = {"eye_gaze.csv": _csv(header, rows)}
    if fixations:
        sources["fixations.csv"] = _csv(*fixations)

    def build(image_rows: int, image_columns: int) -> Reading:
        table = Table(where, header, rows, lines)
        held = Table(f"fixations.csv (session {key[0]})", fixations[0], fixations[1], []) if fixations else None
        return parse(table, held, rows=image_rows, columns=image_columns, display=display)

    return Found("-".join(_plain(part) for part in key[:2]), key[2], "", None, sources, build, where)


def _plain(text: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in text) or "0"


def _csv(header: Sequence[str], rows: list[list[str]]) -> bytes:
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return out.getvalue().encode()


def parse(table: Table, held: Table | None, *, rows: int, columns: int, display: Display | None) -> Reading:
    """One reading from its rows of `eye_gaze.csv`, and of `fixations.csv` where there are some."""
    where = table.name
    table.need(_NEEDED, "EGD's eye_gaze.csv")
    t = table.numbers(TIME)
    first_line = table.lines[0] if table.lines else 2
    check_times(t, where, TIME, first_line=first_line)
    bpog = np.column_stack([table.numbers("BPOGX"), table.numbers("BPOGY")])
    told = np.column_stack([table.numbers("X_ORIGINAL"), table.numbers("Y_ORIGINAL")])
    good = (table.numbers("BPOGV") > 0) & np.isfinite(bpog).all(axis=1)
    if good.any() and np.median(np.abs(bpog[good])) > 3:
        raise FormatError(
            f"{where} has BPOGX and BPOGY of {bpog[good][0].tolist()}; EGD gives fractions of the screen."
        )
    width, height = (display.width_px, display.height_px) if display else SCREEN_PX
    screen = bpog * (width, height)
    screen[~good] = np.nan
    image, place = _in_image(table, screen, told, good, (width, height))
    x, y = image.T.copy()
    check_pixels(x, y, rows, columns, where, "X_ORIGINAL and Y_ORIGINAL")
    origin = t[0]
    t = t - origin
    states = ppd = None
    if display is not None and place is not None:
        scale, shift = place
        corners = np.array([-0.5, -0.5, columns - 0.5, rows - 0.5])
        on_screen = np.r_[corners[:2] * scale + shift, corners[2:] * scale + shift]
        states = ViewportStates.from_rectangles(
            [0.0], corners[None], on_screen[None], rows=rows, columns=columns, display=display
        )
        centre = states.pixels_per_degree()
        ppd = np.full(len(t), centre[0][0]), np.full(len(t), centre[1][0])
    fixations = _fixations(held or table, origin, held is not None, place, (width, height), ppd)
    track = track_from_image_gaze(
        t, x, y, rows=rows, columns=columns, source="egd", ppd=ppd, states=states, screen=(screen[:, 0], screen[:, 1]),
        state=np.zeros(len(t), dtype=np.int64), display=display, fixations=fixations,
    )  # fmt: skip
    image_name = table.text("DICOM_ID")[0]
    return Reading(_plain(table.text("SESSION_ID")[0]), "", image_name, track, info={"format": "egd"})


Place = tuple[Floats, Floats]


def _in_image(
    table: Table, screen: Floats, told: Floats, good: NDArray[np.bool_], size: tuple[float, float]
) -> tuple[Floats, Place | None]:
    """Samples in image px [N, 2], and where the image lay on the screen (screen = scale · image + shift).

    X_ORIGINAL and Y_ORIGINAL belong to BPOG in some tables and to FPOG in others; whichever they follow as one
    placement of the image gives that placement. Where they follow neither, the image moved, and they are taken for the
    samples'.
    """
    candidates = [screen]
    if "FPOGX" in table and "FPOGY" in table:
        candidates.append(np.column_stack([table.numbers("FPOGX"), table.numbers("FPOGY")]) * size)
    for number, points in enumerate(candidates):
        place = _placement(points, told)
        if place is not None:
            scale, shift = place
            image = told.copy() if number == 0 else (screen - shift) / scale
            image[~good] = np.nan
            return image, place
    image = told.copy()
    image[~good] = np.nan
    return image, None


def _placement(points: Floats, told: Floats) -> Place | None:
    both = np.isfinite(points).all(axis=1) & np.isfinite(told).all(axis=1)
    p, q = points[both], told[both]
    if len(p) < _FIT_POINTS or (np.ptp(q, axis=0) < 1).any() or (np.ptp(p, axis=0) == 0).any():
        return None
    scale, shift = np.empty(2), np.empty(2)
    for axis in (0, 1):
        scale[axis], shift[axis] = np.polyfit(q[:, axis], p[:, axis], 1)
    if (scale <= 0).any():
        return None
    error = np.abs((p - shift) / scale - q)
    return (scale, shift) if np.quantile(error, 0.995) <= _FIT_PX else None


def _fixations(
    table: Table, origin: float, own: bool, place: Place | None, size: tuple[float, float], ppd: Any
) -> FixationTable:
    """The file's own fixations: a row each in `fixations.csv`, else the last row of each FPOGID in the samples."""
    if not all(column in table for column in ("FPOGX", "FPOGY", "FPOGS", "FPOGD", "FPOGID", "FPOGV")):
        return no_fixations()
    x, y, start, length, number, valid = (
        table.numbers(column) for column in ("FPOGX", "FPOGY", "FPOGS", "FPOGD", "FPOGID", "FPOGV")
    )
    use = (valid > 0) & np.isfinite(start) & np.isfinite(length) & np.isfinite(number) & (length >= 0)
    rows = np.flatnonzero(use)
    _, last = np.unique(number[rows][::-1], return_index=True)
    rows = np.sort(rows[len(rows) - 1 - last])
    if own and "X_ORIGINAL" in table:
        image = np.column_stack([table.numbers("X_ORIGINAL"), table.numbers("Y_ORIGINAL")])[rows]
    elif place is not None:
        image = (np.column_stack([x, y])[rows] * size - place[1]) / place[0]
    else:
        return no_fixations()
    on = np.isfinite(image).all(axis=1)
    rows, image = rows[on], image[on]
    resolution = [np.full(len(rows), v[0]) for v in ppd or ([np.nan], [np.nan])]
    return fixation_table(
        np.column_stack([image, start[rows] - origin, length[rows], np.zeros(len(rows)), *resolution])
    )
