"""Parquet: samples, fixations, viewport states and sentences as tables that any data frame library opens.

    samples/<id>.parquet  fixations/<id>.parquet  states/<id>.parquet  sentences/<id>.parquet

Every table has the columns `reading`, `reader` and `image`, so that a folder reads as one table
(`pandas.read_parquet("samples")`). Numbers are exact; `meta` in a file's metadata is the track's own JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from capture.gaze.display import Display
from capture.gaze.mapping import ViewportStates
from capture.gaze.track import GazeTrack

from .errors import FormatError
from .reading import Found, Reading, check_times, fixation_table

Floats = NDArray[np.float64]

KINDS: Final = ("samples", "fixations", "states", "sentences")
_SAMPLES: Final = ("t", "x", "y", "valid", "state", "ppd_x", "ppd_y", "screen_x", "screen_y")
_EYES: Final = tuple(f"{eye}_{what}" for eye in ("left", "right") for what in ("x", "y", "pupil_mm"))
_FIXATIONS: Final = ("x", "y", "onset", "duration", "state", "ppd_x", "ppd_y")
_MATRIX: Final = tuple("abcdef")
_RECT: Final = ("left", "top", "width", "height")
_UNITS: Final = {
    "t": "s", "onset": "s", "duration": "s", "start": "s", "end": "s", "x": "image px", "y": "image px",
    "screen_x": "screen px", "screen_y": "screen px", "ppd_x": "image px/degree", "ppd_y": "image px/degree",
    "left_x": "screen px", "left_y": "screen px", "right_x": "screen px", "right_y": "screen px",
    "left_pupil_mm": "mm", "right_pupil_mm": "mm",
}  # fmt: skip


def write(reading: Reading, folder: Path) -> dict[str, Any]:
    """Write one reading's four tables under `folder`."""
    track, f = reading.track, reading.track.fixations
    samples: dict[str, Any] = {name: getattr(track, name) for name in _SAMPLES}
    if track.eyes is not None:
        samples |= dict(zip(_EYES, track.eyes.reshape(-1, 6).T, strict=True))
    states: dict[str, Any] = {}
    if track.states is not None:
        s = track.states
        states = {"t": s.t - track.origin_lsl, "t_lsl": s.t}
        states |= dict(zip(_MATRIX, s.matrix.T, strict=True)) | dict(zip(_RECT, s.rect.T, strict=True))
        states |= {"shown": s.shown, "focus": s.focus, "window_width": s.window[:, 0], "window_level": s.window[:, 1]}
        states["seq"] = s.seq
    spoken = {
        "text": [text for text, _, _ in reading.sentences],
        "start": np.array([start for _, start, _ in reading.sentences], dtype=np.float64),
        "end": np.array([end for _, _, end in reading.sentences], dtype=np.float64),
    }
    tables = {"samples": samples, "fixations": {n: getattr(f, n) for n in _FIXATIONS}, "sentences": spoken}
    if states:
        tables["states"] = states
    for kind, columns in tables.items():
        _write(folder / kind / f"{reading.id}.parquet", columns, reading)
    return {"id": reading.id, "reader": reading.reader, "image": reading.image, "study": reading.study}


