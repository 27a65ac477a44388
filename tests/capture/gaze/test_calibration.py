from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from capture.gaze import calibration, quality
from capture.gaze.calibration import FIVE_POINTS, NINE_POINTS, VALIDATION_POINTS, Affine, PointSamples
from capture.gaze.display import Display

DISPLAY = Display(1280, 800, 344, 215, 600)
LIMITS = {"max_accuracy_deg": 1.0, "max_data_loss": 0.2}
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
    correction = calibration.fit_correction([look(p, rng) for p in FIVE_POINTS], DISPLAY)[0]
    result = calibration.validate([look(p, rng) for p in VALIDATION_POINTS], correction, DISPLAY, **LIMITS)
    assert result.passed
    assert result.accuracy_deg is not None and result.accuracy_deg < 0.1
    assert result.rms_s2s_deg == pytest.approx(0.2 * np.sqrt(2) * np.sqrt(2) / np.sqrt(2), rel=0.1)  # two eyes averaged


def test_without_the_correction_the_same_tracker_fails() -> None:
    rng = np.random.default_rng(0)
    nothing = {"left": calibration.IDENTITY, "right": None}
    result = calibration.validate([look(p, rng) for p in VALIDATION_POINTS], nothing, DISPLAY, **LIMITS)
    assert not result.passed
    assert "Accuracy is" in result.sentence


def test_one_eye_is_enough_and_the_blind_one_is_not_used() -> None:
    rng = np.random.default_rng(1)
    correction = calibration.fit_correction([look(p, rng, blind=("right",)) for p in FIVE_POINTS], DISPLAY)[0]
    assert correction["right"] is None
    result = calibration.validate([look(p, rng) for p in VALIDATION_POINTS], correction, DISPLAY, **LIMITS)
    assert result.passed


def test_losing_an_eye_does_not_make_corrected_gaze_jump() -> None:
    rng = np.random.default_rng(2)
    correction = calibration.fit_correction([look(p, rng, noise_deg=0.0) for p in FIVE_POINTS], DISPLAY)[0]
    both = look((0.3, 0.6), rng, noise_deg=0.0, n=2)
    right = both.eye("right")
    right[1] = np.nan
    gaze = calibration.binocular(both.eye("left"), right, correction)
    np.testing.assert_allclose(gaze, [[0.3, 0.6], [0.3, 0.6]], atol=1e-9)


def test_no_eye_at_four_points_cannot_be_calibrated() -> None:
    rng = np.random.default_rng(3)
    points = [look(p, rng, blind=("left", "right") if i > 2 else ()) for i, p in enumerate(FIVE_POINTS)]
    with pytest.raises(ValueError, match="Neither eye was seen"):
        calibration.fit_correction(points, DISPLAY)


def test_a_tracker_of_another_display_is_refused() -> None:
    rng = np.random.default_rng(3)
    with pytest.raises(ValueError, match="belongs to this display"):
        calibration.fit_correction([look(p, rng, off=(0.4, 0.0)) for p in FIVE_POINTS], DISPLAY)


@pytest.mark.parametrize(
    ("offset_deg", "passed"), [(0.9, True), (1.1, False)], ids=["inside the threshold", "outside the threshold"]
)
def test_the_accuracy_threshold_decides(offset_deg: float, passed: bool) -> None:
    rng = np.random.default_rng(4)
    correction = calibration.fit_correction([look(p, rng) for p in FIVE_POINTS], DISPLAY)[0]
    off = (offset_deg * DISPLAY.px_per_degree[0] / 1280, 0.0)
    result = calibration.validate([look(p, rng, off=off) for p in VALIDATION_POINTS], correction, DISPLAY, **LIMITS)
    assert result.passed is passed
    # Degrees shrink away from the centre of a flat screen, by 4 % at these points.
    assert result.accuracy_deg == pytest.approx(offset_deg, rel=0.06)


def test_the_data_loss_threshold_decides() -> None:
    rng = np.random.default_rng(5)
    correction = calibration.fit_correction([look(p, rng) for p in FIVE_POINTS], DISPLAY)[0]
    result = calibration.validate([look(p, rng, loss=0.3) for p in VALIDATION_POINTS], correction, DISPLAY, **LIMITS)
    assert not result.passed
    assert result.data_loss == pytest.approx(0.3, abs=0.03)
    assert "samples were lost" in result.sentence


