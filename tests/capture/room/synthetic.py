"""A recording with known truth: an eye on image points while the view zooms and pans, under drifting clocks."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import numpy as np
from numpy.typing import NDArray

from capture.frames import CLOCK, GAZE, GAZE_CHANNELS, Frame, encode
from capture.gaze import calibration
from capture.gaze.display import Display
from capture.models import Recording
from capture.services import ingest
from capture.services.store import FrameFile, JournalFile, frame_path

Floats = NDArray[np.float64]

DISPLAY = Display(1280, 800, 344, 215, 600)
STREAMS = {"1": {"rate_hz": 300.0, "display": DISPLAY.to_dict()}, "2": {}}
#: What the uncalibrated tracker does to each eye.
DISTORTION = {"left": (0.97, 0.01, -0.02, 1.04, 0.07, -0.05), "right": (1.02, -0.01, 0.01, 0.98, -0.025, 0.03)}
RATE = 300.0


def column(label: str) -> int:
    return 1 + GAZE_CHANNELS.index(label)


def gaze_samples(t: Floats, normalised: Floats, *, first_number: int = 0) -> Floats:
    """Rows [N, 31] as the distorted tracker reports a binocular gaze [N, 2]."""
    rows = np.full((len(t), 1 + len(GAZE_CHANNELS)), np.nan)
    rows[:, 0] = t
    for eye in ("Left", "Right"):
        xy = calibration.apply(DISTORTION[eye.lower()], normalised)
        good = np.isfinite(xy).all(axis=1)
        rows[:, column(f"{eye}ScreenX")], rows[:, column(f"{eye}ScreenY")] = xy[:, 0], xy[:, 1]
        rows[:, column(f"{eye}ScreenValid")] = good
    rows[:, column("FrameNumber")] = first_number + np.arange(len(t))
    return rows


def gaze_frames(rows: Floats, epoch: UUID, *, stream: int = GAZE, per_frame: int = 30) -> list[bytes]:
    """The rows as encoded frames of one epoch."""
    return [
        encode(Frame(stream, epoch, i, rows[k : k + per_frame])) for i, k in enumerate(range(0, len(rows), per_frame))
    ]


def end_of(frames: list[bytes], clock: list[bytes] = []) -> dict[str, Any]:  # noqa: B006
    return {
        str(stream): {"frames": len(data), "sha256": hashlib.sha256(b"".join(data)).hexdigest()}
        for stream, data in ((1, frames), (2, clock))
    }


def store_epoch(
    recording: Recording, rows: Floats, *, epoch: UUID | None = None, sealed: bool = True, clock: Floats | None = None
) -> UUID:
    """Put the rows, and what was measured of the tracker's clock [K, 4], into the store the way the consumer does."""
    epoch = epoch or uuid4()
    frames = gaze_frames(rows, epoch)
    measured = [] if clock is None else gaze_frames(clock, epoch, stream=CLOCK)
    ingest.begin(recording=recording, epoch=epoch, streams=STREAMS)
    for stream, data in ((GAZE, frames), (CLOCK, measured)):
        if data or stream == GAZE:
            with FrameFile(frame_path(recording.folder, stream, epoch), stream, epoch) as file:
                assert file.append(data)
    if sealed:
        ingest.seal(recording=recording, epoch=epoch, told=end_of(frames, measured))
    return epoch


def store_page(recording: Recording, states: list[dict[str, Any]], exchanges: Floats) -> None:
    for kind, items in (("states", states), ("clock", exchanges.tolist())):
        with JournalFile(ingest.journal_path(recording, kind)) as file:
            file.append(0, items)


def state(seq: int, t: float, a: list[float], **changes: Any) -> dict[str, Any]:
    return {
        "seq": seq, "t": t, "a": a, "rect": [0, 0, 920, 800], "dpr": 1.0, "screenX": 0.0, "screenY": 0.0,
        "view": {"cx": 0, "cy": 0, "scale": a[0], "rotation": 0, "invert": False, "wc": 1, "ww": 2},
        "visible": True, "focus": True, "cause": "test", **changes,
    }  # fmt: skip


