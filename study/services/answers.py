"""What a reader submits, parsed whole before anything is written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from study.models import Mark

from .errors import BadInput

MAX_TEXT = 20_000
MAX_SENTENCES = 500
MAX_MARKS = 200


@dataclass(frozen=True)
class MarkAnswer:
    finding: str
    shape: str
    points: list[float]
    confidence: int | None


@dataclass(frozen=True)
class Answers:
    """responses: finding -> confidence 1 to 5; marks in image pixels; sentences in browser milliseconds."""

    responses: dict[str, int]
    marks: list[MarkAnswer]
    text: str
    sentences: list[dict[str, Any]]
    browser_ms: float | None
    last_event: int | None


def parse_answers(value: Any, *, findings: Sequence[str], rows: int, columns: int) -> Answers:
    """Check a submission against the protocol's findings and the image's size.

    Raises
    ------
    BadInput
        With one sentence about the first thing that is wrong.
    """
    if not isinstance(value, dict):
        raise BadInput("The answers are not an object with responses, marks and a report.")
    text, sentences = _report(value.get("report", {}))
    return Answers(
        responses=_responses(value.get("responses"), findings),
        marks=_marks(value.get("marks", []), findings, rows, columns),
        text=text,
        sentences=sentences,
        browser_ms=_number(value["t"], "The time of submission") if value.get("t") is not None else None,
        last_event=value["last_event"] if _whole(value.get("last_event")) else None,
    )


def _responses(value: Any, findings: Sequence[str]) -> dict[str, int]:
    if not isinstance(value, list):
        raise BadInput("The answers have no list of responses.")
    given: dict[str, int] = {}
    for item in value:
        finding = item.get("finding") if isinstance(item, dict) else None
        if not isinstance(finding, str) or finding not in findings:
            raise BadInput(f"{_short(finding)} is not a finding of this study.")
        if finding in given:
            raise BadInput(f"{finding} is answered twice; answer it once.")
        given[finding] = _confidence(item.get("confidence"), finding)
    for finding in findings:
        if finding not in given:
            raise BadInput(f"{finding} has no confidence yet; choose one from 1 to 5.")
    return given


def _marks(value: Any, findings: Sequence[str], rows: int, columns: int) -> list[MarkAnswer]:
    if not isinstance(value, list):
        raise BadInput("The marks are not a list.")
    if len(value) > MAX_MARKS:
        raise BadInput(f"There are {len(value)} marks; {MAX_MARKS} is the most a read can have.")
    marks = []
    for item in value:
        finding = item.get("finding") if isinstance(item, dict) else None
        if not isinstance(finding, str) or finding not in findings:
            raise BadInput(f"A mark names {_short(finding)}, which is not a finding of this study.")
        shape, points = item.get("shape"), item.get("points")
        if shape not in Mark.Shape.values:
            raise BadInput(f"The mark of {finding} has the shape {_short(shape)}; it has to be a box or a point.")
        wanted = 4 if shape == Mark.Shape.BOX else 2
        if not isinstance(points, list) or len(points) != wanted:
            raise BadInput(f"The {shape} of {finding} needs {wanted} numbers.")
        numbers = [_number(point, f"A coordinate of the {shape} of {finding}") for point in points]
        if not all(within(x, y, rows, columns) for x, y in zip(numbers[::2], numbers[1::2], strict=True)):
            raise BadInput(f"The {shape} of {finding} lies outside the image.")
        if shape == Mark.Shape.BOX and not (numbers[0] < numbers[2] and numbers[1] < numbers[3]):
            raise BadInput(f"The box of {finding} has no area; its corners come as left, top, right, bottom.")
        confidence = item.get("confidence")
        marks.append(
            MarkAnswer(finding, shape, numbers, None if confidence is None else _confidence(confidence, finding))
        )
    return marks


def _report(value: Any) -> tuple[str, list[dict[str, Any]]]:
    if not isinstance(value, dict):
        raise BadInput("The report is not an object with a text and sentences.")
    text, sentences = value.get("text", ""), value.get("sentences", [])
    if not isinstance(text, str) or len(text) > MAX_TEXT or "\x00" in text:
        raise BadInput(f"The report has to be a text of at most {MAX_TEXT} characters.")
    if not isinstance(sentences, list) or len(sentences) > MAX_SENTENCES:
        raise BadInput(f"The report's sentences have to be a list of at most {MAX_SENTENCES}.")
    out: list[dict[str, Any]] = []
    for number, item in enumerate(sentences, start=1):
        spoken = item.get("text") if isinstance(item, dict) else None
        if not isinstance(spoken, str) or not 0 < len(spoken) <= MAX_TEXT or "\x00" in spoken:
            raise BadInput(f"Sentence {number} of the report has no text.")
        start = _number(item.get("start"), f"The start of sentence {number}")
        end = _number(item.get("end"), f"The end of sentence {number}")
        if start > end:
            raise BadInput(f"Sentence {number} of the report ends before it starts.")
        out.append({"text": spoken, "start": start, "end": end})
    return text, out


def within(x: float, y: float, rows: int, columns: int) -> bool:
    """Whether a point lies on the image. Pixel centres are integers; the half pixel more at the right and lower edge
    lets boxes come from a source that counts corners (0 to columns) as well."""
    return -0.5 <= x <= columns and -0.5 <= y <= rows


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _confidence(value: Any, finding: str) -> int:
    if not _whole(value) or not 1 <= value <= 5:
        raise BadInput(f"The confidence of {finding} is {_short(value)}; it is a whole number from 1 to 5.")
    return int(value)


def _number(value: Any, what: str) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15 and math.isfinite(value):
        return float(value)
    raise BadInput(f"{what} is {_short(value)}, not a number.")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "…"
