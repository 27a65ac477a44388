"""The eyes, the browser and the station of a simulated reader, on the real sockets.

What a station agent and a reading-room page send is made here from a simulated scanpath and sent through the same
doors: frames with acknowledgement to `/ws/ingest/`, viewport states and clock exchanges to `/ws/page/<recording>/`.
Time is compressed on the way: a minute of gaze is sent in a moment, under the stamps of a reader at normal speed.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from capture.agent.pairing import Pairing
from capture.frames import CLOCK, GAZE, GAZE_CHANNELS, Frame, channel_label, encode
from capture.gaze.simulate.reader import Scanpath, inspect
from capture.gaze.simulate.samples import Geometry, Samples, render
from gazex.phantoms.anatomy import REGION_BOXES

RATE_HZ = 120.0
DISPLAY = Geometry(width_px=1920, height_px=1080, width_mm=531.0, height_mm=299.0, distance_mm=650.0)
FRAME_SAMPLES = 12


@dataclass(frozen=True)
class Perceived:
    """A finding as the simulated reader believes it to be there."""

    finding: str
    side: str
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class Clocks:
    """An LSL clock and a browser clock that started at different times and drift apart by 20 ppm."""

    lsl_start: float
    browser_start: float = 1500.0
    drift: float = 20e-6

    def browser(self, lsl: float) -> float:
        return self.browser_start + (lsl - self.lsl_start) * 1000.0 * (1.0 + self.drift)


def viewport(rows: int, columns: int, *, zoom: float = 1.0, centre: tuple[float, float] | None = None) -> list[float]:
    """The matrix image px -> CSS px of an image fitted to the display's height, zoomed about an image point."""
    scale = zoom * DISPLAY.height_px / rows
    cx, cy = centre or ((columns - 1) / 2, (rows - 1) / 2)
    return [scale, 0.0, 0.0, scale, DISPLAY.width_px / 2 - scale * cx, DISPLAY.height_px / 2 - scale * cy]


