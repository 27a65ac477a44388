"""A recorded session, played again: for demonstrations, and to find out what went wrong in one.

Samples come at their original pace, or faster, with everything that was in them: lost samples stay lost and times that
went backwards go backwards again. They are stamped with the time at which they are played; the time they were recorded
at is their device time (microseconds), and the device time they had is kept beside them.
"""

from __future__ import annotations

import csv
import gzip
import json
import logging
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from capture.agent import lsl
from capture.agent.sources import layout
from capture.agent.sources.base import EMPTY, Array, Listeners, Source, Tracker, rate_of
from capture.frames import EYES, GAZE, GAZE_CHANNELS, FrameError, channel_label, read_frames

log = logging.getLogger(__name__)

TICK_S = 0.02
_DEVICE = 1 + GAZE_CHANNELS.index("DeviceTimeStamp")
RAW_LABELS = ("recorded_time", "recorded_device_time_stamp")
RAW_UNITS = ("s", "us")


class Unreadable(ValueError):  # noqa: N818 - it names a property of the file
    """The file cannot be played. The message is one sentence."""


@dataclass(frozen=True)
class Recorded:
    """What a file holds: samples [n, 31] in their order of arrival, and what is known of tracker and display."""

    samples: Array
    name: str
    display: Mapping[str, float | None] = field(default_factory=dict)
    device: Mapping[str, str] = field(default_factory=dict)

    @property
    def rate_hz(self) -> float:
        return rate_of(self.samples[:, 0])

    @property
    def serial(self) -> str:
        return re.sub(r"[^A-Za-z0-9._-]+", "-", self.device.get("serial_number") or self.name).strip("-") or "recording"

    @property
    def present(self) -> list[str]:
        columns = np.flatnonzero(np.isfinite(self.samples[:, 1:]).any(axis=0))
        return sorted({GAZE_CHANNELS[i] for i in columns} | {"DeviceTimeStamp"}, key=GAZE_CHANNELS.index)


def read(path: Path | str) -> Recorded:
    """The gaze of a recording.

    Takes a frame file or the folder of an epoch or a recording (the agent's spool, the server's store), an XDF file, or
    CSV (also gzipped) with the column `time_s` and either the labels of `capture.frames.GAZE_CHANNELS` or `x_norm` and
    `y_norm` (both eyes together). Raises Unreadable.
    """
    path = Path(path)
    if not path.exists():
        raise Unreadable(f"{path} does not exist.")
    try:
        if path.is_dir():
            files = sorted(path.glob("**/1.gzr"), key=_first_time) or sorted(path.glob("**/1-*.gzr"), key=_first_time)
            if not files:
                raise Unreadable(f"{path} holds no gaze frames (1.gzr).")
            return _frames(files)
        name = path.name.lower()
        if name.endswith((".csv", ".csv.gz")):
            return _csv(path)
        if name.endswith((".xdf", ".xdfz")):
            return _xdf(path)
        return _frames([path])
    except (OSError, UnicodeDecodeError) as error:
        raise Unreadable(f"{path} cannot be read: {error}.") from error


def _first_time(path: Path) -> float:
    for frame in _checked(path):
        return frame.t0
    return np.inf


def _checked(path: Path) -> Iterator[Any]:
    try:
        yield from read_frames(path)
    except FrameError as error:
        raise Unreadable(str(error)) from error


def _frames(files: list[Path]) -> Recorded:
    samples = [f.samples for path in files for f in _checked(path) if f.stream == GAZE]
    if not samples:
        raise Unreadable(f"{files[0]} holds no gaze samples.")
    if any(s.shape[1] != EMPTY.shape[1] for s in samples):
        raise Unreadable(f"{files[0]} has gaze frames without the {len(GAZE_CHANNELS)} channels.")
    told: dict[str, Any] = {}
    marker = files[0].parent / "recording.json"
    if marker.exists():
        try:
            told = json.loads(marker.read_text())["streams"][str(GAZE)]
        except (ValueError, KeyError, TypeError):
            log.warning("%s cannot be understood; the recording is played without its display", marker)
    device = {str(k): str(v) for k, v in (told.get("device") or {}).items()}
    return Recorded(np.concatenate(samples), files[0].stem, told.get("display") or {}, device)


