"""BIDS eye tracking (BIDS 1.11): one physio table per eye, gzipped TSV without a header, with a JSON sidecar.

    sub-<reader>/beh/sub-<reader>_task-<study>_run-<n>_recording-eye{1,2,3}_physio.{tsv.gz,json}
    …_recording-eye3_physioevents.{tsv.gz,json}   fixations, sentences and viewport states
    …_events.{tsv,json}                           the image, and the screen it was on

eye1 is the left eye, eye2 the right, eye3 both ("cyclopean"), whose table also has the gaze in image pixels.
`timestamp` is LSL time in seconds; positions are screen pixels from the top left corner.
"""

from __future__ import annotations

import gzip
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from capture.gaze.display import Display
from capture.gaze.mapping import ViewportStates

from .errors import FormatError
from .reading import (
    Found,
    Reading,
    Sentence,
    check_pixels,
    check_times,
    fixation_table,
    no_fixations,
    track_from_image_gaze,
)
from .tables import gunzip, load, rows_of, to_numbers, write_rows

Floats = NDArray[np.float64]

VERSION: Final = "1.11.1"
PHYSIO: Final = ("timestamp", "x_coordinate", "y_coordinate", "pupil_size")
IMAGE: Final = (
    "image_x", "image_y", "on_image", "viewport", "pixels_per_degree_x", "pixels_per_degree_y",
)  # fmt: skip
EVENTS: Final = ("onset", "duration", "trial_type", "message")
NA: Final = "n/a"


# ── writing ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def write(reading: Reading, folder: Path) -> dict[str, Any]:
    """Write one reading as one run under `folder`. Raises FormatError without the display it was recorded on."""
    track = reading.track
    display = track.meta.get("display")
    if not display:
        raise FormatError(f"{reading.id} does not tell the display it was recorded on, which BIDS requires.")
    subject, task = _label(reading.reader) or "unknown", _label(reading.study) or "reading"
    beh = folder / f"sub-{subject}" / "beh"
    beh.mkdir(parents=True, exist_ok=True)
    stem = f"sub-{subject}_task-{task}_run-{reading.number}"
    stamps = track.origin_lsl + track.t
    if track.eyes is not None:
        for number, eye in enumerate(("left", "right"), start=1):
            x, y, mm = track.eyes[:, number - 1].T
            _physio(beh, stem, f"eye{number}", eye, reading, [stamps, _r(x), _r(y), _r(mm)], PHYSIO)
    columns: list[Any] = [stamps, _r(track.screen_x), _r(track.screen_y)]
    names: tuple[str, ...] = PHYSIO[:3]
    if track.eyes is not None:
        mm = track.eyes[:, :, 2]
        count = np.isfinite(mm).sum(axis=1)
        mean = np.where(count > 0, np.nansum(mm, axis=1) / np.maximum(count, 1), np.nan)
        columns, names = [*columns, _r(mean)], PHYSIO
    columns += [_r(track.x), _r(track.y), track.valid.astype(int), track.state, _r(track.ppd_x), _r(track.ppd_y)]
    _physio(beh, stem, "eye3", "cyclopean", reading, columns, (*names, *IMAGE))
    _events_of(beh, stem, reading)
    _stimulus(beh, stem, reading, display)
    return {"participant_id": f"sub-{subject}", "task": task, "study": reading.study}


def finish(folder: Path, rows: list[dict[str, Any]]) -> None:
    """Write what describes the dataset as a whole."""
    studies = sorted({row["study"] for row in rows if row.get("study")})
    _json(
        folder / "dataset_description.json",
        {
            "Name": f"Gaze of {', '.join(studies)}" if studies else "Gaze of radiology readings",
            "BIDSVersion": VERSION,
            "DatasetType": "raw",
            "GeneratedBy": [
                {"Name": "Gazeroom", "Description": "Export of recorded gaze; identifiers are pseudonyms."}
            ],
        },
    )
    people = sorted({row["participant_id"] for row in rows})
    text = "participant_id\n" + "".join(f"{person}\n" for person in people)
    (folder / "participants.tsv").write_text(text, encoding="utf-8")
    (folder / "README").write_text(
        "Gaze of people who read radiographs, recorded with an eye tracker and mapped into image pixels.\n"
        "Each run is one reading of one image by one person (subject). recording-eye1 and -eye2 are the left and the\n"
        "right eye, recording-eye3 is both eyes together, with its position in the image (pixel centres are whole\n"
        "numbers). Fixations, viewport states and, where they may be told, the report's sentences are physio events.\n",
        encoding="utf-8",
    )


