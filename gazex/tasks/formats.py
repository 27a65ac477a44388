"""The text formats of targets and answers, and their strict parsers: what does not parse is invalid, never repaired.

Coordinates are whole numbers: 0–1000 of the original image's width and height, as Qwen2-VL writes them (`Codec`), or
pixels of the image as the model sees it, as Qwen2.5-VL writes them (`PixelCodec`). Both encode and decode alike, and
their `top` is the largest coordinate the parsers let pass.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gazex.findings import FINDINGS

PROMPT_VERSION: Final = "gazex-prompts/1"
TOP: Final = 1000
MAX_MS: Final = 99_999

Box = tuple[float, float, float, float]


class ParseError(ValueError):
    """An answer is not in the format asked for."""


@dataclass(frozen=True)
class Codec:
    """Image pixels ↔ the 0–1000 integers of prompts and answers, for an image of `rows` × `columns` pixels."""

    rows: int
    columns: int

    @property
    def top(self) -> tuple[int, int]:
        """Largest coordinates along x and y."""
        return TOP, TOP

    def encode(self, x: float, y: float) -> tuple[int, int]:
        u = round((x + 0.5) / self.columns * TOP)
        v = round((y + 0.5) / self.rows * TOP)
        return min(TOP, max(0, u)), min(TOP, max(0, v))

    def decode(self, u: int, v: int) -> tuple[float, float]:
        x = u / TOP * self.columns - 0.5
        y = v / TOP * self.rows - 0.5
        return min(self.columns - 1.0, max(0.0, x)), min(self.rows - 1.0, max(0.0, y))

    def encode_box(self, box: Sequence[float]) -> tuple[int, int, int, int]:
        x0, y0, x1, y1 = box
        return (*self.encode(x0, y0), *self.encode(x1, y1))

    def decode_box(self, box: Sequence[int]) -> Box:
        u0, v0, u1, v1 = box
        return (*self.decode(u0, v0), *self.decode(u1, v1))


@dataclass(frozen=True)
class PixelCodec(Codec):
    """Image pixels ↔ pixels of the image resized to `seen_rows` × `seen_columns`, as Qwen2.5-VL writes coordinates."""

    seen_rows: int
    seen_columns: int

    @property
    def top(self) -> tuple[int, int]:
        return self.seen_columns - 1, self.seen_rows - 1

    def encode(self, x: float, y: float) -> tuple[int, int]:
        u = round((x + 0.5) / self.columns * self.seen_columns - 0.5)
        v = round((y + 0.5) / self.rows * self.seen_rows - 0.5)
        return min(self.top[0], max(0, u)), min(self.top[1], max(0, v))

    def decode(self, u: int, v: int) -> tuple[float, float]:
        x = (u + 0.5) / self.seen_columns * self.columns - 0.5
        y = (v + 0.5) / self.seen_rows * self.rows - 0.5
        return min(self.columns - 1.0, max(0.0, x)), min(self.rows - 1.0, max(0.0, y))


@dataclass(frozen=True)
class Clue:
    """A point looked at: coordinates as a codec gives them, dwell in ms."""

    u: int
    v: int
    ms: int


@dataclass(frozen=True)
class Located:
    """Answer to "locate the evidence": finding, box, and the points that were looked at."""

    finding: str
    box: tuple[int, int, int, int]
    clues: tuple[Clue, ...]


@dataclass(frozen=True)
class Step:
    """One step of an inspection: the points looked at, then the sentence."""

    gaze: tuple[Clue, ...]
    sentence: str


@dataclass(frozen=True)
class Grounded:
    """Answer to "where is it": a finding and its boxes."""

    finding: str
    boxes: tuple[tuple[int, int, int, int], ...]


@dataclass(frozen=True)
class Line:
    """One sentence of a report, with finding and box where it has one."""

    sentence: str
    finding: str = ""
    box: tuple[int, int, int, int] | None = None


# Digits are ASCII: \\d would take other scripts' for numbers.
_NUMBER = r"(?:0|[1-9][0-9]{0,3})"
_MS = r"(?:0|[1-9][0-9]{0,4})"
_POINT = re.compile(rf"\(({_NUMBER}),({_NUMBER}),({_MS})\)")
_POINTS = rf"(?:\({_NUMBER},{_NUMBER},{_MS}\))*"
_BOX = rf"<\|box_start\|>\(({_NUMBER}),({_NUMBER})\),\(({_NUMBER}),({_NUMBER})\)<\|box_end\|>"
_ONE_BOX = re.compile(_BOX)
_REF = r"<\|object_ref_start\|>([A-Za-z ]+)<\|object_ref_end\|>"
_LOCATED = re.compile(rf"{_REF}{_BOX}<clues>({_POINTS})</clues>")
_GROUNDED = re.compile(rf"{_REF}((?:<\|box_start\|>[0-9(),]+<\|box_end\|>)+)")
_STEP = re.compile(rf"<step n=([1-9][0-9]?)><gaze>({_POINTS})</gaze>([^<>\n]+)</step>")
_SEQUENCE = re.compile(r"<seq>([1-9][0-9]{0,3}(?:,[1-9][0-9]{0,3})*)</seq>")
_LINE = re.compile(rf"([^<>\n]+?)(?:{_REF}{_BOX})?")
VQA_ANSWERS: Final = ("no", "left", "right", "yes")


def clean_text(text: str) -> str:
    """A sentence as it may stand in a prompt or target: one line, no angle brackets or bars (they are our markup)."""
    return " ".join(re.sub(r"[<>|]", " ", text).split())


def whole_sentence(text: str) -> str:
    """A sentence as it may stand in a report: cleaned, with a mark at its end; empty where it says nothing."""
    text = clean_text(text)
    if not any(c.isalnum() for c in text):
        return ""
    return text if text.endswith((".", "?", "!")) else f"{text}."


def _clues(points: Sequence[Clue]) -> str:
    return "".join(f"({p.u},{p.v},{p.ms})" for p in points)


def _parse_clues(text: str, top: tuple[int, int]) -> tuple[Clue, ...]:
    out = tuple(Clue(int(u), int(v), int(ms)) for u, v, ms in _POINT.findall(text))
    if any(c.u > top[0] or c.v > top[1] for c in out):
        raise ParseError(f"A point lies outside 0–{top[0]}, 0–{top[1]}.")
    return out


def _parse_box(values: Sequence[str], top: tuple[int, int]) -> tuple[int, int, int, int]:
    u0, v0, u1, v1 = (int(v) for v in values)
    if max(u0, u1) > top[0] or max(v0, v1) > top[1]:
        raise ParseError(f"A box lies outside 0–{top[0]}, 0–{top[1]}.")
    if not (u0 <= u1 and v0 <= v1):
        raise ParseError("A box has its corners in the wrong order.")
    return u0, v0, u1, v1


def _box(box: Sequence[int]) -> str:
    return f"<|box_start|>({box[0]},{box[1]}),({box[2]},{box[3]})<|box_end|>"


def _finding(name: str) -> str:
    if name not in FINDINGS and name != "No Finding":
        raise ParseError(f"“{name}” is not a finding.")
    return name


def format_located(located: Located) -> str:
    ref = f"<|object_ref_start|>{located.finding}<|object_ref_end|>"
    return f"{ref}{_box(located.box)}<clues>{_clues(located.clues)}</clues>"


def parse_located(text: str, top: tuple[int, int] = (TOP, TOP)) -> Located:
    match = _LOCATED.fullmatch(text)
    if match is None:
        raise ParseError("The answer is not a finding with its box and clues.")
    finding, *box, clues = match.groups()
    return Located(_finding(finding), _parse_box(box, top), _parse_clues(clues, top))


def format_grounded(grounded: Grounded) -> str:
    return f"<|object_ref_start|>{grounded.finding}<|object_ref_end|>{''.join(_box(b) for b in grounded.boxes)}"


def parse_grounded(text: str, top: tuple[int, int] = (TOP, TOP)) -> Grounded:
    match = _GROUNDED.fullmatch(text)
    if match is None:
        raise ParseError("The answer is not a finding with its boxes.")
    boxes: list[tuple[int, int, int, int]] = []
    at = 0
    while at < len(match[2]):
        one = _ONE_BOX.match(match[2], at)
        if one is None:
            raise ParseError(f"Box {len(boxes) + 1} is malformed.")
        boxes.append(_parse_box(one.groups(), top))
        at = one.end()
    return Grounded(_finding(match[1]), tuple(boxes))


def format_steps(steps: Sequence[Step]) -> str:
    return "".join(
        f"<step n={n}><gaze>{_clues(s.gaze)}</gaze>{clean_text(s.sentence)}</step>"
        for n, s in enumerate(steps, start=1)
    )


def parse_steps(text: str, top: tuple[int, int] = (TOP, TOP)) -> tuple[Step, ...]:
    out: list[Step] = []
    at = 0
    while at < len(text):
        match = _STEP.match(text, at)
        if match is None:
            raise ParseError(f"The inspection is malformed after step {len(out)}.")
        if int(match[1]) != len(out) + 1:
            raise ParseError(f"Step {len(out) + 1} is numbered {match[1]}.")
        if not match[3].strip():
            raise ParseError(f"Step {len(out) + 1} has no sentence.")
        out.append(Step(_parse_clues(match[2], top), match[3]))
        at = match.end()
    if not out:
        raise ParseError("The inspection has no steps.")
    return tuple(out)


def format_sequence(order: Sequence[int]) -> str:
    return f"<seq>{','.join(str(n) for n in order)}</seq>"


def parse_sequence(text: str, frames: int) -> tuple[int, ...]:
    """The viewing order, 1-based; it must name each of the `frames` once."""
    match = _SEQUENCE.fullmatch(text)
    if match is None:
        raise ParseError("The answer is not a sequence of frame numbers separated by commas.")
    order = tuple(int(n) for n in match[1].split(","))
    if sorted(order) != list(range(1, frames + 1)):
        raise ParseError(f"The answer does not name each of {frames} frames once.")
    return order


def format_report(lines: Sequence[Line]) -> str:
    out = []
    for line in lines:
        text = clean_text(line.sentence)
        if line.finding and line.box is not None:
            text += f"<|object_ref_start|>{line.finding}<|object_ref_end|>{_box(line.box)}"
        out.append(text)
    return "\n".join(out)


def parse_report(text: str, top: tuple[int, int] = (TOP, TOP)) -> tuple[Line, ...]:
    if not text:
        raise ParseError("The report is empty.")
    out = []
    for number, raw in enumerate(text.split("\n"), start=1):
        match = _LINE.fullmatch(raw)
        if match is None or not match[1].strip():
            raise ParseError(f"Line {number} of the report is malformed.")
        if not match[1].rstrip().endswith((".", "?", "!")):
            raise ParseError(f"Line {number} of the report is not a whole sentence.")
        finding = _finding(match[2]) if match[2] else ""
        out.append(Line(match[1].strip(), finding, _parse_box(match.groups()[2:6], top) if finding else None))
    return tuple(out)


def parse_vqa(text: str) -> str:
    if text not in VQA_ANSWERS:
        raise ParseError("The answer is not one of no, left, right, yes.")
    return text
