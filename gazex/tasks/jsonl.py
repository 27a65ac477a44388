"""Examples on disk: one JSON object a line, as `examples.schema.json` describes it (JSON Schema 2020-12).

The schema is made from `Example` by `json_schema()`; a test holds the file to it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import IO, Any, Final

from gazex.tasks.example import FORMATS, MEDIA, SCHEMA, TASKS, Example

SCHEMA_FILE: Final = Path(__file__).with_name("examples.schema.json")
_TEXT: Final = ("prompt", "target", "visit", "reader", "patient", "study", "image_file")
_FILLED: Final = ("prompt", "target", "visit", "reader", "patient", "study")
_WHAT: Final = {
    "schema": "name and version of this schema",
    "task": "what is asked",
    "prompt": "the question; media stand in front of it, or where it says <image> or <video>",
    "target": "the answer",
    "visit": "the reading it was made from",
    "reader": "pseudonym of who read",
    "patient": "pseudonym of the patient; decides the split",
    "study": "the study the reading belongs to",
    "frames": "boxes of the key frames shown, in the order shown: x0, y0, x1, y1 in image pixels",
    "media": "what is shown, in order: image is the radiograph, video the key frames or the attention video",
    "sentence": "sentence of the reading it is about, from 0; -1 for the whole reading",
    "image_file": "the radiograph, relative to the folder of visits",
    "rows": "rows of the radiograph in pixels",
    "columns": "columns of the radiograph in pixels",
    "format": "ours, or the published prompts",
}


class ExamplesError(ValueError):
    """A file of examples is not as described here; the message says which line and why."""


def json_schema() -> dict[str, Any]:
    """JSON Schema of one line."""
    kinds: dict[str, dict[str, Any]] = {
        "schema": {"const": SCHEMA},
        "task": {"enum": list(TASKS)},
        **{name: {"type": "string", **({"minLength": 1} if name in _FILLED else {})} for name in _TEXT},
        "frames": {
            "type": "array",
            "items": {"type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 4},
        },
        "media": {"type": "array", "items": {"enum": list(MEDIA)}, "minItems": 1},
        "sentence": {"type": "integer", "minimum": -1},
        "rows": {"type": "integer", "minimum": 0},
        "columns": {"type": "integer", "minimum": 0},
        "format": {"enum": list(FORMATS)},
    }
    names = ["schema", *(f.name for f in fields(Example))]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "An example GazeX learns from",
        "type": "object",
        "properties": {name: {"description": _WHAT[name], **kinds[name]} for name in names},
        "required": names,
        "additionalProperties": False,
    }


@contextmanager
def whole_file(path: Path) -> Iterator[IO[str]]:
    """A text file that appears under its name when it is complete, and not at all where writing it failed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("w", encoding="utf-8", newline="\n") as out:
            yield out
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_examples(path: Path | str, examples: Iterable[Example]) -> int:
    """Write examples, one a line; returns how many. The file appears when it is whole."""
    count = 0
    with whole_file(Path(path)) as out:
        for example in examples:
            out.write(json.dumps(example.to_dict(), ensure_ascii=False, allow_nan=False) + "\n")
            count += 1
    return count


def read_examples(path: Path | str) -> list[Example]:
    """Read a file of examples.

    Raises
    ------
    ExamplesError
        There is no such file, or a line is no example: the line is named by its number.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ExamplesError(f"There is no file {path}.") from None
    except OSError as error:
        raise ExamplesError(f"{path} cannot be read: {error.strerror}.") from None
    out = []
    for number, line in enumerate(data.split(b"\n"), start=1):
        if not line.strip():
            continue
        where = f"{path.name} line {number}"
        try:
            row = json.loads(line.decode())
        except UnicodeDecodeError:
            raise ExamplesError(f"{where} is not UTF-8.") from None
        except (json.JSONDecodeError, RecursionError):
            raise ExamplesError(f"{where} is not JSON.") from None
        problem = _problem(row)
        if problem:
            raise ExamplesError(f"{where} {problem}.")
        row = {name: value for name, value in row.items() if name != "schema"}
        frames = tuple(tuple(float(v) for v in frame) for frame in row["frames"])
        out.append(Example(**{**row, "frames": frames, "media": tuple(row["media"])}))
    return out


def _problem(row: Any) -> str:
    """What is wrong with a line, as its predicate; empty where nothing is."""
    if not isinstance(row, dict):
        return "is not a JSON object"
    if row.get("schema") != SCHEMA:
        return f"has the schema “{row.get('schema')}”, expected “{SCHEMA}”"
    names = {"schema", *(f.name for f in fields(Example))}
    for name in sorted(names - row.keys()):
        return f"has no “{name}”"
    for name in sorted(row.keys() - names):
        return f"has a field “{name}” that examples do not have"
    for name in _TEXT:
        if not isinstance(row[name], str) or (name in _FILLED and not row[name]):
            return f"has a “{name}” that is not text"
    for name, allowed in (("task", TASKS), ("format", FORMATS)):
        if row[name] not in allowed:
            return f"has the {name} “{row[name]}”; it must be one of {', '.join(allowed)}"
    for name, least in (("sentence", -1), ("rows", 0), ("columns", 0)):
        if type(row[name]) is not int or row[name] < least:
            return f"has a “{name}” that is not a whole number from {least} on"
    media = row["media"]
    if not isinstance(media, list) or not media or any(m not in MEDIA for m in media):
        return f"has media other than {' and '.join(MEDIA)}"
    if not isinstance(row["frames"], list) or not all(_is_box(f) for f in row["frames"]):
        return "has a frame that is not four numbers"
    return ""


def _is_box(frame: Any) -> bool:
    return (
        isinstance(frame, list) and len(frame) == 4 and all(type(v) in (int, float) and math.isfinite(v) for v in frame)
    )
