"""Free-response studies: any number of marks on a case, each with a place and a rating.

A mark near a lesion is a lesion localisation (LL), any other a non-lesion localisation (NL); that call is made before
the table is written. With y_h the highest NL rating on case h (−∞ without one), z_l the rating of lesion l (−∞
unmarked) and ψ(y, z) = 1 if z > y, ½ if z = y, 0 if z < y, the figures of merit of one reader under one treatment are

    wAFROC   mean over normal cases h and diseased cases d of Σ over the lesions l of d of w_l ψ(y_h, z_l), Σ w_l = 1
    AFROC    mean over normal cases h and all lesions l of ψ(y_h, z_l): a case counts as often as it has lesions
    wAFROC1, AFROC1   the same with h running over all cases, the diseased ones included
    HrAUC    the empirical ROC area of the highest rating of any mark on each case

Two unmarked things tie: ψ(−∞, −∞) = ½, which is what makes each figure the area under its curve once the curve's last
point is joined to (1, 1). NL marks on diseased cases do not enter wAFROC and AFROC.

Sources:
    Chakraborty & Berbaum, Medical Physics 31:2313 (2004): AFROC area and jackknife analysis (JAFROC).
    Chakraborty & Zhai, Medical Physics 43:2548 (2016): wAFROC, its curve, and the weights.
    Chakraborty, Observer Performance Methods for Diagnostic Imaging (2017), ch. 13–14: all of them in one notation.
    Efron & Stein, Annals of Statistics 9:586 (1981): the jackknife; DeLong et al., Biometrics 44:837 (1988): V10, V01.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.stats.components import Components, components, delong_covariance
from analysis.stats.mrmc import Result, result_from
from analysis.stats.obuchowski_rockette import RANDOM, Random, Truncation
from analysis.stats.ratings import RatingsError, in_order, name_of, sentence_list

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

MARK_COLUMNS = ("reader", "treatment", "case", "truth", "mark", "lesion", "rating")
TRUTH_COLUMNS = ("case", "truth", "lesion", "weight")
FIGURES_OF_MERIT = ("wafroc", "afroc", "wafroc1", "afroc1", "hrauc")
COVARIANCES = ("jackknife", "delong", "bootstrap")

#: A case's weights may miss one by this much, as rounded decimals do (.333 three times); they are then scaled to one.
_ROUNDING = 1e-3
_NO_LESION = ("", "0", "na", "nan", "none")
_WORDS = {"wafroc": "wAFROC", "afroc": "AFROC", "wafroc1": "wAFROC1", "afroc1": "AFROC1", "hrauc": "highest-rating AUC"}


@dataclass(frozen=True)
class Marks:
    """A checked free-response study.

    Attributes:
        readers: names of the J readers, in order.
        treatments: names of the I treatments, in order.
        cases: names of the n cases, in order.
        truth: bool ``[n]``, True for a diseased case.
        lesions: names of the L lesions, in the order of their cases.
        lesion_case: ``[L]``, the position of each lesion's case in ``cases``.
        weights: ``[L]``, summing to one within a case; None where the truth table's do not and were not asked for.
        lesion_ratings: ``[I, J, L]``, −inf where the lesion was not marked.
        highest: ``[I, J, n]``, the highest NL rating on each case, −inf where there is none.
        nl_cell: ``[M]``, i·J + j of each NL mark.
        nl_case: ``[M]``, the position of its case.
        nl_rating: ``[M]``.
    """

    readers: tuple[str, ...]
    treatments: tuple[str, ...]
    cases: tuple[str, ...]
    truth: NDArray[np.bool_]
    lesions: tuple[str, ...]
    lesion_case: Ints
    weights: Floats | None
    lesion_ratings: Floats
    highest: Floats
    nl_cell: Ints
    nl_case: Ints
    nl_rating: Floats
    warnings: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int]:
        """(I, J)."""
        return len(self.treatments), len(self.readers)


# The tables in -------------------------------------------------------------------------------------------------------


def read_marks(
    marks: pd.DataFrame,
    truth: pd.DataFrame,
    *,
    weighted: bool = True,
    readers: Sequence[object] | None = None,
    treatments: Sequence[object] | None = None,
) -> Marks:
    """Check the two tables of a free-response study and lay them out as arrays.

    Args:
        marks: one row per mark, columns ``reader, treatment, case, truth, mark, lesion, rating``. ``mark`` is LL or NL;
            ``lesion`` names the lesion of an LL and is 0 or empty for an NL. Several NL marks on a case are usual, also
            with equal ratings; a lesion is marked at most once by a reader under a treatment.
        truth: one row per lesion, columns ``case, truth, lesion, weight``; a normal case has one row with lesion 0 and
            weight 0. Cases that nobody marked stand only here.
        weighted: whether the weights are needed; if not, they may be absent or sum to anything.
        readers, treatments: who read and how, where somebody may have made no mark at all; else those in ``marks``.

    Every reader is taken to have read every case under every treatment: a table of marks cannot say otherwise. Where a
    reader has no mark under a treatment, ``warnings`` says so.

    Raises:
        RatingsError: one sentence that names the row. Rows are counted from 1 without the header.
    """
    cases, diseased, lesions, weights = _read_truth(truth, weighted)
    _columns(marks, MARK_COLUMNS, "marks", "one row per mark")
    if marks.empty and (not readers or not treatments):
        raise RatingsError("The marks table has no rows; nothing can be analysed.")

    reader_of, reader_names = _labels(marks, "reader", readers)
    treatment_of, treatment_names = _labels(marks, "treatment", treatments)
    case_of = [_label(value) for value in marks["case"].tolist()]
    lesion_of = [_label(value) for value in marks["lesion"].tolist()]
    words = [_label(value).upper() for value in marks["mark"].tolist()]
    said = _numbers(marks, "truth", "marks")
    rating = _numbers(marks, "rating", "marks")

    place = {name: position for position, name in enumerate(cases)}
    lesion_place = {lesion: position for position, lesion in enumerate(lesions)}
    cell = [treatment_of[row] * len(reader_names) + reader_of[row] for row in range(len(marks))]
    lesion_ratings = np.full((len(treatment_names) * len(reader_names), len(lesions)), -np.inf)
    first: dict[tuple[int, int], int] = {}
    nl_rows: list[int] = []
    for row, (case, lesion, word) in enumerate(zip(case_of, lesion_of, words, strict=True)):
        if case not in place:
            raise RatingsError(
                f"The case of {_place(marks, row)} is not in the truth table; add it there or take the mark out."
            )
        if said[row] not in (0, 1) or bool(said[row]) != diseased[place[case]]:
            raise RatingsError(
                f"The truth of {_place(marks, row)} is {said[row]:g} and the truth table says "
                f"{int(diseased[place[case]])}; a case has one truth."
            )
        if word not in ("LL", "NL"):
            raise RatingsError(
                f"The mark of {_place(marks, row)} is {marks['mark'].iloc[row]!r}; it must be LL (on a lesion) or NL "
                "(elsewhere)."
            )
        if word == "NL":
            if lesion.lower() not in _NO_LESION:
                raise RatingsError(
                    f"The mark of {_place(marks, row)} is NL and names the lesion {lesion}; write lesion 0, or LL."
                )
            nl_rows.append(row)
            continue
        position = lesion_place.get((place[case], lesion))
        if position is None:
            raise RatingsError(
                f"The mark of {_place(marks, row)} is LL on the lesion {lesion or '(none)'}, which the truth table "
                f"does not have for case {case}; add it there, or mark NL."
            )
        key = (cell[row], position)
        if key in first:
            raise RatingsError(
                f"The lesion {lesion} of {_place(marks, row)} was already marked in row {first[key] + 1}; keep one "
                "mark per lesion, the highest rated."
            )
        first[key] = row
        lesion_ratings[key] = rating[row]

    nl = np.array(nl_rows, dtype=np.intp)
    nl_cell = np.array(cell, dtype=np.intp)[nl]
    nl_case = np.array([place[case_of[row]] for row in nl_rows], dtype=np.intp)
    highest = np.full((len(treatment_names) * len(reader_names), len(cases)), -np.inf)
    np.maximum.at(highest, (nl_cell, nl_case), rating[nl])

    shape = (len(treatment_names), len(reader_names))
    warnings = []
    unmarked = sorted(set(range(shape[0] * shape[1])) - set(cell))
    if unmarked:
        named = [f"reader {reader_names[at % shape[1]]} under {treatment_names[at // shape[1]]}" for at in unmarked]
        warnings.append(
            f"No mark at all: {sentence_list(named)}; taken to have read every case and marked none. If one did not "
            "read, leave that reader or treatment out."
        )
    lowest = np.flatnonzero(np.isneginf(rating))
    if lowest.size:
        warnings.append(f"A mark rated −∞ counts as no mark: {lowest.size} of {len(rating)} marks.")
    return Marks(
        readers=reader_names,
        treatments=treatment_names,
        cases=cases,
        truth=diseased,
        lesions=tuple(name for _, name in lesions),
        lesion_case=np.array([case for case, _ in lesions], dtype=np.intp),
        weights=weights,
        lesion_ratings=lesion_ratings.reshape(*shape, len(lesions)),
        highest=highest.reshape(*shape, len(cases)),
        nl_cell=nl_cell,
        nl_case=nl_case,
        nl_rating=rating[nl],
        warnings=tuple(warnings),
    )


def _read_truth(
    frame: pd.DataFrame, weighted: bool
) -> tuple[tuple[str, ...], NDArray[np.bool_], list[tuple[int, str]], Floats | None]:
    """Case names, truth ``[n]``, lesions as (case, name) sorted by case, and their weights."""
    _columns(frame, TRUTH_COLUMNS if weighted else TRUTH_COLUMNS[:3], "truth", "one row per lesion or normal case")
    if frame.empty:
        raise RatingsError("The truth table has no rows; nothing can be analysed.")
    case_of, cases = _labels(frame, "case", None, table="truth")
    truth = _numbers(frame, "truth", "truth")
    weight = _numbers(frame, "weight", "truth") if weighted else np.zeros(len(frame))
    lesion_of = [_label(value) for value in frame["lesion"].tolist()]

    first: dict[int, int] = {}
    seen: dict[tuple[int, str], int] = {}
    for row, case in enumerate(case_of):
        where = _truth_place(frame, row)
        if truth[row] not in (0, 1):
            raise RatingsError(
                f"The truth of {where} is {frame['truth'].iloc[row]}; it must be 1 (diseased) or 0 (normal)."
            )
        named = lesion_of[row].lower() not in _NO_LESION
        if case in first and truth[first[case]] != truth[row]:
            raise RatingsError(
                f"Case {cases[case]} has truth {truth[row]:g} in {where} and {truth[first[case]]:g} in row "
                f"{first[case] + 1}; a case has one truth."
            )
        if truth[row] and not named:
            raise RatingsError(f"The case of {where} is diseased and the row names no lesion; name each lesion.")
        if not truth[row] and (named or weight[row] != 0):
            raise RatingsError(f"The case of {where} is normal; it needs lesion 0 and weight 0.")
        key = (case, lesion_of[row] if truth[row] else "")
        if key in seen:
            raise RatingsError(f"The {where} repeats row {seen[key] + 1}; keep one row per lesion or normal case.")
        if weighted and truth[row] and not 0 < weight[row] <= 1 + _ROUNDING:
            raise RatingsError(
                f"The weight of {where} is {weight[row]:g}; a lesion's weight is above 0 and at most 1, and those of a "
                "case sum to 1."
            )
        first.setdefault(case, row)
        seen[key] = row

    diseased = np.zeros(len(cases), dtype=bool)
    for case, row in first.items():
        diseased[case] = bool(truth[row])
    rows = sorted((row for row in range(len(frame)) if truth[row]), key=lambda row: case_of[row])
    lesions = [(case_of[row], lesion_of[row]) for row in rows]
    if not weighted:
        return cases, diseased, lesions, None
    place = np.array([case for case, _ in lesions], dtype=np.intp)
    weights = weight[rows]
    totals = np.bincount(place, weights=weights, minlength=len(cases))
    wrong = np.flatnonzero(diseased & (np.abs(totals - 1) > _ROUNDING))
    if wrong.size:
        case = int(wrong[0])
        raise RatingsError(
            f"The weights of case {cases[case]} (from {_truth_place(frame, first[case])}) sum to {totals[case]:.6g}; "
            "those of a case's lesions must sum to 1."
        )
    return cases, diseased, lesions, weights / totals[place]


def _columns(frame: pd.DataFrame, needed: Sequence[str], table: str, grain: str) -> None:
    absent = [column for column in needed if column not in frame.columns]
    if absent:
        raise RatingsError(
            f"The {table} table lacks the column {', '.join(absent)}; it needs {', '.join(needed)}, {grain}."
        )


def _label(value: object) -> str:
    return "" if _absent(value) else name_of(value).strip()


def _absent(value: object) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


def _labels(
    frame: pd.DataFrame, column: str, wanted: Sequence[object] | None, table: str = "marks"
) -> tuple[list[int], tuple[str, ...]]:
    """The position of each row's label, and the labels in order."""
    found = [_label(value) for value in frame[column].tolist()]
    if "" in found:
        raise RatingsError(f"Row {found.index('') + 1} of the {table} table has no {column}; give every row one.")
    if wanted is None:
        names = tuple(str(name) for name in in_order(found))
    else:
        names = tuple(dict.fromkeys(name_of(name) for name in wanted))
        for row, name in enumerate(found):
            if name not in names:
                raise RatingsError(f"The {column} of {_place(frame, row)} is not among {', '.join(names)}.")
    index = {name: position for position, name in enumerate(names)}
    return [index[name] for name in found], names


