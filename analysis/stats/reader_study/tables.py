"""The tidy tables of a reader study: their columns, how they are written as CSV, and how they are read back.

One row is one thing (a read and finding, a mark, a lesion, a case, an assignment). Text stays text: a case called
``01`` or ``NA`` keeps its name. Numbers are written with the shortest digits that read back as the same float64, so
what is computed from the files is what was computed from the database. A text that a spreadsheet would take for a
formula is written with an apostrophe before it, which :func:`parse` takes away again.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import pandas as pd

from analysis.stats.ratings import RatingsError

#: The finding of an endpoint that asks only whether a case is normal: truth is any finding, rating the highest given.
ANY = "any"

#: What a spreadsheet would compute; apostrophes before it count as texts that were guarded before.
_FORMULA: Final = re.compile("'*[=+\\-@\t\r]")

Kind = Literal["text", "whole", "number", "number or empty"]

#: Columns of each file, in order.
COLUMNS: Final[dict[str, dict[str, Kind]]] = {
    # One row per submitted read and finding, as the read was submitted.
    "readings": {
        "reader": "text", "case": "text", "arm": "text", "period": "whole", "finding": "text", "truth": "whole",
        "rating": "whole", "seconds": "number or empty",
    },
    # The same before the assistance was shown, in arms that lock the reader's own answers first.
    "initial": {
        "reader": "text", "case": "text", "arm": "text", "period": "whole", "finding": "text", "truth": "whole",
        "rating": "whole",
    },
    # What GazeX had said of each case, stored before the study opened.
    "assistance": {"case": "text", "finding": "text", "truth": "whole", "probability": "number"},
    # NL: on no lesion; LL: on the lesion of that name.
    "marks": {
        "reader": "text", "arm": "text", "case": "text", "finding": "text", "mark": "text", "lesion": "text",
        "rating": "number",
    },
    # The reference findings of the image that was read; boxed is 0 where nobody drew where it is.
    "lesions": {"case": "text", "finding": "text", "lesion": "text", "boxed": "whole"},
    "cases": {
        "case": "text", "source": "text", "view": "text", "sex": "text", "age": "text", "modality": "text",
        "findings": "text",
    },
    "readers": {"reader": "text", "consented": "whole", "withdrawn": "whole"},
    # One row per assignment, read or not.
    "reads": {
        "reader": "text", "case": "text", "arm": "text", "period": "whole", "position": "whole", "state": "text",
        "reason": "text", "shown": "whole", "seconds": "number or empty", "recording": "text",
    },
    # One row per read and outcome of its gaze or its report: a value, or a numerator over a denominator.
    "measures": {
        "reader": "text", "arm": "text", "case": "text", "outcome": "text", "weighting": "text",
        "value": "number or empty", "numerator": "number or empty", "denominator": "number or empty",
    },
}  # fmt: skip


class TablesError(RatingsError):
    """A table cannot be used; one sentence that names the file, the row and the remedy."""


@dataclass(frozen=True)
class Tables:
    """One frame a file, with the columns of :data:`COLUMNS`; those that a study has nothing for are empty."""

    readings: pd.DataFrame
    initial: pd.DataFrame
    assistance: pd.DataFrame
    marks: pd.DataFrame
    lesions: pd.DataFrame
    cases: pd.DataFrame
    readers: pd.DataFrame
    reads: pd.DataFrame
    measures: pd.DataFrame


def written(name: str, rows: Iterable[Sequence[object]]) -> bytes:
    """Rows as the CSV file of that name: UTF-8, comma, LF, empty cells for None."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    # A lone carriage return ends a line for every reader of CSV, and csv quotes only what holds its own line ending.
    quoting = csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow(COLUMNS[name])
    for row in rows:
        cells = [_cell(value) for value in row]
        (quoting if any("\r" in cell for cell in cells) else writer).writerow(cells)
    return out.getvalue().encode()


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, str):
        return f"'{value}" if _FORMULA.match(value) else value
    return repr(value) if isinstance(value, float) else str(value)


def _text(cell: str) -> str:
    """What :func:`_cell` wrote."""
    return cell[1:] if cell[:1] == "'" and _FORMULA.match(cell) else cell


