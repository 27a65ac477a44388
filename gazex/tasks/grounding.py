"""Grounding: a finding's name → the boxes a reader (or the reference) drew around it.

FVP asks where the eyes were; this asks where the finding is.
"""

from __future__ import annotations

from gazex.schema import Visit
from gazex.tasks.example import Example, example_of
from gazex.tasks.formats import Codec, Grounded, format_grounded


def prompt(finding: str, side: str = "") -> str:
    where = f" on the {side}" if side in ("left", "right") else ""
    return f"Where is {finding}{where}?"


def examples(visit: Visit, *, codec: Codec | None = None) -> list[Example]:
    """One example for each finding and side that has marks; none where the visit has no marks on its image."""
    codec = codec or Codec(visit.rows, visit.columns)
    marks: dict[tuple[str, str], list[tuple[int, int, int, int]]] = {}
    for mark in visit.boxes:
        x0, y0, x1, y1 = mark.box
        if x1 >= -0.5 and y1 >= -0.5 and x0 < visit.columns - 0.5 and y0 < visit.rows - 0.5:
            marks.setdefault((mark.finding, mark.side), []).append(codec.encode_box(mark.box))
    return [
        example_of(
            visit,
            "grounding",
            prompt(finding, side),
            format_grounded(Grounded(finding, tuple(sorted(boxes, key=lambda b: (b[1], b[0], b[3], b[2]))))),
        )
        for (finding, side), boxes in marks.items()
    ]
