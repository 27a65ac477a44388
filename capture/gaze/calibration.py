"""A correction of gaze from a few points looked at, its validation on others, and its drift since.

Works in normalised display space (0 to 1, origin top left): measured gaze → where the target really was. Each eye has
its own correction, so that losing one eye does not make gaze jump. It lies on top of whatever the tracker's maker has
calibrated: it is fitted to gaze as the tracker reports it.

A correction has six or twelve coefficients. Six are an affine `[a, b, c, d, e, f]`: x' = a·x + c·y + e,
y' = b·x + d·y + f, the order of the viewer's matrices. Twelve are a polynomial of second order, the coefficients of
1, x, y, x·y, x², y² for x' and then for y'. The second order bends what an affine leaves straight (Cerrolaza,
Villanueva & Cabeza, "Study of polynomial mapping functions in video-oculography eye trackers", ACM TOCHI 19(2), 2012;
Blignaut, "Mapping the pupil-glint vector to gaze coordinates in a simple video-based eye tracker", J Eye Mov Res 7(1),
2014) and costs twice the coefficients, so it is taken only where it does better on points it was not fitted to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import quality
from .display import Display

Floats = NDArray[np.float64]
Affine = tuple[float, float, float, float, float, float]
Coefficients = Sequence[float]
#: Each eye's correction, or None for an eye that could not be calibrated and is not used.
Correction = dict[str, tuple[float, ...] | None]
Point = tuple[float, float]

IDENTITY: Affine = (1.0, 0.0, 0.0, 1.0, 0.0, 0.0)
EYES = ("left", "right")

#: Centre first; the outer ones 10 % from the edges, where readers still look.
FIVE_POINTS: tuple[Point, ...] = ((0.5, 0.5), (0.1, 0.1), (0.9, 0.1), (0.9, 0.9), (0.1, 0.9))
#: The same and the middles of the sides, never near the one before, so that the eye has to move.
NINE_POINTS: tuple[Point, ...] = (
    (0.5, 0.5), (0.1, 0.1), (0.9, 0.5), (0.1, 0.9), (0.5, 0.1), (0.9, 0.9), (0.1, 0.5), (0.9, 0.1), (0.5, 0.9),
)  # fmt: skip
CALIBRATION_POINTS: dict[int, tuple[Point, ...]] = {5: FIVE_POINTS, 9: NINE_POINTS}
#: Five other points, so that validation does not ask for what calibration was fitted to.
VALIDATION_POINTS: tuple[Point, ...] = ((0.5, 0.5), (0.3, 0.25), (0.7, 0.25), (0.7, 0.75), (0.3, 0.75))
#: What a drift check shows.
DRIFT_POINT: Point = (0.5, 0.5)

#: An affine needs three points that are not in line; four leave something to judge it by.
_MIN_POINTS = 4
#: Six coefficients from eight points would be judged by points that each decide their own fit.
_MIN_QUADRATIC_POINTS = 9
#: A correction that moves a point further than this is a wrong display or a wrong eye, not a calibration.
_MAX_SHIFT = 0.25
#: Trackers report gaze some way beside the display; so far beside it, the numbers are pixels or millimetres.
_MAX_NORMALISED = 5.0
#: Fewer valid samples than this at a point are no measurement of it.
_MIN_SAMPLES = 5


@dataclass(frozen=True)
class PointSamples:
    """What was measured while one target was on the screen.

    Attributes
    ----------
    target
        Where it was, normalised display coordinates.
    left, right
        Gaze of each eye, normalised, [N, 2].
    valid_left, valid_right
        Which samples the tracker calls valid, [N].
    t
        When, LSL seconds, [N]; empty where it is not known, and then samples that never came are not counted.
    shown
        When the target was on the screen, LSL seconds; NaN where it is not known.
    """

    target: Point
    left: Floats
    right: Floats
    valid_left: NDArray[np.bool_]
    valid_right: NDArray[np.bool_]
    t: Floats = field(default_factory=lambda: np.zeros(0))
    shown: float = float("nan")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PointSamples:
        """A point as a page sends it: x, y, shown, t, left, right ([x, y] pairs), valid_left, valid_right.

        A sample without a position is [null, null]. Raises ValueError, with one sentence, for what is no measurement
        of this target: other units than shares of the display, samples of before the target was shown.
        """
        try:
            target = (float(values["x"]), float(values["y"]))
            sides = {eye: np.array(values[eye], dtype=np.float64).reshape(-1, 2) for eye in EYES}
            valid = {eye: np.array(values[f"valid_{eye}"], dtype=np.float64).reshape(-1) > 0 for eye in EYES}
            t = np.array(values["t"], dtype=np.float64).reshape(-1)
            shown = float(values["shown"])
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ValueError(
                "A point needs x, y, when it was shown, the times of its samples and, for each eye, the samples as "
                "[x, y] pairs and whether they are valid."
            ) from error
        where = f"target ({target[0]:g}, {target[1]:g})"
        if not all(0 <= v <= 1 for v in target):
            raise ValueError(f"The {where} does not lie on the display: positions are shares of it, 0 to 1.")
        if len({len(t), *(len(v) for v in sides.values()), *(len(v) for v in valid.values())}) != 1:
            raise ValueError(f"The samples at {where} are not as many for each eye as there are times.")
        if not (np.isfinite(t).all() and np.isfinite(shown)):
            raise ValueError(f"A time at {where} is not a number.")
        if (np.diff(t) < 0).any():
            raise ValueError(f"The times of the samples at {where} run backwards.")
        if len(t) and t[-1] <= shown:
            raise ValueError(f"The samples at {where} ended {shown - t[-1]:.1f} s before it was shown.")
        if len(t) and t[0] < shown:
            raise ValueError(f"The samples at {where} began {shown - t[0]:.1f} s before it was shown.")
        point = cls(target, sides["left"], sides["right"], valid["left"], valid["right"], t, shown)
        for eye in EYES:
            xy = point.eye(eye)
            good = np.isfinite(xy).all(axis=1)
            if good.any() and np.abs(centre := np.median(xy[good], axis=0)).max() > _MAX_NORMALISED:
                raise ValueError(
                    f"Gaze at {where} is around ({centre[0]:.0f}, {centre[1]:.0f}): positions are shares of the "
                    "display, 0 to 1, not pixels or millimetres."
                )
        return point

    @property
    def expected(self) -> int:
        """How many samples there should be: those that came, and those missing from the holes between them."""
        if len(self.t) < 3:
            return len(self.left)
        step = np.diff(self.t)
        usual = float(np.median(step))
        return int(1 + np.maximum(1, np.rint(step / usual)).sum()) if usual > 0 else len(self.left)

    def eye(self, eye: str) -> Floats:
        """One eye's gaze, normalised, [N, 2]; NaN where it is not valid."""
        xy = np.array(self.left if eye == "left" else self.right, dtype=np.float64)
        good = (self.valid_left if eye == "left" else self.valid_right) & np.isfinite(xy).all(axis=1)
        xy[~good] = np.nan
        return xy


