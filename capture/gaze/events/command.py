"""The command `events`: a CSV of gaze in, a CSV of events out."""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import os
import sys
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TextIO, cast

import numpy as np
from numpy.typing import NDArray

from capture.gaze.display import Display

from .agreement import kappa
from .detection import ALGORITHMS, detect, gaze_present
from .table import Events, Kind

Floats = NDArray[np.float64]

COLUMNS = ("time_s", "x_px", "y_px")
#: The rate measured from the times may differ from the one given by this share.
RATE_TOLERANCE = 0.05
_EMPTY = {"", "nan", "na", "n/a", "null", "none", "."}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="CSV with columns time_s, x_px, y_px; .gz is read too")
    parser.add_argument("--algorithm", choices=ALGORITHMS, required=True)
    parser.add_argument("--rate", type=float, required=True, metavar="HZ", help="the tracker's sampling rate")
    parser.add_argument("--screen-px", type=float, nargs=2, required=True, metavar=("W", "H"))
    parser.add_argument("--screen-mm", type=float, nargs=2, required=True, metavar=("W", "H"))
    parser.add_argument("--distance-mm", type=float, required=True, metavar="D", help="from the eyes to the screen")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="CSV of the events, one a row")
    parser.add_argument("--samples", type=Path, metavar="FILE", help="also write the samples, each with its label")
    parser.add_argument(
        "--truth",
        metavar="COLUMN",
        help="print Cohen's kappa per class against this column's codes: "
        "1 fixation, 2 saccade, 3 PSO, 4 pursuit, 5 blink, 6 undefined",
    )


def run(options: argparse.Namespace) -> int:
    (width_px, height_px), (width_mm, height_mm) = options.screen_px, options.screen_mm
    display = Display(width_px, height_px, width_mm, height_mm, options.distance_mm)
    if not (np.isfinite(options.rate) and options.rate > 0):
        raise ValueError(f"--rate is {options.rate:g}; it must be a positive number of samples a second.")
    targets = [options.out, *([options.samples] if options.samples else [])]
    for target in targets:
        if target.resolve() == options.file.resolve():
            raise ValueError(f"{target} is the input; choose another name for the output.")
        if not target.resolve().parent.is_dir():
            raise ValueError(f"The folder of {target} does not exist; make it first.")
    if len(targets) == 2 and targets[0].resolve() == targets[1].resolve():
        raise ValueError("--out and --samples are the same file; give each its own name.")
    table = read_table(options.file, extra=options.truth)
    check(table, display, options.rate)
    truth = codes(table, options.truth) if options.truth else None
    events = detect(table.t, table.px, display, algorithm=options.algorithm)
    # Both files are complete before either takes its place.
    with replaced(options.out) as out:
        write_events(out, events)
        if options.samples:
            with replaced(options.samples) as samples:
                write_samples(samples, table, events)
    lines = [summary(events, table, options.out)]
    if truth is not None:
        for kind, value in agreement(events, truth):
            shown = "not estimable (absent from both)" if value is None else f"{value:.3f}"
            lines.append(f"kappa {kind.word} {shown}")
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


@dataclass(frozen=True)
class Table:
    """A gaze file: its name, its columns as text, and time [N] and position [N, 2] as numbers."""

    name: str
    columns: dict[str, list[str]]
    t: Floats
    px: Floats


