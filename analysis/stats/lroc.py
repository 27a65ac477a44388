"""Localisation studies (LROC): one place and one rating on every case, the place right or wrong.

With x_d the rating of diseased case d, c_d whether the place marked on it is the lesion's, and y_h the rating of normal
case h, the LROC curve has the fraction of diseased cases that are rated at or above a threshold *and* located correctly
over the fraction of normal cases rated at or above it. Its figures of merit:

    ALROC    mean over pairs of c_d ψ(y_h, x_d), ψ = 1 if x > y, ½ if x = y, 0 if x < y: the area under the curve
    PCL      the curve's height at a false-positive fraction that was named beforehand; at 1 it is the fraction located

A wrong place counts as no detection at any threshold, so ALROC runs from 0 to the fraction located, not from ½.

Sources:
    Swensson, Medical Physics 23:1709 (1996): the LROC curve, its area, and PCL.
    Popescu, Medical Physics 34:1556 (2007): the area without a parametric form, as a two-sample statistic with this ψ.
    Efron & Stein, Annals of Statistics 9:586 (1981): the jackknife.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.stats.components import COVARIANCES as TWO_SAMPLE
from analysis.stats.components import components
from analysis.stats.curves import Curve
from analysis.stats.froc import covariance_words
from analysis.stats.obuchowski_rockette import Truncation
from analysis.stats.options import check_level, check_margin, known, random_of
from analysis.stats.ratings import Ratings, RatingsError, name_of, read_ratings, row_word, sentence_list
from analysis.stats.results import MULTIPLICITY, Multiplicity, Result, result_from

Floats = NDArray[np.float64]

FIGURES_OF_MERIT = ("alroc", "pcl")
COVARIANCES = ("jackknife", "delong", "unbiased")


@dataclass(frozen=True)
class Localisations:
    """A checked LROC table.

    Attributes:
        ratings: the table without the places.
        correct: bool ``[I, J, n1]``, whether the place marked on each diseased case is the lesion's.
    """

    ratings: Ratings
    correct: NDArray[np.bool_]


def read_localisations(frame: pd.DataFrame) -> Localisations:
    """Check an LROC table.

    Args:
        frame: columns ``reader, treatment, case, truth, rating, correct``; ``correct`` is 1 where the place marked on a
            diseased case is the lesion's, else 0, and 0 or empty on a normal case. Everything else as in
            :func:`analysis.stats.ratings.read_ratings`.

    Raises:
        RatingsError: one sentence that names the row, counted from 1 without the header.
    """
    if "correct" not in frame.columns:
        raise RatingsError(
            "The ratings table lacks the column correct; it is 1 where the place marked on a diseased case is the "
            "lesion's, and 0 where it is not."
        )
    table = read_ratings(frame)
    if table.missing:
        named = sentence_list([f"reader {r} has no rating of case {c} under {t}" for r, t, c in table.missing])
        raise RatingsError(
            f"{len(table.missing)} ratings are missing: {named}; an LROC analysis needs every reader to rate "
            "every case under every treatment."
        )
    place = [
        {name: position for position, name in enumerate(names)}
        for names in (table.treatments, table.readers, table.cases)
    ]
    correct = np.zeros(table.scores.shape, dtype=bool)
    columns = (frame[name].tolist() for name in ("treatment", "reader", "case", "correct"))
    for row, (treatment, reader, case, given) in enumerate(zip(*columns, strict=True)):
        at = tuple(index[name_of(value)] for index, value in zip(place, (treatment, reader, case), strict=True))
        names = f"(reader {name_of(reader)}, treatment {name_of(treatment)}, case {name_of(case)})"
        where = f"{row_word(frame, row)} {names}"
        value = _zero_or_one(given)
        if value is None and (table.truth[at[2]] or not _empty(given)):
            raise RatingsError(
                f"correct of {where} is {'missing' if _empty(given) else repr(given)}; it must be 1 (the lesion's "
                "place) or 0."
            )
        if value and not table.truth[at[2]]:
            raise RatingsError(
                f"correct of {where} is 1 and the case is not diseased; there is no lesion to locate: write 0."
            )
        correct[at] = bool(value)
    return Localisations(table, correct[:, :, table.truth])


def _empty(value: object) -> bool:
    return value is None or value is pd.NA or value == "" or (isinstance(value, float) and math.isnan(value))


def _zero_or_one(value: object) -> int | None:
    try:
        number = float(str(value)) if not isinstance(value, bool | np.bool_) else float(value)
    except ValueError:
        return None
    return int(number) if number in (0, 1) else None


def lowered(table: Localisations) -> tuple[Floats, Floats]:
    """Ratings on which the AUC kernel is ALROC's: ``[I·J, n1]`` and ``[I·J, n0]``.

    Ratings are replaced by their ranks among all, equal ones sharing a rank, and a wrongly located lesion falls
    below every rank, so that it never ties even with a normal case rated −∞.
    """
    rows = table.ratings.scores.shape[0] * table.ratings.scores.shape[1]
    n1 = table.correct.shape[2]
    both = np.concatenate([table.ratings.positives, table.ratings.negatives], axis=2).reshape(rows, -1)
    ranks = np.unique(both, return_inverse=True)[1].reshape(rows, -1).astype(np.float64) + 1.0
    return np.where(table.correct.reshape(rows, n1), ranks[:, :n1], 0.0), ranks[:, n1:]


def lroc_curve(table: Localisations, treatment: str, reader: str) -> Curve:
    """One reader's empirical LROC curve, from (0, 0) to (1, fraction located); ``tpr`` is the fraction located.

    Raises:
        ValueError: there is no such treatment or reader, or one class is empty.
    """
    ratings = table.ratings
    if treatment not in ratings.treatments or reader not in ratings.readers:
        raise ValueError(f"There is no reader {reader!r} under treatment {treatment!r} in this study.")
    i, j = ratings.treatments.index(treatment), ratings.readers.index(reader)
    x, y, correct = ratings.positives[i, j], ratings.negatives[i, j], table.correct[i, j]
    if not x.size or not y.size:
        raise ValueError("An LROC curve needs diseased and non-diseased cases; one of the two classes is empty.")
    levels = np.unique(np.concatenate([x, y]))[::-1]
    alarms = np.array([(y >= level).mean() for level in levels])
    hits = np.array([(correct & (x >= level)).mean() for level in levels])
    return Curve(np.r_[0.0, alarms], np.r_[0.0, hits], np.r_[np.inf, levels])


def fraction_located(x: Floats, y: Floats, fpf: float) -> float:
    """PCL: the LROC curve's height at ``fpf``, on the straight line between two of its points.

    Args:
        x: ratings of diseased cases, wrongly located ones below every other rating, ``[n1]`` (:func:`lowered`).
        y: ratings of normal cases, above 0, ``[n0]``.
        fpf: false-positive fraction; where the curve rises vertically there, the upper end is taken.
    """
    ascending, counts = np.unique(y, return_counts=True)
    levels = ascending[::-1]
    alarms = np.r_[0, np.cumsum(counts[::-1])] / len(y)
    right = int(np.searchsorted(alarms, fpf + 1e-12, side="right"))
    # Just right of alarms[k] the threshold is at levels[k]: what lies above that was reached without more alarms.
    if abs(alarms[right - 1] - fpf) <= 1e-12:
        floor = levels[right - 1] if right - 1 < len(levels) else 0.0
        return float((x > floor).mean())
    low = (x > levels[right - 1]).mean()
    high = (x >= levels[right - 1]).mean()
    return float(low + (high - low) * (fpf - alarms[right - 1]) / (alarms[right] - alarms[right - 1]))


def analyze_lroc(
    frame: pd.DataFrame,
    fom: str = "alroc",
    covariance: str = "jackknife",
    random: str = "readers_cases",
    margin: float | None = None,
    *,
    fpf: float | None = None,
    reference: str | None = None,
    alpha: float = 0.05,
    truncation: Truncation = "truncate",
    equivalence: bool = False,
    multiplicity: str = "holm",
) -> Result:
    """Compare treatments over readers and cases on ALROC or PCL.

    Args:
        frame: see :func:`read_localisations`.
        fom: "alroc", or "pcl" at the false-positive fraction ``fpf``.
        covariance: "jackknife", or for ALROC "delong" or "unbiased" as well.
        fpf: in (0, 1]; needed for "pcl".
        random, margin, reference, alpha, equivalence, multiplicity: see :func:`analysis.stats.analyze`.
        truncation: of Cov2 − Cov3 when only cases are random; "truncate" follows RJafroc.

    Returns:
        The result of :func:`analysis.stats.analyze`; its ``auc`` holds the figures of merit.

    Raises:
        RatingsError: the table is faulty, or an argument names nothing known; one sentence.
    """
    known("fom", fom, FIGURES_OF_MERIT)
    known("covariance", covariance, COVARIANCES)
    known("truncation", truncation, ("none", "truncate"))
    known("multiplicity", multiplicity, MULTIPLICITY)
    law = random_of(random)
    check_margin(margin, equivalence=equivalence)
    check_level(alpha)
    if fom == "pcl" and covariance != "jackknife":
        raise RatingsError("PCL at a false-positive fraction has no structural components; use the jackknife.")
    if fom == "pcl" and (fpf is None or not 0 < fpf <= 1):
        raise RatingsError(f"PCL needs the false-positive fraction it is taken at, above 0 and at most 1, not {fpf}.")
    table = read_localisations(frame)
    ratings = table.ratings
    shape = ratings.scores.shape[:2]
    n1, n0 = int(ratings.truth.sum()), int((~ratings.truth).sum())
    why, errors = "", None
    foms = np.full(shape, np.nan)
    if n1 == 0 or n0 == 0:
        word = "diseased" if n1 == 0 else "non-diseased"
        why = f"not estimable, because no case is {word}: an LROC curve needs both classes"
    else:
        x, y = lowered(table)
        few = n1 < 2 or n0 < 2
        if few:
            why = (
                "not estimable, because a variance over cases needs two cases of each class; "
                f"there are {n1} diseased and {n0} non-diseased"
            )
        if fom == "alroc":
            parts = components(x, y)
            foms = parts.auc.reshape(shape)
            errors = None if few else TWO_SAMPLE[covariance](parts, x, y)
        else:
            assert fpf is not None
            foms = np.array([fraction_located(x[c], y[c], fpf) for c in range(len(x))]).reshape(shape)
            errors = None if few else _leave_one_out(x, y, fpf)
    words = "ALROC" if fom == "alroc" else f"PCL at a false-positive fraction of {fpf:g}"
    conventions = ["A wrongly located lesion counts as undetected at every threshold, whatever its rating."]
    if fom == "pcl":
        conventions.append("PCL is read off the straight line between two points of the empirical LROC curve.")
    return result_from(
        fom=fom,
        covariance=covariance,
        random=law,
        margin=margin,
        alpha=alpha,
        reference=reference,
        readers=ratings.readers,
        treatments=ratings.treatments,
        diseased=n1,
        nondiseased=n0,
        foms=foms,
        errors=errors,
        method_words=f"{words}, {covariance_words(covariance)}",
        conventions=conventions,
        why=why,
        truncation=truncation,
        equivalence=equivalence,
        multiplicity=cast(Multiplicity, multiplicity),
    )


def _leave_one_out(x: Floats, y: Floats, fpf: float) -> Floats:
    """Jackknife covariance of PCL, ``[C, C]``, every case left out once and the curve read again."""
    n1, n = x.shape[1], x.shape[1] + y.shape[1]
    without = np.array(
        [
            [fraction_located(np.delete(x[c], k), y[c], fpf) for k in range(n1)]
            + [fraction_located(x[c], np.delete(y[c], k), fpf) for k in range(n - n1)]
            for c in range(len(x))
        ]
    )
    centred = without - without.mean(axis=1, keepdims=True)
    return (n - 1) / n * (centred @ centred.T)