@dataclass(frozen=True)
class PointResult:
    """One point. Degrees; None where there was no valid sample.

    `gaze_x`, `gaze_y` are the median of the corrected gaze, normalised. `ellipse_mm` is where 68 % of the samples of a
    normal distribution lie on the display: half axes in millimetres and the first one's angle from the x axis towards
    y, degrees (the bivariate contour ellipse of Crossland & Rubin 2002, with P = 1 − e^−k, k = 1.14).
    """

    x: float
    y: float
    gaze_x: float | None
    gaze_y: float | None
    accuracy_deg: float | None
    rms_s2s_deg: float | None
    sd_deg: float | None
    data_loss: float
    samples: int
    ellipse_mm: tuple[float, float, float] | None = None

    def problem(self, *, max_accuracy_deg: float, max_data_loss: float) -> str:
        """What is wrong with it, in words; empty when it is good."""
        if self.accuracy_deg is None:
            return "no gaze was measured"
        if self.accuracy_deg > max_accuracy_deg:
            return f"{self.accuracy_deg:.2f}° away"
        if self.data_loss > max_data_loss:
            return f"{100 * self.data_loss:.0f} % lost"
        return ""


@dataclass(frozen=True)
class Validation:
    """The answer to "may this reader be recorded now?"."""

    passed: bool
    sentence: str
    accuracy_deg: float | None
    rms_s2s_deg: float | None
    sd_deg: float | None
    data_loss: float
    points: list[PointResult] = field(default_factory=list)


