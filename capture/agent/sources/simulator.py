"""A simulated reader in front of a simulated eye tracker, live on the Lab Streaming Layer.

The tracker is a real LSL outlet of type Gaze with full metadata. The eyes see what is on the screen through the
agent's marker stream `gazeroom-stimulus`: they look at calibration targets, inspect an image in a radiologist's order
through the viewport it is shown in, and follow when it is zoomed or moved. What is reported carries a systematic error,
as from an eye that was never calibrated (about 1 degree of offset and 3 % of scale, fixed by the seed), so that
calibration has real work.

The truth is written beside it: where the eyes really were, and how many samples were sent.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from capture.agent import lsl
from capture.frames import COMMON_CHANNELS, EYE_CHANNELS, STANDARD_CHANNELS
from capture.gaze.simulate.samples import Gaze, Geometry, Samples

log = logging.getLogger(__name__)

TICK_S = 0.02
LATENCY_S = (0.15, 0.21)  # of a saccade towards something new; 0.18 on average
#: A moving image is followed once it has rested this long, or after this long at the latest.
FOLLOW_AT_LATEST_S = 0.5

#: A frontal radiograph in the order many radiologists read it: name, centre (share of width and height), spread, looks.
#: Image left is the patient's right.
ANATOMY: tuple[tuple[str, float, float, float, int], ...] = (
    ("trachea", 0.50, 0.14, 0.015, 1),
    ("right apex", 0.32, 0.15, 0.03, 2),
    ("left apex", 0.68, 0.15, 0.03, 2),
    ("right upper zone", 0.28, 0.28, 0.04, 2),
    ("left upper zone", 0.72, 0.28, 0.04, 2),
    ("aortic knob", 0.57, 0.32, 0.02, 1),
    ("right hilum", 0.40, 0.44, 0.03, 2),
    ("left hilum", 0.60, 0.42, 0.03, 2),
    ("right mid zone", 0.24, 0.48, 0.04, 2),
    ("left mid zone", 0.76, 0.48, 0.04, 2),
    ("heart", 0.56, 0.62, 0.05, 2),
    ("left heart border", 0.67, 0.66, 0.03, 1),
    ("right base", 0.28, 0.68, 0.04, 2),
    ("left base", 0.74, 0.70, 0.04, 1),
    ("right costophrenic angle", 0.14, 0.82, 0.02, 2),
    ("left costophrenic angle", 0.86, 0.82, 0.02, 2),
    ("right hemidiaphragm", 0.30, 0.78, 0.03, 1),
    ("behind the heart", 0.53, 0.72, 0.03, 1),
    ("below the diaphragm", 0.62, 0.88, 0.03, 1),
    ("clavicles", 0.38, 0.20, 0.03, 1),
    ("lateral ribs", 0.12, 0.45, 0.03, 1),
)


@dataclass(frozen=True)
class Bias:
    """A systematic error about the display's centre: seen = centre + (true - centre) x scale + offset, per eye.

    `offset_px` [2 eyes, 2] device pixels; `scale` [2 eyes, 2].
    """

    offset_px: NDArray[np.float64]
    scale: NDArray[np.float64]

    @classmethod
    def draw(cls, rng: np.random.Generator, geometry: Geometry, offset_deg: float, scale: float) -> Bias:
        angle = rng.uniform(0, 2 * np.pi)
        direction = np.array([np.cos(angle), np.sin(angle)]) * offset_deg
        offsets = direction + rng.uniform(-0.15, 0.15, size=(2, 2)) * offset_deg
        return cls(offsets * np.array(geometry.px_per_degree), 1 + scale * rng.uniform(0.9, 1.1, size=(2, 2)))

    def apply(self, eye: int, xy: NDArray[np.float64], geometry: Geometry) -> NDArray[np.float64]:
        """Normalised display coordinates [n, 2] of eye 0 (left) or 1 as the tracker would report them."""
        return (
            0.5 + (xy - 0.5) * self.scale[eye] + self.offset_px[eye] / np.array([geometry.width_px, geometry.height_px])
        )

    def remove(self, eye: int, xy: NDArray[np.float64], geometry: Geometry) -> NDArray[np.float64]:
        """The inverse of `apply`."""
        shift = self.offset_px[eye] / np.array([geometry.width_px, geometry.height_px])
        return 0.5 + (xy - 0.5 - shift) / self.scale[eye]


@dataclass(frozen=True)
class View:
    """An image on the screen: x_screen = a x + c y + e, y_screen = b x + d y + f (`matrix` = a, b, c, d, e, f)."""

    seq: int
    matrix: tuple[float, float, float, float, float, float]
    rows: int
    columns: int

    @classmethod
    def parse(cls, stimulus: dict[str, Any]) -> View:
        matrix = tuple(float(v) for v in stimulus["a"])
        a, b, c, d, *_ = matrix
        if len(matrix) != 6 or not np.all(np.isfinite(matrix)) or abs(a * d - b * c) < 1e-12:
            raise ValueError(f"The viewport's matrix {stimulus['a']} cannot be inverted.")
        return cls(int(stimulus["seq"]), matrix, int(stimulus["rows"]), int(stimulus["columns"]))

    def to_screen(self, x: float, y: float) -> tuple[float, float]:
        a, b, c, d, e, f = self.matrix
        return a * x + c * y + e, b * x + d * y + f

    def to_image(self, x: float, y: float) -> tuple[float, float]:
        a, b, c, d, e, f = self.matrix
        det = a * d - b * c
        x, y = x - e, y - f
        return (d * x - c * y) / det, (a * y - b * x) / det

    def shows(self, x: float, y: float, geometry: Geometry) -> bool:
        """Whether image point (x, y) is in the image and on the display."""
        sx, sy = self.to_screen(x, y)
        inside = -0.5 <= x <= self.columns - 0.5 and -0.5 <= y <= self.rows - 0.5
        return inside and 0 <= sx < geometry.width_px and 0 <= sy < geometry.height_px


@dataclass
class Fixation:
    """One rest of the eyes, as it is written to the truth file."""

    onset: float
    end: float
    screen: tuple[float, float]
    image: tuple[float, float] | None
    view: View | None


class Reader:
    """Decides where the eyes go. Times are LSL seconds; positions display pixels.

    `show(stimulus, at)` tells it what is on the screen; `look(now)` carries its plan on to `now` and calls `report`
    with every fixation that has ended: (fixation, offset, interrupted).
    """

    def __init__(
        self, gaze: Gaze, rng: np.random.Generator, now: float, report: Callable[[Fixation, float, bool], None]
    ) -> None:
        self._gaze, self._rng, self._report = gaze, rng, report
        self._geometry = gaze.geometry
        self._mode = "blank"
        self._view: View | None = None
        self._goal: tuple[float, float] = gaze.target
        self._queue: list[tuple[float, float, float]] = []
        self._fixation: Fixation | None = Fixation(now, now + self._duration(), gaze.target, None, None)
        self._leave_at = self._fixation.end  # when the eyes set off again
        self._seen = now  # samples up to here have been drawn: nothing may be planned before
        self._next = self._fixation
        self._changed_at: float | None = None  # when what they look at began to move, until they have followed

    def show(self, stimulus: dict[str, Any], at: float) -> None:
        """What the screen shows since `at`; repeats are no news. Raises ValueError or KeyError if it is malformed."""
        kind = stimulus["kind"]
        if kind == "target":
            width, height = self._geometry.width_px, self._geometry.height_px
            goal = (float(stimulus["x"]) * width, float(stimulus["y"]) * height)
            if self._mode == "target" and goal == self._goal:
                return
            self._mode, self._view, self._goal = "target", None, goal
        elif kind == "viewport":
            view = View.parse(stimulus)
            old = self._view
            if old is not None and (old.rows, old.columns) != (view.rows, view.columns):
                self._queue.clear()
            self._mode, self._view = "viewport", view
            if old is not None and old.matrix == view.matrix and (old.rows, old.columns) == (view.rows, view.columns):
                return
        elif kind == "blank":
            if self._mode == "blank":
                return
            self._mode, self._view = "blank", None
            self._queue.clear()
        else:
            raise ValueError(f"Unknown stimulus kind {kind!r}.")
        self._interrupt(at)

    def look(self, now: float) -> None:
        while True:
            if self._fixation is None:
                if self._gaze.landing_s > now:
                    break
                self._land()
            elif self._leave_at <= now:
                self._depart()
            else:
                break
        self._seen = now

    def _interrupt(self, at: float) -> None:
        latency = self._rng.uniform(*LATENCY_S)
        if self._changed_at is None:
            self._changed_at = at
            self._leave_at = at + latency
        else:
            self._leave_at = min(at + latency, max(at, self._changed_at + FOLLOW_AT_LATEST_S))
        fixation = self._fixation
        if fixation is not None and fixation.end > at:
            fixation.end = max(at, fixation.onset)
            self._close(fixation, interrupted=True)

    def _close(self, fixation: Fixation, *, interrupted: bool) -> None:
        if fixation.end > fixation.onset:
            self._report(fixation, fixation.end, interrupted)
        fixation.onset = np.inf  # reported; the eyes may rest here a little longer, which is no fixation of anything

    def _depart(self) -> None:
        fixation = self._fixation
        assert fixation is not None
        if fixation.onset < np.inf:
            self._close(fixation, interrupted=False)
        followed = fixation.image if self._changed_at is not None else None
        self._next = self._choose(followed)
        screen = self._next.screen
        self._gaze.saccade(max(self._leave_at, self._seen), *screen)
        self._fixation, self._changed_at = None, None

    def _land(self) -> None:
        landing = self._gaze.landing_s
        fixation = self._next
        fixation.onset = landing
        if self._changed_at is not None:  # the screen changed in flight: this rest is over before it began
            fixation.onset, fixation.end = np.inf, landing
            self._leave_at = max(self._leave_at, landing)
        else:
            # A calibration target is looked at until it goes away.
            fixation.end = np.inf if self._mode == "target" else landing + self._duration()
            self._leave_at = fixation.end
        self._fixation = fixation

    def _choose(self, followed: tuple[float, float] | None) -> Fixation:
        view = self._view
        if self._mode == "target":
            return Fixation(0, 0, self._goal, None, None)
        if view is not None:
            point = followed if followed and view.shows(*followed, self._geometry) else self._inspect(view)
            if point is not None:
                return Fixation(0, 0, view.to_screen(*point), point, view)
        ppd = np.array(self._geometry.px_per_degree)
        centre = np.array([self._geometry.width_px, self._geometry.height_px]) / 2
        x, y = centre + self._rng.normal(0, 1.5, 2) * ppd
        return Fixation(0, 0, (float(x), float(y)), None, None)

    def _inspect(self, view: View) -> tuple[float, float] | None:
        """The next point of the inspection that can be seen; None if nothing of the image is on the display."""
        for _ in range(2 * len(ANATOMY)):
            if not self._queue:
                self._queue = [(u, v, s) for _, u, v, s, looks in ANATOMY for _ in range(looks)]
            u, v, spread = self._queue.pop(0)
            x = (u + self._rng.normal(0, spread)) * (view.columns - 1)
            y = (v + self._rng.normal(0, spread)) * (view.rows - 1)
            if view.shows(x, y, self._geometry):
                return x, y
        for _ in range(200):
            sx, sy = self._rng.uniform(0, [self._geometry.width_px, self._geometry.height_px])
            x, y = view.to_image(sx, sy)
            if view.shows(x, y, self._geometry):
                return x, y
        return None

    def _duration(self) -> float:
        return float(np.clip(self._rng.lognormal(np.log(0.28), 0.4), 0.15, 0.6))


class Truth:
    """The truth file: JSON lines, flushed line by line. `kind` is `fixation` or `count`."""

    def __init__(self, path: Path | None) -> None:
        self._file: IO[str] | None = path.open("a", encoding="utf-8") if path else None

    def fixation(self, fixation: Fixation, offset: float, interrupted: bool) -> None:
        image = fixation.image or (None, None)
        self._write(
            kind="fixation",
            onset_lsl=fixation.onset,
            offset_lsl=offset,
            screen_x=fixation.screen[0],
            screen_y=fixation.screen[1],
            image_x=image[0],
            image_y=image[1],
            viewport_seq=fixation.view.seq if fixation.view else None,
            interrupted=interrupted,
        )

    def count(self, samples_sent: int, first_frame: int, last_frame: int, now: float) -> None:
        self._write(
            kind="count",
            samples_sent=samples_sent,
            first_frame=first_frame,
            last_frame=last_frame,
            lsl=now,
        )

    def _write(self, **line: Any) -> None:
        if self._file:
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()

    def close(self) -> None:
        if self._file:
            self._file.close()
            self._file = None


class Stimuli:
    """What is on the screen, from the agent's marker stream; looked for in its own thread, again after a loss."""

    def __init__(self) -> None:
        self._pylsl = lsl.load()
        self._inlet: Any = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._find, name="stimuli", daemon=True)
        self._thread.start()

    def _find(self) -> None:
        while not self._stop.is_set():
            if self._inlet is not None:
                self._stop.wait(0.1)
                continue
            for info in self._pylsl.resolve_byprop("name", lsl.STIMULUS_NAME, 1, 1.0):
                try:
                    inlet = self._pylsl.StreamInlet(info, max_buflen=60, recover=False)
                    inlet.open_stream(timeout=2.0)
                except (RuntimeError, TimeoutError):
                    continue
                self._inlet = inlet
                break

    def pull(self) -> list[tuple[float, dict[str, Any]]]:
        """New stimuli as (LSL time, content), oldest first."""
        inlet = self._inlet
        if inlet is None:
            return []
        out = []
        try:
            texts, times = inlet.pull_chunk(timeout=0.0, max_samples=256)
        except RuntimeError:  # LostError included: the agent went away; the search goes on
            self._inlet = None
            return []
        for text, t in zip(texts, times, strict=True):
            try:
                stimulus = json.loads(text[0])
                if isinstance(stimulus, dict):
                    out.append((t, stimulus))
            except ValueError:
                log.warning("a stimulus that is not JSON: %.80s", text[0])
        return out

    def close(self) -> None:
        self._stop.set()
        self._thread.join(1.0)
        self._inlet = None


