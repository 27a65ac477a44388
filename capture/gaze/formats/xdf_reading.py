"""Readings as XDF: the tracker's own streams with their LSL times, and beside them the track that was made of them.

    type Gaze           as recorded: channels with type, unit and eye, acquisition, display, clock offsets
    gazeroom-viewport   what was on the screen: JSON with the image-to-screen matrix (Markers)
    gazeroom-track      gaze in image pixels, a sample each (GazeTrack)
    gazeroom-fixations  x, y, onset, duration, state, pixels per degree (Fixations)
    gazeroom-sentences  JSON of sentences with their interval (Markers)

Everything is float64, so that a track comes back exactly. A file of somebody else has only a Gaze stream: its channels
are mapped by type and eye (`capture.agent.sources.layout`), its clock offsets are applied, and whoever imports it says
where on the display the image was.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from capture.agent.sources.layout import Channel, Undecided, Unusable, map_channels
from capture.gaze.display import Display
from capture.gaze.mapping import ViewportStates
from capture.gaze.track import GazeTrack, build_track

from . import xdf
from .errors import FormatError
from .reading import Found, Reading, Sentence, check_pixels, check_times, fixation_table, no_fixations
from .xdf import Stream

Floats = NDArray[np.float64]
#: left, top, right, bottom of the image on the display, screen px.
Placed = tuple[float, float, float, float]

TRACK: Final = (
    ("RecordingTime", "Time", "seconds", ""), ("ImageX", "ImageX", "image pixels", ""),
    ("ImageY", "ImageY", "image pixels", ""), ("OnImage", "Valid", "bool", ""), ("Viewport", "State", "count", ""),
    ("PixelsPerDegreeX", "Resolution", "image pixels/degree", ""),
    ("PixelsPerDegreeY", "Resolution", "image pixels/degree", ""),
    ("ScreenX", "ScreenPixelX", "screen pixels", ""), ("ScreenY", "ScreenPixelY", "screen pixels", ""),
)  # fmt: skip
EYES: Final = tuple(
    (f"{eye.capitalize()}{what}", f"Corrected{what}", unit, eye)
    for eye in ("left", "right")
    for what, unit in (("ScreenX", "screen pixels"), ("ScreenY", "screen pixels"), ("Pupil", "mm"))
)
_FIXATIONS: Final = ("x", "y", "onset", "duration", "state", "ppd_x", "ppd_y")


def write(reading: Reading, folder: Path) -> dict[str, Any]:
    """Write `<id>.xdf` under `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    header = {"reading": _about(reading)}
    xdf.write(folder / f"{reading.id}.xdf", streams_of(reading), info=header)
    return {"id": reading.id}


def finish(folder: Path, rows: list[dict[str, Any]]) -> None:
    """Every file tells its own."""


def streams_of(reading: Reading) -> list[Stream]:
    """The reading's streams, its raw ones first."""
    track, f = reading.track, reading.track.fixations
    columns = [track.t, track.x, track.y, track.valid, track.state, track.ppd_x, track.ppd_y, track.screen_x]
    values = np.column_stack([*columns, track.screen_y]).astype(np.float64)
    channels: tuple[xdf.Channel, ...] = TRACK
    if track.eyes is not None:
        values, channels = np.column_stack([values, track.eyes.reshape(-1, 6)]), TRACK + EYES
    out = list(reading.raw)
    about = {"origin_lsl": track.origin_lsl, "track_json": json.dumps(track.meta, sort_keys=True), **_about(reading)}
    out.append(
        Stream(
            "gazeroom-track",
            "GazeTrack",
            track.origin_lsl + track.t,
            values,
            channels,
            float(track.meta.get("rate_hz") or 0.0),
            source_id=f"gazeroom-{reading.id}-track",
            desc={"reading": about},
        )
    )
    table = np.column_stack([getattr(f, name) for name in _FIXATIONS]).astype(np.float64)
    out.append(
        Stream(
            "gazeroom-fixations",
            "Fixations",
            track.origin_lsl + f.onset,
            table,
            [(name, name, "", "") for name in _FIXATIONS],
            source_id=f"gazeroom-{reading.id}-fixations",
        )
    )
    if track.states is not None:
        s = track.states
        told = [
            json.dumps({
                "t": s.t[i], "matrix": s.matrix[i].tolist(), "rect": s.rect[i].tolist(), "shown": bool(s.shown[i]),
                "focus": bool(s.focus[i]), "window": _nullable(s.window[i]), "seq": int(s.seq[i]),
            })
            for i in range(len(s))
        ]  # fmt: skip
        out.append(Stream("gazeroom-viewport", "Markers", s.t, told, source_id=f"gazeroom-{reading.id}-viewport"))
    if reading.sentences:
        start = np.array([start for _, start, _ in reading.sentences])
        said = [
            json.dumps({"text": text, "start": start, "end": end}, ensure_ascii=False)
            for text, start, end in reading.sentences
        ]
        out.append(
            Stream(
                "gazeroom-sentences",
                "Markers",
                track.origin_lsl + start,
                said,
                source_id=f"gazeroom-{reading.id}-sentences",
            )
        )
    return out


def _nullable(values: Floats) -> list[float | None]:
    return [float(v) if np.isfinite(v) else None for v in values]


def _about(reading: Reading) -> dict[str, Any]:
    return {
        "id": reading.id,
        "reader": reading.reader,
        "image": reading.image,
        "patient": reading.patient,
        "study": reading.study,
        "info_json": json.dumps(dict(reading.info), sort_keys=True),
    }


# ── reading ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def sniff(path: Path) -> bool:
    """Whether a file is XDF, or a folder holds such files."""
    return any(True for _ in _files(path))


def _files(path: Path) -> Iterator[Path]:
    for file in [path] if path.is_file() else sorted(path.rglob("*.xdf")):
        with file.open("rb") as opened:
            if opened.read(4) == xdf.MAGIC:
                yield file


def read(
    path: Path, *, display: Display | None = None, placed: Placed | None = None, image: str = "", **_: Any
) -> Iterator[Found]:
    """Every reading of the XDF files under a path.

    Parameters
    ----------
    display
        Of files that do not describe it.
    placed
        Where the image was on the display: left, top, right, bottom in screen px. Files written here tell themselves.
    image
        The image of files that do not name it; the file's name without its suffix by default.
    """
    some = False
    for file in _files(path):
        some = True
        yield _found(file, display, placed, image)
    if not some:
        raise FormatError(f"{path.name} is no XDF file (it does not begin with XDF:), and holds none.")


def _found(file: Path, display: Display | None, placed: Placed | None, image: str) -> Found:
    where = file.name
    try:
        sources = {"recording.xdf": file.read_bytes()}
    except OSError as error:
        raise FormatError(f"{where} cannot be read: {error.strerror or error}.") from error
    contents = xdf.read(file)
    remark = ""
    if contents.dropped:
        remark = f"{where} is cut off or damaged: {contents.dropped} bytes of it could not be used."
    ours = next((s for s in contents.streams if s.name == "gazeroom-track" and s.type == "GazeTrack"), None)
    if ours is not None:
        about = ours.desc.get("reading")
        about = about if isinstance(about, dict) else {}
        meta = _meta(about, where)
        size = meta["rows"], meta["columns"]

        def rebuild(rows: int, columns: int) -> Reading:
            return _rebuilt(contents, ours, about, meta, rows, columns, where)

        name = re.sub(r"[^A-Za-z0-9_-]", "-", str(about.get("id") or file.stem))
        return Found(
            name, str(about.get("image", "")), str(about.get("reader", "")), size, sources, rebuild, where, remark
        )

    def build(rows: int, columns: int) -> Reading:
        return _foreign(file, image or file.stem, rows, columns, display, placed)

    return Found(re.sub(r"[^A-Za-z0-9_-]", "-", file.stem), image or file.stem, "", None, sources, build, where, remark)


def _meta(about: Mapping[str, Any], where: str) -> dict[str, Any]:
    try:
        meta = json.loads(str(about["track_json"]))
        if not isinstance(meta["rows"], int) or not isinstance(meta["columns"], int):
            raise ValueError("no image size")
        float(about["origin_lsl"])
        return dict(meta)
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(
            f"{where} has a gaze track that does not describe itself ({error}); export it again."
        ) from None


def _rebuilt(
    contents: xdf.Contents, ours: Stream, about: Mapping[str, Any], meta: dict[str, Any], rows: int, columns: int,
    where: str,
) -> Reading:  # fmt: skip
    values = ours.values
    if isinstance(values, list) or values.shape[1] not in (len(TRACK), len(TRACK) + len(EYES)):
        raise FormatError(f"{where} has a gaze track with other channels than {len(TRACK)}; export it again.")
    t, x, y, valid, state, ppd_x, ppd_y, sx, sy = values[:, : len(TRACK)].T.copy()
    check_times(t, where, "RecordingTime", first_line=1)
    origin = float(about["origin_lsl"])
    if len(t) != meta.get("samples"):
        # Part of the track is lost; what was told of the whole does not hold of the rest.
        lost = 1.0 - float(np.isfinite(sx).sum()) / max(len(t), int(meta.get("samples") or 0))
        meta = {**meta, "samples": len(t), "data_loss": lost, "cut_off": True}
    named = {s.name: s for s in contents.streams}
    states = _states(named.get("gazeroom-viewport"), meta, rows, columns, where)
    table = named.get("gazeroom-fixations")
    fixations = no_fixations()
    if table is not None and not isinstance(table.values, list) and table.values.shape[1] == len(_FIXATIONS):
        fixations = fixation_table(table.values)
    count = 0 if states is None else len(states)
    if states is not None and (state >= count).any():
        # A file that was cut off before its states: what they showed is not known.
        raise FormatError(f"{where} counts viewport states that it does not hold; it is damaged, export it again.")
    eyes = values[:, len(TRACK) :].reshape(-1, 2, 3) if values.shape[1] > len(TRACK) else None
    track = GazeTrack(
        origin, t, x, y, valid > 0, state.astype(np.int64), ppd_x, ppd_y, sx, sy, fixations, meta, states, eyes
    )
    return Reading(
        str(about.get("id", "")), str(about.get("reader", "")), str(about.get("image", "")), track,
        str(about.get("patient", "")), str(about.get("study", "")), _sentences(named.get("gazeroom-sentences"), where),
        tuple(s for s in contents.streams if not s.name.startswith("gazeroom-")),
        {**_info(about), "format": "xdf"},
    )  # fmt: skip


def _info(about: Mapping[str, Any]) -> dict[str, Any]:
    try:
        value = json.loads(str(about.get("info_json") or "{}"))
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _records(stream: Stream | None, where: str) -> list[dict[str, Any]]:
    if stream is None or not isinstance(stream.values, list):
        return []
    try:
        found = [json.loads(text) for text in stream.values]
    except ValueError:
        raise FormatError(f"{where} has a text in {stream.name} that is not JSON; export it again.") from None
    return [one for one in found if isinstance(one, dict)]


def _states(
    stream: Stream | None, meta: Mapping[str, Any], rows: int, columns: int, where: str
) -> ViewportStates | None:
    told = _records(stream, where)
    if not told:
        return None
    try:
        return ViewportStates(
            np.array([m["t"] for m in told], dtype=np.float64),
            np.array([m["matrix"] for m in told], dtype=np.float64),
            np.array([m["rect"] for m in told], dtype=np.float64),
            np.array([m["shown"] for m in told], dtype=bool),
            np.array([m["focus"] for m in told], dtype=bool),
            np.array([[np.nan if v is None else v for v in m["window"]] for m in told], dtype=np.float64),
            np.array([m["seq"] for m in told], dtype=np.int64),
            rows,
            columns,
            Display.from_dict(meta["display"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(f"{where} has a viewport state that cannot be read ({error}); export it again.") from error


def _sentences(stream: Stream | None, where: str) -> tuple[Sentence, ...]:
    try:
        return tuple((str(m["text"]), float(m["start"]), float(m["end"])) for m in _records(stream, where))
    except (KeyError, TypeError, ValueError):
        raise FormatError(f"{where} has a sentence without its times; export it again.") from None


# ── files of others ───────────────────────────────────────────────────────────────────────────────────────────────────


def _foreign(
    file: Path, image: str, rows: int, columns: int, display: Display | None, placed: Placed | None
) -> Reading:
    where = file.name
    contents = xdf.read(file, synchronise=True)
    gaze = [s for s in contents.streams if s.type.strip().lower() in ("gaze", "eyetracking", "eye tracking")]
    gaze = [s for s in gaze if not isinstance(s.values, list)]
    if not gaze:
        kinds = ", ".join(sorted({s.type for s in contents.streams if s.type})) or "none with a type"
        raise FormatError(f"{where} has no stream of type Gaze (its streams: {kinds}).")
    if len(gaze) > 1:
        raise FormatError(
            f"{where} has {len(gaze)} Gaze streams ({', '.join(s.name for s in gaze)}); keep one of them."
        )
    stream = gaze[0]
    assert not isinstance(stream.values, list)
    if not len(stream.t):
        raise FormatError(f"The Gaze stream {stream.name} of {where} has no sample.")
    told = _described_display(stream) or display
    if told is None:
        raise FormatError(f"{where} does not describe its display; give its pixels, millimetres and viewing distance.")
    if placed is None:
        raise FormatError(
            f"{where} does not tell where on the display the image was; give left, top, right and bottom."
        )
    t = _ascending(stream, where)
    try:
        found = map_channels([Channel(*row) for row in stream.channels], display=told.to_dict())
        found = found.settle(t, stream.values)
    except Undecided:
        raise FormatError(f"{where} has too little gaze on the display to tell its unit.") from None
    except Unusable as error:
        raise FormatError(f"The Gaze stream {stream.name} of {where} cannot be used: {error}") from error
    left, top, right, bottom = placed
    try:
        states = ViewportStates.from_rectangles(
            [t[0]],
            [[-0.5, -0.5, columns - 0.5, rows - 0.5]],
            [[left, top, right, bottom]],
            rows=rows,
            columns=columns,
            display=told,
        )
        track = build_track(found.standard(t, stream.values), states=states)
    except ValueError as error:
        raise FormatError(f"{where} cannot become a gaze track: {error}") from error
    check_pixels(track.x, track.y, rows, columns, where, "its gaze in the image")
    info = {"format": "xdf", "stream": stream.name, "acquisition": _plain(stream.desc.get("acquisition"))}
    return Reading(re.sub(r"[^A-Za-z0-9_-]", "-", file.stem), "", image, track, raw=(stream,), info=info)


def _ascending(stream: Stream, where: str) -> Floats:
    t = stream.t
    if not np.isfinite(t).all():
        raise FormatError(f"The Gaze stream {stream.name} of {where} has a sample without a time stamp.")
    back = np.flatnonzero(np.diff(t) < 0)
    if len(back):
        raise FormatError(
            f"The Gaze stream {stream.name} of {where} goes back in time at sample {back[0] + 1}; its recorder was "
            "started anew, cut the file there."
        )
    check_times(t, where, "its time stamps", first_line=1)
    return t


def _described_display(stream: Stream) -> Display | None:
    told = stream.desc.get("display")
    if not isinstance(told, Mapping):
        return None
    try:
        return Display.from_dict(told)
    except ValueError:
        return None


def _plain(value: Any) -> dict[str, str]:
    return {str(k): str(v) for k, v in value.items() if isinstance(v, str)} if isinstance(value, Mapping) else {}


def raw_stream(
    *,
    name: str,
    kind: str,
    samples: Floats,
    channels: Sequence[xdf.Channel],
    rate_hz: float,
    clock: Floats,
    source_id: str = "",
    acquisition: Mapping[str, Any] | None = None,
    display: Mapping[str, Any] | None = None,
) -> Stream:
    """A recorded stream for `Reading.raw`.

    Parameters
    ----------
    samples
        LSL seconds, then the channels, [N, 1 + C], as the tracker stamped them.
    clock
        The stored time-correction samples [K, 4]: local LSL seconds, correction, uncertainty, remote time. XDF keeps
        them as the time on the tracker's clock and what to add to it (`lsl_time_correction`).
    """
    good = clock[np.isfinite(clock[:, :2]).all(axis=1)] if len(clock) else np.zeros((0, 4))
    return Stream(
        name=name,
        type=kind,
        t=np.ascontiguousarray(samples[:, 0]),
        values=np.ascontiguousarray(samples[:, 1:]),
        channels=channels,
        rate_hz=rate_hz,
        offsets=np.column_stack([good[:, 0] - good[:, 1], good[:, 1]]),
        source_id=source_id,
        desc={
            **(
                {"acquisition": {_tag(k): v for k, v in acquisition.items() if v not in (None, "")}}
                if acquisition
                else {}
            ),
            **({"display": {_tag(k): v for k, v in display.items() if v is not None}} if display else {}),
        },
    )


def _tag(name: str) -> str:
    """A name that XML takes for an element's."""
    tag = re.sub(r"[^A-Za-z0-9_.-]", "_", str(name))
    return tag if re.match(r"[A-Za-z_]", tag) else f"_{tag}"
