"""What was received lies on the disk, once and in order, whatever happens to the writer."""

from __future__ import annotations

import json
import resource
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capture.agent.spool import Epoch, GapFinder, Recorder, Spool, SpoolError
from capture.frames import read_frames
from tests.capture.agent.harness import FRAME_NUMBER, spooled

RECORDING = "5c6f2a4e-0000-4000-8000-000000000001"
STREAMS = {"1": {"rate_hz": 120.0}, "2": {}}


def gaze(first: int, n: int, rate_hz: float = 120.0) -> np.ndarray:
    """Samples `first` to `first + n` of an endless stream that began at LSL time 100."""
    samples = np.zeros((n, 31))
    samples[:, FRAME_NUMBER] = np.arange(first, first + n)
    samples[:, 0] = 100 + samples[:, FRAME_NUMBER] / rate_hz
    return samples


class Clock:
    """An LSL clock that stands where it is put."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


class Desk:
    """A recorder with its spool and a clock in the test's hand."""

    def __init__(self, root: Path) -> None:
        self.clock = Clock()
        self.spool = Spool(root)
        self.recorder = Recorder(self.spool, self.clock, lambda: None)

    def start(self) -> Epoch:
        return self.recorder.start(RECORDING, "secret", "ws://127.0.0.1:1/", STREAMS)

    def feed(self, first: int, n: int, chunk: int = 3) -> None:
        for k in range(first, first + n, chunk):
            samples = gaze(k, min(chunk, first + n - k))
            self.clock.now = samples[-1, 0]
            self.recorder.gaze(samples)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path / "spool")
    yield desk
    desk.recorder.close()


def test_frames_hold_a_tenth_of_a_second_and_every_sample(desk: Desk) -> None:
    epoch = desk.start()
    desk.feed(0, 200)
    summary = desk.recorder.stop(0)
    frames = list(read_frames(epoch.folder / "1.gzr"))
    assert [frame.sequence for frame in frames] == list(range(summary.frames))
    assert all(frame.t1 - frame.t0 < 0.1 and frame.n == 12 for frame in frames[:-1])
    assert np.array_equal(spooled(desk.spool.root, RECORDING), gaze(0, 200))
    assert (summary.samples, summary.gaps) == (200, [])


def test_samples_from_before_the_start_and_after_the_stop_are_not_recorded(desk: Desk) -> None:
    desk.feed(0, 60)
    desk.clock.now = 100 + 59.5 / 120
    desk.start()
    desk.recorder.gaze(gaze(50, 40))
    desk.clock.now = 100 + 79.5 / 120
    assert desk.recorder.stop(0).samples == 30
    desk.recorder.gaze(gaze(90, 10))
    assert spooled(desk.spool.root, RECORDING)[:, FRAME_NUMBER].tolist() == list(range(60, 90))


def test_a_silent_tracker_gets_its_last_samples_written_without_waiting_for_more(desk: Desk) -> None:
    desk.start()
    desk.feed(0, 5)
    assert desk.recorder.epoch and desk.recorder.epoch.files[1].frames == 0
    desk.clock.now += 0.2
    desk.recorder.gaze(np.empty((0, 31)))
    assert desk.recorder.epoch.files[1].samples == 5


def test_the_end_waits_while_its_source_still_hands_over_what_the_disk_held_up(desk: Desk) -> None:
    desk.start()
    desk.clock.now = 100 + 71.5 / 120

    def source() -> None:
        for chunk in np.split(gaze(0, 72), 6):
            time.sleep(0.5)
            desk.recorder.gaze(chunk)
        desk.recorder.gaze(gaze(72, 1))

    reading = threading.Thread(target=source)
    reading.start()
    # All six chunks take twice as long as the end waits for samples that are merely on their way.
    assert desk.recorder.stop(1.5).samples == 72
    reading.join()


@pytest.mark.parametrize("times", [np.full(5000, np.nan), np.full(5000, 100.5), 200 - np.arange(5000) / 120])
def test_samples_with_nonsense_for_times_are_kept(desk: Desk, times: np.ndarray) -> None:
    desk.start()
    samples = gaze(0, 5000)
    samples[:, 0] = times
    desk.clock.now = 300.0
    for chunk in np.split(samples, 100):
        desk.recorder.gaze(chunk)
    assert desk.recorder.stop(0).samples == 5000


def test_the_recordings_address_and_token_are_for_the_agents_eyes_only(desk: Desk) -> None:
    epoch = desk.start()
    path = epoch.folder / "recording.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text())["token"] == "secret"
    assert stat.S_IMODE((epoch.folder / "1.gzr").stat().st_mode) == 0o600


def test_one_recording_at_a_time(desk: Desk) -> None:
    desk.start()
    with pytest.raises(SpoolError, match=f"Recording {RECORDING} is still running"):
        desk.start()


def test_two_agents_do_not_share_a_spool(desk: Desk) -> None:
    with pytest.raises(SpoolError, match=r"Another agent uses the spool .*: stop it, or give this one its own"):
        Spool(desk.spool.root)


