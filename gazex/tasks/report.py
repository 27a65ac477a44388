"""Report: image → the sentences the reader said, one a line; with boxes where asked."""

from __future__ import annotations

from typing import Final

from gazex.evidence import observation_box
from gazex.schema import Visit
from gazex.tasks.example import Example, example_of
from gazex.tasks.finished import Finished, finish
from gazex.tasks.formats import Codec, Line, format_report, whole_sentence
from gazex.tasks.said import affirmed

PROMPT: Final = "Report this radiograph."
PROMPT_BOXES: Final = "Report this radiograph with boxes."


def examples(
    visit: Visit, *, boxes: bool = False, finished: Finished | None = None, codec: Codec | None = None
) -> list[Example]:
    """One example, or none where the visit has no sentences. With `boxes`, a positive sentence carries its gaze box."""
    codec = codec or Codec(visit.rows, visit.columns)
    finished = (finished or finish(visit)) if boxes else None
    lines = []
    for k, (text, _, _) in enumerate(visit.sentences):
        said = whole_sentence(text)
        if not said:
            continue
        positive = affirmed(text)
        box = observation_box(list(finished.of(k))) if finished is not None and positive else None
        lines.append(Line(said, positive[0], codec.encode_box(box)) if box is not None else Line(said))
    if not lines:
        return []
    return [example_of(visit, "report", PROMPT_BOXES if boxes else PROMPT, format_report(lines))]
