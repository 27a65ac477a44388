"""How well labels agree with a coder's."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def kappa(a: ArrayLike, b: ArrayLike) -> float | None:
    """Cohen's κ of two yes/no judgements on the same samples, [N] and [N] (Educ Psychol Meas 1960).

    None where it has no value: no samples, or both say the same of every sample.
    """
    x, y = np.asarray(a, dtype=bool), np.asarray(b, dtype=bool)
    if x.shape != y.shape:
        raise ValueError(f"The judgements have shapes {list(x.shape)} and {list(y.shape)}; they must be alike.")
    if not len(x):
        return None
    p, q = float(x.mean()), float(y.mean())
    chance = p * q + (1 - p) * (1 - q)
    return None if chance >= 1.0 else (float((x == y).mean()) - chance) / (1.0 - chance)
