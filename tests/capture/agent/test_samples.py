"""Simulated samples move as eyes move."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from capture.gaze.simulate.samples import Gaze, Geometry, Samples, render, saccade_duration, saccade_profile

GEOMETRY = Geometry()
SIZE = np.array([GEOMETRY.width_px, GEOMETRY.height_px])


@dataclass
class Path:
    x: list[float]
    y: list[float]
    onset_s: list[float]
    duration_s: list[float]


def zigzag(count: int = 40) -> Path:
    rng = np.random.default_rng(5)
    onset = np.cumsum(rng.uniform(0.25, 0.5, count))
    return Path(
        list(rng.uniform(100, 1180, count)),
        list(rng.uniform(100, 700, count)),
        list(onset),
        list(np.diff(onset, append=onset[-1] + 0.4) - 0.07),
    )


def draw(rate_hz: float = 1000, **options: float) -> Samples:
    quiet = {"noise_deg": 0.0, "loss": 0.0, "blinks": 0.0, **options}
    return render(zigzag(), GEOMETRY, rate_hz, np.random.default_rng(1), **quiet)


def test_every_fixation_is_where_the_scanpath_says() -> None:
    path, samples = zigzag(), draw(noise_deg=0.2)
    for x, y, onset, duration in zip(path.x, path.y, path.onset_s, path.duration_s, strict=True):
        rest = (samples.t > onset + 0.001) & (samples.t < onset + duration - 0.001)
        for eye in (samples.left, samples.right):
            px, py = np.mean(eye[rest], axis=0) * SIZE
            assert GEOMETRY.degrees(px - x, py - y) < 0.2


def test_saccades_are_as_long_and_as_fast_as_the_main_sequence_says() -> None:
    gaze = Gaze(GEOMETRY, 5000, np.random.default_rng(0), noise_deg=0, loss=0, blinks=0, start=(200, 400))
    landing = gaze.saccade(0.1, 200 + 10 * GEOMETRY.px_per_degree[0], 400)
    samples = gaze.sample(np.arange(0, 0.3, 1 / 5000))
    assert landing == pytest.approx(0.1 + 0.043)
    moved = samples.left[:, 0] * SIZE[0] / GEOMETRY.px_per_degree[0]
    speed = np.convolve(np.diff(moved), np.ones(20) / 20, mode="same") * 5000
    # A minimum-jerk movement peaks at 1.875 times its mean speed.
    assert speed.max() == pytest.approx(1.875 * 10 / 0.043, rel=0.1)
    assert samples.t[np.argmax(speed)] == pytest.approx(0.1 + 0.0215, abs=0.004)
    assert np.ptp(moved[samples.t < 0.0999]) < 0.2


def test_the_profile_goes_from_zero_to_one_and_stays_there() -> None:
    share = saccade_profile(np.array([-1.0, 0.0, 0.5, 1.0, 2.0]))
    assert share.tolist() == [0.0, 0.0, 0.5, 1.0, 1.0]
    assert saccade_duration(0) == pytest.approx(0.021)


def test_tracker_noise_has_the_standard_deviation_asked_for() -> None:
    gaze = Gaze(GEOMETRY, 1000, np.random.default_rng(2), noise_deg=0.3, loss=0, blinks=0)
    samples = gaze.sample(np.arange(5000) / 1000)
    steps = np.diff(samples.left * SIZE / GEOMETRY.px_per_degree, axis=0)
    assert np.std(steps, axis=0) / np.sqrt(2) == pytest.approx([0.3, 0.3], rel=0.05)


def test_a_blink_closes_both_eyes() -> None:
    gaze = Gaze(GEOMETRY, 250, np.random.default_rng(3), loss=0, blinks=20)
    samples = gaze.sample(np.arange(250 * 300) / 250)
    assert not samples.valid_left[samples.blink].any() and not samples.valid_right[samples.blink].any()
    assert np.isnan(samples.left[samples.blink]).all() and np.isnan(samples.pupil_right[samples.blink]).all()
    lengths = np.diff(np.flatnonzero(np.diff(samples.blink.astype(int), prepend=0, append=0)))[::2] / 250
    assert len(lengths) == pytest.approx(100 * 300 / 320, rel=0.3)
    assert lengths.min() >= 0.09 and lengths.max() <= 0.31


@pytest.mark.parametrize("loss", [0.0, 0.02, 0.2])
def test_the_share_of_lost_samples_is_what_was_asked_for(loss: float) -> None:
    gaze = Gaze(GEOMETRY, 1000, np.random.default_rng(4), loss=loss, blinks=0)
    # In chunks, as live: bursts run over their ends.
    valid = np.concatenate([gaze.sample((k * 50 + np.arange(50)) / 1000).valid_left for k in range(1500)])
    assert 1 - valid.mean() == pytest.approx(loss, rel=0.15)


def test_live_chunks_and_one_draw_make_the_same_movements() -> None:
    path, whole = zigzag(), draw(rate_hz=500)
    gaze = Gaze(GEOMETRY, 500, np.random.default_rng(9), noise_deg=0, loss=0, blinks=0, start=(path.x[0], path.y[0]))
    chunks, k = [], 1
    for t in np.array_split(whole.t, 400):
        # Only what the near future brings is known, as live.
        while k < len(path.x) and path.onset_s[k] < t[-1] + 0.2:
            travel = saccade_duration(GEOMETRY.degrees(path.x[k] - path.x[k - 1], path.y[k] - path.y[k - 1]))
            gaze.saccade(path.onset_s[k] - float(travel), path.x[k], path.y[k])
            k += 1
        chunks.append(gaze.sample(t))
    live = np.concatenate([chunk.left for chunk in chunks])
    apart = GEOMETRY.degrees(*((live - whole.left) * SIZE).T)
    assert k == len(path.x)
    assert np.max(apart) < 0.5  # the drift is drawn by chance; the movements are up to 30 degrees


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        (Path([1], [1, 2], [0], [1]), "of one length"),
        (Path([], [], [], []), "of one length"),
        (Path([1, 2], [1, 2], [1, 1], [1, 1]), "must ascend"),
    ],
)
def test_a_scanpath_that_is_none_is_refused(path: Path, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        render(path, GEOMETRY, 120, np.random.default_rng(0))


@pytest.mark.parametrize("options", [{"loss": 1.0}, {"loss": -0.1}])
def test_an_impossible_loss_is_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="loss must be a share"):
        Gaze(GEOMETRY, 120, np.random.default_rng(0), **options)  # type: ignore[arg-type]