def _csv(path: Path) -> Recorded:
    with gzip.open(path, "rt", newline="") if path.suffix == ".gz" else path.open(newline="") as file:
        rows = csv.reader(file)
        header = [name.strip() for name in next(rows, [])]
        wanted = {label.lower(): 1 + i for i, label in enumerate(GAZE_CHANNELS)}
        places: list[tuple[int, int]] = []
        for column, name in enumerate(header):
            if name.lower() in wanted:
                places.append((column, wanted[name.lower()]))
            elif name.lower() in ("x_norm", "y_norm"):
                places += [
                    (column, 1 + GAZE_CHANNELS.index(channel_label(eye, f"Screen{name[0].upper()}"))) for eye in EYES
                ]
        if "time_s" not in header or not any(GAZE_CHANNELS[p - 1].endswith("ScreenX") for _, p in places):
            raise Unreadable(
                f"{path} needs a column time_s and gaze: x_norm and y_norm, or columns such as LeftScreenX; it has "
                f"{', '.join(header) or 'none'}."
            )
        time = header.index("time_s")
        out = []
        for line, row in enumerate(rows, 2):
            if not row:
                continue
            values = np.full(EMPTY.shape[1], np.nan)
            try:
                values[0] = float(row[time])
                for column, place in places:
                    values[place] = float(row[column]) if row[column].strip() else np.nan
            except (ValueError, IndexError):
                raise Unreadable(f"{path}, line {line}: {','.join(row)!r} is not {len(header)} numbers.") from None
            out.append(values)
    if not out:
        raise Unreadable(f"{path} holds no gaze samples.")
    samples = np.array(out)
    for eye in EYES:
        x, valid = (1 + GAZE_CHANNELS.index(channel_label(eye, kind)) for kind in ("ScreenX", "ScreenValid"))
        if np.isnan(samples[:, valid]).all() and np.isfinite(samples[:, x]).any():
            samples[:, valid] = np.isfinite(samples[:, x])
    return Recorded(samples, path.name.split(".")[0])


def _xdf(path: Path) -> Recorded:
    try:
        import pyxdf
    except ImportError as error:
        raise Unreadable("Playing XDF files needs pyxdf: pip install pyxdf.") from error
    try:
        # Times as the device stamped them: pyxdf's dejitter errs by 0.15 s around a gap.
        streams, _ = pyxdf.load_xdf(str(path), dejitter_timestamps=False, synchronize_clocks=False)
    except Exception as error:  # whatever a damaged file makes it raise
        raise Unreadable(f"{path} is not an XDF file that can be read: {error}.") from error
    refusals = []
    for stream in streams:
        info = stream["info"]
        if (info["type"] or [""])[0] != lsl.GAZE_TYPE or not len(stream["time_stamps"]):
            continue
        desc = (info.get("desc") or [None])[0] or {}
        described = [
            layout.Channel(*(_text(c, key) for key in ("label", "type", "unit", "eye", "coordinate_system")))
            for c in ((desc.get("channels") or [{}])[0] or {}).get("channel", [])
        ]
        count = int(info["channel_count"][0])
        described += [layout.Channel()] * (count - len(described))
        display = {k: _number(v[0]) for k, v in ((desc.get("display") or [{}])[0] or {}).items() if v}
        times, values = np.asarray(stream["time_stamps"]), np.asarray(stream["time_series"], dtype=np.float64)
        try:
            channels = layout.map_channels(
                described[:count], display=display, float32=info["channel_format"][0] == "float32"
            ).settle(times, values)
        except layout.Unusable as refusal:
            refusals.append(str(refusal))
            continue
        except layout.Undecided:
            refusals.append("its gaze has no unit and too few values to find it.")
            continue
        acquisition = (desc.get("acquisition") or [{}])[0] or {}
        device = {k: str(v[0]) for k, v in acquisition.items() if v and v[0]}
        return Recorded(channels.standard(times, values), path.stem, display, device)
    raise Unreadable(f"{path} holds no gaze stream that can be played{': ' + refusals[0] if refusals else '.'}")


def _text(node: Mapping[str, Any], key: str) -> str:
    value = (node.get(key) or [""])[0]
    return str(value or (_text(node, "metatype") if key == "type" else ""))


def _number(text: Any) -> float | None:
    try:
        return float(text)
    except (TypeError, ValueError):
        return None


