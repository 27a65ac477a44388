"""CSV and TSV tables of numbers: read by column name, with the line named where something is wrong."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import FormatError

Floats = NDArray[np.float64]

#: A larger table is not read in one piece.
MAX_BYTES = 2 * 2**30


def load(path: Path) -> bytes:
    """The file's bytes, unpacked if its name ends in .gz. Raises FormatError."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise FormatError(f"{path.name} is larger than {MAX_BYTES // 2**30} GB; split it.")
        data = path.read_bytes()
    except OSError as error:
        raise FormatError(f"{path.name} cannot be read: {error.strerror or error}.") from error
    return gunzip(data, path.name) if path.name.endswith(".gz") else data


def gunzip(data: bytes, name: str) -> bytes:
    """Unpack, but no more than MAX_BYTES: a few kilobytes can hold terabytes."""
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            out = file.read(MAX_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise FormatError(f"{name} is a damaged gzip file ({error}); copy it again.") from error
    if len(out) > MAX_BYTES:
        raise FormatError(f"{name} unpacks to more than {MAX_BYTES // 2**30} GB; nothing of it was taken in.")
    return out


def rows_of(data: bytes, name: str, *, delimiter: str = ",") -> Iterator[tuple[int, list[str]]]:
    """(line, cells) of every line that is not empty. Raises FormatError for what is no table."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FormatError(f"{name} is not UTF-8 text (byte {error.start}); save it as UTF-8.") from None
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        for row in reader:
            if row:
                yield reader.line_num, row
    except csv.Error as error:
        raise FormatError(f"{name} cannot be read on line {reader.line_num} ({error}); export it again.") from None


class Table:
    """A table in memory: text cells by column."""

    def __init__(self, name: str, header: Sequence[str], rows: list[list[str]], lines: list[int]) -> None:
        self.name, self.header, self.rows, self.lines = name, [h.strip() for h in header], rows, lines

    @classmethod
    def read(cls, data: bytes, name: str) -> Table:
        """A table whose first line names its columns; every line has as many cells. Raises FormatError."""
        source = rows_of(data, name)
        _, header = next(source, (0, []))
        if not header:
            raise FormatError(f"{name} is empty; its first line names its columns.")
        rows, lines = [], []
        for line, row in source:
            if len(row) != len(header):
                raise FormatError(
                    f"{name} has {len(row)} cells on line {line} and {len(header)} columns; mend that line."
                )
            rows.append(row)
            lines.append(line)
        return cls(name, header, rows, lines)

    def __len__(self) -> int:
        return len(self.rows)

    def __contains__(self, column: str) -> bool:
        return column in self.header

    def need(self, columns: Iterable[str], what: str) -> None:
        """Refuse a table that lacks one of the columns."""
        missing = [column for column in columns if column not in self.header]
        if missing:
            raise FormatError(
                f"{self.name} has no column {missing[0]}, which {what} needs"
                + (f" (nor {', '.join(missing[1:4])})" if len(missing) > 1 else "")
                + "."
            )

    def text(self, column: str) -> list[str]:
        at = self.header.index(column)
        return [row[at] for row in self.rows]

    def numbers(self, column: str) -> Floats:
        """The column as float64; NaN where it is empty, `nan` or `n/a`. Raises FormatError naming the line."""
        return to_numbers(self.text(column), column, self.name, self.lines)


def to_numbers(cells: Sequence[str], column: str, name: str, lines: Sequence[int]) -> Floats:
    try:
        # Python's own float reads texts faster than numpy does.
        return np.fromiter((float(cell or "nan") for cell in cells), dtype=np.float64, count=len(cells))
    except ValueError:
        pass
    out = np.empty(len(cells))
    for i, cell in enumerate(cells):
        try:
            out[i] = float(cell) if cell.strip().lower() not in ("", "n/a", "nan") else np.nan
        except ValueError:
            raise FormatError(f"{name} has {cell[:30]!r} in {column} on line {lines[i]}; a number is needed.") from None
    return out


def dump(
    path: Path, header: Sequence[str] | None, columns: Sequence[Any], *, delimiter: str = ",", end: str = "\n"
) -> None:
    """Write columns (equally long; floats as the shortest text that reads back as the same number; NaN empty)."""
    with path.open("w", encoding="utf-8", newline="") as file:
        write_rows(file, header, columns, delimiter=delimiter, end=end)


def write_rows(
    file: Any,
    header: Sequence[str] | None,
    columns: Sequence[Any],
    *,
    delimiter: str = ",",
    end: str = "\n",
    empty: str = "",
) -> None:
    writer = csv.writer(file, delimiter=delimiter, lineterminator=end)
    if header is not None:
        writer.writerow(header)
    writer.writerows(zip(*(_cells(column, empty) for column in columns), strict=True))


def _cells(column: Any, empty: str) -> list[Any]:
    if isinstance(column, np.ndarray) and column.dtype.kind == "f":
        values = column.tolist()
        if np.isfinite(column).all():
            return values
        return [value if value == value and abs(value) != np.inf else empty for value in values]
    if isinstance(column, np.ndarray):
        return column.tolist()
    return list(column)
