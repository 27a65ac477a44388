"""What the commands share: tables in, JSON out."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.stats.imrmc import is_imrmc, read_imrmc
from analysis.stats.ratings import LINE, RatingsError
from analysis.stats.results import plain


def read_csv(path: str) -> pd.DataFrame:
    """A CSV file as a table of text, nothing guessed: ``01`` stays ``01`` and ``NA`` is no number.

    Raises:
        RatingsError: the file is not there, is empty, is not UTF-8 or CSV, names a column twice, or has a row that is
            longer or shorter than its header; one sentence that names the file and the line.
    """
    return parsed_csv(read_text(path), path).reset_index(drop=True)


def read_text(path: str) -> str:
    """A file's text, line ends as they are.

    Raises:
        RatingsError: the file cannot be read or is not UTF-8; one sentence that names it.
    """
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            text = file.read()
    except OSError as error:
        raise RatingsError(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise RatingsError(f"{path} is not UTF-8 text; save the table as CSV in UTF-8.") from error
    if "\0" in text:
        raise RatingsError(f"{path} holds a NUL character, which no text has; save the table as CSV in UTF-8.")
    return text


def parsed_csv(text: str, path: str) -> pd.DataFrame:
    """As :func:`read_csv`, with the file's lines as the index, named "line"."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[tuple[int, list[str]]] = []
    try:
        line = 1
        for row in reader:
            if row:
                rows.append((line, row))
            line = reader.line_num + 1
    except csv.Error as error:
        raise RatingsError(f"{path} is not a CSV table: {error} in line {reader.line_num}.") from error
    if not rows:
        raise RatingsError(f"{path} is empty; it needs a header line and one row per reading.")
    header = [name.strip() for name in rows[0][1]]
    twice = [name for name in header if header.count(name) > 1]
    if twice:
        raise RatingsError(f"{path} names the column {twice[0]!r} twice in its header; keep one.")
    if len(header) == 1 and (found := [mark for mark in (";", "\t", "|") if mark in header[0]]):
        mark = "a tab" if found[0] == "\t" else repr(found[0])
        raise RatingsError(f"{path} separates its fields by {mark}; save the table with commas.")
    body = rows[1:]
    for number, row in body:
        if len(row) != len(header):
            raise RatingsError(
                f"Line {number} of {path} has {len(row)} fields where the header has {len(header)}; mend that line."
            )
    return pd.DataFrame(
        [[cell.strip() for cell in row] for _, row in body],
        columns=header,
        index=pd.Index([number for number, _ in body], name=LINE),
        dtype=object,
    )


def read_ratings_file(path: str) -> pd.DataFrame:
    """A ratings table from a CSV file or iMRMC's own format, its index the file's lines, named "line".

    Raises:
        RatingsError: the file cannot be read as either; one sentence that names the file and the line.
    """
    text = read_text(path)
    if path.lower().endswith(".imrmc") or is_imrmc(text):
        return read_imrmc(text, path)
    return parsed_csv(text, path)


def printed(value: dict[str, Any]) -> str:
    """The result as indented JSON; an infinite number is the word "infinite", and there is no NaN."""
    return json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
