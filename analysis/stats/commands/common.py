"""What the commands share: tables in, JSON out."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.stats.mrmc import plain
from analysis.stats.ratings import RatingsError


def read_csv(path: str) -> pd.DataFrame:
    """A CSV file as a table of text, nothing guessed: ``01`` stays ``01`` and ``NA`` is no number.

    Raises:
        RatingsError: the file is not there, is empty, is not UTF-8 or CSV, names a column twice, or has a row that is
            longer or shorter than its header; one sentence that names the file and the line.
    """
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.reader(file, strict=True))
    except OSError as error:
        raise RatingsError(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise RatingsError(f"{path} is not UTF-8 text; save the table as CSV in UTF-8.") from error
    except csv.Error as error:
        raise RatingsError(f"{path} is not a CSV table: {error}.") from error
    if not rows:
        raise RatingsError(f"{path} is empty; it needs a header line and one row per reading.")
    header = [name.strip() for name in rows[0]]
    twice = [name for name in header if header.count(name) > 1]
    if twice:
        raise RatingsError(f"{path} names the column {twice[0]!r} twice in its header; keep one.")
    body = [(number, row) for number, row in enumerate(rows[1:], start=2) if row]
    for number, row in body:
        if len(row) != len(header):
            raise RatingsError(
                f"Line {number} of {path} has {len(row)} fields where the header has {len(header)}; mend that line."
            )
    return pd.DataFrame([[cell.strip() for cell in row] for _, row in body], columns=header, dtype=object)


def printed(value: dict[str, Any]) -> str:
    """The result as indented JSON; an infinite number is the word "infinite", and there is no NaN."""
    return json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