class SimulatedGaze:
    """Records reads of simulated readers, all at one station whose display is `DISPLAY`, paired as any other."""

    def __init__(self, pairing: Pairing) -> None:
        self._pairing = pairing

    def _enter(self, post_json: Any, **what: Any) -> dict[str, Any]:
        """What the server tells the page that finds this station."""
        answer = post_json("/capture/station/enter/", {"station": self._pairing.station, **what})
        if answer.status_code != 200:
            raise RuntimeError(f"The simulated station was refused: {answer.text[:300]}")
        told: dict[str, Any] = answer.json()
        return told

    def calibrate(self, asked: Mapping[str, Any], post_json: Any, rng: np.random.Generator) -> None:
        """Look at the points that the station check asks for (its page's configuration); send what the tracker saw."""
        self._enter(post_json)
        body = {
            "enrolment": asked["enrolment"],
            "display": _display(),
            **{kind: [_look_at(point, rng) for point in asked[kind]] for kind in ("calibration", "validation")},
        }
        answer = post_json("/capture/calibrations/", body)
        if answer.status_code != 200 or not answer.json().get("passed"):
            raise RuntimeError(f"The simulated station check did not pass: {answer.text[:300]}")

    def record(
        self,
        config: Mapping[str, Any],
        perceived: list[Perceived],
        rng: np.random.Generator,
        client: httpx.Client,
        post_json: Any,
        seconds: float,
    ) -> list[dict[str, Any]]:
        """Send one read's gaze, states and clock exchanges; returns the report's sentences in browser milliseconds."""
        image, capture = config["image"], config["capture"]
        rows, columns = int(image["rows"]), int(image["columns"])
        path = inspect(typical_regions(rows, columns), perceived, rng=rng, duration_s=max(seconds, 10.0))
        clocks = Clocks(lsl_start=float(rng.uniform(1e3, 1e5)))
        # Half way through, the reader zooms in: later gaze must be mapped through the later state.
        turn = float(path.onset_s[len(path) // 2]) - 0.02
        views = [(0.0, viewport(rows, columns)), (turn, viewport(rows, columns, zoom=1.5))]
        samples = render(_on_screen(path, views), DISPLAY, RATE_HZ, rng)
        self._send_states(capture, views, clocks, image, client, float(samples.t[-1]), rng)
        token = self._enter(post_json, recording=capture["recording"])["token"]
        self._send_frames(capture, token, samples, clocks)
        return [
            {"text": text, "start": clocks.browser(clocks.lsl_start + t0), "end": clocks.browser(clocks.lsl_start + t1)}
            for text, t0, t1 in path.sentences
        ]

    def _send_frames(self, capture: Mapping[str, Any], token: str, samples: Samples, clocks: Clocks) -> None:
        epoch = uuid.uuid4()
        gaze = _channels(samples, clocks.lsl_start)
        frames = [
            encode(Frame(GAZE, epoch, number, gaze[start : start + FRAME_SAMPLES]))
            for number, start in enumerate(range(0, len(gaze), FRAME_SAMPLES))
        ]
        correction = np.array([[clocks.lsl_start, -2e-5, 1e-5, clocks.lsl_start]])
        clock = [encode(Frame(CLOCK, epoch, 0, correction))]
        headers = {"Authorization": f"Bearer {token}", "Gazeroom-Station": self._pairing.credential}
        with connect(capture["ingestSocket"], additional_headers=headers) as socket:
            socket.send(
                json.dumps(
                    {
                        "op": "begin",
                        "recording": capture["recording"],
                        "epoch": str(epoch),
                        "streams": {
                            str(GAZE): {"channels": list(GAZE_CHANNELS), "rate_hz": RATE_HZ, "display": _display()},
                            str(CLOCK): {"channels": ["Correction", "Uncertainty", "RemoteTime"]},
                        },
                    }
                )
            )
            _expect(socket, "resume")
            for stream, sent in ((GAZE, frames), (CLOCK, clock)):
                for frame in sent:
                    socket.send(frame)
                while _expect(socket, "ack", stream=stream)["next"] < len(sent):
                    pass
            socket.send(
                json.dumps(
                    {
                        "op": "end",
                        "streams": {
                            str(stream): {
                                "frames": len(sent),
                                "sha256": hashlib.sha256(b"".join(sent)).hexdigest(),
                            }
                            for stream, sent in ((GAZE, frames), (CLOCK, clock))
                        },
                    }
                )
            )
            _expect(socket, "sealed")

    def _send_states(
        self,
        capture: Mapping[str, Any],
        views: list[tuple[float, list[float]]],
        clocks: Clocks,
        image: Mapping[str, Any],
        client: httpx.Client,
        duration: float,
        rng: np.random.Generator,
    ) -> None:
        base = str(client.base_url)
        url = base.replace("http", "ws", 1).rstrip("/") + str(capture["pageSocket"])
        cookie = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
        window = _default_window(image)
        states = [
            {
                "seq": seq,
                "t": clocks.browser(clocks.lsl_start + at),
                "a": matrix,
                "rect": [0, 0, DISPLAY.width_px, DISPLAY.height_px],
                "dpr": 1,
                "screenX": 0,
                "screenY": 0,
                "view": {
                    "cx": 0,
                    "cy": 0,
                    "scale": matrix[0],
                    "rotation": 0,
                    "invert": False,
                    "voi": 0,
                    **window,
                },
                "visible": True,
                "focus": True,
                "cause": "fit" if seq == 0 else "zoom",
            }
            for seq, (at, matrix) in enumerate(views)
        ]
        exchanges = []
        for at in np.arange(0.0, duration + 1.0, 1.0):
            out, back = rng.exponential(2e-4, 2) + 5e-5
            sent = clocks.lsl_start + float(at)
            exchanges.append(
                [clocks.browser(sent), sent + out, sent + out + 1e-5, clocks.browser(sent + out + 1e-5 + back)]
            )
        with connect(url, additional_headers={"Cookie": cookie}, origin=Origin(base.rstrip("/"))) as socket:
            for kind, items in (("states", states), ("clock", exchanges)):
                socket.send(json.dumps({"op": kind, "from": 0, "items": items}))
                while _expect(socket, "ack", kind=kind)["next"] < len(items):
                    pass


def _expect(socket: ClientConnection, op: str, **fields: Any) -> dict[str, Any]:
    """The next message with this `op` and these fields; an error message is raised with its sentence."""
    while True:
        message: dict[str, Any] = json.loads(socket.recv(timeout=30))
        if message.get("op") == "error":
            raise RuntimeError(message["sentence"])
        if message.get("op") == op and all(message.get(name) == value for name, value in fields.items()):
            return message


def _default_window(image: Mapping[str, Any]) -> dict[str, float]:
    """The window the image opens with: the file's first, or everything from black to the largest value."""
    first = image["voi"][0] if image["voi"] else {}
    if first.get("type") == "window":
        return {"wc": float(first["center"]), "ww": float(first["width"])}
    return {"wc": image["max"] / 2, "ww": float(image["max"])}


def typical_regions(rows: int, columns: int) -> dict[str, tuple[float, float, float, float]]:
    """Where the chest's regions lie on a well-centred frontal radiograph: name -> box in image pixels."""
    regions = {}
    for name, (u0, v0, u1, v1) in REGION_BOXES.items():
        sides = [(name, u0, u1)]
        if name.startswith("left_"):
            sides.append((name.replace("left_", "right_"), -u1, -u0))
        for side, a, b in sides:
            middle = columns / 2 - 0.5
            regions[side] = (middle + a * rows, v0 * rows - 0.5, middle + b * rows, v1 * rows - 0.5)
    return regions


def _display() -> dict[str, float]:
    return {
        "width_px": DISPLAY.width_px,
        "height_px": DISPLAY.height_px,
        "width_mm": DISPLAY.width_mm,
        "height_mm": DISPLAY.height_mm,
        "distance_mm": DISPLAY.distance_mm,
    }


def _on_screen(path: Scanpath, views: list[tuple[float, list[float]]]) -> Scanpath:
    """The scanpath in display pixels, each fixation through the view that was on screen at its onset."""
    index = np.searchsorted([at for at, _ in views], path.onset_s, side="right") - 1
    a = np.array([matrix for _, matrix in views])[index]
    x = a[:, 0] * path.x + a[:, 2] * path.y + a[:, 4]
    y = a[:, 1] * path.x + a[:, 3] * path.y + a[:, 5]
    return Scanpath(x, y, path.onset_s, path.duration_s, path.sentences, path.topic)


def _channels(samples: Samples, lsl_start: float) -> np.ndarray:
    """The 30 channels of `capture.frames` behind the LSL time; what a simulated tracker does not measure is NaN."""
    n = len(samples.t)
    out = np.full((n, 1 + len(GAZE_CHANNELS)), np.nan)
    out[:, 0] = lsl_start + samples.t
    column = {label: 1 + k for k, label in enumerate(GAZE_CHANNELS)}
    for eye, xy, valid, pupil in (
        ("left", samples.left, samples.valid_left, samples.pupil_left),
        ("right", samples.right, samples.valid_right, samples.pupil_right),
    ):
        out[:, column[channel_label(eye, "ScreenX")]] = xy[:, 0]
        out[:, column[channel_label(eye, "ScreenY")]] = xy[:, 1]
        out[:, column[channel_label(eye, "ScreenValid")]] = valid
        out[:, column[channel_label(eye, "Diameter")]] = pupil
        out[:, column[channel_label(eye, "DiameterValid")]] = valid
    out[:, column["FrameNumber"]] = np.arange(n)
    out[:, column["DeviceTimeStamp"]] = np.round(samples.t * 1e6)
    return out


def _look_at(point: tuple[float, float], rng: np.random.Generator) -> dict[str, Any]:
    """Seven tenths of a second of gaze at a point of the display, as the agent's `collect` answers it."""
    x, y = point[0] * DISPLAY.width_px, point[1] * DISPLAY.height_px
    still = Scanpath(np.array([x]), np.array([y]), np.array([0.0]), np.array([0.7]))
    seen = render(still, DISPLAY, RATE_HZ, rng, blinks=0.0)

    def eye(xy: np.ndarray) -> list[list[float | None]]:
        return [[None if np.isnan(v) else float(v) for v in row] for row in xy]

    return {
        "x": point[0],
        "y": point[1],
        "shown": float(seen.t[0]),
        "t": seen.t.tolist(),
        "left": eye(seen.left),
        "right": eye(seen.right),
        "valid_left": seen.valid_left.tolist(),
        "valid_right": seen.valid_right.tolist(),
    }