def finish(folder: Path, rows: list[dict[str, Any]]) -> None:
    """Write a table of the readings."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = ("id", "reader", "image", "study")
    pq.write_table(
        pa.table({n: pa.array([r.get(n, "") for r in rows], pa.string()) for n in names}), folder / "readings.parquet"
    )


def _write(path: Path, columns: dict[str, Any], reading: Reading) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    n = len(next(iter(columns.values())))
    same = {"reading": reading.id, "reader": reading.reader, "image": reading.image}
    arrays: dict[str, Any] = {
        name: pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int32)), pa.array([value], pa.string()))
        for name, value in same.items()
    }
    arrays |= {
        name: pa.array(v, pa.string()) if isinstance(v, list) else pa.array(np.ascontiguousarray(v))
        for name, v in columns.items()
    }
    fields = [
        pa.field(name, array.type, metadata={"unit": _UNITS[name]} if name in _UNITS else None)
        for name, array in arrays.items()
    ]
    meta = {
        "id": reading.id, "reader": reading.reader, "image": reading.image, "patient": reading.patient,
        "study": reading.study, "origin_lsl": reading.track.origin_lsl, "track": reading.track.meta,
        "info": dict(reading.info),
    }  # fmt: skip
    schema = pa.schema(fields, metadata={"gazeroom": json.dumps(meta, sort_keys=True)})
    pq.write_table(pa.Table.from_arrays(list(arrays.values()), schema=schema), path, compression="zstd")


# ── reading ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def sniff(path: Path) -> bool:
    """Whether a folder holds what `write` makes (or is one of its samples tables)."""
    return bool(_files(path))


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if path.suffix == ".parquet" and path.parent.name == "samples" else []
    return sorted(path.rglob("samples/*.parquet"))


def read(path: Path, **_: Any) -> Iterator[Found]:
    """Every reading under a folder."""
    files = _files(path)
    if not files:
        raise FormatError(f"{path.name} holds no samples/*.parquet.")
    for file in files:
        yield _found(file)


def _found(file: Path) -> Found:
    meta = _meta(file)
    sources = {"samples.parquet": file.read_bytes()}
    for kind in KINDS[1:]:
        other = file.parent.parent / kind / file.name
        if other.is_file():
            sources[f"{kind}.parquet"] = other.read_bytes()
    track = meta["track"]
    size = (track["rows"], track["columns"])

    def build(rows: int, columns: int) -> Reading:
        return parse(sources, meta, rows=rows, columns=columns, where=file.name)

    return Found(str(meta["id"]), str(meta["image"]), str(meta["reader"]), size, sources, build, file.name)


def _meta(file: Path) -> dict[str, Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        found = pq.read_schema(file).metadata or {}
        meta = json.loads(found[b"gazeroom"])
        if not isinstance(meta["track"]["rows"], int) or not isinstance(meta["track"]["columns"], int):
            raise ValueError("no image size")
        return {"id": "", "image": "", "reader": "", **meta}
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        raise FormatError(
            f"{file.name} is no Parquet table of a Gazeroom reading ({type(error).__name__}); export it again."
        ) from None


def parse(sources: Any, meta: dict[str, Any], *, rows: int, columns: int, where: str) -> Reading:
    """A reading from the contents of its tables."""
    samples = _columns(sources["samples.parquet"], where, _SAMPLES)
    check_times(samples["t"], where, "t")
    track_meta = dict(meta["track"])
    states = None
    if "states.parquet" in sources:
        s = _columns(sources["states.parquet"], where, ("t_lsl", *_MATRIX, *_RECT, "shown", "focus", "seq"))
        try:
            states = ViewportStates(
                s["t_lsl"],
                np.column_stack([s[name] for name in _MATRIX]),
                np.column_stack([s[name] for name in _RECT]),
                s["shown"].astype(bool),
                s["focus"].astype(bool),
                np.column_stack([s["window_width"], s["window_level"]]),
                s["seq"].astype(np.int64),
                rows,
                columns,
                Display.from_dict(track_meta["display"]),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise FormatError(f"{where} has viewport states that cannot be: {error}") from error
    fixations = fixation_table(np.zeros((0, 7)))
    if "fixations.parquet" in sources:
        f = _columns(sources["fixations.parquet"], where, _FIXATIONS)
        fixations = fixation_table(np.column_stack([f[name] for name in _FIXATIONS]))
    eyes = None
    if all(name in samples for name in _EYES):
        eyes = np.column_stack([samples[name] for name in _EYES]).reshape(-1, 2, 3)
    spoken: tuple[Any, ...] = ()
    if "sentences.parquet" in sources:
        told = _columns(sources["sentences.parquet"], where, ("text", "start", "end"))
        spoken = tuple(zip(told["text"], told["start"].tolist(), told["end"].tolist(), strict=True))
    track = GazeTrack(
        float(meta["origin_lsl"]),
        samples["t"],
        samples["x"],
        samples["y"],
        samples["valid"].astype(bool),
        samples["state"].astype(np.int64),
        samples["ppd_x"],
        samples["ppd_y"],
        samples["screen_x"],
        samples["screen_y"],
        fixations=fixations,
        meta=track_meta,
        states=states,
        eyes=eyes,
    )
    return Reading(
        str(meta["id"]), str(meta["reader"]), str(meta["image"]), track, str(meta.get("patient", "")),
        str(meta.get("study", "")), spoken, info={**(meta.get("info") or {}), "format": "parquet"},
    )  # fmt: skip


def _columns(data: bytes, where: str, needed: tuple[str, ...]) -> dict[str, Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(pa.BufferReader(data))
    except (pa.ArrowException, OSError) as error:
        raise FormatError(f"{where} is a damaged Parquet table ({type(error).__name__}); export it again.") from None
    missing = [name for name in needed if name not in table.column_names]
    if missing:
        raise FormatError(f"{where} has no column {missing[0]}, which a reading needs.")
    out: dict[str, Any] = {}
    for name in table.column_names:
        column = table.column(name)
        out[name] = column.to_pylist() if name == "text" else column.to_numpy()
    return out
