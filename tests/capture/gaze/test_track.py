from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from capture.frames import GAZE_CHANNELS
from capture.gaze.display import Display
from capture.gaze.mapping import ViewportStates
from capture.gaze.track import GazeTrack, build_track

DISPLAY = Display(1280, 800, 344, 215, 600)
RATE = 300.0


def samples(t: Any, screen_px: Any) -> np.ndarray:
    """Rows [N, 31] of two perfect eyes."""
    rows = np.full((len(t), 1 + len(GAZE_CHANNELS)), np.nan)
    rows[:, 0] = t
    normalised = np.asarray(screen_px) / (1280, 800)
    for eye in ("Left", "Right"):
        rows[:, 1 + GAZE_CHANNELS.index(f"{eye}ScreenX")] = normalised[:, 0]
        rows[:, 1 + GAZE_CHANNELS.index(f"{eye}ScreenY")] = normalised[:, 1]
        rows[:, 1 + GAZE_CHANNELS.index(f"{eye}ScreenValid")] = np.isfinite(normalised).all(axis=1)
    rows[:, 1 + GAZE_CHANNELS.index("FrameNumber")] = np.arange(len(t))
    return rows


def states(*timed: tuple[float, list[float]]) -> ViewportStates:
    records = [{"a": a, "rect": [0, 0, 1280, 800], "dpr": 1.0, "screenX": 0, "screenY": 0} for _, a in timed]
    return ViewportStates.from_records(records, [t for t, _ in timed], rows=1000, columns=1000, display=DISPLAY)


def test_a_steady_eye_under_a_zoom_is_two_fixations_with_two_image_positions() -> None:
    t = 1000 + np.arange(300) / RATE
    track = build_track(
        samples(t, np.full((300, 2), 400.0)),
        states=states((1000.0, [1, 0, 0, 1, 0, 0]), (1000.5, [2, 0, 0, 2, 100, 0])),
    )
    assert track.fixations.x.tolist() == pytest.approx([400, 150])
    assert track.fixations.y.tolist() == pytest.approx([400, 200])
    assert track.fixations.onset[1] == pytest.approx(0.5, abs=1 / RATE)
    assert track.fixations.duration.sum() == pytest.approx(1.0, abs=0.01)
    assert track.fixations.state.tolist() == [0, 1]


def test_a_change_of_grey_levels_does_not_cut_a_fixation() -> None:
    t = 1000 + np.arange(300) / RATE
    same = [1.0, 0, 0, 1, 0, 0]
    track = build_track(samples(t, np.full((300, 2), 400.0)), states=states((1000.0, same), (1000.5, same)))
    assert len(track.fixations) == 1


def test_pieces_shorter_than_a_fixation_are_dropped_while_the_image_moves() -> None:
    t = 1000 + np.arange(300) / RATE
    pan = [(1000 + i / 60, [1.0, 0, 0, 1, 5.0 * i, 0]) for i in range(60)]
    assert len(build_track(samples(t, np.full((300, 2), 400.0)), states=states(*pan)).fixations) == 0


def test_gaze_before_the_image_was_there_has_no_place_in_it() -> None:
    t = 1000 + np.arange(300) / RATE
    track = build_track(samples(t, np.full((300, 2), 400.0)), states=states((1000.5, [1, 0, 0, 1, 0, 0])))
    assert np.isnan(track.x[track.t < 0.499]).all()
    assert track.valid[track.t > 0.501].all()


def test_the_corrections_of_the_eyes_are_applied() -> None:
    t = 1000 + np.arange(100) / RATE
    shift = (1.0, 0.0, 0.0, 1.0, 10 / 1280, -20 / 800)
    track = build_track(
        samples(t, np.full((100, 2), 400.0)),
        states=states((999.0, [1, 0, 0, 1, 0, 0])),
        correction={"left": shift, "right": None},
    )
    assert track.x[0] == pytest.approx(410) and track.y[0] == pytest.approx(380)


def test_samples_that_never_came_count_as_lost() -> None:
    t = 1000 + np.arange(100) / RATE
    track = build_track(samples(t, np.full((100, 2), 1.0)), states=states((0.0, [1, 0, 0, 1, 0, 0])), lost=100)
    assert track.meta["data_loss"] == pytest.approx(0.5)


def test_samples_are_put_in_order_of_time() -> None:
    t = 1000 + np.arange(100) / RATE
    rows = samples(t, np.c_[np.arange(100.0), np.zeros(100)])
    track = build_track(rows[::-1], states=states((0.0, [1, 0, 0, 1, 0, 0])))
    assert (np.diff(track.t) > 0).all() and (np.diff(track.x) > 0).all()


def test_a_track_comes_back_from_its_file_as_it_was_and_always_as_the_same_bytes(tmp_path: Path) -> None:
    t = 1000 + np.arange(300) / RATE
    xy = np.full((300, 2), 400.0)
    xy[50:60] = np.nan
    track = build_track(samples(t, xy), states=states((1000.1, [1, 0, 0, 1, 0, 0])))
    assert track.save(tmp_path / "a.npz") == track.save(tmp_path / "b.npz")
    again = GazeTrack.load(tmp_path / "a.npz")
    assert again.meta == track.meta and again.origin_lsl == track.origin_lsl
    for name in ("t", "x", "y", "valid", "state", "ppd_x", "ppd_y"):
        np.testing.assert_array_equal(getattr(again, name), getattr(track, name))
    np.testing.assert_array_equal(again.fixations.x, track.fixations.x)
    assert again.to_bytes() == track.to_bytes()


