"""Report: image → the sentences the reader said, one a line; with boxes where asked."""

from __future__ import annotations

from typing import Final

from gazex.evidence import clusters_of, observation_box
from gazex.findings import label_sentence
from gazex.schema import Visit
from gazex.tasks.example import Example, example_of
from gazex.tasks.formats import Codec, Line, format_report

PROMPT: Final = "Report this radiograph."
PROMPT_BOXES: Final = "Report this radiograph with boxes."


def examples(visit: Visit, *, boxes: bool = False) -> list[Example]:
    """One example, or none where the visit has no sentences. With `boxes`, a positive sentence carries its gaze box."""
    codec = Codec(visit.rows, visit.columns)
    lines = []
    for k, (text, _, _) in enumerate(visit.sentences):
        positive = [f for f, mention in label_sentence(text).items() if mention == "positive"]
        box = observation_box(clusters_of(visit, k)) if boxes and positive else None
        lines.append(Line(text, positive[0], codec.encode_box(box)) if box is not None else Line(text))
    lines = [line for line in lines if line.sentence.strip()]
    if not lines:
        return []
    return [example_of(visit, "report", PROMPT_BOXES if boxes else PROMPT, format_report(lines))]
