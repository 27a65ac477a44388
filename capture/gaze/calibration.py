"""An affine correction of gaze from a few points looked at, and its validation on others.

Works in normalised display space (0 to 1, origin top left): measured gaze → where the target really was. An affine
`[a, b, c, d, e, f]` means x' = a·x + c·y + e, y' = b·x + d·y + f, the order of the viewer's matrices. Each eye has its
own, so that losing one eye does not make gaze jump.
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
#: An eye's correction, or None for an eye that could not be calibrated and is not used.
Correction = dict[str, Affine | None]

IDENTITY: Affine = (1.0, 0.0, 0.0, 1.0, 0.0, 0.0)
EYES = ("left", "right")

#: Five points, centre first; the outer ones 10 % from the edges, where readers still look.
CALIBRATION_POINTS: tuple[tuple[float, float], ...] = ((0.5, 0.5), (0.1, 0.1), (0.9, 0.1), (0.9, 0.9), (0.1, 0.9))
#: Five other points, so that validation does not ask for what calibration was fitted to.
VALIDATION_POINTS: tuple[tuple[float, float], ...] = ((0.5, 0.5), (0.3, 0.25), (0.7, 0.25), (0.7, 0.75), (0.3, 0.75))

#: An affine needs three points that are not in line; four leave something to judge it by.
_MIN_POINTS = 4
#: A correction that moves a point further than this is a wrong display or a wrong eye, not a calibration.
_MAX_SHIFT = 0.25


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
    """

    target: tuple[float, float]
    left: Floats
    right: Floats
    valid_left: NDArray[np.bool_]
    valid_right: NDArray[np.bool_]

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PointSamples:
        """From `{"x", "y", "left": [[x, y]…], "right", "valid_left", "valid_right"}`. Raises ValueError."""
        try:
            target = (float(values["x"]), float(values["y"]))
            sides = {eye: np.array(values[eye], dtype=np.float64).reshape(-1, 2) for eye in EYES}
            valid = {eye: np.array(values[f"valid_{eye}"], dtype=np.float64).reshape(-1) > 0 for eye in EYES}
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                "A point needs x, y and, for each eye, its samples as [x, y] pairs and whether they are valid."
            ) from error
        if not all(0 <= v <= 1 for v in target):
            raise ValueError(f"The target {target} does not lie on the display (0 to 1).")
        if len({len(sides["left"]), len(sides["right"]), len(valid["left"]), len(valid["right"])}) != 1:
            raise ValueError(f"The samples at target {target} are not equally many for both eyes.")
        return cls(target, sides["left"], sides["right"], valid["left"], valid["right"])

    def eye(self, eye: str) -> Floats:
        """One eye's gaze, normalised, [N, 2]; NaN where it is not valid."""
        xy = np.array(self.left if eye == "left" else self.right, dtype=np.float64)
        good = (self.valid_left if eye == "left" else self.valid_right) & np.isfinite(xy).all(axis=1)
        xy[~good] = np.nan
        return xy


@dataclass(frozen=True)
class PointResult:
    """One validation point. Degrees; None where there was no valid sample."""

    x: float
    y: float
    gaze_x: float | None
    gaze_y: float | None
    accuracy_deg: float | None
    rms_s2s_deg: float | None
    sd_deg: float | None
    data_loss: float
    samples: int


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


def apply(affine: Affine | None, xy: ArrayLike) -> Floats:
    """Corrected gaze: xy [..., 2] normalised → [..., 2]. An eye without a correction answers NaN."""
    points = np.asarray(xy, dtype=np.float64)
    if affine is None:
        return np.full(points.shape, np.nan)
    a, b, c, d, e, f = affine
    x, y = points[..., 0], points[..., 1]
    return np.stack([a * x + c * y + e, b * x + d * y + f], axis=-1)


def fit(measured: ArrayLike, target: ArrayLike) -> Affine:
    """The affine that takes measured gaze [N, 2] nearest to the targets [N, 2] (least squares).

    Raises
    ------
    ValueError
        Fewer than three points, or points in one line.
    """
    m, t = np.asarray(measured, dtype=np.float64), np.asarray(target, dtype=np.float64)
    if m.shape != t.shape or m.ndim != 2 or m.shape[1] != 2:
        raise ValueError(f"Measured gaze and targets must both be [N, 2], got {list(m.shape)} and {list(t.shape)}.")
    design = np.column_stack([m, np.ones(len(m))])
    if len(m) < 3 or np.linalg.svd(design - design.mean(0), compute_uv=False)[1] < 1e-3:
        raise ValueError(f"{len(m)} calibration points in one place or in one line do not give a correction.")
    (a, b), (c, d), (e, f) = np.linalg.lstsq(design, t, rcond=None)[0]
    return (float(a), float(b), float(c), float(d), float(e), float(f))