@dataclass
class Scene:
    """The truth, and what tracker, agent and page would have recorded of it.

    Times of the truth are browser seconds; the LSL clock runs 40 ppm fast with an offset.
    """

    seed: int = 0
    noise_deg: float = 0.2
    fixations: list[tuple[float, float, float, float]] = field(default_factory=list)  # image x, y, onset, duration
    states: list[dict[str, Any]] = field(default_factory=list)
    rows: Floats = field(default_factory=lambda: np.zeros((0, 31)))
    exchanges: Floats = field(default_factory=lambda: np.zeros((0, 4)))
    drift: float = 40e-6
    offset: float = 52_345.678

    def lsl(self, browser_s: Any) -> Any:
        return np.asarray(browser_s) * (1 + self.drift) + self.offset

    @classmethod
    def zoom_and_pan(cls, seed: int = 0, *, noise_deg: float = 0.2, size: float = 1000.0, looks: int = 36) -> Scene:
        """Every third look follows a new view: zooms from 0.7 to 4 and pans, with drawn frames between the looks."""
        rng = np.random.default_rng(seed)
        scene = cls(seed=seed, noise_deg=noise_deg)
        view, t = [0.78, 0.0, 0.0, 0.78, 10.0, 5.0], 2.0
        scene.states.append(state(0, 1500.0, view))
        where: list[tuple[float, float, float]] = []  # browser s, screen x, y: corners of the eye's path
        for look in range(looks):
            if look % 3 == 0:
                zoom = float(rng.uniform(0.7, 4))
                cx, cy = rng.uniform(0.25 * size, 0.75 * size, 2)
                new = [zoom, 0.0, 0.0, zoom, 460 - zoom * cx, 400 - zoom * cy]
                for k in range(1, 7):  # a smooth zoom of six frames, 100 ms, while the eye waits
                    share = k / 6
                    between = [(1 - share) * a + share * b for a, b in zip(view, new, strict=True)]
                    scene.states.append(state(len(scene.states), 1000 * (t + k / 60), between))
                view, t = new, t + 0.15
            screen = rng.uniform((60, 60), (860, 740))
            x, y = (screen[0] - view[4]) / view[0], (screen[1] - view[5]) / view[3]
            duration = float(rng.uniform(0.2, 0.5))
            scene.fixations.append((float(x), float(y), t, duration))
            where += [(t, *screen), (t + duration, *screen)]
            t += duration + 0.04
        corners = np.array(where)
        browser = np.arange(1.6, t, 1 / RATE)
        screen_px = np.column_stack([np.interp(browser, corners[:, 0], corners[:, axis]) for axis in (1, 2)])
        noise = rng.normal(0, noise_deg, screen_px.shape) * DISPLAY.px_per_degree
        scene.rows = gaze_samples(scene.lsl(browser), (screen_px + noise) / (1280, 800))
        asked = np.r_[1.0 + 0.01 * np.arange(20), np.arange(2.0, t + 1)]
        out, back = 0.0001 + rng.exponential(0.0002, (2, len(asked)))
        scene.exchanges = np.column_stack(
            [1e3 * asked, scene.lsl(asked + out), scene.lsl(asked + out), 1e3 * (asked + out + back)]
        )
        return scene

    def in_view(self) -> list[tuple[float, float, float, float]]:
        return self.fixations


def calibration_points(
    targets: Any, rng: np.random.Generator, *, noise_deg: float = 0.2, shift: float = 0.0
) -> list[dict[str, Any]]:
    """What the station page posts for these targets, looked at through the distorted tracker."""
    out = []
    for x, y in targets:
        noise = rng.normal(0, noise_deg, (80, 2)) * DISPLAY.px_per_degree / (1280, 800)
        truth = np.array([x + shift, y]) + noise
        left, right = (calibration.apply(DISTORTION[eye], truth).tolist() for eye in ("left", "right"))
        out.append(
            {"x": x, "y": y, "shown": 99.4, "t": (100 + np.arange(80) / 120).tolist(), "left": left, "right": right,
             "valid_left": [True] * 80, "valid_right": [True] * 80}
        )  # fmt: skip
    return out


def measured(seed: int = 0, **changes: Any) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    shift = changes.pop("shift", 0.0)
    return {
        "display": DISPLAY.to_dict(),
        "tracker": {"found": True, "name": "synthetic"},
        "calibration": calibration_points(calibration.FIVE_POINTS, rng),
        "validation": calibration_points(calibration.VALIDATION_POINTS, rng, shift=shift),
        **changes,
    }