class Simulator:
    """The simulated tracker with its reader; `run` blocks until `stop` is set.

    `jumble` permutes the channels (by `seed`): a receiver that goes by position instead of metadata is found out.
    """

    def __init__(
        self,
        *,
        display: lsl.Display | None = None,
        rate_hz: float = 120.0,
        seed: int = 0,
        noise_deg: float = 0.1,
        loss: float = 0.005,
        blinks: float = 12.0,
        offset_deg: float = 1.0,
        scale: float = 0.03,
        truth: Path | None = None,
        jumble: bool = False,
    ) -> None:
        self._pylsl = lsl.load()
        display = display or lsl.Display()
        self.geometry = Geometry(**display.to_dict())  # type: ignore[arg-type]
        self.rate_hz = rate_hz
        rng = np.random.default_rng(seed)
        self.bias = Bias.draw(rng, self.geometry, offset_deg, scale)
        self._rng = rng
        self._gaze = Gaze(self.geometry, rate_hz, rng, noise_deg=noise_deg, loss=loss, blinks=blinks)
        self._truth = Truth(truth)
        layout = list(STANDARD_CHANNELS)
        self._order = np.random.default_rng(seed).permutation(len(layout)) if jumble else np.arange(len(layout))
        serial = f"SIM-{seed:05d}"
        self.source_id = f"tobii-{serial}-gaze"
        info = lsl.gaze_info(
            name="Simulated eye tracker",
            source_id=self.source_id,
            rate_hz=rate_hz,
            display=display,
            acquisition={
                "manufacturer": "Gazeroom",
                "model": "Simulator",
                "serial_number": serial,
                "firmware_version": "1",
                "tracking_mode": "simulated",
            },
            channels=[layout[i] for i in self._order],
        )
        self._outlet = self._pylsl.StreamOutlet(info)
        self.samples_sent = 0

    def run(self, stop: threading.Event) -> lsl.Display | None:
        """Publish until `stop` is set, or until a page says that it is shown on another display, which is returned.

        A simulated tracker watches whatever display its page is on; a stream's metadata cannot change while it lives,
        so the caller starts another simulator for the new display.
        """
        clock = self._pylsl.local_clock
        stimuli = Stimuli()
        origin = clock()
        reader = Reader(self._gaze, self._rng, origin, self._truth.fixation)
        counted = origin
        try:
            while not stop.wait(TICK_S):
                now = clock()
                for at, stimulus in stimuli.pull():
                    try:
                        if stimulus.get("kind") == "display":
                            display = self._other_display(stimulus)
                            if display is not None:
                                return display
                            continue
                        reader.show(stimulus, max(at, now - 1.0))
                    except (KeyError, TypeError, ValueError) as error:
                        log.warning("a stimulus that cannot be followed (%s): %s", error, stimulus)
                reader.look(now)
                due = int((now - origin) * self.rate_hz) + 1
                if due > self.samples_sent:
                    t = origin + np.arange(self.samples_sent, due) / self.rate_hz
                    self._push(self._gaze.sample(t))
                if now - counted >= 1.0:
                    counted = now
                    self._truth.count(self.samples_sent, 0, self.samples_sent - 1, now)
        finally:
            self._truth.count(self.samples_sent, 0, self.samples_sent - 1, clock())
            self._truth.close()
            stimuli.close()
        return None

    def _other_display(self, stimulus: dict[str, Any]) -> lsl.Display | None:
        """The display a page is on, at this one's pixel pitch; None if it is this one. Raises ValueError."""
        width, height = int(stimulus["width_px"]), int(stimulus["height_px"])
        if not (100 <= width <= 20_000 and 100 <= height <= 20_000):
            raise ValueError(f"No display has {width} x {height} pixels.")
        now = self.geometry
        if (width, height) == (now.width_px, now.height_px):
            return None
        return lsl.Display(
            width, height, width * now.width_mm / now.width_px, height * now.height_mm / now.height_px, now.distance_mm
        )

    def _push(self, samples: Samples) -> None:
        n = len(samples.t)
        rows = self._rows(samples)
        self._outlet.push_chunk(np.ascontiguousarray(rows[:, self._order]), samples.t.tolist())
        self.samples_sent += n

    def _rows(self, samples: Samples) -> NDArray[np.float64]:
        """The 30 channels of `capture.frames.GAZE_CHANNELS` [n, 30] with the systematic error in them."""
        geometry, n = self.geometry, len(samples.t)
        blocks = []
        for eye, xy, valid, pupil in (
            (0, samples.left, samples.valid_left, samples.pupil_left),
            (1, samples.right, samples.valid_right, samples.pupil_right),
        ):
            seen = self.bias.apply(eye, xy, geometry)
            block = np.empty((n, len(EYE_CHANNELS)))
            block[:, 0:2] = seen
            block[:, 2] = valid
            block[:, 3] = (seen[:, 0] - 0.5) * geometry.width_mm
            block[:, 4] = (0.5 - seen[:, 1]) * geometry.height_mm
            block[:, 5] = np.where(valid, 0.0, np.nan)
            block[:, 6], block[:, 7] = pupil, valid
            position = np.array([-31.0 if eye == 0 else 31.0, 0.0, geometry.distance_mm])
            block[:, 8:11] = np.where(valid[:, None], position + self._rng.normal(0, 0.2, (n, 3)), np.nan)
            block[:, 11] = valid
            block[:, 12], block[:, 13] = np.where(samples.blink, 0.0, 10.0), 1.0
            blocks.append(block)
        common = np.empty((n, len(COMMON_CHANNELS)))
        common[:, 0] = np.arange(self.samples_sent, self.samples_sent + n)
        common[:, 1] = np.round(samples.t * 1e6)
        return np.hstack([*blocks, common])