def _place(frame: pd.DataFrame, position: int) -> str:
    row = frame.iloc[position]
    return (
        f"row {position + 1} (reader {name_of(row['reader'])}, treatment {name_of(row['treatment'])}, "
        f"case {name_of(row['case'])})"
    )


def _truth_place(frame: pd.DataFrame, position: int) -> str:
    row = frame.iloc[position]
    return f"row {position + 1} of the truth table (case {name_of(row['case'])}, lesion {name_of(row['lesion'])})"


def _numbers(frame: pd.DataFrame, column: str, table: str) -> Floats:
    place = _place if table == "marks" else _truth_place
    values = np.empty(len(frame))
    for row, value in enumerate(frame[column].tolist()):
        if _absent(value) or (isinstance(value, str) and not value.strip()):
            raise RatingsError(f"The {column} of {place(frame, row)} is missing; every row needs one.")
        try:
            values[row] = float(value)
        except (TypeError, ValueError):
            values[row] = math.nan
        if math.isnan(values[row]):
            raise RatingsError(
                f"The {column} of {place(frame, row)} is the text {str(value)!r}; it must be a number."
            ) from None
    return values


# Figures of merit and their variation over cases ---------------------------------------------------------------------


@dataclass(frozen=True)
class Figures:
    """A figure of merit of C = I·J cells (treatment-major) with what its covariance needs.

    Attributes:
        foms: ``[C]``; NaN where there is no case to compute it from.
        why: why there is no covariance; empty where there is one.
        without: ``[C, n]``, the figure with each case left out; normal cases first, then diseased ones.
        parts: structural components whose DeLong covariance is the figure's; None where the figure has no two-sample
            form (wAFROC1 and AFROC1, where a diseased case also gives false positives).
        kernels: for the bootstrap, one ``[rows, n1]`` matrix per cell: the case-by-case sums of a_l ψ, its rows the
            cases that give false positives (normal ones first).
        sizes: ``[n1]``, what a diseased case adds to the denominator (1, or its number of lesions).
        everyone: whether diseased cases give false positives too.
    """

    foms: Floats
    why: str
    without: Floats
    parts: Components | None
    kernels: Callable[[], list[Floats]]
    sizes: Floats
    everyone: bool = False


