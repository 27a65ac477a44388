"""Recompute a Gazeroom analysis from the tables beside this file and compare every number with result.json.

    pip install 'gazeroom[stats]'
    python recompute.py [FOLDER]

Exit status 0: every number is the same (to 1 part in 10⁹). 1: a file or a number differs; each difference is printed.
2: the folder cannot be read, or the installed version computes another schema.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
from pathlib import Path
from typing import Any

#: Parts of a result that are measured on recordings and reports: recomputed from the table of measures.
BESIDE = ("gaze", "text")
#: Those numbers are stored to ten digits.
STORED = 1e-8
RELATIVE, ABSOLUTE = 1e-9, 1e-12
SHOWN = 20


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def main(folder: Path) -> int:
    from analysis.stats.reader_study import SCHEMA, TablesError, compute, parse

    try:
        facts = json.loads((folder / "study.json").read_text(encoding="utf-8"))
        stored = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        files = {path.stem: path.read_bytes() for path in sorted((folder / "tables").glob("*.csv"))}
    except (OSError, ValueError) as error:
        say(f"The bundle cannot be read: {error}")
        return 2
    if stored["numbers"]["schema"] != SCHEMA:
        say(f"The result is of schema {stored['numbers']['schema']}; the installed gazeroom computes {SCHEMA}.")
        return 2
    problems = []
    for name, digest in stored["inputs"]["tables"].items():
        content = files.get(name.removesuffix(".csv"))
        if content is None:
            problems.append(f"tables/{name} is missing")
        elif hashlib.sha256(content).hexdigest() != digest:
            problems.append(f"tables/{name} is not the file that the result was computed from")
    if facts != stored["inputs"]["facts"]:
        problems.append("study.json is not what the result was computed with")
    unreadable = False
    try:
        tables = parse(files)
        numbers = json.loads(json.dumps(compute(tables, facts), allow_nan=False))
    except TablesError as error:
        unreadable = True
        problems.append(str(error))
        numbers = {k: v for k, v in stored["numbers"].items() if k not in BESIDE}
    found = differences({k: v for k, v in stored["numbers"].items() if k not in BESIDE}, numbers)
    again = 0
    if not unreadable:
        more, again = _measures(stored["numbers"], tables)
        found += more
    for line in [*problems, *found[:SHOWN]]:
        say(line)
    if len(found) > SHOWN:
        say(f"… and {len(found) - SHOWN} more numbers differ")
    if problems or found:
        return 1
    say(f"All {count(numbers) + again} values of the result are what the tables give.")
    return 0


def _measures(numbers: dict[str, Any], tables: Any) -> tuple[list[str], int]:
    """Where outcomes of gaze and reports differ from what the table of measures gives, and how many values agree."""
    from analysis.stats.ratings import RatingsError
    from analysis.stats.reader_study.measured import PARTS, compared, outcomes_of

    out, values = [], 0
    for name, stored in outcomes_of(numbers).items():
        try:
            made = compared(tables.measures, name, stored, numbers["plan"]["reference_arm"])
        except RatingsError as error:
            out.append(f"{name}: {error}")
            continue
        kept = {part: stored[part] for part in PARTS}
        again = {part: json.loads(json.dumps(made[part], allow_nan=False)) for part in PARTS}
        found = differences(kept, again, name, relative=STORED)
        out += found
        values += 0 if found else count(kept)
    return out, values


def differences(stored: Any, computed: Any, place: str = "numbers", *, relative: float = RELATIVE) -> list[str]:
    """Where the two differ, one line each."""
    if isinstance(stored, dict) and isinstance(computed, dict):
        out = [f"{place}: {key!r} is in one of the two only" for key in sorted(set(stored) ^ set(computed))]
        for key in stored:
            if key in computed:
                out += differences(stored[key], computed[key], f"{place}.{key}", relative=relative)
        return out
    if isinstance(stored, list) and isinstance(computed, list):
        if len(stored) != len(computed):
            return [f"{place}: {len(stored)} entries stored, {len(computed)} computed"]
        return [
            line
            for position, (one, other) in enumerate(zip(stored, computed, strict=True))
            for line in differences(one, other, f"{place}[{position}]", relative=relative)
        ]
    if _number(stored) and _number(computed):
        if math.isclose(stored, computed, rel_tol=relative, abs_tol=ABSOLUTE):
            return []
    elif stored == computed and type(stored) is type(computed):
        return []
    return [f"{place}: {stored!r} stored, {computed!r} computed"]


def count(value: Any) -> int:
    """How many single values there are."""
    if isinstance(value, dict):
        return sum(map(count, value.values()))
    if isinstance(value, list):
        return sum(map(count, value))
    return 1


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent))