def _label(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9]", "", text)


def _r(values: Floats) -> Floats:
    return np.round(values, 4)


def _physio(
    beh: Path, stem: str, recording: str, eye: str, reading: Reading, columns: Sequence[Any], names: Sequence[str]
) -> None:
    track, info = reading.track, reading.info
    path = beh / f"{stem}_recording-{recording}_physio"
    _tsv(path.with_name(path.name + ".tsv.gz"), columns)
    described: dict[str, Any] = {
        "TaskName": reading.study or "reading",
        "SamplingFrequency": track.meta["rate_hz"],
        "StartTime": 0,
        "Columns": list(names),
        "PhysioType": "eyetrack",
        "RecordedEye": eye,
        "SampleCoordinateSystem": "gaze-on-screen",
        "timestamp": {"Description": "LSL time of the sample", "Units": "s", "Origin": "LSL clock of the station"},
        "x_coordinate": {"Description": "Gaze on the screen, from its left edge", "Units": "pixel"},
        "y_coordinate": {"Description": "Gaze on the screen, from its top edge", "Units": "pixel"},
        "OriginLSL": track.origin_lsl,
        "ReadingID": reading.id,
    }
    if "pupil_size" in names:
        described["pupil_size"] = {"Description": "Pupil diameter", "Units": "mm"}
    if "image_x" in names:
        described |= {
            "image_x": {"Description": "Gaze in the image, columns; pixel centres are whole", "Units": "pixel"},
            "image_y": {"Description": "Gaze in the image, rows; pixel centres are whole", "Units": "pixel"},
            "on_image": {"Description": "1: on the visible part of the image"},
            "viewport": {"Description": "Number of the viewport state in the physioevents, -1 where there was none"},
            "pixels_per_degree_x": {"Description": "Image pixels per degree along columns", "Units": "pixel/degree"},
            "pixels_per_degree_y": {"Description": "Image pixels per degree along rows", "Units": "pixel/degree"},
        }
    calibration = info.get("calibration") or {}
    if calibration.get("accuracy_deg") is not None:
        described |= {"AverageCalibrationError": calibration["accuracy_deg"], "CalibrationCount": 1}
    device = info.get("acquisition") or {}
    for key, ours in (
        ("Manufacturer", "manufacturer"),
        ("ManufacturersModelName", "model"),
        ("DeviceSerialNumber", "serial_number"),
        ("SoftwareVersions", "firmware_version"),
    ):
        if device.get(ours):
            described[key] = str(device[ours])
    _json(path.with_name(path.name + ".json"), described)


