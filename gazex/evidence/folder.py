"""A reading as a REFLACX folder holds it: `gaze.csv` and `timestamps_transcription.csv`. Needs no torch and no pandas.

Both lie in one folder, or as the dataset comes: `gaze_data/ID/gaze.csv` and the words in `main_data/ID`.

Refused with one sentence: files, columns or numbers that are missing, times that run backwards or are not in seconds,
sentences without times, positions that are not pixels of the image. Samples that lack a number are kept as NaN.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from capture.gaze.formats.errors import FormatError
from capture.gaze.formats.tables import Table, load
from gazex.evidence.boxes import LEAD_S, QUARTER, Gaze
from gazex.radiograph import MAX_PIXELS

GAZE: Final = (
    "timestamp_sample",
    "x_position",
    "y_position",
    "angular_resolution_x_pixels_per_degree",
    "angular_resolution_y_pixels_per_degree",
)
WORDS: Final = ("word", "timestamp_start_word", "timestamp_end_word")
END: Final = "."
"""The word that ends a sentence."""
MOST_BESIDE: Final = 0.5
"""Largest share of a reading's gaze that may lie beside the image."""
CORNER: Final = 0.26
"""Share of the width and of the height within which no whole reading lies: there another unit is suspected."""
FULL_CIRCLE: Final = 360.0
MAX_STEP_S: Final = 0.5

Sentence = tuple[str, float, float]


@dataclass(frozen=True, eq=False)
class Reading:
    """Gaze on an image of `rows` × `columns` pixels, and its sentences: (text, first word's start, last word's end)."""

    gaze: Gaze
    sentences: list[Sentence]
    rows: int
    columns: int

    @property
    def times(self) -> list[tuple[float, float]]:
        return [(start, end) for _, start, end in self.sentences]


def read_folder(folder: Path | str, *, width: int, height: int) -> Reading:
    """Read one reading of an image of `width` × `height` pixels.

    Raises
    ------
    FormatError
        What is wrong, where, and what would mend it, in one sentence.
    """
    folder = Path(folder)
    _check_size(width, height)
    if not folder.is_dir():
        raise FormatError(f"There is no folder {folder}.")
    gaze = _gaze(_file(folder, "gaze.csv", "gaze"), width, height)
    sentences = _sentences(_file(folder, "timestamps_transcription.csv", "sentences with times"))
    _check_times(gaze.t_s, sentences)
    return Reading(gaze, sentences, height, width)


def _file(folder: Path, name: str, what: str) -> Path:
    """A file of the folder, or of its twin: REFLACX keeps `gaze_data/ID` and `main_data/ID`."""
    place = folder.resolve()
    twin = {"main_data": "gaze_data", "gaze_data": "main_data"}.get(place.parent.name, place.parent.name)
    for file in (folder / name, place.parent.parent / twin / place.name / name):
        if file.is_file():
            return file
    raise FormatError(f"{folder} holds no {what}: {name} is missing.")


def _check_size(width: int, height: int) -> None:
    if min(width, height) < QUARTER:
        raise FormatError(
            f"An image of {width} × {height} pixels has no map of a quarter of its size; "
            "give its real width and height."
        )
    if width * height > MAX_PIXELS:
        raise FormatError(
            f"An image of {width} × {height} pixels is larger than the {MAX_PIXELS // 1_000_000} million "
            "that are read; give its real width and height."
        )


def _table(path: Path, columns: tuple[str, ...]) -> Table:
    table = Table.read(load(path), path.name)
    table.need(columns, "a reading")
    for column in columns:
        if table.header.count(column) > 1:
            raise FormatError(f"{path.name} has {table.header.count(column)} columns {column}; leave the right one.")
    if not len(table):
        raise FormatError(f"{path.name} holds no line below its header.")
    return table


def _gaze(path: Path, width: int, height: int) -> Gaze:
    table = _table(path, GAZE)
    t, x, y, ppd_x, ppd_y = (table.numbers(column) for column in GAZE)
    timed = np.flatnonzero(np.isfinite(t))
    back = np.flatnonzero(np.diff(t[timed]) < 0)
    if len(back):
        line = table.lines[timed[back[0] + 1]]
        raise FormatError(f"{path.name} goes back in time on line {line}; sort it by {GAZE[0]}.")
    if len(timed) > 2 and np.median(np.diff(t[timed])) > MAX_STEP_S:
        raise FormatError(
            f"{path.name} steps by {np.median(np.diff(t[timed])):g} in {GAZE[0]}, which is in seconds: these look like "
            "milliseconds, divide by 1000."
        )
    for values, column in ((ppd_x, GAZE[3]), (ppd_y, GAZE[4])):
        _check_density(values, column, table, width, height)
    gaze = Gaze(t, x, y, ppd_x, ppd_y)
    _check_places(gaze.finite(), path.name, width, height)
    return gaze