def test_a_point_without_gaze_fails_the_validation() -> None:
    rng = np.random.default_rng(6)
    correction = calibration.fit_correction([look(p, rng) for p in FIVE_POINTS], DISPLAY)[0]
    points = [look(p, rng, loss=1.0 if i == 2 else 0.0) for i, p in enumerate(VALIDATION_POINTS)]
    result = calibration.validate(points, correction, DISPLAY, max_accuracy_deg=1.0, max_data_loss=0.5)
    assert not result.passed and result.points[2].accuracy_deg is None


def test_points_in_one_line_give_no_correction() -> None:
    line = [[0.1, 0.1], [0.5, 0.5], [0.9, 0.9]]
    with pytest.raises(ValueError, match="in one line"):
        calibration.fit(line, line)


def sent(**changes: Any) -> dict[str, Any]:
    """A point as a page sends it: ten samples at its target, from a tenth of a second after it was shown."""
    return {
        "x": 0.5, "y": 0.5, "shown": 10.0, "t": [10.1 + k / 120 for k in range(10)],
        "left": [[0.5, 0.5]] * 10, "right": [[0.5, 0.5]] * 9 + [[None, None]],
        "valid_left": [True] * 10, "valid_right": [True] * 9 + [False], **changes,
    }  # fmt: skip


def test_a_point_as_a_page_sends_it_is_read() -> None:
    point = PointSamples.from_dict(sent())
    assert point.target == (0.5, 0.5) and point.expected == 10
    assert np.isfinite(point.eye("right")).all(axis=1).sum() == 9


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"left": [[1]]}, "A point needs"),
        ({"t": "soon"}, "A point needs"),
        ({"shown": "now"}, "A point needs"),
        ({"x": 1.5}, "does not lie on the display"),
        ({"x": 640}, "does not lie on the display"),
        ({"t": [10.1]}, "not as many"),
        ({"right": []}, "not as many"),
        ({"t": [10.1] * 9 + [float("nan")]}, "not a number"),
        ({"shown": float("inf")}, "not a number"),
        ({"t": [10.2 - k / 120 for k in range(10)]}, "run backwards"),
        ({"shown": 11.0}, "ended 0.8 s before it was shown"),
        ({"shown": 10.15}, "began 0.1 s before it was shown"),
        ({"left": [[640.0, 400.0]] * 10}, r"around \(640, 400\).*not pixels"),
    ],
)
def test_what_is_no_measurement_of_a_target_is_refused_with_a_sentence(change: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        PointSamples.from_dict(sent(**change))


def test_samples_missing_between_two_times_count_as_lost() -> None:
    t = [10.1 + k / 120 for k in [*range(5), *range(8, 13)]]
    point = PointSamples.from_dict(sent(t=t))
    result = calibration.point_result(point, {"left": calibration.IDENTITY, "right": None}, DISPLAY)
    assert result.samples == 13 and result.data_loss == pytest.approx(3 / 13)


def bent(xy: Any, strength: float) -> np.ndarray:
    """Gaze as a tracker reports it that bows the sides of the display outwards by `strength` of its size."""
    centred = np.asarray(xy, dtype=float) - 0.5
    return np.asarray(xy + strength * np.stack([centred[..., 1] ** 2, centred[..., 0] * centred[..., 1]], axis=-1))


def test_a_bent_tracker_is_straightened_by_the_second_order_and_less_so_by_an_affine() -> None:
    rng = np.random.default_rng(7)
    measured = bent(np.array(NINE_POINTS), 0.15) + rng.normal(0, 0.0005, (9, 2))
    chosen, how = calibration.fit_eye(measured, NINE_POINTS, DISPLAY)
    assert how.model == "quadratic" and len(chosen) == 12 and how.points == 9
    truth = rng.uniform(0.1, 0.9, (200, 2))
    wrong = [
        np.hypot(*(calibration.apply(c, bent(truth, 0.15)) - truth).T).mean()
        for c in (chosen, calibration.fit(measured, NINE_POINTS))
    ]
    assert wrong[0] < wrong[1] / 3


def test_the_second_order_is_not_taken_where_it_fits_only_noise() -> None:
    rng = np.random.default_rng(8)
    models = []
    for _ in range(200):
        measured = calibration.apply(LEFT, NINE_POINTS) + rng.normal(0, 0.003, (9, 2))
        models.append(calibration.fit_eye(measured, NINE_POINTS, DISPLAY)[1].model)
    assert models.count("quadratic") <= 10


def test_five_points_never_choose_the_second_order() -> None:
    _, how = calibration.fit_eye(bent(np.array(FIVE_POINTS), 0.3), FIVE_POINTS, DISPLAY)
    assert how.model == "affine" and set(how.held_out_deg) == {"affine"}


def test_held_out_errors_are_those_of_refitting_without_each_point() -> None:
    rng = np.random.default_rng(9)
    measured, target = rng.uniform(0, 1, (9, 2)), np.array(NINE_POINTS)
    design = np.column_stack([np.ones(9), measured])
    quick = calibration.held_out_errors(design, target)
    for k in range(9):
        others = np.arange(9) != k
        coefficients = np.linalg.lstsq(design[others], target[others], rcond=None)[0]
        np.testing.assert_allclose(quick[k], target[k] - design[k] @ coefficients, atol=1e-12)


def test_a_point_that_alone_decides_its_fit_predicts_nothing() -> None:
    design = np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 1.0]])
    errors = calibration.held_out_errors(design, np.zeros((3, 2)))
    assert np.isinf(errors[2]).all() and np.isfinite(errors[:2]).all()


