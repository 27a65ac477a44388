from __future__ import annotations

import math
import statistics
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from capture.gaze import quality
from capture.gaze.display import Display
from capture.gaze.mapping import ViewportStates
from capture.gaze.track import GazeTrack, build_track

from .test_track import DISPLAY, RATE, samples

#: Worked by hand: steps of 5, 4, 3 and 4; means 3 and 2.
PATH = [(0.0, 0.0), (3.0, 4.0), (3.0, 0.0), (6.0, 0.0), (6.0, 4.0)]


def test_precision_between_samples_is_the_root_mean_square_step() -> None:
    assert quality.rms_s2s(PATH) == pytest.approx(math.sqrt((25 + 16 + 9 + 16) / 4))


def test_a_missing_sample_makes_no_step() -> None:
    holed = [*PATH[:2], (np.nan, np.nan), *PATH[2:]]
    assert quality.rms_s2s(holed) == pytest.approx(math.sqrt((25 + 9 + 16) / 3))


def test_spread_divides_by_one_less_than_the_samples() -> None:
    x, y = zip(*PATH, strict=True)
    assert quality.std_rms([*PATH, (np.nan, 1.0)]) == pytest.approx(
        math.sqrt(statistics.variance(x) + statistics.variance(y))
    )


def test_the_ellipse_holds_its_share_of_normal_gaze() -> None:
    rng = np.random.default_rng(0)
    covariance = np.array([[0.09, 0.03], [0.03, 0.04]])
    gaze = rng.multivariate_normal([3, -2], covariance, size=40_000)
    for share in (68.27, 95.0):
        area = quality.bcea(gaze, confidence=share)
        assert area == pytest.approx(
            -2 * math.log(1 - share / 100) * math.pi * math.sqrt(np.linalg.det(covariance)), rel=0.03
        )
        inside = np.einsum("ni,ij,nj->n", gaze - [3, -2], np.linalg.inv(covariance), gaze - [3, -2])
        assert (inside < -2 * math.log(1 - share / 100)).mean() == pytest.approx(share / 100, abs=0.01)


def test_the_ellipse_follows_its_textbook_form() -> None:
    x, y = zip(*PATH, strict=True)
    rho = statistics.correlation(x, y)
    k = -2 * math.log(1 - 0.6827)
    assert quality.bcea(PATH) == pytest.approx(
        k * math.pi * statistics.stdev(x) * statistics.stdev(y) * math.sqrt(1 - rho**2)
    )


@pytest.mark.parametrize("measure", [quality.rms_s2s, quality.std_rms, quality.bcea])
def test_one_sample_has_no_precision(measure: Any) -> None:
    assert measure([(1.0, 2.0)]) is None and measure(np.zeros((0, 2))) is None and measure([(np.nan, 1.0)] * 5) is None


def test_gaze_on_a_line_has_no_ellipse() -> None:
    assert quality.bcea([(0.0, 1.0), (1.0, 1.0), (2.0, 1.0)]) is None


def test_loss_counts_what_never_came_and_null_ratio_does_not() -> None:
    gaze = [(1.0, 1.0), (np.nan, 1.0), (1.0, 1.0), (1.0, 1.0)]
    assert quality.null_ratio(gaze) == 0.25 and quality.null_ratio(np.zeros((0, 2))) is None
    assert quality.data_loss([True, False, True, True], expected=6) == pytest.approx(0.5)
    assert quality.data_loss([]) == 1.0


def test_accuracy_is_to_the_median_gaze() -> None:
    assert quality.accuracy([(3.0, 4.0), (3.0, 4.0), (90.0, 90.0)], (0, 0)) == pytest.approx(5.0)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [(lambda: quality.rms_s2s([1.0, 2.0]), r"shape \[N, 2\]"), (lambda: quality.bcea(PATH, confidence=100), "100")],
)
def test_what_is_no_gaze_is_refused(call: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        call()


def recording(noise_deg: float = 0.1, lost: int = 0) -> GazeTrack:
    """Ten looks of 0.4 s with saccades between, the noise in degrees along each axis, every tenth look half lost."""
    rng = np.random.default_rng(2)
    places = np.repeat(rng.uniform((200, 150), (1000, 650), (10, 2)), int(0.4 * RATE), axis=0)
    places += rng.normal(0, 1, places.shape) * noise_deg * np.array(DISPLAY.px_per_degree)
    places[30:90] = np.nan
    t = 1000 + np.arange(len(places)) / RATE
    records = [{"a": [1, 0, 0, 1, 0, 0], "rect": [0, 0, 1280, 800], "dpr": 1.0, "screenX": 0, "screenY": 0}]
    states = ViewportStates.from_records(records, [t[0]], rows=800, columns=1280, display=DISPLAY)
    return build_track(samples(t, places), states=states, lost=lost)


def test_a_recordings_precision_is_that_of_its_tracker() -> None:
    # Both simulated eyes say the same, so that averaging them takes no noise away.
    found = quality.of_track(recording(0.02), accuracy=0.4)
    assert set(found) == set(quality.MEASURES)
    assert found["sampling_rate"] == pytest.approx(RATE, rel=1e-6)
    assert found["rms_s2s"] == pytest.approx(0.02 * 2, rel=0.1)
    assert found["std_rms"] == pytest.approx(0.02 * math.sqrt(2), rel=0.1)
    assert found["bcea"] == pytest.approx(2.2957 * math.pi * 0.02**2, rel=0.15)
    assert found["accuracy"] == 0.4


def test_a_recordings_loss_holds_the_samples_that_never_came() -> None:
    found = quality.of_track(recording(0.02, lost=300))
    assert found["null_ratio"] == pytest.approx(60 / 1200)
    assert found["data_loss"] == pytest.approx(360 / 1500)
    assert found["accuracy"] is None


def test_gaze_without_a_display_is_measured_in_the_image() -> None:
    track = recording(0.02)
    gone = np.full(len(track), np.nan)
    bare = replace(track, screen_x=gone, screen_y=gone, meta={})
    assert quality.of_track(bare)["rms_s2s"] == pytest.approx(quality.of_track(track)["rms_s2s"], rel=0.05)
    assert quality.of_track(bare)["null_ratio"] == pytest.approx(60 / 1200)


def test_a_recording_without_fixations_has_no_precision() -> None:
    t = 1000 + np.arange(60) / RATE
    records = [{"a": [1, 0, 0, 1, 0, 0], "rect": [0, 0, 1280, 800], "dpr": 1.0, "screenX": 0, "screenY": 0}]
    display = Display(1280, 800, 344, 215, 600)
    states = ViewportStates.from_records(records, [t[0]], rows=800, columns=1280, display=display)
    found = quality.of_track(build_track(samples(t, np.full((60, 2), np.nan)), states=states))
    assert found["rms_s2s"] is found["std_rms"] is found["bcea"] is None
    assert found["null_ratio"] == found["data_loss"] == 1.0
