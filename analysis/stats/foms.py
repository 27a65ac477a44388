"""Figures of merit of ratings: AUC, sensitivity and specificity at a threshold, partial AUC.

Each is a :class:`FigureOfMerit`: how its structural components come from ratings, its kernel where it is a U-statistic,
and its value when cases count several times. :mod:`analysis.stats.mrmc` needs nothing else of it.

A case is called positive at or above the threshold. The empirical ROC curve is a polyline with one operating point per
distinct rating, so that ties make sloping segments; a partial area is the exact area under that polyline.

Sources: McClish, Medical Decision Making 9:190 (1989) for partial areas and their standardisation; Jiang, Metz &
Nishikawa, Radiology 201:745 (1996) for areas over a range of sensitivities; He & Escobar, Statistics in Medicine
27:5291 (2008) for the placement values behind the components of a partial area.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from analysis.stats.components import (
    Components,
    Floats,
    Kernel,
    Weighted,
    both_dense,
    components,
    doubled_auc_kernel,
)
from analysis.stats.ratings import RatingsError

FIGURES_OF_MERIT = ("auc", "sensitivity", "specificity", "partial_auc")
Standardise = Literal["none", "range", "mcclish"]
STANDARDISE: tuple[Standardise, ...] = ("none", "range", "mcclish")


@dataclass(frozen=True)
class FigureOfMerit:
    """A two-sample figure of merit of ratings.

    Attributes:
        name: as :func:`analysis.stats.analyze` takes it.
        words: as a result's ``method`` says it.
        short: as a sentence says it of one value.
        informative: whether diseased and non-diseased cases have a part in it.
        components: ratings ``[C, n1]`` and ``[C, n0]`` to :class:`~analysis.stats.components.Components`.
        weighted: values ``[B]`` of one curve ``[n1]``, ``[n0]`` whose cases count ``[B, n1]`` and ``[B, n0]`` times.
        kernel: its doubled kernel; None where it is no U-statistic, and so has no unbiased covariance.
        conventions: what there is to say of how it is computed.
    """

    name: str
    words: str
    short: str
    informative: tuple[bool, bool]
    components: Callable[[Floats, Floats], Components]
    weighted: Weighted
    kernel: Kernel | None
    conventions: tuple[str, ...] = ()


def figure_of_merit(
    name: str,
    *,
    threshold: float | None = None,
    fpr: tuple[float, float] | None = None,
    tpr: tuple[float, float] | None = None,
    standardise: str = "none",
) -> FigureOfMerit:
    """The figure of merit by name, with what it needs.

    Args:
        name: "auc", "sensitivity", "specificity" or "partial_auc".
        threshold: for sensitivity and specificity: a rating at or above it calls a case positive.
        fpr: for a partial AUC: the range of false-positive fractions under which the area lies, within [0, 1].
        tpr: for a partial AUC instead: the range of sensitivities; the area is that to the right of the curve.
        standardise: of a partial AUC: "none" gives the area, "range" the area over the width of its range (the mean
            sensitivity over these false-positive fractions), "mcclish" maps chance to ½ and perfection to 1.

    Raises:
        RatingsError: the name is unknown, or something it needs is absent, superfluous or out of range; one sentence.
    """
    if name not in FIGURES_OF_MERIT:
        raise RatingsError(f"fom is {name!r}; it must be one of {', '.join(map(repr, FIGURES_OF_MERIT))}.")
    at_threshold = name in ("sensitivity", "specificity")
    if at_threshold and threshold is None:
        raise RatingsError(f"The {name} needs a threshold: a case rated at or above it is called positive.")
    if not at_threshold and threshold is not None:
        raise RatingsError(
            f"A threshold is given, and the {_short(name)} has none; ask for sensitivity or specificity."
        )
    if name != "partial_auc":
        if fpr is not None or tpr is not None or standardise != "none":
            raise RatingsError(f"A range of the curve belongs to a partial AUC, not to the {_short(name)}.")
        return _auc() if name == "auc" else _at_threshold(name, threshold)
    if (fpr is None) == (tpr is None):
        raise RatingsError("A partial AUC needs one range of the curve, of false-positive fractions or sensitivities.")
    if standardise not in STANDARDISE:
        raise RatingsError(f"standardise is {standardise!r}; it must be one of {', '.join(map(repr, STANDARDISE))}.")
    return _partial(fpr, tpr, standardise)


def _short(name: str) -> str:
    return {"auc": "AUC", "partial_auc": "partial AUC"}.get(name, name)


def _auc() -> FigureOfMerit:
    return FigureOfMerit("auc", "empirical AUC", "AUC", (True, True), components, _weighted_auc, doubled_auc_kernel)


def _weighted_auc(high: Floats, low: Floats, often1: Floats, often0: Floats) -> Floats:
    p, m = _level_counts(high, low, often1, often0)
    above = m.sum(axis=1, keepdims=True) - m.cumsum(axis=1)
    value: Floats = (p * (above + m / 2)).sum(axis=1) / (p.sum(axis=1) * m.sum(axis=1))
    return value


def _at_threshold(name: str, threshold: float | None) -> FigureOfMerit:
    assert threshold is not None
    if math.isnan(threshold):
        raise RatingsError("The threshold is no number.")
    of_diseased = name == "sensitivity"

    def parts(positives: Floats, negatives: Floats) -> Components:
        high, low = both_dense(positives, negatives)
        own = (high >= threshold if of_diseased else low < threshold).astype(np.float64)
        if own.shape[1] == 0:
            raise ValueError(f"A {name} needs {'' if of_diseased else 'non-'}diseased cases; there are none.")
        value = own.mean(axis=1)
        constant = np.repeat(value[:, None], (low if of_diseased else high).shape[1], axis=1)
        v10, v01 = (own, constant) if of_diseased else (constant, own)
        return Components(value, v10, v01, (of_diseased, not of_diseased))

    def kernel(high: Floats, low: Floats) -> np.ndarray:
        right = high >= threshold if of_diseased else low < threshold
        return np.broadcast_to(2 * right.astype(np.int8), np.broadcast_shapes(high.shape, low.shape))

    def weighted(high: Floats, low: Floats, often1: Floats, often0: Floats) -> Floats:
        own, often = ((high >= threshold), often1) if of_diseased else ((low < threshold), often0)
        value: Floats = often @ own.astype(np.float64) / often.sum(axis=1)
        return value

    own_class, other = ("diseased", "non-diseased") if of_diseased else ("non-diseased", "diseased")
    told = (
        f"Only {own_class} cases carry information. The jackknife leaves out all cases, the {other} ones too, as "
        "MRMCaov does; DeLong's covariance is the jackknife within the class."
    )
    return FigureOfMerit(
        name,
        f"{name} at ratings of {threshold:g} or more",
        name,
        (of_diseased, not of_diseased),
        parts,
        weighted,
        kernel,
        (f"A case is called positive at a rating of {threshold:g} or more.", told),
    )


def _partial(fpr: tuple[float, float] | None, tpr: tuple[float, float] | None, standardise: str) -> FigureOfMerit:
    kind = "false-positive fractions" if fpr is not None else "sensitivities"
    span = fpr if fpr is not None else tpr
    assert span is not None
    low_end, high_end = float(span[0]), float(span[1])
    if not 0 <= low_end < high_end <= 1:
        raise RatingsError(f"The range of {kind} is {low_end:g} to {high_end:g}; it must rise within 0 to 1.")
    # Over sensitivities it is the same area of the curve turned over: diseased and non-diseased change places.
    turned = fpr is None
    start, stop = (1 - high_end, 1 - low_end) if turned else (low_end, high_end)
    width, chance = stop - start, (stop**2 - start**2) / 2
    scale, shift = 1.0, 0.0
    if standardise == "range":
        scale = 1 / width
    elif standardise == "mcclish":
        scale = 1 / (2 * (width - chance))
        shift = 0.5 - chance * scale

    def parts(positives: Floats, negatives: Floats) -> Components:
        high, low = both_dense(positives, negatives)
        if high.shape[1] == 0 or low.shape[1] == 0:
            raise ValueError("A partial AUC needs diseased and non-diseased cases; one of the two classes is empty.")
        if turned:
            high, low = -low, -high
        rows = [_partial_components(high[row], low[row], start, stop) for row in range(len(high))]
        value, v10, v01 = (np.stack([row[k] for row in rows]) * scale + shift for k in range(3))
        return Components(value, v01, v10) if turned else Components(value, v10, v01)

    def weighted(high: Floats, low: Floats, often1: Floats, often0: Floats) -> Floats:
        if turned:
            high, low, often1, often0 = -low, -high, often0, often1
        p, m = _level_counts(high, low, often1, often0)
        n1, n0 = p.sum(axis=1), m.sum(axis=1, keepdims=True)
        ends = m.cumsum(axis=1)
        area = (p * (_ramp(stop * n0, ends, m) - _ramp(start * n0, ends, m))).sum(axis=1) / (n1 * n0[:, 0])
        return area * scale + shift

    said = {
        "none": "The partial AUC is the area itself, not standardised.",
        "range": "The partial AUC is the area over the width of its range.",
        "mcclish": "The partial AUC is standardised after McClish: ½ by chance, 1 when perfect.",
    }
    exact = (
        f"The partial AUC is the exact area {'right of' if turned else 'under'} the empirical curve; ties make sloping "
        "segments."
    )
    pseudo = (
        "Its components are exact pseudo-values of leaving one case out; DeLong's covariance of them is the jackknife "
        "within each class."
    )
    return FigureOfMerit(
        "partial_auc",
        f"partial AUC over {kind} {low_end:g} to {high_end:g}",
        "partial AUC",
        (True, True),
        parts,
        weighted,
        None,
        (exact, said[standardise], pseudo),
    )


def _level_counts(high: Floats, low: Floats, often1: Floats, often0: Floats) -> tuple[Floats, Floats]:
    """Diseased and non-diseased counts per distinct rating, from the highest rating down, ``[B, L]`` each."""
    both = np.concatenate([high, low])
    order = np.argsort(-both, kind="stable")
    falling = both[order]
    starts = np.flatnonzero(np.r_[True, falling[1:] != falling[:-1]])
    diseased = np.concatenate([often1, np.zeros_like(often0)], axis=1)
    nondiseased = np.concatenate([np.zeros_like(often1), often0], axis=1)
    p, m = (np.add.reduceat(counts[:, order], starts, axis=1) for counts in (diseased, nondiseased))
    return p, m


def _ramp(c: Floats | float, ends: Floats, m: Floats) -> Floats:
    """∫ from 0 to c of a level's ramp, which climbs from 0 to 1 over its m non-diseased cases ending at ``ends``."""
    inside = np.clip(c - (ends - m), 0.0, m)
    with np.errstate(divide="ignore", invalid="ignore"):
        climbing = np.where(m > 0, inside**2 / (2 * m), 0.0)
    value: Floats = climbing + np.maximum(c - ends, 0.0)
    return value


