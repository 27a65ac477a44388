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

#: Parts of a result that are computed from recordings and reports, which the bundle does not hold.
BESIDE = ("gaze", "text")
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
    try:
        numbers = json.loads(json.dumps(compute(parse(files), facts), allow_nan=False))
    except TablesError as error:
        problems.append(str(error))
        numbers = {k: v for k, v in stored["numbers"].items() if k not in BESIDE}
    beside = [name for name in BESIDE if name in stored["numbers"]]
    found = differences({k: v for k, v in stored["numbers"].items() if k not in beside}, numbers)
    for line in [*problems, *found[:SHOWN]]:
        say(line)
    if len(found) > SHOWN:
        say(f"… and {len(found) - SHOWN} more numbers differ")
    if beside:
        say(f"Not recomputed: {', '.join(beside)}. They come from recordings and reports, which are not in the bundle.")
    if problems or found:
        return 1
    say(f"All {count(numbers)} values of the result are what the tables give.")
    return 0


def differences(stored: Any, computed: Any, place: str = "numbers") -> list[str]:
    """Where the two differ, one line each."""
    if isinstance(stored, dict) and isinstance(computed, dict):
        out = [f"{place}: {key!r} is in one of the two only" for key in sorted(set(stored) ^ set(computed))]
        for key in stored:
            if key in computed:
                out += differences(stored[key], computed[key], f"{place}.{key}")
        return out
    if isinstance(stored, list) and isinstance(computed, list):
        if len(stored) != len(computed):
            return [f"{place}: {len(stored)} entries stored, {len(computed)} computed"]
        return [
            line
            for position, (one, other) in enumerate(zip(stored, computed, strict=True))
            for line in differences(one, other, f"{place}[{position}]")
        ]
    if _number(stored) and _number(computed):
        if math.isclose(stored, computed, rel_tol=RELATIVE, abs_tol=ABSOLUTE):
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