@pytest.mark.parametrize("torn", [b"", b"GZ", b"GZR1" + bytes(40), bytes(500)])
def test_what_a_dead_agent_left_is_read_up_to_its_last_good_frame(tmp_path: Path, torn: bytes) -> None:
    first = Desk(tmp_path / "spool")
    epoch = first.start()
    first.feed(0, 100)
    frames = epoch.files[1].frames
    digest = epoch.files[1].sha256
    # The agent is gone: no stop, no farewell; the kernel lets go of its locks.
    first.recorder.close()
    epoch.close()
    first.spool.close()
    with (epoch.folder / "1.gzr").open("ab") as file:
        file.write(torn)

    (left,) = Spool(tmp_path / "spool").pending()
    assert (left.state, left.interrupted, left.recording, left.token) == ("ended", True, RECORDING, "secret")
    assert (left.files[1].frames, left.files[1].synced, left.files[1].sha256) == (frames, frames, digest)
    assert (epoch.folder / "1.gzr").stat().st_size == left.files[1].size
    assert np.array_equal(spooled(tmp_path / "spool", RECORDING), gaze(0, frames * 12))


def test_a_damaged_recording_is_left_alone_and_the_others_are_found(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    desk = Desk(tmp_path / "spool")
    folders = []
    for k in range(2):
        epoch = desk.start()
        desk.feed(1000 * k, 60)
        desk.recorder.stop(0)
        epoch.close()
        folders.append(epoch.folder)
    desk.recorder.close()
    desk.spool.close()
    path = folders[0] / "1.gzr"
    data = bytearray(path.read_bytes())
    data[80] ^= 255
    path.write_bytes(data)
    assert [epoch.folder for epoch in Spool(tmp_path / "spool").pending()] == [folders[1]]
    assert f"{folders[0]} is damaged: 1.gzr is damaged at byte 0, before its end" in caplog.text
    assert path.read_bytes() == data


def test_a_full_disk_is_reported_and_loses_nothing_once_there_is_room(desk: Desk) -> None:
    epoch = desk.start()
    desk.feed(0, 60)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # The kernel refuses to let the file grow; some of a frame still goes in.
    resource.setrlimit(resource.RLIMIT_FSIZE, (epoch.files[1].size + 70, limits[1]))
    try:
        desk.feed(60, 120)
        fault, size = desk.recorder.fault, (epoch.folder / "1.gzr").stat().st_size
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "cannot be written (File too large): free space" in fault
    assert size == epoch.files[1].size
    desk.feed(180, 30)
    assert desk.recorder.fault == ""
    assert desk.recorder.stop(0).samples == 210
    assert np.array_equal(spooled(desk.spool.root, RECORDING), gaze(0, 210))


def test_what_a_disk_refused_for_too_long_is_a_gap(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("capture.agent.spool.MAX_WAITING", 60)
    epoch = desk.start()
    desk.feed(0, 60)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (epoch.files[1].size + 70, limits[1]))
    try:
        desk.feed(60, 120)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    desk.feed(180, 30)
    (gap,) = desk.recorder.stop(0).gaps
    stored = spooled(desk.spool.root, RECORDING)[:, FRAME_NUMBER]
    missing = set(range(210)) - set(stored.astype(int).tolist())
    assert gap["missing"] == len(missing) > 0
    assert set(range(gap["after_frame"] + 1, gap["before_frame"])) == missing


@settings(max_examples=60, deadline=None)
@given(st.sets(st.integers(1, 498), max_size=60), st.integers(1, 50))
def test_every_missing_sample_is_in_a_gap(missing: set[int], chunk: int) -> None:
    kept = np.delete(gaze(0, 500), sorted(missing), axis=0)
    finder = GapFinder(120)
    for k in range(0, len(kept), chunk):
        finder.feed(kept[k : k + chunk])
    told = {n for gap in finder.gaps for n in range(gap["after_frame"] + 1, gap["before_frame"])}
    assert told == missing
    assert sum(gap["missing"] for gap in finder.gaps) == len(missing)


def test_gaps_of_a_tracker_without_sequence_numbers_are_found_by_time() -> None:
    samples = np.delete(gaze(0, 100), range(40, 52), axis=0)
    samples[:, FRAME_NUMBER] = np.nan
    finder = GapFinder(120)
    finder.feed(samples)
    assert [(gap["missing"], gap["after_frame"]) for gap in finder.gaps] == [(12, None)]


def test_a_tracker_that_starts_counting_again_has_a_gap_of_unknown_size() -> None:
    finder = GapFinder(120)
    finder.feed(gaze(500, 10))
    again = gaze(0, 10)
    again[:, 0] += 10
    finder.feed(again)
    assert [(gap["after_frame"], gap["before_frame"], gap["missing"]) for gap in finder.gaps] == [(509, 0, None)]


def test_silence_at_either_end_of_the_recording_is_a_gap(desk: Desk) -> None:
    desk.start()
    desk.feed(240, 120)
    desk.clock.now = 105.0
    first, last = desk.recorder.stop(0).gaps
    assert (first["t0"], first["t1"], first["before_frame"]) == (100.0, 102.0, 240)
    assert (last["t1"], last["after_frame"], last["before_frame"]) == (105.0, 359, None)
