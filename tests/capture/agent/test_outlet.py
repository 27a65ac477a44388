"""What the agent publishes for others, and recordings played as a stream: whole stations with real streams."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest

from capture.agent import lsl
from capture.agent.outlet import Outlet, source_id
from capture.agent.sources.base import Tracker
from capture.frames import EYES, GAZE_CHANNELS
from tests.capture.agent.harness import Ingest, Station, eventually, spooled
from tests.capture.agent.test_replay import samples
from tests.capture.agent.trackers import SESSION, Bench, column, described, gaze, until

DISPLAY = {"width_px": 1920, "height_px": 1080, "width_mm": 527.0, "height_mm": 296.0, "distance_mm": 650.0}
NOWHERE = "ws://127.0.0.1:9/ws/ingest/"
ODD = [
    ("x", "ScreenX", "normalized", "left"),
    ("y", "ScreenY", "normalized", "left"),
    ("head", "HeadYaw", "degrees", ""),
]


def tracker(**changes: Any) -> Tracker:
    told = {
        "name": "Eye",
        "source_id": "some-tracker",
        "rate_hz": 120.0,
        "acquisition": {"manufacturer": "M", "serial_number": f"SN/{uuid4().hex[:6]}"},
        "display": DISPLAY,
        "present": list(GAZE_CHANNELS),
    }
    return Tracker(**{**told, **changes})  # type: ignore[arg-type]


class Reader:
    """A third party's program."""

    def __init__(self, source_id: str) -> None:
        pylsl = lsl.load(SESSION)
        (short, *_) = until(lambda: pylsl.resolve_byprop("source_id", source_id, 1, 1.0))
        self.inlet = pylsl.StreamInlet(short, recover=False)
        self.info = self.inlet.info(timeout=5.0)
        self.inlet.open_stream(timeout=5.0)
        self.rows: list[list[float]] = []
        self.times: list[float] = []

    def pull(self) -> int:
        rows, times = self.inlet.pull_chunk(timeout=0.0, max_samples=4096)
        self.rows += rows
        self.times += times
        return len(self.times)


def test_others_are_told_everything_about_the_stream() -> None:
    lsl.load(SESSION)
    one = tracker()
    outlet = Outlet()
    outlet.describe(one)
    reader = Reader(source_id(one))
    info = reader.info
    assert (info.type(), info.channel_count(), info.nominal_srate()) == ("Gaze", 30, 120)
    assert info.source_id().startswith("gazeroom-SN-") and lsl.is_republished(info.source_id())
    channels = lsl.read_channels(info)
    assert [c.label for c in channels] == list(GAZE_CHANNELS)
    assert {c.eye for c in channels} == {*EYES, "both"} and all(c.unit and c.type for c in channels)
    assert lsl.read_display(info) == DISPLAY
    acquisition = lsl.read_children(info, "acquisition")
    assert acquisition["manufacturer"] == "M" and acquisition["source_id"] == "some-tracker"
    rows = samples(20, since=lsl.load().local_clock())
    rows[3, 0] = np.nan
    outlet.push(rows, correction=-20e-6)
    until(lambda: reader.pull() >= 19)
    placed = np.isfinite(rows[:, 0])
    # The times are the tracker's own, not a measurement's noise; what has no time cannot be published.
    assert np.array_equal(reader.times, rows[placed, 0])
    assert np.array_equal(np.array(reader.rows), rows[placed, 1:], equal_nan=True)
    outlet.push(rows[:1], correction=0.25)
    until(lambda: reader.pull() >= 20)
    assert reader.times[-1] == pytest.approx(rows[0, 0] + 0.25)  # a tracker on another machine


def test_the_same_tracker_again_keeps_its_stream_and_another_gets_its_own() -> None:
    lsl.load(SESSION)
    outlet, one = Outlet(), tracker()
    outlet.describe(one)
    kept = outlet._outlet
    outlet.describe(tracker(acquisition=one.acquisition))
    assert outlet._outlet is kept
    outlet.describe(tracker(display={**DISPLAY, "width_px": 1280}, acquisition=one.acquisition))
    assert outlet._outlet is not kept
    gc.collect()


async def test_a_recording_is_published_spooled_first_and_never_recorded_again(here: Station, bench: Bench) -> None:
    name = f"zz-{uuid4().hex[:8]}"
    count = [0]

    def values(t: np.ndarray) -> np.ndarray:
        count[0] += len(t)
        return np.column_stack([*gaze(t), np.full(len(t), 12.5)])

    bench.feed(described(name, ODD, rate=200, display=DISPLAY, acquisition={"serial_number": name}), 200, values)
    # No name is given: the agent is to tell the tracker from its own stream by itself.
    here.agent()
    page = await here.page()
    assert (await page.ask("hello", "welcome"))["tracker"]["serial"] == name
    reader = await asyncio.to_thread(Reader, f"gazeroom-{name}-gaze")
    # Nothing is published without a recording: nobody has consented to one.
    assert reader.pull() == 0
    recording = (await page.start(NOWHERE))["recording"]
    await eventually(lambda: reader.pull() > 100)
    stopped = await page.stop()
    gaze_rows = spooled(here.spool, recording)
    await eventually(lambda: reader.pull() >= len(gaze_rows))
    assert len(gaze_rows) == stopped["samples"]
    assert np.array_equal(reader.times, gaze_rows[:, 0])
    assert np.array_equal(np.array(reader.rows), gaze_rows[:, 1:], equal_nan=True)
    x, _ = gaze(gaze_rows[:, 0])
    assert gaze_rows[:, column("LeftScreenX")] == pytest.approx(x)
    # The channel that has no place among the 30 lies beside them, frame by frame.
    beside = spooled(here.spool, recording, stream=3)
    assert np.array_equal(beside[:, 0], gaze_rows[:, 0]) and (beside[:, 1] == 12.5).all()
    described_streams = next((here.spool / recording).glob("*/recording.json")).read_text()
    assert '"labels": ["head"]' in described_streams and '"units": ["degrees"]' in described_streams
    assert "gazeroom-" not in (await page.ask("hello", "welcome"))["tracker"]["name"]