@dataclass(frozen=True)
class EyeFit:
    """How one eye's correction came about.

    `held_out_deg` is the root mean square error of each model at points left out of its fit, in degrees.
    """

    model: str
    points: int
    held_out_deg: dict[str, float]


def apply(coefficients: Coefficients | None, xy: ArrayLike) -> Floats:
    """Corrected gaze: xy [..., 2] normalised → [..., 2]. An eye without a correction answers NaN."""
    points = np.asarray(xy, dtype=np.float64)
    if coefficients is None:
        return np.full(points.shape, np.nan)
    x, y = points[..., 0], points[..., 1]
    if len(coefficients) == 6:
        a, b, c, d, e, f = coefficients
        return np.stack([a * x + c * y + e, b * x + d * y + f], axis=-1)
    if len(coefficients) != 12:
        raise ValueError(f"A correction has 6 or 12 coefficients, not {len(coefficients)}.")
    terms = np.stack([np.ones_like(x), x, y, x * y, x * x, y * y], axis=-1)
    return terms @ np.reshape(np.asarray(coefficients, dtype=np.float64), (2, 6)).T


def fit(measured: ArrayLike, target: ArrayLike) -> Affine:
    """The affine that takes measured gaze [N, 2] nearest to the targets [N, 2] (least squares).

    Raises
    ------
    ValueError
        Fewer than three points, or points in one line.
    """
    m, t = _matched(measured, target)
    design = np.column_stack([m, np.ones(len(m))])
    if len(m) < 3 or np.linalg.svd(m - m.mean(0), compute_uv=False)[1] < 1e-3:
        raise ValueError(f"{len(m)} calibration points in one place or in one line do not give a correction.")
    (a, b), (c, d), (e, f) = np.linalg.lstsq(design, t, rcond=None)[0]
    return (float(a), float(b), float(c), float(d), float(e), float(f))


def fit_quadratic(measured: ArrayLike, target: ArrayLike) -> tuple[float, ...]:
    """The polynomial of second order that takes measured gaze [N, 2] nearest to the targets (least squares).

    Raises
    ------
    ValueError
        Points that do not determine it: fewer than six, or lying on one conic section.
    """
    m, t = _matched(measured, target)
    design = _quadratic_terms(m)
    if len(m) < 6 or np.linalg.cond(design) > 1e6:
        raise ValueError(f"{len(m)} calibration points as they lie do not give a correction of second order.")
    return tuple(float(v) for v in np.linalg.lstsq(design, t, rcond=None)[0].T.ravel())


def held_out_errors(design: Floats, target: Floats) -> Floats:
    """Residuals [N, 2] of each point from the least-squares fit to all the others, without refitting.

    e / (1 − h), h the diagonal of the hat matrix (Allen 1974, PRESS); infinite for a point that alone decides its fit.
    """
    q, _ = np.linalg.qr(design)
    leverage = (q**2).sum(axis=1)
    residual = target - q @ (q.T @ target)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(leverage[:, None] < 1 - 1e-9, residual / (1 - leverage[:, None]), np.inf)


def fit_eye(measured: ArrayLike, target: ArrayLike, display: Display) -> tuple[tuple[float, ...], EyeFit]:
    """One eye's correction: affine, or of second order where nine points or more show that it predicts better.

    Better means: over the points left out one at a time, its squared error is smaller by more than the standard error
    of the difference (the one-standard-error rule: of two models that cannot be told apart, the simpler; Breiman et al.
    1984, Hastie, Tibshirani & Friedman, "The Elements of Statistical Learning", 7.10).

    Raises
    ------
    ValueError
        As `fit`.
    """
    m, t = _matched(measured, target)
    degrees = np.array([display.width_px, display.height_px]) / np.array(display.px_per_degree)
    held_out = {"affine": ((held_out_errors(_affine_terms(m), t) * degrees) ** 2).sum(axis=1)}
    affine = fit(m, t)
    model, chosen = "affine", tuple(affine)
    if len(m) >= _MIN_QUADRATIC_POINTS and np.linalg.cond(_quadratic_terms(m)) < 1e6:
        held_out["quadratic"] = ((held_out_errors(_quadratic_terms(m), t) * degrees) ** 2).sum(axis=1)
        gain = held_out["affine"] - held_out["quadratic"]
        if np.isfinite(gain).all() and gain.mean() > gain.std(ddof=1) / np.sqrt(len(gain)):
            model, chosen = "quadratic", fit_quadratic(m, t)
    rms = {name: float(np.sqrt(squared.mean())) for name, squared in held_out.items() if np.isfinite(squared).all()}
    return chosen, EyeFit(model, len(m), rms)


