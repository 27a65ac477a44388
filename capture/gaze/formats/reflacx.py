"""REFLACX folders: gaze, fixations and dictated words in CSV, one folder a reading.

Bigolin Lanfredi et al., "REFLACX, a dataset of reports and eye-tracking data for localization of abnormalities in chest
x-rays" (Scientific Data 2022). Layout, written and read::

    main_data/metadata_phase_3.csv
    main_data/<id>/fixations.csv  timestamps_transcription.csv  transcription.txt
    gaze_data/<id>/gaze.csv

id is `P<phase><trial|00>R<6 digits>`. Times are seconds and positions image pixels, both with three decimals;
lines end in CRLF. Pixel centres are whole numbers here, so a whole image is shown from -0.5 to its size minus 0.5.
Written columns that no study of ours answers (the labels of `metadata_phase_3.csv`) stay empty. Only the start of a
sentence's first word and the end of its last were measured: words between lie where their letters would.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from capture.gaze.display import Display
from capture.gaze.mapping import Seen, ViewportStates
from capture.gaze.track import FixationTable

from .errors import FormatError
from .reading import (
    Found,
    Reading,
    Sentence,
    check_pixels,
    check_times,
    fixation_table,
    sentences_from_words,
    track_from_image_gaze,
)
from .tables import Table, dump, load

Floats = NDArray[np.float64]

PPD: Final = ("angular_resolution_x_pixels_per_degree", "angular_resolution_y_pixels_per_degree")
WINDOW: Final = ("window_width", "window_level")
SHOWN: Final = tuple(f"{edge}_shown_from_image" for edge in ("xmin", "ymin", "xmax", "ymax"))
SCREEN: Final = tuple(f"{edge}_in_screen_coordinates" for edge in ("xmin", "ymin", "xmax", "ymax"))
COMMON: Final = ("x_position", "y_position", "pupil_area_normalized", *PPD, *WINDOW, *SHOWN, *SCREEN)
GAZE: Final = ("timestamp_sample", *COMMON)
FIXATIONS: Final = ("timestamp_start_fixation", "timestamp_end_fixation", *COMMON)
WORDS: Final = ("word", "timestamp_start_word", "timestamp_end_word")
METADATA: Final = (
    "id", "split", "eye_tracking_data_discarded", "image", "dicom_id", "subject_id", "image_size_x", "image_size_y",
    "Support devices", "Abnormal mediastinal contour", "Enlarged cardiac silhouette", "Enlarged hilum", "Hiatal hernia",
    "Pneumothorax", "Pleural abnormality", "Consolidation", "Groundglass opacity", "Atelectasis",
    "Lung nodule or mass", "Pulmonary edema", "High lung volume / emphysema", "Interstitial lung disease",
    "Acute fracture", "Other",
)  # fmt: skip
CRLF: Final = "\r\n"
#: What the display is taken for where a folder does not tell it: only the angles it tells are used.
_DISTANCE_MM: Final = 650.0


# ── writing ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def write(reading: Reading, folder: Path) -> dict[str, Any]:
    """Write one reading's files under `folder`; returns its row of the metadata table."""
    track = reading.track
    name = f"P300R{reading.number:06d}"
    main, gaze = folder / "main_data" / name, folder / "gaze_data" / name
    main.mkdir(parents=True)
    gaze.mkdir(parents=True)
    seen, fixed = _seen(reading)
    pupil = _pupil_area(reading)
    dump(
        gaze / "gaze.csv",
        GAZE,
        [_r(track.t), _r(track.x), _r(track.y), _r(pupil), _r(track.ppd_x), _r(track.ppd_y), *_view(seen)],
        end=CRLF,
    )
    f = track.fixations
    dump(
        main / "fixations.csv",
        FIXATIONS,
        [
            *map(_r, (f.onset, f.onset + f.duration, f.x, f.y, _over(track.t, pupil, f), f.ppd_x, f.ppd_y)),
            *_view(fixed),
        ],
        end=CRLF,
    )
    words = [word for sentence in reading.sentences for word in _words(sentence)]
    starts, ends = (np.array([word[i] for word in words], dtype=np.float64) for i in (1, 2))
    dump(main / "timestamps_transcription.csv", WORDS, [[word for word, _, _ in words], _r(starts), _r(ends)], end=CRLF)
    (main / "transcription.txt").write_text(" ".join(text for text, _, _ in reading.sentences), encoding="utf-8")
    return {
        "id": name,
        "eye_tracking_data_discarded": False,
        "image": reading.image,
        "dicom_id": reading.image,
        "subject_id": reading.patient,
        "image_size_x": track.meta["columns"],
        "image_size_y": track.meta["rows"],
    }