def figures_of_merit(table: Marks, fom: str = "wafroc") -> Figures:
    """The figure of merit of every reader under every treatment, and its leave-one-case-out values in closed form.

    With a_l the weight of a lesion (1 for AFROC), m_d the sum over a case's lesions and M over all, s_d = Σ a_l times
    the mean of ψ over the K cases that give false positives, and A = Σ s_d / M:

        without diseased case d, two samples:  (M A − s_d) / (M − m_d)
        without normal case h:                 (K A − V01[h]) / (K − 1),  V01[h] = Σ a_l ψ(y_h, z_l) / M
        without d where d also gives a false positive: (K M A − K s_d − r_d + o_d) / ((K − 1)(M − m_d)),
            r_d = Σ over all lesions of a_l ψ(y_d, z_l), o_d the same over d's own lesions

    Raises:
        ValueError: weights are needed and the table was read without them.
    """
    everyone = fom in ("wafroc1", "afroc1")
    normal, diseased = np.flatnonzero(~table.truth), np.flatnonzero(table.truth)
    n0, n1 = len(normal), len(diseased)
    cells = table.shape[0] * table.shape[1]
    why = _why_not(fom, n0, n1, everyone)
    givers = np.concatenate([normal, diseased]) if everyone else normal
    k = len(givers)
    if n1 == 0 or k == 0:
        return Figures(np.full(cells, np.nan), why, np.empty((cells, 0)), None, list, np.empty(0))
    highest = table.highest.reshape(cells, -1)
    lesion_ratings = table.lesion_ratings.reshape(cells, -1)
    if fom == "hrauc":
        return _highest_rating(highest, lesion_ratings, table.lesion_case, normal, diseased, why)

    owner: Ints = np.searchsorted(diseased, table.lesion_case).astype(np.intp)
    a = np.ones(len(owner))
    if fom.startswith("w"):
        if table.weights is None:
            raise ValueError("The weighted figure of merit needs lesion weights, and the table was read without them.")
        a = table.weights
    sizes = np.bincount(owner, weights=a, minlength=n1)
    total = sizes.sum()
    foms, v10, v01 = np.empty(cells), np.empty((cells, n1)), np.empty((cells, n0))
    without = np.empty((cells, n0 + n1))
    for c in range(cells):
        y, z = highest[c, givers], lesion_ratings[c]
        share = _share_below(z, y)
        s = np.bincount(owner, weights=a * share, minlength=n1)
        r = _weight_above(y, z, a)
        # Rounded weights must not hide a perfect reader, whose variance is zero.
        foms[c] = share[0] if (share == share[0]).all() else s.sum() / total
        v01[c] = r[:n0] / total
        v10[c] = foms[c] + (s - sizes * foms[c]) * n1 / total
        if why:
            continue
        without[c, :n0] = (k * foms[c] - v01[c]) / (k - 1)
        if everyone:
            own_y = highest[c, diseased][owner]
            o = np.bincount(owner, weights=a * ((z > own_y) + 0.5 * (z == own_y)), minlength=n1)
            without[c, n0:] = (k * total * foms[c] - k * s - r[n0:] + o) / ((k - 1) * (total - sizes))
        else:
            without[c, n0:] = (total * foms[c] - s) / (total - sizes)

    def kernels() -> list[Floats]:
        return [_kernel(highest[c, givers], lesion_ratings[c], a, owner, n1) for c in range(cells)]

    return Figures(foms, why, without, None if everyone else Components(foms, v10, v01), kernels, sizes, everyone)