def read_table(path: Path, *, extra: str | None = None) -> Table:
    """Read a CSV of gaze, gzip-compressed or not.

    Raises ValueError with one sentence for a file that is cut short, is not text, lacks a column (`extra` included), or
    holds a row or number that cannot be read; OSError if it cannot be opened.
    """
    raw = path.read_bytes()
    if raw[:2] == b"\x1f\x8b":
        try:
            raw = gzip.decompress(raw)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(f"{path} is a damaged or truncated gzip file ({error}); copy it again.") from error
    elif path.suffix == ".gz":
        raise ValueError(f"{path} ends in .gz but is not gzip-compressed; rename it or compress it.")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a text file in UTF-8 (byte {error.start}).") from error
    lines = csv.reader(io.StringIO(text, newline=""))
    try:
        header = [name.strip() for name in next(lines, [])]
        rows = [row for row in lines if row]
    except csv.Error as error:
        raise ValueError(f"{path}, line {lines.line_num}: {error}.") from error
    if not header:
        raise ValueError(f"{path} is empty; a first row naming the columns {', '.join(COLUMNS)} is needed.")
    for name in (*COLUMNS, *([extra] if extra else [])):
        if header.count(name) != 1:
            state = "lacks" if name not in header else "has twice"
            raise ValueError(f"{path} {state} the column {name}; its columns are {', '.join(header)}.")
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise ValueError(
                f"{path}, row {number} has {len(row)} fields where the header has {len(header)}; is the file cut short?"
            )
    columns = {name: [row[i] for row in rows] for i, name in enumerate(header)}
    t, x, y = (numbers(path, name, columns[name], may_lack=name != "time_s") for name in COLUMNS)
    return Table(str(path), columns, t, np.stack([x, y], axis=1))


def numbers(path: Path, name: str, words: Sequence[str], *, may_lack: bool) -> Floats:
    """A column as float64 [N]; empty fields and NaN are NaN if they may be, and no word is infinite."""
    try:
        values = np.array(words, dtype=np.float64)
    except ValueError:
        values = np.full(len(words), np.nan)
        for i, word in enumerate(words):
            if word.strip().lower() in _EMPTY:
                continue
            try:
                values[i] = float(word)
            except ValueError:
                raise ValueError(f"{path}, row {i + 2}: {name} is {word!r}, which is not a number.") from None
    bad = np.flatnonzero(np.isinf(values) | (np.isnan(values) & (not may_lack)))
    if len(bad):
        raise ValueError(f"{path}, row {bad[0] + 2}: {name} is {words[bad[0]]!r}; a finite number is needed.")
    return values


def check(table: Table, display: Display, rate: float) -> None:
    """Raise ValueError unless times and positions are what the options say they are."""
    t, px, name = table.t, table.px, table.name
    if len(t) < 2:
        raise ValueError(f"{name} has {len(t)} sample{'s' if len(t) != 1 else ''}; at least two are needed.")
    steps = np.diff(t)
    back = np.flatnonzero(steps <= 0)
    if len(back):
        i = int(back[0])
        verb = "repeats" if steps[i] == 0 else "goes back from"
        raise ValueError(
            f"{name}, row {i + 3}: time_s {table.columns['time_s'][i + 1]} {verb} {table.columns['time_s'][i]} "
            f"({len(back)} such row{'s' if len(back) != 1 else ''}); the times must ascend."
        )
    measured = 1.0 / float(np.median(steps))
    if abs(measured - rate) > RATE_TOLERANCE * rate:
        remedy = f"give --rate {measured:.4g} if they are right"
        for unit, factor in (("milliseconds", 1000), ("microseconds", 1_000_000)):
            if abs(measured * factor - rate) <= RATE_TOLERANCE * rate:
                remedy = f"they look like {unit}: divide them by {factor}"
        raise ValueError(f"{name}: the times say {measured:.4g} Hz, --rate says {rate:g} Hz; {remedy}.")
    _same_rate(name, t, steps, rate)
    seen = px[gaze_present(px, display)]
    if not len(seen):
        if np.isfinite(px).all(axis=1).any():
            raise ValueError(
                f"{name}: no sample lies near the {display.width_px:g}x{display.height_px:g} px screen; "
                "are the coordinates in pixels from its top left corner?"
            )
        raise ValueError(f"{name}: every sample is lost; there is no gaze to find events in.")
    if len(seen) >= 10 and float(np.quantile(np.abs(seen), 0.95)) <= 1.5:
        raise ValueError(
            f"{name}: x_px and y_px lie between {seen.min():.3g} and {seen.max():.3g}; that looks like fractions of "
            "the screen, not pixels: multiply them by the screen's width and height."
        )
    held = np.isfinite(px).all(axis=1) & (px != 0).any(axis=1)
    if held.sum() >= 10 and gaze_present(px, display)[held].mean() < 0.5:
        raise ValueError(
            f"{name}: most samples lie far outside the {display.width_px:g}x{display.height_px:g} px screen; "
            "check --screen-px and the unit of the coordinates."
        )