def finish(folder: Path, rows: list[dict[str, Any]]) -> None:
    """Write the table of all readings."""
    columns = [[row.get(column, "") for row in rows] for column in METADATA]
    (folder / "main_data").mkdir(parents=True, exist_ok=True)
    dump(folder / "main_data" / "metadata_phase_3.csv", METADATA, columns, end=CRLF)


def _r(values: Floats) -> Floats:
    return np.round(values, 3) + 0.0  # no -0.0


def _seen(reading: Reading) -> tuple[Seen, Seen]:
    track = reading.track
    states = track.states
    if states is None:
        nothing = ViewportStates(
            np.zeros(0), np.zeros((0, 6)), np.zeros((0, 4)), np.zeros(0, bool), np.zeros(0, bool), np.zeros((0, 2)),
            np.zeros(0, np.int64), track.meta["rows"], track.meta["columns"], Display(1, 1, 1, 1, 1),
        )  # fmt: skip
        return nothing.seen(np.full(len(track), -1)), nothing.seen(np.full(len(track.fixations), -1))
    return states.seen(track.state), states.seen(track.fixations.state)


def _view(seen: Seen) -> list[Floats]:
    return [_r(seen.window_width), _r(seen.window_level), *_r(seen.image_rect).T, *_r(seen.screen_rect).T]


def _pupil_area(reading: Reading) -> Floats:
    """Mean pupil area of the valid eyes over its mean in this recording (dimensionless); NaN where no eye has one."""
    eyes = reading.track.eyes
    if eyes is None:
        return np.full(len(reading.track), np.nan)
    area = eyes[:, :, 2] ** 2
    count = np.isfinite(area).sum(axis=1)
    mean = np.where(count > 0, np.nansum(area, axis=1) / np.maximum(count, 1), np.nan)
    good = mean[np.isfinite(mean) & (mean > 0)]
    return mean / good.mean() if len(good) else np.full(len(mean), np.nan)


def _over(t: Floats, values: Floats, fixations: FixationTable) -> Floats:
    """The mean of finite values over each fixation, NaN where there is none."""
    good = np.isfinite(values)
    total, count = (np.r_[0.0, np.cumsum(v)] for v in (np.where(good, values, 0.0), good.astype(float)))
    start = np.searchsorted(t, fixations.onset - 1e-9)
    stop = np.searchsorted(t, fixations.onset + fixations.duration - 1e-9)
    n = count[stop] - count[start]
    return np.where(n > 0, (total[stop] - total[start]) / np.maximum(n, 1), np.nan)


def _words(sentence: Sentence) -> list[tuple[str, float, float]]:
    """A sentence as words with a mark at its end; only its own start and end were measured."""
    text, start, end = sentence
    words = text.split()
    if not words:
        return []
    mark = words[-1][-1] if words[-1][-1] in ".?!" else "."
    words[-1] = words[-1].rstrip(".?!")
    # A full stop inside would end the sentence for every reader of this format.
    words = [re.sub(r"[.?!]+$", "", word) for word in words]
    words = [word for word in words if word] + [mark]
    share = np.cumsum([0] + [len(word) for word in words[:-1]] + [0])
    edges = start + (end - start) * share / max(1, share[-1])
    return [(word, float(edges[i]), float(edges[i + 1])) for i, word in enumerate(words)]


# ── reading ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def sniff(path: Path) -> bool:
    """Whether a file or folder holds REFLACX gaze."""
    return any(True for _ in _gaze_files(path))


def read(path: Path, **_: Any) -> Iterator[Found]:
    """Every reading under a folder (or of one `gaze.csv`). Raises FormatError where there is none."""
    some = False
    metadata = _metadata(path)
    for file in _gaze_files(path):
        some = True
        yield _found(file, metadata)
    if not some:
        raise FormatError(f"{path.name} holds no gaze.csv with the column timestamp_sample, as REFLACX has.")


