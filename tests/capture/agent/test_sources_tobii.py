"""Tobii Pro trackers against stand-ins of both SDKs that have the real ones' names and units."""

from __future__ import annotations

import ast
import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capture.agent import lsl, tobii_bridge
from capture.agent.sources import tobii
from capture.agent.sources.base import CalibrationError, Source
from capture.agent.sources.tobii import BridgeSource, SdkMissing, TittaSource
from capture.frames import GAZE_CHANNELS
from tests.capture.agent.harness import ROOT, Station, eventually
from tests.capture.agent.titta import NotificationType, Titta
from tests.capture.agent.trackers import SESSION, Bench, Listening, column, until

SDK = Path(__file__).parent / "sdk"


Plan = Callable[..., tuple[Source, Listening]]


@pytest.fixture
def bridge(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """A bridge to the stand-in, in a real child process of this Python; keywords are the stand-in's plan."""

    def start(which: str | None = None, **plan: Any) -> tuple[Source, Listening]:
        monkeypatch.setenv("PYTHONPATH", str(SDK))
        monkeypatch.setenv("FAKE_TOBII", json.dumps(plan))
        monkeypatch.setattr(BridgeSource, "PAUSE_S", (0.1, 0.5))
        return bench.source(lambda listeners: BridgeSource(listeners, sys.executable, which))

    return start


# ── through tobii-research, in a process of its own ───────────────────────────────────────────────────────────────────


def test_the_bridge_brings_every_field_in_its_place_and_all_times(bridge: Plan) -> None:
    source, heard = bridge(noise="the library says hello on standard output\n")
    until(lambda: len(heard.samples) > 60)
    tracker, samples, raw = source.tracker, heard.samples, heard.raw
    assert tracker and tracker.source_id == "tobii-TPSP1-0123-gaze" and tracker.clock == "tobii system clock"
    assert tracker.acquisition["model"] == "Tobii Pro Spectrum" and tracker.acquisition["firmware_version"] == "2.6.1"
    assert tracker.acquisition["display_top_left_mm"] == "-263.50, 310.00, 20.00"
    assert (tracker.display["width_mm"], tracker.display["height_mm"], tracker.nominal_hz) == (527.0, 296.5, 250.0)
    system = raw[:, 1]
    # The LSL time is the SDK's system time; the device's own is a channel: all three are kept exactly.
    assert (system == np.round(system)).all() and (samples[:, 0] == system / 1e6).all()
    assert np.array_equal(samples[:, column("DeviceTimeStamp")], system - 5_000_000)
    assert list(tracker.raw_labels) == ["system_time_stamp"] and list(tracker.raw_units) == ["us"]
    seen = samples[:, column("LeftScreenValid")] == 1
    assert seen.any() and not seen.all() and np.isnan(samples[~seen][:, column("LeftScreenX")]).all()
    for label, value in {
        "LeftScreenX": 0.25,
        "RightScreenX": 0.35,
        "RightScreenY": 0.75,
        "LeftIntersectionX": 10,
        "RightIntersectionZ": 31,
        "LeftDiameter": 3.5,
        "RightDiameter": 4.5,
        "LeftDiameterValid": 1,
        "LeftPositionX": -31,
        "RightPositionX": 31,
        "RightPositionZ": 650,
    }.items():
        assert samples[seen][:, column(label)] == pytest.approx(value), label
    # Eye openness came in a stream of its own: joined by device time, absent where it did not come.
    openness = samples[:, column("LeftOpenness")]
    joined = np.isfinite(openness)
    assert joined.sum() > len(samples) / 2 and not joined.all() and (openness[joined] == 9.5).all()
    assert (samples[joined][:, column("RightOpennessValid")] == 0).all()
    assert np.isnan(samples[:, column("FrameNumber")]).all()  # Tobii's samples have no number


def test_the_bridge_measures_how_far_the_two_clocks_are_apart(bridge: Plan) -> None:
    source, heard = bridge(offset_us=300)
    (row,) = until(lambda: heard.clocks)[0]
    _, correction, uncertainty, remote = row
    # Within the exchange's own bound, whatever the machine was doing meanwhile.
    assert abs(correction + 300e-6) <= uncertainty + 1e-6 and uncertainty > 0 and remote > 0
    until(lambda: heard.blocks)
    assert source.correction == 0.0


def test_a_tobii_clock_that_is_not_lsls_is_refused(bridge: Plan) -> None:
    source, heard = bridge(offset_us=5_000_000)
    (text, *_) = until(lambda: heard.told("refused tobii-TPSP1-0123-gaze"))
    assert "its system clock and LSL's differ by -" in text and "more than 1 ms: restart this computer" in text
    # By the exchange's own bound: a half round trip of a busy machine is far below the five seconds.
    assert -5100 < float(text.split("differ by ")[1].split(" ms")[0]) < -4900
    assert source.tracker is None and not heard.blocks and source.problem


def test_a_bridge_that_dies_is_reported_and_started_again(bridge: Plan) -> None:
    source, heard = bridge(script=[[0.4, "die"]])
    until(lambda: len(heard.told("lost")) >= 2)
    assert "the program that reads it ended with 7 (the library gave up)" in heard.told("lost")[0]
    assert len(heard.told("connected")) >= 2
    steps = np.diff(heard.samples[:, 0])
    assert (steps > 0).all() and steps.max() > 0.1  # what was missed is a hole in time, and nothing fills it
    assert source.problem


def test_notifications_are_told_and_a_new_rate_describes_the_tracker_anew(bridge: Plan) -> None:
    source, heard = bridge(
        script=[[0.2, "lost"], [0.25, "restored"], [0.3, "fault"], [0.35, "overflow"], [0.4, "slower"]]
    )
    until(lambda: heard.told("rate"))
    who = "Tracker tobii-TPSP1-0123-gaze"
    assert heard.told("connection_lost") == [f"{who} has lost its connection: look at its cable and power."]
    assert heard.told("connection_restored") == [f"{who} is connected again."]
    assert heard.told("device_faults") == [f"{who} reports a fault (illuminator 2 failed)."]
    assert "has lost samples because they were not read in time" in heard.told("stream_buffer_overflow")[0]
    assert "from 250 to 60 samples/s" in heard.told("rate")[0]
    assert source.tracker and source.tracker.rate_hz == 60


def test_a_display_area_that_moves_during_a_recording_ends_the_reading_of_it(bridge: Plan) -> None:
    source, heard = bridge(script=[[1.5, "moved"]])
    until(lambda: heard.blocks)
    assert source.hold() is not None
    (text, *_) = until(lambda: heard.told("refused tobii-TPSP1-0123-gaze"))
    assert "describes its channels or display differently now, with which this recording began" in text
    until(lambda: source.tracker is None)
    assert "has another display area now" in heard.told("display_area_changed")[0]
    assert heard.trackers[-1].display["width_mm"] == 527.0


def test_a_bridge_that_says_nothing_is_started_again(bridge: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tobii, "SILENCE_S", 1.5)
    monkeypatch.setattr(tobii_bridge, "HEARTBEAT_S", 0.2)
    source, heard = bridge()
    until(lambda: heard.blocks)
    child = source._child  # type: ignore[attr-defined]
    subprocess.run(["kill", "-STOP", str(child.pid)], check=True)
    until(lambda: len(heard.told("connected")) >= 2)
    assert "says nothing any more; it is started again" in heard.told("lost")[0]
    assert child.poll() is not None


def test_the_trackers_own_calibration_is_led_through_the_bridge(bridge: Plan) -> None:
    source, heard = bridge()
    calibration = source.calibration
    assert calibration is not None
    with pytest.raises(CalibrationError, match="No tracker is connected"):
        calibration.enter()
    until(lambda: heard.blocks)
    with pytest.raises(CalibrationError, match="no calibration has been entered"):
        calibration.collect(0.5, 0.5)
    calibration.enter()
    assert [calibration.collect(x, 0.5) for x in (0.1, 0.5, 0.9, 0.99)] == [True, True, True, False]
    calibration.collect(0.3, 0.3)
    calibration.discard(0.3, 0.3)
    result = calibration.compute()
    assert result.ok and result.eyes == ("left", "right") and result.data == b"calibration of 3 points"
    assert [point["x"] for point in result.points] == [0.1, 0.5, 0.9]
    assert result.points[0]["samples"][0][0] == [[0.11, 0.5], "validity_valid_and_used"]
    calibration.discard(0.9, 0.5)
    one_eye = calibration.compute()
    assert one_eye.eyes == ("left",) and one_eye.points == () and one_eye.data == b"calibration of 2 points"
    calibration.discard(0.5, 0.5)
    assert not calibration.compute().ok
    calibration.leave()
    until(lambda: heard.told("calibration_mode_left"))
    assert len(heard.told("calibration_changed")) == 2


def test_what_keeps_the_bridge_from_starting_is_one_sentence(bench: Bench, bridge: Plan, tmp_path: Path) -> None:
    _, without = bench.source(lambda listeners: BridgeSource(listeners, tmp_path / "no-python"))
    assert "cannot be started" in until(lambda: without.told("refused Tobii"))[0]
    _, absent = bridge("TPSP1-9999")
    (text, *_) = until(lambda: absent.told("refused Tobii"))
    assert "no Tobii tracker TPSP1-9999 is found: switch it on" in text
    done = subprocess.run(
        [sys.executable, tobii_bridge.__file__], capture_output=True, env={"PATH": "", "FAKE_TOBII": "{}"}, timeout=30
    )
    needed = Path(tobii_bridge.__file__).with_suffix(".requirements.txt")
    assert done.returncode == 3 and f"-m pip install -r {needed}" in done.stdout.decode("latin-1") and needed.exists()


def test_the_bridge_is_python_3_10_with_the_standard_library_alone() -> None:
    source = Path(tobii_bridge.__file__).read_text()
    tree = ast.parse(source, feature_version=(3, 10))
    modules = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert modules <= set(sys.stdlib_module_names) | {"tobii_research"}
    # New in 3.11, and what a grammar cannot show.
    for word in ("ExceptionGroup", "except*", "tomllib", "asyncio.timeout", "TaskGroup", "StrEnum", "datetime.UTC"):
        assert word not in source
    needed = (Path(tobii_bridge.__file__).parent / "tobii_bridge.requirements.txt").read_text()
    assert 'tobii-research==2.1.0; python_version == "3.10"' in needed
    assert len(tobii_bridge.COLUMNS) == len(GAZE_CHANNELS) - 1 + 1


@pytest.mark.skipif(
    not (shutil.which("python3.10") or list(Path.home().glob(".pyenv/versions/3.10.*"))), reason="needs a Python 3.10"
)
def test_the_bridge_runs_in_python_3_10(bench: Bench, bridge: Plan) -> None:
    found = sorted(Path.home().glob(".pyenv/versions/3.10.*/bin/python3.10"))
    python = str(found[0]) if found else str(shutil.which("python3.10"))
    bridge()[0].stop()  # sets the stand-in's environment
    _, heard = bench.source(lambda listeners: BridgeSource(listeners, python))
    until(lambda: len(heard.samples) > 20)
    assert heard.samples[0, column("LeftPositionX")] == -31


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=40), max_size=4), st.binary(max_size=60), st.integers(0, 200))
def test_frames_of_the_bridge_are_whole_or_the_last(payloads: list[bytes], rubbish: bytes, kept: int) -> None:
    """Whatever the pipe carries, and wherever it ends: whole frames in order, then the end, and no error."""
    header = tobii_bridge.HEADER
    parts = [header.pack(tobii_bridge.MAGIC, 1, k, len(p)) + p for k, p in enumerate(payloads)]
    stream = b"".join(parts)
    for data, expected in (
        (stream[: min(kept, len(stream))], None),
        (stream + b"\xff" + rubbish, len(parts)),
    ):
        frames: Any = tobii.queue.Queue()
        tobii._read_frames(io.BytesIO(data), frames)
        got = [frames.get_nowait() for _ in range(frames.qsize())]
        assert got.pop() is None
        assert [(k, sequence) for k, (_, sequence, _) in enumerate(got)] == [(k, k) for k in range(len(got))]
        assert [payload for _, _, payload in got] == payloads[: len(got)]
        assert expected is None or len(got) == expected


