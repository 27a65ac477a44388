"""How good the gaze is: accuracy, precision and data loss, under the names pymovements gives its measures.

Definitions: Holmqvist, Nyström & Mulvey, "Eye tracker data quality: what it is and how to measure it" (ETRA 2012).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def _pairs(degrees: ArrayLike) -> Floats:
    xy = np.asarray(degrees, dtype=np.float64)
    if xy.ndim != 2 or xy.shape[1] != 2:
        raise ValueError(f"Gaze in degrees has shape [N, 2], got {list(xy.shape)}.")
    return xy


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
    step = np.diff(_pairs(degrees), axis=0)
    squared = (step**2).sum(axis=1)
    squared = squared[np.isfinite(squared)]
    return float(np.sqrt(squared.mean())) if len(squared) else None


def std_rms(degrees: ArrayLike) -> float | None:
    """Precision: standard deviation around the mean gaze, both axes pooled (√(σx² + σy²)), degrees.

    None with fewer than two samples.
    """
    xy = _pairs(degrees)
    xy = xy[np.isfinite(xy).all(axis=1)]
    return float(np.sqrt(xy.var(axis=0).sum())) if len(xy) >= 2 else None


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