def _gaze_files(path: Path) -> Iterator[Path]:
    files = [path] if path.is_file() else sorted(path.rglob("gaze.csv"))
    for file in files:
        if file.suffix.lower() == ".csv" and not any(part.startswith(".") for part in file.relative_to(path).parts):
            with file.open("rb") as opened:
                if b"timestamp_sample" in opened.readline(4096):
                    yield file


def _metadata(path: Path) -> dict[str, dict[str, str]]:
    root = path if path.is_dir() else path.parent
    out: dict[str, dict[str, str]] = {}
    for place in (root, *root.parents[:3]):
        for file in sorted(place.glob("metadata_phase_*.csv")) + sorted(place.glob("main_data/metadata_phase_*.csv")):
            table = Table.read(load(file), file.name)
            table.need(("id", "dicom_id", "image_size_x", "image_size_y"), "REFLACX's table of readings")
            for row in table.rows:
                cells = dict(zip(table.header, row, strict=True))
                out.setdefault(cells["id"], cells)
        if out:
            break
    return out


def _found(file: Path, metadata: Mapping[str, Mapping[str, str]]) -> Found:
    name = file.parent.name
    where = f"{name}/{file.name}"
    beside = file.parent
    if file.parent.parent.name == "gaze_data":
        beside = file.parent.parent.parent / "main_data" / name
    sources = {"gaze.csv": load(file)}
    for other in ("fixations.csv", "timestamps_transcription.csv"):
        if (beside / other).is_file():
            sources[other] = load(beside / other)
    row = metadata.get(name, {})
    size = None
    if row:
        try:
            size = int(float(row["image_size_y"])), int(float(row["image_size_x"]))
        except ValueError:
            raise FormatError(f"The row {name} of metadata_phase_*.csv has an image size that is no number.") from None

    def build(rows: int, columns: int) -> Reading:
        named = row.get("dicom_id", "")
        return parse(
            sources, name=name, image=named, rows=rows, columns=columns, where=where, size_told=size is not None
        )

    return Found(name, row.get("dicom_id", ""), "", size, sources, build, where)


def parse(
    sources: Mapping[str, bytes],
    *,
    name: str,
    image: str,
    rows: int,
    columns: int,
    where: str,
    size_told: bool = False,
) -> Reading:
    """A reading from its files' contents: `gaze.csv`, and `fixations.csv`, `timestamps_transcription.csv` if there."""
    table = Table.read(sources["gaze.csv"], where)
    table.need(("timestamp_sample", "x_position", "y_position"), "REFLACX's gaze.csv")
    t, x, y = (table.numbers(column) for column in ("timestamp_sample", "x_position", "y_position"))
    check_times(t, where, "timestamp_sample")
    check_pixels(x, y, rows, columns, where, "x_position and y_position", size_told=size_told)
    gone = ~(np.isfinite(x) & np.isfinite(y))
    x[gone] = y[gone] = np.nan
    ppd = None
    if all(column in table for column in PPD):
        ppd = table.numbers(PPD[0]), table.numbers(PPD[1])
        if (ppd[0] <= 0).any() or (ppd[1] <= 0).any():
            raise FormatError(f"{where} has an angular resolution that is not positive.")
    states, state, display = _states(table, t, ppd, rows, columns, where)
    fixations = None
    if "fixations.csv" in sources:
        fixations = _fixations(sources["fixations.csv"], t, state, where.replace("gaze.csv", "fixations.csv"))
    track = track_from_image_gaze(
        t, x, y, rows=rows, columns=columns, source="reflacx", ppd=ppd, states=states, state=state, display=display,
        display_assumed=True, fixations=fixations,
    )  # fmt: skip
    sentences: tuple[Sentence, ...] = ()
    if "timestamps_transcription.csv" in sources:
        sentences = _sentences(sources["timestamps_transcription.csv"], where.replace("gaze.csv", "transcription"))
    return Reading(name, "", image, track, sentences=sentences, info={"format": "reflacx"})


