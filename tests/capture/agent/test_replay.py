"""Recordings played again, from every file that holds one."""

from __future__ import annotations

import gzip
import io
import struct
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capture.agent.sources.replay import Player, Recorded, ReplaySource, Unreadable, read
from capture.agent.spool import Epoch
from capture.frames import GAZE, GAZE_CHANNELS
from tests.capture.agent.trackers import TITTA, Bench, column, until

DISPLAY = {"width_px": 1920, "height_px": 1080, "width_mm": 527.0, "height_mm": 296.0, "distance_mm": 650.0}


def samples(n: int = 50, *, rate: float = 100.0, since: float = 1000.0) -> np.ndarray:
    rows = np.full((n, 31), np.nan)
    rows[:, 0] = since + np.arange(n) / rate
    rows[:, column("LeftScreenX")] = np.linspace(0.1, 0.9, n)
    rows[:, column("LeftScreenY")] = 0.5
    rows[:, column("LeftScreenValid")] = 1
    rows[:, column("FrameNumber")] = np.arange(n)
    rows[:, column("DeviceTimeStamp")] = 7e6 + np.arange(n) * 1e6 / rate
    return rows


def spooled(folder: Path, rows: np.ndarray) -> Path:
    """A recording as the agent's spool keeps it, with a display and a tracker."""
    streams = {"1": {"display": DISPLAY, "device": {"name": "Eye", "serial_number": "SN 7"}}}
    epoch = Epoch.create(folder, str(uuid4()), "token", "ws://127.0.0.1:9/", streams)
    for part in np.array_split(rows, 5):
        epoch.files[GAZE].append(part)
    epoch.close()
    return epoch.folder


def test_a_recording_is_read_from_its_folder_its_epoch_or_its_file(tmp_path: Path) -> None:
    rows = samples()
    folder = spooled(tmp_path, rows)
    for path in (folder.parent, folder, folder / "1.gzr"):
        found = read(path)
        assert np.array_equal(found.samples, rows, equal_nan=True)
        assert (found.display, found.serial, found.rate_hz) == (DISPLAY, "SN-7", 100)
    assert found.present == ["LeftScreenX", "LeftScreenY", "LeftScreenValid", "FrameNumber", "DeviceTimeStamp"]


def test_epochs_of_a_recording_are_played_in_the_order_they_were_recorded(tmp_path: Path) -> None:
    for since in (2000.0, 1000.0):
        folder = spooled(tmp_path, samples(since=since))
        folder.rename(tmp_path / f"{3000 - since:.0f}")
    found = read(tmp_path)
    assert found.samples[0, 0] == 1000.0 and (np.diff(found.samples[:, 0]) > 0).all()


@pytest.mark.parametrize("zipped", [False, True])
def test_gaze_is_read_from_csv(tmp_path: Path, zipped: bool) -> None:
    text = "time_s,x_norm,y_norm,note\n0.0,0.1,0.2,a\n0.01,,,b\n0.02,0.3,0.4,c\n"
    path = tmp_path / ("gaze.csv.gz" if zipped else "gaze.csv")
    path.write_bytes(gzip.compress(text.encode()) if zipped else text.encode())
    found = read(path)
    assert found.samples[:, 0].tolist() == [0.0, 0.01, 0.02] and found.rate_hz == 100 and found.name == "gaze"
    for eye in ("Left", "Right"):
        assert found.samples[[0, 2], column(f"{eye}ScreenX")].tolist() == [0.1, 0.3]
        assert found.samples[:, column(f"{eye}ScreenValid")].tolist() == [1, 0, 1]


