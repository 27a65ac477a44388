"""GTM, gaze-trajectory modelling: image → the inspection, step by step: where the eyes went, then what was said."""

from __future__ import annotations

from typing import Final

from gazex.schema import Visit
from gazex.tasks.example import Example, example_of
from gazex.tasks.formats import Step, clean_text, format_steps
from gazex.tasks.fvp import clues_of

PROMPT: Final = "Inspect this radiograph as a radiologist would."


def steps_of(visit: Visit, *, most_points: int = 3) -> list[Step]:
    """One step a sentence. Its gaze runs from the end of the sentence before to its own: no look counts twice."""
    out = []
    start = float(visit.t_s[0]) if len(visit.t_s) else 0.0
    for text, _, t1 in sorted(visit.sentences, key=lambda s: s[1]):
        if clean_text(text):
            out.append(Step(clues_of(visit, start, t1, most_points), clean_text(text)))
        start = max(start, t1)
    return out


def examples(visit: Visit, *, most_points: int = 3) -> list[Example]:
    """One example, or none where the visit has no sentences or no gaze on the image."""
    steps = steps_of(visit, most_points=most_points)
    if not any(step.gaze for step in steps):
        return []
    return [example_of(visit, "gtm", PROMPT, format_steps(steps))]