def _partial_components(high: Floats, low: Floats, start: float, stop: float) -> tuple[Floats, Floats, Floats]:
    """Partial area of one curve over false-positive fractions, and what each case has of it.

    V10 is the area under the diseased case's own step (or ramp, where it ties). V01 is n0·A − (n0 − 1)·A₋h: without a
    non-diseased case the curve is the same up to that case, and then goes on one case further left.
    """
    n1, n0 = len(high), len(low)
    levels, where = np.unique(-np.concatenate([high, low]), return_inverse=True)
    p = np.bincount(where[:n1], minlength=len(levels)).astype(np.float64)
    m = np.bincount(where[n1:], minlength=len(levels)).astype(np.float64)
    ends, before = m.cumsum(), p.cumsum() - p
    v10 = ((_ramp(stop * n0, ends, m) - _ramp(start * n0, ends, m)) / n0)[where[:n1]]
    value = v10.mean()
    if n0 < 2:
        return value, v10, np.full(n0, value)

    starts = ends - m
    filled = np.r_[0.0, (m * (before + p / 2)).cumsum()]  # area in counts left of each level, and of the end

    def area(c: Floats) -> Floats:
        """Area in counts left of count ``c`` of non-diseased cases."""
        c = np.clip(c, 0.0, n0)
        level = np.minimum(np.searchsorted(ends, c, side="left"), len(levels) - 1)
        inside = c - starts[level]
        slope = np.divide(p[level], 2 * m[level], out=np.zeros_like(inside), where=m[level] > 0)
        return filled[level] + before[level] * inside + slope * inside**2

    k = np.flatnonzero(m > 0)

    def without_one(c: float) -> Floats:
        """Area left of count ``c`` when level k has one non-diseased case fewer."""
        inside = np.clip(c - starts[k], 0.0, m[k] - 1)
        slope = np.divide(p[k], 2 * (m[k] - 1), out=np.zeros(len(k)), where=m[k] > 1)
        within = area(starts[k]) + before[k] * inside + slope * inside**2
        beyond = within + area(np.full(len(k), c + 1)) - area(ends[k])
        same = area(np.full(len(k), c))
        return np.where(c <= starts[k], same, np.where(c > ends[k] - 1, beyond, within))

    left = (without_one(stop * (n0 - 1)) - without_one(start * (n0 - 1))) / (n1 * (n0 - 1))
    per_level = np.zeros(len(levels))
    per_level[k] = n0 * value - (n0 - 1) * left
    return value, v10, per_level[where[n1:]]