def test_csv_with_our_own_labels_is_read_by_label(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("RightScreenY,RightScreenX,time_s,FrameNumber\n0.2,0.1,5,9\n")
    (row,) = read(path).samples
    assert (row[0], row[column("RightScreenX")], row[column("RightScreenY")]) == (5, 0.1, 0.2)
    assert row[column("FrameNumber")] == 9 and np.isnan(row[column("LeftScreenX")])


def xdf(samples: np.ndarray, layout: list[tuple[str, ...]], channels: int) -> bytes:
    """An XDF file of one Gaze stream, written from the format's description (sccn/xdf wiki, Specifications)."""
    described = "".join(
        "<channel>"
        + "".join(f"<{k}>{v}</{k}>" for k, v in zip(("label", "type", "unit", "eye"), c, strict=False))
        + "</channel>"
        for c in layout
    )
    header = (
        f"<?xml version='1.0'?><info><name>Tobii_gaze</name><type>Gaze</type><channel_count>{channels}</channel_count>"
        "<nominal_srate>100</nominal_srate><channel_format>double64</channel_format><source_id>x</source_id>"
        f"<desc><acquisition><serial_number>TPSP1</serial_number></acquisition><channels>{described}</channels></desc>"
        "</info>"
    )
    out = io.BytesIO()
    out.write(b"XDF:")

    def chunk(tag: int, content: bytes) -> None:
        out.write(b"\x04" + struct.pack("<IH", len(content) + 2, tag) + content)

    chunk(1, b"<?xml version='1.0'?><info><version>1.0</version></info>")
    chunk(2, struct.pack("<I", 1) + header.encode())
    rows = b"".join(b"\x08" + struct.pack("<d", row[0]) + row[1:].astype("<f8").tobytes() for row in samples)
    chunk(3, struct.pack("<I", 1) + b"\x04" + struct.pack("<I", len(samples)) + rows)
    chunk(6, struct.pack("<I", 1) + b"<?xml version='1.0'?><info></info>")
    return out.getvalue()


def test_a_third_partys_xdf_is_read_by_its_channels_metadata(tmp_path: Path) -> None:
    values = np.column_stack([2000 + np.arange(40) / 100, *(np.full(40, 1.0 + i) for i in range(37))])
    for place, value in ((1, 0.2), (2, 0.3), (19, 0.6), (20, 0.7)):
        values[:, place] = value
    path = tmp_path / "other.xdf"
    path.write_bytes(xdf(values, list(TITTA), 37))
    found = read(path)
    assert (found.samples[:, column("RightScreenX")] == 0.6).all() and found.serial == "TPSP1"
    assert found.samples[:, 0] == pytest.approx(values[:, 0])
    path.write_bytes(xdf(values[:, :3], [("Fz", "EEG", "uV", ""), ("Cz", "EEG", "uV", "")], 2))
    with pytest.raises(Unreadable, match=r"holds no gaze stream that can be played: The stream has no channels of"):
        read(path)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("none.csv", None, r"none\.csv does not exist"),
        ("empty.csv", "", r"empty\.csv needs a column time_s and gaze: .* it has none"),
        ("other.csv", "time_s,x\n1,2\n", r"needs a column time_s and gaze"),
        ("words.csv", "time_s,x_norm,y_norm\n1,2,3\n2,a,b\n", r"words\.csv, line 3: '2,a,b' is not 3 numbers"),
        ("short.csv", "time_s,x_norm,y_norm\n1,2\n", r"short\.csv, line 2"),
        ("head.csv", "time_s,x_norm,y_norm\n", r"holds no gaze samples"),
        ("binary.csv", b"\xff\xfe\x00\x01", r"binary\.csv cannot be read"),
        ("text.gzr", "hello", r"text\.gzr is not a frame file"),
        ("empty.gzr", "", r"holds no gaze samples"),
        ("no.xdf", "hello", r"no\.xdf is not an XDF file that can be read"),
    ],
)
def test_a_file_that_cannot_be_played_is_one_sentence(
    tmp_path: Path, name: str, content: str | bytes | None, sentence: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(Unreadable, match=sentence):
        read(path)
    with pytest.raises(Unreadable, match="holds no gaze frames"):
        read(tmp_path)


# ── playing ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@settings(deadline=None)
@given(
    st.lists(st.floats(0, 5, allow_nan=False), min_size=1, max_size=60),
    st.lists(st.floats(0.001, 2.0), min_size=1, max_size=30),
    st.sampled_from([0.5, 1.0, 4.0]),
)
def test_every_sample_is_played_once_in_order_and_never_early(
    offsets: list[float], ticks: list[float], speed: float
) -> None:
    """Whatever the recorded times do, and however unevenly the player is asked."""
    rows = np.full((len(offsets), 31), np.nan)
    rows[:, 0] = 100 + np.array(offsets)
    rows[:, column("FrameNumber")] = np.arange(len(offsets))
    player = Player(Recorded(rows, "x"), speed=speed)
    now, got, raws = 50.0, [], []
    for tick in [*ticks, 100.0]:
        now += tick
        samples, raw = player.take(now)
        assert (samples[:, 0] <= now + 1e-9).all()
        got.append(samples)
        raws.append(raw)
    played, raw = np.concatenate(got), np.concatenate(raws)
    assert player.ended and np.array_equal(played[:, column("FrameNumber")], np.arange(len(offsets)))
    began = 50.0 + ticks[0]
    assert played[:, 0] == pytest.approx(began + (rows[:, 0] - rows[0, 0]) / speed)
    # The recorded time is kept twice: as it was, and as whole microseconds of device time.
    assert np.array_equal(raw[:, 1], rows[:, 0])
    assert np.array_equal(played[:, column("DeviceTimeStamp")], np.round(rows[:, 0] * 1e6))


def test_what_was_wrong_with_the_times_is_wrong_again() -> None:
    rows = samples(6)
    rows[2, 0], rows[4, 0] = np.nan, rows[0, 0]
    played, _ = (player := Player(Recorded(rows, "x"))).take(0.0)
    played = np.concatenate([played, player.take(10.0)[0]])
    assert played[:, 0] == pytest.approx([0, 0.01, np.nan, 0.03, 0, 0.05], nan_ok=True)


def test_a_loop_goes_on_one_interval_after_its_end() -> None:
    player = Player(Recorded(samples(4), "x"), loop=True)
    player.take(0.0)
    parts = [player.take(t)[0] for t in (0.035, 0.055)]
    assert np.concatenate(parts)[:, 0] == pytest.approx([0.01, 0.02, 0.03, 0.04, 0.05])
    assert not player.ended


def test_a_speed_of_nothing_is_refused() -> None:
    with pytest.raises(Unreadable, match="speed above 0, not 0"):
        Player(Recorded(samples(), "x"), speed=0)


def test_the_agent_plays_a_recording_as_a_source(bench: Bench, tmp_path: Path) -> None:
    rows = samples(300)
    folder = spooled(tmp_path, rows)
    source, heard = bench.source(lambda listeners: ReplaySource(listeners, folder, speed=10))
    until(lambda: heard.told("lost"))
    tracker = heard.trackers[0]
    assert tracker.source_id == "replay-SN-7-gaze" and tracker.acquisition["tracking_mode"] == "replayed"
    assert tracker.rate_hz == 1000 and tracker.display == DISPLAY
    assert len(heard.samples) == 300 and np.diff(heard.samples[:, 0]) == pytest.approx(0.001)
    assert np.array_equal(heard.raw[:, 1], rows[:, 0])
    assert np.array_equal(heard.raw[:, 2], rows[:, column("DeviceTimeStamp")])
    assert "played to its end" in heard.told("lost")[0] and source.tracker is None
    assert GAZE_CHANNELS[-1] == "DeviceTimeStamp"