def test_a_track_carries_what_was_on_the_screen_into_its_file_and_out_again(tmp_path: Path) -> None:
    t = 1000 + np.arange(300) / RATE
    track = build_track(
        samples(t, np.full((300, 2), 400.0)),
        states=states((1000.1, [1, 0, 0, 1, 0, 0]), (1000.5, [2, 0, 0, 2, 100, 0])),
    )
    track.save(tmp_path / "a.npz")
    again = GazeTrack.load(tmp_path / "a.npz")
    for one, other in zip(track.seen(), again.seen(), strict=True):
        np.testing.assert_array_equal(one, other)
    seen = again.seen()
    assert np.isnan(seen.image_rect[track.t < 0.099]).all()
    np.testing.assert_allclose(seen.image_rect[-1], [-0.5, 0, 590, 400])
    assert again.states is not None
    np.testing.assert_allclose(again.states.seen(again.fixations.state).image_rect[:, 2], [999.5, 590])


def test_a_track_of_before_still_reads_and_says_that_it_lacks_its_states(tmp_path: Path) -> None:
    t = 1000 + np.arange(30) / RATE
    track = build_track(samples(t, np.full((30, 2), 400.0)), states=states((1000, [1, 0, 0, 1, 0, 0])))
    old = replace(track, states=None, eyes=None, meta={**track.meta, "schema": "gazeroom.track/1"})
    old.save(tmp_path / "old.npz")
    again = GazeTrack.load(tmp_path / "old.npz")
    assert len(again) == 30 and again.eyes is None
    with pytest.raises(ValueError, match="process its recording again"):
        again.seen()


def test_each_eye_is_kept_with_its_pupil_and_is_lost_alone() -> None:
    t = 1000 + np.arange(10) / RATE
    rows = samples(t, np.full((10, 2), 400.0))
    rows[:, 1 + GAZE_CHANNELS.index("LeftDiameter")] = 3.5
    rows[:, 1 + GAZE_CHANNELS.index("LeftDiameterValid")] = 1
    rows[:, 1 + GAZE_CHANNELS.index("RightDiameter")] = 3.25
    rows[4:, 1 + GAZE_CHANNELS.index("RightScreenValid")] = 0
    rows[4:, 1 + GAZE_CHANNELS.index("LeftDiameterValid")] = 0
    track = build_track(rows, states=states((1000, [1, 0, 0, 1, 0, 0])))
    assert track.eyes is not None
    np.testing.assert_allclose(track.eyes[0], [[400, 400, 3.5], [400, 400, 3.25]])
    np.testing.assert_allclose(track.eyes[5], [[400, 400, np.nan], [np.nan, np.nan, 3.25]])
    assert track.valid.all()


def test_gaze_of_a_tracker_without_validity_channels_is_valid_where_it_is_a_number() -> None:
    t = 1000 + np.arange(10) / RATE
    rows = samples(t, np.full((10, 2), 400.0))
    rows[:, [1 + GAZE_CHANNELS.index(f"{eye}ScreenValid") for eye in ("Left", "Right")]] = np.nan
    rows[5:, [1 + GAZE_CHANNELS.index(f"{eye}ScreenX") for eye in ("Left", "Right")]] = np.nan
    track = build_track(rows, states=states((1000, [1, 0, 0, 1, 0, 0])))
    assert track.valid.tolist() == [True] * 5 + [False] * 5
    assert track.meta["data_loss"] == pytest.approx(0.5)


@pytest.mark.parametrize("algorithm", ["ivt", "idt", "adaptive"])
def test_events_are_found_by_the_algorithm_that_the_track_names(algorithm: Any) -> None:
    t = 1000 + np.arange(600) / RATE
    share = np.clip((np.arange(600)[:, None] - 297) / 10, 0, 1)  # a saccade of 33 ms
    xy = (1 - share) * [300.0, 300.0] + share * [900.0, 500.0]
    xy = xy + np.random.default_rng(1).normal(0, 0.3, (600, 2))
    xy[100:130] = np.nan  # 100 ms with the eyes closed
    track = build_track(samples(t, xy), states=states((1000, [1, 0, 0, 1, 0, 0])), algorithm=algorithm)
    assert track.meta["events"]["algorithm"] == algorithm
    np.testing.assert_allclose(track.fixations.x[[0, -1]], [300, 900], atol=2)
    assert track.meta["rms_s2s_deg"] == pytest.approx(0.3 * 2 / DISPLAY.px_per_degree[0], rel=0.1)


def test_a_file_that_is_no_track_is_refused_by_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    with pytest.raises(ValueError, match=r"other\.npz is not a gaze track"):
        GazeTrack.load(tmp_path / "other.npz")


@pytest.mark.parametrize(
    ("rows", "words"), [(np.zeros((0, 31)), "no gaze samples"), (np.zeros((5, 7)), "shape")], ids=["none", "seven"]
)
def test_samples_that_cannot_be_a_track_are_refused(rows: np.ndarray, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        build_track(rows, states=states((0.0, [1, 0, 0, 1, 0, 0])))
