"""A ratings table, checked once and laid out as arrays.

Everything in :mod:`analysis.stats` that compares readers starts here: one row per reader, treatment and case in,
one dense block ``[treatment, reader, case]`` out. Nothing is dropped silently; a row that cannot be used is an error
that names the row.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

COLUMNS = ("reader", "treatment", "case", "truth", "rating")
#: The name of an index that holds the lines of the file a table was read from.
LINE = "line"


class RatingsError(ValueError):
    """The table cannot be analysed as it stands; the message is one sentence that names the row and the remedy."""


@dataclass(frozen=True)
class Ratings:
    """A checked ratings table.

    Attributes:
        readers: names of the J readers, in order.
        treatments: names of the I treatments (arms), in order.
        cases: names of the n cases, in order.
        truth: bool ``[n]``, True for a diseased case.
        scores: float64 ``[I, J, n]``; NaN marks a cell nobody rated (a rating itself is never NaN, but may be ±inf).
    """

    readers: tuple[str, ...]
    treatments: tuple[str, ...]
    cases: tuple[str, ...]
    truth: NDArray[np.bool_]
    scores: NDArray[np.float64]

    @property
    def positives(self) -> NDArray[np.float64]:
        """Scores of the diseased cases, ``[I, J, n1]``."""
        return self.scores[:, :, self.truth]

    @property
    def negatives(self) -> NDArray[np.float64]:
        """Scores of the non-diseased cases, ``[I, J, n0]``."""
        return self.scores[:, :, ~self.truth]

    @property
    def missing(self) -> list[tuple[str, str, str]]:
        """The cells without a rating, as ``(reader, treatment, case)``."""
        return [(self.readers[j], self.treatments[i], self.cases[k]) for i, j, k in np.argwhere(np.isnan(self.scores))]


def name_of(value: object) -> str:
    """The name a label goes by in results: ``1`` and ``1.0`` are both "1"."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def in_order(values: Sequence[Hashable]) -> list[Hashable]:
    """Distinct labels in the order a person expects: numerically where every label is a number, else by name."""
    distinct = list(dict.fromkeys(values))
    try:
        numbers = {value: float(str(value)) for value in distinct}
    except ValueError:
        return sorted(distinct, key=str)
    if not all(math.isfinite(number) for number in numbers.values()):  # labels such as "nan" and "inf" are names
        return sorted(distinct, key=str)
    return sorted(distinct, key=lambda value: (numbers[value], str(value)))


def sentence_list(items: Sequence[str], shown: int = 5) -> str:
    """``items`` as running text, cut after ``shown`` with the number left out."""
    head = "; ".join(items[:shown])
    return head if len(items) <= shown else f"{head}; and {len(items) - shown} more"


def row_word(frame: pd.DataFrame, position: int) -> str:
    """Where a row stands: "row 3" from 1 without the header, or "line 4" of the file where the index is named line."""
    return f"line {frame.index[position]}" if frame.index.name == LINE else f"row {position + 1}"


def _place(frame: pd.DataFrame, position: int) -> str:
    row = frame.iloc[position]
    where = row_word(frame, position)
    return f"{where} (reader {row['reader']}, treatment {row['treatment']}, case {row['case']})"