def _why_not(fom: str, n0: int, n1: int, everyone: bool) -> str:
    """Why there is no covariance, or none of the figure at all."""
    if n1 == 0:
        return f"not estimable, because no case is diseased: {_WORDS[fom]} needs lesions"
    if n0 == 0 and not everyone:
        return f"not estimable, because no case is normal: {_WORDS[fom]} takes its false positives from normal cases"
    if n1 < 2 or (n0 < 2 and not everyone):
        needed = "two diseased cases" if everyone else "two cases of each class"
        return f"not estimable, because a variance over cases needs {needed}; there are {n1} diseased and {n0} normal"
    return ""


def _highest_rating(
    highest: Floats, lesion_ratings: Floats, lesion_case: Ints, normal: Ints, diseased: Ints, why: str
) -> Figures:
    top = highest.copy()
    for position, case in enumerate(lesion_case):
        top[:, case] = np.maximum(top[:, case], lesion_ratings[:, position])
    parts = components(top[:, diseased], top[:, normal])
    auc, n0, n1 = parts.auc[:, None], len(normal), len(diseased)
    without = np.empty((len(auc), 0))
    if not why:
        without = np.concatenate([(n0 * auc - parts.v01) / (n0 - 1), (n1 * auc - parts.v10) / (n1 - 1)], axis=1)
    owner = np.arange(n1, dtype=np.intp)

    def kernels() -> list[Floats]:
        return [_kernel(row[normal], row[diseased], np.ones(n1), owner, n1) for row in top]

    return Figures(parts.auc, why, without, parts, kernels, np.ones(n1))