def _events_of(beh: Path, stem: str, reading: Reading) -> None:
    track, f = reading.track, reading.track.fixations
    origin = track.origin_lsl
    rows: list[tuple[float, float | str, str, str]] = []
    for i in range(len(f)):
        told = {"x": f.x[i], "y": f.y[i], "viewport": int(f.state[i]), "ppd_x": f.ppd_x[i], "ppd_y": f.ppd_y[i]}
        rows.append((origin + float(f.onset[i]), float(f.duration[i]), "fixation", _message(told)))
    if track.states is not None:
        s = track.states
        for i in range(len(s)):
            told = {
                "viewport": i,
                "matrix": s.matrix[i].tolist(),
                "rect": s.rect[i].tolist(),
                "shown": bool(s.shown[i]),
                "focus": bool(s.focus[i]),
                "window": s.window[i].tolist(),
                "seq": int(s.seq[i]),
            }
            rows.append((float(s.t[i]), 0.0, "viewport", _message(told)))
    for text, start, end in reading.sentences:
        rows.append((origin + start, end - start, "sentence", _message({"text": text})))
    rows.sort(key=lambda row: row[0])
    path = beh / f"{stem}_recording-eye3_physioevents"
    _tsv(path.with_name(path.name + ".tsv.gz"), [list(column) for column in zip(*rows, strict=True)] or [[]] * 4)
    _json(
        path.with_name(path.name + ".json"),
        {
            "TaskName": reading.study or "reading",
            "Columns": list(EVENTS),
            "Description": f"{_fixations_of(reading)}, viewport states and sentences; message is JSON",
            "OnsetSource": "timestamp",
            "onset": {"Description": "LSL time", "Units": "s"},
            "trial_type": {"Levels": {
                "fixation": "x, y in image pixels, the viewport state it began under, image pixels per degree",
                "viewport": "matrix takes image pixels to screen pixels: x' = a x + c y + e, y' = b x + d y + f",
                "sentence": "a sentence of the report, from its first word to its last",
            }},
        },
    )  # fmt: skip


def _fixations_of(reading: Reading) -> str:
    """Fixations, and how they were found where the track tells it."""
    algorithm = (reading.track.meta.get("events") or {}).get("algorithm")
    names = {"ivt": "I-VT", "idt": "I-DT"}
    return f"Fixations ({names.get(algorithm, algorithm)})" if algorithm else "Fixations"


def _message(told: Mapping[str, Any]) -> str:
    """JSON on one line without a tab; what is not finite is null."""

    def clean(value: Any) -> Any:
        if isinstance(value, list):
            return [clean(one) for one in value]
        if isinstance(value, float | np.floating):
            return round(float(value), 9) if np.isfinite(value) else None
        return value

    return json.dumps({key: clean(value) for key, value in told.items()}, ensure_ascii=False).replace("\t", " ")


def _stimulus(beh: Path, stem: str, reading: Reading, display: Mapping[str, float]) -> None:
    track = reading.track
    duration = round(float(track.t[-1] - track.t[0]), 6) if len(track) else 0
    (beh / f"{stem}_events.tsv").write_text(
        f"onset\tduration\ttrial_type\timage\n0\t{duration}\treading\t{reading.image or NA}\n", encoding="utf-8"
    )
    _json(
        beh / f"{stem}_events.json",
        {
            "TaskName": reading.study or "reading",
            "image": {"Description": "The radiograph that was read (pseudonym)"},
            "trial_type": {"Levels": {"reading": "one image was read"}},
            "ImageRows": track.meta["rows"],
            "ImageColumns": track.meta["columns"],
            "StimulusPresentation": {
                "ScreenDistance": _metres(display["distance_mm"]),
                "ScreenOrigin": ["top", "left"],
                "ScreenResolution": [round(display["width_px"]), round(display["height_px"])],
                "ScreenSize": [_metres(display["width_mm"]), _metres(display["height_mm"])],
                "SoftwareName": "Gazeroom",
            },
        },
    )


def _metres(mm: float) -> float:
    return round(mm / 1000.0, 6)


def _json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _tsv(path: Path, columns: Sequence[Any]) -> None:
    # mtime 0: the same reading gives the same bytes.
    with path.open("wb") as raw, gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0, compresslevel=6) as packed:
        text = io.TextIOWrapper(packed, encoding="utf-8", newline="")
        write_rows(text, None, columns, delimiter="\t", empty=NA)
        text.flush()
        text.detach()


# ── reading ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def sniff(path: Path) -> bool:
    """Whether a folder (or a physio table) is a BIDS eye-tracking recording."""
    return any(True for _ in _recordings(path))


def _recordings(path: Path) -> Iterator[Path]:
    if path.is_file():
        files = [path.with_name(path.name[: -len(".tsv.gz")] + ".json")] if path.name.endswith("_physio.tsv.gz") else []
    else:
        files = sorted(path.rglob("*_physio.json"))
    for file in files:
        if file.is_file() and b'"eyetrack"' in file.read_bytes()[:100_000]:
            yield file


