"""What a replay is drawn from: a track's samples, fixations, states and sentences as JSON values."""

from __future__ import annotations

from typing import Any

import numpy as np

from capture.frames import CLOCK, GAZE, SOURCE
from capture.gaze.events.table import runs
from capture.gaze.track import GazeTrack as Track
from capture.models import GazeTrack, Recording
from capture.queries.recordings import answers_shown
from study.models import User

from . import processing, tracks

#: What the streams of the tracker are called.
STREAM_NAMES = {GAZE: "Gaze", CLOCK: "Tracker clock", SOURCE: "As the tracker sent it"}

#: Shorter losses of gaze are blinks or noise, and would only blur the timeline, seconds.
SHORTEST_S = 0.1
#: More than the eye can follow in a replay; the track itself keeps every sample.
RATE_HZ = 120.0


def shows_answers(recording: Recording, user: User) -> bool:
    """Whether this person may read the report beside the gaze.

    Answers of a comparison are hidden until it is unblinded, except one's own.
    """
    own = recording.read is not None and recording.read.assignment.enrolment.user_id == user.pk
    return own or answers_shown(recording.study)


def replay(row: GazeTrack, *, answers: bool) -> dict[str, Any]:
    """The replay's data, times in seconds of recording time, positions in image pixels, null where there is no gaze."""
    track = tracks.load(row)
    step = max(1, round((track.meta["rate_hz"] or RATE_HZ) / RATE_HZ))
    gone = ~(np.isfinite(track.x) & np.isfinite(track.y))
    states = _states(row.recording, track)
    sentences = [{"text": u.text, "start": round(u.start_s, 3), "end": round(u.end_s, 3)} for u in row.utterances.all()]
    return {
        "t": np.round(track.t[::step], 4).tolist(),
        "x": _nullable(track.x, gone, step),
        "y": _nullable(track.y, gone, step),
        "fixations": [
            {
                "x": round(float(x), 1),
                "y": round(float(y), 1),
                "onset": round(float(t), 4),
                "duration": round(float(d), 4),
            }
            for x, y, t, d in zip(
                track.fixations.x, track.fixations.y, track.fixations.onset, track.fixations.duration, strict=True
            )
        ],
        "states": states,
        "sentences": sentences if answers else [],
        "intervals": intervals(row, track),
        "duration": round(float(track.t[-1]), 3),
    }


def intervals(row: GazeTrack, track: Track) -> list[dict[str, Any]]:
    """Stretches of the recording that lack something, seconds of recording time, in order.

    `gap`: no gaze sample came (a Gap row; `why` says what kind). `away`: no image was on the screen. `lost`: samples
    came without gaze, for SHORTEST_S or longer.
    """
    since = track.origin_lsl - _tracker_ahead(row)
    out = [
        {"kind": "gap", "why": gap.get_kind_display(), "start": gap.t0 - since, "end": max(gap.t1, gap.t0) - since}
        for gap in row.recording.gaps.filter(stream=GAZE)
    ]
    gone = ~(np.isfinite(track.screen_x) & np.isfinite(track.screen_y))
    for kind, mask in (("away", track.state < 0), ("lost", gone & (track.state >= 0))):
        for first, stop in zip(*runs(mask), strict=True):
            start, end = float(track.t[first]), float(track.t[min(stop, len(track) - 1)])
            if end - start >= SHORTEST_S:
                out.append({"kind": kind, "why": "", "start": start, "end": end})
    rounded = [{**one, "start": round(one["start"], 3), "end": round(one["end"], 3)} for one in out]
    return sorted(rounded, key=lambda one: (one["start"], one["end"]))


def gap_origin(row: GazeTrack) -> float | None:
    """Recording time 0 in the times that Gap rows are in, the tracker's own; None where the track does not tell it."""
    origin = row.quality.get("origin_lsl")
    return None if origin is None else float(origin) - _tracker_ahead(row)


