"""Export, then import: the same track within the precision that the format states."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from capture.gaze.formats.reading import Reading
from capture.gaze.formats.table import FORMATS, recognise

from .readings import DISPLAY, SIZE, make_reading, readings, still_readings

TRACK = ("t", "x", "y", "valid", "state", "ppd_x", "ppd_y", "screen_x", "screen_y")
FIXATIONS = ("x", "y", "onset", "duration", "state", "ppd_x", "ppd_y")
STATES = ("t", "matrix", "rect", "shown", "focus", "window", "seq")


def through(reading: Reading, name: str) -> Reading:
    """The reading after it was written and read again."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        rows = [FORMATS[name].write(reading, out)]
        FORMATS[name].finish(out, rows)
        assert recognise(out).name == name
        (found,) = FORMATS[name].read(out, display=DISPLAY)
        return found.reading(SIZE)


def close(got: Any, wanted: Any, within: float) -> None:
    np.testing.assert_allclose(got, wanted, rtol=0, atol=within)


def same_fixations(got: Any, wanted: Any, px: float, s: float) -> None:
    assert len(got) == len(wanted)
    for name, within in (("x", px), ("y", px), ("onset", s), ("duration", 2 * s)):
        close(getattr(got, name), getattr(wanted, name), within)


@pytest.mark.parametrize("name", ["xdf", "parquet"])
@settings(max_examples=6, deadline=None)
@given(reading=readings)
def test_exact_formats_give_the_very_same_track(name: str, reading: Reading) -> None:
    back = through(reading, name)
    for field in TRACK:
        np.testing.assert_array_equal(getattr(back.track, field), getattr(reading.track, field), strict=True)
    for field in FIXATIONS:
        np.testing.assert_array_equal(getattr(back.track.fixations, field), getattr(reading.track.fixations, field))
    assert back.track.states is not None and reading.track.states is not None
    for field in STATES:
        np.testing.assert_array_equal(getattr(back.track.states, field), getattr(reading.track.states, field))
    np.testing.assert_array_equal(back.track.eyes, reading.track.eyes)
    assert (back.track.origin_lsl, back.track.meta) == (reading.track.origin_lsl, reading.track.meta)
    assert (back.sentences, back.id, back.reader) == (reading.sentences, reading.id, reading.reader)
    assert (back.image, back.patient, back.study) == (reading.image, reading.patient, reading.study)


@settings(max_examples=6, deadline=None)
@given(reading=readings)
def test_bids_keeps_the_track_to_a_microsecond_and_a_ten_thousandth_of_a_pixel(reading: Reading) -> None:
    back = through(reading, "bids").track
    track = reading.track
    close(back.t, track.t, 1e-6)
    for field in ("x", "y", "ppd_x", "ppd_y", "screen_x", "screen_y"):
        close(getattr(back, field), getattr(track, field), 1e-4)
    np.testing.assert_array_equal(back.state, track.state)
    same_fixations(back.fixations, track.fixations, 1e-6, 1e-6)
    assert back.states is not None and track.states is not None
    for field in STATES:
        close(getattr(back.states, field), getattr(track.states, field), 1e-6)


@settings(max_examples=6, deadline=None)
@given(reading=readings)
def test_reflacx_keeps_what_was_seen_to_a_thousandth(reading: Reading) -> None:
    back = through(reading, "reflacx").track
    track = reading.track
    close(back.t, track.t, 5.1e-4)
    for field in ("x", "y", "ppd_x", "ppd_y"):
        close(getattr(back, field), getattr(track, field), 5.1e-4)
    same_fixations(back.fixations, track.fixations, 5.1e-4, 5.1e-4)
    seen, wanted = back.seen(), track.seen()
    for field in ("image_rect", "screen_rect", "window_width", "window_level"):
        close(getattr(seen, field), getattr(wanted, field), 2e-3)
    # Where the edge of the view is nearer than rounding goes, either is right.
    edge = np.c_[track.x, track.y, track.x, track.y] - wanted.image_rect
    clear = ~(np.abs(edge) < 2e-3).any(axis=1)
    np.testing.assert_array_equal(back.valid[clear], track.valid[clear])


@settings(max_examples=6, deadline=None)
@given(reading=still_readings)
def test_egd_keeps_positions_fixations_and_a_view_that_stays(reading: Reading) -> None:
    back = through(reading, "egd").track
    track = reading.track
    close(back.t, track.t, 1.01e-5)
    on = np.isfinite(track.x)
    close(back.x[on], track.x[on], 5.1e-4)
    close(back.y[on], track.y[on], 5.1e-4)
    close(back.screen_x, track.screen_x, 1920 * 0.51e-5)
    same_fixations(back.fixations, track.fixations, 5.1e-4, 1.01e-5)
    # The table's own pixels say where on the display the image was, and with it what a degree is.
    assert back.states is not None and track.states is not None
    for axis, values in enumerate((track.x, track.y)):
        scale, shift = back.states.matrix[0][[3 * axis, 4 + axis]]
        looked_at = np.nanmean(values)
        close(scale * looked_at + shift, (510, 25)[axis] + looked_at, 0.05)
    close(back.ppd_x[0] / track.states.pixels_per_degree()[0][0], 1, 0.01)


def test_egd_of_a_moving_view_claims_no_view() -> None:
    reading = make_reading(3)
    back = through(reading, "egd").track
    assert back.states is None
    assert np.isnan(back.ppd_x).all()
    on = np.isfinite(reading.track.x)
    close(back.x[on], reading.track.x[on], 5.1e-4)


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "egd"])
def test_sentences_keep_their_words_and_times(name: str) -> None:
    reading = make_reading()
    back = through(reading, name)
    assert [text for text, _, _ in back.sentences] == [text for text, _, _ in reading.sentences]
    for (_, *got), (_, *wanted) in zip(back.sentences, reading.sentences, strict=True):
        close(got, wanted, 5.1e-4)


def test_a_reading_without_viewport_states_goes_through_every_format() -> None:
    import dataclasses

    reading = make_reading()
    bare = dataclasses.replace(reading, track=dataclasses.replace(reading.track, states=None, eyes=None))
    for name in FORMATS:
        back = through(bare, name).track
        close(back.x, bare.track.x, 5.1e-4)
