"""A stream's channels are found by what they say about themselves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capture.agent import pairing
from capture.agent.lsl import configuration
from capture.agent.pairing import Pairing
from capture.agent.sources.base import Watch, nice
from capture.agent.sources.layout import ENOUGH, Channel, Undecided, Unusable, map_channels
from capture.frames import GAZE_CHANNELS, STANDARD_CHANNELS
from tests.capture.agent.harness import ROOT

STANDARD = [(label, kind, eye) for label, kind, _, eye in STANDARD_CHANNELS]


@settings(max_examples=50, deadline=None)
@given(st.permutations(range(30)))
def test_any_order_of_the_channels_gives_the_same_samples(order: list[int]) -> None:
    values = np.arange(60.0).reshape(2, 30)
    channels = map_channels([STANDARD[i] for i in order])
    mapped = channels.standard(np.array([5.0, 6.0]), values[:, order])
    assert np.array_equal(mapped[:, 1:], values)
    assert mapped[:, 0].tolist() == [5.0, 6.0]


def test_type_and_eye_decide_whatever_the_label_says() -> None:
    layout = [("gx", "ScreenX", "right"), ("gy", "ScreenY", "Right"), ("LeftScreenX", "Diameter", "right")]
    mapped = map_channels(layout).standard(np.zeros(1), np.array([[0.1, 0.2, 3.0]]))[0, 1:]
    assert mapped[GAZE_CHANNELS.index("RightScreenX")] == 0.1
    assert mapped[GAZE_CHANNELS.index("RightDiameter")] == 3.0
    assert np.isnan(mapped[GAZE_CHANNELS.index("LeftScreenX")])


def test_a_label_serves_where_type_and_eye_are_not_told() -> None:
    mapped = map_channels([("leftscreeny", "", ""), ("LeftScreenX", "", ""), ("FrameNumber", "", "")])
    assert mapped.standard(np.zeros(1), np.array([[0.2, 0.1, 7.0]]))[0, 1:3].tolist() == [0.1, 0.2]
    assert mapped.present == ["LeftScreenX", "LeftScreenY", "FrameNumber"]


def test_channels_a_stream_does_not_have_are_not_numbers() -> None:
    mapped = map_channels([s for s in STANDARD if s[2] == "left"]).standard(np.zeros(3), np.ones((3, 14)))
    assert np.isnan(mapped[:, 15:]).all() and (mapped[:, 1:15] == 1).all()


def test_a_stream_without_screen_coordinates_is_refused() -> None:
    with pytest.raises(ValueError, match="no channels of type ScreenX and ScreenY with an eye"):
        map_channels([("EEG1", "EEG", ""), ("EEG2", "EEG", "")])


SCREEN = [Channel("x", "ScreenX", "screencoords", "left"), Channel("y", "ScreenY", "screencoords", "left")]
DISPLAY = {"width_px": 1000, "height_px": 500, "width_mm": 400.0, "height_mm": 200.0}


def looked(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.arange(len(values)) / 100, values


def test_a_unit_that_tells_nothing_waits_until_somebody_looks_at_the_screen() -> None:
    channels = map_channels(SCREEN)
    with pytest.raises(Undecided):
        channels.settle(*looked(np.full((500, 2), np.nan)))
    with pytest.raises(Undecided):
        channels.settle(*looked(np.full((ENOUGH - 1, 2), 0.5)))
    for nobody in (0.0, -1.0):  # how some programs say that no eye was seen
        with pytest.raises(Undecided):
            channels.settle(*looked(np.full((500, 2), nobody)))
    settled = channels.settle(*looked(np.full((ENOUGH, 2), 0.5)))
    assert settled.scale.tolist() == [1.0, 1.0] and settled.open_screen == ()
    with pytest.raises(Unusable, match="--screen-unit pixels or --screen-unit mm"):
        channels.settle(*looked(np.full((ENOUGH, 2), 300.0)))


def test_zeros_or_minus_ones_of_a_stream_without_validity_are_no_gaze_at_the_corner() -> None:
    plain = [("x", "ScreenX", "pixels", "left"), ("y", "ScreenY", "pixels", "left")]
    sent = np.array([[0.0, 0.0], [-1.0, -1.0], [0.0, 250.0], [500.0, 250.0]])
    t = np.arange(4.0)
    x, y, valid = map_channels(plain, display=DISPLAY).standard(t, sent)[:, 1:4].T
    assert x.tolist() == [0, -0.001, 0, 0.5] and y.tolist() == [0, -0.002, 0.5, 0.5]
    assert np.array_equal(valid, [0, 0, np.nan, np.nan], equal_nan=True)
    told = map_channels([*plain, ("v", "ScreenValid", "bool", "left")], display=DISPLAY)
    assert (told.standard(t, np.column_stack([sent, np.ones(4)]))[:, 3] == 1).all()  # what a stream says itself


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(["normalized", "pixels", "px", "screencoords", "", "mm", "furlongs"]),
    st.sampled_from([0.5, 300.0, 5000.0]),
    st.booleans(),
)
def test_a_map_either_gives_shares_of_the_display_or_none_at_all(unit: str, value: float, display: bool) -> None:
    """Whatever is said and whatever is sent: no gaze in another unit passes for normalised gaze."""
    layout = [Channel("x", "ScreenX", unit, "right"), Channel("y", "ScreenY", unit, "right")]
    try:
        channels = map_channels(layout, display=DISPLAY if display else None)
        t, sent = looked(np.full((50, 2), value) + np.linspace(0, 0.1, 50)[:, None])
        out = channels.settle(t, sent).standard(t, sent)[:, 1:]
    except (Unusable, Undecided):
        return
    x = out[:, GAZE_CHANNELS.index("RightScreenX")]
    expected = sent[:, 0] if value == 0.5 else sent[:, 0] / 1000
    assert unit not in ("mm",) and np.allclose(x, expected)


@pytest.mark.parametrize(
    ("unit", "display", "sentence"),
    [
        ("pixels", None, "in pixels and it does not say how large its display is: add width_px"),
        ("mm", DISPLAY, "in millimetres, whose origin on the display is not told"),
    ],
)
def test_gaze_that_cannot_be_converted_is_refused(unit: str, display: dict[str, float] | None, sentence: str) -> None:
    with pytest.raises(Unusable, match=sentence):
        map_channels([Channel("x", "ScreenX", unit, "left"), Channel("y", "ScreenY", unit, "left")], display=display)


def test_a_person_may_say_that_millimetres_count_from_the_top_left() -> None:
    layout = [Channel("x", "ScreenX", "mm", "left"), Channel("y", "ScreenY", "mm", "left")]
    t, sent = looked(np.full((50, 2), 100.0))
    out = map_channels(layout, display=DISPLAY, screen_unit="mm").settle(t, sent).standard(t, sent)
    assert out[0, 1:3].tolist() == [0.25, 0.5]


@pytest.mark.parametrize(
    ("kind", "unit", "scale"),
    [
        ("DeviceTimeStamp", "s", 1e6),
        ("DeviceTimeStamp", "ns", 1e-3),
        ("PositionZ", "cm", 10.0),
        ("PositionZ", "m", 1000.0),
        ("Diameter", "mm", 1.0),
    ],
)
def test_units_are_converted_and_what_was_converted_is_kept_as_it_was(kind: str, unit: str, scale: float) -> None:
    plain = [Channel("x", "ScreenX", "normalized", "left"), Channel("y", "ScreenY", "normalized", "left")]
    channels = map_channels([*plain, Channel("it", kind, unit, "" if "Time" in kind else "left")])
    t, sent = looked(np.array([[0.5, 0.5, 7.0]]))
    label = kind if "Time" in kind else f"Left{kind}"
    assert channels.standard(t, sent)[0, 1 + GAZE_CHANNELS.index(label)] == pytest.approx(7.0 * scale)
    assert channels.raw_labels == ([] if scale == 1.0 else ["it"])
    beside = channels.beside(t, sent)
    assert beside is None if scale == 1.0 else beside is not None and beside.tolist() == [[0.0, 7.0]]


def test_a_unit_nobody_knows_keeps_the_channel_beside_the_gaze() -> None:
    plain = [Channel("x", "ScreenX", "normalized", "left"), Channel("y", "ScreenY", "normalized", "left")]
    channels = map_channels([*plain, Channel("z", "PositionZ", "furlongs", "left")])
    assert channels.raw_labels == ["z"] and "LeftPositionZ" not in channels.present
    assert "'furlongs', which is not known" in channels.remarks[0]


def test_a_pupil_without_a_unit_is_millimetres_only_if_it_could_be() -> None:
    layout = [*SCREEN, Channel("p", "pupilsize", "", "left")]
    t = np.arange(ENOUGH) / 100
    for size, used in ((3.4, True), (1200.0, False)):
        settled = map_channels(layout).settle(t, np.column_stack([np.full((ENOUGH, 2), 0.5), np.full(ENOUGH, size)]))
        assert ("LeftDiameter" in settled.present) is used
        assert settled.raw_labels == ([] if used else ["p"])


def test_two_channels_that_claim_to_be_one_eyes_gaze_are_refused() -> None:
    layout = [Channel(n, f"Screen{a}", "normalized", "left") for n in ("raw", "smooth") for a in "XY"]
    with pytest.raises(Unusable, match="'raw' and 'smooth' both claim to be ScreenX of the left eye"):
        map_channels(layout)


# ── what is wrong with samples ────────────────────────────────────────────────────────────────────────────────────────


def rows(t: np.ndarray, **columns: np.ndarray | float) -> np.ndarray:
    out = np.full((len(t), 31), np.nan)
    out[:, 0] = t
    for label, values in columns.items():
        out[:, 1 + GAZE_CHANNELS.index(label)] = values
    return out


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from([60.0, 120.0, 250.0, 1200.0]),
    st.lists(st.floats(0.0, 30.0), max_size=8),
    st.lists(st.integers(1, 400), min_size=1, max_size=12),
)
def test_a_tracker_that_only_pauses_is_never_accused(rate: float, pauses: list[float], blocks: list[int]) -> None:
    """Gaps are found elsewhere: they make neither a rate nor an order wrong."""
    n = sum(blocks)
    steps = np.full(n, 1 / rate)
    for k, pause in enumerate(pauses):
        steps[(k + 1) * n // (len(pauses) + 1) % n] += pause
    t = 1000 + np.cumsum(steps)
    watch = Watch(rate)
    found = [
        finding
        for part in np.split(rows(t, FrameNumber=np.arange(n)), np.cumsum(blocks)[:-1])
        if len(part)
        for finding in watch.look(part)
    ]
    assert found == []


def test_a_rate_has_changed_when_two_windows_agree_on_another() -> None:
    watch = Watch(240.0)
    t = np.r_[np.arange(200) / 240, 200 / 240 + np.arange(200) / 60]
    found = [f for k in range(0, 400, 10) for f in watch.look(rows(t[k : k + 10]))]
    assert [(f.kind, f.rate_hz) for f in found] == [("rate", 60.0)] and watch.rate_hz == 60.0


def test_each_fault_of_a_time_is_counted() -> None:
    watch = Watch(100.0)
    t = np.array([1.0, 1.01, np.nan, 1.02, 1.02, 0.5, 0.51, np.nan])
    assert {f.kind: f.count for f in watch.look(rows(t))} == {"times": 2, "order": 1, "repeated": 1}
    # Across blocks too.
    assert [f.kind for f in watch.look(rows(np.array([0.51])))] == ["repeated"]
    numbers = {f.kind: f.count for f in watch.look(rows(np.array([0.52, 0.53]), FrameNumber=np.array([7.0, 7.0])))}
    assert numbers == {"numbers": 1}


def test_gaze_that_is_no_share_of_a_display_is_told_once_there_is_enough_of_it() -> None:
    watch = Watch(0.0)
    found = [
        f for k in range(4) for f in watch.look(rows(k + np.arange(100) / 200, LeftScreenX=900.0, LeftScreenY=400.0))
    ]
    assert [f.kind for f in found] == ["units", "units"] and "650" in found[0].sentence


@pytest.mark.parametrize(
    ("measured", "named"), [(119.97, 120), (59.95, 60), (299.9, 300), (1199.2, 1200), (62.5, 62.5), (33.37, 33.4)]
)
def test_a_rate_is_named_as_a_person_would(measured: float, named: float) -> None:
    assert nice(measured) == named


def test_sessions_have_their_own_ports_and_stay_on_this_machine() -> None:
    one, other = configuration("one"), configuration("other")
    assert "ResolveScope=machine" in one and "SessionID=one" in one
    assert [line for line in one.splitlines() if "BasePort" in line] != [
        line for line in other.splitlines() if "BasePort" in line
    ]
    assert "BasePort" not in configuration()


def test_a_session_id_that_would_break_the_configuration_is_refused() -> None:
    with pytest.raises(ValueError, match="must be letters, digits"):
        configuration("a\nKnownPeers={everybody}")


def test_the_agent_imports_neither_django_nor_torch_nor_the_heavy_libraries() -> None:
    code = (
        "import sys, pkgutil, importlib, capture.agent\n"
        "import capture.frames, capture.gaze.simulate.samples\n"
        "for module in pkgutil.walk_packages(capture.agent.__path__, 'capture.agent.'):\n"
        "    importlib.import_module(module.name)\n"
        "loaded = {name.split('.')[0] for name in sys.modules}\n"
        "assert 'pylsl' not in loaded, 'liblsl is loaded before it is needed'\n"
        "print(len([m for m in sys.modules if m.startswith('capture.agent.')]))\n"
        "print(sorted(loaded & {'django', 'torch', 'scipy', 'pandas', 'sklearn', 'channels', 'celery', 'study'}))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    count, loaded = done.stdout.splitlines() or ("0", done.stderr)
    assert loaded == "[]"
    assert int(count) >= 9


def test_a_missing_liblsl_is_one_sentence_with_the_remedy(tmp_path: Path) -> None:
    pairing.save(Pairing("http://127.0.0.1:9", (), "", "the station", "credential", "key"), tmp_path / "station.json")
    code = (
        "import sys; sys.modules['pylsl'] = None\n"
        "from capture.agent.main import main\n"
        f"sys.exit(main(['run', '--spool', {str(tmp_path / 'spool')!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr == "gazeroom-agent: pylsl is not installed: pip install 'gazeroom[agent]'.\n"