def _matched(measured: ArrayLike, target: ArrayLike) -> tuple[Floats, Floats]:
    m, t = np.asarray(measured, dtype=np.float64), np.asarray(target, dtype=np.float64)
    if m.shape != t.shape or m.ndim != 2 or m.shape[1] != 2:
        raise ValueError(f"Measured gaze and targets must both be [N, 2], got {list(m.shape)} and {list(t.shape)}.")
    return m, t


def _affine_terms(xy: Floats) -> Floats:
    return np.column_stack([np.ones(len(xy)), xy])


def _quadratic_terms(xy: Floats) -> Floats:
    x, y = xy.T
    return np.column_stack([np.ones(len(xy)), x, y, x * y, x * x, y * y])


def fit_correction(points: Sequence[PointSamples], display: Display) -> tuple[Correction, dict[str, EyeFit]]:
    """Each eye's correction from the calibration points, and how it came about.

    An eye that was seen at fewer than four points has the correction None and no fit.

    Raises
    ------
    ValueError
        Neither eye can be calibrated, or a correction is so large that display and tracker cannot belong together.
    """
    correction: Correction = dict.fromkeys(EYES)
    fits: dict[str, EyeFit] = {}
    for eye in EYES:
        medians, targets = [], []
        for point in points:
            xy = point.eye(eye)
            good = np.isfinite(xy).all(axis=1)
            if good.sum() >= _MIN_SAMPLES:
                medians.append(np.median(xy[good], axis=0))
                targets.append(point.target)
        if len(medians) < _MIN_POINTS:
            continue
        shift = np.hypot(*(np.array(medians) - np.array(targets)).T).max()
        if shift > _MAX_SHIFT:
            raise ValueError(
                f"The {eye} eye was measured {100 * shift:.0f} % of the display away from a target: check that the "
                "tracker belongs to this display and that the targets were looked at, then calibrate again."
            )
        correction[eye], fits[eye] = fit_eye(medians, targets, display)
    if not fits:
        raise ValueError(
            "Neither eye was seen at four of the calibration points: check the tracker's track box, glasses and light, "
            "then calibrate again."
        )
    return correction, fits


def binocular(left: ArrayLike, right: ArrayLike, correction: Mapping[str, Coefficients | None]) -> Floats:
    """Corrected mean of the eyes that are valid: left, right [N, 2] normalised, NaN where invalid → [N, 2]."""
    both = np.stack([apply(correction.get("left"), left), apply(correction.get("right"), right)])
    good = np.isfinite(both).all(axis=2, keepdims=True)
    count = good.sum(axis=0)
    total = np.where(good, both, 0.0).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(count > 0, total / count, np.nan)