def read(path: Path, **_: Any) -> Iterator[Found]:
    """Every run whose physio table has gaze in image pixels, as `write` makes them."""
    some = False
    for file in _recordings(path):
        side = _sidecar(file)
        if not isinstance(side.get("Columns"), list):
            raise FormatError(f"{file.name} has no list of Columns, which BIDS requires; export it again.")
        if "image_x" not in side["Columns"]:
            continue
        some = True
        yield _found(file, side)
    if not some:
        raise FormatError(
            f"{path.name} holds no eye-tracking physio table with the columns image_x and image_y: gaze on a screen "
            "alone does not say where it is in the image."
        )


def _sidecar(file: Path) -> dict[str, Any]:
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FormatError(f"{file.name} is not readable JSON ({type(error).__name__}); export it again.") from None
    if not isinstance(value, dict):
        raise FormatError(f"{file.name} is not a JSON object; export it again.")
    return value


def _found(file: Path, side: Mapping[str, Any]) -> Found:
    stem = file.name[: -len("_physio.json")]
    table = file.with_name(f"{stem}_physio.tsv.gz")
    sources = {"physio.json": file.read_bytes(), "physio.tsv.gz": _raw(table)}
    events = file.with_name(f"{stem}_physioevents.tsv.gz")
    if events.is_file():
        sources["physioevents.tsv.gz"] = _raw(events)
    run = re.sub(r"_recording-[A-Za-z0-9]+$", "", stem)
    about = file.with_name(f"{run}_events.json")
    told = _sidecar(about) if about.is_file() else {}
    if about.is_file():
        sources["events.json"] = about.read_bytes()
    image = _image(file.with_name(f"{run}_events.tsv"))
    size = None
    if isinstance(told.get("ImageRows"), int) and isinstance(told.get("ImageColumns"), int):
        size = told["ImageRows"], told["ImageColumns"]
    subject = re.match(r"sub-([A-Za-z0-9]+)_", file.name)
    reader = subject.group(1) if subject else ""

    def build(rows: int, columns: int) -> Reading:
        return parse(sources, side, told, image=image, reader=reader, rows=rows, columns=columns, where=table.name)

    name = str(side.get("ReadingID") or run)
    return Found(re.sub(r"[^A-Za-z0-9_-]", "-", name), image, reader, size, sources, build, table.name)


