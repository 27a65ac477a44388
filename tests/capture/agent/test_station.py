"""The agent as a process, with a simulated tracker on real LSL and a page on a real socket."""

from __future__ import annotations

import asyncio
import signal
import time
from uuid import uuid4

import numpy as np
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from capture.agent.sources.simulator import Bias
from capture.frames import GAZE_CHANNELS, read_frames
from capture.gaze.simulate.samples import Geometry
from tests.capture.agent.harness import FRAME_NUMBER, Ingest, Page, Station, eventually, spooled, token_for

NOWHERE = "ws://127.0.0.1:9/ws/ingest/"
GEOMETRY = Geometry()
SIZE = np.array([GEOMETRY.width_px, GEOMETRY.height_px])


def column(label: str) -> int:
    return 1 + GAZE_CHANNELS.index(label)


def lsl_now() -> float:
    # liblsl's local_clock is the steady clock, which Python reads as this.
    return time.monotonic()


async def test_every_sample_the_tracker_sends_is_stored_by_the_server(station: Station, ingest: Ingest) -> None:
    station.agent()
    station.simulator("--rate", "240", "--seed", "7")
    page = await station.page()
    assert page.welcome["display"].keys() == {"width_px", "height_px", "width_mm", "height_mm", "distance_mm"}
    recording = str(uuid4())
    await page.start(ingest.url, recording)
    began = lsl_now()
    await asyncio.sleep(3)
    ended = lsl_now()
    stopped = await page.stop()
    await eventually(lambda: ingest.sealed)
    await eventually(lambda: not list(station.spool.glob("*/*/*.gzr")))

    samples = ingest.samples(recording)
    numbers = samples[:, FRAME_NUMBER]
    assert (stopped["samples"], stopped["frames"]) == (len(samples), len(ingest.frames(recording)))
    assert stopped["last_sequence"] == stopped["frames"] - 1
    assert np.array_equal(np.diff(numbers), np.ones(len(samples) - 1))
    assert stopped["gaps"] == [] and ingest.ends[0]["gaps"] == []
    assert np.diff(samples[:, 0]) == pytest.approx(1 / 240, abs=1e-6)
    assert samples[0, 0] <= began + 0.005 and samples[-1, 0] >= ended - 0.005
    sent = station.truths("count")[-1]
    assert sent["first_frame"] <= numbers[0] and sent["samples_sent"] == sent["last_frame"] + 1
    described = ingest.begins[0]["streams"]["1"]
    assert described["labels"] == list(GAZE_CHANNELS) and described["rate_hz"] == 240
    assert described["display"]["width_px"] == 1280 and described["device"]["serial_number"] == "SIM-00007"
    clock = ingest.samples(recording, stream=2)
    assert len(clock) >= 1 and np.all(np.abs(clock[:, 1]) < 0.001)
    assert "● RECORDING GAZE: " + recording in station.log.read_text()


async def test_the_labels_decide_which_channel_is_which(station: Station) -> None:
    station.agent()
    station.simulator("--jumble", "--seed", "3", "--loss", "0.05")
    page = await station.page()
    recording = (await page.start(NOWHERE))["recording"]
    await asyncio.sleep(2.5)
    await page.stop()
    samples = spooled(station.spool, recording)
    assert np.array_equal(np.diff(samples[:, FRAME_NUMBER]), np.ones(len(samples) - 1))
    assert samples[:, column("DeviceTimeStamp")] == pytest.approx(samples[:, 0] * 1e6, abs=1)
    valid = samples[samples[:, column("LeftScreenValid")] == 1]
    assert len(valid) > 80
    assert valid[:, column("LeftPositionX")] == pytest.approx(-31, abs=2)
    assert valid[:, column("RightPositionX")] == pytest.approx(31, abs=2)
    assert valid[:, column("LeftIntersectionX")] == pytest.approx((valid[:, column("LeftScreenX")] - 0.5) * 344)
    assert valid[:, column("RightDiameter")] == pytest.approx(3.3, abs=0.4)