def _check_density(ppd: NDArray[np.float64], column: str, table: Table, width: int, height: int) -> None:
    wrong = np.flatnonzero(ppd <= 0)
    if len(wrong):
        raise FormatError(
            f"{table.name} has {ppd[wrong[0]]:g} in {column} on line {table.lines[wrong[0]]}; it must be positive."
        )
    known = np.isfinite(ppd)
    wide = np.flatnonzero(known & (ppd > max(width, height)))
    if len(wide):
        raise FormatError(
            f"{table.name} has {ppd[wide[0]]:g} in {column} on line {table.lines[wide[0]]}, more than the image of "
            f"{width} × {height} pixels; give image pixels per degree of visual angle."
        )
    if known.any() and np.median(ppd[known]) * FULL_CIRCLE < max(width, height):
        raise FormatError(
            f"{table.name} has {np.median(ppd[known]):g} in {column}, by which an image of {width} × {height} pixels "
            "goes round the reader: give pixels per degree, not degrees per pixel, and the image's real size."
        )


def _check_places(known: Gaze, name: str, width: int, height: int) -> None:
    if not len(known):
        raise FormatError(f"{name} has no gaze: no line has all of its time, place and pixels per degree.")
    x, y = known.x, known.y
    if min(width, height) >= 32 and np.abs(x).max() <= 2 and np.abs(y).max() <= 2:
        raise FormatError(
            f"{name} has places between {min(x.min(), y.min()):g} and {max(x.max(), y.max()):g}: these look like "
            f"fractions of the image, and pixels of its {width} × {height} are needed."
        )
    beside = ((x < -0.5) | (y < -0.5) | (x > width - 0.5) | (y > height - 0.5)).mean()
    if beside > MOST_BESIDE:
        raise FormatError(
            f"{name} has {100 * beside:.0f} % of its gaze beside an image of {width} × {height} pixels: give the "
            "image's real width and height, and places in its pixels."
        )
    reach_x, reach_y = (float(np.percentile(v, 98)) for v in (x, y))
    if min(width, height) >= 32 and reach_x < CORNER * width and reach_y < CORNER * height:
        raise FormatError(
            f"{name} has nearly all of its gaze above and left of ({reach_x:.0f}, {reach_y:.0f}), a corner of an image "
            f"of {width} × {height} pixels: these look like another unit, as quarter-size pixels, millimetres or "
            "percent; give the image's real width and height, and places in its pixels."
        )


def _sentences(path: Path) -> list[Sentence]:
    table = _table(path, WORDS)
    words = table.text(WORDS[0])
    starts, ends = (table.numbers(column) for column in WORDS[1:])
    out: list[Sentence] = []
    begin = 0
    for k, word in enumerate(words):
        if word != END:
            continue
        start, end = float(starts[begin]), float(ends[k])
        line = table.lines[begin]
        if not np.isfinite([start, end]).all():
            raise FormatError(f"{path.name} has no times for the sentence that begins on line {line}.")
        if end < start:
            raise FormatError(f"{path.name} has a sentence that ends before it begins, on line {line}.")
        if out and start < out[-1][1]:
            raise FormatError(f"{path.name} goes back in time on line {line}; sort it by {WORDS[1]}.")
        out.append((" ".join(words[begin : k + 1]), start, end))
        begin = k + 1
    if not out:
        raise FormatError(f"{path.name} holds no sentence: none of its words is “{END}”, which ends one.")
    return out


def _check_times(t: NDArray[np.float64], sentences: list[Sentence]) -> None:
    t = np.sort(t[np.isfinite(t)])
    seen = any(
        np.searchsorted(t, start - LEAD_S) < np.searchsorted(t, end, side="right") for _, start, end in sentences
    )
    if not seen:
        raise FormatError(
            f"The gaze, {t[0]:g} to {t[-1]:g} s, lies in no sentence of {sentences[0][1]:g} to {sentences[-1][2]:g} s; "
            "both must count seconds from the same moment."
        )
