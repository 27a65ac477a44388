from __future__ import annotations

import numpy as np
import pytest

from capture.gaze import calibration, quality
from capture.gaze.calibration import CALIBRATION_POINTS, VALIDATION_POINTS, Affine, PointSamples
from capture.gaze.display import Display

DISPLAY = Display(1280, 800, 344, 215, 600)
#: What an uncalibrated tracker does to the truth, for each eye: scale, shear and shift.
LEFT: Affine = (0.97, 0.01, -0.02, 1.04, 0.07, -0.05)
RIGHT: Affine = (1.02, -0.01, 0.01, 0.98, -0.025, 0.03)


def look(
    target: tuple[float, float],
    rng: np.random.Generator,
    *,
    noise_deg: float = 0.2,
    loss: float = 0.0,
    blind: tuple[str, ...] = (),
    off: tuple[float, float] = (0.0, 0.0),
    n: int = 400,
) -> PointSamples:
    noise = noise_deg * np.array(DISPLAY.px_per_degree) / (1280, 800)
    truth = np.array(target) + off
    eyes = [calibration.apply(m, truth + rng.normal(0, 1, (n, 2)) * noise) for m in (LEFT, RIGHT)]
    lost = rng.random(n) < loss
    valid = [~lost & (eye not in blind) for eye in ("left", "right")]
    return PointSamples(target, eyes[0], eyes[1], valid[0], valid[1])


def test_the_correction_undoes_a_distorted_tracker_to_within_its_noise() -> None:
    rng = np.random.default_rng(0)
    correction = calibration.fit_correction([look(p, rng) for p in CALIBRATION_POINTS])
    result = calibration.validate([look(p, rng) for p in VALIDATION_POINTS], correction, DISPLAY)
    assert result.passed
    assert result.accuracy_deg is not None and result.accuracy_deg < 0.1
    assert result.rms_s2s_deg == pytest.approx(0.2 * np.sqrt(2) * np.sqrt(2) / np.sqrt(2), rel=0.1)  # two eyes averaged


def test_without_the_correction_the_same_tracker_fails() -> None:
    rng = np.random.default_rng(0)
    nothing = {"left": calibration.IDENTITY, "right": None}
    result = calibration.validate([look(p, rng) for p in VALIDATION_POINTS], nothing, DISPLAY)
    assert not result.passed
    assert "Accuracy is" in result.sentence


def test_one_eye_is_enough_and_the_blind_one_is_not_used() -> None:
    rng = np.random.default_rng(1)
    correction = calibration.fit_correction([look(p, rng, blind=("right",)) for p in CALIBRATION_POINTS])
    assert correction["right"] is None
    result = calibration.validate([look(p, rng) for p in VALIDATION_POINTS], correction, DISPLAY)
    assert result.passed


def test_losing_an_eye_does_not_make_corrected_gaze_jump() -> None:
    rng = np.random.default_rng(2)
    correction = calibration.fit_correction([look(p, rng, noise_deg=0.0) for p in CALIBRATION_POINTS])
    both = look((0.3, 0.6), rng, noise_deg=0.0, n=2)
    right = both.eye("right")
    right[1] = np.nan
    gaze = calibration.binocular(both.eye("left"), right, correction)
    np.testing.assert_allclose(gaze, [[0.3, 0.6], [0.3, 0.6]], atol=1e-9)


def test_no_eye_at_four_points_cannot_be_calibrated() -> None:
    rng = np.random.default_rng(3)
    points = [look(p, rng, blind=("left", "right") if i > 2 else ()) for i, p in enumerate(CALIBRATION_POINTS)]
    with pytest.raises(ValueError, match="Neither eye was seen"):
        calibration.fit_correction(points)


def test_a_tracker_of_another_display_is_refused() -> None:
    rng = np.random.default_rng(3)
    with pytest.raises(ValueError, match="belongs to this display"):
        calibration.fit_correction([look(p, rng, off=(0.4, 0.0)) for p in CALIBRATION_POINTS])


@pytest.mark.parametrize(
    ("offset_deg", "passed"), [(0.9, True), (1.1, False)], ids=["inside the threshold", "outside the threshold"]
)
def test_the_accuracy_threshold_decides(offset_deg: float, passed: bool) -> None:
    rng = np.random.default_rng(4)
    correction = calibration.fit_correction([look(p, rng) for p in CALIBRATION_POINTS])
    off = (offset_deg * DISPLAY.px_per_degree[0] / 1280, 0.0)
    result = calibration.validate([look(p, rng, off=off) for p in VALIDATION_POINTS], correction, DISPLAY)
    assert result.passed is passed
    # Degrees shrink away from the centre of a flat screen, by 4 % at these points.
    assert result.accuracy_deg == pytest.approx(offset_deg, rel=0.06)


def test_the_data_loss_threshold_decides() -> None:
    rng = np.random.default_rng(5)
    correction = calibration.fit_correction([look(p, rng) for p in CALIBRATION_POINTS])
    result = calibration.validate([look(p, rng, loss=0.3) for p in VALIDATION_POINTS], correction, DISPLAY)
    assert not result.passed
    assert result.data_loss == pytest.approx(0.3, abs=0.03)
    assert "samples were lost" in result.sentence


def test_a_point_without_gaze_fails_the_validation() -> None:
    rng = np.random.default_rng(6)
    correction = calibration.fit_correction([look(p, rng) for p in CALIBRATION_POINTS])
    points = [look(p, rng, loss=1.0 if i == 2 else 0.0) for i, p in enumerate(VALIDATION_POINTS)]
    result = calibration.validate(points, correction, DISPLAY, max_data_loss=0.5)
    assert not result.passed and result.points[2].accuracy_deg is None


def test_points_in_one_line_give_no_correction() -> None:
    line = [[0.1, 0.1], [0.5, 0.5], [0.9, 0.9]]
    with pytest.raises(ValueError, match="in one line"):
        calibration.fit(line, line)


@pytest.mark.parametrize(
    "point",
    [{}, {"x": 0.5, "y": 0.5, "left": [[1]], "right": [], "valid_left": [], "valid_right": []}],
    ids=["nothing", "half a pair"],
)
def test_points_that_are_no_points_are_refused(point: dict) -> None:
    with pytest.raises(ValueError, match="A point needs"):
        PointSamples.from_dict(point)


def test_a_target_beside_the_display_is_refused() -> None:
    with pytest.raises(ValueError, match="does not lie on the display"):
        PointSamples.from_dict({"x": 1.5, "y": 0.5, "left": [], "right": [], "valid_left": [], "valid_right": []})


def test_precision_of_white_noise_has_its_known_values() -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, (200_000, 2))
    assert quality.std_rms(noise) == pytest.approx(0.1 * np.sqrt(2), rel=0.01)
    assert quality.rms_s2s(noise) == pytest.approx(0.2, rel=0.01)


def test_precision_does_not_step_across_missing_samples() -> None:
    gaze = np.array([[0.0, 0.0], [0.0, 0.0], [np.nan, np.nan], [5.0, 5.0], [5.0, 5.0]])
    assert quality.rms_s2s(gaze) == 0.0


def test_samples_that_never_came_are_lost_too() -> None:
    assert quality.data_loss([True] * 8 + [False], expected=10) == pytest.approx(0.2)
    assert quality.data_loss([]) == 1.0