def test_a_bridges_message_that_is_missing_is_told() -> None:
    heard = Listening()
    lsl.load(SESSION)
    source = BridgeSource(heard.listeners(), sys.executable)
    frames: Any = tobii.queue.Queue()
    for sequence in (0, 2):
        frames.put((tobii_bridge.JSON, sequence, b'{"op": "alive"}'))
    frames.put(None)
    assert source._converse(frames) == ""
    assert heard.told("bridge") == ["1 messages of the tracker's program are missing."]


async def test_a_page_leads_the_trackers_own_calibration_and_a_recording_names_it(station: Station) -> None:
    station._environment |= {"PYTHONPATH": str(SDK), "FAKE_TOBII": json.dumps({"openness": False})}
    station.agent("--source", "tobii", "--tobii-python", sys.executable, "--display", "1920x1080,527x296,650")
    page = await station.page()
    welcome = await page.ask("hello", "welcome")
    assert welcome["tracker"]["calibrates"] is True and welcome["tracker"]["serial"] == "TPSP1-0123"
    # What the tracker knows of its display goes before what a person said of it.
    assert (welcome["display"]["width_px"], welcome["display"]["height_mm"]) == (1920, 296.5)

    async def step(name: str, **at: float) -> dict[str, Any]:
        return await page.ask("calibrate", "calibrated", step=name, **at)

    assert (await step("jump"))["sentence"].startswith("'jump' is no step of a calibration: enter, collect")
    assert (await step("collect", x=2.0))["sentence"] == "A calibration target lies between 0 and 1 of the display."
    assert (await step("collect"))["sentence"].endswith("no calibration has been entered")
    await step("enter")
    for x in (0.1, 0.5, 0.9):
        assert (await step("collect", x=x, y=0.5))["ok"] is True
    done = await step("compute")
    assert done["ok"] is True and done["eyes"] == ["left", "right"] and len(done["points"]) == 3
    kept = station.spool.parent / "calibrations" / f"{done['calibration_id']}.bin"
    assert kept.read_bytes() == b"calibration of 3 points"
    # The page goes away in the middle: the tracker is not left in its calibration.
    await page.close()
    await eventually(lambda: "is no longer being calibrated" in station.log.read_text())
    page = await station.page()
    recording = (await page.start("ws://127.0.0.1:9/ws/ingest/"))["recording"]
    assert (await step("enter"))["sentence"] == "The tracker is not calibrated during a recording: end the read first."
    await page.stop()
    (marker,) = (station.spool / recording).glob("*/recording.json")
    streams = json.loads(marker.read_text())["streams"]
    assert streams["1"]["device"]["calibration_id"] == done["calibration_id"]
    assert streams["1"]["clock"] == "tobii system clock" and streams["3"]["labels"] == ["system_time_stamp"]