class Player:
    """Says which samples are due. Times given to and taken from it are LSL seconds."""

    def __init__(self, recorded: Recorded, *, speed: float = 1.0, loop: bool = False) -> None:
        if not speed > 0:
            raise Unreadable(f"A recording is played at a speed above 0, not {speed:g}.")
        times = recorded.samples[:, 0]
        finite = np.flatnonzero(np.isfinite(times))
        if not len(finite):
            raise Unreadable("The recording has no sample with a time.")
        self._samples, self._speed, self._loop = recorded.samples, speed, loop
        self._zero = float(times[finite[0]])
        offsets = (times - self._zero) / speed
        # A sample is played when all before it have been; one without a time with the one before it.
        self._due = np.maximum.accumulate(np.where(np.isfinite(offsets), offsets, -np.inf))
        self._offsets = offsets
        rate = recorded.rate_hz
        self._turn = float(self._due[-1]) + (1 / (rate * speed) if rate else 0.0)
        self._began: float | None = None
        self._next = 0

    def take(self, now: float) -> tuple[Array, Array]:
        """(samples [n, 31], beside them [n, 3]) due since the last call; the first call starts the recording."""
        if self._began is None:
            self._began = now
        parts: list[tuple[Array, Array]] = []
        while True:
            end = int(np.searchsorted(self._due, now - self._began, side="right"))
            if end > self._next:
                parts.append(self._stamp(self._next, end))
                self._next = end
            if not (self._loop and self._next == len(self._samples) and now - self._began >= self._turn > 0):
                break
            self._began, self._next = self._began + self._turn, 0
        if not parts:
            return EMPTY, np.empty((0, 1 + len(RAW_LABELS)))
        samples, raw = (np.concatenate(part) for part in zip(*parts, strict=True))
        return samples, raw

    def _stamp(self, start: int, end: int) -> tuple[Array, Array]:
        assert self._began is not None
        samples = self._samples[start:end].copy()
        raw = np.column_stack([self._began + self._offsets[start:end], samples[:, 0], samples[:, _DEVICE]])
        samples[:, _DEVICE] = np.round(samples[:, 0] * 1e6)
        samples[:, 0] = raw[:, 0]
        return samples, raw

    @property
    def ended(self) -> bool:
        return not self._loop and self._next == len(self._samples)


class ReplaySource(Source):
    """Plays a recording to the agent itself, without LSL in between. Raises Unreadable."""

    def __init__(
        self,
        listeners: Listeners,
        path: Path | str,
        *,
        speed: float = 1.0,
        loop: bool = False,
        display: Mapping[str, float | None] | None = None,
    ) -> None:
        super().__init__(listeners, lsl.load().local_clock, display)
        self._recorded = read(path)
        self._speed, self._loop = speed, loop
        Player(self._recorded, speed=speed, loop=loop)  # refuses now what it would refuse later

    def _run(self) -> None:
        recorded, player = self._recorded, Player(self._recorded, speed=self._speed, loop=self._loop)
        rate = recorded.rate_hz * self._speed
        self._take(
            Tracker(
                f"Replay of {recorded.name}",
                f"replay-{recorded.serial}-gaze",
                rate,
                acquisition(recorded),
                self._display(recorded.display),
                recorded.present,
                rate,
                RAW_LABELS,
                RAW_UNITS,
            )
        )
        self._measured(0.0, 0.0, self._clock())
        while not self._stop.wait(TICK_S):
            samples, raw = player.take(self._clock())
            self._deliver(samples, raw)
            if player.ended:
                self._lose("the recording has been played to its end.")
                while not self._stop.wait(TICK_S):
                    self._listeners.gaze(EMPTY, None)
                return


def acquisition(recorded: Recorded) -> dict[str, str]:
    """What the recorded tracker said of itself, marked as played again."""
    told = {key: value for key, value in recorded.device.items() if key != "name"}
    return {**told, "serial_number": recorded.serial, "tracking_mode": "replayed"}


def publish(path: Path | str, stop: threading.Event, *, speed: float, loop: bool, say: Callable[[str], object]) -> None:
    """Play a recording as an LSL stream of type Gaze until it or `stop` ends. Raises Unreadable."""
    pylsl = lsl.load()
    recorded = read(path)
    player = Player(recorded, speed=speed, loop=loop)
    info = lsl.gaze_info(
        name=f"Replay of {recorded.name}",
        source_id=f"replay-{recorded.serial}-gaze",
        rate_hz=recorded.rate_hz * speed,
        display=recorded.display,
        acquisition=acquisition(recorded),
    )
    outlet = pylsl.StreamOutlet(info)
    say(
        f"Replay of {recorded.name}: {len(recorded.samples)} samples at {recorded.rate_hz * speed:g} Hz"
        f"{', again and again' if loop else ''}, once somebody listens.\n"
    )
    while not outlet.have_consumers() and not stop.wait(TICK_S):
        pass
    while not stop.wait(TICK_S):
        samples, _ = player.take(pylsl.local_clock())
        if len(samples):
            outlet.push_chunk(np.ascontiguousarray(samples[:, 1:]), samples[:, 0].tolist())
        if player.ended:
            say("The recording has been played to its end.\n")
            # What has been pushed must reach those who listen before the outlet goes.
            stop.wait(1.0)
            return
