"""The two tables of a free-response study, checked once and laid out as arrays, and what can be drawn from them.

A free-response reader puts any number of marks on a case, each with a rating. A mark near a lesion is a lesion
localisation (LL), any other a non-lesion localisation (NL); that call is made before the table is written. Nothing is
dropped silently; a row that cannot be used is an error that names the row.

Source of the curves: Chakraborty, Observer Performance Methods for Diagnostic Imaging (2017), ch. 13–14.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.stats.ratings import RatingsError, in_order, name_of, row_word, sentence_list

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

MARK_COLUMNS = ("reader", "treatment", "case", "truth", "mark", "lesion", "rating")
TRUTH_COLUMNS = ("case", "truth", "lesion", "weight")

#: A case's weights may miss one by this much, as rounded decimals do (.333 three times); they are then scaled to one.
_ROUNDING = 5e-3
_NO_LESION = ("", "0", "na", "nan", "none")


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
        RatingsError: one sentence that names the row. Rows are counted from 1 without the header; an index named "line"
            holds the lines of the file, and those are named then.
    """
    cases, diseased, lesions, weights = _read_truth(truth, weighted)
    _columns(marks, MARK_COLUMNS, "marks", "one row per mark")
    if marks.empty and (not readers or not treatments):
        raise RatingsError("The marks table has no rows; nothing can be analysed.")

    reader_of, reader_names = _labels(marks, "reader", readers)
    treatment_of, treatment_names = _labels(marks, "treatment", treatments)
    case_of = [_label(value) for value in marks["case"].tolist()]
    lesion_of = [_lesion(value) for value in marks["lesion"].tolist()]
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
            if lesion:
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
                f"The lesion {lesion} of {_place(marks, row)} was already marked in {row_word(marks, first[key])}; "
                "keep one mark per lesion, the highest rated."
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
    lesion_of = [_lesion(value) for value in frame["lesion"].tolist()]

    first: dict[int, int] = {}
    seen: dict[tuple[int, str], int] = {}
    for row, case in enumerate(case_of):
        where = _truth_place(frame, row)
        if truth[row] not in (0, 1):
            raise RatingsError(
                f"The truth of {where} is {frame['truth'].iloc[row]}; it must be 1 (diseased) or 0 (normal)."
            )
        named = bool(lesion_of[row])
        if case in first and truth[first[case]] != truth[row]:
            raise RatingsError(
                f"Case {cases[case]} has truth {truth[row]:g} in {where} and {truth[first[case]]:g} in "
                f"{row_word(frame, first[case])}; a case has one truth."
            )
        if truth[row] and not named:
            raise RatingsError(f"The case of {where} is diseased and the row names no lesion; name each lesion.")
        if not truth[row] and (named or weight[row] != 0):
            raise RatingsError(f"The case of {where} is normal; it needs lesion 0 and weight 0.")
        key = (case, lesion_of[row] if truth[row] else "")
        if key in seen:
            raise RatingsError(
                f"{where[0].upper()}{where[1:]} repeats {row_word(frame, seen[key])}; "
                "keep one row per lesion or normal case."
            )
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


def _lesion(value: object) -> str:
    """A lesion's name; none is "". A column with gaps is often written with decimals, so ``1.0`` is lesion 1."""
    label = _label(value).removesuffix(".0")
    return "" if label.lower() in _NO_LESION else label


def _absent(value: object) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


def _labels(
    frame: pd.DataFrame, column: str, wanted: Sequence[object] | None, table: str = "marks"
) -> tuple[list[int], tuple[str, ...]]:
    """The position of each row's label, and the labels in order."""
    found = [_label(value) for value in frame[column].tolist()]
    if "" in found:
        where = row_word(frame, found.index("")).capitalize()
        raise RatingsError(f"{where} of the {table} table has no {column}; give every row one.")
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
        f"{row_word(frame, position)} (reader {name_of(row['reader'])}, treatment {name_of(row['treatment'])}, "
        f"case {name_of(row['case'])})"
    )


def _truth_place(frame: pd.DataFrame, position: int) -> str:
    row = frame.iloc[position]
    where = f"{row_word(frame, position)} of the truth table"
    return f"{where} (case {name_of(row['case'])}, lesion {name_of(row['lesion'])})"


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
            raise RatingsError(f"The {column} of {place(frame, row)} is the text {str(value)!r}; it must be a number.")
    return values


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
    if treatment not in table.treatments or reader not in table.readers:
        raise ValueError(f"There is no reader {reader!r} under treatment {treatment!r} in this study.")
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
