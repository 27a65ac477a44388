"""How good the gaze is: accuracy, precision and data loss, under the names and definitions of pymovements 0.28.

Definitions: Holmqvist, Nyström & Mulvey, "Eye tracker data quality: what it is and how to measure it" (ETRA 2012);
Niehorster, Zemblys, Beelders & Holmqvist, "Characterizing gaze position signals and synthesizing noise during fixations
in eye-tracking data" (Behavior Research Methods 52, 2020); BCEA: Crossland & Rubin, "The use of an infrared eyetracker
to measure fixation stability" (Optometry and Vision Science 79, 2002).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .display import Display

if TYPE_CHECKING:
    from .track import GazeTrack

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Precision is taken within fixations at least this long; in shorter ones a spread says little.
MIN_FIXATION_S: Final = 0.1
#: What `of_track` answers: name -> (unit, definition).
MEASURES: Final[dict[str, tuple[str, str]]] = {
    "sampling_rate": ("Hz", "One over the median interval between samples."),
    "data_loss": ("share", "Samples without gaze, and samples that never came, of all that should have come."),
    "null_ratio": ("share", "Samples without gaze of those that came."),
    "accuracy": ("°", "Distance between gaze and target at the validation before the recording, mean over its points."),
    "rms_s2s": ("°", "Root mean square distance of successive samples; median over fixations of at least 100 ms."),
    "std_rms": ("°", "√(SDx² + SDy²) about the fixation's mean; median over fixations of at least 100 ms."),
    "bcea": ("°²", "Area of the ellipse that holds 68.27 % of the gaze; median over fixations of at least 100 ms."),
}


def _pairs(degrees: ArrayLike) -> Floats:
    xy = np.asarray(degrees, dtype=np.float64)
    if xy.ndim != 2 or xy.shape[1] != 2:
        raise ValueError(f"Gaze in degrees has shape [N, 2], got {list(xy.shape)}.")
    return xy


def _one(values: Floats) -> float | None:
    return float(values[0]) if np.isfinite(values[0]) else None


def accuracy(degrees: ArrayLike, target: ArrayLike) -> float | None:
    """Distance in degrees between the median gaze [N, 2] and the target [2]; None without a valid sample.

    The median keeps one glance away from moving a whole validation point.
    """
    xy = _pairs(degrees)
    xy = xy[np.isfinite(xy).all(axis=1)]
    if not len(xy):
        return None
    return float(np.hypot(*(np.median(xy, axis=0) - np.asarray(target, dtype=np.float64))))


def rms_s2s(degrees: ArrayLike) -> float | None:
    """Precision: root mean square of the distances between successive valid samples [N, 2], degrees.

    Pairs with a missing sample between them do not count; None without a pair.
    """
    xy = _pairs(degrees)
    return _one(_rms_s2s(xy, np.zeros(len(xy), dtype=np.int64), 1))


def std_rms(degrees: ArrayLike) -> float | None:
    """Precision: √(SDx² + SDy²) about the mean of the valid samples [N, 2], degrees; SDs divide by n − 1.

    None with fewer than two samples.
    """
    xy = _pairs(degrees)
    vx, vy, _ = _covariance(xy, np.zeros(len(xy), dtype=np.int64), 1)
    return _one(np.sqrt(vx + vy))


def bcea(degrees: ArrayLike, *, confidence: float = 68.27) -> float | None:
    """Precision: area of the bivariate contour ellipse, −2 ln(1 − P/100) π SDx SDy √(1 − ρ²), square degrees.

    Parameters
    ----------
    degrees
        Gaze, [N, 2].
    confidence
        Percentage P of normally distributed gaze that the ellipse holds, 0 to below 100.

    Returns
    -------
    float | None
        None with fewer than two valid samples, or where they do not vary along x or y.
    """
    if not 0 <= confidence < 100:
        raise ValueError(f"confidence is {confidence}; it is a percentage from 0 to below 100.")
    xy = _pairs(degrees)
    return _one(_bcea(*_covariance(xy, np.zeros(len(xy), dtype=np.int64), 1), confidence))


def data_loss(valid: ArrayLike, *, expected: int | None = None) -> float:
    """Share of samples lost, 0 to 1: invalid ones, and those that never came of `expected`.

    Parameters
    ----------
    valid
        Whether each sample that came is valid, [N].
    expected
        How many should have come (rate × seconds, or by frame number); those that came if omitted.
    """
    good = np.asarray(valid, dtype=bool)
    total = max(len(good), expected or 0)
    return 1.0 if total == 0 else float(1.0 - good.sum() / total)


def null_ratio(degrees: ArrayLike) -> float | None:
    """Share of the samples [N, 2] that came without a value; None of none."""
    xy = _pairs(degrees)
    return float(1.0 - np.isfinite(xy).all(axis=1).mean()) if len(xy) else None


def of_track(track: GazeTrack, *, accuracy: float | None = None) -> dict[str, float | None]:
    """The quality of one recording.

    Parameters
    ----------
    track
        The recording's gaze with its fixations.
    accuracy
        Degrees at the validation that the recording was made under; a recording itself has no known target.

    Returns
    -------
    dict
        The names of `MEASURES`, in their units; None where a measure is not estimable: no validation, no sample, no
        fixation of at least 100 ms.
    """
    degrees = _degrees(track)
    fixations = track.fixations
    long = fixations.duration >= MIN_FIXATION_S - 1e-9
    start = np.searchsorted(track.t, fixations.onset[long] - 1e-9)
    stop = np.searchsorted(track.t, fixations.onset[long] + fixations.duration[long] - 1e-9)
    groups = len(start)
    group = np.full(len(track), -1, dtype=np.int64)
    for number, (first, last) in enumerate(zip(start, stop, strict=True)):
        group[first:last] = number
    covariance = _covariance(degrees, group, groups)
    came = np.isfinite(track.screen_x) & np.isfinite(track.screen_y)
    if "display" not in track.meta:
        came = np.isfinite(track.x) & np.isfinite(track.y)
    step = float(np.median(np.diff(track.t))) if len(track) > 1 else 0.0
    return {
        "sampling_rate": 1.0 / step if step > 0 else None,
        "data_loss": track.meta.get("data_loss", data_loss(came)),
        "null_ratio": float(1.0 - came.mean()) if len(came) else None,
        "accuracy": accuracy,
        "rms_s2s": _median(_rms_s2s(degrees, group, groups)),
        "std_rms": _median(np.sqrt(covariance[0] + covariance[1])),
        "bcea": _median(_bcea(*covariance, 68.27)),
    }


def _degrees(track: GazeTrack) -> Floats:
    """Gaze in degrees: on the screen where the display is known, else in the image (good within a fixation)."""
    if "display" in track.meta:
        return Display.from_dict(track.meta["display"]).to_degrees(np.stack([track.screen_x, track.screen_y], axis=1))
    return np.stack([track.x / track.ppd_x, track.y / track.ppd_y], axis=1)


def _median(values: Floats) -> float | None:
    good = values[np.isfinite(values)]
    return float(np.median(good)) if len(good) else None


# Each of these answers for groups of samples at once, NaN where a group is too small; samples of group -1 are left out.


def _rms_s2s(xy: Floats, group: Ints, groups: int) -> Floats:
    squared = (np.diff(xy, axis=0) ** 2).sum(axis=1)
    use = np.isfinite(squared) & (group[1:] == group[:-1]) & (group[1:] >= 0)
    count = np.bincount(group[1:][use], minlength=groups)
    with np.errstate(invalid="ignore"):
        return np.sqrt(np.bincount(group[1:][use], squared[use], minlength=groups) / count)


def _covariance(xy: Floats, group: Ints, groups: int) -> tuple[Floats, Floats, Floats]:
    """Variances of x and y and their covariance, dividing by n − 1, each [groups]."""
    use = np.isfinite(xy).all(axis=1) & (group >= 0)
    of, points = group[use], xy[use]
    count = np.bincount(of, minlength=groups)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.stack([np.bincount(of, axis, minlength=groups) / count for axis in points.T], axis=1)
        dx, dy = (points - mean[of]).T
        vx, vy, cov = (
            np.bincount(of, product, minlength=groups) / np.where(count > 1, count - 1, np.nan)
            for product in (dx * dx, dy * dy, dx * dy)
        )
    return vx, vy, cov


def _bcea(vx: Floats, vy: Floats, cov: Floats, confidence: float) -> Floats:
    with np.errstate(invalid="ignore"):
        # σx σy √(1 − ρ²) is the root of the covariance's determinant; where an axis does not vary there is no ellipse.
        area = -2 * np.log(1 - confidence / 100) * np.pi * np.sqrt(np.maximum(vx * vy - cov * cov, 0))
        return np.where((vx > 0) & (vy > 0), area, np.nan)