def _share_below(z: Floats, y: Floats) -> Floats:
    """Mean over y of ψ(y, z), for each z."""
    ordered = np.sort(y)
    return (np.searchsorted(ordered, z, "left") + np.searchsorted(ordered, z, "right")) / (2 * len(y))


def _weight_above(y: Floats, z: Floats, a: Floats) -> Floats:
    """Σ over lesions of a ψ(y, z), for each y."""
    order = np.argsort(z, kind="stable")
    running = np.r_[0.0, np.cumsum(a[order])]
    ordered = z[order]
    below, at_most = running[np.searchsorted(ordered, y, "left")], running[np.searchsorted(ordered, y, "right")]
    return running[-1] - (below + at_most) / 2


def _kernel(y: Floats, z: Floats, a: Floats, owner: Ints, n1: int) -> Floats:
    kernel = np.zeros((len(y), n1))
    psi = a * ((z > y[:, None]) + 0.5 * (z == y[:, None]))
    for position, case in enumerate(owner):
        kernel[:, case] += psi[:, position]
    return kernel


def covariance_of(figures: Figures, covariance: str = "jackknife", *, bootstraps: int = 2000, seed: int = 0) -> Floats:
    """Covariance over cases of the C figures of merit, ``[C, C]``.

    Args:
        covariance: "jackknife": (n−1)/n · Σ over all n cases of centred leave-one-out values, as RJafroc does.
            "delong": cov(V10)/n1 + cov(V01)/n0; AFROC is a ratio, so its V10 is linearised, A + (s_d − m_d A)·n1/M.
            "bootstrap": cases drawn with replacement within each class.
        bootstraps: how many samples, for the bootstrap.
        seed: of the bootstrap's generator.

    Raises:
        RatingsError: DeLong was asked for a figure in which diseased cases give false positives too.
    """
    if covariance == "jackknife":
        n = figures.without.shape[1]
        centred = figures.without - figures.without.mean(axis=1, keepdims=True)
        return (n - 1) / n * (centred @ centred.T)
    if covariance == "delong":
        if figures.parts is None:
            raise RatingsError(
                "DeLong's covariance needs normal and diseased cases to be two samples; with wAFROC1 and AFROC1 "
                "diseased cases give false positives too: use the jackknife."
            )
        return delong_covariance(figures.parts)
    rng = np.random.default_rng(seed)
    n1 = len(figures.sizes)
    n0 = figures.without.shape[1] - n1
    drawn0, drawn1 = _draws(rng, n0, bootstraps), _draws(rng, n1, bootstraps)
    givers = np.concatenate([drawn0, drawn1], axis=1) if figures.everyone else drawn0
    found = [
        ((givers @ kernel) * drawn1).sum(axis=1) / (givers.sum(axis=1) * (drawn1 @ figures.sizes))
        for kernel in figures.kernels()
    ]
    return np.atleast_2d(np.cov(np.array(found)))


