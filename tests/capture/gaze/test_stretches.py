from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from capture.frames import GAZE_CHANNELS
from capture.gaze.calibration import IDENTITY
from capture.gaze.display import Display
from capture.gaze.mapping import ViewportStates
from capture.gaze.stretches import Disorder, Stretch, in_order
from capture.gaze.track import join_tracks

DISPLAY = Display(1280, 800, 344, 215, 600)
EYES = {"left": IDENTITY, "right": IDENTITY}
NUMBER = 1 + GAZE_CHANNELS.index("FrameNumber")


def stretch(t: Any, number: Any = 0, *, clock: Any = None) -> Stretch:
    """Samples at times t that all look at the display's middle; FrameNumber tells whose they are."""
    rows = np.full((len(t), 1 + len(GAZE_CHANNELS)), np.nan)
    rows[:, 0], rows[:, NUMBER] = t, number
    for eye in ("Left", "Right"):
        rows[:, [1 + GAZE_CHANNELS.index(f"{eye}Screen{axis}") for axis in "XY"]] = 0.5
    return Stretch(rows, DISPLAY, EYES, clock)


def times(pieces: list[Stretch]) -> list[float]:
    return [float(v) for piece in pieces for v in piece.samples[:, 0]]


def test_samples_without_a_time_and_with_the_time_before_are_left_out_and_counted() -> None:
    pieces, disorder = in_order([stretch([1.0, np.nan, 1.01, 1.01, np.inf, 1.02], [0, 1, 2, 3, 4, 5])])
    assert times(pieces) == [1.0, 1.01, 1.02]
    assert pieces[0].samples[:, NUMBER].tolist() == [0, 2, 5]
    assert disorder == Disorder(without_time=2, repeated=1)
    assert disorder.left_out == 3


def test_samples_that_overtook_one_another_are_put_in_order_and_none_is_lost() -> None:
    pieces, disorder = in_order([stretch([1.0, 1.02, 1.01, 1.03], [0, 2, 1, 3])])
    assert pieces[0].samples[:, NUMBER].tolist() == [0, 1, 2, 3]
    assert disorder == Disorder(reversed=1)


def test_a_clock_that_was_set_back_mixes_no_two_looks() -> None:
    first, second = 10 + np.arange(300) / 100, 11 + np.arange(500) / 100
    both = stretch(np.r_[first, second], np.r_[np.zeros(300), np.ones(500)])
    pieces, disorder = in_order([both])
    assert [set(piece.samples[:, NUMBER]) for piece in pieces] == [{0.0}, {1.0}]
    # The longer one keeps its time.
    assert pieces[0].samples[-1, 0] < 11 <= pieces[1].samples[0, 0]
    assert len(pieces[1].samples) == 500
    assert disorder.overlapping == 300 - len(pieces[0].samples)


def test_one_wild_time_takes_no_other_sample_with_it() -> None:
    t = 10 + np.arange(500) / 100
    wild = np.insert(t, 250, 5000.0)
    pieces, disorder = in_order([stretch(wild)])
    assert times(pieces) == [*t, 5000.0]
    assert disorder == Disorder()


def test_two_agents_that_recorded_at_once_are_not_woven_together() -> None:
    pieces, disorder = in_order([stretch(np.arange(100) / 100, 1), stretch(0.255 + np.arange(20) / 100, 2)])
    assert {float(n) for piece in pieces for n in piece.samples[:, NUMBER]} == {1.0}
    assert disorder.overlapping == 20


def test_what_is_left_out_is_data_loss_and_told_in_the_tracks_quality() -> None:
    t = 100 + np.arange(100) / 100
    states = ViewportStates.from_records(
        [{"a": [1, 0, 0, 1, 0, 0], "rect": [0, 0, 1280, 800], "dpr": 1, "screenX": 0, "screenY": 0}],
        [0.0],
        rows=1000,
        columns=1000,
        display=DISPLAY,
    )
    broken = t.copy()
    broken[10:20] = np.nan
    broken[50] = broken[49]
    track = join_tracks([stretch(broken)], states=states)
    assert len(track) == 89
    assert track.meta["data_loss"] == pytest.approx(0.11)
    assert track.meta["disorder"] == {"without_time": 10, "repeated": 1, "overlapping": 0, "reversed": 0}


@given(
    runs=st.lists(
        hnp.arrays(
            np.float64,
            st.integers(0, 40),
            elements=st.one_of(st.floats(0, 5), st.sampled_from([np.nan, np.inf, -np.inf, 1.0, 2.5])),
        ),
        max_size=4,
    )
)
def test_whatever_the_times_the_pieces_ascend_do_not_mix_and_every_sample_is_accounted_for(runs: list[Any]) -> None:
    ids = np.cumsum([0, *map(len, runs)])
    pieces, disorder = in_order([stretch(t, ids[i] + np.arange(len(t))) for i, t in enumerate(runs)])
    for piece in pieces:
        assert (np.diff(piece.samples[:, 0]) > 0).all()
    given_times = np.concatenate(runs) if runs else np.zeros(0)
    for piece in pieces:
        np.testing.assert_array_equal(piece.samples[:, 0], given_times[piece.samples[:, NUMBER].astype(int)])
    merged = np.sort(times(pieces))
    assert len(np.unique(merged)) == len(merged)
    assert len(merged) + disorder.left_out == len(given_times)