async def test_a_new_rate_in_a_recording_begins_an_epoch_that_says_so_and_loses_nothing(
    here: Station, bench: Bench, ingest: Ingest
) -> None:
    name = f"rate-{uuid4().hex[:8]}"
    count = [0]

    def values(t: np.ndarray) -> np.ndarray:
        numbers = np.arange(count[0], count[0] + len(t), dtype=float)
        count[0] += len(t)
        return np.column_stack([*gaze(t), numbers])

    numbered = [*ODD[:2], ("n", "FrameNumber", "count", "")]
    feed = bench.feed(described(name, numbered, rate=240, display=DISPLAY), 240, values)
    here.agent("--tracker", name)
    page = await here.page()
    recording = (await page.start(ingest.url))["recording"]
    await asyncio.sleep(0.5)
    feed.rate = 60
    while "has changed its rate from 240 to 60" not in ((await page.heard("status"))["problem"] or ""):
        pass
    await asyncio.sleep(0.5)
    stopped = await page.stop()
    await eventually(lambda: len(ingest.sealed) == 2)
    rates = {begin["epoch"]: begin["streams"]["1"]["rate_hz"] for begin in ingest.begins}
    stored = {
        epoch: np.concatenate([_samples(frame) for frame in frames])
        for (one, epoch, stream), frames in ingest.stored.items()
        if one == recording and stream == 1
    }
    first, second = sorted(stored, key=lambda epoch: stored[epoch][0, 0])
    assert (rates[first], rates[second]) == (240, 60)
    whole = np.concatenate([stored[first], stored[second]])
    assert np.array_equal(np.diff(whole[:, column("FrameNumber")]), np.ones(len(whole) - 1))
    assert stopped["samples"] == len(whole) and not any(gap["missing"] for gap in stopped["gaps"])
    notes = [note["kind"] for end in ingest.ends for note in end["notes"]]
    assert "rate" in notes


def _samples(frame: bytes) -> np.ndarray:
    from capture.frames import decode

    return decode(frame).samples


async def test_what_is_wrong_with_the_tracker_is_told_to_the_page(here: Station, bench: Bench) -> None:
    name = f"lies-{uuid4().hex[:8]}"
    bench.feed(described(name, ODD[:2], rate=120), 120, lambda t: 700 * np.column_stack(gaze(t)))
    here.agent("--tracker", name)
    page = await here.page(tracker=False)
    while "is said to be normalised" not in ((await page.heard("status"))["problem"] or ""):
        pass
    answer = await page.ask("start", "started", recording=str(uuid4()), token="t", socket=NOWHERE)
    assert answer["op"] == "error"


async def test_a_recording_is_played_as_a_stream_and_recorded_again(here: Station, tmp_path: Path) -> None:
    rows = samples(400)
    path = tmp_path / "old.csv"
    header = "time_s,LeftScreenX,LeftScreenY,LeftScreenValid,FrameNumber"
    labels = ["LeftScreenX", "LeftScreenY", "LeftScreenValid", "FrameNumber"]
    np.savetxt(path, rows[:, [0, *map(column, labels)]], delimiter=",", header=header, comments="", fmt="%.9f")
    here.simulator("--replay", str(path), "--loop", "--speed", "2")
    here.agent("--tracker", "replay-old-gaze", "--display", "1920x1080,527x296,650")
    page = await here.page()
    recording = (await page.start(NOWHERE))["recording"]
    await eventually(lambda: len(_tail(here, recording)) > 60)
    await page.stop()
    again = spooled(here.spool, recording)
    assert (await page.ask("hello", "welcome"))["display"]["width_px"] == 1920
    numbers = again[:, column("FrameNumber")].astype(int)
    # At twice the pace, with the times it was recorded at as device time.
    inside = np.diff(numbers) == 1
    assert inside.sum() > 40 and np.diff(again[:, 0])[inside] == pytest.approx(0.005, abs=1e-6)
    assert again[:, column("DeviceTimeStamp")] == pytest.approx(rows[numbers, 0] * 1e6, abs=1)
    assert again[:, column("LeftScreenX")] == pytest.approx(rows[numbers, column("LeftScreenX")], abs=1e-8)


def _tail(station: Station, recording: str) -> np.ndarray:
    try:
        return spooled(station.spool, recording)
    except ValueError:
        return np.empty(0)