def _draws(rng: np.random.Generator, n: int, samples: int) -> Floats:
    """How often each of n cases is drawn in each sample, ``[samples, n]``."""
    if n == 0:
        return np.empty((samples, 0))
    return rng.multinomial(n, np.full(n, 1 / n), size=samples).astype(np.float64)


# The whole analysis --------------------------------------------------------------------------------------------------


def analyze_froc(
    marks: pd.DataFrame,
    truth: pd.DataFrame,
    fom: str = "wafroc",
    covariance: str = "jackknife",
    random: str = "readers_cases",
    margin: float | None = None,
    *,
    reference: str | None = None,
    alpha: float = 0.05,
    truncation: Truncation = "truncate",
    readers: Sequence[object] | None = None,
    treatments: Sequence[object] | None = None,
    bootstraps: int = 2000,
    seed: int = 0,
) -> Result:
    """Compare treatments over readers and cases on a free-response figure of merit.

    Args:
        marks, truth, readers, treatments: see :func:`read_marks`.
        fom: "wafroc", "afroc", "wafroc1", "afroc1" or "hrauc".
        covariance, bootstraps, seed: see :func:`covariance_of`.
        random, margin, reference, alpha: see :func:`analysis.stats.analyze`.
        truncation: of Cov2 − Cov3 when only cases are random; "truncate" follows RJafroc.

    Returns:
        The result of :func:`analysis.stats.analyze`; its ``auc`` holds the figures of merit.

    Raises:
        RatingsError: a table is faulty, or an argument names nothing known; one sentence.
    """
    check_options(fom, FIGURES_OF_MERIT, covariance, COVARIANCES, random, margin, alpha)
    if bootstraps < 2:
        raise RatingsError(f"bootstraps is {bootstraps}; a covariance needs two samples, and 2000 are usual.")
    table = read_marks(marks, truth, weighted=fom.startswith("w"), readers=readers, treatments=treatments)
    figures = figures_of_merit(table, fom)
    errors = None if figures.why else covariance_of(figures, covariance, bootstraps=bootstraps, seed=seed)
    return result_from(
        fom=fom,
        covariance=covariance,
        random=cast(Random, random),
        margin=margin,
        alpha=alpha,
        reference=reference,
        readers=table.readers,
        treatments=table.treatments,
        diseased=int(table.truth.sum()),
        nondiseased=int((~table.truth).sum()),
        foms=figures.foms.reshape(table.shape),
        errors=errors,
        method_words=f"{_WORDS[fom]}, {covariance_words(covariance, bootstraps, seed)}",
        conventions=conventions_of(fom, covariance),
        warnings=table.warnings,
        why=figures.why,
        truncation=truncation,
    )