def parse(files: Mapping[str, bytes]) -> Tables:
    """The tables from the bytes of their files, by name without the ending; a file that is not there is an empty table.

    Raises:
        TablesError: a file is no UTF-8 CSV, has other columns, or a cell that is not of its column's kind.
    """
    frames = {name: _parsed(name, files.get(name)) for name in COLUMNS}
    return Tables(**{field.name: frames[field.name] for field in dataclasses.fields(Tables)})


def _parsed(name: str, content: bytes | None) -> pd.DataFrame:
    kinds = COLUMNS[name]
    if content is None:
        return _typed(name, [])
    try:
        rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise TablesError(f"{name}.csv is no CSV table in UTF-8: {error}.") from error
    if not rows or rows[0] != list(kinds):
        raise TablesError(f"{name}.csv needs exactly the columns {', '.join(kinds)}.")
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(kinds):
            raise TablesError(f"Line {number} of {name}.csv has {len(row)} fields; it needs {len(kinds)}.")
    return _typed(name, rows[1:])


def _typed(name: str, rows: list[list[str]]) -> pd.DataFrame:
    columns: dict[str, pd.Series] = {}
    for place, (column, kind) in enumerate(COLUMNS[name].items()):
        texts = [row[place] for row in rows]
        if kind == "text":
            columns[column] = pd.Series([_text(text) for text in texts], dtype=object)
            continue
        values: list[float] = []
        for number, text in enumerate(texts, start=2):
            try:
                value = math.nan if kind == "number or empty" and text == "" else float(text)
            except ValueError:
                value = math.inf
            if math.isinf(value) or (math.isnan(value) and text != "") or (kind == "whole" and value != int(value)):
                raise TablesError(f"Line {number} of {name}.csv has {column} {text!r}; it must be a {kind}.")
            values.append(value)
        columns[column] = pd.Series(values, dtype="float64")
        if kind == "whole":
            columns[column] = columns[column].astype("int64")
    return pd.DataFrame(columns)


def cases_used(tables: Tables, missing: str) -> set[str]:
    """The cases that a plan's rule for missing reads lets into the analysis.

    Args:
        missing: "available", every case that was read; "complete", those that every reader with a read, read in every
            arm with a read.
    """
    reads = tables.readings[["reader", "case", "arm"]].drop_duplicates()
    counts = reads.groupby("case").size()
    wanted = reads["reader"].nunique() * reads["arm"].nunique() if missing == "complete" else 1
    return set(counts.index[counts >= wanted])


def restricted(tables: Tables, cases: Collection[str]) -> Tables:
    """The tables with the readings, first answers and marks of these cases only."""
    kept = {name: getattr(tables, name) for name in ("readings", "initial", "marks")}
    kept = {name: frame[frame["case"].isin(cases)].reset_index(drop=True) for name, frame in kept.items()}
    return dataclasses.replace(tables, **kept)


def endpoint_readings(frame: pd.DataFrame, finding: str) -> pd.DataFrame:
    """One row per read for a finding, or for :data:`ANY`.

    For :data:`ANY` the truth is that the case shows any of the protocol's findings and the rating is the reader's
    highest confidence over them.

    Returns:
        Columns ``reader, case, arm, period, truth, rating, seconds`` (the last where the frame has it).
    """
    columns = [c for c in ("reader", "case", "arm", "period", "truth", "rating", "seconds") if c in frame.columns]
    if finding != ANY:
        return frame.loc[frame["finding"] == finding, columns].reset_index(drop=True)
    taken = {"truth": ("truth", "max"), "rating": ("rating", "max")}
    if "seconds" in frame.columns:
        taken["seconds"] = ("seconds", "first")
    grouped = frame.groupby(["reader", "case", "arm", "period"], as_index=False, sort=True)
    return grouped.agg(**taken)[columns]


def advice(assistance: pd.DataFrame, finding: str) -> pd.DataFrame:
    """GazeX's probability of a finding, or of :data:`ANY` (the highest): ``case, truth, probability``."""
    if finding != ANY:
        rows = assistance.loc[assistance["finding"] == finding]
        return rows[["case", "truth", "probability"]].reset_index(drop=True)
    grouped = assistance.groupby("case", as_index=False, sort=True)
    return grouped.agg(truth=("truth", "max"), probability=("probability", "max"))
