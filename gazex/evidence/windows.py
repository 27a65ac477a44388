"""Which gaze belongs to which sentence."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from gazex.schema import Visit

LEAD_S: Final = 2.0
"""Seconds of gaze before a sentence's first word that belong to it (arXiv 2604.14316, data recipe)."""


def window_of(visit: Visit, sentence: int) -> tuple[float, float]:
    """Gaze window of a sentence, seconds: [first word's start − 2 s, last word's end]."""
    _, t0, t1 = visit.sentences[sentence]
    return t0 - LEAD_S, t1


def gaze_in(
    visit: Visit, start: float, end: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Finite gaze samples within [start, end] that lie on the image: `(t_s, x, y)`, each [n], possibly empty."""
    some = slice(*(int(v) for v in (visit.t_s.searchsorted(start), visit.t_s.searchsorted(end, side="right"))))
    t, x, y = visit.t_s[some], visit.x[some], visit.y[some]
    with np.errstate(invalid="ignore"):  # comparisons leave NaN out
        keep = (x >= -0.5) & (x < visit.columns - 0.5) & (y >= -0.5) & (y < visit.rows - 0.5)
    return t[keep], x[keep], y[keep]