def check_options(
    fom: str,
    foms: tuple[str, ...],
    covariance: str,
    covariances: tuple[str, ...],
    random: str,
    margin: float | None,
    alpha: float,
) -> None:
    """Refuse an option that names nothing known.

    Raises:
        RatingsError: one sentence with the choices.
    """
    for name, given, allowed in (
        ("fom", fom, foms),
        ("covariance", covariance, covariances),
        ("random", random, RANDOM),
    ):
        if given not in allowed:
            raise RatingsError(f"{name} is {given!r}; it must be one of {', '.join(map(repr, allowed))}.")
    if margin is not None and not 0 < margin < 1:
        raise RatingsError(
            f"The non-inferiority margin is {margin}; it must be between 0 and 1, in units of the figure of merit."
        )
    if not 0 < alpha < 1:
        raise RatingsError(f"alpha is {alpha}; it must be between 0 and 1.")


def covariance_words(covariance: str, bootstraps: int = 2000, seed: int = 0) -> str:
    """The covariance as a method's name carries it."""
    if covariance == "bootstrap":
        return f"bootstrap covariances ({bootstraps} samples of cases, seed {seed})"
    return {"jackknife": "jackknife covariances", "delong": "DeLong covariances"}.get(
        covariance, f"{covariance} covariances"
    )


def conventions_of(fom: str, covariance: str) -> tuple[str, ...]:
    """What was decided about marks, figure and covariance, in sentences."""
    said = [
        "Several NL marks on a case: the highest counts. Unmarked is −∞, and two unmarked things tie, as in RJafroc."
    ]
    if fom in ("wafroc", "afroc"):
        said.append("False positives are those on normal cases; NL marks on diseased cases do not enter.")
    elif fom in ("wafroc1", "afroc1"):
        said.append("False positives are those on all cases, the diseased ones included.")
    else:
        said.append("A case's rating is the highest of any of its marks, NL or LL.")
    if fom.startswith("w"):
        said.append("Lesion weights sum to one within a case (sums within .001 of one are scaled to it).")
    elif fom.startswith("a"):
        said.append("Every lesion counts equally, so a case counts as often as it has lesions; weights are not used.")
    if covariance == "delong" and fom == "afroc":
        said.append("AFROC is a ratio of sums over diseased cases; DeLong's covariance is that of its linearisation.")
    if covariance == "bootstrap":
        said.append("Cases are drawn with replacement within each class.")
    return tuple(said)


# What is drawn -------------------------------------------------------------------------------------------------------

Kind = Literal["froc", "afroc", "wafroc"]


@dataclass(frozen=True)
class MarkCurve:
    """An operating characteristic of free-response marks, one point per distinct rating, from (0, 0).

    Attributes:
        kind: "froc", "afroc" or "wafroc".
        x: ``[m]``, non-decreasing. FROC: NL marks per case; AFROC and wAFROC: the fraction of normal cases with an NL.
        y: ``[m]``, non-decreasing: the fraction of lesions marked, weighted within each case for wAFROC.
        thresholds: ``[m]``, marks at or above are counted; +inf at (0, 0), −inf at the point (1, 1) that AFROC and
            wAFROC are joined to by a straight line (nothing was observed there).
    """

    kind: Kind
    x: Floats
    y: Floats
    thresholds: Floats

    @property
    def area(self) -> float:
        """Area under the polyline, by trapezoids; for AFROC and wAFROC the figure of merit."""
        return float(np.trapezoid(self.y, self.x))