def validate(
    points: Sequence[PointSamples],
    correction: Mapping[str, Coefficients | None],
    display: Display,
    *,
    max_accuracy_deg: float,
    max_data_loss: float,
) -> Validation:
    """Judge a correction on points it was not fitted to.

    Accuracy, precision and data loss are those of the gaze that recordings use: the corrected mean of the valid eyes.
    Overall accuracy and precision are means over the points; data loss is over all samples, with those that never came.

    Parameters
    ----------
    points
        The validation points, at least one.
    correction
        From `fit_correction`.
    display
        For degrees of visual angle.
    max_accuracy_deg, max_data_loss
        The protocol's thresholds; what equals them passes.
    """
    if not points:
        raise ValueError("There are no validation points.")
    results = [point_result(point, correction, display) for point in points]
    measured = [r for r in results if r.accuracy_deg is not None]
    total = sum(r.samples for r in results)
    loss = 1.0 if total == 0 else sum(r.data_loss * r.samples for r in results) / total
    accuracy = _mean([r.accuracy_deg for r in measured])
    rms = _mean([r.rms_s2s_deg for r in measured])
    sd = _mean([r.sd_deg for r in measured])
    passed = False
    if accuracy is None or len(measured) < len(results):
        sentence = (
            f"No gaze was measured at {len(results) - len(measured)} of {len(results)} points: check the tracker's "
            "track box, then calibrate again."
        )
    elif accuracy > max_accuracy_deg:
        sentence = (
            f"Accuracy is {accuracy:.2f}° and {max_accuracy_deg:.2f}° or better is asked for: sit still in front of "
            "the display and calibrate again."
        )
    elif loss > max_data_loss:
        sentence = (
            f"{100 * loss:.0f} % of the samples were lost and at most {100 * max_data_loss:.0f} % may be: check "
            "glasses, light and distance, then calibrate again."
        )
    else:
        passed = True
        sentence = f"Accuracy is {accuracy:.2f}° with {100 * loss:.0f} % of the samples lost: the station is ready."
    return Validation(passed, sentence, accuracy, rms, sd, float(loss), results)


@dataclass(frozen=True)
class Drift:
    """How far gaze has moved from where the calibration puts it, degrees; None where no gaze was measured."""

    passed: bool
    sentence: str
    drift_deg: float | None
    x_deg: float | None
    y_deg: float | None
    point: PointResult


def drift(
    point: PointSamples, correction: Mapping[str, Coefficients | None], display: Display, *, max_drift_deg: float
) -> Drift:
    """Judge a correction that was fitted earlier by one target looked at now.

    The drift is the visual angle between the target and the median of the corrected gaze, as in `validate`; `x_deg`
    (to the right) and `y_deg` (down) are its parts. What equals the threshold passes. With less than half of the
    samples there is no measurement.
    """
    result = point_result(point, correction, display)
    if result.accuracy_deg is None or result.data_loss > 0.5:
        lost = f"{100 * result.data_loss:.0f} % of the samples were lost"
        sentence = f"Your eyes were not seen well enough, {lost}: look at the point again without blinking."
        return Drift(False, sentence, None, None, None, result)
    dx, dy = display.to_degrees(display.to_px((result.gaze_x or 0.0, result.gaze_y or 0.0))) - display.to_degrees(
        display.to_px(point.target)
    )
    passed = result.accuracy_deg <= max_drift_deg
    if passed:
        sentence = f"Gaze is {result.accuracy_deg:.2f}° from the point: the calibration holds."
    else:
        sentence = (
            f"Gaze is {result.accuracy_deg:.2f}° from the point and at most {max_drift_deg:.2f}° may be: look at the "
            "point again, or calibrate again."
        )
    return Drift(passed, sentence, result.accuracy_deg, float(dx), float(dy), result)


def point_result(point: PointSamples, correction: Mapping[str, Coefficients | None], display: Display) -> PointResult:
    """Accuracy, precision and data loss at one target of the corrected mean of the valid eyes."""
    gaze = binocular(point.eye("left"), point.eye("right"), correction)
    good = np.isfinite(gaze).all(axis=1)
    expected = point.expected
    loss = quality.data_loss(good, expected=expected)
    if not good.any():
        return PointResult(*point.target, None, None, None, None, None, loss, expected)
    px = display.to_px(gaze)
    centre = np.median(gaze[good], axis=0)
    degrees = display.to_degrees(px)
    return PointResult(
        *point.target,
        float(centre[0]),
        float(centre[1]),
        float(display.angle_between(display.to_px(centre), display.to_px(point.target))),
        quality.rms_s2s(degrees),
        quality.std_rms(degrees),
        loss,
        expected,
        _ellipse(px[good] * display.mm_per_px),
    )


def _ellipse(mm: Floats) -> tuple[float, float, float] | None:
    """The 68 % contour ellipse of points [N, 2]: half axes, the longer first, and its angle in degrees."""
    if len(mm) < 3:
        return None
    variance, axes = np.linalg.eigh(np.cov(mm.T))
    minor, major = np.sqrt(2 * 1.14 * np.maximum(variance, 0.0))
    return float(major), float(minor), float(np.degrees(np.arctan2(axes[1, 1], axes[0, 1])))


def _mean(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return float(np.mean(known)) if known else None