async def test_the_simulated_eye_follows_the_viewport_through_zoom_and_pan(station: Station) -> None:
    station.agent()
    station.simulator("--seed", "11", "--rate", "120")
    page = await station.page()
    views = {
        1: [0.7, 0.0, 0.0, 0.7, 290.0, 50.0],
        2: [1.8, 0.0, 0.0, 1.8, -350.0, -420.0],
        3: [1.8, 0.0, 0.0, 1.8, -100.0, -200.0],
    }
    recording = (await page.start(NOWHERE))["recording"]
    for seq, matrix in views.items():
        await page.say("stimulus", kind="viewport", seq=seq, a=matrix, rows=1000, columns=1000)
        await asyncio.sleep(1.8)
    await page.stop()
    samples = spooled(station.spool, recording)
    bias = Bias.draw(np.random.default_rng(11), GEOMETRY, 1.0, 0.03)
    seen = dict.fromkeys(views, 0)
    for truth in station.truths("fixation"):
        rest = (samples[:, 0] >= truth["onset_lsl"]) & (samples[:, 0] < truth["offset_lsl"])
        rest &= samples[:, column("LeftScreenValid")] == 1
        if truth["viewport_seq"] is None or rest.sum() < 8:
            continue
        a, b, c, d, e, f = views[truth["viewport_seq"]]
        for eye, name in enumerate(("Left", "Right")):
            xy = samples[rest][:, [column(f"{name}ScreenX"), column(f"{name}ScreenY")]]
            raw = np.mean(xy, axis=0) * SIZE
            x, y = np.mean(bias.remove(eye, xy, GEOMETRY), axis=0) * SIZE
            image = (x - e) / a, (y - f) / d
            assert GEOMETRY.degrees((image[0] - truth["image_x"]) * a, (image[1] - truth["image_y"]) * d) < 0.3
            assert GEOMETRY.degrees(raw[0] - truth["screen_x"], raw[1] - truth["screen_y"]) > 0.3
        seen[truth["viewport_seq"]] += 1
    assert (b, c) == (0, 0) and min(seen.values()) >= 2


async def test_a_killed_agent_loses_a_tenth_of_a_second_and_the_next_one_delivers_the_rest(
    station: Station, ingest: Ingest
) -> None:
    await ingest.kill()
    agent = station.agent()
    station.simulator("--rate", "600")
    page = await station.page()
    recording = str(uuid4())
    await page.start(ingest.url, recording)
    await asyncio.sleep(1.5)
    agent.send_signal(signal.SIGKILL)
    died = lsl_now()
    agent.wait()
    left = spooled(station.spool, recording)
    assert np.array_equal(np.diff(left[:, FRAME_NUMBER]), np.ones(len(left) - 1))
    # The frame being filled, and what the tracker's and the agent's 20 ms ticks had not yet handed on.
    assert died - left[-1, 0] < 0.1 + 0.1
    with next((station.spool / recording).glob("*/1.gzr")).open("ab") as file:
        file.write(b"GZR1 torn")

    station.agent()
    await ingest.start()
    await eventually(lambda: ingest.sealed)
    await eventually(lambda: not list(station.spool.glob("*/*/*.gzr")))
    assert np.array_equal(ingest.samples(recording), left, equal_nan=True)
    assert ingest.ends[0]["interrupted"] is True


async def test_a_tracker_that_dies_and_comes_back_leaves_a_gap_and_the_recording_goes_on(station: Station) -> None:
    station.agent()
    simulator = station.simulator("--seed", "5")
    page = await station.page()
    recording = (await page.start(NOWHERE))["recording"]
    await asyncio.sleep(0.8)
    simulator.send_signal(signal.SIGKILL)
    simulator.wait()
    died = lsl_now()
    while (await page.heard("status"))["tracker"]:
        pass
    born = lsl_now()
    station.simulator("--seed", "5")
    while not (await page.heard("status"))["tracker"]:
        pass
    await asyncio.sleep(0.5)
    (gap,) = (await page.stop())["gaps"]
    samples = spooled(station.spool, recording)
    (at,) = np.flatnonzero(np.diff(samples[:, FRAME_NUMBER]) != 1)
    assert (gap["t0"], gap["t1"]) == (samples[at, 0], samples[at + 1, 0])
    assert (gap["after_frame"], gap["before_frame"]) == tuple(samples[at : at + 2, FRAME_NUMBER])
    assert gap["missing"] is None and gap["t0"] <= died < born <= gap["t1"]


async def test_a_recording_without_a_page_ends_by_itself(station: Station) -> None:
    station.agent("--abandoned-after", "0.5")
    station.simulator()
    page = await station.page()
    recording = (await page.start(NOWHERE))["recording"]
    await page.close()
    marker = next((station.spool / recording).glob("*/recording.json"))
    await eventually(lambda: '"state": "ended"' in marker.read_text())
    assert (await station.page()).welcome["recording"] is False
    assert 40 < len(spooled(station.spool, recording)) < 600


async def test_a_stopped_agent_ends_its_recording_and_is_gone_within_three_seconds(station: Station) -> None:
    agent = station.agent()
    station.simulator()
    page = await station.page()
    recording = (await page.start(NOWHERE))["recording"]
    await asyncio.sleep(0.6)
    agent.send_signal(signal.SIGTERM)
    began = time.monotonic()
    assert await asyncio.to_thread(agent.wait, 10) == 0
    assert time.monotonic() - began < 3
    assert len(spooled(station.spool, recording)) > 40
    assert '"state": "ended"' in next((station.spool / recording).glob("*/recording.json")).read_text()