def _same_rate(name: str, t: Floats, steps: Floats, rate: float) -> None:
    """Raise ValueError where the rate changes for good: half a second whose median step is another."""
    block = max(10, round(rate / 2))
    whole = len(steps) // block
    if whole < 2:
        return
    medians = np.median(steps[: whole * block].reshape(whole, block), axis=1)
    off = np.flatnonzero(np.abs(1.0 / medians - rate) > 2 * RATE_TOLERANCE * rate)
    if len(off):
        i = int(off[0])
        raise ValueError(
            f"{name}: the stream changes its rate: {1.0 / medians[i]:.4g} Hz around {t[i * block + block // 2]:.3f} s, "
            f"--rate says {rate:g} Hz; cut the file where it changes."
        )


def codes(table: Table, column: str) -> NDArray[np.int64]:
    """The coder's labels [N]. Raises ValueError for one that is no whole number from 1 to 6 (empty or 0: not coded)."""
    values = numbers(Path(table.name), column, table.columns[column], may_lack=True)
    values = np.where(np.isnan(values), 0.0, values)
    bad = np.flatnonzero(~np.isin(values, range(7)))
    if len(bad):
        raise ValueError(
            f"{table.name}, row {bad[0] + 2}: {column} is {table.columns[column][bad[0]]!r}; codes are 1 fixation, "
            "2 saccade, 3 PSO, 4 pursuit, 5 blink, 6 undefined."
        )
    if not values.any():
        raise ValueError(f"{table.name}: {column} codes no sample.")
    return values.astype(np.int64)


def agreement(events: Events, truth: NDArray[np.int64]) -> Iterator[tuple[Kind, float | None]]:
    """Cohen's κ of each class against the coder, over the samples the coder labelled."""
    coded = truth > 0
    for kind in Kind:
        yield kind, kappa(events.labels[coded] == kind, truth[coded] == kind)


def write_events(file: TextIO, events: Events) -> None:
    lines = ["kind,onset_s,offset_s,x_px,y_px,amplitude_deg\n"]
    for word, onset, offset, x, y, amplitude in events.rows():
        lines.append(f"{word},{onset:.6f},{offset:.6f},{_shown(x, 2)},{_shown(y, 2)},{_shown(amplitude, 3)}\n")
    file.writelines(lines)


def write_samples(file: TextIO, table: Table, events: Events) -> None:
    """The input's columns as they were, and `label`."""
    words = [Kind(code).word if code else "" for code in range(len(Kind) + 1)]
    writer = csv.writer(file, lineterminator="\n")
    columns: list[Iterable[str]] = [v for k, v in table.columns.items() if k != "label"]
    writer.writerow([*(k for k in table.columns if k != "label"), "label"])
    writer.writerows(zip(*columns, (words[code] for code in events.labels.tolist()), strict=True))


def _shown(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if value == value else ""


def summary(events: Events, table: Table, out: Path) -> str:
    counts = [(kind.word, int((events.kind == kind).sum())) for kind in Kind]
    held = ", ".join(f"{count} {word}" for word, count in counts if count)
    lost = float((~np.isfinite(table.px).all(axis=1)).mean())
    holes = int((events.start == events.stop).sum())
    missing = f", {holes} hole{'s' if holes != 1 else ''} in the times" if holes else ""
    return f"{len(events.labels)} samples ({lost:.1%} without position{missing}): {held}; written to {out}"


@contextmanager
def replaced(path: Path) -> Iterator[TextIO]:
    """A text file beside `path` (gzip-compressed if its name ends in .gz) that takes its place if all goes well."""
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.resolve().parent)
    try:
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask()
        with os.fdopen(handle, "wb") as raw:
            if path.suffix == ".gz":
                packed = gzip.GzipFile(fileobj=raw, mode="wb", filename="", mtime=0)
                with packed, io.TextIOWrapper(cast(BinaryIO, packed), encoding="utf-8", newline="") as file:
                    yield file
            else:
                with io.TextIOWrapper(raw, encoding="utf-8", newline="") as file:
                    yield file
        Path(temporary).chmod(mode)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