async def test_a_tracker_without_a_calibration_of_its_own_says_so(station: Station) -> None:
    station.agent()
    page = await station.page(tracker=False)
    answer = await page.ask("calibrate", "calibrated", step="enter")
    assert answer["sentence"] == "This tracker cannot be calibrated from here: calibrate it in its own program."


# ── through TittaPy, in this process ──────────────────────────────────────────────────────────────────────────────────


def titta(bench: Bench, sdk: Titta, which: str | None = None) -> tuple[Source, Listening]:
    return bench.source(lambda listeners: TittaSource(listeners, which, sdk=sdk))


def test_titta_brings_every_field_in_its_place_and_all_times(bench: Bench) -> None:
    sdk = Titta()
    source, heard = titta(bench, sdk)
    until(lambda: len(heard.samples) > 60 and heard.clocks)
    tracker, samples, raw = source.tracker, heard.samples, heard.raw
    assert tracker and tracker.source_id == "tobii-TPFC2-9-gaze" and tracker.acquisition["through"] == "TittaPy 2.1.0"
    system = raw[:, 1]
    assert (samples[:, 0] == system / 1e6).all() and (np.diff(system) == 4000).all()
    assert (samples[:, column("DeviceTimeStamp")] == system - 7_000_000).all()
    for label, value in {
        "LeftScreenX": 0.25,
        "RightScreenX": 0.75,
        "RightScreenY": 0.75,
        "LeftIntersectionX": 2,
        "RightIntersectionZ": 104,
        "LeftDiameter": 7,
        "RightDiameter": 107,
        "LeftPositionX": 10,
        "RightPositionZ": 112,
        "LeftOpenness": 15,
        "RightOpennessValid": 1,
    }.items():
        assert (samples[:, column(label)] == value).all(), label
    assert tracker.raw_labels[0] == "system_time_stamp" and len(tracker.raw_labels) == 9 and raw.shape[1] == 10
    correction, uncertainty = heard.clocks[0][0, 1:3]
    # The stand-in's clock is cut to whole microseconds.
    assert abs(correction) <= uncertainty + 2e-6
    assert heard.trackers == [tracker] and sdk.connected[0].include_openness