def mark_curve(table: Marks, treatment: str, reader: str, kind: Kind = "wafroc", *, images: str = "all") -> MarkCurve:
    """One reader's empirical curve under one treatment.

    Args:
        images: for FROC, whether NL marks are counted on "all" cases or on "normal" ones only, per case of that kind.

    Raises:
        ValueError: there is no such treatment, reader or kind, or no case for one of the axes, or no weights.
    """
    i, j = table.treatments.index(treatment), table.readers.index(reader)
    n1 = int(table.truth.sum())
    normal = ~table.truth
    if n1 == 0:
        raise ValueError("A curve of lesions found needs diseased cases.")
    z = table.lesion_ratings[i, j]
    if kind == "wafroc":
        if table.weights is None:
            raise ValueError("A wAFROC curve needs lesion weights, and the table was read without them.")
        share = table.weights / n1
    else:
        share = np.full(len(z), 1 / len(z))
    if kind == "froc":
        if images not in ("all", "normal"):
            raise ValueError(f"images is {images!r}; it must be 'all' or 'normal'.")
        here = table.nl_cell == i * len(table.readers) + j
        if images == "normal":
            here &= normal[table.nl_case]
        y, per = table.nl_rating[here], len(normal) if images == "all" else int(normal.sum())
    else:
        y, per = table.highest[i, j, normal], int(normal.sum())
    if per == 0:
        raise ValueError("A curve of false positives on normal cases needs normal cases.")
    levels = np.unique(np.concatenate([y, z]))[::-1]
    levels = levels[levels > -np.inf]
    xs = np.array([(y >= level).sum() for level in levels], dtype=np.float64) / per
    ys = np.array([share[z >= level].sum() for level in levels], dtype=np.float64)
    if kind == "froc":
        return MarkCurve(kind, np.r_[0.0, xs], np.r_[0.0, ys], np.r_[np.inf, levels])
    return MarkCurve(kind, np.r_[0.0, xs, 1.0], np.r_[0.0, ys, 1.0], np.r_[np.inf, levels, -np.inf])


@dataclass(frozen=True)
class MarksPerImage:
    """How many marks one reader made under one treatment; None where there is no case of the kind.

    Attributes:
        nl_all: NL marks per case, over all cases.
        nl_normal: NL marks per normal case.
        nl_diseased: NL marks per diseased case.
        normal_marked: fraction of normal cases with at least one NL.
        lesions_marked: fraction of lesions marked.
        marks_all: marks of either kind per case.
    """

    treatment: str
    reader: str
    nl_all: float
    nl_normal: float | None
    nl_diseased: float | None
    normal_marked: float | None
    lesions_marked: float | None
    marks_all: float


def marks_per_image(table: Marks) -> tuple[MarksPerImage, ...]:
    """Mean marks per image of every treatment and reader. A mark rated −∞ is no mark."""
    n0, n1 = int((~table.truth).sum()), int(table.truth.sum())
    found = []
    counted = table.nl_rating > -np.inf
    for i, treatment in enumerate(table.treatments):
        for j, reader in enumerate(table.readers):
            here = counted & (table.nl_cell == i * len(table.readers) + j)
            on_diseased = int(table.truth[table.nl_case[here]].sum())
            on_normal = int(here.sum()) - on_diseased
            hits = int((table.lesion_ratings[i, j] > -np.inf).sum())
            found.append(
                MarksPerImage(
                    treatment,
                    reader,
                    nl_all=(on_normal + on_diseased) / (n0 + n1),
                    nl_normal=on_normal / n0 if n0 else None,
                    nl_diseased=on_diseased / n1 if n1 else None,
                    normal_marked=float((table.highest[i, j, ~table.truth] > -np.inf).mean()) if n0 else None,
                    lesions_marked=hits / len(table.lesions) if n1 else None,
                    marks_all=(on_normal + on_diseased + hits) / (n0 + n1),
                )
            )
    return tuple(found)