def fit_correction(points: Sequence[PointSamples]) -> Correction:
    """Each eye's affine from the calibration points; None for an eye seen at fewer than four of them.

    Raises
    ------
    ValueError
        Neither eye can be calibrated, or a correction is so large that display and tracker cannot belong together.
    """
    correction: Correction = {}
    for eye in EYES:
        medians, targets = [], []
        for point in points:
            xy = point.eye(eye)
            good = np.isfinite(xy).all(axis=1)
            if good.sum() >= 5:
                medians.append(np.median(xy[good], axis=0))
                targets.append(point.target)
        correction[eye] = fit(medians, targets) if len(medians) >= _MIN_POINTS else None
        if correction[eye] is not None:
            shift = np.hypot(*(np.array(medians) - np.array(targets)).T).max()
            if shift > _MAX_SHIFT:
                raise ValueError(
                    f"The {eye} eye was measured {100 * shift:.0f} % of the display away from a target: check that the "
                    "tracker belongs to this display and that the targets were looked at."
                )
    if all(affine is None for affine in correction.values()):
        raise ValueError(
            "Neither eye was seen at four of the calibration points: check the tracker's track box, glasses and light."
        )
    return correction


def binocular(left: ArrayLike, right: ArrayLike, correction: Mapping[str, Affine | None]) -> Floats:
    """Corrected mean of the eyes that are valid: left, right [N, 2] normalised, NaN where invalid → [N, 2]."""
    both = np.stack([apply(correction.get("left"), left), apply(correction.get("right"), right)])
    good = np.isfinite(both).all(axis=2, keepdims=True)
    count = good.sum(axis=0)
    total = np.where(good, both, 0.0).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(count > 0, total / count, np.nan)


def validate(
    points: Sequence[PointSamples],
    correction: Mapping[str, Affine | None],
    display: Display,
    *,
    max_accuracy_deg: float = 1.0,
    max_data_loss: float = 0.2,
) -> Validation:
    """Judge a correction on points it was not fitted to.

    Accuracy, precision and data loss are those of the gaze that recordings use: the corrected mean of the valid eyes.
    Overall accuracy and precision are means over the points; data loss is over all samples.

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
    results = [_point(point, correction, display) for point in points]
    measured = [r for r in results if r.accuracy_deg is not None]
    total = sum(r.samples for r in results)
    loss = 1.0 if total == 0 else sum(r.data_loss * r.samples for r in results) / total
    accuracy = float(np.mean([r.accuracy_deg for r in measured])) if measured else None
    rms = _mean([r.rms_s2s_deg for r in measured])
    sd = _mean([r.sd_deg for r in measured])
    if accuracy is None or len(measured) < len(results):
        passed = False
        sentence = (
            f"No gaze was measured at {len(results) - len(measured)} of {len(results)} points: check the tracker's "
            "track box, then calibrate again."
        )
    elif accuracy > max_accuracy_deg:
        passed = False
        sentence = (
            f"Accuracy is {accuracy:.2f}° and this study asks for {max_accuracy_deg:.2f}° or better: sit still in "
            "front of the display and calibrate again."
        )
    elif loss > max_data_loss:
        passed = False
        sentence = (
            f"{100 * loss:.0f} % of the samples were lost and this study allows {100 * max_data_loss:.0f} %: check "
            "glasses, light and distance, then calibrate again."
        )
    else:
        passed = True
        sentence = f"Accuracy is {accuracy:.2f}° with {100 * loss:.0f} % of the samples lost: the station is ready."
    return Validation(passed, sentence, accuracy, rms, sd, float(loss), results)


def _point(point: PointSamples, correction: Mapping[str, Affine | None], display: Display) -> PointResult:
    gaze = binocular(point.eye("left"), point.eye("right"), correction)
    good = np.isfinite(gaze).all(axis=1)
    loss = quality.data_loss(good)
    if not good.any():
        return PointResult(*point.target, None, None, None, None, None, loss, len(gaze))
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
        len(gaze),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return float(np.mean(known)) if known else None