def test_a_tracker_without_eye_openness_has_none_rather_than_zeros(bench: Bench) -> None:
    source, heard = titta(bench, Titta(openness=False))
    until(lambda: heard.blocks)
    assert np.isnan(heard.samples[:, column("LeftOpenness")]).all()
    assert np.isnan(heard.samples[:, column("RightOpennessValid")]).all()
    assert source.tracker and "LeftOpenness" not in source.tracker.present


def test_titta_whose_clock_is_not_lsls_is_refused(bench: Bench) -> None:
    source, heard = titta(bench, Titta(offset_us=-20_000))
    (text, *_) = until(lambda: heard.told("refused tobii-TPFC2-9-gaze"))
    assert "differ by +20." in text and source.tracker is None and not heard.blocks


def test_titta_tells_its_notifications_and_what_was_lost(bench: Bench) -> None:
    sdk = Titta()
    source, heard = titta(bench, sdk)
    until(lambda: heard.blocks)
    sdk.connected[0].notifications += [
        (NotificationType.device_warnings, None, "the sun shines on it"),
        (NotificationType.calibration_changed, None, None),
        (NotificationType.gaze_output_frequency_changed, 120.0, None),
    ]
    until(lambda: heard.told("rate"))
    assert heard.told("device_warnings")[0].endswith("warns (the sun shines on it).")
    assert "has another calibration now: validate it" in heard.told("calibration_changed")[0]
    assert source.tracker and source.tracker.rate_hz == 120
    sdk.connected[0].gone = "the cable was pulled"
    assert "the cable was pulled" in until(lambda: heard.told("lost"))[0]
    until(lambda: len(heard.told("connected")) == 2)


