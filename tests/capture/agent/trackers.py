"""Trackers as other programs publish them, on the real Lab Streaming Layer, and somebody who listens to a source.

The layouts are those of the programs' own source text: App-TobiiPro's six channels, TittaLSL's 37 of which it describes
36, Pupil Capture's 22, and the two of Pupil Labs' companion relay.
"""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import numpy as np

from capture.agent import lsl
from capture.agent.sources.base import Array, Listeners, Note, Source, Tracker
from capture.frames import GAZE_CHANNELS

#: One session for all outlets of this test process: liblsl is configured once a process.
SESSION = os.environ.setdefault("GAZEROOM_TEST_LSL_SESSION", f"test-{uuid4().hex[:12]}")

#: (label, type, unit, eye[, what else the channel says]) per channel.
Layout = Sequence[tuple[str, ...]]

TOBII_PRO: Layout = [
    (f"{eye}_{what}", kind, unit, eye)
    for eye in ("left", "right")
    for what, kind, unit in (
        ("x", "ScreenX", "screencoords"),
        ("y", "ScreenY", "screencoords"),
        ("pupil", "pupilsize", ""),
    )
]

TITTA: Layout = [
    (f"{part}.{of}.{eye}_eye", kind, unit, eye)
    for eye in ("left", "right")
    for part, of, kind, unit in (
        ("x.position_on_display_area", "gaze_point", "ScreenX", "normalized"),
        ("y.position_on_display_area", "gaze_point", "ScreenY", "normalized"),
        ("x.position_in_user_coordinates", "gaze_point", "IntersectionX", "mm"),
        ("y.position_in_user_coordinates", "gaze_point", "IntersectionY", "mm"),
        ("z.position_in_user_coordinates", "gaze_point", "IntersectionZ", "mm"),
        ("valid", "gaze_point", "ValidFlag", "bool"),
        ("available", "gaze_point", "AvailableFlag", "bool"),
        ("diameter", "pupil", "Diameter", "mm"),
        ("valid", "pupil", "ValidFlag", "bool"),
        ("available", "pupil", "AvailableFlag", "bool"),
        ("x.position_in_user_coordinates", "gaze_origin", "PupilX", "mm"),
        ("y.position_in_user_coordinates", "gaze_origin", "PupilY", "mm"),
        ("z.position_in_user_coordinates", "gaze_origin", "PupilZ", "mm"),
        ("valid", "gaze_origin", "ValidFlag", "bool"),
        ("available", "gaze_origin", "AvailableFlag", "bool"),
        ("diameter", "eye_openness", "EyeLidDistance", "mm"),
        ("valid", "eye_openness", "ValidFlag", "bool"),
        ("available", "eye_openness", "AvailableFlag", "bool"),
    )
]  # and one channel more of which nothing is said: the device's time in seconds


def pupil_capture(frame: str = "world") -> Layout:
    """Pupil Capture's relay: gaze for both eyes together, in the scene camera's picture unless `frame` says else."""
    eyes = (("0", "right"), ("1", "left"))
    return [
        ("confidence", "Confidence", "normalized", "both"),
        ("norm_pos_x", "ScreenX", "normalized", "both", frame),
        ("norm_pos_y", "ScreenY", "normalized", "both", frame),
        *((f"gaze_point_3d_{a}", f"Direction{a.upper()}", "mm", "both", "world") for a in "xyz"),
        *((f"eye_center{n}_3d_{a}", f"Position{a.upper()}", "mm", eye, "world") for n, eye in eyes for a in "xyz"),
        *((f"gaze_normal{n}_{a}", f"Position{a.upper()}", "mm", eye, "world") for n, eye in eyes for a in "xyz"),
        *((f"diameter{n}_2d", "Diameter", "pixels", eye, f"eye{n}") for n, eye in eyes),
        *((f"diameter{n}_3d", "Diameter", "mm", eye, f"eye{n}") for n, eye in eyes),
    ]


#: The relay of the companion phone: `metatype` where others write `type`.
COMPANION: Layout = [("x", "ScreenX", "pixels", "both", "world"), ("y", "ScreenY", "pixels", "both", "world")]


def column(label: str) -> int:
    return 1 + GAZE_CHANNELS.index(label)


