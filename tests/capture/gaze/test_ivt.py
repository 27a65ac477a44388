from __future__ import annotations

import gzip

import numpy as np
import pytest
from numpy.typing import NDArray

from capture.gaze.display import Display
from capture.gaze.events import ivt
from tests.reference import REFERENCE, needs_reference

Floats = NDArray[np.float64]


def steps(
    places: list[tuple[float, float]], *, each_s: float = 0.3, rate: float = 600.0, noise: float = 0.0
) -> tuple[Floats, Floats]:
    """Gaze that rests at each place for `each_s` and jumps between them in 20 ms: times [N], degrees [N, 2]."""
    rest, jump = int(each_s * rate), int(0.02 * rate)
    parts: list[Floats] = []
    for i, place in enumerate(places):
        if i:
            share = (1 - np.cos(np.linspace(0, np.pi, jump)))[:, None] / 2
            parts.append(np.array(places[i - 1]) * (1 - share) + np.array(place) * share)
        parts.append(np.tile(place, (rest, 1)).astype(float))
    xy = np.concatenate(parts)
    xy += np.random.default_rng(0).normal(0, noise, xy.shape)
    return np.arange(len(xy)) / rate, xy


@pytest.mark.parametrize("rate", [60.0, 300.0, 600.0, 1200.0])
@pytest.mark.parametrize("noise", [0.0, 0.15])
def test_every_rest_is_one_fixation(rate: float, noise: float) -> None:
    t, xy = steps([(0, 0), (4, 1), (-3, 2), (2, -4)], rate=rate, noise=noise)
    found = ivt.detect(t, xy)
    assert len(found) == 4
    onsets = np.arange(4) * 0.32
    np.testing.assert_allclose(t[found.start], onsets, atol=0.035)
    for start, stop, place in zip(found.start, found.stop, [(0, 0), (4, 1), (-3, 2), (2, -4)], strict=True):
        np.testing.assert_allclose(xy[start:stop].mean(axis=0), place, atol=0.15)


def test_a_constant_slope_has_its_own_speed() -> None:
    t = np.arange(100) / 500
    np.testing.assert_allclose(ivt.velocity(t, np.c_[30 * t, 40 * t]), 50.0)


def test_speed_is_right_late_in_a_long_recording() -> None:
    t = 250_000.0 + np.arange(100) / 1200
    np.testing.assert_allclose(ivt.velocity(t, np.c_[30 * (t - t[0]), 40 * (t - t[0])]), 50.0, rtol=1e-4)


def test_a_lost_sample_does_not_tear_a_fixation() -> None:
    t, xy = steps([(0, 0)])
    xy[90:93] = np.nan
    assert len(ivt.detect(t, xy)) == 1


def test_a_blink_ends_a_fixation() -> None:
    t, xy = steps([(0, 0)], each_s=0.6)
    xy[150:230] = np.nan
    found = ivt.detect(t, xy)
    assert len(found) == 2
    assert found.stop[0] == 150 and found.start[1] == 230


def test_samples_that_never_came_end_a_fixation() -> None:
    t, xy = steps([(0, 0)], each_s=0.6)
    keep = (t < 0.2) | (t > 0.4)
    found = ivt.detect(t[keep], xy[keep])
    assert len(found) == 2


def test_a_rest_of_thirty_milliseconds_is_no_fixation() -> None:
    t, xy = steps([(0, 0), (5, 0), (10, 0)], each_s=0.3)
    short = (t >= 0.32) & (t < 0.32 + 0.27)
    t2 = np.arange((~short).sum()) / 600
    assert len(ivt.detect(t2, xy[~short])) == 2


def test_nothing_and_one_sample_have_no_fixation() -> None:
    assert len(ivt.detect([], np.zeros((0, 2)))) == 0
    assert len(ivt.detect([0.0], [[1.0, 1.0]])) == 0


def test_times_that_stand_still_are_refused() -> None:
    with pytest.raises(ValueError, match="do not ascend"):
        ivt.detect([1.0, 1.0, 1.0], np.zeros((3, 2)))


def kappa(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    agreed = (a == b).mean()
    chance = a.mean() * b.mean() + (1 - a.mean()) * (1 - b.mean())
    return float((agreed - chance) / (1 - chance))


@needs_reference
@pytest.mark.reference
def test_fixations_agree_with_the_hand_labels_of_lund_2013() -> None:
    display = Display(1024, 768, 380, 300, 670)
    ours, coder = [], []
    for path in sorted((REFERENCE / "lund2013").glob("*.csv.gz")):
        with gzip.open(path, "rt") as file:
            rows = np.genfromtxt(file, delimiter=",", names=True)
        xy = np.c_[rows["x_px"], rows["y_px"]]
        xy[(xy == 0).all(axis=1)] = np.nan
        ours.append(ivt.detect(rows["time_s"], display.to_degrees(xy)).mask(len(xy)))
        coder.append(rows["label_MN"] == 1)
    assert len(ours) == 5
    assert kappa(np.concatenate(ours), np.concatenate(coder)) >= 0.8
