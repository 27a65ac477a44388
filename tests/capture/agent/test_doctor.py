"""What the doctor says: of real streams, of what is missing, and of screens it is told about."""

from __future__ import annotations

from uuid import uuid4

import numpy as np
import pytest

from capture.agent.doctor import Monitor, display, parse_xrandr, rate
from capture.agent.sources.base import Tracker
from tests.capture.agent.harness import Station
from tests.capture.agent.trackers import TOBII_PRO, Bench, described, gaze

DISPLAY = {"width_px": 1920, "height_px": 1080, "width_mm": 527.0, "height_mm": 296.0, "distance_mm": 650.0}


def lines(station: Station, *arguments: str) -> dict[str, str]:
    done = station.run("doctor", "--spool", str(station.spool), *arguments)
    return {line.split()[1]: line for line in done.stdout.splitlines()}


def six(t: np.ndarray) -> np.ndarray:
    x, y = gaze(t)
    return np.column_stack([x, y, np.full(len(t), 3.1), x, y, np.full(len(t), 3.2)])


def test_a_tracker_is_examined_as_the_agent_would_read_it(here: Station, bench: Bench) -> None:
    name = f"tobii-{uuid4().hex[:8]}"
    bench.feed(described(name, TOBII_PRO, rate=600, float32=True, name="Tobii"), 250, six)
    said = lines(here, "--tracker", name, "--display", "1920x1080,527x296,650")
    assert said["tracker"].startswith("ok") and f"Tobii ({name}), 6 of 30 channels" in said["tracker"]
    # Its own description claims 600: that is said, and is no fault of the station.
    assert said["rate"].startswith("ok") and "of 600: its description is wrong, 250 is taken." in said["rate"]
    assert "tracker and agent differ by" in said["clock"]
    assert "1920x1080 px, 527.0x296.0 mm at 650.0 mm" in said["display"]
    assert said["streams"].startswith("ok")
    assert said["pairing"].startswith("ok") and "the station of http://127.0.0.1:9" in said["pairing"]
    assert said["server"].startswith("FAIL") and "http://127.0.0.1:9 does not answer" in said["server"]


def at(hz: float, seconds: float = 1.5) -> np.ndarray:
    return 5000.0 + np.arange(round(hz * seconds) + 1) / hz


def tracker(nominal: float, median: float = 250.0) -> Tracker:
    return Tracker("T", "t-1", median, {}, {}, (), nominal)


def test_a_backlog_does_not_raise_the_rate() -> None:
    """Half a second of samples from before the look arrives in it: 500 samples in 1.5 s, of a tracker of 250 Hz."""
    found = rate(tracker(250), at(250, 2.0), 1.5)
    assert found.ok and found.text == "250 samples/s of 250"


@pytest.mark.parametrize(
    ("told", "times", "ok", "words"),
    [
        (tracker(250), at(240), True, "240 samples/s of 250"),
        (tracker(250), at(200), False, "200 samples/s of 250: samples are missing"),
        (tracker(250), np.repeat(at(250), 2), False, "of 250: samples come more than once"),
        (tracker(600, 250), at(250), True, "250 samples/s of 600: its description is wrong, 250 is taken."),
        (tracker(60, 250), at(250), True, "250 samples/s of 60: its description is wrong, 250 is taken."),
        (tracker(0), at(250), True, "250 samples/s; its description names none"),
        (tracker(250), at(250, 0.2), False, "only for 0.2 of 1.5 s"),
        (tracker(250), np.zeros(0), False, "none arrived"),
        (tracker(250), np.array([1.0, np.nan]), False, "none arrived"),
    ],
    ids=["near", "low", "twice", "less than told", "more than told", "nothing told", "stopped", "none", "no time"],
)
def test_the_rate_is_that_of_the_samples_own_times(told: Tracker, times: np.ndarray, ok: bool, words: str) -> None:
    found = rate(told, times, 1.5)
    assert (found.ok, words in found.text) == (ok, True), found.text


def test_streams_that_go_by_one_name_are_found(here: Station, bench: Bench) -> None:
    name = f"twin-{uuid4().hex[:8]}"
    for _ in range(2):
        bench.feed(described(name, TOBII_PRO, rate=250, float32=True), 250, six)
    said = lines(here, "--tracker", name)
    assert said["streams"].startswith("FAIL") and f"{name} is there more than once" in said["streams"]
    assert "stop all but one" in said["streams"]
    assert said["tracker"].startswith("FAIL") and "streams call themselves so" in said["tracker"]


def test_a_station_where_everything_is_missing_is_told_what_to_do(station: Station) -> None:
    """In an LSL session of its own, where there is no stream at all."""
    here = station
    (here.spool.parent / "station.json").unlink()
    said = lines(here)
    assert said["liblsl"].startswith("ok") and said["disk"].startswith("ok")
    assert said["tracker"].startswith("FAIL") and "switch the tracker and its LSL program on" in said["tracker"]
    assert said["pairing"].startswith("FAIL") and "ask a coordinator for a code" in said["pairing"]
    assert said["server"].startswith("ok") and "not asked" in said["server"]
    asked = lines(here, "--source", "titta", "--server", "http://127.0.0.1:9/")
    assert asked["tracker"].startswith("FAIL") and "pip install 'gazeroom[titta]'" in asked["tracker"]
    assert asked["server"].startswith("FAIL") and "is it running" in asked["server"]


XRANDR = """Monitors: 2
 0: +*eDP-1 1920/344x1080/193+0+0  eDP-1
 1: +DP-2 2560/597x1440/336+1920+0  DP-2
"""


def test_the_monitors_are_read_from_what_xrandr_prints() -> None:
    assert parse_xrandr(XRANDR) == [
        Monitor("eDP-1", 1920, 1080, 344.0, 193.0),
        Monitor("DP-2", 2560, 1440, 597.0, 336.0),
    ]
    assert parse_xrandr("Can't open display") == []


@pytest.mark.parametrize(
    ("changes", "ok", "sentence"),
    [
        ({}, False, "527.0x296.0 mm at 650.0 mm, but this computer has eDP-1 1920x1080 px, 344x193 mm; DP-2"),
        ({"width_mm": 344.0, "height_mm": 193.0}, True, "1920x1080 px, 344.0x193.0 mm"),
        ({"width_px": 1280}, False, "set the one that is tracked"),
        ({"distance_mm": None}, False, "does not say distance_mm: set them in its program, or with --display"),
    ],
)
def test_the_announced_display_is_held_against_the_computers_own(
    changes: dict[str, float | None], ok: bool, sentence: str
) -> None:
    found = display({**DISPLAY, **changes}, parse_xrandr(XRANDR))
    assert found.ok is ok and sentence in found.text


def test_a_computer_whose_monitors_cannot_be_asked_for_says_so() -> None:
    found = display(DISPLAY, [])
    assert found.ok and "monitors cannot be asked for" in found.text
