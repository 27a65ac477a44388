"""Trackers of other makers on the real LSL, each in its own layout: found by what their channels say, never mixed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import numpy as np
import pytest

from capture.agent import lsl
from capture.agent.sources.lsl import LslSource
from tests.capture.agent.trackers import (
    COMPANION,
    SESSION,
    TITTA,
    TOBII_PRO,
    Bench,
    Listening,
    column,
    described,
    gaze,
    pupil_capture,
    until,
)

DISPLAY = {"width_px": 1920, "height_px": 1080, "width_mm": 527, "height_mm": 296, "distance_mm": 650}
PLAIN = [("x", "ScreenX", "normalized", "left"), ("y", "ScreenY", "normalized", "left")]


def own(name: str) -> str:
    """A source id nobody else has: tests of one process share an LSL session."""
    return f"{name}-{uuid4().hex[:8]}"


def reader(source_id: str, **options: Any) -> Any:
    return lambda listeners: LslSource(listeners, source_id, **options)


def plain(t: np.ndarray) -> np.ndarray:
    return np.column_stack(gaze(t))


def titta(t: np.ndarray) -> np.ndarray:
    x, y = gaze(t)
    n = len(t)
    # Each channel its own number, so that a channel in another's place is seen.
    eye = [x, y, *(np.full(n, v) for v in (11.0, 12, 13, 1, 1, 3.5, 1, 1, 21, 22, 600, 1, 1, 9.5, 1, 1))]
    other = [x + 0.01, y, *(np.full(n, v) for v in (41.0, 42, 43, 1, 1, 3.7, 0, 1, 51, 52, 601, 1, 1, 9.7, 1, 0))]
    return np.column_stack([*eye, *other, t - 1000.0])


def tobii_pro(t: np.ndarray) -> np.ndarray:
    x, y = gaze(t)
    return np.column_stack([x, y, np.full(len(t), 3.1), x, y, np.full(len(t), 3.2)])


class Fixtures:
    """The programs of other makers, all running, each read by a source of its own."""

    def __init__(self) -> None:
        self.bench = Bench()
        self.ids = {
            name: own(name) for name in ("tobiipro", "capture", "surface", "companion", "pixels", "float32", "words")
        }
        self.ids["titta"] = own("TittaLSL:Tobii_gaze@TPSP1-0123")
        feed, ids = self.bench.feed, self.ids
        feed(described(ids["tobiipro"], TOBII_PRO, rate=600, float32=True, name="Tobii"), 250, tobii_pro)
        feed(described(ids["titta"], TITTA, rate=300, count=37, acquisition={"serial_number": "TPSP1"}), 300, titta)
        pupil = lambda t: np.column_stack([np.ones(len(t)), *gaze(t), *(np.full(len(t), 2.0 + i) for i in range(19))])  # noqa: E731
        feed(described(ids["capture"], pupil_capture(), rate=0), 120, pupil)
        feed(described(ids["surface"], pupil_capture("surface"), rate=0), 120, pupil)
        feed(described(ids["companion"], COMPANION, rate=0, kind="metatype"), 66, lambda t: 1000 * plain(t))
        pixels = [(label, kind, "pixels", eye) for label, kind, _, eye in PLAIN]
        feed(
            described(ids["pixels"], pixels, rate=120, display=DISPLAY),
            120,
            lambda t: plain(t) * [1920, 1080],
        )
        counted = [*PLAIN, ("FrameNumber", "FrameNumber", "count", ""), ("blinks", "Blink", "bool", "left")]
        feed(
            described(ids["float32"], counted, rate=120, float32=True),
            120,
            lambda t: np.column_stack([*gaze(t), 2**24 + np.round(t * 120), np.zeros(len(t))]),
        )
        words = [(label, kind, "screencoords", eye) for label, kind, _, eye in PLAIN]
        feed(described(ids["words"], words, rate=120, display=DISPLAY), 120, lambda t: plain(t) * [1920, 1080])
        ids["republished"] = f"gazeroom-{ids['words']}-gaze"
        feed(described(ids["republished"], PLAIN, rate=120), 120, plain)
        said = {"words": {"screen_unit": "pixels"}}
        self.read = {name: self.bench.source(reader(id, **said.get(name, {}))) for name, id in ids.items()}
        for name, (source, heard) in self.read.items():
            if name == "republished":
                until(lambda h=heard: h.calls > 2)  # type: ignore[misc]
            else:
                until(lambda h=heard, s=source: len(h.samples) > 100 or s.problem, 30)  # type: ignore[misc]

    def heard(self, name: str) -> Listening:
        return self.read[name][1]


@pytest.fixture(scope="module")
def makers() -> Iterator[Fixtures]:
    lsl.load(SESSION)
    fixtures = Fixtures()
    yield fixtures
    fixtures.bench.end()


def test_app_tobiipro_is_read_by_eye_and_its_wrong_unit_and_rate_are_seen_through(makers: Fixtures) -> None:
    heard = makers.heard("tobiipro")
    (tracker, *_), samples = heard.trackers, heard.samples
    x, y = gaze(samples[:, 0])
    for eye in ("Left", "Right"):
        assert samples[:, column(f"{eye}ScreenX")] == pytest.approx(x, abs=1e-6)
        assert samples[:, column(f"{eye}ScreenY")] == pytest.approx(y, abs=1e-6)
    assert samples[:, column("LeftDiameter")] == pytest.approx(3.1, abs=1e-6)
    assert samples[:, column("RightDiameter")] == pytest.approx(3.2, abs=1e-6)
    assert (tracker.rate_hz, tracker.nominal_hz) == (250, 600)
    assert "it is normalised" in " ".join(tracker.remarks) and "millimetres" in " ".join(tracker.remarks)
    assert "describes itself with 600 samples/s and sends 250" in heard.told("rate")[0]


def test_titta_lsl_is_read_whole_its_undescribed_channel_too(makers: Fixtures) -> None:
    heard = makers.heard("titta")
    (tracker, *_), samples, raw = heard.trackers, heard.samples, heard.raw
    x, y = gaze(samples[:, 0])
    assert samples[:, column("LeftScreenX")] == pytest.approx(x)
    assert samples[:, column("RightScreenX")] == pytest.approx(x + 0.01)
    assert samples[:, column("RightScreenY")] == pytest.approx(y)
    for label, value in {
        "LeftScreenValid": 1,
        "LeftIntersectionX": 11,
        "LeftIntersectionZ": 13,
        "LeftDiameter": 3.5,
        "LeftDiameterValid": 1,
        "LeftPositionY": 22,
        "LeftPositionZ": 600,
        "LeftOpenness": 9.5,
        "RightIntersectionY": 42,
        "RightDiameterValid": 0,
        "RightPositionX": 51,
        "RightPositionValid": 1,
        "RightOpenness": 9.7,
        "RightOpennessValid": 1,
    }.items():
        assert (samples[:, column(label)] == value).all(), label
    assert samples[:, column("DeviceTimeStamp")] == pytest.approx((samples[:, 0] - 1000) * 1e6, abs=1)
    assert len(tracker.present) == 29 and np.isnan(samples[:, column("FrameNumber")]).all()
    assert tracker.serial == "TPSP1"
    # What has no place among the 30 is kept as it was sent: eight flags and the bare channel.
    assert list(tracker.raw_labels)[:1] == ["available.gaze_point.left_eye"] and tracker.raw_labels[-1] == "channel37"
    assert raw.shape == (len(samples), 1 + 9) and (raw[:, 0] == samples[:, 0]).all()
    assert raw[:, -1] == pytest.approx(samples[:, 0] - 1000)
    assert (raw[:, 8] == 0).all()  # available.eye_openness.right_eye


@pytest.mark.parametrize("name", ["capture", "companion"])
def test_gaze_in_a_scene_cameras_picture_is_refused_with_the_remedy(makers: Fixtures, name: str) -> None:
    source, heard = makers.read[name]
    assert source.tracker is None and not heard.blocks
    (text,) = heard.told(f"refused {makers.ids[name]}")
    assert "lies in the picture of a scene camera, not on a display" in text
    assert "map gaze onto the display" in text


def test_pupil_labs_gaze_on_a_surface_is_read_for_both_eyes_and_the_rest_is_kept(makers: Fixtures) -> None:
    heard = makers.heard("surface")
    (tracker, *_), samples, raw = heard.trackers, heard.samples, heard.raw
    x, y = gaze(samples[:, 0])
    for eye in ("Left", "Right"):
        assert samples[:, column(f"{eye}ScreenX")] == pytest.approx(x)
        assert samples[:, column(f"{eye}ScreenY")] == pytest.approx(y)
    # diameter0 is the right eye's; the millimetres are taken, the camera's pixels kept beside.
    assert (samples[:, column("RightDiameter")] == 19).all() and (samples[:, column("LeftDiameter")] == 20).all()
    labels = list(tracker.raw_labels)
    for label in ("confidence", "gaze_point_3d_z", "eye_center0_3d_x", "gaze_normal1_y", "diameter0_2d"):
        assert label in labels
    assert (raw[:, 1 + labels.index("confidence")] == 1).all()
    assert tracker.rate_hz == pytest.approx(120, rel=0.05) and "for both eyes" in " ".join(tracker.remarks)


def test_pixels_become_shares_of_the_display_and_stay_beside_as_they_were(makers: Fixtures) -> None:
    heard = makers.heard("pixels")
    samples, raw = heard.samples, heard.raw
    x, y = gaze(samples[:, 0])
    assert samples[:, column("LeftScreenX")] == pytest.approx(x)
    assert raw[:, 1] == pytest.approx(x * 1920) and raw[:, 2] == pytest.approx(y * 1080)
    assert list(heard.trackers[0].raw_units) == ["pixels", "pixels"]


def test_frame_numbers_in_32_bit_floats_are_kept_but_not_relied_on(makers: Fixtures) -> None:
    heard = makers.heard("float32")
    tracker = heard.trackers[0]
    assert np.isnan(heard.samples[:, column("FrameNumber")]).all()
    assert list(tracker.raw_labels) == ["FrameNumber", "blinks"]
    steps = np.diff(heard.raw[:, 1])
    # Above 2**24 a 32-bit float holds every second number only: what would be gaps that never were.
    assert set(np.unique(steps)) <= {0.0, 2.0, 4.0} and (steps != 1).all()
    assert "32-bit float, which loses whole numbers" in " ".join(tracker.remarks)


def test_a_person_may_say_the_unit_that_a_stream_does_not(makers: Fixtures) -> None:
    heard = makers.heard("words")
    assert heard.samples[:, column("LeftScreenX")] == pytest.approx(gaze(heard.samples[:, 0])[0])


def test_a_stream_that_an_agent_republished_is_never_taken_for_a_tracker(makers: Fixtures) -> None:
    source, heard = makers.read["republished"]
    # It can be seen, and it has been looked for more than once.
    assert lsl.load().resolve_byprop("source_id", makers.ids["republished"], 1, 10.0)
    assert source.tracker is None and not heard.blocks and heard.calls > 2


def test_the_clock_of_every_tracker_is_measured(makers: Fixtures) -> None:
    for name in ("tobiipro", "titta", "pixels"):
        clocks = np.concatenate(until(lambda n=name: makers.heard(n).clocks))  # type: ignore[misc]
        assert clocks.shape[1] == 4 and (np.abs(clocks[:, 1]) < 0.001).all()


# ── bad input ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_times_that_are_wrong_are_told_and_every_sample_is_kept(bench: Bench) -> None:
    name = own("times")
    faults: list[str] = []

    def stamps(t: np.ndarray) -> np.ndarray:
        if not faults:
            return t
        t, fault = t.copy(), faults.pop()
        if fault == "nan":
            t[0] = np.nan
        elif fault == "back":
            t[0] -= 5.0
        else:
            t = np.repeat(t[:1], len(t)) if len(t) > 1 else t
            t[0] = t[-1]
        return t

    numbered = [*PLAIN, ("n", "FrameNumber", "count", "")]
    count = [0]

    def values(t: np.ndarray) -> np.ndarray:
        numbers = np.arange(count[0], count[0] + len(t), dtype=float)
        count[0] += len(t)
        return np.column_stack([*gaze(t), numbers])

    feed = bench.feed(described(name, numbered, rate=1000), 1000, values, stamps)
    source, heard = bench.source(reader(name))
    until(lambda: heard.blocks)
    for fault, kind, sentence in (
        ("nan", "times", "1 samples came with a time that is not a number"),
        ("back", "order", "the tracker's time went backwards"),
        ("twice", "repeated", "repeat the time of the one before them"),
    ):
        faults.append(fault)
        (text, *_) = until(lambda k=kind: heard.told(k))  # type: ignore[misc]
        assert sentence in text and source.problem
    sent = np.concatenate(feed.sent)
    until(lambda: len(heard.samples) and heard.samples[-1, column("FrameNumber")] >= len(sent) - 1)
    samples = heard.samples
    numbers = samples[:, column("FrameNumber")].astype(int)
    assert np.array_equal(np.diff(numbers), np.ones(len(numbers) - 1))
    stamped = np.concatenate(feed.sent)[numbers]
    assert np.array_equal(samples[:, 0], stamped, equal_nan=True)
    assert np.isnan(samples[:, 0]).sum() == 1 and (np.diff(samples[:, 0]) < -4).sum() == 1


def test_a_stream_that_changes_its_rate_is_described_anew(bench: Bench) -> None:
    name = own("rate")
    feed = bench.feed(described(name, PLAIN, rate=240), 240, plain)
    source, heard = bench.source(reader(name))
    until(lambda: len(heard.samples) > 200)
    feed.rate = 60
    text = until(lambda: heard.told("rate"))[-1]
    assert f"Tracker {name} has changed its rate from 240 to 60 samples/s" in text
    assert source.tracker and source.tracker.rate_hz == 60 and source.problem == text
    assert [t.rate_hz for t in heard.trackers] == [240, 60]


def test_two_streams_of_one_name_are_both_refused_until_one_is_stopped(bench: Bench) -> None:
    name = own("twin")
    # Where the other looks is what must never be mixed in.
    one = bench.feed(described(name, PLAIN, rate=120), 120, plain)
    bench.feed(described(name, PLAIN, rate=120, name="Other"), 120, lambda t: plain(t) + 0.5)
    source, heard = bench.source(reader(name))
    (text, *_) = until(lambda: heard.told(f"refused {name}"))
    assert "2 streams call themselves so" in text and "stop all but one" in text
    until(lambda: source.problem == text)
    assert source.tracker is None
    one.end()
    since = until(lambda: source.tracker and len(heard.blocks))
    until(lambda: len(heard.blocks) > since)
    late = np.concatenate(heard.blocks[since:])
    assert late[:, column("LeftScreenX")] == pytest.approx(gaze(late[:, 0])[0] + 0.5)


def test_during_a_recording_a_second_stream_of_the_same_name_is_told_and_not_mixed_in(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("capture.agent.sources.lsl.TWINS_EVERY_S", 0.2)
    monkeypatch.setattr("capture.agent.sources.lsl.CLOCK_EVERY_S", 0.2)
    name = own("twin")
    bench.feed(described(name, PLAIN, rate=120), 120, plain)
    source, heard = bench.source(reader(name))
    until(lambda: heard.blocks)
    source.hold()
    bench.feed(described(name, PLAIN, rate=120, name="Other"), 120, lambda t: plain(t) + 0.5)
    (text, *_) = until(lambda: heard.told("twins"))
    assert f"A second stream calls itself {name}" in text and "nothing of the other is mixed in" in text
    count = len(heard.samples)
    until(lambda: len(heard.samples) > count + 50)
    assert heard.samples[:, column("LeftScreenX")] == pytest.approx(gaze(heard.samples[:, 0])[0])


def test_streams_whose_units_lie_or_whose_clock_is_another_are_refused(bench: Bench) -> None:
    told = {
        "shares": (PLAIN, lambda t: plain(t) * 1000, lambda t: t, "is said to be normalised ('normalized') but has"),
        "pixel": (
            [(a, b, "pixels", d) for a, b, _, d in PLAIN],
            plain,
            lambda t: t,
            "said to be in 'pixels' but all of it lies between",
        ),
        "words": (
            [(a, b, "screencoords", d) for a, b, _, d in PLAIN],
            lambda t: plain(t) * 900,
            lambda t: t,
            "say with",
        ),
        "unix": (PLAIN, plain, lambda t: t + 1.7e9, "carry the time of another clock"),
        "eeg": ([("Fz", "EEG", "uV", ""), ("Cz", "EEG", "uV", "")], plain, lambda t: t, "no channels of type ScreenX"),
    }
    made = {}
    for kind, (layout, values, times, sentence) in told.items():
        name = own(kind)
        bench.feed(described(name, layout, rate=120, display=DISPLAY), 120, values, times)
        made[name] = (bench.source(reader(name)), sentence)
    for name, ((source, heard), sentence) in made.items():
        (text, *_) = until(lambda h=heard, n=name: h.told(f"refused {n}"))  # type: ignore[misc]
        assert sentence in text and text.startswith(f"Tracker {name} cannot be used: "), text
        assert not heard.blocks and source.tracker is None


def test_a_unit_that_only_a_look_can_tell_is_waited_for(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("capture.agent.sources.lsl.UNDECIDED_S", 0.5)
    name, looks = own("nobody"), []
    layout = [(a, b, "screencoords", d) for a, b, _, d in PLAIN]
    bench.feed(described(name, layout, rate=120), 120, lambda t: plain(t) if looks else np.full((len(t), 2), np.nan))
    source, heard = bench.source(reader(name))
    (text, *_) = until(lambda: heard.told(f"refused {name}"))
    assert "nobody has looked at the screen yet: look at it for a second" in text and source.problem == text
    assert not heard.blocks
    looks.append(True)
    until(lambda: heard.blocks)
    assert source.problem == ""


def test_during_a_recording_only_the_tracker_it_began_with_is_read(bench: Bench) -> None:
    name = own("held")
    feed = bench.feed(described(name, PLAIN, rate=120, display=DISPLAY), 120, plain)
    source, heard = bench.source(reader(name))
    until(lambda: heard.blocks)
    source.hold()
    feed.end()
    until(lambda: source.tracker is None)
    assert "is gone" in heard.told("lost")[0]
    count = len(heard.samples)
    # The same name comes back before another display: its gaze would lie elsewhere.
    other = bench.feed(described(name, PLAIN, rate=120, display={**DISPLAY, "width_px": 1280}), 120, plain)
    (text, *_) = until(lambda: heard.told(f"refused {name}"))
    assert "describes its channels or display differently now, with which this recording began" in text
    assert len(heard.samples) == count
    other.end()
    bench.feed(described(name, PLAIN, rate=120, display=DISPLAY), 120, plain)
    until(lambda: len(heard.samples) > count)