def gaze(t: Array) -> tuple[Array, Array]:
    """Where the eyes are at LSL time t, normalised: something that moves and can be computed again."""
    return 0.5 + 0.3 * np.sin(t), 0.5 + 0.3 * np.cos(1.3 * t)


def described(
    source_id: str,
    layout: Layout,
    *,
    rate: float,
    count: int | None = None,
    name: str = "Tracker",
    kind: str = "type",
    float32: bool = False,
    display: dict[str, float] | None = None,
    acquisition: dict[str, str] | None = None,
) -> Any:
    """A StreamInfo with this layout; `count` channels where more are sent than described, `kind` the type's key."""
    pylsl = lsl.load(SESSION)
    format_ = pylsl.cf_float32 if float32 else pylsl.cf_double64
    info = pylsl.StreamInfo(name, "Gaze", count or len(layout), rate, format_, source_id)
    node = info.desc().append_child("channels")
    for fields in layout:
        channel = node.append_child("channel")
        for key, value in zip(("label", kind, "unit", "eye", "coordinate_system"), fields, strict=False):
            if value:
                channel.append_child_value(key, value)
    for name, values in (("display", display or {}), ("acquisition", acquisition or {})):
        node = info.desc().append_child(name)
        for key, value in values.items():
            node.append_child_value(key, str(value))
    return info


class Feed:
    """A tracker's program: pushes what is due every 10 ms, from a thread, with the times the samples were taken at.

    `values(t)` gives the channels [n, channels]; `times(t)` what the samples are stamped with (their time by default).
    """

    def __init__(
        self,
        info: Any,
        rate: float,
        values: Callable[[Array], Array],
        times: Callable[[Array], Array] = lambda t: t,
    ) -> None:
        self._pylsl = lsl.load(SESSION)
        self.outlet = self._pylsl.StreamOutlet(info)
        self.rate, self.values, self.times = rate, values, times
        self.sent: list[Array] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        last = self._pylsl.local_clock()
        while not self._stop.wait(0.01):
            now = self._pylsl.local_clock()
            n = int((now - last) * self.rate)
            if not n:
                continue
            t = last + (1 + np.arange(n)) / self.rate
            last = float(t[-1])
            stamps, values = self.times(t), np.ascontiguousarray(self.values(t))
            self.sent.append(stamps)
            self.outlet.push_chunk(values, stamps.tolist())

    def end(self) -> None:
        self._stop.set()
        self._thread.join(2)
        self.outlet = None
        gc.collect()


@dataclass
class Listening:
    """Everything a source says."""

    blocks: list[Array] = field(default_factory=list)
    raws: list[Array | None] = field(default_factory=list)
    clocks: list[Array] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    trackers: list[Tracker] = field(default_factory=list)
    calls: int = 0

    def listeners(self) -> Listeners:
        return Listeners(self._gaze, self.clocks.append, self.notes.append, self.trackers.append)

    def _gaze(self, samples: Array, raw: Array | None) -> None:
        self.calls += 1
        if len(samples):
            self.blocks.append(samples)
            self.raws.append(raw)

    @property
    def samples(self) -> Array:
        return np.concatenate(self.blocks) if self.blocks else np.empty((0, 31))

    @property
    def raw(self) -> Array:
        return np.concatenate([raw for raw in self.raws if raw is not None])

    def told(self, kind: str) -> list[str]:
        return [note.text for note in list(self.notes) if note.kind == kind]


def until(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    """The condition's first true result."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"It did not come to pass within {seconds} s.")
        time.sleep(0.02)
    return result


class Bench:
    """Feeds and sources of one test, ended with it."""

    def __init__(self) -> None:
        self._feeds: list[Feed] = []
        self._sources: list[Source] = []

    def feed(self, *arguments: Any, **options: Any) -> Feed:
        self._feeds.append(Feed(*arguments, **options))
        return self._feeds[-1]

    def source(self, make: Callable[[Listeners], Source]) -> tuple[Source, Listening]:
        heard = Listening()
        source = make(heard.listeners())
        self._sources.append(source)
        source.start()
        return source, heard

    def end(self) -> None:
        # All at once: each may be in the middle of a search.
        for source in self._sources:
            source.stop(0)
        for source in self._sources:
            source.stop()
        for feed in self._feeds:
            feed.end()