def read_ratings(frame: pd.DataFrame) -> Ratings:
    """Check a ratings table and lay it out as arrays.

    Args:
        frame: columns ``reader, treatment, case, truth, rating``, one row per reading. ``truth`` is 0 or 1 and the same
            for every row of a case; a higher ``rating`` means more certainly diseased; ±inf is allowed, NaN is not.
            Numbers may be text, as a CSV file has them. Other columns are ignored.

    Raises:
        RatingsError: a column is missing, the table is empty, a label, truth or rating is missing or is no number, a
            case carries two truths, or a cell is rated twice. Rows are counted from 1 without the header; an index
            named "line" holds the lines of the file, and those are named then.
    """
    absent = [column for column in COLUMNS if column not in frame.columns]
    if absent:
        raise RatingsError(
            f"The ratings table lacks the column {', '.join(absent)}; it needs {', '.join(COLUMNS)}, "
            "one row per reading."
        )
    if frame.empty:
        raise RatingsError("The ratings table has no rows; nothing can be analysed.")
    for column in ("reader", "treatment", "case"):
        empty = np.flatnonzero((frame[column].isna() | (frame[column] == "")).to_numpy())
        if empty.size:
            raise RatingsError(f"{row_word(frame, empty[0]).capitalize()} has no {column}; give every row one.")
    truth = _numbers(frame, "truth")
    odd = np.flatnonzero((truth != 0) & (truth != 1))
    if odd.size:
        raise RatingsError(
            f"The truth of {_place(frame, int(odd[0]))} is {frame['truth'].iloc[odd[0]]}; "
            "it must be 1 (diseased) or 0 (not diseased)."
        )
    rating = _numbers(frame, "rating")

    codes, names = {}, {}
    for column in ("reader", "treatment", "case"):
        names[column], codes[column] = _coded(frame[column])
        _one_spelling(frame, column, names[column], codes[column])

    n = len(names["case"])
    truth_of_case = np.full(n, -1.0)
    # Written backwards, so that the first row of a case is the one that stays and a later row is the one to blame.
    truth_of_case[codes["case"][::-1]] = truth[::-1]
    clash = np.flatnonzero(truth_of_case[codes["case"]] != truth)
    if clash.size:
        raise RatingsError(
            f"Case {names['case'][codes['case'][clash[0]]]} has truth {truth[clash[0]]:g} in "
            f"{_place(frame, int(clash[0]))} and {truth_of_case[codes['case'][clash[0]]]:g} in an earlier row; "
            "a case has one truth."
        )

    shape = (len(names["treatment"]), len(names["reader"]), n)
    cell = np.ravel_multi_index((codes["treatment"], codes["reader"], codes["case"]), shape)
    first_seen = np.full(int(np.prod(shape)), -1)
    first_seen[cell[::-1]] = np.arange(len(cell))[::-1]
    again = np.flatnonzero(first_seen[cell] != np.arange(len(cell)))
    if again.size:
        place = _place(frame, int(again[0]))
        raise RatingsError(
            f"{place[0].upper()}{place[1:]} was already rated in {row_word(frame, first_seen[cell[again[0]]])}; "
            "keep one row per reader, treatment and case."
        )
    scores = np.full(shape, np.nan)
    scores.reshape(-1)[cell] = rating
    return Ratings(names["reader"], names["treatment"], names["case"], truth_of_case.astype(bool), scores)


def _coded(labels: pd.Series) -> tuple[tuple[str, ...], NDArray[np.intp]]:
    """The distinct names of a column, in order, and each row's place among them."""
    if labels.dtype == object and pd.api.types.infer_dtype(labels) != "string":
        labels = labels.map(name_of)  # 1 and True are one value to a hash table, and two names
    positions, distinct = pd.factorize(labels)
    names = [name_of(value) for value in distinct.tolist()]
    order = [str(name) for name in in_order(names)]
    place = {name: position for position, name in enumerate(order)}
    return tuple(order), np.array([place[name] for name in names], dtype=np.intp)[positions]


def _one_spelling(frame: pd.DataFrame, column: str, names: tuple[str, ...], codes: NDArray[np.intp]) -> None:
    """Refuse "7" beside "7.0", which a spreadsheet makes of one label."""
    known = set(names)
    for place, name in enumerate(names):
        whole, point, zeros = name.partition(".")
        if point and zeros.strip("0") == "" and whole in known and whole.lstrip("+-").isdecimal():
            row = int(np.flatnonzero(codes == place)[0])
            raise RatingsError(
                f"{row_word(frame, row).capitalize()} has the {column} {name!r}, and other rows call it {whole!r}; "
                "write it one way."
            )


def _numbers(frame: pd.DataFrame, column: str) -> NDArray[np.float64]:
    series = frame[column]
    values: NDArray[np.float64] = pd.to_numeric(series, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    bad = np.flatnonzero(np.isnan(values))
    if bad.size:
        given = series.iloc[bad[0]]
        if isinstance(given, str) and given.strip():
            raise RatingsError(
                f"The {column} of {_place(frame, int(bad[0]))} is the text {given!r}; it must be a number."
            )
        raise RatingsError(f"The {column} of {_place(frame, int(bad[0]))} is missing; every row needs one.")
    return values