def test_the_trackers_own_calibration_is_led_through_titta(bench: Bench) -> None:
    source, heard = titta(bench, Titta())
    calibration = source.calibration
    assert calibration is not None
    until(lambda: heard.blocks)
    with pytest.raises(CalibrationError, match=r"you have not entered calibration mode$"):
        calibration.collect(0.5, 0.5)
    calibration.enter()
    assert [calibration.collect(x, 0.5) for x in (0.1, 0.5, 0.9, 0.99)] == [True, True, True, False]
    result = calibration.compute()
    assert result.eyes == ("left", "right") and result.data == b"kept" and len(result.points) == 3
    assert result.points[0]["left_x"] == pytest.approx([0.11])
    calibration.discard(0.9, 0.5)
    assert calibration.compute().eyes == ("left",)
    calibration.discard(0.5, 0.5)
    assert not calibration.compute().ok
    calibration.leave()


def test_a_missing_titta_is_one_sentence_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TittaPy_v2", "TittaPy", "TittaPy_v1"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(SdkMissing, match=r"pip install 'gazeroom\[titta\]'"):
        tobii.load_titta()


def test_the_agent_says_what_an_option_is_missing() -> None:
    def run(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "capture.agent.main", "doctor", *arguments],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 1
        return done.stdout

    assert "--source tobii needs --tobii-python" in run("--source", "tobii")
    assert "--source replay and --replay FILE belong together" in run("--source", "replay")