def _raw(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise FormatError(f"{path.name} cannot be read: {error.strerror or error}.") from error


def _image(path: Path) -> str:
    if not path.is_file():
        return ""
    rows = [row for _, row in rows_of(load(path), path.name, delimiter="\t")]
    if len(rows) < 2 or "image" not in rows[0] or len(rows[1]) != len(rows[0]):
        return ""
    name = rows[1][rows[0].index("image")]
    return "" if name == NA else name


def parse(
    sources: Mapping[str, bytes],
    side: Mapping[str, Any],
    told: Mapping[str, Any],
    *,
    image: str,
    reader: str,
    rows: int,
    columns: int,
    where: str,
) -> Reading:
    """A reading from the contents of its files."""
    names = [str(name) for name in side["Columns"]]
    lines, cells = [], []
    for line, row in rows_of(gunzip(sources["physio.tsv.gz"], where), where, delimiter="\t"):
        if len(row) != len(names):
            raise FormatError(f"{where} has {len(row)} cells on line {line}; its sidecar names {len(names)} columns.")
        lines.append(line)
        cells.append(row)
    missing = [name for name in ("timestamp", "x_coordinate", "y_coordinate", "image_y") if name not in names]
    if missing:
        raise FormatError(f"{where} has no column {missing[0]}, which a gaze recording in image pixels needs.")

    def column(name: str) -> Floats:
        at = names.index(name)
        return to_numbers([row[at] for row in cells], name, where, lines)

    stamps = column("timestamp")
    check_times(stamps, where, "timestamp", first_line=1)
    origin = side.get("OriginLSL")
    origin = float(origin) if isinstance(origin, int | float) else float(stamps[0])
    x, y = column("image_x"), column("image_y")
    check_pixels(x, y, rows, columns, where, "image_x and image_y", size_told="ImageRows" in told)
    display = _display(told, where)
    events = _events(sources.get("physioevents.tsv.gz"), where)
    states = _states_of(events, rows, columns, display)
    state = column("viewport") if "viewport" in names and states is not None else None
    ppd = None
    if "pixels_per_degree_x" in names and "pixels_per_degree_y" in names:
        ppd = column("pixels_per_degree_x"), column("pixels_per_degree_y")
    index = None
    if state is not None:
        index = np.nan_to_num(state, nan=-1).astype(np.int64)
        if (index < -1).any() or (index >= len(states or ())).any():
            raise FormatError(f"{where} counts viewport states that its physioevents do not have.")
    track = track_from_image_gaze(
        stamps - origin, x, y, rows=rows, columns=columns, source="bids", ppd=ppd, states=states, state=index,
        screen=(column("x_coordinate"), column("y_coordinate")), display=display, origin=origin,
        fixations=_fixations(events, origin),
    )  # fmt: skip
    return Reading(
        str(side.get("ReadingID") or "reading"), reader, image, track, sentences=_sentences(events, origin),
        info={"format": "bids"},
    )  # fmt: skip


def _display(told: Mapping[str, Any], where: str) -> Display | None:
    screen = told.get("StimulusPresentation") or {}
    try:
        (width, height), (w, h) = screen["ScreenResolution"], screen["ScreenSize"]
        return Display(float(width), float(height), 1000 * float(w), 1000 * float(h), 1000 * screen["ScreenDistance"])
    except KeyError:
        return None
    except (TypeError, ValueError) as error:
        raise FormatError(f"The events.json of {where} describes a screen that cannot be: {error}") from None


Event = tuple[float, float, str, dict[str, Any]]


def _events(data: bytes | None, where: str) -> list[Event]:
    if data is None:
        return []
    out: list[Event] = []
    for line, row in rows_of(gunzip(data, where), where, delimiter="\t"):
        if len(row) != len(EVENTS):
            raise FormatError(f"The physioevents of {where} have {len(row)} cells on line {line}, not {len(EVENTS)}.")
        try:
            message = json.loads(row[3])
            out.append((float(row[0]), float(row[1]), row[2], dict(message)))
        except (ValueError, TypeError):
            raise FormatError(f"The physioevents of {where} cannot be read on line {line}.") from None
    return out


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)


def _fixations(events: Sequence[Event], origin: float) -> Any:
    rows = [
        (
            _number(m["x"]),
            _number(m["y"]),
            onset - origin,
            duration,
            m["viewport"],
            _number(m["ppd_x"]),
            _number(m["ppd_y"]),
        )
        for onset, duration, kind, m in events
        if kind == "fixation"
    ]
    return fixation_table(np.array(rows, dtype=np.float64)) if rows else no_fixations()


def _sentences(events: Sequence[Event], origin: float) -> tuple[Sentence, ...]:
    return tuple(
        (str(m["text"]), on - origin, on - origin + length) for on, length, kind, m in events if kind == "sentence"
    )


def _states_of(events: Sequence[Event], rows: int, columns: int, display: Display | None) -> ViewportStates | None:
    found = sorted(
        ((m["viewport"], onset, m) for onset, _, kind, m in events if kind == "viewport"), key=lambda s: s[0]
    )
    if not found or display is None:
        return None
    told = [m for _, _, m in found]
    return ViewportStates(
        np.array([onset for _, onset, _ in found]),
        np.array([m["matrix"] for m in told], dtype=np.float64),
        np.array([m["rect"] for m in told], dtype=np.float64),
        np.array([m["shown"] for m in told], dtype=bool),
        np.array([m["focus"] for m in told], dtype=bool),
        np.array([[_number(v) for v in m["window"]] for m in told], dtype=np.float64),
        np.array([m["seq"] for m in told], dtype=np.int64),
        rows,
        columns,
        display,
    )
