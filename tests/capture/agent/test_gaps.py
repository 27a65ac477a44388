"""Time that lacks samples is a gap with its size where anybody can know it, whatever the samples look like."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from capture.agent.gaps import COMPANION_SLACK_S, SILENCE_S, GapFinder, finder_of
from capture.frames import FIRST_COMPANION, GAZE
from tests.capture.agent.harness import FRAME_NUMBER

RATE = 100.0


def gaze(times: Any, numbers: Any) -> np.ndarray:
    rows = np.zeros((len(times), 31))
    rows[:, 0], rows[:, FRAME_NUMBER] = times, numbers
    return rows


def companion(times: Any, numbers: Any = None) -> np.ndarray:
    numbers = np.zeros(len(times)) if numbers is None else numbers
    return np.column_stack([times, np.ones(len(times)), numbers])


def gaps_of(finder: GapFinder, rows: np.ndarray, chunk: int = 10**6) -> list[dict[str, Any]]:
    for k in range(0, len(rows), chunk):
        finder.feed(rows[k : k + chunk])
    return finder.gaps


# ── a pause over which the frame numbers go on ────────────────────────────────────────────────────────────────────────


def test_a_tracker_that_pauses_and_counts_on_has_a_gap_of_unknown_size() -> None:
    times = np.r_[np.arange(50), np.arange(50) + 250] / RATE
    (gap,) = gaps_of(GapFinder(RATE), gaze(times, np.arange(100)))
    assert (gap["after_frame"], gap["before_frame"], gap["missing"], gap["place"]) == (49, 50, None, 50)
    assert (gap["t0"], gap["t1"]) == (0.49, 2.5)


def test_a_late_sample_whose_number_goes_on_is_no_gap() -> None:
    times = np.arange(100) / RATE
    times[50:] += SILENCE_S - 2 / RATE
    assert gaps_of(GapFinder(RATE), gaze(times, np.arange(100))) == []


def test_numbers_that_jump_while_times_stand_still_tell_how_much_is_missing() -> None:
    times = np.arange(100) / RATE
    times[50:] -= 1 / RATE  # both sides of the hole have one time
    numbers = np.r_[np.arange(50), np.arange(50) + 57]
    finder = GapFinder(RATE)
    (gap,) = gaps_of(finder, gaze(times, numbers))
    assert (gap["missing"], gap["t0"], gap["t1"]) == (7, times[49], times[50])
    assert gap["t0"] == gap["t1"]
    assert finder.faults == ["1 of 100 samples repeat the time of the sample before them."]


# ── companions ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_companion_without_numbers_shows_its_gaps_by_time_beyond_its_programs_lateness() -> None:
    finder = finder_of(FIRST_COMPANION, {"rate_hz": RATE})
    times = np.arange(300) / RATE
    times[100:] += COMPANION_SLACK_S - 2 / RATE  # late
    times[200:] += 1.0  # gone
    (gap,) = gaps_of(finder, companion(times))
    assert (gap["stream"], gap["place"], gap["missing"]) == (FIRST_COMPANION, 200, 100)
    assert (gap["after_frame"], gap["before_frame"]) == (None, None)


def test_a_companion_that_numbers_its_samples_shows_every_one_that_is_missing() -> None:
    numbers = np.delete(np.arange(300), [5, 100, 101])
    finder = finder_of(FIRST_COMPANION + 1, {"rate_hz": RATE, "sequence": 1})
    found = gaps_of(finder, companion(numbers / RATE, numbers))
    assert [(g["after_frame"], g["before_frame"], g["missing"]) for g in found] == [(4, 6, 1), (99, 102, 2)]


def test_a_companion_of_rare_events_may_be_silent_for_as_long_as_it_likes() -> None:
    finder = finder_of(FIRST_COMPANION, {"rate_hz": 0}, since=0.0)
    assert gaps_of(finder, companion([60.0, 3600.0])) == []
    finder.finish(7200.0)
    assert finder.gaps == [] and finder.samples == 2


def test_rare_events_that_are_numbered_show_the_lost_one() -> None:
    finder = finder_of(FIRST_COMPANION, {"sequence": 1})
    (gap,) = gaps_of(finder, companion([60.0, 3600.0, 3601.0], [0, 1, 3]))
    assert (gap["missing"], gap["place"]) == (1, 2)


def test_a_companion_that_never_spoke_was_silent_throughout() -> None:
    finder = finder_of(FIRST_COMPANION, {"rate_hz": RATE}, since=10.0)
    finder.finish(20.0)
    (gap,) = finder.gaps
    assert (gap["t0"], gap["t1"], gap["missing"], gap["place"]) == (10.0, 20.0, None, 0)


@pytest.mark.parametrize("sequence", [2, 99, -1, "x", None, 1.0])
def test_a_sequence_channel_there_is_not_is_none(sequence: Any) -> None:
    finder = finder_of(FIRST_COMPANION, {"rate_hz": RATE, "sequence": sequence})
    (gap,) = gaps_of(finder, companion(np.r_[np.arange(50), np.arange(100, 150)] / RATE))
    assert (gap["missing"], gap["after_frame"]) == (50, None)


# ── whatever comes ────────────────────────────────────────────────────────────────────────────────────────────────────

anything = st.one_of(
    st.floats(width=64),
    st.integers(0, 20).map(float),
    st.sampled_from([np.nan, np.inf, -np.inf, 2.0**53, -(2.0**53), 1e308, -1e308]),
)


@settings(max_examples=120, deadline=None)
@given(
    arrays.arrays(np.float64, st.tuples(st.integers(0, 40), st.just(2)), elements=anything),
    st.integers(1, 12),
    st.sampled_from([0.0, 0.5, RATE, 1e6]),
    st.booleans(),
)
def test_any_numbers_at_all_end_in_gaps_and_counts_that_a_database_holds(
    told: np.ndarray, chunk: int, rate: float, companions: bool
) -> None:
    stream = FIRST_COMPANION if companions else GAZE
    make = companion if companions else gaze
    rows = make(told[:, 0], told[:, 1])
    finders = [finder_of(stream, {"rate_hz": rate, "sequence": 1}, since=0.0) for _ in range(2)]
    one, other = gaps_of(finders[0], rows), gaps_of(finders[1], rows, chunk)
    assert one == other and finders[0].faults == finders[1].faults  # however it was cut into frames
    assert finders[0].samples == len(rows)
    places = [gap["place"] for gap in one]
    assert places == sorted(set(places)) and all(0 <= place < max(len(rows), 1) for place in places)
    for gap in one:
        assert np.isfinite([gap["t0"], gap["t1"]]).all()
        whole = [gap[k] for k in ("missing", "after_frame", "before_frame") if gap[k] is not None]
        assert all(isinstance(n, int) and abs(n) < 2**62 for n in whole)
        assert gap["missing"] is None or gap["missing"] >= 1
        json.dumps(gap, allow_nan=False)
    with np.errstate(invalid="ignore", over="ignore"):
        times = np.where(np.isfinite(told[:, 0]), told[:, 0], np.nan)
        spans = np.diff(times)
    counts = [int(np.isnan(times).sum()), int((spans < 0).sum()), int((spans == 0).sum())]
    assert [int(s.split()[0]) for s in finders[0].faults] == [n for n in counts if n]


@settings(max_examples=60, deadline=None)
@given(
    st.sets(st.integers(1, 198), max_size=30),
    st.sets(st.integers(0, 199), max_size=20),
    st.integers(1, 40),
)
def test_missing_numbers_are_counted_one_by_one_though_times_are_not_numbers(
    missing: set[int], untimed: set[int], chunk: int
) -> None:
    numbers = np.arange(200)
    times = numbers / RATE
    times[sorted(untimed)] = np.nan
    rows = np.delete(gaze(times, numbers), sorted(missing), axis=0)
    found = gaps_of(GapFinder(RATE), rows, chunk)
    told = [n for gap in found for n in range(gap["after_frame"] + 1, gap["before_frame"])]
    assert told == sorted(missing)
    assert sum(gap["missing"] for gap in found) == len(missing)