def _states(
    table: Table, t: Floats, ppd: tuple[Floats, Floats] | None, rows: int, columns: int, where: str
) -> tuple[ViewportStates | None, NDArray[np.int64] | None, Display | None]:
    """What was on the screen, from the rectangles of each sample; a new state wherever they change."""
    if ppd is None or not all(column in table for column in (*SHOWN, *SCREEN)):
        return None, None, None
    view = np.column_stack([table.numbers(column) for column in (*SHOWN, *SCREEN)])
    window = np.full((len(t), 2), np.nan)
    if all(column in table for column in WINDOW):
        window = np.column_stack([table.numbers(column) for column in WINDOW])
    shown: NDArray[np.bool_] = np.asarray(np.isfinite(view).all(axis=1))
    if not shown.any():
        return None, None, None
    outside = shown & ((view[:, 2] > columns + 1) | (view[:, 3] > rows + 1) | (view[:, :2] < -1.5).any(axis=1))
    if outside.any():
        at = int(np.flatnonzero(outside)[0])
        raise FormatError(
            f"{where} shows image pixels up to {view[at, 2]:g}, {view[at, 3]:g} on line {at + 2}; the image has "
            f"{columns} × {rows} pixels, so it belongs to an image of another size."
        )
    # From the first shown sample on: what is not shown keeps its place and is marked hidden.
    first = int(np.flatnonzero(shown)[0])
    last_shown = np.maximum.accumulate(np.where(shown, np.arange(len(t)), first))
    filled = np.nan_to_num(np.column_stack([view[last_shown], window[last_shown], shown]), nan=np.inf)
    new = np.r_[True, (filled[1:] != filled[:-1]).any(axis=1)]
    new[:first] = False
    new[first] = True
    run = np.cumsum(new) - 1
    starts = np.flatnonzero(new)
    display = _display(view[first], ppd[0][first], ppd[1][first], view[shown])
    try:
        states = ViewportStates.from_rectangles(
            t[starts], view[last_shown][starts, :4], view[last_shown][starts, 4:], window=window[last_shown][starts],
            rows=rows, columns=columns, display=display,
        )  # fmt: skip
    except ValueError as error:
        raise FormatError(f"{where} has a shown rectangle that cannot be: {error}") from error
    states.shown[:] = shown[starts]
    return states, np.where(shown & (run >= 0), run, -1), display


def _display(view: Floats, ppd_x: float, ppd_y: float, shown: Floats) -> Display:
    """A display under which the folder's pixels per degree hold: its size in mm is not told, its angles are."""
    scale = (view[6:8] - view[4:6]) / (view[2:4] - view[0:2])  # screen px an image px
    degree_px = np.array([ppd_x, ppd_y]) * scale
    if not (np.isfinite(degree_px) & (degree_px > 0)).all():
        degree_px = np.array([40.0, 40.0])
    width, height = (float(max(1.0, np.ceil(shown[:, i].max()))) for i in (6, 7))
    mm = _DISTANCE_MM * np.tan(np.radians(1.0)) / degree_px
    return Display(width, height, float(width * mm[0]), float(height * mm[1]), _DISTANCE_MM)


def _fixations(data: bytes, t: Floats, state: NDArray[np.int64] | None, where: str) -> FixationTable:
    table = Table.read(data, where)
    table.need(FIXATIONS[:4], "REFLACX's fixations.csv")
    start, end, x, y = (table.numbers(column) for column in FIXATIONS[:4])
    if not np.isfinite(np.r_[start, end]).all() or (end < start).any():
        raise FormatError(f"{where} has a fixation without times, or one that ends before it begins.")
    if len(start) and (start[0] < t[0] - 60 or end[-1] > t[-1] + 60):
        raise FormatError(f"{where} has fixations at other times than its samples: {start[0]:g} to {end[-1]:g} s.")
    ppd = [table.numbers(c) if c in table else np.full(len(start), np.nan) for c in PPD]
    at = np.clip(np.searchsorted(t, start, side="left"), 0, len(t) - 1)
    index = np.zeros(len(start)) if state is None else state[at].astype(np.float64)
    order = np.argsort(start, kind="stable")
    return fixation_table(np.column_stack([x, y, start, end - start, index, *ppd])[order])


def _sentences(data: bytes, where: str) -> tuple[Sentence, ...]:
    table = Table.read(data, where)
    table.need(WORDS, "REFLACX's timestamps_transcription.csv")
    start, end = table.numbers(WORDS[1]), table.numbers(WORDS[2])
    if not np.isfinite(np.r_[start, end]).all() or (end < start).any():
        raise FormatError(f"{where} has a word without times, or one that ends before it begins.")
    return sentences_from_words(list(zip(table.text(WORDS[0]), start.tolist(), end.tolist(), strict=True)))