def _tracker_ahead(row: GazeTrack) -> float:
    return float(row.quality.get("tracker_offset_ms") or 0.0) / 1000.0


def remarks(row: GazeTrack) -> list[str]:
    """What whoever uses the track should know of how it was made, in sentences."""
    told = row.quality
    disorder = {"without_time": 0, "repeated": 0, "overlapping": 0, "reversed": 0, **told.get("disorder", {})}
    out = []
    for name, sentence in (
        ("without_time", "without a time, which could not be placed."),
        ("repeated", "with the time of the sample before, left out."),
        ("overlapping", "in a time that a longer piece covers, as when a clock is set back; left out."),
        ("reversed", "in the wrong order, sorted."),
    ):
        if disorder[name]:
            out.append(f"{disorder[name]:,} sample{'s' * (disorder[name] > 1)} came {sentence}")
    if len(told.get("displays", [])) > 1:
        out.append("The display changed during the read; each part was mapped through its own.")
    if told.get("clock_pieces", 1) > 1:
        out.append(
            f"The clocks were tied in {told['clock_pieces']} pieces: the page was loaded again, or the computer slept."
        )
    if told.get("states_without_clock"):
        out.append(
            f"{told['states_without_clock']} drawn frames of a page that never reached the station agent have no place "
            "in time; the image counts as hidden there."
        )
    return out


def heard(recording: Recording) -> list[str]:
    """What sealing found wrong with the stored times, and what the station heard from its devices; each once."""
    out: dict[str, None] = {}
    for about in sorted(recording.epochs.values(), key=lambda about: str(about.get("at", ""))):
        for stream, sentences in (about.get("faults") or {}).items():
            name = stream_name(recording, int(stream))
            out |= dict.fromkeys(f"{name}: {sentence}" for sentence in sentences)
        notes = [note for note in about.get("notes") or [] if isinstance(note, dict)]
        out |= dict.fromkeys(f"The tracker: {note['text']}" for note in notes if isinstance(note.get("text"), str))
    return list(out)


def stream_name(recording: Recording, stream: int) -> str:
    """What people call a stored stream: a companion by the name it was announced with."""
    if stream in STREAM_NAMES:
        return STREAM_NAMES[stream]
    told = ((about.get("streams") or {}).get(str(stream)) or {} for about in recording.epochs.values())
    return next((str(one["name"]) for one in told if one.get("name")), f"Stream {stream}")


def _nullable(values: Any, gone: Any, step: int) -> list[float | None]:
    return [None if lost else round(float(v), 1) for v, lost in zip(values[::step], gone[::step], strict=True)]


def _states(recording: Recording, track: Track) -> list[dict[str, Any]]:
    if recording.read is None:
        return _imported_states(track)
    records, exchanges = processing.page_log(recording)
    timed = processing.state_times(records, exchanges)
    tied = [(t, r) for t, r in zip(timed.times - track.origin_lsl, records, strict=True) if np.isfinite(t)]
    return [
        {"t": round(float(t), 4), "a": r["a"], "rect": r["rect"], "view": r["view"], "visible": r["visible"]}
        for t, r in sorted(tied, key=lambda pair: pair[0])
    ]


def _imported_states(track: Track) -> list[dict[str, Any]]:
    """What an imported file says was on the screen; without that, the whole image was."""
    states = track.states
    if states is None or not len(states):
        rows, columns = track.meta["rows"], track.meta["columns"]
        whole = {"a": [1, 0, 0, 1, 0.5, 0.5], "rect": [0, 0, columns, rows], "view": {}, "visible": True}
        return [{"t": 0.0, **whole}]
    # Its window is in units of its own pictures, so the image is shown as it is usually.
    return [
        {"t": round(float(t), 4), "a": matrix, "rect": rect, "view": {}, "visible": bool(shown)}
        for t, matrix, rect, shown in zip(
            states.t - track.origin_lsl, states.matrix.tolist(), states.rect.tolist(), states.shown, strict=True
        )
    ]