async def test_pages_are_held_to_their_manners(station: Station) -> None:
    """One station for many small questions: starting processes is what takes the time."""
    station.agent()
    without = await station.page(tracker=False)
    # Nothing is there yet.
    assert without.welcome["tracker"]["found"] is False
    assert (await without.heard("status"))["tracker"] is False
    recording = str(uuid4())
    for op, content in (
        ("start", {"recording": recording, "token": token_for(recording), "socket": NOWHERE}),
        ("collect", {"seconds": 1}),
    ):
        answer = await without.ask(op, "started", **content)
        assert answer["for"] == op and answer["sentence"].startswith("No gaze is arriving: switch the eye tracker on")
    await without.close()

    # Strangers.
    for origin in ("http://evil.example", "null", None):
        with pytest.raises(InvalidStatus) as refused:
            await Page.open(station.port, origin=origin)
        assert refused.value.response.status_code == 403
    for key in ("", "wrong", "the-station-key-and-more", "schlüssel"):
        with pytest.raises(ConnectionClosed) as closed:
            await Page.open(station.port, key=key)
        assert closed.value.rcvd and closed.value.rcvd.code == 4401
    async with connect(f"ws://127.0.0.1:{station.port}/", origin="http://reading.room:8000", proxy=None) as rude:  # type: ignore[arg-type]
        await rude.send('{"op": "start"}')
        with pytest.raises(ConnectionClosed) as closed:
            await rude.recv()
        assert closed.value.rcvd and closed.value.rcvd.code == 4401

    station.simulator("--loss", "0.1")
    page = await station.page()
    worker = await station.page()

    # Two pages; the clock is answered at once, even while samples are being collected.
    asked = lsl_now()
    await page.say("collect", seconds=0.5)
    for k in range(20):
        before = lsl_now()
        clock = await worker.ask("clock", "clock", t0=k + 0.5)
        assert clock["t0"] == k + 0.5
        assert before <= clock["t1"] <= clock["t2"] <= lsl_now()
    collected = await page.heard("samples", "error")
    t = np.array(collected["t"])
    assert len(t) == pytest.approx(60, abs=2) and t[0] >= asked and t[-1] <= asked + 0.6
    assert len(t) == len(collected["left"]) == len(collected["valid_left"]) == len(collected["valid_right"])
    for xy, valid in zip(collected["right"], collected["valid_right"], strict=True):
        assert (xy == [None, None]) is not valid

    # Questions that cannot be answered get one sentence each, and the page stays.
    good = {"recording": recording, "token": token_for(recording), "socket": NOWHERE}
    for op, content, sentence in (
        ("collect", {"seconds": 1e9}, "seconds must be above 0 and at most 30, got 1000000000.0."),
        ("stimulus", {"x": 1}, "A stimulus needs a kind: target, viewport or blank."),
        ("start", {**good, "recording": "../../etc"}, "'../../etc' is no recording id (a UUID)."),
        ("start", {**good, "token": "a\r\nb"}, "start needs the recording's token."),
        ("start", {**good, "socket": "http://x"}, "'http://x' is no WebSocket address to send the recording to."),
        ("stop", {}, "Nothing is being recorded."),
        ("dance", {}, "Unknown op 'dance': hello, clock, stimulus, collect, start or stop."),
        ("clock", {"t0": "now"}, "A clock exchange needs t0, a number of milliseconds."),
    ):
        assert (await page.ask(op, "nothing", **content))["sentence"] == sentence
    await page.connection.send("{")
    assert (await page.heard("error"))["sentence"] == "That is not JSON."

    # One recording at a time; the same one again is the same one.
    started = await page.start(NOWHERE, good["recording"])
    assert (await worker.start(NOWHERE, good["recording"]))["epoch"] == started["epoch"]
    second = str(uuid4())
    other = await worker.ask("start", "started", **{**good, "recording": second, "token": token_for(second)})
    assert other["sentence"] == f"This station is recording {good['recording']}: end that read first."
    while (status := await worker.heard("status"))["pending_frames"] == 0:
        pass
    assert status["recording"] is True and status["recording_id"] == good["recording"] and status["uploaded"] == 0
    assert (await worker.stop())["recording"] == good["recording"]
    frames = list(read_frames(next((station.spool / good["recording"]).glob("*/1.gzr"))))
    assert frames[0].channels == 30

    # A second agent on the same spool or port is told so.
    arguments = ["run", "--port", str(station.port), "--spool"]
    same = await asyncio.to_thread(station.run, *arguments, str(station.spool))
    assert same.returncode == 1 and "Another agent uses the spool" in same.stderr
    port = await asyncio.to_thread(station.run, *arguments, str(station.folder / "other"))
    assert port.returncode == 1 and f"Port {station.port} of 127.0.0.1 cannot be used" in port.stderr