def test_twelve_coefficients_can_say_what_six_say() -> None:
    a, b, c, d, e, f = LEFT
    xy = np.random.default_rng(0).uniform(0, 1, (7, 2))
    np.testing.assert_allclose(
        calibration.apply((e, a, c, 0, 0, 0, f, b, d, 0, 0, 0), xy), calibration.apply(LEFT, xy), atol=1e-12
    )


def test_a_correction_of_seven_coefficients_is_refused() -> None:
    with pytest.raises(ValueError, match="6 or 12"):
        calibration.apply([0.0] * 7, [[0.5, 0.5]])


def test_the_ellipse_holds_two_thirds_of_the_samples_and_points_along_their_spread() -> None:
    rng = np.random.default_rng(10)
    spread = rng.normal(0, 1, (20_000, 2)) * (4.0, 1.0)
    turn = np.radians(30)
    mm = spread @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    xy = mm / (344, 215) + 0.5
    yes = np.ones(len(xy), dtype=bool)
    point = PointSamples((0.5, 0.5), xy, xy, yes, yes)
    both = {"left": calibration.IDENTITY, "right": calibration.IDENTITY}
    major, minor, angle = calibration.point_result(point, both, DISPLAY).ellipse_mm or (0, 0, 0)
    assert angle % 180 == pytest.approx(30, abs=1)
    assert ((spread / (major, minor)) ** 2).sum(axis=1).__le__(1).mean() == pytest.approx(0.68, abs=0.01)


@pytest.mark.parametrize(("off_deg", "passed"), [(0.8, True), (1.2, False)])
def test_drift_is_measured_with_its_direction_and_judged(off_deg: float, passed: bool) -> None:
    rng = np.random.default_rng(11)
    correction, _ = calibration.fit_correction([look(p, rng) for p in FIVE_POINTS], DISPLAY)
    off = (0.0, -off_deg * DISPLAY.px_per_degree[1] / 800)
    answer = calibration.drift(look((0.5, 0.5), rng, off=off), correction, DISPLAY, max_drift_deg=1.0)
    assert answer.passed is passed
    assert answer.drift_deg == pytest.approx(off_deg, abs=0.06)
    assert answer.y_deg == pytest.approx(-off_deg, abs=0.06) and answer.x_deg == pytest.approx(0, abs=0.06)


def test_closed_eyes_are_no_drift_but_no_measurement() -> None:
    rng = np.random.default_rng(12)
    correction, _ = calibration.fit_correction([look(p, rng) for p in FIVE_POINTS], DISPLAY)
    answer = calibration.drift(look((0.5, 0.5), rng, loss=0.8), correction, DISPLAY, max_drift_deg=1.0)
    assert not answer.passed and answer.drift_deg is None
    assert "look at the point again" in answer.sentence


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
