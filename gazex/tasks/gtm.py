"""GTM, gaze-trajectory modelling: the inspection, step by step: where the eyes went, then what was said.

From the image alone; from the image with the key frames, in the order they were looked at; and a sentence from its own
key frames. (Image → report is `gazex.tasks.report`.)
"""

from __future__ import annotations

from typing import Final

from gazex.schema import Visit
from gazex.tasks.example import Example, example_of
from gazex.tasks.finished import Finished, finish
from gazex.tasks.formats import Codec, Line, Step, format_report, format_steps, whole_sentence
from gazex.tasks.fvp import clues_of

PROMPT: Final = "Inspect this radiograph as a radiologist would."
PROMPT_VIDEO: Final = "These key frames show where a radiologist looked. Report the radiograph."
PROMPT_SENTENCE: Final = "These key frames show where a radiologist looked before one sentence. Say it."


def steps_of(visit: Visit, *, most_points: int = 3, codec: Codec | None = None) -> list[Step]:
    """One step a sentence. Its gaze runs from the end of the sentence before to its own: no look counts twice."""
    out = []
    start = float(visit.t_s[0]) if len(visit.t_s) else 0.0
    for text, _, t1 in sorted(visit.sentences, key=lambda s: s[1]):
        said = whole_sentence(text)
        if said:
            out.append(Step(clues_of(visit, start, t1, most_points, codec), said))
        start = max(start, t1)
    return out


def examples(visit: Visit, *, most_points: int = 3, codec: Codec | None = None) -> list[Example]:
    """Image → inspection: one example, or none where the visit has no sentences or no gaze on the image."""
    steps = steps_of(visit, most_points=most_points, codec=codec)
    if not any(step.gaze for step in steps):
        return []
    return [example_of(visit, "gtm", PROMPT, format_steps(steps))]


def with_video(visit: Visit, *, finished: Finished | None = None) -> list[Example]:
    """Image and key frames (each sentence's clusters in order) → report: one example, or none without key frames."""
    finished = finished or finish(visit)
    order = sorted(range(len(visit.sentences)), key=lambda k: visit.sentences[k][1])
    frames = [cluster.box for k in order for cluster in finished.of(k)]
    said = [whole_sentence(visit.sentences[k][0]) for k in order]
    lines = [Line(one) for one in said if one]
    if not frames or not lines:
        return []
    return [example_of(visit, "gtm", PROMPT_VIDEO, format_report(lines), frames, media=("video", "image"))]


def by_sentence(visit: Visit, *, finished: Finished | None = None) -> list[Example]:
    """Image and one sentence's key frames → that sentence: one example for each sentence with key frames."""
    finished = finished or finish(visit)
    out = []
    for k, (text, _, _) in enumerate(visit.sentences):
        frames = [cluster.box for cluster in finished.of(k)]
        said = whole_sentence(text)
        if frames and said:
            media = ("video", "image")
            out.append(example_of(visit, "gtm", PROMPT_SENTENCE, said, frames, media=media, sentence=k))
    return out
