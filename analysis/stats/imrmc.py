"""iMRMC's own text format, read and written.

A file is free text, among it lines ``N0: n``, ``N1: n``, ``NR: n`` and ``NM: n`` with the numbers of non-diseased
cases, diseased cases, readers and modalities; then a line ``BEGIN DATA:``; then one line per case with its truth and
one per reading, each ``reader,case,modality,score``. The truth's reader is ``-1`` (or ``truth``) and its score 0 or 1.
Spaces do not count, a trailing comma neither. A modality is a treatment here.

Source: the format as iMRMC 4.0.3 reads it (https://github.com/DIDSR/iMRMC, CC0).
"""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from analysis.stats.ratings import LINE, Ratings, RatingsError, sentence_list

_SIZES = {"N0": "non-diseased cases", "N1": "diseased cases", "NR": "readers", "NM": "modalities"}
_TRUTH = ("-1", "truth")


def is_imrmc(text: str) -> bool:
    """Whether ``text`` has the line that begins an iMRMC file's data."""
    return any(line.upper().startswith("BEGIN DATA:") for line in text.splitlines())


def read_imrmc(text: str, name: str = "The file") -> pd.DataFrame:
    """An iMRMC file as a ratings table.

    Args:
        text: the file's content.
        name: what sentences call it.

    Returns:
        Columns ``reader, treatment, case, truth, rating``, all text but ``truth``; the index, named "line", holds the
        file's lines. ``attrs["warnings"]`` says what the header promises and the data does not hold, and which cases
        nobody rated.

    Raises:
        RatingsError: there is no ``BEGIN DATA:``, a line has not four fields, a truth is neither 0 nor 1 or is given
            twice, a reading is of a case without a truth, or a size in the header is no number; one sentence with the
            line.
    """
    lines = text.removeprefix("\ufeff").splitlines()
    begin = next((number for number, line in enumerate(lines) if line.upper().startswith("BEGIN DATA:")), None)
    if begin is None:
        raise RatingsError(f'{name} has no line "BEGIN DATA:"; an iMRMC file needs one before its readings.')
    promised = _sizes(lines[:begin], name)
    truth: dict[str, int] = {}
    readings: list[tuple[int, str, str, str, str]] = []
    for number, line in enumerate(lines[begin + 1 :], start=begin + 2):
        fields = [re.sub(r"\s", "", field) for field in line.split(",")]
        while len(fields) > 4 and not fields[-1]:
            fields.pop()
        if fields == [""] or not any(fields):
            continue
        if len(fields) != 4 or not all(fields):
            raise RatingsError(
                f"Line {number} of {name} is {line.strip()!r}; it must be reader,case,modality,score, all four given."
            )
        reader, case, modality, score = fields
        if reader not in _TRUTH:
            readings.append((number, reader, modality, case, score))
        elif score not in ("0", "1"):
            raise RatingsError(f"Line {number} of {name} gives case {case} the truth {score}; it must be 0 or 1.")
        elif case in truth:
            raise RatingsError(f"Line {number} of {name} gives case {case} a truth a second time; keep one.")
        else:
            truth[case] = int(score)
    for number, reader, modality, case, _ in readings:
        if case not in truth:
            raise RatingsError(
                f"Line {number} of {name} (reader {reader}, modality {modality}) rates case {case}, which has no "
                f"truth; add a line -1,{case},0,truth."
            )
    rows = [(reader, modality, case, truth[case], score) for _, reader, modality, case, score in readings]
    index = pd.Index([reading[0] for reading in readings], name=LINE)
    frame = pd.DataFrame(rows, columns=["reader", "treatment", "case", "truth", "rating"], index=index, dtype=object)
    frame.attrs["warnings"] = _unlike(frame, truth, promised)
    return frame


def write_imrmc(table: Ratings, title: str = "Reader study") -> str:
    """A checked ratings table as an iMRMC file.

    Raises:
        RatingsError: a name holds a comma or a space, which the format cannot carry, or a reader is called as the truth
            is.
    """
    for name in (*table.readers, *table.treatments, *table.cases):
        if "," in name or re.search(r"\s", name):
            raise RatingsError(f"The name {name!r} has a comma or a space, which an iMRMC file cannot hold; rename it.")
    taken = [name for name in table.readers if name in _TRUTH]
    if taken:
        raise RatingsError(f"A reader is called {taken[0]}, which means the truth in an iMRMC file; rename it.")
    n1 = int(table.truth.sum())
    lines = [*title.splitlines(), f"N0: {len(table.cases) - n1}", f"N1: {n1}", f"NR: {len(table.readers)}"]
    lines += [f"NM: {len(table.treatments)}", "BEGIN DATA:"]
    lines += [f"-1,{case},0,{int(diseased)}" for case, diseased in zip(table.cases, table.truth, strict=True)]
    for i, j, k in np.argwhere(~np.isnan(table.scores)):
        lines.append(f"{table.readers[j]},{table.cases[k]},{table.treatments[i]},{float(table.scores[i, j, k])!r}")
    return "\n".join(lines) + "\n"


def _sizes(header: list[str], name: str) -> dict[str, int]:
    promised = {}
    for number, line in enumerate(header, start=1):
        found = re.match(r"\s*(N0|N1|NR|NM)\s*:(.*)", line.rstrip(", "), flags=re.IGNORECASE)
        if found is None:
            continue
        key, said = found[1].upper(), found[2].strip()
        if not said.isdecimal():
            raise RatingsError(f"Line {number} of {name} says {key}: {said or 'nothing'}; it must be a whole number.")
        promised[key] = int(said)
    return promised


def _unlike(frame: pd.DataFrame, truth: dict[str, int], promised: dict[str, int]) -> list[str]:
    held = {
        "N0": sum(value == 0 for value in truth.values()),
        "N1": sum(value == 1 for value in truth.values()),
        "NR": frame["reader"].nunique(),
        "NM": frame["treatment"].nunique(),
    }
    said = [
        f"The header promises {promised[key]} {_SIZES[key]} and the data hold {held[key]}; the data count."
        for key in promised
        if promised[key] != held[key]
    ]
    rated = set(frame["case"])
    unread = [case for case in truth if case not in rated]
    if unread:
        said.append(f"Cases with a truth that nobody rated are left out: {sentence_list(unread)}.")
    return said
